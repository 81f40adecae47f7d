"""The figures of a simulation: a case, months, maps of the error, spectra and skill."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullFormatter,
    StrMethodFormatter,
)

from deepcams_eval.bench.content import (
    AVERAGE,
    METRICS,
    TASK_NAMES,
    Case,
    SimulationContent,
    all_hours,
)
from deepcams_eval.bench.sections import (
    SHOWN,
    published_name,
    resampled_in_words,
    weights_in_words,
)
from deepcams_eval.report import credit, style, wording
from deepcams_eval.report.coastlines import SOURCE as COASTLINES
from deepcams_eval.report.coastlines import draw_coastlines
from deepcams_eval.report.wording import UNIT, escape_figure
from deepcams_eval.score.intervals import excludes_zero

Array = npt.NDArray[np.float64]

_WIDTH = 7.2
_SEQUENTIAL = "viridis"
_DIVERGING = "RdBu_r"
_ROBUST = 99.5
_ABSENT = "#cfcfcf"
_TOP_RATIO = 2.0
_NEGATIVE = 0.5
"""Values below minus this are marked on the colour bar, µg m⁻³; packing residue is smaller."""

_HEMISPHERE_DEG = 90.0
_COARSE_FACTOR = 3
"""Coarse over fine spacing of every degradation."""


def draw_figures(content: SimulationContent) -> Iterator[style.Drawing]:
    """Yield every figure of the report, one at a time so that only one is held in memory."""
    for task in content.tasks:
        for case in content.cases:
            if case.task == task:
                yield _draw_case(content, case)
        yield _draw_months(content, task)
        if len(content.skill_of(task)):
            yield _draw_skill(content, task)
        pair = _mapped(content, task)
        if pair is not None:
            yield _draw_error_maps(content, task, pair)
        if (content.spectra["task"] == task).any():
            yield _draw_spectra(content, task)


def count_figures(content: SimulationContent) -> int:
    """Return how many figures `draw_figures` yields."""
    return sum(
        1
        + sum(case.task == task for case in content.cases)
        + bool(len(content.skill_of(task)))
        + (_mapped(content, task) is not None)
        + bool((content.spectra["task"] == task).any())
        for task in content.tasks
    )


def _draw_case(content: SimulationContent, case: Case) -> style.Drawing:
    names = [*case.methods, *(name for name in case.estimates if name not in case.methods)]
    west, south, east, north = case.box
    zoomed = {name: _zoom(content, case.estimates[name], case.box) for name in names}
    truth, extent = _zoom(content, case.truth, case.box)
    errors = {name: values - truth for name, (values, _) in zoomed.items()}
    scale = Normalize(0.0, _robust_limit(truth))
    spread = _symmetric_scale(list(errors.values()))

    figure, grid = _case_axes(content, case, len(names) + 1)
    maps = [("truth", case.truth, truth), *((n, case.estimates[n], zoomed[n][0]) for n in names)]
    for row, (name, whole, part) in zip(grid, maps, strict=True):
        _show(row[0], whole, _extent(content), scale, _SEQUENTIAL)
        _mark_box(row[0], case.box)
        _show(row[1], part, extent, scale, _SEQUENTIAL)
        row[0].set_ylabel(
            escape_figure(textwrap.fill(name, 16)), fontsize=style.TEXT, fontweight="bold"
        )
        if name in errors:
            _show(row[2], errors[name], extent, spread, _DIVERGING)
    _say_where(grid[0][2], case)
    for axes, label in zip(
        (grid[0][0], grid[0][1], grid[1][2]), ("whole map", "box", "error in the box"), strict=True
    ):
        axes.set_title(label, fontsize=style.TEXT)
    left, right = grid[:, :2].ravel().tolist(), grid[:, 2].tolist()
    low = min(float(np.nanmin(values, initial=0.0)) for _, _, values in maps)
    extend = "both" if low < -_NEGATIVE else "max"
    _bar(figure, left, scale, _SEQUENTIAL, f"PM2.5 ({UNIT})", extend, "bottom")
    difference = f"estimate − truth ({UNIT})"
    _bar(figure, right, spread, _DIVERGING, difference, "both", "bottom", bins=3)

    baseline, challenger = case.methods
    rule = (
        f"Hour and box of {east - west + 360 * (east < west):g}° × {north - south:g}°: those in "
        f"which |{challenger} − {baseline}| is largest on average, of all hours scored and of "
        "all boxes of this size."
    )
    note = (
        f"n = 1 hour. {rule} Colours reach the {_ROBUST:g}th percentile of the truth, and of the "
        "absolute errors, in the box."
    )
    title = f"{TASK_NAMES[case.task]}: where {challenger} and {baseline} differ most"
    _frame(content, figure, title, note, maps=True)
    return style.Drawing(
        name=f"case_{case.task}",
        kind="case",
        caption=f"{title}, {_hour(case)} UTC. {note}",
        alternative=f"Maps of the truth and of {', '.join(names)}, whole and in a box, and the "
        "error of each in the box.",
        figure=figure,
    )


def _case_axes(content: SimulationContent, case: Case, rows: int) -> tuple[Figure, Any]:
    """Return axes, three a row, with room for each map's own shape."""
    _, part_extent = _zoom(content, case.truth, case.box)
    wide = _shape(_extent(content))
    narrow = float(np.clip(_shape(part_extent), 0.6, 2.0))
    room = _WIDTH - 1.0
    height = float(np.clip(room / (wide + 2 * narrow), 0.9, 2.0))
    figure = style.new_figure(_WIDTH, rows * (height + 0.24) + 1.7)
    grid = figure.subplots(
        rows, 3, squeeze=False, gridspec_kw={"width_ratios": [wide, narrow, narrow]}
    )
    for place, row in enumerate(grid):
        for axes in row:
            _dress_map(axes, bottom=place == rows - 1)
    return figure, grid


