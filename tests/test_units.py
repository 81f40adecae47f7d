"""Units as files spell them, and those that must not be converted."""

from __future__ import annotations

import pickle

import pytest

from deepcams_eval.core.species import factor_to_ug_m3
from deepcams_eval.errors import InputError, UnitsError


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("kg m**-3", 1e9),
        ("kg m-3", 1e9),
        ("KG M-3", 1e9),
        ("ug m**-3", 1.0),
        ("\u00b5g/m³", 1.0),
        ("\u03bcg/m³", 1.0),
        ("ug/m3", 1.0),
        ("ugm-3", 1.0),
        ("micrograms m-3", 1.0),
        ("microg/m^3", 1.0),
        ("mg/m³", 1e3),
        ("ng m^-3", 1e-3),
    ],
)
def test_mass_concentrations(units: str, factor: float) -> None:
    assert factor_to_ug_m3(units) == factor


@pytest.mark.parametrize(
    "units", ["ppm", "ppb", "1", "mol m-3", "kg kg-1", "ug m-2", "ug/m33", " "]
)
def test_anything_else_is_refused(units: str) -> None:
    with pytest.raises(UnitsError, match="unit"):
        factor_to_ug_m3(units)


def test_an_error_survives_the_way_between_processes() -> None:
    error = UnitsError("unit 'ppm' is none", path="a.nc", hint="name it")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a.nc: unit 'ppm' is none; name it"
    assert isinstance(again, InputError)
    assert isinstance(again, ValueError)
