"""What ``run.json`` says of a run: versions, inputs with their hashes, time and memory."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

MAX_LISTED = 500
"""More input files than this are hashed all the same, but listed by folder only."""

_PACKAGES = ("numpy", "pandas", "xarray", "dask", "polars", "scipy", "matplotlib", "deepcams")


def versions() -> dict[str, str]:
    """Return the version of Python and of the packages that shape a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def commit() -> str | None:
    """Return the commit of the source tree that the package runs from; None if installed."""
    source = Path(__file__).resolve().parents[1]
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


def peak_memory_bytes() -> int:
    """Return the largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def hash_inputs(files: Iterable[Path]) -> dict[str, Any]:
    """Return SHA-256 of the inputs: of every file, or of each folder where they are many.

    Parameters
    ----------
    files : iterable of Path
        Files, or folders such as Zarr stores, whose files are hashed one by one.

    Returns
    -------
    dict
        ``count``, ``bytes``, ``sha256`` (of the sorted list of all hashes, so that one value
        stands for the whole input) and ``files`` (up to `MAX_LISTED`: path, bytes, sha256).
    """
    entries = [_entry(path) for path in _expand(sorted(set(files)))]
    whole = hashlib.sha256("\n".join(sorted(entry["sha256"] for entry in entries)).encode())
    return {
        "count": len(entries),
        "bytes": sum(entry["bytes"] for entry in entries),
        "sha256": whole.hexdigest(),
        "files": entries if len(entries) <= MAX_LISTED else [],
    }


def _expand(paths: Sequence[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(inner for inner in path.rglob("*") if inner.is_file())
        else:
            yield path


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest}
