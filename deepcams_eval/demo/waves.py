"""Smooth random fields that travel eastwards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class TravellingWaves:
    """A sum of plane waves with random directions; mean 0, standard deviation near 1.

    Parameters
    ----------
    latitude, longitude : ndarray
        Nodes in degrees, shapes (ny,) and (nx,).
    rng : numpy.random.Generator
    length_deg : tuple of float
        Shortest and longest wavelength.
    count : int
        Number of waves.
    """

    def __init__(
        self,
        latitude: FloatArray,
        longitude: FloatArray,
        rng: np.random.Generator,
        *,
        length_deg: tuple[float, float],
        count: int,
    ) -> None:
        length = np.exp(rng.uniform(np.log(length_deg[0]), np.log(length_deg[1]), count))
        direction = rng.uniform(0, np.pi, count)
        east = 2 * np.pi / length * np.cos(direction)
        row_angle = np.outer(2 * np.pi / length * np.sin(direction), latitude)
        amplitude = np.sqrt(2 * length / length.sum())[:, None]
        self._rows = amplitude * np.cos(row_angle), amplitude * np.sin(row_angle)
        self._column_angle = np.outer(east, longitude) + rng.uniform(0, 2 * np.pi, (count, 1))
        self._turn = east * rng.uniform(0.1, 0.5, count)  # 0.1° to 0.5° of longitude an hour

    def at(self, hour: float) -> FloatArray:
        """Return the field at `hour`, shape (ny, nx)."""
        angle = self._column_angle - (self._turn * hour)[:, None]
        cosine, sine = self._rows
        return np.asarray(cosine.T @ np.cos(angle) - sine.T @ np.sin(angle))
