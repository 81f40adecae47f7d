"""Warping, splatting, reversal and blending against loops over nodes, in float64."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepcams_models import grid, warping  # noqa: E402  # only where torch is

ROWS, COLUMNS = 6, 7
TOLERANCE = 1e-10


def random(*shape, seed=0, scale=1.0):
    values = np.random.default_rng(seed).normal(scale=scale, size=shape)
    return torch.from_numpy(values)


def keys(distance, a):
    """Cubic convolution written from its definition."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def hat(distance):
    return max(0.0, 1 - abs(distance))


def node(row, column, cyclic):
    """Return the node that stands for one beyond the border."""
    column = column % COLUMNS if cyclic else min(max(column, 0), COLUMNS - 1)
    return min(max(row, 0), ROWS - 1), column


def warp_by_loops(maps, flow, kernel, cyclic):
    result = np.zeros(maps.shape)
    for b, c, y, x in np.ndindex(*maps.shape):
        there_x, there_y = x + flow[b, 0, y, x], y + flow[b, 1, y, x]
        for row in range(math.floor(there_y) - 2, math.floor(there_y) + 4):
            for column in range(math.floor(there_x) - 2, math.floor(there_x) + 4):
                weight = kernel(there_y - row) * kernel(there_x - column)
                result[b, c, y, x] += weight * maps[(b, c, *node(row, column, cyclic))]
    return result


def splat_by_loops(values, flow, weight, cyclic):
    total, norm = np.zeros(values.shape), np.zeros(weight.shape)
    batch, channels = values.shape[:2]
    for b, y, x in np.ndindex(batch, ROWS, COLUMNS):
        there_x, there_y = x + flow[b, 0, y, x], y + flow[b, 1, y, x]
        for row in (math.floor(there_y), math.floor(there_y) + 1):
            for column in (math.floor(there_x), math.floor(there_x) + 1):
                inside = 0 <= row < ROWS and (cyclic or 0 <= column < COLUMNS)
                if not inside:
                    continue
                distance = math.hypot(there_y - row, there_x - column)
                share = weight[b, 0, y, x] * math.exp(-(distance**2))
                norm[b, 0, row, column % COLUMNS] += share
                for c in range(channels):
                    total[b, c, row, column % COLUMNS] += share * values[b, c, y, x]
    return total, norm


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize(("kernel", "weight"), [("bilinear", hat), ("cubic", None)])
def test_backward_warp_is_the_sum_over_nodes(kernel, weight, cyclic):
    maps, flow = random(2, 3, ROWS, COLUMNS), random(2, 2, ROWS, COLUMNS, seed=1, scale=3)
    weight = weight or (lambda distance: keys(distance, -0.75))
    expected = warp_by_loops(maps.numpy(), flow.numpy(), weight, cyclic)
    result = warping.backward_warp(maps, flow, kernel=kernel, cyclic=cyclic)
    np.testing.assert_allclose(result.numpy(), expected, atol=TOLERANCE)


