"""The files that a validation leaves behind, as other tools read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepcams_eval import provenance
from deepcams_eval.insitu import InsituResult, InsituSettings
from deepcams_eval.outputs import write_run
from deepcams_eval.report import write_report


def write_files(
    folder: Path,
    result: InsituResult,
    settings: InsituSettings,
    *,
    command: str,
    clock_start: float,
    synthetic: bool,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write scores, pairs, counts, tables, figures, the page and ``run.json`` into `folder`.

    Parameters
    ----------
    folder : Path
        Exists and is empty; the caller gives it its final name when all is written.
    result, settings
        Of `deepcams_eval.insitu.insitu`.
    command : str
        The command line.
    clock_start : float
        `time.perf_counter` when the run began.
    synthetic : bool
        Whether the data are made up; it then stands on every table, figure and page.
    progress : callable, optional
        Called with the figures done and the figures in all.
    """
    for name, table in (
        ("scores", result.tables.scores),
        ("differences", result.tables.differences),
        ("qc", result.qc),
        ("coverage", result.colocation.coverage),
    ):
        marked = table.assign(data="SYNTHETIC") if synthetic else table
        marked.to_csv(folder / f"{name}.csv", index=False)
    pairs = result.colocation.pairs.table
    # Kept with the file, so that the common sample can be told from it alone.
    pairs.attrs = {
        "products": list(result.colocation.pairs.products),
        "years_with_data": {name: list(years) for name, years in result.years.items()},
    }
    pairs.to_parquet(folder / "pairs.parquet", index=False)
    result.stations.to_parquet(folder / "stations.parquet", index=False)
    run = describe(result, settings, command=command, synthetic=synthetic)
    run["wall_time_s"] = round(time.perf_counter() - clock_start, 2)
    run["peak_rss_bytes"] = provenance.peak_rss_bytes()
    write_report(
        folder,
        scores=result.tables.scores,
        differences=result.tables.differences,
        pairs=result.colocation.pairs,
        rows=result.tables.rows[settings.sample],
        stations=result.stations,
        qc=result.qc,
        coverage=result.colocation.coverage,
        notes=result.notes,
        run=run,
        sample=settings.sample,
        baseline=result.baseline,
        synthetic=synthetic,
        progress=progress,
    )
    run["wall_time_s"] = round(time.perf_counter() - clock_start, 2)
    run["peak_rss_bytes"] = provenance.peak_rss_bytes()
    write_run(folder, run)


def describe(
    result: InsituResult, settings: InsituSettings, *, command: str, synthetic: bool
) -> dict[str, Any]:
    """Return what ``run.json`` says, but for time and memory."""
    observations = result.observations
    kinds = {product.name: product.kind for product in result.products}
    parents = {spec.name: spec.derived[1] for spec in settings.products if spec.derived}
    return {
        "command": command,
        "synthetic": synthetic,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "device": provenance.device(),
        "seed": settings.seed,
        "settings": _settings(settings),
        "baseline": result.baseline,
        "inputs": provenance.hash_inputs(
            [observations.files, *(product.files for product in result.products)]
        ),
        "damaged": [
            asdict(one)
            for one in [*observations.damaged, *(d for p in result.products for d in p.damaged)]
        ],
        "counts": {
            **observations.counts,
            "rows": len(observations),
            "rows_passed": int((observations.table["flags"] == 0).sum()),
            "unpaired": result.colocation.unpaired,
            "pairs": len(result.colocation.pairs),
            "stations": len(result.stations),
        },
        "products": {
            product.name: {
                "kind": kinds[parents.get(product.name, product.name)],
                "derived_from": parents.get(product.name),
                "steps": int(product.field.sizes["time"]),
                "first": str(product.field["time"].values[0])[:16],
                "last": str(product.field["time"].values[-1])[:16],
                "cell_methods": product.field.attrs["cell_methods"],
                "stations_outside": list(result.colocation.outside[product.name]),
            }
            for product in result.products
        },
        "notes": list(result.notes),
    }


def _settings(settings: InsituSettings) -> Mapping[str, Any]:
    described = {
        name: getattr(settings, name) for name in settings.__dataclass_fields__ if name != "qc"
    }
    described["products"] = [asdict(spec) for spec in settings.products]
    described["qc"] = settings.qc.model_dump(mode="json")
    return described
