"""The networks as methods of the benchmark; they register through the entry points.

Nothing here imports torch before a network is called for the first time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.core.field import stamp_of
from deepcams_eval.core.solar import cosine_of_zenith
from deepcams_eval.downscale import registry
from deepcams_eval.downscale.degrade import FACTOR, Degradation, Registration, degradation
from deepcams_eval.downscale.derived import linear
from deepcams_eval.downscale.flow import dis_flows, intermediate_flows, warp
from deepcams_eval.downscale.protocol import Coarse, Downscaler, Target, Task
from deepcams_eval.downscale.spatial import BackProjection, require_same_times
from deepcams_eval.downscale.temporal import Interval, IntervalMethod
from deepcams_eval.errors import DeepcamsWarning, InputError
from deepcams_models.networks import NETWORKS, find_network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepcams_models.checkpoint import Card

SHIPPED = Path(__file__).with_name("weights")
"""Folder of the weights that come with the package."""

INSTALL = 'pip install "deepcams[models]"'

_RECENT = 26  # frames of a day and of the interval that closes it

_STAMPS = {"mean": "hourly means", "point": "instantaneous maps"}
_Maps = npt.NDArray[np.float32]


class _Trained:
    """A network and its checkpoint, which is read at the first use.

    Travels to worker processes without its weights; each reads them from disk.

    Attributes
    ----------
    recent : OrderedDict
        What it made last, by the digest of what it was given: the joint task asks again for the
        frames of a day that the spatial task had.
    """

    def __init__(self, network: str, path: Path) -> None:
        self.path = registry.checkpoint_path(path).absolute()
        self._network = network
        self.recent: OrderedDict[bytes, _Maps] = OrderedDict()
        if not registry.card_path(self.path).exists():
            raise InputError(
                f"there are no weights of {network}",
                path=path,
                hint=f"make them with: deepcams-models train {network} --out FOLDER, and name it",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._network, self.path)

    @cached_property
    def card(self) -> Card:
        """What is known of it.

        Raises
        ------
        InputError
            If torch is not installed, the card cannot be used or is that of another network.
        """
        _require_torch()
        from deepcams_models.checkpoint import read_card

        card = read_card(self.path)
        if card.network != self._network:
            raise InputError(
                f"is a checkpoint of {card.network}, not of {self._network}",
                path=self.path,
                hint=f"name one that deepcams-models train {self._network} made",
            )
        return card

    @cached_property
    def _loaded(self) -> tuple[nn.Module, Any, Any]:
        _require_torch()
        import torch

        from deepcams_models.checkpoint import load
        from deepcams_models.normalise import Normalisation

        module, card = load(self.path)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return module.to(device), Normalisation.from_dict(card.normalisation), device

    @property
    def module(self) -> Any:
        """The network, in evaluation mode, on a GPU where there is one."""
        return self._loaded[0]

    def tensor(self, maps: FloatArray) -> Tensor:
        """Return maps (row, column), µg m⁻³, as the network sees them: (1, 1, row, column)."""
        result: Tensor = self._loaded[1].forward(self.plain_tensor(maps)[None, None])
        return result

    def plain_tensor(self, values: FloatArray) -> Tensor:
        """Return values of any shape as they are, where the network is."""
        import torch

        contiguous = np.ascontiguousarray(values, dtype=np.float32)
        return torch.from_numpy(contiguous).to(self._loaded[2])

    def maps(self, tensor: Tensor) -> _Maps:
        """Return what the network made, in µg m⁻³, in the shape of the tensor."""
        result: _Maps = self._loaded[1].inverse(tensor).cpu().numpy()
        return result


class _Method:
    """What networks of both tasks have in common as methods.

    Attributes
    ----------
    networks : collection of str
        Those whose checkpoints `from_checkpoint` takes, of either task.
    """

    name: str
    title: str
    trained: _Trained
    networks = NETWORKS
    _told: bool = False

    @classmethod
    def from_checkpoint(cls, name: str, path: Path) -> Downscaler:
        """Return the method called `name` with the weights of a checkpoint.

        Raises
        ------
        InputError
            If there is none, or its network is none of this package.
        """
        network = registry.read_card(path)["network"]
        method = METHODS[find_network(network).task](path, network=network)
        what = method.title if network == method.name else f"the network {network}"
        method.title = f"{what}; checkpoint {method.trained.path.name}"
        method.name = name
        return method

    def notes(self, field: xr.DataArray) -> list[str]:
        """Return what a reader of results on `field` must know of the network, a sentence each."""
        card = self.trained.card
        found = []
        if card.synthetic:
            found.append(f"{self.name}: trained on synthetic data only ({card.data}).")
        if card.stamp != stamp_of(field):
            found.append(f"{self.name}: trained on {self._stamps(field, 'and applied to')}.")
        return found

    def _tell_stamp(self, field: xr.DataArray) -> None:
        """Warn, once, if the maps are another kind of value than those it learned from."""
        if self._told or self.trained.card.stamp == stamp_of(field):
            return
        self._told = True
        said = f"{self.name} was trained on {self._stamps(field, 'and is applied to')}"
        warnings.warn(said, DeepcamsWarning, stacklevel=3)

    def _stamps(self, field: xr.DataArray, between: str) -> str:
        return f"{_STAMPS[self.trained.card.stamp]} {between} {_STAMPS[stamp_of(field)]}"


class Xvfi(_Method, IntervalMethod):
    """The hours between two maps by XVFI (`deepcams_models.xvfi`), or another network in time.

    Both maps are filled where they are NaN, with the value of the other map or the nearest one.
    The result is NaN where linear interpolation is, and linear where the flow leads beside a
    NaN, as in ``dis``.

    Parameters
    ----------
    checkpoint : Path, optional
        As `deepcams_models.checkpoint.load` takes it; the weights that come with the package
        where absent.
    network : str, optional
        Of the checkpoint.

    Raises
    ------
    InputError
        If there is none.
    """

    name = "xvfi"
    task: Task = "temporal"
    title = "XVFI, flow corrected by a network"

    def __init__(self, checkpoint: Path | None = None, *, network: str = "xvfi") -> None:
        self.trained = _Trained(network, SHIPPED / network if checkpoint is None else checkpoint)

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return a Field at the times of `target`; see `IntervalMethod`."""
        self._tell_stamp(coarse.field)
        return super().__call__(coarse, target)

    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return the maps at the fractions of one interval, all in one go."""
        import torch

        first, last, cyclic = interval.first, interval.last, interval.cyclic
        result = linear(first, last, fractions)
        known = np.isfinite(result).all(axis=0)
        if not known.any():
            return result
        trained = self.trained
        flows = given = sun = None
        if trained.module.settings.initial_flow == "dis":
            flows = dis_flows(first, last, cyclic=cyclic)
            given = tuple(trained.plain_tensor(np.moveaxis(flow, -1, 0))[None] for flow in flows)
        if trained.module.settings.sun:
            ends = interval.stamps[[interval.before, interval.before + 1]]
            cosine = cosine_of_zenith(ends, interval.latitude, interval.longitude)
            sun = trained.plain_tensor(cosine)[None]  # (1, 2, H, W)
        with torch.inference_mode():
            made = trained.module.interpolate(
                trained.tensor(_filled(first, last)),
                trained.tensor(_filled(last, first)),
                [float(t) for t in fractions],
                flows=given,
                sun=sun,
                cyclic=cyclic,
            )  # (1, T, H, W)
            frames = trained.maps(made)[0]
        for index, t in enumerate(fractions):
            use = known
            if flows is not None and not known.all():
                use = known & _clear_of_gaps(interval, flows, float(t))
            result[index][use] = frames[index][use]
        return result


class Abpn(_Method):
    """Maps enlarged three times by ABPN (`deepcams_models.abpn`), or another network in space.

    What the network improves is bicubic with ten back-projections. Coarse maps are filled with
    their nearest value where they are NaN; the result is NaN where that method is, and equals it
    on a row at the south pole that belongs to no coarse one.

    Parameters
    ----------
    checkpoint : Path, optional
        As `deepcams_models.checkpoint.load` takes it. Where absent, of the weights that come with
        the package those that were trained with the operator of the maps.
    allow_registration : str, optional
        Operator that the network may be trained with although the maps are made by ``node``: a
        node is then taken for the middle of a cell of that operator.
    network : str, optional
        Of the checkpoint.

    Raises
    ------
    InputError
        If there is no checkpoint.
    """

    name = "abpn"
    task: Task = "spatial"
    title = "ABPN, back-projection corrected by a network"

    def __init__(
        self,
        checkpoint: Path | None = None,
        *,
        allow_registration: str | None = None,
        network: str = "abpn",
    ) -> None:
        paths = [checkpoint] if checkpoint is not None else _shipped(network)
        self._choices = tuple(_Trained(network, path) for path in paths)
        self.trained = self._choices[0]
        self.allow_registration = allow_registration

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators whose maps it takes."""
        own = [trained.card.degradation or "" for trained in self._choices]
        also = ["node"] if self.allow_registration in own and "node" not in own else []
        return (*own, *also)

    def __call__(self, coarse: Coarse, target: Target) -> xr.DataArray:
        """Return the frames of `coarse` on the grid of `target`.

        Raises
        ------
        InputError
            If the times differ, or the operator of `coarse` is absent, is not the one that the
            network was trained with, or does not give the coordinates of the frames.
        """
        require_same_times(coarse.field, target)
        trained = self.trained_for(coarse.operator)
        operator = degradation(trained.card.degradation or "")
        self._tell_stamp(coarse.field)
        start = BackProjection()(coarse, target).values
        places = target.latitude, target.longitude
        grid = coarse.operator.registration_of(coarse.field, *places)
        below: Iterable[_Maps] = map(grid.on_blocks, start)
        if operator != coarse.degradation:
            below = _back_projected(coarse, operator)
        result = start.copy()
        for index, (frame, seen) in enumerate(zip(coarse.field.values, below, strict=True)):
            if np.isfinite(frame).any():
                made = _enlarged(trained, frame, seen, grid.cyclic)
                _place(made, result[index], grid)
        result[np.isnan(start)] = np.nan
        return target.field(result)

    def trained_for(self, made_by: Degradation) -> _Trained:
        """Return the network that suits maps of `made_by`.

        Raises
        ------
        InputError
            If none does; the message names the operators.
        """
        by_operator = {one.card.degradation or "": one for one in reversed(self._choices)}
        wanted = made_by.name
        if wanted == "node" and self.allow_registration is not None:
            wanted = self.allow_registration
        if wanted not in by_operator:
            raise InputError(
                f"{self.name} was trained on maps that {' or '.join(map(repr, by_operator))} made,"
                f" but these are of {made_by.name!r}",
                path=self.trained.path,
                hint=f"use a checkpoint trained with {made_by.name!r}, or another spatial method",
            )
        return by_operator[wanted]


