"""The published numbers examined by computation, and linear interpolation in both directions.

Each question is a function of the tables it looks at and returns a `Finding`: what was computed,
from which cells, the evidence, and what follows. Nothing here knows an answer beforehand.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import product as combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import BoolArray, FloatArray
from deepcams_eval.core.field import Product
from deepcams_eval.errors import InputError
from deepcams_eval.paper.audit_page import Finding
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_eval.report import published
from deepcams_eval.report.content import records
from deepcams_eval.report.published import PRINTED_DIGITS
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT
from deepcams_eval.score.metrics import HEADLINE_METRICS
from deepcams_eval.score.moments import Moments

FIGURE6_DECIMALS = 2
"""Digits after the point with which Fig. 6 prints R."""

NORTHERN_ROWS = 720
CLIP_UG_M3 = 800.0
PEAK_UG_M3 = 255.0
"""How the code published with the paper makes a PSNR: rows, ceiling of the maps, peak."""

FRAMES = 4
REVERSED, CORRECT = "as printed in Eq. 9", "correct"
_PREPARED = f"northern {NORTHERN_ROWS} rows, clipped to {CLIP_UG_M3:g}"
_AS_IS = "all rows, as is"
_BARE_OPTIONS = "kind=geoscf,start=2020-03-08T00:30,freq=1h"
_HOUR = np.timedelta64(1, "h")
_AVERAGE = "average"
_METRICS = {key: one.label for key, one in HEADLINE_METRICS.items()}
_BASELINES = {"Table 2": "linear", "Table 3": "bicubic"}
_METHOD = "deepcams"
_TINY = 1e-9
_BEYOND = "beyond rounding"


@dataclass(frozen=True)
class Printed:
    """What is printed in the publication, as tables.

    Attributes
    ----------
    table2, table3, figure6 : pandas.DataFrame
        As in `deepcams_eval.report.published`.
    counts : pandas.DataFrame
        ``task`` (temporal, spatial), ``samples_per_day``, ``samples`` (as printed), ``source``.
    abstract : pandas.DataFrame
        ``product``, ``r`` (as printed in the abstract), ``source``.
    log : pandas.DataFrame
        ``entry``, ``psnr_low_db``, ``psnr_high_db`` (a range over the last epochs), ``source``.
    places : pandas.DataFrame
        ``region``, ``latitude``, ``longitude`` (as printed, degrees north and east), the box of
        the region ``south``, ``north``, ``west``, ``east``, and ``source``.
    """

    table2: pd.DataFrame
    table3: pd.DataFrame
    figure6: pd.DataFrame
    counts: pd.DataFrame
    abstract: pd.DataFrame
    log: pd.DataFrame
    places: pd.DataFrame

    @classmethod
    def load(cls) -> Printed:
        """Return the values that come with this package."""
        return cls(
            table2=published.table2(),
            table3=published.table3(),
            figure6=published.figure6(),
            counts=_packaged("sample_counts.csv"),
            abstract=_packaged("abstract_insitu.csv"),
            log=_packaged("training_log.csv"),
            places=_packaged("places.csv"),
        )


def audit(printed: Printed, frame_scores: pd.DataFrame | None = None) -> tuple[Finding, ...]:
    """Return every finding.

    Parameters
    ----------
    printed : Printed
        The published values.
    frame_scores : pandas.DataFrame, optional
        From `linear_scores`; adds what can only be computed from maps.
    """
    findings = [
        averages(printed.table2, printed.table3),
        equal_cells(printed.table2, printed.table3),
        baseline_wins(printed.table2, printed.table3),
        sample_counts(printed.table2, printed.counts),
        unequal_samples(printed.figure6, printed.abstract),
        places(printed.places),
        linear_ratio(printed.table2, frame_scores),
    ]
    if frame_scores is not None:
        findings.append(linear_psnr(frame_scores, printed.log))
    return tuple(findings)


# --- Tables 2 and 3 ---------------------------------------------------------------------------


def averages(table2: pd.DataFrame, table3: pd.DataFrame) -> Finding:
    """Compare the printed averages with the means of the rows above them.

    Rows rounded by half a unit and an average rounded by another half may differ by one unit of
    the last digit; a larger difference cannot come from rounding.
    """
    rows = []
    for name, table in (("Table 2", table2), ("Table 3", table3)):
        months, last = _months(table), records(table[table["month"] == _AVERAGE])[0]
        for column in map(str, table.columns.drop("month")):
            unit = _unit(column)
            mean = float(_floats(months, column).mean())
            average = float(last[column])
            rows.append(
                {
                    "table": name,
                    "column": _column_words(column),
                    "mean": mean,
                    "average": average,
                    "printed": f"{average:.{PRINTED_DIGITS[column.partition('_')[0]]}f}",
                    "difference": average - mean,
                    "unit": unit,
                    "reading": _rounding(average - mean, unit),
                }
            )
    frame = pd.DataFrame(rows)
    beyond = _where(frame, "reading", _BEYOND)
    count = int(beyond.sum())
    return Finding(
        key="averages",
        question="Are the averages of Tables 2 and 3 the means of their rows?",
        computed=(
            "The mean of the twelve printed monthly values of every column, beside the printed "
            "average. Rows and average are rounded, so they may differ by up to one unit of the "
            "last printed digit."
        ),
        answer=(
            f"{len(frame) - count} of {len(frame)} averages are the means of their rows within "
            f"rounding; {count} {'is' if count == 1 else 'are'} not."
        ),
        follows=(
            "The bold averages cannot come from the printed rows."
            if count
            else "The averages can be taken as summaries of the printed rows, and of nothing else."
        ),
        count=count,
        tables=(
            Table(
                "averages",
                "Printed averages and means of the printed months",
                (
                    Column("table", "Table"),
                    Column("column", "Column"),
                    Column("mean", "Mean of 12 months", decimals=5),
                    Column("printed", "Printed average"),
                    Column("difference", "Difference", decimals=5, signed=True),
                    Column("unit", "One unit of the last digit", decimals=4),
                    Column("reading", "Reading"),
                ),
                frame,
                _bold(beyond, "difference", "reading"),
            ),
        ),
    )


def equal_cells(table2: pd.DataFrame, table3: pd.DataFrame) -> Finding:
    """List the cells that Tables 2 and 3 share in the same month and the same place.

    The control shifts the months of Table 3 against those of Table 2 by 1 to 11: it shows how
    many cells would agree by chance, since there are few values with two digits.
    """
    months2, months3 = _months(table2), _months(table3)
    names = [str(month) for month in months2["month"]]
    summary, cells = [], []
    for (metric, label), who in combinations(_METRICS.items(), ("baseline", "method")):
        column2, column3 = _pair_of_columns(metric, who)
        left, right = _floats(months2, column2), _floats(months3, column3)
        equal = _same(left, right, metric)
        shifted = [
            int(_same(left, np.roll(right, step), metric).sum()) for step in range(1, len(right))
        ]
        summary.append(
            {
                "metric": label,
                "columns": f"{_column_words(column2)} / {_column_words(column3)}",
                "cells": len(equal),
                "equal": int(equal.sum()),
                "shifted_mean": float(np.mean(shifted)),
                "shifted_most": max(shifted),
            }
        )
        cells += [
            {
                "month": names[place],
                "metric": label,
                "table2": _column_words(column2),
                "table3": _column_words(column3),
                "value": f"{left[place]:.{PRINTED_DIGITS[metric]}f}",
            }
            for place in np.flatnonzero(equal)
        ]
    overview = pd.DataFrame(summary)
    listed = pd.DataFrame(cells, columns=["month", "metric", "table2", "table3", "value"])
    is_rmse = _where(overview, "metric", _METRICS["rmse"])
    by_metric = records(
        overview.groupby("metric", sort=False)[["equal", "cells", "shifted_mean"]]
        .sum()
        .reset_index()
    )
    rmse = next(row for row in by_metric if row["metric"] == _METRICS["rmse"])
    return Finding(
        key="equal-cells",
        question="Which cells of Tables 2 and 3 are equal?",
        computed=(
            "Every monthly cell of Table 2 (in time) was compared with the cell of the same month "
            "and metric of Table 3 (in space): linear with bicubic, and the method with itself. "
            "Control: the same comparison with the months of Table 3 shifted by 1 to 11."
        ),
        answer="; ".join(
            f"{row['metric']}: {row['equal']} of {row['cells']} cells are equal"
            for row in by_metric
        )
        + f". With shifted months {rmse['shifted_mean']:.2f} of "
        f"{rmse['cells']} RMSE cells agree on average.",
        follows=(
            "The two tables measure different tasks on different inputs. If each was computed on "
            "its own, cells are equal by coincidence only; the control says how often that "
            "happens. Whether a value belongs to "
            "Table 2, to Table 3 or to both cannot be told from the tables: the scores of the "
            "samples behind them would settle it."
        ),
        count=int(rmse["equal"]),
        tables=(
            Table(
                "equal_summary",
                "Equal cells by metric and pair of columns",
                (
                    Column("metric", "Metric"),
                    Column("columns", "Table 2 / Table 3"),
                    Column("cells", "Cells", decimals=0),
                    Column("equal", "Equal", decimals=0),
                    Column("shifted_mean", "Equal with shifted months, mean", decimals=2),
                    Column("shifted_most", "Most in a shift", decimals=0),
                ),
                overview,
                _bold(is_rmse, "equal"),
            ),
            Table(
                "equal_cells",
                "The equal cells, one by one",
                (
                    Column("month", "Month"),
                    Column("metric", "Metric"),
                    Column("table2", "Column of Table 2"),
                    Column("table3", "Column of Table 3"),
                    Column("value", "Value in both"),
                ),
                listed,
                _bold(_where(listed, "metric", _METRICS["rmse"]), "value"),
            ),
        ),
    )


def baseline_wins(table2: pd.DataFrame, table3: pd.DataFrame) -> Finding:
    """List the cells in which the baseline is better than the method, or equal to it."""
    rows, compared = [], 0
    for name, table in (("Table 2", table2), ("Table 3", table3)):
        for metric, label in _METRICS.items():
            for record in records(table):
                compared += 1
                base = float(record[f"{metric}_{_BASELINES[name]}"])
                method = float(record[f"{metric}_{_METHOD}"])
                gain = (method - base) if metric == "r" else (base - method)
                if gain > _TINY:
                    continue
                rows.append(
                    {
                        "table": name,
                        "month": record["month"],
                        "metric": label,
                        "baseline": f"{_BASELINES[name]} {base:.{PRINTED_DIGITS[metric]}f}",
                        "method": f"{method:.{PRINTED_DIGITS[metric]}f}",
                        "reading": "baseline better" if gain < -_TINY else "equal",
                    }
                )
    frame = pd.DataFrame(
        rows, columns=["table", "month", "metric", "baseline", "method", "reading"]
    )
    better = _where(frame, "reading", "baseline better")
    count = int(better.sum())
    return Finding(
        key="baseline-wins",
        question="Is the baseline better than the method anywhere?",
        computed=(
            "In every row of Tables 2 and 3, averages included, the method was compared with the "
            "baseline beside it: a higher R, a lower RMSE, a lower MAE."
        ),
        answer=(
            f"In {count} of {compared} comparisons the baseline is better, in "
            f"{len(frame) - count} the two are equal."
        ),
        follows=(
            "A statement that the method is better on all metrics and in all months does not hold "
            "for the cells listed."
            if count
            else "The printed cells agree with a statement that the baseline is better nowhere."
        ),
        count=count,
        tables=(
            Table(
                "baseline_wins",
                "Cells in which the method is not better",
                (
                    Column("table", "Table"),
                    Column("month", "Month"),
                    Column("metric", "Metric"),
                    Column("baseline", "Baseline"),
                    Column("method", "Method"),
                    Column("reading", "Reading"),
                ),
                frame,
                _bold(better, "baseline"),
            ),
        ),
    )


def sample_counts(table2: pd.DataFrame, counts: pd.DataFrame) -> Finding:
    """Compare the printed sample counts with the calendar of the year of Table 2."""
    year = int(records(table2)[0]["month"][:4])
    days = 366 if calendar.isleap(year) else 365
    per_day, samples = _floats(counts, "samples_per_day"), _floats(counts, "samples")
    frame = counts.assign(
        days=days,
        computed=(per_day * days).astype(np.int64),
        difference=(samples - per_day * days).astype(np.int64),
        implied_days=samples / per_day,
    )
    differs = samples != per_day * days
    rows = records(frame)
    implied = " and ".join(f"{number:g}" for number in sorted(set(samples / per_day)))
    temporal = next(row for row in rows if row["task"] == "temporal")
    # The last hours of the year lie between its last kept map and the first of the next year.
    kept_per_day = 24 - temporal["samples_per_day"]
    without_next = temporal["computed"] - temporal["samples_per_day"] // kept_per_day
    return Finding(
        key="sample-counts",
        question=f"How many samples does {year} have?",
        computed=(
            f"Days of {year} in the Gregorian calendar ({days}) times the samples of a day, "
            "beside the printed number; and the number of days that the printed number stands for."
        ),
        answer="Samples of the year: "
        + "; ".join(
            f"{row['task']} {row['computed']:,} from the calendar, "
            f"{row['samples']:,} printed ({row['implied_days']:g} days)"
            for row in rows
        )
        + ".",
        follows=(
            (
                f"The printed numbers stand for {implied} days. Whether samples were left out of "
                "the scores, or only of the count, cannot be told from the paper. "
                if differs.any()
                else "The printed numbers are those of the calendar. "
            )
            + f"In time there are {temporal['computed']:,} inserted samples if the first map of "
            f"{year + 1} is at hand and {without_next:,} if not."
        ),
        count=int(differs.sum()),
        tables=(
            Table(
                "sample_counts",
                "Samples from the calendar and as printed",
                (
                    Column("task", "Task"),
                    Column("samples_per_day", "Samples a day", decimals=0),
                    Column("days", f"Days of {year}", decimals=0),
                    Column("computed", "Computed", decimals=0),
                    Column("samples", "Printed", decimals=0),
                    Column("difference", "Difference", decimals=0, signed=True),
                    Column("implied_days", "Days implied by print", decimals=2),
                    Column("source", "What is counted"),
                ),
                frame,
                _bold(differs, "samples", "difference"),
            ),
        ),
    )


# --- In situ ----------------------------------------------------------------------------------


def unequal_samples(figure6: pd.DataFrame, abstract: pd.DataFrame) -> Finding:
    """Compare the numbers of pairs in Fig. 6, and the mean of its R with the abstract."""
    by_product = figure6[["product", "year", "n"]].set_index("year")
    both = [by_product[_where(by_product, "product", name)]["n"] for name in ("cams", _METHOD)]
    sizes = pd.concat(both, axis=1, keys=["cams", _METHOD]).reset_index().astype({"year": "str"})
    ratio = _floats(sizes, _METHOD) / _floats(sizes, "cams")
    sizes = sizes.assign(ratio=ratio)
    unequal = ratio != 1
    half = 0.5 * 10.0**-FIGURE6_DECIMALS
    means = figure6.groupby("product")["r"].agg(["mean", "count"]).reset_index()
    means = means.assign(low=means["mean"] - half, high=means["mean"] + half)
    means = means.merge(abstract, on="product", how="left")
    by_name = {row["product"]: row["mean"] for row in records(means)}
    gain = by_name[_METHOD] - by_name["cams"]
    inside = "does not exceed" if gain <= 2 * half + _TINY else "exceeds"
    return Finding(
        key="unequal-samples",
        question="Are the two products of Fig. 6 scored on the same samples?",
        computed=(
            "N of the method divided by N of CAMS in each year; the mean of the yearly R of each "
            f"product, with the bound ±{half:g} that rounding to {FIGURE6_DECIMALS} digits leaves."
        ),
        answer=(
            f"In {int(unequal.sum())} of {len(sizes)} years N differs, by a factor of "
            f"{ratio.min():.3f} to {ratio.max():.3f}. The means of R are "
            + ", ".join(f"{mean:.4f} ({name})" for name, mean in by_name.items())
            + f"; their difference of {gain:+.4f} {inside} the bound ±{2 * half:g} of rounding."
        ),
        follows=(
            "The scores describe different sets of observations (hourly against 3-hourly values), "
            "so a difference between them mixes products and samples. R over the years pooled "
            "cannot be computed from what is printed, since it needs the means and variances of "
            "each year, nor can any score on common observations; neither can an interval."
        ),
        count=int(unequal.sum()),
        tables=(
            Table(
                "figure6_n",
                "Pairs behind Fig. 6",
                (
                    Column("year", "Year"),
                    Column("cams", "N of CAMS", decimals=0),
                    Column(_METHOD, "N of DeepCAMS", decimals=0),
                    Column("ratio", "Ratio", decimals=4),
                ),
                sizes,
                _bold(unequal, "ratio"),
            ),
            Table(
                "figure6_r",
                "Mean of the yearly R",
                (
                    Column("product", "Product"),
                    Column("count", "Years", decimals=0),
                    Column("mean", "Mean of R", decimals=4),
                    Column("low", "Lowest before rounding", decimals=4),
                    Column("high", "Highest before rounding", decimals=4),
                    Column("r", "R in the abstract", decimals=3),
                ),
                means,
            ),
        ),
    )


def places(table: pd.DataFrame) -> Finding:
    """Look whether the printed places lie in the regions that they are named after."""
    rows = [
        {
            "region": row["region"],
            "printed": _place(row["latitude"], row["longitude"]),
            "box": f"{_place(row['south'], row['west'])} to {_place(row['north'], row['east'])}",
            "inside": "yes" if _inside(row, row["latitude"], row["longitude"]) else "no",
            "others": "; ".join(_inside_with_other_signs(row)) or "none",
            "source": row["source"],
        }
        for row in records(table)
    ]
    frame = pd.DataFrame(rows)
    outside = _where(frame, "inside", "no")
    return Finding(
        key="places",
        question="Do the printed places lie in the regions they are named after?",
        computed=(
            "Whether each printed pair of coordinates lies in a box around its region, and which "
            "other choices of hemisphere do."
        ),
        answer=f"{int(outside.sum())} of {len(frame)} places lie outside their region as printed.",
        follows=(
            "For a place outside, the hemispheres given in the last column but one bring it into "
            "the region; no score depends on it."
            if outside.any()
            else "Nothing."
        ),
        count=int(outside.sum()),
        tables=(
            Table(
                "places",
                "Printed places and boxes of their regions",
                (
                    Column("region", "Region"),
                    Column("printed", "Printed"),
                    Column("box", "Box of the region"),
                    Column("inside", "Inside"),
                    Column("others", "Inside with other hemispheres"),
                    Column("source", "Place in the paper"),
                ),
                frame,
                _bold(outside, "printed", "inside"),
            ),
        ),
    )


# --- Linear interpolation ---------------------------------------------------------------------


def read_frames(text: str) -> Product:
    """Open the four hourly frames that ``PATH[,key=value]…`` names.

    MATLAB maps without times and without keys are taken as consecutive hourly means of GEOS-CF in
    natural order of their names; the nominal date has no influence on any score.

    Raises
    ------
    InputError
        If there are not four frames, one an hour, or they cannot be read.
    """
    spec = ProductSpec.parse(f"frames={text}")
    if text == spec.path and _holds_matlab(spec.path):
        spec = ProductSpec.parse(f"frames={text},{_BARE_OPTIONS}")
    opened = open_product(spec, strict=True)
    times = opened.field["time"].values
    if len(times) != FRAMES or not bool((np.diff(times) == _HOUR).all()):
        raise InputError(
            f"holds {len(times)} frames from {str(times[0])[:16]} to {str(times[-1])[:16]}",
            path=spec.path,
            hint=f"name {FRAMES} consecutive hourly frames, for example with a glob",
        )
    return opened


def frame_values(opened: Product) -> FloatArray:
    """Return the maps of a product, float64, shape (time, rows, columns), north first, µg m⁻³."""
    return np.asarray(opened.field.values, dtype=np.float64)[:, ::-1, :]


def linear_scores(frames: FloatArray) -> pd.DataFrame:
    """Score linear interpolation from the outer to the inner ones of four frames, both ways round.

    With G0 and G1 the first and the last frame and t = 1/3, 2/3 the inner ones, the correct value
    is (1−t)·G0 + t·G1; Eq. 9 prints t·G0 + (1−t)·G1.

    Parameters
    ----------
    frames : ndarray, shape (4, rows, columns)
        µg m⁻³, north first, evenly spaced in time. Cells with NaN in any frame are left out.

    Returns
    -------
    pandas.DataFrame
        ``formula`` (`REVERSED`, `CORRECT`), ``maps`` (clipped, or as they are), ``rows``,
        ``frame`` (2, 3), ``n`` (cells), ``psnr_db`` = 20·log10(255/RMSE), ``r``, ``rmse`` and
        ``mae`` (µg m⁻³).

    Raises
    ------
    InputError
        If there are not four frames.
    """
    if frames.ndim != 3 or len(frames) != FRAMES:
        raise InputError(f"frames have the shape {frames.shape}", hint="give four maps")
    rows = []
    for maps, values in (
        (_PREPARED, np.minimum(frames[:, :NORTHERN_ROWS], CLIP_UG_M3)),
        (_AS_IS, frames),
    ):
        finite = np.isfinite(values).all(axis=0)
        first, *inner, last = (frame[finite] for frame in values)
        for formula, (number, truth) in combinations((REVERSED, CORRECT), enumerate(inner, 1)):
            t = number / (FRAMES - 1)
            share = 1 - t if formula == REVERSED else t
            sums = Moments.of(truth, (1 - share) * first + share * last)
            scores = {key: float(one(sums)[0]) for key, one in HEADLINE_METRICS.items()}
            rows.append(
                {
                    "formula": formula,
                    "maps": maps,
                    "rows": values.shape[1],
                    "frame": number + 1,
                    "n": int(sums.n[0]),
                    "psnr_db": _psnr_db(scores["rmse"]),
                    **scores,
                }
            )
    return pd.DataFrame(rows)


def linear_ratio(table2: pd.DataFrame, frame_scores: pd.DataFrame | None) -> Finding:
    """Set the ratio of Table 2's MAE beside that of reversed to correct linear interpolation."""
    half = _unit("mae") / 2
    base, method = _floats(table2, "mae_linear"), _floats(table2, f"mae_{_METHOD}")
    low, high = (base - half) / (method + half), (base + half) / (method - half)
    frame = table2[["month", "mae_linear", f"mae_{_METHOD}"]].assign(
        ratio=base / method, low=low, high=high
    )
    months = ~_where(table2, "month", _AVERAGE)
    span = (base / method)[months]
    columns = [
        Column("month", "Month"),
        Column("mae_linear", "MAE linear", UNIT, decimals=2),
        Column(f"mae_{_METHOD}", "MAE method", UNIT, decimals=2),
        Column("ratio", "Ratio", decimals=3),
        Column("low", "Lowest before rounding", decimals=3),
        Column("high", "Highest before rounding", decimals=3),
    ]
    answer = f"In Table 2 the ratio is {span.min():.2f} to {span.max():.2f} in the months."
    follows = (
        "Eq. 9 of the paper prints t·G0 + (1−t)·G1, which gives the nearer frame the smaller "
        "weight. How much that costs cannot be computed from the tables alone: give four hourly "
        "frames with --frames."
    )
    shown, count = [], 0
    bold: frozenset[tuple[int, str]] = frozenset()
    if frame_scores is not None:
        mae = _means(frame_scores, _AS_IS, "mae")
        ratio = mae[REVERSED] / mae[CORRECT]
        covers = (low <= ratio) & (ratio <= high)
        frame["covers_frames"] = np.where(covers, "yes", "no")
        columns.append(Column("covers_frames", "Range holds the ratio of the frames"))
        bold = _bold(covers & months, "ratio")
        count = int((covers & months).sum())
        answer += (
            f" On the frames the MAE of reversed linear is {mae[REVERSED]:.3f} and "
            f"that of correct linear {mae[CORRECT]:.3f} {UNIT}: a ratio of "
            f"{ratio:.2f}, within rounding of {count} of {int(months.sum())} months."
        )
        follows = (
            "Where the ratios agree, the printed gain over the linear baseline is as large as the "
            "gain of correct over reversed linear interpolation. Then the table cannot tell a "
            "method that improves on linear interpolation from correct linear interpolation. The "
            "frames are four consecutive hours; the months are means over all samples."
        )
        shown = [_frame_table("frames_as_is", frame_scores, _AS_IS)]
    return Finding(
        key="linear-ratio",
        question="How does the gain over linear interpolation compare with the direction of Eq. 9?",
        computed=(
            "The MAE of the linear column of Table 2 divided by that of the method, with the range "
            "that rounding leaves"
            + (
                "; and on the frames the MAE of t·G0 + (1−t)·G1 (as printed in Eq. 9: reversed) "
                "divided by that of (1−t)·G0 + t·G1 (correct), over all cells, nothing clipped, "
                "mean of the two inner frames."
                if frame_scores is not None
                else "."
            )
        ),
        answer=answer,
        follows=follows,
        count=count,
        tables=(
            Table(
                "table2_ratio", "MAE of linear over MAE of the method", tuple(columns), frame, bold
            ),
            *shown,
        ),
    )


