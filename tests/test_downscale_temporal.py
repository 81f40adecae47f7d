from __future__ import annotations

from typing import Any

import cv2
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from deepcams_eval.core.field import stamp_of, validate_field
from deepcams_eval.downscale.degrade import DEGRADATIONS
from deepcams_eval.downscale.flow import OpticalFlow, dis_flows, intermediate_flows, warp
from deepcams_eval.downscale.joint import Composed
from deepcams_eval.downscale.pattern import StaticPattern
from deepcams_eval.downscale.protocol import Coarse, Downscaler, Target, Training
from deepcams_eval.downscale.spatial import BackProjection, Bicubic
from deepcams_eval.downscale.temporal import (
    IntervalMethod,
    Linear,
    LinearAsPrinted,
    LinearSqrt,
    Nearest,
    Pchip,
)
from deepcams_eval.errors import InputError, NoDataError
from tests.fields import hourly_field

HOUR = np.timedelta64(1, "h")
HALF_HOUR = np.timedelta64(30, "m")
START = np.datetime64("2020-02-28T21:00")  # across a leap day
METHODS = (Nearest, Linear, LinearAsPrinted, LinearSqrt, Pchip, OpticalFlow)
LINEAR_WHERE_NAN = (Linear, LinearAsPrinted, LinearSqrt, Pchip, OpticalFlow)
GLOBE = -180 + 2.5 * np.arange(144)
ROWS, COLUMNS = 72, 144


@pytest.fixture(params=METHODS, ids=lambda method: method.name)
def method(request: pytest.FixtureRequest) -> IntervalMethod:
    return request.param()


def frames(values: np.ndarray, *, hours: np.ndarray | None = None, **options: Any) -> xr.DataArray:
    """Make a Field of frames every three hours, or at `hours`."""
    hours = 3 * np.arange(len(values)) if hours is None else hours
    latitude = -89 + 2.5 * np.arange(np.shape(values)[1])
    return hourly_field(values, start=START, hours=hours, latitude=latitude, **options)


def asked(field: xr.DataArray, hours: object) -> Target:
    """Ask for hours since the first frame, on the grid of `field`."""
    wanted = np.asarray(hours)
    blank = np.zeros((len(wanted), *field.shape[1:]))
    longitude = field.longitude.values
    return Target.like(frames(blank, hours=wanted, longitude=longitude, stamp=stamp_of(field)))


def blob(column: float, *, row: float = 36.0, columns: int = COLUMNS) -> np.ndarray:
    """Return a plume on a background, continued round the globe."""
    y, x = np.mgrid[:ROWS, :columns]
    away = (x - column + columns / 2) % columns - columns / 2
    return 4 + 60 * np.exp(-(((y - row) / 4) ** 2) - (away / 6) ** 2)


def moving(hours: object, *, speed: float = 2.0, start: float = 60.0) -> np.ndarray:
    return np.stack([blob(start + speed * hour) for hour in np.asarray(hours)])


def rmse(estimate: xr.DataArray | np.ndarray, observed: np.ndarray) -> float:
    return float(np.sqrt(np.mean((np.asarray(estimate, dtype=float) - observed) ** 2)))


# ---- contract ------------------------------------------------------------------------------


@pytest.mark.parametrize("stamp", ["point", "mean"])
def test_contract(method: IntervalMethod, stamp: str, rng: np.random.Generator) -> None:
    field = frames(rng.gamma(2, 8, (4, 20, 30)), stamp=stamp)
    target = asked(field, [4, 5])
    before = field.copy(deep=True)
    result = method(Coarse(field), target)
    validate_field(result)
    assert isinstance(method, Downscaler)
    assert method.task == "temporal"
    assert method.title
    assert result.shape == (2, 20, 30)
    assert stamp_of(result) == stamp
    np.testing.assert_array_equal(result.time, target.time)
    xr.testing.assert_identical(field, before)
    if stamp == "mean":
        np.testing.assert_array_equal(result.time_end - result.time_start, HOUR)
    lazy = field.copy(data=dask.array.from_array(field.values))
    xr.testing.assert_identical(method(Coarse(lazy), target), result)
    assert np.isfinite(result).all()


