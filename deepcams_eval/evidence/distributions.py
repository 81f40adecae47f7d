"""Distributions beside each other: spread, quantiles, and the cycles of the day and the week."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

BoolArray = npt.NDArray[np.bool_]

PERCENTILES = (1.0, *np.arange(5.0, 100.0, 5.0).tolist(), 98.0, 99.0, 99.5, 99.9)
"""Percentiles of `quantile_table`; one is left out where fewer than ten pairs lie beyond it."""

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BEYOND = 10


def taylor_table(pairs: Pairs, rows: Mapping[str, BoolArray]) -> pd.DataFrame:
    """Return what a Taylor diagram shows (Taylor 2001, doi:10.1029/2000JD900719).

    CRMSE² = σ_O² + σ_M² − 2 σ_O σ_M R, so that the distance of a product from the point of the
    observations at (1, R = 1) is its CRMSE in units of σ_O.

    Parameters
    ----------
    pairs : Pairs
    rows : mapping of str to ndarray of bool, shape (pairs,)
        The sample of each product.

    Returns
    -------
    pandas.DataFrame
        One row a product: ``product, n, r, sd_o, sd_m, sd_ratio, crmse``; µg m⁻³ but for n, r
        and the ratio. NaN where undefined.
    """
    observed = pairs.table["observed"].to_numpy()
    parts = []
    for product in pairs.products:
        chosen = rows[product]
        sums = Moments.of(observed[chosen], pairs.table[product].to_numpy()[chosen])
        spread = np.sqrt(np.array([sums.ss_o[0], sums.ss_m[0]]) / max(sums.n[0], 1))
        parts.append(
            {
                "product": product,
                "n": int(sums.n[0]),
                "r": float(metrics.r(sums)[0]),
                "sd_o": float(spread[0]),
                "sd_m": float(spread[1]),
                "sd_ratio": float(metrics.sd_ratio(sums)[0]),
                "crmse": float(metrics.crmse(sums)[0]),
            }
        )
    return pd.DataFrame(parts)


def quantile_table(pairs: Pairs, rows: Mapping[str, BoolArray]) -> pd.DataFrame:
    """Return quantiles of the observations and of each product on the same pairs.

    Parameters
    ----------
    pairs, rows
        As in `taylor_table`.

    Returns
    -------
    pandas.DataFrame
        One row a product × percentile: ``product, percentile, n, observed, estimate``, µg m⁻³
        (linear between order statistics).
    """
    observed = pairs.table["observed"].to_numpy()
    parts = []
    for product in pairs.products:
        chosen = rows[product]
        count = int(chosen.sum())
        levels = [one for one in PERCENTILES if min(one, 100 - one) / 100 * count >= _BEYOND]
        estimate = pairs.table[product].to_numpy()[chosen].astype(np.float64)
        parts.append(
            pd.DataFrame(
                {
                    "product": product,
                    "percentile": levels,
                    "n": count,
                    "observed": np.percentile(observed[chosen], levels),
                    "estimate": np.percentile(estimate, levels),
                }
            )
            if levels
            else pd.DataFrame()
        )
    return pd.concat(parts, ignore_index=True)


def cycle_table(pairs: Pairs, rows: Mapping[str, BoolArray]) -> pd.DataFrame:
    """Return mean departures by hour of the local day and by day of the week.

    Of each value the mean of its station over the sample is taken off first: where a sample has
    few UTC hours, each local hour holds stations of other longitudes, and their levels would make
    up the cycle. Local time is solar, UTC + round(longitude / 15°) hours, at the beginning of the
    observation. Pairs count alike.

    Parameters
    ----------
    pairs, rows
        As in `taylor_table`.

    Returns
    -------
    pandas.DataFrame
        One row a product × cycle × value: ``product, cycle, value, n, departure_o,
        departure_m``; ``cycle`` is ``hour_local`` (values 0 to 23) or ``weekday`` (0 is Monday);
        µg m⁻³. Values without a pair have no row.
    """
    table = pairs.table
    shift = np.round(table["longitude"].to_numpy() / 15.0).astype("timedelta64[h]")
    local = (table["time_start"].to_numpy() + shift).astype("datetime64[h]").astype(np.int64)
    values = {"hour_local": (local % 24, 24), "weekday": ((local // 24 + 3) % 7, 7)}
    station, names = codes_of(table["station_id"])
    observed = table["observed"].to_numpy()
    parts = []
    for product in pairs.products:
        chosen = rows[product]
        at = station[chosen]
        of_station = Moments.of(observed[chosen], table[product].to_numpy()[chosen], at, len(names))
        away_o = observed[chosen] - of_station.mean_o[at]
        away_m = table[product].to_numpy()[chosen] - of_station.mean_m[at]
        for cycle, (value, size) in values.items():
            sums = Moments.of(away_o, away_m, value[chosen], size)
            frame = pd.DataFrame(
                {
                    "product": product,
                    "cycle": cycle,
                    "value": np.arange(size),
                    "n": sums.n.astype(np.int64),
                    "departure_o": sums.mean_o,
                    "departure_m": sums.mean_m,
                }
            )
            parts.append(frame[frame["n"] > 0])
    return pd.concat(parts, ignore_index=True)
