from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.core.field import make_field, validate_field
from deepcams_eval.downscale import bicubic_nodes, hourly_linear
from deepcams_eval.errors import InputError
from deepcams_eval.pair.derived import open_products
from deepcams_eval.read.product import ProductSpec
from tests.fields import hourly_field
from tests.gridded_files import global_nodes, make_truth, write_eac4_new, write_geoscf_opendap

HOUR = np.timedelta64(1, "h")


def field_of(
    values: np.ndarray, *, hours: Sequence[int] | None = None, chunk: int = 2, **grid: np.ndarray
) -> xr.DataArray:
    frames, rows, columns = np.shape(values)
    places = {"latitude": 40 + 0.75 * np.arange(rows), "longitude": 5 + 0.75 * np.arange(columns)}
    return hourly_field(
        values,
        start="2018-01-31T00:00",
        hours=3 * np.arange(frames) if hours is None else hours,
        stamp="point",
        chunk=chunk,
        **(places | grid),
    )


def hours_of(field: xr.DataArray) -> list[int]:
    return ((field.time.values - np.datetime64("2018-01-31")) // HOUR).tolist()


class TestHourlyLinear:
    def test_a_ramp_in_time_is_exact(self) -> None:
        # Only the right formula passes: the reversed one gives 200, 100 between 0 and 300.
        ramp = 100.0 * 3 * np.arange(4)[:, None, None] * np.ones((4, 2, 3))
        hourly = hourly_linear(field_of(ramp))
        assert hours_of(hourly) == list(range(10))
        np.testing.assert_array_equal(
            hourly.values, 100.0 * np.arange(10)[:, None, None] * np.ones((10, 2, 3))
        )

    @settings(max_examples=30, deadline=None)
    @given(
        seed=st.integers(0, 1000),
        frames=st.integers(1, 9),
        chunk=st.integers(1, 10),
        step=st.integers(1, 6),
    )
    def test_equals_numpy_interp(self, seed: int, frames: int, chunk: int, step: int) -> None:
        values = np.random.default_rng(seed).lognormal(2, 1, (frames, 2, 2)).astype(np.float32)
        hours = [step * index for index in range(frames)]
        coarse = field_of(values, hours=hours, chunk=chunk)
        hourly = hourly_linear(coarse)
        validate_field(hourly)
        wanted = np.arange(hours[-1] + 1)
        assert hours_of(hourly) == wanted.tolist()
        expected = np.interp(wanted, hours, values[:, 1, 0].astype(np.float64))
        np.testing.assert_allclose(hourly[:, 1, 0].values, expected, rtol=1e-6)
        np.testing.assert_array_equal(hourly[::step].values, values)

    def test_gaps_are_not_bridged(self) -> None:
        coarse = field_of(
            np.arange(6)[:, None, None] * np.ones((6, 2, 2)), hours=[0, 3, 6, 12, 15, 18]
        )
        hourly = hourly_linear(coarse)
        assert hours_of(hourly) == [*range(7), *range(12, 19)]
        assert hourly[-7:, 0, 0].values.tolist() == pytest.approx(
            [3, 10 / 3, 11 / 3, 4, 13 / 3, 14 / 3, 5]
        )

    def test_missing_reaches_its_own_hours_only(self) -> None:
        values = np.ones((4, 2, 2))
        values[1, 0, 0] = np.nan
        hourly = hourly_linear(field_of(values))
        assert np.flatnonzero(np.isnan(hourly[:, 0, 0].values)).tolist() == [1, 2, 3, 4, 5]
        assert not bool(hourly[:, 1, 1].isnull().any())

    def test_chunks_stay_small(self) -> None:
        latitude, longitude = global_nodes(241)
        values = dask.array.zeros((60, 241, 480), chunks=(60, -1, -1), dtype="float32")
        times = np.datetime64("2018-01-01", "us") + 3 * HOUR * np.arange(60)
        coarse = make_field(
            values, time=times, latitude=latitude, longitude=longitude, stamp="point"
        )
        fine = bicubic_nodes(hourly_linear(coarse, frame_growth=9))
        assert fine.shape == (178, 721, 1440)
        assert max(fine.chunks[0]) * 721 * 1440 * 4 <= 64 * 2**20
        assert min(fine.chunks[0][:-1]) > 10

    def test_means_are_refused(self) -> None:
        field = make_truth(np.random.default_rng(0), hours=1, stamp="mean")
        with pytest.raises(InputError, match="means over intervals"):
            hourly_linear(field)


def keys_by_hand(values: np.ndarray, place: float) -> float:
    """Keys' kernel of 1981 with a = -0.5, summed over every sample; none repeated at the edge."""
    x = np.abs(np.arange(len(values)) - place)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return float(np.sum(values * np.where(x <= 1, near, np.where(x < 2, far, 0))))


class TestBicubicNodes:
    def test_linear_ramps_are_exact_inside(self) -> None:
        rows, columns = np.arange(6), np.arange(7)
        plane = 30 + 3.0 * rows[:, None] + 1.5 * columns[None, :]
        fine = bicubic_nodes(field_of(plane[None])).isel(time=0)
        assert fine.shape == (16, 19)
        expected = 30 + 1.0 * np.arange(16)[:, None] + 0.5 * np.arange(19)[None, :]
        inside = (slice(3, -3), slice(3, -3))
        np.testing.assert_allclose(fine.values[inside], expected[inside], rtol=1e-6)
        np.testing.assert_array_equal(fine.latitude, 40 + 0.25 * np.arange(16))
        np.testing.assert_array_equal(fine.longitude, 5 + 0.25 * np.arange(19))

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 1000), rows=st.integers(1, 6), columns=st.integers(1, 6))
    def test_nodes_keep_their_values(self, seed: int, rows: int, columns: int) -> None:
        values = np.random.default_rng(seed).lognormal(2, 1, (2, rows, columns)).astype(np.float32)
        coarse = field_of(values)
        fine = bicubic_nodes(coarse)
        validate_field(fine)
        assert fine.shape == (2, 3 * rows - 2, 3 * columns - 2)
        xr.testing.assert_identical(fine[:, ::3, ::3].compute(), coarse.compute())

    def test_equals_the_kernel(self) -> None:
        values = np.random.default_rng(5).lognormal(2, 1, (1, 6, 7)).astype(np.float32)
        fine = bicubic_nodes(field_of(values)).isel(time=0).values
        for row, column in ((4, 5), (7, 8), (9, 10), (8, 13)):
            along = [keys_by_hand(line, column / 3) for line in values[0].astype(np.float64)]
            assert fine[row, column] == pytest.approx(
                keys_by_hand(np.array(along), row / 3), rel=1e-5
            )

    def test_the_globe_is_round(self) -> None:
        latitude, longitude = global_nodes(13)
        wave = np.cos(np.deg2rad(longitude))[None, None, :] * np.ones((1, 13, 1))
        fine = bicubic_nodes(field_of(wave, latitude=latitude, longitude=longitude)).isel(time=0)
        assert fine.shape == (37, 72)
        np.testing.assert_array_equal(fine.longitude, -180 + 5.0 * np.arange(72))
        np.testing.assert_allclose(fine[5], np.cos(np.deg2rad(fine.longitude)), atol=6e-3)
        # A field turned by whole columns turns its fine one: the date line is like any meridian.
        noise = np.random.default_rng(1).lognormal(2, 1, (1, 13, 24)).astype(np.float32)
        straight = bicubic_nodes(field_of(noise, latitude=latitude, longitude=longitude))
        turned = bicubic_nodes(
            field_of(np.roll(noise, 7, axis=2), latitude=latitude, longitude=longitude)
        )
        np.testing.assert_array_equal(np.roll(straight.values, 21, axis=2), turned.values)

    def test_a_globe_off_the_date_line(self) -> None:
        latitude, longitude = global_nodes(13)
        noise = np.random.default_rng(1).lognormal(2, 1, (1, 13, 24)).astype(np.float32)
        coarse = field_of(noise, latitude=latitude, longitude=longitude + 7)
        fine = bicubic_nodes(coarse)
        validate_field(fine)
        assert fine.longitude.values[0] == -178.0
        xr.testing.assert_identical(
            fine.sel(latitude=latitude, longitude=longitude + 7).compute(), coarse.compute()
        )

    def test_a_region_across_the_date_line_is_one_piece(self) -> None:
        noise = np.random.default_rng(1).lognormal(2, 1, (1, 4, 6)).astype(np.float32)
        plain = bicubic_nodes(field_of(noise, longitude=10 + 0.75 * np.arange(6)))
        east = 178.5 + 0.75 * np.arange(6)
        order = np.argsort((east + 180) % 360)
        wrapped = ((east + 180) % 360 - 180)[order]
        across = bicubic_nodes(field_of(noise[:, :, order], longitude=wrapped))
        validate_field(across)
        back = np.argsort(across.longitude.values % 360)
        np.testing.assert_array_equal(across.values[:, :, back], plain.values)
        np.testing.assert_allclose(
            across.longitude.values[back] % 360, plain.longitude.values + 168.5, atol=1e-9
        )

    def test_missing_reaches_only_where_it_is_needed(self) -> None:
        values = np.ones((1, 9, 9))
        values[0, 4, 4] = np.nan
        missing = bicubic_nodes(field_of(values)).isnull().isel(time=0).values
        rows = np.flatnonzero(missing.any(axis=1))
        # Fine row 12 is the node; nodes at other rows need no other row.
        assert rows.tolist() == [7, 8, 10, 11, 12, 13, 14, 16, 17]
        assert missing[::3, ::3].sum() == 1
        np.testing.assert_array_equal(missing, missing.T)

    def test_uneven_grids_are_refused(self) -> None:
        with pytest.raises(InputError, match="latitude is not evenly spaced"):
            bicubic_nodes(field_of(np.ones((1, 3, 3)), latitude=np.array([40, 41, 43.0])))


