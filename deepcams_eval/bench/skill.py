"""Skill against baselines, with paired intervals by blocks of days, or tiles of the map.

Samples are as in `deepcams_eval.bench.tables`. Days that follow each other are alike, so that
runs of them are left out together. Where too few blocks were scored, an interval over days would
mean nothing, and tiles of the map are left out instead: such an interval is about these hours
alone.
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
from deepcams_eval.core.arrays import Array, BoolArray, IntArray, Times, divide
from deepcams_eval.downscale import Task
from deepcams_eval.score.day_blocks import politis_white, runs_of_days
from deepcams_eval.score.intervals import MIN_CLUSTERS, Estimate, bounds
from deepcams_eval.score.metrics import HEADLINE_METRICS

SKILL_SCORES = tuple(key for key, one in HEADLINE_METRICS.items() if one.better == "low")

DAYS, TILES = "days", "tiles"
"""What the intervals leave out."""

COLUMNS = [
    *("task", "method", "baseline", "hours", "weights", "metric"),
    *("score", "baseline_score", "difference", "difference_lo", "difference_hi"),
    *("skill", "skill_lo", "skill_hi", "days", "samples", "resampled", "blocks", "tiles"),
    *("effective", "largest_three"),
]


def skill(
    samples: pd.DataFrame,
    baselines: Mapping[Task, Sequence[str]],
    *,
    tiles: Mapping[tuple[str, str], TileSums] | None = None,
) -> pd.DataFrame:
    """Compare each method with each baseline, with paired intervals.

    The score is that of `tables.month_table`: the mean over months of the mean over samples. The
    intervals leave out blocks of UTC days that follow each other, as long as the daily differences
    remember (Politis and White 2004, on their departures from the means of the months); a month of
    which all days are left out drops out of the mean. With fewer than `MIN_CLUSTERS` blocks they
    leave out tiles of the map, the same in every hour, if their sums are given.

    Parameters
    ----------
    samples : pandas.DataFrame
        A method and a baseline are compared at the hours for which both have a score.
    baselines : mapping of str to sequence of str
        By task; a task or a baseline without samples is passed over.
    tiles : mapping of (task, method) to TileSums, optional
        Of the same samples.

    Returns
    -------
    pandas.DataFrame
        One row a task × hours × weights × baseline × other method × metric (rmse, mae):
        ``task, method, baseline, hours, weights, metric, score, baseline_score, difference``
        (method − baseline, negative where the method is better, µg m⁻³), ``difference_lo,
        difference_hi, skill`` (1 − score/baseline_score), ``skill_lo, skill_hi`` (95 %), ``days,
        samples`` (behind the comparison), ``resampled`` ("days" or "tiles"), ``blocks`` (of
        days) or ``tiles`` (with a cell), the other being 0, ``effective`` and ``largest_three``
        (of the difference: `Estimate.effective`, and the share of the three that decide most).
        Intervals are NaN for fewer blocks or tiles than
        `deepcams_eval.score.intervals.MIN_CLUSTERS`; everything is NaN without a shared hour.
    """
    scored = scored_samples(samples)
    rows: list[pd.DataFrame] = []
    for task in sorted(baselines):
        of_task = scored[scored["task"] == task]
        if of_task.empty:
            continue
        days = np.unique(of_task["hour_start"].to_numpy().astype("datetime64[D]"))
        of_tiles = {name: sums for (of, name), sums in (tiles or {}).items() if of == task}
        few = int(runs_of_days(days, 1)[-1]) + 1 < MIN_CLUSTERS
        parts: _Parts = _TileParts(days, of_tiles) if few and of_tiles else _DayParts(days)
        for hours, part in hour_classes(of_task, always=task == SPLIT_BY_HOURS):
            for weights in names_in(part["weights"]):
                weighted = part[part["weights"] == weights]
                wide = {name: by_hour(weighted, name, ["method"]) for name in SKILL_SCORES}
                rows += [
                    _against(wide, baseline, weights, parts).assign(task=task, hours=hours)
                    for baseline in baselines[task]
                    if baseline in wide["rmse"]
                ]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(rows, ignore_index=True)[COLUMNS]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Scores of a baseline (hours, 1), and others less it (hours, others), at the same hours."""

    baseline: str
    others: list[str]
    weights: str
    metric: str
    times: Times
    reference: Array
    difference: Array

    @property
    def paired(self) -> BoolArray:
        return np.isfinite(self.difference)

    def by_day(self, days: Times, values: npt.ArrayLike) -> Array:
        """Return the sums over each of `days` of values where both have a score."""
        sums = np.zeros((len(days), len(self.others)))
        day = np.searchsorted(days, self.times.astype("datetime64[D]"))
        np.add.at(sums, day, np.where(self.paired, values, 0.0))
        return sums


