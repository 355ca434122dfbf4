"""What must hold of the mixture whatever the data: symmetry, limits, priors over tasks, capacity, recall."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import tiny_prior
from mole.learning.inner import adapt
from mole.learning.models import Linear, Normalizer
from mole.learning.prior import MetaPrior
from mole.online import Mixture
from mole.online.base import Pairs
from mole.online.em import candidate_pairs, crp_log_prior, e_step, restarted, sticky_log_prior
from mole.online.stack import NOTHING_COUNTED

DX, DY, K = 3, 6, 4
PRIOR = tiny_prior(jax.random.key(0), DX, DY, window=K, residual_scale=0.3)


def linear_prior(window=8):
    """θ* = 0 for y = x W + b; on the inputs of `stream` one step goes half of the way to any task."""
    model = jax.tree.map(jnp.zeros_like, Linear(DX, DY, key=jax.random.key(0)))
    identity = {"x_norm": Normalizer.identity(DX), "y_norm": Normalizer.identity(DY)}
    return MetaPrior(model, inner_rate=0.5 * DY / 2, window=window, residual_scale=0.8, **identity)


def stream(tasks, seed=0, noise=0.05, count=3):
    """Pairs of ``count`` linear tasks, in the order given."""
    rng = np.random.default_rng(seed)
    W = 1.5 * rng.normal(size=(count, DX, DY))
    design = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    x = design[np.arange(len(tasks)) // 2 % 4]  # with 1 for the bias, orthogonal over any 4 of even age
    y = np.einsum("ti,tij->tj", x, W[np.asarray(tasks)]) + noise * rng.normal(size=(len(tasks), DY))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def blocks(*order, steps=40):
    return np.repeat(order, steps)


@eqx.filter_jit
def scan(learner, state, x, y):
    return jax.lax.scan(lambda s, pair: learner.update(s, *pair), state, (x, y))


@eqx.filter_jit
def step(model, x, y, scale=1.0):
    return adapt(model, PRIOR.inner_rate, PRIOR.likelihood, x, y, scale=scale)


@eqx.filter_jit
def update(learner, state, x, y):
    return learner.update(state, x, y)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def permuted(state, order):
    """The same mixture with its slots in another order: new slot i is the old slot order[i]."""
    order = np.asarray(order)
    place = jnp.asarray(np.argsort(order), jnp.int32)
    changes = {
        "models": jax.tree.map(lambda a: a[order], state.models),
        "memory": jax.tree.map(lambda a: a[order], state.memory),
        "log_counts": state.log_counts[order],
        "responsibilities": state.responsibilities[order],
        "last_used": state.last_used[order],
        "task": place[state.task],
    }
    return eqx.tree_at(
        lambda s: [getattr(s, name) for name in changes],
        state,
        list(changes.values()),
        is_leaf=lambda a: a is None,
    )


@pytest.mark.parametrize("rule", ["paper", "pointwise"])
def test_permuting_the_slots_changes_nothing(rule):
    prior = linear_prior()
    settings_ = {"max_tasks": 3}
    learner = (
        Mixture.paper(prior, step_scale=0.1, **settings_)
        if rule == "paper"
        else Mixture(prior, margin=5.0, **settings_)
    )
    x, y = stream(blocks(0, 1, 2, 0, 1), seed=1)
    state, _ = scan(learner, learner.init(), x[:120], y[:120])
    assert state.n_tasks == 3  # all slots are in use, so every order is one
    expected, infos = scan(learner, state, x[120:160], y[120:160])
    for order in ([1, 2, 0], [2, 1, 0]):
        got, got_infos = scan(learner, permuted(state, order), x[120:160], y[120:160])
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(permuted(expected, order)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(got_infos.loss, infos.loss, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(got_infos.responsibilities, infos.responsibilities[:, order], atol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 1e-30])
def test_without_alpha_the_paper_never_makes_a_task(alpha):
    """Except that the authors' program holds all priors equal on the first step after a restart: α = 0 has none."""
    x, y = stream(blocks(0, 1, 2))
    learner = Mixture.paper(linear_prior(), alpha=alpha, refresh=None, temperature=1.0)
    state, info = scan(learner, learner.init(), x, y)
    assert state.n_tasks == 1 + (alpha > 0) * bool(info.spawned[15]) and not info.spawned[16:].any()
    if alpha == 0:
        assert not info.spawned.any() and not info.at_capacity.any()


