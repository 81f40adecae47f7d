"""XVFI: the maps between two maps, by the motion between them.

Sim, Oh and Kim (2021), "XVFI: eXtreme Video Frame Interpolation",
doi:10.1109/ICCV48922.2021.01422, for one channel, in two forms that share the frame of the paper
(pyramid with shared weights, flows to t, warping, refinement, blending by its equation 3):

- `initial_flow="none"`, as published: features, flows between the maps (BiFlowNet) from coarse to
  fine, complementary flow reversal, flows to t (TFlowNet), warping, a U-Net for the occlusion mask
  and a residual.
- `initial_flow="dis"`: the flows between the maps are given, dense inverse search by default; one
  U-Net, applied from the coarsest scale to the finest, corrects the flows to t and the mask. Its
  heads begin at zero, so that an untrained network is the interpolation by the given flows; at
  t = 0 and t = 1 it returns the given maps, whatever its weights. It sees the maps relative to
  their local mean, and what is small among them (details, differences between ways to
  interpolate) enlarged: what is left to correct is some percent of the maps. Maps times a factor
  give the result times the factor, so that clean air is as well served as smoke. Beside it a
  perceptron of each node (`InPlace`) finds what changes in its place while the sun moves on.

Any size is padded inside to multiples of `XvfiSettings.total_stride`: see `grid.Padding`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepcams_eval.errors import InputError
from deepcams_models.grid import (
    GridConv2d,
    Padding,
    at_least_single,
    box_mean,
    convolution,
    double_and_convolve,
    enlarge,
    reduce_bicubic,
)
from deepcams_models.networks import NetworkSettings
from deepcams_models.warping import Kernel, backward_warp, blend, intermediate_flows, reverse_flows

Flows = tuple[Tensor, Tensor]
_MotionScale = tuple[Flows, Flows, Flows, Flows]
_CorrectionScale = tuple[Flows, Flows, Tensor, Tensor | None]

FEATURE_STRIDE = 4
"""Grid steps between the features of the published form, at each scale."""

_UNET_STRIDE = 4
_KNOWN = 18  # maps that the U-Net of the corrections sees, without those of the sun
_FLOW_UNIT = 4.0  # grid steps: flows enter the U-Net of the corrections near unit size
_LEVEL_NODES = 17  # edge of the box whose mean is the local level
_LEVEL_FLOOR = 1e-5  # normalised units: far below any air, but an empty map is no division by 0
_DETAIL_GAIN = 15.0
_DETAIL_NODES = 3
_FLOW_STEP, _LOGIT_STEP, _RESIDUAL_STEP = 0.2, 0.3, 0.04
"""What an output of 1 means: grid steps, logit, and share of the local level. Without these the
noise of the first updates is larger than what there is to learn."""
_IN_PLACE_STEP = 0.2  # share of the local level: with less it learns too slowly
_IN_PLACE_KNOWN = 10  # what a change in place is read from at each node, without the sun
_IN_PLACE_NODES = 5  # edge of a box that a change is averaged over
_LEAST_SHARE = 0.02  # of the local level, below which logarithms end
_LOGIT_BOUND = 6.0  # no map is left out altogether: alone at its own time, it would be 0/0
_GATE_PEAK = 4.0  # 4 t (1 − t) is 1 half way


_PUBLISHED = {
    **{"initial_flow": "none", "kernel": "bilinear", "residual": "free"},
    **{"sun": False, "in_place": 0},
}
_CORRECTING = {
    **{"initial_flow": "dis", "kernel": "cubic", "residual": "gated"},
    **{"sun": True, "in_place": 48},
}


@dataclass(frozen=True)
class XvfiSettings(NetworkSettings):
    """What an XVFI is made of.

    Attributes
    ----------
    channels : int
        Feature channels at the finest level.
    scales : int
        Coarsest scale S of the pyramid: maps of 1/2^S, …, 1/2, 1.
    initial_flow : {"none", "dis"}
        Whether the flows between the maps are found by the network or given.
    kernel : {"bilinear", "cubic"}
        Sampling of the warped maps. Features are always sampled bilinearly.
    residual : {"free", "gated", "none"}
        Whether something that is not motion is added: as it is, times 4t(1−t), or not at all.
    sun : bool
        Whether the network sees where the sun stands, which tells of changes in place between
        the maps: the layer that surface air is mixed in grows after sunrise. Only with "dis".
    in_place : int
        Channels of what finds changes in place from each node alone, 0 for none; see `InPlace`.
        It is part of the residual: without one, it is left out. Only with "dis".
    """

    channels: int
    scales: int
    initial_flow: Literal["none", "dis"]
    kernel: Kernel
    residual: Literal["free", "gated", "none"]
    sun: bool
    in_place: int

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"channels": 32, "scales": 5, **_PUBLISHED},
        "released": {"channels": 64, "scales": 1, **_PUBLISHED},
        "recommended": {"channels": 24, "scales": 2, **_CORRECTING},
        "small": {"channels": 12, "scales": 2, **_CORRECTING},
    }
    training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {"steps": 2400, "lr": 3e-3, "batch": 4, "crop": 72, "squared_share": 0.5},
        "small": {"steps": 1200},
        "paper": {"loss": "published", "lr": 1e-4, "squared_share": 0.0},
        "released": {"loss": "published", "lr": 1e-4, "squared_share": 0.0},
    }

    def __post_init__(self) -> None:
        finds = self.initial_flow == "none"
        size = f"{self.channels} channels"
        if self.channels < 1 or self.scales < 0:
            raise InputError(
                f"{size} and {self.scales} scales make no network",
                hint="at least 1 channel, and scales from 0 on",
            )
        if finds and self.channels * 4 % FEATURE_STRIDE**2:
            raise InputError(f"{size} do not shuffle into maps", hint="use a multiple of 4")
        if finds and self.sun:
            raise InputError(
                "the published form does not see the sun", hint="use sun=False, or 'dis'"
            )
        if self.in_place < 0 or (finds and self.in_place > 0):
            raise InputError(
                f"{self.in_place} channels in place do not go with initial_flow"
                f" {self.initial_flow!r}",
                hint="use in_place=0, or a positive number with 'dis'",
            )

    @property
    def total_stride(self) -> int:
        """Rows and columns are padded to multiples of this."""
        finest = _UNET_STRIDE * (FEATURE_STRIDE if self.initial_flow == "none" else 1)
        return finest * int(2**self.scales)


@dataclass(frozen=True, eq=False)
class XvfiOutput:
    """What a call returns. Maps are (batch, 1, row, column), flows (batch, 2, row, column).

    Attributes
    ----------
    frame : Tensor
        The map at t.
    flow_t0, flow_t1 : Tensor
        Flows from t to the first and the last map, grid steps, column component first.
    mask : Tensor
        Occlusion mask m of equation 3: 1 takes all from the first map.
    scales : tuple of Tensor
        The map at t at 1, 1/2, …, 1/2^S of the resolution, for a loss against `pyramid` of the
        truth; only the first where the coarser ones were not asked for.
    """

    frame: Tensor
    flow_t0: Tensor
    flow_t1: Tensor
    mask: Tensor
    scales: tuple[Tensor, ...] = ()


def pyramid(maps: Tensor, scales: int, *, cyclic: bool) -> list[Tensor]:
    """Return maps at 1, 1/2, …, 1/2^scales of the resolution: bicubic, without antialiasing.

    Rows and columns that a scale does not divide are left out at its end.
    """
    result = []
    for scale in range(scales + 1):
        factor = 2**scale
        rows, columns = (size // factor * factor for size in maps.shape[-2:])
        result.append(reduce_bicubic(maps[..., :rows, :columns], factor, cyclic=cyclic))
    return result


class XVFI(nn.Module):
    """Interpolates between two maps in time.

    Weights are kept in the channels-last layout, which convolutions on a CPU want.
    """

    Settings = XvfiSettings

    def __init__(self, settings: XvfiSettings) -> None:
        super().__init__()
        self.settings = settings
        self.network: MotionNetwork | CorrectionNetwork
        if settings.initial_flow == "none":
            self.network = MotionNetwork(settings)
        else:
            self.network = CorrectionNetwork(settings)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub for it

    def forward(
        self,
        first: Tensor,
        last: Tensor,
        t: Tensor | float,
        *,
        flows: Flows | None = None,
        sun: Tensor | None = None,
        cyclic: bool = False,
        every_scale: bool | None = None,
    ) -> XvfiOutput:
        """Return the map at t, and how it came about.

        Parameters
        ----------
        first, last : Tensor, shape (batch, 1, row, column)
            Normalised maps without NaN, any size.
        t : Tensor of shape (batch,), or float
            In (0, 1).
        flows : pair of Tensor, shape (batch, 2, row, column), optional
            F01 and F10 in grid steps, column component first; needed with ``initial_flow="dis"``.
        sun : Tensor, shape (batch, 2, row, column), optional
            Cosine of the solar zenith angle at the times of both maps
            (`deepcams_eval.core.solar`); needed where the settings say so.
        cyclic : bool
            Whether longitude closes on itself.
        every_scale : bool, optional
            Whether to make the map at the coarser scales too; by default while training.

        Raises
        ------
        InputError
            If the shapes do not agree, or flows or sun are absent or not wanted.
        """
        padding, scales = self._prepare(first, last, flows, sun, cyclic)
        times = torch.as_tensor(t, dtype=first.dtype, device=first.device).reshape(-1, 1, 1, 1)
        wanted = self.training if every_scale is None else every_scale
        levels = self.network.at(scales, times, cyclic=cyclic, every_scale=wanted)
        finest = levels[0]
        return XvfiOutput(
            frame=padding.crop(finest.frame),  # (B, 1, H, W)
            flow_t0=padding.crop(finest.flow_t0),  # (B, 2, H, W)
            flow_t1=padding.crop(finest.flow_t1),  # (B, 2, H, W)
            mask=padding.crop(finest.mask),  # (B, 1, H, W)
            scales=tuple(  # (B, 1, H/2^s, W/2^s)
                padding.crop(level.frame, 2**scale) for scale, level in enumerate(levels)
            ),
        )

    @torch.no_grad()
    def interpolate(
        self,
        first: Tensor,
        last: Tensor,
        times: Sequence[float],
        *,
        flows: Flows | None = None,
        sun: Tensor | None = None,
        cyclic: bool = False,
    ) -> Tensor:
        """Return the maps at several times, (batch, time, row, column), without gradients.

        What does not depend on t is done once. Parameters as in `forward`.
        """
        padding, scales = self._prepare(first, last, flows, sun, cyclic)
        frames = []
        for t in times:
            at = first.new_full((1, 1, 1, 1), t)
            level = self.network.at(scales, at, cyclic=cyclic, every_scale=False)[0]
            frames.append(padding.crop(level.frame))  # (B, 1, H, W)
        return torch.cat(frames, dim=1)  # (B, T, H, W)

    def _prepare(
        self, first: Tensor, last: Tensor, flows: Flows | None, sun: Tensor | None, cyclic: bool
    ) -> tuple[Padding, list[Any]]:
        """Return the padding, and what does not depend on t: an entry a scale, finest first."""
        self._check(first, last, flows, sun)
        settings = self.settings
        padding = Padding.to_multiple(
            first, settings.total_stride, align=2**settings.scales, cyclic=cyclic
        )
        maps = padding.pad(first), padding.pad(last)
        if isinstance(self.network, MotionNetwork):
            return padding, self.network.prepare(*maps, cyclic=cyclic)
        assert flows is not None  # checked
        padded = padding.pad(flows[0]), padding.pad(flows[1])
        shines = None if sun is None else padding.pad(sun)
        return padding, self.network.prepare(*maps, padded, shines, cyclic=cyclic)

    def _check(self, first: Tensor, last: Tensor, flows: Flows | None, sun: Tensor | None) -> None:
        if first.dim() != 4 or first.shape[1] != 1 or first.shape != last.shape:
            raise InputError(
                f"maps of the shapes {tuple(first.shape)} and {tuple(last.shape)} were given",
                hint="give two of (batch, 1, row, column)",
            )
        form, sees = self.settings.initial_flow, self.settings.sun
        if (flows is not None) != (form == "dis"):
            raise InputError(
                f"flows are {_state(flows)} with initial_flow={form!r}",
                hint="give flows=(F01, F10) with 'dis' and only then",
            )
        if (sun is not None) != sees:
            raise InputError(
                f"where the sun stands is {_state(sun)} with sun={sees}",
                hint="give sun=cosine_of_zenith(…) with sun=True and only then",
            )
        shape = (first.shape[0], 2, *first.shape[2:])
        for name, one in (("sun", sun), *(("a flow", flow) for flow in flows or ())):
            if one is not None and tuple(one.shape) != shape:
                raise InputError(f"{name} has the shape {tuple(one.shape)}", hint=f"give {shape}")


def _state(given: object) -> str:
    return "absent" if given is None else "given"


class MotionNetwork(nn.Module):
    """The published form: finds the flows itself."""

    def __init__(self, settings: XvfiSettings) -> None:
        super().__init__()
        channels = settings.channels
        self.settings = settings
        self.features = FeatureExtractor(channels)
        self.coarsest_flow = Hourglass(2 * channels, channels, 6)
        if settings.scales:
            self.reduce_features = convolution(channels, channels, 3, stride=2)
            self.match = convolution(2 * channels, channels)
            self.finer_flow = Hourglass(2 * channels + 4, channels, 6)
        self.join = convolution(4 * channels + 4, channels, 1)
        self.flow_to_t = Hourglass(channels, channels, 4)
        self.refine = RefinementUNet(channels, residual=settings.residual != "none")

    def prepare(self, first: Tensor, last: Tensor, *, cyclic: bool) -> list[_MotionScale]:
        """Return maps, flows between them, features and reliability, at each scale."""
        scales = self.settings.scales
        both = torch.cat([first, last])  # (2B, 1, H, W)
        maps = [_halves(one) for one in pyramid(both, scales, cyclic=cyclic)]
        features = [self.features(both, cyclic)]  # (2B, C, H/4, W/4)
        for _ in range(scales):
            reduced = self.reduce_features(features[-1], cyclic)  # (2B, C, H/8, W/8), …
            features.append(at_least_single(reduced))
        found: list[_MotionScale] = []
        estimate: Tensor | None = None
        for pair, seen in zip(reversed(maps), reversed(features), strict=True):
            estimate, weight = self._flows(seen, estimate, cyclic)
            flows = estimate[:, :2], estimate[:, 2:]  # 2 × (B, 2, H/4, W/4)
            reliability = weight[:, :1], weight[:, 1:]  # 2 × (B, 1, H/4, W/4)
            found.insert(0, (pair, flows, _halves(seen), reliability))
        return found

    def _flows(
        self, features: Tensor, coarser: Tensor | None, cyclic: bool
    ) -> tuple[Tensor, Tensor]:
        """BiFlowNet: F01 and F10 together (B, 4, h, w), and their reliability (B, 2, h, w)."""
        early, late = _halves(features)  # 2 × (B, C, h, w)
        if coarser is None:
            raw = self.coarsest_flow(torch.cat([early, late], dim=1), cyclic)  # (B, 6, h, w)
            return raw[:, :4], torch.sigmoid(raw[:, 4:])
        # Each scale learns from its own loss; the coarser estimate is a given to the finer one.
        start = 2 * enlarge(coarser.detach(), 2, "bilinear", cyclic=cyclic)  # (B, 4, h, w)
        across = torch.cat([start[:, :2], start[:, 2:]])  # (2B, 2, h, w)
        other = backward_warp(torch.cat([late, early]), across, cyclic=cyclic)  # (2B, C, h, w)
        matched = self.match(torch.cat([features, other], dim=1), cyclic)  # (2B, C, h, w)
        known = torch.cat([*_halves(matched), start], dim=1)  # (B, 2C+4, h, w)
        raw = self.finer_flow(known, cyclic)  # (B, 6, h, w)
        return raw[:, :4] + start, torch.sigmoid(raw[:, 4:])

    def at(
        self, scales: list[_MotionScale], t: Tensor, *, cyclic: bool, every_scale: bool
    ) -> list[XvfiOutput]:
        """Return the map at t at the finest scale, or at every one, finest first."""
        return [self._level(one, t, cyclic) for one in (scales if every_scale else scales[:1])]

    def _level(self, scale: _MotionScale, t: Tensor, cyclic: bool) -> XvfiOutput:
        maps, between, features, reliability = scale
        reversed_flows = reverse_flows(*between, reliability, t, cyclic=cyclic)
        flows = torch.cat(reversed_flows, dim=1)  # (B, 4, h, w)
        early, late = features  # 2 × (B, C, h, w)
        warped = _warped(features, flows, cyclic)  # 2 × (B, C, h, w)
        joined = torch.relu_(self.join(torch.cat([early, *warped, late, flows], dim=1), cyclic))
        flows = self.flow_to_t(joined, cyclic) + flows  # (B, 4, h, w)
        warped = _warped(features, flows, cyclic)  # 2 × (B, C, h, w)
        flows = FEATURE_STRIDE * enlarge(flows, FEATURE_STRIDE, "bilinear", cyclic=cyclic)
        moved = _warped(maps, flows, cyclic, self.settings.kernel)  # 2 × (B, 1, H, W)
        shuffled = functional.pixel_shuffle(
            torch.cat([*features, *warped], dim=1), FEATURE_STRIDE
        )  # (B, C/4, H, W)
        known = torch.cat([shuffled, *maps, *moved, flows], dim=1)  # (B, C/4 + 8, H, W)
        refined = self.refine(known, cyclic)  # (B, 2, H, W)
        mask = torch.sigmoid(refined[:, :1])  # (B, 1, H, W)
        frame = blend(*moved, mask, t)  # (B, 1, H, W)
        frame = _with_residual(frame, refined[:, 1:], t, self.settings)  # (B, 1, H, W)
        return XvfiOutput(frame, flows[:, :2], flows[:, 2:], mask)


class CorrectionNetwork(nn.Module):
    """Corrects given flows, from the coarsest scale to the finest, by one U-Net."""

    def __init__(self, settings: XvfiSettings) -> None:
        super().__init__()
        self.settings = settings
        outputs = 5 if settings.residual == "none" else 6
        steps = [_FLOW_STEP] * 4 + [_LOGIT_STEP, _RESIDUAL_STEP]
        self.steps: Tensor
        self.register_buffer(
            "steps", torch.tensor(steps[:outputs]).view(1, -1, 1, 1), persistent=False
        )
        self.correct = CorrectionUNet(_KNOWN + 2 * settings.sun, settings.channels, outputs)
        changes = settings.in_place if settings.residual != "none" else 0
        self.in_place = InPlace(changes, sun=settings.sun) if changes else None

    def prepare(
        self, first: Tensor, last: Tensor, flows: Flows, sun: Tensor | None, *, cyclic: bool
    ) -> list[_CorrectionScale]:
        """Return maps, given flows, local level and where the sun stands, at each scale."""
        both = torch.cat([first, last])  # (2B, 1, H, W)
        given = torch.cat(flows)  # (2B, 2, H, W)
        found: list[_CorrectionScale] = []
        for scale, maps in enumerate(pyramid(both, self.settings.scales, cyclic=cyclic)):
            pair = _halves(maps)  # 2 × (B, 1, H/2^s, W/2^s)
            reduced = functional.avg_pool2d(given, 2**scale) / 2**scale  # (2B, 2, H/2^s, W/2^s)
            shines = None if sun is None else functional.avg_pool2d(sun, 2**scale)
            found.append((pair, _halves(reduced), _local_level(*pair, cyclic), shines))
        return found

    def at(
        self, scales: list[_CorrectionScale], t: Tensor, *, cyclic: bool, every_scale: bool
    ) -> list[XvfiOutput]:
        """Return the map at t at the finest scale, or at every one, finest first."""
        levels: list[XvfiOutput] = []
        found: Tensor | None = None  # corrections of both flows, and the logit of the mask
        for one in reversed(scales):
            wanted = every_scale or one is scales[0]
            level, found = self._level(one, found, t, cyclic, in_place=wanted)
            levels.insert(0, level)
        return levels if every_scale else levels[:1]

    def _level(
        self,
        scale: _CorrectionScale,
        coarser: Tensor | None,
        t: Tensor,
        cyclic: bool,
        *,
        in_place: bool,
    ) -> tuple[XvfiOutput, Tensor]:
        maps, between, level, sun = scale
        start = torch.cat(intermediate_flows(*between, t), dim=1)  # (B, 4, H, W)
        found = start.new_zeros(start.shape[0], 5, *start.shape[2:])  # (B, 5, H, W)
        if coarser is not None:
            found = enlarge(coarser, 2, "bilinear", cyclic=cyclic)  # (B, 5, H, W)
            found = torch.cat([2 * found[:, :4], found[:, 4:]], dim=1)  # (B, 5, H, W)
        flows = start + _vanishing(found[:, :4], t)  # (B, 4, H, W)
        known = self._known(maps, flows, level, t, cyclic)  # 12 of 18 channels
        seen = torch.cat(
            [
                *(*known, flows / _FLOW_UNIT, found[:, 4:], t.expand_as(level) - 0.5),
                *([] if sun is None else [sun]),
            ],
            dim=1,
        )  # (B, 18 or 20, H, W)
        raw = self.correct(seen, cyclic) * self.steps  # (B, 5 or 6, H, W)
        found = found + raw[:, :5]  # (B, 5, H, W)
        flows = start + _vanishing(found[:, :4], t)  # (B, 4, H, W)
        moved = _warped(maps, flows, cyclic, self.settings.kernel)  # 2 × (B, 1, H, W)
        logit = _LOGIT_BOUND * torch.tanh(found[:, 4:] / _LOGIT_BOUND)  # (B, 1, H, W)
        mask = torch.sigmoid(logit)  # (B, 1, H, W)
        frame = blend(*moved, mask, t)  # (B, 1, H, W)
        residual = raw[:, 5:]  # (B, 1 or 0, H, W)
        if self.in_place is not None and in_place:
            residual = residual + self.in_place((*maps, *moved), level, sun, t, cyclic)
        frame = _with_residual(frame, level * residual, t, self.settings)  # (B, 1, H, W)
        return XvfiOutput(frame, flows[:, :2], flows[:, 2:], mask), found

    def _known(
        self, maps: Flows, flows: Tensor, level: Tensor, t: Tensor, cyclic: bool
    ) -> list[Tensor]:
        """Return what the U-Net sees of the maps, the same for maps times any factor."""
        first, last = maps  # 2 × (B, 1, H, W)
        warped = _warped(maps, flows, cyclic, self.settings.kernel)  # 2 × (B, 1, H, W)
        from_first, from_last = warped
        linear = (1 - t) * first + t * last  # (B, 1, H, W)
        moved = (1 - t) * from_first + t * from_last - linear  # (B, 1, H, W)
        sharp = torch.cat([*warped, *maps, moved], dim=1)  # (B, 5, H, W)
        details = sharp - box_mean(sharp, _DETAIL_NODES, cyclic=cyclic)  # (B, 5, H, W)
        small = torch.cat([details, moved, from_first - from_last], dim=1)  # (B, 7, H, W)
        return [
            *(torch.asinh(one / level - 1) for one in (*maps, *warped)),
            torch.asinh(3 * (first - last) / level),
            torch.asinh(_DETAIL_GAIN * small / level),
        ]


class FeatureExtractor(nn.Module):
    """Features at a quarter of the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convert = convolution(1, channels)
        self.reduce = convolution(channels, channels, 3, stride=2)  # used twice, as published
        self.mix = convolution(channels, channels)
        self.residuals = nn.ModuleList(convolution(channels, channels) for _ in range(4))

    def forward(self, maps: Tensor, cyclic: bool) -> Tensor:
        """Return (B, C, H/4, W/4) of (B, 1, H, W)."""
        x = _chain((self.convert, self.reduce, self.reduce), maps, cyclic)  # (B, C, H/4, W/4)
        mixed: Tensor = self.mix(x, cyclic)  # (B, C, H/4, W/4)
        x = mixed
        for inner, outer in (self.residuals[:2], self.residuals[2:]):
            x = x + outer(torch.relu_(inner(x, cyclic)), cyclic)  # (B, C, H/4, W/4)
        return at_least_single(x + mixed)  # (B, C, H/4, W/4)


