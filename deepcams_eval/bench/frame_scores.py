"""What one estimated map says beside the true one: scores, sums by tile, the box of most change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from deepcams_eval.core.arrays import Array, FloatArray
from deepcams_eval.core.field import spacing_deg
from deepcams_eval.core.sphere import row_weights
from deepcams_eval.errors import InputError
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

Weights = Literal["none", "area"]
WEIGHTS: tuple[Weights, ...] = ("none", "area")

HIGH_PERCENT = 99
"""Cells whose truth exceeds this percentile of the map make `p99_error`."""

BOX_DEG = 15.0
"""Side of the box in which two methods are compared for a figure; a third of a smaller map."""

_POLAR_DEG = 75.0

TILE_DEG = 15.0
"""Edge of the tiles of the map that are left out in turn where there are few days, about."""

SUMS = ("n", "square_error", "absolute_error")
"""Weight of the cells, and weighted squared and absolute errors."""

Map = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class TileSums:
    """One method at any number of hours.

    Attributes
    ----------
    hours : ndarray of datetime64, shape (hours,)
        Beginning of each.
    sums : ndarray, shape (hours, weightings, 3, tiles)
        In the order of `WEIGHTS` and of `SUMS`; 1, (µg m⁻³)² and µg m⁻³ times
        mean cells of the grid.
    """

    hours: npt.NDArray[np.datetime64]
    sums: Array

    def __add__(self, other: TileSums) -> TileSums:
        """Return the hours of both."""
        return TileSums(
            np.concatenate([self.hours, other.hours]), np.concatenate([self.sums, other.sums])
        )

    def scores(
        self, metric: str, weights: str, hours: npt.NDArray[np.datetime64], taken: Array
    ) -> Array:
        """Return a score of hours when tiles count any number of times.

        Parameters
        ----------
        metric : {"rmse", "mae"}
        weights : {"none", "area"}
        hours : ndarray of datetime64, shape (n,)
        taken : ndarray, shape (sets, tiles)
            How often each tile counts.

        Returns
        -------
        ndarray, shape (sets, n)
            µg m⁻³; NaN for an hour that is not there, or of which no cell is taken.
        """
        place = {hour: index for index, hour in enumerate(self.hours.tolist())}
        found = [place.get(hour, -1) for hour in hours.tolist()]
        # One map without any cell stands for the hours that are not there.
        sums = np.concatenate([self.sums, np.zeros((1, *self.sums.shape[1:]))])[found]
        chosen = sums[:, [str(name) for name in WEIGHTS].index(weights)]
        summed = {name: taken @ chosen[:, place].T for place, name in enumerate(SUMS)}
        return metrics.METRICS[metric](Moments.only(**summed))


class FrameScorer:
    """Scores estimates of one hour on one grid, and sums their errors over its tiles.

    Parameters
    ----------
    latitude, longitude : ndarray
        Of the grid, degrees, ascending; longitude evenly spaced, so that the cells of a row have
        one area.
    """

    def __init__(self, latitude: FloatArray, longitude: FloatArray) -> None:
        self._shape = (len(latitude), len(longitude))
        self._weights: dict[Weights, Array] = {
            "none": np.ones(len(latitude)),
            "area": row_weights(latitude),
        }
        self._tiles = tuple(_begins(len(one), spacing_deg(one)) for one in (latitude, longitude))

    def score(
        self, truth: Map, estimates: Mapping[str, Map]
    ) -> dict[str, list[dict[str, str | float]]]:
        """Score estimates of one hour, unweighted and by cell area.

        Parameters
        ----------
        truth : ndarray, shape (latitude, longitude)
            µg m⁻³; NaN is missing.
        estimates : mapping of str to ndarray, shape (latitude, longitude)
            By method, µg m⁻³; cells in which it or the truth is NaN or infinite are left out.

        Returns
        -------
        dict of str to list of dict
            By method one for each of `WEIGHTS`, with these keys; a number that is undefined is
            NaN.

            ``weights`` : "none" or "area".
            ``n`` : cells in which both are finite.
            ``weight`` : their weight, in mean cells of the grid; equal to ``n`` for "none", and
            for "area" on a map without NaN.
            ``r``, ``rmse``, ``mae``, ``mb`` : see `deepcams_eval.score.metrics`; 1 and µg m⁻³.
            ``p99_error`` : root-mean-square error over the cells whose truth exceeds its 99th
            percentile (unweighted, over all finite cells of the hour), µg m⁻³.
            ``weight_p99`` : weight of those cells, as ``weight``.
            ``mean_truth``, ``mean_estimate`` : µg m⁻³.
            ``var_truth``, ``var_estimate``, ``covariance`` : of the population, (µg m⁻³)².
            ``square_error``, ``absolute_error`` : means, (µg m⁻³)² and µg m⁻³.

        Raises
        ------
        InputError
            If a map is not on the grid.
        """
        for values in (truth, *estimates.values()):
            if values.shape != self._shape:
                raise InputError(
                    f"a map of shape {values.shape} is not on the grid of {self._shape}",
                    hint="score a map on the grid of the truth",
                )
        finite = truth[np.isfinite(truth)]
        limit = np.nan
        if len(finite):
            limit = float(np.percentile(finite, HIGH_PERCENT, overwrite_input=True))
        # NaN compares as not above, in a comparison that does not warn.
        row, column = np.nonzero(truth > limit)
        high_truth = truth[row, column].astype(np.float64)
        found: dict[str, list[dict[str, str | float]]] = {}
        for name, estimate in estimates.items():
            values = estimate[row, column]
            both = np.isfinite(values)
            high = Moments.of(high_truth[both], values[both], row[both], self._shape[0])
            rows = Moments.of_rows(truth, estimate)
            found[name] = [
                {"weights": weights, **_frame(rows, high, of_rows)}
                for weights, of_rows in self._weights.items()
            ]
        return found

    def tile_sums(self, hour: np.datetime64, error: Map) -> TileSums:
        """Return the sums over tiles of one map of errors; cells with NaN are left out."""
        finite = np.isfinite(error)
        known = np.where(finite, error, 0.0).astype(np.float64)
        parts = np.stack([finite.astype(np.float64), known**2, np.abs(known)])
        rows, columns = self._tiles
        by_column = np.add.reduceat(parts, columns, axis=2)
        weights = np.stack(list(self._weights.values()))
        by_tile = np.add.reduceat(weights[:, None, :, None] * by_column, rows, axis=2)
        return TileSums(np.array([hour]), by_tile.reshape(1, len(WEIGHTS), len(SUMS), -1))


def _frame(rows: Moments, high: Moments, weights: Array) -> dict[str, float]:
    cells = float(rows.n.sum())
    weighted = rows.scaled(weights)
    weight = float(weighted.n.sum())
    # In units of a mean cell that counts, so that two cells on a pole are still two for R.
    share = cells / weight if weight else 1.0
    sums = weighted.scaled(share).merged()
    weighted_high = high.scaled(weights).merged()
    n = sums.n if cells else np.full(1, np.nan)
    values = {
        **{name: metrics.METRICS[name](sums) for name in (*metrics.HEADLINE, "mb")},
        "p99_error": metrics.rmse(weighted_high),
        "weight_p99": weighted_high.n,
        "mean_truth": sums.mean_o * (n / n),
        "mean_estimate": sums.mean_m * (n / n),
        "var_truth": sums.ss_o / n,
        "var_estimate": sums.ss_m / n,
        "covariance": sums.sp / n,
        "square_error": sums.square_error / n,
        "absolute_error": sums.absolute_error / n,
    }
    return {
        "n": int(cells),
        "weight": weight,
        **{name: float(value[0]) for name, value in values.items()},
    }


def _begins(count: int, step_deg: float) -> npt.NDArray[np.intp]:
    parts = max(1, min(count, round(count * step_deg / TILE_DEG)))
    return np.asarray(np.arange(parts) * count // parts, dtype=np.intp)


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
