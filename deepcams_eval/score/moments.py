"""Mergeable sums over pairs of observed and estimated PM2.5.

Every score of this package is a function of these sums. Means and centred second moments are
kept instead of raw sums of squares, and combined after Chan, Golub and LeVeque (1983, The
American Statistician 37, 242-247, doi:10.1080/00031305.1983.10483115), so that nothing cancels
however large the mean is beside the spread.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

_CHUNK = 65_536
_FRACTIONAL = ("n_fractional", "fractional_bias", "fractional_error", "within_factor_2")


@dataclass(frozen=True)
class Moments:
    """Sums over the pairs of each group; all arrays have the same shape, one entry a group.

    O is observed, M is the estimate, both in µg m⁻³. An empty group has zeros everywhere.

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
    """

    n: Array
    mean_o: Array
    mean_m: Array
    ss_o: Array
    ss_m: Array
    sp: Array
    square_error: Array
    absolute_error: Array
    n_fractional: Array
    fractional_bias: Array
    fractional_error: Array
    within_factor_2: Array

    @classmethod
    def empty(cls, size: int) -> Moments:
        """Return `size` groups without a pair."""
        return cls(*(np.zeros(size) for _ in fields(cls)))

    @classmethod
    def of(
        cls,
        observed: npt.ArrayLike,
        estimate: npt.ArrayLike,
        group: npt.ArrayLike | None = None,
        size: int = 1,
        *,
        chunk: int = _CHUNK,
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
        chunk : int
            Pairs summed at a time; it bounds the memory of the temporaries.

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
        for first in range(0, len(observed), chunk):
            part = slice(first, first + chunk)
            # Pairs come sorted by station, so a chunk touches a short range of groups.
            low, high = int(codes[part].min()), int(codes[part].max()) + 1
            summed = _sum_chunk(
                observed[part].astype(np.float64),
                estimate[part].astype(np.float64),
                codes[part] - low,
                high - low,
            )
            total._put(slice(low, high), total._at(slice(low, high)) + summed)
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
            Of shape (rows,). The fractional sums and `within_factor_2` are not computed but NaN,
            so that a score that needs them is NaN as well.

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
            total._put(
                part,
                _sum_rows(observed[part].astype(np.float64), estimate[part].astype(np.float64)),
            )
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
        additive = [field.name for field in fields(self) if field.name not in ("mean_o", "mean_m")]
        return replace(self, **{name: getattr(self, name) * weight for name in additive})

    def __add__(self, other: Moments) -> Moments:
        """Merge two sets of sums over disjoint pairs, group by group."""
        n = self.n + other.n
        share = np.divide(other.n, n, out=np.zeros_like(n), where=n > 0)
        step_o = other.mean_o - self.mean_o
        step_m = other.mean_m - self.mean_m
        between = self.n * share
        return Moments(
            n=n,
            mean_o=self.mean_o + step_o * share,
            mean_m=self.mean_m + step_m * share,
            ss_o=self.ss_o + other.ss_o + step_o**2 * between,
            ss_m=self.ss_m + other.ss_m + step_m**2 * between,
            sp=self.sp + other.sp + step_o * step_m * between,
            square_error=self.square_error + other.square_error,
            absolute_error=self.absolute_error + other.absolute_error,
            n_fractional=self.n_fractional + other.n_fractional,
            fractional_bias=self.fractional_bias + other.fractional_bias,
            fractional_error=self.fractional_error + other.fractional_error,
            within_factor_2=self.within_factor_2 + other.within_factor_2,
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
        mean_o = _ratio(gathered(self.n * self.mean_o), n)
        mean_m = _ratio(gathered(self.n * self.mean_m), n)
        away_o = self.mean_o - mean_o[code].reshape(self.n.shape)
        away_m = self.mean_m - mean_m[code].reshape(self.n.shape)
        return Moments(
            n=n,
            mean_o=mean_o,
            mean_m=mean_m,
            ss_o=gathered(self.ss_o + self.n * away_o**2),
            ss_m=gathered(self.ss_m + self.n * away_m**2),
            sp=gathered(self.sp + self.n * away_o * away_m),
            square_error=gathered(self.square_error),
            absolute_error=gathered(self.absolute_error),
            n_fractional=gathered(self.n_fractional),
            fractional_bias=gathered(self.fractional_bias),
            fractional_error=gathered(self.fractional_error),
            within_factor_2=gathered(self.within_factor_2),
        )

    def _at(self, groups: slice) -> Moments:
        return Moments(*(getattr(self, field.name)[groups] for field in fields(self)))

    def _put(self, groups: slice, sums: Moments) -> None:
        for field in fields(self):
            getattr(self, field.name)[groups] = getattr(sums, field.name)

    def reshape(self, *shape: int) -> Moments:
        """Return the same groups in another shape."""
        return Moments(*(getattr(self, field.name).reshape(shape) for field in fields(self)))

    def weighted(self, weights: Array) -> Moments:
        """Merge clusters with whole-number weights, many sets of weights at once.

        This is what a bootstrap over clusters needs: a resample is a vector of how often each
        cluster was drawn. The fractional errors and the factor of 2 are carried like the rest.

        Parameters
        ----------
        weights : ndarray, shape (resamples, clusters)
            How often each cluster is taken.

        Returns
        -------
        Moments
            Of shape (resamples, strata) for groups of shape (clusters, strata).
        """
        # A common centre a column keeps the products small, so that subtracting loses no digits.
        n_all = self.n.sum(axis=0)
        centre_o = _ratio((self.n * self.mean_o).sum(axis=0), n_all)
        centre_m = _ratio((self.n * self.mean_m).sum(axis=0), n_all)
        away_o = np.where(self.n > 0, self.mean_o - centre_o, 0.0)
        away_m = np.where(self.n > 0, self.mean_m - centre_m, 0.0)
        columns = np.stack(
            [
                self.n,
                self.n * away_o,
                self.n * away_m,
                self.ss_o + self.n * away_o**2,
                self.ss_m + self.n * away_m**2,
                self.sp + self.n * away_o * away_m,
                self.square_error,
                self.absolute_error,
                self.n_fractional,
                self.fractional_bias,
                self.fractional_error,
                self.within_factor_2,
            ]
        )
        kinds, clusters, strata = columns.shape
        flat = columns.transpose(1, 0, 2).reshape(clusters, kinds * strata)
        taken = (weights @ flat).reshape(len(weights), kinds, strata)
        n = taken[:, 0]
        shift_o = _ratio(taken[:, 1], n)
        shift_m = _ratio(taken[:, 2], n)
        return Moments(
            n=n,
            mean_o=np.where(n > 0, centre_o + shift_o, 0.0),
            mean_m=np.where(n > 0, centre_m + shift_m, 0.0),
            ss_o=np.maximum(taken[:, 3] - n * shift_o**2, 0.0),
            ss_m=np.maximum(taken[:, 4] - n * shift_m**2, 0.0),
            sp=taken[:, 5] - n * shift_o * shift_m,
            square_error=taken[:, 6],
            absolute_error=taken[:, 7],
            n_fractional=taken[:, 8],
            fractional_bias=taken[:, 9],
            fractional_error=taken[:, 10],
            within_factor_2=taken[:, 11],
        )


def cross_deviation(
    observed: npt.ArrayLike,
    estimate: npt.ArrayLike,
    group: npt.ArrayLike,
    centre: npt.ArrayLike,
    *,
    chunk: int = _CHUNK,
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
    chunk : int
        Pairs summed at a time.

    Returns
    -------
    ndarray, shape (groups,)
        (µg m⁻³)².
    """
    observed, estimate, group = np.asarray(observed), np.asarray(estimate), np.asarray(group)
    centre = np.asarray(centre, dtype=np.float64)
    total = np.zeros(len(centre))
    for first in range(0, len(observed), chunk):
        code = group[first : first + chunk]
        middle = centre[code]
        product = (estimate[first : first + chunk] - middle) * (
            observed[first : first + chunk] - middle
        )
        total += np.bincount(code, np.abs(product), len(centre))
    return total


