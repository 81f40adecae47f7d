"""The nature run: a tracer emitted, carried, mixed and removed on a regional sphere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from deepcams_eval.demo.climate import EUROPE, TURN_DEG, Climate
from deepcams_eval.demo.mixed_layer import EMISSION_DEPTH_M, MixedLayer, mixed
from deepcams_eval.demo.places import CITIES
from deepcams_eval.demo.settings import SPACING_DEG, Block, DemoSettings
from deepcams_eval.demo.waves import TravellingWaves
from deepcams_eval.demo.wind import EARTH_RADIUS_M, Wind, seasonal

FloatArray = npt.NDArray[np.float64]

STEPS_PER_HOUR = 2
STEP_S = 3600.0 / STEPS_PER_HOUR
MARGIN = 6
"""Cells around the region in which the tracer is drawn towards the inflow."""

FREE_AIR = 1.5
"""What the air above the boundary layer holds, µg m⁻³."""

_ABOVE = 0.6  # what flows in above the mixed layer, as a share of what flows in below
_ABOVE_MEMORY_H = 48.0  # time in which the air above turns into free air


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
    """One block of days of the tracer, with its spin-up.

    Parameters
    ----------
    settings : DemoSettings
    block : Block
        Random numbers depend on the seed and on its year and month only, so that a block is the
        same whichever others are made.
    climate : Climate, optional
        How it differs from the archive.
    """

    def __init__(self, settings: DemoSettings, block: Block, climate: Climate = EUROPE) -> None:
        self.settings = settings
        self.block = block
        self.climate = climate
        pad: FloatArray = SPACING_DEG * np.arange(1.0, MARGIN + 1)
        self.latitude = _extend(settings.latitude, pad)
        self.longitude = _extend(settings.longitude, pad)
        wind, air, fires, noise, coast, showers, dust, depth = (
            settings.rng("nature", block.year, block.month, part) for part in range(8)
        )
        shape = len(self.latitude), len(self.longitude)
        self._land = _draw_land(coast, shape, climate.sea)
        self._showers = TravellingWaves(
            self.latitude, self.longitude, showers, length_deg=(1, 6), count=40
        )
        self._dust = np.maximum(_smooth_noise(dust, shape, 5) - 1.5, 0.0)
        self.wind = Wind(settings, block, self.latitude, self.longitude, wind)
        self._air = AirMasses(settings, block, self.latitude, self.longitude, air, climate.contrast)
        self._sources = Sources(
            settings, block, self.latitude, self.longitude, fires, climate, self._land
        )
        self._noise = Noise(shape, noise)
        pattern = static_pattern(settings, self.latitude, self.longitude)
        self._pattern = climate.pattern * self._land * pattern
        self._sponge = _sponge(len(self.latitude), len(self.longitude))
        self._winds: dict[int, tuple[FloatArray, FloatArray]] = {}
        self._start_hour = int(block.start.astype("datetime64[h]").astype(int)) % 24
        self._layer: MixedLayer | None = None
        if climate.night_m:
            self._layer = MixedLayer(
                climate,
                block.start,
                self.latitude,
                self.longitude,
                self._land,
                (_rough_noise(depth, shape), _rough_noise(depth, shape)),
            )

    def run(self) -> HourlyMaps:
        """Simulate the block and return its maps without the margin."""
        inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
        hours = self.block.hours
        shape = (hours + 1, len(self.latitude) - 2 * MARGIN, len(self.longitude) - 2 * MARGIN)
        instant, u, v = (np.empty(shape, dtype=np.float32) for _ in range(3))
        mean = np.zeros((hours, *shape[1:]), dtype=np.float32)
        for step, tracer in self._steps():
            hour, part = divmod(step, STEPS_PER_HOUR)
            seen = self._seen(tracer)[inner]
            if part == 0:
                instant[hour] = seen
                u[hour], v[hour] = (wind[inner] for wind in self._wind_at(hour))
                if hour < hours:
                    mean[hour] += seen / (2 * STEPS_PER_HOUR)
                if hour > 0:
                    mean[hour - 1] += seen / (2 * STEPS_PER_HOUR)
            else:
                mean[hour] += seen / STEPS_PER_HOUR
        return HourlyMaps(instant, mean, u, v)

    def _steps(self) -> Iterator[tuple[int, FloatArray]]:
        """Yield (sub-steps since the start of the block, tracer) once the spin-up is over."""
        spin_up = self.settings.spin_up_hours
        tracer = self._air.at(-float(spin_up))
        above = _ABOVE * tracer
        if spin_up == 0:
            yield 0, tracer
        for hour in range(-spin_up, self.block.hours):
            carry, carry_above = self._carriers(hour)
            gain, loss, rest = self._sources_and_sinks(hour + 0.5)
            inflow = self._air.at(hour + 0.5)
            for part in range(1, STEPS_PER_HOUR + 1):
                tracer = carry(tracer) if self.settings.wind else tracer
                tracer = rest + (tracer - rest) * loss + gain
                if self.settings.mixing:
                    tracer = diffuse(tracer, self.latitude, self.climate.diffusion)
                tracer += self._sponge * (inflow - tracer)
                if carry_above is not None:
                    middle = hour + (part - 0.5) / STEPS_PER_HOUR
                    above = carry_above(above) if self.settings.wind else above
                    tracer, above = self._mixed(tracer, above, inflow, middle)
                step = hour * STEPS_PER_HOUR + part
                if step >= 0:
                    yield step, tracer

    def _wind_at(self, hour: int) -> tuple[FloatArray, FloatArray]:
        """Return the wind at a full hour; it is asked for by both hours that meet there."""
        if hour not in self._winds:
            self._winds = {past: wind for past, wind in self._winds.items() if past >= hour - 1}
            u, v = self.wind.at(hour)
            self._winds[hour] = self.climate.wind * u, self.climate.wind * v
        return self._winds[hour]

    def _mixed(
        self, tracer: FloatArray, above: FloatArray, inflow: FloatArray, hour: float
    ) -> tuple[FloatArray, FloatArray]:
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
        below = Advection(u, v, self.latitude, STEP_S)
        if self._layer is None:
            return below, None
        cosine, sine = np.cos(np.radians(TURN_DEG)), np.sin(np.radians(TURN_DEG))
        east, north = cosine * u + sine * v, cosine * v - sine * u
        shear = self.climate.shear
        return below, Advection(shear * east, shear * north, self.latitude, STEP_S)

    def _sources_and_sinks(self, hour: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return emission of a step, factor of what remains, and the value that is aimed at."""
        shape = len(self.latitude), len(self.longitude)
        rate = np.zeros(shape)
        towards_free_air = np.zeros(shape)
        if self.settings.deposition:
            rate += 1 / 70.0 + 0.12 * self.wind.rain(hour)
            if self.climate.showers:
                rate += self.climate.showers * np.maximum(self._showers.at(hour) - 1.2, 0.0)
        if self.settings.mixing and self._layer is None:
            towards_free_air = self.climate.ventilation * self._land * self._ventilation(hour)
        total = rate + towards_free_air
        share = towards_free_air / np.maximum(total, 1e-12)
        step_h = 1.0 / STEPS_PER_HOUR
        gain = self._sources.at(hour)
        if self._layer is not None:
            gain *= EMISSION_DEPTH_M / self._layer.depth
        if self.climate.dust:
            gain += self.climate.dust * self._land * self._dust * self._gusts(hour)
        return gain * step_h, np.exp(-total * step_h), FREE_AIR * share

    def _gusts(self, hour: float) -> FloatArray:
        """Return how much dust the wind lifts: the square of what it has above 6 m s⁻¹, over 16."""
        u, v = self._wind_at(int(np.floor(hour)))
        return np.asarray((np.maximum(np.hypot(u, v) - 6.0, 0.0) / 4.0) ** 2)

    def _ventilation(self, hour: float) -> FloatArray:
        """Return the rate at which the growing boundary layer takes in free air, h⁻¹, (nx,)."""
        winter = seasonal(self.block.month) if self.settings.seasonal_cycle else 0.0
        local = local_hour(self._start_hour + hour, self.longitude)
        sun = (
            np.maximum(0.0, np.sin(np.pi * (local - 7) / 12)) if self.settings.daily_cycle else 0.3
        )
        return np.asarray(0.02 + (0.08 - 0.05 * winter) * sun)

    def _seen(self, tracer: FloatArray) -> FloatArray:
        """Return the tracer with its sub-grid pattern and noise."""
        exponent = np.zeros_like(tracer)
        if self.settings.static_pattern:
            exponent += self._pattern
        if self.settings.noise:
            exponent += self._noise.next()
        return tracer * np.exp(exponent)


