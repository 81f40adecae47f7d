"""Is it good enough for FAIRMODE: the error of a product beside the uncertainty of observations.

The modelling quality indicator of daily PM2.5 (Janssen et al. 2022, FAIRMODE guidance document on
modelling quality objectives and benchmarking, version 3.3, doi:10.2760/41988), from daily means.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.patches import Circle

from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report import style
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import escape_figure, number, plural
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

U_RV, RV_UG_M3, ALPHA, BETA = 0.36, 25.0, 0.5, 2.0
"""Of the uncertainty of a daily mean of PM2.5: its relative size at the reference value, that
value, the share that does not fall with the concentration, and how much larger an error may be."""

SHARE_OF_DAYS = 0.75
"""Share of the days that a station needs before its indicator counts."""

FULFILLED_BY = 0.9
"""Share of the stations that must have an indicator of at most 1."""

MIN_STATIONS, MIN_DAYS = 10, 10
"""Fewer stations than this give no verdict: one of them would decide it; nor do fewer days."""

SUMMARY_COLUMNS = (
    *("product", "year", "stations", "stations_left_out", "days_with_data", "share_fulfilled"),
    *("mqi_90", "fulfilled"),
)
_REMARKS = (
    "Daily means are UTC days of the common sample: observation and products are means over the "
    "same hours, and a day needs three quarters of them.",
    "The modelling quality indicator (MQI) is the RMSE over twice the uncertainty of the "
    "observations. A product meets the objective of FAIRMODE where nine of ten stations have an "
    "MQI of at most 1. That is a low bar: it asks whether an error could be one of measurement, "
    "not whether a product is better than another.",
)


def answer(given: Given) -> Frames:
    """Return ``fairmode``, ``fairmode_stations`` and ``days``; empty without a complete day."""
    if given.daily is None:
        return dict.fromkeys(("fairmode", "fairmode_stations", "days"), pd.DataFrame())
    days, counts = given.daily
    stations = station_indicators(days)
    return {
        "fairmode": quality_objective(stations),
        "fairmode_stations": stations,
        "days": pd.DataFrame(counts.items(), columns=["what", "count"]),
    }


def station_indicators(daily: Pairs) -> pd.DataFrame:
    """Return the indicator of each station, year and product.

    MQI = RMSE / (β RMSU) with RMSU = √(Σ u(Oᵢ)²/N) and u(O)² = u_rv² ((1 − α²) O² + α² RV²). In
    the target diagram a station stands at x = ±CRMSE / (β RMSU) and y = MB / (β RMSU), so that its
    distance from the origin is its MQI; x is negative where the error of phase outweighs that of
    amplitude, |σ_M − σ_O| / σ_O < √(2 (1 − R)).

    Parameters
    ----------
    daily : Pairs
        Complete daily means, of `deepcams_eval.pair.averages.average_pairs`.

    Returns
    -------
    pandas.DataFrame
        One row a product × year × station, in µg m⁻³ but for n, r and the
        indicators. ``days_with_data`` counts the days of the year that are complete at
        any station. R is NaN with fewer than two days or where either does not vary; x is then
        negative.
    """
    station, names = codes_of(daily.table["station_id"])
    found = []
    for product in daily.products:
        there = daily.table[product].notna().to_numpy()
        table = daily.table[there]
        years, year = np.unique(table["time_start"].dt.year, return_inverse=True)
        days = table["time_start"].dt.floor("D").groupby(years[year]).nunique().to_numpy()
        group, size = year * len(names) + station[there], len(years) * len(names)
        observed = table["observed"].to_numpy()
        sums = Moments.of(observed, table[product].to_numpy(), group, size)
        u_squared = U_RV**2 * ((1 - ALPHA**2) * observed**2 + ALPHA**2 * RV_UG_M3**2)
        with np.errstate(invalid="ignore"):
            rmsu = np.sqrt(np.bincount(group, u_squared, size) / sums.n)
        allowed = BETA * rmsu
        crmse, mb, r = metrics.crmse(sums), metrics.mb(sums), metrics.r(sums)
        amplitude = (np.sqrt(sums.ss_m) - np.sqrt(sums.ss_o)) ** 2
        phase = 2 * sums.ss_o * (1 - r)
        with_data = np.repeat(days, len(names))
        columns = {
            "product": product,
            "year": np.repeat(years, len(names)),
            "station_id": np.tile(names, len(years)),
            "n_days": sums.n.astype(np.int64),
            "days_with_data": with_data,
            "enough_days": sums.n >= SHARE_OF_DAYS * with_data,
            "r": r,
            "mb": mb,
            "rmse": metrics.rmse(sums),
            "crmse": crmse,
            "rmsu": rmsu,
            "mqi": metrics.rmse(sums) / allowed,
            "target_x": np.where(amplitude > phase, crmse, -crmse) / allowed,
            "target_y": mb / allowed,
        }
        found.append(pd.DataFrame(columns)[sums.n > 0])
    return pd.concat(found, ignore_index=True)


def quality_objective(stations: pd.DataFrame) -> pd.DataFrame:
    """Return whether each product fulfils the modelling quality objective in each year.

    It does where the 90th percentile of the indicators of the stations is at most 1. The
    percentile is that of the guidance: with the indicators in order and S = ⌊0.9 N⌋, it is
    MQI(S) + (MQI(S+1) − MQI(S)) (0.9 N − S).

    Parameters
    ----------
    stations : pandas.DataFrame
        Of `station_indicators`. Stations with too few days are counted and left out.

    Returns
    -------
    pandas.DataFrame
        One row a product × year, of the columns `SUMMARY_COLUMNS`; ``fulfilled`` is NA with fewer
        than `MIN_STATIONS` stations or `MIN_DAYS` days.
    """
    lines = []
    for (product, year), rows in stations.groupby(["product", "year"], sort=False):
        kept = rows[rows["enough_days"]]
        days = int(rows["days_with_data"].iloc[0])
        enough = len(kept) >= MIN_STATIONS and days >= MIN_DAYS
        indicator = np.sort(kept["mqi"].to_numpy())
        ninth = percentile_90(indicator)
        lines.append(
            {
                "product": product,
                "year": year,
                "stations": len(kept),
                "stations_left_out": len(rows) - len(kept),
                "days_with_data": days,
                "share_fulfilled": float((indicator <= 1).mean()) if len(kept) else np.nan,
                "mqi_90": ninth,
                "fulfilled": bool(ninth <= 1) if enough else pd.NA,
            }
        )
    frame = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))
    return frame.astype({"fulfilled": "boolean"})


def percentile_90(ordered: npt.NDArray[np.float64]) -> float:
    """Return the 90th percentile of indicators in rising order; NaN without any."""
    if not len(ordered):
        return float("nan")
    place = FULFILLED_BY * len(ordered)
    low = int(place)
    below = ordered[max(low, 1) - 1]
    above = ordered[min(low, len(ordered) - 1)]
    return float(below + (above - below) * (place - low))


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page on the quality objective of FAIRMODE."""
    there = len(frames["fairmode"]) > 0
    return Section(
        name="fairmode",
        label="FAIRMODE",
        title="Is it good enough for FAIRMODE?",
        sentences=tuple(_sentences(frames["fairmode"])),
        remarks=_REMARKS,
        tables=(_table(frames["fairmode"]),) if there else (),
        drawings=(_draw(frames["fairmode_stations"], content),) if there else (),
    )


