"""What moves: random fields that travel, a wind without divergence, transport and diffusion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage, sparse

from deepcams_eval.core.arrays import Array
from deepcams_eval.demo.settings import SPACING_DEG, Domain

EARTH_RADIUS_M = 6.371e6
KM = 1000.0

STEPS_PER_HOUR = 2
STEP_S = 3600.0 / STEPS_PER_HOUR


class TravellingWaves:
    """A sum of plane waves with random directions; mean 0, standard deviation near 1.

    Their number is ``count``; ``length_deg`` is the shortest and the longest.
    """

    def __init__(
        self,
        domain: Domain,
        rng: np.random.Generator,
        *,
        length_deg: tuple[float, float],
        count: int,
    ) -> None:
        length = np.exp(rng.uniform(np.log(length_deg[0]), np.log(length_deg[1]), count))
        direction = rng.uniform(0, np.pi, count)
        east = 2 * np.pi / length * np.cos(direction)
        row_angle = np.outer(2 * np.pi / length * np.sin(direction), domain.latitude)
        amplitude = np.sqrt(2 * length / length.sum())[:, None]
        self._rows = amplitude * np.cos(row_angle), amplitude * np.sin(row_angle)
        self._column_angle = np.outer(east, domain.longitude) + rng.uniform(
            0, 2 * np.pi, (count, 1)
        )
        self._turn = east * rng.uniform(0.1, 0.5, count)  # 0.1° to 0.5° of longitude an hour

    def at(self, hour: float) -> Array:
        """Return the field at `hour`, shape (ny, nx)."""
        angle = self._column_angle - (self._turn * hour)[:, None]
        cosine, sine = self._rows
        return np.asarray(cosine.T @ np.cos(angle) - sine.T @ np.sin(angle))


class Vortices(NamedTuple):
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

    latitude: Array
    longitude: Array
    northward: Array
    eastward: Array
    size: Array
    peak: Array
    middle: Array
    life: Array

    def centres(self, hour: float) -> tuple[Array, Array]:
        """Return latitude and longitude of the centres, degrees, at `hour`."""
        seconds = (hour - self.middle) * 3600.0
        latitude = self.latitude + np.degrees(self.northward * seconds / EARTH_RADIUS_M)
        shrink = np.cos(np.radians(self.latitude))
        eastward = np.degrees(self.eastward * seconds / (EARTH_RADIUS_M * shrink))
        return latitude, self.longitude + eastward

    def strength(self, hour: float) -> Array:
        """Return the share of its peak that each vortex has at `hour`, 0 to 1."""
        age = np.clip((hour - self.middle) / self.life + 0.5, 0.0, 1.0)
        return np.asarray(np.sin(np.pi * age) ** 2)

    def alive(self, hour: float) -> Vortices:
        """Return those whose life includes `hour`."""
        chosen = np.abs(hour - self.middle) < self.life / 2
        return Vortices(*(values[chosen] for values in self))


class Wind:
    """Jet, planetary waves and vortices, as a function of time on a grid.

    The stream function ψ is a sum of products of a function of latitude and one of longitude;
    u = −∂ψ/∂φ / a and v = ∂ψ/∂λ / (a cos φ) are differentiated exactly, so that the wind has no
    divergence on the sphere.

    ``wind=False`` gives rest; ``weather_systems=False`` leaves jet and waves. The month sets the
    strength of the jet; the generator draws the systems of this block.
    """

    def __init__(self, domain: Domain, rng: np.random.Generator) -> None:
        self._latitude, self._longitude = domain.latitude, domain.longitude
        self._blows = domain.settings.wind
        self._jet_speed = 6.0 + 2.0 * domain.winter
        self._jet_latitude = rng.uniform(46, 54)
        self._waves = _draw_waves(rng)
        self.cyclones = _draw(domain, rng, _CYCLONES, 1 + 0.2 * domain.winter)
        others = _draw(domain, rng, _ANTICYCLONES, -1.0), _draw(domain, rng, _EDDIES)
        self._systems = (self.cyclones, *others) if domain.settings.weather_systems else ()

    def at(self, hour: float) -> tuple[Array, Array]:
        """Return eastward and northward wind, m s⁻¹, shapes (ny, nx).

        `hour` counts from the start of the block; it is negative during spin-up.
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

    def _jet(self, hour: float) -> tuple[Array, Array]:
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
            circle_m = EARTH_RADIUS_M * np.cos(np.radians(self._jet_latitude))
            amplitude = speed / (np.degrees(number) / circle_m)
            u += np.outer(2 * offset * profile * per_metre, amplitude * np.cos(angle))
            slope = np.degrees(number) / (EARTH_RADIUS_M * np.cos(np.radians(self._latitude)))
            v -= np.outer(profile * slope, amplitude * np.sin(angle))
        return u, v

    def _turning(self, systems: Vortices, hour: float) -> tuple[Array, Array]:
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
    ) -> tuple[Array, Array, Array, Array]:
        latitude, longitude = systems.centres(hour)
        y = EARTH_RADIUS_M * np.radians(self._latitude - latitude[:, None])
        shrink = np.cos(np.radians(systems.latitude))[:, None]
        x = EARTH_RADIUS_M * shrink * np.radians(self._longitude - longitude[:, None])
        variance = 2 * (widen * systems.size[:, None]) ** 2
        return np.exp(-(y**2) / variance), np.exp(-(x**2) / variance), y, x

    def rain(self, hour: float) -> Array:
        """Return how hard it rains, 0 (dry) to about 1, shape (ny, nx): around cyclones."""
        cyclones = self.cyclones.alive(hour)
        rows, columns, _, _ = self._profiles(cyclones, hour, widen=0.8)
        strength = cyclones.strength(hour)[:, None]
        cover = (rows * strength).T @ (columns)
        return np.asarray(np.minimum(cover, 1.0))