def test_several_intervals_are_the_intervals_one_by_one(
    method: IntervalMethod, rng: np.random.Generator
) -> None:
    field = frames(rng.gamma(2, 8, (5, 20, 30)))
    together = method(Coarse(field), asked(field, [1, 2, 3, 4, 8, 12]))
    for place, hours in ((slice(0, 2), [1, 2]), (slice(3, 4), [4]), (slice(4, 5), [8])):
        first = hours[0] // 3
        around = field.isel(time=slice(max(0, first - method.halo), first + 2 + method.halo))
        alone = method(Coarse(around), asked(field, hours))
        np.testing.assert_array_equal(together[place], alone)
    np.testing.assert_array_equal(together[2], field[1])
    np.testing.assert_array_equal(together[5], field[4])


def test_equal_frames_stay(method: IntervalMethod, rng: np.random.Generator) -> None:
    one = rng.gamma(2, 8, (1, 20, 30))
    field = frames(np.repeat(one, 4, axis=0))
    result = method(Coarse(field), asked(field, [4, 5]))
    np.testing.assert_allclose(result, np.repeat(one, 2, axis=0), rtol=1e-5)


def test_times_outside_and_another_grid_are_refused(method: IntervalMethod) -> None:
    field = frames(np.ones((2, 20, 30)))
    with pytest.raises(InputError, match="between the frames"):
        method(Coarse(field), asked(field, [4]))
    narrow = asked(field.isel(longitude=slice(0, 29)), [1])
    with pytest.raises(InputError, match=r"longitude of the frames .*\(30\).*\(29\)"):
        method(Coarse(field), narrow)


@pytest.mark.parametrize("kind", LINEAR_WHERE_NAN, ids=lambda kind: kind.name)
def test_nan_stays_where_either_frame_is_nan(
    kind: type[IntervalMethod], rng: np.random.Generator
) -> None:
    values = rng.gamma(2, 8, (4, 20, 30))
    values[1, 3, 4] = values[2, 10, 11] = np.nan
    field = frames(values)
    missing = np.zeros((2, 20, 30), dtype=bool)
    missing[:, 3, 4] = missing[:, 10, 11] = True
    result = kind()(Coarse(field), asked(field, [4, 5]))
    np.testing.assert_array_equal(np.isnan(result), missing)


def test_nearest_has_the_nan_of_the_frame_it_takes() -> None:
    values = np.arange(800, dtype=float).reshape(2, 20, 20)
    values[0, 3, 4] = np.nan
    field = frames(values)
    first, second = Nearest()(Coarse(field), asked(field, [1, 2])).values
    np.testing.assert_array_equal(first, values[0])
    np.testing.assert_array_equal(second, values[1])


def test_nearest_takes_the_earlier_of_two_as_near() -> None:
    field = frames(np.stack([np.full((20, 20), 3.0), np.full((20, 20), 9.0)]), hours=[0, 4])
    assert Nearest()(Coarse(field), asked(field, [2])).values[0, 0, 0] == 3.0


# ---- formulas ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=10)
@given(st.floats(0, 500, width=32), st.floats(0, 500, width=32), st.sampled_from([1, 2]))
def test_weights(first: float, last: float, hour: int) -> None:
    field = frames(np.stack([np.full((8, 8), first), np.full((8, 8), last)]))
    t = hour / 3

    def value(method: IntervalMethod) -> float:
        return float(method(Coarse(field), asked(field, [hour]))[0, 5, 5])

    assert value(Linear()) == pytest.approx((1 - t) * first + t * last, rel=1e-5)
    assert value(LinearAsPrinted()) == pytest.approx(t * first + (1 - t) * last, rel=1e-5)
    root = (1 - t) * np.sqrt(first) + t * np.sqrt(last)
    assert value(LinearSqrt()) == pytest.approx(root**2, rel=1e-5)
    assert value(Pchip()) == pytest.approx((1 - t) * first + t * last, rel=1e-5)
    assert min(first, last) - 1e-3 <= value(LinearSqrt()) <= max(first, last) * (1 + 1e-5)


