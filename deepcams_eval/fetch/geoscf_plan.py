"""Which hourly files of GEOS-CF make up what is asked for, and which of them are there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval.errors import InputError
from deepcams_eval.read.product import ProductSpec, open_product

FILES_URL = "https://portal.nccs.nasa.gov/datashare/gmao/geos-cf/v1/das"
DODS_URL = "https://opendap.nccs.nasa.gov/dods/gmao/geos-cf/assim"
COLLECTIONS = ("aqc_tavg_1hr_g1440x721_v1", "chm_tavg_1hr_g1440x721_v1")
VARIABLE = "PM25_RH35_GCC"
SPACING_DEG = 0.25

Box = tuple[float, float, float, float]
FloatArray = npt.NDArray[np.float64]

_NAME = re.compile(r"GEOS-CF\.v01\.rpl\.\w+\.(\d{8})_(\d{2})30z\.nc4")
_BYTES_A_VALUE = 4


@dataclass(frozen=True)
class GeoscfSettings:
    """What to fetch of GEOS-CF.

    Attributes
    ----------
    folder : Path
        ``DIR/geoscf``.
    years, months : tuple of int
    bbox : tuple of float or None
        West, south, east, north in degrees: over OPeNDAP. None is the globe, over HTTPS.
    collection : str
        One of `COLLECTIONS`; both hold the same PM2.5, and the first is the smaller.
    workers : int
        Files at a time.
    files_url, dods_url : str
        Where the files, and the collections over OPeNDAP, are found.
    """

    folder: Path
    years: tuple[int, ...]
    months: tuple[int, ...] = tuple(range(1, 13))
    bbox: Box | None = None
    collection: str = COLLECTIONS[0]
    workers: int = 4
    files_url: str = FILES_URL
    dods_url: str = DODS_URL

    def target(self, stamp: datetime) -> Path:
        """Return where the file of an hour belongs."""
        name = file_name(self.collection, stamp)
        return self.folder / f"{stamp:%Y}" / f"{stamp:%m}" / name


@dataclass(frozen=True)
class GeoscfPlan:
    """Hours, by the middle of each, naive UTC: those to fetch and those that are there."""

    wanted: tuple[datetime, ...]
    there: tuple[datetime, ...]
    bytes_at_most: int


def endpoints() -> tuple[str, str]:
    """Return the addresses of files and of OPeNDAP, from the environment where it names them."""
    files = os.environ.get("DEEPCAMS_GEOSCF_URL") or FILES_URL
    dods = os.environ.get("DEEPCAMS_GEOSCF_DODS") or DODS_URL
    return files.rstrip("/"), dods.rstrip("/")


def file_name(collection: str, stamp: datetime) -> str:
    """Return the name of an hour's file, as published."""
    return f"GEOS-CF.v01.rpl.{collection}.{stamp:%Y%m%d_%H%M}z.nc4"


def file_url(root: str, collection: str, stamp: datetime) -> str:
    """Return the address of an hour's file under `root`."""
    return f"{root}/Y{stamp:%Y}/M{stamp:%m}/D{stamp:%d}/{file_name(collection, stamp)}"


def plan_geoscf(settings: GeoscfSettings) -> GeoscfPlan:
    """Compare what is asked for with what lies in the folder; nothing is asked of a server.

    An hour is there if a file of version 1 has its name, of whatever collection. The hour after
    each run of months is asked for too: the last interval ends there.

    Raises
    ------
    InputError
        If the folder holds another box: the reader takes one grid a product.
    """
    latitude, longitude = nodes(settings.bbox)
    held = dict(held_hours(settings.folder))
    if held:
        path = next(iter(held.values()))
        field = open_product(ProductSpec("geoscf", str(path), kind="geoscf")).field
        check_nodes(field, path, latitude, longitude)
    asked = list(hours(settings.years, settings.months))
    wanted = tuple(stamp for stamp in asked if stamp not in held)
    there = tuple(stamp for stamp in asked if stamp in held)
    return GeoscfPlan(wanted, there, len(wanted) * len(latitude) * len(longitude) * _BYTES_A_VALUE)


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


def held_hours(folder: Path) -> Iterator[tuple[datetime, Path]]:
    """Return the hours whose files lie in the folder, at any depth; none is opened."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(files):
            found = _NAME.fullmatch(name)
            if found and (path := Path(root) / name).stat().st_size:
                yield datetime.fromisoformat(f"{found[1]}T{found[2]}30"), path


def nodes(bbox: Box | None) -> tuple[FloatArray, FloatArray]:
    """Return the nodes in a box, edges included, or of the globe: south to north, west to east.

    Raises
    ------
    InputError
        If the box crosses 180° E or holds no node.
    """
    latitude, longitude = np.arange(-360.0, 361.0) / 4, np.arange(-720.0, 720.0) / 4
    if bbox is None:
        return latitude, longitude
    west, south, east, north = bbox
    turn = 360.0 if west >= 180 else 0.0
    rows = latitude[(latitude >= south) & (latitude <= north)]
    columns = longitude[(longitude >= west - turn) & (longitude <= east - turn)]
    if east - turn > 180 or not len(rows) or not len(columns):
        raise InputError(
            f"the box {','.join(f'{edge:g}' for edge in bbox)} crosses 180° E or holds no node",
            hint="widen it, or fetch its two halves into two folders",
        )
    return rows, columns


def check_nodes(
    field: xr.DataArray, path: Path, latitude: FloatArray, longitude: FloatArray
) -> None:
    """Raise `InputError` if the field of a file has other nodes than those asked for."""
    for mine, theirs in ((latitude, field.latitude.values), (longitude, field.longitude.values)):
        if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=0, atol=0.01):
            raise InputError(
                "has another grid than the fetch asks for, and a product has one",
                path=path,
                hint="give the --bbox that it was fetched with, or another folder with --data",
            )
