"""What methods learn from before they are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from deepcams_eval.bench import calling
from deepcams_eval.bench.choice import Chosen
from deepcams_eval.downscale import Training
from deepcams_eval.downscale.degrade import Degradation, hours_of
from deepcams_eval.errors import InputError


def train(
    chosen: Chosen,
    truth: xr.DataArray,
    degradation: Degradation,
    *,
    year: int,
    asked: Sequence[int] | None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Chosen:
    """Let the methods that learn do so; without a training year in the truth they are left out.

    Parameters
    ----------
    chosen : Chosen
        The methods of a run.
    truth : xarray.DataArray
        Hourly truth, a lazy Field. An hour belongs to the year in which it begins.
    degradation : Degradation
        The operator of the run.
    year : int
        The year scored.
    asked : sequence of int or None
        Training years asked for; those that the truth does not have are named in the notes. None
        for all that the truth has before `year`.
    progress : callable, optional
        Called with "training days", the days read and the days in all, once for each method.

    Returns
    -------
    Chosen
        With notes on what was learned from.

    Raises
    ------
    InputError
        If `year` is among the training years, or a method fails to learn.
    """
    learners = chosen.learners
    if not learners:
        return chosen
    starts = hours_of(truth)
    years = starts.astype("datetime64[Y]").astype(int) + 1970
    if asked is None:
        asked = sorted({int(one) for one in years if one < year})
    if year in asked:
        raise InputError(f"{year} is the year that is scored", hint="learn from other years")
    found = tuple(one for one in asked if one in years)
    absent = _absent(asked, sorted({int(one) for one in years}))
    if not found:
        return chosen.without(learners, absent or "no training year: add --train-years")
    places = np.flatnonzero(np.isin(years, found))
    cuts = np.flatnonzero(np.diff(starts[places].astype("datetime64[D]")).astype(bool)) + 1

    def blocks() -> Iterator[xr.DataArray]:
        groups = np.split(places, cuts)
        for done, group in enumerate(groups, start=1):
            yield truth.isel(time=group).compute(scheduler="synchronous")
            if progress is not None:
                progress("training days", done, len(groups))

    training = Training(found, degradation, blocks)
    for learner in learners:
        calling.fit(learner, training)
    names = ", ".join(sorted({one.name for one in learners}))
    note = f"{names}: learned on {_listed(found)}, never on {year}"
    note += f"; {absent}." if absent else "."
    return replace(chosen, notes=(*chosen.notes, note))


def _absent(asked: Sequence[int], there: Sequence[int]) -> str:
    missing = [one for one in asked if one not in there]
    if not missing:
        return ""
    return f"--train-years asks for {_listed(missing)}, but the truth has only {_listed(there)}"


def _listed(years: Sequence[int]) -> str:
    return ", ".join(map(str, years))
