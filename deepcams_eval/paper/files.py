"""The folder that ``deepcams-eval paper`` leaves behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.bench import files as simulation_files
from deepcams_eval.bench.month import Case
from deepcams_eval.bench.sections import month_tables
from deepcams_eval.core import provenance
from deepcams_eval.core.folder import RUN_FILE, write_run
from deepcams_eval.options import PaperOptions
from deepcams_eval.paper import figures, page
from deepcams_eval.paper.run import CASES, COARSE, FINE, PaperResult
from deepcams_eval.report import credit, maps, style
from deepcams_eval.report.content import Content
from deepcams_eval.report.tables import Table, write_table, year_table

INSITU, SIMULATION = "insitu", "simulation"
"""Folders of the two full reports."""

_TASK_TABLES = {"temporal": 2, "spatial": 3}

Progress = Callable[[str, int, int], None]


def write_files(
    folder: Path,
    result: PaperResult,
    settings: PaperOptions,
    *,
    command: str,
    clock_start: float,
    synthetic: bool,
    progress: Progress | None = None,
) -> None:
    """Write both full reports, then tables, figures, the page and ``run.json`` into `folder`.

    Parameters
    ----------
    folder : Path
        Exists and is empty; the caller gives it its final name when all is written.
    result, settings
        Of `deepcams_eval.paper.run.paper`.
    command : str
        The command line.
    clock_start : float
        `time.perf_counter` when the run began.
    synthetic : bool
        Whether the data are made up; it then stands on every table, figure and page.
    progress : callable, optional
        Called with the name of the step, the pieces done and the pieces in all.
    """
    tell = progress or (lambda _step, _done, _total: None)
    shared: dict[str, Any] = {
        "command": command,
        "clock_start": clock_start,
        "synthetic": synthetic,
    }
    if result.insitu:
        (folder / INSITU).mkdir()
        replace(result.insitu, **shared).write(
            folder / INSITU,
            lambda done, of: tell("report of the validation", done, of),
        )
    if result.simulation:
        (folder / SIMULATION).mkdir()
        simulation_files.write_files(
            folder / SIMULATION,
            replace(result.simulation, **shared),
            progress=lambda done, of: tell("report of the simulation", done, of),
        )
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    run = _describe(folder, result, settings, command=command, synthetic=synthetic)
    content = None if result.insitu is None else replace(result.insitu, synthetic=synthetic)
    tables = [*_table1(content), *_simulation_tables(result, synthetic=synthetic)]
    for name, blocks in tables:
        write_table(folder / "tables", name, blocks)
    pictures: list[style.Picture] = []
    for drawing in _drawings(result, content, synthetic=synthetic):
        style.save(drawing, folder / "figures")
        pictures.append(drawing)
        tell("figures", len(pictures), len(pictures))
    pictures += _copied_cases(folder, result, synthetic=synthetic)
    pictures.sort(key=lambda one: one.name)
    run |= provenance.cost(clock_start)
    text = page.render_page(
        [block for _, blocks in tables for block in blocks],
        pictures,
        folder,
        run=run,
        reports=[
            (title, f"{name}/report.html")
            for name, title in (
                (INSITU, "The validation against stations"),
                (SIMULATION, "The simulation"),
            )
            if (folder / name).is_dir()
        ],
        attributions=_attributions(result, content, synthetic=synthetic),
        synthetic=synthetic,
    )
    (folder / "report.html").write_text(text, encoding="utf-8")
    write_run(folder, run | provenance.cost(clock_start))


def station_years(content: Content) -> dict[int, pd.DataFrame]:
    """Return the stations with pairs on the sample shown, and how many, for each year."""
    shown = np.logical_or.reduce([content.rows[name] for name in content.products])
    columns = ["latitude", "longitude", "station_kind"]
    made = {}
    for year in content.years:
        rows = shown & (content.month_of_pair // 12 == year)
        mine = content.scored_pairs.table.loc[rows, ["station_id", *columns]]
        stations = mine.groupby("station_id", observed=True, sort=False)
        made[year] = stations[columns].first().assign(pairs=stations.size())
    return made


def _drawings(
    result: PaperResult, content: Content | None, *, synthetic: bool
) -> Iterator[style.Drawing]:
    """Yield the figures one at a time, so that only one is held in memory."""
    if content is not None:
        owed = credit.line(content)
        yield figures.draw_stations(station_years(content), owed)
        yield figures.draw_scatters(content, owed)
    owed = credit.truth_line(_map_kind(result), synthetic=synthetic)
    if result.sequences:
        yield figures.draw_sequences(result.sequences, owed)
    if result.series:
        yield figures.draw_series(result.series, owed)
    if result.annual is not None:
        yield figures.draw_annual(result.annual, owed)


def _map_kind(result: PaperResult) -> str:
    return FINE if len(result.products) > 1 else COARSE


def _table1(content: Content | None) -> Iterator[tuple[str, tuple[Table, ...]]]:
    if content is None:
        return
    table = year_table(content)
    title = "Table 1. Products against stations, by year"
    yield "table1", (replace(table, name="table1", title=f"{title} ({content.sample} sample)"),)


def _simulation_tables(
    result: PaperResult, *, synthetic: bool
) -> Iterator[tuple[str, tuple[Table, ...]]]:
    if result.simulation is None:
        return
    simulation = replace(result.simulation, synthetic=synthetic)
    for task in simulation.tasks:
        if task in _TASK_TABLES:
            name = f"table{_TASK_TABLES[task]}"
            blocks = month_tables(simulation, task)
            yield (
                name,
                tuple(
                    replace(
                        block,
                        name=f"{name}_{letter}",
                        title=f"Table {_TASK_TABLES[task]}{letter}. {block.title}",
                    )
                    for letter, block in zip("abc", blocks, strict=True)
                ),
            )


def _copied_cases(folder: Path, result: PaperResult, *, synthetic: bool) -> Iterator[style.Picture]:
    """Yield Figs. 3 and 4, which are figures of the simulation."""
    if result.simulation is None:
        return
    simulation = result.simulation
    owed = credit.truth_line(simulation.product.kind, synthetic=synthetic)
    for case in simulation.cases:
        if case.task not in CASES:
            continue
        for ending in ("png", "pdf"):
            shutil.copy2(
                folder / SIMULATION / "figures" / f"case_{case.task}.{ending}",
                folder / "figures" / f"fig{CASES[case.task]}.{ending}",
            )
        number = CASES[case.task]
        yield style.Picture(
            name=f"fig{number}",
            kind="case",
            caption=f"Fig. {number}. {_case_words(case, simulation.year)} {owed.source}",
            alternative="Maps of the truth and of the methods, and the error of each in a box.",
        )


def _case_words(case: Case, year: int) -> str:
    baseline, challenger = case.methods
    hour = str(case.time.astype("datetime64[m]")).replace("T", " ")
    what = {"temporal": "time", "spatial": "space"}[case.task]
    return (
        f"Downscaling in {what}: the truth and {', '.join(case.estimates)} at {hour} UTC. n = 1 "
        f"hour: the one, and the box, in which |{challenger} − {baseline}| is largest on average, "
        f"of all hours scored in {year} and of all boxes of this size."
    )


def _attributions(result: PaperResult, content: Content | None, *, synthetic: bool) -> list[str]:
    lines = [] if content is None else credit.attributions(content)
    if result.simulation:
        kind = result.simulation.product.kind
        lines += credit.truth_attributions(kind, synthetic=synthetic)
    if result.products:
        lines += credit.truth_attributions(_map_kind(result), synthetic=synthetic)
    return list(dict.fromkeys([*lines, f"{maps.COASTLINES} (public domain)."]))


def _describe(
    folder: Path,
    result: PaperResult,
    settings: PaperOptions,
    *,
    command: str,
    synthetic: bool,
) -> dict[str, Any]:
    """Return what ``run.json`` says, but for time and memory."""
    inputs: dict[str, Any] = {}
    for name in (INSITU, SIMULATION):
        for entry in _run_of(folder / name).get("inputs", ()):
            inputs[entry["path"]] = entry
    if result.insitu is None:
        for entry in provenance.hash_inputs(one.files for one in result.products):
            inputs[entry["path"]] = entry
    return {
        **provenance.basis(command, synthetic=synthetic),
        "seed": settings.seed,
        "settings": {
            "years": list(settings.years),
            "year": settings.year,
            "methods": None if settings.methods is None else list(settings.methods),
            "resamples": settings.resamples,
            "strict": settings.strict,
        },
        "inputs": list(inputs.values()),
        "notes": list(result.notes),
    }


def _run_of(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    if not path.is_file():
        return {}
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said
