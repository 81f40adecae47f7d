"""Linear interpolation in both directions: scored on four frames, and beside what is printed."""

from __future__ import annotations

from itertools import combinations as combinations_of_two
from itertools import pairwise, permutations
from itertools import product as combinations
from operator import ne
from pathlib import Path

import numpy as np
import pandas as pd

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.field import Product
from deepcams_eval.errors import InputError
from deepcams_eval.paper.audit_months import AVERAGE, METHOD, printed_unit
from deepcams_eval.paper.audit_page import Finding, bold_cells, floats, numbers, texts, where
from deepcams_eval.read.product import ProductSpec, open_product
from deepcams_eval.report.content import records
from deepcams_eval.report.tables import Table
from deepcams_eval.report.wording import UNIT
from deepcams_eval.score.metrics import HEADLINE_METRICS
from deepcams_eval.score.moments import Moments

NORTHERN_ROWS = 720
CLIP_UG_M3 = 800.0
PEAK_UG_M3 = 255.0
"""How the code published with the paper makes a PSNR: rows, ceiling of the maps, peak."""

FRAMES = 4
REVERSED, CORRECT = "as printed in Eq. 9", "correct"

_PREPARED = f"northern {NORTHERN_ROWS} rows, clipped to {CLIP_UG_M3:g}"
_AS_IS = "all rows, as is"
_BARE_OPTIONS = "kind=geoscf,start=2020-03-08T00:30,freq=1h"
_HOUR = np.timedelta64(1, "h")


def read_frames(text: str) -> Product:
    """Open the four hourly frames that ``PATH[,key=value]…`` names.

    MATLAB maps without times and without keys are taken as consecutive hourly means of GEOS-CF in
    natural order of their names; the nominal date has no influence on any score.

    Raises
    ------
    InputError
        If there are not four frames, one an hour, or they cannot be read.
    """
    spec = ProductSpec.parse(f"frames={text}")
    folder = Path(spec.path).expanduser()
    matlab = text.endswith(".mat") or (folder.is_dir() and any(folder.glob("*.mat")))
    if text == spec.path and matlab:
        spec = ProductSpec.parse(f"frames={text},{_BARE_OPTIONS}")
    opened = open_product(spec, strict=True)
    times = opened.field["time"].values
    if len(times) != FRAMES or not bool((np.diff(times) == _HOUR).all()):
        raise InputError(
            f"holds {len(times)} frames from {str(times[0])[:16]} to {str(times[-1])[:16]}",
            path=spec.path,
            hint=f"name {FRAMES} consecutive hourly frames, for example with a glob",
        )
    out_of_order = misplaced(frame_values(opened))
    if out_of_order:
        first, second = (place + 1 for place in out_of_order)
        raise InputError(
            f"holds frames out of order: frames {first} and {second} are nearer to each other's "
            "neighbours than to their own",
            path=spec.path,
            hint="name the files so that they sort by time",
        )
    return opened


def misplaced(frames: FloatArray) -> tuple[int, int] | None:
    """Return the first two frames that stand in each other's place, None where none do.

    In true order maps differ the more the farther they are apart in time, so that the mean
    absolute differences of those that follow each other add up to less than in any other order.
    The same order backwards cannot be told apart, and gives the same scores.

    Parameters
    ----------
    frames : ndarray, shape (frames, rows, columns)
        µg m⁻³; cells with NaN in either map are left out.
    """
    count = len(frames)
    apart = np.zeros((count, count))
    for one, other in combinations_of_two(range(count), 2):
        apart[one, other] = apart[other, one] = np.nanmean(np.abs(frames[one] - frames[other]))
    found = tuple(range(count))

    def length(order: tuple[int, ...]) -> float:
        return float(sum(apart[one, other] for one, other in pairwise(order)))

    best = min(permutations(range(count)), key=length)
    if length(best) >= length(found) * (1 - 1e-9):
        return None
    # Of both directions, that which moves fewer frames.
    best = min((best, best[::-1]), key=lambda order: sum(map(ne, order, found)))
    first = next(place for place in found if best[place] != place)
    return first, best[first]


def frame_values(opened: Product) -> FloatArray:
    """Return the maps of a product, float64, shape (time, rows, columns), north first, µg m⁻³."""
    return np.asarray(opened.field.values, dtype=np.float64)[:, ::-1, :]


