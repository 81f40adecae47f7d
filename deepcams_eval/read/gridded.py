"""From the files of a gridded product to a Field.

A reader of one source states its `Convention`; everything else is the same for all, and stands in
`containers` (netCDF, Zarr, zip), `coordinates` (space and time), `headers` (what a file says) and
`frames` (reading). Opening reads coordinates and attributes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deepcams_eval.core.field import TIME_DTYPE, DamagedFile, Product, Stamp, make_field
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read.containers import Location, UnreadableFileError
from deepcams_eval.read.coordinates import Grid, IntArray, TimeArray, time_in_name
from deepcams_eval.read.frames import Part, lazy_frames
from deepcams_eval.read.headers import Convention, Header, Options, read_header


@dataclass
class _Scan:
    headers: list[Header | None] = field(default_factory=list)
    damaged: list[DamagedFile] = field(default_factory=list)


def open_series(
    name: str,
    locations: Sequence[Location],
    convention: Convention,
    options: Options,
    *,
    strict: bool = False,
) -> Product:
    """Open files of one source as one series; their values are not read.

    Parameters
    ----------
    name : str
        Name of the product.
    locations : sequence of Location
        In natural order of their names, which is the order of files without times.
    convention : Convention
    options : Options
    strict : bool, default False
        Whether a damaged file is an error although others are sound.

    Raises
    ------
    InputError
        Naming the file at fault, and the option that decides where one does.
    """
    scan = _scan_all(locations, convention, options, strict=strict)
    headers = _with_times(locations, scan.headers, options)
    stamp, stamp_notes = _choose_stamp(headers, convention, options)
    source = np.repeat(np.arange(len(headers)), [header.count for header in headers])
    position = np.concatenate([np.arange(header.count) for header in headers])
    times = np.concatenate([_times_of(header) for header in headers])
    order = np.argsort(times, kind="stable")
    source, position, times = source[order], position[order], times[order]
    _refuse_repeats(times, source, headers)
    bounds = None
    if stamp == "mean":
        stored = [header.bounds for header in headers]
        if any(one is None for one in stored):
            bounds = _centred_bounds(times, convention, options, headers[0].label)
        else:
            bounds = np.concatenate([one for one in stored if one is not None])[order]
    grid = headers[0].grid
    result = make_field(
        lazy_frames(
            [Part(one.frames, one.grid, one.stored_together) for one in headers], source, position
        ),
        time=times,
        latitude=grid.latitude,
        longitude=grid.longitude,
        stamp=stamp,
        bounds=bounds,
    )
    notes = [note for header in headers for note in header.notes]
    by_time = dict.fromkeys(headers[index].frames.location.path for index in source)
    return Product(
        name=name,
        field=result,
        kind=convention.kind,
        files=tuple(by_time),
        notes=tuple(dict.fromkeys([*notes, *stamp_notes])),
        damaged=tuple(scan.damaged),
    )


def _scan_all(
    locations: Sequence[Location], convention: Convention, options: Options, *, strict: bool
) -> _Scan:
    scan = _Scan()
    first: Header | None = None
    for location in locations:
        try:
            header = read_header(location, convention, options)
        except UnreadableFileError as error:
            if strict or len(locations) == 1:
                raise
            scan.damaged.append(DamagedFile(location.label, error.problem))
            scan.headers.append(None)
            continue
        if first is None:
            first = header
        elif not header.grid.same_place(first.grid):
            raise InputError(
                f"its grid ({_describe(header.grid)}) is not that of {first.label}"
                f" ({_describe(first.grid)})",
                path=header.label,
                hint="give files of one grid, each other grid as a product of its own",
            )
        if first is not header and header.grid.same_order(first.grid):
            # Thousands of files share one copy of their coordinates.
            header = replace(header, grid=first.grid)
        scan.headers.append(header)
    if first is None:
        problem = scan.damaged[0]
        raise InputError(
            f"{problem.reason}, and so are all other {len(locations) - 1} files",
            path=problem.path,
            hint="fetch the files again",
        )
    return scan


def _describe(grid: Grid) -> str:
    return (
        f"{len(grid.latitude)} x {len(grid.longitude)},"
        f" latitude {grid.latitude[0]:g} to {grid.latitude[-1]:g},"
        f" longitude {grid.longitude[0]:g} to {grid.longitude[-1]:g}"
    )


def _with_times(
    locations: Sequence[Location], headers: Sequence[Header | None], options: Options
) -> list[Header]:
    """Give times to files without; a damaged file keeps its place in the count."""
    sound = [header for header in headers if header is not None]
    usual = max(header.count for header in sound)
    result = []
    before = 0
    for location, header in zip(locations, headers, strict=True):
        if header is None:
            before += usual
            continue
        if header.times is None:
            header = _timed(header, location, before, options)
        before += header.count
        result.append(header)
    return result


def _timed(header: Header, location: Location, before: int, options: Options) -> Header:
    if options.start is not None:
        if options.freq is None and (before or header.count > 1):
            raise InputError(
                "holds no times, and start= gives only the first",
                path=header.label,
                hint="add freq=, the step between frames, e.g. freq=3h",
            )
        step = options.freq if options.freq is not None else np.timedelta64(0, "us")
        times = (options.start + np.arange(before, before + header.count) * step).astype(TIME_DTYPE)
        note = "times counted from start= by freq= in natural order of the file names"
    else:
        named = time_in_name(location.stem_path)
        if named is None or header.count > 1:
            raise InputError(
                "holds no times",
                path=header.label,
                hint="give start= and freq=, e.g. start=2019-12-31T15:00,freq=3h",
            )
        times = np.array([named], dtype=TIME_DTYPE)
        note = "times taken from the file names"
    return replace(header, times=times, notes=(*header.notes, note))


def _times_of(header: Header) -> TimeArray:
    if header.times is None:
        raise NoDataError("holds no times", path=header.label)
    return header.times


def _refuse_repeats(times: TimeArray, source: IntArray, headers: Sequence[Header]) -> None:
    repeated = np.flatnonzero(times[1:] == times[:-1])
    if len(repeated) == 0:
        return
    at = int(repeated[0])
    first, second = headers[source[at]], headers[source[at + 1]]
    moment = np.datetime_as_string(times[at], "m")
    if first is second:
        raise InputError(
            f"holds {moment} twice ({len(repeated)} times in all are repeated)",
            path=first.label,
            hint="keep one of them, for forecasts one lead time for each hour",
        )
    raise InputError(
        f"holds {moment}, and so does {second.label}"
        f" ({len(repeated)} times in all are in two files)",
        path=first.label,
        hint="take one of the files out",
    )


def _choose_stamp(
    headers: Sequence[Header], convention: Convention, options: Options
) -> tuple[Stamp, tuple[str, ...]]:
    """Return what a stamp means: as the user says, else the file, else the convention."""
    stored = headers[0].method
    for header in headers:
        if header.method != stored and options.stamp is None:
            raise InputError(
                f"its stamps are {header.method or 'unknown'}, those of {headers[0].label}"
                f" {stored or 'unknown'}",
                path=header.label,
                hint="give files of one kind, or decide with stamp=point or stamp=mean",
            )
    if options.stamp is not None:
        if stored is not None and stored != options.stamp:
            return options.stamp, (f"stamp={options.stamp}, though the files say {stored}",)
        return options.stamp, ()
    if stored is not None:
        return stored, ()
    if convention.stamp is None:
        raise InputError(
            "does not say whether its time stamps are points or means",
            path=headers[0].label,
            hint="decide with stamp=point or stamp=mean",
        )
    return convention.stamp, (convention.stamp_note,) if convention.stamp_note else ()


def _centred_bounds(
    times: TimeArray, convention: Convention, options: Options, label: str
) -> TimeArray:
    """Return the intervals around stamps that stand in the middle of theirs."""
    width = convention.interval
    if width is None:
        width = options.freq
    if width is None and len(times) > 1:
        width = np.median(np.diff(times))
    if width is None:
        raise InputError(
            "holds one mean without the bounds of its interval",
            path=label,
            hint="give its length with freq=, e.g. freq=1h",
        )
    width = width.astype("timedelta64[us]")
    start = times - width // 2
    into_day = start - start.astype("datetime64[D]")
    off = np.flatnonzero(into_day % width != np.timedelta64(0, "us"))
    if len(off):
        moment = np.datetime_as_string(times[off[0]], "m")
        hours = width / np.timedelta64(1, "h")
        raise InputError(
            f"means over {hours:g} h without bounds carry the middle of their interval, and"
            f" {moment} is the middle of none",
            path=label,
            hint="add time bounds to the file, set start= to a middle (00:30 for hourly means),"
            " or say stamp=point",
        )
    return np.stack([start, start + width], axis=1)
