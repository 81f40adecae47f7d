"""The page of a simulation: what was asked, what was found, and the tables that say so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepcams_eval.bench.frame_scores import TILE_DEG
from deepcams_eval.bench.tables import AVERAGE, TABLE_SCORES, TASK_NAMES, all_hours
from deepcams_eval.downscale import Task
from deepcams_eval.report import credit, published, wording
from deepcams_eval.report.content import records
from deepcams_eval.report.findings import Card
from deepcams_eval.report.rendering import render
from deepcams_eval.report.style import Picture
from deepcams_eval.report.tables import Column, Table, beyond_zero, plain_table
from deepcams_eval.report.wording import UNIT
from deepcams_eval.score.intervals import excludes_zero
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
    "too few blocks of days and tiles (intervals)."
)

_OURS = "This run"
_PUBLISHED = "Published (Xiao et al. 2022)"
_PUBLISHED_SYNTHETIC = "Published (real data; not comparable with synthetic)"
_WEIGHTS = {"none": "unweighted", "area": "weighted by cell area"}
_CORRECT, _AS_PRINTED = "linear", "linear-eq9"
_DEFINITIONS = (
    ("N", "number of samples: hours at which a whole map was scored against the truth"),
    ("M, O", "estimate and truth in the cells of a sample; N in a formula is their number"),
    *((one.label, one.definition) for one in SHOWN.values()),
    ("Average", "mean over the samples of each month, then over the months that have samples"),
    ("Skill", "1 − score / score of the baseline; 1 is perfect, 0 is no better, negative is worse"),
    ("Power ratio", "power of the estimate over that of the truth in a band of wavelengths"),
    (
        "[…]",
        "95 % interval from leaving out blocks of days, or tiles of the map; the same for both",
    ),
)


_CONTENTS = tuple(
    (name, f"#{name.lower()}")
    for name in (
        *("Asked", "Found", "Tables", "Figures", "Samples", "Methods", "Notes", "Provenance"),
        "Definitions",
    )
)


def render_page(
    content: SimulationRun, pictures: Sequence[Picture], folder: Path, said: Mapping[str, Any]
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    content : SimulationRun
        What is shown.
    pictures : sequence of Picture
        The figures in order.
    folder : Path
        Where the images lie, in ``figures``.
    said : mapping
        The content of ``run.json``.
    """
    known = pd.DataFrame([asdict(one) for one in content.available])
    return render(
        "simulation.html.j2",
        title=f"Simulation of {content.year}: downscaling against the hourly truth",
        run=said,
        contents=_CONTENTS,
        asked=list(_asked(content)),
        notes=list(content.notes),
        attributions=credit.truth_attributions(content.product.kind, synthetic=content.synthetic),
        pictures=pictures,
        folder=folder,
        synthetic=content.synthetic,
        definitions=_DEFINITIONS,
        cards=list(cards(content)),
        sentences=list(sentences(content)),
        months=[(TASK_NAMES[t], month_tables(content, t)) for t in content.tasks],
        others=long_tables(content),
        tasks=[(TASK_NAMES[task], task) for task in content.tasks],
        counts=plain_table(
            "counts", "Samples by month", content.counts, synthetic=content.synthetic
        ),
        totals=list(_totals(content)),
        methods=plain_table("methods", "Methods known", known, synthetic=content.synthetic),
        undefined=UNDEFINED,
    )


def cards(content: SimulationRun) -> Iterator[Card]:
    """Yield the best method of each task by average RMSE."""
    for task in content.tasks:
        best = content.best(task)
        if best is None:
            continue
        row = content.average(task)
        scores = tuple(
            (SHOWN[metric].label, _score(row[f"{metric}_{best}"], metric), "")
            for metric in TABLE_SCORES
        )
        count = len(content.methods[task])
        of = "the only method" if count == 1 else f"lowest average RMSE of {count} methods"
        yield Card(f"{TASK_NAMES[task]}: {best}", scores, of)


def sentences(content: SimulationRun) -> Iterator[str]:
    """Yield a sentence a task on its best method, and one on the linear baseline as printed."""
    for task in content.tasks:
        yield _best_sentence(content, task)
    yield from _as_printed(content)


def _best_sentence(content: SimulationRun, task: Task) -> str:
    best = content.best(task)
    if best is None:
        return f"{TASK_NAMES[task]}: no score is defined."
    row = content.average(task)
    scores = ", ".join(
        f"{SHOWN[metric].label} {_score(row[f'{metric}_{best}'], metric)}"
        for metric in ("rmse", "mae", "r")
    )
    text = f"{TASK_NAMES[task]}: {best} has the lowest average RMSE ({scores})."
    rows = all_hours(content.skill_of(task))
    rows = rows[(rows["method"] == best) & (rows["metric"] == "rmse")]
    parts = [_skill_in_words(skill) for skill in records(rows[rows["baseline"] != best])]
    if parts:
        text += f" Skill in RMSE: {'; '.join(parts)}."
    if rows["skill"].notna().any() and rows["skill_lo"].isna().all():
        text += f" {interval_note(rows)}"
    return text


