"""The simulation road: hourly truth in, degraded, downscaled by every method, scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from dask.delayed import delayed

from deepcams_eval.bench import tables
from deepcams_eval.bench.checkpoints import Inputs, MonthStore, states
from deepcams_eval.bench.choice import BASELINES, Chosen, choose, shown_of, train
from deepcams_eval.bench.files import write_files
from deepcams_eval.bench.month import Case, Key, MonthResult, Work, replay, score_month
from deepcams_eval.bench.notes import notes_of
from deepcams_eval.bench.plan import Plan, fitted_to
from deepcams_eval.bench.skill import skill
from deepcams_eval.bench.spectra import MIN_COLUMNS, ZonalSpectrum
from deepcams_eval.core.arrays import FloatArray, divide
from deepcams_eval.core.field import Product
from deepcams_eval.downscale import TASKS, Task, registry
from deepcams_eval.downscale.degrade import Degradation, degradation, require_even_grid
from deepcams_eval.downscale.plugins import Listed
from deepcams_eval.downscale.prediction import Prediction
from deepcams_eval.errors import InputError, NoDataError, OptionError
from deepcams_eval.options import SimulationOptions
from deepcams_eval.read.product import open_product
from deepcams_eval.report import notebook, published, wording
from deepcams_eval.report.content import SYNTHETIC, records
from deepcams_eval.score.intervals import MIN_CLUSTERS
from deepcams_eval.score.metrics import METRICS


@dataclass(frozen=True, eq=False, repr=False)
class SimulationRun(notebook.Saved):
    """A simulation: its tables as data frames, its maps, its files.

    Made once, by `simulate`; what writes files, draws figures and makes the page reads it.

    Attributes
    ----------
    options : SimulationOptions
        What was asked.
    product : Product
        The truth as it was read.
    truth : xarray.DataArray
        The truth as it was used, a lazy Field: without what the operator in space cannot divide.
    methods : dict of task to tuple of str
        The tasks that were scored and their methods, in the order of the tables.
    available : tuple of Listed
        Every method known, with what it needs if it could not run.
    samples, summary, skill, spectra, counts : pandas.DataFrame
        The rows of ``samples.parquet``, ``summary.csv``, ``skill.csv``, ``spectra.csv`` and
        ``counts.csv``.
    months : dict of task to pandas.DataFrame
        The rows of ``temporal.csv``, ``spatial.csv`` and ``joint.csv``; see `tables.month_table`.
    error_maps : dict of (task, method) to ndarray, shape (latitude, longitude)
        Root-mean-square error of each cell over the samples, µg m⁻³; NaN where there is none. Of
        the methods that figures show.
    cases : tuple of Case
        At most one a task.
    inputs : tuple of tuple of Path
        The files of the truth, of each prediction and of each checkpoint.
    notes : list of str
        What was assumed, left out or absent, one sentence each.
    synthetic : bool
        Whether the truth is made up; then every table, figure and page says so.
    command : str
        The command line or the call, as ``run.json`` says it.
    clock_start : float
        `time.perf_counter` at the beginning.
    """

    options: SimulationOptions
    product: Product
    truth: xr.DataArray
    methods: dict[Task, tuple[str, ...]]
    available: tuple[Listed, ...]
    samples: pd.DataFrame
    months: dict[Task, pd.DataFrame]
    summary: pd.DataFrame
    skill: pd.DataFrame
    spectra: pd.DataFrame
    counts: pd.DataFrame
    error_maps: dict[Key, FloatArray]
    cases: tuple[Case, ...]
    inputs: Inputs
    notes: list[str]
    synthetic: bool = False
    command: str = "deepcams_eval.simulation"
    clock_start: float = 0.0

    @property
    def temporal(self) -> pd.DataFrame:
        """The rows of ``temporal.csv``: twelve months and the average; NaN where absent."""
        return self._months("temporal")

    @property
    def spatial(self) -> pd.DataFrame:
        """The rows of ``spatial.csv``."""
        return self._months("spatial")

    @property
    def joint(self) -> pd.DataFrame:
        """The rows of ``joint.csv``."""
        return self._months("joint")

    def _months(self, task: Task) -> pd.DataFrame:
        if task not in self.months:
            raise NoDataError(
                f"the {task} task was not scored", hint=f"there is {', '.join(self.months)}"
            )
        return self.months[task]

    @property
    def year(self) -> int:
        """The year scored."""
        return self.options.year

    @property
    def weights(self) -> str:
        """Weights of cells in what tables and figures show."""
        return self.options.weights

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that were scored, in the order of the report."""
        return tuple(task for task in TASKS if task in self.months)

    @property
    def operator(self) -> Degradation | None:
        """The operator in space; None where nothing was degraded in space."""
        only_in_time = set(self.methods) == {"temporal"}
        return None if only_in_time else degradation(self.options.degrade)

    @property
    def degradation(self) -> str:
        """Name and meaning of the operator in space; "" where there is none."""
        return f"{self.operator.name}: {self.operator.title}" if self.operator else ""

    @property
    def latitude(self) -> FloatArray:
        """Of the maps, degrees, ascending."""
        return np.asarray(self.truth["latitude"].values)

    @property
    def longitude(self) -> FloatArray:
        """Of the maps, degrees, ascending."""
        return np.asarray(self.truth["longitude"].values)

    def average(self, task: Task) -> Mapping[str, Any]:
        """Return the row of the average over the months, all hours."""
        rows = tables.all_hours(self.months[task])
        return records(rows[rows["month"] == tables.AVERAGE])[0]

    def best(self, task: Task, metric: str = "rmse") -> str | None:
        """Return the method with the lowest average of an error; None if none is defined."""
        row = self.average(task)
        known = {name: float(row[f"{metric}_{name}"]) for name in self.methods[task]}
        known = {name: value for name, value in known.items() if np.isfinite(value)}
        return min(known, key=known.__getitem__) if known else None

    def skill_of(self, task: Task) -> pd.DataFrame:
        """Return the rows of `skill` for a task, weighted as the tables."""
        rows = self.skill
        return rows[(rows["task"] == task) & (rows["weights"] == self.weights)]

    def baselines(self, task: Task) -> tuple[str, ...]:
        """Return what the skill of a task is measured against, in the order of `skill`."""
        return tuple(dict.fromkeys(self.skill_of(task)["baseline"]))

    def compared(self, task: Task) -> tuple[str, str] | None:
        """Return the baseline and the challenger that figures show.

        They are those of the task's case; without one, the first baseline and the best other
        method. None if there are no two methods.
        """
        for case in self.cases:
            if case.task == task:
                return case.methods
        methods = self.methods[task]
        baseline = next(iter(self.baselines(task)), methods[0])
        best = self.best(task)
        others = [method for method in methods if method != baseline]
        if not others:
            return None
        return baseline, best if best in others else others[0]

    def write(self, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Write what ``deepcams-bench simulation`` writes, file by file."""
        write_files(folder, self, progress)

    def lines(self) -> list[str]:
        """Return what is printed when a run is done: the averages of each table, then the notes."""
        lines = [notebook.MARK] if self.synthetic else []
        weighted = self.summary["weights"] == self.weights
        shown = self.summary[weighted & (self.summary["aggregate"] == "months")]
        for task, rows in shown.groupby("task", sort=False):
            months = tables.all_hours(self.months[cast("Task", task)])
            scored = (months.loc[months["month"] != tables.AVERAGE, "n"] > 0).sum()
            lines.append(f"{task}: mean of {scored} months, ug m-3")
            whole = tables.all_hours(rows)
            width = max(len(name) for name in whole["method"])
            lines += [
                f"  {row['method']:<{width}}  n = {row['n_samples']:,}  R = {row['r']:.4f}  "
                f"RMSE = {row['rmse']:.3f}  MAE = {row['mae']:.3f}"
                for row in records(whole)
            ]
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def __repr__(self) -> str:
        methods = "; ".join(f"{task}: {', '.join(names)}" for task, names in self.methods.items())
        mark = f"; {SYNTHETIC}" if self.synthetic else ""
        return f"<SimulationRun of {self.year}, {methods}{mark}>"

    def _repr_html_(self) -> str:
        table = self.summary
        chosen = (table["weights"] == self.weights) & (table["aggregate"] == "months")
        columns = ["task", "method", "hours", "n_samples", *tables.TABLE_SCORES]
        digits = {key: METRICS[key].digits for key in tables.TABLE_SCORES}
        shown = table.loc[chosen, columns].round(digits)
        caption = f"Mean of the months of {self.year}; RMSE and MAE in {wording.UNIT}"
        return notebook.as_html(shown, caption, self.notes, synthetic=self.synthetic)


def simulate(
    options: SimulationOptions,
    store: MonthStore,
    *,
    resume: bool = False,
    synthetic: bool = False,
    command: str = "deepcams_eval.simulation",
) -> SimulationRun:
    """Benchmark methods of downscaling on a year of hourly truth.

    Parameters
    ----------
    options : SimulationOptions
        What is simulated, and how; the truth is named, whatever lies in its folder of data.
    store : MonthStore
        Where months that are done are kept.
    resume : bool
        Whether the months that are there already are taken as they are.
    synthetic, command
        As in `SimulationRun`.

    Raises
    ------
    InputError
        If an input cannot be used.
    NoDataError
        If there is no hour of the year, no method, or no task of which an hour can be scored.
    """
    clock_start = time.perf_counter()
    if options.truth is None:
        raise OptionError("truth is not named", flag="--truth")
    product = open_product(options.truth, strict=options.strict)
    # Flow, warping and spectra take columns for neighbours in every task.
    require_even_grid(product)
    operator = degradation(options.degrade)
    plan = Plan(product.field, options.year)
    predictions = [open_product(one.product, strict=options.strict) for one in options.predictions]
    chosen = _possible(_choose(options, predictions), plan)
    truth, left_out = product.field, None
    if set(chosen.methods) != {"temporal"}:
        truth, left_out = fitted_to(operator, product.field)
    _require_columns(product, truth)
    networks = (registry.checkpoint_files(one.path) for one in options.checkpoints)
    inputs = (product.files, *(one.files for one in predictions), *networks)
    store.start(_fingerprint(options, inputs, chosen), resume=resume)
    store.check(plan.months)
    chosen = train(
        chosen,
        truth,
        operator,
        year=options.year,
        asked=options.train_years,
        progress=options.progress,
    )
    few_days = sum(1 for month in plan.months for _ in plan.days(month)) < MIN_CLUSTERS
    work = Work(operator, chosen.methods, shown_of(chosen.methods), by_tile=few_days)
    _score_all(plan, truth, work, store, options)
    merged = MonthResult.merged(store.read(month) for month in plan.months)
    names = {task: tuple(one.name for one in methods) for task, methods in chosen.methods.items()}
    samples = merged.samples
    common = tables.common(samples[samples["cells_truth"] > 0])
    tables.require_common(names, common, samples)
    counts = plan.counts(tuple(names), samples)
    notes = list(notes_of(product, predictions, chosen, merged, counts, between=plan.between))
    notes += chosen.said(truth)
    notes += [] if left_out is None else [f"{left_out}."]
    printed = {"temporal": published.table2(), "spatial": published.table3()}
    scores = skill(
        common,
        BASELINES,
        tiles=merged.tiles,
    )
    spectra = ZonalSpectrum(truth["longitude"].values).tables(merged.power)
    return SimulationRun(
        options=replace(options, compute=None, progress=None),
        product=product,
        truth=truth,
        methods=names,
        available=chosen.available,
        samples=samples,
        months={
            task: tables.month_table(
                common,
                task,
                methods,
                options.weights,
                options.year,
                printed.get(task),
            )
            for task, methods in names.items()
        },
        summary=tables.ordered(tables.summary(common), names),
        skill=tables.ordered(scores, names),
        spectra=tables.ordered(spectra, names),
        counts=counts,
        error_maps={
            key: np.sqrt(divide(total, count)).astype(np.float32)
            for key, (total, count) in merged.square_error.items()
        },
        cases=tuple(
            replay(truth, plan, work, task, merged.largest[task])
            for task in TASKS
            if task in merged.largest
        ),
        inputs=inputs,
        notes=notes,
        synthetic=synthetic,
        command=command,
        clock_start=clock_start,
    )


def _score_all(
    plan: Plan,
    truth: xr.DataArray,
    work: Work,
    store: MonthStore,
    options: SimulationOptions,
) -> None:
    compute, workers = options.compute, options.workers
    tell = options.progress or (lambda _step, _done, _total: None)
    days = {month: sum(1 for _ in plan.days(month)) for month in plan.months}
    todo = [month for month in plan.months if not store.has(month)]
    total = sum(days.values())
    done = total - sum(days[month] for month in todo)
    tell("days", done, total)
    if compute is None:
        for month in todo:

            def tick() -> None:
                nonlocal done
                done += 1
                tell("days", done, total)

            store.write(month, score_month(truth, plan, month, work, tick))
        return
    at_once = max(1, workers)
    for first in range(0, len(todo), at_once):
        batch = todo[first : first + at_once]
        compute([_task(truth, plan, month, work, store) for month in batch])
        done += sum(days[month] for month in batch)
        tell("days", done, total)


def _task(truth: xr.DataArray, plan: Plan, month: str, work: Work, store: MonthStore) -> Any:
    # The truth goes as a constructor: dask would compute the lazy array of an argument.
    def run() -> str:
        store.write(month, score_month(truth, plan, month, work))
        return month

    return delayed(run)()


def _choose(options: SimulationOptions, predictions: Sequence[Product]) -> Chosen:
    trained = tuple(registry.checkpoint(one.name, one.path) for one in options.checkpoints)
    files = tuple(
        Prediction(spec.product.name, spec.task, product.field)
        for spec, product in zip(options.predictions, predictions, strict=True)
    )
    chosen = choose(options.task, options.methods, files, trained)
    named = [part for name in options.methods or () for part in name.split("+")]
    return chosen.suited(options.degrade, [*named, *(one.name for one in options.checkpoints)])


def _possible(chosen: Chosen, plan: Plan) -> Chosen:
    """Leave out the tasks of which the truth has no hour to score."""
    scored = plan.counts(tuple(chosen.methods)).groupby("task")["scored"].sum()
    tasks = [task for task in chosen.methods if scored[task]]
    if not tasks:
        raise NoDataError(
            f"no hour of {plan.year} can be scored: no interval of three hours is complete",
            hint="give consecutive hours, from 00, 03, ... UTC to the next of them",
        )
    return chosen.only(tasks, "no interval of three hours of the truth is complete")


def _require_columns(product: Product, truth: xr.DataArray) -> None:
    """Refuse a truth too narrow for spectra, by its size as given and as it is used."""
    if truth.sizes["longitude"] >= MIN_COLUMNS:
        return
    given, used = (
        f"{one.sizes['latitude']} x {one.sizes['longitude']}" for one in (product.field, truth)
    )
    cropped = "" if given == used else f", of which the operator in space takes {used},"
    raise InputError(
        f"{product.name}: {given} rows and columns{cropped} are too few for a spectrum",
        path=product.files[0] if product.files else None,
        hint="give six columns or more",
    )


def _fingerprint(options: SimulationOptions, inputs: Inputs, chosen: Chosen) -> dict[str, Any]:
    """Return what must be the same for months of an interrupted run to be of use."""
    kept = {
        key: value
        for key, value in options.settings().items()
        if key not in ("seed", "weights", "workers")
    }
    truth, *others = states(inputs)
    of_predictions = len(options.predictions)
    return {
        **kept,
        "methods": {
            task: [f"{one.name} ({chosen.sources[task, one.name]})" for one in methods]
            for task, methods in chosen.methods.items()
        },
        "files of the truth": truth,
        "files of predictions": others[:of_predictions],
        "files of checkpoints": others[of_predictions:],
    }