METHODS: Mapping[Task, Callable[..., Xvfi | Abpn]] = {"temporal": Xvfi, "spatial": Abpn}
"""What applies the networks of a task."""


def _enlarged(trained: _Trained, frame: _Maps, start: _Maps, cyclic: bool) -> _Maps:
    import torch

    digest = hashlib.blake2b(frame.tobytes() + start.tobytes(), digest_size=16).digest()
    if digest not in trained.recent:
        given = trained.module.settings.start == "given"
        with torch.inference_mode():
            made = trained.module(
                trained.tensor(_filled(frame, frame)),
                trained.tensor(_filled(start, start)) if given else None,
                cyclic=cyclic,
            )  # (1, 1, 3h, 3w)
            trained.recent[digest] = trained.maps(made)[0, 0]
        if len(trained.recent) > _RECENT:
            trained.recent.popitem(last=False)
    return trained.recent[digest]


def _shipped(network: str) -> list[Path]:
    """Return the weights of a network that come with the package; its usual place if none do."""
    usual = SHIPPED / network
    others = sorted(card.with_suffix("") for card in SHIPPED.glob(f"{network}-*.json"))
    return [usual, *others] if usual.with_suffix(".json").exists() or not others else others


def _place(made: _Maps, fine: _Maps, grid: Registration) -> None:
    """Put what was made on the blocks of three nodes onto the fine grid, where they overlap.

    With half-pixel operators both agree, but for a row at the south pole. With ``node`` the blocks
    are one step larger all round, and turned by one column where longitude is cyclic.
    """
    rows, columns = grid.blocks
    down = (rows >= 0) & (rows < fine.shape[0])
    across = (columns >= 0) & (columns < fine.shape[1])
    fine[np.ix_(rows[down], columns[across])] = made[np.ix_(down, across)]


