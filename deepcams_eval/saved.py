"""The files that a validation leaves behind, as other tools read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from deepcams_eval.core import provenance
from deepcams_eval.core.folder import write_run
from deepcams_eval.core.observations import make_stations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import InputError
from deepcams_eval.evidence.references import Grid
from deepcams_eval.evidence.write import write_report
from deepcams_eval.read.stations import read_stations
from deepcams_eval.report.content import Content
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.validation import InsituResult, InsituSettings

PAIRS_FILE, STATIONS_FILE = "pairs.parquet", "stations.parquet"
_MADE_BY_A_RUN = "give a pairs.parquet that deepcams-eval openaq wrote"
_SAME_RECORD = ["station_id", "time_start", "time_end"]


def write_files(
    folder: Path,
    result: InsituResult,
    settings: InsituSettings,
    *,
    command: str,
    clock_start: float,
    synthetic: bool,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write scores, pairs, counts, tables, figures, the page and ``run.json`` into `folder`.

    Parameters
    ----------
    folder : Path
        Exists and is empty; the caller gives it its final name when all is written.
    result, settings
        Of `deepcams_eval.validation.insitu`.
    command : str
        The command line.
    clock_start : float
        `time.perf_counter` when the run began.
    synthetic : bool
        Whether the data are made up; it then stands on every table, figure and page.
    progress : callable, optional
        Called with the figures done and the figures in all.
    """
    tables = {
        "scores": result.tables.scores,
        "differences": result.tables.differences,
        "lags": result.lags,
        "qc": result.qc,
        "coverage": result.colocation.coverage,
        **frames_of(result.evidence),
    }
    write_tables(folder, tables, synthetic=synthetic)
    pairs = result.colocation.pairs.table
    # Kept with the file, so that the same scores can be made from it alone.
    pairs.attrs = {
        "products": list(result.colocation.pairs.products),
        "years_with_data": {name: list(years) for name, years in result.years.items()},
        "kinds": _kinds(result, settings),
        "references": result.references,
        "grids": {name: grid.to_json() for name, grid in result.grids.items()},
        "baseline": result.baseline,
        "sample": settings.sample,
        "average": settings.average,
        "added_value": settings.added_value,
        "seed": settings.seed,
        "resamples": settings.resamples,
        "synthetic": synthetic,
        "restricted": settings.restricted,
    }
    pairs.to_parquet(folder / PAIRS_FILE, index=False)
    result.stations.to_parquet(folder / STATIONS_FILE, index=False)
    run = describe(result, settings, command=command, synthetic=synthetic)
    run["wall_time_s"] = round(time.perf_counter() - clock_start, 2)
    run["peak_rss_bytes"] = provenance.peak_rss_bytes()
    content = content_of(result, settings, run=run, synthetic=synthetic)
    write_report(folder, content, progress=progress)
    run["wall_time_s"] = round(time.perf_counter() - clock_start, 2)
    run["peak_rss_bytes"] = provenance.peak_rss_bytes()
    write_run(folder, run)


def content_of(
    result: InsituResult, settings: InsituSettings, *, run: Mapping[str, Any], synthetic: bool
) -> Content:
    """Return what the tables and figures of a validation are made from.

    Parameters
    ----------
    result, settings, synthetic
        As in `write_files`.
    run : mapping
        The content of ``run.json``.
    """
    return Content(
        scores=result.tables.scores,
        differences=result.tables.differences,
        pairs=result.scored,
        rows=result.tables.rows[settings.sample],
        stations=result.stations,
        qc=result.qc,
        coverage=result.colocation.coverage,
        notes=result.notes,
        run=run,
        sample=settings.sample,
        baseline=result.baseline,
        synthetic=synthetic,
        lags=result.lags,
        evidence=result.evidence,
    )


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame], *, synthetic: bool) -> None:
    """Write each table as ``<name>.csv``; made-up data are marked in every row."""
    for name, table in tables.items():
        marked = table.assign(data="SYNTHETIC") if synthetic else table
        marked.to_csv(folder / f"{name}.csv", index=False)


def frames_of(evidence: Sequence[Evidence]) -> dict[str, pd.DataFrame]:
    """Return every table of some evidence, by the name of its file."""
    return {name: frame for one in evidence for name, frame in one.frames.items()}


def describe(
    result: InsituResult, settings: InsituSettings, *, command: str, synthetic: bool
) -> dict[str, Any]:
    """Return what ``run.json`` says, but for time and memory."""
    observations = result.observations
    kinds = _kinds(result, settings)
    parents = {spec.name: spec.derived[1] for spec in settings.products if spec.derived}
    return {
        "command": command,
        "synthetic": synthetic,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "device": provenance.device(),
        "seed": settings.seed,
        "settings": _settings(settings),
        "baseline": result.baseline,
        "inputs": provenance.hash_inputs(
            [observations.files, *(product.files for product in result.products)]
        ),
        "damaged": [
            asdict(one)
            for one in [*observations.damaged, *(d for p in result.products for d in p.damaged)]
        ],
        "counts": {
            **observations.counts,
            "rows": len(observations),
            "rows_passed": int((observations.table["flags"] == 0).sum()),
            "unpaired": result.colocation.unpaired,
            "pairs": len(result.colocation.pairs),
            "stations": len(result.stations),
        },
        "products": {
            product.name: {
                "kind": kinds[product.name],
                "derived_from": parents.get(product.name),
                "steps": int(product.field.sizes["time"]),
                "first": str(product.field["time"].values[0])[:16],
                "last": str(product.field["time"].values[-1])[:16],
                "cell_methods": product.field.attrs["cell_methods"],
                "stations_outside": list(result.colocation.outside[product.name]),
            }
            for product in result.products
        },
        "references": dict(result.references),
        "notes": list(result.notes),
    }


def _kinds(result: InsituResult, settings: InsituSettings) -> dict[str, str]:
    """Return the kind of each product; a derived one is owed to the same as its parent."""
    kinds = {product.name: product.kind for product in result.products}
    parents = {spec.name: spec.derived[1] for spec in settings.products if spec.derived}
    return {name: kinds[parents.get(name, name)] for name in kinds}


def _settings(settings: InsituSettings) -> Mapping[str, Any]:
    described = {
        name: getattr(settings, name) for name in settings.__dataclass_fields__ if name != "qc"
    }
    described["products"] = [asdict(spec) for spec in settings.products]
    described["qc"] = settings.qc.model_dump(mode="json")
    return described


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
        ``baseline``, ``sample``, ``average``, ``added_value``, ``seed`` and ``resamples`` of the
        runs, each where all agree.
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
    paths = [path / PAIRS_FILE if path.is_dir() else path for path in files]
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
        for name in ("baseline", "sample", "average", "added_value", "seed", "resamples")
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
