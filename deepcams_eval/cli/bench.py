"""``deepcams-bench``: the published benchmark, examined and repeated."""

from __future__ import annotations

from deepcams_eval.cli.audit import audit
from deepcams_eval.cli.methods import methods
from deepcams_eval.cli.running import make_app, run_app
from deepcams_eval.cli.simulation import simulation

app = make_app("Benchmark the downscaling of PM2.5 in time and space against honest baselines.")
app.command()(audit)
app.command()(methods)
app.command()(simulation)


def main() -> None:
    """Run ``deepcams-bench``."""
    run_app(app)
