"""The simulation road: a year of hourly truth degraded, brought back by every method, scored."""

from deepcams_eval.simulation.parts import Parts
from deepcams_eval.simulation.run import (
    PredictionSpec,
    SimulationResult,
    SimulationSettings,
    simulate,
)

__all__ = ["Parts", "PredictionSpec", "SimulationResult", "SimulationSettings", "simulate"]
