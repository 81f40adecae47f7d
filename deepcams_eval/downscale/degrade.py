"""From 0.25° and one hour to 0.75° and three hours, with the registration of each operator.

A coarse value of every operator here is a weighted sum of fine values around one fine node, and
the coordinates of the result are those of that node. What differs is which nodes these are:

- ``imresize`` and ``mean`` centre a coarse value on the middle one of three fine nodes, counted
  from the north-western node of the grid (half-pixel geometry).
- ``node`` takes every third node itself, as the nodes of EAC4 (241 × 480) lie on those of GEOS-CF
  (721 × 1440).

An enlargement asks for `Degradation.registration_of`, which compares the coordinates and refuses a
coarse field that the operator cannot have made; a shift by one fine node costs more accuracy than
most methods gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import sparse

from deepcams_eval.core.arrays import FloatArray, IntArray, Times
from deepcams_eval.core.field import (
    TIME_DTYPE,
    Product,
    bounds_of,
    make_field,
    spans_globe,
    stamp_of,
    validate_field,
)
from deepcams_eval.errors import InputError, pick

FACTOR = 3
"""Fine steps in a coarse one, in space and in time."""

HOUR = np.timedelta64(3_600_000_000, "us")
_KEYS_A = -0.5
_NEEDED = "an even grid is needed; crop a region that crosses the date line to one side of it"
_OTHER_OPERATOR = "enlarge with the operator that made the field; EAC4 nodes need 'node'"
_ROUND_DEG = 9
_TOLERANCE = 1e-3  # of a fine step: coordinates that were stored as float32 still agree


def keys_cubic(distance: FloatArray) -> FloatArray:
    """Return the cubic convolution kernel with a = −0.5.

    Keys (1981), doi:10.1109/TASSP.1981.1163711, equation 15; `distance` in samples.
    """
    x = np.abs(distance)
    near = (_KEYS_A + 2) * x**3 - (_KEYS_A + 3) * x**2 + 1
    far = _KEYS_A * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@dataclass(frozen=True, eq=False)
class Separable:
    """A linear operator along the rows and along the columns of a frame.

    Attributes
    ----------
    rows, columns : scipy.sparse.csr_array, shape (result, frame)
        Weights, without stored zeros: a result is NaN only where a NaN has a weight in it.
    """

    rows: sparse.csr_array[np.float64]
    columns: sparse.csr_array[np.float64]

    def __call__(self, frame: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return the result for a frame (rows, columns), in float64."""
        tall = self.rows @ frame.astype(np.float64, copy=False)
        return np.asarray((self.columns @ tall.T).T)

    def each(self, frames: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Return the results for frames (time, rows, columns); sums are in float64."""
        shape = (len(frames), self.rows.shape[0], self.columns.shape[0])
        result = np.empty(shape, dtype=np.float32)
        for made, frame in zip(result, frames, strict=True):
            made[:] = self(frame)
        return result

    def of_field(
        self, field: xr.DataArray, latitude: FloatArray, longitude: FloatArray
    ) -> xr.DataArray:
        """Return a Field of the results on their coordinates, lazy, in the chunks along time."""
        data = da.asarray(field.data).rechunk({1: -1, 2: -1})
        made = data.map_blocks(
            self.each,
            dtype=np.float32,
            chunks=(data.chunks[0], (len(latitude),), (len(longitude),)),
            meta=np.empty((0, 0, 0), dtype=np.float32),
        )
        return make_field(
            made,
            time=field["time"].values,
            latitude=latitude,
            longitude=longitude,
            stamp=stamp_of(field),
            bounds=bounds_of(field),
        )

    def after(self, other: Separable) -> Separable:
        """Return the operator that applies `other` first."""
        rows, columns = self.rows @ other.rows, self.columns @ other.columns
        return Separable(sparse.csr_array(rows), sparse.csr_array(columns))


def sparse_weights(
    nodes: IntArray, weights: FloatArray, count: int
) -> sparse.csr_array[np.float64]:
    """Return the matrix (len(nodes), count) whose row i adds up weights[i] of nodes[i]."""
    rows = np.repeat(np.arange(len(nodes)), nodes.shape[1])
    values = np.broadcast_to(weights, nodes.shape).ravel()
    matrix: sparse.csr_array[np.float64] = sparse.csr_array(
        sparse.coo_array((values, (rows, nodes.ravel())), shape=(len(nodes), count))
    )
    # A stored zero would carry the NaN of a value that has no weight.
    matrix.eliminate_zeros()
    return matrix


@dataclass(frozen=True, eq=False)
class Registration(Separable):
    """One operator on one fine grid: which fine values make a coarse one, and where it lies.

    `each` degrades frames: a coarse value is NaN where any fine value with a nonzero weight is.

    Attributes
    ----------
    latitude, longitude : ndarray, shape (coarse rows,) and (coarse columns,)
        Coordinates of the coarse values, degrees, ascending.
    row_positions, column_positions : ndarray, shape (fine rows,) and (fine columns,)
        Place of each fine row and column among the coarse ones: 4.333 is a third of the way from
        index 4 to index 5. Exact thirds. Below 0 or above the last index is beyond the outermost
        coarse centre, by less than one coarse step; with `cyclic` columns it lies between the
        last and the first.
    rows, columns : scipy.sparse.csr_array, shape (coarse, fine)
        Weights; each row sums to 1.
    cyclic : bool
        Whether longitude spans the globe, so that the first column follows the last.
    """

    latitude: FloatArray
    longitude: FloatArray
    row_positions: FloatArray
    column_positions: FloatArray
    cyclic: bool

    @property
    def blocks(self) -> tuple[IntArray, IntArray]:
        """The fine rows and columns in threes about each coarse one.

        With ``node`` the outermost reach beyond the fine grid, unless longitude is cyclic.
        """
        rows, columns = (
            int(np.rint(-FACTOR * fine[0])) - FACTOR // 2 + np.arange(FACTOR * len(coarse))
            for fine, coarse in (
                (self.row_positions, self.latitude),
                (self.column_positions, self.longitude),
            )
        )
        return rows, columns % len(self.column_positions) if self.cyclic else columns

    def on_blocks(self, fine: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return a fine map on `blocks`; beyond the grid its edge is repeated."""
        places = zip(self.blocks, fine.shape, strict=True)
        return fine[np.ix_(*(np.clip(index, 0, size - 1) for index, size in places))]


@dataclass(frozen=True)
class Degradation:
    """A named operator from a fine grid to one three times as coarse, with its registration.

    Attributes
    ----------
    name : str
        Its key in `DEGRADATIONS`.
    title : str
        What it does, in a few words for a table or a caption.
    first : int
        Fine node, counted from the north-western one, that the first coarse value is centred on;
        the others follow every third node.
    kernel : tuple of float
        Weights of an odd number of fine nodes about that centre, in each direction; they sum
        to 1. The factor is odd, so that every coarse value has the same ones.
    """

    name: str
    title: str
    first: int
    kernel: tuple[float, ...]

    def spatial(self, field: xr.DataArray) -> xr.DataArray:
        """Degrade a Field in space.

        Parameters
        ----------
        field : xarray.DataArray
            A Field on an even grid. ``imresize`` and ``mean`` need rows and columns in threes,
            but accept one more row where it lies on the south pole: it belongs to no block of
            three and is not used. ``node`` needs one row more than a multiple of three, and the
            same for columns unless they span the globe.

        Returns
        -------
        xarray.DataArray
            A Field with the times, stamps and intervals of `field`, on the coordinates of the
            fine nodes that its values are centred on; lazy, in the chunks of `field` along time.
            NaN where any fine value with a nonzero weight is NaN. Beyond the edge the field is
            mirrored (its outermost value first, as in MATLAB); longitude is cyclic instead where
            it spans the globe.

        Raises
        ------
        InputError
            If the grid is uneven or its rows or columns cannot be divided.
        """
        validate_field(field)
        grid = self.on(field["latitude"].values, field["longitude"].values)
        return grid.of_field(field, grid.latitude, grid.longitude)

    def on(self, latitude: FloatArray, longitude: FloatArray) -> Registration:
        """Return the registration of this operator on a fine grid.

        Parameters
        ----------
        latitude, longitude : ndarray
            Degrees, ascending and evenly spaced.

        Raises
        ------
        InputError
            As `spatial`.
        """
        _require_even(latitude, longitude)
        cyclic = spans_globe(longitude)
        row_count = self._usable_rows(latitude)
        self._require_division(len(longitude), "columns", cyclic=cyclic)
        # North first: the anchor is the north-western node whatever the number of rows.
        row_centres = np.arange(self.first, row_count, FACTOR)
        column_centres = np.arange(self.first, len(longitude), FACTOR)
        southward = self._weights(row_centres, row_count, len(latitude), cyclic=False)
        from_north = np.arange(len(latitude))[::-1]
        return Registration(
            latitude=np.round(latitude[::-1][row_centres][::-1], _ROUND_DEG),
            longitude=np.round(longitude[column_centres], _ROUND_DEG),
            row_positions=len(row_centres) - 1 - (from_north - self.first) / FACTOR,
            column_positions=(np.arange(len(longitude)) - self.first) / FACTOR,
            rows=sparse.csr_array(southward[::-1, ::-1]),
            columns=self._weights(column_centres, len(longitude), len(longitude), cyclic=cyclic),
            cyclic=cyclic,
        )

    def fine_grid(self, coarse: xr.DataArray) -> tuple[FloatArray, FloatArray]:
        """Return the latitude and longitude that an enlargement of `coarse` must produce.

        The whole grid: where the blocks of ``imresize`` and ``mean`` stop one fine step short of
        the south pole, the row at the pole is there as well (240 × 480 gives 721 × 1440, and so
        do the 241 × 480 nodes of ``node``).

        Raises
        ------
        InputError
            If this operator puts coarse values elsewhere than `coarse` has them, as ``imresize``
            and ``mean`` do for a grid with a row on a pole.
        """
        latitude, longitude = coarse["latitude"].values, coarse["longitude"].values
        _require_even(latitude, longitude)
        cyclic = spans_globe(longitude)
        rows = refined(latitude, self.first, cyclic=False)
        if rows[0] < -90 or rows[-1] > 90:
            raise InputError(
                f"fine rows would lie at {rows[0]:g} to {rows[-1]:g} degrees: {self.name!r} puts no"
                " coarse row on a pole",
                hint=_OTHER_OPERATOR,
            )
        step = (latitude[-1] - latitude[0]) / (len(latitude) - 1) / FACTOR
        if self.first and abs(rows[0] - step + 90.0) < _TOLERANCE * step:
            rows = np.append(-90.0, rows)
        columns = np.sort(wrapped_longitude(refined(longitude, self.first, cyclic=cyclic)))
        self.registration_of(coarse, rows, columns)
        return rows, columns

    def registration_of(
        self, coarse: xr.DataArray, latitude: FloatArray, longitude: FloatArray
    ) -> Registration:
        """Return where `coarse` lies on a fine grid, to which it is to be enlarged.

        Parameters
        ----------
        coarse : xarray.DataArray
            Anything with the coordinates that this operator gives.
        latitude, longitude : ndarray
            The fine grid.

        Raises
        ------
        InputError
            If this operator, on that fine grid, does not give the coordinates of `coarse`.
        """
        grid = self.on(latitude, longitude)
        for name, fine in (("latitude", latitude), ("longitude", longitude)):
            found, expected = coarse[name].values, getattr(grid, name)
            limit = _TOLERANCE * (fine[-1] - fine[0]) / (len(fine) - 1)
            if len(found) != len(expected) or abs(found - expected).max() > limit:
                said = [f"{one[0]:g} to {one[-1]:g} ({len(one)})" for one in (found, expected)]
                raise InputError(
                    f"{name} of the coarse field is {said[0]}, but {self.name!r} gives {said[1]}"
                    " on this fine grid",
                    hint=_OTHER_OPERATOR,
                )
        return grid

    def _usable_rows(self, latitude: FloatArray) -> int:
        count = len(latitude)
        step = (latitude[-1] - latitude[0]) / (count - 1)
        at_pole = abs(latitude[0] + 90.0) < _TOLERANCE * step
        if self.first and count % FACTOR == 1 and at_pole:
            return count - 1
        self._require_division(count, "rows", cyclic=False)
        return count

    def _require_division(self, count: int, what: str, *, cyclic: bool) -> None:
        remainder = 1 if self.first == 0 and not cyclic else 0
        if count % FACTOR == remainder and count > remainder:
            return
        fit = count - (count - remainder) % FACTOR
        form = "one more than a multiple of 3" if remainder else "a multiple of 3"
        raise InputError(
            f"{self.name!r} cannot divide {count} {what}: it needs {form}",
            hint=f"crop to {fit} {what}" if fit > remainder else "give a larger region",
        )

    def _weights(
        self, centres: IntArray, used: int, count: int, *, cyclic: bool
    ) -> sparse.csr_array[np.float64]:
        half = len(self.kernel) // 2
        index = centres[:, np.newaxis] + np.arange(-half, half + 1)
        nodes = index % used if cyclic else mirrored(index, used)
        return sparse_weights(nodes, np.asarray(self.kernel), count)


def refined(coordinate: FloatArray, first: int, *, cyclic: bool) -> FloatArray:
    """Return thirds of the steps of a coordinate, whose values lie at every third from `first`.

    Beyond the last value there is nothing where `first` is 0, unless the coordinate is cyclic.
    """
    step = (coordinate[-1] - coordinate[0]) / (len(coordinate) - 1) / FACTOR
    fine = coordinate[:, np.newaxis] + step * (np.arange(FACTOR) - first)
    flat: FloatArray = np.round(fine.ravel(), _ROUND_DEG)
    return flat if cyclic or first else flat[: 1 - FACTOR]


def wrapped_longitude(eastward: FloatArray) -> FloatArray:
    """Return longitudes in [−180, 180), without rounding noise and without −0."""
    wrapped: FloatArray = np.round((eastward + 180.0) % 360.0 - 180.0, _ROUND_DEG) + 0.0
    return wrapped


def mirrored(index: IntArray, count: int) -> IntArray:
    """Fold an index into [0, count): −1 is 0, −2 is 1, and `count` is count − 1."""
    folded = index % (2 * count)
    return np.where(folded < count, folded, 2 * count - 1 - folded)


def _require_even(latitude: FloatArray, longitude: FloatArray) -> None:
    require_even(latitude, "latitude")
    require_even(longitude, "longitude")


def require_even(
    coordinate: FloatArray, name: str, *, within: float = 1e-2, hint: str = _NEEDED
) -> None:
    """Refuse a coordinate of one value, or whose steps differ by more than the share `within`."""
    if len(coordinate) < 2:
        raise InputError(
            f"{name} has {len(coordinate)} value and so no spacing", hint="give a larger region"
        )
    steps = np.diff(coordinate)
    if not np.allclose(steps, steps.mean(), rtol=within, atol=0):
        raise InputError(
            f"{name} is not evenly spaced ({steps.min():g} to {steps.max():g} degrees)",
            hint=hint,
        )


def _antialiased_cubic() -> tuple[float, ...]:
    # The kernel is twelve fine steps wide; it vanishes at the two outermost ones.
    weights = keys_cubic(np.arange(1 - 2 * FACTOR, 2 * FACTOR) / FACTOR)
    return tuple((weights / weights.sum()).tolist())


DEGRADATIONS: Mapping[str, Degradation] = {
    operator.name: operator
    for operator in (
        Degradation("imresize", "antialiased bicubic (MATLAB imresize)", 1, _antialiased_cubic()),
        Degradation("mean", "mean of 3 × 3 nodes", 1, (1 / 3, 1 / 3, 1 / 3)),
        Degradation("node", "every third node", 0, (1.0,)),
    )
}
"""Every operator by name. MATLAB's is ``imresize(A, 1/3, "bicubic")``, antialiased by default."""


def degradation(name: str) -> Degradation:
    """Return the operator called `name`, or raise an `InputError`; see `pick`."""
    return pick(DEGRADATIONS, name, "degradation")


def require_even_grid(product: Product) -> None:
    """Refuse a product whose neighbouring rows or columns are not neighbours on the ground.

    A region across the date line is torn: ascending longitudes in [−180, 180) put its eastern
    part first, and what compares neighbours would take both sides of the gap for such.

    Raises
    ------
    InputError
        Naming the product and its first file.
    """
    try:
        _require_even(product.field["latitude"].values, product.field["longitude"].values)
    except InputError as error:
        raise InputError(
            f"{product.name}: {error.problem}",
            path=product.files[0] if product.files else None,
            hint=error.hint,
        ) from error


def hours_of(field: xr.DataArray) -> Times:
    """Return the stamps of points, or the beginnings of hourly means.

    Raises
    ------
    InputError
        If the means are not over one hour.
    """
    bounds = bounds_of(field)
    if bounds is None:
        return field["time"].values.astype(TIME_DTYPE)
    lengths = bounds[:, 1] - bounds[:, 0]
    other = np.flatnonzero(lengths != HOUR)
    if len(other):
        minutes = int(lengths[other[0]] // np.timedelta64(1, "m"))
        stamp = np.datetime_as_string(field["time"].values[other[0]], unit="m")
        raise InputError(
            f"the mean stamped {stamp} covers {minutes} min, not 60", hint="give hourly means"
        )
    return bounds[:, 0]
