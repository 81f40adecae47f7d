"""Where the data of a run lie: a folder in the standard layout, the demo, or paths one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepcams_eval import demo
from deepcams_eval.errors import InputError
from deepcams_eval.read.layout import find_data
from deepcams_eval.read.product import ProductSpec

DATA_VARIABLE = "DEEPCAMS_DATA"
DEMO = "demo"
TRUTH = "geoscf"
"""The folder of hourly truth in the standard layout."""

Progress = Callable[[str, int, int], None]

_NO_DATA = (
    "no data given: use --data demo to try it on synthetic data, --data DIR or --observations and "
    "--product for your own, or get data with deepcams-eval fetch"
)
_NO_OBSERVATIONS = "put OpenAQ files into DIR/openaq, or add --observations PATH"
_NO_PRODUCT = "put products into DIR/cams, DIR/deepcams or DIR/geoscf, or add --product NAME=PATH"
_NO_TRUTH = "there is no truth to score against"
_GIVE_TRUTH = "try --data demo, or give --truth PATH[,key=value] or --data DIR with DIR/geoscf"


@dataclass(frozen=True)
class InsituInputs:
    """What is validated, and against what.

    Attributes
    ----------
    observations : tuple of Path
        Files, folders or globs; at least one.
    stations : Path or None
        Station file.
    products : tuple of ProductSpec
        At least one; those of the data folder first.
    synthetic : bool
        Whether any of it lies in a synthetic archive.
    """

    observations: tuple[Path, ...]
    stations: Path | None
    products: tuple[ProductSpec, ...]
    synthetic: bool


def insitu_inputs(
    data: Path | str | None,
    *,
    observations: Sequence[Path] = (),
    products: Sequence[ProductSpec] = (),
    stations: Path | None = None,
    progress: Progress | None = None,
) -> InsituInputs:
    """Return the inputs of a validation.

    Parameters
    ----------
    data : Path or str, optional
        Folder in the standard layout, or ``"demo"``. Without it and without `observations`
        ``$DEEPCAMS_DATA`` is taken, then ``./data``.
    observations : sequence of Path
        Instead of those of the folder.
    products : sequence of ProductSpec
        Beside those of the folder; one of the same name takes its place.
    stations : Path, optional
        Instead of that of the folder.
    progress : callable, optional
        Told while the demo archive is made.

    Raises
    ------
    InputError
        If there are no observations or no product.
    """
    specs, paths = tuple(products), tuple(observations)
    if data is None and not paths:
        data = _usual_folder()
        if data is None:
            raise InputError(_NO_DATA)
    if data is not None:
        found = find_data(data_folder(data, progress))
        taken = {spec.name for spec in specs}
        specs = (*(spec for spec in found.products if spec.name not in taken), *specs)
        if not paths and found.observations is not None:
            paths, stations = (found.observations,), stations or found.stations
    where = str(data or "the command")
    if not paths:
        raise InputError(f"{where} has no observations", hint=_NO_OBSERVATIONS)
    if not specs:
        raise InputError(f"{where} has no product", hint=_NO_PRODUCT)
    files = (*paths, *(Path(spec.path) for spec in specs if spec.derived is None))
    return InsituInputs(paths, stations, specs, any(lies_in_demo(path) for path in files))


def truth_input(
    data: Path | str | None,
    truth: Path | str | None = None,
    *,
    progress: Progress | None = None,
) -> ProductSpec:
    """Return the hourly truth of a simulation.

    Parameters
    ----------
    data : Path or str, optional
        As in `insitu_inputs`; its folder ``geoscf`` is the truth.
    truth : Path or str, optional
        ``PATH[,key=value]…`` instead.
    progress : callable, optional
        Told while the demo archive is made.

    Raises
    ------
    InputError
        If there is none.
    """
    if truth is not None:
        return ProductSpec.parse(f"truth={truth}")
    data = data if data is not None else _usual_folder()
    if data is None:
        raise InputError(_NO_TRUTH, hint=_GIVE_TRUTH)
    root = data_folder(data, progress)
    for spec in find_data(root).products:
        if spec.name == TRUTH:
            return spec
    raise InputError(f"has no folder {TRUTH}", path=root, hint=_GIVE_TRUTH)


def data_folder(data: Path | str, progress: Progress | None = None) -> Path:
    """Return a folder of data; ``"demo"`` is the synthetic archive, made where it is not yet."""
    if data != DEMO:
        return Path(data)
    tell = progress or (lambda _step, _done, _total: None)
    return demo.demo_archive(progress=lambda done, total: tell("demo archive", done, total))


def lies_in_demo(path: Path) -> bool:
    """Return whether a path lies in a synthetic archive."""
    absolute = path.absolute()
    return any(demo.is_demo(folder) for folder in (absolute, *absolute.parents))


def _usual_folder() -> str | None:
    return os.environ.get(DATA_VARIABLE) or ("data" if Path("data").is_dir() else None)
