"""Where two maps differ most: the box that a figure shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from deepcams_eval.core.field import FloatArray, spacing_deg

BOX_DEG = 15.0
"""Side of the box in which two methods are compared for a figure; a third of a smaller map."""

_POLAR_DEG = 75.0


@dataclass(frozen=True)
class Box:
    """A box of so many cells, and the rows in which its centre may lie."""

    height: int
    width: int
    rows: slice


def box_cells(latitude: FloatArray, longitude: FloatArray) -> Box:
    """Return the box in which methods are compared: `BOX_DEG` wide, or a third of a small map.

    Boxes near the poles are left out, for so many degrees are no distance there, unless the map
    has hardly anything else.
    """
    step = spacing_deg(latitude)
    side = BOX_DEG / step
    height = int(min(side, len(latitude) / 3)) | 1
    width = int(min(side, len(longitude) / 3)) | 1
    inner = np.flatnonzero(np.abs(latitude) <= _POLAR_DEG)
    if len(inner) < height:
        inner = np.arange(len(latitude))
    first, last = int(inner[0]) + height // 2, int(inner[-1]) - height // 2
    return Box(height, width, slice(first, last + 1))


def largest_box(difference: FloatArray, box: Box) -> tuple[float, int, int]:
    """Return the largest mean over a box, with the row and column of its centre.

    No box crosses an edge of the map; a NaN counts as no difference.
    """
    mean = uniform_filter(np.nan_to_num(difference, nan=0.0), (box.height, box.width))
    first = box.rows.start, box.width // 2
    inside = mean[box.rows, first[1] : difference.shape[1] - box.width // 2]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return float(inside[row, column]), int(row) + first[0], int(column) + first[1]
