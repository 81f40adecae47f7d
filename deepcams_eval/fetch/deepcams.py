"""DeepCAMS as published on Zenodo (doi:10.5281/zenodo.6381600), by its published checksums."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import Expected, Transfer, fetch_planned, md5_of, shown
from deepcams_eval.fetch.local import (
    Outcome,
    Plan,
    read_note,
    service_url,
    write_note,
)

ZENODO_URL = "https://zenodo.org"
RECORD = "6381600"

_SEEN = ".checked.json"


class Published(NamedTuple):
    """A file of the record: its bytes, its MD5 in hexadecimal digits, and where it is."""

    name: str
    size: int
    md5: str
    url: str


def list_record(transfer: Transfer, years: tuple[int, ...] = ()) -> list[Published]:
    """Return the files of the record; of those whose names hold a year, only the `years` given.

    Raises
    ------
    InputError
        If the record cannot be had or read.
    """
    root = service_url("DEEPCAMS_ZENODO_URL", ZENODO_URL)
    url = f"{root}/api/records/{RECORD}"
    try:
        files = [_published(one, root) for one in json.loads(transfer.read(url))["files"]]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("is no list of files with checksums", path=shown(url)) from error
    return [one for one in files if not years or _of_years(one.name, years)]


def plan_deepcams(folder: Path, years: tuple[int, ...], transfer: Transfer) -> Plan[Published]:
    """Compare the record (see `list_record`) with what is there with the published checksum.

    A file is read once: its size, date and checksum are kept beside it, in ``.checked.json``.
    """
    files = list_record(transfer, years)
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
    return Plan(wanted, there, sum(one.size for one in wanted))


def fetch_deepcams(folder: Path, years: tuple[int, ...], transfer: Transfer) -> Outcome:
    """Fetch the files of the record that are not in ``DIR/deepcams``; see `plan_deepcams`.

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

    def plan() -> Plan[Published]:
        return plan_deepcams(folder, years, transfer)

    return fetch_planned("deepcams", folder, plan, lambda: fetch_one, transfer, workers=1)


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
