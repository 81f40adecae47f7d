"""OpenAQ observations of PM2.5, in each of the forms in which OpenAQ has published them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.field import DamagedFile
from deepcams_eval.core.observations import Observations, make_stations
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read.openaq_files import find_files, read_in_order
from deepcams_eval.read.openaq_parts import counted_parts, read_parts
from deepcams_eval.read.openaq_records import read_records
from deepcams_eval.read.openaq_rows import RowReader, Rows
from deepcams_eval.read.openaq_stations import Located, locate
from deepcams_eval.read.stations import read_stations

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
    texts, parts = _by_form(everything)
    found = [*texts, *parts]
    reader = RowReader()
    batches: list[Rows] = []
    damaged: dict[str, DamagedFile] = {}
    read = _shifted(progress, 0, len(found)), _shifted(progress, len(texts), len(found))
    for item in chain(
        read_records(read_in_order(texts, workers=workers, progress=read[0])),
        read_parts(parts, progress=read[1]),
    ):
        if not isinstance(item, DamagedFile):
            batches.append(reader.rows_of(item))
        elif strict:
            raise InputError(item.reason, path=item.path)
        else:
            damaged[item.path] = item
    files = tuple(Path(name) for name in found if name not in damaged)
    _require_rows(paths, files, damaged, batches, reader.counts)

    located = locate(reader.places, known)
    if not located.stations["latitude"].notna().any():
        given = f" that are possible, but {located.impossible}" if located.impossible else ""
        raise InputError(
            f"no station has coordinates{given}",
            path=files[0],
            hint="name a station file: --stations PATH",
        )
    place = np.concatenate([batch.place for batch in batches])
    reader.counts["assumed_longitude"] = int(located.places["longitude_wrapped"].take(place).sum())
    return Observations(
        table=_table(batches, place, located),
        stations=make_stations(located.stations),
        counts=dict.fromkeys(_ALWAYS_COUNTED, 0) | dict(reader.counts) | located.counts,
        damaged=tuple(damaged[name] for name in found if name in damaged),
        files=files,
    )


def _by_form(found: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return text files, and the Parquet files that count."""
    parquet = [name for name in found if name.endswith(".parquet")]
    return [name for name in found if not name.endswith(".parquet")], counted_parts(parquet)


def _shifted(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def _require_rows(
    paths: Sequence[Path],
    files: Sequence[Path],
    damaged: dict[str, DamagedFile],
    batches: Sequence[Rows],
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


def _table(batches: list[Rows], place: npt.NDArray[np.int32], located: Located) -> pd.DataFrame:
    reference = located.places["is_reference"].array
    return pd.DataFrame(
        {
            "station_id": _categories(located.places["station_id"], place),
            "sensor_id": _categories(located.places["sensor_id"], place),
            "time_start": np.concatenate([batch.time_start for batch in batches]),
            "time_end": np.concatenate([batch.time_end for batch in batches]),
            "value": np.concatenate([batch.value for batch in batches]),
            "is_reference": reference.take(place),
            "flags": np.zeros(len(place), dtype=np.uint32),
        }
    )


def _categories(names: pd.Series[str], place: np.ndarray) -> pd.Categorical:
    codes, categories = pd.factorize(names)
    return pd.Categorical.from_codes(codes[place], categories=categories)
