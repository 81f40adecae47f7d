"""``deepcams-eval openaq``: products against OpenAQ stations."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from deepcams_eval.cli.running import dask_compute, parse_box, parse_numbers, progress_bar
from deepcams_eval.core.folder import check_target, whole_folder
from deepcams_eval.evidence.assessment import AVERAGES, Average
from deepcams_eval.inputs import insitu_inputs
from deepcams_eval.pair.qc import QcSettings
from deepcams_eval.pair.samples import Sample
from deepcams_eval.read.product import ProductSpec
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.saved import write_files
from deepcams_eval.validation import InsituResult, InsituSettings, insitu

_LISTS = ("sentinels", "disabled")
_OWN_OPTION = ("years", "months", "reference_only")
_MOST_HOURS = 24
_PRINTED_VERDICTS = ("analysis hours", "all hours")
"""The others stand on the page and in verdicts.csv."""


def openaq(
    years: Annotated[str, typer.Option(help="Years, such as 2017-2019 or 2017,2019.")],
    months: Annotated[str | None, typer.Option(help="Months of each year, such as 6-8.")] = None,
    bbox: Annotated[str | None, typer.Option(help="Stations in the box W,S,E,N only.")] = None,
    countries: Annotated[
        str | None, typer.Option(help="Stations in these countries only, such as BE,FR.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder with openaq/, cams/, geoscf/ and deepcams/, or 'demo'."),
    ] = None,
    observations: Annotated[
        list[str] | None,
        typer.Option(help="File, folder or glob of observations in any OpenAQ form; repeatable."),
    ] = None,
    product: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH[,key=value]…, or NAME=linear:PARENT; repeatable."),
    ] = None,
    stations: Annotated[
        Path | None, typer.Option(help="Station file: coordinates, provider, country.")
    ] = None,
    shift: Annotated[
        list[str] | None,
        typer.Option(
            help="PROVIDER=HOURS: hours to add to a provider's times, such as 'A Network=-1h'; "
            "repeatable."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Product that differences are taken from.")
    ] = None,
    sample: Annotated[
        str, typer.Option(help="Sample of tables and figures: common or own.")
    ] = "common",
    reference_only: Annotated[
        bool, typer.Option("--reference-only", help="Use reference-grade instruments only.")
    ] = False,
    qc: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE: a threshold of the quality control, such as negative_below=0, "
            "stuck_hours=48 or disabled=stuck,mobile; repeatable."
        ),
    ] = None,
    average: Annotated[
        str,
        typer.Option(help="Score hours (1h), or means over a day, month or year, where complete."),
    ] = "1h",
    added_value: Annotated[
        bool,
        typer.Option(
            "--added-value/--no-added-value",
            help="Compare products finer than the baseline with interpolations of it.",
        ),
    ] = True,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity/--no-sensitivity",
            help="Score all again under other choices; reads the products twice more.",
        ),
    ] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first damaged file.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read products.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, such as tcp://host:8786.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 1000,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; a new one under reports/ if absent.")
    ] = None,
    debug: Annotated[  # noqa: ARG001 - read by the runner, so that every command has it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Score products against OpenAQ stations: tables, figures and a report, with intervals.

    Example: `deepcams-eval openaq --years 2017-2019 --data demo --out out/demo`
    """
    clock = time.perf_counter()
    if sample not in ("common", "own"):
        raise typer.BadParameter(f"{sample!r} is not 'common' or 'own'", param_hint="--sample")
    rules = QcSettings(
        years=parse_numbers(years, "--years", 1900, 2200),
        months=None if months is None else parse_numbers(months, "--months", 1, 12),
        reference_only=reference_only,
        **_thresholds(qc or ()),
    )
    shifts = parse_shifts(shift or ())
    box = None if bbox is None else parse_box(bbox)
    target = out or _new_folder()
    check_target(target)
    with progress_bar() as progress:
        given = insitu_inputs(
            data,
            observations=[Path(text) for text in observations or ()],
            products=[ProductSpec.parse(text) for text in product or ()],
            stations=stations,
            progress=progress,
        )
        settings = InsituSettings(
            observations=given.observations,
            products=given.products,
            qc=rules,
            stations=given.stations,
            bbox=box,
            countries=_codes(countries or ""),
            shifts=shifts,
            baseline=baseline,
            sample=_sample(sample),
            average=parse_average(average),
            added_value=added_value,
            sensitivity=sensitivity,
            seed=seed,
            resamples=resamples,
            strict=strict,
            workers=os.cpu_count() or 1,
        )
        with dask_compute(workers, scheduler) as compute:
            result = insitu(settings, compute=compute, progress=progress)
        with whole_folder(target) as folder:
            write_files(
                folder,
                result,
                settings,
                command=shlex.join(["deepcams-eval", *sys.argv[1:]]),
                clock_start=clock,
                synthetic=given.synthetic,
                progress=lambda done, of: progress("report", done, of),
            )
    for line in summary(result, settings, given.synthetic):
        typer.echo(line)
    typer.echo(f"report: {target / 'report.html'}")


