"""What is taken from somebody's environment and given to it: copies, changes in full, bounds in their own type."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box

from helpers import tiny_prior
from mole.control.agent import Agent, jit_observe
from mole.datasets.resolution import narrowed, rounding
from mole.datasets.steps import as_action, as_obs, as_reward, five_of, take, two_of
from mole.datasets.transitions import Segment, random_rollout, record_episodes, to_trajectories
from mole.envs import agent_env, generic_spec
from mole.learning.models import Normalizer
from mole.online import KShot
from mole.planning import CEM
from point_mass import PointMass

SPEC = generic_spec(2, 1, lambda obs, action, following: -jnp.abs(following[0]))


class Mass(gymnasium.Env[Any, Any]):
    """A mass on a line, with what others' environments do: one buffer, a far origin, bounds that they insist on."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(
        self, *, high: float = 1.0, reuse: bool = False, offset: float = 0.0, form: Any = float
    ) -> None:
        self.action_space = Box(-high, high, (1,), np.float64)
        self.buffer, self.reuse, self.offset, self.form = np.zeros(2), reuse, offset, form
        self.seen: list[np.ndarray] = []

    def observed(self) -> np.ndarray:
        obs = np.array([self.state[0] + self.offset, self.state[1]])
        self.seen.append(obs)
        if not self.reuse:
            return obs
        self.buffer[:] = obs
        return self.buffer

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2)
        return self.observed(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"{action!r} is outside {self.action_space}"
        x, v = self.state
        self.state = np.array([x + 0.1 * v, 0.9 * v + float(action[0])])
        action[:] = np.nan  # an array that is not the caller's
        return self.observed(), self.form(-abs(self.state[0])), False, False, {}


def rollout(env: Any, steps: int = 40) -> Segment:
    (segment,) = random_rollout(env, steps, np.random.default_rng(1))
    return segment


def test_an_environment_that_uses_one_array_for_all_observations_changes() -> None:
    for reuse in (False, True):
        env = Mass(reuse=reuse)
        segment = rollout(env)
        np.testing.assert_array_equal(segment.obs, np.asarray(env.seen, np.float32))
        assert np.isfinite(segment.actions).all()
    (episode,) = record_episodes(Mass(reuse=True), 40, 0)
    assert (np.diff(episode.obs[:, 0]) != 0).all()


@pytest.mark.parametrize("offset", [0.0, 50.0, 5e6, 1.8e9])
def test_changes_far_from_zero_are_those_near_zero(offset: float) -> None:
    """The changes of a position are the same wherever it is, though its float32 numbers are 128 apart at 1.8e9."""
    near, far = rollout(Mass()), rollout(Mass(offset=offset))
    assert near.obs.dtype == np.float32
    assert far.obs.dtype == (np.float64 if offset >= 5e6 else np.float32)
    expected, (got,) = to_trajectories([near], SPEC)[0].y, (t.y for t in to_trajectories([far], SPEC))
    assert got.dtype == np.float32
    # Of the numbers themselves: float64 has steps of 2e-7 at 1.8e9.
    np.testing.assert_allclose(got, expected, atol=1e-6 if offset >= 5e6 else offset * 2e-7 + 1e-6)


def test_changes_that_float32_holds_stay_as_they_are_bit_for_bit() -> None:
    (episode,) = record_episodes(Mass(offset=3.0), 40, 0)
    assert episode.obs.dtype == np.float64
    assert rounding(episode.obs).any()
    obs = episode.obs.astype(np.float32)
    np.testing.assert_array_equal(to_trajectories([episode], SPEC)[0].y, obs[1:] - obs[:-1])


def test_a_counter_and_an_entry_that_never_changes() -> None:
    time = 1.8e9 + np.arange(5.0)
    for still in (0.0, 1e9 + 0.3):
        obs = np.stack([time, np.full(5, still)], axis=1)
        (kept,) = narrowed([obs])
        assert kept.dtype == np.float64
        (trajectory,) = to_trajectories([Segment(kept, np.zeros((4, 1), np.float32))], SPEC)
        np.testing.assert_array_equal(trajectory.y, [[1.0, 0.0]] * 4)
    assert narrowed([np.stack([np.arange(5.0), np.full(5, 1e9 + 0.3)], axis=1)])[0].dtype == np.float32


def test_an_agent_learns_the_changes_that_float32_would_lose() -> None:
    prior = tiny_prior(jax.random.key(0), 3, 2, window=4)
    # A prior of far away, or it would refuse the input.
    far = Normalizer(jnp.array([5e6, 0.0, 0.0]), jnp.ones(3))
    prior = eqx.tree_at(lambda p: p.x_norm, prior, far)
    agent = Agent(KShot(prior), CEM([-1.0], [1.0], samples=4, elites=2, iterations=1, horizon=1), SPEC)
    obs, following, action = np.array([5e6, 0.0]), np.array([5e6 + 0.3, -0.2]), np.zeros(1, np.float32)
    narrow = obs.astype(np.float32), following.astype(np.float32)
    guess = np.asarray(prior.model(far(SPEC.features(narrow[0], action))))
    # In float64 as it is, in float32 what is left of it: 0.5.
    for ends, change in (((obs, following), [0.3, -0.2]), (narrow, [0.5, -0.2])):
        _, info, _ = jit_observe(agent, agent.init(), ends[0], action, ends[1])
        np.testing.assert_allclose(info.loss, np.mean(np.square(guess - np.array(change))), rtol=1e-4)


def test_actions_lie_within_bounds_of_float64() -> None:
    assert float(np.float32(0.1)) > 0.1
    space = Box(-0.1, 0.1, (1,), np.float64)
    assert space.contains(as_action(space, np.array([0.1], np.float32)))
    assert as_action(Box(-1, 1, (1,)), np.array([2.0])).dtype == np.float32
    rollout(Mass(high=0.1), 200)  # which insists on its bounds
    record_episodes(Mass(high=0.1), 50, 0)
    env = agent_env(Mass(high=0.1))
    env.reset(seed=0)
    for action in (0.1, -0.1, 7.0):
        env.step(np.array([action], np.float32))


@pytest.mark.parametrize(
    "form", [lambda r: np.array([r]), lambda r: [r], lambda r: np.float32(r), lambda r: np.array(r)]
)
def test_rewards_of_one_number_are_numbers(form: Any) -> None:
    env = agent_env(Mass(form=form))
    env.reset(seed=0)
    following, reward, *_ = env.step(np.zeros(1, np.float32))
    assert type(reward) is float
    assert following[-2] == reward
    plain = Mass(form=form)
    plain.reset(seed=0)
    assert take(plain, np.zeros(1)).reward == pytest.approx(reward, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: as_reward(env, None), r"PointMass.step\(\) gave the reward None \(NoneType\); expected one num"),
        (lambda env: as_reward(env, [1.0, 2.0]), r"gave the reward \[1.0, 2.0\] \(list\); expected one number"),
        (lambda env: as_reward(env, "1"), r"gave the reward '1' \(str\)"),
        (lambda env: five_of(env, (0, 0.0, False, {})), r"gave four values .* the API before Gym 0.26; expected five"),
        (lambda env: five_of(env, None), r"PointMass.step\(\) gave None \(NoneType\); expected a tuple of five"),
        (lambda env: two_of(env, np.zeros(2)), r"PointMass.reset\(\) gave array.*expected \(obs, info\)"),
        (lambda env: two_of(env, (0.0, 1.0)), r"expected \(obs, info\) with a dict"),
        (lambda env: as_obs(env, {"a": 1}), r"gave the observation \{'a': 1\} \(dict\).*mole.envs.agent_env\(env\)"),
    ],
)  # fmt: skip
def test_what_is_no_gymnasium_environment_says_so(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(PointMass())
