"""The simulation road: hourly truth in, degraded, downscaled by every method, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from dask.delayed import delayed

from deepcams_eval.bench import tables
from deepcams_eval.bench.boxes import box_cells
from deepcams_eval.bench.choice import BASELINES, Chosen, choose, shown_of
from deepcams_eval.bench.content import Case
from deepcams_eval.bench.inputs import Inputs, states
from deepcams_eval.bench.month import Key, Part, Work, replay, score_month
from deepcams_eval.bench.notes import notes_of
from deepcams_eval.bench.parts import Parts
from deepcams_eval.bench.plan import Plan, fitted_to, with_empty
from deepcams_eval.bench.skill import skill
from deepcams_eval.bench.spectra import MIN_COLUMNS, ZonalSpectrum
from deepcams_eval.bench.training import train
from deepcams_eval.core.field import FloatArray, Product
from deepcams_eval.downscale import TASKS, Task, registry
from deepcams_eval.downscale.degrade import degradation, require_even_grid
from deepcams_eval.downscale.plugins import Listed
from deepcams_eval.downscale.prediction import Prediction
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.pair.colocate import Compute
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_eval.report import published
from deepcams_eval.score.intervals import MIN_CLUSTERS

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PredictionSpec:
    """Files of somebody else's model, and the task in whose table they stand."""

    product: ProductSpec
    task: Task


@dataclass(frozen=True)
class CheckpointSpec:
    """A trained network, and what to call it."""

    name: str
    path: Path


@dataclass(frozen=True)
class SimulationSettings:
    """What is simulated, and how.

    Attributes
    ----------
    year : int
        The year scored.
    truth : ProductSpec
        Hourly fields.
    train_years : tuple of int or None
        Years of the truth that methods may learn from, never `year`; None for all before it.
    tasks : tuple of Task
        Which tables are made.
    methods : tuple of str or None
        Names of methods, all where None. The first of `BASELINES` is scored in any case.
    predictions : tuple of PredictionSpec
        Methods that exist as files.
    checkpoints : tuple of CheckpointSpec
        Trained networks, in place of what is registered under the same name or beside it.
    degrade : str
        Name of the operator in space.
    weights : {"none", "area"}
        Weights of cells in tables and figures; both are computed.
    seed, resamples : int
        Of the bootstrap over days.
    strict : bool
        Whether a damaged file is fatal.
    workers : int
        Months scored at a time where there are worker processes.
    """

    year: int
    truth: ProductSpec
    train_years: tuple[int, ...] | None = ()
    tasks: tuple[Task, ...] = TASKS
    methods: tuple[str, ...] | None = None
    predictions: tuple[PredictionSpec, ...] = ()
    checkpoints: tuple[CheckpointSpec, ...] = ()
    degrade: str = "imresize"
    weights: str = "none"
    seed: int = 0
    resamples: int = 1000
    strict: bool = False
    workers: int = 1


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """Everything that `simulate` found; the tables are those of the files of the same name.

    `methods` holds the tasks that were scored; `inputs` the files of the truth, of each
    prediction and of each checkpoint.
    """

    product: Product
    truth: xr.DataArray
    methods: dict[Task, tuple[str, ...]]
    available: tuple[Listed, ...]
    samples: pd.DataFrame
    months: dict[str, pd.DataFrame]
    summary: pd.DataFrame
    skill: pd.DataFrame
    spectra: pd.DataFrame
    counts: pd.DataFrame
    error_maps: dict[tuple[str, str], FloatArray]
    cases: tuple[Case, ...]
    inputs: Inputs
    notes: list[str] = field(default_factory=list)


