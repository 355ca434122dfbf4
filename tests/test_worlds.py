"""Worlds by name: our environments, other people's as they are or with a parameter that changes, and what is known."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from mole.control.config import TrainingConfig
from mole.control.stages import load_segments
from mole.control.training import train_priors
from mole.envs import spec_for
from mole.envs.cheetah.motors import DYNAMICS, ENV_ID
from mole.experiment.worlds import (
    UNCHANGED,
    KnownTask,
    describe_environments,
    environments,
    limit_of,
    make_world,
    training_world,
    world_name,
    world_settings,
    world_spec,
)
from mole.meta import MetaConfig

GRAVITY = "Pendulum-v1[gravity]"


def values(env: Any, steps: int, name: str = "gravity") -> list[float]:
    """The parameter in force at each of so many steps, over resets."""
    env.reset(seed=0)
    seen = []
    for _ in range(steps):
        *_, ended, _, info = env.step(env.action_space.sample() * 0)
        seen.append(float(np.ravel(info["parameters"][name])[0]))
        if ended:
            env.reset()
    return seen


@pytest.mark.parametrize("phase", ["explore", "control"])
@pytest.mark.parametrize("env_id", environments())
def test_each_of_our_environments_makes_its_own_training_worlds(env_id: str, phase: str) -> None:
    env = training_world(env_id, phase, None, 50)
    env.reset(seed=0)
    assert KnownTask(env).upcoming() >= 0
    assert spec_for(env) is world_spec(env_id)
    env.close()


@pytest.mark.parametrize("env_id", environments())
def test_each_of_our_environments_has_settings_that_can_be_made(env_id: str) -> None:
    settings = world_settings(env_id)
    assert settings
    for schedule in settings.values():
        make_world(env_id, schedule=schedule).close()
    text = describe_environments()[env_id]
    assert all(f"{name} ({schedule})" in text for name, schedule in settings.items())


def test_named_courses_are_among_the_words_of_the_schedules() -> None:
    described = describe_environments()["mole/HalfCheetahTerrain-v0"]
    words = next(line for line in described.splitlines() if "schedules:" in line)
    assert "flat, basin, hill, gentle, steep, course, random:STEPS" in words


def test_other_ids_have_one_setting() -> None:
    env = make_world("Pendulum-v1", schedule=UNCHANGED)
    env.reset(seed=0)
    assert world_settings("Pendulum-v1") == {UNCHANGED: UNCHANGED}
    assert world_settings(GRAVITY) == {}
    assert (KnownTask(env).upcoming(), KnownTask(env).governing({"task": "cleaning"})) == (-1, -1)


@pytest.mark.parametrize(
    ("world", "settings", "limit"),
    [
        ("Pendulum-v1", {}, 200),  # Gymnasium's
        (GRAVITY, {}, 200),
        ("Pendulum-v1", {"episode_limit": 7}, 7),
        (GRAVITY, {"episode_limit": "7"}, 7),
        ("Pendulum-v1", {"max_episode_steps": 7}, 7),
        ("Pendulum-v1", {"episode_limit": "none"}, None),
        (ENV_ID, {}, None),
        (ENV_ID, {"episode_limit": 7}, 7),
        (ENV_ID, {"episode_steps": 7}, 7),
    ],
)
def test_an_episode_ends_at_its_time_limit(world: str, settings: dict[str, Any], limit: int | None) -> None:
    made = [make_world(world, **settings)]
    if "episode_steps" not in settings:
        given = settings.get("episode_limit", settings.get("max_episode_steps"))
        assert limit_of(world, given) == limit
        made.append(training_world(world, "control", "uniform:4,15" if world == GRAVITY else None, 50, given))
    for env in made:
        env.reset(seed=0)
        still = np.zeros(env.action_space.shape or ())
        truncated = [env.step(still)[3] for _ in range(210 if limit is None else limit)]
        assert truncated == [False] * (len(truncated) - 1) + [limit is not None]
        env.close()


def test_a_parameter_follows_the_schedule_and_the_evaluator_knows() -> None:
    assert world_name("Pendulum-v1", "gravity") == GRAVITY
    assert world_name("Pendulum-v1") == "Pendulum-v1"
    env = make_world(GRAVITY, schedule="alternate:9.81,3.7:2")
    truth, tasks = KnownTask(env), []
    obs, _ = env.reset(seed=0)
    assert obs.shape == (spec_for(env).obs_dim,) == (3 + 2,)  # the task is not in it
    for _ in range(5):
        upcoming = truth.upcoming()
        tasks.append(truth.governing(env.step(np.zeros(1))[4]))
        assert tasks[-1] == upcoming
    assert tasks == [0, 0, 1, 1, 0]
    assert values(make_world(GRAVITY), 2) == [10.0, 10.0]  # the environment's own


def test_in_a_long_run_the_schedule_goes_on_over_the_ends_of_episodes() -> None:
    env = make_world("InvertedPendulum-v5[gravity]", schedule="alternate:9.81,3.7:100")
    env.reset(seed=0)
    seen, ends = [], 0
    for _ in range(150):
        *_, ended, _, info = env.step(np.array([3.0]))
        seen.append(info["task"])
        if ended:
            ends += 1
            env.reset()
    assert ends > 2  # each episode is much shorter than 100 steps
    assert seen == [0] * 100 + [1] * 50
    env.close()


def test_training_on_a_parameter_draws_one_value_an_episode_and_then_one_every_few_steps() -> None:
    explore = training_world(GRAVITY, "explore", "uniform:4,15", 3)
    one, same = values(explore, 9), values(explore, 9)
    assert len(set(one)) == 1
    assert one == same  # of the seed
    assert 4 <= one[0] <= 15
    explore.reset(seed=1)
    assert explore.step(np.zeros(1))[4]["parameters"]["gravity"] != one[0]
    control = values(training_world(GRAVITY, "control", "uniform:4,15", 3), 9)
    assert [len(set(control[i : i + 3])) for i in (0, 3, 6)] == [1, 1, 1]
    assert len(set(control)) == 3


def test_without_a_parameter_an_environment_is_trained_on_as_it_is() -> None:
    for phase in ("explore", "control"):
        assert world_spec("Pendulum-v1") == spec_for(training_world("Pendulum-v1", phase, None, 200))


def test_a_parameter_of_one_of_our_environments_makes_the_pair_of_both_the_task() -> None:
    world = f"{ENV_ID}[friction]"
    env = make_world(world, schedule="alternate:1,0.5:1")
    env.reset(seed=0)
    assert [env.step(np.zeros(6))[4]["task"] for _ in range(3)] == [0, 1, 0]
    assert spec_for(env) is world_spec(world) is DYNAMICS
    env.close()


@pytest.fixture
def module() -> Iterator[str]:
    """A module that registers an environment, not yet imported."""
    name = "somebodys_worlds"
    found = types.ModuleType(name)
    sys.modules[name] = found
    gymnasium.register("Somebodys-v0", entry_point="gymnasium.envs.classic_control:PendulumEnv")
    yield name
    del sys.modules[name], gymnasium.registry["Somebodys-v0"]


def test_a_module_is_imported_for_its_id(module: str) -> None:
    assert make_world(f"{module}:Somebodys-v0[gravity]", schedule="3.7").reset(seed=0)[0].shape == (5,)
    with pytest.raises(ValueError, match=r"cannot import 'nobodys' of 'nobodys:Cart-v0'.*on PYTHONPATH"):
        make_world("nobodys:Cart-v0")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_world("Pendulm-v1"), "unknown environment 'Pendulm-v1': did you mean 'Pendulum-v1'"),
        (lambda: make_world("Nonsense-v9"), r"'Nonsense-v9': Expected one of mole/.*continuous action space"),
        (lambda: make_world("mole/HalfCheetah-v0"), f"did you mean '{ENV_ID}'"),
        (lambda: make_world("Pendulum-v1[g"), r"got the world 'Pendulum-v1\[g'; expected ID, MODULE:ID or"),
        (lambda: make_world("Pendulum-v1[gravty]", schedule="3"), "'gravty': did you mean 'gravity'"),
        (lambda: world_name("Pendulum-v1", "gravty"), "'gravty': did you mean 'gravity'"),
        (lambda: make_world("Pendulum-v1", wind=1), r"Pendulum-v1 cannot be made with \{'wind': 1\}"),
        (lambda: make_world("Pendulum-v1", episode_limit="soon"), "got the episode limit 'soon'; expected a number"),
        (lambda: make_world("Pendulum-v1", episode_limit=0), "got the episode limit 0; expected a number of steps"),
        (lambda: make_world("CartPole-v1"), r"CartPole-v1: got action in Discrete\(2\); expected real numbers"),
        (lambda: make_world("Pendulum-v1", schedule="3.7"), "nothing in it is switched.*--parameter gravity"),
        (lambda: training_world("Pendulum-v1", "explore", "signs", 9), "got tasks='signs' for Pendulum-v1, which"),
        (lambda: training_world(GRAVITY, "explore", None, 9), r"got tasks=None for gravity.*uniform:LOW,HIGH"),
        (lambda: training_world(GRAVITY, "explore", "uniform:4,15:9", 9), r"range to train on, uniform:LOW,HIGH"),
        (lambda: training_world(GRAVITY, "rest", "uniform:4,15", 9), "unknown phase 'rest'"),
        (lambda: training_world(ENV_ID, "explore", "sings", 9), "'sings'.*did you mean 'signs'"),
    ],
)  # fmt: skip
def test_wrong_worlds_are_answered_with_what_is_right(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_world_in_which_episodes_end_trains_from_nothing(tmp_path: Any) -> None:
    world = "InvertedPendulum-v5"
    config = TrainingConfig(
        random_rollouts=4,
        random_steps=40,
        rounds=1,
        episodes=2,
        episode_steps=20,
        width=6,
        depth=1,
        horizon=2,
        samples=12,
        iterations=1,
        round_iterations=4,
        meta=MetaConfig(window=4, iterations=6, batch=4, evaluate_every=6, held_out=0.3),
    )
    prior, _ = train_priors(
        lambda phase: training_world(world, phase, None, 9),
        world_spec(world),
        config,
        folder=tmp_path,
        seed=0,
        provenance={"env": world},
        progress=False,
    )
    segments = load_segments(tmp_path / "data-random.npz")
    assert len(segments) > config.random_rollouts  # some ended
    assert {float(s.obs[-1, -1]) for s in segments} == {0.0, 1.0}
    assert all((s.obs[:-1, -1] == 0).all() for s in segments)
    reward = prior.y_norm.mean[-2], prior.y_norm.std[-2]
    assert np.isfinite(reward).all()
    assert (np.asarray(prior.residual_scale) > 0).all()


def test_a_world_that_is_refused_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    made = gymnasium.make

    def watched(env_id: str, **settings: Any) -> Any:
        env = made(env_id, **settings)
        monkeypatch.setattr(env.unwrapped, "close", lambda: closed.append(env_id))
        return env

    monkeypatch.setattr(gymnasium, "make", watched)
    for make, arguments, message in (
        (make_world, ("CartPole-v1",), "CartPole"),
        (world_spec, ("CartPole-v1",), "CartPole"),
        (make_world, (GRAVITY,), "schedule"),
        (training_world, ("CartPole-v1", "explore", None, 50), "CartPole"),
        (training_world, ("CartPole-v1[gravity]", "explore", "uniform:4,15", 50), "CartPole"),
    ):
        closed.clear()
        settings = {"schedule": "backwards"} if arguments == (GRAVITY,) else {}
        with pytest.raises(ValueError, match=message):
            make(*arguments, **settings)
        assert closed, arguments
