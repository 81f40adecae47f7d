"""CAMS maps every three hours in, hourly maps at a third of the spacing out: time, then space.

The nodes of CAMS are every third node of the fine grid, from pole to pole (the operator ``node``).
Hours are made in blocks of a day. A block of a Zarr store is one file, which appears whole or not
at all: a run that was cut off goes on with the blocks that are not there, and several runs can
share a store. Memory depends on the grid, not on the length of the series.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from deepcams_eval import __version__
from deepcams_eval.core import provenance
from deepcams_eval.core.arrays import Times
from deepcams_eval.core.field import TIME_DTYPE, Product, stamp_of
from deepcams_eval.downscale import Coarse, Downscaler, Target, Task, registry
from deepcams_eval.downscale.degrade import FACTOR, HOUR, degradation, require_even_grid
from deepcams_eval.downscale.joint import Composed
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.read.deepcams import NOTES
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_models.methods import Abpn, Xvfi
from deepcams_models.store import Maps, block_count, check_output, hours_of_block, open_writer

_OPERATOR = "node"
_STEP = FACTOR * HOUR
_ATTRIBUTION = (
    "Generated using Copernicus Atmosphere Monitoring Service information; neither the European"
    " Commission nor ECMWF is responsible for any use of it"
)

Progress = Callable[[str, int, int], None]
Runs = tuple[tuple[str, str, int], ...]
"""First and last hour of runs of hours, and how many there are in each."""


@dataclass(frozen=True)
class ProduceSettings:
    """What is made, and how.

    Attributes
    ----------
    cams : ProductSpec
        Instantaneous maps every three hours.
    out : Path
        A Zarr store, or a netCDF file where the name ends so.
    years : tuple of int
        Years to make; all of the input where empty. The last interval of a year ends with the
        first map of the next, where the input has it.
    part : (int, int)
        This is run i of n that share the store, counted from 1.
    temporal, spatial : str or None
        Methods by name; ``xvfi`` and ``abpn`` where None.
    xvfi, abpn : Path or None
        Their checkpoints; the weights that come with the package where None.
    allow_registration : str or None
        Operator that ``abpn`` may be trained with although CAMS are nodes; see `Abpn`.
    resume : bool
        Whether to resume the store of an earlier run.
    """

    cams: ProductSpec
    out: Path
    years: tuple[int, ...] = ()
    part: tuple[int, int] = (1, 1)
    temporal: str | None = None
    spatial: str | None = None
    xvfi: Path | None = None
    abpn: Path | None = None
    allow_registration: str | None = None
    resume: bool = False


@dataclass(frozen=True)
class Produced:
    """What a run did.

    Attributes
    ----------
    hours, blocks : int
        In the whole result.
    made, found : int
        Blocks that this run made, and that were there before.
    complete : bool
        Whether every block of the result is there now.
    missing : Runs
        Hours for which there are no maps: gaps of the input and, where years were asked for, what
        lies before its first map and after its last.
    empty : Runs
        Of the hours that this run made, those without a value anywhere although there are maps.
    notes : tuple of str
        What a reader must know, a sentence each.
    """

    hours: int
    blocks: int
    made: int
    found: int
    complete: bool
    missing: Runs
    empty: Runs
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Timeline:
    """Maps of the input and hours of the result.

    Attributes
    ----------
    maps, hours : ndarray of datetime64[us]
        Stamps, UTC.
    years : tuple of int
        That were asked for; none for all of the input.
    """

    maps: Times
    hours: Times
    years: tuple[int, ...] = ()

    @classmethod
    def of(cls, maps: Times, years: Sequence[int]) -> Timeline:
        """Return the hours from the first to the last map that lie in `years`, if any are named.

        Raises
        ------
        InputError
            If maps follow each other at another step than multiples of three hours.
        NoDataError
            If a year has no hour.
        """
        maps = maps.astype(TIME_DTYPE)
        uneven = np.flatnonzero(np.diff(maps) % _STEP != np.timedelta64(0, "us"))
        if len(uneven):
            pair = " and ".join(_minutes(one) for one in maps[uneven[0] : uneven[0] + 2])
            raise InputError(
                f"the maps of {pair} are not a multiple of three hours apart",
                hint="give the analyses of 00, 03, ... UTC alone",
            )
        hours = np.arange(maps[0], maps[-1] + HOUR, HOUR)
        of_hours = hours.astype("datetime64[Y]").astype(int) + 1970
        absent = sorted(set(years) - set(of_hours.tolist()))
        if absent:
            raise NoDataError(
                f"there is no map for {absent[0]}: they are of {_minutes(maps[0])} to"
                f" {_minutes(maps[-1])}",
                hint="choose other --years",
            )
        chosen = hours[np.isin(of_hours, years)] if years else hours
        return cls(maps, chosen, tuple(sorted(set(years))))

    def before(self, hours: Times) -> npt.NDArray[np.intp]:
        """Return the map at or before each hour."""
        return np.searchsorted(self.maps, hours, side="right") - 1

    def absent(self) -> npt.NDArray[np.bool_]:
        """Return which hours are no map's own and lie between none three hours apart."""
        before = self.before(self.hours)
        after = np.minimum(before + 1, len(self.maps) - 1)
        own = self.maps[before] == self.hours
        absent: npt.NDArray[np.bool_] = ~own & (self.maps[after] - self.maps[before] != _STEP)
        return absent

    def gaps(self) -> Runs:
        """Return the hours for which there are no maps.

        Those between maps are missing values of the result; those of `years` before the first
        map or after the last are not part of it.
        """
        wanted = self.hours
        if self.years:
            wanted = np.concatenate([_hours_of(year) for year in self.years])
        return _runs(np.setdiff1d(wanted, self.hours[~self.absent()]))


