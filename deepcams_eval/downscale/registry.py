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
    Foreign,
    Listed,
    plugins,
    wrong_task,
)
from deepcams_eval.downscale.protocol import TASKS, Downscaler, Task
from deepcams_eval.downscale.spatial import BackProjection, Bicubic, Bilinear, Lanczos, NearestCell
from deepcams_eval.downscale.temporal import Linear, LinearAsPrinted, LinearSqrt, Nearest, Pchip
from deepcams_eval.errors import DeepcamsWarning, InputError

BUILT_IN: tuple[Callable[[], Downscaler], ...] = (
    Nearest,
    Linear,
    LinearAsPrinted,
    LinearSqrt,
    Pchip,
    OpticalFlow,
    NearestCell,
    Bilinear,
    Bicubic,
    Lanczos,
    BackProjection,
    StaticPattern,
)
"""The built-in methods in the order of the tables."""

DEFAULT_PAIRS = ("linear+bicubic", "bicubic+linear", "dis+bicubic-ibp", "bicubic-ibp+dis")
"""Joint methods of every run: the simplest and the strongest baselines, in both orders."""

BEST = "best"
"""Name of the best checkpoint in the folder of a training."""

PLUGIN_PAIRS = ("xvfi+abpn",)
"""Joint methods of a run in which both parts are available."""


@dataclass(frozen=True, eq=False)
class Method:
    """A method that is ready to run.

    Attributes
    ----------
    name, task, title, source
        As in `Listed`.
    halo : int
        3-hourly frames that it asks for on either side, beyond the two about the hours wanted.
    learns : bool
        Whether it has ``fit``, to be called with a `Training` once before it runs.
    call : Downscaler
        The method itself.
    """

    name: str
    task: Task
    title: str
    source: str
    halo: int
    learns: bool
    call: Downscaler


@dataclass(frozen=True)
class Loaded:
    """The methods of a task that can run, and those that were left out with the reason."""

    methods: tuple[Method, ...]
    skipped: tuple[Listed, ...] = ()


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


def checkpoint(name: str, path: Path) -> Method:
    """Return a trained network as a method.

    Its card, ``PATH.json``, names the network, which is the entry point that is asked to make the
    method: what is registered there has ``from_checkpoint(name, path)``.

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
    card = _card(path)
    entries = [one for one in _entries() if one.name == card["network"]]
    if not entries:
        raise InputError(
            f"its network {card['network']!r} is that of no registered method",
            path=path,
            hint="install the package that made it",
        )
    entry = entries[0]
    if entry.problem:
        raise InputError(f"{entry}: {entry.problem}")
    with _foreign(entry):
        maker = getattr(entry.make(), "from_checkpoint", None)
    if maker is None:
        raise InputError(f"{entry} takes no checkpoint", path=path)
    with _foreign(entry):
        call = maker(name, path)
    source = f"{entry.source}, checkpoint {str(card.get('sha256', ''))[:12]}"
    built_in = [_built_in(make) for make in BUILT_IN]
    return _make(replace(entry, name=name, source=source, make=lambda: call), built_in)


def checkpoint_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a checkpoint: its card and, if they are there, its weights."""
    card = _card_file(path)
    weights = card.with_suffix(".safetensors")
    return (card, weights) if weights.exists() else (card,)


def checkpoint_path(path: Path) -> Path:
    """Return the path of a checkpoint without a suffix.

    It may be named with the suffix of its card or of its weights, or as the folder of a training,
    whose best checkpoint is meant.
    """
    if path.suffix in (".json", ".safetensors"):
        return path.with_suffix("")
    return path / BEST if (path / f"{BEST}.json").is_file() else path


def _card_file(path: Path) -> Path:
    plain = checkpoint_path(path)
    # Not with_suffix: a name such as run-1.5 keeps what stands behind its point.
    return plain.with_name(f"{plain.name}.json")


