"""Files that a model wrote elsewhere, scored like any method."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.field import TIME_DTYPE, spacing_deg, stamp_of
from deepcams_eval.downscale.protocol import Coarse, Target, Task
from deepcams_eval.errors import InputError

_TOLERANCE = 1e-3  # of a step: coordinates that were stored as float32 still agree


class Prediction:
    """A Field of hourly 0.25° values as a method; an hour that it lacks is NaN.

    Parameters
    ----------
    name : str
        Its name in the tables.
    task : {"temporal", "spatial", "joint"}
        The task in whose table it stands.
    field : xarray.DataArray
        A lazy Field that holds the grid of the truth.
    """

    def __init__(self, name: str, task: Task, field: xr.DataArray) -> None:
        self.name = name
        self.task = task
        self.title = "values read from files"
        self._field = field
        self._place = {time: i for i, time in enumerate(field["time"].values.astype(TIME_DTYPE))}

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:  # noqa: ARG002 - the protocol's
        """Return the values at the times of `target`.

        Raises
        ------
        InputError
            If the grid of `target` is no part of the field's, or a stamp means another thing.
        """
        if stamp_of(self._field) != target.stamp:
            raise InputError(
                f"the prediction {self.name!r} holds values of cell_methods"
                f" 'time: {stamp_of(self._field)}', the truth 'time: {target.stamp}'",
                hint=f"if they mean the same, add stamp={target.stamp} to --prediction",
            )
        rows = self._matched("latitude", target.latitude)
        columns = self._matched("longitude", target.longitude)
        shape = (len(target.time), len(rows), len(columns))
        values = np.full(shape, np.nan, dtype=np.float32)
        found = [(i, self._place[t]) for i, t in enumerate(target.time) if t in self._place]
        if found:
            into, places = (list(pair) for pair in zip(*found, strict=True))
            chosen: Any = self._field.isel(time=places).compute(scheduler="synchronous")
            values[into] = chosen.values[:, rows][:, :, columns]
        return target.field(values)

    def _matched(self, dim: str, wanted: FloatArray) -> Any:
        have = self._field[dim].values
        place = np.clip(np.searchsorted(have, wanted), 1, len(have) - 1)
        place -= wanted - have[place - 1] < have[place] - wanted
        away = np.abs(have[place] - wanted).max()
        if away > _TOLERANCE * spacing_deg(have):
            raise InputError(
                f"the {dim} of the prediction {self.name!r} runs from {have[0]:g} to {have[-1]:g}"
                f" in steps of {spacing_deg(have):g} degrees; the truth's {wanted[0]:g} to"
                f" {wanted[-1]:g} are not all among them",
                hint="put the prediction on the grid of the truth",
            )
        return place
