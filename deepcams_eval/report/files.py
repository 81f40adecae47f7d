"""The files of a report: tables, figures and the page, written alike whatever is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from deepcams_eval.report import style
from deepcams_eval.report.content import SYNTHETIC
from deepcams_eval.report.tables import Table, write_table

TableFiles = tuple[str, Sequence[Table], pd.DataFrame | None]
"""Name of some files, the tables in them, and what the CSV holds in place of the first of these."""


def write_frames(folder: Path, frames: Mapping[str, pd.DataFrame], *, synthetic: bool) -> None:
    """Write each frame as ``<name>.csv``; one of generated data says so in a column ``data``."""
    for name, frame in frames.items():
        marked = frame.assign(data=SYNTHETIC) if synthetic else frame
        marked.to_csv(folder / f"{name}.csv", index=False)


def write_report(
    folder: Path,
    tables: Sequence[TableFiles],
    drawings: Iterable[style.Drawing],
    count: int,
    page: Callable[[Sequence[style.Picture]], str],
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html``; return every file.

    Parameters
    ----------
    folder : Path
        Exists; the caller renames it when all is done, so files are written in place.
    tables : sequence of TableFiles
        As `deepcams_eval.report.tables.write_table` takes them.
    drawings : iterable of Drawing
        One at a time, so that only one need be held in memory.
    count : int
        How many they are.
    page : callable
        Makes the page out of the pictures, whose images lie in ``figures/``.
    progress : callable, optional
        Called with the number of pieces done and of all pieces.
    """
    total = count + 2
    tell = progress or (lambda _done, _total: None)
    for name in ("tables", "figures"):
        (folder / name).mkdir(exist_ok=True)
    written = [path for one in tables for path in write_table(folder / "tables", *one)]
    tell(1, total)
    pictures: list[style.Picture] = []
    for done, drawing in enumerate(drawings, start=2):
        written += style.save(drawing, folder / "figures")
        pictures.append(drawing)
        tell(done, total)
    path = folder / "report.html"
    path.write_text(page(pictures), encoding="utf-8")
    tell(total, total)
    return [*written, path]
