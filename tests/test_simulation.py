"""The simulation road: counts, gaps, negative controls, an interrupted run, strangers' methods."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.choice import Chosen, call, fit, said_by
from deepcams_eval.bench.files import describe
from deepcams_eval.bench.frame_scores import Box, box_cells, largest_box
from deepcams_eval.bench.month import MonthResult, Work, score_month
from deepcams_eval.bench.plan import Plan, fitted_to
from deepcams_eval.bench.run import SimulationRun, simulate
from deepcams_eval.core.field import make_field
from deepcams_eval.downscale import Coarse, Downscaler, Target, Training
from deepcams_eval.downscale.degrade import degradation
from deepcams_eval.downscale.joint import Composed
from deepcams_eval.downscale.prediction import Prediction
from deepcams_eval.downscale.spatial import Bicubic
from deepcams_eval.downscale.temporal import Linear
from deepcams_eval.errors import DeepcamsWarning, InputError, NoDataError
from deepcams_eval.options import PredictionSpec, SimulationOptions
from deepcams_eval.read.product import ProductSpec
from tests.travelling import later, moving, stamped_at_end, write

HOUR, HALF = np.timedelta64(1, "h"), np.timedelta64(30, "m")


def hourly(
    start: str, hours: int, *, stamp: str = "mean", without: tuple[int, ...] = ()
) -> xr.DataArray:
    """Make lazy hourly zeros on a small grid."""
    place = np.setdiff1d(np.arange(hours), without)
    begin = np.datetime64(start, "us") + place * HOUR
    mean = stamp == "mean"
    return make_field(
        da.zeros((len(place), 3, 6), dtype=np.float32, chunks=(24, -1, -1)),
        time=begin + HALF if mean else begin,
        latitude=[50.0, 50.25, 50.5],
        longitude=[4.0, 4.25, 4.5, 4.75, 5.0, 5.25],
        stamp=stamp,
        bounds=np.stack([begin, begin + HOUR], axis=1) if mean else None,
    )


def totals(plan: Plan) -> dict[str, dict[str, int]]:
    table = plan.counts(("temporal", "spatial", "joint"))
    assert len(table) == 36
    rest = table["scored"] + table["truth_absent"] + table["interval_incomplete"]
    assert (rest == table["expected"]).all()
    return table.drop(columns="month").groupby("task").sum().to_dict("index")


class TestCounts:
    @pytest.mark.parametrize(
        "after, temporal, joint", [(1, 5856, 8784), (0, 5854, 8781)], ids=["with", "without"]
    )
    def test_leap_year_and_the_first_map_of_the_next(
        self, after: int, temporal: int, joint: int
    ) -> None:
        found = totals(Plan(hourly("2020-01-01", 366 * 24 + after), 2020))
        assert {task: one["scored"] for task, one in found.items()} == {
            "temporal": temporal,
            "spatial": 8784,
            "joint": joint,
        }
        assert found["temporal"]["expected"] == 5856
        assert found["temporal"]["interval_incomplete"] == 5856 - temporal

    def test_the_days_give_what_the_counts_say(self) -> None:
        plan = Plan(hourly("2020-02-27T05:00", 100, without=(10, 31, 50)), 2020)
        days = [day for month in plan.months for day in plan.days(month)]
        found = totals(plan)
        assert sum(len(day.frames) for day in days) == found["spatial"]["scored"] == 97
        intervals = [one for day in days for one in day.intervals]
        assert sum(len(one.inside) for one in intervals) == found["temporal"]["scored"]
        assert sum(1 + len(one.inside) for one in intervals) == found["joint"]["scored"]

    def test_a_kept_frame_that_is_absent_closes_both_intervals_beside_it(self) -> None:
        whole = totals(Plan(hourly("2020-05-01", 24), 2020))["temporal"]["scored"]
        kept = totals(Plan(hourly("2020-05-01", 24, without=(9,)), 2020))["temporal"]
        assert kept["scored"] == whole - 4
        assert kept["interval_incomplete"] == 6

    def test_kept_hours_do_not_depend_on_the_first_frame(self) -> None:
        field = hourly("2020-05-01T02:00", 9)
        (day,) = Plan(field, 2020).days("2020-05")
        starts = field["time_start"].values[[one.before for one in day.intervals]]
        assert list(starts.astype("datetime64[h]").astype(int) % 3) == [0, 0]

    def test_a_halo_ends_at_a_gap(self) -> None:
        plan = Plan(hourly("2020-05-01", 48, without=(6,)), 2020)
        intervals = [one for day in plan.days("2020-05") for one in day.intervals]
        by_start = {plan.around(one, 0)[0]: plan.around(one, 2) for one in intervals}
        # Frames after the sixth have lost one place.
        assert by_start[0] == [0, 3]
        assert by_start[8] == [8, 11, 14, 17]
        assert by_start[14] == [8, 11, 14, 17, 20, 23]

    def test_a_year_without_truth_is_named(self) -> None:
        with pytest.raises(NoDataError, match=r"no hour of 2021; it has 2020"):
            Plan(hourly("2020-05-01", 24), 2021)


@pytest.mark.parametrize(
    "operator, shape, left",
    [
        ("imresize", (97, 169), (96, 168)),
        ("node", (97, 169), (97, 169)),
        ("node", (96, 171), (94, 169)),
        ("mean", (99, 171), (99, 171)),
        *((operator, (721, 1440), (721, 1440)) for operator in ("imresize", "mean", "node")),
    ],
)
def test_what_an_operator_cannot_divide_is_left_out_and_said(operator, shape, left) -> None:
    south, west = (-90, -180) if shape == (721, 1440) else (36, -9)
    latitude = south + 0.25 * np.arange(shape[0])
    longitude = west + 0.25 * np.arange(shape[1])
    field = make_field(
        np.zeros((1, *shape)), time=["2020-01-01"], latitude=latitude, longitude=longitude,
        stamp="point",
    )  # fmt: skip
    fitted, said = fitted_to(degradation(operator), field)
    assert fitted.shape[1:] == left
    assert (said is None) == (shape == left)
    assert fitted["latitude"].values[-1] == latitude[-1]
    assert fitted["longitude"].values[0] == longitude[0]
    degradation(operator).spatial(fitted)


@pytest.fixture(scope="module")
def truth_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of travelling blobs as a netCDF file."""
    path = tmp_path_factory.mktemp("truth") / "truth.nc"
    write(moving(), path)
    return path


