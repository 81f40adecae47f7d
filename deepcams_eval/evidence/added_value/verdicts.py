"""One sentence a question, with the interval that it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Verdict = Literal["better", "worse", "not shown", "too small"]

MIN_STATIONS = 10
"""Stations below which no verdict is given: the percentiles of fewer are too narrow."""

MIN_DAYS = 10
"""Distinct UTC days below which no verdict is given: an episode is no climate."""

VERDICT_COLUMNS = (
    "product",
    "question",
    "reference",
    "measure",
    "difference",
    "lo",
    "hi",
    "n",
    "stations",
    "cells",
    "days",
    "verdict",
    "sentence",
)


@dataclass(frozen=True)
class Enough:
    """What stands behind a comparison.

    Attributes
    ----------
    stations, days : int
        Stations, and distinct UTC days.
    cells, min_cells : int
        Cells of the parent and how many are needed, where these are resampled; else 0.
    """

    stations: int
    days: int
    cells: int = 0
    min_cells: int = 0

    def lacks(self) -> list[str]:
        """Return what there is too little of, in words."""
        if self.min_cells:
            counted = [(self.cells, self.min_cells, "cell")]
        else:
            counted = [(self.stations, MIN_STATIONS, "station"), (self.days, MIN_DAYS, "day")]
        return [
            f"{_plural(count, noun)} (at least {least} needed)"
            for count, least, noun in counted
            if count < least
        ]


def verdict_of(low: float, high: float, behind: Enough, *, lower_is_better: bool) -> Verdict:
    """Return what a 95 % interval of a difference product − reference says.

    Parameters
    ----------
    low, high : float
        The interval; NaN where there is none.
    behind : Enough
        The sample.
    lower_is_better : bool
        Whether a negative difference is to the product's credit.

    Returns
    -------
    str
        ``better`` or ``worse`` where the interval lies on one side of zero, ``not shown`` where
        it does not, ``too small`` where the sample is, or where there is no interval.
    """
    if behind.lacks() or not (np.isfinite(low) and np.isfinite(high)):
        return "too small"
    if low <= 0 <= high:
        return "not shown"
    return "better" if (high < 0) == lower_is_better else "worse"


def verdicts(
    comparisons: pd.DataFrame,
    within: pd.DataFrame,
    diurnal: pd.DataFrame,
    spectra: pd.DataFrame,
    *,
    parent: str,
    min_cells: int,
    band: str,
) -> pd.DataFrame:
    """Return one row a product and question.

    Parameters
    ----------
    comparisons, within, diurnal, spectra : pandas.DataFrame
        The tables of `deepcams_eval.evidence.added_value`.
    parent : str
        The coarse product.
    min_cells : int
        Cells that a verdict on structure within them needs.
    band : str
        The band of `spectra` that a verdict is given on.

    Returns
    -------
    pandas.DataFrame
        Columns `VERDICT_COLUMNS`. ``difference`` is product − reference of ``measure``, with its
        95 % interval; each interval is 95 % by itself, not for all questions together.
    """
    lines: list[dict[str, Any]] = []
    for product in dict.fromkeys(comparisons["product"]):
        mine = comparisons[comparisons["product"] == product]
        lines += _of_scores(mine, parent)
        lines += _of_cells(within[within["product"] == product], parent, min_cells)
        lines += _of_cycle(diurnal[diurnal["product"] == product], parent)
        lines += _of_band(spectra[spectra["product"] == product], band)
    return pd.DataFrame(lines, columns=list(VERDICT_COLUMNS))


@dataclass(frozen=True)
class _Measure:
    """A difference that is judged: its column, and how it is written."""

    key: str
    name: str
    unit: str
    decimals: int
    lower_is_better: bool


_MAE = _Measure("d_mae", "MAE", " µg m⁻³", 2, lower_is_better=True)
_RMSE = _Measure("d_rmse", "RMSE", " µg m⁻³", 2, lower_is_better=True)
_R = _Measure("d_r", "R", "", 3, lower_is_better=False)
_WITHIN = _Measure("d_r", "R of departures from the cell mean", "", 3, lower_is_better=False)
_CYCLE = _Measure("d_error", "the error of the first harmonic", " µg m⁻³", 2, lower_is_better=True)
_BAND = _Measure("d_r", "R within the band", "", 3, lower_is_better=False)


def _of_scores(rows: pd.DataFrame, parent: str) -> Iterator[dict[str, Any]]:
    """Yield the questions on errors: kept hours, all hours, inserted hours."""
    references = list(dict.fromkeys(rows["reference"]))
    asked = [("kept hours", parent, "all", "all")] if parent in references else []
    others = [name for name in references if name != parent]
    asked += [("all hours", name, "all", "all") for name in others]
    if others:
        asked.append(("inserted hours", others[-1], "hours", "inserted"))
    for question, *key in asked:
        for row in _records(rows, dict(zip(("reference", "stratum", "value"), key, strict=True))):
            behind = Enough(row["stations"], row["days"])
            extra = f"; {_RMSE.name} {_written(_RMSE, row)}; {_R.name} {_written(_R, row)}"
            size = f"n = {row['n']:,} pairs, {_plural(row['stations'], 'station')}"
            yield _line(question, f"On {question}", row, _MAE, behind, extra, size)


def _of_cells(rows: pd.DataFrame, parent: str, min_cells: int) -> Iterator[dict[str, Any]]:
    for row in _records(rows, {"hours": "all"}):
        behind = Enough(row["stations"], 0, row["cells"], min_cells)
        extra = (
            f"; R {row['r']:.3f} {_bounds(row, 'r')} against {row['reference_r']:.3f}; "
            f"{_percent(row, 'variance_ratio')} of the stations' variance there"
        )
        size = (
            f"{_plural(row['cells'], 'cell')}, {row['cell_hours']:,} hours in them, "
            f"{_plural(row['stations'], 'station')}"
        )
        opening = f"Within the cells of {parent}"
        yield _line("within cells", opening, row, _WITHIN, behind, extra, size)


def _of_cycle(rows: pd.DataFrame, parent: str) -> Iterator[dict[str, Any]]:
    others = rows[rows["reference"] != parent]
    for row in _records(others.tail(1), {}):
        behind = Enough(row["stations"], row["days"])
        extra = (
            f"; {_percent(row, 'amplitude_ratio')} of the stations' amplitude, the peak "
            f"{_signed(row['phase_h'], 2)} h {_bounds(row, 'phase_h', 2, sign=True)} after theirs"
        )
        size = _plural(row["stations"], "station")
        yield _line("daily cycle", "In the daily cycle", row, _CYCLE, behind, extra, size)


def _of_band(rows: pd.DataFrame, band: str) -> Iterator[dict[str, Any]]:
    for row in _records(rows, {"band": band}):
        behind = Enough(row["stations"], row["days"])
        extra = (
            f"; R {row['r']:.3f} {_bounds(row, 'r')} against {row['reference_r']:.3f}; "
            f"{_percent(row, 'ratio')} of the stations' variance there"
        )
        size = f"{row['windows']:,} stretches of 48 h, {_plural(row['stations'], 'station')}"
        opening = f"At periods of {band.replace('-', ' to ')}"
        yield _line(f"periods of {band}", opening, row, _BAND, behind, extra, size)


def _records(rows: pd.DataFrame, where: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows with some values that have a reference, as dictionaries."""
    for name, value in where.items():
        rows = rows[rows[name] == value]
    for row in rows[rows["reference"] != ""].to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _line(
    question: str,
    opening: str,
    row: Mapping[str, Any],
    measure: _Measure,
    behind: Enough,
    extra: str,
    size: str,
) -> dict[str, Any]:
    """Return a row of the verdicts; `extra` and `size` end its sentence where there is one."""
    low, high = row[f"{measure.key}_lo"], row[f"{measure.key}_hi"]
    verdict = verdict_of(low, high, behind, lower_is_better=measure.lower_is_better)
    product, reference = row["product"], row["reference"]
    if verdict == "too small":
        told = f"too small a sample for a verdict on {product} against {reference}"
        if behind.lacks():
            told += f": {', '.join(behind.lacks())}"
        elif not np.isfinite(row[measure.key]):
            told = (
                f"{product} cannot be judged against {reference}: {measure.name} is undefined, "
                "since one of them does not vary"
            )
    elif verdict == "not shown":
        told = (
            f"no difference between {product} and {reference} is shown in {measure.name}: "
            f"{_written(measure, row)}{extra} ({size})"
        )
    else:
        gain, sides = abs(row[measure.key]), sorted((abs(low), abs(high)))
        told = (
            f"{product} is {verdict} than {reference} by {gain:.{measure.decimals}f}"
            f"{measure.unit} in {measure.name} [{sides[0]:.{measure.decimals}f}, "
            f"{sides[1]:.{measure.decimals}f}]{extra} ({size})"
        )
    return {
        "product": product,
        "question": question,
        "reference": reference,
        "measure": measure.name,
        "difference": row[measure.key],
        "lo": low,
        "hi": high,
        "n": row.get("n", row.get("windows")),
        "stations": behind.stations,
        "cells": behind.cells if behind.min_cells else pd.NA,
        "days": pd.NA if behind.min_cells else behind.days,
        "verdict": verdict,
        "sentence": f"{opening} {told}.",
    }


def _written(measure: _Measure, row: Mapping[str, Any]) -> str:
    value = _signed(row[measure.key], measure.decimals)
    return f"{value}{measure.unit} {_bounds(row, measure.key, measure.decimals, sign=True)}"


def _bounds(row: Mapping[str, Any], key: str, decimals: int = 3, *, sign: bool = False) -> str:
    low, high = row[f"{key}_lo"], row[f"{key}_hi"]
    if sign:
        return f"[{_signed(low, decimals)}, {_signed(high, decimals)}]"
    return f"[{_minus(f'{low:.{decimals}f}')}, {_minus(f'{high:.{decimals}f}')}]"


def _percent(row: Mapping[str, Any], key: str) -> str:
    parts = (row[key], row[f"{key}_lo"], row[f"{key}_hi"])
    value, low, high = (f"{one:.0%}" if np.isfinite(one) else "—" for one in parts)
    return f"{value} [{low}, {high}]"


def _signed(value: float, decimals: int) -> str:
    if not np.isfinite(value):
        return "—"
    text = f"{value:+.{decimals}f}"
    return _minus(text) if float(text) else text[1:]


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
