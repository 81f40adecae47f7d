"""The published numbers examined by computation.

Each question is a function of the tables it looks at and returns a `Finding`: what was computed,
from which cells, the evidence, and what follows. Nothing here knows an answer beforehand.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import product as combinations
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.paper.audit_months import METHOD, averages, baseline_wins, equal_cells
from deepcams_eval.paper.audit_page import Finding, bold_cells, floats, numbers, texts, where
from deepcams_eval.paper.linear import linear_psnr, linear_ratio
from deepcams_eval.report import published
from deepcams_eval.report.content import records
from deepcams_eval.report.tables import Column, Table

FIGURE6_DECIMALS = 2
"""Digits after the point with which Fig. 6 prints R."""

_TINY = 1e-9


@dataclass(frozen=True)
class Printed:
    """What is printed in the publication, as tables.

    Attributes
    ----------
    table2, table3, figure6 : pandas.DataFrame
        As in `deepcams_eval.report.published`.
    counts : pandas.DataFrame
        ``task`` (temporal, spatial), ``samples_per_day``, ``samples`` (as printed), ``source``.
    abstract : pandas.DataFrame
        ``product``, ``r`` (as printed in the abstract), ``source``.
    log : pandas.DataFrame
        ``entry``, ``psnr_low_db``, ``psnr_high_db`` (a range over the last epochs), ``source``.
    places : pandas.DataFrame
        ``region``, ``latitude``, ``longitude`` (as printed, degrees north and east), the box of
        the region ``south``, ``north``, ``west``, ``east``, and ``source``.
    """

    table2: pd.DataFrame
    table3: pd.DataFrame
    figure6: pd.DataFrame
    counts: pd.DataFrame
    abstract: pd.DataFrame
    log: pd.DataFrame
    places: pd.DataFrame

    @classmethod
    def load(cls) -> Printed:
        """Return the values that come with this package."""
        names = ("sample_counts", "abstract_insitu", "training_log", "places")
        with resources.as_file(resources.files(published)) as folder:
            packaged = [pd.read_csv(folder / f"{name}.csv") for name in names]
        return cls(published.table2(), published.table3(), published.figure6(), *packaged)


def audit(printed: Printed, frame_scores: pd.DataFrame | None = None) -> tuple[Finding, ...]:
    """Return every finding.

    Parameters
    ----------
    printed : Printed
        The published values.
    frame_scores : pandas.DataFrame, optional
        From `linear.linear_scores`; adds what can only be computed from maps.
    """
    findings = [
        averages(printed.table2, printed.table3),
        equal_cells(printed.table2, printed.table3),
        baseline_wins(printed.table2, printed.table3),
        sample_counts(printed.table2, printed.counts),
        unequal_samples(printed.figure6, printed.abstract),
        places(printed.places),
        linear_ratio(printed.table2, frame_scores),
    ]
    if frame_scores is not None:
        findings.append(linear_psnr(frame_scores, printed.log))
    return tuple(findings)


def sample_counts(table2: pd.DataFrame, counts: pd.DataFrame) -> Finding:
    """Compare the printed sample counts with the calendar of the year of Table 2."""
    year = int(records(table2)[0]["month"][:4])
    days = 366 if calendar.isleap(year) else 365
    per_day, samples = floats(counts, "samples_per_day"), floats(counts, "samples")
    frame = counts.assign(
        days=days,
        computed=(per_day * days).astype(np.int64),
        difference=(samples - per_day * days).astype(np.int64),
        implied_days=samples / per_day,
    )
    differs = samples != per_day * days
    rows = records(frame)
    implied = " and ".join(f"{number:g}" for number in sorted(set(samples / per_day)))
    temporal = next(row for row in rows if row["task"] == "temporal")
    # The last hours of the year lie between its last kept map and the first of the next year.
    kept_per_day = 24 - temporal["samples_per_day"]
    without_next = temporal["computed"] - temporal["samples_per_day"] // kept_per_day
    said = "; ".join(
        f"{row['task']} {row['computed']:,} from the calendar, "
        f"{row['samples']:,} printed ({row['implied_days']:g} days)"
        for row in rows
    )
    return Finding(
        key="sample-counts",
        question=f"How many samples does {year} have?",
        computed=(
            f"Days of {year} in the Gregorian calendar ({days}) times the samples of a day, "
            "beside the printed number; and the number of days that the printed number stands for."
        ),
        answer=f"Samples of the year: {said}.",
        follows=(
            (
                f"The printed numbers stand for {implied} days. Whether samples were left out of "
                "the scores, or only of the count, cannot be told from the paper. "
                if differs.any()
                else "The printed numbers are those of the calendar. "
            )
            + f"In time there are {temporal['computed']:,} inserted samples if the first map of "
            f"{year + 1} is at hand and {without_next:,} if not."
        ),
        count=int(differs.sum()),
        tables=(
            Table(
                "sample_counts",
                "Samples from the calendar and as printed",
                (
                    *texts(task="Task"),
                    *numbers(0, samples_per_day="Samples a day", days=f"Days of {year}"),
                    *numbers(0, computed="Computed", samples="Printed"),
                    Column("difference", "Difference", decimals=0, signed=True),
                    *numbers(2, implied_days="Days implied by print"),
                    *texts(source="What is counted"),
                ),
                frame,
                bold_cells(differs, "samples", "difference"),
            ),
        ),
    )


def unequal_samples(figure6: pd.DataFrame, abstract: pd.DataFrame) -> Finding:
    """Compare the numbers of pairs in Fig. 6, and the mean of its R with the abstract."""
    by_product = {name: rows.set_index("year")["n"] for name, rows in figure6.groupby("product")}
    sizes = pd.DataFrame({name: by_product[name] for name in ("cams", METHOD)}).reset_index()
    sizes = sizes.astype({"year": "str"})
    ratio = floats(sizes, METHOD) / floats(sizes, "cams")
    sizes = sizes.assign(ratio=ratio)
    unequal = ratio != 1
    half = 0.5 * 10.0**-FIGURE6_DECIMALS
    means = figure6.groupby("product")["r"].agg(["mean", "count"]).reset_index()
    means = means.assign(low=means["mean"] - half, high=means["mean"] + half)
    means = means.merge(abstract, on="product", how="left")
    by_name = {row["product"]: row["mean"] for row in records(means)}
    gain = by_name[METHOD] - by_name["cams"]
    inside = "does not exceed" if gain <= 2 * half + _TINY else "exceeds"
    return Finding(
        key="unequal-samples",
        question="Are the two products of Fig. 6 scored on the same samples?",
        computed=(
            "N of the method divided by N of CAMS in each year; the mean of the yearly R of each "
            f"product, with the bound ±{half:g} that rounding to {FIGURE6_DECIMALS} digits leaves."
        ),
        answer=(
            f"In {int(unequal.sum())} of {len(sizes)} years N differs, by a factor of "
            f"{ratio.min():.3f} to {ratio.max():.3f}. The means of R are "
            + ", ".join(f"{mean:.4f} ({name})" for name, mean in by_name.items())
            + f"; their difference of {gain:+.4f} {inside} the bound ±{2 * half:g} of rounding."
        ),
        follows=(
            "The scores describe different sets of observations (hourly against 3-hourly values), "
            "so a difference between them mixes products and samples. R over the years pooled "
            "cannot be computed from what is printed, since it needs the means and variances of "
            "each year, nor can any score on common observations; neither can an interval."
        ),
        count=int(unequal.sum()),
        tables=(
            Table(
                "figure6_n",
                "Pairs behind Fig. 6",
                (
                    *texts(year="Year"),
                    *numbers(0, cams="N of CAMS", **{METHOD: "N of DeepCAMS"}),
                    *numbers(4, ratio="Ratio"),
                ),
                sizes,
                bold_cells(unequal, "ratio"),
            ),
            Table(
                "figure6_r",
                "Mean of the yearly R",
                (
                    *texts(product="Product"),
                    *numbers(0, count="Years"),
                    *numbers(4, mean="Mean of R", low="Lowest before rounding"),
                    *numbers(4, high="Highest before rounding"),
                    *numbers(3, r="R in the abstract"),
                ),
                means,
            ),
        ),
    )


def places(table: pd.DataFrame) -> Finding:
    """Look whether the printed places lie in the regions that they are named after."""
    rows = [
        {
            "region": row["region"],
            "printed": _place(row["latitude"], row["longitude"]),
            "box": f"{_place(row['south'], row['west'])} to {_place(row['north'], row['east'])}",
            "inside": "yes" if _inside(row, row["latitude"], row["longitude"]) else "no",
            "others": "; ".join(_inside_with_other_signs(row)) or "none",
            "source": row["source"],
        }
        for row in records(table)
    ]
    frame = pd.DataFrame(rows)
    outside = where(frame, "inside", "no")
    return Finding(
        key="places",
        question="Do the printed places lie in the regions they are named after?",
        computed=(
            "Whether each printed pair of coordinates lies in a box around its region, and which "
            "other choices of hemisphere do."
        ),
        answer=f"{int(outside.sum())} of {len(frame)} places lie outside their region as printed.",
        follows=(
            "For a place outside, the hemispheres given in the last column but one bring it into "
            "the region; no score depends on it."
            if outside.any()
            else "Nothing."
        ),
        count=int(outside.sum()),
        tables=(
            Table(
                "places",
                "Printed places and boxes of their regions",
                texts(
                    region="Region",
                    printed="Printed",
                    box="Box of the region",
                    inside="Inside",
                    others="Inside with other hemispheres",
                    source="Place in the paper",
                ),
                frame,
                bold_cells(outside, "printed", "inside"),
            ),
        ),
    )


def _place(latitude: float, longitude: float) -> str:
    return (
        f"{abs(latitude):g}°{'N' if latitude >= 0 else 'S'} "
        f"{abs(longitude):g}°{'E' if longitude >= 0 else 'W'}"
    )


def _inside(row: Mapping[str, Any], latitude: float, longitude: float) -> bool:
    return bool(
        row["south"] <= latitude <= row["north"] and row["west"] <= longitude <= row["east"]
    )


def _inside_with_other_signs(row: Mapping[str, Any]) -> Iterator[str]:
    for north, east in combinations((1, -1), (1, -1)):
        latitude, longitude = north * abs(row["latitude"]), east * abs(row["longitude"])
        as_printed = (latitude, longitude) == (row["latitude"], row["longitude"])
        if not as_printed and _inside(row, latitude, longitude):
            yield _place(latitude, longitude)
