"""Months already scored, kept on disk so that an interrupted run can be resumed."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.bench.frame_scores import TileSums
from deepcams_eval.bench.month import Key, Largest, MonthResult
from deepcams_eval.bench.spectra import SpectralSums
from deepcams_eval.core.folder import whole_file
from deepcams_eval.errors import DeepcamsWarning, InputError

_SETTINGS = "settings.json"
_ENDINGS = ("json", "npz", "parquet")
_ERROR, _TILES, _HOURS = "error", "tiles", "hours"
_ANEW = "run without --resume to start anew"

_DAMAGED = (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile)
"""What reading a file raises that was cut off or holds something else."""

Inputs = tuple[tuple[Path, ...], ...]
"""The files of each input of a run; a folder, such as a Zarr store, stands for the files in it."""


def states(inputs: Inputs) -> list[list[list[object]]]:
    """Return path, size and time of change (ns) of each file of each input.

    A file that changes before an interrupted run is resumed shows here without being read.
    """
    found: list[list[list[object]]] = []
    for paths in inputs:
        inner = ([path] if path.is_file() else sorted(path.rglob("*")) for path in paths)
        stats = [(path, path.stat()) for path in chain(*inner) if path.is_file()]
        found.append([[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in stats])
    return found


@dataclass(frozen=True)
class MonthStore:
    """A folder of months that are done.

    A month counts as done when the last of its files, ``YYYY-MM.json``, is there.

    Attributes
    ----------
    folder : Path
        Beside the report, so that workers that share its disk can write there.
    """

    folder: Path

    @classmethod
    def beside(cls, out: Path) -> MonthStore:
        """Return the folder that belongs to the report `out`."""
        out = out.resolve()
        return cls(out.parent / f".{out.name}.months")

    def start(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder ready, empty unless an interrupted run is resumed.

        Raises
        ------
        InputError
            If `resume` and the months there were made with other settings or inputs, or if the
            folder holds something else than months.
        """
        text = json.dumps(settings, indent=1, sort_keys=True, default=str)
        kept = self.folder / _SETTINGS
        if resume and kept.exists():
            before, now = self._before(), json.loads(text)
            changed = sorted(
                key for key in before.keys() | now.keys() if before.get(key) != now.get(key)
            )
            if changed:
                raise InputError(
                    f"the interrupted run differs in {', '.join(changed)}",
                    path=self.folder,
                    hint=f"repeat its settings, or {_ANEW}",
                )
            return
        if self.folder.exists() and not self._own():
            raise InputError(
                "is in the way: it holds no months of a simulation",
                path=self.folder,
                hint="move it, or name another --out",
            )
        self.remove()
        self.folder.mkdir(parents=True)
        with whole_file(kept) as work:
            work.write_text(text, encoding="utf-8")

    def check(self, months: Sequence[str]) -> None:
        """Forget the months of which a file is damaged, so that they are scored again.

        Warns
        -----
        DeepcamsWarning
            For each of them.
        """
        for month in months:
            if not self.has(month):
                continue
            try:
                self.read(month)
            except _DAMAGED as error:
                warnings.warn(
                    f"{self.folder}: {month} is damaged ({type(error).__name__}) and scored again",
                    DeepcamsWarning,
                    stacklevel=2,
                )
                for ending in _ENDINGS:
                    self._file(month, ending).unlink(missing_ok=True)

    def any(self) -> bool:
        """Return whether a month is done."""
        return any(path.name != _SETTINGS for path in self.folder.glob("[!.]*.json"))

    def has(self, month: str) -> bool:
        """Return whether a month is done."""
        return self._file(month, "json").exists()

    def write(self, month: str, result: MonthResult) -> None:
        """Keep a month."""
        arrays: dict[str, Any] = {
            **{f"{_ERROR}/{_name(key)}": maps for key, maps in result.square_error.items()},
            **{f"{_HOURS}/{_name(key)}": tiles.hours for key, tiles in result.tiles.items()},
            **{f"{_TILES}/{_name(key)}": tiles.sums for key, tiles in result.tiles.items()},
        }
        counts = {
            "power": {
                _name(key): [one.rows, one.left_out, one.truth.tolist(), one.estimate.tolist()]
                for key, one in result.power.items()
            },
            "short": dict(result.short),
            "largest": {
                task: [one.difference, str(one.time), one.row, one.column]
                for task, one in result.largest.items()
            },
        }
        with whole_file(self._file(month, "parquet")) as work:
            result.samples.to_parquet(work, index=False)
        with whole_file(self._file(month, "npz")) as work, work.open("wb") as stream:
            np.savez(stream, **arrays)
        with whole_file(self._file(month, "json")) as work:
            work.write_text(json.dumps(counts), encoding="utf-8")

    def read(self, month: str) -> MonthResult:
        """Return a month that is done."""
        counts = json.loads(self._file(month, "json").read_text(encoding="utf-8"))
        result = MonthResult(
            samples=pd.read_parquet(self._file(month, "parquet")),
            power={
                _key(name): SpectralSums(rows, left_out, np.array(truth), np.array(estimate))
                for name, (rows, left_out, truth, estimate) in counts["power"].items()
            },
            short=Counter(counts["short"]),
            largest={
                task: Largest(difference, np.datetime64(time), row, column)
                for task, (difference, time, row, column) in counts["largest"].items()
            },
        )
        with self._file(month, "npz").open("rb") as stream, np.load(stream) as arrays:
            for path in arrays.files:
                kind, _, name = path.partition("/")
                if kind == _ERROR:
                    result.square_error[_key(name)] = arrays[path]
                elif kind == _TILES:
                    result.tiles[_key(name)] = TileSums(arrays[f"{_HOURS}/{name}"], arrays[path])
        return result

    def remove(self) -> None:
        """Forget all months."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def discard(self) -> None:
        """Forget all months, if these are months."""
        if self.folder.exists() and self._own():
            self.remove()

    def _file(self, month: str, ending: str) -> Path:
        return self.folder / f"{month}.{ending}"

    def _before(self) -> dict[str, Any]:
        """Return the settings that the months were made with."""
        kept = self.folder / _SETTINGS
        try:
            before = json.loads(kept.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError("is damaged", path=kept, hint=_ANEW) from error
        if not isinstance(before, dict):
            raise InputError("holds no settings of a simulation", path=kept, hint=_ANEW)
        return before

    def _own(self) -> bool:
        """Return whether the folder is one of months, if only begun."""
        if not self.folder.is_dir():
            return False
        names = {path.name for path in self.folder.iterdir()}
        return _SETTINGS in names or all(name.endswith(f"-{_SETTINGS}") for name in names)


def _name(key: Key) -> str:
    return "/".join(key)


def _key(name: str) -> Key:
    task, _, method = name.partition("/")
    return task, method
