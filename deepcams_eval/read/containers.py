"""The containers that arrays come in: netCDF, Zarr and zip, told apart by their first bytes.

Nothing here knows what an array means; `deepcams_eval.read.gridded` does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

import netCDF4
import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK

from deepcams_eval.errors import InputError

Format = Literal["netcdf", "matlab", "zarr", "zip"]

DATA_SUFFIXES = frozenset(
    {".nc", ".nc4", ".nc3", ".cdf", ".netcdf", ".h5", ".hdf5", ".mat", ".zip", ".zarr"}
)
GRIB_SUFFIXES = frozenset({".grib", ".grib2", ".grb", ".grb2"})

READ_ERRORS = (OSError, RuntimeError, ValueError, KeyError, IndexError)
"""What the netCDF and Zarr libraries raise on a file that is broken inside."""

_AGAIN = "fetch the file again, or take it out"
_GRIB_HINT = "ask for netCDF instead, with data_format: netcdf in the request"


class UnreadableFileError(InputError):
    """A file that is broken or is not what its name says; others of a series may be sound."""


@dataclass(frozen=True)
class Location:
    """Where one container lies: a path, or a member of a zip file.

    Attributes
    ----------
    path : Path
        Absolute.
    member : str, optional
        Name inside the zip file `path`.
    """

    path: Path
    member: str | None = None

    @property
    def label(self) -> str:
        """The path as messages show it."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def stem_path(self) -> Path:
        """The path whose name carries the time, if any does."""
        return self.path if self.member is None else Path(self.member)

    def local(self) -> Path:
        """Return a path that the libraries can open; a zip member is unpacked on first use."""
        return self.path if self.member is None else _unpacked(self.path, self.member)


class StoredArray:
    """One array of a container, not yet read.

    Attributes
    ----------
    name : str
    dims : tuple of str
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(
        self,
        name: str,
        dims: tuple[str, ...],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        attributes: Callable[[], Mapping[str, Any]],
        chunks: Callable[[], tuple[int, ...] | None],
        read: Callable[[Any], npt.NDArray[Any]],
    ) -> None:
        self.name = name
        self.dims = dims
        self.shape = shape
        self.dtype = dtype
        self._attributes = attributes
        self._chunks = chunks
        self._read = read

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes as stored: nothing is decoded."""
        return self._attributes()

    def text(self, attribute: str) -> str:
        """Return an attribute as stripped text, "" where there is none."""
        return str(self.attributes.get(attribute, "")).strip()

    def stored_chunk(self, dim: str) -> int:
        """Return how many entries along `dim` are stored together."""
        chunks = self._chunks()
        return 1 if chunks is None else int(chunks[self.dims.index(dim)])

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        return np.asarray(self._read(key))


@dataclass(frozen=True)
class Contents:
    """The arrays and global attributes of an open container."""

    arrays: dict[str, StoredArray]
    attributes: Mapping[str, Any]


def sniff(path: Path) -> Format:
    """Return what the container at `path` is, from its first bytes.

    Raises
    ------
    UnreadableFileError
        If it is empty, a web page or of no known form.
    InputError
        If it is GRIB, or MATLAB 7.3.
    """
    if path.is_dir():
        return "zarr"
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise UnreadableFileError(
            f"cannot be opened ({error.strerror})", path=path, hint="check its permissions"
        ) from error
    if head.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n")):
        return "netcdf"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"MATLAB 5.0"):
        return "matlab"
    if head.startswith(b"GRIB"):
        raise InputError("is GRIB, not netCDF", path=path, hint=_GRIB_HINT)
    if head.startswith(b"MATLAB 7.3"):
        raise InputError("is a MATLAB 7.3 file", path=path, hint="save it again with -v7")
    if not head:
        raise UnreadableFileError("is empty", path=path, hint=_AGAIN)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UnreadableFileError(
            "is a web page, not data (a login or an error page was saved)", path=path, hint=_AGAIN
        )
    raise UnreadableFileError("is not netCDF, Zarr, MATLAB or zip", path=path, hint=_AGAIN)


