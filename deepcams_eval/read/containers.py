"""The containers that arrays come in: netCDF, Zarr, MATLAB and zip, known by their first bytes.

Nothing here knows what an array means; `deepcams_eval.read.headers` does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import netCDF4
import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError
from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK

from deepcams_eval.core.folder import cache_folder, whole_file
from deepcams_eval.errors import InputError

Format = Literal["netcdf", "matlab", "zarr", "zip"]

DATA_SUFFIXES = frozenset(
    {".nc", ".nc4", ".nc3", ".cdf", ".netcdf", ".h5", ".hdf5", ".mat", ".zip", ".zarr"}
)
GRIB_SUFFIXES = frozenset({".grib", ".grib2", ".grb", ".grb2"})

READ_ERRORS = (OSError, RuntimeError, ValueError, KeyError, IndexError)
"""What the netCDF and Zarr libraries raise on a file that is broken inside."""

_MATLAB_ERRORS = (OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, MatReadError)
_NUMERIC = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)) | {
    "double",
    "single",
}
_FIRST_BYTES: dict[Format, tuple[bytes, ...]] = {
    "netcdf": (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n"),
    "zip": (b"PK\x03\x04",),
    "matlab": (b"MATLAB 5.0",),
}
_GRIB_HINT = "ask for netCDF instead, with data_format: netcdf in the request"


class UnreadableFileError(InputError):
    """A file that is broken or is not what its name says; others of a series may be sound."""

    @classmethod
    def because(cls, problem: str, path: Path | str) -> UnreadableFileError:
        """Return the error that asks for the file to be fetched again."""
        return cls(problem, path=path, hint="fetch the file again, or take it out")


@dataclass(frozen=True)
class Location:
    """Where one container lies: a path, or a member of a zip file."""

    path: Path  # absolute
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


@dataclass(frozen=True, eq=False)
class StoredArray:
    """One array of a container, not yet read; nothing of it is decoded."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Any], Any]  # the values at a key
    attributes: Mapping[str, Any]
    chunks: Sequence[int] | None = None

    def text(self, attribute: str) -> str:
        """Return an attribute as stripped text, "" where there is none."""
        return str(self.attributes.get(attribute, "")).strip()

    def stored_chunk(self, dim: str) -> int:
        """Return how many entries along `dim` are stored together."""
        return 1 if self.chunks is None else int(self.chunks[self.dims.index(dim)])

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        return np.asarray(self.read(key))


@dataclass(frozen=True)
class Contents:
    """The arrays and global attributes of an open container.

    `bare` says that the arrays are maps without coordinates, units and attributes (MATLAB).
    """

    arrays: dict[str, StoredArray]
    attributes: Mapping[str, Any]
    bare: bool = False


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
    for form, starts in _FIRST_BYTES.items():
        if head.startswith(starts):
            return form
    if head.startswith(b"GRIB"):
        raise InputError("is GRIB, not netCDF", path=path, hint=_GRIB_HINT)
    if head.startswith(b"MATLAB 7.3"):
        raise InputError("is a MATLAB 7.3 file", path=path, hint="save it again with -v7")
    if not head:
        raise UnreadableFileError.because("is empty", path)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UnreadableFileError.because(
            "is a web page, not data (a login or an error page was saved)", path
        )
    raise UnreadableFileError.because("is not netCDF, Zarr, MATLAB or zip", path)


