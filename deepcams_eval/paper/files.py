"""What ``deepcams-eval paper`` leaves behind: both reports, tables, figures and the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.bench.month import Case
from deepcams_eval.bench.page import month_tables
from deepcams_eval.bench.run import SimulationRun
from deepcams_eval.core import provenance
from deepcams_eval.core.folder import RUN_FILE, write_run
from deepcams_eval.options import PaperOptions
from deepcams_eval.paper import figures
from deepcams_eval.paper.run import CASES, COARSE, FINE, PaperResult
from deepcams_eval.report import credit, maps, style
from deepcams_eval.report.content import Content
from deepcams_eval.report.rendering import render
from deepcams_eval.report.tables import Table, write_table, year_table

INSITU, SIMULATION = "insitu", "simulation"
"""Folders of the two full reports."""

_TASK_TABLES = {"temporal": 2, "spatial": 3}

PLACES = (
    *(f"Table {number}" for number in (1, 2, 3)),
    *(f"Fig. {number}" for number in (1, 3, 4, 5, 6, 7, 8)),
)
"""What the paper shows of data; its Fig. 2 is a diagram of the networks."""

_IMAGE_ROOM = 16_000_000
"""Bytes: every figure of the paper is on the page."""

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
    insitu = result.insitu and replace(result.insitu, **shared)
    simulation = result.simulation and replace(result.simulation, **shared)
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    reports = []
    if insitu:
        (folder / INSITU).mkdir()
        insitu.write(folder / INSITU, lambda done, of: tell("report of the validation", done, of))
        reports.append(("The validation against stations", f"{INSITU}/report.html"))
    if simulation:
        (folder / SIMULATION).mkdir()
        simulation.write(
            folder / SIMULATION, lambda done, of: tell("report of the simulation", done, of)
        )
        reports.append(("The simulation", f"{SIMULATION}/report.html"))
    run = _describe(folder, result, settings, command=command, synthetic=synthetic)
    tables = dict(_tables(insitu, simulation))
    for name, blocks in tables.items():
        write_table(folder / "tables", name, blocks)
    pictures: list[style.Picture] = []
    for drawing in _drawings(result, insitu, synthetic=synthetic):
        style.save(drawing, folder / "figures")
        pictures.append(drawing)
        tell("figures", len(pictures), len(pictures))
    if simulation:
        pictures += _copied_cases(folder, simulation)
    run |= provenance.cost(clock_start)
    pictures.sort(key=lambda one: one.name)
    blocks = list(chain(*tables.values()))
    text = render(
        "paper.html.j2",
        title="The tables and figures of Xiao et al. (2022), from these data",
        run={key: value for key, value in run.items() if key != "notes"},
        contents=[
            *_contents(blocks, pictures),
            ("Notes", "#notes"),
            ("Provenance", "#provenance"),
        ],
        asked=list(_asked(settings)),
        notes=run["notes"],
        attributions=_attributions(result, insitu, synthetic=synthetic),
        pictures=pictures,
        folder=folder,
        synthetic=synthetic,
        room=_IMAGE_ROOM,
        tables=blocks,
        reports=reports,
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
    if result.maps.sequences:
        yield figures.draw_sequences(result.maps.sequences, owed)
    if result.maps.series:
        yield figures.draw_series(result.maps.series, owed)
    if result.maps.annual is not None:
        yield figures.draw_annual(result.maps.annual, owed)


def _map_kind(result: PaperResult) -> str:
    return FINE if len(result.maps.products) > 1 else COARSE


def _tables(
    insitu: Content | None, simulation: SimulationRun | None
) -> Iterator[tuple[str, list[Table]]]:
    """Yield the name of each table of the paper, and its blocks."""
    if insitu:
        title = f"Table 1. Products against stations, by year ({insitu.sample} sample)"
        yield "table1", [replace(year_table(insitu), name="table1", title=title)]
    if simulation is None:
        return
    for task in simulation.tasks:
        if task in _TASK_TABLES:
            number = _TASK_TABLES[task]
            blocks = zip("abc", month_tables(simulation, task), strict=True)
            yield (
                f"table{number}",
                [
                    replace(
                        block,
                        name=f"table{number}_{letter}",
                        title=f"Table {number}{letter}. {block.title}",
                    )
                    for letter, block in blocks
                ],
            )


def _copied_cases(folder: Path, simulation: SimulationRun) -> Iterator[style.Picture]:
    """Yield Figs. 3 and 4, which are figures of the simulation."""
    owed = credit.truth_line(simulation.product.kind, synthetic=simulation.synthetic)
    for case in simulation.cases:
        if case.task in CASES:
            name = f"fig{CASES[case.task]}"
            for ending in ("png", "pdf"):
                drawn = folder / SIMULATION / "figures" / f"case_{case.task}.{ending}"
                shutil.copy2(drawn, folder / "figures" / f"{name}.{ending}")
            yield style.Picture(
                name=name,
                kind="case",
                caption=f"Fig. {CASES[case.task]}. {_case_words(case, simulation.year)} "
                f"{owed.source}",
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
    if result.maps.products:
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
        for entry in provenance.hash_inputs(one.files for one in result.maps.products):
            inputs[entry["path"]] = entry
    return {
        **provenance.basis(command, synthetic=synthetic),
        "seed": settings.seed,
        "settings": {
            "years": list(settings.years),
            "year": settings.year,
            "methods": None if settings.methods is None else list(settings.methods),
            "strict": settings.strict,
        },
        "inputs": list(inputs.values()),
        "notes": list(result.notes),
    }


def _run_of(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _asked(settings: PaperOptions) -> Iterator[tuple[str, str]]:
    yield "Years against stations", ", ".join(map(str, settings.years))
    yield "Year of the simulation", str(settings.year)
    yield "Methods of the simulation", ", ".join(settings.methods or ["all that can run"])


def _contents(
    tables: Sequence[Table], pictures: Sequence[style.Picture]
) -> Iterator[tuple[str, str | None]]:
    """Yield each place of the paper and the address on the page, None where it is left out."""
    for place in PLACES:
        kind, number = place.split()
        if kind == "Table":
            names = [t.name for t in tables if t.name.split("_")[0] == f"table{number}"]
            yield place, f"#table-{names[0]}" if names else None
        else:
            there = any(picture.name == f"fig{number}" for picture in pictures)
            yield place, f"#figure-fig{number}" if there else None
