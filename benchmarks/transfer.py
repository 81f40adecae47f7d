"""Print how a network does on held-out synthetic maps that are unlike those it learned from.

    python benchmarks/transfer.py [CHECKPOINT ...] [--maps 8]

Held-out days of the synthetic archive, with noise, and blocks of the nature run, without, each in
a climate of its own and none of those that ``--seed 0`` learns from: as they are, times 0.1 and 10
(the air of an ocean, and smoke), and, in time, stretched along longitude as maps near a pole are,
and with a daily cycle that stays in its place. Each row gives RMSE and MAE as shares of those of
the best method without learning on the same maps: below 1 is better. Without a checkpoint, those
that come with the package are scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from deepcams_eval.downscale.degrade import degradation
from deepcams_models.checkpoint import load
from deepcams_models.data import Enlargements, Intervals, Truth, load_truth, nature_truth
from deepcams_models.methods import SHIPPED
from deepcams_models.networks import NETWORKS
from deepcams_models.normalise import Normalisation
from deepcams_models.train import TrainSettings
from deepcams_models.validate import EnlargementValidation, IntervalValidation

DAYS = 6
BLOCKS = 12
SEED = 1
LEVEL = 10.0  # µg m⁻³: the mean of each block, so that the haze of one does not decide
STRETCH = 3


def held_out(data: str) -> Truth:
    """Return the first held-out days of the archive, or blocks of the nature run."""
    settings = {"network": "xvfi", "preset": "recommended", "data": data}
    if data == "nature":
        settings |= {"seed": SEED, "nature_blocks": BLOCKS}
        truth = nature_truth(TrainSettings.make(settings))
        values = truth.values.reshape(BLOCKS, -1)
        level = values.mean(axis=1, keepdims=True) / LEVEL
        return replace(truth, values=(values / level).reshape(truth.values.shape))
    _, truth = load_truth(TrainSettings.make(settings))
    return truth.at(np.arange(len(truth.hours)) < 24 * DAYS)


def times(factor: float) -> Callable[[Truth], Truth]:
    """Return what multiplies every value."""
    return lambda truth: replace(truth, values=truth.values * np.float32(factor))


def stretched(truth: Truth) -> Truth:
    """Return the western part, `STRETCH` times as wide."""
    columns = truth.values.shape[2] // STRETCH
    wide = ndimage.zoom(truth.values[:, :, :columns], (1, 1, STRETCH), order=3)
    longitude = truth.longitude[0] + 0.25 / STRETCH * np.arange(wide.shape[2])  # as the sun sees
    return replace(truth, values=np.maximum(wide, 0).astype(np.float32), longitude=longitude)


def cycled(truth: Truth) -> Truth:
    """Return values that rise and fall once a day, most where a smooth pattern is large."""
    noise = np.random.default_rng(0).standard_normal(truth.values.shape[1:])
    pattern = ndimage.gaussian_filter(noise, 4.0)
    share = np.sin(2 * np.pi * truth.hours / 24)[:, None, None]
    grown = truth.values * np.exp(0.3 * pattern / pattern.std() * share)
    return replace(truth, values=grown.astype(np.float32))


CASES: dict[str, Callable[[Truth], Truth]] = {
    "as they are": lambda truth: truth,
    "times 0.1": times(0.1),
    "times 10": times(10),
    f"stretched {STRETCH} times": stretched,
    "daily cycle": cycled,
}


def score(path: Path, maps: int) -> None:
    """Print the table of one checkpoint."""
    network, card = load(path)
    normalisation = Normalisation.from_dict(card.normalisation)
    print(f"{path}: {card.network}, learned from {card.data}")
    for data in ("demo", "nature"):
        truth = held_out(data)
        for name, change in CASES.items():
            validation: IntervalValidation | EnlargementValidation
            if NETWORKS[card.network].task == "temporal":
                intervals = Intervals(change(truth), kept_only=True)
                validation = IntervalValidation(intervals, maps)
            elif change in (stretched, cycled):
                continue
            else:
                operator = degradation(card.degradation or "")
                validation = EnlargementValidation(Enlargements(change(truth), operator), maps)
            found = validation(network, normalisation, torch.device("cpu"))
            best = list(found.baselines)[-1]
            rmse, mae = (
                getattr(found.network, metric) / getattr(found.baselines[best], metric)
                for metric in ("rmse", "mae")
            )
            print(
                f"  {data:<7} {name:<18} RMSE {rmse:.3f}  MAE {mae:.3f}  of {best}",
                flush=True,
            )


def main() -> None:
    """Parse the command line and score each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shipped = [SHIPPED / name for name in ("xvfi", "abpn", "abpn-node")]
    parser.add_argument("checkpoints", nargs="*", type=Path, default=shipped)
    parser.add_argument("--maps", type=int, default=8, help="Held-out maps, or intervals.")
    options = parser.parse_args()
    for path in options.checkpoints:
        score(path, options.maps)


if __name__ == "__main__":
    main()