def test_an_enormous_margin_never_makes_a_task():
    x, y = stream(blocks(0, 1, 2))
    learner = Mixture(linear_prior(), margin=1e9)
    state, info = scan(learner, learner.init(), x, y)
    assert state.n_tasks == 1 and not info.spawned.any() and not info.at_capacity.any()
    assert scan(Mixture(linear_prior(), margin=10.0), learner.init(), x, y)[0].n_tasks > 1


@pytest.mark.parametrize("paper", [True, False])
def test_responsibility_zero_leaves_parameters_bit_identical(paper):
    prior = linear_prior()
    learner = Mixture.paper(prior, assignment="hard", step_scale=0.1) if paper else Mixture(prior, margin=5.0)
    x, y = stream(blocks(0, 1, 0, 2, 1))
    state, rested, moved = learner.init(), 0, 0
    for pair in zip(x, y, strict=True):
        before = state
        state, info = update(learner, state, *pair)
        for slot in range(int(before.n_tasks)):
            old, new = (bits(jax.tree.map(lambda a, s=slot: a[s], s.models)) for s in (before, state))
            if info.responsibilities[slot] == 0:
                assert old == new
                rested += 1
            else:
                moved += old != new
    assert rested > 100 and moved > 100


def test_a_full_mixture_refuses_or_evicts_the_least_recently_used():
    prior = linear_prior()
    x, y = stream(blocks(0, 1, 2))
    common = {"margin": 5.0, "max_tasks": 2}
    refusing, evicting = (Mixture(prior, at_capacity=a, **common) for a in ("refuse", "evict"))
    before, _ = scan(refusing, refusing.init(), x[:80], y[:80])
    assert before.n_tasks == 2
    used = int(before.task)
    state, info = scan(refusing, before, x[80:], y[80:])
    assert info.at_capacity.any() and not info.spawned.any() and state.n_tasks == 2

    state, info = scan(evicting, before, x[80:], y[80:])
    first = int(np.argmax(info.spawned))
    assert info.spawned[first] and info.at_capacity[first] and info.task[first] == 1 - used
    assert state.n_tasks == 2 and np.mean(info.loss[-10:]) < 0.3
    kept = jax.tree.map(lambda a: a[used], (before.models, state.models))
    np.testing.assert_allclose(
        kept[0].weight, kept[1].weight, atol=1.5
    )  # the task in use was not the one to go
    single = Mixture(prior, max_tasks=1, margin=5.0)
    state, info = scan(single, single.init(), x, y)
    assert info.at_capacity.any() and not info.spawned.any() and state.n_tasks == 1


def test_our_rule_recalls_a_returning_task_within_a_few_steps():
    order = (0, 1, 2, 0, 1, 2, 0)
    learner = Mixture(linear_prior(), max_tasks=5)  # all else as it is by default
    x, y = stream(blocks(*order))
    state, info = scan(learner, learner.init(), x, y)
    slot_of = [int(info.task[40 * (i + 1) - 1]) for i in range(3)]
    assert len(set(slot_of)) == 3
    for i, task in enumerate(order[3:], start=3):
        assert np.all(info.task[40 * i + 2 : 40 * (i + 1)] == slot_of[task]), f"block {i}"
        after = info.loss[40 * i + 3 : 40 * (i + 1)]
        assert np.mean(after) < 0.3 and 5 * np.mean(after) < info.loss[40 * i]
    assert not info.spawned[120:].any() and state.n_tasks == 3
    assert int(jnp.sum(info.spawned)) == 2


def test_the_papers_rule_recalls_too_but_only_after_its_window_has_turned():
    learner = Mixture.paper(linear_prior(), step_scale=0.1)
    _, info = scan(learner, learner.init(), *stream(blocks(0, 1, 0, 1, 0, 1)))
    ends = [int(info.task[40 * i - 1]) for i in range(1, 7)]
    assert ends[2] == ends[4] and ends[3] == ends[5] and ends[4] != ends[5]
    assert not info.spawned[160:].any()


