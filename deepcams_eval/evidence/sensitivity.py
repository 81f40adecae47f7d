"""Sensitivity: how far each choice of the validation moves the answer.

Every choice is made the other way by itself, everything else left as it is, and all products are
scored again on their common sample. Beside it stands what the products differ by, so that a reader
sees whether a choice weighs more than the products.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import KDTree

from deepcams_eval.core.field import Product, spacing_deg, stamp_of
from deepcams_eval.core.grid import find_cells
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.errors import NoDataError
from deepcams_eval.pair.averages import PERIODS, average_pairs
from deepcams_eval.pair.colocate import Compute, colocate
from deepcams_eval.pair.qc import RULES
from deepcams_eval.pair.samples import sample_rows
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.score.metrics import HEADLINE_METRICS
from deepcams_eval.score.moments import Moments

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Years = Mapping[str, Collection[int]]

SENSITIVITY = "sensitivity"
NEIGHBOUR_KM = 50.0
"""In "weighted by density" a station weighs 1 / the stations within this distance of it."""

COLUMNS = (
    "family",
    "choice",
    "product",
    "n",
    "stations",
    "r",
    "rmse",
    "mae",
    "d_r",
    "d_rmse",
    "d_mae",
    "baseline",
    "gain_r",
    "gain_rmse",
    "gain_mae",
)
AS_SET = "as set"
_EARTH_RADIUS_KM = 6371.0088
_HOUR_US = 3_600_000_000
# Rows of other years are no choice of quality; those without a place cannot be paired.
_NO_CHOICE = ("outside_years", "coordinates")


def sensitivity(
    observations: Observations,
    products: Sequence[Product],
    pairs: Pairs,
    years_with_data: Years,
    *,
    baseline: str,
    compute: Compute | None = None,
) -> Evidence:
    """Return the scores of every product under every choice.

    Parameters
    ----------
    observations : Observations
        After QC, flagged rows included.
    products : sequence of Product
        As colocated; they are read twice more.
    pairs : Pairs
        As scored, with the columns of `products`.
    years_with_data : mapping of str to collection of int
        As in `deepcams_eval.pair.samples.sample_rows`.
    baseline : str
        The product that the gains are taken from.
    compute : callable, optional
        As in `deepcams_eval.pair.colocate.colocate`.

    Returns
    -------
    Evidence
        With the frame ``sensitivity``: one row a choice × product, of the columns `COLUMNS`.
        ``d_…`` is the score less that of ``as set``, ``gain_…`` the score less that of the
        baseline under the same choice, on the pairs of the common sample that both have (NaN for
        the baseline). Errors in µg m⁻³. A choice that
        changes no pair, or leaves no common sample, has no row.
    """
    parts = [_scored(pairs, years_with_data, baseline, "", AS_SET)]
    variants = (
        *_station_choices(pairs, years_with_data, products),
        *_averages(pairs, years_with_data),
        *_middle_of_hour(pairs, products),
        *_matching(observations, products, compute),
        *_rules_off(observations, products, compute),
    )
    for family, choice, changed, weight in variants:
        try:
            parts.append(_scored(changed, years_with_data, baseline, family, choice, weight))
        except NoDataError:
            continue
    table = pd.concat(parts, ignore_index=True)
    return Evidence(SENSITIVITY, {SENSITIVITY: _beside(table)})


def _scored(
    pairs: Pairs,
    years: Years,
    baseline: str,
    family: str,
    choice: str,
    weight: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return n, scores and gains on the common sample, stations weighted if asked for.

    Raises
    ------
    NoDataError
        If a product has no pair on it.
    """
    rows = sample_rows(pairs, years)["common"]
    station, names = codes_of(pairs.table["station_id"])
    weights = np.array([1.0 if weight is None else weight[str(name)] for name in names])
    observed = pairs.table["observed"].to_numpy()

    def sums(product: str, chosen: BoolArray) -> Moments:
        estimate = pairs.table[product].to_numpy()[chosen]
        return Moments.of(observed[chosen], estimate, station[chosen], len(names))

    def total(by_station: Moments) -> dict[str, float]:
        pooled = by_station.scaled(weights).merged()
        return {name: float(score(pooled)[0]) for name, score in HEADLINE_METRICS.items()}

    lines = []
    for product in pairs.products:
        if not rows[product].any():
            raise NoDataError(f"{product} has no common sample")
        by_station = sums(product, rows[product])
        line: dict[str, Any] = {"family": family, "choice": choice, "product": product}
        line |= {"n": int(rows[product].sum()), "stations": int((by_station.n > 0).sum())}
        line |= {"baseline": baseline, **total(by_station)}
        both = rows[product] & rows[baseline]
        if product != baseline and both.any():
            ours, theirs = total(sums(product, both)), total(sums(baseline, both))
            line |= {f"gain_{name}": ours[name] - theirs[name] for name in HEADLINE_METRICS}
        lines.append(line)
    return pd.DataFrame(lines, columns=[one for one in COLUMNS if not one.startswith("d_")])


