"""``deepcams-eval openaq``: products against OpenAQ stations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deepcams_eval.cli.running import (
    Out,
    Scheduler,
    Workers,
    command,
    command_line,
    dask_compute,
    new_folder,
    progress_bar,
    tell,
)
from deepcams_eval.options import InsituOptions


@command(InsituOptions)
def openaq(
    *, asked: dict[str, Any], workers: Workers = 1, scheduler: Scheduler = None, out: Out = None
) -> None:
    """Score products against OpenAQ stations: tables, figures and a report, with intervals.

    Example: `deepcams-eval openaq --years 2017-2019 --data demo --out out/demo`
    """
    from deepcams_eval.api import run_insitu

    options = InsituOptions(**asked)
    target = new_folder(out, "openaq")
    with progress_bar() as progress:
        with dask_compute(workers, scheduler) as compute:
            run = run_insitu(
                replace(options, compute=compute, progress=progress),
                command_line("deepcams-eval"),
            )
        page = run.save(target, lambda done, of: progress("report", done, of))
    tell(run.lines(), page)
