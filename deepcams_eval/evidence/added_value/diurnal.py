"""The daily cycle: how the first harmonic of a product differs from that of the stations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, BoolArray, FloatArray
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.sample import Sample, paired
from deepcams_eval.report import style
from deepcams_eval.report.content import Content
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import UNIT, escape_figure
from deepcams_eval.score.intervals import Clusters
from deepcams_eval.score.metrics import Scale

MIN_VALUES = 8
"""Values that each hour of the day needs at a station before its daily cycle is looked at."""

_HOURS_A_DAY = 24
_TURN = 2 * np.pi / _HOURS_A_DAY
_MIN_HOURS = 4
COLUMNS = (
    *("product", "reference", "hours", "stations", "n", "days"),
    *("amplitude_observed", "peak_observed_h"),
    *(
        column
        for name in ("amplitude_ratio", "phase_h", "error")
        for column in parts.with_ends(name)
    ),
    *parts.with_chances("d_error"),
    *("reference_amplitude_ratio", "reference_phase_h", "reference_error"),
)
"""The columns of ``diurnal.csv``."""

_SCALES: Mapping[str, Scale] = {"amplitude_ratio": "log", "error": "log"}

CURVE_COLUMNS = ("product", "series", "hour_local", "stations", "departure")
"""The columns of ``diurnal_cycle.csv``."""


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
        Columns `COLUMNS`, one row a product × reference (the parent at analysis hours, each
        interpolation at all). Amplitudes and errors in µg m⁻³, phases in hours; NaN where
        no station has enough values, intervals (95 %, stations left out in turn) from 5 on.
    """
    lines = []
    for product, reference, column in sample.comparisons():
        hours = "analysis" if column == sample.parent else "all"
        line = {"product": product, "reference": reference, "hours": hours}
        lines.append({**line, **_Cycles.of(sample, product, column).scores(sample)})
    return pd.DataFrame(lines, columns=list(COLUMNS))


def diurnal_curves(sample: Sample) -> pd.DataFrame:
    """Return mean departures from the daily mean by hour of mean solar time, for a figure.

    Returns
    -------
    pandas.DataFrame
        Columns `CURVE_COLUMNS`, µg m⁻³; ``series`` is ``observed``,
        the product or its best reference, each at the time that it holds. Each station counts
        once.
    """
    curves = []
    for product in sample.fine:
        reference, columns = sample.best_reference(product)
        column = columns[-1]
        cycles = _Cycles.of(sample, product, column)
        if not cycles.whole.any():
            continue
        turn = sample.longitude[cycles.whole][:, None] / 15
        named = {"observed": (cycles.observed, 0.0), product: (cycles.product, cycles.delay_h[0])}
        if reference:
            named[reference] = (cycles.reference, cycles.delay_h[1])
        for series, (means, delay) in named.items():
            middle = np.array(cycles.hours)[None, :] + 0.5 + delay
            local = np.floor(middle + turn).astype(int) % _HOURS_A_DAY
            mine = means[cycles.whole]
            away = mine - mine.mean(axis=1, keepdims=True)
            table = pd.DataFrame({"hour_local": local.ravel(), "departure": away.ravel()})
            curve = table.groupby("hour_local", as_index=False).agg(
                stations=("departure", "size"), departure=("departure", "mean")
            )
            curves.append(curve.assign(product=product, series=series)[list(CURVE_COLUMNS)])
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=CURVE_COLUMNS)


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
        clusters = Clusters(sample.clusters.box[self.whole])
        size = np.ones(stations)
        scores = [
            clusters.of_sums(partial(_of_harmonics, around), sums, size, _SCALES)
            for around, sums in (_harmonic_sums(one, observed) for one in (ours, theirs))
        ]
        made = paired(scores, "error")
        return found | {name: float(value[0]) for name, value in made.items()}


def _harmonic_sums(ours: Array, observed: Array) -> tuple[float, Array]:
    """Return the phase of all stations together, and what `_of_harmonics` adds up."""
    moved = ours * observed.conj()
    around = float(np.angle(moved.sum()))
    # Phases are cyclic: those of some stations are read as departures from that of all.
    away = moved * np.exp(-1j * around)
    error = np.abs(ours - observed)
    parts = (np.abs(ours), np.abs(observed), error, np.ones(len(error)), away.real, away.imag)
    return around, np.stack(parts, axis=1)


def _of_harmonics(around: float, sums: Array) -> dict[str, Array]:
    """Return the scores of harmonics from sums over stations, shape (sets, 6)."""
    ours, observed, error, stations, real, imaginary = np.moveaxis(sums[:, :, None], 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "amplitude_ratio": ours / observed,
            "phase_h": (around + np.arctan2(imaginary, real)) / _TURN,
            "error": error / stations,
        }


def _delay(sample: Sample, column: str) -> float:
    """Return the hours from the middle of the observation to the time that a value holds."""
    stamp = sample.grids[column].stamp if column in sample.grids else "point"
    return 0.5 if stamp == "point" else 0.0


def table(frame: pd.DataFrame) -> Table:
    """Return these rows as a reader sees them."""
    return Table(
        "diurnal",
        "Daily cycle (first harmonic)",
        (
            *parts.NAMED,
            Column("hours", "Hours"),
            parts.STATIONS,
            Column("amplitude_observed", "Observed amplitude", UNIT, 2),
            Column("peak_observed_h", "Observed peak", "h solar", 1),
            Column("amplitude_ratio", "Amplitude ratio", interval=True, decimals=3),
            Column("phase_h", "Peaks later by", "h", 2, True, signed=True),
            Column("error", "Error", UNIT, 2, True),
            Column("reference_error", "of reference", UNIT, 2),
            Column("d_error", "ΔError", UNIT, 2, True, signed=True),
        ),
        frame,
        notes=("Error: mean over stations of the distance of the harmonics in the plane.",),
    )


def draw(table: pd.DataFrame, content: Content) -> style.Drawing:
    """Return the figure of these rows."""
    products = parts.unique(table["product"])
    figure = style.new_figure(parts.WIDTH, 3.0)
    grid = figure.subplots(1, len(products), sharey=True, squeeze=False)[0]
    for place, (axes, product) in enumerate(zip(grid, products, strict=True)):
        mine = table[table["product"] == product]
        names = parts.unique(mine["series"])
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
    return parts.finished(
        figure,
        content,
        "diurnal_cycle",
        title="Mean daily cycle over stations",
        note=(
            "Departures from the mean of all hours; each station counts once. An observation and a "
            "mean stand at the middle of their hour, a value at an instant at that instant."
        ),
        alternative="Mean daily cycle of stations, product and interpolation; amplitudes and "
        "phases are in the table of the daily cycle.",
    )
