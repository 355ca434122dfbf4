"""The protocol of an online learner: explicit state, predict before you learn, one pair at a time."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._expect import expect_vector
from mole._types import Array, Bool, Float, Int, Model
from mole.likelihoods import Prediction
from mole.online.guard import REFUSED, entry_fault, sequence_fault
from mole.prior import MetaPrior

__all__ = [
    "REACH",
    "Info",
    "OnlineLearner",
    "Pairs",
    "fresh",
    "parameters",
    "single_task_report",
    "with_parameters",
]

REACH = 100.0
"""Standard deviations; the largest number of our simulated worlds is at 14."""

State = Any
"""A pytree of arrays, a fixed point of `OnlineLearner.update` in shapes, dtypes and weak types."""


class Info(NamedTuple):
    """What one update saw and did.

    Attributes:
        loss: loss of the prediction made before learning (normalised target, mean over dimensions); NaN if rejected.
        responsibilities: P_t(T_i) of every slot ``[tasks]``, summing to one.
        task: slot of the model that predicts from now on.
        n_tasks: slots in use.
        spawned: whether a new task joined the mixture at this step.
        at_capacity: whether a new task would have joined but every slot was in use.
        rejected: whether the pair held a number that is not finite, or further than the learner's ``reach`` from what
            the prior was trained on; it is then ignored and the state is unchanged.
        fault: what was wrong with the pair or with the step on it, bits of `mole.online.Fault`; 0 if nothing.
    """

    loss: Float[Array, ""]
    responsibilities: Float[Array, " tasks"]
    task: Int[Array, ""]
    n_tasks: Int[Array, ""]
    spawned: Bool[Array, ""]
    at_capacity: Bool[Array, ""]
    rejected: Bool[Array, ""]
    fault: Int[Array, ""]


class Pairs(NamedTuple):
    """The last pairs of a stream, oldest first; ``weight`` is 0 where nothing has been stored yet.

    Attributes:
        x: normalised inputs ``[n, dx]``.
        y: normalised targets ``[n, dy]``.
        weight: 1 for a stored pair, else 0, ``[n]``.
    """

    x: Float[Array, "*tasks n dx"]
    y: Float[Array, "*tasks n dy"]
    weight: Float[Array, "*tasks n"]

    @classmethod
    def empty(cls, prior: MetaPrior, n: int, *leading: int) -> Pairs:
        """Room for ``n`` pairs (for each of ``leading`` tasks)."""
        return cls(
            jnp.zeros((*leading, n, prior.input_size)),
            jnp.zeros((*leading, n, prior.target_size)),
            jnp.zeros((*leading, n)),
        )

    def push(self, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Pairs:
        """Forget the oldest pair, append the newest."""
        return Pairs(
            jnp.concatenate([self.x[1:], x[None]]),
            jnp.concatenate([self.y[1:], y[None]]),
            jnp.concatenate([self.weight[1:], jnp.ones((1,))]),
        )

    def last(self, n: int) -> Pairs:
        """The newest ``n`` pairs."""
        return Pairs(*(field[-n:] for field in self))


def parameters(model: Model) -> Model:
    """The trainable arrays of a model; everything else is None."""
    return eqx.filter(model, eqx.is_inexact_array)


def fresh(state: Any) -> Any:
    """A copy in which no two leaves share a buffer, so that a state can be donated to a jitted update."""
    return jax.tree.map(lambda a: jnp.array(a, copy=True), state)


def with_parameters(model: Model, arrays: Model) -> Model:
    """``model`` with its trainable arrays replaced."""
    return eqx.combine(arrays, model)


class OnlineLearner(eqx.Module):
    """A learner is configuration; its state is a pytree that the caller holds. All methods are pure and jit.

    Subclasses implement `init`, `model` and `learn`; `update` and `predict` are defined here, once.

    Attributes:
        prior: what it starts from.
        reach: standard deviations of the prior's training data beyond which a number of a pair is no observation: the
            pair is refused. Networks extrapolate so far that one step on it would ruin them.
    """

    prior: eqx.AbstractVar[MetaPrior]
    reach: float = eqx.field(static=True, default=REACH, kw_only=True)

    @abc.abstractmethod
    def init(self) -> State:
        """The state before the first pair."""

    @abc.abstractmethod
    def model(self, state: State) -> Model:
        """The model to predict and plan with."""

    @abc.abstractmethod
    def learn(self, state: State, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> State:
        """Learn from one normalised, finite pair. Called by `update`."""

    def advance(
        self, valid: Bool[Array, ""], state: State, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> tuple[Array, State]:
        """Loss of the prediction of one normalised pair, then `learn` if it is ``valid``, else the state as it is.

        A learner of many models does this in place: XLA copies what goes into a branch.
        """
        loss = self.prior.likelihood.loss(self.model(state)(x), y)
        return loss, jax.lax.cond(valid, lambda s: self.learn(s, x, y), lambda s: s, state)

    @abc.abstractmethod
    def report(self, before: State, after: State) -> dict[str, Array]:
        """The fields of `Info` but ``loss`` and ``rejected``; ``fault`` is that of the step."""

    def predict(self, state: State, x: Float[Array, " dx"]) -> Prediction:
        """Prediction for one input ``[dx]``, in the target's unit."""
        expect_vector(
            f"{type(self).__name__}.predict", "x", x, self.prior.input_size, "Pass one input at a time."
        )
        return self.prior.predict(self.model(state), x)

    def update(self, state: State, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> tuple[State, Info]:
        """One step of online learning from the pair (x, y), both in their natural units.

        Args:
            state: from `init` or an earlier `update`.
            x: input ``[dx]``.
            y: target ``[dy]``.

        Returns:
            The next state and an `Info`. A pair with a number that is not finite or out of reach changes nothing and is
            flagged.

        Raises:
            ValueError: (when traced) if a shape is not the prior's.
        """
        for name, value, size in (("x", x, self.prior.input_size), ("y", y, self.prior.target_size)):
            dtype = getattr(value, "dtype", None) or np.asarray(value).dtype
            if not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
                raise TypeError(
                    f"{type(self).__name__}.update got {name} of type {dtype}; expected ({size},) numbers."
                )
            if jnp.shape(value) != (size,):
                raise ValueError(
                    f"{type(self).__name__}.update got {name} of shape {jnp.shape(value)}; expected ({size},), as the "
                    "prior was trained with. Pass one pair at a time, in the same features."
                )
        x, y = self.prior.x_norm(x), self.prior.y_norm(y)
        fault = entry_fault(x, y, self.reach)
        valid = (fault & REFUSED.value) == 0
        loss, after = self.advance(valid, state, x, y)
        tasks = self.report(state, after)
        happened = {name: tasks[name] & valid for name in ("spawned", "at_capacity")}
        recent = getattr(state, "recent", None)
        seen = jnp.int32(0) if recent is None else sequence_fault(recent, x, y)
        happened["fault"] = jnp.where(valid, seen | tasks["fault"], fault)
        return after, Info(loss=jnp.where(valid, loss, jnp.nan), rejected=~valid, **{**tasks, **happened})


def single_task_report(fault: Int[Array, ""] | int = 0) -> dict[str, Array]:
    """`OnlineLearner.report` of a learner that keeps one model, with what happened to its last step."""
    false, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    return {
        "responsibilities": jnp.ones((1,)),
        "task": zero,
        "n_tasks": zero + 1,
        "spawned": false,
        "at_capacity": false,
        "fault": jnp.asarray(fault, jnp.int32),
    }
