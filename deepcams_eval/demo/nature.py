"""The nature run: a tracer emitted, carried, mixed and removed on a regional sphere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deepcams_eval.core.arrays import Array
from deepcams_eval.core.solar import cosine_of_zenith
from deepcams_eval.demo.places import CITIES
from deepcams_eval.demo.settings import EUROPE, SPACING_DEG, Block, Climate, DemoSettings, Domain
from deepcams_eval.demo.wind import (
    STEP_S,
    STEPS_PER_HOUR,
    Advection,
    TravellingWaves,
    Wind,
    diffuse,
)

MARGIN = 6
"""Cells around the region in which the tracer is drawn towards the inflow."""

FREE_AIR = 1.5
"""What the air above the boundary layer holds, µg m⁻³."""

TOP_M = 4000.0
"""Where the layer above the mixed layer ends."""

TURN_DEG = 25.0
"""How far the wind turns clockwise from the mixed layer to the air above."""

_ABOVE = 0.6  # what flows in above the mixed layer, as a share of what flows in below
_ABOVE_MEMORY_H = 48.0  # time in which the air above turns into free air
_EMISSION_DEPTH_M = 400.0  # depth of the mixed layer that emissions are given for
_SEA_M = 600.0  # depth over the sea, day and night
_DAY_HOURS = 5.0  # integral of the cosine of the zenith over a day of spring at 48° N, h
_SUNSET = 0.1  # cosine of the zenith below which nothing heats the ground
_COLLAPSE_H = 0.8


@dataclass(frozen=True)
class HourlyMaps:
    """What a block leaves behind; latitude and longitude ascending.

    Attributes
    ----------
    instant : ndarray, shape (hours + 1, ny, nx)
        Tracer at the full hours, both ends included, µg m⁻³, float32.
    mean : ndarray, shape (hours, ny, nx)
        Means over the hours between (trapezoidal, over the sub-steps), µg m⁻³, float32.
    u, v : ndarray, shape (hours + 1, ny, nx)
        Wind at the full hours, m s⁻¹, float32.
    """

    instant: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    u: npt.NDArray[np.float32]
    v: npt.NDArray[np.float32]


class NatureRun:
    """One block of days of the tracer, with its spin-up, in the climate of the archive or another.

    Random numbers depend on the seed and on the year and month of the block only, so that it is
    the same whichever others are made.
    """

    def __init__(self, settings: DemoSettings, block: Block, climate: Climate = EUROPE) -> None:
        pad: Array = SPACING_DEG * np.arange(1.0, MARGIN + 1)
        nodes = _extend(settings.latitude, pad), _extend(settings.longitude, pad)
        self._domain = domain = Domain(settings, block, *nodes)
        self._climate = climate
        wind, air, fires, noise, coast, showers, dust, depth = (
            settings.rng("nature", block.year, block.month, part) for part in range(8)
        )
        self._land = _draw_land(coast, domain.shape, climate.sea)
        self._showers = TravellingWaves(domain, showers, length_deg=(1, 6), count=40)
        self._dust = np.maximum(_smooth_noise(dust, domain.shape, 5) - 1.5, 0.0)
        self.wind = Wind(domain, wind)
        self._air = AirMasses(domain, air, climate.contrast)
        self._sources = Sources(domain, fires, climate, self._land)
        self._noise = Noise(domain.shape, noise)
        self._pattern = climate.pattern * self._land * static_pattern(domain)
        self._sponge = _sponge(*domain.shape)
        # Asked for by both hours that meet there.
        self._wind_at = lru_cache(maxsize=3)(self._scaled_wind)
        self._layer = MixedLayer(domain, climate, self._land, depth) if climate.night_m else None

    def run(self) -> HourlyMaps:
        """Simulate the block and return its maps without the margin."""
        inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
        settings, hours = self._domain.settings, self._domain.block.hours
        shape = (hours + 1, len(settings.latitude), len(settings.longitude))
        instant, u, v = (np.empty(shape, dtype=np.float32) for _ in range(3))
        mean = np.zeros((hours, *shape[1:]), dtype=np.float32)
        for step, tracer in self._steps():
            hour, part = divmod(step, STEPS_PER_HOUR)
            seen = self._seen(tracer)[inner]
            if part:
                mean[hour] += seen / STEPS_PER_HOUR
                continue
            instant[hour] = seen
            u[hour], v[hour] = (wind[inner] for wind in self._wind_at(hour))
            # Both hours that meet here, but for those beyond the ends.
            mean[max(hour - 1, 0) : hour + 1] += seen / (2 * STEPS_PER_HOUR)
        return HourlyMaps(instant, mean, u, v)

    def _steps(self) -> Iterator[tuple[int, Array]]:
        """Yield (sub-steps since the start of the block, tracer) once the spin-up is over."""
        settings, spin_up = self._domain.settings, self._domain.settings.spin_up_hours
        tracer = self._air.at(-float(spin_up))
        above = _ABOVE * tracer
        if spin_up == 0:
            yield 0, tracer
        for hour in range(-spin_up, self._domain.block.hours):
            carry, carry_above = self._carriers(hour)
            gain, loss, rest = self._sources_and_sinks(hour + 0.5)
            inflow = self._air.at(hour + 0.5)
            for part in range(1, STEPS_PER_HOUR + 1):
                tracer = carry(tracer) if settings.wind else tracer
                tracer = rest + (tracer - rest) * loss + gain
                if settings.mixing:
                    tracer = diffuse(tracer, self._domain.latitude, self._climate.diffusion)
                tracer += self._sponge * (inflow - tracer)
                if carry_above is not None:
                    middle = hour + (part - 0.5) / STEPS_PER_HOUR
                    above = carry_above(above) if settings.wind else above
                    tracer, above = self._mixed(tracer, above, inflow, middle)
                step = hour * STEPS_PER_HOUR + part
                if step >= 0:
                    yield step, tracer

    def _scaled_wind(self, hour: int) -> tuple[Array, Array]:
        u, v = self.wind.at(hour)
        return self._climate.wind * u, self._climate.wind * v

    def _mixed(
        self, tracer: Array, above: Array, inflow: Array, hour: float
    ) -> tuple[Array, Array]:
        """Return both layers after a step whose middle is at `hour`."""
        assert self._layer is not None
        above += self._sponge * (_ABOVE * inflow - above)
        step_h = 1.0 / STEPS_PER_HOUR
        above = FREE_AIR + (above - FREE_AIR) * np.exp(-step_h / _ABOVE_MEMORY_H)
        before = self._layer.depth
        self._layer.advance(hour, step_h)
        return mixed(tracer, above, before, self._layer.depth)

    def _carriers(self, hour: int) -> tuple[Advection, Advection | None]:
        """Return the transport over each step of the hour that begins at `hour`, and above."""
        begin, end = self._wind_at(hour), self._wind_at(hour + 1)
        u, v = ((first + last) / 2 for first, last in zip(begin, end, strict=True))
        below = Advection(u, v, self._domain.latitude, STEP_S)
        if self._layer is None:
            return below, None
        cosine, sine = np.cos(np.radians(TURN_DEG)), np.sin(np.radians(TURN_DEG))
        east, north = cosine * u + sine * v, cosine * v - sine * u
        shear = self._climate.shear
        return below, Advection(shear * east, shear * north, self._domain.latitude, STEP_S)

    def _sources_and_sinks(self, hour: float) -> tuple[Array, Array, Array]:
        """Return emission of a step, factor of what remains, and the value that is aimed at."""
        rate, towards_free_air = np.zeros((2, *self._domain.shape))
        if self._domain.settings.deposition:
            rate += 1 / 70.0 + 0.12 * self.wind.rain(hour)
            if self._climate.showers:
                rate += self._climate.showers * np.maximum(self._showers.at(hour) - 1.2, 0.0)
        if self._domain.settings.mixing and self._layer is None:
            towards_free_air = self._climate.ventilation * self._land * self._ventilation(hour)
        total = rate + towards_free_air
        share = towards_free_air / np.maximum(total, 1e-12)
        step_h = 1.0 / STEPS_PER_HOUR
        gain = self._sources.at(hour)
        if self._layer is not None:
            gain *= _EMISSION_DEPTH_M / self._layer.depth
        if self._climate.dust:
            gain += self._climate.dust * self._land * self._dust * self._gusts(hour)
        return gain * step_h, np.exp(-total * step_h), FREE_AIR * share

    def _gusts(self, hour: float) -> Array:
        """Return how much dust the wind lifts: the square of what it has above 6 m s⁻¹, over 16."""
        u, v = self._wind_at(int(np.floor(hour)))
        return np.asarray((np.maximum(np.hypot(u, v) - 6.0, 0.0) / 4.0) ** 2)

    def _ventilation(self, hour: float) -> Array:
        """Return the rate at which the growing boundary layer takes in free air, h⁻¹, (nx,)."""
        sun: Array | float = 0.3
        if self._domain.settings.daily_cycle:
            sun = np.maximum(0.0, np.sin(np.pi * (self._domain.local_hour(hour) - 7) / 12))
        return np.asarray(0.02 + (0.08 - 0.05 * self._domain.winter) * sun)

    def _seen(self, tracer: Array) -> Array:
        """Return the tracer with its sub-grid pattern and noise."""
        exponent = np.zeros_like(tracer)
        if self._domain.settings.static_pattern:
            exponent += self._pattern
        if self._domain.settings.noise:
            exponent += self._noise.next()
        return tracer * np.exp(exponent)


class MixedLayer:
    """Depth of the mixed layer, as a function of the sunshine since the morning.

    h² = night² + K ∫ max(cos ζ, 0) dt: growth into a stable layer without entrainment of heat
    (Carson 1973, doi:10.1002/qj.49709942105), with K such that it reaches `Climate.day_m`. After
    sunset what was gained is lost within an hour or two.

    ``land`` is 1 over land and 0 over the sea; the generator draws how night and day differ from
    place to place.
    """

    def __init__(
        self, domain: Domain, climate: Climate, land: Array, rng: np.random.Generator
    ) -> None:
        by_night, by_day = (
            np.exp(climate.relief * _rough_noise(rng, domain.shape)) for _ in range(2)
        )
        self._place = domain.latitude, domain.longitude
        self._start = domain.block.start.astype("datetime64[s]")
        self._land = land
        self._night = climate.night_m * by_night
        self._gain = (climate.day_m * by_day) ** 2 / _DAY_HOURS
        self._shone = np.zeros_like(land)

    @property
    def depth(self) -> Array:
        """Depth now, m, shape (ny, nx)."""
        grown = np.sqrt(self._night**2 + self._gain * self._shone)
        return np.minimum(self._land * grown + (1 - self._land) * _SEA_M, 0.9 * TOP_M)

    def advance(self, hour: float, step_h: float) -> None:
        """Go on by a step whose middle is at `hour` since the start."""
        time = self._start + np.timedelta64(round(3600 * hour), "s")
        sun = cosine_of_zenith(np.array([time]), *self._place)[0]
        lost = np.where(sun < _SUNSET, np.exp(-step_h / _COLLAPSE_H), 1.0)
        self._shone = self._shone * lost + step_h * np.maximum(sun, 0.0)


def mixed(surface: Array, above: Array, before: Array, after: Array) -> tuple[Array, Array]:
    """Return both layers once the depth of the lower one has changed; mass is conserved.

    A layer that grows takes in air from above; one that shrinks leaves its air there.
    """
    grown = (surface * before + above * (after - before)) / after
    left = (above * (TOP_M - before) + surface * (before - after)) / (TOP_M - after)
    grows = after > before
    return np.where(grows, grown, surface), np.where(grows, above, left)


class AirMasses:
    """Large-scale field that starts the run and flows in through its margin, µg m⁻³.

    Travelling waves of 5° to 30°, sharpened to fronts, above a level that falls from south-east
    to north-west.
    """

    def __init__(self, domain: Domain, rng: np.random.Generator, contrast: float) -> None:
        self._spread = 1.2 * contrast
        # Places are counted from the middle of Europe, so that a smaller region has its own level.
        south = (46.5 - domain.latitude)[:, None] / 13.5
        east = (domain.longitude - 12.0) / 24.0
        self._level = np.log(6.0 + 1.5 * domain.winter) + 0.4 * south + 0.5 * east
        self._waves = TravellingWaves(domain, rng, length_deg=(5, 30), count=24)

    def at(self, hour: float) -> Array:
        """Return the field at `hour` since the start of the block, shape (ny, nx)."""
        return np.asarray(np.exp(self._level + self._spread * np.tanh(1.8 * self._waves.at(hour))))


class Sources:
    """Emission into the surface air, µg m⁻³ h⁻¹."""

    def __init__(
        self, domain: Domain, rng: np.random.Generator, climate: Climate, land: Array
    ) -> None:
        self._domain = domain
        self._surface = climate.emissions * land * emission_map(domain)
        self._plumes = climate.plumes * land
        self._fires = _draw_fires(domain, rng)

    def at(self, hour: float) -> Array:
        """Return the emission at `hour` since the start of the block, shape (ny, nx)."""
        rate = np.zeros_like(self._surface)
        settings, local = self._domain.settings, self._domain.local_hour(hour)
        if settings.emissions:
            rate += self._surface * (1 + 0.45 * self._domain.winter) * self._daily(local)
        for fire in self._fires if settings.plumes else ():
            if fire.begin <= hour < fire.end:
                afternoon = 1.0
                if settings.daily_cycle:
                    afternoon += 0.8 * np.cos(2 * np.pi * (local[fire.column] - 15) / 24)
                rate[fire.window] += self._plumes[fire.window] * fire.rate * afternoon
        return rate

    def _daily(self, local: Array) -> Array:
        if not self._domain.settings.daily_cycle:
            return np.ones_like(local)
        morning = np.exp(-(((local - 8) / 1.8) ** 2))
        evening = np.exp(-(((local - 19.5) / 2.8) ** 2))
        night = 0.5 + 0.5 * np.cos(2 * np.pi * (local - 3) / 24)
        return np.asarray(
            0.75 + 0.9 * morning + (0.9 + 0.4 * self._domain.winter) * evening - 0.3 * night
        )


class Fire(NamedTuple):
    """A source that burns for a while; `window` is where `rate` (µg m⁻³ h⁻¹) is added."""

    begin: float
    end: float
    column: int
    window: tuple[slice, slice]
    rate: Array


def _draw_fires(domain: Domain, rng: np.random.Generator) -> list[Fire]:
    (rows, columns), hours = domain.shape, domain.block.hours
    spin_up = domain.settings.spin_up_hours
    cells, days = rows * columns, (hours + spin_up) / 24
    count = rng.poisson(cells / 26000 * days * (4.5 - 2.5 * domain.winter))
    reach = 4
    offset = np.arange(-reach, reach + 1)
    fires = []
    for _ in range(count):
        row = min(max(int(rows * rng.beta(1.0, 1.6)), reach), rows - reach - 1)
        column = int(rng.integers(reach, columns - reach))
        begin = rng.uniform(-spin_up, hours)
        radius = rng.uniform(0.6, 1.4)
        blob = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * radius**2))
        fires.append(
            Fire(
                begin=begin,
                end=begin + rng.uniform(8, 60),
                column=column,
                window=np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1],
                rate=blob * np.minimum(rng.lognormal(np.log(12), 0.9), 70) / radius,
            )
        )
    return fires


def emission_map(domain: Domain) -> Array:
    """Return the constant part of surface emissions, µg m⁻³ h⁻¹, shape (ny, nx).

    Cities in cores of one cell with suburbs around them, towns scattered about them, and
    country-wide use.
    """
    rng = domain.settings.rng("emissions")
    result = np.full(domain.shape, 0.05)
    for city in CITIES:
        # Drawn for every city, so that a smaller region has the same towns.
        places = rng.normal(0.0, 1.6, (14, 2)) * [1.0, 1.5]
        sizes = rng.lognormal(-1.0, 0.8, 14)
        for strength, radius_deg in ((0.08, 2.2), (1.8, 0.16)):
            bump = _bump(domain, city.latitude, city.longitude, radius_deg)
            result += city.weight * strength * bump
        for (north, east), size in zip(places, sizes, strict=True):
            place = city.latitude + north, city.longitude + east
            result += 1.3 * np.sqrt(city.weight) * size * _bump(domain, *place, 0.13)
    return result


def _bump(domain: Domain, north: float, east: float, radius_deg: float) -> Array:
    shrink = np.cos(np.radians(north))
    rows = np.exp(-(((domain.latitude - north) / radius_deg) ** 2) / 2)
    columns = np.exp(-((((domain.longitude - east) * shrink) / radius_deg) ** 2) / 2)
    return np.outer(rows, columns)


class Noise:
    """Unresolved variability: a field of exponents with a memory of two hours."""

    MEMORY_H = 2.0
    SPREAD = 0.02

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self._shape, self._rng = shape, rng
        self._keep = float(np.exp(-1 / (STEPS_PER_HOUR * self.MEMORY_H)))
        self._state = self._draw()

    def next(self) -> Array:
        """Return the field one step later, shape (ny, nx); standard deviation `SPREAD`."""
        self._state = self._keep * self._state + np.sqrt(1 - self._keep**2) * self._draw()
        return self._state

    def _draw(self) -> Array:
        white = self._rng.standard_normal(self._shape, dtype=np.float32)
        # A three-point mean with these weights keeps 0.3828 of the variance of white noise.
        for axis in (0, 1):
            white = ndimage.convolve1d(white, [0.2, 0.6, 0.2], axis=axis, mode="nearest")
        return np.asarray(white, dtype=np.float64) * (self.SPREAD / 0.44)


def static_pattern(domain: Domain) -> Array:
    """Return exponents that never change, shape (ny, nx): coasts, and fine relief."""
    rng, shape = domain.settings.rng("pattern"), domain.shape
    fine = _smooth_noise(rng, shape, 0.7)
    relief = _smooth_noise(rng, shape, 2.5)
    coast = np.tanh(6 * _smooth_noise(rng, shape, 12))
    return 0.06 * fine + 0.08 * relief + 0.15 * coast


def _draw_land(rng: np.random.Generator, shape: tuple[int, int], sea: float) -> Array:
    """Return 1 over land and 0 over the sea, with coasts a few cells wide, shape (ny, nx)."""
    if sea in (0.0, 1.0):
        return np.full(shape, 1.0 - sea)
    height = _smooth_noise(rng, shape, 20)
    return np.asarray(0.5 + 0.5 * np.tanh(10 * (height - np.quantile(height, sea))))


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Array:
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), cells, mode="wrap")
    return np.asarray(smooth / smooth.std())


def _rough_noise(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return noise of two scales, standard deviation 1."""
    both = _smooth_noise(rng, shape, 1) + _smooth_noise(rng, shape, 5)
    return np.asarray(both / both.std())


def _extend(nodes: Array, pad: Array) -> Array:
    return np.concatenate([nodes[0] - pad[::-1], nodes, nodes[-1] + pad])


def _sponge(ny: int, nx: int) -> Array:
    """Return the share by which each step draws the tracer to the inflow, shape (ny, nx)."""
    rows = np.minimum(np.arange(ny), np.arange(ny)[::-1])
    columns = np.minimum(np.arange(nx), np.arange(nx)[::-1])
    depth = np.minimum(rows[:, None], columns)
    return np.clip(1 - depth / MARGIN, 0.0, 1.0) ** 2
