from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

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