def settings(path: Path, **changes: object) -> SimulationOptions:
    base: dict[str, object] = {
        "year": 2020,
        "train_years": (),
        "truth": ProductSpec("truth", str(path)),
        "methods": ("linear", "linear-eq9", "dis", "bicubic", "bicubic-ibp", "linear+bicubic"),
    }
    return SimulationOptions(**{**base, **changes})  # type: ignore[arg-type]


def run(truth: Path, folder: Path, **changes: object) -> SimulationRun:
    """Simulate with some settings changed; the months are kept in `folder`."""
    return simulate(settings(truth, **changes), MonthStore(folder / "months"))


def beside_linear(path: Path) -> dict[str, object]:
    """Return the settings of a run of ``linear`` and of the prediction ``mine`` in `path`."""
    given = PredictionSpec(ProductSpec("mine", str(path)), "temporal")
    return {"task": ("temporal",), "methods": ("linear",), "predictions": (given,)}


def averages(result: SimulationRun, task: str, metric: str = "rmse") -> dict[str, float]:
    table = result.summary
    rows = table[(table["task"] == task) & (table["weights"] == "none")]
    rows = rows[(rows["aggregate"] == "months") & rows["hours"].isin(["all", "inserted"])]
    rows = rows.drop_duplicates("method")
    return dict(zip(rows["method"], rows[metric], strict=True))


def scored(truth: xr.DataArray, *methods: Downscaler, **shown: tuple[str, ...]) -> MonthResult:
    """Score methods in time in March; `shown` names the pair whose largest difference is kept."""
    work = Work(degradation("mean"), {"temporal": methods}, shown)
    return score_month(truth, Plan(truth, 2020), "2020-03", work)


def mean_rmse(truth: xr.DataArray, *methods: Downscaler) -> pd.Series:
    return scored(truth, *methods).samples.groupby("method")["rmse"].mean()


@pytest.fixture(scope="module")
def plain(truth_file: Path, tmp_path_factory: pytest.TempPathFactory) -> SimulationRun:
    return run(truth_file, tmp_path_factory.mktemp("plain"))


