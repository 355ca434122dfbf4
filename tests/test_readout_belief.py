"""Beliefs about readouts against textbook Bayesian linear regression, and the evidence of a window."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import numpy_readout as reference
from helpers import bits
from mole.readout.belief import Belief, absorb, drifted, forecast, log_density, log_evidence

D, DY, N = 5, 2, 40


def some_prior(seed=0):
    """A belief with nothing round about it, as mole has it and as the reference has it (float64)."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(D, D)) / np.sqrt(D) + 0.5 * np.eye(D)
    values = (rng.normal(size=(D, DY)), factor @ factor.T, 2.5, np.array([0.7, 1.9]))
    return Belief(*(jnp.asarray(v, jnp.float32) for v in values)), exact(values)


def exact(belief):
    mean, cov, shape, rate = (np.asarray(jnp.asarray(v, jnp.float32), np.float64) for v in belief)
    return reference.Belief(mean, cov, float(shape), rate)


def some_pairs(n=N, seed=1):
    """Linear with noise: no target is ten scales off."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, D))
    z[:, 0] = 1.0
    y = z @ rng.normal(size=(D, DY)) + 0.5 * rng.normal(size=(n, DY))
    return z.astype(np.float32), y.astype(np.float32)


@jax.jit
def absorbed(belief, z, y, weight):
    expected = forecast(belief, z)
    return absorb(belief, expected, y, weight), jnp.sum(log_density(expected, y))


def all_absorbed(belief, z, y):
    logs = []
    for pair in zip(z, y, strict=True):
        belief, log = absorbed(belief, *pair, jnp.float32(1.0))
        logs.append(float(log))
    return belief, np.array(logs)


def close(belief, expected, rtol=2e-4, atol=2e-4):
    for got, wanted, name in zip(
        belief, (expected.mean, expected.cov, expected.shape, expected.rate), belief._fields, strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=name)


def test_the_reference_has_the_density_of_scipy():
    _, prior = some_prior()
    (z,), (y,) = some_pairs(1)
    wanted = reference.student(prior, z.astype(float)).logpdf(y)
    np.testing.assert_allclose(reference.log_density(prior, z.astype(float), y, np.inf), wanted)


def test_tails_can_be_made_heavier_but_not_lighter():
    belief, prior = some_prior()
    (z,), _ = some_pairs(1)
    expected, y = forecast(belief, jnp.asarray(z)), jnp.asarray([4.0, -20.0])
    student = reference.student(prior, z.astype(float))
    cauchy = stats.t(df=1.0, loc=student.kwds["loc"], scale=student.kwds["scale"])
    np.testing.assert_allclose(log_density(expected, y, 1.0), cauchy.logpdf(np.asarray(y, float)), rtol=1e-4)
    np.testing.assert_array_equal(log_density(expected, y, 100.0), log_density(expected, y))


@pytest.mark.parametrize("n", [1, 3, N])
def test_pair_by_pair_is_the_posterior_of_all_pairs(n):
    belief, prior = some_prior()
    z, y = some_pairs(n)
    close(all_absorbed(belief, z, y)[0], reference.posterior(prior, z.astype(float), y.astype(float)))


def test_the_order_of_pairs_does_not_matter():
    belief, _ = some_prior()
    z, y = some_pairs()
    order = np.random.default_rng(3).permutation(N)
    one, other = all_absorbed(belief, z, y)[0], all_absorbed(belief, z[order], y[order])[0]
    close(one, exact(other))


def test_a_pair_of_weight_zero_leaves_everything_bit_for_bit():
    belief, _ = some_prior()
    for z, y in zip(*some_pairs(5), strict=True):
        assert bits(absorbed(belief, z, y, jnp.float32(0.0))[0]) == bits(belief)
        assert bits(absorbed(belief, z, 1e6 * y, jnp.float32(0.0))[0]) == bits(belief)


def test_weights_between_zero_and_one_are_fractions_of_a_pair():
    """A pair of weight w has the likelihood to the power of w: the posterior of √w z, √w y, but for the counts."""
    belief, prior = some_prior()
    z, y = some_pairs(1)
    weight = 0.3
    got, _ = absorbed(belief, z[0], y[0], jnp.float32(weight))
    root = np.sqrt(weight)
    expected = reference.posterior(prior, root * z.astype(float), root * y.astype(float))
    expected.shape = prior.shape + 0.5 * weight
    close(got, expected, rtol=1e-5, atol=1e-5)


def test_the_forecast_is_the_student_t_of_scipy():
    belief, prior = some_prior()
    z, y = some_pairs(6)
    for one, target in zip(z, y, strict=True):
        expected, student = forecast(belief, jnp.asarray(one)), reference.student(prior, one.astype(float))
        np.testing.assert_allclose(expected.mean, student.mean(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(expected.variance, student.var(), rtol=1e-4)
        for shift in (0.0, 3.0, -100.0):
            np.testing.assert_allclose(
                log_density(expected, jnp.asarray(target + np.float32(shift))),
                student.logpdf(target.astype(float) + shift),
                rtol=1e-4,
                atol=1e-4,
            )


def test_leading_axes_are_many_beliefs():
    ones = [some_prior(seed)[0] for seed in range(3)]
    many = jax.tree.map(lambda *a: jnp.stack(a), *ones)
    (z,), (y,) = some_pairs(1)
    expected = forecast(many, jnp.asarray(z))
    weights = jnp.asarray([0.0, 0.4, 1.0])
    after = absorb(many, expected, jnp.asarray(y), weights)
    for i, one in enumerate(ones):
        close(jax.tree.map(lambda a, i=i: a[i], after), exact(absorbed(one, z, y, weights[i])[0]), 1e-6, 1e-6)


def test_no_drift_changes_nothing_and_much_drift_returns_to_the_prior():
    prior, _ = some_prior()
    belief, _ = all_absorbed(prior, *some_pairs())
    assert bits(drifted(belief, prior, jnp.float32(0.0))) == bits(belief)
    drift = jax.jit(lambda b: drifted(b, prior, jnp.float32(0.05)))
    for _ in range(600):  # 0.95^300 = 2e-7
        belief = drift(belief)
    close(belief, exact(prior), 1e-4, 1e-4)


def test_drift_keeps_the_distribution_of_tasks():
    """The readout of a task drawn from the prior and drifted is one drawn from the prior: moments of a sample."""
    prior, _ = some_prior()
    known = prior._replace(
        cov=jnp.zeros((D, D))
    )  # the readout is known exactly, so that only drift makes variance
    rng, q = np.random.default_rng(0), 0.3
    draws = rng.multivariate_normal(np.zeros(D), np.asarray(prior.cov, float), size=20_000)
    means = jnp.asarray(np.asarray(prior.mean)[:, :1] + draws[:, :, None], jnp.float32)
    one = Belief(prior.mean[:, :1], *prior[1:])
    moved = jax.vmap(lambda mean: drifted(known._replace(mean=mean), one, jnp.float32(q)).mean)(means)
    spread = np.cov(np.asarray(moved)[..., 0].T) + np.asarray(drifted(known, prior, jnp.float32(q)).cov)
    np.testing.assert_allclose(spread, prior.cov, atol=0.06)  # 4 standard errors of a covariance near 1.5
    np.testing.assert_allclose(np.mean(moved, axis=0)[:, 0], prior.mean[:, 0], atol=0.04)


@pytest.mark.parametrize("size", [1e2, 1e6, 1e12, 1e18, 1e25, 3e38])
def test_an_outlier_moves_a_task_by_a_bounded_amount(size):
    belief, _ = all_absorbed(some_prior()[0], *some_pairs())
    z, _ = some_pairs(1, seed=9)
    expected = forecast(belief, jnp.asarray(z[0]))
    scale = np.sqrt(np.max(np.asarray(expected.scale2)))
    for sign in (1.0, -1.0):
        after, log = absorbed(belief, z[0], np.full(DY, np.float32(sign * size)), jnp.float32(1.0))
        assert all(np.isfinite(leaf).all() for leaf in after) and np.isfinite(log)
        # Huber: as far as a residual of ten scales (in root mean square) would have moved it.
        reach = 10.0 * np.sqrt(DY) * scale * np.abs(np.asarray(expected.direction))[:, None]
        assert (np.abs(after.mean - belief.mean) <= 1.01 * reach + 1e-6).all()
        assert (after.rate <= belief.rate + 0.5 * 101.0 * expected.scale2).all()
        assert np.linalg.eigvalsh(np.asarray(after.cov, float)).min() > 0


def test_thousands_of_pairs_leave_a_covariance():
    """Single precision and no drift: still positive, and still the right answer."""
    prior, exact_prior = some_prior()
    z, y = some_pairs(4000)

    def step(belief, pair):
        return absorb(belief, forecast(belief, pair[0]), pair[1], jnp.float32(1.0)), None

    belief, _ = jax.jit(lambda: jax.lax.scan(step, prior, (jnp.asarray(z), jnp.asarray(y))))()
    expected = reference.posterior(exact_prior, z.astype(float), y.astype(float))
    np.testing.assert_allclose(belief.mean, expected.mean, atol=2e-3)
    np.testing.assert_allclose(belief.rate, expected.rate, rtol=1e-3)
    cov = np.asarray(belief.cov, float)
    assert np.linalg.eigvalsh((cov + cov.T) / 2).min() > 0
    np.testing.assert_allclose(np.diag(cov), np.diag(expected.cov), rtol=2e-2)


def test_the_evidence_is_the_sum_of_forecasts_and_the_multivariate_t_of_scipy():
    belief, prior = some_prior()
    z, y = some_pairs(12)
    got = log_evidence(
        jnp.asarray(z),
        jnp.asarray(y) - z @ belief.mean,
        jnp.linalg.cholesky(belief.cov),
        belief.shape,
        belief.rate,
    )
    _, logs = all_absorbed(belief, z, y)
    np.testing.assert_allclose(got, logs.sum(), rtol=1e-4)
    np.testing.assert_allclose(
        got, reference.log_evidence(prior, z.astype(float), y.astype(float)), rtol=1e-4
    )
    # The reference itself: the density of one pair is scipy's t.
    one = reference.log_evidence(prior, z[:1].astype(float), y[:1].astype(float))
    student = reference.student(prior, z[0].astype(float))
    np.testing.assert_allclose(one, sum(stats.t.logpdf(y[0], *student.args, **student.kwds)))


def test_the_evidence_takes_a_factor_of_any_rank_and_any_order():
    z, y = some_pairs(6)
    rng = np.random.default_rng(2)
    factor = rng.normal(size=(D, 2)).astype(np.float32)
    shape, rate = jnp.float32(2.0), jnp.asarray([0.5, 1.5])
    logs = [
        float(
            log_evidence(jnp.asarray(z[list(o)]), jnp.asarray(y[list(o)]), jnp.asarray(factor), shape, rate)
        )
        for o in itertools.islice(itertools.permutations(range(6)), 0, 720, 239)
    ]
    np.testing.assert_allclose(logs, logs[0], rtol=1e-5)
    cov = factor.astype(float) @ factor.T.astype(float)
    wanted = reference.log_evidence(
        reference.Belief(np.zeros((D, DY)), cov, 2.0, np.array([0.5, 1.5])), z.astype(float), y.astype(float)
    )
    np.testing.assert_allclose(logs[0], wanted, rtol=1e-4)


def test_the_derivative_of_the_evidence_is_that_of_finite_differences():
    """It is written by hand: by every argument, in double precision."""
    rng = np.random.default_rng(4)
    n, ranks = 7, 3
    shapes = [(n, D), (n, DY), (D, ranks)]
    point = [*(rng.normal(size=shape) for shape in shapes), np.array(2.3), np.array([0.4, 1.7])]
    ways = [rng.normal(size=np.shape(value)) for value in point]
    with jax.enable_x64(True):
        values = [jnp.asarray(value, jnp.float64) for value in point]
        for which, way in enumerate(ways):

            def along(step, which=which, way=way):
                return log_evidence(*(v + step * way if i == which else v for i, v in enumerate(values)))

            eps = 1e-5
            wanted = (along(eps) - along(-eps)) / (2 * eps)
            got = jnp.sum(jax.grad(log_evidence, argnums=which)(*values) * way)
            np.testing.assert_allclose(got, wanted, rtol=1e-6)
