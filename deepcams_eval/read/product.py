"""Opens gridded products by their settings, whatever their source."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from deepcams_eval.core.field import Product, Stamp, stamp_of
from deepcams_eval.core.pairs import PAIR_COLUMNS, PAIR_LABELS
from deepcams_eval.downscale import bicubic_nodes, hourly_linear
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read import cams, deepcams, generic, geoscf
from deepcams_eval.read.containers import (
    DATA_SUFFIXES,
    GRIB_SUFFIXES,
    Location,
    UnreadableFileError,
    is_zarr,
    open_container,
    sniff,
    zip_members,
)
from deepcams_eval.read.coordinates import REGISTRATIONS
from deepcams_eval.read.gridded import open_series
from deepcams_eval.read.headers import Convention, Options
from deepcams_eval.read.matlab import find_map

CONVENTIONS: dict[str, Convention] = {
    source.CONVENTION.kind: source.CONVENTION for source in (cams, geoscf, deepcams, generic)
}
"""What is known about each kind of source, by its name."""

DERIVED = ("linear", "linear+bicubic")
"""Methods of derived products, ``NAME=METHOD:PARENT``."""

_RECOGNISERS = (
    (geoscf.CONVENTION, geoscf.recognises),
    (cams.CONVENTION, cams.recognises),
    (deepcams.CONVENTION, deepcams.recognises),
    (cams.UNCERTAIN, cams.recognises_by_name),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RESERVED = frozenset({*PAIR_COLUMNS, *PAIR_LABELS})
_STAMPS: dict[str, Stamp] = {"point": "point", "mean": "mean"}
_DERIVED = re.compile(r"(linear(?:\+bicubic)?):(.*)", re.DOTALL)
_FORM = "NAME=PATH[,key=value]..."


@dataclass(frozen=True)
class ProductSpec:
    """Settings of one ``--product``.

    Attributes
    ----------
    name : str
        A column of the pairs: letters, digits, ``_``, ``.`` and ``-``.
    path : str
        A file, a folder (searched through), a glob, a Zarr store, or ``METHOD:PARENT`` for a
        product derived from another, with METHOD one of `DERIVED`.
    kind : {"cams", "geoscf", "deepcams", "generic"}, optional
        Recognised from the content where not given.
    variable : str, optional
        Name of the array, where it is not a known one.
    units : str, optional
        Unit of files that name none.
    stamp : {"point", "mean"}, optional
        What a time stamp means; overrides the files.
    start : str, optional
        UTC time of the first frame, for files without times, e.g. ``2019-12-31T15:00``; files
        follow in natural order of their names. Without it, times in the file names are taken,
        such as ``20190308_05``.
    freq : str, optional
        Step between frames of such files, e.g. ``3h``; also the length of the interval of means
        without bounds.
    registration : {"node-north", "node-south", "centre"}, optional
        Which latitudes the rows of a 720 × 1440 map without coordinates have.
    rows : str, optional
        The number of rows that every file must have; others are an error.

    Raises
    ------
    InputError
        If a value is none of those allowed.
    """

    name: str
    path: str
    kind: str | None = None
    variable: str | None = None
    units: str | None = None
    stamp: Stamp | None = None
    start: str | None = None
    freq: str | None = None
    registration: str | None = None
    rows: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"product name {self.name!r} is not usable",
                hint="use letters, digits, '_', '.' and '-', a letter or digit first",
            )
        if self.name in _RESERVED:
            raise InputError(
                f"product name {self.name!r} is a column of the pairs",
                hint=f"use another than {', '.join(sorted(_RESERVED))}",
            )
        if not self.path:
            raise InputError(f"product {self.name!r} has no path", hint=f"write {_FORM}")
        for key, allowed in (
            ("kind", tuple(CONVENTIONS)),
            ("stamp", tuple(_STAMPS)),
            ("registration", REGISTRATIONS),
        ):
            value = getattr(self, key)
            if value is not None and value not in allowed:
                raise InputError(
                    f"product {self.name!r}: {key}={value} is not known",
                    hint=f"use one of {', '.join(allowed)}",
                )
        self.options()

    @classmethod
    def parse(cls, text: str) -> ProductSpec:
        """Return the settings that ``NAME=PATH[,key=value]…`` stands for.

        A comma in PATH is kept where no ``key=`` follows it.

        Raises
        ------
        InputError
            If the form, a key or a value is wrong; the message names what is allowed.
        """
        name, equals, rest = text.partition("=")
        if not equals:
            raise InputError(f"product {text!r} has no path", hint=f"write {_FORM}")
        path, *parts = re.split(r",(?=[A-Za-z_]+=)", rest)
        settings: dict[str, str] = {}
        for part in parts:
            key, _, value = part.partition("=")
            if key not in _OPTION_KEYS:
                raise InputError(
                    f"product {name!r}: unknown key {key!r}",
                    hint=f"use one of {', '.join(_OPTION_KEYS)}",
                )
            if key in settings or not value:
                raise InputError(
                    f"product {name!r}: {key} is {'given twice' if key in settings else 'empty'}",
                    hint=f"write {key}=VALUE once",
                )
            settings[key] = value
        stamp = settings.pop("stamp", None)
        if stamp is not None and stamp not in _STAMPS:
            raise InputError(
                f"product {name!r}: stamp={stamp} is not known", hint="use one of point, mean"
            )
        return cls(name=name, path=path, stamp=_STAMPS.get(stamp or ""), **settings)

    @property
    def derived(self) -> tuple[str, str] | None:
        """Method and parent of a derived product, else None."""
        found = _DERIVED.fullmatch(self.path)
        return None if found is None else (found.group(1), found.group(2))

    def options(self) -> Options:
        """Return the options as values.

        Raises
        ------
        InputError
            If one cannot be read.
        """
        return Options(
            variable=self.variable,
            units=self.units,
            stamp=self.stamp,
            start=None if self.start is None else self._parse_start(self.start),
            freq=None if self.freq is None else self._parse_freq(self.freq),
            registration=self.registration,
            rows=None if self.rows is None else self._parse_rows(self.rows),
        )

    def _parse_start(self, text: str) -> np.datetime64:
        try:
            moment = pd.Timestamp(text)
        except ValueError as error:
            raise self._refused("start", text, "2019-12-31T15:00") from error
        if pd.isna(moment):
            raise self._refused("start", text, "2019-12-31T15:00")
        if moment.tzinfo is not None:
            moment = moment.tz_convert("UTC").tz_localize(None)
        start: np.datetime64 = moment.to_datetime64().astype("datetime64[us]")
        return start

    def _parse_freq(self, text: str) -> np.timedelta64:
        try:
            step = pd.Timedelta(text if text[:1].isdigit() else f"1{text}")
        except ValueError as error:
            raise self._refused("freq", text, "3h") from error
        if pd.isna(step) or step < pd.Timedelta(minutes=1):
            raise self._refused("freq", text, "3h")
        freq: np.timedelta64 = step.to_timedelta64().astype("timedelta64[us]")
        return freq

    def _parse_rows(self, text: str) -> int:
        if not re.fullmatch(r"[1-9]\d*", text):
            raise self._refused("rows", text, "720")
        return int(text)

    def _refused(self, key: str, value: str, example: str) -> InputError:
        return InputError(
            f"product {self.name!r}: {key}={value} cannot be read",
            hint=f"write e.g. {key}={example}",
        )


_OPTION_KEYS = tuple(one.name for one in fields(ProductSpec) if one.name not in ("name", "path"))


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
            hint="open both with open_products",
        )
    locations = _locate(spec)
    convention = CONVENTIONS[spec.kind] if spec.kind else _recognise(locations)
    return open_series(spec.name, locations, convention, spec.options(), strict=strict)


def open_products(specs: Sequence[ProductSpec], *, strict: bool = False) -> tuple[Product, ...]:
    """Open several products, in the order given; derived ones may stand before their parents.

    Parameters
    ----------
    specs : sequence of ProductSpec
    strict : bool, default False
        See `open_product`.

    Raises
    ------
    InputError
        If two have one name but for case, or a derived product has no parent, one that is itself
        derived, or one of means.
    """
    # Files are named after products, and some disks do not tell case apart.
    names = [spec.name.lower() for spec in specs]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise InputError(
            f"{names.count(repeated[0])} products are named {repeated[0]!r}",
            hint="give each a name of its own",
        )
    originals = [spec.name for spec in specs if spec.derived is None]
    for spec in specs:
        _check_derived(spec, originals)
    opened = {spec.name: open_product(spec, strict=strict) for spec in specs if not spec.derived}
    return tuple(
        opened[spec.name] if spec.derived is None else _derive(spec, opened[spec.derived[1]])
        for spec in specs
    )


def _check_derived(spec: ProductSpec, originals: Sequence[str]) -> None:
    if spec.derived is None:
        return
    method, parent = spec.derived
    if parent not in originals:
        raise InputError(
            f"product {spec.name!r}: there is no product {parent!r} that is read from files",
            hint=f"write {spec.name}={method}:PARENT with PARENT one of"
            f" {', '.join(originals) or '(none given)'}",
        )
    given = [key for key in _OPTION_KEYS if getattr(spec, key) is not None]
    if given:
        raise InputError(
            f"product {spec.name!r}: {', '.join(given)} has no meaning for a derived product",
            hint=f"give it to {parent!r}",
        )


def _derive(spec: ProductSpec, parent: Product) -> Product:
    method, _ = spec.derived or ("", "")
    if stamp_of(parent.field) == "mean":
        raise InputError(
            f"product {spec.name!r}: {parent.name!r} holds means over intervals, and interpolation"
            " between two means is not the value at an hour",
            hint="derive from a product of instantaneous values, or say stamp=point for it",
        )
    notes = [f"linear in time between the frames of {parent.name}, hourly; gaps are not bridged"]
    if method == "linear":
        result = hourly_linear(parent.field)
    else:
        result = bicubic_nodes(hourly_linear(parent.field, frame_growth=9))
        notes.append("Keys bicubic (a = -0.5) to a third of the spacing, on the parent's nodes")
    return Product(spec.name, result, "derived", files=parent.files, notes=tuple(notes))


# --- Files ------------------------------------------------------------------------------------


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


def _recognise(locations: Sequence[Location]) -> Convention:
    """Return what is known about the first file that can be read."""
    for location in locations:
        try:
            return _convention_of(location)
        except UnreadableFileError:
            continue
    return generic.CONVENTION


def _convention_of(location: Location) -> Convention:
    path = location.local()
    form = sniff(path)
    if form == "matlab":
        return _convention_of_map(location, path)
    if form == "zip":
        raise UnreadableFileError("is a broken zip file", path=location.label)
    with open_container(path) as contents:
        known = (found for found, recognises in _RECOGNISERS if recognises(contents))
        return next(known, generic.CONVENTION)


def _convention_of_map(location: Location, path: Path) -> Convention:
    _, shape = find_map(path, None)
    if shape in cams.BARE_SHAPES:
        return cams.CONVENTION
    if shape in deepcams.BARE_SHAPES:
        return deepcams.CONVENTION
    raise InputError(
        f"is a map of {shape[0]} x {shape[1]} without names or units, of several possible sources",
        path=location.label,
        hint="say which with kind=cams, kind=geoscf or kind=deepcams",
    )
