"""The synthetic archive at a small size, read back with nothing but the standard library."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import netCDF4
import numpy as np
import pandas as pd
import pytest

from deepcams_eval.demo import DemoSettings, cache_folder, demo_archive, is_demo
from deepcams_eval.demo.faults import make_records
from deepcams_eval.demo.nature import MARGIN, TOP_M, NatureRun, Noise, emission_map, mixed
from deepcams_eval.demo.openaq_files import write_block
from deepcams_eval.demo.places import is_summer_time
from deepcams_eval.demo.products import round_bits
from deepcams_eval.demo.settings import EUROPE, Block, Climate, Domain
from deepcams_eval.demo.stations import make_stations, report
from deepcams_eval.demo.wind import EARTH_RADIUS_M, STEP_S, Advection, Wind, diffuse
from deepcams_eval.errors import InputError

SMALL = DemoSettings.small()
ONE_BLOCK = DemoSettings.small(years=(2019,), months=(3,), days_per_month=1, spin_up_hours=2)


def domain_of(settings: DemoSettings, number: int = 0) -> Domain:
    return Domain(settings, settings.blocks[number], settings.latitude, settings.longitude)


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    return demo_archive(SMALL, cache=tmp_path_factory.mktemp("demo"), workers=1)


@pytest.fixture(scope="session")
def manifest(archive):
    return json.loads((archive / "demo.json").read_text())


@pytest.fixture(scope="session")
def csv_rows(archive):
    """Every row of every archive file that is whole, in the order of the files."""
    rows, broken = [], []
    for path in sorted((archive / "openaq").rglob("*.csv.gz")):
        try:
            text = gzip.decompress(path.read_bytes()).decode()
        except EOFError:
            broken.append(str(path.relative_to(archive)))
            continue
        for row in csv.DictReader(text.splitlines()):
            row["end"] = datetime.fromisoformat(row["datetime"])
            row["path"] = path
            rows.append(row)
    return rows, broken


@pytest.fixture(scope="session")
def pm_series(csv_rows):
    series = defaultdict(list)
    for row in csv_rows[0]:
        if row["parameter"] == "pm25":
            series[row["location_id"]].append((row["end"].timestamp() / 3600, float(row["value"])))
    return series


@pytest.fixture(scope="session")
def realtime_rows(archive):
    files = sorted((archive / "openaq" / "realtime").glob("*.ndjson.gz"))
    return [
        json.loads(line)
        for path in files
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]


@pytest.fixture(scope="session")
def station_rows(archive):
    with (archive / "openaq" / "stations.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


class TestCache:
    def test_same_settings_give_the_same_bytes_in_any_number_of_processes(self, tmp_path):
        settings = dataclasses.replace(ONE_BLOCK, years=(2019, 2020))
        first = demo_archive(settings, cache=tmp_path / "a", workers=1)
        second = demo_archive(settings, cache=tmp_path / "b", workers=2)
        assert first.name == second.name
        assert digests(first) == digests(second)

    def test_made_once_with_progress_then_found_and_another_seed_is_another(self, tmp_path):
        told = []
        asked = {"cache": tmp_path, "workers": 1, "progress": lambda *at: told.append(at)}
        root = demo_archive(ONE_BLOCK, **asked)
        made = (root / "demo.json").stat().st_mtime_ns
        assert demo_archive(ONE_BLOCK, **asked) == root
        assert (root / "demo.json").stat().st_mtime_ns == made
        assert told == [(1, 1)]
        assert [path.name for path in tmp_path.iterdir()] == [root.name]
        other = demo_archive(dataclasses.replace(ONE_BLOCK, seed=5), **asked)
        name = "truth/pm25_2019-03.nc"
        assert other != root
        assert digests(root)[name] != digests(other)[name]

    def test_interrupted_run_leaves_nothing(self, tmp_path):
        def interrupt(*at):
            raise KeyboardInterrupt(at)

        with pytest.raises(KeyboardInterrupt):
            demo_archive(ONE_BLOCK, cache=tmp_path, workers=1, progress=interrupt)
        assert list(tmp_path.iterdir()) == []

    def test_cache_that_is_a_file_is_named(self, tmp_path):
        blocked = tmp_path / "file"
        blocked.write_text("")
        with pytest.raises(InputError, match="DEEPCAMS_CACHE"):
            demo_archive(ONE_BLOCK, cache=blocked, workers=1)

    def test_where_the_cache_is(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.delenv("DEEPCAMS_CACHE", raising=False)
        assert cache_folder() == tmp_path / "xdg" / "deepcams"
        monkeypatch.setenv("DEEPCAMS_CACHE", str(tmp_path / "own"))
        assert cache_folder() == tmp_path / "own"

    def test_is_demo(self, archive, tmp_path):
        assert is_demo(archive)
        assert not is_demo(tmp_path)
        (tmp_path / "demo.json").write_text('{"synthetic": "no"}')
        assert not is_demo(tmp_path)
        (tmp_path / "demo.json").write_text("not json")
        assert not is_demo(tmp_path)


class TestSettings:
    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": -1},
            {"years": ()},
            {"years": (2019, 2018)},
            {"months": (0,)},
            {"days_per_month": 8},
            {"south": 33.25},
            {"west": 20.0, "east": 10.5},
            {"stations": 3},
        ],
    )
    def test_out_of_range_is_refused_by_name(self, changes):
        with pytest.raises(InputError, match=next(iter(changes))):
            DemoSettings(**changes)

    @pytest.mark.parametrize("year", range(2017, 2022))
    def test_blocks_of_march_and_october_hold_the_clock_change(self, year):
        for month, day in ((3, 31), (10, 31)):
            change = datetime(year, month, day)
            change -= timedelta(days=(change.weekday() + 1) % 7)
            block = Block(year, month, 3)
            begin, end = block.frame_times[0].item(), block.frame_times[-1].item()
            assert begin <= change < end
            assert begin.month == month

    def test_summer_time_agrees_with_the_zone_database(self):
        hours = np.arange("2016-01-01", "2021-01-01", dtype="datetime64[h]")
        zone = ZoneInfo("Europe/Brussels")
        utc = ZoneInfo("UTC")
        chosen = hours[np.random.default_rng(3).integers(0, len(hours), 3000)]
        chosen = np.concatenate([chosen, hours[(hours >= np.datetime64("2019-10-26"))][:72]])
        expected = [bool(h.item().replace(tzinfo=utc).astimezone(zone).dst()) for h in chosen]
        assert is_summer_time(chosen).tolist() == expected


STILL = dict.fromkeys(
    ("wind", "emissions", "plumes", "mixing", "deposition", "noise", "static_pattern"), False
)


class TestNature:
    @staticmethod
    def run(climate=EUROPE, **changes):
        """Run with no terms but those that `changes` name."""
        settings = dataclasses.replace(ONE_BLOCK, faults=False, **{**STILL, **changes})
        return NatureRun(settings, settings.blocks[0], climate).run()

    def in_climate(self, climate, **changes):
        return self.run(climate, **changes).instant

    def test_without_any_term_nothing_changes_and_wind_alone_moves_the_tracer(self):
        maps = self.run()
        assert np.ptp(maps.instant[:, 2:-2, 2:-2], axis=0).max() == 0
        assert not maps.u.any()
        assert not maps.v.any()
        maps = self.run(wind=True)
        assert np.abs(maps.instant[-1] - maps.instant[0]).mean() > 0.5
        assert np.hypot(maps.u, maps.v).mean() > 3

    def test_sources_add_mass_and_deposition_and_ventilation_remove_it(self):
        without = self.run().instant
        for term in ("emissions", "plumes"):
            maps = self.run(**{term: True}).instant
            assert (maps >= without).all()
            assert maps[-1].sum() > maps[0].sum() or term == "plumes"
        for term in ("deposition", "mixing"):
            maps = self.run(**{term: True}).instant
            assert maps[-1].sum() < maps[0].sum()

    def test_weather_systems_make_the_wind_turn(self):
        spread = [
            np.std(Wind(domain_of(chosen), chosen.rng("nature", 1)).at(12.0)[1])
            for chosen in (DemoSettings(), DemoSettings(weather_systems=False))
        ]
        assert spread[0] > 1.3 * spread[1]

    def test_static_pattern_and_noise_are_what_they_say(self):
        plain = self.run().instant[0]
        pattern = self.run(static_pattern=True).instant
        ratio = pattern / plain
        assert np.std(np.log(ratio[0])) > 0.1
        assert np.allclose(ratio[0, 2:-2, 2:-2], ratio[-1, 2:-2, 2:-2], rtol=1e-5)
        noisy = np.log(self.run(noise=True).instant / plain)
        assert np.std(noisy) == pytest.approx(Noise.SPREAD, rel=0.1)
        lag_one = np.corrcoef(noisy[:-1].ravel(), noisy[1:].ravel())[0, 1]
        assert lag_one == pytest.approx(np.exp(-1 / Noise.MEMORY_H), abs=0.05)

    def test_daily_cycle_switch(self):
        inner = np.s_[:, 10:-10, 10:-10]
        runs = (self.run(emissions=True, daily_cycle=cycle) for cycle in (True, False))
        growth, flat = (np.diff(one.instant[inner].sum(axis=(1, 2))) for one in runs)
        assert growth.max() > 2 * growth.min()
        assert flat.max() < 1.01 * flat.min()

    def test_seasonal_cycle_switch(self):
        def growth(month, **changes):
            maps = self.run(months=(month,), emissions=True, **changes).instant
            return float((maps[-1] - maps[0])[10:-10, 10:-10].sum())

        assert growth(1) > 1.8 * growth(7)
        winter, summer = (growth(month, seasonal_cycle=False) for month in (1, 7))
        assert winter == pytest.approx(summer, rel=0.01)

    def test_a_climate_multiplies_the_terms_of_the_nature_run(self):
        plain = self.in_climate(EUROPE)
        contrast = np.log(self.in_climate(Climate(contrast=2.0))[0])
        assert np.ptp(contrast) > 1.5 * np.ptp(np.log(plain[0]))
        emitted = self.in_climate(EUROPE, emissions=True) - plain
        twice = self.in_climate(Climate(emissions=2.0), emissions=True) - plain
        inner = np.s_[:, 6:-6, 6:-6]
        assert twice[inner] == pytest.approx(2 * emitted[inner], rel=1e-3, abs=1e-3)
        pattern = self.in_climate(EUROPE, static_pattern=True) / plain
        half = self.in_climate(Climate(pattern=0.5), static_pattern=True) / plain
        assert np.allclose(half[0], np.sqrt(pattern[0]), rtol=1e-4)
        aired = self.in_climate(Climate(ventilation=4.0), mixing=True)[-1]
        assert aired.sum() < 0.98 * self.in_climate(EUROPE, mixing=True)[-1].sum()
        moved = [
            self.in_climate(Climate(wind=factor), wind=True)[1] - plain[0] for factor in (0.5, 1.0)
        ]
        assert 1.5 < np.abs(moved[1]).mean() / np.abs(moved[0]).mean() < 2.2

    def test_showers_wash_out_where_they_are_and_strong_wind_lifts_dust(self):
        dry = self.in_climate(EUROPE, deposition=True)[6]
        wet = self.in_climate(Climate(showers=2.0), deposition=True)[6]
        share = (wet / dry)[6:-6, 6:-6]
        assert share.min() < 0.5
        assert np.quantile(share, 0.9) > 0.99
        calm, windy = (
            self.in_climate(Climate(dust=10.0), wind=blows) - self.in_climate(EUROPE, wind=blows)
            for blows in (False, True)
        )
        assert not calm.any()
        assert windy[-1].max() > 1
        assert windy[-1].min() > -0.5

    def test_over_the_sea_nothing_is_emitted_and_nothing_keeps_its_place(self):
        terms = {"emissions": True, "plumes": True, "mixing": True, "static_pattern": True}
        sea, land = (
            self.in_climate(Climate(sea=share, diffusion=0.0), **terms) for share in (1.0, 0.0)
        )
        still = self.in_climate(EUROPE)
        assert np.allclose(sea, still, rtol=0.02)
        assert not np.allclose(land, still, rtol=0.2)
        half = self.in_climate(Climate(sea=0.5, diffusion=0.0), **terms)
        alike = [np.isclose(half[-1], one[-1], rtol=0.02).mean() for one in (still, land)]
        assert min(alike) > 0.2

    def test_a_layer_that_grows_and_shrinks_keeps_what_both_hold(self):
        rng = np.random.default_rng(0)
        surface, above = rng.gamma(2.0, 8.0, (2, 30, 40))
        before, after = rng.uniform(100, 3000, (2, 30, 40))
        lower, upper = mixed(surface, above, before, after)
        held = surface * before + above * (TOP_M - before)
        assert np.allclose(lower * after + upper * (TOP_M - after), held)
        grows = after > before
        assert np.array_equal(upper[grows], above[grows])
        assert np.array_equal(lower[~grows], surface[~grows])
        thin = np.minimum(surface, above)
        assert (lower >= thin - 1e-9).all()
        assert (upper >= thin - 1e-9).all()

    def test_air_is_diluted_in_the_morning_and_keeps_at_night(self):
        climate = Climate(night_m=100.0, day_m=1500.0)
        maps = self.in_climate(climate, spin_up_hours=0)
        hourly = maps[:, 10:-10, 10:-10].mean(axis=(1, 2))
        night, morning, late = (
            hourly[last] / hourly[first] for first, last in ((0, 4), (5, 11), (21, 23))
        )
        assert morning < 0.8
        assert night == pytest.approx(1, abs=0.02)
        assert late == pytest.approx(1, abs=0.02)
        sea = self.in_climate(dataclasses.replace(climate, sea=1.0), spin_up_hours=0)
        assert sea[11].mean() == pytest.approx(sea[5].mean(), rel=0.02)

    def test_emissions_gather_in_a_thin_layer(self):
        thin, thick = (
            self.in_climate(Climate(night_m=depth, day_m=depth), emissions=True).max()
            for depth in (100.0, 800.0)
        )
        assert thin > 3 * thick

    def test_drawn_climates_differ_and_repeat(self):
        drawn = [Climate.draw(np.random.default_rng(seed)) for seed in (0, 1, 0)]
        assert drawn[0] == drawn[2] != drawn[1]
        assert len({one.key for one in (*drawn, EUROPE)}) == 3

    def test_wind_has_no_divergence(self):
        settings = DemoSettings()
        fine = np.linspace(45, 46, 201)
        wind = Wind(
            Domain(settings, settings.blocks[3], fine, fine - 30), settings.rng("nature", 2)
        )
        u, v = wind.at(7.0)
        radians = np.radians(fine)
        cosine = np.cos(radians)[:, None]
        east = np.gradient(u, radians, axis=1)
        north = np.gradient(v * cosine, radians, axis=0)
        divergence = (east + north) / (EARTH_RADIUS_M * cosine)
        rotation = (np.gradient(v, radians, axis=1) - np.gradient(u * cosine, radians, axis=0)) / (
            EARTH_RADIUS_M * cosine
        )
        inner = np.s_[1:-1, 1:-1]
        assert np.abs(divergence[inner]).max() < 1e-3 * np.abs(rotation[inner]).max()

    def test_advection_moves_a_blob_at_the_speed_of_the_wind(self):
        latitude = np.linspace(40, 60, 81)
        longitude = np.linspace(0, 30, 121)
        blob = np.exp(-((latitude[:, None] - 50) ** 2) / 2 - ((longitude - 10) * 0.64) ** 2 / 2)
        angular = 12.0 / EARTH_RADIUS_M  # solid rotation about the axis: u = 12 cos φ
        u = 12.0 * np.cos(np.radians(latitude))[:, None] * np.ones_like(blob)
        carry = Advection(u, np.zeros_like(u), latitude, STEP_S)
        moved = blob
        for _ in range(24):
            moved = carry(moved)
        travelled = (moved * longitude).sum() / moved.sum() - 10
        assert travelled == pytest.approx(np.degrees(angular * 24 * STEP_S), rel=1e-3)
        weights = np.cos(np.radians(latitude))[:, None]
        assert (moved * weights).sum() == pytest.approx((blob * weights).sum(), rel=1e-4)
        assert moved.max() == pytest.approx(blob.max(), rel=0.01)

    def test_mass_of_pure_advection_in_a_turning_wind(self):
        settings = DemoSettings()
        latitude, longitude = settings.latitude, settings.longitude
        wind = Wind(domain_of(settings), settings.rng("nature", 3))
        blob = np.exp(-((latitude[:, None] - 48) ** 2) / 8 - ((longitude - 12) * 0.67) ** 2 / 8)
        weights = np.cos(np.radians(latitude))[:, None]
        moved = blob
        for hour in range(6):
            carry = Advection(*wind.at(hour + 0.5), latitude, STEP_S)
            moved = carry(carry(moved))
        assert (moved * weights).sum() == pytest.approx((blob * weights).sum(), rel=5e-3)
        assert np.abs(moved - blob).max() > 0.2

    def test_diffusion_keeps_mass_and_flattens(self):
        latitude = np.linspace(40, 60, 81)
        rng = np.random.default_rng(1)
        field = rng.random((81, 60))
        weights = np.cos(np.radians(latitude))[:, None]
        flat = diffuse(field, latitude)
        assert (flat * weights).sum() == pytest.approx((field * weights).sum(), rel=1e-12)
        assert flat.std() < field.std()

    def test_emissions_are_strong_in_cities(self):
        settings = DemoSettings()
        surface = emission_map(domain_of(settings))
        row = np.argmin(np.abs(settings.latitude - 45.46))
        column = np.argmin(np.abs(settings.longitude - 9.19))
        assert surface[row, column] > 10 * np.median(surface)


class TestGriddedFiles:
    def test_cams_of_the_old_store(self, archive):
        with netCDF4.Dataset(archive / "cams" / "eac4_2019-03.nc") as data:
            assert data.data_model == "NETCDF3_64BIT_OFFSET"
            variable = data["pm2p5"]
            assert variable.dtype == np.int16
            assert variable.dimensions == ("time", "latitude", "longitude")
            assert variable.units == "kg m**-3"
            assert data["time"].units == "hours since 1900-01-01 00:00:00.0"
            assert (np.diff(data["time"][:]) == 3).all()
            assert data["latitude"][0] > data["latitude"][-1]
            step = variable.scale_factor
            values = variable[:]
            hours = data["time"][:]
        assert 0 < step * 1e9 < 0.05
        assert 1 < np.median(values.filled(np.nan)) * 1e9 < 60
        first = datetime(1900, 1, 1) + timedelta(hours=int(hours[0]))
        # Both ends of the last gap are there.
        assert (first.hour, len(hours)) == (0, 8 * SMALL.days_per_month + 1)

    def test_cams_of_the_new_store(self, archive):
        with netCDF4.Dataset(archive / "cams" / "eac4_2020-03.nc") as data:
            assert data.data_model == "NETCDF4"
            assert data["pm2p5"].dtype == np.float32
            assert data["pm2p5"].dimensions == ("valid_time", "latitude", "longitude")
            assert data["valid_time"].dtype == np.int64
            assert data["valid_time"].units == "seconds since 1970-01-01"
            assert (np.diff(data["valid_time"][:]) == 3 * 3600).all()
            assert np.isnan(data["pm2p5"]._FillValue)

    def test_every_third_fine_node_is_a_coarse_one_on_the_lattice(self, archive):
        fine_file = next((archive / "geoscf").glob("*20190330_0030z.nc4"))
        with (
            netCDF4.Dataset(archive / "cams" / "eac4_2019-03.nc") as coarse,
            netCDF4.Dataset(fine_file) as fine,
        ):
            assert np.array_equal(coarse["latitude"][::-1], fine["lat"][::3])
            assert np.array_equal(coarse["longitude"][:], fine["lon"][::3])
            assert not np.any(np.asarray(coarse["latitude"][:]) % 0.75)

    def test_cams_has_an_error_that_can_be_switched_off(self, archive, tmp_path):
        settings = dataclasses.replace(ONE_BLOCK, model_error=False)
        exact = demo_archive(settings, cache=tmp_path, workers=1)
        for root, same in ((archive, False), (exact, True)):
            with (
                netCDF4.Dataset(root / "cams" / "eac4_2019-03.nc") as model,
                netCDF4.Dataset(root / "truth" / "pm25_2019-03.nc") as truth,
            ):
                coarse = model["pm2p5"][:, ::-1] * 1e9
                true = truth["pm25"][::3, ::3, ::3]
            correlation = np.corrcoef(coarse.ravel(), true.ravel())[0, 1]
            assert (correlation > 0.999) == same
            assert correlation > 0.3

    def test_geoscf_holds_means_stamped_in_the_middle_of_the_hour(self, archive):
        files = sorted((archive / "geoscf").glob("*.nc4"))
        assert len(files) == len(SMALL.blocks) * SMALL.days_per_month * 24
        name = "GEOS-CF.v01.rpl.chm_tavg_1hr_g1440x721_v1.20190330_1330z.nc4"
        with netCDF4.Dataset(archive / "geoscf" / name) as data:
            variable = data["PM25_RH35_GCC"]
            assert variable.dimensions == ("time", "lev", "lat", "lon")
            assert variable.filters()["zlib"]
            assert data["lat"][0] < data["lat"][-1]
            stamp = netCDF4.num2date(data["time"][:], data["time"].units)[0]
            mean = variable[0, 0]
        assert (stamp.day, stamp.hour, stamp.minute) == (30, 13, 30)
        with netCDF4.Dataset(archive / "truth" / "pm25_2019-03.nc") as data:
            ends = data["pm25"][13:15]
        # Half of the mean comes from the half hour between, which is near both ends.
        assert np.abs(mean - ends.mean(axis=0)).mean() < 0.05 * ends.mean()
        assert not np.array_equal(mean, ends[0])

    def test_deepcams_is_hourly_better_than_coarse_and_ends_in_2019(self, archive):
        assert [path.name for path in sorted((archive / "deepcams").iterdir())] == [
            "deepcams_2019-03.nc",
            "deepcams_2019-10.nc",
        ]
        with (
            netCDF4.Dataset(archive / "deepcams" / "deepcams_2019-10.nc") as data,
            netCDF4.Dataset(archive / "truth" / "pm25_2019-10.nc") as true,
            netCDF4.Dataset(archive / "cams" / "eac4_2019-10.nc") as coarse,
        ):
            assert data["pm25"].units == "ug m-3"
            assert data["pm25"].cell_methods == "time: point"
            fine, truth = data["pm25"][::3], true["pm25"][::3]
            blocks = np.repeat(np.repeat(coarse["pm2p5"][:, ::-1] * 1e9, 3, 1), 3, 2)
        nearest = blocks[:, 1 : fine.shape[1] + 1, 1 : fine.shape[2] + 1]
        scores = [np.corrcoef(x.ravel(), truth.ravel())[0, 1] for x in (fine, nearest)]
        assert scores[0] > scores[1] + 0.01

    def test_wind_stands_in_a_file_of_its_own_at_frame_times(self, archive):
        with (
            netCDF4.Dataset(archive / "truth" / "wind_2019-03.nc") as wind,
            netCDF4.Dataset(archive / "truth" / "pm25_2019-03.nc") as truth,
        ):
            assert np.array_equal(wind["time"][:], truth["time"][:])
            assert wind["u"].shape == truth["pm25"].shape
            assert wind["v"].units == "m s-1"
            speed = np.hypot(wind["u"][:], wind["v"][:])
            exact = NatureRun(SMALL, SMALL.blocks[0]).wind.at(5.0)[0]
            assert np.abs(wind["u"][5] - exact[MARGIN:-MARGIN, MARGIN:-MARGIN]).max() <= 0.026
        assert 3 < speed.mean() < 15

    def test_every_file_says_that_it_is_synthetic(self, archive):
        files = [*archive.rglob("*.nc"), *archive.rglob("*.nc4")][::20]
        for path in files:
            with netCDF4.Dataset(path) as data:
                assert data.comment.startswith("SYNTHETIC")

    def test_rounding_of_bits(self):
        values = np.random.default_rng(2).lognormal(2, 2, 5000).astype(np.float32)
        rounded = round_bits(values)
        assert np.abs(rounded / values - 1).max() <= 2**-10
        assert np.array_equal(round_bits(rounded), rounded)


class TestStationFiles:
    def test_layout_and_header(self, archive):
        path = next((archive / "openaq" / "locationid=910001").rglob("*.csv.gz"))
        assert path.name.startswith("location-910001-20")
        year, month = path.parts[-3:-1]
        stamp = path.name[len("location-910001-") :]
        assert (year, month) == (f"year={stamp[:4]}", f"month={stamp[4:6]}")
        header = gzip.decompress(path.read_bytes()).decode().splitlines()[0]
        assert header == "location_id,sensors_id,location,datetime,lat,lon,parameter,units,value"

    def test_a_file_covers_its_local_day_to_midnight(self, csv_rows):
        for row in csv_rows[0]:
            day = (row["end"].replace(tzinfo=None) - timedelta(seconds=1)).strftime("%Y%m%d")
            assert row["path"].name.endswith(f"-{day}.csv.gz")
        assert any(row["end"].hour == 0 for row in csv_rows[0])

    def test_files_of_the_clock_change_hold_two_offsets(self, csv_rows, manifest):
        offsets = defaultdict(set)
        for row in csv_rows[0]:
            offsets[row["path"]].add(row["end"].utcoffset())
        two = [path for path, found in offsets.items() if len(found) == 2]
        assert len(two) == manifest["files_with_two_offsets"] > 10
        assert {len(found) for found in offsets.values()} == {1, 2}

    def test_cut_files_are_cut_and_no_others(self, csv_rows, manifest):
        assert sorted(manifest["files_cut_short"]) == csv_rows[1]
        assert len(csv_rows[1]) == 2

    def test_other_parameters_are_there(self, csv_rows):
        assert set(Counter(row["parameter"] for row in csv_rows[0])) == {"pm25", "no2"}

    def test_station_table(self, station_rows, csv_rows):
        header = "location_id,sensor_id,name,latitude,longitude,country,provider,is_monitor,mobile"
        assert ",".join(station_rows[0]) == header
        sensors = [row["sensor_id"] for row in station_rows]
        assert len(sensors) == len(set(sensors))
        assert {row["sensors_id"] for row in csv_rows[0]} == set(sensors)
        assert len({row["provider"] for row in station_rows}) >= 4
        assert sum(row["mobile"] == "true" for row in station_rows) == 2
        assert {row["is_monitor"] for row in station_rows} == {"true", "false"}

    def test_planted_faults_are_in_the_files_in_the_numbers_recorded(
        self, manifest, csv_rows, realtime_rows, station_rows
    ):
        planted = manifest["planted"]
        rows = [row for row in csv_rows[0] if row["parameter"] == "pm25"]
        values = [float(row["value"]) for row in rows]
        assert sum(v in (-999.0, 9999.0, -9999.0) for v in values) == planted["sentinel"]
        assert sum(-999 < v < -5 for v in values) == planted["large_negative"]
        assert sum(1000 < v < 9999 for v in values) == planted["above_limit"]
        assert sum(-5 <= v < 0 for v in values) >= planted["small_negative"] > 0
        zero = [row for row in rows if float(row["lat"]) == float(row["lon"]) == 0]
        assert len(zero) == planted["zero_coordinates"]
        mobile = {row["location_id"] for row in station_rows if row["mobile"] == "true"}
        moving = [row for row in rows if row["location_id"] in mobile]
        assert len(moving) == planted["mobile"]
        assert len({row["lat"] for row in moving}) > len(mobile)
        copies = {copy for _, copy in manifest["duplicate_monitors"]}
        assert sum(row["location_id"] in copies for row in rows) == planted["duplicate_monitor"]
        keys = Counter((row["sensors_id"], row["end"].timestamp()) for row in rows)
        exact = Counter((row["sensors_id"], row["end"].timestamp(), row["value"]) for row in rows)
        repeats = sum(count - 1 for count in keys.values())
        assert repeats == planted["exact_duplicate"] + planted["re_reported"]
        assert sum(count - 1 for count in exact.values()) == planted["exact_duplicate"]
        periods = Counter(row["averagingPeriod"]["value"] for row in realtime_rows)
        assert periods[24] == planted["daily_mean"] == 3 * 2 * 4
        assert set(periods) == {1, 24}
        without = [row for row in realtime_rows if "coordinates" not in row]
        assert len(without) == planted["no_coordinates"]

    def test_stuck_runs_are_as_many_as_planted(self, pm_series, manifest):
        runs = []
        for series in pm_series.values():
            values = pd.Series(dict(series)).sort_index()
            hours = values.index.to_series()
            new = (values != values.shift()) | (hours.diff() >= 4)
            spans = hours.groupby(new.cumsum()).agg(["min", "max", "size"])
            runs += spans.loc[spans["max"] - spans["min"] + 1 >= 24, "size"].tolist()
        assert len(runs) == manifest["stuck_runs"] == len(SMALL.blocks)
        assert sum(runs) == manifest["planted"]["stuck"]

    def test_copies_are_near_equal_and_shorter(self, manifest, pm_series, station_rows):
        place = {row["location_id"]: row for row in station_rows}
        assert manifest["duplicate_monitors"]
        for original, copy in manifest["duplicate_monitors"]:
            north = float(place[original]["latitude"]) - float(place[copy]["latitude"])
            assert abs(north) * 111_200 < 200
            assert place[original]["provider"] != place[copy]["provider"]
            first, second = dict(pm_series[original]), dict(pm_series[copy])
            assert len(second) < len(first)
            assert second.items() <= first.items()

    def test_late_provider_fits_best_an_hour_late(self, archive, manifest, station_rows):
        places = pd.DataFrame(station_rows)
        late = places.loc[places["provider"] == manifest["late_provider"], "location_id"]
        table = pd.read_parquet(archive / "truth" / "stations.parquet")
        table = table[table["averaging_hours"] == 1]
        truth = table[["station_id", "true_end", "truth"]].drop_duplicates(
            ["station_id", "true_end"], keep="last"
        )
        for chosen, expected in (
            (table["station_id"].isin(late), 1),
            (~table["station_id"].isin(late), 0),
        ):
            own = table.loc[
                chosen & table["fault"].isin(["", "late"]), ["station_id", "time_end", "value"]
            ]
            scores = {}
            for lag in range(-3, 4):
                moved = own.assign(true_end=own["time_end"] - pd.Timedelta(hours=lag))
                pairs = moved.merge(truth, on=["station_id", "true_end"])
                logs = np.log(pairs["value"].clip(lower=0.5)), np.log(pairs["truth"])
                scores[lag] = np.corrcoef(*logs)[0, 1]
            assert max(scores, key=scores.__getitem__) == expected

    def test_planted_table_agrees_with_manifest_and_files(self, archive, manifest, csv_rows):
        planted = pd.read_parquet(archive / "truth" / "planted.parquet")
        assert planted["fault"].value_counts().to_dict() == manifest["planted"]
        in_files = {
            (row["sensors_id"], row["end"].timestamp(), float(row["value"])) for row in csv_rows[0]
        }
        whole = planted[planted["fault"] != "cut_file"]
        whole = whole[whole["sensor_id"].str.isdigit()]
        cut = planted[planted["fault"] == "cut_file"]
        assert len(cut) > 20
        told, lost = (
            {
                (row.sensor_id, row.time_end.tz_localize("UTC").timestamp(), row.value)
                for row in rows.itertuples()
            }
            for rows in (whole, cut)
        )
        assert told <= in_files
        assert not lost & in_files

    def test_truth_of_stations_is_the_mean_in_their_cell(self, archive, station_rows):
        table = pd.read_parquet(archive / "truth" / "stations.parquet")
        place = {row["location_id"]: row for row in station_rows if row["mobile"] == "false"}
        sample = table[(table["fault"] == "") & table["station_id"].isin(place)].iloc[::211]
        assert len(sample) > 5
        for row in sample.itertuples():
            middle = row.true_end - timedelta(minutes=30)
            name = f"*_v1.{middle:%Y%m%d_%H%M}z.nc4"
            with netCDF4.Dataset(next((archive / "geoscf").glob(name))) as data:
                latitude = float(place[row.station_id]["latitude"])
                longitude = float(place[row.station_id]["longitude"])
                i = int(np.argmin(np.abs(data["lat"][:] - latitude)))
                j = int(np.argmin(np.abs(data["lon"][:] - longitude)))
                assert row.truth == data["PM25_RH35_GCC"][0, 0, i, j]

    @staticmethod
    def recorded(**changes):
        settings = dataclasses.replace(ONE_BLOCK, **changes)
        block = settings.blocks[0]
        mean = NatureRun(settings, block).run().mean
        reports = report(settings, block, make_stations(settings), mean)
        return reports, make_records(settings, block, reports)

    def test_without_faults_none_are_planted(self):
        reports, records = self.recorded(faults=False)
        assert set(records["fault"]) == {"", "late"}
        assert (records["value"] == records["clean"]).all()
        assert len(reports.stations) == ONE_BLOCK.stations

    def test_no_file_is_cut_unless_asked(self, tmp_path):
        reports, records = self.recorded()
        notes, cut_rows = write_block(tmp_path, ONE_BLOCK.blocks[0], reports, records, cut=False)
        assert notes["cut_short"] == []
        assert not cut_rows.any()
