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

from deepcams_eval.bench.boxes import box_cells, largest_box
from deepcams_eval.bench.calling import call, halo_of
from deepcams_eval.bench.frame_scores import FrameScorer
from deepcams_eval.bench.plan import Day, Interval, Plan
from deepcams_eval.bench.spectra import SpectralSums, ZonalSpectrum
from deepcams_eval.bench.tiles import Tiles, TileSums
from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.downscale import Coarse, Downscaler, Target, Task
from deepcams_eval.downscale.degrade import FACTOR, Degradation, hours_of

FloatArray = npt.NDArray[np.floating[Any]]
Key = tuple[str, str]
"""Task and method."""

_BATCH, _BATCH_VALUES = 8, 24_000_000  # frames; values of all methods held at once
# Workers of a cluster run this inside a task: no scheduler within a scheduler.
_HERE: dict[str, Any] = {"scheduler": "synchronous"}


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
    by_tile : bool
        Whether errors are summed over tiles too, for intervals where there are few days.
    """

    degradation: Degradation
    methods: Mapping[Task, tuple[Downscaler, ...]]
    shown: Mapping[Task, tuple[str, str]]
    by_tile: bool = False


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
        The rows of ``samples.parquet``: what `FrameScorer.score` gives, ``task``, ``method``,
        ``time`` (the stamp), ``hour_start``, ``hours`` ("kept" or "inserted"), ``cells_truth``
        (cells in which the truth is finite), ``cells_missing`` (those of them in which the method
        is not), ``negative_share`` and ``lowest`` of the method's own values.
    power : dict of (task, method) to SpectralSums
        Spectral power of truth and estimate.
    square_error : dict of (task, method) to ndarray, shape (2, latitude, longitude)
        Sum of squared errors, and how many there are, of the methods shown.
    tiles : dict of (task, method) to TileSums
        Errors by tile of the hours that all methods have, where they were asked for.
    largest : dict of task to Largest
        Of the methods shown.
    short : dict of method to int
        Intervals for which it was given fewer frames than it asked for.
    """

    samples: pd.DataFrame = field(default_factory=pd.DataFrame)
    power: dict[Key, SpectralSums] = field(default_factory=dict)
    square_error: dict[Key, FloatArray] = field(default_factory=dict)
    tiles: dict[Key, TileSums] = field(default_factory=dict)
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

    In each hour all methods of a task are scored on the same cells: those in which the truth and
    every method have a value. A method without any value in the hour has no score there, and
    takes no cell from the others.

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
        If a method raises anything, or returns another grid, other times, or no Field; the
        message names it.
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
class _Cells:
    """In which cells an hour is scored: the same ones for every method.

    Attributes
    ----------
    common : ndarray of bool, shape (latitude, longitude)
        Where the truth and all methods are finite, but for those in `absent`.
    truth : int
        Cells in which the truth is finite.
    missing : dict of str to int
        By method, those of them in which it is not.
    absent : frozenset of str
        Methods without any value in them.
    """

    common: npt.NDArray[np.bool_]
    truth: int
    missing: Mapping[str, int]
    absent: frozenset[str]

    @classmethod
    def of(cls, truth: FloatArray, estimates: Mapping[str, FloatArray]) -> _Cells:
        finite = np.isfinite(truth)
        count = int(np.count_nonzero(finite))
        common, missing, absent = finite.copy(), {}, set()
        for name, values in estimates.items():
            own = np.isfinite(values) & finite
            missing[name] = count - int(np.count_nonzero(own))
            if missing[name] == count:
                absent.add(name)
            else:
                common &= own
        return cls(common, count, missing, frozenset(absent))

    def shared(self, method: str, values: FloatArray) -> FloatArray:
        """Return the values of a method, NaN where another one that has a value lacks one."""
        own = self.truth - self.missing[method]
        if own == np.count_nonzero(self.common):
            return values
        return np.where(self.common, values, np.float32(np.nan))


@dataclass(frozen=True, eq=False)
class _Hour:
    """One hour of one task: the stamp, the beginning of the hour, the true map."""

    task: Task
    time: np.datetime64
    start: np.datetime64
    truth: FloatArray
    cells: _Cells

    def about(self, method: str, estimate: FloatArray) -> dict[str, Any]:
        """Return what a sample says beside its scores."""
        finite = np.isfinite(estimate)
        inserted = self.start.astype("datetime64[h]").astype(int) % FACTOR
        return {
            "task": self.task,
            "method": method,
            "time": self.time,
            "hour_start": self.start,
            "hours": "inserted" if inserted else "kept",
            "cells_truth": self.cells.truth,
            "cells_missing": self.cells.missing[method],
            "negative_share": float((estimate < 0).sum() / max(1, finite.sum())),
            "lowest": float(np.min(estimate, where=finite, initial=np.inf)),
        }


