"""Two kinds of resampling side by side: whole stations, and blocks of days.

Resampling stations keeps all hours of a station together and says how a score would vary with other
stations of the same kind; weather that all stations share at once is no variation to it. Resampling
blocks of days keeps all stations of these days together and says how it would vary with other
weather. A reader takes the wider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.evidence.agreement import published_agreement
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.score import intervals, metrics
from deepcams_eval.score.moments import Moments

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MIN_BLOCKS = 10
"""Fewer blocks than this give no interval: the spread of a handful says too little."""

COLUMNS = (
    "product",
    "baseline",
    "stratum",
    "value",
    "metric",
    "estimate",
    "station_lo",
    "station_hi",
    "block_lo",
    "block_hi",
    "wider",
    "n",
    "stations",
    "days",
    "block_days",
    "blocks",
    "n_eff_station",
    "n_eff_block",
)
UNCERTAINTY = "uncertainty"
_METRICS = {name: metrics.METRICS[name] for name in (*metrics.HEADLINE, "mb")}
_DAY = np.timedelta64(1, "D")


def uncertainty(
    pairs: Pairs,
    rows: Mapping[str, BoolArray],
    table: pd.DataFrame,
    *,
    baseline: str,
    seed: int,
    resamples: int = 1000,
    restricted: bool = False,
) -> Evidence:
    """Return the intervals of both kinds, and the published scores beside ours.

    Parameters
    ----------
    pairs, rows, baseline, resamples
        As in `uncertainty_table`.
    table : pandas.DataFrame
        Rows of ``scores.csv`` of the sample shown.
    seed : int
        Of the bootstrap.
    restricted : bool
        As in `deepcams_eval.evidence.agreement.published_agreement`.

    Returns
    -------
    Evidence
        With the frames ``uncertainty`` and ``published``.
    """
    intervals_of_both = uncertainty_table(
        pairs, rows, baseline=baseline, rng=np.random.default_rng(seed), resamples=resamples
    )
    published = published_agreement(table, restricted=restricted)
    frames = {"uncertainty": intervals_of_both, "published": published}
    return Evidence(UNCERTAINTY, frames)


def uncertainty_table(
    pairs: Pairs,
    rows: Mapping[str, BoolArray],
    *,
    baseline: str,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Return scores and differences with the intervals of both kinds of resampling.

    Parameters
    ----------
    pairs : Pairs
        Hourly, at least one row.
    rows : mapping of str to ndarray of bool, shape (pairs,)
        The sample of each product.
    baseline : str
        The product that differences are taken from, on the pairs that both have.
    rng : numpy.random.Generator
        Draws stations and blocks.
    resamples : int
        Number of bootstrap resamples of each kind.

    Returns
    -------
    pandas.DataFrame
        One row a product × (all, each year) × metric (r, rmse, mae, mb), of the columns
        `COLUMNS`. ``baseline`` is "" for a score, else the estimate is product − baseline.
        ``wider`` names the resampling with the wider interval. ``n_eff_station`` and
        ``n_eff_block`` (with the mean bias alone, NaN elsewhere and where there is no interval)
        are the numbers of independent pairs that would give the mean of M − O the standard error
        that the resampling gives it.
        An interval is NaN with fewer than `intervals.MIN_STATIONS` stations or `MIN_BLOCKS`
        blocks.
    """
    table = pairs.table
    year = table["time_start"].dt.year.to_numpy()
    station, names = codes_of(table["station_id"])
    # Drawn first and for all stations, as for the scores, so that the same seed gives the same
    # intervals of stations.
    draws = intervals.draw_stations(len(names), resamples, rng)
    own = {name: np.isfinite(table[name].to_numpy()) for name in pairs.products}
    cases: list[tuple[str, str, BoolArray]] = [(one, "", rows[one]) for one in pairs.products]
    cases += [
        (one, baseline, own[one] & own[baseline]) for one in pairs.products if one != baseline
    ]
    parts = []
    for product, against, sample in cases:
        products = [product, against] if against else [product]
        values = [("all", "all", sample)]
        values += [("year", str(one), sample & (year == one)) for one in np.unique(year[sample])]
        for stratum, value, chosen in values:
            if not chosen.any():
                continue
            part = _case(_Chosen.of(pairs, products, chosen, station, len(names)), draws, rng)
            part["product"], part["baseline"] = product, against
            part["stratum"], part["value"] = stratum, value
            parts.append(part)
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


