"""Both steps at once: a temporal and a spatial method, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.downscale.protocol import Coarse, Downscaler, Target, Task, Training
from deepcams_eval.errors import InputError


class Composed:
    """A temporal and a spatial method, in the order given.

    Parameters
    ----------
    first, second : Downscaler
        One temporal and one spatial method. Time first interpolates coarse frames and enlarges
        the result; space first enlarges the frames and interpolates between fine ones.

    Attributes
    ----------
    name : str
        Their names joined by ``+``.
    title : str
        ``time first`` or ``space first``, and the titles of both.
    halo : int
        That of the temporal method.
    fit : callable
        Only where one of the two learns: hands the training on to it.

    Raises
    ------
    InputError
        If the two are not one temporal and one spatial method.
    """

    task: Task = "joint"
    fit: Callable[[Training], None]

    def __init__(self, first: Downscaler, second: Downscaler) -> None:
        if {first.task, second.task} != {"temporal", "spatial"}:
            raise InputError(
                f"{first.name!r} is {first.task} and {second.name!r} is {second.task}",
                hint="compose one temporal and one spatial method",
            )
        self.first, self.second = first, second
        self.time_first = first.task == "temporal"
        self.temporal, self.spatial = (first, second) if self.time_first else (second, first)
        self.name = f"{first.name}+{second.name}"
        order = "time first" if self.time_first else "space first"
        titles = (getattr(method, "title", "") or method.name for method in (first, second))
        self.title = f"{order}: {', then '.join(titles)}"
        self.halo = int(getattr(self.temporal, "halo", 0))
        # A method that needs no training must not look as if it did.
        if any(hasattr(method, "fit") for method in (first, second)):
            self.fit = self._fit

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return a Field at the times and on the grid of `target`.

        Parameters
        ----------
        coarse : Coarse
            Two or more coarse frames and the operator that made them. A temporal method is
            given one interval at a time, and on either side of it up to `halo` frames that
            follow at the same step: none from beyond a gap.
        target : Target
            Times within the span of the frames, in any number of intervals. A frame's own time
            is only enlarged.

        Raises
        ------
        InputError
            If a time is outside, or a step refuses its input.
        """
        if self.time_first:
            field = coarse.field
            times = target.on(field["latitude"].values, field["longitude"].values)
            hourly = self._inserted(field, times)
            return self.spatial(Coarse(hourly, coarse.degradation), target)
        frames = Target.like(coarse.field).on(target.latitude, target.longitude)
        return self._inserted(self.spatial(coarse, frames), target)

    def _inserted(self, frames: xr.DataArray, target: Target) -> xr.DataArray:
        """Return the frames at their own times and the temporal method's in between."""
        stamps = frames["time"].values.astype(TIME_DTYPE)
        values = frames.values
        result = np.empty((len(target.time), *values.shape[1:]), dtype=np.float32)
        own = np.isin(target.time, stamps)
        result[own] = values[np.searchsorted(stamps, target.time[own])]
        between = np.flatnonzero(~own)
        if len(between):
            index, _ = Coarse(frames).between(target.time[between])
            for before in np.unique(index):
                chosen = between[index == before]
                around = _around(stamps, int(before), self.halo)
                interval = Coarse(frames.isel(time=around))
                result[chosen] = self.temporal(interval, target.at(chosen)).values
        return target.field(result)

    def _fit(self, training: Training) -> None:
        for method in (self.first, self.second):
            fit: Callable[[Training], None] | None = getattr(method, "fit", None)
            if fit is not None:
                fit(training)


def _around(stamps: npt.NDArray[np.datetime64], before: int, halo: int) -> slice:
    """Return the frames of an interval and up to `halo` more each way at the same step."""
    steps = np.diff(stamps)
    first = last = before
    while first > 0 and before - first < halo and steps[first - 1] == steps[before]:
        first -= 1
    while last < len(steps) - 1 and last - before < halo and steps[last + 1] == steps[before]:
        last += 1
    return slice(first, last + 2)
