"""Reading a field once, in the order of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.arrays import BoolArray, IntArray

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
