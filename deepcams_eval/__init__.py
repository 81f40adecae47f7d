"""Validation and benchmarking of downscaled PM2.5."""

from importlib.metadata import version

__version__ = version("deepcams")
