from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from deepcams_eval.downscale.registry import BEST
from deepcams_eval.errors import DeepcamsWarning, InputError
from deepcams_models import checkpoint
from deepcams_models.data import split
from deepcams_models.normalise import Normalisation
from deepcams_models.train import (
    LOG,
    STATE,
    Report,
    Trainer,
    TrainSettings,
    published_loss,
    relative_loss,
)
from deepcams_models.validate import Scores, Validation
from deepcams_models.xvfi import XVFI, XvfiSettings
from tests.training_truth import moving_blob

TRUTH = split(moving_blob())

BASE: dict[str, object] = {
    "network": "xvfi",
    "preset": "small",
    "changes": {"channels": 4, "scales": 1},
    "data": "demo",
    "batch": 2,
    "crop": 24,
    "margin": 2,
    "warmup": 2,
    "valid_every": 1000,
    "valid_maps": 2,
}
SPATIAL: dict[str, object] = {
    **BASE,
    "network": "abpn",
    "changes": {"features": 4, "tile": 16, "overlap": 4},
    "margin": 0,
    "normalisation": "sqrt",
}

WIDER = {"features": 8, "tile": 16, "overlap": 4}
PUBLISHED: dict[str, object] = {
    **BASE,
    "preset": "released",
    "changes": {"channels": 8, "scales": 0},
    "loss": "relative",
}

# One process of a training; as a file, so that torchrun's variables and signals can be tried.
SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from tests.test_train import BASE, TRUTH
from deepcams_models.train import Trainer, TrainSettings, processes
settings = TrainSettings.make({{**BASE, "steps": int(sys.argv[2])}})
with processes():
    trainer = Trainer(settings, Path(sys.argv[1]), TRUTH)
    trainer.run(lambda report: print(report.step, flush=True))
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("base", "falls_to"),
    [
        ({**PUBLISHED, "steps": 60, "lr": 5e-3}, 0.7),
        ({**SPATIAL, "changes": WIDER, "steps": 300, "lr": 3e-3}, 0.95),
    ],
    ids=["xvfi", "abpn"],
)
def test_the_loss_falls(base: dict[str, object], falls_to: float, tmp_path: Path) -> None:
    settings = TrainSettings.make({**base, "ema": 0.9})
    told: list[Report] = []
    trainer = Trainer(settings, tmp_path, split(moving_blob(width=1.2)))
    samples = [trainer.draw(np.random.default_rng(seed)) for seed in range(16)]

    def loss() -> float:  # on samples that stay: those of each step differ by more than it falls
        with torch.no_grad():
            return float(trainer.loss(samples))

    before = loss()
    result = trainer.run(told.append)
    assert loss() < falls_to * before
    assert told[-1].share == 1
    assert told[-1].validation is result
    network, card = checkpoint.load(tmp_path / BEST)
    assert card.metrics["network"]["rmse"] == result.network.rmse
    assert card.synthetic
    assert card.degradation == ("imresize" if settings.network == "abpn" else None)
    assert sum(one.numel() for one in network.parameters()) == card.parameters


@pytest.mark.parametrize("base", [BASE, SPATIAL], ids=["xvfi", "abpn"])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    base: dict[str, object], tmp_path: Path
) -> None:
    length = {"steps": 6, "valid_every": 2}
    whole = _trainer(tmp_path / "whole", base, **length)
    whole.run()
    part = _trainer(tmp_path / "part", base, **length)
    with pytest.raises(KeyboardInterrupt):
        part.run(lambda report: signal.raise_signal(signal.SIGINT) if report.step == 3 else None)
    assert part.progress.step == 3
    again = _resumed(tmp_path / "part", base, **length)
    again.run()
    for name in ("network", "running"):
        expected = getattr(whole, name).state_dict()
        for key, found in getattr(again, name).state_dict().items():
            assert torch.equal(found, expected[key]), (name, key)
    moments = again.optimiser.state_dict()["state"]
    for index, expected in whole.optimiser.state_dict()["state"].items():
        assert all(torch.equal(moments[index][key], expected[key]) for key in expected)
    assert whole.rng.bit_generator.state == again.rng.bit_generator.state
    best = [tmp_path / name / "best.safetensors" for name in ("whole", "part")]
    assert best[0].read_bytes() == best[1].read_bytes()
    assert _steps_logged(tmp_path / "whole") == _steps_logged(tmp_path / "part") == [2, 4, 6]


