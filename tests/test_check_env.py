"""What `check_env` says of somebody's environment, and that training listens to it."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from mole.control import EnvWarning, check_env
from mole.control.training import train_priors
from mole.datasets.resolution import jumps
from mole.envs import AnglePairs, agent_env, generic_spec, register_reward, spec_for
from point_mass import SPEC, PointMass
from test_steps import Mass
from test_training import CONFIG


def status(env: Any, **settings: Any) -> dict[str, str]:
    return {finding.check: finding.status for finding in check_env(env, **settings).findings}


class Arm(gymnasium.Env[Any, Any]):
    """An arm that turns; its angle is raw, in radians or degrees, between plus and minus half a turn."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, turn: float = 2 * np.pi) -> None:
        self.turn = turn

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.angle, self.speed = 0.0, 0.02 * self.turn
        return np.array([self.angle, self.speed]), {}

    def step(self, action: Any) -> Any:
        self.speed = 0.95 * self.speed + 0.004 * self.turn * (float(action[0]) + 0.5)
        self.angle = (self.angle + self.speed + self.turn / 2) % self.turn - self.turn / 2
        return np.array([self.angle, self.speed]), -abs(self.angle), False, False, {}


ARM = generic_spec(2, 1, lambda obs, action, following: -jnp.abs(following[0]))


def test_an_environment_that_is_right_is_told_so_in_a_table() -> None:
    report = check_env(PointMass(length=40), spec=SPEC)
    assert report.ok
    assert not report.of("warning")
    assert report.steps == 300
    text = str(report)
    assert text.startswith("PointMass: 300 steps, 0 errors, 0 warnings\n")
    for check in (
        "interface",
        "actions",
        "numbers",
        "observations",
        "resolution",
        "jumps",
        "reward",
        "time limit",
    ):
        assert f"\n  {check} " in text
    report.raise_errors()


def test_it_finds_the_time_limit_and_one_array_for_all() -> None:
    found = {f.check: f for f in check_env(agent_env(gymnasium.make("Pendulum-v1"))).findings}
    assert found["time limit"].found.startswith("200; 0 episodes terminated, 1 were truncated")
    assert found["jumps"].status == "ok"
    shared = next(f for f in check_env(Mass(reuse=True)).findings if f.check == "observations")
    assert (shared.status, "copied" in shared.found) == ("note", True)


class Old(PointMass):
    def step(self, action: Any) -> Any:
        obs, reward, ended, _, info = super().step(action)
        return obs, reward, ended, info


class Discreet(PointMass):
    action_space = Discrete(2)  # pyright: ignore


class Unbounded(PointMass):
    action_space = Box(-np.inf, np.inf, (1,))


class Wrong(PointMass):
    observation_space = Box(-1.0, 1.0, (3,))


