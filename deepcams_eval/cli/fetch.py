"""``deepcams-eval fetch``: the data at their source, into the standard layout."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.progress import TextColumn

from deepcams_eval.cli.running import (
    INSTALL,
    STATED_ERROR,
    Data,
    bar_on_stderr,
    command,
    data_folder,
    parse_box,
    parse_numbers,
    progress_bar,
)
from deepcams_eval.errors import InputError
from deepcams_eval.fetch.local import Asked, Outcome, Plan, find_openaq_key
from deepcams_eval.options import Progress as Tell

if TYPE_CHECKING:
    from deepcams_eval.fetch.http import Transfer
    from deepcams_eval.fetch.openaq import Estimate
    from deepcams_eval.fetch.openaq_catalogue import Catalogue

API_VARIABLE, ARCHIVE_VARIABLE = "DEEPCAMS_OPENAQ_API", "DEEPCAMS_OPENAQ_ARCHIVE"

_Asked = TypeVar("_Asked", bound=Asked)
_SHOWN = 20
_RESUMES = "stopped: the same command resumes from here"
_ASK_ABOVE_OBJECTS, _ASK_ABOVE_BYTES = 100_000, 10_000_000_000

Years = Annotated[str, typer.Option(help="Years, such as 2017-2019 or 2017,2019.")]
Months = Annotated[str | None, typer.Option(help="Months of each year, such as 6-8.")]
Bbox = Annotated[str | None, typer.Option(help="The box W,S,E,N in degrees only.")]
KeyFile = Annotated[
    Path | None, typer.Option(help="File that holds the key; $OPENAQ_API_KEY if absent.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be fetched, and fetch nothing.")
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Fetch data at their source into the standard layout; what is there is not fetched again.",
)


def _flag(name: str, help: str) -> Any:
    return typer.Option(False, f"--{name}", help=help)


def _value(help: str) -> Any:
    return typer.Option(None, help=help)


@app.command()
@command()
def openaq(
    years: Years,
    countries: str | None = _value("Two-letter codes, such as BE,FR; all if absent."),
    bbox: str | None = _value("Stations in the box W,S,E,N in degrees only."),
    reference_only: bool = _flag("reference-only", "Only stations with a reference monitor."),
    data: Data = None,
    key_file: KeyFile = None,
    dry_run: bool = _flag("dry-run", "Print objects, bytes and hours, and fetch nothing."),
    yes: bool = _flag("yes", "Do not ask before a fetch above 10 GB or 100,000 files."),
) -> None:
    """Fetch PM2.5 of OpenAQ: stations and instruments by its API, data by its public archive.

    The many small files of the archive become one Parquet file a month and some stations, with a
    manifest of what it came from. Only what is new or changed there is fetched. Interrupted, it is
    resumed by the same command. One local day more is fetched on each side of the years.

    A mirror is named by DEEPCAMS_OPENAQ_API (an HTTPS address) and DEEPCAMS_OPENAQ_ARCHIVE
    (s3://BUCKET, https://HOST/BUCKET or file:///FOLDER).

    Example: `deepcams-eval fetch openaq --years 2017-2019 --countries BE,NL --data data`
    """
    with optional_packages():
        from deepcams_eval.fetch.openaq import fetch_openaq
        from deepcams_eval.fetch.openaq_archive import ARCHIVE, Archive
        from deepcams_eval.fetch.openaq_catalogue import API, Wanted, find_stations
        from deepcams_eval.fetch.openaq_compact import check_table
    wanted = Wanted(
        years=parse_numbers(years, "--years", 2013, 2200),
        countries=_countries(countries),
        bbox=parse_box(bbox),
        reference_only=reference_only,
    )
    folder = data_folder(data)
    key = find_openaq_key(key_file)
    api = os.environ.get(API_VARIABLE) or API
    archive = Archive(os.environ.get(ARCHIVE_VARIABLE) or ARCHIVE, check=check_table)
    began = time.monotonic()
    bars = ExitStack()
    shown: dict[str, Tell] = {}

    def confirm(estimate: Estimate, catalogue: Catalogue) -> bool:
        bars.close()  # a question in between would be painted over
        _print_estimate(estimate, catalogue)
        return yes or dry_run or _confirmed(estimate)

    def report(step: str, done: int, total: int) -> None:
        # One bar for each phase: a live display cannot be shown beside another.
        phase = "listing" if step == "listing" else "objects"
        if phase not in shown:
            shown[phase] = bars.enter_context(progress_bar())
        shown[phase](step, done, total)

    try:
        with bars:
            outcome = fetch_openaq(
                wanted,
                folder,
                lambda wanted: find_stations(wanted, key, api=api),
                archive,
                confirm=confirm,
                report=report,
                dry_run=dry_run,
            )
    except KeyboardInterrupt:
        typer.echo(_RESUMES, err=True)
        raise
    finally:
        archive.close()
    if outcome is None:
        return
    seconds = max(time.monotonic() - began, 1e-3)
    typer.echo(
        f"{outcome.fetched / seconds:,.0f} objects/s, {outcome.bytes / seconds / 1e6:.1f} MB/s"
    )
    finish(outcome, folder / "openaq")


@app.command()
@command()
def cams(
    years: Years,
    months: Months = None,
    bbox: Bbox = None,
    data: Data = None,
    dry_run: DryRun = False,
    workers: Annotated[int, typer.Option(min=1, help="Requests in the queue at a time.")] = 4,
) -> None:
    """Fetch CAMS EAC4 from the Atmosphere Data Store: a request and a file a month.

    The day after the last month comes too, in a file of its own: the last interval ends there.
    The key is that of cdsapi: CDSAPI_URL and CDSAPI_KEY, or ~/.cdsapirc. An interrupted fetch
    resumes the requests it had made.

    Example: `deepcams-eval fetch cams --years 2017-2019 --data data`
    """
    with optional_packages():
        from deepcams_eval.fetch.cams import CamsSettings, fetch_cams, plan_cams
    settings = CamsSettings(
        folder=data_folder(data) / "cams",
        years=parse_numbers(years, "--years", 2003, 2200),
        months=_months(months),
        bbox=parse_box(bbox),
        workers=workers,
    )
    plan = plan_cams(settings)
    names = [piece.file_name for piece in plan.wanted]
    _fetch_gridded("cams", settings, plan, names, fetch_cams, dry_run=dry_run)


@app.command()
@command()
def geoscf(
    years: Years,
    months: Months = None,
    bbox: Bbox = None,
    collection: Annotated[
        str, typer.Option(help="aqc or chm: both hold the same PM2.5, aqc in smaller files.")
    ] = "aqc",
    data: Data = None,
    dry_run: DryRun = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Files at a time.")] = 4,
) -> None:
    """Fetch GEOS-CF, version 1: a file an hour, PM2.5 alone; with --bbox over OPeNDAP.

    The hour after the last month comes too: the last interval ends there. Other addresses are
    named in DEEPCAMS_GEOSCF_URL (the folder of the years) and DEEPCAMS_GEOSCF_DODS (that of the
    collections).

    Example: `deepcams-eval fetch geoscf --years 2018-2020 --data data`
    """
    with optional_packages():
        from deepcams_eval.fetch.geoscf import (
            COLLECTIONS,
            GeoscfSettings,
            fetch_geoscf,
            file_name,
            plan_geoscf,
        )
    known = {name.partition("_")[0]: name for name in COLLECTIONS}
    if collection not in known:
        raise typer.BadParameter(f"{collection!r} is not aqc or chm", param_hint="--collection")
    settings = GeoscfSettings(
        folder=data_folder(data) / "geoscf",
        years=parse_numbers(years, "--years", 2018, 2200),
        months=_months(months),
        bbox=parse_box(bbox),
        collection=known[collection],
        workers=workers,
    )
    plan = plan_geoscf(settings)
    names = [file_name(settings.collection, stamp) for stamp in plan.wanted]
    _fetch_gridded("geoscf", settings, plan, names, fetch_geoscf, dry_run=dry_run)


@app.command()
@command()
def deepcams(
    years: str | None = _value("Only files whose names hold these years, or none; all if absent."),
    data: Data = None,
    dry_run: DryRun = False,
) -> None:
    """Fetch DeepCAMS as published on Zenodo (record 6381600), checked by its checksums.

    DEEPCAMS_ZENODO_URL names another address of Zenodo.

    Example: `deepcams-eval fetch deepcams --data data`
    """
    with optional_packages():
        from deepcams_eval.fetch.deepcams import fetch_deepcams, plan_deepcams
    folder = data_folder(data) / "deepcams"
    chosen = () if years is None else parse_numbers(years, "--years", 1900, 2200)
    with _watched("deepcams") as transfer:
        if dry_run:
            plan = plan_deepcams(folder, chosen, transfer)
        else:
            outcome = fetch_deepcams(folder, chosen, transfer)
    if dry_run:
        _print_plan("deepcams", folder, plan, [one.name for one in plan.wanted])
    else:
        finish(outcome, folder)


def _fetch_gridded(
    source: str,
    settings: _Asked,
    plan: Plan[Any],
    names: list[str],
    fetch: Callable[[_Asked, Transfer], Outcome],
    *,
    dry_run: bool,
) -> None:
    if dry_run:
        _print_plan(source, settings.folder, plan, names)
        return
    with _watched(source) as transfer:
        outcome = fetch(settings, transfer)
    finish(outcome, settings.folder)


@contextmanager
def optional_packages() -> Iterator[None]:
    """State which package is missing for a fetch, and how it is had."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("deepcams_eval"):
            raise
        raise InputError(f"the package {error.name!r} is not installed", hint=INSTALL) from error


def finish(outcome: Outcome, folder: Path) -> None:
    """Print what a fetch did; exit with 1 if anything is missing."""
    typer.echo(
        f"{outcome.source}: {outcome.fetched:,} files fetched ({_size(outcome.bytes)}), "
        f"{outcome.already_there:,} were there, in {folder}"
    )
    if not outcome.missing:
        return
    typer.echo(f"missing: {len(outcome.missing):,}", err=True)
    _print_first([f"{one.what}: {one.reason}" for one in outcome.missing], err=True)
    typer.echo("run the same command again: only what is missing is fetched", err=True)
    raise typer.Exit(STATED_ERROR)


@contextmanager
def _watched(source: str) -> Iterator[Transfer]:
    """Give a transfer that tells its news on stderr: lines and a bar."""
    from deepcams_eval.fetch.http import Transfer

    with bar_on_stderr(TextColumn("{task.fields[volume]}")) as bar:
        task = bar.add_task(source, total=None, volume="")
        began, count = time.monotonic(), 0

        def on_bytes(more: int) -> None:
            nonlocal count
            count += more
            rate = count / max(time.monotonic() - began, 1e-3)
            bar.update(task, volume=f"{_size(count)} {_size(int(rate))}/s")

        def say(line: str) -> None:
            bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

        def follow(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        transfer = Transfer(on_bytes=on_bytes, say=say, follow=follow)
        try:
            yield transfer
        except KeyboardInterrupt:
            transfer.stop()
            typer.echo(_RESUMES, err=True)
            raise


def _print_plan(source: str, folder: Path, plan: Plan[Any], names: list[str]) -> None:
    _print_first(names)
    typer.echo(
        f"{source}: {len(names):,} files to fetch, at most {_size(plan.bytes_at_most)}; "
        f"{len(plan.there):,} are there, in {folder}"
    )


def _print_first(lines: list[str], *, err: bool = False) -> None:
    for line in lines[:_SHOWN]:
        typer.echo(f"  {line}", err=err)
    if len(lines) > _SHOWN:
        typer.echo(f"  and {len(lines) - _SHOWN:,} more", err=err)


def _countries(text: str | None) -> tuple[str, ...]:
    codes = [] if text is None else [part.strip().upper() for part in text.split(",")]
    bad = [code for code in codes if len(code) != 2 or not code.isascii() or not code.isalpha()]
    if bad:
        raise typer.BadParameter(f"{bad[0]!r} is no two-letter code; write --countries BE,FR")
    return tuple(sorted(set(codes)))


def _print_estimate(estimate: Estimate, catalogue: Catalogue) -> None:
    typer.echo(f"{estimate.stations:,} stations, {len(catalogue.stations):,} PM2.5 sensors")
    if catalogue.counts.get("grade_unknown"):
        typer.echo(f"{catalogue.counts['grade_unknown']:,} sensors of unknown grade")
    typer.echo(
        f"to fetch: {estimate.objects:,} objects, {estimate.bytes / 1e9:,.2f} GB, about "
        f"{estimate.hours:.1f} h at 1,000 objects/s or 10 MB/s; "
        f"{estimate.already_there:,} are there"
    )
    if estimate.unknown:
        typer.echo(f"left out: {estimate.unknown:,} objects with names of another kind")


def _confirmed(estimate: Estimate) -> bool:
    if estimate.objects <= _ASK_ABOVE_OBJECTS and estimate.bytes <= _ASK_ABOVE_BYTES:
        return True
    if not sys.stdin.isatty():
        raise InputError("nobody is there to confirm so large a fetch", hint="add --yes")
    return typer.confirm("fetch them?")


def _months(text: str | None) -> tuple[int, ...]:
    return tuple(range(1, 13)) if text is None else parse_numbers(text, "--months", 1, 12)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