class TestControls:
    """What must make scores worse, does."""

    def test_order_of_the_honest_baselines(self, plain: SimulationRun) -> None:
        temporal, spatial = averages(plain, "temporal"), averages(plain, "spatial")
        assert temporal["dis"] < temporal["linear"] < temporal["linear-eq9"]
        assert spatial["bicubic-ibp"] < spatial["bicubic"]

    def test_linear_is_what_numpy_says(self, plain: SimulationRun, truth_file: Path) -> None:
        frames = xr.open_dataset(truth_file)["pm25"].values.astype(float)
        errors = [
            np.sqrt(np.mean(((1 - t) * frames[k] + t * frames[k + 3] - frames[k + step]) ** 2))
            for k in range(0, 72, 3)
            for step, t in ((1, 1 / 3), (2, 2 / 3))
        ]
        assert averages(plain, "temporal")["linear"] == pytest.approx(np.mean(errors), rel=1e-5)

    def test_shuffled_frames(self, plain: SimulationRun, tmp_path: Path) -> None:
        field = moving()
        order = np.random.default_rng(1).permutation(field.sizes["time"])
        path = tmp_path / "shuffled.nc"
        write(field.copy(data=field.data[order]), path)
        result = run(path, tmp_path, task=("temporal",), methods=("linear", "dis"))
        shuffled, sound = averages(result, "temporal"), averages(plain, "temporal")
        assert shuffled["linear"] > 2 * sound["linear"]
        assert shuffled["dis"] > 2 * sound["dis"]

    @pytest.mark.parametrize("shift", ["latitude", "longitude", "time"])
    def test_a_prediction_that_is_shifted_loses_to_itself(self, shift: str) -> None:
        truth = moving(25)
        right = Prediction("right", "temporal", truth)
        moved = truth.copy(data=da.roll(truth.data, 1, axis=truth.get_axis_num(shift)))
        mean = mean_rmse(truth, right, Prediction("wrong", "temporal", moved))
        assert mean["right"] == 0
        assert mean["wrong"] > 0.5

    def test_swapped_t(self) -> None:
        class Swapped(Linear):
            name = "swapped"

            def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
                return target.field(super().__call__(coarse, target).values[::-1])

        mean = mean_rmse(moving(25), Linear(), Swapped())
        assert mean["swapped"] > 1.2 * mean["linear"]

    def test_both_weights_stand_in_the_samples(self, plain: SimulationRun) -> None:
        keys = ["task", "method", "time", "weights"]
        assert not plain.samples.duplicated(keys).any()
        assert set(plain.samples.groupby(keys[:3]).size()) == {2}

    def test_order_of_linear_steps_does_not_matter(self, truth_file: Path, tmp_path: Path) -> None:
        methods = ("linear+bicubic", "bicubic+linear")
        result = run(truth_file, tmp_path, task=("joint",), methods=methods)
        found = averages(result, "joint")
        assert found["linear+bicubic"] == pytest.approx(found["bicubic+linear"], rel=1e-5)
        table = result.months["joint"]
        assert set(table["hours"]) == {"all", "kept", "inserted"}
        assert len(table) == 39

    def test_the_case_is_where_the_methods_differ_most(self, plain: SimulationRun) -> None:
        (case,) = (one for one in plain.cases if one.task == "temporal")
        baseline, challenger = (case.estimates[name] for name in case.methods)
        west, south, east, north = case.box
        latitude, longitude = plain.truth["latitude"].values, plain.truth["longitude"].values
        inside = np.ix_(
            (latitude >= south) & (latitude <= north), (longitude >= west) & (longitude <= east)
        )
        found = np.abs(challenger - baseline)
        assert case.difference == pytest.approx(found[inside].mean(), rel=1e-4)
        assert case.difference > found.mean()


class Gapped(Linear):
    """Linear without a value where the truth changes most, and in chosen hours without any."""

    name = "gapped"

    def __init__(self, absent: Sequence[np.datetime64] = ()) -> None:
        self.absent = absent

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        values = super().__call__(coarse, target).values.copy()
        change = np.abs(np.diff(coarse.field.values[:2], axis=0)[0])
        values[:, change > np.quantile(change, 0.2)] = np.nan
        values[np.isin(target.time, self.absent)] = np.nan
        return target.field(values)


