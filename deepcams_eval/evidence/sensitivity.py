"""Would another choice change the answer: every choice of the validation, made the other way.

Every choice is made the other way by itself, everything else left as it is, and all products are
scored again on their common sample. Beside it stands what the products differ by, so that a reader
sees whether a choice weighs more than the products.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, BoolArray, IntArray
from deepcams_eval.core.field import Product, spacing_deg
from deepcams_eval.core.grid import find_cells
from deepcams_eval.core.observations import Observations
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.core.sphere import neighbours
from deepcams_eval.errors import NoDataError
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.differences import NEIGHBOUR_KM
from deepcams_eval.evidence.added_value.verdicts import MIN_STATIONS
from deepcams_eval.evidence.lags import Series
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.evidence.references import Grid, grids_of
from deepcams_eval.pair.averages import PERIODS, average_pairs
from deepcams_eval.pair.colocate import Compute, colocate
from deepcams_eval.pair.qc import RULES
from deepcams_eval.pair.samples import sample_rows
from deepcams_eval.report import style
from deepcams_eval.report.content import Content
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure, number, plural
from deepcams_eval.score.metrics import HEADLINE, HEADLINE_METRICS
from deepcams_eval.score.moments import Moments

Years = Mapping[str, Collection[int]]

COLUMNS = (
    *("family", "choice", "product", "n", "stations", *HEADLINE),
    *(f"d_{name}" for name in HEADLINE),
    *("baseline", *(f"gain_{name}" for name in HEADLINE)),
)
AS_SET = "as set"
_REMARKS = (
    "Each line makes one choice the other way and leaves the rest as it is. The gain is the MAE "
    "of a product less that of the baseline under the same choice: it should hold whatever is "
    "chosen. Weighted by density: a station weighs one over the number of stations within "
    f"{NEIGHBOUR_KM:g} km.",
)
# Rows of other years are no choice of quality; those without a place cannot be paired.
_NO_CHOICE = ("outside_years", "coordinates")


def answer(given: Given) -> Frames | None:
    """Return the scores of every product under every choice, for which products are read again.

    Returns
    -------
    mapping of str to pandas.DataFrame, or None
        ``sensitivity``: one row a choice × product, of the columns `COLUMNS`. ``d_…`` is the score
        less that of ``as set``, ``gain_…`` the score less that of the baseline under the same
        choice, on the pairs of the common sample that both have (NaN for the baseline). Errors in
        µg m⁻³. A choice that changes no pair, or leaves no common sample, has no row. None where
        the observations are not given.
    """
    pairs, years = given.pairs, given.years
    if given.observations is None:
        return None
    seen = given.observations, given.products, given.compute
    found = [_scored(pairs, years, given.baseline, "", AS_SET)]
    variants = (
        *_station_choices(pairs, years, given.products),
        *_averages(pairs, years),
        *_middle_of_hour(pairs, given.products),
        *_matching(*seen),
        *_rules_off(*seen),
    )
    for family, choice, changed, weight in variants:
        try:
            found.append(_scored(changed, years, given.baseline, family, choice, weight))
        except NoDataError:
            continue
    return {"sensitivity": _beside(pd.concat(found, ignore_index=True))}


def _scored(
    pairs: Pairs,
    years: Years,
    baseline: str,
    family: str,
    choice: str,
    weight: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return n, scores and gains on the common sample, stations weighted if asked for.

    Raises
    ------
    NoDataError
        If a product has no pair on it.
    """
    rows = sample_rows(pairs, years)["common"]
    station, names = codes_of(pairs.table["station_id"])
    weights = np.array([1.0 if weight is None else weight[str(name)] for name in names])
    observed = pairs.table["observed"].to_numpy()

    def sums(product: str, chosen: BoolArray) -> Moments:
        estimate = pairs.table[product].to_numpy()[chosen]
        return Moments.of(observed[chosen], estimate, station[chosen], len(names))

    def total(by_station: Moments) -> dict[str, float]:
        pooled = by_station.scaled(weights).merged()
        return {name: float(score(pooled)[0]) for name, score in HEADLINE_METRICS.items()}

    lines = []
    for product in pairs.products:
        if not rows[product].any():
            raise NoDataError(f"{product} has no common sample")
        by_station = sums(product, rows[product])
        line: dict[str, Any] = {"family": family, "choice": choice, "product": product}
        line |= {"n": int(rows[product].sum()), "stations": int((by_station.n > 0).sum())}
        line |= {"baseline": baseline, **total(by_station)}
        both = rows[product] & rows[baseline]
        if product != baseline and both.any():
            ours, theirs = total(sums(product, both)), total(sums(baseline, both))
            line |= {f"gain_{name}": ours[name] - theirs[name] for name in HEADLINE_METRICS}
        lines.append(line)
    return pd.DataFrame(lines, columns=[one for one in COLUMNS if not one.startswith("d_")])


