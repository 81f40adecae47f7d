"""Confidence intervals by resampling clusters: stations, days, blocks of days, tiles of a map.

Hours at one station are correlated, so the station and not the hour is drawn: a resample takes
whole clusters with replacement, and is computed from the sums of the clusters alone. The same
draws serve every product, so that differences between products are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Array, BoolArray, IntArray, Times
from deepcams_eval.score.moments import Moments

MIN_CLUSTERS = 5
"""Fewer stations than this give no interval: their spread says too little about all others."""

_MIN_DEFINED = 0.9
_BATCH = 250
_DAY = np.timedelta64(1, "D")


def draw_clusters(clusters: int, resamples: int, rng: np.random.Generator) -> Array:
    """Draw whole clusters, such as stations, with replacement.

    Returns
    -------
    ndarray, shape (resamples, clusters)
        How often each was drawn; each row sums to `clusters`.
    """
    return _times_drawn(rng.integers(0, clusters, size=(resamples, clusters)))


def _times_drawn(drawn: npt.NDArray[np.int64]) -> Array:
    resamples, clusters = drawn.shape
    drawn += clusters * np.arange(resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=resamples * clusters)
    return times.reshape(resamples, clusters).astype(np.float64)


def resample(
    sums: Moments, draws: Array, scores: Mapping[str, Callable[[Moments], Array]]
) -> dict[str, Array]:
    """Return each score of every resample.

    Parameters
    ----------
    sums : Moments
        Shape (stations, values).
    draws : ndarray, shape (resamples, stations)
        From `draw_clusters` or `draw_blocks`.
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
    resampled: Array, clusters: npt.ArrayLike, level: float = 0.95, least: int = MIN_CLUSTERS
) -> tuple[Array, Array]:
    """Return the percentile interval of resampled scores.

    Parameters
    ----------
    resampled : ndarray, shape (resamples, values)
        Scores, or differences of scores, of each resample.
    clusters : array_like, shape (values,) or ()
        Number of stations (days, blocks, tiles) behind each value.
    level : float
        Coverage, 0.95 by default.
    least : int
        Below so many clusters the interval is NaN.

    Returns
    -------
    low, high : ndarray, shape (values,)
        NaN too where fewer than nine tenths of the resamples are defined.
    """
    low = np.full(resampled.shape[1], np.nan)
    high = low.copy()
    defined = np.isfinite(resampled).mean(axis=0) >= _MIN_DEFINED
    usable = defined & (np.asarray(clusters) >= least)
    if usable.any():
        tail = (1 - level) / 2
        bounds = np.nanquantile(resampled[:, usable], [tail, 1 - tail], axis=0)
        low[usable], high[usable] = bounds
    return low, high


def interval(
    resampled: Array, clusters: int, level: float = 0.95, least: int = MIN_CLUSTERS
) -> tuple[float, float]:
    """Return the same of a single value, whose resamples have shape (resamples,)."""
    low, high = percentile_interval(resampled[:, None], clusters, level, least)
    return float(low[0]), float(high[0])


def bounds(name: str, interval: tuple[Any, Any]) -> dict[str, Any]:
    """Return an interval as the columns ``<name>_lo`` and ``<name>_hi``."""
    return {f"{name}_lo": interval[0], f"{name}_hi": interval[1]}


def level_of_few(clusters: npt.ArrayLike, level: float = 0.95) -> Array:
    """Return the level of a percentile interval that covers `level` with few clusters.

    Percentiles are too narrow for a few clusters, and far out in the tails by much. They are
    taken further out, as Hesterberg (2015, The American Statistician 69, 371-386,
    doi:10.1080/00031305.2015.1089789) proposes: at ±√(n/(n−1)) times Student's t instead of the
    normal quantile.
    """
    from scipy import stats  # slow to import, and not every command needs it

    n = np.maximum(clusters, 2)
    reach = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    return np.asarray(1 - 2 * stats.norm.sf(reach))


def differences(
    ours: Moments, theirs: Moments, draws: Array, scores: Mapping[str, Callable[[Moments], Array]]
) -> dict[str, Array]:
    """Return scores of two estimates on the same pairs, and their differences with intervals.

    Parameters
    ----------
    ours, theirs : Moments
        Shape (stations, values).
    draws : ndarray, shape (resamples, stations)
        The same for both, so that the differences are paired.
    scores : mapping of str to callable
        As in `resample`.

    Returns
    -------
    dict of str to ndarray, shape (values,)
        ``n`` and ``stations``; for each score ``<name>``, ``reference_<name>``, ``d_<name>``
        (ours − theirs), ``d_<name>_lo`` and ``d_<name>_hi``.
    """
    total_ours, total_theirs = ours.merged(), theirs.merged()
    behind = (ours.n > 0).sum(axis=0)
    found: dict[str, Array] = {"n": total_ours.n.astype(np.int64), "stations": behind}
    drawn_ours, drawn_theirs = (resample(one, draws, scores) for one in (ours, theirs))
    for name, score in scores.items():
        found[name], found[f"reference_{name}"] = score(total_ours), score(total_theirs)
        found[f"d_{name}"] = found[name] - found[f"reference_{name}"]
        drawn = drawn_ours[name] - drawn_theirs[name]
        found |= bounds(f"d_{name}", percentile_interval(drawn, behind))
    return found


