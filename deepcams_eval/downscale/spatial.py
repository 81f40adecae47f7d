"""Baselines in space: separable enlargement with the registration of the operator.

A fine value is a weighted sum of coarse ones along the rows and along the columns. Where it lies
among them comes from `Degradation.registration_of`. Beyond the edge the coarse field is mirrored,
its outermost value first; columns are cyclic instead where longitude spans the globe. Sums are in
float64. A result is NaN only where a NaN has a nonzero weight in it; nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import sparse

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.field import FIELD_DIMS, TIME_DTYPE
from deepcams_eval.downscale.degrade import (
    FACTOR,
    Degradation,
    Separable,
    keys_cubic,
    mirrored,
    sparse_weights,
)
from deepcams_eval.downscale.protocol import Coarse, Target, Task
from deepcams_eval.errors import InputError

ITERATIONS = 10
"""Corrections of `BackProjection`."""

_GRIDS_KEPT = 32
_NO_WEIGHT = 1e-12  # what rounding leaves of a kernel that vanishes at a node


@dataclass(frozen=True)
class Kernel:
    """A weight as a function of distance.

    Attributes
    ----------
    reach : int
        Distance beyond which the weight is 0, in coarse steps.
    weight : callable
        Weights of an array of distances; they are normalised to the sum 1.
    """

    reach: int
    weight: Callable[[FloatArray], FloatArray]


def _box(distance: FloatArray) -> FloatArray:
    return np.where(np.abs(distance) < 0.5, 1.0, 0.0)


def _triangle(distance: FloatArray) -> FloatArray:
    weights: FloatArray = np.maximum(1 - np.abs(distance), 0.0)
    return weights


def _lanczos3(distance: FloatArray) -> FloatArray:
    window = np.where(np.abs(distance) < 3, np.sinc(distance / 3), 0.0)
    weights: FloatArray = np.sinc(distance) * window
    return weights


BOX = Kernel(1, _box)
TRIANGLE = Kernel(1, _triangle)
KEYS = Kernel(2, keys_cubic)
LANCZOS3 = Kernel(3, _lanczos3)


def enlargement(
    positions: FloatArray, count: int, kernel: Kernel, *, cyclic: bool
) -> sparse.csr_array[np.float64]:
    """Return the weights of coarse values in fine ones along one axis.

    Parameters
    ----------
    positions : ndarray, shape (fine,)
        Place of each fine value among the coarse ones, in exact thirds, at most one step beyond
        the outermost.
    count : int
        How many coarse values there are.
    kernel : Kernel
        Weight by distance.
    cyclic : bool
        Whether the first coarse value follows the last; otherwise the axis is mirrored beyond
        its ends: −1 is 0, −2 is 1.

    Returns
    -------
    scipy.sparse.csr_array, shape (fine, count)
        Each row sums to 1; no zeros are stored.
    """
    # In whole thirds, so that a fine node on a coarse one has exactly one weight.
    below, phase = np.divmod(np.rint(positions * FACTOR).astype(np.intp), FACTOR)
    taps = np.arange(1 - kernel.reach, kernel.reach + 1)
    weights = kernel.weight(phase[:, np.newaxis] / FACTOR - taps)
    weights = np.where(np.abs(weights) < _NO_WEIGHT, 0.0, weights)
    weights = weights / weights.sum(axis=1, keepdims=True)
    index = below[:, np.newaxis] + taps
    nodes = index % count if cyclic else mirrored(index, count)
    return sparse_weights(nodes, weights, count)


class Enlarger(NamedTuple):
    """An enlargement on one pair of grids.

    Attributes
    ----------
    up : Separable
        From the coarse to the fine grid.
    up_down : Separable
        The same, degraded again by the operator of the run: coarse to coarse.
    """

    up: Separable
    up_down: Separable


def enlarger(coarse: Coarse, target: Target, kernel: Kernel) -> Enlarger:
    """Return the enlargement of `coarse` to the grid of `target`, made once for each grid.

    Raises
    ------
    InputError
        If `coarse` names no operator, or one that does not give its coordinates on that grid.
    """
    places = coarse.field["latitude"].values, coarse.field["longitude"].values
    grids = (*places, target.latitude, target.longitude)
    keys = (np.asarray(values, dtype=np.float64).tobytes() for values in grids)
    return _enlarger(coarse.operator, kernel, *keys)


@lru_cache(maxsize=_GRIDS_KEPT)
def _enlarger(operator: Degradation, kernel: Kernel, *grids: bytes) -> Enlarger:
    south, west, latitude, longitude = map(np.frombuffer, grids)
    lattice = xr.DataArray(
        np.zeros((len(south), len(west))),
        dims=FIELD_DIMS[1:],
        coords={"latitude": south, "longitude": west},
    )
    grid = operator.registration_of(lattice, latitude, longitude)
    up = Separable(
        enlargement(grid.row_positions, len(south), kernel, cyclic=False),
        enlargement(grid.column_positions, len(west), kernel, cyclic=grid.cyclic),
    )
    return Enlarger(up, grid.after(up))


class _Enlargement:
    """A spatial method that treats each frame alone."""

    name: str
    title: str
    task: Task = "spatial"
    kernel: Kernel

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return the frames of `coarse` on the fine grid of `target`, at the same times.

        Raises
        ------
        InputError
            If the times differ, no operator is named, or it does not give the coordinates of
            the frames on that grid.
        """
        require_same_times(coarse.field, target)
        return target.field(self.frames(coarse, target))

    def frames(self, coarse: Coarse, target: Target) -> npt.NDArray[np.float32]:
        """Return the bare values, on a grid that may reach beyond the poles."""
        matrices = enlarger(coarse, target, self.kernel)
        shape = (len(target.time), len(target.latitude), len(target.longitude))
        result = np.empty(shape, dtype=np.float32)
        for index, frame in enumerate(coarse.field.values):
            result[index] = self._enlarged(frame, matrices)
        return result

    def _enlarged(self, frame: FloatArray, matrices: Enlarger) -> FloatArray:
        return matrices.up(frame)


