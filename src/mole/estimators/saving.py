"""An estimator as one file, from which it goes on bit for bit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from mole import checkpoint
from mole.checkpoint import CheckpointError
from mole.estimators.priors import StreamPrior
from mole.online import Mixture
from mole.prior import MetaPrior
from mole.prior_file import describe_prior, parse_header
from mole.readout import ReadoutMixture, ReadoutPrior
from mole.readout.file import describe_readout_prior, readout_skeleton
from mole.streams.encoding import Schema

__all__ = ["Parts", "damage_told", "learner_skeleton", "load_parts", "prior_of", "save_parts"]

_VERSION = 1
_DTYPES = tuple(np.dtype(kind).str for kind in (bool, np.int32, np.int64, np.float32, np.float64))


class Parts(NamedTuple):
    """What an estimator is made of.

    Attributes:
        config: plain JSON: settings, schema, encoder, rows that are no vectors, counters.
        learner: the mixture, or None.
        state: its state, or None.
        arrays: name → array: rows, targets, tasks, history.
    """

    config: dict[str, Any]
    learner: Any
    state: Any
    arrays: dict[str, np.ndarray]


def save_parts(path: str | os.PathLike[str], kind: str, parts: Parts, given: Any) -> None:
    """Write the parts; ``given`` is the prior that the user gave, or None."""
    config = {
        **parts.config,
        "version": _VERSION,
        "learner": None if parts.learner is None else _described(parts.learner),
        "given": _given(given),
        "arrays": {name: [list(array.shape), array.dtype.str] for name, array in parts.arrays.items()},
    }
    checkpoint.save(path, (parts.learner, parts.state, parts.arrays), kind=kind, config=config)


def load_parts(
    path: str | os.PathLike[str], kind: str, names: frozenset[str], *, many: bool = False
) -> Parts:
    """Read what `save_parts` wrote.

    Args:
        path: the file.
        kind: expected kind of file.
        names: expected entries of the configuration, beside those that `save_parts` adds.
        many: whether there is a state for each of ``settings["size"]`` streams.

    Raises:
        FileNotFoundError: if there is no such file.
        mole.checkpoint.CheckpointError: if it is damaged, of another version or another kind.
    """
    header = checkpoint.read_header(path)
    if header.kind != kind:
        raise CheckpointError(f"{path} holds a {header.kind!r:.80}, expected a {kind!r}.")
    config = dict(header.config)
    wrong = sorted(set(config) ^ (names | {"version", "learner", "given", "arrays"}))
    if wrong or config["version"] != _VERSION:
        raise CheckpointError(
            f"{path} has a header that differs in {str(wrong or ['version'])[:300]}; it was written by another version."
        )
    learner = state = None
    with damage_told(path):
        if config["learner"] is not None:
            learner = learner_skeleton(config["learner"], config["settings"]["mixture"], path)
            state = eqx.filter_eval_shape(lambda one: one.init(), learner)
            if many:
                size = config["settings"]["size"]
                state = jax.tree.map(lambda a: jax.ShapeDtypeStruct((size, *a.shape), a.dtype), state)
        arrays = {name: _placeholder(stored, name, path) for name, stored in config["arrays"].items()}
    learner, state, arrays = checkpoint.load(path, (learner, state, arrays), kind=kind)
    return Parts(config, learner, state, {name: np.asarray(array) for name, array in arrays.items()})


@contextmanager
def damage_told(path: Any) -> Iterator[None]:
    """What a header with other contents than ours runs into, as an error that names the file."""
    try:
        yield
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        text = f"{type(error).__name__}: {error}"[:300]
        raise CheckpointError(
            f"{path} is damaged ({text}); it was not written by mole: use another copy"
        ) from error


def prior_of(parts: Parts, path: Any) -> StreamPrior | ReadoutPrior | MetaPrior | None:
    """The prior that the user had given, or None.

    Raises:
        mole.checkpoint.CheckpointError: if its description is damaged.
    """
    given = parts.config["given"]
    if given is None:
        return None
    if parts.learner is None or not isinstance(given, dict):
        raise CheckpointError(f"{path} has a damaged description of its prior.")
    if given.get("type") != "stream":
        return parts.learner.prior
    try:
        schema = None if given["schema"] is None else Schema.from_json(given["schema"])
        return StreamPrior(parts.learner.prior, given["kind"], schema, tuple(given["labels"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a damaged description of its prior: {str(error)[:300]}") from error


def learner_skeleton(described: Any, settings: Mapping[str, Any], path: Any) -> Any:
    """A learner of the described structure, without numbers."""
    if not isinstance(described, dict) or set(described) != {"type", "prior", "classes"}:
        raise CheckpointError(f"{path} has a damaged description of its learner.")
    if described["type"] == "readout":
        prior = readout_skeleton(described["prior"], path)
        return eqx.filter_eval_shape(
            lambda p: ReadoutMixture(p, **settings, classes=described["classes"] is True), prior
        )
    prior = eqx.filter_eval_shape(parse_header(described["prior"], path).skeleton)
    return eqx.filter_eval_shape(lambda p: Mixture(p, **settings), prior)


def _described(learner: Any) -> dict[str, Any]:
    if isinstance(learner, ReadoutMixture):
        return {"type": "readout", "prior": describe_readout_prior(learner.prior), "classes": learner.classes}
    return {
        "type": "mixture",
        "prior": dataclasses.asdict(describe_prior(learner.prior, {})),
        "classes": False,
    }


def _given(prior: Any) -> dict[str, Any] | None:
    if prior is None:
        return None
    if not isinstance(prior, StreamPrior):
        return {"type": "plain"}
    schema = None if prior.schema is None else prior.schema.to_json()
    return {"type": "stream", "kind": prior.kind, "schema": schema, "labels": list(prior.labels)}


def _placeholder(stored: Any, name: str, path: Any) -> np.ndarray:
    """NumPy's, since JAX would make doubles singles."""
    try:
        shape, dtype = stored
        if not isinstance(dtype, str) or dtype not in _DTYPES:  # others may have items of any size
            raise TypeError(dtype)  # noqa: TRY301
        return checkpoint.placeholder(shape, dtype)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a damaged description of the array {name!r:.80}.") from error
