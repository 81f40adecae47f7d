"""ABPN: maps enlarged three times by back-projection with spatial attention.

Liu, Wang, Li, Chan and Siu (2019), "Image super-resolution via attention based back projection
networks", doi:10.1109/ICCVW.2019.00436, for one channel and a factor of 3: enhanced up and down
back-projection blocks in turn, each way down followed by spatial attention, all results joined.

- `start="bicubic"`, as published: the result is added to a bicubic enlargement of the input, and
  corrected by the part of the input that it does not reproduce.
- `start="given"`: the result is added to an enlargement that is given (bicubic with iterative
  back-projection by default), which the network sees as well. Its head begins at zero, so that
  an untrained network returns what it was given. With `relative` both are seen, and the result is
  measured, by the mean and the contrast about each node: clean air is as well served as smoke.

Half-pixel geometry: coarse node i is centred on fine node 3i + 1. Any size is taken as it is.

Attention relates every node to every other, so that a map and its tiles are different functions:
``attention="window"`` cuts the map into tiles of `AbpnSettings.tile` nodes, ``"full"`` takes it
whole. Tiles overlap, and their results fade into each other linearly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepcams_eval.errors import InputError
from deepcams_models.grid import (
    GridConv2d,
    GridConvTranspose2d,
    at_least_single,
    box_mean,
    convolution,
    enlarge,
)
from deepcams_models.networks import NetworkSettings

FACTOR = 3
"""Fine nodes in a coarse one, along rows and along columns."""

_KERNEL = 5  # of the projections, with a stride of FACTOR and one node cut off at either side
_DIRECT = 2  # the first stages have no earlier result of their kind to add

# What a relative network sees. Boxes are counted in nodes of the map that they are laid over.
_CONTRAST_NODES = 5  # edge of the box of the local mean and contrast
_LEVEL_NODES = 9  # edge of the box of the local level
_LEVEL_FLOOR = 1e-5  # normalised units: far below any air, but an empty map is no division by 0
_LEAST_CONTRAST = 0.003  # of the local level: what is smoother counts as that
_LEAST_SHARE = 0.02  # of the local level, below which logarithms end
_USUAL_CONTRAST = -2.0  # logarithm of the contrast over the level, about
_DETAIL_NODES = 3  # on the fine grid
_DETAIL_GAIN = 6.0
_SEEN_COARSE, _SEEN_FINE = 3, 2  # maps that are seen on either grid


_LARGE_TILES = {"attention": "window", "tile": 120, "overlap": 24}
_SMALL_TILES = {"attention": "window", "tile": 64, "overlap": 16}
_PUBLISHED = {"features": 32, "stages": 10, **_LARGE_TILES, "start": "bicubic", "key_bias": True}
_GIVEN = {**_SMALL_TILES, "start": "given", "key_bias": False, "relative": True}


@dataclass(frozen=True)
class AbpnSettings(NetworkSettings):
    """What an ABPN is made of.

    Attributes
    ----------
    features : int
        Channels of the projections.
    stages : int
        Up-projections; there is one down-projection fewer.
    attention : {"window", "full", "none"}
        Among the nodes of a tile, of the whole map, or none at all.
    tile, overlap : int
        Edge of a tile and the least overlap of neighbours, coarse nodes. An overlap of 0 shows
        seams, as published.
    start : {"bicubic", "given"}
        What the network adds to.
    key_bias : bool
        Whether the second projection of the attention has a bias. It cancels in the softmax, so
        it never learns; only the published count of parameters needs it.
    extra_channels : int
        Static maps on the fine grid that the network sees besides.
    relative : bool
        Whether maps are seen relative to the mean and the contrast about each node, and the result
        in units of that contrast: maps times a factor give the result times the factor. Only with
        ``start="given"``.
    """

    features: int
    stages: int
    attention: Literal["window", "full", "none"]
    tile: int
    overlap: int
    start: Literal["bicubic", "given"]
    key_bias: bool
    extra_channels: int = 0
    relative: bool = False

    # The paper and the code published with it describe one network, so that it has two names.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": _PUBLISHED,
        "released": _PUBLISHED,
        "recommended": {"features": 28, "stages": 3, **_GIVEN},
        "small": {"features": 16, "stages": 2, **_GIVEN},
    }
    training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {"steps": 2400, "lr": 3e-3, "batch": 4, "crop": 72, "margin": 0},
        "small": {"steps": 800},
        "paper": {"lr": 1e-4, "normalisation": "sqrt"},
        "released": {"lr": 1e-4, "normalisation": "sqrt"},
    }

    def __post_init__(self) -> None:
        if self.features < 1 or self.stages < _DIRECT or self.extra_channels < 0:
            raise InputError(
                f"{self.features} features, {self.stages} stages and {self.extra_channels} extra"
                " channels make no network",
                hint="at least 1 feature and 2 stages",
            )
        if not 0 <= 2 * self.overlap <= self.tile or self.tile < 1:
            raise InputError(
                f"tiles of {self.tile} cannot overlap by {self.overlap}",
                hint="give an overlap of at most half a tile",
            )
        if self.relative and self.start != "given":
            raise InputError(
                "a relative ABPN improves an enlargement that it is given",
                hint='set start to "given", or relative to false',
            )


class ABPN(nn.Module):
    """Enlarges maps three times.

    Weights are kept in the channels-last layout, which convolutions on a CPU want.
    """

    Settings = AbpnSettings

    def __init__(self, settings: AbpnSettings) -> None:
        super().__init__()
        self.settings = settings
        features, stages = settings.features, settings.stages
        given = settings.start == "given"
        seen = (_SEEN_COARSE, _SEEN_FINE) if settings.relative else (1, int(given))
        inputs = seen[0] + FACTOR**2 * (seen[1] + settings.extra_channels)
        self.widen = Activated(convolution(inputs, 2 * features))
        self.attend_input = _attention(2 * features, settings)
        self.narrow = Activated(convolution(2 * features, features))
        self.up = nn.ModuleList(UpProjection(features) for _ in range(stages))
        self.down = nn.ModuleList(DownProjection(features) for _ in range(stages - 1))
        self.attend = nn.ModuleList(_attention(features, settings) for _ in range(stages - 1))
        up, down = range(stages - _DIRECT), range(stages - 1 - _DIRECT)
        self.weigh_up = nn.ModuleList(_pointwise(features, features) for _ in up)
        self.weigh_down = nn.ModuleList(_pointwise(features, features) for _ in down)
        self.join_fine = _pointwise(stages * features, features)
        self.mix_fine = Activated(convolution(features, features))
        self.join_coarse = _pointwise((stages - 1) * features, features)
        self.lift_coarse = UpProjection(features)
        self.head = convolution(features, 1)
        self.correct = None if given else FinalCorrection(features, settings)
        self._initialise()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub for it

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, (GridConv2d, GridConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if self.settings.start == "given":
            nn.init.zeros_(self.head.weight)
            for layer in (self.attend_input, *self.attend):
                if isinstance(layer, SpatialAttention):
                    nn.init.zeros_(layer.weigh.weight)  # unscaled logits are wild at first

    def forward(
        self,
        coarse: Tensor,
        start: Tensor | None = None,
        extra: Tensor | None = None,
        *,
        cyclic: bool = False,
    ) -> Tensor:
        """Return the enlarged maps, (batch, 1, 3 rows, 3 columns).

        Parameters
        ----------
        coarse : Tensor, shape (batch, 1, row, column)
            Normalised maps without NaN.
        start : Tensor, shape (batch, 1, 3 rows, 3 columns), optional
            The enlargement to improve, normalised the same; needed with ``start="given"``.
        extra : Tensor, shape (batch, extra channels, 3 rows, 3 columns), optional
            Static maps; needed where the settings name extra channels.
        cyclic : bool
            Whether longitude closes on itself.

        Raises
        ------
        InputError
            If the shapes do not agree with each other or with the settings.
        """
        self._check(coarse, start, extra)
        settings = self.settings
        seen, unit = self._seen(coarse, start, extra, cyclic)  # (B, C, h, w), (B, 1, 3h, 3w)
        if settings.attention == "window":
            result = self._tiled(seen, settings.tile, settings.overlap, cyclic)
        else:
            result = self._whole(seen, cyclic)  # (B, 1, 3h, 3w)
        result = result if unit is None else unit * result
        return result if start is None else start + result  # (B, 1, 3h, 3w)

    def _seen(
        self, coarse: Tensor, start: Tensor | None, extra: Tensor | None, cyclic: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the network sees, (B, C, h, w), and the unit of its result, if it has one.

        All of it is made of whole maps, so that tiles agree.
        """
        on_coarse, on_fine, unit = [coarse], [start], None
        if self.settings.relative and start is not None:
            on_coarse, on_fine, unit = relative_maps(coarse, start, cyclic)
        fine = [one for one in (*on_fine, extra) if one is not None]
        parts = [functional.pixel_unshuffle(one, FACTOR) for one in fine]
        return torch.cat([*on_coarse, *parts], dim=1), unit

    def _tiled(self, seen: Tensor, tile: int, overlap: int, cyclic: bool) -> Tensor:
        """Return the result of overlapping tiles, each weighed by a ramp at its inner edges."""
        rows, columns = seen.shape[-2:]
        if rows <= tile and columns <= tile:
            return self._whole(seen, cyclic)
        around = cyclic and columns > tile
        down = _cover(rows, tile, overlap, cyclic=False)
        across = _cover(columns, tile, overlap, cyclic=around)
        total = seen.new_zeros(seen.shape[0], 1, FACTOR * rows, FACTOR * columns)
        weights = seen.new_zeros(FACTOR * rows, FACTOR * columns)
        for top, height in down:
            for left, width in across:
                taken = torch.arange(left, left + width, device=seen.device) % columns
                part = seen[:, :, top : top + height].index_select(3, taken)
                made = self._whole(part, cyclic and not around)  # (B, 1, 3 height, 3 width)
                ramp_down = _ramp(top, height, rows, overlap, cyclic=False).to(seen)
                ramp_across = _ramp(left, width, columns, overlap, cyclic=around).to(seen)
                ramp = ramp_down[:, None] * ramp_across  # (3 height, 3 width)
                band = slice(FACTOR * top, FACTOR * (top + height))
                fine = (FACTOR * taken[:, None] + torch.arange(FACTOR).to(taken)).flatten()
                total[:, :, band] = total[:, :, band].index_add(3, fine, made * ramp)
                weights[band] = weights[band].index_add(1, fine, ramp)
        return total / weights

    def _whole(self, seen: Tensor, cyclic: bool) -> Tensor:
        """Return (B, 1, 3h, 3w) of (B, C, h, w), without the given start."""
        x = self.attend_input(self.widen(seen, cyclic))  # (B, 2F, h, w)
        x = self.narrow(x, cyclic)  # (B, F, h, w)
        ups: list[Tensor] = []
        downs: list[Tensor] = []
        for stage, project_up in enumerate(self.up):
            up = project_up(x, cyclic)  # (B, F, 3h, 3w)
            if stage >= _DIRECT:
                up = up + self.weigh_up[stage - _DIRECT](ups[stage - _DIRECT])  # (B, F, 3h, 3w)
            ups.append(up)
            if stage == len(self.down):
                break
            down = self.down[stage](up, cyclic)  # (B, F, h, w)
            reference = downs[-1] if downs else x  # (B, F, h, w)
            if stage >= _DIRECT:
                reference = self.weigh_down[stage - _DIRECT](downs[stage - _DIRECT])
            x = self.attend[stage](reference, down)  # (B, F, h, w)
            downs.append(x)
        fine = self.mix_fine(self.join_fine(torch.cat(ups, dim=1)), cyclic)  # (B, F, 3h, 3w)
        lifted = self.join_coarse(torch.cat(downs, dim=1))  # (B, F, h, w)
        lifted = self.lift_coarse(lifted, cyclic)  # (B, F, 3h, 3w)
        result = at_least_single(self.head(fine + lifted, cyclic))  # (B, 1, 3h, 3w)
        if self.correct is None:
            return result
        coarse = seen[:, :1]  # (B, 1, h, w)
        result = result + enlarge(coarse, FACTOR, "bicubic", cyclic=cyclic)  # (B, 1, 3h, 3w)
        corrected: Tensor = self.correct(coarse, result, cyclic)  # (B, 1, 3h, 3w)
        return corrected

    def _check(self, coarse: Tensor, start: Tensor | None, extra: Tensor | None) -> None:
        if coarse.dim() != 4 or coarse.shape[1] != 1:
            raise InputError(
                f"maps of the shape {tuple(coarse.shape)} were given",
                hint="give (batch, 1, row, column)",
            )
        batch, _, rows, columns = coarse.shape
        wanted_start = 1 if self.settings.start == "given" else 0
        for name, one, channels in (
            ("start", start, wanted_start),
            ("extra", extra, self.settings.extra_channels),
        ):
            wanted = (batch, channels, FACTOR * rows, FACTOR * columns) if channels else None
            shape = None if one is None else tuple(one.shape)
            if shape != wanted:
                raise InputError(f"{name} has the shape {shape}", hint=f"give {wanted}")


