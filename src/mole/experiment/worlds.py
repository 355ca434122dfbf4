"""Worlds by name, for training and for evaluation; and what the evaluator knows of them.

    WORLD := ID              mole/HalfCheetahMotors-v0     an environment of this package
                             Pendulum-v1                   any other Gymnasium id, as it is
           | MODULE:ID       my_package.envs:Cart-v0       the module that registers it is imported first
           | WORLD[NAME]     Pendulum-v1[gravity]          a parameter of it follows the schedule

A run goes on until its last step. An episode in it ends where the environment terminates it, or at its time limit: that
of Gymnasium's registry, if not told otherwise. The environments of this package have none.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.error import Error as GymnasiumError

from mole._expect import did_you_mean, expect_whole
from mole.envs.spec import DynamicsSpec, spec_for
from mole.envs.wrappers.generic import agent_env
from mole.envs.wrappers.switching import parameter_by_name, switching_by_name

__all__ = [
    "UNCHANGED",
    "KnownTask",
    "describe_environments",
    "environments",
    "limit_of",
    "make_world",
    "training_world",
    "world_name",
    "world_settings",
    "world_spec",
]

UNCHANGED = "unchanged"
"""The schedule of a world in which nothing is switched."""

_WORLD = re.compile(r"(?P<id>[^\[\]]+)(?:\[(?P<parameter>[^\[\]]+)\])?")
_UNIFORM = re.compile(r"uniform:[^:]+")


def environments() -> list[str]:
    """Ids of the environments of this package."""
    return sorted(name for name in gymnasium.registry if name.startswith("mole/"))


def describe_environments() -> dict[str, str]:
    """Id → first line of its documentation, training distributions, settings and the words of its schedules."""
    texts = {}
    for name in environments():
        entry = _entry(name)
        words = _constants(entry).SCHEDULES
        texts[name] = (
            f"  {(entry.__doc__ or '').strip().splitlines()[0]}\n"
            f"  tasks: {', '.join(entry.TASKS)}\n"
            f"  schedules: {', '.join([*words.values, *words.courses, *(f'{s}:STEPS' for s in words.samplers)])}, "
            "fixed:VALUE, alternate:VALUE,VALUE[,…]:STEPS\n"
            f"  settings: {', '.join(f'{key} ({text})' for key, text in world_settings(name).items())}"
        )
    return texts


def world_name(env_id: str, parameter: str | None = None) -> str:
    """The world that `make_world` knows: ``Pendulum-v1[gravity]`` for an id and a parameter that is to change.

    Raises:
        ValueError: for an unknown parameter.
    """
    if parameter is None:
        return env_id
    parameter_by_name(parameter)
    return f"{env_id}[{parameter}]"


def world_spec(world: str) -> DynamicsSpec:
    """The `DynamicsSpec` of a world. Errors as `make_world`."""
    env = _wrapped(_made(_parts(world)[0], {}), agent_env)
    env.close()
    return spec_for(env)


def world_settings(world: str) -> dict[str, str]:
    """Test settings by name, as schedules: those of the environment's class, none for a parameter's world."""
    env_id, parameter = _parts(world)
    if parameter is not None:
        return {}
    entry = _entry(env_id)
    return dict(_constants(entry).SETTINGS) if _own(entry) else {UNCHANGED: UNCHANGED}


def limit_of(world: str, given: int | str | None = None, described: Path | None = None) -> int | None:
    """Steps after which an episode of a world is truncated; None for never.

    Args:
        world: its name, see above.
        given: a number of steps, "none" for no limit, or None for the limit that the environment is registered with.
        described: description of a folder; if it is there and nothing is given, the limit is that of the folder, which
            has none if version 0.1 made it.

    Raises:
        ValueError: for anything else, or an unknown world.
    """
    if given is None and described is not None and described.exists():
        try:
            stored = json.loads(described.read_text("utf-8"))
        except (ValueError, RecursionError):
            stored = None  # what is wrong with it is told by `claim_folder`
        return stored.get("episode_limit") if isinstance(stored, dict) else None
    if given is None:
        entry = gymnasium.spec(_parts(world)[0])
        return None if _own(_entry(entry.id)) else entry.max_episode_steps
    if given == "none":
        return None
    try:
        return expect_whole("a world", "episode_limit", int(given), 1)
    except (TypeError, ValueError):
        raise ValueError(
            f"got the episode limit {given!r}; expected a number of steps from 1 on, or none for no limit."
        ) from None


def make_world(
    world: str, *, schedule: Any = None, episode_limit: int | str | None = None, **settings: Any
) -> gymnasium.Env[Any, Any]:
    """Make a world, with observations, actions and reward as an agent wants them.

    Args:
        world: its name, see above.
        schedule: how the hidden task changes (`mole.envs.schedules.text`); None for the environment's default.
        episode_limit: steps after which an episode is truncated, as `limit_of` takes it.
        settings: passed on to the environment.

    Raises:
        ValueError: for an unknown world, with the nearest known one, settings or a schedule that it does not take,
            and spaces that are not supported.
    """
    env_id, parameter = _parts(world)
    # By Gymnasium's own name it is no other setting.
    given = settings.pop("max_episode_steps", None) if episode_limit is None else episode_limit
    settings = {"episode_limit": limit_of(world, given), **settings}
    if parameter is not None:
        text = "original" if schedule is None else schedule
        return _wrapped(_made(env_id, settings), _following(parameter, text), agent_env)
    if _own(_entry(env_id)):
        # Our own observations are flat and have a spec: `agent_env` would change nothing.
        return _made(env_id, settings if schedule is None else {"schedule": schedule, **settings})
    if schedule not in (None, UNCHANGED):
        raise ValueError(
            f"{env_id} got schedule={schedule!r}, but nothing in it is switched; expected {UNCHANGED!r}, or a "
            "parameter that the schedule changes (--parameter gravity)."
        )
    return _wrapped(_made(env_id, settings), agent_env)


def training_world(
    world: str, phase: str, tasks: str | None, switch_every: int, episode_limit: int | str | None = None
) -> gymnasium.Env[Any, Any]:
    """The world of a phase of training.

    Args:
        world: its name, see above.
        phase: "explore" (one hidden task per rollout) or "control" (it changes within the episode, hidden).
        tasks: the distribution of hidden tasks: a name of the environment's (its first if None), or for a parameter
            ``uniform:LOW,HIGH``.
        switch_every: steps between changes in the control phase.
        episode_limit: steps after which an episode is truncated, as `limit_of` takes it.

    Raises:
        ValueError: for an unknown world, phase or distribution.
    """
    env_id, parameter = _parts(world)
    entry, limit = _entry(env_id), {"episode_limit": limit_of(world, episode_limit)}
    if parameter is None and _own(entry):
        return _made(env_id, {**limit, **entry.training_settings(phase, tasks, switch_every)})
    if phase not in ("explore", "control"):
        raise ValueError(f"unknown phase {phase!r} of training; expected 'explore' or 'control'.")
    if parameter is None:
        if tasks is not None:
            raise ValueError(
                f"got tasks={tasks!r} for {env_id}, which has no hidden tasks of its own. Leave them out to train on "
                "it as it is, or say what changes: --parameter gravity --tasks uniform:4,15."
            )
        return _wrapped(_made(env_id, limit), agent_env)
    if tasks is None or not _UNIFORM.fullmatch(tasks):
        raise ValueError(
            f"got tasks={tasks!r} for {parameter} of {env_id}; expected the range to train on, uniform:LOW,HIGH, for "
            "example --tasks uniform:4,15."
        )
    # `_UNIFORM` takes no steps, since it is the phase that says whether, and how often, a new value is drawn.
    schedule = tasks if phase == "explore" else f"{tasks}:{switch_every}"
    return _wrapped(_made(env_id, limit), _following(parameter, schedule), agent_env)


class KnownTask:
    """What an evaluator knows of an environment that says which task governs it (`mole.control.episode.Truth`)."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Look through the wrappers; an environment without `upcoming_task` has no task that anybody knows."""
        known = env.has_wrapper_attr("upcoming_task")
        self._upcoming: Any = env.get_wrapper_attr("upcoming_task") if known else None

    def governing(self, info: Mapping[str, Any]) -> int:
        """The task of the transition that gave ``info``; -1 if unknown."""
        return -1 if self._upcoming is None else int(info.get("task", -1))

    def upcoming(self) -> int:
        """The task of the next transition; -1 if unknown."""
        return -1 if self._upcoming is None else int(self._upcoming())


