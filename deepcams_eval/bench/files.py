"""The files that a simulation leaves behind, as other tools read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from deepcams_eval.bench.content import SimulationContent
from deepcams_eval.bench.report import write_simulation_report
from deepcams_eval.bench.run import SimulationResult, SimulationSettings
from deepcams_eval.core import provenance
from deepcams_eval.core.folder import write_run
from deepcams_eval.downscale.degrade import degradation

SAMPLE_COLUMNS = ("task", "method", "time", "weights", "n", "r", "rmse", "mae", "mb", "p99_error")
"""The first columns of ``samples.parquet``; more follow."""


def write_files(
    folder: Path,
    result: SimulationResult,
    settings: SimulationSettings,
    *,
    command: str,
    clock_start: float,
    synthetic: bool,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write tables, samples, figures, the page and ``run.json`` into `folder`.

    Parameters
    ----------
    folder : Path
        Exists and is empty; the caller gives it its final name when all is written.
    result, settings
        Of `deepcams_eval.bench.run.simulate`.
    command : str
        The command line.
    clock_start : float
        `time.perf_counter` when the run began.
    synthetic : bool
        Whether the truth is made up; it then stands on every table, figure and page.
    progress : callable, optional
        Called with the figures done and the figures in all.
    """
    tables = {
        **result.months,
        "summary": result.summary,
        "skill": result.skill,
        "spectra": result.spectra,
        "counts": result.counts,
    }
    for name, table in tables.items():
        marked = table.assign(data="SYNTHETIC") if synthetic else table
        marked.to_csv(folder / f"{name}.csv", index=False)
    rest = [name for name in result.samples if name not in SAMPLE_COLUMNS]
    result.samples[[*SAMPLE_COLUMNS, *rest]].to_parquet(folder / "samples.parquet", index=False)
    run = describe(result, settings, command=command, synthetic=synthetic)
    run["wall_time_s"] = round(time.perf_counter() - clock_start, 2)
    run["peak_rss_bytes"] = provenance.peak_rss_bytes()
    content = content_of(result, settings, run=run, synthetic=synthetic)
    write_simulation_report(folder, content, progress)
    run["wall_time_s"] = round(time.perf_counter() - clock_start, 2)
    run["peak_rss_bytes"] = provenance.peak_rss_bytes()
    write_run(folder, run)


def content_of(
    result: SimulationResult,
    settings: SimulationSettings,
    *,
    run: Mapping[str, Any],
    synthetic: bool,
) -> SimulationContent:
    """Return what the tables and figures of a simulation are made from.

    Parameters
    ----------
    result, settings, synthetic
        As in `write_files`.
    run : mapping
        The content of ``run.json``.
    """
    return SimulationContent(
        year=settings.year,
        degradation=_degradation(result, settings),
        weights=settings.weights,
        months=result.months,
        methods_of={str(task): names for task, names in result.methods.items()},
        summary=result.summary,
        skill=result.skill,
        spectra=result.spectra,
        counts=result.counts,
        available=pd.DataFrame([asdict(one) for one in result.available]),
        latitude=result.truth["latitude"].values,
        longitude=result.truth["longitude"].values,
        error_maps=result.error_maps,
        cases=result.cases,
        notes=result.notes,
        run=run,
        synthetic=synthetic,
    )


def _degradation(result: SimulationResult, settings: SimulationSettings) -> str:
    if set(result.methods) == {"temporal"}:
        return ""
    operator = degradation(settings.degrade)
    return f"{operator.name}: {operator.title}"


def describe(
    result: SimulationResult, settings: SimulationSettings, *, command: str, synthetic: bool
) -> dict[str, Any]:
    """Return what ``run.json`` says, but for time and memory."""
    field = result.product.field
    counts = result.counts.drop(columns="month").groupby("task").sum()
    return {
        "command": command,
        "synthetic": synthetic,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "device": provenance.device(),
        "seed": settings.seed,
        "settings": asdict(settings),
        "methods": {task: list(names) for task, names in result.methods.items()},
        "truth": {"kind": result.product.kind},
        "inputs": provenance.hash_inputs(result.inputs),
        "damaged": [asdict(one) for one in result.product.damaged],
        "counts": {
            str(task): {str(name): int(value) for name, value in row.items()}
            for task, row in counts.iterrows()
        },
        "products": {
            result.product.name: {
                "kind": result.product.kind,
                "steps": int(field.sizes["time"]),
                "first": str(field["time"].values[0])[:16],
                "last": str(field["time"].values[-1])[:16],
                "cell_methods": field.attrs["cell_methods"],
            }
        },
        "notes": list(result.notes),
    }
