"""Adding a network takes a file and a line: a class with its settings, and an entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from deepcams_eval.bench.checkpoints import MonthStore
from deepcams_eval.bench.run import simulate
from deepcams_eval.downscale.registry import BEST
from deepcams_eval.errors import InputError
from deepcams_eval.options import CheckpointSpec, SimulationOptions
from deepcams_eval.read.product import ProductSpec
from deepcams_models.checkpoint import load
from deepcams_models.data import split
from deepcams_models.networks import NETWORKS, Network, NetworkSettings
from deepcams_models.train import Trainer, TrainSettings
from tests.test_model_downscalers import write_truth
from tests.training_truth import moving_blob

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class ToySettings(NetworkSettings):
    size: int
    start: str = "given"

    presets: ClassVar = {"tiny": {"size": 3}}
    training: ClassVar = {"": {"batch": 2, "crop": 24, "margin": 0, "lr": 0.01}}


class Toy(nn.Module):
    Settings = ToySettings

    def __init__(self, settings: ToySettings) -> None:
        super().__init__()
        self.settings = settings
        self.layer = nn.Conv2d(1, 1, settings.size, padding=settings.size // 2)
        nn.init.zeros_(self.layer.weight)

    def forward(self, coarse: Tensor, start: Tensor, *, cyclic: bool = False) -> Tensor:
        del coarse, cyclic
        return start + self.layer(start)


def test_a_new_network_is_trained_stored_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "toy", Network("spatial", f"{__name__}:Toy"))
    values = {"network": "toy", "preset": "tiny", "data": "demo", "steps": 3, "valid_maps": 2}
    trainer = Trainer(TrainSettings.make(values), tmp_path / "out", split(moving_blob()))
    trainer.run()
    module, card = load(tmp_path / "out" / BEST)
    assert isinstance(module, Toy)
    assert (card.network, card.degradation, card.parameters) == ("toy", "imresize", 10)
    assert card.settings == {"size": 3, "start": "given"}
    torch.testing.assert_close(module.state_dict(), trainer.running.state_dict())
    assert float(module.layer.weight.abs().max()) > 0

    write_truth(tmp_path / "truth.nc")
    settings = SimulationOptions(
        year=2020,
        train_years=(),
        truth=ProductSpec("truth", str(tmp_path / "truth.nc"), kind="generic"),
        task=("spatial",),
        methods=("bicubic-ibp",),
        checkpoints=(CheckpointSpec("mine", tmp_path / "out"),),
    )
    result = simulate(settings, MonthStore(tmp_path / "months"))
    plain = result.samples[result.samples["weights"] == "none"]
    mean = plain.groupby("method")["rmse"].mean()
    assert set(mean.index) == {"bicubic", "bicubic-ibp", "mine"}
    assert mean["mine"] == pytest.approx(mean["bicubic-ibp"], rel=0.2)
    assert mean["mine"] != mean["bicubic-ibp"]
    (listed,) = [one for one in result.available if one.name == "mine"]
    assert listed.title == "the network toy; checkpoint best"


def test_an_unknown_network_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="no network is called 'vdsr'; choose from xvfi, abpn"):
        TrainSettings.make({"network": "vdsr", "preset": "small", "data": "demo", "steps": 1})
