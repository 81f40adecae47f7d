"""Coastlines for maps, out of an installed package: nothing is fetched.

The line is that between land and sea in the mask of the package ``global-land-mask`` (MIT licence),
made from the Global Land One-kilometer Base Elevation model (GLOBE, NOAA; free of rights). Lakes
count as land. The mask is read row by row, since whole it takes a gigabyte of memory.
"""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from contourpy import LineType, contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from deepcams_eval.errors import InputError
from deepcams_eval.read.containers import cache_folder

SOURCE = "Coastlines: GLOBE 1 km (NOAA) through global-land-mask"
"""What a map with coastlines owes them to."""

Lines = list[npt.NDArray[np.float64]]
Extent = tuple[float, float, float, float]

_PACKAGE = "global_land_mask"
_FILE = "globe_combined_mask_compressed.npz"
_POINTS_A_DEGREE = 24
"""Of the mask as it is kept here; a value is the share of sea in 5 × 5 of the package's cells."""

_MERGED = 5
_MOST_ACROSS = 1200
"""More points than this across a map would be finer than its print."""

_STEPS = (6, 4, 3, 2, 1)
"""How many points may be merged into one; each divides the rows and the columns of the mask."""

_LINE: dict[str, Any] = {"colors": "#222222", "linewidths": 0.5, "zorder": 2.2}
_HALO: dict[str, Any] = {"colors": "#ffffff", "linewidths": 1.1, "alpha": 0.55, "zorder": 2.1}
"""Below the line, so that it is seen on dark colours too."""


def coastlines(extent: Extent) -> Lines:
    """Return the coastlines in a box.

    Parameters
    ----------
    extent : tuple of float
        West, east, south and north in degrees, west < east, at most 360° wide; east may lie
        beyond 180°.

    Returns
    -------
    list of ndarray, shape (points, 2)
        Longitude, in the range of `extent`, and latitude of each line.

    Raises
    ------
    InputError
        If the package that holds the mask is not installed, or `extent` is no box.
    """
    west, east, south, north = extent
    if not (west < east <= west + 360.0 and -90.0 <= south < north <= 90.0):
        raise InputError(f"{extent} is no box west, east, south, north in degrees")
    across = (east - west) * _POINTS_A_DEGREE / _MOST_ACROSS
    step = next(step for step in _STEPS if step <= max(across, 1.0))
    sea = _sea(_mask_file())
    per_degree = _POINTS_A_DEGREE / step
    first = int(np.floor((west + 180.0) * per_degree)) - 1
    last = int(np.ceil((east + 180.0) * per_degree)) + 1
    top = max(0, int(np.floor((90.0 - north) * per_degree)) - 1)
    bottom = min(len(sea) // step, int(np.ceil((90.0 - south) * per_degree)) + 1)
    columns = np.arange(first, last)
    share = _coarser(sea[step * top : step * bottom], step).take(columns, axis=1, mode="wrap")
    longitude = (columns + 0.5) / per_degree - 180.0
    latitude = 90.0 - (np.arange(top, bottom) + 0.5) / per_degree
    # Of this type the generator returns lines alone, and its annotation any of all types.
    generator = contour_generator(longitude, latitude, share, line_type=LineType.Separate)
    return cast(Lines, generator.lines(0.5))


def draw_coastlines(axes: Axes, extent: Extent) -> None:
    """Draw the coastlines in a box; the limits of the axes stay as they are.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With longitude and latitude in degrees as coordinates.
    extent : tuple of float
        As in `coastlines`; parts beyond the poles are cut off.
    """
    west, east, south, north = extent
    limits = axes.get_xlim(), axes.get_ylim()
    box = (west, min(east, west + 360.0), max(south, -90.0), min(north, 90.0))
    lines = coastlines(box)
    for look in (_HALO, _LINE):
        axes.add_collection(LineCollection(lines, **look), autolim=False)
    axes.set(xlim=limits[0], ylim=limits[1])


def _mask_file() -> Path:
    # Importing the package would read the whole mask into memory.
    found = find_spec(_PACKAGE)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    for folder in folders:
        if (path := Path(folder) / _FILE).is_file():
            return path
    raise InputError(
        "maps need the coastlines of the package global-land-mask, which is not installed",
        hint="pip install global-land-mask",
    )


@lru_cache(maxsize=1)
def _sea(path: Path) -> npt.NDArray[np.uint8]:
    """Return the number of sea cells in each of 1/24°, north first, from 180° W.

    Reading the whole mask takes seconds, so what is made of it is kept in the cache folder.
    """
    state = path.stat()
    kept = cache_folder() / "coastlines" / f"sea-{state.st_size}-{state.st_mtime_ns}.npz"
    try:
        with np.load(kept) as stored:
            return np.asarray(stored["sea"], dtype=np.uint8)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        sea = _read_mask(path)
    part = kept.with_suffix(f".{os.getpid()}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.savez_compressed(stream, sea=sea)
        part.replace(kept)
    except OSError:
        # Nothing is lost but time: what cannot be kept is made again.
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return sea


def _read_mask(path: Path) -> npt.NDArray[np.uint8]:
    parts = []
    with zipfile.ZipFile(path) as archive, archive.open("mask.npy") as stream:
        np.lib.format.read_magic(stream)
        (rows, columns), _, dtype = np.lib.format.read_array_header_1_0(stream)
        block = _MERGED * _POINTS_A_DEGREE
        for _ in range(0, rows, block):
            raw = stream.read(block * columns * dtype.itemsize)
            fine = np.frombuffer(raw, dtype=np.uint8).reshape(-1, _MERGED, columns)
            across = fine.sum(axis=1, dtype=np.uint8).reshape(len(fine), -1, _MERGED)
            parts.append(across.sum(axis=2, dtype=np.uint8))
    return np.concatenate(parts)


def _coarser(sea: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.float32]:
    """Return the share of sea in blocks of `step` × `step`."""
    rows, columns = sea.shape
    blocks = sea.reshape(rows // step, step, columns // step, step)
    share = blocks.mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(share / np.float32(_MERGED**2), dtype=np.float32)
