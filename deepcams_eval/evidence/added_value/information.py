"""Does a product know anything that the coarse one does not: an encompassing test.

Damping, smoothing and recalibration lower the mean error of nearly any estimate without knowing
anything new. What is asked here first is therefore not whether the error is smaller, but whether
the product says something of the observations that nothing made of the coarse product says
(Harvey, Leybourne and Newbold 1998, Journal of Business & Economic Statistics 16, 254-259). What
then counts as a smaller error is one that is left when product and reference are both smoothed
and recalibrated as well as can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, FloatArray, IntArray, divide
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.sample import Sample
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT
from deepcams_eval.score.intervals import Either, bounds
from deepcams_eval.score.metrics import METRICS
from deepcams_eval.score.moments import Moments

LEAST_INFORMATION = 0.05
"""Partial correlation below which a product is said to know nothing of interest.

Copies of the coarse product that were bent (powers, ceilings) or given noise reach 0.03 by what the
controls do not follow; 0.05 explains a four-hundredth of the variance that they leave."""

WINDOWS_H = (5, 9, 25)
"""Running means of the coarse product that count as known, hours."""

PARTS = ("all", "in time", "between stations")
"""What is explained: all, departures from the means of stations, or these means."""

COLUMNS = (
    *("product", "reference", "part", *parts.with_ends("partial_r"), "p", "n", "stations", "days"),
    *("window_h", "reference_window_h", *parts.with_ends("d_mae"), "d_mae_p"),
)
"""The columns of ``information.csv``."""

_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
_REACH_H = max(WINDOWS_H) // 2
_ROWS = 1_000_000
# A residual below this share of a product's variance is rounding.
_ROUNDING = 1e-7


def information(sample: Sample) -> pd.DataFrame:
    """Return what each fine product knows beyond its parent.

    The controls are what can be made of the best interpolation B of the parent alone, at the same
    station: B at T, T − 1 h and T + 1 h, the plainer interpolation, means of B over `WINDOWS_H`
    and over all hours, and a linear spline of B, so that recalibration is no news.
    ``partial_r`` is the correlation of what they leave unexplained of the product with what they
    leave unexplained of the observations. B counts at hours at which the station has a pair.

    ``d_mae`` compares errors on equal terms: the mean over the window (1 h or `WINDOWS_H`) and the
    spline recalibration that serve each best, the latter fitted without the station that it is
    applied to, product − reference.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, one row a product × part; ``partial_r`` (0 where nothing is left of the
        product) with its 95 % interval, ``p`` the one-sided probability of a value so high were
        the truth `LEAST_INFORMATION`. The comparison of errors, µg m⁻³, stands in the rows ``all``
        alone; ``d_mae_p`` is the probability of a difference so low were there none. Intervals
        and probabilities leave out stations, or boxes of them (`Clusters`).
    """
    lines: list[dict[str, object]] = []
    for product in sample.fine:
        reference, columns = sample.best_reference(product)
        if reference and sample.has(*columns).any():
            beside = _Beside.of(sample, product, columns[1])
            lines += [{"product": product, "reference": reference} | one for one in beside.lines()]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def partial_r(gram: Array, controls: int) -> Array:
    """Return the partial correlation of the last two variables, given the first ones.

    Parameters
    ----------
    gram : ndarray, shape (..., controls + 2, controls + 2)
        Sums of products of all variables, the controls first; they may depend on each other.
    controls : int
        Number of controls.

    Returns
    -------
    ndarray, shape (...)
        0 where the controls explain one of the two but for rounding.
    """
    known, cross = gram[..., :controls, :controls], gram[..., :controls, controls:]
    explained = np.linalg.pinv(known, rcond=1e-11, hermitian=True) @ cross
    both = gram[..., controls:, controls:]
    left = both - np.swapaxes(cross, -1, -2) @ explained
    variances = np.diagonal(left, axis1=-2, axis2=-1)
    some = np.all(variances > _ROUNDING * np.diagonal(both, axis1=-2, axis2=-1), axis=-1)
    spread = np.sqrt(np.where(some, variances.prod(axis=-1), 1.0))
    return np.clip(np.where(some, left[..., 0, 1] / spread, 0.0), -1.0, 1.0)


@dataclass(frozen=True)
class _Part:
    """Pairs of some stations: windows of product and reference, shape (windows, pairs)."""

    station: IntArray
    observed: Array
    product: Array
    reference: Array
    controls: Array


@dataclass(frozen=True)
class _Beside:
    """A product beside the best interpolation of its parent."""

    sample: Sample
    product: str
    column: str
    plainer: str
    rows: IntArray
    knots: Mapping[str, Array]

    @classmethod
    def of(cls, sample: Sample, product: str, column: str) -> _Beside:
        rows = np.flatnonzero(sample.has(product, column))
        rows = rows[np.argsort(sample.station[rows], kind="stable")]
        plainer = next(iter(sample.references.values()))
        knots = {
            name: np.unique(np.quantile(sample.values(name)[rows].astype(np.float64), _QUANTILES))
            for name in (product, column)
        }
        return cls(sample, product, column, plainer, rows, knots)

    def lines(self) -> Iterator[dict[str, object]]:
        """Yield a row a part; the first also holds the comparison of errors."""
        grams, fits = self._grams()
        clusters = self.sample.clusters
        size = grams[:, 0, 0]
        controls = grams.shape[-1] - 2
        # The first control is 1, so that its row holds the sums of all others.
        means = divide(grams[:, :1, :], size[:, None, None], otherwise=0.0)
        between = size[:, None, None] * np.swapaxes(means, 1, 2) * means
        for part, gram in zip(PARTS, (grams, grams - between, between), strict=True):
            found = clusters.of_sums(
                lambda sums: {"partial_r": partial_r(sums, controls)[:, None]}, gram, size, {}
            )["partial_r"]
            line: dict[str, object] = {"part": part, "n": int(size.sum())}
            line |= {"stations": int((size > 0).sum()), "partial_r": float(found.value[0])}
            line["days"] = len(np.unique(self.sample.hour[self.rows] // 24))
            line |= _ends("partial_r", found) | {"p": float(found.p_above(LEAST_INFORMATION)[0])}
            if part == PARTS[0]:
                line |= self._errors(fits)
            yield line

    def _grams(self) -> tuple[Array, dict[str, Array]]:
        """Return the Gram matrices of the test and of each recalibration, by station."""
        count = len(self.sample.stations)
        grams: Array | None = None
        fits: dict[str, Array] = {}
        for part in self._parts():
            test = np.vstack([part.controls, part.product[:1], part.observed[None]])
            if grams is None:
                grams = np.zeros((count, len(test), len(test)))
            _add_grams(grams, test, part.station)
            for name, designs in self._designs(part).items():
                if name not in fits:
                    size = designs.shape[1] + 1
                    fits[name] = np.zeros((len(designs), count, size, size))
                for total, design in zip(fits[name], designs, strict=True):
                    _add_grams(total, np.vstack([design, part.observed[None]]), part.station)
        if grams is None:
            raise ValueError("no pair")
        return grams, fits

    def _errors(self, fits: Mapping[str, Array]) -> dict[str, object]:
        """Return the comparison of errors after smoothing and recalibration."""
        count = len(self.sample.stations)
        fitted = {
            name: _without_own_station(grams.reshape(-1, *grams.shape[2:]), count)
            for name, grams in fits.items()
        }
        sums = {name: [Moments.empty(count) for _ in grams] for name, grams in fits.items()}
        for part in self._parts():
            for name, designs in self._designs(part).items():
                for place, design in enumerate(designs):
                    weights = fitted[name][place][part.station]
                    made = np.einsum("ij,ji->i", weights, design)
                    more = Moments.of(part.observed, made, part.station, count)
                    sums[name][place] = sums[name][place] + more
        best, window = {}, {}
        mae = {"mae": METRICS["mae"]}
        for name, made in sums.items():
            tried = [self.sample.clusters.estimates(one.reshape(-1, 1), mae)["mae"] for one in made]
            place = int(np.argmin([one.value[0] for one in tried]))
            best[name], window[name] = tried[place], (1, *WINDOWS_H)[place]
        step = best[self.product] - best[self.column]
        return {
            "window_h": window[self.product],
            "reference_window_h": window[self.column],
            "d_mae": float(step.value[0]),
            **_ends("d_mae", step),
            "d_mae_p": float(step.p_below()[0]),
        }

    def _designs(self, part: _Part) -> dict[str, Array]:
        """Return the variables of each recalibration, shape (windows, variables, pairs)."""
        return {
            self.product: np.stack(
                [_spline(one, self.knots[self.product]) for one in part.product]
            ),
            self.column: np.stack(
                [_spline(one, self.knots[self.column]) for one in part.reference]
            ),
        }

    def _parts(self) -> Iterator[_Part]:
        """Yield the pairs of some stations after each other, about `_ROWS` at a time."""
        sample, rows = self.sample, self.rows
        station = sample.station[rows]
        begins = np.flatnonzero(np.diff(station, prepend=-1))
        ends = np.append(begins[1:], len(rows))
        first = 0
        while first < len(begins):
            last = first
            while last + 1 < len(begins) and ends[last + 1] - begins[first] <= _ROWS:
                last += 1
            chosen = rows[begins[first] : ends[last]]
            local = np.repeat(np.arange(last - first + 1), (ends - begins)[first : last + 1])
            yield self._part(chosen, local)
            first = last + 1

    def _part(self, rows: IntArray, local: IntArray) -> _Part:
        sample = self.sample
        hour = sample.hour[rows]
        product, reference, plainer = (
            sample.values(name)[rows].astype(np.float64)
            for name in (self.product, self.column, self.plainer)
        )
        around = _Around(reference, local, hour)
        smoothed = around.means()
        mean = divide(np.bincount(local, reference), np.bincount(local))[local]
        known = np.stack([plainer, around.at(-1), around.at(1)])
        known = np.where(np.isfinite(known), known, reference)
        bent = _spline(reference, self.knots[self.column])
        return _Part(
            station=sample.station[rows],
            observed=sample.observed[rows].astype(np.float64),
            product=np.stack([product, *_Around(product, local, hour).means()]),
            reference=np.stack([reference, *smoothed]),
            controls=np.vstack([bent, known, smoothed, mean]),
        )


class _Around:
    """Values of one series on a grid of station and hour, to be read before and after."""

    def __init__(self, values: Array, station: IntArray, hour: IntArray) -> None:
        first = int(hour.min()) - _REACH_H - 1
        hours = int(hour.max()) - first + _REACH_H + 1
        self._grid = np.full((int(station[-1]) + 1, hours), np.nan)
        self._at = station, hour - first
        self._grid[self._at] = values

    def at(self, shift_h: int) -> Array:
        """Return the value so many hours later at each pair; NaN where there is none."""
        station, place = self._at
        return self._grid[station, place + shift_h]

    def means(self) -> Array:
        """Return the mean of what is there within each of `WINDOWS_H`, shape (windows, pairs)."""
        there = np.isfinite(self._grid)
        total, count = (np.cumsum(one, axis=1) for one in (np.where(there, self._grid, 0.0), there))
        station, place = self._at
        found = []
        for window in WINDOWS_H:
            before, after = place - window // 2 - 1, place + window // 2
            summed, behind = (one[station, after] - one[station, before] for one in (total, count))
            found.append(summed / behind)
        return np.stack(found)


def _spline(values: FloatArray, knots: Array) -> Array:
    """Return 1, the values, and their excess over each knot, shape (knots + 2, pairs)."""
    return np.vstack([np.ones(len(values)), values, np.maximum(values - knots[:, None], 0.0)])


def _add_grams(total: Array, variables: Array, station: IntArray) -> None:
    """Add the sums of products of variables (variables, pairs), in order of station."""
    begins = np.flatnonzero(np.diff(station, prepend=-1))
    for first, last in zip(begins, np.append(begins[1:], len(station)), strict=True):
        mine = variables[:, first:last]
        total[station[first]] += mine @ mine.T


def _without_own_station(grams: Array, count: int) -> Array:
    """Return the least-squares weights that all other stations give each station."""
    each = grams.reshape(-1, count, *grams.shape[1:])
    rest = each.sum(axis=1, keepdims=True) - each
    weights = np.linalg.pinv(rest[..., :-1, :-1], rcond=1e-11, hermitian=True) @ rest[..., :-1, -1:]
    return np.asarray(weights[..., 0])


def _ends(name: str, one: Either) -> dict[str, float]:
    return {key: float(end[0]) for key, end in bounds(name, one.interval()).items()}


def table(frame: pd.DataFrame) -> Table:
    """Return these rows as a reader sees them."""
    return Table(
        "information",
        "What a product knows beyond the coarse one",
        (
            *parts.NAMED,
            Column("part", "Part"),
            Column("partial_r", "Partial R", interval=True, signed=True, decimals=3),
            Column("d_mae", "ΔMAE, both refitted", UNIT, 2, True, signed=True),
            Column("window_h", "Mean over", "h", 0),
            Column("reference_window_h", "of reference", "h", 0),
            parts.N,
            parts.STATIONS,
        ),
        frame,
        notes=(
            "Partial R: correlation of product and observations beyond what the reference, its "
            "running means, its hours before and after and its recalibration explain. ΔMAE: "
            "product − reference, each smoothed and recalibrated as serves it best, fitted on "
            "other stations.",
        ),
    )
