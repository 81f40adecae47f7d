"""The station map: its data against the stations, and itself in a browser where there is one."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from deepcams_eval.core.observations import make_stations
from deepcams_eval.evidence.run import write_report
from deepcams_eval.report.content import Content
from deepcams_eval.report.station_map import frame_about, mercator, packed, station_map, unwrapped
from tests.test_report import make_inputs

PRODUCTS = ("cams", "deep_cams%")
METRICS = {"r": 3, "rmse": 2, "mae": 2}
HOSTILE = (
    "</script><script>document.title='broken'</script>",
    "<!--<script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "{{ 7 * 7 }} & \u2028 'quoted' \"twice\" \\u003c",
)
TEMPLATES = Path(station_map.__code__.co_filename).parent / "templates"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium executable on PATH")
NO_NETWORK = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
)


def make_map_stations(n: int = 40, products: tuple[str, ...] = PRODUCTS) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(11)
    stations = make_stations(
        pd.DataFrame(
            {
                "station_id": [f"{100_000 + i}" for i in range(n)],
                "name": [f"Measured place {i}" for i in range(n)],
                "latitude": np.round(rng.uniform(36, 60, n), 5),
                "longitude": np.round(rng.uniform(-9, 33, n), 5),
                "country": rng.choice(["BE", "FR", ""], n),
                "provider": rng.choice([f"Network {i}" for i in range(9)], n),
            }
        )
    )
    for name in products:
        stations[f"n_{name}"] = rng.integers(0, 26_000, n)
        stations[f"r_{name}"] = rng.uniform(-0.4, 0.97, n)
        stations[f"rmse_{name}"] = rng.gamma(3, 9, n)
        stations[f"mae_{name}"] = rng.gamma(3, 6, n)
        stations.loc[7, [f"{key}_{name}" for key in METRICS]] = np.nan
    return stations


def content_of(stations: gpd.GeoDataFrame, *, synthetic: bool = False) -> Content:
    return Content(**{**make_inputs(60, PRODUCTS, synthetic=synthetic), "stations": stations})


@pytest.fixture(scope="module")
def plain() -> str:
    return station_map(content_of(make_map_stations()))


def data_of(fragment: str) -> dict[str, Any]:
    found = re.search(r'class="map-data">(.*?)</script>', fragment, re.S)
    assert found is not None
    return dict(json.loads(found[1]))


def unpacked(one: dict[str, Any]) -> np.ndarray:
    whole = np.frombuffer(base64.b64decode(one["data"]), dtype=f"<i{one['bits'] // 8}")
    return np.where(whole == -(2 ** (one["bits"] - 1)), np.nan, whole / 10.0 ** one["decimals"])


class TestData:
    def test_every_station_with_its_numbers(self, plain: str) -> None:
        stations = make_map_stations()
        data = data_of(plain)
        assert data["ids"] == stations["station_id"].tolist()
        assert data["names"] == stations["name"].tolist()
        for name in ("provider", "country"):
            code = unpacked(data[name]["code"]).astype(int)
            labels = [data[name]["labels"][one] for one in code]
            assert labels == stations[name].tolist()
        np.testing.assert_allclose(unpacked(data["latitude"]), stations["latitude"], atol=5.1e-5)
        np.testing.assert_allclose(unpacked(data["longitude"]), stations["longitude"], atol=5.1e-5)
        for place, product in enumerate(PRODUCTS):
            scores = data["scores"][place]
            np.testing.assert_array_equal(unpacked(scores["n"]), stations[f"n_{product}"])
            for key, decimals in METRICS.items():
                expected = stations[f"{key}_{product}"].round(decimals)
                np.testing.assert_allclose(unpacked(scores[key]), expected, rtol=0, atol=1e-9)
                assert np.isnan(unpacked(scores[key])).sum() == 1

    def test_a_station_without_a_place_is_counted(self) -> None:
        stations = make_map_stations()
        stations.loc[[3, 5], "latitude"] = np.nan
        fragment = station_map(content_of(stations))
        assert "2 stations without coordinates not drawn" in fragment
        assert len(data_of(fragment)["ids"]) == 38

    def test_nothing_to_draw_is_said(self) -> None:
        stations = make_map_stations()
        stations["longitude"] = np.nan
        fragment = station_map(content_of(stations))
        assert "No station with pairs has coordinates." in fragment
        assert "<canvas" not in fragment

    def test_what_is_made_up_says_so(self, plain: str) -> None:
        assert "SYNTHETIC" in station_map(content_of(make_map_stations(), synthetic=True))
        assert "SYNTHETIC" not in plain

    def test_a_score_that_the_stations_lack_cannot_be_chosen(self) -> None:
        stations = make_map_stations().drop(columns=[f"mae_{name}" for name in PRODUCTS])
        data = data_of(station_map(content_of(stations)))
        assert [one["key"] for one in data["metrics"]] == ["r", "rmse"]

    def test_both_ends_of_the_colours_serve_every_product(self, plain: str) -> None:
        stations = make_map_stations()
        metrics = data_of(plain)["metrics"]
        both = pd.concat([stations[f"rmse_{name}"] for name in PRODUCTS]).dropna().sort_values()
        low, high = next(one["range"] for one in metrics if one["key"] == "rmse")
        assert (both < low).sum() == (both > high).sum() == 2
        assert [one["falling"] for one in metrics] == [False, True, True]

    def test_thousands_of_stations_stay_small(self) -> None:
        stations = make_map_stations(7000, ("cams", "deepcams", "geoscf"))
        rng = np.random.default_rng(5)
        stations["latitude"] = rng.uniform(-55, 70, 7000)
        stations["longitude"] = rng.uniform(-180, 180, 7000)
        inputs = make_inputs(60, ("cams", "deepcams", "geoscf"))
        fragment = station_map(Content(**{**inputs, "stations": stations}))
        coast = data_of(fragment)["coast"]
        coast_bytes = len(json.dumps(coast))
        assert 20_000 < coast_bytes <= 150_000
        assert len(fragment.encode()) - coast_bytes <= 600_000


class TestHostileNames:
    def fragment(self) -> str:
        stations = make_map_stations()
        for place, text in enumerate(HOSTILE):
            stations.loc[place, ["name", "station_id", "provider", "country"]] = text
        return station_map(content_of(stations))

    def test_the_data_are_one_element_and_hold_the_names(self) -> None:
        fragment = self.fragment()
        scripts: list[str] = []

        class Reader(HTMLParser):
            def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the base's
                scripts.append(tag)

        Reader().feed(fragment)
        assert scripts.count("script") == 2
        assert scripts.count("img") == 0
        assert data_of(fragment)["names"][: len(HOSTILE)] == list(HOSTILE)

    def test_the_script_writes_no_markup(self) -> None:
        script = (TEMPLATES / "station_map.js").read_text(encoding="utf-8")
        markup = "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("
        network = "fetch(", "XMLHttpRequest", "http:", "https:", "import("
        assert [name for name in (*markup, *network) if name in script] == []


class TestGeometry:
    @given(st.lists(st.floats(-1e4, 1e4) | st.just(np.nan), max_size=30), st.integers(0, 3))
    def test_packing_loses_half_a_unit_of_the_last_place(
        self, values: list[float], decimals: int
    ) -> None:
        array = np.array(values, dtype=np.float64)
        back = unpacked(packed(array, decimals))
        np.testing.assert_allclose(back, array, rtol=0, atol=0.5001 * 10.0**-decimals)

    @pytest.mark.parametrize("largest, bits", [(127, 8), (-127, 8), (128, 16), (40_000, 32)])
    def test_packing_takes_the_room_it_needs(self, largest: int, bits: int) -> None:
        one = packed(np.array([largest, np.nan, 3.0]), 0)
        assert one["bits"] == bits
        np.testing.assert_array_equal(unpacked(one), [largest, np.nan, 3.0])

    def test_stations_about_the_date_line_lie_side_by_side(self) -> None:
        longitude = np.array([-179.5, 179.25, 172.0, -176.0])
        np.testing.assert_allclose(unwrapped(longitude), [180.5, 179.25, 172.0, 184.0])

    @given(st.lists(st.floats(-180, 179.99), min_size=1, max_size=20))
    def test_unwrapping_keeps_every_longitude(self, values: list[float]) -> None:
        longitude = np.array(values)
        turned = unwrapped(longitude)
        np.testing.assert_allclose(
            np.exp(1j * np.radians(turned)), np.exp(1j * np.radians(longitude)), atol=1e-9
        )
        assert np.ptp(turned) <= np.ptp(longitude) + 1e-6

    @pytest.mark.parametrize("latitude", [-60.0, -12.5, 0.0, 48.85, 80.0])
    def test_mercator_keeps_angles(self, latitude: float) -> None:
        step = 1e-4
        slope = np.diff(mercator(np.array([latitude - step, latitude + step])))[0] / (2 * step)
        assert slope == pytest.approx(1 / np.cos(np.radians(latitude)), rel=1e-6)

    def test_the_frame_holds_every_station_and_is_a_box(self) -> None:
        for longitude, latitude in (
            (np.array([4.35]), np.array([50.85])),
            (np.array([-170.0, 170.0]), np.array([-89.0, 89.0])),
            (np.array([170.0, 200.0]), np.array([-45.0, -44.0])),
        ):
            west, east, south, north = frame_about(longitude, latitude)
            assert west <= longitude.min() <= longitude.max() <= east <= west + 360
            assert -84 <= south < north <= 84


def as_page(fragment: str, script: str = "") -> str:
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{NO_NETWORK}'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body><main>{fragment}</main>"
        f"<pre id=said></pre><script>{script}</script></body></html>"
    )


def browse(page: Path, *options: str) -> tuple[str, list[str]]:
    """Return the page as the browser has it after two seconds, and what its console says."""
    assert CHROMIUM is not None
    quiet = "--no-first-run --disable-background-networking --disable-component-update"
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *(*quiet.split(), "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr"),
            *(f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=2000"),
            *(*(options or ("--dump-dom", "--window-size=1200,900")), page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def text_of(dom: str, name: str) -> str:
    found = re.search(rf'<(\w+) [^>]*"{name}"[^>]*>(.*?)</\1>', dom, re.S)
    assert found is not None, name
    return found[2]


POINT_AT_MIDDLE = """
const canvas = document.querySelector("canvas");
const frame = canvas.getBoundingClientRect();
canvas.dispatchEvent(new PointerEvent("pointermove", {pointerType: "mouse", pointerId: 1,
  clientX: frame.left + frame.width / 2, clientY: frame.top + frame.height / 2}));
