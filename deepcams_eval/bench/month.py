"""One month of truth through every method: frames in, samples and sums out.

Frames are read a day at a time and each once, so that memory depends on the grid and not on the
length of the series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from deepcams_eval.bench.choice import call, halo_of
from deepcams_eval.bench.frame_scores import FrameScorer, TileSums, box_cells, largest_box
from deepcams_eval.bench.plan import Day, Interval, Plan
from deepcams_eval.bench.spectra import SpectralSums, ZonalSpectrum
from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.field import TIME_DTYPE
from deepcams_eval.downscale import Coarse, Downscaler, Target, Task
from deepcams_eval.downscale.degrade import FACTOR, Degradation, hours_of

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
class MonthResult:
    """What a month gave, or several months together.

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

    @classmethod
    def merged(cls, months: Iterable[MonthResult]) -> MonthResult:
        """Return months as one: sums add up and the largest difference wins."""
        total, samples = cls(), []
        for month in months:
            samples.append(month.samples)
            _add(total.power, month.power)
            _add(total.square_error, month.square_error)
            _add(total.tiles, month.tiles)
            total.short += month.short
            for task, one in month.largest.items():
                total.consider(task, one)
        filled = [table for table in samples if len(table)]
        total.samples = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
        return total

    def consider(self, task: str, found: Largest) -> None:
        """Keep a difference if it is the largest of its task."""
        if task not in self.largest or found.difference > self.largest[task].difference:
            self.largest[task] = found


def _add(total: dict[Key, Any], more: Mapping[Key, Any]) -> None:
    for key, value in more.items():
        if key in total:
            total[key] += value
        else:
            total[key] = value


@dataclass(frozen=True, eq=False)
class Case:
    """One hour at which two methods differ most, for a figure in the manner of Figs. 3 and 4.

    Attributes
    ----------
    task : {"temporal", "spatial", "joint"}
    time : numpy.datetime64
        Stamp of the hour.
    methods : tuple of str
        Baseline and challenger, in this order.
    truth : ndarray, shape (latitude, longitude)
        µg m⁻³.
    estimates : mapping of str to ndarray, shape (latitude, longitude)
        By method, both `methods` and any other that is shown; µg m⁻³.
    box : tuple of float
        West, south, east, north of the zoom, degrees.
    difference : float
        Mean absolute difference of the two methods in the box, µg m⁻³: the largest of all hours
        scored and of all boxes of that size.
    """

    task: str
    time: np.datetime64
    methods: tuple[str, str]
    truth: FloatArray
    estimates: Mapping[str, FloatArray]
    box: tuple[float, float, float, float]
    difference: float


def score_month(
    truth: xr.DataArray,
    plan: Plan,
    month: str,
    work: Work,
    progress: Callable[[], None] | None = None,
) -> MonthResult:
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
    scoring.result.samples = pd.DataFrame(scoring.rows)
    return scoring.result


def replay(truth: xr.DataArray, plan: Plan, work: Work, task: Task, found: Largest) -> Case:
    """Run the methods shown once more, for the hour at which they differ most."""
    index = int(np.searchsorted(truth["time"].values.astype(TIME_DTYPE), found.time))
    chosen = tuple(one for one in work.methods[task] if one.name in work.shown[task])
    scoring = _Scoring(truth, plan, replace(work, methods={task: chosen}))
    day = plan.day_of(index)
    interval = next((one for one in day.intervals if index in (one.before, *one.inside)), None)
    frames = [index] if interval is None else plan.around(interval, scoring.halo)
    scoring.frames.hold([index, *frames])
    wanted = scoring.frames.field([index])
    inputs = scoring.inputs(task, wanted, interval)
    estimates = {
        method.name: call(method, coarse, Target.like(wanted))[0]
        for method, coarse in zip(chosen, inputs, strict=True)
    }
    high, wide = scoring.box.height // 2, scoring.box.width // 2
    latitude, longitude = truth["latitude"].values, truth["longitude"].values
    return Case(
        task=task,
        time=found.time,
        methods=work.shown[task],
        truth=wanted.values[0],
        estimates=estimates,
        box=(
            longitude[found.column - wide],
            latitude[found.row - high],
            longitude[found.column + wide],
            latitude[found.row + high],
        ),
        difference=found.difference,
    )


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


