"""Environments that change while they run. Importing this package registers them with Gymnasium.

- `cheetah`, `crawler`: our machines; `scheduled_env`: what they have in common.
- `spec`: what a learner must know of an environment.
- `schedules`: what is hidden and when it changes.
- `wrappers`: changes for any other environment, and what makes it ready for an agent.
- `simulation`: a machine's simulator as a planner's model, and drawing.
"""

from __future__ import annotations

try:
    import gymnasium
    import mujoco as _mujoco  # noqa: F401
except ImportError as missing:
    raise ImportError(
        f"mole.envs needs Gymnasium and MuJoCo, and cannot import {missing.name!r}. "
        "Install them with: pip install 'mole-online[control]'"
    ) from missing

from mole.envs.cheetah.motors import ENV_ID as _CHEETAH
from mole.envs.cheetah.motors import HalfCheetahMotorsEnv
from mole.envs.cheetah.terrain import ENV_ID as _TERRAIN
from mole.envs.cheetah.terrain import HalfCheetahTerrainEnv
from mole.envs.crawler.env import ENV_ID as _CRAWLER
from mole.envs.crawler.env import CrawlerLegsEnv
from mole.envs.schedules.schedule import Schedule, TaskNumbers, Timeline
from mole.envs.schedules.text import Vocabulary, as_schedule, parse_schedule
from mole.envs.spec import DynamicsSpec, Shaping, generic_spec, register_reward, register_spec, spec_for
from mole.envs.wrappers.angles import AnglePairs
from mole.envs.wrappers.generic import FlatSpaces, RewardInObservation, agent_env
from mole.envs.wrappers.parameters import (
    PARAMETERS,
    Parameter,
    set_action_delay,
    set_attribute,
    set_damping,
    set_friction,
    set_gain,
    set_gravity,
    set_mass,
    set_observation_delay,
)
from mole.envs.wrappers.switching import SwitchingWrapper, parameter_training, switching, switching_by_name

__all__ = [
    "PARAMETERS",
    "AnglePairs",
    "CrawlerLegsEnv",
    "DynamicsSpec",
    "FlatSpaces",
    "HalfCheetahMotorsEnv",
    "HalfCheetahTerrainEnv",
    "Parameter",
    "RewardInObservation",
    "Schedule",
    "Shaping",
    "SwitchingWrapper",
    "TaskNumbers",
    "Timeline",
    "Vocabulary",
    "agent_env",
    "as_schedule",
    "generic_spec",
    "parameter_training",
    "parse_schedule",
    "register_reward",
    "register_spec",
    "set_action_delay",
    "set_attribute",
    "set_damping",
    "set_friction",
    "set_gain",
    "set_gravity",
    "set_mass",
    "set_observation_delay",
    "spec_for",
    "switching",
    "switching_by_name",
]

for _id, _env in (
    (_CHEETAH, HalfCheetahMotorsEnv),
    (_TERRAIN, HalfCheetahTerrainEnv),
    (_CRAWLER, CrawlerLegsEnv),
):
    # A module that is imported again (`importlib.reload`) must not register twice: Gymnasium would warn.
    if _id not in gymnasium.registry:
        # Episodes end by the environment's own `episode_steps`, which may be None: Gymnasium's limit would cut them.
        gymnasium.register(_id, entry_point=f"{_env.__module__}:{_env.__name__}", max_episode_steps=None)
    register_spec(_id, _env.dynamics)
