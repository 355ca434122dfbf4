"""A prior as one file: the arrays, and a header that says how it was made."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.learning.inner import InnerRate, LayerRate, Rank1Rate, ScalarRate
from mole.learning.likelihoods import Categorical, Gaussian, Likelihood
from mole.learning.models import MLP, Normalizer
from mole.learning.prior import MetaPrior
from mole.readout.prior import ReadoutPrior

__all__ = [
    "PriorHeader",
    "describe_prior",
    "describe_readout_prior",
    "load_prior",
    "load_readout_prior",
    "parse_header",
    "readout_skeleton",
    "save_prior",
    "save_readout_prior",
]

_KIND = "prior"
_ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh, "gelu": jax.nn.gelu, "silu": jax.nn.silu}
_RATES: dict[str, type[InnerRate]] = {"scalar": ScalarRate, "layer": LayerRate, "rank1": Rank1Rate}


@dataclasses.dataclass(frozen=True)
class PriorHeader:
    """How to rebuild a prior, and where it came from.

    Attributes:
        input_size: features ``dx`` of one input.
        target_size: entries ``dy`` of one target.
        width: units per hidden layer of the MLP.
        depth: hidden layers.
        activation: name of the activation.
        rate: form of the inner rates: scalar, layer or rank1.
        likelihood: gaussian, gaussian-learned or categorical.
        window: k.
        provenance: the command, seed, amount of data and environment that made it; plain JSON.
    """

    input_size: int
    target_size: int
    width: int
    depth: int
    activation: str
    rate: str
    likelihood: str
    window: int
    provenance: dict[str, Any]

    def skeleton(self) -> MetaPrior:
        """A prior of this structure, its numbers meaningless."""
        likelihood = _LIKELIHOODS[self.likelihood]()
        model = MLP(
            self.input_size,
            likelihood.output_size(self.target_size),
            width=self.width,
            depth=self.depth,
            activation=_ACTIVATIONS[self.activation],
            key=jax.random.key(0),
        )
        rate = ScalarRate(0.1) if self.rate == "scalar" else _RATES[self.rate](model, 0.1)  # pyright: ignore[reportCallIssue]
        return MetaPrior(
            model,
            inner_rate=rate,
            window=self.window,
            x_norm=Normalizer.identity(self.input_size),
            y_norm=Normalizer.identity(self.target_size),
            likelihood=likelihood,
        )


_LIKELIHOODS = {
    "gaussian": Gaussian,
    "gaussian-learned": lambda: Gaussian(learned_scale=True),
    "categorical": Categorical,
}


def _name_of(value: Any, table: Mapping[str, Any], what: str) -> str:
    for name, entry in table.items():
        if entry is value or type(value) is entry:
            return name
    got = getattr(value, "__name__", f"{type(value).__module__}.{type(value).__qualname__}")
    raise TypeError(
        f"save_prior got the {what} {got}; expected one of {', '.join(table)}. Use mole.files.checkpoint.save "
        "with your own module as `like` for anything else."
    )


def _likelihood_name(likelihood: Likelihood) -> str:
    if type(likelihood) is Gaussian:
        return "gaussian-learned" if likelihood.learned_scale else "gaussian"
    return _name_of(likelihood, _LIKELIHOODS, "likelihood")


def describe_prior(prior: MetaPrior, provenance: Mapping[str, Any]) -> PriorHeader:
    """The header from which the structure of ``prior`` can be rebuilt.

    Raises:
        TypeError: for a model, rate or likelihood that the header cannot name.
    """
    model = prior.model
    if type(model) is not MLP:
        _name_of(model, {"mole.learning.models.MLP": MLP}, "model")
    return PriorHeader(
        input_size=prior.input_size,
        target_size=prior.target_size,
        width=model.layers[0].weight.shape[1],
        depth=len(model.layers) - 1,
        activation=_name_of(model.activation, _ACTIVATIONS, "activation"),
        rate=_name_of(prior.inner_rate, _RATES, "inner rate"),
        likelihood=_likelihood_name(prior.likelihood),
        window=prior.window,
        provenance=dict(provenance),
    )


def save_prior(path: str | os.PathLike[str], prior: MetaPrior, provenance: Mapping[str, Any]) -> PriorHeader:
    """Write a prior of an MLP to one file, atomically.

    Args:
        path: the file.
        prior: its model must be a `mole.learning.models.MLP` with a named activation.
        provenance: how it was made, plain JSON.

    Raises:
        TypeError: for a model, rate or likelihood that the header cannot name.
    """
    header = describe_prior(prior, provenance)
    checkpoint.save(path, prior, kind=_KIND, config=dataclasses.asdict(header))
    return header


def load_prior(path: str | os.PathLike[str]) -> tuple[MetaPrior, PriorHeader]:
    """Read a prior written by `save_prior`; nothing in the file is executed.

    Raises:
        FileNotFoundError: if there is no such file.
        mole.files.checkpoint.CheckpointError: if it is not a prior, or truncated, altered or of a newer format.
    """
    stored = checkpoint.read_header(path)
    if stored.kind != _KIND:
        raise CheckpointError(
            f"{path} holds a {stored.kind!r:.80}, expected a prior; `mole train` writes one."
        )
    header = parse_header(stored.config, path)
    like = eqx.filter_eval_shape(header.skeleton)
    return checkpoint.load(path, like, kind=_KIND), header


def parse_header(config: Mapping[str, Any], path: Any) -> PriorHeader:
    """Check a header read from ``path``: a stranger's file must not make us build something huge or unknown.

    Raises:
        mole.files.checkpoint.CheckpointError: for missing or unknown fields, names and sizes.
    """
    fields = {field.name: field.type for field in dataclasses.fields(PriorHeader)}
    wrong = sorted(set(fields) ^ set(config))
    if wrong:
        raise CheckpointError(
            f"{path} has a header that differs in {str(wrong)[:300]}; it was written by another version."
        )
    for name, limit in (
        ("input_size", 10**6),
        ("target_size", 10**6),
        ("width", 10**5),
        ("depth", 100),
        ("window", 10**5),
    ):
        value = config[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
            raise CheckpointError(
                f"{path} has {name}={value!r:.80} in its header; expected a number from 1 to {limit}."
            )
    for name, table in (("activation", _ACTIVATIONS), ("rate", _RATES), ("likelihood", _LIKELIHOODS)):
        if not isinstance(config[name], str) or config[name] not in table:
            raise CheckpointError(
                f"{path} has {name}={config[name]!r:.80}; expected one of {', '.join(table)}."
            )
    if not isinstance(config["provenance"], dict):
        raise CheckpointError(
            f"{path} has provenance={config['provenance']!r:.80}; expected names with values."
        )
    return PriorHeader(**config)


# A prior over readouts as one file: arrays, and a header that says how it was made.


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
        mole.files.checkpoint.CheckpointError: if it is not such a prior, or truncated, altered or of a newer format.
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
