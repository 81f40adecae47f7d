from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepcams_eval.core.solar import cosine_of_zenith
from deepcams_eval.demo import DemoSettings, demo_archive
from deepcams_eval.downscale.degrade import degradation
from deepcams_eval.downscale.flow import dis_flows, intermediate_flows, warp
from deepcams_eval.errors import DeepcamsWarning, InputError, NoDataError
from deepcams_models.data import (
    HELD_OUT,
    Enlargements,
    Interval,
    Intervals,
    Truth,
    block_numbers,
    load_truth,
    split,
    stacked,
)
from deepcams_models.train import TrainSettings
from tests.training_truth import blob, moving_blob
from tests.travelling import moving, write


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of 2019 and of 2020, 13 x 25 maps."""
    settings = DemoSettings.small(
        **{"months": (1, 2, 4, 6, 8, 11), "days_per_month": 1, "spin_up_hours": 0},
        **{"south": 48.0, "north": 51.0, "west": 0.0, "east": 6.0, "stations": 12},
    )
    return demo_archive(settings, cache=tmp_path_factory.mktemp("cache"), workers=1)


def _interval(seed: int = 0) -> Interval:
    rng = np.random.default_rng(seed)
    maps = [rng.gamma(2.0, 8.0, (20, 26)).astype(np.float32) for _ in range(3)]
    flows = [rng.normal(0, 2, (20, 26, 2)).astype(np.float32) for _ in range(2)]
    sun = rng.uniform(-1, 1, (20, 26, 2)).astype(np.float32)
    return Interval(maps[0], maps[1], maps[2], flows[0], flows[1], sun, 1 / 3)


def _warped(sample: Interval) -> np.ndarray:
    to_first, to_last = intermediate_flows(sample.forward, sample.backward, sample.t)
    first, last = (np.ascontiguousarray(one) for one in (sample.first, sample.last))
    return (1 - sample.t) * warp(first, to_first, cyclic=False) + sample.t * warp(
        last, to_last, cyclic=False
    )


@pytest.mark.parametrize(
    ("changed", "undone"),
    [
        (lambda one: one.mirrored(0), lambda made: made[::-1]),
        (lambda one: one.mirrored(1), lambda made: made[:, ::-1]),
        (lambda one: one.transposed(), lambda made: made.T),
        (lambda one: one.scaled(1.7), lambda made: made / 1.7),
        (lambda one: one.reversed_in_time(), lambda made: made),
    ],
    ids=["rows", "columns", "transposed", "scaled", "reversed"],
)
def test_interpolating_a_changed_sample_is_changing_the_interpolation(changed, undone) -> None:
    # A flow that is turned without its components, or given to the other map, fails here.
    sample = _interval()
    np.testing.assert_allclose(undone(_warped(changed(sample))), _warped(sample), atol=2e-3)


def test_flows_found_in_a_changed_pair_are_the_changed_flows() -> None:
    first, last = blob(30.0, 34.0, (64, 72)), blob(34.0, 31.0, (64, 72))
    forward, backward = dis_flows(first, last, cyclic=False)
    sample = Interval(first, last, first, forward, backward, np.zeros_like(forward), 1 / 3)
    weight = np.minimum(first, last) > 10  # where there is something to follow
    backwards = sample.reversed_in_time()
    again = dis_flows(last, first, cyclic=False)
    np.testing.assert_array_equal(again[0], backwards.forward)
    np.testing.assert_array_equal(again[1], backwards.backward)
    for changed, turn in (
        (sample.mirrored(0), lambda one: one[::-1]),
        (sample.mirrored(1), lambda one: one[:, ::-1]),
        (sample.transposed(), np.transpose),
    ):
        ends = (np.ascontiguousarray(one) for one in (changed.first, changed.last))
        found, _ = dis_flows(*ends, cyclic=False)
        where = turn(weight)
        assert np.abs(found - changed.forward)[where].mean() < 0.3
        assert np.abs(found + changed.forward)[where].mean() > 2  # and not the opposite


def test_growth_in_place_is_the_same_pattern_at_both_hours() -> None:
    sample = _interval(3)
    shares = []
    for seed in range(12):
        grown = sample.grown(np.random.default_rng(seed), 0.6, cyclic=False)
        np.testing.assert_array_equal(grown.first, sample.first)
        pattern = np.log(grown.last / sample.last)
        assert 0 < pattern.std() <= 0.61
        share = np.log(grown.truth / sample.truth) / pattern
        assert np.median(np.abs(share - np.median(share))) < 1e-3
        shares.append(float(np.median(share)))
        found = dis_flows(grown.first, grown.last, cyclic=False)
        np.testing.assert_array_equal(grown.forward, found[0])
        np.testing.assert_array_equal(grown.backward, found[1])
    # Of t = 1/3, bent by up to a half: not what linear growth would be.
    assert min(shares) > 1 / 3 - 0.12
    assert max(shares) < 1 / 3 + 0.12
    assert np.std(shares) > 0.02
    same = sample.grown(np.random.default_rng(0), 0.0, cyclic=False)
    np.testing.assert_array_equal(same.truth, sample.truth)


def test_half_of_the_samples_grow() -> None:
    truth = moving_blob(days=(0, 1), shape=(30, 40))
    plain, grown = (_drawn(truth, 40, amplitude=0.0, growth=growth) for growth in (0.0, 0.5))
    highest = float(truth.values.max())
    assert all(one.last.max() <= highest for one in plain)
    above = sum(max(one.last.max(), one.first.max()) > 1.02 * highest for one in grown)
    assert 3 <= above <= 25


def test_samples_keep_to_four_consecutive_hours_and_to_their_block() -> None:
    truth = moving_blob(days=(0, 1, 2, 4, 5), shape=(24, 24))
    starts = truth.intervals(kept_only=False)
    assert all(truth.hours[one + 3] - truth.hours[one] == 3 for one in starts)
    assert len(starts) == 72 - 3 + 48 - 3
    kept = truth.intervals(kept_only=True)
    assert {int(truth.hours[one] % 3) for one in kept} == {0}
    assert len(kept) == 23 + 15


def test_blocks_are_three_days_and_end_at_a_gap() -> None:
    days = np.repeat([0, 1, 2, 3, 4, 9, 10], 24)
    hours = days * 24 + np.tile(np.arange(24), 7)
    numbers = block_numbers(hours)
    assert numbers[::24].tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_nothing_that_is_held_out_is_learned_from() -> None:
    truth = moving_blob(days=tuple(range(0, 60, 2)), shape=(12, 12))
    train, valid = split(truth)
    assert not set(train.hours) & set(valid.hours)
    assert len(train.hours) + len(valid.hours) == len(truth.hours)
    assert len(valid.hours) == len(truth.hours) // HELD_OUT
    with pytest.raises(NoDataError, match="too few days"):
        split(moving_blob(days=(0, 1), shape=(12, 12)))


@pytest.mark.parametrize("operator", ["imresize", "mean", "node"])
def test_a_coarse_value_belongs_to_the_middle_of_its_block(operator: str) -> None:
    truth = moving_blob(days=(0,), shape=(31, 34))
    sample = Enlargements(truth, degradation(operator)).whole(5)
    rows, columns = sample.coarse.shape
    assert sample.truth.shape == sample.start.shape == (3 * rows, 3 * columns)
    # An oracle by eye: the truth at the middle of each block is nearest to the coarse value.
    error = {
        (row, column): np.abs(sample.truth[row::3, column::3] - sample.coarse)[1:-1, 1:-1].mean()
        for row in range(3)
        for column in range(3)
    }
    assert min(error, key=error.__getitem__) == (1, 1)
    if operator == "node":
        assert error[1, 1] == 0


def test_enlargements_are_those_of_the_benchmark_and_cut_along_blocks() -> None:
    truth = moving_blob(days=(0,), shape=(30, 36))
    made = Enlargements(truth, degradation("mean"))
    sample = made.whole(3)
    coarse = sample.truth.reshape(10, 3, 12, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(sample.coarse, coarse, rtol=1e-5)
    part = sample.cut((slice(2, 6), slice(3, 9)))
    np.testing.assert_array_equal(part.truth, sample.truth[6:18, 9:27])
    again = part.start.reshape(4, 3, 6, 3).mean(axis=(1, 3))
    assert (
        np.abs(again - part.coarse).mean()
        < np.abs(part.plain.reshape(4, 3, 6, 3).mean(axis=(1, 3)) - part.coarse).mean()
    )


def test_the_test_year_of_the_synthetic_archive_is_left_out(archive: Path) -> None:
    train, valid = load_truth(_settings(data=str(archive)))
    assert train.years == (2019,)
    assert train.synthetic
    stamps = np.concatenate([train.hours, valid.hours]).astype("datetime64[h]")
    assert set(stamps.astype("datetime64[Y]").astype(int) + 1970) == {2019}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"train_years": (2019, 2020)}, "2020 is the test year"),
        ({"train_years": (2019,), "valid_years": (2020,)}, "2020 is the test year"),
        ({"train_years": (1999,)}, "no truth of 1999"),
        ({"valid_years": (2019,)}, "no year is left to learn from"),
        ({"valid_years": (2019,), "data": "nature"}, "climates, not years"),
    ],
)
def test_years_that_cannot_be_learned_from(
    archive: Path, asked: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        load_truth(_settings(**{"data": str(archive), **asked}))


def test_what_memory_does_not_take_is_counted(archive: Path) -> None:
    # Room for five of six days of maps with their flows.
    room = 130 * 13 * 25 * 4 * 4 / 1e9
    with pytest.warns(DeepcamsWarning, match="120 of 144 hours are used"):
        train, valid = load_truth(_settings(data=str(archive), memory_gb=room))
    assert len(train.hours) + len(valid.hours) == 120


def test_samples_come_from_the_generator_alone() -> None:
    truth = moving_blob(days=(0, 1), shape=(30, 40))
    drawn = _drawn(truth, 6), _drawn(truth, 6)
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one.truth, other.truth)
        np.testing.assert_array_equal(one.forward, other.forward)
    assert len({round(one.t, 6) for one in drawn[0]}) == 2


def test_samples_know_where_the_sun_stands_and_a_day_need_not_run_backwards() -> None:
    truth = moving_blob(days=(0,), shape=(30, 40))
    morning = truth.at((truth.hours >= 6) & (truth.hours <= 9))
    settings = _settings(crop=24, margin=0)
    rising = {}
    for reverse in (True, False):
        intervals = Intervals(morning, kept_only=True, reverse=reverse)
        sun = intervals.sun(0)
        drawn = [intervals.draw(np.random.default_rng(seed), settings).sun for seed in range(12)]
        assert all(np.isin(one, sun).all() for one in drawn)
        rising[reverse] = {bool((one[..., 1] > one[..., 0]).all()) for one in drawn}
    assert rising == {True: {True, False}, False: {True}}
    # In the middle of the first hour, and not at its beginning: the maps are means.
    middle = np.array(["1970-01-01T06:30", "1970-01-01T09:30"], "datetime64[m]")
    expected = cosine_of_zenith(middle, truth.latitude, truth.longitude)
    np.testing.assert_allclose(sun, np.moveaxis(expected, 0, -1), atol=1e-6)


def test_tensors_have_the_component_of_the_columns_first() -> None:
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0] = 7
    tensor = stacked([flow, flow], torch.device("cpu"))
    assert tensor.shape == (2, 2, 3, 4)
    assert tensor[:, 0].unique().tolist() == [7.0]


def test_truth_across_the_date_line_is_refused(tmp_path: Path) -> None:
    longitude = (178 + 0.25 * np.arange(36) + 180) % 360 - 180
    torn = moving(7).assign_coords(longitude=longitude).sortby("longitude")
    (tmp_path / "geoscf").mkdir()
    write(torn, tmp_path / "geoscf" / "torn.nc", name="PM25_RH35_GCC")
    with pytest.raises(InputError, match=r"torn\.nc: geoscf: longitude is not evenly spaced"):
        load_truth(_settings(data=str(tmp_path)))


def _drawn(truth: Truth, count: int, **changes: object) -> list[Interval]:
    intervals, rng = Intervals(truth, kept_only=False), np.random.default_rng(6)
    settings = _settings(crop=24, margin=0, **changes)
    return [intervals.draw(rng, settings) for _ in range(count)]


def _settings(**changes: object) -> TrainSettings:
    base: dict[str, object] = {"network": "xvfi", "preset": "small", "data": "demo", "steps": 1}
    return TrainSettings.make({**base, **changes})
