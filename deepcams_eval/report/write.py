"""The report in one call: tables, figures, page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from deepcams_eval.evidence import Evidence
from deepcams_eval.report import (
    added_value_report,
    figures,
    page,
    quality_report,
    sensitivity_report,
    style,
    tables,
    uncertainty_report,
)
from deepcams_eval.report.content import BoolArray, Content, Sample
from deepcams_eval.report.section import Section
from deepcams_eval.schema import Pairs

_MAKERS: Mapping[str, Callable[[Evidence, Content], Section]] = {
    "added_value": added_value_report.section,
    "uncertainty": uncertainty_report.section,
    "quality": quality_report.section,
    "sensitivity": sensitivity_report.section,
}
"""What makes a section of the page out of each evidence, by its name."""


def write_report(
    folder: Path,
    *,
    scores: pd.DataFrame,
    differences: pd.DataFrame,
    pairs: Pairs,
    rows: Mapping[str, BoolArray],
    stations: gpd.GeoDataFrame,
    qc: pd.DataFrame,
    coverage: pd.DataFrame,
    notes: Sequence[str],
    run: Mapping[str, Any],
    sample: Sample,
    baseline: str,
    synthetic: bool,
    lags: pd.DataFrame | None = None,
    evidence: Sequence[Evidence] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html`` into `folder`, which exists.

    Every number shown is a number of `scores`, `differences`, `qc` or `coverage`; none is
    computed again. Errors are in µg m⁻³, NaN is undefined and shown as a dash.

    Parameters
    ----------
    folder : Path
        A folder that the caller renames when all is done: files are written in place.
    scores, differences : pandas.DataFrame
        The rows of ``scores.csv`` and ``differences.csv``.
    pairs : Pairs
        Pairs of observation and products, for the shape of the scatters.
    rows : mapping of str to ndarray of bool, shape (pairs,)
        By product the pairs of the sample shown; as many by year as `scores` says.
    stations : geopandas.GeoDataFrame
        The station table with a column ``r_<product>`` each.
    qc : pandas.DataFrame
        ``rule, flagged, flagged_first, stage``.
    coverage : pandas.DataFrame
        ``product, year, steps, paired, stations, stations_outside``.
    notes : sequence of str
        Assumptions and omissions that a reader must know.
    run : mapping
        The content of ``run.json``. ``inputs`` holds ``path``, ``bytes`` and ``sha256`` of each
        file; ``products``, by name, the ``kind`` that decides whom the data are owed to.
    sample : {"common", "own"}
        The sample that tables and figures show.
    baseline : str
        The product that `differences` are taken from.
    synthetic : bool
        Whether the data are generated; then every table, figure and the page say so.
    lags : pandas.DataFrame, optional
        The rows of ``lags.csv``; without any the report has no section on lags.
    evidence : sequence of Evidence
        Each gets a section of the page, with its tables and figures.
    progress : callable, optional
        Called with the number of pieces done and of all pieces.

    Returns
    -------
    list of Path
        Every file that was written.

    Raises
    ------
    ValueError
        If `rows` selects another number of pairs than `scores` says.
    """
    content = Content(
        scores=scores,
        differences=differences,
        pairs=pairs,
        rows=rows,
        stations=stations,
        qc=qc,
        coverage=coverage,
        notes=notes,
        run=run,
        sample=sample,
        baseline=baseline,
        synthetic=synthetic,
        lags=lags,
        evidence=evidence,
    )
    sections = [_MAKERS[one.name](one, content) for one in evidence]
    total = figures.count_figures(content) + sum(len(one.drawings) for one in sections) + 2
    tell = progress or (lambda _done, _total: None)
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)

    main = [tables.year_table(content), tables.month_table(content)]
    compared = tables.difference_table(content)
    main += [] if compared is None else [compared]
    timed = page.lag_table(content)
    main += [] if timed is None else [timed]
    shown = [*main, *(table for one in sections for table in one.tables)]
    written = tables.write_tables(folder / "tables", shown)
    tell(1, total)

    pictures: list[page.Picture] = []
    drawn = chain(*(one.drawings for one in sections), figures.draw_figures(content))
    for done, drawing in enumerate(drawn, start=2):
        png, pdf = style.save(drawing.figure, folder / "figures", drawing.name)
        pictures.append(page.Picture.of(drawing, png))
        written += [png, pdf]
        tell(done, total)

    path = folder / "report.html"
    path.write_text(page.render_page(content, main, pictures, sections), encoding="utf-8")
    tell(total, total)
    return [*written, path]
