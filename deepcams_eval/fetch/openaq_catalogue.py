"""Locations, sensors and instruments of OpenAQ through its API, into a station table."""

from __future__ import annotations

import http.client
import itertools
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from openaq import OpenAQ
from openaq.core.exceptions import (
    APIError,
    ApiKeyMissingError,
    ForbiddenError,
    NotAuthorizedError,
    OpenAQError,
)
from openaq.core.responses import Location
from openaq.core.transport import Response, Transport

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import (
    AGAIN,
    Failure,
    Retries,
    RetryPolicy,
    UnreachableError,
    retry_after,
)
from deepcams_eval.fetch.local import OPENAQ_KEY_HINT, Box
from deepcams_eval.read.stations import country_codes

API = "https://api.openaq.org/v3/"
PER_MINUTE, PER_HOUR = 60, 2000
"""Requests that one key may make."""

_PM25 = 2
_PAGE = 1000

STATION_COLUMNS = {
    **dict.fromkeys(("station_id", "sensor_id", "name"), "str"),
    **dict.fromkeys(("latitude", "longitude"), "float64"),
    **dict.fromkeys(("country", "provider"), "str"),
    **dict.fromkeys(("is_reference", "mobile"), "boolean"),
}
"""Columns of the station table, and their types."""


@dataclass(frozen=True)
class Wanted:
    """Which stations are asked for: those with any measurement in the years.

    ``countries`` are ISO 3166-1 alpha-2 codes, none for all; a ``bbox`` with west > east crosses
    the date line; ``reference_only`` leaves locations with a PM2.5 sensor known to be a reference
    monitor.
    """

    years: tuple[int, ...]
    countries: tuple[str, ...] = ()
    bbox: Box | None = None
    reference_only: bool = False


@dataclass(frozen=True)
class Catalogue:
    """Stations found.

    Attributes
    ----------
    stations : pandas.DataFrame
        One row a PM2.5 sensor: ``station_id``, ``sensor_id``, ``name``, ``latitude``,
        ``longitude`` (degrees; NaN is unknown), ``country``, ``provider`` ("" is unknown),
        ``is_reference``, ``mobile`` (boolean; NA is unknown).
    counts : dict of str to int
        ``locations`` named by the API; of these ``outside_years`` and ``outside_wanted`` (box,
        country, grade) were left out. ``grade_unknown``: sensors whose grade is unknown.
    """

    stations: pd.DataFrame
    counts: dict[str, int]