class Advection:
    """Semi-Lagrangian transport over one step with interpolating cubic splines.

    Parameters
    ----------
    u, v : ndarray, shape (ny, nx)
        Wind in the middle of the step, m s⁻¹.
    latitude : ndarray, shape (ny,)
        Degrees; the spacing in longitude shrinks with its cosine.
    step_s : float
        Length of the step, s.

    Notes
    -----
    The place from which air arrives is found by the midpoint rule, with the wind at half the way
    from its Taylor expansion. Results are kept between zero and the highest value before.
    """

    def __init__(self, u: FloatArray, v: FloatArray, latitude: FloatArray, step_s: float) -> None:
        cell_m = EARTH_RADIUS_M * np.radians(SPACING_DEG)
        east = u * step_s / (cell_m * np.cos(np.radians(latitude))[:, None])
        north = v * step_s / cell_m
        east_mid = east - 0.5 * _along(east, east, north)
        north_mid = north - 0.5 * _along(north, east, north)
        rows, columns = np.mgrid[: u.shape[0], : u.shape[1]]
        self._matrix = _spline_matrix(rows - north_mid, columns - east_mid)

    def __call__(self, tracer: FloatArray) -> FloatArray:
        """Return the tracer one step later, same shape."""
        coefficients = ndimage.spline_filter(tracer, order=3, mode="mirror")
        moved = (self._matrix @ coefficients.ravel()).reshape(tracer.shape)
        return np.asarray(np.clip(moved, 0.0, tracer.max()))


