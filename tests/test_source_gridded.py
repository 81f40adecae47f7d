from __future__ import annotations

import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import psutil
import pytest
import scipy.io
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.core.field import Product, validate_field
from deepcams_eval.errors import InputError, NoDataError, UnitsError
from deepcams_eval.read import registry
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_eval.read.source import Source
from tests.gridded_files import (
    FORMS,
    Form,
    global_nodes,
    make_truth,
    write_cf,
    write_eac4_new,
    write_eac4_old,
    write_forecast,
    write_geoscf_native,
    write_geoscf_opendap,
    write_maps,
)

Field = xr.DataArray


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPCAMS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def points() -> xr.DataArray:
    return make_truth(np.random.default_rng(4), hours=3, stamp="point")


@pytest.fixture
def means() -> xr.DataArray:
    return make_truth(np.random.default_rng(4), hours=1, stamp="mean")


@pytest.fixture(scope="module")
def two_processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


def open_text(text: object, **options: bool) -> Product:
    return open_product(ProductSpec.parse(f"x={text}"), **options)


@dataclass(frozen=True)
class Written:
    form: Form
    truth: xr.DataArray
    folder: Path
    text: str

    def open(self) -> Product:
        return open_text(self.text)


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    form: Form = request.param
    rng = np.random.default_rng(20180308)
    truth = make_truth(rng, hours=form.hours, stamp=form.stamp).isel(latitude=slice(*form.rows))
    folder = tmp_path / "files"
    folder.mkdir()
    return Written(form, truth, folder, form.write(folder, truth))


def assert_same_field(found: xr.DataArray, truth: xr.DataArray, tolerance: float) -> None:
    validate_field(found)
    assert set(found.coords) == set(truth.coords)
    for name in truth.coords:
        np.testing.assert_array_equal(found[name].values, truth[name].values)
    assert found.attrs == truth.attrs
    np.testing.assert_allclose(found.values, truth.values, rtol=1e-6, atol=tolerance)


class TestEveryForm:
    def test_gives_the_truth(self, written: Written) -> None:
        product = written.open()
        assert product.kind == written.form.kind
        assert product.name == "x"
        assert product.damaged == ()
        assert all(path.is_absolute() for path in product.files)
        assert_same_field(product.field, written.truth, written.form.tolerance)

    def test_reads_no_value_at_opening(self, written: Written) -> None:
        product = written.open()
        assert product.field.chunks is not None
        shutil.rmtree(written.folder)
        shutil.rmtree(written.folder.parent / "cache", ignore_errors=True)
        with pytest.raises(InputError, match="files"):
            product.field.compute(scheduler="synchronous")

    def test_computes_in_other_processes(
        self, written: Written, two_processes: ProcessPoolExecutor
    ) -> None:
        here = written.open().field
        there = pickle.loads(pickle.dumps(here)).compute(scheduler="processes", pool=two_processes)
        xr.testing.assert_identical(here.compute(scheduler="synchronous"), there)

    def test_names_the_same_data_alike(self, written: Written) -> None:
        assert written.open().field.data.name == written.open().field.data.name


