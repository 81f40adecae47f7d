"""Writing a report folder whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepcams_eval.errors import InputError

RUN_FILE = "run.json"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` that takes its place when the block succeeds.

    If the block fails or is interrupted, the temporary folder is removed and `target` is as it
    was. An earlier report at `target` is replaced; anything else there is refused.

    Raises
    ------
    InputError
        If `target` is a file, or a folder with content that is no earlier report.
    """
    refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    work.chmod(0o755)
    try:
        yield work
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            target.rename(old / target.name)
            work.rename(target)
            shutil.rmtree(old)
        else:
            work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def refuse_foreign(target: Path) -> None:
    """Raise `InputError` if `target` holds something that is no earlier report."""
    if target.is_dir() and (not any(target.iterdir()) or (target / RUN_FILE).is_file()):
        return
    if target.exists():
        raise InputError(
            "exists and is no earlier report, so it is not overwritten",
            path=target,
            hint="name a new folder with --out",
        )
