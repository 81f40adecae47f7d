"""Evidence on how well products do by the measures that regulators and modellers use."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import NoDataError
from deepcams_eval.evidence.distributions import cycle_table, quantile_table, taylor_table
from deepcams_eval.evidence.exceedances import exceedance_table
from deepcams_eval.evidence.fairmode import quality_objective, station_indicators
from deepcams_eval.pair.averages import average_pairs, one_a_station
from deepcams_eval.report.evidence import Evidence

QUALITY = "quality"


def quality(
    pairs: Pairs,
    rows: Mapping[str, npt.NDArray[np.bool_]],
    years_with_data: Mapping[str, Collection[int]],
    *,
    seed: int,
    resamples: int = 1000,
) -> Evidence:
    """Return FAIRMODE indicators, exceedances, Taylor diagram, quantiles and cycles.

    Parameters
    ----------
    pairs : Pairs
        Hourly, at least one row.
    rows : mapping of str to ndarray of bool, shape (pairs,)
        The sample of each product for what is not made of daily means.
    years_with_data : mapping of str to collection of int
        As in `deepcams_eval.pair.samples.sample_rows`; daily means are those of the common sample,
        averaged over the kinds of instruments of a station.
    seed, resamples : int
        Of the bootstrap of stations.

    Returns
    -------
    Evidence
        With the frames ``fairmode``, ``fairmode_stations``, ``exceedances`` and ``days`` (which
        are empty where no day of any station is complete), ``taylor``, ``quantiles``, ``cycles``.
    """
    frames = {
        "taylor": taylor_table(pairs, rows),
        "quantiles": quantile_table(pairs, rows),
        "cycles": cycle_table(pairs, rows),
    }
    try:
        daily = average_pairs(pairs, years_with_data, "day")
    except NoDataError:
        empty = pd.DataFrame()
        frames |= dict.fromkeys(("fairmode", "fairmode_stations", "exceedances", "days"), empty)
        return Evidence(QUALITY, frames)
    days = one_a_station(daily.pairs)
    stations = station_indicators(days)
    frames |= {
        "fairmode": quality_objective(stations),
        "fairmode_stations": stations,
        "exceedances": exceedance_table(days, rng=np.random.default_rng(seed), resamples=resamples),
        "days": pd.DataFrame(daily.counts.items(), columns=["what", "count"]),
    }
    return Evidence(QUALITY, frames)
