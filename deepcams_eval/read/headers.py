"""What a gridded file says without its values: array, grid, unit, times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Times
from deepcams_eval.core.field import Stamp
from deepcams_eval.core.species import factor_to_ug_m3
from deepcams_eval.errors import InputError, UnitsError
from deepcams_eval.read.containers import (
    Contents,
    Location,
    StoredArray,
    UnreadableFileError,
    open_container,
)
from deepcams_eval.read.coordinates import Grid, bare_grid, decode_times, normalise_grid
from deepcams_eval.read.frames import Frames
from deepcams_eval.read.source import Source
from deepcams_eval.read.spec import ProductSpec

# By standard name: the units of CF in lower case, and usual names.
_PLACES = {
    "latitude": (("degrees_north", "degree_north", "degrees_n", "degree_n"), ("latitude", "lat")),
    "longitude": (("degrees_east", "degree_east", "degrees_e", "degree_e"), ("longitude", "lon")),
}
_TIME_NAMES = ("valid_time", "time")


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says without its values; None stands for what it does not say."""

    frames: Frames
    count: int  # of frames
    times: Times | None
    bounds: Times | None  # shape (count, 2)
    method: Stamp | None
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The file as messages show it."""
        return self.frames.location.label


def read_header(location: Location, source: Source, spec: ProductSpec) -> Header:
    """Return what one file says without its values.

    Raises
    ------
    UnreadableFileError
        If the file is broken.
    InputError
        If something is missing that an option can give, or the grid is not supported.
    """
    label = location.label
    with open_container(location, "its coordinates") as contents:
        array = find_array(contents, source.variables, spec.variable, label)
        _reject_projection(contents, array, label)
        space, grid, grid_notes, assumed = _grid(contents, array, source, spec, label)
        time = _time_array(contents, array)
        time_dims = _frame_dims(array, time, space, label)
        factor, units_notes = _units_factor(array.text("units"), assumed, spec.units, label)
        count = int(np.prod([array.shape[array.dims.index(dim)] for dim in time_dims], dtype=int))
        if count == 0:
            raise UnreadableFileError.because("holds no time step", label)
        times, bounds = None, None
        if time is not None:
            stored = time[...].transpose([time.dims.index(dim) for dim in time_dims])
            times = _decoded(stored, time, time, label)
            bounds = _stored_bounds(contents, time, count, label)
        header = Header(
            Frames(
                location,
                array.name,
                grid,
                *space,
                time_dims,
                stored_together=array.stored_chunk(time_dims[0]) if len(time_dims) == 1 else 1,
                fills=_fills(array),
                scale=_number(array, "scale_factor", 1.0),
                offset=_number(array, "add_offset", 0.0),
                factor=factor,
            ),
            count,
            times,
            bounds,
            method=_stored_method(array, time, label),
            notes=(
                *grid_notes,
                *units_notes,
                *(source.remarks(contents) if source.remarks else ()),
            ),
        )
    rows = len(grid.latitude)
    if spec.row_count is not None and rows != spec.row_count:
        raise InputError(f"has {rows} rows, not rows={spec.row_count}", path=label)
    if spec.start is not None and times is not None:
        raise InputError("holds its own times", path=label, hint="leave start= out")
    return header


def find_array(
    contents: Contents, names: tuple[str, ...], wanted: str | None, label: str
) -> StoredArray:
    """Return the PM2.5 array of a file.

    The name that the user gave, `wanted`, alone counts, in any case where the exact one is absent.
    Else it is the one of `names`, in any case; in a MATLAB file ``data``, or the only map.

    Raises
    ------
    InputError
        If there is none, or several and the user named none; it names the file, `label`.
    """
    arrays = contents.arrays
    if contents.bare:
        name = wanted or ("data" if "data" in arrays or len(arrays) != 1 else next(iter(arrays)))
        if name in arrays:
            return arrays[name]
        problem = f"has no two-dimensional numeric array {name!r}"
        raise InputError(
            f"{problem}, only {', '.join(arrays) or 'nothing'}",
            path=label,
            hint="name it with variable=",
        )
    maps = [array for array in arrays.values() if len(array.dims) >= 2]
    if wanted is not None:
        if wanted in arrays:
            return arrays[wanted]
        found = [array for name, array in arrays.items() if name.lower() == wanted.lower()]
    else:
        accepted = {name.lower() for name in names}
        found = [array for array in maps if array.name.lower() in accepted]
        found = found or [array for array in maps if "pm2p5" in array.text("standard_name")]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(array.name for array in found)
        problem = f"has several arrays that may be PM2.5: {listed}"
    else:
        what = f"no array {wanted!r}" if wanted else "no array that is known as PM2.5"
        others = ", ".join(array.name for array in maps)
        problem = f"has {what}, only {others or 'none with two dimensions'}"
    raise InputError(problem, path=label, hint="name the array with variable=")


def _grid(
    contents: Contents, array: StoredArray, source: Source, spec: ProductSpec, label: str
) -> tuple[tuple[str, str], Grid, tuple[str, ...], str | None]:
    """Return the dims of rows and columns, the grid, notes, and the unit where none is named."""
    row, column = (_coordinate(contents, array, name) for name in _PLACES)
    if row is not None and column is not None:
        if spec.registration is not None:
            raise InputError(
                "has coordinates of its own",
                path=label,
                hint=f"leave registration={spec.registration} out",
            )
        return (
            (row.dims[0], column.dims[0]),
            *normalise_grid(row[:], column[:], label),
            source.units,
        )
    if source.bare_units is not None:
        shape = array.shape[-2], array.shape[-1]
        grid, notes = bare_grid(shape, spec.registration, label)
        return (array.dims[-2], array.dims[-1]), grid, notes, source.bare_units
    if contents.bare:
        raise InputError(
            "holds no coordinates", path=label, hint="say what it is: kind=cams, geoscf or deepcams"
        )
    raise InputError(
        f"its array {array.name!r} has no latitude and longitude",
        path=label,
        hint="add them as one-dimensional coordinates, or say kind=deepcams for a bare map",
    )


def _reject_projection(contents: Contents, array: StoredArray, label: str) -> None:
    problem = None
    mapping = contents.arrays.get(array.text("grid_mapping").split(":")[0])
    if mapping is not None:
        projection = mapping.text("grid_mapping_name")
        if projection != "latitude_longitude":
            problem = f"is on a projected grid ({projection or 'of unknown name'})"
    for other in contents.arrays.values():
        if problem or len(other.dims) > 2:
            continue
        over = len(set(other.dims) & set(array.dims))
        standard_name = other.text("standard_name")
        is_place = standard_name in _PLACES or other.name.lower() in ("lat", "lon", *_PLACES)
        if over == 2 and is_place:
            problem = (
                f"has two-dimensional {other.name!r}, so it is not on latitudes and longitudes"
            )
        elif over == 1 and standard_name.startswith(("projection_", "grid_l")):
            problem = f"is on a projected grid (coordinate {other.name!r})"
    if problem:
        raise InputError(problem, path=label, hint="regrid it to latitude and longitude first")


def _coordinate(contents: Contents, array: StoredArray, standard_name: str) -> StoredArray | None:
    units, names = _PLACES[standard_name]
    for other in contents.arrays.values():
        if len(other.dims) != 1 or other.dims[0] not in array.dims:
            continue
        if (
            other.text("standard_name") == standard_name
            or other.text("units").lower() in units
            or other.name.lower() in names
        ):
            return other
    return None


def _time_array(contents: Contents, array: StoredArray) -> StoredArray | None:
    def rank(other: StoredArray) -> int:
        if other.name in _TIME_NAMES:
            return _TIME_NAMES.index(other.name)
        return 2 if other.text("standard_name") == "time" else 3

    candidates = (
        other
        for other in contents.arrays.values()
        if set(other.dims) <= set(array.dims)
        and " since " in other.text("units")
        and other.name != "forecast_reference_time"
    )
    return min(candidates, key=rank, default=None)


def _frame_dims(
    array: StoredArray, time: StoredArray | None, space: tuple[str, str], label: str
) -> tuple[str, ...]:
    of_time = set(time.dims) if time is not None else set(_TIME_NAMES)
    result = []
    for dim, length in zip(array.dims, array.shape, strict=True):
        if dim in space:
            continue
        if dim in of_time:
            result.append(dim)
        elif length != 1:
            raise InputError(
                f"its array {array.name!r} has {length} entries along {dim!r}"
                + ("" if time is not None else ", and no time coordinate"),
                path=label,
                hint=f"select one {dim} first"
                if time is not None
                else "add a coordinate with units such as 'hours since 1970-01-01'",
            )
    return tuple(result)


def _fills(array: StoredArray) -> tuple[float, ...]:
    stored = [array.attributes.get(name) for name in ("_FillValue", "missing_value")]
    given = [np.atleast_1d(one).astype(np.float64) for one in stored if one is not None]
    if not given:
        return ()
    values = np.unique(np.concatenate(given))
    # A fill is compared as stored: a float32 array holds the float32 of 1e20.
    return tuple(float(array.dtype.type(value)) for value in values if np.isfinite(value))


def _number(array: StoredArray, attribute: str, default: float) -> float:
    return float(np.ravel(array.attributes.get(attribute, default))[0])


def _units_factor(
    stored: str, assumed: str | None, given: str | None, label: str
) -> tuple[float, tuple[str, ...]]:
    """Return the factor to µg m⁻³ and what was assumed."""
    try:
        if stored:
            factor = factor_to_ug_m3(stored)
            if given is not None and factor_to_ug_m3(given) != factor:
                raise InputError(
                    f"its units are {stored!r}, which units={given} contradicts",
                    path=label,
                    hint="leave units= out",
                )
            return factor, ()
        if given is not None:
            return factor_to_ug_m3(given), ()
    except UnitsError as error:
        raise UnitsError(error.problem, path=label, hint=error.hint) from error
    if assumed is None:
        raise UnitsError("names no units", path=label, hint="name them with units=, e.g. ug m-3")
    return factor_to_ug_m3(assumed), (f"no units in the files: taken as {assumed}",)


def _stored_method(array: StoredArray, time: StoredArray | None, label: str) -> Stamp | None:
    names = {"time"} if time is None else {"time", time.name, *time.dims}
    for subjects, method in re.findall(r"((?:\w+\s*:\s*)+)(\w+)", array.text("cell_methods")):
        if names & set(re.findall(r"\w+", subjects)):
            if method in ("mean", "point"):
                return cast("Stamp", method)
            raise InputError(
                f"its values are a {method!r} over time (cell_methods)",
                path=label,
                hint="give a product of means or of instantaneous values",
            )
    if time is not None and time.text("bounds"):
        return "mean"
    return None


def _stored_bounds(contents: Contents, time: StoredArray, count: int, label: str) -> Times | None:
    """Return the intervals of means: CF bounds, or ``time_start`` and ``time_end`` of a Field."""
    bounds = contents.arrays.get(time.text("bounds"))
    if bounds is not None and bounds.shape == (count, 2):
        return _decoded(bounds[...], bounds, time, label).reshape(count, 2)
    edges = [contents.arrays.get(name) for name in ("time_start", "time_end")]
    found = [edge for edge in edges if edge is not None and edge.shape == (count,)]
    if len(found) == 2:
        return np.stack([_decoded(edge[...], edge, time, label) for edge in found], axis=1)
    return None


def _decoded(stored: npt.NDArray[Any], array: StoredArray, time: StoredArray, label: str) -> Times:
    # CF: bounds have the units of their coordinate unless they say otherwise.
    units, calendar = (array.text(name) or time.text(name) for name in ("units", "calendar"))
    return decode_times(np.ravel(stored), units, calendar, label)
