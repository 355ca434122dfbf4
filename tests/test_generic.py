"""Any environment with a continuous action space: its spaces, a reward that is learned, and one that is registered."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from helpers import tiny_prior
from mole.control.agent import Agent
from mole.control.episode import run_episode
from mole.datasets.transitions import random_rollout, to_trajectories
from mole.envs import FlatSpaces, RewardInObservation, agent_env, generic_spec, register_reward, spec_for
from mole.envs.cheetah.motors import ENV_ID, HalfCheetahMotorsEnv
from mole.envs.spec import registered_reward
from mole.envs.wrappers.generic import learned_reward_spec
from mole.online import KShot
from mole.planning import CEM, rollout

BOX = spaces.Box(-1.0, 1.0, (2,), np.float64)


class Given(gymnasium.Env[Any, Any]):
    """Whatever spaces; observations are samples, every third step ends the episode, actions are kept."""

    def __init__(self, observation_space: Any = BOX, action_space: Any = BOX) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.age, self.obs = 0, self.observation_space.sample()
        return self.obs, {}

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        self.age, self.obs = self.age + 1, self.observation_space.sample()
        return self.obs, np.float32(self.age), np.bool_(self.age == 3), False, {}


# --- spaces


def test_dicts_and_tuples_of_numbers_are_flattened() -> None:
    inner = spaces.Dict(
        {"b": spaces.Tuple([spaces.Box(0, 1, (2, 2)), spaces.Discrete(3)]), "a": spaces.Box(-2.0, 5.0, (1,))}
    )
    env = FlatSpaces(Given(inner))
    obs, _ = env.reset(seed=0)
    raw = env.unwrapped.obs  # pyright: ignore
    one_hot = np.eye(3)[raw["b"][1]]
    np.testing.assert_allclose(obs, [*raw["a"], *raw["b"][0].ravel(), *one_hot], rtol=1e-6)
    assert env.observation_space.shape == obs.shape == (8,)
    space: Any = env.observation_space
    assert (space.low[0], space.high[0]) == (-2.0, 5.0)
    assert space.contains(obs)


def test_flat_actions_reach_the_environment_in_its_own_shape_clipped_to_its_bounds() -> None:
    action = spaces.Dict(
        {"arm": spaces.Box(-2.0, 3.0, (2, 2)), "grip": spaces.Box(0.5, 0.75, (1,), np.float64)}
    )
    env = FlatSpaces(Given(BOX, action))
    bounds: Any = env.action_space
    np.testing.assert_allclose(bounds.high, [3, 3, 3, 3, 0.75])
    env.reset(seed=0)
    env.step([9.0, -9.0, 1.0, -1.0, 0.0])
    (given,) = env.unwrapped.actions  # pyright: ignore
    np.testing.assert_allclose(given["arm"], [[3.0, -2.0], [1.0, -1.0]])
    np.testing.assert_allclose(given["grip"], [0.5])
    assert action.contains(given)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (spaces.Discrete(4), r"got action in Discrete\(4\); expected real numbers.*continuous variant"),
        (spaces.Box(-3, 3, (1,), np.int64), r"got action in Box\(-3, 3, \(1,\), int64\); expected real numbers"),
        (spaces.Tuple([BOX, spaces.MultiBinary(2)]), r"got action\[1\] in MultiBinary\(2\); expected real"),
        (spaces.Dict({"say": spaces.Text(5)}), r"got action\['say'\] in Text.*expected real numbers"),
        (spaces.Box(-np.inf, np.inf, (2,)), r"low=\[-inf -inf\].*entries \[0, 1\].*TransformAction"),
        (spaces.Box(np.array([0.0, 1.0]), np.array([1.0, 1.0]), dtype=np.float64), r"entries \[1\].*low < high"),
    ],
)  # fmt: skip
def test_actions_that_a_planner_cannot_search_are_refused(action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^Given: got.*{message.removeprefix('got ')}"):
        agent_env(Given(BOX, action))


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (spaces.Box(0, 255, (32, 32, 3), np.uint8), r"observation in Box.*image.*state observations"),
        (spaces.Box(0, 255, (32, 32), np.uint8), r"observation in Box.*image.*TransformObservation"),
        (spaces.Dict({"eye": spaces.Box(0, 1, (4, 8, 8))}), r"observation\['eye'\] in Box.*image"),
        (spaces.Text(7), r"observation in Text.*no fixed number of entries.*encode it"),
        (spaces.Tuple([BOX, spaces.Sequence(BOX)]), r"observation\[1\] in Sequence.*no fixed number"),
    ],
)
def test_observations_that_are_no_vectors_are_refused(observation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^Given: got {message}"):
        agent_env(Given(observation))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3), r"got an action of shape \(3,\); expected \(2,\)"),
        (np.array(["1", "2"]), "dtype <U1; expected real numbers"),
        (np.array([np.nan, 0.0]), "expected finite numbers"),
    ],
)
def test_bad_actions_never_reach_the_environment(action: Any, message: str) -> None:
    env = agent_env(Given())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.unwrapped.actions == []  # pyright: ignore


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("door", [agent_env, FlatSpaces, RewardInObservation])
def test_what_is_no_environment_is_refused(door: Any) -> None:
    with pytest.raises(
        TypeError, match=r"got env='Hopper-v5' \(str\); expected gymnasium.Env. gymnasium.make gives"
    ):
        door("Hopper-v5")


def test_a_reward_cannot_be_appended_to_what_is_not_flat() -> None:
    with pytest.raises(ValueError, match=r"got observations in Box.*expected vectors.*FlatSpaces"):
        RewardInObservation(Given(spaces.Box(0, 1, (2, 2))))


# --- a learned reward


def test_the_observation_ends_in_the_reward_and_the_end_and_starts_again_with_neither() -> None:
    env = agent_env(Given())
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(obs, [*env.unwrapped.obs, 0, 0])  # pyright: ignore
    for age in (1, 2, 3):
        obs, reward, ended, _, _ = env.step(np.zeros(2))
        np.testing.assert_array_equal(obs, [*env.unwrapped.obs, age, age == 3])  # pyright: ignore
        assert (reward, ended) == (age, age == 3)
        assert env.observation_space.contains(obs)
    assert env.reset()[0][-2:].tolist() == [0, 0]


SPEC = learned_reward_spec(3, 2)
OBS = np.array([1.0, 2.0, 3.0, -7.0, 0.0])
AFTER = np.array([1.5, 1.0, 3.0, 4.0, 1.0])
ACTION = np.array([0.25, -0.5])


def test_the_model_sees_neither_reward_nor_end_and_predicts_both() -> None:
    np.testing.assert_allclose(SPEC.features(OBS, ACTION), [1, 2, 3, 0.25, -0.5])
    np.testing.assert_allclose(SPEC.delta(OBS, AFTER), [0.5, -1, 0, 4, 1])
    np.testing.assert_allclose(SPEC.apply_delta(OBS, SPEC.delta(OBS, AFTER)), AFTER)
    assert float(SPEC.reward(OBS, ACTION, AFTER)) == 4.0
    assert (SPEC.obs_dim, SPEC.feature_dim, SPEC.delta_dim) == (5, 5, 5)
    assert learned_reward_spec(3, 2) == SPEC  # nothing is compiled twice
    assert hash(learned_reward_spec(3, 2)) == hash(SPEC)


def test_an_end_is_never_undone_and_nothing_is_earned_after_it() -> None:
    # a model that always promises a reward of 2, and an end wherever the first entry is beyond 2.5
    def model(obs: jax.Array, action: jax.Array) -> jax.Array:
        over = (obs[0] + action[0] > 2.5).astype(obs.dtype)
        change = jnp.zeros(3).at[0].set(action[0])
        return SPEC.apply_delta(obs, jnp.concatenate([change, jnp.stack([jnp.float32(2.0), 0.9 * over])]))

    forward, stay = jnp.array([1.0, 0.0]), jnp.zeros(2)
    back = -forward
    plans = jnp.stack(
        [jnp.stack(p) for p in ([stay] * 4, [forward, forward, back, back], [forward, back] * 2)]
    )
    start = jnp.asarray([1.0, 0.0, 0.0, 0.0, 0.0])
    # the step that ends the episode is paid; the second plan ends it in its second step
    np.testing.assert_allclose(rollout(model, SPEC.reward, start, plans, 1.0), [8.0, 4.0, 8.0])


def test_a_plan_from_an_environment_that_ends_compiles_and_is_within_bounds() -> None:
    env = agent_env(Given())
    spec = spec_for(env)
    prior = tiny_prior(jax.random.key(0), spec.feature_dim, spec.delta_dim, window=4)
    agent = Agent(
        KShot(prior), CEM([-1.0] * 2, [1.0] * 2, samples=8, elites=2, horizon=3, iterations=1), spec
    )
    meta = {"env": "given", "method": "kshot", "schedule": "unchanged", "seed": 0, "step_seconds": 1.0}
    episode = run_episode(env, agent, steps=8, seed=0, key=jax.random.key(0), meta=meta)
    np.testing.assert_array_equal(episode.record.reward, [1, 2, 3, 1, 2, 3, 1, 2])
    assert [len(s.actions) for s in episode.segments] == [3, 3, 2]
    assert all((s.obs[0, -2:] == 0).all() and (s.obs[1:, -2] > 0).all() for s in episode.segments)


def test_no_transition_is_learned_across_a_reset() -> None:
    env = agent_env(Given())
    segments = random_rollout(env, 8, np.random.default_rng(0))
    assert [len(s.actions) for s in segments] == [3, 3, 2]
    trajectories = to_trajectories(segments, spec_for(env))
    rewards = np.concatenate([t.y[:, -2] for t in trajectories])
    np.testing.assert_array_equal(rewards, [1, 2, 3, 1, 2, 3, 1, 2])
    for segment, trajectory in zip(segments, trajectories, strict=True):
        np.testing.assert_allclose(trajectory.x[:, :2], segment.obs[:-1, :2], rtol=1e-6)
        np.testing.assert_allclose(trajectory.y[:, :2], np.diff(segment.obs[:, :2], axis=0), atol=1e-6)
        assert trajectory.y[:, -1].tolist() == [0, 0, 1][: len(trajectory.y)]


def test_episodes_too_short_for_a_window_are_joined_within_a_run_and_not_beyond() -> None:
    env = agent_env(Given())
    segments = [s for seed in (0, 1) for s in random_rollout(env, 8, np.random.default_rng(seed))]
    spec = spec_for(env)
    apart = to_trajectories(segments, spec)
    assert [len(t.x) for t in apart] == [3, 3, 2, 3, 3, 2]
    joined = to_trajectories(segments, spec, shortest=4, run=8)
    assert [len(t.x) for t in joined] == [6, 2, 6, 2]
    for field in (0, 1):  # the same pairs in the same order
        one, other = (np.concatenate([t[field] for t in ts]) for ts in (apart, joined))
        np.testing.assert_array_equal(one, other)


# --- a registered reward


def near_the_top(obs: Any, action: Any, next_obs: Any) -> Any:
    return next_obs[0] - 0.01 * jnp.sum(jnp.square(action))


def test_a_registered_reward_takes_the_place_of_a_learned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mole.envs.spec._REWARDS", {})
    assert spec_for(agent_env(gymnasium.make("Pendulum-v1"))).obs_dim == 3 + 2
    register_reward("Pendulum-v1", near_the_top)
    register_reward("Pendulum-v1", near_the_top)
    env = agent_env(gymnasium.make("Pendulum-v1"))
    spec = spec_for(env)
    assert (spec.obs_dim, spec.feature_dim, spec.delta_dim, spec.reward) == (3, 4, 3, near_the_top)
    assert env.reset(seed=0)[0].shape == (3,)
    assert registered_reward("gymnasium:Pendulum-v1") is near_the_top
    with pytest.raises(ValueError, match=r"'Pendulum-v1' already has a different reward.*another id"):
        register_reward("Pendulum-v1", lambda obs, action, next_obs: next_obs[1])


@pytest.mark.usefixtures("unchecked")
def test_a_reward_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"register_reward got reward='forward' \(str\); expected a function\. In JAX"
    ):
        register_reward("Hopper-v5", "forward")  # type: ignore[arg-type]


def test_a_registered_spec_must_fit_the_flat_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = generic_spec(3, 1, near_the_top)
    monkeypatch.setattr("mole.envs.spec._SPECS", {"Pendulum-v1": spec, "MountainCarContinuous-v0": spec})
    monkeypatch.setattr("mole.envs.spec._REWARDS", {})  # a page of the documentation registers some
    env = agent_env(gymnasium.make("Pendulum-v1"))
    assert isinstance(env, FlatSpaces)
    assert spec_for(env) is spec
    with pytest.raises(ValueError, match=r"got observations of shape \(2,\).*expects \(3,\)"):
        agent_env(gymnasium.make("MountainCarContinuous-v0"))


def test_an_environment_with_a_spec_of_its_own_stays_as_it_is() -> None:
    env = gymnasium.make(ENV_ID)
    assert agent_env(env) is env
    assert spec_for(env) is HalfCheetahMotorsEnv.dynamics
    env.close()
