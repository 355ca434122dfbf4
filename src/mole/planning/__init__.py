"""Model-predictive control: planners that sample action sequences and score them with a model."""

from mole.planning.base import Planner, PlannerState, Reward, rollout, rollout_trajectory
from mole.planning.cem import CEM
from mole.planning.mppi import MPPI
from mole.planning.shooting import RandomShooting

__all__ = [
    "CEM",
    "MPPI",
    "Planner",
    "PlannerState",
    "RandomShooting",
    "Reward",
    "rollout",
    "rollout_trajectory",
]
