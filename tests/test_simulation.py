"""The simulation road: counts, gaps, negative controls, an interrupted run, strangers' methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepcams_eval.degrade import degradation
from deepcams_eval.downscale import Coarse, Target
from deepcams_eval.downscale.prediction import Prediction
from deepcams_eval.downscale.temporal import Linear
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.schema import make_field
from deepcams_eval.simulation.month import Box, Work, box_cells, call, largest_box, score_month
from deepcams_eval.simulation.parts import Parts
from deepcams_eval.simulation.plan import Plan, fitted_to
from deepcams_eval.simulation.run import (
    PredictionSpec,
    SimulationResult,
    SimulationSettings,
    simulate,
)
from deepcams_eval.sources.product import ProductSpec
from tests.travelling import later, moving, write

HOUR = np.timedelta64(1, "h")


def hourly(
    start: str, hours: int, *, stamp: str = "mean", without: tuple[int, ...] = ()
) -> xr.DataArray:
    """Make lazy hourly zeros on a small grid."""
    place = np.setdiff1d(np.arange(hours), without)
    begin = np.datetime64(start, "us") + place * HOUR
    mean = stamp == "mean"
    return make_field(
        da.zeros((len(place), 3, 6), dtype=np.float32, chunks=(24, -1, -1)),
        time=begin + HOUR // 2 if mean else begin,
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
    def test_leap_year_with_the_first_map_of_the_next(self) -> None:
        found = totals(Plan(hourly("2020-01-01", 366 * 24 + 1), 2020))
        assert found["temporal"]["scored"] == found["temporal"]["expected"] == 5856
        assert found["spatial"]["scored"] == found["joint"]["scored"] == 8784

    def test_leap_year_that_ends_with_its_last_hour(self) -> None:
        found = totals(Plan(hourly("2020-01-01", 366 * 24), 2020))
        assert found["temporal"]["scored"] == 5854
        assert found["temporal"]["interval_incomplete"] == 2
        assert found["spatial"]["scored"] == 8784
        assert found["joint"]["scored"] == 8781

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
    ],
)
def test_what_an_operator_cannot_divide_is_left_out_and_said(operator, shape, left) -> None:
    latitude = 36 + 0.25 * np.arange(shape[0])
    longitude = -9 + 0.25 * np.arange(shape[1])
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


def test_of_the_globe_nothing_is_left_out() -> None:
    field = make_field(
        np.zeros((1, 721, 1440)), time=["2020-01-01"], latitude=-90 + 0.25 * np.arange(721),
        longitude=-180 + 0.25 * np.arange(1440), stamp="point",
    )  # fmt: skip
    for name in ("imresize", "mean", "node"):
        fitted, said = fitted_to(degradation(name), field)
        assert said is None
        assert fitted.shape == field.shape


@pytest.fixture(scope="module")
def truth_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of travelling blobs as a netCDF file."""
    path = tmp_path_factory.mktemp("truth") / "truth.nc"
    write(moving(), path)
    return path


def settings(path: Path, **changes: object) -> SimulationSettings:
    base: dict[str, object] = {
        "year": 2020,
        "truth": ProductSpec("truth", str(path)),
        "resamples": 100,
        "methods": ("linear", "linear-eq9", "dis", "bicubic", "bicubic-ibp", "linear+bicubic"),
    }
    return SimulationSettings(**{**base, **changes})  # type: ignore[arg-type]


def averages(result: SimulationResult, task: str, metric: str = "rmse") -> dict[str, float]:
    table = result.summary
    rows = table[(table["task"] == task) & (table["weights"] == "none")]
    rows = rows[(rows["aggregate"] == "months") & rows["hours"].isin(["all", "inserted"])]
    rows = rows.drop_duplicates("method")
    return dict(zip(rows["method"], rows[metric], strict=True))


