"""CAMS global products of the Atmosphere Data Store: the EAC4 reanalysis and the forecasts.

Values are instantaneous. Arrays of the old store (``time``, packed) and of the new one
(``valid_time``) are labelled, so units and coordinates are read from the file; MATLAB maps, which
have neither, are kg m⁻³.

The name of the variable is ECMWF's, but other models use it as well. Where a file shows no other
sign of ECMWF it is still taken as CAMS, as one that was cut or converted may show none; that its
stamps were taken as instantaneous is then noted.
"""

from __future__ import annotations

import re
from dataclasses import replace

from deepcams_eval.read.containers import Contents
from deepcams_eval.read.source import Source

_NAME = "pm2p5"
# A model driven by ECMWF's weather says so too, but not as its institution or its converter.
_SIGNS = {
    "history": re.compile(r"grib_to_netcdf|/ecmwf/", re.IGNORECASE),
    "institution": re.compile(r"ecmwf|european centre for medium.range", re.IGNORECASE),
    "GRIB_centre": re.compile(r"ecmf", re.IGNORECASE),
}


def _of_ecmwf(contents: Contents) -> bool:
    """Return whether a labelled file names its array, and more, as the Data Store does."""
    array = contents.arrays.get(_NAME)
    if array is None:
        return False
    # ECMWF writes exponents with two asterisks, and the new store's time is valid_time.
    if "**" in array.text("units") or "valid_time" in contents.arrays:
        return True
    if array.text("GRIB_centre").lower() == "ecmf":
        return True
    return any(
        pattern.search(str(contents.attributes.get(name, ""))) for name, pattern in _SIGNS.items()
    )


SOURCE = Source(
    kind="cams",
    variables=(_NAME,),
    recognises=_of_ecmwf,
    stamp="point",
    bare_units="kg m-3",
    bare_shapes=frozenset({(241, 480)}),
)

BY_NAME = replace(
    SOURCE,
    recognises=lambda contents: _NAME in contents.arrays,
    stamp_note="taken as CAMS by the name of its variable alone: time stamps taken as"
    " instantaneous; stamp= decides",
)
"""Of files that show no sign of ECMWF but the name of the variable."""
