"""One download over HTTP(S): whole and checked under its name, or not there.

A body goes to a hidden temporary file beside its target, is resumed there after a cut or a
restart, is checked, and only then takes its name. Readers skip hidden files.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from deepcams_eval import __version__
from deepcams_eval.errors import InputError
from deepcams_eval.fetch.disk import stated_disk

Finish = Callable[[Path], Path]
"""Checks a downloaded file and returns the file to keep: itself, or one made of it beside it."""

_T = TypeVar("_T")
_CHUNK_BYTES = 1 << 15  # what a cut may cost
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 402, 403, 407})
_DAMAGED_AT_MOST = 3


class TransferError(InputError):
    """One file that cannot be had; others of the same server may."""


class UnreachableError(TransferError):
    """A server that does not answer, however often it is asked."""


class RefusedError(InputError):
    """A server that refuses, for a reason that holds for every file: a key, a certificate."""


class StoppedError(InputError):
    """The fetch was stopped while this file was on its way."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

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


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is there.

    Attributes
    ----------
    size : int or None
        Bytes.
    md5 : str or None
        Hexadecimal digits.
    """

    size: int | None = None
    md5: str | None = None


class Transfer:
    """Asks servers, in any number of threads, and waits where they say so.

    Parameters
    ----------
    patience : Patience
    on_bytes : callable, optional
        Called with the bytes of each piece that arrives.
    """

    def __init__(
        self, patience: Patience | None = None, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        self.patience = patience or Patience()
        self._on_bytes = on_bytes
        self._session = requests.Session()
        # Sizes and ranges are those of the file, not of a compressed answer.
        self._session.headers.update(
            {"Accept-Encoding": "identity", "User-Agent": f"deepcams/{__version__}"}
        )
        self._stopping = threading.Event()
        self._not_before = 0.0

    def stop(self) -> None:
        """Make every thread end at its next piece or wait, with `StoppedError`."""
        self._stopping.set()

    def wait(self, seconds: float) -> None:
        """Wait, but for no longer than until `stop`.

        Raises
        ------
        StoppedError
        """
        if self._stopping.wait(max(0.0, seconds)):
            raise StoppedError("stopped")

    def persist(
        self, what: str, ask: Callable[[], _T], *, size: Callable[[], int] = lambda: 0
    ) -> _T:
        """Return what `ask` returns, asking again after failures that may pass.

        Parameters
        ----------
        what : str
            The thing asked for, in messages; no secret.
        ask : callable
            Raises `requests.RequestException` when it fails.
        size : callable
            How far the work has come; failures are counted from zero when it grows.

        Raises
        ------
        TransferError
            If it is not there, or the server gave no answer.
        RefusedError
            If a key or a certificate is not accepted.
        StoppedError
        """
        failures, best = 0, size()
        while True:
            self.wait(self._not_before - time.monotonic())
            try:
                return ask()
            except requests.RequestException as error:
                failures += 1
                if size() > best:
                    failures, best = 1, size()
                self._after(what, error, failures)

    def _after(self, what: str, error: requests.RequestException, failures: int) -> None:
        """Wait after a failure, or raise what it amounts to."""
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
        transient = status in _AGAIN or isinstance(
            error,
            requests.ConnectionError
            | requests.Timeout
            | requests.exceptions.ChunkedEncodingError
            | requests.exceptions.ContentDecodingError,
        )
        reason = f"status {status}" if status else _kind(error)
        if not transient:
            raise TransferError(f"cannot be had ({reason})", path=what) from None
        if failures >= self.patience.attempts:
            raise UnreachableError(f"given up after {failures} failures ({reason})", path=what)
        asked = _retry_after(response)
        if asked > self.patience.longest_asked_wait_s:
            raise UnreachableError(
                f"the server asks to come back in {asked:.0f} s ({reason})", path=what
            )
        pause = min(self.patience.first_wait_s * 2 ** (failures - 1), self.patience.longest_wait_s)
        if asked > 0:
            # One answer speaks for all threads: they are one visitor to the server.
            self._not_before = max(self._not_before, time.monotonic() + asked)
        self.wait(max(pause, asked))

    def read(self, url: str) -> bytes:
        """Return a small answer as it comes.

        Raises
        ------
        TransferError, RefusedError, StoppedError
        """

        def ask() -> bytes:
            with self._session.get(url, timeout=self.patience.timeout_s) as response:
                response.raise_for_status()
                body = response.content
            self._count(len(body))
            return body

        return self.persist(shown(url), ask)

    def get(
        self, url: str, target: Path, *, expected: Expected | None = None, finish: Finish = Path
    ) -> int:
        """Download `url` to `target`, whole and checked, and return the bytes of the file kept.

        Parameters
        ----------
        url : str
        target : Path
            Replaced if it is there. Its folder is made.
        expected : Expected, optional
        finish : callable
            See `Finish`; what it raises of `InputError` is a damaged file, which is asked for
            again, three times in all.

        Raises
        ------
        TransferError, RefusedError, StoppedError
        InputError
            If it cannot be written.
        """
        part = _Part(url, target, expected or Expected())
        with stated_disk(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            for turns_left in reversed(range(_DAMAGED_AT_MOST)):
                self.persist(shown(url), lambda: self._extend(part), size=part.size)
                try:
                    part.check()
                    kept = finish(part.path)
                    break
                except InputError as error:
                    part.drop()
                    if not turns_left:
                        raise TransferError(
                            f"came damaged {_DAMAGED_AT_MOST} times: {error.problem}",
                            path=shown(url),
                        ) from error
            return self._place(kept, part, target)

    def _place(self, kept: Path, part: _Part, target: Path) -> int:
        size = kept.stat().st_size
        with kept.open("rb") as stream:
            # A name must not outlive its bytes when the power fails.
            os.fsync(stream.fileno())
        kept.replace(target)
        part.drop()
        return size

    def _extend(self, part: _Part) -> None:
        """Fetch what the partial file lacks; raise if the body ends early."""
        headers = part.resume_headers()
        if headers is None:
            return
        with self._session.get(
            part.url, headers=headers, stream=True, timeout=self.patience.timeout_s
        ) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                part.drop()
                raise requests.ConnectionError("the server has another file now")
            response.raise_for_status()
            with part.open(response) as stream:
                for piece in response.iter_content(_CHUNK_BYTES):
                    stream.write(piece)
                    self._count(len(piece))
                    if self._stopping.is_set():
                        raise StoppedError("stopped")
        if part.total is not None and part.size() < part.total:
            raise requests.ConnectionError(f"cut short: {part.size()} of {part.total} bytes")

    def _count(self, count: int) -> None:
        if self._on_bytes is not None:
            self._on_bytes(count)


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
        """Return the headers of a request for the rest, or None if nothing is lacking."""
        size = self.size()
        if size == 0:
            return {}
        if self._expected.size is not None and size >= self._expected.size:
            return None
        validator = self._validator()
        if validator is None and self._expected.md5 is None:
            return {}
        headers = {"Range": f"bytes={size}-"}
        if validator is not None:
            headers["If-Range"] = validator
        return headers

    def _validator(self) -> str | None:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        known = isinstance(note, dict) and note.get("url") == shown(self.url)
        return str(note["validator"]) if known and note.get("validator") else None

    @contextmanager
    def open(self, response: requests.Response) -> Iterator[BinaryIO]:
        """Open the partial file where the answer goes on, or afresh."""
        length = response.headers.get("Content-Length")
        first, total = _content_range(response)
        if response.status_code == requests.codes.partial_content and first != self.size():
            self.drop()
            raise requests.ConnectionError("the server sent another part than the one asked for")
        goes_on = first is not None
        if goes_on:
            self.total = total
        else:
            self.total = int(length) if length and length.isdigit() else self._expected.size
            tag = response.headers.get("ETag", "")
            strong = tag if tag and not tag.startswith("W/") else ""
            validator = strong or response.headers.get("Last-Modified", "")
            self.path.unlink(missing_ok=True)
            self._note.write_text(
                json.dumps({"url": shown(self.url), "validator": validator}), encoding="utf-8"
            )
        with self.path.open("ab" if goes_on else "wb") as stream:
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


def _retry_after(response: requests.Response | None) -> float:
    text = "" if response is None else response.headers.get("Retry-After", "")
    if not text:
        return 0.0
    try:
        return max(0.0, Retry().parse_retry_after(text))
    except InvalidHeader:
        return 0.0


def _kind(error: requests.RequestException) -> str:
    """Return what kind of failure it was; the text of such errors holds whole addresses."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, requests.ConnectionError):
        cut = "cut short" in str(error)
        return "the connection was cut" if cut else "no connection"
    return type(error).__name__
