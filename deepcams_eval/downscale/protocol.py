"""What a downscaling method is given and what it returns: the contract of every plug-in."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.field import TIME_DTYPE, Stamp, bounds_of, make_field, stamp_of
from deepcams_eval.downscale.degrade import Degradation
from deepcams_eval.errors import InputError

Task = Literal["temporal", "spatial", "joint"]
TASKS: tuple[Task, ...] = ("temporal", "spatial", "joint")

ENTRY_POINTS = "deepcams.downscalers"
"""Entry-point group in which a package names its methods."""


@dataclass(frozen=True)
class Coarse:
    """What a method sees.

    Attributes
    ----------
    field : xarray.DataArray
        A Field in memory. In time: the two 3-hourly frames about the hours asked for and, on
        either side, up to `halo` more; fewer at the ends of the data and beside a gap. In space:
        the frames asked for.
    degradation : Degradation or None
        The operator that made `field` from the fine grid, which holds its registration; None
        where `field` is on the grid of the target already.

    Notes
    -----
    The values cannot be written to: a method that changes them in place takes a copy.
    """

    field: xr.DataArray
    degradation: Degradation | None = None

    def __post_init__(self) -> None:
        if isinstance(self.field.data, np.ndarray):
            # Other methods are given the same values. The coordinates are copied.
            object.__setattr__(self, "field", self.field.copy(data=_read_only(self.field.data)))

    @property
    def operator(self) -> Degradation:
        """The operator that made `field`.

        Raises
        ------
        InputError
            If none is named.
        """
        if self.degradation is None:
            raise InputError(
                "the coarse field names no degradation operator, so its registration is unknown",
                hint="give the operator that made it: imresize, mean or node",
            )
        return self.degradation

    def between(
        self, times: npt.NDArray[np.datetime64]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return the frame before each time, and the fraction of the way to the next frame.

        Parameters
        ----------
        times : ndarray of datetime64
            Stamps within the span of `field`.

        Returns
        -------
        index, fraction : ndarray
            A time that is a frame's own has the fraction 0, or 1 if it is the last frame.

        Raises
        ------
        InputError
            If a time lies outside, or there are fewer than two frames.
        """
        stamps = self.field["time"].values.astype(TIME_DTYPE)
        wanted = np.asarray(times, dtype=TIME_DTYPE)
        if len(stamps) < 2 or wanted.min() < stamps[0] or wanted.max() > stamps[-1]:
            raise InputError(
                f"{wanted.min()} to {wanted.max()} is not between the frames, which span"
                f" {stamps[0]} to {stamps[-1]}",
                hint="ask for times between two frames",
            )
        index = np.searchsorted(stamps, wanted, side="right") - 1
        index = np.minimum(index, len(stamps) - 2)
        return index, (wanted - stamps[index]) / (stamps[index + 1] - stamps[index])


@dataclass(frozen=True, eq=False)
class Target:
    """What a method is asked for: times and a grid.

    Attributes
    ----------
    time : ndarray of datetime64[us], shape (time,)
        Stamps, UTC.
    latitude, longitude : ndarray
        Degrees, ascending.
    stamp : {"point", "mean"}
        What a stamp means.
    bounds : ndarray of datetime64[us], shape (time, 2), or None
        The interval of each mean.

    Notes
    -----
    The arrays cannot be written to.
    """

    time: npt.NDArray[np.datetime64]
    latitude: FloatArray
    longitude: FloatArray
    stamp: Stamp
    bounds: npt.NDArray[np.datetime64] | None = None

    def __post_init__(self) -> None:
        for name in ("time", "latitude", "longitude", "bounds"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _read_only(np.asarray(values)))

    @classmethod
    def like(cls, field: xr.DataArray) -> Target:
        """Return the times and the grid of a Field as a target."""
        return cls(
            time=field["time"].values.astype(TIME_DTYPE),
            latitude=field["latitude"].values,
            longitude=field["longitude"].values,
            stamp=stamp_of(field),
            bounds=bounds_of(field),
        )

    def at(self, places: Sequence[int] | npt.NDArray[np.intp]) -> Target:
        """Return some of the times, by index, on the same grid."""
        bounds = None if self.bounds is None else self.bounds[places]
        return Target(self.time[places], self.latitude, self.longitude, self.stamp, bounds)

    def on(self, latitude: FloatArray, longitude: FloatArray) -> Target:
        """Return the same times on another grid."""
        return Target(self.time, latitude, longitude, self.stamp, self.bounds)

    def field(self, values: Any) -> xr.DataArray:
        """Return `values` (time, latitude, longitude), µg m⁻³, as the Field asked for.

        Raises
        ------
        InputError
            If they have another shape.
        """
        shape = (len(self.time), len(self.latitude), len(self.longitude))
        if np.shape(values) != shape:
            raise InputError(f"{np.shape(values)} values were given where {shape} are asked for")
        return make_field(
            values,
            time=self.time,
            latitude=self.latitude,
            longitude=self.longitude,
            stamp=self.stamp,
            bounds=self.bounds,
        )


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that cannot be written to; the array itself stays as it is."""
    view = values.view()
    view.flags.writeable = False
    return view


@runtime_checkable
class Downscaler(Protocol):
    """A method. Registered in the entry-point group `ENTRY_POINTS`, as a class or an instance.

    Attributes
    ----------
    name : str
        Its name in tables and on the command line.
    task : {"temporal", "spatial", "joint"}
        ``temporal``: from frames every three hours to the hours between two of them, on one grid.
        ``spatial``: from 0.75° to 0.25° at the same times. ``joint``: both.

    Notes
    -----
    Optional attributes: ``title`` (str, a few words on what it does), ``halo`` (int, 3-hourly
    frames wanted beyond the two about the hours asked for, 0 where absent) and ``operators``
    (tuple of str, the degradations whose maps it takes, any where absent).

    Optional methods:

    ``fit(training: Training) -> None``
        Of a method that learns from years of truth; called once, before any map is asked for.
    ``notes(field: xarray.DataArray) -> list of str``
        What a reader of results on the truth `field` (lazy) must know of the method, one sentence
        each; called once, when all is scored.
    ``from_checkpoint(name: str, path: pathlib.Path) -> Downscaler``
        Of what the entry point names: the method called `name` with the weights of a checkpoint,
        for ``--checkpoint``. Where it takes those of other networks than the entry point's name,
        ``networks`` (collection of str) has their names.

    What a method raises is stated with its name, task and hour. It writes into none of its
    arguments: their arrays are read-only.
    """

    name: str
    task: Task

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return a Field at the times and on the grid of `target`; NaN where it cannot tell."""
        ...


def frames_around(there: Container[int], start: int, step: int, halo: int) -> range:
    """Return the times of the frames about an interval: its ends, and up to `halo` on either side.

    The row of frames ends at the first one that is absent: a gap is not bridged.

    Parameters
    ----------
    there : container of int
        The times at which there is a frame, in any unit.
    start, step : int
        The beginning of the interval and its length, in that unit.
    halo : int
        Frames wanted beyond the ends.
    """
    first, last = start, start + step
    for _ in range(halo):
        first -= step if first - step in there else 0
        last += step if last + step in there else 0
    return range(first, last + step, step)


@dataclass(frozen=True)
class Training:
    """Years of truth that a method may learn from; never those that it is scored on.

    Attributes
    ----------
    years : tuple of int
        Which.
    degradation : Degradation
        The operator of the run.
    blocks : callable
        Returns an iterator over Fields of truth in memory, in order of time, about a day each.
    """

    years: tuple[int, ...]
    degradation: Degradation
    blocks: Callable[[], Iterator[xr.DataArray]]
