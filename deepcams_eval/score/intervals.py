"""Confidence intervals by leaving out clusters: stations, blocks of them, blocks of days, tiles.

Hours at one station are correlated, so the station and not the hour is what varies: a score is
computed again without each cluster in turn, from the sums of the clusters alone, and Student's t
makes an interval of what these values spread. Where products are compared they lose the same
clusters, so that differences are paired. Nothing is drawn: the same pairs give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Array, BoolArray, IntArray, divide
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.core.sphere import boxes
from deepcams_eval.score.metrics import Metric, Scale
from deepcams_eval.score.moments import Moments

MIN_CLUSTERS = 5
"""Fewer stations than this give no interval: their spread says too little about all others."""

BOX_KM = 300.0
"""Width of the boxes in which stations are taken together: their errors are alike below it."""

LEVEL = 0.95
"""Coverage that every interval aims at."""

_SCALES: Mapping[Scale, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "identity": (np.asarray, np.asarray),
    "log": (np.log, np.exp),
    "fisher": (np.arctanh, np.tanh),
    "logit": (lambda share: np.log(share / (1 - share)), lambda odds: 1 / (1 + np.exp(-odds))),
}


@dataclass(frozen=True)
class Estimate:
    """Values, and what each becomes without every cluster.

    Attributes
    ----------
    value : ndarray, shape (values,)
        From all clusters.
    without : ndarray, shape (clusters, values)
        From all but one.
    size : ndarray, shape (clusters, values) or (clusters, 1)
        Pairs of each cluster, its weight; a cluster with 0 takes no part.
    scale : {"identity", "log", "fisher", "logit"}
        On which the value is nearly normal: the logarithm for errors and ratios, which are
        positive and skew, Fisher's z for correlations, the logit for shares.
    difference : bool
        Whether the value is a difference between two products on the same pairs.
    """

    value: Array
    without: Array
    size: Array
    scale: Scale = "identity"
    difference: bool = False

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the difference, paired by cluster; its scale is that of the numbers."""
        return replace(
            self,
            value=self.value - other.value,
            without=self.without - other.without,
            scale="identity",
            difference=True,
        )

    @property
    def clusters(self) -> IntArray:
        """Number of clusters behind each value."""
        return np.broadcast_to((self.size > 0).sum(axis=0), self.value.shape)

    @property
    def freedom(self) -> Array:
        """Degrees of freedom of the standard error, shape (values,).

        For a score those of Bell and McCaffrey (2002, Survey Methodology 28, 169-181) for a mean
        over clusters whose levels differ; for a difference, from which the level of a cluster
        cancels, the effective number of clusters (Σn)²/Σn² less one. Both are clusters − 1 where
        all are of one size, and fewer otherwise.
        """
        weight = self._weight
        if self.difference:
            found = divide(1.0, (weight**2).sum(axis=0)) - 1
        else:
            found = _bell_mccaffrey(weight)
        return np.broadcast_to(np.maximum(found, 1.0), self.value.shape)

    @property
    def standard_error(self) -> Array:
        """Standard error of the value, shape (values,), on the scale of the numbers."""
        return self.error("identity")

    def interval(
        self, level: npt.ArrayLike = LEVEL, least: int = MIN_CLUSTERS
    ) -> tuple[Array, Array]:
        """Return Student's t interval.

        Parameters
        ----------
        level : array_like of float, shape () or (values,)
            Coverage.
        least : int
            Below so many clusters the interval is NaN.

        Returns
        -------
        low, high : ndarray, shape (values,)
            NaN too where the value, or that without a cluster, is undefined.
        """
        return self.reaching(self.error(self.scale), self.freedom, self.clusters >= least, level)

    def reaching(
        self, error: Array, freedom: Array, there: BoolArray, level: npt.ArrayLike
    ) -> tuple[Array, Array]:
        """Return the interval for a standard error on `scale`; NaN where it is not `there`."""
        from scipy import stats  # slow to import, and not every command needs it

        reach = stats.t.ppf((1 + np.asarray(level)) / 2, freedom)
        forth, back = _SCALES[self.scale]
        with np.errstate(divide="ignore", invalid="ignore"):
            middle, step = forth(self.value), error * reach
            ends = back(middle - step), back(middle + step)
        # A score at the end of its range, such as an error of 0, has no logarithm.
        plain = self.standard_error * reach
        low, high = (
            np.where(there, np.where(np.isfinite(middle + step), end, other), np.nan)
            for end, other in zip(ends, (self.value - plain, self.value + plain), strict=True)
        )
        return low, high

    def p_above(self, least: float = 0.0) -> Array:
        """Return the one-sided probability of a value so high if the truth were `least`.

        NaN where there is no standard error, 0 or 1 where it is 0.
        """
        from scipy import stats  # slow to import, and not every command needs it

        forth, _ = _SCALES[self.scale]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (forth(self.value) - forth(np.asarray(least))) / self.error(self.scale)
            plain = (self.value - least) / self.standard_error
        distance = np.where(np.isfinite(distance), distance, plain)
        # What is exactly `least` without any error is neither above nor below.
        same = (self.value == least) & (self.standard_error == 0)
        distance = np.where(same, 0.0, distance)
        return np.asarray(stats.t.sf(distance, self.freedom))

    def p_below(self, most: float = 0.0) -> Array:
        """Return the one-sided probability of a value so low if the truth were `most`."""
        return 1 - self.p_above(most)

    @property
    def effective(self) -> Array:
        """Effective number of clusters (Σ|u|)²/Σu², u being what each adds to the value.

        Far fewer than there are where a few of them decide.
        """
        size = np.abs(self._influence)
        return divide(size.sum(axis=0) ** 2, (size**2).sum(axis=0))

    def share_of_largest(self, count: int) -> Array:
        """Return the share of the influence that the `count` most influential clusters have."""
        size = -np.sort(-np.abs(self._influence), axis=0)
        return divide(size[:count].sum(axis=0), size.sum(axis=0))

    @property
    def _influence(self) -> Array:
        return np.where(self.size > 0, np.nan_to_num(self.without - self.value), 0.0)

    @property
    def _weight(self) -> Array:
        return divide(self.size, self.size.sum(axis=0), otherwise=0.0)

    def error(self, scale: Scale) -> Array:
        """Return the standard error on a scale, shape (values,)."""
        forth, _ = _SCALES[scale]
        with np.errstate(divide="ignore", invalid="ignore"):
            away = forth(self.without) - forth(self.value)
        # (1 − w) corrects for what a cluster of the share w takes along: with equal shares this
        # is the variance of the jackknife.
        squares = np.where(self.size > 0, (1 - self._weight) * away**2, 0.0)
        return np.asarray(np.sqrt(squares.sum(axis=0)))