def _say_where(axes: Axes, case: Case) -> None:
    """Use the place of the error that the truth does not have."""
    axes.set_axis_off()
    baseline, challenger = case.methods
    west, south, east, north = case.box
    lines = (
        f"{_hour(case)} UTC",
        wording.typographic(f"{west:g}° to {east:g}° E\n{south:g}° to {north:g}° N"),
        f"mean |{challenger}",
        f"− {baseline}|",
        f"{wording.number(case.difference, 2)} {UNIT}",
    )
    axes.text(
        0.5,
        0.5,
        escape_figure("\n".join(lines)),
        transform=axes.transAxes,
        fontsize=style.SMALL,
        color=style.INK,
        ha="center",
        va="center",
        linespacing=1.5,
    )


def _hour(case: Case) -> str:
    return str(case.time.astype("datetime64[m]")).replace("T", " ")


def _zoom(
    content: SimulationContent, values: Any, box: tuple[float, float, float, float]
) -> tuple[Array, tuple[float, float, float, float]]:
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
    half_y, half_x = _half_cell(latitude), _half_cell(np.sort(longitude))
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


def _draw_months(content: SimulationContent, task: str) -> style.Drawing:
    table = all_hours(content.months[task])
    table = table[table["month"] != AVERAGE]
    methods = content.methods_of[task]
    figure = style.new_figure(_WIDTH, 6.4)
    rows = figure.subplots(len(METRICS), 1, sharex=True)
    x = np.arange(len(table))
    drawn = False
    for axes, metric in zip(rows, METRICS, strict=True):
        drawn |= not content.synthetic and _published_marks(axes, table, metric)
        for method, look in style.looks(methods).items():
            axes.plot(
                x,
                table[f"{metric}_{method}"].to_numpy(dtype=np.float64),
                color=look.colour,
                marker=look.marker,
                linestyle=look.line,
                linewidth=1.1,
                markersize=3.4,
                markeredgewidth=0,
                label=escape_figure(method),
            )
        style.dress(axes, y=_label(metric))
    for axes in rows[1:]:
        axes.set_ylim(bottom=0)
    rows[-1].set_xticks(x, [str(month)[-2:] for month in table["month"]])
    rows[-1].set_xlim(-0.6, max(len(table) - 0.4, 0.6))
    rows[-1].set_xlabel(f"Month of {content.year} (UTC)", fontsize=style.TEXT)
    _legend(rows[0])
    title = f"{TASK_NAMES[task]}: scores by month, {weights_in_words(content)}"
    note = f"{_samples(content, task)} Each point is the mean over the samples of its month."
    if drawn:
        note += " Grey: published values (Xiao et al. 2022), of other models and samples."
    if (table["n"] == 0).any():
        note += " Gaps: months without samples."
    _frame(content, figure, title, note)
    return style.Drawing(
        name=f"months_{task}",
        kind="months",
        caption=f"{title}. {note}",
        alternative="R, RMSE and MAE of each method by month; the numbers are in the tables.",
        figure=figure,
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


def _mapped(content: SimulationContent, task: str) -> tuple[str, str] | None:
    """Return the two methods whose maps are drawn, if both have one."""
    pair = content.compared(task)
    if pair is None or any((task, method) not in content.error_maps for method in pair):
        return None
    return pair


def _draw_error_maps(content: SimulationContent, task: str, pair: tuple[str, str]) -> style.Drawing:
    baseline, challenger = pair
    first, second = (np.asarray(content.error_maps[task, name], dtype=np.float64) for name in pair)
    difference = second - first
    scale = Normalize(0.0, _robust_limit(np.concatenate([first.ravel(), second.ravel()])))
    spread = _symmetric_scale([difference])
    extent = _extent(content)
    beside = _shape(extent) < 1.2
    height = 2.2 * 3 + 1.0 if not beside else 2.3 / max(_shape(extent), 0.6) + 1.9
    figure = style.new_figure(_WIDTH if beside else 6.0, height, layout="compressed")
    shape = (1, 3) if beside else (3, 1)
    panels = figure.subplots(*shape, sharex=True, sharey=True).ravel().tolist()
    names = (baseline, challenger, f"{challenger} − {baseline}")
    maps = ((first, scale, _SEQUENTIAL), (second, scale, _SEQUENTIAL))
    for axes, name, (values, norm, colours) in zip(
        panels, names, (*maps, (difference, spread, _DIVERGING)), strict=True
    ):
        _show(axes, values, extent, norm, colours)
        _dress_map(axes, bottom=True)
        axes.set_title(escape_figure(name), fontsize=style.TEXT)
    side = "bottom" if beside else "right"
    _bar(figure, panels[:2], scale, _SEQUENTIAL, f"RMSE ({UNIT})", "max", side)
    _bar(figure, panels[2:], spread, _DIVERGING, f"difference of RMSE ({UNIT})", "both", side)
    title = f"{TASK_NAMES[task]}: error of each cell"
    note = (
        f"{_samples(content, task)} Blue in the difference: {challenger} has the smaller error. "
        f"Colours reach the {_ROBUST:g}th percentile."
    )
    if not np.isfinite(difference).all():
        note += " Grey: no sample."
    _frame(content, figure, title, note, maps=True)
    return style.Drawing(
        name=f"error_maps_{task}",
        kind="error_maps",
        caption=f"{title}: RMSE of {baseline}, of {challenger} and their difference. {note}",
        alternative=f"Maps of the root-mean-square error of {baseline} and {challenger}, and of "
        "their difference.",
        figure=figure,
    )


def _draw_spectra(content: SimulationContent, task: str) -> style.Drawing:
    table = content.spectra[content.spectra["task"] == task]
    figure = style.new_figure(_WIDTH, 4.1)
    axes = figure.subplots()
    top = 1.25
    for method, look in style.looks(content.methods_of[task]).items():
        rows = table[table["method"] == method].sort_values("wavelength_lo_deg")
        if rows.empty:
            continue
        middle = np.sqrt(rows["wavelength_lo_deg"] * rows["wavelength_hi_deg"])
        top = max(top, float(rows["ratio"].max()) * 1.05)
        axes.plot(
            np.asarray(middle, dtype=np.float64),
            rows["ratio"].to_numpy(dtype=np.float64),
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
            linewidth=1.1,
            markersize=3.4,
            markeredgewidth=0,
            label=escape_figure(method),
        )
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
        limit = 2 * _COARSE_FACTOR * 2 * _half_cell(np.asarray(content.latitude))
        axes.axvspan(float(low), limit, color=style.GREY, alpha=0.18, linewidth=0, zorder=0)
        note += f" Shaded: below {limit:g}°, twice the coarse spacing, which the input lacks."
    if top > _TOP_RATIO:
        note += f" Ratios above {_TOP_RATIO:g} are not drawn."
    _legend(axes)
    _frame(content, figure, title, note)
    return style.Drawing(
        name=f"spectra_{task}",
        kind="spectra",
        caption=f"{title}. {note}",
        alternative="Ratio of the power of each method to that of the truth, by wavelength.",
        figure=figure,
    )


def _wavelengths(low: float, high: float) -> FixedLocator:
    steps = [step * 10.0**power for power in (-1, 0, 1, 2) for step in (1, 2, 5)]
    return FixedLocator([step for step in steps if low <= step <= high])


def _draw_skill(content: SimulationContent, task: str) -> style.Drawing:
    table = all_hours(content.skill_of(task))
    baselines = content.baselines(task)
    methods = [name for name in content.methods_of[task] if (table["method"] == name).any()]
    height = len(baselines) * (0.55 + 0.21 * len(methods)) + 1.5
    figure = style.new_figure(_WIDTH, height)
    grid = figure.subplots(len(baselines), 2, squeeze=False, sharex="col", sharey=True)
    for row, baseline in zip(grid, baselines, strict=True):
        for axes, metric in zip(row, ("rmse", "mae"), strict=True):
            chosen = table[(table["baseline"] == baseline) & (table["metric"] == metric)]
            _draw_forest(axes, chosen, methods, style.looks(content.methods_of[task]))
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
    note = f"n = {days:,} day{'' if days == 1 else 's'}, {int(table['samples'].max()):,} samples."
    note += " Right of zero is better than the baseline. " + interval_note(table)
    _frame(content, figure, title, note)
    return style.Drawing(
        name=f"skill_{task}",
        kind="skill",
        caption=f"{title}. {note}",
        alternative="Skill of each method in RMSE and MAE against each baseline with intervals; "
        "the numbers are in the table of skill.",
        figure=figure,
    )


def interval_note(table: pd.DataFrame) -> str:
    """Return what the intervals of rows of skill are, or why there are none."""
    absent = table["skill_lo"].isna() & table["skill"].notna()
    if not absent.all():
        text = f"Bars: 95 % intervals from resampling {resampled_in_words(table)}; filled where"
        text += " they exclude zero."
        return f"{text} Some are undefined." if absent.any() else text
    days = int(table["days"].max())
    return (
        f"No intervals: {'a single day was' if days == 1 else f'{days} days were'} scored, and "
        "whole days are what is resampled."
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


def _show(
    axes: Axes,
    values: Any,
    extent: tuple[float, float, float, float],
    norm: Normalize,
    colours: str,
) -> None:
    axes.set_facecolor(_ABSENT)
    axes.imshow(
        np.asarray(values, dtype=np.float64),
        origin="lower",
        extent=extent,
        norm=norm,
        cmap=colormaps[colours],
        aspect=_stretch(extent),
    )
    west, east, south, north = extent
    axes.set(xlim=(west, east), ylim=(max(south, -90.0), min(north, 90.0)))
    draw_coastlines(axes, extent)


def _dress_map(axes: Axes, *, bottom: bool) -> None:
    style.dress(axes, grid=False)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 3, 5, 6, 9, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 3, 5, 6, 9, 10]))
    # Beyond the date line a map goes on past 180°, its labels do not.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _degrees((x + 180) % 360 - 180)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _degrees(y)))
    axes.tick_params(labelsize=style.SMALL, labelbottom=bottom)