def test_soft_and_hard_assignment():
    joint = jnp.log(jnp.array([0.2, 0.5, 0.3]))
    np.testing.assert_allclose(e_step(joint, hard=False), [0.2, 0.5, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(e_step(joint, hard=True), [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(e_step(joint.at[1].set(-jnp.inf), hard=False)[1], 0.0)
    x, y = stream(blocks(0, 1))
    for assignment in ("soft", "hard"):
        learner = Mixture.paper(linear_prior(), assignment=assignment, temperature=0.5)
        _, info = scan(learner, learner.init(), x, y)
        one_hot = np.isin(info.responsibilities, [0.0, 1.0]).all()
        assert one_hot == (assignment == "hard")


def test_predicting_with_the_best_scoring_task_changes_no_inference():
    """A strong sticky prior keeps the task; the model that explains the newest pair best predicts all the same."""
    x, y = stream(blocks(0, 1, 0, 1, steps=30))
    common = {"margin": 5.0, "stay": 1 - 1e-6, "temperature": 20.0, "max_tasks": 3}
    prior = linear_prior()
    learners = [Mixture(prior, predict_with=w, **common) for w in ("most_probable", "best_scoring")]
    start, _ = scan(Mixture(prior, margin=5.0, max_tasks=3), learners[0].init(), x[:60], y[:60])
    assert start.n_tasks == 2
    (_, a), (_, b) = (scan(learner, start, x[60:], y[60:]) for learner in learners)
    np.testing.assert_array_equal(a.responsibilities, b.responsibilities)
    np.testing.assert_array_equal(a.task, a.responsibilities.argmax(1))
    assert np.mean(b.task != a.task) > 0.2 and b.loss.mean() < a.loss.mean()
    state, _ = update(learners[1], start, x[60], y[60])
    scores = [
        prior.likelihood.log_prob(
            jax.tree.map(lambda m, s=slot: m[s], start.models)(x[60]), y[60], prior.residual_scale
        )
        for slot in range(2)
    ]
    assert state.task == np.argmax(scores)


def test_the_crp_by_hand():
    counts, alpha = jnp.log(jnp.array([6.0, 3.0, 0.0])), jnp.float32(0.5)
    old, new = crp_log_prior(counts, jnp.float32(9.0), alpha)
    np.testing.assert_allclose(jnp.exp(old), [6 / 9.5, 3 / 9.5, 0.0], rtol=1e-6)
    assert jnp.exp(new) == pytest.approx(0.5 / 9.5)
    old, new = crp_log_prior(jnp.full(3, -jnp.inf), jnp.float32(0.0), alpha)
    np.testing.assert_array_equal([*old, new], 0.0)  # equal before anything is counted
    assert crp_log_prior(jnp.full(3, -jnp.inf), jnp.float32(0.0), jnp.float32(0.0))[1] == -jnp.inf
    assert crp_log_prior(counts, jnp.float32(9.0), jnp.float32(0.0))[1] == -jnp.inf


@given(
    counts=st.lists(st.floats(0.0, 100.0, width=32), min_size=1, max_size=5).filter(lambda c: sum(c) > 0.1),
    alpha=st.floats(0.125, 10.0, width=32),
)
@settings(max_examples=25)
def test_the_crp_sums_to_one(counts, alpha):
    old, new = crp_log_prior(
        jnp.log(jnp.array(counts, jnp.float32)), jnp.float32(sum(counts)), jnp.float32(alpha)
    )
    assert jnp.sum(jnp.exp(old)) + jnp.exp(new) == pytest.approx(1.0, rel=1e-4)


@given(slots=st.integers(1, 6), used=st.integers(1, 6), stay=st.floats(0.125, 0.96875, width=32))
@settings(max_examples=25)
def test_the_sticky_prior_sums_to_one_over_the_tasks_and_a_new_one(slots, used, stay):
    used = min(used, slots)
    belief = jax.nn.one_hot(used - 1, slots)
    old, new = sticky_log_prior(belief, jnp.int32(used), jnp.float32(stay))
    p = np.exp(np.asarray(old))[:used]
    assert p.sum() + np.exp(new) == pytest.approx(1.0, rel=1e-5)
    assert p[used - 1] == pytest.approx(stay, rel=1e-5)
    np.testing.assert_allclose(p[: used - 1], np.exp(new), rtol=1e-5)


@given(belief=st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=5).filter(lambda b: sum(b) > 0.1))
@settings(max_examples=25)
def test_the_sticky_prior_of_a_soft_belief_is_one_step_of_a_markov_chain(belief):
    belief = np.array(belief) / sum(belief)
    n, stay = len(belief), 0.9
    old, new = sticky_log_prior(jnp.array(belief, jnp.float32), jnp.int32(n), jnp.float32(stay))
    moves = np.full((n, n + 1), (1 - stay) / n)
    moves[np.arange(n), np.arange(n)] = stay
    np.testing.assert_allclose(np.exp(np.append(old, new)), belief @ moves, rtol=1e-5)


def test_counts_restart():
    counts = jnp.log(jnp.array([3.0, 1.0]))
    for refresh, counted, restarts in ((4, 3.0, False), (4, 4.0, True), (None, 1e6, False)):
        new, m = restarted(counts, jnp.float32(counted), refresh)
        np.testing.assert_array_equal(new, [np.float32(NOTHING_COUNTED)] * 2 if restarts else counts)
        assert m == (0.0 if restarts else counted)
    learner = Mixture.paper(PRIOR, refresh=5)
    x, y = stream(blocks(0, steps=20))
    state, counted = learner.init(), []
    for pair in zip(x, y, strict=True):
        state, _ = update(learner, state, *pair)
        counted.append(int(state.counted))
        assert jnp.sum(jnp.exp(state.log_counts)) == pytest.approx(counted[-1], abs=1e-4)
    assert counted == [0] * 7 + [1, 2, 3, 4, 5] * 2 + [1, 2, 3]


def test_the_first_step_of_a_single_task_by_hand():
    """Paper, α = 0: the pair that completes 2k makes θ* take one step of s β on the newest k pairs."""
    learner = Mixture.paper(PRIOR, alpha=0.0, step_scale=0.5)
    x, y = stream(blocks(0, steps=2 * K))
    state, _ = scan(learner, learner.init(), x, y)
    expected = step(PRIOR.model, x[K:], y[K:], scale=0.5)
    for a, b in zip(jax.tree.leaves(learner.model(state)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_young_task_is_the_prior_adapted_on_what_it_owns():
    learner = Mixture(PRIOR, margin=1e9)
    x, y = stream(blocks(0, steps=K + 1))
    state = learner.init()
    for t in range(K - 1):
        state, _ = update(learner, state, x[t], y[t])
        expected = step(PRIOR.model, x[: t + 1], y[: t + 1])
        for a, b in zip(jax.tree.leaves(learner.model(state)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    model = learner.model(state)
    for t in range(K - 1, K + 1):  # grown up: small steps from where it is, on all that it owns
        state, _ = update(learner, state, x[t], y[t])
        model = step(model, x[: t + 1], y[: t + 1], scale=0.1)
        for a, b in zip(jax.tree.leaves(learner.model(state)), jax.tree.leaves(model), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_without_a_prior_over_tasks_is_the_crp_that_restarts_at_every_step():
    x, y = stream(blocks(0, 1, 0))
    rules = ({"task_prior": "uniform"}, {"refresh": 1}, {})
    learners = [Mixture.paper(linear_prior(), temperature=1.0, **rule) for rule in rules]
    uniform, restarting, crp = (
        scan(learner, learner.init(), x, y)[1].responsibilities for learner in learners
    )
    np.testing.assert_allclose(uniform, restarting, atol=1e-6)
    assert np.abs(uniform - crp).max() > 0.1


def test_a_new_task_is_judged_on_held_out_pairs_or_by_choice_on_those_it_was_fitted_to():
    recent = Pairs.empty(DX, DY, 2 * K)
    for t in range(2 * K):
        recent = recent.push(jnp.full(DX, float(t)), jnp.full(DY, float(t)))
    for held_out, ours, papers in ((True, [2, 4, 6], [0, 1, 2, 3]), (False, [3, 5, 7], [4, 5, 6, 7])):
        points = recent.last(7)
        support, judge = candidate_pairs(recent, points, K, 6, held_out)
        assert support.x[:, 0].tolist() == ours
        assert points.x[judge, 0].tolist() == [3, 5, 7]
        points = recent.last(K)
        support, judge = candidate_pairs(recent, points, K, None, held_out)
        assert support.y[:, 0].tolist() == papers
        assert points.x[judge, 0].tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("rule", ["paper", "pointwise"])
def test_judged_on_what_they_were_fitted_to_new_tasks_explain_noise(rule):
    """Nothing ever changes and all is noise: whoever is judged on other pairs has no reason to join."""
    prior = linear_prior(window=4)
    x, _ = stream(blocks(0, steps=200))
    y = jnp.asarray(np.random.default_rng(1).normal(size=(200, DY)), jnp.float32)
    spawned = {}
    for judge in ("held_out", "fitted"):
        learner = (
            Mixture.paper(prior, judge=judge, temperature=0.1)
            if rule == "paper"
            else Mixture(prior, judge=judge, margin=6.0)
        )
        _, info = scan(learner, learner.init(), x, y)
        spawned[judge] = int(jnp.sum(info.spawned))
    assert spawned["held_out"] < spawned["fitted"], spawned