class Activated(nn.Module):
    """A convolution, either way, and a PReLU with one slope."""

    def __init__(self, layer: GridConv2d | GridConvTranspose2d) -> None:
        super().__init__()
        self.layer = layer
        self.slope = nn.PReLU()

    def forward(self, x: Tensor, cyclic: bool = False) -> Tensor:
        """Return the activation of the convolved maps."""
        result: Tensor = self.slope(self.layer(x, cyclic=cyclic))
        return result


class UpProjection(nn.Module):
    """Enhanced up-projection: an enlargement, corrected by what its reduction does not give back.

    Liu et al. (2019), section 3.1: w₂(U₁(x)) + U₂(w₁(x) − D(U₁(x))), w pointwise.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.enlarge = _enlarging(features)
        self.reduce = _reducing(features)
        self.enlarge_rest = _enlarging(features)
        self.weigh_input = _pointwise(features, features)
        self.weigh_result = _pointwise(features, features)

    def forward(self, x: Tensor, cyclic: bool = False) -> Tensor:
        """Return (B, F, 3h, 3w) of (B, F, h, w)."""
        fine = self.enlarge(x, cyclic)  # (B, F, 3h, 3w)
        rest = self.weigh_input(x) - self.reduce(fine, cyclic)  # (B, F, h, w)
        result: Tensor = self.weigh_result(fine) + self.enlarge_rest(rest, cyclic)
        return result  # (B, F, 3h, 3w)


class DownProjection(nn.Module):
    """Enhanced down-projection: as `UpProjection`, the other way."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.reduce = _reducing(features)
        self.enlarge = _enlarging(features)
        self.reduce_rest = _reducing(features)
        self.weigh_input = _pointwise(features, features)
        self.weigh_result = _pointwise(features, features)

    def forward(self, x: Tensor, cyclic: bool = False) -> Tensor:
        """Return (B, F, h, w) of (B, F, 3h, 3w)."""
        coarse = self.reduce(x, cyclic)  # (B, F, h, w)
        rest = self.weigh_input(x) - self.enlarge(coarse, cyclic)  # (B, F, 3h, 3w)
        result: Tensor = self.weigh_result(coarse) + self.reduce_rest(rest, cyclic)
        return result  # (B, F, h, w)