class _Cells:
    """In which cells an hour is scored: the same ones for every method that has a value."""

    def __init__(self, truth: FloatArray, estimates: Mapping[str, FloatArray]) -> None:
        finite = np.isfinite(truth)
        self.truth = int(np.count_nonzero(finite))
        # A method without any value takes no cell from the others.
        self.common, self.missing, self.complete = finite.copy(), dict[str, int](), True
        for name, values in estimates.items():
            own = np.isfinite(values) & finite
            self.missing[name] = self.truth - int(np.count_nonzero(own))
            if self.missing[name] == self.truth:
                self.complete = False
            else:
                self.common &= own

    def shared(self, method: str, values: FloatArray) -> FloatArray:
        """Return the values of a method, NaN where another one that has a value has none."""
        own = self.truth - self.missing[method]
        if own == np.count_nonzero(self.common):
            return values
        return np.where(self.common, values, np.float32(np.nan))


class _Scoring:
    """The methods of a run at work on one day after the other."""

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
        cells = len(latitude) * len(longitude) * max(1, len(work.methods.get("spatial", ())))
        self.batch = min(_BATCH, max(1, _BATCH_VALUES // cells))
        self.result = MonthResult()
        self.rows: list[dict[str, Any]] = []

    def score(self, day: Day) -> None:
        """Run and score every method on one day."""
        around = {index for one in day.intervals for index in self.plan.around(one, self.halo)}
        self.frames.hold([*day.frames, *around])
        for first in range(0, len(day.frames), self.batch):
            self._compare("spatial", day.frames[first : first + self.batch], None)
        for interval in day.intervals:
            self._compare("temporal", interval.inside, interval)
            self._compare("joint", (interval.before, *interval.inside), interval)

    def inputs(
        self, task: Task, truth: xr.DataArray, interval: Interval | None
    ) -> Iterator[Coarse]:
        """Yield what each method of a task is given for the hours of `truth`."""
        operator = None if task == "temporal" else self.work.degradation
        about = None if task == "spatial" else interval
        by_halo: dict[int, xr.DataArray] = {}
        for method in self.work.methods[task]:
            halo = 0 if about is None else halo_of(method)
            if halo not in by_halo:
                field = truth
                if about is not None:
                    field = self.frames.field(self.plan.around(about, halo))
                if operator is not None:
                    field = operator.spatial(field).compute(**_HERE)
                by_halo[halo] = field
            if about is not None and by_halo[halo].sizes["time"] < 2 + 2 * halo:
                self.result.short[f"{task} {method.name}"] += 1
            yield Coarse(by_halo[halo], operator)

    def _compare(self, task: Task, frames: Sequence[int], interval: Interval | None) -> None:
        methods = self.work.methods.get(task)
        if not methods or not frames:
            return
        truth = self.frames.field(frames)
        target = Target.like(truth)
        results = {
            method.name: call(method, coarse, target)
            for method, coarse in zip(methods, self.inputs(task, truth, interval), strict=True)
        }
        for place, start in enumerate(hours_of(truth)):
            estimates = {name: values[place] for name, values in results.items()}
            self._score_hour(task, target.time[place], start, truth.values[place], estimates)

    def _score_hour(
        self,
        task: Task,
        time: np.datetime64,
        start: np.datetime64,
        truth: FloatArray,
        estimates: Mapping[str, FloatArray],
    ) -> None:
        cells = _Cells(truth, estimates)
        inserted = start.astype("datetime64[h]").astype(int) % FACTOR
        shared = {name: cells.shared(name, values) for name, values in estimates.items()}
        scored = self.scorer.score(truth, shared)
        for name, own in estimates.items():
            finite = np.isfinite(own)
            about = {
                "task": task,
                "method": name,
                "time": time,
                "hour_start": start,
                "hours": "inserted" if inserted else "kept",
                "cells_truth": cells.truth,
                "cells_missing": cells.missing[name],
                "negative_share": float((own < 0).sum() / max(1, finite.sum())),
                "lowest": float(np.min(own, where=finite, initial=np.inf)),
            }
            self.rows += [about | scores for scores in scored[name]]
        # The tables leave out an hour in which a method has no value: so do spectra and maps.
        if not cells.complete or not cells.common.any():
            return
        power = self.spectrum.by_row(truth)
        shown = self.work.shown.get(task, ())
        for name, values in shared.items():
            key, error = (task, name), values - truth
            sums = SpectralSums.of(power, self.spectrum.by_row(values))
            _add(self.result.power, {key: sums})
            if name in shown:
                finite = np.isfinite(error)
                squares = np.where(finite, error, 0.0) ** 2
                _add(self.result.square_error, {key: np.array([squares, finite], np.float64)})
            if self.work.by_tile:
                _add(self.result.tiles, {key: self.scorer.tile_sums(start, error)})
        if shown and set(shown) <= set(shared):
            baseline, challenger = (shared[name] for name in shown)
            apart = np.where(cells.common, np.abs(challenger - baseline), 0.0)
            difference, row, column = largest_box(apart, self.box)
            self.result.consider(task, Largest(difference, time, row, column))
