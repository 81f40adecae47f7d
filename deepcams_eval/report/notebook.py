"""How a result shows itself in a notebook: figures by name, and a table with its notes."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from deepcams_eval.core.folder import write_whole
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.report import figures, scatter
from deepcams_eval.report.content import SYNTHETIC, Content
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.style import Drawing

MARK = f"{SYNTHETIC} data: nothing here says anything about a real product"


class Saved(ABC):
    """What a run has in common with others: it is written whole, or not at all."""

    @abstractmethod
    def write(self, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Write every file into a folder that exists and is empty."""

    def save(self, folder: Path | str, progress: Callable[[int, int], None] | None = None) -> Path:
        """Write what the command writes: tables, figures, page, ``run.json``.

        Parameters
        ----------
        folder : path
            A new one, or that of an earlier report, which is replaced.
        progress : callable, optional
            Called with the figures done and the figures in all.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        InputError
            If the folder holds anything but an earlier report, or cannot be made.

        Examples
        --------
        >>> import deepcams_eval as dc
        >>> result = dc.insitu(2019, data="demo", added_value=False, sensitivity=False)
        >>> result.save("out/demo").name
        'report.html'
        """
        return write_whole(Path(folder), lambda work: self.write(work, progress))


@dataclass(frozen=True)
class InsituPlots:
    """The figures of a validation, as matplotlib figures.

    A notebook shows them after ``%matplotlib inline``; ``figure.savefig(path)`` writes one.

    Attributes
    ----------
    content : Content
        What they show.
    sections_of : callable
        Makes the sections that show the evidence of a report.

    Examples
    --------
    >>> import deepcams_eval as dc
    >>> plot = dc.insitu(2019, data="demo", sensitivity=False).plot
    >>> figure = plot.scatter("cams", 2019)
    >>> len(plot.scatter("cams", 2019, months=True).axes)
    13
    """

    content: Content
    sections_of: Callable[[Content], Sequence[Section]]

    def scatter(self, product: str, year: int, *, months: bool = False) -> Figure:
        """Return the density of pairs of one product and year; of its twelve months if asked.

        Raises
        ------
        NoDataError
            If there is no pair of that product in that year, or none belongs to a month.
        """
        content = self.content
        if content.score(product, "year", str(year)) is None:
            raise NoDataError(
                f"{product} has no pairs in {year} on the {content.sample} sample",
                hint=f"products: {', '.join(content.products)}; years: "
                f"{', '.join(map(str, content.years))}",
            )
        rows = content.scores
        other = (rows["stratum"] == "year") & (rows["value"].astype(str) != str(year))
        # A scatter is drawn for every product and year that has a score.
        alone = replace(content, scores=rows[(rows["product"] == product) & ~other])
        drawn = scatter.draw_scatters(alone)
        return _first(drawn, "scatter_months" if months else "scatter")

    def stations(self) -> Figure:
        """Return the map of stations, coloured by the correlation with the first product."""
        return self._figure("stations")

    def months(self) -> Figure:
        """Return R, RMSE and MAE of each product by month.

        Raises
        ------
        NoDataError
            If no pair belongs to a month, as means over a year do not.
        """
        return self._figure("months")

    def hours(self) -> Figure:
        """Return R, RMSE and MAE of each product by hour of the day, in UTC and local time.

        Raises
        ------
        NoDataError
            If no pair belongs to an hour of the day, as means over a day do not.
        """
        return self._figure("hours")

    def lags(self) -> Figure:
        """Return the correlation of each provider and product by lag.

        Raises
        ------
        InputError
            If no correlation at any lag but 0 is defined.
        """
        lags = [one for one in self.content.answers if one.name == "lags"]
        sections = self.sections_of(replace(self.content, answers=lags))
        drawn = [one.figure for section in sections for one in section.drawings]
        if not drawn:
            raise InputError("no correlation is defined at a lag other than 0")
        return drawn[0]

    def _figure(self, kind: str) -> Figure:
        return _first(figures.draw_figures(self.content), kind)


def _first(drawn: Iterable[Drawing], kind: str) -> Figure:
    figure = next((one.figure for one in drawn if one.kind == kind), None)
    if figure is None:
        raise NoDataError(
            f"there is no figure of the kind {kind!r}",
            hint="means over a day, a month or a year belong to no hour, and those over a year to "
            "no month; choose a shorter period through average",
        )
    return figure


def as_html(table: pd.DataFrame, caption: str, notes: Sequence[str], *, synthetic: bool) -> str:
    """Return a table with its caption, the notes folded away behind it."""
    parts = [f"<p><strong>{MARK}.</strong></p>"] if synthetic else []
    parts.append(f"<p>{html.escape(caption)}</p>{table.to_html(index=False, border=0)}")
    if notes:
        lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        parts.append(f"<details><summary>Notes ({len(notes)})</summary><ul>{lines}</ul></details>")
    return "".join(parts)
