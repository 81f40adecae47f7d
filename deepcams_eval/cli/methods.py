"""``deepcams-bench methods``: which methods there are, and which of them can run here."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from deepcams_eval.cli.running import command
from deepcams_eval.downscale.plugins import Listed
from deepcams_eval.downscale.registry import DEFAULT_PAIRS, listing

_WIDTH = 100
_GAP = "  "
_NARROWEST_TITLE = 24
_JOINT = (
    "joint: a temporal and a spatial method joined by '+', in the order that they are applied in,\n"
    f"such as {' or '.join(DEFAULT_PAIRS[:2])}"
)


@command()
def methods(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object a method.")
    ] = False,
) -> None:
    """List the methods that are built in or registered by packages, available or not.

    Nothing of a package is imported for that; what an unavailable one needs stands below the table.

    Example: `deepcams-bench methods` or, for programs, `deepcams-bench methods --json`
    """
    known = listing()
    if as_json:
        listed = [asdict(method) for method in known]
        typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    for line in table_lines(known):
        typer.echo(line)


def table_lines(known: Sequence[Listed]) -> list[str]:
    """Return the table as lines of text, 100 columns wide where names allow it.

    Titles are wrapped; the reasons of what is unavailable follow the table, each on one line of
    any length, so that a command in it can be copied.
    """
    head = ("name", "task", "what it does", "source", "status")
    rows = [_row(method) for method in known]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    others = sum(widths) - widths[2] + len(_GAP) * (len(widths) - 1)
    widths[2] = min(widths[2], max(_NARROWEST_TITLE, _WIDTH - others))
    lines = [line for row in (head, *rows) for line in _wrapped(row, widths)]
    missing = [method for method in known if not method.available]
    if missing:
        reasons = (f"  {method.name} ({method.task}): {method.status}" for method in missing)
        lines += ["", "unavailable:", *reasons]
    return [*lines, "", *_JOINT.splitlines()]


def _row(method: Listed) -> tuple[str, ...]:
    status = method.status if method.available else "unavailable"
    return method.name, method.task, method.title, method.source, status


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    titles = textwrap.wrap(row[2], widths[2]) or [""]
    first = (*row[:2], titles[0], *row[3:])
    rest = [("", "", title, "", "") for title in titles[1:]]
    return [
        _GAP.join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (first, *rest)
    ]
