"""Ablations: a method with one part taken away or one number changed, named ``METHOD/ABLATION``.

``mole/no-crp`` is `mole` with a uniform prior over tasks, ``mole-paper/window=8`` the paper's rule with k = 8. A
switch stands alone (`SWITCHES`), a knob has a value (`KNOBS`); everything else of the method stays as it was tuned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from mole._expect import did_you_mean
from mole.planning.config import PLANNERS

__all__ = ["ABLATED", "KNOBS", "SUITE", "SWITCHES", "Ablation", "ablated", "ablation", "base_of"]

ABLATED = ("mole", "mole-paper")
"""Methods that can be ablated: the mixtures."""


class Ablation(NamedTuple):
    """What differs from the method itself.

    Attributes:
        text: what was done, for tables.
        settings: of the learner, in the place of the tuned ones.
        prior: which prior it starts from.
        planner: which planner it has.
    """

    text: str
    settings: Mapping[str, Any] = {}
    prior: Literal["meta", "supervised", "first-order"] = "meta"
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

SUITE: dict[str, tuple[str, ...]] = {
    "mole": (
        *SWITCHES,
        *(f"window={k}" for k in (8, 32)),
        *(f"likelihood-window={n}" for n in (2, 4, 16)),
        *(f"step-scale={s:g}" for s in (0, 0.05, 1)),
        *(f"temperature={t:g}" for t in (0.1, 10)),
        *(f"capacity={n}" for n in (2, 20)),
        "planner=shooting",
        "planner=mppi",
    ),
    "mole-paper": (
        *(name for name in SWITCHES if name != "crp"),
        "likelihood-window=6",
        "step-scale=0.1",
        "temperature=0.002",
        "temperature=0.2",
    ),
}
"""What the suite ``ablations`` runs of each method."""


def base_of(method: str) -> str:
    """``mole`` of ``mole/no-crp``, and any other name itself."""
    return method.split("/", 1)[0]


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
        raise ValueError(f"ablation {name!r} lacks its value; expected for example '{_example(knob)}'.")
    if knob == "planner":
        if text not in PLANNERS:
            raise ValueError(f"unknown planner in {name!r}: {did_you_mean(text, PLANNERS)}")
        return Ablation(f"{meaning} {text}", planner=text)
    return Ablation(f"{meaning} {text}", {setting: _number(name, text)})


def _example(knob: str) -> str:
    return next((name for name in SUITE["mole"] if name.startswith(f"{knob}=")), f"{knob}=10")


def _number(name: str, text: str) -> int | float:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"ablation {name!r} has the value {text!r}; expected a number.")  # noqa: TRY004
    return value
