"""DeepCAMS as published (doi:10.5281/zenodo.6381600): hourly 0.25° maps without coordinates.

Rows run from north to south, columns from 180W eastward; 721 rows are nodes from pole to pole,
and for 720 rows ``registration=`` says which. The same maps as netCDF or Zarr may carry
coordinates, which are then read.
"""

from __future__ import annotations

from deepcams_eval.sources.containers import Contents
from deepcams_eval.sources.headers import Convention

CONVENTION = Convention(
    kind="deepcams",
    variables=("pm25", "pm2p5", "data"),
    stamp="point",
    stamp_note="time stamps taken as instantaneous; stamp= decides",
    units="ug m-3",
    bare_units="ug m-3",
)

BARE_SHAPES = frozenset({(720, 1440)})
"""Maps without coordinates that are recognised as DeepCAMS."""


def recognises(contents: Contents) -> bool:
    """Return whether a labelled file calls itself DeepCAMS."""
    named = [str(contents.attributes.get(key, "")) for key in ("title", "source", "product")]
    return any("deepcams" in text.lower() for text in named)
