"""Whether a finer product says more of the stations than the coarse one that it was made from.

The coarse product, the parent, is compared at the hours that it has; at all hours its linear
interpolation in time, and that with a bicubic one in space, are what anybody gets for nothing.
"""

from __future__ import annotations

from deepcams_eval.evidence.added_value.references import (
    Grid,
    ReferenceSet,
    grids_of,
    make_references,
    without_references,
)
from deepcams_eval.evidence.added_value.run import added_value

__all__ = [
    "Grid",
    "ReferenceSet",
    "added_value",
    "grids_of",
    "make_references",
    "without_references",
]