def _along(field: FloatArray, east: FloatArray, north: FloatArray) -> FloatArray:
    by_row, by_column = np.gradient(field)
    return north * by_row + east * by_column


def _spline_matrix(rows: FloatArray, columns: FloatArray) -> sparse.csr_array:
    """Return the weights of cubic B-splines at (rows, columns), shape (cells, cells)."""
    ny, nx = rows.shape
    # Four taps must lie on the grid. Air from beyond the last nodes but one is taken from there:
    # that is in the margin, where the inflow rules anyway.
    rows = np.clip(rows, 1.0, ny - 2.001).ravel()
    columns = np.clip(columns, 1.0, nx - 2.001).ravel()
    row, column = rows.astype(np.int32), columns.astype(np.int32)
    weights_row, weights_column = _spline_weights(rows - row), _spline_weights(columns - column)
    weights = weights_row[:, :, None] * weights_column[:, None, :]
    taps = np.arange(-1, 3, dtype=np.int32)
    index = (row[:, None, None] + taps[:, None]) * nx + column[:, None, None] + taps
    start = np.arange(0, 16 * rows.size + 1, 16, dtype=np.int32)
    return sparse.csr_array((weights.ravel(), index.ravel(), start), shape=(rows.size, rows.size))


def _spline_weights(t: FloatArray) -> FloatArray:
    s = 1 - t
    inner = (0.5 * t - 1) * t * t + 2 / 3, (0.5 * s - 1) * s * s + 2 / 3
    return np.stack([s * s * s / 6, *inner, t * t * t / 6], axis=1)


DIFFUSIVITY = 1000.0
"""Horizontal mixing, m² s⁻¹."""


def diffuse(tracer: FloatArray, latitude: FloatArray, factor: float = 1.0) -> FloatArray:
    """Return the tracer after one step of horizontal diffusion; mass is conserved inside.

    `factor` is on the diffusivity.
    """
    cell_m = EARTH_RADIUS_M * np.radians(SPACING_DEG)
    cosine = np.cos(np.radians(latitude))[:, None]
    number = factor * DIFFUSIVITY * STEP_S / cell_m**2
    northward = np.diff(tracer, axis=0) * (cosine[1:] + cosine[:-1]) / 2
    eastward = np.diff(tracer, axis=1)
    result = tracer.copy()
    result[:-1] += number * northward / cosine[:-1]
    result[1:] -= number * northward / cosine[1:]
    result[:, :-1] += number * eastward / cosine**2
    result[:, 1:] -= number * eastward / cosine**2
    return result


