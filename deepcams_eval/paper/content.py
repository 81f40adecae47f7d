"""What the figures of the paper are drawn from; every number was computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from deepcams_eval.core.arrays import FloatArray, Times
from deepcams_eval.report.maps import Extent, extent_of

Box = tuple[float, float, float, float]


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
class SequencePart:
    """The maps of one product in a box: ``values`` (time, row, column) in µg m⁻³, NaN missing."""

    product: str
    times: Times
    grid: Grid
    values: FloatArray


@dataclass(frozen=True, eq=False)
class MapSequence:
    """Three hours in a box, for a figure in the manner of Fig. 5.

    Attributes
    ----------
    coarse, fine : SequencePart
        Two maps three hours apart, and the four hours that they enclose.
    box : tuple of float
        West, south, east, north, outer edges of the coarse cells, degrees.
    rule : str
        Why this date and this box, a sentence.
    change : float
        Mean absolute change of the coarse map in the box over the three hours, µg m⁻³.
    """

    coarse: SequencePart
    fine: SequencePart
    box: Box
    rule: str
    change: float


@dataclass(frozen=True, eq=False)
class PointSeries:
    """A year at a point, for a figure in the manner of Fig. 7.

    Attributes
    ----------
    year : int
        UTC, by the time stamp.
    latitude, longitude : float
        The point, degrees.
    rule : str
        Why this point, a sentence.
    coarse, fine : str
        Names of the products.
    coarse_times, fine_times : ndarray of datetime64, shape (n,)
        Stamps of the steps that exist; nothing stands for a gap.
    coarse_values, fine_values : ndarray, shape (n,)
        Of the cell that contains the point, µg m⁻³; NaN missing.
    """

    year: int
    latitude: float
    longitude: float
    rule: str
    coarse: str
    fine: str
    coarse_times: Times
    coarse_values: FloatArray
    fine_times: Times
    fine_values: FloatArray


@dataclass(frozen=True, eq=False)
class AnnualMaps:
    """Means of a year, for a figure in the manner of Fig. 8.

    Attributes
    ----------
    year, days : int
        The year, and the UTC days of it on which both products have a step: those averaged over.
    coarse, fine : str
        Names of the products.
    coarse_grid, fine_grid : Grid
        Where the means are.
    coarse_mean, fine_mean : ndarray, shape (rows, columns)
        Over all steps of those days, µg m⁻³; NaN where there is no value.
    difference : ndarray, shape of `fine_mean`
        Fine − coarse, the latter interpolated bilinearly to the centres of the fine cells; NaN
        where either has none.
    coarse_steps, fine_steps : int
        Steps averaged over.
    """

    year: int
    days: int
    coarse: str
    fine: str
    coarse_grid: Grid
    fine_grid: Grid
    coarse_mean: FloatArray
    fine_mean: FloatArray
    difference: FloatArray
    coarse_steps: int
    fine_steps: int
