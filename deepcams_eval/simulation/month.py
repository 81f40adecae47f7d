"""One month of truth through every method: frames in, samples and sums out.

Frames are read a day at a time and each once, so that memory depends on the grid and not on the
length of the series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.ndimage import uniform_filter

from deepcams_eval.degrade import FACTOR, Degradation, hours_of
from deepcams_eval.downscale import Coarse, Downscaler, Target, Task
from deepcams_eval.errors import DeepcamsError, InputError
from deepcams_eval.schema import TIME_DTYPE, spacing_deg, validate_field
from deepcams_eval.simulation.frame_scores import FrameScorer, PreparedTruth
from deepcams_eval.simulation.plan import Day, Interval, Plan
from deepcams_eval.simulation.spectra import SpectralSums, ZonalSpectrum

FloatArray = npt.NDArray[np.floating[Any]]
Key = tuple[str, str]
"""Task and method."""

BOX_DEG = 15.0
"""Side of the box in which two methods are compared for a figure; a third of a smaller map."""

_BATCH = 8
# Workers of a cluster run this inside a task: no scheduler within a scheduler.
_HERE: dict[str, Any] = {"scheduler": "synchronous"}
_POLAR_DEG = 75.0


@dataclass(frozen=True)
class Work:
    """What is done to each frame.

    Attributes
    ----------
    degradation : Degradation
        The operator of the run.
    methods : mapping of task to tuple of Downscaler
        In the order of the tables; a task that is absent is not run.
    shown : mapping of task to (str, str)
        Baseline and challenger, whose errors are mapped and whose largest difference is found.
    """

    degradation: Degradation
    methods: Mapping[Task, tuple[Downscaler, ...]]
    shown: Mapping[Task, tuple[str, str]]


@dataclass
class Largest:
    """Where and when the two methods shown differ most so far; see `Work.shown`."""

    difference: float
    time: np.datetime64
    row: int
    column: int


@dataclass
class Part:
    """What a month gave.

    Attributes
    ----------
    samples : pandas.DataFrame
        The rows of ``samples.parquet``.
    power : dict of (task, method) to SpectralSums
        Spectral power of truth and estimate.
    square_error : dict of (task, method) to ndarray, shape (2, latitude, longitude)
        Sum of squared errors, and how many there are, of the methods shown.
    largest : dict of task to Largest
        Of the methods shown.
    short : dict of method to int
        Intervals for which it was given fewer frames than it asked for.
    """

    samples: pd.DataFrame = field(default_factory=pd.DataFrame)
    power: dict[Key, SpectralSums] = field(default_factory=dict)
    square_error: dict[Key, FloatArray] = field(default_factory=dict)
    largest: dict[str, Largest] = field(default_factory=dict)
    short: Counter[str] = field(default_factory=Counter)


def score_month(
    truth: xr.DataArray,
    plan: Plan,
    month: str,
    work: Work,
    progress: Callable[[], None] | None = None,
) -> Part:
    """Run every method on a month and score it.

    Parameters
    ----------
    truth : xarray.DataArray
        Hourly truth, a lazy Field on a grid that the operator divides.
    plan : Plan
        Of `truth`.
    month : str
        Such as ``2020-03``.
    work : Work
        Operator and methods.
    progress : callable, optional
        Called when a day is done.

    Raises
    ------
    InputError
        If a method returns another grid, other times, or no Field; the message names it.
    """
    scoring = _Scoring(truth, plan, work)
    for day in plan.days(month):
        scoring.score(day)
        if progress is not None:
            progress()
    return scoring.finish()


def replay(
    truth: xr.DataArray, plan: Plan, work: Work, task: Task, time: np.datetime64
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
    """Run the methods shown once more, for one hour that was scored.

    Returns
    -------
    truth : ndarray, shape (latitude, longitude)
    estimates : dict of str to ndarray
        By method.
    """
    index = int(np.searchsorted(truth["time"].values.astype(TIME_DTYPE), time))
    chosen = tuple(one for one in work.methods[task] if one.name in work.shown[task])
    scoring = _Scoring(truth, plan, replace(work, methods={task: chosen}))
    day = plan.day_of(index)
    interval = next((one for one in day.intervals if index in (one.before, *one.inside)), None)
    frames = [index] if interval is None else plan.around(interval, scoring.halo)
    scoring.frames.hold([index, *frames])
    wanted = scoring.frames.field([index])
    inputs = scoring.inputs_at(task, interval, wanted)
    estimates = {
        method.name: call(method, coarse, Target.like(wanted))[0]
        for method, coarse in zip(chosen, inputs, strict=True)
    }
    return wanted.values[0], estimates


class _Frames:
    """Frames of the truth, each read once while days follow each other."""

    def __init__(self, truth: xr.DataArray) -> None:
        self._truth = truth
        self._all = Target.like(truth)
        self._held: dict[int, npt.NDArray[np.float32]] = {}

    def hold(self, indices: Sequence[int]) -> None:
        """Read what is not held yet, and let go of what is not named."""
        wanted = sorted(set(indices))
        absent = [index for index in wanted if index not in self._held]
        self._held = {index: self._held[index] for index in wanted if index in self._held}
        if absent:
            read = self._truth.isel(time=absent).compute(**_HERE)
            self._held.update(zip(absent, read.values, strict=True))

    def field(self, indices: Sequence[int]) -> xr.DataArray:
        frames = np.stack([self._held[index] for index in indices])
        return self._all.at(list(indices)).field(frames)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A frame of truth with what every method needs of it."""

    start: np.datetime64
    frame: npt.NDArray[np.float32]
    scored: PreparedTruth
    power: npt.NDArray[np.float64]