def _beside(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with changes from what is set, without choices that change nothing."""
    as_set = table[table["choice"] == AS_SET].set_index("product")
    for name in HEADLINE_METRICS:
        table[f"d_{name}"] = table[name] - table["product"].map(as_set[name])
    same = table["product"].map(as_set["n"]) == table["n"]
    still = table[[f"d_{name}" for name in HEADLINE_METRICS]].abs().max(axis="columns") == 0
    unchanged = (same & still).groupby(table["choice"]).transform("all")
    return table[~unchanged | (table["choice"] == AS_SET)][list(COLUMNS)].reset_index(drop=True)


Variant = tuple[str, str, Pairs, Mapping[str, float] | None]


def _rules_off(
    observations: Observations, products: Sequence[Product], compute: Compute | None
) -> Iterator[Variant]:
    """Yield the pairs with the rows that one rule alone had flagged; all are read together."""
    flags = observations.table["flags"].to_numpy()
    rules = {name: bit for name, bit in RULES.items() if name not in _NO_CHOICE}
    rules = {name: bit for name, bit in rules.items() if (flags == bit).any()}
    if not rules:
        return
    relaxed = np.where(np.isin(flags, list(rules.values())), 0, flags).astype(flags.dtype)
    table = observations.table.assign(flags=relaxed)
    # This rule alone holds back records of another length: without it they pair at their end.
    of_any_length = "averaging_period" in rules
    found = colocate(
        observations.with_table(table), products, hourly_only=not of_any_length, compute=compute
    )
    flag_of_pair = flags[found.rows]
    for name, bit in rules.items():
        yield (
            "quality control",
            f"without the rule {name.replace('_', ' ')}",
            _taken(found.pairs, (flag_of_pair == 0) | (flag_of_pair == bit)),
            None,
        )


def _matching(
    observations: Observations, products: Sequence[Product], compute: Compute | None
) -> Iterator[Variant]:
    found = colocate(observations, products, matching="bilinear", compute=compute)
    yield "matching", "bilinear between cell centres", found.pairs, None


def _middle_of_hour(pairs: Pairs, products: Sequence[Product]) -> Iterator[Variant]:
    """Yield pairs whose hourly point values are those of the middle of the observed hour.

    That is the mean of the values at both ends of the hour, the earlier taken from the pair that
    the station has an hour before.
    """
    changed = [
        product.name
        for product in products
        if stamp_of(product.field) == "point" and _step_h(product) == 1
    ]
    if not changed:
        return
    before = _an_hour_before(pairs)
    table = pairs.table.copy()
    for name in changed:
        values = table[name].to_numpy()
        earlier = np.where(before >= 0, values[before], np.nan)
        table[name] = ((values + earlier) / 2).astype(np.float32)
    yield "matching", "middle of the hour", Pairs(table, pairs.products), None


def _an_hour_before(pairs: Pairs) -> npt.NDArray[np.int64]:
    """Return the row of the same station an hour earlier; −1 where there is none."""
    station, _ = codes_of(pairs.table["station_id"])
    hour = pairs.table["time_start"].to_numpy().astype("datetime64[us]").astype(np.int64)
    span = int(hour.max() - hour.min()) + 2 * _HOUR_US
    key = station.astype(np.int64) * span + hour - hour.min() + _HOUR_US
    order = np.argsort(key, kind="stable")
    place = np.searchsorted(key[order], key - _HOUR_US)
    found = order[np.minimum(place, len(order) - 1)]
    return np.where(key[found] == key - _HOUR_US, found, -1)


def _averages(pairs: Pairs, years: Years) -> Iterator[Variant]:
    for period in PERIODS:
        try:
            made = average_pairs(pairs, years, period)
        except NoDataError:
            continue
        yield "averaging", f"means of a {period}", made.pairs, None


def _station_choices(pairs: Pairs, years: Years, products: Sequence[Product]) -> Iterator[Variant]:
    """Yield other ways of counting stations: by cell, one a cell, by density, by kind."""
    table = pairs.table
    common = sample_rows(pairs, years)["common"]
    rows = np.logical_or.reduce(list(common.values()))
    station, names = codes_of(table["station_id"])
    first = np.unique(station, return_index=True)[1]
    latitude = table["latitude"].to_numpy()[first]
    longitude = table["longitude"].to_numpy()[first]
    cell = _cell_of(latitude, longitude, products)
    yield (
        "stations",
        "mean of the stations of a cell",
        _cell_means(pairs, rows, cell[station]),
        None,
    )
    counted = np.bincount(station[rows], minlength=len(names))
    order = np.lexsort((names, -counted, cell))
    most = np.zeros(len(names), dtype=bool)
    most[order[np.unique(cell[order], return_index=True)[1]]] = True
    yield "stations", "the fullest station of each cell", _taken(pairs, most[station]), None
    weight = dict(zip(names.astype(str), 1 / _neighbours(latitude, longitude), strict=True))
    yield "stations", "weighted by density", pairs, weight
    reference = (table["station_kind"] == "reference").to_numpy()
    if 0 < reference.sum() < len(reference):
        yield "stations", "reference monitors only", _taken(pairs, reference), None


def _cell_of(
    latitude: Array, longitude: Array, products: Sequence[Product]
) -> npt.NDArray[np.int64]:
    """Return the cell of each station on the finest grid; a station beyond it has one alone."""
    finest = min(products, key=lambda product: spacing_deg(product.field["latitude"].values))
    grid = finest.field["latitude"].values, finest.field["longitude"].values
    row, column = find_cells(latitude, longitude, *grid)
    alone = -1 - np.arange(len(latitude))
    return np.where(row >= 0, row * len(grid[1]) + column, alone).astype(np.int64)


def _cell_means(pairs: Pairs, rows: BoolArray, cell: npt.NDArray[np.int64]) -> Pairs:
    """Return the mean observation of each cell and hour as that of one station."""
    table = pairs.table[rows]
    grouped = table.assign(cell=cell[rows]).groupby(["cell", "time_start"], sort=True)
    means = grouped[["observed", *pairs.products]].mean()
    labels = grouped[["time_end", "latitude", "longitude", "station_kind", "country"]].first()
    made = pd.concat([means, labels], axis="columns").reset_index()
    made["station_id"] = made.pop("cell").astype(str).astype("category")
    return Pairs(made.astype(dict.fromkeys(pairs.products, np.float32)), pairs.products)


def _neighbours(latitude: Array, longitude: Array) -> npt.NDArray[np.int64]:
    """Return the number of stations within `NEIGHBOUR_KM`, itself included."""
    north, east = np.radians(latitude), np.radians(longitude)
    place = np.stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1
    )
    chord = 2 * np.sin(NEIGHBOUR_KM / _EARTH_RADIUS_KM / 2)
    return np.asarray(KDTree(place).query_ball_point(place, chord, return_length=True))


def _taken(pairs: Pairs, chosen: BoolArray) -> Pairs:
    table = pairs.table.loc[chosen].reset_index(drop=True)
    table["station_id"] = table["station_id"].cat.remove_unused_categories()
    return Pairs(table, pairs.products)


def _step_h(product: Product) -> float:
    steps = np.diff(product.field["time"].values) / np.timedelta64(1, "h")
    return float(np.median(steps)) if len(steps) else float("nan")
