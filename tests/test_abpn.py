"""ABPN: counts, projections and attention against loops, registration, rolled maps, tiles."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepcams_eval.errors import InputError  # noqa: E402
from deepcams_models.abpn import (  # noqa: E402
    ABPN,
    FACTOR,
    AbpnSettings,
    DownProjection,
    UpProjection,
    attend,
    relative_maps,
)
from deepcams_models.grid import enlarge  # noqa: E402
from tests.networks import random, trained  # noqa: E402

TINY = AbpnSettings(4, 4, "full", 8, 2, "bicubic", key_bias=False)


def build(settings):
    return trained(ABPN, settings)


def inputs(rows, columns, settings, batch=1):
    start = None
    if settings.start == "given":
        start = random(batch, 1, FACTOR * rows, FACTOR * columns, seed=1)
    return random(batch, 1, rows, columns), start


def numbers_of(layer):
    weight, bias = (one.detach().numpy() for one in layer.layer.parameters())
    return weight, bias, layer.slope.weight.item()


def reduce_by_loops(x, layer, cyclic):
    """Apply a strided convolution and its slope, one product at a time."""
    weight, bias, slope = numbers_of(layer)
    outputs, channels, height, width = weight.shape
    stride, cut = layer.layer.stride[0], layer.layer.padding[0]
    rows, columns = (size // stride for size in x.shape[1:])
    result = np.zeros((outputs, rows, columns))
    for o, y, z in np.ndindex(outputs, rows, columns):
        total = bias[o]
        for c, j, i in np.ndindex(channels, height, width):
            row, column = stride * y + j - cut, stride * z + i - cut
            column = column % x.shape[2] if cyclic else column
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                total += weight[o, c, j, i] * x[c, row, column]
        result[o, y, z] = total if total > 0 else slope * total
    return result


def enlarge_by_loops(x, layer, cyclic):
    """Spread each value over the nodes that its kernel covers."""
    weight, bias, slope = numbers_of(layer)
    channels, outputs, height, width = weight.shape
    rows, columns = 3 * x.shape[1], 3 * x.shape[2]
    result = np.zeros((outputs, rows, columns)) + bias[:, None, None]
    for c, y, z, o, j, i in np.ndindex(channels, *x.shape[1:], outputs, height, width):
        row, column = 3 * y + j - 1, 3 * z + i - 1
        column = column % columns if cyclic else column
        if 0 <= row < rows and 0 <= column < columns:
            result[o, row, column] += weight[c, o, j, i] * x[c, y, z]
    return np.where(result > 0, result, slope * result)


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("kind", [UpProjection, DownProjection])
def test_projections_are_the_published_sums(kind, cyclic):
    torch.manual_seed(0)
    block = kind(2).double()
    for layer in (block.weigh_input, block.weigh_result):
        torch.nn.init.constant_(layer.slope.weight, 0.3)
    if kind is UpProjection:
        size, there, back = (3, 4), enlarge_by_loops, reduce_by_loops
        first, second, rest = block.enlarge, block.reduce, block.enlarge_rest
    else:
        size, there, back = (9, 12), reduce_by_loops, enlarge_by_loops
        first, second, rest = block.reduce, block.enlarge, block.reduce_rest
    x = random(2, *size).double().numpy()
    made = there(x, first, cyclic)
    missing = reduce_by_loops(x, block.weigh_input, cyclic) - back(made, second, cyclic)
    expected = reduce_by_loops(made, block.weigh_result, cyclic) + there(missing, rest, cyclic)
    with torch.no_grad():
        result = block(torch.from_numpy(x)[None], cyclic)[0].numpy()
    np.testing.assert_allclose(result, expected, atol=1e-10)


def test_attention_is_a_weighted_mean_over_all_nodes():
    query, key, value = (random(2, 3, 4, 5, seed=seed).double() for seed in range(3))
    result = attend(query, key, value)
    for b, y, x in np.ndindex(2, 4, 5):
        logits = {
            (j, i): sum(float(query[b, c, y, x] * key[b, c, j, i]) for c in range(3))
            for j, i in np.ndindex(4, 5)
        }
        share = sum(math.exp(one) for one in logits.values())
        for c in range(3):
            expected = sum(
                math.exp(one) * float(value[b, c, j, i]) for (j, i), one in logits.items()
            )
            assert result[b, c, y, x].item() == pytest.approx(expected / share, abs=1e-10)


def test_attention_has_gradients_and_keeps_its_logits_in_single_precision():
    leaves = [random(1, 2, 2, 3, seed=seed).double().requires_grad_() for seed in range(3)]
    assert torch.autograd.gradcheck(attend, leaves)
    half = [one.detach().to(torch.bfloat16) for one in leaves]
    exact = attend(*(one.float() for one in half))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = attend(*half)
    torch.testing.assert_close(mixed, exact.to(torch.bfloat16), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["paper", "released"])
def test_published_parameters_without_the_dead_ones(name):
    network = ABPN(AbpnSettings.preset(name))
    assert sum(one.numel() for one in network.parameters()) == 1_801_089 - 84_294 == 1_716_795


@pytest.mark.parametrize("name", AbpnSettings.presets)
def test_no_parameter_is_dead_but_the_bias_that_cancels(name):
    settings = replace(AbpnSettings.preset(name), features=4)
    network = build(settings)
    result = network(*inputs(6, 7, settings))
    (result**2).mean().backward()
    dead = {
        key
        for key, one in network.named_parameters()
        if one.grad is None or one.grad.abs().max() < 1e-12
    }
    assert [key for key in dead if not key.endswith("key.bias")] == []
    assert not dead or settings.key_bias


@pytest.mark.parametrize("name", ["recommended", "small"])
def test_untrained_returns_the_given_start(name):
    settings = AbpnSettings.preset(name)
    coarse, start = inputs(9, 11, settings)
    network = ABPN(settings)
    network.head.bias.data.zero_()
    assert torch.equal(network(coarse, start), start)


def test_a_coarse_node_is_centred_on_the_middle_fine_one():
    coarse = random(1, 1, 6, 8)
    for cyclic in (False, True):
        fine = enlarge(coarse, FACTOR, "bicubic", cyclic=cyclic)
        torch.testing.assert_close(fine[..., 1::3, 1::3], coarse)
    silent = build(TINY)
    for layer in (silent.head, silent.correct.narrow):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.testing.assert_close(silent(coarse), enlarge(coarse, FACTOR, "bicubic", cyclic=False))


@pytest.mark.parametrize(
    "changes", [{"start": "bicubic"}, {"start": "given"}, {"start": "given", "relative": True}]
)
def test_a_roll_by_a_coarse_node_rolls_the_result_by_three(changes):
    settings = replace(TINY, **changes)
    network = build(settings).double()
    coarse, given = inputs(5, 9, settings)
    coarse = coarse.double()
    given = None if given is None else given.double()
    moved_start = None if given is None else given.roll(6, -1)
    with torch.no_grad():
        made = network(coarse, given, cyclic=True)
        moved = network(coarse.roll(2, -1), moved_start, cyclic=True)
        bounded = network(coarse, given)
    torch.testing.assert_close(moved, made.roll(6, -1), rtol=0, atol=1e-10)
    assert (made - bounded).abs().max() > 1e-4


def test_window_and_full_agree_within_a_tile_and_differ_beyond():
    small, large = random(1, 1, 8, 7), random(1, 1, 8, 20)
    full, window = build(TINY), build(replace(TINY, attention="window"))
    with torch.no_grad():
        torch.testing.assert_close(full(small), window(small))
        assert (full(large) - window(large)).abs().max() > 1e-3


@pytest.mark.parametrize("cyclic", [False, True])
def test_tiles_leave_no_seam(cyclic):
    columns = 72
    place = torch.arange(columns, dtype=torch.float32)
    # A constant and a ramp; where longitude closes on itself, a wave.
    slope = torch.cos(2 * math.pi * (place - 7) / columns) if cyclic else 2 * place / columns
    coarse = (2 + slope).expand(1, 1, 10, columns).contiguous()

    def jumps(tile, overlap):
        """Return the changes from block to block of 3 × 3 fine nodes in the middle row."""
        tiles = {"attention": "window", "tile": tile, "overlap": overlap}
        with torch.no_grad():
            made = build(replace(TINY, stages=2, **tiles))(coarse, cyclic=cyclic)
        blocks = torch.nn.functional.avg_pool2d(made, FACTOR)[0, 0, 5]
        change = (blocks - blocks.roll(1)).abs()
        return change if cyclic else change[8:-8]  # the edges of the map are not seams

    whole = jumps(columns, 0).max()
    assert jumps(24, 12).max() < 1.5 * whole
    assert jumps(24, 0).max() > 2 * whole  # without an overlap there are seams


def test_tiles_of_a_network_that_looks_nowhere_else_change_nothing():
    settings = replace(TINY, attention="window", tile=8, overlap=3, start="given")
    network = build(settings)
    coarse, start = inputs(9, 30, settings)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.fill_(0.25)
        flat = network(coarse, start, cyclic=True)
    torch.testing.assert_close(flat, start + 0.25)


@pytest.mark.parametrize("cyclic", [False, True])
def test_what_a_relative_network_sees_by_loops(cyclic):
    coarse, start = (one.double() + 1.5 for one in inputs(7, 10, replace(TINY, start="given")))
    made_coarse, made_fine, unit = relative_maps(coarse, start, cyclic)
    rows, columns = coarse.shape[-2:]

    def box(maps, size):
        values = maps.numpy()
        height, width = values.shape
        result = np.zeros_like(values)
        for y, x in np.ndindex(height, width):
            for j, i in np.ndindex(size, size):
                row = min(max(y + j - size // 2, 0), height - 1)
                column = x + i - size // 2
                column = column % width if cyclic else min(max(column, 0), width - 1)
                result[y, x] += values[row, column] / size**2
        return torch.from_numpy(result)

    def fine(maps):
        """Interpolate between the middles of blocks; beyond them values repeat."""
        result = torch.zeros(3 * rows, 3 * columns, dtype=torch.float64)
        for y, x in np.ndindex(3 * rows, 3 * columns):
            v, u = (y - 1) / 3, (x - 1) / 3
            for row, down in ((math.floor(v), 1 - v % 1), (math.floor(v) + 1, v % 1)):
                for column, across in ((math.floor(u), 1 - u % 1), (math.floor(u) + 1, u % 1)):
                    at = column % columns if cyclic else min(max(column, 0), columns - 1)
                    result[y, x] += down * across * maps[min(max(row, 0), rows - 1), at]
        return result

    c, s = coarse[0, 0], start[0, 0]
    mean, level = box(c, 5), box(c.abs(), 9) + 1e-5
    contrast = box((c - mean).abs(), 5) + 0.003 * level
    expected = {
        "deviation": (made_coarse[0], torch.asinh((c - mean) / contrast)),
        "share": (made_coarse[1], torch.log((c / level).clamp_min(0.02))),
        "contrast": (made_coarse[2], torch.log(contrast / level) + 2),
        "fine deviation": (made_fine[0], torch.asinh((s - fine(mean)) / fine(contrast))),
        "detail": (made_fine[1], torch.asinh(6 * (s - box(s, 3)) / fine(contrast))),
        "unit": (unit, fine(contrast)),
    }
    for name, (made, by_loops) in expected.items():
        torch.testing.assert_close(made[0, 0], by_loops, rtol=0, atol=1e-10, msg=name)


def test_air_of_any_level_is_enlarged_alike_where_maps_are_seen_relative():
    settings = replace(TINY, start="given")
    coarse, start = (one.double().abs() + 0.5 for one in inputs(6, 9, settings))

    def difference(network):
        with torch.no_grad():
            made, times_ten = network(coarse, start), network(10 * coarse, 10 * start)
        return ((times_ten - 10 * start) - 10 * (made - start)).abs().max()

    assert difference(build(replace(settings, relative=True)).double()) < 1e-3
    assert difference(build(settings).double()) > 1.0


def test_static_maps_are_seen():
    settings = replace(TINY, start="given", extra_channels=2)
    network = build(settings)
    coarse, start = inputs(5, 6, settings)
    extra = random(1, 2, 15, 18, seed=4)
    with torch.no_grad():
        made = network(coarse, start, extra)
        assert (made - network(coarse, start, -extra)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("problem", "hint"),
    [
        (lambda: AbpnSettings.preset("large"), "choose from paper"),
        (lambda: replace(TINY, stages=1), "at least"),
        (lambda: replace(TINY, overlap=5), "half a tile"),
        (lambda: replace(TINY, relative=True), "set start"),
        (lambda: ABPN(TINY)(random(1, 2, 9, 9)), "batch, 1"),
        (lambda: ABPN(TINY)(random(1, 1, 9, 9), random(1, 1, 27, 27)), "give None"),
        (lambda: ABPN(replace(TINY, start="given"))(random(1, 1, 9, 9)), "27, 27"),
    ],
)
def test_wrong_input_is_named(problem, hint):
    with pytest.raises(InputError, match=hint):
        problem()