def is_zarr(path: Path) -> bool:
    """Return whether the folder `path` is a Zarr group, version 2 or 3."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))


@contextmanager
def open_container(location: Location, wanted: str = "its content") -> Iterator[Contents]:
    """Open a netCDF or MATLAB file or a Zarr store, to be read inside the ``with`` block.

    Raises
    ------
    UnreadableFileError
        If it is broken or cut short, also where only reading what is `wanted` shows it. In a zip
        file the message names the zip file and the member.
    """
    path = location.local()
    try:
        form = sniff(path)
        if form == "zip":
            raise UnreadableFileError.because("is a broken zip file", path)
        with _OPENERS[form](path) as contents:
            yield contents
    except InputError as error:
        if error.path != path or location.member is None:
            raise
        # Not the unpacked copy but the zip file is what the user knows.
        raise type(error)(error.problem, path=location.label, hint=error.hint) from error
    except READ_ERRORS as error:
        raise UnreadableFileError.because(
            f"{wanted} cannot be read ({type(error).__name__})", location.label
        ) from error


@contextmanager
def _open_netcdf(path: Path) -> Iterator[Contents]:
    _check_classic_size(path)
    # The netCDF and HDF5 libraries are not safe in threads.
    with HDF5_LOCK, NETCDFC_LOCK:
        try:
            dataset = netCDF4.Dataset(path)
            dataset.set_auto_maskandscale(False)
            arrays = {name: _netcdf_array(variable) for name, variable in dataset.variables.items()}
            contents = Contents(arrays, dataset.__dict__)
        except READ_ERRORS as error:
            raise UnreadableFileError.because(
                "is broken or cut short: the netCDF library cannot open it", path
            ) from error
        with dataset:
            yield contents


def _netcdf_array(variable: Any) -> StoredArray:
    chunks = variable.chunking()
    return StoredArray(
        variable.name,
        tuple(variable.dimensions),
        tuple(variable.shape),
        np.dtype(variable.dtype),
        variable.__getitem__,
        variable.__dict__,
        chunks if isinstance(chunks, list) else None,
    )


@contextmanager
def _open_zarr(path: Path) -> Iterator[Contents]:
    consolidated = (path / ".zmetadata").is_file()
    try:
        dataset = xr.open_zarr(path, chunks=None, decode_cf=False, consolidated=consolidated)
    except READ_ERRORS as error:
        raise UnreadableFileError.because("is not a Zarr group that can be opened", path) from error
    with dataset:
        arrays = {str(name): _zarr_array(str(name), one) for name, one in dataset.variables.items()}
        yield Contents(arrays, dataset.attrs)


def _zarr_array(name: str, array: xr.Variable) -> StoredArray:
    return StoredArray(
        name,
        tuple(map(str, array.dims)),
        array.shape,
        array.dtype,
        lambda key: array[key].values,
        array.attrs,
        array.encoding.get("chunks"),
    )


@contextmanager
def _open_matlab(path: Path) -> Iterator[Contents]:
    """Open a MATLAB 5 file: its numeric arrays of two dimensions."""
    _check_matlab_size(path)
    try:
        found = whosmat(path)
    except _MATLAB_ERRORS as error:
        raise UnreadableFileError.because("is a broken MATLAB file", path) from error
    maps = {
        name: _matlab_array(path, name, (int(shape[0]), int(shape[1])))
        for name, shape, form in found
        if len(shape) == 2 and form in _NUMERIC
    }
    yield Contents(maps, {}, bare=True)


def _matlab_array(path: Path, name: str, shape: tuple[int, int]) -> StoredArray:
    def read(key: Any) -> Any:
        try:
            return loadmat(path, variable_names=[name])[name][key]
        except _MATLAB_ERRORS as error:
            raise UnreadableFileError.because("is a broken MATLAB file", path) from error

    return StoredArray(name, ("row", "column"), shape, np.dtype(float), read, {})


def _check_matlab_size(path: Path) -> None:
    """Reject a file that ends within an element; listing its arrays would not notice."""
    length = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(128)
        order = "<" if header[126:128] == b"IM" else ">"
        position = 128
        while position < length:
            stream.seek(position + 4)
            size = stream.read(4)
            position += 8 + (struct.unpack(order + "I", size)[0] if len(size) == 4 else length)
    if position != length or length <= 128:
        raise UnreadableFileError.because("is cut short", path)


_OPENERS: dict[str, Callable[[Path], AbstractContextManager[Contents]]] = {
    "netcdf": _open_netcdf,
    "zarr": _open_zarr,
    "matlab": _open_matlab,
}


# The classic netCDF format: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}


def _check_classic_size(path: Path) -> None:
    """Reject a classic netCDF file that is shorter than its header says.

    The netCDF library reads zeros beyond the end of such a file and raises nothing.
    """
    with path.open("rb") as stream:
        magic = stream.read(4)
        if magic[:3] != b"CDF":
            return
        try:
            needed = _classic_size(stream, version=magic[3])
        except (struct.error, KeyError, IndexError) as error:
            raise UnreadableFileError.because("is cut short within its header", path) from error
    found = path.stat().st_size
    if found < needed:
        raise UnreadableFileError.because(f"is cut short: {found} bytes of {needed}", path)


def _classic_size(stream: BinaryIO, *, version: int) -> int:
    count_form, offset_form = {1: (">I", ">I"), 2: (">I", ">Q"), 5: (">Q", ">Q")}[version]

    def number(form: str = count_form) -> int:
        return int(struct.unpack(form, stream.read(struct.calcsize(form)))[0])

    def skip_padded(length: int) -> None:
        stream.seek(length + -length % 4, os.SEEK_CUR)

    def entries() -> range:
        number(">I")
        return range(number())

    def skip_attributes() -> None:
        for _ in entries():
            skip_padded(number())
            item = _TYPE_BYTES[number(">I")]
            skip_padded(number() * item)

    records = number()
    if records == 2 ** (8 * struct.calcsize(count_form)) - 1:
        records = 0
    lengths = []
    for _ in entries():
        skip_padded(number())
        lengths.append(number())
    skip_attributes()
    fixed_ends, record_arrays = [0], []
    for _ in entries():
        skip_padded(number())
        shape = [lengths[number()] for _ in range(number())]
        skip_attributes()
        item = _TYPE_BYTES[number(">I")]
        number()
        begin = number(offset_form)
        is_record = bool(shape) and shape[0] == 0
        size = item * int(np.prod(shape[1:] if is_record else shape, dtype=np.int64))
        if is_record:
            record_arrays.append((begin, size))
        else:
            fixed_ends.append(begin + size)
    # A single record array is stored without padding between its records.
    padded = [size if len(record_arrays) == 1 else size + -size % 4 for _, size in record_arrays]
    ends = [begin + (records - 1) * sum(padded) + size for begin, size in record_arrays if records]
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
        raise UnreadableFileError.because("is a broken zip file", path) from error
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


def _unpacked(path: Path, member: str) -> Path:
    # Every process finds the same copy, and makes it where another machine has not.
    try:
        state = path.stat()
        identity = f"{path}\n{member}\n{state.st_size}\n{state.st_mtime_ns}"
        name = hashlib.sha256(identity.encode()).hexdigest()[:24] + Path(member).suffix
        target = cache_folder() / "unpacked" / name
        if not target.is_file():
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(member) as packed,
                whole_file(target) as work,
                work.open("wb") as plain,
            ):
                shutil.copyfileobj(packed, plain, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UnreadableFileError.because(
            f"its member {member} cannot be unpacked", path
        ) from error
    except OSError as error:
        raise InputError(
            f"its member {member} cannot be unpacked into {cache_folder()} ({error.strerror})",
            path=path,
            hint="free space there, or name another folder in DEEPCAMS_CACHE",
        ) from error
    return target
