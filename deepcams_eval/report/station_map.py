"""The stations on a map that a reader can move, as a part of the page: no network, no library.

Places and scores travel as whole numbers in base64 (`packed`), so that thousands of stations stay
small; names, which come from others, travel as text that no part of the page reads as mark-up.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from deepcams_eval.core.arrays import Array
from deepcams_eval.report import maps
from deepcams_eval.report.content import SYNTHETIC, Content
from deepcams_eval.report.rendering import template
from deepcams_eval.score.metrics import HEADLINE_METRICS

MAX_COAST_POINTS = 26_000
"""Points of all coastlines; each takes less than six letters of the page."""

_ROOM = (np.int8, np.int16, np.int32)
_PLACE_DECIMALS = 4
_COLOURS = 33
_EDGES = (2.0, 98.0)
"""Percentiles of a score over stations and products that bound its colours."""

_POLE = 84.0
_TINY = 1e-9
_NARROWEST, _MARGIN, _WIDEST_TO_HIGH, _HIGHEST_TO_WIDE = 1.5, 1.25, 2.6, 0.95
_STEPS_ACROSS = 8000
_COARSER = 1.5
_MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def station_map(content: Content) -> str:
    """Return the section of the page that shows every station with a place on a map.

    Parameters
    ----------
    content : Content
        Its `stations` with ``latitude`` and ``longitude`` in degrees (NaN: not drawn, and counted
        in a note), and where they are there ``n_<product>``, ``r_<product>``, ``rmse_<product>``
        and ``mae_<product>``; NaN is undefined and drawn as an open circle.

    Returns
    -------
    str
        HTML that is to be put on a page with the style sheet of the report; it holds data and
        script.
    """
    stations = content.stations
    placed = stations["longitude"].notna() & stations["latitude"].notna()
    located = stations[placed]
    data = map_data(content, located) if len(located) else None
    return template("station_map.html.j2").render(
        mark=f"{SYNTHETIC} data" if content.synthetic else "",
        sample=content.sample,
        shown=len(located),
        without_place=int((~placed).sum()),
        coast=maps.COASTLINES,
        products=content.products,
        metrics=data["metrics"] if data is not None else [],
        data=to_json(data),
    )


def map_data(content: Content, located: pd.DataFrame) -> dict[str, Any]:
    """Return what the script of the map reads.

    Parameters
    ----------
    content : Content
    located : pandas.DataFrame
        At least one station, each with a place.
    """
    latitude = located["latitude"].to_numpy(dtype=np.float64)
    longitude = unwrapped(located["longitude"].to_numpy(dtype=np.float64))
    frame = frame_about(longitude, latitude)
    shown = {
        key: metric
        for key, metric in HEADLINE_METRICS.items()
        if f"{key}_{content.products[0]}" in located
    }
    values = {
        key: np.stack([_column(located, f"{key}_{name}") for name in content.products])
        for key in shown
    }
    return {
        "products": list(content.products),
        "metrics": [
            {
                "key": key,
                "label": one.label,
                "unit": one.unit,
                "decimals": one.digits,
                "range": colour_range(values[key], one.digits),
                "falling": one.better != "high",
            }
            for key, one in shown.items()
        ],
        "longitude": packed(longitude, _PLACE_DECIMALS),
        "latitude": packed(latitude, _PLACE_DECIMALS),
        "ids": located["station_id"].astype(str).tolist(),
        "names": located["name"].fillna("").astype(str).tolist(),
        "provider": _coded(located["provider"]),
        "country": _coded(located["country"]),
        "scores": [
            {
                "n": packed(_column(located, f"n_{name}"), 0),
                **{key: packed(values[key][place], one.digits) for key, one in shown.items()},
            }
            for place, name in enumerate(content.products)
        ],
        "colours": [to_hex(colormaps["viridis"](x)) for x in np.linspace(0, 1, _COLOURS)],
        "frame": frame,
        "coast": _coast(frame),
    }


def packed(values: Array, decimals: int) -> dict[str, Any]:
    """Return numbers as little-endian integers in base64, the smallest that hold them all.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN becomes the lowest integer, which stands for nothing else.
    decimals : int
        Digits after the point that are kept.

    Returns
    -------
    dict
        ``bits`` of an integer, ``decimals``, and ``data``.
    """
    known = np.isfinite(values)
    whole = np.rint(np.where(known, values, 0.0) * 10.0**decimals)
    largest = float(np.abs(whole).max(initial=0.0))
    room = next(kind for kind in _ROOM if largest <= np.iinfo(kind).max)
    filled = np.where(known, whole, np.iinfo(room).min).astype(np.dtype(room).newbyteorder("<"))
    text = base64.b64encode(filled.tobytes()).decode("ascii")
    return {"bits": 8 * filled.itemsize, "decimals": decimals, "data": text}


def colour_range(values: Array, decimals: int) -> tuple[float, float]:
    """Return the values at the two ends of the colours, the same for every product.

    Parameters
    ----------
    values : ndarray, shape (products, stations)
        NaN is left out.
    decimals : int
        Digits after the point.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, _EDGES)
    least = 10.0**-decimals
    if high - low < least:
        low, high = low - least, high + least
    return round(float(low), decimals), round(float(high), decimals)


