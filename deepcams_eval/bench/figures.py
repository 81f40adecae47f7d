"""The figures of a simulation: a case, months, maps of the error, spectra and skill."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from deepcams_eval.bench.month import Case
from deepcams_eval.bench.page import (
    SHOWN,
    interval_note,
    published_name,
    weights_in_words,
)
from deepcams_eval.bench.tables import AVERAGE, TABLE_SCORES, TASK_NAMES, all_hours
from deepcams_eval.core.arrays import Array
from deepcams_eval.downscale import Task
from deepcams_eval.report import credit, maps, style, wording
from deepcams_eval.report.wording import UNIT, escape_figure, plural
from deepcams_eval.score.intervals import excludes_zero

if TYPE_CHECKING:
    from deepcams_eval.bench.run import SimulationRun


_WIDTH = 7.2
_TOP_RATIO = 2.0
_NEGATIVE = 0.5
"""Values below minus this are marked on the colour bar, µg m⁻³; packing residue is smaller."""

_COARSE_FACTOR = 3
"""Coarse over fine spacing of every degradation."""


def planned_figures(content: SimulationRun) -> list[Callable[[], style.Drawing]]:
    """Return what draws each figure of the report, to be called one at a time."""
    planned: list[Callable[[], style.Drawing]] = []
    for task in content.tasks:
        planned += [partial(_draw_case, content, one) for one in content.cases if one.task == task]
        planned.append(partial(_draw_months, content, task))
        if len(content.skill_of(task)):
            planned.append(partial(_draw_skill, content, task))
        pair = content.compared(task)
        if pair and all((task, method) in content.error_maps for method in pair):
            planned.append(partial(_draw_error_maps, content, task, pair))
        if (content.spectra["task"] == task).any():
            planned.append(partial(_draw_spectra, content, task))
    return planned


def _draw_case(content: SimulationRun, case: Case) -> style.Drawing:
    names = [*case.methods, *(name for name in case.estimates if name not in case.methods)]
    west, south, east, north = case.box
    whole = maps.extent_of(content.latitude, content.longitude)
    zoomed = {name: _zoom(content, case.estimates[name], case.box) for name in names}
    truth, box = _zoom(content, case.truth, case.box)
    errors = {name: values - truth for name, (values, _) in zoomed.items()}
    scale, spread = maps.from_zero(truth), maps.about_zero(*errors.values())

    figure, grid = _case_axes(whole, box, len(names) + 1)
    shown = [("truth", case.truth, truth), *((n, case.estimates[n], zoomed[n][0]) for n in names)]
    for row, (name, values, part) in zip(grid, shown, strict=True):
        maps.show(row[0], whole, values, scale)
        _mark_box(row[0], case.box)
        maps.show(row[1], box, part, scale)
        row[0].set_ylabel(
            escape_figure(textwrap.fill(name, 16)), fontsize=style.TEXT, fontweight="bold"
        )
        if name in errors:
            maps.show(row[2], box, errors[name], spread, maps.DIVERGING)
    _say_where(grid[0][2], case)
    for axes, label in zip(
        (grid[0][0], grid[0][1], grid[1][2]), ("whole map", "box", "error in the box"), strict=True
    ):
        axes.set_title(label, fontsize=style.TEXT)
    left, right = grid[:, :2].ravel().tolist(), grid[:, 2].tolist()
    low = min(float(np.nanmin(values, initial=0.0)) for _, _, values in shown)
    extend: Literal["both", "max"] = "both" if low < -_NEGATIVE else "max"
    maps.colour_bar(figure, left, scale, f"PM2.5 ({UNIT})", extend=extend, side="bottom")
    maps.colour_bar(
        figure,
        right,
        spread,
        f"estimate − truth ({UNIT})",
        colours=maps.DIVERGING,
        extend="both",
        side="bottom",
        bins=3,
    )

    baseline, challenger = case.methods
    title = f"{TASK_NAMES[case.task]}: where {challenger} and {baseline} differ most"
    note = (
        f"n = 1 hour. Hour and box of {east - west + 360 * (east < west):g}° × "
        f"{north - south:g}°: those in which |{challenger} − {baseline}| is largest on average, "
        "of all hours scored and of all boxes of this size. Colours reach the "
        f"{maps.ROBUST:g}th percentile of the truth, and of the absolute errors, in the box."
    )
    return _finish(
        content,
        figure,
        "case",
        case.task,
        title=title,
        note=note,
        caption=f"{title}, {_hour(case)} UTC. {note}",
        alternative=f"Maps of the truth and of {', '.join(names)}, whole and in a box, and the "
        "error of each in the box.",
    )


def _case_axes(whole: maps.Extent, box: maps.Extent, rows: int) -> tuple[Figure, Any]:
    """Return axes, three a row, with room for each map's own shape."""
    wide = maps.shape_of(whole)
    narrow = float(np.clip(maps.shape_of(box), 0.6, 2.0))
    height = float(np.clip((_WIDTH - 1.0) / (wide + 2 * narrow), 0.9, 2.0))
    figure = style.new_figure(_WIDTH, rows * (height + 0.24) + 1.7)
    grid = figure.subplots(
        rows, 3, squeeze=False, gridspec_kw={"width_ratios": [wide, narrow, narrow]}
    )
    for place, row in enumerate(grid):
        for axes in row:
            maps.dress(axes, bottom=place == rows - 1)
    return figure, grid


