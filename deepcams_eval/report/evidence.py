"""Evidence: tables of one question beyond the scores, each written as a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Evidence:
    """The tables that answer one question.

    Attributes
    ----------
    name : str
        The question; `deepcams_eval.evidence.write` makes a section of the page out of it.
    frames : mapping of str to pandas.DataFrame
        Each is written as ``<key>.csv``.
    """

    name: str
    frames: Mapping[str, pd.DataFrame]
