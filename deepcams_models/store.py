"""Where the hours that are made go: a Zarr store or a netCDF file, in blocks of a day.

A block of a Zarr store is one file (a shard), which appears whole or not at all and so says itself
that it is done; a block of nothing but NaN is a file as well. Several runs can write to a store,
each its own blocks.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import netCDF4
import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

from deepcams_eval.core.field import FIELD_DIMS, FIELD_NAME
from deepcams_eval.core.folder import whole_file
from deepcams_eval.core.species import UG_M3
from deepcams_eval.downscale import Target
from deepcams_eval.errors import InputError
from deepcams_eval.read.deepcams import COMPLETE, STATUS

BLOCK_HOURS = 24
"""Hours that are made, and stored in one file, at a time."""

CHUNK = (BLOCK_HOURS, 91, 180)
"""Hours, rows and columns that are compressed together: a global map takes 64 of them, the series
of a point one a day."""

NETCDF_SUFFIXES = (".nc", ".nc4")
"""Of an output that is a netCDF file."""

SETTINGS = "deepcams_settings"
"""Attribute: what must be the same to resume (JSON)."""

_ELSEWHERE = "name another place with --out"
_INCOMPLETE = "incomplete: hours that are not made yet are missing"
_EPOCH = np.datetime64("1970-01-01T00:00:00", "us")
_SECOND = np.timedelta64(1_000_000, "us")

Maps = npt.NDArray[np.float32]
Attributes = Callable[[], Mapping[str, str]]


def block_count(target: Target) -> int:
    """Return the number of blocks."""
    return -(-len(target.time) // BLOCK_HOURS)


def hours_of_block(number: int, target: Target) -> slice:
    """Return which hours are in a block."""
    first = number * BLOCK_HOURS
    return slice(first, min(first + BLOCK_HOURS, len(target.time)))


def is_netcdf(path: Path) -> bool:
    """Return whether an output is a netCDF file."""
    return path.suffix.lower() in NETCDF_SUFFIXES


class _ZarrStore:
    def __init__(self, path: Path, target: Target) -> None:
        self.path, self.target = path, target
        if not isinstance(zarr.open_group(path, mode="r").get(FIELD_NAME), zarr.Array):
            raise InputError(f"its {FIELD_NAME} is no array", path=path, hint=_ELSEWHERE)

    def has(self, number: int) -> bool:
        return self._file(number).exists()

    def write(self, number: int, maps: Maps) -> None:
        # What a run that was cut off has left of this block; other blocks may be in the making.
        for rest in self._file(number).parent.glob("*.partial"):
            rest.unlink(missing_ok=True)
        region = {FIELD_DIMS[0]: hours_of_block(number, self.target)}
        block = xr.Dataset({FIELD_NAME: (FIELD_DIMS, maps)})
        # The file of a block is what says that it is done, whatever it holds.
        block.to_zarr(self.path, region=region, write_empty_chunks=True)

    def finish(self) -> bool:
        complete = all(self.has(number) for number in range(block_count(self.target)))
        group = zarr.open_group(self.path, mode="r+")
        if complete and group.attrs[STATUS] != COMPLETE:
            group.attrs[STATUS] = COMPLETE
        return complete

    def _file(self, number: int) -> Path:
        return self.path / FIELD_NAME / "c" / str(number) / "0" / "0"


class _NetcdfFile:
    def __init__(self, dataset: netCDF4.Dataset, target: Target) -> None:
        self.dataset, self.target = dataset, target

    def has(self, number: int) -> bool:  # noqa: ARG002 - the file is always made anew
        return False

    def write(self, number: int, maps: Maps) -> None:
        self.dataset[FIELD_NAME][hours_of_block(number, self.target)] = maps

    def finish(self) -> bool:
        self.dataset.setncattr(STATUS, COMPLETE)
        return True


Writer = _ZarrStore | _NetcdfFile
"""What takes the blocks of a result, in any order; `finish` tells whether all are there."""


@contextmanager
def open_writer(
    path: Path, target: Target, settings: Mapping[str, Any], attributes: Attributes
) -> Iterator[Writer]:
    """Give what writes blocks to `path`, a Zarr store that is new or resumed, or a new file.

    Parameters
    ----------
    path : Path
        See `is_netcdf` and `check_output`.
    target : Target
        All hours of the result and its grid.
    settings : mapping
        What an earlier run must have had as well, as JSON has it.
    attributes : callable
        Returns the global attributes; called where the output is new.

    Raises
    ------
    InputError
        If a store is there that was made with other settings, or of something else.
    """
    path = path.absolute()

    def empty() -> xr.Dataset:
        said = {STATUS: _INCOMPLETE, SETTINGS: json.dumps(settings, sort_keys=True)}
        return _empty(target, {**attributes(), **said})

    if is_netcdf(path):
        with whole_file(path) as work, netCDF4.Dataset(work, "w") as dataset:
            _lay_out_netcdf(dataset, empty())
            yield _NetcdfFile(dataset, target)
        return
    if not path.exists():
        _create_zarr(path, empty())
    _require_same(path, settings)
    yield _ZarrStore(path, target)


def _lay_out_netcdf(dataset: netCDF4.Dataset, empty: xr.Dataset) -> None:
    dataset.setncatts(empty.attrs)
    for name in FIELD_DIMS:
        coordinate = empty[name]
        dataset.createDimension(name, coordinate.size)
        dataset.createVariable(name, coordinate.dtype, (name,))[:] = coordinate.values
        dataset[name].setncatts(coordinate.attrs)
    field = empty[FIELD_NAME]
    dataset.createVariable(
        FIELD_NAME,
        "f4",
        FIELD_DIMS,
        compression="zlib",
        complevel=4,
        shuffle=True,
        chunksizes=[min(pair) for pair in zip(CHUNK, field.shape, strict=True)],
        fill_value=np.float32(np.nan),
    ).setncatts(field.attrs)


def _create_zarr(path: Path, empty: xr.Dataset) -> None:
    """Make a store without blocks; of several runs that do so at once, one is the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    grid = empty[FIELD_NAME].shape[1:]
    chunks = tuple(min(pair) for pair in zip(CHUNK[1:], grid, strict=True))
    whole = tuple(-(-size // chunk) * chunk for size, chunk in zip(grid, chunks, strict=True))
    encoding: dict[str, dict[str, Any]] = {name: {"_FillValue": None} for name in FIELD_DIMS}
    encoding[FIELD_NAME] = {
        "chunks": (BLOCK_HOURS, *chunks),
        "shards": (BLOCK_HOURS, *whole),
        "compressors": BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=4),
        "fill_value": np.float32(np.nan),
    }
    try:
        with warnings.catch_warnings():
            # Version 3 does not specify consolidated metadata yet, but `xarray.open_zarr` asks
            # for them and warns where they are not.
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            # The coordinates, and what describes the maps; their blocks are written one by one.
            empty.to_zarr(
                work, mode="w", zarr_format=3, consolidated=True, compute=False, encoding=encoding
            )
        work.chmod(0o755)
        try:
            work.rename(path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_output(path: Path, *, shared: bool, resume: bool) -> None:
    """Refuse an output that cannot be made or resumed, before any work is done.

    Parameters
    ----------
    path : Path
        The output.
    shared, resume : bool
        Whether several runs make it, and whether an earlier run is resumed.

    Raises
    ------
    InputError
        If it is there and is not to be resumed, or is a netCDF file that would have to be.
    """
    if is_netcdf(path) and (resume or shared):
        raise InputError(
            "a netCDF file is made in one go",
            path=path,
            hint="give a Zarr store, such as --out STORE.zarr, to resume or to share the work",
        )
    if path.exists() and not (resume or shared):
        hint = _ELSEWHERE if is_netcdf(path) else f"add --resume to go on with it, or {_ELSEWHERE}"
        raise InputError("exists, and is not overwritten", path=path, hint=hint)


def _require_same(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to resume a store that was made of something else."""
    try:
        attributes = dict(zarr.open_group(path, mode="r").attrs)
        before = json.loads(str(attributes[SETTINGS]))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            "is no store that this command has made", path=path, hint=_ELSEWHERE
        ) from error
    now = json.loads(json.dumps(settings))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        raise InputError(
            f"was made with other {', '.join(changed)}",
            path=path,
            hint=f"repeat its settings, or {_ELSEWHERE}",
        )


def _empty(target: Target, said: Mapping[str, str]) -> xr.Dataset:
    """Return what is stored as it is encoded, with maps of NaN that take no memory."""
    seconds = ((target.time - _EPOCH) // _SECOND).astype(np.int64)
    since = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "standard"}
    coordinates: dict[str, Any] = {
        "time": ("time", seconds, {"standard_name": "time", **since, "axis": "T"})
    }
    for name, values, ward, axis in (
        ("latitude", target.latitude, "north", "Y"),
        ("longitude", target.longitude, "east", "X"),
    ):
        attributes = {"standard_name": name, "units": f"degrees_{ward}", "axis": axis}
        coordinates[name] = (name, np.asarray(values, dtype=np.float64), attributes)
    shape = tuple(len(values) for _, values, _ in coordinates.values())
    maps = da.full(shape, np.nan, dtype=np.float32, chunks=(BLOCK_HOURS, -1, -1))
    described = {
        "standard_name": "mass_concentration_of_pm2p5_ambient_aerosol_particles_in_air",
        "long_name": "PM2.5",
        "units": UG_M3,
        "cell_methods": "time: point",
    }
    return xr.Dataset({FIELD_NAME: (FIELD_DIMS, maps, described)}, coordinates, said)
