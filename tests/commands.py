"""Commands called in this process, where it takes longer to import what they need than to run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO

import pytest

from deepcams_eval.errors import DeepcamsWarning


def call(
    main: Callable[[], None], arguments: Sequence[str | Path], *, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Return what a process of `main` with these arguments would print, and its exit status.

    An error that the command does not state is raised, and so is a warning of anybody else.
    """
    words = ["deepcams", *map(str, arguments)]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default", DeepcamsWarning)
        patch.chdir(cwd)
        patch.setattr(sys, "argv", words)
        patch.setenv("COLUMNS", "200")
        status = 0
        with _standard_streams(out, err):
            try:
                main()
            except SystemExit as stop:
                status = int(stop.code or 0)
        printed = [stream.seek(0) or stream.read() for stream in (out, err)]
    return subprocess.CompletedProcess(words, status, *printed)


@contextmanager
def _standard_streams(out: IO[str], err: IO[str]) -> Iterator[None]:
    """Send into two files what Python prints, and what libraries in C do."""
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number, stream in enumerate((out, err), start=1):
            os.dup2(stream.fileno(), number)
        with redirect_stdout(out), redirect_stderr(err):
            yield
        out.flush()
        err.flush()
    finally:
        for number, old in enumerate(kept, start=1):
            os.dup2(old, number)
            os.close(old)
