"""What a user says about one gridded product: ``--product NAME=PATH[,key=value]...``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TypeVar, cast, get_args

import numpy as np
import pandas as pd

from deepcams_eval.core.field import Stamp
from deepcams_eval.core.pairs import PAIR_COLUMNS, PAIR_LABELS
from deepcams_eval.errors import InputError
from deepcams_eval.read import registry
from deepcams_eval.read.coordinates import REGISTRATIONS

DERIVED = ("linear", "linear+bicubic")
"""Methods of derived products, ``NAME=METHOD:PARENT``."""

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RESERVED = frozenset({*PAIR_COLUMNS, *PAIR_LABELS})
_DERIVED = re.compile(rf"({'|'.join(map(re.escape, DERIVED))}):(.*)", re.DOTALL)
_FORM = "NAME=PATH[,key=value]..."


@dataclass(frozen=True)
class ProductSpec:
    """Settings of one ``--product``.

    Raises
    ------
    InputError
        If a value is none of those allowed, or cannot be read.
    """

    name: str
    """A column of the pairs: letters, digits, ``_``, ``.`` and ``-``."""
    path: str
    """A file, a folder (searched through), a glob, a Zarr store, or ``METHOD:PARENT`` for a product
    derived from another, with METHOD one of `DERIVED`."""
    kind: str | None = None
    """A source of `deepcams_eval.read.registry`; recognised from the content where not given."""
    variable: str | None = None
    """Name of the array, where it is not a known one."""
    units: str | None = None
    """Unit of files that name none."""
    stamp: Stamp | None = None
    """What a time stamp means; overrides the files."""
    start: str | None = None
    """UTC time of the first frame, for files without times, e.g. ``2019-12-31T15:00``; files follow
    in natural order of their names. Without it, times in the file names are taken, such as
    ``20190308_05``."""
    freq: str | None = None
    """Step between frames of such files, e.g. ``3h``; also the length of the interval of means
    without bounds."""
    registration: str | None = None
    """Which latitudes the rows of a 720 × 1440 map without coordinates have."""
    rows: str | None = None
    """The number of rows that every file must have; others are an error."""

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
            ("kind", registry.kinds()),
            ("stamp", get_args(Stamp)),
            ("registration", REGISTRATIONS),
        ):
            value = getattr(self, key)
            if value is not None and value not in allowed:
                raise InputError(
                    f"product {self.name!r}: {key}={value} is not known",
                    hint=f"use one of {', '.join(allowed)}",
                )
        _ = self.first_time, self.step, self.row_count

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
            if key not in OPTION_KEYS:
                raise InputError(
                    f"product {name!r}: unknown key {key!r}",
                    hint=f"use one of {', '.join(OPTION_KEYS)}",
                )
            if key in settings or not value:
                raise InputError(
                    f"product {name!r}: {key} is {'given twice' if key in settings else 'empty'}",
                    hint=f"write {key}=VALUE once",
                )
            settings[key] = value
        stamp = cast("Stamp | None", settings.pop("stamp", None))
        return cls(name=name, path=path, stamp=stamp, **settings)

    @property
    def derived(self) -> tuple[str, str] | None:
        """Method and parent of a derived product, else None."""
        found = _DERIVED.fullmatch(self.path)
        return None if found is None else (found.group(1), found.group(2))

    @cached_property
    def first_time(self) -> np.datetime64 | None:
        """`start` as a time, UTC."""
        return self._parsed("start", _as_time, "2019-12-31T15:00")

    @cached_property
    def step(self) -> np.timedelta64 | None:
        """`freq` as a length of time, at least a minute."""
        return self._parsed("freq", _as_length, "3h")

    @cached_property
    def row_count(self) -> int | None:
        """`rows` as a number."""
        return self._parsed("rows", _as_count, "720")

    def _parsed(self, key: str, parse: Callable[[str], T], example: str) -> T | None:
        text = getattr(self, key)
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            raise InputError(
                f"product {self.name!r}: {key}={text} cannot be read",
                hint=f"write e.g. {key}={example}",
            ) from error


def _as_time(text: str) -> np.datetime64:
    moment = pd.Timestamp(text)
    if pd.isna(moment):
        raise ValueError(text)
    if moment.tzinfo is not None:
        moment = moment.tz_convert("UTC").tz_localize(None)
    time: np.datetime64 = moment.to_datetime64().astype("datetime64[us]")
    return time


def _as_length(text: str) -> np.timedelta64:
    length = pd.Timedelta(text if text[:1].isdigit() else f"1{text}")
    if pd.isna(length) or length < pd.Timedelta(minutes=1):
        raise ValueError(text)
    step: np.timedelta64 = length.to_timedelta64().astype("timedelta64[us]")
    return step


def _as_count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise ValueError(text)
    return int(text)


OPTION_KEYS = tuple(one.name for one in fields(ProductSpec) if one.name not in ("name", "path"))
"""The keys that may follow a path."""
