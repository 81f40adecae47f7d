"""DeepCAMS as published (doi:10.5281/zenodo.6381600): hourly 0.25° maps without coordinates.

Rows run from north to south, columns from 180W eastward; 721 rows are nodes from pole to pole,
and for 720 rows ``registration=`` says which. The same maps as netCDF or Zarr may carry
coordinates, which are then read. What ``deepcams-models produce`` makes says besides whether it is
complete, and what a reader must know.
"""

from __future__ import annotations

import json

from deepcams_eval.read.containers import Contents
from deepcams_eval.read.source import Source

STATUS, NOTES = "deepcams_status", "deepcams_notes"
"""Attributes of what ``produce`` makes: whether all of it is there; a list of sentences (JSON)."""

COMPLETE = "complete"
"""The status of what is whole."""


def remarks(contents: Contents) -> list[str]:
    """Return what a product says of itself, a sentence each."""
    status = str(contents.attributes.get(STATUS, COMPLETE))
    found = [] if status == COMPLETE else [f"its own status is: {status}"]
    try:
        notes = json.loads(str(contents.attributes.get(NOTES, "[]")))
    except json.JSONDecodeError:
        notes = [f"its notes cannot be read ({NOTES})"]
    return [*found, *map(str, notes if isinstance(notes, list) else [notes])]


def _is_named(contents: Contents) -> bool:
    """Return whether a labelled file calls itself DeepCAMS."""
    named = [str(contents.attributes.get(key, "")) for key in ("title", "source", "product")]
    return any("deepcams" in text.lower() for text in named)


SOURCE = Source(
    kind="deepcams",
    variables=("pm25", "pm2p5", "data"),
    recognises=_is_named,
    stamp="point",
    stamp_note="time stamps taken as instantaneous; stamp= decides",
    units="ug m-3",
    bare_units="ug m-3",
    bare_shapes=frozenset({(720, 1440)}),
    remarks=remarks,
)
