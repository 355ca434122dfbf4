"""The evidence for the gap to the simulator: errors by hand, a run that is followed again, and the verdict's rules."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest
from benchmarks.gap_evidence import GapConfig, judge, measure_gap, scaled
from benchmarks.gap_probe import Errors, open_loop, probe_run

from helpers import tiny_prior
from mole.control.agent import Agent
from mole.envs.cheetah.motors import DYNAMICS
from mole.experiment.worlds import KnownTask, make_world
from mole.online import Oracle
from mole.planning.config import PlannerConfig, planner_for
from mole.priors.file import save_prior

ENV = "mole/HalfCheetahMotors-v0"
SCHEDULE = "alternate:A,B:6"
PLANNER = PlannerConfig(samples=4, iterations=1, horizon=3, elites=2)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> GapConfig:
    path = tmp_path_factory.mktemp("prior") / "prior.mole"
    save_prior(path, tiny_prior(jax.random.key(0), DYNAMICS.feature_dim, DYNAMICS.delta_dim, depth=1), {})
    return GapConfig(
        ENV, path, path, SCHEDULE, planner=PLANNER, steps=10, every=5, budgets=("1x", "2x samples")
    )


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    prior = tiny_prior(jax.random.key(1), DYNAMICS.feature_dim, DYNAMICS.delta_dim, depth=1, normalised=True)
    return Oracle(prior, 2)


def test_unexplained_is_a_ratio_of_sums_over_the_known_starts() -> None:
    nan = float("nan")
    missed, moved = (
        np.array([[1.0, 2.0, nan], [1.0, nan, nan]]),
        np.array([[4.0, 4.0, nan], [0.0, 9.0, nan]]),
    )
    np.testing.assert_allclose(Errors(missed, moved).unexplained, [0.5, 0.5, nan])


def test_a_followed_run_gives_the_losses_of_the_run_and_errors_by_hand(oracle: Oracle) -> None:
    env = make_world(ENV, schedule=SCHEDULE)
    agent = Agent(oracle, planner_for(PLANNER, env.action_space), DYNAMICS)
    truth = KnownTask(env)
    probe = probe_run(env, agent, steps=9, every=4, seed=0, key=jax.random.key(0), truth=truth)
    env.close()
    np.testing.assert_array_equal(probe.task, [0] * 6 + [1] * 3)
    assert probe.believed.shape == probe.actual.shape == (3, 2)
    losses, errors = open_loop(oracle, DYNAMICS, probe.segments, probe.task, 3)
    assert losses.shape == (9,)
    assert errors.missed.shape == (7, 3)
    # a plan that starts 2 steps before the change is known for 2 steps
    np.testing.assert_array_equal(np.isfinite(errors.missed[4]), [True, True, False])
    # one step ahead, the open-loop error is the one-step loss
    np.testing.assert_allclose(errors.missed[:, 0], losses[:7], rtol=2e-3, atol=1e-4)
    (segment,) = probe.segments
    scale = np.asarray(oracle.prior.y_norm.std)
    by_hand = np.mean(np.square((segment.obs[2] - segment.obs[0]) / scale))
    np.testing.assert_allclose(errors.moved[0, 1], by_hand, rtol=1e-4)
    with pytest.raises(ValueError, match=r"1 segments, the longest of 9 steps; expected .* the horizon, 10"):
        open_loop(oracle, DYNAMICS, probe.segments, probe.task, 10)


def test_a_led_run_goes_where_it_is_led_and_then_its_own_way(oracle: Oracle) -> None:
    lead = np.random.default_rng(0).uniform(-1, 1, (5, 6)).astype(np.float32)
    runs = []
    for actions in (lead, lead[:2]):
        env = make_world(ENV, schedule=SCHEDULE)
        agent = Agent(oracle, planner_for(PLANNER, env.action_space), DYNAMICS)
        options: dict[str, Any] = {"steps": 6, "every": 6, "seed": 0, "key": jax.random.key(0)}
        runs.append(probe_run(env, agent, truth=KnownTask(env), lead=actions, **options).segments[0])
        env.close()
    np.testing.assert_array_equal(runs[0].actions[:5], lead)
    np.testing.assert_array_equal(runs[1].actions[:2], lead[:2])
    np.testing.assert_array_equal(runs[0].obs[:3], runs[1].obs[:3])
    assert (runs[1].actions[2] != lead[2]).any()


def test_the_measurement_is_complete_plain_json(config: GapConfig) -> None:
    runs: list[str] = []
    found = measure_gap(config, on_run=runs.append)
    assert runs == [
        "oracle, seed 0",
        "simulator, seed 0",
        "oracle after the simulator, seed 0",
        "oracle, seed 0, planner 2x samples",
        "simulator, seed 0, planner 2x samples",
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    assert set(found["returns"]) == {"oracle", "simulator"}
    assert all(len(values) == 1 for of in found["returns"].values() for values in of.values())
    assert {name: len(values) for name, values in found["unexplained"].items()} == {
        "own plans": 3,
        "own run": 3,
        "simulator's run": 3,
    }
    assert found["plans"]["states"] == 2
    assert found["verdict"] == judge(found)


def test_a_larger_planner_keeps_the_share_of_its_elites() -> None:
    assert scaled(PLANNER, "4x samples") == dataclasses.replace(PLANNER, samples=16, elites=8)
    assert scaled(PLANNER, "2x iterations") == dataclasses.replace(PLANNER, iterations=2)
    assert scaled(PLANNER, "1x") == PLANNER


def evidence(**changes: Any) -> dict[str, Any]:
    """Half of the simulator's return, and nothing that would say why."""
    found: dict[str, Any] = {
        "config": {"planner": {"horizon": 10}},
        "returns": {
            "oracle": {"1x": [900.0, 1100.0], "4x": [1100.0]},
            "simulator": {"1x": [2000.0], "4x": [2100.0]},
        },
        "plans": {"own_actual": 10.0, "simulators_actual": 12.0},
        "second_half": {"own": 1000.0, "simulator": 2000.0, "taken_over": 1400.0},
        "unexplained": {"own run": [0.1, 0.2], "simulator's run": [0.15, 0.3]},
    }
    return {**found, **changes}


