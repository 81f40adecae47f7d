"""Stations of the synthetic archive, and what a sound instrument there would report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import Array
from deepcams_eval.demo.places import CITIES, City
from deepcams_eval.demo.settings import SPACING_DEG, Block, DemoSettings
from deepcams_eval.errors import InputError

Role = Literal["ordinary", "copy", "mobile", "zero_coordinates", "realtime", "no_coordinates"]

COPIES = 6
SPECIAL: tuple[tuple[Role, int], ...] = (
    ("mobile", 2),
    ("zero_coordinates", 2),
    ("realtime", 3),
    ("no_coordinates", 1),
)
"""Stations with a role of their own, beside the ordinary ones and the copies of some."""

LATE_SHIFT_H = 1
"""How much later than the end of its hour the late provider stamps a value."""

SHARE_MISSING = 0.02
_INSTRUMENT_TOP = 900.0


@dataclass(frozen=True)
class Provider:
    """Who reports, to how many decimals, and whether with instruments of reference grade.

    Attributes
    ----------
    bias_log, spread_log : float
        Mean and standard deviation, over its stations, of the logarithm of the constant factor
        between a station and the air around it.
    shift_h : int
        How much its stamps are late.
    """

    name: str
    decimals: int
    is_monitor: bool = True
    bias_log: float = 0.0
    spread_log: float = 0.25
    shift_h: int = 0


AGENCY = Provider("Demo Environment Agency", decimals=1)
WHOLE = Provider("Demo Whole-Number Network", decimals=0)
LATE = Provider("Demo Late Network", decimals=1, shift_h=LATE_SHIFT_H)
COMMUNITY = Provider(
    "Demo Community Sensors", decimals=2, is_monitor=False, bias_log=0.15, spread_log=0.4
)
COPYING = Provider("Demo City Portal", decimals=1)
REALTIME = Provider("Demo Realtime Feed", decimals=1)

PROVIDERS = (AGENCY, WHOLE, LATE, COMMUNITY, COPYING, REALTIME)
_SHARES = ((AGENCY, 0.4), (WHOLE, 0.2), (LATE, 0.15), (COMMUNITY, 0.25))


@dataclass(frozen=True)
class Station:
    """A place with one PM2.5 sensor.

    Attributes
    ----------
    location_id, sensor_id : int
        0 where the form of the files has none.
    latitude, longitude : float
        As reported, degrees; NaN where none is.
    air_latitude, air_longitude : float
        Where the air is that it measures.
    factor : float
        Constant ratio of the station to the air around it.
    original : int
        Place in the list of stations of the one that a copy repeats; −1 for others.
    """

    location_id: int
    sensor_id: int
    name: str
    city: City
    provider: Provider
    latitude: float
    longitude: float
    air_latitude: float
    air_longitude: float
    factor: float
    role: Role = "ordinary"
    original: int = -1

    @property
    def station_id(self) -> str:
        """Identity: the location id, or source, city, location and coordinates."""
        if self.location_id:
            return str(self.location_id)
        where = "no coordinates"
        if np.isfinite(self.latitude):
            where = f"{self.latitude},{self.longitude}"
        return f"{self.provider.name}/{self.city.name}/{self.name}/{where}"

    @property
    def sensor_name(self) -> str:
        """Identity of the sensor; that of the station where the form has none."""
        return str(self.sensor_id) if self.sensor_id else self.station_id

    @property
    def has_no2(self) -> bool:
        """Whether its files hold a second parameter."""
        return self.role == "ordinary" and self.location_id % 5 == 0


@dataclass(frozen=True)
class Reports:
    """What sound instruments would report in a block.

    Attributes
    ----------
    stations : tuple of Station
    truth : ndarray, shape (hours, stations)
        Hourly mean of the cell that holds the station, µg m⁻³.
    clean : ndarray, shape (hours, stations)
        As the instrument gives it, rounded.
    present : ndarray of bool, shape (hours, stations)
        Whether anything is reported.
    position : ndarray, shape (stations, 2)
        Latitude and longitude as reported in this block.
    """

    stations: tuple[Station, ...]
    truth: Array
    clean: Array
    present: npt.NDArray[np.bool_]
    position: Array = field(repr=False)


def make_stations(settings: DemoSettings) -> tuple[Station, ...]:
    """Return all stations of an archive; they are the same in every block.

    Raises
    ------
    InputError
        If the region holds no city to put them in.
    """
    cities = [city for city in CITIES if _inside(settings, city.latitude, city.longitude)]
    if not cities:
        raise InputError("the region holds no city of the demo", hint="choose a larger one")
    maker = _Maker(settings, cities)
    stations = [maker.station(_provider(rank, settings)) for rank in range(settings.stations)]
    originals = [i for i, station in enumerate(stations) if station.provider is AGENCY]
    stations += [maker.copy(stations[i], i) for i in originals[:COPIES] if settings.faults]
    for role, count in SPECIAL if settings.faults else ():
        provider = COMMUNITY if role in ("mobile", "zero_coordinates") else REALTIME
        stations += [maker.station(provider, role) for _ in range(count)]
    return tuple(stations)


class _Maker:
    """Draws stations in turn, a new number for each."""

    def __init__(self, settings: DemoSettings, cities: list[City]) -> None:
        self._settings, self._cities = settings, cities
        self._rng = settings.rng("stations")
        weights = np.array([0.5 + np.sqrt(city.weight) for city in cities])
        self._chance = weights / weights.sum()
        self._made = 0

    def station(self, provider: Provider, role: Role = "ordinary") -> Station:
        city, *place = self._place()
        reported = {"zero_coordinates": [0.0] * 2, "no_coordinates": [np.nan] * 2}.get(role, place)
        factor = np.exp(self._rng.normal(provider.bias_log, provider.spread_log))
        return Station(
            *self._numbers(role),
            f"{city.name} {self._made:03d}",
            city,
            provider,
            reported[0],
            reported[1],
            place[0],
            place[1],
            factor=float(factor),
            role=role,
        )

    def copy(self, station: Station, place: int) -> Station:
        location_id, sensor_id = self._numbers("copy")
        return replace(
            station,
            location_id=location_id,
            sensor_id=sensor_id,
            name=f"{station.city.name} portal {self._made:03d}",
            provider=COPYING,
            latitude=round(station.latitude + 0.0009, 4),  # 100 m
            role="copy",
            original=place,
        )

    def _numbers(self, role: Role) -> tuple[int, int]:
        self._made += 1
        if role in ("realtime", "no_coordinates"):
            return 0, 0
        return 910_000 + self._made, 9_910_000 + self._made

    def _place(self) -> tuple[City, float, float]:
        """Draw a place in or near a city, inside the region, away from the middle of cells."""
        while True:
            city = self._cities[int(self._rng.choice(len(self._cities), p=self._chance))]
            north, east = self._rng.normal(0, 0.35, 2) * self._rng.choice([0.3, 1.0, 2.5])
            latitude, longitude = round(city.latitude + north, 4), round(city.longitude + east, 4)
            if _inside(self._settings, latitude, longitude):
                return city, latitude, longitude


def _provider(rank: int, settings: DemoSettings) -> Provider:
    share = (rank + 0.5) / settings.stations
    for provider, width in _SHARES:
        if share < width:
            return provider
        share -= width
    return _SHARES[-1][0]


def _inside(settings: DemoSettings, latitude: float, longitude: float) -> bool:
    edge = SPACING_DEG
    return (
        settings.south + edge < latitude < settings.north - edge
        and settings.west + edge < longitude < settings.east - edge
    )


def report(
    settings: DemoSettings,
    block: Block,
    stations: tuple[Station, ...],
    mean: npt.NDArray[np.float32],
) -> Reports:
    """Return what sound instruments report in a block of true hourly means (hours, ny, nx)."""
    rng = settings.rng("reports", block.year, block.month)
    shape = block.hours, len(stations)
    position = np.array([(station.latitude, station.longitude) for station in stations])
    air = np.array([(station.air_latitude, station.air_longitude) for station in stations])
    roams = np.array([station.role == "mobile" for station in stations])
    step = rng.normal(0, 0.3, (len(stations), 2))
    bounds = (settings.south, settings.west), (settings.north, settings.east)
    air[roams] = np.clip(np.round(air + step, 4), *bounds)[roams]
    position[roams] = air[roams]

    truth = _cells(settings, mean, air)
    factor = np.array([station.factor for station in stations])
    drift = _drift(rng, shape)
    value = truth * factor * np.exp(0.22 * drift) + rng.normal(0, 0.8, shape)
    value = np.minimum(value, _INSTRUMENT_TOP)
    decimals = [station.provider.decimals for station in stations]
    clean = np.stack([np.round(value[:, i], d) for i, d in enumerate(decimals)], axis=1) + 0.0
    present = rng.random(shape) >= SHARE_MISSING
    for i, station in enumerate(stations):
        if station.original >= 0:
            clean[:, i] = clean[:, station.original]
            present[:, i] = present[:, station.original]
            # A copy that is shorter than what it repeats.
            present[-6:, i] = False
    return Reports(stations, truth, clean, present, position)


def _cells(settings: DemoSettings, mean: npt.NDArray[np.float32], place: Array) -> Array:
    row = np.rint((place[:, 0] - settings.south) / SPACING_DEG).astype(int)
    column = np.rint((place[:, 1] - settings.west) / SPACING_DEG).astype(int)
    return mean[:, row, column].astype(np.float64)


def _drift(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return a series with a memory of some hours for each station, unit variance."""
    keep = np.exp(-1 / 4.0)
    result = rng.standard_normal(shape)
    for hour in range(1, shape[0]):
        result[hour] = keep * result[hour - 1] + np.sqrt(1 - keep**2) * result[hour]
    return result
