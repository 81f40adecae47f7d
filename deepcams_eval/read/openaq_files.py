"""Files as they lie on disk: finding them, decoding them and telling their form by content."""

from __future__ import annotations

import csv
import glob
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

from deepcams_eval.core.field import DamagedFile
from deepcams_eval.errors import InputError, NoDataError

Form = Literal["csv", "ndjson"]

_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_FILES_PER_CHUNK = 128
_BYTES_PER_CHUNK = 8_000_000

# Names of columns, lower case without separators, most telling first: a file that has both a UTC
# and another time column is read by the UTC one.
_CSV_ALIASES: dict[str, tuple[str, ...]] = {
    "location_id": ("locationid",),
    "sensor_id": ("sensorsid", "sensorid"),
    "name": ("location", "locationname"),
    "city": ("city",),
    "country": ("countrycode", "countryiso", "country"),
    "provider": ("sourcename", "provider", "providername"),
    "time": ("dateutc", "datetimeutc", "utc", "datetime", "date"),
    "latitude": ("lat", "latitude", "coordinateslatitude"),
    "longitude": ("lon", "longitude", "coordinateslongitude"),
    "parameter": ("parameter",),
    "unit": ("units", "unit"),
    "value": ("value",),
    "period": ("averagingperiodvalue",),
    "period_unit": ("averagingperiodunit",),
    "mobile": ("mobile", "ismobile"),
}


@dataclass(frozen=True)
class TextFile:
    """A decoded file: UTF-8 without byte order mark, lines ending in a line feed.

    Attributes
    ----------
    path : str
    form : {"csv", "ndjson"}
    header : bytes
        First line of a CSV file; empty for ndjson.
    body : bytes
        The rest; it ends in a line feed unless it is empty.
    """

    path: str
    form: Form
    header: bytes
    body: bytes


def find_files(paths: Sequence[Path], *, leave_out: Path | None = None) -> list[str]:
    """Return every file that files, folders and globs name, once each, sorted by path.

    Hidden files (a leading dot) inside folders are passed over, and so are folders whose names
    begin with an underscore, which hold what belongs to a tool, and `leave_out`.

    Raises
    ------
    InputError
        If a path does not exist (NoDataError: a folder or glob holds no file).
    """
    if not paths:
        raise InputError("no observations named", hint="give a file, folder or glob")
    found: dict[str, str] = {}
    for path in paths:
        named = {identity: name for name, identity in _files_of(Path(path))}
        if not named:
            raise NoDataError("holds no files", path=path, hint="name a folder of OpenAQ files")
        found.update(named)
    if leave_out is not None:
        found.pop(str(leave_out.resolve()), None)
    return [found[identity] for identity in sorted(found)]


def read_in_order(
    paths: Sequence[str], *, workers: int, progress: Callable[[int, int], None] | None = None
) -> Iterator[TextFile | DamagedFile]:
    """Decode files in a thread pool and yield them in the order of `paths`.

    A few chunks of files are in flight at a time, so memory does not grow with their number.
    """
    chunks = _chunks(paths)
    pending: deque[Future[list[TextFile | DamagedFile]]] = deque()
    done = 0
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        pending.extend(pool.submit(_decode_all, chunk) for chunk in islice(chunks, workers + 1))
        while pending:
            decoded = pending.popleft().result()
            pending.extend(pool.submit(_decode_all, chunk) for chunk in islice(chunks, 1))
            done += len(decoded)
            yield from decoded
            if progress is not None:
                progress(done, len(paths))


