"""``deepcams-bench``: the published benchmark, examined and repeated."""

from __future__ import annotations

import typer

from deepcams_eval import __version__
from deepcams_eval.cli.audit import audit
from deepcams_eval.cli.running import run_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"deepcams {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Benchmark the downscaling of PM2.5 in time and space against honest baselines."""


app.command()(audit)


def main() -> None:
    """Run ``deepcams-bench``."""
    run_app(app)
