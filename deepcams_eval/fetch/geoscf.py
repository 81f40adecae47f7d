"""GEOS-CF, version 1: hourly files over HTTPS, or a box of each over OPeNDAP, PM2.5 alone."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.disk import check_space, sole_fetch
from deepcams_eval.fetch.geoscf_plan import (
    VARIABLE,
    FloatArray,
    GeoscfSettings,
    check_nodes,
    file_url,
    nodes,
    plan_geoscf,
)
from deepcams_eval.fetch.opendap import decode_dods, parse_attribute, parse_dds
from deepcams_eval.fetch.outcome import Missing, Outcome
from deepcams_eval.fetch.transfer import Transfer, TransferError, UnreachableError, shown
from deepcams_eval.read.containers import READ_ERRORS, UnreadableFileError
from deepcams_eval.read.coordinates import decode_times
from deepcams_eval.read.product import ProductSpec, open_product

FetchHour = Callable[[datetime], int]

_ATTRIBUTES = {"units": "ug m-3", "missing_value": np.float32(1e15)}
_GIVE_UP_AFTER = 3
_LIBRARY = Lock()
"""The netCDF library is not safe in threads: downloads run side by side, their checks do not."""


def fetch_geoscf(
    settings: GeoscfSettings,
    transfer: Transfer,
    say: Callable[[str], None],
    follow: Callable[[int, int], None],
) -> Outcome:
    """Fetch what `plan_geoscf` finds wanting, `settings.workers` hours at a time.

    Parameters
    ----------
    settings : GeoscfSettings
    transfer : Transfer
    say : callable
        Takes a line of news.
    follow : callable
        Takes the files done and all that are to be fetched.

    Raises
    ------
    InputError
        If there is no room, the server refuses, or a file cannot be written.
    """
    with sole_fetch(settings.folder):
        plan = plan_geoscf(settings)
        if not plan.wanted:
            return Outcome("geoscf", 0, len(plan.there), 0, ())
        check_space(settings.folder, plan.bytes_at_most)
        fetch_hour = _over_https(settings, transfer)
        if settings.bbox is not None:
            fetch_hour = _Subset(settings, transfer).fetch_hour
        fetched, total, failed = _run(plan.wanted, fetch_hour, settings.workers, transfer, follow)
    if any(isinstance(error, UnreachableError) for error in failed.values()):
        say("the server does not answer: the rest was not asked for")
    return Outcome("geoscf", fetched, len(plan.there), total, _by_month(failed, plan.wanted))


def _run(
    wanted: Sequence[datetime],
    fetch_hour: FetchHour,
    workers: int,
    transfer: Transfer,
    follow: Callable[[int, int], None],
) -> tuple[int, int, dict[datetime, TransferError]]:
    """Return the hours fetched, their bytes, and why others failed.

    After some hours in a row without any answer the rest is not asked for.
    """
    ahead = iter(wanted)
    running: dict[Future[int], datetime] = {}
    fetched, total, silent = 0, 0, 0
    failed: dict[datetime, TransferError] = {}
    follow(0, len(wanted))
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                room = 2 * workers - len(running) if silent < _GIVE_UP_AFTER else 0
                running |= {pool.submit(fetch_hour, one): one for one in islice(ahead, room)}
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    stamp = running.pop(future)
                    try:
                        total += future.result()
                        fetched, silent = fetched + 1, 0
                    except TransferError as error:
                        failed[stamp] = error
                        silent = silent + 1 if isinstance(error, UnreachableError) else 0
                follow(fetched, len(wanted))
        except BaseException:
            # Threads on their way end at their next piece; without this the pool waits for them.
            transfer.stop()
            pool.shutdown(cancel_futures=True)
            raise
    left = UnreachableError("not asked for, as the server does not answer")
    return fetched, total, failed | dict.fromkeys(ahead, left)


def _by_month(
    failed: Mapping[datetime, TransferError], wanted: Sequence[datetime]
) -> tuple[Missing, ...]:
    """Return what is missing, a line for each month and reason."""
    asked = Counter(f"{stamp:%Y-%m}" for stamp in wanted)
    groups: dict[tuple[str, str], list[datetime]] = {}
    for stamp in sorted(failed):
        groups.setdefault((f"{stamp:%Y-%m}", failed[stamp].problem), []).append(stamp)
    return tuple(
        Missing(
            f"{month}, {len(stamps)} of {asked[month]} hours, from {stamps[0]:%d %H:%M}", reason
        )
        for (month, reason), stamps in groups.items()
    )


def _over_https(settings: GeoscfSettings, transfer: Transfer) -> FetchHour:
    latitude, longitude = nodes(settings.bbox)

    def fetch_hour(stamp: datetime) -> int:
        target = settings.target(stamp)
        return transfer.get(
            file_url(settings.files_url, settings.collection, stamp),
            target,
            finish=lambda path: _cut_out(path, target, stamp, latitude, longitude),
        )

    return fetch_hour


def _cut_out(
    path: Path, target: Path, stamp: datetime, latitude: FloatArray, longitude: FloatArray
) -> Path:
    """Write PM2.5 alone out of a published file, and check it."""
    with _LIBRARY:
        return _written(_pm25_of(path), target, stamp, latitude, longitude)


def _pm25_of(path: Path) -> xr.Dataset:
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


def _written(
    hour: xr.Dataset, target: Path, stamp: datetime, latitude: FloatArray, longitude: FloatArray
) -> Path:
    whole = target.with_name(f".{target.name}.whole")
    encoding = {name: {"zlib": True, "complevel": 4, "shuffle": True} for name in hour.data_vars}
    try:
        hour.to_netcdf(whole, engine="netcdf4", encoding=encoding)
    except (OSError, RuntimeError) as error:
        # The library says no more than that it failed.
        whole.unlink(missing_ok=True)
        raise OSError(errno.EIO, "the netCDF library failed; is the disk full?", whole) from error
    try:
        _check_hour(whole, stamp, latitude, longitude)
    except InputError:
        whole.unlink(missing_ok=True)
        raise
    return whole


def _check_hour(path: Path, stamp: datetime, latitude: FloatArray, longitude: FloatArray) -> None:
    """Read an hour with the reader of GEOS-CF: its time, its nodes, any value.

    Raises
    ------
    InputError
        If one of them is not what was asked for.
    """
    field = open_product(ProductSpec("geoscf", str(path), kind="geoscf"), strict=True).field
    found = field.time.values.astype("datetime64[s]").tolist()
    if found != [stamp]:
        raise UnreadableFileError(f"holds {found[0]:%Y-%m-%d %H:%M}, not {stamp}", path=path)
    check_nodes(field, path, latitude, longitude)
    if not np.isfinite(field.compute(scheduler="synchronous").values).any():
        raise UnreadableFileError("holds no value", path=path)


class _Subset:
    """A box of one collection over OPeNDAP; its coordinates are asked for once."""

    def __init__(self, settings: GeoscfSettings, transfer: Transfer) -> None:
        self._settings = settings
        self._transfer = transfer
        self._root = f"{settings.dods_url}/{settings.collection}"
        self._latitude, self._longitude = nodes(settings.bbox)
        declared = {one.name.lower(): one for one in parse_dds(self._text("dds"))}
        if VARIABLE.lower() not in declared:
            raise TransferError(f"has no {VARIABLE}", path=shown(self._root))
        self._array = declared[VARIABLE.lower()]
        das = self._text("das")
        axes = self._coordinates()
        times = decode_times(
            axes["time"],
            parse_attribute(das, "time", "units"),
            parse_attribute(das, "time", "calendar"),
            shown(self._root),
        )
        seconds = times.astype("datetime64[s]").tolist()
        self._position = {stamp: index for index, stamp in enumerate(seconds)}
        self._rows = _span(axes["lat"], self._latitude, shown(self._root))
        self._columns = _span(axes["lon"], self._longitude, shown(self._root))

    def fetch_hour(self, stamp: datetime) -> int:
        index = self._position.get(stamp)
        if index is None:
            raise TransferError("is not on the server", path=shown(self._root))
        ranges = {"time": f"[{index}]", "lat": self._rows, "lon": self._columns}
        wanted = "".join(ranges.get(dim.lower(), "[0]") for dim in self._array.dims)
        target = self._settings.target(stamp)
        return self._transfer.get(
            f"{self._root}.dods?{quote(self._array.name + wanted)}",
            target,
            finish=lambda path: self._finish(path, target, stamp),
        )

    def _finish(self, path: Path, target: Path, stamp: datetime) -> Path:
        arrays = decode_dods(path.read_bytes(), shown(self._root))
        shape = (1, len(self._latitude), len(self._longitude))
        values = arrays.get(self._array.name)
        if values is None or values.size != np.prod(shape):
            raise TransferError("the server sent another box", path=shown(self._root))
        hour = xr.Dataset(
            {VARIABLE: (("time", "lat", "lon"), values.reshape(shape), _ATTRIBUTES)},
            coords={
                "time": ("time", [0], {"units": f"minutes since {stamp}"}),
                "lat": ("lat", self._latitude, {"units": "degrees_north"}),
                "lon": ("lon", self._longitude, {"units": "degrees_east"}),
            },
        )
        with _LIBRARY:
            return _written(hour, target, stamp, self._latitude, self._longitude)

    def _text(self, kind: str) -> str:
        return self._transfer.read(f"{self._root}.{kind}").decode("utf-8", "replace")

    def _coordinates(self) -> dict[str, npt.NDArray[Any]]:
        found: dict[str, npt.NDArray[Any]] = {}
        for name in ("time", "lat", "lon"):
            body = self._transfer.read(f"{self._root}.dods?{name}")
            arrays = decode_dods(body, shown(self._root))
            if name not in arrays:
                raise TransferError(f"has no coordinate {name}", path=shown(self._root))
            found[name] = arrays[name]
        return found


def _span(axis: FloatArray, wanted: FloatArray, label: str) -> str:
    """Return the range of an axis, as a constraint, that holds the wanted nodes."""
    first = int(np.argmin(np.abs(axis - wanted[0])))
    last = first + len(wanted) - 1
    if last >= len(axis) or not np.allclose(axis[first : last + 1], wanted, rtol=0, atol=0.01):
        raise TransferError("is on another grid than GEOS-CF, version 1", path=label)
    return f"[{first}:{last}]"
