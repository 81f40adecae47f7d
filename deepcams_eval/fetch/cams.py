"""CAMS EAC4 from the Atmosphere Data Store: a request a month, queued, polled, resumed, checked.

The number of a request is kept beside its target, so that a restart goes on waiting for it
instead of asking again.
"""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cdsapi
import requests
from ecmwf.datastores import Remote
from ecmwf.datastores.processing import ProcessingFailedError

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.cams_plan import STEP_H, CamsSettings, Grid, Piece, check_cams, plan_cams
from deepcams_eval.fetch.disk import check_space, sole_fetch, stated_disk
from deepcams_eval.fetch.keys import ADS_HINT, AdsKey, require_ads_key
from deepcams_eval.fetch.outcome import Missing, Outcome
from deepcams_eval.fetch.transfer import Expected, RefusedError, Transfer, TransferError
from deepcams_eval.read.containers import UnreadableFileError

DATASET = "cams-global-reanalysis-eac4"
Say = Callable[[str], None]
Follow = Callable[[int, int], None]

_LATEST = 50
_LONGEST_REASON = 300


def fetch_cams(settings: CamsSettings, transfer: Transfer, say: Say, follow: Follow) -> Outcome:
    """Fetch what `plan_cams` finds wanting.

    Parameters
    ----------
    settings : CamsSettings
    transfer : Transfer
    say : callable
        Takes a line on the state of a request.
    follow : callable
        Takes the files done and all that are to be fetched.

    Raises
    ------
    InputError
        If there is no key or it is refused, a licence is not accepted, there is no room, or a
        file cannot be written.
    """
    with sole_fetch(settings.folder):
        plan = plan_cams(settings)
        if not plan.wanted:
            return Outcome("cams", 0, len(plan.there), 0, plan.missing)
        check_space(settings.folder, plan.bytes_at_most)
        queue = _Queue(settings, transfer, require_ads_key(), say)
        fetched, total, missing = queue.run(plan.wanted, follow)
    return Outcome("cams", fetched, len(plan.there), total, (*plan.missing, *missing))


@dataclass
class _Job:
    piece: Piece
    remote: Remote
    attached: bool