def linear_psnr(frame_scores: pd.DataFrame, log: pd.DataFrame) -> Finding:
    """Set the PSNR of both directions beside those in the published training log."""
    psnr = _means(frame_scores, _PREPARED, "psnr_db")
    low, high = _floats(log, "psnr_low_db"), _floats(log, "psnr_high_db")
    away = {
        formula: np.maximum(0.0, np.maximum(low - psnr[formula], psnr[formula] - high))
        for formula in (REVERSED, CORRECT)
    }
    is_reversed = away[REVERSED] < away[CORRECT]
    compared = log.assign(
        to_reversed=away[REVERSED],
        to_correct=away[CORRECT],
        nearer=np.where(is_reversed, "reversed", "correct"),
    )
    rows = max(row["rows"] for row in records(frame_scores) if row["maps"] == _PREPARED)
    return Finding(
        key="linear-psnr",
        question="Which PSNR does linear interpolation reach in each direction?",
        computed=(
            f"From the first and the last of the four frames the two between, over the northern "
            f"{rows} rows, all maps clipped to {CLIP_UG_M3:g} {UNIT} as the published code does; "
            f"PSNR with peak {PEAK_UG_M3:g}, mean of the two frames."
        ),
        answer=(
            f"Reversed, as printed in Eq. 9: {psnr[REVERSED]:.4f} dB. Correct: "
            f"{psnr[CORRECT]:.4f} dB."
        ),
        follows=" ".join(
            f"The value logged as “{row['entry']}” is nearer to {row['nearer']} linear "
            f"interpolation ({row['to_' + row['nearer']]:.4f} dB away)."
            for row in records(compared)
        )
        + " This speaks of these frames only.",
        count=len(compared),
        tables=(
            _frame_table("frames_prepared", frame_scores, _PREPARED),
            Table(
                "training_log",
                "Distance of the logged PSNR from both",
                (
                    Column("entry", "Entry of the log"),
                    Column("psnr_low_db", "Lowest", "dB", decimals=4),
                    Column("psnr_high_db", "Highest", "dB", decimals=4),
                    Column("to_reversed", "Distance to reversed", "dB", decimals=4),
                    Column("to_correct", "Distance to correct", "dB", decimals=4),
                    Column("source", "Source"),
                ),
                compared,
                _bold(is_reversed, "to_reversed") | _bold(~is_reversed, "to_correct"),
            ),
        ),
    )


