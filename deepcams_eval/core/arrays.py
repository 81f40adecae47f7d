"""Types of arrays, and the one division that knows where it is defined."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
Times = npt.NDArray[np.datetime64]


def divide(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    where: npt.ArrayLike | None = None,
    otherwise: float = np.nan,
) -> Array:
    """Return a ratio where it is defined, and `otherwise` elsewhere, without a warning.

    Parameters
    ----------
    numerator, denominator : array_like of float
        Of shapes that broadcast.
    where : array_like of bool, optional
        Where the ratio is defined; where the denominator is positive when absent.
    """
    above, below = np.asarray(numerator), np.asarray(denominator)
    result = np.full(np.broadcast_shapes(above.shape, below.shape), otherwise)
    np.divide(above, below, out=result, where=below > 0 if where is None else np.asarray(where))
    return result
