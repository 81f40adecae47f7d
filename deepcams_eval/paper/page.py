"""The paper's tables and figures as one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepcams_eval.report.rendering import render
from deepcams_eval.report.style import Picture
from deepcams_eval.report.tables import Table

PLACES = (
    *(f"Table {number}" for number in (1, 2, 3)),
    *(f"Fig. {number}" for number in (1, 3, 4, 5, 6, 7, 8)),
)
"""What the paper shows of data; its Fig. 2 is a diagram of the networks."""

_IMAGE_ROOM = 16_000_000
"""Bytes: every figure of the paper is on the page."""


def render_page(
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    folder: Path,
    *,
    run: Mapping[str, Any],
    reports: Sequence[tuple[str, str]],
    attributions: Sequence[str],
    synthetic: bool,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    tables, pictures : sequence
        In the order of the paper; those whose data are absent are not among them.
    folder : Path
        Where the images lie, in ``figures``.
    run : mapping
        The content of ``run.json``; its ``notes`` say what is left out.
    reports : sequence of (str, str)
        Title and relative address of each full report.
    attributions : sequence of str
        What the owners of the data ask for.
    synthetic : bool
        Whether the data are made up.
    """
    return render(
        "paper.html.j2",
        title="The tables and figures of Xiao et al. (2022), from these data",
        run={key: value for key, value in run.items() if key != "notes"},
        contents=[
            *_contents(tables, pictures),
            ("Notes", "#notes"),
            ("Provenance", "#provenance"),
        ],
        asked=list(_asked(run)),
        notes=list(run["notes"]),
        attributions=attributions,
        pictures=pictures,
        folder=folder,
        synthetic=synthetic,
        room=_IMAGE_ROOM,
        tables=tables,
        reports=reports,
    )


def _asked(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    settings = run["settings"]
    yield "Years against stations", ", ".join(map(str, settings["years"]))
    yield "Year of the simulation", str(settings["year"])
    yield "Methods of the simulation", ", ".join(settings["methods"] or ["all that can run"])


def _contents(
    tables: Sequence[Table], pictures: Sequence[Picture]
) -> Iterator[tuple[str, str | None]]:
    """Yield each place of the paper and the address on the page, None where it is left out."""
    for place in PLACES:
        kind, number = place.split()
        if kind == "Table":
            names = [t.name for t in tables if t.name.split("_")[0] == f"table{number}"]
            yield place, f"#table-{names[0]}" if names else None
        else:
            there = any(picture.name == f"fig{number}" for picture in pictures)
            yield place, f"#figure-fig{number}" if there else None
