"""Time lags: whether a provider's hours fit a product better when they are moved.

A provider that stamps its values late by an hour lowers every score, and no rule that looks at one
record can see it. It shows where the correlation with a product peaks at another lag than 0, and
at another than that of all the other providers: were it the product that is late, all would agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import Array, IntArray
from deepcams_eval.core.pairs import Pairs, codes_of
from deepcams_eval.score import intervals, metrics
from deepcams_eval.score.moments import Moments

LAGS_H = (-3, -2, -1, 0, 1, 2, 3)
"""Hours by which the product is read after the hour of the observation."""

UNKNOWN_PROVIDER = "unknown"
LAG_COLUMNS = (
    "provider",
    "product",
    "lag_h",
    "n",
    "stations",
    "r",
    "r_lo",
    "r_hi",
    "d_r",
    "d_r_lo",
    "d_r_hi",
    "best_lag_h",
    "others_best_lag_h",
    "significant",
    "apart",
)

_ZERO = LAGS_H.index(0)
_HOUR_S = 3600
_PART = 1_000_000
_LEVEL = 0.95
_R = {"r": metrics.r}


def lag_table(
    pairs: Pairs,
    providers: Mapping[str, str],
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> pd.DataFrame:
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
    rng : numpy.random.Generator
        Draws the stations of each provider.
    resamples : int
        Number of bootstrap resamples.

    Returns
    -------
    pandas.DataFrame
        One row a provider × product × lag, of the columns `LAG_COLUMNS`. ``n`` counts pairs of
        stations at which observation and product both vary, and ``stations`` these stations.
        ``r`` (NaN where undefined) has a 95 % interval from resampling stations. ``d_r`` is r
        less that of lag 0 *on the same observations*; its interval (NaN at lag 0) is paired and
        holds with 95 % for all lags of a provider and product together (Bonferroni).
        ``best_lag_h`` (Int64, NA where R is undefined at lag 0) is the lag of the largest
        ``d_r``, and ``others_best_lag_h`` that of all stations of other providers together (NA
        without one).
        ``significant``: the best lag is not 0, and the interval of its ``d_r`` lies above 0.
        ``apart``: moreover it is not that of the others, and R is higher than at theirs by the
        same test.
    """
    series = _Series.of(pairs)
    named = np.array([providers.get(one) or UNKNOWN_PROVIDER for one in series.stations])
    names = sorted(set(named))
    groups = {name: np.flatnonzero(named == name) for name in names}
    draws = {
        name: intervals.draw_clusters(len(members), resamples, rng)
        for name, members in groups.items()
    }
    lagged, unmoved = _all_sums(series, pairs.products)
    parts = []
    for name, members in groups.items():
        others = np.setdiff1d(np.arange(len(named)), members)
        for product in pairs.products:
            both = lagged[product], unmoved[product]
            peak = _Peak.of(_take(both[0], members), _take(both[1], members), draws[name])
            others_best = _best(_pooled_gain(_take(both[0], others), _take(both[1], others)))
            apart = peak.significant and others_best not in (None, peak.best)
            if apart and others_best:
                apart = _gains(series, product, (peak.best, others_best), members, draws[name])
            part = peak.table()
            part.insert(0, "provider", name)
            part.insert(1, "product", product)
            part["others_best_lag_h"] = pd.array([others_best] * len(part), dtype="Int64")
            part["significant"], part["apart"] = peak.significant, apart
            parts.append(part)
    return pd.concat(parts, ignore_index=True)[list(LAG_COLUMNS)]


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
    return int(np.ceil(np.log2(lags / ((1 - _LEVEL) / 2))))


@dataclass(frozen=True)
class _Series:
    """The pairs in the order of station and time, and a key of both that a lag can be added to."""

    stations: npt.NDArray[np.str_]
    station: IntArray
    key: npt.NDArray[np.int64]
    observed: Array
    table: pd.DataFrame
    order: IntArray | None

    @classmethod
    def of(cls, pairs: Pairs) -> _Series:
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

    def values(self, product: str) -> npt.NDArray[np.floating[Any]]:
        values: npt.NDArray[np.floating[Any]] = self.table[product].to_numpy()
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

    def sums(
        self, values: npt.NDArray[np.floating[Any]], *places: npt.NDArray[np.int32]
    ) -> tuple[Moments, ...]:
        """Return the sums by station with the product at each of some places.

        All are over the same observations: those whose own hour and all `places` have a value.
        """
        rows = np.isfinite(values)
        moved = [np.where(place >= 0, values[place], np.nan) for place in places]
        for one in moved:
            rows &= np.isfinite(one)
        observed, station = self.observed[rows], self.station[rows]
        size = len(self.stations)
        return tuple(
            _within_stations(Moments.of(observed, one[rows], station, size)) for one in moved
        )


