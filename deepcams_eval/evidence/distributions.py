"""Are the values distributed alike: spread, quantiles, and the cycles of the day and the week."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from deepcams_eval.core.pairs import codes_of
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report import style
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure, number
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

PERCENTILES = (1.0, *np.arange(5.0, 100.0, 5.0).tolist(), 98.0, 99.0, 99.5, 99.9)
"""Percentiles of ``quantiles``; one is left out where fewer than ten pairs lie beyond it."""

WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_BEYOND = 10


def answer(given: Given) -> Frames:
    """Return how observations and products are distributed on the sample of each product.

    Returns
    -------
    mapping of str to pandas.DataFrame
        In µg m⁻³ but for n, R and ratios; NaN where undefined.

        - ``taylor``, one row a product, is what a Taylor diagram shows (Taylor 2001,
          doi:10.1029/2000JD900719). CRMSE² = σ_O² + σ_M² − 2 σ_O σ_M R, so that the distance of a
          product from the point of the observations at (1, R = 1) is its CRMSE in units of σ_O.
        - ``quantiles``, one row a product × percentile, linear between order statistics.
        - ``cycles``, one row a product × cycle × value that has pairs: mean departures by local
          hour (``hour_local``, 0 to 23) and weekday (0 is Monday). Of each value the mean of its
          station over the sample is taken off first: where a sample has few UTC hours, each local
          hour holds stations of other longitudes, and their levels would make up the cycle. Local
          time is solar, UTC + round(longitude / 15°) hours, at the beginning of the observation.
          Pairs count alike.
    """
    table = given.pairs.table
    shift = np.round(table["longitude"].to_numpy() / 15.0).astype("timedelta64[h]")
    local = (table["time_start"].to_numpy() + shift).astype("datetime64[h]").astype(np.int64)
    times = {"hour_local": (local % 24, 24), "weekday": ((local // 24 + 3) % 7, 7)}
    station, names = codes_of(table["station_id"])
    taylor, quantiles, cycles = [], [], []
    for product in given.pairs.products:
        chosen = given.rows[product]
        observed = table["observed"].to_numpy()[chosen]
        estimate = table[product].to_numpy()[chosen].astype(np.float64)
        taylor.append({"product": product, **_spread(Moments.of(observed, estimate))})
        levels = [x for x in PERCENTILES if min(x, 100 - x) / 100 * len(observed) >= _BEYOND]
        if levels:
            quantile = {
                "percentile": levels,
                "n": len(observed),
                "observed": np.percentile(observed, levels),
                "estimate": np.percentile(estimate, levels),
            }
            quantiles.append(pd.DataFrame({"product": product, **quantile}))
        at = station[chosen]
        of_station = Moments.of(observed, estimate, at, len(names))
        away = observed - of_station.mean_o[at], estimate - of_station.mean_m[at]
        for cycle, (value, size) in times.items():
            sums = Moments.of(*away, value[chosen], size)
            means = {"departure_o": sums.mean_o, "departure_m": sums.mean_m}
            frame = pd.DataFrame({"value": np.arange(size), "n": sums.n.astype(np.int64), **means})
            frame.insert(0, "product", product)
            frame.insert(1, "cycle", cycle)
            cycles.append(frame[frame["n"] > 0])
    return {
        "taylor": pd.DataFrame(taylor),
        "quantiles": pd.concat(quantiles, ignore_index=True) if quantiles else pd.DataFrame(),
        "cycles": pd.concat(cycles, ignore_index=True),
    }


def _spread(sums: Moments) -> dict[str, float]:
    n = int(sums.n[0])
    deviation = [float(np.sqrt(one[0] / max(n, 1))) for one in (sums.ss_o, sums.ss_m)]
    return {
        "n": n,
        "r": float(metrics.r(sums)[0]),
        "sd_o": deviation[0],
        "sd_m": deviation[1],
        "sd_ratio": float(metrics.sd_ratio(sums)[0]),
        "crmse": float(metrics.crmse(sums)[0]),
    }


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page on spread, quantiles and cycles."""
    drawn = (
        (_draw_taylor, "taylor", len(frames["taylor"].dropna(subset=["r", "sd_ratio"]))),
        (_draw_quantiles, "quantiles", len(frames["quantiles"])),
        (_draw_cycles, "cycles", True),
    )
    return Section(
        name="distributions",
        label="Distributions",
        title="Are spread, extremes and cycles right?",
        sentences=tuple(_sentences(frames["taylor"])),
        tables=(_table(frames["taylor"]),),
        drawings=tuple(draw(frames[name], content) for draw, name, there in drawn if there),
    )


def _sentences(table: pd.DataFrame) -> Iterator[str]:
    for row in records(table):
        yield (
            f"The standard deviation of the hourly values of {row['product']} is "
            f"{number(row['sd_ratio'], 2)} of that of the stations."
        )


def _table(table: pd.DataFrame) -> Table:
    return Table(
        "taylor",
        "Spread and correlation of hourly values",
        (
            parts.PRODUCT,
            parts.N,
            Column("sd_o", "σ of stations", UNIT, 2),
            Column("sd_m", "σ of product", UNIT, 2),
            Column("sd_ratio", "Ratio", decimals=3),
            Column("r", "R", decimals=3),
            Column("crmse", "CRMSE", UNIT, 2),
        ),
        table,
        notes=("CRMSE: RMSE after both means are taken off.",),
    )


def _draw_taylor(table: pd.DataFrame, content: Content) -> style.Drawing:
    looks = style.looks(content.products)
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
    return parts.finished(
        figure,
        content,
        "taylor",
        title="Taylor diagram of hourly values",
        note=(
            "Distance from the origin: standard deviation over that of the stations; angle: R; "
            "distance from the star: centred RMSE over that standard deviation (dotted)."
        ),
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


def _draw_quantiles(table: pd.DataFrame, content: Content) -> style.Drawing:
    looks = style.looks(content.products)
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
    percentiles = sorted(set(table["percentile"]))
    return parts.finished(
        figure,
        content,
        "quantiles",
        title="Quantiles of hourly values",
        note=(
            f"Percentiles {percentiles[0]:g} to {percentiles[-1]:g} on the pairs of each product; "
            "grey: one to one."
        ),
        alternative="Quantiles of each product against those of the stations; the numbers are in "
        "quantiles.csv.",
    )


def _draw_cycles(table: pd.DataFrame, content: Content) -> style.Drawing:
    looks = style.looks(content.products)
    products = parts.unique(table["product"])
    figure = style.new_figure(parts.WIDTH, 4.6)
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
        grid[1, column].set_xticks(range(7), WEEKDAYS)
        grid[0, column].legend(fontsize=style.SMALL, frameon=False)
    return parts.finished(
        figure,
        content,
        "cycles",
        title="Departure from the mean of each station by hour of the day and day of the week",
        note="The mean of a station over the sample is taken off each of its values.",
        alternative="Means of stations and products by local hour and by weekday; the numbers are "
        "in cycles.csv.",
    )


QUESTION = Question("distributions", 60, answer, section)
