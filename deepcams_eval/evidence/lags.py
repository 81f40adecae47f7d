"""Time lags: whether a provider's hours fit a product better when they are moved.

A provider that stamps its values late by an hour lowers every score, and no rule that looks at one
record can see it. It shows where the correlation with a product peaks at another lag than 0, and
at another than that of all the other providers: were it the product that is late, all would agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from deepcams_eval.core.arrays import Array, FloatArray, IntArray
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report import style, wording
from deepcams_eval.report.content import Content, records
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import escape_figure, plural, shortened
from deepcams_eval.score import metrics
from deepcams_eval.score.intervals import LEVEL, bounds, estimates
from deepcams_eval.score.moments import Moments

LAGS_H = (-3, -2, -1, 0, 1, 2, 3)
"""Hours by which the product is read after the hour of the observation."""

UNKNOWN_PROVIDER = "unknown"
LAG_COLUMNS = (
    *("provider", "product", "lag_h", "n", "stations", "r", "r_lo", "r_hi"),
    *("d_r", "d_r_lo", "d_r_hi", "best_lag_h", "others_best_lag_h", "significant", "apart"),
)

_ZERO = LAGS_H.index(0)
_HOUR_S = 3600
_PART = 1_000_000
_R = {"r": metrics.METRICS["r"]}
_PANELS_ACROSS = 3
_FAINT: Mapping[str, Any] = {
    "linewidth": 0.7,
    "markersize": 1.8,
    "markeredgewidth": 0,
    "zorder": 2,
}


def answer(given: Given) -> Frames:
    """Return ``lags``, of `lag_table`."""
    return {"lags": lag_table(given.pairs, given.providers)}


def lag_table(pairs: Pairs, providers: Mapping[str, str]) -> pd.DataFrame:
    """Return the correlation of each provider with each product at −3 … +3 h.

    An observation of the hour t is set beside the value of the product at t + lag in the cell of
    its station. That value is taken from the pairs themselves, from the pair that the same
    station has at t + lag, so no field is read again and nothing is interpolated. A lag thus
    counts only hours that the station reports too: where gaps follow the pollution, the pairs
    that are left are not those of all hours. Every lag takes only observations whose own hour has
    a value of the product, so a 3-hourly product has the lags −3, 0 and 3 alone.

    R = Σ_s Σ o'm' / √(Σ_s Σ o'² Σ_s Σ m'²), o' and m' being the departures from the means of
    their station s over the pairs of the lag. Contrasts between stations, which no lag changes,
    would drown it otherwise. The daily cycle stays in: it is the sharpest mark of time that a
    series has, and a product whose cycle is wrong shows the same lag at all providers.

    Parameters
    ----------
    pairs : Pairs
        Rows in any order.
    providers : mapping of str to str
        Provider of each ``station_id``; one that is absent or "" is ``unknown``.

    Returns
    -------
    pandas.DataFrame
        One row a provider × product × lag, of the columns `LAG_COLUMNS`. ``n`` counts pairs of
        stations at which observation and product both vary, and ``stations`` these stations.
        ``r`` (NaN where undefined) has a 95 % interval from leaving out stations. ``d_r`` is r
        less that of lag 0 *on the same observations*; its interval (NaN at lag 0) is paired and
        holds with 95 % for all lags of a provider and product together (Bonferroni).
        ``best_lag_h`` (Int64, NA where R is undefined at lag 0) is the lag of the largest
        ``d_r``, and ``others_best_lag_h`` that of all stations of other providers together (NA
        without one).
        ``significant``: the best lag is not 0, and the interval of its ``d_r`` lies above 0.
        ``apart``: moreover it is not that of the others, and R is higher than at theirs by the
        same test.
    """
    series = Series.of(pairs)
    named = np.array([providers.get(one) or UNKNOWN_PROVIDER for one in series.stations])
    names = sorted(set(named))
    groups = {name: np.flatnonzero(named == name) for name in names}
    here = series.places(0)
    sums: dict[str, list[tuple[Moments, ...]]] = {product: [] for product in pairs.products}
    for lag in LAGS_H:
        there = series.places(lag) if lag else here
        for product, found in sums.items():
            found.append(series.sums(series.values(product), there, here))
    parts = []
    for product, found in sums.items():
        lagged, unmoved = (Moments.joined(one) for one in zip(*found, strict=True))
        for name, members in groups.items():
            mine = lagged.map(itemgetter(members)), unmoved.map(itemgetter(members))
            part = _correlations(*mine)
            best, significant = part["best_lag_h"].iloc[0], bool(part["significant"].iloc[0])
            theirs = named != name
            others = _best(_r(lagged.map(itemgetter(theirs))) - _r(unmoved.map(itemgetter(theirs))))
            apart = significant and others not in (None, best)
            if apart and others:
                places = [series.places(lag) for lag in (best, others)]
                pair = series.sums(series.values(product), *places)
                first, second = (one.map(itemgetter(members)) for one in pair)
                apart = _higher(first, second)
            part["others_best_lag_h"] = pd.array([others] * len(part), dtype="Int64")
            parts.append(part.assign(provider=name, product=product, apart=apart))
    table = pd.concat(parts, ignore_index=True)[list(LAG_COLUMNS)]
    return table.sort_values(["provider"], kind="stable", ignore_index=True)


def lag_notes(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each provider, and each product, that seems to be off in time.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `lag_table`.
    """
    best = table[table["lag_h"] == table["best_lag_h"]]
    notes = []
    for _, rows in best[best["apart"]].groupby(["provider", "best_lag_h"]):
        provider, lag = rows["provider"].iloc[0], int(rows["best_lag_h"].iloc[0])
        others = sorted({f"{int(one):+d} h" if one else "0 h" for one in rows["others_best_lag_h"]})
        notes.append(
            f"{provider}: its hours fit {', '.join(rows['product'])} best at a lag of "
            f"{lag:+d} h, those of the other providers at {', '.join(others)}; its stamps are "
            f"probably {abs(lag)} h too {'late' if lag < 0 else 'early'}, which --shift "
            f"'{provider}={lag}h' corrects."
        )
    joint = best[best["significant"] & (best["best_lag_h"] == best["others_best_lag_h"])]
    for _, rows in joint.groupby(["product", "best_lag_h"]):
        product, lag = rows["product"].iloc[0], int(rows["best_lag_h"].iloc[0])
        notes.append(
            f"{product}: providers agree on a lag of {lag:+d} h "
            f"({', '.join(rows['provider'])}), so it is probably its own times or its daily cycle "
            "that are off, not theirs."
        )
    alone = best[best["significant"] & best["others_best_lag_h"].isna()]
    notes += [
        f"{row['provider']}: its hours fit {row['product']} best at a lag of "
        f"{row['best_lag_h']:+d} h; with no other provider nothing tells which of the two is off."
        for row in alone.to_dict("records")
    ]
    return notes


