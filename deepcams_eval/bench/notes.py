"""What a reader of a simulation must know, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from deepcams_eval.bench.choice import Chosen
from deepcams_eval.bench.month import MonthResult
from deepcams_eval.core.field import Product
from deepcams_eval.report.wording import plural


def notes_of(
    product: Product,
    predictions: Sequence[Product],
    chosen: Chosen,
    merged: MonthResult,
    counts: pd.DataFrame,
    *,
    between: int,
) -> Iterator[str]:
    """Yield what a reader must know: gaps, ends, hours and cells left out, negative values.

    ``between`` frames of the truth begin between two full hours; `counts` is that of `Plan.counts`.
    """
    yield from chosen.notes
    for name, files in (("truth", product), *((one.name, one) for one in predictions)):
        yield from (f"{name}: {note}" for note in files.notes)
        for damaged in files.damaged:
            yield f"{name}: {damaged.path} is damaged ({damaged.reason}); its hours are absent."
    if between:
        yield f"truth: {plural(between, 'frame')} of hours between two full ones left out."
    yield from _gaps(counts)
    for task, samples in merged.samples.groupby("task", sort=False):
        yield from _hours_left_out(str(task), samples)
        yield from _cells_left_out(str(task), samples)
    for name, count in sorted(merged.short.items()):
        yield (
            f"{name}: in {plural(count, 'interval')}, at an end of the data or beside a gap, it"
            " was given fewer frames than it asks for."
        )
    yield from _negatives(merged.samples)


def _gaps(counts: pd.DataFrame) -> Iterator[str]:
    for task, rows in counts.groupby("task", sort=False):
        keys = ("expected", "scored", "truth_absent", "interval_incomplete", "truth_empty")
        expected, scored, absent, cut, empty = (int(rows[key].sum()) for key in keys)
        if scored < expected:
            reasons = [f"the truth has no frame for {absent:,}"]
            reasons += [f"{cut:,} lie in an interval with an end missing"] * bool(cut)
            reasons += [f"in {empty:,} it has a frame without a value"] * bool(empty)
            yield (
                f"{task}: {scored:,} of {plural(expected, 'hour')} of the year are scored;"
                f" {', and '.join(reasons)}."
            )


def _hours_left_out(task: str, samples: pd.DataFrame) -> Iterator[str]:
    """Say in how many hours methods have no value, or no cell in common."""
    whole = samples[samples["cells_truth"] > 0].assign(
        valued=lambda rows: rows["cells_missing"] < rows["cells_truth"]
    )
    some = whole.groupby("hour_start")["valued"].transform("any")
    none = whole.loc[~some, "hour_start"].nunique()
    if none:
        yield (
            f"No method has a value in {plural(none, 'hour')} of the {task} task: where the"
            " frames that they are given hold none, they have none to give."
        )
    without = whole[some & ~whole["valued"]]
    for method, rows in without.groupby("method", sort=False):
        yield (
            f"{method} has no value in {plural(rows['hour_start'].nunique(), 'hour')} of the"
            f" {task} task; its tables are made of the hours that all methods have."
        )
    apart = whole[whole["valued"] & (whole["n"] == 0)]["hour_start"].nunique()
    if apart:
        yield (
            f"In {plural(apart, 'hour')} of the {task} task no cell has a value of every method;"
            " its tables are made of the other hours."
        )


def _cells_left_out(task: str, samples: pd.DataFrame) -> Iterator[str]:
    """Say in how many cells a method has no value where it has others in the same hour."""
    plain = samples[samples["weights"] == "none"]
    partly = plain[plain["cells_missing"] < plain["cells_truth"]]
    for method, rows in partly.groupby("method", sort=False):
        missing, cells = int(rows["cells_missing"].sum()), int(rows["cells_truth"].sum())
        if missing:
            yield (
                f"{100 * missing / cells:.2g} % of the cells of the {task} task have no value of"
                f" {method}; all methods are scored without them."
            )


def _negatives(samples: pd.DataFrame) -> Iterator[str]:
    plain = samples[samples["weights"] == "none"]
    found = []
    for (task, method), rows in plain.groupby(["task", "method"], sort=False):
        share = float(rows["negative_share"].mean())
        if share > 0:
            lowest = float(rows["lowest"].min())
            found.append(f"{task} {method} {100 * share:.2g} % (lowest {lowest:.1f})")
    if found:
        yield f"Negative values (ug m-3) are scored as they are, not clipped: {', '.join(found)}."
