"""What the model of one task depends on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Model
from mole.estimators.steps import model_gradient
from mole.online.em import pick
from mole.readout import Readout, ReadoutMixture

__all__ = ["task_importance"]


def task_importance(learner: Any, state: Any, slot: int | None, recent: np.ndarray) -> np.ndarray:
    """Mean |dy / dx| of a task's model over recent inputs, in standard deviations of target and input.

    Args:
        learner: the mixture.
        state: its state.
        slot: where the task is; the model that predicts now if None.
        recent: inputs ``[n, dx]``.

    Returns:
        Importances ``[dy, dx]``.
    """
    model = learner.model(state) if slot is None else _in_slot(learner, state, slot)
    return np.asarray(model_gradient(model, jax.vmap(learner.prior.x_norm)(jnp.asarray(recent))))


def _in_slot(learner: Any, state: Any, slot: int) -> Model:
    if not isinstance(learner, ReadoutMixture):
        return pick(learner.prior, state.models, jnp.asarray(slot))
    weights = jax.nn.softmax(state.rate_scores[slot])
    mean = jnp.einsum("f,fdy->dy", weights, state.beliefs.mean[slot])
    return Readout(learner.prior.features, mean)
