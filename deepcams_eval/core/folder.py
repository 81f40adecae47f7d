"""Writing files and report folders whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepcams_eval.errors import InputError

RUN_FILE = "run.json"
CACHE_VARIABLE = "DEEPCAMS_CACHE"
_ELSEWHERE = "name another place with --out"


def cache_folder() -> Path:
    """Return where caches are kept: ``$DEEPCAMS_CACHE``, else the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deepcams"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` that takes its place when the block succeeds.

    If the block fails or is interrupted, the temporary folder is removed and `target` is as it
    was. An earlier report at `target` is replaced; anything else there is refused. A link is
    followed: the folder that it names is replaced, not the link.

    Raises
    ------
    InputError
        As `check_target`.
    """
    target = target.resolve()
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Both lie beside the target, so that the last step is a rename on one disk.
    prefix, beside = f".{target.name}-", target.parent
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=beside, ignore_cleanup_errors=True) as new,
        tempfile.TemporaryDirectory(prefix=prefix, dir=beside, ignore_cleanup_errors=True) as past,
    ):
        work, old = Path(new) / "new", Path(past) / target.name
        work.mkdir()
        try:
            yield work
            if target.exists():
                target.rename(old)
            work.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise


def write_whole(target: Path, write: Callable[[Path], None]) -> Path:
    """Write a report into `target` by `write`, whole or not at all, and return its page.

    Raises
    ------
    InputError
        As `check_target`.
    """
    with whole_folder(target) as work:
        write(work)
    return target / "report.html"


def check_target(target: Path) -> None:
    """Check that a report can be written at `target`, before any work is done.

    Raises
    ------
    InputError
        If `target` is a file, or a folder that holds anything but an earlier report, or if no
        folder can be made there.
    """
    target = target.resolve()
    if target.exists() and not _is_report(target):
        raise InputError(
            "exists and is no earlier report alone, so it is not overwritten",
            path=target,
            hint=_ELSEWHERE,
        )
    parent = next(folder for folder in target.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(
            f"cannot be made: {parent} is no folder to write to", path=target, hint=_ELSEWHERE
        )
    if target == Path.cwd():
        raise InputError("is the folder that the command runs in", path=target, hint=_ELSEWHERE)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a path beside `target` that takes its place when the block succeeds.

    If the block fails or is interrupted, what was written is removed and `target` is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(f"-{target.name}", ".", target.parent)
    os.close(handle)
    work = Path(name)
    try:
        yield work
        work.chmod(0o644)
        with work.open("rb") as stream:
            os.fsync(stream.fileno())
        work.replace(target)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write ``run.json``, the last file of a report, with the names of all that lies beside it.

    Those names, ``outputs``, are what a later run may replace.
    """
    names = sorted({RUN_FILE, *(path.name for path in folder.iterdir())})
    text = json.dumps({**run, "outputs": names}, indent=2, default=_plain)
    (folder / RUN_FILE).write_text(text + "\n", encoding="utf-8")


def _is_report(folder: Path) -> bool:
    """Return whether a folder is empty, or holds nothing but what its run.json lists."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    if not names:
        return True
    try:
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(run, dict) and names <= set(run.get("outputs", ()))


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, frozenset | set | tuple):
        return sorted(value)
    raise TypeError(f"{value!r} has no place in {RUN_FILE}")
