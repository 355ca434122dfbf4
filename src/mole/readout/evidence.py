"""How probable a window of time is under a prior over readouts, in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from mole._types import Array, Float

__all__ = ["log_evidence"]


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
    """½ log |K| and rᵀ K⁻¹ r of every output, with a derivative of its own.

    That of a Cholesky factor solves triangular systems in BLAS, which takes several threads for each small matrix: on a
    busy machine a hundred times the work.
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
    """Inverse of a symmetric positive definite matrix ``[n, n]``: the sweep operator (Goodnight 1979)."""

    def sweep(place: Array, matrix: Array) -> Array:
        pivot = matrix[place, place]
        column, row = matrix[:, place] / pivot, matrix[place]
        swept = (matrix - jnp.outer(column, row)).at[place].set(row / pivot).at[:, place].set(-column)
        return swept.at[place, place].set(1.0 / pivot)

    return jax.lax.fori_loop(0, kernel.shape[0], sweep, kernel)
