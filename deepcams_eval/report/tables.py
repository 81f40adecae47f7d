"""Tables of scores: one model, written as CSV, Markdown, LaTeX and (by the page) HTML.

CSV holds every digit of the scores; the others are rounded for reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepcams_eval.report import published, wording
from deepcams_eval.report.content import SYNTHETIC, Content, records
from deepcams_eval.score.intervals import excludes_zero
from deepcams_eval.score.metrics import HEADLINE, HEADLINE_METRICS, METRICS

_MEDIANS = "Median over stations"
_PUBLISHED = "Published (Fig. 6)"
_PUBLISHED_SYNTHETIC = "Published (real data; not comparable with synthetic)"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    key : str
        Column of the frame. With `interval`, ``<key>_lo`` and ``<key>_hi`` are shown with it.
    label, unit : str
        What stands in the header; `unit` is "" for text, counts and dimensionless numbers.
    decimals : int, optional
        Digits after the point; None for text.
    group : str
        A heading over neighbouring columns.
    signed : bool
        Whether a positive number carries a plus.
    """

    key: str
    label: str
    unit: str = ""
    decimals: int | None = None
    interval: bool = False
    group: str = ""
    signed: bool = False

    @property
    def header(self) -> str:
        """Label, unit and what the brackets hold."""
        text = f"{self.label} ({self.unit})" if self.unit else self.label
        return f"{text} [95 %]" if self.interval else text


@dataclass(frozen=True)
class Cell:
    """What a reader sees in one place of a table, and the number behind it.

    Attributes
    ----------
    value, interval : str
        The text, and that of the interval in brackets; "" where the column has none.
    bold : bool
        Whether the cell stands out.
    sort : str
        The unrounded number, or the text; "" where undefined.
    """

    value: str
    interval: str = ""
    bold: bool = False
    sort: str = ""

    @property
    def text(self) -> str:
        """Value and interval in one line."""
        return f"{self.value} {self.interval}" if self.interval else self.value