def summary(result: InsituResult, settings: InsituSettings, synthetic: bool) -> list[str]:
    """Return what is printed when a run is done: one line a product, then the notes."""
    return score_lines(
        result.tables.scores, result.notes, settings.sample, synthetic, result.evidence
    )


def score_lines(
    scores: pd.DataFrame,
    notes: Sequence[str],
    sample: Sample,
    synthetic: bool,
    evidence: Sequence[Evidence] = (),
) -> list[str]:
    """Return one line a product from the rows of ``scores.csv``, the verdicts, then the notes."""
    lines = ["SYNTHETIC data: nothing here says anything about a real product"] if synthetic else []
    shown = scores[(scores["stratum"] == "all") & (scores["sample"] == sample)]
    width = max(len(name) for name in shown["product"])
    lines += [
        f"{row['product']:<{width}}  n = {row['n']:,}  stations = {row['stations']:,}  "
        f"R = {row['r']:.4f}  RMSE = {row['rmse']:.3f}  MAE = {row['mae']:.3f} ug m-3"
        for row in shown.to_dict("records")
    ]
    for table in (one.frames["verdicts"] for one in evidence if "verdicts" in one.frames):
        chosen = table[table["question"].isin(_PRINTED_VERDICTS)]
        lines += chosen.groupby(["product", "question"], sort=False).tail(1)["sentence"].tolist()
    return [*lines, *(f"note: {note}" for note in notes)]


def parse_average(text: str) -> Average:
    """Return what ``--average`` asks for.

    Raises
    ------
    typer.BadParameter
        If `text` is none of 1h, hour, day, month and year.
    """
    asked = "hour" if text == "1h" else text
    for known in AVERAGES:
        if asked == known:
            return known
    raise typer.BadParameter(f"{text!r} is none of 1h, day, month, year", param_hint="--average")


def parse_shifts(texts: Sequence[str]) -> dict[str, float]:
    """Return the hours of each provider in texts such as ``A Network=-1h``.

    Raises
    ------
    typer.BadParameter
        If a text is no PROVIDER=HOURS of at most a day, or names a provider again.
    """
    shifts: dict[str, float] = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\S.*?)\s*=\s*([+-]?\d+(?:\.\d+)?)\s*h\s*", text)
        if match is None or abs(float(match[2])) > _MOST_HOURS:
            raise typer.BadParameter(
                f"{text!r} is no PROVIDER=HOURS of at most {_MOST_HOURS} h, such as "
                "'A Network=-1h'",
                param_hint="--shift",
            )
        if match[1] in shifts:
            raise typer.BadParameter(f"{match[1]!r} is shifted twice", param_hint="--shift")
        shifts[match[1]] = float(match[2])
    return shifts


def _thresholds(settings: Sequence[str]) -> dict[str, object]:
    """Return the settings of ``--qc``; their values are checked by `QcSettings`."""
    found: dict[str, object] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or key in _OWN_OPTION:
            raise typer.BadParameter(
                f"{text!r} is no KEY=VALUE of the quality control", param_hint="--qc"
            )
        found[key] = [part.strip() for part in value.split(",")] if key in _LISTS else value
    return found


def _codes(text: str) -> tuple[str, ...]:
    return tuple(code.strip() for code in text.upper().split(",") if code.strip())


def _sample(text: str) -> Sample:
    return "own" if text == "own" else "common"


def _new_folder() -> Path:
    return Path("reports") / f"openaq-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