def _beside(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with changes from what is set, without choices that change nothing."""
    as_set = table[table["choice"] == AS_SET].set_index("product")
    for name in HEADLINE_METRICS:
        table[f"d_{name}"] = table[name] - table["product"].map(as_set[name])
    same = table["product"].map(as_set["n"]) == table["n"]
    still = table[[f"d_{name}" for name in HEADLINE_METRICS]].abs().max(axis="columns") == 0
    unchanged = (same & still).groupby(table["choice"]).transform("all")
    return table[~unchanged | (table["choice"] == AS_SET)][list(COLUMNS)].reset_index(drop=True)


Variant = tuple[str, str, Pairs, Mapping[str, float] | None]


def _rules_off(
    observations: Observations, products: Sequence[Product], compute: Compute | None
) -> Iterator[Variant]:
    """Yield the pairs with the rows that one rule alone had flagged; all are read together."""
    flags = observations.table["flags"].to_numpy()
    rules = {name: rule.bit for name, rule in RULES.items() if name not in _NO_CHOICE}
    rules = {name: bit for name, bit in rules.items() if (flags == bit).any()}
    if not rules:
        return
    relaxed = np.where(np.isin(flags, list(rules.values())), 0, flags).astype(flags.dtype)
    table = observations.table.assign(flags=relaxed)
    # This rule alone holds back records of another length: without it they pair at their end.
    of_any_length = "averaging_period" in rules
    found = colocate(
        observations.with_table(table), products, hourly_only=not of_any_length, compute=compute
    )
    flag_of_pair = flags[found.rows]
    for name, bit in rules.items():
        yield (
            "quality control",
            f"without the rule {name.replace('_', ' ')}",
            found.pairs.taken((flag_of_pair == 0) | (flag_of_pair == bit)),
            None,
        )


def _matching(
    observations: Observations, products: Sequence[Product], compute: Compute | None
) -> Iterator[Variant]:
    found = colocate(observations, products, matching="bilinear", compute=compute)
    yield "matching", "bilinear between cell centres", found.pairs, None


def _middle_of_hour(pairs: Pairs, products: Sequence[Product]) -> Iterator[Variant]:
    """Yield pairs whose hourly point values are those of the middle of the observed hour.

    That is the mean of the values at both ends of the hour, the earlier taken from the pair that
    the station has an hour before.
    """
    grids = {name: grid for name, grid in grids_of(products).items() if grid.step_h == 1}
    changed = [name for name, grid in grids.items() if grid.stamp == "point"]
    if not changed:
        return
    before = Series.of(pairs).rows_at(-1)
    table = pairs.table.copy()
    for name in changed:
        values = table[name].to_numpy()
        earlier = np.where(before >= 0, values[before], np.nan)
        table[name] = ((values + earlier) / 2).astype(np.float32)
    yield "matching", "middle of the hour", Pairs(table, pairs.products), None


def _averages(pairs: Pairs, years: Years) -> Iterator[Variant]:
    for period in PERIODS:
        try:
            made = average_pairs(pairs, years, period)
        except NoDataError:
            continue
        yield "averaging", f"means of a {period}", made.pairs, None


def _station_choices(pairs: Pairs, years: Years, products: Sequence[Product]) -> Iterator[Variant]:
    """Yield other ways of counting stations: by cell, one a cell, by density, by kind."""
    table = pairs.table
    common = sample_rows(pairs, years)["common"]
    rows = np.logical_or.reduce(list(common.values()))
    station, names = codes_of(table["station_id"])
    first = np.unique(station, return_index=True)[1]
    latitude = table["latitude"].to_numpy()[first]
    longitude = table["longitude"].to_numpy()[first]
    cell = _cell_of(latitude, longitude, products)
    yield (
        "stations",
        "mean of the stations of a cell",
        _cell_means(pairs, rows, cell[station]),
        None,
    )
    counted = np.bincount(station[rows], minlength=len(names))
    order = np.lexsort((names, -counted, cell))
    most = np.zeros(len(names), dtype=bool)
    most[order[np.unique(cell[order], return_index=True)[1]]] = True
    yield "stations", "the fullest station of each cell", pairs.taken(most[station]), None
    near = neighbours(latitude, longitude, NEIGHBOUR_KM)
    weight = dict(zip(names.astype(str), 1 / (1 + near), strict=True))
    yield "stations", "weighted by density", pairs, weight
    reference = (table["station_kind"] == "reference").to_numpy()
    if 0 < reference.sum() < len(reference):
        yield "stations", "reference monitors only", pairs.taken(reference), None


def _cell_of(latitude: Array, longitude: Array, products: Sequence[Product]) -> IntArray:
    """Return the cell of each station on the finest grid; a station beyond it has one alone."""
    finest = min(map(Grid.of, products), key=lambda grid: spacing_deg(grid.latitude))
    row, column = find_cells(latitude, longitude, finest.latitude, finest.longitude)
    alone = -1 - np.arange(len(latitude))
    return np.where(row >= 0, row * len(finest.longitude) + column, alone).astype(np.int64)


def _cell_means(pairs: Pairs, rows: BoolArray, cell: IntArray) -> Pairs:
    """Return the mean observation of each cell and hour as that of one station."""
    table = pairs.table[rows]
    grouped = table.assign(cell=cell[rows]).groupby(["cell", "time_start"], sort=True)
    means = grouped[["observed", *pairs.products]].mean()
    labels = grouped[["time_end", "latitude", "longitude", "station_kind", "country"]].first()
    made = pd.concat([means, labels], axis="columns").reset_index()
    made["station_id"] = made.pop("cell").astype(str).astype("category")
    return Pairs(made.astype(dict.fromkeys(pairs.products, np.float32)), pairs.products)


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page that shows what each choice moves."""
    table = frames["sensitivity"]
    return Section(
        name="sensitivity",
        label="Sensitivity",
        title="Would another choice change the answer?",
        sentences=tuple(_sentences(table)),
        remarks=_REMARKS,
        tables=(_table(table),),
        drawings=(_draw(table, content),),
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


def _table(table: pd.DataFrame) -> Table:
    shown = HEADLINE_METRICS
    return Table(
        "sensitivity",
        "Scores under other choices",
        (
            Column("family", "Kind"),
            Column("choice", "Choice"),
            parts.PRODUCT,
            parts.N,
            parts.STATIONS,
            *(Column(key, one.label, one.unit, one.digits) for key, one in shown.items()),
            *(
                Column(f"d_{key}", f"Change of {one.label}", one.unit, one.digits, signed=True)
                for key, one in shown.items()
            ),
            Column("gain_r", "Gain in R", decimals=3, signed=True),
            Column("gain_mae", "in MAE", UNIT, 2, signed=True),
        ),
        table,
        notes=(
            "On the common sample of each choice. Change: less the score as set. Gain: less the "
            f"score of {table['baseline'].iloc[0]} on the pairs that both have.",
        ),
    )


def _draw(table: pd.DataFrame, content: Content) -> style.Drawing:
    choices = parts.unique(table["choice"])
    products = parts.unique(table["product"])
    looks = style.looks(products)
    figure = style.new_figure(parts.WIDTH, 1.4 + 0.24 * len(choices))
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
    parts.label_lines(grid[0], choices)
    grid[0].legend(fontsize=style.SMALL, frameon=False)
    return parts.finished(
        figure,
        content,
        "sensitivity",
        title="What each choice moves, and what the products differ by",
        note="Left of zero in the right panel: the product has the smaller error.",
        alternative="Change of the mean absolute error under each choice, and gain over the "
        "baseline; the numbers are in the table of scores under other choices.",
    )


QUESTION = Question("sensitivity", 70, answer, section)
