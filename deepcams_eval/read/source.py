"""What is known about the files of one source of gridded products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deepcams_eval.core.field import Stamp
from deepcams_eval.read.containers import Contents


@dataclass(frozen=True)
class Source:
    """The conventions of a source, and how its files are recognised.

    Attributes
    ----------
    kind : str
        As ``--product kind=`` names it.
    variables : tuple of str
        Names of the PM2.5 array, in any case; the first that is there is taken.
    recognises : callable
        Returns whether a labelled file is one of this source, from names and attributes.
    stamp : {"point", "mean"}, optional
        Meaning of a time stamp where neither the file nor the user says; None is an error.
    stamp_note : str
        Said in the notes where `stamp` was used; "" where it is certain.
    interval : numpy.timedelta64, optional
        Length of the interval that a mean covers; None takes ``freq=`` or the step of the series.
    units : str, optional
        Where a labelled file names none; None is an error.
    bare_units : str, optional
        For maps without coordinates; None rejects such maps.
    bare_shapes : frozenset of (int, int)
        Maps without coordinates that are recognised by their rows and columns.
    remarks : callable, optional
        Returns what a labelled file says that a reader of scores must know, a sentence each.
    """

    kind: str
    variables: tuple[str, ...]
    recognises: Callable[[Contents], bool]
    stamp: Stamp | None = None
    stamp_note: str = ""
    interval: np.timedelta64 | None = None
    units: str | None = None
    bare_units: str | None = None
    bare_shapes: frozenset[tuple[int, int]] = frozenset()
    remarks: Callable[[Contents], Sequence[str]] | None = None