def linear_scores(frames: FloatArray) -> pd.DataFrame:
    """Score linear interpolation from the outer to the inner ones of four frames, both ways round.

    With G0 and G1 the first and the last frame and t = 1/3, 2/3 the inner ones, the correct value
    is (1−t)·G0 + t·G1; Eq. 9 prints t·G0 + (1−t)·G1.

    Parameters
    ----------
    frames : ndarray, shape (4, rows, columns)
        µg m⁻³, north first, evenly spaced in time. Cells with NaN in any frame are left out.

    Returns
    -------
    pandas.DataFrame
        ``formula`` (`REVERSED`, `CORRECT`), ``maps`` (clipped, or as they are), ``rows``,
        ``frame`` (2, 3), ``n`` (cells), ``psnr_db`` = 20·log10(255/RMSE), ``r``, ``rmse`` and
        ``mae`` (µg m⁻³).

    Raises
    ------
    InputError
        If there are not four frames.
    """
    if frames.ndim != 3 or len(frames) != FRAMES:
        raise InputError(f"frames have the shape {frames.shape}", hint="give four maps")
    rows = []
    for maps, values in (
        (_PREPARED, np.minimum(frames[:, :NORTHERN_ROWS], CLIP_UG_M3)),
        (_AS_IS, frames),
    ):
        finite = np.isfinite(values).all(axis=0)
        first, *inner, last = (frame[finite] for frame in values)
        for formula, (number, truth) in combinations((REVERSED, CORRECT), enumerate(inner, 1)):
            t = number / (FRAMES - 1)
            share = 1 - t if formula == REVERSED else t
            sums = Moments.of(truth, (1 - share) * first + share * last)
            scores = {key: float(one(sums)[0]) for key, one in HEADLINE_METRICS.items()}
            rmse = scores["rmse"]
            rows.append(
                {
                    "formula": formula,
                    "maps": maps,
                    "rows": values.shape[1],
                    "frame": number + 1,
                    "n": int(sums.n[0]),
                    "psnr_db": float(20 * np.log10(PEAK_UG_M3 / rmse)) if rmse else np.inf,
                    **scores,
                }
            )
    return pd.DataFrame(rows)


def linear_ratio(table2: pd.DataFrame, frame_scores: pd.DataFrame | None) -> Finding:
    """Set the ratio of Table 2's MAE beside that of reversed to correct linear interpolation."""
    half = printed_unit("mae") / 2
    base, method = floats(table2, "mae_linear"), floats(table2, f"mae_{METHOD}")
    low, high = (base - half) / (method + half), (base + half) / (method - half)
    frame = table2[["month", "mae_linear", f"mae_{METHOD}"]].assign(
        ratio=base / method, low=low, high=high
    )
    months = ~where(table2, "month", AVERAGE)
    span = (base / method)[months]
    columns = (
        *texts(month="Month"),
        *numbers(2, UNIT, mae_linear="MAE linear", **{f"mae_{METHOD}": "MAE method"}),
        *numbers(3, ratio="Ratio", low="Lowest before rounding", high="Highest before rounding"),
    )
    computed = (
        "The MAE of the linear column of Table 2 divided by that of the method, with the range "
        "that rounding leaves"
    )
    answer = f"In Table 2 the ratio is {span.min():.2f} to {span.max():.2f} in the months."
    shown, covers = [], np.zeros(len(frame), dtype=np.bool_)
    if frame_scores is None:
        computed += "."
        follows = (
            "Eq. 9 of the paper prints t·G0 + (1−t)·G1, which gives the nearer frame the smaller "
            "weight. How much that costs cannot be computed from the tables alone: give four "
            "hourly frames with --frames."
        )
    else:
        computed += (
            "; and on the frames the MAE of t·G0 + (1−t)·G1 (as printed in Eq. 9: reversed) "
            "divided by that of (1−t)·G0 + t·G1 (correct), over all cells, nothing clipped, "
            "mean of the two inner frames."
        )
        mae = _means(frame_scores, _AS_IS, "mae")
        ratio = mae[REVERSED] / mae[CORRECT]
        covers = (low <= ratio) & (ratio <= high)
        frame["covers_frames"] = np.where(covers, "yes", "no")
        columns += texts(covers_frames="Range holds the ratio of the frames")
        answer += (
            f" On the frames the MAE of reversed linear is {mae[REVERSED]:.3f} and "
            f"that of correct linear {mae[CORRECT]:.3f} {UNIT}: a ratio of {ratio:.2f}, within "
            f"rounding of {int((covers & months).sum())} of {int(months.sum())} months."
        )
        follows = (
            "Where the ratios agree, the printed gain over the linear baseline is as large as the "
            "gain of correct over reversed linear interpolation. Then the table cannot tell a "
            "method that improves on linear interpolation from correct linear interpolation. The "
            "frames are four consecutive hours; the months are means over all samples."
        )
        shown = [_frame_table("frames_as_is", frame_scores, _AS_IS)]
    bold, title = bold_cells(covers & months, "ratio"), "MAE of linear over MAE of the method"
    return Finding(
        key="linear-ratio",
        question="How does the gain over linear interpolation compare with the direction of Eq. 9?",
        computed=computed,
        answer=answer,
        follows=follows,
        count=int((covers & months).sum()),
        tables=(Table("table2_ratio", title, columns, frame, bold), *shown),
    )


