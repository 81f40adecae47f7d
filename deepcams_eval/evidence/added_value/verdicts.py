"""Verdicts: one sentence a question on added value, and the one rule that decides them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.information import LEAST_INFORMATION, PARTS
from deepcams_eval.evidence.added_value.spectra import SHORTEST_BAND
from deepcams_eval.evidence.added_value.within_cell import MIN_CELLS
from deepcams_eval.report.content import records
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, interval, number, plural, typographic
from deepcams_eval.score.intervals import holm

Verdict = Literal[
    "better", "worse", "smoother", "no difference that matters", "not shown", "too small"
]

MIN_STATIONS = 10
"""Stations below which no verdict is given: the intervals of fewer are those of a few places."""

MIN_DAYS = 10
"""Distinct UTC days below which no verdict is given: an episode is no climate."""

ERROR_RATE = 0.025
"""Probability, on each side, that a verdict of a product is wrong where nothing is to be found."""

VERDICT_COLUMNS = (
    *("product", "question", "reference", "measure", "difference", "lo", "hi"),
    *("n", "stations", "cells", "days", "verdict", "sentence"),
)


@dataclass(frozen=True)
class Enough:
    """What stands behind a comparison: stations, distinct UTC days, or cells of the parent.

    Where there are `cells`, these are left out in turn and alone must be enough.
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


@dataclass(frozen=True)
class Known:
    """What a product knows that its parent does not, and whether that serves.

    Attributes
    ----------
    p_informed : float
        Probability of so much new information if there were less than is of interest.
    p_refitted : float
        Probability of an error so much lower than that of the best smoothed and recalibrated
        reference, the product being treated alike, if it were not.
    nothing : bool
        Whether there is surely less than is of interest.
    """

    p_informed: float
    p_refitted: float
    nothing: bool

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Known:
        """Read the row ``all`` of `information.information`; without it nothing is known."""
        mine = rows[rows["part"] == PARTS[0]]
        if mine.empty:
            return cls(float("nan"), float("nan"), False)
        row = mine.iloc[0]
        nothing = bool(row["partial_r_hi"] < LEAST_INFORMATION)
        return cls(float(row["p"]), float(row["d_mae_p"]), nothing)


def judged(lines: pd.DataFrame, known: Known) -> list[Verdict]:
    """Return the verdicts of one product.

    Better takes three things at once: the score is better than that of the reference, the product
    knows something new, and its error stays lower when both are smoothed and recalibrated. The
    last two are gates that all questions share, each passed with `ERROR_RATE`; behind them the
    questions share `ERROR_RATE` as well (`intervals.holm`), so that any wrong verdict has at most
    this probability whichever of the three does not hold. So do the opposites.

    Parameters
    ----------
    lines : pandas.DataFrame
        One row a question: ``p_gain`` and ``p_loss``, the one-sided probabilities of so good and
        of so bad a difference were there none; NaN where the sample is too small.
    known : Known
        Of the product.

    Returns
    -------
    list of str
        ``better``, ``worse``; ``smoother`` where the score is better but not by anything new;
        ``no difference that matters`` where nothing is to be seen and nothing is new; else
        ``not shown``; or ``too small``.
    """
    gain, loss = lines["p_gain"].to_numpy(float), lines["p_loss"].to_numpy(float)
    ahead, behind = (holm(one) <= ERROR_RATE for one in (gain, loss))
    serves = max(known.p_informed, known.p_refitted) <= ERROR_RATE
    otherwise: Verdict = "no difference that matters" if known.nothing else "not shown"
    found: list[Verdict] = []
    for place, p in enumerate(gain):
        if not np.isfinite(p):
            found.append("too small")
        elif behind[place]:
            found.append("worse")
        elif ahead[place]:
            found.append("better" if serves else "smoother")
        else:
            found.append(otherwise)
    return found


