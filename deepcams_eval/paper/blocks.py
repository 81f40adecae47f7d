"""Reading a field once, in the order of its files, and the means of what was read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.arrays import BoolArray, FloatArray, IntArray

Frames = npt.NDArray[np.floating[Any]]


class Reader(Protocol):
    """What takes frames as they are read: sums or cells of them, never the frames themselves."""

    wanted: BoolArray

    def take(self, places: IntArray, frames: Frames) -> None:
        """Take frames, (time, row, column), and their places along the time of the field."""
        ...


def read_once(field: xr.DataArray, readers: Sequence[Reader]) -> None:
    """Read the frames that any reader wants, each stored block once, and hand them on.

    Parameters
    ----------
    field : xarray.DataArray
        A lazy Field; one block of it is held at a time.
    readers : sequence of Reader
        Each is given the frames it wants, in order of time, some at a time.
    """
    wanted = np.zeros(field.sizes["time"], dtype=bool)
    for reader in readers:
        wanted |= reader.wanted
    for places, frames in _blocks(field, wanted):
        for reader in readers:
            mine = reader.wanted[places]
            if mine.all():
                reader.take(places, frames)
            elif mine.any():
                reader.take(places[mine], frames[mine])


def _blocks(field: xr.DataArray, wanted: BoolArray) -> Iterator[tuple[IntArray, Frames]]:
    chunks = field.chunks[0] if field.chunks else (len(wanted),)
    last = 0
    for length in chunks:
        first, last = last, last + length
        inside = np.flatnonzero(wanted[first:last])
        if len(inside):
            span = slice(first + int(inside[0]), first + int(inside[-1]) + 1)
            frames = field.isel(time=span).to_numpy()
            yield first + inside, frames[inside - inside[0]]


class MeanReader:
    """Sums up frames; NaN counts for nothing.

    Parameters
    ----------
    wanted : ndarray of bool, shape (time,)
        The frames to be averaged.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(self, wanted: BoolArray, shape: tuple[int, int]) -> None:
        self.wanted = wanted
        self._count = np.zeros(shape, dtype=np.int64)
        self._mean = np.zeros(shape, dtype=np.float64)
        self._square = np.zeros(shape, dtype=np.float64)

    def take(self, places: IntArray, frames: Frames) -> None:  # noqa: ARG002 - of the protocol
        """Add frames, (time, row, column)."""
        known = np.isfinite(frames)
        count = known.sum(axis=0)
        some = np.maximum(count, 1)
        values = np.where(known, frames, 0.0).astype(np.float64)
        mean = values.sum(axis=0) / some
        square = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
        # Centred sums of the parts are merged after Chan et al. (1983), as large sums lose digits.
        total = np.maximum(self._count + count, 1)
        step = mean - self._mean
        self._square += square + step**2 * self._count * count / total
        self._mean += np.where(count > 0, step * count / total, 0.0)
        self._count += count

    @property
    def mean(self) -> FloatArray:
        """Mean of each cell, NaN where there is no value."""
        return np.where(self._count > 0, self._mean, np.nan)

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation of each cell over time (divisor n), NaN where there is no value."""
        return np.where(self._count > 0, np.sqrt(self._square / np.maximum(self._count, 1)), np.nan)
