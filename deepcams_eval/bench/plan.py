"""Which hours of a year can be scored: real counts, and gaps that are never bridged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from deepcams_eval.core.field import spans_globe, stamp_of
from deepcams_eval.downscale import Task
from deepcams_eval.downscale.degrade import FACTOR, Degradation, hours_of
from deepcams_eval.errors import InputError, NoDataError

DAY = 24


@dataclass(frozen=True)
class Interval:
    """Three hours between two kept frames.

    Attributes
    ----------
    before, after : int
        Truth frames at its ends.
    inside : tuple of int
        Truth frames at the hours to insert, at most two.
    """

    before: int
    after: int
    inside: tuple[int, ...]


@dataclass(frozen=True)
class Day:
    """What one UTC day gives to each task, as indices of truth frames."""

    frames: tuple[int, ...]
    intervals: tuple[Interval, ...]


class Plan:
    """The hours of a year in a series of hourly truth.

    Kept frames are those that begin at 00, 03, … UTC, whatever the first frame. An interval
    needs the frames at both its ends; the one that ends a year needs the first of the next.

    Parameters
    ----------
    field : xarray.DataArray
        Hourly truth, a Field; its values are not read.
    year : int
        The year scored. Frames of other years serve as ends of intervals alone.

    Attributes
    ----------
    between : int
        Frames that are not used because their hour begins between two full ones.

    Raises
    ------
    InputError
        If `field` holds means over other than one hour, or no stamp on a full hour.
    NoDataError
        If it holds no hour of `year`.
    """

    def __init__(self, field: xr.DataArray, year: int) -> None:
        self.year = year
        starts = hours_of(field).astype("datetime64[h]")
        self._hours = starts.astype(np.int64)
        # A stamp between full hours is no hour of the series.
        whole = starts == hours_of(field)
        if not whole.any():
            raise _off_hours(field)
        self.between = int(np.count_nonzero(~whole))
        self._index = {int(self._hours[place]): int(place) for place in np.flatnonzero(whole)}
        first, end = (
            int(np.datetime64(f"{number}-01-01T00", "h").astype(np.int64))
            for number in (year, year + 1)
        )
        self._range = range(first, end)
        if not any(hour in self._index for hour in self._range):
            found = sorted({int(one) + 1970 for one in starts.astype("datetime64[Y]").astype(int)})
            raise NoDataError(
                f"the truth has no hour of {year}; it has {', '.join(map(str, found))}",
                hint="choose another --year or --truth",
            )

    @cached_property
    def months(self) -> tuple[str, ...]:
        """The twelve months of the year, such as ``2020-03``."""
        return tuple(f"{self.year}-{month:02}" for month in range(1, 13))

    def days(self, month: str) -> Iterator[Day]:
        """Yield the days of a month that hold a truth frame."""
        hours = self._month(month)
        for first in range(hours.start, hours.stop, DAY):
            day = self._day(first)
            if day.frames:
                yield day

    def day_of(self, index: int) -> Day:
        """Return the day in which a truth frame lies."""
        hour = int(self._hours[index])
        return self._day(hour - hour % DAY)

    def _day(self, first: int) -> Day:
        hours = range(first, first + DAY)
        frames = tuple(self._index[hour] for hour in hours if hour in self._index)
        return Day(frames, tuple(self._intervals(hours)))

    def around(self, interval: Interval, halo: int) -> list[int]:
        """Return the kept frames about an interval and up to `halo` more on either side.

        The row of frames ends at the first one that is absent: a gap is not bridged.
        """
        start = int(self._hours[interval.before])
        before: list[int] = []
        after: list[int] = []
        for found, hour, step in (
            (before, start, -FACTOR),
            (after, start + FACTOR, FACTOR),
        ):
            for place in range(1, halo + 1):
                index = self._index.get(hour + place * step)
                if index is None:
                    break
                found.append(index)
        return [*reversed(before), interval.before, interval.after, *after]

    def counts(self, tasks: Sequence[Task], samples: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return how many hours each month has for each task, and why others have none.

        Parameters
        ----------
        tasks : sequence of Task
            Which.
        samples : pandas.DataFrame, optional
            All samples, with ``task``, ``hour_start`` and ``cells_truth``: what the values of the
            truth decide is not known without them.

        Returns
        -------
        pandas.DataFrame
            ``task, month, expected, scored, truth_absent, interval_incomplete, truth_empty``;
            the last four add up to ``expected``, the hours of the calendar.
        """
        rows = [
            {"task": task, "month": month, **self._count(task, month)}
            for task in tasks
            for month in self.months
        ]
        counts = pd.DataFrame(rows)
        if samples is None:
            return counts.assign(truth_empty=0)
        empty = samples.loc[samples["cells_truth"] == 0, ["task", "hour_start"]].drop_duplicates()
        month = np.datetime_as_string(empty["hour_start"].to_numpy().astype("datetime64[M]"))
        found = empty.assign(month=month).groupby(["task", "month"]).size()
        places = pd.MultiIndex.from_frame(counts[["task", "month"]])
        number = found.reindex(places, fill_value=0).to_numpy(dtype=np.int64)
        return counts.assign(scored=counts["scored"] - number, truth_empty=number)

    def _count(self, task: Task, month: str) -> dict[str, int]:
        hours = [hour for hour in self._month(month) if task != "temporal" or hour % FACTOR]
        present = [hour for hour in hours if hour in self._index]
        scored = [hour for hour in present if task == "spatial" or self._complete(hour)]
        return {
            "expected": len(hours),
            "scored": len(scored),
            "truth_absent": len(hours) - len(present),
            "interval_incomplete": len(present) - len(scored),
        }

    def _complete(self, hour: int) -> bool:
        start = hour - hour % FACTOR
        return start in self._index and start + FACTOR in self._index

    def _intervals(self, day: range) -> Iterator[Interval]:
        for hour in day[::FACTOR]:
            if self._complete(hour):
                inside = (self._index.get(hour + step) for step in range(1, FACTOR))
                yield Interval(
                    before=self._index[hour],
                    after=self._index[hour + FACTOR],
                    inside=tuple(index for index in inside if index is not None),
                )

    def _month(self, month: str) -> range:
        start = np.datetime64(month, "M")
        first, end = (
            int(one.astype("datetime64[h]").astype(np.int64)) for one in (start, start + 1)
        )
        return range(first, end)


