"""Spectra: how the variance is spread over periods, and how much of it is right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import Array, FloatArray, IntArray
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.added_value.sample import Sample, paired
from deepcams_eval.report import style
from deepcams_eval.report.content import Content
from deepcams_eval.report.tables import Column, Table
from deepcams_eval.report.wording import escape_figure
from deepcams_eval.score.metrics import Scale

WINDOW_H = 48
"""Consecutive hours that a spectrum is made of."""

SHORTEST_BAND = "2-6 h"
_OVERLAP_H = 24
_BATCH = 20_000
_BANDS = ((2.0, 6.0), (6.0, 12.0), (12.0, 36.0), (36.0, 48.0))
COLUMNS = (
    *("product", "reference", "band", "from_h", "to_h", "stations", "windows", "days"),
    *("variance_observed", "variance_product", "variance_reference"),
    *(column for name in ("ratio", "r") for column in parts.with_ends(name)),
    *parts.with_chances("d_r"),
    *("reference_ratio", "reference_r"),
)
"""The columns of ``spectra.csv``."""

_SCALES: Mapping[str, Scale] = {"ratio": "log", "r": "fisher"}


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
        Columns `COLUMNS`, one row a product × band; none for a product that is not
        hourly. Variances in (µg m⁻³)² are means over stretches. Intervals (95 %) leave
        out stations; NaN where undefined.
    """
    found = []
    for product in sample.fine:
        if sample.grids[product].step_h > 1:
            continue
        reference, names = sample.best_reference(product)
        windows = _windows(sample, names)
        if len(windows):
            bands = _bands(sample, names, windows)
            found.append(bands.assign(product=product, reference=reference))
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(found, ignore_index=True).reindex(columns=list(COLUMNS))


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


def _bands(sample: Sample, names: list[str], windows: IntArray) -> pd.DataFrame:
    """Return a row a band for a product and, if there is one, its reference."""
    station = sample.station[windows[:, 0]]
    shape = len(sample.stations), len(_BANDS)
    observed = np.zeros(shape)
    power, cross = ([np.zeros(shape) for _ in names] for _ in range(2))
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
    behind = len(np.unique(station))

    def score(sums: Array) -> dict[str, Array]:
        o, m, c = np.moveaxis(sums, 1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"ratio": m / o, "r": c / np.sqrt(m * o)}

    size = np.bincount(station, minlength=shape[0]).astype(np.float64)
    scores = [
        sample.clusters.of_sums(score, np.stack([observed, *sums], axis=1), size, _SCALES)
        for sums in zip(power, cross, strict=True)
    ]
    variances = zip(("observed", "product", "reference"), (observed, *power), strict=False)
    return pd.DataFrame(
        {
            "band": [f"{low:g}-{high:g} h" for low, high in _BANDS],
            "from_h": [low for low, _ in _BANDS],
            "to_h": [high for _, high in _BANDS],
            "stations": behind,
            "windows": len(windows),
            "days": sample.days(rows),
            **{f"variance_{name}": one.sum(axis=0) / len(windows) for name, one in variances},
            **paired(scores, "r"),
        }
    )


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


def table(frame: pd.DataFrame) -> Table:
    """Return these rows as a reader sees them."""
    return Table(
        "spectra",
        "Variance and correlation by period",
        (
            *parts.NAMED,
            Column("band", "Period"),
            parts.STATIONS,
            Column("windows", "Stretches", decimals=0),
            Column("variance_observed", "Variance of stations", "µg² m⁻⁶", 2),
            Column("ratio", "Variance ratio", interval=True, decimals=3),
            Column("reference_ratio", "of reference", decimals=3),
            Column("r", "R", interval=True, decimals=3),
            Column("reference_r", "R of reference", decimals=3),
            Column("d_r", "ΔR", interval=True, signed=True, decimals=3),
        ),
        frame,
        notes=("From stretches of 48 consecutive hours, tapered (Hann).",),
    )


def draw(table: pd.DataFrame, content: Content) -> style.Drawing:
    """Return the figure of these rows."""
    products = parts.unique(table["product"])
    bands = parts.unique(table["band"])
    looks = style.looks(products)
    figure = style.new_figure(parts.WIDTH, 3.1)
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
        axes.set_xticks(range(len(bands)), [one.replace("-", "–") for one in bands])
        style.dress(axes, x="Period", y=label)
        axes.axhline(1.0, color=style.GREY, linewidth=0.8, zorder=1)
    grid[0].set_ylim(bottom=0)
    grid[0].legend(fontsize=style.SMALL, frameon=False)
    return parts.finished(
        figure,
        content,
        "spectra",
        title="Variance and correlation by period",
        note=(
            f"Stretches of 48 consecutive hours ({int(table['windows'].max()):,}). Bars: 95 % "
            "intervals from leaving out stations."
        ),
        alternative="Ratio of variances and correlation by band of period; the numbers are in the "
        "table of variance and correlation by period.",
    )
