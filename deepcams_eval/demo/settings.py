"""What a synthetic archive or block consists of: period, region, terms, climate."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Array
from deepcams_eval.errors import InputError

GENERATOR_VERSION = "1"
"""Changes whenever a file would differ for the same settings; it stands in the files."""

ARCHIVE_VERSION = "2"
"""Changes with the generator, and when files are added; it is part of the cache key."""

SPACING_DEG = 0.25
COARSE_STRIDE = 3

_EDGES = ("south", "north", "west", "east")
_PURPOSES = ("nature", "emissions", "pattern", "model", "stations", "reports", "faults")

Instant: TypeAlias = Any
"""A numpy datetime64; its stubs make the result of subtractions a timedelta."""


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the synthetic archive; equal settings give identical files.

    Attributes
    ----------
    seed : int
        Not negative.
    years, months : tuple of int
        Which blocks of days exist; strictly increasing, years from 1970 on.
    days_per_month : int
        Length of a block, 1 to 7 whole UTC days. The blocks of March and October hold the
        Sunday of the European clock change.
    spin_up_hours : int
        Simulated before each block and not written.
    south, north, west, east : float
        Outermost nodes in degrees, multiples of 0.75, so that every third node is one of EAC4.
    stations : int
        Number of ordinary stations, at least 12; those with planted faults come in addition.
    wind : bool
        Advection. Without it the tracer does not move.
    weather_systems : bool
        Travelling cyclones, anticyclones and smaller eddies; without them only the jet blows.
    emissions, daily_cycle, seasonal_cycle : bool
        Surface emissions, and whether they follow the hour of local day and the season.
    mixing : bool
        Horizontal diffusion and daytime ventilation by the growing boundary layer.
    deposition : bool
        Dry deposition, and rain-out in cyclones.
    plumes : bool
        Fires and similar sources that come and go.
    noise : bool
        Unresolved variability of the fine grid.
    static_pattern : bool
        Sub-grid pattern that never changes (coasts, orography).
    model_error : bool
        Error of the coarse product and of the hourly product made from it.
    faults : bool
        Faults planted in the station files.
    """

    seed: int = 20170301
    years: tuple[int, ...] = (2017, 2018, 2019, 2020)
    months: tuple[int, ...] = tuple(range(1, 13))
    days_per_month: int = 3
    spin_up_hours: int = 24
    south: float = 36.0
    north: float = 60.0
    west: float = -9.0
    east: float = 33.0
    stations: int = 120
    wind: bool = True
    weather_systems: bool = True
    emissions: bool = True
    daily_cycle: bool = True
    seasonal_cycle: bool = True
    mixing: bool = True
    deposition: bool = True
    plumes: bool = True
    noise: bool = True
    static_pattern: bool = True
    model_error: bool = True
    faults: bool = True

    def __post_init__(self) -> None:
        for name, low, high in (
            ("seed", 0, 2**63 - 1),
            ("days_per_month", 1, 7),
            ("spin_up_hours", 0, 240),
            ("stations", 12, 2000),
            ("years", 1970, 2100),
            ("months", 1, 12),
            ("south", -75.0, self.north - 3),
            ("north", self.south + 3, 75.0),
            ("west", -180.0, self.east - 3),
            ("east", self.west + 3, 179.25),
        ):
            found = getattr(self, name)
            values = found if isinstance(found, tuple) else (found,)
            if not values or list(values) != sorted(set(values)):
                raise InputError(
                    f"{name} is {values}", hint="give at least one, strictly increasing"
                )
            for value in values:
                if not low <= value <= high:
                    raise InputError(
                        f"{name} is {value}", hint=f"give a value from {low} to {high}"
                    )
            if name in _EDGES and found % (SPACING_DEG * COARSE_STRIDE):
                raise InputError(f"{name} is {found}", hint="give a multiple of 0.75 degrees")

    @classmethod
    def small(cls, **changes: Any) -> DemoSettings:
        """Return settings that take seconds: four blocks of two days, twenty stations."""
        region: dict[str, Any] = {"south": 45.0, "north": 54.0, "west": -3.0, "east": 9.0}
        period = {"years": (2019, 2020), "months": (3, 10), "days_per_month": 2}
        return cls(**{**region, **period, "spin_up_hours": 6, "stations": 20, **changes})

    @classmethod
    def from_json(cls, text: str) -> DemoSettings:
        """Return the settings that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, **{name: tuple(values[name]) for name in ("years", "months")}})

    def to_json(self) -> str:
        """Return the settings as one JSON object."""
        return _as_json(self)

    def rng(self, purpose: str, *numbers: int) -> np.random.Generator:
        """Return a generator of its own for each purpose, so that none disturbs another."""
        key = (_PURPOSES.index(purpose), *numbers)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    @property
    def key(self) -> str:
        """Name of the archive in the cache: its version and a hash of the settings."""
        return f"demo-v{ARCHIVE_VERSION}-{_digest(self.to_json())}"

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Every block of days, in order."""
        return tuple(
            Block(year, month, self.days_per_month) for year in self.years for month in self.months
        )

    @property
    def latitude(self) -> Array:
        """Nodes of the fine grid, degrees north, ascending."""
        return _nodes(self.south, self.north)

    @property
    def longitude(self) -> Array:
        """Nodes of the fine grid, degrees east, ascending."""
        return _nodes(self.west, self.east)


