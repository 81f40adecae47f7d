"""What ``run.json`` says of a run: versions, inputs with their hashes, time and memory."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

MAX_LISTED = 200
"""More files than this in one input are hashed all the same, but listed as one entry."""

_PACKAGES = ("numpy", "pandas", "xarray", "dask", "polars", "scipy", "matplotlib", "deepcams")


def basis(command: str, *, synthetic: bool | None = None) -> dict[str, Any]:
    """Return how ``run.json`` begins: the command, versions, commit and device."""
    said: dict[str, Any] = {} if synthetic is None else {"synthetic": synthetic}
    return {
        "command": command,
        **said,
        "versions": versions(),
        "commit": commit(),
        "device": device(),
    }


def cost(clock_start: float) -> dict[str, Any]:
    """Return the time since `clock_start`, of `time.perf_counter`, and the memory taken so far."""
    seconds = round(time.perf_counter() - clock_start, 2)
    return {"wall_time_s": seconds, "peak_rss_bytes": peak_rss_bytes()}


def versions() -> dict[str, str]:
    """Return the version of Python and of the packages that shape a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def commit() -> str | None:
    """Return the commit of the source tree that the package runs from; None if installed."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    asked = subprocess.run(
        ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def device() -> str:
    """Return the processor in words."""
    return f"{platform.machine()} CPU, {cores()} cores, {platform.system()}"


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_rss_bytes() -> int:
    """Return the largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def hash_inputs(inputs: Iterable[Sequence[Path]]) -> list[dict[str, Any]]:
    """Return path, bytes and SHA-256 of every input file.

    Parameters
    ----------
    inputs : iterable of sequence of Path
        The files of each input; a folder such as a Zarr store stands for the files in it.

    Returns
    -------
    list of dict
        ``path``, ``bytes`` and ``sha256`` of each file, each file once. An input of more than
        `MAX_LISTED` files is one entry: the folder that holds them all, ``files`` (their
        number), the sum of ``bytes``, and the SHA-256 of the list of their relative paths and
        hashes, one ``hash  path`` a line as sha256sum prints them, sorted by path.
    """
    entries: dict[str, dict[str, Any]] = {}
    for files in inputs:
        expanded = sorted(set(_expand(files)))
        listed = [_entry(path) for path in expanded]
        if len(listed) > MAX_LISTED:
            listed = [_combined(expanded, listed)]
        entries |= {entry["path"]: entry for entry in listed}
    return list(entries.values())


def _combined(paths: Sequence[Path], entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    folder = Path(os.path.commonpath(paths))
    lines = [
        f"{entry['sha256']}  {path.relative_to(folder)}\n"
        for path, entry in zip(paths, entries, strict=True)
    ]
    return {
        "path": str(folder),
        "files": len(entries),
        "bytes": sum(entry["bytes"] for entry in entries),
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }


def _expand(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (inner for inner in path.rglob("*") if inner.is_file())
        else:
            yield path


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest}
