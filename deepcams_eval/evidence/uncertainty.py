"""How sure is it: other stations, other days, and both at once.

Leaving out stations keeps all hours of a station together and says how a score would vary with
other stations of the same kind; weather that all stations share at once is no variation to it.
Leaving out blocks of days keeps all stations of these days together and says how it would vary
with other weather. The interval of both adds the two variances.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import BoolArray, IntArray
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report import style, wording
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, number, plural
from deepcams_eval.score import metrics
from deepcams_eval.score.day_blocks import block_length, runs_of_days
from deepcams_eval.score.intervals import Clusters, bounds, estimates, excludes_zero, two_way
from deepcams_eval.score.metrics import HEADLINE, METRICS
from deepcams_eval.score.moments import Moments

MIN_BLOCKS = 10
"""Fewer blocks than this give no interval: the spread of a handful says too little."""

KINDS = ("station", "block", "both")
COLUMNS = (
    *("product", "baseline", "stratum", "value", "metric", "estimate"),
    *(f"{kind}_{end}" for kind in KINDS for end in ("lo", "hi")),
    *("n", "stations", "days", "block_days", "blocks", "n_eff_station", "n_eff_block"),
)
_METRICS = {key: METRICS[key] for key in (*HEADLINE, "mb")}
_NAMES = {key: one.label for key, one in METRICS.items()}
_REMARKS = (
    "Leaving out stations (or boxes of them, where that is wider) says how a score would vary with "
    "other stations of the same kind; leaving out blocks of days, with all stations of a day "
    "together, how it would vary with other weather. Neither covers the other: the third interval "
    "adds both variances (Cameron, Gelbach and Miller 2011) and is the one to quote.",
    "Blocks are runs of days that follow each other, as long as the daily errors remember (Politis "
    "and White 2004). The effective sample size is the number of independent pairs that would "
    "determine the mean bias as well.",
)


def answer(given: Given) -> Frames:
    """Return scores and differences with the intervals of stations, of days and of both.

    Returns
    -------
    mapping of str to pandas.DataFrame
        ``uncertainty``: one row a product × (all, each year) × metric (r, rmse, mae, mb), of the
        columns `COLUMNS`. ``baseline`` is "" for a score, else the estimate is product − baseline
        on the pairs that both have. ``n_eff_station`` and ``n_eff_block`` (with the mean bias
        alone, NaN elsewhere and where there is no interval) are effective sample sizes: the
        numbers of independent pairs that would give the mean of M − O the standard error that it
        has by stations and by blocks of days. An interval is NaN with fewer than
        `intervals.MIN_CLUSTERS` stations or `MIN_BLOCKS` blocks, that of both with either.
    """
    pairs = given.pairs
    table = pairs.table
    year = table["time_start"].dt.year.to_numpy()
    station, _ = codes_of(table["station_id"])
    clusters = Clusters.of(pairs)
    own = {name: np.isfinite(table[name].to_numpy()) for name in pairs.products}
    cases: list[tuple[str, str, BoolArray]] = [(one, "", given.rows[one]) for one in pairs.products]
    base = given.baseline
    cases += [(one, base, own[one] & own[base]) for one in pairs.products if one != base]
    lines: list[dict[str, Any]] = []
    for product, against, sample in cases:
        products = [product, against] if against else [product]
        values = [("all", "all", sample)]
        values += [("year", str(one), sample & (year == one)) for one in np.unique(year[sample])]
        for stratum, value, chosen in values:
            if chosen.any():
                keys = {"product": product, "baseline": against}
                keys |= {"stratum": stratum, "value": value}
                lines += [keys | one for one in _case(pairs, products, chosen, station, clusters)]
    return {"uncertainty": pd.DataFrame(lines, columns=list(COLUMNS))}


def _case(
    pairs: Pairs, products: list[str], chosen: BoolArray, station: IntArray, clusters: Clusters
) -> Iterator[dict[str, Any]]:
    """Yield a row a metric for some pairs of one product, or of two whose difference is meant."""
    table = pairs.table
    observed = table["observed"].to_numpy()[chosen]
    estimated = [table[product].to_numpy()[chosen] for product in products]
    day = table["time_start"].to_numpy()[chosen].astype("datetime64[D]")
    days, place = np.unique(day, return_inverse=True)
    by_day = [Moments.of(observed, one, place, len(days)) for one in estimated]
    length = block_length(days, by_day)
    block = runs_of_days(days, length)
    count, blocks = len(clusters.box), int(block[-1]) + 1
    cell = station[chosen].astype(np.int64) * blocks + block[place]
    cells = [Moments.of(observed, one, cell, count * blocks) for one in estimated]
    grid = [one.reshape(count, blocks) for one in cells]
    by_station = _less(clusters.estimates(one.pool_columns(), _METRICS) for one in grid)
    by_block = _less(estimates(one.map(np.transpose).pool_columns(), _METRICS) for one in grid)
    by_cell = _less(estimates(one.reshape(-1, 1), _METRICS) for one in cells)
    spread = float(metrics.crmse(by_day[0].merged())[0])
    stations = int((grid[0].n.sum(axis=1) > 0).sum())
    behind = {"n": len(observed), "stations": stations, "days": len(days)}
    behind |= {"block_days": length, "blocks": blocks}
    for name in _METRICS:
        either, days_left_out, both = by_station[name], by_block[name], by_cell[name]
        widest = either.widest
        ends = {
            "station": either.interval(),
            "block": days_left_out.interval(least=MIN_BLOCKS),
            "both": two_way(widest, days_left_out, both, least=MIN_BLOCKS),
        }
        row: dict[str, Any] = {"metric": name, **behind, "estimate": float(either.value[0])}
        for kind, (low, high) in ends.items():
            row |= bounds(kind, (float(low[0]), float(high[0])))
        if name == "mb" and len(products) == 1:
            for kind, one in (("station", widest), ("block", days_left_out)):
                if np.isfinite(row[f"{kind}_lo"]):
                    row[f"n_eff_{kind}"] = _effective(spread, float(one.standard_error[0]))
        yield row


def _less(made: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the estimates of one product, or those of the first less those of the second."""
    one, *others = made
    return {name: one[name] - others[0][name] for name in one} if others else one


