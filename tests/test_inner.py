"""The inner step against the formula written out by hand, for every form of the rates."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import RATES, bits, largest_difference, make_rate, random_pairs, tiny_mlp, uneven_rate
from mole.learning.inner import LayerRate, Rank1Rate, ScalarRate, adapt, window_loss
from mole.learning.likelihoods import Categorical, Gaussian

KEY = jax.random.key(0)
LOW, HIGH = 1e-5, 30.0


class WithFunctions(eqx.Module):
    """A module with everything that is not a parameter: functions, integers, a string, a missing bias."""

    mlp: eqx.nn.MLP
    gain: jax.Array
    steps: jax.Array
    activation: object
    name: str = "plain"

    def __call__(self, x):
        return self.gain * self.activation(self.mlp(x))


def equinox_mlp(**options):
    return eqx.nn.MLP(3, 2, width_size=5, depth=2, activation=jnp.tanh, key=KEY, **options)


MODELS = {
    "mlp": lambda: tiny_mlp(KEY),
    "equinox": equinox_mlp,
    "equinox-without-bias": lambda: equinox_mlp(use_bias=False, use_final_bias=False),
    "with-functions": lambda: WithFunctions(equinox_mlp(), jnp.array(0.7), jnp.arange(3), jnp.sin),
}


def parameters(model):
    return eqx.filter(model, eqx.is_inexact_array)


step = eqx.filter_jit(adapt)


def elementwise(rate, model):
    """The rate of every single parameter, from the step that a gradient of ones makes."""
    return rate.scaled(jax.tree.map(jnp.ones_like, parameters(model)))


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [1.01e-5, 29.9])
def test_every_parameter_starts_with_the_given_rate(kind, name, value):
    model = MODELS[name]()
    rates = elementwise(make_rate(kind, model, value), model)
    assert jax.tree.structure(rates) == jax.tree.structure(parameters(model))
    for rate, parameter in zip(jax.tree.leaves(rates), jax.tree.leaves(parameters(model)), strict=True):
        assert rate.shape == parameter.shape
        np.testing.assert_allclose(rate, value, rtol=1e-4)


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("raw", [-1e30, -50.0, 50.0, 1e30])
def test_rates_stay_positive_and_bounded_whatever_training_does(kind, raw):
    model = tiny_mlp(KEY)
    rate = jax.tree.map(lambda a: jnp.full_like(a, raw), make_rate(kind, model))
    for values in jax.tree.leaves(elementwise(rate, model)):
        np.testing.assert_allclose(values, LOW if raw < 0 else HIGH, rtol=1e-4)
    gradient = jax.grad(lambda r: sum(map(jnp.sum, jax.tree.leaves(elementwise(r, model)))))(rate)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("value", [0.0, -0.1, 1e-5, 30.0, 31.0, float("nan")])
def test_a_rate_outside_of_the_bounds_is_refused(kind, value):
    expected = (
        rf"inner rate got {value}; expected a number strictly between 1e-05 and 30\.0\. Start from about 0\.1"
    )
    with pytest.raises(ValueError, match=expected):
        make_rate(kind, tiny_mlp(KEY), value)


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", MODELS)
def test_factors_are_the_explicit_rate_of_every_element(kind, name):
    model = MODELS[name]()
    rate = uneven_rate(kind, model, jax.random.key(1))
    gradient = jax.tree.map(
        lambda a: jax.random.normal(jax.random.key(a.size), a.shape, a.dtype), parameters(model)
    )
    factors, leaves = rate.factors(model), jax.tree.leaves(gradient)
    assert len(factors) == len(leaves)
    for got, g, (row, column) in zip(jax.tree.leaves(rate.scaled(gradient)), leaves, factors, strict=True):
        row, column = np.asarray(row), np.asarray(column)
        expected = np.empty(g.shape)
        for index in np.ndindex(g.shape):
            r = row[index[0]] if row.ndim else row
            c = column[index[-1]] if column.ndim else column
            expected[index] = r * c * g[index]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_the_forms_have_the_freedom_that_they_promise(name):
    model = MODELS[name]()
    for kind in RATES:
        rates = jax.tree.leaves(elementwise(uneven_rate(kind, model, jax.random.key(2)), model))
        distinct = {float(v) for leaf in rates for v in np.ravel(leaf)}
        if kind == "scalar":
            assert len(distinct) == 1
        if kind == "layer":
            assert all(len(set(np.ravel(leaf).tolist())) == 1 for leaf in rates)
            assert len(distinct) == (4 if name == "with-functions" else 3)
        for leaf in rates:
            if kind == "rank1" and leaf.ndim == 2:
                assert np.linalg.matrix_rank(np.log(np.asarray(leaf, np.float64)), tol=1e-4) == 2
                assert np.linalg.matrix_rank(np.asarray(leaf, np.float64), tol=1e-5) == 1


def test_weight_and_bias_of_a_layer_share_a_rate():
    for model in (tiny_mlp(KEY), equinox_mlp()):
        rate = LayerRate(model, 0.1)
        assert rate.raw.shape == (3,)
        assert rate.layer_of == (0, 0, 1, 1, 2, 2)
    assert LayerRate(equinox_mlp(use_bias=False, use_final_bias=True), 0.1).layer_of == (0, 1, 2, 2)


def test_rank_one_has_a_number_per_unit():
    model = tiny_mlp(KEY, 3, 2, width=8, depth=1)
    assert [r.shape for r in Rank1Rate(model, 0.1).rows] == [(3,), (8,), (8,), (2,)]
    assert [c.shape for c in Rank1Rate(model, 0.1).columns] == [(8,), (), (2,), ()]


def test_window_loss_is_the_mean_over_points_and_dimensions():
    model, (x, y) = tiny_mlp(KEY), random_pairs(KEY, 7)
    predictions = np.stack([model(row) for row in x])
    np.testing.assert_allclose(
        window_loss(model, Gaussian(), x, y), np.mean((predictions - np.asarray(y)) ** 2), rtol=1e-5
    )


@pytest.mark.parametrize("likelihood", [Gaussian(), Gaussian(learned_scale=True), Categorical()])
def test_weights_repeat_and_omit_points(likelihood):
    model = tiny_mlp(KEY, likelihood=likelihood)
    x, y = random_pairs(KEY, 4, classes=isinstance(likelihood, Categorical))
    weights, index = jnp.array([2.0, 0.0, 1.0, 3.0]), jnp.array([0, 0, 2, 3, 3, 3])
    repeated = step(model, ScalarRate(0.1), likelihood, x[index], y[index])
    weighted = step(model, ScalarRate(0.1), likelihood, x, y, weights=weights)
    assert largest_difference(weighted, repeated) < 1e-6
    assert largest_difference(weighted, step(model, ScalarRate(0.1), likelihood, x, y)) > 1e-4
    np.testing.assert_allclose(
        window_loss(model, likelihood, x, y, weights),
        window_loss(model, likelihood, x[index], y[index]),
        rtol=1e-5,
    )


@jax.jit
def weighted_loss(weights):
    return window_loss(tiny_mlp(KEY), Gaussian(), *random_pairs(KEY, 4), weights)


@settings(max_examples=20)
@given(st.lists(st.floats(0.125, 2.0), min_size=4, max_size=4), st.floats(0.03125, 8.0))
def test_only_the_ratios_of_weights_matter(weights, factor):
    one, scaled = (weighted_loss(jnp.array(weights) * f) for f in (1.0, factor))
    np.testing.assert_allclose(scaled, one, rtol=1e-5)


def test_no_weight_at_all_is_no_step():
    model, (x, y) = tiny_mlp(KEY), random_pairs(KEY, 4)
    assert window_loss(model, Gaussian(), x, y, jnp.zeros(4)) == 0.0
    assert bits(adapt(model, ScalarRate(0.1), Gaussian(), x, y, weights=jnp.zeros(4))) == bits(model)


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", MODELS)
def test_adapt_is_one_gradient_step_by_hand(kind, name):
    scale = 0.3
    model, (x, y) = MODELS[name](), random_pairs(KEY, 5)
    rate = uneven_rate(kind, model, jax.random.key(3))
    arrays, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays):
        predictions = jax.vmap(eqx.combine(arrays, static))(x)
        return jnp.mean((predictions - y) ** 2)

    gradient, rates = jax.jit(jax.grad(loss))(arrays), elementwise(rate, model)
    expected = jax.tree.map(lambda p, b, g: p - scale * b * g, arrays, rates, gradient)
    adapted = step(model, rate, Gaussian(), x, y, scale=scale)
    assert largest_difference(adapted, expected) < 1e-6
    assert largest_difference(adapted, model) > 1e-4
    assert jax.tree.structure(adapted) == jax.tree.structure(model)
    whole = step(model, rate, Gaussian(), x, y)
    assert largest_difference(whole, step(model, rate, Gaussian(), x, y, scale=1.0)) < 1e-6


def test_the_step_by_hand_of_a_model_of_one_number():
    class Slope(eqx.Module):
        w: jax.Array

        def __call__(self, x):
            return self.w * x

    x, y = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [1.0]])
    # L = ((w - 3)² + (2w - 1)²) / 2;  dL/dw at 1 = (w - 3) + 2 (2w - 1) = 0;  at 2 = -1 + 6 = 5
    still = adapt(Slope(jnp.array(1.0)), ScalarRate(0.1), Gaussian(), x, y)
    moved = adapt(Slope(jnp.array(2.0)), ScalarRate(0.1), Gaussian(), x, y, scale=0.5)
    assert still.w == 1.0
    np.testing.assert_allclose(moved.w, 2.0 - 0.5 * 0.1 * 5.0, rtol=1e-6)


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_scale_zero_leaves_every_bit(kind, bad):
    model, (x, y) = tiny_mlp(KEY), random_pairs(KEY, 4)
    odd = jnp.array([-0.0, 0.0, 1e-45, jnp.nan, jnp.inf, -jnp.inf, 3e38, -1e-38])
    model = eqx.tree_at(lambda m: m.layers[1].bias, model, odd)
    y = y if bad is None else y.at[0, 0].set(bad)
    rate = make_rate(kind, model)
    for zero in (0.0, -0.0):
        assert bits(step(model, rate, Gaussian(), x, y, scale=jnp.array(zero))) == bits(model)
        assert bits(adapt(model, rate, Gaussian(), x, y, scale=zero)) == bits(model)


def test_a_bad_target_does_harm_when_the_scale_is_not_zero():
    model, (x, y) = tiny_mlp(KEY), random_pairs(KEY, 4)
    adapted = adapt(model, ScalarRate(0.1), Gaussian(), x, y.at[0, 0].set(jnp.nan), scale=1e-3)
    assert np.isnan(adapted.layers[-1].weight).any()


def test_the_order_changes_the_derivative_but_not_the_step():
    model, (x, y) = tiny_mlp(KEY), random_pairs(KEY, 4)
    rate = uneven_rate("rank1", model, KEY)

    def total(model, first_order):
        adapted = adapt(model, rate, Gaussian(), x, y, first_order=first_order)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(parameters(adapted)))

    (second_value, second), (first_value, first) = (
        eqx.filter_value_and_grad(total)(model, order) for order in (False, True)
    )
    assert first_value == second_value
    # With the inner gradient held constant the step is a shift, whose derivative is the identity.
    for leaf in jax.tree.leaves(first):
        np.testing.assert_array_equal(leaf, 1.0)
    assert largest_difference(first, second) > 1e-2


def test_the_first_order_step_still_teaches_the_rates():
    model, (x, y) = tiny_mlp(KEY), random_pairs(KEY, 4)

    def loss(rate, first_order):
        return window_loss(adapt(model, rate, Gaussian(), x, y, first_order=first_order), Gaussian(), x, -y)

    first, second = (jax.grad(loss)(ScalarRate(0.1), order) for order in (True, False))
    assert first.raw != 0.0
    np.testing.assert_allclose(first.raw, second.raw, rtol=1e-5)  # the rate is outside of the inner gradient


# What is refused, and in which words.

X, Y = jnp.ones((4, 3)), jnp.ones((4, 2))
PAIRS = "got x and y of shapes {} and {}; expected [k, dx] and [k, dy] arrays."
NOTHING = "got a Identity without parameters; expected a module such as mole.MLP."


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: ScalarRate("0.1"), TypeError,  # type: ignore[arg-type]
         "inner rate got rate='0.1' (str); expected a number. Start from about 0.1."),
        (lambda m: LayerRate(eqx.nn.Identity(), 0.1), ValueError, NOTHING),
        (lambda m: Rank1Rate(eqx.nn.Identity(), 0.1), ValueError, NOTHING),
        (lambda m: window_loss(m, "g", X, Y), TypeError,  # type: ignore[arg-type]
         "window_loss got likelihood='g' (str); expected mole.Likelihood. mole.Gaussian() is one."),
        (lambda m: window_loss(3, Gaussian(), X, Y), TypeError,  # type: ignore[arg-type]
         "got the model 3; expected a module such as mole.MLP."),
        (lambda m: window_loss(m, Gaussian(), X[0], Y), ValueError, PAIRS.format("(3,)", "(4, 2)")),
        (lambda m: window_loss(m, Gaussian(), X, Y[0]), ValueError, PAIRS.format("(4, 3)", "(2,)")),
        (lambda m: window_loss(m, Gaussian(), [1], Y), ValueError,  # type: ignore[arg-type]
         PAIRS.format("None", "(4, 2)")),
        (lambda m: window_loss(m, Gaussian(), X, Y[:3]), ValueError, PAIRS.format("(4, 3)", "(3, 2)")),
        (lambda m: adapt(m, 0.1, Gaussian(), X, Y), TypeError,  # type: ignore[arg-type]
         "adapt got rate=0.1 (float); expected mole.InnerRate. mole.ScalarRate(0.1) is one."),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_our_words(call, error, text):
    with pytest.raises(error) as raised:
        call(tiny_mlp(KEY))
    assert str(raised.value) == text


@pytest.mark.parametrize("kind", ["layer", "rank1"])
def test_the_rates_of_a_larger_model_are_refused(kind):
    layers = parameters(equinox_mlp()).layers
    with pytest.raises(ValueError, match="zip"):
        make_rate(kind, layers, 0.1).scaled(layers[:2])


def test_a_step_is_differentiated_through_unless_told_otherwise():
    model, rate = tiny_mlp(KEY), make_rate("scalar", tiny_mlp(KEY), 0.1)
    x, y = random_pairs(KEY, 4)

    def slope(**options):
        def after(theta):
            return window_loss(adapt(theta, rate, Gaussian(), x, y, **options), Gaussian(), x, y)

        return eqx.filter_grad(after)(model)

    usual = slope()
    assert bits(usual) == bits(slope(first_order=False))
    assert bits(usual) != bits(slope(first_order=True))
