"""Time and memory from 20 million observations to scores, beside the same work in pandas.

    python benchmarks/pairs.py [--pairs 20000000]

Both ways start from the same table of observations (6,656 stations over three years) and the same
3-hourly product, which is made frame by frame so that no reading is measured. Both pair, sum by
station and month, compute R, RMSE and MAE by month and in all, and again without each
station. Each way runs in a process of its own, which reports its wall time and peak memory
without the making of its input.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import dask.array
import numpy as np
import pandas as pd

from deepcams_eval.core.field import Product, make_field
from deepcams_eval.core.observations import Observations, make_stations
from deepcams_eval.pair.colocate import colocate
from deepcams_eval.score.intervals import estimates
from deepcams_eval.score.metrics import HEADLINE, METRICS
from deepcams_eval.score.moments import Moments
from deepcams_eval.score.strata import Grouping

STATIONS, YEARS = 6_656, (2017, 2018, 2019)
ROWS, COLUMNS = 64, 104  # a cell a station
CHUNK = 248


def steps() -> np.ndarray:
    """Return the 3-hourly steps of three years."""
    return np.arange("2017-01-01T03", "2020-01-01T01", 3, dtype="datetime64[h]").astype(
        "datetime64[us]"
    )


def frames(block_info: dict) -> np.ndarray:
    """Make a block of frames: a fixed map that breathes with the day and the year."""
    first, last = block_info[None]["array-location"][0]
    step = np.arange(first, last, dtype=np.float32)
    breath = 1 + 0.3 * np.sin(step / 8 * 2 * np.pi) + 0.4 * np.sin(step / 2920 * 2 * np.pi)
    place = np.random.default_rng(1).gamma(2, 8, (ROWS, COLUMNS)).astype(np.float32)
    return breath[:, None, None] * place


def make_product() -> Product:
    """Make a lazy product whose 6,656 cells hold a station each."""
    time_ = steps()
    chunks = (
        (*[CHUNK] * (len(time_) // CHUNK), len(time_) % CHUNK),
        (ROWS,),
        (COLUMNS,),
    )
    data = dask.array.map_blocks(frames, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0)))
    field = make_field(
        data,
        time=time_,
        latitude=30 + 0.75 * np.arange(ROWS),
        longitude=-20 + 0.75 * np.arange(COLUMNS),
        stamp="point",
    )
    return Product("cams", field, "cams")


def make_observations(pairs: int) -> Observations:
    """Make `pairs` observations, station by station in the order of time."""
    rng = np.random.default_rng(0)
    each = pairs // STATIONS
    time_ = steps()
    chosen = np.sort(rng.random((STATIONS, len(time_))).argsort(axis=1)[:, :each], axis=1).ravel()
    station = np.repeat(np.arange(STATIONS), each)
    end = time_[chosen]
    names = np.array([f"{one:05d}" for one in range(STATIONS)])
    station_id = pd.Categorical.from_codes(station, categories=names)
    table = pd.DataFrame(
        {
            "station_id": station_id,
            "sensor_id": station_id,
            "time_start": end - np.timedelta64(1, "h"),
            "time_end": end,
            "value": np.round(rng.gamma(2, 9, len(end)), 1),
            "is_reference": pd.array(np.ones(len(end), dtype=bool), dtype="boolean"),
            "flags": np.zeros(len(end), dtype=np.uint32),
        }
    )
    row, column = np.divmod(np.arange(STATIONS), COLUMNS)
    stations = pd.DataFrame(
        {
            "station_id": names,
            "latitude": 30 + 0.75 * row + 0.1,
            "longitude": -20 + 0.75 * column - 0.2,
        }
    )
    return Observations(table, make_stations(stations))


def ours(observations: Observations) -> dict[str, float]:
    """Pair, sum, score and leave out stations with deepcams."""
    clock = Clock()
    pairs = colocate(observations, [make_product()]).pairs
    clock.lap("pairing")
    grouping = Grouping.of(pairs)
    months = grouping.n_months
    group = grouping.station.astype(np.intp) * months + grouping.month
    monthly = Moments.of(
        pairs.table["observed"], pairs.table["cams"], group, STATIONS * months
    ).reshape(STATIONS, months)
    clock.lap("sums")
    station = np.repeat(np.arange(STATIONS), months).reshape(STATIONS, months)
    overall = monthly.pool(station, STATIONS).reshape(STATIONS, 1)
    total = overall.pool(np.zeros(overall.n.shape, dtype=int), 1)
    found = {name: float(METRICS[name](total)[0]) for name in HEADLINE}
    headline = {name: METRICS[name] for name in HEADLINE}
    for table in (monthly, overall):
        for one in estimates(table, headline).values():
            one.interval()
    clock.lap("scores and intervals")
    return {**found, "n": float(total.n[0]), **clock.laps}


def with_pandas(observations: Observations) -> dict[str, float]:
    """Do the same by merging and grouping data frames."""
    clock = Clock()
    field = make_product().field
    stations = observations.stations
    at = field.sel(
        latitude=stations["latitude"].to_xarray(),
        longitude=stations["longitude"].to_xarray(),
        method="nearest",
    ).drop_vars(["latitude", "longitude"])
    at = at.assign_coords(index=stations["station_id"].to_numpy()).rename(index="station_id")
    product = at.to_dataframe("cams").reset_index()
    product["station_id"] = product["station_id"].astype(observations.table["station_id"].dtype)
    merged = observations.table.merge(
        product, left_on=["station_id", "time_end"], right_on=["station_id", "time"]
    )
    clock.lap("pairing")
    month = merged["time_start"].dt.to_period("M")
    error = merged["cams"] - merged["value"]
    merged = merged.assign(
        month=month,
        oo=merged["value"] ** 2,
        mm=merged["cams"].astype(float) ** 2,
        om=merged["value"] * merged["cams"],
        ee=error**2,
        ae=error.abs(),
    )
    columns = ["value", "cams", "oo", "mm", "om", "ee", "ae"]
    groups = merged.groupby(["station_id", "month"], observed=True)
    sums = groups[columns].sum().join(groups.size().rename("n"))
    clock.lap("sums")
    found = score_frame(sums.sum().to_frame().T).iloc[0].to_dict()
    by_station = sums.groupby("station_id", observed=True).sum()
    score_frame(by_station.sum() - by_station).std()
    score_frame(sums.groupby("month").transform("sum") - sums).groupby("month").std()
    clock.lap("scores and intervals")
    return {**found, "n": float(len(merged)), **clock.laps}


def score_frame(sums: pd.DataFrame) -> pd.DataFrame:
    """Return R, RMSE and MAE from raw sums, as a data-frame user would."""
    n = sums["n"]
    cov = sums["om"] / n - sums["value"] * sums["cams"] / n**2
    var_o = sums["oo"] / n - (sums["value"] / n) ** 2
    var_m = sums["mm"] / n - (sums["cams"] / n) ** 2
    r = cov / np.sqrt(var_o * var_m)
    return pd.DataFrame({"r": r, "rmse": np.sqrt(sums["ee"] / n), "mae": sums["ae"] / n})


class Clock:
    """Wall time of consecutive pieces of work."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Record the time since the last call under `name`."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


WAYS: dict[str, Callable[[Observations], dict[str, float]]] = {
    "deepcams": ours,
    "pandas": with_pandas,
}


def measure(way: str, pairs: int) -> None:
    """Run one way in this process and print what it found as JSON."""
    observations = make_observations(pairs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = WAYS[way](observations)
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    found["input_peak_gb"] = before * 1024 / 1e9
    print(json.dumps(found))


def main() -> None:
    """Run both ways, each in its own process, and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000_000)
    parser.add_argument("--way", choices=list(WAYS))
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.pairs)
        return
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--pairs", str(options.pairs), "--way", way]
        found[way] = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
    table = pd.DataFrame(found)
    laps = ["pairing", "sums", "scores and intervals"]
    table.loc["seconds in all"] = table.loc[laps].sum()
    print(table.to_string(float_format=lambda value: f"{value:,.4f}"))
    ratio = table.loc["seconds in all", "pandas"] / table.loc["seconds in all", "deepcams"]
    print(f"deepcams is {ratio:.1f} times as fast")


if __name__ == "__main__":
    main()
