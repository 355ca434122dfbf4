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

from mole.envs.half_cheetah import ENV_ID as _CHEETAH
from mole.envs.half_cheetah import HalfCheetahMotorsEnv
from mole.envs.schedule import Schedule, TaskNumbers, Timeline
from mole.envs.schedule_text import Vocabulary, as_schedule, parse_schedule
from mole.envs.spec import DynamicsSpec, generic_spec, register_spec, spec_for

__all__ = [
    "DynamicsSpec",
    "HalfCheetahMotorsEnv",
    "Schedule",
    "TaskNumbers",
    "Timeline",
    "Vocabulary",
    "as_schedule",
    "generic_spec",
    "parse_schedule",
    "register_spec",
    "spec_for",
]

# Episodes are cut by the environment's own `episode_steps`: long rollouts are normal here.
if _CHEETAH not in gymnasium.registry:
    gymnasium.register(
        _CHEETAH, entry_point="mole.envs.half_cheetah:HalfCheetahMotorsEnv", max_episode_steps=None
    )
register_spec(_CHEETAH, HalfCheetahMotorsEnv.dynamics)
