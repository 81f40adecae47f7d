"""Paired differences of scores between a fine product and what it is measured against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from deepcams_eval.core.arrays import BoolArray, IntArray
from deepcams_eval.core.field import FloatArray
from deepcams_eval.evidence.added_value.sample import Array, Sample
from deepcams_eval.evidence.added_value.verdicts import Enough, verdict_of
from deepcams_eval.score import intervals
from deepcams_eval.score.metrics import HEADLINE_METRICS
from deepcams_eval.score.moments import Moments

EARTH_RADIUS_KM = 6371.0
NEIGHBOUR_KM = 50.0
"""Stations within this distance of a station make its density."""

_NEIGHBOURS = ((0, "0"), (1, "1-2"), (3, "3-9"), (10, "10 or more"))
_CONCENTRATION = ((-np.inf, "< 10"), (10, "10-25"), (25, "25-50"), (50, ">= 50"))
_DISTANCE_KM = ((0, "< 15 km"), (15, "15-30 km"), (30, ">= 30 km"))
_HOURS = ("kept", "inserted")


def _labels(classes: tuple[tuple[float, str], ...]) -> tuple[str, ...]:
    return tuple(label for _, label in classes)


STRATA: Mapping[str, tuple[str, ...]] = {
    "all": ("all",),
    "hours": _HOURS,
    "neighbours": _labels(_NEIGHBOURS),
    "observed": _labels(_CONCENTRATION),
    "level": _labels(_CONCENTRATION),
    "centre": _labels(_DISTANCE_KM),
}
"""The values of each stratum in order."""

_KEYS = ("product", "reference", "stratum", "value", "n", "stations", "days")


def columns() -> Iterator[str]:
    """Yield the columns of ``added_value.csv``."""
    yield from _KEYS
    for name in HEADLINE_METRICS:
        yield from (name, f"reference_{name}", f"d_{name}", f"d_{name}_lo", f"d_{name}_hi")
    yield "verdict"


def compare(sample: Sample) -> pd.DataFrame:
    """Return the differences of each fine product from its parent and from each reference.

    Both are scored on the same pairs, those for which both have a value: with the parent these
    are the kept hours, with a reference all hours. A difference is product − reference, and its
    95 % interval resamples stations with the draws of ``scores.csv``.

    Returns
    -------
    pandas.DataFrame
        Columns of `columns`, one row a product × reference × value of a stratum. ``stratum`` is

        - ``all``;
        - ``hours``: ``kept`` (the parent has a value of its own) or ``inserted``;
        - ``neighbours``: other stations of the run within 50 km;
        - ``observed``: class of the observed value, µg m⁻³;
        - ``level``: class of the mean of product and reference, µg m⁻³;
        - ``centre``: distance of the station from the centre of its cell of the parent.

        Errors are in µg m⁻³; NaN where undefined or, for an interval, with fewer than 5
        stations. ``verdict`` goes by MAE (`verdicts.verdict_of`).
    """
    parts = []
    for product in sample.fine:
        against = {sample.parent: sample.parent, **sample.references}
        for reference, column in against.items():
            if column == product:
                continue
            rows = sample.has(product, column)
            if not rows.any():
                continue
            part = _compare_one(sample, product, column, rows)
            part.insert(0, "product", product)
            part.insert(1, "reference", reference)
            parts.append(part)
    if not parts:
        return pd.DataFrame(columns=list(columns()))
    return pd.concat(parts, ignore_index=True)[list(columns())]


def neighbours(latitude: Array, longitude: Array, within_km: float = NEIGHBOUR_KM) -> IntArray:
    """Return how many other stations lie within some distance of each, along great circles.

    Parameters
    ----------
    latitude, longitude : ndarray, shape (stations,)
        Degrees, without NaN.
    within_km : float
        Distance, km.
    """
    tree = cKDTree(_on_sphere(latitude, longitude))
    chord = 2 * np.sin(within_km / EARTH_RADIUS_KM / 2)
    found = tree.query_ball_point(tree.data, chord, return_length=True)
    return np.asarray(found) - 1


def distance_km(
    latitude: Array, longitude: Array, to_latitude: FloatArray, to_longitude: FloatArray
) -> Array:
    """Return the great-circle distance between points, degrees in, km out."""
    chord = _on_sphere(latitude, longitude) - _on_sphere(to_latitude, to_longitude)
    half = np.minimum(np.linalg.norm(chord, axis=-1) / 2, 1.0)
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(half))


def centre_distances(sample: Sample) -> Array:
    """Return the distance of each station from the centre of its cell of the parent, km.

    NaN for a station outside the parent's grid.
    """
    grid = sample.grids[sample.parent]
    cell = sample.cells(sample.parent)
    row, column = np.divmod(np.maximum(cell, 0), len(grid.longitude))
    distance = distance_km(
        sample.latitude, sample.longitude, grid.latitude[row], grid.longitude[column]
    )
    return np.where(cell >= 0, distance, np.nan)


@dataclass(frozen=True)
class _Stratum:
    """A grouping of pairs: the code of each (station, column of the sums)."""

    name: str
    labels: tuple[str, ...]
    code: IntArray


def _compare_one(sample: Sample, product: str, column: str, rows: BoolArray) -> pd.DataFrame:
    station = sample.station[rows].astype(np.intp)
    observed = sample.observed[rows]
    ours, theirs = sample.values(product)[rows], sample.values(column)[rows]
    kept = sample.kept()[rows]
    classes = (
        np.where(kept, 0, 1),
        _class_of(observed, _CONCENTRATION),
        _class_of((ours.astype(np.float64) + theirs) / 2, _CONCENTRATION),
    )
    shape = (len(_HOURS), len(_CONCENTRATION), len(_CONCENTRATION))
    joint = np.ravel_multi_index(classes, shape)
    size, n_stations = int(np.prod(shape)), len(sample.stations)
    sums = [
        Moments.of(observed, one, station * size + joint, n_stations * size).reshape(
            n_stations, size
        )
        for one in (ours, theirs)
    ]
    strata = _strata(sample, shape)
    day = sample.hour[rows] // 24
    pooled = [Moments.joined([_pool(one, stratum) for stratum in strata]) for one in sums]
    table = pd.DataFrame(
        intervals.differences(pooled[0], pooled[1], sample.draws, HEADLINE_METRICS)
    )
    table.insert(0, "stratum", [one.name for one in strata for _ in one.labels])
    table.insert(1, "value", [label for one in strata for label in one.labels])
    days = [_distinct_days(day, one.code[station, joint], len(one.labels)) for one in strata]
    table.insert(4, "days", np.concatenate(days))
    table["verdict"] = [
        verdict_of(low, high, Enough(stations, day), lower_is_better=True)
        for low, high, stations, day in zip(
            table["d_mae_lo"], table["d_mae_hi"], table["stations"], table["days"], strict=True
        )
    ]
    return table[table["n"] > 0]


def _strata(sample: Sample, shape: tuple[int, ...]) -> list[_Stratum]:
    hours, observed, level = np.unravel_index(np.arange(np.prod(shape)), shape)
    n_stations = len(sample.stations)
    near = _class_of(neighbours(sample.latitude, sample.longitude), _NEIGHBOURS)
    # A station outside the parent's grid has no pair to be compared, so its class is of no matter.
    centre = _class_of(np.nan_to_num(centre_distances(sample)), _DISTANCE_KM)

    def of_column(code: IntArray) -> IntArray:
        return np.broadcast_to(code, (n_stations, len(code)))

    def of_station(code: IntArray) -> IntArray:
        return np.broadcast_to(code[:, None], (n_stations, len(hours)))

    codes = {
        "all": of_column(np.zeros_like(hours)),
        "hours": of_column(hours),
        "neighbours": of_station(near),
        "observed": of_column(observed),
        "level": of_column(level),
        "centre": of_station(centre),
    }
    return [_Stratum(name, labels, codes[name]) for name, labels in STRATA.items()]


def _pool(sums: Moments, stratum: _Stratum) -> Moments:
    n_stations, size = len(sums.n), len(stratum.labels)
    code = np.arange(n_stations)[:, None] * size + stratum.code
    return sums.pool(code, n_stations * size).reshape(n_stations, size)


def _distinct_days(day: IntArray, code: IntArray, size: int) -> IntArray:
    met = np.bincount(day * size + code, minlength=(int(day.max()) + 1) * size)
    return np.asarray((met.reshape(-1, size) > 0).sum(axis=0))


def _class_of(values: Any, classes: tuple[tuple[float, str], ...]) -> IntArray:
    """Return the number of the class, each beginning at its edge, that every value lies in."""
    edges = [edge for edge, _ in classes[1:]]
    return np.asarray(np.searchsorted(edges, values, side="right"))


def _on_sphere(latitude: FloatArray, longitude: FloatArray) -> Array:
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
