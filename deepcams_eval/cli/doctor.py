"""``deepcams-eval doctor``: what is installed, what is there, and what gets the rest."""

from __future__ import annotations

import os
import platform
import re
import shlex
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deepcams_eval import __version__
from deepcams_eval.cli.running import INSTALL, Data, command, data_folder
from deepcams_eval.errors import InputError

if TYPE_CHECKING:
    import numpy as np

Month = tuple[int, int]

_CORE = ("numpy", "pandas", "polars", "xarray", "netCDF4", "dask", "matplotlib")
_EXTRAS = {
    "fetch": ("openaq", "cdsapi", "obstore", "requests"),
    "models": ("torch", "safetensors"),
}
_STEPS_A_DAY = {"openaq": 0, "cams": 8, "deepcams": 24, "geoscf": 24}
_NEEDED = (
    ("Fig. 6 and the abstract (2017-2019)", range(2017, 2020), ("openaq", "cams", "deepcams")),
    ("Tables 2 and 3 (2018-2020)", range(2018, 2021), ("geoscf",)),
)
_MONTHLY = re.compile(r"year=(\d{4})/month=(\d{1,2})/")
_MONTHS = range(1, 13)


@command()
def doctor(
    data: Data = None,
) -> None:
    """Show what is installed, which keys are set, what the data folder holds and what is missing.

    Values of keys are never shown, and no server is asked.

    Example: `deepcams-eval doctor --data data`
    """
    folder = data_folder(data)
    for line in (*_installed(), "", *_keys(), "", *_data(folder)):
        typer.echo(line)


def _installed() -> Iterator[str]:
    yield f"deepcams {__version__}, Python {platform.python_version()}"
    yield "  " + ", ".join(f"{name} {_version(name)}" for name in _CORE)
    for extra, names in _EXTRAS.items():
        absent = any(_version(name) == "absent" for name in names)
        found = ", ".join(f"{name} {_version(name)}" for name in names)
        get = f": {INSTALL.replace('fetch', extra)}" if absent else ""
        yield f"  [{extra}] {found}{get}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _keys() -> Iterator[str]:
    from deepcams_eval.fetch.local import OPENAQ_KEY_VARIABLE, find_ads_key

    ads = find_ads_key()
    if ads is None:
        yield "CAMS key: not set (CDSAPI_KEY, or a 'key:' line in ~/.cdsapirc)"
    else:
        yield f"CAMS key: set in {ads.found_in}, for {ads.url}"
    state = "set" if os.environ.get(OPENAQ_KEY_VARIABLE) else "not set"
    yield f"OpenAQ key: {OPENAQ_KEY_VARIABLE} is {state} (fetch openaq also takes --key-file)"
    yield "GEOS-CF, DeepCAMS: no key needed"


def _data(root: Path) -> Iterator[str]:
    from deepcams_eval.fetch.local import held_hours

    yield f"data folder {root}:" + ("" if root.is_dir() else " there is none")
    openaq, unit, unread = _openaq(root / "openaq")
    cams, broken = _steps(root / "cams", "cams")
    deepcams, broken_too = _steps(root / "deepcams", "deepcams")
    geoscf = Counter((stamp.year, stamp.month) for stamp, _ in held_hours(root / "geoscf"))
    held = {"openaq": openaq, "cams": cams, "deepcams": deepcams, "geoscf": geoscf}
    units = {"openaq": unit, "geoscf": "hours"}
    for source, counts in held.items():
        yield from _held(source, counts, units.get(source, "steps"))
    yield from (f"  not counted: {line}" for line in (*unread, *broken, *broken_too))
    yield ""
    for what, years, sources in _NEEDED:
        yield f"for {what}:"
        for source in sources:
            yield from _wanting(source, held[source], years, root)


