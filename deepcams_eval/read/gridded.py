"""From the files of a gridded product to a Field.

A reader of one source states its `Source`; everything else is the same for all, and stands in
`containers` (netCDF, Zarr, MATLAB, zip), `coordinates` (space and time), `headers` (what a file
says) and `frames` (reading). Opening reads coordinates and attributes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deepcams_eval.core.arrays import IntArray
from deepcams_eval.core.field import TIME_DTYPE, DamagedFile, Product, Stamp, make_field
from deepcams_eval.errors import InputError
from deepcams_eval.read.containers import Location, UnreadableFileError
from deepcams_eval.read.coordinates import Grid, TimeArray, time_in_name
from deepcams_eval.read.frames import lazy_frames
from deepcams_eval.read.headers import Header, read_header
from deepcams_eval.read.source import Source
from deepcams_eval.read.spec import ProductSpec


def open_series(
    spec: ProductSpec, locations: Sequence[Location], source: Source, *, strict: bool = False
) -> Product:
    """Open files of one source as one series; their values are not read.

    Parameters
    ----------
    spec : ProductSpec
    locations : sequence of Location
        In natural order of their names, which is the order of files without times.
    source : Source
    strict : bool, default False
        Whether a damaged file is an error although others are sound.

    Raises
    ------
    InputError
        Naming the file at fault, and the option that decides where one does.
    """
    found, damaged = _read_headers(locations, source, spec, strict=strict)
    headers, times = _with_times(locations, found, spec)
    stamp, stamp_notes = _choose_stamp(headers, source, spec)
    file = np.repeat(np.arange(len(headers)), [header.count for header in headers])
    position = np.concatenate([np.arange(header.count) for header in headers])
    order = np.argsort(times, kind="stable")
    file, position, times = file[order], position[order], times[order]
    _reject_repeats(times, file, headers)
    bounds = None
    if stamp == "mean":
        stored = [header.bounds for header in headers if header.bounds is not None]
        if len(stored) == len(headers):
            bounds = np.concatenate(stored)[order]
        else:
            bounds = _centred_bounds(times, source.interval, spec.step, headers[0].label)
    parts = [header.frames for header in headers]
    result = make_field(
        lazy_frames(parts, file, position),
        time=times,
        latitude=parts[0].grid.latitude,
        longitude=parts[0].grid.longitude,
        stamp=stamp,
        bounds=bounds,
    )
    notes = [note for header in headers for note in header.notes]
    return Product(
        name=spec.name,
        field=result,
        kind=source.kind,
        files=tuple(dict.fromkeys(parts[index].location.path for index in file)),
        notes=tuple(dict.fromkeys([*notes, *stamp_notes])),
        damaged=tuple(damaged),
    )


def _read_headers(
    locations: Sequence[Location], source: Source, spec: ProductSpec, *, strict: bool
) -> tuple[list[Header | None], list[DamagedFile]]:
    """Return the header of each file, None where it is damaged, and the damaged files."""
    headers: list[Header | None] = []
    damaged: list[DamagedFile] = []
    first: Header | None = None
    for location in locations:
        try:
            header = read_header(location, source, spec)
        except UnreadableFileError as error:
            if strict or len(locations) == 1:
                raise
            damaged.append(DamagedFile(location.label, error.problem))
            headers.append(None)
            continue
        grid = header.frames.grid
        if first is None:
            first = header
        elif not grid.same_place(first.frames.grid):
            raise InputError(
                f"its grid ({_describe(grid)}) is not that of {first.label}"
                f" ({_describe(first.frames.grid)})",
                path=header.label,
                hint="give files of one grid, each other grid as a product of its own",
            )
        elif grid.same_order(first.frames.grid):
            # Thousands of files share one copy of their coordinates.
            header = replace(header, frames=replace(header.frames, grid=first.frames.grid))
        headers.append(header)
    if first is None:
        raise InputError(
            f"{damaged[0].reason}, and so are all other {len(locations) - 1} files",
            path=damaged[0].path,
            hint="fetch the files again",
        )
    return headers, damaged


def _describe(grid: Grid) -> str:
    return (
        f"{len(grid.latitude)} x {len(grid.longitude)},"
        f" latitude {grid.latitude[0]:g} to {grid.latitude[-1]:g},"
        f" longitude {grid.longitude[0]:g} to {grid.longitude[-1]:g}"
    )


def _with_times(
    locations: Sequence[Location], headers: Sequence[Header | None], spec: ProductSpec
) -> tuple[list[Header], TimeArray]:
    """Return the sound files and all their times; a damaged file keeps its place in the count."""
    usual = max(header.count for header in headers if header is not None)
    result, times = [], []
    before = 0
    for location, header in zip(locations, headers, strict=True):
        if header is None:
            before += usual
            continue
        if header.times is not None:
            times.append(header.times)
        else:
            counted, note = _times_without_header(header, location, before, spec)
            times.append(counted)
            header = replace(header, notes=(*header.notes, note))
        result.append(header)
        before += header.count
    return result, np.concatenate(times)


def _times_without_header(
    header: Header, location: Location, before: int, spec: ProductSpec
) -> tuple[TimeArray, str]:
    """Return the times of a file that holds none, and a note of where they come from."""
    if spec.first_time is not None:
        if spec.step is None and (before or header.count > 1):
            raise InputError(
                "holds no times, and start= gives only the first",
                path=header.label,
                hint="add freq=, the step between frames, e.g. freq=3h",
            )
        step = spec.step if spec.step is not None else np.timedelta64(0, "us")
        times = spec.first_time + np.arange(before, before + header.count) * step
        note = "times counted from start= by freq= in natural order of the file names"
        return times.astype(TIME_DTYPE), note
    named = time_in_name(location.stem_path)
    if named is None or header.count > 1:
        raise InputError(
            "holds no times",
            path=header.label,
            hint="give start= and freq=, e.g. start=2019-12-31T15:00,freq=3h",
        )
    return np.array([named], dtype=TIME_DTYPE), "times taken from the file names"


def _reject_repeats(times: TimeArray, file: IntArray, headers: Sequence[Header]) -> None:
    repeated = np.flatnonzero(times[1:] == times[:-1])
    if len(repeated) == 0:
        return
    at = int(repeated[0])
    first, second = headers[file[at]], headers[file[at + 1]]
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
    headers: Sequence[Header], source: Source, spec: ProductSpec
) -> tuple[Stamp, tuple[str, ...]]:
    """Return what a stamp means: as the user says, else the file, else the source."""
    stored = headers[0].method
    for header in headers:
        if header.method != stored and spec.stamp is None:
            raise InputError(
                f"its stamps are {header.method or 'unknown'}, those of {headers[0].label}"
                f" {stored or 'unknown'}",
                path=header.label,
                hint="give files of one kind, or decide with stamp=point or stamp=mean",
            )
    if spec.stamp is not None:
        if stored is not None and stored != spec.stamp:
            return spec.stamp, (f"stamp={spec.stamp}, though the files say {stored}",)
        return spec.stamp, ()
    if stored is not None:
        return stored, ()
    if source.stamp is None:
        raise InputError(
            "does not say whether its time stamps are points or means",
            path=headers[0].label,
            hint="decide with stamp=point or stamp=mean",
        )
    return source.stamp, (source.stamp_note,) if source.stamp_note else ()


def _centred_bounds(
    times: TimeArray, interval: np.timedelta64 | None, step: np.timedelta64 | None, label: str
) -> TimeArray:
    """Return the intervals around stamps that stand in the middle of theirs."""
    width = step if interval is None else interval
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
