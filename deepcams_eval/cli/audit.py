"""``deepcams-bench audit``: the published numbers examined by computation."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from deepcams_eval.core import provenance
from deepcams_eval.core.folder import check_target, whole_folder, write_run
from deepcams_eval.paper.audit import Printed, frame_values, linear_scores, read_frames
from deepcams_eval.paper.audit import audit as examine
from deepcams_eval.paper.audit_page import (
    Finding,
    as_json,
    render_html,
    render_markdown,
    text_lines,
)
from deepcams_eval.report import published


def audit(
    frames: Annotated[
        str | None,
        typer.Option(help="Four consecutive hourly maps, PATH[,key=value]…: file, folder or glob."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("reports/audit"),
    debug: Annotated[  # noqa: ARG001 - read by the runner, so that every command has it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Examine the published numbers: each finding with what it was computed from.

    Example: `deepcams-bench audit --frames "geoscf/*.mat" --out out/audit`
    """
    clock = time.perf_counter()
    check_target(out)
    opened = None if frames is None else read_frames(frames)
    frame_scores = None if opened is None else linear_scores(frame_values(opened))
    findings = examine(Printed.load(), frame_scores)
    inputs = [*_published_inputs(), *_inputs(() if opened is None else opened.files)]
    command = shlex.join(["deepcams-bench", *sys.argv[1:]])
    notes = () if opened is None else opened.notes
    run = _describe(findings, command, inputs, notes)
    with whole_folder(out) as folder:
        text = render_markdown(findings, inputs, command=command, notes=notes)
        (folder / "audit.md").write_text(text, encoding="utf-8")
        page = render_html(findings, inputs, command=command, notes=notes)
        (folder / "audit.html").write_text(page, encoding="utf-8")
        listed = json.dumps(as_json(findings), indent=2, ensure_ascii=False)
        (folder / "findings.json").write_text(listed + "\n", encoding="utf-8")
        run["wall_time_s"] = round(time.perf_counter() - clock, 2)
        run["peak_rss_bytes"] = provenance.peak_rss_bytes()
        write_run(folder, run)
    for line in text_lines(findings):
        typer.echo(line)
    typer.echo(f"report: {out / 'audit.html'}")


def _describe(
    findings: Sequence[Finding],
    command: str,
    inputs: Sequence[dict[str, Any]],
    notes: Sequence[str],
) -> dict[str, Any]:
    return {
        "command": command,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "device": provenance.device(),
        "inputs": list(inputs),
        "counts": {finding.key: finding.count for finding in findings},
        "notes": list(notes),
    }


def _published_inputs() -> list[dict[str, Any]]:
    with resources.as_file(resources.files(published)) as folder:
        entries = provenance.hash_inputs([sorted(folder.glob("*.csv"))])
    return [
        entry | {"path": f"deepcams_eval/published/{Path(entry['path']).name}"} for entry in entries
    ]


def _inputs(files: Sequence[Path]) -> list[dict[str, Any]]:
    # Relative paths, so that the page says the same wherever the folders lie.
    return [
        entry | {"path": os.path.relpath(entry["path"])}
        for entry in provenance.hash_inputs([files])
    ]
