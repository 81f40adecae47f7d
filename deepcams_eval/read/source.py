"""What is known about the files of one source of gridded products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deepcams_eval.core.field import Stamp
from deepcams_eval.read.containers import Contents


@dataclass(frozen=True)
class Source:
    """The conventions of a source, and how its files are recognised."""

    kind: str
    """As ``--product kind=`` names it."""
    variables: tuple[str, ...]
    """Names of the PM2.5 array, in any case."""
    recognises: Callable[[Contents], bool]
    """Whether a labelled file is one of this source, from names and attributes."""
    stamp: Stamp | None = None
    """Meaning of a time stamp where neither the file nor the user says; None is an error."""
    stamp_note: str = ""
    """Said in the notes where `stamp` was used; "" where it is certain."""
    interval: np.timedelta64 | None = None
    """Length that a mean covers; None takes ``freq=`` or the step of the series."""
    units: str | None = None
    """Where a labelled file names none; None is an error."""
    bare_units: str | None = None
    """For maps without coordinates; None rejects such maps."""
    bare_shapes: frozenset[tuple[int, int]] = frozenset()
    """Maps without coordinates that are recognised by their rows and columns."""
    remarks: Callable[[Contents], Sequence[str]] | None = None
    """What a labelled file says that a reader of scores must know, a sentence each."""
