"""Pairs: observations beside the values of products in their cell and hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import Array, BoolArray
from deepcams_eval.errors import InputError

STATION_KINDS = ("reference", "sensor", "unknown")
PAIR_COLUMNS = ("station_id", "time_start", "time_end", "latitude", "longitude", "observed")
PAIR_LABELS = ("station_kind", "country")


@dataclass(frozen=True)
class Pairs:
    """Observations beside the value of each product in their cell and hour.

    Attributes
    ----------
    table : pandas.DataFrame
        One row an observation that passed QC and lies in at least one product:
        ``station_id`` (category), ``time_start``, ``time_end``, ``latitude``, ``longitude``,
        ``observed`` (float64, µg m⁻³), ``station_kind`` ("reference", "sensor", "unknown"),
        ``country`` ("" where unknown), and one float32 column a product, µg m⁻³, NaN where it
        has no value.
    products : tuple of str
        Names of the product columns, in the order in which they were asked for.
    """

    table: pd.DataFrame
    products: tuple[str, ...]

    def __post_init__(self) -> None:
        require_columns(self.table, (*PAIR_COLUMNS, *PAIR_LABELS, *self.products), "pairs")

    def __len__(self) -> int:
        return len(self.table)

    def taken(self, chosen: BoolArray) -> Pairs:
        """Return some of the pairs, shape (pairs,), and the stations that they have alone."""
        table = self.table.loc[chosen].reset_index(drop=True)
        table["station_id"] = table["station_id"].cat.remove_unused_categories()
        return Pairs(table, self.products)

    def places(self) -> tuple[Array, Array]:
        """Return latitude and longitude of each station, degrees, in the order of `codes_of`."""
        station, names = codes_of(self.table["station_id"])
        latitude, longitude = np.empty(len(names)), np.empty(len(names))
        latitude[station] = self.table["latitude"].to_numpy()
        longitude[station] = self.table["longitude"].to_numpy()
        return latitude, longitude


def codes_of(
    column: pd.Series[Any],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.str_]]:
    """Return the code of each row of a categorical column, and the names that occur, sorted.

    The same as `pandas.factorize` with ``sort=True``, but in one pass over the codes.
    """
    codes = column.cat.codes.to_numpy()
    names = column.cat.categories.to_numpy().astype(str)
    occurs = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    order = occurs[np.argsort(names[occurs])]
    place = np.empty(len(names), dtype=np.int32)
    place[order] = np.arange(len(order))
    return place[codes], names[order]


def require_columns(table: pd.DataFrame, needed: Sequence[str], what: str) -> None:
    """Refuse a table without a column that it needs."""
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise InputError(f"{what} lack the column {', '.join(missing)}")
