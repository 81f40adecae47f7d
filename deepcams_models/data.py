"""What a network learns from: hourly truth, cut into samples.

Maps are (row, column), south first, µg m⁻³; flows (row, column, 2) in grid steps, the column
component first. Samples are drawn from a `numpy.random.Generator` that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self
from warnings import warn

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage
from torch import Tensor

from deepcams_eval.bench.plan import fitted_to
from deepcams_eval.core.field import Stamp, spans_globe, stamp_of
from deepcams_eval.core.folder import whole_file
from deepcams_eval.core.solar import cosine_of_zenith
from deepcams_eval.demo import DemoSettings, cache_folder, demo_archive, is_demo
from deepcams_eval.demo.nature import NatureRun
from deepcams_eval.demo.settings import Block, Climate
from deepcams_eval.downscale.degrade import FACTOR, Degradation, hours_of, require_even_grid
from deepcams_eval.downscale.flow import dis_flows
from deepcams_eval.downscale.protocol import Coarse, Target
from deepcams_eval.downscale.spatial import BackProjection, Bicubic
from deepcams_eval.errors import DeepcamsWarning, InputError, NoDataError
from deepcams_eval.read.layout import find_data
from deepcams_eval.read.product import open_product

MULTIPLE = 12
"""Crops are multiples of it, so that they divide into coarse cells and into halves of halves."""

Map = npt.NDArray[np.float32]
Flow = npt.NDArray[np.float32]
_Change = Callable[[Map], Map]
Hours = npt.NDArray[np.int64]

TEST_YEAR = 2020
"""Year of the synthetic archive that networks are scored on: nothing is learned from it."""

HELD_OUT = 5
"""Every so manyth block of days is held out where no years are."""

BLOCK_DAYS = 3
STEP_H = 3
"""Hours between two kept frames."""

_TRUTH = "geoscf"
_FLOW_BYTES_PER_VALUE = 3  # two flows of two components in half precision, per float32 map
_GROWTH_NODES = 1.5, 15.0  # shortest and longest scale of growth, grid steps
_NATURE_SEED = 7_000_000  # apart from any seed that an archive is likely to have


class DataSettings(BaseModel):
    """What a network learns from; unknown keys are refused.

    Attributes
    ----------
    data : str
        ``demo``, ``nature``, ``demo+nature`` (held-out days are the demo's), or a folder in the
        standard layout.
    train_years, valid_years : tuple of int, optional
        Years of a folder or of the demo. Without `train_years` all but the last year and those
        that are held out; without `valid_years` every fifth block of days of the training years is
        held out.
    crop : int
        Edge of a sample in fine grid steps, a multiple of 12.
    seed : int
    degrade : str
        Operator that makes coarse maps. Only of a network in space.
    amplitude : float
        Maps are multiplied by exp(u), u uniform within ±amplitude.
    growth : float
        Highest standard deviation of the growth and decay in place, e-folds in an interval, that
        half of the samples get; see `Interval.grown`. Only of a network in time.
    memory_gb : float
        Truth and what belongs to it is kept in memory up to this size; more is sampled.
    nature_blocks : int
        Blocks of three days of ``nature``, each in a climate of its own; see `Climate`. One a month
        from 2001 on, so that 192 end before the archive begins.
    nature_noise : bool
        Whether they have unresolved noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    train_years: tuple[int, ...] | None = None
    valid_years: tuple[int, ...] | None = None
    crop: int = Field(default=96, ge=24, multiple_of=MULTIPLE)
    seed: int = Field(default=0, ge=0)
    degrade: str = "imresize"
    amplitude: float = Field(default=0.5, ge=0)
    growth: float = Field(default=0.0, ge=0)
    memory_gb: float = Field(default=4.0, gt=0)
    nature_blocks: int = Field(default=24, ge=2, le=192)
    nature_noise: bool = False


@dataclass(frozen=True, eq=False)
class Truth:
    """Hourly maps in memory.

    Attributes
    ----------
    values : ndarray, shape (hour, row, column)
        µg m⁻³, south first, without NaN.
    hours : ndarray of int64, shape (hour,)
        Beginning of each hour, or its instant, hours since 1970; strictly increasing.
    latitude, longitude : ndarray
        Degrees, ascending.
    stamp : {"point", "mean"}
    years : tuple of int
    source : str
        What this is, in words.
    synthetic : bool
    """

    values: Map
    hours: Hours
    latitude: npt.NDArray[np.float64]
    longitude: npt.NDArray[np.float64]
    stamp: Stamp
    years: tuple[int, ...]
    source: str
    synthetic: bool

    @property
    def cyclic(self) -> bool:
        """Whether longitude spans the globe."""
        return spans_globe(self.longitude)

    def at(self, chosen: npt.NDArray[np.bool_]) -> Self:
        """Return some of the hours."""
        return replace(self, values=self.values[chosen], hours=self.hours[chosen])

    @property
    def instants(self) -> npt.NDArray[np.datetime64]:
        """Instant of each map, or the middle of its hour, UTC."""
        half = np.timedelta64(30 if self.stamp == "mean" else 0, "m")
        return np.asarray(self.hours.astype("datetime64[h]").astype("datetime64[us]") + half)

    def target(self, index: int) -> Target:
        """Return the time and the grid of one hour, as a method of downscaling gets them."""
        time = self.hours[index : index + 1].astype("datetime64[h]").astype("datetime64[us]")
        return Target(time, self.latitude, self.longitude, "point")

    def intervals(self, *, kept_only: bool) -> list[int]:
        """Return the index of every hour that begins four consecutive ones.

        With `kept_only` those of 00, 03, … UTC.
        """
        follows = np.zeros(len(self.hours), dtype=bool)
        follows[:-STEP_H] = self.hours[STEP_H:] - self.hours[:-STEP_H] == STEP_H
        if kept_only:
            follows &= self.hours % STEP_H == 0
        return [int(one) for one in np.flatnonzero(follows)]


def block_numbers(hours: Hours) -> npt.NDArray[np.int64]:
    """Return the block of each hour: at most `BLOCK_DAYS` consecutive days, counted from 0.

    A new block begins behind each missing day.
    """
    days, of_hour = np.unique(hours // 24, return_inverse=True)
    numbers = np.zeros(len(days), dtype=np.int64)
    length = 1
    for place in range(1, len(days)):
        begins = days[place] != days[place - 1] + 1 or length == BLOCK_DAYS
        numbers[place] = numbers[place - 1] + begins
        length = 1 if begins else length + 1
    return np.asarray(numbers[of_hour])


def split(truth: Truth) -> tuple[Truth, Truth]:
    """Return the truth to learn from, and every `HELD_OUT`th block of days.

    Raises
    ------
    NoDataError
        If there are fewer blocks than that.
    """
    held = block_numbers(truth.hours) % HELD_OUT == HELD_OUT - 1
    if not held.any():
        raise NoDataError(
            f"too few days to hold out every {HELD_OUT}th block of {BLOCK_DAYS}",
            hint="give more days, or --valid-years",
        )
    return truth.at(~held), truth.at(held)


def load_truth(settings: DataSettings) -> tuple[Truth, Truth]:
    """Return the truth to learn from and the truth that is held out.

    Raises
    ------
    InputError
        If the test year of the synthetic archive is asked for, a year is asked for twice, years are
        named of what has none, or the folder has no hourly truth.
    NoDataError
        If there is no frame in a year.

    Warns
    -----
    DeepcamsWarning
        If hours are left out for a missing value, or for want of memory.
    """
    if settings.data == "nature":
        if settings.train_years or settings.valid_years:
            raise InputError(
                "nature has climates, not years",
                hint="leave out --train-years and --valid-years, or give --data demo+nature",
            )
        return split(nature_truth(settings))
    if settings.data == "demo+nature":
        own, held_out = load_truth(settings.model_copy(update={"data": "demo"}))
        nature = nature_truth(settings)  # all before the archive begins
        both = replace(
            own,
            values=np.concatenate([nature.values, own.values]),
            hours=np.concatenate([nature.hours, own.hours]),
            years=(*nature.years, *own.years),
            source=f"{own.source} and {nature.source}",
        )
        return both, held_out
    root = demo_archive() if settings.data == "demo" else Path(settings.data)
    field = _open(root)
    hours = hours_of(field).astype("datetime64[h]")
    year_of = hours.astype("datetime64[Y]").astype(np.int64) + 1970
    synthetic = is_demo(root)
    train, valid = _chosen_years(settings, tuple(np.unique(year_of).tolist()), synthetic, root)

    def of(years: tuple[int, ...]) -> Truth:
        index = np.flatnonzero(np.isin(year_of, years))
        index = index[_within_memory(hours[index].astype(np.int64), field, settings)]
        values = _read(field, index)
        whole = np.isfinite(values).all(axis=(1, 2))
        if not whole.all():
            left = f"{int((~whole).sum())} of {whole.size} hours have a missing value"
            warn(f"{left} and are left out", DeepcamsWarning, stacklevel=3)
            values, index = values[whole], index[whole]
        return Truth(
            values=values,
            hours=hours[index].astype(np.int64),
            latitude=field["latitude"].values.astype(np.float64),
            longitude=field["longitude"].values.astype(np.float64),
            stamp=stamp_of(field),
            years=years,
            source="synthetic archive" if synthetic else str(root),
            synthetic=synthetic,
        )

    return (of(train), of(valid)) if valid else split(of(train))


def _open(root: Path) -> xr.DataArray:
    for spec in find_data(root).products:
        if spec.name == _TRUTH:
            product = open_product(spec)
            require_even_grid(product)
            return product.field
    raise InputError(f"has no folder {_TRUTH}", path=root, hint="give hourly truth, or --data demo")


def _chosen_years(
    settings: DataSettings, available: tuple[int, ...], synthetic: bool, root: Path
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    valid = settings.valid_years or ()
    usual = [year for year in available if year != TEST_YEAR] if synthetic else available[:-1]
    others = tuple(year for year in usual if year not in valid)
    train = others if settings.train_years is None else settings.train_years
    if synthetic and TEST_YEAR in (*train, *valid):
        raise InputError(
            f"{TEST_YEAR} is the test year of the synthetic archive",
            hint="learn from other years, such as --train-years 2018-2019",
        )
    both = sorted(set(train) & set(valid))
    if both:
        raise InputError(
            f"{both[0]} is a year to learn from and one that is held out",
            hint="give each year once",
        )
    absent = sorted({*train, *valid} - set(available))
    if absent or not train:
        held = ", ".join(map(str, available))
        raise NoDataError(
            f"has no truth of {absent[0]}" if absent else "no year is left to learn from",
            path=root,
            hint=f"name years with --train-years: there are {held}",
        )
    return train, valid


def _read(field: xr.DataArray, index: npt.NDArray[np.intp]) -> Map:
    values = np.empty((len(index), *field.shape[1:]), dtype=np.float32)
    for part in np.array_split(np.arange(len(index)), max(1, len(index) // 240)):
        values[part] = field.isel(time=index[part]).values
    return values


def _within_memory(
    hours: Hours, field: xr.DataArray, settings: DataSettings
) -> npt.NDArray[np.bool_]:
    """Return which hours are kept: whole blocks of days, drawn, as many as memory takes."""
    size = field.shape[1] * field.shape[2] * 4 * (1 + _FLOW_BYTES_PER_VALUE)
    room = int(settings.memory_gb * 1e9 // size)
    if len(hours) <= room:
        return np.ones(len(hours), dtype=bool)
    numbers = block_numbers(hours)
    order = np.random.default_rng(settings.seed).permutation(int(numbers.max()) + 1)
    counts = np.bincount(numbers)[order]
    taken = order[: max(HELD_OUT, int(np.searchsorted(np.cumsum(counts), room)))]
    kept = np.isin(numbers, taken)
    warn(
        f"{int(kept.sum())} of {len(hours)} hours are used: the others exceed --memory-gb"
        f" {settings.memory_gb:g}",
        DeepcamsWarning,
        stacklevel=3,
    )
    return kept


def nature_truth(settings: DataSettings) -> Truth:
    """Return blocks of the nature run, each with a climate of its own, made once and kept.

    None is a block of the synthetic archive: seeds differ.
    """
    blocks = [
        Block(2001 + number // 12, number % 12 + 1, BLOCK_DAYS)
        for number in range(settings.nature_blocks)
    ]
    made = [
        _nature_block(settings.seed * 1000 + number, block, settings.nature_noise)
        for number, block in enumerate(blocks)
    ]
    hours = [block.start.astype("datetime64[h]") + np.arange(block.hours) for block in blocks]
    grid = DemoSettings()
    return Truth(
        values=np.concatenate(made),
        hours=np.concatenate(hours).astype(np.int64),
        latitude=np.asarray(grid.latitude),
        longitude=np.asarray(grid.longitude),
        stamp="mean",
        years=tuple(sorted({block.year for block in blocks})),
        source=f"{settings.nature_blocks} blocks of the nature run in climates of their own",
        synthetic=True,
    )


def _nature_block(number: int, block: Block, noise: bool) -> Map:
    settings = DemoSettings(seed=_NATURE_SEED + number, noise=noise)
    climate = Climate.draw(settings.rng("nature"))
    path = cache_folder() / "nature" / f"{settings.key}-{block.name}-{climate.key}.npz"
    if path.is_file():
        with np.load(path) as stored:
            return np.asarray(stored["mean"])
    made = NatureRun(settings, block, climate).run().mean
    with whole_file(path) as work:
        np.savez_compressed(work, mean=made)
    return made


@dataclass(frozen=True, eq=False)
class _Sample:
    """What can be done to a sample of either kind; interpolation commutes with it."""

    _maps: ClassVar[tuple[str, ...]]
    _suns: ClassVar[tuple[str, ...]] = ()
    _flows: ClassVar[tuple[str, ...]] = ()

    def _with(self, of_map: _Change, of_flow: _Change) -> Self:
        changes = ((*self._maps, *self._suns), of_map), (self._flows, of_flow)
        changed = {name: change(getattr(self, name)) for names, change in changes for name in names}
        return replace(self, **changed)

    def mirrored(self, axis: int) -> Self:
        """Return the sample with its rows (0) or columns (1) in reverse."""
        sign = np.array([1, -1] if axis == 0 else [-1, 1], dtype=np.float32)
        return self._with(lambda one: np.flip(one, axis), lambda flow: np.flip(flow, axis) * sign)

    def transposed(self) -> Self:
        """Return the sample with rows and columns exchanged."""
        return self._with(
            lambda one: one.swapaxes(0, 1), lambda flow: flow.swapaxes(0, 1)[..., ::-1]
        )

    def scaled(self, factor: float) -> Self:
        """Return the sample with every value times `factor`; motion stays."""
        values = {name: getattr(self, name) * np.float32(factor) for name in self._maps}
        return replace(self, **values)

    def varied(self, rng: np.random.Generator, amplitude: float) -> Self:
        """Return the sample in any orientation and of any amplitude within exp(±`amplitude`)."""
        sample = self
        for axis in (0, 1):
            if rng.random() < 0.5:
                sample = sample.mirrored(axis)
        rows, columns = getattr(sample, self._maps[0]).shape
        if rng.random() < 0.5 and rows == columns:
            sample = sample.transposed()
        return sample.scaled(float(np.exp(rng.uniform(-1, 1) * amplitude)))


@dataclass(frozen=True, eq=False)
class Interval(_Sample):
    """Two maps, the flows between them, and the map at t.

    Attributes
    ----------
    first, last, truth : ndarray, shape (row, column)
    forward, backward : ndarray, shape (row, column, 2)
        F01 and F10.
    sun : ndarray, shape (row, column, 2)
        Cosine of the solar zenith angle at both ends.
    t : float
    """

    first: Map
    last: Map
    truth: Map
    forward: Flow
    backward: Flow
    sun: Map
    t: float

    _maps = ("first", "last", "truth")
    _flows = ("forward", "backward")
    _suns = ("sun",)

    def reversed_in_time(self) -> Interval:
        """Return the interval as it looks backwards."""
        sun = self.sun[..., ::-1]
        flows = self.backward, self.forward
        return Interval(self.last, self.first, self.truth, *flows, sun, 1 - self.t)

    def cut(self, window: tuple[slice, slice]) -> Interval:
        """Return a part; flows may lead out of it."""
        return self._with(lambda one: one[window], lambda flow: flow[window])

    def grown(self, rng: np.random.Generator, most: float, *, cyclic: bool) -> Interval:
        """Return the interval with growth and decay that stay in their place.

        Values at t are multiplied by exp(a (t + c t (1 − t))): a is smooth noise of any scale about
        a value for the whole map, both with a standard deviation of up to `most`, and c is between
        −1/2 and 1/2. The flows are those that are found between the maps so changed: what grows in
        its place looks like motion.
        """
        scale = np.exp(rng.uniform(*np.log(_GROWTH_NODES)))
        noise = ndimage.gaussian_filter(
            rng.standard_normal(self.first.shape),
            scale,
            mode=("reflect", "wrap" if cyclic else "reflect"),
        )
        pattern = rng.uniform(0, most) * (noise / noise.std() + rng.normal())
        bend = rng.uniform(-0.5, 0.5)
        growth = self.t + bend * self.t * (1 - self.t)
        truth, last = (
            (one * np.exp(pattern * share)).astype(np.float32)
            for one, share in ((self.truth, growth), (self.last, 1.0))
        )
        flows = dis_flows(self.first, last, cyclic=cyclic)
        return Interval(self.first, last, truth, *flows, self.sun, self.t)


class Intervals:
    """Samples in time: maps three hours apart, and an hour between.

    Parameters
    ----------
    truth : Truth
    kept_only : bool
        Whether intervals begin at 00, 03, … UTC only; else at any hour.
    reverse : bool
        Whether half of the samples are reversed in time. What sees the sun must not learn from
        these: a day does not run backwards.

    Raises
    ------
    NoDataError
        If there are no four consecutive hours.
    """

    def __init__(self, truth: Truth, *, kept_only: bool, reverse: bool = True) -> None:
        self.truth, self.reverse = truth, reverse
        self.starts = truth.intervals(kept_only=kept_only)
        if not self.starts:
            raise NoDataError(
                f"{truth.source} has no four consecutive hours", hint="give hourly frames"
            )
        self._flows: dict[int, npt.NDArray[np.float16]] = {}

    def flows(self, start: int) -> tuple[Flow, Flow]:
        """Return F01 and F10 of the interval that begins at hour `start`, from whole maps.

        Kept in half precision once found: 1/100 of a step at 10 steps.
        """
        if start not in self._flows:
            found = dis_flows(*self.ends(start), cyclic=self.truth.cyclic)
            self._flows[start] = np.stack(found).astype(np.float16)
        both = self._flows[start].astype(np.float32)
        return both[0], both[1]

    def ends(self, start: int) -> tuple[Map, Map]:
        """Return the first and the last map."""
        return self.truth.values[start], self.truth.values[start + STEP_H]

    def sun(self, start: int) -> Map:
        """Return the cosine of the solar zenith angle at both ends, (row, column, 2)."""
        truth = self.truth
        ends = truth.instants[[start, start + STEP_H]]
        sun = cosine_of_zenith(ends, truth.latitude, truth.longitude)
        return np.moveaxis(sun, 0, -1).astype(np.float32)

    def whole(self, start: int, hour: int) -> Interval:
        """Return the sample of whole maps at so many hours after `start`."""
        truth = self.truth.values[start + hour]
        flows, sun = self.flows(start), self.sun(start)
        return Interval(*self.ends(start), truth, *flows, sun, hour / STEP_H)

    def draw(self, rng: np.random.Generator, settings: DataSettings) -> Interval:
        """Return one sample: any interval, hour, window, orientation, direction and amplitude.

        Half of them with growth, if the settings have it.
        """
        start = self.starts[int(rng.integers(len(self.starts)))]
        whole = self.whole(start, int(rng.integers(1, STEP_H)))
        if settings.growth and rng.random() < 0.5:
            whole = whole.grown(rng, settings.growth, cyclic=self.truth.cyclic)
        sample = whole.cut(_window(rng, whole.first.shape, settings.crop))
        if rng.random() < 0.5 and self.reverse:
            sample = sample.reversed_in_time()
        return sample.varied(rng, settings.amplitude)


@dataclass(frozen=True, eq=False)
class Enlargement(_Sample):
    """A coarse map, the enlargement to improve, the plain one, and the truth.

    Attributes
    ----------
    coarse : ndarray, shape (row, column)
    start, plain, truth : ndarray, shape (3 rows, 3 columns)
        Back-projected and bicubic enlargement; truth.
    """

    coarse: Map
    start: Map
    plain: Map
    truth: Map

    _maps = ("coarse", "start", "plain", "truth")

    def cut(self, window: tuple[slice, slice]) -> Enlargement:
        """Return the part in a window of coarse rows and columns."""
        fine = tuple(slice(FACTOR * one.start, FACTOR * one.stop) for one in window)
        return Enlargement(
            self.coarse[window], self.start[fine], self.plain[fine], self.truth[fine]
        )


class Enlargements:
    """Samples in space: each hour degraded by an operator.

    The fine maps are those that the network makes, three nodes about each coarse one: the outermost
    nodes of ``node`` have neighbours beyond the truth, which repeat its edge; the row at the south
    pole, which ``imresize`` and ``mean`` do not use, is left out.
    """

    def __init__(self, truth: Truth, operator: Degradation) -> None:
        lattice = truth.target(0).field(truth.values[:1])
        fitted, _ = fitted_to(operator, lattice)
        rows, columns = (
            np.isin(all_of, fitted[name].values)
            for all_of, name in ((truth.latitude, "latitude"), (truth.longitude, "longitude"))
        )
        self.truth = replace(
            truth,
            values=truth.values[:, rows][:, :, columns],
            latitude=truth.latitude[rows],
            longitude=truth.longitude[columns],
        )
        self.operator = operator
        self._grid = operator.on(self.truth.latitude, self.truth.longitude)
        self._enlarge = BackProjection(), Bicubic()
        self._made: dict[int, tuple[Map, Map, Map]] = {}

    def __len__(self) -> int:
        return len(self.truth.hours)

    def whole(self, index: int) -> Enlargement:
        """Return the sample of one whole map."""
        if index not in self._made:
            self._made[index] = self._make(index)
        coarse, start, plain = self._made[index]
        return Enlargement(coarse, start, plain, self._grid.on_blocks(self.truth.values[index]))

    def _make(self, index: int) -> tuple[Map, Map, Map]:
        grid, target = self._grid, self.truth.target(index)
        values = grid.each(self.truth.values[index : index + 1])
        field = Target(target.time, grid.latitude, grid.longitude, "point").field(values)
        start, plain = (
            grid.on_blocks(method(Coarse(field, self.operator), target).values[0])
            for method in self._enlarge
        )
        return values[0], start, plain

    def draw(self, rng: np.random.Generator, settings: DataSettings) -> Enlargement:
        """Return one sample: any hour, window, orientation and amplitude."""
        whole = self.whole(int(rng.integers(len(self))))
        sample = whole.cut(_window(rng, whole.coarse.shape, settings.crop // FACTOR))
        return sample.varied(rng, settings.amplitude)


def _window(rng: np.random.Generator, shape: tuple[int, ...], edge: int) -> tuple[slice, slice]:
    rows, columns = (min(edge, size) for size in shape)
    top = int(rng.integers(shape[0] - rows + 1))
    left = int(rng.integers(shape[1] - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)


def stacked(maps: Iterator[Map] | Sequence[Map], device: torch.device) -> Tensor:
    """Return maps, or flows (row, column, 2), as a tensor (map, channel, row, column)."""
    array = np.stack([np.atleast_3d(one) for one in maps])
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    return tensor.to(device)
