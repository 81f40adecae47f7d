"""What the functions of the package return: tables, figures, and the files of the command."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from matplotlib.figure import Figure

from deepcams_eval import saved
from deepcams_eval.bench import files as simulation_files
from deepcams_eval.bench.run import SimulationResult, SimulationSettings
from deepcams_eval.core.folder import check_target, whole_folder
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.report import credit, figures, scatter, wording
from deepcams_eval.report.content import SYNTHETIC, Content, records
from deepcams_eval.report.style import Drawing
from deepcams_eval.score.metrics import HEADLINE, METRICS
from deepcams_eval.validation import InsituResult, InsituSettings

_MARK = f"{SYNTHETIC} data: nothing here says anything about a real product"


@dataclass(frozen=True, eq=False, repr=False)
class InsituRun:
    """A validation: its tables as data frames, its figures, its files.

    Attributes
    ----------
    result : InsituResult
        Everything that was found.
    settings : InsituSettings
        What was asked.
    synthetic : bool
        Whether any of the data are made up.
    command : str
        The call, as ``run.json`` says it.
    clock_start : float
        `time.perf_counter` at the beginning.
    """

    result: InsituResult
    settings: InsituSettings
    synthetic: bool
    command: str = field(default="deepcams_eval.insitu")
    clock_start: float = 0.0

    @property
    def scores(self) -> pd.DataFrame:
        """The rows of ``scores.csv``: one a product × stratum × sample."""
        return self.result.tables.scores

    @property
    def differences(self) -> pd.DataFrame:
        """The rows of ``differences.csv``: product − baseline, pair by pair."""
        return self.result.tables.differences

    @property
    def lags(self) -> pd.DataFrame:
        """The rows of ``lags.csv``: correlation of each provider and product by lag."""
        return self.result.lags

    @property
    def stations(self) -> gpd.GeoDataFrame:
        """Stations with pairs, n and scores, as in ``stations.parquet``."""
        return self.result.stations

    @property
    def pairs(self) -> pd.DataFrame:
        """The rows of ``pairs.parquet``, µg m⁻³; NaN where a product has no value."""
        return self.result.colocation.pairs.table

    @property
    def scored(self) -> pd.DataFrame:
        """The pairs that the scores are made of: those, or their means over complete periods."""
        return self.result.scored.table

    @property
    def qc(self) -> pd.DataFrame:
        """The rows of ``qc.csv``: what each rule flagged."""
        return self.result.qc

    @property
    def coverage(self) -> pd.DataFrame:
        """The rows of ``coverage.csv``: steps, pairs and stations by product and year."""
        return self.result.colocation.coverage

    @property
    def evidence(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Tables of questions beyond the scores, by question and name."""
        return {one.name: dict(one.frames) for one in self.result.evidence}

    @property
    def notes(self) -> list[str]:
        """What was assumed, left out or absent, one sentence each."""
        return list(self.result.notes)

    @cached_property
    def plot(self) -> InsituPlots:
        """The figures of the report, one method each."""
        return InsituPlots(self._content())

    def save(self, folder: Path | str, progress: Callable[[int, int], None] | None = None) -> Path:
        """Write what ``deepcams-eval openaq`` writes: tables, pairs, figures, page, ``run.json``.

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
        return _written(Path(folder), saved.write_files, self, progress)

    def __repr__(self) -> str:
        products = ", ".join(self.result.colocation.pairs.products)
        mark = f"; {SYNTHETIC}" if self.synthetic else ""
        return (
            f"<InsituRun of {products}: {len(self.pairs):,} pairs, "
            f"{len(self.stations):,} stations{mark}>"
        )

    def _repr_html_(self) -> str:
        sample = self.settings.sample
        whole = self.scores[(self.scores["stratum"] == "all") & (self.scores["sample"] == sample)]
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
        caption = f"All pairs, {sample} sample; RMSE and MAE in {wording.UNIT}, 95 % intervals"
        return _as_html(table, caption, self.notes, synthetic=self.synthetic)

    def _content(self) -> Content:
        result = self.result
        parents = {spec.name: spec.derived[1] for spec in self.settings.products if spec.derived}
        kinds = {product.name: product.kind for product in result.products}
        # That is all that figures take from run.json; the rest would need every input hashed.
        run = {"products": {name: {"kind": kinds[parents.get(name, name)]} for name in kinds}}
        return saved.content_of(result, self.settings, run=run, synthetic=self.synthetic)


@dataclass(frozen=True)
class InsituPlots:
    """The figures of a validation, as matplotlib figures.

    A notebook shows them after ``%matplotlib inline``; ``figure.savefig(path)`` writes one.

    Attributes
    ----------
    content : Content
        What they show.

    Examples
    --------
    >>> import deepcams_eval as dc
    >>> plot = dc.insitu(2019, data="demo", sensitivity=False).plot
    >>> figure = plot.scatter("cams", 2019)
    >>> len(plot.scatter("cams", 2019, months=True).axes)
    13
    """

    content: Content

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
        drawn = scatter.draw_scatters(alone, credit.source_line(content))
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
        if not figures.has_lags(self.content):
            raise InputError("no correlation is defined at a lag other than 0")
        return self._figure("lags")

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


@dataclass(frozen=True, eq=False, repr=False)
class SimulationRun:
    """A simulation: its tables as data frames, its files.

    Attributes
    ----------
    result : SimulationResult
        Everything that was found.
    settings : SimulationSettings
        What was asked.
    synthetic : bool
        Whether the truth is made up.
    command : str
        The call, as ``run.json`` says it.
    clock_start : float
        `time.perf_counter` at the beginning.
    """

    result: SimulationResult
    settings: SimulationSettings
    synthetic: bool
    command: str = field(default="deepcams_eval.simulation")
    clock_start: float = 0.0

    @property
    def samples(self) -> pd.DataFrame:
        """The rows of ``samples.parquet``: one a method × hour × weights."""
        return self.result.samples

    @property
    def temporal(self) -> pd.DataFrame:
        """The rows of ``temporal.csv``: twelve months and the average; NaN where absent."""
        return self._months("temporal")

    @property
    def spatial(self) -> pd.DataFrame:
        """The rows of ``spatial.csv``."""
        return self._months("spatial")

    @property
    def joint(self) -> pd.DataFrame:
        """The rows of ``joint.csv``."""
        return self._months("joint")

    @property
    def summary(self) -> pd.DataFrame:
        """The rows of ``summary.csv``: each method over the year."""
        return self.result.summary

    @property
    def skill(self) -> pd.DataFrame:
        """The rows of ``skill.csv``: against each baseline, with paired intervals."""
        return self.result.skill

    @property
    def spectra(self) -> pd.DataFrame:
        """The rows of ``spectra.csv``."""
        return self.result.spectra

    @property
    def counts(self) -> pd.DataFrame:
        """The rows of ``counts.csv``: hours expected and scored."""
        return self.result.counts

    @property
    def notes(self) -> list[str]:
        """What was assumed, left out or absent, one sentence each."""
        return list(self.result.notes)

    def save(self, folder: Path | str, progress: Callable[[int, int], None] | None = None) -> Path:
        """Write what ``deepcams-bench simulation`` writes.

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
        >>> result = dc.simulation(2020, data="demo", task="temporal", methods="linear")
        >>> result.save("out/simulation").name
        'report.html'
        """
        return _written(Path(folder), simulation_files.write_files, self, progress)

    def __repr__(self) -> str:
        methods = "; ".join(
            f"{task}: {', '.join(names)}" for task, names in self.result.methods.items()
        )
        mark = f"; {SYNTHETIC}" if self.synthetic else ""
        return f"<SimulationRun of {self.settings.year}, {methods}{mark}>"

    def _repr_html_(self) -> str:
        table = self.summary
        chosen = (table["weights"] == self.settings.weights) & (table["aggregate"] == "months")
        columns = ["task", "method", "hours", "n_samples", *HEADLINE]
        shown = table.loc[chosen, columns].round({key: METRICS[key].digits for key in HEADLINE})
        caption = f"Mean of the months of {self.settings.year}; RMSE and MAE in {wording.UNIT}"
        return _as_html(shown, caption, self.notes, synthetic=self.synthetic)

    def _months(self, task: str) -> pd.DataFrame:
        tables: Mapping[str, pd.DataFrame] = self.result.months
        if task not in tables:
            raise NoDataError(
                f"the {task} task was not scored", hint=f"there is {', '.join(tables)}"
            )
        return tables[task]


def _written(
    target: Path,
    write_files: Callable[..., None],
    run: InsituRun | SimulationRun,
    progress: Callable[[int, int], None] | None,
) -> Path:
    """Write a report whole, and return its page."""
    check_target(target)
    with whole_folder(target) as work:
        write_files(
            work,
            run.result,
            run.settings,
            command=run.command,
            clock_start=run.clock_start,
            synthetic=run.synthetic,
            progress=progress,
        )
    return target / "report.html"


def _as_html(table: pd.DataFrame, caption: str, notes: Sequence[str], *, synthetic: bool) -> str:
    parts: list[Any] = [f"<p><strong>{_MARK}.</strong></p>"] if synthetic else []
    parts.append(f"<p>{html.escape(caption)}</p>{table.to_html(index=False, border=0)}")
    if notes:
        lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        parts.append(f"<details><summary>Notes ({len(notes)})</summary><ul>{lines}</ul></details>")
    return "".join(parts)