def _say_where(axes: Axes, case: Case) -> None:
    """Use the place of the error that the truth does not have."""
    axes.set_axis_off()
    baseline, challenger = case.methods
    lines = (
        f"{_hour(case)} UTC",
        maps.box_in_words(case.box, "\n"),
        f"mean |{challenger}",
        f"− {baseline}|",
        f"{wording.number(case.difference, 2)} {UNIT}",
    )
    style.write_in_middle(axes, escape_figure("\n".join(lines)), size=style.SMALL, colour=style.INK)


def _hour(case: Case) -> str:
    return str(case.time.astype("datetime64[m]")).replace("T", " ")


def _zoom(
    content: SimulationRun, values: Any, box: tuple[float, float, float, float]
) -> tuple[Array, maps.Extent]:
    """Return the part of a map in a box, and its extent; a box may cross the date line."""
    west, south, east, north = box
    longitude = np.asarray(content.longitude, dtype=np.float64)
    if east < west:
        longitude = np.where(longitude < west, longitude + 360.0, longitude)
        east += 360.0
    order = np.argsort(longitude, kind="stable")
    columns = order[(longitude[order] >= west) & (longitude[order] <= east)]
    latitude = np.asarray(content.latitude, dtype=np.float64)
    rows = np.flatnonzero((latitude >= south) & (latitude <= north))
    part = np.asarray(values, dtype=np.float64)[np.ix_(rows, columns)]
    half_y, half_x = maps.half_cell(latitude), maps.half_cell(np.sort(longitude))
    return part, (
        float(longitude[columns[0]] - half_x),
        float(longitude[columns[-1]] + half_x),
        float(latitude[rows[0]] - half_y),
        float(latitude[rows[-1]] + half_y),
    )


def _mark_box(axes: Axes, box: tuple[float, float, float, float]) -> None:
    west, south, east, north = box
    width = east - west + 360.0 * (east < west)
    # Once more a turn to the west, for the part of it beyond the date line.
    for left in (west, west - 360.0):
        for colour, line in (("white", 1.8), (style.ACCENT, 0.9)):
            axes.add_patch(
                Rectangle(
                    (left, south),
                    width,
                    north - south,
                    facecolor="none",
                    edgecolor=colour,
                    linewidth=line,
                )
            )


def _draw_months(content: SimulationRun, task: Task) -> style.Drawing:
    table = all_hours(content.months[task])
    table = table[table["month"] != AVERAGE]
    methods = content.methods[task]
    figure = style.new_figure(_WIDTH, 6.4)
    rows = figure.subplots(len(TABLE_SCORES), 1, sharex=True)
    x = np.arange(len(table))
    drawn = False
    for axes, metric in zip(rows, TABLE_SCORES, strict=True):
        drawn |= not content.synthetic and _published_marks(axes, table, metric)
        for method, look in style.looks(methods).items():
            style.draw_line(axes, x, table[f"{metric}_{method}"], look, method)
        style.dress(axes, y=SHOWN[metric].header)
    for axes in rows[1:]:
        axes.set_ylim(bottom=0)
    rows[-1].set_xticks(x, [str(month)[-2:] for month in table["month"]])
    rows[-1].set_xlim(-0.6, max(len(table) - 0.4, 0.6))
    rows[-1].set_xlabel(f"Month of {content.year} (UTC)", fontsize=style.TEXT)
    style.legend_above(rows[0], style.TEXT - 0.5)
    title = f"{TASK_NAMES[task]}: scores by month, {weights_in_words(content)}"
    note = f"{_samples(content, task)} Each point is the mean over the samples of its month."
    if drawn:
        note += " Grey: published values (Xiao et al. 2022), of other models and samples."
    if (table["n"] == 0).any():
        note += " Gaps: months without samples."
    return _finish(
        content,
        figure,
        "months",
        task,
        title=title,
        note=note,
        alternative="R, RMSE and MAE of each method by month; the numbers are in the tables.",
    )


