"""OpenAQ observations compacted into Parquet: the layout, and reading it.

``deepcams-eval fetch openaq`` writes this form of the archive::

    DIR/openaq/stations.parquet
    DIR/openaq/year=2018/month=03/part-<id>.<generation>.parquet
    DIR/openaq/_manifest/year=2018/month=03/part-<id>.<generation>.parquet

- A part holds the PM2.5 rows of many objects of the archive, all filed under one month (that of
  the station's own clock), sorted by the key of their object and within it as they were written.
  Columns are those of `PART_COLUMNS`. Values are as reported, sentinels and negatives included.
- Its manifest entry, of the same name, holds one row an object: `MANIFEST_COLUMNS`.
- A part counts if its entry is there and no entry of a higher generation is. Writers put the part
  in place first and its entry second, both by renaming, so that a part counts whole or not at all.
- The part's metadata say under ``deepcams`` how many rows of other pollutants and how many lines
  that were no record its objects held, and the first and last of their keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet

from deepcams_eval.core.field import DamagedFile
from deepcams_eval.errors import InputError
from deepcams_eval.read.openaq_text import Column, Records

MANIFEST_FOLDER = "_manifest"
METADATA_KEY = b"deepcams"
FORM = "openaq-parts-1"
PART_NAME = re.compile(r"part-([0-9a-f]{16})\.(\d{3})\.parquet")

PART_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "object": pl.String,
    "location_id": pl.String,
    "sensors_id": pl.String,
    "location": pl.String,
    "datetime": pl.Datetime("us", "UTC"),
    "offset_minutes": pl.Int16,
    "lat": pl.Float64,
    "lon": pl.Float64,
    "parameter": pl.String,
    "units": pl.String,
    "value": pl.Float64,
}
"""Columns of a part. ``object`` is the key in the archive; ``datetime`` is the stamp in UTC (null:
it is no date) and ``offset_minutes`` what its local clock was ahead (null: none was given, UTC is
assumed); ``lat`` and ``lon`` are degrees; ``value`` is in ``units`` (null: it is no number)."""

MANIFEST_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "key": pl.String,
    "location": pl.Int64,
    "day": pl.Int32,
    "size": pl.Int64,
    "etag": pl.String,
    "last_modified": pl.Datetime("us", "UTC"),
    "state": pl.String,
    "reason": pl.String,
    "rows": pl.Int64,
    "other_parameter": pl.Int64,
    "malformed": pl.Int64,
}
"""Columns of a manifest entry. ``location`` and ``day`` (year, month, day as one number) are those
of the key; ``state`` is ``held``, or ``missing`` for the ``reason`` given; ``rows`` counts PM2.5
rows in the part."""

_TEXT = {"location_id": "location_id", "sensor_id": "sensors_id", "name": "location"}
_TEXT |= {"parameter": "parameter", "unit": "units"}
_READ: dict[str, Any] = {"columns": list(PART_COLUMNS), "hive_partitioning": False}
_NEVER = -(2**62)


@dataclass(frozen=True)
class _Part:
    path: str
    first: str
    last: str
    other_parameter: int
    malformed: int


def counted_parts(paths: Sequence[str]) -> list[str]:
    """Return those of some Parquet files that count, in order.

    Files that are named unlike parts are returned too: `read_parts` says what they are.

    Raises
    ------
    InputError
        If parts lie in a folder without any manifest.
    """
    highest: dict[Path, dict[str, int]] = {}
    counted = []
    for path in paths:
        named = PART_NAME.fullmatch(Path(path).name)
        if named is None:
            counted.append(path)
            continue
        folder = manifest_entry(Path(path)).parent
        if folder not in highest:
            highest[folder] = _highest_generations(folder, path)
        if highest[folder].get(named[1]) == int(named[2]):
            counted.append(path)
    return counted


def manifest_entry(part: Path) -> Path:
    """Return where the manifest entry of a part lies, or would."""
    month = part.absolute().parent
    return month.parents[1] / MANIFEST_FOLDER / month.parent.name / month.name / part.name


def _highest_generations(folder: Path, part: str) -> dict[str, int]:
    """Return the highest generation of each part that has an entry in a folder."""
    if not folder.parents[1].is_dir():
        raise InputError(
            f"a part without the folder {MANIFEST_FOLDER}, which says whether it is whole",
            path=part,
            hint=f"put {MANIFEST_FOLDER} beside the years, or run deepcams-eval fetch openaq",
        )
    highest: dict[str, int] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        named = PART_NAME.fullmatch(path.name)
        if named is not None:
            highest[named[1]] = max(highest.get(named[1], -1), int(named[2]))
    return highest


def read_parts(
    paths: Sequence[str], *, tick: Callable[[int], None]
) -> Iterator[Records | DamagedFile]:
    """Read parts into records, in the order in which their objects would be read one by one.

    Parts of the same stations are read together, so that memory holds some stations' rows of all
    months at a time; `tick` is called with the number of parts done with.
    """
    parts = []
    for path in paths:
        described = _describe(path)
        if isinstance(described, DamagedFile):
            yield described
            tick(1)
        else:
            parts.append(described)
    for cluster in _clusters(parts):
        frames = []
        for part in cluster:
            try:
                frames.append((part, pl.read_parquet(part.path, **_READ)))
            except (OSError, pl.exceptions.PolarsError) as error:
                yield _damaged(part.path, error)
        if frames:
            yield _records(frames)
        tick(len(cluster))


def _describe(path: str) -> _Part | DamagedFile:
    try:
        schema = pyarrow.parquet.read_schema(path)
        said = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (OSError, ValueError, pa.ArrowException) as error:
        return _damaged(path, error)
    if said.get("form") != FORM or not set(PART_COLUMNS) <= set(schema.names):
        return DamagedFile(
            path, "Parquet, but no compacted OpenAQ observations; pass stations with --stations"
        )
    return _Part(path, said["first"], said["last"], said["other_parameter"], said["malformed"])


def _damaged(path: str, error: Exception) -> DamagedFile:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return DamagedFile(path, f"damaged Parquet ({said})")


def _clusters(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Group parts by ranges of stations that do not overlap, in the order of their keys."""
    cluster: list[_Part] = []
    reach = ""
    for part in sorted(parts, key=lambda part: (_station(part.first), part.path)):
        if cluster and _station(part.first) > reach:
            yield cluster
            cluster = []
        reach = max(reach, _station(part.last)) if cluster else _station(part.last)
        cluster.append(part)
    if cluster:
        yield cluster


