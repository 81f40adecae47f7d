"""CAMS global products of the Atmosphere Data Store: the EAC4 reanalysis and the forecasts.

Values are instantaneous. Arrays of the old store (``time``, packed) and of the new one
(``valid_time``) are labelled, so units and coordinates are read from the file; MATLAB maps, which
have neither, are kg m⁻³.
"""

from __future__ import annotations

from deepcams_eval.sources.containers import Contents
from deepcams_eval.sources.headers import Convention

CONVENTION = Convention(
    kind="cams",
    variables=("pm2p5",),
    stamp="point",
    bare_units="kg m-3",
)

BARE_SHAPES = frozenset({(241, 480)})
"""Maps without coordinates that are recognised as CAMS."""


def recognises(contents: Contents) -> bool:
    """Return whether a labelled file names its array as the Atmosphere Data Store does."""
    return "pm2p5" in contents.arrays
