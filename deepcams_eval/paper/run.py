"""Everything that the paper shows, from a folder of data: both roads and the maps of CAMS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.run import SimulationRun, simulate
from deepcams_eval.core.field import Product, stamp_of
from deepcams_eval.downscale import Task, bicubic_nodes, hourly_linear
from deepcams_eval.errors import InputError, NoDataError
from deepcams_eval.evidence.run import InsituRun
from deepcams_eval.options import InsituOptions, PaperOptions, SimulationOptions
from deepcams_eval.pair.colocate import Compute
from deepcams_eval.paper import plan, sequences, series
from deepcams_eval.paper.annual import AnnualMaps, MeanMap, mean_reader
from deepcams_eval.paper.blocks import read_once
from deepcams_eval.paper.sequences import MapSequence
from deepcams_eval.paper.series import PointSeries
from deepcams_eval.read.layout import DataFolder
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_eval.validation import insitu

Progress = Callable[[str, int, int], None]

COARSE, FINE, TRUTH = "cams", "deepcams", "geoscf"
"""Folders of the standard layout, in the part that each has in the paper."""

TASKS: tuple[Task, ...] = ("temporal", "spatial")
"""Those of Tables 2 and 3."""

CASES = {"temporal": 3, "spatial": 4}
"""The figure that shows the case of a task."""

_DERIVED = "linear-bicubic"
_IN_SITU, _SIMULATED, _MAPPED = (
    "Table 1 and Figs. 1 and 6",
    "Tables 2 and 3 and Figs. 3 and 4",
    "Figs. 5, 7 and 8",
)


@dataclass(frozen=True, eq=False)
class Maps:
    """The data of Figs. 5, 7 and 8; None or empty is a part whose data are absent.

    ``products`` are those whose maps these are, coarse first; the fine one is left out where it is
    made of the other.
    """

    sequences: tuple[MapSequence, ...] = ()
    series: tuple[PointSeries, ...] = ()
    annual: AnnualMaps | None = None
    products: tuple[Product, ...] = ()

    def substitutes(self) -> list[str]:
        """Return what takes the place of the paper's dates and points, one sentence each."""
        rules = [("5", one.rule) for one in self.sequences]
        rules += dict.fromkeys(("7", one.place.rule) for one in self.series)
        return [f"Fig. {n}: {rule}" for n, rule in rules if rule.startswith(plan.IN_PLACE)]

    @classmethod
    def of(cls, settings: PaperOptions, data: DataFolder, notes: list[str]) -> Maps:
        """Compute what `data` allow; what they do not is added to `notes`."""
        spec = _spec(data, COARSE)
        if spec is None:
            notes.append(f"{_MAPPED} are left out: the data folder has no {COARSE}.")
            return cls()
        try:
            coarse = open_product(spec, strict=settings.strict)
            given = _spec(data, FINE)
            fine = None if given is None else open_product(given, strict=settings.strict)
        except NoDataError as error:
            notes.append(f"{_MAPPED} are left out: {error}.")
            return cls()
        if stamp_of(coarse.field) == "mean":
            raise InputError(
                f"{COARSE} holds means, and a sequence of maps is one of instants",
                path=spec.path,
                hint="say stamp=point if they are",
            )
        series, annual = _years(coarse.field, fine, settings, notes)
        return cls(
            sequences=_sequences(coarse.field, fine, settings, notes),
            series=series,
            annual=annual,
            products=(coarse,) if fine is None else (coarse, fine),
        )


@dataclass(frozen=True, eq=False)
class PaperResult:
    """Everything that `paper` found; None is a part whose data are absent.

    ``notes`` say what is left out and what was assumed, one sentence each.
    """

    insitu: InsituRun | None
    simulation: SimulationRun | None
    maps: Maps
    notes: list[str]


