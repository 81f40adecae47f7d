"""``deepcams-bench simulation``: methods of downscaling against a year of hourly truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from deepcams_eval.cli import running
from deepcams_eval.options import SimulationOptions


@running.command(SimulationOptions)
def simulation(
    *,
    asked: dict[str, Any],
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted run; needs --out.")
    ] = False,
    workers: running.Workers = 1,
    scheduler: running.Scheduler = None,
    out: running.Out = None,
) -> None:
    """Degrade hourly 0.25° truth, downscale it by every method, and score them.

    Example: `deepcams-bench simulation --year 2020 --data demo --out out/sim`
    """
    options = SimulationOptions(**asked, workers=running.months_at_a_time(workers, scheduler))
    target = running.new_folder(out, "simulation", resume=resume)
    from deepcams_eval.api import run_simulation
    from deepcams_eval.bench.checkpoints import MonthStore

    store = MonthStore.beside(target)
    with running.progress_bar() as progress:
        with (
            running.kept_for_later(store, named=out is not None),
            running.dask_compute(workers, scheduler) as compute,
        ):
            run = run_simulation(
                replace(options, compute=compute, progress=progress),
                running.command_line("deepcams-bench"),
                store,
                resume=resume,
            )
            page = run.save(target, lambda done, of: progress("report", done, of))
        store.remove()
    running.tell(run.lines(), page)
