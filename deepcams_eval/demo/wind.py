"""A time-varying wind without divergence on the sphere, from a stream function."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepcams_eval.demo.settings import Block, DemoSettings

EARTH_RADIUS_M = 6.371e6
KM = 1000.0

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vortices:
    """Travelling vortices with a Gaussian stream function; arrays of equal length.

    Attributes
    ----------
    latitude, longitude : ndarray
        Place of the centre in the middle of the life, degrees.
    northward, eastward : ndarray
        Speed of the centre, m s⁻¹.
    size : ndarray
        Radius of strongest wind, m.
    peak : ndarray
        Strongest wind, m s⁻¹; positive turns as a cyclone of the northern hemisphere.
    middle, life : ndarray
        Middle and length of the life, hours since the start of the block.
    """

    latitude: FloatArray
    longitude: FloatArray
    northward: FloatArray
    eastward: FloatArray
    size: FloatArray
    peak: FloatArray
    middle: FloatArray
    life: FloatArray

    def centres(self, hour: float) -> tuple[FloatArray, FloatArray]:
        """Return latitude and longitude of the centres, degrees, at `hour`."""
        seconds = (hour - self.middle) * 3600.0
        latitude = self.latitude + np.degrees(self.northward * seconds / EARTH_RADIUS_M)
        shrink = np.cos(np.radians(self.latitude))
        eastward = np.degrees(self.eastward * seconds / (EARTH_RADIUS_M * shrink))
        return latitude, self.longitude + eastward

    def strength(self, hour: float) -> FloatArray:
        """Return the share of its peak that each vortex has at `hour`, 0 to 1."""
        age = np.clip((hour - self.middle) / self.life + 0.5, 0.0, 1.0)
        return np.asarray(np.sin(np.pi * age) ** 2)

    def alive(self, hour: float) -> Vortices:
        """Return those whose life includes `hour`."""
        chosen = np.abs(hour - self.middle) < self.life / 2
        names = [item.name for item in dataclasses.fields(self)]
        return Vortices(**{name: getattr(self, name)[chosen] for name in names})


class Wind:
    """Jet, planetary waves and vortices, as a function of time on a grid.

    The stream function ψ is a sum of products of a function of latitude and one of longitude;
    u = −∂ψ/∂φ / a and v = ∂ψ/∂λ / (a cos φ) are differentiated exactly, so that the wind has no
    divergence on the sphere.

    Parameters
    ----------
    settings : DemoSettings
        ``wind=False`` gives rest; ``weather_systems=False`` leaves jet and waves.
    block : Block
        Its month sets the strength of the jet.
    latitude, longitude : ndarray
        Nodes in degrees, shapes (ny,) and (nx,).
    rng : numpy.random.Generator
        Draws the systems of this block.
    """

    def __init__(
        self,
        settings: DemoSettings,
        block: Block,
        latitude: FloatArray,
        longitude: FloatArray,
        rng: np.random.Generator,
    ) -> None:
        self._latitude = latitude
        self._longitude = longitude
        self._blows = settings.wind
        winter = seasonal(block.month) if settings.seasonal_cycle else 0.0
        self._jet_speed = 6.0 + 2.0 * winter
        self._jet_latitude = rng.uniform(46, 54)
        self._waves = _draw_waves(rng)
        self.cyclones = _draw_cyclones(settings, block, rng, winter)
        others = _draw_anticyclones(settings, block, rng), _draw_eddies(settings, block, rng)
        self._systems = (self.cyclones, *others) if settings.weather_systems else ()

    def at(self, hour: float) -> tuple[FloatArray, FloatArray]:
        """Return eastward and northward wind, m s⁻¹, shapes (ny, nx).

        Parameters
        ----------
        hour : float
            Hours since the start of the block; negative during spin-up.
        """
        shape = len(self._latitude), len(self._longitude)
        if not self._blows:
            return np.zeros(shape), np.zeros(shape)
        u, v = self._jet(hour)
        for systems in self._systems:
            du, dv = self._turning(systems.alive(hour), hour)
            u += du
            v += dv
        return u, v

    def _jet(self, hour: float) -> tuple[FloatArray, FloatArray]:
        width = 13.0
        offset = (self._latitude - self._jet_latitude) / width
        profile = np.exp(-(offset**2))
        u = np.repeat((self._jet_speed * profile - 1.5)[:, None], len(self._longitude), axis=1)
        v = np.zeros_like(u)
        per_metre = 1 / (EARTH_RADIUS_M * np.radians(width))
        for speed, wavelength, period, phase in self._waves:
            number = 2 * np.pi / wavelength
            angle = number * self._longitude - 2 * np.pi * hour / period + phase
            # ψ = A·profile·cos(angle), with A such that the meridional wind peaks at `speed`.
            per_metre_east = np.degrees(number) / (
                EARTH_RADIUS_M * np.cos(np.radians(self._jet_latitude))
            )
            amplitude = speed / per_metre_east
            u += np.outer(2 * offset * profile * per_metre, amplitude * np.cos(angle))
            slope = np.degrees(number) / (EARTH_RADIUS_M * np.cos(np.radians(self._latitude)))
            v -= np.outer(profile * slope, amplitude * np.sin(angle))
        return u, v

    def _turning(self, systems: Vortices, hour: float) -> tuple[FloatArray, FloatArray]:
        rows, columns, y, x = self._profiles(systems, hour)
        amplitude = -systems.peak * systems.strength(hour) * systems.size * np.exp(0.5)
        # With ψ = A·exp(−(x² + y²)/2L²): ∂ψ/∂y = −y/L²·ψ, and alike for x.
        scale = (systems.size**2)[:, None]
        u = (rows * y / scale * amplitude[:, None]).T @ (columns)
        shrink = np.cos(np.radians(systems.latitude))[:, None]
        v = -((rows * amplitude[:, None]).T @ (columns * x / scale * shrink))
        return u, v / np.cos(np.radians(self._latitude))[:, None]

    def _profiles(
        self, systems: Vortices, hour: float, widen: float = 1.0
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        latitude, longitude = systems.centres(hour)
        y = EARTH_RADIUS_M * np.radians(self._latitude - latitude[:, None])
        shrink = np.cos(np.radians(systems.latitude))[:, None]
        x = EARTH_RADIUS_M * shrink * np.radians(self._longitude - longitude[:, None])
        variance = 2 * (widen * systems.size[:, None]) ** 2
        return np.exp(-(y**2) / variance), np.exp(-(x**2) / variance), y, x

    def rain(self, hour: float) -> FloatArray:
        """Return how hard it rains, 0 (dry) to about 1, shape (ny, nx): around cyclones."""
        cyclones = self.cyclones.alive(hour)
        rows, columns, _, _ = self._profiles(cyclones, hour, widen=0.8)
        strength = cyclones.strength(hour)[:, None]
        cover = (rows * strength).T @ (columns)
        return np.asarray(np.minimum(cover, 1.0))


def seasonal(month: int) -> float:
    """Return 1 in mid-winter and −1 in mid-summer of the northern hemisphere."""
    return float(np.cos(2 * np.pi * (month - 1) / 12))


def _draw_waves(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Return (speed m s⁻¹, wavelength °, period h, phase) of each wave."""
    return [
        (rng.uniform(2, 4), rng.uniform(35, 70), rng.uniform(90, 180), rng.uniform(0, 2 * np.pi))
        for _ in range(3)
    ]


