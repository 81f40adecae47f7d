"""Which methods there are: the built-in ones, and those that installed packages register.

A package registers a method with one line, in the entry-point group `protocol.ENTRY_POINTS`::

    [project.entry-points."deepcams.downscalers"]
    mean = "stranger:Mean"

What is named there is a class or a function that is called without arguments, or a ready object;
it is a `Downscaler` whose ``name`` is that of the entry point. An entry point may name an extra of
its package (``"package.module:Class [extra]"``): what the extra requires must be installed.

`listing` never imports a package's module (see `deepcams_eval.downscale.plugins`). `load` imports.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepcams_eval.downscale.flow import OpticalFlow
from deepcams_eval.downscale.joint import Composed
from deepcams_eval.downscale.pattern import StaticPattern
from deepcams_eval.downscale.plugins import (
    BUILT_IN_SOURCE,
    NAME,
    Entry,
    Listed,
    foreign,
    plugins,
    wrong_task,
)
from deepcams_eval.downscale.protocol import TASKS, Downscaler, Task
from deepcams_eval.downscale.spatial import BackProjection, Bicubic, Bilinear, Lanczos, NearestCell
from deepcams_eval.downscale.temporal import Linear, LinearAsPrinted, LinearSqrt, Nearest, Pchip
from deepcams_eval.errors import DeepcamsWarning, InputError

BUILT_IN: tuple[Callable[[], Downscaler], ...] = (
    *(Nearest, Linear, LinearAsPrinted, LinearSqrt, Pchip, OpticalFlow),
    *(NearestCell, Bilinear, Bicubic, Lanczos, BackProjection, StaticPattern),
)
"""The built-in methods in the order of the tables."""

DEFAULT_PAIRS = ("linear+bicubic", "bicubic+linear", "dis+bicubic-ibp", "bicubic-ibp+dis")
"""Joint methods of every run: the simplest and the strongest baselines, in both orders."""

PLUGIN_PAIRS = ("xvfi+abpn",)
"""Joint methods of a run in which both parts are available."""

BEST = "best"
"""Name of the best checkpoint in the folder of a training."""

WEIGHTS_SUFFIX, CARD_SUFFIX = ".safetensors", ".json"
"""Of the files of a checkpoint."""

_MEND = "correct it, or uninstall its package"


@dataclass(frozen=True, eq=False)
class Method:
    """A method that is ready to run: `call`, with what is listed of it (see `Listed`)."""

    name: str
    task: Task
    title: str
    source: str
    call: Downscaler

    @property
    def halo(self) -> int:
        """3-hourly frames that it asks for on either side, beyond the two about an interval."""
        return int(getattr(self.call, "halo", 0))

    @property
    def learns(self) -> bool:
        """Whether it has ``fit``, to be called with a `Training` once before it runs."""
        return hasattr(self.call, "fit")


@dataclass(frozen=True)
class Loaded:
    """The methods of a task that can run, and those that were left out with the reason."""

    methods: tuple[Method, ...]
    skipped: tuple[Listed, ...] = ()


# --- Checkpoints ---------------------------------------------------------------------------------


def checkpoint(name: str, path: Path) -> Method:
    """Return a trained network as a method.

    Its card, ``PATH.json``, names the network. The entry point of that name makes the method, or
    one that has the network among its ``networks``: ``from_checkpoint(name, path)``.

    Parameters
    ----------
    name : str
        What to call it; the name of a plug-in takes that one's place.
    path : Path
        Of the checkpoint; see `checkpoint_path`.

    Raises
    ------
    InputError
        If there is no card, or its network is not registered, cannot run here or refuses it.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name of a method", hint="use letters, digits, '.', '_' and '-'"
        )
    card = read_card(path)
    entry = _entry_for(card["network"])
    if entry is None:
        raise InputError(
            f"its network {card['network']!r} is that of no registered method",
            path=path,
            hint="install the package that made it",
        )
    if entry.problem:
        raise InputError(f"{entry}: {entry.problem}")
    with _foreign(entry):
        maker = getattr(entry.make(), "from_checkpoint", None)
    if maker is None:
        raise InputError(f"{entry} takes no checkpoint", path=path)
    with _foreign(entry):
        call = maker(name, path)
        # Not that of the entry: what it takes may be a network of another task.
        entry = replace(entry, task=call.task)
    source = f"{entry.source}, checkpoint {str(card.get('sha256', ''))[:12]}"
    return _make(replace(entry, name=name, source=source, make=lambda: call), _built_in())


