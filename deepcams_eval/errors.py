"""Exceptions and warnings that a caller may want to tell apart.

Every message is one line that names the file or value at fault and the next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class DeepcamsError(Exception):
    """Base of every stated error; the command line turns it into exit code 1."""


class InputError(DeepcamsError, ValueError):
    """An input that cannot be used as it is.

    Parameters
    ----------
    problem : str
        What is wrong, with the offending value.
    path : Path or str, optional
        The file or folder at fault; it stands first in the message.
    hint : str, optional
        The next step for the user; it stands last.
    """

    def __init__(
        self, problem: str, *, path: Path | str | None = None, hint: str | None = None
    ) -> None:
        self.problem = problem
        self.path = None if path is None else Path(path)
        self.hint = hint
        message = problem if path is None else f"{path}: {problem}"
        super().__init__(message if hint is None else f"{message}; {hint}")

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between worker processes, and keyword arguments do not by default.
        return partial(type(self), path=self.path, hint=self.hint), (self.problem,), vars(self)


class OptionError(InputError):
    """An option with a value that it cannot have; on the command line wrong usage, exit code 2.

    Parameters
    ----------
    problem, path, hint
        As of `InputError`.
    flag : str, optional
        The option on the command line.
    """

    def __init__(self, problem: str, *, flag: str | None = None, **where: Any) -> None:
        super().__init__(problem, **where)
        self.flag = flag


class UnitsError(InputError):
    """A unit that is not a mass concentration, or none where one is needed."""


class NoDataError(InputError):
    """Nothing is left to work on: an empty folder, no overlap, no rows."""


def pick(known: Mapping[str, T], name: str, what: str) -> T:
    """Return what is known by a name.

    Raises
    ------
    InputError
        If there is no `what` of that name; the message names those there are.
    """
    if name not in known:
        raise InputError(f"no {what} is called {name!r}", hint=f"choose from {', '.join(known)}")
    return known[name]


class DeepcamsWarning(UserWarning):
    """Something was assumed or left out; it is counted in the result as well."""
