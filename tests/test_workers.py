"""Worker processes: one core each, gone with their parent, and never lost in silence."""

from __future__ import annotations

import os

import jax
import pytest

from mole.files import processes as workers
from mole.files.processes import WorkerLost, available_cores, worker_pool


def told(*words: str) -> None:
    """What a worker is told when it starts."""
    os.environ["MOLE_TEST_WORDS"] = " ".join(words)


def state() -> tuple[int, str, str | None, float]:
    """What a worker finds."""
    settings = jax.config.jax_platforms, jax.config.jax_persistent_cache_min_compile_time_secs
    return available_cores(), os.environ["MOLE_TEST_WORDS"], *settings


def test_a_worker_has_one_core_and_its_parents_settings_and_its_end_is_told() -> None:
    expected = (1, "to begin with", "cpu", jax.config.jax_persistent_cache_min_compile_time_secs)
    lost = r"a worker process ended without a word: .* What was finished is kept: run it again to go on"
    with (
        pytest.raises(WorkerLost, match=lost),
        worker_pool(1, told, "to", "begin", "with", platform="cpu") as pool,
    ):
        assert pool.submit(state).result() == expected
        pool.submit(os._exit, 1).result()


def test_a_worker_ends_when_its_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Exception): ...

    def leave(status: int) -> None:
        raise Gone(status)

    parents = iter([7, 7, 1])
    naps: list[float] = []
    monkeypatch.setattr(workers.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(workers.os, "_exit", leave)
    monkeypatch.setattr(workers.time, "sleep", naps.append)
    with pytest.raises(Gone):
        workers._end_with(7)
    assert len(naps) == 2


def test_a_pool_needs_a_process() -> None:
    with pytest.raises(ValueError, match="got workers=0; expected at least 1"), worker_pool(0):
        pass
