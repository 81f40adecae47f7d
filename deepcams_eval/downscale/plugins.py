"""What installed packages register as methods, found without importing any of it.

Whether a method is available is told by the metadata of its distribution, and what it does by the
text of its source.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points
from importlib.metadata import distribution as installed
from typing import Literal

from packaging.requirements import Requirement

from deepcams_eval.downscale.protocol import ENTRY_POINTS, TASKS, Task
from deepcams_eval.errors import InputError

AVAILABLE = "available"
UNKNOWN_TASK: Literal["unknown until it runs"] = "unknown until it runs"
BUILT_IN_SOURCE = "built in"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Listed:
    """A method that is known, whether or not it can run here.

    Attributes
    ----------
    name, title, source : str
        Its name; what it does in a few words, "" where only running would tell; ``built in`` or
        its distribution and version.
    task : {"temporal", "spatial", "joint", "unknown until it runs"}
        Unknown where the source of a plug-in has no class with a literal ``task``.
    available : bool
        Whether all that it requires is there.
    status : str
        ``available``, or what is wrong, with the command that mends it if there is one.
    """

    name: str
    task: Task | Literal["unknown until it runs"]
    title: str
    source: str
    available: bool
    status: str


@dataclass(frozen=True)
class Entry:
    """A registered method before anything of it is imported; `problem` is "" if it can be."""

    name: str
    task: Task | None
    title: str
    source: str
    problem: str
    make: Callable[[], object]

    def __str__(self) -> str:
        if self.source == BUILT_IN_SOURCE:
            return f"built-in method {self.name!r}"
        return f"entry point {self.name!r} of {self.source}"

    def listed(self, problem: str = "") -> Listed:
        """Return it as it is listed; `problem` is what showed up later."""
        status = self.problem or problem
        return Listed(
            name=self.name,
            task=self.task or UNKNOWN_TASK,
            title=self.title,
            source=self.source,
            available=not status,
            status=status or AVAILABLE,
        )


@contextmanager
def foreign(whose: str, failed: str, hint: str) -> Iterator[None]:
    """State as an `InputError` whatever the code of somebody else raises, and ends with.

    Such code may raise anything, or exit; one broken package must not take the others with it,
    and the message must say whose fault it is. An `InputError` of that code keeps its own words.

    Parameters
    ----------
    whose : str
        What stands first in the message.
    failed : str
        What did not succeed, such as ``it cannot be loaded``.
    hint : str
        The next step, where the error is not one that says it itself.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{whose}: {_in_one_line(error)}") from error
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {_in_one_line(error)}"
        raise InputError(f"{whose}: {failed} ({said})", hint=hint) from error


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def wrong_task(task: object) -> str:
    """Say that a task is none of those there are."""
    return f"its task is {task!r}, which is none of {', '.join(TASKS)}"


def plugins() -> list[Entry]:
    """Return what installed packages register in `ENTRY_POINTS`, by name."""
    found = map(_plugin, entry_points(group=ENTRY_POINTS))
    return sorted(found, key=lambda entry: (entry.name, entry.source))


def _plugin(point: EntryPoint) -> Entry:
    """Return what can be told of an entry point without importing its module."""
    distribution = point.dist
    source = " ".join(_identity(distribution) or ["an unnamed distribution"])
    entry = Entry(point.name, None, "", source, "", point.load)
    if not NAME.fullmatch(point.name):
        return replace(entry, problem="its name has other characters than letters, digits, . _ -")
    if EntryPoint.pattern.match(point.value) is None:
        return replace(entry, problem=f"{point.value!r} is not MODULE:OBJECT")
    try:
        unmet = distribution is not None and _unmet(distribution, point.extras, set())
        spec = _find(point.module)
        said = {} if spec is None else _literals(spec, point.attr)
    except (ValueError, SyntaxError, ImportError, OSError) as error:
        return replace(entry, problem=f"it cannot be read ({type(error).__name__}: {error})")
    entry = replace(entry, title=said.get("title", ""))
    if "task" in said and said["task"] not in TASKS:
        return replace(entry, problem=wrong_task(said["task"]))
    entry = replace(entry, task=next((task for task in TASKS if task == said.get("task")), None))
    if distribution is not None and unmet:
        extras = f"[{','.join(point.extras)}]" if point.extras else ""
        return replace(entry, problem=f'needs: pip install "{distribution.name}{extras}"')
    if spec is None:
        return replace(entry, problem=f"its module {point.module} is not found; reinstall {source}")
    return entry


def _identity(distribution: Distribution | None) -> tuple[str, str] | None:
    """Return name and version; None of what an installation that broke off has left behind."""
    try:
        metadata = None if distribution is None else distribution.metadata
    except FileNotFoundError:
        return None
    if metadata is None or not {"Name", "Version"} <= set(metadata):
        return None
    return metadata["Name"], metadata["Version"]


def _unmet(distribution: Distribution, extras: Iterable[str], seen: set[str]) -> bool:
    """Return whether a requirement of a distribution with these extras is not installed."""
    contexts = ("", *extras)
    for text in distribution.requires or ():
        wanted = Requirement(text)
        marker = wanted.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in contexts):
            continue
        try:
            found = installed(wanted.name)
        except PackageNotFoundError:
            return True
        identity = _identity(found)
        if identity is None or not wanted.specifier.contains(identity[1], prereleases=True):
            return True
        # An extra may be made of others: all = ["package[a]", "package[b]"].
        if wanted.extras and text not in seen and _unmet(found, wanted.extras, seen | {text}):
            return True
    return False


def _find(module: str) -> ModuleSpec | None:
    """Return where a module is, without executing it or a package that it is in."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        # The last part only: with the whole name, a namespace package imports its parent.
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return spec


def _literals(spec: ModuleSpec, name: str) -> dict[str, str]:
    """Return the text constants in the body of a class, read from the source of its module."""
    source = spec.loader.get_source(spec.name) if isinstance(spec.loader, InspectLoader) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the syntax of somebody else's source
        tree = ast.parse(source or "")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    found: dict[str, str] = {}
    for statement in (one for node in classes for one in node.body):
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=key)], value=ast.Constant(value=str(text)))
                | ast.AnnAssign(target=ast.Name(id=key), value=ast.Constant(value=str(text)))
            ):
                found[key] = text
    return found
