"""The registry of metrics: everything that the package knows of a score stands here, once.

M is the estimate (a product), O the observation, N the number of pairs. All functions take
`Moments` and return an array of its shape; a score that is undefined is NaN. A new metric is one
entry of `METRICS`: it then has a column in ``scores.csv`` and, where it says so, in the tables
and definitions of the page. A sum that it needs and that is not there yet is one line of
`deepcams_eval.score.moments.Moments`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deepcams_eval.core.arrays import Array, divide
from deepcams_eval.core.species import UNIT
from deepcams_eval.score.moments import SUMS, Moments

Better = Literal["high", "low", "near_zero"]
Scale = Literal["identity", "log", "fisher", "logit"]


@dataclass(frozen=True)
class Metric:
    """A score: how it is computed, named and shown. Called with sums it returns its values.

    Attributes
    ----------
    key : str
        Its column.
    label : str
        What readers see.
    function : callable
        From `Moments` to an array of its shape, NaN where undefined.
    needs : tuple of str
        The sums that it is made of, attributes of `Moments`.
    definition : str
        What it is, for the page: formula, unit and, if it needs one, source.
    unit : str
        "" where it is dimensionless.
    digits : int
        After the point, in tables and sentences.
    better : {"high", "low", "near_zero"}, optional
        None where there is no better.
    scale : {"identity", "log", "fisher", "logit"}
        On which its interval is made: the logarithm for errors and ratios, Fisher's z for
        correlations, the logit for shares.
    headline : bool
        Whether it gets an interval, a difference from the baseline and a median over stations,
        and stands in figures and sentences.
    tabulated : bool
        Whether it stands in the tables and definitions of the page; it is in ``scores.csv``
        all the same.
    """

    key: str
    label: str
    function: Callable[[Moments], Array]
    needs: tuple[str, ...]
    definition: str
    unit: str = ""
    digits: int = 3
    better: Better | None = None
    scale: Scale = "identity"
    headline: bool = False
    tabulated: bool = False

    def __post_init__(self) -> None:
        unknown = set(self.needs) - set(SUMS)
        if unknown:
            raise ValueError(f"{self.key} needs {', '.join(sorted(unknown))}, no sum of Moments")

    def __call__(self, sums: Moments) -> Array:
        """Return the score of each group."""
        return self.function(sums)

    @property
    def header(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def unit_after(self) -> str:
        """What follows a number: a blank and the unit, or nothing."""
        return f" {self.unit}" if self.unit else ""


def r(sums: Moments) -> Array:
    """Pearson correlation of M and O; NaN for N < 2 or where either does not vary.

    R = Σ(M−M̄)(O−Ō) / √(Σ(M−M̄)² Σ(O−Ō)²), dimensionless.
    """
    spread = np.sqrt(sums.ss_o) * np.sqrt(sums.ss_m)
    # Rounding leaves a residue of the order of ε²·N·mean² where the values are all the same.
    floor_o = _residue(sums.n, sums.mean_o)
    floor_m = _residue(sums.n, sums.mean_m)
    varies = (sums.n >= 2) & (sums.ss_o > floor_o) & (sums.ss_m > floor_m)
    return np.clip(divide(sums.sp, spread, varies), -1.0, 1.0)


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
    return np.sqrt(divide(sums.ss_m, sums.ss_o, varies))


def kge(sums: Moments) -> Array:
    """Return the Kling-Gupta efficiency of 2012, dimensionless; 1 is perfect.

    KGE′ = 1 − √((R−1)² + (β−1)² + (γ−1)²), β = M̄/Ō, γ = (σ_M/M̄)/(σ_O/Ō) (Kling, Fuchs and Paulin
    2012, doi:10.1016/j.jhydrol.2012.01.011). NaN where R is, or where a mean is not positive.
    """
    defined = (sums.mean_o > 0) & (sums.mean_m > 0)
    beta = divide(sums.mean_m, sums.mean_o, defined)
    gamma = divide(sd_ratio(sums), beta)
    return 1 - np.sqrt((r(sums) - 1) ** 2 + (beta - 1) ** 2 + (gamma - 1) ** 2)


def mse_bias(sums: Moments) -> Array:
    """(M̄−Ō)², (µg m⁻³)²; the parts add up to the mean squared error (Murphy 1988)."""
    return mb(sums) ** 2


def mse_spread(sums: Moments) -> Array:
    """(σ_M−σ_O)² with σ² = Σ(·−mean)²/N, (µg m⁻³)²."""
    return (np.sqrt(_mean(sums.ss_m, sums)) - np.sqrt(_mean(sums.ss_o, sums))) ** 2


def mse_correlation(sums: Moments) -> Array:
    """2σ_Mσ_O(1−R), (µg m⁻³)²; 2σ_Mσ_O − 2Σ(M−M̄)(O−Ō)/N, so that R need not be defined."""
    both = np.sqrt(_mean(sums.ss_m, sums)) * np.sqrt(_mean(sums.ss_o, sums))
    return np.maximum(2 * (both - _mean(sums.sp, sums)), 0.0)


def nmb(sums: Moments) -> Array:
    """Normalised mean bias Σ(M−O)/ΣO, dimensionless; the divisor is the observed sum."""
    return divide(sums.mean_m - sums.mean_o, sums.mean_o, (sums.n > 0) & (sums.mean_o != 0))


def mnmb(sums: Moments) -> Array:
    """Mean bias, modified and normalised: 2/N Σ(M−O)/(M+O), in [−2, 2].

    Pairs with M + O ≤ 0 (negative observations) are left out of the sum and of N: the ratio has
    no meaning there, and one such pair near zero would outweigh all others.
    """
    return 2 * divide(sums.fractional_bias, sums.n_fractional)


def fge(sums: Moments) -> Array:
    """Fractional gross error 2/N Σ|M−O|/(M+O), in [0, 2]; pairs are left out as in `mnmb`."""
    return 2 * divide(sums.fractional_error, sums.n_fractional)


def fac2(sums: Moments) -> Array:
    """Share of pairs with 0.5 ≤ M/O ≤ 2; O = 0 is a failure unless M = 0."""
    return _mean(sums.within_factor_2, sums)


def slope(sums: Moments) -> Array:
    """Slope of the least-squares line M = slope·O + intercept, dimensionless."""
    varies = (sums.n >= 2) & (sums.ss_o > _residue(sums.n, sums.mean_o))
    return divide(sums.sp, sums.ss_o, varies)


def intercept(sums: Moments) -> Array:
    """Intercept of the least-squares line M = slope·O + intercept, µg m⁻³."""
    return sums.mean_m - slope(sums) * sums.mean_o


def ioa(sums: Moments) -> Array:
    """Willmott's index of agreement of 1981, in [0, 1]; NaN where `Moments.cross` is.

    d = 1 − Σ(M−O)² / Σ(|M−Ō| + |O−Ō|)² (Willmott 1981, Physical Geography 2, 184-194,
    doi:10.1080/02723646.1981.10642213).
    """
    from_centre = sums.ss_m + sums.n * (sums.mean_m - sums.mean_o) ** 2
    potential = from_centre + sums.ss_o + 2 * sums.cross
    return 1.0 - divide(sums.square_error, potential)


_SLOPE = ("n", "mean_o", "ss_o", "sp")
_FRACTION = "the pairs with M + O > 0"

METRICS = {
    metric.key: metric
    for metric in (
        Metric(
            "r", "R", r, ("n", "mean_o", "mean_m", "ss_o", "ss_m", "sp"),
            "Pearson correlation of M and O",
            better="high", scale="fisher", headline=True, tabulated=True,
        ),
        Metric(
            "rmse", "RMSE", rmse, ("n", "square_error"),
            f"root-mean-square error √(Σ(M−O)²/N), {UNIT}",
            UNIT, 2, "low", "log", headline=True, tabulated=True,
        ),
        Metric(
            "mae", "MAE", mae, ("n", "absolute_error"),
            f"mean absolute error Σ|M−O|/N, {UNIT}",
            UNIT, 2, "low", "log", headline=True, tabulated=True,
        ),
        Metric(
            "mb", "MB", mb, ("n", "mean_o", "mean_m"),
            f"mean bias Σ(M−O)/N, {UNIT}; positive where the product is too high",
            UNIT, 2, "near_zero", tabulated=True,
        ),
        Metric(
            "nmb", "NMB", nmb, ("n", "mean_o", "mean_m"),
            "normalised mean bias Σ(M−O)/ΣO",
            better="near_zero", tabulated=True,
        ),
        Metric(
            "mnmb", "MNMB", mnmb, ("n_fractional", "fractional_bias"),
            f"modified normalised mean bias 2/N Σ(M−O)/(M+O) over {_FRACTION}",
            better="near_zero",
        ),
        Metric(
            "fge", "FGE", fge, ("n_fractional", "fractional_error"),
            f"fractional gross error 2/N Σ|M−O|/(M+O) over {_FRACTION}",
            better="low",
        ),
        Metric(
            "fac2", "FAC2", fac2, ("n", "within_factor_2"),
            "share of pairs with 0.5 ≤ M/O ≤ 2",
            better="high", tabulated=True,
        ),
        Metric(
            "ioa", "IOA", ioa, ("n", "mean_o", "mean_m", "ss_o", "ss_m", "square_error", "cross"),
            "index of agreement 1 − Σ(M−O)²/Σ(|M−Ō|+|O−Ō|)² (Willmott 1981)",
            better="high",
        ),
        Metric(
            "kge", "KGE", kge, ("n", "mean_o", "mean_m", "ss_o", "ss_m", "sp"),
            "Kling-Gupta efficiency 1 − √((R−1)² + (M̄/Ō−1)² + (CV_M/CV_O−1)²) (Kling et al. 2012)",
            better="high",
        ),
        Metric(
            "mse_bias", "MSE, bias", mse_bias, ("n", "mean_o", "mean_m"),
            f"(M̄−Ō)², the part of the mean squared error that is bias, ({UNIT})²",
            f"({UNIT})²", 2, "low",
        ),
        Metric(
            "mse_spread", "MSE, spread", mse_spread, ("n", "ss_o", "ss_m"),
            f"(σ_M−σ_O)², the part that is a wrong spread, ({UNIT})²",
            f"({UNIT})²", 2, "low",
        ),
        Metric(
            "mse_correlation", "MSE, correlation", mse_correlation, ("n", "ss_o", "ss_m", "sp"),
            f"2σ_Mσ_O(1−R), the part that is a wrong order of values, ({UNIT})²",
            f"({UNIT})²", 2, "low",
        ),
        Metric("slope", "Slope", slope, _SLOPE, "slope of the least-squares line of M over O"),
        Metric(
            "intercept", "Intercept", intercept, (*_SLOPE, "mean_m"),
            f"intercept of the least-squares line of M over O, {UNIT}",
            UNIT, 2,
        ),
    )
}  # fmt: skip
"""Every score by its key, in the order of the columns of ``scores.csv``."""

HEADLINE = tuple(key for key, metric in METRICS.items() if metric.headline)
"""Scores that get an interval, a difference and a median over stations."""

HEADLINE_METRICS = {key: METRICS[key] for key in HEADLINE}


def _mean(total: Array, sums: Moments) -> Array:
    return divide(total, sums.n)


def _residue(n: Array, mean: Array) -> Array:
    return 4 * n * (np.finfo(np.float64).eps * mean) ** 2