def simulate(
    settings: SimulationSettings,
    parts: Parts,
    *,
    resume: bool = False,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> SimulationResult:
    """Benchmark methods of downscaling on a year of hourly truth.

    Parameters
    ----------
    settings : SimulationSettings
        What is simulated, and how.
    parts : Parts
        Where months that are done are kept.
    resume : bool
        Whether the months that are there already are taken as they are.
    compute : callable, optional
        Runs dask tasks, each a month; in this process where absent.
    progress : callable, optional
        Called with the name of the step, the units done and the units in all.

    Raises
    ------
    InputError
        If an input cannot be used.
    NoDataError
        If there is no hour of the year, no method, or no task of which an hour can be scored.
    """
    product = open_product(settings.truth, strict=settings.strict)
    # Flow, warping and spectra take columns for neighbours in every task.
    require_even_grid(product)
    operator = degradation(settings.degrade)
    plan = Plan(product.field, settings.year)
    predictions = [
        open_product(one.product, strict=settings.strict) for one in settings.predictions
    ]
    chosen = _possible(_choose(settings, predictions), plan)
    truth, left_out = product.field, None
    if set(chosen.methods) != {"temporal"}:
        truth, left_out = fitted_to(operator, product.field)
    _require_columns(product, truth)
    inputs = _inputs(settings, product, predictions)
    parts.start(_fingerprint(settings, inputs, chosen), resume=resume)
    parts.check(plan.months)
    learnt = train(
        chosen,
        truth,
        operator,
        year=settings.year,
        asked=settings.train_years,
        progress=progress,
    )
    work = Work(operator, learnt.methods, shown_of(learnt.methods), by_tile=_few_days(plan))
    _score_all(plan, truth, work, parts, settings.workers, compute, progress)
    merged = merge(parts.read(month) for month in plan.months)
    result = _tabulate(merged, plan, truth, product, predictions, learnt, work, settings, inputs)
    result.notes.extend(learnt.said(truth))
    if left_out is not None:
        result.notes.append(f"{left_out}.")
    return result


def merge(parts: Iterator[Part]) -> Part:
    """Merge months into one; sums add up and the largest difference wins."""
    total = Part()
    samples = []
    for part in parts:
        samples.append(part.samples)
        _add(total.power, part.power)
        _add(total.square_error, part.square_error)
        _add(total.tiles, part.tiles)
        total.short += part.short
        for task, one in part.largest.items():
            if task not in total.largest or one.difference > total.largest[task].difference:
                total.largest[task] = one
    filled = [table for table in samples if len(table)]
    total.samples = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
    return total


def _few_days(plan: Plan) -> bool:
    return sum(1 for month in plan.months for _ in plan.days(month)) < MIN_CLUSTERS


def _add(total: dict[Key, Any], part: Mapping[Key, Any]) -> None:
    for key, value in part.items():
        total[key] = total[key] + value if key in total else value


def _score_all(
    plan: Plan,
    truth: xr.DataArray,
    work: Work,
    parts: Parts,
    workers: int,
    compute: Compute | None,
    progress: Progress | None,
) -> None:
    tell = progress or (lambda _step, _done, _total: None)
    days = {month: sum(1 for _ in plan.days(month)) for month in plan.months}
    total, done = sum(days.values()), 0
    todo = []
    for month in plan.months:
        if parts.has(month):
            done += days[month]
        else:
            todo.append(month)
    tell("days", done, total)
    if compute is None:
        for month in todo:

            def tick() -> None:
                nonlocal done
                done += 1
                tell("days", done, total)

            parts.write(month, score_month(truth, plan, month, work, tick))
        return
    for first in range(0, len(todo), max(1, workers)):
        batch = todo[first : first + max(1, workers)]
        compute([_task(truth, plan, month, work, parts) for month in batch])
        done += sum(days[month] for month in batch)
        tell("days", done, total)


def _task(truth: xr.DataArray, plan: Plan, month: str, work: Work, parts: Parts) -> Any:
    # The truth goes as a constructor: dask would compute the lazy array of an argument.
    def run() -> str:
        parts.write(month, score_month(truth, plan, month, work))
        return month

    return delayed(run)()


def _choose(settings: SimulationSettings, predictions: Sequence[Product]) -> Chosen:
    trained = tuple(registry.checkpoint(one.name, one.path) for one in settings.checkpoints)
    files = tuple(
        Prediction(spec.product.name, spec.task, product.field)
        for spec, product in zip(settings.predictions, predictions, strict=True)
    )
    chosen = choose(settings.tasks, settings.methods, files, trained)
    named = [part for name in settings.methods or () for part in name.split("+")]
    return chosen.suited(settings.degrade, [*named, *(one.name for one in settings.checkpoints)])


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


def _inputs(settings: SimulationSettings, truth: Product, predictions: Sequence[Product]) -> Inputs:
    networks = (registry.checkpoint_files(one.path) for one in settings.checkpoints)
    return (truth.files, *(one.files for one in predictions), *networks)


def _fingerprint(settings: SimulationSettings, inputs: Inputs, chosen: Chosen) -> dict[str, Any]:
    """Return what must be the same for months of an interrupted run to be of use."""
    kept = {
        key: value
        for key, value in asdict(settings).items()
        if key not in ("seed", "resamples", "weights", "workers")
    }
    truth, *others = states(inputs)
    of_predictions = len(settings.predictions)
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


def _tabulate(
    merged: Part,
    plan: Plan,
    truth: xr.DataArray,
    product: Product,
    predictions: Sequence[Product],
    chosen: Chosen,
    work: Work,
    settings: SimulationSettings,
    inputs: Inputs,
) -> SimulationResult:
    names = {task: tuple(one.name for one in methods) for task, methods in chosen.methods.items()}
    samples = merged.samples
    common, _ = tables.common(samples[samples["cells_truth"] > 0])
    _require_common(names, common, samples)
    printed = {"temporal": published.table2(), "spatial": published.table3()}
    result = SimulationResult(
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
                settings.weights,
                year=settings.year,
                published=printed.get(task),
            )
            for task, methods in names.items()
        },
        summary=_ordered(tables.summary(common), names),
        skill=_ordered(
            skill(
                common,
                BASELINES,
                rng=np.random.default_rng(settings.seed),
                resamples=settings.resamples,
                tiles=merged.tiles,
            ),
            names,
        ),
        spectra=_ordered(_spectra(merged, truth), names),
        counts=with_empty(plan.counts(tuple(names)), samples),
        error_maps={
            key: np.sqrt(
                np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
            ).astype(np.float32)
            for key, (total, count) in merged.square_error.items()
        },
        cases=tuple(_cases(merged, plan, truth, work)),
        inputs=inputs,
    )
    result.notes.extend(
        notes_of(product, predictions, chosen, merged, result.counts, between=plan.between)
    )
    return result