def test_the_log_of_steps_that_are_repeated_is_cut(tmp_path: Path) -> None:
    stored: list[bytes] = []
    _trainer(tmp_path, steps=4, valid_every=2).run(
        lambda report: stored.append((tmp_path / STATE).read_bytes()) if report.step == 2 else None
    )
    # As if the process had been killed behind step 4 was logged and before it was saved.
    (tmp_path / STATE).write_bytes(stored[0])
    again = _resumed(tmp_path, steps=4, valid_every=2)
    assert _steps_logged(tmp_path) == [2]
    again.run()
    assert _steps_logged(tmp_path) == [2, 4]


def _trainer(out: Path, base: dict[str, object] = BASE, **changes: object) -> Trainer:
    return Trainer(TrainSettings.make({**base, **changes}), out, TRUTH)


def _resumed(out: Path, base: dict[str, object] = BASE, **changes: object) -> Trainer:
    trainer = _trainer(out, base, **changes)
    trainer.resume()
    return trainer


def _steps_logged(folder: Path) -> list[int]:
    rows = (folder / LOG).read_text(encoding="utf-8").splitlines()[1:]
    return [int(row.split(",")[0]) for row in rows]


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    with _two(tmp_path, 3) as running:
        outputs = [process.communicate(timeout=150)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    one, untrained = (_trainer(tmp_path / name, steps=3) for name in ("one", "new"))
    one.run()
    two = _resumed(tmp_path / "out", steps=3)
    moved = 0.0
    for key, found in two.network.state_dict().items():
        expected = one.network.state_dict()[key]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
        moved = max(moved, float((expected - untrained.network.state_dict()[key]).abs().max()))
    assert moved > 1e-3  # or else nothing was compared


def test_an_interrupted_process_leaves_a_state_to_resume_from(tmp_path: Path) -> None:
    with _processes(tmp_path, 100_000, [{}]) as (process,):
        assert process.stdout is not None
        assert any(line.strip() == "3" for line in process.stdout)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT  # as the shell expects of an interrupted process
    trainer = _resumed(tmp_path / "out", steps=5)
    assert trainer.progress.step >= 3
    assert len(trainer.optimiser.state) == len(list(trainer.network.parameters()))


def test_interrupting_one_of_two_processes_ends_both_with_a_state(tmp_path: Path) -> None:
    with _two(tmp_path, 100_000) as running:
        assert running[1].stdout is not None
        assert any(line.strip() == "3" for line in running[1].stdout)
        running[1].send_signal(signal.SIGTERM)  # the first, which saves, is not told
        outputs = [process.communicate(timeout=100)[0] for process in running]
    assert [process.returncode for process in running] == [-signal.SIGINT] * 2, outputs
    assert _resumed(tmp_path / "out", steps=5).progress.step >= 3


Processes = list[subprocess.Popen[str]]


def _two(folder: Path, steps: int) -> AbstractContextManager[Processes]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    return _processes(folder, steps, ranks)


@contextmanager
def _processes(folder: Path, steps: int, places: list[dict[str, str]]) -> Iterator[Processes]:
    """Start a training in `folder`, a process a place; none outlives the block."""
    script = folder / "process.py"
    script.write_text(SCRIPT.format(root=str(Path(__file__).parents[1])), encoding="utf-8")
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder / "out"), str(steps)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **place},
        )
        for place in places
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_a_network_that_only_interpolates_is_said_to_have_collapsed() -> None:
    network = XVFI(XvfiSettings.preset("small"))
    validation = _trainer(Path("unused"), steps=1).validation
    # The head begins at zero: without the given flows nothing moves.
    validation.intervals._flows = {
        start: np.zeros((2, 36, 48, 2), np.float16) for start in validation.starts
    }
    result = validation(network, Normalisation("linear", 20.0), torch.device("cpu"))
    assert result.network.rmse == pytest.approx(result.baselines["linear"].rmse, rel=1e-4)
    with pytest.warns(DeepcamsWarning, match="collapsed: the mean flow is 0.0000"):
        result.warn_of_collapse()


@pytest.mark.parametrize(
    ("psnr", "motion", "collapsed"),
    [(50.01, 2.0, True), (50.03, 2.0, False), (53.0, 0.005, True), (50.01, None, True)],
)
def test_the_limits_of_a_collapse(psnr: float, motion: float | None, collapsed: bool) -> None:
    plain, best = Scores(1.0, 0.5, 50.0), Scores(0.8, 0.4, 52.0)
    result = Validation(Scores(0.9, 0.45, psnr), {"linear": plain, "dis": best}, motion)
    assert (result.collapse is not None) is collapsed
    assert result.relative == pytest.approx(1.125)


def test_scores_are_means_of_those_of_each_map() -> None:
    errors = [np.full((2, 2), 3.0, np.float32), np.array([[1.0, -1.0]], np.float32)]
    scores = Scores.mean(errors)
    assert (scores.rmse, scores.mae) == (2.0, 2.0)
    assert scores.psnr == pytest.approx((20 * np.log10(85) + 20 * np.log10(255)) / 2)


