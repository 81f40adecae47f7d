"""From pairs to scores, lags and evidence: what a run and its saved pairs have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd

from deepcams_eval.core.field import Product
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence.lags import lag_notes, lag_table
from deepcams_eval.evidence.questions import Given, answers
from deepcams_eval.evidence.references import Grid
from deepcams_eval.pair.averages import COMPLETE, average_pairs
from deepcams_eval.pair.colocate import Compute
from deepcams_eval.pair.samples import Sample, sample_rows
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.score.strata import HOURS, MONTHS, STRATA, Stratum
from deepcams_eval.score.tables import ScoreTables, score_pairs, station_table

Average = Literal["hour", "day", "month", "year"]
AVERAGES: tuple[Average, ...] = ("hour", "day", "month", "year")

# What a mean holds all of, it belongs to none of: its start alone would name one.
_WITHOUT: Mapping[Average, tuple[Stratum, ...]] = {
    "hour": (),
    "day": HOURS,
    "month": HOURS,
    "year": (*HOURS, *MONTHS),
}


@dataclass(frozen=True)
class Choices:
    """How pairs are scored.

    Attributes
    ----------
    baseline : str
        Product that differences are taken from.
    sample : {"common", "own"}
        Sample of tables, figures and station scores.
    average : {"hour", "day", "month", "year"}
        What is scored: hourly pairs, or means of complete periods of the common sample.
    added_value : bool
        Whether products finer than the baseline are compared with interpolations of it.
    seed, resamples : int
        Of the bootstrap.
    """

    baseline: str
    sample: Sample = "common"
    average: Average = "hour"
    added_value: bool = True
    seed: int = 0
    resamples: int = 1000


@dataclass(frozen=True)
class Assessment:
    """What was found.

    Attributes
    ----------
    scored : Pairs
        The pairs that the scores are made of: hourly ones, or their means.
    tables : ScoreTables
        Scores and differences of `scored`.
    lags : pandas.DataFrame
        The rows of ``lags.csv``, from hourly pairs.
    stations : geopandas.GeoDataFrame
        Stations with pairs, n and scores.
    evidence : tuple of Evidence
        Tables of questions beyond the scores, from hourly pairs.
    notes : list of str
        What a reader must know, one sentence each.
    """

    scored: Pairs
    tables: ScoreTables
    lags: pd.DataFrame
    stations: gpd.GeoDataFrame
    evidence: tuple[Evidence, ...]
    notes: list[str] = field(default_factory=list)


def assess(
    pairs: Pairs,
    stations: gpd.GeoDataFrame,
    choices: Choices,
    *,
    years_with_data: Mapping[str, Collection[int]],
    references: Mapping[str, str],
    grids: Mapping[str, Grid],
    restricted: bool = False,
    observations: Observations | None = None,
    products: Sequence[Product] = (),
    compute: Compute | None = None,
) -> Assessment:
    """Score hourly pairs, or their means, and gather the evidence.

    Parameters
    ----------
    pairs : Pairs
        Hourly, with columns for the references.
    stations : geopandas.GeoDataFrame
        The station table of the pairs, with providers.
    choices : Choices
        How they are scored.
    years_with_data : mapping of str to collection of int
        As in `deepcams_eval.pair.samples.sample_rows`.
    references : mapping of str to str
        Column of each interpolation of the baseline, by its name.
    grids : mapping of str to Grid
        Of every product; without them nothing is said on added value.
    restricted : bool
        Whether months or stations were left out on purpose; then nothing is said on whether
        published scores agree.
    observations, products, compute
        As in `deepcams_eval.evidence.questions.Given`; with observations all is scored again under
        other choices.

    Raises
    ------
    NoDataError
        If the common sample of two or more products is empty, or no period is complete.
    """
    scored, notes = _averaged(pairs, years_with_data, choices.average)
    tables = score_pairs(
        scored,
        years_with_data=years_with_data,
        baseline=choices.baseline,
        rng=np.random.default_rng(choices.seed),
        resamples=choices.resamples,
        station_sample=choices.sample,
        strata=[one for one in STRATA if one not in _WITHOUT[choices.average]],
    )
    lags = lag_table(
        pairs,
        dict(zip(stations["station_id"].astype(str), stations["provider"], strict=True)),
        rng=np.random.default_rng(choices.seed),
        resamples=choices.resamples,
    )
    hourly = choices.average == "hour"
    shown = tables.scores[tables.scores["sample"] == choices.sample]
    given = Given(
        pairs=pairs,
        rows=(tables.rows if hourly else sample_rows(pairs, years_with_data))[choices.sample],
        years=years_with_data,
        baseline=choices.baseline,
        # What was published are scores of hours.
        scores=shown if hourly else shown.iloc[:0],
        references=references,
        grids=grids if choices.added_value else {},
        observations=observations,
        products=products,
        compute=compute,
        seed=choices.seed,
        resamples=choices.resamples,
        restricted=restricted,
    )
    return Assessment(
        scored=scored,
        tables=tables,
        lags=lags,
        stations=station_table(stations, scored, tables.stations),
        evidence=answers(given),
        notes=[*notes, *lag_notes(lags)],
    )


def _averaged(
    pairs: Pairs, years: Mapping[str, Collection[int]], average: Average
) -> tuple[Pairs, list[str]]:
    if average == "hour":
        return pairs, []
    made = average_pairs(pairs, years, average)
    kinds = ("day",) if average == "day" else ("day", average)
    kept = "; ".join(
        f"{made.counts[f'{kind}s_complete']:,} complete {kind}s of stations, "
        f"{made.counts[f'{kind}s_incomplete']:,} incomplete ones left out"
        for kind in kinds
    )
    note = (
        f"Scores are those of means over a {average} of the common sample, so that both samples "
        f"are the same: {kept}. A mean needs {COMPLETE:.0%} of its hours and days. Lags and "
        "evidence are those of hours."
    )
    return made.pairs, [note]
