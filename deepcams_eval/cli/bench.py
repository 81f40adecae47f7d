"""``deepcams-bench``: the published benchmark, examined and repeated."""

from __future__ import annotations

from deepcams_eval.cli.audit import audit
from deepcams_eval.cli.running import make_app, run_app

app = make_app("Benchmark the downscaling of PM2.5 in time and space against honest baselines.")
app.command()(audit)


def main() -> None:
    """Run ``deepcams-bench``."""
    run_app(app)
