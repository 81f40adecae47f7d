"""``deepcams-eval fetch openaq``: stations by the API, measurements by the public archive."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepcams_eval.cli.running import ReportProgress, parse_box, parse_numbers, progress_bar
from deepcams_eval.errors import InputError

if TYPE_CHECKING:
    from deepcams_eval.fetch.openaq import Estimate
    from deepcams_eval.fetch.openaq_catalogue import Catalogue

API_VARIABLE, ARCHIVE_VARIABLE = "DEEPCAMS_OPENAQ_API", "DEEPCAMS_OPENAQ_ARCHIVE"

_ASK_ABOVE_OBJECTS, _ASK_ABOVE_BYTES = 100_000, 10_000_000_000


def fetch_openaq(
    years: Annotated[str, typer.Option(help="Years, such as 2017-2019 or 2017,2019.")],
    countries: Annotated[
        str | None, typer.Option(help="Two-letter codes, such as BE,FR; all if absent.")
    ] = None,
    bbox: Annotated[
        str | None, typer.Option(help="Stations in the box W,S,E,N in degrees only.")
    ] = None,
    reference_only: Annotated[
        bool, typer.Option("--reference-only", help="Only stations with a reference monitor.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder in the standard layout; $DEEPCAMS_DATA or ./data if absent."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File that holds the key; $OPENAQ_API_KEY if absent.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print objects, bytes and hours, and fetch nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before a fetch above 10 GB or 100,000 files.")
    ] = False,
    debug: Annotated[  # noqa: ARG001 - read by the runner, so that every command has it
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Fetch PM2.5 of OpenAQ: stations and instruments by its API, data by its public archive.

    The many small files of the archive become one Parquet file a month and some stations, with a
    manifest of what it came from. Only what is new or changed there is fetched. Interrupted, the
    same command goes on. One local day more is fetched on each side of the years.

    A mirror is named by DEEPCAMS_OPENAQ_API (an HTTPS address) and DEEPCAMS_OPENAQ_ARCHIVE
    (s3://BUCKET, https://HOST/BUCKET or file:///FOLDER).

    Example: `deepcams-eval fetch openaq --years 2017-2019 --countries BE,NL --data data`
    """
    from deepcams_eval.cli.fetch import data_folder, finish, optional_packages

    with optional_packages():
        from deepcams_eval.fetch.openaq import Services
        from deepcams_eval.fetch.openaq import fetch_openaq as fetch
        from deepcams_eval.fetch.openaq_archive import ARCHIVE, Archive
        from deepcams_eval.fetch.openaq_catalogue import API, Wanted, find_key, find_stations
        from deepcams_eval.fetch.openaq_compact import check_table
    wanted = Wanted(
        years=parse_numbers(years, "--years", 2013, 2200),
        countries=_countries(countries),
        bbox=None if bbox is None else parse_box(bbox),
        reference_only=reference_only,
    )
    folder = data_folder(data)
    key = find_key(key_file)
    api = os.environ.get(API_VARIABLE) or API
    archive = Archive(os.environ.get(ARCHIVE_VARIABLE) or ARCHIVE, check=check_table)
    began = time.monotonic()
    bars = ExitStack()
    shown: dict[str, ReportProgress] = {}

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
            outcome = fetch(
                wanted,
                folder,
                Services(lambda wanted: find_stations(wanted, key, api=api), archive),
                confirm=confirm,
                report=report,
                dry_run=dry_run,
            )
    except KeyboardInterrupt:
        typer.echo("stopped: the same command goes on from here", err=True)
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
