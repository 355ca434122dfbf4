"""What an estimator was given: a prior or a learner, with settings; as plain JSON, and as a structure from that.

A file holds numbers, and no code and no classes. Its header describes the learner; from the description a structure
without numbers is made, which `mole.files.checkpoint.load` compares with the file before it reads any array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx

from mole._expect import expect_type
from mole.files.checkpoint import CheckpointError
from mole.learning.prior import MetaPrior
from mole.online import Continuous, KShot, Mixture, Static
from mole.online.base import OnlineLearner
from mole.priors.file import describe_prior, parse_header
from mole.priors.stream import StreamPrior, learner_of
from mole.priors.stream_file import describe_readout_prior, describe_units, readout_skeleton, units_from
from mole.readout import ReadoutMixture, ReadoutPrior
from mole.readout.gaps import GappedReadoutMixture
from mole.rows.encoding import Schema

__all__ = [
    "Prior",
    "describe_given",
    "describe_learner",
    "given_from",
    "learner_from",
    "learner_skeleton",
    "plain_settings",
]

Prior = StreamPrior | ReadoutPrior | MetaPrior | OnlineLearner

# A closed list: a name in a stranger's file must not choose what is imported or called.
_LEARNERS = {
    kind.__name__: kind for kind in (Continuous, GappedReadoutMixture, KShot, Mixture, ReadoutMixture, Static)
}


def learner_from(owner: str, prior: Any, settings: Mapping[str, Any]) -> OnlineLearner:
    """The learner that was given, or the mixture that belongs to the prior that was given.

    Raises:
        TypeError: for anything else.
        ValueError: for settings beside a learner, which has its own.
    """
    if isinstance(prior, StreamPrior | ReadoutPrior | MetaPrior):
        return learner_of(prior, settings)
    if not isinstance(prior, OnlineLearner):
        raise TypeError(
            f"{owner} got a prior of type {type(prior).__name__}; expected one from mole.fit_prior, mole.meta_train or "
            "mole.load_prior, or a learner such as mole.KShot(prior)."
        )
    if settings:
        raise ValueError(
            f"{owner} got mixture={dict(settings)!r:.80} beside a learner; expected none: a learner has its own "
            "settings."
        )
    return prior


def plain_settings(owner: str, mixture: Any) -> dict[str, Any]:
    """Settings of a mixture as JSON can hold them, since they go into files: arrays and NumPy's numbers as Python's.

    Raises:
        TypeError: unless they are a mapping, or None.
    """
    if mixture is None:
        return {}
    expect_type(owner, "mixture", mixture, Mapping, "It is settings by name, such as {'alpha': 2.0}.")
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in mixture.items()}


def learner_skeleton(described: Any, settings: Mapping[str, Any], path: Any) -> Any:
    """A learner of the described structure, without numbers.

    Args:
        described: what `describe_learner` made, from a header.
        settings: of the mixture, where the learner is one that an estimator made over a prior.
        path: of the file, for errors.

    Raises:
        mole.files.checkpoint.CheckpointError: if the description is damaged.
    """
    if not isinstance(described, dict) or set(described) not in (
        {"type", "prior", "classes"},
        {"type", "prior", "settings"},
    ):
        raise CheckpointError(f"{path} has a damaged description of its learner.")
    if "settings" in described:
        kind, settings = _LEARNERS[described["type"]], described["settings"]
    elif described["type"] in ("readout", "gapped"):
        kind = ReadoutMixture if described["type"] == "readout" else GappedReadoutMixture
        settings = {**settings, "classes": described["classes"] is True}
    else:
        kind = Mixture
    if issubclass(kind, ReadoutMixture):
        prior = readout_skeleton(described["prior"], path)
    else:
        prior = eqx.filter_eval_shape(parse_header(described["prior"], path).skeleton)
    return eqx.filter_eval_shape(lambda p: kind(p, **settings), prior)


def describe_learner(learner: Any, given: Any) -> dict[str, Any]:
    """Plain JSON from which `learner_skeleton` makes a learner.

    Args:
        learner: the learner.
        given: the prior or the learner that the user gave; None if the estimator made its prior itself.

    Raises:
        mole.files.checkpoint.CheckpointError: for a learner of a class that is not ours.
    """
    readout = isinstance(learner.prior, ReadoutPrior)
    prior = describe_readout_prior(learner.prior) if readout else describe_prior(learner.prior, {}).to_json()
    if not isinstance(given, OnlineLearner):
        # A mixture over a prior is described by the settings of the estimator.
        return {
            "type": "mixture"
            if not readout
            else "gapped"
            if isinstance(learner, GappedReadoutMixture)
            else "readout",
            "prior": prior,
            "classes": readout and learner.classes,
        }
    name = type(learner).__name__
    if _LEARNERS.get(name) is not type(learner):
        # A mixture becomes one with gaps by itself: nobody gives one.
        public = ", ".join(sorted(_LEARNERS.keys() - {GappedReadoutMixture.__name__}))
        raise CheckpointError(
            f"cannot save a learner of type {name}; expected one of {public}. mole.checkpoint.save writes its state."
        )
    settings = {
        field.name: value.tolist() if hasattr(value := getattr(learner, field.name), "tolist") else value
        for field in dataclasses.fields(learner)
        if field.init and field.name != "prior"
    }
    return {"type": name, "prior": prior, "settings": settings}


def describe_given(prior: Any) -> dict[str, Any] | None:
    """Plain JSON from which `given_from` finds the prior or learner that the user gave; None if there was none.

    Its numbers are not written again: they are those of the learner.
    """
    if prior is None:
        return None
    if isinstance(prior, OnlineLearner):
        return {"type": "learner"}
    if not isinstance(prior, StreamPrior):
        return {"type": "plain"}
    schema = None if prior.schema is None else prior.schema.to_json()
    told = {"kind": prior.kind, "schema": schema, "labels": list(prior.labels)}
    return {"type": "stream", **told, **describe_units(prior)}


def given_from(given: Any, learner: Any, path: Any) -> Prior | None:
    """The prior or the learner that the user had given, or None.

    Raises:
        mole.files.checkpoint.CheckpointError: if its description is damaged.
    """
    if given is None:
        return None
    if learner is None or not isinstance(given, dict):
        raise CheckpointError(f"{path} has a damaged description of its prior.")
    if given.get("type") == "learner":
        return learner
    if given.get("type") != "stream":
        return learner.prior
    try:
        schema = None if given["schema"] is None else Schema.from_json(given["schema"])
        return StreamPrior(learner.prior, given["kind"], schema, tuple(given["labels"]), **units_from(given))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a damaged description of its prior: {str(error)[:300]}") from error