def linear_psnr(frame_scores: pd.DataFrame, log: pd.DataFrame) -> Finding:
    """Set the PSNR of both directions beside those in the published training log."""
    psnr = _means(frame_scores, _PREPARED, "psnr_db")
    low, high = floats(log, "psnr_low_db"), floats(log, "psnr_high_db")
    to_reversed, to_correct = (
        np.maximum(0.0, np.maximum(low - psnr[formula], psnr[formula] - high))
        for formula in (REVERSED, CORRECT)
    )
    is_reversed = to_reversed < to_correct
    compared = log.assign(
        to_reversed=to_reversed,
        to_correct=to_correct,
        nearer=np.where(is_reversed, "reversed", "correct"),
    )
    rows = frame_scores.loc[frame_scores["maps"] == _PREPARED, "rows"].max()
    columns = (
        *texts(entry="Entry of the log"),
        *numbers(4, "dB", psnr_low_db="Lowest", psnr_high_db="Highest"),
        *numbers(4, "dB", to_reversed="Distance to reversed", to_correct="Distance to correct"),
        *texts(source="Source"),
    )
    bold = bold_cells(is_reversed, "to_reversed") | bold_cells(~is_reversed, "to_correct")
    return Finding(
        key="linear-psnr",
        question="Which PSNR does linear interpolation reach in each direction?",
        computed=(
            f"From the first and the last of the four frames the two between, over the northern "
            f"{rows} rows, all maps clipped to {CLIP_UG_M3:g} {UNIT} as the published code does; "
            f"PSNR with peak {PEAK_UG_M3:g}, mean of the two frames."
        ),
        answer=(
            f"Reversed, as printed in Eq. 9: {psnr[REVERSED]:.4f} dB. Correct: "
            f"{psnr[CORRECT]:.4f} dB."
        ),
        follows=" ".join(
            f"The value logged as “{row['entry']}” is nearer to {row['nearer']} linear "
            f"interpolation ({row['to_' + row['nearer']]:.4f} dB away)."
            for row in records(compared)
        )
        + " This speaks of these frames only.",
        count=len(compared),
        tables=(
            _frame_table("frames_prepared", frame_scores, _PREPARED),
            Table("training_log", "Distance of the logged PSNR from both", columns, compared, bold),
        ),
    )


def _means(frame_scores: pd.DataFrame, maps: str, key: str) -> dict[str, float]:
    """Return the mean of a score over the inner frames, by formula."""
    by_formula = frame_scores[frame_scores["maps"] == maps].groupby("formula")[key]
    return {str(formula): float(mean) for formula, mean in by_formula.mean().items()}


def _frame_table(name: str, frame_scores: pd.DataFrame, maps: str) -> Table:
    keys = ("psnr_db", *HEADLINE_METRICS)
    means = {key: _means(frame_scores, maps, key) for key in keys}
    rows = []
    for formula in (REVERSED, CORRECT):
        rows += [
            row | {"frame": str(row["frame"])}
            for row in records(frame_scores)
            if (row["maps"], row["formula"]) == (maps, formula)
        ]
        rows.append({**rows[-1], **{key: means[key][formula] for key in keys}, "frame": "mean"})
    frame = pd.DataFrame(rows)
    columns = (
        *texts(formula="Linear interpolation", frame="Frame"),
        *(numbers(4, "dB", psnr_db="PSNR") if maps == _PREPARED else ()),
        *numbers(4, r="R"),
        *numbers(3, UNIT, rmse="RMSE", mae="MAE"),
        *numbers(0, n="Cells a frame"),
    )
    bold = bold_cells(where(frame, "frame", "mean"), *keys)
    return Table(name, f"Linear interpolation on the frames ({maps})", columns, frame, bold)