@dataclass(frozen=True)
class _Chosen:
    """Pairs of one sample: sums by station and by day of each product, and the days there are."""

    by_station: list[Moments]
    by_day: list[Moments]
    total: list[Moments]
    days: npt.NDArray[np.datetime64]

    @classmethod
    def of(
        cls,
        pairs: Pairs,
        products: list[str],
        chosen: BoolArray,
        station: npt.NDArray[np.int32],
        stations: int,
    ) -> _Chosen:
        table = pairs.table
        observed = table["observed"].to_numpy()[chosen]
        day = table["time_start"].to_numpy()[chosen].astype("datetime64[D]")
        days, place = np.unique(day, return_inverse=True)
        by_station, by_day = [], []
        for product in products:
            estimate = table[product].to_numpy()[chosen]
            by_station.append(Moments.of(observed, estimate, station[chosen], stations))
            by_day.append(Moments.of(observed, estimate, place, len(days)))
        zeros = np.zeros(len(days), dtype=np.intp)
        return cls(by_station, by_day, [one.pool(zeros, 1) for one in by_day], days)


def _case(chosen: _Chosen, draws: Array, rng: np.random.Generator) -> pd.DataFrame:
    stations = int((chosen.by_station[0].n > 0).sum())
    length = block_length(chosen.days, chosen.by_day)
    weights = draw_blocks(len(chosen.days), length, len(draws), rng)
    blocks = len(chosen.days) // length
    by_station = _resampled(chosen.by_station, draws)
    by_block = _resampled(chosen.by_day, weights)
    n = chosen.total[0].n[0]
    rows = []
    for name, score in _METRICS.items():
        estimate = _difference([score(one) for one in chosen.total])[0]
        station_lo, station_hi = _interval(
            by_station[name], enough=stations >= intervals.MIN_STATIONS
        )
        block_lo, block_hi = _interval(by_block[name], enough=blocks >= MIN_BLOCKS)
        rows.append(
            {
                "metric": name,
                "estimate": estimate,
                "station_lo": station_lo,
                "station_hi": station_hi,
                "block_lo": block_lo,
                "block_hi": block_hi,
                "wider": _wider(station_hi - station_lo, block_hi - block_lo),
                "n": int(n),
                "stations": stations,
                "days": len(chosen.days),
                "block_days": length,
                "blocks": blocks,
                "n_eff_station": np.nan,
                "n_eff_block": np.nan,
            }
        )
    if len(chosen.total) == 1:
        spread = float(metrics.crmse(chosen.total[0])[0])
        if stations >= intervals.MIN_STATIONS:
            rows[-1]["n_eff_station"] = _effective(spread, by_station["mb"])
        if blocks >= MIN_BLOCKS:
            rows[-1]["n_eff_block"] = _effective(spread, by_block["mb"])
    return pd.DataFrame(rows)


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
    drawn = (starts[:, :, None] + np.arange(length)).reshape(resamples, -1)[:, :days] % days
    drawn += days * np.arange(resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=resamples * days)
    return times.reshape(resamples, days).astype(np.float64)


def block_length(days: npt.NDArray[np.datetime64], by_day: list[Moments]) -> int:
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
        daily = _difference([getattr(sums, metric) / sums.n for sums in by_day])
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


def _resampled(sums: list[Moments], draws: Array) -> dict[str, Array]:
    """Return each metric of every resample, shape (resamples,)."""
    drawn = [intervals.resample(one.reshape(-1, 1), draws, _METRICS) for one in sums]
    return {name: _difference([one[name][:, 0] for one in drawn]) for name in _METRICS}


def _difference(values: list[Array]) -> Array:
    return values[0] if len(values) == 1 else values[0] - values[1]


def _interval(resampled: Array, *, enough: bool) -> tuple[float, float]:
    behind = np.array([intervals.MIN_STATIONS if enough else 0])
    low, high = intervals.percentile_interval(resampled[:, None], behind)
    return float(low[0]), float(high[0])


def _wider(station: float, block: float) -> str:
    if np.isnan(station) or np.isnan(block):
        return ""
    return "station" if station >= block else "block"


def _effective(spread: float, resampled: Array) -> float:
    """Return σ² / se², σ being the standard deviation of M − O and se that of its mean."""
    error = float(np.std(resampled))
    return float((spread / error) ** 2) if error > 0 else float("nan")
