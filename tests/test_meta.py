"""The meta-loss and its gradient against the definition, finite differences, and the plain path."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from helpers import RATES, as_double, random_pairs, tiny_mlp, uneven_rate
from mole._types import Window
from mole.learning.inner import ScalarRate, adapt, window_loss
from mole.learning.likelihoods import Categorical, Gaussian
from mole.meta import adapted_loss, adapted_loss_mlp, meta_loss

KEY = jax.random.key(0)
LIKELIHOODS = {"fixed": Gaussian(), "learned": Gaussian(learned_scale=True), "categorical": Categorical()}


def windows(batch=3, length=6, classes=False):
    x, y = random_pairs(jax.random.key(2), batch * length, classes=classes)
    return Window(x.reshape(batch, length, -1), y.reshape(batch, length, -1))


def case(kind, likelihood):
    model = tiny_mlp(KEY, width=4, likelihood=likelihood)
    parts = model, uneven_rate(kind, model, jax.random.key(1), 0.1)
    return parts, windows(classes=isinstance(likelihood, Categorical))


@eqx.filter_jit
def value_and_gradient(parts, likelihood, data, **options):
    return eqx.filter_value_and_grad(lambda p: meta_loss(*p, likelihood, data, **options))(parts)


def assert_close(one, other, **tolerance):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def largest_size(tree):
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree))


def test_meta_loss_is_its_definition():
    (model, rate), data = case("rank1", Gaussian())
    total = 0.0
    for x, y in zip(data.x, data.y, strict=True):
        adapted = adapt(model, rate, Gaussian(), x[:3], y[:3])
        total += np.mean((np.asarray(jax.vmap(adapted)(x[3:])) - np.asarray(y[3:])) ** 2)
    for fast in (None, True, False):
        np.testing.assert_allclose(meta_loss(model, rate, Gaussian(), data, fast=fast), total / 3, rtol=1e-5)


def test_support_and_query_may_differ_in_length():
    (model, rate), data = case("layer", Gaussian())
    support, query = Window(data.x[0, :2], data.y[0, :2]), Window(data.x[1], data.y[1])
    expected = window_loss(adapt(model, rate, Gaussian(), *support), Gaussian(), *query)
    for loss in (adapted_loss, adapted_loss_mlp):
        np.testing.assert_allclose(loss(model, rate, Gaussian(), support, query), expected, rtol=1e-5)


ORDERS = [
    (kind, name, (i + j) % 2 == 0) for i, kind in enumerate(RATES) for j, name in enumerate(LIKELIHOODS)
]


@pytest.mark.parametrize(("kind", "name", "first_order"), [*ORDERS, ("rank1", "fixed", False)])
def test_the_fast_path_is_exact(kind, name, first_order):
    parts, data = case(kind, LIKELIHOODS[name])
    with jax.enable_x64(True):
        doubles = as_double((parts, data))
        fast, plain = (
            value_and_gradient(doubles[0], LIKELIHOODS[name], doubles[1], fast=f, first_order=first_order)
            for f in (True, False)
        )
        assert_close(fast, plain, rtol=1e-9, atol=1e-12 * max(1.0, largest_size(plain)))


@pytest.mark.parametrize(
    ("kind", "fast"), [("scalar", True), ("layer", False), ("rank1", True), ("rank1", False)]
)
def test_the_meta_gradient_is_that_of_finite_differences(kind, fast):
    parts, data = case(kind, Gaussian(learned_scale=True))
    likelihood = Gaussian(learned_scale=True)
    with jax.enable_x64(True):
        parts, data = as_double((parts, data))
        flat, restore = ravel_pytree(parts)
        value = jax.jit(lambda f: meta_loss(*restore(f), likelihood, data, fast=fast))
        gradient = np.asarray(jax.jit(jax.grad(value))(flat))
        steps = 1e-5 * np.eye(flat.size)
        difference = np.array([(value(flat + s) - value(flat - s)) / 2e-5 for s in steps])
    assert np.abs(gradient).max() > 0.1
    np.testing.assert_allclose(gradient, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("fast", [True, False])
def test_first_order_is_the_query_gradient_at_the_adapted_model(fast):
    (model, rate), data = case("rank1", Gaussian())
    one = Window(data.x[:1], data.y[:1])
    adapted = adapt(model, rate, Gaussian(), one.x[0, :3], one.y[0, :3])
    expected = eqx.filter_grad(window_loss)(adapted, Gaussian(), one.x[0, 3:], one.y[0, 3:])
    (first_value, (first, first_rate)), (second_value, (second, second_rate)) = (
        value_and_gradient((model, rate), Gaussian(), one, fast=fast, first_order=order)
        for order in (True, False)
    )
    assert_close(first, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first_value, second_value, rtol=1e-6)
    assert_close(first_rate, second_rate, rtol=1e-4, atol=1e-6)  # a rate's derivative has no second order
    gap, size = (
        np.linalg.norm(ravel_pytree(t)[0]) for t in (jax.tree.map(jnp.subtract, first, second), second)
    )
    assert gap > 0.1 * size


@pytest.mark.parametrize("kind", ["layer", "rank1"])
def test_any_equinox_module_has_a_meta_gradient(kind):
    model = eqx.nn.MLP(3, 2, 4, 1, activation=jnp.tanh, key=KEY)
    parts = model, uneven_rate(kind, model, jax.random.key(1))
    data = windows()
    value, gradient = value_and_gradient(parts, Gaussian(), data)
    x, y = data
    losses = [
        window_loss(adapt(*parts, Gaussian(), a[:3], b[:3]), Gaussian(), a[3:], b[3:])
        for a, b in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(value, np.mean(losses), rtol=1e-5)
    leaves = jax.tree.leaves(gradient)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in leaves)


def test_an_odd_window_is_refused():
    model = tiny_mlp(KEY)
    with pytest.raises(ValueError, match=r"meta_loss got windows of 5 pairs; expected an even number 2k"):
        meta_loss(model, ScalarRate(0.1), Gaussian(), windows(length=5))


def test_the_fast_path_is_refused_for_other_modules():
    model = eqx.nn.MLP(3, 2, 4, 1, key=KEY)
    with pytest.raises(
        TypeError, match=r"fast=True got a MLP; expected mole\.learning\.models\.MLP\. Leave fast=None"
    ):
        meta_loss(model, ScalarRate(0.1), Gaussian(), windows(), fast=True)


def test_steps_are_differentiated_through_unless_told_otherwise():
    model, rate = tiny_mlp(KEY, width=4), ScalarRate(0.1)
    data = windows(batch=1)
    halves = [Window(data.x[0, part], data.y[0, part]) for part in (slice(0, 3), slice(3, 6))]
    for loss, pairs in ((adapted_loss, halves), (adapted_loss_mlp, halves), (meta_loss, [data])):
        slope = jax.jit(
            lambda m, loss=loss, pairs=pairs, **options: eqx.filter_grad(
                lambda theta: loss(theta, rate, Gaussian(), *pairs, **options)
            )(m),
            static_argnames="first_order",
        )
        usual, second, first = slope(model), slope(model, first_order=False), slope(model, first_order=True)
        assert_close(usual, second, rtol=1e-6)
        with pytest.raises(AssertionError):
            assert_close(usual, first, rtol=1e-3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m, w: adapted_loss(m, ScalarRate(0.1), Gaussian(), 3, w),
         "adapted_loss got support=3 (int); expected mole.Window."),
        (lambda m, w: adapted_loss(m, ScalarRate(0.1), Gaussian(), w, 3),
         "adapted_loss got query=3 (int); expected mole.Window."),
        (lambda m, w: meta_loss(m, ScalarRate(0.1), Gaussian(), 3),
         "meta_loss got windows=3 (int); expected mole.Window."),
        (lambda m, w: meta_loss(m, 0.1, Gaussian(), w),
         "meta_loss got rate=0.1 (float); expected mole.InnerRate. mole.ScalarRate(0.1) is one."),
        (lambda m, w: meta_loss(m, ScalarRate(0.1), 3, w),
         "meta_loss got likelihood=3 (int); expected mole.Likelihood. mole.Gaussian() is one."),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_refused(call, text):
    with pytest.raises(TypeError) as raised:
        call(tiny_mlp(KEY), windows())
    assert str(raised.value) == text


def test_windows_may_have_any_even_number_of_pairs():
    parts, _ = case("scalar", Gaussian())
    data = windows(batch=2, length=4)
    one_by_one = [
        adapted_loss(*parts, Gaussian(), Window(x[:2], y[:2]), Window(x[2:], y[2:]))
        for x, y in zip(data.x, data.y, strict=True)
    ]
    np.testing.assert_allclose(meta_loss(*parts, Gaussian(), data), np.mean(one_by_one), rtol=1e-5)
