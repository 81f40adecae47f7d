"""Many small objects of the OpenAQ archive compacted into month-partitioned Parquet.

The layout is that of `deepcams_eval.read.openaq_parts`. A batch of objects becomes one part and
one manifest entry. Both are written under temporary names and renamed, the part first: the entry
is what makes the part count, so that a process killed at any moment leaves each object either in
one part that counts or in none. What does not count is removed at the next start.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.openaq_archive import Fetched, Missed
from deepcams_eval.read.openaq_parts import (
    FORM,
    MANIFEST_COLUMNS,
    MANIFEST_FOLDER,
    METADATA_KEY,
    PART_COLUMNS,
    PART_NAME,
    counted_parts,
    manifest_entry,
)
from deepcams_eval.read.openaq_text import (
    Records,
    TextFile,
    column_indices,
    read_csv,
    read_numbered,
)

_REQUIRED = {"location_id", "sensor_id", "name", "time", "latitude", "longitude"}
_REQUIRED |= {"parameter", "unit", "value"}
_TEXT = {"location_id": "location_id", "sensors_id": "sensor_id", "location": "name"}
_TEXT |= {"parameter": "parameter", "units": "unit"}
_NUMBERS = {"lat": "latitude", "lon": "longitude", "value": "value"}
_COUNTS = {"rows": pl.Int64, "other_parameter": pl.Int64, "malformed": pl.Int64}


@dataclass(frozen=True)
class Compacted:
    """Rows of some objects, and one line about each object.

    Attributes
    ----------
    rows : polars.DataFrame
        Columns `PART_COLUMNS`, in the order of the objects.
    objects : polars.DataFrame
        ``key, rows, other_parameter, malformed``, sorted by key.
    """

    rows: pl.DataFrame
    objects: pl.DataFrame


def check_table(text: TextFile) -> None:
    """Raise `InputError` unless a file has the columns of the archive."""
    if text.form != "csv":
        raise InputError("not a table", path=text.path)
    missing = _REQUIRED - column_indices(text.header)[1].keys()
    if missing:
        raise InputError(
            f"no column for {', '.join(sorted(missing))}", path=text.path, hint="not the archive's"
        )


def compact(texts: Sequence[TextFile]) -> Compacted:
    """Turn objects of the archive into typed rows of PM2.5.

    Objects with the same header are parsed together; one by one only where a line of them is no
    record.

    Parameters
    ----------
    texts : sequence of TextFile
        Their paths are their keys, in ascending order.

    Raises
    ------
    InputError
        If an object cannot be parsed at all.
    """
    rows, objects = [pl.DataFrame(schema=PART_COLUMNS)], []
    groups: dict[bytes, list[TextFile]] = {}
    for text in texts:
        groups.setdefault(text.header, []).append(text)
    for group in groups.values():
        together = read_numbered(group) if len(group) > 1 else None
        if together is not None:
            numbered = [(group, together)]
        else:
            numbered = [([text], read_csv(text.header, text.body)) for text in group]
        for some, records in numbered:
            file = _file_of(records, len(some))
            kept = np.bincount(file, minlength=len(some))
            malformed = records.malformed if len(some) == 1 else 0
            lines = _line_counts(some, records)
            objects.append(
                pl.DataFrame(
                    {
                        "key": [text.path for text in some],
                        "rows": kept,
                        "other_parameter": lines - kept - malformed,
                        "malformed": np.full(len(some), malformed),
                    },
                    schema={"key": pl.String, **_COUNTS},
                )
            )
            if records.size:
                rows.append(_typed(records, file, some))
    every = pl.concat(rows).sort("object", maintain_order=True)
    return Compacted(every, pl.concat(objects).sort("key"))


def _file_of(records: Records, count: int) -> np.ndarray:
    if count == 1 or not records.size:
        return np.zeros(records.size, dtype=np.int64)
    column = records.columns["file"]
    return column.words.cast(pl.Int64).to_numpy()[column.codes]


def _line_counts(texts: Sequence[TextFile], records: Records) -> np.ndarray:
    if len(texts) == 1:
        return np.array([records.size + records.other_parameter + records.malformed])
    return np.array([text.body.count(b"\n") for text in texts])


def _typed(records: Records, file: np.ndarray, texts: Sequence[TextFile]) -> pl.DataFrame:
    columns = records.columns
    times, _ = columns["time"].utc_times()
    keys = pl.Series([text.path for text in texts])
    text = {
        name: columns[field].words.gather(columns[field].codes) for name, field in _TEXT.items()
    }
    number = {
        name: pl.Series(columns[field].numbers()).fill_nan(None) for name, field in _NUMBERS.items()
    }
    return pl.DataFrame(
        {
            "object": keys.gather(file),
            **text,
            "datetime": pl.Series(times).dt.replace_time_zone("UTC"),
            "offset_minutes": columns["time"].utc_offsets(),
            **number,
        }
    ).select(list(PART_COLUMNS))


class Store:
    """The compacted archive below a folder: what it holds, and adding to it.

    Parameters
    ----------
    root : Path
        ``DIR/openaq``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def recover(self) -> int:
        """Remove what an interrupted fetch left, and return the number of files removed."""
        left = [path for path in self.root.rglob(".*.tmp") if path.is_file()]
        parts = [str(path) for path in sorted(self.root.glob("year=*/month=*/part-*.parquet"))]
        manifest = self.root / MANIFEST_FOLDER
        counted = set(counted_parts(parts)) if manifest.is_dir() else set()
        left += [Path(part) for part in parts if part not in counted]
        kept = {manifest_entry(Path(part)) for part in counted}
        left += [
            entry
            for entry in manifest.absolute().glob("year=*/month=*/part-*.parquet")
            if entry not in kept
        ]
        for path in left:
            path.unlink()
        return len(left)

    def held(self) -> pl.DataFrame:
        """Return what is held: ``location, day, etag, size, entry``, one row an object."""
        entries = str(self.root / MANIFEST_FOLDER / "year=*" / "month=*" / "part-*.parquet")
        columns = ["location", "day", "etag", "size"]
        if not list((self.root / MANIFEST_FOLDER).glob("year=*/month=*/part-*.parquet")):
            return pl.DataFrame(
                schema={name: MANIFEST_COLUMNS[name] for name in columns}
                | {"entry": pl.Categorical}
            )
        scanned = pl.scan_parquet(entries, include_file_paths="entry", hive_partitioning=False)
        return (
            scanned.filter(pl.col("state") == "held")
            .select(*columns, pl.col("entry").cast(pl.Categorical))
            .collect()
        )

    def add(
        self, year: int, month: int, compacted: Compacted, batch: Sequence[Fetched | Missed]
    ) -> None:
        """Write a new part of one month."""
        listed = [item.listed for item in batch]
        digest = hashlib.sha256("\n".join(f"{one.key} {one.etag}" for one in listed).encode())
        name = f"part-{digest.hexdigest()[:16]}.000.parquet"
        part = self.root / f"year={year}" / f"month={month:02d}" / name
        self._commit(part, compacted, _entry(compacted, batch))

    def replace(self, entry: Path, compacted: Compacted, batch: Sequence[Fetched | Missed]) -> None:
        """Write a part anew with other content of some of its objects; the old one goes.

        Objects that could not be had keep the rows that they have.
        """
        old, old_entry = _part_of(entry), pl.read_parquet(entry)
        new_entry = _entry(compacted, batch).filter(pl.col("state") == "held")
        same = old_entry.join(new_entry, on="key", how="anti")
        rows = pl.read_parquet(old, hive_partitioning=False)
        rows = pl.concat(
            [rows.join(new_entry, left_on="object", right_on="key", how="anti"), compacted.rows]
        )
        merged = pl.concat([same, new_entry]).sort("key")
        named = PART_NAME.fullmatch(entry.name)
        if named is None:
            raise InputError("no name of a manifest entry", path=entry, hint="remove the file")
        part = old.with_name(f"part-{named[1]}.{int(named[2]) + 1:03d}.parquet")
        whole = Compacted(rows.sort("object", maintain_order=True), merged.select("key", *_COUNTS))
        self._commit(part, whole, merged)
        old.unlink()
        entry.unlink()

    def _commit(self, part: Path, compacted: Compacted, entry: pl.DataFrame) -> None:
        described = {
            "form": FORM,
            "first": compacted.objects["key"][0],
            "last": compacted.objects["key"][-1],
            "other_parameter": int(compacted.objects["other_parameter"].sum()),
            "malformed": int(compacted.objects["malformed"].sum()),
        }
        write_table(part, compacted.rows, {METADATA_KEY: json.dumps(described).encode()})
        write_table(manifest_entry(part), entry)


