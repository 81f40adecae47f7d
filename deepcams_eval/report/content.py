"""What a report is made from: tables that others computed, and how to look things up in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from typing import Any, Literal, cast

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import BoolArray, IntArray
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.report.evidence import Evidence

Sample = Literal["common", "own"]

SYNTHETIC = "SYNTHETIC"
"""The mark on everything that was made from generated data."""


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries by column name."""
    return cast("list[dict[str, Any]]", table.to_dict(orient="records"))


@dataclass(frozen=True)
class Content:
    """Everything that a report shows.

    No number in a table, a figure or a sentence is computed here or in the modules that use it:
    all are rows of `scores` and `differences`. `scored_pairs` gives the shape of the scatter alone.

    Attributes
    ----------
    scores, differences : pandas.DataFrame
        The rows of ``scores.csv`` and ``differences.csv``.
    scored_pairs : Pairs
        The pairs that the scores are made of, for the shape of the scatters.
    rows : mapping of str to ndarray of bool, shape (scored_pairs,)
        By product the pairs of the sample shown; as many by year as `scores` says.
    stations : geopandas.GeoDataFrame
        The station table with a column ``r_<product>`` each.
    qc : pandas.DataFrame
        ``rule, flagged, flagged_first, stage``.
    coverage : pandas.DataFrame
        ``product, year, steps, paired, stations, stations_outside``.
    notes : sequence of str
        Assumptions and omissions that a reader must know.
    run : mapping
        The content of ``run.json``. ``inputs`` holds ``path``, ``bytes`` and ``sha256`` of each
        file; ``products``, by name, the ``kind`` that decides whom the data are owed to.
    sample : {"common", "own"}
        The sample that tables and figures show.
    baseline : str
        The product that `differences` are taken from.
    synthetic : bool
        Whether the data are generated; then every table, figure and the page say so.
    answers : sequence of Evidence
        Each gets a section of the page, with its tables and figures.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    scored_pairs: Pairs
    rows: Mapping[str, BoolArray]
    stations: gpd.GeoDataFrame
    qc: pd.DataFrame
    coverage: pd.DataFrame
    notes: Sequence[str]
    run: Mapping[str, Any]
    sample: Sample
    baseline: str
    synthetic: bool
    answers: Sequence[Evidence] = ()

    @property
    def products(self) -> tuple[str, ...]:
        """Names of the products, in the order in which they were asked for."""
        return self.scored_pairs.products

    @property
    def average(self) -> str:
        """What is scored: ``hour``, or the period of the means."""
        settings = self.run.get("settings")
        return str(settings.get("average", "hour")) if isinstance(settings, Mapping) else "hour"

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The rows of `scores` of the sample that tables and figures show, values as text."""
        table = self.scores[self.scores["sample"] == self.sample]
        table = table[table["product"].isin(self.products)]
        return table.assign(value=table["value"].astype(str)).reset_index(drop=True)

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str], Mapping[str, Any]]:
        return {(row["product"], row["stratum"], row["value"]): row for row in records(self.shown)}

    def score(self, product: str, stratum: str, value: str) -> Mapping[str, Any] | None:
        """Return the row of `shown` for one product and stratum, or None if it has no pairs."""
        row = self._by_key.get((product, stratum, value))
        return row if row is not None and row["n"] > 0 else None

    def values(self, stratum: str) -> list[str]:
        """Return the values of a stratum that have pairs for at least one product, sorted."""
        table = self.shown[(self.shown["stratum"] == stratum) & (self.shown["n"] > 0)]
        return sorted(table["value"].unique())

    @cached_property
    def years(self) -> tuple[int, ...]:
        """The years that have pairs."""
        return tuple(int(year) for year in self.values("year"))

    @cached_property
    def month_of_pair(self) -> IntArray:
        """Months since January of year 0 of each of `scored_pairs`, int32."""
        start = self.scored_pairs.table["time_start"].to_numpy().astype("datetime64[M]")
        return (start.astype(np.int64) + 1970 * 12).astype(np.int32)

    @cached_property
    def file_names(self) -> dict[str, str]:
        """A name for each product that is safe in a file name, all of them different."""
        names: dict[str, str] = {}
        for product in self.products:
            base = re.sub(r"[^\w.-]+", "_", product)
            others = (f"{base}-{number}" for number in count(2))
            names[product] = next(one for one in chain([base], others) if one not in names.values())
        return names

    def pick(self, product: str, year: int) -> Selection:
        """Return the pairs of one product and year on the sample shown.

        Raises
        ------
        ValueError
            If their number is not the one that `scores` gives: the two would describe
            different samples on the same figure.
        """
        inside = self.rows[product] & (self.month_of_pair // 12 == year)
        index = np.flatnonzero(inside)
        score = self.score(product, "year", str(year))
        expected = 0 if score is None else int(score["n"])
        if len(index) != expected:
            raise ValueError(
                f"rows[{product!r}] selects {len(index)} pairs in {year}, scores say {expected}"
            )
        table = self.scored_pairs.table
        return Selection(
            observed=table["observed"].to_numpy()[index],
            estimate=table[product].to_numpy()[index],
            month=self.month_of_pair[index] % 12,
        )


@dataclass(frozen=True)
class Selection:
    """Pairs of one product; all arrays have shape (n,).

    Attributes
    ----------
    observed, estimate : ndarray
        µg m⁻³, without NaN.
    month : ndarray of int
        0 (January) … 11.
    """

    observed: npt.NDArray[np.floating[Any]]
    estimate: npt.NDArray[np.floating[Any]]
    month: IntArray

    def __len__(self) -> int:
        return len(self.observed)
