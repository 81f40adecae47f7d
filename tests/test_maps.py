"""Coastlines against another map of the world, extents, and labels in degrees."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from deepcams_eval.report import maps
from deepcams_eval.report.maps import Extent, coastlines

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


def test_a_cape_is_found() -> None:
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
    assert away.max() < 0.02


def test_a_wider_map_is_drawn_coarser() -> None:
    box = (9.0, 11.0, 42.0, 43.5)
    world, near = points((-180.0, 180.0, -90.0, 90.0)), points(box)
    assert 5_000 < len(world) < 20_000
    assert np.abs(world).max(axis=0) == pytest.approx([180, 90], abs=12)
    inside = ((world >= (box[0], box[2])) & (world <= (box[1], box[3]))).all(axis=1)
    assert 0 < inside.sum() < len(near) / 2


def test_limits_stay(tmp_path: Path) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set(xlim=(8, 12), ylim=(40, 44))
    maps.draw_coastlines(axes, ITALY)
    assert axes.get_xlim() == (8, 12)
    assert axes.get_ylim() == (40, 44)
    figure.savefig(tmp_path / "map.png")


def test_edges_of_cells_beyond_the_poles_are_cut_off() -> None:
    axes = Figure().add_subplot()
    maps.set_extent(axes, (-180.375, 179.625, -90.375, 90.375))
    assert len(axes.collections) == 2
    assert axes.get_ylim() == (-90.0, 90.0)


def test_no_edge_of_the_map_is_a_coast() -> None:
    for line in coastlines((-180.0, 180.0, -90.0, 90.0), 1e5):
        x, y = line.T
        assert not ((np.abs(x[1:]) >= 180) & (x[1:] == x[:-1])).any()
        assert (y > -89.9).all()
        assert np.abs(np.diff(x)).max() < 30


@pytest.mark.parametrize(
    "latitude, longitude, words",
    [
        (33.0, -72.5, "33°N 72.5°W"),
        (-41.0, 105.0, "41°S 105°E"),
        (0.0, 190.0, "0° 170°W"),
        (1.0, -180.0, "1°N 180°"),
    ],
)
def test_a_place_in_words(latitude: float, longitude: float, words: str) -> None:
    assert maps.point_in_words(latitude, longitude) == words


def test_a_box_in_words() -> None:
    assert maps.box_in_words((-10.0, 40.0, 5.5, 50.0)) == "10°W to 5.5°E, 40°N to 50°N"


@pytest.mark.parametrize("latitude, longitude", [([48.0], [2.0]), ([40.0, 70.0], [0.0, 1.0])])
def test_places_have_room_and_a_background(latitude: list[float], longitude: list[float]) -> None:
    extent = maps.extent_about(np.array(latitude), np.array(longitude))
    west, east, south, north = extent
    assert west < min(longitude)
    assert max(longitude) < east
    assert south < min(latitude)
    assert max(latitude) < north
    assert 1 <= maps.shape_of(extent) < 3.01