@dataclass(frozen=True)
class Table:
    """Numbers and how they are shown.

    Attributes
    ----------
    name : str
        File name without ending, and label.
    title : str
        Caption.
    columns : tuple of Column
        What Markdown, LaTeX and HTML show.
    frame : pandas.DataFrame
        The numbers, unrounded; every column of it goes into the CSV.
    bold : frozenset of (int, str)
        Row number and column key of the cells in bold.
    notes : tuple of str
        Sentences below the table.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    bold: frozenset[tuple[int, str]] = frozenset()
    notes: tuple[str, ...] = ()
    synthetic: bool = False

    def rows(self) -> Iterator[list[Cell]]:
        """Yield the cells of each row, in the order of `columns`."""
        for place, record in enumerate(records(self.frame)):
            yield [
                _cell(column, record, bold=(place, column.key) in self.bold)
                for column in self.columns
            ]

    def groups(self) -> list[tuple[str, int]]:
        """Return the headings over the columns and how many columns each spans."""
        return [
            (name, len(list(members)))
            for name, members in groupby(self.columns, key=lambda column: column.group)
        ]


def score_table(content: Content, strata: Sequence[str], *, name: str, label: str) -> Table:
    """Return the scores of `strata` on the sample shown, a row a value × product.

    Parameters
    ----------
    content : Content
        Where the scores are.
    strata : sequence of str
        ``year``, ``month``, …, and ``all`` behind it, which is left out where the first has a
        single value, which it would repeat.
    name, label : str
        Name of the file, and heading of the first column.
    """
    parts = [_rows_of(content, stratum) for stratum in strata]
    frame = _joined(parts).rename(columns={"value": strata[0]})
    headline = HEADLINE_METRICS.values()
    others = [one for one in METRICS.values() if one.tabulated and not one.headline]
    columns = [
        Column(strata[0], label),
        Column("product", "Product"),
        Column("n", "N", decimals=0),
        Column("stations", "Stations", decimals=0),
        *(Column(one.key, one.label, one.unit, one.digits, True) for one in headline),
        *(Column(one.key, one.label, one.unit, one.digits) for one in others),
        *(
            Column(f"station_median_{one.key}", one.label, one.unit, one.digits, group=_MEDIANS)
            for one in headline
        ),
    ]
    keys = [key for column in columns for key in _keys_of(column)]
    frame = frame[[*keys[:2], "sample", *keys[2:]]]
    notes = [] if _all_defined(frame, keys) else [wording.UNDEFINED]
    bold: frozenset[tuple[int, str]] = frozenset()
    if content.sample == "common" and len(content.products) > 1:
        bold = _best_cells(frame, columns)
        notes.append(
            "Bold: best of the products on the same pairs, after rounding; whether it is more "
            "than chance is said by the intervals of the differences."
        )
    return Table(
        name=name,
        title=f"Scores by {label[0].lower()}{label[1:]}, {content.sample} sample",
        columns=tuple(columns),
        frame=frame,
        bold=bold,
        notes=tuple(notes),
        synthetic=content.synthetic,
    )


def year_table(content: Content) -> Table:
    """Return the scores by year with the published ones of Fig. 6 beside them.

    The frame has the columns ``n_published``, ``r_published``, ``rmse_published`` and
    ``mae_published`` (empty where nothing was published); they are shown if one is filled. Scores
    of means have none of them: what was published are scores of hours.
    """
    table = score_table(content, ("year", "all"), name="years", label="Year")
    if content.average != "hour":
        return table
    known = published.figure6().rename(
        columns={key: f"{key}_published" for key in ("n", *published.SCORES)}
    )
    known = known.assign(year=known["year"].astype(str)).rename(columns={"product": "key"})
    ours = table.frame.assign(key=table.frame["product"].str.lower())
    frame = ours.merge(known, how="left", on=["key", "year"]).drop(columns="key")
    frame["n_published"] = frame["n_published"].astype("Int64")
    if not frame["n_published"].notna().any():
        return replace(table, frame=frame)
    group = _PUBLISHED_SYNTHETIC if content.synthetic else _PUBLISHED
    theirs = (
        Column("n_published", "N", decimals=0, group=group),
        *(
            Column(f"{key}_published", one.label, one.unit, 2, group=group)
            for key, one in HEADLINE_METRICS.items()
        ),
    )
    behind = 1 + [column.key for column in table.columns].index(HEADLINE[-1])
    columns = (*table.columns[:behind], *theirs, *table.columns[behind:])
    notes = (
        *table.notes,
        f"Published: Xiao et al. 2022, doi:{published.DOI}, read off Fig. 6. There N differs "
        "between the products, so that its columns are on different samples; none of them is "
        "the sample scored here.",
    )
    if content.synthetic:
        frame["data_published"] = "real; not comparable with synthetic"
    return replace(table, frame=frame, columns=columns, notes=notes)


def month_table(content: Content) -> Table | None:
    """Return the scores by month, or None where no pair belongs to a month."""
    if not content.values("month"):
        return None
    return score_table(content, ("month",), name="months", label="Month")


def difference_table(content: Content) -> Table | None:
    """Return the paired differences by year and over all, or None without a second product."""
    table = content.differences
    if table.empty:
        return None
    parts = [table[table["stratum"] == stratum] for stratum in ("year", "all")]
    frame = _joined(parts).assign(year=lambda rows: rows["value"].astype(str))
    keys = [f"d_{key}" for key in HEADLINE]
    numbers = [name for key in keys for name in (key, f"{key}_lo", f"{key}_hi")]
    frame = frame[["year", "product", "baseline", "n", *numbers]]
    columns = (
        Column("year", "Year"),
        Column("product", "Product"),
        Column("baseline", "Baseline"),
        Column("n", "N", decimals=0),
        *(
            Column(f"d_{key}", f"Δ{one.label}", one.unit, one.digits, True, signed=True)
            for key, one in HEADLINE_METRICS.items()
        ),
    )
    notes = [
        "Product − baseline on the pairs that both have; stations are left out in turn, the same "
        "for both. Bold: the 95 % interval excludes zero."
    ]
    if not _all_defined(frame, numbers):
        notes.append(wording.UNDEFINED)
    return Table(
        name="differences",
        title=f"Differences from {content.baseline}",
        columns=columns,
        frame=frame,
        bold=beyond_zero(frame, keys),
        notes=tuple(notes),
        synthetic=content.synthetic,
    )


def beyond_zero(frame: pd.DataFrame, keys: Sequence[str]) -> frozenset[tuple[int, str]]:
    """Return row number and column of the values whose interval excludes zero."""
    return frozenset(
        (place, key)
        for place, row in enumerate(records(frame))
        for key in keys
        if excludes_zero(row[f"{key}_lo"], row[f"{key}_hi"])
    )


def plain_table(name: str, title: str, frame: pd.DataFrame, *, synthetic: bool) -> Table:
    """Return a table that shows the columns of `frame` as they are; a year is text."""
    if "year" in frame:
        frame = frame.assign(year=frame["year"].astype(str))
    columns = tuple(
        Column(
            str(key),
            wording.plain_name(str(key)).capitalize(),
            decimals=0 if pd.api.types.is_integer_dtype(frame[key]) else None,
        )
        for key in frame.columns
    )
    return Table(name, title, columns, frame, synthetic=synthetic)


def write_table(
    folder: Path, name: str, blocks: Sequence[Table], whole: pd.DataFrame | None = None
) -> list[Path]:
    """Write ``<name>.csv``, ``.md`` and ``.tex`` into `folder`, which exists.

    Parameters
    ----------
    folder : Path
        Exists.
    name : str
        Of the files.
    blocks : sequence of Table
        Markdown and LaTeX hold one after the other, so that many columns fit on a page.
    whole : pandas.DataFrame, optional
        What the CSV holds; all columns of the first block if it is not given.
    """
    first = blocks[0] if whole is None else replace(blocks[0], frame=whole)
    texts = {
        "csv": to_csv(first),
        "md": "\n".join(map(to_markdown, blocks)),
        "tex": "\n".join(map(to_latex, blocks)),
    }
    for ending, text in texts.items():
        (folder / f"{name}.{ending}").write_text(text, encoding="utf-8")
    return [folder / f"{name}.{ending}" for ending in texts]


def to_csv(table: Table) -> str:
    """Return the unrounded numbers; a column ``data`` marks synthetic ones on every row."""
    frame = table.frame
    if table.synthetic:
        frame = frame.copy()
        frame.insert(0, "data", SYNTHETIC)
    return frame.to_csv(index=False, lineterminator="\n")


def to_markdown(table: Table) -> str:
    """Return the table in GitHub's Markdown."""
    escape = wording.escape_markdown
    mark = f"**{SYNTHETIC} data.** " if table.synthetic else ""
    headers = []
    for column in table.columns:
        text = escape(column.header)
        headers.append(f"{escape(column.group)}: {text}" if column.group else text)
    lines = [f"{mark}{escape(table.title)}", "", _markdown_row(headers)]
    lines.append(_markdown_row(":--" if c.decimals is None else "--:" for c in table.columns))
    lines += [
        _markdown_row(f"**{escape(c.text)}**" if c.bold else escape(c.text) for c in row)
        for row in table.rows()
    ]
    lines += [line for note in table.notes for line in ("", escape(note))]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """Return the table as a ``longtable`` in the style of booktabs."""
    escape = wording.escape_latex
    mark = rf"\textbf{{{SYNTHETIC} data.}} " if table.synthetic else ""
    alignment = "".join("l" if column.decimals is None else "r" for column in table.columns)
    lines = [
        r"% Needs \usepackage{booktabs,longtable}; wide: best on a landscape page.",
        r"\begingroup\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{@{{}}{alignment}@{{}}}}",
        rf"\caption{{{mark}{escape(table.title)}}}\label{{tab:{table.name}}}\\",
        r"\toprule",
        *_latex_groups(table),
        _latex_row(escape(column.label) for column in table.columns),
        _latex_row(_latex_subheader(column) for column in table.columns),
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
    ]
    previous = None
    for row in table.rows():
        if previous not in (None, row[0].text):
            lines.append(r"\addlinespace")
        previous = row[0].text
        lines.append(_latex_row(map(_latex_cell, table.columns, row)))
    lines.append(r"\end{longtable}")
    lines += [rf"\noindent {escape(note)}\par" for note in table.notes]
    lines.append(r"\endgroup")
    return "\n".join(lines) + "\n"


