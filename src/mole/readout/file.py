"""A prior over readouts as one file: arrays, and a header that says how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from mole import checkpoint
from mole.checkpoint import CheckpointError
from mole.models import Normalizer
from mole.readout.prior import ReadoutPrior

__all__ = ["describe_readout_prior", "load_readout_prior", "readout_skeleton", "save_readout_prior"]

KIND = "readout-prior"
_SIZES = {"input_size": 10**5, "target_size": 10**4, "width": 10**4, "depth": 100, "kinds": 16}


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
    """The structure of a prior with those sizes, without numbers.

    Raises:
        mole.checkpoint.CheckpointError: for missing or unknown sizes, or any out of range.
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

    return eqx.filter_eval_shape(build)


def save_readout_prior(
    path: str | os.PathLike[str], prior: ReadoutPrior, provenance: Mapping[str, Any]
) -> None:
    """Write a prior to one file, atomically.

    Args:
        path: the file.
        prior: what to write.
        provenance: how it was made, plain JSON.
    """
    config = {"sizes": describe_readout_prior(prior), "provenance": dict(provenance)}
    checkpoint.save(path, prior, kind=KIND, config=config)


def load_readout_prior(path: str | os.PathLike[str]) -> tuple[ReadoutPrior, dict[str, Any]]:
    """Read a prior written by `save_readout_prior`, with its provenance; nothing in the file is executed.

    Raises:
        FileNotFoundError: if there is no such file.
        mole.checkpoint.CheckpointError: if it is not such a prior, or truncated, altered or of a newer format.
    """
    header = checkpoint.read_header(path)
    if header.kind != KIND:
        raise CheckpointError(
            f"{path} holds a {header.kind!r:.80}, expected a {KIND!r}; `mole fit-prior` writes one."
        )
    sizes, provenance = header.config.get("sizes"), header.config.get("provenance")
    if not isinstance(sizes, dict) or not isinstance(provenance, dict):
        raise CheckpointError(f"{path} has no sizes or provenance in its header; it is damaged.")
    return checkpoint.load(path, readout_skeleton(sizes, path), kind=KIND), provenance
