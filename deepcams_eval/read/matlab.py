"""MATLAB 5 arrays: one map a file, without coordinates, units or time."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from deepcams_eval.errors import InputError
from deepcams_eval.read.containers import UnreadableFileError

_ERRORS = (OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, MatReadError)
_AGAIN = "fetch the file again, or take it out"
_NUMERIC = frozenset(
    {"double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
)


def find_map(path: Path, variable: str | None) -> tuple[str, tuple[int, int]]:
    """Return name and shape of the map in a file; its values are not read.

    Parameters
    ----------
    path : Path
        A MATLAB 5 file.
    variable : str, optional
        The array; the default is ``data``, or the only numeric array of two dimensions.

    Raises
    ------
    UnreadableFileError
        If the file is broken or cut short.
    InputError
        If there is no such array, or several are possible.
    """
    _check_size(path)
    try:
        found = {name: (shape, form) for name, shape, form in whosmat(path)}
    except _ERRORS as error:
        raise UnreadableFileError("is a broken MATLAB file", path=path, hint=_AGAIN) from error
    maps = {
        name: (int(shape[0]), int(shape[1]))
        for name, (shape, form) in found.items()
        if len(shape) == 2 and form in _NUMERIC
    }
    name = variable or ("data" if "data" in maps or len(maps) != 1 else next(iter(maps)))
    if name not in maps:
        raise InputError(
            f"has no two-dimensional numeric array {name!r}, only {', '.join(found) or 'nothing'}",
            path=path,
            hint="name it with variable=",
        )
    return name, maps[name]


def read_map(path: Path, variable: str) -> npt.NDArray[Any]:
    """Return the array `variable` as stored, shape (rows, columns).

    Raises
    ------
    UnreadableFileError
        If the file is broken.
    """
    try:
        return np.asarray(loadmat(path, variable_names=[variable])[variable])
    except _ERRORS as error:
        raise UnreadableFileError("is a broken MATLAB file", path=path, hint=_AGAIN) from error


def _check_size(path: Path) -> None:
    """Refuse a file that ends within an element; listing its arrays would not notice."""
    length = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(128)
        order = "<" if header[126:128] == b"IM" else ">"
        position = 128
        while position < length:
            stream.seek(position + 4)
            size = stream.read(4)
            position += 8 + (struct.unpack(order + "I", size)[0] if len(size) == 4 else length)
    if position != length or length <= 128:
        raise UnreadableFileError("is cut short", path=path, hint=_AGAIN)
