"""Packages of strangers: one that pip builds and installs, and ones whose metadata is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "stranger"
version = "1.2"
dependencies = ["deepcams"]

[project.entry-points."deepcams.downscalers"]
mean = "stranger:Mean"
"""

MODULE = """\
class Mean:
    name = "mean"
    task = "temporal"
    title = "mean of the two frames"

    def __call__(self, coarse, target):
        before, _ = coarse.between(target.time)
        frames = coarse.field.values
        return target.field((frames[before] + frames[before + 1]) / 2)
"""


def build_stranger(tmp_path: Path) -> Path:
    """Build a ten-line package and install it without network; return the folder for PYTHONPATH."""
    project, site = tmp_path / "stranger", tmp_path / "site"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "stranger.py").write_text(MODULE)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(site)]
    printed = subprocess.run([*command, str(project)], capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    return site


def write_distribution(
    site: Path,
    name: str,
    points: Mapping[str, str],
    modules: Mapping[str, str],
    requires: Sequence[str] = (),
) -> Path:
    """Write modules, and metadata as of a distribution `name` 0.3 that is installed in `site`."""
    for path, source in modules.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(source)
    metadata = site / f"{name.replace('-', '_')}-0.3.dist-info"
    metadata.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 0.3"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n")
    registered = [f"{point} = {value}" for point, value in points.items()]
    (metadata / "entry_points.txt").write_text(
        "\n".join(["[deepcams.downscalers]", *registered]) + "\n"
    )
    return site