class SpatialAttention(nn.Module):
    """Every node takes from all nodes of another map, by the likeness within a reference map."""

    def __init__(self, features: int, *, key_bias: bool) -> None:
        super().__init__()
        self.query = convolution(features, features, 1)
        self.key = GridConv2d(features, features, 1, bias=key_bias)
        self.value = convolution(features, features, 1)
        self.weigh = convolution(features, features, 1)

    def forward(self, reference: Tensor, x: Tensor | None = None) -> Tensor:
        """Return (B, F, h, w): `x`, the reference itself by default, plus what it takes from x."""
        x = reference if x is None else x
        taken = attend(self.query(reference), self.key(reference), self.value(x))  # (B, F, h, w)
        result: Tensor = x + self.weigh(taken)  # (B, F, h, w)
        return result


class NoAttention(nn.Module):
    """Stands where `SpatialAttention` does, for ``attention="none"``."""

    def forward(self, reference: Tensor, x: Tensor | None = None) -> Tensor:
        """Return `x`, the reference itself by default."""
        return reference if x is None else x


class FinalCorrection(nn.Module):
    """Adds an enlargement of what the result does not reproduce of the input."""

    def __init__(self, features: int, settings: AbpnSettings) -> None:
        super().__init__()
        self.widen = Activated(convolution(1, 2 * features))
        self.attend = _attention(2 * features, settings)
        self.narrow = convolution(2 * features, 1)

    def forward(self, coarse: Tensor, fine: Tensor, cyclic: bool) -> Tensor:
        """Return (B, 1, 3h, 3w); the middle fine node stands for a coarse one, as published."""
        rest = coarse - fine[..., 1::FACTOR, 1::FACTOR]  # (B, 1, h, w)
        rest = self.narrow(self.attend(self.widen(rest, cyclic)), cyclic)  # (B, 1, h, w)
        return fine + enlarge(rest, FACTOR, "bicubic", cyclic=cyclic)  # (B, 1, 3h, 3w)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return Σⱼ softmaxⱼ(queryᵢ · keyⱼ) valueⱼ for every node i, without a scale.

    Liu et al. (2019), section 3.2, softmax(K Qᵀ) V, with our query for their K. All arguments
    are (batch, channel, row, column); the logits are in float32 at least.
    """
    batch, channels, rows, columns = value.shape
    precision = torch.promote_types(value.dtype, torch.float32)
    with torch.autocast(value.device.type, enabled=False):
        i, j, v = (
            one.to(precision).flatten(2).transpose(1, 2).contiguous().unsqueeze(1)
            for one in (query, key, value)
        )  # 3 × (B, 1, h·w, C)
        taken = functional.scaled_dot_product_attention(i, j, v, scale=1.0)  # (B, 1, h·w, C)
    taken = taken.to(value.dtype).view(batch, rows, columns, channels)
    return taken.permute(0, 3, 1, 2)  # (B, C, h, w)


def relative_maps(
    coarse: Tensor, start: Tensor, cyclic: bool
) -> tuple[list[Tensor], list[Tensor | None], Tensor]:
    """Return what is seen of (B, 1, h, w) and of (B, 1, 3h, 3w), and the contrast on the latter.

    The error of an enlargement goes with the contrast about a node, not with the level: were maps
    shifted and scaled, the best result would be too. Both are told besides, as unresolved detail
    depends on how large contrast is beside the level.
    """
    mean = box_mean(coarse, _CONTRAST_NODES, cyclic=cyclic)  # (B, 1, h, w)
    level = box_mean(coarse.abs(), _LEVEL_NODES, cyclic=cyclic) + _LEVEL_FLOOR  # (B, 1, h, w)
    contrast = box_mean((coarse - mean).abs(), _CONTRAST_NODES, cyclic=cyclic)  # (B, 1, h, w)
    contrast = contrast + _LEAST_CONTRAST * level  # (B, 1, h, w)
    fine_mean, unit = (
        enlarge(one, FACTOR, "bilinear", cyclic=cyclic) for one in (mean, contrast)
    )  # 2 × (B, 1, 3h, 3w)
    detail = start - box_mean(start, _DETAIL_NODES, cyclic=cyclic)  # (B, 1, 3h, 3w)
    on_coarse = [
        torch.asinh((coarse - mean) / contrast),
        torch.log((coarse / level).clamp_min(_LEAST_SHARE)),
        torch.log(contrast / level) - _USUAL_CONTRAST,
    ]
    on_fine: list[Tensor | None]
    on_fine = [torch.asinh((start - fine_mean) / unit), torch.asinh(_DETAIL_GAIN * detail / unit)]
    return on_coarse, on_fine, unit


def _attention(features: int, settings: AbpnSettings) -> nn.Module:
    if settings.attention == "none":
        return NoAttention()
    return SpatialAttention(features, key_bias=settings.key_bias)


def _enlarging(features: int) -> Activated:
    return Activated(GridConvTranspose2d(features, features, _KERNEL, FACTOR, 1))


def _reducing(features: int) -> Activated:
    return Activated(GridConv2d(features, features, _KERNEL, FACTOR, 1))


def _pointwise(inputs: int, outputs: int) -> Activated:
    return Activated(convolution(inputs, outputs, 1))


def _cover(size: int, tile: int, overlap: int, *, cyclic: bool) -> list[tuple[int, int]]:
    """Return beginnings and lengths of tiles that cover `size` nodes, evenly spread."""
    if size <= tile:
        return [(0, size)]
    if cyclic:
        count = -(-size // (tile - overlap))
        return [(size * one // count, tile) for one in range(count)]
    count = -(-(size - overlap) // (tile - overlap))
    return [((size - tile) * one // (count - 1), tile) for one in range(count)]


def _ramp(begin: int, length: int, size: int, overlap: int, *, cyclic: bool) -> Tensor:
    """Return the weights of a tile's fine nodes: 1 inside, falling over the overlap.

    The outer quarter of the overlap, which sees the edge of the tile, counts for nothing. An edge
    of the map itself is not an edge of the tile.
    """
    place = torch.arange(FACTOR * length, dtype=torch.float64) + 0.5
    from_edge = torch.full_like(place, torch.inf)
    if cyclic or begin > 0:
        from_edge = place
    if cyclic or begin + length < size:
        from_edge = torch.minimum(from_edge, FACTOR * length - place)
    unseen = FACTOR * overlap // 4
    return ((from_edge - unseen) / max(FACTOR * overlap - 2 * unseen, 1)).clamp(0.0, 1.0)
