"""Names in the documents of version 0.1: they work until 0.3, with a warning that says the new name."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["KEPT", "MOVED", "RENAMED", "install", "old_name", "renamed"]

MOVED = {
    "mole.checkpoint": "mole.files.checkpoint",
    "mole.commands.compilation_cache": "mole.commands.common",
    "mole.control.episode_file": "mole.control.resume",
    "mole.envs.half_cheetah": "mole.envs.cheetah.motors",
    "mole.envs.half_cheetah_terrain": "mole.envs.cheetah.terrain",
    "mole.envs.ns_gym": "mole.envs.wrappers.ns_gym",
    "mole.envs.parameters": "mole.envs.wrappers.parameters",
    "mole.generations": "mole.files.generations",
    "mole.inner": "mole.learning.inner",
    "mole.likelihoods": "mole.learning.likelihoods",
    "mole.lock": "mole.files.generations",
    "mole.lowrank": "mole.learning.lowrank",
    "mole.models": "mole.learning.models",
    "mole.prior": "mole.learning.prior",
    "mole.prior_file": "mole.priors.file",
    "mole.readout.evidence": "mole.readout.belief",
    "mole.readout.file": "mole.priors.file",
    "mole.shipped": "mole.priors.shipped",
    "mole.streams": "mole.datasets",
    "mole.streams.encoding": "mole.rows.encoding",
    "mole.streams.faults": "mole.pipeline.faults",
    "mole.streams.minari": "mole.datasets.minari",
    "mole.streams.river": "mole.adapters.river",
    "mole.streams.sklearn": "mole.adapters.sklearn",
    "mole.streams.transitions": "mole.datasets.transitions",
    "mole.zoo": "mole.priors.shipped",
}
"""Old path of a module → new path."""

RENAMED: dict[str, str] = {}
"""Old name of a thing, with its module → the new one."""

_COMPAT = "mole.priors.compat"
KEPT = {
    "mole.load_stream_prior": _COMPAT,
    "mole.save_stream_prior": _COMPAT,
    "mole.estimators.load_stream_prior": _COMPAT,
    "mole.estimators.save_stream_prior": _COMPAT,
    "mole.readout.load_readout_prior": _COMPAT,
    "mole.readout.save_readout_prior": _COMPAT,
    "mole.readout.file.load_readout_prior": _COMPAT,
    "mole.readout.file.save_readout_prior": _COMPAT,
    "mole.shipped.shipped_priors": _COMPAT,
    "mole.zoo.load": _COMPAT,
}
"""Old name of a function without a direct replacement → the module that keeps it. The function warns when called."""


def renamed(old: str, new: str) -> str:
    """The warning about an old name."""
    return f"{old} is {new} now; the old name goes in version 0.3. Change the name."


def old_name(module: str, name: str) -> Any:
    """What ``name`` meant in ``module``, for the ``__getattr__`` of a module.

    Raises:
        AttributeError: if it meant nothing.
    """
    old = f"{module}.{name}"
    if old in KEPT:
        return getattr(importlib.import_module(KEPT[old]), name)
    if old in RENAMED:
        _warn(renamed(old, RENAMED[old]))
        place, _, new = RENAMED[old].rpartition(".")
        return getattr(importlib.import_module(place), new)
    if old in MOVED:
        return importlib.import_module(old)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


class _Finder:
    """Finds an old path as a module of its own that passes every name on to the new module.

    It is no subclass of the abstract finder and loader: to import `importlib.abc` takes longer than `import mole`.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        is_package = any(old.startswith(f"{fullname}.") for old in MOVED)
        return ModuleSpec(fullname, self, is_package=is_package)  # pyright: ignore[reportArgumentType]

    def create_module(self, spec: ModuleSpec) -> None:
        """A module as usual."""

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, MOVED[module.__name__]
        target = importlib.import_module(new)
        # A package is also imported on the way to its modules, which may have moved elsewhere. So it warns
        # when a name of it is used, not when it is imported.
        warned = not hasattr(module, "__path__")
        if warned:
            _warn(renamed(old, new))

        def __getattr__(name: str) -> Any:
            nonlocal warned
            if f"{old}.{name}" in KEPT:
                return old_name(old, name)
            # The import system asks for dunder names by itself, which is no use of the old path.
            if name.startswith("__") and name != "__all__":
                raise AttributeError(f"module {old!r} has no attribute {name!r}")
            value = getattr(target, name)
            if not warned:
                warned = True
                _warn(renamed(old, new))
            return value

        vars(module).update(__getattr__=__getattr__)


def _warn(text: str) -> None:
    """Warn at the user's line with the old name."""
    # No `stacklevel`: how many frames of the import system are in between depends on the import.
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        ("importlib", "mole._")
    ):
        frame = frame.f_back
    place = (frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__"))
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(text, DeprecationWarning, *place, registry=registry)


def install() -> None:
    """Make the old paths importable. A second call changes nothing."""
    # Last in the list, so that modules which exist are found as usual.
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
