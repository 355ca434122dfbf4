"""Priors for streams: readouts that are meta-trained on recorded history.

A `StreamPrior` is a `ReadoutPrior` with the columns, units and labels that it was trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np

from mole._expect import expect_choice, expect_type, expect_whole
from mole._types import Trajectory
from mole.learning.prior import MetaPrior
from mole.meta.resume import TrainingFile
from mole.meta.tasks import one_group
from mole.online import Mixture
from mole.readout import ReadoutConfig, ReadoutMixture, ReadoutPrior, train_readout_prior
from mole.rows.encoding import Schema
from mole.rows.scaling import Units, class_normalizer, robust_normalizer

__all__ = ["StreamPrior", "fit_prior", "learner_of"]

Kind = Literal["regression", "classification"]
_USUAL = ReadoutConfig()


@dataclasses.dataclass(frozen=True)
class StreamPrior:
    """A prior over readouts with the meaning of its inputs and targets.

    Attributes:
        prior: features and beliefs.
        kind: regression or classification.
        schema: how rows become inputs; None if inputs are plain vectors.
        labels: classes, in the order of the indicators; empty for regression.
        inputs, targets: units in which plain inputs (without a schema) and targets are learned, where float32 would
            lose their digits; else None.

    Raises:
        TypeError: if ``prior`` is no `mole.ReadoutPrior`.
        ValueError: if the schema does not encode as many inputs as the prior has, or there is not one label per
            indicator.
    """

    prior: ReadoutPrior
    kind: Kind = "regression"
    schema: Schema | None = None
    labels: tuple[int | str | bool, ...] = ()
    inputs: Units | None = None
    targets: Units | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        expect_type("StreamPrior", "prior", self.prior, ReadoutPrior, "mole.fit_prior makes a whole one.")
        expect_choice("StreamPrior", "kind", self.kind, get_args(Kind))
        inputs, indicators = self.prior.input_size, self.prior.target_size
        if self.schema is not None and self.schema.size != inputs:
            raise ValueError(
                f"StreamPrior got a schema of {self.schema.size} inputs with a prior of {inputs}; expected {inputs}. "
                "Give it the schema that the prior was trained with."
            )
        expected = indicators if self.kind == "classification" else 0
        if len(self.labels) != expected:
            raise ValueError(
                f"StreamPrior got {len(self.labels)} labels for {self.kind}; expected {expected}."
            )
        for name, units, size in (("inputs", self.inputs, inputs), ("targets", self.targets, indicators)):
            if units is not None and len(units.offset) != size:
                raise ValueError(f"StreamPrior got units of {len(units.offset)} {name}; expected {size}.")


def learner_of(prior: StreamPrior | ReadoutPrior | MetaPrior, settings: Mapping[str, Any]) -> Any:
    """The mixture for a prior: `mole.Mixture` for a `MetaPrior`, else `mole.readout.ReadoutMixture`.

    Args:
        prior: of any kind.
        settings: of the mixture.

    Raises:
        TypeError: if it is no prior, or a setting is unknown or of another type.
        ValueError: if a setting is out of range.
    """
    expect_type(
        "a mixture", "prior", prior, (StreamPrior, ReadoutPrior, MetaPrior), "mole.fit_prior makes one."
    )
    inner = prior.prior if isinstance(prior, StreamPrior) else prior
    return Mixture(inner, **settings) if isinstance(inner, MetaPrior) else ReadoutMixture(inner, **settings)


def fit_prior(
    trajectories: Sequence[Trajectory],
    *,
    kind: Kind = "regression",
    width: int = 32,
    seed: int = 0,
    schema: Schema | None = None,
    labels: Sequence[int | str | bool] = (),
    config: ReadoutConfig = _USUAL,
    callback: Callable[[int, float], None] | None = None,
    checkpoint: TrainingFile | None = None,
) -> StreamPrior:
    """Meta-train a prior on windows of recorded history (`mole.readout.train_readout_prior`).

    Args:
        trajectories: unbroken segments of (x ``[time, dx]``, y ``[time, dy]``), x as ``schema`` encodes it, y in its
            natural unit or one-hot.
        kind: whether the targets are numbers or one-hot classes.
        width: hidden units of the features.
        seed: of initial weights and windows.
        schema: how rows became x; stored with the prior.
        labels: classes in the order of the indicators.
        config: sizes and rates; its window is shortened to the longest segment.
        callback: as in `train_readout_prior`.
        checkpoint: as in `train_readout_prior`.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no history, it is not finite, it is too short, or the labels do not fit the targets.
        FloatingPointError: if training diverges.
    """
    expect_choice("fit_prior", "kind", kind, get_args(Kind))
    expect_type("fit_prior", "config", config, ReadoutConfig)
    expect_whole("fit_prior", "width", width)
    items = one_group("fit_prior", trajectories)
    # Whether targets are one-hot shows in no shape: `kind` and `labels` must agree.
    dy = np.shape(items[0].y)[1]
    if (kind == "classification") != bool(labels) or (labels and len(labels) != dy):
        raise ValueError(
            f"fit_prior got {len(labels)} labels for {kind} with {dy} targets; expected one per indicator for "
            "classification and none for regression."
        )
    # In float64 here: what the trainer sees is float32, in units in which that is enough.
    x = np.concatenate([np.asarray(t.x, float) for t in items])
    y = np.concatenate([np.asarray(t.y, float) for t in items])
    inputs = None if schema is not None or (found := Units.of(x)).plain else found
    targets = None if labels or (found := Units.of(y)).plain else found
    if inputs is not None:
        x, items = inputs.encode(x), [Trajectory(inputs.encode(t.x), t.y) for t in items]
    if targets is not None:
        y, items = targets.encode(y), [Trajectory(t.x, targets.encode(t.y)) for t in items]
    longest = max(len(t.x) for t in items)
    if longest < 4:
        raise ValueError(f"fit_prior got segments of at most {longest} pairs; expected at least 4 in one.")
    config = dataclasses.replace(config, window=min(config.window, longest))
    prior = train_readout_prior(
        items,
        x_norm=robust_normalizer(x),
        y_norm=class_normalizer(y) if labels else robust_normalizer(y),
        width=width,
        config=config,
        key=jax.random.key(seed),
        callback=callback,
        checkpoint=checkpoint,
        growing=() if schema is None else schema.growing,
    )
    return StreamPrior(prior, kind, schema, tuple(labels), inputs, targets)