@dataclass(frozen=True)
class Clusters:
    """Stations, and the boxes of some hundred kilometres that hold those near each other.

    Stations near each other err alike, so that leaving out one tells too little of what others
    would have said. Both are left out in turn, and the wider interval counts; where there are
    fewer than `MIN_CLUSTERS` boxes that of stations stands alone.

    Attributes
    ----------
    box : ndarray of int, shape (stations,)
        From 0.
    """

    box: IntArray

    @classmethod
    def of(cls, pairs: Pairs) -> Clusters:
        """Put the stations of some pairs into boxes of `BOX_KM`."""
        return cls(boxes(*pairs.places(), BOX_KM))

    def estimates(self, sums: Moments, scores: Mapping[str, Metric]) -> dict[str, Either]:
        """Return each score by stations and by boxes, of sums by station."""
        by_box = sums.pool_clusters(self.box)
        ways = estimates(sums, scores), estimates(by_box, scores)
        return {name: Either(tuple(way[name] for way in ways)) for name in scores}

    def of_sums(
        self,
        score: Callable[[Array], Mapping[str, Array]],
        sums: Array,
        size: Array,
        scales: Mapping[str, Scale],
    ) -> dict[str, Either]:
        """Return scores of sums that are none of `Moments`.

        Parameters
        ----------
        score : callable
            From sums of shape (sets, …) to scores by name, of shape (sets, values).
        sums : ndarray, shape (stations, …)
            Sums that add up over stations.
        size : ndarray, shape (stations,)
            Pairs of each station; one with 0 takes no part.
        scales : mapping of str to str
            Of the scores, as in `Estimate`; "identity" where a score is not named.
        """
        ways = []
        for label in (np.arange(len(size)), self.box):
            pooled = np.zeros((int(label.max(initial=-1)) + 1, *sums.shape[1:]))
            np.add.at(pooled, label, sums)
            counted = np.bincount(label, size, len(pooled)).astype(np.float64)[:, None]
            total = pooled.sum(axis=0, keepdims=True)
            whole, rest = score(total), score(total - pooled)
            ways.append(
                {
                    name: Estimate(
                        whole[name][0], rest[name], counted, scales.get(name, "identity")
                    )
                    for name in whole
                }
            )
        return {name: Either(tuple(way[name] for way in ways)) for name in ways[0]}

    def differences(
        self, ours: Moments, theirs: Moments, scores: Mapping[str, Metric]
    ) -> dict[str, Array]:
        """Return scores of two estimates on the same pairs, and their differences with intervals.

        Parameters
        ----------
        ours, theirs : Moments
            Shape (stations, values).
        scores : mapping of str to Metric
            By name.

        Returns
        -------
        dict of str to ndarray, shape (values,)
            ``n``, ``stations`` and ``boxes``; for each score ``<name>``, ``reference_<name>``,
            ``d_<name>`` (ours − theirs), ``d_<name>_lo``, ``d_<name>_hi``, and the one-sided
            probabilities of a difference so low and so high were there none, ``d_<name>_p_low``
            and ``d_<name>_p_high``.
        """
        one, other = self.estimates(ours, scores), self.estimates(theirs, scores)
        found: dict[str, Array] = {
            "n": ours.n.sum(axis=0).astype(np.int64),
            "stations": (ours.n > 0).sum(axis=0),
            "boxes": (ours.pool_clusters(self.box).n > 0).sum(axis=0),
        }
        for name in scores:
            step = one[name] - other[name]
            found |= {name: one[name].value, f"reference_{name}": other[name].value}
            found |= {f"d_{name}": step.value, **bounds(f"d_{name}", step.interval())}
            found |= {f"d_{name}_p_low": step.p_below(), f"d_{name}_p_high": step.p_above()}
        return found


