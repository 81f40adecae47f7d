"""What every command shares: stated errors, exit codes, progress, workers."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from deepcams_eval import __version__
from deepcams_eval.errors import DeepcamsError, DeepcamsWarning, InputError
from deepcams_eval.pair.colocate import Compute

STATED_ERROR, INTERRUPTED = 1, 130

_WHOLE_OR_NOTHING = ("openaq", "audit", "methods")
"""Commands that leave nothing behind when they are interrupted; others say what they keep."""

ReportProgress = Callable[[str, int, int], None]


def make_app(purpose: str) -> typer.Typer:
    """Return a command line without commands, with ``--version`` and `purpose` as its help."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help=purpose,
    )

    @app.callback()
    def _root(
        version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ) -> None:
        pass

    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"deepcams {__version__}")
        raise typer.Exit


def run_app(app: typer.Typer) -> None:
    """Run a command line and exit: 0 done, 1 a stated error, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in sys.argv
    warnings.showwarning = _show_warning
    try:
        app()
    except DeepcamsError as error:
        _stop(str(error), STATED_ERROR, debug)
    except OSError as error:
        # A full disk, a folder without permission: the system says which file.
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}; free space or choose another place with --out"
        _stop(text, STATED_ERROR, debug)
    except SystemExit as stop:
        # The command-line library turns Ctrl-C into this exit without a word.
        if stop.code == INTERRUPTED:
            nothing = "; nothing was written" if set(sys.argv[1:2]) & set(_WHOLE_OR_NOTHING) else ""
            print(f"error: interrupted{nothing}", file=sys.stderr)
        raise


def parse_numbers(text: str, option: str, low: int, high: int) -> tuple[int, ...]:
    """Return the numbers of a list such as ``2017-2019`` or ``1,2,12``, sorted.

    Raises
    ------
    typer.BadParameter
        If a part is no number or range within [low, high].
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if match is None or first > last or first < low or last > high:
            raise typer.BadParameter(
                f"{part!r} is no number or range from {low} to {high}; write {option} "
                f"{low + 1}-{low + 3} or {low + 1},{low + 3}"
            )
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Return west, south, east, north of ``W,S,E,N`` in degrees.

    Raises
    ------
    typer.BadParameter
        If there are not four numbers, or they are no box.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not W,S,E,N in degrees") from None
    if not (-90 <= south < north <= 90 and -180 <= west <= 360 and -180 <= east <= 360):
        raise typer.BadParameter(
            f"{text!r} is no box: south < north within ±90, west and east within -180 to 360"
        )
    return west, south, east, north


@contextmanager
def progress_bar() -> Iterator[ReportProgress]:
    """Show the progress of named steps on stderr; nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield report


@contextmanager
def dask_compute(workers: int, scheduler: str | None) -> Iterator[Compute | None]:
    """Give what runs dask tasks: None for this process, else worker processes or a cluster.

    Raises
    ------
    InputError
        If the scheduler does not answer.
    """
    if scheduler is None and workers <= 1:
        yield None
        return
    from distributed import Client, LocalCluster  # slow to import, and often not needed

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise InputError(
                f"the Dask scheduler {scheduler!r} does not answer ({error})",
                hint="start one with 'dask scheduler' and give its tcp:// address",
            ) from error
        cluster = None
    else:
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        client = Client(cluster)

    def compute(tasks: Sequence[Any]) -> Sequence[Any]:
        results: Sequence[Any] = client.gather(client.compute(list(tasks)))
        return results

    try:
        yield compute
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def _stop(text: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("error: " + " ".join(text.split()), file=sys.stderr)
    raise SystemExit(code)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature is the standard library's
    line: str | None = None,
) -> None:
    if issubclass(category, DeepcamsWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(text, file=sys.stderr, end="")