def _back_projected(coarse: Coarse, operator: Degradation) -> _Maps:
    """Return bicubic with ten back-projections of another operator, on blocks of three nodes.

    As bare frames: blocks reach beyond the poles, which no Field does.
    """
    coordinates = []
    for name in ("latitude", "longitude"):
        nodes = coarse.field[name].values
        step = (nodes[-1] - nodes[0]) / (len(nodes) - 1) / FACTOR
        thirds = step * (np.arange(FACTOR) - FACTOR // 2)
        coordinates.append((nodes[:, np.newaxis] + thirds).ravel())
    lattice = Target.like(coarse.field).on(*coordinates)
    return BackProjection().frames(Coarse(coarse.field, operator), lattice)


def _filled(maps: _Maps, other: _Maps) -> _Maps:
    """Return maps without NaN: the value of `other`, else the nearest, else 0."""
    result = np.where(np.isfinite(maps), maps, other)
    missing = ~np.isfinite(result)
    if not missing.any():
        return result
    if missing.all():
        return np.zeros_like(result)
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    filled: _Maps = result[tuple(nearest)]
    return filled


def _clear_of_gaps(
    interval: Interval, flows: tuple[FloatArray, FloatArray], t: float
) -> npt.NDArray[np.bool_]:
    """Return where no NaN of either map is touched along the given flows."""
    to_first, to_last = intermediate_flows(*flows, t)
    sampled = warp(interval.first, to_first, cyclic=interval.cyclic)
    sampled = sampled + warp(interval.last, to_last, cyclic=interval.cyclic)
    return np.asarray(np.isfinite(sampled))


def not_installed() -> str:
    """Return which of the packages that the networks need are absent, "" if none is."""
    needed = ("torch", "safetensors")
    return " and ".join(one for one in needed if importlib.util.find_spec(one) is None)


def _require_torch() -> None:
    if absent := not_installed():
        raise InputError(f"the networks need {absent}, which is not installed", hint=INSTALL)
