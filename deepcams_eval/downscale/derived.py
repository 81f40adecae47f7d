"""Baselines that turn 3-hourly 0.75° frames into hourly 0.25° ones."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import sparse

from deepcams_eval.core.arrays import FloatArray, IntArray
from deepcams_eval.core.field import TIME_DTYPE, make_field, stamp_of, validate_field
from deepcams_eval.downscale.degrade import (
    FACTOR,
    HOUR,
    Separable,
    refined,
    require_even,
    wrapped_longitude,
)
from deepcams_eval.downscale.spatial import KEYS, enlargement
from deepcams_eval.errors import InputError

_CHUNK_BYTES = 64 * 2**20


def hourly_linear(field: xr.DataArray, *, frame_growth: int = 1) -> xr.DataArray:
    """Interpolate a Field of instantaneous values linearly to every hour.

    Between consecutive frames G0 and G1 the value at the fraction t of the time elapsed is
    (1 − t)·G0 + t·G1. A frame keeps its values exactly. Hours within a gap longer than the native
    step of the Field, the median of its steps, are absent.

    Parameters
    ----------
    field : xarray.DataArray
        A Field of points; NaN in either frame gives NaN between them.
    frame_growth : int, default 1
        How much larger a later step will make a frame; chunks are kept that much shorter.

    Returns
    -------
    xarray.DataArray
        A Field, lazy where `field` is.

    Raises
    ------
    InputError
        If `field` holds means.
    """
    validate_field(field)
    if stamp_of(field) == "mean":
        raise InputError(
            "means over intervals cannot be interpolated to instants",
            hint="give a product of instantaneous values",
        )
    times = field["time"].values.astype(TIME_DTYPE)
    lower, weight, hours = _hours_between(times)
    data = da.asarray(field.data)
    frame_bytes = 4 * frame_growth * data.shape[1] * data.shape[2]
    pieces = []
    for first, last in _ranges(data.chunks[0], lower, max(1, _CHUNK_BYTES // frame_bytes)):
        chosen = slice(*np.searchsorted(lower, [first, last]))
        # The frame after the last one of a piece closes its final interval.
        block = data[first : min(last + 1, len(times))].rechunk(-1)
        count = chosen.stop - chosen.start
        pieces.append(
            block.map_blocks(
                _interpolate,
                lower[chosen] - first,
                weight[chosen],
                dtype=np.float32,
                chunks=((count,), *block.chunks[1:]),
                meta=np.empty((0, 0, 0), dtype=np.float32),
            )
        )
    return make_field(
        da.concatenate(pieces, axis=0),
        time=hours,
        latitude=field["latitude"].values,
        longitude=field["longitude"].values,
        stamp="point",
    )


def _hours_between(
    times: npt.NDArray[np.datetime64],
) -> tuple[IntArray, FloatArray, npt.NDArray[np.datetime64]]:
    """Return for each output hour the frame before it, the fraction elapsed, and its time."""
    steps = np.diff(times)
    native = np.sort(steps)[len(steps) // 2] if len(steps) else HOUR
    # The last hour before the next frame: a frame never repeats as an interpolated hour.
    inside = np.where(steps <= native, (steps - np.timedelta64(1, "us")) // HOUR, 0)
    counts = 1 + np.append(inside, 0).astype(np.int64)
    lower = np.repeat(np.arange(len(times)), counts)
    elapsed = (np.arange(len(lower)) - np.repeat(np.cumsum(counts) - counts, counts)) * HOUR
    length = np.append(steps, HOUR)
    return lower, elapsed / length[lower], times[lower] + elapsed


def _ranges(chunks: tuple[int, ...], lower: IntArray, most: int) -> list[tuple[int, int]]:
    """Cut the frames at the chunks, and so that none gives more than `most` hours."""
    counts = np.bincount(lower)
    result = []
    end = 0
    for length in chunks:
        first, end = end, end + length
        held = 0
        for frame in range(first, end):
            if held and held + counts[frame] > most:
                result.append((first, frame))
                first, held = frame, 0
            held += int(counts[frame])
        result.append((first, end))
    return result


def _interpolate(
    frames: npt.NDArray[np.float32], lower: IntArray, weight: FloatArray
) -> npt.NDArray[np.float32]:
    result = frames[lower]
    for index in np.flatnonzero(weight):
        first, last = frames[lower[index] : lower[index] + 2]
        result[index] = linear(first, last, weight[index : index + 1])[0]
    return result


def linear(
    first: npt.NDArray[np.float32], last: npt.NDArray[np.float32], fractions: FloatArray
) -> npt.NDArray[np.float32]:
    """Return (1 − t)·first + t·last for each fraction t, shape (fractions, *first.shape).

    Parameters
    ----------
    first, last : ndarray
        µg m⁻³. NaN where either is.
    fractions : ndarray
        Each t.
    """
    weights = fractions.reshape(-1, *[1] * first.ndim)
    blend: npt.NDArray[Any] = (1 - weights) * first + weights * last
    return blend.astype(np.float32)


def bicubic_nodes(field: xr.DataArray) -> xr.DataArray:
    """Refine a Field three times by Keys bicubic interpolation, keeping its nodes.

    Coarse nodes coincide with every third fine node and keep their values exactly: n rows become
    3(n − 1) + 1, and so do columns, unless longitude spans the globe, where n become 3n and the
    first column follows the last. Weights are those of Keys (1981, doi:10.1109/TASSP.1981.1163711)
    with a = −0.5, which reproduces polynomials of the second degree; the outermost rows and
    columns are repeated beyond the edge. Nothing is clipped.

    Parameters
    ----------
    field : xarray.DataArray
        A Field on evenly spaced coordinates; a region may cross the date line. NaN reaches only
        the fine nodes that need it.

    Returns
    -------
    xarray.DataArray
        A Field with the times and stamps of `field`, lazy.

    Raises
    ------
    InputError
        If the spacing is uneven.
    """
    validate_field(field)
    latitude, up = _enlarged(field["latitude"].values, "latitude", cyclic=False)
    columns = field["longitude"].values
    seam, cyclic = _seam(columns)
    eastward = np.unwrap(np.roll(columns, -seam), period=360.0)
    longitude, across = _enlarged(eastward, "longitude", cyclic=cyclic)
    longitude = wrapped_longitude(longitude)
    order = np.argsort(longitude)
    across = across[order][:, (np.arange(len(columns)) - seam) % len(columns)]
    data = da.asarray(field.data)
    most = max(1, _CHUNK_BYTES // (4 * len(latitude) * len(longitude)))
    shorter = field.copy(data=data.rechunk({0: _shortened(data.chunks[0], most)}))
    refined_by = Separable(up, sparse.csr_array(across))
    return refined_by.of_field(shorter, latitude, longitude[order])


def _shortened(chunks: tuple[int, ...], most: int) -> tuple[int, ...]:
    return tuple(min(most, length - first) for length in chunks for first in range(0, length, most))


def _seam(longitude: FloatArray) -> tuple[int, bool]:
    """Return the westernmost column on the ground, and whether the columns close a circle."""
    gaps = np.diff(longitude, append=longitude[0] + 360.0)
    if len(longitude) > 1 and float(gaps.max()) < 1.5 * float(np.median(gaps)):
        return 0, True
    return (int(gaps.argmax()) + 1) % len(longitude), False


def _enlarged(
    nodes: FloatArray, name: str, *, cyclic: bool
) -> tuple[FloatArray, sparse.csr_array[np.float64]]:
    """Return the fine coordinate and the weights of its nodes."""
    fine = nodes
    if len(nodes) > 1:
        hint = "bicubic interpolation needs an even grid"
        require_even(nodes, name, within=1e-3, hint=hint)
        fine = refined(nodes, 0, cyclic=cyclic)
    positions = np.arange(len(fine)) / FACTOR
    return fine, enlargement(positions, len(nodes), KEYS, cyclic=cyclic)
