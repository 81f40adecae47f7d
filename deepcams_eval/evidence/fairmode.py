"""FAIRMODE: the error of a product beside the uncertainty of the observations.

The modelling quality indicator of daily PM2.5 (Janssen et al. 2022, FAIRMODE guidance document on
modelling quality objectives and benchmarking, version 3.3, doi:10.2760/41988), from daily means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

Array = npt.NDArray[np.float64]

SHARE_OF_DAYS = 0.75
"""Share of the days that a station needs before its indicator counts."""

FULFILLED_BY = 0.9
"""Share of the stations that must have an indicator of at most 1."""

MIN_STATIONS, MIN_DAYS = 10, 10
"""Fewer stations than this give no verdict: one of them would decide it; nor do fewer days."""

STATION_COLUMNS = (
    "product",
    "year",
    "station_id",
    "n_days",
    "days_with_data",
    "enough_days",
    "r",
    "mb",
    "rmse",
    "crmse",
    "rmsu",
    "mqi",
    "target_x",
    "target_y",
)
SUMMARY_COLUMNS = (
    "product",
    "year",
    "stations",
    "stations_left_out",
    "days_with_data",
    "share_fulfilled",
    "mqi_90",
    "fulfilled",
)


@dataclass(frozen=True)
class Uncertainty:
    """Parameters of the uncertainty of one observation; those of daily PM2.5 by default.

    Attributes
    ----------
    u_rv : float
        Relative uncertainty at the reference value.
    rv : float
        Reference value, µg m⁻³.
    alpha : float
        Share of the uncertainty that does not fall with the concentration.
    beta : float
        How much larger than the uncertainty an error may be.
    """

    u_rv: float = 0.36
    rv: float = 25.0
    alpha: float = 0.5
    beta: float = 2.0

    def squared(self, observed: Array) -> Array:
        """Return u(O)² = u_rv² ((1 − α²) O² + α² RV²), (µg m⁻³)²."""
        share = self.alpha**2
        return np.asarray(self.u_rv**2 * ((1 - share) * observed**2 + share * self.rv**2))


def station_indicators(daily: Pairs, uncertainty: Uncertainty | None = None) -> pd.DataFrame:
    """Return the indicator of each station, year and product.

    MQI = RMSE / (β RMSU) with RMSU = √(Σ u(Oᵢ)²/N). In the target diagram a station stands at
    x = ±CRMSE / (β RMSU) and y = MB / (β RMSU), so that its distance from the origin is its MQI; x
    is negative where the error of phase outweighs that of amplitude, |σ_M − σ_O| / σ_O <
    √(2 (1 − R)).

    Parameters
    ----------
    daily : Pairs
        Complete daily means, of `deepcams_eval.pair.averages.average_pairs`.
    uncertainty : Uncertainty, optional
        Of a daily mean of PM2.5 when absent.

    Returns
    -------
    pandas.DataFrame
        One row a product × year × station, of the columns `STATION_COLUMNS`; µg m⁻³, but for n,
        r and the indicators. ``days_with_data`` counts the days of the year that are complete at
        any station. R is NaN with fewer than two days or where either does not vary; x is then
        negative.
    """
    uncertainty = uncertainty or Uncertainty()
    table = daily.table
    station, names = codes_of(table["station_id"])
    year = table["time_start"].dt.year.to_numpy()
    parts = []
    for product in daily.products:
        there = np.isfinite(table[product].to_numpy())
        for one in np.unique(year[there]):
            rows = there & (year == one)
            part = _indicators(
                table["observed"].to_numpy()[rows],
                table[product].to_numpy()[rows].astype(np.float64),
                station[rows],
                names,
                uncertainty,
            )
            with_data = table["time_start"][rows].dt.floor("D").nunique()
            part["product"], part["year"] = product, int(one)
            part["days_with_data"] = with_data
            part["enough_days"] = part["n_days"] >= SHARE_OF_DAYS * with_data
            parts.append(part)
    return pd.concat(parts, ignore_index=True)[list(STATION_COLUMNS)]


def quality_objective(stations: pd.DataFrame) -> pd.DataFrame:
    """Return whether each product fulfils the modelling quality objective in each year.

    It does where the 90th percentile of the indicators of the stations is at most 1. The
    percentile is that of the guidance: with the indicators in order and S = ⌊0.9 N⌋, it is
    MQI(S) + (MQI(S+1) − MQI(S)) (0.9 N − S).

    Parameters
    ----------
    stations : pandas.DataFrame
        Of `station_indicators`. Stations with too few days are counted and left out.

    Returns
    -------
    pandas.DataFrame
        One row a product × year, of the columns `SUMMARY_COLUMNS`; ``fulfilled`` is NA with fewer
        than `MIN_STATIONS` stations or `MIN_DAYS` days.
    """
    parts = []
    for (product, year), rows in stations.groupby(["product", "year"], sort=False):
        kept = rows[rows["enough_days"]]
        days = int(rows["days_with_data"].iloc[0])
        enough = len(kept) >= MIN_STATIONS and days >= MIN_DAYS
        indicator = np.sort(kept["mqi"].to_numpy())
        ninth = percentile_90(indicator)
        parts.append(
            {
                "product": product,
                "year": year,
                "stations": len(kept),
                "stations_left_out": len(rows) - len(kept),
                "days_with_data": days,
                "share_fulfilled": float((indicator <= 1).mean()) if len(kept) else np.nan,
                "mqi_90": ninth,
                "fulfilled": bool(ninth <= 1) if enough else pd.NA,
            }
        )
    frame = pd.DataFrame(parts, columns=list(SUMMARY_COLUMNS))
    return frame.astype({"fulfilled": "boolean"})


def percentile_90(ordered: Array) -> float:
    """Return the 90th percentile of indicators in rising order; NaN without any."""
    if not len(ordered):
        return float("nan")
    place = FULFILLED_BY * len(ordered)
    low = int(place)
    below = ordered[max(low, 1) - 1]
    above = ordered[min(low, len(ordered) - 1)]
    return float(below + (above - below) * (place - low))


def _indicators(
    observed: Array,
    estimate: Array,
    station: npt.NDArray[np.int32],
    names: npt.NDArray[np.str_],
    uncertainty: Uncertainty,
) -> pd.DataFrame:
    size = len(names)
    sums = Moments.of(observed, estimate, station, size)
    total = np.bincount(station, uncertainty.squared(observed), size)
    met = sums.n > 0
    rmsu = np.sqrt(np.divide(total, sums.n, out=np.full(size, np.nan), where=met))
    allowed = uncertainty.beta * rmsu
    crmse, mb = metrics.crmse(sums), metrics.mb(sums)
    amplitude = (np.sqrt(sums.ss_m) - np.sqrt(sums.ss_o)) ** 2
    phase = 2 * sums.ss_o * (1 - metrics.r(sums))
    frame = pd.DataFrame(
        {
            "station_id": names,
            "n_days": sums.n.astype(np.int64),
            "r": metrics.r(sums),
            "mb": mb,
            "rmse": metrics.rmse(sums),
            "crmse": crmse,
            "rmsu": rmsu,
            "mqi": metrics.rmse(sums) / allowed,
            "target_x": np.where(amplitude > phase, crmse, -crmse) / allowed,
            "target_y": mb / allowed,
        }
    )
    return frame[met].reset_index(drop=True)
