"""Ctrl-C and SIGTERM between two rows, never within one: what is learned and what is written stay together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

__all__ = ["Interrupts"]

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Takes the signals while it is entered; at the second one they act as before.

    Attributes:
        asked: whether there was one.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.asked = self._waiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        """Take the signals; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._handle) for one in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for one, handler in self._before.items():
            signal.signal(one, handler)

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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self.__exit__()
            signal.raise_signal(number)
        self.asked = True
        if self._waiting:
            raise _AskedError


class _AskedError(BaseException):
    pass
