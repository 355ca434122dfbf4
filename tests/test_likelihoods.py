"""Likelihoods against their definitions in NumPy and against SciPy's distributions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mole.learning.likelihoods import Categorical, Gaussian, student_t_log_prob

SCALE = np.array([0.5, 2.0], np.float32)
Y = np.array([0.3, -1.0], np.float32)
MEAN = np.array([1.1, 0.4], np.float32)
LOG_SCALE = np.array([-0.7, 1.3], np.float32)
BOTH = jnp.asarray(np.concatenate([MEAN, LOG_SCALE]))


def test_output_sizes():
    assert Gaussian().output_size(3) == 3
    assert Gaussian(learned_scale=True).output_size(3) == 6
    assert Categorical().output_size(3) == 3


@pytest.mark.parametrize("freedom", [1.0, 2.5, 4.0, 100.0])
@pytest.mark.parametrize("residual", [0.0, 0.3, -7.0, 1e4])
def test_student_t_is_that_of_scipy(freedom, residual):
    residuals = np.array([residual, -0.5 * residual], np.float32)
    ours = student_t_log_prob(jnp.asarray(residuals), jnp.asarray(SCALE), freedom)
    theirs = scipy.stats.t.logpdf(residuals.astype(float), freedom, scale=SCALE.astype(float)).sum()
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


def test_the_tail_of_student_t_falls_logarithmically():
    def at(r):
        return float(student_t_log_prob(jnp.array([r]), jnp.array([1.0])))

    assert at(1e4) - at(1e5) == pytest.approx(5 * np.log(10), rel=1e-4)  # (ν + 1) log 10
    assert np.isfinite(at(1e15))


def test_unit_gaussian_loss_is_the_mean_squared_error():
    loss = Gaussian().loss(jnp.asarray(MEAN), jnp.asarray(Y))
    np.testing.assert_allclose(loss, np.mean((Y - MEAN) ** 2), rtol=1e-6)


def test_learned_gaussian_loss_is_twice_the_negative_log_density_without_its_constant():
    loss = Gaussian(learned_scale=True).loss(BOTH, jnp.asarray(Y))
    density = scipy.stats.norm.logpdf(Y, MEAN, np.exp(LOG_SCALE))
    np.testing.assert_allclose(loss, np.mean(-2 * density - np.log(2 * np.pi)), rtol=1e-5)


def test_learned_gaussian_with_scale_one_is_the_unit_gaussian():
    output = jnp.concatenate([jnp.asarray(MEAN), jnp.zeros(2)])
    learned = Gaussian(learned_scale=True).loss(output, jnp.asarray(Y))
    np.testing.assert_allclose(learned, Gaussian().loss(jnp.asarray(MEAN), jnp.asarray(Y)), rtol=1e-6)


def test_gaussian_mean_scale_and_log_prob():
    fixed, learned = Gaussian(), Gaussian(learned_scale=True)
    residual = jnp.asarray(SCALE)
    np.testing.assert_array_equal(fixed.mean(jnp.asarray(MEAN)), MEAN)
    np.testing.assert_array_equal(fixed.scale(jnp.asarray(MEAN), residual), SCALE)
    np.testing.assert_array_equal(learned.mean(BOTH), MEAN)
    np.testing.assert_allclose(learned.scale(BOTH, residual), np.exp(LOG_SCALE), rtol=1e-6)
    for likelihood, output, scale in ((fixed, jnp.asarray(MEAN), SCALE), (learned, BOTH, np.exp(LOG_SCALE))):
        expected = scipy.stats.t.logpdf(Y, 4, loc=MEAN, scale=scale).sum()
        np.testing.assert_allclose(likelihood.log_prob(output, jnp.asarray(Y), residual), expected, rtol=1e-5)


def test_learned_scale_is_bounded():
    output = jnp.array([0.0, 0.0, -1e6, 1e6])
    scale = Gaussian(learned_scale=True).scale(output, jnp.ones(2))
    np.testing.assert_allclose(scale, np.exp([-7.0, 4.0]), rtol=1e-5)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_categorical_is_the_cross_entropy(label):
    logits, likelihood = np.array([0.2, -3.0, 1.5], np.float32), Categorical()
    y = jax.nn.one_hot(label, 3)
    expected = -scipy.special.log_softmax(logits)[label]
    np.testing.assert_allclose(likelihood.loss(jnp.asarray(logits), y), expected, rtol=1e-5)
    np.testing.assert_allclose(likelihood.log_prob(jnp.asarray(logits), y, jnp.ones(3)), -expected, rtol=1e-5)
    p = scipy.special.softmax(logits)
    np.testing.assert_allclose(likelihood.mean(jnp.asarray(logits)), p, rtol=1e-5)
    np.testing.assert_allclose(
        likelihood.scale(jnp.asarray(logits), jnp.ones(3)), np.sqrt(p * (1 - p)), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("likelihood", "output", "y"),
    [
        (Gaussian(), [1e15, -1e15], [0.0, 0.0]),
        (Gaussian(learned_scale=True), [1e10, 0.0, -1e9, 1e9], [0.0, 1e10]),
        (Gaussian(learned_scale=True), [0.0, 0.0, -7.0, 4.0], [0.0, 0.0]),
        (Categorical(), [1e30, -1e30], [0.0, 1.0]),
        (Categorical(), [0.0, 0.0], [1.0, 0.0]),
    ],
)
def test_losses_and_gradients_are_finite_at_extremes(likelihood, output, y):
    output, y, scale = jnp.array(output), jnp.array(y), jnp.array([1e-4, 1e4])
    for function in (likelihood.loss, lambda o, t: likelihood.log_prob(o, t, scale)):
        value, gradient = jax.value_and_grad(function)(output, y)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_the_probabilities_of_extreme_logits_have_finite_scales():
    scale = Categorical().scale(jnp.array([1e30, -1e30, 0.0]), jnp.ones(3))
    np.testing.assert_array_equal(scale, np.zeros(3))
