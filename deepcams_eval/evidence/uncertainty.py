"""How sure is it: whole stations and blocks of days, resampled side by side.

Resampling stations keeps all hours of a station together and says how a score would vary with other
stations of the same kind; weather that all stations share at once is no variation to it. Resampling
blocks of days keeps all stations of these days together and says how it would vary with other
weather. A reader takes the wider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, BoolArray, IntArray
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report import style, wording
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, number, plural
from deepcams_eval.score import intervals, metrics
from deepcams_eval.score.intervals import excludes_zero
from deepcams_eval.score.metrics import HEADLINE, METRICS
from deepcams_eval.score.moments import Moments

MIN_BLOCKS = 10
"""Fewer blocks than this give no interval: the spread of a handful says too little."""

KINDS = ("station", "block")
COLUMNS = (
    *("product", "baseline", "stratum", "value", "metric", "estimate"),
    *(f"{kind}_{end}" for kind in KINDS for end in ("lo", "hi")),
    *("wider", "n", "stations", "days", "block_days", "blocks", "n_eff_station", "n_eff_block"),
)
_METRICS = {key: METRICS[key] for key in (*HEADLINE, "mb")}
_NAMES = {key: one.label for key, one in METRICS.items()}
_REMARKS = (
    "Resampling stations says how a score would vary with other stations of the same kind; "
    "resampling blocks of days, with all stations of a day together, how it would vary with other "
    "weather. Neither covers the other: take the wider.",
    "The length of the blocks follows from how long the daily errors remember (Politis and White "
    "2004). The effective sample size is the number of independent pairs that would determine the "
    "mean bias as well.",
)


def answer(given: Given) -> Frames:
    """Return scores and differences with the intervals of both kinds of resampling.

    Returns
    -------
    mapping of str to pandas.DataFrame
        ``uncertainty``: one row a product × (all, each year) × metric (r, rmse, mae, mb), of the
        columns `COLUMNS`. ``baseline`` is "" for a score, else the estimate is product − baseline
        on the pairs that both have. ``wider`` names the resampling with the wider interval.
        ``n_eff_station`` and ``n_eff_block`` (with the mean bias alone, NaN elsewhere and where
        there is no interval) are effective sample sizes: the numbers of independent pairs that
        would give the mean of M − O the standard error that the resampling gives it. An interval
        is NaN with fewer than `intervals.MIN_CLUSTERS` stations or `MIN_BLOCKS` blocks.
    """
    pairs, rng = given.pairs, given.rng()
    table = pairs.table
    year = table["time_start"].dt.year.to_numpy()
    station, names = codes_of(table["station_id"])
    # Drawn first and for all stations, as for the scores, so that the same seed gives the same
    # intervals of stations.
    draws = intervals.draw_clusters(len(names), given.resamples, rng)
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
                lines += [keys | one for one in _case(pairs, products, chosen, station, draws, rng)]
    return {"uncertainty": pd.DataFrame(lines, columns=list(COLUMNS))}


def _case(
    pairs: Pairs,
    products: list[str],
    chosen: BoolArray,
    station: IntArray,
    draws: Array,
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """Yield a row a metric for some pairs of one product, or of two whose difference is meant."""
    table = pairs.table
    observed = table["observed"].to_numpy()[chosen]
    estimates = [table[product].to_numpy()[chosen] for product in products]
    day = table["time_start"].to_numpy()[chosen].astype("datetime64[D]")
    days, place = np.unique(day, return_inverse=True)
    by_station = [Moments.of(observed, one, station[chosen], draws.shape[1]) for one in estimates]
    by_day = [Moments.of(observed, one, place, len(days)) for one in estimates]
    total = [one.merged() for one in by_day]
    stations = int((by_station[0].n > 0).sum())
    length = intervals.block_length(days, by_day)
    weights = intervals.draw_blocks(len(days), length, len(draws), rng)
    blocks = len(days) // length
    drawn = {
        "station": (_resampled(by_station, draws), stations, intervals.MIN_CLUSTERS),
        "block": (_resampled(by_day, weights), blocks, MIN_BLOCKS),
    }
    spread = float(metrics.crmse(total[0])[0])
    behind = {"n": int(total[0].n[0]), "stations": stations, "days": len(days)}
    behind |= {"block_days": length, "blocks": blocks}
    for name, score in _METRICS.items():
        row: dict[str, Any] = {"metric": name, **behind}
        row["estimate"] = intervals.less([score(one) for one in total])[0]
        width = {}
        for kind, (resampled, clusters, least) in drawn.items():
            low, high = intervals.interval(resampled[name], clusters, least=least)
            row |= {f"{kind}_lo": low, f"{kind}_hi": high}
            width[kind] = high - low
            if name == "mb" and len(products) == 1 and clusters >= least:
                row[f"n_eff_{kind}"] = _effective(spread, resampled[name])
        known = np.isfinite(list(width.values())).all()
        row["wider"] = max(KINDS, key=width.__getitem__) if known else ""
        yield row


def _resampled(sums: list[Moments], draws: Array) -> dict[str, Array]:
    """Return each metric of every resample, shape (resamples,)."""
    drawn = [intervals.resample(one.reshape(-1, 1), draws, _METRICS) for one in sums]
    return {name: intervals.less([one[name][:, 0] for one in drawn]) for name in _METRICS}


def _effective(spread: float, resampled: Array) -> float:
    """Return σ² / se², σ being the standard deviation of M − O and se that of its mean."""
    error = float(np.std(resampled))
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
        bounds = {
            kind: wording.interval(row[f"{kind}_lo"], row[f"{kind}_hi"], decimals, sign=True)
            for kind in KINDS
        }
        yield (
            f"{row['product']} less {row['baseline']}, {_NAMES[metric]}: "
            f"{number(row['estimate'], decimals, sign=True)}"
            f"{METRICS[metric].unit_after}; by stations {bounds['station']}, by blocks "
            f"of {plural(row['block_days'], 'day')} {bounds['block']}: {_verdict(row)}."
        )


def _verdict(row: Mapping[str, Any]) -> str:
    if not np.isfinite(row["estimate"]):
        return "undefined, since one of the two does not vary"
    known = [kind for kind in KINDS if np.isfinite(row[f"{kind}_lo"])]
    apart = [kind for kind in known if excludes_zero(row[f"{kind}_lo"], row[f"{kind}_hi"])]
    if not known:
        behind = f"{plural(row['stations'], 'station')}, {plural(row['days'], 'day')}"
        return f"too small a sample for an interval ({behind})"
    if len(known) == 1:
        other = "days" if known == ["station"] else "stations"
        says = "excludes zero" if apart else "does not exclude zero"
        return f"the one interval {says}, and there are too few {other} for the other"
    if len(apart) == len(KINDS):
        return "both exclude zero"
    return "only one excludes zero" if apart else "neither excludes zero"


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
        "Two kinds of intervals side by side",
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
            Column("wider", "Wider"),
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
            for shift, kind in zip((-0.13, 0.13), KINDS, strict=True):
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
    labels = ["resampling stations", "resampling blocks of days"]
    grid[0].legend(handles, labels, fontsize=style.SMALL, frameon=False)
    yield parts.finished(
        figure,
        content,
        "uncertainty",
        title=f"Product less {drawn['baseline'].iloc[0]}: two kinds of intervals",
        note="95 % intervals; the length of the blocks follows from the data.",
        alternative="Differences with intervals from stations and from blocks of days; the "
        "numbers are in the table of the two kinds of intervals.",
    )


QUESTION = Question("uncertainty", 20, answer, section)
