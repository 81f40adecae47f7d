"""Hourly truth that travels, small enough for every method in seconds."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr

from deepcams_eval.core.field import make_field

HOUR, HALF = np.timedelta64(1, "h"), np.timedelta64(30, "m")


def moving(hours: int = 73, *, seed: int = 5) -> xr.DataArray:
    """Make blobs that travel up to a cell an hour over a static pattern, in µg m⁻³."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:30, :36].astype(float)
    frames = np.full((hours, 30, 36), 3.0)
    for _ in range(12):
        row, column, southward, eastward = rng.uniform([0, 0, -0.5, -1], [30, 36, 0.5, 1])
        for hour in range(hours):
            since = hour - hours / 2
            away = (rows - row - southward * since) ** 2 + (
                columns - column - eastward * since
            ) ** 2
            frames[hour] += 40 * np.exp(-away / 16)
    frames += rng.uniform(0, 1, (30, 36))
    begin = np.datetime64("2020-03-01", "us") + np.arange(hours) * HOUR
    return make_field(
        da.from_array(frames.astype(np.float32), chunks=(24, -1, -1)),
        time=begin + HALF,
        latitude=40 + 0.25 * np.arange(30),
        longitude=5 + 0.25 * np.arange(36),
        stamp="mean",
        bounds=np.stack([begin, begin + HOUR], axis=1),
    )


def write(field: xr.DataArray, path: Path, *, name: str = "pm25") -> None:
    """Write a Field of hourly means as netCDF with CF bounds."""
    bounds = np.stack([field["time_start"].values, field["time_end"].values], axis=1)
    data = field.drop_vars(["time_start", "time_end"]).to_dataset(name=name)
    data["time"].attrs["bounds"] = "time_bnds"
    data["time_bnds"] = (("time", "nv"), bounds)
    for coordinate in ("time", "time_bnds"):
        data[coordinate].encoding["units"] = "minutes since 2020-01-01"
    data.to_netcdf(path)


def later(field: xr.DataArray, days: int) -> xr.DataArray:
    """Return a Field so many days later."""
    shift = np.timedelta64(days, "D")
    names = ("time", "time_start", "time_end")
    return field.assign_coords({name: field[name] + shift for name in names})


def stamped_at_end(field: xr.DataArray) -> xr.DataArray:
    """Return a Field of means whose stamps are the ends of their hours."""
    return field.assign_coords(time=field["time_end"].values)
