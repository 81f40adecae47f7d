"""Coverage of the intervals, on populations whose scores are known.

    python benchmarks/coverage.py [--samples 4000] [--seed 0]

Stations are drawn from large populations whose pooled score is the truth; two products of a
population are equally good by construction, so that an interval of their difference should hold
zero. ``normal`` has normal errors, ``pm`` log-normal concentrations with episodes, as PM2.5 has;
``unequal`` stations report between 30 and 1,500 hours. For skill over days, daily differences
follow each other with a given correlation; days are those of a leap year, or three in each month.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from deepcams_eval.score.intervals import estimates
from deepcams_eval.score.metrics import HEADLINE_METRICS
from deepcams_eval.score.moments import Moments

STATIONS = (5, 8, 15, 50, 200)
_POPULATION = 12_000
_BATCH = 400


def main() -> None:
    """Print the table of coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    table = pd.DataFrame(list(of_stations(asked.samples, rng)))
    print(table.round(3).to_string(index=False))


def of_stations(samples: int, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """Yield a row a population and number of stations."""
    for kind in ("normal", "pm", "pm, unequal"):
        ours, theirs = population(kind, rng)
        truth = {name: score(ours.merged())[0] for name, score in HEADLINE_METRICS.items()}
        for count in STATIONS:
            row: dict[str, object] = {"population": kind, "stations": count}
            drawn = rng.integers(0, len(ours.n), (count, samples))
            one, other = (
                estimates(sums.map(lambda values: values[drawn]), HEADLINE_METRICS)  # noqa: B023
                for sums in (ours, theirs)
            )
            for name in HEADLINE_METRICS:
                row[name] = _held(one[name].interval(), truth[name])
                row[f"d_{name}"] = _held((one[name] - other[name]).interval(), 0.0)
            yield row


def _held(interval: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    low, high = interval
    return float(np.mean((low <= truth) & (truth <= high)))


def population(kind: str, rng: np.random.Generator) -> tuple[Moments, Moments]:
    """Return the sums by station of two products that are equally good."""
    parts = [_stations(kind, rng) for _ in range(_POPULATION // 2 // _BATCH)]
    one, other = (Moments.joined(made) for made in zip(*parts, strict=True))
    # Each station also with the products exchanged, so that neither is better.
    return Moments.joined([one, other]), Moments.joined([other, one])


def _stations(kind: str, rng: np.random.Generator) -> tuple[Moments, Moments]:
    """Return the sums of `_BATCH` stations and two products."""
    hours = np.full(_BATCH, 1000)
    if kind == "pm, unequal":
        hours = (10 ** rng.uniform(np.log10(30), np.log10(1500), _BATCH)).astype(int)
    size = (_BATCH, int(hours.max()))
    observed, products = (_normal if kind == "normal" else _pm)(size, rng)
    there = np.arange(size[1]) < hours[:, None]
    station = np.repeat(np.arange(_BATCH), hours)
    one, other = (Moments.of(observed[there], made[there], station, _BATCH) for made in products)
    return one, other


def _normal(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    level, signal = rng.normal(20, 4, (size[0], 1)), _memory(size, 0.95, 8.0, rng)
    products = [
        level + rng.normal(0, 2.5, (size[0], 1)) + 0.7 * signal + _memory(size, 0.97, 5.0, rng)
        for _ in range(2)
    ]
    return level + signal, products


def _pm(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Log-normal levels and weather, with episodes of a Pareto distribution that fade in hours."""
    level = rng.normal(0, 0.6, (size[0], 1))
    weather, local = _memory(size, 0.985, 0.5, rng), _memory(size, 0.8, 0.35, rng)
    began = np.where(rng.random(size) < 0.002, rng.pareto(2.0, size), 0.0)
    episode = lfilter([1], [1, -0.85], began, axis=1)
    observed = np.minimum(18 * np.exp(level + weather + local) * (1 + episode), 1000.0)
    shared = rng.normal(0, 0.35, (size[0], 1)) + _memory(size, 0.97, 0.3, rng)
    products = [
        18
        * np.exp(
            0.75 * level
            + shared
            + rng.normal(0, 0.12, (size[0], 1))
            + 0.85 * weather
            + _memory(size, 0.95, 0.15, rng)
        )
        for _ in range(2)
    ]
    return observed, products


def _memory(
    size: tuple[int, int], keep: float, spread: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a series for each station whose hours remember the one before."""
    white = rng.standard_normal(size) * np.sqrt(1 - keep**2)
    white[:, 0] /= np.sqrt(1 - keep**2)
    return spread * lfilter([1], [1, -keep], white, axis=1)


if __name__ == "__main__":
    main()