def verdicts(frames: Mapping[str, pd.DataFrame], parent: str) -> pd.DataFrame:
    """Return one row a product and question, whether it knows anything new first.

    Parameters
    ----------
    frames : mapping of str to pandas.DataFrame
        ``information``, ``added_value``, ``within_cell``, ``diurnal`` and ``spectra``.
    parent : str
        The coarse product.

    Returns
    -------
    pandas.DataFrame
        Columns `VERDICT_COLUMNS`. ``difference`` is product − reference of ``measure``, with its
        95 % interval, which is for this question alone; ``verdict`` is that of `judged`, for all
        questions of the product together. That on new information is ``better`` where the
        partial correlation surely exceeds `information.LEAST_INFORMATION`.
    """
    made: list[pd.DataFrame] = []
    for product in parts.unique(frames["added_value"]["product"]):
        mine = {name: frame[frame["product"] == product] for name, frame in frames.items()}
        known = Known.of(mine["information"])
        lines = [
            *_of_scores(mine["added_value"], parent),
            *_of_cells(mine["within_cell"], parent),
            *_of_cycle(mine["diurnal"], parent),
            *_of_band(mine["spectra"]),
        ]
        if not lines:
            continue
        questions = pd.DataFrame(lines)
        questions["verdict"] = judged(questions, known)
        questions["sentence"] = [_told(line) for line in records(questions)]
        made += [pd.DataFrame(_of_information(mine["information"], known)), questions]
    if not made:
        return pd.DataFrame(columns=list(VERDICT_COLUMNS))
    return pd.concat(made, ignore_index=True)[list(VERDICT_COLUMNS)]


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
        part, words = (
            ("", "") if row["part"] == "all" else (f", {row['part']}", f" ({row['part']})")
        )
        behind = Enough(row["stations"], 0, row["cells"])
        size = (
            f"{plural(row['cells'], 'cell')}, {row['cell_hours']:,} hours in them, "
            f"{plural(row['stations'], 'station')}"
        )
        opening, extra = f"Within the cells of {parent}{words}", _structure(row, "variance_ratio")
        yield _line(f"within cells{part}", opening, row, _WITHIN, behind, extra, size)


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
    """Return a row of the verdicts, and what its sentence is made of."""
    low, high = row[f"{measure.key}_lo"], row[f"{measure.key}_hi"]
    enough = not behind.missing() and bool(np.isfinite(low) and np.isfinite(high))
    chances = [row[f"{measure.key}_p_low"], row[f"{measure.key}_p_high"]]
    gain, loss = chances if measure.lower_is_better else chances[::-1]
    return {
        "product": row["product"],
        "question": question,
        "reference": row["reference"],
        "measure": measure.name,
        "difference": row[measure.key],
        "lo": low,
        "hi": high,
        "n": row.get("n", row.get("windows")),
        "stations": behind.stations,
        "cells": pd.NA if behind.cells is None else behind.cells,
        "days": behind.days if behind.cells is None else pd.NA,
        "p_gain": gain if enough else np.nan,
        "p_loss": loss if enough else np.nan,
        "opening": opening,
        "numbers": f"{_written(measure, row)}{extra} ({size})",
        "of": measure,
        "missing": ", ".join(behind.missing()),
    }


def _told(line: Mapping[str, Any]) -> str:
    """Return the sentence of a verdict."""
    product, reference, measure = line["product"], line["reference"], line["of"]
    verdict = line["verdict"]
    if verdict == "too small":
        told = f"too small a sample for a verdict on {product} against {reference}"
        if line["missing"]:
            told += f": {line['missing']}"
        elif not np.isfinite(line["difference"]):
            told = (
                f"{product} cannot be judged against {reference}: {measure.name} is undefined, "
                "since one of them does not vary"
            )
    elif verdict == "not shown":
        told = (
            f"no difference between {product} and {reference} is shown in {measure.name}: "
            f"{line['numbers']}"
        )
    elif verdict == "no difference that matters":
        told = (
            f"{product} shows no difference that matters from {reference} in {measure.name}: "
            f"{line['numbers']}"
        )
    elif verdict == "smoother":
        told = (
            f"{product} is nearer than {reference} in {measure.name}, but by nothing new that "
            f"lowers its error, as damping or recalibration would be: {line['numbers']}"
        )
    else:
        told = f"{product} is {verdict} than {reference} in {measure.name}: {line['numbers']}"
    return f"{line['opening']} {told}."


def _of_information(rows: pd.DataFrame, known: Known) -> Iterator[dict[str, Any]]:
    """Yield the first verdict of a product: whether it knows anything new."""
    by_part = {row["part"]: row for row in records(rows)}
    if not by_part:
        return
    row = by_part[PARTS[0]]
    if Enough(row["stations"], row["days"]).missing():
        verdict = "too small"
    elif known.p_informed <= ERROR_RATE:
        verdict = "better"
    else:
        verdict = "no difference that matters" if known.nothing else "not shown"
    numbers = "; ".join(
        f"{'' if part == PARTS[0] else part + ' '}{_number(one['partial_r'], 3)} "
        f"{_bounds(one, 'partial_r', 3)}"
        for part, one in by_part.items()
    )
    says = {
        "better": f"knows what nothing made of {row['reference']} knows",
        "no difference that matters": f"knows nothing of interest beyond {row['reference']}",
        "not shown": f"is not shown to know anything beyond {row['reference']}",
        "too small": "is judged on too few stations or days",
    }[verdict]
    smoothed = (
        f"both smoothed and recalibrated, its MAE differs by {_number(row['d_mae'], 2)} {UNIT} "
        f"{_bounds(row, 'd_mae', 2)}"
    )
    yield {
        "product": row["product"],
        "question": "new information",
        "reference": row["reference"],
        "measure": "partial R",
        "difference": row["partial_r"],
        "lo": row["partial_r_lo"],
        "hi": row["partial_r_hi"],
        "n": row["n"],
        "stations": row["stations"],
        "cells": pd.NA,
        "days": row["days"],
        "verdict": verdict,
        "sentence": (
            f"{row['product']} {says}: partial R with the observations {numbers}; {smoothed} "
            f"(n = {row['n']:,} pairs, {plural(row['stations'], 'station')})."
        ),
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