class Hourglass(nn.Module):
    """Two halvings and two doublings: BiFlowNet, and TFlowNet behind its first layer."""

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.reduce = convolution(inputs, 2 * channels, 4, stride=2)
        self.reduce_again = convolution(2 * channels, 4 * channels, 4, stride=2)
        self.widen = convolution(4 * channels, 2 * channels)
        self.widen_again = convolution(2 * channels, channels)
        self.head = convolution(channels, outputs)

    def forward(self, known: Tensor, cyclic: bool) -> Tensor:
        """Return (B, outputs, h, w) of (B, inputs, h, w)."""
        x = _chain((self.reduce, self.reduce_again), known, cyclic)  # (B, 4C, h/4, w/4)
        x = torch.relu_(double_and_convolve(self.widen, x, cyclic))  # (B, 2C, h/2, w/2)
        x = torch.relu_(double_and_convolve(self.widen_again, x, cyclic))  # (B, C, h, w)
        return at_least_single(self.head(x, cyclic))  # (B, outputs, h, w)


class RefinementUNet(nn.Module):
    """The published refinement: three halvings, logit of the mask and residual."""

    def __init__(self, channels: int, *, residual: bool) -> None:
        super().__init__()
        inputs = 4 * channels // FEATURE_STRIDE**2 + 8
        widths = [inputs, channels, 2 * channels, 4 * channels]
        self.reduce = nn.ModuleList(
            convolution(*each, 4, stride=2) for each in itertools.pairwise(widths)
        )
        self.bottom = convolution(4 * channels, 4 * channels)
        self.widen = convolution(6 * channels, 2 * channels)
        self.widen_again = convolution(3 * channels, channels)
        self.head = convolution(channels, 2 if residual else 1)

    def forward(self, known: Tensor, cyclic: bool) -> Tensor:
        """Return (B, 1 or 2, H, W) of (B, C/4 + 8, H, W)."""
        half = _chain(self.reduce[:1], known, cyclic)  # (B, C, H/2, W/2)
        quarter = _chain(self.reduce[1:2], half, cyclic)  # (B, 2C, H/4, W/4)
        x = _chain((self.reduce[2], self.bottom), quarter, cyclic)  # (B, 4C, H/8, W/8)
        x = torch.relu_(double_and_convolve(self.widen, x, cyclic, quarter))
        x = torch.relu_(double_and_convolve(self.widen_again, x, cyclic, half))
        return at_least_single(double_and_convolve(self.head, x, cyclic))  # (B, 1 or 2, H, W)


