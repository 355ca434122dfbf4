"""What a user knows of posture goes into the planner's reward alone, and a prior remembers how it was trained."""

from __future__ import annotations

import dataclasses
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole.control.agent import Agent, AgentState
from mole.control.config import TrainingConfig, parse_shaping
from mole.envs.cheetah import motors
from mole.envs.cheetah.model import standing
from mole.envs.spec import Shaping
from mole.experiment.config import EvalConfig
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.learning.prior import MetaPrior, Planning
from mole.meta import MetaConfig
from mole.meta.resume import plain
from mole.online import Static
from mole.planning import CEM
from mole.planning.config import PlannerConfig, planner_for
from mole.priors.file import load_prior, read_planning, save_prior
from point_mass import HIGH, LOW, SPEC, PointMass


def backwards(obs, action, next_obs):
    return -next_obs[1]


SHAPED = dataclasses.replace(SPEC, shaping=(Shaping("back", backwards), Shaping("still", backwards)))
PLANNING = Planning(3, (("back", 2.0),))
OBS, NEXT = jnp.array([0.1, 0.2]), jnp.array([0.3, -0.4])
ACTION = jnp.array([0.2])


def prior_of(planning=None):
    return tiny_prior(jax.random.key(0), 3, 2, window=4, normalised=True).planned(planning)


def test_without_a_weight_the_planner_has_the_reward_itself():
    assert SPEC.planning_reward is SPEC.reward and SHAPED.planning_reward is SHAPED.reward
    assert SHAPED.shaped({"back": 0.0}).planning_reward is SHAPED.reward
    assert motors.DYNAMICS.planning_reward is motors.DYNAMICS.reward


def test_a_weighted_term_is_added_to_the_planners_reward_alone():
    spec = SHAPED.shaped({"back": 2.0})
    assert float(spec.reward(OBS, ACTION, NEXT)) == float(SPEC.reward(OBS, ACTION, NEXT))
    expected = float(SPEC.reward(OBS, ACTION, NEXT)) + 2.0 * 0.4
    np.testing.assert_allclose(spec.planning_reward(OBS, ACTION, NEXT), expected, rtol=1e-6)
    # Equal weights are equal rewards, so that nothing is compiled twice, and another weight is another one.
    assert spec == SHAPED.shaped({"back": 2}) and hash(spec) == hash(SHAPED.shaped({"back": 2}))
    assert spec.planning_reward == SHAPED.shaped({"back": 2}).planning_reward
    assert spec.planning_reward != SHAPED.shaped({"back": 1}).planning_reward


def test_the_cheetahs_posture_is_0_on_its_feet_and_negative_on_its_back():
    pitch = np.array([0.0, 0.6, np.pi / 2, np.pi, -4.0])
    obs = jnp.zeros((5, 18)).at[:, 2].set(pitch)
    got = jax.vmap(lambda o: standing(jnp.full(18, jnp.nan), jnp.full(6, jnp.nan), o))(obs)
    np.testing.assert_allclose(got, np.minimum(np.cos(pitch), 0.8) - 0.8, atol=1e-6)
    spec = motors.DYNAMICS.shaped({"posture": 3.0})
    whole = spec.planning_reward(obs[0], jnp.zeros(6), obs[3])
    np.testing.assert_allclose(whole, 3 * -1.8, rtol=1e-6)
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"bock": 1.0}, "unknown shaping 'bock': did you mean 'back'"),
        ({"back": float("nan")}, "shaping 'back' got the weight nan; expected a finite number."),
        ({"back": "3"}, "shaping 'back' got the weight '3'; expected a finite number."),
    ],
)
def test_a_shaping_that_there_is_not_is_refused(weights, text):
    with pytest.raises(ValueError, match=r"shaping") as raised:
        SHAPED.shaped(weights)
    assert text in str(raised.value)
    with pytest.raises(ValueError, match="this environment's DynamicsSpec has no shaping"):
        SPEC.shaped({"posture": 1.0})


class Spy(CEM):
    """Plans nothing, and notes the reward that it should plan with."""

    def plan(self, state, model, reward, obs, key):
        SEEN.append(reward)
        return state, jnp.zeros(1)


SEEN = []


def test_an_agent_gives_its_planner_the_shaped_reward():
    for spec in (SHAPED, SHAPED.shaped({"back": 50.0})):
        prior = prior_of()
        agent = Agent.for_env(
            PointMass(), prior, learner=Static(prior), planner=Spy(LOW, HIGH, samples=10), spec=spec
        )
        agent.act(AgentState(agent.learner.init(), agent.planner.init()), OBS, jax.random.key(0))
        assert SEEN.pop() == spec.planning_reward
        assert agent.spec.reward is SPEC.reward


