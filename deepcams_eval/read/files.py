"""Files as a user names them: finding them, their checked text, and their columns."""

from __future__ import annotations

import glob
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepcams_eval.errors import InputError, NoDataError

_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


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
        named: dict[str, str] = {}
        for match in matching(Path(path)):
            named.update(_walk(match) if match.is_dir() else [(str(match.resolve()), str(match))])
        if not named:
            raise NoDataError("holds no files", path=path, hint="name a folder of OpenAQ files")
        found.update(named)
    if leave_out is not None:
        found.pop(str(leave_out.resolve()), None)
    return [found[identity] for identity in sorted(found)]


def matching(path: Path, hint: str = "check the path") -> list[Path]:
    """Return the path itself, or what it matches as a pattern.

    Raises
    ------
    InputError
        If there is no such path and it is no pattern; `hint` is the next step.
    """
    if path.exists():
        return [path]
    if not glob.has_magic(str(path)):
        raise InputError("no such file or folder", path=path, hint=hint)
    # Path.glob cannot take a pattern that starts at the root.
    return [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207


def _walk(top: Path) -> Iterator[tuple[str, str]]:
    """Yield each file below a folder: its resolved path, and the one the user would write."""
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
                yield f"{resolved}{below}{os.sep}{name}", f"{folder}{os.sep}{name}"


def read_text(path: str) -> bytes:
    """Return the content of a file as `checked_text`; `InputError` if it cannot be opened."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(error.strerror or "cannot be opened", path=path) from error
    return checked_text(data, path)


def checked_text(data: bytes, path: str) -> bytes:
    """Return plain or gzipped text as UTF-8 without byte order mark, CRLF made LF.

    Raises
    ------
    InputError
        If the gzip stream is cut short or fails its checksum, or what it holds is empty, a web
        page or not UTF-8 text.
    """
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


def known_columns(names: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return where known columns stand, each by the first of its aliases that is there."""
    plain = [normalised(name) for name in names]
    return {
        field: next(plain.index(alias) for alias in known if alias in plain)
        for field, known in aliases.items()
        if not set(known).isdisjoint(plain)
    }


def normalised(column: str) -> str:
    """Return a column name in lower case without separators: ``is_monitor`` as ``isMonitor``."""
    return "".join(letter for letter in column.lower() if letter.isalnum())


def reason_of(error: InputError) -> str:
    """Return what an error says without the path, which stands beside it."""
    return error.problem if error.hint is None else f"{error.problem}; {error.hint}"
