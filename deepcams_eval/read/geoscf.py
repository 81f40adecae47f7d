"""GEOS-CF, collections ``*_tavg_1hr_g1440x721_v1``: means over the hour, stamped at :30.

The variable ``PM25_RH35_GCC`` (lower case over OPeNDAP) is µg m⁻³, whether its ``units`` say so
or are empty.
"""

from __future__ import annotations

import numpy as np

from deepcams_eval.read.containers import Contents
from deepcams_eval.read.headers import Convention

CONVENTION = Convention(
    kind="geoscf",
    variables=("pm25_rh35_gcc",),
    stamp="mean",
    interval=np.timedelta64(1, "h"),
    units="ug m-3",
    bare_units="ug m-3",
)


def recognises(contents: Contents) -> bool:
    """Return whether a labelled file holds the variable of GEOS-CF."""
    return any(name.lower() in CONVENTION.variables for name in contents.arrays)