def unwrapped(longitude: Array) -> Array:
    """Return longitudes that begin after the widest gap between stations.

    Stations on both sides of the date line then lie side by side; no value is below −180, and
    those beyond the date line exceed 180.
    """
    around = np.sort(np.unique((longitude + 180.0) % 360.0 - 180.0))
    gaps = np.diff(np.append(around, around[0] + 360.0))
    west = around[(int(np.argmax(gaps)) + 1) % len(around)]
    # The westernmost station itself must not go once around by a rounding error.
    return np.asarray(west - _TINY + (longitude - west + _TINY) % 360.0, dtype=np.float64)


def frame_about(longitude: Array, latitude: Array) -> maps.Extent:
    """Return west, east, south, north of the region whose coastlines are shown.

    It holds all stations with room about them, and is neither so wide nor so high that a window
    of common shape would show its edge before a reader moves the map.
    """
    west, east = float(longitude.min()), float(longitude.max())
    north_to_south = mercator(np.clip(latitude, -_POLE, _POLE))
    low, high = float(north_to_south.min()), float(north_to_south.max())
    width = max(east - west, _NARROWEST) * _MARGIN
    height = max(high - low, _NARROWEST) * _MARGIN
    width, height = max(width, height * _WIDEST_TO_HIGH), max(height, width / _HIGHEST_TO_WIDE)
    width = min(width, 360.0)
    middle = (west + east) / 2
    south, north = inverse_mercator(
        np.array([(low + high - height) / 2, (low + high + height) / 2])
    )
    return (
        middle - width / 2,
        middle + width / 2,
        max(float(south), -_POLE),
        min(float(north), _POLE),
    )


def mercator(latitude: Array) -> Array:
    """Return the ordinate of the Mercator projection in degrees: ln tan(45° + φ/2)."""
    return np.asarray(np.degrees(np.arcsinh(np.tan(np.radians(latitude)))), dtype=np.float64)


def inverse_mercator(ordinate: Array) -> Array:
    """Return the latitude at an ordinate of `mercator`."""
    return np.asarray(np.degrees(np.arctan(np.sinh(np.radians(ordinate)))), dtype=np.float64)


def to_json(data: object) -> str:
    """Return JSON that cannot end the script element it stands in, whatever its texts hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter, code in _MARKUP.items():
        text = text.replace(letter, code)
    return text


def _coast(extent: maps.Extent) -> dict[str, Any]:
    """Return the coastlines as differences between points."""
    west, east, south, _ = extent
    step = (east - west) / _STEPS_ACROSS
    across = float(_STEPS_ACROSS)
    while sum(map(len, lines := maps.coastlines(extent, across))) > MAX_COAST_POINTS:
        across /= _COARSER
    points = np.concatenate([*lines, np.empty((0, 2))])
    places = np.rint((points - (west, south)) / step)
    moves = np.diff(places, axis=0, prepend=np.zeros((1, 2)))
    return {
        "step": step,
        "lengths": packed(np.array([len(line) for line in lines], dtype=np.float64), 0),
        "x": packed(moves[:, 0], 0),
        "y": packed(moves[:, 1], 0),
    }


def _column(stations: pd.DataFrame, name: str) -> Array:
    if name not in stations:
        return np.full(len(stations), np.nan)
    return stations[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _coded(names: pd.Series[Any]) -> dict[str, Any]:
    code, labels = pd.factorize(names.fillna("").astype(str), sort=True)
    return {"code": packed(code.astype(np.float64), 0), "labels": list(labels)}
