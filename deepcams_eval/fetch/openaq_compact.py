"""Many small objects of the OpenAQ archive compacted into month-partitioned Parquet.

The layout is that of `deepcams_eval.read.openaq_parts`. A batch of objects becomes one part and
one manifest entry. Both are written under temporary names and renamed, the part first: the entry
is what makes the part count, so that a process killed at any moment leaves each object either in
one part that counts or in none. What does not count is removed at the next start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet

from deepcams_eval.core.folder import whole_file
from deepcams_eval.errors import InputError
from deepcams_eval.fetch.openaq_archive import Answer
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
_ANY_PART = "year=*/month=*/part-*.parquet"
_COUNTS = {"rows": pl.Int64, "other_parameter": pl.Int64, "malformed": pl.Int64}


class Compacted(NamedTuple):
    """Rows of some objects (`PART_COLUMNS`, in their order), and one line about each object.

    ``objects`` has the columns ``key, rows, other_parameter, malformed`` and is sorted by key.
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
    """Turn objects of the archive, in the order of their keys, into typed rows of PM2.5.

    Objects with the same header are parsed together; one by one only where a line of them is no
    record.

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
        numbered = (
            [([text], read_csv(text.header, text.body)) for text in group]
            if together is None
            else [(group, together)]
        )
        for some, records in numbered:
            file = _file_of(records, len(some))
            kept = np.bincount(file, minlength=len(some))
            if len(some) == 1:
                malformed, others = records.malformed, np.array([records.other_parameter])
            else:
                lines = np.array([text.body.count(b"\n") for text in some])
                malformed, others = 0, lines - kept
            objects.append(
                pl.DataFrame(
                    {
                        "key": [text.path for text in some],
                        "rows": kept,
                        "other_parameter": others,
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
    """The compacted archive below a folder, ``DIR/openaq``: what it holds, and adding to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._manifest = root / MANIFEST_FOLDER

    def recover(self) -> int:
        """Remove what an interrupted fetch left, and return the number of files removed."""
        left = {path for path in self.root.rglob(".*.parquet*") if path.is_file()}
        parts = [str(path) for path in sorted(self.root.glob(_ANY_PART))]
        counted = counted_parts(parts) if self._manifest.is_dir() else []
        left |= {Path(part) for part in set(parts) - set(counted)}
        left |= set(self._manifest.absolute().glob(_ANY_PART))
        left -= {manifest_entry(Path(part)) for part in counted}
        for path in left:
            path.unlink()
        return len(left)

    def held(self) -> pl.DataFrame:
        """Return what is held: ``location, day, etag, size, entry``, one row an object."""
        columns = ["location", "day", "etag", "size"]
        if not any(self._manifest.glob(_ANY_PART)):
            schema = {name: MANIFEST_COLUMNS[name] for name in columns}
            return pl.DataFrame(schema=schema | {"entry": pl.Categorical})
        entries = str(self._manifest / _ANY_PART)
        scanned = pl.scan_parquet(entries, include_file_paths="entry", hive_partitioning=False)
        return (
            scanned.filter(pl.col("state") == "held")
            .select(*columns, pl.col("entry").cast(pl.Categorical))
            .collect()
        )

    def put(self, answers: Sequence[Answer], entry: Path | None = None) -> None:
        """Write what came of some objects of one month, at least one, as a part.

        It is a new one, or the one of `entry` anew with other content of some of its objects;
        those that could not be had keep the rows that they have.

        Raises
        ------
        InputError
            If an object cannot be parsed at all.
        """
        compacted = compact([one.text for one in answers if one.text is not None])
        described = _entry(compacted, answers)
        if entry is None:
            listed = [one.listed for one in answers]
            digest = hashlib.sha256("\n".join(f"{one.key} {one.etag}" for one in listed).encode())
            year, month = divmod(listed[0].day // 100, 100)
            name = f"part-{digest.hexdigest()[:16]}.000.parquet"
            part = self.root / f"year={year}" / f"month={month:02d}" / name
            self._commit(part, compacted, described)
            return
        named = PART_NAME.fullmatch(entry.name)
        if named is None:
            raise InputError("no name of a manifest entry", path=entry, hint="remove the file")
        old = self.root / entry.relative_to(self._manifest)
        new = described.filter(pl.col("state") == "held")
        rows = pl.read_parquet(old, hive_partitioning=False)
        kept = rows.join(new, left_on="object", right_on="key", how="anti")
        rows = pl.concat([kept, compacted.rows]).sort("object", maintain_order=True)
        merged = pl.concat([pl.read_parquet(entry).join(new, on="key", how="anti"), new])
        merged = merged.sort("key")
        part = old.with_name(f"part-{named[1]}.{int(named[2]) + 1:03d}.parquet")
        self._commit(part, Compacted(rows, merged.select("key", *_COUNTS)), merged)
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


def _entry(compacted: Compacted, answers: Sequence[Answer]) -> pl.DataFrame:
    rows = [
        {
            **one.listed._asdict(),
            "state": "missing" if one.text is None else "held",
            "reason": one.reason,
        }
        for one in answers
    ]
    table = pl.DataFrame(rows, schema_overrides={"last_modified": pl.Datetime("us", "UTC")})
    joined = table.join(compacted.objects, on="key", how="left").sort("key")
    return joined.with_columns(pl.col(*_COUNTS).fill_null(0)).select(
        pl.col(name).cast(kind) for name, kind in MANIFEST_COLUMNS.items()
    )


def write_table(
    path: Path, table: pl.DataFrame, metadata: dict[bytes, bytes] | None = None
) -> None:
    """Write a Parquet file whole or not at all; its folder is made."""
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
    arrow = arrow.replace_schema_metadata(metadata or {})
    with whole_file(path) as work, work.open("wb") as stream:
        pyarrow.parquet.write_table(arrow, stream, compression="zstd")
