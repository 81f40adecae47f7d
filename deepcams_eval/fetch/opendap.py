"""The part of OPeNDAP (DAP 2.0) that a subset needs: descriptions and arrays.

Source: Gallagher et al., The Data Access Protocol DAP 2.0, NASA ESE-RFC-004 (2007): a ``.dods``
answer is its description as text, a line ``Data:``, and the arrays in XDR, in the order of the
description; each array has its length twice before its values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcams_eval.fetch.transfer import TransferError

_TYPES = {
    "Float32": ">f4",
    "Float64": ">f8",
    "Int32": ">i4",
    "UInt32": ">u4",
    "Int16": ">i4",  # XDR widens these two
    "UInt16": ">u4",
}
_DECLARED = re.compile(rf"\b({'|'.join(_TYPES)})\s+([\w.%-]+)((?:\s*\[[^\]]*\])+)\s*;")
_DIM = re.compile(r"\[\s*(?:(\w+)\s*=\s*)?(\d+)\s*\]")
_BREAK = re.compile(rb"\r?\nData:\r?\n")


@dataclass(frozen=True)
class Declared:
    """An array as a description declares it.

    Attributes
    ----------
    name : str
    form : str
        Of numpy, big-endian.
    dims : tuple of str
    shape : tuple of int
    """

    name: str
    form: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]


def parse_dds(text: str) -> list[Declared]:
    """Return the arrays of a description in their order, the axes of a Grid among them."""
    found = []
    for form, name, dims in _DECLARED.findall(text):
        pairs = _DIM.findall(dims)
        shape = tuple(int(length) for _, length in pairs)
        found.append(Declared(name, _TYPES[form], tuple(dim for dim, _ in pairs), shape))
    return found


def parse_attribute(das: str, array: str, attribute: str) -> str:
    """Return an attribute of an array out of a ``.das`` answer, "" where there is none."""
    block = re.search(rf"^\s*{re.escape(array)}\s*\{{(.*?)^\s*\}}", das, re.DOTALL | re.MULTILINE)
    if block is None:
        return ""
    found = re.search(rf"\b{re.escape(attribute)}\s+\"?([^\";]*)\"?;", block[1])
    return found[1].strip() if found else ""


def decode_dods(body: bytes, label: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a ``.dods`` answer by name; the first of a name counts.

    Parameters
    ----------
    body : bytes
    label : str
        The address, for messages.

    Raises
    ------
    TransferError
        If it is no such answer, or is shorter or longer than it says.
    """
    cut = _BREAK.search(body)
    if cut is None:
        raise TransferError("the server did not answer with data", path=label)
    position = cut.end()
    result: dict[str, npt.NDArray[Any]] = {}
    for one in parse_dds(body[: cut.start()].decode("utf-8", "replace")):
        count = int(np.prod(one.shape, dtype=np.int64))
        end = position + 8 + count * np.dtype(one.form).itemsize
        lengths = np.frombuffer(body[position : position + 8], ">u4")
        if end > len(body) or lengths.tolist() != [count, count]:
            raise TransferError(f"its array {one.name} is cut short", path=label)
        values = np.frombuffer(body[position + 8 : end], one.form).reshape(one.shape)
        result.setdefault(one.name, values.astype(values.dtype.newbyteorder("=")))
        position = end
    if position != len(body) or not result:
        raise TransferError("does not end where its description says", path=label)
    return result
