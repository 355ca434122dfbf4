"""Everything here computes in float32, also for somebody who has switched JAX's 64-bit types on for other work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

__all__ = ["in_float32", "methods_in_float32"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """The function with JAX's 64-bit types off while it runs: files hold float32, and so do the states of learners."""

    @functools.wraps(function)
    def computed(*args: P.args, **kwargs: P.kwargs) -> R:
        if not jax.config.read("jax_enable_x64"):
            return function(*args, **kwargs)
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return computed


def methods_in_float32(cls: C) -> C:
    """The class with its constructor, public methods and properties `in_float32`; each class of a family needs it."""
    for name, value in list(vars(cls).items()):
        if name.startswith("_") and name != "__init__":
            continue
        made: Any = None
        if isinstance(value, classmethod):
            made = classmethod(in_float32(value.__func__))
        elif isinstance(value, property) and value.fget is not None:
            made = property(in_float32(value.fget), value.fset, value.fdel, value.__doc__)
        elif callable(value) and not isinstance(value, type):
            made = in_float32(value)
        if made is not None:
            setattr(cls, name, made)
    return cls
