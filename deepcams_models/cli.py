"""``deepcams-models``: trains the networks, and makes hourly fine maps with them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deepcams_eval.api import lies_in_demo
from deepcams_eval.cli.running import STATED_ERROR, make_app, parse_numbers, progress_bar, run_app
from deepcams_eval.downscale.registry import BEST
from deepcams_eval.errors import InputError
from deepcams_eval.read.product import ProductSpec
from deepcams_models.methods import INSTALL, not_installed
from deepcams_models.produce import Produced, ProduceSettings
from deepcams_models.produce import produce as make_product
from deepcams_models.store import is_netcdf

if TYPE_CHECKING:  # these import torch, which `main` looks for first
    from deepcams_models.train import Report
    from deepcams_models.validate import Validation

_GAPS_PRINTED = 10

_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


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
    debug: _Debug = False,
) -> None:
    """Train a network, beside interpolation that learns nothing.

    Examples: `deepcams-models train xvfi --preset small --data demo --out out/xvfi`;
    on four GPUs, `torchrun --nproc-per-node 4 -m deepcams_models train …`.
    """
    options = dict(locals())  # all of them, and nothing else yet
    from deepcams_models.checkpoint import load, save
    from deepcams_models.train import STATE, Trainer, TrainSettings, processes

    options |= {
        "train_years": _years(train_years, "--train-years"),
        "valid_years": _years(valid_years, "--valid-years"),
    }
    names = (name for name in TrainSettings.model_fields if options.get(name) is not None)
    values = {name: options[name] for name in names} | _parsed(more or ())
    settings = TrainSettings.make(values)
    out = _folder(out, f"{network}-{preset}", STATE, resume=resume)
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
        for line in validation_lines(result, synthetic=trainer.train.synthetic):
            typer.echo(line)
        typer.echo(f"best weights: {out / BEST}.safetensors")
        if export is not None:
            module, card = load(out / BEST)
            typer.echo(f"half precision: {save(export, module, card, half=True)}")


def validation_lines(result: Validation, *, synthetic: bool) -> list[str]:
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


def produce(
    cams: Annotated[
        str, typer.Option(help="CAMS maps every three hours, PATH[,key=value]…, in any form.")
    ],
    out: Annotated[Path, typer.Option(help="A Zarr store, or a netCDF file ending in .nc.")],
    years: Annotated[
        str | None, typer.Option(help="Such as 2003-2020; all of the input if absent.")
    ] = None,
    part: Annotated[
        str, typer.Option(help="i/n: this is run i of n that share the store.")
    ] = "1/1",
    temporal: Annotated[str | None, typer.Option(help="Method in time; xvfi if absent.")] = None,
    spatial: Annotated[str | None, typer.Option(help="Method in space; abpn if absent.")] = None,
    xvfi: Annotated[
        Path | None, typer.Option(help="Checkpoint of XVFI instead of the one that is shipped.")
    ] = None,
    abpn: Annotated[
        Path | None, typer.Option(help="Checkpoint of ABPN instead of the one that is shipped.")
    ] = None,
    allow_registration: Annotated[
        str | None,
        typer.Option(
            help="imresize or mean: take CAMS nodes for the middles of cells, as ABPN trained with "
            "that operator does."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the store of an interrupted run.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the networks; all cores if absent.")
    ] = None,
    debug: _Debug = False,  # noqa: ARG001 - read by the runner, so that every command has it
) -> None:
    """Turn CAMS maps into hourly maps at a third of the spacing: time, then space.

    Example: `deepcams-models produce --cams cams/2019.nc --years 2019 --out pm25.zarr`
    """
    settings = ProduceSettings(
        cams=ProductSpec.parse(f"cams={cams}"),
        out=out,
        years=_years(years, "--years") or (),
        part=_part(part),
        temporal=temporal,
        spatial=spatial,
        xvfi=xvfi,
        abpn=abpn,
        allow_registration=_operator(allow_registration),
        resume=resume,
    )
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    synthetic = lies_in_demo(Path(settings.cams.path))
    try:
        with progress_bar() as progress:
            made = make_product(
                settings,
                command=shlex.join(["deepcams-models", *_lasting(sys.argv[1:])]),
                synthetic=synthetic,
                progress=progress,
            )
    except KeyboardInterrupt:
        if not is_netcdf(settings.out):
            typer.echo("the blocks that are done are kept: add --resume to go on", err=True)
        raise
    for line in product_lines(made, settings, synthetic=synthetic):
        typer.echo(line)


def product_lines(made: Produced, settings: ProduceSettings, *, synthetic: bool) -> Iterator[str]:
    """Yield what is printed when a run is done."""
    if synthetic:
        yield "SYNTHETIC data: nothing here says anything about the real atmosphere"
    yield (
        f"{made.hours:,} hours in {made.blocks} blocks: {made.made} made, {made.found} were there"
        f"{'' if made.complete else '; others are still to be made'}"
    )
    for first, last, count in made.missing[:_GAPS_PRINTED]:
        yield f"missing: {first} to {last} UTC ({count} h), for which the input has no maps"
    if len(made.missing) > _GAPS_PRINTED:
        rest = sum(count for _, _, count in made.missing[_GAPS_PRINTED:])
        yield f"missing: {len(made.missing) - _GAPS_PRINTED} more gaps ({rest} h), see the store"
    if made.empty:
        first, last, count = made.empty[0]
        more = f", and {len(made.empty) - 1} more such times" if len(made.empty) > 1 else ""
        yield f"empty: {first} to {last} UTC ({count} h), where maps have no value{more}"
    yield from (f"note: {note}" for note in made.notes)
    yield f"{'store' if not is_netcdf(settings.out) else 'file'}: {settings.out}"


def _part(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise typer.BadParameter(f"{text!r} is no part; write --part 2/8", param_hint="--part")
    return int(index), int(count)


def _operator(name: str | None) -> str | None:
    if name not in (None, "imresize", "mean"):
        raise typer.BadParameter(
            f"{name!r} is not one of imresize, mean", param_hint="--allow-registration"
        )
    return name


def _years(text: str | None, option: str) -> tuple[int, ...] | None:
    return None if text is None else parse_numbers(text, option, 1900, 2200)


def _lasting(arguments: list[str]) -> list[str]:
    """Return the arguments without those that may differ between runs that share a store."""
    numbered = "--part", "--threads"
    before = ["", *arguments[:-1]]
    return [
        one
        for one, last in zip(arguments, before, strict=True)
        if not (one.partition("=")[0] in (*numbered, "--resume", "--debug") or last in numbered)
    ]


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


def _folder(out: Path | None, name: str, state: str, *, resume: bool) -> Path:
    if out is None and resume:
        raise InputError("--resume goes on with a folder", hint="name it with --out")
    if out is None:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise InputError("several processes share a folder", hint="name it with --out")
        now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return Path("reports") / f"{name}-{now}"
    if (out / state).exists() and not resume:
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


def main() -> None:
    """Run ``deepcams-models``."""
    if absent := not_installed():
        said = f"error: deepcams-models needs {absent}, not installed here; {INSTALL}"
        print(said, file=sys.stderr)
        raise SystemExit(STATED_ERROR)
    app = make_app("Trains the networks of deepcams and makes hourly maps with them.")
    app.command()(train)
    app.command()(produce)
    run_app(app)
