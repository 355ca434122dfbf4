"""The options of a run that decide its predictions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["StreamSettings"]


@dataclass(frozen=True)
class StreamSettings:
    """All options that decide the predictions of a run. A checkpoint continues only with equal ones.

    Attributes:
        target: column to predict.
        kind: ``regression``, ``classification`` or ``forecast``.
        features: columns to predict from; all others if None.
        level: of the intervals, 0.9 for 90 %.
        seed: of the estimator.
        prior: name and sha256 of the prior file; None without one.
        labels: which the prior knows; rows with others are bad. None if labels may appear at any time.
        label_delay: rows after which a target becomes known: that of row 1 before row 1 + ``label_delay`` is predicted.
            With 1, or 0, before the next row.
        label_seconds: the same as a time, by ``clock``; one of both is 0.
        clock: column of times that it is told by; the first column with a time if None.
        key: column that says whose a row is: each has a mixture of its own. None if all rows are of one.
        background: whether no row waits for a new prior of the estimator.
    """

    target: str
    kind: str
    features: tuple[str, ...] | None = None
    level: float = 0.9
    seed: int = 0
    prior: str | None = None
    labels: tuple[int | str | bool, ...] | None = None
    label_delay: int = 0
    label_seconds: float = 0.0
    clock: str | None = None
    background: bool = True
    key: str | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.kind not in ("regression", "classification", "forecast"):
            raise ValueError(f"got task {self.kind!r}, expected 'regression', 'classification' or 'forecast'")
        if not 0 < self.level < 1:
            raise ValueError(f"got level {self.level}, expected a share between 0 and 1, such as 0.9")
        if self.features is not None and (not self.features or self.target in self.features):
            raise ValueError(
                f"got features {self.features}, expected one or more, without the target {self.target!r}"
            )

        if self.key is not None and (self.kind != "regression" or self.label_delay or self.label_seconds):
            raise ValueError(
                f"got --key {self.key} for a {self.kind}, or with a --label-delay; expected a number as the target, "
                "known at once: other streams are learned without keys so far"
            )
        if self.key is not None and self.key in (self.target, *(self.features or ())):
            raise ValueError(
                f"got --key {self.key}; expected a column that is neither the target nor an input"
            )

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint holds them, where the kind is called by the name of its option."""
        data = asdict(self)
        for name in ("label_delay", "label_seconds", "clock", "key"):
            if not data[name]:
                del data[name]  # files of runs without one are as they were in 0.1
        if self.background:
            del data["background"]  # likewise; what an estimator does is in its own part of the file
        return {"target": data.pop("target"), "task": data.pop("kind"), **data}