class _Scoring:
    def __init__(self, truth: xr.DataArray, plan: Plan, work: Work) -> None:
        self.plan, self.work = plan, work
        self.frames = _Frames(truth)
        latitude, longitude = truth["latitude"].values, truth["longitude"].values
        self.scorer = FrameScorer(latitude, longitude)
        self.spectrum = ZonalSpectrum(longitude)
        self.box = box_cells(latitude, longitude)
        self.halo = max(
            (halo_of(method) for methods in work.methods.values() for method in methods), default=0
        )
        self.part = Part()
        self.rows: list[dict[str, Any]] = []

    def score(self, day: Day) -> None:
        """Run and score every method on one day."""
        around = {index for one in day.intervals for index in self.plan.around(one, self.halo)}
        self.frames.hold([*day.frames, *around])
        for first in range(0, len(day.frames), _BATCH):
            self._spatial(day.frames[first : first + _BATCH])
        for interval in day.intervals:
            self._temporal(interval)
            self._joint(interval)

    def finish(self) -> Part:
        """Return what all days gave."""
        self.part.samples = pd.DataFrame(self.rows)
        return self.part

    def _spatial(self, frames: Sequence[int]) -> None:
        truth = self.frames.field(frames)
        self._compare("spatial", truth, self._spatial_inputs(truth))

    def _temporal(self, interval: Interval) -> None:
        if interval.inside:
            truth = self.frames.field(interval.inside)
            self._compare("temporal", truth, self._inputs("temporal", interval))

    def _joint(self, interval: Interval) -> None:
        truth = self.frames.field([interval.before, *interval.inside])
        self._compare("joint", truth, self._inputs("joint", interval))

    def inputs_at(
        self, task: Task, interval: Interval | None, truth: xr.DataArray
    ) -> Iterator[Coarse]:
        """Yield what each method of a task is given for the hours of `truth`."""
        if task == "spatial" or interval is None:
            return self._spatial_inputs(truth)
        return self._inputs(task, interval)

    def _spatial_inputs(self, truth: xr.DataArray) -> Iterator[Coarse]:
        small = self.work.degradation.spatial(truth).compute(**_HERE)
        coarse = Coarse(small, self.work.degradation)
        return (coarse for _ in self.work.methods.get("spatial", ()))

    def _inputs(self, task: Task, interval: Interval) -> Iterator[Coarse]:
        degradation = self.work.degradation if task == "joint" else None
        by_halo: dict[int, Coarse] = {}
        for method in self.work.methods.get(task, ()):
            halo = halo_of(method)
            if halo not in by_halo:
                field = self.frames.field(self.plan.around(interval, halo))
                small = (
                    field if degradation is None else degradation.spatial(field).compute(**_HERE)
                )
                by_halo[halo] = Coarse(small, degradation)
            if by_halo[halo].field.sizes["time"] < 2 + 2 * halo:
                self.part.short[f"{task} {method.name}"] += 1
            yield by_halo[halo]

    def _compare(self, task: Task, truth: xr.DataArray, inputs: Iterator[Coarse]) -> None:
        target = Target.like(truth)
        prepared = [
            _Prepared(time, frame, self.scorer.prepare(frame), self.spectrum.by_row(frame))
            for time, frame in zip(hours_of(truth), truth.values, strict=True)
        ]
        estimates = {}
        for method, coarse in zip(self.work.methods.get(task, ()), inputs, strict=True):
            result = call(method, coarse, target)
            for time, one, estimate in zip(target.time, prepared, result, strict=True):
                self._take(task, method.name, time, one, estimate)
            if method.name in self.work.shown.get(task, ()):
                estimates[method.name] = result
        if len(estimates) == len(set(self.work.shown.get(task, ()))) == 2:
            self._look_for_largest(task, target.time, estimates)

    def _take(
        self,
        task: Task,
        method: str,
        time: np.datetime64,
        truth: _Prepared,
        estimate: npt.NDArray[np.float32],
    ) -> None:
        finite = np.isfinite(estimate)
        about = {
            "task": task,
            "method": method,
            "time": time,
            "hours": "inserted"
            if truth.start.astype("datetime64[h]").astype(int) % FACTOR
            else "kept",
            "negative_share": float((estimate < 0).sum() / max(1, finite.sum())),
            "lowest": float(np.min(estimate, where=finite, initial=np.inf)),
        }
        self.rows += [about | scored for scored in self.scorer.score(truth.scored, estimate)]
        key = (task, method)
        sums = SpectralSums.of(truth.power, self.spectrum.by_row(estimate))
        self.part.power[key] = self.part.power[key] + sums if key in self.part.power else sums
        if method in self.work.shown.get(task, ()):
            self._map_error(key, estimate - truth.frame)

    def _map_error(self, key: Key, error: npt.NDArray[np.float32]) -> None:
        if key not in self.part.square_error:
            self.part.square_error[key] = np.zeros((2, *error.shape))
        total, count = self.part.square_error[key]
        finite = np.isfinite(error)
        total += np.where(finite, error, 0.0) ** 2
        count += finite

    def _look_for_largest(
        self, task: Task, times: npt.NDArray[np.datetime64], estimates: Mapping[str, FloatArray]
    ) -> None:
        baseline, challenger = (estimates[name] for name in self.work.shown[task])
        for time, one, other in zip(times, baseline, challenger, strict=True):
            difference, row, column = largest_box(np.abs(other - one), self.box)
            best = self.part.largest.get(task)
            if best is None or difference > best.difference:
                self.part.largest[task] = Largest(difference, time, row, column)