def _card(path: Path) -> dict[str, Any]:
    file = _card_file(path)
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
        Which. For ``joint`` see `joint_pairs`.
    names : sequence of str, optional
        Exactly these, in this order; all that are available if absent.
    reuse : sequence of Method
        Methods that are loaded already; they are taken as they are, so that nothing is made or
        fitted twice.
    added : sequence of Method
        Methods of `checkpoint`, beside those that are registered.

    Returns
    -------
    Loaded
        Without `names`: built-in methods in the order of the tables, then plug-ins by name. Those
        that cannot run are in `Loaded.skipped`; one that seemed available and then failed is
        announced with a `DeepcamsWarning` too.

    Raises
    ------
    InputError
        If a method of `names` is unknown, unavailable or broken.
    """
    entries = _entries(added)
    if task == "joint":
        return _joint(names, entries, reuse)
    if names is None:
        return _load_available(task, entries, reuse)
    wanted = dict.fromkeys(names)
    return Loaded(tuple(_load_named(task, name, entries, reuse) for name in wanted))


def joint_pairs(
    names: Sequence[str] | None = None,
    *,
    reuse: Sequence[Method] = (),
    added: Sequence[Method] = (),
) -> Loaded:
    """Return the methods of the joint task: pairs ``a+b``, and plug-ins made for both steps.

    Parameters
    ----------
    names : sequence of str, optional
        Exactly these. ``a+b`` applies a, then b; one is a temporal and the other a spatial
        method, which decides the order. Where both readings are possible, as in
        ``nearest+nearest``, time comes first. If absent: `DEFAULT_PAIRS`, those of
        `PLUGIN_PAIRS` that can run, and every plug-in of the task ``joint``.
    reuse : sequence of Method
        Temporal and spatial methods that are loaded already.
    added : sequence of Method
        Methods of `checkpoint`, beside those that are registered.

    Raises
    ------
    InputError
        If one of `names` is neither a pair of known and available methods nor a joint plug-in.
    """
    return _joint(names, _entries(added), reuse)


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
    found: dict[Task, tuple[str, ...]] = dict.fromkeys(tasks, ())
    for name in dict.fromkeys(names):
        own = _tasks_of(name, entries)
        if not own:
            raise _unknown(name, tasks, entries)
        if not own & set(tasks):
            raise InputError(
                f"{name!r} is a method of the task {' and '.join(sorted(own))},"
                f" which is not among those asked for ({', '.join(tasks)})",
                hint="add its task or leave it out",
            )
        for task in tasks:
            if task in own:
                found[task] = (*found[task], name)
    return found


def _tasks_of(name: str, entries: Sequence[Entry]) -> set[Task]:
    if "+" in name:
        return {"joint"}
    same = [entry for entry in entries if entry.name == name]
    tasks = {entry.task for entry in same if entry.task is not None}
    if tasks:
        return tasks
    for entry in same:
        if entry.problem:
            raise InputError(f"{entry}: {entry.problem}")
    return {_make(entry, entries).task for entry in same}


def _load_available(task: Task, entries: Sequence[Entry], reuse: Sequence[Method]) -> Loaded:
    methods: list[Method] = []
    skipped: list[Listed] = []
    for entry in entries:
        if entry.task not in (task, None):
            continue
        if entry.problem:
            skipped.append(entry.listed())
            continue
        try:
            method = _make_once(entry, entries, reuse)
        except InputError as error:
            warnings.warn(f"left out: {error}", DeepcamsWarning, stacklevel=3)
            skipped.append(entry.listed(error.problem))
            continue
        if method.task == task:
            methods.append(method)
    return Loaded(tuple(methods), tuple(skipped))


def _load_named(task: Task, name: str, entries: Sequence[Entry], reuse: Sequence[Method]) -> Method:
    same = [entry for entry in entries if entry.name == name and entry.task in (task, None)]
    for entry in same:
        if not entry.problem:
            method = _make_once(entry, entries, reuse)
            if method.task == task:
                return method
    broken = [entry for entry in same if entry.problem]
    if broken:
        raise InputError(
            f"{broken[0]}: {broken[0].problem}", hint=f"or choose from {_choice([task], entries)}"
        )
    raise _unknown(name, [task], entries)


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


def _make_once(entry: Entry, entries: Sequence[Entry], reuse: Sequence[Method]) -> Method:
    for method in reuse:
        same = (method.name, method.source) == (entry.name, entry.source)
        if same and entry.task in (method.task, None):
            return method
    return _make(entry, entries)


def _joint(
    names: Sequence[str] | None, entries: Sequence[Entry], reuse: Sequence[Method]
) -> Loaded:
    parts = list(reuse)
    if names is not None:
        wanted = dict.fromkeys(names)
        return Loaded(tuple(_load_joint(name, entries, parts) for name in wanted))
    methods = [_load_joint(name, entries, parts) for name in DEFAULT_PAIRS]
    skipped: list[Listed] = []
    for name in PLUGIN_PAIRS:
        if not set(name.split("+")) <= {entry.name for entry in entries}:
            continue
        try:
            methods.append(_load_joint(name, entries, parts))
        except InputError as error:
            skipped.append(Listed(name, "joint", "", "", False, error.problem))
    plugins = _load_available("joint", entries, reuse)
    return Loaded((*methods, *plugins.methods), (*skipped, *plugins.skipped))


def _load_joint(name: str, entries: Sequence[Entry], parts: list[Method]) -> Method:
    """Return a joint method; its parts are taken from `parts`, or made and added there."""
    if "+" not in name:
        return _load_named("joint", name, entries, parts)
    first, second = _orders(name, entries)
    pair = []
    for task, part in (first, second):
        method = _load_named(task, part, entries, parts)
        if method not in parts:
            parts.append(method)
        pair.append(method)
    call = Composed(pair[0].call, pair[1].call)
    sources = dict.fromkeys(method.source for method in pair)
    return Method(
        name=name,
        task="joint",
        title=call.title,
        source=" + ".join(sources),
        halo=call.halo,
        learns=hasattr(call, "fit"),
        call=call,
    )


def _orders(name: str, entries: Sequence[Entry]) -> tuple[tuple[Task, str], tuple[Task, str]]:
    """Return task and name of the part that comes first, and of the other."""
    first, _, second = name.partition("+")
    tasks = [_tasks_of(part, entries) for part in (first, second)]
    if "temporal" in tasks[0] and "spatial" in tasks[1]:
        return ("temporal", first), ("spatial", second)
    if "spatial" in tasks[0] and "temporal" in tasks[1]:
        return ("spatial", first), ("temporal", second)
    raise InputError(
        f"{name!r} is not a temporal and a spatial method joined by '+'",
        hint=f"temporal are {_choice(['temporal'], entries)};"
        f" spatial are {_choice(['spatial'], entries)}",
    )


def _make(entry: Entry, entries: Sequence[Entry]) -> Method:
    """Import and make a method, and check that it is one.

    Raises
    ------
    InputError
        If that fails, or what comes out is not the `Downscaler` that was registered.
    """
    with _foreign(entry):
        made = entry.make()
        call = made if _is_ready(made) else _called(made)
        problem = _breach(call, entry)
    if problem or not isinstance(call, Downscaler):
        raise InputError(f"{entry}: {problem}", hint="correct it, or uninstall its package")
    clash = [other for other in entries if _takes_name(other, entry, call.task)]
    if clash:
        raise InputError(f"{entry}: its name is that of the {call.task} {clash[0]}")
    return Method(
        name=entry.name,
        task=call.task,
        title=getattr(call, "title", ""),
        source=entry.source,
        halo=getattr(call, "halo", 0),
        learns=hasattr(call, "fit"),
        call=call,
    )


def _foreign(entry: Entry) -> Foreign:
    return Foreign(str(entry), "it cannot be loaded", "correct it, or uninstall its package")


def _is_ready(made: object) -> bool:
    return not isinstance(made, type) and hasattr(made, "name") and hasattr(made, "task")


def _called(factory: object) -> object:
    if not callable(factory):
        raise TypeError(f"{factory!r} is neither a method nor a class or function that makes one")
    return factory()


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
    halo, title = getattr(call, "halo", 0), getattr(call, "title", "")
    if not isinstance(halo, int) or halo < 0:
        return f"its halo is {halo!r}, which is no number of frames"
    if not isinstance(title, str):
        return f"its title is {title!r}, which is no text"
    for part in ("fit", "notes"):
        found = getattr(call, part, None)
        if found is not None and not callable(found):
            return f"its {part} is {found!r}, which cannot be called"
    return ""


def _takes_name(other: Entry, entry: Entry, task: Task) -> bool:
    # Of two packages, neither is preferred: a table must not depend on the order of installation.
    if other.name != entry.name or other is entry or entry.source == BUILT_IN_SOURCE:
        return False
    if other.source == BUILT_IN_SOURCE:
        return other.task == task
    return other.task in (task, None)


def _entries(added: Sequence[Method] = ()) -> tuple[Entry, ...]:
    built_in = [_built_in(make) for make in BUILT_IN]
    replaced = {one.name for one in added}
    entries = (
        *built_in,
        *(one for one in plugins() if one.name not in replaced),
        *map(_added, added),
    )
    return tuple(_without_clash(entry, entries) for entry in entries)


def _without_clash(entry: Entry, entries: Sequence[Entry]) -> Entry:
    if entry.problem or entry.task is None:
        return entry
    clash = [other for other in entries if _takes_name(other, entry, entry.task)]
    if not clash:
        return entry
    return replace(entry, problem=f"its name is that of the {entry.task} {clash[0]}")


def _built_in(make: Callable[[], Downscaler]) -> Entry:
    call = make()
    return Entry(call.name, call.task, getattr(call, "title", ""), BUILT_IN_SOURCE, "", make)


def _added(method: Method) -> Entry:
    return Entry(method.name, method.task, method.title, method.source, "", lambda: method.call)