class CorrectionUNet(nn.Module):
    """Convolutions at the full, half and quarter resolution, and one from the input to the output.

    Both heads begin at zero.
    """

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        c = channels
        self.at_full = nn.ModuleList([convolution(inputs, c), convolution(c, c)])
        self.at_half = nn.ModuleList(
            [convolution(c, 2 * c, 4, stride=2), convolution(2 * c, 2 * c)]
        )
        self.at_quarter = nn.ModuleList(
            [convolution(2 * c, 4 * c, 4, stride=2)] + [convolution(4 * c, 4 * c) for _ in range(2)]
        )
        self.to_half, self.mix_half = convolution(6 * c, 2 * c), convolution(2 * c, 2 * c)
        self.to_full, self.mix_full = convolution(3 * c, c), convolution(c, c)
        self.head = convolution(c, outputs)
        self.direct = GridConv2d(inputs, outputs, 5, 1, 2, bias=False)
        for values in (*self.head.parameters(), self.direct.weight):
            nn.init.zeros_(values)

    def forward(self, known: Tensor, cyclic: bool) -> Tensor:
        """Return (B, outputs, H, W) of (B, inputs, H, W)."""
        full = _chain(self.at_full, known, cyclic)  # (B, C, H, W)
        half = _chain(self.at_half, full, cyclic)  # (B, 2C, H/2, W/2)
        x = _chain(self.at_quarter, half, cyclic)  # (B, 4C, H/4, W/4)
        x = torch.relu_(double_and_convolve(self.to_half, x, cyclic, half))
        x = torch.relu_(self.mix_half(x, cyclic))  # (B, 2C, H/2, W/2)
        x = torch.relu_(double_and_convolve(self.to_full, x, cyclic, full))
        x = torch.relu_(self.mix_full(x, cyclic))  # (B, C, H, W)
        result: Tensor = self.head(x, cyclic) + self.direct(known, cyclic)  # (B, outputs, H, W)
        return at_least_single(result)


