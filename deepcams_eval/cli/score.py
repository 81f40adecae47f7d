"""``deepcams-eval score``: scores and report again, from the pairs that runs wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deepcams_eval.cli.running import Out, command, command_line, new_folder, progress_bar, tell
from deepcams_eval.errors import InputError
from deepcams_eval.options import SCORING, InsituOptions


@command(InsituOptions, only=SCORING)
def score(
    *,
    pairs: Annotated[
        list[Path], typer.Argument(help="pairs.parquet of one or several runs, or their folders.")
    ],
    stations: Annotated[
        Path | None,
        typer.Option(help="Station file with names and providers; else that beside the pairs."),
    ] = None,
    asked: dict[str, Any],
    out: Out = None,
) -> None:
    """Make scores, tables and report again from pairs, without pairing anew.

    Example: `deepcams-eval score out/2017/pairs.parquet out/2018/pairs.parquet --out out/both`
    """
    InsituOptions((), **asked)
    from deepcams_eval import saved

    target = new_folder(out, "score")
    files = saved.station_files(pairs) if stations is None else (stations,)
    _refuse_own_input(target, (*saved.pair_files(pairs), *files))
    run = saved.score(pairs, files, command=command_line("deepcams-eval"), **asked)
    with progress_bar() as progress:
        page = run.save(target, lambda done, of: progress("report", done, of))
    tell(run.lines(), page)


def _refuse_own_input(target: Path, inputs: Sequence[Path]) -> None:
    """Refuse to replace a report by one made from its own pairs, which would be lost."""
    for path in inputs:
        if target.resolve() in path.resolve().parents:
            raise InputError(
                f"holds {path.name}, which is read here and would be lost",
                path=target,
                hint="name another place with --out",
            )
