"""Many small arrays as few: passing one to a compiled function costs more than copying a thousand numbers in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mole._types import Array

__all__ = ["Layout", "layout_of", "pack", "unpack"]

_SMALL = 4096


class Layout(NamedTuple):
    """How the arrays of a pytree lie in a few vectors; equal for pytrees of equal structure, shapes and dtypes.

    Attributes:
        tree: structure of the pytree.
        shapes: of its arrays, in order.
        vectors: which arrays (their places) share a vector: one group for the small ones of each dtype, and every
            large one by itself.
    """

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    vectors: tuple[tuple[int, ...], ...]


def layout_of(tree: Any) -> Layout:
    """The layout of a pytree of arrays."""
    leaves, structure = jax.tree.flatten(tree)
    small: dict[Any, list[int]] = {}
    large = []
    for place, leaf in enumerate(leaves):
        if leaf.size > _SMALL:
            large.append((place,))
        else:
            small.setdefault(leaf.dtype, []).append(place)
    shapes = tuple(leaf.shape for leaf in leaves)
    return Layout(structure, shapes, (*map(tuple, small.values()), *large))


def pack(layout: Layout, tree: Any) -> list[Array]:
    """The arrays of a pytree in the vectors of its layout."""
    leaves = jax.tree.leaves(tree)
    return [jnp.concatenate([jnp.ravel(leaves[place]) for place in group]) for group in layout.vectors]


def unpack(layout: Layout, vectors: Sequence[Array]) -> Any:
    """The inverse of `pack`."""
    leaves: list[Any] = [None] * len(layout.shapes)
    for group, vector in zip(layout.vectors, vectors, strict=True):
        sizes = [math.prod(layout.shapes[place]) for place in group]
        ends = itertools.accumulate(sizes)
        for place, size, end in zip(group, sizes, ends, strict=True):
            leaves[place] = vector[end - size : end].reshape(layout.shapes[place])
    return jax.tree.unflatten(layout.tree, leaves)
