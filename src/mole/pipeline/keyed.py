"""Rows of many keys: each row is checked by itself, and a batch of them is one step of a `mole.KeyedFleet`.

The fleet gives the same whatever the batches are, so a run can be saved after any of them and goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mole.estimators.step import Step
from mole.pipeline.runner import Outcome, StreamRun
from mole.pipeline.settings import StreamSettings
from mole.pipeline.sources import Row
from mole.rows.checks import Checked
from mole.rows.values import shown

__all__ = ["KeyedRun"]


class KeyedRun(StreamRun):
    """A fleet on a stream of rows that say whose they are.

    Args:
        settings: with a ``key``.
        estimator: a `mole.KeyedFleet` that has learned nothing yet.
    """

    def __init__(self, settings: StreamSettings, estimator: Any) -> None:
        """See the class."""
        super().__init__(settings, estimator)
        self._key = settings.key or ""
        self._kind: type | None = None

    def steps(self, rows: Sequence[Row], *, strict: bool = False) -> list[Outcome]:
        """Predict, then learn some rows.

        Raises:
            BadRowError: for a bad row, if ``strict``; nothing is learned from these rows then.
        """
        # Of every row: its number, what is wrong with it, and the pair with its key if it can be learned from.
        counted: list[tuple[int, str, tuple[Any, Any, Any] | None]] = []
        for row in rows:
            checked, note = self._counted(row, strict)
            pair = None
            if checked is not None and checked.x is not None and row.values is not None:
                pair = checked.x, checked.y, row.values[self._key]
            counted.append((self.rows, note, pair))
        pairs = [pair for *_, pair in counted if pair is not None]
        done: Iterator[Step] = iter(())
        if pairs:
            xs, ys, keys = (list(column) for column in zip(*pairs, strict=True))
            done = iter(self.estimator.step(xs, ys, keys=keys).rows())
        outcomes = []
        for number, note, pair in counted:
            if pair is None:
                self.digest.add(number)  # so that the curves keep the row numbers of the input
                outcomes.append(Outcome(number, note=note))
            else:
                self.learned += pair[1] is not None
                outcomes.append(self._outcome(number, next(done), pair[1], note, [])._replace(key=pair[2]))
        return outcomes

    def _checked(self, values: Mapping[str, Any]) -> Checked:
        key = values.get(self._key)
        kind = type(key)
        if kind not in (str, int) or key == "":
            got = "has no value of" if key in (None, "") else f"has {shown(key)} as"
            return Checked(None, None, "no key", f"{got} the key {self._key!r}: text, or a whole number")
        if self._kind not in (None, kind):
            words = {str: "text", int: "whole numbers"}
            detail = f"has {shown(key)} as the key {self._key!r}, which so far was {words[self._kind]}"
            return Checked(None, None, "key of another kind", detail)
        self._kind = kind
        return super()._checked({name: value for name, value in values.items() if name != self._key})

    def to_json(self) -> dict[str, Any]:
        """As of `StreamRun`."""
        return {**super().to_json(), "kind": None if self._kind is None else self._kind.__name__}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken."""
        super().restore(data)
        self._kind = {None: None, "str": str, "int": int}[data["kind"]]