class InPlace(nn.Module):
    """Changes in place: a perceptron of each node, of the air about it and where the sun stands.

    Air is diluted while the mixed layer grows and gathers in the evening: between two maps that is
    no straight line in time. It is a function of few numbers, some of which hardly differ within a
    map; the U-Net, made for textures, does not find it. The head begins at zero.
    """

    def __init__(self, channels: int, *, sun: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [GridConv2d(_IN_PLACE_KNOWN + 2 * sun, channels, 1, 1, 0)]
            + [GridConv2d(channels, channels, 1, 1, 0) for _ in range(2)]
        )
        self.head = GridConv2d(channels, 1, 1, 1, 0)
        for values in self.head.parameters():
            nn.init.zeros_(values)

    def forward(
        self, maps: Sequence[Tensor], level: Tensor, sun: Tensor | None, t: Tensor, cyclic: bool
    ) -> Tensor:
        """Return the change that comes on top at t, in shares of the level, (B, 1, H, W).

        `maps` are the first and the last, as they are and moved to t.
        """
        first, last, from_first, from_last = maps  # 4 × (B, 1, H, W)
        change = from_last - from_first  # (B, 1, H, W)
        moved = (1 - t) * (first - from_first) + t * (last - from_last)  # (B, 1, H, W)
        between = (1 - t) * from_first + t * from_last  # (B, 1, H, W)
        detail = between - box_mean(between, _DETAIL_NODES, cyclic=cyclic)  # (B, 1, H, W)
        known = torch.cat(
            [
                *(torch.log((one / level).clamp_min(_LEAST_SHARE)) for one in maps),
                torch.asinh(3 * change / level),
                torch.asinh(3 * box_mean(change, _IN_PLACE_NODES, cyclic=cyclic) / level),
                torch.asinh(3 * (last - first) / level),
                torch.asinh(_DETAIL_GAIN * moved / level),
                torch.asinh(_DETAIL_GAIN * detail / level),
                t.expand_as(first) - 0.5,
                *([] if sun is None else [sun]),
            ],
            dim=1,
        )  # (B, 10 or 12, H, W)
        result: Tensor = self.head(_chain(self.layers, known, cyclic), cyclic)  # (B, 1, H, W)
        return _IN_PLACE_STEP * at_least_single(result)


