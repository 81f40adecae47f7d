"""How numbers, units and names are written in text, Markdown, LaTeX and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from deepcams_eval.core import species
from deepcams_eval.score.metrics import METRICS

UNIT = species.UNIT
DASH = "—"
UNDEFINED = (
    f"{DASH} is undefined: R needs at least two pairs in which both vary, and an interval needs "
    "enough stations, or days."
)

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "µ": r"$\mu$",
    "⁻": r"$^{-}$",
    "³": r"$^{3}$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "Δ": r"$\Delta$",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
}


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """Return a number with fixed decimals and grouped thousands, or a dash where undefined.

    The minus is the ASCII one, so that what is written can be read back by a program.
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:{'+' if sign else ''},.{decimals}f}"
    # A rounded −0.001 is shown as 0.00: the sign of nothing is no information.
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


def interval(low: float | None, high: float | None, decimals: int, *, sign: bool = False) -> str:
    """Return ``[low, high]``, or a dash in brackets where there is none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"[{DASH}]"
    return f"[{number(low, decimals, sign=sign)}, {number(high, decimals, sign=sign)}]"


def typographic(text: str) -> str:
    """Return numbers written by `number` or `interval` with a true minus, for reading only."""
    return text.replace("-", "−")


def with_minuses(text: str) -> str:
    """Return a sentence whose negative numbers carry a true minus; hyphens in names stay."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def plural(count: int, noun: str) -> str:
    """Return a count and its noun, such as ``1 day`` and ``1,200 days``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def shortened(text: str, most: int = 36) -> str:
    """Return a text of at most so many letters, the last an ellipsis where some are left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def with_interval(row: Mapping[str, Any], key: str, *, sign: bool = False) -> str:
    """Return the score `key` of a row with its interval, for reading: ``0.613 [0.590, 0.634]``."""
    decimals = METRICS[key.removeprefix("d_")].digits
    value = number(row[key], decimals, sign=sign)
    bounds = interval(row[f"{key}_lo"], row[f"{key}_hi"], decimals, sign=sign)
    return typographic(f"{value} {bounds}")


def escape_latex(text: str) -> str:
    """Return `text` with everything that LaTeX would interpret, or lacks, spelled out."""
    text = "".join(_LATEX.get(letter, letter) for letter in text)
    return text.replace(r"$^{-}$$^{3}$", r"$^{-3}$")


def escape_markdown(text: str) -> str:
    """Return `text` with the letters that Markdown would take as marks in a cell escaped."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text).replace("\n", " ")


def escape_figure(text: str) -> str:
    """Return `text` with dollar signs escaped, which start formulas in a figure."""
    return text.replace("$", r"\$")


def plain_name(key: str) -> str:
    """Return a column or rule name as words: ``peak_rss_bytes`` → ``peak rss bytes``."""
    return key.replace("_", " ")


def duration(seconds: float) -> str:
    """Return seconds as ``83 s`` or ``4 min 12 s``."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def size(count: float) -> str:
    """Return a number of bytes in the decimal unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
