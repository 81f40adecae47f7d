"""Which files of CAMS EAC4 make up what is asked for, and which of them are there and whole."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.outcome import Missing
from deepcams_eval.read.containers import DATA_SUFFIXES, UnreadableFileError
from deepcams_eval.read.product import ProductSpec, open_product

SPACING_DEG = 0.75
STEP_H = 3

Box = tuple[float, float, float, float]

_BYTES_A_VALUE = 4


@dataclass(frozen=True)
class CamsSettings:
    """What to fetch of EAC4.

    Attributes
    ----------
    folder : Path
        ``DIR/cams``.
    years, months : tuple of int
    bbox : tuple of float or None
        West, south, east, north in degrees; widened to nodes of EAC4, so that nothing is
        interpolated. None is the globe.
    at_once : int
        Requests in the queue of the store at a time.
    poll_s : tuple of float
        First and longest wait between two looks at the queue.
    """

    folder: Path
    years: tuple[int, ...]
    months: tuple[int, ...] = tuple(range(1, 13))
    bbox: Box | None = None
    at_once: int = 4
    poll_s: tuple[float, float] = (0.5, 60.0)


@dataclass(frozen=True)
class Piece:
    """The days of one file."""

    first: date
    last: date

    @property
    def name(self) -> str:
        """``2017-01`` of a month, ``2020-01-01`` of a day."""
        return f"{self.first:%Y-%m-%d}" if self.first == self.last else f"{self.first:%Y-%m}"

    @property
    def file_name(self) -> str:
        """Name of the file in ``DIR/cams``."""
        return f"eac4_{self.name}.nc"

    def times(self) -> npt.NDArray[np.datetime64]:
        """Return the steps of the file: every three hours from 00 UTC."""
        end = np.datetime64(self.last, "D") + np.timedelta64(1, "D")
        step = np.timedelta64(STEP_H, "h")
        return np.arange(np.datetime64(self.first, "h"), end.astype("datetime64[h]"), step)


@dataclass(frozen=True)
class Grid:
    """Nodes of EAC4: south to north and west to east, in degrees."""

    latitude: npt.NDArray[np.float64]
    longitude: npt.NDArray[np.float64]

    @classmethod
    def of(cls, bbox: Box | None) -> Grid:
        """Return the nodes of a box, widened to whole steps, or of the globe.

        Raises
        ------
        InputError
            If the box crosses 180° E.
        """
        if bbox is None:
            rows, columns = np.arange(-120.0, 121.0), np.arange(-240.0, 240.0)
            return cls(rows * SPACING_DEG, columns * SPACING_DEG)
        west, south, east, north = bbox
        turn = 360.0 if west >= 180 else 0.0
        west, east = west - turn, east - turn
        if not west < east <= 180:
            raise InputError(
                f"the box {','.join(f'{edge:g}' for edge in bbox)} crosses 180° E or has no width",
                hint="fetch its two halves into two folders, or the globe",
            )
        rows = np.arange(np.floor(south / SPACING_DEG), np.ceil(north / SPACING_DEG) + 1)
        last = min(np.ceil(east / SPACING_DEG), 180 / SPACING_DEG - 1)
        columns = np.arange(np.floor(west / SPACING_DEG), last + 1)
        return cls(
            (rows * SPACING_DEG).astype(np.float64), (columns * SPACING_DEG).astype(np.float64)
        )

    def area(self) -> list[float]:
        """Return north, west, south, east, as a request takes them."""
        edges = (self.latitude[-1], self.longitude[0], self.latitude[0], self.longitude[-1])
        return [float(edge) for edge in edges]

    def matches(self, latitude: npt.NDArray[Any], longitude: npt.NDArray[Any]) -> bool:
        """Return whether these are the same nodes, to a hundredth of a degree."""
        return all(
            mine.shape == theirs.shape and bool(np.allclose(mine, theirs, rtol=0, atol=0.01))
            for mine, theirs in ((self.latitude, latitude), (self.longitude, longitude))
        )


@dataclass(frozen=True)
class CamsPlan:
    """What is there and what is to be fetched.

    Attributes
    ----------
    wanted, there : tuple of Piece
        Disjoint.
    missing : tuple of Missing
        What cannot be fetched for what lies in the folder.
    bytes_at_most : int
        Of the files to fetch, uncompressed.
    """

    wanted: tuple[Piece, ...]
    there: tuple[Piece, ...]
    missing: tuple[Missing, ...]
    bytes_at_most: int


def plan_cams(settings: CamsSettings) -> CamsPlan:
    """Compare what is asked for with what lies in the folder; nothing is asked of a server.

    Raises
    ------
    InputError
        If the folder holds files of another grid: the reader takes one grid a product.
    """
    grid = Grid.of(settings.bbox)
    held = _held(settings.folder, grid, bbox=settings.bbox)
    wanted, there, missing = [], [], []
    for piece in pieces(settings.years, settings.months):
        times = set(piece.times().tolist())
        files = {path: times & found for path, found in held.items() if times & found}
        own = settings.folder / piece.file_name
        if times <= set().union(*files.values()):
            there.append(piece)
        elif strangers := [path for path in files if not _is_own(path, own, piece)]:
            count = len(set().union(*files.values()))
            reason = f"{count} of its {len(times)} steps lie in {strangers[0].name}: move that away"
            missing.append(Missing(piece.name, reason))
        else:
            wanted.append(piece)
    cells = len(grid.latitude) * len(grid.longitude)
    steps = sum(len(piece.times()) for piece in wanted)
    return CamsPlan(tuple(wanted), tuple(there), tuple(missing), steps * cells * _BYTES_A_VALUE)


def pieces(years: Sequence[int], months: Sequence[int]) -> list[Piece]:
    """Return the months, each a file, and the day after each run of months, a file of its own.

    The last interval of a run ends with the first map of that day.
    """
    asked = [(year, month) for year in sorted(years) for month in sorted(months)]
    result = []
    for year, month in asked:
        last = monthrange(year, month)[1]
        result.append(Piece(date(year, month, 1), date(year, month, last)))
        after = (year + month // 12, month % 12 + 1)
        if after not in asked:
            day = date(*after, 1)
            result.append(Piece(day, day))
    return result


def check_cams(path: Path, piece: Piece, grid: Grid) -> int:
    """Return how many steps hold no value, having read all of them with the reader of CAMS.

    Raises
    ------
    InputError
        If the file is broken, has other steps or nodes than asked for, no unit of mass
        concentration, or no value at all.
    """
    field = open_product(ProductSpec("cams", str(path), kind="cams"), strict=True).field
    expected = piece.times()
    found = field.time.values
    if not np.array_equal(found, expected.astype(found.dtype)):
        raise UnreadableFileError(
            f"has {len(found)} steps, not the {len(expected)} of {piece.name}", path=path
        )
    if not grid.matches(field.latitude.values, field.longitude.values):
        shape = f"{field.sizes['latitude']} x {field.sizes['longitude']}"
        raise UnreadableFileError(f"has {shape} nodes, which are not those asked for", path=path)
    empty = 0
    for low in range(0, len(expected), 8):
        day = field.isel(time=slice(low, low + 8)).compute(scheduler="synchronous")
        empty += int((~np.isfinite(day.values).any(axis=(1, 2))).sum())
    if empty == len(expected):
        raise UnreadableFileError("holds no value", path=path)
    return empty


def _held(folder: Path, grid: Grid, *, bbox: Box | None) -> dict[Path, set[object]]:
    """Return the steps that each file of the folder holds."""
    result: dict[Path, set[object]] = {}
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        if path.name.startswith(".") or path.suffix.lower() not in DATA_SUFFIXES:
            continue
        try:
            field = open_product(ProductSpec("cams", str(path), kind="cams")).field
        except UnreadableFileError:
            continue
        if not grid.matches(field.latitude.values, field.longitude.values):
            raise InputError(
                "has another grid than the fetch asks for, and a product has one",
                path=path,
                hint="give the --bbox that it was fetched with"
                if bbox is None
                else "give the same --bbox as before, or another folder with --data",
            )
        result[path] = set(field.time.values.astype("datetime64[h]").tolist())
    return result


def _is_own(path: Path, own: Path, piece: Piece) -> bool:
    """Return whether fetching `piece` replaces or removes the file."""
    day = own.with_name(Piece(piece.first, piece.first).file_name)
    return path in (own, day)
