"""Priors for streams: readouts that are meta-trained on recorded history, and what their files say.

A `StreamPrior` is a `ReadoutPrior` with the columns and labels that it was trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._expect import expect_choice, expect_type, expect_whole
from mole._types import Trajectory
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError, Header
from mole.learning.models import Normalizer
from mole.learning.prior import MetaPrior
from mole.meta.resume import TrainingFile
from mole.meta.tasks import one_group
from mole.online import Mixture
from mole.readout import ReadoutConfig, ReadoutMixture, ReadoutPrior, train_readout_prior
from mole.rows.encoding import Schema
from mole.rows.scaling import class_normalizer, robust_normalizer

__all__ = [
    "StreamPrior",
    "describe_file",
    "describe_readout_prior",
    "describe_stream_prior",
    "fit_prior",
    "learner_of",
    "prior_skeleton",
    "read_stream_prior",
    "readout_skeleton",
]

Kind = Literal["regression", "classification"]
_USUAL = ReadoutConfig()
# The largest sizes that a header may ask for: far above any use, and not yet too many for a structure.
_SIZES = {"input_size": 10**5, "target_size": 10**4, "width": 10**4, "depth": 100, "kinds": 16}


@dataclasses.dataclass(frozen=True)
class StreamPrior:
    """A prior over readouts with the meaning of its inputs and targets.

    Attributes:
        prior: features and beliefs.
        kind: regression or classification.
        schema: how rows become inputs; None if inputs are plain vectors.
        labels: classes, in the order of the indicators; empty for regression.

    Raises:
        TypeError: if ``prior`` is no `mole.ReadoutPrior`.
        ValueError: if the schema does not encode as many inputs as the prior has, or there is not one label per
            indicator.
    """

    prior: ReadoutPrior
    kind: Kind = "regression"
    schema: Schema | None = None
    labels: tuple[int | str | bool, ...] = ()

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
    x = np.concatenate([np.asarray(t.x) for t in items])
    y = np.concatenate([np.asarray(t.y) for t in items])
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
    )
    return StreamPrior(prior, kind, schema, tuple(labels))


# Files of the kinds ``readout-prior`` and ``stream-prior`` hold the same arrays; the second says what the inputs mean.


def describe_file(prior: Any, provenance: Mapping[str, Any]) -> tuple[str, ReadoutPrior, dict[str, Any]]:
    """Kind, arrays and configuration of the file of a prior for streams.

    Raises:
        TypeError: if it is no prior.
    """
    expect_type(
        "save_prior", "prior", prior, (MetaPrior, ReadoutPrior, StreamPrior), "mole.fit_prior makes one."
    )
    if isinstance(prior, ReadoutPrior):
        config = {"sizes": describe_readout_prior(prior), "provenance": dict(provenance)}
        return "readout-prior", prior, config
    return "stream-prior", prior.prior, {**describe_stream_prior(prior), "provenance": dict(provenance)}


def read_stream_prior(path: Any, stored: Header) -> ReadoutPrior | StreamPrior:
    """Read a file of kind ``readout-prior`` or ``stream-prior``.

    Args:
        path: the file.
        stored: its header.

    Raises:
        mole.files.checkpoint.CheckpointError: if it is damaged.
    """
    config = dict(stored.config)
    told = config.pop("provenance", None)
    if stored.kind == "readout-prior":
        if not isinstance(config.get("sizes"), dict) or not isinstance(told, dict):
            raise CheckpointError(f"{path} has no sizes or provenance in its header; it is damaged.")
        return checkpoint.load(path, readout_skeleton(config["sizes"], path), kind=stored.kind)
    if not isinstance(told, dict):
        raise CheckpointError(f"{path} has no provenance in its header; it is damaged.")
    skeleton = prior_skeleton(config, path)
    return dataclasses.replace(skeleton, prior=checkpoint.load(path, skeleton.prior, kind=stored.kind))


def describe_readout_prior(prior: ReadoutPrior) -> dict[str, int]:
    """The sizes from which the structure of ``prior`` can be rebuilt."""
    return {
        "input_size": prior.input_size,
        "target_size": prior.target_size,
        "width": prior.features.width,
        "depth": len(prior.features.layers),
        "kinds": prior.kinds,
    }


def readout_skeleton(sizes: Mapping[str, Any], path: Any) -> ReadoutPrior:
    """A prior with those sizes, whose arrays are shapes without numbers.

    Raises:
        mole.files.checkpoint.CheckpointError: for missing or unknown sizes, or any out of range.
    """
    if set(sizes) != set(_SIZES):
        raise CheckpointError(f"{path} has the sizes {str(sorted(sizes))[:300]}; expected {sorted(_SIZES)}.")
    for name, most in _SIZES.items():
        value = sizes[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise CheckpointError(
                f"{path} has {name}={value!r:.80}; expected a whole number from 1 to {most}."
            )

    def build() -> ReadoutPrior:
        prior = ReadoutPrior.untrained(
            width=sizes["width"],
            depth=sizes["depth"],
            x_norm=Normalizer.identity(sizes["input_size"]),
            y_norm=Normalizer.identity(sizes["target_size"]),
            key=jax.random.key(0),
        )
        many = jax.tree.map(lambda a: jnp.repeat(a, sizes["kinds"], axis=0), prior.beliefs)
        return eqx.tree_at(lambda p: p.beliefs, prior, many)

    # Shapes alone: nothing is allocated before `checkpoint.load` has compared the sizes with the file.
    return eqx.filter_eval_shape(build)


def describe_stream_prior(prior: StreamPrior) -> dict[str, Any]:
    """The structure of a prior as plain JSON, from which `prior_skeleton` rebuilds it."""
    return {
        "sizes": describe_readout_prior(prior.prior),
        "kind": prior.kind,
        "schema": None if prior.schema is None else prior.schema.to_json(),
        "labels": list(prior.labels),
    }


def prior_skeleton(config: Any, path: Any) -> StreamPrior:
    """A prior of the described structure, whose arrays are shapes without numbers.

    Raises:
        mole.files.checkpoint.CheckpointError: if the description is damaged.
    """
    names = {"sizes", "kind", "schema", "labels"}
    if not isinstance(config, dict) or set(config) != names:
        raise CheckpointError(f"{path} has a header without {', '.join(sorted(names))}; it is damaged.")
    kind, labels = config["kind"], config["labels"]
    if kind not in ("regression", "classification") or not isinstance(labels, list):
        raise CheckpointError(f"{path} has kind={kind!r:.80} and labels={labels!r:.80}; it is damaged.")
    if not isinstance(config["sizes"], dict) or not all(isinstance(name, int | str) for name in labels):
        raise CheckpointError(f"{path} has sizes or labels of a wrong type; it is damaged.")
    try:
        schema = None if config["schema"] is None else Schema.from_json(config["schema"])
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged schema: {str(error)[:300]}") from error
    prior = readout_skeleton(config["sizes"], path)
    # A header of sound parts may still be of two different priors.
    try:
        return StreamPrior(prior, kind, schema, tuple(labels))
    except ValueError as error:
        raise CheckpointError(f"{path} has a header whose parts do not fit each other: {error}") from error
