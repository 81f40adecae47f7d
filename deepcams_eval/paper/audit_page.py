"""Findings about published numbers as text, Markdown, JSON and one page that opens from disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepcams_eval.report import published, wording
from deepcams_eval.report.content import records
from deepcams_eval.report.rendering import template
from deepcams_eval.report.tables import Table, to_markdown

TITLE = "Audit of the published DeepCAMS numbers"
LEAD = (
    "Each finding says what is asked, what was computed and from which cells, shows the numbers, "
    "and says what follows. The published values are package data, written down as printed; "
    "those of Fig. 6 were read off the figure. Bold cells are the ones that the answer is about."
)


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


def render_markdown(
    findings: Sequence[Finding],
    inputs: Sequence[Mapping[str, Any]],
    *,
    command: str,
    notes: Sequence[str] = (),
) -> str:
    """Return the findings as a Markdown document.

    Parameters
    ----------
    findings : sequence of Finding
        In order.
    inputs : sequence of mapping
        ``path``, ``bytes`` and ``sha256`` of each file that was read.
    command : str
        The command line that makes the document again.
    notes : sequence of str
        What was assumed in reading the frames.
    """
    escape = wording.escape_markdown
    parts = [f"# {TITLE}", LEAD, f"Source: {_source()}"]
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


def render_html(
    findings: Sequence[Finding],
    inputs: Sequence[Mapping[str, Any]],
    *,
    command: str,
    notes: Sequence[str] = (),
) -> str:
    """Return the findings as one page that needs no other file and no network.

    Parameters
    ----------
    findings, inputs, command, notes
        As in `render_markdown`.
    """
    return template("audit.html.j2").render(
        title=TITLE,
        mark="",
        lead=LEAD,
        source=_source(),
        findings=findings,
        inputs=[(item["path"], wording.size(item["bytes"]), item["sha256"]) for item in inputs],
        command=command,
        notes=notes,
    )


def as_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the findings as plain lists and dicts; numbers are unrounded, undefined is None."""
    return [
        {**vars(finding), "tables": {table.name: _plain_rows(table) for table in finding.tables}}
        for finding in findings
    ]


def _plain_rows(table: Table) -> list[dict[str, Any]]:
    # JSON has neither NaN nor infinity.
    return [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in records(table.frame)
    ]


def _source() -> str:
    return f"Xiao et al. 2022, Sci. Total Environ. 848, 157747, doi:{published.DOI}"


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
