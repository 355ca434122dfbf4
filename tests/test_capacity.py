"""A full mixture: who makes room, what merging keeps, and counters that turn over."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import bits
from mole.learning.models import Linear, Normalizer
from mole.learning.prior import MetaPrior
from mole.online import Mixture
from mole.online.capacity import age, closest, least_recent, make_room, merge, task_distances
from mole.readout import Belief, ReadoutMixture, ReadoutPrior
from mole.readout.belief import absorb, bounded, forecast
from mole.readout.capacity import distance, merged, merged_tasks
from mole.readout.slots import counted, founded

DX, DY, K = 2, 2, 8
NORMS = {"x_norm": Normalizer.identity(DX), "y_norm": Normalizer.identity(DY)}
ZERO = jax.tree.map(jnp.zeros_like, Linear(DX, DY, key=jax.random.key(0)))
PRIOR = MetaPrior(ZERO, inner_rate=1.0, window=K, residual_scale=0.3, **NORMS)
SLOPES = np.random.default_rng(0).normal(size=(4, DX, DY)) * 3.0
SLOPES[1] = SLOPES[0] + 0.05  # nearly the same task as the first
READOUTS = ReadoutPrior.untrained(width=3, depth=1, key=jax.random.key(1), **NORMS)


def stream(order, steps=40, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    tasks = np.repeat(order, steps)
    x = rng.normal(size=(len(tasks), DX))
    y = np.einsum("ti,tij->tj", x, SLOPES[tasks]) + noise * rng.normal(size=(len(tasks), DY))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@eqx.filter_jit
def run(learner, state, x, y):
    return jax.lax.scan(lambda s, pair: learner.update(s, *pair), state, (x, y))


def mixture_of(*slopes, memory: Any = "own") -> Any:
    """A full mixture that knows these tasks, each with its own pairs, the last one in use."""
    learner = Mixture(PRIOR, max_tasks=len(slopes), at_capacity="merge", memory=memory)
    state = learner.init()
    rng = np.random.default_rng(5)
    x = jnp.asarray(rng.normal(size=(len(slopes), 2 * K, DX)), jnp.float32)
    W = jnp.asarray(np.stack(slopes), jnp.float32)
    models = eqx.tree_at(lambda m: m.weight, state.models, W)
    own = state.memory
    if own is not None:
        own = own._replace(x=x, y=jnp.einsum("tni,tij->tnj", x, W), weight=jnp.ones((len(slopes), 2 * K)))
    changes = {
        "models": models,
        "memory": own,
        "n_tasks": jnp.int32(len(slopes)),
        "task": jnp.int32(len(slopes) - 1),
        "step": jnp.int32(100),
        "last_used": jnp.arange(10, 10 + len(slopes), dtype=jnp.int32),
        "recent": state.recent._replace(x=x[0], weight=jnp.full(2 * K, float(memory == "shared"))),
    }
    return eqx.tree_at(
        lambda s: [getattr(s, name) for name in changes],
        state,
        list(changes.values()),
        is_leaf=lambda a: a is None,
    )


def predictions(model, x):
    return jax.vmap(model)(x)


@pytest.mark.parametrize("memory", ["own", "shared"])
def test_the_two_closest_tasks_are_found_and_measured_on_their_own_data(memory):
    state = mixture_of(SLOPES[2], SLOPES[0], SLOPES[3], SLOPES[1], memory=memory)
    distances = task_distances(PRIOR, state)
    first, second, least = closest(distances)
    assert (int(first), int(second)) == (1, 3)
    x = state.recent.x if memory == "shared" else state.memory.x[jnp.asarray([1, 3])].reshape(-1, DX)
    apart = x @ (SLOPES[0] - SLOPES[1]) / 0.3
    np.testing.assert_allclose(least, np.mean(apart**2), rtol=1e-4)
    np.testing.assert_array_equal(distances, distances.T)
    assert jnp.isinf(jnp.diagonal(distances)).all()


def test_merging_changes_the_predictions_by_no_more_than_the_tasks_differed():
    state = mixture_of(SLOPES[2], SLOPES[0], SLOPES[3], SLOPES[1])
    first, second, least = closest(task_distances(PRIOR, state))
    after, free = merge(PRIOR, state, first, second)
    assert int(free) == int(second) == 3
    model = jax.tree.map(lambda a: a[1], after.models)
    change = 0.0
    for slot, slopes in ((1, SLOPES[0]), (3, SLOPES[1])):
        x = state.memory.x[slot]
        change += float(jnp.mean(jnp.square((predictions(model, x) - x @ slopes) / 0.3))) / 2
    assert change <= float(least) / 2  # the mean of two linear models halves the way of both
    for slot in (0, 2):  # the others are untouched
        np.testing.assert_array_equal(after.models.weight[slot], state.models.weight[slot])
        np.testing.assert_array_equal(after.memory.x[slot], state.memory.x[slot])
    np.testing.assert_array_equal(after.memory.x[1, 0::2], state.memory.x[1, K:])  # the newest half of both
    np.testing.assert_array_equal(after.memory.x[1, 1::2], state.memory.x[3, K:])
    assert int(after.last_used[1]) == 13  # as recently used as the later of the two


def test_a_task_that_owns_nothing_is_the_first_to_be_merged_and_leaves_no_mark():
    state = mixture_of(SLOPES[2], SLOPES[0], SLOPES[3])
    state = eqx.tree_at(lambda s: s.memory.weight, state, state.memory.weight.at[1].set(0.0))
    empty = eqx.tree_at(lambda s: s.memory.weight, state, state.memory.weight.at[0].set(0.0))
    first, second, least = closest(task_distances(PRIOR, empty))
    assert (int(first), int(second), float(least)) == (0, 1, 0.0)
    after, _ = merge(PRIOR, state, jnp.int32(0), jnp.int32(1))
    np.testing.assert_allclose(after.models.weight[0], SLOPES[2], rtol=1e-6)


def test_a_full_mixture_merges_twins_keeps_the_others_and_evicts_where_none_are_alike():
    """Twins that were founded apart become one; with three that differ, the least recently used goes."""
    twins = mixture_of(SLOPES[0], SLOPES[1], SLOPES[2])
    learner = Mixture(PRIOR, max_tasks=3, at_capacity="merge", margin=5.0)
    x, y = stream([3], steps=14, seed=2)
    state, info = run(learner, twins, x, y)
    assert info.spawned.sum() == 1 and info.at_capacity.sum() == 1
    assert int(info.task[-1]) == 1 and int(state.n_tasks) == 3  # the slot of the second twin
    # The task in use has learned from the new regime's pairs until that was found; nobody else has.
    np.testing.assert_allclose(state.models.weight[0], 0.5 * (SLOPES[0] + SLOPES[1]), atol=0.3)
    np.testing.assert_allclose(state.models.weight[2], SLOPES[2], atol=1.0)
    different = mixture_of(-SLOPES[0], SLOPES[0], SLOPES[2])
    kept, _, slot = make_room(PRIOR, different, different.log_counts, jnp.asarray(True), merging=True)
    assert int(slot) == 0 and bits(kept) == bits(different)


def test_ages_are_right_after_the_counter_of_steps_has_turned_over():
    now = jnp.int32(-(2**31) + 5)  # 2³¹ + 5
    then = jnp.asarray([2**31 - 10, -(2**31) + 1, 100], jnp.int32)
    assert age(now, then).tolist() == [15, 4, 2**31 - 95]
    assert age(jnp.int32(-(2**31) + 200), jnp.int32(100)) == 2**31 - 1  # more than int32 can tell
    state = mixture_of(SLOPES[0], SLOPES[1], SLOPES[2])
    state = eqx.tree_at(lambda s: (s.step, s.last_used), state, (now, then))
    assert least_recent(state) == 0  # slot 2, the oldest, is in use
    learner = Mixture(PRIOR, max_tasks=3)
    x, y = stream([2, 0], steps=10)
    after, info = run(learner, eqx.tree_at(lambda s: s.step, state, jnp.int32(2**31 - 5)), x, y)
    assert int(after.step) == -(2**31) + 15 and jnp.isfinite(info.loss).all()


def test_a_task_unused_for_a_million_steps_is_recalled_at_once():
    learner = Mixture(PRIOR, max_tasks=3)
    state = mixture_of(SLOPES[0], SLOPES[2], SLOPES[3])
    state = eqx.tree_at(lambda s: s.step, state, jnp.int32(1_000_100))
    x, y = stream([0], steps=20, seed=7)
    _, info = run(learner, state, x, y)
    assert not info.spawned.any() and (info.task[1:] == 0).all() and info.loss[2:].mean() < 0.1


# Readouts.


def learned_from(origin, z, y):
    belief = origin
    for a, b in zip(z, y, strict=True):
        belief = absorb(belief, forecast(belief, a), b, jnp.float32(1.0))
    return belief


def readout_pairs(seed, slopes, n=40):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(n, DX)), jnp.float32)
    y = x @ jnp.asarray(slopes, jnp.float32) + 0.1 * jnp.asarray(rng.normal(size=(n, DY)), jnp.float32)
    return jax.vmap(READOUTS.features_of)(x), y


ORIGIN = jax.tree.map(lambda a: a[0], READOUTS.beliefs)
LEARN = jax.jit(learned_from)


def test_a_merged_belief_is_the_one_that_saw_the_pairs_of_both():
    """Bayes' rule knows no order: exactly the posterior of all pairs, coefficients, covariance and noise."""
    (z1, y1), (z2, y2) = readout_pairs(1, 0.3 * SLOPES[0]), readout_pairs(2, 0.3 * SLOPES[0])
    one, two = LEARN(ORIGIN, z1, y1), LEARN(ORIGIN, z2, y2)
    both = LEARN(one, z2, y2)
    got = merged(one, two, ORIGIN)
    for name in Belief._fields:
        np.testing.assert_allclose(
            getattr(got, name), getattr(both, name), rtol=5e-3, atol=2e-4, err_msg=name
        )


