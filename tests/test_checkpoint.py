"""Normalisation and checkpoints: exact inverses, strict loading, files that were tampered with."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from deepcams_eval.errors import InputError
from deepcams_models.checkpoint import build, card_path, load, read_card, save, weights_path
from deepcams_models.normalise import Normalisation
from tests.networks import card, checkpoint, network

KINDS = ("linear", "sqrt", "log")
values = st.lists(st.floats(-200, 5000), min_size=1, max_size=20)


@pytest.mark.parametrize("kind", KINDS)
class TestNormalisation:
    @settings(deadline=None, max_examples=50)
    @given(values, st.floats(0.1, 500))
    def test_round_trip_is_exact_and_odd(self, kind: str, x: list[float], scale: float) -> None:
        form = Normalisation(kind, scale)
        maps = torch.tensor(x, dtype=torch.float64)
        seen = form.forward(maps)
        torch.testing.assert_close(form.inverse(seen), maps, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(form.forward(-maps), -seen)

    def test_increases_strictly_with_finite_slope_at_zero(self, kind: str) -> None:
        x = torch.linspace(-50, 4000, 2001, dtype=torch.float64, requires_grad=True)
        seen = Normalisation(kind, 20.0).forward(x)
        seen.sum().backward()
        assert x.grad is not None
        assert bool((seen[1:] > seen[:-1]).all())
        assert bool(torch.isfinite(x.grad).all())
        zero = torch.zeros(1, requires_grad=True)
        (slope,) = torch.autograd.grad(Normalisation(kind, 20.0).forward(zero).sum(), zero)
        assert math.isfinite(float(slope))

    def test_nan_passes_and_nothing_is_clipped(self, kind: str) -> None:
        form = Normalisation(kind, 20.0)
        far = torch.tensor([3657.0, 1e5, math.nan], dtype=torch.float64)
        torch.testing.assert_close(form.inverse(form.forward(far)), far, equal_nan=True)

    def test_from_dict(self, kind: str) -> None:
        form = Normalisation(kind, 7.0)
        assert Normalisation.from_dict(asdict(form)) == form
        with pytest.raises(InputError, match="'clip'"):
            Normalisation.from_dict({**asdict(form), "clip": 800})
        with pytest.raises(InputError, match="'scale'"):
            Normalisation.from_dict({"kind": kind})


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, True, "20"])
def test_scale_that_is_none(scale: object) -> None:
    with pytest.raises(InputError, match="no scale"):
        Normalisation("linear", scale)  # type: ignore[arg-type]


def test_plain_formulas() -> None:
    x = np.array([-3.0, 0.5, 80.0])
    u = np.abs(x) / 20
    expected = {
        "linear": x / 20,
        "sqrt": np.sign(x) * (np.sqrt(u + 0.01) - 0.1),
        "log": np.sign(x) * np.log(1 + u),
    }
    for kind in KINDS:
        seen = Normalisation(kind, 20.0).forward(torch.tensor(x))  # type: ignore[arg-type]
        np.testing.assert_allclose(seen.numpy(), expected[kind], rtol=1e-12)


def _again(path: Path, **changes: object) -> None:
    """Rewrite parts of a card."""
    content = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**content, **changes}))


def _reseal(path: Path) -> None:
    """Make the card fit the weights file as it is."""
    _again(path, sha256=hashlib.sha256(weights_path(path).read_bytes()).hexdigest())


@pytest.mark.parametrize("kind", ["xvfi", "abpn"])
class TestRoundTrip:
    def test_same_weights_and_card(self, tmp_path: Path, kind: str) -> None:
        module = network(kind, noise=0.1)
        written = card(module, years=(2018, 2019), metrics={"rmse": {"linear": 1.5}})
        path = tmp_path / "run-1.5"
        assert save(path, module, written) == tmp_path / "run-1.5.safetensors"
        for name in ("run-1.5", "run-1.5.json", "run-1.5.safetensors"):
            again, found = load(tmp_path / name)
            assert not again.training
            for key, tensor in module.state_dict().items():
                torch.testing.assert_close(again.state_dict()[key], tensor, rtol=0, atol=0)
        assert found.years == (2018, 2019)
        assert found.metrics == written.metrics
        assert found.parameters == sum(one.numel() for one in module.parameters())
        left = {one.name for one in tmp_path.iterdir()}
        assert left == {"run-1.5.json", "run-1.5.safetensors"}

    def test_half_precision_on_disk_float32_in_memory(self, tmp_path: Path, kind: str) -> None:
        module = network(kind, noise=0.1)
        save(tmp_path / "half", module, card(module), half=True)
        save(tmp_path / "full", module, card(module))
        sizes = [weights_path(tmp_path / name).stat().st_size for name in ("half", "full")]
        assert sizes[0] < 0.6 * sizes[1]
        again, _ = load(tmp_path / "half")
        for key, tensor in module.state_dict().items():
            found = again.state_dict()[key]
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, tensor, rtol=2**-10, atol=1e-7)


class TestRefused:
    def test_one_byte_changed(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path, "xvfi")
        content = bytearray(weights_path(path).read_bytes())
        content[-5] ^= 1
        weights_path(path).write_bytes(content)
        with pytest.raises(InputError, match=r"xvfi-1\.0\.safetensors: its SHA-256 .* card says"):
            load(path)

    def test_cut_short_though_the_card_fits(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path, "xvfi")
        weights_path(path).write_bytes(weights_path(path).read_bytes()[:-100])
        _reseal(path)
        with pytest.raises(InputError, match="no safetensors file"):
            load(path)

    @pytest.mark.parametrize(
        ("change", "words"),
        [("extra", "stranger are not part"), ("missing", "missing"), ("shape", "shape")],
    )
    def test_other_weights_than_the_network_has(
        self, tmp_path: Path, change: str, words: str
    ) -> None:
        path = checkpoint(tmp_path, "xvfi")
        tensors = load_file(weights_path(path))
        name = next(iter(tensors))
        if change == "extra":
            tensors["stranger"] = torch.zeros(1)
        elif change == "missing":
            del tensors[name]
        else:
            tensors[name] = tensors[name][:1].clone()
        save_file(tensors, weights_path(path))
        _reseal(path)
        with pytest.raises(InputError, match=words):
            load(path)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"author": "x"}, "'author' unknown"),
            ({"network": "vdsr"}, "network"),
            ({"years": ["now"]}, r"years\.0"),
            ({"stamp": "end"}, "stamp"),
            ({"degradation": "imresize"}, "imresize"),
            ({"normalisation": {"kind": "linear", "scale": 20.0, "clip": 1}}, "clip"),
        ],
    )
    def test_card(self, tmp_path: Path, changes: dict[str, object], words: str) -> None:
        path = checkpoint(tmp_path, "xvfi")
        _again(path, **changes)
        with pytest.raises(InputError, match=words):
            load(path)

    def test_card_without_a_key_or_no_card(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path, "abpn")
        content = json.loads(card_path(path).read_text())
        del content["degradation"]
        card_path(path).write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"abpn-1\.0\.json: .*'degradation' missing"):
            read_card(path)
        card_path(path).write_text("[1")
        with pytest.raises(InputError, match="no card"):
            read_card(path)
        card_path(path).unlink()
        with pytest.raises(InputError, match="there is no card"):
            load(path)

    def test_settings(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path, "xvfi")
        said = json.loads(card_path(path).read_text())["settings"]
        _again(path, settings={**said, "depth": 3})
        with pytest.raises(InputError, match=r"xvfi-1\.0\.json: .*'depth' unknown"):
            load(path)
        with pytest.raises(InputError, match="kernel"):
            build("xvfi", {**said, "kernel": "sinc"})
        with pytest.raises(InputError, match="no network is called 'vdsr'"):
            build("vdsr", {})

    def test_pickles_are_never_opened(self, tmp_path: Path) -> None:
        witness = tmp_path / "ran"

        class Payload:
            def __reduce__(self) -> tuple[object, ...]:
                return Path.touch, (witness,)

        path = checkpoint(tmp_path, "xvfi")
        weights_path(path).write_bytes(pickle.dumps(Payload()))
        _reseal(path)
        with pytest.raises(InputError, match="no safetensors file"):
            load(path)
        with pytest.raises(InputError, match="may run any code"):
            load(tmp_path / "model.pt")
        assert not witness.exists()

    def test_nothing_is_replaced_by_what_cannot_be_stored(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path, "xvfi")
        before = weights_path(path).read_bytes(), card_path(path).read_bytes()
        module = network("xvfi")
        with torch.no_grad():
            next(module.parameters()).fill_(1e6)  # beyond half precision
        with pytest.raises(InputError, match="not finite in half precision"):
            save(path, module, card(module), half=True)
        with pytest.raises(InputError, match="shape"):
            save(path, network("xvfi", channels=8), card(module))
        assert (weights_path(path).read_bytes(), card_path(path).read_bytes()) == before
        assert len(list(tmp_path.iterdir())) == 2
