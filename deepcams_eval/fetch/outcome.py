"""What a fetch did, and what it could not get."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """Something that was asked for and is not there.

    Attributes
    ----------
    what : str
        The file, month or station.
    reason : str
        Why, in one line without any secret.
    """

    what: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a fetch did.

    Attributes
    ----------
    source : str
        ``openaq``, ``cams``, ``geoscf`` or ``deepcams``.
    fetched, already_there : int
        Files that this fetch brought, and files that were complete before it.
    bytes : int
        Bytes that this fetch brought.
    missing : tuple of Missing
        What was asked for and is not there; empty if the fetch is complete.
    """

    source: str
    fetched: int
    already_there: int
    bytes: int
    missing: tuple[Missing, ...]