def test_cubic_warp_samples_as_opencv():
    maps, flow = random(1, 1, 20, 30).float(), random(1, 2, 20, 30, seed=1, scale=2).float()
    x, y = np.meshgrid(np.arange(30, dtype=np.float32), np.arange(20, dtype=np.float32))
    expected = cv2.remap(
        maps[0, 0].numpy(),
        x + flow[0, 0].numpy(),
        y + flow[0, 1].numpy(),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    result = warping.backward_warp(maps, flow, kernel="cubic")
    # Some builds of OpenCV round places to 1/32: then the kernels still agree to a few percent.
    np.testing.assert_allclose(result[0, 0].numpy(), expected, atol=0.05)
    assert np.median(np.abs(result[0, 0].numpy() - expected)) < 5e-3


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
def test_no_flow_changes_nothing_and_whole_steps_shift(kernel):
    maps = random(1, 2, ROWS, COLUMNS)
    still = torch.zeros(1, 2, ROWS, COLUMNS, dtype=torch.float64)
    torch.testing.assert_close(warping.backward_warp(maps, still, kernel=kernel), maps)
    east = still + torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    shifted = warping.backward_warp(maps, east, kernel=kernel, cyclic=True)
    torch.testing.assert_close(shifted, maps.roll(-2, dims=-1))


def test_single_precision_places_are_known_to_1e_4_of_a_step_on_a_global_grid():
    maps = torch.arange(1440.0).expand(1, 1, 3, 1440)
    flow = torch.full((1, 2, 3, 1440), 0.25) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    moved = warping.backward_warp(maps, flow)[..., 2:-3]
    torch.testing.assert_close(moved, maps[..., 2:-3] + 0.25, rtol=0, atol=1e-3)


@pytest.mark.parametrize("cyclic", [False, True])
def test_forward_splat_is_the_sum_over_places(cyclic):
    values, flow = random(2, 3, ROWS, COLUMNS), random(2, 2, ROWS, COLUMNS, seed=1, scale=3)
    weight = random(2, 1, ROWS, COLUMNS, seed=2).exp()
    expected = splat_by_loops(values.numpy(), flow.numpy(), weight.numpy(), cyclic)
    result = warping.forward_splat(values, flow, weight, cyclic=cyclic)
    for ours, theirs in zip(result, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=TOLERANCE)
    assert (expected[1] == 0).any() or cyclic  # some nodes are never reached


@pytest.mark.parametrize("cyclic", [False, True])
def test_flow_reversal_is_equation_1_and_2_node_by_node(cyclic):
    forward, backward = (random(2, 2, ROWS, COLUMNS, seed=seed, scale=2) for seed in (1, 2))
    reliability = tuple(torch.sigmoid(random(2, 1, ROWS, COLUMNS, seed=seed)) for seed in (3, 4))
    times = np.array([0.2, 0.7])
    t = torch.from_numpy(times).view(2, 1, 1, 1)
    result = warping.reverse_flows(forward, backward, reliability, t, cyclic=cyclic)
    moved = [(t * forward).numpy(), ((1 - t) * backward).numpy()]
    early, early_norm = splat_by_loops(
        forward.numpy(), moved[0], reliability[0].numpy() + 1e-5, cyclic
    )
    late, late_norm = splat_by_loops(
        backward.numpy(), moved[1], reliability[1].numpy() + 1e-5, cyclic
    )
    for b, c, y, x in np.ndindex(2, 2, ROWS, COLUMNS):
        s = times[b]
        norm = (1 - s) * early_norm[b, 0, y, x] + s * late_norm[b, 0, y, x]
        ahead, behind = early[b, c, y, x], late[b, c, y, x]
        to_first = (-(1 - s) * s * ahead + s * s * behind) / norm if norm else 0.0
        to_last = ((1 - s) ** 2 * ahead - s * (1 - s) * behind) / norm if norm else 0.0
        assert result[0][b, c, y, x].item() == pytest.approx(to_first, abs=1e-8)
        assert result[1][b, c, y, x].item() == pytest.approx(to_last, abs=1e-8)


def test_uniform_motion_is_reversed_exactly():
    velocity = torch.tensor([1.7, -0.6], dtype=torch.float64).view(1, 2, 1, 1)
    forward = velocity.expand(1, 2, 16, 16)
    ones = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    t = torch.tensor(0.3, dtype=torch.float64)
    for flows in (
        warping.reverse_flows(forward, -forward, (ones, ones), t, cyclic=True),
        warping.intermediate_flows(forward, -forward, t),
    ):
        inner = (..., slice(3, -3), slice(None))
        torch.testing.assert_close(flows[0][inner], (-t * forward)[inner])
        torch.testing.assert_close(flows[1][inner], ((1 - t) * forward)[inner])


def test_blend_is_equation_3():
    first, last = random(1, 1, ROWS, COLUMNS), random(1, 1, ROWS, COLUMNS, seed=1)
    mask = torch.sigmoid(random(1, 1, ROWS, COLUMNS, seed=2))
    result = warping.blend(first, last, mask, torch.tensor(0.3))
    for y, x in np.ndindex(ROWS, COLUMNS):
        a, b, m = (float(one[0, 0, y, x]) for one in (first, last, mask))
        expected = (0.7 * m * a + 0.3 * (1 - m) * b) / (0.7 * m + 0.3 * (1 - m))
        assert result[0, 0, y, x].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("cyclic", [False, True])
def test_gradients(cyclic):
    maps = random(1, 2, 4, 5).requires_grad_()
    flow = random(1, 2, 4, 5, seed=1, scale=1.5).requires_grad_()
    other = random(1, 2, 4, 5, seed=3, scale=1.5).requires_grad_()
    weight = random(1, 1, 4, 5, seed=2).exp().requires_grad_()
    check = torch.autograd.gradcheck
    for kernel in ("bilinear", "cubic"):
        assert check(
            lambda m, f, k=kernel: warping.backward_warp(m, f, kernel=k, cyclic=cyclic),
            (maps, flow),
        )
    assert check(
        lambda m, f, w: warping.forward_splat(m, f, w, cyclic=cyclic), (maps, flow, weight)
    )
    assert check(
        lambda f, b, w: warping.reverse_flows(f, b, (w, w), torch.tensor(0.4), cyclic=cyclic),
        (flow, other, weight),
    )
    assert check(
        lambda m, w: warping.blend(m, -m, torch.sigmoid(w), torch.tensor(0.4)), (maps, weight)
    )


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: warping.backward_warp(x, x[:, :2], kernel="cubic", cyclic=True),
        lambda x: warping.forward_splat(x, x[:, :2], x[:, :1].exp(), cyclic=True)[0],
        lambda x: grid.enlarge(x, 3, "bicubic", cyclic=True)[..., ::3],
        lambda x: grid.enlarge(x, 2, "bilinear", cyclic=True)[..., 1::2],
    ],
)
def test_a_roll_of_the_columns_rolls_the_result(operation):
    x = random(1, 2, ROWS, 12, scale=2)
    torch.testing.assert_close(operation(x.roll(5, -1)), operation(x).roll(5, -1))


