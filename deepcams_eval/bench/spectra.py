"""Zonal power spectra: how much of the variance at each scale an estimate has.

An enlargement that scores well may have done so by smoothing. The ratio of the power of the
estimate to that of the truth, at wavelengths that the coarse grid cannot hold, shows it: 1 is as
much variance as in the truth, 0 none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import fft

from deepcams_eval.core.arrays import Array, FloatArray, divide
from deepcams_eval.core.field import spacing_deg, spans_globe
from deepcams_eval.errors import InputError

MIN_COLUMNS = 4
"""Of a grid whose rows have a spectrum."""

SMALL_STEPS = 6.0
"""Wavelengths below this many fine steps, two coarse ones, cannot be held by the coarse grid."""


_FIRST_EDGES = (2.0, 2.5, 3.0)
_OCTAVE = (4.0, 6.0)


@dataclass(frozen=True, eq=False)
class SpectralSums:
    """Power of truth and estimate by bin, summed over rows; sums over disjoint rows add up.

    Attributes
    ----------
    rows : int
        Rows that are finite in both.
    left_out : int
        Rows with a NaN or an infinity in either.
    truth, estimate : ndarray, shape (bins,)
        Summed power, (µg m⁻³)².
    """

    rows: int
    left_out: int
    truth: Array
    estimate: Array

    @classmethod
    def of(cls, truth: Array, estimate: Array) -> SpectralSums:
        """Sum the rows of one frame, both (latitude, bins) from `ZonalSpectrum.by_row`."""
        both = np.isfinite(truth).all(axis=1) & np.isfinite(estimate).all(axis=1)
        rows = int(np.count_nonzero(both))
        left_out = len(truth) - rows
        return cls(rows, left_out, truth[both].sum(axis=0), estimate[both].sum(axis=0))

    def __add__(self, other: SpectralSums) -> SpectralSums:
        return SpectralSums(
            self.rows + other.rows,
            self.left_out + other.left_out,
            self.truth + other.truth,
            self.estimate + other.estimate,
        )


class ZonalSpectrum:
    """Power spectra along the rows of one grid, in bins of wavelength.

    Where longitude spans the globe a row is a whole period. Elsewhere its linear trend is taken
    out and a Hann window applied, with the power restored to what it was without the window.

    Parameters
    ----------
    longitude : ndarray, shape (columns,)
        Degrees, ascending and evenly spaced; at least four columns.

    Attributes
    ----------
    lower_steps, upper_steps : ndarray, shape (bins,)
        A bin holds wavelengths in [lower, upper), in grid steps: 2, 2.5, 3, 4, 6, 8, 12, … up to
        the width of the grid, which belongs to the last bin. Bins that no wavelength of the grid
        falls in are absent.
    step_deg : float
        The grid step.

    Raises
    ------
    InputError
        If there are fewer than four columns.
    """

    def __init__(self, longitude: FloatArray) -> None:
        columns = len(longitude)
        if columns < MIN_COLUMNS:
            raise InputError(
                f"{columns} columns are too few for a spectrum", hint="give four or more"
            )
        self.step_deg = spacing_deg(longitude)
        self._columns = columns
        self._cyclic = spans_globe(longitude)
        edges = _edges(columns)
        wavelength = columns / np.arange(1, columns // 2 + 1)
        place = np.minimum(np.searchsorted(edges, wavelength, side="right"), len(edges) - 1) - 1
        occurring, code = np.unique(place, return_inverse=True)
        self.lower_steps, self.upper_steps = edges[occurring], edges[occurring + 1]
        self._members = _members(code, len(occurring), columns)
        # The periodic form: its mean square is exactly 3/8.
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(columns) / columns)
        self._window = (window / np.sqrt(np.mean(window**2))).astype(np.float32)

    def by_row(self, frame: npt.NDArray[np.floating[Any]]) -> Array:
        """Return the power of each row in each bin.

        Normalised so that the bins of a row add up to its variance (Parseval), where longitude
        spans the globe.

        Parameters
        ----------
        frame : ndarray, shape (latitude, longitude)
            µg m⁻³.

        Returns
        -------
        ndarray, shape (latitude, bins)
            (µg m⁻³)²; NaN throughout a row that holds a NaN or an infinity.

        Raises
        ------
        InputError
            If the frame has another number of columns.
        """
        if frame.ndim != 2 or frame.shape[1] != self._columns:
            raise InputError(
                f"a frame of shape {frame.shape} has not the {self._columns} columns of the grid"
            )
        finite = np.isfinite(frame).all(axis=1)
        rows = frame[finite].astype(np.float32)
        rows -= rows.mean(axis=1, keepdims=True)
        if not self._cyclic:
            rows = _without_trend(rows) * self._window
        amplitude = fft.rfft(rows, axis=1, overwrite_x=True)[:, 1:]
        power = amplitude.real**2 + amplitude.imag**2
        result = np.full((len(frame), len(self.lower_steps)), np.nan)
        result[finite] = power @ self._members
        return result

    def table(self, sums: SpectralSums) -> pd.DataFrame:
        """Return the spectra of truth and estimate, and their ratio.

        Returns
        -------
        pandas.DataFrame
            One row a bin, short wavelengths first: ``wavelength_lo_deg``, ``wavelength_hi_deg``
            (degrees of longitude), ``power_truth``, ``power_estimate`` (means over the rows,
            (µg m⁻³)²; NaN without a row), ``ratio`` (estimate to truth; NaN where the truth has
            no power), ``small`` (whether the bin lies below `SMALL_STEPS`), ``rows``.
        """
        rows = float(sums.rows) if sums.rows else np.nan
        return pd.DataFrame(
            {
                "wavelength_lo_deg": self.lower_steps * self.step_deg,
                "wavelength_hi_deg": self.upper_steps * self.step_deg,
                "power_truth": sums.truth / rows,
                "power_estimate": sums.estimate / rows,
                "ratio": divide(sums.estimate, sums.truth),
                "small": self.upper_steps <= SMALL_STEPS,
                "rows": sums.rows,
            }
        )

    def tables(self, power: Mapping[tuple[str, str], SpectralSums]) -> pd.DataFrame:
        """Return the rows of `table` of each method, behind its ``task`` and ``method``."""
        found = []
        for (task, method), sums in power.items():
            table = self.table(sums)
            table.insert(0, "task", task)
            table.insert(1, "method", method)
            found.append(table)
        return pd.concat(found, ignore_index=True)


def _edges(columns: int) -> Array:
    edges = list(_FIRST_EDGES)
    scale = 1.0
    while edges[-1] < columns:
        edges += [scale * edge for edge in _OCTAVE]
        scale *= 2
    return np.array([*(edge for edge in edges if edge < columns), float(columns)])


def _members(code: npt.NDArray[np.intp], bins: int, columns: int) -> npt.NDArray[np.float32]:
    """Return the weight of each wave number in each bin, shape (wave numbers, bins)."""
    members = np.zeros((len(code), bins), dtype=np.float32)
    # A real row has each amplitude twice, but for the shortest wave of an even number of columns.
    members[np.arange(len(code)), code] = 2.0 / columns**2
    if columns % 2 == 0:
        members[-1] /= 2
    return members


def _without_trend(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Subtract the least-squares line of each row, whose mean is zero."""
    along = np.arange(rows.shape[1], dtype=np.float32)
    along -= along.mean()
    slope = rows @ along / (along @ along)
    return np.asarray(rows - slope[:, None] * along)
