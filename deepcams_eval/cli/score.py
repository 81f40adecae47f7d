"""``deepcams-eval score``: scores and report again, from the pairs that runs wrote."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from deepcams_eval.cli.openaq import parse_average, score_lines
from deepcams_eval.cli.running import progress_bar
from deepcams_eval.core import provenance
from deepcams_eval.core.folder import check_target, whole_folder, write_run
from deepcams_eval.errors import InputError
from deepcams_eval.evidence.assessment import Assessment, Choices, assess
from deepcams_eval.evidence.write import write_report
from deepcams_eval.pair.samples import Sample
from deepcams_eval.report.content import Content
from deepcams_eval.saved import (
    STATIONS_FILE,
    SavedPairs,
    frames_of,
    read_pairs,
    saved_stations,
    write_tables,
)
from deepcams_eval.score.tables import baseline_of

_DEFAULTS: dict[str, Any] = {
    "sample": "common",
    "average": "hour",
    "added_value": True,
    "seed": 0,
    "resamples": 1000,
}


def score(
    pairs: Annotated[
        list[Path], typer.Argument(help="pairs.parquet of one or several runs, or their folders.")
    ],
    stations: Annotated[
        Path | None,
        typer.Option(help="Station file with names and providers; else that beside the pairs."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Product that differences are taken from; else the run's.")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(help="Sample of tables and figures: common or own; else the run's."),
    ] = None,
    average: Annotated[
        str | None,
        typer.Option(help="Score hours (1h), or means over a day, month or year; else the run's."),
    ] = None,
    added_value: Annotated[
        bool | None,
        typer.Option(
            "--added-value/--no-added-value",
            help="Compare finer products with interpolations of the baseline; else as the run did.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the bootstrap; else the run's.")
    ] = None,
    resamples: Annotated[
        int | None, typer.Option(min=100, help="Bootstrap resamples; else the run's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; a new one under reports/ if absent.")
    ] = None,
    debug: Annotated[  # noqa: ARG001 - read by the runner, so that every command has it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Make scores, tables and report again from pairs, without pairing anew.

    Example: `deepcams-eval score out/2017/pairs.parquet out/2018/pairs.parquet --out out/both`
    """
    clock = time.perf_counter()
    if sample not in (None, "common", "own"):
        raise typer.BadParameter(f"{sample!r} is not 'common' or 'own'", param_hint="--sample")
    target = out or Path("reports") / f"score-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    check_target(target)
    saved = read_pairs(pairs)
    given = {
        "baseline": baseline,
        "sample": sample,
        "average": None if average is None else parse_average(average),
        "added_value": added_value,
        "seed": seed,
        "resamples": resamples,
    }
    asked = {"baseline": None, **_DEFAULTS, **saved.asked}
    asked |= {name: value for name, value in given.items() if value is not None}
    asked["baseline"] = baseline_of(saved.pairs.products, asked["baseline"])
    files = _station_files(stations, saved.files)
    _refuse_own_input(target, (*saved.files, *files))
    places, without_provider = saved_stations(saved, files)
    choices = Choices(**asked)
    found = assess(
        saved.pairs,
        places,
        choices,
        years_with_data=saved.years,
        references=saved.references,
        grids=saved.grids,
        restricted=saved.restricted,
    )
    notes = [*_notes(saved, len(files), without_provider), *found.notes]
    run = {
        "command": shlex.join(["deepcams-eval", *sys.argv[1:]]),
        "synthetic": saved.synthetic,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "device": provenance.device(),
        "seed": asked["seed"],
        "settings": asked,
        "baseline": asked["baseline"],
        "inputs": provenance.hash_inputs([saved.files, files]),
        "counts": {"pairs": len(saved.pairs), "stations": len(places)},
        "products": {
            name: {"kind": saved.kinds[name], "years": list(saved.years[name])}
            for name in saved.pairs.products
        },
        "notes": notes,
    }
    with progress_bar() as progress, whole_folder(target) as folder:
        _write(
            folder,
            saved,
            found,
            run=run,
            sample=choices.sample,
            clock=clock,
            progress=lambda done, of: progress("report", done, of),
        )
    lines = score_lines(found.tables.scores, notes, choices.sample, saved.synthetic, found.evidence)
    for line in lines:
        typer.echo(line)
    typer.echo(f"report: {target / 'report.html'}")


def _write(
    folder: Path,
    saved: SavedPairs,
    found: Assessment,
    *,
    run: dict[str, Any],
    sample: Sample,
    clock: float,
    progress: Any,
) -> None:
    coverage = _coverage(saved)
    written = {
        "scores": found.tables.scores,
        "differences": found.tables.differences,
        "lags": found.lags,
        "coverage": coverage,
        **frames_of(found.evidence),
    }
    write_tables(folder, written, synthetic=saved.synthetic)
    found.stations.to_parquet(folder / STATIONS_FILE, index=False)
    _stamp(run, clock)
    content = Content(
        scores=found.tables.scores,
        differences=found.tables.differences,
        pairs=found.scored,
        rows=found.tables.rows[sample],
        stations=found.stations,
        qc=pd.DataFrame(columns=["rule", "flagged", "flagged_first", "stage"]),
        coverage=coverage,
        notes=run["notes"],
        run=run,
        sample=sample,
        baseline=run["baseline"],
        synthetic=saved.synthetic,
        lags=found.lags,
        evidence=found.evidence,
    )
    write_report(folder, content, progress=progress)
    _stamp(run, clock)
    write_run(folder, run)


def _stamp(run: dict[str, Any], clock: float) -> None:
    run["wall_time_s"] = round(time.perf_counter() - clock, 2)
    run["peak_rss_bytes"] = provenance.peak_rss_bytes()


def _station_files(given: Path | None, pairs: Sequence[Path]) -> tuple[Path, ...]:
    if given is not None:
        return (given,)
    beside = (path.parent / STATIONS_FILE for path in pairs)
    return tuple(dict.fromkeys(path for path in beside if path.is_file()))


def _coverage(saved: SavedPairs) -> pd.DataFrame:
    """Return the pairs and stations of each product and year."""
    table = saved.pairs.table
    year = table["time_start"].dt.year
    lines = []
    for name in saved.pairs.products:
        has = table[name].notna()
        stations = table["station_id"][has].groupby(year[has]).nunique()
        lines += [
            {
                "product": name,
                "year": int(one),
                "paired": int(count),
                "stations": int(stations[one]),
            }
            for one, count in year[has].value_counts().sort_index().items()
        ]
    return pd.DataFrame(lines)


def _notes(saved: SavedPairs, station_files: int, without_provider: int) -> list[str]:
    notes = [
        f"Scored from the pairs of {len(saved.files)} "
        f"run{'' if len(saved.files) == 1 else 's'}; what these assumed or left out, and what "
        "other choices would change, stands in their own reports."
    ]
    if without_provider:
        notes.append(
            f"{without_provider:,} stations have no known provider and are taken as one, "
            "'unknown', in the lags"
            + ("." if station_files else "; --stations names a file that tells it.")
        )
    return notes


def _refuse_own_input(target: Path, inputs: Sequence[Path]) -> None:
    """Refuse to replace a report by one made from its own pairs, which would be lost."""
    for path in inputs:
        if target.resolve() in path.resolve().parents:
            raise InputError(
                f"holds {path.name}, which is read here and would be lost",
                path=target,
                hint="name another place with --out",
            )