def test_the_distance_of_readouts_is_that_of_their_predictions_on_their_own_data():
    (z1, y1), (z2, y2) = readout_pairs(3, 0.3 * SLOPES[0]), readout_pairs(4, 0.3 * SLOPES[2])
    one, two = LEARN(ORIGIN, z1, y1), LEARN(ORIGIN, z2, y2)
    z = jnp.concatenate([z1, z2])
    noise = (one.rate + two.rate) / (one.shape + two.shape)
    expected = jnp.mean(jnp.square(z @ one.mean - z @ two.mean) / noise[None])
    got = distance(one, two, ORIGIN, ORIGIN)
    np.testing.assert_allclose(got, expected, rtol=0.02)
    assert distance(one, one, ORIGIN, ORIGIN) == pytest.approx(0.0, abs=1e-4)
    assert distance(ORIGIN, ORIGIN, ORIGIN, ORIGIN) == 0.0


@pytest.mark.parametrize("policy", ["refuse", "evict", "merge"])
def test_a_full_mixture_of_readouts_does_what_it_was_told(policy):
    learner = ReadoutMixture(READOUTS, max_tasks=2, candidates=3, drift=(1e-6,), at_capacity=policy)
    x, y = stream([0, 2, 3, 0, 2], steps=30)
    state, info = run(learner, learner.init(), x, y)
    spawned, full = np.flatnonzero(info.spawned), np.flatnonzero(info.at_capacity)
    assert len(full) and full[0] >= 60  # the third task is one too many
    assert (info.n_tasks <= 2).all()
    if policy == "refuse":
        assert len(spawned) == 2 and sorted(n for n in state.task.tolist() if n >= 0) == [0, 1]
        assert (info.task[95:118] == 0).all() and (
            info.task[125:] == 1
        ).all()  # both were kept and are recalled
    else:
        assert spawned[2] == full[0] and 2 in info.task[75:88].tolist()
    assert jnp.isfinite(info.loss).all() and np.mean(info.loss[75:88]) < 1.0


