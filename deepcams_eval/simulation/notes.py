"""What a reader of a simulation must know, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from deepcams_eval.schema import Product
from deepcams_eval.simulation.choice import Chosen
from deepcams_eval.simulation.month import Part


def notes_of(
    product: Product,
    chosen: Chosen,
    merged: Part,
    counts: pd.DataFrame,
    *,
    year: int,
    train_years: Sequence[int],
    left_out: Mapping[tuple[str, str], int],
) -> Iterator[str]:
    """Yield what a reader must know: gaps, ends, samples left out, negative values, training.

    Parameters
    ----------
    product : Product
        The truth.
    chosen : Chosen
        The methods.
    merged : Part
        All months.
    counts : pandas.DataFrame
        Of `deepcams_eval.simulation.plan.Plan.counts`.
    year, train_years
        The year scored, and those learned from.
    left_out : mapping of (task, method) to int
        Of `deepcams_eval.simulation.tables.common`.
    """
    yield from chosen.notes
    yield from (f"truth: {note}" for note in product.notes)
    for damaged in product.damaged:
        yield f"{damaged.path} is damaged ({damaged.reason}); its hours are absent."
    yield from _gaps(counts)
    for (task, method), count in left_out.items():
        yield (
            f"{method} has no value in {count:,} hours of the {task} task; its tables are made of "
            "the hours that all methods have."
        )
    for name, count in sorted(merged.short.items()):
        yield (
            f"{name}: in {count} intervals, at an end of the data or beside a gap, it had fewer "
            "frames than it asks for and went on with those."
        )
    yield from _negatives(merged.samples)
    if train_years and chosen.learners:
        years = ", ".join(map(str, train_years))
        names = ", ".join(sorted({one.name for one in chosen.learners}))
        yield f"{names}: learned on {years}, never on {year}."


def _gaps(counts: pd.DataFrame) -> Iterator[str]:
    for task, rows in counts.groupby("task", sort=False):
        expected, scored = int(rows["expected"].sum()), int(rows["scored"].sum())
        absent, cut = int(rows["truth_absent"].sum()), int(rows["interval_incomplete"].sum())
        if scored < expected:
            incomplete = f", and {cut:,} lie in an interval with an end missing" if cut else ""
            yield (
                f"{task}: {scored:,} of {expected:,} hours of the year are scored; the truth has no"
                f" frame for {absent:,}{incomplete}."
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
