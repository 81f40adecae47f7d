"""The networks, one line each. To add one, write its file and a line in `NETWORKS`.

The file holds a class and its settings, a frozen dataclass that is a `NetworkSettings`; the class
takes the settings and keeps them as ``settings``, and names their type as ``Settings``.

- In time it is called, and has ``interpolate``, as `xvfi.XVFI`; its settings have
  ``initial_flow`` ("dis" to be given flows, else "none"), ``kernel`` and ``sun``.
- In space it is called as `abpn.ABPN`; its settings have ``start`` ("given" to be given an
  enlargement, else "bicubic").

How it is trained, validated and applied follows from its task. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from deepcams_eval.downscale.protocol import Task
from deepcams_eval.errors import InputError, pick


class NetworkSettings:
    """What settings of networks share.

    Attributes
    ----------
    presets : mapping
        Values of every attribute, by the name of the preset.
    training : mapping
        Where a training of a preset differs from the defaults of `train.TrainSettings`; "" stands
        for all of them.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    training: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return the settings called `name`, one of `presets`.

        Raises
        ------
        InputError
            If there is none.
        """
        if name not in cls.presets:
            raise InputError(
                f"{cls.__name__.removesuffix('Settings').upper()} has no preset {name!r}",
                hint=f"choose from {', '.join(cls.presets)}",
            )
        return cls(**cls.presets[name])


@dataclass(frozen=True)
class Network:
    """A network.

    Attributes
    ----------
    task : {"temporal", "spatial"}
        Which decides how it is trained, validated and applied.
    place : str
        ``module:Class``, imported at the first use.
    """

    task: Task
    place: str

    def load(self) -> Any:
        """Return the class of the network, an `nn.Module`."""
        return EntryPoint("", self.place, "").load()


NETWORKS: dict[str, Network] = {
    "xvfi": Network("temporal", "deepcams_models.xvfi:XVFI"),
    "abpn": Network("spatial", "deepcams_models.abpn:ABPN"),
}


def find_network(name: str) -> Network:
    """Return the network called `name`, or raise an `InputError`; see `pick`."""
    return pick(NETWORKS, name, "network")


def validated(kind: Any, content: Mapping[str, Any], what: str) -> Any:
    """Return a dataclass of exactly these attributes, each of its kind.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value of a wrong kind; `what` stands first.
    """
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
        place, said = first_problem(error)
        raise InputError(
            f"{what}: {place}: {said}" if place else f"{what}: {said}",
            hint=f"it has {error.errors()[0]['input']!r}" if place else None,
        ) from error


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the place of the first value that pydantic refuses, and why it does."""
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