@pytest.fixture(scope="module")
def plain(truth_file: Path, tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    return simulate(settings(truth_file), Parts(tmp_path_factory.mktemp("plain") / "months"))


class TestControls:
    """What must make scores worse, does."""

    def test_order_of_the_honest_baselines(self, plain: SimulationResult) -> None:
        temporal, spatial = averages(plain, "temporal"), averages(plain, "spatial")
        assert temporal["dis"] < temporal["linear"] < temporal["linear-eq9"]
        assert spatial["bicubic-ibp"] < spatial["bicubic"]

    def test_linear_is_what_numpy_says(self, plain: SimulationResult, truth_file: Path) -> None:
        frames = xr.open_dataset(truth_file)["pm25"].values.astype(float)
        errors = [
            np.sqrt(np.mean(((1 - t) * frames[k] + t * frames[k + 3] - frames[k + step]) ** 2))
            for k in range(0, 72, 3)
            for step, t in ((1, 1 / 3), (2, 2 / 3))
        ]
        assert averages(plain, "temporal")["linear"] == pytest.approx(np.mean(errors), rel=1e-5)

    def test_shuffled_frames(self, plain: SimulationResult, tmp_path: Path) -> None:
        field = moving()
        order = np.random.default_rng(1).permutation(field.sizes["time"])
        write(field.copy(data=field.data[order]), tmp_path / "shuffled.nc")
        result = simulate(
            settings(tmp_path / "shuffled.nc", tasks=("temporal",), methods=("linear", "dis")),
            Parts(tmp_path / "months"),
        )
        shuffled, sound = averages(result, "temporal"), averages(plain, "temporal")
        assert shuffled["linear"] > 2 * sound["linear"]
        assert shuffled["dis"] > 2 * sound["dis"]

    @pytest.mark.parametrize("shift", [{"latitude": 1}, {"longitude": 1}, {"time": 1}])
    def test_a_prediction_that_is_shifted_loses_to_itself(self, shift: dict[str, int]) -> None:
        truth = moving()
        right = Prediction("right", "temporal", truth)
        moved = truth.copy(data=da.roll(truth.data, 1, axis=truth.get_axis_num(next(iter(shift)))))
        wrong = Prediction("wrong", "temporal", moved)
        work = Work(degradation("mean"), {"temporal": (right, wrong)}, {})
        samples = score_month(truth, Plan(truth, 2020), "2020-03", work).samples
        mean = samples.groupby("method")["rmse"].mean()
        assert mean["right"] == 0
        assert mean["wrong"] > 0.5

    def test_swapped_t(self) -> None:
        class Swapped(Linear):
            name = "swapped"

            def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
                return target.field(super().__call__(coarse, target).values[::-1])

        truth = moving()
        work = Work(degradation("mean"), {"temporal": (Linear(), Swapped())}, {})
        samples = score_month(truth, Plan(truth, 2020), "2020-03", work).samples
        mean = samples.groupby("method")["rmse"].mean()
        assert mean["swapped"] > 1.2 * mean["linear"]

    def test_both_weights_stand_in_the_samples(self, plain: SimulationResult) -> None:
        keys = ["task", "method", "time", "weights"]
        assert not plain.samples.duplicated(keys).any()
        assert set(plain.samples.groupby(keys[:3]).size()) == {2}

    def test_order_of_linear_steps_does_not_matter(self, truth_file: Path, tmp_path: Path) -> None:
        result = simulate(
            settings(truth_file, tasks=("joint",), methods=("linear+bicubic", "bicubic+linear")),
            Parts(tmp_path / "months"),
        )
        found = averages(result, "joint")
        assert found["linear+bicubic"] == pytest.approx(found["bicubic+linear"], rel=1e-5)
        table = result.months["joint"]
        assert set(table["hours"]) == {"all", "kept", "inserted"}
        assert len(table) == 39

    def test_the_case_is_where_the_methods_differ_most(self, plain: SimulationResult) -> None:
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


class TestGapsInValues:
    def test_an_hour_without_values_is_scored_by_no_method_and_said(self, tmp_path: Path) -> None:
        field = moving(25).compute()
        field.values[7] = np.nan
        field.values[12, :, 5] = np.nan
        write(field, tmp_path / "truth.nc")
        result = simulate(settings(tmp_path / "truth.nc"), Parts(tmp_path / "months"))
        times = result.samples.loc[result.samples["n"] > 0, "time"]
        assert field["time"].values[7] not in set(times)
        assert any("no value in 1 hours of the temporal task" in note for note in result.notes)
        kept = result.samples.set_index(["task", "method", "time", "weights"])["n"]
        assert kept["spatial", "bicubic", field["time"].values[12], "none"] < 30 * 35
        assert kept["temporal", "linear", field["time"].values[13], "none"] == 30 * 35

    def test_hours_that_no_two_methods_share_are_refused(
        self, truth_file: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "late.nc"
        write(later(moving(), 400), path)
        given = PredictionSpec(ProductSpec("elsewhere", str(path)), "temporal")
        chosen = settings(
            truth_file, methods=("linear",), tasks=("temporal",), predictions=(given,)
        )
        with pytest.raises(NoDataError, match="'elsewhere' has 0"):
            simulate(chosen, Parts(tmp_path / "months"))


class _StopError(Exception):
    pass


class TestResume:
    def test_an_interrupted_run_goes_on_to_the_same_tables(self, tmp_path: Path) -> None:
        path = tmp_path / "truth.nc"
        write(xr.concat([moving(49), later(moving(49, seed=9), 31)], "time"), path)
        whole = simulate(settings(path), Parts(tmp_path / "whole"))
        parts = Parts(tmp_path / "months")

        def stop(step: str, done: int, total: int) -> None:
            if (step, done, total) == ("days", 4, 6):
                raise _StopError

        with pytest.raises(_StopError):
            simulate(settings(path), parts, progress=stop)
        assert parts.has("2020-03")
        assert not parts.has("2020-04")
        stamp = (parts.folder / "2020-03.parquet").stat().st_mtime_ns
        resumed = simulate(settings(path), parts, resume=True)
        assert (parts.folder / "2020-03.parquet").stat().st_mtime_ns == stamp
        for name in ("samples", "summary", "skill", "spectra"):
            pd.testing.assert_frame_equal(
                getattr(resumed, name), getattr(whole, name), check_exact=True
            )
        for key, maps in whole.error_maps.items():
            np.testing.assert_array_equal(resumed.error_maps[key], maps)
        assert resumed.cases[0].time == whole.cases[0].time

    @pytest.mark.parametrize("change", [{"degrade": "mean"}, {"methods": ("linear",)}])
    def test_other_settings_are_refused(
        self, change: dict[str, object], truth_file: Path, tmp_path: Path
    ) -> None:
        parts = Parts(tmp_path / "months")
        before: dict[str, object] = {"tasks": ("temporal",), "methods": ("linear", "dis")}
        simulate(settings(truth_file, **before), parts)
        with pytest.raises(InputError, match="differs in"):
            simulate(settings(truth_file, **{**before, **change}), parts, resume=True)

    def test_without_resume_nothing_old_is_used(self, truth_file: Path, tmp_path: Path) -> None:
        parts = Parts(tmp_path / "months")
        chosen = settings(truth_file, tasks=("temporal",), methods=("linear",))
        simulate(chosen, parts)
        (parts.folder / "2020-03.parquet").write_bytes(b"damaged")
        assert len(simulate(chosen, parts).samples)


class TestStrangers:
    """A method that breaks the contract is named."""

    @pytest.mark.parametrize(
        "returned, message",
        [
            (lambda _target: np.zeros(3), "returned a ndarray"),
            (lambda target: target.field(np.zeros((2, 30, 36))).isel(time=[0]), "another time"),
            (
                lambda target: target.field(np.zeros((2, 30, 36))).isel(latitude=slice(1, None)),
                "another latitude",
            ),
            (
                lambda target: target.field(np.zeros((2, 30, 36))).transpose("latitude", ...),
                "returned no Field",
            ),
        ],
    )
    def test_named(self, returned: Callable[[Target], object], message: str) -> None:
        class Stranger:
            name = "stranger"
            task = "temporal"

            def __call__(self, _coarse: Coarse, target: Target) -> object:
                return returned(target)

        field = moving(4).compute()
        target = Target.like(field.isel(time=[1, 2]))
        with pytest.raises(InputError, match=f"'stranger'.*{message}"):
            call(Stranger(), Coarse(field.isel(time=[0, 3])), target)  # type: ignore[arg-type]


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
        tasks=("temporal", "spatial"),
        methods=("nearest", "linear", "linear-eq9", "dis", "bicubic", "bicubic-ibp"),
        degrade=operator,
    )
    result = simulate(chosen, Parts(tmp_path / "months"))
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