def _bar(
    figure: Figure,
    axes: Sequence[Axes],
    norm: Normalize,
    colours: str,
    label: str,
    extend: str,
    side: str,
    bins: int = 5,
) -> None:
    bar = figure.colorbar(
        ScalarMappable(norm, colormaps[colours]),
        ax=list(axes),
        location=side,
        extend=extend,
        shrink=0.8,
        pad=0.02,
        aspect=30 if len(axes) > 1 else 14,
    )
    bar.set_label(label, fontsize=style.TEXT - 0.5)
    bar.ax.tick_params(labelsize=style.SMALL, width=0.5, length=2)
    bar.locator = MaxNLocator(bins)
    bar.update_ticks()


def _extent(content: SimulationContent) -> tuple[float, float, float, float]:
    """Return west, east, south and north of the outer edges of the cells."""
    longitude = np.asarray(content.longitude, dtype=np.float64)
    latitude = np.asarray(content.latitude, dtype=np.float64)
    half_x, half_y = _half_cell(longitude), _half_cell(latitude)
    return (
        float(longitude[0] - half_x),
        float(longitude[-1] + half_x),
        float(latitude[0] - half_y),
        float(latitude[-1] + half_y),
    )


def _degrees(value: float) -> str:
    return wording.typographic(f"{value:g}°")


