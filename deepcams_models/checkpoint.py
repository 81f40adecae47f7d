"""A trained network on disk: ``PATH.safetensors`` and, beside it, its card ``PATH.json``.

The card says what the network is, what it learned from and how well it did, and holds the SHA-256
of the weights. Weights are read as plain arrays: nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from deepcams_eval.core.field import Stamp
from deepcams_eval.core.folder import whole_file
from deepcams_eval.downscale.degrade import DEGRADATIONS
from deepcams_eval.downscale.registry import card_path, weights_path
from deepcams_eval.errors import InputError
from deepcams_models.networks import find_network, validated
from deepcams_models.normalise import Normalisation

_MAKE_AGAIN = "copy both files of the checkpoint again, or train it again"


@dataclass(frozen=True)
class Card:
    """What is known of a trained network.

    Attributes
    ----------
    network : str
        A key of `networks.NETWORKS`.
    preset : str
        Name of the settings that it began with.
    settings : dict
        Every attribute of its settings.
    normalisation : dict
        `Normalisation.to_dict`.
    degradation : str or None
        Operator that made its coarse maps, a key of `downscale.degrade.DEGRADATIONS`, which
        fixes the registration too; None for a network in time.
    stamp : {"point", "mean"}
        What the maps it learned from are: instantaneous, or means over an hour.
    data : str
        What it learned from, in words.
    years : tuple of int
        The years of that.
    metrics : dict
        Validation scores of the network and of the baselines.
    parameters : int
        Number of weights.
    commit : str or None
        Of the source tree that trained it; None where it was installed.
    version, licence, command : str
        Of the package, of the weights, and what made them.
    synthetic : bool
        Whether the data were synthetic.
    sha256 : str
        Of the weights file; `save` fills it in.
    """

    network: str
    preset: str
    settings: dict[str, Any]
    normalisation: dict[str, Any]
    degradation: str | None
    stamp: Stamp
    data: str
    years: tuple[int, ...]
    metrics: dict[str, Any]
    parameters: int
    commit: str | None
    version: str
    licence: str
    synthetic: bool
    command: str
    sha256: str = ""

    def __post_init__(self) -> None:
        spatial = find_network(self.network).task == "spatial"
        allowed = tuple(DEGRADATIONS) if spatial else (None,)
        if self.degradation not in allowed:
            raise InputError(
                f"{self.network} with the degradation {self.degradation!r}",
                hint=f"use one of {', '.join(map(str, allowed))}",
            )


def build(network: str, settings: Mapping[str, Any]) -> nn.Module:
    """Return an untrained network, by its key in `NETWORKS` and every attribute of its settings.

    Raises
    ------
    InputError
        If the network or a setting is unknown, missing or of a wrong kind.
    """
    make = find_network(network).load()
    module: nn.Module = make(validated(make.Settings, settings, f"settings of {network}"))
    return module


def save(path: Path, module: nn.Module, card: Card, *, half: bool = False) -> Path:
    """Write a checkpoint: the weights first, the card last.

    Each file appears whole or not at all. A run that is cut off between the two leaves weights
    that do not fit an older card, which `load` refuses.

    Parameters
    ----------
    path : Path
        Without a suffix, or with that of either file.
    module : Module
        The network of the card.
    card : Card
        Its `sha256` and `parameters` are filled in.
    half : bool
        Whether floating-point weights are stored in half precision.

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    InputError
        If the module is not what the card describes, or a weight is not finite as stored.
    """
    expected = build(card.network, card.settings).state_dict()
    kind = torch.float16 if half else torch.float32
    tensors = {
        name: one.detach().to("cpu", kind if one.is_floating_point() else one.dtype).contiguous()
        for name, one in module.state_dict().items()
    }
    _require_same(tensors, expected, path)
    endless = sorted(name for name, one in tensors.items() if not bool(torch.isfinite(one).all()))
    if endless:
        raise InputError(
            f"the weights {endless[0]} are not finite{' in half precision' if half else ''}",
            path=path,
            hint="train with a smaller step, or keep an earlier state",
        )
    Normalisation.from_dict(card.normalisation)
    content = save_tensors(tensors)
    card = replace(
        card,
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=sum(one.numel() for one in module.parameters()),
    )
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False, allow_nan=False)
    for file, written in ((weights_path(path), content), (card_path(path), f"{text}\n".encode())):
        with whole_file(file) as work:
            work.write_bytes(written)
    return weights_path(path)


def read_card(path: Path) -> Card:
    """Return the card of a checkpoint.

    Raises
    ------
    InputError
        If it is absent or no JSON, or a key is unknown, missing or of a wrong kind.
    """
    file = card_path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "there is no card", path=file, hint="name a checkpoint: PATH.safetensors and PATH.json"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"is no card ({error})", path=file, hint=_MAKE_AGAIN) from error
    if not isinstance(content, dict):
        raise InputError("is no card: it holds no JSON object", path=file, hint=_MAKE_AGAIN)
    with _about(file):
        card: Card = validated(Card, content, "a card")
    return card


def load(path: Path) -> tuple[nn.Module, Card]:
    """Return a trained network, float32 and in evaluation mode, and its card.

    Parameters
    ----------
    path : Path
        Without a suffix, or with that of either file.

    Raises
    ------
    InputError
        If a file is absent, the weights are not those of the card (SHA-256), are no safetensors
        file, or do not have exactly the names and shapes of the network; or as `read_card`.
    """
    if path.suffix in (".pt", ".pth", ".pkl", ".ckpt"):
        raise InputError(
            f"a {path.suffix} file may run any code when it is read, so it is not",
            path=path,
            hint="give a checkpoint: PATH.safetensors and PATH.json",
        )
    card = read_card(path)
    Normalisation.from_dict(card.normalisation)
    file = weights_path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"the weights of the card cannot be read ({error.strerror})",
            path=file,
            hint=_MAKE_AGAIN,
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise InputError(
            f"its SHA-256 is {found[:12]}…, but its card says {card.sha256[:12]}…",
            path=file,
            hint=_MAKE_AGAIN,
        )
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise InputError(
            f"is no safetensors file ({error})", path=file, hint=_MAKE_AGAIN
        ) from error
    with _about(card_path(path)):
        module = build(card.network, card.settings)
    _require_same(tensors, module.state_dict(), file)
    module.load_state_dict(tensors)  # into float32, whatever the file has
    module.requires_grad_(requires_grad=False)
    return module.eval(), card


@contextmanager
def _about(file: Path) -> Iterator[None]:
    """Say of which file an error is."""
    try:
        yield
    except InputError as error:
        raise InputError(error.problem, path=file, hint=error.hint) from error


def _require_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    for name in sorted(set(found) ^ set(expected)) or found:
        if name not in expected:
            said = "are not part of this network"
        elif name not in found:
            said = "are missing"
        elif found[name].shape != (shape := expected[name].shape):
            said = f"have the shape {tuple(found[name].shape)}, but the card gives {tuple(shape)}"
        else:
            continue
        raise InputError(
            f"the weights {name} {said}", path=path, hint="use the card that was written with it"
        )
