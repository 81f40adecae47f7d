"""XVFI and ABPN written the plain way: eager tensor code as the papers draw it.

Each function or module here takes a network of `deepcams_models` and computes the same with the
same weights: every map at t from the start, frames one after the other, grids made anew for each
warp, splatting by masked put, columns of the other side joined to the maps before each convolution,
maps doubled and joined before a convolution, means over boxes in one go, attention by two products
about a softmax, the default layout.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepcams_models.abpn import SpatialAttention
from deepcams_models.grid import GridConv2d, GridConvTranspose2d, Padding, enlarge, wrap_columns
from deepcams_models.warping import Kernel
from deepcams_models.xvfi import (
    FEATURE_STRIDE,
    XVFI,
    CorrectionUNet,
    Hourglass,
    MotionNetwork,
    RefinementUNet,
    pyramid,
)

Network = TypeVar("Network", bound=nn.Module)

_HALO = 2
_EPSILON = 1e-5


class Plain(nn.Module):
    """What computes the same as another module, with its weights."""

    def __init__(self, source) -> None:
        super().__init__()
        self.source = source


class PlainConv2d(Plain):
    """`GridConv2d` on maps with columns of the other side."""

    def forward(self, maps: Tensor, cyclic: bool = False) -> Tensor:
        """As `GridConv2d`."""
        net = self.source
        rows, columns = net.padding
        if cyclic and columns:
            maps = functional.pad(maps, (columns, columns, 0, 0), mode="circular")
            columns = 0
        return functional.conv2d(maps, net.weight, net.bias, net.stride, (rows, columns))


class PlainConvTranspose2d(Plain):
    """`GridConvTranspose2d` on maps with a column of the other side at either side."""

    def forward(self, maps: Tensor, cyclic: bool = False) -> Tensor:
        """As `GridConvTranspose2d`."""
        net = self.source
        rows, columns = net.padding
        if cyclic:
            maps = functional.pad(maps, (1, 1, 0, 0), mode="circular")
            columns += net.stride[1]
        return functional.conv_transpose2d(maps, net.weight, net.bias, net.stride, (rows, columns))


class PlainAttention(Plain):
    """Attention as the paper writes it: softmax(K Qᵀ) V, with the whole matrix in memory."""

    def __init__(self, source: SpatialAttention) -> None:
        super().__init__()
        self.query, self.key = source.query, source.key
        self.value, self.weigh = source.value, source.weigh

    def forward(self, reference: Tensor, x: Tensor | None = None) -> Tensor:
        """As `SpatialAttention`."""
        x = reference if x is None else x
        batch, channels, rows, columns = x.shape
        query = self.query(reference).view(batch, channels, -1).permute(0, 2, 1)
        key = self.key(reference).view(batch, channels, -1)
        value = self.value(x).view(batch, channels, -1).permute(0, 2, 1)
        shares = functional.softmax(torch.matmul(query, key), dim=-1)
        taken = torch.matmul(shares, value).permute(0, 2, 1).contiguous()
        return x + self.weigh(taken.view(batch, channels, rows, columns))


class PlainHourglass(nn.Module):
    """`Hourglass` that doubles, then convolves."""

    def forward(self, known: Tensor, cyclic: bool) -> Tensor:
        """As `Hourglass`."""
        net = self.source
        x = functional.relu(net.reduce(known, cyclic))
        x = functional.relu(net.reduce_again(x, cyclic))
        x = functional.relu(net.widen(double(x), cyclic))
        x = functional.relu(net.widen_again(double(x), cyclic))
        return net.head(x, cyclic)


class PlainRefinement(Plain):
    """`RefinementUNet` that doubles and joins, then convolves."""

    def forward(self, known: Tensor, cyclic: bool) -> Tensor:
        """As `RefinementUNet`."""
        net = self.source
        half = functional.relu(net.reduce[0](known, cyclic))
        quarter = functional.relu(net.reduce[1](half, cyclic))
        x = functional.relu(net.reduce[2](quarter, cyclic))
        x = functional.relu(net.bottom(x, cyclic))
        x = functional.relu(net.widen(torch.cat([double(x), quarter], 1), cyclic))
        x = functional.relu(net.widen_again(torch.cat([double(x), half], 1), cyclic))
        return net.head(double(x), cyclic)


class PlainCorrection(Plain):
    """`CorrectionUNet` that doubles and joins, then convolves."""

    def forward(self, known: Tensor, cyclic: bool) -> Tensor:
        """As `CorrectionUNet`."""
        net = self.source
        full = known
        for layer in net.at_full:
            full = functional.relu(layer(full, cyclic))
        half = full
        for layer in net.at_half:
            half = functional.relu(layer(half, cyclic))
        x = half
        for layer in net.at_quarter:
            x = functional.relu(layer(x, cyclic))
        x = functional.relu(net.to_half(torch.cat([double(x), half], 1), cyclic))
        x = functional.relu(net.mix_half(x, cyclic))
        x = functional.relu(net.to_full(torch.cat([double(x), full], 1), cyclic))
        x = functional.relu(net.mix_full(x, cyclic))
        return net.head(x, cyclic) + net.direct(known, cyclic)


PLAIN: dict[type[nn.Module], Callable[..., nn.Module]] = {
    GridConv2d: PlainConv2d,
    GridConvTranspose2d: PlainConvTranspose2d,
    SpatialAttention: PlainAttention,
    Hourglass: PlainHourglass,
    RefinementUNet: PlainRefinement,
    CorrectionUNet: PlainCorrection,
}


def plain_copy(network: Network) -> Network:
    """Return a copy of plain parts in the default layout."""
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in PLAIN:
                setattr(parent, name, PLAIN[type(child)](child))
    return plain


def plain_box_mean(maps: Tensor, size: int, cyclic: bool) -> Tensor:
    """As `deepcams_models.grid.box_mean`."""
    half = size // 2
    columns = functional.pad(maps, (half, half, 0, 0), mode="circular" if cyclic else "replicate")
    return functional.avg_pool2d(
        functional.pad(columns, (0, 0, half, half), mode="replicate"), size, stride=1
    )


def double(maps: Tensor) -> Tensor:
    """Repeat each node twice along rows and columns."""
    return functional.interpolate(maps, scale_factor=2, mode="nearest")


class PlainXvfi(nn.Module):
    """XVFI as the paper draws it; see the module."""

    def __init__(self, network: XVFI) -> None:
        super().__init__()
        copied = plain_copy(network)
        self.settings, self.network = copied.settings, copied.network

    @torch.no_grad()
    def interpolate(self, first, last, times, *, flows=None, sun=None, cyclic=False) -> Tensor:
        """As `XVFI.interpolate`, each time from the start."""
        scales = self.settings.scales
        padding = Padding.to_multiple(
            first, self.settings.total_stride, align=2**scales, cyclic=cyclic
        )
        frames = []
        for t in times:
            maps = [pyramid(padding.pad(one), scales, cyclic=cyclic) for one in (first, last)]
            if flows is None:
                frame = self._by_motion(maps, t, cyclic)
            else:
                given = [padding.pad(one) for one in flows]
                shines = None if sun is None else padding.pad(sun)
                frame = self._by_corrections(maps, given, shines, t, cyclic)
            frames.append(padding.crop(frame))
        return torch.cat(frames, dim=1)

    def _by_motion(self, maps: list[list[Tensor]], t: float, cyclic: bool) -> Tensor:
        net = self.network
        assert isinstance(net, MotionNetwork)
        features = [[net.features(one[0], cyclic)] for one in maps]
        for one in features:
            for _ in range(self.settings.scales):
                one.append(net.reduce_features(one[-1], cyclic))
        flow = None
        for scale in range(self.settings.scales, -1, -1):
            early, late = features[0][scale], features[1][scale]
            if flow is None:
                raw = net.coarsest_flow(torch.cat([early, late], 1), cyclic)
                flow = raw[:, :4]
                continue
            start = 2 * enlarge(flow, 2, "bilinear", cyclic=cyclic)
            from_last = plain_warp(late, start[:, :2], "bilinear", cyclic)
            from_first = plain_warp(early, start[:, 2:], "bilinear", cyclic)
            matched = [
                net.match(torch.cat([early, from_last], 1), cyclic),
                net.match(torch.cat([late, from_first], 1), cyclic),
            ]
            raw = net.finer_flow(torch.cat([*matched, start], 1), cyclic)
            flow = raw[:, :4] + start
        z = torch.sigmoid(raw[:, 4:])
        return self._to_t(maps, features, raw[:, :4] if flow is None else flow, z, t, cyclic)

    def _to_t(
        self,
        maps: list[list[Tensor]],
        features: list[list[Tensor]],
        flow: Tensor,
        z: Tensor,
        t: float,
        cyclic: bool,
    ) -> Tensor:
        net = self.network
        assert isinstance(net, MotionNetwork)
        early, late = features[0][0], features[1][0]
        ahead, behind = flow[:, :2], flow[:, 2:]
        ahead_sum, ahead_norm = plain_splat(ahead, t * ahead, z[:, :1] + _EPSILON, cyclic)
        behind_sum, behind_norm = plain_splat(behind, (1 - t) * behind, z[:, 1:] + _EPSILON, cyclic)
        norm = (1 - t) * ahead_norm + t * behind_norm
        norm = torch.where(norm > 0, norm, torch.ones_like(norm))
        flow_t0 = (-(1 - t) * t * ahead_sum + t * t * behind_sum) / norm
        flow_t1 = ((1 - t) * (1 - t) * ahead_sum - t * (1 - t) * behind_sum) / norm
        warped0 = plain_warp(early, flow_t0, "bilinear", cyclic)
        warped1 = plain_warp(late, flow_t1, "bilinear", cyclic)
        known = torch.cat([early, warped0, warped1, late, flow_t0, flow_t1], 1)
        flows = net.flow_to_t(functional.relu(net.join(known, cyclic)), cyclic)
        flows = flows + torch.cat([flow_t0, flow_t1], 1)
        warped0 = plain_warp(early, flows[:, :2], "bilinear", cyclic)
        warped1 = plain_warp(late, flows[:, 2:], "bilinear", cyclic)
        flows = FEATURE_STRIDE * enlarge(flows, FEATURE_STRIDE, "bilinear", cyclic=cyclic)
        first, last = maps[0][0], maps[1][0]
        kernel = self.settings.kernel
        from_first = plain_warp(first, flows[:, :2], kernel, cyclic)
        from_last = plain_warp(last, flows[:, 2:], kernel, cyclic)
        shuffled = functional.pixel_shuffle(
            torch.cat([early, late, warped0, warped1], 1), FEATURE_STRIDE
        )
        refined = net.refine(
            torch.cat([shuffled, first, last, from_first, from_last, flows], 1), cyclic
        )
        mask = torch.sigmoid(refined[:, :1])
        blended = (1 - t) * mask * from_first + t * (1 - mask) * from_last
        return blended / ((1 - t) * mask + t * (1 - mask)) + refined[:, 1:]

    def _by_corrections(
        self,
        maps: list[list[Tensor]],
        given: list[Tensor],
        sun: Tensor | None,
        t: float,
        cyclic: bool,
    ) -> Tensor:
        found = None
        for scale in range(self.settings.scales, -1, -1):
            first, last = maps[0][scale], maps[1][scale]
            reduced = [functional.avg_pool2d(one, 2**scale) / 2**scale for one in given]
            starts = [
                -(1 - t) * t * reduced[0] + t * t * reduced[1],
                (1 - t) ** 2 * reduced[0] - t * (1 - t) * reduced[1],
            ]
            if found is None:
                batch, _, rows, columns = first.shape
                found = first.new_zeros(batch, 5, rows, columns)
            else:
                larger = enlarge(found, 2, "bilinear", cyclic=cyclic)
                found = torch.cat([2 * larger[:, :4], larger[:, 4:]], 1)
            warped, flows = self._warped(first, last, starts, found, t, cyclic)
            level = plain_box_mean((first.abs() + last.abs()) / 2, 17, cyclic) + 1e-5
            moved = (1 - t) * warped[0] + t * warped[1] - (1 - t) * first - t * last
            sharp = [*warped, first, last, moved]
            details = [one - plain_box_mean(one, 3, cyclic) for one in sharp]
            known = [torch.asinh(one / level - 1) for one in (first, last, *warped)]
            known.append(torch.asinh(3 * (first - last) / level))
            small = [*details, moved, warped[0] - warped[1]]
            known += [torch.asinh(15 * one / level) for one in small]
            known += [torch.cat(flows, 1) / 4, found[:, 4:]]
            known.append(torch.full_like(first, t - 0.5))
            if sun is not None:
                known.append(functional.avg_pool2d(sun, 2**scale))
            raw = self.network.correct(torch.cat(known, 1), cyclic) * self.network.steps
            found = found + raw[:, :5]
        warped, _ = self._warped(first, last, starts, found, t, cyclic)
        mask = torch.sigmoid(6 * torch.tanh(found[:, 4:] / 6))
        blended = (1 - t) * mask * warped[0] + t * (1 - mask) * warped[1]
        share = raw[:, 5:] + self._in_place([first, last, *warped], level, sun, t, cyclic)
        residual = 4 * t * (1 - t) * level * share
        return blended / ((1 - t) * mask + t * (1 - mask)) + residual

    def _in_place(
        self, maps: list[Tensor], level: Tensor, sun: Tensor | None, t: float, cyclic: bool
    ) -> Tensor:
        first, last, from_first, from_last = maps
        change, between = from_last - from_first, (1 - t) * from_first + t * from_last
        moved = (1 - t) * first + t * last - between
        detail = between - plain_box_mean(between, 3, cyclic)
        known = [torch.log((one / level).clamp(min=0.02)) for one in maps]
        known.append(torch.asinh(3 * change / level))
        known.append(torch.asinh(3 * plain_box_mean(change, 5, cyclic) / level))
        known.append(torch.asinh(3 * (last - first) / level))
        known += [torch.asinh(15 * one / level) for one in (moved, detail)]
        known.append(torch.full_like(first, t - 0.5))
        if sun is not None:
            known.append(sun)
        x = torch.cat(known, 1)
        for layer in self.network.in_place.layers:
            x = functional.relu(layer(x, cyclic))
        return 0.2 * self.network.in_place.head(x, cyclic)

    def _warped(
        self,
        first: Tensor,
        last: Tensor,
        starts: list[Tensor],
        found: Tensor,
        t: float,
        cyclic: bool,
    ) -> tuple[list[Tensor], list[Tensor]]:
        flows = [starts[0] + t * found[:, :2], starts[1] + (1 - t) * found[:, 2:4]]
        kernel = self.settings.kernel
        warped = [
            plain_warp(one, flow, kernel, cyclic)
            for one, flow in zip((first, last), flows, strict=True)
        ]
        return warped, flows


def plain_warp(maps: Tensor, flow: Tensor, kernel: Kernel, cyclic: bool) -> Tensor:
    """Return maps sampled along a flow, by a grid in [−1, 1] made for the purpose."""
    _, _, rows, columns = maps.shape
    y, x = torch.meshgrid(
        torch.arange(rows, device=maps.device, dtype=maps.dtype),
        torch.arange(columns, device=maps.device, dtype=maps.dtype),
        indexing="ij",
    )
    x, y = x + flow[:, 0], y + flow[:, 1]
    if cyclic:
        maps, x = wrap_columns(maps, _HALO), torch.remainder(x, columns) + _HALO
        columns += 2 * _HALO
    grid = torch.stack([2 * x / max(columns - 1, 1) - 1, 2 * y / max(rows - 1, 1) - 1], dim=-1)
    mode = "bilinear" if kernel == "bilinear" else "bicubic"
    return functional.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=True)


def plain_splat(
    values: Tensor, flow: Tensor, weight: Tensor, cyclic: bool
) -> tuple[Tensor, Tensor]:
    """Return the sums of `forward_splat`, by a masked put for each corner."""
    batch, channels, rows, columns = values.shape
    total, norm = torch.zeros_like(values), torch.zeros_like(values)
    base = torch.arange(batch * channels, device=values.device).view(batch, channels, 1, 1)
    y = torch.arange(rows, device=values.device).view(1, 1, -1, 1)
    x = torch.arange(columns, device=values.device).view(1, 1, 1, -1)
    for row_step in (0, 1):
        for column_step in (0, 1):
            row = flow[:, 1:].floor().long() + y + row_step
            column = flow[:, :1].floor().long() + x + column_step
            inside = (row >= 0) & (row < rows)
            if cyclic:
                column = torch.remainder(column, columns)
            else:
                inside = inside & (column >= 0) & (column < columns)
            square = (flow[:, 1:] + y - row) ** 2
            away = flow[:, :1] - flow[:, :1].floor() - column_step
            share = (weight * torch.exp(-(square + away**2))).repeat(1, channels, 1, 1)
            inside = inside.repeat(1, channels, 1, 1)
            place = ((base * rows + row) * columns + column)[inside]
            total.put_(place, (values * share)[inside], accumulate=True)
            norm.put_(place, share[inside], accumulate=True)
    return total, norm[:, :1]
