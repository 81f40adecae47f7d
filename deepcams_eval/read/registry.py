"""The sources of gridded products: one line each."""

from __future__ import annotations

from deepcams_eval.read import cams, deepcams, generic, geoscf
from deepcams_eval.read.source import Source

SOURCES: list[Source] = [
    cams.SOURCE,
    geoscf.SOURCE,
    deepcams.SOURCE,
    cams.BY_NAME,
    generic.SOURCE,
]
"""In the order in which a file is recognised; ``kind=`` takes the first of that kind."""


def kinds() -> tuple[str, ...]:
    """Return the values of ``kind=``."""
    return tuple(dict.fromkeys(source.kind for source in SOURCES))


def source_of(kind: str) -> Source:
    """Return the source that ``kind=`` names."""
    return next(source for source in SOURCES if source.kind == kind)
