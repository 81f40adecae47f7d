"""A network on held-out maps, beside what needs no learning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from warnings import warn

import numpy as np
import torch
from torch import Tensor, nn

from deepcams_eval.downscale import temporal
from deepcams_eval.downscale.flow import OpticalFlow
from deepcams_eval.downscale.temporal import IntervalMethod, Linear, LinearAsPrinted
from deepcams_eval.errors import DeepcamsWarning
from deepcams_models.data import (
    STEP_H,
    Enlargement,
    Enlargements,
    Interval,
    Intervals,
    Map,
    stacked,
)
from deepcams_models.normalise import Normalisation

PEAK = 255.0
"""µg m⁻³ that PSNR is relative to."""

COLLAPSE_DB = 0.02
"""A network this near to plain interpolation has learned to do nothing else."""

COLLAPSE_STEPS = 0.01
"""Mean length of the flow, grid steps, below which nothing moves."""


@dataclass(frozen=True)
class Scores:
    """Means over maps of the scores of each map, all cells alike.

    Attributes
    ----------
    rmse, mae : float
        µg m⁻³.
    psnr : float
        20 lg(`PEAK` / RMSE), dB.
    """

    rmse: float
    mae: float
    psnr: float

    @classmethod
    def mean(cls, errors: Sequence[Map]) -> Scores:
        """Return the scores of differences estimate − truth, one array a map."""
        rmse = np.array([np.sqrt(np.mean(np.square(one, dtype=np.float64))) for one in errors])
        mae = np.array([np.mean(np.abs(one), dtype=np.float64) for one in errors])
        with np.errstate(divide="ignore"):
            psnr = 20 * np.log10(PEAK / rmse)
        return cls(float(rmse.mean()), float(mae.mean()), float(psnr.mean()))


@dataclass(frozen=True)
class Validation:
    """Scores of the network and of the baselines on the same maps.

    Attributes
    ----------
    network : Scores
    baselines : dict of str to Scores
        The plain interpolation first.
    motion : float or None
        Mean length of the flows from t, grid steps; None in space.
    """

    network: Scores
    baselines: Mapping[str, Scores]
    motion: float | None

    @property
    def relative(self) -> float:
        """Mean of RMSE and MAE divided by those of the last baseline: below 1 is better."""
        best = list(self.baselines.values())[-1]
        return (self.network.rmse / best.rmse + self.network.mae / best.mae) / 2

    @property
    def collapse(self) -> str | None:
        """Why the network counts as collapsed, or None."""
        name, plain = next(iter(self.baselines.items()))
        if self.motion is not None and self.motion < COLLAPSE_STEPS:
            return f"the mean flow is {self.motion:.4f} grid steps"
        if abs(self.network.psnr - plain.psnr) < COLLAPSE_DB:
            return f"its PSNR is {self.network.psnr:.3f} dB, that of {name} {plain.psnr:.3f} dB"
        return None

    def warn_of_collapse(self) -> None:
        """Warn if the network only does what plain interpolation does, and say what shows it."""
        if why := self.collapse:
            warn(f"the network has collapsed: {why}", DeepcamsWarning, stacklevel=2)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for a card."""
        scores = {name: asdict(one) for name, one in self.baselines.items()}
        return {"network": asdict(self.network), **scores, "motion": self.motion}


