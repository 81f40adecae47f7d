"""Paired differences of scores between a fine product and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from deepcams_eval.core.arrays import Array, BoolArray, IntArray
from deepcams_eval.core.sphere import distance_km, neighbours
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.sample import Sample
from deepcams_eval.report import style
from deepcams_eval.report.content import Content
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure
from deepcams_eval.score.metrics import HEADLINE_METRICS
from deepcams_eval.score.moments import Moments

NEIGHBOUR_KM = 50.0
"""Stations within this distance of a station make its density."""

_NEIGHBOURS = ((0, "0"), (1, "1-2"), (3, "3-9"), (10, "10 or more"))
_CONCENTRATION = ((-np.inf, "< 10"), (10, "10-25"), (25, "25-50"), (50, ">= 50"))
_DISTANCE_KM = ((0, "< 15 km"), (15, "15-30 km"), (30, ">= 30 km"))
_HOURS = ("analysis", "interpolated")

STRATA: Mapping[str, tuple[str, ...]] = {
    "all": ("all",),
    "hours": _HOURS,
    "neighbours": tuple(label for _, label in _NEIGHBOURS),
    "observed": tuple(label for _, label in _CONCENTRATION),
    "level": tuple(label for _, label in _CONCENTRATION),
    "centre": tuple(label for _, label in _DISTANCE_KM),
}
"""The values of each stratum in order."""

COLUMNS = (
    *("product", "reference", "stratum", "value", "n", "stations", "days"),
    *(
        column
        for name in HEADLINE_METRICS
        for column in (name, f"reference_{name}", *parts.with_chances(f"d_{name}"))
    ),
)
"""The columns of ``added_value.csv``."""

_HEADINGS = {
    "all": "All pairs",
    "hours": "Hours",
    "neighbours": "Others within 50 km",
    "observed": f"Observed ({UNIT})",
    "level": f"Mean of both ({UNIT})",
    "centre": "From the cell's centre",
}


def compare(sample: Sample) -> pd.DataFrame:
    """Return the differences of each fine product from its parent and from each reference.

    Both are scored on the same pairs, those for which both have a value: with the parent these
    are the analysis hours, with a reference all hours. A difference is product − reference, and its
    95 % interval leaves out stations, or boxes of them (`Clusters`).

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, one row a product × reference × value of a stratum. ``stratum`` is

        - ``all``;
        - ``hours``: ``analysis`` (the parent has a value of its own) or ``interpolated``;
        - ``neighbours``: other stations of the run within 50 km;
        - ``observed``: class of the observed value, µg m⁻³;
        - ``level``: class of the mean of product and reference, µg m⁻³;
        - ``centre``: distance of the station from the centre of its cell of the parent.

        Errors are in µg m⁻³; NaN where undefined or, for an interval, with fewer than 5
        stations. ``d_<name>_p_low`` and ``d_<name>_p_high`` are the one-sided probabilities of a
        difference so low and so high were there none; none of them is for all rows together.
    """
    found = []
    for product, reference, column in sample.comparisons():
        rows = sample.has(product, column)
        if rows.any():
            one = _compare_one(sample, product, column, rows)
            found.append(one.assign(product=product, reference=reference))
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(found, ignore_index=True)[list(COLUMNS)]


def centre_distances(sample: Sample) -> Array:
    """Return the distance of each station from the centre of its cell of the parent, km.

    NaN for a station outside the parent's grid.
    """
    grid = sample.grids[sample.parent]
    cell = sample.cells(sample.parent)
    row, column = np.divmod(np.maximum(cell, 0), len(grid.longitude))
    distance = distance_km(
        sample.latitude, sample.longitude, grid.latitude[row], grid.longitude[column]
    )
    return np.where(cell >= 0, distance, np.nan)


def _compare_one(sample: Sample, product: str, column: str, rows: BoolArray) -> pd.DataFrame:
    station = sample.station[rows].astype(np.intp)
    observed = sample.observed[rows]
    ours, theirs = sample.values(product)[rows], sample.values(column)[rows]
    analysis = sample.analysis()[rows]
    classes = (
        np.where(analysis, 0, 1),
        _class_of(observed, _CONCENTRATION),
        _class_of((ours.astype(np.float64) + theirs) / 2, _CONCENTRATION),
    )
    shape = (len(_HOURS), len(_CONCENTRATION), len(_CONCENTRATION))
    joint = np.ravel_multi_index(classes, shape)
    size, n_stations = int(np.prod(shape)), len(sample.stations)
    sums = [
        Moments.of(observed, one, station * size + joint, n_stations * size).reshape(
            n_stations, size
        )
        for one in (ours, theirs)
    ]
    codes = _codes(sample, shape)
    pooled = [
        Moments.joined([_pool(one, codes[name], len(STRATA[name])) for name in STRATA])
        for one in sums
    ]
    table = pd.DataFrame(sample.clusters.differences(pooled[0], pooled[1], HEADLINE_METRICS))
    table["stratum"] = [name for name, labels in STRATA.items() for _ in labels]
    table["value"] = [label for labels in STRATA.values() for label in labels]
    day = sample.hour[rows] // 24
    table["days"] = np.concatenate(
        [_distinct_days(day, codes[name][station, joint], len(STRATA[name])) for name in STRATA]
    )
    return table[table["n"] > 0]


def _codes(sample: Sample, shape: tuple[int, ...]) -> dict[str, IntArray]:
    """Return the code of each stratum by station and column of the sums."""
    hours, observed, level = np.unravel_index(np.arange(np.prod(shape)), shape)
    near = _class_of(neighbours(sample.latitude, sample.longitude, NEIGHBOUR_KM), _NEIGHBOURS)
    # A station outside the parent's grid has no pair to be compared, so its class is of no matter.
    centre = _class_of(np.nan_to_num(centre_distances(sample)), _DISTANCE_KM)
    codes = {
        "all": np.zeros_like(hours),
        "hours": hours,
        "neighbours": near[:, None],
        "observed": observed,
        "level": level,
        "centre": centre[:, None],
    }
    size = len(near), len(hours)
    return {name: np.broadcast_to(code, size) for name, code in codes.items()}


def _pool(sums: Moments, code: IntArray, size: int) -> Moments:
    n_stations = len(sums.n)
    own = np.arange(n_stations)[:, None] * size + code
    return sums.pool(own, n_stations * size).reshape(n_stations, size)


def _distinct_days(day: IntArray, code: IntArray, size: int) -> IntArray:
    met = np.bincount(day * size + code, minlength=(int(day.max()) + 1) * size)
    return np.asarray((met.reshape(-1, size) > 0).sum(axis=0))


def _class_of(values: Any, classes: tuple[tuple[float, str], ...]) -> IntArray:
    """Return the number of the class, each beginning at its edge, that every value lies in."""
    edges = [edge for edge, _ in classes[1:]]
    return np.asarray(np.searchsorted(edges, values, side="right"))


def table(frame: pd.DataFrame) -> Table:
    """Return these rows as a reader sees them."""
    return Table(
        "added_value",
        "Differences from parent and interpolations, by stratum",
        (
            *parts.NAMED,
            Column("stratum", "Stratum"),
            Column("value", "Value"),
            parts.N,
            parts.STATIONS,
            Column("d_mae", "ΔMAE", UNIT, 2, True, signed=True),
            Column("d_rmse", "ΔRMSE", UNIT, 2, True, signed=True),
            Column("d_r", "ΔR", "", 3, True, signed=True),
        ),
        frame,
        notes=(
            "Product − reference on the pairs that both have. Strata: hours (analysis, "
            "interpolated); neighbours: other stations of the run within 50 km; observed: class of "
            f"the observed value, {UNIT}; level: of the mean of product and reference; centre: "
            "distance of the station from the centre of the cell of the coarse product.",
        ),
    )


def draw(table: pd.DataFrame, content: Content) -> style.Drawing:
    """Return the figure of these rows."""
    products = parts.unique(table["product"])
    references = parts.unique(table["reference"])
    looks = style.looks(references)
    rows = _stratum_rows(table)
    figure = style.new_figure(parts.WIDTH, 1.6 + 0.2 * len(rows))
    spec = figure.add_gridspec(2, len(products), height_ratios=(1, len(rows)))
    _legend(figure.add_subplot(spec[0, :]), looks)
    first = figure.add_subplot(spec[1, 0])
    grid = [
        first,
        *(
            figure.add_subplot(one, sharey=first)
            for one in (spec[1, n] for n in range(1, len(products)))
        ),
    ]
    for axes in grid[1:]:
        axes.tick_params(labelleft=False)
    for axes, product in zip(grid, products, strict=True):
        mine = table[table["product"] == product].set_index(["reference", "stratum", "value"])
        for shift, reference in zip(style.spread(len(references), 0.25), references, strict=True):
            for place, (stratum, value) in enumerate(rows):
                key = (reference, stratum, value)
                if value and key in mine.index:
                    parts.bar(
                        axes,
                        mine.loc[key],
                        parts.with_ends("d_mae"),
                        place + shift,
                        looks[reference],
                    )
        axes.axvline(0, color=style.GREY, linewidth=0.8, zorder=1)
        style.dress(axes, x=f"ΔMAE ({UNIT})")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_title(escape_figure(product), fontsize=style.TEXT, color=style.INK)
    names = [in_words(value) if value else _HEADINGS[stratum] for stratum, value in rows]
    parts.label_lines(grid[0], names)
    for label, (_, value) in zip(grid[0].get_yticklabels(), rows, strict=True):
        label.set_color("#6b6b6b" if value else style.INK)
    return parts.finished(
        figure,
        content,
        "added_value",
        title="Mean absolute error: product less reference, by stratum",
        note=(
            "Left of zero the product is better. Bars: 95 % intervals from leaving out stations, "
            "each by itself; classes with fewer than 5 stations have none and are not drawn."
        ),
        alternative="Differences of the mean absolute error with intervals; the numbers are in the "
        "table of differences by stratum.",
    )


def in_words(value: str) -> str:
    """Return the label of a class as a reader wants it: ``10–25``, ``≥ 50``, ``All pairs``."""
    if value == "all":
        return "All pairs"
    return value.replace("-", "–").replace(">=", "≥")


def _stratum_rows(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return stratum and value of each line of the figure; a heading has the value ""."""
    rows = []
    for stratum, values in STRATA.items():
        met = set(table.loc[table["stratum"] == stratum, "value"])
        if stratum != "all":
            rows.append((stratum, ""))
        rows += [(stratum, value) for value in values if value in met]
    return rows


def _legend(axes: Axes, looks: Mapping[str, style.Look]) -> None:
    """Say which reference each mark is a difference from, in axes that hold nothing else."""
    axes.set_axis_off()
    for name, look in looks.items():
        label = f"less {escape_figure(name)}"
        axes.plot(
            [], [], color=look.colour, linewidth=1.2, marker=look.marker, label=label, **parts.DOT
        )
    axes.legend(loc="center", ncols=len(looks), fontsize=style.SMALL + 0.5, frameon=False)
