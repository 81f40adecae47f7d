"""Controls: products whose worth is known, to see what the verdicts say of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, IntArray, divide
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import NoDataError
from deepcams_eval.evidence import added_value
from deepcams_eval.evidence.added_value.sample import Sample
from deepcams_eval.evidence.lags import Series
from deepcams_eval.evidence.questions import Given
from deepcams_eval.evidence.references import Grid

INFORMED = ("5 % of the truth", "half of a product")
"""Controls that know something; the others are made of the coarse product alone."""


def controls(given: Given, rng: np.random.Generator) -> pd.DataFrame:
    """Return the verdicts on copies of the best interpolation of the coarse product.

    The copies are the interpolation itself, damped by 20 % towards its mean at the station, its
    mean over 5 h, recalibrated (0.8 x + 4 µg m⁻³), one hour later and earlier, and with noise of
    20 %; none of them may be called better. Two more know something: 5 % of the difference to the
    observations, and half of that to the first product that is finer than the coarse one.

    Parameters
    ----------
    given : Given
        Of a run whose baseline has a product finer than it beside it.
    rng : numpy.random.Generator
        Draws the noise.

    Returns
    -------
    pandas.DataFrame
        The rows of ``verdicts.csv``, ``product`` being the control.

    Raises
    ------
    NoDataError
        If the run has no finer product, or no interpolation of the baseline.
    """
    sample = Sample.of(given) if given.grids else None
    if sample is None or not sample.fine or not sample.references:
        raise NoDataError(
            f"nothing is finer than the baseline {given.baseline}, so that there is nothing to try",
            hint="name a product with smaller cells or steps than it",
        )
    product = sample.fine[0]
    _, (_, column) = sample.best_reference(product)
    made = _copies(sample, column, product, rng)
    table = given.pairs.table.assign(**{name: one.astype(np.float32) for name, one in made.items()})
    grids: dict[str, Grid] = {given.baseline: sample.grids[given.baseline]}
    grids |= dict.fromkeys(made, sample.grids[product])
    frames = added_value.answer(
        Given(
            Pairs(table, tuple(grids)),
            {},
            {},
            given.baseline,
            references=given.references,
            grids=grids,
        )
    )
    if frames is None:
        raise NoDataError("no control has a pair", hint="choose years in which products have data")
    return frames["verdicts"]


def _copies(
    sample: Sample, column: str, product: str, rng: np.random.Generator
) -> Mapping[str, Array]:
    copy, other = (sample.values(name).astype(np.float64) for name in (column, product))
    known = np.isfinite(copy)
    count = np.bincount(sample.station[known], minlength=len(sample.stations))
    total = np.bincount(sample.station[known], copy[known], len(sample.stations))
    mean = divide(total, count)[sample.station]
    series = Series.of(sample.pairs)
    at = {shift: _taken(copy, series.rows_at(shift)) for shift in range(-2, 3)}
    there = [np.isfinite(one) for one in at.values()]
    window = divide(np.nansum(list(at.values()), axis=0), np.sum(there, axis=0))
    return {
        "the interpolation itself": copy,
        "damped by 20 %": mean + 0.8 * (copy - mean),
        "mean over 5 h": np.where(known, window, np.nan),
        "recalibrated": 0.8 * copy + 4.0,
        "1 h late": at[-1],
        "1 h early": at[1],
        "with noise of 20 %": copy * np.exp(rng.normal(0.0, 0.2, len(copy))),
        INFORMED[0]: copy + 0.05 * (sample.observed - copy),
        INFORMED[1]: copy + 0.5 * (other - copy),
    }


def _taken(values: Array, rows: IntArray) -> Array:
    """Return the values of some rows; NaN where there is none."""
    return np.where(rows >= 0, values[rows], np.nan)