def test_an_agent_plans_as_its_prior_was_trained_unless_told_otherwise():
    class Own(PointMass):
        dynamics = SHAPED

        def get_wrapper_attr(self, name):
            return getattr(self, name)

        def has_wrapper_attr(self, name):
            return hasattr(self, name)

    env, known = Own(), prior_of(PLANNING)
    agent = Agent.for_env(env, known)
    assert agent.planner.horizon == 3
    assert agent.spec == SHAPED.shaped({"back": 2.0})
    assert Agent.for_env(env, prior_of()).planner.horizon == 10
    assert Agent.for_env(env, prior_of()).spec == SHAPED
    assert Agent.for_env(env, known, shaping={}).spec == SHAPED
    assert Agent.for_env(env, known, shaping={"still": 1.0}).spec == SHAPED.shaped({"still": 1.0})
    assert Agent.for_env(env, known, spec=SHAPED).spec == SHAPED
    told = planner_for(PlannerConfig(horizon=5), env.action_space)
    assert Agent.for_env(env, known, planner=told).planner.horizon == 5


def test_a_planners_horizon_is_its_own_then_the_priors_then_10():
    assert PlannerConfig(horizon=7).after(PLANNING).horizon == 7
    assert PlannerConfig().after(PLANNING).horizon == 3
    assert PlannerConfig().after(None).horizon == 10
    space = PointMass.action_space
    assert [planner_for(PlannerConfig(), space, kind).horizon for kind in ("cem", "mppi", "shooting")] == [
        10
    ] * 3


def test_a_file_keeps_it_and_a_file_without_it_is_as_before(tmp_path):
    for name, planning in (("old", None), ("new", PLANNING)):
        save_prior(tmp_path / f"{name}.mole", prior_of(planning), {"seed": 0})
        assert load_prior(tmp_path / f"{name}.mole", MetaPrior).planning == planning
        assert read_planning(tmp_path / f"{name}.mole") == planning
    assert "planning" not in checkpoint.read_header(tmp_path / "old.mole").config


@pytest.mark.parametrize(
    "damaged",
    [
        3,
        {"horizon": 3},
        {"horizon": 0, "shaping": []},
        {"horizon": True, "shaping": []},
        {"horizon": 3, "shaping": [["back", "2"]]},
        {"horizon": 3, "shaping": [["back", float("inf")]]},
        {"horizon": 3, "shaping": [[1, 2.0]]},
        {"horizon": 3, "shaping": [], "more": 1},
    ],
)
def test_a_damaged_planning_is_refused(damaged):
    with pytest.raises(ValueError, match="expected a horizon and the weights of a shaping"):
        Planning.from_json(damaged)


def test_a_damaged_header_is_refused(tmp_path):
    prior, path = prior_of(PLANNING), tmp_path / "prior.mole"
    save_prior(path, prior, {})
    config = {**checkpoint.read_header(path).config, "planning": {"horizon": -1, "shaping": []}}
    checkpoint.save(path, prior, kind="prior", config=config)
    with pytest.raises(CheckpointError, match="has a damaged header: planning="):
        load_prior(path)


def test_texts_of_a_command_line_are_weights():
    assert parse_shaping(["posture=3", "still=-0.5"]) == {"posture": 3.0, "still": -0.5}
    for text in ("posture", "posture=", "=3", "posture=high", "posture=nan"):
        with pytest.raises(
            ValueError, match=r"--shaping got .*; expected NAME=WEIGHT, for example posture=3"
        ):
            parse_shaping([text])
    with pytest.raises(ValueError, match=r"--shaping got 'a' twice"):
        parse_shaping(["a=1", "a=2"])


def test_a_training_says_of_its_new_options_only_what_is_not_the_default():
    assert {"rollout", "rollout_mix"}.isdisjoint(plain(MetaConfig()))
    assert {"shaping", "last_rollout"}.isdisjoint(plain(TrainingConfig()))
    config = TrainingConfig(
        rounds=2, shaping=("posture=3", "still=0"), horizon=20, last_rollout=8, meta=MetaConfig(rollout=2)
    )
    said = json.loads(json.dumps(plain(config)))
    assert (said["shaping"], said["last_rollout"], said["meta"]["rollout"]) == (
        ["posture=3", "still=0"],
        8,
        2,
    )
    assert [config.meta_of(number).rollout for number in range(3)] == [2, 2, 8]
    assert config.planning == Planning(20, (("posture", 3.0),))
    assert config.rolls and not TrainingConfig().rolls
    with pytest.raises(ValueError, match="--shaping got 'posture'"):
        TrainingConfig(shaping=("posture",))
    with pytest.raises(ValueError, match="rollout=17 with window=16"):
        TrainingConfig(last_rollout=17)


def test_an_evaluation_plans_as_the_prior_was_trained_and_says_so(tmp_path):
    for name, planning in (("old", None), ("new", PLANNING)):
        save_prior(tmp_path / f"{name}.mole", prior_of(planning), {})
    old, new = (
        EvalConfig("x", tmp_path / f"{name}.mole", tmp_path / f"{name}.mole", methods=("mole",))
        for name in ("old", "new")
    )
    assert (old.plans[0].horizon, old.plans[1]) == (10, {})
    assert (new.plans[0].horizon, new.plans[1]) == (3, {"back": 2.0})
    assert "shaping" not in old.described() and old.described()["planner"]["horizon"] == 10
    assert new.described()["shaping"] == {"back": 2.0}
    told = dataclasses.replace(new, shaping={"back": 0.0}, planner=PlannerConfig(horizon=4))
    assert (told.plans[0].horizon, told.plans[1]) == (4, {})
