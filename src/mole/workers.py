"""Worker processes of one core each, which end with their parent, and a clear error when one of them is lost."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import jax

from mole.generations import tell_in_one_line
from mole.interrupts import obey

__all__ = ["SPAWN", "WorkerLost", "available_cores", "worker_pool"]

SPAWN = multiprocessing.get_context("spawn")
"""How workers are made, and what their queues must be made with: a fork of a process that runs JAX may hang."""

_CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


class WorkerLost(RuntimeError):
    """A worker process ended without a word."""


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_pool(
    count: int, start: Callable[..., None] | None = None, *args: Any, platform: str | None = None
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``count`` processes, each pinned to one core (in turn, if there are fewer cores).

    Two XLA thread pools on the same cores slow each other down; and with one thread everywhere the numbers do not
    depend on how many processes there are. What was compiled is kept where the parent keeps it. When the block is left
    early, jobs that run and keep checkpoints write them and leave.

    Args:
        count: processes.
        start: called in every process before its first job.
        args: its arguments.
        platform: of JAX in the workers; whatever JAX finds if None.

    Raises:
        ValueError: if there is no worker.
        WorkerLost: if a process is killed.
    """
    if count < 1:
        raise ValueError(f"got workers={count}; expected at least 1.")
    # No manager: its process would outlive a parent that is killed.
    cores, stop = SPAWN.Queue(), SPAWN.Event()
    for core in range(count):
        cores.put(core)
    settings = {name: getattr(jax.config, name) for name in _CACHE}
    if platform is not None:
        settings["jax_platforms"] = platform
    begin = (cores, stop, os.getpid(), settings, start, args)
    with ProcessPoolExecutor(count, mp_context=SPAWN, initializer=_begin, initargs=begin) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise WorkerLost(
                "a worker process ended without a word: it was killed, perhaps for want of memory. What was finished "
                "is kept: run it again to go on, with fewer workers if memory was short."
            ) from error
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(
    cores: Any,
    stop: Any,
    parent: int,
    settings: dict[str, Any],
    start: Callable[..., None] | None,
    args: tuple[Any, ...],
) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    tell_in_one_line()
    obey(stop)
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if available:
        os.sched_setaffinity(0, {available[cores.get() % len(available)]})
    for name, value in settings.items():
        jax.config.update(name, value)
    if start is not None:
        start(*args)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, even if that was killed and could not say so."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