class TestGrid:
    @settings(max_examples=25, deadline=None)
    @given(
        turn=st.integers(0, 11),
        west=st.sampled_from([-180, -30, 0, 90, 180]),
        south_first=st.booleans(),
        columns_descend=st.booleans(),
        repeat_meridian=st.booleans(),
        float_type=st.sampled_from(["f4", "f8"]),
    )
    def test_any_convention_gives_the_same_field(
        self, turn, west, south_first, columns_descend, repeat_meridian, float_type
    ) -> None:
        truth = make_truth(np.random.default_rng(1), hours=3, stamp="point")
        columns = np.roll(np.arange(12), -turn)
        longitude = (truth.longitude.values[columns] - west) % 360 + west
        if repeat_meridian:
            columns = np.append(columns, columns[0])
            longitude = np.append(longitude, longitude[0])
        stored = truth.isel(longitude=columns).assign_coords(longitude=longitude.astype(float_type))
        if columns_descend:
            stored = stored.isel(longitude=slice(None, None, -1))
        if not south_first:
            stored = stored.isel(latitude=slice(None, None, -1))
        with tempfile.TemporaryDirectory() as folder:
            path = write_cf(Path(folder) / "a.nc", stored, name="pm25", float_type="f8")
            product = open_text(path)
            assert_same_field(product.field, truth, 0)
            assert any("meridian" in note for note in product.notes) == repeat_meridian

    def test_region_off_the_lattice_keeps_its_coordinates(self, tmp_path: Path) -> None:
        latitude, longitude = 41.1 + 0.75 * np.arange(4), -9.3 + 0.75 * np.arange(5)
        truth = make_truth(
            np.random.default_rng(2),
            hours=3,
            stamp="point",
            latitude=latitude,
            longitude=longitude,
        )
        field = open_text(write_eac4_old(tmp_path / "a.nc", truth, greenwich=False)).field
        np.testing.assert_allclose(field.latitude, latitude, rtol=0, atol=1e-9)
        np.testing.assert_allclose(field.longitude, longitude, rtol=0, atol=1e-9)

    def test_centre_registration_is_half_a_cell_off(self, tmp_path: Path) -> None:
        maps = write_maps(tmp_path / "m", np.arange(72.0).reshape(1, 6, 12))
        product = open_text(f"{maps},kind=deepcams,start=2018-01-01,registration=centre")
        np.testing.assert_array_equal(product.field.latitude, np.arange(-75, 90, 30))
        np.testing.assert_array_equal(product.field.longitude, np.arange(-165, 180, 30))
        assert float(product.field[0, -1, 0]) == 0
        assert any("centre" in note for note in product.notes)

    def test_720_rows_say_what_was_assumed(self, tmp_path: Path) -> None:
        maps = write_maps(tmp_path / "m", np.ones((1, 720, 1440)))
        product = open_text(f"{maps},start=2018-01-01")
        assert product.kind == "deepcams"
        assert product.field.latitude.values[[0, -1]].tolist() == [-89.75, 90.0]
        assert any("node-north" in n and "registration=" in n for n in product.notes)

    def test_another_grid_names_the_file(self, tmp_path: Path, points: Field) -> None:
        write_eac4_new(tmp_path / "a.nc", points.isel(time=slice(0, 3)))
        write_eac4_new(tmp_path / "b.nc", points.isel(time=slice(3, 6), latitude=slice(1, None)))
        with pytest.raises(InputError, match=r"b\.nc: its grid \(6 x 12.*a\.nc"):
            open_text(tmp_path)

    def test_files_of_one_grid_stored_differently_join(self, tmp_path: Path, points: Field) -> None:
        write_eac4_new(tmp_path / "b.nc", points.isel(time=slice(0, 3)))
        write_eac4_old(tmp_path / "a.nc", points.isel(time=slice(3, 6)), greenwich=False)
        assert_same_field(open_text(tmp_path).field, points, 2e-3)

    @pytest.mark.parametrize("how", ["mapping", "two-dimensional", "projection"])
    def test_projection_is_refused(self, tmp_path: Path, how: str) -> None:
        path = tmp_path / "a.nc"
        with netCDF4.Dataset(path, "w") as dataset:
            for dim, size in (("time", 1), ("y", 4), ("x", 5)):
                dataset.createDimension(dim, size)
            time = dataset.createVariable("time", "i4", ("time",))
            time.units = "hours since 2018-01-01"
            time[:] = 0
            variable = dataset.createVariable("pm25", "f4", ("time", "y", "x"))
            variable.units = "ug m-3"
            if how == "mapping":
                variable.grid_mapping = "crs"
                crs = dataset.createVariable("crs", "i4", ())
                crs.grid_mapping_name = "lambert_conformal_conic"
            elif how == "two-dimensional":
                dataset.createVariable("lat", "f4", ("y", "x"))
                dataset.createVariable("lon", "f4", ("y", "x"))
            else:
                easting = dataset.createVariable("x", "f4", ("x",))
                easting.standard_name = "projection_x_coordinate"
        with pytest.raises(InputError, match="regrid it"):
            open_text(f"{path},stamp=point")


