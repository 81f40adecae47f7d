"""Training: steps, validation, a state to resume from, several processes.

The same settings give the same weights on a CPU, bit by bit, whether a run was interrupted or not,
unless its length is given in minutes. All random numbers come from one generator, from which every
process draws the seeds of the whole batch and makes its own share: the number of processes
changes nothing but rounding.
"""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, distributed, nn
from torch.nn import functional

from deepcams_eval import __version__
from deepcams_eval.core.folder import whole_file
from deepcams_eval.core.provenance import commit
from deepcams_eval.downscale.degrade import DEGRADATIONS, degradation
from deepcams_eval.downscale.protocol import Task
from deepcams_eval.downscale.registry import BEST
from deepcams_eval.errors import InputError
from deepcams_models import checkpoint
from deepcams_models.data import (
    DataSettings,
    Enlargement,
    Enlargements,
    Interval,
    Intervals,
    Truth,
    load_truth,
    stacked,
)
from deepcams_models.networks import find_network, first_problem, validated
from deepcams_models.normalise import Normalisation, NormalisationKind
from deepcams_models.validate import (
    EnlargementValidation,
    IntervalValidation,
    Validation,
    enlargement_inputs,
    interval_inputs,
)
from deepcams_models.warping import backward_warp, intermediate_flows
from deepcams_models.xvfi import XvfiOutput, pyramid

STATE, LOG = "state.safetensors", "log.csv"
"""What is written into the folder of a training, beside the best checkpoint."""

EDGE_WEIGHT = 150.0
"""e of the edge-aware smoothness, for maps scaled to 1."""

_LAST_RATE = 0.02  # of the highest
_STATE_VERSION = 2

CHANGEABLE = ("steps", "minutes", "valid_every", "valid_maps", "threads", "memory_gb")
"""What may differ when a run is resumed: how long, how often and on what, never what is learned."""

ONLY: Mapping[str, Task] = {"growth": "temporal", "smoothness": "temporal", "degrade": "spatial"}
"""What has a meaning for networks of one task alone."""


class TrainSettings(DataSettings):
    """Settings of one training; unknown keys are refused.

    Attributes
    ----------
    network : str
        A key of `networks.NETWORKS`.
    preset : str
        One of the presets of its settings.
    changes : dict
        Attributes of the network that differ from the preset, such as ``{"residual": "gated"}``.
    steps, minutes : int and float, optional
        Length of the training; one of them. A run of so many minutes depends on the machine.
    batch : int
        Samples in a step.
    margin : int
        Fine grid steps at each edge of a crop that the loss leaves out: what moves in from
        beyond the crop cannot be known.
    lr, weight_decay, clip : float
        Highest rate of AdamW, its weight decay, largest norm of the gradient.
    warmup : int
        Steps until the rate is reached; it falls by half a cosine after that.
    normalisation : {"linear", "sqrt", "log"}
    scale : float
        Of the normalisation, µg m⁻³.
    loss : {"relative", "published"}
        ``relative``: errors divided by those that the same sample has without learning: of the
        interpolation that an XVFI begins with (along given flows, else linear), or of bicubic
        enlargement. ``published``: L1 at every scale and smoothness of the flow (in time alone).
    squared_share : float
        Share of the relative squared error in the ``relative`` loss.
    floor : float
        Least error of the baseline that a sample is divided by, µg m⁻³.
    smoothness : float
        Weight of the smoothness in the ``published`` loss.
    ema : float
        Decay of the running mean of the weights; 0 for none.
    amp : bool
        Whether convolutions run in bfloat16.
    accumulate : int
        Parts of a step whose gradients are added up.
    threads : int
        Threads of one process; 0 for as many as cores.
    valid_every, valid_maps : int
        Steps between validations, and the number of held-out maps (pairs) in each.
    """

    network: str
    preset: str
    changes: dict[str, Any] = Field(default_factory=dict)
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch: int = Field(default=4, ge=1)
    margin: int = Field(default=6, ge=0)
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=1.0, gt=0)
    warmup: int = Field(default=50, ge=0)
    normalisation: NormalisationKind = "linear"
    scale: float = Field(default=20.0, gt=0)
    loss: Literal["relative", "published"] = "relative"
    squared_share: float = Field(default=0.3, ge=0, le=1)
    floor: float = Field(default=0.05, gt=0)
    smoothness: float = Field(default=0.5, ge=0)
    ema: float = Field(default=0.995, ge=0, lt=1)
    amp: bool = False
    accumulate: int = Field(default=1, ge=1)
    threads: int = Field(default=0, ge=0)
    valid_every: int = Field(default=200, ge=1)
    valid_maps: int = Field(default=32, ge=1)

    @property
    def task(self) -> Task:
        """That of the network."""
        return find_network(self.network).task

    @property
    def network_settings(self) -> Any:
        """Settings of the network: those of the preset, changed."""
        if self.changes.get("extra_channels"):
            raise InputError(
                "extra_channels: a training has no static maps to show",
                hint="leave it out; AbpnSettings takes it for networks that are fed by hand",
            )
        kind = find_network(self.network).load().Settings
        values = asdict(kind.preset(self.preset)) | self.changes
        return validated(kind, values, f"settings of {self.network}")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        if self.batch % self.accumulate:
            raise ValueError(f"a batch of {self.batch} has no {self.accumulate} equal parts")
        if 2 * self.margin >= self.crop:
            raise ValueError(f"a margin of {self.margin} leaves nothing of a crop of {self.crop}")
        if self.degrade not in DEGRADATIONS:
            raise ValueError(f"no degradation is called {self.degrade!r}")
        if self.task == "temporal" and self.normalisation != "linear":
            raise ValueError(
                f"maps are warped and blended as they are: {self.network} needs the linear"
                " normalisation"
            )
        if self.task == "spatial" and self.loss == "published":
            raise ValueError("the published loss of smoothness is that of xvfi")
        return self

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Self:
        """Return settings: those of `values`, else the preset's, else the defaults above.

        Raises
        ------
        InputError
            Naming the first key that is unknown, has no valid value, or no meaning for the network.
        """
        name = str(values.get("network"))
        network = find_network(name)
        training = network.load().Settings.training
        base = {**training.get("", {}), **training.get(str(values.get("preset")), {})}
        if values.get("minutes") is not None:
            base.pop("steps", None)
        for key, task in ONLY.items():
            if key in values and network.task != task:
                raise InputError(f"{key} has no meaning for {name}", hint="leave it out")
        try:
            return cls.model_validate(base | dict(values))
        except ValidationError as error:
            place, said = first_problem(error)
            raise InputError(
                f"{place or 'the settings'}: {said}",
                hint=f"the settings of a training are {', '.join(cls.model_fields)}",
            ) from error


