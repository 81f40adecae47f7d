"""Print how the synthetic archive of `--data demo` resembles the real GEOS-CF frames.

Run ``python benchmarks/nature_run.py``. Where the folder of real files is present
(``$DEEPCAMS_REAL_DATA``, else ``../shared/real``), the same figures of the real frames stand
beside those of the archive, and of blocks of the nature run in climates that are drawn, which
``--data nature`` learns from. The methods compared are written out here on their own, so that
the archive is judged by nothing that is judged on it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import netCDF4
import numpy as np
import numpy.typing as npt
import scipy.io

from deepcams_eval.demo import DemoSettings, demo_archive
from deepcams_eval.demo.nature import NatureRun
from deepcams_eval.demo.settings import Block, Climate

Array = npt.NDArray[np.floating[Any]]

BANDS = {
    "reversed / linear MAE": (1.5, 2.3),
    "flow / linear MAE": (0.6, 0.9),
    "back-projection / bicubic RMSE": (0.85, 0.97),
}
"""Between which the archive's figures must lie."""
FLOW_MARGIN = 64
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


def keys_kernel(x: Array) -> Array:
    """Cubic convolution kernel of Keys (1981) with a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def resize_matrix(count_in: int, count_out: int) -> Array:
    """Weights (count_out, count_in) of a half-pixel bicubic resize, antialiased on reduction."""
    scale = count_out / count_in
    width = max(1.0, 1 / scale)
    centre = (np.arange(count_out) + 0.5) / scale - 0.5
    first = np.floor(centre - 2 * width).astype(int)
    taps = first[:, None] + np.arange(int(np.ceil(4 * width)) + 2)
    weights = keys_kernel((taps - centre[:, None]) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    # Symmetric extension: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
    inside = np.mod(taps, 2 * count_in)
    inside = np.where(inside < count_in, inside, 2 * count_in - 1 - inside)
    matrix = np.zeros((count_out, count_in))
    np.add.at(matrix, (np.arange(count_out)[:, None], inside), weights)
    return matrix


def bicubic_and_backprojection(truth: Array) -> tuple[Array, Array]:
    """Reduce `truth` (rows, columns) by 3; return it enlarged, without and with correction."""
    rows, columns = truth.shape
    down = resize_matrix(rows, rows // 3), resize_matrix(columns, columns // 3)
    up = resize_matrix(rows // 3, rows), resize_matrix(columns // 3, columns)
    coarse = down[0] @ truth @ down[1].T
    bicubic = up[0] @ coarse @ up[1].T
    corrected = bicubic.copy()
    for _ in range(10):
        corrected += up[0] @ (coarse - down[0] @ corrected @ down[1].T) @ up[1].T
    return bicubic, corrected


def flow_frames(
    first: Array, last: Array, fractions: Iterable[float], *, wrap: bool
) -> tuple[list[Array], Array]:
    """Insert frames by optical flow (DIS) on square roots with cubic backward warping.

    Also return how far the flow from the first map reaches, grid steps.
    """
    mode = "wrap" if wrap else "edge"

    def extend(image: Array) -> Array:
        rows = ((0, 0), (FLOW_MARGIN, FLOW_MARGIN)) if wrap else FLOW_MARGIN
        return np.pad(image, rows, mode=mode).astype(np.float32)  # type: ignore[call-overload]

    root = np.sqrt(np.maximum(np.stack([first, last]), 0))
    eight_bit = np.clip(root / np.quantile(root, 0.9995) * 255, 0, 255).astype(np.uint8)
    images = [extend(image).astype(np.uint8) for image in eight_bit]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    forward = dis.calc(images[0], images[1], None)
    backward = dis.calc(images[1], images[0], None)
    maps = [extend(image) for image in (first, last)]
    y, x = np.mgrid[: maps[0].shape[0], : maps[0].shape[1]].astype(np.float32)
    top = 0 if wrap else FLOW_MARGIN
    inner = np.s_[top : top + first.shape[0], FLOW_MARGIN : FLOW_MARGIN + first.shape[1]]

    def warp(image: Array, flow: Array) -> Array:
        return cv2.remap(
            image,
            (x + flow[..., 0]).astype(np.float32),
            (y + flow[..., 1]).astype(np.float32),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )

    frames = []
    for t in fractions:
        to_first = -(1 - t) * t * forward + t * t * backward
        to_last = (1 - t) ** 2 * forward - t * (1 - t) * backward
        blend = (1 - t) * warp(maps[0], to_first) + t * warp(maps[1], to_last)
        frames.append(blend[inner])
    return frames, np.hypot(forward[..., 0], forward[..., 1])[inner]


@dataclass
class Resemblance:
    """Sums over cases of four consecutive hourly maps, and the values themselves."""

    sums: dict[str, list[float]] = field(default_factory=dict)
    values: list[Array] = field(default_factory=list)
    cases: int = 0

    def add_case(self, frames: Array, *, wrap: bool = False) -> None:
        """Take four maps (4, rows, columns) an hour apart, µg m⁻³, north first."""
        first, last = frames[0], frames[3]
        fractions = (1 / 3, 2 / 3)
        by_flow, motion = flow_frames(first, last, fractions, wrap=wrap)
        self._add("median motion", np.median(motion))
        self._add("90th percentile of motion", np.quantile(motion, 0.9))
        for t, target, flowed in zip(fractions, frames[1:3], by_flow, strict=True):
            self._add("linear", np.abs((1 - t) * first + t * last - target).mean())
            self._add("reversed", np.abs(t * first + (1 - t) * last - target).mean())
            self._add("flow", np.abs(flowed - target).mean())
        rows, columns = (count // 3 * 3 for count in first.shape)
        for frame in frames:
            truth = frame[:rows, :columns]
            bicubic, corrected = bicubic_and_backprojection(truth)
            self._add("bicubic", np.sqrt(np.mean((bicubic - truth) ** 2)))
            self._add("backprojection", np.sqrt(np.mean((corrected - truth) ** 2)))
        self.values.append(frames.astype(np.float32).ravel())
        self.cases += 1

    def _add(self, name: str, value: float) -> None:
        self.sums.setdefault(name, []).append(float(value))

    def table(self) -> dict[str, float]:
        """Return the ratios that have a band, and quantiles of all values in µg m⁻³."""
        mean = {name: float(np.mean(values)) for name, values in self.sums.items()}
        everything = np.concatenate(self.values)
        quantiles = dict(zip(QUANTILES, np.quantile(everything, QUANTILES), strict=True))
        return {
            "cases": self.cases,
            "reversed / linear MAE": mean["reversed"] / mean["linear"],
            "flow / linear MAE": mean["flow"] / mean["linear"],
            "back-projection / bicubic RMSE": mean["backprojection"] / mean["bicubic"],
            "median motion, steps in 3 h": mean["median motion"],
            "its 90th percentile": mean["90th percentile of motion"],
            "linear MAE / mean": mean["linear"] / float(everything.mean()),
            "bicubic RMSE / mean": mean["bicubic"] / float(everything.mean()),
            "median": quantiles[0.5],
            "90th percentile": quantiles[0.9],
            "99th percentile": quantiles[0.99],
            "99.9th percentile": quantiles[0.999],
            "maximum": quantiles[1.0],
            "99th percentile / median": quantiles[0.99] / quantiles[0.5],
            "maximum / 99th percentile": quantiles[1.0] / quantiles[0.99],
        }


def demo_cases(root: Path, *, every: int = 12) -> Iterator[Array]:
    """Yield four consecutive hourly means of geoscf/ from every `every`-th hour on."""
    files = sorted((root / "geoscf").glob("*.nc4"))
    for start in range(0, len(files) - 3, every):
        chosen = files[start : start + 4]
        if len({month for month, _ in groupby(chosen, key=lambda path: path.name[-18:-12])}) == 1:
            yield np.stack([_read_frame(path) for path in chosen])


def climate_cases(count: int) -> Iterator[Array]:
    """Yield four consecutive hourly means of each of `count` blocks in climates of their own."""
    for seed in range(count):
        settings = DemoSettings(seed=seed, noise=False)
        climate = Climate.draw(np.random.default_rng(seed))
        maps = NatureRun(settings, Block(2001, seed % 12 + 1, 1), climate).run().mean
        hour = 3 * (seed % 7)  # every time of the day but the last
        yield maps[hour : hour + 4, ::-1].astype(np.float64)


def _read_frame(path: Path) -> Array:
    with netCDF4.Dataset(path) as data:
        return np.asarray(data["PM25_RH35_GCC"][0, 0, ::-1], dtype=np.float64)


def real_frames(folder: Path) -> Array:
    """Return the four real maps, north first."""
    return np.stack([scipy.io.loadmat(folder / f"0{i}.mat")["data"] for i in (1, 2, 3, 4)])


def measure_demo(root: Path, *, every: int = 12) -> dict[str, float]:
    """Return the resemblance table of an archive."""
    result = Resemblance()
    for frames in demo_cases(root, every=every):
        result.add_case(frames)
    return result.table()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, help="an archive that exists already")
    parser.add_argument("--every", type=int, default=12, help="hours between cases (default 12)")
    parser.add_argument("--climates", type=int, default=24, help="blocks drawn (default 24)")
    options = parser.parse_args()
    began = time.perf_counter()
    root = options.archive or demo_archive(DemoSettings())
    print(f"archive {root} ({time.perf_counter() - began:.1f} s)")
    climates = Resemblance()
    for frames in climate_cases(options.climates):
        climates.add_case(frames)
    tables = {"demo": measure_demo(root, every=options.every), "climates": climates.table()}
    beside = Path(__file__).resolve().parents[2] / "shared" / "real"
    real = Path(os.environ.get("DEEPCAMS_REAL_DATA", beside)) / "geoscf"
    if real.is_dir():
        frames = real_frames(real)
        for name, window, wrap in (
            ("real, globe", np.s_[:, :720], True),
            ("real, same box", np.s_[:, 120:217, 684:853], False),
        ):
            result = Resemblance()
            result.add_case(frames[window], wrap=wrap)
            tables[name] = result.table()
    print(f"{'':32}" + "".join(f"{name:>16}" for name in tables))
    for row in tables["demo"]:
        band = "  band {} to {}".format(*BANDS[row]) if row in BANDS else ""
        print(f"{row:32}" + "".join(f"{table[row]:16.4g}" for table in tables.values()) + band)


if __name__ == "__main__":
    main()
