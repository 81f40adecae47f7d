"""Cities of the region: where emissions are strong and where stations stand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Times
from deepcams_eval.demo.settings import last_sunday

Clock = Literal["europe", "fixed"]


@dataclass(frozen=True)
class City:
    """A city: English name, ISO 3166-1 alpha-2 code, degrees.

    ``weight`` is the strength of its emissions beside the others, ``offset_hours`` standard time
    minus UTC, and ``clock`` says whether it changes with the European Union.
    """

    name: str
    country: str
    latitude: float
    longitude: float
    weight: float
    offset_hours: int
    clock: Clock = "europe"

    def offsets(self, utc: Times) -> npt.NDArray[np.int64]:
        """Return local time minus UTC in hours at each instant."""
        hours = np.full(utc.shape, self.offset_hours, dtype=np.int64)
        return hours + is_summer_time(utc) if self.clock == "europe" else hours


def is_summer_time(utc: Times) -> npt.NDArray[np.bool_]:
    """Return whether summer time of the European Union holds at each instant.

    It runs from 01:00 UTC on the last Sunday of March to 01:00 UTC on that of October.
    """
    result = np.zeros(utc.shape, dtype=bool)
    for year in np.unique(utc.astype("datetime64[Y]").astype(int)) + 1970:
        begin, end = (
            last_sunday(int(year), month).astype("datetime64[s]") + np.timedelta64(1, "h")
            for month in (3, 10)
        )
        result |= (utc >= begin) & (utc < end)
    return result


def _read_cities() -> Iterator[City]:
    with resources.files(__package__).joinpath("cities.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            yield City(
                row["name"],
                row["country"],
                float(row["latitude"]),
                float(row["longitude"]),
                float(row["weight"]),
                int(row["offset_hours"]),
                "europe" if row["clock"] == "europe" else "fixed",
            )


CITIES = tuple(_read_cities())
