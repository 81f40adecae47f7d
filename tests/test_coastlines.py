"""Coastlines against another map of the world, and what drawing them leaves alone."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from deepcams_eval.errors import InputError
from deepcams_eval.report.coastlines import Extent, coastlines, draw_coastlines

ITALY: Extent = (7.0, 19.0, 36.5, 46.0)


def points(extent: Extent) -> np.ndarray:
    return np.concatenate(coastlines(extent))


@pytest.fixture(scope="module")
def natural_earth() -> np.ndarray:
    """Corners of the countries of the world at 1:110 million, longitude and latitude."""
    path = Path(pyogrio.__file__).parent / "tests" / "fixtures" / "naturalearth_lowres"
    if not path.is_dir():
        pytest.skip("this build of pyogrio has no map of the world")
    land = gpd.read_file(path / "naturalearth_lowres.shp").union_all()
    corners: np.ndarray = gpd.GeoSeries([land]).get_coordinates().to_numpy()
    return corners


@pytest.mark.parametrize(
    "extent", [ITALY, (-82.0, -34.0, -56.0, 13.0), (110.0, 156.0, -45.0, -9.0)]
)
def test_it_lies_where_another_map_has_it(extent: Extent, natural_earth: np.ndarray) -> None:
    west, east, south, north = extent
    x, y = natural_earth.T
    inside = (x > west + 1) & (x < east - 1) & (y > south + 1) & (y < north - 1)
    theirs = natural_earth[inside]
    ours = cKDTree(points(extent))
    away, _ = ours.query(theirs)
    assert len(theirs) > 10
    assert np.median(away) < 0.25
    shifted, _ = ours.query(theirs + np.array([2.0, 1.0]))
    assert np.median(shifted) > 2 * np.median(away)


def test_a_cape_is_found_to_the_mesh_of_the_mask() -> None:
    # Cabo da Roca, the western end of the European mainland.
    away, _ = cKDTree(points((-11.0, -7.0, 37.0, 41.0))).query((-9.5, 38.78))
    assert away < 0.06


@pytest.mark.parametrize("extent", [(-40.0, -30.0, 20.0, 30.0), (15.0, 20.0, 20.0, 25.0)])
def test_open_sea_and_desert_have_none(extent: Extent) -> None:
    assert coastlines(extent) == []


def test_it_goes_on_beyond_the_date_line() -> None:
    beyond, before = points((170.0, 190.0, -20.0, 70.0)), points((-180.0, -170.0, -20.0, 70.0))
    east = beyond[beyond[:, 0] > 180.5]
    away, _ = cKDTree(before).query(east[east[:, 0] < 189.5] - np.array([360.0, 0.0]))
    assert len(east) > 100
    assert away.max() < 1e-9


def test_the_world_is_drawn_coarser() -> None:
    world, island = coastlines((-180.0, 180.0, -90.0, 90.0)), coastlines((9.0, 11.0, 42.0, 43.5))
    assert 5_000 < sum(map(len, world)) < 120_000
    mesh = np.concatenate(island)
    # Elba alone: the world's mesh is six times as wide.
    assert len(mesh) > 60
    assert np.abs(np.concatenate(world)).max(axis=0) == pytest.approx([180, 90], abs=12)


def test_limits_stay(tmp_path: Path) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set(xlim=(8, 12), ylim=(40, 44))
    draw_coastlines(axes, ITALY)
    assert axes.get_xlim() == (8, 12)
    assert axes.get_ylim() == (40, 44)
    figure.savefig(tmp_path / "map.png")


def test_edges_of_cells_beyond_the_poles_are_cut_off() -> None:
    axes = Figure().add_subplot()
    draw_coastlines(axes, (-180.375, 179.625, -90.375, 90.375))
    assert len(axes.collections) == 2


@pytest.mark.parametrize(
    "extent", [(10.0, 5.0, 0.0, 1.0), (0.0, 361.0, 0.0, 1.0), (0.0, 1.0, 5.0, 95.0)]
)
def test_what_is_no_box_is_refused(extent: Extent) -> None:
    with pytest.raises(InputError, match="is no box"):
        coastlines(extent)


def test_without_the_package_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(InputError, match="pip install global-land-mask"):
        coastlines(ITALY)