@dataclass(frozen=True, eq=False)
class _Maker:
    """Makes hours of `target`, on the fine grid that the maps, a lazy Field, are nodes of."""

    maps: xr.DataArray
    timeline: Timeline
    method: Composed
    target: Target

    def block(self, number: int) -> Maps:
        """Return the hours of one block, (hour, row, column) in µg m⁻³; NaN where missing."""
        places = hours_of_block(number, self.target)
        hours = self.timeline.hours[places]
        shape = (len(hours), len(self.target.latitude), len(self.target.longitude))
        result = np.full(shape, np.nan, dtype=np.float32)
        before = np.where(self.timeline.absent()[places], -1, self.timeline.before(hours))
        starts = np.unique(before[before >= 0])
        if not len(starts):
            return result
        base, stop = max(starts[0] - self.method.halo, 0), starts[-1] + 2 + self.method.halo
        held = self.maps.isel(time=slice(base, stop)).compute(scheduler="synchronous")
        coarse = Coarse(held, degradation(_OPERATOR))
        for start in starts:  # not all at once: an interval takes much less memory than a day
            chosen = np.flatnonzero(before == start)
            wanted = self.target.at(places.start + chosen)
            result[chosen] = self.method(coarse, wanted).values
        return result

    def hours_without_value(self, number: int, values: Maps) -> Times:
        """Return the hours of a block that are NaN everywhere, but for those without maps."""
        places = hours_of_block(number, self.target)
        known = np.isfinite(values).any(axis=(1, 2)) | self.timeline.absent()[places]
        return self.timeline.hours[places][~known]


def produce(
    settings: ProduceSettings,
    *,
    command: str,
    synthetic: bool = False,
    progress: Progress | None = None,
) -> Produced:
    """Make the hourly fine maps of a CAMS series.

    Parameters
    ----------
    settings : ProduceSettings
        What is made, and how.
    command : str
        The command line, for the provenance.
    synthetic : bool
        Whether the input is synthetic.
    progress : callable, optional
        Called with the name of the step, the blocks done and the blocks in all.

    Raises
    ------
    InputError
        If the input or a method cannot be used, or the output is there and is not to be, or
        cannot be, resumed.
    NoDataError
        If there is no hour to make.
    """
    index, count = settings.part
    if not 1 <= index <= count:
        raise InputError(f"part {index} of {count} is none", hint="count from 1: --part 1/4")
    check_output(settings.out, shared=count > 1, resume=settings.resume)
    product = open_product(settings.cams)
    if stamp_of(product.field) != "point":
        raise InputError(
            f"{product.name} holds means, but analyses are instantaneous",
            path=settings.cams.path,
            hint="say stamp=point if they are",
        )
    require_even_grid(product)
    method = _methods(settings)
    timeline = Timeline.of(product.field["time"].values, settings.years)
    grid = degradation(_OPERATOR).fine_grid(product.field)
    maker = _Maker(product.field, timeline, method, Target(timeline.hours, *grid, "point"))
    notes = _notes(product, method, settings)
    tell = progress or (lambda _step, _done, _total: None)
    blocks = block_count(maker.target)
    first, stop = (index - 1) * blocks // count, index * blocks // count
    made = 0
    empty: list[Times] = []

    def attributes() -> dict[str, str]:
        return _attributes(maker, notes, inputs, command=command, synthetic=synthetic)

    inputs = provenance.hash_inputs([product.files])
    same = _lasting_settings(settings, inputs, maker)
    with open_writer(settings.out, maker.target, same, attributes) as writer:
        todo = [number for number in range(first, stop) if not writer.has(number)]
        tell("blocks", stop - first - len(todo), stop - first)
        for number in todo:
            values = maker.block(number)
            writer.write(number, values)
            empty.append(maker.hours_without_value(number, values))
            made += 1
            tell("blocks", stop - first - len(todo) + made, stop - first)
        complete = writer.finish()
    return Produced(
        hours=len(timeline.hours),
        blocks=blocks,
        made=made,
        found=stop - first - made,
        complete=complete,
        missing=timeline.gaps(),
        empty=_runs(np.concatenate([*empty, timeline.hours[:0]])),
        notes=tuple(notes),
    )


def _methods(settings: ProduceSettings) -> Composed:
    """Return the temporal and the spatial method of a run, time first."""
    for option, wanted, checkpoint in (
        ("xvfi", settings.temporal, settings.xvfi),
        ("abpn", settings.spatial, settings.abpn),
    ):
        if checkpoint is not None and wanted not in (None, option):
            raise InputError(
                f"both {wanted!r} and a checkpoint of {option} are asked for",
                hint=f"leave out --{option} or the other method",
            )
    return Composed(_temporal(settings), _spatial(settings))


