"""The score tables of a table of pairs: by product, stratum and sample.

Everything here can be made again from ``pairs.parquet`` alone: country and kind stand in its rows,
and the years for which each product exists in its metadata.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, BoolArray
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.errors import NoDataError
from deepcams_eval.pair.samples import SAMPLES, Sample, sample_rows
from deepcams_eval.score.intervals import Clusters, bounds
from deepcams_eval.score.metrics import HEADLINE, HEADLINE_METRICS, METRICS
from deepcams_eval.score.moments import Moments
from deepcams_eval.score.strata import STRATA, Grouping, Stratum, Sums

MIN_STATION_PAIRS = 10
"""A station with fewer pairs takes no part in the median over stations."""


@dataclass(frozen=True)
class ScoreTables:
    """Scores, paired differences and the sums by station.

    Attributes
    ----------
    scores : pandas.DataFrame
        One row a product × stratum × sample, the columns of ``scores.csv``.
    differences : pandas.DataFrame
        One row a product × stratum, the columns of ``differences.csv``.
    rows : dict of str to dict of str to ndarray of bool
        The pairs of each sample and product: ``rows[sample][product]``, shape (pairs,).
    stations : dict of str to pandas.DataFrame
        By product, indexed by ``station_id``: n, r, rmse and mae on the chosen sample.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    rows: dict[Sample, dict[str, BoolArray]]
    stations: dict[str, pd.DataFrame]


def score_pairs(
    pairs: Pairs,
    *,
    years_with_data: Mapping[str, Collection[int]],
    baseline: str,
    station_sample: Sample = "common",
    strata: Sequence[Stratum] = STRATA,
) -> ScoreTables:
    """Score every product on every stratum and sample, with intervals.

    Parameters
    ----------
    pairs : Pairs
        At least one row.
    years_with_data : mapping of str to collection of int
        As in `sample_rows`.
    baseline : str
        The product that differences are taken from.
    station_sample : {"common", "own"}
        Sample of the scores by station.
    strata : sequence of str
        Those that a pair belongs to: means over days have no hour, means over years no month.

    Raises
    ------
    NoDataError
        If the common sample of two or more products is empty.
    """
    grouping = Grouping.of(pairs)
    rows = sample_rows(pairs, years_with_data)
    empty = [name for name in pairs.products if not rows["common"][name].any()]
    if empty:
        others = ", ".join(name for name in pairs.products if name not in empty)
        raise NoDataError(
            f"the products have no observation in common ({', '.join(empty)} has none with "
            f"{others or 'the others'})",
            hint="leave one out, or choose years and a region in which all have data",
        )
    clusters = Clusters.of(pairs)
    score_parts, station_tables = [], {}
    for sample in SAMPLES:
        for name in pairs.products:
            sums = Sums.of(pairs, name, rows[sample][name], grouping)
            score_parts += [_score_stratum(name, sample, sums, one, clusters) for one in strata]
            if sample == station_sample:
                station_tables[name] = _station_scores(sums)
    return ScoreTables(
        scores=pd.concat(score_parts, ignore_index=True),
        differences=_differences(pairs, rows["own"], baseline, grouping, clusters, strata),
        rows=rows,
        stations=station_tables,
    )


def station_table(
    stations: gpd.GeoDataFrame, pairs: Pairs, tables: Mapping[str, pd.DataFrame]
) -> gpd.GeoDataFrame:
    """Return the stations that have pairs, with n and the scores of each product beside them.

    Columns are named ``n_<product>``, ``r_<product>`` and so on; ``n`` is the largest n. A station
    whose pairs all lie outside the sample of the scores has n = 0 and no score.
    """
    wide = pd.concat(
        [table.add_suffix(f"_{name}") for name, table in tables.items()], axis="columns"
    )
    _, met = codes_of(pairs.table["station_id"])
    wide = wide.reindex(pd.Index(met, name="station_id"))
    counts = [f"n_{name}" for name in tables]
    wide[counts] = wide[counts].fillna(0).astype(int)
    wide.insert(0, "n", wide[counts].max(axis="columns"))
    joined = stations.merge(wide, left_on="station_id", right_index=True, how="inner")
    return joined.reset_index(drop=True)


def _score_stratum(
    product: str, sample: Sample, sums: Sums, stratum: Stratum, clusters: Clusters
) -> pd.DataFrame:
    by_station = sums.by_station(stratum)
    total = by_station.merged()
    columns: dict[str, Any] = {
        "product": product,
        "stratum": stratum,
        "value": sums.grouping.labels(stratum),
        "sample": sample,
        "n": total.n.astype(np.int64),
        "stations": (by_station.n > 0).sum(axis=0),
    }
    if any("cross" in metric.needs for metric in METRICS.values()):
        total = sums.with_cross(total, stratum)
    columns |= {key: metric(total) for key, metric in METRICS.items()}
    for name, found in clusters.estimates(by_station, HEADLINE_METRICS).items():
        columns |= bounds(name, found.interval())
    columns |= _station_medians(by_station)
    columns["n_fractional"] = total.n_fractional.astype(np.int64)
    table = pd.DataFrame(columns)
    return table[table["n"] > 0]


def _station_medians(by_station: Moments) -> dict[str, Array]:
    enough = by_station.n >= MIN_STATION_PAIRS
    medians = {}
    for name, score in HEADLINE_METRICS.items():
        values = np.where(enough, score(by_station), np.nan)
        some = np.isfinite(values).any(axis=0)
        median = np.full(values.shape[1], np.nan)
        median[some] = np.nanmedian(values[:, some], axis=0)
        medians[f"station_median_{name}"] = median
    return medians


def _station_scores(sums: Sums) -> pd.DataFrame:
    by_station = sums.by_station("all").reshape(-1)
    columns: dict[str, Any] = {"n": by_station.n.astype(np.int64)}
    columns |= {key: METRICS[key](by_station) for key in (*HEADLINE, "mb")}
    table = pd.DataFrame(columns, index=pd.Index(sums.grouping.stations, name="station_id"))
    return table[table["n"] > 0]


def _differences(
    pairs: Pairs,
    own: Mapping[str, BoolArray],
    baseline: str,
    grouping: Grouping,
    clusters: Clusters,
    strata: Sequence[Stratum],
) -> pd.DataFrame:
    shown = ["product", "baseline", "stratum", "value", "n", "stations"]
    shown += [f"d_{name}{end}" for name in HEADLINE for end in ("", "_lo", "_hi")]
    parts: list[pd.DataFrame] = []
    for name in pairs.products:
        both = own[name] & own[baseline]
        if name == baseline or not both.any():
            continue
        ours, theirs = (Sums.of(pairs, one, both, grouping) for one in (name, baseline))
        for stratum in strata:
            sums = ours.by_station(stratum), theirs.by_station(stratum)
            columns: dict[str, Any] = {"product": name, "baseline": baseline, "stratum": stratum}
            columns["value"] = grouping.labels(stratum)
            columns |= clusters.differences(*sums, HEADLINE_METRICS)
            table = pd.DataFrame(columns)
            parts.append(table.loc[table["n"] > 0, shown])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=shown)


def baseline_of(products: Sequence[str], asked: str | None) -> str:
    """Return the baseline of the differences: `asked`, else ``cams``, else the first product.

    Raises
    ------
    NoDataError
        If `asked` is no product of this run.
    """
    if asked is None:
        return "cams" if "cams" in products else products[0]
    if asked not in products:
        raise NoDataError(
            f"baseline {asked!r} is no product of this run",
            hint=f"choose one of {', '.join(products)}",
        )
    return asked
