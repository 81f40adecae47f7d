"""Make ``deepcams_eval/report/coastlines.npz``, the coastlines that maps show.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python benchmarks/coastlines.py package/land-50m.json

The lines are the edges of the land of Natural Earth 4.1 at 1:50 million, which is in the public
domain, as TopoJSON of the npm package ``world-atlas`` (ISC licence). They are rounded to 0.01° and
kept as differences: ``points`` (lines,) is the number of points of each line, ``steps`` (points, 2)
its first point, then the way to the next one, in hundredths of a degree of longitude and latitude.
The edges of the map along 180° and the south pole are no coast and are left out; a line that
crosses 180° is two.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent.parent / "deepcams_eval" / "report" / "coastlines.npz"
_EDGE = (17_999, -8_990)
"""Longitude and latitude, in hundredths of a degree, from which on a point lies on the edge."""


def main(source: Path) -> None:
    """Write the file from TopoJSON."""
    topology = json.loads(source.read_text(encoding="utf-8"))
    scale, shift = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    lines = []
    for arc in topology["arcs"]:
        line = np.rint(100 * (np.cumsum(arc, axis=0) * scale + shift)).astype(np.int64)
        line = line[np.r_[True, (np.diff(line, axis=0) != 0).any(axis=1)]]
        edge = (np.abs(line[:, 0]) >= _EDGE[0]) | (line[:, 1] <= _EDGE[1])
        across = np.abs(np.diff(line[:, 0])) > 18_000
        breaks = np.flatnonzero((edge[1:] & edge[:-1]) | across) + 1
        lines += [part for part in np.split(line, breaks) if len(part) > 1]
    points = np.array([len(line) for line in lines], dtype=np.uint16)
    steps = np.concatenate([np.diff(line, axis=0, prepend=[[0, 0]]) for line in lines])
    np.savez_compressed(TARGET, points=points, steps=steps.astype(np.int16))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