def test_a_full_mixture_of_readouts_merges_twins():
    """Two tasks that saw the same regime become one that predicts as both did, and the third is left alone."""
    learner = ReadoutMixture(READOUTS, max_tasks=3, candidates=3, drift=(1e-6,), at_capacity="merge")
    beliefs = [
        LEARN(ORIGIN, *readout_pairs(seed, 0.3 * SLOPES[place])) for seed, place in ((1, 0), (2, 2), (3, 0))
    ]
    state = learner.init()
    known = jnp.arange(learner.slots) < 3
    state = eqx.tree_at(
        lambda s: (s.beliefs, s.used, s.task, s.led, s.probability, s.next_task, s.lead, s.step),
        state,
        (
            jax.tree.map(lambda many, *ones: many.at[:3, 0].set(jnp.stack(ones)), state.beliefs, *beliefs),
            known | (jnp.arange(learner.slots) == 3),
            jnp.where(known, jnp.arange(learner.slots), -1),
            jnp.asarray([9.0, 9.0, 5.0, 5.5, 0.0, 0.0]),
            jax.nn.one_hot(3, learner.slots),
            jnp.int32(3),
            jnp.int32(3),
            jnp.int32(50),
        ),
    )
    after = _founded(learner, state)
    assert after.spawned and after.evicted and after.task.tolist()[:4] == [0, 1, -1, 3]
    np.testing.assert_array_equal(after.beliefs.mean[1], state.beliefs.mean[1])
    together = merged(beliefs[0], beliefs[2], ORIGIN)
    np.testing.assert_allclose(after.beliefs.mean[0, 0], together.mean, atol=1e-4)
    for seed, before in ((1, beliefs[0]), (3, beliefs[2])):  # on their own data
        z, _ = readout_pairs(seed, 0.3 * SLOPES[0])
        moved = z @ (after.beliefs.mean[0, 0] - before.mean)
        assert jnp.sqrt(jnp.mean(moved**2)) < 0.05  # half of the noise
    assert after.led[0] == 14.0 and after.probability.sum() == pytest.approx(1.0)


