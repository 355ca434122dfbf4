"""The filter over readouts: against a slow reference, as a pure learner, and in what it finds in a stream."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpy_readout as reference
from helpers import bits
from mole.learning.models import Normalizer
from mole.readout import Belief, ReadoutMixture, ReadoutPrior
from mole.readout.slots import founded

DX, DY = 2, 2
SIZES = {"max_tasks": 3, "candidates": 4, "drift": (1e-4, 0.03)}  # one compilation for all tests
X_NORM = Normalizer(jnp.asarray([0.5, -1.0]), jnp.asarray([2.0, 0.5]))
Y_NORM = Normalizer(jnp.asarray([3.0, 0.0]), jnp.asarray([0.1, 4.0]))


def some_prior():
    """Two beliefs: the broad one, and one with a mean and correlations."""
    prior = ReadoutPrior.untrained(width=3, depth=1, x_norm=X_NORM, y_norm=Y_NORM, key=jax.random.key(1))
    rng = np.random.default_rng(5)
    size = prior.features.size
    factor = 0.4 * rng.normal(size=(size, size))
    learned = Belief(
        jnp.asarray(0.5 * rng.normal(size=(size, DY)), jnp.float32),
        jnp.asarray(factor @ factor.T + 0.01 * np.eye(size), jnp.float32),
        jnp.float32(2.0),
        jnp.asarray([0.1, 0.2]),
    )
    beliefs = jax.tree.map(lambda one, new: jnp.concatenate([one, new[None]]), prior.beliefs, learned)
    return ReadoutPrior(prior.features, beliefs, x_norm=X_NORM, y_norm=Y_NORM)


PRIOR = some_prior()


def mixture(prior=PRIOR, **settings):
    return ReadoutMixture(prior, **{**SIZES, **settings})


@eqx.filter_jit
def update(learner, state, x, y):
    return learner.update(state, x, y)


@eqx.filter_jit
def predict(learner, state, x):
    return learner.predict(state, x)


def stream(tasks, seed=0, noise=0.05, teachers=6):
    """Pairs in natural units: a linear map per task, in normalised units."""
    rng = np.random.default_rng(seed)
    W, b = 1.2 * rng.normal(size=(teachers, DX, DY)), rng.normal(size=(teachers, DY))
    x = rng.normal(size=(len(tasks), DX))
    y = np.einsum("nx,nxy->ny", x, W[tasks]) + b[tasks] + noise * rng.normal(size=(len(tasks), DY))
    x = x * np.asarray(X_NORM.std) + np.asarray(X_NORM.mean)
    y = y * np.asarray(Y_NORM.std) + np.asarray(Y_NORM.mean)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def run(learner, x, y, state=None):
    states, infos = [learner.init() if state is None else state], []
    for pair in zip(x, y, strict=True):
        state, info = update(learner, states[-1], *pair)
        states.append(state)
        infos.append(info)
    return states, infos


def visits(*lengths, order=None):
    """Tasks of a stream: visit number i lasts lengths[i] and is of task order[i], or i."""
    return np.repeat(range(len(lengths)) if order is None else order, lengths)


def types(tree):
    return [(a.shape, a.dtype, a.weak_type) for a in jax.tree.leaves(tree)]


# Against the reference.


def reference_of(learner):
    beliefs = [
        reference.Belief(*(np.asarray(leaf[k], np.float64) for leaf in learner.prior.beliefs))
        for k in range(learner.prior.kinds)
    ]
    return reference.Filter(
        beliefs,
        max_tasks=learner.max_tasks,
        candidates=learner.candidates,
        alpha=float(learner.alpha),
        switch_every=float(learner.switch_every),
        most_switches=float(learner.most_switches),
        drift=np.asarray(learner.drift, float),
        memory=float(learner.drift_memory),
        tail=float(learner.tail),
        found_after=float(learner.found_after),
        outputs=learner.outputs,
    )


SETTINGS = {  # found_after is no whole number: two steps that count .9999999 must not be a matter of rounding
    "usual": {},
    "eager": {
        "found_after": 1.9,
        "switch_every": 8.0,
        "most_switches": 0.3,
        "alpha": 3.0,
        "drift_memory": 5.0,
    },
    "other outputs": {"outputs": (0.2, 1.0), "tail": 3.0, "found_after": 1.9},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_step_is_that_of_the_slow_reference(settings):
    learner = mixture(**settings)
    expected, state = reference_of(learner), learner.init()
    x, y = stream(visits(14, 12, 9, 10, 8, 9, 8, order=[0, 1, 0, 2, 3, 1, 4]), seed=3)
    y = y.at[30].add(40.0)  # one wild pair
    shift, unit = (np.asarray(values, np.float64) for values in (Y_NORM.mean, Y_NORM.std))
    z, targets = np.asarray(jax.vmap(PRIOR.features_of)(x), np.float64), (np.asarray(y) - shift) / unit
    evicted = spawned = 0
    for step, pair in enumerate(zip(x, y, strict=True)):
        mean, variance = expected.predict(z[step])
        got = predict(learner, state, pair[0])
        where = f"step {step}"
        np.testing.assert_allclose((got.mean - shift) / unit, mean, rtol=2e-3, atol=2e-3, err_msg=where)
        np.testing.assert_allclose(got.scale / unit, np.sqrt(variance), rtol=2e-3, err_msg=where)

        state, info = jax.tree.map(np.asarray, update(learner, state, *pair))
        expected.observe(z[step], targets[step])
        slots = expected.slots
        chances = [0.0 if s is None else s.probability for s in slots]
        np.testing.assert_allclose(info.responsibilities, chances, atol=2e-3, err_msg=where)
        np.testing.assert_allclose(info.loss, expected.loss, rtol=5e-3, atol=1e-4, err_msg=where)
        tasks = [s for s in slots if s is not None and s.number >= 0]
        assert [int(n) for n in state.task] == [-1 if s is None else s.number for s in slots], where
        assert (int(info.task), int(info.n_tasks)) == (expected.task, max(len(tasks), 1)), where
        assert (bool(info.spawned), bool(info.at_capacity)) == (expected.spawned, expected.evicted), where
        assert int(state.lead) == expected.lead, where
        np.testing.assert_allclose(state.switches, expected.switches, rtol=2e-3, err_msg=where)
        np.testing.assert_allclose(state.kind_counts, expected.kind_counts, err_msg=where)
        for place, slot in enumerate(slots):
            if slot is None or (slot.number < 0 and slot.probability < 1e-4):
                continue
            assert (int(state.kind[place]), int(state.last_led[place])) == (slot.kind, slot.last_led), where
            np.testing.assert_allclose(state.led[place], slot.led, rtol=2e-3, atol=1e-3, err_msg=where)
            np.testing.assert_allclose(state.rate_scores[place], slot.scores, atol=2e-2, err_msg=where)
            for rate, belief in enumerate(slot.beliefs):
                for name in Belief._fields:
                    np.testing.assert_allclose(
                        getattr(state.beliefs, name)[place, rate],
                        getattr(belief, name),
                        rtol=5e-3,
                        atol=5e-3,
                        err_msg=f"{where} {name}",
                    )
        evicted, spawned = evicted + expected.evicted, spawned + expected.spawned
    assert (
        spawned >= 2
    )  # so that the table tests new tasks, and (where they come early) that old ones make room
    assert evicted or settings != SETTINGS["eager"]


# As a pure learner.


def test_the_state_is_a_fixed_point_and_the_second_call_does_not_compile(count_compiles):
    learner = mixture()
    x, y = stream(visits(10, 10))
    first = learner.init()
    state, info = update(learner, first, x[0], y[0])
    predict(learner, state, x[0])
    assert types(state) == types(first)
    pairs = list(zip(x[1:], y[1:], strict=True))
    other = mixture(alpha=0.3, switch_every=20.0, drift_memory=9.0, found_after=3.0)
    with count_compiles() as count:
        for pair in pairs:
            predict(learner, state, pair[0])
            state, later = update(learner, state, *pair)
            assert types(later) == types(info)
        update(other, state, *pairs[0])  # numbers are no part of the program
    assert count() == 0
    assert types(state) == types(first)


def test_the_same_input_gives_the_same_result_and_touches_nothing():
    learner = mixture()
    x, y = stream(visits(8, 8))
    states, infos = run(learner, x, y)
    kept = bits(states)
    again, infos_again = run(learner, x, y)
    assert bits(again) == kept == bits(states)
    assert bits(infos) == bits(infos_again)


def test_the_first_states_share_no_buffer():
    """So that each can be donated to a jitted update."""
    learner = mixture()
    leaves = jax.tree.leaves((learner.init(), learner.init(), eqx.filter(learner, eqx.is_array)))
    pointers = [leaf.unsafe_buffer_pointer() for leaf in leaves]
    assert len(set(pointers)) == len(pointers)


def test_predict_before_you_learn():
    """The loss is that of what the state before would have predicted: the pair has no part in it."""
    learner = mixture()
    x, y = stream(visits(12, 6))
    states, infos = run(learner, x, y)
    for state, info, a, b in zip(states[:-1], infos, x, y, strict=True):
        mean = predict(learner, state, a).mean
        np.testing.assert_allclose(info.loss, np.mean(((b - mean) / Y_NORM.std) ** 2), rtol=1e-3, atol=1e-5)


def test_infos_are_probabilities_and_numbers_in_order_of_discovery():
    learner = mixture(found_after=3.0, most_switches=0.2, switch_every=10.0)
    states, infos = run(learner, *stream(visits(*[10] * 9, order=[0, 1, 2, 3, 4, 5, 0, 1, 2]), seed=1))
    assert any(info.at_capacity for info in infos)
    known = 0
    for state, info in zip(states[1:], infos, strict=True):
        p = np.asarray(info.responsibilities)
        assert p.shape == (7,) and np.all(p >= 0) and p.sum() == pytest.approx(1.0, abs=1e-5)
        assert not p[~np.asarray(state.used)].any()
        if info.spawned:
            assert int(info.task) == known  # its number is the next one, and is never given again
            known += 1
        assert int(state.next_task) == known
        numbers = [int(n) for n in state.task if n >= 0]
        assert len(set(numbers)) == len(numbers) == min(known, 3)
        assert int(info.task) in {*numbers, known} and int(info.n_tasks) == max(len(numbers), 1)
        assert not info.rejected and np.isfinite(info.loss)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pair_that_is_not_finite_changes_nothing(bad):
    learner = mixture(found_after=3.0)
    x, y = stream(visits(21))
    states, infos = run(learner, x[:20], y[:20])
    before, last = states[-1], infos[-1]
    following = update(learner, before, x[20], y[20])
    for pair in ((x[20].at[1].set(bad), y[20]), (x[20], y[20].at[0].set(bad))):
        state, info = update(learner, before, *pair)
        assert bits(state) == bits(before)
        assert info.rejected and np.isnan(info.loss) and not info.spawned and not info.at_capacity
        assert bits((info.task, info.n_tasks, info.responsibilities)) == bits(
            (last.task, last.n_tasks, last.responsibilities)
        )
        assert bits(update(learner, state, x[20], y[20])) == bits(following)


def test_a_discovery_is_told_once_even_if_the_next_pair_is_rejected():
    learner = mixture(found_after=3.0)
    states, infos = run(learner, *stream(visits(12)))
    after = next(state for state, info in zip(states[1:], infos, strict=True) if info.spawned)
    _, info = update(learner, after, jnp.full((DX,), jnp.nan), jnp.zeros((DY,)))
    assert not info.spawned


@pytest.mark.parametrize("size", [1e6, 1e20, 1e30, 3e38])
def test_wild_numbers_leave_it_finite_and_are_soon_forgotten(size):
    """Finite, but with squares that are not. A normal pair has a loss of 0.0025; not knowing anything costs over 1."""
    learner = mixture(found_after=3.0)
    x, y = stream(visits(60), seed=4)
    before = run(learner, x[:20], y[:20])[0][-1]
    wild_x, wild_y = (x[20].at[0].set(-size), y[20]), (x[20], y[20].at[0].set(size))
    for pairs, most in (
        ([wild_y], 0.05),
        ([wild_x], 0.15),
        ([wild_y, wild_x, (x[20], y[20].at[1].set(-size))], 0.15),
    ):
        state = before
        for pair in pairs:
            state, info = update(learner, state, *pair)
            assert all(np.isfinite(np.asarray(leaf, float)).all() for leaf in jax.tree.leaves(state))
            np.testing.assert_allclose(np.sum(info.responsibilities), 1.0, atol=1e-5)
        after = predict(learner, state, x[25])
        assert np.isfinite(after.mean).all() and np.isfinite(after.scale).all()
        _, infos = run(learner, x[21:], y[21:], state)
        assert {int(info.task) for info in infos} == {0} and not any(info.at_capacity for info in infos)
        assert np.mean([info.loss for info in infos[9:]]) < most


def test_wrong_shapes_are_refused():
    learner, x, y = mixture(), jnp.zeros(DX), jnp.zeros(DY)
    state = learner.init()
    with pytest.raises(ValueError, match=r"ReadoutMixture.update got x of shape \(3,\); expected \(2,\)"):
        learner.update(state, jnp.zeros(DX + 1), y)
    with pytest.raises(
        ValueError, match=r"ReadoutMixture.update got y of shape \(1,\); expected \(2,\).*one pair"
    ):
        learner.update(state, x, jnp.zeros(1))


WRONG = [
    ({"max_tasks": 0}, r"max_tasks=0; expected a whole number from 1 on"),
    ({"candidates": 2}, r"candidates=2; expected a whole number from 3 on"),
    ({"alpha": 0.0}, r"alpha=0\.0; expected a number above 0"),
    ({"found_after": -1.0}, r"found_after=-1\.0; expected a number above 0"),
    ({"switch_every": 1.0}, r"switch_every=1\.0; expected a number above 1"),
    ({"drift_memory": 0.5}, r"drift_memory=0\.5; expected a number above 1"),
    ({"drift": ()}, r"drift=\(\); expected one or more numbers. They are shares"),
    ({"drift": (0.1, 1.0)}, r"drift=1\.0; expected a number of at least 0 and below 1"),
    ({"alpha": float("nan")}, r"alpha=nan"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[str(s) for s, _ in WRONG])
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"ReadoutMixture got {message}"):
        mixture(**settings)


def test_a_prior_whose_parts_do_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"ReadoutPrior got beliefs about coefficients \(2, 6, 2\) .*expected \(2, 6, 3\)"
    ):
        ReadoutPrior(PRIOR.features, PRIOR.beliefs, x_norm=X_NORM, y_norm=Normalizer.identity(3))


# What it finds.


def test_a_tiny_alpha_founds_one_task_and_no_more_until_the_evidence_outweighs_it():
    def steps_of(alpha, *lengths):
        _, infos = run(mixture(alpha=alpha), *stream(visits(*lengths), seed=7))
        return [step for step, info in enumerate(infos) if info.spawned]

    assert len(steps_of(1e-30, 30, 12, 12)) == 1  # 69 nats are more than 12 pairs tell
    usual, reluctant = steps_of(1.0, 30, 30, 30), steps_of(1e-30, 30, 30, 30)
    assert len(usual) == 3
    assert reluctant[1] > usual[1] + 5


def test_a_task_is_founded_though_two_candidates_share_it():
    """Candidates that began a pair apart say the same: each may stay at one half for as long as the task lasts."""
    state = mixture().init()
    slots = jnp.arange(len(state.used))
    state = eqx.tree_at(
        lambda s: (s.used, s.probability, s.task, s.next_task, s.led),
        state,
        (
            slots < 3,
            jnp.where(slots == 0, 0.1, jnp.where(slots == 1, 0.5, jnp.where(slots == 2, 0.4, 0.0))),
            jnp.where(slots == 0, 0, -1),
            jnp.int32(1),
            jnp.where(slots == 0, 20.0, 0.0),
        ),
    )
    seen = [state := founded(state, 3, jnp.float32(6.0)) for _ in range(8)]
    assert [bool(s.spawned) for s in seen] == [False] * 6 + [True, False]  # 7 steps at .9 are more than 6
    assert state.task.tolist()[:3] == [0, 1, -1]
    assert state.used.tolist()[:3] == [True, True, False]
    np.testing.assert_allclose(state.probability[:3], [0.1, 0.9, 0.0], atol=1e-6)


def test_it_finds_exactly_two_regimes_and_recalls_them_by_number():
    learner = mixture()
    order = [0, 1, 0, 1, 0, 1]
    tasks = visits(*[40] * 6, order=order)
    _, infos = run(learner, *stream(tasks, seed=11))
    numbers = np.array([int(info.task) for info in infos]).reshape(6, 40)
    assert (numbers[:, 5:] == np.array(order)[:, None]).all()  # a few pairs to notice
    assert int(infos[-1].n_tasks) == 2 and sum(bool(info.spawned) for info in infos) == 2
    losses = np.array([float(info.loss) for info in infos]).reshape(6, 40)
    first_meeting, returns = losses[1, 1:6].mean(), losses[2:, 1:6].mean()
    assert returns < 0.2 * first_meeting, (first_meeting, returns)


def test_at_capacity_the_task_that_has_not_led_for_longest_makes_room():
    learner = mixture()
    x, y = stream(visits(30, 30, 30, 30, 30, order=[0, 1, 2, 0, 3]), seed=13)
    states, infos = run(learner, x, y)
    assert sorted(int(n) for n in states[119].task if n >= 0) == [0, 1, 2]
    full = [step for step, info in enumerate(infos) if info.at_capacity]
    assert len(full) == 1 and full[0] >= 120 and infos[full[0]].spawned
    assert sorted(int(n) for n in states[-1].task if n >= 0) == [
        0,
        2,
        3,
    ]  # 0 came first, but 1 had rested longer
    np.testing.assert_allclose(np.sum(infos[full[0]].responsibilities), 1.0, atol=1e-6)


def test_a_forbidden_belief_begins_no_task_however_well_it_fits():
    """The second belief knows the only teacher almost exactly."""
    x, y = stream(visits(40), seed=17, noise=1e-3)
    z = np.stack([PRIOR.features_of(one) for one in x])
    coefficients = np.linalg.lstsq(z, np.stack([Y_NORM(one) for one in y]), rcond=None)[0]
    sharp = Belief(
        jnp.asarray(coefficients, jnp.float32), 1e-6 * jnp.eye(6), jnp.float32(50.0), jnp.full((DY,), 5e-4)
    )
    beliefs = jax.tree.map(lambda many, new: jnp.stack([many[0], new]), PRIOR.beliefs, sharp)
    learner = mixture(ReadoutPrior(PRIOR.features, beliefs, x_norm=X_NORM, y_norm=Y_NORM))

    def kinds(first):
        states, _ = run(learner, x, y, first)
        return {int(k) for s in states[1:] for k in s.kind[(s.probability > 0) & s.used]}, states[-1]

    used, end = kinds(learner.init(kinds=(1.0, 0.0)))
    assert used == {0}
    np.testing.assert_array_equal(end.kind_counts, [2.0, 0.0])
    used, end = kinds(None)
    assert int(end.kind[end.lead]) == 1 and end.kind_counts[1] > 1


@pytest.mark.parametrize(("every", "towards"), [(12, 1.0), (200, -1.0)])
def test_the_rate_of_switches_is_learned(every, towards):
    """It begins at one in fifty; three returning tasks, well separated."""
    learner = mixture(most_switches=0.5, found_after=4.0)
    order = [0, 1, 2] * 14
    tasks = visits(*[every] * (504 // every), order=order[: 504 // every])
    states, _ = run(learner, *stream(tasks, seed=19, noise=0.02))
    first, last = (float(s.switches / s.steps) for s in (states[0], states[-1]))
    assert first == pytest.approx(1 / 50)
    truth = (len(tasks) // every - 1) / len(tasks)
    assert towards * (last - first) > 0
    assert abs(np.log(last / truth)) < 0.7 * abs(np.log(first / truth)) or abs(last - truth) < 0.004, (
        last,
        truth,
    )


def test_the_model_is_that_of_the_most_probable_task():
    learner = mixture()
    x, y = stream(visits(40), seed=23)
    states, _ = run(learner, x, y)
    model = learner.model(states[-1])
    for one in x[:5]:
        mean = Y_NORM.inverse(model(X_NORM(one)))
        np.testing.assert_allclose(mean, predict(learner, states[-1], one).mean, rtol=1e-2, atol=2e-2)
