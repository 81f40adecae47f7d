"""From saved pairs to a run: scores and report again, without pairing anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from deepcams_eval.core.observations import make_stations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import InputError
from deepcams_eval.evidence.assessment import assess
from deepcams_eval.evidence.references import Grid
from deepcams_eval.evidence.run import PAIRS_FILE, STATIONS_FILE, InsituRun, scoring
from deepcams_eval.options import SCORING, InsituOptions
from deepcams_eval.read.stations import read_stations
from deepcams_eval.score.tables import baseline_of

_MADE_BY_A_RUN = "give a pairs.parquet that deepcams-eval openaq wrote"
_SAME_RECORD = ["station_id", "time_start", "time_end"]


@dataclass(frozen=True)
class SavedPairs:
    """The pairs of one or several runs, and what their files say of them.

    Attributes
    ----------
    pairs : Pairs
        In the order of station and time.
    years : dict of str to tuple of int
        The years for which each product exists.
    kinds : dict of str to str
        Kind of each product, ``generic`` where no file says it.
    synthetic : bool
        Whether any of it is made up.
    restricted : bool
        Whether months or stations were left out on purpose from any of it.
    references : dict of str to str
        Column of each interpolation of the baseline, by its name; where all files have it.
    grids : dict of str to Grid
        Of every product; empty where a file does not say, or says otherwise than another.
    asked : dict of str to object
        The options `deepcams_eval.options.SCORING` of the runs, each where all agree.
    files : tuple of Path
        What was read.
    """

    pairs: Pairs
    years: dict[str, tuple[int, ...]]
    kinds: dict[str, str]
    synthetic: bool
    restricted: bool
    references: dict[str, str]
    grids: dict[str, Grid]
    asked: dict[str, Any]
    files: tuple[Path, ...]


def score(
    files: Sequence[Path],
    stations: Sequence[Path] = (),
    *,
    command: str = "deepcams_eval.saved.score",
    **asked: Any,
) -> InsituRun:
    """Make a run from the pairs that runs wrote.

    Parameters
    ----------
    files : sequence of Path
        As `read_pairs` takes them.
    stations : sequence of Path
        Station files with names and providers.
    command : str
        As ``run.json`` says it.
    **asked
        Options of `deepcams_eval.options.SCORING` in place of those of the runs.

    Raises
    ------
    InputError
        As `read_pairs`.
    NoDataError
        As `deepcams_eval.evidence.assessment.assess`.
    """
    saved = read_pairs(files)
    options = InsituOptions(
        saved.pairs.table["time_start"].dt.year.unique().tolist(), **{**saved.asked, **asked}
    )
    baseline = baseline_of(saved.pairs.products, options.baseline)
    places, without_provider = saved_stations(saved, stations)
    run = assess(
        saved.pairs,
        places,
        options,
        baseline=baseline,
        years_with_data=saved.years,
        references=saved.references,
        grids=saved.grids,
        restricted=saved.restricted,
    )
    notes = [*_notes(saved, len(stations), without_provider), *run.notes]
    said = {
        "seed": options.seed,
        "settings": scoring(options, baseline),
        "baseline": baseline,
        "inputs": [],
        "counts": {"pairs": len(saved.pairs), "stations": len(places)},
        "products": {
            name: {"kind": saved.kinds[name], "years": list(saved.years[name])}
            for name in saved.pairs.products
        },
        "notes": notes,
    }
    return replace(
        run,
        run=said,
        notes=notes,
        coverage=_coverage(saved),
        synthetic=saved.synthetic,
        files=(saved.files, stations),
        command=command,
    )


def pair_files(files: Sequence[Path]) -> list[Path]:
    """Return the files of pairs: a folder stands for that in it."""
    return [path / PAIRS_FILE if path.is_dir() else path for path in files]


def station_files(pairs: Sequence[Path]) -> tuple[Path, ...]:
    """Return the station files that lie beside files of pairs."""
    beside = (path.parent / STATIONS_FILE for path in pair_files(pairs))
    return tuple(dict.fromkeys(path for path in beside if path.is_file()))


def read_pairs(files: Sequence[Path]) -> SavedPairs:
    """Read the pairs that runs wrote, and put them together.

    Parameters
    ----------
    files : sequence of Path
        ``pairs.parquet`` of each run, or the folder that holds it; at least one.

    Raises
    ------
    InputError
        If a file is none of a run, if two have other products, or if a record of a station
        stands in two of them.
    """
    paths = pair_files(files)
    tables = [_read_pairs(path) for path in paths]
    products = tables[0].attrs["products"]
    for path, table in zip(paths[1:], tables[1:], strict=True):
        if set(table.attrs["products"]) != set(products):
            raise InputError(
                f"has the products {', '.join(table.attrs['products'])}, but {paths[0]} has "
                f"{', '.join(products)}",
                path=path,
                hint="score runs with the same products together, the others by themselves",
            )
    for one, other in combinations(range(len(tables)), 2):
        _refuse_same_records(tables[one], tables[other], paths[one], paths[other])
    said = [table.attrs for table in tables]
    kinds: dict[str, str] = {}
    for each in said:
        kinds |= each.get("kinds", {})
    asked: dict[str, Any] = {
        name: said[0][name]
        for name in SCORING
        if name in said[0] and all(each.get(name) == said[0][name] for each in said)
    }
    return SavedPairs(
        pairs=Pairs(_joined(tables), tuple(products)),
        years={
            name: tuple(sorted({year for each in said for year in each["years_with_data"][name]}))
            for name in products
        },
        kinds={name: kinds.get(name, "generic") for name in products},
        synthetic=any(each.get("synthetic", False) for each in said),
        restricted=any(each.get("restricted", False) for each in said),
        references=_shared(said, "references"),
        grids=_grids(said, products),
        asked=asked,
        files=tuple(paths),
    )


def _shared(said: Sequence[Mapping[Any, Any]], key: str) -> dict[str, Any]:
    """Return the entries under `key` that all files have alike."""
    first, *others = (each.get(key, {}) for each in said)
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }


def _grids(said: Sequence[Mapping[Any, Any]], products: Sequence[str]) -> dict[str, Grid]:
    """Return the grid of each product, or nothing where not all are told alike."""
    told = _shared(said, "grids")
    if not set(products) <= set(told):
        return {}
    return {name: Grid.from_json(told[name]) for name in products}


def saved_stations(saved: SavedPairs, files: Sequence[Path]) -> tuple[gpd.GeoDataFrame, int]:
    """Return the stations of some pairs, with names and providers from station files.

    Parameters
    ----------
    saved : SavedPairs
        Gives places and countries.
    files : sequence of Path
        In any form that `read_stations` knows; in doubt the first counts.

    Returns
    -------
    GeoDataFrame
        The station table.
    int
        Stations of which no file tells the provider.
    """
    places = saved.pairs.table[["station_id", "latitude", "longitude", "country"]]
    table = places.drop_duplicates("station_id").astype({"station_id": "str", "country": "str"})
    told = [read_stations(path)[["station_id", "name", "provider", "mobile"]] for path in files]
    if told:
        known = pd.concat(told).drop_duplicates("station_id")
        table = table.merge(known, on="station_id", how="left")
    stations = make_stations(table)
    return stations, int((stations["provider"] == "").sum())


def _read_pairs(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError("no such file of pairs", path=path, hint=_MADE_BY_A_RUN)
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise InputError(f"not readable as Parquet ({error})", path=path) from error
    said = table.attrs
    if not said.get("products") or set(said.get("years_with_data", ())) != set(said["products"]):
        raise InputError(
            "does not say which products it has, and in which years they exist",
            path=path,
            hint=_MADE_BY_A_RUN,
        )
    try:
        Pairs(table, tuple(said["products"]))
    except InputError as error:
        raise InputError(error.problem, path=path, hint=_MADE_BY_A_RUN) from error
    if table.empty:
        raise InputError("holds no pair", path=path, hint="leave it out")
    return table


def _refuse_same_records(
    one: pd.DataFrame, other: pd.DataFrame, path: Path, other_path: Path
) -> None:
    """Refuse two files with a record in common; within a file, two sensors may share an hour."""
    first = max(one["time_start"].min(), other["time_start"].min())
    last = min(one["time_start"].max(), other["time_start"].max())
    shared = [
        table.loc[table["time_start"].between(first, last), _SAME_RECORD]
        .astype({"station_id": "str"})
        .drop_duplicates()
        for table in (one, other)
    ]
    both = shared[0].merge(shared[1], on=_SAME_RECORD)
    if len(both):
        record = both.iloc[0]
        raise InputError(
            f"{len(both):,} records stand in {other_path} too, such as that of station "
            f"{record['station_id']!r} at {record['time_start']:%Y-%m-%dT%H:%M}",
            path=path,
            hint="give each record once",
        )


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    if len(tables) == 1:
        return tables[0]
    aligned = []
    for table in tables:
        table.attrs = {}
        aligned.append(table)
    for name in ("station_id", "station_kind", "country"):
        labels: set[str] = set()
        for table in aligned:
            labels |= set(table[name].cat.categories)
        aligned = [
            table.assign(**{name: table[name].cat.set_categories(sorted(labels))})
            for table in aligned
        ]
    return pd.concat(aligned, ignore_index=True).sort_values(
        ["station_id", "time_start"], kind="stable", ignore_index=True
    )


def _coverage(saved: SavedPairs) -> pd.DataFrame:
    """Return the pairs and stations of each product and year."""
    table = saved.pairs.table
    year = table["time_start"].dt.year.rename("year")
    found: dict[str, pd.DataFrame] = {}
    for name in saved.pairs.products:
        has = table[name].notna()
        stations = table.loc[has, "station_id"].astype(str).groupby(year[has])
        found[name] = pd.DataFrame({"paired": stations.size(), "stations": stations.nunique()})
    counts = pd.concat(found, names=["product"]).reset_index()
    return counts.astype({"year": np.int64})


def _notes(saved: SavedPairs, station_files: int, without_provider: int) -> list[str]:
    notes = [
        f"Scored from the pairs of {len(saved.files)} "
        f"run{'' if len(saved.files) == 1 else 's'}; what these assumed or left out, and what "
        "other choices would change, stands in their own reports."
    ]
    if without_provider:
        notes.append(
            f"{without_provider:,} stations have no known provider and are taken as one, "
            "'unknown', in the lags"
            + ("." if station_files else "; --stations names a file that tells it.")
        )
    return notes
