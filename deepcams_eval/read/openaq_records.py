"""The PM2.5 records of decoded OpenAQ files, whatever their form, as columns of text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv

from deepcams_eval.core.field import DamagedFile
from deepcams_eval.errors import InputError
from deepcams_eval.read.openaq_files import Form, TextFile, column_indices, reason_of

_BYTES_PER_BATCH = 32_000_000
_PM25_SPELLINGS = ("pm25", "pm2.5")

# What is read of a line of the realtime archive; numbers stay text until they are checked.
_NDJSON_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "parameter": pl.String,
    "location": pl.String,
    "city": pl.String,
    "country": pl.String,
    "sourceName": pl.String,
    "mobile": pl.String,
    "unit": pl.String,
    "value": pl.String,
    "date": pl.Struct({"utc": pl.String}),
    "averagingPeriod": pl.Struct({"value": pl.String, "unit": pl.String}),
    "coordinates": pl.Struct({"latitude": pl.String, "longitude": pl.String}),
}
# Field of a record: path inside a line.
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


class Column(NamedTuple):
    """Text of many rows as codes into distinct words.

    Parsing a word once serves every row that has it: an archive repeats its stamps and values.
    """

    codes: npt.NDArray[np.int32]
    words: pl.Series

    def take(self, rows: npt.NDArray[np.intp]) -> Column:
        """Return the column of some rows."""
        return Column(self.codes[rows], self.words)

    def count_words(self) -> dict[str, int]:
        """Return how many rows have each word that occurs."""
        counts = np.bincount(self.codes, minlength=len(self.words))
        return {
            word: int(count) for word, count in zip(self.words, counts, strict=True) if count > 0
        }


@dataclass(frozen=True)
class Records:
    """PM2.5 records in report order.

    Attributes
    ----------
    form : {"csv", "ndjson"}
    columns : dict of str to Column
        Only the columns that the files have; missing text is "".
    size : int
        Number of records.
    other_parameter, malformed : int
        Rows of other pollutants, and lines that are no record at all.
    """

    form: Form
    columns: dict[str, Column]
    size: int
    other_parameter: int
    malformed: int


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
    together = len(batch) == 1 or b'"' not in body
    try:
        records = _csv_records(batch[0].header, body)
    except InputError as error:
        if len(batch) == 1:
            yield DamagedFile(batch[0].path, reason_of(error))
            return
    else:
        # A field that goes on into the next line may have gone on into the next file.
        if together or _lines(records) == sum(map(bool, body.split(b"\n"))):
            yield records
            return
    for text in batch:
        yield from _csv_batch([text])


def _lines(records: Records) -> int:
    return records.size + records.other_parameter + records.malformed


def read_numbered(texts: Sequence[TextFile]) -> Records | None:
    """Parse CSV files with the same header as one, and number the file of each record.

    Returns
    -------
    Records or None
        With one column more, ``file``: the position of the file in `texts`. None where some line
        is no record, or may have gone on into the next one, so that files must be read by
        themselves.
    """
    # A column more costs nothing; telling the rows of files apart afterwards would.
    body = b"".join(
        text.body.replace(b"\n", b",%d\n" % number) for number, text in enumerate(texts)
    )
    try:
        records = _csv_records(texts[0].header, body, added=("file",))
    except InputError:
        return None
    lines = sum(text.body.count(b"\n") for text in texts)
    return records if records.malformed == 0 and _lines(records) == lines else None


def read_one(text: TextFile) -> Records:
    """Parse one CSV file.

    Raises
    ------
    InputError
        If it cannot be parsed.
    """
    return _csv_records(text.header, text.body)


def _csv_records(header: bytes, body: bytes, added: tuple[str, ...] = ()) -> Records:
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
    array = values.chunk(0)
    codes = array.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return Column(codes, pl.Series(array.dictionary).str.strip_chars())


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
    table = lines.select(_path_expression(*item) for item in _NDJSON_PATHS.items())
    table = table.with_columns(pl.all().fill_null(""))
    if (table["parameter"] == "").all():
        return DamagedFile(text.path, "no line is an OpenAQ record")
    # Encoding is the dear part, and most lines are of other pollutants.
    spelled = pl.col("parameter").str.strip_chars().str.to_lowercase()
    kept = table.filter(spelled.is_in(["", *_PM25_SPELLINGS]))
    columns = {name: _encoded(kept[name]) for name in kept.columns}
    return _only_pm25(Records("ndjson", columns, len(kept), len(table) - len(kept), malformed))


def _path_expression(field: str, path: tuple[str, ...]) -> pl.Expr:
    expression = pl.col(path[0])
    for name in path[1:]:
        expression = expression.struct.field(name)
    return expression.alias(field)


def _encoded(values: pl.Series) -> Column:
    words = values.unique(maintain_order=True)
    ranks = pl.int_range(len(words), dtype=pl.Int32, eager=True)
    codes = values.replace_strict(words, ranks, return_dtype=pl.Int32)
    return Column(codes.to_numpy(), words.str.strip_chars())


def _well_formed(body: bytes) -> tuple[bytes, int]:
    """Return the good lines of a file that the fast parser refuses, and how many are not good.

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
