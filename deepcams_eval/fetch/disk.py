"""The folder that a fetch writes to: room, one fetch at a time, and what the disk says."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepcams_eval.errors import InputError

_SPARE_BYTES = 100 * 2**20


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
    """Turn what the disk says when a file cannot be written into one line.

    Raises
    ------
    InputError
    """
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
        If another fetch is at work there.
    """
    with stated_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".fetch.lock").open("a")
    with lock:
        if sys.platform != "win32":
            import fcntl  # not on Windows, where two fetches are not kept apart

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    "another fetch is at work in this folder", path=folder, hint="wait for it"
                ) from None
        yield
