"""Pytrees in few vectors and back: every number, shape and type, whatever the sizes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mole.learning.packing import layout_of, pack, unpack

LARGE = jnp.arange(5000.0).reshape(50, 100)
TREE = {
    "matrix": jnp.arange(6.0).reshape(2, 3),
    "counts": (jnp.int32(7), jnp.arange(3, dtype=jnp.int32)),
    "flags": jnp.asarray([True, False]),
    "large": LARGE,
    "nothing": jnp.zeros((0, 4)),
    "number": jnp.float32(-0.0),
}


def test_what_is_packed_comes_back_bit_for_bit() -> None:
    layout = layout_of(TREE)
    back = unpack(layout, pack(layout, TREE))
    assert jax.tree.structure(back) == jax.tree.structure(TREE)
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(TREE), strict=True):
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        assert np.asarray(got).tobytes() == np.asarray(expected).tobytes()


def test_small_arrays_of_a_type_share_a_vector_and_large_ones_do_not() -> None:
    vectors = pack(layout_of(TREE), TREE)
    assert sorted((vector.dtype.name, vector.size) for vector in vectors) == [
        ("bool", 2),
        ("float32", 6 + 0 + 1),
        ("float32", LARGE.size),
        ("int32", 1 + 3),
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
