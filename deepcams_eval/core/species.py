"""The unit of PM2.5, and conversion of mass concentrations to it."""

from __future__ import annotations

import re

from deepcams_eval.errors import UnitsError

UG_M3 = "ug m-3"
"""As files spell it."""

UNIT = "µg m⁻³"
"""As readers see it."""

_GRAMS_TO_UG = {"kg": 1e9, "g": 1e6, "mg": 1e3, "ug": 1.0, "ng": 1e-3}


def factor_to_ug_m3(units: str) -> float:
    """Return the factor that turns values in `units` into µg m⁻³.

    Parameters
    ----------
    units : str
        A mass concentration as files spell it: ``kg m**-3``, ``kg m-3``, ``ug/m3``, ``µg/m³``,
        ``microg/m^3``, ``ugm-3``. Case of the letters does not matter.

    Returns
    -------
    float
        Multiply by it; dimensionless.

    Raises
    ------
    UnitsError
        If `units` is empty or is no mass concentration (``ppm``, ``1``, ``mol m-3``): mixing
        ratios need air density and are never converted silently.
    """
    text = units.strip().lower()
    if not text:
        raise UnitsError("no unit given", hint="name it, for example units='ug m-3'")
    # U+00B5 and U+03BC look alike and both occur in published files.
    text = text.replace("\u00b5", "u").replace("\u03bc", "u").replace("³", "3").replace("⁻", "-")
    text = re.sub(r"micro-?g(rams?)?", "ug", text)
    match = re.fullmatch(r"(kg|mg|ug|ng|g)(?:/m(?:\^|\*\*)?3|[ .*]*m(?:\^|\*\*)?-3)", text)
    if match is None:
        raise UnitsError(
            f"unit {units!r} is no mass concentration",
            hint="expected one such as 'ug m-3' or 'kg m-3'",
        )
    return _GRAMS_TO_UG[match.group(1)]
