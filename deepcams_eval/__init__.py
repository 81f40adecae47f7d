"""Validation and benchmarking of downscaled PM2.5.

>>> import deepcams_eval as dc
>>> result = dc.insitu(2019, data="demo", sensitivity=False)
>>> figure = result.plot.scatter("cams", 2019)

The functions are imported when they are first used, so that importing the package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepcams_eval.api import insitu as insitu
    from deepcams_eval.api import simulation as simulation
    from deepcams_eval.bench.run import SimulationRun as SimulationRun
    from deepcams_eval.demo import demo_archive as demo_archive
    from deepcams_eval.evidence.run import InsituRun as InsituRun

__all__ = [
    "InsituRun",
    "SimulationRun",
    "__version__",
    "demo_archive",
    "insitu",
    "simulation",
]
__version__ = version("deepcams")

_FROM = {
    "InsituRun": "deepcams_eval.evidence.run",
    "SimulationRun": "deepcams_eval.bench.run",
    "demo_archive": "deepcams_eval.demo",
    "insitu": "deepcams_eval.api",
    "simulation": "deepcams_eval.api",
}
"""The module of each public name of the package."""


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