class TestRefusals:
    """Each names the file, and the option that decides or the next step."""

    @pytest.mark.parametrize(
        ("said", "options", "error"),
        [
            ({}, ",start=2018-01-01,freq=3h", "leave start= out"),
            ({}, ",registration=centre", "leave registration=centre out"),
            ({"calendar": "noleap"}, "", "noleap"),
            ({"name": "ozone"}, "", "only ozone.*variable="),
            ({"attributes": {"units": "ppm"}}, ",stamp=point", ".*ppm"),
            ({"attributes": {"units": "ug m-3"}}, "", ".*stamp=point or stamp=mean"),
            ({"attributes": {"cell_methods": "time: maximum"}}, "", "'maximum' over time"),
            ({}, ",stamp=mean", "add time bounds"),  # stamped at whole hours
        ],
    )
    def test_labelled_files(
        self, tmp_path: Path, points: Field, said: dict[str, Any], options: str, error: str
    ) -> None:
        calendar = said.get("calendar")
        rest = {name: value for name, value in said.items() if name != "calendar"}
        path = write_cf(tmp_path / "a.nc", points, **{"name": "pm25"} | rest)
        if calendar:
            with netCDF4.Dataset(path, "a") as dataset:
                dataset["time"].calendar = calendar
        if "attributes" in said and "units" not in said["attributes"]:
            options += ",units=ug m-3"
        with pytest.raises(InputError, match=rf"a\.nc: .*{error}"):
            open_text(f"{path}{options}")

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ("kind=cams,start=2018-01-01,registration=centre", "registration=centre"),
            ("kind=cams,start=2018-01-01,rows=6", "7 rows, not rows=6"),
            ("start=2018-01-01", "map of 7 x 12 .*kind=geoscf"),
        ],
    )
    def test_maps(self, tmp_path: Path, options: str, error: str) -> None:
        maps = write_maps(tmp_path / "m", np.ones((1, 7, 12)))
        with pytest.raises(InputError, match=rf"1\.mat: .*{error}"):
            open_text(f"{maps},{options}")

    @pytest.mark.parametrize("name", ["12_31_15", "20191308_05", "20190308", "320190308059"])
    def test_names_without_a_time(self, tmp_path: Path, name: str) -> None:
        folder = write_maps(tmp_path / "m", np.ones((1, 7, 12)), name=f"{name}.mat")
        with pytest.raises(InputError, match="start= and freq="):
            open_text(f"{folder},kind=deepcams")

    @pytest.mark.parametrize(
        ("member", "content", "error"),
        [
            ("data_0.nc", "<html>", r"a\.zip/data_0\.nc: is a web page"),
            ("a.grib", "GRIB", "data_format: netcdf"),
            ("a.txt", "GRIB", "only a.txt"),
        ],
    )
    def test_zip_files(self, tmp_path: Path, member: str, content: str, error: str) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(member, content)
        with pytest.raises(InputError, match=error):
            open_text(tmp_path / "a.zip")

    def test_paths_and_forms(self, tmp_path: Path) -> None:
        (tmp_path / "README.txt").write_text("nothing")
        with pytest.raises(NoDataError, match="no file of a known form"):
            open_text(tmp_path)
        (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
        for text, error in (
            ("nothing_here", "no such file or folder"),
            ("nothing*.nc", "matches no file"),
            ("a.mat", "-v7"),
        ):
            with pytest.raises(InputError, match=error):
                open_text(tmp_path / text)


class TestTime:
    def test_interleaved_files_are_sorted(self, tmp_path: Path, points: Field) -> None:
        write_eac4_new(tmp_path / "b.nc", points.isel(time=slice(0, None, 2)))
        write_eac4_new(tmp_path / "a.nc", points.isel(time=slice(1, None, 2)))
        product = open_text(tmp_path)
        assert_same_field(product.field, points, 2e-6)
        assert [path.name for path in product.files] == ["b.nc", "a.nc"]

    def test_a_time_in_two_files_names_both(self, tmp_path: Path, points: Field) -> None:
        write_eac4_new(tmp_path / "a.nc", points.isel(time=slice(0, 4)))
        write_eac4_new(tmp_path / "b.nc", points.isel(time=slice(3, 6)))
        with pytest.raises(InputError, match=r"a\.nc: holds 2019-01-01T03:00, .*b\.nc"):
            open_text(tmp_path)

    def test_overlapping_forecasts_are_refused(self, tmp_path: Path) -> None:
        truth = make_truth(np.random.default_rng(4), hours=1, stamp="point")
        twice = truth.isel(time=[0, 1, 2, 1, 2, 3])
        with pytest.raises(InputError, match=r"holds 2018-12-31T19:00 twice .*lead time"):
            open_text(write_forecast(tmp_path / "a.nc", twice, lead_times=3))

    def test_natural_order_of_many_maps(self, tmp_path: Path) -> None:
        maps = np.arange(12.0)[:, None, None] * np.ones((12, 7, 12))
        folder = write_maps(tmp_path / "m", maps)
        field = open_text(
            f"{folder},kind=geoscf,start=2018-03-08T00:30+00:00,freq=h,units=ug m-3"
        ).field
        assert field[:, 0, 0].values.tolist() == list(range(12))
        assert field.time_end.values[-1] == np.datetime64("2018-03-08T12:00")

    def test_a_damaged_map_keeps_its_hour(self, tmp_path: Path) -> None:
        maps = np.arange(5.0)[:, None, None] * np.ones((5, 7, 12))
        folder = write_maps(tmp_path / "m", maps)
        cut_short(folder / "2.mat", 40)
        product = open_text(f"{folder},kind=deepcams,start=2018-03-08,freq=1h")
        assert product.field[:, 0, 0].values.tolist() == [0, 2, 3, 4]
        assert product.field.time.dt.hour.values.tolist() == [0, 2, 3, 4]
        assert [Path(one.path).name for one in product.damaged] == ["2.mat"]

    @pytest.mark.parametrize(
        "name",
        [
            "20190308_05",
            "2019030805",
            "DeepCAMS-2019-03-08T05",
            "x_20190308_0500z",
            "2019_03_08_05",
        ],
    )
    def test_times_in_file_names(self, tmp_path: Path, name: str) -> None:
        folder = write_maps(tmp_path / "m", np.ones((1, 7, 12)), name=f"{name}.mat")
        product = open_text(f"{folder},kind=deepcams")
        assert product.field.time.values[0] == np.datetime64("2019-03-08T05:00")
        assert "times taken from the file names" in product.notes

    def test_opendap_days_come_out_right(self, tmp_path: Path, means: Field) -> None:
        # An independent decoder: proleptic days of Python, and the two days between calendars.
        path = write_geoscf_opendap(tmp_path / "a.nc", means)
        with netCDF4.Dataset(path) as dataset:
            days = float(dataset["time"][0])
        assert np.datetime64("0001-01-01", "D") + int(days) - 2 == np.datetime64("2018-12-31")
        assert open_text(path).field.time.values[0] == np.datetime64("2018-12-31T18:30")

    def test_no_time_names_the_option(self, tmp_path: Path, points: Field) -> None:
        path = write_cf(tmp_path / "a.nc", points, name="pm25")
        with netCDF4.Dataset(path, "a") as dataset:
            dataset["time"].delncattr("units")
        with pytest.raises(InputError, match="start= and freq="):
            open_text(path)
        field = open_text(f"{path},start=2018-12-31T18:00,freq=3h").field
        assert_same_field(field, points, 0)


class TestStamp:
    def written(self, folder: Path, **attributes: str) -> Path:
        truth = make_truth(np.random.default_rng(6), hours=1, stamp="mean")
        kept = {"units": "ug m-3", **attributes}
        return write_cf(folder / "a.nc", truth, name="pm25", attributes=kept, bounds=False)

    def test_option_decides(self, tmp_path: Path) -> None:
        path = self.written(tmp_path)
        assert open_text(f"{path},stamp=point").field.attrs["cell_methods"] == "time: point"
        mean = open_text(f"{path},stamp=mean").field
        assert mean.time_start.values[0] == np.datetime64("2018-12-31T18:00")
        assert mean.time_end.values[0] == np.datetime64("2018-12-31T19:00")

    def test_option_against_the_file_is_noted(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, cell_methods="area: mean time: mean (interval: 1 hour)")
        assert open_text(path).field.attrs["cell_methods"] == "time: mean"
        product = open_text(f"{path},stamp=point")
        assert product.notes == ("stamp=point, though the files say mean",)
        assert "time_start" not in product.field.coords

    def test_bounds_alone_mean_a_mean(self, tmp_path: Path) -> None:
        truth = make_truth(np.random.default_rng(6), hours=3, stamp="mean")
        # Stamped at the end, so that only the bounds can tell the interval.
        truth = truth.assign_coords(time=truth.time_end.values)
        path = write_cf(tmp_path / "a.nc", truth, name="pm25", attributes={"units": "ug m-3"})
        assert_same_field(open_text(path).field, truth, 0)

    def test_a_stored_field_comes_back(self, tmp_path: Path, means: Field) -> None:
        means.to_dataset().to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
        assert_same_field(open_text(tmp_path / "a.zarr").field, means, 0)


class TestCams:
    """What shows ECMWF is taken without a word, what only the variable's name shows is noted."""

    def named(self, folder: Path, **attributes: str) -> Path:
        truth = make_truth(np.random.default_rng(6), hours=1, stamp="point")
        kept = {"units": "ug m-3", **attributes}
        return write_cf(folder / "a.nc", truth, name="pm2p5", attributes=kept)

    def test_every_form_of_it_is_certain(self, written: Written) -> None:
        notes = written.open().notes
        assert not any("by the name of its variable alone" in note for note in notes)

    def test_the_name_alone_is_noted_and_not_refused(self, tmp_path: Path) -> None:
        product = open_text(self.named(tmp_path))
        assert product.kind == "cams"
        assert product.field.attrs["cell_methods"] == "time: point"
        assert len(product.notes) == 1
        assert "instantaneous; stamp= decides" in product.notes[0]

    @pytest.mark.parametrize(
        ("of_array", "of_file", "options", "notes"),
        [
            # Who says what it is hears nothing.
            ({}, {}, ",stamp=point", 0),
            ({}, {}, ",kind=cams", 0),
            ({"cell_methods": "time: point"}, {}, "", 0),
            # Units and attributes show it.
            ({"units": "ug m**-3"}, {}, "", 0),
            ({"GRIB_centre": "ecmf"}, {}, "", 0),
            ({}, {"history": "2022-11-02 17:45:05 GMT by grib_to_netcdf-2.25.1: -S"}, "", 0),
            ({}, {"institution": "European Centre for Medium-Range Weather Forecasts"}, "", 0),
            ({}, {"GRIB_centre": "ecmf"}, "", 0),
            # Its weather makes no model CAMS.
            ({}, {"source": "driven by the weather of ECMWF", "institution": "else"}, "", 1),
        ],
    )
    def test_what_shows_it(
        self,
        tmp_path: Path,
        of_array: dict[str, str],
        of_file: dict[str, str],
        options: str,
        notes: int,
    ) -> None:
        path = self.named(tmp_path, **of_array)
        with netCDF4.Dataset(path, "a") as dataset:
            dataset.setncatts(of_file)
        assert len(open_text(f"{path}{options}").notes) == notes


class TestUnits:
    def test_missing_units_name_the_option(self, tmp_path: Path, points: Field) -> None:
        path = write_cf(tmp_path / "a.nc", points, name="pm25", attributes={})
        with pytest.raises(UnitsError, match=r"a\.nc: .*units="):
            open_text(f"{path},stamp=point")
        field = open_text(f"{path},stamp=point,units=mg m-3").field
        np.testing.assert_allclose(field.values, points.values * 1e3, rtol=1e-6)

    def test_contradiction_is_refused(self, tmp_path: Path, points: Field) -> None:
        path = write_eac4_new(tmp_path / "a.nc", points)
        with pytest.raises(InputError, match=r"'kg m\*\*-3'.*contradicts"):
            open_text(f"{path},units=ug m-3")
        assert_same_field(open_text(f"{path},units=kg/m3").field, points, 2e-6)

    def test_empty_units_of_geoscf_are_noted(self, tmp_path: Path, means: Field) -> None:
        product = open_text(write_geoscf_native(tmp_path / "a.nc4", means[0]))
        assert product.notes == ("no units in the files: taken as ug m-3",)

    def test_small_and_negative_values_stay(self, tmp_path: Path, points: Field) -> None:
        points[0, 0, :3] = [-0.25, 1e-7, 0.0]
        field = open_text(write_eac4_new(tmp_path / "a.nc", points)).field
        np.testing.assert_allclose(field[0, 0, :3].values, [-0.25, 1e-7, 0.0], rtol=1e-6)


class TestVariable:
    def test_several_candidates_name_the_option(self, tmp_path: Path, points: Field) -> None:
        path = write_cf(tmp_path / "a.nc", points, name="pm25")
        with netCDF4.Dataset(path, "a") as dataset:
            other = dataset.createVariable("PM2P5_conc", "f4", ("time", "latitude", "longitude"))
            other.units = "kg m-3"
            other[:] = 7e-9
        with pytest.raises(InputError, match="pm25, PM2P5_conc; name the array with variable="):
            open_text(f"{path},stamp=point")
        assert_same_field(open_text(f"{path},variable=pm25").field, points, 0)
        chosen = open_text(f"{path},variable=pm2p5_conc,stamp=point").field
        np.testing.assert_allclose(chosen.values, 7.0, rtol=1e-6)

    def test_standard_name_tells(self, tmp_path: Path, points: Field) -> None:
        name = "mass_concentration_of_pm2p5_ambient_aerosol_particles_in_air"
        attributes = {**points.attrs, "standard_name": name}
        path = write_cf(tmp_path / "a.nc", points, name="aerosol", attributes=attributes)
        assert_same_field(open_text(path).field, points, 0)

    def test_levels_are_refused(self, tmp_path: Path, points: Field) -> None:
        path = write_cf(tmp_path / "a.nc", points)
        with netCDF4.Dataset(path, "a") as dataset:
            dataset.createDimension("lev", 2)
            levels = dataset.createVariable("pm25", "f4", ("time", "lev", "latitude", "longitude"))
            levels.units = "ug m-3"
        with pytest.raises(InputError, match="2 entries along 'lev'"):
            open_text(f"{path},variable=pm25,stamp=point")

    def test_all_missing_opens(self, tmp_path: Path, points: Field) -> None:
        field = open_text(
            write_cf(tmp_path / "a.nc", points * np.nan, name="pm25", attributes=points.attrs)
        ).field
        assert bool(field.isnull().all())


def cut_short(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


BREAK: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda _: b"\n<!DOCTYPE html><html><body>Please log in</body></html>",
    "text": lambda _: b"not data",
    "empty": lambda _: b"",
    "short": lambda content: content[: len(content) - len(content) // 3],
    "header": lambda content: content[:150],
    "zip": lambda _: b"PK\x03\x04" + bytes(60),
}


@pytest.mark.parametrize("breaking", BREAK)
@pytest.mark.parametrize("writer", [write_eac4_old, write_eac4_new])
class TestDamage:
    def test_one_among_many_is_left_out_and_counted(
        self, tmp_path: Path, points: Field, writer: Any, breaking: str
    ) -> None:
        paths = [tmp_path / f"{index}.nc" for index in range(3)]
        for index, path in enumerate(paths):
            writer(path, points.isel(time=slice(2 * index, 2 * index + 2)))
        paths[1].write_bytes(BREAK[breaking](paths[1].read_bytes()))
        product = open_text(tmp_path)
        assert [Path(one.path).name for one in product.damaged] == ["1.nc"]
        assert product.damaged[0].reason
        assert_same_field(product.field, points.isel(time=[0, 1, 4, 5]), 2e-3)
        for text, strict in ((tmp_path, True), (paths[1], False)):
            with pytest.raises(InputError, match=r"1\.nc: .*; ") as caught:
                open_text(text, strict=strict)
            assert "\n" not in str(caught.value)
        for path in (paths[0], paths[2]):
            path.write_bytes(BREAK[breaking](path.read_bytes()))
        with pytest.raises(InputError, match=r"0\.nc: .*all other 2 files"):
            open_text(tmp_path)


class TestFiles:
    def test_classic_file_one_byte_short_is_noticed(self, tmp_path: Path, points: Field) -> None:
        path = write_eac4_old(tmp_path / "a.nc", points)
        size = path.stat().st_size
        cut_short(path, 4)
        with pytest.raises(InputError, match=f"cut short: {size - 4} bytes of"):
            open_text(path)

    def test_damage_inside_is_met_while_reading(self, tmp_path: Path) -> None:
        folder = write_maps(tmp_path / "m", np.arange(168.0).reshape(2, 7, 12))
        content = bytearray((folder / "2.mat").read_bytes())
        content[-40:-20] = bytes(20)
        (folder / "2.mat").write_bytes(bytes(content))
        field = open_text(f"{folder},kind=cams,start=2018-01-01,freq=3h").field
        with pytest.raises(InputError, match=r"2\.mat: "):
            field.compute(scheduler="synchronous")

    def test_grib_tells_what_to_ask_for(self, tmp_path: Path) -> None:
        path = tmp_path / "a.grib"
        path.write_bytes(b"GRIB" + bytes(100))
        for text in (path, tmp_path):
            with pytest.raises(InputError, match=r"a\.grib: is GRIB.*data_format: netcdf"):
                open_text(text)

    def test_commas_in_paths_and_other_files_in_folders(
        self, tmp_path: Path, points: Field
    ) -> None:
        folder = tmp_path / "Rhône, 2018"
        folder.mkdir()
        write_eac4_new(folder / "a.nc", points)
        (folder / "a.nc.sha256").write_text("0")
        (folder / ".hidden.nc").write_text("0")
        assert_same_field(open_text(f"{folder},kind=cams").field, points, 2e-6)

    def test_many_files_leave_no_handle_open(self, tmp_path: Path) -> None:
        truth = make_truth(np.random.default_rng(11), hours=1, stamp="mean", frames=60)
        for index, frame in enumerate(truth):
            write_geoscf_native(tmp_path / f"{index:03d}.nc4", frame)
        before = psutil.Process().num_fds()
        field = open_text(tmp_path).field
        assert psutil.Process().num_fds() == before
        assert_same_field(field, truth, 0)
        assert psutil.Process().num_fds() == before
        assert max(field.chunks[0]) <= 24

    def test_chunks_are_whole_frames_of_at_most_64_mib(self, tmp_path: Path) -> None:
        latitude, longitude = global_nodes(721)
        path = tmp_path / "a.nc"
        with netCDF4.Dataset(path, "w") as dataset:
            for name, values in (("latitude", latitude), ("longitude", longitude)):
                dataset.createDimension(name, len(values))
                dataset.createVariable(name, "f8", (name,))[:] = values
            dataset.createDimension("time", 100)
            time = dataset.createVariable("time", "i4", ("time",))
            time.units = "hours since 2018-01-01"
            time[:] = np.arange(100)
            # Nothing is written: the file stays small, and all values are missing.
            variable = dataset.createVariable(
                "pm25",
                "f4",
                ("time", "latitude", "longitude"),
                zlib=True,
                chunksizes=(5, 721, 1440),
            )
            variable.units, variable.cell_methods = "ug m-3", "time: point"
        field = open_text(path).field
        assert field.chunks == ((15,) * 6 + (10,), (721,), (1440,))
        assert bool(field[-1].isnull().all())


class TestRegistry:
    def test_a_source_is_one_entry(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: Field
    ) -> None:
        toy = Source(
            kind="toy",
            variables=("haze",),
            recognises=lambda contents: contents.attributes.get("title") == "a toy",
            stamp="point",
            stamp_note="toys are instantaneous",
            units="mg m-3",
        )
        path = write_cf(tmp_path / "a.nc", points, name="haze", attributes={}, title="a toy")
        with pytest.raises(InputError, match="no array that is known as PM2"):
            open_text(path)
        monkeypatch.setattr(registry, "SOURCES", [toy, *registry.SOURCES])
        for text in (str(path), f"{path},kind=toy"):
            product = open_text(text)
            assert product.kind == "toy"
            assert product.notes[1] == "toys are instantaneous"
            np.testing.assert_allclose(product.field.values, points.values * 1e3, rtol=1e-6)
        with pytest.raises(InputError, match="use one of toy, cams, geoscf, deepcams, generic"):
            open_text(f"{path},kind=toys")


class TestSpec:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("cams", "NAME=PATH"),
            ("cams=", "no path"),
            ("=a.nc", "not usable"),
            ("_x=a.nc", "not usable"),
            ("a b=a.nc", "not usable"),
            ("observed=a.nc", "column of the pairs"),
            ("station_kind=a.nc", "column of the pairs"),
            ("x=a.nc,unit=kg", "unknown key 'unit'.*variable, units, stamp"),
            ("x=a.nc,kind=merra", "cams, geoscf, deepcams, generic"),
            ("x=a.nc,stamp=instant", "point, mean"),
            ("x=a.nc,registration=south", "node-north, node-south, centre"),
            ("x=a.nc,units=", "empty"),
            ("x=a.nc,kind=cams,kind=cams", "twice"),
            ("x=a.nc,start=yesterday-ish", "start=2019-12-31T15:00"),
            ("x=a.nc,freq=often", "freq=3h"),
            ("x=a.nc,freq=-3h", "freq=3h"),
            ("x=a.nc,rows=many", "rows=720"),
        ],
    )
    def test_bad_forms_name_what_is_allowed(self, text: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            ProductSpec.parse(text)

    def test_start_is_turned_to_utc(self) -> None:
        spec = ProductSpec.parse("x=a,start=2018-01-01T01:00+01:00,freq=30min")
        assert spec.first_time == np.datetime64("2018-01-01T00:00")
        assert spec.step == np.timedelta64(30, "m")


class TestRealFiles:
    def open(self, text: str) -> Product:
        return open_product(ProductSpec.parse(f"x={text}"))

    def test_ixelles_years_are_one_series(self, real_data: Path) -> None:
        product = self.open(f"{real_data}/cams/eac4_ixelles_*.nc")
        assert product.kind == "cams"
        assert product.field.shape == (3 * 2920, 3, 3)
        assert product.field.latitude.values.tolist() == [50.25, 51.0, 51.75]
        assert product.field.longitude.values.tolist() == [3.75, 4.5, 5.25]
        for year in (2017, 2018, 2019):
            with xr.open_dataset(real_data / "cams" / f"eac4_ixelles_{year}.nc") as independent:
                np.testing.assert_array_equal(
                    product.field.sel(time=str(year)).values,
                    independent["pm2p5"].sortby("latitude").values,
                )

    def test_old_store_is_turned_and_converted(self, real_data: Path) -> None:
        path = real_data / "cams" / "eac4_global_20030101T00_old-ads.nc"
        field = self.open(str(path)).field
        with xr.open_dataset(path) as independent:
            for latitude, longitude in ((51.0, 4.5), (-33.75, 289.5), (0.0, 0.0), (30.0, 180.0)):
                expected = independent["pm2p5"].sel(latitude=latitude, longitude=longitude)
                east = longitude - 360 if longitude >= 180 else longitude
                found = field.sel(latitude=latitude, longitude=east)
                np.testing.assert_allclose(found.values, expected.values * 1e9, rtol=1e-6)

    def test_maps_and_old_store_show_the_same_world(self, real_data: Path) -> None:
        maps = self.open(f"{real_data}/cams/*.mat,start=2019-12-31T15:00,freq=3h").field
        assert maps.time.values[-1] == np.datetime64("2020-01-01T00:00")
        fires = maps[0].compute()
        place = fires.where(fires == fires.max(), drop=True)
        assert -45 < float(place.latitude[0]) < -25
        assert 140 < float(place.longitude[0]) < 155

        other = self.open(f"{real_data}/cams/eac4_global_20030101T00_old-ads.nc").field[0].values

        def alike(one: np.ndarray) -> float:
            # Below the packing steps of 0.02 ug m-3, the logarithm shows noise only.
            logs = [np.log(np.maximum(values, 0.1)).ravel() for values in (one, other)]
            return float(np.corrcoef(*logs)[0, 1])

        for one in maps.values:
            assert alike(one) > 0.6
            assert alike(one[::-1]) < 0.55
            assert alike(np.roll(one, 240, axis=1)) < 0.55

    def test_geoscf_maps(self, real_data: Path) -> None:
        text = f"{real_data}/geoscf,kind=geoscf,start=2018-03-08T00:30,freq=1h"
        field = self.open(text).field
        assert field.shape == (4, 721, 1440)
        largest = field.max(("latitude", "longitude")).values
        np.testing.assert_allclose(largest, [845.6, 761.1, 833.0, 758.1], atol=0.05)
        raw = scipy.io.loadmat(real_data / "geoscf" / "02.mat")["data"]
        np.testing.assert_allclose(field[1].values, raw[::-1], rtol=1e-6)
        assert field.time_start.values[1] == np.datetime64("2018-03-08T01:00")
