"""Between µg m⁻³ and the numbers near unit size that networks see.

Every form is odd, smooth enough to differentiate and exactly invertible over all reals: nothing
is clipped, and the small negatives of packed files pass like any value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from deepcams_eval.errors import InputError
from deepcams_models.networks import validated

NormalisationKind = Literal["linear", "sqrt", "log"]

_KNEE = 0.1  # rounds off the root at 0, where its slope would be infinite


@dataclass(frozen=True)
class Normalisation:
    """One form of normalisation.

    With u = x / scale: ``linear`` gives u; ``sqrt`` sign(u)·(√(|u| + k²) − k) with k = 0.1;
    ``log`` sign(u)·ln(1 + |u|). Warping along a flow and blending commute with ``linear`` only.

    Attributes
    ----------
    kind : {"linear", "sqrt", "log"}
        Which.
    scale : float
        µg m⁻³ that become 1 (``linear``), about 1 (``sqrt``) or ln 2 (``log``).

    Raises
    ------
    InputError
        If the kind is none of these, or the scale is not positive and finite.
    """

    kind: NormalisationKind
    scale: float

    def __post_init__(self) -> None:
        kinds = get_args(NormalisationKind)
        if self.kind not in kinds:
            raise InputError(
                f"no normalisation is called {self.kind!r}", hint=f"choose from {', '.join(kinds)}"
            )
        number = isinstance(self.scale, int | float) and not isinstance(self.scale, bool)
        if not number or not math.isfinite(self.scale) or self.scale <= 0:
            raise InputError(
                f"{self.scale!r} is no scale of a normalisation", hint="give µg m⁻³ above 0"
            )

    def forward(self, values: Tensor) -> Tensor:
        """Return normalised values of any shape; NaN stays NaN."""
        unit = values / self.scale
        if self.kind == "linear":
            return unit
        if self.kind == "sqrt":
            # The same as the root less the knee, without their cancellation near 0.
            return unit / (torch.sqrt(unit.abs() + _KNEE**2) + _KNEE)
        return torch.sign(unit) * torch.log1p(unit.abs())

    def inverse(self, normalised: Tensor) -> Tensor:
        """Return µg m⁻³ of normalised values: exactly the inverse of `forward`."""
        if self.kind == "linear":
            return normalised * self.scale
        if self.kind == "sqrt":
            return self.scale * normalised * (normalised.abs() + 2 * _KNEE)
        return self.scale * torch.sign(normalised) * torch.expm1(normalised.abs())

    @classmethod
    def from_dict(cls, attributes: Mapping[str, Any]) -> Self:
        """Return the normalisation that a card describes, by its attributes.

        Raises
        ------
        InputError
            If a key is unknown or missing, or a value is wrong.
        """
        form: Self = validated(cls, attributes, "a normalisation")
        return form
