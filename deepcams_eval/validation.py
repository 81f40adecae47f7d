"""The in-situ road: observations and products in, a run with scores and evidence out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core import provenance
from deepcams_eval.core.field import Product
from deepcams_eval.core.observations import Observations
from deepcams_eval.evidence.assessment import assess
from deepcams_eval.evidence.references import (
    ReferenceSet,
    grids_of,
    make_references,
    without_references,
)
from deepcams_eval.evidence.run import InsituRun
from deepcams_eval.options import InsituOptions, Progress
from deepcams_eval.pair.colocate import Colocation, colocate
from deepcams_eval.pair.derived import open_products
from deepcams_eval.pair.qc import apply_rules
from deepcams_eval.pair.selection import select, shift_times, years_of
from deepcams_eval.read.openaq import read_observations
from deepcams_eval.report.wording import plural, some_of
from deepcams_eval.score.tables import baseline_of


def insitu(
    options: InsituOptions, *, synthetic: bool = False, command: str = "deepcams_eval.insitu"
) -> InsituRun:
    """Validate gridded products against stations.

    Parameters
    ----------
    options : InsituOptions
        What is validated, and how; observations and products are named, whatever lies in its
        folder of data.
    synthetic : bool
        Whether any of the data are made up; it then stands on every table, figure and page.
    command : str
        As ``run.json`` says it.

    Raises
    ------
    InputError
        If an input cannot be used.
    NoDataError
        If nothing is left to score.
    """
    clock, workers = time.perf_counter(), provenance.cores()
    compute, progress = options.compute, options.progress
    products = open_products(options.products, strict=options.strict)
    baseline = baseline_of([product.name for product in products], options.baseline)
    read = read_observations(
        options.observations,
        stations=options.stations,
        strict=options.strict,
        workers=workers,
        progress=None if progress is None else _named(progress, "observations"),
    )
    selected, left_out = select(read, options.bbox, options.countries)
    timed = shift_times(selected, options.shifts)
    flagged, qc = apply_rules(timed, options.rules)
    references = ReferenceSet()
    if options.added_value:
        derived = {spec.name: spec.derived for spec in options.products if spec.derived}
        references = make_references(products, derived, baseline, flagged)
    colocation = without_references(
        colocate(flagged, (*products, *references.products), compute=compute, progress=progress),
        [product.name for product in products],
    )
    years = {product.name: years_of(product) for product in products}
    run = assess(
        colocation.pairs,
        flagged.stations,
        options,
        baseline=baseline,
        years_with_data=years,
        references=references.columns,
        grids=grids_of(products),
        restricted=options.restricted,
        observations=flagged if options.sensitivity else None,
        products=products,
    )
    notes = [*references.notes, *run.notes, *_notes(run, flagged, products, colocation)]
    described = {
        "seed": options.seed,
        "settings": options.settings(workers),
        "baseline": baseline,
        "inputs": [],
        **_described(run, flagged, products, colocation),
        "references": references.columns,
        "notes": notes,
    }
    return replace(
        run,
        notes=notes,
        qc=_with_selection(qc, left_out),
        coverage=colocation.coverage,
        observations=flagged,
        files=(flagged.files, *(product.files for product in products)),
        run=described,
        synthetic=synthetic,
        command=command,
        clock_start=clock,
    )


def _described(
    run: InsituRun,
    observations: Observations,
    products: Sequence[Product],
    colocation: Colocation,
) -> dict[str, Any]:
    """Return what ``run.json`` says of the inputs and of what became of them."""
    parents = {spec.name: spec.derived[1] for spec in run.options.products if spec.derived}
    # A derived product is owed to the same as its parent.
    kinds = {product.name: product.kind for product in products}
    return {
        "damaged": [asdict(one) for one in _damaged(observations, products)],
        "counts": {
            **observations.counts,
            "rows": len(observations),
            "rows_passed": int((observations.table["flags"] == 0).sum()),
            "unpaired": colocation.unpaired,
            "pairs": len(colocation.pairs),
            "stations": len(run.stations),
        },
        "products": {
            product.name: {
                "kind": kinds[parents.get(product.name, product.name)],
                "derived_from": parents.get(product.name),
                **product.extent(),
                "stations_outside": list(colocation.outside[product.name]),
            }
            for product in products
        },
    }


def _damaged(observations: Observations, products: Sequence[Product]) -> list[Any]:
    return [*observations.damaged, *(one for product in products for one in product.damaged)]


def _named(progress: Progress, step: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(step, done, total)


def _with_selection(qc: pd.DataFrame, left_out: int) -> pd.DataFrame:
    """Insert the rows left out by --bbox and --countries before the first rule."""
    line = {"rule": "not_selected", "flagged": left_out, "flagged_first": left_out, "stage": "read"}
    first = int(np.flatnonzero(qc["rule"] == "rows_in")[0])
    parts = [qc.iloc[:first], pd.DataFrame([line]), qc.iloc[first:]]
    return pd.concat(parts, ignore_index=True)


def _notes(
    run: InsituRun, observations: Observations, products: Sequence[Product], colocation: Colocation
) -> list[str]:
    options, coverage = run.options, colocation.coverage
    notes = [
        f"No observation of {year} passed the quality control."
        for year in sorted(set(options.years) - set(coverage["year"]))
    ]
    unknown = sorted(set(options.countries) - set(observations.stations["country"]))
    if unknown:
        notes.append(f"No station is in {', '.join(unknown)}.")
    notes += [
        f"{provider}: all times were shifted by {hours:+g} h before the quality control."
        for provider, hours in options.shifts.items()
    ]
    for product in products:
        notes += [f"{product.name}: {note}" for note in product.notes]
        notes += _absences(product.name, coverage, run.years_with_data[product.name])
        outside = colocation.outside[product.name]
        if outside:
            notes.append(
                f"{product.name}: {plural(len(outside), 'station')} outside its grid, left out of "
                f"its scores: {some_of(_names_of(observations, outside))}."
            )
    for damaged in _damaged(observations, products):
        notes.append(f"{damaged.path} is damaged ({damaged.reason}); none of its rows is used.")
    if colocation.unpaired:
        notes.append(
            f"{plural(colocation.unpaired, 'observation')} passed the quality control but "
            "pair with no product: outside every grid, between its time steps, or missing there."
        )
    if (run.scores["stations"] < 5).any():
        notes.append(
            "No interval is given where fewer than 5 stations stand behind a score: they are what "
            "is left out in turn."
        )
    return notes


def _absences(name: str, coverage: pd.DataFrame, years: tuple[int, ...]) -> list[str]:
    mine = coverage[coverage["product"] == name]
    absent = [str(year) for year in mine["year"] if year not in years]
    notes = []
    if absent:
        notes.append(
            f"{name}: no data in {', '.join(absent)}; the common sample of "
            f"{'that year is' if len(absent) == 1 else 'those years is'} made without it, so its "
            "scores over several years are not on the sample of the others."
        )
    empty = mine[mine["year"].isin(years) & (mine["paired"] == 0)]
    notes += [
        f"{name}: data in {year}, but no pair; the common sample of that year is empty."
        for year in empty["year"]
    ]
    return notes


def _names_of(observations: Observations, ids: tuple[str, ...]) -> list[str]:
    names = observations.stations.set_index("station_id")["name"]
    return [names[one] or one for one in ids]
