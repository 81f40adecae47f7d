"""Gridded files of the synthetic archive, each in the form of the product that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import netCDF4
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deepcams_eval.core.field import make_field
from deepcams_eval.core.species import UG_M3
from deepcams_eval.demo.nature import HourlyMaps
from deepcams_eval.demo.settings import (
    COARSE_STRIDE,
    GENERATOR_VERSION,
    Block,
    DemoSettings,
    Domain,
)
from deepcams_eval.demo.wind import TravellingWaves
from deepcams_eval.downscale.derived import bicubic_nodes, hourly_linear

Maps = npt.NDArray[np.float32]

GEOSCF_FIRST_YEAR = 2018
DEEPCAMS_LAST_YEAR = 2019
NEW_STORE_FIRST_YEAR = 2020
WITHOUT_FOLDER = "deepcams_without"
"""Folder of the product without added value; the standard layout does not know it."""

GEOSCF_COLLECTION = "chm_tavg_1hr_g1440x721_v1"

_KG_PER_UG = 1e-9
_INT16_FILL = -32767
_INT16_LARGEST = 32766
_WIND_STEP = 0.05
_KEPT_BITS = 9
Variable: TypeAlias = "netCDF4.Variable[Any]"
_SYNTHETIC = "SYNTHETIC: a nature run of deepcams_eval.demo, not a product of its namesake"


def round_bits(values: Maps) -> Maps:
    """Return `values` with 9 bits of mantissa (0.1 %), which compress well."""
    drop = 23 - _KEPT_BITS
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1)
    even = (bits >> np.uint32(drop)) & np.uint32(1)
    kept = (bits + half + even) & ~np.uint32((1 << drop) - 1)
    return kept.view(np.float32)


class CoarseModel:
    """What a global model makes of the truth: too smooth, biased, and wrong in large patches.

    With ``model_error=False`` the truth stays as it is.
    """

    SMOOTHING_CELLS = 2.5
    ERROR_SPREAD = 0.45
    FACTOR = 0.8
    OFFSET = 2.0
    DETAIL_KEPT = 0.5

    def __init__(self, settings: DemoSettings, block: Block) -> None:
        self._wrong = settings.model_error
        domain = Domain(settings, block, settings.latitude, settings.longitude)
        rng = settings.rng("model", block.year, block.month)
        self._waves = TravellingWaves(domain, rng, length_deg=(4, 20), count=24)

    def at(self, truth: Maps, hour: int, detail: float = 0.0) -> Maps:
        """Return the model's map for a true one, `hour` hours since the start of the block.

        Both are in µg m⁻³ at the 0.25° nodes, shape (ny, nx); `detail` is the share of the fine
        structure that is kept, 0 to 1.
        """
        if not self._wrong:
            return truth
        smooth = ndimage.gaussian_filter(truth, self.SMOOTHING_CELLS, mode="nearest")
        error = np.exp(self.ERROR_SPREAD * self._waves.at(hour))
        kept = smooth + detail * (truth - smooth)
        return np.asarray(self.OFFSET + self.FACTOR * error * kept, dtype=np.float32)


def write_products(folder: Path, settings: DemoSettings, block: Block, maps: HourlyMaps) -> None:
    """Write every gridded file of a block under `folder`."""
    model = CoarseModel(settings, block)
    coarse = coarse_maps(maps, model)
    write_cams(folder / "cams" / f"eac4_{block.name}.nc", settings, block, coarse)
    if block.year >= GEOSCF_FIRST_YEAR:
        write_geoscf(folder / "geoscf", settings, block, maps.mean)
    if block.year <= DEEPCAMS_LAST_YEAR:
        detail = CoarseModel.DETAIL_KEPT
        hourly = np.stack([model.at(one, hour, detail) for hour, one in enumerate(maps.instant)])
        without = without_added_value(interpolated(settings, block, coarse), hourly)
        for name, values, title in (
            ("deepcams", hourly, "DeepCAMS-like PM2.5"),
            (WITHOUT_FOLDER, without, "DeepCAMS-like PM2.5 without added value"),
        ):
            path = folder / name / f"{name}_{block.name}.nc"
            write_hourly(path, settings, block, round_bits(values), title)
    truth = folder / "truth"
    title = "True PM2.5 of the nature run"
    write_hourly(truth / f"pm25_{block.name}.nc", settings, block, maps.instant, title)
    write_wind(truth / f"wind_{block.name}.nc", settings, block, maps)


def coarse_maps(maps: HourlyMaps, model: CoarseModel) -> Maps:
    """Return the model's map at every third node and hour, from 00 to 00 UTC, south first."""
    coarse = np.s_[::COARSE_STRIDE, ::COARSE_STRIDE]
    hours = range(0, len(maps.instant), 3)
    return np.stack([model.at(maps.instant[hour], hour)[coarse] for hour in hours])


