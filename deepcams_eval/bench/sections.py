"""The tables of a simulation: months by metric, summary, skill, counts and methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pandas as pd

from deepcams_eval.bench.frame_scores import TILE_DEG
from deepcams_eval.bench.tables import AVERAGE, TABLE_SCORES, TASK_NAMES
from deepcams_eval.downscale import Task
from deepcams_eval.report import published, wording
from deepcams_eval.report.content import records
from deepcams_eval.report.tables import (
    Column,
    Table,
    beyond_zero,
    plain_table,
)
from deepcams_eval.report.wording import UNIT
from deepcams_eval.score.metrics import HEADLINE_METRICS, METRICS, Metric

if TYPE_CHECKING:
    from deepcams_eval.bench.run import SimulationRun

SHOWN: Mapping[str, Metric] = {
    key: replace(metric, digits=metric.digits + 1)
    for key, metric in {
        **HEADLINE_METRICS,
        "mb": METRICS["mb"],
        "p99_error": replace(
            METRICS["rmse"],
            key="p99_error",
            label="P99 error",
            definition="root-mean-square error where the truth exceeds its 99th percentile, "
            + UNIT,
        ),
    }.items()
}
"""One digit more than elsewhere: methods differ less here than products do at stations."""

UNDEFINED = (
    f"{wording.DASH} is undefined: a month without samples, a sample that does not vary (R), or "
    "too few days and tiles to resample (intervals)."
)

_OURS = "This run"
_PUBLISHED = "Published (Xiao et al. 2022)"
_PUBLISHED_SYNTHETIC = "Published (real data; not comparable with synthetic)"
_WEIGHTS = {"none": "unweighted", "area": "weighted by cell area"}


def weights_in_words(content: SimulationRun) -> str:
    """Return how grid cells count in what is shown."""
    return _WEIGHTS[content.weights]


def published_name(method: str) -> str:
    """Return how a method of the paper is written there."""
    return "DeepCAMS" if method == "deepcams" else method


def month_tables(content: SimulationRun, task: Task) -> tuple[Table, ...]:
    """Return the scores of a task by month: a table a metric, a column a method.

    The best of our methods in a row is bold. Published columns are never compared with ours:
    they belong to other models, and where the data are synthetic to other data.
    """
    return tuple(_month_table(content, task, metric) for metric in TABLE_SCORES)


def summary_table(content: SimulationRun, task: Task) -> Table:
    """Return the scores of the year, both weightings and both ways to aggregate.

    Bold is the best of the methods with the same hours, weighting and aggregation.
    """
    frame = content.summary[content.summary["task"] == task]
    # What the other tables show comes first.
    order = (frame["weights"] != content.weights).to_numpy().argsort(kind="stable")
    frame = frame.iloc[order].reset_index(drop=True)
    columns = [
        Column("method", "Method"),
        *([Column("hours", "Hours")] if len(set(frame["hours"])) > 1 else []),
        Column("weights", "Weights"),
        Column("aggregate", "Aggregate"),
        Column("n_samples", "Samples", decimals=0),
        *(Column(key, one.label, one.unit, one.digits) for key, one in SHOWN.items()),
    ]
    bold = {
        (int(rows.index[place]), key)
        for _, rows in frame.groupby(["hours", "weights", "aggregate"])
        for key in (*TABLE_SCORES, "p99_error")
        for place in _best(list(rows[key]), SHOWN[key])
    }
    return Table(
        name=f"summary_{task}",
        title=f"{TASK_NAMES[task]}: scores of {content.year}",
        columns=tuple(columns),
        frame=frame,
        bold=frozenset(bold),
        notes=_notes(
            frame,
            "Months: the mean over samples of each month, then over the months, as in the paper. "
            "Pooled: all samples at once.",
        ),
        synthetic=content.synthetic,
    )


def skill_table(content: SimulationRun, task: Task) -> Table:
    """Return the skill of each method against each baseline; bold excludes zero."""
    frame = content.skill_of(task).reset_index(drop=True)
    frame = frame.assign(metric=frame["metric"].map(lambda key: SHOWN[key].label))
    columns = (
        Column("method", "Method"),
        Column("baseline", "Baseline"),
        *([Column("hours", "Hours")] if len(set(frame["hours"])) > 1 else []),
        Column("metric", "Metric"),
        Column("score", "Score", UNIT, 3),
        Column("baseline_score", "Of the baseline", UNIT, 3),
        Column("difference", "Difference", UNIT, 3, interval=True, signed=True),
        Column("skill", "Skill", "", 3, interval=True, signed=True),
        Column("days", "Days", decimals=0),
        Column("samples", "Samples", decimals=0),
        *([Column("tiles", "Tiles", decimals=0)] if frame["tiles"].any() else []),
    )
    return Table(
        name=f"skill_{task}",
        title=f"{TASK_NAMES[task]}: skill of each method, {weights_in_words(content)}",
        columns=columns,
        frame=frame,
        bold=beyond_zero(frame, ("difference", "skill")),
        notes=_notes(
            frame,
            "Skill is 1 − score / score of the baseline: positive is better. Resampled, the same "
            f"for both: {resampled_in_words(frame)}. Bold: the 95 % interval excludes zero.",
        ),
        synthetic=content.synthetic,
    )


def resampled_in_words(table: pd.DataFrame) -> str:
    """Return what was resampled for the intervals of rows of skill."""
    tiles = int(table["tiles"].max())
    if not tiles:
        return "whole days"
    return f"{tiles} tiles of the map, about {TILE_DEG:g}° wide (these hours, no other days)"


def counts_table(content: SimulationRun) -> Table:
    """Return how many samples were expected, scored and missing, by task and month."""
    return plain_table("counts", "Samples by month", content.counts, synthetic=content.synthetic)


def methods_table(content: SimulationRun) -> Table:
    """Return every method known, and what it needs if it could not run."""
    known = pd.DataFrame([asdict(one) for one in content.available])
    return plain_table("methods", "Methods known", known, synthetic=content.synthetic)


def long_tables(content: SimulationRun) -> list[Table]:
    """Return summary and skill of each task, as far as they have rows."""
    made: list[Table] = []
    for task in content.tasks:
        if (content.summary["task"] == task).any():
            made.append(summary_table(content, task))
        if len(content.skill_of(task)):
            made.append(skill_table(content, task))
    return made


def _month_table(content: SimulationRun, task: Task, metric: str) -> Table:
    frame = content.months[task].reset_index(drop=True)
    frame = frame.assign(month=frame["month"].replace({AVERAGE: "Average"}))
    methods = content.methods[task]
    theirs = tuple(_published_columns(content, frame, metric))
    # The unit stands in the title; in a dozen headers it would widen the table for nothing.
    columns = (
        Column("month", "Month"),
        *([Column("hours", "Hours")] if "hours" in frame else []),
        Column("n", "N", decimals=0),
        *(
            Column(f"{metric}_{method}", method, decimals=SHOWN[metric].digits, group=_OURS)
            for method in methods
        ),
        *theirs,
    )
    notes = []
    if len(methods) > 1:
        notes.append("Bold: best of the methods of this run, after rounding.")
    if theirs:
        notes.append(
            f"Published: Xiao et al. 2022, doi:{published.DOI}, as printed; not among those "
            "compared for bold."
        )
    keys = [column.key for column in columns]
    return Table(
        name=f"{task}_{metric}",
        title=f"{TASK_NAMES[task]}: {SHOWN[metric].header} by month of {content.year}, "
        f"{weights_in_words(content)}",
        columns=columns,
        frame=frame,
        bold=_best_in_rows(frame, methods, metric),
        notes=_notes(frame[[key for key in keys if not key.startswith("published")]], *notes),
        synthetic=content.synthetic,
    )


def _published_columns(
    content: SimulationRun, frame: pd.DataFrame, metric: str
) -> Iterator[Column]:
    start = f"published_{metric}_"
    group = _PUBLISHED_SYNTHETIC if content.synthetic else _PUBLISHED
    for key in map(str, frame.columns):
        if key.startswith(start) and frame[key].notna().any():
            label = published_name(key.removeprefix(start))
            yield Column(key, label, decimals=published.PRINTED_DIGITS[metric], group=group)


def _best_in_rows(
    frame: pd.DataFrame, methods: Sequence[str], metric: str
) -> frozenset[tuple[int, str]]:
    keys = [f"{metric}_{method}" for method in methods]
    return frozenset(
        (place, keys[winner])
        for place, row in enumerate(records(frame[keys]))
        for winner in _best([row[key] for key in keys], SHOWN[metric])
    )


def _best(values: Sequence[float], metric: Metric) -> list[int]:
    """Return the places of the best values as printed; none where all are equal."""
    printed = pd.Series([float(f"{value:.{metric.digits}f}") for value in values]).dropna()
    if printed.nunique() < 2:
        return []
    best = printed.max() if metric.better == "high" else printed.min()
    return [int(place) for place in printed.index[printed == best]]


def _notes(frame: pd.DataFrame, *notes: str) -> tuple[str, ...]:
    undefined = bool(frame.isna().any(axis=None))
    return (*notes, UNDEFINED) if undefined else notes