class NearestCell(_Enlargement):
    """The value of the nearest coarse centre; no fine node is as near to two."""

    name = "nearest"
    title = "nearest cell"
    kernel = BOX


class Bilinear(_Enlargement):
    """Linear interpolation along rows and columns; reproduces ramps."""

    name = "bilinear"
    title = "bilinear"
    kernel = TRIANGLE


class Bicubic(_Enlargement):
    """Cubic convolution with a = −0.5; reproduces polynomials of the second degree.

    Keys (1981), doi:10.1109/TASSP.1981.1163711.
    """

    name = "bicubic"
    title = "bicubic (Keys, a = −0.5)"
    kernel = KEYS


class Lanczos(_Enlargement):
    """Sinc windowed by the central lobe of a sinc three times as wide, weights normalised.

    Duchon (1979), doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2.
    """

    name = "lanczos"
    title = "Lanczos-3"
    kernel = LANCZOS3


class BackProjection(_Enlargement):
    """Bicubic, then corrected so that its degradation comes closer to the coarse field.

    y₀ = U(l), then ten times y ← y + U(l − D(y)), with U bicubic and D the operator of the run;
    step 1, nothing clipped (Irani and Peleg 1991, doi:10.1016/1049-9652(91)90045-L). With
    ``node``, D(U(l)) = l and the result is bicubic.

    NaN where bicubic is NaN. A coarse cell whose correction would need such a value is not
    corrected (its l − D(y) counts as 0), so that NaN does not spread with each iteration.
    """

    name = "bicubic-ibp"
    title = "bicubic and ten back-projections"
    kernel = KEYS

    def _enlarged(self, frame: FloatArray, matrices: Enlarger) -> FloatArray:
        # U is linear: y = U(l + r₀ + ... + r₉) with r₀ = l − DU(l) and r ← r − DU(r), so that
        # all iterations run on the coarse grid.
        residual = frame - matrices.up_down(frame)
        known = np.isfinite(residual)
        corrections = np.zeros_like(residual)
        for _ in range(ITERATIONS):
            residual = np.where(known, residual, 0.0)
            corrections += residual
            residual = residual - matrices.up_down(residual)
        return matrices.up(frame + corrections)


def require_same_times(field: xr.DataArray, target: Target) -> None:
    """Check that frames are at the times that are asked for.

    Raises
    ------
    InputError
        If they are not.
    """
    found = field["time"].values.astype(TIME_DTYPE)
    if not np.array_equal(found, target.time):
        raise InputError(
            f"the frames are those of {found[0]} to {found[-1]} ({len(found)}), but"
            f" {target.time[0]} to {target.time[-1]} ({len(target.time)}) is asked for",
            hint="a spatial method keeps the times: ask for those of the frames",
        )