# --- Pieces -----------------------------------------------------------------------------------


def _packaged(name: str) -> pd.DataFrame:
    with resources.files(published).joinpath(name).open(encoding="utf-8") as stream:
        return pd.read_csv(stream)


def _months(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["month"] != _AVERAGE].reset_index(drop=True)


def _floats(table: pd.DataFrame, column: str) -> FloatArray:
    return table[column].to_numpy(dtype=np.float64)


def _where(table: pd.DataFrame, column: str, value: str) -> BoolArray:
    return (table[column] == value).to_numpy(dtype=np.bool_)


def _unit(column: str) -> float:
    return float(10.0 ** -PRINTED_DIGITS[column.partition("_")[0]])


def _column_words(column: str) -> str:
    metric, _, who = column.partition("_")
    return f"{_METRICS[metric]} {who}"


def _pair_of_columns(metric: str, who: str) -> tuple[str, str]:
    if who == "method":
        return f"{metric}_{_METHOD}", f"{metric}_{_METHOD}"
    return f"{metric}_{_BASELINES['Table 2']}", f"{metric}_{_BASELINES['Table 3']}"


def _same(left: FloatArray, right: FloatArray, metric: str) -> BoolArray:
    return np.abs(left - right) < _unit(metric) / 2


def _rounding(difference: float, unit: float) -> str:
    if abs(difference) <= unit / 2 + _TINY:
        return "the rounded mean"
    return "within rounding of rows" if abs(difference) <= unit + _TINY else _BEYOND


