"""A static sub-grid pattern learned from years of truth: roads, cities and coasts stay in place."""

from __future__ import annotations

import numpy as np
import xarray as xr

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.downscale.degrade import Degradation
from deepcams_eval.downscale.protocol import Coarse, Target, Task, Training
from deepcams_eval.downscale.spatial import Bicubic
from deepcams_eval.errors import InputError, NoDataError


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
        self._learned: tuple[FloatArray, Target, Degradation] | None = None

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
            coarse = training.degradation.spatial(truth).compute()
            enlarged = self._bicubic(Coarse(coarse, training.degradation), found)
            missed = truth.values.astype(np.float64) - enlarged.values
            sums = sums + np.nansum(missed, axis=0)
            counts = counts + np.isfinite(missed).sum(axis=0)
        if target is None:
            raise NoDataError(
                f"no training frame in {', '.join(map(str, training.years)) or 'no year'}",
                hint="give training years for which there is truth",
            )
        values = (sums / np.maximum(counts, 1)).astype(np.float32)
        self._learned = values, target, training.degradation

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return bicubic plus the pattern, NaN where bicubic is.

        Raises
        ------
        NoDataError
            If `fit` has not been called.
        InputError
            If the pattern was learned on another grid or with another operator; as `Bicubic`.
        """
        if self._learned is None:
            raise NoDataError(
                "the sub-grid pattern has not been learned", hint="give training years"
            )
        pattern, grid, operator = self._learned
        enlarged = self._bicubic(coarse, target)
        if _grid(grid) != _grid(target):
            raise InputError(
                f"the sub-grid pattern was learned on {_grid(grid)}, not on the"
                f" {_grid(target)} asked for",
                hint="give training years on the grid of the truth",
            )
        if coarse.operator.name != operator.name:
            raise InputError(
                f"the sub-grid pattern was learned with {operator.name!r}, not with"
                f" {coarse.operator.name!r}",
                hint="learn it again with the operator of the run",
            )
        return target.field(enlarged.values + pattern)


def _grid(target: Target) -> str:
    rows, columns = target.latitude, target.longitude
    return (
        f"{len(rows)} x {len(columns)} nodes ({rows[0]:g} to {rows[-1]:g}°,"
        f" {columns[0]:g} to {columns[-1]:g}°)"
    )
