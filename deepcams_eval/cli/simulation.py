"""``deepcams-bench simulation``: methods of downscaling against a year of hourly truth."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.frame_scores import WEIGHTS
from deepcams_eval.bench.run import (
    CheckpointSpec,
    PredictionSpec,
    SimulationRun,
    SimulationSettings,
    simulate,
)
from deepcams_eval.bench.tables import AVERAGE, all_hours
from deepcams_eval.cli.running import dask_compute, parse_numbers, progress_bar
from deepcams_eval.core.folder import check_target
from deepcams_eval.downscale import TASKS, Task
from deepcams_eval.downscale.degrade import DEGRADATIONS
from deepcams_eval.inputs import lies_in_demo, truth_input
from deepcams_eval.read.product import ProductSpec

_TASK_KEY = "task="


def simulation(
    year: Annotated[int, typer.Option(min=1900, max=2200, help="The year to score.")],
    data: Annotated[
        str | None,
        typer.Option(help="Folder in the standard layout, or 'demo' for a synthetic archive."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(help="Hourly fields, PATH[,key=value]…, instead of DIR/geoscf."),
    ] = None,
    train_years: Annotated[
        str | None,
        typer.Option(
            help="Years of the truth that methods learn from, such as 2018-2019; with --data "
            "those before --year."
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="temporal, spatial, joint or all.")] = "all",
    methods: Annotated[
        str | None,
        typer.Option(help="Names such as linear,dis or dis+bicubic; all that can run if absent."),
    ] = None,
    prediction: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=PATH[,key=value]…: files of another model as a method; task=temporal, "
            "spatial or joint (the default) says which table; repeatable."
        ),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=PATH: a trained network, PATH.safetensors and PATH.json, as a method; the "
            "name of a registered method takes its place; repeatable."
        ),
    ] = None,
    degrade: Annotated[
        str, typer.Option(help="Operator in space: imresize, mean or node.")
    ] = "imresize",
    weights: Annotated[
        str, typer.Option(help="Weights of cells in tables and figures: none or area.")
    ] = "none",
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted run; needs --out.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first damaged file.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each a month at a time.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler whose workers share this disk, such as "
            "tcp://host:8786."
        ),
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
    """Degrade hourly 0.25° truth, downscale it by every method, and score them.

    Example: `deepcams-bench simulation --year 2020 --data demo --out out/sim`
    """
    clock = time.perf_counter()
    _require("--degrade", degrade, tuple(DEGRADATIONS))
    _require("--weights", weights, WEIGHTS)
    if resume and out is None:
        raise typer.BadParameter("name the folder of the interrupted run", param_hint="--out")
    tasks = _tasks(task)
    predictions = tuple(_prediction(text, tasks) for text in prediction or ())
    target = out or _new_folder()
    check_target(target)
    with progress_bar() as progress:
        spec = truth_input(data, truth, progress=progress)
        settings = SimulationSettings(
            year=year,
            truth=spec,
            train_years=_training(train_years, year, of_folder=truth is None),
            tasks=tasks,
            methods=None if methods is None else _names(methods),
            predictions=predictions,
            checkpoints=tuple(_checkpoint(text) for text in checkpoint or ()),
            degrade=degrade,
            weights=weights,
            seed=seed,
            resamples=resamples,
            strict=strict,
            workers=_at_a_time(workers, scheduler),
        )
        store = MonthStore.beside(target)
        with (
            _kept_for_later(store, named=out is not None),
            dask_compute(workers, scheduler) as compute,
        ):
            run = simulate(
                settings,
                store,
                resume=resume,
                compute=compute,
                progress=progress,
                synthetic=lies_in_demo(Path(spec.path)),
                command=shlex.join(["deepcams-bench", *sys.argv[1:]]),
                clock_start=clock,
            )
            run.save(target, progress=lambda done, of: progress("report", done, of))
        store.remove()
    for line in summary(run):
        typer.echo(line)
    typer.echo(f"report: {target / 'report.html'}")


def summary(run: SimulationRun) -> list[str]:
    """Return what is printed when a run is done: the averages of each table, then the notes."""
    mark = "SYNTHETIC data: nothing here says anything about a real product"
    lines = [mark] if run.synthetic else []
    table = run.summary
    shown = table[(table["weights"] == run.weights) & (table["aggregate"] == "months")]
    for task in run.methods:
        rows = shown[shown["task"] == task]
        whole = rows[rows["hours"] == "all"] if task == "joint" else rows
        months = all_hours(run.months[task])
        scored = int((months.loc[months["month"] != AVERAGE, "n"] > 0).sum())
        lines.append(f"{task}: mean of {scored} months, ug m-3")
        width = max(len(name) for name in whole["method"])
        lines += [
            f"  {row['method']:<{width}}  n = {row['n_samples']:,}  R = {row['r']:.4f}  "
            f"RMSE = {row['rmse']:.3f}  MAE = {row['mae']:.3f}"
            for row in whole.to_dict("records")
        ]
    return [*lines, *(f"note: {note}" for note in run.notes)]


@contextmanager
def _kept_for_later(store: MonthStore, *, named: bool) -> Iterator[None]:
    """Keep the months of a run that breaks off if its report has a name to go on under."""
    try:
        yield
    except BaseException as error:
        if not named:
            store.discard()
        elif isinstance(error, KeyboardInterrupt) and store.any():
            typer.echo("the months that are done are kept: add --resume to go on", err=True)
        raise


def _training(text: str | None, year: int, *, of_folder: bool) -> tuple[int, ...] | None:
    """Return the years asked for, else None (all before the year scored) for a data folder."""
    if text is None:
        return None if of_folder else ()
    years = parse_numbers(text, "--train-years", 1900, 2200)
    if year in years:
        raise typer.BadParameter(f"{year} is the year that is scored", param_hint="--train-years")
    return years


def _prediction(text: str, tasks: Sequence[Task]) -> PredictionSpec:
    fields = text.split(",")
    named = [part.removeprefix(_TASK_KEY) for part in fields if part.startswith(_TASK_KEY)]
    wanted = named[-1] if named else (tasks[0] if len(tasks) == 1 else "joint")
    for task in TASKS:
        if task == wanted and task not in tasks:
            raise typer.BadParameter(
                f"{text!r} is of the task {task}, and only {', '.join(tasks)} is run; add"
                f" {_TASK_KEY}{tasks[0]} or choose another --task",
                param_hint="--prediction",
            )
        if task == wanted:
            rest = ",".join(part for part in fields if not part.startswith(_TASK_KEY))
            return PredictionSpec(ProductSpec.parse(rest), task)
    raise typer.BadParameter(
        f"{wanted!r} is not one of {', '.join(TASKS)}", param_hint="--prediction"
    )


def _checkpoint(text: str) -> CheckpointSpec:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise typer.BadParameter(
            f"{text!r} is no checkpoint; write --checkpoint NAME=PATH", param_hint="--checkpoint"
        )
    return CheckpointSpec(name, Path(path))


def _tasks(text: str) -> tuple[Task, ...]:
    if text == "all":
        return TASKS
    _require("--task", text, (*TASKS, "all"))
    return tuple(task for task in TASKS if task == text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _require(option: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(allowed)}", param_hint=option)


def _at_a_time(workers: int, scheduler: str | None) -> int:
    # A cluster is given all months at once: how many workers it has is its own affair.
    return workers if scheduler is None else 12


def _new_folder() -> Path:
    return Path("reports") / f"simulation-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