def _latex_groups(table: Table) -> Iterator[str]:
    groups = table.groups()
    if not any(name for name, _ in groups):
        return
    cells, rules, first = [], [], 1
    for name, span in groups:
        cells.append(
            rf"\multicolumn{{{span}}}{{c}}{{{wording.escape_latex(name)}}}"
            if name
            else " & ".join([""] * span)
        )
        if name:
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        first += span
    yield _latex_row(cells)
    yield " ".join(rules)


def _latex_subheader(column: Column) -> str:
    parts = [f"({column.unit})"] if column.unit else []
    if column.interval:
        parts.append("[95 %]")
    return wording.escape_latex(" ".join(parts))


def _latex_cell(column: Column, cell: Cell) -> str:
    text = cell.text if column.decimals is None else wording.typographic(cell.text)
    text = wording.escape_latex(text)
    return rf"\textbf{{{text}}}" if cell.bold else text


def _latex_row(cells: Iterator[str] | Sequence[str]) -> str:
    # A "[" that opens a row would be read as the optional argument of the \\ before it.
    return " & ".join("{}" + cell if cell.startswith("[") else cell for cell in cells) + r" \\"


def _markdown_row(cells: Iterator[str] | Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(column: Column, row: dict[str, Any], *, bold: bool) -> Cell:
    value = row[column.key]
    if column.decimals is None:
        text = "" if pd.isna(value) else str(value)
        return Cell(text, bold=bold, sort=text)
    value = float("nan") if pd.isna(value) else float(value)
    text = wording.number(value, column.decimals, sign=column.signed)
    bounds = ""
    if column.interval:
        low, high = row[f"{column.key}_lo"], row[f"{column.key}_hi"]
        bounds = wording.interval(low, high, column.decimals, sign=column.signed)
    return Cell(text, bounds, bold, "" if np.isnan(value) else repr(value))


def _keys_of(column: Column) -> tuple[str, ...]:
    if column.interval:
        return (column.key, f"{column.key}_lo", f"{column.key}_hi")
    return (column.key,)


def _rows_of(content: Content, stratum: str) -> pd.DataFrame:
    table = content.shown
    table = table[(table["stratum"] == stratum) & (table["n"] > 0)]
    order = table["product"].map({name: place for place, name in enumerate(content.products)})
    return table.assign(order=order).sort_values(["value", "order"]).drop(columns="order")


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of strata, without those of all where the first has a single value."""
    alone = len(parts[0]["value"].unique()) == 1
    return pd.concat(parts[:1] if alone else parts, ignore_index=True)


def _all_defined(frame: pd.DataFrame, keys: Sequence[str]) -> bool:
    return not bool(frame[list(keys)].isna().any(axis=None))


def _best_cells(frame: pd.DataFrame, columns: Sequence[Column]) -> frozenset[tuple[int, str]]:
    bold: set[tuple[int, str]] = set()
    for _, group in frame.groupby(columns[0].key):
        # Products that differ in n are not on the same pairs (one lacks a year, say).
        if len(group) < 2 or group["n"].min() < group["n"].max():
            continue
        for column in columns:
            metric = METRICS.get(column.key.removeprefix("station_median_"))
            if metric is None or metric.better is None or column.decimals is None:
                continue
            rounded = group[column.key].round(column.decimals)
            if metric.better == "near_zero":
                rounded = rounded.abs()
            best = rounded.max() if metric.better == "high" else rounded.min()
            winners = rounded.index[rounded == best]
            if len(winners) < rounded.notna().sum():
                bold.update((int(place), column.key) for place in winners)
    return frozenset(bold)
