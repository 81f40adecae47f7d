"""Skill against baselines, with paired intervals by resampling days, or tiles of the map.

Samples are as in `deepcams_eval.bench.tables`. Days are what a year consists of; where fewer
than `intervals.MIN_CLUSTERS` were scored, an interval over days would mean nothing,
and tiles of the map are resampled instead: such an interval is about these hours alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.bench.frame_scores import TileSums
from deepcams_eval.bench.tables import (
    SPLIT_BY_HOURS,
    by_hour,
    hour_classes,
    names_in,
    scored_samples,
)
from deepcams_eval.core.arrays import Array, Times, divide
from deepcams_eval.downscale import Task
from deepcams_eval.score.intervals import (
    MIN_CLUSTERS,
    bounds,
    draw_clusters,
    percentile_interval,
)
from deepcams_eval.score.metrics import HEADLINE_METRICS

SKILL_SCORES = tuple(key for key, one in HEADLINE_METRICS.items() if one.better == "low")

DAYS, TILES = "days", "tiles"
"""What the intervals resample."""

COLUMNS = [
    *("task", "method", "baseline", "hours", "weights", "metric"),
    *("score", "baseline_score", "difference", "difference_lo", "difference_hi"),
    *("skill", "skill_lo", "skill_hi", "days", "samples", "resampled", "tiles"),
]


def skill(
    samples: pd.DataFrame,
    baselines: Mapping[Task, Sequence[str]],
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    tiles: Mapping[tuple[str, str], TileSums] | None = None,
) -> pd.DataFrame:
    """Compare each method with each baseline, with paired intervals.

    The score is that of `tables.month_table`: the mean over months of the mean over samples. A
    resample takes as many whole UTC days as the task has, with replacement over the year; a month
    of which no day is drawn drops out of it. With fewer days than
    `MIN_CLUSTERS` it takes as many tiles of the map as there are, the same
    in every hour, if their sums are given. The same draws serve every method and baseline of a
    task.

    Parameters
    ----------
    samples : pandas.DataFrame
        A method and a baseline are compared at the hours for which both have a score.
    baselines : mapping of str to sequence of str
        By task; a task or a baseline without samples is passed over.
    rng : numpy.random.Generator
        Makes the draws; the same seed gives the same intervals.
    resamples : int
        Number of bootstrap resamples.
    tiles : mapping of (task, method) to TileSums, optional
        Of the same samples.

    Returns
    -------
    pandas.DataFrame
        One row a task × hours × weights × baseline × other method × metric (rmse, mae):
        ``task, method, baseline, hours, weights, metric, score, baseline_score, difference``
        (method − baseline, negative where the method is better, µg m⁻³), ``difference_lo,
        difference_hi, skill`` (1 − score/baseline_score), ``skill_lo, skill_hi`` (95 %
        percentiles), ``days, samples`` (behind the comparison), ``resampled`` ("days" or
        "tiles"), ``tiles`` (with a cell; 0 where days are resampled). Intervals are NaN for fewer
        days or tiles than `deepcams_eval.score.intervals.MIN_CLUSTERS`; everything is NaN without a
        shared hour.
    """
    scored = scored_samples(samples)
    rows: list[pd.DataFrame] = []
    # In the order of names, so that neither the order of rows nor that of tasks moves a draw.
    for task in sorted(baselines):
        of_task = scored[scored["task"] == task]
        if of_task.empty:
            continue
        days = np.unique(of_task["hour_start"].to_numpy().astype("datetime64[D]"))
        of_tiles = {name: sums for (of, name), sums in (tiles or {}).items() if of == task}
        draws: _Draws
        if len(days) < MIN_CLUSTERS and of_tiles:
            draws = _TileDraws(days, of_tiles, resamples, rng)
        else:
            draws = _DayDraws(days, resamples, rng)
        for hours, part in hour_classes(of_task, always=task == SPLIT_BY_HOURS):
            for weights in names_in(part["weights"]):
                weighted = part[part["weights"] == weights]
                wide = {name: by_hour(weighted, name, ["method"]) for name in SKILL_SCORES}
                rows += [
                    _against(wide, baseline, weights, draws).assign(task=task, hours=hours)
                    for baseline in baselines[task]
                    if baseline in wide["rmse"]
                ]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(rows, ignore_index=True)[COLUMNS]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Scores of a baseline and of others at the same hours.

    Attributes
    ----------
    baseline : str
    others : list of str
    weights, metric : str
    times : ndarray of datetime64, shape (hours,)
    reference : ndarray, shape (hours, 1)
        Of the baseline.
    difference : ndarray, shape (hours, others)
        Others − baseline; NaN where one has no score.
    """

    baseline: str
    others: list[str]
    weights: str
    metric: str
    times: Times
    reference: Array
    difference: Array

    @property
    def paired(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.difference)


class _DayDraws:
    """Days with replacement."""

    name = DAYS

    def __init__(self, days: Times, resamples: int, rng: np.random.Generator) -> None:
        self.days = days
        # The first of the draws takes each day once: the scores themselves.
        drawn = draw_clusters(len(days), resamples, rng)
        self._taken = np.vstack([np.ones((1, len(days))), drawn])

    def means(self, pairs: _Pairs) -> tuple[Array, Array, Array]:
        """Return baseline and difference of each draw, and the days behind them."""
        year = _Year(pairs.times, self.days, pairs.paired)
        base = year.mean(self._taken, np.where(pairs.paired, pairs.reference, 0.0))
        step = year.mean(self._taken, np.where(pairs.paired, pairs.difference, 0.0))
        return base, step, year.days()


