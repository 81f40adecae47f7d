"""What every command shares: stated errors, exit codes, progress, workers."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar, cast

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from deepcams_eval import __version__
from deepcams_eval.core.folder import check_target
from deepcams_eval.errors import DeepcamsError, DeepcamsWarning, InputError, OptionError
from deepcams_eval.options import MONTHS_AT_A_TIME, Box, Compute, Option, box, numbers, options_of
from deepcams_eval.options import Progress as Tell

if TYPE_CHECKING:
    from deepcams_eval.bench.checkpoints import MonthStore

STATED_ERROR, INTERRUPTED = 1, 130

_WHOLE_OR_NOTHING = ("openaq", "audit", "methods")
"""Commands that leave nothing behind when they are interrupted; others say what they keep."""

Body = TypeVar("Body", bound=Callable[..., None])

INSTALL = 'pip install "deepcams[fetch]"'

Data = Annotated[
    Path | None,
    typer.Option(help="Folder in the standard layout; $DEEPCAMS_DATA or ./data if absent."),
]
Workers = Annotated[int, typer.Option(min=1, help="Worker processes.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler whose workers share this disk, such as tcp://host:8786."
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder of the report; a new one under reports/ if absent.")
]
_DEBUG = inspect.Parameter(
    "debug",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
)


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


def command(record: type | None = None, *, only: Sequence[str] = ()) -> Callable[[Body], Body]:
    """Make a function into a command: with ``--debug``, and refused options as wrong usage.

    Parameters
    ----------
    record : type, optional
        A record of `deepcams_eval.options`: its options stand in the place of the parameter
        ``asked``, which takes those that were given.
    only : sequence of str
        These options alone, each in place of what an earlier run was asked.
    """

    def decorate(body: Body) -> Body:
        options = {} if record is None else options_of(record)
        if only:
            options = {name: options[name] for name in only}
        parameters: list[inspect.Parameter] = []
        for one in inspect.signature(body, eval_str=True).parameters.values():
            if one.name == "asked":
                parameters += [_parameter(option, again=bool(only)) for option in options.values()]
            else:
                parameters.append(one.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        parameters.append(_DEBUG)

        @wraps(body)
        def run(*, debug: bool = False, **given: Any) -> None:  # noqa: ARG001 - the runner reads it
            asked = {name: given.pop(name) for name in options}
            if options:
                given["asked"] = {name: one for name, one in asked.items() if one is not None}
            try:
                body(**given)
            except OptionError as error:
                raise typer.BadParameter(str(error), param_hint=error.flag) from None

        del run.__wrapped__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        return cast("Body", run)

    return decorate


def _parameter(option: Option[Any, Any], *, again: bool) -> inspect.Parameter:
    """Return an option as the command line takes it."""
    plain = isinstance(option.default, bool | int | str) and not again
    default: Any = (option.shown or option.default) if plain else None
    kind: Any = list[str] if option.many else option.of
    if option.required:
        default = inspect.Parameter.empty
    elif default is None:
        kind = kind | None
    flag, help = option.flag, option.help
    if option.of is bool and (again or option.default):
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    if again:
        help = f"{help.removesuffix('.')}; else the run's."
    said = typer.Option(flag, help=help, min=option.least, max=option.most)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, said],
    )


def parse_numbers(text: str, option: str, low: int, high: int) -> tuple[int, ...]:
    """Return the numbers of a list such as ``2017-2019`` or ``1,2,12``, sorted.

    Raises
    ------
    typer.BadParameter
        If a part is no number or range within [low, high].
    """
    try:
        return numbers(low, high)(text)
    except OptionError as error:
        raise typer.BadParameter(f"{option} {error}", param_hint=option) from None


def parse_box(text: str | None) -> Box | None:
    """Return west, south, east, north of ``W,S,E,N`` in degrees, None where there is no text.

    Raises
    ------
    typer.BadParameter
        If there are not four numbers, or they are no box.
    """
    try:
        return None if text is None else box(text)
    except OptionError as error:
        raise typer.BadParameter(f"--bbox {error}", param_hint="--bbox") from None


def data_folder(given: Path | None) -> Path:
    """Return the data folder: the one given, else $DEEPCAMS_DATA, else ./data."""
    return given or Path(os.environ.get("DEEPCAMS_DATA") or "data")


def new_folder(out: Path | None, kind: str, *, resume: bool = False) -> Path:
    """Return the folder of a report, checked: `out`, else a new one under ``reports/``."""
    if resume and out is None:
        raise typer.BadParameter("name the folder of the interrupted run", param_hint="--out")
    target = out or Path("reports") / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    check_target(target)
    return target


def months_at_a_time(workers: int, scheduler: str | None) -> int:
    """Return how many months of a simulation are scored at a time."""
    return workers if scheduler is None else MONTHS_AT_A_TIME


def command_line(program: str) -> str:
    """Return the command as it was typed."""
    return shlex.join([program, *sys.argv[1:]])


def tell(lines: Iterable[str], page: Path) -> None:
    """Print what was found, and where the page is."""
    for line in lines:
        typer.echo(line)
    typer.echo(f"report: {page}")


@contextmanager
def kept_for_later(store: MonthStore, *, named: bool) -> Iterator[None]:
    """Keep the months of a run that breaks off if its report has a name to be resumed under."""
    try:
        yield
    except BaseException as error:
        if not named:
            store.discard()
        elif isinstance(error, KeyboardInterrupt) and store.any():
            typer.echo("the months that are done are kept: add --resume to go on", err=True)
        raise


def bar_on_stderr(*more: ProgressColumn) -> Progress:
    """Return a bar with more columns before the times; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    done = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*done, *more, *times, console=console, disable=not console.is_terminal)


@contextmanager
def progress_bar() -> Iterator[Tell]:
    """Show the progress of named steps on stderr; nothing where that is no terminal."""
    with bar_on_stderr() as bar:
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