def _draw_cyclones(
    settings: DemoSettings, block: Block, rng: np.random.Generator, winter: float
) -> Vortices:
    drawn = _draw(settings, block, rng, per_million_km2=0.45, size_km=(250, 550), life_h=(50, 110))
    count = len(drawn["size"])
    return Vortices(
        **drawn,
        peak=rng.uniform(9, 16, count) * (1 + 0.2 * winter),
        eastward=rng.uniform(5, 11, count),
        northward=rng.uniform(-1, 4, count),
    )


def _draw_anticyclones(settings: DemoSettings, block: Block, rng: np.random.Generator) -> Vortices:
    drawn = _draw(settings, block, rng, per_million_km2=0.3, size_km=(500, 900), life_h=(90, 160))
    count = len(drawn["size"])
    return Vortices(
        **drawn,
        peak=-rng.uniform(5, 9, count),
        eastward=rng.uniform(1, 5, count),
        northward=rng.uniform(-2, 2, count),
    )


def _draw_eddies(settings: DemoSettings, block: Block, rng: np.random.Generator) -> Vortices:
    drawn = _draw(settings, block, rng, per_million_km2=7.0, size_km=(70, 200), life_h=(12, 36))
    count = len(drawn["size"])
    return Vortices(
        **drawn,
        peak=rng.uniform(1.5, 4.5, count) * rng.choice([-1, 1], count),
        eastward=rng.uniform(2, 9, count),
        northward=rng.uniform(-3, 3, count),
    )


def _draw(
    settings: DemoSettings,
    block: Block,
    rng: np.random.Generator,
    *,
    per_million_km2: float,
    size_km: tuple[float, float],
    life_h: tuple[float, float],
) -> dict[str, FloatArray]:
    """Draw places and times so that systems are met evenly over region and period."""
    halo = 8.0
    south, north = settings.south - halo, settings.north + halo
    west, east = settings.west - halo, settings.east + halo
    degree_km = np.radians(1) * EARTH_RADIUS_M / KM
    width = (east - west) * np.cos(np.radians((south + north) / 2))
    area = (north - south) * width * degree_km**2 / 1e6
    begin, end = -settings.spin_up_hours - life_h[1] / 2, block.hours + life_h[1] / 2
    alive = (life_h[0] + life_h[1]) / 2
    count = int(rng.poisson(per_million_km2 * area * (end - begin) / alive))
    return {
        "latitude": rng.uniform(south, north, count),
        "longitude": rng.uniform(west, east, count),
        "size": rng.uniform(*size_km, count) * KM,
        "middle": rng.uniform(begin, end, count),
        "life": rng.uniform(*life_h, count),
    }
