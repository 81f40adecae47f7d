"""The report as one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deepcams_eval.report import credit, findings, tables, wording
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.rendering import render
from deepcams_eval.report.station_map import station_map
from deepcams_eval.report.style import Picture
from deepcams_eval.report.tables import Table
from deepcams_eval.score.metrics import METRICS

_CONTENTS = (
    ("Asked", "#asked"),
    ("Found", "#found"),
    ("Map", "#map"),
    ("Tables", "#tables"),
    ("Figures", "#figures"),
    ("Quality control", "#quality"),
    ("Coverage", "#coverage"),
    ("Provenance", "#provenance"),
    ("Definitions", "#definitions"),
)
_OTHER_STRATA = {
    "season": "Season",
    "country": "Country",
    "station_kind": "Station kind",
    "hour": "Hour (UTC)",
    "hour_local": "Local hour",
}
_SAMPLES = {
    "common": "common: observations for which every product that exists in the year has a value",
    "own": "own: for each product the observations for which it has a value; N may differ",
}


def _definitions() -> list[tuple[str, str]]:
    """Return what each name of the tables means."""
    return [
        ("N", "number of pairs of an observation O and the value M of the product in its cell"),
        *((one.label, one.definition) for one in METRICS.values() if one.tabulated),
        (
            "Median over stations",
            "the middle of the scores of the single stations with enough pairs",
        ),
        (
            "[…]",
            "95 % interval from leaving out whole stations in turn, the same for every product",
        ),
    ]


@dataclass(frozen=True)
class Step:
    """A line of the waterfall of quality control: rows left, and rows this rule took first."""

    rule: str
    alone: str
    first: str
    left: str
    share_left: float
    share_taken: float


def render_page(
    content: Content,
    main: Sequence[Table],
    pictures: Sequence[Picture],
    folder: Path,
    sections: Sequence[Section] = (),
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    content : Content
        What is shown.
    main : sequence of Table
        The tables in full; those by season, country and so on are made here.
    pictures : sequence of Picture
        The figures in order, those of the sections among them.
    folder : Path
        Where the images lie, in ``figures``.
    sections : sequence of Section
        What further evidence says, each with its tables and figures.
    """
    placed = {drawing.name for one in sections for drawing in one.drawings}
    parts = [(one.label, f"#{one.name}") for one in sections]
    return render(
        "report.html.j2",
        title=f"PM2.5 against stations, {_span(content)}",
        run=content.run,
        contents=[*_CONTENTS[:2], *parts, *_CONTENTS[2:]],
        asked=list(_asked(content)),
        notes=list(content.notes),
        attributions=credit.attributions(content),
        pictures=pictures,
        folder=folder,
        synthetic=content.synthetic,
        definitions=_definitions(),
        cards=findings.headlines(content),
        sentences=findings.sentences(content),
        placed=placed,
        station_map=station_map(content),
        main=main,
        others=[
            tables.score_table(content, (stratum,), name=stratum, label=label)
            for stratum, label in _OTHER_STRATA.items()
            if content.values(stratum)
        ],
        sections=sections,
        steps=list(waterfall(content.qc)),
        reading=tables.plain_table(
            "reading",
            "What reading met and assumed",
            _reading(content.qc),
            synthetic=content.synthetic,
        ),
        coverage=tables.plain_table(
            "coverage",
            "Coverage by product and year",
            content.coverage,
            synthetic=content.synthetic,
        ),
        undefined=wording.UNDEFINED,
    )


def waterfall(qc: pd.DataFrame) -> Iterator[Step]:
    """Yield the steps from the rows that came in to those that are left.

    Parameters
    ----------
    qc : pandas.DataFrame
        ``rule, flagged, flagged_first, stage``; of the stage ``rule`` the lines ``rows_in``, the
        rules in order and ``rows_out``. Rules that are off have the stage ``rule (off)``.
    """
    lines = qc[qc["stage"].astype(str).str.startswith("rule")]
    start = lines.loc[lines["rule"] == "rows_in", "flagged"]
    rows_in = int(start.iloc[0]) if len(start) else 0
    left = rows_in
    scale = max(rows_in, 1)
    for line in records(lines):
        rule, flagged = str(line["rule"]), int(line["flagged"])
        if rule in ("rows_in", "rows_out"):
            left = flagged
            yield Step(wording.plain_name(rule), "", "", f"{left:,}", 100 * left / scale, 0.0)
            continue
        first = 0 if pd.isna(line["flagged_first"]) else int(line["flagged_first"])
        left -= first
        off = " (off)" if line["stage"] != "rule" else ""
        yield Step(
            wording.plain_name(rule) + off,
            f"{flagged:,}",
            f"{first:,}",
            f"{left:,}",
            100 * left / scale,
            100 * first / scale,
        )


def _reading(qc: pd.DataFrame) -> pd.DataFrame:
    lines = qc[~qc["stage"].astype(str).str.startswith("rule")]
    return pd.DataFrame(
        {
            "stage": lines["stage"].astype(str),
            "what": lines["rule"].astype(str).map(wording.plain_name),
            "count": lines["flagged"].astype("int64"),
        }
    )


def _span(content: Content) -> str:
    if not content.years:
        return "no year with pairs"
    first, last = content.years[0], content.years[-1]
    return str(first) if first == last else f"{first}–{last}"


def _asked(content: Content) -> Iterator[tuple[str, str]]:
    yield "Years with pairs", ", ".join(map(str, content.years)) or "none"
    yield "Products", ", ".join(content.products)
    yield "Baseline of the differences", content.baseline
    yield "Sample", _SAMPLES[content.sample]
    of = content.average
    yield "Scored", "hours" if of == "hour" else f"means over a {of}, where complete"
