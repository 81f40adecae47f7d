"""The section on uncertainty: two kinds of resampling, and the rounding of what was published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.report import credit, style, wording
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.report.section import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure, number, plural, with_minuses
from deepcams_eval.score.intervals import excludes_zero
from deepcams_eval.score.metrics import HEADLINE, METRICS

_WIDTH = 7.2
_NAMES = {key: one.label for key, one in METRICS.items()}
_REMARKS = (
    "Resampling stations says how a score would vary with other stations of the same kind; "
    "resampling blocks of days, with all stations of a day together, how it would vary with other "
    "weather. Neither covers the other: take the wider.",
    "The length of the blocks follows from how long the daily errors remember (Politis and White "
    "2004). The effective number of pairs is that of independent pairs which would know the mean "
    "bias as well.",
)


def section(evidence: Evidence, content: Content) -> Section:
    """Return the section of the page that shows the evidence on uncertainty.

    Parameters
    ----------
    evidence : Evidence
        Of `deepcams_eval.evidence.uncertainty.uncertainty`.
    content : Content
        The rest of the report: source line, and whether the data are synthetic.
    """
    table = evidence.frames["uncertainty"]
    agreement = evidence.frames["published"]
    shown = _comparable(agreement, content)
    return Section(
        name="uncertainty",
        label="Uncertainty",
        title="How sure is it?",
        sentences=tuple(
            map(with_minuses, (*_differences(table), *_effective(table), *_published(shown)))
        ),
        remarks=_REMARKS,
        tables=tuple(_tables(table, shown, content.synthetic)),
        drawings=tuple(_drawings(table, content)),
    )


def _comparable(agreement: pd.DataFrame, content: Content) -> pd.DataFrame:
    """Return the published values that this run has something to set beside."""
    # What was published for real stations says nothing about generated ones.
    if content.synthetic:
        return agreement.iloc[:0]
    ours = agreement["ours"].notna()
    if {"cams", "deepcams"} <= set(content.products):
        ours |= agreement["baseline"] != ""
    return agreement[ours]


def _differences(table: pd.DataFrame) -> Iterator[str]:
    chosen = table[(table["baseline"] != "") & (table["stratum"] == "all")]
    for row in records(chosen[chosen["metric"].isin(["r", "mae"])]):
        metric = row["metric"]
        decimals = METRICS[metric].digits
        bounds = {
            kind: wording.interval(row[f"{kind}_lo"], row[f"{kind}_hi"], decimals, sign=True)
            for kind in ("station", "block")
        }
        yield (
            f"{row['product']} less {row['baseline']}, {_NAMES[metric]}: "
            f"{number(row['estimate'], decimals, sign=True)}"
            f"{METRICS[metric].unit_after}; by stations {bounds['station']}, by blocks "
            f"of {plural(row['block_days'], 'day')} {bounds['block']}: {_verdict(row)}."
        )


def _verdict(row: Mapping[str, Any]) -> str:
    kinds = ("station", "block")
    if not np.isfinite(row["estimate"]):
        return "undefined, since one of the two does not vary"
    known = [kind for kind in kinds if np.isfinite(row[f"{kind}_lo"])]
    apart = [kind for kind in known if excludes_zero(row[f"{kind}_lo"], row[f"{kind}_hi"])]
    if not known:
        behind = f"{plural(row['stations'], 'station')}, {plural(row['days'], 'day')}"
        return f"too small a sample for an interval ({behind})"
    if len(known) == 1:
        other = "days" if known == ["station"] else "stations"
        says = "excludes zero" if apart else "does not exclude zero"
        return f"the one interval {says}, and there are too few {other} for the other"
    if len(apart) == len(kinds):
        return "both exclude zero"
    return "only one excludes zero" if apart else "neither excludes zero"


def _effective(table: pd.DataFrame) -> Iterator[str]:
    chosen = table[(table["metric"] == "mb") & (table["stratum"] == "all")]
    for row in records(chosen[chosen["baseline"] == ""]):
        known = np.array([row["n_eff_station"], row["n_eff_block"]], dtype=float)
        if np.isfinite(known).all():
            yield (
                f"The {row['n']:,} pairs of {row['product']} know its mean bias as well as "
                f"{known.min():,.0f} independent ones would."
            )


def _published(agreement: pd.DataFrame) -> Iterator[str]:
    gains = agreement[agreement["baseline"] != ""]
    for row in records(gains[gains["metric"] == "r"]):
        low, high = row["published_lo"], row["published_hi"]
        within = "includes none at all" if low <= 0 <= high else "excludes none"
        yield (
            f"The published gain of {row['product']} over {row['baseline']} in R, "
            f"{number(row['published'], 3, sign=True)} as the mean of years, stands for anything "
            f"between {number(low, 3, sign=True)} and {number(high, 3, sign=True)}, since the "
            f"values are rounded to two digits: that {within}."
        )
    known = agreement.dropna(subset=["agrees"])
    if len(known):
        yield (
            f"{int(known['agrees'].sum())} of {len(known)} published scores lie within our "
            "intervals, their rounding allowed for."
        )
    elif agreement[["ours_lo", "ours_hi"]].notna().all(axis="columns").any():
        yield (
            "Whether published scores lie within our intervals is not asked: they are of whole "
            "years and of all stations, and this run is restricted to some."
        )


def _tables(table: pd.DataFrame, agreement: pd.DataFrame, synthetic: bool) -> Iterator[Table]:
    yield Table(
        "uncertainty",
        "Two kinds of intervals side by side",
        (
            Column("product", "Product"),
            Column("baseline", "less"),
            Column("value", "Years"),
            Column("metric", "Score"),
            Column("estimate", "Estimate", decimals=3),
            Column("station_lo", "Stations, from", decimals=3),
            Column("station_hi", "to", decimals=3),
            Column("block_lo", "Blocks, from", decimals=3),
            Column("block_hi", "to", decimals=3),
            Column("wider", "Wider"),
            Column("n", "N", decimals=0),
            Column("stations", "Stations", decimals=0),
            Column("days", "Days", decimals=0),
            Column("block_days", "Days a block", decimals=0),
            Column("n_eff_station", "Effective N, stations", decimals=0),
            Column("n_eff_block", "blocks", decimals=0),
        ),
        table.assign(metric=table["metric"].map(_NAMES)),
        notes=(f"RMSE, MAE and MB in {UNIT}; 95 % intervals.",),
        synthetic=synthetic,
    )
    if len(agreement):
        yield Table(
            "published",
            "Published scores, their rounding, and ours",
            (
                Column("product", "Product"),
                Column("baseline", "less"),
                Column("value", "Year"),
                Column("metric", "Score"),
                Column("published", "Published", decimals=3),
                Column("published_lo", "stands for", decimals=3),
                Column("published_hi", "to", decimals=3),
                Column("ours", "Ours", "", 3, True),
                Column("agrees", "Agrees"),
            ),
            agreement.assign(
                metric=agreement["metric"].map(_NAMES),
                agrees=agreement["agrees"].map({True: "yes", False: "no"}),
            ),
            notes=(
                "Read off Fig. 6. The published samples of the two products differ; ours are "
                "those of the tables.",
            ),
        )


def _drawings(table: pd.DataFrame, content: Content) -> Iterator[style.Drawing]:
    chosen = table[(table["baseline"] != "") & table["metric"].isin(HEADLINE)]
    drawn = chosen[chosen[["station_lo", "block_lo"]].notna().any(axis="columns")]
    if drawn.empty:
        return
    lines = list(dict.fromkeys(zip(drawn["product"], drawn["value"], strict=True)))
    looks = style.looks(["station", "block"])
    figure = style.new_figure(_WIDTH, 1.6 + 0.26 * len(lines))
    grid = figure.subplots(1, 3, sharey=True)
    for axes, metric in zip(grid, HEADLINE, strict=True):
        mine = chosen[chosen["metric"] == metric].set_index(["product", "value"])
        for place, line in enumerate(lines):
            row = mine.loc[line]
            for shift, (kind, look) in zip((-0.13, 0.13), looks.items(), strict=True):
                ends = row[f"{kind}_lo"], row[f"{kind}_hi"]
                if not np.isfinite(ends).all():
                    continue
                axes.plot(ends, [place + shift] * 2, color=look.colour, linewidth=1.2)
                axes.plot(
                    row["estimate"], place + shift, color=look.colour, marker=look.marker,
                    markersize=3.6,
                )  # fmt: skip
        axes.axvline(0, color=style.GREY, linewidth=0.8, zorder=1)
        style.dress(axes, x=f"Δ{METRICS[metric].header}")
    names = [f"{product}, {'all years' if value == 'all' else value}" for product, value in lines]
    grid[0].set_yticks(range(len(lines)), [escape_figure(one) for one in names])
    grid[0].set_ylim(len(lines) - 0.4, -0.6)
    handles = [
        grid[0].plot([], [], color=look.colour, marker=look.marker, markersize=3.6)[0]
        for look in looks.values()
    ]
    labels = ["resampling stations", "resampling blocks of days"]
    grid[0].legend(handles, labels, fontsize=style.SMALL, frameon=False)
    title = f"Product less {drawn['baseline'].iloc[0]}: two kinds of intervals"
    note = "95 % intervals; the length of the blocks follows from the data."
    source = credit.source_line(content)
    style.frame(figure, title=title, source=source, synthetic=content.synthetic, note=note)
    yield style.Drawing(
        name="uncertainty",
        kind="uncertainty",
        caption=f"{title}. {note}",
        alternative="Differences with intervals from stations and from blocks of days; the "
        "numbers are in the table of the two kinds of intervals.",
        figure=figure,
    )
