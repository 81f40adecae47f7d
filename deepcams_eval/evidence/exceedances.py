"""Does it find the days above a limit: contingency tables, POD, FAR and CSI of daily means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, divide
from deepcams_eval.core.pairs import codes_of
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report import style
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure, plural
from deepcams_eval.score.intervals import Clusters, bounds
from deepcams_eval.score.metrics import Scale

LIMITS: tuple[tuple[float, str], ...] = (
    (15.0, "WHO 2021 guideline"),
    (25.0, "WHO 2021 interim target 4; EU limit from 2030"),
    (35.0, "US standard"),
    (50.0, "WHO 2021 interim target 2"),
)
"""Limits of a daily mean of PM2.5, µg m⁻³, and whose they are."""

COUNTS = ("hits", "misses", "false_alarms", "correct_negatives")
"""The cells of a contingency table, in order."""

COLUMNS = (
    *("product", "limit", "whose", "n_days", "stations", *COUNTS),
    *parts.with_ends("hit_rate"),
    *parts.with_ends("false_alarm_ratio"),
    *parts.with_ends("false_alarm_rate"),
    *("frequency_bias", "csi"),
)
_REMARKS = (
    "Daily means are those of the section on FAIRMODE. A probability of detection (POD) says "
    "little without the false alarm ratio (FAR) beside it: a product that is always too high finds "
    "every exceedance.",
)


_SCALES: Mapping[str, Scale] = {
    "hit_rate": "logit",
    "false_alarm_ratio": "logit",
    "false_alarm_rate": "logit",
    "frequency_bias": "log",
    "csi": "logit",
}


def answer(given: Given) -> Frames:
    """Return the contingency tables of observed and estimated exceedances of each limit.

    With a hits (both above the limit), b false alarms (only M), c misses (only O) and d correct
    negatives: probability of detection (POD, ``hit_rate``) a/(a+c), false alarm ratio (FAR)
    b/(a+b), false alarm rate (probability of false detection, POFD) b/(b+d), frequency bias
    (a+b)/(a+c), critical success index (CSI) a/(a+b+c) (Wilks 2011, Statistical Methods in the
    Atmospheric Sciences, section 8.2).

    Returns
    -------
    mapping of str to pandas.DataFrame
        ``exceedances``: one row a product × limit, of the columns `COLUMNS`, from daily means; a
        day exceeds where it is above the limit. A ratio without a case is NaN. The 95 % intervals
        leave out stations, or boxes of them (`Clusters`); NaN with few stations.
        Empty where no day of any station is complete.
    """
    if given.daily is None:
        return {"exceedances": pd.DataFrame()}
    daily, _ = given.daily
    table = daily.table
    station, names = codes_of(table["station_id"])
    observed = table["observed"].to_numpy()
    clusters = Clusters.of(daily)
    rows = []
    for product in daily.products:
        estimate = table[product].to_numpy().astype(np.float64)
        there = np.isfinite(estimate)
        behind = len(np.unique(station[there]))
        for limit, whose in LIMITS:
            above_o, above_m = observed[there] > limit, estimate[there] > limit
            # Hits, misses, false alarms and correct negatives, as in `COUNTS`.
            cell = np.where(above_o, ~above_m, np.where(above_m, 2, 3))
            code = len(COUNTS) * station[there].astype(np.int64) + cell
            counts = np.bincount(code, minlength=len(COUNTS) * len(names))
            by_station = counts.reshape(-1, len(COUNTS)).astype(np.float64)
            total = by_station.sum(axis=0)
            row = {"product": product, "limit": limit, "whose": whose}
            row |= {"n_days": int(total.sum()), "stations": behind}
            row |= {name: int(one) for name, one in zip(COUNTS, total, strict=True)}
            row |= {name: float(value[0]) for name, value in ratios(total[None]).items()}
            for name, found in clusters.of_sums(
                _columns, by_station, by_station.sum(axis=1), _SCALES
            ).items():
                low, high = found.interval()
                row |= bounds(name, (float(low[0]), float(high[0])))
            rows.append(row)
    return {"exceedances": pd.DataFrame(rows)[list(COLUMNS)]}


def _columns(counts: Array) -> dict[str, Array]:
    return {name: values[:, None] for name, values in ratios(counts).items()}


def ratios(counts: Array) -> dict[str, Array]:
    """Return the ratios of contingency tables.

    Parameters
    ----------
    counts : ndarray, shape (tables, 4)
        Hits, misses, false alarms and correct negatives.

    Returns
    -------
    dict of str to ndarray, shape (tables,)
        NaN where there is no case to divide by.
    """
    hits, misses, false_alarms, negatives = counts.T
    return {
        "hit_rate": divide(hits, hits + misses),
        "false_alarm_ratio": divide(false_alarms, hits + false_alarms),
        "false_alarm_rate": divide(false_alarms, false_alarms + negatives),
        "frequency_bias": divide(hits + false_alarms, hits + misses),
        "csi": divide(hits, hits + misses + false_alarms),
    }


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page on exceedances."""
    table = frames["exceedances"]
    return Section(
        name="exceedances",
        label="Exceedances",
        title="Does it find the days above a limit?",
        sentences=tuple(
            _sentence(row) for row in records(table[table["limit"] == table["limit"].min()])
        )
        if len(table)
        else ("No day of any station is complete, so nothing is said on days above a limit.",),
        remarks=_REMARKS,
        tables=(_table(table),) if len(table) else (),
        drawings=(_draw(table, content),) if len(table) else (),
    )


