"""What the name of a method means: its settings, the prior it starts from, and its learner.

A name is that of a record (`mole.experiment.methods.TABLE`), or METHOD/ABLATION: a mixture with one part taken away or
one number changed. ``mole/no-crp`` is `mole` with a uniform prior over tasks, ``mole-paper/window=8`` the paper's rule
with k = 8. A switch stands alone (`SWITCHES`), a knob has a value (`KNOBS`); everything else of the method stays as it
was tuned.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from mole._expect import did_you_mean
from mole.experiment.methods import TABLE, Method, PriorKind, method_of
from mole.learning.prior import MetaPrior
from mole.online import OnlineLearner
from mole.planning.config import PLANNERS
from mole.readout import ReadoutPrior

__all__ = [
    "ABLATED",
    "KNOBS",
    "SUITE",
    "SWITCHES",
    "Ablation",
    "Priors",
    "ablated",
    "ablation",
    "base_of",
    "check_method",
    "learner_for",
    "prior_kind",
    "settings_for",
]


class Ablation(NamedTuple):
    """What differs from the method itself.

    Attributes:
        text: what was done, for tables.
        settings: of the learner, in the place of the tuned ones.
        prior: which prior it starts from; the method's if None.
        planner: which planner it has.
    """

    text: str
    settings: Mapping[str, Any] = {}
    prior: PriorKind | None = None
    planner: str = "cem"


SWITCHES: dict[str, Ablation] = {
    "no-crp": Ablation(
        "no prior over tasks: all, and a new one, equally probable", {"task_prior": "uniform"}
    ),
    "crp": Ablation("the paper's Chinese-restaurant prior", {"task_prior": "crp"}),
    "no-mixture": Ablation("one task only", {"max_tasks": 1}),
    "no-meta": Ablation("no meta-training: the mixture on the supervised prior", prior="supervised"),
    "same-data": Ablation("a new task is judged on the data it was fitted to", {"judge": "fitted"}),
    "first-order": Ablation("meta-trained without second derivatives", prior="first-order"),
}
"""Ablations that stand alone."""

KNOBS: dict[str, tuple[str, str]] = {
    "window": ("window", "window k"),
    "likelihood-window": ("likelihood_window", "pairs scored in the E-step"),
    "step-scale": ("step_scale", "M-step as a fraction of the inner rate"),
    "temperature": ("temperature", "temperature τ"),
    "capacity": ("max_tasks", "tasks at most"),
    "margin": ("margin", "nats by which a new task must win"),
    "candidate-window": ("candidate_window", "pairs that found a new task"),
    "planner": ("", "planner"),
}
"""Numbers that can be changed: ablation's name → (setting of `Mixture`, what it is)."""

SUITE = {method.name: method.ablations for method in TABLE if method.ablations}
"""What the suite ``ablations`` runs of each method."""
ABLATED = tuple(SUITE)
"""Methods that can be ablated: the mixtures of networks."""


def base_of(method: str) -> str:
    """``mole`` of ``mole/no-crp``, and any other name itself."""
    return method.split("/", 1)[0]


def check_method(method: str) -> Method:
    """The record of a method or of the method that is ablated.

    Raises:
        ValueError: for an unknown method or ablation, with the nearest known one.
    """
    found = method_of(base_of(method))
    ablation(method)
    return found


def ablated(method: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The method and its ablations, each checked.

    Raises:
        ValueError: if the method cannot be ablated, or for an unknown ablation or value.
    """
    made = tuple(f"{method}/{name}" for name in names)
    for name in made:
        ablation(name)
    return (method, *made)


def ablation(method: str) -> Ablation | None:
    """What ``METHOD/ABLATION`` means; None for a method as it is.

    Raises:
        ValueError: if the method cannot be ablated, or for an unknown ablation or value.
    """
    base, slash, name = method.partition("/")
    if not slash:
        return None
    if base not in ABLATED:
        raise ValueError(
            f"got the ablation {method!r}; expected one of {' or '.join(ABLATED)}, the mixtures."
        )
    if name in SWITCHES:
        return SWITCHES[name]
    knob, equals, text = name.partition("=")
    if knob not in KNOBS:
        raise ValueError(f"unknown ablation {name!r}: {did_you_mean(knob, [*SWITCHES, *KNOBS])}")
    setting, meaning = KNOBS[knob]
    if not equals:
        example = next((one for one in SUITE["mole"] if one.startswith(f"{knob}=")), f"{knob}=10")
        raise ValueError(f"ablation {name!r} lacks its value; expected for example '{example}'.")
    if knob == "planner":
        if text not in PLANNERS:
            raise ValueError(f"unknown planner in {name!r}: {did_you_mean(text, PLANNERS)}")
        return Ablation(f"{meaning} {text}", planner=text)
    # A whole number stays one: windows and capacities are counts.
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    # Python counts True as a whole number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"ablation {name!r} has the value {text!r}; expected a number.")  # noqa: TRY004
    return Ablation(f"{meaning} {text}", {setting: value})


@dataclasses.dataclass(frozen=True)
class Priors:
    """The priors that methods start from, all trained on the same data.

    Attributes:
        meta: meta-trained.
        supervised: the supervised baseline's, trained without an inner step.
        first_order: meta-trained without second derivatives, for the ablation of that name.
        readout: shared features and beliefs, for mixtures of readouts.
    """

    meta: MetaPrior
    supervised: MetaPrior
    first_order: MetaPrior | None = None
    readout: ReadoutPrior | None = None


def prior_kind(method: str) -> PriorKind:
    """Which prior a method, or an ablation of one, starts from."""
    change = ablation(method)
    return (change.prior if change is not None else None) or method_of(base_of(method)).prior


def settings_for(method: str, tuned: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The settings of a method that differ from its learner's defaults.

    Args:
        method: the name of a method, or of an ablation of one.
        tuned: a family's own tuned settings, by method; they replace all of the method's record.

    Raises:
        ValueError: for an unknown method or ablation.
    """
    record, change = check_method(method), ablation(method)
    # All of a family's settings or none: half of each was never tried together.
    chosen = (tuned or {}).get(record.name, record.tuned)
    return {**chosen, **({} if change is None else change.settings)}


def learner_for(method: str, priors: Priors, settings: Mapping[str, Any] | None = None) -> OnlineLearner:
    """The learner of a method.

    Args:
        method: the name of a method that has a learner, or of an ablation of one.
        priors: what it starts from.
        settings: instead of the tuned ones (`settings_for`).

    Raises:
        ValueError: for an unknown method or ablation, or a prior that is missing.
        TypeError: for a setting that the method does not have.
    """
    makers = {record.name: record.learner for record in TABLE if record.learner is not None}
    if base_of(method) not in makers:
        raise ValueError(f"got the method {method!r}; expected one of {', '.join(makers)}.")
    chosen = settings_for(method) if settings is None else dict(settings)
    kind = prior_kind(method)
    prior = getattr(priors, kind.replace("-", "_"))
    if prior is None:
        made = {"first-order": "meta-trained without second derivatives", "readout": "of Bayesian readouts"}
        raise ValueError(f"{method} got no prior {made[kind]}; expected one: pass --{_OPTIONS[kind]} PATH.")
    return makers[base_of(method)](prior, **chosen)


_OPTIONS = {"first-order": "first-order", "readout": "readout-prior"}
"""Kind of prior that only some methods need → the option of `mole eval` that names its file."""
