"""The numbers published by Xiao et al. (2022), doi:10.1016/j.scitotenv.2022.157747."""

from __future__ import annotations

from importlib import resources

import pandas as pd

DOI = "10.1016/j.scitotenv.2022.157747"

PRINTED_DIGITS = {"r": 4, "rmse": 2, "mae": 2}
"""Digits after the point with which Tables 2 and 3 are printed."""

SCORES = tuple(PRINTED_DIGITS)
"""What was published, in the order of the tables; a metric of ours need not be among them."""


def figure6() -> pd.DataFrame:
    """Return the in-situ scores of Fig. 6, which were read off the figure.

    Returns
    -------
    pandas.DataFrame
        ``product`` (cams, deepcams), ``year`` (2017-2019), ``n`` (pairs), ``r`` (dimensionless),
        ``rmse`` and ``mae`` (µg m⁻³). The two products were scored on different samples: their
        ``n`` differ threefold in each year.
    """
    return _read("figure6_insitu.csv")


def table2() -> pd.DataFrame:
    """Return Table 2: monthly scores of downscaling in time for 2020, and their average.

    Returns
    -------
    pandas.DataFrame
        ``month`` ("2020-01" … "2020-12", "average") and ``r_…`` (dimensionless), ``rmse_…`` and
        ``mae_…`` (µg m⁻³) of ``linear`` and ``deepcams``.
    """
    return _read("table2_temporal.csv")


def table3() -> pd.DataFrame:
    """Return Table 3: monthly scores of downscaling in space for 2020, and their average.

    Returns
    -------
    pandas.DataFrame
        Laid out as `table2`, with ``bicubic`` and ``deepcams``.
    """
    return _read("table3_spatial.csv")


def _read(name: str) -> pd.DataFrame:
    with resources.files(__name__).joinpath(name).open(encoding="utf-8") as stream:
        return pd.read_csv(stream)
