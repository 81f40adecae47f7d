"""``deepcams-models``: trains the networks, and makes hourly fine maps with them."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from deepcams_eval.api import lies_in_demo
from deepcams_eval.cli.running import STATED_ERROR, make_app, parse_numbers, progress_bar, run_app
from deepcams_eval.errors import InputError
from deepcams_eval.read.product import ProductSpec
from deepcams_models.methods import INSTALL
from deepcams_models.produce import Produced, ProduceSettings
from deepcams_models.produce import produce as make_product
from deepcams_models.store import is_netcdf

_GAPS_PRINTED = 10


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
    debug: Annotated[  # noqa: ARG001 - read by the runner, so that every command has it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Turn CAMS maps into hourly maps at a third of the spacing: time, then space.

    Example: `deepcams-models produce --cams cams/2019.nc --years 2019 --out pm25.zarr`
    """
    settings = ProduceSettings(
        cams=ProductSpec.parse(f"cams={cams}"),
        out=out,
        years=() if years is None else parse_numbers(years, "--years", 1900, 2200),
        part=_part(part),
        temporal=temporal,
        spatial=spatial,
        xvfi=xvfi,
        abpn=abpn,
        allow_registration=_operator(allow_registration),
        resume=resume,
    )
    if threads is not None:
        _set_threads(threads)
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
    for line in summary(made, settings, synthetic=synthetic):
        typer.echo(line)


def summary(made: Produced, settings: ProduceSettings, *, synthetic: bool) -> Iterator[str]:
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


def make_models_app() -> typer.Typer:
    """Return the command line with its commands."""
    # Training imports torch at once, which `main` has looked for.
    from deepcams_models.train_cli import train

    app = make_app("Trains the networks of deepcams and makes hourly maps with them.")
    app.command()(train)
    app.command()(produce)
    return app


def main() -> None:
    """Run ``deepcams-models``."""
    missing = [one for one in ("torch", "safetensors") if importlib.util.find_spec(one) is None]
    if missing:
        needed = " and ".join(missing)
        print(
            f"error: deepcams-models needs {needed}, not installed here; {INSTALL}", file=sys.stderr
        )
        raise SystemExit(STATED_ERROR)
    run_app(make_models_app())


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


def _set_threads(count: int) -> None:
    if importlib.util.find_spec("torch") is None:
        raise InputError("the networks need torch, which is not installed", hint=INSTALL)
    import torch

    torch.set_num_threads(count)


def _lasting(arguments: list[str]) -> list[str]:
    """Return the arguments without those that may differ between runs that share a store."""
    kept: list[str] = []
    skip = False
    for one in arguments:
        if skip:
            skip = False
        elif one in ("--part", "--threads"):
            skip = True
        elif one not in ("--resume", "--debug") and not one.startswith(("--part=", "--threads=")):
            kept.append(one)
    return kept
