"""What the printed Tables 2 and 3 say of each other: averages, equal cells, wins of a baseline."""

from __future__ import annotations

from itertools import product as combinations

import numpy as np
import pandas as pd

from deepcams_eval.paper.audit_page import Finding, bold_cells, floats, numbers, texts, where
from deepcams_eval.report.content import records
from deepcams_eval.report.published import PRINTED_DIGITS
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.score.metrics import HEADLINE_METRICS

AVERAGE, METHOD = "average", "deepcams"
"""The last row of Tables 2 and 3, and the paper's method in them."""

_METRICS = {key: one.label for key, one in HEADLINE_METRICS.items()}
_BASELINES = {"Table 2": "linear", "Table 3": "bicubic"}
_TINY = 1e-9
_BEYOND = "beyond rounding"


def averages(table2: pd.DataFrame, table3: pd.DataFrame) -> Finding:
    """Compare the printed averages with the means of the rows above them.

    Rows rounded by half a unit and an average rounded by another half may differ by one unit of
    the last digit; a larger difference cannot come from rounding.
    """
    rows = []
    for name, table in (("Table 2", table2), ("Table 3", table3)):
        months, last = _months(table), records(table[table["month"] == AVERAGE])[0]
        for column in map(str, table.columns.drop("month")):
            unit, average = printed_unit(column), float(last[column])
            mean = float(floats(months, column).mean())
            off = abs(average - mean)
            within = "the rounded mean" if off <= unit / 2 + _TINY else "within rounding of rows"
            rows.append(
                {
                    "table": name,
                    "column": _column_words(column),
                    "mean": mean,
                    "average": average,
                    "printed": _as_printed(average, column.partition("_")[0]),
                    "difference": average - mean,
                    "unit": unit,
                    "reading": within if off <= unit + _TINY else _BEYOND,
                }
            )
    frame = pd.DataFrame(rows)
    beyond = where(frame, "reading", _BEYOND)
    count = int(beyond.sum())
    columns = (
        *texts(table="Table", column="Column"),
        *numbers(5, mean="Mean of 12 months"),
        *texts(printed="Printed average"),
        Column("difference", "Difference", decimals=5, signed=True),
        *numbers(4, unit="One unit of the last digit"),
        *texts(reading="Reading"),
    )
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
                columns,
                frame,
                bold_cells(beyond, "difference", "reading"),
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
    compared = (tuple(_BASELINES.values()), (METHOD, METHOD))
    for (metric, label), (who2, who3) in combinations(_METRICS.items(), compared):
        words2, words3 = f"{label} {who2}", f"{label} {who3}"
        left, right = floats(months2, f"{metric}_{who2}"), floats(months3, f"{metric}_{who3}")
        half = printed_unit(metric) / 2
        equal, *shifted = (np.abs(left - np.roll(right, step)) < half for step in range(len(right)))
        chance = [int(one.sum()) for one in shifted]
        summary.append(
            {
                "metric": label,
                "columns": f"{words2} / {words3}",
                "cells": len(equal),
                "equal": int(equal.sum()),
                "shifted_mean": float(np.mean(chance)),
                "shifted_most": max(chance),
            }
        )
        cells += [
            (names[place], label, words2, words3, _as_printed(left[place], metric))
            for place in np.flatnonzero(equal)
        ]
    overview = pd.DataFrame(summary)
    listed = pd.DataFrame(cells, columns=["month", "metric", "table2", "table3", "value"])
    sums = overview.groupby("metric", sort=False)[["equal", "cells", "shifted_mean"]].sum()
    by_metric = records(sums.reset_index())
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
                    *texts(metric="Metric", columns="Table 2 / Table 3"),
                    *numbers(0, cells="Cells", equal="Equal"),
                    *numbers(2, shifted_mean="Equal with shifted months, mean"),
                    *numbers(0, shifted_most="Most in a shift"),
                ),
                overview,
                bold_cells(where(overview, "metric", _METRICS["rmse"]), "equal"),
            ),
            Table(
                "equal_cells",
                "The equal cells, one by one",
                texts(
                    month="Month",
                    metric="Metric",
                    table2="Column of Table 2",
                    table3="Column of Table 3",
                    value="Value in both",
                ),
                listed,
                bold_cells(where(listed, "metric", _METRICS["rmse"]), "value"),
            ),
        ),
    )


def baseline_wins(table2: pd.DataFrame, table3: pd.DataFrame) -> Finding:
    """List the cells in which the baseline is better than the method, or equal to it."""
    rows, compared = [], 0
    for (name, table), (metric, label) in combinations(
        (("Table 2", table2), ("Table 3", table3)), _METRICS.items()
    ):
        for record in records(table):
            compared += 1
            base = float(record[f"{metric}_{_BASELINES[name]}"])
            method = float(record[f"{metric}_{METHOD}"])
            gain = (method - base) if metric == "r" else (base - method)
            if gain <= _TINY:
                rows.append(
                    {
                        "table": name,
                        "month": record["month"],
                        "metric": label,
                        "baseline": f"{_BASELINES[name]} {_as_printed(base, metric)}",
                        "method": _as_printed(method, metric),
                        "reading": "baseline better" if gain < -_TINY else "equal",
                    }
                )
    keys = ("table", "month", "metric", "baseline", "method", "reading")
    frame = pd.DataFrame(rows, columns=list(keys))
    better = where(frame, "reading", "baseline better")
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
                texts(**{key: key.capitalize() for key in keys}),
                frame,
                bold_cells(better, "baseline"),
            ),
        ),
    )


def _months(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["month"] != AVERAGE].reset_index(drop=True)


def _column_words(column: str) -> str:
    metric, _, who = column.partition("_")
    return f"{_METRICS[metric]} {who}"


def _as_printed(value: float, metric: str) -> str:
    return f"{value:.{PRINTED_DIGITS[metric]}f}"


def printed_unit(column: str) -> float:
    """Return one unit of the last digit with which a column of Tables 2 and 3 is printed."""
    return float(10.0 ** -PRINTED_DIGITS[column.partition("_")[0]])
