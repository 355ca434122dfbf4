"""The methods that an evaluation compares: one record each in `TABLE`, from which everything else is derived.

What `mole eval` runs unless told otherwise, what `mole tune` tries, the help of ``--methods``, and the colours and the
order of a report are read from the records: a new method is one record here and one row in ``tests/test_evaluate.py``.
What ``METHOD/ABLATION`` means is in `mole.experiment.learners`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mole._expect import did_you_mean
from mole.online import Continuous, KShot, Mixture, OnlineLearner, Oracle, Static
from mole.readout import ReadoutMixture

__all__ = [
    "BY_NAME",
    "METHODS",
    "PRIVILEGED",
    "SIMULATOR",
    "TABLE",
    "TUNED",
    "UNTUNED",
    "Method",
    "PriorKind",
    "method_of",
]

Settings = Mapping[str, Any]
PriorKind = Literal["meta", "supervised", "first-order", "readout"]
"""Meta-trained, trained without an inner step, meta-trained without second derivatives, or of Bayesian readouts."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A method, and everything that commands, tables and figures have to know of it.

    Attributes:
        name: in commands, records, tables and figures.
        text: what it is, in one line.
        learner: makes its learner from a prior and settings; None if it plans with the simulator and learns nothing.
        prior: which prior it starts from.
        tuned: settings that differ from the learner's defaults, tuned on the half-cheetah's motors.
        untuned: settings in worlds that it was not tuned for; those of ``tuned`` if None.
        trials: what `mole tune` tries, the same number for every method that has settings. Margins are those for the
            18 dimensions of the half-cheetah (`mole.experiment.tune.trials_of`).
        default: whether it is compared unless other methods are asked for.
        ablations: those that the suite ``ablations`` runs; a method without any cannot be ablated.
        knows: what an agent cannot know in earnest: the true task, or the true system. Such a method is an upper bound:
            shown, but not ranked.
        order: place in the tables and figures of a report, from the top.
        colour: on a light and on a dark page; one of the spare colours of `mole.report.style` if None.
        dash: Matplotlib's dashes, for lines that would otherwise be mistaken for another; solid if None.
    """

    name: str
    text: str
    learner: Callable[..., OnlineLearner] | None
    _: dataclasses.KW_ONLY
    prior: PriorKind = "meta"
    tuned: Settings = dataclasses.field(default_factory=dict)
    untuned: Settings | None = None
    trials: tuple[Settings, ...] = ()
    default: bool = True
    ablations: tuple[str, ...] = ()
    knows: Literal["task", "system"] | None = None
    order: int
    colour: tuple[str, str] | None = None
    dash: tuple[float, float] | None = None

    @property
    def adapts(self) -> bool:
        """Whether it adapts a meta-trained prior and knows no more than the stream."""
        return self.prior == "meta" and self.knows is None


def _step_scales(*scales: float) -> tuple[Settings, ...]:
    return tuple({"step_scale": scale} for scale in scales)


# An evaluation runs the methods in this order, that of the paper's argument; reports sort by ``order``.
TABLE: tuple[Method, ...] = (
    Method(
        "mole",
        "our rule: the newest pair alone under a calibrated density, a sticky prior over tasks, hard assignment",
        Mixture,
        tuned={"step_scale": 0.2, "margin": 40.0},
        untuned={
            "step_scale": 0.2
        },  # a margin by the dimensions: the tuned one is right for 18 of them alone
        trials=tuple(
            {"step_scale": scale, "margin": margin}
            for scale, margin in (
                *((0.1, 40.0), (0.05, 40.0), (0.2, 40.0), (0.1, 25.0)),
                *((0.1, 60.0), (0.2, 60.0), (0.1, 20.0), (0.1, 10.0)),
            )
        ),
        ablations=(
            *("no-crp", "crp", "no-mixture", "no-meta", "same-data", "first-order", "window=8", "window=32"),
            *("likelihood-window=2", "likelihood-window=4", "likelihood-window=16"),
            *("step-scale=0", "step-scale=0.05", "step-scale=1", "temperature=0.1", "temperature=10"),
            *("capacity=2", "capacity=20", "planner=shooting", "planner=mppi"),
        ),
        order=1,
        colour=("#0a5fb4", "#5eaeff"),
    ),
    Method(
        "mole-paper",
        "the paper's rule: a window of pairs, the Chinese-restaurant prior, soft assignment",
        Mixture.paper,
        tuned={"step_scale": 1.0, "temperature": 0.02},
        trials=tuple(
            {"step_scale": scale, "temperature": temperature}
            for scale, temperature in (
                *((0.1, 0.02), (0.03, 0.02), (0.3, 0.02), (1.0, 0.02)),
                *((0.1, 0.1), (0.1, 0.005), (0.03, 0.1), (0.3, 0.1)),
            )
        ),
        ablations=(
            *("no-crp", "no-mixture", "no-meta", "same-data", "first-order", "likelihood-window=6"),
            *("step-scale=0.1", "temperature=0.002", "temperature=0.2"),
        ),
        order=2,
        colour=("#0b9aa8", "#1fb8c6"),
        dash=(7.0, 1.6),
    ),
    Method(
        "kshot",
        "adapts the meta-trained prior anew to the last k pairs at every step",
        KShot,
        tuned={"window": 16},
        untuned={},  # the window of its prior
        trials=(
            *({"window": 32}, {"window": 16}, {"window": 8}, {"window": 24}),
            {"window": 32, "steps": 2, "step_scale": 0.5},
            {"window": 16, "steps": 2, "step_scale": 0.5},
            *({"window": 12}, {"window": 8, "step_scale": 0.5}),
        ),
        order=3,
        colour=("#c97a06", "#f5b04a"),
    ),
    Method(
        "continuous",
        "takes gradient steps from the meta-trained prior without end",
        Continuous,
        tuned={"step_scale": 0.1},
        trials=(
            *_step_scales(0.1, 0.03, 0.3, 1.0),
            {"step_scale": 0.1, "window": 32},
            {"step_scale": 0.3, "window": 32},
            {"step_scale": 0.3, "window": 8},
            *_step_scales(0.6),
        ),
        order=4,
        colour=("#b0307a", "#f284bd"),
    ),
    Method(
        "supervised",
        "the supervised baseline: the same data without an inner step, and no adaptation",
        Static,
        prior="supervised",
        order=6,
        colour=("#8d8a86", "#827e7a"),
    ),
    Method(
        "supervised-sgd",
        "online SGD from the supervised prior",
        Continuous,
        prior="supervised",
        tuned={"step_scale": 1.0},
        trials=_step_scales(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 0.01, 0.2),
        order=5,
        colour=("#7d4f2e", "#d9a87f"),
        dash=(4.0, 1.8),
    ),
    Method(
        "oracle",
        "an upper bound: told the true task, it keeps one model for each",
        # More slots than any schedule has tasks; a later task would share the last one.
        lambda prior, **settings: Oracle(prior, 32, **settings),
        tuned={"step_scale": 0.5},
        trials=_step_scales(0.1, 0.03, 0.05, 0.2, 0.3, 0.5, 0.01, 1.0),
        knows="task",
        order=0,
        colour=("#333d4b", "#e2e8f0"),
        dash=(1.0, 1.6),
    ),
    Method(
        "simulator",
        "the limit of the planner: the simulator itself is the model, and nothing is learned",
        None,
        default=False,
        knows="system",
        order=8,
    ),
    Method(
        "mole-readout",
        "a mixture of Bayesian readouts of shared features (--readout-prior)",
        ReadoutMixture,
        # With its defaults: nobody has tuned it for control, so that it is not among the methods compared.
        prior="readout",
        default=False,
        order=7,
        colour=("#9c3dcc", "#a64dff"),
    ),
)
"""All methods."""

BY_NAME = {method.name: method for method in TABLE}
METHODS = tuple(method.name for method in TABLE if method.default)
"""Those that are compared unless others are asked for: our rule, the paper's, its baselines, and the upper bound."""
SIMULATOR = "simulator"
"""The method that plans with the true system, and needs no learner."""
PRIVILEGED = tuple(method.name for method in TABLE if method.knows is not None)
"""Methods that know what no agent can: shown, but not ranked."""
TUNED: dict[str, Settings] = {method.name: method.tuned for method in TABLE if method.default}
"""Tuned settings of each method, all chosen by `mole tune` with the same number of trials, on a validation schedule and
seeds that no test uses (`docs/results.md` has the command and the scores)."""
UNTUNED = {method.name: method.untuned for method in TABLE if method.untuned is not None}
"""In worlds that nothing was tuned for, in the place of `TUNED`."""


def method_of(name: str) -> Method:
    """The record of a method.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name not in BY_NAME:
        raise ValueError(f"unknown method {name!r}: {did_you_mean(name, BY_NAME)}")
    return BY_NAME[name]
