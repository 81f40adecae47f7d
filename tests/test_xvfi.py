"""XVFI: counts, gradients, the start at the given flows, ends in time, any size, rolled maps."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepcams_eval.errors import InputError  # noqa: E402
from deepcams_models.grid import Padding  # noqa: E402
from deepcams_models.warping import backward_warp, blend  # noqa: E402
from deepcams_models.xvfi import XVFI, InPlace, XvfiSettings, pyramid  # noqa: E402
from tests.networks import random  # noqa: E402
from tests.networks import trained as randomised  # noqa: E402

TINY = {
    "none": XvfiSettings(8, 1, "none", "bilinear", "free", sun=False, in_place=0),
    "dis": XvfiSettings(8, 2, "dis", "cubic", "gated", sun=True, in_place=6),
}


def pair(rows, columns, settings, batch=1):
    """Return two maps and, where the settings want them, two flows and the sun, by name."""
    first, last = random(batch, 1, rows, columns), random(batch, 1, rows, columns, seed=1)
    given = {}
    if settings.initial_flow == "dis":
        flows = tuple(random(batch, 2, rows, columns, seed=seed, scale=2) for seed in (2, 3))
        given = {"flows": flows, "sun": random(batch, 2, rows, columns, seed=4, scale=0.5)}
    return first, last, given


def each(change, given):
    """Return what `pair` gives by name, each tensor changed."""
    return {
        name: change(one) if isinstance(one, torch.Tensor) else tuple(map(change, one))
        for name, one in given.items()
    }


def trained(settings):
    return randomised(XVFI, settings, gain=1.5)


def test_released_has_the_published_parameters_without_the_dead_ones():
    network = XVFI(XvfiSettings.preset("released"))
    assert sum(one.numel() for one in network.parameters()) == 5_601_554 - 73_856 == 5_527_698


@pytest.mark.parametrize("name", XvfiSettings.presets)
def test_no_parameter_is_dead(name):
    settings = XvfiSettings.preset(name)
    settings = replace(settings, scales=min(settings.scales, 2), channels=8)
    network = trained(settings).train()
    first, last, given = pair(64, 64, settings)
    output = network(first, last, 0.4, **given)
    assert len(output.scales) == settings.scales + 1
    truth = pyramid(random(1, 1, 64, 64, seed=9), settings.scales, cyclic=False)
    sum(
        (made - wanted).abs().mean() for made, wanted in zip(output.scales, truth, strict=True)
    ).backward()
    assert all(one.grad is not None and one.grad.any() for one in network.parameters())


@pytest.mark.parametrize("name", ["recommended", "small"])
@pytest.mark.parametrize("cyclic", [False, True])
def test_untrained_is_the_interpolation_by_the_given_flows(name, cyclic):
    settings = XvfiSettings.preset(name)
    rows, columns, t = 33, 48, 1 / 3
    first, last, given = pair(rows, columns, settings)
    forward, backward = (one[0].numpy().astype(float) for one in given["flows"])
    to_first = -(1 - t) * t * forward + t**2 * backward
    to_last = (1 - t) ** 2 * forward - t * (1 - t) * backward
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    halo = 24 if cyclic else 0
    expected = np.zeros((rows, columns))
    for one, away, weight in ((first, to_first, 1 - t), (last, to_last, t)):
        source = np.pad(one[0, 0].numpy(), ((0, 0), (halo, halo)), mode="wrap")
        places = (x + halo + away[0]).astype(np.float32), (y + away[1]).astype(np.float32)
        expected += weight * cv2.remap(
            source, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    result = XVFI(settings).interpolate(first, last, [t], **given, cyclic=cyclic)[0, 0]
    difference = np.abs(result.numpy() - expected)
    assert difference.max() < 0.1  # some builds of OpenCV round places to 1/32
    assert np.median(difference) < 5e-3
    given["flows"] = given["flows"][::-1]
    swapped = XVFI(settings).interpolate(first, last, [t], **given, cyclic=cyclic)
    assert np.median(np.abs(swapped[0, 0].numpy() - expected)) > 0.1


def test_untrained_follows_a_moving_plume_that_linear_interpolation_smears():
    y, x = np.meshgrid(np.arange(48.0), np.arange(64.0), indexing="ij")
    plumes = [
        torch.from_numpy(np.exp(-(((x - east) / 3) ** 2) - ((y - 24) / 3) ** 2)).float()[None, None]
        for east in (24, 27, 33)
    ]
    velocity = torch.tensor([9.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 48, 64)
    network = XVFI(replace(XvfiSettings.preset("small"), sun=False))
    made = network.interpolate(plumes[0], plumes[2], [1 / 3], flows=(velocity, -velocity))
    linear = (2 * plumes[0] + plumes[2]) / 3
    assert (made - plumes[1]).abs().max() < 0.01
    assert (linear - plumes[1]).abs().max() > 0.3


@pytest.mark.parametrize("settings", [TINY["dis"], XvfiSettings.preset("recommended")])
def test_the_ends_in_time_are_the_given_maps(settings):
    network = trained(settings)
    first, last, given = pair(37, 50, settings)
    with torch.no_grad():
        for t, expected in ((0.0, first), (1.0, last)):
            frame = network(first, last, t, **given).frame
            torch.testing.assert_close(frame, expected, rtol=0, atol=1e-4)
        near = network(first, last, 1e-6, **given).frame
        half = network(first, last, 0.5, **given).frame
    assert (near - first).abs().max() < 1e-2
    assert (half - first).abs().mean() > 0.1


@pytest.mark.parametrize("factor", [0.02, 40.0])
def test_maps_times_a_factor_give_the_result_times_the_factor(factor):
    settings = XvfiSettings.preset("recommended")
    network = trained(settings).double()
    first, last, given = pair(32, 48, settings)
    first, last, given = first.double(), last.double(), each(torch.Tensor.double, given)
    with torch.no_grad():
        made = network(first, last, 0.4, **given).frame
        times = network(factor * first, factor * last, 0.4, **given).frame
        corrected = made - XVFI(settings).double()(first, last, 0.4, **given).frame
    # The floor of the local level is all that keeps it from being exact.
    assert (times / factor - made).abs().max() < 0.02 * corrected.abs().max()


@pytest.mark.parametrize("form", TINY)
def test_a_roll_by_the_total_stride_rolls_the_result(form):
    settings = TINY[form]
    network = trained(settings).double()
    stride = settings.total_stride
    first, last, given = pair(stride, 3 * stride, settings)
    first, last, given = first.double(), last.double(), each(torch.Tensor.double, given)
    rolled = each(lambda one: one.roll(stride, -1), given)
    with torch.no_grad():
        made = network(first, last, 0.3, **given, cyclic=True).frame
        moved = network(
            first.roll(stride, -1), last.roll(stride, -1), 0.3, **rolled, cyclic=True
        ).frame
        bounded = network(first, last, 0.3, **given).frame
    torch.testing.assert_close(moved, made.roll(stride, -1), rtol=0, atol=1e-9)
    assert (bounded - made).abs().max() > 1e-4


@pytest.mark.parametrize("form", TINY)
@pytest.mark.parametrize(
    ("size", "cyclic"), [((97, 169), False), ((5, 7), False), ((64, 64), False), ((8, 16), True)]
)
def test_any_size_and_any_time(form, size, cyclic):
    settings = TINY[form]
    network = trained(settings)
    first, last, given = pair(*size, settings, batch=2)
    times = torch.tensor([0.21, 0.83])
    with torch.no_grad():
        output = network(first, last, times, **given, cyclic=cyclic)
        several = network.interpolate(first, last, times.tolist(), **given, cyclic=cyclic)
    assert output.frame.shape == (2, 1, *size)
    assert output.flow_t0.shape == output.flow_t1.shape == (2, 2, *size)
    assert several.shape == (2, 2, *size)
    assert torch.isfinite(output.frame).all()
    for sample in (0, 1):  # each sample of the batch has its own time
        torch.testing.assert_close(
            several[sample, sample], output.frame[sample, 0], rtol=1e-4, atol=1e-4
        )


def test_the_frame_is_equation_3_of_the_maps_warped_by_the_flows_of_the_output():
    settings = replace(TINY["dis"], residual="none")
    first, last, given = pair(32, 48, settings)
    with torch.no_grad():
        out = trained(settings)(first, last, 0.6, **given)
        warped = [
            backward_warp(one, away, kernel="cubic")
            for one, away in ((first, out.flow_t0), (last, out.flow_t1))
        ]
        expected = blend(*warped, out.mask, torch.tensor(0.6))
    torch.testing.assert_close(out.frame, expected)
    assert out.mask.std() > 0.01


def test_padding_of_a_cyclic_width_that_the_stride_does_not_divide_shows_little():
    network = XVFI(replace(XvfiSettings.preset("small"), sun=False))
    first, last, _ = pair(16, 100, network.settings)
    east = torch.tensor([3.3, 0.0]).view(1, 2, 1, 1).expand(1, 2, 16, 100)
    made = network.interpolate(first, last, [0.5], flows=(east, -east), cyclic=True)
    moved = network.interpolate(
        first.roll(37, -1), last.roll(37, -1), [0.5], flows=(east, -east), cyclic=True
    )
    torch.testing.assert_close(moved, made.roll(37, -1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("scales", [0, 1, 2, 5])
def test_the_seam_of_a_padding_is_away_from_the_map(scales):
    align, stride = 2**scales, 16 * 2**scales
    for columns in (*range(1, 1500, 7), 480, 1440):
        maps = torch.empty(1, 1, 3, columns)
        padding = Padding.to_multiple(maps, stride, align=align, cyclic=True)
        assert (columns + padding.left + padding.right) % stride == 0
        assert padding.left % align == 0
        if columns % stride:
            assert min(padding.left, padding.right) >= 16


@pytest.mark.parametrize("kind", ["none", "dis"])
def test_convolutions_in_bfloat16_make_nearly_the_same(kind):
    settings = replace(TINY[kind], scales=1)
    torch.manual_seed(0)
    network = XVFI(settings) if kind == "none" else trained(settings)  # flows of a few steps
    first, last, given = pair(32, 96, settings)

    def loss_and_gradient(amp):
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            made = network(first, last, 0.4, **given)
            ((made.frame - first) ** 2).mean().backward()
        one = next(p.grad for p in network.parameters() if p.grad is not None and p.dim() > 1)
        return made.frame.detach(), one.clone()

    (exact, exact_gradient), (short, short_gradient) = map(loss_and_gradient, (False, True))
    assert short.dtype == torch.float32
    assert 0 < (short - exact).abs().mean() < 0.03 * exact.std()
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(short_gradient.flatten(), exact_gradient.flatten(), dim=0) > 0.95


def call(settings, **changes):
    first, last, given = pair(8, 8, settings)
    XVFI(settings)(first, last, 0.5, **{**given, **changes})


@pytest.mark.parametrize(
    ("problem", "hint"),
    [
        (lambda: XvfiSettings.preset("large"), "choose from paper"),
        (lambda: replace(TINY["none"], channels=0), "at least 1 channel"),
        (lambda: replace(TINY["none"], channels=6), "multiple of 4"),
        (lambda: replace(TINY["none"], sun=True), "use sun=False"),
        (lambda: replace(TINY["none"], in_place=4), "use in_place=0"),
        (lambda: replace(TINY["dis"], in_place=-1), "a positive number"),
        (lambda: XVFI(TINY["dis"])(*pair(8, 8, TINY["none"])[:2], 0.5), "flows are absent"),
        (lambda: call(TINY["none"], flows=(random(1, 2, 8, 8),) * 2), "only then"),
        (lambda: call(TINY["dis"], sun=None), "is absent with sun=True; give sun=cosine"),
        (lambda: call(TINY["none"], sun=random(1, 2, 8, 8)), "is given with sun=False"),
        (lambda: call(TINY["dis"], sun=random(1, 1, 8, 8)), "sun has the shape"),
        (lambda: call(TINY["dis"], flows=(random(1, 2, 8, 9),) * 2), "a flow has the shape"),
        (lambda: XVFI(TINY["none"])(random(1, 2, 8, 8), random(1, 2, 8, 8), 0.5), "batch, 1"),
    ],
)
def test_wrong_input_is_named(problem, hint):
    with pytest.raises(InputError, match=hint):
        problem()


@pytest.mark.parametrize("sun", [False, True])
def test_changes_in_place_are_found_node_by_node(sun):
    """Against the same perceptron written out for one node."""
    rng = np.random.default_rng(5)
    maps = rng.uniform(2, 5, (4, 5, 7))
    maps[3, 2, 3] = -1.0  # a cubic warp can go below zero
    level, t = maps.mean(axis=0), 0.25
    cosine = rng.uniform(-1, 1, (2, 5, 7))
    torch.manual_seed(2)
    module = InPlace(4, sun=sun).double()
    torch.nn.init.normal_(module.head.weight)
    given = [torch.from_numpy(one)[None, None] for one in (*maps, level)]
    shines = torch.from_numpy(cosine)[None] if sun else None
    time = torch.tensor(t, dtype=torch.float64)
    with torch.no_grad():
        made = module(given[:4], given[4], shines, time, cyclic=False)[0, 0].numpy()

    def box(values, row, column, half):
        rows = [min(max(row + step, 0), 4) for step in range(-half, half + 1)]
        columns = [min(max(column + step, 0), 6) for step in range(-half, half + 1)]
        return np.mean([values[i, j] for i in rows for j in columns])

    weights = [one.detach().numpy() for one in module.parameters()]
    for row, column in ((0, 0), (2, 3), (4, 5)):
        first, last, early, late = maps[:, row, column]
        between = (1 - t) * maps[2] + t * maps[3]
        unit = level[row, column]
        x = [np.log(max(one / unit, 0.02)) for one in (first, last, early, late)]
        x += [np.arcsinh(3 * (late - early) / unit)]
        x += [np.arcsinh(3 * box(maps[3] - maps[2], row, column, 2) / unit)]
        x += [np.arcsinh(3 * (last - first) / unit)]
        x += [np.arcsinh(15 * ((1 - t) * (first - early) + t * (last - late)) / unit)]
        x += [np.arcsinh(15 * (between[row, column] - box(between, row, column, 1)) / unit)]
        x += [t - 0.5, *(cosine[:, row, column] if sun else [])]
        for weight, bias in (weights[:2], weights[2:4], weights[4:6]):
            x = np.maximum(weight[:, :, 0, 0] @ np.array(x) + bias, 0)
        expected = 0.2 * (weights[6][0, :, 0, 0] @ x + weights[7][0])
        assert made[row, column] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert np.abs(made).max() > 0.01


def test_where_the_sun_stands_matters_between_the_maps_and_nowhere_else():
    settings = XvfiSettings.preset("recommended")
    network = trained(settings)
    first, last, given = pair(32, 48, settings)
    night = {**given, "sun": torch.full_like(given["sun"], -0.5)}
    with torch.no_grad():
        made, other = (network(first, last, 0.5, **one).frame for one in (given, night))
        ends = [network(first, last, 1.0, **one).frame for one in (given, night)]
    assert (made - other).abs().mean() > 1e-3
    torch.testing.assert_close(*ends, rtol=0, atol=1e-4)