class TestSameCells:
    """No method gains by leaving out what is hard."""

    def test_a_method_without_hard_cells_ties_with_itself(self) -> None:
        truth = moving(25).compute()
        truth.values[4, 3:5] = np.nan
        part = scored(truth, Linear(), Gapped(), temporal=("linear", "gapped"))
        alone = scored(truth, Linear()).samples
        wide = part.samples.pivot_table(
            index=["time", "weights"], columns="method", values=["n", "rmse", "p99_error"]
        )
        for score in ("n", "rmse", "p99_error"):
            np.testing.assert_array_equal(wide[score, "gapped"], wide[score, "linear"])
        assert wide["rmse", "linear"].mean() < 0.8 * alone["rmse"].mean()

        # By hand, for 01:00 to 02:00 and the cells that have all.
        frames = truth.values.astype(float)
        change = np.abs(truth.values[3] - truth.values[0])
        cells = change <= np.quantile(change, 0.2)
        error = (2 * frames[0] + frames[3]) / 3 - frames[1]
        first = part.samples.iloc[0]
        assert (first["method"], first["weights"]) == ("linear", "none")
        assert first["rmse"] == pytest.approx(np.sqrt(np.mean(error[cells] ** 2)), rel=1e-5)
        assert (first["n"], first["cells_truth"], first["cells_missing"]) == (cells.sum(), 1080, 0)
        missing = part.samples.query("method == 'gapped' and weights == 'none'")["cells_missing"]
        assert missing.iloc[0] == 1080 - cells.sum()
        holed = part.samples[part.samples["time"] == truth["time"].values[4]]
        assert set(holed["cells_truth"]) == {28 * 36}

        ours, theirs = (part.power["temporal", name] for name in ("linear", "gapped"))
        assert ours.rows == theirs.rows
        np.testing.assert_array_equal(ours.estimate, theirs.estimate)
        maps = [part.square_error["temporal", name] for name in ("linear", "gapped")]
        np.testing.assert_array_equal(maps[0], maps[1])
        assert part.largest["temporal"].difference == 0

    def test_an_hour_that_a_method_lacks_takes_no_cell_from_the_others(self) -> None:
        truth = moving(7).compute()
        absent = truth["time"].values[[1]].astype("datetime64[us]")
        samples = scored(truth, Linear(), Gapped(absent)).samples
        samples = samples[samples["weights"] == "none"].set_index(["method", "time"])
        assert samples.loc[("linear", absent[0]), "n"] == 30 * 36
        assert samples.loc[("gapped", absent[0]), "n"] == 0
        assert np.isnan(samples.loc[("gapped", absent[0]), "rmse"])
        other = truth["time"].values[2]
        assert samples.loc[("linear", other), "n"] == samples.loc[("gapped", other), "n"] < 1080

    def test_the_share_of_cells_is_said(self, truth_file: Path, tmp_path: Path) -> None:
        field = moving().compute()
        field.values[:, :, 27:] = np.nan  # a quarter of the columns
        field.values[1] = np.nan
        write(field, tmp_path / "mine.nc")
        result = run(truth_file, tmp_path, **beside_linear(tmp_path / "mine.nc"))
        assert (
            "25 % of the cells of the temporal task have no value of mine; all methods are scored"
            " without them." in result.notes
        )
        assert any(
            note.startswith("mine has no value in 1 hour of the temporal") for note in result.notes
        )
        inputs = describe(result)["inputs"]
        assert [Path(one["path"]).name for one in inputs] == ["truth.nc", "mine.nc"]


class TestHours:
    def test_a_mean_stamped_at_its_end_belongs_to_the_hour_before(self, tmp_path: Path) -> None:
        field = later(moving(24), 305)
        assert str(field["time_end"].values[-1]).startswith("2021-01-01T00:00")
        write(stamped_at_end(field), tmp_path / "end.nc")
        write(field, tmp_path / "middle.nc")
        found = [
            run(path, path.with_suffix(""), task=("spatial",), methods=("bicubic", "nearest"))
            for path in (tmp_path / "end.nc", tmp_path / "middle.nc")
        ]
        months = found[0].months["spatial"].set_index("month")["n"]
        assert months["2020-12"] == months["average"] == 24
        pd.testing.assert_frame_equal(found[0].months["spatial"], found[1].months["spatial"])
        pd.testing.assert_frame_equal(found[0].skill, found[1].skill)
        assert found[0].cases[0].time == found[1].cases[0].time + HALF
        np.testing.assert_array_equal(found[0].cases[0].truth, found[1].cases[0].truth)

    def test_stamps_off_full_hours_are_refused(self) -> None:
        field = hourly("2020-05-01", 24, stamp="point")
        moved = field.assign_coords(time=field["time"].values + HALF)
        with pytest.raises(InputError, match=r"on a full hour.*00:30.*add stamp=mean"):
            Plan(moved, 2020)

    def test_a_task_without_an_hour_is_left_out_and_said(self, tmp_path: Path) -> None:
        write(moving(2), tmp_path / "two.nc")
        result = run(tmp_path / "two.nc", tmp_path)
        assert set(result.months) == set(result.methods) == {"spatial"}
        assert any(note.startswith("temporal: not run, no interval") for note in result.notes)
        with pytest.raises(NoDataError, match="no hour of 2020 can be scored"):
            run(tmp_path / "two.nc", tmp_path, task=("temporal",), methods=("linear",))

    def test_in_time_alone_nothing_is_cropped(self, tmp_path: Path) -> None:
        write(moving(7).isel(latitude=slice(0, 29), longitude=slice(0, 35)), tmp_path / "odd.nc")
        for task, cells in (("temporal", 29 * 35), ("spatial", 27 * 33)):
            result = run(tmp_path / "odd.nc", tmp_path / task, task=(task,), methods=("nearest",))
            assert set(result.samples["n"]) == {cells}
            assert any("left out: imresize" in note for note in result.notes) == (
                task != "temporal"
            )