def interpolated(settings: DemoSettings, block: Block, coarse: Maps) -> Maps:
    """Return coarse maps interpolated to every hour (linear) and fine node (bicubic)."""
    field = make_field(
        coarse,
        time=block.frame_times[::3],
        latitude=settings.latitude[::COARSE_STRIDE],
        longitude=settings.longitude[::COARSE_STRIDE],
        stamp="point",
    )
    return np.asarray(bicubic_nodes(hourly_linear(field)).values)


def without_added_value(plain: Maps, hourly: Maps) -> Maps:
    """Return a product as rich in detail as `hourly` whose detail is that of elsewhere.

    What `hourly` has beyond the interpolation, as a share of it, is turned round in time, north
    to south and west to east, and added to the interpolation with the same variance: it looks
    alike, in its spectra too, and says nothing of the place and hour that it is put at. `plain`
    is the interpolation of the coarse maps; all are in µg m⁻³, shape (hours, ny, nx).
    """
    base = np.maximum(plain, 1.0)
    elsewhere = (hourly / base)[::-1, ::-1, ::-1] - 1.0
    added = base * elsewhere
    size = np.std(hourly - plain, dtype=np.float64) / np.std(added, dtype=np.float64)
    return np.asarray(np.maximum(plain + size * added, 0.0), dtype=np.float32)


def write_cams(path: Path, settings: DemoSettings, block: Block, coarse: Maps) -> None:
    """Write 3-hourly maps at every third node as the Atmosphere Data Store delivers EAC4.

    Until 2019 as the old store did (NETCDF3, packed int16, ``time``), then as the new one
    (NETCDF4, float32, ``valid_time``). The next day's 00 UTC is the last map.
    """
    kilograms = coarse[:, ::-1].astype(np.float64) * _KG_PER_UG
    nodes = settings.latitude[::-COARSE_STRIDE], settings.longitude[::COARSE_STRIDE]
    write = _write_new_store if block.year >= NEW_STORE_FIRST_YEAR else _write_old_store
    write(path, block.frame_times[::3], *nodes, kilograms)


def _write_old_store(path: Path, times: Any, latitude: Any, longitude: Any, values: Any) -> None:
    with _new_file(path, "NETCDF3_64BIT_OFFSET", title="EAC4-like reanalysis") as data:
        data.Conventions = "CF-1.6"
        hours = (times - np.datetime64("1900-01-01T00:00:00")).astype("timedelta64[h]")
        _coordinate(data, "longitude", "f4", longitude, "degrees_east")
        _coordinate(data, "latitude", "f4", latitude, "degrees_north")
        time = _coordinate(
            data, "time", "i4", hours.astype(np.int64), "hours since 1900-01-01 00:00:00.0"
        )
        time.calendar = "gregorian"
        low, high = float(values.min()), float(values.max())
        variable = data.createVariable(
            "pm2p5", "i2", ("time", "latitude", "longitude"), fill_value=_INT16_FILL
        )
        variable.scale_factor = (high - low) / (2 * _INT16_LARGEST)
        variable.add_offset = (high + low) / 2
        variable.missing_value = np.int16(_INT16_FILL)
        variable.units, variable.long_name = "kg m**-3", "Particulate matter d < 2.5 um"
        variable[:] = values


def _write_new_store(path: Path, times: Any, latitude: Any, longitude: Any, values: Any) -> None:
    with _new_file(path, "NETCDF4", title="EAC4-like reanalysis") as data:
        data.Conventions = "CF-1.7"
        seconds = (times - np.datetime64(0, "s")).astype(np.int64)
        time = _coordinate(data, "valid_time", "i8", seconds, "seconds since 1970-01-01")
        time.calendar, time.standard_name = "proleptic_gregorian", "time"
        _coordinate(data, "latitude", "f8", latitude, "degrees_north")
        _coordinate(data, "longitude", "f8", longitude, "degrees_east")
        variable = _packed(data, "pm2p5", "f4", ("valid_time", "latitude", "longitude"), np.nan)
        variable.units = "kg m**-3"
        variable.long_name = "Particulate matter d <= 2.5 um"
        variable.standard_name = "mass_concentration_of_pm2p5_ambient_aerosol_in_air"
        variable[:] = round_bits(values.astype(np.float32))


