"""A small synthetic archive in the real file formats, behind ``--data demo``.

A nature run (a tracer emitted, carried by a time-varying wind, mixed and removed on a regional
sphere) is written as EAC4-like, GEOS-CF-like and DeepCAMS-like files and as an OpenAQ archive with
faults planted in known numbers.
"""

from __future__ import annotations

from deepcams_eval.core.folder import cache_folder
from deepcams_eval.demo.archive import demo_archive, is_demo
from deepcams_eval.demo.settings import GENERATOR_VERSION, DemoSettings

__all__ = ["GENERATOR_VERSION", "DemoSettings", "cache_folder", "demo_archive", "is_demo"]
