"""``deepcams-eval paper``: the tables and figures of the paper, in one folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepcams_eval.cli import running
from deepcams_eval.core.folder import write_whole
from deepcams_eval.errors import InputError
from deepcams_eval.options import PaperOptions

if TYPE_CHECKING:
    from deepcams_eval.paper.run import PaperResult

_NO_DATA = "no data given: use --data demo to try it on synthetic data, or --data DIR"


@running.command(PaperOptions)
def make_paper(
    *,
    asked: dict[str, Any],
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the simulation of an interrupted run."),
    ] = False,
    workers: running.Workers = 1,
    scheduler: running.Scheduler = None,
    out: running.Out = None,
) -> None:
    """Make Tables 1-3 and Figs. 1 and 3-8 of Xiao et al. (2022) from your data, on one page.

    What the data do not allow is left out and named.

    Example: `deepcams-eval paper --data demo --out out/paper`
    """
    clock = time.perf_counter()
    options = PaperOptions(**asked, workers=running.months_at_a_time(workers, scheduler))
    target = running.new_folder(out, "paper", resume=resume)
    from deepcams_eval.api import data_folder, lies_in_demo, usual_folder
    from deepcams_eval.bench.checkpoints import MonthStore
    from deepcams_eval.paper.files import write_files
    from deepcams_eval.paper.run import paper
    from deepcams_eval.read.layout import find_data

    with running.progress_bar() as progress:
        data = usual_folder() if options.data is None else options.data
        if data is None:
            raise InputError(_NO_DATA)
        root = data_folder(data, progress)
        store = MonthStore.beside(target)
        with running.kept_for_later(store, named=out is not None):
            with running.dask_compute(workers, scheduler) as compute:
                result = paper(
                    options,
                    find_data(root),
                    store,
                    resume=resume,
                    compute=compute,
                    progress=progress,
                )
            page = write_whole(
                target,
                lambda work: write_files(
                    work,
                    result,
                    options,
                    command=running.command_line("deepcams-eval"),
                    clock_start=clock,
                    synthetic=lies_in_demo(root),
                    progress=progress,
                ),
            )
        store.discard()
    running.tell(summary(target, result, lies_in_demo(root)), page)


def summary(target: Path, result: PaperResult, synthetic: bool) -> list[str]:
    """Return what is printed when all is done: the tables and figures, then the notes."""
    from deepcams_eval.report.notebook import MARK

    lines = [MARK] if synthetic else []
    for folder in ("tables", "figures"):
        names = sorted({path.stem for path in (target / folder).iterdir()})
        lines.append(f"{folder}: {', '.join(names) or 'none'}")
    return [*lines, *(f"note: {note}" for note in result.notes)]
