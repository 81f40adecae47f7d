"""What a gridded file says without its values: array, grid, unit, times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from deepcams_eval.core.field import Stamp
from deepcams_eval.core.species import factor_to_ug_m3
from deepcams_eval.errors import InputError, UnitsError
from deepcams_eval.read.containers import (
    READ_ERRORS,
    Contents,
    Location,
    StoredArray,
    UnreadableFileError,
    open_container,
)
from deepcams_eval.read.coordinates import (
    TimeArray,
    bare_coordinates,
    decode_times,
    normalise_grid,
)
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
    """What a file says without its values.

    Attributes
    ----------
    frames : Frames
    count : int
        Number of frames.
    times : ndarray of datetime64 or None
        None where the file has none.
    bounds : ndarray of datetime64, shape (count, 2), or None
    method : {"point", "mean"} or None
        None where the file does not say.
    notes : tuple of str
    """

    frames: Frames
    count: int
    times: TimeArray | None = None
    bounds: TimeArray | None = None
    method: Stamp | None = None
    notes: tuple[str, ...] = ()

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
    with open_container(location) as contents:
        try:
            header = _header(location, contents, source, spec)
        except READ_ERRORS as error:
            if isinstance(error, InputError):
                raise
            raise UnreadableFileError.because(
                f"its coordinates cannot be read ({type(error).__name__})", location.label
            ) from error
    rows = len(header.frames.grid.latitude)
    if spec.row_count is not None and rows != spec.row_count:
        raise InputError(f"has {rows} rows, not rows={spec.row_count}", path=location.label)
    if spec.start is not None and header.times is not None:
        raise InputError("holds its own times", path=location.label, hint="leave start= out")
    return header


def _header(location: Location, contents: Contents, source: Source, spec: ProductSpec) -> Header:
    label = location.label
    if contents.bare:
        array = find_map(contents, spec.variable, label)
    else:
        array = find_variable(contents, source.variables, spec.variable, label)
    _reject_projection(contents, array, label)
    row, column = (_coordinate(contents, array, name) for name in _PLACES)
    time = _time_array(contents, array)
    bare = row is None or column is None
    if row is None or column is None:
        if source.bare_units is None:
            raise _without_coordinates(contents, array, label)
        row_dim, column_dim = array.dims[-2:]
        shape = (array.shape[-2], array.shape[-1])
        latitude, longitude, notes = bare_coordinates(shape, spec.registration, label)
        grid, _ = normalise_grid(latitude, longitude, label)
    else:
        if spec.registration is not None:
            raise InputError(
                "has coordinates of its own",
                path=label,
                hint=f"leave registration={spec.registration} out",
            )
        row_dim, column_dim = row.dims[0], column.dims[0]
        grid, notes = normalise_grid(row[:], column[:], label)
    time_dims = _frame_dims(array, time, (row_dim, column_dim), label)
    assumed = source.bare_units if bare else source.units
    factor, units_notes = _units_factor(array.text("units"), assumed, spec.units, label)
    lengths = [array.shape[array.dims.index(dim)] for dim in time_dims]
    count = int(np.prod(lengths, dtype=int))
    if count == 0:
        raise UnreadableFileError.because("holds no time step", label)
    times, bounds = None, None
    if time is not None:
        order = [time.dims.index(dim) for dim in time_dims]
        aligned = np.ma.getdata(time[...]).transpose(order).reshape(count)
        times = decode_times(aligned, time.text("units"), time.text("calendar"), label)
        bounds = _stored_bounds(contents, time, count, label)
    return Header(
        frames=Frames(
            location,
            array.name,
            grid,
            row_dim,
            column_dim,
            time_dims,
            stored_together=array.stored_chunk(time_dims[0]) if len(time_dims) == 1 else 1,
            fills=_fills(array),
            scale=_number(array, "scale_factor", 1.0),
            offset=_number(array, "add_offset", 0.0),
            factor=factor,
        ),
        count=count,
        times=times,
        bounds=bounds,
        method=_stored_method(array, time, label),
        notes=(*notes, *units_notes, *(source.remarks(contents) if source.remarks else ())),
    )


def _without_coordinates(contents: Contents, array: StoredArray, label: str) -> InputError:
    if contents.bare:
        return InputError(
            "holds no coordinates", path=label, hint="say what it is: kind=cams, geoscf or deepcams"
        )
    return InputError(
        f"its array {array.name!r} has no latitude and longitude",
        path=label,
        hint="add them as one-dimensional coordinates, or say kind=deepcams for a bare map",
    )


def find_map(contents: Contents, wanted: str | None, label: str) -> StoredArray:
    """Return the map `wanted` of a MATLAB file; by default ``data``, or the only one there is.

    Raises
    ------
    InputError
        If there is no such map, or several are possible.
    """
    maps = contents.arrays
    name = wanted or ("data" if "data" in maps or len(maps) != 1 else next(iter(maps)))
    if name not in maps:
        raise InputError(
            f"has no two-dimensional numeric array {name!r}, only {', '.join(maps) or 'nothing'}",
            path=label,
            hint="name it with variable=",
        )
    return maps[name]


def find_variable(
    contents: Contents, names: Sequence[str], wanted: str | None, label: str
) -> StoredArray:
    """Return the PM2.5 array of a file.

    Parameters
    ----------
    contents : Contents
    names : sequence of str
        Names to look for, in any case.
    wanted : str, optional
        The name that the user gave; it alone counts, in any case where the exact one is absent.
    label : str
        The file, for messages.

    Raises
    ------
    InputError
        If there is none, or several and the user named none.
    """
    arrays = contents.arrays
    maps = [array for array in arrays.values() if len(array.dims) >= 2]
    if wanted is not None:
        if wanted in arrays:
            return arrays[wanted]
        found = [array for name, array in arrays.items() if name.lower() == wanted.lower()]
    else:
        accepted = {name.lower() for name in names}
        found = [array for array in maps if array.name.lower() in accepted]
        if not found:
            found = [array for array in maps if "pm2p5" in array.text("standard_name")]
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
    candidates = [
        other
        for other in contents.arrays.values()
        if set(other.dims) <= set(array.dims)
        and " since " in other.text("units")
        and other.name != "forecast_reference_time"
    ]

    def rank(other: StoredArray) -> int:
        if other.name in _TIME_NAMES:
            return _TIME_NAMES.index(other.name)
        return 2 if other.text("standard_name") == "time" else 3

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


def _stored_bounds(
    contents: Contents, time: StoredArray, count: int, label: str
) -> TimeArray | None:
    """Return the intervals of means: CF bounds, or ``time_start`` and ``time_end`` of a Field."""
    bounds = contents.arrays.get(time.text("bounds"))
    if bounds is not None and bounds.shape == (count, 2):
        return _bounding_times(bounds, time, label).reshape(count, 2)
    edges = [contents.arrays.get(name) for name in ("time_start", "time_end")]
    found = [edge for edge in edges if edge is not None and edge.shape == (count,)]
    if len(found) == 2:
        return np.stack([_bounding_times(edge, time, label) for edge in found], axis=1)
    return None


def _bounding_times(edges: StoredArray, time: StoredArray, label: str) -> TimeArray:
    # CF: bounds have the units of their coordinate unless they say otherwise.
    units = edges.text("units") or time.text("units")
    calendar = edges.text("calendar") or time.text("calendar")
    return decode_times(np.ravel(edges[...]), units, calendar, label)
