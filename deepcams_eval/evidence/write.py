"""The report in one call: tables, figures, page."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

from deepcams_eval.evidence.questions import sections as sections_of
from deepcams_eval.report import figures, page, style, tables
from deepcams_eval.report.content import Content


def write_report(
    folder: Path, content: Content, *, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html`` into `folder`, which exists.

    Every number shown is one of the tables of `content`; none is computed again. Errors are in
    µg m⁻³, NaN is undefined and shown as a dash.

    Parameters
    ----------
    folder : Path
        A folder that the caller renames when all is done: files are written in place.
    content : Content
        What the report shows.
    progress : callable, optional
        Called with the number of pieces done and of all pieces.

    Returns
    -------
    list of Path
        Every file that was written.

    Raises
    ------
    ValueError
        If `content.rows` selects another number of pairs than `content.scores` says.
    """
    sections = sections_of(content)
    total = figures.count_figures(content) + sum(len(one.drawings) for one in sections) + 2
    tell = progress or (lambda _done, _total: None)
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)

    further = (
        tables.month_table(content),
        tables.difference_table(content),
        page.lag_table(content),
    )
    main = [tables.year_table(content), *(table for table in further if table is not None)]
    shown = [*main, *(table for one in sections for table in one.tables)]
    written = tables.write_tables(folder / "tables", shown)
    tell(1, total)

    pictures: list[style.Picture] = []
    drawn = chain(*(one.drawings for one in sections), figures.draw_figures(content))
    for done, drawing in enumerate(drawn, start=2):
        written += style.save(drawing, folder / "figures")
        pictures.append(drawing)
        tell(done, total)

    path = folder / "report.html"
    path.write_text(page.render_page(content, main, pictures, folder, sections), encoding="utf-8")
    tell(total, total)
    return [*written, path]
