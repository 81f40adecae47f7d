"""Pairs for tests: those of a fine and a coarse product, and any others."""

from __future__ import annotations

from pathlib import Path

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
                "latitude": 50.0 + number,
                "observed": observed,
                "station_kind": "reference" if number % 2 else "sensor",
                "fine": observed + rng.normal(0, 2, len(times)),
                "coarse": coarse,
            }
        )
        parts.append(part[rng.random(len(times)) < keep])
    return pairs_of(pd.concat(parts, ignore_index=True), "fine", "coarse")


def pairs_of(table: pd.DataFrame, *products: str, lasting: np.timedelta64 = HOUR) -> Pairs:
    """Return pairs from stations, times, observations and products, the rest as in Brussels."""
    given = {"latitude": 50.0, "longitude": 4.0, "station_kind": "reference", "country": "BE"}
    given |= {"time_end": table["time_start"] + lasting}
    table = table.assign(**{name: given[name] for name in given if name not in table})
    types = dict.fromkeys(("station_id", "station_kind", "country"), "category")
    return Pairs(table.astype({**types, **dict.fromkeys(products, np.float32)}), products)


def by_station(times: np.ndarray, observed: np.ndarray, **products: np.ndarray) -> pd.DataFrame:
    """Return a table of values of shape (stations, times), as `pairs_of` needs it."""
    columns = {"observed": observed, **products}
    stations = [f"s{place:02d}" for place in range(len(observed))]
    return pd.DataFrame(
        {
            "station_id": np.repeat(stations, len(times)),
            "time_start": np.tile(times, len(stations)),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )


def write_pairs(path: Path, pairs: Pairs, **said: object) -> Path:
    """Write ``pairs.parquet`` as a run does; `said` are further statements of the run."""
    pairs.table.attrs = {"products": list(pairs.products), "years_with_data": years(pairs), **said}
    pairs.table.to_parquet(path, index=False)
    return path


def years(pairs: Pairs) -> dict[str, list[int]]:
    there = sorted(set(pairs.table["time_start"].dt.year))
    return dict.fromkeys(pairs.products, there)
