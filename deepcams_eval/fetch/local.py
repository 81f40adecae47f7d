"""What a fetch knows without a server and without extra packages: keys, outcome, folder, nodes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from deepcams_eval.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""

OPENAQ_KEY_VARIABLE = "OPENAQ_API_KEY"
OPENAQ_KEY_HINT = (
    "make a key at https://explore.openaq.org/account and set OPENAQ_API_KEY, or name a file that"
    " holds it: --key-file PATH"
)
ADS_URL = "https://ads.atmosphere.copernicus.eu/api"
ADS_HINT = (
    "make an account at https://ads.atmosphere.copernicus.eu, copy the key from your profile "
    "there, and set CDSAPI_KEY or write 'url: " + ADS_URL + "' and 'key: …' to ~/.cdsapirc"
)

_T = TypeVar("_T")
_BYTES_A_VALUE = 4
_SPARE_BYTES = 100 * 2**20
_GEOSCF_NAME = re.compile(r"GEOS-CF\.v01\.rpl\.\w+\.(\d{8})_(\d{2})30z\.nc4")


class Missing(NamedTuple):
    """Something that was asked for and is not there, and why, in one line without any secret."""

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


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to fetch of a gridded product into ``DIR/cams`` or ``DIR/geoscf``.

    A ``bbox`` of None is the globe; ``workers`` is the number of files at a time.
    """

    folder: Path
    years: tuple[int, ...]
    months: tuple[int, ...] = tuple(range(1, 13))
    bbox: Box | None = None
    workers: int = 4


@dataclass(frozen=True)
class Plan(Generic[_T]):
    """What is to be fetched, what is there, and what cannot be fetched for what lies in the folder.

    ``bytes_at_most`` are those of the files to fetch, uncompressed.
    """

    wanted: Sequence[_T]
    there: Sequence[_T]
    bytes_at_most: int
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True)
class AdsKey:
    """The key of the Atmosphere Data Store; its value is not printed and goes to the server alone.

    ``verify`` is whether certificates are checked; ``found_in`` names a variable or a file.
    """

    url: str
    key: str = field(repr=False)
    verify: bool
    found_in: str


def service_url(variable: str, usual: str) -> str:
    """Return the address of a service: what the environment names, else the usual one."""
    return (os.environ.get(variable) or usual).rstrip("/")


def find_ads_key() -> AdsKey | None:
    """Return the key where cdsapi looks for it, or None.

    ``CDSAPI_URL`` and ``CDSAPI_KEY`` go before the file ``$CDSAPI_RC``, by default
    ``~/.cdsapirc``. Without an address it is that of the Atmosphere Data Store. The lookup of
    cdsapi itself does not say where a key was found, knows no default address, takes an empty
    variable for a key, and is not there where ``doctor`` runs without it.
    """
    path = Path(os.environ.get("CDSAPI_RC") or "~/.cdsapirc").expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    pairs = (line.partition(":") for line in lines)
    written = {name.strip(): value.strip() for name, _, value in pairs}
    in_environment = os.environ.get("CDSAPI_KEY")
    key = in_environment or written.get("key", "")
    if not key:
        return None
    return AdsKey(
        url=service_url("CDSAPI_URL", written.get("url") or ADS_URL),
        key=key,
        verify=written.get("verify", "1") != "0",
        found_in="CDSAPI_KEY" if in_environment else str(path),
    )