def test_the_relative_loss_is_one_for_plain_interpolation_whatever_the_amplitude() -> None:
    settings = TrainSettings.make({**BASE, "steps": 1})
    rng = np.random.default_rng(0)
    truth, plain, made = (torch.from_numpy(rng.normal(size=(3, 1, 24, 24))) for _ in range(3))
    assert float(relative_loss(plain, plain, truth, settings, 1.0)) == pytest.approx(1)
    one = float(relative_loss(made, plain, truth, settings, 1.0))
    factor = torch.tensor([0.5, 1.0, 40.0]).view(3, 1, 1, 1)
    other = relative_loss(made * factor, plain * factor, truth * factor, settings, 1.0)
    assert float(other) == pytest.approx(one)
    error = (made - truth)[0, 0, 2:-2, 2:-2]
    reference = (plain - truth)[0, 0, 2:-2, 2:-2]
    share = settings.squared_share
    assert 0 < share < 1
    expected = (1 - share) * error.abs().mean() / reference.abs().mean()
    expected += share * error.square().mean() / reference.square().mean()
    single = relative_loss(made[:1], plain[:1], truth[:1], settings, 1.0)
    assert float(single) == pytest.approx(float(expected))
    # Where plain interpolation is exact, the floor keeps the loss finite.
    assert torch.isfinite(relative_loss(made, truth, truth, settings, 1.0))


def test_the_relative_loss_of_an_xvfi_that_has_not_learned_is_one(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, steps=1, floor=1e-4)
    drawn = [trainer.draw(np.random.default_rng(seed)) for seed in range(24)]
    samples = [one for one in drawn if one.first.std() > 1]
    assert len(samples) > 3
    loss = trainer.loss(samples)
    assert float(loss.detach()) == pytest.approx(1, abs=1e-4)


def test_the_published_loss_of_a_perfect_map_is_the_smoothness_alone() -> None:
    truth = torch.full((1, 1, 16, 16), 0.5)
    with torch.no_grad():
        made = XVFI(XvfiSettings.preset("small"))(
            *(truth, truth, 0.5),
            flows=(torch.zeros(1, 2, 16, 16),) * 2,
            sun=torch.zeros(1, 2, 16, 16),
            every_scale=True,
        )
    column = torch.arange(16.0).expand(1, 2, 16, 16)
    values = {name: getattr(made, name) for name in ("frame", "mask", "scales")}
    sloped = type(made)(**values, flow_t0=column, flow_t1=torch.zeros(1, 2, 16, 16))
    assert float(published_loss(made, truth, 0.5)) == pytest.approx(0, abs=1e-6)
    # |∂F| = 1 along one of two directions of one of two flows; no edge in the map.
    assert float(published_loss(sloped, truth, 0.5)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rate": 1.0}, "learning_rate: Extra inputs"),
        ({"crop": 50}, "crop"),
        ({"minutes": 1.0}, "either steps or minutes"),
        ({"normalisation": "log"}, "warped and blended"),
        ({**SPATIAL, "degrade": "median"}, "no degradation is called 'median'"),
        ({**SPATIAL, "growth": 0.2}, "growth has no meaning for abpn"),
        ({"degrade": "mean"}, "degrade has no meaning for xvfi"),
        ({"batch": 4, "accumulate": 3}, "no 3 equal parts"),
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"changes": {"extra_channels": 1}}, "no static maps"),
        ({"margin": 30, "crop": 72}, "no inside of a margin of 30"),
    ],
)
def test_settings_that_make_no_training_are_refused(
    values: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        _trainer(tmp_path, **{"steps": 1, **values})


def test_a_state_is_not_taken_up_with_other_settings_or_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _trainer(tmp_path, steps=1).run()
    with pytest.raises(InputError, match=r"with lr 0\.00"):
        _resumed(tmp_path, steps=1, lr=7.0)
    longer = _resumed(tmp_path, steps=2)
    assert longer.progress.step == 1
    with monkeypatch.context() as later:  # a version in which the preset means another network
        changed = {**XvfiSettings.presets["small"], "kernel": "bilinear"}
        later.setitem(XvfiSettings.presets, "small", changed)
        with pytest.raises(InputError, match="with kernel 'cubic', not 'bilinear'"):
            _resumed(tmp_path, steps=1)
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:-200])
    with pytest.raises(InputError, match="is no state of a training"):
        longer.resume()
    with pytest.raises(InputError, match="no state to resume from"):
        _resumed(tmp_path / "empty", steps=1)