def _published_marks(axes: Axes, table: pd.DataFrame, metric: str) -> bool:
    start = f"published_{metric}_"
    keys = [key for key in table if str(key).startswith(start) and table[key].notna().any()]
    for key, marker in zip(keys, "ox+", strict=False):
        axes.plot(
            np.arange(len(table)),
            table[key].to_numpy(dtype=np.float64),
            color="#9a9a9a",
            marker=marker,
            linestyle="none",
            markersize=4.2,
            markerfacecolor="none",
            markeredgewidth=0.8,
            label=escape_figure(f"published: {published_name(str(key).removeprefix(start))}"),
        )
    return bool(keys)


def _draw_error_maps(content: SimulationRun, task: Task, pair: tuple[str, str]) -> style.Drawing:
    baseline, challenger = pair
    first, second = (np.asarray(content.error_maps[task, name], dtype=np.float64) for name in pair)
    difference = second - first
    extent = maps.extent_of(content.latitude, content.longitude)
    names = (baseline, challenger, f"{challenger} − {baseline}")
    figure = maps.compare(
        [(name, extent, one) for name, one in zip(names, (first, second, difference), strict=True)],
        label=f"RMSE ({UNIT})",
        difference=f"difference of RMSE ({UNIT})",
    )
    title = f"{TASK_NAMES[task]}: error of each cell"
    note = (
        f"{_samples(content, task)} Blue in the difference: {challenger} has the smaller error. "
        f"Colours reach the {maps.ROBUST:g}th percentile."
    )
    if not np.isfinite(difference).all():
        note += " Grey: no sample."
    return _finish(
        content,
        figure,
        "error_maps",
        task,
        title=title,
        note=note,
        caption=f"{title}: RMSE of {baseline}, of {challenger} and their difference. {note}",
        alternative=f"Maps of the root-mean-square error of {baseline} and {challenger}, and of "
        "their difference.",
    )