class _Queue:
    """The requests of one fetch in the queue of the store."""

    def __init__(self, settings: CamsSettings, transfer: Transfer, key: AdsKey, say: Say) -> None:
        self._settings = settings
        self._grid = Grid.of(settings.bbox)
        self._transfer = transfer
        self._key = key
        self._say = say
        self._states: dict[str, str] = {}
        with warnings.catch_warnings():
            # It warns where the store has no messages to show.
            warnings.simplefilter("ignore")
            self._client = cdsapi.Client(
                url=key.url,
                key=key.key,
                verify=key.verify,
                quiet=True,
                progress=False,
                timeout=transfer.patience.timeout_s,
                retry_max=1,  # `Transfer.persist` asks again, and waits as long as it is told
                wait_until_complete=False,
                debug_callback=lambda *_: None,  # the client would log its key
            ).client
        logging.getLogger("ecmwf.datastores.legacy_client").setLevel(logging.ERROR)

    def run(self, wanted: Sequence[Piece], follow: Follow) -> tuple[int, int, list[Missing]]:
        """Return the files fetched, their bytes, and what could not be had."""
        waiting, active = deque(wanted), list[_Job]()
        fetched, total, missing = 0, 0, list[Missing]()
        first_s, longest_s = self._settings.poll_s
        pause = first_s
        follow(0, len(wanted))
        while waiting or active:
            while waiting and len(active) < self._settings.at_once:
                piece = waiting.popleft()
                try:
                    active.append(self._enter(piece))
                except TransferError as error:
                    missing.append(Missing(piece.name, error.problem))
            moved = False
            for job in tuple(active):
                try:
                    size = self._look(job)
                except TransferError as error:
                    active.remove(job)
                    self._note(job.piece).unlink(missing_ok=True)
                    if job.attached:
                        waiting.appendleft(job.piece)
                        self._say(f"{job.piece.name}: the earlier request is of no use, asked anew")
                    else:
                        missing.append(Missing(job.piece.name, error.problem))
                    moved = True
                    continue
                if size is not None:
                    active.remove(job)
                    fetched, total, moved = fetched + 1, total + size, True
                follow(fetched, len(wanted))
            pause = first_s if moved else min(pause * 1.5, longest_s)
            if active and not moved:
                self._transfer.wait(pause)
        return fetched, total, missing

    def _enter(self, piece: Piece) -> _Job:
        """Take up the request of an earlier run, or make one."""
        note, request = self._note(piece), self._request(piece)
        known = _read_note(note)
        what = f"request for {piece.name}"
        same = known.get("request") == request and known.get("url") == self._key.url
        number = known.get("request_id") if same else None
        if same and number is None:
            number = self._find(request)
        if number is not None:
            try:
                remote = self._ask(what, lambda: self._client.get_remote(number))
            except TransferError:
                note.unlink(missing_ok=True)
            else:
                self._say(f"{piece.name}: goes on with the request of an earlier run")
                self._write_note(note, request, number)
                return _Job(piece, remote, attached=True)
        # A run that ends before the answer has at least left that it asked.
        self._write_note(note, request, None)
        remote = self._ask(what, lambda: self._client.submit(DATASET, request))
        self._write_note(note, request, remote.request_id)
        return _Job(piece, remote, attached=False)

    def _find(self, request: dict[str, Any]) -> str | None:
        """Return the number of the latest request of this kind that the store still holds."""
        useful = ["accepted", "running", "successful"]
        jobs = self._ask(
            "list of requests",
            lambda: self._client.get_jobs(limit=_LATEST, sortby="-created", status=useful),
        )
        for number in jobs.request_ids:
            if self._request_of(str(number)) == request:
                return str(number)
        return None

    def _request_of(self, number: str) -> Any:
        held = self._ask(number, lambda: self._client.get_remote(number).json)
        return held.get("metadata", {}).get("request", {}).get("ids")

    def _write_note(self, note: Path, request: dict[str, Any], number: str | None) -> None:
        text = {"request_id": number, "url": self._key.url, "request": request}
        temporary = note.with_suffix(".new")
        with stated_disk(self._settings.folder):
            temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
            temporary.replace(note)

    def _look(self, job: _Job) -> int | None:
        """Return the bytes of the file if it is there now, None if the store is not ready."""
        name = job.piece.name
        ready = self._ask(name, lambda: bool(job.remote.results_ready))
        state = str(job.remote.last_status)
        if self._states.get(name) != state:
            self._states[name] = state
            self._say(f"{name}: {state}")
        if not ready:
            return None
        results = self._ask(name, job.remote.get_results)
        target = self._settings.folder / job.piece.file_name
        size = self._transfer.get(
            results.location,
            target,
            expected=Expected(results.content_length, results.asset.get("file:checksum")),
            finish=lambda path: self._finish(path, job.piece),
        )
        self._note(job.piece).unlink(missing_ok=True)
        return size

    def _finish(self, path: Path, piece: Piece) -> Path:
        """Unpack and check what came; the reader must find every step, and values."""
        kept = _unzipped(path, path.with_name(f".{piece.file_name}.whole"))
        try:
            empty = check_cams(kept, piece, self._grid)
        except InputError:
            if kept != path:
                kept.unlink(missing_ok=True)
            raise
        if empty:
            self._say(f"{piece.name}: {empty} of {len(piece.times())} steps hold no value")
        if piece.first != piece.last:
            # The same step in two files would be refused by the reader.
            day = Piece(piece.first, piece.first)
            (self._settings.folder / day.file_name).unlink(missing_ok=True)
        return kept

    def _ask(self, what: str, ask: Callable[[], Any]) -> Any:
        """Return the answer of the client, asking again where that may help."""

        def once() -> Any:
            try:
                return ask()
            except ProcessingFailedError as error:
                raise TransferError(f"the store says: {_short(error)}") from None
            except requests.HTTPError as error:
                raise self._refusal(error) or error from None

        return self._transfer.persist(f"{self._key.url} ({what})", once)

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
            request["area"] = self._grid.area()
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
                while piece := packed.read(1 << 20):
                    plain.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UnreadableFileError("is a broken zip file", path=path) from error
    return target


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _short(error: Exception) -> str:
    """Return what the store says, in one line; its answers do not hold the key."""
    return " ".join(str(error).split())[:_LONGEST_REASON]
