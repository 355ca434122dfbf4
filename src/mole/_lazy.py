"""Names of a package that are imported when they are first asked for.

A stream needs no simulator and a planner no optimiser: what nobody asks for is not loaded, and its extra not needed.
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
        homes: module of the package, by its name in it → the public names that it holds, with blanks between them.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name in home_of:
            value = getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
            setattr(sys.modules[package], name, value)  # so that the next one who asks does not come here
            return value
        if name in homes:  # a module of the package, as after importing it by its own name
            return importlib.import_module(f"{package}.{name}")
        return old_name(package, name)

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return __getattr__, __dir__
