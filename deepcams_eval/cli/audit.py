"""``deepcams-bench audit``: the published numbers examined by computation."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from deepcams_eval.cli.running import Out, command, command_line, new_folder, tell
from deepcams_eval.core import provenance
from deepcams_eval.core.folder import whole_folder, write_run
from deepcams_eval.paper.audit import Printed
from deepcams_eval.paper.audit import audit as examine
from deepcams_eval.paper.audit_page import documents, text_lines
from deepcams_eval.paper.linear import frame_values, linear_scores, read_frames
from deepcams_eval.report import published


@command()
def audit(
    frames: Annotated[
        str | None,
        typer.Option(help="Four consecutive hourly maps, PATH[,key=value]…: file, folder or glob."),
    ] = None,
    out: Out = None,
) -> None:
    """Examine the published numbers: each finding with what it was computed from.

    Example: `deepcams-bench audit --frames "geoscf/*.mat" --out out/audit`
    """
    clock = time.perf_counter()
    target = new_folder(out, "audit")
    opened = None if frames is None else read_frames(frames)
    frame_scores = None if opened is None else linear_scores(frame_values(opened))
    findings = examine(Printed.load(), frame_scores)
    inputs = [*_published_inputs(), *_inputs(() if opened is None else opened.files)]
    line = command_line("deepcams-bench")
    notes = () if opened is None else opened.notes
    run = {
        **provenance.basis(line),
        "inputs": inputs,
        "counts": {finding.key: finding.count for finding in findings},
        "notes": list(notes),
    }
    with whole_folder(target) as folder:
        for name, text in documents(findings, inputs, command=line, notes=notes).items():
            (folder / name).write_text(text, encoding="utf-8")
        write_run(folder, run | provenance.cost(clock))
    tell(text_lines(findings), target / "audit.html")


def _published_inputs() -> list[dict[str, Any]]:
    with resources.as_file(resources.files(published)) as folder:
        entries = provenance.hash_inputs([sorted(folder.glob("*.csv"))])
    return [
        entry | {"path": f"deepcams_eval/report/published/{Path(entry['path']).name}"}
        for entry in entries
    ]


def _inputs(files: Sequence[Path]) -> list[dict[str, Any]]:
    # Relative paths, so that the page says the same wherever the folders lie.
    return [
        entry | {"path": os.path.relpath(entry["path"])}
        for entry in provenance.hash_inputs([files])
    ]
