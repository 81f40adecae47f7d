"""The questions beyond the scores: what each may look at, and how all of them are found.

A question is a module or folder of this package that declares a `QUESTION`. Nothing else names it:
its tables are written as CSV, and its section stands on the page, because the module is there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

import deepcams_eval.evidence as package
from deepcams_eval.core.field import Product
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs
from deepcams_eval.errors import NoDataError
from deepcams_eval.evidence.references import Grid
from deepcams_eval.pair.averages import average_pairs, one_a_station
from deepcams_eval.pair.colocate import Compute
from deepcams_eval.report.content import Content
from deepcams_eval.report.evidence import Evidence, Section
from deepcams_eval.report.wording import with_minuses

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Given:
    """What a question may look at.

    Attributes
    ----------
    pairs : Pairs
        Hourly, at least one row, with columns for the references.
    rows : mapping of str to ndarray of bool, shape (pairs,)
        The sample of each product that the report shows.
    years : mapping of str to collection of int
        As in `deepcams_eval.pair.samples.sample_rows`.
    baseline : str
        Product that differences are taken from.
    scores : pandas.DataFrame
        Rows of ``scores.csv`` of that sample; none where the scores are not those of hours.
    references : mapping of str to str
        Column of each interpolation of the baseline, by its name such as ``linear:cams``.
    grids : mapping of str to Grid
        Of every product; empty where added value is not asked for.
    providers : mapping of str to str
        Provider of each ``station_id``; "" or none where it is unknown.
    observations : Observations, optional
        After quality control, flagged rows included; None where they are not at hand, as with
        saved pairs, or not to be scored again.
    products : sequence of Product
        As colocated, with the observations.
    compute : callable, optional
        As in `deepcams_eval.pair.colocate.colocate`.
    seed, resamples : int
        Of the bootstrap.
    restricted : bool
        Whether months or stations were left out on purpose.
    """

    pairs: Pairs
    rows: Mapping[str, npt.NDArray[np.bool_]]
    years: Mapping[str, Collection[int]]
    baseline: str
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    references: Mapping[str, str] = field(default_factory=dict)
    grids: Mapping[str, Grid] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)
    observations: Observations | None = None
    products: Sequence[Product] = ()
    compute: Compute | None = None
    seed: int = 0
    resamples: int = 1000
    restricted: bool = False

    def rng(self, *stream: int) -> np.random.Generator:
        """Return a generator of its own for a question, that of the scores without `stream`."""
        return np.random.default_rng([self.seed, *stream] if stream else self.seed)

    @cached_property
    def daily(self) -> tuple[Pairs, Mapping[str, int]] | None:
        """Daily means of the common sample, one station each, and what was counted for them.

        None where no day of any station is complete.
        """
        try:
            made = average_pairs(self.pairs, self.years, "day")
        except NoDataError:
            return None
        return one_a_station(made.pairs), made.counts


@dataclass(frozen=True)
class Question:
    """One question, its answer in tables, and the section that shows it.

    Attributes
    ----------
    name : str
        Identifies it.
    place : int
        Order on the page.
    answer : callable
        Returns the tables, each written as ``<key>.csv``, or None where it cannot be asked.
    section : callable
        Makes the section of the page out of these tables and the rest of the report; None where
        there is nothing to show. Negative numbers and the mark of synthetic data are seen to.
    notes : callable, optional
        Makes sentences for the notes of the run out of these tables.
    """

    name: str
    place: int
    answer: Callable[[Given], Frames | None]
    section: Callable[[Frames, Content], Section | None]
    notes: Callable[[Frames], Sequence[str]] = lambda _frames: ()


def questions() -> dict[str, Question]:
    """Return every question by name, in the order of the page."""
    names = [one.name for one in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    found: list[Question] = [one.QUESTION for one in modules if hasattr(one, "QUESTION")]
    return {one.name: one for one in sorted(found, key=lambda one: one.place)}


def answers(given: Given) -> tuple[Evidence, ...]:
    """Return the tables of every question that can be asked of what is given."""
    found = {name: one.answer(given) for name, one in questions().items()}
    return tuple(Evidence(name, frames) for name, frames in found.items() if frames is not None)


def notes(found: Sequence[Evidence]) -> list[str]:
    """Return what some evidence adds to the notes of its run."""
    known = questions()
    return [note for one in found for note in known[one.name].notes(one.frames)]


def sections(content: Content) -> list[Section]:
    """Return the sections of the page that show the evidence of a report."""
    known = questions()
    made = [known[one.name].section(one.frames, content) for one in content.answers]
    return [
        replace(
            one,
            sentences=tuple(map(with_minuses, one.sentences)),
            tables=tuple(replace(table, synthetic=content.synthetic) for table in one.tables),
        )
        for one in made
        if one is not None
    ]
