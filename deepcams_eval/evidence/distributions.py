"""Are the values distributed alike: spread, quantiles, and the cycles of the day and the week."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from deepcams_eval.core.arrays import BoolArray
from deepcams_eval.core.pairs import Pairs, codes_of
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
"""Percentiles of `quantile_table`; one is left out where fewer than ten pairs lie beyond it."""

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BEYOND = 10


def answer(given: Given) -> Frames:
    """Return ``taylor``, ``quantiles`` and ``cycles``, of hourly values."""
    return {
        "taylor": taylor_table(given.pairs, given.rows),
        "quantiles": quantile_table(given.pairs, given.rows),
        "cycles": cycle_table(given.pairs, given.rows),
    }


def taylor_table(pairs: Pairs, rows: Mapping[str, BoolArray]) -> pd.DataFrame:
    """Return what a Taylor diagram shows (Taylor 2001, doi:10.1029/2000JD900719).

    CRMSE² = σ_O² + σ_M² − 2 σ_O σ_M R, so that the distance of a product from the point of the
    observations at (1, R = 1) is its CRMSE in units of σ_O.

    Parameters
    ----------
    pairs : Pairs
    rows : mapping of str to ndarray of bool, shape (pairs,)
        The sample of each product.

    Returns
    -------
    pandas.DataFrame
        One row a product: ``product, n, r, sd_o, sd_m, sd_ratio, crmse``; µg m⁻³ but for n, r
        and the ratio. NaN where undefined.
    """
    observed = pairs.table["observed"].to_numpy()
    found = []
    for product in pairs.products:
        chosen = rows[product]
        sums = Moments.of(observed[chosen], pairs.table[product].to_numpy()[chosen])
        spread = np.sqrt(np.array([sums.ss_o[0], sums.ss_m[0]]) / max(sums.n[0], 1))
        found.append(
            {
                "product": product,
                "n": int(sums.n[0]),
                "r": float(metrics.r(sums)[0]),
                "sd_o": float(spread[0]),
                "sd_m": float(spread[1]),
                "sd_ratio": float(metrics.sd_ratio(sums)[0]),
                "crmse": float(metrics.crmse(sums)[0]),
            }
        )
    return pd.DataFrame(found)


def quantile_table(pairs: Pairs, rows: Mapping[str, BoolArray]) -> pd.DataFrame:
    """Return quantiles of the observations and of each product on the same pairs.

    Parameters
    ----------
    pairs, rows
        As in `taylor_table`.

    Returns
    -------
    pandas.DataFrame
        One row a product × percentile: ``product, percentile, n, observed, estimate``, µg m⁻³
        (linear between order statistics).
    """
    observed = pairs.table["observed"].to_numpy()
    found = []
    for product in pairs.products:
        chosen = rows[product]
        count = int(chosen.sum())
        levels = [one for one in PERCENTILES if min(one, 100 - one) / 100 * count >= _BEYOND]
        estimate = pairs.table[product].to_numpy()[chosen].astype(np.float64)
        found.append(
            pd.DataFrame(
                {
                    "product": product,
                    "percentile": levels,
                    "n": count,
                    "observed": np.percentile(observed[chosen], levels),
                    "estimate": np.percentile(estimate, levels),
                }
            )
            if levels
            else pd.DataFrame()
        )
    return pd.concat(found, ignore_index=True)


def cycle_table(pairs: Pairs, rows: Mapping[str, BoolArray]) -> pd.DataFrame:
    """Return mean departures by hour of the local day and by day of the week.

    Of each value the mean of its station over the sample is taken off first: where a sample has
    few UTC hours, each local hour holds stations of other longitudes, and their levels would make
    up the cycle. Local time is solar, UTC + round(longitude / 15°) hours, at the beginning of the
    observation. Pairs count alike.

    Parameters
    ----------
    pairs, rows
        As in `taylor_table`.

    Returns
    -------
    pandas.DataFrame
        One row a product × cycle × value: ``product, cycle, value, n, departure_o,
        departure_m``; ``cycle`` is ``hour_local`` (values 0 to 23) or ``weekday`` (0 is Monday);
        µg m⁻³. Values without a pair have no row.
    """
    table = pairs.table
    shift = np.round(table["longitude"].to_numpy() / 15.0).astype("timedelta64[h]")
    local = (table["time_start"].to_numpy() + shift).astype("datetime64[h]").astype(np.int64)
    values = {"hour_local": (local % 24, 24), "weekday": ((local // 24 + 3) % 7, 7)}
    station, names = codes_of(table["station_id"])
    observed = table["observed"].to_numpy()
    found = []
    for product in pairs.products:
        chosen = rows[product]
        at = station[chosen]
        of_station = Moments.of(observed[chosen], table[product].to_numpy()[chosen], at, len(names))
        away_o = observed[chosen] - of_station.mean_o[at]
        away_m = table[product].to_numpy()[chosen] - of_station.mean_m[at]
        for cycle, (value, size) in values.items():
            sums = Moments.of(away_o, away_m, value[chosen], size)
            frame = pd.DataFrame(
                {
                    "product": product,
                    "cycle": cycle,
                    "value": np.arange(size),
                    "n": sums.n.astype(np.int64),
                    "departure_o": sums.mean_o,
                    "departure_m": sums.mean_m,
                }
            )
            found.append(frame[frame["n"] > 0])
    return pd.concat(found, ignore_index=True)


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page on spread, quantiles and cycles."""
    return Section(
        name="distributions",
        label="Distributions",
        title="Are spread, extremes and cycles right?",
        sentences=tuple(_sentences(frames["taylor"])),
        tables=(_table(frames["taylor"]),),
        drawings=tuple(_drawings(frames, content)),
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


def _drawings(frames: Frames, content: Content) -> Iterator[style.Drawing]:
    if frames["taylor"][["r", "sd_ratio"]].notna().all(axis="columns").any():
        yield _draw_taylor(frames["taylor"], content)
    if len(frames["quantiles"]):
        yield _draw_quantiles(frames["quantiles"], content)
    yield _draw_cycles(frames["cycles"], content)


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
        grid[1, column].set_xticks(range(7), [day[:2] for day in WEEKDAYS])
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
