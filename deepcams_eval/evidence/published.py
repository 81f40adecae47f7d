"""Do the published in-situ scores agree with ours: with what their rounding leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report import published
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import number

HALF_UNIT = 0.005
"""Published values have two digits after the point: each may be off by half of the last."""

COLUMNS = (
    *("product", "baseline", "value", "metric", "published", "published_lo", "published_hi"),
    *("ours", "ours_lo", "ours_hi", "agrees"),
)
_MEAN = "mean of years"


def answer(given: Given) -> Frames:
    """Return each published score beside ours, by year, and the published gain.

    A rounded value P stands for anything in P ± 0.005; the mean of years for anything in the mean
    of these ranges, and the gain of one product over another for anything in the difference of
    two of them, ± 0.01.

    Returns
    -------
    mapping of str to pandas.DataFrame
        ``published``, of the columns `COLUMNS`. ``baseline`` is "" for a score. ``agrees``
        (nullable boolean): whether our 95 % interval meets the range of the published value; NA
        where we have no score or no interval, for means of years, to which no interval of ours
        belongs, and where months, a region, countries or kinds of instruments were left out: what
        was published is of whole years and all stations.
    """
    figure = published.figure6()
    rows = [
        _row(
            line["product"], "", str(line["year"]), metric, line[metric], _ours(given.scores, line)
        )
        for line in records(figure)
        for metric in published.SCORES
    ]
    means = figure.groupby("product")[list(published.SCORES)].mean()
    for metric in published.SCORES:
        mean = {str(name): float(value) for name, value in means[metric].items()}
        rows += [_row(name, "", _MEAN, metric, value, {}) for name, value in mean.items()]
        gain = mean["deepcams"] - mean["cams"]
        rows.append(_row("deepcams", "cams", _MEAN, metric, gain, {}, half=2 * HALF_UNIT))
    agreement = pd.DataFrame(rows)[list(COLUMNS)]
    if given.restricted:
        agreement["agrees"] = pd.NA
    return {"published": agreement.astype({"agrees": "boolean"})}


def _ours(table: pd.DataFrame, line: dict[str, Any]) -> dict[str, Any]:
    if table.empty:
        return {}
    same = (table["product"] == line["product"]) & (table["stratum"] == "year")
    found = records(table[same & (table["value"].astype(str) == str(line["year"]))])
    return found[0] if found else {}


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


def section(frames: Frames, content: Content) -> Section | None:
    """Return the section of the page, or None where there is nothing to set beside each other."""
    table = frames["published"]
    ours = table["ours"].notna()
    if {"cams", "deepcams"} <= set(content.products):
        ours |= table["baseline"] != ""
    # What was published for real stations says nothing about generated ones.
    if content.synthetic or not ours.any():
        return None
    shown = table[ours]
    return Section(
        name="published",
        label="Published",
        title="Do the published scores agree?",
        sentences=tuple(_sentences(shown)),
        tables=(_table(shown),),
    )


def _sentences(agreement: pd.DataFrame) -> Iterator[str]:
    gains = agreement[agreement["baseline"] != ""]
    for row in records(gains[gains["metric"] == "r"]):
        low, high = row["published_lo"], row["published_hi"]
        within = "includes none at all" if low <= 0 <= high else "excludes none"
        yield (
            f"The published gain of {row['product']} over {row['baseline']} in R, "
            f"{number(row['published'], 3, sign=True)} as the mean of years, stands for anything "
            f"between {number(low, 3, sign=True)} and {number(high, 3, sign=True)}, since the "
            f"values are rounded to two digits: that {within}."
        )
    known = agreement.dropna(subset=["agrees"])
    if len(known):
        yield (
            f"{int(known['agrees'].sum())} of {len(known)} published scores lie within our "
            "intervals, their rounding allowed for."
        )
    elif agreement[["ours_lo", "ours_hi"]].notna().all(axis="columns").any():
        yield (
            "Whether published scores lie within our intervals is not asked: they are of whole "
            "years and of all stations, and this run is restricted to some."
        )


def _table(agreement: pd.DataFrame) -> Table:
    names = {metric: metric.upper() for metric in published.SCORES}
    return Table(
        "published",
        "Published scores, their rounding, and ours",
        (
            parts.PRODUCT,
            Column("baseline", "less"),
            Column("value", "Year"),
            Column("metric", "Score"),
            Column("published", "Published", decimals=3),
            Column("published_lo", "stands for", decimals=3),
            Column("published_hi", "to", decimals=3),
            Column("ours", "Ours", "", 3, True),
            Column("agrees", "Agrees"),
        ),
        agreement.assign(
            metric=agreement["metric"].map(names),
            agrees=agreement["agrees"].map({True: "yes", False: "no"}),
        ),
        notes=(
            "Read off Fig. 6. The published samples of the two products differ; ours are those of "
            "the tables.",
        ),
    )


QUESTION = Question("published", 30, answer, section)
