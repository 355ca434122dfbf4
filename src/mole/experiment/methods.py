"""The methods that are compared, by name, each with its tuned settings.

All settings were chosen by `mole tune` with the same number of trials for every method, on a validation schedule and
seeds that no test uses (`docs/results.md` has the command and the scores).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mole.online import Continuous, KShot, Mixture, OnlineLearner, Oracle, Static
from mole.prior import MetaPrior

__all__ = ["METHODS", "TUNED", "Priors", "learner_for"]

METHODS = ("mole", "mole-paper", "kshot", "continuous", "supervised", "supervised-sgd", "oracle")
"""Our rule, the paper's, its baselines, and the upper bound."""

TUNED: dict[str, dict[str, Any]] = {
    "mole": {"step_scale": 0.2, "margin": 40.0},
    "mole-paper": {"step_scale": 1.0, "temperature": 0.02},
    "kshot": {"window": 16},
    "continuous": {"step_scale": 0.1},
    "supervised": {},
    "supervised-sgd": {"step_scale": 1.0},
    "oracle": {"step_scale": 0.5},
}
"""Settings of each method that differ from its defaults."""

_ORACLE_SLOTS = 32


@dataclasses.dataclass(frozen=True)
class Priors:
    """The two priors that were trained on the same data.

    Attributes:
        meta: meta-trained.
        supervised: its twin without an inner step.
    """

    meta: MetaPrior
    supervised: MetaPrior


def learner_for(method: str, priors: Priors, settings: Mapping[str, Any] | None = None) -> OnlineLearner:
    """The learner of a method.

    Args:
        method: one of `METHODS`.
        priors: what it starts from.
        settings: instead of the tuned ones.

    Raises:
        ValueError: for an unknown method.
        TypeError: for a setting that the method does not have.
    """
    chosen: dict[str, Any] = dict(TUNED.get(method, {}) if settings is None else settings)
    if method == "mole":
        return Mixture(priors.meta, **chosen)
    if method == "mole-paper":
        return Mixture.paper(priors.meta, **chosen)
    if method == "kshot":
        return KShot(priors.meta, **chosen)
    if method == "continuous":
        return Continuous(priors.meta, **chosen)
    if method == "supervised":
        return Static(priors.supervised, **chosen)
    if method == "supervised-sgd":
        return Continuous(priors.supervised, **chosen)
    if method == "oracle":
        return Oracle(priors.meta, _ORACLE_SLOTS, **chosen)
    raise ValueError(f"got the method {method!r}; expected one of {', '.join(METHODS)}.")
