"""What a mixture of readouts knows: of a task on average over some inputs, and of the next target.

The posterior of a readout's coefficients is a Student-t (`mole.readout.belief`), and whatever is linear in them has a
mean and a variance in closed form: for features z(x) and coefficients w,

    mean of z̄ᵀw over inputs             z̄ᵀm,  variance σ² z̄ᵀVz̄
    mean slope by input i                 J̄ᵢᵀm,  variance σ² J̄ᵢᵀVJ̄ᵢ,    J̄ᵢ the mean of ∂z/∂xᵢ

with σ² = b / (a − 1), and by the law of total variance over the rates of drift. In NumPy: it is asked for once in many
pairs, and a program would be compiled for every number of inputs in the middle of a stream.

The next target is a mixture of Student-t distributions (`components`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array
from mole.readout.belief import forecast
from mole.readout.prior import _LINEAR_UP_TO, Features

__all__ = ["LinearFeatures", "TaskPosterior", "components", "linear_features"]


class LinearFeatures(NamedTuple):
    """Features over some inputs.

    Attributes:
        inputs: normalised and drawn in (`mole.readout.prior.compress`) ``[n, dx]``.
        mean: of the features ``[d]``.
        slopes: mean derivatives by the normalised inputs ``[d, dx]``.
    """

    inputs: np.ndarray
    mean: np.ndarray
    slopes: np.ndarray


def linear_features(features: Features, x: np.ndarray) -> LinearFeatures:
    """Features and their derivatives, on average over normalised inputs ``[n, dx]``."""
    x = np.asarray(x, float)
    beyond = np.maximum(np.abs(x) - _LINEAR_UP_TO, 0.0)
    inputs = np.clip(x, -_LINEAR_UP_TO, _LINEAR_UP_TO) + np.sign(x) * np.log1p(beyond)
    bend = 1.0 / (1.0 + beyond)
    growing = list(features.growing)
    inputs[:, growing], bend[:, growing] = x[:, growing], 1.0
    hidden = inputs
    slope: Any = None
    for layer in features.layers:
        weight = np.asarray(layer.weight, float)
        hidden = hidden @ weight + np.asarray(layer.bias, float)
        # [n, dx, h]: how each unit moves with each input, where it is above zero.
        slope = (weight[None] if slope is None else slope @ weight) * (hidden > 0)[:, None, :]
        hidden = np.maximum(hidden, 0.0)
    scale = np.asarray(features.scale, float)
    bent = np.mean(slope * bend[:, :, None], axis=0).T / scale[:, None]
    return LinearFeatures(
        inputs,
        np.concatenate([[1.0], inputs.mean(axis=0), hidden.mean(axis=0) / scale]),
        np.concatenate([np.zeros((1, x.shape[1])), np.diag(bend.mean(axis=0)), bent]),
    )


class TaskPosterior(NamedTuple):
    """What a mixture knows of the coefficients of one task, by rates of drift.

    Attributes:
        weights: of the rates ``[rates]``.
        mean: ``[rates, d, dy]``.
        cov: in units of the noise ``[rates, dy or 1, d, d]``: one for all outputs, or of each (`mole.readout.gaps`).
        noise: variance of the noise ``[rates, dy]``.
    """

    weights: np.ndarray
    mean: np.ndarray
    cov: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, state: Any, slot: int) -> TaskPosterior:
        """That of the task in a slot of a `mole.readout.ReadoutState`."""
        scores = np.asarray(state.rate_scores)[slot].astype(float)
        weights = np.exp(scores - scores.max())
        mean, cov, shape, rate = (np.asarray(part)[slot].astype(float) for part in state.beliefs)
        if mean.ndim == 4:  # outputs apart: [rates, dy, d, 1]
            mean, rate = np.swapaxes(mean[..., 0], 1, 2), rate[..., 0]
        else:
            cov, shape = cov[:, None], shape[:, None]
        return cls(weights / weights.sum(), mean, cov, rate / (shape - 1.0))

    def expected(self, along: np.ndarray) -> np.ndarray:
        """Means of ``along[d, k]``ᵀ w ``[k, dy]``."""
        return np.einsum("dk,f,fdy->ky", along, self.weights, self.mean)

    def covariance(self, along: np.ndarray) -> np.ndarray:
        """Covariances of ``along[d, k]``ᵀ w ``[dy, k, k]``."""
        apart = np.einsum("dk,fdy->fky", along, self.mean) - self.expected(along)[None]
        known = np.einsum("dk,fydj->fykj", along, self.cov @ along)
        total = np.sum((self.weights[:, None] * self.noise)[:, :, None, None] * known, axis=0)
        return total + np.einsum("f,fky,fjy->ykj", self.weights, apart, apart)


def components(learner: Any, state: Any, x: Array) -> tuple[Array, Array, Array, Array]:
    """The predictive distribution of a `mole.readout.ReadoutMixture` for one input ``[dx]``, term by term.

    A new task that may begin with this pair is left out, as in `ReadoutMixture.forecast`.

    Returns:
        Weights of tasks, candidates and rates ``[k]``, which sum to one; locations and scales ``[k, dy]`` in the
        target's unit, and degrees of freedom ``[k, dy]`` of the Student-t.
    """
    expected = forecast(state.beliefs, learner.prior.features_of(x))
    chance = learner.next_probability(state)[0]
    weights = (chance / chance.sum())[:, None] * jax.nn.softmax(state.rate_scores, axis=-1)
    norm, dy = learner.prior.y_norm, learner.prior.target_size
    mean = expected.mean.reshape(-1, dy) * norm.std[None] + norm.mean[None]
    scale = expected.scale2.reshape(-1, dy) ** 0.5 * norm.std[None]
    freedom = jnp.broadcast_to(2.0 * expected.shape.reshape(len(mean), -1), mean.shape)
    return weights.ravel(), mean, scale, freedom