@dataclass(frozen=True)
class Either:
    """An estimate by several kinds of clusters, of which the least certain one counts."""

    ways: tuple[Estimate, ...]

    @property
    def value(self) -> Array:
        """From all clusters."""
        return self.ways[0].value

    @property
    def widest(self) -> Estimate:
        """The way with the largest standard error, of those with enough clusters; of one value."""
        enough = [one for one in self.ways if one.clusters[0] >= MIN_CLUSTERS]
        return max(enough, key=lambda one: one.standard_error[0], default=self.ways[0])

    def __sub__(self, other: Either) -> Either:
        """Return the difference, paired by cluster."""
        pairs = zip(self.ways, other.ways, strict=True)
        return Either(tuple(one - another for one, another in pairs))

    def interval(
        self, level: npt.ArrayLike = LEVEL, least: int = MIN_CLUSTERS
    ) -> tuple[Array, Array]:
        """Return the widest interval, value by value; NaN where there is none."""
        ends = np.stack([np.stack(one.interval(level, least)) for one in self.ways])
        width = np.nan_to_num(ends[:, 1] - ends[:, 0], nan=-1.0)
        low, high = np.take_along_axis(ends, width.argmax(axis=0)[None, None], axis=0)[0]
        return low, high

    def p_above(self, least: float = 0.0) -> Array:
        """Return the largest one-sided probability of a value so high were the truth `least`."""
        found = [
            np.where(one.clusters >= MIN_CLUSTERS, one.p_above(least), np.nan) for one in self.ways
        ]
        return np.asarray(np.fmax.reduce(found))

    def p_below(self, most: float = 0.0) -> Array:
        """Return the largest one-sided probability of a value so low were the truth `most`."""
        found = [
            np.where(one.clusters >= MIN_CLUSTERS, one.p_below(most), np.nan) for one in self.ways
        ]
        return np.asarray(np.fmax.reduce(found))