def _bold(chosen: BoolArray, *keys: str) -> frozenset[tuple[int, str]]:
    return frozenset((int(place), key) for place in np.flatnonzero(chosen) for key in keys)


def _place(latitude: float, longitude: float) -> str:
    return (
        f"{abs(latitude):g}°{'N' if latitude >= 0 else 'S'} "
        f"{abs(longitude):g}°{'E' if longitude >= 0 else 'W'}"
    )


def _inside(row: Mapping[str, Any], latitude: float, longitude: float) -> bool:
    return bool(
        row["south"] <= latitude <= row["north"] and row["west"] <= longitude <= row["east"]
    )


def _inside_with_other_signs(row: Mapping[str, Any]) -> Iterator[str]:
    for north, east in combinations((1, -1), (1, -1)):
        latitude, longitude = north * abs(row["latitude"]), east * abs(row["longitude"])
        as_printed = (latitude, longitude) == (row["latitude"], row["longitude"])
        if not as_printed and _inside(row, latitude, longitude):
            yield _place(latitude, longitude)


def _holds_matlab(path: str) -> bool:
    folder = Path(path).expanduser()
    return path.endswith(".mat") or (folder.is_dir() and any(folder.glob("*.mat")))


def _psnr_db(rmse: float) -> float:
    return float("inf") if rmse == 0 else float(20 * np.log10(PEAK_UG_M3 / rmse))


