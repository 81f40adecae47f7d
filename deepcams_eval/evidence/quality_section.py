"""The section on FAIRMODE, exceedances, spread, quantiles and cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from deepcams_eval.evidence.distributions import WEEKDAYS
from deepcams_eval.report import credit, style
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.report.section import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure, number, plural, with_minuses

_WIDTH = 7.2
_REMARKS = (
    "Daily means are UTC days of the common sample: observation and products are means over the "
    "same hours, and a day needs three quarters of them.",
    "The modelling quality indicator (MQI) is the RMSE over twice the uncertainty of the "
    "observations. A product meets the objective of FAIRMODE where nine of ten stations have an "
    "MQI of at most 1. That is a low bar: it asks whether an error could be one of measurement, "
    "not whether a product is better than another.",
    "A hit rate says little without the false alarms beside it: a product that is always too high "
    "finds every exceedance.",
)


def section(evidence: Evidence, content: Content) -> Section:
    """Return the section of the page that shows the evidence on quality.

    Parameters
    ----------
    evidence : Evidence
        Of `deepcams_eval.evidence.quality.quality`.
    content : Content
        The rest of the report: source line, and whether the data are synthetic.
    """
    frames = evidence.frames
    return Section(
        name="quality",
        label="FAIRMODE",
        title="Is it good enough: FAIRMODE, exceedances, spread and cycles",
        sentences=tuple(map(with_minuses, _sentences(frames))),
        remarks=_REMARKS,
        tables=tuple(_tables(frames, content.synthetic)),
        drawings=tuple(_drawings(frames, content)),
    )


def _sentences(frames: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    table = frames["fairmode"]
    if table.empty:
        yield "No day of any station is complete, so nothing is said on daily means."
        return
    for row in records(table[table["year"] == table.groupby("product")["year"].transform("max")]):
        who = f"{row['product']} in {row['year']}"
        days = plural(row["days_with_data"], "day")
        stations = f"{plural(row['stations'], 'station')}, {days}"
        if pd.isna(row["fulfilled"]):
            yield f"{who}: too small a sample for the quality objective of FAIRMODE ({stations})."
            continue
        verdict = "meets" if row["fulfilled"] else "misses"
        yield (
            f"{who} {verdict} the quality objective of FAIRMODE for daily means: 90th percentile "
            f"of the indicator {number(row['mqi_90'], 2)} ({stations})."
        )
    limits = frames["exceedances"]
    for row in records(limits[limits["limit"] == limits["limit"].min()]):
        yield _of_limit(row)


def _of_limit(row: Mapping[str, Any]) -> str:
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
        f"{found}, {row['hit_rate']:.0%}; {row['false_alarms']:,} of the {announced:,} that it "
        f"puts there are not, {row['false_alarm_ratio']:.0%}."
    )


def _tables(frames: Mapping[str, pd.DataFrame], synthetic: bool) -> Iterator[Table]:
    product = Column("product", "Product")
    if len(frames["fairmode"]):
        yield Table(
            "fairmode",
            "FAIRMODE: modelling quality of daily means",
            (
                product,
                Column("year", "Year"),
                Column("stations", "Stations", decimals=0),
                Column("stations_left_out", "Left out", decimals=0),
                Column("days_with_data", "Days", decimals=0),
                Column("share_fulfilled", "Share with MQI ≤ 1", decimals=3),
                Column("mqi_90", "MQI, 90th percentile", decimals=3),
                Column("fulfilled", "Objective met"),
            ),
            frames["fairmode"].assign(
                year=frames["fairmode"]["year"].astype(str),
                fulfilled=frames["fairmode"]["fulfilled"].map({True: "yes", False: "no"}),
            ),
            notes=(
                "Left out: stations with fewer than three quarters of the days that the data "
                "cover. The indicator is defined for whole years; with fewer days it is that of "
                "these days.",
            ),
            synthetic=synthetic,
        )
        yield Table(
            "exceedances",
            "Days above a limit",
            (
                product,
                Column("limit", "Limit", UNIT, 1),
                Column("whose", "Whose"),
                Column("n_days", "Station days", decimals=0),
                Column("hits", "Hits", decimals=0),
                Column("misses", "Misses", decimals=0),
                Column("false_alarms", "False alarms", decimals=0),
                Column("hit_rate", "Hit rate", "", 3, True),
                Column("false_alarm_ratio", "False alarm ratio", "", 3, True),
                Column("frequency_bias", "Frequency bias", decimals=3),
                Column("csi", "CSI", decimals=3),
            ),
            frames["exceedances"],
            notes=(
                "False alarm ratio: share of the days above the limit in the product on which the "
                "station was not. Intervals resample stations.",
            ),
            synthetic=synthetic,
        )
    yield Table(
        "taylor",
        "Spread and correlation of hourly values",
        (
            product,
            Column("n", "N", decimals=0),
            Column("sd_o", "σ of stations", UNIT, 2),
            Column("sd_m", "σ of product", UNIT, 2),
            Column("sd_ratio", "Ratio", decimals=3),
            Column("r", "R", decimals=3),
            Column("crmse", "CRMSE", UNIT, 2),
        ),
        frames["taylor"],
        notes=("CRMSE: RMSE after both means are taken off.",),
        synthetic=synthetic,
    )


def _drawings(frames: Mapping[str, pd.DataFrame], content: Content) -> Iterator[style.Drawing]:
    owed = credit.line(content)
    looks = style.looks(content.products)
    if len(frames["fairmode_stations"]):
        yield _draw_target(frames["fairmode_stations"], looks, owed)
        yield _draw_exceedances(frames["exceedances"], looks, owed)
    if frames["taylor"][["r", "sd_ratio"]].notna().all(axis="columns").any():
        yield _draw_taylor(frames["taylor"], looks, owed)
    if len(frames["quantiles"]):
        yield _draw_quantiles(frames["quantiles"], looks, owed)
    yield _draw_cycles(frames["cycles"], looks, owed)


def _draw_target(
    stations: pd.DataFrame, looks: Mapping[str, style.Look], owed: style.Credit
) -> style.Drawing:
    shown = stations[stations["enough_days"]]
    products = list(dict.fromkeys(stations["product"]))
    figure = style.new_figure(_WIDTH, 1.1 + _WIDTH / max(len(products), 2), layout="compressed")
    grid = figure.subplots(1, len(products), sharex=True, sharey=True, squeeze=False)[0]
    reach = max(1.25, 1.1 * float(shown[["target_x", "target_y"]].abs().max().max() or 0))
    for place, (axes, product) in enumerate(zip(grid, products, strict=True)):
        mine = shown[shown["product"] == product]
        for radius, line in ((1.0, "-"), (0.5, "--")):
            circle = Circle((0, 0), radius, fill=False, color=style.GREY, linestyle=line)
            axes.add_patch(circle)
        axes.scatter(
            mine["target_x"], mine["target_y"], s=7, color=looks[product].colour, alpha=0.5,
            linewidths=0, marker=looks[product].marker, zorder=3,
        )  # fmt: skip
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.axhline(0, color=style.GRID, linewidth=0.6, zorder=1)
        axes.axvline(0, color=style.GRID, linewidth=0.6, zorder=1)
        style.dress(
            axes, x="± CRMSE / (β RMSU)", y="MB / (β RMSU)" if not place else "", grid=False
        )
        axes.set_title(
            escape_figure(f"{product}, {len(mine):,} station-years"),
            fontsize=style.TEXT,
            color=style.INK,
        )
    title = "FAIRMODE target diagram of daily means"
    note = (
        "Distance from the middle: MQI; the full circle is 1. Left: the error of phase is the "
        "larger; right: that of amplitude. Up: too high."
    )
    return style.finish(
        figure,
        owed,
        name="target",
        kind="quality",
        title=title,
        note=note,
        alternative="One point a station and year, by bias and centred error over the allowed "
        "uncertainty; the numbers are in fairmode_stations.csv.",
    )


def _draw_exceedances(
    table: pd.DataFrame, looks: Mapping[str, style.Look], owed: style.Credit
) -> style.Drawing:
    products = list(dict.fromkeys(table["product"]))
    limits = sorted(set(table["limit"]))
    figure = style.new_figure(_WIDTH, 3.1)
    grid = figure.subplots(1, 2, sharex=True)
    panels = (("hit_rate", "Hit rate"), ("false_alarm_ratio", "False alarm ratio"))
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
    title = "Days above a limit: found, and falsely announced"
    note = "Bars: 95 % intervals from resampling stations."
    return style.finish(
        figure,
        owed,
        name="exceedances",
        kind="quality",
        title=title,
        note=note,
        alternative="Hit rate and false alarm ratio of each product by limit; the numbers are in "
        "the table of days above a limit.",
    )


def _draw_taylor(
    table: pd.DataFrame, looks: Mapping[str, style.Look], owed: style.Credit
) -> style.Drawing:
    rows = records(table.dropna(subset=["r", "sd_ratio"]))
    reach = max(1.5, 1.15 * max(row["sd_ratio"] for row in rows))
    half = any(row["r"] < 0 for row in rows)
    figure = style.new_figure(5.2, 3.6 if half else 4.6)
    axes = figure.subplots()
    _taylor_grid(axes, reach, half)
    axes.plot(1, 0, marker="*", color=style.INK, markersize=9, linestyle="", label="stations")
    for row in rows:
        look, angle = looks[row["product"]], np.arccos(row["r"])
        axes.plot(
            row["sd_ratio"] * np.cos(angle), row["sd_ratio"] * np.sin(angle), linestyle="",
            color=look.colour, marker=look.marker, markersize=6, zorder=5,
            label=escape_figure(row["product"]),
        )  # fmt: skip
    axes.legend(fontsize=style.SMALL, frameon=False, loc="upper right")
    title = "Taylor diagram of hourly values"
    note = (
        "Distance from the origin: standard deviation over that of the stations; angle: R; "
        "distance from the star: centred RMSE over that standard deviation (dotted)."
    )
    return style.finish(
        figure,
        owed,
        name="taylor",
        kind="quality",
        title=title,
        note=note,
        alternative="Standard deviation and correlation of each product; the numbers are in the "
        "table of spread and correlation.",
    )


def _taylor_grid(axes: Axes, reach: float, half: bool) -> None:
    """Draw circles of standard deviation and of centred error, and rays of correlation."""
    angle = np.linspace(0, np.pi if half else np.pi / 2, 200)
    for radius in np.arange(0.5, reach + 1e-9, 0.5):
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=style.GRID, linewidth=0.7)
    around = np.linspace(0, np.pi, 200)
    for radius in np.arange(0.5, reach, 0.5):
        x, y = 1 + radius * np.cos(around), radius * np.sin(around)
        inside = (np.hypot(x, y) <= reach) & ((x >= 0) | half)
        axes.plot(np.where(inside, x, np.nan), y, color=style.GREY, linewidth=0.6, linestyle=":")
    rays = (0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
    for value in (*(-one for one in rays[:0:-1] if half), *rays):
        end = reach * value, reach * np.sqrt(1 - value**2)
        axes.plot([0, end[0]], [0, end[1]], color=style.GRID, linewidth=0.7)
        axes.annotate(
            f"{value:g}".replace("-", "−"), end, xytext=(3 * value + 1, 2), ha="left", va="bottom",
            textcoords="offset points", fontsize=style.SMALL, color=style.INK,
        )  # fmt: skip
    style.dress(axes, x="σ of product / σ of stations", y="", grid=False)
    axes.set(
        xlim=(-1.12 * reach if half else 0, 1.12 * reach), ylim=(0, 1.08 * reach), aspect="equal"
    )
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)


def _draw_quantiles(
    table: pd.DataFrame, looks: Mapping[str, style.Look], owed: style.Credit
) -> style.Drawing:
    figure = style.new_figure(4.6, 4.6, layout="compressed")
    axes = figure.subplots()
    top = 1.05 * float(table[["observed", "estimate"]].max().max())
    axes.plot([0, top], [0, top], color=style.GREY, linewidth=0.8, zorder=1)
    for product, mine in table.groupby("product", sort=False):
        look = looks[str(product)]
        axes.plot(
            mine["observed"], mine["estimate"], color=look.colour, marker=look.marker,
            markersize=3, linewidth=0.8, label=escape_figure(str(product)),
        )  # fmt: skip
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    style.dress(axes, x=f"Quantile of the stations ({UNIT})", y=f"Same of the product ({UNIT})")
    axes.legend(fontsize=style.SMALL, frameon=False)
    title = "Quantiles of hourly values"
    percentiles = sorted(set(table["percentile"]))
    note = (
        f"Percentiles {percentiles[0]:g} to {percentiles[-1]:g} on the pairs of each product; "
        "grey: one to one."
    )
    return style.finish(
        figure,
        owed,
        name="quantiles",
        kind="quality",
        title=title,
        note=note,
        alternative="Quantiles of each product against those of the stations; the numbers are in "
        "quantiles.csv.",
    )


def _draw_cycles(
    table: pd.DataFrame, looks: Mapping[str, style.Look], owed: style.Credit
) -> style.Drawing:
    products = list(dict.fromkeys(table["product"]))
    figure = style.new_figure(_WIDTH, 4.6)
    grid = figure.subplots(2, len(products), sharey=True, squeeze=False)
    for column, product in enumerate(products):
        for row, cycle in enumerate(("hour_local", "weekday")):
            axes = grid[row, column]
            mine = table[(table["product"] == product) & (table["cycle"] == cycle)]
            look = looks[product]
            axes.plot(
                mine["value"], mine["departure_o"], color=style.INK, linewidth=1.6, label="stations"
            )
            axes.plot(
                mine["value"], mine["departure_m"], color=look.colour, linewidth=1.2,
                marker=look.marker, markersize=3, label=escape_figure(product),
            )  # fmt: skip
            style.dress(
                axes,
                x="Hour (local solar)" if cycle == "hour_local" else "Day of the week",
                y=f"Departure ({UNIT})" if not column else "",
            )
            axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
        grid[0, column].set_xticks(range(0, 25, 6))
        grid[1, column].set_xticks(range(7), [day[:2] for day in WEEKDAYS])
        grid[0, column].legend(fontsize=style.SMALL, frameon=False)
    title = "Departure from the mean of each station by hour of the day and day of the week"
    note = "The mean of a station over the sample is taken off each of its values."
    return style.finish(
        figure,
        owed,
        name="cycles",
        kind="quality",
        title=title,
        note=note,
        alternative="Means of stations and products by local hour and by weekday; the numbers are "
        "in cycles.csv.",
    )
