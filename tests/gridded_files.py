"""Writers of small gridded files in the forms that the real sources deliver.

Each writer turns one truth (a Field) into files and returns the text of ``--product`` that opens
them. None of the code under test is used here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import scipy.io
import xarray as xr

EPOCH_1900 = np.datetime64("1900-01-01T00:00", "us")
EPOCH_1970 = np.datetime64("1970-01-01T00:00", "us")
HOUR = np.timedelta64(1, "h")
SECOND = np.timedelta64(1, "s")


def global_nodes(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending nodes from pole to pole, and columns from 180W, at one spacing."""
    step = 180 / (rows - 1)
    return -90 + step * np.arange(rows), -180 + step * np.arange(2 * (rows - 1))


def make_truth(
    rng: np.random.Generator,
    *,
    hours: int,
    stamp: str,
    latitude: np.ndarray | None = None,
    longitude: np.ndarray | None = None,
    start: str = "2018-12-31T18:00",
    frames: int = 6,
) -> xr.DataArray:
    """Return skewed values with a few missing ones; means are stamped in their middle."""
    if latitude is None or longitude is None:
        latitude, longitude = global_nodes(7)
    values = rng.lognormal(2.0, 1.0, (frames, len(latitude), len(longitude))).astype(np.float32)
    values[1, 2, 3] = np.nan
    values[frames - 1, -2, 0] = np.nan
    first = np.datetime64(start, "us")
    begin = first + np.arange(frames) * np.timedelta64(hours, "h")
    half = np.timedelta64(hours * 30, "m")
    times = begin + half if stamp == "mean" else begin
    coords: dict[str, object] = {"time": times, "latitude": latitude, "longitude": longitude}
    if stamp == "mean":
        coords["time_start"] = ("time", begin)
        coords["time_end"] = ("time", begin + np.timedelta64(hours, "h"))
    return xr.DataArray(
        values,
        dims=("time", "latitude", "longitude"),
        coords=coords,
        name="pm25",
        attrs={"units": "ug m-3", "cell_methods": f"time: {stamp}"},
    )


def _from_greenwich(truth: xr.DataArray) -> xr.DataArray:
    """Latitude from north to south and longitude 0 to 360."""
    turned = truth.assign_coords(longitude=truth.longitude.values % 360)
    return turned.sortby("longitude").isel(latitude=slice(None, None, -1))


def _north_first(truth: xr.DataArray) -> np.ndarray:
    return truth.values[:, ::-1]


def _write(
    path: Path,
    sizes: dict[str, int | None],
    *arrays: tuple[str, Any, tuple[str, ...], Any, dict[str, Any]],
    form: str = "NETCDF4",
    **options: Any,
) -> Path:
    """Write arrays (name, type, dims, stored values, attributes); `options` are of the last one."""
    with netCDF4.Dataset(path, "w", format=form) as dataset:
        for dim, size in sizes.items():
            dataset.createDimension(dim, size)
        for name, kind, dims, values, attributes in arrays:
            more = options if name == arrays[-1][0] else {}
            variable = dataset.createVariable(name, kind, dims, **more)
            variable.set_auto_maskandscale(False)
            variable.setncatts(attributes)
            variable[...] = values
    return path


def _axes(truth: xr.DataArray, form: str, *, short: bool = False, noise: float = 0.0) -> Any:
    """Sizes and arrays of latitude and longitude."""
    sizes, arrays = {}, []
    for long_name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
        name = long_name[:3] if short else long_name
        sizes[name] = truth.sizes[long_name]
        values = truth[long_name].values + noise
        arrays.append((name, form, (name,), values, {"units": units}))
    return sizes, arrays


