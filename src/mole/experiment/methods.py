"""The methods that are compared, by name, each with its tuned settings.

All settings were chosen by `mole tune` with the same number of trials for every method, on a validation schedule and
seeds that no test uses (`docs/results.md` has the command and the scores).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from mole._expect import did_you_mean
from mole.experiment.ablations import ablation, base_of
from mole.learning.prior import MetaPrior
from mole.online import Continuous, KShot, Mixture, OnlineLearner, Oracle, Static

__all__ = [
    "METHODS",
    "SIMULATOR",
    "TUNED",
    "UNTUNED",
    "Priors",
    "check_method",
    "learner_for",
    "settings_for",
]

METHODS = ("mole", "mole-paper", "kshot", "continuous", "supervised", "supervised-sgd", "oracle")
"""Our rule, the paper's, its baselines, and the upper bound."""

SIMULATOR = "simulator"
"""The simulator itself as the planner's model: known dynamics, no learner, the limit of the planner."""

TUNED: dict[str, dict[str, Any]] = {
    "mole": {"step_scale": 0.2, "margin": 40.0},
    "mole-paper": {"step_scale": 1.0, "temperature": 0.02},
    "kshot": {"window": 16},
    "continuous": {"step_scale": 0.1},
    "supervised": {},
    "supervised-sgd": {"step_scale": 1.0},
    "oracle": {"step_scale": 0.5},
}
"""Settings of each method that differ from its defaults, tuned on the half-cheetah's motors."""

UNTUNED: dict[str, dict[str, Any]] = {"mole": {"step_scale": 0.2}, "kshot": {}}
"""In other worlds, in the place of `TUNED`: a margin by the dimensions, and for k-shot the window of its prior."""

_ORACLE_SLOTS = 32


@dataclasses.dataclass(frozen=True)
class Priors:
    """The two priors that were trained on the same data.

    Attributes:
        meta: meta-trained.
        supervised: its twin without an inner step.
        first_order: meta-trained without second derivatives, for the ablation of that name.
    """

    meta: MetaPrior
    supervised: MetaPrior
    first_order: MetaPrior | None = None


def check_method(method: str) -> None:
    """Raise ValueError for an unknown method or ablation, naming the nearest known one."""
    base = base_of(method)
    if base not in (*METHODS, SIMULATOR):
        raise ValueError(f"unknown method {base!r}: {did_you_mean(base, (*METHODS, SIMULATOR))}")
    ablation(method)


def settings_for(method: str, tuned: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The settings of a method that differ from its learner's defaults.

    Args:
        method: one of `METHODS`, an ablation of one, or `SIMULATOR` (which has none).
        tuned: a family's own tuned settings, each in the place of all of `TUNED`'s for its method.
    """
    base, change = base_of(method), ablation(method)
    chosen = (tuned or {}).get(base, TUNED.get(base, {}))
    return {**chosen, **({} if change is None else change.settings)}


def learner_for(method: str, priors: Priors, settings: Mapping[str, Any] | None = None) -> OnlineLearner:
    """The learner of a method.

    Args:
        method: one of `METHODS`, or an ablation of one.
        priors: what it starts from.
        settings: instead of the tuned ones (`settings_for`).

    Raises:
        ValueError: for an unknown method or ablation, or a prior that is missing.
        TypeError: for a setting that the method does not have.
    """
    chosen = settings_for(method) if settings is None else dict(settings)
    base, change = base_of(method), ablation(method)
    kind = "meta" if change is None else change.prior
    if kind == "first-order" and priors.first_order is None:
        raise ValueError(
            f"{method} got no prior meta-trained without second derivatives; expected one: pass --first-order PATH."
        )
    prior = {"meta": priors.meta, "supervised": priors.supervised}.get(kind, priors.first_order)
    assert prior is not None
    makers: dict[str, Callable[[], OnlineLearner]] = {
        "mole": lambda: Mixture(prior, **chosen),
        "mole-paper": lambda: Mixture.paper(prior, **chosen),
        "kshot": lambda: KShot(priors.meta, **chosen),
        "continuous": lambda: Continuous(priors.meta, **chosen),
        "supervised": lambda: Static(priors.supervised, **chosen),
        "supervised-sgd": lambda: Continuous(priors.supervised, **chosen),
        "oracle": lambda: Oracle(priors.meta, _ORACLE_SLOTS, **chosen),
    }
    if base not in makers:
        raise ValueError(f"got the method {method!r}; expected one of {', '.join(METHODS)}.")
    return makers[base]()
