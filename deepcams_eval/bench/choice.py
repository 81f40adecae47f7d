"""Which methods a run consists of, what they learn from, and how the code of others is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.core.field import TIME_DTYPE, validate_field
from deepcams_eval.downscale import TASKS, Coarse, Downscaler, Target, Task, Training, registry
from deepcams_eval.downscale.degrade import Degradation, hours_of
from deepcams_eval.downscale.joint import Composed
from deepcams_eval.downscale.plugins import AVAILABLE, Listed, foreign
from deepcams_eval.downscale.registry import Loaded, Method
from deepcams_eval.errors import DeepcamsError, InputError, NoDataError

BASELINES: Mapping[Task, tuple[str, ...]] = {
    "temporal": ("linear", "dis"),
    "spatial": ("bicubic", "bicubic-ibp"),
    "joint": ("linear+bicubic", "dis+bicubic-ibp"),
}
"""What skill is measured against: the simple method, and the best that learns nothing."""

CHALLENGERS: Mapping[Task, tuple[str, ...]] = {
    "temporal": ("xvfi", "dis"),
    "spatial": ("abpn", "bicubic-ibp"),
    "joint": ("xvfi+abpn", "dis+bicubic-ibp"),
}
"""Whose errors are drawn beside those of the simple method: the first that is there."""


_RETURN = "return target.field(values) with values of shape (time, latitude, longitude)"
_DEBUG = "see where with --debug, or leave the method out with --methods"


@dataclass(frozen=True)
class Chosen:
    """The methods of a run.

    Attributes
    ----------
    methods : dict of task to tuple of Downscaler
        In the order of the tables; tasks without a method are absent.
    sources : dict of (task, name) to str
        Where each comes from.
    available : tuple of Listed
        Every method known, and those of this run that were left out.
    notes : tuple of str
        What was added or left out, one sentence each.
    """

    methods: dict[Task, tuple[Downscaler, ...]]
    sources: dict[tuple[str, str], str]
    available: tuple[Listed, ...]
    notes: tuple[str, ...] = field(default=())

    def having(self, attribute: str) -> list[Any]:
        """Return the methods, and the steps of joint ones, that have an attribute; each once."""
        found = {
            id(step): step
            for methods in self.methods.values()
            for method in methods
            for step in _steps(method)
            if getattr(step, attribute, None) is not None
        }
        return list(found.values())

    def said(self, truth: xr.DataArray) -> list[str]:
        """Return what the methods, and the steps of joint ones, say of themselves (``notes``)."""
        return [note for step in self.having("notes") for note in said_by(step, truth)]

    def only(self, tasks: Sequence[Task], reason: str) -> Chosen:
        """Return the choice for some of its tasks."""
        notes = [f"{task}: not run, {reason}." for task in self.methods if task not in tasks]
        kept = {task: methods for task, methods in self.methods.items() if task in tasks}
        return replace(self, methods=kept, notes=(*self.notes, *notes))

    def suited(self, operator: str, named: Collection[str]) -> Chosen:
        """Return the choice without the methods that do not take maps of `operator`.

        Raises
        ------
        InputError
            If one of them was asked for by name.
        """
        unsuited = [
            step
            for step in self.having("operators")
            if operator not in (step.operators or (operator,))
        ]
        for step in unsuited:
            if step.name in named:
                takes = " or ".join(step.operators)
                raise InputError(
                    f"{step.name!r} takes maps that {takes} made, not those of {operator}",
                    hint="choose another --degrade, or leave it out",
                )
        return self.without(unsuited, f"it does not take maps of {operator}")

    def without(self, steps: Sequence[Any], reason: str) -> Chosen:
        """Return the choice without `steps` and the joint methods that have one of them."""
        gone = {id(one) for one in steps}
        kept: dict[Task, tuple[Downscaler, ...]] = {}
        notes = []
        for task, methods in self.methods.items():
            left = tuple(m for m in methods if not any(id(s) in gone for s in _steps(m)))
            notes += [f"{task} {m.name}: left out, {reason}." for m in methods if m not in left]
            if left:
                kept[task] = left
        return replace(self, methods=kept, notes=(*self.notes, *notes))


def choose(
    tasks: Sequence[Task],
    names: Sequence[str] | None,
    predictions: Sequence[Downscaler],
    checkpoints: Sequence[Method] = (),
) -> Chosen:
    """Load the methods of a run.

    Parameters
    ----------
    tasks : sequence of Task
        Which tables are made.
    names : sequence of str or None
        Methods; all that are available where None. The simple baseline of each task is added.
    predictions : sequence of Downscaler
        Methods that exist as files.
    checkpoints : sequence of Method
        Trained networks, which run whether or not `names` has them.

    Raises
    ------
    InputError
        If a name is unknown, its method cannot run, two methods of a task share a name, or the
        task of a prediction or of a checkpoint is not among `tasks`.
    NoDataError
        If no task has a method.
    """
    for one in predictions:
        if one.task not in tasks:
            raise InputError(
                f"the prediction {one.name!r} is one of the task {one.task}, which is not run",
                hint=f"add the task, or give it another: task={tasks[0]}",
            )
    for network in checkpoints:
        # Every network is a step of joint methods.
        if network.task not in tasks and "joint" not in tasks:
            raise InputError(
                f"the checkpoint {network.name!r} is one of the task {network.task}, which is not"
                " run",
                hint="add the task, or leave the checkpoint out",
            )
    wanted = None
    if names is not None:
        of_tasks = (one.name for one in checkpoints if one.task in tasks)
        assigned = registry.assign((*names, *of_tasks), tasks, added=checkpoints)
        wanted = _with_baselines(assigned, predictions)
    loaded = _load(tasks, wanted, checkpoints)
    methods: dict[Task, tuple[Downscaler, ...]] = {}
    sources: dict[tuple[str, str], str] = {}
    for task in tasks:
        of_task = loaded[task].methods
        files = tuple(one for one in predictions if one.task == task)
        sources |= {(task, one.name): one.source for one in of_task}
        sources |= {(task, one.name): "files" for one in files}
        if of_task or files:
            methods[task] = (*(one.call for one in of_task), *files)
            _refuse_repeats(task, methods[task])
    if not methods:
        raise NoDataError(
            f"no method of the task {', '.join(tasks)} was asked for", hint="see --methods"
        )
    notes = tuple(
        f"{task}: not run, no method of it was asked for." for task in tasks if task not in methods
    )
    return Chosen(methods, sources, _listed(loaded, predictions, checkpoints), notes)


def shown_of(methods: Mapping[Task, Sequence[Downscaler]]) -> dict[Task, tuple[str, str]]:
    """Return for each task the simple baseline and the method that is drawn beside it.

    A task in which there is nothing to compare the baseline with is absent.
    """
    shown: dict[Task, tuple[str, str]] = {}
    for task, of_task in methods.items():
        names = [one.name for one in of_task]
        baseline = BASELINES[task][0]
        others = [name for name in names if name != baseline]
        if baseline in names and others:
            best = next((name for name in CHALLENGERS[task] if name in others), others[-1])
            shown[task] = (baseline, best)
    return shown


def _with_baselines(
    wanted: Mapping[Task, tuple[str, ...]], predictions: Sequence[Downscaler]
) -> dict[Task, tuple[str, ...]]:
    files = {one.task for one in predictions}
    return {
        task: (
            (BASELINES[task][0], *(one for one in names if one != BASELINES[task][0]))
            if names or task in files
            else ()
        )
        for task, names in wanted.items()
    }


def _load(
    tasks: Sequence[Task],
    wanted: Mapping[Task, tuple[str, ...]] | None,
    checkpoints: Sequence[Method],
) -> dict[Task, Loaded]:
    """Load the methods of each task; pairs are made of the steps, and without names need all."""
    loaded: dict[Task, Loaded] = {}
    for task in TASKS:
        if wanted is not None or task in tasks or "joint" in tasks:
            names = None if wanted is None else wanted.get(task, ())
            made = [method for one in loaded.values() for method in one.methods]
            loaded[task] = registry.load(task, names, reuse=made, added=checkpoints)
    return {task: one for task, one in loaded.items() if task in tasks}


def _listed(
    loaded: Mapping[Task, Loaded],
    predictions: Sequence[Downscaler],
    checkpoints: Sequence[Method],
) -> tuple[Listed, ...]:
    known = {(one.task, one.name): one for one in registry.listing(checkpoints)}
    for task, of_task in loaded.items():
        known |= {(task, one.name): one for one in of_task.skipped}
        for one in of_task.methods:
            ready = Listed(one.name, one.task, one.title, one.source, True, AVAILABLE)
            known[task, one.name] = ready
    files = tuple(
        Listed(one.name, one.task, "values read from files", "files", True, AVAILABLE)
        for one in predictions
    )
    return (*known.values(), *files)


def _refuse_repeats(task: Task, methods: Sequence[Downscaler]) -> None:
    names = [one.name for one in methods]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"two {task} methods are named {', '.join(repeated)}",
            hint="give the files of --prediction another name",
        )


def _steps(method: Downscaler) -> Sequence[Any]:
    return (method.first, method.second) if isinstance(method, Composed) else (method,)


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
    learners = chosen.having("fit")
    if not learners:
        return chosen
    starts = hours_of(truth)
    years = starts.astype("datetime64[Y]").astype(int) + 1970
    if asked is None:
        asked = sorted({int(one) for one in years if one < year})
    if year in asked:
        raise InputError(f"{year} is the year that is scored", hint="learn from other years")
    found = tuple(one for one in asked if one in years)
    missing = [one for one in asked if one not in years]
    absent = ""
    if missing:
        absent = f"--train-years asks for {_listing(missing)}, but the truth has only "
        absent += _listing(sorted({int(one) for one in years}))
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
        fit(learner, training)
    names = ", ".join(sorted({one.name for one in learners}))
    note = f"{names}: learned on {_listing(found)}, never on {year}"
    note += f"; {absent}." if absent else "."
    return replace(chosen, notes=(*chosen.notes, note))


def _listing(years: Sequence[int]) -> str:
    return ", ".join(map(str, years))


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
    """Let a method learn; whatever it raises becomes an `InputError` that names it."""
    with foreign(f"the {method.task} method {method.name!r}", "it failed to learn", _DEBUG):
        method.fit(training)


def said_by(method: Any, truth: xr.DataArray) -> list[str]:
    """Return what a method says of itself on a truth, a list of sentences."""
    with foreign(f"the {method.task} method {method.name!r}", "its notes failed", _DEBUG):
        said = method.notes(truth)
        if isinstance(said, str) or not all(isinstance(one, str) for one in said):
            raise TypeError(f"{said!r} is no list of sentences")
        return list(said)


def _place(method: Downscaler, target: Target) -> str:
    first, last = (np.datetime_as_string(target.time[place], unit="m") for place in (0, -1))
    hours = first if first == last else f"{first} to {last}"
    return f"the {method.task} method {method.name!r} at {hours}"
