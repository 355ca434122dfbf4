"""The baselines and the oracle against their definitions."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import random_pairs, tiny_prior
from mole.learning.inner import adapt
from mole.online import Continuous, KShot, Mixture, Oracle, Static

K = 4
PRIOR = tiny_prior(jax.random.key(0), window=K, rate="rank1")
X, Y = random_pairs(jax.random.key(1), 20)


@eqx.filter_jit
def update(learner, state, x, y):
    return learner.update(state, x, y)


def states_of(learner, n):
    states = [learner.init()]
    for t in range(n):
        states.append(update(learner, states[-1], X[t], Y[t])[0])
    return states


@eqx.filter_jit
def step(model, x, y, scale=1.0):
    return adapt(model, PRIOR.inner_rate, PRIOR.likelihood, x, y, scale=scale)


def assert_close(model, expected):
    for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("window", "steps", "scale"), [(None, 1, 1.0), (6, 1, 1.0), (2, 3, 0.5)])
def test_kshot_is_the_prior_adapted_on_the_last_pairs(window, steps, scale):
    learner = KShot(PRIOR, window=window, steps=steps, step_scale=scale)
    n = window or K
    for t, state in enumerate(states_of(learner, 10)):
        expected = PRIOR.model
        if t >= n:
            for _ in range(steps):
                expected = step(expected, X[t - n : t], Y[t - n : t], scale)
        assert_close(learner.model(state), expected)


def test_continuous_is_one_step_after_another():
    learner = Continuous(PRIOR, window=3, step_scale=0.25)
    expected = PRIOR.model
    for t, state in enumerate(states_of(learner, 12)):
        if t >= 3:
            expected = step(expected, X[t - 3 : t], Y[t - 3 : t], 0.25)
        assert_close(learner.model(state), expected)


def test_static_never_changes():
    learner = Static(PRIOR)
    for state in states_of(learner, 8):
        for a, b in zip(jax.tree.leaves(learner.model(state)), jax.tree.leaves(PRIOR.model), strict=True):
            assert a is b
        assert eqx.tree_equal(learner.predict(state, X[0]), PRIOR.predict(PRIOR.model, X[0]))


def test_the_oracle_is_one_learner_per_true_task():
    """Told the task, it does what separate learners of one task each do with their own pairs."""
    rng = np.random.default_rng(0)
    told = np.repeat(rng.integers(0, 3, 8), 3)[: len(X)]
    oracle, alone = Oracle(PRIOR, 3, step_scale=0.2), Mixture(PRIOR, max_tasks=1, step_scale=0.2, margin=1e9)
    state, separate = oracle.init(), [alone.init() for _ in range(3)]
    seen = {0}
    for t, task in enumerate(told):
        state = oracle.tell(state, int(task))
        seen.add(int(task))
        state, info = update(oracle, state, X[t], Y[t])
        separate[task], single = update(alone, separate[task], X[t], Y[t])
        np.testing.assert_allclose(info.loss, single.loss, rtol=1e-4)
        assert info.task == task and info.n_tasks == len(seen) and info.responsibilities[task] == 1.0
        for other in range(3):
            assert_close(oracle.model(oracle.tell(state, other)), alone.model(separate[other]))


def test_telling_the_oracle():
    oracle = Oracle(PRIOR, 2)
    state = oracle.init()
    assert state.task == 0 and oracle.tell(state, 1).task == 1 and state.task == 0
    assert oracle.tell(state, 7).task == 1  # tasks beyond those announced share the last slot
    told = jax.jit(lambda state, task: oracle.tell(state, task))(state, jnp.int32(1))
    assert jax.tree.map(lambda a: (a.shape, a.dtype, a.weak_type), told) == jax.tree.map(
        lambda a: (a.shape, a.dtype, a.weak_type), state
    )


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (
            lambda: KShot(PRIOR, window=0),
            r"KShot got window=0; expected a whole number from 1 on. It is the pairs",
        ),
        (
            lambda: KShot(PRIOR, steps=0),
            r"KShot got steps=0; expected a whole number from 1 to 1000. It is the num",
        ),
        (
            lambda: KShot(PRIOR, step_scale=-1.0),
            r"KShot got step_scale=-1.0; expected a number of at least 0",
        ),
        (lambda: Continuous(PRIOR, window=0), r"Continuous got window=0; expected a whole number from 1 on"),
        (
            lambda: Continuous(PRIOR, step_scale=-0.1),
            r"Continuous got step_scale=-0.1; expected a number of at",
        ),
        (lambda: Oracle(PRIOR, 0), r"Oracle got n_tasks=0; expected a whole number from 1 to 1024"),
        (
            lambda: Oracle(PRIOR, 2, step_scale=-1.0),
            r"Oracle got step_scale=-1.0; expected a number of at least",
        ),
        (lambda: Oracle(PRIOR, 2, window=0), r"Oracle got window=0; expected a whole number from 1 on"),
    ],
)
def test_settings_out_of_range(make, error):
    with pytest.raises(ValueError, match=error):
        make()


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        (
            {"temperature": 0.0},
            r"Mixture got temperature=0.0; expected a number of at least 1e-06. It divides",
        ),
        ({"stay": 1.0}, r"stay=1.0; expected a number between 1e-06 and 0.999999"),
        ({"alpha": -1.0}, r"alpha=-1.0; expected a number of at least 0. It weighs a new task"),
        ({"margin": -0.1}, r"margin=-0.1; expected a number of at least 0"),
        ({"margin": float("nan")}, r"margin=nan; expected a number of at least 0"),
        ({"step_scale": -1.0}, r"step_scale=-1.0; expected a number of at least 0"),
        ({"max_tasks": 0}, r"max_tasks=0; expected a whole number from 1 to 1024. It is the number of slots"),
        ({"window": 0}, r"window=0; expected a whole number from 1 on"),
        (
            {"likelihood_window": 9},
            r"likelihood_window=9; expected a whole number from 1 to 8. The last 2k pairs",
        ),
        (
            {"candidate_window": 3},
            r"candidate_window=3; expected an even number from 2 to 8. .*the paper's rule",
        ),
        ({"candidate_window": 10}, r"candidate_window=10; expected an even number from 2 to 8"),
        (
            {"refresh": 0},
            r"refresh=0; expected a whole number from 1 to 4194304. It is a number of steps; None never",
        ),
    ],
    ids=str,
)
def test_settings_of_the_mixture_out_of_range(setting, error):
    with pytest.raises(ValueError, match=error):
        Mixture(PRIOR, **setting)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("setting", "kind", "error"),
    [
        ({"score": "likelihood"}, ValueError, r"score='likelihood'; expected one of 'log_prob', 'loss'"),
        ({"task_prior": "x"}, ValueError, r"task_prior='x'; expected one of 'sticky', 'crp'"),
        ({"assignment": "x"}, ValueError, r"assignment='x'; expected one of 'hard', 'soft'"),
        ({"memory": "x"}, ValueError, r"memory='x'; expected one of 'own', 'shared'"),
        ({"at_capacity": "x"}, ValueError, r"at_capacity='x'; expected one of 'refuse', 'evict'"),
        (
            {"predict_with": "x"},
            ValueError,
            r"predict_with='x'; expected one of 'most_probable', 'best_scoring'",
        ),
        ({"max_tasks": 2.5}, TypeError, r"max_tasks=2.5 \(float\); expected a whole number"),
        ({"temperature": "hot"}, TypeError, r"temperature='hot' \(str\); expected a number .* It divides"),
        ({"margin": True}, TypeError, r"margin=True \(bool\); expected a number"),
        ({"refresh": 2.5}, TypeError, r"refresh=2.5 \(float\); expected a whole number"),
        ({"refresh": True}, TypeError, r"refresh=True \(bool\); expected a whole number"),
        ({"window": True}, TypeError, r"window=True \(bool\); expected a whole number"),
        ({"max_tasks": True}, TypeError, r"max_tasks=True \(bool\); expected a whole number"),
        (
            {"score": "los"},
            ValueError,
            r"score='los'; expected one of 'log_prob', 'loss'. Did you mean 'loss'\?",
        ),
    ],
    ids=str,
)
def test_settings_of_the_mixture_of_the_wrong_kind(setting, kind, error):
    with pytest.raises(kind, match=error):
        Mixture(PRIOR, **setting)
