"""GEOS-CF, version 1: hourly files over HTTPS, or a box of each over OPeNDAP, PM2.5 alone.

OPeNDAP is read here, not with the netCDF library or pydap: downloads have to be asked for again,
stopped, and run side by side, none of which the netCDF library does (version 4.10.1 ends the
process where a server answers 404 with an error page), and pydap would bring webob, lxml and more
for the fifty lines at the end.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import (
    LIBRARY,
    Transfer,
    TransferError,
    UnreachableError,
    fetch_planned,
    shown,
)
from deepcams_eval.fetch.local import Asked, Missing, Nodes, Outcome, Plan, held_hours, service_url
from deepcams_eval.read.containers import READ_ERRORS, UnreadableFileError
from deepcams_eval.read.coordinates import decode_times
from deepcams_eval.read.product import ProductSpec, open_product

FILES_URL = "https://portal.nccs.nasa.gov/datashare/gmao/geos-cf/v1/das"
DODS_URL = "https://opendap.nccs.nasa.gov/dods/gmao/geos-cf/assim"
COLLECTIONS = ("aqc_tavg_1hr_g1440x721_v1", "chm_tavg_1hr_g1440x721_v1")
VARIABLE = "PM25_RH35_GCC"
SPACING_DEG = 0.25

_ATTRIBUTES = {"units": "ug m-3", "missing_value": np.float32(1e15)}


@dataclass(frozen=True, kw_only=True)
class GeoscfSettings(Asked):
    """What to fetch of GEOS-CF; a box comes over OPeNDAP, the globe over HTTPS.

    Attributes
    ----------
    collection : str
        One of `COLLECTIONS`; both hold the same PM2.5, and the first is the smaller.
    files_url, dods_url : str
        Where the files, and the collections over OPeNDAP, are found; by default what
        ``DEEPCAMS_GEOSCF_URL`` and ``DEEPCAMS_GEOSCF_DODS`` name, else NASA.
    """

    collection: str = COLLECTIONS[0]
    files_url: str = field(default_factory=lambda: service_url("DEEPCAMS_GEOSCF_URL", FILES_URL))
    dods_url: str = field(default_factory=lambda: service_url("DEEPCAMS_GEOSCF_DODS", DODS_URL))


def file_name(collection: str, stamp: datetime) -> str:
    """Return the name of an hour's file, as published."""
    return f"GEOS-CF.v01.rpl.{collection}.{stamp:%Y%m%d_%H%M}z.nc4"


def file_url(root: str, collection: str, stamp: datetime) -> str:
    """Return the address of an hour's file under `root`."""
    return f"{root}/Y{stamp:%Y}/M{stamp:%m}/D{stamp:%d}/{file_name(collection, stamp)}"


def hours(years: tuple[int, ...], months: tuple[int, ...]) -> Iterator[datetime]:
    """Return the middles of all hours of the months, and of the hour after each run of them."""
    asked = {(year, month) for year in years for month in months}
    for year, month in sorted(asked):
        stamp = datetime(year, month, 1, 0, 30)
        while stamp.month == month:
            yield stamp
            stamp += timedelta(hours=1)
        if (stamp.year, stamp.month) not in asked:
            yield stamp


def plan_geoscf(settings: GeoscfSettings) -> Plan[datetime]:
    """Compare the hours asked for, by the middle of each, with what lies in the folder.

    Nothing is asked of a server. An hour is there if a file of version 1 has its name, of whatever
    collection. The hour after each run of months is asked for too: the last interval ends there.

    Raises
    ------
    InputError
        If the folder holds another box: the reader takes one grid a product.
    """
    grid = Nodes.of(settings.bbox, SPACING_DEG, widen=False)
    held = dict(held_hours(settings.folder))
    if held:
        path = next(iter(held.values()))
        grid.require(open_product(ProductSpec("geoscf", str(path), kind="geoscf")).field, path)
    asked = list(hours(settings.years, settings.months))
    wanted = tuple(stamp for stamp in asked if stamp not in held)
    there = tuple(stamp for stamp in asked if stamp in held)
    return Plan(wanted, there, len(wanted) * grid.bytes)


def fetch_geoscf(settings: GeoscfSettings, transfer: Transfer) -> Outcome:
    """Fetch what `plan_geoscf` finds wanting, `settings.workers` hours at a time.

    Raises
    ------
    InputError
        If there is no room, the server refuses, or a file cannot be written.
    """

    def describe(
        failed: Mapping[datetime, TransferError], wanted: Sequence[datetime]
    ) -> list[Missing]:
        """Return what is missing, a line for each month and reason."""
        if any(isinstance(error, UnreachableError) for error in failed.values()):
            transfer.say("the server does not answer: the rest was not asked for")
        asked = Counter(f"{stamp:%Y-%m}" for stamp in wanted)
        groups: dict[tuple[str, str], list[datetime]] = {}
        for stamp in sorted(failed):
            groups.setdefault((f"{stamp:%Y-%m}", failed[stamp].problem), []).append(stamp)
        return [
            Missing(
                f"{month}, {len(stamps)} of {asked[month]} hours, from {stamps[0]:%d %H:%M}", reason
            )
            for (month, reason), stamps in groups.items()
        ]

    return fetch_planned(
        "geoscf",
        settings.folder,
        lambda: plan_geoscf(settings),
        lambda: (_Files if settings.bbox is None else _Subset)(settings, transfer).fetch_hour,
        transfer,
        settings.workers,
        describe,
    )


