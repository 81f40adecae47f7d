"""A metric is one entry of the registry: nothing else has to know of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepcams_eval.cli.evaluate import app
from deepcams_eval.core.arrays import divide
from deepcams_eval.score.metrics import METRICS, Metric
from deepcams_eval.score.moments import Moments
from tests.hourly_pairs import hourly, write_pairs

pytestmark = pytest.mark.usefixtures("undrawn")

OWN = Metric(
    "nmae",
    "NMAE",
    lambda sums: divide(sums.absolute_error, sums.n * sums.mean_o),
    ("n", "mean_o", "absolute_error"),
    "normalised mean absolute error Σ|M−O|/ΣO",
    better="low",
    tabulated=True,
)


def test_a_registered_metric_reaches_every_file_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, OWN.key, OWN)
    pairs = hourly(12, stations=6)
    saved, out = write_pairs(tmp_path / "pairs.parquet", pairs), tmp_path / "out"
    options = ["--out", str(out)]
    done = CliRunner().invoke(app, ["score", str(saved), *options])
    assert done.exit_code == 0, done.output

    scores = pd.read_csv(out / "scores.csv")
    row = scores.query("product == 'fine' and stratum == 'all' and sample == 'own'").iloc[0]
    observed = pairs.table["observed"]
    error = np.abs(pairs.table["fine"].astype(float) - observed)
    assert row["nmae"] == pytest.approx(error.sum() / observed.sum())
    assert list(scores)[list(scores).index("intercept") + 1] == "nmae"
    with (out / "tables" / "years.csv").open(newline="", encoding="utf-8") as stream:
        assert "nmae" in next(csv.reader(stream))
    text = (out / "report.html").read_text(encoding="utf-8")
    assert OWN.definition in text
    assert text.count("NMAE") > 2  # definition, table of years, table of months


def test_a_metric_names_sums_that_there_are() -> None:
    with pytest.raises(ValueError, match="wind"):
        Metric("x", "X", OWN.function, ("n", "wind"), "of the wind")


@pytest.mark.parametrize("key", list(METRICS))
def test_a_metric_needs_the_sums_that_it_declares_and_no_other(key: str) -> None:
    rng = np.random.default_rng(2)
    observed = rng.gamma(2, 8, 90)
    known = Moments.of(observed, 0.7 * observed + rng.gamma(2, 3, 90))
    metric = METRICS[key]
    sums = {name: getattr(known, name) for name in metric.needs} | {"n": known.n}
    if "cross" in sums:
        sums["cross"] = known.ss_o
    assert np.isfinite(metric(Moments.only(**sums))).all()
    for name in metric.needs:
        without = {**sums, name: np.full(1, np.nan)}
        assert np.isnan(metric(Moments.only(**without))).all(), name
