"""The section "Did downscaling add anything?": verdicts, tables and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from deepcams_eval.evidence.added_value.comparisons import STRATA
from deepcams_eval.report import credit, style
from deepcams_eval.report.content import Content
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.report.section import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure

_WIDTH = 7.2
_HEADINGS = {
    "all": "All pairs",
    "hours": "Hours",
    "neighbours": "Others within 50 km",
    "observed": f"Observed ({UNIT})",
    "level": f"Mean of both ({UNIT})",
    "centre": "From the cell's centre",
}
_BOUNDS = (("difference", "Difference"), ("lo", "from"), ("hi", "to"))
_DOT: Mapping[str, Any] = {"markersize": 3.6, "markeredgewidth": 0, "zorder": 4}
_REFERENCE_DOT: Mapping[str, Any] = {
    "marker": "D",
    "markersize": 4,
    "markerfacecolor": "none",
    "markeredgecolor": style.INK,
    "markeredgewidth": 0.8,
    "linestyle": "",
    "zorder": 5,
}
_REMARKS = (
    "A verdict is better or worse where the 95 % interval of the difference lies on one side of "
    "zero, and not shown where it does not. Each interval is 95 % by itself: of twenty verdicts on "
    "differences that are none, one is expected to be wrong.",
    "Kept hours are those that the coarse product has itself, inserted hours the others. "
    "linear:… interpolates it in time, linear+bicubic:… in space too; both cost nothing, so what "
    "does not beat them adds nothing. Stations are resampled whole; within cells, whole cells are.",
    "Classes by the observed value are a selection: high observations are partly chance, so among "
    "them the product with the higher values is favoured, and among low ones that with the lower. "
    "Classes by the mean of product and reference favour neither.",
    "Variance within a cell, or at short periods, is no merit by itself, since noise has it too; "
    "what counts is the correlation. That of the stations includes their errors of measurement "
    "and what is smaller than the fine cells.",
)


def section(evidence: Evidence, content: Content) -> Section:
    """Return the section of the page that shows the evidence on added value.

    Parameters
    ----------
    evidence : Evidence
        Of `deepcams_eval.evidence.added_value.added_value`.
    content : Content
        The rest of the report: source line, and whether the data are synthetic.
    """
    frames = evidence.frames
    verdicts = frames["verdicts"]
    return Section(
        name="added_value",
        label="Added value",
        title="Did downscaling add anything?",
        sentences=tuple(verdicts["sentence"])
        or ("No product and reference have a pair in common, so there is no verdict.",),
        remarks=_REMARKS,
        tables=tuple(_tables(frames, content.synthetic)),
        drawings=tuple(_drawings(frames, content)),
    )


def _tables(frames: Mapping[str, pd.DataFrame], synthetic: bool) -> Iterator[Table]:
    named = (Column("product", "Product"), Column("reference", "Reference"))
    counts = (Column("n", "N", decimals=0), Column("stations", "Stations", decimals=0))
    yield Table(
        "verdicts",
        "Did downscaling add anything: verdicts",
        (
            *(named[0], Column("question", "Question"), named[1]),
            *(Column("verdict", "Verdict"), Column("measure", "Measure")),
            *(Column(one, label, decimals=3, signed=True) for one, label in _BOUNDS),
            *counts,
        ),
        frames["verdicts"],
        synthetic=synthetic,
    )
    yield Table(
        "added_value",
        "Differences from parent and interpolations, by stratum",
        (
            *named,
            Column("stratum", "Stratum"),
            Column("value", "Value"),
            *counts,
            Column("d_mae", "ΔMAE", UNIT, 2, True, signed=True),
            Column("d_rmse", "ΔRMSE", UNIT, 2, True, signed=True),
            Column("d_r", "ΔR", "", 3, True, signed=True),
            Column("verdict", "By MAE"),
        ),
        frames["added_value"],
        notes=(
            "Product − reference on the pairs that both have. Strata: hours (kept, inserted); "
            "neighbours: other stations of the run within 50 km; observed: class of the observed "
            f"value, {UNIT}; level: of the mean of product and reference; centre: distance of the "
            "station from the centre of the cell of the coarse product.",
        ),
        synthetic=synthetic,
    )
    yield Table(
        "within_cell",
        "Within cells of the coarse product",
        (
            *named,
            Column("hours", "Hours"),
            Column("cells", "Cells", decimals=0),
            Column("cell_hours", "Hours in them", decimals=0),
            Column("stations", "Stations", decimals=0),
            Column("variance_observed", "Variance of stations", "µg² m⁻⁶", 2),
            Column("variance_product", "of product", "µg² m⁻⁶", 2),
            Column("variance_ratio", "Ratio", interval=True, decimals=3),
            Column("r", "R", interval=True, decimals=3),
            Column("reference_r", "R of reference", decimals=3),
            Column("d_r", "ΔR", interval=True, signed=True, decimals=3),
        ),
        frames["within_cell"],
        notes=(
            "Departures from the mean of a cell and hour with stations in at least 3 cells of the "
            "product; cells are resampled, and fewer than 6 give no number.",
        ),
        synthetic=synthetic,
    )
    yield Table(
        "diurnal",
        "Daily cycle (first harmonic)",
        (
            *named,
            Column("hours", "Hours"),
            Column("stations", "Stations", decimals=0),
            Column("amplitude_observed", "Observed amplitude", UNIT, 2),
            Column("peak_observed_h", "Observed peak", "h solar", 1),
            Column("amplitude_ratio", "Amplitude ratio", interval=True, decimals=3),
            Column("phase_h", "Peaks later by", "h", 2, True, signed=True),
            Column("error", "Error", UNIT, 2, True),
            Column("reference_error", "of reference", UNIT, 2),
            Column("d_error", "ΔError", UNIT, 2, True, signed=True),
        ),
        frames["diurnal"],
        notes=("Error: mean over stations of the distance of the harmonics in the plane.",),
        synthetic=synthetic,
    )
    yield Table(
        "spectra",
        "Variance and correlation by period",
        (
            *named,
            Column("band", "Period"),
            Column("stations", "Stations", decimals=0),
            Column("windows", "Stretches", decimals=0),
            Column("variance_observed", "Variance of stations", "µg² m⁻⁶", 2),
            Column("ratio", "Variance ratio", interval=True, decimals=3),
            Column("reference_ratio", "of reference", decimals=3),
            Column("r", "R", interval=True, decimals=3),
            Column("reference_r", "R of reference", decimals=3),
            Column("d_r", "ΔR", interval=True, signed=True, decimals=3),
        ),
        frames["spectra"],
        notes=("From stretches of 48 consecutive hours, tapered (Hann); stations are resampled.",),
        synthetic=synthetic,
    )


def _drawings(frames: Mapping[str, pd.DataFrame], content: Content) -> Iterator[style.Drawing]:
    owed = credit.line(content)
    compared = frames["added_value"]
    if compared["d_mae_lo"].notna().any():
        yield _draw_differences(compared, owed)
    if frames["within_cell"]["r"].notna().any():
        yield _draw_within(frames["within_cell"], owed)
    if len(frames["diurnal_cycle"]):
        yield _draw_cycle(frames["diurnal_cycle"], owed)
    if len(frames["spectra"]):
        yield _draw_spectra(frames["spectra"], owed)


def _draw_differences(table: pd.DataFrame, owed: style.Credit) -> style.Drawing:
    products = list(dict.fromkeys(table["product"]))
    references = list(dict.fromkeys(table["reference"]))
    looks = style.looks(references)
    rows = _stratum_rows(table)
    figure = style.new_figure(_WIDTH, 1.6 + 0.2 * len(rows))
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
                    _bar(axes, mine.loc[key], "d_mae", place + shift, looks[reference])
        axes.axvline(0, color=style.GREY, linewidth=0.8, zorder=1)
        style.dress(axes, x=f"ΔMAE ({UNIT})")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_title(escape_figure(product), fontsize=style.TEXT, color=style.INK)
    names = [_in_words(value) if value else _HEADINGS[stratum] for stratum, value in rows]
    grid[0].set_yticks(range(len(rows)), [escape_figure(one) for one in names])
    for label, (_, value) in zip(grid[0].get_yticklabels(), rows, strict=True):
        label.set_color("#6b6b6b" if value else style.INK)
    grid[0].set_ylim(len(rows) - 0.4, -0.6)
    title = "Mean absolute error: product less reference, by stratum"
    note = (
        "Left of zero the product is better. Bars: 95 % intervals from resampling stations, each "
        "by itself; classes with fewer than 5 stations have none and are not drawn."
    )
    return style.finish(
        figure,
        owed,
        name="added_value",
        kind="added_value",
        title=title,
        note=note,
        alternative="Differences of the mean absolute error with intervals; the numbers are in the "
        "table of differences by stratum.",
    )


def _in_words(value: str) -> str:
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


def _draw_within(table: pd.DataFrame, owed: style.Credit) -> style.Drawing:
    products = list(dict.fromkeys(table["product"]))
    lines = [(product, hours) for product in products for hours in ("all", "kept", "inserted")]
    by_line = table.set_index(["product", "hours"])
    looks = style.looks(products)
    figure = style.new_figure(_WIDTH, 1.5 + 0.26 * len(lines))
    grid = figure.subplots(1, 2, sharey=True)
    panels = (("variance_ratio", "Variance over that of the stations"), ("r", "R of departures"))
    for axes, (key, label) in zip(grid, panels, strict=True):
        for place, line in enumerate(lines):
            _bar(axes, by_line.loc[line], key, place, looks[line[0]])
            axes.plot(by_line.loc[line, f"reference_{key}"], place, **_REFERENCE_DOT)
        axes.axvline(1.0 if key == "variance_ratio" else 0.0, color=style.GREY, linewidth=0.8)
        style.dress(axes, x=label)
    grid[0].set_yticks(range(len(lines)), [escape_figure(f"{one}, {two}") for one, two in lines])
    grid[0].set_ylim(len(lines) - 0.4, -0.6)
    title = "Within the cells of the coarse product"
    cells, hours = (int(table[name].max()) for name in ("cells", "cell_hours"))
    note = (
        f"Up to {cells} cells and {hours:,} hours in them, with stations in at least 3 cells of "
        "the product. Bars: 95 % intervals from resampling cells. Open diamonds: the best "
        "interpolation, on the same places and hours."
    )
    return style.finish(
        figure,
        owed,
        name="within_cell",
        kind="added_value",
        title=title,
        note=note,
        alternative="Ratio of variances and correlation within coarse cells; the numbers are in "
        "the table of the same name.",
    )


def _draw_cycle(table: pd.DataFrame, owed: style.Credit) -> style.Drawing:
    products = list(dict.fromkeys(table["product"]))
    figure = style.new_figure(_WIDTH, 3.0)
    grid = figure.subplots(1, len(products), sharey=True, squeeze=False)[0]
    for place, (axes, product) in enumerate(zip(grid, products, strict=True)):
        mine = table[table["product"] == product]
        names = list(dict.fromkeys(mine["series"]))
        looks = style.looks(names[1:])
        for name in names:
            curve = mine[mine["series"] == name]
            look = style.Look(style.INK, "", "-") if name == "observed" else looks[name]
            axes.plot(
                curve["hour_local"],
                curve["departure"],
                color=look.colour,
                linestyle=look.line,
                linewidth=1.8 if name == "observed" else 1.2,
                label=escape_figure(name),
            )
        style.dress(axes, x="Mean solar hour", y=f"Departure ({UNIT})" if not place else "")
        axes.set_xticks(range(0, 25, 6))
        axes.set_xlim(-0.5, 23.5)
        axes.legend(fontsize=style.SMALL, frameon=False)
    title = "Mean daily cycle over stations"
    note = (
        "Departures from the mean of all hours; each station counts once. An observation and a "
        "mean stand at the middle of their hour, a value at an instant at that instant."
    )
    return style.finish(
        figure,
        owed,
        name="diurnal_cycle",
        kind="added_value",
        title=title,
        note=note,
        alternative="Mean daily cycle of stations, product and interpolation; amplitudes and "
        "phases are in the table of the daily cycle.",
    )


def _draw_spectra(table: pd.DataFrame, owed: style.Credit) -> style.Drawing:
    products = list(dict.fromkeys(table["product"]))
    bands = list(dict.fromkeys(table["band"]))
    looks = style.looks(products)
    figure = style.new_figure(_WIDTH, 3.1)
    grid = figure.subplots(1, 2)
    panels = (("ratio", "Variance over that of the stations"), ("r", "R within the band"))
    for axes, (key, label) in zip(grid, panels, strict=True):
        for shift, product in zip(style.spread(len(products), 0.1), products, strict=True):
            mine = table[table["product"] == product]
            look, x = looks[product], np.arange(len(mine)) + shift
            around = np.stack([mine[key] - mine[f"{key}_lo"], mine[f"{key}_hi"] - mine[key]])
            # The percentiles of few stations may not hold the value itself.
            around = np.clip(around, 0, None)
            axes.errorbar(
                x,
                mine[key],
                yerr=around,
                color=look.colour,
                marker=look.marker,
                markersize=3.6,
                linewidth=1.2,
                label=escape_figure(product),
            )
            if mine[f"reference_{key}"].notna().any():
                axes.plot(
                    x,
                    mine[f"reference_{key}"],
                    color=look.colour,
                    linestyle=":",
                    linewidth=1.2,
                    label=escape_figure(f"{mine['reference'].iloc[0]}, hours of {product}"),
                )
        axes.set_xticks(range(len(bands)), [_in_words(one) for one in bands])
        style.dress(axes, x="Period", y=label)
        axes.axhline(1.0, color=style.GREY, linewidth=0.8, zorder=1)
    grid[0].set_ylim(bottom=0)
    grid[0].legend(fontsize=style.SMALL, frameon=False)
    title = "Variance and correlation by period"
    note = (
        f"Stretches of 48 consecutive hours ({int(table['windows'].max()):,}). Bars: 95 % "
        "intervals from resampling stations."
    )
    return style.finish(
        figure,
        owed,
        name="spectra",
        kind="added_value",
        title=title,
        note=note,
        alternative="Ratio of variances and correlation by band of period; the numbers are in the "
        "table of variance and correlation by period.",
    )


def _bar(axes: Axes, row: pd.Series[Any], key: str, y: float, look: style.Look) -> None:
    """Draw a value and its interval; nothing where there is no interval."""
    low, high = row[f"{key}_lo"], row[f"{key}_hi"]
    if not np.isfinite(low):
        return
    axes.plot([low, high], [y, y], color=look.colour, linewidth=1.2, zorder=3)
    axes.plot(row[key], y, marker=look.marker, color=look.colour, **_DOT)


def _legend(axes: Axes, looks: Mapping[str, style.Look]) -> None:
    """Say which reference each mark is a difference from, in axes that hold nothing else."""
    axes.set_axis_off()
    for name, look in looks.items():
        label = f"less {escape_figure(name)}"
        axes.plot([], [], color=look.colour, linewidth=1.2, marker=look.marker, label=label, **_DOT)
    axes.legend(loc="center", ncols=len(looks), fontsize=style.SMALL + 0.5, frameon=False)