class _Files:
    """Whole files, of which PM2.5 alone is kept."""

    def __init__(self, settings: GeoscfSettings, transfer: Transfer) -> None:
        self._settings, self._transfer = settings, transfer
        self._nodes = Nodes.of(settings.bbox, SPACING_DEG, widen=False)

    def fetch_hour(self, stamp: datetime) -> int:
        """Fetch, check and keep an hour; return the bytes kept."""
        name = file_name(self._settings.collection, stamp)
        target = self._settings.folder / f"{stamp:%Y}" / f"{stamp:%m}" / name
        return self._transfer.get(
            self._url(stamp), target, finish=lambda path: self._finish(path, target, stamp)
        )

    def _url(self, stamp: datetime) -> str:
        return file_url(self._settings.files_url, self._settings.collection, stamp)

    def _finish(self, path: Path, target: Path, stamp: datetime) -> Path:
        """Write PM2.5 alone beside the target, and read it as the reader of GEOS-CF does."""
        whole = target.with_name(f".{target.name}.whole")
        with LIBRARY:
            hour = self._opened(path, stamp)
            packed = {"zlib": True, "complevel": 4, "shuffle": True}
            encoding = dict.fromkeys(hour.data_vars, packed)
            try:
                hour.to_netcdf(whole, engine="netcdf4", encoding=encoding)
            except (OSError, RuntimeError) as error:
                # The library says no more than that it failed.
                whole.unlink(missing_ok=True)
                said = "the netCDF library failed; is the disk full?"
                raise OSError(errno.EIO, said, whole) from error
            try:
                self._check(whole, stamp)
            except InputError:
                whole.unlink(missing_ok=True)
                raise
        return whole

    def _opened(self, path: Path, _: datetime) -> xr.Dataset:
        try:
            with xr.open_dataset(path, engine="netcdf4", decode_cf=False) as dataset:
                name = next((one for one in dataset if str(one).upper() == VARIABLE), None)
                if name is None:
                    raise UnreadableFileError(f"has no {VARIABLE}", path=path)
                return dataset[[name]].isel(lev=0, drop=True, missing_dims="ignore").load()
        except READ_ERRORS as error:
            if isinstance(error, InputError):
                raise
            raise UnreadableFileError("is broken or cut short", path=path) from error

    def _check(self, path: Path, stamp: datetime) -> None:
        """Raise `InputError` unless a file holds the time, the nodes and any value."""
        field = open_product(ProductSpec("geoscf", str(path), kind="geoscf"), strict=True).field
        found = field.time.values.astype("datetime64[s]").tolist()
        if found != [stamp]:
            raise UnreadableFileError(f"holds {found[0]:%Y-%m-%d %H:%M}, not {stamp}", path=path)
        self._nodes.require(field, path)
        if not np.isfinite(field.compute(scheduler="synchronous").values).any():
            raise UnreadableFileError("holds no value", path=path)


class _Subset(_Files):
    """A box of one collection over OPeNDAP; its coordinates are asked for once."""

    def __init__(self, settings: GeoscfSettings, transfer: Transfer) -> None:
        super().__init__(settings, transfer)
        self._root = f"{settings.dods_url}/{settings.collection}"
        self._label = shown(self._root)
        described, das = (
            transfer.read(f"{self._root}.{kind}").decode("utf-8", "replace")
            for kind in ("dds", "das")
        )
        found = [one for one in parse_dds(described) if one.name.lower() == VARIABLE.lower()]
        if not found:
            raise TransferError(f"has no {VARIABLE}", path=self._label)
        self._array = found[-1]
        units, calendar = (parse_attribute(das, "time", name) for name in ("units", "calendar"))
        times = decode_times(self._axis("time"), units, calendar, self._label)
        seconds = times.astype("datetime64[s]").tolist()
        self._position = {stamp: index for index, stamp in enumerate(seconds)}
        self._ranges = {
            name: _span(self._axis(name), wanted, self._label)
            for name, wanted in zip(("lat", "lon"), self._nodes, strict=True)
        }

    def fetch_hour(self, stamp: datetime) -> int:
        if stamp not in self._position:
            raise TransferError("is not on the server", path=self._label)
        return super().fetch_hour(stamp)

    def _url(self, stamp: datetime) -> str:
        ranges = {"time": f"[{self._position[stamp]}]", **self._ranges}
        wanted = "".join(ranges.get(dim.lower(), "[0]") for dim in self._array.dims)
        return f"{self._root}.dods?{quote(self._array.name + wanted)}"

    def _opened(self, path: Path, stamp: datetime) -> xr.Dataset:
        values = decode_dods(path.read_bytes(), self._label).get(self._array.name)
        latitude, longitude = self._nodes
        shape = (1, len(latitude), len(longitude))
        if values is None or values.size != np.prod(shape):
            raise TransferError("the server sent another box", path=self._label)
        return xr.Dataset(
            {VARIABLE: (("time", "lat", "lon"), values.reshape(shape), _ATTRIBUTES)},
            coords={
                "time": ("time", [0], {"units": f"minutes since {stamp}"}),
                "lat": ("lat", latitude, {"units": "degrees_north"}),
                "lon": ("lon", longitude, {"units": "degrees_east"}),
            },
        )

    def _axis(self, name: str) -> npt.NDArray[Any]:
        arrays = decode_dods(self._transfer.read(f"{self._root}.dods?{name}"), self._label)
        if name not in arrays:
            raise TransferError(f"has no coordinate {name}", path=self._label)
        return arrays[name]


