"""What a gridded file says without its values: array, grid, unit, times."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    sniff,
)
from deepcams_eval.read.coordinates import (
    Grid,
    TimeArray,
    bare_coordinates,
    decode_times,
    normalise_grid,
)
from deepcams_eval.read.frames import Frames
from deepcams_eval.read.matlab import find_map

_LATITUDE_UNITS = frozenset({"degrees_north", "degree_north", "degrees_n", "degree_n"})
_LONGITUDE_UNITS = frozenset({"degrees_east", "degree_east", "degrees_e", "degree_e"})
_TIME_NAMES = ("valid_time", "time")


@dataclass(frozen=True)
class Options:
    """What the user said about a product; None where nothing was said.

    Attributes
    ----------
    variable : str, optional
    units : str, optional
        For files that name none.
    stamp : {"point", "mean"}, optional
    start : numpy.datetime64, optional
        Time of the first frame, UTC, for files without times.
    freq : numpy.timedelta64, optional
        Step between their frames.
    registration : str, optional
        One of `REGISTRATIONS`, for maps of one row less than nodes from pole to pole.
    rows : int, optional
        The number of rows that every file must have.
    """

    variable: str | None = None
    units: str | None = None
    stamp: Stamp | None = None
    start: np.datetime64 | None = None
    freq: np.timedelta64 | None = None
    registration: str | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Convention:
    """What is known about the files of a source.

    Attributes
    ----------
    kind : str
    variables : tuple of str
        Names of the PM2.5 array, in any case; the first that is there is taken.
    stamp : {"point", "mean"}, optional
        Meaning of a time stamp where neither the file nor the user says; None refuses.
    stamp_note : str
        Said in the notes where `stamp` was used; "" where it is certain.
    interval : numpy.timedelta64, optional
        Length of the interval that a mean covers; None takes ``freq=`` or the step of the series.
    units : str, optional
        Where a labelled file names none; None refuses.
    bare_units : str, optional
        For maps without coordinates; None refuses such maps.
    told : callable, optional
        Returns what a labelled file says that a reader of scores must know, a sentence each.
    """

    kind: str
    variables: tuple[str, ...]
    stamp: Stamp | None = None
    stamp_note: str = ""
    interval: np.timedelta64 | None = None
    units: str | None = None
    bare_units: str | None = None
    told: Callable[[Contents], Sequence[str]] | None = None


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says without its values.

    Attributes
    ----------
    frames : Frames
    count : int
        Number of frames.
    grid : Grid
    stored_together : int
        Frames in one stored chunk.
    times : ndarray of datetime64 or None
        None where the file has none.
    bounds : ndarray of datetime64, shape (count, 2), or None
    method : {"point", "mean"} or None
        None where the file does not say.
    notes : tuple of str
    """

    frames: Frames
    count: int
    grid: Grid
    stored_together: int = 1
    times: TimeArray | None = None
    bounds: TimeArray | None = None
    method: Stamp | None = None
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The file as messages show it."""
        return self.frames.location.label


def read_header(location: Location, convention: Convention, options: Options) -> Header:
    """Return what one file says without its values.

    Raises
    ------
    UnreadableFileError
        If the file is broken.
    InputError
        If it lacks something that an option can give, or is on a grid that is not supported.
    """
    path = location.local()
    try:
        header = _read_header(location, path, convention, options)
    except InputError as error:
        if error.path != path or location.member is None:
            raise
        # Not the unpacked copy but the zip file is what the user knows.
        raise type(error)(error.problem, path=location.label, hint=error.hint) from error
    if options.rows is not None and len(header.grid.latitude) != options.rows:
        raise InputError(
            f"has {len(header.grid.latitude)} rows, not rows={options.rows}", path=location.label
        )
    if options.start is not None and header.times is not None:
        raise InputError("holds its own times", path=location.label, hint="leave start= out")
    return header


def _read_header(
    location: Location, path: Path, convention: Convention, options: Options
) -> Header:
    form = sniff(path)
    if form == "zip":
        raise UnreadableFileError(
            "is a broken zip file", path=location.label, hint="fetch it again, or take it out"
        )
    if form == "matlab":
        return _matlab_header(location, path, convention, options)
    with open_container(path) as contents:
        try:
            return _labelled_header(location, contents, convention, options)
        except READ_ERRORS as error:
            if isinstance(error, InputError):
                raise
            raise UnreadableFileError(
                f"its coordinates cannot be read ({type(error).__name__})",
                path=location.label,
                hint="fetch the file again, or take it out",
            ) from error


def _matlab_header(
    location: Location, path: Path, convention: Convention, options: Options
) -> Header:
    variable, shape = find_map(path, options.variable)
    grid, notes = _bare_grid(shape, convention, options, location.label)
    factor, units_notes = _units_factor("", convention, options, location.label, bare=True)
    frames = Frames(location, variable, factor=factor)
    return Header(frames, 1, grid, notes=(*notes, *units_notes))


def _bare_grid(
    shape: tuple[int, int], convention: Convention, options: Options, label: str
) -> tuple[Grid, tuple[str, ...]]:
    if convention.bare_units is None:
        raise InputError(
            "holds no coordinates", path=label, hint="say what it is: kind=cams, geoscf or deepcams"
        )
    latitude, longitude, notes = bare_coordinates(shape, options.registration, label)
    return normalise_grid(latitude, longitude, label)[0], notes


def _labelled_header(
    location: Location, contents: Contents, convention: Convention, options: Options
) -> Header:
    label = location.label
    array = find_variable(contents, convention.variables, options.variable, label)
    _refuse_projection(contents, array, label)
    row = _coordinate(contents, array, "latitude", _LATITUDE_UNITS, ("latitude", "lat"))
    column = _coordinate(contents, array, "longitude", _LONGITUDE_UNITS, ("longitude", "lon"))
    time = _time_array(contents, array)
    if row is None or column is None:
        row_dim, column_dim = _bare_dims(array, convention, label)
        shape = (array.shape[-2], array.shape[-1])
        grid, notes = _bare_grid(shape, convention, options, label)
    else:
        if options.registration is not None:
            raise InputError(
                "has coordinates of its own",
                path=label,
                hint=f"leave registration={options.registration} out",
            )
        row_dim, column_dim = row.dims[0], column.dims[0]
        grid, notes = normalise_grid(row[:], column[:], label)
    time_dims = _frame_dims(array, time, (row_dim, column_dim), label)
    bare = row is None or column is None
    factor, units_notes = _units_factor(array.text("units"), convention, options, label, bare=bare)
    frames = Frames(
        location,
        array.name,
        time_dims,
        row_dim,
        column_dim,
        _fills(array),
        _number(array, "scale_factor", 1.0),
        _number(array, "add_offset", 0.0),
        factor,
    )
    lengths = [array.shape[array.dims.index(dim)] for dim in time_dims]
    count = int(np.prod(lengths, dtype=int))
    if count == 0:
        raise UnreadableFileError(
            "holds no time step", path=label, hint="fetch the file again, or take it out"
        )
    times, bounds = None, None
    if time is not None:
        aligned = _aligned(time, time_dims, lengths)
        times = decode_times(aligned, time.text("units"), time.text("calendar"), label)
        bounds = _stored_bounds(contents, time, count, label)
    return Header(
        frames=frames,
        count=count,
        grid=grid,
        stored_together=array.stored_chunk(time_dims[0]) if len(time_dims) == 1 else 1,
        times=times,
        bounds=bounds,
        method=_stored_method(array, time, label),
        notes=(*notes, *units_notes, *(convention.told(contents) if convention.told else ())),
    )


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
    if wanted is not None:
        if wanted in arrays:
            return arrays[wanted]
        found = [array for name, array in arrays.items() if name.lower() == wanted.lower()]
    else:
        maps = [array for array in arrays.values() if len(array.dims) >= 2]
        accepted = {name.lower() for name in names}
        found = [array for array in maps if array.name.lower() in accepted]
        if not found:
            found = [array for array in maps if "pm2p5" in array.text("standard_name")]
    if len(found) == 1:
        return found[0]
    others = [name for name, array in arrays.items() if len(array.dims) >= 2]
    if found:
        listed = ", ".join(array.name for array in found)
        problem = f"has several arrays that may be PM2.5: {listed}"
    else:
        what = f"no array {wanted!r}" if wanted else "no array that is known as PM2.5"
        problem = f"has {what}, only {', '.join(others) or 'none with two dimensions'}"
    raise InputError(problem, path=label, hint="name the array with variable=")


def _refuse_projection(contents: Contents, array: StoredArray, label: str) -> None:
    mapping = contents.arrays.get(array.text("grid_mapping").split(":")[0])
    if mapping is not None:
        projection = mapping.text("grid_mapping_name")
        if projection != "latitude_longitude":
            raise InputError(
                f"is on a projected grid ({projection or 'of unknown name'})",
                path=label,
                hint="regrid it to latitude and longitude first",
            )
    for other in contents.arrays.values():
        if len(other.dims) > 2:
            continue
        over = set(other.dims) & set(array.dims)
        is_place = other.text("standard_name") in ("latitude", "longitude") or (
            other.name.lower() in ("lat", "lon", "latitude", "longitude")
        )
        if len(over) == 2 and len(other.dims) == 2 and is_place:
            raise InputError(
                f"has two-dimensional {other.name!r}, so it is not on latitudes and longitudes",
                path=label,
                hint="regrid it to latitude and longitude first",
            )
        if len(over) == 1 and other.text("standard_name").startswith(("projection_", "grid_l")):
            raise InputError(
                f"is on a projected grid (coordinate {other.name!r})",
                path=label,
                hint="regrid it to latitude and longitude first",
            )


def _coordinate(
    contents: Contents,
    array: StoredArray,
    standard_name: str,
    units: frozenset[str],
    names: tuple[str, ...],
) -> StoredArray | None:
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


def _bare_dims(array: StoredArray, convention: Convention, label: str) -> tuple[str, str]:
    if convention.bare_units is None:
        raise InputError(
            f"its array {array.name!r} has no latitude and longitude",
            path=label,
            hint="add them as one-dimensional coordinates, or say kind=deepcams for a bare map",
        )
    return array.dims[-2], array.dims[-1]


def _time_array(contents: Contents, array: StoredArray) -> StoredArray | None:
    candidates = [
        other
        for other in contents.arrays.values()
        if set(other.dims) <= set(array.dims) and " since " in other.text("units")
    ]

    def rank(other: StoredArray) -> int:
        if other.name in _TIME_NAMES:
            return _TIME_NAMES.index(other.name)
        return 2 if other.text("standard_name") == "time" else 3

    candidates = [one for one in candidates if one.name != "forecast_reference_time"]
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


def _aligned(time: StoredArray, dims: tuple[str, ...], lengths: list[int]) -> npt.NDArray[Any]:
    """Return the stored times in the order of the frames."""
    values = np.ma.getdata(time[...])
    order = [time.dims.index(dim) for dim in dims]
    return values.transpose(order).reshape(int(np.prod(lengths, dtype=int)))


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
    stored: str, convention: Convention, options: Options, label: str, *, bare: bool
) -> tuple[float, tuple[str, ...]]:
    """Return the factor to µg m⁻³ and what was assumed."""
    try:
        if stored:
            factor = factor_to_ug_m3(stored)
            if options.units is not None and factor_to_ug_m3(options.units) != factor:
                raise InputError(
                    f"its units are {stored!r}, which units={options.units} contradicts",
                    path=label,
                    hint="leave units= out",
                )
            return factor, ()
        if options.units is not None:
            return factor_to_ug_m3(options.units), ()
    except UnitsError as error:
        raise UnitsError(error.problem, path=label, hint=error.hint) from error
    assumed = convention.bare_units if bare else convention.units
    if assumed is None:
        raise UnitsError("names no units", path=label, hint="name them with units=, e.g. ug m-3")
    return factor_to_ug_m3(assumed), (f"no units in the files: taken as {assumed}",)


def _stored_method(array: StoredArray, time: StoredArray | None, label: str) -> Stamp | None:
    names = {"time"} if time is None else {"time", time.name, *time.dims}
    for subjects, method in re.findall(r"((?:\w+\s*:\s*)+)(\w+)", array.text("cell_methods")):
        if names & set(re.findall(r"\w+", subjects)):
            if method == "mean":
                return "mean"
            if method == "point":
                return "point"
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
