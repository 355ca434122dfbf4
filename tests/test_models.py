"""Networks against plain matrix products; normalisers against NumPy's statistics."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mole.learning.models import MLP, Linear, Normalizer, narrow_weights


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(
    ("name", "numpy_activation"), [("tanh", np.tanh), ("relu", lambda v: np.maximum(v, 0))]
)
def test_mlp_is_matrix_products_with_activations_between(depth, name, numpy_activation):
    activation = {"tanh": jnp.tanh, "relu": jax.nn.relu}[name]
    model = MLP(3, 2, width=5, depth=depth, activation=activation, key=jax.random.key(0))
    x = np.array([0.3, -1.2, 2.0], np.float32)
    h = x.astype(np.float64)
    for number, layer in enumerate(model.layers):
        h = h @ np.asarray(layer.weight, np.float64) + np.asarray(layer.bias, np.float64)
        h = numpy_activation(h) if number < depth else h
    assert len(model.layers) == depth + 1
    np.testing.assert_allclose(model(jnp.asarray(x)), h, rtol=1e-5, atol=1e-6)


def test_layers_start_at_the_scale_of_he_with_weights_of_their_own():
    model = MLP(400, 400, width=400, depth=2, key=jax.random.key(3))
    for layer in model.layers:
        assert np.std(layer.weight) == pytest.approx(np.sqrt(2 / 400), rel=0.02)
        assert not np.any(layer.bias)
    assert not np.allclose(model.layers[0].weight, model.layers[1].weight)


def test_linear_is_affine():
    layer = Linear(2, 3, key=jax.random.key(1))
    a, b = jnp.array([1.0, 2.0]), jnp.array([-3.0, 0.5])
    np.testing.assert_allclose(layer(a) + layer(b), layer(a + b) + layer(jnp.zeros(2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["in_size", "out_size", "width", "depth"])
def test_mlp_refuses_a_size_below_one(name):
    sizes = {"in_size": 2, "out_size": 2, "width": 4, "depth": 1, name: 0}
    with pytest.raises(
        ValueError, match=rf"MLP got {name}=0; expected a whole number from 1 on\. Give the number of {name}"
    ):
        MLP(sizes.pop("in_size"), sizes.pop("out_size"), **sizes, key=jax.random.key(0))


def test_fit_gives_zero_mean_and_unit_variance():
    values = np.random.default_rng(0).normal([3.0, -50.0, 0.0], [0.01, 20.0, 1e-4], (500, 3))
    norm = Normalizer.fit(values)
    np.testing.assert_allclose(norm.mean, values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(norm.std, values.std(0), rtol=1e-6)
    normalised = jax.vmap(norm)(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(normalised.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(0), 1.0, rtol=1e-3)
    assert norm.mean.dtype == norm.std.dtype == jnp.float32


@pytest.mark.parametrize("level", [0.0, 1.0, -273.15, 1e6, 1e-9])
def test_a_constant_feature_keeps_the_scale_one(level):
    values = np.stack([np.full(7, level), np.arange(7.0)], axis=1)
    norm = Normalizer.fit(values)
    assert norm.std[0] == 1.0
    np.testing.assert_allclose(norm.std[1], np.arange(7.0).std(), rtol=1e-6)


def test_a_feature_that_is_constant_but_for_rounding_keeps_the_scale_one():
    noise = np.random.default_rng(1).normal(size=(50, 1))
    assert Normalizer.fit(1e6 + 1e-4 * noise).std[0] == 1.0  # float32 cannot tell these numbers apart
    assert Normalizer.fit(1e6 + 10.0 * noise).std[0] > 5.0
    assert Normalizer.fit(1e6 + 10.0 * noise, relative_floor=1e-3).std[0] == 1.0


def test_one_row_is_enough():
    norm = Normalizer.fit(np.array([[2.0, -1.0]]))
    np.testing.assert_array_equal(norm(jnp.array([2.0, -1.0])), [0.0, 0.0])


@settings(max_examples=50)
@given(hnp.arrays(np.float64, (6, 3), elements=st.floats(-1e3, 1e3, allow_subnormal=False)))
def test_inverse_undoes_the_normaliser(values):
    norm = Normalizer.fit(values)
    for row in np.asarray(values, np.float32):
        back = norm.inverse(norm(jnp.asarray(row)))
        np.testing.assert_allclose(back, row, rtol=1e-4, atol=1e-4 * (1.0 + np.abs(values).max()))


def test_identity_changes_nothing():
    norm, value = Normalizer.identity(3), jnp.array([1.0, -2.5, 1e-3])
    np.testing.assert_array_equal(norm(value), value)
    np.testing.assert_array_equal(norm.inverse(value), value)


@pytest.mark.parametrize(
    ("values", "shape", "finite"),
    [
        (np.zeros((0, 3)), r"\(0, 3\)", "True"),
        (np.zeros(4), r"\(4,\)", "True"),
        (np.array([[1.0, np.nan]]), r"\(1, 2\)", "False"),
        (np.array([[1.0], [np.inf]]), r"\(2, 1\)", "False"),
    ],
)
def test_fit_refuses_what_has_no_statistics(values, shape, finite):
    expected = (
        rf"Normalizer\.fit got an array of shape {shape} \(finite: {finite}\); expected \[n, d\] finite"
    )
    with pytest.raises(ValueError, match=expected) as error:
        Normalizer.fit(values)
    assert "Remove or impute missing rows first" in str(error.value)


def test_narrow_weights_multiply_in_bfloat16_and_sum_in_float32():
    layer = Linear(300, 5, key=jax.random.key(0))
    narrow = narrow_weights(layer, jnp.bfloat16)
    assert narrow.weight.dtype == jnp.bfloat16 and narrow.bias.dtype == jnp.float32
    x = jax.random.normal(jax.random.key(1), (300,))
    rounded = [np.asarray(v.astype(jnp.bfloat16), np.float64) for v in (x, layer.weight)]
    out = narrow(x)
    assert out.dtype == jnp.float32
    # exact products of the rounded factors: a sum in bfloat16 would be off by 1e-2
    np.testing.assert_allclose(out, rounded[0] @ rounded[1], rtol=1e-5, atol=1e-5)
