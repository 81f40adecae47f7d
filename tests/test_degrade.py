from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from functools import partial

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcams_eval.core.field import validate_field
from deepcams_eval.downscale.degrade import DEGRADATIONS, Degradation, degradation, hours_of
from deepcams_eval.errors import InputError
from tests.fields import hourly_field

HOUR = np.timedelta64(1, "h")
LATITUDE = np.linspace(-90, 90, 721)
LONGITUDE = -180 + 0.25 * np.arange(1440)
IMRESIZE, MEAN, NODE = (DEGRADATIONS[name] for name in ("imresize", "mean", "node"))


field_of = partial(hourly_field, chunk=2)


def size(operator: Degradation, coarse: int, *, cyclic: bool = False) -> int:
    """Fine nodes that make `coarse` values."""
    return 3 * coarse if cyclic or operator.name != "node" else 3 * (coarse - 1) + 1


# An independent reading of the algorithm that MathWorks publishes for imresize: every output
# pixel, every candidate input pixel, one at a time, with one-based indices as there.
def cubic(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def matlab_contributions(length: int, output: int) -> Iterator[list[tuple[int, float]]]:
    scale, width = 1 / 3, 12
    for pixel in range(1, output + 1):
        centre = pixel / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(centre - width / 2)
        candidates = range(left, left + width + 2)
        raw = [scale * cubic(scale * (centre - index)) for index in candidates]
        aux = [*range(1, length + 1), *range(length, 0, -1)]
        yield [
            (aux[(index - 1) % (2 * length)], weight / sum(raw))
            for index, weight in zip(candidates, raw, strict=True)
        ]


def matlab_rows(values: np.ndarray) -> np.ndarray:
    result = np.zeros((len(values) // 3, *values.shape[1:]))
    for pixel, taps in enumerate(matlab_contributions(len(values), len(result))):
        for index, weight in taps:
            result[pixel] += weight * values[index - 1]
    return result


def matlab_imresize(image: np.ndarray) -> np.ndarray:
    """Shrink a north-first image to a third."""
    return matlab_rows(matlab_rows(image).T).T


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'box'; choose from imresize, mean, node"):
        degradation("box")


def test_operators_travel_between_processes(operator: Degradation) -> None:
    assert pickle.loads(pickle.dumps(operator)) == operator


class TestImresize:
    def test_the_weights_of_one_coarse_value(self) -> None:
        # From the polynomials: cubic(1/3) = 1.5/27 − 2.5/9 + 1 = 21/27, cubic(2/3) = 9/27,
        # cubic(4/3) = −0.5·64/27 + 2.5·16/9 − 16/3 + 2 = −2/27, cubic(5/3) = −1/27; 0 at 1 and 2.
        half = np.array([21, 9, 0, -2, -1]) / 81
        expected = [*half[::-1], 27 / 81, *half]
        np.testing.assert_allclose(IMRESIZE.kernel, expected, atol=1e-15)
        np.testing.assert_allclose(
            [cubic(offset / 3) / 3 for offset in range(-6, 7)], [0, *expected, 0], atol=1e-15
        )

    def test_an_impulse_answers_with_the_weights(self) -> None:
        image = np.zeros((1, 36, 45))
        image[0, 16, 22] = 1.0
        coarse = IMRESIZE.spatial(field_of(image)).values[0]
        taps = dict(list(matlab_contributions(45, 15))[7])
        assert taps[23] == pytest.approx(1 / 3)
        # South first: coarse row 5 is centred on fine row 16, and coarse column 7 on column 22.
        row = [cubic((3 * i + 1 - 16) / 3) / 3 for i in range(12)]
        column = [cubic((3 * j + 1 - 22) / 3) / 3 for j in range(15)]
        np.testing.assert_allclose(coarse, np.outer(row, column), atol=1e-7)
        assert coarse[5, 7] == pytest.approx(1 / 9)

    @settings(max_examples=15, deadline=None)
    @given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 1000))
    def test_equals_the_published_algorithm(self, rows: int, columns: int, seed: int) -> None:
        image = np.random.default_rng(seed).gamma(2.0, 8.0, (3 * rows, 3 * columns))
        coarse = IMRESIZE.spatial(field_of(image[np.newaxis])).values[0]
        expected = matlab_imresize(image[::-1].astype(np.float32).astype(float))[::-1]
        np.testing.assert_allclose(coarse, expected, rtol=1e-6, atol=1e-6)


def test_mean_is_the_mean_of_each_block(rng: np.random.Generator) -> None:
    image = rng.gamma(2.0, 8.0, (2, 12, 15))
    blocks = image.reshape(2, 4, 3, 5, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(MEAN.spatial(field_of(image)).values, blocks, rtol=1e-6)


def test_node_takes_values_unchanged(rng: np.random.Generator) -> None:
    field = field_of(rng.gamma(2.0, 8.0, (2, 13, 16)))
    xr.testing.assert_identical(NODE.spatial(field), field[:, ::3, ::3])


class TestRegistration:
    @pytest.mark.parametrize("rows", [720, 721])
    def test_the_globe(self, operator: Degradation, rows: int) -> None:
        if operator.name == "node" and rows == 720:
            said = "'node' cannot divide 720 rows.*crop to 718 rows"
            with pytest.raises(InputError, match=said):
                operator.on(LATITUDE[1:], LONGITUDE)
            return
        grid = operator.on(LATITUDE[721 - rows :], LONGITUDE)
        assert grid.cyclic
        if operator.name == "node":
            np.testing.assert_array_equal(grid.latitude, np.linspace(-90, 90, 241))
            np.testing.assert_array_equal(grid.longitude, -180 + 0.75 * np.arange(480))
        else:
            np.testing.assert_array_equal(grid.latitude, 89.75 - 0.75 * np.arange(240)[::-1])
            np.testing.assert_array_equal(grid.longitude, -179.75 + 0.75 * np.arange(480))

    def test_a_ramp_lies_where_the_coordinates_say(self, operator: Degradation) -> None:
        latitude = 40 + 0.25 * np.arange(size(operator, 12))
        longitude = 5 + 0.25 * np.arange(size(operator, 14))
        ramp = 3.0 * latitude[:, None] - 7.0 * longitude
        grid = {"latitude": latitude, "longitude": longitude}
        coarse = operator.spatial(field_of(ramp[np.newaxis], **grid))
        assert coarse.shape == (1, 12, 14)
        expected = 3.0 * coarse.latitude - 7.0 * coarse.longitude
        inside = (slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(coarse.values[0][inside], expected[inside], rtol=0, atol=2e-5)
        # The wrong node of three would be off by a fine step: 0.75 and 1.75 µg m⁻³.
        if operator.name == "node":
            np.testing.assert_array_equal(coarse.values[0], expected.astype(np.float32))

    def test_positions_are_exact_thirds(self, operator: Degradation) -> None:
        grid = operator.on(LATITUDE, LONGITUDE)
        for positions, fine, coarse in (
            (grid.row_positions, LATITUDE, grid.latitude),
            (grid.column_positions, LONGITUDE, grid.longitude),
        ):
            np.testing.assert_allclose(3 * positions, np.round(3 * positions), atol=1e-9)
            np.testing.assert_allclose(coarse[0] + 0.75 * positions, fine, atol=1e-9)

    def test_every_coarse_value_is_a_mean(self, operator: Degradation) -> None:
        grid = operator.on(LATITUDE, LONGITUDE)
        for weights in (grid.rows, grid.columns):
            np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
        constant = np.full((1, 721, 1440), 17.25, np.float32)
        np.testing.assert_allclose(grid.each(constant), 17.25, rtol=1e-6)

    @pytest.mark.parametrize("made_by, used", [("node", "imresize"), ("mean", "node")])
    def test_another_operator_refuses_the_field(self, made_by: str, used: str) -> None:
        field = field_of(np.ones((1, 721, 1440)), latitude=LATITUDE, longitude=LONGITUDE)
        coarse = degradation(made_by).spatial(field)
        with pytest.raises(InputError, match=f"latitude of the coarse field .* but '{used}' gives"):
            degradation(used).registration_of(coarse, LATITUDE, LONGITUDE)
        with pytest.raises(InputError, match="enlarge with the operator that made the field"):
            degradation(used).fine_grid(coarse)

    def test_a_shifted_coarse_field_is_refused(self, operator: Degradation) -> None:
        grid = operator.on(LATITUDE, LONGITUDE)
        places = {"latitude": grid.latitude, "longitude": (grid.longitude + 0.25 + 180) % 360 - 180}
        shifted = xr.DataArray(
            np.zeros((len(grid.latitude), 480)), dims=("latitude", "longitude"), coords=places
        )
        with pytest.raises(InputError, match="longitude of the coarse field"):
            operator.registration_of(shifted, LATITUDE, LONGITUDE)


class TestFineGrid:
    def test_the_globe_is_whole(self, operator: Degradation) -> None:
        field = field_of(np.ones((1, 721, 1440)), latitude=LATITUDE, longitude=LONGITUDE)
        latitude, longitude = operator.fine_grid(operator.spatial(field))
        np.testing.assert_array_equal(latitude, LATITUDE)
        np.testing.assert_array_equal(longitude, LONGITUDE)

    def test_eac4_nodes_belong_to_node_alone(self) -> None:
        coords = {"latitude": np.linspace(-90, 90, 241), "longitude": -180 + 0.75 * np.arange(480)}
        nodes = xr.DataArray(np.zeros((241, 480)), dims=list(coords), coords=coords)
        for found, expected in zip(NODE.fine_grid(nodes), (LATITUDE, LONGITUDE), strict=True):
            np.testing.assert_array_equal(found, expected)
        for other in (IMRESIZE, MEAN):
            with pytest.raises(InputError, match=r"-90\.25 to 90\.25 degrees.*need 'node'"):
                other.fine_grid(nodes)

    @settings(max_examples=30, deadline=None)
    @given(
        name=st.sampled_from(list(DEGRADATIONS)),
        rows=st.integers(2, 9),
        columns=st.integers(2, 9),
        spacing=st.sampled_from([0.1, 0.25, 1 / 3, 1.0]),
    )
    def test_undoes_a_region(self, name: str, rows: int, columns: int, spacing: float) -> None:
        operator = degradation(name)
        latitude = -33.1 + spacing * np.arange(size(operator, rows))
        longitude = -179.9 + spacing * np.arange(size(operator, columns))
        grid = {"latitude": latitude, "longitude": longitude}
        coarse = operator.spatial(field_of(np.ones((1, len(latitude), len(longitude))), **grid))
        assert coarse.shape == (1, rows, columns)
        for found, fine in zip(operator.fine_grid(coarse), (latitude, longitude), strict=True):
            np.testing.assert_allclose(found, fine, atol=1e-8)


class TestEdges:
    def test_longitude_is_periodic_on_the_globe(
        self, operator: Degradation, rng: np.random.Generator
    ) -> None:
        rows = size(operator, 5)
        longitude = -180 + 6.0 * np.arange(60)
        image = rng.gamma(2.0, 8.0, (2, rows, 60))
        plain = operator.spatial(field_of(image, longitude=longitude))
        rolled = operator.spatial(field_of(np.roll(image, 3, axis=2), longitude=longitude))
        np.testing.assert_array_equal(rolled.values, np.roll(plain.values, 1, axis=2))

    def test_a_region_does_not_wrap(self, rng: np.random.Generator) -> None:
        image = rng.gamma(2.0, 8.0, (1, 15, 60))
        globe = IMRESIZE.spatial(field_of(image, longitude=-180 + 6.0 * np.arange(60)))
        region = IMRESIZE.spatial(field_of(image, longitude=-180 + 5.0 * np.arange(60)))
        np.testing.assert_array_equal(globe[..., 2:-2].values, region[..., 2:-2].values)
        assert (globe[..., [0, -1]].values != region[..., [0, -1]].values).all()

    def test_the_row_on_the_south_pole_is_not_used(self, rng: np.random.Generator) -> None:
        image = rng.gamma(2.0, 8.0, (1, 721, 12))
        whole = field_of(image, latitude=LATITUDE)
        for operator in (IMRESIZE, MEAN):
            xr.testing.assert_identical(operator.spatial(whole), operator.spatial(whole[:, 1:]))

    @pytest.mark.parametrize(
        "name, rows, columns, message",
        [
            ("imresize", 13, 12, "13 rows: it needs a multiple of 3; crop to 12 rows"),
            ("mean", 12, 14, "14 columns: it needs a multiple of 3; crop to 12 columns"),
            ("node", 12, 13, "12 rows: it needs one more than a multiple of 3; crop to 10 rows"),
            ("node", 13, 12, "12 columns: it needs one more than .*; crop to 10 columns"),
            ("mean", 2, 12, "2 rows: it needs a multiple of 3; give a larger region"),
            ("node", 3, 13, "3 rows: .*; give a larger region"),
        ],
    )
    def test_a_grid_that_does_not_divide(
        self, name: str, rows: int, columns: int, message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            degradation(name).spatial(field_of(np.ones((1, rows, columns))))

    def test_an_uneven_grid(self, operator: Degradation) -> None:
        count = size(operator, 4)
        longitude = np.where(np.arange(count) < 4, -180, 170) + 0.25 * np.arange(count)
        with pytest.raises(InputError, match="longitude is not evenly spaced"):
            operator.spatial(field_of(np.ones((1, count, count)), longitude=longitude))
        with pytest.raises(InputError, match="latitude has 1 value"):
            operator.on(np.array([3.0]), longitude)


class TestMissing:
    @pytest.mark.parametrize("row, column", [(12, 12), (13, 13), (14, 10), (0, 0)])
    def test_nan_where_a_nonzero_weight_meets_it(
        self, operator: Degradation, row: int, column: int
    ) -> None:
        values = np.ones((2, size(operator, 9), size(operator, 9)))
        plain = operator.spatial(field_of(values, chunk=1)).values
        values[0, row, column] = 1e6
        moved = operator.spatial(field_of(values, chunk=1)).values != plain
        values[0, row, column] = np.nan
        missing = np.isnan(operator.spatial(field_of(values, chunk=1)).values)
        np.testing.assert_array_equal(missing, moved)
        assert missing.any() == (operator.name != "node" or row % 3 == column % 3 == 0)

    def test_a_zero_weight_keeps_nan_away(self) -> None:
        image = np.ones((1, 27, 27))
        image[0, 13, 13] = np.nan
        coarse = IMRESIZE.spatial(field_of(image)).values[0]
        # The centre of the next coarse value is three fine steps away, where the kernel is zero.
        assert np.isnan(coarse).sum() == 1
        image[0, 13, 12] = np.nan
        assert np.isnan(IMRESIZE.spatial(field_of(image)).values[0]).sum() == 4


class TestLazy:
    def test_reads_only_the_chunks_that_are_asked_for(self, operator: Degradation) -> None:
        rows, columns = size(operator, 4), size(operator, 5)
        field = field_of(np.ones((6, rows, columns)), chunk=2)

        def refuse_all_but_the_second(block: np.ndarray, block_info: dict) -> np.ndarray:
            if block_info[0]["chunk-location"][0] != 1:
                raise AssertionError("a chunk was read that nobody asked for")
            return block

        guarded = field.copy(
            data=field.data.map_blocks(
                refuse_all_but_the_second, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
            )
        )
        coarse = operator.spatial(guarded)
        assert dask.is_dask_collection(coarse.data)
        assert coarse.chunks == ((2, 2, 2), (4,), (5,))
        validate_field(coarse)
        np.testing.assert_allclose(coarse[2:4].values, 1.0, rtol=1e-6)
        with pytest.raises(AssertionError, match="nobody asked for"):
            coarse[:2].compute()

    def test_carries_the_intervals(self, operator: Degradation) -> None:
        rows, columns = size(operator, 4), size(operator, 5)
        for stamp in ("mean", "point"):
            field = field_of(np.ones((5, rows, columns)), stamp=stamp)
            coarse = operator.spatial(field)
            assert coarse.attrs == field.attrs
            for name in {"time", "time_start", "time_end"} & set(field.coords):
                xr.testing.assert_identical(coarse[name].variable, field[name].variable)


def test_means_over_other_intervals_have_no_hours() -> None:
    start = np.datetime64("2020-02-28T00:00") + 3 * HOUR * np.arange(2)
    three_hourly = field_of(np.ones((2, 1, 2)), hours=3 * np.arange(2)).assign_coords(
        time_end=("time", start + 3 * HOUR)
    )
    with pytest.raises(InputError, match=r"2020-02-28T00:30 covers 180 min, not 60"):
        hours_of(three_hourly)
