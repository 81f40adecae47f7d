"""How a block of the nature run differs from the Europe of the synthetic archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from deepcams_eval.demo.settings import as_json, digest


@dataclass(frozen=True)
class Climate:
    """Factors on the terms of the nature run, and terms that the archive has not.

    The defaults leave it as it is.

    Attributes
    ----------
    wind : float
        On the wind.
    contrast : float
        On the exponents of the air masses: how much their concentrations differ.
    emissions, plumes : float
        On what cities and the country emit, and on fires.
    ventilation : float
        On the exchange with the free air, which has a daily cycle.
    pattern : float
        On the exponents of the pattern that never changes.
    diffusion : float
        On the horizontal diffusivity: how smooth the smallest scales are.
    dust : float
        What the wind lifts from deserts at 10 m s⁻¹, µg m⁻³ h⁻¹.
    showers : float
        Rate of removal in showers of 1° to 3°, h⁻¹.
    sea : float
        Share of the region, 0 to 1, in which nothing is emitted, nothing has a daily cycle, and
        nothing keeps its place.
    night_m, day_m : float
        Depth of the mixed layer over land at night and on a spring afternoon, m; see
        `MixedLayer`. With a night of 0 there is one layer, whose exchange with the free air is
        `ventilation`.
    relief : float
        Standard deviation of the logarithms of these depths from place to place.
    shear : float
        Wind above the mixed layer, over that within; it is turned by `TURN_DEG` as well.
    """

    wind: float = 1.0
    contrast: float = 1.0
    emissions: float = 1.0
    plumes: float = 1.0
    ventilation: float = 1.0
    pattern: float = 1.0
    diffusion: float = 1.0
    dust: float = 0.0
    showers: float = 0.0
    sea: float = 0.0
    night_m: float = 0.0
    day_m: float = 0.0
    relief: float = 0.0
    shear: float = 1.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Return a climate: anything from trade winds over an ocean to the haze of a plain."""

        def between(low: float, high: float) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        return cls(
            wind=between(0.3, 1.8),
            contrast=between(0.5, 1.6),
            emissions=between(0.1, 10.0),
            plumes=between(0.3, 10.0),
            ventilation=between(0.1, 4.0),
            pattern=between(0.03, 1.0),
            diffusion=between(1.0, 12.0),
            dust=between(0.1, 20.0),
            showers=between(0.03, 2.0),
            sea=rng.uniform(0.0, 1.0),
            night_m=between(60.0, 600.0) if rng.random() < 0.8 else 0.0,
            day_m=between(500.0, 3000.0),
            relief=rng.uniform(0.0, 0.6),
            shear=rng.uniform(1.0, 2.0),
        )

    @property
    def key(self) -> str:
        """Hash of the factors."""
        return digest(as_json(self))


TURN_DEG = 25.0
"""How far the wind turns clockwise from the mixed layer to the air above."""

EUROPE = Climate()
"""That of the synthetic archive."""
