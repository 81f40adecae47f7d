"""What the figures of the paper are made of, against brute force and plain numpy."""

from __future__ import annotations

from importlib import resources

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.bench.frame_scores import box_cells
from deepcams_eval.core.field import make_field
from deepcams_eval.downscale import bicubic_nodes, hourly_linear
from deepcams_eval.errors import NoDataError
from deepcams_eval.paper import plan, sequences, series
from deepcams_eval.paper.annual import AnnualMaps, Grid, MeanMap, interpolated, mean_reader
from deepcams_eval.paper.blocks import MeanReader, read_once
from deepcams_eval.paper.figures import with_gaps
from deepcams_eval.report import published

HOUR = np.timedelta64(1, "h")


def field(
    start: str = "2017-03-01",
    steps: int = 17,
    hours: int = 3,
    *,
    step_deg: float = 0.75,
    shape: tuple[int, int] = (12, 15),
    seed: int = 3,
    chunk: int = 5,
    corner: tuple[float, float] = (40.0, 3.0),
) -> xr.DataArray:
    data = np.random.default_rng(seed).gamma(2, 9, (steps, *shape)).astype(np.float32)
    return make_field(
        dask.array.from_array(data, chunks=(chunk, -1, -1)),
        time=np.datetime64(start, "us") + np.arange(steps) * hours * HOUR,
        latitude=corner[0] + step_deg * np.arange(shape[0]),
        longitude=corner[1] + step_deg * np.arange(shape[1]),
        stamp="point",
    )


def two_months() -> xr.DataArray:
    """March and June of 2017, with a gap in each."""
    whole = xr.concat([field(), field("2017-06-10", seed=8)], "time")
    return whole.isel(time=[n for n in range(34) if n not in (6, 25)])


class TestPlaces:
    def test_the_hemispheres_are_the_corrected_ones(self) -> None:
        printed = pd.read_csv(str(resources.files(published) / "places.csv"))
        corrected = [(-row.latitude, row.longitude) for row in printed.itertuples()]
        assert plan.POINTS[0] == corrected[0]
        assert plan.POINTS[1] == (corrected[1][0], -corrected[1][1])
        for (latitude, longitude), row in zip(plan.POINTS, printed.itertuples(), strict=True):
            assert row.south < latitude < row.north
            assert row.west < longitude < row.east
            assert not (
                row.south < row.latitude < row.north and row.west < row.longitude < row.east
            )

    def test_the_papers_points_are_taken_where_the_grids_hold_them(self) -> None:
        world = field(step_deg=6.0, shape=(31, 60), steps=3, corner=(-90.0, -180.0))
        found = series.choose_places(world, world, (2017,))
        assert [(one.latitude, one.longitude) for one in found] == list(plan.POINTS)
        assert all("The paper's point" in one.rule for one in found)

    def test_substitutes_are_the_highest_mean_and_the_largest_deviation(self) -> None:
        coarse = two_months()
        coarse = coarse.where(coarse["latitude"] < 48).astype(np.float32)
        fine = bicubic_nodes(hourly_linear(coarse))
        first, second = series.choose_places(coarse, fine, (2017,))
        values = coarse.to_numpy().astype(float)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        best = (-np.inf, 0.0, 0.0)
        for row, latitude in enumerate(coarse["latitude"].values):
            for column, longitude in enumerate(coarse["longitude"].values):
                near = abs(latitude - first.latitude) < 5 and abs(longitude - first.longitude) < 5
                if np.isfinite(deviation[row, column]) and not near:
                    best = max(best, (deviation[row, column], latitude, longitude))
        at = np.unravel_index(np.nanargmax(mean), mean.shape)
        assert (first.latitude, first.longitude) == (
            coarse["latitude"].values[at[0]],
            coarse["longitude"].values[at[1]],
        )
        assert (second.latitude, second.longitude) == best[1:]
        assert "33°S 72°W" in first.rule
        assert "41°N 105°E" in second.rule

    def test_no_value_at_all_is_stated(self) -> None:
        empty = field() * np.float32(np.nan)
        with pytest.raises(NoDataError, match="no value"):
            series.choose_places(empty, empty, (2017,))


