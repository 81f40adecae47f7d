"""The in-situ road: observations and products in, scores with intervals out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from deepcams_eval.core.field import Product
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence.assessment import Average, Choices, assess
from deepcams_eval.evidence.references import (
    Grid,
    ReferenceSet,
    grids_of,
    make_references,
    without_references,
)
from deepcams_eval.pair.colocate import Colocation, Compute, colocate
from deepcams_eval.pair.derived import open_products
from deepcams_eval.pair.qc import QcSettings, apply_rules
from deepcams_eval.pair.samples import Sample
from deepcams_eval.pair.selection import select, shift_times, years_of
from deepcams_eval.read.openaq import read_observations
from deepcams_eval.read.product import ProductSpec
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.score.tables import ScoreTables, baseline_of

Progress = Callable[[str, int, int], None]
_MONTHS_A_YEAR = 12


@dataclass(frozen=True)
class InsituSettings:
    """What is validated, and how.

    Attributes
    ----------
    observations : tuple of Path
        Files, folders or globs in any OpenAQ form.
    products : tuple of ProductSpec
        Gridded products, at least one.
    qc : QcSettings
        Rules and thresholds; the years and months of the run stand here.
    stations : Path, optional
        Station file for forms that lack coordinates, provider or country.
    bbox : tuple of float, optional
        West, south, east, north in degrees; west > east crosses the date line.
    countries : tuple of str
        ISO 3166-1 alpha-2 codes; all when empty.
    shifts : dict of str to float
        Hours to add to the times of a provider's records, by provider.
    baseline : str, optional
        Product that differences are taken from; ``cams``, else the first.
    sample : {"common", "own"}
        Sample of tables, figures and station scores.
    average : {"hour", "day", "month", "year"}
        What is scored: hourly pairs, or means of complete periods of the common sample.
    added_value : bool
        Whether products finer than the baseline are compared with interpolations of it.
    sensitivity : bool
        Whether all is scored again under other choices, for which products are read twice more.
    seed, resamples : int
        Of the bootstrap.
    strict : bool
        Whether a damaged file is fatal.
    workers : int
        Threads that read observation files.
    """

    observations: tuple[Path, ...]
    products: tuple[ProductSpec, ...]
    qc: QcSettings
    stations: Path | None = None
    bbox: tuple[float, float, float, float] | None = None
    countries: tuple[str, ...] = ()
    shifts: Mapping[str, float] = field(default_factory=dict)
    baseline: str | None = None
    sample: Sample = "common"
    average: Average = "hour"
    added_value: bool = True
    sensitivity: bool = True
    seed: int = 0
    resamples: int = 1000
    strict: bool = False
    workers: int = 2

    @property
    def restricted(self) -> bool:
        """Whether months or stations are left out on purpose."""
        months = self.qc.months is not None and len(set(self.qc.months)) < _MONTHS_A_YEAR
        return months or self.bbox is not None or bool(self.countries) or self.qc.reference_only


@dataclass(frozen=True)
class InsituResult:
    """Everything that `insitu` found.

    Attributes
    ----------
    observations : Observations
        After QC, flagged rows included.
    products : tuple of Product
        As opened.
    qc : pandas.DataFrame
        The rows of ``qc.csv``.
    colocation : Colocation
        The hourly pairs and what became of the other observations.
    scored : Pairs
        The pairs that the scores are made of: those, or their means.
    tables : ScoreTables
        Scores and differences.
    lags : pandas.DataFrame
        The rows of ``lags.csv``.
    stations : geopandas.GeoDataFrame
        Stations with pairs, n and scores.
    baseline : str
        Product that differences are taken from.
    years : dict of str to tuple of int
        The years for which each product exists.
    grids : dict of str to Grid
        Where and when each product has values.
    references : dict of str to str
        Column of the pairs that holds each interpolation of the baseline, by its name.
    evidence : tuple of Evidence
        Tables of questions beyond the scores.
    notes : list of str
        What was assumed, left out or absent, one sentence each.
    """

    observations: Observations
    products: tuple[Product, ...]
    qc: pd.DataFrame
    colocation: Colocation
    scored: Pairs
    tables: ScoreTables
    lags: pd.DataFrame
    stations: gpd.GeoDataFrame
    baseline: str
    years: dict[str, tuple[int, ...]]
    grids: dict[str, Grid]
    references: dict[str, str]
    evidence: tuple[Evidence, ...] = ()
    notes: list[str] = field(default_factory=list)


def insitu(
    settings: InsituSettings,
    *,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> InsituResult:
    """Validate gridded products against stations.

    Parameters
    ----------
    settings : InsituSettings
        What is validated, and how.
    compute : callable, optional
        Runs the dask tasks that read the products; by default in this process.
    progress : callable, optional
        Called with the name of the step, the units done and the units in all.

    Raises
    ------
    InputError
        If an input cannot be used.
    NoDataError
        If nothing is left to score.
    """
    products = open_products(settings.products, strict=settings.strict)
    baseline = baseline_of([product.name for product in products], settings.baseline)
    read = read_observations(
        settings.observations,
        stations=settings.stations,
        strict=settings.strict,
        workers=settings.workers,
        progress=None if progress is None else _named(progress, "observations"),
    )
    selected, left_out = select(read, settings.bbox, settings.countries)
    timed = shift_times(selected, settings.shifts)
    flagged, qc = apply_rules(timed, settings.qc)
    references = ReferenceSet()
    if settings.added_value:
        derived = {spec.name: spec.derived for spec in settings.products if spec.derived}
        references = make_references(products, derived, baseline, flagged)
    colocation = without_references(
        colocate(flagged, (*products, *references.products), compute=compute, progress=progress),
        [product.name for product in products],
    )
    years = {product.name: years_of(product) for product in products}
    grids = grids_of(products)
    assessment = assess(
        colocation.pairs,
        flagged.stations,
        Choices(
            baseline=baseline,
            sample=settings.sample,
            average=settings.average,
            added_value=settings.added_value,
            seed=settings.seed,
            resamples=settings.resamples,
        ),
        years_with_data=years,
        references=references.columns,
        grids=grids,
        restricted=settings.restricted,
        observations=flagged if settings.sensitivity else None,
        products=products,
        compute=compute,
    )
    result = InsituResult(
        observations=flagged,
        products=products,
        qc=_with_selection(qc, left_out),
        colocation=colocation,
        scored=assessment.scored,
        tables=assessment.tables,
        lags=assessment.lags,
        stations=assessment.stations,
        baseline=baseline,
        years=years,
        grids=grids,
        references=references.columns,
        evidence=assessment.evidence,
        notes=[*references.notes, *assessment.notes],
    )
    result.notes.extend(_notes(result, settings))
    return result


def _named(progress: Progress, step: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(step, done, total)


def _with_selection(qc: pd.DataFrame, left_out: int) -> pd.DataFrame:
    """Insert the rows left out by --bbox and --countries before the first rule."""
    line = {"rule": "not_selected", "flagged": left_out, "flagged_first": left_out, "stage": "read"}
    first = int(np.flatnonzero(qc["rule"] == "rows_in")[0])
    parts = [qc.iloc[:first], pd.DataFrame([line]), qc.iloc[first:]]
    return pd.concat(parts, ignore_index=True)


def _notes(result: InsituResult, settings: InsituSettings) -> list[str]:
    coverage = result.colocation.coverage
    notes = [
        f"No observation of {year} passed the quality control."
        for year in sorted(set(settings.qc.years or ()) - set(coverage["year"]))
    ]
    unknown = sorted(set(settings.countries) - set(result.observations.stations["country"]))
    if unknown:
        notes.append(f"No station is in {', '.join(unknown)}.")
    notes += [
        f"{provider}: all times were shifted by {hours:+g} h before the quality control."
        for provider, hours in settings.shifts.items()
    ]
    for product in result.products:
        notes += [f"{product.name}: {note}" for note in product.notes]
        notes += _absences(product.name, coverage, result.years[product.name])
        outside = result.colocation.outside[product.name]
        if outside:
            notes.append(
                f"{product.name}: {_plural(len(outside), 'station')} outside its grid, left out of "
                f"its scores: {_some(_names_of(result.observations, outside))}."
            )
    for damaged in [*result.observations.damaged, *(d for p in result.products for d in p.damaged)]:
        notes.append(f"{damaged.path} is damaged ({damaged.reason}); none of its rows is used.")
    if result.colocation.unpaired:
        notes.append(
            f"{_plural(result.colocation.unpaired, 'observation')} passed the quality control but "
            "pair with no product: outside every grid, between its time steps, or missing there."
        )
    if (result.tables.scores["stations"] < 5).any():
        notes.append(
            "No interval is given where fewer than 5 stations stand behind a score: stations are "
            "what is resampled."
        )
    return notes


def _absences(name: str, coverage: pd.DataFrame, years: tuple[int, ...]) -> list[str]:
    mine = coverage[coverage["product"] == name]
    absent = [str(year) for year in mine["year"] if year not in years]
    notes = []
    if absent:
        notes.append(
            f"{name}: no data in {', '.join(absent)}; the common sample of "
            f"{'that year is' if len(absent) == 1 else 'those years is'} made without it, so its "
            "scores over several years are not on the sample of the others."
        )
    empty = mine[mine["year"].isin(years) & (mine["paired"] == 0)]
    notes += [
        f"{name}: data in {year}, but no pair; the common sample of that year is empty."
        for year in empty["year"]
    ]
    return notes


def _names_of(observations: Observations, ids: tuple[str, ...]) -> list[str]:
    names = observations.stations.set_index("station_id")["name"]
    return [names[one] or one for one in ids]


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
