"""The section on sensitivity: what each choice moves, beside what the products differ by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from deepcams_eval.evidence.added_value.verdicts import MIN_STATIONS
from deepcams_eval.evidence.sensitivity import AS_SET, NEIGHBOUR_KM
from deepcams_eval.report import credit, style
from deepcams_eval.report.content import Content
from deepcams_eval.report.evidence import Evidence
from deepcams_eval.report.section import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure, number, plural, with_minuses
from deepcams_eval.score.metrics import HEADLINE_METRICS

_WIDTH = 7.2
_REMARKS = (
    "Each line makes one choice the other way and leaves the rest as it is. The gain is the MAE "
    "of a product less that of the baseline under the same choice: it should hold whatever is "
    "chosen. Weighted by density: a station weighs one over the number of stations within "
    f"{NEIGHBOUR_KM:g} km.",
)


def section(evidence: Evidence, content: Content) -> Section:
    """Return the section of the page that shows the evidence on sensitivity.

    Parameters
    ----------
    evidence : Evidence
        Of `deepcams_eval.evidence.sensitivity.sensitivity`.
    content : Content
        The rest of the report: source line, and whether the data are synthetic.
    """
    table = evidence.frames["sensitivity"]
    return Section(
        name="sensitivity",
        label="Sensitivity",
        title="Would another choice change the answer?",
        sentences=tuple(map(with_minuses, _sentences(table))),
        remarks=_REMARKS,
        tables=(_table(table, content.synthetic),),
        drawings=(_draw(table, credit.source_line(content), content.synthetic),),
    )


def _sentences(table: pd.DataFrame) -> Iterator[str]:
    as_set = table[table["choice"] == AS_SET].set_index("product")
    changed = table[table["choice"] != AS_SET]
    if changed.empty:
        yield "No choice that was tried changes a pair."
        return
    fewest = int(table["stations"].min())
    if fewest < MIN_STATIONS:
        yield (
            f"Too small a sample to judge what choices change: {plural(fewest, 'station')} "
            f"(at least {MIN_STATIONS} needed)."
        )
        return
    for product in [one for one in as_set.index if np.isfinite(as_set.loc[one, "gain_mae"])]:
        gains = table.loc[table["product"] == product, "gain_mae"].dropna()
        low, high = gains.min(), gains.max()
        holds = "changes its sign" if low < 0 < high else "never changes its sign"
        yield (
            f"The gain of {product} over {as_set.loc[product, 'baseline']} in MAE, "
            f"{number(as_set.loc[product, 'gain_mae'], 2, sign=True)} {UNIT}, {holds}: "
            f"{number(low, 2, sign=True)} to {number(high, 2, sign=True)}."
        )
    for product in as_set.index:
        mine = changed[changed["product"] == product]
        largest = mine.loc[mine["d_mae"].abs().idxmax()]
        yield (
            f"{product}: the choice that moves the MAE most is {largest['choice']}, by "
            f"{number(largest['d_mae'], 2, sign=True)} {UNIT}."
        )


def _table(table: pd.DataFrame, synthetic: bool) -> Table:
    shown = HEADLINE_METRICS
    return Table(
        "sensitivity",
        "Scores under other choices",
        (
            Column("family", "Kind"),
            Column("choice", "Choice"),
            Column("product", "Product"),
            Column("n", "N", decimals=0),
            Column("stations", "Stations", decimals=0),
            *(Column(key, one.label, one.unit, one.digits) for key, one in shown.items()),
            *(
                Column(
                    f"d_{key}",
                    f"{'of' if place else 'Change of'} {one.label}",
                    one.unit,
                    one.digits,
                    signed=True,
                )
                for place, (key, one) in enumerate(shown.items())
            ),
            Column("gain_r", "Gain in R", decimals=3, signed=True),
            Column("gain_mae", "in MAE", UNIT, 2, signed=True),
        ),
        table,
        notes=(
            "On the common sample of each choice. Change: less the score as set. Gain: less the "
            f"score of {table['baseline'].iloc[0]} on the pairs that both have.",
        ),
        synthetic=synthetic,
    )


def _draw(table: pd.DataFrame, source: str, synthetic: bool) -> style.Drawing:
    choices = list(dict.fromkeys(table["choice"]))
    products = list(dict.fromkeys(table["product"]))
    looks = style.looks(products)
    figure = style.new_figure(_WIDTH, 1.4 + 0.24 * len(choices))
    grid = figure.subplots(1, 2, sharey=True)
    panels = (
        ("d_mae", f"Change of MAE ({UNIT})"),
        ("gain_mae", f"Gain in MAE over {table['baseline'].iloc[0]} ({UNIT})"),
    )
    for axes, (key, label) in zip(grid, panels, strict=True):
        for shift, product in zip(np.linspace(-0.2, 0.2, len(products)), products, strict=True):
            mine = table[table["product"] == product].set_index("choice").reindex(choices)
            axes.plot(
                mine[key], np.arange(len(choices)) + shift, linestyle="", markersize=4,
                marker=looks[product].marker, color=looks[product].colour,
                label=escape_figure(product),
            )  # fmt: skip
        axes.axvline(0, color=style.GREY, linewidth=0.8, zorder=1)
        style.dress(axes, x=escape_figure(label))
    grid[0].set_yticks(range(len(choices)), [escape_figure(one) for one in choices])
    grid[0].set_ylim(len(choices) - 0.4, -0.6)
    grid[0].legend(fontsize=style.SMALL, frameon=False)
    title = "What each choice moves, and what the products differ by"
    note = "Left of zero in the right panel: the product has the smaller error."
    style.frame(figure, title=title, source=source, synthetic=synthetic, note=note)
    return style.Drawing(
        name="sensitivity",
        kind="sensitivity",
        caption=f"{title}. {note}",
        alternative="Change of the mean absolute error under each choice, and gain over the "
        "baseline; the numbers are in the table of scores under other choices.",
        figure=figure,
    )
