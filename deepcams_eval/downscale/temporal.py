"""Baselines in time: the hours between two 3-hourly frames from those frames and their neighbours.

A method here inserts frames into one interval at a time. With G0 the frame before and G1 the
frame after, t is the fraction of the interval elapsed: 1/3 and 2/3 for the two missing hours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.interpolate import PchipInterpolator

from deepcams_eval.core.arrays import FloatArray, Times
from deepcams_eval.core.field import middles_of, spans_globe
from deepcams_eval.downscale.degrade import HOUR
from deepcams_eval.downscale.derived import linear
from deepcams_eval.downscale.protocol import Coarse, Target, Task
from deepcams_eval.errors import InputError

Frames = npt.NDArray[np.float32]

_ROWS_AT_A_TIME = 16  # scipy keeps many temporaries as large as its input: these stay in the cache


@dataclass(frozen=True, eq=False)
class Interval:
    """Two consecutive frames and their neighbours.

    Attributes
    ----------
    frames : ndarray, shape (time, latitude, longitude)
        µg m⁻³, south first.
    stamps : ndarray of datetime64, shape (time,)
        Their times; the middles of means.
    before : int
        Index of G0; G1 follows.
    latitude, longitude : ndarray
        Degrees, ascending.
    """

    frames: Frames
    stamps: Times
    before: int
    latitude: FloatArray
    longitude: FloatArray

    @property
    def cyclic(self) -> bool:
        """Whether longitude spans the globe."""
        return spans_globe(self.longitude)

    @property
    def first(self) -> Frames:
        """G0."""
        return np.asarray(self.frames[self.before])

    @property
    def last(self) -> Frames:
        """G1."""
        return np.asarray(self.frames[self.before + 1])


class IntervalMethod(ABC):
    """A temporal method that inserts frames into one interval at a time.

    A subclass gives `name`, `title`, perhaps `halo`, and `inserted`. The caller asks for times
    between two frames, or for a frame's own time, which keeps the frame as it is; a gap in the
    frames is not recognised as one.
    """

    name: str
    title: str
    task: Task = "temporal"
    halo: int = 0

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return a Field at the times of `target`, within the span of two or more frames.

        Raises
        ------
        InputError
            If a time is outside, or the grids differ.
        """
        require_same_grid(coarse.field, target)
        index, fraction = coarse.between(target.time)
        frames = coarse.field.values
        stamps = middles_of(coarse.field)
        result = np.empty((len(target.time), *frames.shape[1:]), dtype=np.float32)
        own = (fraction == 0) | (fraction == 1)
        result[own] = frames[(index + (fraction == 1))[own]]
        for before in np.unique(index[~own]):
            chosen = np.flatnonzero((index == before) & ~own)
            around = slice(max(0, before - self.halo), before + 2 + self.halo)
            interval = Interval(
                frames[around],
                stamps[around],
                int(before) - around.start,
                target.latitude,
                target.longitude,
            )
            result[chosen] = self.inserted(interval, fraction[chosen])
        return target.field(result)

    @abstractmethod
    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return the frames to insert, shape (fractions, latitude, longitude), µg m⁻³.

        Parameters
        ----------
        interval : Interval
            The two frames about it, and up to `halo` more on either side.
        fractions : ndarray
            Each t, 0 < t < 1.
        """


class Nearest(IntervalMethod):
    """The nearer of the two frames; the earlier where both are as near. NaN where that one is."""

    name = "nearest"
    title = "nearest frame"

    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return G0 where t ≤ 1/2 and G1 beyond."""
        return np.asarray(interval.frames[interval.before + (fractions > 0.5)])


class Linear(IntervalMethod):
    """Linear interpolation, (1 − t)·G0 + t·G1. NaN where either frame is."""

    name = "linear"
    title = "linear interpolation"

    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return (1 − t)·G0 + t·G1."""
        return linear(interval.first, interval.last, fractions)


class LinearAsPrinted(IntervalMethod):
    """Equation 9 of Xiao et al. (2022) as printed, t·G0 + (1 − t)·G1. NaN where either frame is.

    doi:10.1016/j.scitotenv.2022.157747. The weights are exchanged: at 1/3 of the interval it
    gives what linear interpolation gives at 2/3.
    """

    name = "linear-eq9"
    title = "Eq. 9 as printed: linear, reversed in time"

    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return t·G0 + (1 − t)·G1."""
        return linear(interval.first, interval.last, 1 - fractions)


class LinearSqrt(IntervalMethod):
    """The square of linear interpolation of square roots.

    ((1 − t)·√G0 + t·√G1)², which suits values whose spread grows with their size; linear
    interpolation where either frame is negative, NaN where either is NaN.
    """

    name = "linear-sqrt"
    title = "linear interpolation of square roots"

    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return ((1 − t)·√G0 + t·√G1)²."""
        ends = np.stack([interval.first, interval.last])
        first, last = np.sqrt(np.maximum(ends, 0))
        result = np.square(linear(first, last, fractions))
        negative = (ends < 0).any(axis=0)
        if negative.any():
            result[:, negative] = linear(ends[0][negative], ends[1][negative], fractions)
        return result


class Pchip(IntervalMethod):
    """Piecewise cubic Hermite interpolation that adds no new extremes, through four frames.

    Fritsch and Butland (1984), doi:10.1137/0905021, as `scipy.interpolate.PchipInterpolator`
    has it, between the frames before, at both ends of and after the interval. With three frames
    the slope at the open end is one-sided; with two the result is linear. Where an outer frame
    is NaN the point is interpolated linearly; where an inner one is, it is NaN.
    """

    name = "pchip"
    title = "monotone cubic through four frames"
    halo = 1

    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return the monotone cubic through the frames."""
        result = linear(interval.first, interval.last, fractions)
        frames = interval.frames
        if len(frames) == 2:
            return result
        hours = (interval.stamps - interval.stamps[interval.before]) / HOUR
        wanted = hours[interval.before + 1] * fractions
        for top in range(0, frames.shape[1], _ROWS_AT_A_TIME):
            rows = slice(top, top + _ROWS_AT_A_TIME)
            block = frames[:, rows].astype(np.float64)
            whole = np.isfinite(block).all(axis=0)
            # scipy refuses NaN; those points stay linear.
            curve = PchipInterpolator(hours, np.where(whole, block, 0.0), axis=0)(wanted)
            result[:, rows] = np.where(whole, curve, result[:, rows])
        return result


def require_same_grid(field: xr.DataArray, target: Target) -> None:
    """Check that frames are on the grid that is asked for.

    Raises
    ------
    InputError
        Naming the coordinate that differs.
    """
    for name, wanted in (("latitude", target.latitude), ("longitude", target.longitude)):
        found = field[name].values
        if not np.array_equal(found, wanted):
            raise InputError(
                f"{name} of the frames is {found[0]:g} to {found[-1]:g} ({len(found)}), but"
                f" {wanted[0]:g} to {wanted[-1]:g} ({len(wanted)}) is asked for",
                hint="a temporal method keeps the grid: ask for the one of the frames",
            )
