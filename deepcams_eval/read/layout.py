"""The standard layout of a data folder, for ``--data DIR``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepcams_eval.errors import InputError
from deepcams_eval.read.spec import ProductSpec

PRODUCT_FOLDERS = ("cams", "deepcams", "geoscf")
"""Folders of products, in the order in which the products stand in tables."""

_STATION_FILES = ("stations.parquet", "stations.csv", "stations.geojson")
_HINT = "see the README for the layout, try --data demo, or get data with deepcams-eval fetch"


@dataclass(frozen=True)
class DataFolder:
    """What a data folder holds."""

    observations: Path | None  # DIR/openaq
    stations: Path | None  # DIR/openaq/stations.{parquet,csv,geojson}, the first that is there
    products: tuple[ProductSpec, ...]  # one for each of PRODUCT_FOLDERS that is there


def find_data(root: Path) -> DataFolder:
    """Return what lies in `root`, by name of folder; no file is opened.

    Raises
    ------
    InputError
        If `root` does not exist, or holds none of these folders.
    """
    if not root.is_dir():
        raise InputError("no such folder", path=root, hint=_HINT)
    observations = root / "openaq"
    products = tuple(
        ProductSpec(name=name, path=str(root / name), kind=name)
        for name in PRODUCT_FOLDERS
        if (root / name).is_dir()
    )
    if not observations.is_dir() and not products:
        folders = ", ".join(("openaq", *PRODUCT_FOLDERS))
        raise InputError(f"has none of the folders {folders}", path=root, hint=_HINT)
    files = (observations / name for name in _STATION_FILES)
    stations = next((file for file in files if file.is_file()), None)
    return DataFolder(observations if observations.is_dir() else None, stations, products)
