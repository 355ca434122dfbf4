"""The meta-trained prior θ*: everything that an online learner starts from."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer

from mole._expect import expect_type, expect_whole
from mole._types import Array, Float, Model
from mole.learning.inner import InnerRate, ScalarRate
from mole.learning.likelihoods import Gaussian, Likelihood, Prediction
from mole.learning.models import Normalizer

__all__ = ["MetaPrior", "Planning"]


@dataclasses.dataclass(frozen=True)
class Planning:
    """How the agent planned that gathered a prior's data: a model is right where it was trained.

    Attributes:
        horizon: steps of a plan.
        shaping: (name, weight) of the terms of the planner's reward that had a weight (`mole.envs.DynamicsSpec`).
    """

    horizon: int
    shaping: tuple[tuple[str, float], ...] = ()

    @classmethod
    def from_json(cls, found: Any) -> Planning:
        """What a file says of it.

        Raises:
            ValueError: if it says anything else.
        """
        try:
            horizon, shaping = found["horizon"], tuple((name, weight) for name, weight in found["shaping"])
            whole = set(found) == {"horizon", "shaping"} and type(horizon) is int and 1 <= horizon <= 10**5
            if whole and all(type(n) is str and type(w) is float and math.isfinite(w) for n, w in shaping):
                return cls(horizon, shaping)
        except (KeyError, TypeError, ValueError):
            pass  # refused below, as what is of another form
        raise ValueError(f"planning={found!r:.80}; expected a horizon and the weights of a shaping.")


class _OncePair:
    """Lets ``prior, header = load_prior(path)`` of version 0.1 work until 0.3.

    The header is in a slot: an entry in the ``__dict__`` of a module would change its structure as a pytree. Python
    unpacks by ``__getitem__``; with an ``__iter__`` a prior would pass for a list wherever a list is expected.
    """

    __slots__ = ("_header",)

    def __getitem__(self, index: int) -> Any:
        try:
            part = (self, self._header)[index]
        except AttributeError:  # it does not come from a file
            raise TypeError("a MetaPrior has no items; its model is `prior.model`.") from None
        warnings.warn(
            "mole.load_prior returns the prior alone now; to take it for a pair goes in version 0.3. Write "
            "prior = load_prior(path), and mole.priors.read_provenance(path) for how it was made.",
            DeprecationWarning,
            stacklevel=2,
        )
        return part


class MetaPrior(eqx.Module, _OncePair):
    """A model θ* with the inner rates, window and scalings under which one gradient step adapts it.

    Args:
        model: θ*, an Equinox module that maps one normalised input ``[dx]`` to a raw output.
        inner_rate: β, an `InnerRate` or one positive number.
        window: k, the points of one inner step.
        x_norm: normaliser of the inputs ``[dx]``.
        y_norm: normaliser of the targets ``[dy]``.
        likelihood: meaning of the raw output.
        residual_scale: error of an adapted model per (normalised) target dimension ``[dy]``, measured on held-out
            windows at meta-training; a number stands for all dimensions.
        planning: how the agent planned that gathered the data, if an agent did.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the window is smaller than one, the rate is out of bounds or a scale is not positive.
    """

    model: Model
    inner_rate: InnerRate
    x_norm: Normalizer
    y_norm: Normalizer
    likelihood: Likelihood
    residual_scale: Float[Array, " dy"]
    window: int = eqx.field(static=True)
    planning: Planning | None = eqx.field(static=True)

    def __init__(
        self,
        model: Model,
        *,
        inner_rate: InnerRate | float,
        window: int,
        x_norm: Normalizer,
        y_norm: Normalizer,
        likelihood: Likelihood | None = None,
        residual_scale: Float[Array, " dy"] | float = 1.0,
        planning: Planning | None = None,
    ) -> None:
        """See the class."""
        expect_whole("MetaPrior", "window", window, 1, "It is k, the points of one inner step.")
        expect_type("MetaPrior", "x_norm", x_norm, Normalizer, "Normalizer.identity(dx) changes nothing.")
        expect_type("MetaPrior", "y_norm", y_norm, Normalizer, "Normalizer.identity(dy) changes nothing.")
        if not callable(model):
            raise TypeError(f"MetaPrior got model={model!r:.80}; expected a module such as mole.MLP.")
        try:
            scale = jnp.asarray(residual_scale, jnp.float32)
        except (TypeError, ValueError):
            raise TypeError(
                f"MetaPrior got residual_scale={residual_scale!r:.80}; expected positive numbers."
            ) from None
        # Within a traced function (e.g. `eqx.filter_eval_shape` of a skeleton) there is no value to check.
        if not isinstance(scale, Tracer) and not bool(jnp.all(scale > 0)):
            raise ValueError(f"MetaPrior got residual_scale={residual_scale}; expected positive numbers.")
        self.model = model
        self.inner_rate = inner_rate if isinstance(inner_rate, InnerRate) else ScalarRate(inner_rate)
        self.window, self.planning = window, planning
        self.x_norm, self.y_norm = x_norm, y_norm
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.residual_scale = jnp.broadcast_to(scale, y_norm.mean.shape)

    @property
    def input_size(self) -> int:
        """Features ``dx`` of one input."""
        return self.x_norm.mean.shape[0]

    @property
    def target_size(self) -> int:
        """Entries ``dy`` of one target."""
        return self.y_norm.mean.shape[0]

    def planned(self, planning: Planning | None) -> MetaPrior:
        """This prior with another `planning`."""
        return MetaPrior(
            self.model,
            inner_rate=self.inner_rate,
            window=self.window,
            x_norm=self.x_norm,
            y_norm=self.y_norm,
            likelihood=self.likelihood,
            residual_scale=self.residual_scale,
            planning=planning,
        )

    def predict(self, model: Model, x: Float[Array, " dx"]) -> Prediction:
        """Prediction of ``model`` (θ* or one adapted from it) for one input ``[dx]``, in the target's unit."""
        output = model(self.x_norm(x))
        scale = self.likelihood.scale(output, self.residual_scale)
        return Prediction(self.y_norm.inverse(self.likelihood.mean(output)), scale * self.y_norm.std)
