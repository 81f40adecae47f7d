"""What a fine product is compared with: its parent, and what interpolation makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.field import Product, Stamp, spacing_deg, stamp_of
from deepcams_eval.core.grid import find_cells
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import InputError
from deepcams_eval.pair.colocate import Colocation
from deepcams_eval.pair.derived import derive

REFERENCE_METHODS = ("linear", "linear+bicubic")
"""Derived products that a fine one is compared with, the plainer first."""

_FINER = 0.75
"""A product is finer where its spacing or its step is below this share of the parent's."""


@dataclass(frozen=True)
class Grid:
    """Where and when a product has values.

    Attributes
    ----------
    latitude, longitude : ndarray
        Centres of its cells, degrees, ascending.
    step_h : float
        Median time between its fields, hours; NaN for a single one.
    stamp : {"point", "mean"}
        Whether a value holds at the end of the hour that it pairs with, or over that hour.
    """

    latitude: FloatArray
    longitude: FloatArray
    step_h: float
    stamp: Stamp

    @classmethod
    def of(cls, product: Product) -> Grid:
        """Return the grid of `product`."""
        times = product.field["time"].values
        steps = np.diff(times) / np.timedelta64(1, "h")
        return cls(
            latitude=product.field["latitude"].values,
            longitude=product.field["longitude"].values,
            step_h=float(np.median(steps)) if len(steps) else float("nan"),
            stamp=stamp_of(product.field),
        )

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Grid:
        """Return the grid that `to_json` described."""
        return cls(
            np.asarray(said["latitude"], dtype=np.float64),
            np.asarray(said["longitude"], dtype=np.float64),
            float("nan") if said["step_h"] is None else float(said["step_h"]),
            said["stamp"],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the grid as lists, numbers and text."""
        return {
            "latitude": self.latitude.tolist(),
            "longitude": self.longitude.tolist(),
            "step_h": None if np.isnan(self.step_h) else self.step_h,
            "stamp": self.stamp,
        }

    @property
    def spacing_deg(self) -> float:
        """The larger of the spacings along both coordinates, degrees."""
        spacings = [spacing_deg(self.latitude), spacing_deg(self.longitude)]
        known = [one for one in spacings if not np.isnan(one)]
        return max(known, default=float("nan"))

    def finer_than(self, other: Grid) -> bool:
        """Return whether cells or time steps are clearly smaller than those of `other`."""
        return bool(
            self.spacing_deg < _FINER * other.spacing_deg or self.step_h < _FINER * other.step_h
        )


@dataclass(frozen=True)
class ReferenceSet:
    """The interpolations of a parent.

    Attributes
    ----------
    columns : dict of str to str
        Column of the pairs that holds each reference, by its name such as ``linear:cams``; that
        of a product of the run where it is the same.
    products : tuple of Product
        Those that are to be colocated beside the products of the run.
    notes : list of str
        Why one could not be made.
    """

    columns: dict[str, str] = field(default_factory=dict)
    products: tuple[Product, ...] = ()
    notes: list[str] = field(default_factory=list)


def grids_of(products: Sequence[Product]) -> dict[str, Grid]:
    """Return the grid of each product, by name."""
    return {product.name: Grid.of(product) for product in products}


def finer_products(grids: Mapping[str, Grid], parent: str) -> tuple[str, ...]:
    """Return the products that are finer than the parent, in the order of `grids`."""
    if parent not in grids:
        return ()
    coarse = grids[parent]
    return tuple(name for name, grid in grids.items() if grid.finer_than(coarse))


def make_references(
    products: Sequence[Product],
    derived: Mapping[str, tuple[str, str]],
    parent: str,
    observations: Observations,
) -> ReferenceSet:
    """Return the interpolations of the parent that finer products are compared with.

    Parameters
    ----------
    products : sequence of Product
        Of the run.
    derived : mapping of str to (str, str)
        Method and parent of those products that are derived, by name: they are not made again.
    parent : str
        The coarse product.
    observations : Observations
        A reference whose grid holds no station with a clean observation is left out.

    Returns
    -------
    ReferenceSet
        Empty where no product is finer than the parent.
    """
    grids = grids_of(products)
    found = ReferenceSet()
    if not finer_products(grids, parent):
        return found
    made = []
    coarse = next(product for product in products if product.name == parent)
    for method in REFERENCE_METHODS:
        name = f"{method}:{parent}"
        same = [one for one, made_by in derived.items() if made_by == (method, parent)]
        if same:
            found.columns[name] = same[0]
            continue
        try:
            reference = derive(name, method, coarse)
        except InputError as error:
            found.notes.append(f"{name} could not be made as a reference: {error.problem}.")
            continue
        if not _holds_a_station(reference, observations):
            found.notes.append(f"{name} is no reference: no station lies on its grid.")
            continue
        found.columns[name] = name
        made.append(reference)
    return replace(found, products=tuple(made))


def without_references(colocation: Colocation, products: Sequence[str]) -> Colocation:
    """Return a colocation as if only `products` had been colocated; other columns stay.

    A pair in which no product has a value is left out, and counts and coverage are those of the
    products.
    """
    pairs = Pairs(colocation.pairs.table, tuple(products))
    some = np.logical_or.reduce([pairs.table[name].notna() for name in products])
    dropped, rows = int((~some).sum()), colocation.rows
    if dropped:
        pairs, rows = pairs.taken(some), rows[some]
    coverage = colocation.coverage
    return Colocation(
        pairs=pairs,
        coverage=coverage[coverage["product"].isin(list(products))].reset_index(drop=True),
        outside={name: colocation.outside[name] for name in products},
        unpaired=colocation.unpaired + dropped,
        rows=rows,
    )


def _holds_a_station(product: Product, observations: Observations) -> bool:
    clean = observations.table["flags"].to_numpy() == 0
    reporting = observations.table["station_id"][clean].unique()
    stations = observations.stations
    places = stations[stations["station_id"].isin(reporting)]
    row, _ = find_cells(
        places["latitude"].to_numpy(),
        places["longitude"].to_numpy(),
        product.field["latitude"].values,
        product.field["longitude"].values,
    )
    return bool((row >= 0).any())