def fewest_stations(lags: int) -> int:
    """Return how many stations a verdict on the best of some lags needs.

    That all stations favour the same lag by chance has the probability 2^−stations; with fewer
    stations than this it exceeds the share of each lag in the error of 2.5 % on this side,
    whatever a percentile interval says.
    """
    return int(np.ceil(np.log2(lags / ((1 - LEVEL) / 2))))


@dataclass(frozen=True)
class Series:
    """The pairs in the order of station and time, and a key of both that a lag can be added to.

    `order` holds the rows of the pairs in that order, None where they have it.
    """

    stations: npt.NDArray[np.str_]
    station: IntArray
    key: npt.NDArray[np.int64]
    observed: Array
    table: pd.DataFrame
    order: IntArray | None

    @classmethod
    def of(cls, pairs: Pairs) -> Series:
        """Order some pairs."""
        station, stations = codes_of(pairs.table["station_id"])
        second = pairs.table["time_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
        second -= second.min()
        # Room for a lag on both sides, so that none leads into the next station.
        key = station * np.int64(second.max() + 2 * max(LAGS_H) * _HOUR_S + 1) + second
        order = None
        if (key[1:] < key[:-1]).any():
            order = np.argsort(key, kind="stable")
            key, station = key[order], station[order]
        observed = pairs.table["observed"].to_numpy()
        observed = observed if order is None else observed[order]
        return cls(stations, station, key, observed, pairs.table, order)

    def values(self, product: str) -> FloatArray:
        """Return the values of a product in this order, µg m⁻³."""
        values: FloatArray = self.table[product].to_numpy()
        return values if self.order is None else values[self.order]

    def places(self, lag_h: int) -> npt.NDArray[np.int32]:
        """Return the row of the same station at the hour + lag; −1 where it has none.

        Where two sensors of a station share an hour, either row tells the product's value.
        """
        places = np.empty(len(self.key), dtype=np.int32)
        for first in range(0, len(self.key), _PART):
            wanted = self.key[first : first + _PART] + lag_h * _HOUR_S
            found = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
            places[first : first + _PART] = np.where(self.key[found] == wanted, found, -1)
        return places

    def rows_at(self, lag_h: int) -> IntArray:
        """Return for each row of the pairs that of the same station at the hour + lag, or −1."""
        places = self.places(lag_h)
        if self.order is None:
            return places
        rows = np.empty_like(self.order)
        rows[self.order] = np.where(places >= 0, self.order[places], -1)
        return rows

    def sums(self, values: FloatArray, *places: npt.NDArray[np.int32]) -> tuple[Moments, ...]:
        """Return the sums by station, shape (stations, 1), with the product at each of some places.

        All are over the same observations: those whose own hour and all `places` have a value.
        """
        moved = [np.where(place >= 0, values[place], np.nan) for place in places]
        rows = np.isfinite([values, *moved]).all(axis=0)
        observed, station = self.observed[rows], self.station[rows]
        size = len(self.stations)
        return tuple(
            _within_stations(Moments.of(observed, one[rows], station, size)).reshape(-1, 1)
            for one in moved
        )


def _correlations(lagged: Moments, unmoved: Moments) -> pd.DataFrame:
    """Return the rows of one provider and product from sums of shape (stations, lags)."""
    behind = (lagged.n > 0).sum(axis=0)
    gain = _r(lagged) - _r(unmoved)
    compared = max(int(np.isfinite(gain).sum()) - 1, 1)
    moved, before = (estimates(one, _R)["r"] for one in (lagged, unmoved))
    columns = {
        "lag_h": LAGS_H,
        "n": lagged.n.sum(axis=0).astype(np.int64),
        "stations": behind,
        "r": _r(lagged),
        **bounds("r", moved.interval()),
        "d_r": gain,
        **bounds("d_r", (moved - before).interval(_joint(compared))),
    }
    table = pd.DataFrame(columns)
    # Against itself lag 0 has nothing to be uncertain of.
    table.loc[_ZERO, ["d_r_lo", "d_r_hi"]] = np.nan
    best = _best(gain)
    at = LAGS_H.index(best or 0)
    enough = behind[at] >= fewest_stations(compared)
    table["significant"] = bool(best and enough and table["d_r_lo"][at] > 0)
    table["best_lag_h"] = pd.array([best] * len(table), dtype="Int64")
    return table


def _higher(first: Moments, second: Moments) -> bool:
    """Return whether R of the first is higher than that of the second, beyond chance."""
    one, other = (estimates(sums, _R)["r"] for sums in (first, second))
    low, _ = (one - other).interval(_joint(len(LAGS_H) - 1))
    return bool(low[0] > 0)


def _joint(compared: int) -> float:
    """Return the level of each interval that holds for all lags compared (Bonferroni)."""
    return 1 - (1 - LEVEL) / compared


def _within_stations(sums: Moments) -> Moments:
    """Return sums of departures from the station's means, and none of a station that is constant.

    What is left there is rounding, and it says nothing about time.
    """
    varies = np.isfinite(metrics.r(sums)).astype(np.float64)
    kept = sums.map(lambda values: values * varies)
    return replace(kept, mean_o=np.zeros_like(kept.n), mean_m=np.zeros_like(kept.n))


def _r(sums: Moments) -> Array:
    """Return R by lag over all stations of `sums`; NaN where there are none."""
    return metrics.r(sums.merged())


def _best(gain: Array) -> int | None:
    """Return the lag of the largest gain, 0 in doubt; None where R is undefined at lag 0."""
    if not np.isfinite(gain[_ZERO]):
        return None
    place = int(np.nanargmax(gain))
    return LAGS_H[place] if gain[place] > 0 else 0


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page on time lags."""
    lags = frames["lags"]
    moved = lags["lag_h"] != 0
    return Section(
        name="lags",
        label="Time lags",
        title="Is a provider off in time?",
        sentences=tuple(_sentences(lags)),
        tables=(_table(lags),),
        drawings=(_draw(lags, content),) if lags.loc[moved, "r"].notna().any() else (),
    )


def _sentences(lags: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each provider that differs from the others in time, or one if none."""
    best = lags[lags["lag_h"] == lags["best_lag_h"]]
    if not lags.loc[lags["lag_h"] != 0, "d_r_lo"].notna().any():
        yield "No provider has enough stations, or hours in a row, for a verdict on time lags."
    elif not best["apart"].any():
        yield (
            "No provider's best time lag differs significantly both from 0 h and from that of the "
            "others."
        )
    for row in records(best[best["apart"]]):
        mine, others = (
            wording.number(row[key], 0, sign=True) for key in ("best_lag_h", "others_best_lag_h")
        )
        yield (
            f"{row['provider']} fits {row['product']} best at a lag of {mine} h, the other "
            f"providers at {others} h: ΔR {wording.with_interval(row, 'd_r', sign=True)} over lag "
            f"0 at {plural(row['stations'], 'station')}."
        )


def _table(lags: pd.DataFrame) -> Table:
    keys = ["provider", "product"]
    best = lags[lags["lag_h"] == lags["best_lag_h"]]
    still = lags[lags["lag_h"] == 0][[*keys, "r"]].rename(columns={"r": "r_at_0"})
    frame = best.merge(still, on=keys).reset_index(drop=True)
    numbers = ["r_at_0", "r", "d_r", "d_r_lo", "d_r_hi"]
    found = ["best_lag_h", "others_best_lag_h"]
    frame = frame[[*keys, "stations", "n", *found, *numbers, "significant", "apart"]]
    return Table(
        "lags",
        "Best time lag by provider",
        (
            Column("provider", "Provider"),
            parts.PRODUCT,
            parts.STATIONS,
            parts.N,
            Column("best_lag_h", "Best lag", "h", 0, signed=True),
            Column("others_best_lag_h", "Others'", "h", 0, signed=True),
            Column("r_at_0", "R at lag 0", decimals=3),
            Column("r", "R at best", decimals=3),
            Column("d_r", "ΔR", "", 3, True, signed=True),
        ),
        frame,
        frozenset((int(row), "best_lag_h") for row in np.flatnonzero(frame["significant"])),
        notes=(
            "Lag: hours by which the product is read after the hour of the observation; −1 h fits "
            "best where stamps are 1 h late. R of departures from each station's mean. ΔR: best − "
            "lag 0 on the same observations; its interval leaves out stations and holds for all "
            f"lags together ({wording.DASH} at lag 0 and with fewer than 5 stations). Bold: that "
            "interval lies above zero.",
        ),
    )


def _draw(lags: pd.DataFrame, content: Content) -> style.Drawing:
    products = [name for name in content.products if name in set(lags["product"])]
    looks = style.looks(sorted(set(lags.loc[lags["significant"], "provider"])))
    columns = min(_PANELS_ACROSS, len(products))
    rows = -(-len(products) // columns)
    figure = style.new_figure(parts.WIDTH, 0.9 + 2.5 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(products) :]:
        axes.set_visible(False)
    for place, (axes, product) in enumerate(zip(grid.ravel(), products, strict=False)):
        mine = lags[lags["product"] == product]
        # The coloured ones last, so that no grey line covers them.
        for _, line in mine.groupby(["significant", "provider"]):
            known = bool(line["significant"].iloc[0])
            _draw_line(axes, line, looks[str(line["provider"].iloc[0])] if known else None)
        style.dress(axes, y="R" if place % columns == 0 else "")
        axes.set_title(escape_figure(shortened(product)), fontsize=style.TEXT, color=style.INK)
        axes.set_xticks(sorted(set(lags["lag_h"])))
        axes.axvline(0, color=style.GREY, linewidth=0.6, zorder=0)
        if mine["significant"].any():
            axes.legend(loc="best", fontsize=style.SMALL, frameon=False, handlelength=1.6)
        if place + columns >= len(products):
            axes.set_xlabel("Lag of the product (h)", fontsize=style.TEXT)
            axes.tick_params(labelbottom=True)
    return parts.finished(
        figure,
        content,
        "lags",
        title="Correlation by time lag and provider",
        note=_note(lags),
        alternative="R of each provider with each product at lags of -3 to 3 hours; the best lags "
        "are in the table of lags.",
    )


def _draw_line(axes: Axes, line: pd.DataFrame, look: style.Look | None) -> None:
    """Draw one provider; one with a look has its interval and stands in the legend."""
    # A 3-hourly product has no lags between, and its points are joined.
    line = line[line["r"].notna()]
    if look is None:
        axes.plot(line["lag_h"], line["r"], color=style.GREY, marker="o", **_FAINT)
        return
    best = wording.typographic(f"{line['best_lag_h'].iloc[0]:+d}")
    axes.fill_between(
        line["lag_h"], line["r_lo"], line["r_hi"], color=look.colour, alpha=0.16, linewidth=0
    )
    style.draw_line(
        axes,
        line["lag_h"],
        line["r"],
        look,
        f"{shortened(str(line['provider'].iloc[0]))}, {best} h",
        linewidth=1.3,
        markersize=3.6,
        markevery=[int(np.flatnonzero(line["lag_h"] == line["best_lag_h"])[0])],
        zorder=4,
    )


def _note(lags: pd.DataFrame) -> str:
    meaning = "Departures from each station's mean; the product is read at the hour + lag."
    count = lags["provider"].nunique()
    if not lags["significant"].any():
        none = f"At none of {plural(count, 'provider')} is the best lag "
        return f"{meaning} {none}significantly different from 0."
    return (
        f"{meaning} Colour: R is significantly higher at the best lag (marker) than at 0; bands "
        f"are 95 % intervals from leaving out stations. Grey: the others of {count} providers."
    )


QUESTION = Question("lags", 80, answer, section, lambda frames: lag_notes(frames["lags"]))
