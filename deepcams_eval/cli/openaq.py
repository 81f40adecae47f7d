"""``deepcams-eval openaq``: products against OpenAQ stations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deepcams_eval.cli import running
from deepcams_eval.options import InsituOptions


@running.command(InsituOptions)
def openaq(
    *,
    asked: dict[str, Any],
    workers: running.Workers = 1,
    scheduler: running.Scheduler = None,
    out: running.Out = None,
) -> None:
    """Score products against OpenAQ stations: tables, figures and a report, with intervals.

    Example: `deepcams-eval openaq --years 2017-2019 --data demo --out out/demo`
    """
    from deepcams_eval.api import run_insitu

    options = InsituOptions(**asked)
    target = running.new_folder(out, "openaq")
    with running.progress_bar() as progress:
        with running.dask_compute(workers, scheduler) as compute:
            run = run_insitu(
                replace(options, compute=compute, progress=progress),
                running.command_line("deepcams-eval"),
            )
        page = run.save(target, lambda done, of: progress("report", done, of))
    running.tell(run.lines(), page)