def test_square_roots_are_linear_where_an_end_is_negative(rng: np.random.Generator) -> None:
    values = rng.gamma(2, 8, (2, 20, 30))
    values[0, 2, 3] = values[1, 4, 5] = -0.5
    field = frames(values)
    target = asked(field, [1, 2])
    roots, straight = (kind()(Coarse(field), target).values for kind in (LinearSqrt, Linear))
    same = np.zeros((20, 30), dtype=bool)
    same[2, 3] = same[4, 5] = True
    np.testing.assert_array_equal(roots[:, same], straight[:, same])
    assert (roots < straight)[:, ~same].mean() > 0.99  # the mean of roots, squared


@pytest.mark.parametrize(("used", "hour"), [([0, 1, 2, 3], 4), ([1, 2, 3], 4), ([0, 1, 2], 5)])
def test_pchip_is_that_of_scipy_point_by_point(
    used: list[int], hour: int, rng: np.random.Generator
) -> None:
    values = rng.gamma(2, 8, (4, 20, 3))
    field = frames(values).isel(time=used)
    result = Pchip()(Coarse(field), asked(frames(values), [hour])).values[0]
    for row, column in np.ndindex(20, 3):
        curve = PchipInterpolator(3 * np.array(used), field.values[:, row, column])
        assert result[row, column] == pytest.approx(float(curve(hour)), rel=1e-5)


def test_pchip_uses_no_more_than_four_frames(rng: np.random.Generator) -> None:
    values = rng.gamma(2, 8, (6, 20, 30))
    field = frames(values)
    target = asked(field, [7])
    four = Pchip()(Coarse(field.isel(time=slice(1, 5))), target)
    np.testing.assert_array_equal(Pchip()(Coarse(field), target), four)
    assert not np.allclose(Pchip()(Coarse(field.isel(time=slice(2, 4))), target), four)


def test_pchip_is_linear_where_an_outer_frame_is_nan(rng: np.random.Generator) -> None:
    values = rng.gamma(2, 8, (4, 20, 30))
    holed = values.copy()
    holed[0, 5, 6] = holed[3, 7, 8] = np.nan
    target = asked(frames(values), [4, 5])
    curve = Pchip()(Coarse(frames(values)), target).values
    straight = Linear()(Coarse(frames(values)), target).values
    result = Pchip()(Coarse(frames(holed)), target).values
    open_points = np.isnan(holed).any(axis=0)
    np.testing.assert_array_equal(result[:, open_points], straight[:, open_points])
    np.testing.assert_array_equal(result[:, ~open_points], curve[:, ~open_points])
    assert not np.allclose(curve[:, open_points], straight[:, open_points])


# ---- motion --------------------------------------------------------------------------------


@pytest.mark.parametrize("cyclic", [True, False])
def test_flow_has_the_stated_signs(*, cyclic: bool) -> None:
    first, last = blob(60, row=30), blob(66, row=34)
    forward, backward = dis_flows(first.astype(np.float32), last.astype(np.float32), cyclic=cyclic)
    assert forward.shape == (ROWS, COLUMNS, 2)
    assert forward.dtype == backward.dtype == np.float32
    np.testing.assert_allclose(forward[30, 60], [6, 4], atol=0.3)
    np.testing.assert_allclose(backward[34, 66], [-6, -4], atol=0.3)


def test_flow_of_frames_without_content_is_zero() -> None:
    for value in (0.0, -1.0, np.nan):
        blank = np.full((20, 30), value, dtype=np.float32)
        assert not np.any(dis_flows(blank, blank, cyclic=False))


