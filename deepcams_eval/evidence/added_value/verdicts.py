"""Verdicts: one sentence a question on added value, with the interval that it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.spectra import SHORTEST_BAND
from deepcams_eval.evidence.added_value.within_cell import MIN_CELLS
from deepcams_eval.report.content import records
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, interval, number, plural, typographic

Verdict = Literal["better", "worse", "not shown", "too small"]

MIN_STATIONS = 10
"""Stations below which no verdict is given: the percentiles of fewer are too narrow."""

MIN_DAYS = 10
"""Distinct UTC days below which no verdict is given: an episode is no climate."""

VERDICT_COLUMNS = (
    *("product", "question", "reference", "measure", "difference", "lo", "hi"),
    *("n", "stations", "cells", "days", "verdict", "sentence"),
)


@dataclass(frozen=True)
class Enough:
    """What stands behind a comparison: stations, distinct UTC days, or cells of the parent.

    Where there are `cells`, these are resampled and alone must be enough.
    """

    stations: int
    days: int
    cells: int | None = None

    def missing(self) -> list[str]:
        """Return what there is too little of, in words."""
        counted = [(self.stations, MIN_STATIONS, "station"), (self.days, MIN_DAYS, "day")]
        if self.cells is not None:
            counted = [(self.cells, MIN_CELLS, "cell")]
        return [
            f"{plural(count, noun)} (at least {least} needed)"
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
    if behind.missing() or not (np.isfinite(low) and np.isfinite(high)):
        return "too small"
    if low <= 0 <= high:
        return "not shown"
    return "better" if (high < 0) == lower_is_better else "worse"


def verdicts(frames: Mapping[str, pd.DataFrame], parent: str) -> pd.DataFrame:
    """Return one row a product and question.

    Parameters
    ----------
    frames : mapping of str to pandas.DataFrame
        ``added_value``, ``within_cell``, ``diurnal`` and ``spectra``.
    parent : str
        The coarse product.

    Returns
    -------
    pandas.DataFrame
        Columns `VERDICT_COLUMNS`. ``difference`` is product − reference of ``measure``, with its
        95 % interval; each interval is 95 % by itself, not for all questions together.
    """
    lines: list[dict[str, Any]] = []
    for product in parts.unique(frames["added_value"]["product"]):
        mine = {name: frame[frame["product"] == product] for name, frame in frames.items()}
        lines += _of_scores(mine["added_value"], parent)
        lines += _of_cells(mine["within_cell"], parent)
        lines += _of_cycle(mine["diurnal"], parent)
        lines += _of_band(mine["spectra"])
    return pd.DataFrame(lines, columns=list(VERDICT_COLUMNS))


@dataclass(frozen=True)
class _Measure:
    """A difference that is judged: its column, and how it is written."""

    key: str
    name: str
    unit: str = ""
    decimals: int = 3
    lower_is_better: bool = False


_MAE = _Measure("d_mae", "MAE", f" {UNIT}", 2, lower_is_better=True)
_RMSE = _Measure("d_rmse", "RMSE", f" {UNIT}", 2)
_R = _Measure("d_r", "R")
_WITHIN = _Measure("d_r", "R of departures from the cell mean")
_CYCLE = _Measure("d_error", "the error of the first harmonic", f" {UNIT}", 2, lower_is_better=True)
_BAND = _Measure("d_r", "R within the band")


def _of_scores(rows: pd.DataFrame, parent: str) -> Iterator[dict[str, Any]]:
    """Yield the questions on errors: analysis hours, all hours, interpolated hours."""
    references = parts.unique(rows["reference"])
    asked = [("analysis hours", parent, "all", "all")] if parent in references else []
    others = [name for name in references if name != parent]
    asked += [("all hours", name, "all", "all") for name in others]
    if others:
        asked.append(("interpolated hours", others[-1], "hours", "interpolated"))
    for question, reference, stratum, value in asked:
        chosen = (rows["reference"] == reference) & (rows["stratum"] == stratum)
        for row in records(rows[chosen & (rows["value"] == value)]):
            behind = Enough(row["stations"], row["days"])
            extra = f"; {_RMSE.name} {_written(_RMSE, row)}; {_R.name} {_written(_R, row)}"
            size = f"n = {row['n']:,} pairs, {plural(row['stations'], 'station')}"
            yield _line(question, f"On {question}", row, _MAE, behind, extra, size)


def _of_cells(rows: pd.DataFrame, parent: str) -> Iterator[dict[str, Any]]:
    for row in records(rows[(rows["hours"] == "all") & (rows["reference"] != "")]):
        behind = Enough(row["stations"], 0, row["cells"])
        size = (
            f"{plural(row['cells'], 'cell')}, {row['cell_hours']:,} hours in them, "
            f"{plural(row['stations'], 'station')}"
        )
        opening, extra = f"Within the cells of {parent}", _structure(row, "variance_ratio")
        yield _line("within cells", opening, row, _WITHIN, behind, extra, size)


def _of_cycle(rows: pd.DataFrame, parent: str) -> Iterator[dict[str, Any]]:
    for row in records(rows[rows["reference"] != parent].tail(1)):
        behind = Enough(row["stations"], row["days"])
        extra = (
            f"; {_percent(row, 'amplitude_ratio')} of the stations' amplitude, the peak "
            f"{_number(row['phase_h'], 2)} h {_bounds(row, 'phase_h', 2)} after theirs"
        )
        size = plural(row["stations"], "station")
        yield _line("daily cycle", "In the daily cycle", row, _CYCLE, behind, extra, size)


def _of_band(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in records(rows[(rows["band"] == SHORTEST_BAND) & (rows["reference"] != "")]):
        behind = Enough(row["stations"], row["days"])
        size = f"{row['windows']:,} stretches of 48 h, {plural(row['stations'], 'station')}"
        opening = f"At periods of {SHORTEST_BAND.replace('-', ' to ')}"
        extra = _structure(row, "ratio")
        yield _line(f"periods of {SHORTEST_BAND}", opening, row, _BAND, behind, extra, size)


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
        if behind.missing():
            told += f": {', '.join(behind.missing())}"
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
        gain = number(abs(row[measure.key]), measure.decimals)
        near, far = sorted((abs(low), abs(high)))
        sides = interval(near, far, measure.decimals)
        told = (
            f"{product} is {verdict} than {reference} by {gain}{measure.unit} in {measure.name} "
            f"{sides}{extra} ({size})"
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
        "cells": pd.NA if behind.cells is None else behind.cells,
        "days": behind.days if behind.cells is None else pd.NA,
        "verdict": verdict,
        "sentence": f"{opening} {told}.",
    }


def _written(measure: _Measure, row: Mapping[str, Any]) -> str:
    value = _number(row[measure.key], measure.decimals)
    return f"{value}{measure.unit} {_bounds(row, measure.key, measure.decimals)}"


def _structure(row: Mapping[str, Any], ratio: str) -> str:
    """Return R, that of the reference, and the share of the variance, to end a sentence with."""
    r, other = (_number(row[key], 3, sign=False) for key in ("r", "reference_r"))
    return (
        f"; R {r} {_bounds(row, 'r', 3, sign=False)} against {other}; {_percent(row, ratio)} of "
        "the stations' variance there"
    )


def _number(value: float, decimals: int, *, sign: bool = True) -> str:
    return typographic(number(value, decimals, sign=sign))


def _bounds(row: Mapping[str, Any], key: str, decimals: int, *, sign: bool = True) -> str:
    return typographic(interval(row[f"{key}_lo"], row[f"{key}_hi"], decimals, sign=sign))


def _percent(row: Mapping[str, Any], key: str) -> str:
    value, low, high = (
        f"{row[one]:.0%}" if np.isfinite(row[one]) else "—" for one in parts.with_ends(key)
    )
    return f"{value} [{low}, {high}]"


def table(frame: pd.DataFrame) -> Table:
    """Return these rows as a reader sees them."""
    return Table(
        "verdicts",
        "Did downscaling add anything: verdicts",
        (
            parts.PRODUCT,
            Column("question", "Question"),
            parts.REFERENCE,
            Column("verdict", "Verdict"),
            Column("measure", "Measure"),
            Column("difference", "Difference", decimals=3, signed=True),
            Column("lo", "from", decimals=3, signed=True),
            Column("hi", "to", decimals=3, signed=True),
            parts.N,
            parts.STATIONS,
        ),
        frame,
    )
