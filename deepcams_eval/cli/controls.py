"""``deepcams-eval controls``: products of known worth through the verdicts of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deepcams_eval.cli import running
from deepcams_eval.options import InsituOptions


@running.command(InsituOptions)
def controls(
    *,
    asked: dict[str, Any],
    workers: running.Workers = 1,
    scheduler: running.Scheduler = None,
    out: running.Out = None,
) -> None:
    """Judge copies of the coarse product, damped, smoothed, shifted or noised, as products are.

    Example: `deepcams-eval controls --years 2019 --data demo --out out/controls`
    """
    import numpy as np

    from deepcams_eval.api import run_insitu
    from deepcams_eval.core import provenance
    from deepcams_eval.core.folder import whole_folder, write_run
    from deepcams_eval.evidence.added_value.controls import INFORMED
    from deepcams_eval.evidence.added_value.controls import controls as judge
    from deepcams_eval.evidence.questions import Given

    options = replace(InsituOptions(**asked), sensitivity=False, added_value=True)
    target = running.new_folder(out, "controls")
    line = running.command_line("deepcams-eval")
    with running.progress_bar() as progress, running.dask_compute(workers, scheduler) as compute:
        run = run_insitu(replace(options, compute=compute, progress=progress), line)
    given = Given(
        run.hourly,
        run.rows,
        run.years_with_data,
        run.baseline,
        references=run.references,
        grids=run.grids,
    )
    table = judge(given, np.random.default_rng(options.seed))
    with whole_folder(target) as folder:
        table.to_csv(folder / "controls.csv", index=False)
        size = {"controls": int(table["product"].nunique()), "verdicts": len(table)}
        write_run(
            folder,
            provenance.basis(line) | {"counts": size} | provenance.cost(run.clock_start),
        )
    lines = []
    for name, mine in table.groupby("product", sort=False):
        counts = mine["verdict"].value_counts(sort=False)
        knows = "knows something" if name in INFORMED else "knows nothing new"
        counted = ", ".join(f"{verdict} {count}" for verdict, count in counts.items())
        lines.append(f"{name} ({knows}): {counted}")
    fooled = set(table.loc[table["verdict"] == "better", "product"]) - set(INFORMED)
    said = ", ".join(sorted(fooled)) or "none"
    running.tell(
        [*lines, f"called better without knowing anything: {said}"], target / "controls.csv"
    )
