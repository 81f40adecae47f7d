"""Production: exact nodes, gaps, shared and interrupted runs, both formats, the real maps."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from deepcams_eval.core.field import validate_field
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_models.cli import main
from deepcams_models.produce import Produced, ProduceSettings, Timeline, produce
from tests.networks import checkpoint
from tests.test_model_downscalers import smooth

HOUR = np.timedelta64(1, "h")


pytestmark = pytest.mark.usefixtures("one_thread")


def cams(
    path: Path,
    maps: int = 21,
    *,
    start: str = "2019-12-30T00:00",
    without: tuple[int, ...] = (),
    globe: bool = False,
    unknown: int | None = None,
) -> ProductSpec:
    """Write a file as the Atmosphere Data Store has it: kg m-3, north first, 0 to 360 degrees."""
    rows, columns = (13, 24) if globe else (5, 9)
    first = smooth((1, rows, columns), cyclic=globe)[0]
    values = np.stack([np.roll(first, i // 4, axis=1) * (1 + i / 50) for i in range(maps)]) * 1e-9
    if unknown is not None:
        values[unknown] = np.nan
    step = 15.0 if globe else 0.75
    south, west = (-90.0, 0.0) if globe else (48.0, 3.0)
    stamps = np.datetime64(start, "ns") + 3 * HOUR * np.arange(maps)
    kept = np.setdiff1d(np.arange(maps), without)
    array = xr.DataArray(
        values[kept][:, ::-1],
        dims=("valid_time", "latitude", "longitude"),
        coords={
            "valid_time": stamps[kept],
            "latitude": (south + step * np.arange(rows))[::-1],
            "longitude": west + step * np.arange(columns),
        },
        attrs={"units": "kg m**-3"},
        name="pm2p5",
    )
    array.to_netcdf(path)
    return ProductSpec("cams", str(path))


def plain(spec: ProductSpec, out: Path, **changes: object) -> ProduceSettings:
    base = ProduceSettings(spec, out, temporal="linear", spatial="bicubic")
    return replace(base, **changes)  # type: ignore[arg-type]


def made(settings: ProduceSettings) -> Produced:
    return produce(settings, command="deepcams-models produce")


def field_of(path: Path) -> xr.DataArray:
    product = open_product(ProductSpec.parse(f"deepcams={path}"))
    validate_field(product.field)
    assert product.kind == "deepcams"
    return product.field.compute()


def content(store: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(store)): one.read_bytes() for one in store.rglob("*") if one.is_file()
    }


class TestTimeline:
    def test_last_interval_of_a_year_ends_in_the_next(self) -> None:
        maps = np.datetime64("2019-12-31T15:00", "us") + 3 * HOUR * np.arange(5)
        line = Timeline.of(maps, (2019,))
        assert line.hours[-1] == np.datetime64("2019-12-31T23:00")
        assert not line.absent().any()
        cut = Timeline.of(maps[:3], (2019,))  # without the first map of the next year
        assert cut.hours[-1] == np.datetime64("2019-12-31T21:00")
        assert cut.gaps() == (
            ("2019-01-01T00:00", "2019-12-31T14:00", 8751),
            ("2019-12-31T22:00", "2019-12-31T23:00", 2),
        )
        assert line.gaps() == cut.gaps()[:1]
        assert len(Timeline.of(maps, ()).hours) == 13
        with pytest.raises(NoDataError, match="no map for 2018"):
            Timeline.of(maps, (2018, 2019))

    def test_gaps_against_a_loop(self) -> None:
        rng = np.random.default_rng(3)
        kept = np.flatnonzero(rng.random(60) > 0.3)
        maps = np.datetime64("2019-03-01", "us") + 3 * HOUR * kept
        line = Timeline.of(maps, ())
        known = set(maps.tolist())
        expected = []
        for hour in line.hours.tolist():
            floor = hour.replace(hour=hour.hour // 3 * 3)
            ceiling = floor + (3 * HOUR).astype("timedelta64[us]").item()
            expected.append(not (hour in known or (floor in known and ceiling in known)))
        np.testing.assert_array_equal(line.absent(), expected)
        assert sum(count for _, _, count in line.gaps()) == sum(expected)

    def test_maps_at_other_steps(self) -> None:
        maps = np.datetime64("2019-03-01", "us") + HOUR * np.arange(4)
        with pytest.raises(InputError, match="not a multiple of three hours"):
            Timeline.of(maps, ())


class TestResult:
    def test_nodes_are_kept_exactly_and_hours_between_are_linear(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc")
        done = made(plain(spec, tmp_path / "out.zarr"))
        assert (done.hours, done.blocks, done.made, done.complete) == (61, 3, 3, True)
        found, given = field_of(tmp_path / "out.zarr"), open_product(spec).field.compute()
        assert found.shape == (61, 13, 25)
        assert found.attrs["cell_methods"] == "time: point"
        np.testing.assert_array_equal(found.values[::3, ::3, ::3], given.values)
        np.testing.assert_array_equal(found["latitude"][::3], given["latitude"])
        third = (2 * given.values[:-1] + given.values[1:]) / 3
        np.testing.assert_allclose(found.values[1::3, ::3, ::3], third, rtol=1e-5)

    def test_netcdf_and_zarr_agree_and_other_readers_open_them(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc", without=(4,))
        made(plain(spec, tmp_path / "out.zarr", years=(2019,)))
        made(plain(spec, tmp_path / "out.nc", years=(2019,)))
        found = field_of(tmp_path / "out.zarr")
        xr.testing.assert_identical(found, field_of(tmp_path / "out.nc"))
        assert not list(tmp_path.glob(".out*"))
        with (
            xr.open_zarr(tmp_path / "out.zarr", consolidated=False) as store,
            xr.open_dataset(tmp_path / "out.nc") as file,
        ):
            for one in (store, file):
                assert one.attrs["Conventions"] == "CF-1.11"
                assert one.attrs["deepcams_status"] == "complete"
                assert one["pm25"].attrs["units"] == "ug m-3"
                assert "pm2p5_ambient_aerosol" in one["pm25"].attrs["standard_name"]
                inputs = json.loads(one.attrs["deepcams_inputs"])
                assert len(inputs[0]["sha256"]) == 64
            assert store["time"].values[-1] == np.datetime64("2019-12-31T23:00")
            np.testing.assert_array_equal(store["pm25"].values, found.values)
            np.testing.assert_array_equal(file["pm25"].values, found.values)

    def test_gap_and_unknown_map_stay_missing_and_are_told_apart(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc", without=(4, 5), unknown=15)
        done = made(plain(spec, tmp_path / "out.zarr", temporal="pchip"))
        assert done.missing == (("2019-12-30T10:00", "2019-12-30T17:00", 8),)
        assert done.empty == (("2019-12-31T19:00", "2019-12-31T23:00", 5),)
        values = field_of(tmp_path / "out.zarr").values
        gone = np.isnan(values).all(axis=(1, 2))
        np.testing.assert_array_equal(np.flatnonzero(gone), [*range(10, 18), *range(43, 48)])
        assert np.isfinite(values[~gone]).all()

    def test_a_day_without_maps_is_a_block_too(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc", maps=40, without=tuple(range(7, 33)))
        done = made(plain(spec, tmp_path / "out.zarr"))
        assert done.complete
        assert made(plain(spec, tmp_path / "out.zarr", resume=True)).made == 0

    def test_networks_and_no_seam_at_the_date_line(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc", maps=3, globe=True)
        settings = ProduceSettings(
            spec,
            tmp_path / "out.zarr",
            xvfi=checkpoint(tmp_path, "xvfi", noise=0.02, synthetic=True),
            abpn=checkpoint(tmp_path, "abpn", noise=0.02),
        )
        done = made(settings)
        assert any("trained on synthetic data" in note for note in done.notes)
        assert set(done.notes) <= set(open_product(ProductSpec("made", str(settings.out))).notes)
        found = field_of(settings.out).values
        assert found.shape == (7, 37, 72)
        steps = abs(np.diff(found, axis=2, append=found[..., :1])).mean(axis=(0, 1))
        assert steps[-1] < np.quantile(steps, 0.95)
        cards = json.loads(xr.open_zarr(settings.out).attrs["deepcams_cards"])
        assert {name: card["parameters"] > 0 for name, card in cards.items()} == {
            "xvfi": True,
            "abpn": True,
        }

    def test_real_maps(self, tmp_path: Path, real_data: Path) -> None:
        # 12_31_24.mat is suspect: its maximum is a third of that of the other three maps.
        place = real_data / "cams" / "12_31_*.mat"
        spec = ProductSpec.parse(f"cams={place},start=2019-12-31T15:00,freq=3h")
        assert made(plain(spec, tmp_path / "out.zarr")).hours == 10
        found, given = field_of(tmp_path / "out.zarr"), open_product(spec).field.compute()
        assert found.shape == (10, 721, 1440)
        for hour, frame in zip(range(0, 10, 3), given.values, strict=True):
            nodes = found.values[hour, ::3, ::3]
            assert np.corrcoef(nodes.ravel(), frame.ravel())[0, 1] > 0.95
            upside_down = np.corrcoef(nodes[::-1].ravel(), frame.ravel())[0, 1]
            assert upside_down < 0.5
            mean = found.values[hour].mean(dtype=np.float64)
            assert mean == pytest.approx(frame.mean(dtype=np.float64), rel=0.01)
        steps = abs(np.diff(found.values, axis=2, append=found.values[..., :1])).mean(axis=(0, 1))
        assert steps[-1] < np.quantile(steps, 0.95)


class TestSharing:
    def test_two_parts_are_one_run(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc", maps=41)
        whole, shared = tmp_path / "a" / "out.zarr", tmp_path / "b" / "out.zarr"
        made(plain(spec, whole))
        first = made(plain(spec, shared, part=(2, 2)))
        assert (first.made, first.complete) == (3, False)
        store = xr.open_zarr(shared)
        assert store.attrs["deepcams_status"].startswith("incomplete")
        half = open_product(ProductSpec.parse(f"deepcams={shared}"))
        assert [note for note in half.notes if "status" in note and "incomplete" in note]
        assert made(plain(spec, shared, part=(1, 2))).complete
        with xr.open_zarr(shared) as opened:  # as others do: it warns of what is not consolidated
            assert opened.attrs["deepcams_status"] == "complete"
        assert content(shared) == content(whole)

    def test_killed_and_resumed(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc", maps=81)
        whole, broken = tmp_path / "a" / "out.zarr", tmp_path / "b" / "out.zarr"
        blocks = made(plain(spec, whole)).blocks
        delay = float(np.random.default_rng().uniform(0, 0.1))
        program = f"""