def _temporal(settings: ProduceSettings) -> Downscaler:
    if settings.temporal not in (None, Xvfi.name):
        return _registered("temporal", settings.temporal)
    try:
        return Xvfi(settings.xvfi)
    except InputError as error:
        hint = f"{error.hint}; or choose another method, such as --temporal dis"
        raise InputError(error.problem, path=error.path, hint=hint) from error


def _spatial(settings: ProduceSettings) -> Downscaler:
    if settings.spatial not in (None, Abpn.name):
        return _registered("spatial", settings.spatial)
    other = "such as --spatial bicubic"
    try:
        method = Abpn(settings.abpn, allow_registration=settings.allow_registration)
        method.trained_for(degradation(_OPERATOR))
    except InputError as error:
        hint = f"{error.hint}, {other}"
        if settings.abpn is not None or "trained on" in error.problem:
            hint = (
                f"use a checkpoint trained with --degrade {_OPERATOR}, or another method, {other};"
                " --allow-registration imresize takes the nodes for the middles of cells"
            )
        raise InputError(error.problem, path=error.path, hint=hint) from error
    return method


def _registered(task: Task, name: str) -> Downscaler:
    method = registry.load(task, (name,)).methods[0]
    if method.learns:
        raise InputError(
            f"{name!r} learns from years of fine maps, and there are none here",
            hint=f"choose another --{task} method",
        )
    return method.call


# --- What the result says of itself --------------------------------------------------------------


def _notes(product: Product, method: Composed, settings: ProduceSettings) -> list[str]:
    notes = [f"{product.name}: {note}" for note in product.notes]
    notes += [f"{one.path} is damaged ({one.reason}); it is left out." for one in product.damaged]
    for step in (method.temporal, method.spatial):
        if isinstance(step, Xvfi | Abpn):
            notes += step.notes(product.field)
    if isinstance(method.spatial, Abpn) and settings.allow_registration is not None:
        trained = method.spatial.trained_for(degradation(_OPERATOR)).card.degradation
        if trained != _OPERATOR:
            notes.append(
                f"{method.spatial.name}: trained with {trained!r}; CAMS nodes are taken for the"
                " middles of its cells."
            )
    return notes


def _cards(maker: _Maker) -> dict[str, dict[str, Any]]:
    temporal, spatial = maker.method.temporal, maker.method.spatial
    cards = {}
    if isinstance(temporal, Xvfi):
        cards[temporal.name] = asdict(temporal.trained.card)
    if isinstance(spatial, Abpn):
        cards[spatial.name] = asdict(spatial.trained_for(degradation(_OPERATOR)).card)
    return cards


def _lasting_settings(
    settings: ProduceSettings, inputs: Sequence[Mapping[str, Any]], maker: _Maker
) -> dict[str, Any]:
    """Return what must be the same in all runs that share a store."""
    hours = maker.timeline.hours
    return {
        "version": __version__,
        "methods": maker.method.name,
        "weights": {name: card["sha256"] for name, card in _cards(maker).items()},
        "allow_registration": settings.allow_registration,
        "hours": [_minutes(hours[0]), _minutes(hours[-1]), len(hours)],
        "years": list(settings.years),
        "cams": {name: one for name, one in asdict(settings.cams).items() if name != "path"},
        "inputs": [[Path(one["path"]).name, one["bytes"], one["sha256"]] for one in inputs],
    }


def _attributes(
    maker: _Maker,
    notes: Sequence[str],
    inputs: Sequence[Mapping[str, Any]],
    *,
    command: str,
    synthetic: bool,
) -> dict[str, str]:
    """Return the global attributes."""
    said = {
        "Conventions": "CF-1.11",
        "title": "deepcams: hourly PM2.5 at a third of the spacing of CAMS",
        "source": f"CAMS reanalysis, downscaled by {maker.method.title}",
        "history": command,
        "attribution": _ATTRIBUTION,
        "deepcams_version": __version__,
        "deepcams_commit": provenance.commit() or "",
        "deepcams_cards": json.dumps(_cards(maker), sort_keys=True),
        "deepcams_missing_hours": json.dumps(maker.timeline.gaps()),
        NOTES: json.dumps(list(notes), ensure_ascii=False),
        "deepcams_inputs": json.dumps(inputs),
    }
    if synthetic:
        said["comment"] = "SYNTHETIC: made from synthetic maps"
    return said


def _hours_of(year: int) -> Times:
    first, last = (np.datetime64(f"{one}-01-01T00", "us") for one in (year, year + 1))
    return np.arange(first, last, HOUR)


def _runs(hours: Times) -> Runs:
    """Return first hour, last hour and number of hours of each run of consecutive ones."""
    breaks = np.flatnonzero(np.diff(hours) != HOUR) + 1
    runs = np.split(hours, breaks) if len(hours) else []
    return tuple((_minutes(run[0]), _minutes(run[-1]), len(run)) for run in runs)


def _minutes(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="m"))
