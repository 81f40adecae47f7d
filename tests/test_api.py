"""The functions for notebooks: what they find, where they stand, and the examples they show."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepcams_eval as dc
from deepcams_eval import api
from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.demo import DemoSettings
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.evidence.run import InsituRun
from deepcams_eval.options import InsituOptions, SimulationOptions
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_eval.report import notebook
from tests.test_cli_openaq import write_cams, write_stations

pytestmark = pytest.mark.usefixtures("undrawn")

LIKE_MODULES = """
import sys
import deepcams_eval as dc
heavy = {"geopandas", "matplotlib", "numpy", "pandas", "torch", "xarray"} & set(sys.modules)
assert not heavy, heavy
import deepcams_eval.bench.run, deepcams_eval.validation
from deepcams_eval.bench import tables
assert dc.insitu.__module__ == dc.simulation.__module__ == "deepcams_eval.api"
from deepcams_eval import insitu, simulation
assert (insitu, simulation) == (dc.insitu, dc.simulation)
assert {"insitu", "simulation", "demo_archive"} <= set(dir(dc))
assert not hasattr(dc, "nothing_of_that_name")
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DemoSettings.small(stations=12, days_per_month=1)
    return dc.demo_archive(settings, cache=tmp_path_factory.mktemp("cache"), workers=1)


@pytest.fixture(scope="module")
def result(archive: Path) -> InsituRun:
    return dc.insitu([2020, 2019], data=archive, seed=5)


