"""Opens gridded products by their settings, whatever their source."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepcams_eval.core.field import Product
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read import registry
from deepcams_eval.read.containers import (
    DATA_SUFFIXES,
    GRIB_SUFFIXES,
    Contents,
    Location,
    UnreadableFileError,
    is_zarr,
    open_container,
    sniff,
    zip_members,
)
from deepcams_eval.read.gridded import open_series
from deepcams_eval.read.headers import find_map
from deepcams_eval.read.source import Source
from deepcams_eval.read.spec import DERIVED, ProductSpec

__all__ = ["ProductSpec", "open_product"]


def open_product(spec: ProductSpec, *, strict: bool = False) -> Product:
    """Open the files of one product as a lazy Field.

    Coordinates and attributes are read, values are not: whether there is any value but NaN shows
    only in use. Zip members are unpacked into a cache folder (``DEEPCAMS_CACHE``).

    Parameters
    ----------
    spec : ProductSpec
        Not of a derived product.
    strict : bool, default False
        Whether one damaged file among sound ones is an error; else it is left out and stands in
        `Product.damaged`. A single file, or all of them, is an error in any case.

    Raises
    ------
    InputError
        Naming the file at fault and the next step or the option that decides.
    NoDataError
        If a folder or glob holds no file of a known form.
    """
    if spec.derived is not None:
        raise InputError(
            f"product {spec.name!r} derives from {spec.derived[1]!r}",
            hint="open both with deepcams_eval.pair.derived.open_products",
        )
    locations = _locate(spec)
    source = registry.source_of(spec.kind) if spec.kind else _recognise(locations, spec)
    return open_series(spec, locations, source, strict=strict)


def _locate(spec: ProductSpec) -> list[Location]:
    found = list(dict.fromkeys(_expand(spec)))
    if not found:
        raise NoDataError(
            "holds no file of a known form",
            path=spec.path,
            hint=f"expected one of {', '.join(sorted(DATA_SUFFIXES))}",
        )
    locations = []
    for path in sorted(found, key=_natural):
        locations += _members(path)
    return locations


def _expand(spec: ProductSpec) -> list[Path]:
    path = Path(spec.path).expanduser().absolute()
    if path.exists():
        return _files_at(path)
    if not glob.has_magic(spec.path):
        hint = "check the path"
        if ":" in spec.path:
            hint += f", or derive with one of {', '.join(f'{one}:PARENT' for one in DERIVED)}"
        raise InputError("no such file or folder", path=spec.path, hint=hint)
    matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 -- Path.glob refuses absolute patterns
    if not matches:
        raise NoDataError("matches no file", path=spec.path, hint="check the pattern")
    return [file for match in matches for file in _files_at(Path(match))]


def _files_at(path: Path) -> list[Path]:
    """Return the file itself, or the data files in a folder; a Zarr store counts as one."""
    if not path.is_dir() or is_zarr(path):
        return [path]
    everything = list(_walk(path))
    data = [one for one in everything if one.suffix.lower() in DATA_SUFFIXES]
    return data or [one for one in everything if one.suffix.lower() in GRIB_SUFFIXES]


def _walk(folder: Path) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        here = Path(root)
        stores = [name for name in names if is_zarr(here / name)]
        names[:] = [name for name in names if name not in stores and not name.startswith(".")]
        yield from (here / name for name in (*stores, *files) if not name.startswith("."))


def _members(path: Path) -> list[Location]:
    # A broken file is met again, and counted, when its header is read.
    try:
        if sniff(path) == "zip":
            return [Location(path, member) for member in sorted(zip_members(path), key=_natural)]
    except UnreadableFileError:
        pass
    return [Location(path)]


def _natural(path: Path | str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))]


def _recognise(locations: Sequence[Location], spec: ProductSpec) -> Source:
    """Return the source of the first file that can be read."""
    for location in locations:
        try:
            with open_container(location) as contents:
                if contents.bare:
                    return _source_of_map(contents, spec.variable, location.label)
                return next(one for one in registry.SOURCES if one.recognises(contents))
        except UnreadableFileError:
            continue
    return registry.SOURCES[-1]


def _source_of_map(contents: Contents, variable: str | None, label: str) -> Source:
    shape = find_map(contents, variable, label).shape
    for source in registry.SOURCES:
        if shape in source.bare_shapes:
            return source
    raise InputError(
        f"is a map of {shape[0]} x {shape[1]} without names or units, of several possible sources",
        path=label,
        hint="say which with kind=cams, kind=geoscf or kind=deepcams",
    )
