"""The report of a simulation in one call: tables, figures, page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deepcams_eval.bench import figures, page, sections
from deepcams_eval.bench.content import SimulationContent
from deepcams_eval.report import style
from deepcams_eval.report.tables import write_table, write_tables


def write_simulation_report(
    folder: Path,
    content: SimulationContent,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html`` into `folder`, which exists.

    Every score shown is one of `content`; none is computed again. Errors are in µg m⁻³, NaN is
    undefined and shown as a dash.

    Parameters
    ----------
    folder : Path
        A folder that the caller renames when all is done: files are written in place.
    content : SimulationContent
        What is shown. Tasks that were not scored are left out.
    progress : callable, optional
        Called with the number of pieces done and of all pieces.

    Returns
    -------
    list of Path
        Every file that was written.
    """
    total = figures.count_figures(content) + 2
    tell = progress or (lambda _done, _total: None)
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)

    written: list[Path] = []
    for task in content.tasks:
        # The CSV holds every column in one table, laid out as Tables 2 and 3 of the paper.
        blocks = sections.month_tables(content, task)
        written += write_table(folder / "tables", task, blocks, content.months[task])
    written += write_tables(folder / "tables", sections.long_tables(content))
    tell(1, total)

    pictures: list[style.Picture] = []
    for done, drawing in enumerate(figures.draw_figures(content), start=2):
        written += style.save(drawing, folder / "figures")
        pictures.append(drawing)
        tell(done, total)

    path = folder / "report.html"
    path.write_text(page.render_page(content, pictures, folder), encoding="utf-8")
    tell(total, total)
    return [*written, path]
