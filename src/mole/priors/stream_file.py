"""What the files of priors for streams say of them.

Files of the kinds ``readout-prior`` and ``stream-prior`` hold the same arrays; the second says what the inputs mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_type
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError, Header
from mole.learning.models import Normalizer
from mole.learning.prior import MetaPrior
from mole.priors.stream import StreamPrior
from mole.readout import ReadoutPrior
from mole.rows.encoding import Schema
from mole.rows.scaling import Units

__all__ = [
    "describe_file",
    "describe_readout_prior",
    "describe_stream_prior",
    "describe_units",
    "prior_skeleton",
    "read_stream_prior",
    "readout_skeleton",
    "units_from",
]

# The largest sizes that a header may ask for: far above any use, and not yet too many for a structure.
_SIZES = {"input_size": 10**5, "target_size": 10**4, "width": 10**4, "depth": 100, "kinds": 16}


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


def describe_readout_prior(prior: ReadoutPrior) -> dict[str, Any]:
    """The sizes from which the structure of ``prior`` can be rebuilt, and which inputs grow, if any do."""
    growing = list(prior.features.growing)
    return {
        **({"growing": growing} if growing else {}),
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
    sizes = dict(sizes)
    growing = sizes.pop("growing", [])
    if set(sizes) != set(_SIZES):
        raise CheckpointError(f"{path} has the sizes {str(sorted(sizes))[:300]}; expected {sorted(_SIZES)}.")
    for name, most in _SIZES.items():
        value = sizes[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise CheckpointError(
                f"{path} has {name}={value!r:.80}; expected a whole number from 1 to {most}."
            )

    inputs = sizes["input_size"]
    if not isinstance(growing, list) or not all(type(k) is int and 0 <= k < inputs for k in growing):
        raise CheckpointError(f"{path} has growing={growing!r:.80}; expected places of the {inputs} inputs.")

    def build() -> ReadoutPrior:
        prior = ReadoutPrior.untrained(
            width=sizes["width"],
            depth=sizes["depth"],
            x_norm=Normalizer.identity(sizes["input_size"]),
            y_norm=Normalizer.identity(sizes["target_size"]),
            key=jax.random.key(0),
            growing=tuple(growing),
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
        **describe_units(prior),
    }


def describe_units(prior: StreamPrior) -> dict[str, Any]:
    """The units of a prior as plain JSON, which `units_from` reads; empty where there are none, as in 0.1."""
    pairs = (("inputs", prior.inputs), ("targets", prior.targets))
    return {name: list(units) for name, units in pairs if units is not None}


def units_from(config: Mapping[str, Any]) -> dict[str, Units]:
    """The inverse of `describe_units`: arguments of `StreamPrior`.

    Raises:
        ValueError: if they are damaged.
        TypeError: likewise.
    """
    return {name: Units.from_json(config[name]) for name in ("inputs", "targets") if name in config}


def prior_skeleton(config: Any, path: Any) -> StreamPrior:
    """A prior of the described structure, whose arrays are shapes without numbers.

    Raises:
        mole.files.checkpoint.CheckpointError: if the description is damaged.
    """
    names = {"sizes", "kind", "schema", "labels"}
    if not isinstance(config, dict) or set(config) - {"inputs", "targets"} != names:
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
        return StreamPrior(prior, kind, schema, tuple(labels), **units_from(config))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a header whose parts do not fit each other: {error}") from error