def _sentence(row: Mapping[str, Any]) -> str:
    above, announced = row["hits"] + row["misses"], row["hits"] + row["false_alarms"]
    limit = f"{row['limit']:g} {UNIT} ({row['whose']})"
    if not above:
        return f"{row['product']}: no day of any station is above {limit}."
    found = (
        f"{row['product']} finds {row['hits']:,} of {plural(above, 'station day')} above {limit}"
    )
    if not announced:
        return f"{found}, and puts no other there."
    return (
        f"{found}, POD {row['hit_rate']:.0%}; {row['false_alarms']:,} of the {announced:,} that "
        f"it puts there are false alarms, FAR {row['false_alarm_ratio']:.0%}."
    )


def _table(table: pd.DataFrame) -> Table:
    return Table(
        "exceedances",
        "Days above a limit: contingency table and scores",
        (
            parts.PRODUCT,
            Column("limit", "Limit", UNIT, 1),
            Column("whose", "Whose"),
            Column("n_days", "Station days", decimals=0),
            Column("hits", "Hits", decimals=0),
            Column("misses", "Misses", decimals=0),
            Column("false_alarms", "False alarms", decimals=0),
            Column("hit_rate", "POD", "", 3, True),
            Column("false_alarm_ratio", "FAR", "", 3, True),
            Column("frequency_bias", "Frequency bias", decimals=3),
            Column("csi", "CSI", decimals=3),
        ),
        table,
        notes=(
            "POD: probability of detection, the share of the days above the limit at the station "
            "that the product finds. FAR: false alarm ratio, the share of the days above the limit "
            "in the product on which the station was not. CSI: critical success index, hits over "
            "hits, misses and false alarms. Intervals leave out stations.",
        ),
    )


def _draw(table: pd.DataFrame, content: Content) -> style.Drawing:
    looks = style.looks(content.products)
    products = parts.unique(table["product"])
    limits = sorted(set(table["limit"]))
    figure = style.new_figure(parts.WIDTH, 3.1)
    grid = figure.subplots(1, 2, sharex=True)
    panels = (
        ("hit_rate", "Probability of detection (POD)"),
        ("false_alarm_ratio", "False alarm ratio (FAR)"),
    )
    for axes, (key, label) in zip(grid, panels, strict=True):
        for shift, product in zip(style.spread(len(products), 0.15), products, strict=True):
            mine = table[table["product"] == product].set_index("limit").loc[limits]
            look = looks[product]
            x = np.arange(len(limits)) + shift
            axes.plot(
                x, mine[key], color=look.colour, marker=look.marker, markersize=4, linestyle="",
                label=escape_figure(product),
            )  # fmt: skip
            axes.vlines(x, mine[f"{key}_lo"], mine[f"{key}_hi"], color=look.colour, linewidth=1.2)
        axes.set_xticks(range(len(limits)), [f"{one:g}" for one in limits])
        axes.set_ylim(0, 1)
        style.dress(axes, x=f"Limit of the daily mean ({UNIT})", y=label)
    grid[0].legend(fontsize=style.SMALL, frameon=False)
    return parts.finished(
        figure,
        content,
        "exceedances",
        title="Days above a limit: POD and FAR of daily means",
        note="Bars: 95 % intervals from leaving out stations.",
        alternative="POD and FAR of each product by limit; the numbers are in the table of days "
        "above a limit.",
    )


QUESTION = Question("exceedances", 50, answer, section)