def _sum_chunk(o: Array, m: Array, code: IntArray, size: int) -> Moments:
    error = m - o
    if not np.isfinite(error).all():
        raise ValueError("pairs with NaN or infinity must be left out before summing")

    runs = np.flatnonzero(np.diff(code, prepend=-1))
    in_order = bool((np.diff(code) >= 0).all())

    def summed(values: Array) -> Array:
        if in_order:
            # Pairs that come group by group are summed run by run, several times as fast.
            total = np.zeros(size)
            total[code[runs]] = np.add.reduceat(values, runs)
            return total
        return np.bincount(code, values, size).astype(np.float64, copy=False)

    n = np.bincount(code, minlength=size).astype(np.float64)
    mean_o = _ratio(summed(o), n)
    mean_m = _ratio(summed(m), n)
    away_o = o - mean_o[code]
    away_m = m - mean_m[code]
    both = o + m
    positive = both > 0
    fraction = np.divide(error, both, out=np.zeros_like(error), where=positive)
    low, high = np.minimum(0.5 * o, 2 * o), np.maximum(0.5 * o, 2 * o)
    absolute = np.abs(error)
    return Moments(
        n=n,
        mean_o=mean_o,
        mean_m=mean_m,
        ss_o=summed(away_o**2),
        ss_m=summed(away_m**2),
        sp=summed(away_o * away_m),
        square_error=summed(error**2),
        absolute_error=summed(absolute),
        n_fractional=summed(positive.astype(np.float64)),
        fractional_bias=summed(fraction),
        fractional_error=summed(np.abs(fraction)),
        within_factor_2=summed(((m >= low) & (m <= high)).astype(np.float64)),
    )


def _sum_rows(o: Array, m: Array) -> Moments:
    """Sum each row; the arrays given are overwritten."""
    with np.errstate(invalid="ignore"):
        error = m - o
    valid = np.isfinite(error)
    n = np.full(len(o), float(o.shape[1]))
    whole = bool(valid.all())
    if not whole:
        n = valid.sum(axis=1).astype(np.float64)
        for values in (o, m, error):
            values[~valid] = 0.0
    mean_o = _ratio(o.sum(axis=1), n)
    mean_m = _ratio(m.sum(axis=1), n)
    o -= mean_o[:, None]
    m -= mean_m[:, None]
    if not whole:
        o[~valid] = 0.0
        m[~valid] = 0.0

    def products(a: Array, b: Array) -> Array:
        return np.asarray(np.einsum("ij,ij->i", a, b))

    sums = {
        "n": n,
        "mean_o": mean_o,
        "mean_m": mean_m,
        "ss_o": products(o, o),
        "ss_m": products(m, m),
        "sp": products(o, m),
        "square_error": products(error, error),
        "absolute_error": np.abs(error, out=error).sum(axis=1),
    }
    return Moments(**sums, **{name: np.full(len(o), np.nan) for name in _FRACTIONAL})


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
