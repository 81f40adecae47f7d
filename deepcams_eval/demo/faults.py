"""Faults of station records, planted in known numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.demo.settings import Block, DemoSettings
from deepcams_eval.demo.stations import Reports, Station

SENTINELS = (-999.0, 9999.0, -9999.0)
PER_BLOCK = {
    "sentinel": 6,
    "large_negative": 4,
    "small_negative": 4,
    "above_limit": 1,
    "exact_duplicate": 4,
    "re_reported": 4,
}
"""Faults of single records, planted in every block."""

REPEATS = ("exact_duplicate", "re_reported")
"""Those of them that add a record, before the one that counts."""

STUCK_HOURS = (24, 30, 36, 48)
NO_COORDINATES_RECORDS = 5

_ROLE_FAULTS = {
    "copy": "duplicate_monitor",
    "mobile": "mobile",
    "zero_coordinates": "zero_coordinates",
    "no_coordinates": "no_coordinates",
}

KEPT = ("small_negative", "late")
"""Faults that quality control should leave in: true values, and stamps that no rule can judge."""


def make_records(settings: DemoSettings, block: Block, reports: Reports) -> pd.DataFrame:
    """Return the PM2.5 records of a block with its faults, in the order in which files hold them.

    Returns
    -------
    pandas.DataFrame
        ``station`` (place in the list of stations), ``time_end`` (datetime64[s], UTC, as
        stamped), ``true_end`` (the end of the hour that was measured), ``averaging_hours``,
        ``value`` (as reported), ``clean`` (what a sound report says), ``truth`` (mean of the
        cell; NaN for a day), all µg m⁻³, and ``fault`` ("" for none).

    Notes
    -----
    Without ``settings.faults`` only the stamps of the late provider are odd.
    """
    table = _hourly(block, reports)
    if settings.faults:
        rng = settings.rng("faults", block.year, block.month)
        _plant_roles(table, reports.stations)
        _plant_stuck(table, block, reports.stations, rng)
        table = _plant_single(table, reports.stations, rng)
        table = pd.concat([table, _daily_means(block, reports)], ignore_index=True)
    return table.sort_values(["station", "time_end"], kind="stable", ignore_index=True)


def _hourly(block: Block, reports: Reports) -> pd.DataFrame:
    hour, station = np.nonzero(reports.present)
    end = block.frame_times[1:][hour]
    shift = np.array([item.provider.shift_h for item in reports.stations])[station]
    clean = reports.clean[hour, station]
    table = pd.DataFrame(
        {
            "station": station,
            "time_end": end + shift * np.timedelta64(3600, "s"),
            "true_end": end,
            "averaging_hours": 1,
            "value": clean,
            "clean": clean,
            "truth": reports.truth[hour, station],
            "fault": "",
        }
    )
    table.loc[shift != 0, "fault"] = "late"
    roles = np.array([item.role for item in reports.stations])[station]
    few = (roles == "no_coordinates") & (hour >= NO_COORDINATES_RECORDS)
    kept: pd.DataFrame = table.loc[~few]
    return kept.copy()


def _plant_roles(table: pd.DataFrame, stations: tuple[Station, ...]) -> None:
    roles = table["station"].map(dict(enumerate(item.role for item in stations)))
    fault = roles.map(_ROLE_FAULTS)
    table["fault"] = fault.where(fault.notna(), table["fault"])


def _eligible(table: pd.DataFrame, stations: tuple[Station, ...]) -> npt.NDArray[np.intp]:
    """Return labels of rows that may take a fault: clean ones of stations that nobody copies."""
    copied = {item.original for item in stations}
    good = [i for i, item in enumerate(stations) if item.role == "ordinary" and i not in copied]
    chosen = table["station"].isin(good) & (table["fault"] == "")
    return table.index[chosen].to_numpy()


def _plant_stuck(
    table: pd.DataFrame, block: Block, stations: tuple[Station, ...], rng: np.random.Generator
) -> None:
    """Let one sensor repeat a value for a day or longer."""
    lengths = [hours for hours in STUCK_HOURS if hours <= block.hours - 4]
    if not lengths:
        return
    length = int(rng.choice(lengths))
    rows = table.loc[_eligible(table, stations)]
    counts = rows["station"].value_counts().sort_index()
    station = int(rng.choice(counts.index[counts >= block.hours * 0.8].to_numpy()))
    labels = rows.index[rows["station"] == station].to_numpy()
    end = table.loc[labels, "time_end"].to_numpy()
    # A record at either end makes the run as long as it is meant to be, gaps inside or not.
    duration = (length - 1) * np.timedelta64(3600, "s")
    begin = rng.choice(end[np.isin(end + duration, end)])
    inside = (end >= begin) & (end <= begin + duration)
    chosen = labels[inside]
    around = table.loc[labels[~inside], "value"].to_numpy()
    value = float(table.loc[chosen[0], "value"])
    while value in around:
        value = round(value + 1, 2)
    table.loc[chosen, "value"] = value
    table.loc[chosen, "fault"] = "stuck"


def _plant_single(
    table: pd.DataFrame, stations: tuple[Station, ...], rng: np.random.Generator
) -> pd.DataFrame:
    free = _eligible(table, stations)
    lowest = free[np.argsort(table.loc[free, "clean"].to_numpy(), kind="stable")]
    clear_air = rng.choice(lowest[: len(lowest) // 10], PER_BLOCK["small_negative"], replace=False)
    count_others = sum(PER_BLOCK.values()) - len(clear_air)
    others = rng.choice(np.setdiff1d(free, clear_air), count_others, replace=False)
    repeats = []
    for fault, count in PER_BLOCK.items():
        if fault == "small_negative":
            rows = clear_air
        else:
            rows, others = np.sort(others[:count]), others[count:]
        if fault in REPEATS:
            # The record that comes first is the superfluous one.
            earlier = table.loc[rows].copy()
            earlier["fault"] = fault
            if fault == "re_reported":
                earlier["value"] = np.round(earlier["value"] + rng.uniform(2, 9, count), 1)
            repeats.append(earlier)
        else:
            table.loc[rows, "value"] = _planted_values(fault, count, rng)
            table.loc[rows, "fault"] = fault
    # Noise around zero is what a sound instrument reports in clear air.
    table.loc[clear_air, "clean"] = table.loc[clear_air, "value"]
    return pd.concat([*repeats, table])


def _planted_values(fault: str, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    if fault == "sentinel":
        return np.resize(SENTINELS, count)
    low, high = {
        "large_negative": (-60.0, -6.0),
        "small_negative": (-3.5, -0.5),
        "above_limit": (1100.0, 5000.0),
    }[fault]
    return np.round(rng.uniform(low, high, count), 1)


def _daily_means(block: Block, reports: Reports) -> pd.DataFrame:
    """Return a 24-h average a day of each realtime station, stamped at its end."""
    rows = [
        {
            "station": i,
            "time_end": block.frame_times[24 * (day + 1)],
            "averaging_hours": 24,
            "value": round(float(reports.clean[24 * day : 24 * (day + 1), i].mean()), 3),
            "fault": "daily_mean",
        }
        for i, station in enumerate(reports.stations)
        if station.role == "realtime"
        for day in range(block.days)
    ]
    table = pd.DataFrame(rows)
    return table.assign(true_end=table["time_end"], clean=table["value"], truth=np.nan)