def _station(key: str) -> str:
    return key.partition("/year=")[0] + "/"


def _records(frames: Sequence[tuple[_Part, pl.DataFrame]]) -> Records:
    # An object lies in one part, so that sorting by key alone restores the order of its rows.
    table = pl.concat([frame for _, frame in frames]).sort("object", maintain_order=True)
    columns = {field: Column.of(table[name].fill_null("")) for field, name in _TEXT.items()}
    columns["time"] = _stamps(table)
    columns["value"] = Column.of(table["value"].fill_null(np.nan))
    for field, name in (("latitude", "lat"), ("longitude", "lon")):
        degrees = Column.of(table[name])
        columns[field] = Column(degrees.codes, degrees.words.cast(pl.String).fill_null(""))
    return Records(
        "csv",
        columns,
        size=len(table),
        other_parameter=sum(part.other_parameter for part, _ in frames),
        malformed=sum(part.malformed for part, _ in frames),
    )


def _stamps(table: pl.DataFrame) -> Column:
    """Return stamps as text again, each distinct one once."""
    naive = table["offset_minutes"].is_null().cast(pl.Int64)
    ticks = (table["datetime"].dt.timestamp("us") * 2 + naive).fill_null(_NEVER)
    encoded = Column.of(ticks)
    ticked = pl.DataFrame({"ticks": encoded.words})
    clock = (pl.col("ticks") // 2).cast(pl.Datetime("us")).dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
    zone = pl.when(pl.col("ticks") % 2 == 0).then(pl.lit("Z")).otherwise(pl.lit(""))
    known = pl.when(pl.col("ticks") != _NEVER).then(pl.format("{}{}", clock, zone))
    return Column(encoded.codes, ticked.select(known.fill_null("")).to_series())
