"""The files that a simulation leaves behind, as other tools read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepcams_eval.bench import figures, page
from deepcams_eval.core import provenance
from deepcams_eval.core.folder import write_run
from deepcams_eval.report import files

if TYPE_CHECKING:
    from deepcams_eval.bench.run import SimulationRun

SAMPLE_COLUMNS = ("task", "method", "time", "weights", "n", "r", "rmse", "mae", "mb", "p99_error")
"""The first columns of ``samples.parquet``; more follow."""


def write_files(
    folder: Path,
    run: SimulationRun,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write tables, samples, figures, the page and ``run.json`` into `folder`.

    Parameters
    ----------
    folder : Path
        Exists and is empty; the caller gives it its final name when all is written.
    run : SimulationRun
        What is written.
    progress : callable, optional
        Called with the figures done and the figures in all.
    """
    frames: dict[str, pd.DataFrame] = {str(task): table for task, table in run.months.items()}
    frames |= {name: getattr(run, name) for name in ("summary", "skill", "spectra", "counts")}
    files.write_frames(folder, frames, synthetic=run.synthetic)
    rest = [name for name in run.samples if name not in SAMPLE_COLUMNS]
    run.samples[[*SAMPLE_COLUMNS, *rest]].to_parquet(folder / "samples.parquet", index=False)
    said = describe(run)
    said |= provenance.cost(run.clock_start)
    write_report(folder, run, said, progress)
    said |= provenance.cost(run.clock_start)
    write_run(folder, said)


def write_report(
    folder: Path,
    run: SimulationRun,
    said: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html`` into `folder`; return every file.

    `said` is the content of ``run.json``. Tasks that were not scored are left out.
    """
    planned = figures.planned_figures(run)
    tables: list[files.TableFiles] = [
        # The CSV holds every column in one table, laid out as Tables 2 and 3 of the paper.
        (task, page.month_tables(run, task), run.months[task])
        for task in run.tasks
    ]
    tables += [(one.name, [one], None) for one in page.long_tables(run)]
    return files.write_report(
        folder,
        tables,
        (draw() for draw in planned),
        len(planned),
        lambda pictures: page.render_page(run, pictures, folder, said),
        progress,
    )


def describe(run: SimulationRun) -> dict[str, Any]:
    """Return what ``run.json`` says, but for time and memory."""
    field = run.product.field
    counts = run.counts.drop(columns="month").groupby("task").sum()
    return {
        **provenance.basis(run.command, synthetic=run.synthetic),
        "seed": run.options.seed,
        "settings": run.options.settings(),
        "methods": {task: list(names) for task, names in run.methods.items()},
        "truth": {"kind": run.product.kind},
        "inputs": provenance.hash_inputs(run.inputs),
        "damaged": [asdict(one) for one in run.product.damaged],
        "counts": {
            str(task): {str(name): int(value) for name, value in row.items()}
            for task, row in counts.iterrows()
        },
        "products": {
            run.product.name: {
                "kind": run.product.kind,
                "steps": int(field.sizes["time"]),
                "first": str(field["time"].values[0])[:16],
                "last": str(field["time"].values[-1])[:16],
                "cell_methods": field.attrs["cell_methods"],
            }
        },
        "notes": list(run.notes),
    }
