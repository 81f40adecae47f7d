"""Parts that the sections of several questions share: columns, marks with intervals, figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepcams_eval.report import credit, style
from deepcams_eval.report.content import Content
from deepcams_eval.report.tables import Column
from deepcams_eval.report.wording import escape_figure

WIDTH = 7.2
"""Width of a figure, inches."""

PRODUCT = Column("product", "Product")
REFERENCE = Column("reference", "Reference")
NAMED = (PRODUCT, REFERENCE)
N = Column("n", "N", decimals=0)
STATIONS = Column("stations", "Stations", decimals=0)
DOT: Mapping[str, Any] = {"markersize": 3.6, "markeredgewidth": 0, "zorder": 4}


def unique(values: Iterable[Any]) -> list[Any]:
    """Return the distinct values in the order of their first occurrence."""
    return list(dict.fromkeys(values))


def bar(
    axes: Axes, row: pd.Series[Any], keys: tuple[str, str, str], y: float, look: style.Look
) -> None:
    """Draw value, lower and upper end of an interval at height `y`; nothing without interval."""
    value, low, high = (row[key] for key in keys)
    if np.isfinite([low, high]).all():
        axes.plot([low, high], [y, y], color=look.colour, linewidth=1.2, zorder=3)
        axes.plot(value, y, marker=look.marker, color=look.colour, **DOT)


def with_chances(name: str) -> tuple[str, str, str, str, str]:
    """Return the columns of a difference, its interval and its one-sided probabilities."""
    return (*with_ends(name), f"{name}_p_low", f"{name}_p_high")


def with_ends(key: str) -> tuple[str, str, str]:
    """Return the columns of a value and of both ends of its interval."""
    return key, f"{key}_lo", f"{key}_hi"


def label_lines(axes: Axes, names: Sequence[str]) -> None:
    """Name the lines of a figure from top to bottom, at 0, 1, 2 and so on."""
    axes.set_yticks(range(len(names)), [escape_figure(one) for one in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def finished(
    figure: Figure, content: Content, name: str, *, title: str, note: str, alternative: str
) -> style.Drawing:
    """Return a figure with its title, note and credit, and the words that go with it."""
    return style.finish(
        figure,
        credit.line(content),
        name=name,
        kind="evidence",
        title=title,
        note=note,
        alternative=alternative,
    )
