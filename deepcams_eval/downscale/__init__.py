"""From 3-hourly 0.75° to hourly 0.25°: the protocol of a method, its registry, the baselines."""

from deepcams_eval.downscale.derived import bicubic_nodes, hourly_linear
from deepcams_eval.downscale.protocol import (
    ENTRY_POINTS,
    TASKS,
    Coarse,
    Downscaler,
    Target,
    Task,
    Training,
)

__all__ = [
    "ENTRY_POINTS",
    "TASKS",
    "Coarse",
    "Downscaler",
    "Target",
    "Task",
    "Training",
    "bicubic_nodes",
    "hourly_linear",
]
