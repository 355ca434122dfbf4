"""Modules taken apart for compiled functions: arrays, which change, and a structure, which decides what is compiled.

    structure, arrays = take_apart(module)
    programs = _programs(structure)              # a `functools.cache` of functions that call ``structure.join(arrays)``
    programs.step(arrays, ...)

Modules that differ only in their numbers have the same structure object, so they share the programs compiled for it.
Nothing is looked up at a call: a caller in a loop keeps ``programs`` and ``arrays``.

Many small arrays can be passed as a few vectors (`pack`): JAX needs about 2 µs for every array that enters or leaves a
compiled function, which is longer than the copy of a thousand numbers.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array

__all__ = ["Layout", "Structure", "layout_of", "pack", "take_apart", "unpack"]

# Larger arrays are passed as they are: to copy them would take longer than to pass one more array.
_SMALL = 4096
# These dtypes share one vector of uint32, so that a state of floats, counters and flags is a single array.
_WORDS = ("float32", "int32", "uint32", "bool")


class Structure:
    """A module without its arrays. There is one object for each structure (`take_apart`), compared by identity.

    Attributes are private: use `take_apart` to make one and `join` to get a module back.
    """

    def __init__(self, tree: Any, constants: tuple[Any, ...], rest: Any) -> None:
        """Use `take_apart`."""
        self._tree, self._constants = tree, jax.tree.unflatten(rest, constants)

    def join(self, arrays: Sequence[Array]) -> Any:
        """The module of this structure with these arrays."""
        return eqx.combine(jax.tree.unflatten(self._tree, arrays), self._constants)


# Equal structures become one object here, once: programs cached by it then hash an identity, not a tree.
_shared = functools.cache(Structure)


def take_apart(module: Any) -> tuple[Structure, list[Array]]:
    """The structure of a module, and its arrays in the order of ``jax.tree.leaves``.

    Raises:
        TypeError: if a leaf that is no array (e.g. an activation function) is not hashable.
    """
    arrays, rest = eqx.partition(module, eqx.is_array)
    leaves, tree = jax.tree.flatten(arrays)
    constants, kept = jax.tree.flatten(rest)
    return _shared(tree, tuple(constants), kept), leaves


class Layout(NamedTuple):
    """How the arrays of a pytree lie in a few vectors; equal for pytrees of equal structure, shapes and dtypes.

    Attributes:
        tree: structure of the pytree.
        shapes: of its arrays, in order.
        dtypes: of its arrays, by name.
        vectors: places of the arrays in each vector. Small arrays of four-byte numbers and of truth values share one
            vector, small arrays of any other dtype share one per dtype, and every large array has its own.
    """

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
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
            small.setdefault("word" if leaf.dtype.name in _WORDS else leaf.dtype, []).append(place)
    shapes, dtypes = tuple(leaf.shape for leaf in leaves), tuple(leaf.dtype.name for leaf in leaves)
    return Layout(structure, shapes, dtypes, (*map(tuple, small.values()), *large))


def pack(layout: Layout, tree: Any) -> list[Array]:
    """The arrays of a pytree in the vectors of its layout."""
    leaves = jax.tree.leaves(tree)
    return [
        jnp.concatenate([jnp.ravel(_as_word(leaves[place]) if shared else leaves[place]) for place in group])
        for group, shared in zip(layout.vectors, _shared_words(layout), strict=True)
    ]


def unpack(layout: Layout, vectors: Sequence[Array]) -> Any:
    """The inverse of `pack`."""
    leaves: list[Any] = [None] * len(layout.shapes)
    for group, shared, vector in zip(layout.vectors, _shared_words(layout), vectors, strict=True):
        sizes = [math.prod(layout.shapes[place]) for place in group]
        ends = itertools.accumulate(sizes)
        for place, size, end in zip(group, sizes, ends, strict=True):
            part = vector[end - size : end].reshape(layout.shapes[place])
            leaves[place] = _from_word(part, layout.dtypes[place]) if shared else part
    return jax.tree.unflatten(layout.tree, leaves)


def _shared_words(layout: Layout) -> list[bool]:
    """Whether each vector holds uint32 words: it does if all its arrays are small and of a dtype in `_WORDS`."""
    small = [all(math.prod(layout.shapes[place]) <= _SMALL for place in group) for group in layout.vectors]
    return [
        one and all(layout.dtypes[place] in _WORDS for place in group)
        for one, group in zip(small, layout.vectors, strict=True)
    ]


def _as_word(array: Array) -> Array:
    """The four bytes of every number as a uint32; a truth value as 0 or 1."""
    # The bits and not the value: a float32 cannot hold every int32, nor the data of a PRNG key.
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(array, jnp.uint32)


def _from_word(words: Array, dtype: str) -> Array:
    return words != 0 if dtype == "bool" else jax.lax.bitcast_convert_type(words, jnp.dtype(dtype))