def _sentences(table: pd.DataFrame) -> Iterator[str]:
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


def _table(table: pd.DataFrame) -> Table:
    return Table(
        "fairmode",
        "FAIRMODE: modelling quality of daily means",
        (
            parts.PRODUCT,
            Column("year", "Year"),
            parts.STATIONS,
            Column("stations_left_out", "Left out", decimals=0),
            Column("days_with_data", "Days", decimals=0),
            Column("share_fulfilled", "Share with MQI ≤ 1", decimals=3),
            Column("mqi_90", "MQI, 90th percentile", decimals=3),
            Column("fulfilled", "Objective met"),
        ),
        table.assign(
            year=table["year"].astype(str),
            fulfilled=table["fulfilled"].map({True: "yes", False: "no"}),
        ),
        notes=(
            "Left out: stations with fewer than three quarters of the days that the data cover. "
            "The indicator is defined for whole years; with fewer days it is that of these days.",
        ),
    )


def _draw(stations: pd.DataFrame, content: Content) -> style.Drawing:
    looks = style.looks(content.products)
    shown = stations[stations["enough_days"]]
    products = parts.unique(stations["product"])
    figure = style.new_figure(
        parts.WIDTH, 1.1 + parts.WIDTH / max(len(products), 2), layout="compressed"
    )
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
    return parts.finished(
        figure,
        content,
        "target",
        title="FAIRMODE target diagram of daily means",
        note=(
            "Distance from the middle: MQI; the full circle is 1. Left: the error of phase is the "
            "larger; right: that of amplitude. Up: too high."
        ),
        alternative="One point a station and year, by bias and centred error over the allowed "
        "uncertainty; the numbers are in fairmode_stations.csv.",
    )


QUESTION = Question("fairmode", 40, answer, section)
