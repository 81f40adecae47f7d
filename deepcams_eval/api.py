"""The commands as functions, for notebooks and scripts: ``import deepcams_eval as dc``."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from deepcams_eval import demo
from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.run import SimulationRun, simulate
from deepcams_eval.errors import InputError
from deepcams_eval.evidence.run import InsituRun
from deepcams_eval.options import (
    FilePath,
    InsituOptions,
    Progress,
    SimulationOptions,
    annotation_of,
    parameters_of,
)
from deepcams_eval.read.layout import find_data
from deepcams_eval.read.product import ProductSpec
from deepcams_eval.validation import insitu as validate

P = ParamSpec("P")
Options = TypeVar("Options", InsituOptions, SimulationOptions)
Run = TypeVar("Run")

DATA_VARIABLE = "DEEPCAMS_DATA"
DEMO = "demo"
TRUTH = "geoscf"
"""The folder of hourly truth in the standard layout."""

_NO_DATA = (
    "no data given: use --data demo to try it on synthetic data, --data DIR or --observations and "
    "--product for your own, or get data with deepcams-eval fetch"
)
_NO_OBSERVATIONS = "put OpenAQ files into DIR/openaq, or add --observations PATH"
_NO_PRODUCT = "put products into DIR/cams, DIR/deepcams or DIR/geoscf, or add --product NAME=PATH"
_NO_TRUTH = "there is no truth to score against"
_GIVE_TRUTH = "try --data demo, or give --truth PATH[,key=value] or --data DIR with DIR/geoscf"


def _with_options(
    record: Callable[P, Options],
) -> Callable[[Callable[[Options, str], Run]], Callable[P, Run]]:
    """Make a function of a run into one that takes the options of `record` as its parameters."""
    kind = cast("type", record)
    signature = inspect.signature(kind)

    def decorate(run: Callable[[Options, str], Run]) -> Callable[P, Run]:
        @wraps(run)
        def function(*args: P.args, **kwargs: P.kwargs) -> Run:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            options = record(*args, **kwargs)
            return run(options, _call(run.__name__, options, given.arguments))

        del function.__wrapped__
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[
                one.replace(annotation=annotation_of(kind, one.name))
                for one in signature.parameters.values()
            ],
            return_annotation=run.__annotations__["return"],
        )
        function.__annotations__ = {}
        function.__doc__ = (run.__doc__ or "").replace("<options>", parameters_of(kind))
        return function

    return decorate


def _call(name: str, options: object, given: Mapping[str, Any]) -> str:
    """Return the call as it would be written, for ``run.json``; what is absent is left out."""
    said = {
        key: getattr(options, key) if key in ("years", "months", "train_years") else value
        for key, value in given.items()
        if key not in ("compute", "progress", "workers")
    }
    shown = [
        f"{key}={value!r}"
        for key, value in said.items()
        if value is not None and (not isinstance(value, tuple) or value)
    ]
    return f"deepcams_eval.{name}({', '.join(shown)})"


@_with_options(InsituOptions)
def insitu(options: InsituOptions, command: str) -> InsituRun:
    """Validate gridded products against stations, as ``deepcams-eval openaq`` does.

    Parameters
    ----------
    <options>
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
        If an input cannot be used, or an option has a value that it cannot have.
    NoDataError
        If nothing is left to score.

    Examples
    --------
    >>> import deepcams_eval as dc
    >>> result = dc.insitu(2019, data="demo", sensitivity=False)
    >>> whole = result.scores.query("stratum == 'all' and sample == 'common'")
    >>> best = whole.loc[whole["r"].idxmax()]
    >>> best["product"]
    'geoscf'
    >>> bool(best["r_lo"] < best["r"] < best["r_hi"])
    True
    """
    return run_insitu(options, command)


@_with_options(SimulationOptions)
def simulation(options: SimulationOptions, command: str) -> SimulationRun:
    """Degrade hourly 0.25° truth, downscale it and score it, as ``deepcams-bench simulation``.

    Parameters
    ----------
    <options>
    compute : callable, optional
        Runs dask tasks, each a month; in this process if absent.
    progress : callable, optional
        Called with the name of the step, the units done and the units in all.
    workers : int, optional
        Months scored at a time by `compute`; 12 if absent.

    Returns
    -------
    SimulationRun
        Tables, and `SimulationRun.save`, which writes what the command writes.

    Raises
    ------
    InputError
        If an input cannot be used, or an option has a value that it cannot have.
    NoDataError
        If there is no hour of the year or no method.

    Examples
    --------
    >>> import deepcams_eval as dc
    >>> result = dc.simulation(
    ...     2020, data="demo", task="temporal", methods="nearest,linear,dis"
    ... )
    >>> mean = result.summary.query("weights == 'none' and aggregate == 'months'")
    >>> mean.sort_values("rmse")["method"].tolist()
    ['dis', 'linear', 'nearest']
    """
    with tempfile.TemporaryDirectory(prefix="deepcams-") as folder:
        return run_simulation(options, command, MonthStore(Path(folder) / "months"))


def run_insitu(options: InsituOptions, command: str) -> InsituRun:
    """Validate what the options name; what they leave out is looked for in the folder of data."""
    located = _located(options)
    paths = (
        *located.observations,
        *(Path(spec.path) for spec in located.products if spec.derived is None),
    )
    return validate(located, synthetic=any(map(lies_in_demo, paths)), command=command)


def run_simulation(
    options: SimulationOptions, command: str, store: MonthStore, *, resume: bool = False
) -> SimulationRun:
    """Run the simulation that the options name, and keep its months in `store` on the way."""
    data = usual_folder() if options.data is None and options.truth is None else options.data
    if options.truth is None:
        options = replace(options, data=data, truth=_truth_of(data, options.progress))
    elif options.train_years is None and not _holds(data, options.truth):
        options = replace(options, train_years=())
    synthetic = options.truth is not None and lies_in_demo(Path(options.truth.path))
    return simulate(options, store, resume=resume, synthetic=synthetic, command=command)


def _located(options: InsituOptions) -> InsituOptions:
    """Return options that name observations, a station file and products.

    Products of the data folder come first; one that is named takes the place of that of the same
    name. Observations that are named are taken instead of those of the folder.
    """
    specs, paths, stations = options.products, options.observations, options.stations
    data = options.data
    if data is None and not paths:
        data = usual_folder()
        if data is None:
            raise InputError(_NO_DATA)
    if data is not None:
        found = find_data(data_folder(data, options.progress))
        taken = {spec.name for spec in specs}
        specs = (*(spec for spec in found.products if spec.name not in taken), *specs)
        if not paths and found.observations is not None:
            paths, stations = (found.observations,), stations or found.stations
    where = str(data or "the command")
    if not paths:
        raise InputError(f"{where} has no observations", hint=_NO_OBSERVATIONS)
    if not specs:
        raise InputError(f"{where} has no product", hint=_NO_PRODUCT)
    return replace(options, data=None, observations=paths, products=specs, stations=stations)


def _truth_of(data: FilePath | None, progress: Progress | None = None) -> ProductSpec:
    if data is None:
        raise InputError(_NO_TRUTH, hint=_GIVE_TRUTH)
    root = data_folder(data, progress)
    found = [spec for spec in find_data(root).products if spec.name == TRUTH]
    if not found:
        raise InputError(f"has no folder {TRUTH}", path=root, hint=_GIVE_TRUTH)
    return found[0]


def _holds(data: FilePath | None, truth: ProductSpec) -> bool:
    """Return whether a truth is that of a data folder, as in the options of an earlier run."""
    return data is not None and Path(truth.path) == data_folder(data) / TRUTH


def data_folder(data: FilePath, progress: Progress | None = None) -> Path:
    """Return a folder of data; ``"demo"`` is the synthetic archive, made where it is not yet."""
    if data != DEMO:
        return Path(data)
    tell = progress or (lambda _step, _done, _total: None)
    return demo.demo_archive(progress=lambda done, total: tell("demo archive", done, total))


def usual_folder() -> str | None:
    """Return ``$DEEPCAMS_DATA``, else ``data`` where that is a folder, else None."""
    return os.environ.get(DATA_VARIABLE) or ("data" if Path("data").is_dir() else None)


def lies_in_demo(path: Path) -> bool:
    """Return whether a path lies in a synthetic archive."""
    absolute = path.absolute()
    return any(demo.is_demo(folder) for folder in (absolute, *absolute.parents))
