"""Pairing of station hours with the cell and the time step of gridded products.

A station takes the value of the cell that contains it, at the step that its hour belongs to;
nothing is interpolated (unless asked for, to see what difference it makes) and nothing
extrapolated. Each product is read once, in the order of its
files, a chunk of frames at a time, and only the cells with stations leave a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from dask.delayed import delayed

from deepcams_eval.core.arrays import FloatArray, IntArray
from deepcams_eval.core.field import TIME_DTYPE, Product, stamp_of
from deepcams_eval.core.grid import find_cells, find_corners
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import STATION_KINDS, Pairs, codes_of
from deepcams_eval.errors import NoDataError

Compute = Callable[[Sequence[Any]], Sequence[Any]]
"""Runs dask tasks and returns their results in order."""
Matching = Literal["cell", "bilinear"]
_Taps = tuple[IntArray, IntArray, FloatArray]
"""Row, column and weight of the cells that each station is read from, shape (stations, taps)."""

_WINDOW = 16
_PART = 1_000_000
_NO_STEP, _OFF_GRID = -1, -2
_HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True)
class Colocation:
    """Pairs and what became of the observations that gave none."""

    pairs: Pairs
    """In the order of station and time."""
    coverage: pd.DataFrame
    """One row a product and year: ``product, year, steps`` (time steps of the product),
    ``observations`` (that passed QC), ``outside`` (of these, at stations beyond its grid),
    ``off_step`` (inside, no step at their interval), ``missing`` (step and cell are there, the
    value is NaN), ``paired``; the last four add up to ``observations``. ``stations`` and
    ``stations_outside`` count stations."""
    outside: dict[str, tuple[str, ...]]
    """``station_id`` of the stations outside each product."""
    unpaired: int
    """Observations that passed QC and have a value in no product."""
    rows: IntArray
    """Row of each pair in the table of observations, shape (pairs,)."""


def colocate(
    observations: Observations,
    products: Sequence[Product],
    *,
    matching: Matching = "cell",
    hourly_only: bool = True,
    compute: Compute | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Colocation:
    """Pair the observations that carry no flag with every product.

    An observation of one hour that ends at T pairs with a ``point`` value at T; one of any
    interval with a ``mean`` over the very same interval (CONVENTIONS, "Matching").

    Parameters
    ----------
    observations : Observations
        After QC; rows with a flag take no part.
    products : sequence of Product
        Their names become the columns of the pairs.
    matching : {"cell", "bilinear"}
        Whether a station takes the value of its cell, or one interpolated between the four
        centres around it (missing where one of them is); it does so inside the grid alone.
    hourly_only : bool, default True
        See `match_steps`.
    compute : callable, optional
        Runs dask tasks; the default runs them one after the other in this process.
    progress : callable, optional
        Called with the name of the product, steps done and steps in all.

    Raises
    ------
    NoDataError
        If no observation is left after QC, or a product pairs with none.
    """
    table = observations.table
    clean = _all_or(table["flags"].to_numpy() == 0)
    station_id = table["station_id"].iloc[clean]
    if station_id.empty:
        raise NoDataError(
            f"none of the {len(observations)} observations passed the quality control",
            hint="see the counts of qc.csv, or ask for other years with --years",
        )
    stations = observations.stations.set_index("station_id")
    countries = stations["country"]
    code, ids = codes_of(station_id)
    places = stations.loc[list(ids), ["latitude", "longitude"]]
    latitude, longitude = places["latitude"].to_numpy(), places["longitude"].to_numpy()
    start = table["time_start"].to_numpy()[clean].astype(TIME_DTYPE, copy=False)
    end = table["time_end"].to_numpy()[clean].astype(TIME_DTYPE, copy=False)

    columns: dict[str, npt.NDArray[np.float32]] = {}
    coverage, outside = [], {}
    for product in products:
        grid = product.field["latitude"].values, product.field["longitude"].values
        row, column = find_cells(latitude, longitude, *grid)
        step = np.empty(len(code), dtype=np.int32)
        for part in _parts(len(code)):
            matched = match_steps(product.field, start[part], end[part], hourly_only=hourly_only)
            step[part] = np.where((row >= 0)[code[part]], matched, _OFF_GRID)
        taps: _Taps = row[:, None], column[:, None], np.ones((len(row), 1))
        if matching == "bilinear":
            taps = find_corners(np.nan_to_num(latitude), np.nan_to_num(longitude), *grid)
        values = np.full(len(code), np.nan, dtype=np.float32)
        for where, gathered in _gather(product, step, code, taps, compute, progress):
            values[where] = gathered
        columns[product.name] = values
        outside[product.name] = tuple(str(name) for name in ids[row < 0])
        coverage.append(_coverage(product, start, code, step, values))
        if not np.isfinite(values).any():
            raise NoDataError(
                f"product {product.name!r} has no value at any of the {len(code)} observations"
                f" ({int((row >= 0).sum())} of {len(ids)} stations lie on its grid,"
                f" {int((step >= 0).sum())} of their hours in its time steps)",
                path=product.files[0] if product.files else None,
                hint=_next_step(product, start, end, hourly_only=hourly_only),
            )
    has_value = np.zeros(len(code), dtype=bool)
    for values in columns.values():
        has_value |= np.isfinite(values)
    paired = _all_or(has_value)
    if not _is_sorted(code[paired], start[paired]):
        found = np.flatnonzero(has_value)
        paired = found[np.lexsort((start[found], code[found]))]
    at = code[paired]
    used = np.bincount(at) > 0
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    pairs = pd.DataFrame(
        {
            "station_id": pd.Categorical.from_codes(
                renumbered[at], categories=pd.Index(ids[: len(used)][used])
            ),
            "time_start": start[paired],
            "time_end": end[paired],
            "latitude": latitude[at],
            "longitude": longitude[at],
            "observed": table["value"].to_numpy()[clean][paired],
            **{name: values[paired] for name, values in columns.items()},
            "station_kind": _kind(table["is_reference"].iloc[clean].iloc[paired]),
            "country": _named(countries.loc[list(ids)].to_numpy(), at),
        },
        copy=False,
    )
    return Colocation(
        pairs=Pairs(pairs, tuple(columns)),
        coverage=pd.concat(coverage, ignore_index=True),
        outside=outside,
        unpaired=len(code) - len(pairs),
        rows=np.arange(len(table))[clean][paired],
    )


def match_steps(
    field: xr.DataArray,
    start: npt.NDArray[np.datetime64],
    end: npt.NDArray[np.datetime64],
    *,
    hourly_only: bool = True,
) -> IntArray:
    """Return the time step of a Field that each interval [start, end) pairs with; −1 where none.

    With `hourly_only`, a ``point`` value takes observations of one hour alone. An instant says
    little of a day, so only a sensitivity to this choice sets it False.
    """
    if stamp_of(field) == "mean":
        step = _exact_position(field["time_end"].values.astype(TIME_DTYPE), end)
        same = (step >= 0) & (field["time_start"].values.astype(TIME_DTYPE)[step] == start)
        return np.where(same, step, _NO_STEP)
    step = _exact_position(field["time"].values.astype(TIME_DTYPE), end)
    return np.where(end - start == _HOUR, step, _NO_STEP) if hourly_only else step


def _next_step(
    product: Product,
    start: npt.NDArray[np.datetime64],
    end: npt.NDArray[np.datetime64],
    *,
    hourly_only: bool,
) -> str:
    """Return what helps where a product pairs with no observation."""
    if hourly_only and stamp_of(product.field) == "point" and not (end - start == _HOUR).any():
        return (
            "its values are instantaneous and pair with observations of one hour alone, of which"
            " there are none; leave averaging_hours at 1, and ask for daily means with --average"
            " day"
        )
    return "check its region, its times and --years, or leave the product out"


def _exact_position(
    sorted_times: npt.NDArray[np.datetime64], wanted: npt.NDArray[np.datetime64]
) -> IntArray:
    position = np.searchsorted(sorted_times, wanted)
    found = np.minimum(position, len(sorted_times) - 1)
    return np.where(sorted_times[found] == wanted, found, _NO_STEP)


def _gather(
    product: Product,
    step: IntArray,
    code: IntArray,
    taps: _Taps,
    compute: Compute | None,
    progress: Callable[[str, int, int], None] | None,
) -> Iterator[tuple[IntArray, npt.NDArray[np.float32]]]:
    """Yield the observations of each chunk of frames and their values, in file order.

    `step` and `code` (the station) have one entry an observation; a negative step is left out.
    """
    field = product.field
    # NumPy sorts 16-bit keys by radix, several times as fast.
    narrow = np.int16 if len(field) < np.iinfo(np.int16).max else np.int32
    order = np.argsort(step.astype(narrow, copy=False), kind="stable")
    edges = np.concatenate([[0], np.cumsum(field.chunks[0])]) if field.chunks else [0, len(field)]
    bounds = np.searchsorted(step, edges, sorter=order)
    jobs = [
        (int(first), int(last), int(low), int(high))
        for first, last, low, high in zip(
            edges[:-1], edges[1:], bounds[:-1], bounds[1:], strict=True
        )
        if high > low  # frames without an observation are never read
    ]
    run = compute or _compute_here
    for begin in range(0, len(jobs), _WINDOW):
        window = jobs[begin : begin + _WINDOW]
        rows_of = [order[low:high] for _, _, low, high in window]
        tasks = [
            delayed(_pick, pure=False)(
                field.isel(time=slice(first, last)).data,
                step[where] - first,
                *(array[code[where]] for array in taps),
            )
            for (first, last, _, _), where in zip(window, rows_of, strict=True)
        ]
        yield from zip(rows_of, run(tasks), strict=True)
        if progress is not None:
            progress(product.name, window[-1][1], len(field))
    if progress is not None:
        progress(product.name, len(field), len(field))


def _pick(
    block: npt.NDArray[np.float32],
    step: IntArray,
    row: IntArray,
    column: IntArray,
    weight: FloatArray,
) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = block[step[:, None], row, column]
    if weight.shape[1] == 1:
        return values[:, 0]
    # A tap without weight may be missing.
    weighed: FloatArray = np.where(weight > 0, values * weight, 0.0)
    return np.asarray(weighed.sum(axis=1), dtype=np.float32)


def _compute_here(tasks: Sequence[Any]) -> Sequence[Any]:
    # One after the other: a scheduler given all of them would choose its own order of files.
    return [task.compute(scheduler="synchronous") for task in tasks]


def _is_sorted(code: IntArray, start: npt.NDArray[np.datetime64]) -> bool:
    for part in _parts(len(code)):
        # One row more than the part, so that its last row is compared too.
        more = slice(part.start, part.stop + 1)
        c, t = code[more], start[more]
        if not ((c[1:] > c[:-1]) | ((c[1:] == c[:-1]) & (t[1:] >= t[:-1]))).all():
            return False
    return True


def _all_or(mask: npt.NDArray[np.bool_]) -> slice | IntArray:
    """Return what selects the rows of `mask`: all of them as a slice, which copies nothing."""
    return slice(None) if mask.all() else np.flatnonzero(mask)


def _parts(length: int) -> Iterator[slice]:
    """Yield slices of up to `_PART` rows, so that temporaries stay small."""
    for first in range(0, length, _PART):
        yield slice(first, min(first + _PART, length))


def _kind(is_reference: pd.Series[Any]) -> pd.Categorical[Any]:
    # False, True and unknown are 0, 1 and 2 here; STATION_KINDS begins with reference.
    known = is_reference.to_numpy(dtype=np.int8, na_value=2)
    code = np.array([1, 0, 2], dtype=np.int8)[known]
    return pd.Categorical.from_codes(code, categories=pd.Index(STATION_KINDS))


def _named(names: npt.NDArray[Any], code: IntArray) -> pd.Categorical[Any]:
    """Return the name of each row, given the names of the stations and the station of each row."""
    number, distinct = pd.factorize(names, sort=True)
    return pd.Categorical.from_codes(number[code], categories=pd.Index(distinct))


def _coverage(
    product: Product,
    start: npt.NDArray[np.datetime64],
    code: IntArray,
    step: IntArray,
    values: npt.NDArray[np.float32],
) -> pd.DataFrame:
    first = int(start.min().astype("datetime64[Y]").astype(int))
    years = first + np.arange(int(start.max().astype("datetime64[Y]").astype(int)) - first + 1)
    new_years = years.astype("datetime64[Y]").astype(TIME_DTYPE)
    n_stations = int(code.max()) + 1
    fates = np.zeros((len(years), 4), dtype=np.int64)
    met = np.zeros((len(years), n_stations), dtype=np.int64)
    inside = np.zeros(n_stations, dtype=bool)
    for part in _parts(len(code)):
        year = np.searchsorted(new_years, start[part], side="right") - 1
        on_grid = step[part] != _OFF_GRID
        # Each condition holds only where the one before does, so their number tells the fate.
        fate = on_grid.astype(int) + (step[part] >= 0) + np.isfinite(values[part])
        fates += np.bincount(year * 4 + fate, minlength=fates.size).reshape(fates.shape)
        met += np.bincount(year * n_stations + code[part], minlength=met.size).reshape(met.shape)
        inside[code[part][on_grid]] = True
    begins = step_starts(product.field).astype("datetime64[Y]").astype(int)
    table = pd.DataFrame(fates, columns=["outside", "off_step", "missing", "paired"])
    table.insert(0, "product", product.name)
    table.insert(1, "year", 1970 + years)
    table.insert(2, "steps", [int((begins == year).sum()) for year in years])
    table.insert(3, "observations", fates.sum(axis=1))
    table["stations"] = (met > 0).sum(axis=1)
    table["stations_outside"] = ((met > 0) & ~inside).sum(axis=1)
    return table[table["observations"] > 0]


def step_starts(field: xr.DataArray) -> npt.NDArray[np.datetime64]:
    """Return the start of the hour that each step of a Field pairs with, by which it is dated.

    A mean is dated by the start of its interval; a point value at T pairs with the hour that
    ends at T and is dated by that hour's start.
    """
    if stamp_of(field) == "mean":
        starts: npt.NDArray[np.datetime64] = field["time_start"].values
        return starts
    times: npt.NDArray[np.datetime64] = field["time"].values
    return times - np.timedelta64(1, "h")
