"""Hashes of inputs against another implementation."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deepcams_eval.core import provenance


def test_few_files_are_listed_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"two")
    store = tmp_path / "store.zarr" / "0"
    store.mkdir(parents=True)
    (store / "c").write_bytes(b"three")
    files = [tmp_path / "b", tmp_path / "store.zarr"]
    entries = provenance.hash_inputs([files, [tmp_path / "b"]])
    assert [Path(one["path"]).name for one in entries] == ["b", "c"]
    for one in entries:
        printed = subprocess.run(
            ["sha256sum", one["path"]], capture_output=True, text=True, check=True
        ).stdout
        assert printed.split()[0] == one["sha256"]


def test_many_files_are_one_entry_that_any_change_changes(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:04d}" for number in range(provenance.MAX_LISTED + 5)]
    for number, path in enumerate(files):
        path.write_text(str(number))
    (entry,) = provenance.hash_inputs([files])
    assert (entry["path"], entry["files"]) == (str(tmp_path), len(files))
    script = "sha256sum * | sha256sum"
    printed = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert printed.split()[0] == entry["sha256"]
    files[7].write_text("changed")
    assert provenance.hash_inputs([files])[0]["sha256"] != entry["sha256"]