def _off_hours(field: xr.DataArray) -> InputError:
    first = np.datetime_as_string(hours_of(field)[0], unit="s")
    if stamp_of(field) == "mean":
        return InputError(
            f"no mean of the truth begins on a full hour (the first at {first})",
            hint="give means from one full hour to the next",
        )
    return InputError(
        f"no stamp of the truth is on a full hour (the first is {first})",
        hint="if they are hourly means, add stamp=mean to the truth",
    )


def fitted_to(degradation: Degradation, field: xr.DataArray) -> tuple[xr.DataArray, str | None]:
    """Leave out the rows and columns at the south and east that an operator cannot divide.

    Operators are anchored at the north-western node. Of a global grid nothing is left out.

    Returns
    -------
    xarray.DataArray
        A Field that ``degradation.spatial`` takes, if any is left.
    str or None
        What was left out, in words.
    """
    latitude, longitude = field["latitude"].values, field["longitude"].values
    rest = 1 if degradation.first == 0 else 0
    pole = rest == 0 and len(latitude) % FACTOR == 1 and latitude[0] == -90.0
    rows = 0 if pole else (len(latitude) - rest) % FACTOR
    columns = 0 if spans_globe(longitude) else (len(longitude) - rest) % FACTOR
    if not rows and not columns:
        return field, None
    left = " and ".join(
        f"{count} {name}" + ("s" if count > 1 else "")
        for count, name in ((rows, "row"), (columns, "column"))
        if count
    )
    fitted = field.isel(latitude=slice(rows, None), longitude=slice(0, len(longitude) - columns))
    grid = f"{len(latitude)} × {len(longitude)}"
    return (
        fitted,
        f"{left} at the south and east edge of {grid} left out: {degradation.name} needs"
        f" {'one more than ' if rest else ''}a multiple of three",
    )
