"""How a result shows itself in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from deepcams_eval.report.content import SYNTHETIC

_MARK = f"{SYNTHETIC} data: nothing here says anything about a real product"


def as_html(table: pd.DataFrame, caption: str, notes: Sequence[str], *, synthetic: bool) -> str:
    """Return a table with its caption, the notes folded away behind it."""
    parts = [f"<p><strong>{_MARK}.</strong></p>"] if synthetic else []
    parts.append(f"<p>{html.escape(caption)}</p>{table.to_html(index=False, border=0)}")
    if notes:
        lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        parts.append(f"<details><summary>Notes ({len(notes)})</summary><ul>{lines}</ul></details>")
    return "".join(parts)
