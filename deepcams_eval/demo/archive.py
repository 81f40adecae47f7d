"""The synthetic archive as a folder: made once, kept in a cache."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.folder import CACHE_VARIABLE, cache_folder
from deepcams_eval.demo.faults import KEPT, REPEATS, make_records
from deepcams_eval.demo.nature import HourlyMaps, NatureRun
from deepcams_eval.demo.openaq_files import write_block, write_stations
from deepcams_eval.demo.products import round_bits, write_products
from deepcams_eval.demo.settings import ARCHIVE_VERSION, GENERATOR_VERSION, DemoSettings
from deepcams_eval.demo.stations import LATE_SHIFT_H, PROVIDERS, Station, make_stations, report
from deepcams_eval.errors import DeepcamsError, InputError

MANIFEST = "demo.json"
PLANTED_COLUMNS = ("station_id", "sensor_id", "time_end", "value", "fault", "clean", "truth")

Progress = Callable[[int, int], None]


def demo_archive(
    settings: DemoSettings | None = None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    workers: int = 2,
) -> Path:
    """Return the folder of the synthetic archive, making it if it is not in the cache.

    The folder has the standard layout (``openaq/``, ``cams/``, ``geoscf/``, ``deepcams/``), with
    ``deepcams_without/`` beside it (a product like that in ``deepcams/`` whose detail is wrong),
    ``truth/`` (tracer, wind, what stations should have reported, ``planted.parquet``) and
    ``demo.json``, which says ``"synthetic": true`` and how many of each fault were planted.

    Parameters
    ----------
    settings : DemoSettings, optional
    cache : Path, optional
        Folder of archives; default ``$DEEPCAMS_CACHE``, else ``deepcams`` in
        ``$XDG_CACHE_HOME`` or ``~/.cache``. The archive's name in it depends on the settings and
        the version of the generator.
    progress : callable, optional
        Called with the number of blocks done and their total; not at all on a hit.
    workers : int
        Processes; the files do not depend on it. With 1, no process is started.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the cache cannot be written to.
    """
    settings = DemoSettings() if settings is None else settings
    folder = cache_folder() if cache is None else cache
    root = folder / settings.key
    if is_demo(root):
        return root
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{settings.key}-", dir=folder, ignore_cleanup_errors=True
        ) as name:
            work = Path(name) / "work"
            work.mkdir()
            _make(work, settings, progress, workers)
            try:
                work.rename(root)
            except OSError:
                if not is_demo(root):  # another call was faster
                    raise
    except OSError as error:
        raise InputError(
            f"the demo archive cannot be written ({error.strerror or error})",
            path=folder,
            hint=f"free some space, or name another folder in ${CACHE_VARIABLE}",
        ) from error
    return root


def is_demo(root: Path) -> bool:
    """Return whether `root` is a synthetic archive: its ``demo.json`` says so."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("synthetic") is True


def make_block(folder: Path, settings: DemoSettings, number: int) -> None:
    """Write all files of one block of days, and a part of the tables, under `folder`."""
    block = settings.blocks[number]
    raw = NatureRun(settings, block).run()
    # Rounded before anything is derived, so that files agree with one another to the bit.
    maps = HourlyMaps(round_bits(raw.instant), round_bits(raw.mean), raw.u, raw.v)
    write_products(folder, settings, block, maps)
    reports = report(settings, block, make_stations(settings), maps.mean)
    records = make_records(settings, block, reports)
    cut = settings.faults and number in (0, len(settings.blocks) // 2)
    notes, cut_rows = write_block(folder / "openaq", block, reports, records, cut=cut)
    records.loc[cut_rows, "fault"] = "cut_file"
    part = folder / "parts" / block.name
    part.mkdir(parents=True)
    _identified(records, reports.stations).to_parquet(part / "records.parquet", index=False)
    notes["stuck_runs"] = int(records["station"][records["fault"] == "stuck"].nunique())
    (part / "notes.json").write_text(json.dumps(notes), encoding="utf-8")


def _identified(records: pd.DataFrame, stations: Sequence[Station]) -> pd.DataFrame:
    place = records["station"].to_numpy()
    result = records.drop(columns="station")
    result.insert(0, "station_id", np.array([one.station_id for one in stations])[place])
    result.insert(1, "sensor_id", np.array([one.sensor_name for one in stations])[place])
    return result


def _make(work: Path, settings: DemoSettings, progress: Progress | None, workers: int) -> None:
    total = len(settings.blocks)
    lock, done = threading.Lock(), itertools.count(1)

    def tell() -> None:
        with lock:
            if progress is not None:
                progress(next(done), total)

    if workers <= 1 or total == 1:
        for number in range(total):
            make_block(work, settings, number)
            tell()
    else:
        shares = [list(range(first, total, workers)) for first in range(min(workers, total))]
        with ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(lambda share: _work(work, settings, share, tell), shares))
    _finish(work, settings)


def _work(work: Path, settings: DemoSettings, numbers: list[int], tell: Any) -> None:
    """Make blocks in a process of its own.

    A plain command rather than a pool: it needs no guard in the caller's main module, and no fork
    of a process that may have threads.
    """
    command = [sys.executable, "-m", "deepcams_eval.demo", str(work), settings.to_json()]
    search = os.pathsep.join(path for path in sys.path if path)
    # One thread each: the processes share the cores already.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *map(str, numbers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, "PYTHONPATH": search},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for _ in process.stdout:
                tell()
            complaint = process.stderr.read().strip()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = complaint.splitlines() or [f"exit status {process.returncode}"]
        raise DeepcamsError(f"the demo archive could not be made: {lines[-1]}")


def _finish(work: Path, settings: DemoSettings) -> None:
    """Join the parts of the blocks into tables and write the manifest last."""
    stations = make_stations(settings)
    write_stations(work / "openaq" / "stations.csv", stations)
    parts = [work / "parts" / block.name for block in settings.blocks]
    records = pd.concat([pd.read_parquet(part / "records.parquet") for part in parts])
    notes = [json.loads((part / "notes.json").read_text(encoding="utf-8")) for part in parts]
    shutil.rmtree(work / "parts")
    faulty = records[records["fault"] != ""]
    faulty[list(PLANTED_COLUMNS)].to_parquet(work / "truth" / "planted.parquet", index=False)
    kept = records[~records["fault"].isin(REPEATS)]
    kept.to_parquet(work / "truth" / "stations.parquet", index=False)
    counts = faulty["fault"].value_counts().sort_index()
    manifest = {
        "synthetic": True,
        "generator_version": GENERATOR_VERSION,
        "archive_version": ARCHIVE_VERSION,
        "settings": dataclasses.asdict(settings),
        "planted": {str(fault): int(count) for fault, count in counts.items()},
        "kept_by_quality_control": list(KEPT),
        "stuck_runs": sum(note["stuck_runs"] for note in notes),
        "files_cut_short": [f"openaq/{name}" for note in notes for name in note["cut_short"]],
        "files_with_two_offsets": sum(note["two_offsets"] for note in notes),
        "station_files": sum(note["files"] for note in notes),
        "records": len(records),
        "stations": len(stations),
        "late_provider": next(item.name for item in PROVIDERS if item.shift_h),
        "late_by_hours": LATE_SHIFT_H,
        "providers": sorted({station.provider.name for station in stations}),
        "duplicate_monitors": [
            [stations[station.original].station_id, station.station_id]
            for station in stations
            if station.original >= 0
        ],
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (work / MANIFEST).write_text(text, encoding="utf-8")
