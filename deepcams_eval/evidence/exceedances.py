"""Exceedances: which days above a limit a product finds, and how often it cries wolf."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import Array, divide
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.score import intervals

LIMITS: tuple[tuple[float, str], ...] = (
    (15.0, "WHO 2021 guideline"),
    (25.0, "WHO 2021 interim target 4; EU limit from 2030"),
    (35.0, "US standard"),
    (50.0, "WHO 2021 interim target 2"),
)
"""Limits of a daily mean of PM2.5, µg m⁻³, and whose they are."""

COLUMNS = (
    "product",
    "limit",
    "whose",
    "n_days",
    "stations",
    "hits",
    "misses",
    "false_alarms",
    "correct_negatives",
    "hit_rate",
    "hit_rate_lo",
    "hit_rate_hi",
    "false_alarm_ratio",
    "false_alarm_ratio_lo",
    "false_alarm_ratio_hi",
    "false_alarm_rate",
    "false_alarm_rate_lo",
    "false_alarm_rate_hi",
    "frequency_bias",
    "csi",
)
_HITS, _MISSES, _FALSE, _NEGATIVE = range(4)


def exceedance_table(
    daily: Pairs,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    limits: Sequence[tuple[float, str]] = LIMITS,
) -> pd.DataFrame:
    """Return the contingency of observed and estimated exceedances of each limit.

    With a hits (both above the limit), b false alarms (only M), c misses (only O) and d correct
    negatives: hit rate a/(a+c), false alarm ratio b/(a+b), false alarm rate b/(b+d), frequency
    bias (a+b)/(a+c), critical success index a/(a+b+c) (Wilks 2011, Statistical Methods in the
    Atmospheric Sciences, section 8.2).

    Parameters
    ----------
    daily : Pairs
        Complete daily means, of `deepcams_eval.pair.averages.average_pairs`.
    rng : numpy.random.Generator
        Draws the stations; the same draws serve all products and limits.
    resamples : int
        Number of bootstrap resamples.
    limits : sequence of (float, str)
        Daily means above which (strictly) a day exceeds, µg m⁻³, and whose limits they are.

    Returns
    -------
    pandas.DataFrame
        One row a product × limit, of the columns `COLUMNS`. A ratio without a case is NaN. The
        95 % intervals resample stations; NaN with fewer than `intervals.MIN_CLUSTERS`.
    """
    table = daily.table
    station, names = codes_of(table["station_id"])
    observed = table["observed"].to_numpy()
    draws = intervals.draw_clusters(len(names), resamples, rng)
    rows = []
    for product in daily.products:
        estimate = table[product].to_numpy().astype(np.float64)
        there = np.isfinite(estimate)
        behind = len(np.unique(station[there]))
        for limit, whose in limits:
            cell = _cell(observed[there] > limit, estimate[there] > limit)
            counts = np.bincount(
                4 * station[there].astype(np.int64) + cell, minlength=4 * len(names)
            )
            by_station = counts.reshape(-1, 4).astype(np.float64)
            total = by_station.sum(axis=0)
            row = {
                "product": product,
                "limit": limit,
                "whose": whose,
                "n_days": int(total.sum()),
                "stations": behind,
                "hits": int(total[_HITS]),
                "misses": int(total[_MISSES]),
                "false_alarms": int(total[_FALSE]),
                "correct_negatives": int(total[_NEGATIVE]),
            }
            row |= {name: float(value[0]) for name, value in ratios(total[None]).items()}
            for name, resampled in ratios(draws @ by_station).items():
                row |= intervals.bounds(name, intervals.interval(resampled, behind))
            rows.append(row)
    return pd.DataFrame(rows)[list(COLUMNS)]


def ratios(counts: Array) -> dict[str, Array]:
    """Return the ratios of contingency tables.

    Parameters
    ----------
    counts : ndarray, shape (tables, 4)
        Hits, misses, false alarms and correct negatives.

    Returns
    -------
    dict of str to ndarray, shape (tables,)
        NaN where there is no case to divide by.
    """
    hits, misses, false_alarms, negatives = counts.T
    return {
        "hit_rate": divide(hits, hits + misses),
        "false_alarm_ratio": divide(false_alarms, hits + false_alarms),
        "false_alarm_rate": divide(false_alarms, false_alarms + negatives),
        "frequency_bias": divide(hits + false_alarms, hits + misses),
        "csi": divide(hits, hits + misses + false_alarms),
    }


def _cell(
    observed: npt.NDArray[np.bool_], estimate: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    cell = np.where(observed, np.where(estimate, _HITS, _MISSES), _NEGATIVE)
    return np.where(~observed & estimate, _FALSE, cell).astype(np.int64)
