"""Two kinds of resampling side by side: whole stations, and blocks of days.

Resampling stations keeps all hours of a station together and says how a score would vary with other
stations of the same kind; weather that all stations share at once is no variation to it. Resampling
blocks of days keeps all stations of these days together and says how it would vary with other
weather. A reader takes the wider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import Array, BoolArray, Times
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.evidence.agreement import published_agreement
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.score import intervals, metrics
from deepcams_eval.score.moments import Moments

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
        An interval is NaN with fewer than `intervals.MIN_CLUSTERS` stations or `MIN_BLOCKS`
        blocks.
    """
    table = pairs.table
    year = table["time_start"].dt.year.to_numpy()
    station, names = codes_of(table["station_id"])
    # Drawn first and for all stations, as for the scores, so that the same seed gives the same
    # intervals of stations.
    draws = intervals.draw_clusters(len(names), resamples, rng)
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
    days: Times

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
        return cls(by_station, by_day, [one.merged() for one in by_day], days)


def _case(chosen: _Chosen, draws: Array, rng: np.random.Generator) -> pd.DataFrame:
    stations = int((chosen.by_station[0].n > 0).sum())
    length = intervals.block_length(chosen.days, chosen.by_day)
    weights = intervals.draw_blocks(len(chosen.days), length, len(draws), rng)
    blocks = len(chosen.days) // length
    by_station = _resampled(chosen.by_station, draws)
    by_block = _resampled(chosen.by_day, weights)
    n = chosen.total[0].n[0]
    rows = []
    for name, score in _METRICS.items():
        estimate = intervals.less([score(one) for one in chosen.total])[0]
        station_lo, station_hi = intervals.interval(by_station[name], stations)
        block_lo, block_hi = intervals.interval(by_block[name], blocks, least=MIN_BLOCKS)
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
        if stations >= intervals.MIN_CLUSTERS:
            rows[-1]["n_eff_station"] = _effective(spread, by_station["mb"])
        if blocks >= MIN_BLOCKS:
            rows[-1]["n_eff_block"] = _effective(spread, by_block["mb"])
    return pd.DataFrame(rows)


def _resampled(sums: list[Moments], draws: Array) -> dict[str, Array]:
    """Return each metric of every resample, shape (resamples,)."""
    drawn = [intervals.resample(one.reshape(-1, 1), draws, _METRICS) for one in sums]
    return {name: intervals.less([one[name][:, 0] for one in drawn]) for name in _METRICS}


def _wider(station: float, block: float) -> str:
    if np.isnan(station) or np.isnan(block):
        return ""
    return "station" if station >= block else "block"


def _effective(spread: float, resampled: Array) -> float:
    """Return σ² / se², σ being the standard deviation of M − O and se that of its mean."""
    error = float(np.std(resampled))
    return float((spread / error) ** 2) if error > 0 else float("nan")