def test_the_verdict_follows_its_rules() -> None:
    verdict = judge(evidence())
    assert verdict.pop("points_to") == []
    expected = {
        "gap": 1000,
        "share_of_simulator": 0.5,
        "search": 0.1,
        "regret": 0.2,
        "unseen": 1.5,
        "held": 0.4,
    }
    assert verdict == pytest.approx(expected)
    more = {"oracle": {"1x": [1000.0], "2x": [1300.0], "4x": [1200.0]}, "simulator": {"1x": [2000.0]}}
    for reason, changes in (
        ("search", {"returns": more}),
        ("model", {"plans": {"own_actual": 5.0, "simulators_actual": 12.0}}),
        ("model", {"second_half": {"own": 1000.0, "simulator": 2000.0, "taken_over": 1100.0}}),
        ("exploration", {"second_half": {"own": 1000.0, "simulator": 2000.0, "taken_over": 1900.0}}),
        ("exploration", {"unexplained": {"own run": [0.1], "simulator's run": [0.3]}}),
    ):
        assert judge(evidence(**changes))["points_to"] == [reason], changes
    # without a larger planner, or without a gap, there is no figure
    assert judge(evidence(returns={"oracle": {"1x": [1.0]}, "simulator": {"1x": [2.0]}}))["search"] is None
    none = judge(evidence(returns={"oracle": {"1x": [3.0], "4x": [4.0]}, "simulator": {"1x": [2.0]}}))
    assert (none["search"], none["regret"]) == (None, None)


def test_wrong_configurations_are_refused(config: GapConfig, unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"got the budgets \['3x'\]; expected some of 1x, 2x samples"):
        dataclasses.replace(config, budgets=("1x", "3x"))
    with pytest.raises(ValueError, match=r"got steps=2, every=5, 1 seeds; expected .* the horizon \(3\)"):
        dataclasses.replace(config, steps=2)
    with pytest.raises(ValueError, match="probe_run got steps=0, every=1"):
        probe_run(None, None, steps=0, every=1, seed=0, key=jax.random.key(0), truth=None)  # type: ignore[arg-type]
