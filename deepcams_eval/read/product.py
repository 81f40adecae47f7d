"""Opens gridded products by their settings, whatever their source.

A reader of one source states its `Source`; everything else is the same for all: `containers`
(netCDF, Zarr, MATLAB, zip), `coordinates` (space and time), `headers` (what a file says), `frames`
(reading), and here what files make a series.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepcams_eval.core.arrays import IntArray, Times
from deepcams_eval.core.field import TIME_DTYPE, DamagedFile, Product, Stamp, make_field
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read import registry
from deepcams_eval.read.containers import (
    DATA_SUFFIXES,
    GRIB_SUFFIXES,
    Location,
    UnreadableFileError,
    is_zarr,
    open_container,
    sniff,
    zip_members,
)
from deepcams_eval.read.coordinates import time_in_name
from deepcams_eval.read.files import matching
from deepcams_eval.read.frames import lazy_frames
from deepcams_eval.read.headers import Header, find_array, read_header
from deepcams_eval.read.source import Source
from deepcams_eval.read.spec import DERIVED, ProductSpec

__all__ = ["ProductSpec", "open_product"]


def open_product(spec: ProductSpec, *, strict: bool = False) -> Product:
    """Open the files of one product as a lazy Field.

    Coordinates and attributes are read, values are not: whether there is any value but NaN shows
    only in use. Zip members are unpacked into a cache folder (``DEEPCAMS_CACHE``).

    Parameters
    ----------
    spec : ProductSpec
        Not of a derived product.
    strict : bool, default False
        Whether one damaged file among sound ones is an error; else it is left out and stands in
        `Product.damaged`. A single file, or all of them, is an error in any case.

    Raises
    ------
    InputError
        Naming the file at fault and the next step or the option that decides.
    NoDataError
        If a folder or glob holds no file of a known form.
    """
    if spec.derived is not None:
        raise InputError(
            f"product {spec.name!r} derives from {spec.derived[1]!r}",
            hint="open both with deepcams_eval.pair.derived.open_products",
        )
    locations = _locate(spec)
    source = registry.source_of(spec.kind) if spec.kind else _recognise(locations, spec)
    found, damaged = _read_headers(locations, source, spec, strict=strict)
    times, time_notes = _times(found, spec)
    headers = [header for header in found if header is not None]
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
            width = spec.step if source.interval is None else source.interval
            bounds = _centred_bounds(times, width, headers[0].label)
    parts = [header.frames for header in headers]
    notes = [note for header in headers for note in header.notes]
    return Product(
        name=spec.name,
        field=make_field(
            lazy_frames(parts, file, position),
            time=times,
            latitude=parts[0].grid.latitude,
            longitude=parts[0].grid.longitude,
            stamp=stamp,
            bounds=bounds,
        ),
        kind=source.kind,
        files=tuple(dict.fromkeys(parts[index].location.path for index in file)),
        notes=tuple(dict.fromkeys([*notes, *time_notes, *stamp_notes])),
        damaged=tuple(damaged),
    )


def _locate(spec: ProductSpec) -> list[Location]:
    """Return the containers of a product in natural order of their names."""
    hint = "check the path"
    if ":" in spec.path:
        hint += f", or derive with one of {', '.join(f'{one}:PARENT' for one in DERIVED)}"
    matches = matching(Path(spec.path).expanduser(), hint)
    if not matches:
        raise NoDataError("matches no file", path=spec.path, hint="check the pattern")
    found = dict.fromkeys(file for match in matches for file in _files_at(match.absolute()))
    if not found:
        raise NoDataError(
            "holds no file of a known form",
            path=spec.path,
            hint=f"expected one of {', '.join(sorted(DATA_SUFFIXES))}",
        )
    return [location for path in sorted(found, key=_natural) for location in _members(path)]


def _files_at(path: Path) -> list[Path]:
    """Return the file itself, or the data files in a folder; a Zarr store counts as one."""
    if not path.is_dir() or is_zarr(path):
        return [path]
    everything = list(_walk(path))
    data = [one for one in everything if one.suffix.lower() in DATA_SUFFIXES]
    return data or [one for one in everything if one.suffix.lower() in GRIB_SUFFIXES]


def _walk(folder: Path) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        here = Path(root)
        stores = [name for name in names if is_zarr(here / name)]
        names[:] = [name for name in names if name not in stores and not name.startswith(".")]
        yield from (here / name for name in (*stores, *files) if not name.startswith("."))


def _members(path: Path) -> list[Location]:
    # A broken file is met again, and counted, when its header is read.
    try:
        if sniff(path) == "zip":
            return [Location(path, member) for member in sorted(zip_members(path), key=_natural)]
    except UnreadableFileError:
        pass
    return [Location(path)]


def _natural(path: Path | str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))]


def _recognise(locations: Sequence[Location], spec: ProductSpec) -> Source:
    """Return the source of the first file that can be read."""
    for location in locations:
        try:
            with open_container(location) as contents:
                if not contents.bare:
                    return next(one for one in registry.SOURCES if one.recognises(contents))
                shape = find_array(contents, (), spec.variable, location.label).shape
        except UnreadableFileError:
            continue
        for source in registry.SOURCES:
            if shape in source.bare_shapes:
                return source
        raise InputError(
            f"is a map of {shape[0]} x {shape[1]} without names or units, of several possible"
            " sources",
            path=location.label,
            hint="say which with kind=cams, kind=geoscf or kind=deepcams",
        )
    return registry.SOURCES[-1]


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
        first = first or header
        grid, common = header.frames.grid, first.frames.grid
        if not grid.same_place(common):
            raise InputError(
                f"its grid ({grid}) is not that of {first.label} ({common})",
                path=header.label,
                hint="give files of one grid, each other grid as a product of its own",
            )
        if grid.same_order(common):
            # Thousands of files share one copy of their coordinates.
            header = replace(header, frames=replace(header.frames, grid=common))
        headers.append(header)
    if first is None:
        raise InputError(
            f"{damaged[0].reason}, and so are all other {len(locations) - 1} files",
            path=damaged[0].path,
            hint="fetch the files again",
        )
    return headers, damaged


def _times(headers: Sequence[Header | None], spec: ProductSpec) -> tuple[Times, list[str]]:
    """Return the times of the sound files, and notes of where those came from that hold none."""
    usual = max(header.count for header in headers if header is not None)
    times, notes = [], []
    before = 0
    for header in headers:
        if header is None:
            before += usual  # a damaged file keeps its place in the count
            continue
        if header.times is not None:
            times.append(header.times)
        else:
            counted, note = _times_without_header(header, before, spec)
            times.append(counted)
            notes.append(note)
        before += header.count
    return np.concatenate(times), notes


def _times_without_header(header: Header, before: int, spec: ProductSpec) -> tuple[Times, str]:
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
    named = time_in_name(header.frames.location.stem_path)
    if named is None or header.count > 1:
        raise InputError(
            "holds no times",
            path=header.label,
            hint="give start= and freq=, e.g. start=2019-12-31T15:00,freq=3h",
        )
    return np.array([named], dtype=TIME_DTYPE), "times taken from the file names"


def _reject_repeats(times: Times, file: IntArray, headers: Sequence[Header]) -> None:
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


def _centred_bounds(times: Times, width: np.timedelta64 | None, label: str) -> Times:
    """Return the intervals around stamps that stand in the middle of theirs."""
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
