"""Cycles: the daily one, and how the variance is spread over periods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import BoolArray, IntArray
from deepcams_eval.core.field import FloatArray
from deepcams_eval.evidence.added_value.sample import Array, Sample
from deepcams_eval.score import intervals

MIN_VALUES = 8
"""Values that each hour of the day needs at a station before its daily cycle is looked at."""

WINDOW_H = 48
"""Consecutive hours that a spectrum is made of."""

_OVERLAP_H = 24
_HOURS_A_DAY = 24
_TURN = 2 * np.pi / _HOURS_A_DAY
_MIN_HOURS = 4
_BATCH = 20_000
_BANDS = ((2.0, 6.0), (6.0, 12.0), (12.0, 36.0), (36.0, 48.0))
SHORTEST_BAND = "2-6 h"


def diurnal_columns() -> Iterator[str]:
    """Yield the columns of ``diurnal.csv``."""
    yield from ("product", "reference", "hours", "stations", "n", "days")
    yield from ("amplitude_observed", "peak_observed_h")
    for name in ("amplitude_ratio", "phase_h", "error", "d_error"):
        yield from (name, f"{name}_lo", f"{name}_hi")
    yield from ("reference_amplitude_ratio", "reference_phase_h", "reference_error")


def diurnal(sample: Sample) -> pd.DataFrame:
    """Return how the daily cycle of each fine product differs from that of the stations.

    At each station the values of every hour of the day are averaged over days, and the first
    harmonic C = a + ib of y = c + a cos ωt + b sin ωt, ω = 2π / 24 h, is fitted to these means by
    least squares; t is mean solar time (UTC + longitude / 15°). A ``point`` value holds at the
    end of the hour of its observation, an observation and a ``mean`` in its middle. Over stations:
    ``amplitude_ratio`` = Σ|Cm| / Σ|Co|, ``phase_h`` = arg Σ Cm Co* / ω (hours that the product
    peaks later), ``error`` = mean |Cm − Co|, which holds both. ``d_error`` is that of the product
    less that of the reference, on the same pairs.

    A station takes part if it has at least `MIN_VALUES` values at each hour of the day that the
    pairs have: 24, or 8 against a 3-hourly parent.

    Returns
    -------
    pandas.DataFrame
        Columns of `diurnal_columns`, one row a product × reference (the parent at kept hours,
        each interpolation at all). Amplitudes and errors in µg m⁻³, phases in hours; NaN where
        no station has enough values, intervals (95 %, stations resampled) from 5 on.
    """
    parts = []
    for product in sample.fine:
        for reference, column in {sample.parent: sample.parent, **sample.references}.items():
            if column == product:
                continue
            cycles = _Cycles.of(sample, product, column)
            hours = "kept" if column == sample.parent else "all"
            line = {"product": product, "reference": reference, "hours": hours}
            parts.append({**line, **cycles.scores(sample)})
    return pd.DataFrame(parts, columns=list(diurnal_columns()))


def diurnal_curves(sample: Sample) -> pd.DataFrame:
    """Return mean departures from the daily mean by hour of mean solar time, for a figure.

    Returns
    -------
    pandas.DataFrame
        ``product, series, hour_local, stations, departure``, µg m⁻³; ``series`` is ``observed``,
        the product or its best reference, each at the time that it holds. Each station counts
        once.
    """
    parts = []
    for product in sample.fine:
        reference = sample.best_reference(product)
        column = product if reference is None else sample.references[reference]
        cycles = _Cycles.of(sample, product, column)
        if not cycles.whole.any():
            continue
        turn = sample.longitude[cycles.whole][:, None] / 15
        named = {"observed": (cycles.observed, 0.0), product: (cycles.product, cycles.delay_h[0])}
        if reference is not None:
            named[reference] = (cycles.reference, cycles.delay_h[1])
        for series, (means, delay) in named.items():
            middle = np.array(cycles.hours)[None, :] + 0.5 + delay
            local = np.floor(middle + turn).astype(int) % _HOURS_A_DAY
            mine = means[cycles.whole]
            away = mine - mine.mean(axis=1, keepdims=True)
            table = pd.DataFrame({"hour_local": local.ravel(), "departure": away.ravel()})
            curve = table.groupby("hour_local")["departure"].agg(["size", "mean"]).reset_index()
            curve.columns = pd.Index(["hour_local", "stations", "departure"])
            curve.insert(0, "product", product)
            curve.insert(1, "series", series)
            parts.append(curve)
    if not parts:
        names = ["product", "series", "hour_local", "stations", "departure"]
        return pd.DataFrame(columns=names)
    return pd.concat(parts, ignore_index=True)


def first_harmonic(means: Array, hours: Array) -> Array:
    """Return a + ib of the least-squares fit c + a cos ωt + b sin ωt, ω = 2π / 24 h.

    Parameters
    ----------
    means : ndarray, shape (series, hours)
        Without NaN.
    hours : ndarray, shape (hours,)
        Times of the columns, hours.

    Returns
    -------
    ndarray of complex, shape (series,)
    """
    angle = _TURN * hours
    design = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=1)
    fitted = np.linalg.lstsq(design, means.T, rcond=None)[0]
    return np.asarray(fitted[1] + 1j * fitted[2])


@dataclass(frozen=True)
class _Cycles:
    """Means by station and hour of the day; `observed`, … have shape (stations, hours).

    `hours` are those that the pairs have, `whole` says which stations have enough of each, and
    `delay_h` how much later than its observation product and reference hold.
    """

    hours: tuple[int, ...]
    whole: BoolArray
    rows: BoolArray
    observed: Array
    product: Array
    reference: Array
    delay_h: tuple[float, float]

    @classmethod
    def of(cls, sample: Sample, product: str, column: str) -> _Cycles:
        rows = sample.has(product, column)
        hour = sample.hour[rows] % _HOURS_A_DAY
        n_stations = len(sample.stations)
        hours = np.flatnonzero(np.bincount(hour, minlength=_HOURS_A_DAY))
        code = sample.station[rows] * np.intp(_HOURS_A_DAY) + hour
        size = n_stations * _HOURS_A_DAY
        count = np.bincount(code, minlength=size).reshape(n_stations, -1)[:, hours]

        def means(values: FloatArray) -> Array:
            total = np.bincount(code, values[rows].astype(np.float64), size)
            return np.asarray(total.reshape(n_stations, -1)[:, hours] / np.maximum(count, 1))

        whole = np.all(count >= MIN_VALUES, axis=1) & (len(hours) >= _MIN_HOURS)
        return cls(
            hours=tuple(int(one) for one in hours),
            whole=whole,
            rows=rows & whole[sample.station],
            observed=means(sample.observed),
            product=means(sample.values(product)),
            reference=means(sample.values(column)),
            delay_h=(_delay(sample, product), _delay(sample, column)),
        )

    def scores(self, sample: Sample) -> dict[str, float]:
        stations = int(self.whole.sum())
        found: dict[str, float] = {
            "stations": stations,
            "n": int(self.rows.sum()),
            "days": sample.days(self.rows),
        }
        if not stations:
            return found
        middle = np.array(self.hours) + 0.5
        turned = np.exp(1j * _TURN * sample.longitude[self.whole] / 15)
        observed = first_harmonic(self.observed[self.whole], middle) * turned
        ours, theirs = (
            first_harmonic(means[self.whole], middle + delay) * turned
            for means, delay in zip((self.product, self.reference), self.delay_h, strict=True)
        )
        found["amplitude_observed"] = float(np.abs(observed).mean())
        found["peak_observed_h"] = float(np.angle(observed.sum()) / _TURN % _HOURS_A_DAY)
        draws = sample.draws[:, self.whole]
        for label, one in (("", ours), ("reference_", theirs)):
            found |= {
                label + name: float(values[0])
                for name, values in _of_harmonics(one, observed, np.ones((1, stations))).items()
            }
        mine, other = (_of_harmonics(one, observed, draws) for one in (ours, theirs))
        found["d_error"] = found["error"] - found["reference_error"]
        drawn = {**mine, "d_error": mine["error"] - other["error"]}
        # Phases are cyclic: resamples are read as departures from the estimate.
        drawn["phase_h"] = found["phase_h"] + _within_half_day(drawn["phase_h"] - found["phase_h"])
        for name, values in drawn.items():
            found |= intervals.bounds(name, intervals.interval(values, stations))
        return found


def _of_harmonics(ours: Array, observed: Array, weights: Array) -> dict[str, Array]:
    """Return the scores of harmonics over stations; `weights` has shape (sets, stations)."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "amplitude_ratio": (weights @ np.abs(ours)) / (weights @ np.abs(observed)),
            "phase_h": np.angle(weights @ (ours * observed.conj())) / _TURN,
            "error": (weights @ np.abs(ours - observed)) / total,
        }


