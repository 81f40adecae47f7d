"""``deepcams-models train``: a network learns from hourly truth."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deepcams_eval.cli.running import parse_numbers
from deepcams_eval.downscale.registry import BEST
from deepcams_eval.errors import InputError
from deepcams_models.checkpoint import load, save
from deepcams_models.settings import TrainSettings
from deepcams_models.train import STATE, Report, Trainer, processes
from deepcams_models.validate import Validation


def train(
    network: Annotated[str, typer.Argument(help="xvfi (in time) or abpn (in space).")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the state, the log and the best weights; a new one under reports/ if "
            "absent."
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="small, recommended, paper or released.")
    ] = "recommended",
    data: Annotated[
        str,
        typer.Option(
            help="Folder with geoscf/, 'demo' for the synthetic archive, 'nature' for more "
            "blocks of its nature run, each in a climate of its own, or 'demo+nature'."
        ),
    ] = "demo",
    train_years: Annotated[
        str | None, typer.Option(help="Years to learn from, such as 2018-2019.")
    ] = None,
    valid_years: Annotated[
        str | None,
        typer.Option(help="Years to validate on; every fifth block of days if absent."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length in steps: repeatable.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length in minutes instead.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples in a step.")] = None,
    crop: Annotated[
        int | None, typer.Option(help="Edge of a sample, fine grid steps, a multiple of 12.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and samples.")] = None,
    normalisation: Annotated[
        str | None, typer.Option(help="linear, sqrt or log; xvfi takes linear only.")
    ] = None,
    degrade: Annotated[
        str | None, typer.Option(help="Operator in space: imresize, mean or node.")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Decay of the running mean of the weights, 0 for none.")
    ] = None,
    amp: Annotated[bool | None, typer.Option("--amp", help="Convolve in bfloat16.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of this process.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="KEY=VALUE, any other setting of a training, in JSON; repeatable."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the best weights here too, in half precision, to be shipped."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out.")
    ] = False,
    debug: Annotated[  # noqa: ARG001 - read by the runner, so that every command has it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Train a network, beside interpolation that learns nothing.

    Examples: `deepcams-models train xvfi --preset small --data demo --out out/xvfi`;
    on four GPUs, `torchrun --nproc-per-node 4 -m deepcams_models train …`.
    """
    given: dict[str, Any] = {
        "steps": steps,
        "minutes": minutes,
        "batch": batch,
        "crop": crop,
        "lr": lr,
        "seed": seed,
        "normalisation": normalisation,
        "degrade": degrade,
        "ema": ema,
        "amp": amp,
        "threads": threads,
        "train_years": _years(train_years, "--train-years"),
        "valid_years": _years(valid_years, "--valid-years"),
    }
    values = {name: value for name, value in given.items() if value is not None}
    values |= {"network": network, "preset": preset, "data": data, **_parsed(more or ())}
    settings = TrainSettings.make(values)
    out = _folder(out, settings, resume=resume)
    with processes():
        trainer = Trainer(settings, out, command=shlex.join(["deepcams-models", *sys.argv[1:]]))
        if resume:
            trainer.resume()
        try:
            with _shown(trainer.rank == 0) as tell:
                result = trainer.run(tell)
        except KeyboardInterrupt:
            typer.echo(f"interrupted: {out / STATE} is kept; add --resume to go on", err=True)
            raise
    if trainer.rank == 0:
        for line in summary(result, synthetic=trainer.train.synthetic):
            typer.echo(line)
        typer.echo(f"best weights: {out / BEST}.safetensors")
        if export is not None:
            module, card = load(out / BEST)
            typer.echo(f"half precision: {save(export, module, card, half=True)}")


def summary(result: Validation, *, synthetic: bool) -> list[str]:
    """Return the scores on the held-out maps as lines."""
    lines = ["SYNTHETIC data: nothing here says anything about a real product"] if synthetic else []
    lines.append("held-out maps, ug m-3")
    for name, scores in (*result.baselines.items(), ("network", result.network)):
        lines.append(
            f"  {name:<11}  RMSE = {scores.rmse:.4f}  MAE = {scores.mae:.4f}"
            f"  PSNR = {scores.psnr:.3f} dB"
        )
    if result.motion is not None:
        lines.append(f"  mean length of the flow: {result.motion:.3f} grid steps")
    return lines


def _years(text: str | None, option: str) -> tuple[int, ...] | None:
    return None if text is None else parse_numbers(text, option, 1900, 2200)


def _parsed(pairs: Sequence[str]) -> dict[str, Any]:
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair!r} has no value", hint="write --set KEY=VALUE")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    return values


def _folder(out: Path | None, settings: TrainSettings, *, resume: bool) -> Path:
    if out is None and resume:
        raise InputError("--resume goes on with a folder", hint="name it with --out")
    if out is None:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise InputError("several processes share a folder", hint="name it with --out")
        now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return Path("reports") / f"{settings.network}-{settings.preset}-{now}"
    if (out / STATE).exists() and not resume:
        raise InputError(
            "holds a training already", path=out, hint="add --resume, or name another --out"
        )
    return out


@contextmanager
def _shown(visible: bool) -> Iterator[Any]:
    """Show a bar on stderr, and a line at each validation."""
    console = Console(stderr=True)
    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.1f} steps/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    quiet = not (visible and console.is_terminal)
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task("train", total=1.0, step=0, loss=float("nan"), speed=0.0)

        def tell(report: Report) -> None:
            speed = report.step / max(report.seconds, 1e-9)
            bar.update(
                task, completed=report.share, step=report.step, loss=report.loss, speed=speed
            )
            if report.validation is not None and visible:
                typer.echo(f"step {report.step}: {_line(report.validation)}", err=True)

        yield tell


def _line(result: Validation) -> str:
    scores = {**result.baselines, "network": result.network}
    return "  ".join(f"{name} {one.rmse:.4f}/{one.mae:.4f}" for name, one in scores.items())
