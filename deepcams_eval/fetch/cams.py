"""CAMS EAC4 from the Atmosphere Data Store: a request a month, queued, resumed, checked.

The number of a request is kept beside its target, so that a restart waits for it again
instead of making another. The client of the store makes the requests; asking again and waiting are
those of `Retries`, as the client sleeps without hearing `stop` and does not heed Retry-After.
"""

from __future__ import annotations

import shutil
import warnings
import zipfile
import zlib
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import cdsapi
import numpy as np
import numpy.typing as npt
import requests
from ecmwf.datastores import Remote
from ecmwf.datastores.processing import ProcessingFailedError

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import (
    LIBRARY,
    Expected,
    Failure,
    RefusedError,
    Transfer,
    TransferError,
    fetch_planned,
    judged,
)
from deepcams_eval.fetch.local import (
    ADS_HINT,
    ADS_URL,
    AdsKey,
    Asked,
    Missing,
    Nodes,
    Outcome,
    Plan,
    find_ads_key,
    read_note,
    write_note,
)
from deepcams_eval.read.containers import DATA_SUFFIXES, UnreadableFileError
from deepcams_eval.read.product import ProductSpec, open_product

DATASET = "cams-global-reanalysis-eac4"
SPACING_DEG = 0.75
STEP_H = 3

_LATEST = 50
_LONGEST_REASON = 300


@dataclass(frozen=True, kw_only=True)
class CamsSettings(Asked):
    """What to fetch of EAC4; a box is widened to its nodes, so that nothing is interpolated.

    Attributes
    ----------
    poll_s : tuple of float
        First and longest wait between two looks at a request in the queue of the store.
    """

    poll_s: tuple[float, float] = (0.5, 60.0)


class Piece(NamedTuple):
    """The days of one file: a month, or a day."""

    first: date
    last: date

    @property
    def name(self) -> str:
        """``2017-01`` of a month, ``2020-01-01`` of a day."""
        return f"{self.first:%Y-%m-%d}" if self.first == self.last else f"{self.first:%Y-%m}"

    @property
    def file_name(self) -> str:
        """Name of the file in ``DIR/cams``."""
        return f"eac4_{self.name}.nc"

    @property
    def first_day(self) -> Piece:
        """The piece that holds its first day alone."""
        return Piece(self.first, self.first)

    def times(self) -> npt.NDArray[np.datetime64]:
        """Return the steps of the file: every three hours from 00 UTC."""
        first, last = np.array([self.first, self.last], "datetime64[D]").astype("datetime64[h]")
        return np.arange(first, last + np.timedelta64(24, "h"), np.timedelta64(STEP_H, "h"))


def plan_cams(settings: CamsSettings) -> Plan[Piece]:
    """Compare what is asked for with what lies in the folder; nothing is asked of a server.

    Raises
    ------
    InputError
        If the folder holds files of another grid: the reader takes one grid a product.
    """
    grid = Nodes.of(settings.bbox, SPACING_DEG, widen=True)
    held = _held(settings.folder, grid)
    wanted, there, missing = [], [], []
    for piece in pieces(settings.years, settings.months):
        times = set(piece.times().tolist())
        files = {path: times & found for path, found in held.items() if times & found}
        # What fetching it replaces or removes.
        own = {settings.folder / one.file_name for one in (piece, piece.first_day)}
        if times <= set().union(*files.values()):
            there.append(piece)
        elif strangers := [path for path in files if path not in own]:
            count = len(set().union(*files.values()))
            reason = f"{count} of its {len(times)} steps lie in {strangers[0].name}: move that away"
            missing.append(Missing(piece.name, reason))
        else:
            wanted.append(piece)
    size = sum(len(piece.times()) for piece in wanted) * grid.bytes
    return Plan(tuple(wanted), tuple(there), size, tuple(missing))