def _require_common(
    names: Mapping[Task, tuple[str, ...]], common: pd.DataFrame, samples: pd.DataFrame
) -> None:
    """Refuse a task without an hour that all its methods have, naming the one with fewest."""
    for task in names:
        if (common["task"] == task).any():
            continue
        of_task = samples[samples["task"] == task]
        if not of_task["cells_truth"].any():
            raise NoDataError(
                f"the truth has no value in any hour of the {task} task",
                hint="check the truth, or leave the task out with --task",
            )
        valued = of_task[of_task["cells_missing"] < of_task["cells_truth"]]
        hours = valued.groupby("method")["hour_start"].nunique()
        hours = hours.reindex(list(names[task]), fill_value=0)
        raise NoDataError(
            f"no cell of any hour has a value of every {task} method; {hours.idxmin()!r} has"
            f" {hours.min()} hours with a value",
            hint="check its times and the gaps of the truth, or leave it out",
        )


def _ordered(table: pd.DataFrame, names: Mapping[Task, Sequence[str]]) -> pd.DataFrame:
    """Put the rows in the order of the tables; rows of one method stay as they are."""
    place = {(task, name): i for task in names for i, name in enumerate(names[task])}
    tasks = {task: i for i, task in enumerate(names)}
    keys = [
        (tasks[task], place[task, method])
        for task, method in zip(table["task"], table["method"], strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return table.iloc[order].reset_index(drop=True)


def _spectra(merged: Part, truth: xr.DataArray) -> pd.DataFrame:
    spectrum = ZonalSpectrum(truth["longitude"].values)
    found = [
        spectrum.table(sums).assign(task=task, method=method)
        for (task, method), sums in merged.power.items()
    ]
    table = pd.concat(found, ignore_index=True)
    return table[["task", "method", *(name for name in table if name not in ("task", "method"))]]


def _cases(merged: Part, plan: Plan, truth: xr.DataArray, work: Work) -> Iterator[Case]:
    latitude, longitude = truth["latitude"].values, truth["longitude"].values
    box = box_cells(latitude, longitude)
    for task in TASKS:
        if task not in merged.largest:
            continue
        found = merged.largest[task]
        frame, estimates = replay(truth, plan, work, task, found.time)
        south, north = found.row - box.height // 2, found.row + box.height // 2
        west, east = found.column - box.width // 2, found.column + box.width // 2
        yield Case(
            task=task,
            time=found.time,
            methods=work.shown[task],
            truth=frame,
            estimates=estimates,
            box=(longitude[west], latitude[south], longitude[east], latitude[north]),
            difference=found.difference,
        )