@pytest.mark.parametrize("factor", [2, 4])
def test_reduction_rolls_with_its_stride_and_is_a_cubic_between_nodes(factor):
    x = random(1, 1, 8, 16)
    result = grid.reduce_bicubic(x, factor, cyclic=True)
    rolled = grid.reduce_bicubic(x.roll(factor, -1), factor, cyclic=True)
    torch.testing.assert_close(rolled, result.roll(1, -1))
    row, column, expected = factor + factor // 2, factor // 2, 0.0
    for j in range(-2, 2):
        for i in range(-2, 2):
            weight = keys(j + 0.5, -0.75) * keys(i + 0.5, -0.75)
            expected += weight * float(x[0, 0, row + j, (column + i) % 16])
    assert result[0, 0, 1, 0].item() == pytest.approx(expected)


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("size", [(7, 40), (8, 64), (1, 33)])
def test_padding_is_undone_and_continues_the_map(size, cyclic):
    x = random(1, 1, *size)
    padding = grid.Padding.to_multiple(x, 16, align=4, cyclic=cyclic)
    padded = padding.pad(x)
    assert padded.shape[-2] % 16 == padded.shape[-1] % 16 == 0
    assert padding.left % 4 == 0
    assert torch.equal(padding.crop(padded), x)
    if cyclic:
        expected = x.roll(padding.left, -1)[..., : padding.left]
        assert torch.equal(padded[..., : size[0], : padding.left], expected)
    assert torch.equal(padded[..., -1, :], padded[..., size[0] - 1, :])
