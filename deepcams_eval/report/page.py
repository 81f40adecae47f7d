"""The report as one page that needs no other file and no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepcams_eval.report import credit, findings, published, tables, wording
from deepcams_eval.report.content import SYNTHETIC, Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.rendering import template
from deepcams_eval.report.station_map import station_map
from deepcams_eval.report.style import Drawing
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.score.metrics import METRICS

MAX_IMAGE_BYTES = 3_600_000
"""Bytes of images on the page (base64 adds a third); the others are named, not shown."""

_MAX_INPUTS = 200
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
            "the middle of the scores of the stations with enough pairs",
        ),
        ("[…]", "95 % interval from resampling whole stations; the same draws serve every product"),
    ]


@dataclass(frozen=True)
class Picture:
    """A figure as the page needs it: its words, and where its image lies.

    Attributes
    ----------
    name, kind, caption, alternative : str
        As in `deepcams_eval.report.style.Drawing`.
    png : Path
        The image.
    """

    name: str
    kind: str
    caption: str
    alternative: str
    png: Path

    @classmethod
    def of(cls, drawing: Drawing, png: Path) -> Picture:
        """Return the picture of a drawing that was saved as `png`."""
        return cls(drawing.name, drawing.kind, drawing.caption, drawing.alternative, png)


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
    sections : sequence of Section
        What further evidence says, each with its tables and figures.
    """
    qc = content.qc
    images = embed(pictures)
    inputs, more = input_rows(content.run)
    years = ", ".join(map(str, content.years))
    placed = {drawing.name for one in sections for drawing in one.drawings}
    return template("report.html.j2").render(
        station_map=station_map(content),
        title=f"PM2.5 against stations, {_span(content)}",
        mark=f"{SYNTHETIC} data" if content.synthetic else "",
        asked=list(_asked(content, years)),
        headlines=findings.headlines(content),
        sentences=findings.sentences(content),
        main=main,
        others=[
            tables.score_table(content, (stratum,), name=stratum, label=label)
            for stratum, label in _OTHER_STRATA.items()
            if content.values(stratum)
        ],
        sections=sections,
        pictures=[item for item in pictures if item.name in images and item.name not in placed],
        placed={item.name: item for item in pictures if item.name in images},
        images=images,
        unshown=[item.name for item in pictures if item.name not in images],
        steps=list(waterfall(qc)),
        reading=tables.plain_table(
            "reading",
            "What reading met and assumed",
            _reading(qc),
            synthetic=content.synthetic,
        ),
        coverage=tables.plain_table(
            "coverage",
            "Coverage by product and year",
            content.coverage,
            synthetic=content.synthetic,
        ),
        notes=list(content.notes),
        provenance=list(provenance_rows(content.run)),
        inputs=inputs,
        more_inputs=more,
        attributions=credit.attributions(content),
        definitions=_definitions(),
        doi=published.DOI,
        undefined=wording.UNDEFINED,
    )


def lag_table(content: Content) -> Table | None:
    """Return the best lag of each provider with each product, or None without lags."""
    rows = content.lags
    if rows is None or rows.empty:
        return None
    keys = ["provider", "product"]
    best = rows[rows["lag_h"] == rows["best_lag_h"]]
    still = rows[rows["lag_h"] == 0][[*keys, "r"]].rename(columns={"r": "r_at_0"})
    frame = best.merge(still, on=keys).reset_index(drop=True)
    numbers = ["r_at_0", "r", "d_r", "d_r_lo", "d_r_hi"]
    lags = ["best_lag_h", "others_best_lag_h"]
    frame = frame[[*keys, "stations", "n", *lags, *numbers, "significant", "apart"]]
    decimals = METRICS["r"].digits
    columns = (
        Column("provider", "Provider"),
        Column("product", "Product"),
        Column("stations", "Stations", decimals=0),
        Column("n", "N", decimals=0),
        Column("best_lag_h", "Best lag", "h", 0, signed=True),
        Column("others_best_lag_h", "Others'", "h", 0, signed=True),
        Column("r_at_0", "R at lag 0", decimals=decimals),
        Column("r", "R at best", decimals=decimals),
        Column("d_r", "ΔR", "", decimals, True, signed=True),
    )
    bold = frozenset((place, "best_lag_h") for place, one in enumerate(frame["significant"]) if one)
    notes = (
        "Lag: hours by which the product is read after the hour of the observation; −1 h fits "
        "best where stamps are 1 h late. R of departures from each station's mean. ΔR: best − "
        "lag 0 on the same observations; its interval resamples stations and holds for all lags "
        f"together ({wording.DASH} at lag 0 and with fewer than 5 stations). Bold: that interval "
        "lies above zero.",
    )
    return Table(
        "lags", "Best time lag by provider", columns, frame, bold, notes, content.synthetic
    )


def embed(pictures: Sequence[Picture], room: int = MAX_IMAGE_BYTES) -> dict[str, str]:
    """Return the data URI of each picture that fits, by name.

    Twelve panels are large and repeat the scatter of their year in finer detail, so they are the
    first to be left out.

    Parameters
    ----------
    pictures : sequence of Picture
        All of them; in doubt the earlier ones are kept.
    room : int
        Bytes of image files in all.
    """
    images = {}
    for item in sorted(pictures, key=lambda item: item.kind == "scatter_months"):
        image = item.png.read_bytes()
        if len(image) <= room:
            room -= len(image)
            images[item.name] = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
    return images


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


def _asked(content: Content, years: str) -> Iterator[tuple[str, str]]:
    command = content.run.get("command", "")
    yield "Command", command if isinstance(command, str) else " ".join(map(str, command))
    yield "Years with pairs", years or "none"
    yield "Products", ", ".join(content.products)
    yield "Baseline of the differences", content.baseline
    yield "Sample", _SAMPLES[content.sample]
    of = content.average
    yield "Scored", "hours" if of == "hour" else f"means over a {of}, where complete"


def provenance_rows(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of what ``run.json`` says, but for inputs and command."""
    for key, value in run.items():
        if key in ("inputs", "command"):
            continue
        name = wording.plain_name(key)
        if key == "wall_time_s":
            yield "wall time", wording.duration(float(value))
        elif key == "peak_rss_bytes":
            yield "peak memory", wording.size(float(value))
        elif isinstance(value, dict):
            yield name, ", ".join(f"{inner}: {_flat(one)}" for inner, one in value.items())
        else:
            yield name, _flat(value)


def _flat(value: Any) -> str:
    if value is None:
        return wording.DASH
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _path_of(entry: Mapping[str, Any]) -> str:
    path = str(entry.get("path", ""))
    return f"{path} ({entry['files']:,} files)" if "files" in entry else path


def input_rows(run: Mapping[str, Any]) -> tuple[list[tuple[str, str, str]], int]:
    """Return path, size and SHA-256 of the first input files, and how many more there are."""
    entries = [entry for entry in run.get("inputs", ()) if isinstance(entry, Mapping)]
    shown = [
        (
            _path_of(entry),
            wording.size(float(entry["bytes"])) if entry.get("bytes") is not None else "",
            str(entry.get("sha256") or wording.DASH),
        )
        for entry in entries[:_MAX_INPUTS]
    ]
    return shown, len(entries) - len(shown)