class AirMasses:
    """Large-scale field that starts the run and flows in through its margin, µg m⁻³.

    Travelling waves of 5° to 30°, sharpened to fronts, above a level that falls from south-east
    to north-west.
    """

    def __init__(
        self,
        settings: DemoSettings,
        block: Block,
        latitude: FloatArray,
        longitude: FloatArray,
        rng: np.random.Generator,
        contrast: float = 1.0,
    ) -> None:
        winter = seasonal(block.month) if settings.seasonal_cycle else 0.0
        self._spread = 1.2 * contrast
        # Places are counted from the middle of Europe, so that a smaller region has its own level.
        south = (46.5 - latitude)[:, None] / 13.5
        east = (longitude - 12.0) / 24.0
        self._level = np.log(6.0 + 1.5 * winter) + 0.4 * south + 0.5 * east
        self._waves = TravellingWaves(latitude, longitude, rng, length_deg=(5, 30), count=24)

    def at(self, hour: float) -> FloatArray:
        """Return the field at `hour` since the start of the block, shape (ny, nx)."""
        return np.asarray(np.exp(self._level + self._spread * np.tanh(1.8 * self._waves.at(hour))))


class Sources:
    """Emission into the surface air, µg m⁻³ h⁻¹."""

    def __init__(
        self,
        settings: DemoSettings,
        block: Block,
        latitude: FloatArray,
        longitude: FloatArray,
        rng: np.random.Generator,
        climate: Climate,
        land: FloatArray,
    ) -> None:
        self._settings = settings
        self._longitude = longitude
        self._winter = seasonal(block.month) if settings.seasonal_cycle else 0.0
        self._start_hour = int(block.start.astype("datetime64[h]").astype(int)) % 24
        self._surface = climate.emissions * land * emission_map(settings, latitude, longitude)
        self._plumes = climate.plumes * land
        self._fires = _draw_fires(settings, block, latitude, longitude, rng, self._winter)

    def at(self, hour: float) -> FloatArray:
        """Return the emission at `hour` since the start of the block, shape (ny, nx)."""
        rate = np.zeros_like(self._surface)
        local = local_hour(self._start_hour + hour, self._longitude)
        if self._settings.emissions:
            rate += self._surface * (1 + 0.45 * self._winter) * self._daily(local)
        if self._settings.plumes:
            for fire in self._fires:
                if fire.begin <= hour < fire.end:
                    afternoon = 1.0
                    if self._settings.daily_cycle:
                        clock = local[fire.column]
                        afternoon = 1 + 0.8 * np.cos(2 * np.pi * (clock - 15) / 24)
                    rate[fire.window] += self._plumes[fire.window] * fire.rate * afternoon
        return rate

    def _daily(self, local: FloatArray) -> FloatArray:
        if not self._settings.daily_cycle:
            return np.ones_like(local)
        morning = np.exp(-(((local - 8) / 1.8) ** 2))
        evening = np.exp(-(((local - 19.5) / 2.8) ** 2))
        night = 0.5 + 0.5 * np.cos(2 * np.pi * (local - 3) / 24)
        return np.asarray(0.75 + 0.9 * morning + (0.9 + 0.4 * self._winter) * evening - 0.3 * night)


@dataclass(frozen=True)
class Fire:
    """A source that burns for a while; `window` is where `rate` (µg m⁻³ h⁻¹) is added."""

    begin: float
    end: float
    column: int
    window: tuple[slice, slice]
    rate: FloatArray


def _draw_fires(
    settings: DemoSettings,
    block: Block,
    latitude: FloatArray,
    longitude: FloatArray,
    rng: np.random.Generator,
    winter: float,
) -> list[Fire]:
    cells = len(latitude) * len(longitude)
    days = (block.hours + settings.spin_up_hours) / 24
    count = rng.poisson(cells / 26000 * days * (4.5 - 2.5 * winter))
    reach = 4
    offset = np.arange(-reach, reach + 1)
    fires = []
    for _ in range(count):
        row = int(len(latitude) * rng.beta(1.0, 1.6))
        row = min(max(row, reach), len(latitude) - reach - 1)
        column = int(rng.integers(reach, len(longitude) - reach))
        begin = rng.uniform(-settings.spin_up_hours, block.hours)
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