"""


@in_browser
class TestInBrowser:
    def three(self) -> gpd.GeoDataFrame:
        """Return stations of which the second lies in the middle of the map."""
        stations = make_map_stations(8).iloc[:3].copy()
        ordinate = mercator(np.array([40.0, 55.0])).mean()
        middle = float(np.degrees(np.arctan(np.sinh(np.radians(ordinate)))))
        stations["latitude"] = [40.0, middle, 55.0]
        stations["longitude"] = [-5.0, 10.0, 25.0]
        stations["name"] = ["South <b>west</b>", HOSTILE[0], "North east"]
        stations["provider"], stations["country"] = ["A & B", HOSTILE[2], ""], ["ES", "DE", ""]
        stations["r_cams"] = [0.512, 0.61349, -0.25]
        return stations

    def test_pointing_at_a_dot_tells_its_scores(self, tmp_path: Path) -> None:
        page = tmp_path / "map.html"
        fragment = station_map(content_of(self.three()))
        page.write_text(as_page(fragment, POINT_AT_MIDDLE), encoding="utf-8")
        dom, said = browse(page)
        assert said == []
        tip = text_of(dom, "map-tip")
        assert "&lt;/script&gt;" in tip
        assert "&lt;img src=x" in tip
        assert "· DE" in tip
        assert ">0.613<" in tip
        assert "<title>broken" not in dom
        n = int(self.three()["n_deep_cams%"].iloc[1])
        assert f">{n:,}<" in tip

    def test_keys_buttons_and_choices(self, tmp_path: Path) -> None:
        page = tmp_path / "map.html"
        # Without a display frames come when they like, and timers at once.
        script = """
