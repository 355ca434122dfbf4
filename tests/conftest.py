"""Strictness for all tests: checked annotations, no implicit broadcasting, the same examples every time."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

# MuJoCo reads this once, when it is imported. Without EGL it must not look for a display.
os.environ.setdefault("MUJOCO_GL", "egl" if ctypes.util.find_library("EGL") else "disabled")
# Most of the suite's time was XLA compiling small programs: it compiles them to slower ones in a third of the time, and
# all workers, commands and later runs share what was compiled (`make clean` removes it).
# `XLA_FLAGS= make test` tests what users' machines run.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "programs")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import hypothesis
import jax
import jaxtyping
import pytest

jaxtyping.install_import_hook("mole", "checked_types.check")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile("mole", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("mole")

# These have environments of their own: make test-peers, make test-distributed.
_OWN = {"peers": "stable_baselines3", "distributed": "ray"}
collect_ignore = [folder for folder, package in _OWN.items() if not importlib.util.find_spec(package)]

_compiled: list[str] = []


def _note(event: str, _seconds: float, **_: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(event)


jax.monitoring.register_event_duration_secs_listener(_note)

CountCompiles = Callable[[], AbstractContextManager[Callable[[], int]]]


@pytest.fixture
def count_compiles() -> CountCompiles:
    """Count what XLA compiles: ``with count_compiles() as count: f(x)``, then ``assert count() == 0``."""

    @contextmanager
    def counting() -> Iterator[Callable[[], int]]:
        before = len(_compiled)
        yield lambda: len(_compiled) - before

    return counting


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the run-time check of annotations off: to test what mole itself says about a wrong type."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module", autouse=True)
def _forget_what_was_compiled() -> Iterator[None]:
    """Whether a module passes depends on no other; and the programs of all of them are gigabytes."""
    yield
    jax.clear_caches()
