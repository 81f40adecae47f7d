"""The data of Fig. 8: means of a year, coarse and fine, over the same days."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from deepcams_eval.core.arrays import FloatArray, Times
from deepcams_eval.core.field import spans_globe
from deepcams_eval.paper.blocks import MeanReader
from deepcams_eval.report.maps import Extent, extent_of


@dataclass(frozen=True, eq=False)
class Grid:
    """Centres of cells, degrees, ascending: ``latitude`` (rows,) and ``longitude`` (columns,)."""

    latitude: FloatArray
    longitude: FloatArray

    @property
    def extent(self) -> Extent:
        """West, east, south and north of the outer edges of the cells."""
        return extent_of(self.latitude, self.longitude)


@dataclass(frozen=True, eq=False)
class MeanMap:
    """Mean of a product over some steps: `values` on `grid`, µg m⁻³, NaN where there is none."""

    product: str
    grid: Grid
    values: FloatArray
    steps: int

    @classmethod
    def of(cls, product: str, field: xr.DataArray, reader: MeanReader) -> MeanMap:
        """Return the mean of a reader that has taken its frames of `field`."""
        grid = Grid(field["latitude"].values, field["longitude"].values)
        return cls(product, grid, reader.mean, int(reader.wanted.sum()))


@dataclass(frozen=True, eq=False)
class AnnualMaps:
    """Means of a year, for a figure in the manner of Fig. 8.

    Attributes
    ----------
    year, days : int
        The year, and the UTC days of it on which both products have a step: those averaged over.
    coarse, fine : MeanMap
        Over all steps of those days.
    """

    year: int
    days: int
    coarse: MeanMap
    fine: MeanMap

    @cached_property
    def difference(self) -> FloatArray:
        """Fine − coarse interpolated bilinearly to the fine cells; NaN where either has none."""
        return self.fine.values - interpolated(self.coarse.values, self.coarse.grid, self.fine.grid)


def mean_reader(field: xr.DataArray, days: Times) -> MeanReader:
    """Return a reader of the mean of a Field over all its steps on some UTC days."""
    stamps = field["time"].values.astype("datetime64[D]")
    return MeanReader(np.isin(stamps, days), (field.sizes["latitude"], field.sizes["longitude"]))


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