def _warped(pair: Flows, flows: Tensor, cyclic: bool, kernel: Kernel = "bilinear") -> Flows:
    """Return the first of two maps moved along F_t0, and the last along F_t1."""
    along = torch.cat([flows[:, :2], flows[:, 2:]])  # (2B, 2, H, W)
    return _halves(backward_warp(torch.cat(pair), along, kernel=kernel, cyclic=cyclic))


def _chain(layers: Iterable[nn.Module], x: Tensor, cyclic: bool) -> Tensor:
    for layer in layers:
        x = torch.relu_(layer(x, cyclic))
    return x


def _halves(both: Tensor) -> tuple[Tensor, Tensor]:
    early, late = both.chunk(2)
    return early, late


def _local_level(first: Tensor, last: Tensor, cyclic: bool) -> Tensor:
    """Return the mean of both maps over a box about each node, always positive."""
    size = (first.abs() + last.abs()) / 2
    return box_mean(size, _LEVEL_NODES, cyclic=cyclic) + _LEVEL_FLOOR


def _vanishing(corrections: Tensor, t: Tensor) -> Tensor:
    """Return corrections of F_t0 times t and of F_t1 times 1 − t: none at the map's own time."""
    return torch.cat([t * corrections[:, :2], (1 - t) * corrections[:, 2:]], dim=1)


def _with_residual(frame: Tensor, residual: Tensor, t: Tensor, settings: XvfiSettings) -> Tensor:
    if settings.residual == "none":
        return frame
    if settings.residual == "gated":
        return frame + _GATE_PEAK * t * (1 - t) * residual
    return frame + residual
