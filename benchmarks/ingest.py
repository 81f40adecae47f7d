"""Files and rows a second from an OpenAQ archive to compacted Parquet, beside pandas in a loop.

    python benchmarks/ingest.py [--files 50000]

Writes that many files of the archive, a day of 24 rows each, to a temporary folder, and takes
them in three ways, each in a process of its own: listed, read, checked and compacted with the
manifest, as `deepcams-eval fetch openaq` does (the folder stands where the bucket would); parsed
one by one with `pandas.read_csv`, kept as one frame and written nowhere; and decompressed, which
is the floor. All files are read by each. Wall time is that of the work without the start of
Python; memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from deepcams_eval.fetch.openaq import fetch_openaq
from deepcams_eval.fetch.openaq_archive import Archive
from deepcams_eval.fetch.openaq_catalogue import STATION_COLUMNS, Catalogue, Wanted
from deepcams_eval.fetch.openaq_compact import check_table

YEAR, ROWS = 2018, 24
HEADER = "location_id,sensors_id,location,datetime,lat,lon,parameter,units,value\n"


def write_archive(root: Path, files: int) -> None:
    """Write `files` files under `root`, a location a year long after the other."""
    rng = np.random.default_rng(0)
    days = [date(YEAR, 1, 1) + timedelta(days=number) for number in range(365)]
    for number in range(files):
        location, day = 1_000 + number // len(days), days[number % len(days)]
        folder = root / f"records/csv.gz/locationid={location}/year={YEAR}/month={day:%m}"
        folder.mkdir(parents=True, exist_ok=True)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        place = f"{location},{location}5,Somewhere {location}-{location}"
        position = f"{40 + location % 70 / 10:.4f},{location % 360 - 180:.4f}"
        lines = [
            f"{place},{midnight + timedelta(hours=hour + 1):%Y-%m-%dT%H:%M:%S}+02:00,"
            f"{position},pm25,µg/m³,{value:.1f}\n"
            for hour, value in enumerate(rng.gamma(2, 9, ROWS))
        ]
        name = f"location-{location}-{day:%Y%m%d}.csv.gz"
        (folder / name).write_bytes(gzip.compress((HEADER + "".join(lines)).encode(), mtime=0))


def compacted(root: Path) -> int:
    """List, read, check and compact with deepcams; return the rows."""
    locations = sorted(path.name.partition("=")[2] for path in (root / "records/csv.gz").iterdir())
    stations = pd.DataFrame({"station_id": locations}).reindex(columns=list(STATION_COLUMNS))
    for name in ("sensor_id", "country"):
        stations[name] = stations["station_id"]
    archive = Archive(root.as_uri(), check=check_table)
    try:
        outcome = fetch_openaq(
            Wanted((YEAR,)),
            root / "data",
            lambda _: Catalogue(stations, {}),
            archive,
            confirm=lambda *_: True,
            report=lambda *_: None,
        )
    finally:
        archive.close()
    if outcome is None or outcome.missing:
        raise SystemExit(f"not all was compacted: {outcome}")
    return sum(
        int(pd.read_parquet(path, columns=["rows"])["rows"].sum())
        for path in (root / "data/openaq/_manifest").rglob("part-*.parquet")
    )


def parsed_by_pandas(root: Path) -> int:
    """Parse file by file, as a data-frame user would; return the rows."""
    frames = [pd.read_csv(path) for path in sorted(root.glob("records/**/*.csv.gz"))]
    return len(pd.concat(frames, ignore_index=True))


def decompressed(root: Path) -> int:
    """Decompress file by file; return the rows."""
    return sum(
        gzip.decompress(path.read_bytes()).count(b"\n") - 1
        for path in sorted(root.glob("records/**/*.csv.gz"))
    )


WAYS: dict[str, Callable[[Path], int]] = {
    "deepcams": compacted,
    "pandas": parsed_by_pandas,
    "gunzip": decompressed,
}


def run_one(way: str, root: Path) -> None:
    """Run one way in this process and print what it took."""
    began, cpu = time.perf_counter(), time.process_time()
    rows = WAYS[way](root)
    print(
        json.dumps(
            {
                "rows": rows,
                "wall_s": time.perf_counter() - began,
                "cpu_s": time.process_time() - cpu,
                "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            }
        )
    )


def main() -> None:
    """Write the files, run each way, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run_one(options.way, options.root)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_archive(root, options.files)
        results = {}
        print(f"{options.files:,} files of {ROWS} rows")
        print(f"{'way':<10}{'files/s':>10}{'rows/s':>12}{'wall s':>9}{'cpu s':>9}{'peak GB':>9}")
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--root", folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            result = results[way] = json.loads(done.stdout)
            if result["rows"] != options.files * ROWS:
                raise SystemExit(f"{way} found {result['rows']} rows")
            wall = result["wall_s"]
            print(
                f"{way:<10}{options.files / wall:>10,.0f}{result['rows'] / wall:>12,.0f}"
                f"{wall:>9.1f}{result['cpu_s']:>9.1f}{result['peak_gb']:>9.2f}"
            )
        ratio = results["pandas"]["wall_s"] / results["deepcams"]["wall_s"]
        print(f"deepcams takes the files in {ratio:.1f} times as fast as pandas.read_csv in a loop")


if __name__ == "__main__":
    main()
