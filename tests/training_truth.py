"""Truth made of a blob that moves, for networks to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepcams_models.data import Truth


def blob(row: float, column: float, shape: tuple[int, int], width: float = 5.0) -> np.ndarray:
    """Return a Gaussian of 40 µg m⁻³ on 2 µg m⁻³."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    square = (rows - row) ** 2 + (columns - column) ** 2
    return (2 + 40 * np.exp(-square / (2 * width**2))).astype(np.float32)


def moving_blob(
    days: Sequence[int] = tuple(range(0, 20, 2)),
    shape: tuple[int, int] = (36, 48),
    speed: float = 1.5,
    width: float = 3.0,
    seed: int = 0,
) -> Truth:
    """Return hourly maps of blobs that are carried round the region, on the days given."""
    rng = np.random.default_rng(seed)
    hours = np.concatenate([24 * day + np.arange(24) for day in days])
    row, column, angle = rng.uniform(8, 28), rng.uniform(8, 40), rng.uniform(0, 2 * np.pi)
    places = [
        (
            (row + speed * hour * np.sin(angle)) % shape[0],
            (column + speed * hour * np.cos(angle)) % shape[1],
        )
        for hour in hours
    ]
    return Truth(
        values=np.stack([blob(*place, shape, width) for place in places]),
        hours=hours.astype(np.int64),
        latitude=45 + 0.25 * np.arange(shape[0]),
        longitude=0.25 * np.arange(shape[1]),
        stamp="mean",
        years=(1970,),
        source="moving blobs",
        synthetic=True,
    )