def _within_half_day(hours: Array) -> Array:
    return (hours + _HOURS_A_DAY / 2) % _HOURS_A_DAY - _HOURS_A_DAY / 2


def _delay(sample: Sample, column: str) -> float:
    """Return the hours from the middle of the observation to the time that a value holds."""
    stamp = sample.grids[column].stamp if column in sample.grids else "point"
    return 0.5 if stamp == "point" else 0.0


def spectra_columns() -> Iterator[str]:
    """Yield the columns of ``spectra.csv``."""
    yield from ("product", "reference", "band", "from_h", "to_h", "stations", "windows", "days")
    yield from ("variance_observed", "variance_product", "variance_reference")
    for name in ("ratio", "r", "d_r"):
        yield from (name, f"{name}_lo", f"{name}_hi")
    yield from ("reference_ratio", "reference_r")


def spectra(sample: Sample) -> pd.DataFrame:
    """Return variance and correlation by band of period of each hourly fine product.

    Every stretch of 48 consecutive hours at a station, a new one each 24 h, is tapered (Hann)
    and its mean removed; auto and cross spectra after Welch (1967,
    doi:10.1109/TAU.1967.1161901) are summed over stretches and stations, and over the
    frequencies of a band, longest period not included but for the last band. ``ratio`` is the
    variance of the product over that of the stations; ``r`` = Re Pmo / √(Pmm Poo) is the
    correlation within the band. A product may have the variance and not the correlation: noise
    has. ``d_r`` is r less that of the reference in the same hours. Periods below 6 h are those
    that a 3-hourly product cannot hold.

    Returns
    -------
    pandas.DataFrame
        Columns of `spectra_columns`, one row a product × band; none for a product that is not
        hourly. Variances in (µg m⁻³)² are means over stretches. Intervals (95 %) resample
        stations; NaN where undefined.
    """
    parts = []
    for product in sample.fine:
        if sample.grids[product].step_h > 1:
            continue
        reference = sample.best_reference(product)
        names = [product] if reference is None else [product, sample.references[reference]]
        windows = _windows(sample, names)
        if not len(windows):
            continue
        bands = _BandSums.of(sample, names, windows)
        table = bands.table(sample.draws)
        table.insert(0, "product", product)
        table.insert(1, "reference", reference or "")
        parts.append(table)
    if not parts:
        return pd.DataFrame(columns=list(spectra_columns()))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(spectra_columns()))


