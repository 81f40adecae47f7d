"""What a training run consists of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deepcams_eval.downscale.degrade import DEGRADATIONS
from deepcams_eval.errors import InputError

Network = Literal["xvfi", "abpn"]
Loss = Literal["relative", "published"]

MULTIPLE = 12
"""Crops are multiples of it, so that they divide into coarse cells and into halves of halves."""

CHANGEABLE = ("steps", "minutes", "valid_every", "valid_maps", "threads", "memory_gb")
"""What may differ when a run goes on: how long, how often and on what, never what is learned."""


ONLY: Mapping[str, Network] = {"growth": "xvfi", "smoothness": "xvfi", "degrade": "abpn"}
"""What has a meaning for one network alone."""


class TrainSettings(BaseModel):
    """Settings of one training; unknown keys are refused.

    Attributes
    ----------
    network : {"xvfi", "abpn"}
    preset : str
        Of `XvfiSettings.preset` or `AbpnSettings.preset`.
    changes : dict
        Attributes of the network that differ from the preset, such as ``{"residual": "gated"}``.
    data : str
        ``demo``, ``nature``, ``demo+nature`` (held-out days are the demo's), or a folder in the
        standard layout.
    train_years, valid_years : tuple of int, optional
        Years of a folder or of the demo. Without `train_years` all but the last year and those
        that are held out; without `valid_years` every fifth block of days of the training years is
        held out.
    steps, minutes : int and float, optional
        Length of the training; one of them. A run of so many minutes depends on the machine.
    batch, crop : int
        Maps in a step, and their edge in fine grid steps, a multiple of 12.
    margin : int
        Fine grid steps at each edge of a crop that the loss leaves out: what moves in from
        beyond the crop cannot be known.
    lr, weight_decay, clip : float
        Highest rate of AdamW, its weight decay, largest norm of the gradient.
    warmup : int
        Steps until the rate is reached; it falls by half a cosine after that.
    seed : int
    normalisation : {"linear", "sqrt", "log"}
    scale : float
        Of the normalisation, µg m⁻³.
    degrade : str
        Operator that makes coarse maps. Only ``abpn``.
    loss : {"relative", "published"}
        ``relative``: errors divided by those that the same sample has without learning: of the
        interpolation that an XVFI begins with (along given flows, else linear), or of bicubic
        enlargement. ``published``: L1 at every scale and smoothness of the flow (only ``xvfi``).
    squared_share : float
        Share of the relative squared error in the ``relative`` loss.
    floor : float
        Least error of the baseline that a sample is divided by, µg m⁻³.
    smoothness : float
        Weight of the smoothness in the ``published`` loss.
    amplitude : float
        Maps are multiplied by exp(u), u uniform within ±amplitude.
    growth : float
        Highest standard deviation of the growth and decay in place, e-folds in an interval, that
        half of the samples get; see `Interval.grown`. Only ``xvfi``.
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
    memory_gb : float
        Truth and what belongs to it is kept in memory up to this size; more is sampled.
    nature_blocks : int
        Blocks of three days of ``nature``, each in a climate of its own; see `Climate`. One a month
        from 2001 on, so that 192 end before the archive begins.
    nature_noise : bool
        Whether they have unresolved noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Network
    preset: str
    changes: dict[str, Any] = Field(default_factory=dict)
    data: str
    train_years: tuple[int, ...] | None = None
    valid_years: tuple[int, ...] | None = None
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch: int = Field(default=4, ge=1)
    crop: int = Field(default=96, ge=24, multiple_of=MULTIPLE)
    margin: int = Field(default=6, ge=0)
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=1.0, gt=0)
    warmup: int = Field(default=50, ge=0)
    seed: int = Field(default=0, ge=0)
    normalisation: Literal["linear", "sqrt", "log"] = "linear"
    scale: float = Field(default=20.0, gt=0)
    degrade: str = "imresize"
    loss: Loss = "relative"
    squared_share: float = Field(default=0.3, ge=0, le=1)
    floor: float = Field(default=0.05, gt=0)
    smoothness: float = Field(default=0.5, ge=0)
    amplitude: float = Field(default=0.5, ge=0)
    growth: float = Field(default=0.0, ge=0)
    ema: float = Field(default=0.995, ge=0, lt=1)
    amp: bool = False
    accumulate: int = Field(default=1, ge=1)
    threads: int = Field(default=0, ge=0)
    valid_every: int = Field(default=200, ge=1)
    valid_maps: int = Field(default=32, ge=1)
    memory_gb: float = Field(default=4.0, gt=0)
    nature_blocks: int = Field(default=24, ge=2, le=192)
    nature_noise: bool = False

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
        if self.network == "xvfi" and self.normalisation != "linear":
            raise ValueError(
                "maps are warped and blended as they are: xvfi needs the linear normalisation"
            )
        if self.network == "abpn" and self.loss == "published":
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
        key = str(values.get("network")), str(values.get("preset"))
        base = dict(PRESET_DEFAULTS.get(key[0], {})) | dict(PRESET_DEFAULTS.get("-".join(key), {}))
        if values.get("minutes") is not None:
            base.pop("steps", None)
        for name, network in ONLY.items():
            if name in values and key[0] != network:
                raise InputError(f"{name} has no meaning for {key[0]}", hint="leave it out")
        try:
            return cls.model_validate(base | dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or "the settings"
            raise InputError(
                f"{name}: {first['msg'].removeprefix('Value error, ')}",
                hint=f"the settings of a training are {', '.join(cls.model_fields)}",
            ) from error


PRESET_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "xvfi": {"steps": 2400, "lr": 3e-3, "batch": 4, "crop": 72, "squared_share": 0.5},
    "xvfi-small": {"steps": 1200},
    "xvfi-paper": {"loss": "published", "lr": 1e-4, "squared_share": 0.0},
    "xvfi-released": {"loss": "published", "lr": 1e-4, "squared_share": 0.0},
    "abpn": {
        "steps": 2400,
        "lr": 3e-3,
        "batch": 4,
        "crop": 72,
        "margin": 0,
    },
    "abpn-small": {"steps": 800},
    "abpn-paper": {"lr": 1e-4, "normalisation": "sqrt"},
    "abpn-released": {"lr": 1e-4, "normalisation": "sqrt"},
}
"""Where a network, or one preset of it, differs from the defaults."""
