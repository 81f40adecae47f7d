"""A finding about published numbers: its pieces, and how it is shown and written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import BoolArray, FloatArray
from deepcams_eval.report import published, wording
from deepcams_eval.report.content import records
from deepcams_eval.report.rendering import template
from deepcams_eval.report.tables import Column, Table, to_markdown

TITLE = "Audit of the published DeepCAMS numbers"
LEAD = (
    "Each finding says what is asked, what was computed and from which cells, shows the numbers, "
    "and says what follows. The published values are package data, written down as printed; "
    "those of Fig. 6 were read off the figure. Bold cells are the ones that the answer is about."
)
_SOURCE = f"Xiao et al. 2022, Sci. Total Environ. 848, 157747, doi:{published.DOI}"


@dataclass(frozen=True)
class Finding:
    """One question to the published numbers and what a computation answers.

    Attributes
    ----------
    key : str
        Short name, the anchor on the page.
    question : str
        What is asked.
    computed : str
        What was computed, and from which cells or files.
    answer : str
        The result in one or two sentences.
    follows : str
        What a reader can and cannot conclude.
    count : int
        Number of cells, rows or values that the answer is about; 0 where nothing stands out.
    tables : tuple of Table
        The evidence; bold cells are those that `count` counts.
    """

    key: str
    question: str
    computed: str
    answer: str
    follows: str
    count: int
    tables: tuple[Table, ...] = ()


def text_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the findings with their evidence as plain lines for a terminal."""
    for number, finding in enumerate(findings, start=1):
        yield f"{number}. {finding.question}"
        yield f"   Computed: {finding.computed}"
        yield f"   Answer:   {finding.answer}"
        yield f"   Follows:  {finding.follows}"
        for table in finding.tables:
            yield ""
            yield f"   {table.title}"
            yield from (f"     {line}" for line in _aligned(table))
        yield ""


def documents(
    findings: Sequence[Finding],
    inputs: Sequence[Mapping[str, Any]],
    *,
    command: str,
    notes: Sequence[str] = (),
) -> dict[str, str]:
    """Return the findings as Markdown, as a page that needs no other file, and as JSON.

    Parameters
    ----------
    findings : sequence of Finding
        In order.
    inputs : sequence of mapping
        ``path``, ``bytes`` and ``sha256`` of each file that was read.
    command : str
        The command line that makes the documents again.
    notes : sequence of str
        What was assumed in reading the frames.

    Returns
    -------
    dict of str to str
        By name of the file. Numbers of the JSON are unrounded, an undefined one is null.
    """
    page = template("audit.html.j2").render(
        title=TITLE,
        mark="",
        lead=LEAD,
        source=_SOURCE,
        findings=findings,
        inputs=[(item["path"], wording.size(item["bytes"]), item["sha256"]) for item in inputs],
        command=command,
        notes=notes,
    )
    plain = [
        {**vars(finding), "tables": {table.name: _plain_rows(table) for table in finding.tables}}
        for finding in findings
    ]
    listed = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    text = _markdown(findings, inputs, command, notes)
    return {"audit.md": text, "audit.html": page, "findings.json": f"{listed}\n"}


def _markdown(
    findings: Sequence[Finding],
    inputs: Sequence[Mapping[str, Any]],
    command: str,
    notes: Sequence[str],
) -> str:
    escape = wording.escape_markdown
    parts = [f"# {TITLE}", LEAD, f"Source: {_SOURCE}"]
    for number, finding in enumerate(findings, start=1):
        parts += [
            f"## {number}. {escape(finding.question)}",
            f"**Computed.** {escape(finding.computed)}",
            f"**Answer.** {escape(finding.answer)}",
            *(to_markdown(table).rstrip("\n") for table in finding.tables),
            f"**What follows.** {escape(finding.follows)}",
        ]
    parts += ["## Files that were read", f"Made by `{command}`"]
    parts += [f"Frames: {escape(note)}." for note in notes]
    parts.append("\n".join(f"- `{item['path']}`, SHA-256 `{item['sha256']}`" for item in inputs))
    return "\n\n".join(parts) + "\n"


def _plain_rows(table: Table) -> list[dict[str, Any]]:
    # JSON has neither NaN nor infinity.
    return [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in records(table.frame)
    ]


def texts(**labels: str) -> tuple[Column, ...]:
    """Return columns of text: of each, its key and label."""
    return tuple(Column(key, label) for key, label in labels.items())


def numbers(decimals: int, of: str = "", **labels: str) -> tuple[Column, ...]:
    """Return columns of numbers with one unit: of each, its key and label."""
    return tuple(Column(key, label, of, decimals) for key, label in labels.items())


def bold_cells(chosen: BoolArray, *keys: str) -> frozenset[tuple[int, str]]:
    """Return the cells of the columns `keys` in the rows `chosen`, as `Table.bold` has them."""
    return frozenset((int(place), key) for place in np.flatnonzero(chosen) for key in keys)


def floats(table: pd.DataFrame, column: str) -> FloatArray:
    """Return a column as numbers."""
    return table[column].to_numpy(dtype=np.float64)


def where(table: pd.DataFrame, column: str, value: str) -> BoolArray:
    """Return the rows in which a column holds a value."""
    return (table[column] == value).to_numpy(dtype=np.bool_)


def _aligned(table: Table) -> Iterator[str]:
    """Yield header and rows in columns of even width; numbers stand to the right."""
    rows = [[column.header for column in table.columns]]
    rows += [[cell.text for cell in row] for row in table.rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text.ljust(width) if column.decimals is None else text.rjust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        )
        yield "  ".join(cells).rstrip()
    if len(rows) == 1:
        yield "(none)"