def interval_loss(
    network: Any,
    samples: Sequence[Interval],
    settings: TrainSettings,
    form: Normalisation,
    device: torch.device,
) -> Tensor:
    """Return the mean loss of samples in time, in normalised units."""
    first, last, given = interval_inputs(network, samples, form, device)
    truth = form.forward(stacked([one.truth for one in samples], device))  # (B, 1, H, W)
    t = torch.tensor([one.t for one in samples], dtype=torch.float32, device=device)
    published = settings.loss == "published"
    made = network(first, last, t, **given, every_scale=published)
    if published:
        return published_loss(made, truth, settings.smoothness)
    weight = t.view(-1, 1, 1, 1)
    from_first, from_last = first, last
    if given["flows"] is not None:  # as the network begins, so that fast motion counts no less
        forward, backward = given["flows"]
        flow_t0, flow_t1 = intermediate_flows(forward, backward, weight)  # 2 × (B, 2, H, W)
        kernel = network.settings.kernel
        from_first = backward_warp(first, flow_t0, kernel=kernel)  # (B, 1, H, W)
        from_last = backward_warp(last, flow_t1, kernel=kernel)  # (B, 1, H, W)
    plain = (1 - weight) * from_first + weight * from_last  # (B, 1, H, W)
    return relative_loss(made.frame, plain, truth, settings, form.scale)


def enlargement_loss(
    network: Any,
    samples: Sequence[Enlargement],
    settings: TrainSettings,
    form: Normalisation,
    device: torch.device,
) -> Tensor:
    """Return the mean loss of samples in space, in µg m⁻³ whatever the normalisation."""
    plain, truth = (
        stacked([getattr(one, name) for one in samples], device) for name in ("plain", "truth")
    )
    made = network(*enlargement_inputs(network, samples, form, device))
    return relative_loss(form.inverse(made), plain, truth, settings, 1.0)