def write_eac4_old(path: Path, truth: xr.DataArray, *, greenwich: bool = True) -> Path:
    """NETCDF3, int16 packed kg m**-3, hours since 1900, north first; as ``grib_to_netcdf`` does."""
    stored = _from_greenwich(truth) if greenwich else truth.isel(latitude=slice(None, None, -1))
    values = stored.values.astype(np.float64) * 1e-9
    scale = (np.nanmax(values) - np.nanmin(values)) / 65_000
    offset = (np.nanmax(values) + np.nanmin(values)) / 2
    packed = np.where(np.isnan(values), -32767, np.round((values - offset) / scale))
    packing = {"scale_factor": scale, "add_offset": offset, "missing_value": np.int16(-32767)}
    hours = (stored.time.values - EPOCH_1900) // HOUR
    since = {"units": "hours since 1900-01-01 00:00:00.0", "calendar": "gregorian"}
    described = {"units": "kg m**-3", "long_name": "Particulate matter d < 2.5 um"}
    sizes, axes = _axes(stored, "f4")
    return _write(
        path,
        sizes | {"time": None},
        *axes,
        ("time", "i4", ("time",), hours, since),
        ("pm2p5", "i2", stored.dims, packed.astype(np.int16), packing | described),
        form="NETCDF3_64BIT_OFFSET",
        fill_value=-32767,
    )


def write_eac4_new(path: Path, truth: xr.DataArray) -> Path:
    """NETCDF4, float32 kg m**-3 with NaN fill, ``valid_time`` in seconds since 1970."""
    stored = _from_greenwich(truth)
    seconds = (stored.time.values - EPOCH_1970) // SECOND
    since = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    version = np.full(len(seconds), "0001", dtype=object)
    sizes, axes = _axes(stored, "f8")
    return _write(
        path,
        sizes | {"valid_time": len(seconds)},
        *axes,
        ("valid_time", "i8", ("valid_time",), seconds, since | {"standard_name": "time"}),
        ("number", "i8", (), 0, {}),
        ("expver", str, ("valid_time",), version, {}),
        ("pm2p5", "f4", ("valid_time", *sizes), stored.values * 1e-9, {"units": "kg m**-3"}),
        fill_value=np.float32(np.nan),
        zlib=True,
        chunksizes=(2, *truth.shape[1:]),
    )