class TestDerivedProducts:
    def specs(self, *texts: str) -> list[ProductSpec]:
        return [ProductSpec.parse(text) for text in texts]

    @pytest.fixture
    def cams(self, tmp_path: Path) -> tuple[str, xr.DataArray]:
        truth = make_truth(np.random.default_rng(12), hours=3, stamp="point")
        return f"cams={write_eac4_new(tmp_path / 'a.nc', truth)}", truth

    def test_both_methods_keep_order_and_values(self, cams: tuple[str, xr.DataArray]) -> None:
        text, truth = cams
        fine, parent, hourly = open_products(
            self.specs("fine=linear+bicubic:cams", text, "hourly=linear:cams")
        )
        assert [one.name for one in (fine, parent, hourly)] == ["fine", "cams", "hourly"]
        assert [one.kind for one in (fine, parent, hourly)] == ["derived", "cams", "derived"]
        assert fine.field.shape == (16, 19, 36)
        assert hourly.field.shape == (16, 7, 12)
        for found in (fine.field[::3, ::3, ::3], hourly.field[::3]):
            np.testing.assert_allclose(found.values, truth.values, rtol=1e-6)
        assert fine.files == parent.files
        assert any("bicubic" in note for note in fine.notes)

    def test_opening_reads_nothing(self, cams: tuple[str, xr.DataArray], tmp_path: Path) -> None:
        products = open_products(self.specs(cams[0], "fine=linear+bicubic:cams"))
        (tmp_path / "a.nc").unlink()
        with pytest.raises(InputError, match=r"a\.nc"):
            products[1].field.compute(scheduler="synchronous")

    def test_a_parent_of_means_is_refused(self, tmp_path: Path) -> None:
        truth = make_truth(np.random.default_rng(12), hours=1, stamp="mean")
        path = write_geoscf_opendap(tmp_path / "g.nc", truth)
        with pytest.raises(InputError, match="'geoscf' holds means over intervals"):
            open_products(self.specs(f"geoscf={path}", "x=linear:geoscf"))

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (("x=linear:cam",), "no product 'cam'.*one of cams"),
            (("x=linear:y", "y=linear:cams"), "no product 'y'"),
            (("x=linear:x",), "no product 'x'"),
            (("x=linear:cams,stamp=point",), "stamp has no meaning"),
            (("x=linear:cams", "x=linear+bicubic:cams"), "2 products are named 'x'"),
            (("x=cubic:cams",), r"no such file.*linear\+bicubic:PARENT"),
        ],
    )
    def test_what_cannot_be_derived(
        self, cams: tuple[str, xr.DataArray], texts: tuple[str, ...], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            open_products(self.specs(cams[0], *texts))