def _draw_waves(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Return (speed m s⁻¹, wavelength °, period h, phase) of each wave."""
    return [
        (rng.uniform(2, 4), rng.uniform(35, 70), rng.uniform(90, 180), rng.uniform(0, 2 * np.pi))
        for _ in range(3)
    ]


class _Kind(NamedTuple):
    """How many there are, m² and h of their life, and ranges to draw from (m s⁻¹)."""

    per_million_km2: float
    size_km: tuple[float, float]
    life_h: tuple[float, float]
    peak: tuple[float, float]
    eastward: tuple[float, float]
    northward: tuple[float, float]


_CYCLONES = _Kind(0.45, (250, 550), (50, 110), (9, 16), (5, 11), (-1, 4))
_ANTICYCLONES = _Kind(0.3, (500, 900), (90, 160), (5, 9), (1, 5), (-2, 2))
_EDDIES = _Kind(7.0, (70, 200), (12, 36), (1.5, 4.5), (2, 9), (-3, 3))


def _draw(
    domain: Domain, rng: np.random.Generator, kind: _Kind, factor: float | None = None
) -> Vortices:
    """Draw systems so that they are met evenly over region and period.

    `factor` is on the strongest wind; without it each turns either way.
    """
    settings, halo = domain.settings, 8.0
    south, north = settings.south - halo, settings.north + halo
    west, east = settings.west - halo, settings.east + halo
    degree_km = np.radians(1) * EARTH_RADIUS_M / KM
    width = (east - west) * np.cos(np.radians((south + north) / 2))
    area = (north - south) * width * degree_km**2 / 1e6
    begin = -settings.spin_up_hours - kind.life_h[1] / 2
    end = domain.block.hours + kind.life_h[1] / 2
    alive = (kind.life_h[0] + kind.life_h[1]) / 2
    count = int(rng.poisson(kind.per_million_km2 * area * (end - begin) / alive))
    # Drawn in this order, on which the archive depends.
    latitude, longitude = rng.uniform(south, north, count), rng.uniform(west, east, count)
    size, middle = rng.uniform(*kind.size_km, count) * KM, rng.uniform(begin, end, count)
    life, peak = rng.uniform(*kind.life_h, count), rng.uniform(*kind.peak, count)
    turn = rng.choice([-1, 1], count) if factor is None else factor
    eastward, northward = rng.uniform(*kind.eastward, count), rng.uniform(*kind.northward, count)
    return Vortices(latitude, longitude, northward, eastward, size, peak * turn, middle, life)


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

    def __init__(self, u: Array, v: Array, latitude: Array, step_s: float) -> None:
        cell_m = EARTH_RADIUS_M * np.radians(SPACING_DEG)
        east = u * step_s / (cell_m * np.cos(np.radians(latitude))[:, None])
        north = v * step_s / cell_m
        east_mid = east - 0.5 * _along(east, east, north)
        north_mid = north - 0.5 * _along(north, east, north)
        rows, columns = np.mgrid[: u.shape[0], : u.shape[1]]
        self._matrix = _spline_matrix(rows - north_mid, columns - east_mid)

    def __call__(self, tracer: Array) -> Array:
        """Return the tracer one step later, same shape."""
        coefficients = ndimage.spline_filter(tracer, order=3, mode="mirror")
        moved = (self._matrix @ coefficients.ravel()).reshape(tracer.shape)
        return np.asarray(np.clip(moved, 0.0, tracer.max()))


def _along(field: Array, east: Array, north: Array) -> Array:
    by_row, by_column = np.gradient(field)
    return north * by_row + east * by_column


def _spline_matrix(rows: Array, columns: Array) -> sparse.csr_array:
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


def _spline_weights(t: Array) -> Array:
    s = 1 - t
    inner = (0.5 * t - 1) * t * t + 2 / 3, (0.5 * s - 1) * s * s + 2 / 3
    return np.stack([s * s * s / 6, *inner, t * t * t / 6], axis=1)


DIFFUSIVITY = 1000.0
"""Horizontal mixing, m² s⁻¹."""


def diffuse(tracer: Array, latitude: Array, factor: float = 1.0) -> Array:
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
