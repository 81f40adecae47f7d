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

_HALO = 32  # columns of a padded cyclic map: a seam of the padding stays this far from the map


def wrap_columns(maps: Tensor, count: int) -> Tensor:
    """Return the maps with `count` columns of the other side at either side."""
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
        if cyclic and columns:
            input, columns = wrap_columns(input, columns), 0
        return functional.conv2d(
            input, self.weight, self.bias, self.stride, (rows, columns), self.dilation, self.groups
        )


class GridConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution whose columns may wrap."""

    def forward(
        self, input: Tensor, output_size: list[int] | None = None, cyclic: bool = False
    ) -> Tensor:
        """Return the enlarged maps; one column of halo is cut off again after enlarging."""
        if not cyclic:
            return super().forward(input, output_size)
        rows, columns = int(self.padding[0]), int(self.padding[1])
        return functional.conv_transpose2d(
            wrap_columns(input, 1),
            self.weight,
            self.bias,
            self.stride,
            (rows, columns + int(self.stride[1])),
        )


def box_mean(maps: Tensor, size: int, *, cyclic: bool) -> Tensor:
    """Return the mean over `size` × `size` nodes (odd) about each; rows repeat beyond the border.

    Columns do too, unless they wrap.
    """
    half = size // 2
    if cyclic:
        source = functional.pad(wrap_columns(maps, half), (0, 0, half, half), mode="replicate")
    else:
        source = functional.pad(maps, (half, half, half, half), mode="replicate")
    return functional.avg_pool2d(source, size, stride=1)


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
    cut, source = 1, maps
    if cyclic:
        cut, source = 3, wrap_columns(maps, 1)
    result = functional.conv_transpose2d(
        source, kernel, None if beside is not None else layer.bias, 2, (1, cut)
    )
    if beside is None:
        return result
    columns = 1
    if cyclic:
        beside, columns = wrap_columns(beside, 1), 0
    rest = layer.weight[:, channels:]
    return result.add_(functional.conv2d(beside, rest, layer.bias, 1, (1, columns)))


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

        A cyclic width that `stride` divides is not padded; any other gets at least 32 columns, so
        that where the padded map closes on itself is away from the map.
        """
        rows, columns = maps.shape[-2:]
        extra = -columns % stride
        while cyclic and 0 < extra < _HALO:
            extra += stride
        left = extra // 2 // align * align if cyclic else 0
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