def interval_inputs(
    network: nn.Module, samples: Sequence[Interval], form: Normalisation, device: torch.device
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Return first and last maps, (B, 1, H, W), and what else a network in time wants, by name."""
    settings: Any = network.settings

    def all_of(name: str) -> Tensor:
        return stacked([getattr(one, name) for one in samples], device)

    given: dict[str, Any] = {"flows": None, "sun": None}
    if settings.initial_flow == "dis":
        given["flows"] = all_of("forward"), all_of("backward")  # 2 × (B, 2, H, W)
    if settings.sun:
        given["sun"] = all_of("sun")  # (B, 2, H, W)
    return form.forward(all_of("first")), form.forward(all_of("last")), given


def enlargement_inputs(
    network: nn.Module, samples: Sequence[Enlargement], form: Normalisation, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Return coarse maps, (B, 1, h, w), and the start where a network in space wants it."""
    settings: Any = network.settings
    coarse = form.forward(stacked([one.coarse for one in samples], device))
    if settings.start != "given":
        return coarse, None
    return coarse, form.forward(stacked([one.start for one in samples], device))


class _Validation(ABC):
    """A network, and what needs no learning, on the same maps."""

    baselines: Mapping[str, Scores]

    @abstractmethod
    def _errors(
        self, network: nn.Module, form: Normalisation, device: torch.device
    ) -> tuple[list[Map], list[float]]:
        """Return differences estimate − truth, one array a map, and lengths of flows, if any."""

    @torch.no_grad()
    def __call__(
        self, network: nn.Module, normalisation: Normalisation, device: torch.device
    ) -> Validation:
        """Return the scores of a network, which is in evaluation mode during the call."""
        before = network.training
        network.eval()
        try:
            errors, motion = self._errors(network, normalisation, device)
        finally:
            network.train(before)
        moved = float(np.mean(motion)) if motion else None
        return Validation(Scores.mean(errors), self.baselines, moved)


class IntervalValidation(_Validation):
    """Validation in time, on whole maps of `count` held-out intervals, evenly chosen."""

    def __init__(self, intervals: Intervals, count: int) -> None:
        self.intervals = intervals
        self.starts = evenly(intervals.starts, count)
        methods = Linear(), LinearAsPrinted(), OpticalFlow()
        self.baselines = {method.name: self._baseline(method) for method in methods}

    def _baseline(self, method: IntervalMethod) -> Scores:
        truth = self.intervals.truth
        errors: list[Map] = []
        for start in self.starts:
            frames = np.stack(self.intervals.ends(start))
            stamps = truth.instants[[start, start + STEP_H]]
            between = temporal.Interval(frames, stamps, 0, truth.latitude, truth.longitude)
            made = method.inserted(between, np.arange(1, STEP_H) / STEP_H)
            errors.extend(made - truth.values[start + 1 : start + STEP_H])
        return Scores.mean(errors)

    def _errors(
        self, network: nn.Module, form: Normalisation, device: torch.device
    ) -> tuple[list[Map], list[float]]:
        errors, motion = [], []
        cyclic = self.intervals.truth.cyclic
        for start in self.starts:
            for sample in (self.intervals.whole(start, hour) for hour in range(1, STEP_H)):
                first, last, given = interval_inputs(network, [sample], form, device)
                made = network(first, last, sample.t, **given, cyclic=cyclic)
                errors.append(form.inverse(made.frame)[0, 0].cpu().numpy() - sample.truth)
                both = torch.cat([made.flow_t0, made.flow_t1])
                motion.append(float(both.norm(dim=1).mean()))
        return errors, motion


class EnlargementValidation(_Validation):
    """Validation in space, on `count` whole held-out maps, evenly chosen."""

    def __init__(self, enlargements: Enlargements, count: int) -> None:
        self.enlargements = enlargements
        self.chosen = evenly(range(len(enlargements)), count)
        samples = [enlargements.whole(index) for index in self.chosen]
        self.baselines = {
            "bicubic": Scores.mean([one.plain - one.truth for one in samples]),
            "bicubic-ibp": Scores.mean([one.start - one.truth for one in samples]),
        }

    def _errors(
        self, network: nn.Module, form: Normalisation, device: torch.device
    ) -> tuple[list[Map], list[float]]:
        errors = []
        for sample in map(self.enlargements.whole, self.chosen):
            given = enlargement_inputs(network, [sample], form, device)
            made = form.inverse(network(*given, cyclic=self.enlargements.truth.cyclic))
            errors.append(made[0, 0].cpu().numpy() - sample.truth)
        return errors, []


def evenly(places: Sequence[int], count: int) -> list[int]:
    """Return at most `count` of the places, evenly chosen."""
    taken = np.linspace(0, len(places) - 1, min(count, len(places)))
    return [places[int(one)] for one in np.rint(taken)]
