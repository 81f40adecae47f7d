"""The files that a run reads: those of the truth, of predictions and of checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

Inputs = tuple[tuple[Path, ...], ...]
"""The files of each input; a folder, such as a Zarr store, stands for the files in it."""


def states(inputs: Inputs) -> list[list[list[object]]]:
    """Return path, size and time of change (ns) of each file of each input.

    A file that changes between an interrupted run and its continuation shows here without being
    read.
    """
    return [
        [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in _files(paths)]
        for paths in inputs
    ]


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(inner for inner in path.rglob("*") if inner.is_file())
        else:
            yield path
