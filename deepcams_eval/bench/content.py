"""What the report of a simulation is made from; every number was computed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.report.content import records
from deepcams_eval.score.metrics import HEADLINE

FloatArray = npt.NDArray[np.floating[Any]]

TASK_NAMES: Mapping[str, str] = {
    "temporal": "Downscaling in time",
    "spatial": "Downscaling in space",
    "joint": "Downscaling in time and space",
}
"""Every task in the order of the report, in words."""

METRICS = HEADLINE
ALL_HOURS = "all"
AVERAGE = "average"

TILE_DEG = 15.0
"""Edge of the tiles of the map that are resampled where there are few days, about."""


@dataclass(frozen=True, eq=False)
class Case:
    """One hour at which two methods differ most, for a figure in the manner of Figs. 3 and 4.

    Attributes
    ----------
    task : str
        ``temporal``, ``spatial`` or ``joint``.
    time : numpy.datetime64
        Stamp of the hour.
    methods : tuple of str
        Baseline and challenger, in this order.
    truth : ndarray, shape (latitude, longitude)
        µg m⁻³.
    estimates : mapping of str to ndarray, shape (latitude, longitude)
        By method, both `methods` and any other that is shown; µg m⁻³.
    box : tuple of float
        West, south, east, north of the zoom, degrees.
    difference : float
        Mean absolute difference of the two methods in the box, µg m⁻³: the largest of all hours
        scored and of all boxes of that size.
    """

    task: str
    time: np.datetime64
    methods: tuple[str, str]
    truth: FloatArray
    estimates: Mapping[str, FloatArray]
    box: tuple[float, float, float, float]
    difference: float


@dataclass(frozen=True, eq=False)
class SimulationContent:
    """Everything that the report of `deepcams_eval.bench` shows.

    Attributes
    ----------
    year : int
        The year scored.
    degradation : str
        Name and meaning of the operator, such as ``imresize: antialiased bicubic (…)``; "" where
        nothing was degraded in space.
    weights : {"none", "area"}
        What tables and figures show.
    months : mapping of str to pandas.DataFrame
        By task the rows of ``temporal.csv``, ``spatial.csv`` and ``joint.csv``: ``month``
        ("2020-01" … and "average"), ``n``, a column ``<metric>_<method>`` for each of `METRICS`
        and, if there are any, ``published_<metric>_<method>``; ``joint`` has ``hours`` as well
        (all, kept, inserted). A month that was not scored has n = 0 and NaN.
    methods_of : mapping of str to tuple of str
        By task the methods, in the order of the tables.
    summary, skill, spectra, counts : pandas.DataFrame
        The rows of ``summary.csv``, ``skill.csv``, ``spectra.csv`` and ``counts.csv``; with
        their columns where there are no rows.
    available : pandas.DataFrame
        ``name, task, title, source, status``: every method known, with what it needs if it
        could not run.
    latitude, longitude : ndarray
        Of the maps, degrees, ascending.
    error_maps : mapping of (task, method) to ndarray, shape (latitude, longitude)
        Root-mean-square error of each cell over the samples, µg m⁻³; NaN where there is none.
    cases : sequence of Case
        At most one a task.
    notes : sequence of str
        Assumptions and omissions that a reader must know.
    run : mapping
        The content of ``run.json``. ``inputs`` holds ``path``, ``bytes`` and ``sha256`` of each
        file; ``truth`` holds the ``kind`` that decides whom the data are owed to.
    synthetic : bool
        Whether the data are generated; then every table, figure and the page say so.
    """

    year: int
    degradation: str
    weights: str
    months: Mapping[str, pd.DataFrame]
    methods_of: Mapping[str, tuple[str, ...]]
    summary: pd.DataFrame
    skill: pd.DataFrame
    spectra: pd.DataFrame
    counts: pd.DataFrame
    available: pd.DataFrame
    latitude: FloatArray
    longitude: FloatArray
    error_maps: Mapping[tuple[str, str], FloatArray]
    cases: Sequence[Case]
    notes: Sequence[str]
    run: Mapping[str, Any]
    synthetic: bool

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that were scored, in the order of `TASK_NAMES`."""
        return tuple(task for task in TASK_NAMES if task in self.months and self.methods_of[task])

    @property
    def truth_kind(self) -> str:
        """Kind of the truth's source, such as ``geoscf``; "" where the run does not say."""
        truth = self.run.get("truth")
        return str(truth.get("kind", "")) if isinstance(truth, Mapping) else ""

    def average(self, task: str) -> Mapping[str, Any]:
        """Return the row of the average over the months, all hours."""
        rows = all_hours(self.months[task])
        return records(rows[rows["month"] == AVERAGE])[0]

    def best(self, task: str, metric: str = "rmse") -> str | None:
        """Return the method with the lowest average of an error; None if none is defined."""
        row = self.average(task)
        known = {
            method: float(row[f"{metric}_{method}"])
            for method in self.methods_of[task]
            if np.isfinite(row[f"{metric}_{method}"])
        }
        return min(known, key=known.__getitem__) if known else None

    def skill_of(self, task: str) -> pd.DataFrame:
        """Return the rows of `skill` for a task, weighted as the tables."""
        rows = self.skill
        return rows[(rows["task"] == task) & (rows["weights"] == self.weights)]

    def baselines(self, task: str) -> tuple[str, ...]:
        """Return what the skill of a task is measured against, in the order of `skill`."""
        return tuple(dict.fromkeys(self.skill_of(task)["baseline"]))

    def compared(self, task: str) -> tuple[str, str] | None:
        """Return the baseline and the challenger that figures show.

        They are those of the task's case; without one, the first baseline and the best other
        method. None if there are no two methods.
        """
        for case in self.cases:
            if case.task == task:
                return case.methods
        methods = self.methods_of[task]
        baseline = next(iter(self.baselines(task)), methods[0])
        best = self.best(task)
        others = [method for method in methods if method != baseline]
        if not others:
            return None
        return baseline, best if best in others else others[0]


def all_hours(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows over all hours; all rows if the table does not tell hours apart."""
    if "hours" not in table or ALL_HOURS not in set(table["hours"]):
        return table
    return table[table["hours"] == ALL_HOURS]