def _span(axis: npt.NDArray[Any], wanted: npt.NDArray[np.float64], label: str) -> str:
    """Return the range of an axis, as a constraint, that holds the wanted nodes."""
    first = int(np.argmin(np.abs(axis - wanted[0])))
    last = first + len(wanted) - 1
    if last >= len(axis) or not np.allclose(axis[first : last + 1], wanted, rtol=0, atol=0.01):
        raise TransferError("is on another grid than GEOS-CF, version 1", path=label)
    return f"[{first}:{last}]"


# The part of OPeNDAP (DAP 2.0) that a subset needs. Source: Gallagher et al., The Data Access
# Protocol DAP 2.0, NASA ESE-RFC-004 (2007): a .dods answer is its description as text, a line
# "Data:", and the arrays in XDR, in the order of the description; each array has its length twice
# before its values.

_TYPES = {
    "Float32": ">f4",
    "Float64": ">f8",
    "Int32": ">i4",
    "UInt32": ">u4",
    "Int16": ">i4",  # XDR widens these two
    "UInt16": ">u4",
}
_DECLARED = re.compile(rf"\b({'|'.join(_TYPES)})\s+([\w.%-]+)((?:\s*\[[^\]]*\])+)\s*;")
_DIM = re.compile(r"\[\s*(?:(\w+)\s*=\s*)?(\d+)\s*\]")
_BREAK = re.compile(rb"\r?\nData:\r?\n")


class Declared(NamedTuple):
    """An array as a description declares it; `form` is numpy's, big-endian."""

    name: str
    form: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]


def parse_dds(text: str) -> list[Declared]:
    """Return the arrays of a description in their order, the axes of a Grid among them."""
    found = []
    for form, name, dims in _DECLARED.findall(text):
        pairs = _DIM.findall(dims)
        shape = tuple(int(length) for _, length in pairs)
        found.append(Declared(name, _TYPES[form], tuple(dim for dim, _ in pairs), shape))
    return found


def parse_attribute(das: str, array: str, attribute: str) -> str:
    """Return an attribute of an array out of a ``.das`` answer, "" where there is none."""
    block = re.search(rf"^\s*{re.escape(array)}\s*\{{(.*?)^\s*\}}", das, re.DOTALL | re.MULTILINE)
    if block is None:
        return ""
    found = re.search(rf"\b{re.escape(attribute)}\s+\"?([^\";]*)\"?;", block[1])
    return found[1].strip() if found else ""


def decode_dods(body: bytes, label: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a ``.dods`` answer by name; the first of a name counts.

    Raises
    ------
    TransferError
        If it is no such answer, or is shorter or longer than it says; it names `label`.
    """
    cut = _BREAK.search(body)
    if cut is None:
        raise TransferError("the server did not answer with data", path=label)
    position = cut.end()
    result: dict[str, npt.NDArray[Any]] = {}
    for one in parse_dds(body[: cut.start()].decode("utf-8", "replace")):
        count = int(np.prod(one.shape, dtype=np.int64))
        end = position + 8 + count * np.dtype(one.form).itemsize
        lengths = np.frombuffer(body[position : position + 8], ">u4")
        if end > len(body) or lengths.tolist() != [count, count]:
            raise TransferError(f"its array {one.name} is cut short", path=label)
        values = np.frombuffer(body[position + 8 : end], one.form).reshape(one.shape)
        result.setdefault(one.name, values.astype(values.dtype.newbyteorder("=")))
        position = end
    if position != len(body) or not result:
        raise TransferError("does not end where its description says", path=label)
    return result