def paper(
    settings: PaperOptions,
    data: DataFolder,
    store: MonthStore,
    *,
    resume: bool = False,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> PaperResult:
    """Compute all tables and figures of the paper that the data allow.

    Parameters
    ----------
    settings : PaperOptions
        What is made.
    data : DataFolder
        What the data folder holds.
    store : MonthStore
        Where the months of the simulation that are done are kept.
    resume : bool
        Whether those that are there already are taken as they are.
    compute : callable, optional
        Runs dask tasks; by default in this process.
    progress : callable, optional
        Called with the name of the step, the units done and the units in all.

    Raises
    ------
    NoDataError
        If the data allow none of them.
    InputError
        If an input cannot be used.
    """
    notes: list[str] = []
    shared: dict[str, Any] = {
        "seed": settings.seed,
        "strict": settings.strict,
        "compute": compute,
        "progress": progress,
    }
    validated = _insitu(settings, data, notes, shared)
    tell = progress or (lambda _step, _done, _total: None)
    tell("maps", 0, 1)
    maps = Maps.of(settings, data, notes)
    tell("maps", 1, 1)
    notes += maps.substitutes()
    simulated = _simulation(settings, data, store, resume, notes, shared)
    if not (validated or simulated or maps.sequences or maps.series or maps.annual):
        raise NoDataError(
            f"the data allow no table and no figure: {' '.join(notes)}",
            hint="see the README for the layout, or try --data demo",
        )
    return PaperResult(validated, simulated, maps, notes)


def _spec(data: DataFolder, name: str) -> ProductSpec | None:
    return next((spec for spec in data.products if spec.name == name), None)


def _insitu(
    settings: PaperOptions,
    data: DataFolder,
    notes: list[str],
    shared: Mapping[str, Any],
) -> InsituRun | None:
    coarse, fine = _spec(data, COARSE), _spec(data, FINE)
    products = tuple(spec for spec in (coarse, fine) if spec is not None)
    if data.observations is None or not products:
        lacking = "openaq" if data.observations is None else f"{COARSE} or {FINE}"
        notes.append(f"{_IN_SITU} are left out: the data folder has no {lacking}.")
        return None
    if fine is None:
        products = (*products, ProductSpec(_DERIVED, f"linear+bicubic:{COARSE}"))
        notes.append(
            f"There is no {FINE} product; {_DERIVED} (linear in time, bicubic in space, of "
            f"{COARSE}) stands beside {COARSE}. deepcams-models produce makes one with the "
            "networks."
        )
    chosen = InsituOptions(
        settings.years,
        observations=data.observations,
        products=products,
        stations=data.stations,
        **shared,
    )
    try:
        return insitu(chosen)
    except NoDataError as error:
        notes.append(f"{_IN_SITU} are left out: {error}.")
        return None


def _simulation(
    settings: PaperOptions,
    data: DataFolder,
    store: MonthStore,
    resume: bool,
    notes: list[str],
    shared: Mapping[str, Any],
) -> SimulationRun | None:
    truth = _spec(data, TRUTH)
    if truth is None:
        notes.append(f"{_SIMULATED} are left out: the data folder has no {TRUTH}.")
        return None
    chosen = SimulationOptions(
        settings.year,
        truth=truth,
        task=TASKS,
        methods=settings.methods,
        workers=settings.workers,
        **shared,
    )
    try:
        run = simulate(chosen, store, resume=resume)
    except NoDataError as error:
        notes.append(f"{_SIMULATED} are left out: {error}.")
        return None
    pictured = {case.task for case in run.cases}
    notes += [
        f"Fig. {number} is left out: it compares two methods of the {task} task."
        for task, number in CASES.items()
        if task in run.methods and task not in pictured
    ]
    return run


def _sequences(
    coarse: xr.DataArray, fine: Product | None, settings: PaperOptions, notes: list[str]
) -> tuple[MapSequence, ...]:
    years = tuple(sorted({*settings.years, settings.year}))
    try:
        chosen = sequences.choose_episodes(
            coarse, None if fine is None else fine.field["time"].values, years
        )
    except NoDataError as error:
        notes.append(f"Fig. 5 is left out: {error}.")
        return ()
    name, maker = _sequence_maker(coarse, fine)
    return tuple(
        sequences.map_sequence(episode, rule, coarse=(COARSE, coarse), fine=(name, maker))
        for episode, rule in chosen
    )


def _sequence_maker(
    coarse: xr.DataArray, fine: Product | None
) -> tuple[str, xr.DataArray | sequences.Finer]:
    """Return the fine product of Fig. 5, its name first."""
    if fine is not None:
        return FINE, fine.field
    network = sequences.network()
    if network is not None:
        return f"{sequences.NETWORKS} of {COARSE}", network
    return f"{_DERIVED} of {COARSE}", _derived(coarse)


def _derived(coarse: xr.DataArray) -> xr.DataArray:
    return bicubic_nodes(hourly_linear(coarse, frame_growth=9))


def _years(
    coarse: xr.DataArray, fine: Product | None, settings: PaperOptions, notes: list[str]
) -> tuple[tuple[PointSeries, ...], AnnualMaps | None]:
    """Return series and annual means; each product is read once for both."""
    name, field = (
        (FINE, fine.field) if fine is not None else (f"{_DERIVED} of {COARSE}", _derived(coarse))
    )
    coarse_times, fine_times = coarse["time"].values, field["time"].values
    years = plan.series_years(coarse_times, fine_times)
    if not years:
        notes.append(f"Figs. 7 and 8 are left out: {COARSE} and {name} share no year.")
        return (), None
    if years != plan.SERIES_YEARS:
        asked, found = (" and ".join(map(str, some)) for some in (plan.SERIES_YEARS, years))
        notes.append(f"Fig. 7 shows {found}, as the data lack one of the paper's years {asked}.")
    places = series.choose_places(coarse, field, years)
    shared = set(plan.years_of(coarse_times)) & set(plan.years_of(fine_times))
    year = max(shared & set(settings.years) or shared)
    days = plan.days_of_both(coarse_times, fine_times, year)
    cells = [series.cell_reader(one, places, years) for one in (coarse, field)]
    means = [mean_reader(one, days) for one in (coarse, field)]
    for one, cell, mean in zip((coarse, field), cells, means, strict=True):
        read_once(one, [cell, mean])
    found_series = series.point_series(
        places, years, coarse=(COARSE, coarse, cells[0]), fine=(name, field, cells[1])
    )
    annual = AnnualMaps(
        year,
        len(days),
        coarse=MeanMap.of(COARSE, coarse, means[0]),
        fine=MeanMap.of(name, field, means[1]),
    )
    return tuple(found_series), annual
