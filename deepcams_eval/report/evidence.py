"""Evidence as the report sees it: the tables of one question, and the section that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from deepcams_eval.report.style import Drawing
    from deepcams_eval.report.tables import Table


@dataclass(frozen=True)
class Evidence:
    """The tables that answer one question.

    Attributes
    ----------
    name : str
        The question, one of `deepcams_eval.evidence.questions.questions`.
    frames : mapping of str to pandas.DataFrame
        Each is written as ``<key>.csv``.
    """

    name: str
    frames: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Section:
    """What a reader sees of one evidence.

    Attributes
    ----------
    name : str
        Identifies the section on the page, as in ``#added_value``.
    label, title : str
        A word or two for the list of sections, and the heading.
    sentences : tuple of str
        The answers, which stand first.
    remarks : tuple of str
        How to read them.
    tables : tuple of Table
        Also written into ``tables/``.
    drawings : tuple of Drawing
        Figures; also written into ``figures/``.
    """

    name: str
    label: str
    title: str
    sentences: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