@dataclass(frozen=True)
class Box:
    """A box of so many cells, and the rows in which its centre may lie."""

    height: int
    width: int
    rows: slice


def box_cells(latitude: FloatArray, longitude: FloatArray) -> Box:
    """Return the box in which methods are compared: `BOX_DEG` wide, or a third of a small map.

    Boxes near the poles are left out: so many degrees are no distance there.
    """
    step = spacing_deg(latitude)
    side = BOX_DEG / step
    height = int(min(side, len(latitude) / 3)) | 1
    width = int(min(side, len(longitude) / 3)) | 1
    inner = np.flatnonzero(np.abs(latitude) <= _POLAR_DEG)
    first, last = int(inner[0]) + height // 2, int(inner[-1]) - height // 2
    return Box(height, width, slice(first, max(first, last) + 1))


def largest_box(difference: FloatArray, box: Box) -> tuple[float, int, int]:
    """Return the largest mean over a box, with the row and column of its centre.

    No box crosses an edge of the map; a NaN counts as no difference.
    """
    mean = uniform_filter(np.nan_to_num(difference, nan=0.0), (box.height, box.width))
    first = box.rows.start, box.width // 2
    inside = mean[box.rows, first[1] : difference.shape[1] - box.width // 2]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return float(inside[row, column]), int(row) + first[0], int(column) + first[1]


def halo_of(method: Downscaler) -> int:
    """Return how many frames a method asks for beyond the two about an interval."""
    return int(getattr(method, "halo", 0))


def call(method: Downscaler, coarse: Coarse, target: Target) -> npt.NDArray[np.float32]:
    """Run a method and return its values, shape (time, latitude, longitude).

    Raises
    ------
    InputError
        If it returns another grid, other times, or no Field.
    """
    result = method(coarse, target)
    name = f"the method {method.name!r}"
    if not isinstance(result, xr.DataArray):
        raise InputError(f"{name} returned a {type(result).__name__}", hint=_RETURN)
    try:
        validate_field(result)
    except DeepcamsError as error:
        raise InputError(f"{name} returned no Field: {error}", hint=_RETURN) from error
    for dim, wanted in (
        ("time", target.time),
        ("latitude", target.latitude),
        ("longitude", target.longitude),
    ):
        found = result[dim].values
        found = found.astype(TIME_DTYPE) if dim == "time" else found
        if len(found) != len(wanted) or not (found == wanted).all():
            raise InputError(f"{name} returned another {dim} than it was asked for", hint=_RETURN)
    values: npt.NDArray[np.float32] = result.values
    return values


_RETURN = "return target.field(values) with values of shape (time, latitude, longitude)"