def read_text(path: str) -> bytes:
    """Return the whole content of a plain or gzipped text file as checked UTF-8.

    Compression is told by content. A byte order mark is dropped, CRLF becomes LF.

    Raises
    ------
    InputError
        If the file cannot be opened, its gzip stream is cut short or fails its checksum, or what
        it holds is empty, a web page or not UTF-8 text.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(error.strerror or "cannot be opened", path=path) from error
    return _checked_text(data, path)


def _checked_text(data: bytes, path: str) -> bytes:
    if data.startswith(_GZIP_MAGIC):
        data = _gunzip(data, path)
    if not data.strip():
        raise InputError("empty file", path=path)
    if b"\0" in data:
        raise InputError("not a text file", path=path)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start}", path=path) from error
    data = data.removeprefix(_BOM)
    if data.lstrip().startswith(b"<"):
        raise InputError("a web page, not data", path=path, hint="download it again")
    return data.replace(b"\r\n", b"\n") if b"\r" in data else data


def decode(data: bytes, name: str) -> TextFile:
    """Decode the content of an OpenAQ text file, plain or gzipped.

    Parameters
    ----------
    data : bytes
    name : str
        Its path or key.

    Raises
    ------
    InputError
        As `read_text`, or if its header is not that of a table of observations.
    """
    return _recognise(name, _checked_text(data, name))


@lru_cache(maxsize=64)
def column_indices(header: bytes) -> tuple[int, dict[str, int]]:
    """Return the number of columns in a CSV header and where the known ones stand.

    Raises
    ------
    InputError
        If a column that every OpenAQ table has is missing.
    """
    start = header[:60].decode("utf-8", "replace")
    try:
        names = [normalised(name) for name in next(csv.reader([header.decode("utf-8")]))]
    except csv.Error as error:
        raise InputError(f"{start!r} is no header ({error})") from error
    found = {
        field: next(names.index(alias) for alias in aliases if alias in names)
        for field, aliases in _CSV_ALIASES.items()
        if any(alias in names for alias in aliases)
    }
    if "value" not in found and {"latitude", "longitude"} <= found.keys():
        raise InputError("holds stations, not observations", hint="pass it with --stations")
    missing = [name for name in ("time", "parameter", "value") if name not in found]
    if not {"location_id", "name"} & found.keys():
        missing.append("location")
    if missing:
        raise InputError(f"no column for {', '.join(missing)} in the header {start!r}")
    return len(names), found


def normalised(column: str) -> str:
    """Return a column name in lower case without separators: ``is_monitor`` as ``isMonitor``."""
    return "".join(letter for letter in column.lower() if letter.isalnum())


def _files_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each file as the user would write it, and the same resolved."""
    if path.is_dir():
        yield from _walk(path)
    elif path.exists():
        yield str(path), str(path.resolve())
    elif glob.has_magic(str(path)):
        # Path.glob cannot take a pattern that starts at the root.
        for match in map(Path, glob.glob(str(path), recursive=True)):  # noqa: PTH207
            yield from _walk(match) if match.is_dir() else [(str(match), str(match.resolve()))]
    else:
        raise InputError("no such file or folder", path=path, hint="check the path")


def _walk(top: Path) -> Iterator[tuple[str, str]]:
    # Names are joined as text: an archive holds millions of files.
    resolved = str(top.resolve())
    # Archives are often assembled out of links; a loop of links must still end.
    seen: set[tuple[int, int]] = set()
    for folder, inner, names in os.walk(str(top), followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            inner.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        inner[:] = sorted(name for name in inner if not name.startswith((".", "_")))
        below = folder.removeprefix(str(top))
        for name in names:
            if not name.startswith("."):
                yield f"{folder}{os.sep}{name}", f"{resolved}{below}{os.sep}{name}"


def _chunks(paths: Sequence[str]) -> Iterator[list[str]]:
    """Group files so that a task is worth its overhead and yet bounded in memory."""
    chunk: list[str] = []
    size = 0
    for path in paths:
        chunk.append(path)
        size += _size(path)
        if len(chunk) == _FILES_PER_CHUNK or size >= _BYTES_PER_CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0  # reading it will say what is wrong


def _decode_all(paths: list[str]) -> list[TextFile | DamagedFile]:
    return [_decode(path) for path in paths]


def _decode(path: str) -> TextFile | DamagedFile:
    try:
        return _recognise(path, read_text(path))
    except InputError as error:
        return DamagedFile(path, reason_of(error))


def reason_of(error: InputError) -> str:
    """Return what an error says without the path, which stands beside it."""
    return error.problem if error.hint is None else f"{error.problem}; {error.hint}"


def _recognise(path: str, data: bytes) -> TextFile:
    data = data.lstrip()
    if not data.endswith(b"\n"):
        data += b"\n"
    if data.startswith(b"{"):
        if b'"FeatureCollection"' in data[:4096]:
            raise InputError("holds stations, not observations", hint="pass it with --stations")
        return TextFile(path, "ndjson", b"", data)
    header, _, body = data.partition(b"\n")
    column_indices(header)
    if body.count(b'"') % 2:
        # The rows after the open quote would be swallowed, so none of them can be trusted.
        raise InputError("a quotation mark is left open")
    return TextFile(path, "csv", header, body)


def _gunzip(data: bytes, path: str) -> bytes:
    parts = []
    while data:
        stream = zlib.decompressobj(wbits=31)
        try:
            parts.append(stream.decompress(data))
        except zlib.error as error:
            raise InputError(
                f"damaged gzip ({error})", path=path, hint="download it again"
            ) from error
        if not stream.eof:
            raise InputError("truncated gzip", path=path, hint="download it again")
        # A gzip file may hold several members, and tapes pad it with zeros.
        data = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)
