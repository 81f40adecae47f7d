"""Asking servers: one policy of asking again, and one download, whole under its name or not there.

A body goes to a hidden temporary file beside its target, is resumed there after a cut or a
restart, is checked, and only then takes its name. Readers skip hidden files.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from deepcams_eval import __version__
from deepcams_eval.errors import InputError
from deepcams_eval.fetch.local import (
    Missing,
    Outcome,
    Plan,
    check_space,
    read_note,
    sole_fetch,
    stated_disk,
    write_note,
)

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""States of an answer that may pass."""

DAMAGED_AT_MOST = 3

LIBRARY = threading.Lock()
"""The netCDF library is not safe in threads: downloads run side by side, their checks do not."""

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)
_CHUNK_BYTES = 1 << 15  # what a cut may cost
_REFUSED = frozenset({401, 402, 403, 407})
_GIVE_UP_AFTER = 3


class TransferError(InputError):
    """One file that cannot be had; others of the same server may."""


class UnreachableError(TransferError):
    """A server that does not answer, however often it is asked."""


class RefusedError(InputError):
    """A server that refuses, for a reason that holds for every file: a key, a certificate."""


class StoppedError(InputError):
    """The fetch was stopped while this file was on its way."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and after what wait, a server is asked again.

    Attributes
    ----------
    attempts : int
        Failures in a row, without a new byte between them, after which a file is given up.
    timeout_s : float
        Seconds of silence that count as a failure.
    first_wait_s, longest_wait_s : float
        The wait after the first failure, which doubles up to the longest.
    longest_asked_wait_s : float
        A server that asks for a longer wait (Retry-After) is given up.
    """

    attempts: int = 8
    timeout_s: float = 60.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    longest_asked_wait_s: float = 3600.0


class Failure(NamedTuple):
    """A failure that may pass: why, in a few words without any secret, and the wait asked for.

    One that is `throttled` holds for every thread: they are one visitor to the server.
    """

    reason: str
    asked_s: float = 0.0
    throttled: bool = False


class Expected(NamedTuple):
    """What is known of a file before it is there: bytes, and MD5 in hexadecimal digits."""

    size: int | None = None
    md5: str | None = None


_UNKNOWN = Expected()


class Retries:
    """Asks again as a policy says, in any number of threads, until it is stopped.

    Parameters
    ----------
    policy : RetryPolicy
    sleep : callable, optional
        Waits for some seconds; if absent, for no longer than until `stop`.
    """

    def __init__(self, policy: RetryPolicy, sleep: Callable[[float], object] | None = None) -> None:
        self.policy = policy
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._not_before = 0.0

    def stop(self) -> None:
        """Make every thread end at its next piece or wait, with `StoppedError`."""
        self._stopping.set()

    def wait(self, seconds: float = 0.0) -> None:
        """Wait, but for no longer than until `stop`, which raises `StoppedError`."""
        if seconds > 0:
            self._sleep(seconds)
        if self._stopping.is_set():
            raise StoppedError("the fetch was stopped")

    def persist(
        self,
        what: str,
        ask: Callable[[], _T],
        judge: Callable[[Exception], Failure],
        *,
        size: Callable[[], int] = lambda: 0,
    ) -> _T:
        """Return what `ask` returns, asking again after failures that may pass.

        Parameters
        ----------
        what : str
            The thing asked for, in messages; no secret.
        ask : callable
        judge : callable
            Takes what `ask` raised; returns a failure that may pass, raises for any other.
        size : callable
            How far the work has come; failures are counted from zero when it grows.

        Raises
        ------
        UnreachableError
            If the server gave no answer.
        StoppedError
        """
        failures, best = 0, size()
        while True:
            self.wait(self._not_before - time.monotonic())
            try:
                return ask()
            except Exception as error:  # noqa: BLE001 - `judge` raises what is not its own
                failure = judge(error)
            failures += 1
            if size() > best:
                failures, best = 1, size()
            self._pause(what, failures, failure)

    def _pause(self, what: str, failures: int, failure: Failure) -> None:
        policy, asked = self.policy, failure.asked_s
        if failures >= policy.attempts:
            raise UnreachableError(
                f"given up after {failures} failures ({failure.reason})", path=what
            )
        if asked > policy.longest_asked_wait_s:
            raise UnreachableError(
                f"the server asks to come back in {asked:.0f} s ({failure.reason})", path=what
            )
        pause = min(policy.first_wait_s * 2 ** (failures - 1), policy.longest_wait_s)
        if failure.throttled:
            until = time.monotonic() + (asked or pause)
            self._not_before = max(self._not_before, until)
        self.wait(max(pause, asked))


