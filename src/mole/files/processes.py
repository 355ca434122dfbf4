"""Processes that end in order: signals take effect between two steps, and workers end with their parent.

At Ctrl-C or SIGTERM a run saves and leaves. It does so between two rows, steps or iterations, never within one, so that
what was learned and what was written agree.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeVar

import jax

from mole.files.generations import tell_in_one_line

__all__ = [
    "PROCESSES",
    "SPAWN",
    "Failure",
    "Interrupts",
    "Terminated",
    "WorkerLost",
    "Workers",
    "available_cores",
    "obey",
    "terminable",
    "worker_pool",
]

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM. It is a KeyboardInterrupt, so that what is saved at Ctrl-C is saved at SIGTERM too."""


@contextmanager
def terminable() -> Iterator[None]:
    """In this block SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


_stop: Any = None  # in a worker process: the event by which its parent tells it to leave


def obey(stop: Any) -> None:
    """Make this worker process leave when its parent sets the event ``stop``, and ignore signals.

    A terminal sends Ctrl-C, and a service manager SIGTERM, to all processes at once. The parent has the signal too, and
    decides when its workers leave.
    """
    global _stop
    _stop = stop
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)


class Interrupts:
    """While entered, defers Ctrl-C and SIGTERM, so that a step can end; a second signal acts at once.

    The signal is not raised again on exit: ask `asked`, or call `raise_if_asked`.
    """

    def __init__(self) -> None:
        """No signal has come yet."""
        self._signal: signal.Signals | None = None
        self._waiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        """Take the signals; only the main thread can, and a worker leaves them to its parent."""
        if threading.current_thread() is threading.main_thread() and _stop is None:
            self._before = {one: signal.signal(one, self._handle) for one in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for one, handler in self._before.items():
            signal.signal(one, handler)

    @property
    def asked(self) -> bool:
        """Whether to save and leave."""
        return self._signal is not None or (_stop is not None and _stop.is_set())

    def until_asked(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until a signal comes. A signal that comes during the wait for the next item ends the wait."""
        iterator = iter(items)
        while not self.asked:
            try:
                self._waiting = True
                item = next(iterator)
            except (StopIteration, _AskedError):
                return
            finally:
                self._waiting = False
            yield item

    def raise_if_asked(self) -> None:
        """Raise what the signal means: KeyboardInterrupt, or `Terminated`; nothing if there was none."""
        if self.asked:
            raise Terminated if self._signal is signal.SIGTERM else KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # The step may hang: a second signal has the usual effect, at once.
        if self._signal is not None:
            self.__exit__()
            signal.raise_signal(number)
        self._signal = signal.Signals(number)
        # The next row may never come, and between two items nothing can be lost.
        if self._waiting:
            raise _AskedError


class _AskedError(BaseException):
    pass


SPAWN = multiprocessing.get_context("spawn")
"""Starts workers, and must make their queues: a fork of a process that runs JAX may hang."""

_CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


class Failure(RuntimeError):
    """The command could not finish, for a reason outside of the program; it says why in one line.

    Attributes:
        status: exit status of the command; 1 if some results are there, 2 if none is.
    """

    status: int = 2


class WorkerLost(Failure):
    """A worker process ended without an error of its own: it was killed."""


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_pool(
    count: int, start: Callable[..., None] | None = None, *args: Any, platform: str | None = None
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``count`` processes, each pinned to one core (in turn, if there are fewer cores).

    Two XLA thread pools on the same cores slow each other down; and with one thread each, the results do not depend on
    the number of processes. Workers use the parent's compilation cache. When the block is left by an error, running
    jobs that keep checkpoints write them and leave.

    Args:
        count: processes.
        start: called in every process before its first job.
        args: its arguments.
        platform: of JAX in the workers; whatever JAX finds if None.

    Raises:
        ValueError: if ``count`` is less than one.
        WorkerLost: if a process is killed.
    """
    if count < 1:
        raise ValueError(f"got workers={count}; expected at least 1.")
    # No `multiprocessing.Manager`: its process would outlive a parent that is killed.
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


class Workers(NamedTuple):
    """Where the jobs of a command run.

    Attributes:
        pool: makes a pool of workers, as `worker_pool` does.
        queue: makes a queue by which they say how far they are.
        cores: how many can run at once; None if the user says how many.
    """

    pool: Callable[..., AbstractContextManager[Executor]]
    queue: Callable[[], Any]
    cores: int | None = None


PROCESSES = Workers(worker_pool, SPAWN.Queue)
"""Processes of this machine."""


def _begin(
    cores: Any,
    stop: Any,
    parent: int,
    settings: dict[str, Any],
    start: Callable[..., None] | None,
    args: tuple[Any, ...],
) -> None:
    # First: the parent may be gone before the rest is done.
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    tell_in_one_line()
    obey(stop)
    # Pinned before JAX starts: XLA makes as many threads as there are cores then.
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
