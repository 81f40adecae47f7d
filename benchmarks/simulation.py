"""Measure memory and speed of `deepcams-bench simulation` on global hourly maps.

Run ``python benchmarks/simulation.py``. A month of 744 maps of 721 × 1440 is written once into a
folder that ``--folder`` names (temporary otherwise), 24 maps a file, compressed; then every
baseline but optical flow is run on it in a process of its own, on its first 48 maps in another,
and the same files are only read in a third. ``--hours`` makes the month shorter. Beside the time on
the clock stands that of the processor, which other work on the machine does not lengthen much.
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
from scipy import ndimage

ROWS, COLUMNS = 721, 1440
METHODS = (
    "nearest,linear,linear-eq9,linear-sqrt,pchip,bilinear,bicubic,lanczos,bicubic-ibp,"
    "linear+bicubic,bicubic+linear"
)
FEW_HOURS = 48
FILE_NAME = "GEOS-CF.v01.rpl.chm_tavg_1hr_g1440x721_v1.202003{day:02}_0030z.nc4"

READ = """
import sys
from deepcams_eval.read.product import ProductSpec, open_product
field = open_product(ProductSpec("truth", sys.argv[1], kind="geoscf")).field
print(sum(float(field.isel(time=i).values.sum()) for i in range(field.sizes["time"])))
"""


def write_month(folder: Path, hours: int) -> None:
    """Write hourly maps that drift eastward, 24 a file, unless they are there."""
    rng = np.random.default_rng(0)
    pattern = np.exp(
        ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), 3, mode=("nearest", "wrap")) * 14
    ).astype(np.float32)
    for first in range(0, hours, 24):
        path = folder / FILE_NAME.format(day=first // 24 + 1)
        if path.exists():
            continue
        count = min(24, hours - first)
        work = path.with_suffix(".part")
        with netCDF4.Dataset(work, "w") as data:
            for name, size in (("time", count), ("lev", 1), ("lat", ROWS), ("lon", COLUMNS)):
                data.createDimension(name, size)
            stamps = data.createVariable("time", "i4", ("time",))
            stamps.units = "minutes since 2020-03-01 00:30:00"
            stamps[:] = 60 * (first + np.arange(count))
            for name, values in (
                ("lat", np.linspace(-90, 90, ROWS)),
                ("lon", -180 + 0.25 * np.arange(COLUMNS)),
                ("lev", [72.0]),
            ):
                data.createVariable(name, "f8", (name,))[:] = values
            maps = data.createVariable(
                "PM25_RH35_GCC", "f4", ("time", "lev", "lat", "lon"), zlib=True, complevel=1,
                chunksizes=(1, 1, ROWS, COLUMNS),
            )  # fmt: skip
            maps.units = "ug m-3"
            for hour in range(count):
                noise = rng.normal(1, 0.02, (ROWS, COLUMNS))
                maps[hour, 0] = np.roll(pattern, first + hour, axis=1) * noise
        work.rename(path)


def simulate(truth: str, out: Path) -> dict[str, float]:
    """Run the benchmark command; return its times and peak memory."""
    command = "from deepcams_eval.cli.bench import main; main()"
    options = ["--year", "2020", "--truth", f"{truth},kind=geoscf", "--methods", METHODS]
    times = timed([sys.executable, "-c", command, "simulation", *options, "--out", str(out)])
    said = json.loads((out / "run.json").read_text(encoding="utf-8"))
    peak_gb = said["peak_rss_bytes"] / 1e9
    return {**times, "peak_gb": peak_gb, "frames": said["products"]["truth"]["steps"]}


def timed(command: list[str]) -> dict[str, float]:
    """Run a process; return its time on the clock and on the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - began, "cpu": cpu}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the maps are kept")
    parser.add_argument("--hours", type=int, default=744)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "maps"
        folder.mkdir(parents=True, exist_ok=True)
        write_month(folder, options.hours)
        few = folder.with_name(folder.name + "-few")
        few.mkdir(exist_ok=True)
        for day in range(1, FEW_HOURS // 24 + 1):
            name = FILE_NAME.format(day=day)
            if not (few / name).exists():
                (few / name).hardlink_to(folder / name)
        rows = {
            "only read": timed([sys.executable, "-c", READ, str(folder)])
            | {"frames": options.hours},
            f"{FEW_HOURS} frames": simulate(str(few), Path(temporary) / "few"),
            "month": simulate(str(folder), Path(temporary) / "month"),
        }
    for name, row in rows.items():
        rate = row["frames"] / row["cpu"]
        peak = f"  peak {row['peak_gb']:.2f} GB" if "peak_gb" in row else ""
        frames = f"{row['frames']:5.0f} frames"
        print(
            f"{name:12} {frames} {row['seconds']:8.1f} s, {row['cpu']:8.1f} s of processor, "
            f"{rate:6.2f} frames/s of it{peak}"
        )


if __name__ == "__main__":
    main()