def _half_cell(nodes: Any) -> float:
    return float(nodes[-1] - nodes[0]) / (len(nodes) - 1) / 2


def _stretch(extent: tuple[float, float, float, float]) -> float:
    """Return how many times a degree of latitude is longer; a map of a hemisphere keeps 1."""
    _, _, south, north = extent
    if north - south > _HEMISPHERE_DEG:
        return 1.0
    return float(1.0 / np.cos(np.deg2rad(np.clip((south + north) / 2, -75, 75))))


def _shape(extent: tuple[float, float, float, float]) -> float:
    """Return width over height of a map on paper."""
    west, east, south, north = extent
    return (east - west) / ((north - south) * _stretch(extent))


def _robust_limit(values: Array) -> float:
    known = values[np.isfinite(values)]
    top = float(np.percentile(known, _ROBUST)) if len(known) else 0.0
    return top if top > 0 else 1.0


def _symmetric_scale(maps: Sequence[Array]) -> Normalize:
    values = np.abs(np.concatenate([values.ravel() for values in maps]))
    limit = _robust_limit(values)
    return Normalize(-limit, limit)


def _label(metric: str) -> str:
    return SHOWN[metric].header


def _samples(content: SimulationContent, task: str) -> str:
    table = all_hours(content.months[task])
    count = int(table.loc[table["month"] != AVERAGE, "n"].sum())
    return f"n = {count:,} samples."


def _legend(axes: Axes) -> None:
    labels = [str(line.get_label()) for line in axes.get_lines()]
    longest = max(len(label) for label in labels if not label.startswith("_"))
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max(1, 110 // (8 + longest)),
        fontsize=style.TEXT - 0.5,
        frameon=False,
        borderaxespad=0.2,
    )


def _frame(
    content: SimulationContent, figure: Figure, title: str, note: str, *, maps: bool = False
) -> None:
    source = credit.truth_source_line(content.truth_kind, synthetic=content.synthetic)
    style.frame(
        figure,
        title=title,
        source=f"{source} {COASTLINES}." if maps else source,
        synthetic=content.synthetic,
        note=f"{note} Degradation: {content.degradation}." if content.degradation else note,
    )