def _parts(world: str) -> tuple[str, str | None]:
    """The id, its module imported, and the parameter."""
    match = _WORLD.fullmatch(world)
    if match is None:
        raise ValueError(f"got the world {world!r}; expected ID, MODULE:ID or ID[PARAMETER].")
    module, _, env_id = match["id"].rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"cannot import {module!r} of {match['id']!r}: {error}. Expected a module that registers the "
                "environment; install it, or put its folder on PYTHONPATH."
            ) from error
    if env_id not in gymnasium.registry:
        raise ValueError(f"unknown environment {env_id!r}: {_hint(env_id)}")
    return env_id, match["parameter"]


def _hint(env_id: str) -> str:
    # Every mole/ id is known here; any other may be one of hundreds of Gymnasium's.
    ours = environments()
    if env_id.startswith("mole/"):
        return did_you_mean(env_id, ours)
    near = get_close_matches(env_id, gymnasium.registry, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"{guess}Expected one of {', '.join(ours)}, or any other Gymnasium id with a continuous action space "
        "(module:id if a module has to be imported first)."
    )


def _entry(env_id: str) -> Any:
    """The class, or the function, that makes an environment."""
    point: Any = gymnasium.spec(env_id).entry_point
    return load_env_creator(point) if isinstance(point, str) else point


def _own(entry: Any) -> bool:
    """Whether an environment's class has hidden tasks, schedules and training distributions of its own."""
    return hasattr(entry, "training_settings")


def _made(env_id: str, settings: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    settings = dict(settings)
    limit = settings.pop("episode_limit", None)
    # To Gymnasium -1 means none, and None the limit that the environment was registered with.
    own = (
        {"episode_steps": limit}
        if _own(_entry(env_id))
        else {"max_episode_steps": -1 if limit is None else limit}
    )
    # Gymnasium's checker would examine every step of every run; `mole.control.check_env` checks once what is needed.
    try:
        return gymnasium.make(env_id, disable_env_checker=True, **{**own, **settings})
    except (TypeError, GymnasiumError) as error:
        raise ValueError(f"{env_id} cannot be made with {settings}: {error}") from error


def _following(parameter: str, schedule: str) -> Callable[[Any], Any]:
    """Makes a parameter of an environment follow a schedule, through its resets too."""
    return lambda env: switching_by_name(env, parameter, schedule, through_resets=True)


def _wrapped(env: Any, *wrappers: Callable[[Any], Any]) -> gymnasium.Env[Any, Any]:
    """An environment in its wrappers, the first innermost; it is closed if one of them refuses it."""
    made = env
    try:
        for wrapper in wrappers:
            made = wrapper(made)
    except BaseException:
        env.close()
        raise
    return made


def _constants(entry: Any) -> Any:
    """The module of an environment's class, which holds its words and test settings."""
    return sys.modules[entry.__module__]