@dataclass(frozen=True)
class _Peak:
    """The correlations of one provider with one product; arrays have shape (lags,)."""

    n: Array
    stations: IntArray
    r: Array
    r_bounds: tuple[Array, Array]
    gain: Array
    gain_bounds: tuple[Array, Array]

    @classmethod
    def of(cls, lagged: Moments, unmoved: Moments, draws: Array) -> _Peak:
        behind = (lagged.n > 0).sum(axis=0)
        gain = _pooled_gain(lagged, unmoved)
        resampled = intervals.resample(lagged, draws, _R)["r"]
        before = intervals.resample(unmoved, draws, _R)["r"]
        compared = max(int(np.isfinite(gain).sum()) - 1, 1)
        return cls(
            n=lagged.n.sum(axis=0),
            stations=behind,
            r=_pooled_r(lagged),
            r_bounds=intervals.percentile_interval(resampled, behind, _LEVEL),
            gain=gain,
            gain_bounds=_gain_bounds(resampled - before, behind, compared),
        )

    @property
    def best(self) -> int | None:
        return _best(self.gain)

    @property
    def significant(self) -> bool:
        if not self.best:
            return False
        place = LAGS_H.index(self.best)
        compared = int(np.isfinite(self.gain).sum()) - 1
        enough = self.stations[place] >= fewest_stations(compared)
        return bool(enough and self.gain_bounds[0][place] > 0)

    def table(self) -> pd.DataFrame:
        columns = {
            "lag_h": LAGS_H,
            "n": self.n.astype(np.int64),
            "stations": self.stations,
            "r": self.r,
            "r_lo": self.r_bounds[0],
            "r_hi": self.r_bounds[1],
            "d_r": self.gain,
            "d_r_lo": self.gain_bounds[0],
            "d_r_hi": self.gain_bounds[1],
        }
        table = pd.DataFrame(columns)
        # Against itself lag 0 has nothing to be uncertain of.
        table.loc[_ZERO, ["d_r_lo", "d_r_hi"]] = np.nan
        table["best_lag_h"] = pd.array([self.best] * len(table), dtype="Int64")
        return table


def _all_sums(
    series: _Series, products: tuple[str, ...]
) -> tuple[dict[str, Moments], dict[str, Moments]]:
    """Return, by product, the sums at each lag and those of lag 0 on the same observations.

    Each has shape (stations, lags).
    """
    here = series.places(0)
    lagged: dict[str, list[Moments]] = {product: [] for product in products}
    unmoved: dict[str, list[Moments]] = {product: [] for product in products}
    for lag in LAGS_H:
        there = series.places(lag) if lag else here
        for product in products:
            moved, still = series.sums(series.values(product), there, here)
            lagged[product].append(moved)
            unmoved[product].append(still)
    return _stacked(lagged), _stacked(unmoved)


def _gains(
    series: _Series, product: str, lags_h: tuple[int | None, int], members: IntArray, draws: Array
) -> bool:
    """Return whether R at the first lag is higher than at the second, beyond chance."""
    first, second = (
        _take(_column(sums), members)
        for sums in series.sums(
            series.values(product), *(series.places(lag or 0) for lag in lags_h)
        )
    )
    resampled = [intervals.resample(sums, draws, _R)["r"] for sums in (first, second)]
    behind = (first.n > 0).sum(axis=0)
    low, _ = _gain_bounds(resampled[0] - resampled[1], behind, len(LAGS_H) - 1)
    return bool(low[0] > 0)


def _gain_bounds(resampled: Array, stations: IntArray, compared: int) -> tuple[Array, Array]:
    """Return the interval of each gain that holds for all lags compared, shape (lags,) each."""
    levels = intervals.level_of_few(stations, 1 - (1 - _LEVEL) / compared)
    found = [
        intervals.interval(resampled[:, lag], int(stations[lag]), float(level))
        for lag, level in enumerate(levels)
    ]
    low, high = zip(*found, strict=True)
    return np.array(low), np.array(high)


def _within_stations(sums: Moments) -> Moments:
    """Return sums of departures from the station's means, and none of a station that is constant.

    What is left there is rounding, and it says nothing about time.
    """
    varies = np.isfinite(metrics.r(sums)).astype(np.float64)
    kept = sums.map(lambda values: values * varies)
    return replace(kept, mean_o=np.zeros_like(kept.n), mean_m=np.zeros_like(kept.n))


def _pooled_r(sums: Moments) -> Array:
    """Return R by lag over all stations of `sums`; NaN where there are none."""
    pooled: Array = metrics.r(sums.weighted(np.ones((1, len(sums.n)))))[0]
    return pooled


def _pooled_gain(lagged: Moments, unmoved: Moments) -> Array:
    return _pooled_r(lagged) - _pooled_r(unmoved)


def _best(gain: Array) -> int | None:
    """Return the lag of the largest gain, 0 in doubt; None where R is undefined at lag 0."""
    if not np.isfinite(gain[_ZERO]):
        return None
    place = int(np.nanargmax(gain))
    return LAGS_H[place] if gain[place] > 0 else 0


def _take(sums: Moments, stations: IntArray) -> Moments:
    return sums.map(itemgetter(stations))


def _column(sums: Moments) -> Moments:
    return sums.reshape(-1, 1)


def _stacked(parts: Mapping[str, list[Moments]]) -> dict[str, Moments]:
    return {
        product: Moments.joined([_column(sums) for sums in one]) for product, one in parts.items()
    }