def _windows(sample: Sample, names: list[str]) -> IntArray:
    """Return the rows of each stretch of consecutive hours, shape (stretches, 48).

    Of two sensors of a station in the same hour the first counts.
    """
    rows = np.flatnonzero(sample.has(*names))
    key = sample.station[rows] * (np.int64(sample.hour.max()) + 2) + sample.hour[rows]
    key, at = np.unique(key, return_index=True)
    rows = rows[at]
    begins = np.flatnonzero(np.diff(key, prepend=key[:1] - 2) != 1)
    lengths = np.diff(np.append(begins, len(key)))
    counts = np.maximum((lengths - WINDOW_H) // _OVERLAP_H + 1, 0)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(begins, counts) + _OVERLAP_H * number
    return np.asarray(rows[first[:, None] + np.arange(WINDOW_H)])


@dataclass(frozen=True)
class _BandSums:
    """Power summed over stretches; arrays have shape (stations, bands)."""

    windows: IntArray
    days: int
    observed: Array
    power: list[Array]
    cross: list[Array]

    @classmethod
    def of(cls, sample: Sample, names: list[str], windows: IntArray) -> _BandSums:
        n_stations = len(sample.stations)
        station = sample.station[windows[:, 0]]
        observed = np.zeros((n_stations, len(_BANDS)))
        power = [np.zeros_like(observed) for _ in names]
        cross = [np.zeros_like(observed) for _ in names]
        for first in range(0, len(windows), _BATCH):
            part = windows[first : first + _BATCH]
            at = station[first : first + _BATCH]
            truth = sample.observed[part]
            np.add.at(observed, at, _band_power(truth, truth))
            for name, auto, both in zip(names, power, cross, strict=True):
                values = sample.values(name)[part].astype(np.float64)
                np.add.at(auto, at, _band_power(values, values))
                np.add.at(both, at, _band_power(values, truth))
        rows = np.zeros(len(sample.station), dtype=bool)
        rows[windows.ravel()] = True
        count = np.bincount(station, minlength=n_stations)
        return cls(count, sample.days(rows), observed, power, cross)

    def table(self, draws: Array) -> pd.DataFrame:
        behind = int((self.windows > 0).sum())
        everywhere = np.ones((1, len(self.windows)))
        total = float(self.windows.sum())
        table = pd.DataFrame(
            {
                "band": [f"{low:g}-{high:g} h" for low, high in _BANDS],
                "from_h": [low for low, _ in _BANDS],
                "to_h": [high for _, high in _BANDS],
                "stations": behind,
                "windows": int(total),
                "days": self.days,
                "variance_observed": self.observed.sum(axis=0) / total,
            }
        )
        drawn: dict[str, Array] = {}
        for label, place in (("", 0), ("reference_", 1))[: len(self.power)]:
            whole = self._scores(place, everywhere)
            drawn |= {label + name: one for name, one in self._scores(place, draws).items()}
            for name, values in whole.items():
                table[label + name] = values[0]
            of = label.rstrip("_") or "product"
            table[f"variance_{of}"] = self.power[place].sum(axis=0) / total
        if len(self.power) > 1:
            table["d_r"] = table["r"] - table["reference_r"]
            drawn["d_r"] = drawn["r"] - drawn["reference_r"]
        for name in ("ratio", "r", "d_r"):
            if name in drawn:
                found = intervals.percentile_interval(drawn[name], behind)
                table[f"{name}_lo"], table[f"{name}_hi"] = found
        return table

    def _scores(self, place: int, weights: Array) -> dict[str, Array]:
        observed = weights @ self.observed
        power, cross = weights @ self.power[place], weights @ self.cross[place]
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"ratio": power / observed, "r": cross / np.sqrt(power * observed)}


def _band_power(one: FloatArray, other: FloatArray) -> Array:
    """Return the real cross power of each row by band, shape (rows, bands)."""
    from scipy import signal  # slow to import, and not every command needs it

    frequency, density = signal.csd(one, other, fs=1.0, nperseg=WINDOW_H, axis=-1)
    power = np.real(density) * frequency[1]
    # From whole numbers, so that a period of 6 h is one of 6 h; frequency 0 has none.
    period = WINDOW_H / np.arange(1, len(frequency))
    last = _BANDS[-1][1]
    inside = [
        1
        + np.flatnonzero((period >= low) & ((period < high) | ((period == last) & (high == last))))
        for low, high in _BANDS
    ]
    return np.stack([power[:, chosen].sum(axis=1) for chosen in inside], axis=1)
