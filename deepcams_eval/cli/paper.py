"""``deepcams-eval paper``: the tables and figures of the paper, in one folder."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from deepcams_eval import demo
from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.cli.running import ReportProgress, dask_compute, parse_numbers, progress_bar
from deepcams_eval.core.folder import check_target, whole_folder
from deepcams_eval.errors import InputError
from deepcams_eval.inputs import lies_in_demo
from deepcams_eval.paper.files import write_files
from deepcams_eval.paper.run import PaperResult, PaperSettings, paper
from deepcams_eval.read.layout import find_data

_NO_DATA = "no data given: use --data demo to try it on synthetic data, or --data DIR"


def make_paper(
    data: Annotated[
        str | None,
        typer.Option(help="Folder with openaq/, cams/, deepcams/ and geoscf/, or 'demo'."),
    ] = None,
    years: Annotated[
        str, typer.Option(help="Years against stations, such as 2017-2019.")
    ] = "2017-2019",
    year: Annotated[int, typer.Option(min=1900, max=2200, help="Year of the simulation.")] = 2020,
    methods: Annotated[
        str | None,
        typer.Option(help="Methods of the simulation, such as linear,bicubic; all if absent."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the simulation of an interrupted run."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first damaged file.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, such as tcp://host:8786.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstraps.")] = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 1000,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; a new one under reports/ if absent.")
    ] = None,
    debug: Annotated[  # noqa: ARG001 - read by the runner, so that every command has it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Make Tables 1-3 and Figs. 1 and 3-8 of Xiao et al. (2022) from your data, on one page.

    What the data do not allow is left out and named.

    Example: `deepcams-eval paper --data demo --out out/paper`
    """
    clock = time.perf_counter()
    if resume and out is None:
        raise typer.BadParameter("name the folder of the interrupted run", param_hint="--out")
    wanted = parse_numbers(years, "--years", 1900, 2200)
    names = None if methods is None else tuple(filter(None, map(str.strip, methods.split(","))))
    target = out or Path("reports") / f"paper-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    check_target(target)
    with progress_bar() as progress:
        root = _root(data, progress)
        settings = PaperSettings(
            data=find_data(root),
            years=wanted,
            year=year,
            methods=names,
            seed=seed,
            resamples=resamples,
            strict=strict,
            # A cluster is given all months at once: how many workers it has is its own affair.
            workers=workers if scheduler is None else 12,
        )
        synthetic = lies_in_demo(root)
        store = MonthStore.beside(target)
        with _kept_for_later(store, named=out is not None):
            with dask_compute(workers, scheduler) as compute:
                result = paper(settings, store, resume=resume, compute=compute, progress=progress)
            with whole_folder(target) as folder:
                write_files(
                    folder,
                    result,
                    settings,
                    command=shlex.join(["deepcams-eval", *sys.argv[1:]]),
                    clock_start=clock,
                    synthetic=synthetic,
                    progress=progress,
                )
        store.discard()
    for line in summary(target, result, synthetic):
        typer.echo(line)


def summary(target: Path, result: PaperResult, synthetic: bool) -> list[str]:
    """Return what is printed when all is done: the tables and figures, then the notes."""
    lines = ["SYNTHETIC data: nothing here says anything about a real product"] if synthetic else []
    for folder in ("tables", "figures"):
        names = sorted({path.stem for path in (target / folder).iterdir()})
        lines.append(f"{folder}: {', '.join(names) or 'none'}")
    lines += [f"note: {note}" for note in result.notes]
    return [*lines, f"report: {target / 'report.html'}"]


@contextmanager
def _kept_for_later(store: MonthStore, *, named: bool) -> Iterator[None]:
    """Keep the months of a simulation that breaks off if its report has a name to go on under."""
    try:
        yield
    except BaseException as error:
        if not named:
            store.discard()
        elif isinstance(error, KeyboardInterrupt) and store.any():
            typer.echo(
                "the months of the simulation that are done are kept: add --resume to go on",
                err=True,
            )
        raise


def _root(data: str | None, progress: ReportProgress) -> Path:
    if data is None:
        data = os.environ.get("DEEPCAMS_DATA") or ("data" if Path("data").is_dir() else None)
        if data is None:
            raise InputError(_NO_DATA)
    if data == "demo":
        return demo.demo_archive(progress=lambda done, of: progress("demo archive", done, of))
    return Path(data)