@pytest.mark.parametrize(
    "columns, task, method, message",
    [
        (5, "spatial", "bicubic", "5 x 5 rows and columns, of which .* takes 3 x 3, are too few"),
        (3, "temporal", "linear", "5 x 3 rows and columns are too few .*; give six"),
    ],
)
def test_too_few_columns_are_told_as_given(
    columns: int, task: str, method: str, message: str, tmp_path: Path
) -> None:
    small = moving(7).isel(latitude=slice(0, 5), longitude=slice(0, columns))
    write(small, tmp_path / "small.nc")
    with pytest.raises(InputError, match=rf"small\.nc: truth: {message}"):
        run(tmp_path / "small.nc", tmp_path, task=(task,), methods=(method,))


def test_a_region_across_the_date_line_is_refused_in_every_task_and_one_beside_it_in_none(
    tmp_path: Path,
) -> None:
    torn, beside = tmp_path / "torn.nc", tmp_path / "beside.nc"
    longitude = (178 + 0.25 * np.arange(36) + 180) % 360 - 180
    write(moving(7).assign_coords(longitude=longitude).sortby("longitude"), torn)
    write(moving(7).assign_coords(longitude=171 + 0.25 * np.arange(36)), beside)
    for task, method in (("temporal", "dis"), ("spatial", "bicubic"), ("joint", "linear+bicubic")):
        asked = {"task": (task,), "methods": (method,)}
        with pytest.raises(InputError, match=r"torn\.nc: truth: longitude is not evenly.*crop"):
            run(torn, tmp_path, **asked)
        assert not (tmp_path / "months").exists()
        assert len(run(beside, tmp_path / task, **asked).samples)


def test_training_years_that_are_absent_are_named(tmp_path: Path) -> None:
    # Of one seed: the same static pattern in both years. The first ends as 2020 begins.
    before = later(moving(24), -61).compute()
    assert str(before["time_end"].values[-1]).startswith("2020-01-01T00:00")
    folder = tmp_path / "truth"
    folder.mkdir()
    for name, field in (("a", before), ("b", moving(24))):
        write(stamped_at_end(field), folder / f"{name}.nc")
    absent = "--train-years asks for 2010, but the truth has only 2019, 2020"
    asked = {"task": ("spatial",), "methods": ("bicubic", "pattern")}
    for years, methods, said in (
        ((2010, 2019), ("bicubic", "pattern"), "pattern: learned on 2019, never on 2020; "),
        ((2010,), ("bicubic",), "spatial pattern: left out, "),
    ):
        result = run(folder, tmp_path / str(len(years)), train_years=years, **asked)
        assert result.methods["spatial"] == methods
        assert f"{said}{absent}." in "\n".join(result.notes)