def estimates(sums: Moments, scores: Mapping[str, Metric]) -> dict[str, Estimate]:
    """Return each score with what it is without every cluster.

    Parameters
    ----------
    sums : Moments
        Shape (clusters, values).
    scores : mapping of str to Metric
        By name.
    """
    total, rest, size = sums.merged(), sums.without_each(), sums.n
    return {
        name: Estimate(score(total), score(rest), size, score.scale)
        for name, score in scores.items()
    }


def two_way(
    station: Estimate,
    block: Estimate,
    cell: Estimate,
    level: float = LEVEL,
    least: int = MIN_CLUSTERS,
) -> tuple[Array, Array]:
    """Return the interval of an estimate that varies with stations and with days.

    Cameron, Gelbach and Miller (2011, Journal of Business & Economic Statistics 29, 238-249): the
    variances by stations and by blocks of days add up, less that by both at once, which each of
    them holds. Where that is less than either, the larger stands.

    Parameters
    ----------
    station, block : Estimate
        The same values without each station, and without each block of days.
    cell : Estimate
        Without each station's part of each block.
    level : float
        Coverage.
    least : int
        Below so many blocks the interval is NaN, as with fewer than `MIN_CLUSTERS` stations.
    """
    ways = station, block, cell
    by_station, by_block, by_both = (one.error(one.scale) ** 2 for one in ways)
    variance = np.fmax(by_station + by_block - by_both, np.fmax(by_station, by_block))
    freedom = np.fmin(station.freedom, block.freedom)
    there = (station.clusters >= MIN_CLUSTERS) & (block.clusters >= least)
    return station.reaching(np.sqrt(variance), freedom, there, level)


def bounds(name: str, interval: tuple[Any, Any]) -> dict[str, Any]:
    """Return an interval as the columns ``<name>_lo`` and ``<name>_hi``."""
    return {f"{name}_lo": interval[0], f"{name}_hi": interval[1]}


def excludes_zero(low: float, high: float) -> bool:
    """Return whether an interval lies on one side of zero; False where it is undefined."""
    return bool(low > 0 or high < 0)


def holm(p: npt.ArrayLike) -> Array:
    """Return probabilities that hold for all questions together.

    Holm (1979, Scandinavian Journal of Statistics 6, 65-70): the smallest of k is multiplied by k,
    the next by k − 1, and none may fall below one before it. NaN takes no part.

    Parameters
    ----------
    p : array_like of float, shape (questions,)
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    adjusted = np.full(values.shape, np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def _bell_mccaffrey(weight: Array) -> Array:
    """Return (tr M)² / tr M² of the quadratic form that the standard error is.

    Its row of cluster i is (e_i − w) w_i / √(1 − w_i), w being the shares of the clusters; the
    sums over all pairs of rows are written out.
    """
    q = (weight**2).sum(axis=0)
    b = divide(weight**2, 1 - weight, otherwise=0.0)
    total, first, second = (np.sum(b * weight**power, axis=0) for power in range(3))
    pairs = q**2 * total**2 + 2 * total * second - 4 * q * total * first + 2 * first**2
    own = b**2 * ((1 - 2 * weight + q) ** 2 - (q - 2 * weight) ** 2)
    trace = np.sum(b * (1 - 2 * weight + q), axis=0)
    return divide(trace**2, pairs + own.sum(axis=0))
