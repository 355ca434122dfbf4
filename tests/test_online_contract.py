"""What every online learner keeps. A new learner joins by one row of `LEARNERS`."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole.learning.likelihoods import Categorical
from mole.learning.prior import MetaPrior
from mole.online import Continuous, KShot, Mixture, Oracle, Static
from mole.readout import ReadoutMixture, ReadoutPrior

DX, DY, K = 3, 2, 4
PRIOR = tiny_prior(jax.random.key(0), DX, DY, window=K, rate="rank1", normalised=True, residual_scale=0.1)
CLASSES = tiny_prior(jax.random.key(1), DX, DY, window=K, likelihood=Categorical())
READOUTS = ReadoutPrior.untrained(width=4, x_norm=PRIOR.x_norm, y_norm=PRIOR.y_norm, key=jax.random.key(2))
SMALL = {"candidate_window": 4, "margin": 1.0, "max_tasks": 3}
LEARNERS = {
    "mole": Mixture(PRIOR, **SMALL),
    "mole, refuse": Mixture(PRIOR, at_capacity="refuse", predict_with="best_scoring", **SMALL),
    "mole-paper": Mixture.paper(PRIOR, max_tasks=3, step_scale=0.1),
    "mole-paper, hard": Mixture.paper(
        PRIOR, assignment="hard", likelihood_window=2, at_capacity="evict", max_tasks=2, step_scale=0.1
    ),
    "mole-paper, classes": Mixture.paper(CLASSES, max_tasks=3),
    "kshot": KShot(PRIOR, window=6, steps=3, step_scale=0.5),
    "continuous": Continuous(PRIOR),
    "static": Static(PRIOR),
    "oracle": Oracle(PRIOR, 3),
    "readout": ReadoutMixture(READOUTS, max_tasks=3, candidates=3, switch_every=12.0, found_after=3.0),
    "readout, merge": ReadoutMixture(
        READOUTS, max_tasks=2, candidates=2, at_capacity="merge", found_after=3.0
    ),
}
every_learner = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)


def stream(learner, steps, seed=0):
    """A task that changes every 12 steps, in the unit of the prior's targets."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(steps, DX)) * np.asarray(learner.prior.x_norm.std)
    W = 2.0 * rng.normal(size=(3, DX, DY))
    y = np.stack([row @ W[(t // 12) % 3] for t, row in enumerate(x)]) * np.asarray(learner.prior.y_norm.std)
    if isinstance(learner.prior.likelihood, Categorical):
        y = np.eye(DY)[y.argmax(1)]
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@eqx.filter_jit
def update(learner, state, x, y):
    return learner.update(state, x, y)


@eqx.filter_jit
def scan_batch(learner, states, x, y):
    def scan(state, x, y):
        return jax.lax.scan(lambda s, pair: learner.update(s, *pair), state, (x, y))

    return jax.vmap(scan)(states, x, y)


def run(learner, x, y):
    """A loop of single updates: all states (the first included) and all infos."""
    states, infos = [learner.init()], []
    for pair in zip(x, y, strict=True):
        state, info = update(learner, states[-1], *pair)
        states.append(state)
        infos.append(info)
    return states, infos


def types(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


def close(a, b):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-4, atol=1e-5), a, b)


def same(a, b):
    """Bit for bit, NaN included."""
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.asarray(u).tobytes() == np.asarray(v).tobytes()
        for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@every_learner
def test_the_state_is_a_fixed_point_and_the_second_call_does_not_compile(learner, count_compiles):
    x, y = stream(learner, 30)
    first = learner.init()
    state, info = update(learner, first, x[0], y[0])
    assert types(state) == types(first)
    pairs = list(zip(x[1:], y[1:], strict=True))
    with count_compiles() as count:
        for pair in pairs:
            state, later = update(learner, state, *pair)
            assert types(later) == types(info)
    assert count() == 0
    assert types(state) == types(first)


@every_learner
def test_the_same_input_gives_the_same_result_and_touches_nothing(learner):
    x, y = stream(learner, 9)
    prior = jax.tree.map(np.array, eqx.filter(learner.prior, eqx.is_array))
    states, infos = run(learner, x, y)
    kept = jax.tree.map(np.array, states)
    again, infos_again = run(learner, x, y)
    assert same(states, again) and same(infos, infos_again)
    assert same(kept, states)  # an update leaves the state that it was given alone
    assert same(prior, eqx.filter(learner.prior, eqx.is_array))


@every_learner
def test_a_batch_of_scans_equals_one_pair_at_a_time(learner):
    """`lax.scan` and `vmap` over it, three streams at once, against single updates."""
    streams = [stream(learner, 24, seed) for seed in range(3)]
    x, y = (jnp.stack(values) for values in zip(*streams, strict=True))
    states = jax.tree.map(lambda a: jnp.repeat(a[None], 3, axis=0), learner.init())
    ends, infos = scan_batch(learner, states, x, y)
    for i in range(3):
        loop, loop_infos = run(learner, x[i], y[i])
        close(loop[-1], jax.tree.map(lambda leaf, i=i: leaf[i], ends))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop_infos)
        close(stacked, jax.tree.map(lambda leaf, i=i: leaf[i], infos))


@every_learner
def test_a_donated_state(learner):
    """`init` twice shares no buffer, within a state or between two, or with the prior."""

    def pointers(tree):
        return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]

    first, second = learner.init(), learner.init()
    buffers = pointers((first, second))
    assert len(set(buffers)) == len(buffers) and not set(buffers) & set(pointers(learner.prior))

    arrays, static = eqx.partition(learner, eqx.is_array)
    donating = jax.jit(
        lambda arrays, state, x, y: eqx.combine(arrays, static).update(state, x, y), donate_argnums=1
    )
    x, y = stream(learner, 20)
    states, infos = run(learner, x, y)
    for pair, info in zip(zip(x, y, strict=True), infos, strict=True):
        given = first
        first, got = donating(arrays, given, *pair)
        assert any(leaf.is_deleted() for leaf in jax.tree.leaves(given))
        close(got, info)
    close(first, states[-1])
    close(donating(arrays, second, x[0], y[0])[0], states[1])  # not harmed by the first one's donation


@every_learner
def test_predict_before_you_learn(learner):
    """`Info.loss` is the loss of what the state before would have predicted: the pair has no part in it."""
    x, y = stream(learner, 30)
    states, infos = run(learner, x, y)
    prior = learner.prior
    for state, info, a, b in zip(states[:-1], infos, x, y, strict=True):
        mean = learner.predict(state, a).mean
        if isinstance(prior.likelihood, Categorical):
            expected = -jnp.sum(b * jnp.log(mean))
        else:
            expected = jnp.mean(((b - mean) / prior.y_norm.std) ** 2)
        np.testing.assert_allclose(info.loss, expected, rtol=1e-3, atol=1e-5)


@every_learner
def test_infos_are_probabilities_and_slots_in_use(learner):
    states, infos = run(learner, *stream(learner, 40))
    discovers = isinstance(learner, Mixture | ReadoutMixture)
    assert any(info.spawned for info in infos) == discovers  # so that the table tests new tasks
    n_before = 1
    for state, info in zip(states[1:], infos, strict=True):
        p, numbers = np.asarray(info.responsibilities), np.asarray(learner.task_numbers(state))
        assert np.all(p >= 0) and p.sum() == pytest.approx(1.0, abs=1e-6)
        assert same(learner.responsibilities(state), info.responsibilities)
        known = numbers[numbers >= 0].tolist()
        assert (
            len(set(known)) == len(known)
            and len(known) in (info.n_tasks, info.n_tasks - 1)
            and info.n_tasks >= 1
        )
        if isinstance(learner, ReadoutMixture):  # a candidate that leads has the number that it would get
            assert info.task in (*known, state.next_task)
            n_before = int(info.n_tasks)
            continue
        assert 0 <= info.task < info.n_tasks <= len(p)
        assert int(info.task) in known and not p[numbers < 0].any()
        assert same(learner.model_in(state, int(info.task)), learner.model(state))
        if not isinstance(learner, Oracle):
            assert info.n_tasks == n_before + (info.spawned and not info.at_capacity)
        n_before = int(info.n_tasks)
        assert not info.rejected and np.isfinite(info.loss)


@every_learner
def test_a_pair_that_is_not_finite_changes_nothing(learner):
    x, y = stream(learner, 21)
    states, infos = run(learner, x[:20], y[:20])
    before, last = states[-1], infos[-1]
    following = update(learner, before, x[20], y[20])
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        for pair in ((x[20].at[1].set(bad), y[20]), (x[20], y[20].at[1].set(bad))):
            state, info = update(learner, before, *pair)
            assert same(state, before)
            assert info.rejected and np.isnan(info.loss) and not info.spawned and not info.at_capacity
            kept = ("task", "n_tasks", "responsibilities")
            assert same([getattr(info, name) for name in kept], [getattr(last, name) for name in kept])
            assert same(update(learner, state, x[20], y[20]), following)


@every_learner
def test_wrong_shapes_are_refused(learner):
    state, x, y = learner.init(), jnp.zeros(DX), jnp.zeros(DY)
    name = type(learner).__name__
    with pytest.raises(ValueError, match=rf"{name}.update got x of shape \(4,\); expected \(3,\)"):
        learner.update(state, jnp.zeros(DX + 1), y)
    with pytest.raises(
        ValueError, match=rf"{name}.update got y of shape \(1,\); expected \(2,\).*one pair at a"
    ):
        learner.update(state, x, jnp.zeros(1))


@every_learner
def test_before_enough_pairs_every_learner_predicts_with_the_prior(learner):
    """The paper waits for 2k pairs, k-shot and continuous for their window; our rule and the oracle start at once."""
    own = isinstance(learner, Mixture) and learner.memory == "own"
    at_once = own or isinstance(learner, Oracle | ReadoutMixture)
    waits = 0 if at_once else 2 * K if isinstance(learner, Mixture) else getattr(learner, "window", 10**9)
    x, y = stream(learner, 3 * K)
    states, infos = run(learner, x, y)
    theta = eqx.filter(learner.model(learner.init()), eqx.is_array)
    for seen, state in enumerate(states):
        unchanged = same(eqx.filter(learner.model(state), eqx.is_array), theta)
        assert unchanged == (seen < max(waits, 1)), f"after {seen} pairs"
    if not isinstance(learner, ReadoutMixture):
        assert same(theta, eqx.filter(learner.prior.model, eqx.is_array))
        assert all(info.n_tasks == 1 or own for info in infos[: K - 1])


def test_the_model_may_be_any_module():
    """No `MLP` is needed: an equinox module of one's own is adapted by plain gradients."""
    network = eqx.nn.MLP(DX, DY, 4, 1, key=jax.random.key(0))
    identity = {"x_norm": PRIOR.x_norm, "y_norm": PRIOR.y_norm}
    prior = MetaPrior(network, inner_rate=0.1, window=2, **identity)
    learner = Mixture(prior, candidate_window=4)
    _, infos = run(learner, *stream(learner, 12))
    assert np.all(np.isfinite([info.loss for info in infos]))


@every_learner
@pytest.mark.usefixtures("unchecked")
def test_lists_of_numbers_are_pairs_and_complex_numbers_are_none(learner):
    state, (x, y) = learner.init(), stream(learner, 1)
    pair = x[0].tolist(), y[0].tolist()
    assert same(learner.update(state, *pair), learner.update(state, x[0], y[0]))
    assert same(learner.predict(state, pair[0]), learner.predict(state, x[0]))
    with pytest.raises(TypeError, match=r"update got x=.*complex64.*expected \(3,\) numbers"):
        learner.update(state, x[0] + 1j, y[0])