class TestEpisodes:
    def test_the_strongest_is_that_of_brute_force(self) -> None:
        coarse = two_months()
        found = sequences.choose_episodes(coarse, None, (2017,))
        values, times = coarse.to_numpy(), coarse["time"].values
        box = box_cells(coarse["latitude"].values, coarse["longitude"].values)
        best: dict[str, tuple[float, np.datetime64]] = {}
        for n in range(len(times) - 1):
            if times[n + 1] - times[n] != 3 * HOUR:
                continue
            change = np.abs(values[n + 1] - values[n])
            windows = np.lib.stride_tricks.sliding_window_view(change, (box.height, box.width))
            top = float(windows.mean(axis=(2, 3)).max())
            month = str(times[n])[:7]
            best[month] = max(best.get(month, (0.0, times[0])), (top, times[n]))
        assert len(found) == 2
        for (episode, rule), (change, start) in zip(found, best.values(), strict=True):
            assert episode.start == start
            assert episode.change == pytest.approx(change, rel=1e-5)
            assert "largest change" in rule
            assert "28 intervals of 2017" in rule

    def test_hours_that_the_fine_product_lacks_are_not_chosen(self) -> None:
        coarse = two_months()
        (first, _), _ = sequences.choose_episodes(coarse, None, (2017,))
        hours = np.arange("2017-03-01", "2017-03-04", dtype="datetime64[h]")
        without = hours[hours != first.start + 2 * HOUR]
        found = sequences.choose_episodes(coarse, without.astype("datetime64[us]"), (2017,))
        assert len(found) == 1
        assert found[0][0].start != first.start

    def test_the_papers_date_comes_first_where_the_data_hold_it(self) -> None:
        coarse = xr.concat([field(), field("2020-06-15", seed=8)], "time")
        (_, why), (dated, rule) = sequences.choose_episodes(coarse, None, (2017, 2020))
        assert dated.start == plan.SEQUENCES[1]
        assert rule.startswith("The paper's date")
        assert "2010-04-15 00:00 UTC, which the data lack" in why

    def test_nothing_three_hours_long_is_stated(self) -> None:
        with pytest.raises(NoDataError, match="three hours"):
            sequences.choose_episodes(field(hours=6), None, (2017,))

    def test_maps_are_those_of_the_hours_in_the_box(self) -> None:
        coarse = two_months()
        fine = bicubic_nodes(hourly_linear(coarse))
        episode, rule = sequences.choose_episodes(coarse, None, (2017,))[0]
        made = sequences.map_sequence(episode, rule, coarse=("c", coarse), fine=("f", fine))
        assert list(made.fine.times - made.fine.times[0]) == [n * HOUR for n in range(4)]
        assert list(made.coarse.times) == [made.fine.times[0], made.fine.times[3]]
        nodes = np.isin(made.fine.grid.latitude, made.coarse.grid.latitude)
        across = np.isin(made.fine.grid.longitude, made.coarse.grid.longitude)
        on_nodes = made.fine.values[[0, 3]][:, nodes][:, :, across]
        np.testing.assert_allclose(on_nodes, made.coarse.values, rtol=1e-5)
        change = np.abs(made.coarse.values[1] - made.coarse.values[0]).mean()
        assert change == pytest.approx(episode.change, rel=1e-5)
        west, south, east, north = made.box
        assert west < made.fine.grid.longitude[0] < made.fine.grid.longitude[-1] < east
        assert south < made.fine.grid.latitude[0] < made.fine.grid.latitude[-1] < north

    def test_what_makes_the_hours_sees_the_neighbourhood(self) -> None:
        coarse = two_months()
        episode, rule = sequences.choose_episodes(coarse, None, (2017,))[0]
        seen: list[xr.DataArray] = []

        def finer(frames: xr.DataArray, hours: np.ndarray) -> xr.DataArray:
            seen.append(frames)
            return bicubic_nodes(hourly_linear(frames)).sel(time=hours)

        made = sequences.map_sequence(episode, rule, coarse=("c", coarse), fine=("f", finer))
        direct = sequences.map_sequence(
            episode, rule, coarse=("c", coarse), fine=("f", bicubic_nodes(hourly_linear(coarse)))
        )
        np.testing.assert_allclose(made.fine.values, direct.fine.values, rtol=1e-5)
        assert seen[0].sizes["latitude"] > len(made.coarse.grid.latitude)


