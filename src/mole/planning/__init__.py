"""Model-predictive control: planners that sample action sequences and score them with a model."""

from mole.planning.base import Planner, PlannerState, rollout, rollout_trajectory
from mole.planning.cem import CEM

__all__ = ["CEM", "Planner", "PlannerState", "rollout", "rollout_trajectory"]
