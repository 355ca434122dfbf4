"""What every half-cheetah of this package shares: its start, its reward and the camera beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from mole.envs._cheetah_dynamics import CTRL_COST, DT, DYNAMICS
from mole.envs._scheduled_env import ScheduledEnv
from mole.envs.schedule import Schedule

__all__ = ["CheetahEnv"]


class CheetahEnv(ScheduledEnv):
    """A half-cheetah in a world with one hidden value at a time. Abstract, as `ScheduledEnv`."""

    dynamics = DYNAMICS
    _DISTANCE = 3.4
    _TERMS = ("forward", "ctrl")
    _REMEDY = "Call reset(), and use smaller values in the schedule or gentler actions."

    def __init__(
        self, schedule: Schedule, episode_steps: int | None, reset_noise_scale: float, **kwargs: Any
    ):
        """As `ScheduledEnv`."""
        super().__init__("half_cheetah.xml", schedule, episode_steps, reset_noise_scale, **kwargs)

    def _starting_state(self) -> tuple[np.ndarray, np.ndarray]:
        # In the order of HalfCheetah-v5, so that it is the same for the same seed.
        noise = self.np_random.uniform(-self._noise, self._noise, size=self.model.nq)
        qvel = self.init_qvel + self._noise * self.np_random.standard_normal(self.model.nv)
        return self.init_qpos + noise, qvel

    def _earned(
        self, before: np.ndarray, command: np.ndarray, obs: Float[np.ndarray, " obs"]
    ) -> tuple[float, ...]:
        # Of the simulator's x, not the observed one: on terrain it is the one that is near 0, with more digits.
        velocity = float(self.data.qpos[0] - before[0]) / DT
        return velocity, 0.0 - CTRL_COST * float(command @ command)  # 0.0 -: no negative zeros
