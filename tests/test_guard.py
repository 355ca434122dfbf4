"""What is refused, what is flagged, and steps that are cut: the guard of every learner, by itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import bits, random_pairs, tiny_prior
from mole.learning.inner import adapt
from mole.learning.likelihoods import Categorical, Gaussian
from mole.learning.models import Linear
from mole.online import Continuous, Fault, KShot, Mixture, Oracle, Static, count_faults
from mole.online.base import Pairs
from mole.online.em import crp_log_prior, e_step, restarted
from mole.online.guard import REFUSED, entry_fault, guarded_adapt, sequence_fault

DX, DY, K = 3, 2, 4
PRIOR = tiny_prior(jax.random.key(0), DX, DY, window=K)
ZERO = jnp.zeros(DX), jnp.zeros(DY)


@pytest.mark.parametrize(
    ("wild", "fault"),
    [
        (jnp.nan, Fault.NOT_FINITE),
        (jnp.inf, Fault.NOT_FINITE),
        (-jnp.inf, Fault.NOT_FINITE),
        (1e25, Fault.OUT_OF_REACH),
        (-3.4e38, Fault.OUT_OF_REACH),
        (100.1, Fault.OUT_OF_REACH),
        (-99.9, 0),
        (0.0, 0),
    ],
)
def test_a_number_that_is_no_observation_is_refused_wherever_it_is(wild, fault):
    x, y = ZERO
    assert int(entry_fault(x.at[1].set(wild), y, 100.0)) == fault
    assert int(entry_fault(x, y.at[0].set(wild), 100.0)) == fault


@pytest.mark.parametrize(
    "learner",
    [Mixture(PRIOR), KShot(PRIOR), Continuous(PRIOR), Oracle(PRIOR, 2), Static(PRIOR)],
    ids=lambda one: type(one).__name__,
)
def test_a_finite_but_absurd_pair_changes_nothing_and_says_so(learner):
    x, y = random_pairs(jax.random.key(1), K)
    state, _ = jax.lax.scan(lambda s, pair: learner.update(s, *pair), learner.init(), (x, y))
    for pair in ((x[0].at[0].set(1e25), y[0]), (x[0], y[0].at[1].set(-1e38))):
        after, info = learner.update(state, *pair)
        assert bits(after) == bits(state)
        assert info.rejected and info.fault == Fault.OUT_OF_REACH and jnp.isnan(info.loss)


def test_the_reach_can_be_chosen_and_is_checked():
    pair = jnp.full(DX, 500.0), jnp.zeros(DY)
    near, far = Static(PRIOR), Static(PRIOR, reach=1e3)
    assert near.update(near.init(), *pair)[1].rejected
    assert not far.update(far.init(), *pair)[1].rejected
    for make in (Mixture, KShot, Continuous, lambda prior, **more: Oracle(prior, 2, **more)):
        assert make(PRIOR, reach=7.0).reach == 7.0
        with pytest.raises(ValueError, match=r"got reach=0\.5; expected a number between 1 and 1e\+15"):
            make(PRIOR, reach=0.5)


def test_faults_are_counted_by_name():
    codes = [0, Fault.NOT_FINITE, Fault.REPEATED | Fault.STILL, Fault.STILL, 0]
    assert count_faults(codes) == {"not_finite": 1, "repeated": 1, "still": 2}
    assert count_faults([]) == {} == count_faults(np.zeros(3, int))
    assert REFUSED == 3


def test_a_repeated_pair_and_numbers_that_stand_still():
    recent = Pairs.empty(DX, DY, 3)
    x, y = jnp.asarray([1.0, 2.0, 0.0]), jnp.asarray([1.0, -1.0])
    assert sequence_fault(recent, *ZERO) == 0  # nothing was seen: zeros are no repetition
    for step in range(3):
        recent = recent.push(x + step, y + step)
    assert sequence_fault(recent, x, y) == 0
    assert sequence_fault(recent, x + 2.0, y + 2.0) == Fault.REPEATED
    assert sequence_fault(recent, x + 2.0, y) == 0  # the input again, with another target
    still = recent._replace(y=recent.y.at[:, 1].set(5.0))
    assert sequence_fault(still, x, y.at[1].set(5.0)) == Fault.STILL
    still = recent._replace(x=recent.x.at[:, 2].set(0.0))
    assert sequence_fault(still, x, y) == 0  # at its mean in training: padding, or what never moved
    still = recent._replace(x=recent.x.at[:, 2].set(0.5))
    assert sequence_fault(still, x.at[2].set(0.5), y) == Fault.STILL


@pytest.mark.parametrize("likelihood", [Gaussian(), Gaussian(learned_scale=True), Categorical()])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0])
def test_a_healthy_step_is_that_of_adapt(likelihood, scale):
    classes = isinstance(likelihood, Categorical)
    prior = tiny_prior(jax.random.key(2), DX, DY, likelihood=likelihood)
    x, y = random_pairs(jax.random.key(3), 5, classes=classes)
    weights = jnp.asarray([1.0, 0.0, 1.0, 0.5, 1.0])
    given = (prior.model, prior.inner_rate, likelihood, x, y)
    model, fault = guarded_adapt(*given, weights=weights, scale=scale)
    assert fault == 0
    expected = adapt(*given, weights=weights, scale=scale)
    for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    if scale == 0.0:
        assert bits(model) == bits(prior.model)


@pytest.mark.parametrize("distance", [30.0, 100.0, 1e4, 1e6])
def test_repeated_steps_on_a_pair_far_away_do_not_run_away(distance):
    """Unchecked, each multiplies the residual by about the square of the distance."""
    model = jax.tree.map(jnp.zeros_like, Linear(DX, DY, key=jax.random.key(0)))
    x, y = random_pairs(jax.random.key(4), 8)
    x, y = x.at[0, 0].set(distance), y.at[0].set(distance)
    unchecked, seen = model, 0
    for _ in range(60):
        model, fault = guarded_adapt(model, PRIOR.inner_rate, PRIOR.likelihood, x, y)
        unchecked = adapt(unchecked, PRIOR.inner_rate, PRIOR.likelihood, x, y)
        seen |= int(fault)
    assert seen == Fault.STEP_CUT
    loss = jnp.mean(jnp.square(jax.vmap(model)(x) - y))
    assert loss < 1e3 and jnp.abs(model.weight).max() < 100.0
    assert not jnp.mean(jnp.square(jax.vmap(unchecked)(x) - y)) < 1e6


def test_a_step_that_is_not_finite_is_not_taken():
    x, y = random_pairs(jax.random.key(5), 4)
    for bad in (jnp.nan, jnp.inf, 1e30):
        model, fault = guarded_adapt(PRIOR.model, PRIOR.inner_rate, PRIOR.likelihood, x, y.at[2].set(bad))
        assert fault == Fault.STEP_REFUSED
        assert bits(model) == bits(PRIOR.model)


def test_an_e_step_of_huge_and_tiny_losses_is_a_distribution():
    """Whatever the scores: the worst is cut off before it is infinite, since infinities have no softmax."""
    for temperature in (1e-6, 0.02, 1e6):
        learner = Mixture.paper(PRIOR, temperature=temperature)
        for scores in ([-1e38, -1e38], [-jnp.inf, -jnp.inf], [jnp.nan, -1.0], [-1e-38, 0.0], [3e38, -3e38]):
            joint = learner._log_likelihood(jnp.asarray(scores)[:, None]) + jnp.log(jnp.asarray([0.3, 0.7]))
            for hard in (True, False):
                p = e_step(joint, hard)
                assert jnp.isfinite(p).all() and jnp.sum(p) == pytest.approx(1.0)


def test_counts_in_float32_never_stop():
    counts, counted = jnp.log(jnp.asarray([2.0**23, 2.0**21])), jnp.float32(2.0**24)
    assert counted + 1 == counted  # what would happen
    halved, total = restarted(counts, counted, None)
    assert total + 1 > total and total == 2.0**23
    before, after = (
        crp_log_prior(*pair, jnp.float32(1.0))[0] for pair in ((counts, counted), (halved, total))
    )
    np.testing.assert_allclose(before, after, atol=1e-6)
    kept = restarted(jnp.log(jnp.asarray([3.0, 1.0])), jnp.float32(4.0), None)
    np.testing.assert_array_equal(kept[0], jnp.log(jnp.asarray([3.0, 1.0])))
    with pytest.raises(ValueError, match=r"refresh=5000000; expected a whole number from 1 to 4194304"):
        Mixture.paper(PRIOR, refresh=5_000_000)
