"""Environments that change while they run. Importing this package registers them with Gymnasium."""

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
from mole.envs.spec import DynamicsSpec, generic_spec, register_reward, register_spec, spec_for
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
    "CrawlerLegsEnv",
    "DynamicsSpec",
    "FlatSpaces",
    "HalfCheetahMotorsEnv",
    "HalfCheetahTerrainEnv",
    "Parameter",
    "RewardInObservation",
    "Schedule",
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

# Episodes are cut by the environment's own `episode_steps`: long rollouts are normal here.
if _CHEETAH not in gymnasium.registry:
    gymnasium.register(
        _CHEETAH, entry_point="mole.envs.cheetah.motors:HalfCheetahMotorsEnv", max_episode_steps=None
    )
register_spec(_CHEETAH, HalfCheetahMotorsEnv.dynamics)

if _TERRAIN not in gymnasium.registry:
    gymnasium.register(
        _TERRAIN, entry_point="mole.envs.cheetah.terrain:HalfCheetahTerrainEnv", max_episode_steps=None
    )
register_spec(_TERRAIN, HalfCheetahTerrainEnv.dynamics)

if _CRAWLER not in gymnasium.registry:
    gymnasium.register(_CRAWLER, entry_point="mole.envs.crawler.env:CrawlerLegsEnv", max_episode_steps=None)
register_spec(_CRAWLER, CrawlerLegsEnv.dynamics)