class TestAnnual:
    @settings(max_examples=40)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0, 0.6))
    def test_mean_and_deviation_are_those_of_numpy(
        self, seed: int, chunk: int, holes: float
    ) -> None:
        some = field(steps=19, seed=seed, chunk=chunk, shape=(4, 5))
        absent = np.random.default_rng(seed).random(some.shape) < holes
        some = some.where(~absent).astype(np.float32)
        wanted = np.random.default_rng(seed + 1).random(19) < 0.7
        reader = MeanReader(wanted, (4, 5))
        read_once(some, [reader])
        values = some.to_numpy()[wanted].astype(float)
        known = np.isfinite(values).any(axis=0)
        assert (np.isfinite(reader.mean) == known).all()
        for found, expected in ((reader.mean, np.nanmean), (reader.deviation, np.nanstd)):
            for row, column in np.argwhere(known):
                cell = float(expected(values[:, row, column]))
                assert found[row, column] == pytest.approx(cell, rel=1e-9, abs=1e-9)

    def test_both_means_are_over_the_days_that_both_have(self) -> None:
        coarse = field(steps=25)
        fine = bicubic_nodes(hourly_linear(coarse.isel(time=slice(8, 17))))
        days = plan.days_of_both(coarse["time"].values, fine["time"].values, 2017)
        assert [str(day) for day in days] == ["2017-03-02", "2017-03-03"]
        readers = [mean_reader(one, days) for one in (coarse, fine)]
        for one, reader in zip((coarse, fine), readers, strict=True):
            read_once(one, [reader])
        made = MeanMap.of("c", coarse, readers[0]), MeanMap.of("f", fine, readers[1])
        maps = AnnualMaps(2017, len(days), *made)
        assert (maps.days, maps.coarse.steps, maps.fine.steps) == (2, 16, 25)
        expected = coarse.sel(time=slice("2017-03-02", "2017-03-03")).mean("time").to_numpy()
        np.testing.assert_allclose(maps.coarse.values, expected, rtol=1e-5)
        at = maps.difference[3, 6] + maps.coarse.values[1, 2]
        assert at == pytest.approx(maps.fine.values[3, 6], rel=1e-6)

    def test_a_plane_is_interpolated_exactly_and_not_beyond_its_edge(self) -> None:
        coarse = Grid(np.arange(30.0, 40.0, 0.75), np.arange(5.0, 20.0, 0.75))
        fine = Grid(np.arange(29.5, 38.0, 0.25), np.arange(6.0, 15.0, 0.25))
        plane = 2.5 * coarse.latitude[:, None] - 1.25 * coarse.longitude[None, :]
        made = interpolated(plane, coarse, fine)
        expected = 2.5 * fine.latitude[:, None] - 1.25 * fine.longitude[None, :]
        assert np.isnan(made[:2]).all()
        np.testing.assert_allclose(made[2:], expected[2:], rtol=1e-12)

    def test_longitude_is_cyclic_on_the_globe(self) -> None:
        coarse = Grid(np.array([-10.0, 10.0]), np.arange(-180.0, 180.0, 10.0))
        values = np.tile(np.cos(np.deg2rad(coarse.longitude)), (2, 1))
        made = interpolated(values, coarse, Grid(np.array([0.0]), np.array([175.0])))
        assert made[0, 0] == pytest.approx((np.cos(np.deg2rad(170)) - 1) / 2)


class TestReading:
    def test_each_block_is_read_once_and_in_order(self) -> None:
        taken: list[int] = []

        def block(values: np.ndarray, block_info: dict | None = None) -> np.ndarray:
            taken.append(block_info[0]["chunk-location"][0])
            return values

        some = field(steps=23, chunk=5)
        watched = some.copy(
            data=some.data.map_blocks(block, dtype=np.float32, meta=some.data._meta)
        )
        readers = [
            MeanReader(np.arange(23) > 3, (12, 15)),
            MeanReader(np.arange(23) % 4 == 0, (12, 15)),
        ]
        read_once(watched, readers)
        assert taken == [0, 1, 2, 3, 4]

    def test_series_are_the_cells_of_the_points(self) -> None:
        coarse = two_months()
        fine = bicubic_nodes(hourly_linear(coarse))
        places = [plan.Place(44.1, 7.4, "here"), plan.Place(41.0, 12.2, "there")]
        readers = [series.cell_reader(one, places, (2017,)) for one in (coarse, fine)]
        for one, reader in zip((coarse, fine), readers, strict=True):
            read_once(one, [reader])
        made = list(
            series.point_series(
                places, (2017,), coarse=("c", coarse, readers[0]), fine=("f", fine, readers[1])
            )
        )
        for place, found in zip(places, made, strict=True):
            at = {"latitude": place.latitude, "longitude": place.longitude}
            for one, values in ((coarse, found.coarse.values), (fine, found.fine.values)):
                expected = one.sel(at, method="nearest").to_numpy()
                np.testing.assert_array_equal(values, expected)

    def test_a_point_beside_the_fine_grid_is_stated(self) -> None:
        with pytest.raises(NoDataError, match="60, 5 lies outside"):
            series.cell_reader(field(), [plan.Place(60.0, 5.0, "")], (2017,))

    def test_gaps_break_the_line(self) -> None:
        times = np.array([0, 3, 6, 15, 18], dtype="datetime64[h]")
        stamps, values = with_gaps(times, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
        assert list(np.flatnonzero(np.isnan(values))) == [3]
        assert stamps[2] < stamps[3] < stamps[4]
        np.testing.assert_array_equal(values[np.isfinite(values)], [1, 2, 3, 4, 5])


class TestYears:
    def test_the_papers_years_need_more_than_the_instant_that_ends_another(self) -> None:
        both = np.array(["2017-05-01", "2018-05-01", "2019-01-01"], dtype="datetime64[us]")
        assert plan.years_of(both) == (2017, 2018)
        assert plan.series_years(both, both) == (2017, 2018)
        whole = np.append(both, np.datetime64("2019-01-01T03:00", "us"))
        assert plan.series_years(whole, whole) == (2017, 2019)
        assert plan.series_years(both[:1], both[1:]) == ()
