"""A section of the page that answers one question."""

from __future__ import annotations

from dataclasses import dataclass

from deepcams_eval.report.style import Drawing
from deepcams_eval.report.tables import Table


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
