"""Blocks of days that are left out together: how long they must be, and which days they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from deepcams_eval.core.arrays import Array, BoolArray, IntArray, Times
from deepcams_eval.score.moments import Moments

_DAY = np.timedelta64(1, "D")


def runs_of_days(days: Times, length: int) -> IntArray:
    """Return the block of each day: days that follow each other, about `length` of them.

    Parameters
    ----------
    days : ndarray of datetime64[D], shape (days,)
        Rising; a gap ends a block.
    length : int
        Days that a block should have; a run is divided evenly into the nearest number of blocks.

    Returns
    -------
    ndarray of int, shape (days,)
        From 0 and rising.
    """
    run = np.cumsum(np.diff(days, prepend=days[:1]) > _DAY)
    first = np.flatnonzero(np.diff(run, prepend=-1))
    sizes = np.diff(np.append(first, len(days)))
    pieces = np.maximum(np.rint(sizes / length).astype(np.int64), 1)
    before = np.cumsum(pieces) - pieces
    place = np.arange(len(days)) - first[run]
    return np.asarray(before[run] + place * pieces[run] // sizes[run])


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
        daily = _less([getattr(sums, metric) / sums.n for sums in by_day])
        longest = max(longest, politis_white(place, daily))
    return int(min(longest, max(len(days) // 3, 1)))


def _less(values: Sequence[Array]) -> Array:
    """Return the values of one product, or those of the first less those of the second."""
    return values[0] if len(values) == 1 else values[0] - values[1]


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
