"""Scores of one estimated map against the true one, unweighted and by cell area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.field import FloatArray
from deepcams_eval.errors import InputError
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

Weights = Literal["none", "area"]
WEIGHTS: tuple[Weights, ...] = ("none", "area")

HIGH_PERCENT = 99
"""Cells whose truth exceeds this percentile of the map make `p99_error`."""

Array = npt.NDArray[np.float64]
Map = npt.NDArray[np.floating[Any]]


def row_weights(latitude: FloatArray) -> Array:
    """Return the area of a cell in each row, in units of the mean over the rows.

    The area of a cell between φ₁ and φ₂ is proportional to sin φ₂ − sin φ₁. Edges lie half way
    between rows, and as far beyond the outermost ones, but not beyond a pole: a row on a pole has
    half a cell.

    Parameters
    ----------
    latitude : ndarray, shape (rows,)
        Of the rows, degrees, ascending. All cells of a row are equally wide.

    Returns
    -------
    ndarray, shape (rows,)
        Its mean is 1; a single row weighs 1.
    """
    rows = np.asarray(latitude, dtype=np.float64)
    if len(rows) < 2:
        return np.ones(len(rows))
    inner = (rows[1:] + rows[:-1]) / 2
    edges = np.concatenate([[2 * rows[0] - inner[0]], inner, [2 * rows[-1] - inner[-1]]])
    area = np.diff(np.sin(np.radians(np.clip(edges, -90.0, 90.0))))
    return np.asarray(area / area.mean())


@dataclass(frozen=True, eq=False)
class PreparedTruth:
    """One true map and what depends on it alone.

    Attributes
    ----------
    values : ndarray, shape (latitude, longitude)
        µg m⁻³; NaN is missing.
    high_row, high_column : ndarray of int, shape (cells,)
        The cells above the `HIGH_PERCENT` percentile of the finite values, row by row.
    high_values : ndarray, shape (cells,)
        Their values, µg m⁻³.
    """

    values: Map
    high_row: npt.NDArray[np.intp]
    high_column: npt.NDArray[np.intp]
    high_values: Array


class FrameScorer:
    """Scores estimates of one hour on one grid.

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

    def prepare(self, truth: Map) -> PreparedTruth:
        """Do once what every estimate of this hour needs.

        Parameters
        ----------
        truth : ndarray, shape (latitude, longitude)
            µg m⁻³; NaN is missing.

        Raises
        ------
        InputError
            If it is not on the grid.
        """
        self._require_grid(truth)
        # NaN compares as not above, in a comparison that does not warn.
        row, column = np.nonzero(truth > _percentile(truth, HIGH_PERCENT))
        return PreparedTruth(truth, row, column, truth[row, column].astype(np.float64))

    def score(self, truth: PreparedTruth, estimate: Map) -> list[dict[str, str | float]]:
        """Score one estimate, unweighted and by cell area.

        Parameters
        ----------
        truth : PreparedTruth
            From `prepare`.
        estimate : ndarray, shape (latitude, longitude)
            µg m⁻³; cells in which it or the truth is NaN or infinite are left out.

        Returns
        -------
        list of dict
            One for each of `WEIGHTS`, with these keys; a number that is undefined is NaN.

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
            If the estimate is not on the grid.
        """
        self._require_grid(estimate)
        rows = Moments.of_rows(truth.values, estimate)
        high = self._high_rows(truth, estimate)
        return [
            {"weights": name, **_frame(rows, high, weights)}
            for name, weights in self._weights.items()
        ]

    def _high_rows(self, truth: PreparedTruth, estimate: Map) -> Moments:
        values = estimate[truth.high_row, truth.high_column]
        both = np.isfinite(values)
        return Moments.of(
            truth.high_values[both], values[both], truth.high_row[both], self._shape[0]
        )

    def _require_grid(self, values: Map) -> None:
        if values.shape != self._shape:
            raise InputError(
                f"a map of shape {values.shape} is not on the grid of {self._shape}",
                hint="score a map on the grid of the truth",
            )


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


def _percentile(truth: Map, percent: float) -> float:
    """Return the linearly interpolated percentile of the finite values; NaN if there are none."""
    finite = truth[np.isfinite(truth)]
    if not len(finite):
        return float("nan")
    return float(np.percentile(finite, percent, overwrite_input=True))