class TestGapsInValues:
    def test_an_hour_without_values_is_scored_by_no_method_and_said(self, tmp_path: Path) -> None:
        field = moving(25).compute()
        field.values[7] = np.nan
        field.values[12, :, 5] = np.nan
        write(field, tmp_path / "truth.nc")
        result = run(tmp_path / "truth.nc", tmp_path)
        times = result.samples.loc[result.samples["n"] > 0, "time"]
        assert field["time"].values[7] not in set(times)
        assert not any("has no value in" in note for note in result.notes)
        counts = result.counts.groupby("task")[["scored", "truth_empty"]].sum()
        assert counts.to_dict("index") == {
            "temporal": {"scored": 15, "truth_empty": 1},
            "spatial": {"scored": 24, "truth_empty": 1},
            "joint": {"scored": 23, "truth_empty": 1},
        }
        for task, table in result.months.items():
            last = table[table["month"] == "average"].iloc[0]
            assert last["n"] == counts.loc[task, "scored"]
        kept = result.samples.set_index(["task", "method", "time", "weights"])["n"]
        assert kept["spatial", "bicubic", field["time"].values[12], "none"] < 30 * 35
        assert kept["temporal", "linear", field["time"].values[13], "none"] == 30 * 35

    def test_what_is_wrong_with_the_files_of_a_prediction_is_said(
        self, day_file: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        shutil.copy(day_file, folder / "a.nc")
        (folder / "b.nc").write_bytes(b"CDF\x01 cut off")
        result = run(day_file, tmp_path, **beside_linear(folder))
        said = [note for note in result.notes if "b.nc is damaged" in note]
        assert len(said) == 1
        assert said[0].startswith("mine: ")

    def test_hours_that_no_two_methods_share_are_refused(
        self, truth_file: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "late.nc"
        write(later(moving(), 400), path)
        with pytest.raises(NoDataError, match="'mine' has 0"):
            run(truth_file, tmp_path, **beside_linear(path))


class _StopError(Exception):
    pass


IN_TIME: dict[str, object] = {"task": ("temporal",), "methods": ("linear", "dis")}


@pytest.fixture(scope="module")
def day_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("day") / "day.nc"
    write(moving(25), path)
    return path


@pytest.fixture(scope="module")
def kept(day_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulationRun, Path]:
    """A run in time alone, and the folder of its month."""
    folder = tmp_path_factory.mktemp("kept")
    return run(day_file, folder, **IN_TIME), folder


@pytest.fixture
def store(kept: tuple[SimulationRun, Path], tmp_path: Path) -> MonthStore:
    """A copy of that month, as an interrupted run would leave it."""
    return MonthStore(shutil.copytree(kept[1] / "months", tmp_path / "months"))


class TestResume:
    def test_an_interrupted_run_is_resumed_to_the_same_tables(self, tmp_path: Path) -> None:
        path = tmp_path / "truth.nc"
        write(xr.concat([moving(25), later(moving(25, seed=9), 31)], "time"), path)
        whole = run(path, tmp_path / "whole")
        store = MonthStore(tmp_path / "months")

        def stop(step: str, done: int, total: int) -> None:
            if (step, done, total) == ("days", 3, 4):
                raise _StopError

        with pytest.raises(_StopError):
            simulate(settings(path, progress=stop), store)
        assert store.has("2020-03")
        assert not store.has("2020-04")
        stamp = (store.folder / "2020-03.parquet").stat().st_mtime_ns
        resumed = simulate(settings(path), store, resume=True)
        assert (store.folder / "2020-03.parquet").stat().st_mtime_ns == stamp
        for name in ("samples", "summary", "skill", "spectra"):
            pd.testing.assert_frame_equal(
                getattr(resumed, name), getattr(whole, name), check_exact=True
            )
        for key, maps in whole.error_maps.items():
            np.testing.assert_array_equal(resumed.error_maps[key], maps)
        assert resumed.cases[0].time == whole.cases[0].time

    @pytest.mark.parametrize("change", [{"degrade": "mean"}, {"methods": ("linear",)}])
    def test_other_settings_are_refused(
        self, change: dict[str, object], day_file: Path, store: MonthStore
    ) -> None:
        with pytest.raises(InputError, match="differs in"):
            simulate(settings(day_file, **{**IN_TIME, **change}), store, resume=True)

    @pytest.mark.parametrize("form", ["prediction", "zarr"])
    def test_files_that_changed_are_noticed(
        self, form: str, day_file: Path, tmp_path: Path
    ) -> None:
        field = moving(25)
        path = tmp_path / ("given.zarr" if form == "zarr" else "given.nc")

        def put() -> None:
            if form == "zarr":
                shutil.rmtree(path, ignore_errors=True)
                field.to_dataset(name="pm25").to_zarr(path, consolidated=False)
            else:
                write(field, path)

        put()
        if form == "zarr":
            chosen = settings(path, task=("temporal",), methods=("linear",))
        else:
            chosen = settings(day_file, **beside_linear(path))
        store = MonthStore(tmp_path / "months")
        simulate(chosen, store)
        simulate(chosen, store, resume=True)
        if form == "zarr":
            # The folder itself stays as it was; one of its files does not.
            chunk = next(one for one in (path / "pm25" / "c").rglob("*") if one.is_file())
            os.utime(chunk, (1, 1))
        else:
            put()
        of = "the truth" if form == "zarr" else "predictions"
        with pytest.raises(InputError, match=f"differs in files of {of}"):
            simulate(chosen, store, resume=True)

    @pytest.mark.parametrize("ending", ["json", "npz", "parquet"])
    def test_a_month_that_was_cut_off_is_scored_again(
        self, ending: str, day_file: Path, kept: tuple[SimulationRun, Path], store: MonthStore
    ) -> None:
        file = store.folder / f"2020-03.{ending}"
        file.write_bytes(file.read_bytes()[:100])
        with pytest.warns(DeepcamsWarning, match="2020-03 is damaged .* scored again"):
            resumed = simulate(settings(day_file, **IN_TIME), store, resume=True)
        pd.testing.assert_frame_equal(resumed.samples, kept[0].samples, check_exact=True)

    @pytest.mark.parametrize("resume", [True, False])
    def test_a_folder_that_is_not_ours_stays(self, resume: bool, tmp_path: Path) -> None:
        store = MonthStore.beside(tmp_path / "mine")
        store.folder.mkdir()
        (store.folder / "diary.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(InputError, match=r"\.mine\.months: is in the way"):
            store.start({}, resume=resume)
        store.discard()
        assert (store.folder / "diary.txt").exists()

    def test_without_resume_nothing_old_is_used(self, day_file: Path, store: MonthStore) -> None:
        (store.folder / "2020-03.parquet").write_bytes(b"damaged")
        assert len(simulate(settings(day_file, **IN_TIME), store).samples)


@pytest.mark.parametrize(
    "changed, message",
    [
        (lambda field: field.values, "returned a ndarray"),
        (lambda field: field.isel(time=[0]), "another time"),
        (lambda field: field.isel(latitude=slice(1, None)), "another latitude"),
        (lambda field: field.transpose("latitude", ...), "returned no Field"),
    ],
)
def test_a_stranger_that_breaks_the_contract_is_named(
    changed: Callable[[xr.DataArray], object], message: str
) -> None:
    class Stranger:
        name = "stranger"
        task = "temporal"

        def __call__(self, _coarse: Coarse, target: Target) -> object:
            return changed(target.field(np.zeros((2, 30, 36))))

    field = moving(4).compute()
    target = Target.like(field.isel(time=[1, 2]))
    with pytest.raises(InputError, match=f"'stranger'.*{message}"):
        call(Stranger(), Coarse(field.isel(time=[0, 3])), target)  # type: ignore[arg-type]


class Changes(Linear):
    """A method that writes into what it is given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        result = super().__call__(coarse, target)
        if self.name == "field":
            coarse.field.values[...] = 7.0
        elif self.name == "in place":
            coarse.field[0] += 1
        else:
            getattr(target, self.name)[...] = getattr(target, self.name)[0]
        return result


class TestNothingOfAnother:
    """What one method does to its input reaches no other."""

    @pytest.mark.parametrize(
        "what", ["field", "in place", "time", "latitude", "longitude", "bounds"]
    )
    def test_writing_is_refused_by_name(self, what: str) -> None:
        with pytest.raises(InputError, match=rf"'{what}' at 2020-03-01T01:30 .*read-only"):
            scored(moving(7), Changes(what), Linear())

    def test_a_coordinate_that_was_written_is_a_copy(self) -> None:
        field = moving(4).compute()
        coarse = Coarse(field)
        before = field["time_end"].values.copy()
        coarse.field["time_end"].values[...] = np.datetime64("1999-01-01")
        np.testing.assert_array_equal(field["time_end"].values, before)
        field.values[0] = 1.0  # what belongs to the caller can be written still

    @pytest.mark.parametrize("error", [ValueError("boom"), SystemExit("boom"), InputError("boom")])
    def test_what_it_raises_is_stated_with_task_and_hour(self, error: BaseException) -> None:
        class Raising(Linear):
            name = "raising"

            def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
                if target.time[0] > np.datetime64("2020-03-01T04:00"):
                    raise error
                return super().__call__(coarse, target)

        said = r"the temporal method 'raising' at 2020-03-01T04:30 to 2020-03-01T05:30: .*boom"
        with pytest.raises(InputError, match=said) as stated:
            scored(moving(7), Raising())
        assert "\n" not in str(stated.value)

    def test_training_and_notes_are_stated_too(self) -> None:
        class Learner(Linear):
            name = "learner"

            def fit(self, _training: Training) -> None:
                raise RuntimeError("no memory")

            def notes(self, field: xr.DataArray) -> object:
                return "one sentence" if field.size else None

        truth = moving(4)
        training = Training((2019,), degradation("mean"), lambda: iter([truth]))
        with pytest.raises(InputError, match=r"'learner': it failed to learn .*no memory"):
            fit(Learner(), training)
        with pytest.raises(InputError, match=r"'learner': its notes failed .*no list of sentences"):
            said_by(Learner(), truth)


class TestOperators:
    """A method may be made for the maps of some operators only."""

    @pytest.fixture
    def chosen(self) -> Chosen:
        class OfNodes(Bicubic):
            name = "of-nodes"
            operators = ("node",)

        steps = (Bicubic(), OfNodes())
        joint = Composed(Linear(), steps[1])
        return Chosen({"spatial": steps, "joint": (joint,)}, {}, ())

    def test_left_out_with_its_pairs_and_said(self, chosen: Chosen) -> None:
        left = chosen.suited("mean", [])
        assert [one.name for one in left.methods["spatial"]] == ["bicubic"]
        assert "joint" not in left.methods
        assert "spatial of-nodes: left out, it does not take maps of mean." in left.notes
        assert chosen.suited("node", []).methods == chosen.methods

    def test_refused_by_name(self, chosen: Chosen) -> None:
        with pytest.raises(InputError, match="'of-nodes' takes maps that node made"):
            chosen.suited("mean", ["of-nodes"])


class TestPrediction:
    def test_hours_that_it_lacks_are_missing(self) -> None:
        field = moving(12)
        method = Prediction("mine", "spatial", field.isel(time=[2, 5]))
        found = method(Coarse(field.isel(time=[2, 3])), Target.like(field.isel(time=[2, 3])))
        np.testing.assert_array_equal(found.values[0], field.values[2])
        assert np.isnan(found.values[1]).all()

    def test_a_larger_grid_is_cut(self) -> None:
        field = moving(3)
        part = field.isel(latitude=slice(3, 9), longitude=slice(6, 12))
        found = Prediction("mine", "spatial", field)(Coarse(part), Target.like(part))
        np.testing.assert_array_equal(found.values, part.values)

    def test_another_grid_and_another_stamp_are_refused(self) -> None:
        field = moving(3)
        moved = field.assign_coords(latitude=field["latitude"] + 0.1)
        with pytest.raises(InputError, match="latitude of the prediction 'mine'"):
            Prediction("mine", "spatial", moved)(Coarse(field), Target.like(field))
        point = make_field(
            field.data, time=field["time"].values, latitude=field["latitude"].values,
            longitude=field["longitude"].values, stamp="point",
        )  # fmt: skip
        with pytest.raises(InputError, match="stamp=mean"):
            Prediction("mine", "spatial", point)(Coarse(field), Target.like(field))


def test_the_largest_box_is_the_one_of_a_search() -> None:
    difference = np.random.default_rng(0).gamma(1.0, 2.0, (40, 50))
    difference[3, 4] = np.nan
    box = box_cells(30 + 0.25 * np.arange(40.0), 0.25 * np.arange(50.0))
    assert box == Box(13, 17, slice(6, 34))
    filled = np.nan_to_num(difference)
    means = {
        (row, column): filled[row - 6 : row + 7, column - 8 : column + 9].mean()
        for row in range(6, 34)
        for column in range(8, 42)
    }
    best = max(means, key=means.__getitem__)
    value, row, column = largest_box(difference, box)
    assert (row, column) == best
    assert value == pytest.approx(means[best])


@pytest.mark.parametrize(
    "south, rows", [(80, 30), (70, 30), (-90, 30), (-82, 30), (74, 4), (75.25, 3), (-80, 641)]
)
def test_a_box_lies_within_maps_near_a_pole(south: float, rows: int) -> None:
    latitude = south + 0.25 * np.arange(rows)
    box = box_cells(latitude, 0.25 * np.arange(36.0))
    assert box.rows.start - box.height // 2 >= 0
    assert box.rows.start < box.rows.stop
    assert box.rows.stop - 1 + box.height // 2 < rows
    difference = np.zeros((rows, 36))
    difference[box.rows.start] = 1.0
    value, row, _ = largest_box(difference, box)
    assert value > 0
    assert box.rows.start <= row < box.rows.stop


def test_what_the_training_needs_of_the_plan_draws_nothing() -> None:
    code = "import sys, deepcams_eval.bench.plan; print('matplotlib' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "False"


@pytest.mark.parametrize(
    "operator, bicubic, back_projection",
    [("imresize", (2.896, 0.521), (2.585, 0.475)), ("node", (3.061, 0.477), (3.061, 0.477))],
)
def test_four_real_hours(
    operator: str,
    bicubic: tuple[float, float],
    back_projection: tuple[float, float],
    real_data: Path,
    tmp_path: Path,
) -> None:
    files = real_data / "geoscf" / "*.mat"
    chosen = settings(
        Path("unused"),
        truth=ProductSpec.parse(f"truth={files},kind=geoscf,start=2020-03-08T00:30,freq=1h"),
        task=("temporal", "spatial"),
        methods=("nearest", "linear", "linear-eq9", "dis", "bicubic", "bicubic-ibp"),
        degrade=operator,
    )
    result = simulate(chosen, MonthStore(tmp_path / "months"))
    # With a single day, intervals are those of tiles of the map. Optical flow is better than
    # linear, and linear as printed worse, wherever one looks.
    table = result.skill.query("weights == 'none' and baseline == 'linear'")
    table = table.set_index(["method", "metric"])
    assert set(table["tiles"]) == {288}
    for metric in ("rmse", "mae"):
        assert table.loc[("dis", metric), "difference_hi"] < 0
        assert table.loc[("linear-eq9", metric), "difference_lo"] > 0
    found = {
        method: (score, averages(result, task, "mae")[method])
        for task in ("temporal", "spatial")
        for method, score in averages(result, task).items()
        if (task, method) != ("spatial", "nearest")
    }
    assert found["linear"] == pytest.approx((2.129, 0.339), abs=0.0006)
    assert found["linear-eq9"] == pytest.approx((3.817, 0.649), abs=0.0006)
    assert found["nearest"] == pytest.approx((3.478, 0.594), abs=0.0006)
    assert found["dis"] < (1.80, 0.240)
    assert found["bicubic"] == pytest.approx(bicubic, abs=0.001)
    assert found["bicubic-ibp"] == pytest.approx(back_projection, abs=0.001)