def relative_loss(
    made: Tensor, plain: Tensor, truth: Tensor, settings: TrainSettings, scale: float
) -> Tensor:
    """Return the errors of samples relative to those of plain interpolation, averaged.

    (1 − q) L1 / L1(plain) + q L2 / L2(plain) of each sample, with q `squared_share` and L2 the
    mean squared error; the divisors are at least the floor and its square.

    Parameters
    ----------
    made, plain, truth : Tensor, shape (batch, 1, row, column)
    settings : TrainSettings
        Its `margin`, `squared_share` and `floor` count.
    scale : float
        µg m⁻³ in the unit of the maps.
    """
    inner = slice(settings.margin, -settings.margin or None)
    error, reference = ((one - truth)[..., inner, inner] for one in (made, plain))
    floor = settings.floor / scale
    dims = (1, 2, 3)
    absolute = error.abs().mean(dims) / reference.abs().mean(dims).clamp(min=floor)
    squared = error.square().mean(dims) / reference.square().mean(dims).clamp(min=floor**2)
    share = settings.squared_share
    return ((1 - share) * absolute + share * squared).mean()


def published_loss(made: XvfiOutput, truth: Tensor, weight: float) -> Tensor:
    """Return L1 summed over the scales, plus the smoothness of the finest flows.

    Sim et al. (2021), equations 4 to 6: Σₛ |made − truth| + λ Σ exp(−e |∂truth|) |∂F|, with first
    derivatives along rows and columns, all as means over cells and over both flows.
    """
    targets = pyramid(truth, len(made.scales) - 1, cyclic=False)
    total = sum(
        (functional.l1_loss(one, target) for one, target in zip(made.scales, targets, strict=True)),
        start=truth.new_zeros(()),
    )
    for flow in (made.flow_t0, made.flow_t1):
        for dim in (2, 3):
            edge = torch.exp(-EDGE_WEIGHT * torch.diff(truth, dim=dim).abs())
            total = total + weight * (edge * torch.diff(flow, dim=dim).abs()).mean() / 2
    return total


@dataclass
class Progress:
    """Where a training stands: steps and seconds of all its runs, least `Validation.relative`."""

    step: int = 0
    seconds: float = 0.0
    best: float | None = None


@dataclass(frozen=True)
class Report:
    """What is told after each step: `share` is that of the training that is done."""

    step: int
    share: float
    loss: float
    seconds: float
    validation: Validation | None


