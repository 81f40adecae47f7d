"""OpenAQ observations of PM2.5, in each of the forms in which OpenAQ has published them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import BoolArray
from deepcams_eval.core.field import TIME_DTYPE, DamagedFile
from deepcams_eval.core.observations import Observations, make_stations
from deepcams_eval.core.species import factor_to_ug_m3
from deepcams_eval.errors import InputError, NoDataError, UnitsError
from deepcams_eval.read.files import find_files
from deepcams_eval.read.openaq_parts import counted_parts, read_parts
from deepcams_eval.read.openaq_stations import Place, locate
from deepcams_eval.read.openaq_text import Records, read_in_order, read_records
from deepcams_eval.read.stations import read_stations

FloatColumn = npt.NDArray[np.float64]

_ALWAYS_COUNTED = (
    "records",
    "other_parameter",
    "refused_malformed",
    "refused_unit",
    "refused_time",
    "refused_value",
    "refused_averaging_period",
    "assumed_averaging_period",
    "assumed_time_zone",
    "assumed_unit",
    "assumed_longitude",
)
_HOURS_PER_PERIOD_UNIT = {
    "hours": 1.0,
    "hour": 1.0,
    "minutes": 1 / 60,
    "seconds": 1 / 3600,
    "days": 24.0,
}
_LONGEST_PERIOD_H = 366 * 24
_US_PER_HOUR = 3_600_000_000


def read_observations(
    paths: Sequence[Path],
    *,
    stations: Path | None = None,
    strict: bool = False,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Observations:
    """Read PM2.5 observations from OpenAQ files of any form.

    The form of each file is told by its content: the archive (``csv.gz``, a file a location and
    day), the realtime archive (``ndjson.gz``), long CSV tables, and the archive compacted into
    Parquet (`deepcams_eval.read.openaq_parts`), which gives the same rows in the same order as
    its objects would. Forms may be mixed; compacted rows then come last. Sentinels,
    negatives and repeats stay rows; quality control judges them.

    Parameters
    ----------
    paths : sequence of Path
        Files, folders (searched through) or globs. Files are read in the order of their paths,
        and rows keep the order in which they stand.
    stations : Path, optional
        A station file (see `read_stations`). What it says of name, country, provider, mobility
        and reference grade replaces what the observations say; its coordinates fill missing ones.
        Rows are matched by station, and where a station has no identifier by its name.
    strict : bool
        Whether a damaged file is an error. Otherwise none of its rows is used and it is listed in
        `Observations.damaged`.
    workers : int
        Threads that read and decompress. The result does not depend on it.
    progress : callable, optional
        Called with the number of files done and their total.

    Returns
    -------
    Observations
        Values in µg m⁻³. ``time_end`` is the stamp (stamps end the hour); ``time_start`` is the
        averaging period earlier, taken as 1 h where the file does not tell. Stamps without an
        offset are UTC; a table without a unit column is µg m⁻³. Station identity is the location
        id where there is one; source, city, location and coordinates in the realtime archive; and
        otherwise the location, with the city, the country, the source and the position (in this
        order, each where two differ in it; positions by more than 0.001°) that tell stations of
        one name apart. A longitude between 180 and 360 is taken less 360. Beyond what
        `Observations.counts` describes: ``unit_<spelling>``, records by unit;
        ``stations_without_coordinates``; ``stations_moved``, those reported at more than one
        position (the first is kept); ``stations_at_impossible_coordinates``, taken as unknown;
        ``stations_not_in_station_file``.

    Raises
    ------
    InputError
        If a path does not exist, no file can be read, no station has coordinates, or (`strict`)
        a file is damaged.
    NoDataError
        If a folder is empty or no PM2.5 record is left.
    """
    known = None if stations is None else read_stations(stations)
    everything = find_files(paths, leave_out=stations)
    texts = [name for name in everything if not name.endswith(".parquet")]
    parts = counted_parts([name for name in everything if name.endswith(".parquet")])
    found = [*texts, *parts]
    done = 0

    def tick(files: int) -> None:
        nonlocal done
        done += files
        if progress is not None:
            progress(done, len(found))

    reader = _RowReader()
    batches: list[_Rows] = []
    damaged: dict[str, DamagedFile] = {}
    for item in chain(
        read_records(read_in_order(texts, workers=workers, tick=tick)), read_parts(parts, tick=tick)
    ):
        if not isinstance(item, DamagedFile):
            batches.append(reader.rows_of(item))
        elif strict:
            raise InputError(item.reason, path=item.path)
        else:
            damaged[item.path] = item
    files = tuple(Path(name) for name in found if name not in damaged)
    _require_rows(paths, files, damaged, batches, reader.counts)

    located = locate(list(reader.codes), known)
    if not located.stations["latitude"].notna().any():
        given = f" that are possible, but {located.impossible}" if located.impossible else ""
        raise InputError(
            f"no station has coordinates{given}",
            path=files[0],
            hint="name a station file: --stations PATH",
        )
    rows = _Rows(*(np.concatenate(column) for column in zip(*batches, strict=True)))
    reader.counts["assumed_longitude"] = int(
        located.places["longitude_wrapped"].take(rows.place).sum()
    )
    return Observations(
        table=pd.DataFrame(
            {
                "station_id": _categories(located.places["station_id"], rows.place),
                "sensor_id": _categories(located.places["sensor_id"], rows.place),
                "time_start": rows.time_start,
                "time_end": rows.time_end,
                "value": rows.value,
                "is_reference": located.places["is_reference"].array.take(rows.place),
                "flags": np.zeros(len(rows.place), dtype=np.uint32),
            }
        ),
        stations=make_stations(located.stations),
        counts=dict.fromkeys(_ALWAYS_COUNTED, 0) | dict(reader.counts) | located.counts,
        damaged=tuple(damaged[name] for name in found if name in damaged),
        files=files,
    )


def _require_rows(
    paths: Sequence[Path],
    files: Sequence[Path],
    damaged: dict[str, DamagedFile],
    batches: Sequence[_Rows],
    counts: Counter[str],
) -> None:
    if not files and damaged:
        first = next(iter(damaged.values()))
        others = "" if len(damaged) == 1 else f" (and {len(damaged) - 1} more)"
        raise InputError(f"{first.reason}{others}", path=first.path, hint="no file could be read")
    if any(len(batch.value) for batch in batches):
        return
    why = ", ".join(
        f"{name} {count}"
        for name, count in sorted(counts.items())
        if count and (name.startswith("refused_") or name == "other_parameter")
    )
    raise NoDataError(
        f"no usable PM2.5 record ({why or 'no records at all'})",
        path=paths[0],
        hint="check that the files hold PM2.5 in ug m-3",
    )


def _categories(names: pd.Series[str], place: np.ndarray) -> pd.Categorical:
    codes, categories = pd.factorize(names)
    return pd.Categorical.from_codes(codes[place], categories=categories)


class _Rows(NamedTuple):
    """Checked rows in report order, µg m⁻³ and UTC; `place` counts into the places met."""

    place: npt.NDArray[np.int32]
    time_start: npt.NDArray[np.datetime64]
    time_end: npt.NDArray[np.datetime64]
    value: FloatColumn


class _RowReader:
    """Turns batches of records into rows, numbering their places and counting what happens."""

    def __init__(self) -> None:
        self.codes: dict[Place, int] = {}
        self.counts: Counter[str] = Counter()

    def rows_of(self, records: Records) -> _Rows:
        """Check one batch; each record becomes a row or is counted under one reason."""
        self.counts["records"] += records.size + records.malformed
        self.counts["other_parameter"] += records.other_parameter
        self.counts["refused_malformed"] += records.malformed
        if records.size == 0:
            times = np.zeros(0, dtype=TIME_DTYPE)
            return _Rows(np.zeros(0, dtype=np.int32), times, times, np.zeros(0))
        factor = self._factors(records)
        end, naive = records.columns["time"].utc_times()
        value = records.columns["value"].numbers() * factor
        hours, assumed = _periods(records)
        kept = np.ones(records.size, dtype=np.bool_)
        for reason, good in (
            ("malformed", _has_station(records)),
            ("unit", ~np.isnan(factor)),
            ("time", ~np.isnat(end)),
            ("value", np.isfinite(value)),
            ("averaging_period", hours <= _LONGEST_PERIOD_H),
        ):
            self.counts[f"refused_{reason}"] += int((kept & ~good).sum())
            kept &= good
        rows = np.flatnonzero(kept)
        self.counts["assumed_averaging_period"] += int(assumed[rows].sum())
        self.counts["assumed_time_zone"] += int(naive[rows].sum())
        self.counts["assumed_unit"] += 0 if "unit" in records.columns else len(rows)
        end = end[rows]
        period = np.rint(hours[rows] * _US_PER_HOUR).astype("timedelta64[us]")
        return _Rows(self._places(records, rows), end - period, end, value[rows])

    def _factors(self, records: Records) -> FloatColumn:
        if "unit" not in records.columns:
            return np.ones(records.size)
        unit = records.columns["unit"]
        occurs = np.bincount(unit.codes, minlength=len(unit.words))
        for word, count in zip(unit.words, occurs, strict=True):
            if count:
                self.counts[f"unit_{word or 'missing'}"] += int(count)
        return np.array([_factor(word) for word in unit.words])[unit.codes]

    def _places(self, records: Records, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        present = [name for name in Place._fields if name in records.columns]
        columns = [records.columns[name].take(rows) for name in present]
        combined = np.zeros(len(rows), dtype=np.int64)
        for column in columns:
            # Numbering the combinations anew keeps the product far from overflowing.
            combined = pd.factorize(combined * len(column.words) + column.codes)[0]
        _, first = np.unique(combined, return_index=True)
        words = [column.words.gather(column.codes[first]).to_list() for column in columns]
        codes = [
            self.codes.setdefault(
                Place(records.form, **dict(zip(present, said, strict=True))), len(self.codes)
            )
            for said in zip(*words, strict=True)
        ]
        return np.array(codes, dtype=np.int32)[combined]


def _periods(records: Records) -> tuple[FloatColumn, BoolArray]:
    """Return the averaging period in hours and whether it had to be assumed."""
    # A number without its unit, or a unit alone, is no period.
    if not {"period", "period_unit"} <= records.columns.keys():
        return np.ones(records.size), np.ones(records.size, dtype=np.bool_)
    unit = records.columns["period_unit"]
    per_unit = np.array([_HOURS_PER_PERIOD_UNIT.get(w.lower(), np.nan) for w in unit.words])
    hours = records.columns["period"].numbers() * per_unit[unit.codes]
    known = hours > 0
    return np.where(known, hours, 1.0), ~known


def _factor(unit: str) -> float:
    try:
        return factor_to_ug_m3(unit)
    except UnitsError:
        return np.nan


def _has_station(records: Records) -> BoolArray:
    """Return where a record says which station it belongs to."""
    known = np.zeros(records.size, dtype=np.bool_)
    for name in ("location_id", "name"):
        if name in records.columns:
            column = records.columns[name]
            known |= (column.words != "").to_numpy()[column.codes]
    return known
