"""Interpolation in time along the apparent motion between two frames: dense optical flow.

Arrays are as in a Field, south first. A flow is an array (latitude, longitude, 2) of
displacements in grid steps over the whole interval: ``[..., 0]`` counts columns and is positive
eastward, ``[..., 1]`` counts rows and is positive northward. At a point of image A the flow from A
to B leads to where the content of that point lies in B.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from deepcams_eval.core.arrays import FloatArray
from deepcams_eval.downscale.derived import linear
from deepcams_eval.downscale.temporal import Interval, IntervalMethod

Flow = npt.NDArray[np.float32]

MARGIN = 64
"""Columns, and in a region rows, that are added on each side before flow is estimated."""

QUANTILE = 0.9995
"""Of the square roots of both frames: the value that becomes 255 in the 8-bit images."""

_REACH = 4  # columns beyond the edge that cubic sampling may touch, with room for rounding
_WHITE = 255

_KEPT = 4
_recent: OrderedDict[bytes, tuple[Flow, Flow]] = OrderedDict()
"""The last flows by the digest of their frames: several methods follow the same motion."""


class OpticalFlow(IntervalMethod):
    """Frames warped along dense optical flow (DIS) and blended.

    Flow is estimated once an interval in both directions (`dis_flows`) and projected to each
    hour (`intermediate_flows`); both frames are sampled along it (`warp`) and blended with the
    weights 1 − t and t. Nothing is clipped: cubic sampling may fall below zero beside a steep
    edge. NaN where linear interpolation is; linear where sampling would touch a NaN.
    """

    name = "dis"
    title = "optical flow (DIS) of square roots, cubic warping"

    def inserted(self, interval: Interval, fractions: FloatArray) -> FloatArray:
        """Return (1 − t)·warp(G0, F_t0) + t·warp(G1, F_t1), linear where that is NaN."""
        first, last = interval.first, interval.last
        result = linear(first, last, fractions)
        forward, backward = dis_flows(first, last, cyclic=interval.cyclic)
        for index, t in enumerate(fractions):
            to_first, to_last = intermediate_flows(forward, backward, float(t))
            blend = (1 - t) * warp(first, to_first, cyclic=interval.cyclic)
            blend += t * warp(last, to_last, cyclic=interval.cyclic)
            use = np.isfinite(blend) & np.isfinite(result[index])
            result[index][use] = blend[use]
        return result


def dis_flows(
    first: npt.NDArray[np.float32], last: npt.NDArray[np.float32], *, cyclic: bool
) -> tuple[Flow, Flow]:
    """Return the flow from `first` to `last`, and the flow from `last` to `first`.

    Dense inverse search, Kroeger et al. (2016), doi:10.1007/978-3-319-46493-0_29, OpenCV's medium
    preset with finest scale 0, on square roots scaled to 8 bits: 0 is black, the `QUANTILE` of
    both frames white, and negative values count as 0. DIS treats the two directions of an axis
    slightly differently, so the images are always handed to it north first.

    Parameters
    ----------
    first, last : ndarray, shape (latitude, longitude)
        µg m⁻³, south first. A point that is NaN in either is black in both.
    cyclic : bool
        Whether longitude spans the globe: the images are then continued round it by `MARGIN`
        columns, otherwise their outermost rows and columns are repeated.

    Returns
    -------
    forward, backward : ndarray, shape (latitude, longitude, 2)
        In the sign convention of this module. The same whatever the number of threads.
    """
    digest = hashlib.blake2b(first.tobytes() + last.tobytes() + bytes([cyclic])).digest()
    if digest not in _recent:
        _recent[digest] = _both_ways(first, last, cyclic=cyclic)
        if len(_recent) > _KEPT:
            _recent.popitem(last=False)
    forward, backward = _recent[digest]
    return forward.copy(), backward.copy()


def _both_ways(
    first: npt.NDArray[np.float32], last: npt.NDArray[np.float32], *, cyclic: bool
) -> tuple[Flow, Flow]:
    images = [_padded(image[::-1], cyclic=cyclic) for image in _eight_bit(first, last)]
    rows, columns = first.shape
    top = (images[0].shape[0] - rows) // 2
    inner = np.s_[top : top + rows, MARGIN : MARGIN + columns]
    forward = _southward_flow(images[0], images[1])[inner][::-1]
    backward = _southward_flow(images[1], images[0])[inner][::-1]
    northward = np.array([1, -1], dtype=np.float32)
    return forward * northward, backward * northward


def intermediate_flows(forward: Flow, backward: Flow, t: float) -> tuple[Flow, Flow]:
    """Return the flows from the time t to the first frame and to the last one.

    F_t0 = −(1 − t)·t·F_01 + t²·F_10 and F_t1 = (1 − t)²·F_01 − t·(1 − t)·F_10: Jiang et al.
    (2018), doi:10.1109/CVPR.2018.00938, equation 4.

    Parameters
    ----------
    forward, backward : ndarray, shape (latitude, longitude, 2)
        F_01 and F_10.
    t : float
        Fraction of the interval elapsed.
    """
    to_first = -(1 - t) * t * forward + t * t * backward
    to_last = (1 - t) ** 2 * forward - t * (1 - t) * backward
    return to_first, to_last


def warp(image: npt.NDArray[np.float32], flow: Flow, *, cyclic: bool) -> npt.NDArray[np.float32]:
    """Return `image` sampled at each point displaced by `flow`, by cubic convolution.

    Parameters
    ----------
    image : ndarray, shape (latitude, longitude)
        µg m⁻³.
    flow : ndarray, shape (latitude, longitude, 2)
        From the image that is wanted to `image`, in the sign convention of this module.
    cyclic : bool
        Whether the first column follows the last; otherwise the outermost value is repeated
        beyond the edge, as it always is beyond the first and the last row.

    Returns
    -------
    ndarray
        NaN where any of the sixteen values about a place is NaN.
    """
    rows, columns = image.shape
    x = np.arange(columns, dtype=np.float32) + flow[..., 0]
    y = np.arange(rows, dtype=np.float32)[:, np.newaxis] + flow[..., 1]
    source = image
    if cyclic:
        source = np.pad(image, ((0, 0), (_REACH, _REACH)), mode="wrap")
        x = x % columns + _REACH
    sampled = cv2.remap(
        source.astype(np.float32, copy=False),
        x.astype(np.float32, copy=False),
        y.astype(np.float32, copy=False),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(sampled, dtype=np.float32)


def _eight_bit(
    first: npt.NDArray[np.float32], last: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    roots = np.sqrt(np.maximum(np.stack([first, last]), 0))
    known = np.isfinite(roots).all(axis=0)
    white = float(np.quantile(roots[:, known], QUANTILE)) if known.any() else 0.0
    if white == 0:
        return np.zeros(roots.shape, dtype=np.uint8)
    # A gap in one frame only must not look like something that moves.
    scaled = np.where(known, roots, 0) / white * _WHITE
    return np.clip(scaled, 0, _WHITE).astype(np.uint8)


def _padded(image: npt.NDArray[np.uint8], *, cyclic: bool) -> npt.NDArray[np.uint8]:
    # A band of a few rows is smaller than a patch of DIS, unless it is extended as well.
    rows = 0 if cyclic and len(image) >= MARGIN else MARGIN
    tall = np.pad(image, ((rows, rows), (0, 0)), mode="edge")
    sides = ((0, 0), (MARGIN, MARGIN))
    return np.pad(tall, sides, mode="wrap") if cyclic else np.pad(tall, sides, mode="edge")


def _southward_flow(first: npt.NDArray[np.uint8], last: npt.NDArray[np.uint8]) -> Flow:
    estimator: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The preset stops at half resolution, which loses plumes a few cells wide.
    estimator.setFinestScale(0)
    # None, which OpenCV's annotations forget: an initial flow of zeros gives another result.
    return np.asarray(estimator.calc(first, last, None), dtype=np.float32)
