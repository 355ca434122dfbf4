"""The agent: pure act and observe, and the composition of features, normalisers and changes."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole import Mixture, Normalizer, ReadoutMixture, ReadoutPrior
from mole.control.agent import Agent, LearnedDynamics, jit_act, jit_observe
from mole.envs import DynamicsSpec
from mole.online import KShot, Static
from mole.planning import CEM
from point_mass import HIGH, LOW, SPEC, PointMass, make_agent

OBS = jnp.array([0.5, -0.25])
PRIOR = tiny_prior(jax.random.key(0), 3, 2, window=4, normalised=True)
READOUTS = ReadoutPrior.untrained(
    width=4, depth=1, x_norm=Normalizer.identity(3), y_norm=Normalizer.identity(2), key=jax.random.key(1)
)


def agent_of(kind):
    """An agent with a small planner, by the kind of its learner: everything must work for each of them."""
    planner = make_agent().planner
    prior = READOUTS if kind == "readouts" else PRIOR
    learner = KShot(prior) if kind == "kshot" else None
    return Agent.for_env(PointMass(), prior, learner=learner, planner=planner, spec=SPEC)


every_learner = pytest.mark.parametrize("kind", ["mixture", "readouts", "kshot"])


def same(a, b):
    return all(
        np.asarray(u).tobytes() == np.asarray(v).tobytes()
        for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_learned_dynamics_composes_features_normalisers_and_changes():
    """apply_delta(obs, y_mean + y_std · f((features − x_mean) / x_std)), with a spec in which all of them differ."""
    spec = DynamicsSpec(
        obs_dim=2,
        act_dim=1,
        feature_dim=3,
        delta_dim=2,
        features=lambda obs, action: jnp.concatenate([action, obs * 2.0]),
        delta=lambda obs, following: (following - obs) * 10.0,
        apply_delta=lambda obs, y: obs + y / 10.0,
        reward=lambda obs, action, following: following[0],
    )
    prior = tiny_prior(jax.random.key(3), 3, 2, normalised=True)
    action = jnp.array([0.3])
    x = (np.array([0.3, 1.0, -0.5]) - np.asarray(prior.x_norm.mean)) / np.asarray(prior.x_norm.std)
    for layer in prior.model.layers[:-1]:
        x = np.tanh(x @ np.asarray(layer.weight) + np.asarray(layer.bias))
    last = prior.model.layers[-1]
    y = x @ np.asarray(last.weight) + np.asarray(last.bias)
    y = y * np.asarray(prior.y_norm.std) + np.asarray(prior.y_norm.mean)
    got = LearnedDynamics(prior.model, prior, spec)(OBS, action)
    np.testing.assert_allclose(got, np.asarray(OBS) + y / 10.0, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        spec.delta(OBS, got), prior.predict(prior.model, spec.features(OBS, action)).mean, rtol=1e-4
    )


@every_learner
def test_act_and_observe_are_pure(kind):
    agent = agent_of(kind)
    state = agent.init()
    kept = jax.tree.map(np.array, state)
    key, other = jax.random.key(0), jax.random.key(1)
    (after, action), (after_again, again) = (agent.act(state, OBS, key) for _ in range(2))
    assert same((after, action), (after_again, again))
    assert not np.array_equal(agent.act(state, OBS, other)[1], action)
    assert same(state, kept)
    assert same(after.learner, state.learner)  # acting learns nothing
    assert np.all(action >= LOW) and np.all(action <= HIGH)

    following = OBS + 0.1
    (learned, info), (learned_again, info_again) = (
        eqx.filter_jit(agent.observe)(after, OBS, action, following) for _ in range(2)
    )
    assert same((learned, info), (learned_again, info_again))
    assert same(learned.planner, after.planner) and not same(learned.learner, after.learner)
    x, y = SPEC.features(OBS, action), SPEC.delta(OBS, following)
    expected, _ = eqx.filter_jit(agent.learner.update)(after.learner, x, y)
    assert same(learned.learner, expected)


def test_the_agent_plans_with_the_model_of_its_most_probable_task():
    """With another model in the state, the same key and observation give another action."""
    agent = make_agent(KShot)
    state = agent.init()
    adapted = eqx.tree_at(
        lambda s: s.learner.adapted, state, jax.tree.map(lambda a: -3.0 * a, state.learner.adapted)
    )
    key = jax.random.key(1)
    assert not np.array_equal(agent.act(state, OBS, key)[1], agent.act(adapted, OBS, key)[1])
    static = make_agent(Static)
    assert np.array_equal(agent.act(state, OBS, key)[1], static.act(static.init(), OBS, key)[1])


@every_learner
def test_the_compiled_functions_equal_the_plain_ones(kind, count_compiles):
    agent = agent_of(kind)
    state, key = agent.init(), jax.random.key(5)
    obs = np.asarray(OBS)
    plain, action = agent.act(state, OBS, jax.random.fold_in(key, 3))
    planner, compiled = jit_act(agent, state, obs, key, np.int32(3))
    np.testing.assert_allclose(compiled, action, rtol=1e-5)
    expected, info = agent.observe(plain, OBS, action, OBS + 0.1)
    given = state.learner
    after, got, measured = jit_observe(
        agent, state._replace(planner=planner), obs, action, np.asarray(OBS + 0.1)
    )
    assert any(leaf.is_deleted() for leaf in jax.tree.leaves(given))  # donated
    for a, b in zip(jax.tree.leaves((after, got)), jax.tree.leaves((expected, info)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert measured.position == pytest.approx(0.6) and np.isnan(measured.upright)
    with count_compiles() as count:
        for step in range(4, 7):
            planner, compiled = jit_act(agent, after, obs, key, np.int32(step))
            after, *_ = jit_observe(agent, after._replace(planner=planner), obs, np.asarray(compiled), obs)
    assert count() == 0


@every_learner
def test_restart_forgets_the_plan_and_keeps_what_was_learned(kind):
    agent = agent_of(kind)
    state, action = agent.act(agent.init(), OBS, jax.random.key(0))
    state, _ = agent.observe(state, OBS, action, OBS + 0.1)
    restarted = agent.restart(state)
    assert same(restarted.planner, agent.init().planner) and not same(restarted.planner, state.planner)
    assert same(restarted.learner, state.learner)


@pytest.mark.parametrize(
    ("prior", "bounds", "error"),
    [
        (
            (4, 2),
            1,
            r"Agent got the prior's inputs of size 4; the environment's spec has 3. Use a prior trained on",
        ),
        ((3, 3), 1, r"Agent got the prior's targets of size 3; the environment's spec has 2"),
        (
            (3, 2),
            2,
            r"Agent got the planner's actions of size 2; the environment's spec has 1.*the bounds of its",
        ),
    ],
)
def test_parts_that_do_not_fit(prior, bounds, error):
    learner = Static(tiny_prior(jax.random.key(0), *prior))
    planner = CEM([-1.0] * bounds, [1.0] * bounds, samples=8, elites=2, horizon=3)
    with pytest.raises(ValueError, match=error):
        Agent(learner, planner, SPEC)


@every_learner
def test_bfloat16_plans_nearly_the_same_and_leaves_learning_alone(kind):
    agent = agent_of(kind)
    narrow = dataclasses.replace(agent, precision="bfloat16")
    state, key = agent.init(), jax.random.key(3)
    wide_state, wide_action = agent.act(state, OBS, key)
    narrow_state, action = narrow.act(state, OBS, key)
    assert action.dtype == wide_action.dtype
    np.testing.assert_allclose(action, wide_action, atol=0.1)
    assert same(narrow_state.learner, state.learner) and same(wide_state.learner, state.learner)


def test_an_unknown_precision_is_refused(unchecked):
    with pytest.raises(ValueError, match="precision='float16'; expected 'float32' or 'bfloat16'"):
        dataclasses.replace(make_agent(), precision="float16")


def test_an_agent_for_an_environment_is_put_together_from_its_prior():
    for prior, learner in ((PRIOR, Mixture(PRIOR)), (READOUTS, ReadoutMixture(READOUTS))):
        agent = Agent.for_env(PointMass(), prior, spec=SPEC)
        assert eqx.tree_equal(agent.learner, learner)
        assert eqx.tree_equal(agent.planner, CEM(LOW, HIGH))  # also the amounts of `mole eval`
        assert agent.spec is SPEC
        assert agent.precision == "float32"
    given = Agent.for_env(
        PointMass(),
        PRIOR,
        learner=Static(PRIOR),
        planner=CEM(LOW, HIGH, horizon=3),
        spec=SPEC,
        precision="bfloat16",
    )
    assert (type(given.learner), given.planner.horizon, given.precision) == (Static, 3, "bfloat16")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prior": "motors"}, TypeError, r"got prior=.motors. .str.; expected .*MetaPrior.*load_prior returns one"),
        ({"learner": ReadoutMixture(READOUTS)}, ValueError, r"another prior than the given one; expected one prior"),
        ({"env": "mole/Cheetah"}, TypeError, r"got env='mole/Cheetah'; expected a Gymnasium env.*gymnasium.make"),
        ({"spec": None}, ValueError, r"got PointMass, an environment without an id; expected one made with"),
    ],
    ids=["prior", "learner", "env", "spec"],
)  # fmt: skip
def test_what_no_agent_can_be_made_of(change, error, message, unchecked):
    with pytest.raises(error, match=message):
        Agent.for_env(**{"env": PointMass(), "prior": PRIOR, "spec": SPEC, **change})
