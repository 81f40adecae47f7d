"""Padding, convolution and resizing on maps whose longitude may close on itself.

Tensors are (batch, channel, row, column). With `cyclic` the first column follows the last, so that
every operation here commutes with a roll of the columns by a multiple of its stride. Without it,
and always for rows, convolutions see zeros beyond the border and resizing repeats the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

_HALO = 16  # columns of a padded cyclic map: a seam of the padding stays this far from the map


def wrap_columns(maps: Tensor, count: int) -> Tensor:
    """Return the maps with `count` columns of the other side at either side."""
    if count > maps.shape[-1]:
        around = torch.arange(-count, maps.shape[-1] + count, device=maps.device)
        return maps[..., around % maps.shape[-1]]
    last, first = maps[..., -count:], maps[..., :count]
    if not maps.is_contiguous(memory_format=torch.channels_last):
        return torch.cat([last, maps, first], dim=-1)
    # Joined as they are, narrow slices would make the result channels-first, and slow.
    parts = [one.permute(0, 2, 3, 1) for one in (last, maps, first)]
    return torch.cat(parts, dim=2).permute(0, 3, 1, 2)


class GridConv2d(nn.Conv2d):
    """A convolution whose columns may wrap."""

    def forward(self, input: Tensor, cyclic: bool = False) -> Tensor:
        """Return the convolved maps; see the module for what lies beyond the border."""
        rows, columns = int(self.padding[0]), int(self.padding[1])
        down, across = int(self.stride[0]), int(self.stride[1])
        return _convolve(
            self.weight, self.bias, input, (down, across), (rows, columns), cyclic=cyclic
        )


class GridConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution whose columns may wrap."""

    def forward(
        self, input: Tensor, output_size: list[int] | None = None, cyclic: bool = False
    ) -> Tensor:
        """Return the enlarged maps; see the module for what lies beyond the border."""
        del output_size
        stride, padding = int(self.stride[0]), int(self.padding[0])
        return _enlarge_by(self.weight, self.bias, input, stride, padding, cyclic=cyclic)


