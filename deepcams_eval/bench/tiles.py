"""Errors summed over tiles of the map: what is resampled where there are too few days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcams_eval.bench.content import TILE_DEG
from deepcams_eval.bench.frame_scores import WEIGHTS, row_weights
from deepcams_eval.core.field import FloatArray, spacing_deg
from deepcams_eval.score.metrics import METRICS
from deepcams_eval.score.moments import Moments

Array = npt.NDArray[np.float64]
Map = npt.NDArray[np.floating[Any]]

SUMS = ("n", "square_error", "absolute_error")
"""Weight of the cells, and weighted squared and absolute errors, as in `Moments`."""


@dataclass(frozen=True, eq=False)
class TileSums:
    """One method at any number of hours.

    Attributes
    ----------
    hours : ndarray of datetime64, shape (hours,)
        Beginning of each.
    sums : ndarray, shape (hours, weightings, 3, tiles)
        In the order of `frame_scores.WEIGHTS` and of `SUMS`; 1, (µg m⁻³)² and µg m⁻³ times
        mean cells of the grid.
    """

    hours: npt.NDArray[np.datetime64]
    sums: Array

    def __add__(self, other: TileSums) -> TileSums:
        """Return the hours of both."""
        return TileSums(
            np.concatenate([self.hours, other.hours]), np.concatenate([self.sums, other.sums])
        )

    def resampled(
        self, metric: str, weights: str, hours: npt.NDArray[np.datetime64], draws: Array
    ) -> Array:
        """Return a score of hours when tiles count any number of times.

        Parameters
        ----------
        metric : {"rmse", "mae"}
        weights : {"none", "area"}
        hours : ndarray of datetime64, shape (n,)
        draws : ndarray, shape (draws, tiles)
            How often each tile counts.

        Returns
        -------
        ndarray, shape (draws, n)
            µg m⁻³; NaN for an hour that is not there, or of which no cell is drawn.
        """
        place = {hour: index for index, hour in enumerate(self.hours.tolist())}
        found = [place.get(hour, -1) for hour in hours.tolist()]
        # One map without any cell stands for the hours that are not there.
        sums = np.concatenate([self.sums, np.zeros((1, *self.sums.shape[1:]))])[found]
        chosen = sums[:, [str(name) for name in WEIGHTS].index(weights)]
        drawn = {name: draws @ chosen[:, place].T for place, name in enumerate(SUMS)}
        return METRICS[metric](Moments.only(**drawn))


class Tiles:
    """The tiles of a grid.

    Parameters
    ----------
    latitude, longitude : ndarray
        Of the grid, degrees, ascending, evenly spaced.
    """

    def __init__(self, latitude: FloatArray, longitude: FloatArray) -> None:
        self._rows = _begins(len(latitude), spacing_deg(latitude))
        self._columns = _begins(len(longitude), spacing_deg(longitude))
        self._weights = np.stack([np.ones(len(latitude)), row_weights(latitude)])

    def sums(self, hour: np.datetime64, error: Map) -> TileSums:
        """Return the sums of one map of errors; cells with NaN are left out."""
        finite = np.isfinite(error)
        known = np.where(finite, error, 0.0).astype(np.float64)
        parts = np.stack([finite.astype(np.float64), known**2, np.abs(known)])
        by_column = np.add.reduceat(parts, self._columns, axis=2)
        weighted = self._weights[:, None, :, None] * by_column
        by_tile = np.add.reduceat(weighted, self._rows, axis=2)
        return TileSums(np.array([hour]), by_tile.reshape(1, len(WEIGHTS), len(SUMS), -1))


def _begins(count: int, step_deg: float) -> npt.NDArray[np.intp]:
    parts = max(1, min(count, round(count * step_deg / TILE_DEG)))
    return np.asarray(np.arange(parts) * count // parts, dtype=np.intp)
