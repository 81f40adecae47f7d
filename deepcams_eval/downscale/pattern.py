"""A static sub-grid pattern learned from years of truth: roads, cities and coasts stay in place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.downscale.degrade import Degradation
from deepcams_eval.downscale.protocol import Coarse, Target, Task, Training
from deepcams_eval.downscale.spatial import Bicubic
from deepcams_eval.errors import InputError, NoDataError


@dataclass(frozen=True, eq=False)
class Pattern:
    """A learned pattern and what it holds for.

    Attributes
    ----------
    values : ndarray, shape (latitude, longitude)
        µg m⁻³; 0 where no training frame has a value.
    counts : ndarray of int, shape (latitude, longitude)
        Training frames with a value.
    grid : Target
        On which it was learned.
    operator : Degradation
        Of the training.
    years : tuple of int
        Those learned from.
    """

    values: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]
    grid: Target
    operator: Degradation
    years: tuple[int, ...]


class StaticPattern:
    """Bicubic plus what it misses on average over the training frames.

    The pattern is the mean of truth − U(D(truth)), with U bicubic and D the operator of the run,
    over the frames in which a cell has a value; 0 where it never has one.
    """

    name = "pattern"
    title = "bicubic and the mean sub-grid pattern of the training years"
    task: Task = "spatial"

    def __init__(self) -> None:
        self._bicubic = Bicubic()
        self._learned: Pattern | None = None

    @property
    def learned(self) -> Pattern:
        """What `fit` found.

        Raises
        ------
        NoDataError
            If it has not been called.
        """
        if self._learned is None:
            raise NoDataError(
                "the sub-grid pattern has not been learned", hint="give training years"
            )
        return self._learned

    def fit(self, training: Training) -> None:
        """Learn the pattern; what was learned before is forgotten.

        Raises
        ------
        NoDataError
            If there is no training frame.
        InputError
            If the training frames lie on more than one grid.
        """
        sums, counts, target = np.zeros(()), np.zeros((), dtype=np.int64), None
        for truth in training.blocks():
            found = Target.like(truth)
            if target is None:
                target = found
            elif _grid(found) != _grid(target):
                raise InputError(
                    f"training frames lie on {_grid(target)} and on {_grid(found)}",
                    hint="give training years on one grid",
                )
            missed = truth.values.astype(np.float64) - self._enlarged(truth, training.degradation)
            sums = sums + np.nansum(missed, axis=0)
            counts = counts + np.isfinite(missed).sum(axis=0)
        if target is None:
            raise NoDataError(
                f"no training frame in {', '.join(map(str, training.years)) or 'no year'}",
                hint="give training years for which there is truth",
            )
        values = (sums / np.maximum(counts, 1)).astype(np.float32)
        self._learned = Pattern(values, counts, target, training.degradation, training.years)

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return bicubic plus the pattern, NaN where bicubic is.

        Raises
        ------
        NoDataError
            If `fit` has not been called.
        InputError
            If the pattern was learned on another grid or with another operator; as `Bicubic`.
        """
        pattern = self.learned
        enlarged = self._bicubic(coarse, target)
        if _grid(pattern.grid) != _grid(target):
            raise InputError(
                f"the sub-grid pattern was learned on {_grid(pattern.grid)}, not on the"
                f" {_grid(target)} asked for",
                hint="give training years on the grid of the truth",
            )
        learned, made_by = pattern.operator.name, coarse.operator.name
        if made_by != learned:
            raise InputError(
                f"the sub-grid pattern was learned with {learned!r}, not with {made_by!r}",
                hint="learn it again with the operator of the run",
            )
        return target.field(enlarged.values + pattern.values)

    def _enlarged(self, truth: xr.DataArray, operator: Degradation) -> FloatArray:
        grid = operator.spatial(truth).compute()
        return self._bicubic(Coarse(grid, operator), Target.like(truth)).values


def _grid(target: Target) -> str:
    rows, columns = target.latitude, target.longitude
    return (
        f"{len(rows)} x {len(columns)} nodes ({rows[0]:g} to {rows[-1]:g}°,"
        f" {columns[0]:g} to {columns[-1]:g}°)"
    )
