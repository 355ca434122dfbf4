"""A row's key, and the virtual shard that the key belongs to, the same on every machine and in every process."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from mole._expect import expect_type, expect_whole

__all__ = ["Keys", "RowError", "shard_of"]

Key = str | int


class RowError(ValueError):
    """A row has no usable key. All rows before it are learned and committed."""


def shard_of(key: Key, shards: int) -> int:
    """The virtual shard of a key, from 0 to ``shards`` - 1.

    It depends on nothing but the key, its type and the number: the text ``"7"`` and the whole number 7 are two keys.

    Raises:
        TypeError: if the key is no text and no whole number.
        ValueError: if ``shards`` is below 1.
    """
    expect_whole("shard_of", "shards", shards)
    expect_type("shard_of", "key", key, (str, int))
    # Python's own hash of a text differs from process to process.
    tagged = f"s{key}" if isinstance(key, str) else f"i{key}"
    digest = blake2b(tagged.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") % shards


class Keys:
    """Reads the key of each row and insists that all keys are text, or all whole numbers.

    A column that is text in one file and numbers in the next would give one machine two models, without a word.

    Args:
        key: name of the column that holds it, in rows that are mappings, or a function of a row.
        shards: number of virtual shards.
        kind: ``"text"`` or ``"whole numbers"`` if earlier rows have decided it; None for the first row to decide.
    """

    def __init__(self, key: str | Callable[[Any], Any], shards: int, kind: str | None = None) -> None:
        """See the class."""
        self.kind = kind
        self._key, self._shards = key, shards
        self._name = f"column {key!r}" if isinstance(key, str) else "key"
        self._known: dict[Key, int] = {}

    def shard(self, row: Any, number: int) -> int:
        """The shard of a row.

        Args:
            row: as the source gave it.
            number: its number in the source, from 0, for errors.

        Raises:
            RowError: if its key is missing, null, not finite or of another kind than those before.
        """
        value = self._value(row, number)
        # Most rows have a key that was there before: a look-up costs a fifth of the digest.
        if type(value) in (str, int):
            known = self._known.get(value)
            if known is not None:
                return known
        key, kind = self._checked(value, number)
        if self.kind is None:
            self.kind = kind
        elif kind != self.kind:
            raise self._error(number, f"{value!r:.80} ({type(value).__name__})", f"{self.kind}, as before it")
        if len(self._known) >= 1 << 16:  # about 10 MB; a stream may have more keys than this process can hold
            self._known.clear()
        return self._known.setdefault(key, shard_of(key, self._shards))

    def _value(self, row: Any, number: int) -> Any:
        if not isinstance(self._key, str):
            return self._key(row)
        if not isinstance(row, Mapping):
            raise self._error(number, f"a row of type {type(row).__name__}", "a mapping with that column")
        try:
            return row[self._key]
        except KeyError:
            raise self._error(
                number, f"a row with the columns {', '.join(map(str, row))[:200] or '(none)'}", "that column"
            ) from None

    def _checked(self, value: Any, number: int) -> tuple[Key, str]:
        if isinstance(value, str) and value:
            return str(value), "text"
        if not isinstance(value, bool | np.bool_ | str):
            try:
                return operator.index(value), "whole numbers"
            except TypeError:
                pass
        found = "an empty text" if value == "" else f"{value!r:.80} ({type(value).__name__})"
        raise self._error(number, found, "a text or a whole number")

    def _error(self, number: int, got: str, expected: str) -> RowError:
        return RowError(
            f"row {number}: got {got} for the {self._name}; expected {expected}. The rows before it are learned and "
            "kept: mend it in the source, or leave it out there, and run again to go on"
        )
