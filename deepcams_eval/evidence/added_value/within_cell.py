"""Structure within a cell of the parent, of which the parent itself knows nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, divide
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.sample import Sample, paired
from deepcams_eval.report import style
from deepcams_eval.report.content import Content
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.score.intervals import estimates
from deepcams_eval.score.metrics import METRICS, Metric
from deepcams_eval.score.moments import Moments

MIN_PLACES = 3
"""Distinct cells of the fine product with a station that a cell of the parent needs at an hour."""

MIN_CELLS = 6
"""Cells of the parent below which nothing is said: that all of 6 lean one way by chance alone has
a probability of 2⁻⁶ < 2.5 %."""

_HOURS = ("all", "analysis", "interpolated")
_STILL, _MOVING = "static", "in time"
_WITH_INTERVAL = ("variance_ratio", "r")
COLUMNS = (
    *("product", "reference", "hours", "part", "cells", "cell_hours", "stations", "n"),
    *("variance_observed", "variance_product", "variance_reference"),
    *(column for name in _WITH_INTERVAL for column in parts.with_ends(name)),
    *parts.with_chances("d_r"),
    *("reference_variance_ratio", "reference_r"),
)
"""The columns of ``within_cell.csv``."""

_REFERENCE_DOT: Mapping[str, Any] = {
    "marker": "D",
    "markersize": 4,
    "markerfacecolor": "none",
    "markeredgecolor": style.INK,
    "markeredgewidth": 0.8,
    "linestyle": "",
    "zorder": 5,
}


def within_cells(sample: Sample) -> pd.DataFrame:
    """Return how the product varies within the cells of its parent, beside the stations there.

    An hour counts in a cell of the parent where stations stand in at least `MIN_PLACES` distinct
    cells of the product; stations in the same one are averaged. With o', m' the departures of
    observation and product from their means over the places of that cell and hour, k places:
    variance = Σ m'² / Σ (k − 1), ``variance_ratio`` = Σ m'² / Σ o'², and
    r = Σ o'm' / √(Σ o'² Σ m'²), pooled over cells and hours. The variance of the stations holds
    their errors of measurement and what lies below the product's cells, so a ratio of 1 is not
    to be reached by right structure alone. ``d_r`` is r less that of the reference on the same
    places and hours. Each departure is the sum of its mean over the hours of a place, ``static``,
    and of the rest, ``in time``; both are scored by themselves as well.

    Parameters
    ----------
    sample : Sample
        Pairs with references.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, one row a product × hours (all, analysis, interpolated), and one more for
        each part (static, in time) of all hours. Variances in
        (µg m⁻³)². The 95 % intervals leave out cells of the parent. With fewer than `MIN_CELLS`
        cells all but the counts is NaN.
    """
    lines = []
    for product in sample.fine:
        reference, names = sample.best_reference(product)
        rows = _rows(sample, product, names)
        for hours in _HOURS:
            chosen = rows if hours == "all" else rows[rows["analysis"] == (hours == "analysis")]
            for part in ("all", _STILL, _MOVING) if hours == "all" else ("all",):
                line = {"product": product, "reference": reference, "hours": hours, "part": part}
                lines.append({**line, **_numbers(chosen, names, part)})
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _rows(sample: Sample, product: str, names: list[str]) -> pd.DataFrame:
    """Return the pairs that count, with their cell of the parent, from 0, and of the product."""
    coarse, fine = sample.cells(sample.parent), sample.cells(product)
    places = pd.DataFrame({"coarse": coarse, "fine": fine})[(coarse >= 0) & (fine >= 0)]
    enough = places.groupby("coarse")["fine"].nunique() >= MIN_PLACES
    # Few cells have so many stations, so that all that follows is on few pairs.
    rows = sample.has(*names) & np.isin(coarse, enough.index[enough])[sample.station]
    station, hour = sample.station[rows], sample.hour[rows].astype(np.int64)
    table = pd.DataFrame(
        {
            "coarse": coarse[station],
            "cell_hour": coarse[station] * (hour.max(initial=0) + 1) + hour,
            "place": fine[station],
            "station": station,
            "analysis": sample.analysis()[rows],
            "observed": sample.observed[rows],
            **{name: sample.values(name)[rows].astype(np.float64) for name in names},
        }
    )
    count = table.groupby("cell_hour")["place"].transform("nunique")
    table = table[count >= MIN_PLACES]
    return table.assign(cell=pd.factorize(table["coarse"], sort=True)[0])


def _numbers(rows: pd.DataFrame, names: list[str], part: str) -> dict[str, float]:
    """Return counts and, with enough cells, variances and correlations of some pairs."""
    cells = rows["cell"].nunique()
    found: dict[str, float] = {"cells": cells, "cell_hours": rows["cell_hour"].nunique()}
    found |= {"stations": rows["station"].nunique(), "n": len(rows)}
    if cells < MIN_CELLS:
        return found
    values = ["observed", *names]
    places = rows.groupby(["cell_hour", "place"])[[*values, "cell"]].mean()
    by_hour = places.groupby("cell_hour")
    away = places[values] - by_hour[values].transform("mean")
    if part != "all":
        still = away.groupby("place").transform("mean")
        away = still if part == _STILL else away - still
    cell = places["cell"].to_numpy().astype(np.intp)
    freedom = float(len(places) - by_hour.ngroups)
    sums = [
        Moments.of(away["observed"], away[name], cell, int(cell.max()) + 1).reshape(-1, 1)
        for name in names
    ]
    found["variance_observed"] = float(sums[0].ss_o.sum() / freedom)
    for of, one in zip(("product", "reference"), sums, strict=False):
        found[f"variance_{of}"] = float(one.ss_m.sum() / freedom)
    made = paired([estimates(one, _SCORES) for one in sums], "r")
    return found | {name: float(value[0]) for name, value in made.items()}


def variance_ratio(sums: Moments) -> Array:
    """Return Σ m'² / Σ o'² of departures; NaN where the stations do not vary."""
    return divide(sums.ss_m, sums.ss_o)


_SCORES = {
    "variance_ratio": Metric(
        "variance_ratio",
        "Ratio",
        variance_ratio,
        ("ss_m", "ss_o"),
        "Σ m'² / Σ o'² of departures from the mean of a cell and hour",
        scale="log",
    ),
    "r": METRICS["r"],
}


def table(frame: pd.DataFrame) -> Table:
    """Return these rows as a reader sees them."""
    return Table(
        "within_cell",
        "Within cells of the coarse product",
        (
            *parts.NAMED,
            Column("hours", "Hours"),
            Column("part", "Part"),
            Column("cells", "Cells", decimals=0),
            Column("cell_hours", "Hours in them", decimals=0),
            parts.STATIONS,
            Column("variance_observed", "Variance of stations", "µg² m⁻⁶", 2),
            Column("variance_product", "of product", "µg² m⁻⁶", 2),
            Column("variance_ratio", "Ratio", interval=True, decimals=3),
            Column("r", "R", interval=True, decimals=3),
            Column("reference_r", "R of reference", decimals=3),
            Column("d_r", "ΔR", interval=True, signed=True, decimals=3),
        ),
        frame,
        notes=(
            "Departures from the mean of a cell and hour with stations in at least 3 cells of the "
            "product; cells are left out in turn, and fewer than 6 give no number.",
        ),
    )


def draw(table: pd.DataFrame, content: Content) -> style.Drawing:
    """Return the figure of these rows."""
    products = parts.unique(table["product"])
    lines = [(product, hours) for product in products for hours in _HOURS]
    by_line = table[table["part"] == "all"].set_index(["product", "hours"])
    looks = style.looks(products)
    figure = style.new_figure(parts.WIDTH, 1.5 + 0.26 * len(lines))
    grid = figure.subplots(1, 2, sharey=True)
    panels = (("variance_ratio", "Variance over that of the stations"), ("r", "R of departures"))
    for axes, (key, label) in zip(grid, panels, strict=True):
        for place, line in enumerate(lines):
            parts.bar(axes, by_line.loc[line], parts.with_ends(key), place, looks[line[0]])
            axes.plot(by_line.loc[line, f"reference_{key}"], place, **_REFERENCE_DOT)
        axes.axvline(1.0 if key == "variance_ratio" else 0.0, color=style.GREY, linewidth=0.8)
        style.dress(axes, x=label)
    parts.label_lines(grid[0], [f"{product}, {hours}" for product, hours in lines])
    cells, hours = (int(table[name].max()) for name in ("cells", "cell_hours"))
    return parts.finished(
        figure,
        content,
        "within_cell",
        title="Within the cells of the coarse product",
        note=(
            f"Up to {cells} cells and {hours:,} hours in them, with stations in at least 3 cells "
            "of the product. Bars: 95 % intervals from leaving out cells. Open diamonds: the best "
            "interpolation, on the same places and hours."
        ),
        alternative="Ratio of variances and correlation within coarse cells; the numbers are in "
        "the table of the same name.",
    )