@pytest.mark.parametrize("first", ["", "import deepcams_eval.validation, deepcams_eval.bench"])
def test_functions_keep_their_names_beside_modules_called_alike(first: str) -> None:
    light = "assert not heavy, heavy\n"
    code = LIKE_MODULES.replace(light, light if not first else f"{first}\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class TestInsitu:
    def test_scores_are_those_of_the_pairs(self, result: InsituRun) -> None:
        pairs = result.pairs
        for year in (2019, 2020):
            mine = pairs[pairs["time_start"].dt.year == year]
            products = [name for name in ("cams", "deepcams", "geoscf") if mine[name].notna().any()]
            common = mine.dropna(subset=products)
            rows = result.scores.query(
                f"stratum == 'year' and value == '{year}' and sample == 'common'"
            ).set_index("product")
            for name in products:
                observed, estimate = common["observed"], common[name].astype(float)
                error = estimate - observed
                assert rows["n"][name] == len(common) > 50
                assert rows["r"][name] == pytest.approx(np.corrcoef(observed, estimate)[0, 1])
                assert rows["rmse"][name] == pytest.approx(np.sqrt((error**2).mean()))

    def test_every_table_is_there(self, result: InsituRun) -> None:
        assert set(result.differences["product"]) == {"deepcams", "geoscf"}
        assert set(result.lags["lag_h"]) >= {-3, 0, 3}
        assert "rows_out" in set(result.qc["rule"])
        assert set(result.coverage["year"]) == {2019, 2020}
        assert set(result.stations["station_id"]) == set(result.pairs["station_id"])
        assert set(result.evidence) >= {"added_value", "uncertainty", "sensitivity"}
        assert all(isinstance(note, str) for note in result.notes)

    def test_what_is_shown_in_a_notebook(self, result: InsituRun) -> None:
        page = result._repr_html_()
        whole = result.scores.query("stratum == 'all' and sample == 'common'")
        assert "SYNTHETIC" in page
        for row in whole.itertuples():
            assert f"<td>{row.product}</td>" in page
            assert f"<td>{row.n:,}</td>" in page
        assert repr(result).startswith("<InsituRun of cams, deepcams, geoscf: ")
        assert "SYNTHETIC" in repr(result)

    def test_saved_files_are_those_of_the_command(self, result: InsituRun, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert result.save(out) == out / "report.html"
        scores = pd.read_csv(out / "scores.csv", dtype={"value": str})
        pd.testing.assert_series_equal(scores["rmse"], result.scores["rmse"], check_index=False)
        assert len(pd.read_parquet(out / "pairs.parquet")) == len(result.pairs)
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
        assert run["synthetic"] is True
        assert run["command"].startswith("deepcams_eval.insitu(years=(2019, 2020), data=PosixPath(")
        assert "seed=5" in run["command"]
        with pytest.raises(InputError, match="no earlier report"):
            result.save(tmp_path)

    def test_options_arrive(self, archive: Path, result: InsituRun) -> None:
        country = str(result.stations["country"].mode()[0])
        other = dc.insitu(
            np.int64(2019),
            data=archive,
            months=3,
            countries=country.lower(),
            products={"hourly": "linear:cams"},
            baseline="geoscf",
            sample="own",
            reference_only=True,
            qc={"limit_ug_m3": 80.0, "disabled": ["stuck"]},
            average="day",
            added_value=False,
            sensitivity=False,
        )
        assert set(other.stations["country"]) == {country}
        starts = other.pairs["time_start"]
        assert set(starts.dt.year) == {2019}
        assert set(starts.dt.month) == {3}
        assert 20.0 < other.pairs["observed"].max() <= 80.0
        assert set(other.differences["baseline"]) == {"geoscf"}
        assert "hourly" in other.pairs
        assert set(result.evidence) - set(other.evidence) == {"added_value", "sensitivity"}
        assert 0 < len(other.scored) < len(other.pairs) / 18
        length = other.scored["time_end"] - other.scored["time_start"]
        assert (length == pd.Timedelta("1D")).all()
        assert set(other.qc.loc[other.qc["stage"] == "rule (off)", "rule"]) == {"stuck"}

    def test_shifted_times_are_counted(self, archive: Path, result: InsituRun) -> None:
        provider = result.stations["provider"].iloc[0]
        quick = {"added_value": False, "sensitivity": False}
        moved = dc.insitu(2019, data=archive, shifts={provider: -1.0}, **quick)
        counted = moved.qc.set_index("rule")["flagged"]["assumed_time_shift"]
        own = moved.observations
        assert own is not None
        mine = own.stations.loc[own.stations["provider"] == provider, "station_id"]
        assert counted == own.table["station_id"].isin(mine).sum() > 100

    def test_own_files_are_not_called_synthetic(self, tmp_path: Path) -> None:
        folder = write_stations(tmp_path / "openaq", stations=3, hours=60)
        product = write_cams(tmp_path / "cams.nc")
        run = dc.insitu(2018, observations=folder, products={"cams": product}, sensitivity=False)
        assert not run.synthetic
        assert "SYNTHETIC" not in run._repr_html_()
        assert len(run.stations) == 3

    @pytest.mark.parametrize(
        "wrong, said",
        [
            ({"sample": "both"}, "sample is 'both'"),
            ({"average": "week"}, "average is 'week'"),
            ({"qc": {"limit": 3}}, "limit"),
            ({"baseline": "absent"}, "absent"),
            ({"shifts": {"Nobody": 1.0}}, "Nobody"),
            ({"products": {"a b": "x.nc"}}, "a b"),
        ],
    )
    def test_what_cannot_be_is_said(self, archive: Path, wrong: dict, said: str) -> None:
        with pytest.raises(InputError, match=said):
            dc.insitu(2019, data=archive, **wrong)


class TestPlots:
    def test_a_scatter_is_that_of_its_product_and_year(self, result: InsituRun) -> None:
        rows = result.scores.query("stratum == 'year' and sample == 'common'")
        scores = rows.set_index(["product", "value"])["n"]
        for product, year in (("geoscf", 2019), ("cams", 2020)):
            figure = result.plot.scatter(product, year)
            texts = [text.get_text() for text in figure.axes[0].texts]
            assert any(f"N = {scores[product, str(year)]:,} (" in text for text in texts)
            assert product in figure.axes[0].get_ylabel()
            assert len(result.plot.scatter(product, year, months=True).axes) == 13

    def test_a_scatter_without_pairs_is_refused(self, result: InsituRun) -> None:
        with pytest.raises(NoDataError, match="products: cams, deepcams, geoscf; years: 2019"):
            result.plot.scatter("cams", 2017)
        with pytest.raises(NoDataError, match="deepcams has no pairs in 2020"):
            result.plot.scatter("deepcams", 2020)

    @pytest.mark.parametrize("name, axes", [("months", 3), ("hours", 6), ("lags", 3)])
    def test_curves(self, result: InsituRun, name: str, axes: int) -> None:
        figure = getattr(result.plot, name)()
        assert len([one for one in figure.axes if one.get_visible() and one.lines]) == axes

    def test_a_figure_that_means_over_a_year_do_not_have_is_refused(
        self, result: InsituRun
    ) -> None:
        rows = result.plot.content.scores
        means = rows[~rows["stratum"].isin(["month", "hour"])]
        plot = replace(result.plot, content=replace(result, scores=means))
        assert plot.scatter("cams", 2019).axes
        for draw in (plot.months, plot.hours, lambda: plot.scatter("cams", 2019, months=True)):
            with pytest.raises(NoDataError, match="no figure of the kind"):
                draw()

    def test_no_lags_to_draw_is_said(self, result: InsituRun) -> None:
        plot = replace(result.plot, content=replace(result, answers=()))
        with pytest.raises(InputError, match="no correlation"):
            plot.lags()

    def test_stations(self, result: InsituRun) -> None:
        figure = result.plot.stations()
        drawn = sum(len(one.get_offsets()) for one in figure.axes[0].collections[:2])
        assert 0 < drawn <= len(result.stations)


class TestSimulation:
    def test_a_prediction_is_scored_as_it_was_made(self, archive: Path, tmp_path: Path) -> None:
        truth = open_product(ProductSpec("truth", str(archive / "geoscf"), kind="geoscf")).field
        field = truth.drop_vars(["time_start", "time_end"], errors="ignore") + np.float32(3.25)
        field.attrs = {"units": "ug m-3", "cell_methods": "time: mean"}
        path = tmp_path / "mine.nc"
        xr.Dataset({"pm25": field}).to_netcdf(path)
        result = dc.simulation(
            2020,
            data=archive,
            task="temporal",
            methods=["linear"],
            predictions={"mine": f"{path},freq=1h"},
        )
        whole = result.summary.query("weights == 'none' and aggregate == 'months'")
        mine = whole.set_index("method").loc["mine"]
        assert mine["rmse"] == pytest.approx(3.25, abs=1e-4)
        assert mine["mb"] == pytest.approx(3.25, abs=1e-4)
        assert result.options.train_years is None
        assert set(result.samples["method"]) == {"linear", "mine"}
        assert "rmse_mine" in result.temporal
        assert not result.skill.empty
        assert not result.spectra.empty
        assert result.counts["scored"].sum() > 20
        assert "SYNTHETIC" in result._repr_html_()
        assert "mine" in repr(result)
        with pytest.raises(NoDataError, match="joint task was not scored"):
            result.joint  # noqa: B018 - it is the look at it that is refused

    @pytest.mark.parametrize(
        "wrong, said",
        [
            ({"task": "both"}, "task is 'both'"),
            ({"weights": "mass"}, "weights is 'mass'"),
            ({"train_years": [2019, 2020]}, "2020"),
            ({"task": "temporal", "predictions": {"a": "b.nc,task=spatial"}}, "task spatial"),
            ({"data": "nowhere"}, "nowhere"),
        ],
    )
    def test_what_cannot_be_is_said(self, archive: Path, wrong: dict, said: str) -> None:
        with pytest.raises(InputError, match=said):
            dc.simulation(2020, **{"data": archive, **wrong})


class TestInputs:
    def test_a_named_product_takes_the_place_of_that_in_the_folder(self, archive: Path) -> None:
        mine = ProductSpec.parse("cams=other.nc")
        found = api._located(InsituOptions(2019, data=archive, products=[mine]))
        assert [spec.name for spec in found.products] == ["deepcams", "geoscf", "cams"]
        assert found.products[-1] is mine
        assert found.observations == (archive / "openaq",)
        assert found.stations == archive / "openaq" / "stations.csv"

    def test_the_variable_names_the_folder(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DEEPCAMS_DATA", raising=False)
        with pytest.raises(InputError, match="no data given"):
            dc.insitu(2019)
        with pytest.raises(InputError, match="no truth"):
            dc.simulation(2020)
        monkeypatch.setenv("DEEPCAMS_DATA", str(archive))
        assert api._located(InsituOptions(2019)).observations == (archive / "openaq",)
        assert api._truth_of(api.usual_folder()).path == str(archive / "geoscf")

    @pytest.mark.parametrize("from_variable", [True, False])
    def test_options_of_an_earlier_run_learn_from_the_same_years(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch, from_variable: bool
    ) -> None:
        asked: list[SimulationOptions] = []
        monkeypatch.setattr(api, "simulate", lambda options, *_, **__: asked.append(options))
        monkeypatch.setenv("DEEPCAMS_DATA", str(archive))
        first = SimulationOptions(2020, data=None if from_variable else archive)
        alone = SimulationOptions(2020, truth=str(archive / "geoscf"))
        for options in (first, None, alone):
            api.run_simulation(options or asked[0], "", MonthStore(archive / "none"))
        assert [one.train_years for one in asked] == [None, None, ()]

    def test_a_ready_prediction_is_checked_against_the_tasks(self) -> None:
        options = SimulationOptions(2020, predictions={"a": "b.nc,task=spatial"})
        with pytest.raises(InputError, match="'a' of the task spatial, and only temporal is run"):
            replace(options, task="temporal")

    def test_an_option_that_is_not_set_yet_is_no_attribute(self) -> None:
        assert not hasattr(object.__new__(InsituOptions), "years")

    def test_help_shows_types_that_a_reader_knows(self) -> None:
        said = inspect.signature(dc.insitu).parameters
        assert said["years"].annotation == "int | str | Iterable[int]"
        assert said["stations"].annotation == "Path | str | None"
        assert "    products : Mapping[str, Path | str]" in str(dc.insitu.__doc__)

    def test_what_is_missing_is_named(self, archive: Path, tmp_path: Path) -> None:
        (tmp_path / "cams").mkdir()
        for function, given, said in (
            (dc.insitu, {"data": tmp_path}, "no observations"),
            (dc.insitu, {"observations": archive / "openaq"}, "has no product"),
            (dc.simulation, {"data": tmp_path}, "no folder geoscf"),
        ):
            with pytest.raises(InputError, match=said):
                function(2020, **given)
        assert api.lies_in_demo(archive / "cams" / "any.nc")
        assert not api.lies_in_demo(tmp_path)


@pytest.mark.parametrize("module", [dc, api, notebook], ids=lambda one: one.__name__)
def test_every_example_in_the_documents_runs(
    module: ModuleType, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = [one for one in doctest.DocTestFinder().find(module) if one.examples]
    said: list[str] = []
    runner = doctest.DocTestRunner()
    for one in found:
        for example in one.examples:
            example.source = example.source.replace('"demo"', repr(str(archive)))
        runner.run(one, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    shown = {one.name.removeprefix(f"{module.__name__}.") for one in found}
    expected = {
        dc: {"deepcams_eval"},
        api: {"insitu", "simulation"},
        notebook: {"InsituPlots", "Saved.save"},
    }
    assert shown == expected[module]
