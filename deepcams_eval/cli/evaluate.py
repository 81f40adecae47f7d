"""``deepcams-eval``: validation of products against stations."""

from __future__ import annotations

from deepcams_eval.cli.controls import controls
from deepcams_eval.cli.doctor import doctor
from deepcams_eval.cli.fetch import app as fetch
from deepcams_eval.cli.openaq import openaq
from deepcams_eval.cli.paper import make_paper
from deepcams_eval.cli.running import make_app, run_app
from deepcams_eval.cli.score import score

app = make_app(
    "Validate downscaled PM2.5 against stations: scores with intervals, tables and figures."
)
app.command()(openaq)
app.command()(score)
app.command()(controls)
app.command()(doctor)
app.command("paper")(make_paper)
app.add_typer(fetch, name="fetch")


def main() -> None:
    """Run ``deepcams-eval``."""
    run_app(app)
