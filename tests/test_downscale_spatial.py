from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

from deepcams_eval.core.field import stamp_of, validate_field
from deepcams_eval.downscale.degrade import DEGRADATIONS, Degradation
from deepcams_eval.downscale.pattern import StaticPattern
from deepcams_eval.downscale.protocol import Coarse, Downscaler, Target, Training
from deepcams_eval.downscale.spatial import (
    KEYS,
    LANCZOS3,
    TRIANGLE,
    BackProjection,
    Bicubic,
    Bilinear,
    Lanczos,
    NearestCell,
    enlargement,
    enlarger,
)
from deepcams_eval.errors import InputError, NoDataError
from tests.fields import hourly_field

ENLARGEMENTS = (NearestCell, Bilinear, Bicubic, Lanczos, BackProjection)
HOUR = np.timedelta64(1, "h")
IMRESIZE, MEAN, NODE = (DEGRADATIONS[name] for name in ("imresize", "mean", "node"))


@pytest.fixture(params=ENLARGEMENTS, ids=lambda method: method.name)
def method(request: pytest.FixtureRequest) -> Downscaler:
    return request.param()


def grid(operator: Degradation, *, globe: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return a fine grid that the operator can divide."""
    extra = 1 if operator.name == "node" else 0
    if globe:  # with a row on each pole
        return np.linspace(-90, 90, 61), -180 + 3.0 * np.arange(120)
    return 40 + 0.25 * np.arange(45 + extra), 5 + 0.25 * np.arange(60 + extra)


def fine_field(
    operator: Degradation,
    values: np.ndarray | None = None,
    *,
    globe: bool = False,
    stamp: str = "mean",
    rng: np.random.Generator | None = None,
    steps: int = 2,
) -> xr.DataArray:
    latitude, longitude = grid(operator, globe=globe)
    shape = (steps, len(latitude), len(longitude))
    if values is None:
        values = rng.gamma(2, 8, shape)
    values = np.broadcast_to(values, (len(values), *shape[1:]))
    return hourly_field(
        values, start="2020-02-28T23:00", latitude=latitude, longitude=longitude, stamp=stamp
    )


def coarse_of(field: xr.DataArray, operator: Degradation) -> Coarse:
    return Coarse(operator.spatial(field).compute(), operator)


def with_values(coarse: Coarse, values: np.ndarray) -> Coarse:
    return Coarse(coarse.field.copy(data=values.astype(np.float32)), coarse.degradation)


def place_of(truth: xr.DataArray, node: xr.DataArray) -> tuple[int, int]:
    """Return the row and the column of `truth` that a coarse value is centred on."""
    row, column = (
        int(np.flatnonzero(truth[name].values == node[name].item())[0])
        for name in ("latitude", "longitude")
    )
    return row, column


# ---- contract ------------------------------------------------------------------------------


@pytest.mark.parametrize("stamp", ["point", "mean"])
@pytest.mark.parametrize("globe", [True, False])
def test_contract(
    method: Downscaler, operator: Degradation, stamp: str, globe: bool, rng: np.random.Generator
) -> None:
    truth = fine_field(operator, globe=globe, stamp=stamp, rng=rng)
    coarse = coarse_of(truth, operator)
    before = coarse.field.copy(deep=True)
    result = method(coarse, Target.like(truth))
    validate_field(result)
    assert isinstance(method, Downscaler)
    assert method.task == "spatial"
    assert method.title
    assert result.shape == truth.shape
    assert stamp_of(result) == stamp
    xr.testing.assert_equal(result.coords.to_dataset(), truth.coords.to_dataset())
    xr.testing.assert_identical(coarse.field, before)
    assert np.isfinite(result).all()
    lazy = Coarse(coarse.field.copy(data=dask.array.from_array(coarse.field.values)), operator)
    xr.testing.assert_identical(method(lazy, Target.like(truth)), result)


def test_frames_are_treated_alone(
    method: Downscaler, operator: Degradation, rng: np.random.Generator
) -> None:
    truth = fine_field(operator, rng=rng, steps=3)
    coarse = coarse_of(truth, operator)
    together = method(coarse, Target.like(truth))
    for step in range(3):
        one = Coarse(coarse.field.isel(time=[step]), operator)
        alone = method(one, Target.like(truth.isel(time=[step])))
        np.testing.assert_array_equal(alone[0], together[step])


def test_a_constant_stays(method: Downscaler, operator: Degradation) -> None:
    for globe in (True, False):
        truth = fine_field(operator, np.full((1, 1, 1), 7.25), globe=globe)
        result = method(coarse_of(truth, operator), Target.like(truth))
        np.testing.assert_allclose(result, 7.25, rtol=1e-6)


def test_the_wrong_registration_is_refused(method: Downscaler, rng: np.random.Generator) -> None:
    truth = fine_field(NODE, globe=True, rng=rng)
    target = Target.like(truth)
    nodes, centres = (operator.spatial(truth).compute() for operator in (NODE, IMRESIZE))
    shifted = centres.assign_coords(longitude=centres.longitude - 3.0)
    for field, operator, said in (
        (nodes, IMRESIZE, "'imresize' gives"),
        (centres, NODE, "'node' gives"),
        (nodes, None, "no degradation operator"),
        (shifted, IMRESIZE, "longitude of the coarse field"),
    ):
        with pytest.raises(InputError, match=said):
            method(Coarse(field, operator), target)


def test_other_times_are_refused(method: Downscaler, rng: np.random.Generator) -> None:
    truth = fine_field(MEAN, rng=rng, steps=3)
    coarse = coarse_of(truth.isel(time=[0, 1]), MEAN)
    for chosen in ([0, 1, 2], [1, 2]):
        with pytest.raises(InputError, match="keeps the times"):
            method(coarse, Target.like(truth.isel(time=chosen)))


# ---- registration --------------------------------------------------------------------------


def polynomial(latitude: np.ndarray, longitude: np.ndarray, *, degree: int) -> np.ndarray:
    y, x = np.meshgrid((latitude - 44) / 5, (longitude - 12) / 6, indexing="ij")
    plane = 30 + 11 * y - 7 * x + 3 * x * y
    return plane if degree == 1 else plane + 5 * y**2 - 4 * x**2 + 2 * x**2 * y**2


@pytest.mark.parametrize("kind", [Bilinear, Bicubic, BackProjection], ids=lambda kind: kind.name)
def test_ramps_come_back_from_every_operator(kind: type[Downscaler], operator: Degradation) -> None:
    truth = fine_field(operator, polynomial(*grid(operator), degree=1)[np.newaxis])
    result = kind()(coarse_of(truth, operator), Target.like(truth))
    # The mirrored edge spreads through operator and kernel, and further with each correction.
    edge, tolerance = (15, 2e-3) if kind is BackProjection else (12, 2e-5)
    inner = np.s_[:, edge:-edge, edge:-edge]
    np.testing.assert_allclose(result.values[inner], truth.values[inner], atol=tolerance)


def test_bicubic_reproduces_the_second_degree_and_bilinear_does_not(
    operator: Degradation,
) -> None:
    latitude, longitude = grid(operator)
    truth = fine_field(operator, polynomial(latitude, longitude, degree=2)[np.newaxis])
    coarse = coarse_of(truth, operator)
    centres = polynomial(coarse.field.latitude.values, coarse.field.longitude.values, degree=2)
    exact = with_values(coarse, centres[np.newaxis])
    cubic, straight = (
        abs(kind()(exact, Target.like(truth)).values - truth.values)[0, 6:-6, 6:-6].max()
        for kind in (Bicubic, Bilinear)
    )
    assert cubic < 2.6e-5
    assert straight > 0.01


def test_an_impulse_stays_at_its_place(method: Downscaler, operator: Degradation) -> None:
    truth = fine_field(operator, np.zeros((1, 1, 1)))
    coarse = coarse_of(truth, operator)
    values = np.zeros(coarse.field.shape)
    values[0, 6, 9] = 5.0
    result = method(with_values(coarse, values), Target.like(truth))[0]
    here = coarse.field[0, 6, 9]
    at = result.sel(latitude=here.latitude.item(), longitude=here.longitude.item())
    assert at.item() == result.max().item()
    if method.name != "bicubic-ibp":
        assert at.item() == pytest.approx(5.0, rel=1e-6)
    row, column = place_of(truth, here)
    window = result.values[row - 7 : row + 8, column - 7 : column + 8]
    np.testing.assert_allclose(window, window[::-1, ::-1], atol=1e-5)


def test_nearest_fills_the_block_of_three(rng: np.random.Generator) -> None:
    truth = fine_field(MEAN, rng=rng)
    coarse = coarse_of(truth, MEAN)
    blocks = np.repeat(np.repeat(coarse.field.values, 3, axis=1), 3, axis=2)
    np.testing.assert_array_equal(NearestCell()(coarse, Target.like(truth)), blocks)


@pytest.mark.parametrize("kernel", [TRIANGLE, KEYS, LANCZOS3])
def test_weights_one_by_one(kernel: object) -> None:
    formula = {
        TRIANGLE: lambda x: max(0.0, 1 - abs(x)),
        KEYS: lambda x: (
            1.5 * abs(x) ** 3 - 2.5 * x * x + 1
            if abs(x) <= 1
            else max(0, abs(x) < 2) * (-0.5 * abs(x) ** 3 + 2.5 * x * x - 4 * abs(x) + 2)
        ),
        LANCZOS3: lambda x: float(np.sinc(x) * np.sinc(x / 3)) if abs(x) < 3 else 0.0,
    }[kernel]
    positions = np.arange(-2, 14) / 3
    for cyclic in (True, False):
        expected = np.zeros((len(positions), 5))
        for row, place in enumerate(positions):
            for tap in range(-8, 13):
                column = tap % 5 if cyclic else ([0, 1, 2, 3, 4, 4, 3, 2, 1, 0] * 3)[tap % 10]
                expected[row, column] += formula(place - tap)
        expected /= expected.sum(axis=1, keepdims=True)
        matrix = enlargement(positions, 5, kernel, cyclic=cyclic)
        np.testing.assert_allclose(matrix.toarray(), expected, atol=1e-12)
        assert np.all(abs(matrix.data) > 1e-9)


@pytest.mark.parametrize("shift", [3, 57])
def test_rolling_the_globe_commutes(
    method: Downscaler, operator: Degradation, shift: int, rng: np.random.Generator
) -> None:
    truth = fine_field(operator, globe=True, rng=rng)
    rolled = truth.copy(data=np.roll(truth.values, shift, axis=2))
    target = Target.like(truth)
    still, moved = (method(coarse_of(each, operator), target).values for each in (truth, rolled))
    np.testing.assert_allclose(np.roll(still, shift, axis=2), moved, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ENLARGEMENTS[1:])
def test_no_seam_at_the_date_line(kind: type[Downscaler], operator: Degradation) -> None:
    latitude, longitude = grid(operator, globe=True)
    wave = 20 + 6 * np.cos(np.deg2rad(longitude)) * np.cos(np.deg2rad(latitude))[:, np.newaxis]
    truth = fine_field(operator, wave[np.newaxis], globe=True)
    error = kind()(coarse_of(truth, operator), Target.like(truth)).values - truth.values
    inner = abs(error[:, 9:-9])  # away from the poles, where the field is mirrored
    seam, elsewhere = inner[..., [0, 1, -2, -1]].max(), inner[..., 4:-4].max()
    assert seam <= 1.01 * elsewhere < 0.06


def test_a_region_does_not_wrap(method: Downscaler, operator: Degradation) -> None:
    values = np.zeros((1, *(len(axis) for axis in grid(operator))))
    values[..., -9:] = 100.0
    truth = fine_field(operator, values)
    result = method(coarse_of(truth, operator), Target.like(truth)).values
    np.testing.assert_allclose(result[..., :9], 0.0, atol=1e-4)


def test_full_size_grids_both_ways() -> None:
    latitude, longitude = np.linspace(-90, 90, 721), -180 + 0.25 * np.arange(1440)
    for operator, rows in ((NODE, 241), (IMRESIZE, 240), (MEAN, 240)):
        lattice = operator.on(latitude, longitude)
        coarse = xr.DataArray(
            np.zeros((1, rows, 480)),
            dims=("time", "latitude", "longitude"),
            coords={"latitude": lattice.latitude, "longitude": lattice.longitude},
        )
        time = np.array(["2020-01-01"], dtype="datetime64[us]")
        target = Target(time, *operator.fine_grid(coarse), "point")
        made = enlarger(Coarse(coarse, operator), target, KEYS)
        assert made.up.rows.shape == (721, rows)
        assert made.up.columns.shape == (1440, 480)
        # Made once for a year of calls.
        assert enlarger(Coarse(coarse.copy(), operator), target, KEYS) is made


# ---- missing values ------------------------------------------------------------------------


def test_nan_only_where_it_has_a_weight(
    method: Downscaler, operator: Degradation, rng: np.random.Generator
) -> None:
    truth = fine_field(operator, rng=rng, steps=1)
    coarse = coarse_of(truth, operator)
    target = Target.like(truth)
    whole = method(coarse, target).values[0]
    values = coarse.field.values.copy()
    values[0, 6, 9] = np.nan
    holed = method(with_values(coarse, values), target).values[0]
    reach = {"nearest": 1, "bilinear": 2, "lanczos": 8}.get(method.name, 5)
    row, column = place_of(truth, coarse.field[0, 6, 9])
    missing = np.zeros(holed.shape, dtype=bool)
    missing[row - reach : row + reach + 1, column - reach : column + reach + 1] = True
    # Kernels but the box vanish at the other nodes, so rows and columns through these stay.
    if method.name != "nearest":
        for step in range(3, reach + 1, 3):
            missing[[row - step, row + step]] = False
            missing[:, [column - step, column + step]] = False
    np.testing.assert_array_equal(np.isnan(holed), missing)
    if method.name != "bicubic-ibp":
        np.testing.assert_array_equal(holed[~missing], whole[~missing])
    else:
        assert np.nanmax(abs(holed)) < 2 * abs(whole).max()
        # What is left of the gap after ten corrections, far from it.
        np.testing.assert_allclose(holed[:, -6:], whole[:, -6:], atol=2e-3)


# ---- back-projection -----------------------------------------------------------------------


def test_back_projection_is_ten_corrections_on_the_fine_grid(
    operator: Degradation, rng: np.random.Generator
) -> None:
    truth = fine_field(operator, globe=True, rng=rng, steps=1)
    coarse = coarse_of(truth, operator)
    target = Target.like(truth)
    estimate = Bicubic()(coarse, target)
    for _ in range(10):
        error = coarse.field - operator.spatial(estimate).compute()
        correction = Bicubic()(with_values(coarse, error.values), target)
        estimate = estimate.copy(data=estimate.values + correction.values)
    result, bicubic = (kind()(coarse, target) for kind in (BackProjection, Bicubic))
    np.testing.assert_allclose(result, estimate, atol=2e-4)
    away, before = (
        abs(operator.spatial(each).compute() - coarse.field).mean() for each in (result, bicubic)
    )
    assert np.array_equal(result, bicubic) if operator is NODE else away < 0.3 * before


def test_back_projection_needs_the_operator_of_the_run(rng: np.random.Generator) -> None:
    truth = fine_field(IMRESIZE, rng=rng)
    target = Target.like(truth)
    # Both have the same coordinates, so only the operator itself can tell them apart.
    values = IMRESIZE.spatial(truth).compute()
    right, wrong = (BackProjection()(Coarse(values, each), target) for each in (IMRESIZE, MEAN))
    assert abs(right - wrong).max() > 0.1


# ---- static pattern ------------------------------------------------------------------------


def sparse_pattern(operator: Degradation, rng: np.random.Generator) -> np.ndarray:
    """Return what D does not see: zero in every coarse value."""
    rows, columns = (len(axis) for axis in grid(operator))
    values = rng.normal(0, 3, (rows, columns))
    lattice = operator.on(*grid(operator))
    for weights, axis in ((lattice.rows.toarray(), 0), (lattice.columns.toarray(), 1)):
        seen = np.linalg.pinv(weights) @ weights
        values = values - (seen @ values if axis == 0 else values @ seen.T)
    return values


def test_pattern_recovers_a_static_pattern(operator: Degradation, rng: np.random.Generator) -> None:
    smooth = np.arange(4.0)[:, np.newaxis, np.newaxis] * 2 + 20
    truth = fine_field(operator, smooth + sparse_pattern(operator, rng))
    days = [truth.isel(time=[0, 1]), truth.isel(time=[2])]
    method = StaticPattern()
    method.fit(Training((2018, 2019), operator, lambda: iter(days)))
    unseen = truth.isel(time=[3])
    result = method(coarse_of(unseen, operator), Target.like(unseen))
    validate_field(result)
    assert isinstance(method, Downscaler)
    np.testing.assert_allclose(result, unseen, atol=1e-4)
    assert abs(Bicubic()(coarse_of(unseen, operator), Target.like(unseen)) - unseen).max() > 1


def test_pattern_is_the_mean_of_what_bicubic_misses(rng: np.random.Generator) -> None:
    truth = fine_field(NODE, rng=rng, steps=3)
    truth.values[0, 10, 11] = truth.values[:, 20, 22] = np.nan  # no nodes: 10 and 20 are not in 3s
    method = StaticPattern()
    method.fit(Training((2019,), NODE, lambda: iter([truth])))
    missed = truth.values - Bicubic()(coarse_of(truth, NODE), Target.like(truth)).values
    result = method(coarse_of(truth, NODE), Target.like(truth))
    assert np.isfinite(result).all()
    learned = (result - Bicubic()(coarse_of(truth, NODE), Target.like(truth))).values[0]
    assert learned[10, 11] == pytest.approx(missed[1:, 10, 11].mean(), abs=1e-4)
    assert learned[20, 22] == 0
    np.testing.assert_allclose(learned[30:], missed[:, 30:].mean(axis=0), atol=1e-4)


def test_pattern_unfitted_or_elsewhere_is_refused(rng: np.random.Generator) -> None:
    truth = fine_field(IMRESIZE, rng=rng)
    coarse, target = coarse_of(truth, IMRESIZE), Target.like(truth)
    method = StaticPattern()
    with pytest.raises(NoDataError, match="give training years"):
        method(coarse, target)
    with pytest.raises(NoDataError, match="no training frame in 2018, 2019"):
        method.fit(Training((2018, 2019), IMRESIZE, lambda: iter(())))
    corner = truth.isel(latitude=slice(0, 30))
    with pytest.raises(InputError, match=r"45 x 60 .* 30 x 60"):
        method.fit(Training((2019,), IMRESIZE, lambda: iter([truth, corner])))
    method.fit(Training((2019,), IMRESIZE, lambda: iter([corner])))
    with pytest.raises(InputError, match=r"learned on 30 x 60 .* not on the 45 x 60"):
        method(coarse, target)
    method.fit(Training((2019,), MEAN, lambda: iter([truth])))
    with pytest.raises(InputError, match="learned with 'mean', not with 'imresize'"):
        method(coarse, target)
    with pytest.raises(InputError, match="no degradation operator"):
        method(Coarse(coarse.field), target)


# ---- real frames ---------------------------------------------------------------------------


def scores(
    kind: type[Downscaler], truth: xr.DataArray, operator: Degradation, *, rows: int
) -> tuple[float, float]:
    """Return RMSE and MAE, means over the frames; 720 rows leave out the south pole."""
    result = kind()(coarse_of(truth, operator), Target.like(truth)).values.astype(float)
    error = (result - truth.values)[:, 721 - rows :]
    return float(np.sqrt((error**2).mean(axis=(1, 2))).mean()), float(abs(error).mean())


@pytest.mark.parametrize(
    ("kind", "name", "rows", "known"),
    [
        (Bicubic, "imresize", 721, (2.896, 0.521)),
        (Bicubic, "imresize", 720, (2.898, 0.521)),
        (Lanczos, "imresize", 720, (2.756, 0.497)),
        (BackProjection, "imresize", 721, (2.585, 0.475)),
        (BackProjection, "imresize", 720, (2.586, 0.475)),
        (Bicubic, "mean", 720, (2.883, 0.510)),
        (BackProjection, "mean", 720, (2.642, 0.467)),
        (Bicubic, "node", 720, (3.061, 0.477)),
        (Bicubic, "node", 721, (3.061, 0.477)),
        (BackProjection, "node", 721, (3.061, 0.477)),
    ],
)
def test_real_frames(
    real_frames: xr.DataArray,
    kind: type[Downscaler],
    name: str,
    rows: int,
    known: tuple[float, ...],
) -> None:
    found = scores(kind, real_frames, DEGRADATIONS[name], rows=rows)
    assert found == pytest.approx(known, abs=0.003)


def test_nodes_taken_for_centres_score_worse(real_frames: xr.DataArray) -> None:
    one = real_frames.isel(time=[0])
    right = scores(Bicubic, one, NODE, rows=721)[0]
    nodes = NODE.spatial(one).compute()
    blocks = IMRESIZE.spatial(one).compute()
    mistaken = Coarse(blocks.copy(data=nodes.values[:, 1:]), IMRESIZE)
    error = Bicubic()(mistaken, Target.like(one)).values - one.values
    assert np.sqrt(np.mean(error.astype(float) ** 2)) > 1.5 * right
