"""Confidence intervals by resampling stations.

Hours at one station are correlated, so the station and not the hour is drawn: a resample takes
whole stations with replacement, and is computed from the sums of the stations alone. The same
draws serve every product, so that differences between products are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from deepcams_eval.score.moments import Moments

Array = npt.NDArray[np.float64]

MIN_STATIONS = 5
"""Fewer stations than this give no interval: their spread says too little about all others."""

_MIN_DEFINED = 0.9
_BATCH = 250


def draw_stations(n_stations: int, resamples: int, rng: np.random.Generator) -> Array:
    """Draw whole stations with replacement.

    Returns
    -------
    ndarray, shape (resamples, n_stations)
        How often each station was drawn; each row sums to `n_stations`.
    """
    drawn = rng.integers(0, n_stations, size=(resamples, n_stations))
    drawn += n_stations * np.arange(resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=resamples * n_stations)
    return times.reshape(resamples, n_stations).astype(np.float64)


def resample(
    sums: Moments, draws: Array, scores: Mapping[str, Callable[[Moments], Array]]
) -> dict[str, Array]:
    """Return each score of every resample.

    Parameters
    ----------
    sums : Moments
        Shape (stations, values).
    draws : ndarray, shape (resamples, stations)
        From `draw_stations`.
    scores : mapping of str to callable
        Functions of `Moments`, such as `deepcams_eval.score.metrics.rmse`, by name.

    Returns
    -------
    dict of str to ndarray, shape (resamples, values)
        NaN where a resample holds no pair or the score is undefined.
    """
    parts: dict[str, list[Array]] = {name: [] for name in scores}
    for first in range(0, len(draws), _BATCH):
        drawn = sums.weighted(draws[first : first + _BATCH])
        for name, score in scores.items():
            parts[name].append(score(drawn))
    return {name: np.concatenate(batches) for name, batches in parts.items()}


def percentile_interval(
    resampled: Array, stations: Array, level: float = 0.95
) -> tuple[Array, Array]:
    """Return the percentile interval of resampled scores.

    Parameters
    ----------
    resampled : ndarray, shape (resamples, values)
        Scores, or differences of scores, of each resample.
    stations : ndarray, shape (values,)
        Number of stations behind each value; below `MIN_STATIONS` the interval is NaN.
    level : float
        Coverage, 0.95 by default.

    Returns
    -------
    low, high : ndarray, shape (values,)
        NaN too where fewer than nine tenths of the resamples are defined.
    """
    low = np.full(resampled.shape[1], np.nan)
    high = low.copy()
    defined = np.isfinite(resampled).mean(axis=0) >= _MIN_DEFINED
    usable = defined & (stations >= MIN_STATIONS)
    if usable.any():
        tail = (1 - level) / 2
        bounds = np.nanquantile(resampled[:, usable], [tail, 1 - tail], axis=0)
        low[usable], high[usable] = bounds
    return low, high
