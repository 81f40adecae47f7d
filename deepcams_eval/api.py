"""The commands as functions, for notebooks and scripts: ``import deepcams_eval as dc``."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex

from deepcams_eval.api_results import InsituRun
from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.run import (
    CheckpointSpec,
    PredictionSpec,
    SimulationRun,
    SimulationSettings,
    simulate,
)
from deepcams_eval.downscale import TASKS, Task
from deepcams_eval.errors import InputError
from deepcams_eval.evidence.assessment import AVERAGES, Average
from deepcams_eval.inputs import Progress, insitu_inputs, lies_in_demo, truth_input
from deepcams_eval.pair.colocate import Compute
from deepcams_eval.pair.qc import QcSettings
from deepcams_eval.pair.samples import Sample
from deepcams_eval.read.product import ProductSpec
from deepcams_eval.validation import InsituSettings
from deepcams_eval.validation import insitu as run_insitu

Paths = Path | str | Sequence[Path | str]

_TASK_KEY = "task="


def insitu(
    years: int | Iterable[int],
    *,
    data: Path | str | None = None,
    observations: Paths = (),
    products: Mapping[str, Path | str] | None = None,
    stations: Path | str | None = None,
    months: int | Iterable[int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    countries: str | Iterable[str] = (),
    shifts: Mapping[str, float] | None = None,
    baseline: str | None = None,
    sample: Sample = "common",
    reference_only: bool = False,
    qc: Mapping[str, Any] | None = None,
    average: str = "hour",
    added_value: bool = True,
    sensitivity: bool = True,
    seed: int = 0,
    resamples: int = 1000,
    strict: bool = False,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> InsituRun:
    """Validate gridded products against stations, as ``deepcams-eval openaq`` does.

    Parameters
    ----------
    years : int or iterable of int
        Years (UTC) that are scored.
    data : Path or str, optional
        Folder with ``openaq/``, ``cams/``, ``geoscf/`` and ``deepcams/``, or ``"demo"`` for a
        synthetic archive, made once. Without it and `observations` ``$DEEPCAMS_DATA``, then
        ``./data``.
    observations : path or sequence of paths
        Files, folders or globs in any OpenAQ form, instead of those in `data`.
    products : mapping of str to path, optional
        By name a path, with ``,key=value`` behind it where the files do not say enough, or
        ``linear:PARENT``; beside those in `data`.
    stations : path, optional
        Station file with coordinates, provider and country.
    months : int or iterable of int, optional
        Months, 1 to 12, of each year; all if absent.
    bbox : tuple of float, optional
        West, south, east, north in degrees; west > east crosses the date line.
    countries : str or iterable of str
        ISO 3166-1 alpha-2 codes; all if empty.
    shifts : mapping of str to float, optional
        Hours to add to the times of a provider's records, by provider.
    baseline : str, optional
        Product that differences are taken from; ``cams``, else the first.
    sample : {"common", "own"}
        Sample of figures and station scores; `InsituRun.scores` holds both.
    reference_only : bool
        Whether reference-grade instruments alone are used.
    qc : mapping, optional
        Thresholds of the quality control by name, as in `deepcams_eval.pair.qc.QcSettings`.
    average : {"hour", "day", "month", "year"}
        What is scored: hourly pairs, or means of complete periods of the common sample.
    added_value : bool
        Whether products finer than the baseline are compared with interpolations of it.
    sensitivity : bool
        Whether all is scored again under other choices, for which products are read twice more.
    seed, resamples : int
        Of the bootstrap.
    strict : bool
        Whether a damaged file is an error instead of a note.
    compute : callable, optional
        Runs the dask tasks that read products, such as
        ``lambda tasks: client.gather(client.compute(list(tasks)))``; in this process if absent.
    progress : callable, optional
        Called with the name of the step, the units done and the units in all.

    Returns
    -------
    InsituRun
        Tables, figures and `InsituRun.save`, which writes what the command writes.

    Raises
    ------
    InputError
        If an input cannot be used.
    NoDataError
        If nothing is left to score.

    Examples
    --------
    >>> import deepcams_eval as dc
    >>> result = dc.insitu(2019, data="demo", sensitivity=False, resamples=100)
    >>> whole = result.scores.query("stratum == 'all' and sample == 'common'")
    >>> best = whole.loc[whole["r"].idxmax()]
    >>> best["product"]
    'geoscf'
    >>> bool(best["r_lo"] < best["r"] < best["r_hi"])
    True
    """
    clock = time.perf_counter()
    years, months = _numbers(years), None if months is None else _numbers(months)
    asked = {name: value for name, value in locals().items() if name not in _NOT_SAID}
    given = insitu_inputs(
        data,
        observations=_paths(observations),
        products=[ProductSpec.parse(f"{name}={path}") for name, path in (products or {}).items()],
        stations=None if stations is None else Path(stations),
        progress=progress,
    )
    settings = InsituSettings(
        observations=given.observations,
        products=given.products,
        qc=QcSettings(
            years=years,
            months=months,
            reference_only=reference_only,
            **(qc or {}),
        ),
        stations=given.stations,
        bbox=bbox,
        countries=_codes(countries),
        shifts=dict(shifts or {}),
        baseline=baseline,
        sample=_sample(sample),
        average=_average(average),
        added_value=added_value,
        sensitivity=sensitivity,
        seed=seed,
        resamples=resamples,
        strict=strict,
        workers=os.cpu_count() or 1,
    )
    result = run_insitu(settings, compute=compute, progress=progress)
    return InsituRun(result, settings, given.synthetic, _call("insitu", asked), clock)


def simulation(
    year: int,
    *,
    data: Path | str | None = None,
    truth: Path | str | None = None,
    train_years: int | Iterable[int] | None = None,
    task: str = "all",
    methods: str | Iterable[str] | None = None,
    predictions: Mapping[str, Path | str] | None = None,
    checkpoints: Mapping[str, Path | str] | None = None,
    degrade: str = "imresize",
    weights: str = "none",
    seed: int = 0,
    resamples: int = 1000,
    strict: bool = False,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> SimulationRun:
    """Degrade hourly 0.25° truth, downscale it and score it, as ``deepcams-bench simulation``.

    Parameters
    ----------
    year : int
        The year that is scored.
    data : Path or str, optional
        Folder whose ``geoscf/`` is the truth, or ``"demo"``; else as in `insitu`.
    truth : path, optional
        Hourly fields, ``PATH[,key=value]…``, instead.
    train_years : int or iterable of int, optional
        Years of the truth that methods learn from; if absent those before `year` with `data`, and
        none with `truth`.
    task : {"all", "temporal", "spatial", "joint"}
        Which tables are made.
    methods : str or iterable of str, optional
        Names such as ``"linear"`` or ``"dis+bicubic"``; all that can run if absent.
    predictions : mapping of str to path, optional
        Files of another model as a method, by name; ``,task=temporal`` behind the path says which
        table where `task` leaves it open (``joint``).
    checkpoints : mapping of str to path, optional
        Trained networks as methods, by name.
    degrade : {"imresize", "mean", "node"}
        Operator in space.
    weights : {"none", "area"}
        Weights of cells in figures and in what is printed; the tables hold both.
    seed, resamples : int
        Of the bootstrap over days.
    strict : bool
        Whether a damaged file is an error instead of a note.
    compute : callable, optional
        Runs dask tasks, each a month; in this process if absent.
    progress : callable, optional
        Called with the name of the step, the units done and the units in all.

    Returns
    -------
    SimulationRun
        Tables, and `SimulationRun.save`, which writes what the command writes.

    Raises
    ------
    InputError
        If an input cannot be used.
    NoDataError
        If there is no hour of the year or no method.

    Examples
    --------
    >>> import deepcams_eval as dc
    >>> result = dc.simulation(
    ...     2020, data="demo", task="temporal", methods="nearest,linear,dis", resamples=100
    ... )
    >>> mean = result.summary.query("weights == 'none' and aggregate == 'months'")
    >>> mean.sort_values("rmse")["method"].tolist()
    ['dis', 'linear', 'nearest']
    """
    clock = time.perf_counter()
    asked = {name: value for name, value in locals().items() if name not in _NOT_SAID}
    tasks = _tasks(task)
    spec = truth_input(data, truth, progress=progress)
    settings = SimulationSettings(
        year=year,
        truth=spec,
        train_years=_training(train_years, year, of_folder=truth is None),
        tasks=tasks,
        methods=None if methods is None else _names(methods),
        predictions=tuple(
            _prediction(name, str(path), tasks) for name, path in (predictions or {}).items()
        ),
        checkpoints=tuple(
            CheckpointSpec(name, Path(path)) for name, path in (checkpoints or {}).items()
        ),
        degrade=degrade,
        weights=_one_of("weights", weights, ("none", "area")),
        seed=seed,
        resamples=resamples,
        strict=strict,
        workers=1 if compute is None else 12,
    )
    with tempfile.TemporaryDirectory(prefix="deepcams-") as folder:
        return simulate(
            settings,
            MonthStore(Path(folder) / "months"),
            compute=compute,
            progress=progress,
            synthetic=lies_in_demo(Path(spec.path)),
            command=_call("simulation", asked),
            clock_start=clock,
        )


_NOT_SAID = ("clock", "compute", "progress")


def _call(name: str, asked: Mapping[str, Any]) -> str:
    """Return the call as it would be written, for ``run.json``; what is absent is left out."""
    given = {key: value for key, value in asked.items() if value is not None}
    said = [
        f"{key}={value!r}" for key, value in given.items() if not isinstance(value, tuple) or value
    ]
    return f"deepcams_eval.{name}({', '.join(said)})"


def _numbers(given: int | Iterable[int]) -> tuple[int, ...]:
    numbers = (given,) if isinstance(given, SupportsIndex) else given
    return tuple(sorted({index(one) for one in numbers}))


def _paths(given: Paths) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else given
    return tuple(part.strip() for part in parts if part.strip())


def _codes(given: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(code.upper() for code in _names(given))


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise InputError(f"{name} is {value!r}", hint=f"use one of {', '.join(allowed)}")
    return value


def _sample(value: str) -> Sample:
    return "own" if _one_of("sample", value, ("common", "own")) == "own" else "common"


def _average(value: str) -> Average:
    _one_of("average", value, AVERAGES)
    return next(one for one in AVERAGES if one == value)


def _tasks(value: str) -> tuple[Task, ...]:
    _one_of("task", value, ("all", *TASKS))
    return TASKS if value == "all" else tuple(task for task in TASKS if task == value)


def _training(
    given: int | Iterable[int] | None, year: int, *, of_folder: bool
) -> tuple[int, ...] | None:
    if given is None:
        return None if of_folder else ()
    years = _numbers(given)
    if year in years:
        raise InputError(f"train_years has {year}, which is scored", hint="leave it out")
    return years


def _prediction(name: str, path: str, tasks: Sequence[Task]) -> PredictionSpec:
    """Return a prediction and the task that its path names, else the only one, else ``joint``."""
    parts = path.split(",")
    said = [part.removeprefix(_TASK_KEY) for part in parts if part.startswith(_TASK_KEY)]
    wanted = said[-1] if said else (tasks[0] if len(tasks) == 1 else "joint")
    _one_of(f"the task of the prediction {name!r}", wanted, tasks)
    rest = ",".join(part for part in parts if not part.startswith(_TASK_KEY))
    found = next(task for task in tasks if task == wanted)
    return PredictionSpec(ProductSpec.parse(f"{name}={rest}"), found)