def _openaq(folder: Path) -> tuple[Counter[Month], str, list[str]]:
    """Return the rows of compacted months, else the files of the raw tree, by month, and notes."""
    import pyarrow.parquet as pq

    rows: Counter[Month] = Counter()
    files: Counter[Month] = Counter()
    notes = []
    for path in _files(folder):
        found = _MONTHLY.search(path.relative_to(folder).as_posix())
        if found is None:
            continue
        month = int(found[1]), int(found[2])
        if path.suffix != ".parquet":
            files[month] += 1
            continue
        try:
            rows[month] += pq.read_metadata(path).num_rows
        except (OSError, ValueError):
            notes.append(f"{path}: is no Parquet file that can be read")
    return (rows, "rows", notes) if rows else (files, "files", notes)


def _steps(folder: Path, kind: str) -> tuple[Counter[Month], list[str]]:
    """Return the steps of each month, file by file, and what cannot be told."""
    from deepcams_eval.read.containers import DATA_SUFFIXES

    counts: Counter[Month] = Counter()
    notes = []
    for path in _files(folder):
        if path.suffix.lower() not in DATA_SUFFIXES:
            continue
        try:
            times = _times(path, kind)
        except InputError as error:
            notes.append(str(error))
            continue
        if any(time is None for time in times):
            notes.append(f"{path}: no times in the names, so its months are not known")
        months = [time.astype("datetime64[M]").item() for time in times if time is not None]
        counts.update((month.year, month.month) for month in months)
    return counts, notes


def _times(path: Path, kind: str) -> Sequence[np.datetime64 | None]:
    """Return the times of a file by its reader; of maps without times by their names."""
    from deepcams_eval.read.containers import zip_members
    from deepcams_eval.read.coordinates import time_in_name
    from deepcams_eval.read.product import ProductSpec, open_product

    if kind == "deepcams" and path.suffix.lower() == ".mat":
        return [time_in_name(path)]
    if kind == "deepcams" and path.suffix.lower() == ".zip":
        # The reader would unpack every member.
        return [time_in_name(Path(name)) for name in zip_members(path)]
    times: Sequence[np.datetime64] = open_product(
        ProductSpec(kind, str(path), kind=kind)
    ).field.time.values
    return times


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in sorted(names) if not name.startswith("."))


def _held(source: str, counts: Counter[Month], what: str) -> Iterator[str]:
    if not counts:
        yield f"  {source}: nothing"
        return
    months = f"{len(counts)} month" + ("s" if len(counts) > 1 else "")
    yield f"  {source}: {counts.total():,} {what} in {months}"
    for year, held in groupby(sorted(counts), key=lambda month: month[0]):
        parts = [
            f"{month:02d}: {counts[year, month]:,}{_of(source, counts, year, month)}"
            for _, month in held
        ]
        yield f"    {year}  " + "  ".join(parts)


def _of(source: str, counts: Counter[Month], year: int, month: int) -> str:
    full = _STEPS_A_DAY[source] * monthrange(year, month)[1]
    return f" of {full}" if counts[year, month] < full else ""


def _wanting(
    source: str, counts: Counter[Month], years: Iterable[int], root: Path
) -> Iterator[str]:
    """Say which months of a source are missing, and the command that gets them."""
    missing = [
        (year, month)
        for year in years
        for month in _MONTHS
        if counts[year, month] < max(1, _STEPS_A_DAY[source] * monthrange(year, month)[1])
    ]
    if not missing:
        yield f"  {source}: complete"
        return
    by_year = groupby(missing, key=lambda month: month[0])
    months = ", ".join(f"{year}: {_ranges([one for _, one in found])}" for year, found in by_year)
    asked = _ranges(sorted({year for year, _ in missing}))
    yield f"  {source}: missing or incomplete, {months}"
    yield f"    deepcams-eval fetch {source} --years {asked} --data {shlex.quote(str(root))}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return sorted numbers as ``1-3,5``."""
    # What rises with its place belongs together.
    apart = groupby(enumerate(numbers), key=lambda one: one[1] - one[0])
    runs = [[number for _, number in found] for _, found in apart]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
