"""The report of a simulation as one page: what was asked, what was found, from which numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcams_eval.bench import sections
from deepcams_eval.bench.figures import interval_note
from deepcams_eval.bench.sections import SHOWN
from deepcams_eval.bench.tables import TABLE_SCORES, TASK_NAMES, all_hours
from deepcams_eval.downscale import Task
from deepcams_eval.report import credit, wording
from deepcams_eval.report.content import records
from deepcams_eval.report.findings import Card
from deepcams_eval.report.rendering import render
from deepcams_eval.report.style import Picture
from deepcams_eval.score.intervals import excludes_zero

if TYPE_CHECKING:
    from deepcams_eval.bench.run import SimulationRun

_CORRECT, _AS_PRINTED = "linear", "linear-eq9"
_DEFINITIONS = (
    ("N", "number of samples: hours at which a whole map was scored against the truth"),
    ("M, O", "estimate and truth in the cells of a sample; N in a formula is their number"),
    *((one.label, one.definition) for one in SHOWN.values()),
    ("Average", "mean over the samples of each month, then over the months that have samples"),
    ("Skill", "1 − score / score of the baseline; 1 is perfect, 0 is no better, negative is worse"),
    ("Power ratio", "power of the estimate over that of the truth in a band of wavelengths"),
    ("[…]", "95 % interval from resampling days, or tiles of the map; the same draws for both"),
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
        months=[(TASK_NAMES[t], sections.month_tables(content, t)) for t in content.tasks],
        others=sections.long_tables(content),
        tasks=[(TASK_NAMES[task], task) for task in content.tasks],
        counts=sections.counts_table(content),
        totals=list(_totals(content)),
        methods=sections.methods_table(content),
        undefined=sections.UNDEFINED,
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
    yield "Grid cells", sections.weights_in_words(content)
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
            f"truth, {incomplete:,} in an interval that lacks a frame"
        )
        yield f"{text}, {empty:,} where the truth has no value." if empty else f"{text}."
