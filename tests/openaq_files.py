"""Writers of small OpenAQ files in the published forms."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ARCHIVE_HEADER = (
    "location_id",
    "sensors_id",
    "location",
    "datetime",
    "lat",
    "lon",
    "parameter",
    "units",
    "value",
)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]], *, quote: bool = False) -> str:
    stream = io.StringIO()
    quoting = csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL
    writer = csv.writer(stream, lineterminator="\n", quoting=quoting)
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def write_bytes(path: Path, content: bytes, *, compressed: bool | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz" if compressed is None else compressed:
        content = gzip.compress(content, mtime=0)
    path.write_bytes(content)
    return path


def archive_path(root: Path, location_id: int, day: str, suffix: str = ".csv.gz") -> Path:
    """`day` is YYYY-MM-DD."""
    year, month, number = day.split("-")
    folder = root / f"locationid={location_id}" / f"year={year}" / f"month={month}"
    return folder / f"location-{location_id}-{year}{month}{number}{suffix}"


def archive_row(stamp: str, value: Any, **fields: Any) -> list[Any]:
    """A row of the archive; `fields` replace the columns that they name."""
    row = dict(
        zip(
            ARCHIVE_HEADER,
            [7, 70, "Somewhere-7", stamp, 51.2, 4.4, "pm25", "µg/m³", value],
            strict=True,
        )
    )
    return list((row | fields).values())


def write_archive(
    root: Path,
    rows: Sequence[Sequence[Any]],
    *,
    location_id: int = 7,
    day: str = "2018-01-01",
    header: Sequence[str] = ARCHIVE_HEADER,
    quote: bool = False,
    suffix: str = ".csv.gz",
) -> Path:
    content = csv_text(header, rows, quote=quote).encode()
    return write_bytes(archive_path(root, location_id, day, suffix), content)


def realtime_record(reading: Any = 12.5, /, **fields: Any) -> dict[str, Any]:
    """A line of the realtime archive; a field given as `...` is left out of it."""
    record: dict[str, Any] = {
        "date": {"utc": "2018-02-05T23:00:00.000Z", "local": "2018-02-06T00:00:00+01:00"},
        "parameter": "pm25",
        "location": "BETR801",
        "value": reading,
        "unit": "µg/m³",
        "city": "Antwerpen",
        "attribution": [{"name": "EEA", "url": "http://example.org"}],
        "averagingPeriod": {"unit": "hours", "value": 1},
        "coordinates": {"latitude": 51.20966, "longitude": 4.43182},
        "country": "BE",
        "sourceName": "EEA Belgium",
        "sourceType": "government",
        "mobile": False,
    }
    return {name: said for name, said in (record | fields).items() if said is not ...}


def write_realtime(path: Path, records: Iterable[dict[str, Any] | str]) -> Path:
    """Records as they are; a text is written as a line of its own, however damaged."""
    lines = [
        record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
        for record in records
    ]
    return write_bytes(path, "\n".join(lines).encode())


def write_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], *, quote: bool = False
) -> Path:
    return write_bytes(path, csv_text(header, rows, quote=quote).encode())
