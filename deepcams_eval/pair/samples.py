"""Samples: which pairs each product is scored on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np

from deepcams_eval.core.arrays import BoolArray
from deepcams_eval.core.pairs import Pairs

Sample = Literal["common", "own"]
SAMPLES: tuple[Sample, ...] = ("common", "own")


def sample_rows(
    pairs: Pairs, years_with_data: Mapping[str, Collection[int]]
) -> dict[Sample, dict[str, BoolArray]]:
    """Return which pairs each sample of each product holds.

    Parameters
    ----------
    pairs : Pairs
        One row an observation.
    years_with_data : mapping of str to collection of int
        The years for which each product exists at all. A product that does not exist in a year
        is left out of that year's common sample instead of emptying it.

    Returns
    -------
    dict
        ``own``: the product has a value. ``common``: every product that exists in the year has.
    """
    table = pairs.table
    year = table["time_start"].dt.year.to_numpy()
    own = {name: np.isfinite(table[name].to_numpy()) for name in pairs.products}
    exists = {name: np.isin(year, list(years_with_data[name])) for name in pairs.products}
    shared = np.ones(len(table), dtype=bool)
    for name in pairs.products:
        shared &= own[name] | ~exists[name]
    common = {name: own[name] & exists[name] & shared for name in pairs.products}
    return {"common": common, "own": own}
