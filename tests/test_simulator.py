"""The simulator as the planner's model: the loop equals the planners', and what is foreseen is what happens."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import bits, tiny_prior
from mole.control.episode import EpisodeError
from mole.control.records import EpisodeRecord
from mole.envs import CrawlerLegsEnv, HalfCheetahMotorsEnv, HalfCheetahTerrainEnv
from mole.envs.cheetah.motors import DYNAMICS
from mole.envs.simulation import Simulation
from mole.experiment.cell import run_cell
from mole.experiment.config import Cell, EvalConfig, PlannerConfig
from mole.experiment.simulator import run_simulated_episode
from mole.learning.models import Normalizer
from mole.planning import CEM, MPPI, RandomShooting, rollout
from mole.planning.host import plan_on_host
from mole.priors.file import save_prior

LOW, HIGH = np.array([-1.0, 0.5]), np.array([2.0, 0.75])
OBS = jnp.array([0.3, -0.7])
SIZE = {"samples": 20, "horizon": 4}
PLANNERS = {
    "shooting": RandomShooting(LOW, HIGH, warm_start=True, **SIZE),
    "cem": CEM(
        LOW, HIGH, elites=5, keep_elites=2, noise_correlation=0.5, execute="best", discount=0.9, **SIZE
    ),
    "mppi": MPPI(LOW, HIGH, tail="middle", **SIZE),
}
every_planner = pytest.mark.parametrize("planner", PLANNERS.values(), ids=PLANNERS)


def model(obs, action):
    return 0.9 * obs + jnp.tanh(action) - 0.1


def reward(obs, action, following):
    return -jnp.sum(jnp.square(following - 0.4)) - 0.1 * jnp.sum(jnp.square(action))


def host_score(planner):
    return lambda plans: np.asarray(rollout(model, reward, OBS, jnp.asarray(plans), planner.discount))


# --- planning on the host


@every_planner
def test_a_plan_on_the_host_is_the_planners_own(planner):
    ours = theirs = planner.init()
    for step in range(3):  # the warm start is carried on
        key = jax.random.key(step)
        theirs, expected = planner.plan(theirs, model, reward, OBS, key)
        ours, action = plan_on_host(planner, ours, host_score(planner), key)
        np.testing.assert_allclose(action, expected, atol=1e-5)
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-5)
        assert int(ours.failed) == 0


@every_planner
def test_candidates_are_within_the_bounds_and_as_many_as_asked(planner):
    seen = []

    def score(plans):
        seen.append(plans)
        return np.zeros(len(plans))

    plan_on_host(planner, planner.init(), score, jax.random.key(0))
    assert len(seen) == getattr(planner, "iterations", 1)
    for plans in seen:
        assert plans.shape == (20, 4, 2)
        assert (plans >= LOW.astype(np.float32)).all()
        assert (plans <= HIGH.astype(np.float32)).all()


@every_planner
def test_the_second_step_compiles_nothing(planner, count_compiles):
    score = host_score(planner)
    state, _ = plan_on_host(planner, planner.init(), score, jax.random.key(0))
    plan_on_host(planner, state, score, jax.random.key(1))
    with count_compiles() as count:
        plan_on_host(planner, state, score, jax.random.key(2))
    assert count() == 0


@every_planner
def test_failed_plans_never_count_and_if_all_fail_the_warm_start_goes_on(planner):
    def some(plans):
        returns = host_score(planner)(plans)
        return np.where(np.arange(len(plans)) % 2, np.nan, returns)

    state, action = plan_on_host(planner, planner.init(), some, jax.random.key(0))
    assert np.isfinite(np.asarray(state.mean)).all()
    assert int(state.failed) == 0
    lost, action = plan_on_host(planner, state, lambda plans: np.full(len(plans), np.inf), jax.random.key(1))
    np.testing.assert_array_equal(action, state.mean[1])
    assert int(lost.failed) == 1


@pytest.mark.parametrize(
    ("returns", "error", "text"),
    [
        (
            np.zeros((20, 1)),
            ValueError,
            r"plan_on_host got scores of shape \(20, 1\); expected \(20,\): one number",
        ),
        (np.zeros(19), ValueError, r"got scores of shape \(19,\)"),
        (
            np.zeros(20, complex),
            TypeError,
            "plan_on_host got scores of dtype complex128; expected real numbers",
        ),
    ],
)
def test_a_score_of_the_wrong_form_is_refused(returns, error, text, unchecked):
    planner = PLANNERS["cem"]
    with pytest.raises(error, match=text):
        plan_on_host(planner, planner.init(), lambda plans: returns, jax.random.key(0))


def test_a_state_of_another_planner_is_refused():
    short = CEM(LOW, HIGH, elites=5, samples=20, horizon=3)
    with pytest.raises(ValueError, match=r"got state.mean of shape \(3, 2\); expected \(4, 2\)"):
        plan_on_host(PLANNERS["cem"], short.init(), host_score(short), jax.random.key(0))


# --- the simulator as a model

WORLDS = {
    "motors": (HalfCheetahMotorsEnv, "alternate:A,B:7"),
    "magnitudes": (HalfCheetahMotorsEnv, "random-magnitudes:7"),
    "terrain": (HalfCheetahTerrainEnv, "alternate:0.2,-0.2:4"),
    "crawler": (CrawlerLegsEnv, "alternate:healthy,down-1+invert-3:7"),
}


def started(name: str, steps: int = 3) -> tuple[Any, np.random.Generator]:
    """The environment after some random steps."""
    kind, schedule = WORLDS[name]
    env, rng = kind(schedule=schedule, episode_steps=None), np.random.default_rng(1)
    env.reset(seed=2)
    for _ in range(steps):
        env.step(rng.uniform(-1, 1, env.action_space.shape))
    return env, rng


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_foreseen_is_what_happens(name: str) -> None:
    env, rng = started(name)
    plans = rng.uniform(
        -1.2, 1.2, (3, 4, env.dynamics.act_dim)
    )  # beyond the bounds too: clipped like actions
    simulation = Simulation(env, discount=0.9)
    foreseen, returns = simulation.rollout(plans), simulation.score(plans)
    obs, total = [], 0.0
    for step, action in enumerate(plans[1]):
        following, reward, *_ = env.step(action)
        obs.append(following)
        total += 0.9**step * reward
    np.testing.assert_allclose(foreseen[1, 1:], obs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(returns[1], total, rtol=1e-3, atol=1e-3)  # the rewards are in float32
    np.testing.assert_array_equal(foreseen[:, 0], np.tile(foreseen[0, 0], (3, 1)))
    env.close()


@pytest.mark.parametrize(
    "name", [name for name in WORLDS if name != "terrain"]
)  # whose task depends on the place
def test_the_first_step_after_a_change_is_foreseen_too(name: str) -> None:
    env, rng = started(name, steps=7)
    plan = rng.uniform(-1, 1, (1, 1, env.dynamics.act_dim))
    foreseen = Simulation(env).rollout(plan)
    following, *_, info = env.step(plan[0, 0])
    assert info["task"] == 1
    np.testing.assert_allclose(foreseen[0, 1], following, rtol=0, atol=1e-12)
    env.close()


@pytest.mark.parametrize("name", WORLDS)
def test_planning_leaves_the_environment_as_it_was(name: str) -> None:
    (env, rng), (other, _) = started(name), started(name)
    simulation = Simulation(env)
    for _ in range(6):
        simulation.score(rng.uniform(-1, 1, (5, 3, env.dynamics.act_dim)))
        action = rng.uniform(-1, 1, env.action_space.shape)
        ours, theirs = env.step(action), other.step(action)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1] == theirs[1]
    assert env.np_random.random() == other.np_random.random()
    env.close()
    other.close()


def test_threads_change_nothing() -> None:
    env, rng = started("motors")
    plans = rng.uniform(-1, 1, (8, 3, 6))
    one, two = Simulation(env), Simulation(env, threads=2)
    np.testing.assert_array_equal(one.score(plans), two.score(plans))
    two.close()


def test_a_score_has_the_shaping_of_its_spec() -> None:
    env, rng = started("motors")
    plans = rng.uniform(-1, 1, (4, 3, 6))
    own, shaped = Simulation(env), Simulation(env, spec=env.dynamics.shaped({"posture": 3.0}))
    below = np.minimum(np.cos(own.rollout(plans)[:, 1:, 2]), 0.8) - 0.8
    np.testing.assert_allclose(shaped.score(plans), own.score(plans) + 3 * below.sum(1), rtol=1e-4, atol=1e-4)
    env.close()


def test_applied_forces_and_held_joints_are_part_of_what_is_rolled_out() -> None:
    env, rng = started("crawler")
    plan = rng.uniform(-1, 1, (1, 2, env.dynamics.act_dim))
    simulation = Simulation(env)
    free = simulation.rollout(plan)
    env.data.xfrc_applied[1, 0] = 30.0
    env.data.qfrc_applied[1] = 5.0
    pushed = simulation.rollout(plan)
    assert pushed[0, -1, 0] > free[0, -1, 0] + 1e-3
    for action in plan[0]:
        obs, *_ = env.step(action)
    np.testing.assert_allclose(pushed[0, -1], obs, rtol=0, atol=1e-12)
    env.close()


def test_a_plan_that_makes_the_simulation_fail_has_no_return(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log file
    env = HalfCheetahMotorsEnv(schedule="identity", episode_steps=None)
    env.reset(seed=0)
    env.data.qvel[:] = 0.0
    plans = np.zeros((3, 4, 6))
    plans[1, 2:] = 1.0
    monkeypatch.setattr(env, "controls", lambda command: np.where(command == 1.0, 1e12, command))
    simulation = Simulation(env)
    returns, obs = simulation.score(plans), simulation.rollout(plans)
    assert np.isnan(returns).tolist() == [False, True, False]
    assert np.isfinite(obs[1, :3]).all()
    assert np.isnan(obs[1, 3:]).all()
    env.close()


def test_environments_that_cannot_be_simulated_are_refused() -> None:
    class Plain:
        dynamics = DYNAMICS

        @property
        def unwrapped(self) -> Plain:
            return self

    with pytest.raises(
        TypeError, match=r"got Plain, which lacks model, data, frame_skip, controls, observe_st"
    ):
        Simulation(Plain())
    env, _ = started("motors", 0)
    with pytest.raises(ValueError, match="Simulation got threads=0; expected a whole number from 1 on"):
        Simulation(env, threads=0)
    with pytest.raises(
        ValueError, match=r"Simulation got plans of shape \(3, 4, 5\); expected .* with act = 6"
    ):
        Simulation(env).rollout(np.zeros((3, 4, 5)))
    for empty in ((0, 4, 6), (3, 0, 6)):
        with pytest.raises(
            ValueError, match=r"Simulation got plans of shape .*, one or more samples and steps"
        ):
            Simulation(env).rollout(np.zeros(empty))
    with pytest.raises(
        ValueError, match=r"Simulation got discount=1\.5; expected a number above 0 and at most 1"
    ):
        Simulation(env, discount=1.5)
    env.close()


@pytest.mark.usefixtures("unchecked")
def test_plans_to_simulate_are_numbers() -> None:
    env, _ = started("motors", 0)
    with pytest.raises(ValueError, match="Simulation got plans of dtype <U1; expected real numbers"):
        Simulation(env).rollout(np.full((3, 4, 6), "1"))
    env.close()


# --- a run

SCHEDULE = "alternate:A,B:5"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    path = tmp_path_factory.mktemp("prior") / "prior.mole"
    save_prior(path, tiny_prior(jax.random.key(0), DYNAMICS.feature_dim, DYNAMICS.delta_dim), {})
    return EvalConfig(
        "mole/HalfCheetahMotors-v0",
        path,
        path,
        schedules=(SCHEDULE,),
        steps=12,
        planner=PlannerConfig(samples=6, iterations=2, horizon=3, elites=2),
    )


def test_a_cell_is_a_complete_record_and_is_not_run_again(config: EvalConfig, tmp_path: Path) -> None:
    cell = Cell("simulator", SCHEDULE, 3)
    record = run_cell(config, cell, tmp_path)
    assert len(record) == 12
    assert record.meta["complete"]
    assert (record.meta["method"], record.meta["seed"]) == ("simulator", 3)
    np.testing.assert_array_equal(record.true_task, [0] * 5 + [1] * 5 + [0] * 2)
    np.testing.assert_array_equal(record.loss, 0.0)  # to the last bit, at the changes too
    assert not record.has_mixture
    assert not record.task.any()
    assert (record.seconds > 0).all()
    seen: list[int] = []
    again = run_cell(config, cell, tmp_path, lambda recorder: seen.append(len(recorder)))
    assert seen == []
    assert bits(again.reward) == bits(record.reward)
    other = run_cell(config, cell, tmp_path / "..", lambda recorder: seen.append(len(recorder)))
    assert seen == list(range(1, 13))
    assert bits(other.reward) == bits(record.reward), "the same seed gives the same run"


def test_more_candidates_earn_more(config: EvalConfig, tmp_path: Path) -> None:
    returns = []
    for samples in (4, 64):
        planner = dataclasses.replace(config.planner, samples=samples, horizon=8)
        one = dataclasses.replace(config, planner=planner, steps=40)
        folder = tmp_path / str(samples)
        folder.mkdir()
        returns.append(run_cell(one, Cell("simulator", "identity", 0), folder).reward.sum())
    assert returns[1] > returns[0] + 5.0


def test_a_run_that_fails_keeps_what_it_has(config: EvalConfig, tmp_path: Path) -> None:
    env = HalfCheetahMotorsEnv(schedule="identity", episode_steps=None)
    space = env.action_space
    planner = CEM(space.low, space.high, samples=4, elites=2, horizon=2, iterations=1)

    def stop(recorder: Any) -> None:
        if len(recorder) == 3:
            raise FloatingPointError("enough")

    options = {"seed": 0, "key": jax.random.key(0), "record_to": tmp_path / "run.npz", "on_step": stop}
    meta = {"env": "x", "method": "simulator", "schedule": "identity", "seed": 0, "step_seconds": 0.05}
    norm = Normalizer.identity(18)
    with pytest.raises(EpisodeError, match="stopped at step 3 of 9: FloatingPointError: enough"):
        run_simulated_episode(env, planner, norm, steps=9, meta=meta, **options)
    record = EpisodeRecord.load(tmp_path / "run.npz")
    assert len(record) == 3
    assert not record.meta["complete"]
    with pytest.raises(ValueError, match="got steps=0; expected at least 1"):
        run_simulated_episode(env, planner, norm, steps=0, meta=meta, **options)
    env.close()