def pieces(years: Sequence[int], months: Sequence[int]) -> list[Piece]:
    """Return the months, each a file, and the day after each run of months, a file of its own.

    The last interval of a run ends with the first map of that day.
    """
    asked = [(year, month) for year in sorted(years) for month in sorted(months)]
    result = []
    for year, month in asked:
        last = monthrange(year, month)[1]
        result.append(Piece(date(year, month, 1), date(year, month, last)))
        after = (year + month // 12, month % 12 + 1)
        if after not in asked:
            day = date(*after, 1)
            result.append(Piece(day, day))
    return result


def check_cams(path: Path, piece: Piece, grid: Nodes) -> int:
    """Return how many steps hold no value, having read all of them with the reader of CAMS.

    Raises
    ------
    InputError
        If the file is broken, has other steps or nodes than asked for, no unit of mass
        concentration, or no value at all.
    """
    field = open_product(ProductSpec("cams", str(path), kind="cams"), strict=True).field
    expected = piece.times()
    found = field.time.values
    if not np.array_equal(found, expected.astype(found.dtype)):
        raise UnreadableFileError(
            f"has {len(found)} steps, not the {len(expected)} of {piece.name}", path=path
        )
    if not grid.match(field):
        shape = f"{field.sizes['latitude']} x {field.sizes['longitude']}"
        raise UnreadableFileError(f"has {shape} nodes, which are not those asked for", path=path)
    finite: Any = np.isfinite(field.data)
    empty = int((~finite.any(axis=(1, 2))).sum().compute(scheduler="synchronous"))
    if empty == len(expected):
        raise UnreadableFileError("holds no value", path=path)
    return empty


def _held(folder: Path, grid: Nodes) -> dict[Path, set[object]]:
    """Return the steps that each file of the folder holds."""
    result: dict[Path, set[object]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.suffix.lower() not in DATA_SUFFIXES:
            continue
        try:
            field = open_product(ProductSpec("cams", str(path), kind="cams")).field
        except UnreadableFileError:
            continue
        grid.require(field, path)
        result[path] = set(field.time.values.astype("datetime64[h]").tolist())
    return result


def fetch_cams(settings: CamsSettings, transfer: Transfer) -> Outcome:
    """Fetch what `plan_cams` finds wanting; each new state of a request is said.

    Raises
    ------
    InputError
        If there is no key or it is refused, a licence is not accepted, there is no room, or a
        file cannot be written.
    """
    return fetch_planned(
        "cams",
        settings.folder,
        lambda: plan_cams(settings),
        lambda: _Queue(settings, transfer, require_ads_key()).fetch,
        transfer,
        settings.workers,
    )


def require_ads_key() -> AdsKey:
    """Return the key of the Atmosphere Data Store.

    Raises
    ------
    InputError
        If there is none, it is of the form that the old store took, or its address is that of
        another store.
    """
    found = find_ads_key()
    if found is None:
        raise InputError("there is no key for the Atmosphere Data Store", hint=ADS_HINT)
    if ":" in found.key:
        raise InputError(
            f"the key in {found.found_in} is of the form UID:KEY, which the store no longer takes",
            hint=ADS_HINT,
        )
    if "cds.climate.copernicus.eu" in found.url:
        raise InputError(
            f"{found.url} is the Climate Data Store, which does not hold EAC4",
            hint=f"set CDSAPI_URL={ADS_URL}; the key may stay",
        )
    return found


class _Queue:
    """The requests of one fetch in the queue of the store, each followed by a thread."""

    def __init__(self, settings: CamsSettings, transfer: Transfer, key: AdsKey) -> None:
        self._settings, self._transfer, self._key = settings, transfer, key
        self._grid = Nodes.of(settings.bbox, SPACING_DEG, widen=True)
        # The client would log its key, and the state of each request.
        kinds = ("debug", "info", "warning", "error")
        silent: dict[str, Any] = {f"{kind}_callback": lambda *_, **__: None for kind in kinds}
        with warnings.catch_warnings():
            # It warns where the store has no messages to show.
            warnings.simplefilter("ignore")
            self._client = cdsapi.Client(
                url=key.url,
                key=key.key,
                verify=key.verify,
                quiet=True,
                progress=False,
                timeout=transfer.policy.timeout_s,
                retry_max=1,
                wait_until_complete=False,
                **silent,
            ).client

    def fetch(self, piece: Piece) -> int:
        """Ask for a file, wait until the store has made it, and return its bytes."""
        remote, resumed = self._enter(piece)
        try:
            self._wait(piece, remote)
            size = self._download(piece, remote)
        except TransferError:
            self._note(piece).unlink(missing_ok=True)
            if not resumed:
                raise
            self._transfer.say(f"{piece.name}: the earlier request is of no use, asked anew")
            return self.fetch(piece)
        self._note(piece).unlink(missing_ok=True)
        return size

    def _enter(self, piece: Piece) -> tuple[Remote, bool]:
        """Return the request of an earlier run, or a new one, and whether it is resumed."""
        note, request = self._note(piece), self._request(piece)
        known, asked = read_note(note), {"url": self._key.url, "request": request}
        what = f"request for {piece.name}"
        number = None
        if asked.items() <= known.items():
            number = known.get("request_id") or self._find(request)
        if number is not None:
            try:
                remote = self._ask(what, lambda: self._client.get_remote(number))
            except TransferError:
                note.unlink(missing_ok=True)
            else:
                self._transfer.say(f"{piece.name}: the request of an earlier run is resumed")
                write_note(note, {"request_id": number, **asked})
                return remote, True
        # A run that ends before the answer has at least left that it asked.
        write_note(note, {"request_id": None, **asked})
        remote = self._ask(what, lambda: self._client.submit(DATASET, request))
        write_note(note, {"request_id": remote.request_id, **asked})
        return remote, False

    def _find(self, request: dict[str, Any]) -> str | None:
        """Return the number of the latest request of this kind that the store still holds."""
        useful = ["accepted", "running", "successful"]
        jobs = self._ask(
            "list of requests",
            lambda: self._client.get_jobs(limit=_LATEST, sortby="-created", status=useful),
        )
        numbers = map(str, jobs.request_ids)
        return next((number for number in numbers if self._request_of(number) == request), None)

    def _request_of(self, number: str) -> Any:
        held = self._ask(number, lambda: self._client.get_remote(number).json)
        return held.get("metadata", {}).get("request", {}).get("ids")

    def _wait(self, piece: Piece, remote: Remote) -> None:
        """Wait until the store has made a file, telling each new state of its request."""
        pause, longest = self._settings.poll_s
        told = None
        while True:
            ready = self._ask(piece.name, lambda: remote.results_ready)
            if (state := str(remote.last_status)) != told:
                self._transfer.say(f"{piece.name}: {state}")
                told = state
            if ready:
                return
            self._transfer.wait(pause)
            pause = min(pause * 1.5, longest)

    def _download(self, piece: Piece, remote: Remote) -> int:
        results = self._ask(piece.name, remote.get_results)
        return self._transfer.get(
            results.location,
            self._settings.folder / piece.file_name,
            expected=Expected(results.content_length, results.asset.get("file:checksum")),
            finish=lambda path: self._finish(path, piece),
        )

    def _finish(self, path: Path, piece: Piece) -> Path:
        """Unpack and check what came; the reader must find every step, and values."""
        kept = _unzipped(path, path.with_name(f".{piece.file_name}.whole"))
        try:
            with LIBRARY:
                empty = check_cams(kept, piece, self._grid)
        except InputError:
            if kept != path:
                kept.unlink(missing_ok=True)
            raise
        if empty:
            self._transfer.say(f"{piece.name}: {empty} of {len(piece.times())} steps hold no value")
        if piece.first != piece.last:
            # The same step in two files would be refused by the reader.
            (self._settings.folder / piece.first_day.file_name).unlink(missing_ok=True)
        return kept

    def _ask(self, what: str, ask: Callable[[], Any]) -> Any:
        """Return the answer of the client, asking again where that may help."""
        label = f"{self._key.url} ({what})"
        of_requests = judged(label)

        def judge(error: Exception) -> Failure:
            if isinstance(error, ProcessingFailedError):
                raise TransferError(f"the store says: {_short(error)}") from None
            if isinstance(error, requests.HTTPError) and (meant := self._refusal(error)):
                raise meant from None
            return of_requests(error)

        return self._transfer.persist(label, ask, judge)

    def _refusal(self, error: requests.HTTPError) -> InputError | None:
        """Return what an answer of the store means for the user, None if it may pass."""
        status = 0 if error.response is None else error.response.status_code
        text = _short(error)
        if "licence" in text.lower():
            return RefusedError(
                f"the licence of {DATASET} is not accepted ({text})",
                hint="accept it once on the download page of the data set, then run this again",
            )
        if status == requests.codes.unauthorized:
            return RefusedError(
                f"the store refuses the key in {self._key.found_in}; it is wrong or has expired",
                hint=ADS_HINT,
            )
        if status in (requests.codes.bad_request, requests.codes.unprocessable_entity):
            return TransferError(f"the store says: {text}")
        return None

    def _request(self, piece: Piece) -> dict[str, Any]:
        request: dict[str, Any] = {
            "variable": ["particulate_matter_2.5um"],
            "date": [f"{piece.first}/{piece.last}"],
            "time": [f"{hour:02d}:00" for hour in range(0, 24, STEP_H)],
            "data_format": "netcdf",
        }
        if self._settings.bbox is not None:
            latitude, longitude = self._grid
            edges = (latitude[-1], longitude[0], latitude[0], longitude[-1])
            request["area"] = [float(edge) for edge in edges]
        return request

    def _note(self, piece: Piece) -> Path:
        return self._settings.folder / f".{piece.file_name}.request.json"


def _unzipped(path: Path, target: Path) -> Path:
    """Return the netCDF file itself, or that of a zip file unpacked to `target`."""
    if not zipfile.is_zipfile(path):
        return path
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one for one in archive.namelist() if one.lower().endswith((".nc", ".nc4"))]
            if len(names) != 1:
                raise UnreadableFileError(f"holds {len(names)} netCDF files, not one", path=path)
            with archive.open(names[0]) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UnreadableFileError("is a broken zip file", path=path) from error
    return target


def _short(error: Exception) -> str:
    """Return what the store says, in one line; its answers do not hold the key."""
    return " ".join(str(error).split())[:_LONGEST_REASON]
