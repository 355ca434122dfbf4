"""Model-predictive control: planners that sample action sequences and score them with a model.

- `base`: the protocol of a planner and the loop that all share; `scoring`: what plans are worth under a model.
- `cem`, `mppi`, `shooting`: one algorithm each.
- `host`: the same loop with a model outside of JAX; `config`: a planner from the words of a command line.
"""

from mole.planning.base import Planner, PlannerState
from mole.planning.cem import CEM
from mole.planning.mppi import MPPI
from mole.planning.scoring import Reward, rollout, rollout_trajectory
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