class _Scoring:
    def __init__(self, truth: xr.DataArray, plan: Plan, work: Work) -> None:
        self.plan, self.work = plan, work
        self.frames = _Frames(truth)
        latitude, longitude = truth["latitude"].values, truth["longitude"].values
        self.scorer = FrameScorer(latitude, longitude)
        self.spectrum = ZonalSpectrum(longitude)
        self.box = box_cells(latitude, longitude)
        self.tiles = Tiles(latitude, longitude) if work.by_tile else None
        self.halo = max(
            (halo_of(method) for methods in work.methods.values() for method in methods), default=0
        )
        cells = len(latitude) * len(longitude) * max(1, len(work.methods.get("spatial", ())))
        self.batch = min(_BATCH, max(1, _BATCH_VALUES // cells))
        self.part = Part()
        self.rows: list[dict[str, Any]] = []

    def score(self, day: Day) -> None:
        """Run and score every method on one day."""
        around = {index for one in day.intervals for index in self.plan.around(one, self.halo)}
        self.frames.hold([*day.frames, *around])
        methods = self.work.methods
        if methods.get("spatial"):
            for first in range(0, len(day.frames), self.batch):
                self._spatial(day.frames[first : first + self.batch])
        for interval in day.intervals:
            if methods.get("temporal") and interval.inside:
                self._temporal(interval)
            if methods.get("joint"):
                self._joint(interval)

    def finish(self) -> Part:
        """Return what all days gave."""
        self.part.samples = pd.DataFrame(self.rows)
        return self.part

    def _spatial(self, frames: Sequence[int]) -> None:
        truth = self.frames.field(frames)
        self._compare("spatial", truth, self._spatial_inputs(truth))

    def _temporal(self, interval: Interval) -> None:
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
        operator = self.work.degradation
        small = operator.spatial(truth).compute(**_HERE)
        return (Coarse(small, operator) for _ in self.work.methods.get("spatial", ()))

    def _inputs(self, task: Task, interval: Interval) -> Iterator[Coarse]:
        degradation = self.work.degradation if task == "joint" else None
        by_halo: dict[int, xr.DataArray] = {}
        for method in self.work.methods.get(task, ()):
            halo = halo_of(method)
            if halo not in by_halo:
                field = self.frames.field(self.plan.around(interval, halo))
                by_halo[halo] = (
                    field if degradation is None else degradation.spatial(field).compute(**_HERE)
                )
            if by_halo[halo].sizes["time"] < 2 + 2 * halo:
                self.part.short[f"{task} {method.name}"] += 1
            yield Coarse(by_halo[halo], degradation)

    def _compare(self, task: Task, truth: xr.DataArray, inputs: Iterator[Coarse]) -> None:
        target = Target.like(truth)
        methods = self.work.methods.get(task, ())
        results = {
            method.name: call(method, coarse, target)
            for method, coarse in zip(methods, inputs, strict=True)
        }
        for place, start in enumerate(hours_of(truth)):
            frame = truth.values[place]
            estimates = {name: values[place] for name, values in results.items()}
            hour = _Hour(task, target.time[place], start, frame, _Cells.of(frame, estimates))
            self._score_hour(hour, estimates)

    def _score_hour(self, hour: _Hour, estimates: Mapping[str, FloatArray]) -> None:
        cells = hour.cells
        scored = self.scorer.prepare(hour.truth)
        shared = {name: cells.shared(name, values) for name, values in estimates.items()}
        for name, values in shared.items():
            about = hour.about(name, estimates[name])
            self.rows += [about | scores for scores in self.scorer.score(scored, values)]
        # The tables leave out an hour that a method lacks: so do spectra and maps.
        if cells.absent or not cells.common.any():
            return
        power = self.spectrum.by_row(hour.truth)
        shown = self.work.shown.get(hour.task, ())
        for name, values in shared.items():
            key = (hour.task, name)
            sums = SpectralSums.of(power, self.spectrum.by_row(values))
            self.part.power[key] = self.part.power[key] + sums if key in self.part.power else sums
            if name in shown:
                self._map_error(key, values - hour.truth)
            if self.tiles is not None:
                tiles = self.tiles.sums(hour.start, values - hour.truth)
                known = self.part.tiles.get(key)
                self.part.tiles[key] = tiles if known is None else known + tiles
        if len(set(shown) & set(shared)) == 2:
            self._look_for_largest(hour, shared)

    def _map_error(self, key: Key, error: FloatArray) -> None:
        if key not in self.part.square_error:
            self.part.square_error[key] = np.zeros((2, *error.shape))
        total, count = self.part.square_error[key]
        finite = np.isfinite(error)
        total += np.where(finite, error, 0.0) ** 2
        count += finite

    def _look_for_largest(self, hour: _Hour, estimates: Mapping[str, FloatArray]) -> None:
        baseline, challenger = (estimates[name] for name in self.work.shown[hour.task])
        apart = np.where(hour.cells.common, np.abs(challenger - baseline), 0.0)
        difference, row, column = largest_box(apart, self.box)
        best = self.part.largest.get(hour.task)
        if best is None or difference > best.difference:
            self.part.largest[hour.task] = Largest(difference, hour.time, row, column)
