"""Calling the code of somebody else: a method, its training, what it says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.field import TIME_DTYPE, validate_field
from deepcams_eval.downscale import Coarse, Downscaler, Target, Training
from deepcams_eval.downscale.plugins import foreign
from deepcams_eval.errors import DeepcamsError, InputError

_RETURN = "return target.field(values) with values of shape (time, latitude, longitude)"
_DEBUG = "see where with --debug, or leave the method out with --methods"


def halo_of(method: Downscaler) -> int:
    """Return how many frames a method asks for beyond the two about an interval."""
    return int(getattr(method, "halo", 0))


def call(method: Downscaler, coarse: Coarse, target: Target) -> npt.NDArray[np.float32]:
    """Run a method and return its values, shape (time, latitude, longitude).

    Raises
    ------
    InputError
        If it raises anything, or returns another grid, other times, or no Field; the message
        names method, task and hour.
    """
    with foreign(_place(method, target), "it failed", _DEBUG):
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


def fit(method: Any, training: Training) -> None:
    """Let a method learn.

    Raises
    ------
    InputError
        If it raises anything; the message names it.
    """
    with foreign(f"the {method.task} method {method.name!r}", "it failed to learn", _DEBUG):
        method.fit(training)


def notes(method: Any, truth: xr.DataArray) -> list[str]:
    """Return what a method says of itself on a truth.

    Raises
    ------
    InputError
        If it raises anything, or says other than a list of sentences; the message names it.
    """
    with foreign(f"the {method.task} method {method.name!r}", "its notes failed", _DEBUG):
        said = method.notes(truth)
        if isinstance(said, str) or not all(isinstance(one, str) for one in said):
            raise TypeError(f"{said!r} is no list of sentences")
        return list(said)


def _place(method: Downscaler, target: Target) -> str:
    first, last = (np.datetime_as_string(target.time[place], unit="m") for place in (0, -1))
    hours = first if first == last else f"{first} to {last}"
    return f"the {method.task} method {method.name!r} at {hours}"