def _entry(compacted: Compacted, batch: Sequence[Fetched | Missed]) -> pl.DataFrame:
    rows = [
        {
            **item.listed._asdict(),
            "state": "held" if isinstance(item, Fetched) else "missing",
            "reason": "" if isinstance(item, Fetched) else item.missing.reason,
        }
        for item in batch
    ]
    table = pl.DataFrame(rows, schema_overrides={"last_modified": pl.Datetime("us", "UTC")})
    joined = table.join(compacted.objects, on="key", how="left").sort("key")
    return joined.with_columns(pl.col(*_COUNTS).fill_null(0)).select(
        pl.col(name).cast(kind) for name, kind in MANIFEST_COLUMNS.items()
    )


def _part_of(entry: Path) -> Path:
    month = entry.parent
    return month.parents[2] / month.parent.name / month.name / entry.name


def write_table(
    path: Path, table: pl.DataFrame, metadata: dict[bytes, bytes] | None = None
) -> None:
    """Write a Parquet file whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
    arrow = arrow.replace_schema_metadata(metadata or {})
    with temporary.open("wb") as stream:
        pyarrow.parquet.write_table(arrow, stream, compression="zstd")
        stream.flush()
        # A name must not outlive its bytes when the power fails.
        os.fsync(stream.fileno())
    temporary.replace(path)
