"""What of the observations takes part: stations by place and country, times as they were meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deepcams_eval.core.field import Product
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import codes_of
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.pair.colocate import step_starts


def select(
    observations: Observations,
    bbox: tuple[float, float, float, float] | None,
    countries: tuple[str, ...],
) -> tuple[Observations, int]:
    """Return the observations of the stations in a box and in some countries.

    A station without coordinates is in no box, and one without a country in no country.

    Returns
    -------
    Observations
        The selected rows; all stations are kept in the table of stations.
    int
        Rows left out.

    Raises
    ------
    NoDataError
        If nothing is left.
    """
    stations = observations.stations
    wanted = np.ones(len(stations), dtype=bool)
    if bbox is not None:
        west, south, east, north = bbox
        longitude, latitude = stations["longitude"].to_numpy(), stations["latitude"].to_numpy()
        width = (east - west) % 360.0 or 360.0
        wanted &= (longitude - west) % 360.0 <= width
        wanted &= (latitude >= south) & (latitude <= north)
    if countries:
        known = set(stations["country"]) - {""}
        if not known:
            raise NoDataError(
                "no station has a country, so --countries selects none",
                hint="give a station file with a country column through --stations",
            )
        wanted &= stations["country"].isin([code.upper() for code in countries]).to_numpy()
    if wanted.all():
        return observations, 0
    keep = observations.table["station_id"].isin(stations["station_id"][wanted]).to_numpy()
    if not keep.any():
        raise NoDataError(
            f"none of the {len(stations)} stations lies in the box or the countries asked for",
            hint="check --bbox W,S,E,N and --countries",
        )
    table = observations.table.loc[keep].reset_index(drop=True)
    return observations.with_table(table), int((~keep).sum())


def shift_times(observations: Observations, shifts: Mapping[str, float]) -> Observations:
    """Return the observations with the times of some providers moved.

    Parameters
    ----------
    observations : Observations
        Left as it is.
    shifts : mapping of str to float
        Hours to add to ``time_start`` and ``time_end``, by provider; negative moves to earlier.

    Returns
    -------
    Observations
        All rows in their order; ``counts`` says how many were moved.

    Raises
    ------
    InputError
        If no station has a provider of that name.
    """
    if not shifts:
        return observations
    stations = observations.stations
    known = sorted(set(stations["provider"]) - {""})
    for unknown in sorted(set(shifts) - set(known)):
        raise InputError(
            f"no station has the provider {unknown!r}, whose times were to be shifted",
            hint=f"the providers are {', '.join(known)}"
            if known
            else "give a station file with a provider column through --stations",
        )
    code, ids = codes_of(observations.table["station_id"])
    hours = stations.set_index("station_id")["provider"].map(shifts).reindex(ids).fillna(0.0)
    microseconds = np.round(hours.to_numpy() * 3_600_000_000).astype("timedelta64[us]")[code]
    table = observations.table.assign(
        **{name: observations.table[name] + microseconds for name in ("time_start", "time_end")}
    )
    moved = int(np.count_nonzero(microseconds))
    shifted = observations.with_table(table)
    return replace(shifted, counts={**observations.counts, "assumed_time_shift": moved})


def years_of(product: Product) -> tuple[int, ...]:
    """Return the years for which a product exists.

    A point value at 00:00 on 1 January pairs with the last hour of the year before, but a product
    that begins there does not exist in that year.
    """
    starts = step_starts(product.field).astype("datetime64[Y]")
    within = starts == product.field["time"].values.astype("datetime64[Y]")
    return tuple(int(year) + 1970 for year in np.unique(starts[within].astype(int)))
