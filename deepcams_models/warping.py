"""Motion on a grid: sampling along a flow, splatting along it, reversing it, blending.

Maps are (batch, channel, row, column). A flow is (batch, 2, row, column) in grid steps, the column
component first; F_ab (x) is where the content of x at time a lies at time b, minus x. Times are 0
for the first map, 1 for the last, and t between. With `cyclic` the columns close on themselves.
Rows, and columns that do not close, repeat the border where a sample lies beyond it; what is
splatted beyond the border is lost.

Places are in the precision of the maps: a thousand columns in float32 are known to 1e-4 of a step.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from deepcams_models.grid import wrap_columns

Kernel = Literal["bilinear", "cubic"]

_HALO = 2  # columns that cubic convolution needs beyond a place
_EPSILON = 1e-5  # least reliability, as published


def backward_warp(
    maps: Tensor, flow: Tensor, *, kernel: Kernel = "bilinear", cyclic: bool = False
) -> Tensor:
    """Return maps sampled at x + flow(x).

    Parameters
    ----------
    maps : Tensor, shape (batch, channel, row, column)
    flow : Tensor, shape (batch, 2, row, column)
        Grid steps.
    kernel : {"bilinear", "cubic"}
        ``cubic`` is cubic convolution with a = −0.75, as in OpenCV: Keys (1981),
        doi:10.1109/TASSP.1981.1163711, equation 4.
    cyclic : bool
        Whether the first column follows the last.
    """
    rows, columns = maps.shape[-2:]
    row, column = _places(flow)
    if cyclic:
        maps, column = wrap_columns(maps, _HALO), column % columns + _HALO
        columns += 2 * _HALO
    places = torch.stack(
        [2 * column / max(columns - 1, 1) - 1, 2 * row / max(rows - 1, 1) - 1], dim=-1
    )
    mode = "bilinear" if kernel == "bilinear" else "bicubic"
    return functional.grid_sample(
        maps, places, mode=mode, padding_mode="border", align_corners=True
    )


def forward_splat(
    values: Tensor, flow: Tensor, weight: Tensor, *, cyclic: bool = False
) -> tuple[Tensor, Tensor]:
    """Carry values along a flow to the four nodes about their ends, and add up.

    A value at x adds w = weight(x) · exp(−d²) of itself to each node at the distance d from
    x + flow(x): Sim et al. (2021), Gaussian weights of equations 1 and 2.

    Parameters
    ----------
    values : Tensor, shape (batch, channel, row, column)
    flow : Tensor, shape (batch, 2, row, column)
    weight : Tensor, shape (batch, 1, row, column)
        Reliability of each place.
    cyclic : bool
        Whether the first column follows the last.

    Returns
    -------
    total, norm : Tensor, shapes (batch, channel, row, column) and (batch, 1, row, column)
        Sums of w · value and of w; both 0 where nothing arrives.
    """
    batch, channels, rows, columns = values.shape
    whole = flow.detach().floor()
    fraction = flow - whole
    row, column = _places(whole.long())
    carried = torch.cat([values, torch.ones_like(weight)], dim=1) * weight
    result = carried.new_zeros(batch, channels + 1, rows * columns)
    for row_step in (0, 1):
        for column_step in (0, 1):
            there_row, there_column = row + row_step, column + column_step
            inside = (there_row >= 0) & (there_row < rows)
            if cyclic:
                there_column = there_column % columns
            else:
                inside = inside & (there_column >= 0) & (there_column < columns)
            distance = (fraction[:, 1] - row_step) ** 2 + (fraction[:, 0] - column_step) ** 2
            share = torch.where(inside, torch.exp(-distance), 0.0).unsqueeze(1)
            index = torch.where(inside, there_row * columns + there_column, 0)
            result = result.scatter_add(
                2,
                index.view(batch, 1, -1).expand(-1, channels + 1, -1),
                (carried * share).reshape(batch, channels + 1, -1),
            )
    result = result.view(batch, channels + 1, rows, columns)
    return result[:, :channels], result[:, channels:]


def reverse_flows(
    forward: Tensor,
    backward: Tensor,
    reliability: tuple[Tensor, Tensor],
    t: Tensor,
    *,
    cyclic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return F_t0 and F_t1 by complementary flow reversal: Sim et al. (2021), equations 1 and 2.

    F01 is carried to t along t·F01, F10 along (1−t)·F10; with S0, N0 and S1, N1 the sums of
    `forward_splat` with the reliabilities z0 and z1,

        F_t0 = t · (−(1−t) S0 + t S1) / ((1−t) N0 + t N1)
        F_t1 = (1−t) · ((1−t) S0 − t S1) / ((1−t) N0 + t N1)

    and 0 where nothing arrives.

    Parameters
    ----------
    forward, backward : Tensor, shape (batch, 2, row, column)
        F01 and F10.
    reliability : pair of Tensor, shape (batch, 1, row, column)
        z0 and z1, in (0, 1).
    t : Tensor, shape (batch, 1, 1, 1) or ()
    cyclic : bool
        Whether the first column follows the last.
    """
    early, early_norm = forward_splat(
        forward, t * forward, reliability[0] + _EPSILON, cyclic=cyclic
    )
    late, late_norm = forward_splat(
        backward, (1 - t) * backward, reliability[1] + _EPSILON, cyclic=cyclic
    )
    norm = (1 - t) * early_norm + t * late_norm
    norm = torch.where(norm > 0, norm, 1.0)
    motion = ((1 - t) * early - t * late) / norm
    return -t * motion, (1 - t) * motion


def intermediate_flows(forward: Tensor, backward: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return F_t0 = −(1−t)t F01 + t² F10 and F_t1 = (1−t)² F01 − t(1−t) F10.

    Jiang et al. (2018), doi:10.1109/CVPR.2018.00938, equation 4: motion is uniform and the flow at
    x stands for the flow at t.
    """
    motion = (1 - t) * forward - t * backward
    return -t * motion, (1 - t) * motion


def blend(first: Tensor, last: Tensor, mask: Tensor, t: Tensor) -> Tensor:
    """Blend two warped maps: Sim et al. (2021), equation 3, before its residual.

    ((1−t) m first + t (1−m) last) / ((1−t) m + t (1−m)), with m the occlusion mask in (0, 1).
    """
    early, late = (1 - t) * mask, t * (1 - mask)
    return (early * first + late * last) / (early + late)


def _places(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row and the column that a flow leads to from each node."""
    rows, columns = flow.shape[-2:]
    row = torch.arange(rows, device=flow.device).view(1, -1, 1) + flow[:, 1]
    column = torch.arange(columns, device=flow.device).view(1, 1, -1) + flow[:, 0]
    return row, column