@dataclass(frozen=True)
class _DayParts:
    """Blocks of days that follow each other."""

    days: Times
    name = DAYS

    def left_out(self, pairs: _Pairs, place: int) -> tuple[Array, Array, Array]:
        """Return baseline and difference with all days, then without each block, and its size."""
        months = self.days.astype("datetime64[M]")
        _, month = np.unique(months, return_inverse=True)
        counts = pairs.by_day(self.days, 1.0)[:, place]
        sums = [
            pairs.by_day(self.days, one)[:, place] for one in (pairs.reference, pairs.difference)
        ]
        block = runs_of_days(self.days, self._length(counts, sums[1], month))
        size = np.bincount(block, counts).astype(np.float64)
        taken = np.vstack([np.ones(len(block)), np.arange(len(size))[:, None] != block])
        in_month = np.eye(int(month[-1]) + 1)[month]
        behind = taken @ (counts[:, None] * in_month)
        means = [
            divide(taken @ (one[:, None] * in_month), behind, otherwise=0.0).sum(axis=1)
            for one in sums
        ]
        base, step = (divide(one, (behind > 0).sum(axis=1)) for one in means)
        return base, step, size

    def _length(self, counts: Array, sums: Array, month: IntArray) -> int:
        there = counts > 0
        if there.sum() < 2:
            return 1
        daily = sums[there] / counts[there]
        of = month[there]
        away = daily - divide(np.bincount(of, daily), np.bincount(of))[of]
        place = (self.days[there] - self.days[0]).astype(np.int64)
        return min(politis_white(place, away), max(len(daily) // MIN_CLUSTERS, 1))


@dataclass(frozen=True)
class _TileParts:
    """Tiles of the map, the same ones in every hour."""

    days: Times
    sums: Mapping[str, TileSums]
    name = TILES

    def left_out(self, pairs: _Pairs, place: int) -> tuple[Array, Array, Array]:
        """Return baseline and difference with all tiles, then without each, and its cells."""
        method = pairs.others[place]
        cells = np.sum([one.sums[:, 0, 0].sum(axis=0) for one in self.sums.values()], axis=0)
        filled = np.flatnonzero(cells)
        taken = np.zeros((1 + len(filled), len(cells)))
        taken[:, filled] = np.vstack([np.ones(len(filled)), 1 - np.eye(len(filled))])
        paired = pairs.paired[:, place]
        times = pairs.times[paired]
        reference, ours = (
            self.sums[name].scores(pairs.metric, pairs.weights, times, taken)
            for name in (pairs.baseline, method)
        )
        size = cells[filled].astype(np.float64) if paired.any() else np.zeros(len(filled))
        return _mean_of_months(reference, times), _mean_of_months(ours - reference, times), size


_Parts = _DayParts | _TileParts


def _mean_of_months(values: Array, times: Times) -> Array:
    """Return the mean over months of the mean over hours, of values (draws, hours)."""
    months = times.astype("datetime64[M]")
    means = [values[:, months == month].mean(axis=1) for month in np.unique(months)]
    return np.mean(means, axis=0) if means else np.full(len(values), np.nan)


def _against(
    wide: Mapping[str, pd.DataFrame], baseline: str, weights: str, parts: _Parts
) -> pd.DataFrame:
    """Compare all methods with one baseline; the columns of `wide` are methods."""
    others = [str(name) for name in wide["rmse"].columns if name != baseline]
    rows = []
    for metric, values in wide.items():
        reference = values[[baseline]].to_numpy()
        # The differences themselves are averaged, so that what both share cancels exactly.
        difference = values[others].to_numpy() - reference
        times = values.index.to_numpy()
        pairs = _Pairs(baseline, others, weights, metric, times, reference, difference)
        days = (pairs.by_day(parts.days, 1.0) > 0).sum(axis=0)
        for place, name in enumerate(others):
            base, step, size = parts.left_out(pairs, place)
            # Not 1 − ratio: that would print -0 for a method that is its own baseline.
            gain = divide(0.0 - step, base)
            made = [
                Estimate(one[:1], one[1:, None], size[:, None], difference=True)
                for one in (step, gain)
            ]
            row = {
                "method": name,
                "baseline": baseline,
                "weights": weights,
                "metric": metric,
                "score": base[0] + step[0],
                "baseline_score": base[0],
                "difference": step[0],
                "skill": gain[0],
                "days": days[place],
                "samples": pairs.paired[:, place].sum(),
                "resampled": parts.name,
                "blocks": made[0].clusters[0] if parts.name == DAYS else 0,
                "tiles": made[0].clusters[0] if parts.name == TILES else 0,
                "effective": made[0].effective[0],
                "largest_three": made[0].share_of_largest(3)[0],
            }
            for key, one in zip(("difference", "skill"), made, strict=True):
                low, high = one.interval()
                row |= bounds(key, (low[0], high[0]))
            rows.append(row)
    return pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("task", "hours")])