def _founded(learner, state):
    return founded(
        state, learner.max_tasks, learner.found_after, room=lambda s, n: merged_tasks(learner.prior, s, n)
    )


def test_sums_of_a_long_life_keep_their_ratios_and_go_on_counting():
    learner = ReadoutMixture(READOUTS, max_tasks=3, candidates=3, drift=(1e-6,))
    state = learner.init()
    long = eqx.tree_at(
        lambda s: (s.steps, s.switches, s.led, s.task),
        state,
        (
            jnp.float32(2.0**24),
            jnp.float32(1000.0),
            state.led.at[0].set(2.0**24).at[1].set(2.0**20).at[2].set(4.0),
            state.task.at[0].set(0).at[1].set(1),
        ),
    )
    assert long.steps + 1 == long.steps
    after = counted(long)
    assert after.steps + 1 > after.steps and after.switches / after.steps == long.switches / long.steps
    assert after.led[0] / after.led[1] == 16.0 and after.led[0] + 1 > after.led[0]
    assert after.led[2] == 4.0  # a candidate counts towards being found, not towards a ratio
    np.testing.assert_array_equal(counted(state).steps, state.steps)
    old = ORIGIN._replace(shape=jnp.float32(2.0**24), rate=jnp.full((DY,), 2.0**22))
    young = bounded(old)
    assert young.shape == 2.0**20 and young.shape + 0.5 > young.shape
    np.testing.assert_array_equal(young.rate / young.shape, old.rate / old.shape)


def test_unknown_policies_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"at_capacity='panic'; expected one of 'refuse', 'evict', 'merge'"):
        Mixture(PRIOR, at_capacity="panic")  # pyright: ignore
    with pytest.raises(ValueError, match=r"at_capacity='panic'; expected one of 'refuse', 'evict', 'merge'"):
        ReadoutMixture(READOUTS, at_capacity="panic")  # pyright: ignore