def _effective(spread: float, error: float) -> float:
    """Return σ² / se², σ being the standard deviation of M − O and se that of its mean."""
    return float((spread / error) ** 2) if error > 0 else float("nan")


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page that shows both kinds of intervals."""
    table = frames["uncertainty"]
    return Section(
        name="uncertainty",
        label="Uncertainty",
        title="How sure is it?",
        sentences=(*_differences(table), *_sample_sizes(table)),
        remarks=_REMARKS,
        tables=(_table(table),),
        drawings=tuple(_drawings(table, content)),
    )


def _differences(table: pd.DataFrame) -> Iterator[str]:
    chosen = table[(table["baseline"] != "") & (table["stratum"] == "all")]
    for row in records(chosen[chosen["metric"].isin(["r", "mae"])]):
        metric = row["metric"]
        decimals = METRICS[metric].digits
        ends = {
            kind: wording.interval(row[f"{kind}_lo"], row[f"{kind}_hi"], decimals, sign=True)
            for kind in KINDS
        }
        yield (
            f"{row['product']} less {row['baseline']}, {_NAMES[metric]}: "
            f"{number(row['estimate'], decimals, sign=True)}"
            f"{METRICS[metric].unit_after}; by stations {ends['station']}, by blocks "
            f"of {plural(row['block_days'], 'day')} {ends['block']}, by both {ends['both']}: "
            f"{_verdict(row)}."
        )


def _verdict(row: Mapping[str, Any]) -> str:
    if not np.isfinite(row["estimate"]):
        return "undefined, since one of the two does not vary"
    known = [kind for kind in KINDS[:2] if np.isfinite(row[f"{kind}_lo"])]
    apart = [kind for kind in KINDS if excludes_zero(row[f"{kind}_lo"], row[f"{kind}_hi"])]
    if not known:
        behind = f"{plural(row['stations'], 'station')}, {plural(row['days'], 'day')}"
        return f"too small a sample for an interval ({behind})"
    if len(known) == 1:
        other = "days" if known == ["station"] else "stations"
        says = "excludes zero" if apart else "does not exclude zero"
        return f"the one interval {says}, and there are too few {other} for the others"
    return "that of both excludes zero" if "both" in apart else "that of both does not exclude zero"


def _sample_sizes(table: pd.DataFrame) -> Iterator[str]:
    chosen = table[(table["metric"] == "mb") & (table["stratum"] == "all")]
    for row in records(chosen[chosen["baseline"] == ""]):
        known = np.array([row["n_eff_station"], row["n_eff_block"]], dtype=float)
        if np.isfinite(known).all():
            yield (
                f"The {row['n']:,} pairs of {row['product']} determine its mean bias as well as "
                f"{known.min():,.0f} independent ones would: their effective sample size."
            )


def _table(table: pd.DataFrame) -> Table:
    return Table(
        "uncertainty",
        "Intervals by stations, by days and by both",
        (
            parts.PRODUCT,
            Column("baseline", "less"),
            Column("value", "Years"),
            Column("metric", "Score"),
            Column("estimate", "Estimate", decimals=3),
            Column("station_lo", "Stations, from", decimals=3),
            Column("station_hi", "to", decimals=3),
            Column("block_lo", "Blocks, from", decimals=3),
            Column("block_hi", "to", decimals=3),
            Column("both_lo", "Both, from", decimals=3),
            Column("both_hi", "to", decimals=3),
            parts.N,
            parts.STATIONS,
            Column("days", "Days", decimals=0),
            Column("block_days", "Days a block", decimals=0),
            Column("n_eff_station", "Effective sample size, stations", decimals=0),
            Column("n_eff_block", "blocks", decimals=0),
        ),
        table.assign(metric=table["metric"].map(_NAMES)),
        notes=(f"RMSE, MAE and MB in {UNIT}; 95 % intervals.",),
    )


def _drawings(table: pd.DataFrame, content: Content) -> Iterator[style.Drawing]:
    chosen = table[(table["baseline"] != "") & table["metric"].isin(HEADLINE)]
    drawn = chosen[chosen[["station_lo", "block_lo"]].notna().any(axis="columns")]
    if drawn.empty:
        return
    lines = parts.unique(zip(drawn["product"], drawn["value"], strict=True))
    looks = style.looks(KINDS)
    figure = style.new_figure(parts.WIDTH, 1.6 + 0.26 * len(lines))
    grid = figure.subplots(1, 3, sharey=True)
    for axes, metric in zip(grid, HEADLINE, strict=True):
        mine = chosen[chosen["metric"] == metric].set_index(["product", "value"])
        for place, line in enumerate(lines):
            for shift, kind in zip(style.spread(len(KINDS), 0.2), KINDS, strict=True):
                keys = ("estimate", f"{kind}_lo", f"{kind}_hi")
                parts.bar(axes, mine.loc[line], keys, place + shift, looks[kind])
        axes.axvline(0, color=style.GREY, linewidth=0.8, zorder=1)
        style.dress(axes, x=f"Δ{METRICS[metric].header}")
    names = [f"{product}, {'all years' if value == 'all' else value}" for product, value in lines]
    parts.label_lines(grid[0], names)
    handles = [
        grid[0].plot([], [], color=look.colour, marker=look.marker, markersize=3.6)[0]
        for look in looks.values()
    ]
    labels = ["leaving out stations", "leaving out blocks of days", "both"]
    grid[0].legend(handles, labels, fontsize=style.SMALL, frameon=False)
    yield parts.finished(
        figure,
        content,
        "uncertainty",
        title=f"Product less {drawn['baseline'].iloc[0]}: intervals by stations, days and both",
        note="95 % intervals; the length of the blocks follows from the data.",
        alternative="Differences with intervals by stations, by blocks of days and by both; the "
        "numbers are in the table of these intervals.",
    )


QUESTION = Question("uncertainty", 20, answer, section)
