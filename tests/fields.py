"""Small Fields, products and observations that tests are built from."""

from __future__ import annotations

from collections.abc import Sequence

import dask.array
import numpy as np
import pandas as pd
import xarray as xr

from deepcams_eval.core.field import Product, make_field
from deepcams_eval.core.observations import Observations, make_stations

HOUR, HALF_HOUR = np.timedelta64(1, "h"), np.timedelta64(30, "m")


def hourly_field(
    values: np.ndarray,
    *,
    start: str | np.datetime64 = "2020-02-28T00:00",
    hours: Sequence[int] | np.ndarray | None = None,
    latitude: Sequence[float] | np.ndarray | None = None,
    longitude: Sequence[float] | np.ndarray | None = None,
    stamp: str = "mean",
    chunk: int | None = None,
) -> xr.DataArray:
    """Make a Field of frames at `hours` after `start`, of points or of hourly means."""
    values = np.asarray(values, dtype=np.float32)
    frames, rows, columns = values.shape
    time = np.datetime64(start) + (np.arange(frames) if hours is None else np.asarray(hours)) * HOUR
    mean = stamp == "mean"
    return make_field(
        values if chunk is None else dask.array.from_array(values, chunks=(chunk, -1, -1)),
        time=time + HALF_HOUR if mean else time,
        latitude=40 + 0.25 * np.arange(rows) if latitude is None else latitude,
        longitude=5 + 0.25 * np.arange(columns) if longitude is None else longitude,
        stamp=stamp,
        bounds=np.stack([time, time + HOUR], axis=1) if mean else None,
    )


def product(
    name: str = "cams",
    *,
    values: np.ndarray | None = None,
    start: str = "2018-01-01T00:00",
    hours: int = 3,
    steps: int = 8,
    latitude: Sequence[float] = (50.25, 51.0, 51.75),
    longitude: Sequence[float] = (3.75, 4.5, 5.25, 6.0),
    stamp: str = "point",
    chunk: int = 3,
    seed: int = 0,
) -> Product:
    """Make a product of gamma-distributed values, or of `values`."""
    shape = (steps, len(latitude), len(longitude))
    data = np.random.default_rng(seed).gamma(2.0, 8.0, shape) if values is None else values
    grid = {"latitude": latitude, "longitude": longitude}
    made = hourly_field(
        data, start=start, hours=hours * np.arange(steps), **grid, stamp=stamp, chunk=chunk
    )
    return Product(name=name, field=made, kind="generic")


def observations(
    ends: Sequence[str] | np.ndarray,
    values: Sequence[float] | np.ndarray,
    station: Sequence[str],
    places: dict[str, tuple[float, float]],
    *,
    country: dict[str, str] | None = None,
    reference: Sequence[bool | None] | None = None,
) -> Observations:
    """Make clean hourly observations; `places` gives latitude and longitude by station."""
    end = np.asarray(ends, dtype="datetime64[us]")
    table = pd.DataFrame(
        {
            "station_id": pd.Categorical(station),
            "sensor_id": pd.Categorical(station),
            "time_start": end - HOUR,
            "time_end": end,
            "value": np.asarray(values, dtype=float),
            "is_reference": pd.array(reference or [None] * len(end), dtype="boolean"),
            "flags": np.zeros(len(end), dtype=np.uint32),
        }
    )
    stations = pd.DataFrame(
        {
            "station_id": list(places),
            "latitude": [place[0] for place in places.values()],
            "longitude": [place[1] for place in places.values()],
            "country": [(country or {}).get(one, "") for one in places],
        }
    )
    return Observations(table, make_stations(stations), counts={"records": len(table)})