def emission_map(settings: DemoSettings, latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    """Return the constant part of surface emissions, µg m⁻³ h⁻¹, shape (ny, nx).

    Cities in cores of one cell with suburbs around them, towns scattered about them, and
    country-wide use.
    """
    rng = settings.rng("emissions")
    result = np.full((len(latitude), len(longitude)), 0.05)
    for city in CITIES:
        # Drawn for every city, so that a smaller region has the same towns.
        places = rng.normal(0.0, 1.6, (14, 2)) * [1.0, 1.5]
        sizes = rng.lognormal(-1.0, 0.8, 14)
        result += (
            city.weight * 0.08 * _bump(latitude, longitude, city.latitude, city.longitude, 2.2)
        )
        result += (
            city.weight * 1.8 * _bump(latitude, longitude, city.latitude, city.longitude, 0.16)
        )
        for (north, east), size in zip(places, sizes, strict=True):
            place = city.latitude + north, city.longitude + east
            result += 1.3 * np.sqrt(city.weight) * size * _bump(latitude, longitude, *place, 0.13)
    return result


def _bump(
    latitude: FloatArray, longitude: FloatArray, north: float, east: float, radius_deg: float
) -> FloatArray:
    shrink = np.cos(np.radians(north))
    rows = np.exp(-(((latitude - north) / radius_deg) ** 2) / 2)
    columns = np.exp(-((((longitude - east) * shrink) / radius_deg) ** 2) / 2)
    return np.outer(rows, columns)


class Noise:
    """Unresolved variability: a field of exponents with a memory of two hours."""

    MEMORY_H = 2.0
    SPREAD = 0.02

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self._shape, self._rng = shape, rng
        self._keep = float(np.exp(-1 / (STEPS_PER_HOUR * self.MEMORY_H)))
        self._state = self._draw()

    def next(self) -> FloatArray:
        """Return the field one step later, shape (ny, nx); standard deviation `SPREAD`."""
        self._state = self._keep * self._state + np.sqrt(1 - self._keep**2) * self._draw()
        return self._state

    def _draw(self) -> FloatArray:
        white = self._rng.standard_normal(self._shape, dtype=np.float32)
        # A three-point mean with these weights keeps 0.3828 of the variance of white noise.
        for axis in (0, 1):
            white = ndimage.convolve1d(white, [0.2, 0.6, 0.2], axis=axis, mode="nearest")
        return np.asarray(white, dtype=np.float64) * (self.SPREAD / 0.44)


def static_pattern(
    settings: DemoSettings, latitude: FloatArray, longitude: FloatArray
) -> FloatArray:
    """Return exponents that never change, shape (ny, nx): coasts, and fine relief."""
    rng = settings.rng("pattern")
    shape = len(latitude), len(longitude)
    fine = _smooth_noise(rng, shape, 0.7)
    relief = _smooth_noise(rng, shape, 2.5)
    coast = np.tanh(6 * _smooth_noise(rng, shape, 12))
    return 0.06 * fine + 0.08 * relief + 0.15 * coast


def _draw_land(rng: np.random.Generator, shape: tuple[int, int], sea: float) -> FloatArray:
    """Return 1 over land and 0 over the sea, with coasts a few cells wide, shape (ny, nx)."""
    if sea in (0.0, 1.0):
        return np.full(shape, 1.0 - sea)
    height = _smooth_noise(rng, shape, 20)
    return np.asarray(0.5 + 0.5 * np.tanh(10 * (height - np.quantile(height, sea))))


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> FloatArray:
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), cells, mode="wrap")
    return np.asarray(smooth / smooth.std())


def _rough_noise(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Return noise of two scales, standard deviation 1."""
    both = _smooth_noise(rng, shape, 1) + _smooth_noise(rng, shape, 5)
    return np.asarray(both / both.std())


def local_hour(hour_utc: float, longitude: FloatArray) -> FloatArray:
    """Return the hour of local solar day, 0 to 24."""
    return np.asarray(np.mod(hour_utc + longitude / 15, 24))


def _extend(nodes: FloatArray, pad: FloatArray) -> FloatArray:
    return np.concatenate([nodes[0] - pad[::-1], nodes, nodes[-1] + pad])


def _sponge(ny: int, nx: int) -> FloatArray:
    """Return the share by which each step draws the tracer to the inflow, shape (ny, nx)."""
    rows = np.minimum(np.arange(ny), np.arange(ny)[::-1])
    columns = np.minimum(np.arange(nx), np.arange(nx)[::-1])
    depth = np.minimum(rows[:, None], columns)
    return np.clip(1 - depth / MARGIN, 0.0, 1.0) ** 2