def _skill_in_words(row: Mapping[str, Any]) -> str:
    low, high = row["skill_lo"], row["skill_hi"]
    value = wording.number(row["skill"], 3, sign=True)
    bounds = wording.interval(low, high, 3, sign=True)
    numbers = wording.typographic(f"{value} {bounds}")
    if not (math.isfinite(low) and math.isfinite(high)):
        verdict = "no interval"
    elif not excludes_zero(low, high):
        verdict = f"does not differ from {row['baseline']}: the interval includes zero"
    else:
        verdict = "better" if low > 0 else "worse"
    return f"{numbers} against {row['baseline']} ({verdict})"


def _as_printed(content: SimulationRun) -> Iterator[str]:
    if not {_CORRECT, _AS_PRINTED} <= set(content.methods.get("temporal", ())):
        return
    row = content.average("temporal")
    correct, printed = row[f"mae_{_CORRECT}"], row[f"mae_{_AS_PRINTED}"]
    if not correct > 0:
        return
    yield (
        f"The linear interpolation as printed in the paper (Eq. 9, {_AS_PRINTED}) has "
        f"{wording.number(printed / correct, 2)} times the MAE of the correct one ({_CORRECT}): "
        f"{wording.number(printed, SHOWN['mae'].digits)} against {_score(correct, 'mae')}."
    )


def _score(value: float, metric: str) -> str:
    text = wording.typographic(wording.number(value, SHOWN[metric].digits))
    return text + SHOWN[metric].unit_after


def _asked(content: SimulationRun) -> Iterator[tuple[str, str]]:
    yield "Year", str(content.year)
    if content.degradation:
        yield "Degradation", content.degradation
    yield "Grid cells", weights_in_words(content)
    for task in content.tasks:
        yield TASK_NAMES[task], ", ".join(content.methods[task])


def _totals(content: SimulationRun) -> Iterator[str]:
    """Yield a sentence a task on how many samples there should be and how many were scored."""
    counts = content.counts
    for task in content.tasks:
        rows = counts[counts["task"] == task]
        keys = ("expected", "scored", "truth_absent", "interval_incomplete")
        expected, scored, absent, incomplete = (int(rows[key].sum()) for key in keys)
        empty = expected - scored - absent - incomplete
        text = (
            f"{TASK_NAMES[task]}: {scored:,} of {expected:,} samples scored; {absent:,} without "
            f"truth, {incomplete:,} in an interval with an end missing"
        )
        yield f"{text}, {empty:,} where the truth has no value." if empty else f"{text}."


def interval_note(table: pd.DataFrame) -> str:
    """Return what the intervals of rows of skill are, or why there are none."""
    absent = table["skill_lo"].isna() & table["skill"].notna()
    if not absent.all():
        text = f"Bars: 95 % intervals from leaving out {left_out_in_words(table)}; filled where"
        text += " they exclude zero."
        return f"{text} Some are undefined." if absent.any() else text
    days = int(table["days"].max())
    return (
        f"No intervals: {'a single day was' if days == 1 else f'{days} days were'} scored, and "
        "blocks of days are what is left out in turn."
    )


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
        Column("tiles", "Tiles", decimals=0)
        if frame["tiles"].any()
        else Column("blocks", "Blocks", decimals=0),
        Column("effective", "Effective", decimals=1),
    )
    return Table(
        name=f"skill_{task}",
        title=f"{TASK_NAMES[task]}: skill of each method, {weights_in_words(content)}",
        columns=columns,
        frame=frame,
        bold=beyond_zero(frame, ("difference", "skill")),
        notes=_notes(
            frame,
            "Skill is 1 − score / score of the baseline: positive is better. Left out in turn, the "
            f"same for both: {left_out_in_words(frame)}. Effective: how many of them decide the "
            "difference. Bold: the 95 % interval excludes zero.",
        ),
        synthetic=content.synthetic,
    )


def left_out_in_words(table: pd.DataFrame) -> str:
    """Return what the intervals of rows of skill leave out in turn."""
    tiles = int(table["tiles"].max())
    if not tiles:
        return "blocks of days that follow each other"
    return f"{tiles} tiles of the map, about {TILE_DEG:g}° wide (these hours, no other days)"


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
