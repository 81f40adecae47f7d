"""Cities of the region: where emissions are strong and where stations stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Times
from deepcams_eval.demo.settings import last_sunday

Clock = Literal["europe", "fixed"]


@dataclass(frozen=True)
class City:
    """A city.

    Attributes
    ----------
    name, country : str
        English name; ISO 3166-1 alpha-2.
    latitude, longitude : float
        Degrees.
    weight : float
        Strength of its emissions beside the others.
    offset_hours : int
        Standard time minus UTC.
    clock : {"europe", "fixed"}
        Whether the clock changes with the European Union.
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


CITIES = (
    City("London", "GB", 51.51, -0.13, 8.0, 0),
    City("Manchester", "GB", 53.48, -2.24, 3.0, 0),
    City("Glasgow", "GB", 55.86, -4.25, 1.5, 0),
    City("Dublin", "IE", 53.35, -6.26, 1.5, 0),
    City("Paris", "FR", 48.86, 2.35, 8.0, 1),
    City("Lyon", "FR", 45.76, 4.84, 2.5, 1),
    City("Marseille", "FR", 43.30, 5.37, 2.0, 1),
    City("Toulouse", "FR", 43.60, 1.44, 1.2, 1),
    City("Lille", "FR", 50.63, 3.06, 2.0, 1),
    City("Brussels", "BE", 50.85, 4.35, 2.5, 1),
    City("Antwerp", "BE", 51.22, 4.40, 2.5, 1),
    City("Amsterdam", "NL", 52.37, 4.90, 2.0, 1),
    City("Rotterdam", "NL", 51.92, 4.48, 3.0, 1),
    City("Cologne", "DE", 50.94, 6.96, 3.5, 1),
    City("Dortmund", "DE", 51.51, 7.47, 3.5, 1),
    City("Hamburg", "DE", 53.55, 9.99, 2.5, 1),
    City("Frankfurt", "DE", 50.11, 8.68, 2.5, 1),
    City("Munich", "DE", 48.14, 11.58, 2.5, 1),
    City("Berlin", "DE", 52.52, 13.40, 4.0, 1),
    City("Leipzig", "DE", 51.34, 12.37, 2.0, 1),
    City("Copenhagen", "DK", 55.68, 12.57, 1.5, 1),
    City("Stockholm", "SE", 59.33, 18.07, 1.0, 1),
    City("Oslo", "NO", 59.91, 10.75, 0.8, 1),
    City("Helsinki", "FI", 60.17, 24.94, 0.8, 2),
    City("Tallinn", "EE", 59.44, 24.75, 0.7, 2),
    City("Riga", "LV", 56.95, 24.11, 0.9, 2),
    City("Vilnius", "LT", 54.69, 25.28, 1.2, 2),
    City("Minsk", "BY", 53.90, 27.56, 2.5, 3, "fixed"),
    City("Kyiv", "UA", 50.45, 30.52, 4.0, 2),
    City("Lviv", "UA", 49.84, 24.03, 2.0, 2),
    City("Odesa", "UA", 46.48, 30.73, 1.8, 2),
    City("Dnipro", "UA", 48.46, 35.04, 4.0, 2),
    City("Chisinau", "MD", 47.01, 28.86, 1.5, 2),
    City("Warsaw", "PL", 52.23, 21.01, 4.5, 1),
    City("Katowice", "PL", 50.26, 19.02, 9.0, 1),
    City("Krakow", "PL", 50.06, 19.94, 6.0, 1),
    City("Wroclaw", "PL", 51.11, 17.04, 3.0, 1),
    City("Gdansk", "PL", 54.35, 18.65, 1.8, 1),
    City("Prague", "CZ", 50.08, 14.44, 2.5, 1),
    City("Ostrava", "CZ", 49.82, 18.26, 5.0, 1),
    City("Bratislava", "SK", 48.15, 17.11, 1.8, 1),
    City("Vienna", "AT", 48.21, 16.37, 2.5, 1),
    City("Graz", "AT", 47.07, 15.44, 1.5, 1),
    City("Budapest", "HU", 47.50, 19.04, 3.5, 1),
    City("Zurich", "CH", 47.38, 8.54, 1.5, 1),
    City("Milan", "IT", 45.46, 9.19, 8.0, 1),
    City("Turin", "IT", 45.07, 7.69, 4.5, 1),
    City("Padua", "IT", 45.41, 11.88, 4.0, 1),
    City("Bologna", "IT", 44.49, 11.34, 2.5, 1),
    City("Rome", "IT", 41.90, 12.50, 3.5, 1),
    City("Naples", "IT", 40.85, 14.27, 4.0, 1),
    City("Zagreb", "HR", 45.81, 15.98, 1.8, 1),
    City("Ljubljana", "SI", 46.06, 14.51, 1.2, 1),
    City("Sarajevo", "BA", 43.86, 18.41, 4.0, 1),
    City("Belgrade", "RS", 44.79, 20.45, 4.5, 1),
    City("Skopje", "MK", 42.00, 21.43, 4.0, 1),
    City("Sofia", "BG", 42.70, 23.32, 3.5, 2),
    City("Bucharest", "RO", 44.43, 26.10, 4.5, 2),
    City("Cluj", "RO", 46.77, 23.59, 1.5, 2),
    City("Athens", "GR", 37.98, 23.73, 3.5, 2),
    City("Thessaloniki", "GR", 40.64, 22.94, 2.5, 2),
    City("Istanbul", "TR", 41.01, 28.98, 8.0, 3, "fixed"),
    City("Ankara", "TR", 39.93, 32.86, 4.0, 3, "fixed"),
    City("Izmir", "TR", 38.42, 27.14, 3.0, 3, "fixed"),
    City("Madrid", "ES", 40.42, -3.70, 4.0, 1),
    City("Barcelona", "ES", 41.39, 2.17, 3.5, 1),
    City("Valencia", "ES", 39.47, -0.38, 1.5, 1),
    City("Seville", "ES", 37.39, -5.98, 1.5, 1),
    City("Lisbon", "PT", 38.72, -9.14, 2.0, 0),
    City("Porto", "PT", 41.15, -8.61, 1.5, 0),
    City("Algiers", "DZ", 36.75, 3.06, 5.0, 1, "fixed"),
    City("Tunis", "TN", 36.81, 10.18, 3.0, 1, "fixed"),
)