class Trainer:
    """A network, its optimiser, and everything that must be kept to resume.

    Parameters
    ----------
    settings : TrainSettings
    out : Path
        Folder of the state, the best weights and the log.
    truth : pair of Truth, optional
        To learn from, and held out; read as `settings.data` says where absent.
    command : str
        For the card.
    """

    def __init__(
        self,
        settings: TrainSettings,
        out: Path,
        truth: tuple[Truth, Truth] | None = None,
        *,
        command: str = "",
    ) -> None:
        self.settings, self.out, self.command = settings, out, command
        if settings.threads:
            torch.set_num_threads(settings.threads)
            cv2.setNumThreads(settings.threads)
        self.rank, self.world = _place()
        if settings.batch % (self.world * settings.accumulate):
            raise InputError(
                f"a batch of {settings.batch} cannot be shared by {self.world} processes in"
                f" {settings.accumulate} parts",
                hint="give a multiple of both as --batch",
            )
        self.device = _device()
        torch.manual_seed(settings.seed)
        kind = find_network(settings.network).load()
        self.network: nn.Module = kind(settings.network_settings).to(self.device)
        self.running = copy.deepcopy(self.network).requires_grad_(requires_grad=False)
        self.rng = np.random.default_rng(settings.seed)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.progress = Progress()
        self.train, self.valid = truth or load_truth(settings)
        for one in (self.train, self.valid):
            rows, columns = one.values.shape[1:]
            if min(rows, columns) <= 2 * settings.margin:
                fits = max((min(rows, columns) - 1) // 3, 0)
                raise InputError(
                    f"{one.source}: maps of {rows} x {columns} nodes have no inside of a margin of"
                    f" {settings.margin}",
                    hint=f"give --set margin={fits}, or larger maps",
                )
        self.form = Normalisation(settings.normalisation, settings.scale)
        self.samples: Intervals | Enlargements
        self.validation: IntervalValidation | EnlargementValidation
        self._loss: Callable[..., Tensor]
        if settings.task == "temporal":
            reverse = not settings.network_settings.sun
            self.samples = Intervals(self.train, kept_only=False, reverse=reverse)
            held_out = Intervals(self.valid, kept_only=True)
            self.validation = IntervalValidation(held_out, settings.valid_maps)
            self._loss = interval_loss
        else:
            operator = degradation(settings.degrade)
            self.samples = Enlargements(self.train, operator)
            maps = Enlargements(self.valid, operator)
            self.validation = EnlargementValidation(maps, settings.valid_maps)
            self._loss = enlargement_loss

    @property
    def share(self) -> float:
        """Share of the training that is done."""
        if self.settings.steps is not None:
            return self.progress.step / self.settings.steps
        assert self.settings.minutes is not None
        return self.progress.seconds / (60 * self.settings.minutes)

    def draw(self, rng: np.random.Generator) -> Any:
        """Return one sample to learn from."""
        return self.samples.draw(rng, self.settings)

    def loss(self, samples: Sequence[Any]) -> Tensor:
        """Return the mean loss of samples."""
        return self._loss(self.network, samples, self.settings, self.form, self.device)

    def run(self, tell: Callable[[Report], None] = lambda _: None) -> Validation:
        """Train to the end.

        Returns
        -------
        Validation
            Of the running mean of the weights, at the end.

        Raises
        ------
        KeyboardInterrupt
            If it was interrupted (SIGINT, SIGTERM); the state was saved.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        result: Validation | None = None
        with _interruptions() as interrupted:
            while self.share < 1:
                began = time.perf_counter()
                rate = self._rate()
                loss = self._step(rate)
                self.progress.step += 1
                result = self._validate() if self._due(began) else None
                self.progress.seconds += time.perf_counter() - began
                self._agree()
                if result is not None:
                    self._log(loss, rate, result)
                    self.save()
                now = self.progress
                tell(Report(now.step, min(self.share, 1.0), loss, now.seconds, result))
                if self._any(interrupted()):
                    self.save()
                    raise KeyboardInterrupt
        return self._validate() if result is None else result

    def _due(self, began: float) -> bool:
        elapsed = time.perf_counter() - began
        minutes = self.settings.minutes
        over = minutes is not None and self.progress.seconds + elapsed >= 60 * minutes
        last = self.progress.step == self.settings.steps
        return last or over or self.progress.step % self.settings.valid_every == 0

    def _rate(self) -> float:
        """Return the learning rate: a linear rise, then half a cosine."""
        rise = min(1.0, (self.progress.step + 1) / (self.settings.warmup + 1))
        fall = 0.5 * (1 + math.cos(math.pi * min(self.share, 1.0)))
        return self.settings.lr * rise * (_LAST_RATE + (1 - _LAST_RATE) * fall)

    def _step(self, rate: float) -> float:
        settings = self.settings
        # A generator for each sample: a process draws its own only, the same however many share.
        seeds = self.rng.integers(2**63, size=settings.batch)[self.rank :: self.world]
        mine = [self.draw(np.random.default_rng(seed)) for seed in seeds]
        part = len(mine) // settings.accumulate
        total = 0.0
        self.optimiser.zero_grad(set_to_none=True)
        for begin in range(0, len(mine), part):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.amp):
                loss = self.loss(mine[begin : begin + part])
            torch.autograd.backward(loss / settings.accumulate)
            total += float(loss.detach()) / settings.accumulate
        self._average_gradients()
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self._follow()
        return total

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running mean; it follows faster while it is young."""
        step = self.progress.step
        keep = min(self.settings.ema, (1 + step) / (10 + step)) if self.settings.ema else 0.0
        for mean, new in zip(self.running.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(new, 1 - keep)

    def _average_gradients(self) -> None:
        if self.world == 1:
            return
        gradients = [one.grad for one in self.network.parameters() if one.grad is not None]
        flat = torch.cat([one.reshape(-1) for one in gradients])
        distributed.all_reduce(flat)
        flat /= self.world
        begin = 0
        for one in gradients:
            one.copy_(flat[begin : begin + one.numel()].view(one.shape))
            begin += one.numel()

    def _agree(self) -> None:
        """Take the clock of the first process, so that all of them end together."""
        if self.world > 1:
            seconds = torch.tensor([self.progress.seconds], dtype=torch.float64, device=self.device)
            distributed.broadcast(seconds, 0)
            self.progress.seconds = float(seconds)

    def _any(self, interrupted: bool) -> bool:
        """Return whether any process was interrupted.

        One that broke off alone would take the others with it before the first has saved.
        """
        if self.world == 1:
            return interrupted
        flag = torch.tensor(float(interrupted), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)

    def _validate(self) -> Validation:
        result = self.validation(self.running, self.form, self.device)
        if self.rank == 0:
            result.warn_of_collapse()
        if self.progress.best is None or result.relative < self.progress.best:
            self.progress.best = result.relative
            if self.rank == 0:
                checkpoint.save(self.out / BEST, self.running, self._card(result))
        return result

    def _card(self, result: Validation) -> checkpoint.Card:
        settings = self.settings
        return checkpoint.Card(
            network=settings.network,
            preset=settings.preset,
            settings=asdict(settings.network_settings),
            normalisation=asdict(self.form),
            degradation=settings.degrade if settings.task == "spatial" else None,
            stamp=self.train.stamp,
            data=self.train.source,
            years=self.train.years,
            metrics=result.to_dict(),
            parameters=0,
            commit=commit(),
            version=__version__,
            licence="BSD-3-Clause",
            synthetic=self.train.synthetic,
            command=self.command,
        )

    def _log(self, loss: float, rate: float, result: Validation) -> None:
        if self.rank:
            return
        row = {
            "step": self.progress.step,
            "minutes": round(self.progress.seconds / 60, 3),
            "loss": loss,
            "rate": rate,
            "motion": result.motion,
        }
        for name, scores in (("network", result.network), *result.baselines.items()):
            row |= {f"{name}_{score}": value for score, value in asdict(scores).items()}
        path = self.out / LOG
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def save(self) -> None:
        """Write everything that is needed to resume into one file; no pickle."""
        if self.rank:
            return
        tensors = {f"network.{name}": one for name, one in self.network.state_dict().items()}
        tensors |= {f"running.{name}": one for name, one in self.running.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": one for name, one in state.items()}
        tensors["torch_random"] = torch.get_rng_state()
        rest = {
            "version": _STATE_VERSION,
            "settings": self.settings.model_dump(mode="json"),
            "network": asdict(self.settings.network_settings),
            "progress": asdict(self.progress),
            "random": self.rng.bit_generator.state,
        }
        stored = {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
        with whole_file(self.out / STATE) as work:
            save_file(stored, work, metadata={"state": json.dumps(rest)})

    def resume(self) -> None:
        """Go on from the state in the folder.

        Raises
        ------
        InputError
            If there is none, it is damaged, or it belongs to other settings.
        """
        path = self.out / STATE
        if not path.is_file():
            raise InputError(
                "there is no state to resume from", path=path, hint="leave out --resume"
            )
        try:
            with safe_open(path, "pt") as stored:
                rest = json.loads(stored.metadata()["state"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"is no state of a training ({error})", path=path, hint="begin again elsewhere"
            ) from error
        if rest.get("version") != _STATE_VERSION:
            raise InputError(
                f"is of version {rest.get('version')}, not {_STATE_VERSION}",
                path=path,
                hint="begin again in another --out",
            )
        _require_same(rest["settings"], self.settings.model_dump(mode="json"), path)
        # The same preset may mean another network in another version of this package.
        _require_same(rest["network"], asdict(self.settings.network_settings), path)
        for name, module in (("network.", self.network), ("running.", self.running)):
            module.load_state_dict(_with_prefix(tensors, name))
        self._restore_optimiser(_with_prefix(tensors, "optimiser."))
        torch.set_rng_state(tensors["torch_random"])
        self.rng.bit_generator.state = rest["random"]
        self.progress = Progress(**rest["progress"])
        self._cut_log()

    def _restore_optimiser(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = list(self.network.parameters())
        for key, stored in tensors.items():
            index, name = key.split(".")
            parameter = parameters[int(index)]
            # In the layout of the weight, so that sums run in the same order as before.
            value = stored if name == "step" else torch.empty_like(parameter).copy_(stored)
            self.optimiser.state[parameter][name] = value

    def _cut_log(self) -> None:
        """Leave out what was logged after the state was saved."""
        path = self.out / LOG
        if self.rank or not path.exists():
            return
        head, *rows = path.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if int(row.split(",")[0]) <= self.progress.step]
        with whole_file(path) as work:
            work.write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    for name in sorted({*before, *now} - {*CHANGEABLE}):
        if before.get(name) != now.get(name):
            raise InputError(
                f"belongs to a training with {name} {before.get(name)!r}, not {now.get(name)!r}",
                path=path,
                hint="give the settings it was begun with, or another --out",
            )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _place() -> tuple[int, int]:
    """Return the number of this process and how many there are."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


@contextmanager
def processes() -> Iterator[None]:
    """Join the other processes where ``torchrun`` has started this one."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(_device())
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def _interruptions() -> Iterator[Callable[[], bool]]:
    """Note an interruption instead of breaking off in the middle of a step."""
    seen: list[int] = []

    def note(number: int, frame: Any) -> None:
        del frame
        if seen:
            sys.exit(128 + number)
        seen.append(number)

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, note) for kind in kinds}
    try:
        yield lambda: bool(seen)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
