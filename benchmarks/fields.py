"""Time and memory of pairing 6,656 stations with global hourly fields, beside only reading them.

    python benchmarks/fields.py [--hours 24 96]

Writes full-size GEOS-CF-like files (721 × 1440, one an hour, deflated) into a temporary folder,
then pairs one observation a station and hour with them. The floor is reading every field once with
netCDF4 and doing nothing else. Each figure comes from a process of its own; memory that grows with
the number of hours, beyond the observations themselves, would show in the last column.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd

from deepcams_eval.core.observations import Observations, make_stations
from deepcams_eval.pair.colocate import colocate
from deepcams_eval.read.product import ProductSpec, open_product

STATIONS = 6_656
START = np.datetime64("2018-01-01T00:00")
NAME = "GEOS-CF.v01.rpl.chm_tavg_1hr_g1440x721_v1.{:%Y%m%d_%H30}z.nc4"


def write_fields(folder: Path, hours: int) -> None:
    """Write `hours` files of smooth, skewed fields."""
    rng = np.random.default_rng(0)
    base = np.exp(rng.normal(1, 1, (91, 181))).repeat(8, axis=0).repeat(8, axis=1)[:721, :1440]
    for hour in range(hours):
        stamp = pd.Timestamp(START) + pd.Timedelta(hours=hour)
        with netCDF4.Dataset(folder / NAME.format(stamp), "w") as data:
            for name, size in (("time", 1), ("lev", 1), ("lat", 721), ("lon", 1440)):
                data.createDimension(name, size)
                data.createVariable(name, "f8", (name,))
            data["lat"][:] = np.linspace(-90, 90, 721)
            data["lon"][:] = -180 + 0.25 * np.arange(1440)
            data["lev"][:], data["time"][:] = 72, 0
            data["time"].units = f"minutes since {stamp + pd.Timedelta(minutes=30)}"
            pm25 = data.createVariable(
                "PM25_RH35_GCC", "f4", ("time", "lev", "lat", "lon"), zlib=True, complevel=1
            )
            noise = rng.normal(1, 0.02, base.shape)
            pm25[:] = np.float32(np.roll(base, hour, axis=1) * noise)


def make_observations(hours: int) -> Observations:
    """Make one observation a station and hour."""
    rng = np.random.default_rng(1)
    names = np.array([f"{one:05d}" for one in range(STATIONS)])
    station = pd.Categorical.from_codes(np.repeat(np.arange(STATIONS), hours), categories=names)
    begin = (START + np.arange(hours) * np.timedelta64(1, "h")).astype("datetime64[us]")
    begin = np.tile(begin, STATIONS)
    table = pd.DataFrame(
        {
            "station_id": station,
            "sensor_id": station,
            "time_start": begin,
            "time_end": begin + np.timedelta64(1, "h"),
            "value": rng.gamma(2, 9, len(station)),
            "is_reference": pd.array(np.ones(len(station), dtype=bool), dtype="boolean"),
            "flags": np.zeros(len(station), dtype=np.uint32),
        }
    )
    places = pd.DataFrame(
        {
            "station_id": names,
            "latitude": rng.uniform(-60, 70, STATIONS),
            "longitude": rng.uniform(-180, 180, STATIONS),
        }
    )
    return Observations(table, make_stations(places))


def read_only(folder: Path, hours: int) -> int:  # noqa: ARG001 - the same call for both
    """Read every field once."""
    total = 0
    for path in sorted(folder.glob("*.nc4")):
        with netCDF4.Dataset(path) as data:
            total += data["PM25_RH35_GCC"][:].size
    return total // (721 * 1440)


def pair(folder: Path, hours: int) -> int:
    """Open the series and pair every observation."""
    product = open_product(ProductSpec("geoscf", str(folder), kind="geoscf"))
    return len(colocate(make_observations(hours), [product]).pairs)


WAYS = {"read only": read_only, "deepcams": pair}


def measure(way: str, folder: Path, hours: int) -> None:
    """Run one way in this process and print its time and peak memory as JSON."""
    clock = time.perf_counter()
    found = WAYS[way](folder, hours)
    seconds = time.perf_counter() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"found": found, "seconds": seconds, "peak_gb": peak}))


def main() -> None:
    """Write the files, run each way on each number of hours, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, nargs="+", default=[24, 96])
    parser.add_argument("--way", choices=list(WAYS))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.folder, options.hours[0])
        return
    lines = []
    for hours in options.hours:
        with tempfile.TemporaryDirectory() as folder:
            write_fields(Path(folder), hours)
            for way in WAYS:
                command = [sys.executable, __file__, "--way", way, "--folder", folder]
                printed = subprocess.run(
                    [*command, "--hours", str(hours)], check=True, capture_output=True, text=True
                ).stdout
                lines.append({"hours": hours, "way": way, **json.loads(printed)})
    table = pd.DataFrame(lines)
    table["ms an hour"] = 1000 * table["seconds"] / table["hours"]
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))


if __name__ == "__main__":
    main()
