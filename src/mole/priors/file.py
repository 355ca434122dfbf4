"""A prior as one file, of whichever kind: arrays, and a header that says how to rebuild it and how it was made.

The kind in the header decides what is read: ``prior`` is a network with inner rates (`MetaPrior`), whose header is
below; ``readout-prior`` and ``stream-prior`` are described in `mole.priors.stream_file`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import equinox as eqx
import jax

from mole._expect import did_you_mean, expect_choice
from mole._float32 import in_float32
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.learning.inner import InnerRate, LayerRate, Rank1Rate, ScalarRate
from mole.learning.likelihoods import Categorical, Gaussian
from mole.learning.models import MLP, Normalizer
from mole.learning.prior import MetaPrior, Planning
from mole.priors.shipped import CONTROL, STREAMS, shipped_file

__all__ = [
    "PriorHeader",
    "describe_prior",
    "load_prior",
    "parse_header",
    "read_planning",
    "read_provenance",
    "save_prior",
]

P = TypeVar("P")
# Kind of file → name of its type; to import the type itself brings an optimiser, which control does not need.
_KINDS = {"prior": "MetaPrior", "readout-prior": "ReadoutPrior", "stream-prior": "StreamPrior"}
# A header has names and no code: what is not in these tables can neither be saved nor be asked for.
_ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh, "gelu": jax.nn.gelu, "silu": jax.nn.silu}
_RATES: dict[str, type[InnerRate]] = {"scalar": ScalarRate, "layer": LayerRate, "rank1": Rank1Rate}
_LIKELIHOODS = {
    "gaussian": Gaussian,
    "gaussian-learned": lambda: Gaussian(learned_scale=True),
    "categorical": Categorical,
}
# The largest sizes that a header may ask for: far above any use, and below what would exhaust memory as a structure.
_LIMITS = {"input_size": 10**6, "target_size": 10**6, "width": 10**5, "depth": 100, "window": 10**5}


@overload
def load_prior(name_or_path: str | os.PathLike[str]) -> Any: ...


@overload
def load_prior(name_or_path: str | os.PathLike[str], expected: type[P]) -> P: ...


@in_float32
def load_prior(name_or_path: str | os.PathLike[str], expected: type[Any] | None = None) -> Any:
    """Read a prior of any kind from a file, or one that ships with the package. Nothing in the file is executed.

    Args:
        name_or_path: a file that `save_prior`, `mole train` or `mole fit-prior` wrote; or a name, one of
            `mole.priors.names`: ``"motors"``, its baseline ``"motors/supervised"``, ``"sinusoids"``. A string that is
            such a name means the shipped prior, even if there is a file of that name; ``Path("motors")`` is the file.
        expected: `MetaPrior`, `ReadoutPrior` or `StreamPrior`, if the file must hold that kind.

    Returns:
        The prior: a `MetaPrior` for control and for networks, a `ReadoutPrior`, or a `StreamPrior`.
        `read_provenance` tells how it was made.

    Raises:
        FileNotFoundError: if there is neither such a file nor such a name.
        mole.files.checkpoint.CheckpointError: if the file holds something else, or is truncated, altered or of a newer
            format.

    Examples:
        >>> learner = Mixture(load_prior("motors"))          # doctest: +SKIP
    """
    # By name, so that a type can be compared without the import of the others.
    kind = None if expected is None else expected.__name__
    if kind is not None:
        expect_choice("load_prior", "expected", kind, _KINDS.values())
    path, stored = _stored(name_or_path, kind)
    if stored.kind != "prior":
        from mole.priors.stream_file import read_stream_prior  # here, for the reason at `_KINDS`

        return read_stream_prior(path, stored)
    header = parse_header(stored.config, path)
    # Shapes alone: a hostile header allocates nothing before `load` has compared its sizes with the file.
    prior = checkpoint.load(path, eqx.filter_eval_shape(header.skeleton), kind="prior")
    object.__setattr__(
        prior, "_header", header
    )  # for `MetaPrior.__getitem__`; it is no field, so the pytree stays the same
    return prior


def read_provenance(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """How a prior was made, as its header says: the command, seed, data and what else was given to `save_prior`.

    Args:
        name_or_path: as in `load_prior`; no array is read.

    Raises:
        FileNotFoundError: as `load_prior`.
        mole.files.checkpoint.CheckpointError: as `load_prior`.
    """
    path, stored = _stored(name_or_path)
    provenance = stored.config.get("provenance")
    if not isinstance(provenance, dict):
        raise CheckpointError(f"{path} has no provenance in its header; it is damaged.")
    return provenance


def read_planning(path: str | os.PathLike[str]) -> Planning | None:
    """How the agent planned that gathered the data of a prior for control, if its header says so; reads no array.

    Raises:
        FileNotFoundError: as `load_prior`.
        mole.files.checkpoint.CheckpointError: as `load_prior`.
    """
    path, stored = _stored(path, "MetaPrior")
    return parse_header(stored.config, path).planning


def save_prior(path: str | os.PathLike[str], prior: Any, provenance: Mapping[str, Any]) -> None:
    """Write a prior to one file, atomically.

    Args:
        path: the file; its folder must exist.
        prior: a `MetaPrior`, whose model must be a `mole.MLP` with a named activation, a `ReadoutPrior` or a
            `StreamPrior`.
        provenance: how it was made, plain JSON.

    Raises:
        TypeError: if it is no prior, or its model, rate or likelihood is of a type that the header has no name for.
        FileNotFoundError: if the folder does not exist.
        mole.files.checkpoint.CheckpointError: if the provenance is no plain JSON.
    """
    if isinstance(prior, MetaPrior):
        kind, tree, config = "prior", prior, describe_prior(prior, provenance).to_json()
    else:
        from mole.priors.stream_file import describe_file  # here, for the reason at `_KINDS`

        kind, tree, config = describe_file(prior, provenance)
    checkpoint.save(path, tree, kind=kind, config=config)


def _stored(name_or_path: Any, expected: str | None = None) -> tuple[Any, checkpoint.Header]:
    """The file of a name or path, and its header; the kind is that of a prior, the ``expected`` one if given."""
    path = name_or_path
    if isinstance(path, str) and (shipped := shipped_file(path)) is not None:
        path = shipped
    elif isinstance(path, str) and not Path(path).exists():
        known = [*CONTROL, *(prior.env for prior in CONTROL.values()), *STREAMS]
        raise FileNotFoundError(
            f"no prior {path!r}: there is no such file, and none of that name ships with the package; "
            f"{did_you_mean(path, dict.fromkeys(known))} Check the path, or make one: mole train, mole fit-prior."
        )
    stored = checkpoint.read_header(path)
    if stored.kind not in _KINDS or _KINDS[stored.kind] != (expected or _KINDS[stored.kind]):
        want = next((repr(kind) for kind, name in _KINDS.items() if name == expected), "prior")
        command = "mole train" if expected in (None, "MetaPrior") else "mole fit-prior"
        raise CheckpointError(
            f"{path} holds a {stored.kind!r:.80}, expected a {want}; `{command}` writes one."
        )
    return path, stored


@dataclasses.dataclass(frozen=True)
class PriorHeader:
    """How to rebuild a `MetaPrior`, and where it came from.

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
        planning: horizon and shaping of the planner that gathered its data; None where not known.
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
    planning: Planning | None = None

    def to_json(self) -> dict[str, Any]:
        """What is written; without ``planning`` where it is not known, as in the files of version 0.1."""
        config = dataclasses.asdict(self)
        if self.planning is None:
            del config["planning"]
        return config

    def skeleton(self) -> MetaPrior:
        """A prior of this structure; its numbers have no meaning."""
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
            planning=self.planning,
        )


