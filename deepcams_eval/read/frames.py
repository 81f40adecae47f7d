"""Frames of gridded files: read one file, or a whole series lazily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize

from deepcams_eval.core.arrays import IntArray
from deepcams_eval.read.containers import Location, StoredArray, open_container
from deepcams_eval.read.coordinates import Grid

CHUNK_BYTES = 64 * 2**20
"""A chunk of a Field is no larger; it is whole frames."""

_MAX_FILES_PER_CHUNK = 24
_BATCH_BYTES = 8 * 2**20
_FILL_MAGNITUDE = 1e14


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one file and where their cells stand, readable in any process."""

    location: Location
    variable: str
    grid: Grid = field(repr=False)
    row_dim: str
    column_dim: str
    time_dims: tuple[str, ...]  # that count the frames, in the order of the array
    stored_together: int  # frames in one stored chunk
    fills: tuple[float, ...]  # stored values that mean missing
    scale: float  # packing: value = stored × scale + offset
    offset: float
    factor: float  # from the unit of the file to µg m⁻³

    def read(self, positions: IntArray) -> npt.NDArray[np.float32]:
        """Return frames as rows of a Field, µg m⁻³, NaN where missing.

        Raises
        ------
        InputError
            If the file is broken inside.
        """
        with open_container(self.location, f"its array {self.variable!r}") as contents:
            array = contents.arrays[self.variable]
            counts = [array.shape[array.dims.index(dim)] for dim in self.time_dims]
            runs = [self._run(array, index) for index in _runs(positions, counts)]
            stored = np.concatenate(runs, axis=0)
        grid = self.grid
        result = np.empty((len(positions), *grid.shape), dtype=np.float32)
        rows, columns = _as_slice(grid.rows), _as_slice(grid.columns)
        batch = max(1, _BATCH_BYTES // (8 * result[0].size))
        for first in range(0, len(stored), batch):
            values = self._decoded(stored[first : first + batch])
            result[first : first + batch] = values[:, rows][:, :, columns]
        return result

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


def lazy_frames(parts: Sequence[Frames], source: IntArray, position: IntArray) -> da.Array:
    """Return frames of many files as one dask array whose chunks follow the files.

    `source` and `position`, shape (time,), are the file of each time step, out of `parts` on the
    same cells, and the frame within it. The array, shape (time, latitude, longitude), is float32,
    µg m⁻³; chunks are whole frames, at most `CHUNK_BYTES`. Each task knows its own files only, by
    absolute path.
    """
    rows, columns = parts[0].grid.shape
    most = max(1, CHUNK_BYTES // (4 * rows * columns))
    name = "pm25-" + tokenize([_identity(part) for part in parts], source, position, most)
    chunks = _chunked(_file_runs(parts, source, position, most), most)
    graph = {
        (name, number, 0, 0): (
            partial(_read_chunk, [(parts[file], positions) for file, positions in runs]),
        )
        for number, runs in enumerate(chunks)
    }
    lengths = tuple(sum(len(positions) for _, positions in runs) for runs in chunks)
    return da.Array(graph, name, chunks=(lengths, (rows,), (columns,)), dtype=np.float32)


def _read_chunk(runs: Sequence[tuple[Frames, IntArray]]) -> npt.NDArray[np.float32]:
    """Return frames of a Field in time order out of runs of one file each."""
    blocks = [frames.read(positions) for frames, positions in runs]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=0)


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
