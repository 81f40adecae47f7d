"""The networks as methods: start, gaps, geometry, refusals, and the benchmark's command."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.choice import choose
from deepcams_eval.bench.run import simulate
from deepcams_eval.cli.bench import main
from deepcams_eval.core.field import make_field
from deepcams_eval.demo import DemoSettings
from deepcams_eval.demo.nature import NatureRun
from deepcams_eval.demo.settings import Climate
from deepcams_eval.downscale import Coarse, Downscaler, Target, registry
from deepcams_eval.downscale.degrade import degradation
from deepcams_eval.downscale.flow import OpticalFlow
from deepcams_eval.downscale.spatial import BackProjection
from deepcams_eval.downscale.temporal import Linear
from deepcams_eval.errors import DeepcamsWarning, InputError
from deepcams_eval.options import CheckpointSpec, SimulationOptions
from deepcams_eval.read.product import ProductSpec
from deepcams_models.checkpoint import load
from deepcams_models.methods import Abpn, Xvfi
from tests.commands import call
from tests.networks import checkpoint

HOUR = np.timedelta64(1, "h")
SQRT = {"kind": "sqrt", "scale": 20.0}


pytestmark = pytest.mark.usefixtures("one_thread", "undrawn")


def smooth(shape: tuple[int, ...], *, cyclic: bool, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).gamma(1.0, 30.0, shape)
    sigma = (0, 2, 2) if len(shape) == 3 else (2, 2)
    return 3 * gaussian_filter(
        noise, sigma, mode=["nearest", "nearest", "wrap" if cyclic else "nearest"]
    )


def pair(*, cyclic: bool = True, rows: int = 40, columns: int = 72, shift: int = 3) -> xr.DataArray:
    """Make two maps three hours apart: what the first holds moves eastward and grows."""
    first = smooth((1, rows, columns), cyclic=cyclic)[0]
    step = 360 / columns if cyclic else 0.5
    return make_field(
        np.stack([first, 1.1 * np.roll(first, shift, axis=1)]),
        time=np.datetime64("2020-01-01T00:00") + 3 * HOUR * np.arange(2),
        latitude=-20 + np.arange(rows),
        longitude=-180 + step * np.arange(columns),
        stamp="point",
    )


def between(field: xr.DataArray, hours: tuple[float, ...] = (1, 2)) -> Target:
    minutes = np.array([round(60 * hour) for hour in hours]) * np.timedelta64(1, "m")
    times = field["time"].values[0] + minutes
    return Target(times, field["latitude"].values, field["longitude"].values, "point")


def rolled(field: xr.DataArray, by: int) -> xr.DataArray:
    return field.copy(data=np.roll(field.values, by, axis=2))


def fine(rows: int, columns: int, south: float, west: float, *, cyclic: bool) -> xr.DataArray:
    step = 360 / columns if cyclic else 0.25
    return make_field(
        smooth((2, rows, columns), cyclic=cyclic),
        time=np.datetime64("2020-01-01T00:00") + HOUR * np.arange(2),
        latitude=south + step * np.arange(rows),
        longitude=west + step * np.arange(columns),
        stamp="point",
    )


def degraded(truth: xr.DataArray, operator: str) -> Coarse:
    return Coarse(degradation(operator).spatial(truth).compute(), degradation(operator))


@pytest.fixture(scope="module")
def globe() -> xr.DataArray:
    """Two fine maps with both poles."""
    return fine(73, 144, -90, -180, cyclic=True)


def test_a_checkpoint_whose_task_is_not_run_is_refused(tmp_path: Path) -> None:
    network = registry.checkpoint("mine", checkpoint(tmp_path, "abpn"))
    with pytest.raises(InputError, match="'mine' is one of the task spatial, which is not run"):
        choose(("temporal",), None, (), (network,))
    assert "linear+mine" in [
        one.name for one in choose(("joint",), ("linear+mine",), (), (network,)).methods["joint"]
    ]


class TestXvfi:
    @pytest.mark.parametrize("cyclic", [True, False])
    def test_untrained_is_dis(self, tmp_path: Path, cyclic: bool) -> None:
        field = pair(cyclic=cyclic, rows=37, columns=50 if not cyclic else 72)
        method, target = Xvfi(checkpoint(tmp_path, "xvfi")), between(field, (1, 2, 0.25))
        target = target.at([2, 0, 1])
        found, expected, linear = (
            each(Coarse(field), target) for each in (method, OpticalFlow(), Linear())
        )
        distance = abs(expected - linear).max()
        assert float(distance) > 1  # negative control: flow does something here
        # OpenCV places samples in steps of 1/32, on this smooth field worth little.
        np.testing.assert_allclose(found, expected, atol=2e-3 * float(field.max()))

    def test_own_times_and_values_between(self, tmp_path: Path) -> None:
        field = pair()
        method = Xvfi(checkpoint(tmp_path, "xvfi", noise=0.05))
        found = method(Coarse(field), between(field, (0, 1, 2, 3)))
        np.testing.assert_array_equal(found.values[[0, 3]], field.values)
        dis = OpticalFlow()(Coarse(field), between(field))
        assert float(abs(found.values[1] - dis[0]).max()) > 0

    def test_rolling_the_longitude(self, tmp_path: Path) -> None:
        field = pair(columns=80)
        method = Xvfi(checkpoint(tmp_path, "xvfi", noise=0.05))
        found = method(Coarse(field), between(field))
        # The sums of flow estimation begin elsewhere: not exact, but no seam.
        east = rolled(field, 16)  # by 72°: the sun stands there as it does here 4.8 hours later
        east = east.assign_coords(time=field["time"] - 48 * HOUR // 10)
        again = method(Coarse(east), between(east))
        difference = abs(rolled(found, 16).values - again.values)
        assert np.quantile(difference, 0.95) < 0.05 * float(field.std())
        night = method(Coarse(rolled(field, 16)), between(field))  # negative control
        other = abs(rolled(found, 16).values - night.values)
        assert np.quantile(other, 0.95) > 0.1 * float(field.std())

    def test_a_network_that_sees_the_sun_asks_the_clock(self, tmp_path: Path) -> None:
        field = pair(columns=80)
        later = field.assign_coords(time=field["time"] + 12 * HOUR)
        for settings, same in (({"sun": True}, False), ({"sun": False}, True)):
            method = Xvfi(checkpoint(tmp_path, "xvfi", noise=0.05, settings=settings))
            found, other = (method(Coarse(one), between(one)).values for one in (field, later))
            assert np.array_equal(found, other) is same

    def test_the_shipped_network_needs_the_right_clock(self) -> None:
        settings = DemoSettings.small(noise=False, seed=11)
        block = settings.blocks[2]
        climate = Climate(wind=0.4, emissions=3.0, night_m=120.0, day_m=1800.0, relief=0.3)
        maps = NatureRun(settings, block, climate).run().instant
        errors = np.zeros((8, 3))
        for number, hour in enumerate(range(0, 24, 3)):
            kept = make_field(
                maps[[hour, hour + 3]],
                time=block.frame_times[[hour, hour + 3]],
                latitude=settings.latitude,
                longitude=settings.longitude,
                stamp="point",
            )
            other = kept.assign_coords(time=kept["time"] + 12 * HOUR)
            methods = (Xvfi(), kept), (Xvfi(), other), (OpticalFlow(), kept)
            for column, (method, field) in enumerate(methods):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeepcamsWarning)  # trained on means
                    made = method(Coarse(field), between(field)).values
                errors[number, column] = abs(made - maps[hour + 1 : hour + 3]).mean()
        right, wrong, dis = np.exp(np.log(errors).mean(axis=0))
        assert right < 0.95 * wrong
        assert right < 0.9 * dis

    def test_nan_as_dis_has_it(self, tmp_path: Path) -> None:
        field = pair()
        field.values[0, 10:13, 20:24] = np.nan
        field.values[1, 30, 50] = np.nan
        field.values[:, 5, 5] = np.nan
        method = Xvfi(checkpoint(tmp_path, "xvfi"))
        found, linear, dis = (
            each(Coarse(field), between(field)) for each in (method, Linear(), OpticalFlow())
        )
        np.testing.assert_array_equal(np.isnan(found), np.isnan(linear))
        near = np.isclose(dis, linear) & np.isfinite(linear)
        np.testing.assert_allclose(found, dis, atol=2e-3 * float(field.max()))
        assert int(near.sum()) > 10
        field.values[0] = np.nan
        assert bool(np.isnan(method(Coarse(field), between(field))).all())

    def test_published_form_finds_its_own_flow(self, tmp_path: Path) -> None:
        form = {"initial_flow": "none", "kernel": "bilinear", "residual": "free"}
        form |= {"sun": False, "in_place": 0}
        method = Xvfi(checkpoint(tmp_path, "xvfi", settings=form))
        field = pair()
        assert np.isfinite(method(Coarse(field), between(field))).all()

    def test_travels_to_a_worker(self, tmp_path: Path) -> None:
        field = pair()
        method = Xvfi.from_checkpoint("mine", checkpoint(tmp_path, "xvfi", noise=0.05))
        found = method(Coarse(field), between(field))
        parcel = pickle.dumps(method)
        assert len(parcel) < 2000
        again = pickle.loads(parcel)
        assert isinstance(again, Downscaler)
        assert (again.name, again.task) == ("mine", "temporal")
        xr.testing.assert_identical(again(Coarse(field), between(field)), found)

    def test_means_and_points_are_told_apart_once(self, tmp_path: Path) -> None:
        field = pair()
        method = Xvfi(checkpoint(tmp_path, "xvfi", stamp="mean", synthetic=True))
        with pytest.warns(DeepcamsWarning, match="hourly means and is applied to instantaneous"):
            method(Coarse(field), between(field))
        method(Coarse(field), between(field))  # a second warning would be an error
        assert len(method.notes(field)) == 2
        assert Xvfi(checkpoint(tmp_path, "xvfi", stamp="point")).notes(field) == []

    def test_the_folder_of_a_training_is_its_best_checkpoint(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path, "xvfi")
        (tmp_path / "out").mkdir()
        for suffix in (".json", ".safetensors"):
            path.with_name(f"{path.name}{suffix}").rename(tmp_path / "out" / f"best{suffix}")
        named = [Xvfi(tmp_path / "out"), Xvfi(tmp_path / "out" / "best")]
        assert named[0].trained.path == named[1].trained.path
        assert registry.checkpoint("mine", tmp_path / "out").call.trained.card.network == "xvfi"
        assert [one.name for one in registry.checkpoint_files(tmp_path / "out")] == [
            "best.json",
            "best.safetensors",
        ]

    def test_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no weights of xvfi; make them with: deepcams-models"):
            Xvfi(tmp_path / "absent")
        with pytest.raises(InputError, match="checkpoint of abpn, not of xvfi"):
            _ = Xvfi(checkpoint(tmp_path, "abpn")).trained.card


# Grid of the fine field: globe with both poles, globe without, region.
GRIDS = {
    "imresize": [(73, 144, -90, -180, True), (30, 36, 10, 20, False)],
    "mean": [(73, 144, -90, -180, True), (30, 36, 10, 20, False)],
    "node": [(73, 144, -90, -180, True), (31, 37, 10, 20, False)],
}
CASES = [(operator, grid) for operator, grids in GRIDS.items() for grid in grids]


class TestAbpn:
    @pytest.mark.parametrize(("operator", "grid"), CASES)
    @pytest.mark.parametrize("form", ["linear", "sqrt", "log"])
    def test_untrained_is_its_start(
        self, tmp_path: Path, operator: str, grid: tuple[float, ...], form: str
    ) -> None:
        *places, cyclic = grid
        truth = fine(*places, cyclic=cyclic)
        coarse = degraded(truth, operator)
        shape = {"kind": form, "scale": 20.0}
        path = checkpoint(tmp_path, "abpn", degradation=operator, normalisation=shape)
        found = Abpn(path)(coarse, Target.like(truth))
        expected = BackProjection()(coarse, Target.like(truth))
        np.testing.assert_allclose(found, expected, atol=2e-5 * float(expected.max()))

    @pytest.mark.parametrize("operator", ["imresize", "node"])
    def test_network_against_the_fine_grid(
        self, tmp_path: Path, globe: xr.DataArray, operator: str
    ) -> None:
        # Coarse node i stands in the middle of rows 3i to 3i + 2 of what the network makes.
        truth = globe.isel(time=[0])
        coarse = degraded(truth, operator)
        path = checkpoint(tmp_path, "abpn", degradation=operator, noise=0.02)
        start = BackProjection()(coarse, Target.like(truth)).values[0]
        given = start[1:]
        if operator == "node":  # from 75 rows those of 1 to 73, columns turned by one
            given = np.roll(np.pad(start, ((1, 1), (0, 0)), mode="edge"), 1, axis=1)
        module, _ = load(path)
        tensors = (torch.tensor(one)[None, None] / 20 for one in (coarse.field.values[0], given))
        made = 20 * module(*tensors, cyclic=True).numpy()[0, 0]
        expected = np.roll(made[1:-1], -1, axis=1) if operator == "node" else made
        found = Abpn(path)(coarse, Target.like(truth)).values[0]
        assert abs(expected - start[-len(expected) :]).max() > 1  # the network does something
        np.testing.assert_allclose(found[-len(expected) :], expected, rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("operator", ["imresize", "node"])
    def test_rolling_the_longitude(
        self, tmp_path: Path, globe: xr.DataArray, operator: str
    ) -> None:
        method = Abpn(checkpoint(tmp_path, "abpn", degradation=operator, noise=0.02))
        coarse, target = degraded(globe, operator), Target.like(globe)
        found = method(coarse, target)
        again = method(Coarse(rolled(coarse.field, 7), coarse.degradation), target)
        np.testing.assert_allclose(rolled(found, 21), again, atol=1e-4 * float(abs(found).max()))

    def test_row_at_the_south_pole(self, tmp_path: Path, globe: xr.DataArray) -> None:
        coarse, target = degraded(globe, "mean"), Target.like(globe)
        path = checkpoint(tmp_path, "abpn", degradation="mean", noise=0.05)
        found, start = (method(coarse, target).values for method in (Abpn(path), BackProjection()))
        np.testing.assert_array_equal(found[:, 0], start[:, 0])
        assert (found[:, 1:] != start[:, 1:]).mean() > 0.9

    def test_nan_where_the_start_is(self, tmp_path: Path, globe: xr.DataArray) -> None:
        nodes = degradation("node").spatial(globe).compute()
        nodes.values[0, 4:6, 0] = np.nan
        nodes.values[1] = np.nan
        coarse, target = Coarse(nodes, degradation("node")), Target.like(globe)
        path = checkpoint(tmp_path, "abpn", noise=0.02, normalisation=SQRT)
        found, start = (method(coarse, target) for method in (Abpn(path), BackProjection()))
        np.testing.assert_array_equal(np.isnan(found), np.isnan(start))
        assert 0 < int(np.isnan(found.values[0]).sum()) < found.values[0].size / 10

    def test_other_operators_are_refused(self, tmp_path: Path, globe: xr.DataArray) -> None:
        coarse, target = degraded(globe, "node"), Target.like(globe)
        path = checkpoint(tmp_path, "abpn", degradation="imresize")
        with pytest.raises(InputError, match="'imresize' made, but these are of 'node'"):
            Abpn(path)(coarse, target)
        with pytest.raises(InputError, match="names no degradation"):
            Abpn(path)(Coarse(coarse.field), target)
        # Allowed is only what was said, and only for nodes.
        other = Abpn(path, allow_registration="mean")
        with pytest.raises(InputError, match="trained on"):
            other.trained_for(degradation("node"))
        with pytest.raises(InputError, match="trained on"):
            Abpn(path, allow_registration="imresize").trained_for(degradation("mean"))

    def test_nodes_taken_for_middles_of_cells(self, tmp_path: Path, globe: xr.DataArray) -> None:
        # As the enlargement by three of 25 x 48 nodes: rows 1 to 73 of 75, columns turned by one.
        nodes = degraded(globe, "node")
        path = checkpoint(tmp_path, "abpn", degradation="imresize")
        found = Abpn(path, allow_registration="imresize")(nodes, Target.like(globe))
        # The same values on cells whose fine grid stays clear of the poles.
        lower = nodes.field.assign_coords(
            latitude=-75 + 6.25 * np.arange(25), longitude=nodes.field["longitude"].values + 2.5
        )
        rows = -75 + 6.25 / 3 * np.arange(-1, 74)
        columns = -177.5 + 2.5 * np.arange(-1, 143)
        target = Target(nodes.field["time"].values, rows, columns, "point")
        expected = BackProjection()(Coarse(lower, degradation("imresize")), target).values
        crop = np.roll(expected[:, 1:74], -1, axis=2)
        np.testing.assert_allclose(found, crop, atol=2e-5 * float(abs(crop).max()))

    def test_seams_of_tiles_are_no_larger_than_elsewhere(self, tmp_path: Path) -> None:
        truth = fine(217, 432, -90, -180, cyclic=True).isel(time=[0])
        tiles = {"tile": 24, "overlap": 8}
        path = checkpoint(tmp_path, "abpn", noise=0.02, settings=tiles)
        coarse, target = degraded(truth, "node"), Target.like(truth)
        added = Abpn(path)(coarse, target).values[0] - BackProjection()(coarse, target).values[0]
        across = abs(added - np.roll(added, 1, axis=1)).mean(axis=0)
        # At the date line and at the edges of tiles no step is larger than elsewhere.
        assert across.max() < 3 * np.median(across)
        down = abs(np.diff(added, axis=0)).mean(axis=1)[20:-20]
        assert down.max() < 3 * np.median(down)


def write_truth(path: Path) -> None:
    """Write 31 hourly means of a small region."""
    hours = 31
    start = np.datetime64("2020-01-01T00:00") + np.arange(hours) * HOUR
    first = smooth((1, 12, 24), cyclic=False)[0]
    field = make_field(
        np.stack([np.roll(first, hour // 2, axis=1) + hour for hour in range(hours)]),
        time=start + HOUR // 2,
        latitude=40 + 0.25 * np.arange(12),
        longitude=5 + 0.25 * np.arange(24),
        stamp="mean",
        bounds=np.stack([start, start + HOUR], axis=1),
    )
    field.to_netcdf(path)


class TestBenchmark:
    def test_checkpoint_from_the_command_line(self, tmp_path: Path) -> None:
        write_truth(tmp_path / "truth.nc")
        path = checkpoint(tmp_path, "xvfi", stamp="point", synthetic=True)
        command = ["simulation", "--year", "2020", "--truth", "truth.nc,kind=generic"]
        command += ["--task", "temporal", "--methods", "dis", "--checkpoint", f"mine={path}"]
        run = call(main, [*command, "--out", "out"], cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        samples = pd.read_parquet(tmp_path / "out" / "samples.parquet")
        mean = samples[samples["weights"] == "none"].groupby("method")["rmse"].mean()
        assert set(mean.index) == {"linear", "dis", "mine"}
        assert mean["mine"] == pytest.approx(mean["dis"], rel=1e-2)
        notes = json.loads((tmp_path / "out" / "run.json").read_text())["notes"]
        assert "mine: trained on instantaneous maps and applied to hourly means." in notes
        assert any("mine: trained on synthetic data only" in note for note in notes)
        assert "mine was trained on instantaneous maps" in run.stderr

    def test_joint_pairs_and_the_place_of_a_registered_name(self, tmp_path: Path) -> None:
        write_truth(tmp_path / "truth.nc")
        mine = checkpoint(tmp_path, "xvfi", stamp="mean")
        abpn = checkpoint(tmp_path, "abpn", degradation="imresize", stamp="mean")
        settings = SimulationOptions(
            year=2020,
            train_years=(),
            truth=ProductSpec("truth", str(tmp_path / "truth.nc"), kind="generic"),
            task=("spatial", "joint"),
            methods=("bicubic-ibp", "mine+abpn", "dis+bicubic-ibp"),
            checkpoints=(CheckpointSpec("mine", mine), CheckpointSpec("abpn", abpn)),
        )
        result = simulate(settings, MonthStore(tmp_path / "months"))
        plain = result.samples[result.samples["weights"] == "none"]
        mean = plain.groupby(["task", "method"])["rmse"].mean()
        assert mean["spatial", "abpn"] == pytest.approx(mean["spatial", "bicubic-ibp"], rel=1e-4)
        same = mean["joint", "dis+bicubic-ibp"]
        assert mean["joint", "mine+abpn"] == pytest.approx(same, rel=1e-2)
        assert ("joint", "linear+bicubic") in mean.index
        source = next(one.source for one in result.available if one.name == "abpn")
        assert "checkpoint" in source

    def test_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"absent\.json: the card .* cannot be read"):
            registry.checkpoint("mine", tmp_path / "absent")
        path = checkpoint(tmp_path, "abpn")
        with pytest.raises(InputError, match="no name of a method"):
            registry.checkpoint("a+b", path)
        with pytest.raises(InputError, match="its name is that of the spatial built-in"):
            registry.checkpoint("bicubic", path)
        card = path.with_name(f"{path.name}.json")
        card.write_text(card.read_text().replace('"abpn"', '"vdsr"'))
        with pytest.raises(InputError, match="network 'vdsr' is that of no registered method"):
            registry.checkpoint("mine", path)


def test_torch_is_imported_at_the_first_use_alone(tmp_path: Path) -> None:
    program = f"""
import importlib.util, pathlib, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else real(name, *rest)
from deepcams_models.methods import Xvfi
method = Xvfi(pathlib.Path({str(checkpoint(tmp_path, "xvfi"))!r}))
print("torch" in sys.modules)
method.trained.card
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "False"
    assert 'torch, which is not installed; pip install "deepcams[models]"' in run.stderr