def _draw_spectra(content: SimulationRun, task: Task) -> style.Drawing:
    table = content.spectra[content.spectra["task"] == task]
    figure = style.new_figure(_WIDTH, 4.1)
    axes = figure.subplots()
    top = 1.25
    for method, look in style.looks(content.methods[task]).items():
        rows = table[table["method"] == method].sort_values("wavelength_lo_deg")
        if rows.empty:
            continue
        middle = np.sqrt(rows["wavelength_lo_deg"] * rows["wavelength_hi_deg"])
        top = max(top, float(rows["ratio"].max()) * 1.05)
        style.draw_line(axes, middle, rows["ratio"], look, method)
    axes.set_xscale("log")
    style.dress(axes, x="Wavelength (degrees)", y="Power, estimate / truth")
    axes.axhline(1.0, color=style.INK, linewidth=0.8)
    axes.set_ylim(0.0, min(top, _TOP_RATIO))
    low, high = table["wavelength_lo_deg"].min(), table["wavelength_hi_deg"].max()
    axes.set_xlim(float(low), float(high))
    axes.xaxis.set_major_locator(_wavelengths(float(low), float(high)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}°"))
    title = f"{TASK_NAMES[task]}: power spectrum against the truth"
    note = f"n = {wording.number(float(table['rows'].max()), 0)} rows. 1 is the truth's power."
    if task != "temporal":
        limit = 2 * _COARSE_FACTOR * 2 * maps.half_cell(content.latitude)
        axes.axvspan(float(low), limit, color=style.GREY, alpha=0.18, linewidth=0, zorder=0)
        note += (
            f" Shaded: below {limit:g}°, twice the coarse spacing, which the input does not have."
        )
    if top > _TOP_RATIO:
        note += f" Ratios above {_TOP_RATIO:g} are not drawn."
    style.legend_above(axes, style.TEXT - 0.5)
    return _finish(
        content,
        figure,
        "spectra",
        task,
        title=title,
        note=note,
        alternative="Ratio of the power of each method to that of the truth, by wavelength.",
    )


def _wavelengths(low: float, high: float) -> FixedLocator:
    steps = [step * 10.0**power for power in (-1, 0, 1, 2) for step in (1, 2, 5)]
    return FixedLocator([step for step in steps if low <= step <= high])


def _draw_skill(content: SimulationRun, task: Task) -> style.Drawing:
    table = all_hours(content.skill_of(task))
    baselines = content.baselines(task)
    methods = [name for name in content.methods[task] if (table["method"] == name).any()]
    height = len(baselines) * (0.55 + 0.21 * len(methods)) + 1.5
    figure = style.new_figure(_WIDTH, height)
    grid = figure.subplots(len(baselines), 2, squeeze=False, sharex="col", sharey=True)
    for row, baseline in zip(grid, baselines, strict=True):
        for axes, metric in zip(row, ("rmse", "mae"), strict=True):
            chosen = table[(table["baseline"] == baseline) & (table["metric"] == metric)]
            _draw_forest(axes, chosen, methods, style.looks(content.methods[task]))
            if baseline in methods:
                place = methods.index(baseline)
                axes.text(
                    0.0, place, " baseline", fontsize=style.SMALL, color="#6a6a6a", va="center"
                )
            axes.set_title(
                escape_figure(f"{SHOWN[metric].label}, against {baseline}"), fontsize=style.TEXT
            )
    grid[0, 0].set_yticks(range(len(methods)), [escape_figure(name) for name in methods])
    grid[0, 0].set_ylim(len(methods) - 0.4, -0.6)
    for axes in grid[-1]:
        axes.set_xlabel("Skill: 1 − score / baseline", fontsize=style.TEXT)
    title = f"{TASK_NAMES[task]}: skill, {weights_in_words(content)}"
    days = int(table["days"].max())
    note = f"n = {plural(days, 'day')}, {int(table['samples'].max()):,} samples."
    note += " Right of zero is better than the baseline. " + interval_note(table)
    return _finish(
        content,
        figure,
        "skill",
        task,
        title=title,
        note=note,
        alternative="Skill of each method in RMSE and MAE against each baseline with intervals; "
        "the numbers are in the table of skill.",
    )


def _draw_forest(
    axes: Axes, rows: pd.DataFrame, methods: Sequence[str], looks: Mapping[str, style.Look]
) -> None:
    axes.axvline(0.0, color=style.INK, linewidth=0.8)
    for place, method in enumerate(methods):
        colour, marker = looks[method].colour, looks[method].marker
        for row in rows[rows["method"] == method].to_dict(orient="records"):
            low, high = row["skill_lo"], row["skill_hi"]
            axes.plot([low, high], [place, place], color=colour, linewidth=1.4)
            axes.plot(
                row["skill"],
                place,
                color=colour,
                marker=marker,
                markersize=4.6,
                markeredgewidth=1.0,
                markerfacecolor=colour if excludes_zero(low, high) else "white",
            )
    style.dress(axes)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")


def _samples(content: SimulationRun, task: Task) -> str:
    table = all_hours(content.months[task])
    count = int(table.loc[table["month"] != AVERAGE, "n"].sum())
    return f"n = {count:,} samples."


def _finish(
    content: SimulationRun, figure: Figure, kind: str, task: str, *, note: str, **words: str
) -> style.Drawing:
    owed = credit.truth_line(content.product.kind, synthetic=content.synthetic)
    if kind in ("case", "error_maps"):
        owed = owed.also(maps.COASTLINES)
    degraded = f" Degradation: {content.degradation}." if content.degradation else ""
    name, caption = f"{kind}_{task}", words.pop("caption", f"{words['title']}. {note}")
    return style.finish(
        figure, owed, name=name, kind=kind, note=note + degraded, caption=caption, **words
    )
