"""GEOS-CF, collections ``*_tavg_1hr_g1440x721_v1``: means over the hour, stamped at :30.

The variable ``PM25_RH35_GCC`` (lower case over OPeNDAP) is µg m⁻³, whether its ``units`` say so
or are empty.
"""

from __future__ import annotations

import numpy as np

from deepcams_eval.read.source import Source

_VARIABLE = "pm25_rh35_gcc"

SOURCE = Source(
    kind="geoscf",
    variables=(_VARIABLE,),
    recognises=lambda contents: any(name.lower() == _VARIABLE for name in contents.arrays),
    stamp="mean",
    interval=np.timedelta64(1, "h"),
    units="ug m-3",
    bare_units="ug m-3",
)
