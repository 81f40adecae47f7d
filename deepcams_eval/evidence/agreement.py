"""The published in-situ scores beside ours, with what their rounding leaves open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.report import published
from deepcams_eval.score import metrics

HALF_UNIT = 0.005
"""Published values have two digits after the point: each may be off by half of the last."""

COLUMNS = (
    "product",
    "baseline",
    "value",
    "metric",
    "published",
    "published_lo",
    "published_hi",
    "ours",
    "ours_lo",
    "ours_hi",
    "agrees",
)
_MEAN = "mean of years"


def published_agreement(table: pd.DataFrame, *, restricted: bool = False) -> pd.DataFrame:
    """Return each published score beside ours, by year, and the published gain.

    A rounded value P stands for anything in P ± 0.005; the mean of years for anything in the mean
    of these ranges, and the gain of one product over another for anything in the difference of
    two of them, ± 0.01.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of ``scores.csv`` of one sample.
    restricted : bool
        Whether months, a region, countries or kinds of instruments were left out. What was
        published is of whole years and all stations, so that nothing then agrees or disagrees.

    Returns
    -------
    pandas.DataFrame
        Of the columns `COLUMNS`. ``baseline`` is "" for a score. ``agrees`` (nullable boolean):
        whether our 95 % interval meets the range of the published value; NA where we have no
        score or no interval, for means of years, to which no interval of ours belongs, and where
        the run is restricted.
    """
    figure = published.figure6()
    rows = [
        _row(str(line["product"]), "", str(line["year"]), metric, float(line[metric]), ours)
        for line in figure.to_dict("records")
        for metric in metrics.HEADLINE
        for ours in [_ours(table, str(line["product"]), str(line["year"]))]
    ]
    means = figure.groupby("product")[list(metrics.HEADLINE)].mean()
    for metric in metrics.HEADLINE:
        by_product = {str(name): float(value) for name, value in means[metric].items()}
        rows += [_row(name, "", _MEAN, metric, value, {}) for name, value in by_product.items()]
        gain = by_product["deepcams"] - by_product["cams"]
        rows.append(_row("deepcams", "cams", _MEAN, metric, gain, {}, half=2 * HALF_UNIT))
    agreement = pd.DataFrame(rows)[list(COLUMNS)]
    if restricted:
        agreement["agrees"] = pd.NA
    return agreement.astype({"agrees": "boolean"})


def _ours(table: pd.DataFrame, product: str, year: str) -> dict[str, Any]:
    mine = table[
        (table["product"] == product)
        & (table["stratum"] == "year")
        & (table["value"].astype(str) == year)
    ]
    return {} if mine.empty else {str(key): value for key, value in mine.iloc[0].items()}


def _row(
    product: str,
    baseline: str,
    value: str,
    metric: str,
    printed: float,
    ours: dict[str, Any],
    half: float = HALF_UNIT,
) -> dict[str, Any]:
    low, high = (float(ours.get(f"{metric}_{end}", np.nan)) for end in ("lo", "hi"))
    meets = low <= printed + half and printed - half <= high
    return {
        "product": product,
        "baseline": baseline,
        "value": value,
        "metric": metric,
        "published": printed,
        "published_lo": printed - half,
        "published_hi": printed + half,
        "ours": float(ours.get(metric, np.nan)),
        "ours_lo": low,
        "ours_hi": high,
        "agrees": meets if np.isfinite([low, high]).all() else pd.NA,
    }