class _TileDraws:
    """Tiles of the map with replacement, the same ones in every hour."""

    name = TILES

    def __init__(
        self,
        days: Times,
        sums: Mapping[str, TileSums],
        resamples: int,
        rng: np.random.Generator,
    ) -> None:
        self.days = days
        cells = np.sum([one.sums[:, 0, 0].sum(axis=0) for one in sums.values()], axis=0)
        self._sums = sums
        self._filled = np.flatnonzero(cells)
        self._taken = np.zeros((1 + resamples, len(cells)))
        self._taken[0, self._filled] = 1
        self._taken[1:, self._filled] = draw_clusters(len(self._filled), resamples, rng)

    def means(self, pairs: _Pairs) -> tuple[Array, Array, Array]:
        """Return baseline and difference of each draw, and the tiles behind them."""
        reference = self._scores(pairs.baseline, pairs)
        base = np.empty((len(self._taken), len(pairs.others)))
        step = np.empty_like(base)
        for place, name in enumerate(pairs.others):
            paired = pairs.paired[:, place]
            times = pairs.times[paired]
            base[:, place] = _mean_of_months(reference[:, paired], times)
            difference = self._scores(name, pairs)[:, paired] - reference[:, paired]
            step[:, place] = _mean_of_months(difference, times)
        behind = np.where(pairs.paired.any(axis=0), float(len(self._filled)), 0.0)
        return base, step, behind

    def _scores(self, method: str, pairs: _Pairs) -> Array:
        return self._sums[method].resampled(pairs.metric, pairs.weights, pairs.times, self._taken)


_Draws = _DayDraws | _TileDraws


def _mean_of_months(values: Array, times: Times) -> Array:
    """Return the mean over months of the mean over hours, of values (draws, hours)."""
    months = times.astype("datetime64[M]")
    means = [values[:, months == month].mean(axis=1) for month in np.unique(months)]
    return np.mean(means, axis=0) if means else np.full(len(values), np.nan)


def _against(
    wide: Mapping[str, pd.DataFrame], baseline: str, weights: str, draws: _Draws
) -> pd.DataFrame:
    """Compare all methods with one baseline; the columns of `wide` are methods."""
    others = [str(name) for name in wide["rmse"].columns if name != baseline]
    tables = []
    for metric, values in wide.items():
        reference = values[[baseline]].to_numpy()
        # The differences themselves are averaged, so that what both share cancels exactly.
        difference = values[others].to_numpy() - reference
        times = values.index.to_numpy()
        pairs = _Pairs(baseline, others, weights, metric, times, reference, difference)
        base, step, behind = draws.means(pairs)
        gain = _skill(step, base)
        tables.append(
            pd.DataFrame(
                {
                    "method": others,
                    "baseline": baseline,
                    "weights": weights,
                    "metric": metric,
                    "score": base[0] + step[0],
                    "baseline_score": base[0],
                    "difference": step[0],
                    **bounds("difference", percentile_interval(step[1:], behind)),
                    "skill": gain[0],
                    **bounds("skill", percentile_interval(gain[1:], behind)),
                    "days": _Year(times, draws.days, pairs.paired).days().astype(int),
                    "samples": pairs.paired.sum(axis=0),
                    "resampled": draws.name,
                    "tiles": behind.astype(int) if draws.name == TILES else 0,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


class _Year:
    """Means over months of means over samples, with days counted any number of times.

    Parameters
    ----------
    times : ndarray of datetime64, shape (hours,)
        Beginnings of the hours of the samples.
    days : ndarray of datetime64, shape (days,)
        Sorted; all that may be drawn.
    counted : ndarray of bool, shape (hours, methods)
        Whether a sample counts.
    """

    def __init__(self, times: Times, days: Times, counted: npt.NDArray[np.bool_]) -> None:
        self._size = len(days)
        self._day = np.searchsorted(days, times.astype("datetime64[D]"))
        months = days.astype("datetime64[M]")
        self._months = [np.flatnonzero(months == month) for month in np.unique(months)]
        self._counts = self._by_day(counted.astype(np.float64))

    def days(self) -> Array:
        """Return the number of days with a sample, shape (methods,)."""
        return np.asarray((self._counts > 0).sum(axis=0), dtype=np.float64)

    def mean(self, draws: Array, values: Array) -> Array:
        """Return the mean of `values` (hours, methods), zero where not counted, of each draw.

        Shape (draws, methods); NaN where a draw has no sample.
        """
        sums = self._by_day(values)
        total = np.zeros((len(draws), values.shape[1]))
        occurring = np.zeros_like(total)
        for days in self._months:
            count = draws[:, days] @ self._counts[days]
            total += divide(draws[:, days] @ sums[days], count, otherwise=0.0)
            occurring += count > 0
        return divide(total, occurring)

    def _by_day(self, values: Array) -> Array:
        sums = np.zeros((self._size, values.shape[1]))
        np.add.at(sums, self._day, values)
        return sums


def _skill(difference: Array, baseline: Array) -> Array:
    # Not minus the ratio: that would print -0 for a method that is its own baseline.
    return divide(0.0 - difference, baseline)
