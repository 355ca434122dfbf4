"""Module paths that the documents of version 0.1 named: they work until 0.3, with a warning that says the new path."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "install", "renamed"]

MOVED = {
    "mole.checkpoint": "mole.files.checkpoint",
    "mole.control.episode_file": "mole.control.resume",
    "mole.envs.half_cheetah": "mole.envs.cheetah.motors",
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
"""Old path → new path."""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an old path as a module that hands everything on to the new one, which keeps its own name and spec."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        is_package = any(old.startswith(f"{fullname}.") for old in MOVED)
        return importlib.util.spec_from_loader(fullname, self, is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        warnings.warn(renamed(old, MOVED[old]), DeprecationWarning, stacklevel=2)
        new = importlib.import_module(MOVED[old])

        def __getattr__(name: str) -> Any:
            return getattr(new, name)

        vars(module).update(__getattr__=__getattr__, __doc__=new.__doc__)
        if hasattr(new, "__all__"):
            vars(module)["__all__"] = new.__all__


def renamed(old: str, new: str) -> str:
    """The warning about an old name."""
    return f"{old} is {new} now; the old name goes in version 0.3. Change the name."


def install() -> None:
    """Make the old paths importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