def write_geoscf(folder: Path, settings: DemoSettings, block: Block, mean: Maps) -> None:
    """Write a file an hour as GEOS-CF does: the mean over the hour, stamped in its middle."""
    middles = block.frame_times[:-1] + np.timedelta64(1800, "s")
    for middle, values in zip(middles, mean, strict=True):
        stamp = middle.item()
        name = f"GEOS-CF.v01.rpl.{GEOSCF_COLLECTION}.{stamp:%Y%m%d_%H%M}z.nc4"
        with _new_file(folder / name, "NETCDF4_CLASSIC", title="GEOS-CF-like hourly means") as data:
            time = _coordinate(data, "time", "i4", [0], f"minutes since {stamp:%Y-%m-%d %H:%M:%S}")
            time.calendar = "standard"
            _coordinate(data, "lev", "f8", [72.0], "layer")
            _coordinate(data, "lat", "f8", settings.latitude, "degrees_north")
            _coordinate(data, "lon", "f8", settings.longitude, "degrees_east")
            variable = _packed(data, "PM25_RH35_GCC", "f4", ("time", "lev", "lat", "lon"), 1e15)
            variable.units = UG_M3
            variable.long_name = "Particulate matter with diameter below 2.5 um RH 35"
            variable[:] = values[None, None]


def write_hourly(
    path: Path, settings: DemoSettings, block: Block, values: Maps, title: str
) -> None:
    """Write instantaneous hourly maps as CF netCDF, variable ``pm25``."""
    with _hourly_file(path, settings, block, title) as data:
        variable = _map_variable(data, "pm25", "f4", np.nan)
        variable.units = UG_M3
        variable.long_name = "mass concentration of PM2.5 in surface air"
        variable[:] = values


def write_wind(path: Path, settings: DemoSettings, block: Block, maps: HourlyMaps) -> None:
    """Write the wind at the full hours as packed int16 in steps of 0.05 m s⁻¹."""
    with _hourly_file(path, settings, block, "True wind of the nature run") as data:
        for name, values, side in (("u", maps.u, "eastward"), ("v", maps.v, "northward")):
            variable = _map_variable(data, name, "i2", _INT16_FILL)
            variable.scale_factor = _WIND_STEP
            variable.units = "m s-1"
            variable.standard_name = f"{side}_wind"
            variable[:] = values


@contextmanager
def _hourly_file(
    path: Path, settings: DemoSettings, block: Block, title: str
) -> Iterator[netCDF4.Dataset]:
    with _new_file(path, "NETCDF4", title=title) as data:
        data.Conventions = "CF-1.11"
        hours = np.arange(block.hours + 1)
        since = f"hours since {str(block.start).replace('T', ' ')}"
        time = _coordinate(data, "time", "i4", hours, since)
        time.calendar, time.standard_name = "standard", "time"
        _coordinate(data, "latitude", "f8", settings.latitude, "degrees_north")
        _coordinate(data, "longitude", "f8", settings.longitude, "degrees_east")
        yield data


def _map_variable(data: netCDF4.Dataset, name: str, kind: str, fill: float) -> Variable:
    chunk = (1, len(data.dimensions["latitude"]), len(data.dimensions["longitude"]))
    variable = _packed(data, name, kind, ("time", "latitude", "longitude"), fill, chunk)
    variable.cell_methods = "time: point"
    return variable


def _packed(
    data: netCDF4.Dataset, name: str, kind: Any, dims: Any, fill: float, chunk: Any = None
) -> Variable:
    """Return a new compressed variable."""
    missing = np.dtype(kind).type(fill)
    return data.createVariable(
        name, kind, dims, fill_value=missing, compression="zlib", complevel=1, chunksizes=chunk
    )


@contextmanager
def _new_file(path: Path, form: Any, *, title: str) -> Iterator[netCDF4.Dataset]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w", format=form) as data:
        data.title = title
        data.comment = _SYNTHETIC
        data.history = f"deepcams_eval.demo, generator version {GENERATOR_VERSION}"
        yield data


def _coordinate(data: netCDF4.Dataset, name: str, kind: Any, values: Any, units: str) -> Variable:
    data.createDimension(name, len(values))
    variable = data.createVariable(name, kind, (name,))
    variable.units = units
    variable.long_name = name
    variable[:] = values
    return variable
