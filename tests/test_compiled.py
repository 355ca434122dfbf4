"""Modules taken apart and joined, and pytrees in few vectors and back: every number, shape and type."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole.learning.compiled import layout_of, pack, take_apart, unpack
from mole.learning.models import MLP

LARGE = jnp.arange(5000.0).reshape(50, 100)
TREE = {
    "matrix": jnp.arange(6.0).reshape(2, 3),
    "counts": (jnp.int32(7), jnp.arange(3, dtype=jnp.int32)),
    "flags": jnp.asarray([True, False]),
    "large": LARGE,
    "nothing": jnp.zeros((0, 4)),
    "number": jnp.float32(-0.0),
    "strange": jnp.asarray([jnp.nan, -jnp.inf, 1e-45]),
}


def test_what_is_packed_comes_back_bit_for_bit() -> None:
    layout = layout_of(TREE)
    back = unpack(layout, pack(layout, TREE))
    assert jax.tree.structure(back) == jax.tree.structure(TREE)
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(TREE), strict=True):
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        assert np.asarray(got).tobytes() == np.asarray(expected).tobytes()


def test_small_arrays_share_a_vector_and_large_ones_do_not() -> None:
    vectors = pack(
        layout_of({**TREE, "half": jnp.ones(3, jnp.bfloat16)}), {**TREE, "half": jnp.ones(3, jnp.bfloat16)}
    )
    assert sorted((vector.dtype.name, vector.size) for vector in vectors) == [
        ("bfloat16", 3),
        ("float32", LARGE.size),
        ("uint32", 6 + 0 + 1 + 3 + 1 + 3 + 2),
    ]
    assert all(vector.ndim == 1 for vector in vectors)


def test_layouts_are_equal_where_shapes_types_and_structure_are() -> None:
    other = jax.tree.map(lambda leaf: leaf * 0, {**TREE, "flags": jnp.asarray([0.0, 1.0])})
    assert layout_of(TREE) == layout_of(jax.tree.map(jnp.copy, TREE))
    assert hash(layout_of(TREE)) == hash(layout_of(jax.tree.map(jnp.copy, TREE)))
    assert layout_of(TREE) != layout_of({**TREE, "number": jnp.zeros(2)})
    assert layout_of(TREE) != layout_of(other)


def test_a_tree_without_arrays_is_no_vector() -> None:
    assert pack(layout_of(()), ()) == []
    assert unpack(layout_of(()), []) == ()


def test_modules_that_differ_in_numbers_share_a_structure_and_others_do_not() -> None:
    one, other = (MLP(2, 1, width=3, depth=1, key=jax.random.key(seed)) for seed in (0, 1))
    structure, arrays = take_apart(one)
    assert take_apart(other)[0] is structure
    assert take_apart(MLP(2, 1, width=3, depth=2, key=jax.random.key(0)))[0] is not structure
    assert (
        take_apart(MLP(2, 1, width=3, depth=1, activation=jnp.tanh, key=jax.random.key(0)))[0]
        is not structure
    )
    assert eqx.tree_equal(structure.join(arrays), one)
    assert eqx.tree_equal(structure.join(take_apart(other)[1]), other)
