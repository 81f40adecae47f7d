"""The pairs as the comparisons need them: coded stations, cells, and the draws of the bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Array, BoolArray, FloatArray, IntArray
from deepcams_eval.core.grid import find_cells
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.evidence.questions import Given
from deepcams_eval.evidence.references import REFERENCE_METHODS, Grid, finer_products
from deepcams_eval.score.intervals import Clusters, Either, Estimate, bounds

_HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True)
class Sample:
    """Pairs with references beside the products.

    Attributes
    ----------
    pairs : Pairs
        Its table also holds the columns of the references.
    parent : str
        The coarse product.
    fine : tuple of str
        The products that are finer than the parent.
    references : dict of str to str
        Column of each reference by its name, the plainer first.
    grids : dict of str to Grid
        Of the parent and the fine products.
    stations : ndarray of str, shape (stations,)
        Sorted.
    station : ndarray of int, shape (pairs,)
        Position of each pair's station.
    latitude, longitude : ndarray, shape (stations,)
        Degrees.
    hour : ndarray of int, shape (pairs,)
        Whole hours since the first pair, of ``time_start``.
    clusters : Clusters
        What the intervals leave out.
    """

    pairs: Pairs
    parent: str
    fine: tuple[str, ...]
    references: Mapping[str, str]
    grids: Mapping[str, Grid]
    stations: npt.NDArray[np.str_]
    station: IntArray
    latitude: Array
    longitude: Array
    hour: IntArray
    clusters: Clusters

    @classmethod
    def of(cls, given: Given) -> Sample:
        """Code the rows of the pairs; the baseline is the parent."""
        parent, table = given.baseline, given.pairs.table
        station, stations = codes_of(table["station_id"])
        latitude, longitude = given.pairs.places()
        start = table["time_start"].to_numpy()
        first = start.min().astype("datetime64[D]").astype(start.dtype)
        order = [f"{method}:{parent}" for method in REFERENCE_METHODS]
        grids = {name: given.grids[name] for name in given.pairs.products}
        finer = finer_products(grids, parent)
        return cls(
            pairs=given.pairs,
            parent=parent,
            fine=tuple(name for name in finer if name != parent),
            references={name: given.references[name] for name in order if name in given.references},
            grids=given.grids,
            stations=stations,
            station=station,
            latitude=latitude,
            longitude=longitude,
            hour=((start - first) // _HOUR).astype(np.int32),
            clusters=Clusters.of(given.pairs),
        )

    @property
    def observed(self) -> FloatArray:
        """Observed values, µg m⁻³, shape (pairs,)."""
        values: FloatArray = self.pairs.table["observed"].to_numpy()
        return values

    def values(self, column: str) -> FloatArray:
        """Return a product or reference in µg m⁻³, shape (pairs,); NaN where it has no value."""
        values: FloatArray = self.pairs.table[column].to_numpy()
        return values

    def has(self, *columns: str) -> BoolArray:
        """Return which pairs have a value in all of `columns`."""
        rows = np.ones(len(self.station), dtype=bool)
        for column in columns:
            rows &= np.isfinite(self.values(column))
        return rows

    def analysis(self) -> BoolArray:
        """Return which pairs are at an analysis hour, one that the parent has itself."""
        return self.has(self.parent)

    def comparisons(self) -> Iterator[tuple[str, str, str]]:
        """Yield each fine product, what it is compared with, and the column that holds that."""
        for product in self.fine:
            for reference, column in {self.parent: self.parent, **self.references}.items():
                if column != product:
                    yield product, reference, column

    def best_reference(self, product: str) -> tuple[str, list[str]]:
        """Return the reference that does most, "" without one, and the columns of both."""
        others = [(name, one) for name, one in self.references.items() if one != product]
        name, *column = others[-1] if others else ("",)
        return name, [product, *column]

    def cells(self, product: str) -> IntArray:
        """Return the number of the cell of a product that each station lies in; −1 outside."""
        grid = self.grids[product]
        row, column = find_cells(self.latitude, self.longitude, grid.latitude, grid.longitude)
        return np.where(row >= 0, row * len(grid.longitude) + column, -1)

    def days(self, rows: BoolArray) -> int:
        """Return the number of distinct UTC days among some pairs."""
        return int(np.count_nonzero(np.bincount(self.hour[rows] // 24)))


def paired(scores: Sequence[Mapping[str, Either | Estimate]], judged: str) -> dict[str, Array]:
    """Return scores of a product and of its reference, and their difference, with intervals.

    Parameters
    ----------
    scores : sequence of mapping
        Of the product and, if there is one, of the reference.
    judged : str
        Score of which the difference is taken.

    Returns
    -------
    dict of str to ndarray, shape (values,)
        ``<name>`` and ``reference_<name>``, ``d_<judged>``, the ends of the intervals of all but
        the scores of the reference, and the one-sided probabilities of a difference so low and so
        high were there none, ``d_<judged>_p_low`` and ``d_<judged>_p_high``.
    """
    ours: dict[str, Either | Estimate] = dict(scores[0])
    found: dict[str, Array] = {}
    for theirs in scores[1:]:
        ours[f"d_{judged}"] = ours[judged] - theirs[judged]  # type: ignore[operator]
        found |= {f"reference_{name}": one.value for name, one in theirs.items()}
    for name, one in ours.items():
        found |= {name: one.value, **bounds(name, one.interval())}
        if name == f"d_{judged}":
            found |= {f"{name}_p_low": one.p_below(), f"{name}_p_high": one.p_above()}
    return found
