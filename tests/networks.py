"""Small untrained networks as checkpoints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepcams_models.checkpoint import Card, build, save
from deepcams_models.networks import NETWORKS


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Return normal random values in single precision."""
    values = np.random.default_rng(seed).normal(scale=scale, size=shape)
    return torch.from_numpy(values).float()


def trained(kind: type[nn.Module], settings: Any, *, gain: float = 1.0) -> Any:
    """Return a network whose every weight is random, in the range of a trained one."""
    torch.manual_seed(0)
    module = kind(settings)
    for key, parameter in module.named_parameters():
        if not key.endswith("slope.weight"):
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
            nn.init.normal_(parameter, std=gain / fan_in**0.5)
    return module.eval()


def network(kind: str, *, noise: float = 0.0, seed: int = 0, **settings: Any) -> nn.Module:
    """Make a `small` network; with `noise` it is no longer its own start."""
    torch.manual_seed(seed)
    module = build(kind, {**asdict(NETWORKS[kind].load().Settings.preset("small")), **settings})
    with torch.no_grad():
        for weights in module.parameters():
            weights += noise * torch.randn_like(weights)
    return module.eval()


def card(module: nn.Module, **changes: Any) -> Card:
    """Make the card of a network."""
    kind = type(module).__name__.lower()
    said = {
        "network": kind,
        "preset": "small",
        "settings": asdict(module.settings),
        "normalisation": {"kind": "linear", "scale": 20.0},
        "degradation": "node" if kind == "abpn" else None,
        "stamp": "point",
        "data": "random weights",
        "years": (),
        "metrics": {"rmse": {"linear": 1.0}},
        "parameters": 0,
        "commit": None,
        "version": "0",
        "licence": "BSD-3-Clause",
        "synthetic": False,
        "command": "none",
    }
    return Card(**{**said, **changes})


def checkpoint(
    folder: Path, kind: str, *, noise: float = 0.0, settings: Any = None, **changes: Any
) -> Path:
    """Write a checkpoint and return its path without a suffix."""
    module = network(kind, noise=noise, **(settings or {}))
    path = folder / f"{kind}-1.0"
    save(path, module, card(module, **changes))
    return path