def test_intermediate_flows_of_uniform_motion_lead_to_both_ends() -> None:
    forward = np.zeros((4, 5, 2), dtype=np.float32) + np.array([6, -3], dtype=np.float32)
    to_first, to_last = intermediate_flows(forward, -forward, 1 / 3)
    np.testing.assert_allclose(to_first, -forward / 3, rtol=1e-6)
    np.testing.assert_allclose(to_last, forward * 2 / 3, rtol=1e-6)


def test_warp_samples_where_the_flow_leads(rng: np.random.Generator) -> None:
    image = rng.gamma(2, 8, (12, 15)).astype(np.float32)
    flow = np.zeros((12, 15, 2), dtype=np.float32)
    flow[..., 0], flow[..., 1] = 2, -1
    np.testing.assert_array_equal(warp(image, flow, cyclic=True)[1:], np.roll(image, -2, 1)[:-1])
    bounded = warp(image, flow, cyclic=False)
    np.testing.assert_array_equal(bounded[1:, :-2], image[:-1, 2:])
    np.testing.assert_array_equal(bounded[1:, -1], image[:-1, -1])
    flow[..., 0] = 15 * 7 + 2  # however far round the globe
    np.testing.assert_array_equal(warp(image, flow, cyclic=True)[1:], np.roll(image, -2, 1)[:-1])


def test_warp_is_cubic() -> None:
    ramp = np.tile(np.arange(20, dtype=np.float32), (8, 1))
    flow = np.zeros((8, 20, 2), dtype=np.float32)
    flow[..., 0] = 0.25
    np.testing.assert_allclose(
        warp(ramp, flow, cyclic=False)[:, 2:-3], ramp[:, 2:-3] + 0.25, atol=0.05
    )
    impulse = np.zeros((8, 20), dtype=np.float32)
    impulse[4, 10] = 1
    assert warp(impulse, flow, cyclic=False).min() < -0.01  # bilinear sampling has no such lobe


def test_flow_recovers_a_moving_plume() -> None:
    truth = moving([0, 1, 2, 3])
    field = frames(truth[[0, 3]], longitude=GLOBE)
    target = asked(field, [1, 2])
    errors = {
        kind.name: rmse(kind()(Coarse(field), target), truth[1:3])
        for kind in (Nearest, Linear, LinearAsPrinted, OpticalFlow)
    }
    assert errors["dis"] < 0.2 * errors["linear"]
    assert errors["linear"] < errors["nearest"] < errors["linear-eq9"]


def test_exchanged_hours_and_shuffled_frames_score_worse() -> None:
    truth = moving(np.arange(10))
    field = frames(truth[::3], longitude=GLOBE)
    hours = [1, 2, 4, 5, 7, 8]
    target = asked(field, hours)
    exchanged = [1, 0, 3, 2, 5, 4]
    shuffled = field.copy(data=field.values[[2, 0, 3, 1]])
    for kind in (Nearest, Linear, LinearSqrt, Pchip, OpticalFlow):
        result = kind()(Coarse(field), target).values
        right = rmse(result, truth[hours])
        assert right < 0.8 * rmse(result[exchanged], truth[hours])
        assert right < 0.8 * rmse(kind()(Coarse(shuffled), target), truth[hours])


def test_flow_is_the_same_in_every_run_and_nearly_so_upside_down() -> None:
    first, last = (image.astype(np.float32) for image in (blob(60, row=30), blob(66, row=34)))
    flows = dis_flows(first, last, cyclic=True)
    threads = cv2.getNumThreads()
    try:
        for count in (1, threads, 2 * threads + 1):
            cv2.setNumThreads(count)
            np.testing.assert_array_equal(flows, dis_flows(first, last, cyclic=True))
    finally:
        cv2.setNumThreads(threads)
    mirrored = dis_flows(first[::-1], last[::-1], cyclic=True)
    field = frames(np.stack([first, last]), longitude=GLOBE)
    upside = field.copy(data=field.values[:, ::-1])
    target = asked(field, [1, 2])
    one, other = (OpticalFlow()(Coarse(each), target).values for each in (field, upside))
    np.testing.assert_allclose(mirrored[0][::-1][30, 60], flows[0][30, 60] * [1, -1], atol=0.3)
    assert rmse(one, other[:, ::-1]) < 0.02 * rmse(one, np.zeros(()))


