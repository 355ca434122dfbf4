"""A step that touches only the models that learn is the plain one: vmap over all tasks, and a branch around it."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole.learning.inner import adapt
from mole.online import Mixture, OnlineLearner
from mole.online.base import Pairs, parameters, with_parameters
from mole.online.em import m_step_own, m_step_shared
from mole.online.stack import stack_models

TASKS = 4
PRIOR = tiny_prior(jax.random.key(0), rate="rank1")


def stack():
    """Four models that differ."""
    keys = iter(jax.random.split(jax.random.key(1), 16))
    return jax.tree.map(
        lambda a: a + 0.1 * jax.random.normal(next(keys), a.shape), stack_models(PRIOR, TASKS)
    )


def pairs(n):
    x = jax.random.normal(jax.random.key(2), (n, 3))
    return Pairs(x, jax.random.normal(jax.random.key(3), (n, 2)), jnp.ones((n,)))


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def task(models, place):
    return jax.tree.map(lambda a: a[place], models)


def close(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def plain_shared(models, recent, responsibilities, scale):
    """All tasks at once, as the equation has it."""

    def one(arrays, responsibility):
        model = with_parameters(PRIOR.model, arrays)
        learned = (PRIOR.inner_rate, PRIOR.likelihood, recent.x, recent.y)
        return parameters(adapt(model, *learned, scale=scale * responsibility))

    return jax.vmap(one)(models, responsibilities)


@pytest.mark.parametrize(
    "responsibilities", [[0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 0.0, 0.0], [0.0] * 4, [0.7, 1e-9, 0.3, 2e-8]]
)
def test_the_shared_step_in_place_is_the_plain_one_and_negligible_tasks_rest(responsibilities):
    models, recent = stack(), pairs(4)
    weights = jnp.asarray(responsibilities)
    got, fault = eqx.filter_jit(m_step_shared)(PRIOR, models, recent, weights, jnp.float32(0.5))
    close(got, plain_shared(models, recent, weights, 0.5))
    assert int(fault) == 0
    for place, weight in enumerate(responsibilities):
        same = bits(task(got, place)) == bits(task(models, place))
        assert same == (weight < 2.0**-24)


@pytest.mark.parametrize("learns", [True, False])
def test_only_the_task_that_learns_from_its_own_pairs_is_changed(learns):
    models, own = stack(), pairs(8)
    memory = Pairs(*(jnp.broadcast_to(field, (TASKS, *field.shape)) for field in own))
    step = eqx.filter_jit(m_step_own)
    got, _ = step(PRIOR, models, memory, jnp.int32(2), 4, jnp.float32(0.1), jnp.asarray(learns))
    moved = [bits(task(got, place)) != bits(task(models, place)) for place in range(TASKS)]
    assert moved == [False, False, learns, False]


@pytest.mark.parametrize("rule", [Mixture, Mixture.paper])
@pytest.mark.parametrize("valid", [True, False])
def test_a_mixture_advances_as_any_learner_does(rule, valid):
    """`Mixture.advance`, in place, against that of any learner, a branch around `learn`; before and after 2k pairs."""
    learner = rule(PRIOR)
    state, data = learner.init(), pairs(24)
    ours, plain = (eqx.filter_jit(f) for f in (type(learner).advance, OnlineLearner.advance))
    for x, y in zip(data.x, data.y, strict=True):
        (loss, after), (expected, plain_after) = (
            f(learner, jnp.asarray(valid), state, x, y) for f in (ours, plain)
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
        close(after, plain_after)
        if not valid:
            assert bits(after) == bits(state)
        state, _ = eqx.filter_jit(learner.update)(state, x, y)
