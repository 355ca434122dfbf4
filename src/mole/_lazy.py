"""Names of a package that are imported when they are first asked for.

A stream needs no simulator, and a planner no optimiser: what is not used is not imported, and its extra is not needed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mole._moved import old_name

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        homes: name of a module in the package → the public names in that module, separated by blanks.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name in home_of:
            value = getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
            setattr(sys.modules[package], name, value)  # Python calls `__getattr__` only for missing names
            return value
        if name in homes:  # a module of the package, as after importing it by its own name
            return importlib.import_module(f"{package}.{name}")
        return old_name(package, name)

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return __getattr__, __dir__
