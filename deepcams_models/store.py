"""Where the hours that are made go: a Zarr store or a netCDF file, in blocks of a day.

A block of a Zarr store is one file (a shard), which appears whole or not at all and so says itself
that it is done; a block of nothing but NaN is a file as well. Several runs can write to a store,
each its own blocks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import netCDF4
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from deepcams_eval.core.field import FIELD_DIMS, FIELD_NAME
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
"""Attribute: what must be the same to go on (JSON)."""

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


class Writer(Protocol):
    """What takes the blocks of a result, in any order."""

    def has(self, number: int) -> bool:
        """Return whether a block is there."""

    def write(self, number: int, maps: Maps) -> None:
        """Write a block."""

    def finish(self) -> bool:
        """Return whether all blocks are there, and say so in the result."""


class _ZarrStore:
    def __init__(self, path: Path, target: Target) -> None:
        self.path, self.target = path, target
        group = zarr.open_group(path, mode="r+")
        # The file of a block is what says that it is done, whatever it holds.
        with zarr.config.set({"array.write_empty_chunks": True}):
            array = group[FIELD_NAME]
        if not isinstance(array, zarr.Array):
            raise InputError(f"its {FIELD_NAME} is no array", path=path, hint=_elsewhere())
        self._group, self._array = group, array

    def has(self, number: int) -> bool:
        return self._file(number).exists()

    def write(self, number: int, maps: Maps) -> None:
        folder = self._file(number).parent
        # What a run that was cut off has left of this block; other blocks may be in the making.
        for rest in folder.glob("*.partial"):
            rest.unlink(missing_ok=True)
        self._array[hours_of_block(number, self.target)] = maps

    def finish(self) -> bool:
        complete = all(self.has(number) for number in range(block_count(self.target)))
        if complete and self._group.attrs[STATUS] != COMPLETE:
            self._group.attrs[STATUS] = COMPLETE
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


@contextmanager
def open_writer(
    path: Path, target: Target, settings: Mapping[str, Any], attributes: Attributes
) -> Iterator[Writer]:
    """Give what writes blocks to `path`, a Zarr store that is new or gone on with, or a new file.

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
    path.parent.mkdir(parents=True, exist_ok=True)

    def everything() -> dict[str, str]:
        said = {STATUS: _INCOMPLETE, SETTINGS: json.dumps(settings, sort_keys=True)}
        return {**attributes(), **said}

    if is_netcdf(path):
        with _new_file(path) as work, netCDF4.Dataset(work, "w") as dataset:
            _lay_out_netcdf(dataset, target, everything())
            yield _NetcdfFile(dataset, target)
        return
    if not path.exists():
        _create_zarr(path, target, everything())
    _require_same(path, settings)
    yield _ZarrStore(path, target)


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    work = Path(name)
    try:
        yield work
        work.chmod(0o644)
        work.replace(path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def _lay_out_netcdf(dataset: netCDF4.Dataset, target: Target, said: Mapping[str, str]) -> None:
    dataset.setncatts(said)
    coordinates = _coordinates(target)
    for name, (values, attributes) in coordinates.items():
        dataset.createDimension(name, len(values))
        dataset.createVariable(name, values.dtype, (name,))[:] = values
        dataset[name].setncatts(attributes)
    shape = [len(values) for values, _ in coordinates.values()]
    dataset.createVariable(
        FIELD_NAME,
        "f4",
        FIELD_DIMS,
        compression="zlib",
        complevel=4,
        shuffle=True,
        chunksizes=[min(pair) for pair in zip(CHUNK, shape, strict=True)],
        fill_value=np.float32(np.nan),
    ).setncatts(_variable_attributes())


def _create_zarr(path: Path, target: Target, said: Mapping[str, str]) -> None:
    """Make an empty store; of several runs that do so at once, one is the first."""
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _lay_out_zarr(work, target, said)
        work.chmod(0o755)
        try:
            work.rename(path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _lay_out_zarr(folder: Path, target: Target, said: Mapping[str, str]) -> None:
    group = zarr.create_group(folder, zarr_format=3, attributes=dict(said), overwrite=True)
    coordinates = _coordinates(target)
    for name, (values, attributes) in coordinates.items():
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            dimension_names=(name,),
            attributes=attributes,
        )
        array[:] = values
    shape = tuple(len(values) for values, _ in coordinates.values())
    chunks = tuple(min(pair) for pair in zip(CHUNK[1:], shape[1:], strict=True))
    whole = tuple(-(-size // chunk) * chunk for size, chunk in zip(shape[1:], chunks, strict=True))
    group.create_array(
        FIELD_NAME,
        shape=shape,
        dtype="float32",
        chunks=(BLOCK_HOURS, *chunks),
        shards=(BLOCK_HOURS, *whole),
        compressors=BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=4),
        fill_value=np.nan,
        dimension_names=FIELD_DIMS,
        attributes=_variable_attributes(),
    )
    with warnings.catch_warnings():
        # Version 3 does not specify it yet, but `xarray.open_zarr` asks for it and warns.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(folder)


def check_output(path: Path, *, shared: bool, resume: bool) -> None:
    """Refuse an output that cannot be made or gone on with, before any work is done.

    Parameters
    ----------
    path : Path
        The output.
    shared : bool
        Whether several runs make it.
    resume : bool
        Whether an earlier run is gone on with.

    Raises
    ------
    InputError
        If it is there and is not to be gone on with, or is a netCDF file that would have to be.
    """
    if is_netcdf(path) and (resume or shared):
        raise InputError(
            "a netCDF file is made in one go",
            path=path,
            hint="give a Zarr store, such as --out STORE.zarr, to resume or to share the work",
        )
    if path.exists() and is_netcdf(path):
        raise InputError("exists, and is not overwritten", path=path, hint=_elsewhere())
    if path.exists() and not (resume or shared):
        raise InputError(
            "exists, and is not overwritten",
            path=path,
            hint=f"add --resume to go on with it, or {_elsewhere()}",
        )


def _require_same(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to go on with a store that was made of something else."""
    try:
        attributes = dict(zarr.open_group(path, mode="r").attrs)
        before = json.loads(str(attributes[SETTINGS]))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            "is no store that this command has made", path=path, hint=_elsewhere()
        ) from error
    now = json.loads(json.dumps(settings))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        raise InputError(
            f"was made with other {', '.join(changed)}",
            path=path,
            hint=f"repeat its settings, or {_elsewhere()}",
        )


def _elsewhere() -> str:
    return "name another place with --out"


def _variable_attributes() -> dict[str, Any]:
    return {
        "standard_name": "mass_concentration_of_pm2p5_ambient_aerosol_particles_in_air",
        "long_name": "PM2.5",
        "units": UG_M3,
        "cell_methods": "time: point",
    }


def _coordinates(target: Target) -> dict[str, tuple[npt.NDArray[Any], dict[str, Any]]]:
    """Return values and attributes of each coordinate as they are stored."""
    seconds = ((target.time - _EPOCH) // _SECOND).astype(np.int64)
    place = {
        name: (
            np.asarray(values, dtype=np.float64),
            {"standard_name": name, "units": f"degrees_{ward}", "axis": axis},
        )
        for name, values, ward, axis in (
            ("latitude", target.latitude, "north", "Y"),
            ("longitude", target.longitude, "east", "X"),
        )
    }
    since = "seconds since 1970-01-01 00:00:00"
    time: dict[str, Any] = {
        "standard_name": "time",
        "units": since,
        "calendar": "standard",
        "axis": "T",
    }
    return {"time": (seconds, time), **place}
