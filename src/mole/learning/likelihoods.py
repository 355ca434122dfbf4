"""Likelihoods: what a raw network output says about a (normalised) target.

Each gives two numbers for one pair: ``loss``, the criterion of the paper (a mean over dimensions, the unit of its
temperature τ), and ``log_prob``, a calibrated log density (a sum over dimensions, the unit of our margin).
"""

from __future__ import annotations

import abc
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Float

__all__ = ["Categorical", "Gaussian", "Likelihood", "Prediction", "student_t_log_prob"]

# Of a learned log scale, on normalised targets: see `Gaussian._split`.
_LOG_SCALE_RANGE = (-7.0, 4.0)


class Prediction(NamedTuple):
    """What a model expects of one target, in the target's own unit.

    Attributes:
        mean: expected target ``[dy]``; for classes, their probabilities ``[classes]``.
        scale: standard deviation of the target ``[dy]`` (for classes, of the one-hot indicator).
    """

    mean: Float[Array, " dy"]
    scale: Float[Array, " dy"]


def student_t_log_prob(
    residual: Float[Array, " dy"], scale: Float[Array, " dy"], freedom: float = 4.0
) -> Float[Array, ""]:
    """Log density of a Student-t with ``freedom`` degrees, summed over dimensions.

    The log density falls with the logarithm of the residual, not with its square: so one bad reading starts no task.

    Args:
        residual: target minus prediction ``[dy]``.
        scale: per-dimension scale ``[dy]``, same unit, positive.
        freedom: degrees of freedom ν.

    Returns:
        The log density in nats ``[]``.
    """
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    tail = jnp.log1p(jnp.square(residual / scale) / freedom)
    return jnp.sum(constant - jnp.log(scale) - (freedom + 1) / 2 * tail)


class Likelihood(eqx.Module):
    """Protocol of a likelihood; all methods take one pair and are batched with ``jax.vmap``."""

    @property
    def least_loss(self) -> float:
        """A lower bound of ``loss``; −∞ if none is known (`mole.online.guard` then shortens no gradient step)."""
        return -math.inf

    @abc.abstractmethod
    def output_size(self, dy: int) -> int:
        """Raw network outputs needed for a target of ``dy`` entries."""

    @abc.abstractmethod
    def loss(self, output: Float[Array, " out"], y: Float[Array, " dy"]) -> Float[Array, ""]:
        """Negative log-likelihood of one target, mean over dimensions (the paper's criterion)."""

    @abc.abstractmethod
    def log_prob(
        self, output: Float[Array, " out"], y: Float[Array, " dy"], residual_scale: Float[Array, " dy"]
    ) -> Float[Array, ""]:
        """Robust log density of one target, sum over dimensions.

        ``residual_scale`` is the size of the errors that an adapted model makes, measured at meta-training.
        """

    @abc.abstractmethod
    def mean(self, output: Float[Array, " out"]) -> Float[Array, " dy"]:
        """Expected (normalised) target."""

    @abc.abstractmethod
    def scale(self, output: Float[Array, " out"], residual_scale: Float[Array, " dy"]) -> Float[Array, " dy"]:
        """Predictive standard deviation of the (normalised) target."""


class Gaussian(Likelihood):
    """Independent normal noise on each output.

    Args:
        learned_scale: if False, unit variance: ``loss`` is the mean squared error, twice the negative
            log-likelihood per dimension without its constant (the paper's choice), and the predictive scale is the
            prior's ``residual_scale``. If True the network also outputs one log scale per target.
    """

    learned_scale: bool = eqx.field(static=True, default=False)

    @property
    def least_loss(self) -> float:
        """0 for unit variance; −∞ with a learned scale, since no step can be judged by a loss that is not quadratic."""
        return -math.inf if self.learned_scale else 0.0

    def output_size(self, dy: int) -> int:
        """``dy`` means, and as many log scales if they are learned."""
        return 2 * dy if self.learned_scale else dy

    def _split(self, output: Array) -> tuple[Array, Array]:
        if not self.learned_scale:
            return output, jnp.zeros_like(output)
        mean, log_scale = jnp.split(output, 2)
        # Beyond these bounds an exponential overflows, or one pair rules the loss of a whole window.
        return mean, jnp.clip(log_scale, *_LOG_SCALE_RANGE)

    def loss(self, output: Float[Array, " out"], y: Float[Array, " dy"]) -> Float[Array, ""]:
        """Mean over dimensions of ``((y − μ)/σ)² + 2 log σ``; the squared error for σ = 1."""
        mean, log_scale = self._split(output)
        return jnp.mean(jnp.square((y - mean) * jnp.exp(-log_scale)) + 2.0 * log_scale)

    def log_prob(
        self, output: Float[Array, " out"], y: Float[Array, " dy"], residual_scale: Float[Array, " dy"]
    ) -> Float[Array, ""]:
        """Student-t with the learned scale, or else the measured residual scale."""
        return student_t_log_prob(y - self.mean(output), self.scale(output, residual_scale))

    def mean(self, output: Float[Array, " out"]) -> Float[Array, " dy"]:
        """The mean ``[dy]``."""
        return self._split(output)[0]

    def scale(self, output: Float[Array, " out"], residual_scale: Float[Array, " dy"]) -> Float[Array, " dy"]:
        """The learned scale ``[dy]``, or else ``residual_scale``."""
        return jnp.exp(self._split(output)[1]) if self.learned_scale else residual_scale


class Categorical(Likelihood):
    """One of several classes; targets are one-hot vectors ``[classes]``, outputs are logits ``[classes]``."""

    @property
    def least_loss(self) -> float:
        """0: a cross-entropy is never negative."""
        return 0.0

    def output_size(self, dy: int) -> int:
        """One logit per class."""
        return dy

    def loss(self, output: Float[Array, " out"], y: Float[Array, " dy"]) -> Float[Array, ""]:
        """Cross-entropy of the one-hot target."""
        return -jnp.sum(y * jax.nn.log_softmax(output))

    def log_prob(
        self, output: Float[Array, " out"], y: Float[Array, " dy"], residual_scale: Float[Array, " dy"]
    ) -> Float[Array, ""]:
        """Log probability of the class; ``residual_scale`` has no meaning here and is not used."""
        return -self.loss(output, y)

    def mean(self, output: Float[Array, " out"]) -> Float[Array, " dy"]:
        """Class probabilities ``[classes]``."""
        return jax.nn.softmax(output)

    def scale(self, output: Float[Array, " out"], residual_scale: Float[Array, " dy"]) -> Float[Array, " dy"]:
        """Standard deviation of each class indicator."""
        p = jax.nn.softmax(output)
        return jnp.sqrt(p * (1.0 - p))
