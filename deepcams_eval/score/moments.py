"""Mergeable sums over pairs of observed and estimated PM2.5.

Every score of this package is a function of these sums. Means and centred second moments are
kept instead of raw sums of squares, and combined after Chan, Golub and LeVeque (1983, The
American Statistician 37, 242-247, doi:10.1080/00031305.1983.10483115), so that nothing cancels
however large the mean is beside the spread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Array, IntArray, divide

_CHUNK = 65_536  # pairs summed at a time: it bounds the memory of the temporaries


class PairValues:
    """What sums are made of: values and errors pair by pair, each computed once."""

    def __init__(self, o: Array, m: Array) -> None:
        self.o, self.m, self.error = o, m, m - o

    @cached_property
    def has_fraction(self) -> npt.NDArray[np.bool_]:
        """Whether M + O > 0, so that a fractional error has a meaning."""
        return self.o + self.m > 0

    @cached_property
    def fraction(self) -> Array:
        """(M−O)/(M+O), and 0 where it has no meaning."""
        return divide(self.error, self.o + self.m, self.has_fraction, 0.0)

    @cached_property
    def absolute(self) -> Array:
        """|M−O|."""
        return np.abs(self.error)

    @cached_property
    def within_factor_2(self) -> npt.NDArray[np.bool_]:
        """Whether 0.5 ≤ M/O ≤ 2; with O = 0 only where M = 0 too."""
        half, double = 0.5 * self.o, 2 * self.o
        low, high = np.minimum(half, double), np.maximum(half, double)
        return (self.m >= low) & (self.m <= high)


def _sum_of(values: Callable[[PairValues], npt.NDArray[Any]]) -> dict[str, Any]:
    """Declare a sum over pairs of these values: this line is all that a new sum needs."""
    return {"values": values}


@dataclass(frozen=True)
class Moments:
    """Sums over the pairs of each group; all arrays have the same shape, one entry a group.

    O is observed, M is the estimate, both in µg m⁻³. An empty group has zeros everywhere. A sum
    that was not computed is NaN, and so is a score that needs it.

    Attributes
    ----------
    n : ndarray
        Number of pairs.
    mean_o, mean_m : ndarray
        Means of O and of M, µg m⁻³.
    ss_o, ss_m, sp : ndarray
        Centred sums Σ(O−Ō)², Σ(M−M̄)² and Σ(O−Ō)(M−M̄), (µg m⁻³)².
    square_error, absolute_error : ndarray
        Σ(M−O)², (µg m⁻³)², and Σ|M−O|, µg m⁻³.
    n_fractional : ndarray
        Pairs with M + O > 0, the only ones for which a fractional error has a meaning.
    fractional_bias, fractional_error : ndarray
        Σ(M−O)/(M+O) and Σ|M−O|/(M+O) over those; dimensionless.
    within_factor_2 : ndarray
        Pairs with 0.5 ≤ M/O ≤ 2; O = 0 counts only where M = 0 too.
    cross : ndarray
        Σ|M−Ō||O−Ō|, (µg m⁻³)². It depends on Ō of the whole group, so it does not merge: NaN but
        where `cross_deviation` of a second pass was put in.
    """

    n: Array
    mean_o: Array
    mean_m: Array
    ss_o: Array
    ss_m: Array
    sp: Array
    square_error: Array = field(metadata=_sum_of(lambda pair: pair.error**2))
    absolute_error: Array = field(metadata=_sum_of(lambda pair: pair.absolute))
    n_fractional: Array = field(metadata=_sum_of(lambda pair: pair.has_fraction))
    fractional_bias: Array = field(metadata=_sum_of(lambda pair: pair.fraction))
    fractional_error: Array = field(metadata=_sum_of(lambda pair: np.abs(pair.fraction)))
    within_factor_2: Array = field(metadata=_sum_of(lambda pair: pair.within_factor_2))
    cross: Array

    @classmethod
    def empty(cls, size: int) -> Moments:
        """Return `size` groups without a pair."""
        return cls.only(**{name: np.zeros(size) for name in SUMS if name != "cross"})

    @classmethod
    def only(cls, **sums: Array) -> Moments:
        """Return some sums, ``n`` among them, the others being NaN."""
        unknown = np.full(sums["n"].shape, np.nan)
        return cls(**{name: sums.get(name, unknown) for name in SUMS})

    @classmethod
    def joined(cls, parts: Sequence[Moments]) -> Moments:
        """Return the groups of all parts, side by side along the last axis."""
        return cls(
            *(np.concatenate([getattr(one, name) for one in parts], axis=-1) for name in SUMS)
        )

    def map(self, change: Callable[[Array], Array]) -> Moments:
        """Return the groups with every array changed alike: reshaped, or some groups taken."""
        return Moments(*(change(getattr(self, name)) for name in SUMS))

    @classmethod
    def of(
        cls,
        observed: npt.ArrayLike,
        estimate: npt.ArrayLike,
        group: npt.ArrayLike | None = None,
        size: int = 1,
    ) -> Moments:
        """Sum pairs by group.

        Parameters
        ----------
        observed, estimate : array_like, shape (pairs,)
            µg m⁻³. Pairs in which either is NaN must have been left out by the caller.
        group : array_like of int, shape (pairs,), optional
            Group of each pair, 0 … size−1; all in group 0 when absent.
        size : int
            Number of groups.

        Raises
        ------
        ValueError
            If a pair holds a NaN or an infinity, or the lengths differ.
        """
        observed = np.asarray(observed)
        estimate = np.asarray(estimate)
        codes = np.zeros(len(observed), dtype=np.intp) if group is None else np.asarray(group)
        if not len(observed) == len(estimate) == len(codes):
            raise ValueError(
                f"lengths differ: {len(observed)} observed, {len(estimate)} estimated, "
                f"{len(codes)} groups"
            )
        total = cls.empty(size)
        for first in range(0, len(observed), _CHUNK):
            part = slice(first, first + _CHUNK)
            # Pairs come sorted by station, so a chunk touches a short range of groups.
            low, high = int(codes[part].min()), int(codes[part].max()) + 1
            pair = PairValues(observed[part].astype(np.float64), estimate[part].astype(np.float64))
            summed = _sum_chunk(pair, codes[part] - low, high - low)
            total._put(slice(low, high), total.map(itemgetter(slice(low, high))) + summed)
        return total

    @classmethod
    def of_rows(cls, observed: npt.NDArray[Any], estimate: npt.NDArray[Any]) -> Moments:
        """Sum each row of two maps, one group a row.

        Parameters
        ----------
        observed, estimate : ndarray of float, shape (rows, columns)
            µg m⁻³. Cells in which either is NaN or infinite are left out; `n` tells how many
            are not.

        Returns
        -------
        Moments
            Of shape (rows,). The fractional sums and `within_factor_2` are not computed but NaN.

        Raises
        ------
        ValueError
            If the shapes differ or are not those of a map.
        """
        if observed.ndim != 2 or observed.shape != estimate.shape:
            raise ValueError(
                f"two maps of one shape are needed, not {observed.shape} observed"
                f" and {estimate.shape} estimated"
            )
        rows, columns = observed.shape
        total = cls.empty(rows)
        step = max(1, _CHUNK // max(1, columns))
        for first in range(0, rows, step):
            part = slice(first, first + step)
            maps = (values[part].astype(np.float64) for values in (observed, estimate))
            total._put(part, _sum_rows(*maps))
        return total

    def scaled(self, weights: npt.ArrayLike) -> Moments:
        """Return the sums with every pair of a group counted `weights` times; means are kept.

        After it `pool` gives weighted scores: with the area of a cell for each row of a map,
        scores by area. A score that asks for two pairs sees the weighted `n`, so weights belong
        near 1.

        Parameters
        ----------
        weights : array_like of float
            One a group, not negative, of a shape that broadcasts to that of `n`.
        """
        weight = np.asarray(weights, dtype=np.float64)
        counted = [name for name in SUMS if name not in ("mean_o", "mean_m")]
        return replace(self, **{name: getattr(self, name) * weight for name in counted})

    def __add__(self, other: Moments) -> Moments:
        """Merge two sets of sums over disjoint pairs, group by group."""
        n = self.n + other.n
        share = divide(other.n, n, otherwise=0.0)
        step_o = other.mean_o - self.mean_o
        step_m = other.mean_m - self.mean_m
        between = self.n * share
        return Moments.only(
            n=n,
            mean_o=self.mean_o + step_o * share,
            mean_m=self.mean_m + step_m * share,
            ss_o=self.ss_o + other.ss_o + step_o**2 * between,
            ss_m=self.ss_m + other.ss_m + step_m**2 * between,
            sp=self.sp + other.sp + step_o * step_m * between,
            **{name: getattr(self, name) + getattr(other, name) for name in _ADDED},
        )

    def pool(self, labels: npt.ArrayLike, size: int) -> Moments:
        """Merge groups that carry the same label.

        Parameters
        ----------
        labels : array_like of int
            One label a group, 0 … size−1, of the shape of `n`.
        size : int
            Number of labels; the result has shape (size,).
        """
        code = np.broadcast_to(np.asarray(labels), self.n.shape).ravel()

        def gathered(values: Array) -> Array:
            return np.bincount(code, values.ravel(), size).astype(np.float64, copy=False)

        n = gathered(self.n)
        mean_o = divide(gathered(self.n * self.mean_o), n, otherwise=0.0)
        mean_m = divide(gathered(self.n * self.mean_m), n, otherwise=0.0)
        away_o = self.mean_o - mean_o[code].reshape(self.n.shape)
        away_m = self.mean_m - mean_m[code].reshape(self.n.shape)
        return Moments.only(
            n=n,
            mean_o=mean_o,
            mean_m=mean_m,
            ss_o=gathered(self.ss_o + self.n * away_o**2),
            ss_m=gathered(self.ss_m + self.n * away_m**2),
            sp=gathered(self.sp + self.n * away_o * away_m),
            **{name: gathered(getattr(self, name)) for name in _ADDED},
        )

    def pool_clusters(self, labels: IntArray) -> Moments:
        """Merge the clusters that carry the same label, 0 and up; shape (labels, columns)."""
        columns = self.n.shape[1]
        size = int(labels.max(initial=-1)) + 1
        code = labels[:, None] * columns + np.arange(columns)
        return self.pool(code, size * columns).reshape(size, columns)

    def pool_columns(self) -> Moments:
        """Merge the columns of each cluster; shape (clusters, 1)."""
        size = len(self.n)
        label = np.broadcast_to(np.arange(size)[:, None], self.n.shape)
        return self.pool(label, size).reshape(size, 1)

    def merged(self) -> Moments:
        """Merge all groups, or those of each column; shape (1,) or (columns,)."""
        size = self.n.shape[1] if self.n.ndim > 1 else 1
        return self.pool(np.broadcast_to(np.arange(size), self.n.shape), size)

    def _put(self, groups: slice, sums: Moments) -> None:
        for name in SUMS:
            getattr(self, name)[groups] = getattr(sums, name)

    def reshape(self, *shape: int) -> Moments:
        """Return the same groups in another shape."""
        return self.map(lambda values: values.reshape(shape))

    def without_each(self) -> Moments:
        """Merge all clusters but one, for each of them.

        Returns
        -------
        Moments
            Of shape (clusters, strata), as the groups: row i lacks cluster i.
        """
        # A common centre a column keeps the sums small, so that subtracting loses no digits.
        n_all = self.n.sum(axis=0)
        centre_o = divide((self.n * self.mean_o).sum(axis=0), n_all, otherwise=0.0)
        centre_m = divide((self.n * self.mean_m).sum(axis=0), n_all, otherwise=0.0)
        away_o = np.where(self.n > 0, self.mean_o - centre_o, 0.0)
        away_m = np.where(self.n > 0, self.mean_m - centre_m, 0.0)

        def rest(sums: Array) -> Array:
            return np.asarray(sums.sum(axis=0) - sums)

        n = rest(self.n)
        shift_o = divide(rest(self.n * away_o), n, otherwise=0.0)
        shift_m = divide(rest(self.n * away_m), n, otherwise=0.0)
        ss_o = rest(self.ss_o + self.n * away_o**2) - n * shift_o**2
        ss_m = rest(self.ss_m + self.n * away_m**2) - n * shift_m**2
        return Moments.only(
            n=n,
            mean_o=np.where(n > 0, centre_o + shift_o, 0.0),
            mean_m=np.where(n > 0, centre_m + shift_m, 0.0),
            # What is left of the only cluster that there is, is rounding.
            ss_o=np.where(n > 0, np.maximum(ss_o, 0.0), 0.0),
            ss_m=np.where(n > 0, np.maximum(ss_m, 0.0), 0.0),
            sp=rest(self.sp + self.n * away_o * away_m) - n * shift_o * shift_m,
            **{name: rest(getattr(self, name)) for name in _ADDED},
        )


SUMS = tuple(one.name for one in fields(Moments))
"""The name of every sum, in order."""

_VALUES = {one.name: one.metadata["values"] for one in fields(Moments) if one.metadata}
_ADDED = tuple(_VALUES)


def cross_deviation(
    observed: npt.ArrayLike,
    estimate: npt.ArrayLike,
    group: npt.ArrayLike,
    centre: npt.ArrayLike,
) -> Array:
    """Return Σ|M−c||O−c| by group, the part of Willmott's index that moments do not hold.

    The sum depends on the centre c of the group (its mean observation), which is known only
    after a first pass; sums over disjoint pairs with the same centre add up.

    Parameters
    ----------
    observed, estimate : array_like, shape (pairs,)
        µg m⁻³, without NaN.
    group : array_like of int, shape (pairs,)
        Group of each pair, 0 … len(centre)−1.
    centre : array_like, shape (groups,)
        c of each group, µg m⁻³.

    Returns
    -------
    ndarray, shape (groups,)
        (µg m⁻³)².
    """
    observed, estimate, group = np.asarray(observed), np.asarray(estimate), np.asarray(group)
    centre = np.asarray(centre, dtype=np.float64)
    total = np.zeros(len(centre))
    for first in range(0, len(observed), _CHUNK):
        part = slice(first, first + _CHUNK)
        code = group[part]
        product = (estimate[part] - centre[code]) * (observed[part] - centre[code])
        total += np.bincount(code, np.abs(product), len(centre))
    return total


def _sum_chunk(pair: PairValues, code: IntArray, size: int) -> Moments:
    if not np.isfinite(pair.error).all():
        raise ValueError("pairs with NaN or infinity must be left out before summing")

    runs = np.flatnonzero(np.diff(code, prepend=-1))
    in_order = bool((np.diff(code) >= 0).all())

    def summed(values: npt.NDArray[Any]) -> Array:
        values = values.astype(np.float64, copy=False)
        if in_order:
            # Pairs that come group by group are summed run by run, several times as fast.
            total = np.zeros(size)
            total[code[runs]] = np.add.reduceat(values, runs)
            return total
        return np.bincount(code, values, size).astype(np.float64, copy=False)

    n = np.bincount(code, minlength=size).astype(np.float64)
    mean_o = divide(summed(pair.o), n, otherwise=0.0)
    mean_m = divide(summed(pair.m), n, otherwise=0.0)
    away_o = pair.o - mean_o[code]
    away_m = pair.m - mean_m[code]
    return Moments.only(
        n=n,
        mean_o=mean_o,
        mean_m=mean_m,
        ss_o=summed(away_o**2),
        ss_m=summed(away_m**2),
        sp=summed(away_o * away_m),
        **{name: summed(values(pair)) for name, values in _VALUES.items()},
    )


def _sum_rows(o: Array, m: Array) -> Moments:
    """Sum each row; the arrays given are overwritten."""
    with np.errstate(invalid="ignore"):
        error = m - o
    valid = np.isfinite(error)
    n = np.count_nonzero(valid, axis=1).astype(np.float64)
    whole = bool(valid.all())
    if not whole:
        for values in (o, m, error):
            values[~valid] = 0.0
    mean_o = divide(o.sum(axis=1), n, otherwise=0.0)
    mean_m = divide(m.sum(axis=1), n, otherwise=0.0)
    o -= mean_o[:, None]
    m -= mean_m[:, None]
    if not whole:
        o[~valid] = m[~valid] = 0.0

    def products(a: Array, b: Array) -> Array:
        return np.asarray(np.einsum("ij,ij->i", a, b))

    return Moments.only(
        n=n,
        mean_o=mean_o,
        mean_m=mean_m,
        ss_o=products(o, o),
        ss_m=products(m, m),
        sp=products(o, m),
        square_error=products(error, error),
        absolute_error=np.abs(error, out=error).sum(axis=1),
    )
