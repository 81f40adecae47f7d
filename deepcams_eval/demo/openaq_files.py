"""Station files in the forms in which OpenAQ publishes them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.demo.settings import Block
from deepcams_eval.demo.stations import Reports, Station

HEADER = "location_id,sensors_id,location,datetime,lat,lon,parameter,units,value"
STATION_HEADER = "location_id,sensor_id,name,latitude,longitude,country,provider,is_monitor,mobile"
UNIT = "µg/m³"
_NO2_SENSOR_STEP = 50_000
_SHARE_LEFT_OF_CUT_FILE = 0.6


def write_block(
    folder: Path, block: Block, reports: Reports, records: pd.DataFrame, *, cut: bool
) -> tuple[dict[str, Any], npt.NDArray[np.bool_]]:
    """Write the archive tree and the realtime file of a block.

    Parameters
    ----------
    folder : Path
        ``openaq/``.
    block : Block
    reports : Reports
    records : pandas.DataFrame
        As `deepcams_eval.demo.faults.make_records` returns.
    cut : bool
        Whether to cut one file short.

    Returns
    -------
    notes : dict
        ``files`` of the archive; of these, how many hold ``two_offsets`` from UTC, and those that
        are ``cut_short``, relative to the folder.
    cut_rows : ndarray of bool
        Which of the records lie in a file that was cut short.
    """
    files, two_offsets = 0, 0
    cut_short: list[str] = []
    copied = {station.original for station in reports.stations}
    cut_rows = np.zeros(len(records), dtype=bool)
    for place, rows in records.groupby("station", sort=True):
        number = int(str(place))
        station = reports.stations[number]
        if not station.location_id:
            continue
        # A copy must stay shorter than its original.
        cuttable = cut and number not in copied and station.role == "ordinary"
        cuttable = cuttable and not station.has_no2
        for day, lines, labels, offsets in _days(station, rows, reports.position[number]):
            path = _archive_path(folder, station, day)
            share = 1.0
            if (
                cuttable
                and not cut_short
                and len(offsets) == 1
                and len(labels) >= 20
                and (rows.loc[labels, "fault"] == "").all()
            ):
                cut_short.append(str(path.relative_to(folder)))
                cut_rows[labels] = True
                share = _SHARE_LEFT_OF_CUT_FILE
            _write_gzip(path, [HEADER, *lines], share=share)
            files += 1
            two_offsets += len(offsets) > 1
    _write_realtime(folder, block, reports, records)
    notes = {"files": files, "two_offsets": two_offsets, "cut_short": cut_short}
    return notes, cut_rows


def _days(station: Station, rows: pd.DataFrame, position: Any) -> Iterable[Any]:
    """Yield (local day, lines, labels of rows, offsets) of each file of a station.

    A file covers local (00:00, 24:00]: its last record is stamped 00:00 of the next day.
    """
    utc = rows["time_end"].to_numpy()
    offsets = station.city.offsets(utc)
    # The stubs take the sum for a difference of times.
    local: Any = utc + offsets * np.timedelta64(3600, "s")
    days = (local - np.timedelta64(1, "s")).astype("datetime64[D]").tolist()
    stamps = np.datetime_as_string(local, unit="s").tolist()
    place = f"{position[0]:.6g},{position[1]:.6g}"
    start = f"{station.location_id},{station.sensor_id},{station.name}-{station.location_id}"
    values = rows["value"].tolist()
    parts = zip(days, stamps, offsets.tolist(), values, rows.index.tolist(), strict=True)
    for day, group in groupby(parts, key=itemgetter(0)):
        chosen = list(group)
        lines = [
            f"{start},{stamp}{offset:+03d}:00,{place},pm25,{UNIT},{_number(value, station)}"
            for _, stamp, offset, value, _ in chosen
        ]
        if station.has_no2:
            lines += _no2_lines(station, lines)
        yield day, lines, [item[4] for item in chosen], {item[2] for item in chosen}


def _number(value: float, station: Station) -> str:
    return f"{value:.0f}" if station.provider.decimals == 0 and value % 1 == 0 else f"{value:g}"


def _no2_lines(station: Station, lines: Sequence[str]) -> list[str]:
    """Return a second parameter, to be told apart from PM2.5."""
    old = f"{station.location_id},{station.sensor_id},"
    new = f"{station.location_id},{station.sensor_id + _NO2_SENSOR_STEP},"
    result = []
    for number, line in enumerate(lines):
        start, _, _ = line.rpartition(f"pm25,{UNIT},")
        result.append(f"{start.replace(old, new, 1)}no2,{UNIT},{15 + number % 7}")
    return result


def _archive_path(folder: Path, station: Station, day: Any) -> Path:
    number = station.location_id
    month = folder / f"locationid={number}" / f"year={day:%Y}" / f"month={day:%m}"
    return month / f"location-{number}-{day:%Y%m%d}.csv.gz"


def _write_gzip(path: Path, lines: Sequence[str], *, share: float = 1.0) -> None:
    # No time in the header: the same archive has the same bytes.
    packed = gzip.compress("\n".join([*lines, ""]).encode(), compresslevel=1, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed[: round(share * len(packed))])


def _write_realtime(folder: Path, block: Block, reports: Reports, records: pd.DataFrame) -> None:
    places = [i for i, station in enumerate(reports.stations) if not station.location_id]
    lines = [
        _realtime_line(reports.stations[row["station"]], row)
        for row in records[records["station"].isin(places)].to_dict("records")
    ]
    if lines:
        _write_gzip(folder / "realtime" / f"{int(block.start.astype(int))}.ndjson.gz", lines)


def _realtime_line(station: Station, row: Mapping[Any, Any]) -> str:
    utc = row["time_end"].to_datetime64()
    offset = int(station.city.offsets(np.array([utc]))[0])
    local = utc + offset * np.timedelta64(3600, "s")
    record = {
        "date": {
            "utc": f"{np.datetime_as_string(utc, unit='s')}.000Z",
            "local": f"{np.datetime_as_string(local, unit='s')}{offset:+03d}:00",
        },
        "parameter": "pm25",
        "location": station.name,
        "value": row["value"],
        "unit": UNIT,
        "city": station.city.name,
        "attribution": [{"name": station.provider.name, "url": "https://example.org/"}],
        "averagingPeriod": {"value": row["averaging_hours"], "unit": "hours"},
        "coordinates": {"latitude": station.latitude, "longitude": station.longitude},
        "country": station.city.country,
        "sourceName": station.provider.name,
        "sourceType": "government",
        "mobile": False,
    }
    if not np.isfinite(station.latitude):
        del record["coordinates"]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def write_stations(path: Path, stations: Sequence[Station]) -> None:
    """Write what OpenAQ's service knows of the archive's sensors: a row each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(STATION_HEADER.split(","))
        for station in stations:
            if not station.location_id:
                continue
            place = (station.latitude, station.longitude)
            names = (station.city.country, station.provider.name)
            flags = (station.provider.is_monitor, station.role == "mobile")
            said = [str(flag).lower() for flag in flags]
            for step in (0, _NO2_SENSOR_STEP) if station.has_no2 else (0,):
                sensor = station.sensor_id + step
                table.writerow([station.location_id, sensor, station.name, *place, *names, *said])