@pytest.mark.parametrize("shift", [16, 72])
def test_rolling_the_globe_commutes(method: IntervalMethod, shift: int) -> None:
    field = frames(moving([0, 3, 6, 9], start=50), longitude=GLOBE)
    turned = field.copy(data=np.roll(field.values, shift, axis=2))
    still, rolled = (method(Coarse(one), asked(field, [4, 5])) for one in (field, turned))
    # The patches of DIS lie on a lattice of their own.
    tolerance = 0.6 if method.name == "dis" else 0
    np.testing.assert_allclose(np.roll(still, shift, axis=2), rolled, atol=tolerance)


def test_a_plume_crosses_the_date_line_of_a_globe_and_not_the_edge_of_a_region() -> None:
    truth = moving([0, 1, 2, 3], start=-4)
    region = 0.5 * np.arange(COLUMNS)
    errors = {}
    for name, longitude in (("globe", GLOBE), ("region", region)):
        field = frames(truth[[0, 3]], longitude=longitude)
        result = OpticalFlow()(Coarse(field), asked(field, [1, 2]))
        errors[name] = rmse(result, truth[1:3])
    assert errors["globe"] < 0.5
    assert errors["region"] > 3 * errors["globe"]


@pytest.mark.parametrize(("rows", "columns"), [(3, 144), (2, 3), (9, 20)])
def test_flow_of_small_fields(rows: int, columns: int, rng: np.random.Generator) -> None:
    longitude = -180 + 360 / columns * np.arange(columns) if columns == 144 else None
    field = frames(rng.gamma(2, 8, (2, rows, columns)), longitude=longitude)
    result = OpticalFlow()(Coarse(field), asked(field, [1, 2]))
    assert np.isfinite(result).all()


def test_flow_is_linear_beside_a_gap_and_moves_elsewhere() -> None:
    truth = moving([0, 1, 2, 3])
    holed = truth.copy()
    holed[0, 36, 70] = np.nan
    field = frames(holed[[0, 3]], longitude=GLOBE)
    target = asked(field, [1, 2])
    result = OpticalFlow()(Coarse(field), target).values
    straight = Linear()(Coarse(field), target).values
    assert np.isnan(result).sum() == 2
    known = np.isfinite(result)
    assert ((result == straight) & known).any()
    assert rmse(result[known], truth[1:3][known]) < 0.4 * rmse(straight[known], truth[1:3][known])


# ---- time and space together ---------------------------------------------------------------


def joint_case(hours: np.ndarray) -> tuple[Coarse, xr.DataArray]:
    """Return coarse frames every three hours, and the hourly truth."""
    truth = frames(moving(hours), hours=hours, longitude=GLOBE)
    kept = truth.isel(time=np.flatnonzero(hours % 3 == 0))
    operator = DEGRADATIONS["imresize"]
    return Coarse(operator.spatial(kept).compute(), operator), truth


def test_linear_and_bicubic_commute_and_flow_does_not() -> None:
    coarse, truth = joint_case(np.arange(7))
    target = Target.like(truth)
    one = Composed(Linear(), Bicubic())(coarse, target)
    other = Composed(Bicubic(), Linear())(coarse, target)
    validate_field(one)
    assert one.shape == truth.shape
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    steps = OpticalFlow(), Bicubic()
    flows = [Composed(*pair)(coarse, target) for pair in (steps, steps[::-1])]
    assert rmse(flows[0], flows[1].values) > 0.01
    for flow in flows:
        assert rmse(flow, truth.values) < 0.6 * rmse(one, truth.values)
    for result in (one, other, *flows):
        kept = Bicubic()(coarse, Target.like(truth.isel(time=[0, 3, 6])))
        np.testing.assert_array_equal(result[::3], kept)