def is_zarr(path: Path) -> bool:
    """Return whether the folder `path` is a Zarr group, version 2 or 3."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))


@contextmanager
def open_container(path: Path) -> Iterator[Contents]:
    """Open a netCDF file or a Zarr store; its arrays can be read inside the ``with`` block.

    The netCDF and HDF5 libraries are not safe in threads, so the block holds xarray's locks.

    Raises
    ------
    UnreadableFileError
        If it is broken or cut short.
    """
    if path.is_dir():
        with _open_zarr(path) as contents:
            yield contents
        return
    _check_classic_size(path)
    with HDF5_LOCK, NETCDFC_LOCK:
        try:
            dataset = netCDF4.Dataset(path)
        except (OSError, RuntimeError) as error:
            raise UnreadableFileError(
                "is broken or cut short: the netCDF library cannot open it", path=path, hint=_AGAIN
            ) from error
        try:
            dataset.set_auto_maskandscale(False)
            arrays = {name: _netcdf_array(variable) for name, variable in dataset.variables.items()}
            yield Contents(arrays, _netcdf_attributes(dataset))
        finally:
            dataset.close()


def _netcdf_attributes(owner: Any) -> dict[str, Any]:
    return {name: owner.getncattr(name) for name in owner.ncattrs()}


def _netcdf_array(variable: Any) -> StoredArray:
    def chunks() -> tuple[int, ...] | None:
        stored = variable.chunking()
        return tuple(stored) if isinstance(stored, list) else None

    return StoredArray(
        variable.name,
        tuple(variable.dimensions),
        tuple(variable.shape),
        np.dtype(variable.dtype),
        lambda: _netcdf_attributes(variable),
        chunks,
        lambda key: variable[key],
    )


@contextmanager
def _open_zarr(path: Path) -> Iterator[Contents]:
    consolidated = (path / ".zmetadata").is_file()
    try:
        dataset = xr.open_zarr(path, chunks=None, decode_cf=False, consolidated=consolidated)
    except READ_ERRORS as error:
        raise UnreadableFileError(
            "is not a Zarr group that can be opened", path=path, hint=_AGAIN
        ) from error
    with dataset:
        yield Contents(
            {str(name): _zarr_array(str(name), array) for name, array in dataset.variables.items()},
            dataset.attrs,
        )


def _zarr_array(name: str, array: xr.Variable) -> StoredArray:
    return StoredArray(
        name,
        tuple(str(dim) for dim in array.dims),
        array.shape,
        array.dtype,
        lambda: array.attrs,
        lambda: array.encoding.get("chunks"),
        lambda key: array[key].values,
    )


# The classic netCDF format: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}


def _check_classic_size(path: Path) -> None:
    """Refuse a classic netCDF file that is shorter than its header says.

    The netCDF library reads zeros beyond the end of such a file and raises nothing.
    """
    with path.open("rb") as stream:
        magic = stream.read(4)
        if magic[:3] != b"CDF":
            return
        try:
            needed = _classic_size(stream, version=magic[3])
        except (struct.error, KeyError, IndexError) as error:
            raise UnreadableFileError(
                "is cut short within its header", path=path, hint=_AGAIN
            ) from error
    found = path.stat().st_size
    if found < needed:
        raise UnreadableFileError(
            f"is cut short: {found} bytes of {needed}", path=path, hint=_AGAIN
        )


def _classic_size(stream: BinaryIO, *, version: int) -> int:
    count_form, offset_form = {1: (">I", ">I"), 2: (">I", ">Q"), 5: (">Q", ">Q")}[version]

    def number(form: str) -> int:
        return int(struct.unpack(form, stream.read(struct.calcsize(form)))[0])

    def skip_padded(length: int) -> None:
        stream.seek(length + -length % 4, os.SEEK_CUR)

    def list_length() -> int:
        number(">I")
        return number(count_form)

    def skip_attributes() -> None:
        for _ in range(list_length()):
            skip_padded(number(count_form))
            form = number(">I")
            skip_padded(number(count_form) * _TYPE_BYTES[form])

    records = number(count_form)
    if records == 2 ** (8 * struct.calcsize(count_form)) - 1:
        records = 0
    lengths = []
    for _ in range(list_length()):
        skip_padded(number(count_form))
        lengths.append(number(count_form))
    skip_attributes()
    fixed_ends, record_arrays = [0], []
    for _ in range(list_length()):
        skip_padded(number(count_form))
        shape = [lengths[number(count_form)] for _ in range(number(count_form))]
        skip_attributes()
        item = _TYPE_BYTES[number(">I")]
        number(count_form)
        begin = number(offset_form)
        is_record = bool(shape) and shape[0] == 0
        size = item * int(np.prod(shape[1:] if is_record else shape, dtype=np.int64))
        if is_record:
            record_arrays.append((begin, size))
        else:
            fixed_ends.append(begin + size)
    # A single record array is stored without padding between its records.
    padded = [size if len(record_arrays) == 1 else size + -size % 4 for _, size in record_arrays]
    ends = [
        begin + (records - 1) * sum(padded) + size for begin, size in record_arrays if records > 0
    ]
    return max(fixed_ends + ends)


def zip_members(path: Path) -> list[str]:
    """Return the names of the data files in a zip file, sorted.

    Raises
    ------
    UnreadableFileError
        If the zip file is broken.
    InputError
        If it holds no netCDF or MATLAB file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except (zipfile.BadZipFile, OSError) as error:
        raise UnreadableFileError("is a broken zip file", path=path, hint=_AGAIN) from error
    wanted = [name for name in names if Path(name).suffix.lower() in DATA_SUFFIXES - {".zip"}]
    if wanted:
        return wanted
    if any(Path(name).suffix.lower() in GRIB_SUFFIXES for name in names):
        raise InputError("holds GRIB, not netCDF", path=path, hint=_GRIB_HINT)
    raise InputError(
        f"holds no netCDF file, only {', '.join(names[:3]) or 'nothing'}",
        path=path,
        hint="name a zip file with .nc files inside, or unpack it first",
    )


def cache_folder() -> Path:
    """Return where unpacked files are kept: ``$DEEPCAMS_CACHE``, else the user's cache folder."""
    named = os.environ.get("DEEPCAMS_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deepcams"


def _unpacked(path: Path, member: str) -> Path:
    # Every process finds the same copy, and makes it where another machine has not.
    try:
        state = path.stat()
        identity = f"{path}\n{member}\n{state.st_size}\n{state.st_mtime_ns}"
        name = hashlib.sha256(identity.encode()).hexdigest()[:24] + Path(member).suffix
        target = cache_folder() / "unpacked" / name
        if target.is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(member) as packed,
            tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as plain,
        ):
            try:
                shutil.copyfileobj(packed, plain, 1 << 20)
                plain.flush()
                Path(plain.name).replace(target)
            except BaseException:
                Path(plain.name).unlink(missing_ok=True)
                raise
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UnreadableFileError(
            f"its member {member} cannot be unpacked", path=path, hint=_AGAIN
        ) from error
    except OSError as error:
        raise InputError(
            f"its member {member} cannot be unpacked into {cache_folder()} ({error.strerror})",
            path=path,
            hint="free space there, or name another folder in DEEPCAMS_CACHE",
        ) from error
    return target