window.requestAnimationFrame = (paint) => setTimeout(paint, 10);
const canvas = document.querySelector("canvas");
const find = (name) => document.querySelector(name);
const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
const said = [];
const note = () => said.push(find(".map-said").textContent, find(".map-tip").style.left);
canvas.focus();
press("n"); note(); press("n"); note(); press("p"); note();
press("ArrowLeft"); press("+");
setTimeout(() => {
  note();
  const metric = find(".map-metric");
  metric.value = "1";
  metric.dispatchEvent(new Event("change"));
  said.push(find(".map-low").textContent, find(".map-colours").getAttribute("aria-label"));
  press("Escape");
  setTimeout(() => {
    said.push(String(find(".map-tip").hidden));
    find("#said").textContent = JSON.stringify(said);
  }, 50);
}, 50);
"""
        stations = self.three()
        page.write_text(as_page(station_map(content_of(stations)), script), encoding="utf-8")
        dom, errors = browse(page)
        assert errors == []
        said = json.loads(text_of(dom, "said").replace("&lt;", "<").replace("&gt;", ">"))
        assert said[0].startswith("South <b>west</b>, ES, cams: R 0.512, RMSE ")
        assert said[2].startswith(f"{HOSTILE[0]}, DE, cams: R 0.613, RMSE ")
        assert said[4] == said[0]
        assert said[7] != said[5]
        assert said[8].startswith("RMSE ≤ ")
        assert said[9].endswith("µg m⁻³")
        assert said[10] == "true"

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_a_picture_of_it_shows_every_colour(
        self, plain: str, tmp_path: Path, dark: bool
    ) -> None:
        page, picture = tmp_path / "map.html", tmp_path / "map.png"
        page.write_text(as_page(plain), encoding="utf-8")
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        _, said = browse(page, f"--screenshot={picture}", "--window-size=700,800", *scheme)
        assert said == []
        pixels = (imread(picture)[..., :3] * 255).round().astype(int)
        assert (float(pixels[2, 2].mean()) < 60) is dark
        # Below the legend, which has all of them as well.
        below = pixels[250:].reshape(-1, 3)
        for colour in ((68, 1, 84), (253, 231, 37)):
            assert (np.abs(below - colour).max(axis=1) < 6).sum() > 20

    def test_a_breach_would_be_seen(self, tmp_path: Path) -> None:
        page = tmp_path / "bad.html"
        page.write_text(as_page("<img src='http://127.0.0.1:9/x.png'>", "nowhere();"), "utf-8")
        _, said = browse(page)
        assert any("Content Security Policy" in line for line in said)
        assert any("nowhere is not defined" in line for line in said)


SORT = """
const table = document.querySelector("#table-months");
const places = Array.from(table.querySelectorAll("thead tr:last-child th"));
const place = places.findIndex((cell) => cell.textContent.includes("RMSE"));
const column = () => Array.from(table.tBodies[0].rows, (row) => row.cells[place].dataset.sort);
const said = [column()];
for (let turn = 0; turn < 2; turn += 1) {
  places[place].querySelector("button").click();
  said.push(column());
}
const figures = Array.from(document.querySelectorAll("figure img"));
document.querySelector(".enlarge").click();
const whole = figures.map((image) => image.complete && image.naturalWidth > 200);
const box = document.querySelector("#lightbox");
document.querySelector("#said").textContent = JSON.stringify(
  {said, figures: whole, enlarged: box.open && box.querySelector("img").src === figures[0].src});
"""


@in_browser
def test_the_whole_page_in_a_browser(tmp_path: Path) -> None:
    inputs = make_inputs(400, ("cams",))
    write_report(tmp_path, Content(**inputs))
    page = tmp_path / "report.html"
    text = page.read_text(encoding="utf-8")
    assert 'class="station-map"' in text
    script = (
        f"<pre id=said></pre><script>window.addEventListener('load', () => {{{SORT}}})</script>"
    )
    text = text.replace("<head>", f"<head>{NO_NETWORK}", 1).replace("</body>", f"{script}</body>")
    page.write_text(text, encoding="utf-8")
    dom, said = browse(page)
    assert said == []
    found = json.loads(text_of(dom, "said"))
    before, rising, falling = ([float(one) for one in column] for column in found["said"])
    assert len(before) == 11
    assert sorted(before) == rising == falling[::-1]
    assert before != rising
    assert len(found["figures"]) == len(list((tmp_path / "figures").glob("*.png")))
    assert all(found["figures"])
    assert found["enlarged"]
