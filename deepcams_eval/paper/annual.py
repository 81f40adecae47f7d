"""The data of Fig. 8: means of a year, coarse and fine, over the same days."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from deepcams_eval.core.arrays import BoolArray, FloatArray, IntArray, Times
from deepcams_eval.core.field import spans_globe
from deepcams_eval.paper.blocks import Frames
from deepcams_eval.paper.content import AnnualMaps, Grid


class MeanReader:
    """Sums up frames; NaN counts for nothing.

    Parameters
    ----------
    wanted : ndarray of bool, shape (time,)
        The frames to be averaged.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(self, wanted: BoolArray, shape: tuple[int, int]) -> None:
        self.wanted = wanted
        self._count = np.zeros(shape, dtype=np.int64)
        self._mean = np.zeros(shape, dtype=np.float64)
        self._square = np.zeros(shape, dtype=np.float64)

    def take(self, places: IntArray, frames: Frames) -> None:  # noqa: ARG002 - of the protocol
        """Add frames, (time, row, column)."""
        known = np.isfinite(frames)
        count = known.sum(axis=0)
        some = np.maximum(count, 1)
        values = np.where(known, frames, 0.0).astype(np.float64)
        mean = values.sum(axis=0) / some
        square = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
        # Centred sums of the parts are merged after Chan et al. (1983), as large sums lose digits.
        total = np.maximum(self._count + count, 1)
        step = mean - self._mean
        self._square += square + step**2 * self._count * count / total
        self._mean += np.where(count > 0, step * count / total, 0.0)
        self._count += count

    @property
    def mean(self) -> FloatArray:
        """Mean of each cell, NaN where there is no value."""
        return np.where(self._count > 0, self._mean, np.nan)

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation of each cell over time (divisor n), NaN where there is no value."""
        return np.where(self._count > 0, np.sqrt(self._square / np.maximum(self._count, 1)), np.nan)


def mean_reader(field: xr.DataArray, days: Times) -> MeanReader:
    """Return a reader of the mean of a Field over all its steps on some UTC days."""
    stamps = field["time"].values.astype("datetime64[D]")
    return MeanReader(np.isin(stamps, days), (field.sizes["latitude"], field.sizes["longitude"]))


def annual_maps(
    year: int,
    days: Times,
    *,
    coarse: tuple[str, xr.DataArray, MeanReader],
    fine: tuple[str, xr.DataArray, MeanReader],
) -> AnnualMaps:
    """Return the maps of a year from readers that have taken their frames.

    Parameters
    ----------
    year : int
        Which.
    days : ndarray of datetime64[D]
        Those that both readers averaged over.
    coarse, fine : tuple
        Name, Field and reader of each product.
    """
    grids = [Grid(one["latitude"].values, one["longitude"].values) for _, one, _ in (coarse, fine)]
    means = [reader.mean for _, _, reader in (coarse, fine)]
    return AnnualMaps(
        year=year,
        days=len(days),
        coarse=coarse[0],
        fine=fine[0],
        coarse_grid=grids[0],
        fine_grid=grids[1],
        coarse_mean=means[0],
        fine_mean=means[1],
        difference=means[1] - interpolated(means[0], grids[0], grids[1]),
        coarse_steps=int(coarse[2].wanted.sum()),
        fine_steps=int(fine[2].wanted.sum()),
    )


def interpolated(values: FloatArray, coarse: Grid, fine: Grid) -> FloatArray:
    """Return a coarse map at the centres of fine cells, bilinear between coarse centres.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        On `coarse`.
    coarse, fine : Grid
        Longitude is cyclic where `coarse` spans the globe; a centre beyond the outermost ones of
        `coarse`, or between cells of which one has no value, gives NaN.
    """
    longitude, columns = coarse.longitude, np.asarray(values, dtype=np.float64)
    if spans_globe(longitude):
        longitude = np.concatenate(
            [[longitude[-1] - 360.0], longitude, [longitude[0] + 360.0]], dtype=np.float64
        )
        columns = np.concatenate([columns[:, -1:], columns, columns[:, :1]], axis=1)
    between = RegularGridInterpolator(
        (coarse.latitude, longitude), columns, bounds_error=False, fill_value=np.nan
    )
    rows, at = np.meshgrid(fine.latitude, fine.longitude, indexing="ij")
    return np.asarray(between(np.stack([rows, at], axis=-1)))
