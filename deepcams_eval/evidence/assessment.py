"""From pairs to scores and evidence: what a run and its saved pairs have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd

from deepcams_eval.core.field import Product
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence import questions
from deepcams_eval.evidence.references import Grid
from deepcams_eval.evidence.run import InsituRun
from deepcams_eval.options import Average, InsituOptions
from deepcams_eval.pair.averages import COMPLETE, average_pairs
from deepcams_eval.pair.samples import sample_rows
from deepcams_eval.score.strata import HOURS, MONTHS, STRATA, Stratum
from deepcams_eval.score.tables import score_pairs, station_table

# What a mean holds all of, it belongs to none of: its start alone would name one.
_WITHOUT: Mapping[Average, tuple[Stratum, ...]] = {
    "hour": (),
    "day": HOURS,
    "month": HOURS,
    "year": (*HOURS, *MONTHS),
}


def assess(
    pairs: Pairs,
    stations: gpd.GeoDataFrame,
    options: InsituOptions,
    *,
    baseline: str,
    years_with_data: Mapping[str, tuple[int, ...]],
    references: Mapping[str, str],
    grids: Mapping[str, Grid],
    restricted: bool = False,
    observations: Observations | None = None,
    products: Sequence[Product] = (),
) -> InsituRun:
    """Score hourly pairs, or their means, and gather the evidence.

    Parameters
    ----------
    pairs : Pairs
        Hourly, with columns for the references.
    stations : geopandas.GeoDataFrame
        The station table of the pairs, with providers.
    options : InsituOptions
        How they are scored.
    baseline : str
        Product that differences are taken from.
    years_with_data : mapping of str to tuple of int
        As in `deepcams_eval.pair.samples.sample_rows`.
    references : mapping of str to str
        Column of each interpolation of the baseline, by its name.
    grids : mapping of str to Grid
        Of every product; without them nothing is said on added value.
    restricted : bool
        Whether months or stations were left out on purpose; then nothing is said on whether
        published scores agree.
    observations, products
        As in `deepcams_eval.evidence.questions.Given`; with observations all is scored again under
        other options.

    Returns
    -------
    InsituRun
        Still without what only the caller knows: counts, coverage, inputs.

    Raises
    ------
    NoDataError
        If the common sample of two or more products is empty, or no period is complete.
    """
    scored, notes = _averaged(pairs, years_with_data, options.average)
    tables = score_pairs(
        scored,
        years_with_data=years_with_data,
        baseline=baseline,
        rng=np.random.default_rng(options.seed),
        resamples=options.resamples,
        station_sample=options.sample,
        strata=[one for one in STRATA if one not in _WITHOUT[options.average]],
    )
    hourly = options.average == "hour"
    shown = tables.scores[tables.scores["sample"] == options.sample]
    given = questions.Given(
        pairs=pairs,
        rows=(tables.rows if hourly else sample_rows(pairs, years_with_data))[options.sample],
        years=years_with_data,
        baseline=baseline,
        # What was published are scores of hours.
        scores=shown if hourly else shown.iloc[:0],
        references=references,
        grids=grids if options.added_value else {},
        providers=dict(zip(stations["station_id"].astype(str), stations["provider"], strict=True)),
        observations=observations,
        products=products,
        compute=options.compute,
        seed=options.seed,
        resamples=options.resamples,
        restricted=restricted,
    )
    answers = questions.answers(given)
    return InsituRun(
        options=replace(options, compute=None, progress=None),
        scores=tables.scores,
        differences=tables.differences,
        scored_pairs=scored,
        rows=tables.rows[options.sample],
        stations=station_table(stations, scored, tables.stations),
        qc=pd.DataFrame(columns=["rule", "flagged", "flagged_first", "stage"]),
        coverage=pd.DataFrame(),
        notes=[*notes, *questions.notes(answers)],
        run={},
        sample=options.sample,
        baseline=baseline,
        synthetic=False,
        answers=answers,
        hourly=pairs,
        years_with_data=years_with_data,
        references=references,
        grids=grids,
        restricted=restricted,
    )


def _averaged(
    pairs: Pairs, years: Mapping[str, tuple[int, ...]], average: Average
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