def _means(frame_scores: pd.DataFrame, maps: str, key: str) -> dict[str, float]:
    """Return the mean of a score over the inner frames, by formula."""
    by_formula = frame_scores[frame_scores["maps"] == maps].groupby("formula")[key]
    return {str(formula): float(mean) for formula, mean in by_formula.mean().items()}


def _frame_table(name: str, frame_scores: pd.DataFrame, maps: str) -> Table:
    keys = ("psnr_db", *HEADLINE_METRICS)
    means = {key: _means(frame_scores, maps, key) for key in keys}
    rows = []
    for formula in (REVERSED, CORRECT):
        rows += [
            row | {"frame": str(row["frame"])}
            for row in records(frame_scores)
            if (row["maps"], row["formula"]) == (maps, formula)
        ]
        mean = {key: means[key][formula] for key in keys}
        rows.append({**rows[-1], **mean, "frame": "mean"})
    frame = pd.DataFrame(rows)
    columns = [Column("formula", "Linear interpolation"), Column("frame", "Frame")]
    if maps == _PREPARED:
        columns.append(Column("psnr_db", "PSNR", "dB", decimals=4))
    columns += [
        Column("r", "R", decimals=4),
        Column("rmse", "RMSE", UNIT, decimals=3),
        Column("mae", "MAE", UNIT, decimals=3),
        Column("n", "Cells a frame", decimals=0),
    ]
    bold = _bold(_where(frame, "frame", "mean"), *keys)
    return Table(name, f"Linear interpolation on the frames ({maps})", tuple(columns), frame, bold)