import os, pathlib, signal, threading
from deepcams_eval.read.product import ProductSpec
from deepcams_models.cli import main
from deepcams_models.produce import ProduceSettings, produce
def progress(step, done, total):
    if done == 3:
        threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if done == total:
        threading.Event().wait()
settings = ProduceSettings(ProductSpec("cams", {spec.path!r}), pathlib.Path({str(broken)!r}),
                           temporal="linear", spatial="bicubic")
produce(settings, command="deepcams-models produce", progress=progress)
"""
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert run.returncode == -signal.SIGKILL, run.stderr
        rest = broken / "pm25" / "c" / str(blocks - 1) / "0" / "0.aa.partial"
        if not rest.with_name("0").exists():
            rest.parent.mkdir(parents=True, exist_ok=True)
            rest.write_bytes(b"cut off")
        done = made(plain(spec, broken, resume=True))
        assert done.found >= 3
        assert done.found + done.made == blocks
        assert content(broken) == content(whole)

    def test_a_failed_netcdf_leaves_nothing(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc")

        def stop(_step: str, done: int, _total: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            produce(plain(spec, tmp_path / "out.nc"), command="", progress=stop)
        assert [one.name for one in tmp_path.iterdir()] == ["cams.nc"]


class TestRefused:
    def test_output(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc")
        out = tmp_path / "out.zarr"
        made(plain(spec, out))
        (tmp_path / "other.zarr").mkdir()
        for settings, said in (
            (plain(spec, out), "add --resume"),
            (plain(spec, out, resume=True, spatial="bilinear"), "made with other methods"),
            (plain(replace(spec, units="kg m-3"), out, resume=True), "made with other cams"),
            (plain(spec, tmp_path / "out.nc", part=(1, 2)), "made in one go"),
            (plain(spec, out, part=(3, 2)), "part 3 of 2"),
            (plain(spec, tmp_path / "other.zarr", resume=True), "no store that this command has"),
        ):
            with pytest.raises(InputError, match=said):
                made(settings)
        stored = Path(spec.path).read_bytes()
        Path(spec.path).write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
        with pytest.raises(InputError, match="made with other inputs"):
            made(plain(spec, out, resume=True))

    def test_methods(self, tmp_path: Path) -> None:
        spec = cams(tmp_path / "cams.nc", maps=3)
        out = tmp_path / "out.zarr"
        cells = checkpoint(tmp_path, "abpn", degradation="imresize")
        absent = tmp_path / "absent"
        for changes, said in (
            ({"spatial": None, "abpn": cells}, r"'node'.*--spatial bicubic.*--allow-registration"),
            ({"temporal": None, "xvfi": absent}, r"no weights of xvfi.*--temporal dis"),
            ({"abpn": cells}, "both 'bicubic' and a checkpoint of abpn"),
            ({"spatial": "pattern"}, "learns from years"),
        ):
            with pytest.raises(InputError, match=said):
                made(plain(spec, out, **changes))
        assert not out.exists()
        allowed = plain(spec, out, spatial=None, abpn=cells, allow_registration="imresize")
        assert any("middles of its cells" in note for note in made(allowed).notes)

    def test_a_region_across_the_date_line(self, tmp_path: Path) -> None:
        plain_spec = cams(tmp_path / "cams.nc", maps=3)
        with xr.open_dataset(plain_spec.path) as stored:
            moved = stored.assign_coords(longitude=stored["longitude"] + 174.75)
            moved.to_netcdf(tmp_path / "across.nc")
        spec = ProductSpec("cams", str(tmp_path / "across.nc"))
        with pytest.raises(InputError, match=r"across\.nc: cams: longitude is not evenly spaced"):
            made(plain(spec, tmp_path / "out.zarr"))
        assert not (tmp_path / "out.zarr").exists()

    def test_means(self, tmp_path: Path) -> None:
        spec = replace(cams(tmp_path / "cams.nc", maps=3), stamp="mean", freq="1h")
        with pytest.raises(InputError):
            made(plain(spec, tmp_path / "out.zarr"))


def test_command_line_without_torch() -> None:
    program = """
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else real(name, *rest)
from deepcams_models.cli import main
main()
"""
    run = subprocess.run(
        [sys.executable, "-c", program, "produce"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: deepcams-models needs torch")
    assert 'pip install "deepcams[models]"' in run.stderr
    assert "Traceback" not in run.stderr


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # put back at the end
    spec = cams(tmp_path / "cams.nc", without=(4,))
    command = ["deepcams-models", "produce", "--cams", spec.path, "--threads", "1"]
    command += ["--out", str(tmp_path / "out.zarr"), "--temporal", "dis", "--spatial", "bicubic"]

    def run(*more: str) -> object:
        monkeypatch.setattr(sys, "argv", [*command, *more])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    assert run("--part", "1/2") == 0
    printed = capsys.readouterr().out
    assert "61 hours in 3 blocks: 1 made, 0 were there; others are still" in printed
    assert "missing: 2019-12-30T10:00 to 2019-12-30T14:00 UTC (5 h)" in printed
    history = xr.open_zarr(tmp_path / "out.zarr", consolidated=False).attrs["history"]
    assert "--part" not in history
    assert "--threads" not in history
    assert run() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "add --resume" in said
    assert run("--resume") == 0
    assert run("--part", "3/2") == 2