def _entry_for(network: str) -> Entry | None:
    entries = _entries()
    named = next((one for one in entries if one.name == network), None)
    return named or next((one for one in entries if _takes(one, network)), None)


def _takes(entry: Entry, network: str) -> bool:
    if entry.source == BUILT_IN_SOURCE or entry.problem:
        return False
    try:
        with _foreign(entry):
            return network in tuple(getattr(entry.make(), "networks", ()))
    except InputError:
        return False


def checkpoint_path(path: Path) -> Path:
    """Return the path of a checkpoint without a suffix.

    It may be named with the suffix of its card or of its weights, or as the folder of a training,
    whose best checkpoint is meant.
    """
    if path.suffix in (CARD_SUFFIX, WEIGHTS_SUFFIX):
        return path.with_suffix("")
    return path / BEST if card_path(path / BEST).is_file() else path


def card_path(path: Path) -> Path:
    """Return the card of a checkpoint, named with or without the suffix of one of its files."""
    return _beside(path, CARD_SUFFIX)


def weights_path(path: Path) -> Path:
    """Return the weights of a checkpoint, named with or without the suffix of one of its files."""
    return _beside(path, WEIGHTS_SUFFIX)


def checkpoint_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a checkpoint: its card and, if they are there, its weights."""
    card, weights = card_path(checkpoint_path(path)), weights_path(checkpoint_path(path))
    return (card, weights) if weights.exists() else (card,)


def read_card(path: Path) -> dict[str, Any]:
    """Return the card of a checkpoint, of which only ``network`` is sure to be there.

    Raises
    ------
    InputError
        If it cannot be read, or names no network.
    """
    file = card_path(checkpoint_path(path))
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the card of the checkpoint cannot be read ({error})",
            path=file,
            hint="give --checkpoint NAME=PATH with PATH.json and PATH.safetensors, or the folder of"
            " a training",
        ) from error
    if not isinstance(card, dict) or "network" not in card:
        raise InputError("is no card of a checkpoint: it names no network", path=file)
    return card


def _beside(path: Path, suffix: str) -> Path:
    if path.suffix in (WEIGHTS_SUFFIX, CARD_SUFFIX):
        return path.with_suffix(suffix)
    # Not with_suffix: a name such as run-1.5 keeps what stands behind its point.
    return path.with_name(path.name + suffix)


# --- Listing, choosing, loading ------------------------------------------------------------------


def listing(added: Sequence[Method] = ()) -> tuple[Listed, ...]:
    """Return every method that is known, available or not, without importing any plug-in.

    Parameters
    ----------
    added : sequence of Method
        Methods of `checkpoint`, which are known as well.

    Returns
    -------
    tuple of Listed
        The built-in methods in the order of the tables, then plug-ins by name.
    """
    return tuple(entry.listed() for entry in _entries(added))


def assign(
    names: Sequence[str], tasks: Sequence[Task] = TASKS, *, added: Sequence[Method] = ()
) -> dict[Task, tuple[str, ...]]:
    """Return which of `names` belong to which of `tasks`, in the order given.

    A name that two tasks share, such as ``nearest``, goes to both; ``a+b`` is joint. A plug-in
    whose task cannot be read from its source is imported, if no other method has its name.
    `added` are methods of `checkpoint`, beside those that are registered.

    Raises
    ------
    InputError
        If a name is that of no method of these tasks.
    """
    entries = _entries(added)
    tasks_of = {name: _tasks_of(name, entries) for name in dict.fromkeys(names)}
    for name, own in tasks_of.items():
        if not own:
            raise _unknown(name, tasks, entries)
        if own.isdisjoint(tasks):
            raise InputError(
                f"{name!r} is a method of the task {' and '.join(sorted(own))},"
                f" which is not among those asked for ({', '.join(tasks)})",
                hint="add its task or leave it out",
            )
    return {task: tuple(name for name, own in tasks_of.items() if task in own) for task in tasks}


def load(
    task: Task,
    names: Sequence[str] | None = None,
    *,
    reuse: Sequence[Method] = (),
    added: Sequence[Method] = (),
) -> Loaded:
    """Import and make the methods of a task.

    Parameters
    ----------
    task : {"temporal", "spatial", "joint"}
        Which. Methods of ``joint`` are pairs and plug-ins that are made for both steps.
    names : sequence of str, optional
        Exactly these, in this order; all that are available if absent. A pair ``a+b`` applies a,
        then b; one is a temporal and the other a spatial method, which decides the order. Where
        both readings are possible, as in ``nearest+nearest``, time comes first.
    reuse : sequence of Method
        Methods that are loaded already; they are taken as they are, so that nothing is made or
        fitted twice.
    added : sequence of Method
        Methods of `checkpoint`, beside those that are registered.

    Returns
    -------
    Loaded
        Without `names`: built-in methods in the order of the tables, then plug-ins by name; of the
        joint task `DEFAULT_PAIRS` and those of `PLUGIN_PAIRS` that can run stand first. Those
        that cannot run are in `Loaded.skipped`; one that seemed available and then failed is
        announced with a `DeepcamsWarning` too.

    Raises
    ------
    InputError
        If a method of `names` is unknown, unavailable or broken.
    """
    entries, parts = _entries(added), list(reuse)
    pairs = DEFAULT_PAIRS if task == "joint" else ()
    wanted = dict.fromkeys(pairs if names is None else names)
    methods = [_load_named(task, name, entries, parts) for name in wanted]
    if names is not None:
        return Loaded(tuple(methods))
    skipped: list[Listed] = []
    known = {entry.name for entry in entries}
    for name in PLUGIN_PAIRS if task == "joint" else ():
        if known.issuperset(name.split("+")):
            try:
                methods.append(_load_named(task, name, entries, parts))
            except InputError as error:
                skipped.append(Listed(name, task, "", "", False, error.problem))
    for entry in (one for one in entries if one.task in (task, None)):
        if entry.problem:
            skipped.append(entry.listed())
            continue
        try:
            method = _make_once(entry, entries, reuse)
        except InputError as error:
            warnings.warn(f"left out: {error}", DeepcamsWarning, stacklevel=2)
            skipped.append(entry.listed(error.problem))
        else:
            methods += [method] if method.task == task else []
    return Loaded(tuple(methods), tuple(skipped))


def _load_named(task: Task, name: str, entries: Sequence[Entry], parts: list[Method]) -> Method:
    """Return a method; steps of a pair are taken from `parts`, or made and added there."""
    if task == "joint" and "+" in name:
        return _load_pair(name, entries, parts)
    same = [entry for entry in entries if entry.name == name and entry.task in (task, None)]
    for entry in same:
        if not entry.problem and (method := _make_once(entry, entries, parts)).task == task:
            return method
    for entry in same:
        if entry.problem:
            choice = _choice([task], entries)
            raise InputError(f"{entry}: {entry.problem}", hint=f"or choose from {choice}")
    raise _unknown(name, [task], entries)


def _load_pair(name: str, entries: Sequence[Entry], parts: list[Method]) -> Method:
    first, _, second = name.partition("+")
    tasks = [_tasks_of(part, entries) for part in (first, second)]
    orders: tuple[tuple[Task, Task], ...] = (("temporal", "spatial"), ("spatial", "temporal"))
    order = next((one for one in orders if one[0] in tasks[0] and one[1] in tasks[1]), None)
    if order is None:
        raise InputError(
            f"{name!r} is not a temporal and a spatial method joined by '+'",
            hint=f"temporal are {_choice(['temporal'], entries)};"
            f" spatial are {_choice(['spatial'], entries)}",
        )
    pair = []
    for task, part in zip(order, (first, second), strict=True):
        pair.append(_load_named(task, part, entries, parts))
        parts += [one for one in pair if one not in parts]
    call = Composed(*(method.call for method in pair))
    source = " + ".join(dict.fromkeys(method.source for method in pair))
    return Method(name, "joint", call.title, source, call)


def _tasks_of(name: str, entries: Sequence[Entry]) -> set[Task]:
    if "+" in name:
        return {"joint"}
    same = [entry for entry in entries if entry.name == name]
    tasks = {entry.task for entry in same if entry.task is not None}
    for entry in () if tasks else same:
        if entry.problem:
            raise InputError(f"{entry}: {entry.problem}")
    return tasks or {_make(entry, entries).task for entry in same}


def _unknown(name: str, tasks: Sequence[Task], entries: Sequence[Entry]) -> InputError:
    return InputError(
        f"no {' or '.join(tasks)} method is named {name!r}",
        hint=f"choose from {_choice(tasks, entries)}; deepcams-bench methods tells more",
    )


def _choice(tasks: Sequence[Task], entries: Sequence[Entry]) -> str:
    names = [e.name for e in entries if not e.problem and (e.task is None or e.task in tasks)]
    if "joint" in tasks:
        names += DEFAULT_PAIRS
    return ", ".join(dict.fromkeys(names))


# --- Entries, and what they make -----------------------------------------------------------------


def _entries(added: Sequence[Method] = ()) -> tuple[Entry, ...]:
    """Return all that is known; what must not have its name has that as its problem."""
    replaced = {one.name for one in added}
    entries = (
        *_built_in(),
        *(one for one in plugins() if one.name not in replaced),
        *map(_added, added),
    )
    return tuple(
        replace(entry, problem=entry.problem or _clash(entry, entry.task, entries))
        for entry in entries
    )


def _built_in() -> list[Entry]:
    methods = ((make, make()) for make in BUILT_IN)
    return [
        Entry(one.name, one.task, getattr(one, "title", ""), BUILT_IN_SOURCE, "", make)
        for make, one in methods
    ]


def _added(method: Method) -> Entry:
    return Entry(method.name, method.task, method.title, method.source, "", lambda: method.call)


def _clash(entry: Entry, task: Task | None, entries: Sequence[Entry]) -> str:
    """Return why an entry cannot have its name, "" if it can.

    Of two packages neither is preferred: a table must not depend on the order of installation.
    """
    if entry.source == BUILT_IN_SOURCE or task is None:
        return ""
    for other in entries:
        tasks = (task,) if other.source == BUILT_IN_SOURCE else (task, None)
        if other.name == entry.name and other is not entry and other.task in tasks:
            return f"its name is that of the {task} {other}"
    return ""


def _make_once(entry: Entry, entries: Sequence[Entry], reuse: Sequence[Method]) -> Method:
    for method in reuse:
        same = (method.name, method.source) == (entry.name, entry.source)
        if same and entry.task in (method.task, None):
            return method
    return _make(entry, entries)


def _make(entry: Entry, entries: Sequence[Entry]) -> Method:
    """Import and make a method; refuse what is not the `Downscaler` that was registered."""
    with _foreign(entry):
        call = entry.make()
        if isinstance(call, type) or not (hasattr(call, "name") and hasattr(call, "task")):
            if not callable(call):
                raise TypeError(
                    f"{call!r} is neither a method nor a class or function that makes one"
                )
            call = call()
        problem = _breach(call, entry)
    if problem or not isinstance(call, Downscaler):
        raise InputError(f"{entry}: {problem}", hint=_MEND)
    clash = _clash(entry, call.task, entries)
    if clash:
        raise InputError(f"{entry}: {clash}")
    return Method(entry.name, call.task, getattr(call, "title", ""), entry.source, call)


def _foreign(entry: Entry) -> AbstractContextManager[None]:
    return foreign(str(entry), "it cannot be loaded", _MEND)


def _breach(call: object, entry: Entry) -> str:
    """Return in what an object is not the method that was registered, "" if it is."""
    missing = [part for part in ("name", "task", "__call__") if not hasattr(call, part)]
    if missing:
        return f"{type(call).__name__} has no {', '.join(missing)}"
    name, task = getattr(call, "name", None), getattr(call, "task", None)
    if name != entry.name:
        return f"its name is {name!r}; the entry point and the method must have the same name"
    if task not in TASKS:
        return wrong_task(task)
    if entry.task not in (task, None):
        return f"its class says the task {entry.task!r}, and what it makes {task!r}"
    optional: tuple[tuple[str, Any, Callable[[Any], bool], str], ...] = (
        ("halo", 0, lambda one: isinstance(one, int) and one >= 0, "is no number of frames"),
        ("title", "", lambda one: isinstance(one, str), "is no text"),
        ("fit", None, lambda one: one is None or callable(one), "cannot be called"),
        ("notes", None, lambda one: one is None or callable(one), "cannot be called"),
    )
    for part, default, fits, said in optional:
        found = getattr(call, part, default)
        if not fits(found):
            return f"its {part} is {found!r}, which {said}"
    return ""
