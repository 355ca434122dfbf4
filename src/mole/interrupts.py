"""Ctrl-C and SIGTERM: a run saves what it has and leaves.

Between two rows, steps or iterations, never within one: what is learned and what is written stay together.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

__all__ = ["Interrupts", "Terminated", "obey", "terminable"]

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM; whoever saves something at Ctrl-C saves it then too."""


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


_stop: Any = None  # in a worker process: the event by which its parent asks


def obey(stop: Any) -> None:
    """In a worker process: leave when the parent sets the event ``stop``, and not at signals, which the parent has too.

    A terminal sends Ctrl-C, and a service manager SIGTERM, to all processes at once; the parent says when to leave.
    """
    global _stop
    _stop = stop
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)


class Interrupts:
    """Takes the signals while it is entered; at the second one they act as before."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._signal: signal.Signals | None = None
        self._waiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        """Take the signals; only the main thread can, and a worker leaves them to its parent."""
        if threading.current_thread() is threading.main_thread() and _stop is None:
            self._before = {one: signal.signal(one, self._handle) for one in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for one, handler in self._before.items():
            signal.signal(one, handler)

    @property
    def asked(self) -> bool:
        """Whether to save and leave."""
        return self._signal is not None or (_stop is not None and _stop.is_set())

    def until_asked(self, items: Iterable[T]) -> Iterator[T]:
        """The items until a signal comes; one that comes while the next item is waited for ends the wait."""
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
        if self._signal is not None:
            self.__exit__()
            signal.raise_signal(number)
        self._signal = signal.Signals(number)
        if self._waiting:
            raise _AskedError


class _AskedError(BaseException):
    pass
