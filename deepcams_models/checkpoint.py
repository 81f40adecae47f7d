"""A trained network on disk: ``PATH.safetensors`` and, beside it, its card ``PATH.json``.

The card says what the network is, what it learned from and how well it did, and holds the SHA-256
of the weights. Weights are read as plain arrays: nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from deepcams_eval.core.field import Stamp
from deepcams_eval.downscale.degrade import DEGRADATIONS
from deepcams_eval.errors import InputError
from deepcams_models.abpn import ABPN, AbpnSettings
from deepcams_models.normalise import Normalisation
from deepcams_models.xvfi import XVFI, XvfiSettings

Network = Literal["xvfi", "abpn"]

WEIGHTS_SUFFIX, CARD_SUFFIX = ".safetensors", ".json"

_Settings = type[XvfiSettings] | type[AbpnSettings]

_NETWORKS: Mapping[str, tuple[_Settings, Callable[[Any], nn.Module]]] = {
    "xvfi": (XvfiSettings, XVFI),
    "abpn": (AbpnSettings, ABPN),
}
_MAKE_AGAIN = "copy both files of the checkpoint again, or train it again"


@dataclass(frozen=True)
class Card:
    """What is known of a trained network.

    Attributes
    ----------
    network : {"xvfi", "abpn"}
        Which.
    preset : str
        Name of the settings that it began with.
    settings : dict
        Every attribute of its `XvfiSettings` or `AbpnSettings`.
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

    network: Network
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
        if self.network not in get_args(Network):
            raise _unknown_network(self.network)
        spatial = self.network == "abpn"
        allowed = tuple(DEGRADATIONS) if spatial else (None,)
        if self.degradation not in allowed:
            raise InputError(
                f"{self.network} with the degradation {self.degradation!r}",
                hint=f"use one of {', '.join(map(str, allowed))}",
            )


def card_path(path: Path) -> Path:
    """Return the card of a checkpoint, named with or without the suffix of one of its files."""
    return _beside(path, CARD_SUFFIX)


def weights_path(path: Path) -> Path:
    """Return the weights of a checkpoint, named with or without the suffix of one of its files."""
    return _beside(path, WEIGHTS_SUFFIX)


def build(network: str, settings: Mapping[str, Any]) -> nn.Module:
    """Return an untrained network.

    Parameters
    ----------
    network : {"xvfi", "abpn"}
        Which.
    settings : mapping
        Every attribute of its settings, by name.

    Raises
    ------
    InputError
        If the network or a setting is unknown, missing or of a wrong kind.
    """
    if network not in _NETWORKS:
        raise _unknown_network(network)
    kind, make = _NETWORKS[network]
    return make(_validated(kind, settings, f"settings of {network}"))


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
    tensors = {name: _stored(one, half=half) for name, one in module.state_dict().items()}
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
    _write(weights_path(path), content)
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False, allow_nan=False)
    _write(card_path(path), (text + "\n").encode())
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
    try:
        card: Card = _validated(Card, content, "a card")
    except InputError as error:
        raise InputError(error.problem, path=file, hint=error.hint) from error
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
    try:
        module = build(card.network, card.settings)
    except InputError as error:
        raise InputError(error.problem, path=card_path(path), hint=error.hint) from error
    _require_same(tensors, module.state_dict(), file)
    module.load_state_dict(tensors)  # into float32, whatever the file has
    module.requires_grad_(requires_grad=False)
    return module.eval(), card


def _beside(path: Path, suffix: str) -> Path:
    if path.suffix in (WEIGHTS_SUFFIX, CARD_SUFFIX):
        return path.with_suffix(suffix)
    # Not with_suffix: a name such as run-1.5 keeps what stands behind its point.
    return path.with_name(path.name + suffix)


def _unknown_network(name: str) -> InputError:
    return InputError(
        f"no network is called {name!r}", hint=f"choose from {', '.join(get_args(Network))}"
    )


def _validated(kind: Any, content: Mapping[str, Any], what: str) -> Any:
    known = {one.name for one in fields(kind)}
    for said, names in (("unknown", set(content) - known), ("missing", known - set(content))):
        if names:
            raise InputError(
                f"{what}: {', '.join(map(repr, sorted(names)))} {said}",
                hint=f"its keys are {', '.join(sorted(known))}",
            )
    try:
        return TypeAdapter(kind).validate_python(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{what}: {place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}",
            hint=f"it has {first['input']!r}" if place else None,
        ) from error


def _stored(tensor: Tensor, *, half: bool) -> Tensor:
    floating = tensor.is_floating_point()
    kind = (torch.float16 if half else torch.float32) if floating else tensor.dtype
    return tensor.detach().to("cpu", kind).contiguous()


def _require_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    odd = sorted(set(found) ^ set(expected))
    if odd:
        said = "are not part of this network" if odd[0] in found else "are missing"
        raise InputError(
            f"the weights {odd[0]} {said}", path=path, hint="use the card that was written with it"
        )
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"the weights {name} have the shape {tuple(tensor.shape)}, but the card gives"
                f" {tuple(expected[name].shape)}",
                path=path,
                hint="use the card that was written with it",
            )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