@pytest.mark.parametrize(
    ("env", "check", "message"),
    [
        (object(), "interface", "object, which has no reset, step, action_space, observation_space. Pass a Gymnas"),
        (Old(), "steps", "TypeError: Old.step.. gave four values .* the API before Gym 0.26"),
        (Discreet(), "actions", r"in Discrete\(2\), and the planner searches among real vectors. Take a variant"),
        (Unbounded(), "actions", "expected a vector within finite bounds, low < high. Choose a range"),
        (Wrong(), "steps", r"Wrong gave an observation at reset of shape \(2,\); its space says \(3,\)"),
        (Mass(form=lambda r: None), "steps", r"Mass.step\(\) gave the reward None"),
        (PointMass(fail=5, how=OSError("no power")), "steps", "in step 6 OSError: no power"),
        (gymnasium.make_vec("Pendulum-v1", num_envs=2), "interface", "a vector environment of 2. Pass one environment"),
        (gymnasium.make("CartPole-v1"), "actions", "Discrete"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_trained_on_is_one_line(env: Any, check: str, message: str) -> None:
    report = check_env(env)
    assert [finding.check for finding in report.of("error")] == [check]
    with pytest.raises(ValueError, match=f"cannot be trained on: .*{message}"):
        report.raise_errors()


def test_what_trains_badly_is_a_warning() -> None:
    assert status(Mass(offset=5e6))["resolution"] == "warning"
    assert status(Mass(offset=3.0))["resolution"] == "ok"
    assert status(PointMass(fail=5, how="nan reward", length=50))["numbers"] == "warning"
    other = generic_spec(2, 1, lambda obs, action, following: 5 * jnp.abs(following[0]))
    assert status(PointMass(), spec=other)["reward"] == "warning"
    assert status(PointMass(), spec=generic_spec(3, 1, other.reward))["observations"] == "error"


@pytest.mark.parametrize("turn", [2 * np.pi, 360.0, 5.0])
def test_an_angle_that_jumps_is_found_and_can_be_given_as_cosine_and_sine(turn: float) -> None:
    report = check_env(Arm(turn))
    (warning,) = report.of("warning")
    assert (warning.check, "angles=[0]" in warning.remedy) == ("jumps", True)
    env = agent_env(Arm(turn), angles="auto")
    if turn == 5.0:  # a range of something else: nobody knows that it is an angle
        assert spec_for(env).obs_dim == 2 + 2
        return
    assert not check_env(env).of("warning")
    assert spec_for(env).obs_dim == 3 + 2
    obs, _ = env.reset(seed=0)
    np.testing.assert_allclose(obs, [0.02 * turn, 1, 0, 0, 0])
    for _ in range(100):
        obs, reward, *_ = env.step(np.zeros(1, np.float32))
    inner: Any = env.unwrapped
    angle = 2 * np.pi * inner.angle / turn
    np.testing.assert_allclose(obs, [inner.speed, np.cos(angle), np.sin(angle), reward, 0], atol=1e-9)


def test_what_is_no_angle_is_not_found() -> None:
    rng, time = np.random.default_rng(0), np.arange(300)
    flag, noise, walk = rng.random(300) < 0.5, rng.normal(size=300), np.cumsum(rng.normal(size=300))
    spikes = np.where(time % 50 == 0, 1.0 + 0.01 * time, 0.0)  # a contact
    swing = np.sin(time / 10)
    assert jumps([np.stack([flag, noise, walk, spikes, swing, np.zeros(300)], axis=1)]) == {}
    assert jumps([np.stack([time % 40], axis=1)]) == {0: 39.0}
    assert jumps([np.zeros((2, 3))]) == {}


def test_angles_are_refused_where_they_would_be_others() -> None:
    with pytest.raises(
        ValueError, match=r"AnglePairs got the angles \[2\]; expected some of the entries 0 to 1"
    ):
        agent_env(Arm(), angles=[2])
    gymnasium.register("Arm-v0", entry_point=Arm)
    register_reward("Arm-v0", lambda obs, action, following: following[0])
    with pytest.raises(
        ValueError, match=r"angles=\[0\] for Arm-v0, of whose observations a spec or a reward"
    ):
        agent_env(gymnasium.make("Arm-v0"), angles=[0])
    del gymnasium.registry["Arm-v0"]
    assert isinstance(agent_env(Arm(), angles=(0,)).env, AnglePairs)  # pyright: ignore


def test_training_refuses_at_once_and_prints_warnings(tmp_path: Any) -> None:
    def train(*envs: Any) -> None:
        made, settings = iter(envs), {"seed": 0, "provenance": {}, "progress": False}
        train_priors(lambda phase: next(made), ARM, CONFIG, folder=tmp_path / "run", **settings)

    with pytest.raises(ValueError, match=r"Old cannot be trained on: in step 1 TypeError: .* four values"):
        train(Old())
    assert not (tmp_path / "run").exists()
    # The second environment, for the data, is not the one that was checked; it ends the training here.
    with (
        pytest.warns(EnvWarning, match=r"Arm: entries jump .* 0 \(by 6.28\).* give cosine and sine"),
        pytest.raises(OSError, match="enough"),
    ):
        train(Arm(), PointMass(fail=0, how=OSError("enough")))
