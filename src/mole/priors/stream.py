"""Priors for streams: meta-trained on recorded history, kept with the columns that they were trained on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from mole._expect import expect_type, expect_whole
from mole._types import Trajectory
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.learning.prior import MetaPrior
from mole.meta.resume import TrainingFile
from mole.meta.tasks import as_groups
from mole.online import Mixture
from mole.priors.file import describe_readout_prior, readout_skeleton
from mole.readout import ReadoutConfig, ReadoutMixture, ReadoutPrior, train_readout_prior
from mole.rows.encoding import Schema
from mole.rows.scaling import class_normalizer, robust_normalizer

__all__ = [
    "StreamPrior",
    "describe_stream_prior",
    "fit_prior",
    "learner_of",
    "load_stream_prior",
    "prior_skeleton",
    "save_stream_prior",
]

_KIND = "stream-prior"
Kind = Literal["regression", "classification"]
_USUAL = ReadoutConfig()


@dataclasses.dataclass(frozen=True)
class StreamPrior:
    """A prior and what its inputs and targets mean.

    Attributes:
        prior: features and beliefs.
        kind: regression or classification.
        schema: how rows become inputs; None if inputs are plain vectors.
        labels: classes, in the order of the indicators; empty for regression.

    Raises:
        ValueError: if the schema or the labels are not as many as the prior's inputs or indicators.
    """

    prior: ReadoutPrior
    kind: Kind = "regression"
    schema: Schema | None = None
    labels: tuple[int | str | bool, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        expect_type("StreamPrior", "prior", self.prior, ReadoutPrior, "mole.fit_prior makes a whole one.")
        _check_kind("StreamPrior", self.kind)
        inputs, indicators = self.prior.input_size, self.prior.target_size
        if self.schema is not None and self.schema.size != inputs:
            raise ValueError(
                f"StreamPrior got a schema of {self.schema.size} inputs for a prior of another size; expected {inputs}."
            )
        expected = indicators if self.kind == "classification" else 0
        if len(self.labels) != expected:
            raise ValueError(
                f"StreamPrior got {len(self.labels)} labels for {self.kind}; expected {expected}."
            )


def learner_of(prior: StreamPrior | ReadoutPrior | MetaPrior, settings: Mapping[str, Any]) -> Any:
    """The mixture that belongs to a prior: of readouts, or of networks that take gradient steps."""
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
        trajectories: unbroken stretches of (x ``[time, dx]``, y ``[time, dy]``), x as ``schema`` encodes it, y in its
            natural unit or one-hot.
        kind: whether the targets are numbers or one-hot classes.
        width: hidden units of the features.
        seed: of initial weights and windows.
        schema: how rows became x; kept with the prior.
        labels: classes in the order of the indicators.
        config: sizes and rates; a shorter history than its window shortens the window.
        callback: as in `train_readout_prior`.
        checkpoint: as in `train_readout_prior`.

    Raises:
        ValueError: if there is no history, it is not finite, it is too short, or the labels do not fit the targets.
    """
    _check_kind("fit_prior", kind)
    expect_type("fit_prior", "config", config, ReadoutConfig)
    expect_whole("fit_prior", "width", width)
    (items,) = as_groups(trajectories)
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
        raise ValueError(f"fit_prior got stretches of at most {longest} pairs; expected at least 4 in one.")
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


def _check_kind(owner: str, kind: Any) -> None:
    if kind not in ("regression", "classification"):
        raise ValueError(f"{owner} got kind={kind!r}; expected 'regression' or 'classification'.")


def save_stream_prior(
    path: str | os.PathLike[str], prior: StreamPrior, provenance: Mapping[str, Any]
) -> None:
    """Write a prior to one file, atomically, with ``provenance`` (plain JSON) in its header."""
    config = {**describe_stream_prior(prior), "provenance": dict(provenance)}
    checkpoint.save(path, prior.prior, kind=_KIND, config=config)


def load_stream_prior(path: str | os.PathLike[str]) -> tuple[StreamPrior, dict[str, Any]]:
    """Read a prior written by `save_stream_prior`, with its provenance; nothing in the file is executed.

    Raises:
        FileNotFoundError: if there is no such file.
        mole.files.checkpoint.CheckpointError: if it is not such a prior, or truncated, altered or of a newer format.
    """
    header = checkpoint.read_header(path)
    if header.kind != _KIND:
        raise CheckpointError(
            f"{path} holds a {header.kind!r:.80}, expected a {_KIND!r}; `mole fit-prior` writes one."
        )
    config = dict(header.config)
    provenance = config.pop("provenance", None)
    if not isinstance(provenance, dict):
        raise CheckpointError(f"{path} has no provenance in its header; it is damaged.")
    skeleton = prior_skeleton(config, path)
    return dataclasses.replace(skeleton, prior=checkpoint.load(path, skeleton.prior, kind=_KIND)), provenance


def describe_stream_prior(prior: StreamPrior) -> dict[str, Any]:
    """The structure of a prior as plain JSON, from which `prior_skeleton` rebuilds it."""
    return {
        "sizes": describe_readout_prior(prior.prior),
        "kind": prior.kind,
        "schema": None if prior.schema is None else prior.schema.to_json(),
        "labels": list(prior.labels),
    }


def prior_skeleton(config: Any, path: Any) -> StreamPrior:
    """A prior of the described structure, without numbers.

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
    try:
        return StreamPrior(prior, kind, schema, tuple(labels))
    except ValueError as error:
        raise CheckpointError(f"{path} has a header whose parts do not fit each other: {error}") from error
