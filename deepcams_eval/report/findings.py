"""What was found, in sentences made from rows of the scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepcams_eval.report import wording
from deepcams_eval.report.content import Content, records
from deepcams_eval.score.intervals import excludes_zero
from deepcams_eval.score.metrics import HEADLINE_METRICS


@dataclass(frozen=True)
class Card:
    """Scores in short.

    Attributes
    ----------
    title, note : str
        Whose they are, and what they are of.
    scores : tuple of (str, str, str)
        Name, value with unit, and interval, "" where there is none.
    """

    title: str
    scores: tuple[tuple[str, str, str], ...]
    note: str


def headlines(content: Content) -> list[Card]:
    """Return the overall scores of each product that has pairs."""
    found = []
    for product in content.products:
        row = content.score(product, "all", "all")
        if row is None:
            continue
        split = {key: wording.with_interval(row, key).split(" ", 1) for key in HEADLINE_METRICS}
        scores = tuple(
            (one.label, split[key][0] + one.unit_after, split[key][1])
            for key, one in HEADLINE_METRICS.items()
        )
        found.append(Card(product, scores, _pairs(row)))
    return found


def sentences(content: Content) -> list[str]:
    """Return a sentence a product, and one for each difference from the baseline."""
    lines = []
    for product in content.products:
        row = content.score(product, "all", "all")
        if row is None:
            lines.append(f"{product} has no pairs on the {content.sample} sample.")
            continue
        parts = ", ".join(
            f"{one.label} {wording.with_interval(row, key)}{one.unit_after}"
            for key, one in HEADLINE_METRICS.items()
        )
        lines.append(f"{product}, {_pairs(row)}: {parts}.{_missing(row)}")
    return lines + _differences(content)


def _differences(content: Content) -> list[str]:
    table = content.differences
    if table.empty:
        if len(content.products) == 1:
            return ["There is one product, so nothing to compare it with."]
        return [f"No product has a pair in common with the baseline {content.baseline}."]
    lines = []
    for row in records(table[table["stratum"] == "all"]):
        parts = [
            f"{one.label} {wording.with_interval(row, f'd_{key}', sign=True)}{one.unit_after} "
            f"({_said(row, key)})"
            for key, one in HEADLINE_METRICS.items()
        ]
        lines.append(
            f"{row['product']} − {row['baseline']}, N = {wording.number(row['n'], 0)} pairs that "
            f"both have: {', '.join(parts)}."
        )
    return lines


def _said(row: Mapping[str, Any], key: str) -> str:
    """Return what an interval says; which product is better is for the verdicts to say."""
    low, high = row[f"d_{key}_lo"], row[f"d_{key}_hi"]
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    if excludes_zero(low, high):
        return "interval excludes zero"
    return "interval includes zero: no difference shown"


def _pairs(row: Mapping[str, Any]) -> str:
    stations = wording.plural(int(row["stations"]), "station")
    return f"N = {wording.number(row['n'], 0)} at {stations}"


def _missing(row: Mapping[str, Any]) -> str:
    if not math.isfinite(row["r"]):
        return " R is undefined: it needs at least two pairs in which both vary."
    if not math.isfinite(row["rmse_lo"]):
        return f" {wording.DASH} stands for no interval: fewer than 5 stations."
    return ""
