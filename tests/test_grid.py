"""Convolutions whose columns wrap, against the same on the maps repeated side by side."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from deepcams_models.grid import (  # noqa: E402
    GridConv2d,
    GridConvTranspose2d,
    box_mean,
    convolution,
    double_and_convolve,
)


def around(maps, copies: int = 3):
    """Return the maps with as many copies of themselves on either side."""
    return torch.cat([maps] * (2 * copies + 1), dim=3)


def middle(result, width: int, copies: int = 3):
    """Return what became of the maps themselves."""
    return result[..., copies * width : (copies + 1) * width]


@pytest.mark.parametrize("made_columns", [1, 2, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "kernel, stride, padding", [(3, 1, 1), (5, 1, 2), (1, 1, 0), (3, 2, 1), (4, 2, 1), (5, 3, 1)]
)
def test_a_convolution_sees_the_other_side(kernel, stride, padding, layout, made_columns) -> None:
    torch.manual_seed(1)
    width = stride * made_columns
    layer = GridConv2d(3, 4, kernel, stride, padding).double()
    maps = torch.randn(2, 3, 9, width, dtype=torch.float64).to(memory_format=layout)
    with torch.no_grad():
        made, bounded = layer(maps, cyclic=True), layer(maps)
        expected = middle(layer(around(maps)), made_columns)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(made[..., 2:-2], bounded[..., 2:-2], rtol=0, atol=1e-12)
    assert kernel == 1 or not torch.allclose(made, bounded)


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("kernel, stride, padding", [(4, 2, 1), (5, 3, 1)])
def test_a_transposed_convolution_sees_the_other_side(kernel, stride, padding, width) -> None:
    torch.manual_seed(2)
    layer = GridConvTranspose2d(3, 4, kernel, stride, padding).double()
    maps = torch.randn(2, 3, 4, width, dtype=torch.float64)
    with torch.no_grad():
        made = layer(maps, cyclic=True)
        expected = middle(layer(around(maps)), stride * width)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cyclic", [True, False])
@pytest.mark.parametrize("beside", [True, False])
def test_doubling_and_convolving_is_one_step(beside, cyclic) -> None:
    torch.manual_seed(3)
    layer = convolution(5 if beside else 3, 4).double()
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    other = torch.randn(2, 2, 8, 12, dtype=torch.float64) if beside else None
    doubled = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    joined = doubled if other is None else torch.cat([doubled, other], dim=1)
    with torch.no_grad():
        made = double_and_convolve(layer, maps, cyclic, other)
        torch.testing.assert_close(made, layer(joined, cyclic=cyclic), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cyclic", [True, False])
def test_a_mean_over_boxes_cell_by_cell(cyclic) -> None:
    torch.manual_seed(4)
    maps = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    made = box_mean(maps, 5, cyclic=cyclic)
    for row in range(5):
        for column in range(8):
            rows = [min(max(row + step, 0), 4) for step in range(-2, 3)]
            columns = [
                (column + step) % 8 if cyclic else min(max(column + step, 0), 7)
                for step in range(-2, 3)
            ]
            expected = maps[:, :, rows][..., columns].mean(dim=(2, 3))
            torch.testing.assert_close(made[:, :, row, column], expected, rtol=0, atol=1e-12)
