"""One validation against stations, made once: its tables, its figures, its files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from deepcams_eval.core import provenance
from deepcams_eval.core.folder import write_run
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence.questions import sections
from deepcams_eval.evidence.references import Grid
from deepcams_eval.options import SCORING, InsituOptions
from deepcams_eval.report import figures, files, page, tables, wording
from deepcams_eval.report.content import SYNTHETIC, Content, records
from deepcams_eval.report.notebook import MARK, InsituPlots, Saved, as_html
from deepcams_eval.score.metrics import HEADLINE

PAIRS_FILE, STATIONS_FILE = "pairs.parquet", "stations.parquet"
_PRINTED_VERDICTS = ("new information", "analysis hours", "all hours")
"""The others stand on the page and in verdicts.csv."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class InsituRun(Content, Saved):
    """A validation: its tables as data frames, its figures, its files.

    What the report shows of it stands in `deepcams_eval.report.content.Content`: ``scores``,
    ``differences``, ``stations``, ``qc``, ``coverage`` and ``notes``, each as in the
    file of that name.

    Attributes
    ----------
    options : InsituOptions
        What was asked.
    hourly : Pairs
        What was paired, with a column for each reference.
    years_with_data : mapping of str to tuple of int
        The years for which each product exists.
    references : mapping of str to str
        Column of `hourly` that holds each interpolation of the baseline, by its name.
    grids : mapping of str to Grid
        Where and when each product has values; empty where saved pairs do not say.
    restricted : bool
        Whether months or stations were left out on purpose.
    observations : Observations, optional
        After quality control, flagged rows included; None where the pairs were saved ones.
    files : sequence of sequence of Path
        The files of each input.
    command : str
        The call or the command, as ``run.json`` says it.
    clock_start : float
        `time.perf_counter` at the beginning.
    """

    options: InsituOptions
    hourly: Pairs
    years_with_data: Mapping[str, tuple[int, ...]]
    references: Mapping[str, str]
    grids: Mapping[str, Grid]
    restricted: bool = False
    observations: Observations | None = None
    files: Sequence[Sequence[Path]] = ()
    command: str = "deepcams_eval.insitu"
    clock_start: float = field(default_factory=time.perf_counter)

    @property
    def pairs(self) -> pd.DataFrame:
        """The rows of ``pairs.parquet``, µg m⁻³; NaN where a product has no value."""
        return self.hourly.table

    @property
    def scored(self) -> pd.DataFrame:
        """The pairs that the scores are made of: those, or their means over complete periods."""
        return self.scored_pairs.table

    @property
    def lags(self) -> pd.DataFrame:
        """The rows of ``lags.csv``."""
        return self.evidence["lags"]["lags"]

    @property
    def evidence(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Tables of questions beyond the scores, by question and name."""
        return {one.name: dict(one.frames) for one in self.answers}

    @cached_property
    def plot(self) -> InsituPlots:
        """The figures of the report, one method each."""
        return InsituPlots(self, sections)

    def write(self, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Write what ``deepcams-eval openaq`` writes, file by file."""
        frames = {
            "scores": self.scores,
            "differences": self.differences,
            "coverage": self.coverage,
            **{name: frame for one in self.answers for name, frame in one.frames.items()},
        }
        if self.observations is not None:
            frames["qc"] = self.qc
            self._write_pairs(folder / PAIRS_FILE)
        files.write_frames(folder, frames, synthetic=self.synthetic)
        self.stations.to_parquet(folder / STATIONS_FILE, index=False)
        run = provenance.basis(self.command, synthetic=self.synthetic)
        run |= {**self.run, "inputs": provenance.hash_inputs(self.files)}
        run |= provenance.cost(self.clock_start)
        write_report(folder, replace(self, run=run), progress)
        write_run(folder, run | provenance.cost(self.clock_start))

    def _write_pairs(self, path: Path) -> None:
        table = self.hourly.table
        # Kept with the file, so that the same scores can be made from it alone.
        table.attrs = {
            "products": list(self.hourly.products),
            "years_with_data": {name: list(some) for name, some in self.years_with_data.items()},
            "kinds": {name: one["kind"] for name, one in self.run["products"].items()},
            "references": dict(self.references),
            "grids": {name: grid.to_json() for name, grid in self.grids.items()},
            **scoring(self.options, self.baseline),
            "synthetic": self.synthetic,
            "restricted": self.restricted,
        }
        table.to_parquet(path, index=False)

    def lines(self) -> list[str]:
        """Return what is printed of a run: a line a product, the verdicts, then the notes."""
        scores = self.scores
        shown = scores[(scores["stratum"] == "all") & (scores["sample"] == self.sample)]
        width = max(len(name) for name in shown["product"])
        lines = [MARK] if self.synthetic else []
        lines += [
            f"{row['product']:<{width}}  n = {row['n']:,}  stations = {row['stations']:,}  "
            f"R = {row['r']:.4f}  RMSE = {row['rmse']:.3f}  MAE = {row['mae']:.3f} ug m-3"
            for row in records(shown)
        ]
        for table in (one.frames["verdicts"] for one in self.answers if "verdicts" in one.frames):
            chosen = table[table["question"].isin(_PRINTED_VERDICTS)]
            last = chosen.groupby(["product", "question"], sort=False).tail(1)
            lines += last["sentence"].tolist()
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def __repr__(self) -> str:
        mark = f"; {SYNTHETIC}" if self.synthetic else ""
        return (
            f"<InsituRun of {', '.join(self.hourly.products)}: {len(self.pairs):,} pairs, "
            f"{len(self.stations):,} stations{mark}>"
        )

    def _repr_html_(self) -> str:
        scores = self.scores
        whole = scores[(scores["stratum"] == "all") & (scores["sample"] == self.sample)]
        table = pd.DataFrame(
            [
                {
                    "product": row["product"],
                    "n": f"{row['n']:,}",
                    "stations": f"{row['stations']:,}",
                    **{key.upper(): wording.with_interval(row, key) for key in HEADLINE},
                }
                for row in records(whole)
            ]
        )
        caption = f"All pairs, {self.sample} sample; RMSE and MAE in {wording.UNIT}, 95 % intervals"
        return as_html(table, caption, self.notes, synthetic=self.synthetic)


def write_report(
    folder: Path, content: Content, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html`` into `folder`, which exists.

    Every number shown is one of the tables of `content`; none is computed again. Errors are in
    µg m⁻³, NaN is undefined and shown as a dash.

    Returns
    -------
    list of Path
        Every file that was written.

    Raises
    ------
    ValueError
        If `content.rows` selects another number of pairs than `content.scores` says.
    """
    shown = sections(content)
    further = (tables.month_table(content), tables.difference_table(content))
    main = [tables.year_table(content), *(table for table in further if table is not None)]
    drawings = [drawing for one in shown for drawing in one.drawings]
    return files.write_report(
        folder,
        [(table.name, [table], None) for table in chain(main, *(one.tables for one in shown))],
        chain(drawings, figures.draw_figures(content)),
        len(drawings) + figures.count_figures(content),
        lambda pictures: page.render_page(content, main, pictures, folder, shown),
        progress,
    )


def scoring(options: InsituOptions, baseline: str) -> dict[Any, Any]:
    """Return the options that the scores were made with, and the baseline that was taken."""
    return {name: getattr(options, name) for name in SCORING} | {"baseline": baseline}