def test_composed_gives_each_interval_its_halo_and_none_from_beyond_a_gap() -> None:
    hours = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 18, 19, 20, 21])
    coarse, truth = joint_case(hours)
    method = Composed(Pchip(), Bicubic())
    assert method.halo == 1
    result = method(coarse, Target.like(truth))
    for chosen, used in (
        ([1, 2], [0, 1, 2]),
        ([4, 5], [0, 1, 2, 3]),
        ([7, 8], [1, 2, 3]),
        ([11, 12], [4, 5]),
    ):
        part = Coarse(coarse.field.isel(time=used), coarse.degradation)
        alone = method(part, Target.like(truth.isel(time=chosen)))
        np.testing.assert_array_equal(result[chosen], alone)


def test_composed_says_its_order_and_refuses_two_of_one_task() -> None:
    first, second = Composed(Linear(), Bicubic()), Composed(Bicubic(), Linear())
    assert (first.name, second.name) == ("linear+bicubic", "bicubic+linear")
    assert first.title.startswith("time first")
    assert second.title.startswith("space first")
    assert first.task == "joint"
    assert isinstance(first, Downscaler)
    for pair in ((Linear(), Pchip()), (Bicubic(), BackProjection()), (first, Linear())):
        with pytest.raises(InputError, match="compose one temporal and one spatial"):
            Composed(*pair)


def test_composed_learns_only_where_a_step_does() -> None:
    coarse, truth = joint_case(np.arange(4))
    assert not hasattr(Composed(Linear(), Bicubic()), "fit")
    method = Composed(Linear(), StaticPattern())
    with pytest.raises(NoDataError, match="training years"):
        method(coarse, Target.like(truth))
    method.fit(Training((2019,), DEGRADATIONS["imresize"], lambda: iter([truth])))
    assert np.isfinite(method(coarse, Target.like(truth))).all()


def test_composed_refuses_a_time_outside_and_keeps_a_single_frame() -> None:
    coarse, truth = joint_case(np.arange(4))
    one, first = Coarse(coarse.field.isel(time=[0]), coarse.degradation), truth.isel(time=[0])
    for method in (Composed(Linear(), Bicubic()), Composed(Bicubic(), Linear())):
        kept, plain = (each(one, Target.like(first)) for each in (method, Bicubic()))
        np.testing.assert_array_equal(kept, plain)
        with pytest.raises(InputError, match="between the frames"):
            method(one, Target.like(truth.isel(time=[1])))


# ---- real frames ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "known_rmse", "known_mae", "tolerance"),
    [
        (Nearest, 3.478, 0.594, 0.0006),
        (Linear, 2.129, 0.339, 0.0006),
        (LinearAsPrinted, 3.817, 0.649, 0.0006),
        (LinearSqrt, 2.125, 0.334, 0.0006),
        (Pchip, 2.129, 0.339, 0.0006),
        (OpticalFlow, 1.787, 0.237, 0.002),
    ],
)
def test_real_frames(
    real_frames: xr.DataArray, kind: Any, known_rmse: float, known_mae: float, tolerance: float
) -> None:
    target = Target.like(real_frames.isel(time=[1, 2]))
    result = kind()(Coarse(real_frames.isel(time=[0, 3])), target).values.astype(float)
    error = result - real_frames.values[1:3]
    assert np.sqrt((error**2).mean(axis=(1, 2))).mean() == pytest.approx(known_rmse, abs=tolerance)
    assert np.abs(error).mean() == pytest.approx(known_mae, abs=tolerance)
