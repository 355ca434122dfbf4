"""Normal-inverse-gamma beliefs about linear readouts, and what one pair says about them.

A target is y_j = zᵀ w_j + noise of variance σ²_j, for features z ``[d]`` and outputs j. The belief is σ²_j ~
InvGamma(shape, rate_j) and w_j | σ²_j ~ N(mean_j, σ²_j cov), with one ``cov`` for all outputs, since all see the same
features. Everything is exact (Bishop 2006, sections 3.3 and 3.5, exercise 3.12); any leading axes are many beliefs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from mole._types import Array, Bool, Float

__all__ = [
    "Belief", "Forecast", "Outlook", "absorb", "bounded", "drifted", "forecast", "log_chance", "log_density",
    "log_evidence", "moments",
]  # fmt: skip

_HUBER = 10.0  # scales off, beyond which a target counts for less (`absorb`)
_LEAST_CHANCE = 0.02  # of a class: one surprise must not rule a task out (`log_chance`)
_FAR = 1e15  # its square is still a float32
_MOST_SEEN = 2.0**20  # every pair adds a half to `shape`, which float32 drops from 2^23 on


class Belief(NamedTuple):
    """Beliefs about readouts; ``...`` are any leading axes.

    Attributes:
        mean: expected coefficients ``[..., d, dy]``.
        cov: their covariance in units of the noise variance ``[..., d, d]``.
        shape: of the inverse-gamma, half the pairs seen and more than one ``[...]``.
        rate: of the inverse-gamma, half the squared residuals seen ``[..., dy]``.
    """

    mean: Float[Array, "*many d dy"]
    cov: Float[Array, "*many d d"]
    shape: Float[Array, "*many"]
    rate: Float[Array, "*many dy"]


class Forecast(NamedTuple):
    """What beliefs expect of the target at one input: a Student-t of ``2 shape`` degrees of freedom per output.

    Attributes:
        mean: location ``[..., dy]``.
        scale2: squared scale ``[..., dy]``.
        shape: half the degrees of freedom ``[...]``.
        direction: cov z ``[..., d]``, the direction in which a pair moves the coefficients.
        doubt: zᵀ cov z ``[...]``, variance due to the coefficients in units of the noise.
    """

    mean: Float[Array, "*many dy"]
    scale2: Float[Array, "*many dy"]
    shape: Float[Array, "*many"]
    direction: Float[Array, "*many d"]
    doubt: Float[Array, "*many"]

    @property
    def variance(self) -> Float[Array, "*many dy"]:
        """Variance of the Student-t."""
        return self.scale2 * (self.shape / (self.shape - 1.0))[..., None]


class Outlook(NamedTuple):
    """Mean and variance of forecasts, each ``[..., dy]``."""

    mean: Float[Array, "*many dy"]
    variance: Float[Array, "*many dy"]


def forecast(belief: Belief, z: Float[Array, " d"]) -> Forecast:
    """The predictive distribution at features ``z[d]``."""
    direction = belief.cov @ z
    # A covariance after many updates is positive definite only up to rounding.
    doubt = jnp.maximum(direction @ z, 0.0)
    mean = jnp.einsum("...dy,d->...y", belief.mean, z)
    scale2 = belief.rate / belief.shape[..., None] * (1.0 + doubt)[..., None]
    return Forecast(mean, scale2, belief.shape, direction, doubt)


def log_density(
    expected: Forecast, y: Float[Array, "*each dy"], most_freedom: float | Array = jnp.inf
) -> Float[Array, "*many dy"]:
    """Log density of each output of a target.

    Args:
        expected: what beliefs expect.
        y: the target ``[dy]``, or one for each belief as far as their axes differ.
        most_freedom: upper limit of the degrees of freedom; a low one gives heavier tails than the belief's own.
    """
    shape = jnp.minimum(expected.shape, 0.5 * most_freedom)[..., None]
    constant = gammaln(shape + 0.5) - gammaln(shape) - 0.5 * jnp.log(2.0 * jnp.pi * shape * expected.scale2)
    # Without the limit the square would be infinite, and no task would be more probable than another.
    standard = jnp.minimum(jnp.abs(_residual(expected, y)) / jnp.sqrt(expected.scale2), _FAR)
    return constant - (shape + 0.5) * jnp.log1p(standard**2 / (2.0 * shape))


def log_chance(
    share: Float[Array, "*many dy"], truth: Float[Array, " dy"], known: Bool[Array, " dy"]
) -> Float[Array, "*many"]:
    """Log probability of a class under regressions on the indicators of the classes.

    An expected indicator need not be a probability: it is clipped to [0.02, 1], so that no surprise rules a task out.

    Args:
        share: expected indicators ``[..., dy]``, not normalised. A single one says whether the pair is of the
            class.
        truth: the true indicators ``[dy]``.
        known: which classes have been seen ``[dy]``; the probabilities of these sum to one.
    """
    chance = jnp.clip(share, _LEAST_CHANCE, 1.0)
    if truth.shape[0] == 1:
        chance = jnp.minimum(chance, 1.0 - _LEAST_CHANCE)[..., 0]
        return jnp.log(jnp.where(truth[0] > 0.5, chance, 1.0 - chance))
    return jnp.log(chance @ truth) - jnp.log(chance @ known.astype(chance.dtype))


def moments(
    probability: Float[Array, " slots"],
    rate_scores: Float[Array, "slots rates"],
    expected: Forecast | Outlook,
) -> tuple[Float[Array, " dy"], Float[Array, " dy"]]:
    """Mean and variance ``[dy]`` of a mixture of forecasts ``[slots, rates, ...]``.

    Args:
        probability: of each slot; it is normalised here.
        rate_scores: log weight of each rate of drift within its slot.
        expected: the forecasts.
    """
    # The law of total variance: what the forecasts say of the noise, and how far they are apart.
    weights = (probability / jnp.sum(probability))[:, None] * jax.nn.softmax(rate_scores, axis=-1)
    mean = jnp.einsum("pf,pfy->y", weights, expected.mean)
    spread = expected.variance + (expected.mean - mean[None, None]) ** 2
    return mean, jnp.einsum("pf,pfy->y", weights, spread)


def absorb(
    belief: Belief,
    expected: Forecast,
    y: Float[Array, "*each dy"],
    weight: Float[Array, "*many"],
    times: float | Array = 1.0,
) -> Belief:
    """The posterior after ``weight`` of a pair whose forecast was ``expected``.

    A target that is more than ten scales off (root mean square over outputs) counts for less, in inverse proportion to
    how far it is off (Huber's weights). So no single reading moves a task far.

    Args:
        belief: before the pair.
        expected: `forecast` of that belief.
        y: the target ``[dy]``, or one for each belief as far as their axes differ.
        weight: responsibility times the weight of the pair ``[...]``; zero changes nothing. A whole number is as many
            times the pair, exactly, as long as no target is that far off.
        times: as how many pairs it counts, which are no single reading: Huber's ten scales are as many times ten.

    Returns:
        The posterior (docs/readout.md has the four equations).
    """
    residual = _residual(expected, y)
    squared = residual**2 / expected.scale2
    surprise = jnp.sqrt(jnp.mean(squared, axis=-1))
    weight = weight * jnp.minimum(1.0, _HUBER * times / jnp.maximum(surprise, 1e-6))
    gain = weight / (1.0 + weight * expected.doubt)
    step = gain[..., None] * expected.direction
    # By output: the weight is that of the mean over outputs, of which one alone may be much further off.
    seen = jnp.minimum(residual**2, _HUBER**2 * expected.scale2)
    return Belief(
        mean=belief.mean + step[..., :, None] * residual[..., None, :],
        cov=belief.cov - step[..., :, None] * expected.direction[..., None, :],
        shape=belief.shape + 0.5 * weight,
        rate=belief.rate + 0.5 * gain[..., None] * seen,
    )


def drifted(belief: Belief, prior: Belief, forget: Float[Array, "*many"]) -> Belief:
    """The belief after the readout has moved a little: an Ornstein-Uhlenbeck step around the prior.

    A belief that sees no data returns to the prior. Exponential forgetting would let its covariance grow without bound.

    Args:
        belief: after the last pair.
        prior: where it returns to; of as many axes as ``belief``, broadcast against it.
        forget: q, the share of the prior's variance that is new ``[...]``; zero leaves the belief as it is.
    """
    keep = 1.0 - forget
    root, matrix = jnp.sqrt(keep)[..., None, None], keep[..., None, None]
    return Belief(
        mean=root * belief.mean + (1.0 - root) * prior.mean,
        cov=matrix * belief.cov + (1.0 - matrix) * prior.cov,
        shape=keep * belief.shape + (1.0 - keep) * prior.shape,
        rate=keep[..., None] * belief.rate + (1.0 - keep)[..., None] * prior.rate,
    )


def bounded(belief: Belief) -> Belief:
    """The belief with the noise known from at most two million pairs, so that float32 never stops counting them.

    The expected noise stays. At the least drift of a mixture, 1e-6, the belief is never known from as many pairs.
    """
    share = jnp.minimum(1.0, _MOST_SEEN / belief.shape)
    return belief._replace(shape=belief.shape * share, rate=belief.rate * share[..., None])


def _residual(expected: Forecast, y: Array) -> Array:
    return jnp.broadcast_to(y, expected.mean.shape) - expected.mean


# The evidence of a window of time under a prior over readouts: the objective of meta-training.


def log_evidence(
    design: Float[Array, "n d"],
    residual: Float[Array, "n dy"],
    factor: Float[Array, "d r"],
    shape: Float[Array, ""],
    rate: Float[Array, " dy"],
) -> Float[Array, ""]:
    """Log density of all targets of a window together, under one task drawn from the prior.

    It is the sum of the log densities of every point given those before it, so a prior that maximises it predicts well
    after one point, after two, and so on: the criterion of ALPaCA (Harrison et al. 2018), with the noise unknown too.
    The targets are multivariate Student-t (Bishop 2006, exercise 3.12 and section 6.4.2).

    Args:
        design: features of every point ``[n, d]``.
        residual: targets minus the prior's expectation ``[n, dy]``.
        factor: A, of the coefficients' covariance A Aᵀ in units of the noise ``[d, r]``.
        shape: of the noise's inverse-gamma.
        rate: of the noise's inverse-gamma ``[dy]``.
    """
    n = design.shape[0]
    spread = design @ factor
    half_log_determinant, squares = _normal_terms(jnp.eye(n) + spread @ spread.T, residual)
    half = 0.5 * n
    constant = gammaln(shape + half) - gammaln(shape) - half * jnp.log(2.0 * jnp.pi)
    per_output = (
        constant
        - half_log_determinant
        + shape * jnp.log(rate)
        - (shape + half) * jnp.log(rate + 0.5 * squares)
    )
    return jnp.sum(per_output)


@jax.custom_vjp
def _normal_terms(
    kernel: Float[Array, "n n"], residual: Float[Array, "n dy"]
) -> tuple[Float[Array, ""], Float[Array, " dy"]]:
    """½ log |K| and rᵀ K⁻¹ r of every output, with a derivative written by hand.

    JAX's derivative of a Cholesky factor solves triangular systems in BLAS, which starts several threads for each small
    matrix: on a busy machine this took a hundred times as long.
    """
    return _with_solution(kernel, residual)[0]


def _with_solution(kernel: Array, residual: Array) -> tuple[tuple[Array, Array], Array]:
    lower = jnp.linalg.cholesky(kernel)
    white = jax.scipy.linalg.solve_triangular(lower, residual, lower=True)
    solution = jax.scipy.linalg.solve_triangular(lower, white, lower=True, trans=1)
    return (jnp.sum(jnp.log(jnp.diag(lower))), jnp.sum(white**2, axis=0)), solution


def _forward(kernel: Array, residual: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    terms, solution = _with_solution(kernel, residual)
    return terms, (kernel, solution)


def _backward(kept: tuple[Array, Array], slopes: tuple[Array, Array]) -> tuple[Array, Array]:
    (kernel, solution), (log_slope, square_slope) = kept, slopes
    weighted = solution * square_slope[None]
    return 0.5 * log_slope * _inverse(kernel) - weighted @ solution.T, 2.0 * weighted


_normal_terms.defvjp(_forward, _backward)


def _inverse(kernel: Array) -> Array:
    """Inverse of a symmetric positive definite matrix ``[n, n]``: the sweep operator (Goodnight 1979), without BLAS."""

    def sweep(place: Array, matrix: Array) -> Array:
        pivot = matrix[place, place]
        column, row = matrix[:, place] / pivot, matrix[place]
        swept = (matrix - jnp.outer(column, row)).at[place].set(row / pivot).at[:, place].set(-column)
        return swept.at[place, place].set(1.0 / pivot)

    return jax.lax.fori_loop(0, kernel.shape[0], sweep, kernel)
