"""The fast outputs of an adapted MLP against building its weights, in float64."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import RATES, as_double, random_pairs, tiny_mlp, uneven_rate
from mole._types import Window
from mole.learning.inner import adapt
from mole.learning.likelihoods import Categorical, Gaussian
from mole.learning.lowrank import adapted_outputs, adapted_outputs_mlp

KEY = jax.random.key(0)
LIKELIHOODS = {
    "fixed": Gaussian(),
    "learned": Gaussian(learned_scale=True),
    "categorical": Categorical(),
}


def case(depth, kind, likelihood, activation=jnp.tanh):
    model = tiny_mlp(KEY, depth=depth, likelihood=likelihood, activation=activation)
    rate = uneven_rate(kind, model, jax.random.key(1), 0.3)
    support = random_pairs(jax.random.key(2), 4, classes=isinstance(likelihood, Categorical))
    return model, rate, likelihood, support, random_pairs(jax.random.key(3), 5).x


@eqx.filter_jit
def both(model, rate, likelihood, support, query, weights):
    fast = adapted_outputs_mlp(model, rate, likelihood, support, query, weights=weights)
    adapted = adapt(model, rate, likelihood, *support, weights=weights)
    return fast, jax.vmap(adapted)(query), jax.vmap(model)(query)


WEIGHTS = (1.0, 0.0, 2.0, 0.25)
CASES = [  # every likelihood with every rate; depths and weights in turns, to spare compilations
    pytest.param(kind, name, depth, weights, id=f"{kind}-{name}-{depth}-{'weighted' if weights else 'equal'}")
    for kind, depths in zip(RATES, ((1, 2, 4), (2, 3, 1), (3, 1, 2)), strict=True)
    for name, depth, weights in zip(LIKELIHOODS, depths, (WEIGHTS, None, WEIGHTS), strict=True)
]


@pytest.mark.parametrize(("kind", "name", "depth", "weights"), CASES)
def test_fast_outputs_are_those_of_the_adapted_model(kind, name, depth, weights):
    parts = case(depth, kind, LIKELIHOODS[name])
    with jax.enable_x64(True):
        weights = None if weights is None else jnp.array(weights)
        fast, plain, still = both(*as_double(parts), weights)
        assert fast.dtype == jnp.float64
        np.testing.assert_allclose(fast, plain, rtol=1e-10, atol=1e-12)
        assert np.max(np.abs(plain - still)) > 1e-3


@pytest.mark.parametrize("activation", [jax.nn.relu, jax.nn.gelu, jnp.sin])
def test_any_elementwise_activation_in_float32(activation):
    parts = case(2, "rank1", Gaussian(), activation)
    fast, plain, _ = both(*parts, None)
    np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-5)


def test_no_weight_at_all_gives_the_outputs_of_the_model():
    fast, plain, still = both(*case(2, "rank1", Gaussian()), jnp.zeros(4))
    np.testing.assert_allclose(fast, still, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(plain, still)


def test_other_modules_take_the_plain_way():
    model = eqx.nn.MLP(3, 2, 8, 2, activation=jnp.tanh, key=KEY)
    rate = uneven_rate("rank1", model, jax.random.key(1))
    support, query = random_pairs(KEY, 4), random_pairs(jax.random.key(3), 5).x
    expected = jax.vmap(adapt(model, rate, Gaussian(), *support))(query)
    outputs = adapted_outputs(model, rate, Gaussian(), support, query)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-7)


def test_an_mlp_takes_the_fast_way():
    parts = case(2, "layer", Gaussian())
    np.testing.assert_array_equal(adapted_outputs(*parts), adapted_outputs_mlp(*parts))


@pytest.mark.parametrize("kind", ["layer", "rank1"])
def test_derivatives_agree_in_both_orders(kind):
    model, rate, likelihood, support, query = case(2, kind, Gaussian(learned_scale=True))

    @eqx.filter_jit
    def gradients(parts, support, query, first_order):
        def fast(parts):
            return adapted_outputs_mlp(*parts, likelihood, support, query, first_order=first_order)

        def plain(parts):
            adapted = adapt(*parts, likelihood, *support, first_order=first_order)
            return jax.vmap(adapted)(query)

        return [eqx.filter_grad(lambda p, f=f: jnp.sum(jnp.sin(f(p))))(parts) for f in (fast, plain)]

    with jax.enable_x64(True):
        doubles = as_double(((model, rate), Window(*support), query))
        for first_order in (False, True):
            fast, plain = map(jax.tree.leaves, gradients(*doubles, first_order))
            for one, other in zip(fast, plain, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