class Transfer(Retries):
    """Downloads over HTTP(S), in any number of threads, and whom to tell of them.

    Parameters
    ----------
    policy : RetryPolicy, optional
    on_bytes : callable, optional
        Called with the bytes of each piece that arrives.
    say : callable, optional
        Takes a line of news.
    follow : callable, optional
        Takes the files done and all that are to be fetched.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        on_bytes: Callable[[int], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        follow: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        super().__init__(policy or RetryPolicy())
        self._on_bytes, self.say, self.follow = on_bytes, say, follow
        self._session = requests.Session()
        # Sizes and ranges are those of the file, not of a compressed answer.
        self._session.headers.update(
            {"Accept-Encoding": "identity", "User-Agent": f"deepcams/{__version__}"}
        )

    def read(self, url: str) -> bytes:
        """Return a small answer as it comes.

        Raises
        ------
        TransferError, RefusedError, StoppedError
        """

        def ask() -> bytes:
            with self._session.get(url, timeout=self.policy.timeout_s) as response:
                response.raise_for_status()
                body = response.content
            self._on_bytes(len(body))
            return body

        return self.persist(shown(url), ask, judged(shown(url)))

    def get(
        self,
        url: str,
        target: Path,
        *,
        expected: Expected = _UNKNOWN,
        finish: Callable[[Path], Path] = Path,
    ) -> int:
        """Download `url` to `target`, whole and checked, and return the bytes of the file kept.

        Parameters
        ----------
        url : str
        target : Path
            Replaced if it is there. Its folder is made.
        expected : Expected
        finish : callable
            Checks a downloaded file and returns the one to keep: itself, or one made of it beside
            it. An `InputError` is a damaged file, asked for again, three times in all.

        Raises
        ------
        TransferError, RefusedError, StoppedError
        InputError
            If it cannot be written.
        """
        part, what = _Part(url, target, expected), shown(url)
        with stated_disk(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            for turns_left in reversed(range(DAMAGED_AT_MOST)):
                self.persist(what, lambda: self._extend(part), judged(what), size=part.size)
                try:
                    part.check()
                    kept = finish(part.path)
                    break
                except InputError as error:
                    part.drop()
                    if not turns_left:
                        raise TransferError(
                            f"came damaged {DAMAGED_AT_MOST} times: {error.problem}", path=what
                        ) from error
            size = kept.stat().st_size
            with kept.open("rb") as stream:
                # A name must not outlive its bytes when the power fails.
                os.fsync(stream.fileno())
            kept.replace(target)
            part.drop()
            return size

    def _extend(self, part: _Part) -> None:
        """Fetch what is missing of the partial file; raise if the body ends early."""
        headers = part.resume_headers()
        if headers is None:
            return
        with self._session.get(
            part.url, headers=headers, stream=True, timeout=self.policy.timeout_s
        ) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                part.drop()
                raise requests.ConnectionError("the server has another file now")
            response.raise_for_status()
            with part.open(response) as stream:
                for piece in response.iter_content(_CHUNK_BYTES):
                    stream.write(piece)
                    self._on_bytes(len(piece))
                    self.wait()
        if part.total is not None and part.size() < part.total:
            raise requests.ConnectionError(f"cut short: {part.size()} of {part.total} bytes")


def _by_name(failed: Mapping[Any, TransferError], _: object) -> list[Missing]:
    return [Missing(one.name, error.problem) for one, error in failed.items()]


def fetch_planned(
    source: str,
    folder: Path,
    make_plan: Callable[[], Plan[_K]],
    start: Callable[[], Callable[[_K], int]],
    transfer: Transfer,
    workers: int,
    describe: Callable[[Mapping[_K, TransferError], Sequence[_K]], Sequence[Missing]] = _by_name,
) -> Outcome:
    """Fetch what a plan finds wanting, some files at a time.

    Parameters
    ----------
    source : str
        Name of the source.
    folder : Path
        Kept from other fetches meanwhile.
    make_plan : callable
        Returns the plan, once the folder is ours.
    start : callable
        Called where something is wanted; returns what fetches one file and returns its bytes.
    transfer : Transfer
        Stopped where anything but a `TransferError` is raised.
    workers : int
        How many at a time.
    describe : callable, optional
        Takes why files failed and all that were wanted; returns what is missing: a line for each,
        by its ``name``, if absent.

    Raises
    ------
    InputError
        If there is no room, the server refuses, or a file cannot be written.
    """
    fetched, total, failed = 0, 0, dict[_K, TransferError]()
    with sole_fetch(folder):
        plan = make_plan()
        if plan.wanted:
            check_space(folder, plan.bytes_at_most)
            fetched, total, failed = _fetch_each(plan.wanted, start(), workers, transfer)
    missing = (*plan.missing, *describe(failed, plan.wanted))
    return Outcome(source, fetched, len(plan.there), total, missing)


def _fetch_each(
    wanted: Sequence[_K], fetch_one: Callable[[_K], int], workers: int, transfer: Transfer
) -> tuple[int, int, dict[_K, TransferError]]:
    """Return the files fetched, their bytes, and why others failed.

    After some in a row without any answer the rest is not asked for.
    """
    fetched, total, silent = 0, 0, 0
    failed: dict[_K, TransferError] = {}
    transfer.follow(0, len(wanted))
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(fetch_one, one): one for one in wanted}
        try:
            for future in as_completed(running):
                try:
                    total += future.result()
                    fetched, silent = fetched + 1, 0
                except CancelledError:
                    reason = "not asked for, as the server does not answer"
                    failed[running[future]] = UnreachableError(reason)
                except TransferError as error:
                    failed[running[future]] = error
                    silent = silent + 1 if isinstance(error, UnreachableError) else 0
                    if silent == _GIVE_UP_AFTER:
                        for one in running:
                            one.cancel()
                transfer.follow(fetched, len(wanted))
        except BaseException:
            # Threads on their way end at their next piece; without this the pool waits for them.
            transfer.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return fetched, total, failed


class _Part:
    """The partial file of one download, and which version of the remote file it belongs to."""

    def __init__(self, url: str, target: Path, expected: Expected) -> None:
        self.url = url
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self._expected = expected
        self.total: int | None = expected.size

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def resume_headers(self) -> dict[str, str] | None:
        """Return the headers of a request for the rest, or None if nothing is missing."""
        size = self.size()
        if size == 0:
            return {}
        if self._expected.size is not None and size >= self._expected.size:
            return None
        note = read_note(self._note)
        validator = note.get("validator") if note.get("url") == shown(self.url) else None
        if not validator and self._expected.md5 is None:
            return {}
        headers = {"Range": f"bytes={size}-"}
        return headers | {"If-Range": str(validator)} if validator else headers

    @contextmanager
    def open(self, response: requests.Response) -> Iterator[BinaryIO]:
        """Open the partial file to resume it where the answer begins, or afresh."""
        length = response.headers.get("Content-Length")
        first, total = _content_range(response)
        if response.status_code == requests.codes.partial_content and first != self.size():
            self.drop()
            raise requests.ConnectionError("the server sent another part than the one asked for")
        resumed = first is not None
        if resumed:
            self.total = total
        else:
            self.total = int(length) if length and length.isdigit() else self._expected.size
            tag = response.headers.get("ETag", "")
            strong = tag if tag and not tag.startswith("W/") else ""
            validator = strong or response.headers.get("Last-Modified", "")
            self.path.unlink(missing_ok=True)
            write_note(self._note, {"url": shown(self.url), "validator": validator})
        with self.path.open("ab" if resumed else "wb") as stream:
            yield stream

    def check(self) -> None:
        """Raise `TransferError` if size or checksum are not those that are known."""
        size = self.size()
        wanted = self._expected.size if self._expected.size is not None else self.total
        if wanted is not None and size != wanted:
            raise TransferError(f"has {size} bytes, not {wanted}", path=self.path)
        if self._expected.md5 is not None and md5_of(self.path) != self._expected.md5.lower():
            raise TransferError("its checksum is not the published one", path=self.path)

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def judged(what: str) -> Callable[[Exception], Failure]:
    """Return what tells failures of requests that may pass from those that do not.

    It raises `RefusedError` where a key or a certificate is not accepted, `TransferError` where
    something is not there, and any other exception as it came.
    """

    def judge(error: Exception) -> Failure:
        if not isinstance(error, requests.RequestException):
            raise error
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise RefusedError(
                "the certificate of the server is not trusted",
                path=what,
                hint="check the clock and the address, or name your organisation's certificates"
                " in REQUESTS_CA_BUNDLE",
            ) from None
        response = error.response
        status = None if response is None else response.status_code
        if status in _REFUSED:
            raise RefusedError(
                f"the server refuses access ({status})",
                path=what,
                hint="check the address and, where one is needed, the key: it may have expired",
            ) from None
        reason = f"status {status}" if status else _kind(error)
        if status not in AGAIN and not isinstance(
            error,
            requests.ConnectionError
            | requests.Timeout
            | requests.exceptions.ChunkedEncodingError
            | requests.exceptions.ContentDecodingError,
        ):
            raise TransferError(f"cannot be had ({reason})", path=what) from None
        asked = 0.0 if response is None else retry_after(response.headers.get("Retry-After"))
        return Failure(reason, asked, throttled=asked > 0)

    return judge


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def shown(url: str) -> str:
    """Return an address for messages, without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.port is not None:
        host += f":{parts.port}"
    return f"{parts.scheme}://{host}{parts.path}"


def retry_after(header: str | None) -> float:
    """Return the seconds that a header asks to wait; 0 where there is none or it is unclear."""
    try:
        return max(0.0, Retry().parse_retry_after(header or "0"))
    except InvalidHeader:
        return 0.0


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """Return first byte and full size of a partial answer, as far as it says."""
    if response.status_code != requests.codes.partial_content:
        return None, None
    text = response.headers.get("Content-Range", "").removeprefix("bytes ")
    span, _, total = text.partition("/")
    first = span.partition("-")[0]
    if not first.isdigit():
        return None, None
    return int(first), int(total) if total.isdigit() else None


def _kind(error: requests.RequestException) -> str:
    """Return what kind of failure it was; the text of such errors holds whole addresses."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError) or "cut short" in str(error):
        return "the connection was cut"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