def excludes_zero(low: float, high: float) -> bool:
    """Return whether an interval lies on one side of zero; False where it is undefined."""
    return bool(low > 0 or high < 0)


def less(values: Sequence[Array]) -> Array:
    """Return the values of one product, or those of the first less those of the second."""
    return values[0] if len(values) == 1 else values[0] - values[1]


def draw_blocks(days: int, length: int, resamples: int, rng: np.random.Generator) -> Array:
    """Draw blocks of days with replacement, overlapping and closed to a circle.

    Politis and Romano (1992): ⌈days / length⌉ blocks begin at random days, the last is cut so
    that each resample has as many days as there are.

    Returns
    -------
    ndarray, shape (resamples, days)
        How often each day was drawn; each row sums to `days`.
    """
    count = -(-days // length)
    starts = rng.integers(0, days, size=(resamples, count))
    return _times_drawn(
        (starts[:, :, None] + np.arange(length)).reshape(resamples, -1)[:, :days] % days
    )


def block_length(days: Times, by_day: Sequence[Moments]) -> int:
    """Return the length of blocks that the daily errors ask for, days.

    The rule of Politis and White (2004, doi:10.1081/ETC-120028836, corrected by Patton et al.
    2009) for circular blocks, on the daily means of (M − O)² and of |M − O| — of their difference
    between two products — and the longer of the two.

    Parameters
    ----------
    days : ndarray of datetime64[D], shape (days,)
        Rising; days that are not there are gaps.
    by_day : list of Moments, each of shape (days,)
        Sums of one product, or of two whose difference is meant.

    Returns
    -------
    int
        At least 1 and at most a third of the days.
    """
    place = ((days - days[0]) / _DAY).astype(np.int64)
    longest = 1
    for metric in ("square_error", "absolute_error"):
        daily = less([getattr(sums, metric) / sums.n for sums in by_day])
        longest = max(longest, politis_white(place, daily))
    return int(min(longest, max(len(days) // 3, 1)))


def politis_white(place: IntArray, series: Array) -> int:
    """Return the block length of one series, rounded up; 1 where it does not vary.

    Parameters
    ----------
    place : ndarray of int, shape (n,)
        Time of each value, in steps, rising. The covariance at a lag is that of the values which
        are so far apart, so that gaps are not closed up.
    series : ndarray, shape (n,)
        Without NaN.
    """
    n = len(series)
    away = series - series.mean()
    variance = float(away @ away) / n
    # A constant leaves a residue of rounding.
    if n < 4 or variance <= (4 * np.finfo(np.float64).eps * float(np.abs(series).max())) ** 2:
        return 1
    most = int(min(np.ceil(3 * np.sqrt(n)), n // 2))
    covariance = np.array([variance, *_covariances(place, away, most)])
    correlation = np.abs(covariance[1:] / variance)
    run = max(5, int(np.sqrt(np.log10(n))))
    small = correlation < 2 * np.sqrt(np.log10(n) / n)
    last = _last_before_run(small, run)
    width = min(2 * max(last, 1), most)
    lag = np.arange(-width, width + 1)
    taper = np.clip(2 * (1 - np.abs(lag) / width), 0.0, 1.0)
    ordered = covariance[np.abs(lag)]
    slope = float((taper * np.abs(lag) * ordered).sum())
    level = float((taper * ordered).sum())
    if level == 0:
        return 1
    length = (2 * slope**2 / (4 / 3 * level**2)) ** (1 / 3) * n ** (1 / 3)
    return int(np.clip(np.ceil(length), 1, most))


def _covariances(place: IntArray, away: Array, most: int) -> Iterator[float]:
    """Yield the covariance at lags 1 … `most`; divided by n as a tapered sum needs it."""
    size = int(place[-1]) + 1
    value, there = np.zeros(size), np.zeros(size)
    value[place], there[place] = away, 1.0
    for lag in range(1, most + 1):
        if lag >= size:
            yield 0.0
            continue
        met = float(there[lag:] @ there[:-lag])
        possible = len(away) - lag
        # Where gaps leave few values at this distance, their mean product stands for all.
        mean = float(value[lag:] @ value[:-lag]) / met if met else 0.0
        yield mean * possible / len(away)


def _last_before_run(small: BoolArray, run: int) -> int:
    """Return the lag before the first `run` lags in a row at which the correlation is small."""
    for first in range(len(small)):
        if small[first : first + run].all():
            return first
    return len(small)