def _convolve(
    weight: Tensor,
    bias: Tensor | None,
    maps: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    *,
    cyclic: bool,
) -> Tensor:
    """Return the convolution, whose columns may wrap.

    Where they do, the few columns that see beyond the border are made once more: that is cheaper
    than a copy of the maps with columns of the other side.
    """
    result = functional.conv2d(maps, weight, bias, stride, padding)
    if not cyclic:
        return result
    across, columns, kernel = stride[1], padding[1], weight.shape[3]
    made = result.shape[3]
    beyond = (made - 1) * across - columns + kernel - maps.shape[3]
    count = min(made, -(-max(columns, beyond) // across))
    if count:
        length = (count - 1) * across + kernel
        begins = -columns, (made - count) * across - columns
        strips = torch.cat([_columns(maps, one, one + length) for one in begins])
        edges = functional.conv2d(strips, weight, bias, stride, (padding[0], 0))
        result[..., :count], result[..., made - count :] = edges.chunk(2)
    return result


def _enlarge_by(
    weight: Tensor, bias: Tensor | None, maps: Tensor, stride: int, padding: int, *, cyclic: bool
) -> Tensor:
    """Return the transposed convolution, whose columns may wrap."""
    result = functional.conv_transpose2d(maps, weight, bias, stride, padding)
    if cyclic:
        # What reaches over the border: the result of the two columns that meet there.
        edge = functional.conv_transpose2d(_columns(maps, -1, 1), weight, bias, stride, padding)
        after, before = padding, weight.shape[3] - padding - stride
        result[..., result.shape[3] - after :] = edge[..., stride - after : stride]
        result[..., :before] = edge[..., stride : stride + before]
    return result


def _columns(maps: Tensor, start: int, stop: int) -> Tensor:
    """Return columns, counted on beyond the border."""
    taken = torch.arange(start, stop, device=maps.device) % maps.shape[3]
    # Channels last, as they lie in memory: five times as fast.
    return maps.permute(0, 2, 3, 1).index_select(2, taken).permute(0, 3, 1, 2)


def box_mean(maps: Tensor, size: int, *, cyclic: bool) -> Tensor:
    """Return the mean over `size` × `size` nodes (odd) about each; rows repeat beyond the border.

    Columns do too, unless they wrap.
    """
    half = size // 2
    if cyclic:
        source = functional.pad(wrap_columns(maps, half), (0, 0, half, half), mode="replicate")
    else:
        source = functional.pad(maps, (half, half, half, half), mode="replicate")
    # Along columns, then along rows: 2 · size additions a node instead of size²; without the
    # dimension of the batch, for one channel in the channels-last layout is slow.
    along = functional.avg_pool2d(source.flatten(0, 1), (1, size), stride=1)
    return functional.avg_pool2d(along, (size, 1), stride=1).view(maps.shape)


def at_least_single(maps: Tensor) -> Tensor:
    """Return the maps in float32 if they are in a shorter form, as convolutions make with AMP.

    Places, flows and features that are moved along them need it: bfloat16 has 8 bits.
    """
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> GridConv2d:
    """Return a convolution that keeps the size (odd kernel) or divides it by the stride (4, 2)."""
    return GridConv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2)


def double_and_convolve(
    layer: GridConv2d, maps: Tensor, cyclic: bool, beside: Tensor | None = None
) -> Tensor:
    """Return `layer` of the maps doubled by repetition, and of what stands beside them.

    Repeating every node twice along rows and columns and convolving by 3 × 3 is one transposed
    convolution by 4 × 4 with a stride of 2, at 4 products a node instead of 9.
    """
    channels = maps.shape[1]
    kernel = layer.weight[:, :channels].flip(2, 3).transpose(0, 1)  # (C, outputs, 3, 3)
    for right, bottom in ((1, 0), (0, 1)):
        after = functional.pad(kernel, (0, right, 0, bottom))
        kernel = after + functional.pad(kernel, (right, 0, bottom, 0))
    bias = None if beside is not None else layer.bias
    result = _enlarge_by(kernel, bias, maps, 2, 1, cyclic=cyclic)
    if beside is None:
        return result
    rest = layer.weight[:, channels:]
    return result.add_(_convolve(rest, layer.bias, beside, (1, 1), (1, 1), cyclic=cyclic))


def enlarge(
    maps: Tensor, factor: int, mode: Literal["bilinear", "bicubic"], *, cyclic: bool
) -> Tensor:
    """Enlarge by an integer factor, half-pixel geometry: a coarse pixel is centred on its block."""
    halo = 2 if cyclic else 0
    source = wrap_columns(maps, halo) if cyclic else maps
    result = functional.interpolate(source, scale_factor=factor, mode=mode, align_corners=False)
    return result[..., halo * factor : result.shape[-1] - halo * factor]


def reduce_bicubic(maps: Tensor, factor: int, *, cyclic: bool) -> Tensor:
    """Sample at the centres of `factor` × `factor` blocks with cubic convolution, a = −0.75.

    No antialiasing, as in the pyramid of XVFI; rows and columns must be multiples of `factor`.
    """
    if factor == 1:
        return maps
    source = wrap_columns(maps, factor) if cyclic else maps
    result = functional.interpolate(
        source, scale_factor=1 / factor, mode="bicubic", align_corners=False
    )
    return result[..., 1:-1] if cyclic else result


@dataclass(frozen=True)
class Padding:
    """How a map of any size was padded to multiples of a stride.

    Attributes
    ----------
    rows, columns : int
        Size of the map.
    bottom, left, right : int
        What was added. Rows repeat the last one; columns are the other side's where the map is
        cyclic, else they repeat the last one (`left` is 0).
    cyclic : bool
        Whether longitude closes on itself.
    """

    rows: int
    columns: int
    bottom: int
    left: int
    right: int
    cyclic: bool

    @classmethod
    def to_multiple(cls, maps: Tensor, stride: int, *, align: int, cyclic: bool) -> Padding:
        """Return the padding that `maps` needs; `left` is a multiple of `align`.

        A cyclic width that `stride` divides is not padded; any other gets at least 16 columns at
        either side, so that where the padded map closes on itself is away from the map.
        """
        rows, columns = maps.shape[-2:]
        extra = -columns % stride
        left = extra // 2 // align * align if cyclic else 0
        while cyclic and extra and min(left, extra - left) < _HALO:
            extra += stride
            left = extra // 2 // align * align
        return cls(rows, columns, -rows % stride, left, extra - left, cyclic)

    def pad(self, maps: Tensor) -> Tensor:
        """Return the padded maps."""
        if self.cyclic and (self.left or self.right):
            taken = torch.arange(-self.left, self.columns + self.right, device=maps.device)
            maps = maps[..., taken % self.columns]
        right = 0 if self.cyclic else self.right
        if self.bottom or right:
            maps = functional.pad(maps, (0, right, 0, self.bottom), mode="replicate")
        return maps

    def crop(self, maps: Tensor, factor: int = 1) -> Tensor:
        """Return what belongs to the map, of maps reduced by `factor`: whole cells only."""
        left = self.left // factor
        return maps[..., : self.rows // factor, left : left + self.columns // factor]
