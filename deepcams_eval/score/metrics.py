"""Scores out of sums: the only place where a score is computed.

M is the estimate (a product), O the observation, N the number of pairs. All functions take
`Moments` and return an array of its shape; a score that is undefined is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from deepcams_eval.score.moments import Moments

Array = npt.NDArray[np.float64]


def r(sums: Moments) -> Array:
    """Pearson correlation of M and O; NaN for N < 2 or where either does not vary.

    R = Σ(M−M̄)(O−Ō) / √(Σ(M−M̄)² Σ(O−Ō)²), dimensionless.
    """
    spread = np.sqrt(sums.ss_o) * np.sqrt(sums.ss_m)
    # Rounding leaves a residue of the order of ε²·N·mean² where the values are all the same.
    floor_o = _residue(sums.n, sums.mean_o)
    floor_m = _residue(sums.n, sums.mean_m)
    varies = (sums.n >= 2) & (sums.ss_o > floor_o) & (sums.ss_m > floor_m)
    return np.clip(_divide(sums.sp, spread, varies), -1.0, 1.0)


def rmse(sums: Moments) -> Array:
    """Root-mean-square error √(Σ(M−O)²/N), µg m⁻³."""
    return np.sqrt(_mean(sums.square_error, sums))


def mae(sums: Moments) -> Array:
    """Mean absolute error Σ|M−O|/N, µg m⁻³."""
    return _mean(sums.absolute_error, sums)


def mb(sums: Moments) -> Array:
    """Mean bias Σ(M−O)/N, µg m⁻³; positive where the product is too high."""
    return np.where(sums.n > 0, sums.mean_m - sums.mean_o, np.nan)


def crmse(sums: Moments) -> Array:
    """Centred root-mean-square error √(Σ((M−M̄)−(O−Ō))²/N), µg m⁻³; RMSE² = CRMSE² + MB²."""
    centred = np.maximum(sums.ss_m + sums.ss_o - 2 * sums.sp, 0.0)
    return np.sqrt(_mean(centred, sums))


def sd_ratio(sums: Moments) -> Array:
    """Ratio of the standard deviations of M and O, dimensionless; NaN where O does not vary."""
    varies = (sums.n >= 2) & (sums.ss_o > _residue(sums.n, sums.mean_o))
    return np.sqrt(_divide(sums.ss_m, sums.ss_o, varies))


def nmb(sums: Moments) -> Array:
    """Normalised mean bias Σ(M−O)/ΣO, dimensionless; the divisor is the observed sum."""
    return _divide(sums.mean_m - sums.mean_o, sums.mean_o, (sums.n > 0) & (sums.mean_o != 0))


def mnmb(sums: Moments) -> Array:
    """Mean bias, modified and normalised: 2/N Σ(M−O)/(M+O), in [−2, 2].

    Pairs with M + O ≤ 0 (negative observations) are left out of the sum and of N: the ratio has
    no meaning there, and one such pair near zero would outweigh all others.
    """
    return 2 * _divide(sums.fractional_bias, sums.n_fractional, sums.n_fractional > 0)


def fge(sums: Moments) -> Array:
    """Fractional gross error 2/N Σ|M−O|/(M+O), in [0, 2]; pairs are left out as in `mnmb`."""
    return 2 * _divide(sums.fractional_error, sums.n_fractional, sums.n_fractional > 0)


def fac2(sums: Moments) -> Array:
    """Share of pairs with 0.5 ≤ M/O ≤ 2; O = 0 is a failure unless M = 0."""
    return _mean(sums.within_factor_2, sums)


def slope(sums: Moments) -> Array:
    """Slope of the least-squares line M = slope·O + intercept, dimensionless."""
    varies = (sums.n >= 2) & (sums.ss_o > _residue(sums.n, sums.mean_o))
    return _divide(sums.sp, sums.ss_o, varies)


def intercept(sums: Moments) -> Array:
    """Intercept of the least-squares line M = slope·O + intercept, µg m⁻³."""
    return sums.mean_m - slope(sums) * sums.mean_o


def ioa(sums: Moments, cross: Array) -> Array:
    """Willmott's index of agreement of 1981, in [0, 1].

    d = 1 − Σ(M−O)² / Σ(|M−Ō| + |O−Ō|)² (Willmott 1981, Physical Geography 2, 184-194,
    doi:10.1080/02723646.1981.10642213).

    Parameters
    ----------
    sums : Moments
        Sums over the pairs.
    cross : ndarray
        Σ|M−Ō||O−Ō| from `deepcams_eval.score.moments.cross_deviation` with Ō as the centre.
    """
    from_centre = sums.ss_m + sums.n * (sums.mean_m - sums.mean_o) ** 2
    potential = from_centre + sums.ss_o + 2 * cross
    disagreement = _divide(sums.square_error, potential, potential > 0)
    return 1.0 - disagreement


SCORES: Mapping[str, Callable[[Moments], Array]] = {
    "r": r,
    "rmse": rmse,
    "mae": mae,
    "mb": mb,
    "nmb": nmb,
    "mnmb": mnmb,
    "fge": fge,
    "fac2": fac2,
    "slope": slope,
    "intercept": intercept,
}
"""Scores that need nothing but sums, by the name of their column."""

HEADLINE = ("r", "rmse", "mae")
"""Scores that get an interval, a difference and a median over stations."""


def _mean(total: Array, sums: Moments) -> Array:
    return _divide(total, sums.n, sums.n > 0)


def _divide(numerator: Array, denominator: Array, defined: npt.NDArray[np.bool_]) -> Array:
    result = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=defined)
    return result


def _residue(n: Array, mean: Array) -> Array:
    return 4 * n * (np.finfo(np.float64).eps * mean) ** 2