@dataclass(frozen=True)
class Block:
    """Consecutive whole UTC days within a month.

    Attributes
    ----------
    year, month : int
    days : int
    """

    year: int
    month: int
    days: int

    @property
    def name(self) -> str:
        """Year and month, such as ``2017-03``."""
        return f"{self.year}-{self.month:02d}"

    @property
    def start(self) -> Instant:
        """First instant, UTC."""
        month = np.datetime64(self.name, "M")
        if self.month in (3, 10):
            # The change of the clock comes on the block's last day.
            first = last_sunday(self.year, self.month) - (self.days - 1)
            return first.astype("datetime64[s]")
        return (month.astype("datetime64[D]") + 13).astype("datetime64[s]")

    @property
    def hours(self) -> int:
        """Length in hours."""
        return 24 * self.days

    @property
    def frame_times(self) -> npt.NDArray[np.datetime64]:
        """Hourly instants, both ends included, shape (hours + 1,), datetime64[s]."""
        return np.asarray(self.start + np.arange(self.hours + 1) * np.timedelta64(3600, "s"))


_DRAWN = {
    "wind": (0.3, 1.8),
    "contrast": (0.5, 1.6),
    "emissions": (0.1, 10.0),
    "plumes": (0.3, 10.0),
    "ventilation": (0.1, 4.0),
    "pattern": (0.03, 1.0),
    "diffusion": (1.0, 12.0),
    "dust": (0.1, 20.0),
    "showers": (0.03, 2.0),
}
"""Factors of a drawn climate, evenly in their logarithm; drawn in this order."""


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
            **{name: between(*ends) for name, ends in _DRAWN.items()},
            sea=rng.uniform(0.0, 1.0),
            night_m=between(60.0, 600.0) if rng.random() < 0.8 else 0.0,
            day_m=between(500.0, 3000.0),
            relief=rng.uniform(0.0, 0.6),
            shear=rng.uniform(1.0, 2.0),
        )

    @property
    def key(self) -> str:
        """Hash of the factors."""
        return _digest(_as_json(self))


EUROPE = Climate()
"""That of the synthetic archive."""


@dataclass(frozen=True, eq=False)
class Domain:
    """A block of days on a grid: when and where the terms of the nature run act.

    Attributes
    ----------
    settings : DemoSettings
    block : Block
    latitude, longitude : ndarray
        Nodes in degrees, shapes (ny,) and (nx,).
    """

    settings: DemoSettings
    block: Block
    latitude: Array
    longitude: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.latitude), len(self.longitude)

    @property
    def winter(self) -> float:
        """1 in mid-winter and −1 in mid-summer; 0 without a seasonal cycle."""
        if not self.settings.seasonal_cycle:
            return 0.0
        return float(np.cos(2 * np.pi * (self.block.month - 1) / 12))

    def local_hour(self, hour: float) -> Array:
        """Return the hour of local solar day, 0 to 24, at `hour` since the start, shape (nx,)."""
        start = int(self.block.start.astype("datetime64[h]").astype(int)) % 24
        return np.asarray(np.mod(start + hour + self.longitude / 15, 24))


def _as_json(settings: DemoSettings | Climate) -> str:
    return json.dumps(dataclasses.asdict(settings), sort_keys=True)


def _digest(text: str) -> str:
    """Return a short hash, as names in the cache have."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def last_sunday(year: int, month: int) -> Instant:
    """Return the last Sunday of a month."""
    last: Instant = (np.datetime64(f"{year}-{month:02d}", "M") + 1).astype("datetime64[D]") - 1
    # Day 0 of datetime64 was a Thursday.
    weekday = (last.astype(int) + 3) % 7
    return last - (weekday + 1) % 7


def _nodes(first: float, last: float) -> Array:
    return np.linspace(first, last, round((last - first) / SPACING_DEG) + 1)
