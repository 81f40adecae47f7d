"""Where the sun stands."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import FloatArray

_DAY = np.timedelta64(1, "D") / np.timedelta64(1, "us")


def cosine_of_zenith(
    times: npt.NDArray[np.datetime64], latitude: FloatArray, longitude: FloatArray
) -> FloatArray:
    """Return the cosine of the angle between sun and zenith: 1 overhead, negative at night.

    Spencer (1971), "Fourier series representation of the position of the sun", Search 2, 172,
    for declination and equation of time; without refraction. Within 0.01 of the algorithm of Reda
    and Andreas (2004), doi:10.1016/j.solener.2003.12.003, from 2000 to 2020.

    Parameters
    ----------
    times : ndarray of datetime64, shape (time,)
        Instants, UTC.
    latitude, longitude : ndarray
        Degrees, shapes (ny,) and (nx,).

    Returns
    -------
    ndarray, shape (time, ny, nx)
    """
    instants = np.asarray(times).astype("datetime64[us]")
    days = instants.astype("datetime64[D]")
    of_year = (days - days.astype("datetime64[Y]")).astype(np.int64)
    of_day = (instants - days).astype(np.int64) / _DAY
    year = 2 * np.pi * (of_year + of_day - 0.5) / 365
    declination = (
        0.006918
        - 0.399912 * np.cos(year)
        + 0.070257 * np.sin(year)
        - 0.006758 * np.cos(2 * year)
        + 0.000907 * np.sin(2 * year)
        - 0.002697 * np.cos(3 * year)
        + 0.00148 * np.sin(3 * year)
    )
    ahead = (  # of the mean sun, radians
        0.000075
        + 0.001868 * np.cos(year)
        - 0.032077 * np.sin(year)
        - 0.014615 * np.cos(2 * year)
        - 0.04089 * np.sin(2 * year)
    )
    angle = (2 * np.pi * of_day + ahead - np.pi)[:, None] + np.radians(longitude)  # (time, nx)
    phi = np.radians(latitude)
    polar = np.sin(declination)[:, None] * np.sin(phi)  # (time, ny)
    equatorial = np.cos(declination)[:, None] * np.cos(phi)
    return np.asarray(polar[:, :, None] + equatorial[:, :, None] * np.cos(angle)[:, None, :])
