"""Servers on loopback that stand in for OpenAQ: its API, and its archive with faults on purpose."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import trustme

from tests.fetch_services import Request, Service, tag_of

KEY = "0123456789abcdef" * 4
MONITOR, SENSOR = 2, 7
"""Instruments: a reference monitor, and one that is not."""


@dataclass(frozen=True)
class Certificates:
    """A server's certificate, and the file by which a client trusts it."""

    context: ssl.SSLContext
    trusted: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        trusted = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(trusted))
        return cls(context, trusted)


def location(number: int, **changes: Any) -> dict[str, Any]:
    """A location as the API gives it; `changes` replace fields."""
    return {
        "id": number,
        "name": f"Somewhere {number}",
        "locality": None,
        "timezone": "Europe/Brussels",
        "country": {"id": 1, "code": "BE", "name": "Belgium"},
        "owner": {"id": 4, "name": "Unknown Governmental Organization"},
        "provider": {"id": 9, "name": "Some Agency"},
        "isMobile": False,
        "isMonitor": True,
        "instruments": [{"id": MONITOR, "name": "Government Monitor"}],
        "sensors": [sensor(number * 10), sensor(number * 10 + 1, parameter="o3")],
        "coordinates": {"latitude": 50.5, "longitude": 4.25},
        "licenses": None,
        "bounds": [4.25, 50.5, 4.25, 50.5],
        "distance": None,
        "datetimeFirst": {"utc": "2016-01-30T01:00:00Z", "local": "2016-01-30T02:00:00+01:00"},
        "datetimeLast": {"utc": "2024-02-06T20:00:00Z", "local": "2024-02-06T21:00:00+01:00"},
    } | changes


def sensor(number: int, parameter: str = "pm25") -> dict[str, Any]:
    numbered = {"pm25": 2, "o3": 3}[parameter]
    described = {"id": numbered, "name": parameter, "units": "µg/m³", "displayName": None}
    return {"id": number, "name": f"{parameter} µg/m³", "parameter": described}


@dataclass
class OpenaqApi:
    """The API: locations and instruments, by pages, for those who have the key.

    Attributes
    ----------
    locations : list of dict
    key : str
    queries : list of dict
        What was asked, in order.
    """

    locations: list[dict[str, Any]]
    key: str = KEY
    queries: list[dict[str, str]] = field(default_factory=list)
    service: Service = field(default_factory=Service)

    def __post_init__(self) -> None:
        self.service.route = self.route

    def route(self, request: Request) -> tuple[int, object] | None:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.queries.append({"path": parts.path, **query})
        if {name.lower(): text for name, text in request.headers.items()}["x-api-key"] != self.key:
            return 401, {"detail": f"Invalid credentials {request.headers}"}
        if parts.path == "/v3/instruments":
            maker = {"id": 1, "name": "unknown"}
            found = [
                {"id": number, "name": "x", "isMonitor": grade, "manufacturer": maker}
                for number, grade in ((1, False), (MONITOR, True), (SENSOR, False))
            ]
        elif parts.path == "/v3/locations":
            found = [one for one in self.locations if _fits(one, query)]
        else:
            return 404, {"detail": "Not Found"}
        page, limit = int(query["page"]), int(query["limit"])
        some = found[(page - 1) * limit : page * limit]
        count: object = f">{limit}" if len(found) > page * limit else len(found)
        meta = {"name": "openaq-api", "website": "/", "page": page, "limit": limit, "found": count}
        return 200, {"meta": meta, "results": some}


def _fits(one: dict[str, Any], query: Mapping[str, str]) -> bool:
    if "iso" in query and (one["country"] or {}).get("code") != query["iso"]:
        return False
    if "monitor" in query and str(one["isMonitor"]).lower() != query["monitor"]:
        return False
    if "bbox" not in query:
        return True
    west, south, east, north = map(float, query["bbox"].split(","))
    place = one["coordinates"]
    return bool(west <= place["longitude"] <= east and south <= place["latitude"] <= north)


@dataclass
class Bucket(Service):
    """An S3 bucket: objects and faults by key, and a fault of listing as that of ``list``."""

    page: int = 100
    lists: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.route = self.listed

    @classmethod
    def of(cls, tree: Path) -> Bucket:
        """The objects of a folder that holds ``locationid=…``."""
        return cls(
            {
                f"records/csv.gz/{path.relative_to(tree).as_posix()}": path.read_bytes()
                for path in sorted(tree.rglob("*.csv.gz"))
            }
        )

    @property
    def address(self) -> str:
        return f"{self.url}/archive"

    @property
    def gets(self) -> list[str]:
        """Keys of the objects that were asked for."""
        return [one.path for one in self.requests if one.path != "list"]

    def name(self, address: str) -> str:
        parts = urlsplit(address)
        return "list" if parts.query else unquote(parts.path).removeprefix("/archive/")

    def listed(self, request: Request) -> tuple[int, object] | None:
        parts = urlsplit(request.path)
        if not parts.query:
            return None
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        self.lists.append(prefix)
        keys = sorted(key for key in self.files if key.startswith(prefix) and key > after)
        some, more = keys[: self.page], len(keys) > self.page
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2024-01-02T03:04:05.000Z"
            f"</LastModified><ETag>&quot;{tag_of(self.files[key])}&quot;</ETag>"
            f"<Size>{len(self.files[key])}</Size></Contents>"
            for key in some
        )
        token = f"<NextContinuationToken>{escape(some[-1])}</NextContinuationToken>" if more else ""
        return 200, (
            f"<ListBucketResult><Name>archive</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{entries}</ListBucketResult>"
        ).encode()
