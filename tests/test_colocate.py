"""Cells, hours and the accounting of what does not pair."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from deepcams_eval.core.field import Product, spans_globe
from deepcams_eval.core.grid import find_cells, find_corners
from deepcams_eval.core.observations import Observations
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.pair.colocate import colocate
from tests.fields import observations, product

EAC4_LATITUDE = np.linspace(-90, 90, 241)
EAC4_LONGITUDE = -180 + 0.75 * np.arange(480)


def at_one_station(ends: list[str], values: list[float]) -> Observations:
    return observations(ends, values, ["a"] * len(ends), {"a": (51.1, 4.4)})


def great_circle_nearest(lat, lon, grid_lat, grid_lon):
    """Return the node of the smallest angular distance in latitude and longitude, by search."""
    row = np.argmin(np.abs(lat[:, None] - grid_lat[None, :]), axis=1)
    apart = np.abs((lon[:, None] - grid_lon[None, :] + 180) % 360 - 180)
    return row, np.argmin(apart, axis=1)


@given(seed=st.integers(0, 10_000))
def test_cells_equal_a_search_over_all_centres(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lat, lon = rng.uniform(-90, 90, 50), rng.uniform(-180, 360, 50)
    expected = great_circle_nearest(lat, lon, EAC4_LATITUDE, EAC4_LONGITUDE)
    np.testing.assert_array_equal(find_cells(lat, lon, EAC4_LATITUDE, EAC4_LONGITUDE), expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("first", [-180.0, 0.0])
def test_any_convention_finds_the_same_place(flip: bool, first: float) -> None:
    rng = np.random.default_rng(1)
    lat, lon = rng.uniform(-90, 90, 500), rng.uniform(-180, 180, 500)
    latitude = EAC4_LATITUDE[::-1] if flip else EAC4_LATITUDE
    longitude = first + 0.75 * np.arange(480)
    row, column = find_cells(lat, lon, latitude, longitude)
    base_row, base_column = find_cells(lat, lon, EAC4_LATITUDE, EAC4_LONGITUDE)
    np.testing.assert_array_equal(latitude[row], EAC4_LATITUDE[base_row])
    np.testing.assert_allclose((longitude[column] - EAC4_LONGITUDE[base_column]) % 360, 0)


@pytest.mark.parametrize(
    ("lat", "lon", "row", "column"),
    [
        (90.0, 12.0, 240, 256),
        (-90.0, 12.0, 0, 256),
        (0.0, 179.9, 120, 0),  # nearer to 180 = -180 than to 179.25
        (0.0, 179.6, 120, 479),
        (0.0, 180.0, 120, 0),
        (0.0, -180.0, 120, 0),
        (0.375, 0.375, 121, 241),  # an edge belongs to the cell north and east of it
        (-0.375, -0.375, 120, 240),
    ],
)
def test_poles_date_line_and_edges(lat: float, lon: float, row: int, column: int) -> None:
    found = find_cells([lat], [lon], EAC4_LATITUDE, EAC4_LONGITUDE)
    assert (found[0][0], found[1][0]) == (row, column)


def test_a_region_ends_half_a_cell_beyond_its_centres() -> None:
    lat = [51.0, 51.0, 49.874, 49.875, 52.125, 51.0, np.nan]
    lon = [3.374, 3.375, 4.5, 4.5, 4.5, 5.625, 4.5]
    row, column = find_cells(lat, lon, np.array([50.25, 51.0, 51.75]), np.array([3.75, 4.5, 5.25]))
    np.testing.assert_array_equal(row, [-1, 1, -1, 0, -1, -1, -1])
    np.testing.assert_array_equal(column, [-1, 0, -1, 1, -1, -1, -1])


def test_a_region_across_the_date_line() -> None:
    longitude = np.array([178.5, 179.25, 180.0, 180.75])
    _, column = find_cells(
        [0, 0, 0, 0], [-179.3, 179.9, 177.9, -178.8], np.array([-1, 0, 1.0]), longitude
    )
    np.testing.assert_array_equal(column, [3, 2, -1, -1])


@pytest.mark.parametrize(
    "longitude", [[-180.0, -179.25, 178.5, 179.25], [179.25, 178.5, -179.25, -180]]
)
def test_a_region_cut_by_the_date_line_has_no_cell_in_its_gap(longitude: list[float]) -> None:
    lon = [-179.3, 179.9, 177.9, -178.8, 0.0, 179.6]
    _, column = find_cells([0.0] * 6, lon, np.array([-1, 0, 1.0]), np.array(longitude))
    found = [longitude[one] if one >= 0 else None for one in column]
    assert found == [-179.25, -180.0, None, None, None, 179.25]
    assert not spans_globe(np.sort(longitude))


def test_a_single_column_is_as_wide_as_the_rows_are_high() -> None:
    rows = np.arange(49, 52, 0.25)
    _, column = find_cells([50.0] * 4, [4.87, 5.1, 5.2, 5.45], rows, np.array([5.0]))
    np.testing.assert_array_equal(column, [-1, 0, -1, -1])


def test_one_cell_tells_no_size() -> None:
    with pytest.raises(InputError, match="one cell"):
        find_cells([0.0], [0.0], np.array([0.0]), np.array([0.0]))


@given(seed=st.integers(0, 10_000), first=st.sampled_from([-180.0, 0.0]), flip=st.booleans())
def test_corners_interpolate_as_another_package_does(seed: int, first: float, flip: bool) -> None:
    rng = np.random.default_rng(seed)
    latitude, longitude = np.linspace(-90, 90, 25), first + 7.5 * np.arange(48)
    values = rng.normal(size=(25, 48))
    closed = np.concatenate([values, values[:, :1]], axis=1)
    beyond = np.append(longitude, longitude[-1] + 7.5)
    lat, lon = rng.uniform(-90, 90, 40), rng.uniform(-180, 180, 40)
    oracle = RegularGridInterpolator((latitude, beyond), closed)
    expected = oracle(np.stack([lat, first + (lon - first) % 360], axis=1))
    if flip:
        latitude, values = latitude[::-1], values[::-1]
    row, column, weight = find_corners(lat, lon, latitude, longitude)
    np.testing.assert_allclose((values[row, column] * weight).sum(axis=1), expected, atol=1e-9)


def test_corners_of_a_region_do_not_extrapolate() -> None:
    lat, lon = np.array([52.0, 50.0, 51.0]), np.array([3.5, 5.5, 5.5])
    row, column, weight = find_corners(
        lat, lon, np.array([50.25, 51.0, 51.75]), np.array([3.75, 4.5, 5.25])
    )
    value = 100.0 * row + column
    np.testing.assert_allclose((value * weight).sum(axis=1), [200.0, 2.0, 102.0])
    np.testing.assert_allclose(weight.sum(axis=1), 1.0)


def test_bilinear_values_are_missing_where_a_corner_is() -> None:
    values = np.arange(8 * 3 * 4, dtype=float).reshape(8, 3, 4)
    values[2, 1, 1] = np.nan
    places = {"between": (50.625, 4.125), "centre": (50.25, 4.5)}
    seen = observations(
        ["2018-01-01T03", "2018-01-01T06"] * 2, [5.0] * 4, ["between"] * 2 + ["centre"] * 2, places
    )
    made = colocate(seen, [product(values=values)], matching="bilinear").pairs.table
    between = made[made["station_id"] == "between"]["cams"].to_numpy()
    np.testing.assert_allclose(between, values[1, :2, :2].mean())  # of 06:00 a corner is missing
    np.testing.assert_allclose(made[made["station_id"] == "centre"]["cams"], values[1:3, 0, 1])


def test_each_pair_tells_its_observation() -> None:
    ends = ["2018-01-01T06", "2018-01-01T03", "2018-01-01T04", "2018-01-01T09"]
    seen = observations(
        ends, [6.0, 3.0, 4.0, 9.0], ["b", "b", "b", "a"], {"a": (51, 5), "b": (51, 4)}
    )
    seen.table.loc[3, "flags"] = 4
    made = colocate(seen, [product()])
    np.testing.assert_array_equal(made.rows, [1, 0])
    np.testing.assert_array_equal(
        seen.table["value"].to_numpy()[made.rows], made.pairs.table["observed"]
    )


def test_point_values_pair_with_the_hour_that_ends_at_them() -> None:
    gridded = product(steps=3)
    ends = ["2018-01-01T03:00", "2018-01-01T04:00", "2018-01-01T06:00", "2018-01-01T06:30"]
    seen = at_one_station(ends, [5, 6, 7, 8])
    found = colocate(seen, [gridded])
    table = found.pairs.table
    np.testing.assert_array_equal(table["observed"], [5, 7])
    np.testing.assert_array_equal(table["cams"], gridded.field.values[[1, 2], 1, 1])
    assert found.unpaired == 2


def test_means_pair_with_the_very_same_hour() -> None:
    gridded = product("geoscf", steps=4, hours=1, stamp="mean")
    ends = ["2018-01-01T01:00", "2018-01-01T02:30", "2018-01-01T03:00"]
    seen = at_one_station(ends, [5, 6, 7])
    table = colocate(seen, [gridded]).pairs.table
    np.testing.assert_array_equal(table["geoscf"], gridded.field.values[[0, 2], 1, 1])


def test_a_daily_mean_does_not_pair_with_an_hourly_mean() -> None:
    gridded = product("geoscf", steps=4, hours=1, stamp="mean")
    seen = at_one_station(["2018-01-01T01:00", "2018-01-01T02:00"], [5, 6])
    seen.table.loc[1, "time_start"] = np.datetime64("2017-12-31T02:00")
    assert len(colocate(seen, [gridded]).pairs) == 1


@pytest.mark.parametrize("length", [np.timedelta64(1, "D"), np.timedelta64(15, "m")])
def test_a_mean_over_another_interval_does_not_pair_with_an_instant(length) -> None:
    gridded = product(steps=8)
    ends = ["2018-01-01T03:00", "2018-01-01T06:00", "2018-01-01T09:00"]
    seen = at_one_station(ends, [5, 6, 7])
    seen.table.loc[1, "time_start"] = seen.table.loc[1, "time_end"] - length
    found = colocate(seen, [gridded])
    assert found.pairs.table["observed"].tolist() == [5, 7]
    assert found.coverage[["off_step", "paired"]].sum().tolist() == [1, 2]
    # The exception that the sensitivity asks for.
    relaxed = colocate(seen, [gridded], hourly_only=False).pairs.table.sort_values("time_end")
    np.testing.assert_array_equal(relaxed["cams"], gridded.field.values[[1, 2, 3], 1, 1])


def test_daily_means_alone_and_an_instant_are_refused_with_the_way_out() -> None:
    seen = at_one_station(["2018-01-01T03:00"], [5])
    seen.table["time_start"] = seen.table["time_end"] - np.timedelta64(1, "D")
    with pytest.raises(NoDataError, match=r"'cams' has no value.*averaging_hours.*--average day"):
        colocate(seen, [product()])


def test_every_observation_is_accounted_for() -> None:
    values = np.random.default_rng(0).gamma(2, 8, (8, 3, 4))
    values[2, 1, 1] = np.nan
    gridded = product(values=values)
    rng = np.random.default_rng(2)
    places = {"in": (51.1, 4.4), "out": (10.0, 4.4), "nowhere": (np.nan, np.nan)}
    ends = np.datetime64("2018-01-01T00:00") + np.arange(30) * np.timedelta64(1, "h")
    ends = np.tile(ends, 3)
    seen = observations(ends, rng.gamma(2, 5, 90), np.repeat(list(places), 30), places)
    found = colocate(seen, [gridded])
    count = found.coverage.drop(columns=["product", "steps"]).groupby("year").sum()
    assert found.outside["cams"] == ("nowhere", "out")
    np.testing.assert_array_equal(
        found.coverage[["outside", "off_step", "missing", "paired"]].sum(axis=1),
        found.coverage["observations"],
    )
    # The hour that ends at 00:00 on 1 January belongs to the year before.
    assert count.loc[2017, "paired"] == 1
    assert count.loc[2018, "paired"] == 6
    assert count.loc[2018, "missing"] == 1
    assert count.loc[2018, "outside"] == 58
    assert found.unpaired == 90 - 7


def test_a_product_that_overlaps_nothing_is_an_error() -> None:
    seen = at_one_station(["2018-01-01T03:00"], [5])
    with pytest.raises(NoDataError, match=r"'far' has no value .*\(0 of 1 stations"):
        colocate(seen, [product(), product("far", latitude=(10, 11), longitude=(10, 11))])
    with pytest.raises(NoDataError, match="'void' has no value"):
        colocate(seen, [product("void", values=np.full((8, 3, 4), np.nan))])
    with pytest.raises(NoDataError, match="0 of their hours"):
        colocate(seen, [product("late", start="2019-01-01T00:00")])


def test_each_chunk_is_read_once_in_order_and_only_if_it_is_needed() -> None:
    reads = []

    def read(block: np.ndarray, block_info: dict) -> np.ndarray:
        reads.append(block_info[0]["chunk-location"][0])
        return block

    base = product(steps=40, chunk=4)
    lazy = base.field.copy(
        data=dask.array.map_blocks(
            read, base.field.data, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
        )
    )
    ends = np.datetime64("2018-01-01T00:00") + np.array([3, 9, 60, 96, 99]) * np.timedelta64(1, "h")
    seen = observations(
        ends, [1, 2, 3, 4, 5], ["a", "b", "a", "b", "a"], {"a": (51.1, 4.4), "b": (50.3, 5.3)}
    )
    table = colocate(seen, [Product("cams", lazy, "generic")]).pairs.table
    assert reads == [0, 5, 8]
    by_hand = [
        base.field.values[i, r, c]
        for i, r, c in [(1, 1, 1), (20, 1, 1), (33, 1, 1), (3, 0, 2), (32, 0, 2)]
    ]
    np.testing.assert_array_equal(table["cams"], by_hand)
