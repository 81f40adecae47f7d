"""Frames of gridded files: read one file, or a whole series lazily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize

from deepcams_eval.core.arrays import IntArray
from deepcams_eval.errors import InputError
from deepcams_eval.read.containers import READ_ERRORS, Location, StoredArray, open_container
from deepcams_eval.read.coordinates import Grid

CHUNK_BYTES = 64 * 2**20
"""A chunk of a Field is no larger; it is whole frames."""

_MAX_FILES_PER_CHUNK = 24
_BATCH_BYTES = 8 * 2**20
_FILL_MAGNITUDE = 1e14


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one file and where their cells stand, readable in any process.

    Attributes
    ----------
    location : Location
    variable : str
    grid : Grid
    row_dim, column_dim : str
    time_dims : tuple of str
        Dims that count the frames, in the order of the array; () for a single map.
    stored_together : int
        Frames in one stored chunk.
    fills : tuple of float
        Stored values that mean missing.
    scale, offset : float
        Packing; value = stored × scale + offset.
    factor : float
        From the file's unit to µg m⁻³.
    """

    location: Location
    variable: str
    grid: Grid = field(repr=False)
    row_dim: str
    column_dim: str
    time_dims: tuple[str, ...] = ()
    stored_together: int = 1
    fills: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    factor: float = 1.0

    def read(self, positions: IntArray) -> npt.NDArray[np.float32]:
        """Return frames as rows of a Field, µg m⁻³, NaN where missing.

        Raises
        ------
        InputError
            If the file is broken inside.
        """
        try:
            stored = self._stored(positions)
        except READ_ERRORS as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"its array {self.variable!r} cannot be read ({type(error).__name__})",
                path=self.location.label,
                hint="fetch the file again, or take it out",
            ) from error
        grid = self.grid
        result = np.empty(
            (len(positions), len(grid.latitude), len(grid.longitude)), dtype=np.float32
        )
        rows, columns = _as_slice(grid.rows), _as_slice(grid.columns)
        batch = max(1, _BATCH_BYTES // (8 * result[0].size))
        for first in range(0, len(stored), batch):
            values = self._decoded(stored[first : first + batch])
            result[first : first + batch] = values[:, rows][:, :, columns]
        return result

    def _stored(self, positions: IntArray) -> npt.NDArray[Any]:
        with open_container(self.location) as contents:
            array = contents.arrays[self.variable]
            counts = [array.shape[array.dims.index(dim)] for dim in self.time_dims]
            runs = [self._run(array, index) for index in _runs(positions, counts)]
            return np.concatenate(runs, axis=0)

    def _run(self, array: StoredArray, index: tuple[slice, ...]) -> npt.NDArray[Any]:
        key: list[Any] = [0] * len(array.dims)
        for dim, where in zip(self.time_dims, index, strict=True):
            key[array.dims.index(dim)] = where
        for dim in (self.row_dim, self.column_dim):
            key[array.dims.index(dim)] = slice(None)
        block = array[tuple(key)]
        kept = [dim for dim, one in zip(array.dims, key, strict=True) if isinstance(one, slice)]
        order = [kept.index(dim) for dim in (*self.time_dims, self.row_dim, self.column_dim)]
        block = block.transpose(order)
        return block.reshape(-1, *block.shape[-2:])

    def _decoded(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        # A kilogram per cubic metre is 1e9 µg: everything in float64 until the unit is ours.
        values = stored.astype(np.float64)
        missing = ~(np.abs(values) < _FILL_MAGNITUDE)
        for fill in self.fills:
            missing |= values == fill
        values *= self.scale
        values += self.offset
        values *= self.factor
        values[missing] = np.nan
        return values


def _as_slice(index: IntArray) -> slice | IntArray:
    """Return an index that runs straight up or down as a slice, which copies nothing."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    first, beyond = int(index[0]), int(index[-1]) + step
    straight = step in (1, -1) and bool((np.diff(index) == step).all())
    return slice(first, beyond if beyond >= 0 else None, step) if straight else index


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Frames of a Field in time order: runs of one file each."""

    runs: Sequence[tuple[Frames, IntArray]]

    def read(self) -> npt.NDArray[np.float32]:
        blocks = [frames.read(positions) for frames, positions in self.runs]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=0)


def lazy_frames(parts: Sequence[Frames], source: IntArray, position: IntArray) -> da.Array:
    """Return frames of many files as one dask array whose chunks follow the files.

    Parameters
    ----------
    parts : sequence of Frames
        One a file; all on the same cells.
    source, position : ndarray of int, shape (time,)
        File, and frame within it, of each time step.

    Returns
    -------
    dask.array.Array, shape (time, latitude, longitude)
        float32, µg m⁻³; chunks are whole frames, at most `CHUNK_BYTES`. Each task knows its own
        files only, by absolute path.
    """
    rows, columns = len(parts[0].grid.latitude), len(parts[0].grid.longitude)
    most = max(1, CHUNK_BYTES // (4 * rows * columns))
    name = "pm25-" + tokenize([_identity(part) for part in parts], source, position, most)
    chunks = [
        _Chunk([(parts[file], positions) for file, positions in runs])
        for runs in _chunked(_file_runs(parts, source, position, most), most)
    ]
    graph = {(name, number, 0, 0): (_Chunk.read, chunk) for number, chunk in enumerate(chunks)}
    lengths = tuple(sum(len(positions) for _, positions in chunk.runs) for chunk in chunks)
    return da.Array(graph, name, chunks=(lengths, (rows,), (columns,)), dtype=np.float32)


def _identity(frames: Frames) -> tuple[Any, ...]:
    state = frames.location.path.stat()
    return (repr(frames), state.st_size, state.st_mtime_ns)


def _file_runs(
    parts: Sequence[Frames], source: IntArray, position: IntArray, most: int
) -> list[tuple[int, IntArray]]:
    """Cut the frames where the file changes, and long files where stored chunks end."""
    starts = np.flatnonzero(np.diff(source, prepend=-1))
    result = []
    for start, stop in zip(starts, [*starts[1:], len(source)], strict=True):
        file = int(source[start])
        together = parts[file].stored_together
        step = most // together * together if together <= most else most
        block = position[start] // step
        cuts = np.flatnonzero(np.diff(position[start:stop] // step, prepend=block)) + start
        edges = [int(start), *(int(cut) for cut in cuts), int(stop)]
        result += [(file, position[low:high]) for low, high in pairwise(edges)]
    return result


def _chunked(runs: Sequence[tuple[int, IntArray]], most: int) -> list[list[tuple[int, IntArray]]]:
    """Put runs of small files together into chunks."""
    result: list[list[tuple[int, IntArray]]] = []
    held = most
    for file, positions in runs:
        held += len(positions)
        if held > most or len(result[-1]) == _MAX_FILES_PER_CHUNK:
            result.append([])
            held = len(positions)
        result[-1].append((file, positions))
    return result


def _runs(positions: IntArray, counts: list[int]) -> list[tuple[slice, ...]]:
    """Return index slices, one a dim that counts frames, that give `positions` in order."""
    if not counts:
        return [()]
    if len(counts) == 1:
        breaks = np.flatnonzero(np.diff(positions) != 1) + 1
        return [(slice(int(run[0]), int(run[-1]) + 1),) for run in np.split(positions, breaks)]
    indices = np.stack(np.unravel_index(positions, counts), axis=1)
    return [tuple(slice(int(one), int(one) + 1) for one in index) for index in indices]