def write_forecast(path: Path, truth: xr.DataArray, *, lead_times: int) -> Path:
    """NETCDF4 of the new store with a ``valid_time`` of two dimensions."""
    stored = _from_greenwich(truth)
    runs = truth.sizes["time"] // lead_times
    values = stored.values.reshape(runs, lead_times, *stored.shape[1:]).swapaxes(0, 1) * 1e-9
    seconds = ((stored.time.values - EPOCH_1970) // SECOND).reshape(runs, lead_times)
    since = {"units": "seconds since 1970-01-01"}
    run, lead = "forecast_reference_time", "forecast_period"
    sizes, axes = _axes(stored, "f8")
    return _write(
        path,
        sizes | {lead: lead_times, run: runs},
        *axes,
        (run, "i8", (run,), seconds[:, 0], since),
        (lead, "f8", (lead,), np.arange(lead_times), {"units": "hours"}),
        ("valid_time", "i8", (run, lead), seconds, since),
        ("pm2p5", "f4", (lead, run, *stored.dims[1:]), values, {"units": "kg m**-3"}),
        fill_value=np.float32(np.nan),
    )


def write_geoscf_native(path: Path, frame: xr.DataArray) -> Path:
    """One hour as NASA stores it: (time, lev, lat, lon), south first, units left empty."""
    # Nodes near zero are stored as rounding noise.
    sizes, axes = _axes(frame, "f8", short=True, noise=3e-14)
    stamp = frame.time.values.astype("datetime64[s]").item()
    values = np.nan_to_num(frame.values, nan=1e15)
    attributes = {"units": "", "missing_value": np.float32(1e15)}
    return _write(
        path,
        {"time": 1, "lev": 1, **sizes},
        *axes,
        ("time", "i4", ("time",), 0, {"units": f"minutes since {stamp:%Y-%m-%d %H:%M:%S}"}),
        ("lev", "f8", ("lev",), 72, {}),
        ("PM25_RH35_GCC", "f4", ("time", "lev", "lat", "lon"), values, attributes),
        fill_value=1e15,
        zlib=True,
    )


def write_geoscf_opendap(path: Path, truth: xr.DataArray) -> Path:
    """A subset over OPeNDAP: NETCDF3, lower case, 1e15, ``days since 1-1-1`` and no calendar."""
    sizes, axes = _axes(truth, "f8", short=True)
    # 1 January 1970 is day 719164 of the mixed Julian and Gregorian calendar.
    days = 719164 + (truth.time.values - EPOCH_1970) / np.timedelta64(1, "D")
    values = np.nan_to_num(truth.values, nan=1e15)
    return _write(
        path,
        sizes | {"time": len(days)},
        *axes,
        ("time", "f8", ("time",), days, {"units": "days since 1-1-1 00:00:0.0"}),
        ("pm25_rh35_gcc", "f4", ("time", *sizes), values, {"missing_value": np.float32(1e15)}),
        form="NETCDF3_CLASSIC",
    )


def write_maps(folder: Path, values: np.ndarray, *, name: str = "{:d}.mat") -> Path:
    """MATLAB 5 maps ``data``, one a frame, numbered from 1 without leading zeros."""
    folder.mkdir(exist_ok=True)
    for index, frame in enumerate(values):
        scipy.io.savemat(
            folder / name.format(index + 1), {"data": frame.astype(np.float64)}, do_compression=True
        )
    return folder


def write_cf(
    path: Path,
    truth: xr.DataArray,
    *,
    name: str = "PM2_5",
    attributes: dict[str, str] | None = None,
    bounds: bool | None = None,
    title: str = "",
    float_type: str = "f4",
) -> Path:
    """A CF netCDF or, by its suffix, Zarr file; ``attributes`` replace those of the array."""
    if attributes is None:
        attributes = dict(truth.attrs)
    if bounds is None:
        bounds = "time_start" in truth.coords
    dataset = xr.Dataset(
        {name: (truth.dims, truth.values.astype(float_type), attributes)},
        coords={
            "time": truth.time.values.astype("datetime64[ns]"),
            "latitude": ("latitude", truth.latitude.values, {"units": "degrees_north"}),
            "longitude": ("longitude", truth.longitude.values, {"units": "degrees_east"}),
        },
        attrs={"title": title},
    )
    if bounds:
        edges = np.stack([truth.time_start.values, truth.time_end.values], axis=1)
        dataset["time_bnds"] = (("time", "nv"), edges.astype("datetime64[ns]"))
        dataset["time"].attrs["bounds"] = "time_bnds"
    units = {"units": "minutes since 2000-01-01", "dtype": "int64"}
    if path.suffix == ".zarr":
        # Version 2, where each array names its dims in an attribute.
        dataset.to_zarr(path, zarr_format=2, consolidated=True, encoding={"time": units})
    else:
        dataset.to_netcdf(path, engine="netcdf4", encoding={"time": units})
    return path


@dataclass(frozen=True)
class Form:
    """One form of file."""

    name: str
    kind: str  # the reader that must take it
    stamp: str
    hours: int  # step between frames
    write: Callable[[Path, xr.DataArray], str]  # what stands after NAME= of the truth in a folder
    tolerance: float = 2e-6  # µg m⁻³, from packing
    rows: tuple[int | None, int | None] = (None, None)  # of the truth that the form holds


def _halves(truth: xr.DataArray) -> list[xr.DataArray]:
    middle = truth.sizes["time"] // 2
    return [truth.isel(time=slice(None, middle)), truth.isel(time=slice(middle, None))]


def _eac4_old(folder: Path, truth: xr.DataArray) -> str:
    for index, part in enumerate(_halves(truth)):
        write_eac4_old(folder / f"part{index}.nc", part)
    return f"{folder}/part*.nc"


def _eac4_zip(folder: Path, truth: xr.DataArray) -> str:
    with zipfile.ZipFile(folder / "download.zip", "w") as archive:
        for index, part in enumerate(_halves(truth)):
            plain = write_eac4_new(folder / f"{index}.nc", part)
            archive.write(plain, f"data_{index}.nc")
            plain.unlink()
    return str(folder / "download.zip")


def _maps(options: str, scale: float = 1.0) -> Callable[[Path, xr.DataArray], str]:
    def write(folder: Path, truth: xr.DataArray) -> str:
        maps = write_maps(folder / "maps", _north_first(truth) * scale)
        return f"{maps},start={np.datetime_as_string(truth.time.values[0], 'm')},{options}"

    return write


def _geoscf_native(folder: Path, truth: xr.DataArray) -> str:
    for frame in truth:
        stamp = frame.time.values.astype("datetime64[s]").item()
        name = f"GEOS-CF.v01.rpl.aqc_tavg_1hr_g1440x721_v1.{stamp:%Y%m%d_%H%M}z.nc4"
        day = folder / f"{stamp:Y%Y/M%m/D%d}"
        day.mkdir(parents=True, exist_ok=True)
        write_geoscf_native(day / name, frame)
    return str(folder)


def _deepcams_maps(folder: Path, truth: xr.DataArray) -> str:
    maps = folder / "maps"
    maps.mkdir()
    for frame in truth:
        stamp = frame.time.values.astype("datetime64[s]").item()
        write_maps(maps, frame.values[np.newaxis, ::-1], name=f"{stamp:%Y%m%d_%H}.mat")
    return f"{maps},kind=deepcams"


def _deepcams_labelled(folder: Path, truth: xr.DataArray) -> str:
    said = {"attributes": {"units": "ug m-3"}, "title": "DeepCAMS hourly"}
    return str(write_cf(folder / "year.nc", truth, name="pm25", **said))


def _deepcams_zarr(folder: Path, truth: xr.DataArray) -> str:
    store = folder / "maps.zarr"
    frames = xr.Dataset({"data": (("time", "row", "column"), _north_first(truth))})
    frames.to_zarr(store, zarr_format=3, consolidated=False)
    return f"{store},kind=deepcams,start={np.datetime_as_string(truth.time.values[0], 'm')},freq=1h"


def _one(name: str, write: Callable[[Path, xr.DataArray], Path]) -> Any:
    """Return what writes a form of one file."""
    return lambda folder, truth: str(write(folder / name, truth))


def _generic(path: Path, truth: xr.DataArray) -> Path:
    return write_cf(path, _from_greenwich(truth))


_CROPPED = "kind=deepcams,freq=1h,rows=6"
FORMS = (
    Form("cams-old-store", "cams", "point", 3, _eac4_old, tolerance=2e-3),
    Form("cams-new-store", "cams", "point", 3, _one("new.nc", write_eac4_new)),
    Form("cams-zip", "cams", "point", 3, _eac4_zip),
    Form("cams-forecast", "cams", "point", 1, _one("a.nc", partial(write_forecast, lead_times=3))),
    Form("cams-maps", "cams", "point", 3, _maps("kind=cams,freq=3h", scale=1e-9)),
    Form("geoscf-native", "geoscf", "mean", 1, _geoscf_native),
    Form("geoscf-opendap", "geoscf", "mean", 1, _one("subset.nc", write_geoscf_opendap)),
    Form("geoscf-maps", "geoscf", "mean", 1, _maps("kind=geoscf,freq=1h")),
    Form("deepcams-maps", "deepcams", "point", 1, _deepcams_maps),
    Form("deepcams-cropped", "deepcams", "point", 1, _maps(_CROPPED), rows=(1, None)),
    Form(
        *("deepcams-south", "deepcams", "point", 1),
        _maps(f"{_CROPPED},registration=node-south"),
        rows=(None, -1),
    ),
    Form("deepcams-labelled", "deepcams", "point", 1, _deepcams_labelled),
    Form("deepcams-zarr", "deepcams", "point", 1, _deepcams_zarr),
    Form("generic-netcdf", "generic", "mean", 3, _one("field.nc", _generic)),
    Form("generic-zarr", "generic", "mean", 1, _one("field.zarr", _generic)),
    Form("generic-point", "generic", "point", 1, _one("field.nc", _generic)),
)
"""Every reader in every form that it knows."""