class Windows:
    """Paces requests so that no window of time (count, seconds) holds more than its limit."""

    def __init__(
        self,
        limits: Sequence[tuple[int, float]] = ((PER_MINUTE, 60.0), (PER_HOUR, 3600.0)),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = tuple(limits)
        self._clock, self._sleep = clock, sleep
        self._made: deque[float] = deque(maxlen=max(count for count, _ in limits))

    def wait(self) -> None:
        """Wait until a request may be made, and count it as made."""
        made = list(self._made)
        free = [made[-count] + span for count, span in self._limits if len(made) >= count]
        pause = max(free, default=0.0) - self._clock()
        if pause > 0:
            self._sleep(pause)
        self._made.append(self._clock())


class PacedTransport(Transport):
    """The transport of the SDK, pacing requests and asking again after failures that may pass.

    The SDK leaves failed requests to its caller and does not show Retry-After.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        windows: Windows,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(timeout=policy.timeout_s)
        self._windows, self._retries = windows, Retries(policy, sleep)

    def _raw_request(
        self, method: str, host: str, path: str, headers: Mapping[str, str]
    ) -> Response:
        request = super()._raw_request

        def ask() -> Response:
            self._windows.wait()
            response = request(method, host, path, headers)
            if response.status_code in AGAIN:
                raise _AgainError(response)
            return _with_limits(response)

        try:
            return self._retries.persist(host, ask, partial(_judge, host))
        except UnreachableError as error:
            raise InputError(
                f"the OpenAQ API gave no answer: {error.problem}",
                path=host,
                hint="run the command again later",
            ) from None


class _AgainError(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.failure = Failure(
            f"status {response.status_code}", retry_after(response.headers.get("retry-after"))
        )


def _judge(host: str, error: Exception) -> Failure:
    if isinstance(error, _AgainError):
        return error.failure
    if isinstance(error, ssl.SSLCertVerificationError):
        raise InputError(
            "the certificate of the OpenAQ API is not trusted",
            path=host,
            hint="check the clock and the address, or name your organisation's certificates in"
            " SSL_CERT_FILE",
        ) from None
    if isinstance(error, http.client.HTTPException):
        return Failure("the connection was cut")
    if isinstance(error, OSError):
        return Failure("no answer in time" if isinstance(error, TimeoutError) else "no connection")
    raise error


def _with_limits(response: Response) -> Response:
    """Return an answer that says how many requests are left.

    Where it does not, the SDK takes them as used up and waits a minute.
    """
    if "x-ratelimit-remaining" in response.headers:
        return response
    said = http.client.HTTPMessage()
    for name, value in {**response.headers, "x-ratelimit-remaining": "1"}.items():
        said[name] = value
    return Response(response.status_code, response.text.encode(), said)


def find_stations(
    wanted: Wanted,
    key: str,
    *,
    api: str = API,
    transport: Transport | None = None,
) -> Catalogue:
    """Ask the API for PM2.5 locations and the grade of their instruments.

    Parameters
    ----------
    wanted : Wanted
    key : str
        Goes to the API alone.
    api : str
        Its address, HTTPS.
    transport : openaq.core.transport.Transport, optional
        Makes the requests; a `PacedTransport` if absent.

    Returns
    -------
    Catalogue
        ``is_monitor`` of a location is true if any of its instruments is a reference monitor, and
        the API does not say which sensor belongs to which instrument. A sensor has the grade on
        which all instruments of its location agree; where they differ, it is unknown.

    Raises
    ------
    InputError
        If there is no key, it is refused, or the API gives no usable answer.
    """
    if not api.startswith("https://"):
        raise InputError(f"{api!r} is no HTTPS address", hint="keys go over HTTPS only")
    # The SDK logs whole answers; an answer may repeat what was sent.
    logging.getLogger("openaq").addHandler(logging.NullHandler())
    logging.getLogger("openaq").propagate = False
    used = transport or PacedTransport(RetryPolicy(), Windows())
    try:
        with OpenAQ(key, base_url=api.rstrip("/") + "/", _transport=used) as client:
            grades = {
                instrument.id: bool(instrument.is_monitor)
                for instrument in _pages(client.instruments.list)
            }
            locations = {}
            for query in _queries(wanted):
                for location in _pages(client.locations.list, parameters_id=_PM25, **query):
                    locations[location.id] = location
    except ApiKeyMissingError:
        problem = "is no key of OpenAQ (64 hexadecimal digits)" if key else "is absent"
        raise InputError(f"the key for the OpenAQ API {problem}", hint=OPENAQ_KEY_HINT) from None
    except (NotAuthorizedError, ForbiddenError) as error:
        raise InputError(
            f"the OpenAQ API refuses the key (status {error.status_code})",
            hint="check it, or whether it has expired; " + OPENAQ_KEY_HINT,
        ) from None
    except (APIError, OpenAQError) as error:
        status = getattr(error, "status_code", "")
        raise InputError(
            f"the OpenAQ API refuses the request ({type(error).__name__} {status})", path=api
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the answer of the OpenAQ API is not understood ({type(error).__name__})",
            path=api,
            hint="update the package openaq",
        ) from None
    return _catalogue(list(locations.values()), grades, wanted)


def _pages(ask: Callable[..., Any], **query: Any) -> Iterator[Any]:
    """Yield results page by page until one is short: the number found may be text or a bound."""
    for page in itertools.count(1):
        results = ask(page=page, limit=_PAGE, **query).results
        yield from results
        if len(results) < _PAGE:
            return


def _queries(wanted: Wanted) -> list[dict[str, Any]]:
    """Return the queries that together cover what is wanted; the API takes one country each."""
    base: dict[str, Any] = {"monitor": True} if wanted.reference_only else {}
    if wanted.countries:
        return [{**base, "iso": code} for code in wanted.countries]
    if wanted.bbox is None:
        return [base]
    west, south, east, north = wanted.bbox
    west, east = (_turned(west), _turned(east)) if east - west < 360 else (-180.0, 180.0)
    spans = [(west, east)] if west < east else [(west, 180.0), (-180.0, east)]
    return [{**base, "bbox": (left, south, right, north)} for left, right in spans if left < right]


def _turned(longitude: float) -> float:
    return longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180


def _catalogue(locations: list[Location], grades: Mapping[int, bool], wanted: Wanted) -> Catalogue:
    in_years = [location for location in locations if _measured_in(location, wanted.years)]
    rows = [row for location in in_years for row in _sensors(location, grades)]
    table = pd.DataFrame(rows, columns=list(STATION_COLUMNS)).astype(STATION_COLUMNS)
    table["country"] = country_codes(table["country"])
    kept = table[_is_wanted(table, wanted)].reset_index(drop=True)
    return Catalogue(
        kept,
        {
            "locations": len(locations),
            "outside_years": len(locations) - len(in_years),
            "outside_wanted": len(in_years) - kept["station_id"].nunique(),
            "grade_unknown": int(kept["is_reference"].isna().sum()),
        },
    )


def _measured_in(location: Location, years: tuple[int, ...]) -> bool:
    first, last = (_utc_year(time) for time in (location.datetime_first, location.datetime_last))
    return (first is None or first <= max(years)) and (last is None or last >= min(years))


def _utc_year(time_: Any) -> int | None:
    text = "" if time_ is None or time_.utc is None else str(time_.utc)
    return int(text[:4]) if text[:4].isdigit() else None


def _sensors(location: Location, grades: Mapping[int, bool]) -> Iterator[dict[str, Any]]:
    named = location.coordinates
    latitude = longitude = np.nan
    if named is not None and None not in (named.latitude, named.longitude):
        latitude, longitude = named.latitude, named.longitude
    for sensor in location.sensors or []:
        if sensor.parameter is not None and sensor.parameter.id == _PM25:
            yield {
                "station_id": str(location.id),
                "sensor_id": str(sensor.id),
                "name": location.name or "",
                "latitude": latitude,
                "longitude": longitude,
                "country": (location.country.code or "") if location.country else "",
                "provider": (location.provider.name or "") if location.provider else "",
                "is_reference": _grade(location, grades),
                "mobile": pd.NA if location.is_mobile is None else location.is_mobile,
            }


def _grade(location: Location, grades: Mapping[int, bool]) -> Any:
    said = {grades.get(instrument.id) for instrument in location.instruments or []}
    if len(said) == 1 and None not in said:
        return said.pop()
    # "No instrument is a reference monitor" is a statement about each; its opposite is not.
    return False if not said and location.is_monitor is False else pd.NA


def _is_wanted(table: pd.DataFrame, wanted: Wanted) -> pd.Series[bool]:
    kept = pd.Series(True, index=table.index)
    if wanted.countries:
        kept &= table["country"].isin(wanted.countries)
    if wanted.bbox is not None:
        west, south, east, north = wanted.bbox
        eastward = (table["longitude"] - west) % 360
        kept &= table["latitude"].between(south, north) & (
            (eastward <= (east - west) % 360) | (abs(east - west) >= 360)
        )
    if wanted.reference_only:
        graded = table["is_reference"].fillna(False).astype(bool)
        kept &= table["station_id"].isin(table.loc[graded, "station_id"])
    return kept
