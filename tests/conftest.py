from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
from hypothesis import settings

if TYPE_CHECKING:
    from deepcams_eval.downscale.degrade import Degradation
    from deepcams_eval.report.style import Drawing

# A machine that is busy with something else is not a failure.
settings.register_profile("deepcams", deadline=None)
settings.load_profile("deepcams")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real files; tests that need it skip where it is absent."""
    named = os.environ.get("DEEPCAMS_REAL_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "real"
    if not folder.is_dir():
        pytest.skip(f"real files are not at {folder}; set DEEPCAMS_REAL_DATA")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Leave the files of figures empty: to draw them takes longer than all else that a run does."""

    def save(drawing: Drawing, folder: Path) -> list[Path]:
        drawing.figure.clear()
        files = [folder / f"{drawing.name}.{ending}" for ending in ("png", "pdf")]
        for path in files:
            path.touch()
        return files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepcams_eval.report.style.save", save)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20200308)


@pytest.fixture(params=["imresize", "mean", "node"])
def operator(request: pytest.FixtureRequest) -> Degradation:
    """Each operator in space."""
    from deepcams_eval.downscale.degrade import degradation

    return degradation(request.param)


@pytest.fixture(scope="session")
def real_frames(real_data: Path) -> xr.DataArray:
    """Four hours of GEOS-CF."""
    from deepcams_eval.read.product import ProductSpec, open_product

    spec = f"t={real_data}/geoscf/*.mat,kind=geoscf,start=2020-03-08T00:30,freq=1h"
    return open_product(ProductSpec.parse(spec)).field.compute()
