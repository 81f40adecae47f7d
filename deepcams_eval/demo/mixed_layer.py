"""The air that is mixed from the ground, which grows by day, and the air above it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.solar import cosine_of_zenith
from deepcams_eval.demo.climate import Climate

FloatArray = npt.NDArray[np.float64]

TOP_M = 4000.0
"""Where the upper layer ends."""

EMISSION_DEPTH_M = 400.0
"""Depth of the mixed layer that emissions are given for."""

_SEA_M = 600.0  # depth over the sea, day and night
_DAY_HOURS = 5.0  # integral of the cosine of the zenith over a day of spring at 48° N, h
_SUNSET = 0.1  # cosine of the zenith below which nothing heats the ground
_COLLAPSE_H = 0.8


class MixedLayer:
    """Depth of the mixed layer, as a function of the sunshine since the morning.

    h² = night² + K ∫ max(cos ζ, 0) dt: growth into a stable layer without entrainment of heat
    (Carson 1973, doi:10.1002/qj.49709942105), with K such that it reaches `Climate.day_m`. After
    sunset what was gained is lost within an hour or two.

    Parameters
    ----------
    climate : Climate
    start : datetime64
        Hour 0.
    latitude, longitude : ndarray
        Nodes, degrees.
    land : ndarray, shape (ny, nx)
        1 over land, 0 over the sea.
    patterns : pair of ndarray, shape (ny, nx)
        How night and day differ from place to place; standard deviation 1.
    """

    def __init__(
        self,
        climate: Climate,
        start: np.datetime64,
        latitude: FloatArray,
        longitude: FloatArray,
        land: FloatArray,
        patterns: tuple[FloatArray, FloatArray],
    ) -> None:
        by_night, by_day = (np.exp(climate.relief * pattern) for pattern in patterns)
        self._place = latitude, longitude
        self._start = start.astype("datetime64[s]")
        self._land = land
        self._night = climate.night_m * by_night
        self._gain = (climate.day_m * by_day) ** 2 / _DAY_HOURS
        self._shone = np.zeros_like(land)

    @property
    def depth(self) -> FloatArray:
        """Depth now, m, shape (ny, nx)."""
        grown = np.sqrt(self._night**2 + self._gain * self._shone)
        return np.minimum(self._land * grown + (1 - self._land) * _SEA_M, 0.9 * TOP_M)

    def advance(self, hour: float, step_h: float) -> None:
        """Go on by a step whose middle is at `hour` since the start."""
        time = self._start + np.timedelta64(round(3600 * hour), "s")
        sun = cosine_of_zenith(np.array([time]), *self._place)[0]
        lost = np.where(sun < _SUNSET, np.exp(-step_h / _COLLAPSE_H), 1.0)
        self._shone = self._shone * lost + step_h * np.maximum(sun, 0.0)


def mixed(
    surface: FloatArray, above: FloatArray, before: FloatArray, after: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return both layers once the depth of the lower one has changed; mass is conserved.

    A layer that grows takes in air from above; one that shrinks leaves its air there.
    """
    grown = (surface * before + above * (after - before)) / after
    left = (above * (TOP_M - before) + surface * (before - after)) / (TOP_M - after)
    grows = after > before
    return np.where(grows, grown, surface), np.where(grows, above, left)
