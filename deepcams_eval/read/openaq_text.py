"""The PM2.5 records of OpenAQ's text files, CSV or ndjson told apart by content, as columns."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv

from deepcams_eval.core.arrays import BoolArray
from deepcams_eval.core.field import TIME_DTYPE, DamagedFile
from deepcams_eval.errors import InputError
from deepcams_eval.read.files import checked_text, known_columns, read_text, reason_of

Form = Literal["csv", "ndjson"]

_FILES_PER_CHUNK = 128
_BYTES_PER_CHUNK = 8_000_000
_BYTES_PER_BATCH = 32_000_000
_PM25_SPELLINGS = ("pm25", "pm2.5")

# Names of columns, lower case without separators, most telling first: a file that has both a UTC
# and another time column is read by the UTC one.
_CSV_ALIASES: dict[str, tuple[str, ...]] = {
    "location_id": ("locationid",),
    "sensor_id": ("sensorsid", "sensorid"),
    "name": ("location", "locationname"),
    "city": ("city",),
    "country": ("countrycode", "countryiso", "country"),
    "provider": ("sourcename", "provider", "providername"),
    "time": ("dateutc", "datetimeutc", "utc", "datetime", "date"),
    "latitude": ("lat", "latitude", "coordinateslatitude"),
    "longitude": ("lon", "longitude", "coordinateslongitude"),
    "parameter": ("parameter",),
    "unit": ("units", "unit"),
    "value": ("value",),
    "period": ("averagingperiodvalue",),
    "period_unit": ("averagingperiodunit",),
    "mobile": ("mobile", "ismobile"),
}
# Field of a record: path inside a line of the realtime archive.
_NDJSON_PATHS: dict[str, tuple[str, ...]] = {
    "parameter": ("parameter",),
    "name": ("location",),
    "city": ("city",),
    "country": ("country",),
    "provider": ("sourceName",),
    "mobile": ("mobile",),
    "unit": ("unit",),
    "value": ("value",),
    "time": ("date", "utc"),
    "period": ("averagingPeriod", "value"),
    "period_unit": ("averagingPeriod", "unit"),
    "latitude": ("coordinates", "latitude"),
    "longitude": ("coordinates", "longitude"),
}


def _ndjson_schema() -> dict[str, pl.DataType]:
    """Return what is read of a line; numbers stay text until they are checked."""
    parts: dict[str, dict[str, type[pl.String]]] = {}
    for first, *rest in _NDJSON_PATHS.values():
        parts.setdefault(first, {}).update(dict.fromkeys(rest, pl.String))
    return {name: pl.Struct(inner) if inner else pl.String() for name, inner in parts.items()}


_NDJSON_SCHEMA = _ndjson_schema()
# Date, hour and minute, seconds, "UTC", or sign, hours and minutes of an offset.
_STAMP = (
    r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:[0-5]\d(?:\.\d{1,9})?)?"
    r"\s*(?:(Z|z|UTC)|([+-])(0\d|1[0-4]):?([0-5]\d))?$"
)


class Column(NamedTuple):
    """Text of many rows as codes into distinct words.

    Parsing a word once serves every row that has it: an archive repeats its stamps and values.
    """

    codes: npt.NDArray[np.int32]
    words: pl.Series

    @classmethod
    def of(cls, values: pl.Series) -> Column:
        """Return the column of plain values; missing is a word of its own."""
        return cls.encoded(values.to_arrow().dictionary_encode(null_encoding="encode"))

    @classmethod
    def encoded(cls, values: Any) -> Column:
        """Return the column of an Arrow array of dictionary type; text is stripped."""
        codes = values.indices.to_numpy(zero_copy_only=False).astype(np.int32)
        words = pl.Series(values.dictionary)
        return cls(codes, words.str.strip_chars() if words.dtype == pl.String else words)

    def take(self, rows: npt.NDArray[np.intp]) -> Column:
        """Return the column of some rows."""
        return Column(self.codes[rows], self.words)

    def numbers(self) -> npt.NDArray[np.float64]:
        """Parse text as float64; NaN where it is no number."""
        parsed = self.words.cast(pl.Float64, strict=False).fill_null(np.nan)
        return parsed.to_numpy()[self.codes]

    def utc_times(self) -> tuple[npt.NDArray[np.datetime64], BoolArray]:
        """Return stamps as UTC, NaT where one is no date with a time of day, and which were naive.

        Of naive ones, which give no offset, UTC is assumed.
        """
        parsed = _parse_stamps(self.words)
        times = parsed["time"].to_numpy().astype(TIME_DTYPE)
        return times[self.codes], parsed["naive"].to_numpy()[self.codes]

    def utc_offsets(self) -> pl.Series:
        """Return by how many minutes the clock of each stamp is ahead of UTC; null where naive."""
        parsed = _parse_stamps(self.words)
        known = pl.when(~pl.col("naive")).then(pl.col("east_minutes")).cast(pl.Int16)
        return parsed.select(known).to_series().gather(self.codes)


def _parse_stamps(words: pl.Series) -> pl.DataFrame:
    groups = words.str.extract_groups(_STAMP).struct.unnest()
    groups.columns = ["date", "minute", "second", "utc", "sign", "off_hours", "off_minutes"]
    clock = pl.format("{}T{}{}", "date", "minute", pl.col("second").fill_null(":00"))
    minutes = 60 * pl.col("off_hours").cast(pl.Int64) + pl.col("off_minutes").cast(pl.Int64)
    east = pl.when(pl.col("sign") == "-").then(-minutes).otherwise(minutes).fill_null(0)
    return groups.select(
        time=clock.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        - pl.duration(minutes=east),
        naive=pl.col("utc").is_null() & pl.col("sign").is_null(),
        east_minutes=east,
    )


@dataclass(frozen=True)
class TextFile:
    """A decoded file: UTF-8 without byte order mark, lines ending in a line feed."""

    path: str
    form: Form
    header: bytes  # the first line of a CSV file; empty for ndjson
    body: bytes  # the rest; it ends in a line feed unless it is empty


@dataclass(frozen=True)
class Records:
    """PM2.5 records in report order; missing text is ""."""

    form: Form
    columns: dict[str, Column]  # only those that the files have
    size: int
    other_parameter: int  # rows of other pollutants
    malformed: int  # lines that are no record at all

    @property
    def lines(self) -> int:
        """All lines that gave these records."""
        return self.size + self.other_parameter + self.malformed


def read_in_order(
    paths: Sequence[str], *, workers: int, tick: Callable[[int], None]
) -> Iterator[TextFile | DamagedFile]:
    """Decode files in a thread pool and yield them in the order of `paths`.

    A few chunks of files are in flight at a time, so memory does not grow with their number;
    `tick` is called with the number of files in each.
    """
    chunks = _chunks(paths)
    pending: deque[Future[list[TextFile | DamagedFile]]] = deque()
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        pending.extend(pool.submit(_decode_all, chunk) for chunk in islice(chunks, workers + 1))
        while pending:
            decoded = pending.popleft().result()
            pending.extend(pool.submit(_decode_all, chunk) for chunk in islice(chunks, 1))
            yield from decoded
            tick(len(decoded))


def _chunks(paths: Sequence[str]) -> Iterator[list[str]]:
    """Group files so that a task is worth its overhead and yet bounded in memory."""
    chunk: list[str] = []
    size = 0
    for path in paths:
        chunk.append(path)
        size += _size(path)
        if len(chunk) == _FILES_PER_CHUNK or size >= _BYTES_PER_CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0  # reading it will say what is wrong


def _decode_all(paths: list[str]) -> list[TextFile | DamagedFile]:
    decoded: list[TextFile | DamagedFile] = []
    for path in paths:
        try:
            decoded.append(_recognise(path, read_text(path)))
        except InputError as error:
            decoded.append(DamagedFile(path, reason_of(error)))
    return decoded


def decode(data: bytes, name: str) -> TextFile:
    """Decode the content of an OpenAQ text file, plain or gzipped; `name` is its path or key.

    Raises
    ------
    InputError
        As `checked_text`, or if its header is not that of a table of observations.
    """
    return _recognise(name, checked_text(data, name))


def _recognise(path: str, data: bytes) -> TextFile:
    data = data.lstrip()
    if not data.endswith(b"\n"):
        data += b"\n"
    if data.startswith(b"{"):
        if b'"FeatureCollection"' in data[:4096]:
            raise InputError("holds stations, not observations", hint="pass it with --stations")
        return TextFile(path, "ndjson", b"", data)
    header, _, body = data.partition(b"\n")
    column_indices(header)
    if body.count(b'"') % 2:
        # The rows after the open quote would be swallowed, so none of them can be trusted.
        raise InputError("a quotation mark is left open")
    return TextFile(path, "csv", header, body)


@lru_cache(maxsize=64)
def column_indices(header: bytes) -> tuple[int, dict[str, int]]:
    """Return the number of columns in a CSV header and where the known ones stand.

    Raises
    ------
    InputError
        If a column that every OpenAQ table has is missing.
    """
    start = header[:60].decode("utf-8", "replace")
    try:
        names = next(csv.reader([header.decode("utf-8")]))
    except csv.Error as error:
        raise InputError(f"{start!r} is no header ({error})") from error
    found = known_columns(names, _CSV_ALIASES)
    if "value" not in found and {"latitude", "longitude"} <= found.keys():
        raise InputError("holds stations, not observations", hint="pass it with --stations")
    missing = [name for name in ("time", "parameter", "value") if name not in found]
    if not {"location_id", "name"} & found.keys():
        missing.append("location")
    if missing:
        raise InputError(f"no column for {', '.join(missing)} in the header {start!r}")
    return len(names), found


def read_records(texts: Iterable[TextFile | DamagedFile]) -> Iterator[Records | DamagedFile]:
    """Turn decoded files into batches of records, in order.

    Neighbouring CSV files with the same header are parsed as one: parsing a day of a station on
    its own would cost more than its content.
    """
    batch: list[TextFile] = []
    size = 0
    for text in texts:
        if isinstance(text, DamagedFile):
            yield text
            continue
        starts_new = batch and (text.form != "csv" or text.header != batch[0].header)
        if starts_new or size >= _BYTES_PER_BATCH:
            yield from _csv_batch(batch)
            batch, size = [], 0
        if text.form == "csv":
            batch.append(text)
            size += len(text.body)
        else:
            yield _ndjson_records(text)
    if batch:
        yield from _csv_batch(batch)


def _csv_batch(batch: list[TextFile]) -> Iterator[Records | DamagedFile]:
    """Parse CSV files together, or one by one where one could spoil its neighbours."""
    body = b"".join(text.body for text in batch)
    try:
        records = read_csv(batch[0].header, body)
    except InputError as error:
        if len(batch) == 1:
            yield DamagedFile(batch[0].path, reason_of(error))
            return
    else:
        # A field that goes on into the next line may have gone on into the next file.
        alone = len(batch) == 1 or b'"' not in body
        if alone or records.lines == sum(map(bool, body.split(b"\n"))):
            yield records
            return
    for text in batch:
        yield from _csv_batch([text])


def read_numbered(texts: Sequence[TextFile]) -> Records | None:
    """Parse CSV files with the same header as one, and number the file of each record.

    The column ``file`` is the position of the file in `texts`. None where some line is no record,
    or may have gone on into the next one, so that files must be read by themselves.
    """
    # A column more costs nothing; telling the rows of files apart afterwards would.
    body = b"".join(
        text.body.replace(b"\n", b",%d\n" % number) for number, text in enumerate(texts)
    )
    try:
        records = read_csv(texts[0].header, body, added=("file",))
    except InputError:
        return None
    lines = sum(text.body.count(b"\n") for text in texts)
    return records if records.malformed == 0 and records.lines == lines else None


def read_csv(header: bytes, body: bytes, added: tuple[str, ...] = ()) -> Records:
    """Parse the rows of a CSV file; `added` are columns beyond those of its header.

    Raises
    ------
    InputError
        If it cannot be parsed.
    """
    width, indices = column_indices(header)
    indices = indices | {name: width + place for place, name in enumerate(added)}
    width += len(added)
    if not body.strip():
        return Records("csv", {}, 0, 0, 0)
    malformed = 0

    def count_malformed(_: Any) -> str:
        nonlocal malformed
        malformed += 1
        return "skip"

    numbered = [str(index) for index in range(width)]
    kept = {name: str(index) for name, index in indices.items()}
    text = pa.dictionary(pa.int32(), pa.string())
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(body),
            read_options=pyarrow.csv.ReadOptions(column_names=numbered),
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=b'"' in body, invalid_row_handler=count_malformed
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(numbered, text), include_columns=list(kept.values())
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"not readable as CSV ({error})") from error
    table = table.rename_columns(list(kept)).unify_dictionaries().combine_chunks()
    columns = {name: _column(table.column(name)) for name in kept}
    return _only_pm25(Records("csv", columns, len(table), 0, malformed))


def _column(values: pa.ChunkedArray) -> Column:
    if values.num_chunks == 0:
        return Column(np.zeros(0, dtype=np.int32), pl.Series(dtype=pl.String))
    return Column.encoded(values.chunk(0))


def _only_pm25(records: Records) -> Records:
    parameter = records.columns["parameter"]
    spelled = parameter.words.str.to_lowercase()
    wanted = spelled.is_in(_PM25_SPELLINGS).to_numpy()[parameter.codes]
    # A line that names no parameter cannot be told to be another pollutant.
    unnamed = int((spelled == "").to_numpy()[parameter.codes].sum())
    rows = np.flatnonzero(wanted)
    return Records(
        records.form,
        {name: column.take(rows) for name, column in records.columns.items()},
        size=len(rows),
        other_parameter=records.other_parameter + records.size - len(rows) - unnamed,
        malformed=records.malformed + unnamed,
    )


def _ndjson_records(text: TextFile) -> Records | DamagedFile:
    malformed = 0
    try:
        lines = pl.read_ndjson(text.body, schema=_NDJSON_SCHEMA)
    except pl.exceptions.PolarsError:
        good, malformed = _well_formed(text.body)
        lines = pl.read_ndjson(good, schema=_NDJSON_SCHEMA)
    inner = {
        field: reduce(lambda part, name: part.struct.field(name), rest, pl.col(first))
        for field, (first, *rest) in _NDJSON_PATHS.items()
    }
    table = lines.select(**inner).with_columns(pl.all().fill_null(""))
    if (table["parameter"] == "").all():
        return DamagedFile(text.path, "no line is an OpenAQ record")
    # Encoding is the dear part, and most lines are of other pollutants.
    spelled = pl.col("parameter").str.strip_chars().str.to_lowercase()
    kept = table.filter(spelled.is_in(["", *_PM25_SPELLINGS]))
    columns = {name: Column.of(kept[name]) for name in kept.columns}
    return _only_pm25(Records("ndjson", columns, len(kept), len(table) - len(kept), malformed))


def _well_formed(body: bytes) -> tuple[bytes, int]:
    """Return the good lines of a file that the fast parser rejects, and how many are not good.

    A part of an unexpected shape, such as coordinates in a list, is left out of its line.
    """
    good = []
    malformed = 0
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            parsed = json.loads(line)
            parts = {
                name: parsed.get(name)
                for name, kind in _NDJSON_SCHEMA.items()
                if kind == pl.String or isinstance(parsed.get(name), dict)
            }
            # Infinity and NaN are not JSON, although Python reads them.
            good.append(json.dumps(parts, allow_nan=False))
        except (ValueError, AttributeError, RecursionError):
            malformed += 1
    return "\n".join(good).encode(), malformed
