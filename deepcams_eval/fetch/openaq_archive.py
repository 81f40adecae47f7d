"""The public OpenAQ archive on S3: listing by prefix, and many objects in flight."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import (
    DAMAGED_AT_MOST,
    Failure,
    Retries,
    RetryPolicy,
    TransferError,
)
from deepcams_eval.read.files import reason_of
from deepcams_eval.read.openaq_text import TextFile, decode

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config

ARCHIVE = "s3://openaq-data-archive"
IN_FLIGHT, IN_FLIGHT_ON_DISK = 256, 1
"""Requests under way at a time: of a server, and of a disk, which is not waited for."""

_REGION = "us-east-1"
_PREFIX = "records/csv.gz"
_KEY = re.compile(
    _PREFIX + r"/locationid=(\d+)/year=\d{4}/month=\d{2}/location-(\d+)-(\d{8})\.csv\.gz"
)
_THROTTLED = re.compile(r"\b(429|503)\b|SlowDown|Too Many Requests")
_KINDS = {
    "imed out": "no answer in time",
    "timeout": "no answer in time",
    "certificate": "the certificate of the server is not trusted",
    "403": "access is refused",
    "429": "too many requests",
    "503": "the server is busy",
    "onnection refused": "no connection",
    "dns error": "no such host",
    "error sending request": "no connection",
    "error decoding response body": "the connection was cut",
}
"""What kind of failure it was, by what its text holds; the first counts."""

_ABSENT = (NotFoundError, FileNotFoundError)
_REFUSALS = (PermissionDeniedError, UnauthenticatedError, PermissionError)

_T = TypeVar("_T")
_R = TypeVar("_R")


class Listed(NamedTuple):
    """An object as the archive lists it.

    `day` is that of its name (the station's own clock) as one number, 20180131; `etag` is without
    quotation marks.
    """

    key: str
    location: int
    day: int
    size: int
    etag: str
    last_modified: datetime


class Answer(NamedTuple):
    """An object as it was when it came, and its decoded text; None if it cannot be had, and why."""

    listed: Listed
    text: TextFile | None
    reason: str = ""


class Archive:
    """The archive at an address, asked by many threads at a time.

    A thread that waits for an answer costs next to nothing, and for objects of 500 bytes threads
    take a quarter of the processor time that awaiting each answer in one event loop does.

    Parameters
    ----------
    address : str
        ``s3://BUCKET``, ``http[s]://HOST[:PORT]/BUCKET`` for another server that speaks S3, or
        ``file:///FOLDER`` for a copy on disk. Requests are anonymous.
    in_flight : int, optional
        Requests under way at a time; `IN_FLIGHT` or `IN_FLIGHT_ON_DISK` if absent.
    policy : RetryPolicy, optional
    check : callable, optional
        Raises `InputError` for a decoded object that is not what it should be.

    Raises
    ------
    InputError
        If the address is none of these.
    """

    def __init__(
        self,
        address: str = ARCHIVE,
        *,
        in_flight: int | None = None,
        policy: RetryPolicy | None = None,
        check: Callable[[TextFile], None] | None = None,
    ) -> None:
        self.address = address
        self._retries = Retries(policy or RetryPolicy())
        self._store = _open(address, self._retries.policy)
        self._check = check
        usual = IN_FLIGHT_ON_DISK if isinstance(self._store, _Folder) else IN_FLIGHT
        self._pool = ThreadPoolExecutor(in_flight or usual, thread_name_prefix="archive")

    def stop(self) -> None:
        """Make every thread end at its next object or wait."""
        self._retries.stop()

    def close(self) -> None:
        """Stop what is under way and end the threads."""
        self.stop()
        self._pool.shutdown(cancel_futures=True)

    def list_objects(
        self, spans: Sequence[tuple[int, int, int | None]]
    ) -> tuple[list[Listed], int]:
        """Return the objects of (location, year, month), sorted by key, a request each or more.

        A month of None is the whole year. Objects that are not named as those of the archive are
        left out; their number comes second.

        Raises
        ------
        InputError
            If the archive cannot be listed.
        """
        answers = self._each(spans, self._list)
        found = sorted(item for items, _ in answers for item in items)
        return found, sum(unknown for _, unknown in answers)

    def fetch(
        self, objects: Sequence[Listed], on_done: Callable[[], None] = lambda: None
    ) -> list[Answer]:
        """Fetch and decode objects, in their order; some may stay damaged or away."""
        return self._each(objects, self._fetch, on_done)

    def _each(
        self,
        items: Sequence[_T],
        work: Callable[[_T], _R],
        on_done: Callable[[], None] = lambda: None,
    ) -> list[_R]:
        def one(item: _T) -> _R:
            self._retries.wait()
            result = work(item)
            on_done()
            return result

        try:
            return list(self._pool.map(one, items))
        except BaseException:
            self.stop()
            raise

    def _list(self, span: tuple[int, int, int | None]) -> tuple[list[Listed], int]:
        location, year, month = span
        prefix = f"{_PREFIX}/locationid={location}/year={year}"
        if month is not None:
            prefix += f"/month={month:02d}"
        try:
            answer = self._retries.persist(prefix, lambda: self._store.list(prefix), _judge)
        except (TransferError, *_ABSENT) as error:
            raise InputError(
                f"cannot be listed: {getattr(error, 'problem', 'there is no such archive')}",
                path=f"{self.address}/{prefix}",
                hint="run the command again: what is complete is kept",
            ) from None
        listed = []
        for meta in answer:
            named = _KEY.fullmatch(meta.key)
            if named is not None and named[1] == named[2] == str(location):
                listed.append(Listed(meta.key, location, int(named[3]), *meta[1:]))
        return listed, len(answer) - len(listed)

    def _fetch(self, listed: Listed) -> Answer:
        try:
            for turn in range(1, DAMAGED_AT_MOST + 1):
                if turn > 1:
                    self._retries.wait(self._retries.policy.first_wait_s)
                meta, body = self._retries.persist(
                    listed.key, lambda: self._store.read(listed.key), _judge
                )
                now = listed if meta.etag == listed.etag else Listed(*listed[:3], *meta[1:])
                try:
                    return Answer(now, self._decoded(now, body))
                except InputError as error:
                    reason = f"came damaged {turn} times: {reason_of(error)}"
        except _ABSENT:
            reason = "it is in the list, but no longer in the archive"
        except TransferError as error:
            reason = error.problem
        return Answer(listed, None, reason)

    def _decoded(self, listed: Listed, body: bytes) -> TextFile:
        if len(body) != listed.size:
            raise InputError(f"{len(body)} bytes, not {listed.size}")
        text = decode(body, listed.key)
        if self._check is not None:
            self._check(text)
        return text


class _Meta(NamedTuple):
    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True)
class _Bucket:
    """A bucket of a server that speaks S3."""

    _store: S3Store

    def list(self, prefix: str) -> list[_Meta]:
        return [_meta(one) for one in self._store.list(prefix, chunk_size=1000).collect()]

    def read(self, key: str) -> tuple[_Meta, bytes]:
        answer = self._store.get(key)
        return _meta(answer.meta), bytes(answer.bytes())


@dataclass(frozen=True)
class _Folder:
    """A copy of a bucket on disk, read without the detour over the threads of a client."""

    _root: Path

    def list(self, prefix: str) -> list[_Meta]:
        found = []
        for folder, _, names in os.walk(self._root / prefix):
            below = Path(folder).relative_to(self._root).as_posix()
            found += [self._meta_of(f"{below}/{name}", Path(folder, name).stat()) for name in names]
        return found

    def read(self, key: str) -> tuple[_Meta, bytes]:
        with (self._root / key).open("rb") as stream:
            return self._meta_of(key, os.fstat(stream.fileno())), stream.read()

    def _meta_of(self, key: str, status: os.stat_result) -> _Meta:
        etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
        changed = datetime.fromtimestamp(status.st_mtime, UTC)
        return _Meta(key, status.st_size, etag, changed)


def _meta(said: ObjectMeta) -> _Meta:
    changed, size = said["last_modified"], int(said["size"])
    # A server without tags still says when an object was changed.
    etag = (said["e_tag"] or f"{changed:%Y%m%dT%H%M%S.%f}-{size}").strip('"')
    return _Meta(said["path"], size, etag, changed)


def _open(address: str, policy: RetryPolicy) -> _Bucket | _Folder:
    parts = urlsplit(address)
    if parts.scheme == "file":
        folder = Path(unquote(parts.path))
        if not folder.is_dir():
            raise InputError("no such copy of the archive", path=folder, hint="check the address")
        return _Folder(folder)
    bucket, _, prefix = parts.path.strip("/").partition("/")
    config: S3Config = {}
    if parts.scheme == "s3":
        bucket, prefix = parts.netloc, parts.path.strip("/")
    elif parts.scheme in ("http", "https"):
        config = {"endpoint": f"{parts.scheme}://{parts.netloc}"}
    if not bucket or parts.scheme not in ("s3", "http", "https"):
        raise InputError(
            f"{address!r} is no address of an archive",
            hint="write s3://BUCKET, https://HOST/BUCKET or file:///FOLDER",
        )
    store = S3Store(
        bucket,
        prefix=prefix or None,
        region=_REGION,
        skip_signature=True,
        virtual_hosted_style_request=False,
        config=config,
        client_options={
            "allow_http": bool(config),
            "timeout": timedelta(seconds=policy.timeout_s),
            "connect_timeout": timedelta(seconds=min(10.0, policy.timeout_s)),
        },
        # Failures are counted and waited for here, where all threads can see them.
        retry_config={
            "max_retries": 1,
            "backoff": {"init_backoff": timedelta(seconds=min(0.1, policy.first_wait_s))},
        },
    )
    return _Bucket(store)


def _judge(error: Exception) -> Failure:
    if isinstance(error, _REFUSALS):
        raise TransferError("the archive refuses access to it") from None
    if isinstance(error, _ABSENT) or not isinstance(error, BaseError | OSError):
        raise error
    return Failure(_kind(error), throttled=bool(_THROTTLED.search(str(error))))


def _kind(error: Exception) -> str:
    """Return what kind of failure it was, in one line."""
    text = str(error)
    known = next((kind for sign, kind in _KINDS.items() if sign in text), None)
    return known or (text.splitlines() or [type(error).__name__])[0][:120]
