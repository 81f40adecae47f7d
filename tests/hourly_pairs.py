"""Hourly pairs of a fine and a coarse product, for tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepcams_eval.core.pairs import Pairs

HOUR = np.timedelta64(3_600_000_000, "us")


def hourly(
    days: int,
    *,
    stations: int = 2,
    start: str = "2018-03-01",
    seed: int = 3,
    keep: float = 1.0,
    coarse_step: int = 1,
) -> Pairs:
    """Return hourly pairs of a product ``fine`` and of ``coarse``, which has every n-th hour."""
    rng = np.random.default_rng(seed)
    times = np.datetime64(start, "us") + np.arange(24 * days) * HOUR
    parts = []
    for number in range(stations):
        observed = rng.gamma(2, 8, len(times))
        coarse = observed + rng.normal(2, 3, len(times))
        coarse[np.arange(len(times)) % coarse_step != 0] = np.nan
        part = pd.DataFrame(
            {
                "station_id": f"s{number}",
                "time_start": times,
                "time_end": times + HOUR,
                "latitude": 50.0 + number,
                "longitude": 4.0,
                "observed": observed,
                "station_kind": "reference" if number % 2 else "sensor",
                "country": "BE",
                "fine": (observed + rng.normal(0, 2, len(times))).astype(np.float32),
                "coarse": coarse.astype(np.float32),
            }
        )
        parts.append(part[rng.random(len(times)) < keep])
    table = pd.concat(parts, ignore_index=True)
    for name in ("station_id", "station_kind", "country"):
        table[name] = table[name].astype("category")
    return Pairs(table, ("fine", "coarse"))


def years(pairs: Pairs) -> dict[str, list[int]]:
    there = sorted(set(pairs.table["time_start"].dt.year))
    return dict.fromkeys(pairs.products, there)
