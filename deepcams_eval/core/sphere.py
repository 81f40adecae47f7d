"""The sphere: one radius, distances along great circles and areas of cells."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from deepcams_eval.core.arrays import Array, FloatArray, IntArray

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG)."""


def points(latitude: FloatArray, longitude: FloatArray) -> Array:
    """Return points on the unit sphere, shape (…, 3): chords between them know no date line."""
    north, east = np.radians(latitude), np.radians(longitude)
    across = np.cos(north)
    return np.stack([across * np.cos(east), across * np.sin(east), np.sin(north)], axis=-1)


def chord(distance_km: float) -> float:
    """Return the chord on the unit sphere that spans a distance along a great circle."""
    return float(2 * np.sin(distance_km / EARTH_RADIUS_KM / 2))


def distance_km(
    latitude: FloatArray,
    longitude: FloatArray,
    to_latitude: FloatArray,
    to_longitude: FloatArray,
) -> Array:
    """Return the great-circle distance between points, degrees in, km out."""
    between = points(latitude, longitude) - points(to_latitude, to_longitude)
    half = np.minimum(np.linalg.norm(between, axis=-1) / 2, 1.0)
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(half))


def neighbours(latitude: FloatArray, longitude: FloatArray, within_km: float) -> IntArray:
    """Return how many other places lie within some distance of each.

    Parameters
    ----------
    latitude, longitude : ndarray, shape (places,)
        Degrees, without NaN.
    within_km : float
        Distance along great circles, km.
    """
    tree = KDTree(points(latitude, longitude))
    found = tree.query_ball_point(tree.data, chord(within_km), return_length=True)
    return np.asarray(found) - 1


def boxes(latitude: FloatArray, longitude: FloatArray, width_km: float) -> IntArray:
    """Return the number of the box that each place lies in, from 0.

    Boxes are about as wide as they are high; those of a row of latitude begin at 180° W.

    Parameters
    ----------
    latitude, longitude : ndarray, shape (places,)
        Degrees, without NaN.
    width_km : float
        Height, and about the width, of a box, km.
    """
    rows = max(round(np.pi * EARTH_RADIUS_KM / width_km), 1)
    row = np.clip(np.floor((latitude + 90) / 180 * rows), 0, rows - 1).astype(np.int64)
    across = np.cos(np.radians((row + 0.5) * 180 / rows - 90))
    columns = np.maximum(np.rint(2 * rows * across), 1).astype(np.int64)
    column = np.floor((longitude + 180) % 360 / 360 * columns).astype(np.int64)
    return np.asarray(np.unique(row * (2 * rows + 1) + column, return_inverse=True)[1])


def row_weights(latitude: FloatArray) -> Array:
    """Return the area of a cell in each row, in units of the mean over the rows.

    The area of a cell between φ₁ and φ₂ is proportional to sin φ₂ − sin φ₁. Edges lie half way
    between rows, and as far beyond the outermost ones, but not beyond a pole: a row on a pole has
    half a cell.

    Parameters
    ----------
    latitude : ndarray, shape (rows,)
        Of the rows, degrees, ascending. All cells of a row are equally wide.

    Returns
    -------
    ndarray, shape (rows,)
        Its mean is 1; a single row weighs 1.
    """
    rows = np.asarray(latitude, dtype=np.float64)
    if len(rows) < 2:
        return np.ones(len(rows))
    inner = (rows[1:] + rows[:-1]) / 2
    edges = np.concatenate([[2 * rows[0] - inner[0]], inner, [2 * rows[-1] - inner[-1]]])
    area = np.diff(np.sin(np.radians(np.clip(edges, -90.0, 90.0))))
    return np.asarray(area / area.mean())