def find_openaq_key(key_file: Path | None) -> str:
    """Return the key in a file, or else in the environment; "" if there is none.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if key_file is None:
        return os.environ.get(OPENAQ_KEY_VARIABLE, "").strip()
    try:
        return key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError("cannot be read", path=key_file, hint=OPENAQ_KEY_HINT) from None


class Nodes(NamedTuple):
    """Nodes of a grid, south to north and west to east, in degrees."""

    latitude: npt.NDArray[np.float64]
    longitude: npt.NDArray[np.float64]

    @classmethod
    def of(cls, bbox: Box | None, spacing_deg: float, *, widen: bool) -> Nodes:
        """Return the multiples of the spacing on the globe, or in a box.

        A box is widened to nodes, or holds those within, edges included.

        Raises
        ------
        InputError
            If the box crosses 180° E or holds no node.
        """
        west, south, east, north = bbox or (-180.0, -90.0, 180.0, 90.0)
        turn = 360.0 if west >= 180 else 0.0
        first, last = (np.floor, np.ceil) if widen else (np.ceil, np.floor)
        rows = np.arange(first(south / spacing_deg), last(north / spacing_deg) + 1)
        # There is no node at 180° E beside that at 180° W.
        edge = min(last((east - turn) / spacing_deg), 180 / spacing_deg - 1)
        columns = np.arange(first((west - turn) / spacing_deg), edge + 1)
        if not west < east <= 180 + turn or not len(rows) or not len(columns):
            raise InputError(
                f"the box {west:g},{south:g},{east:g},{north:g} crosses 180° E or holds no node",
                hint="widen it, or fetch its two halves into two folders",
            )
        return cls(rows * spacing_deg, columns * spacing_deg)

    @property
    def bytes(self) -> int:
        """Size of a map, uncompressed."""
        return len(self.latitude) * len(self.longitude) * _BYTES_A_VALUE

    def match(self, field: xr.DataArray) -> bool:
        """Return whether those of a field are the same, to a hundredth of a degree."""
        return all(
            mine.shape == theirs.shape and bool(np.allclose(mine, theirs, rtol=0, atol=0.01))
            for mine, theirs in zip(self, (field.latitude, field.longitude), strict=True)
        )

    def require(self, field: xr.DataArray, path: Path) -> None:
        """Raise `InputError` if the field of a file has other nodes than those asked for."""
        if not self.match(field):
            raise InputError(
                "has another grid than the fetch asks for, and a product has one",
                path=path,
                hint="give the --bbox that it was fetched with, or another folder with --data",
            )


def held_hours(folder: Path) -> Iterator[tuple[datetime, Path]]:
    """Return the hours of GEOS-CF whose files lie in a folder, at any depth; none is opened."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(files):
            found = _GEOSCF_NAME.fullmatch(name)
            if found and (path := Path(root) / name).stat().st_size:
                yield datetime.fromisoformat(f"{found[1]}T{found[2]}30"), path


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise `InputError` if the disk of `folder`, which need not exist, has no room for so much.

    A reserve of 100 MiB is kept.
    """
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(there).free
    if needed_bytes + _SPARE_BYTES > free:
        raise InputError(
            f"has {free / 1e9:.1f} GB free, and the fetch needs up to {needed_bytes / 1e9:.1f} GB",
            path=folder,
            hint="free space, name another folder with --data, or ask for fewer months",
        )


@contextmanager
def stated_disk(folder: Path) -> Iterator[None]:
    """Turn what the disk says when a file cannot be written into one line, an `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            # Failures of a connection are of this kind too, and say no errno.
            raise
        raise InputError(
            f"cannot be written ({error.strerror or error})",
            path=error.filename or folder,
            hint="free space or name another folder with --data, and run the command again:"
            " what is complete is kept",
        ) from error


@contextmanager
def sole_fetch(folder: Path) -> Iterator[None]:
    """Keep a second fetch out of `folder`; the lock ends with the process, however it ends.

    Raises
    ------
    InputError
        If another fetch is at work there, or a file cannot be written.
    """
    with stated_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".fetch.lock").open("a") as lock:
            if sys.platform != "win32":
                import fcntl  # not on Windows, where two fetches are not kept apart

                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise InputError(
                        "another fetch is at work in this folder", path=folder, hint="wait for it"
                    ) from None
            yield


def read_note(path: Path) -> dict[str, Any]:
    """Return what `write_note` wrote; nothing if it is not there or is spoilt."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def write_note(path: Path, note: dict[str, Any]) -> None:
    """Write a small file that a later fetch reads, whole or not at all."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