def describe_prior(prior: MetaPrior, provenance: Mapping[str, Any]) -> PriorHeader:
    """The header from which the structure of ``prior`` can be rebuilt.

    Raises:
        TypeError: if the model, rate or likelihood is of a type that the header has no name for.
    """
    model, likelihood = prior.model, prior.likelihood
    # No subclass: `skeleton` would rebuild a plain MLP, which may compute something else.
    if type(model) is not MLP:
        _name_of(model, {"mole.MLP": MLP}, "model")
    # The only likelihood whose name depends on more than its type.
    learned = type(likelihood) is Gaussian and likelihood.learned_scale
    return PriorHeader(
        input_size=prior.input_size,
        target_size=prior.target_size,
        width=model.layers[0].weight.shape[1],
        depth=len(model.layers) - 1,
        activation=_name_of(model.activation, _ACTIVATIONS, "activation"),
        rate=_name_of(prior.inner_rate, _RATES, "inner rate"),
        likelihood="gaussian-learned" if learned else _name_of(likelihood, _LIKELIHOODS, "likelihood"),
        window=prior.window,
        provenance=dict(provenance),
        planning=prior.planning,
    )


def _name_of(value: Any, table: Mapping[str, Any], what: str) -> str:
    for name, entry in table.items():
        if entry is value or type(value) is entry:
            return name
    got = getattr(value, "__name__", f"{type(value).__module__}.{type(value).__qualname__}")
    raise TypeError(
        f"save_prior got the {what} {got}; expected one of {', '.join(table)}. Use mole.files.checkpoint.save "
        "with your own module as `like` for anything else."
    )


def parse_header(config: Mapping[str, Any], path: Any) -> PriorHeader:
    """Check a header read from ``path``: a stranger's file must not build anything huge or unknown.

    Raises:
        mole.files.checkpoint.CheckpointError: for missing or unknown fields, names and sizes.
    """
    fields = {field.name: field.type for field in dataclasses.fields(PriorHeader)}
    wrong = sorted(set(fields) ^ {*config, "planning"})  # the only one that may be missing
    if wrong:
        raise CheckpointError(
            f"{path} has a header that differs in {str(wrong)[:300]}; it was written by another version."
        )
    for name, limit in _LIMITS.items():
        value = config[name]
        # JSON's true is an int of Python.
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
    try:
        planning = None if config.get("planning") is None else Planning.from_json(config["planning"])
    except ValueError as error:
        raise CheckpointError(f"{path} has a damaged header: {error}") from error
    return PriorHeader(**{**config, "planning": planning})
