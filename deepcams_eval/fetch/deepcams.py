"""DeepCAMS as published on Zenodo (doi:10.5281/zenodo.6381600), by its published checksums."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import Expected, Follow, Transfer, fetch_each, md5_of, shown
from deepcams_eval.fetch.local import (
    Missing,
    Outcome,
    check_space,
    read_note,
    sole_fetch,
    write_note,
)

ZENODO_URL = "https://zenodo.org"
RECORD = "6381600"

_SEEN = ".checked.json"


@dataclass(frozen=True)
class Published:
    """A file of the record.

    Attributes
    ----------
    name : str
    size : int
        Bytes.
    md5 : str
        Hexadecimal digits.
    url : str
    """

    name: str
    size: int
    md5: str
    url: str


def endpoint() -> str:
    """Return the address of Zenodo, from the environment where it names one."""
    return (os.environ.get("DEEPCAMS_ZENODO_URL") or ZENODO_URL).rstrip("/")


def list_record(root: str, transfer: Transfer, years: tuple[int, ...] = ()) -> list[Published]:
    """Return the files of the record; of those whose names hold a year, only the `years` given.

    Raises
    ------
    InputError
        If the record cannot be had or read.
    """
    url = f"{root}/api/records/{RECORD}"
    try:
        files = [_published(one, root) for one in json.loads(transfer.read(url))["files"]]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("is no list of files with checksums", path=shown(url)) from error
    return [one for one in files if not years or _of_years(one.name, years)]


def split_there(folder: Path, files: list[Published]) -> tuple[list[Published], list[Published]]:
    """Return the files to fetch and those that are there with the published checksum.

    A file is read once: its size, date and checksum are kept beside it, in ``.checked.json``.
    """
    known = read_note(folder / _SEEN)
    seen = dict(known)
    wanted, there = list[Published](), list[Published]()
    for one in files:
        path = folder / one.name
        found = path.is_file() and path.stat().st_size == one.size
        if found and seen.get(one.name) != _state(path, one):
            found = md5_of(path) == one.md5
            if found:
                seen[one.name] = _state(path, one)
        (there if found else wanted).append(one)
    if seen != known:
        write_note(folder / _SEEN, seen)
    return wanted, there


def fetch_deepcams(
    folder: Path, years: tuple[int, ...], root: str, transfer: Transfer, follow: Follow
) -> Outcome:
    """Fetch the files of the record that are not there.

    Parameters
    ----------
    folder : Path
        ``DIR/deepcams``.
    years : tuple of int
        () is all; see `list_record`.
    root : str
        See `endpoint`.
    transfer : Transfer
    follow : callable
        Takes the files done and all that are to be fetched.

    Raises
    ------
    InputError
        If the record cannot be had, there is no room, or a file cannot be written.
    """

    def fetch_one(one: Published) -> int:
        path, expected = folder / one.name, Expected(one.size, one.md5)
        size = transfer.get(one.url, path, expected=expected)
        write_note(folder / _SEEN, {**read_note(folder / _SEEN), one.name: _state(path, one)})
        return size

    with sole_fetch(folder):
        wanted, there = split_there(folder, list_record(root, transfer, years))
        check_space(folder, sum(one.size for one in wanted))
        fetched, total, failed = fetch_each(wanted, fetch_one, 1, transfer, follow)
    missing = tuple(Missing(one.name, error.problem) for one, error in failed.items())
    return Outcome("deepcams", fetched, len(there), total, missing)


def _published(entry: dict[str, Any], root: str) -> Published:
    name = str(entry["key"])
    form, _, digits = str(entry["checksum"]).partition(":")
    if form != "md5" or not re.fullmatch(r"[0-9a-f]{32}", digits):
        raise ValueError(f"{name} has no MD5")
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"{name} is no plain name")
    content = f"{root}/api/records/{RECORD}/files/{quote(name)}/content"
    return Published(name, int(entry["size"]), digits, content)


def _of_years(name: str, years: tuple[int, ...]) -> bool:
    named = {int(digits) for digits in re.findall(r"(?<!\d)(?:19|20)\d\d", name)}
    return not named or bool(named & set(years))


def _state(path: Path, one: Published) -> list[object]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, one.md5]
