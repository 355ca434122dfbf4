"""The protocol of an online learner: explicit state, predict before you learn, one pair at a time.

A learner is an Equinox module that holds configuration only. Its state is a pytree that the caller holds, so that a
recorded stream is one `jax.lax.scan` over `OnlineLearner.update` and many streams are one `jax.vmap` over that. The
agent, the fleet, the estimators and the evaluation know learners through this class alone: a new kind of learner is
one file with a subclass, and one row in `tests/test_online_contract.py`.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_number, expect_vector
from mole._types import Array, Bool, Float, Int, Model, Pairs
from mole.learning.likelihoods import Likelihood, Prediction
from mole.learning.models import Normalizer
from mole.online.guard import entry_fault, sequence_fault

__all__ = [
    "REACH",
    "Info",
    "OnlineLearner",
    "Pairs",
    "Prior",
    "as_float32",
    "expect_reach",
    "expect_weight",
    "fresh",
    "parameters",
    "single_task_report",
    "with_parameters",
]

REACH = 100.0
"""Default of ``reach``, in standard deviations; the largest number in our simulated worlds is at 14."""

State = Any
"""A pytree of arrays, a fixed point of `OnlineLearner.update` in shapes, dtypes and weak types."""


class Info(NamedTuple):
    """What one update saw and did.

    Attributes:
        loss: loss of the prediction made before learning (normalised target, mean over dimensions); NaN if rejected.
        responsibilities: P_t(T_i) of every slot ``[tasks]``, summing to one.
        task: number of the task that predicts from now on.
        n_tasks: tasks known.
        spawned: whether a new task joined at this step.
        at_capacity: whether a new task would have joined but every slot was in use.
        rejected: whether the pair was ignored, and the state left as it was (see ``fault``).
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


@runtime_checkable
class Prior(Protocol):
    """What every prior has: scalings, sizes, and the meaning of a model's output."""

    @property
    def x_norm(self) -> Normalizer:
        """Normaliser of the inputs ``[dx]``."""
        ...

    @property
    def y_norm(self) -> Normalizer:
        """Normaliser of the targets ``[dy]``."""
        ...

    @property
    def likelihood(self) -> Likelihood:
        """Meaning of the raw output."""
        ...

    @property
    def input_size(self) -> int:
        """Features ``dx`` of one input."""
        ...

    @property
    def target_size(self) -> int:
        """Entries ``dy`` of one target."""
        ...


def parameters(model: Model) -> Model:
    """The trainable arrays of a model; everything else is None."""
    return eqx.filter(model, eqx.is_inexact_array)


def with_parameters(model: Model, arrays: Model) -> Model:
    """``model`` with its trainable arrays replaced."""
    return eqx.combine(arrays, model)


def fresh(state: Any) -> Any:
    """A copy in which no two leaves share a buffer, so that a state can be donated to a jitted update."""
    return jax.tree.map(lambda a: jnp.array(a, copy=True), state)


def as_float32(value: float | Array | None) -> Array:
    """A setting as an array ``[]``: learners that differ only in such numbers share one compiled program."""
    return jnp.float32(value)


def expect_reach(owner: str, reach: Any) -> None:
    """Raise unless ``reach`` is a number of standard deviations whose square is a float32."""
    remedy = "It is how many standard deviations of the training data a number may be off."
    expect_number(owner, "reach", reach, low=1.0, high=1e15, remedy=remedy)


class OnlineLearner(eqx.Module):
    """A learner is configuration; its state is a pytree that the caller holds. All methods are pure and can be jitted.

    Subclasses implement `init`, `model`, `learn` and `report`. Those with many models also override `advance` (learn in
    place), `task_numbers`, `model_in` and `responsibilities` (the slots) and, if they predict with more than one model,
    `forecast`. `predict` and `update` are defined here, once.

    Attributes:
        prior: what it starts from.
        reach: standard deviations of the prior's training data beyond which a number of a pair is no observation: the
            pair is refused. Out there a network's prediction is so wrong that one step on the pair would ruin it.
    """

    prior: eqx.AbstractVar[Any]
    reach: float = eqx.field(static=True, default=REACH, kw_only=True)

    @abc.abstractmethod
    def init(self) -> State:
        """The state before the first pair."""

    @abc.abstractmethod
    def model(self, state: State) -> Model:
        """The model to predict and plan with, that of the most probable task."""

    @abc.abstractmethod
    def learn(self, state: State, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> State:
        """Learn from one normalised pair that was not refused."""

    @abc.abstractmethod
    def report(self, after: State) -> dict[str, Array]:
        """The fields of `Info` but ``loss`` and ``rejected``: ``responsibilities [tasks]``, the others one number each.

        ``fault`` is that of the step.
        """

    # What a learner of several tasks says otherwise.

    def advance(
        self, valid: Bool[Array, ""], state: State, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> tuple[Array, State]:
        """Loss ``[]`` of the prediction of one normalised pair; the state after `learn` if ``valid``, else unchanged.

        Learners with many models override this without a branch: XLA copies whatever enters one.
        """
        loss = self.prior.likelihood.loss(self.model(state)(x), y)
        return loss, jax.lax.cond(valid, lambda s: self.learn(s, x, y), lambda s: s, state)

    def forecast(self, state: State, x: Float[Array, " dx"]) -> Prediction:
        """Prediction for one input ``[dx]``, in the target's unit: that of `model`."""
        return self.prior.predict(self.model(state), x)

    def task_numbers(self, state: State) -> Int[Array, " tasks"]:
        """Number of the task in every slot; −1 where there is only a candidate, or nothing."""
        return jnp.zeros((1,), jnp.int32)

    def responsibilities(self, state: State) -> Float[Array, " tasks"]:
        """P(T_i) of every slot after the last pair."""
        return jnp.ones((1,))

    def model_in(self, state: State, slot: Int[Array, ""] | int) -> Model:
        """The model of the task in a slot."""
        return self.model(state)

    def refusal(self, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Int[Array, ""]:
        """Why a normalised pair cannot be learned, bits of `mole.online.Fault`; 0 if it can."""
        return entry_fault(x, y, self.reach)

    def suspicion(
        self, before: State, after: State, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> Int[Array, ""]:
        """What is suspicious about a pair that was learned, bits of `mole.online.Fault`; 0 if nothing."""
        recent = getattr(before, "recent", None)
        return jnp.int32(0) if recent is None else sequence_fault(recent, x, y)

    def weighted(self, weight: Float[Array, ""]) -> OnlineLearner:
        """This learner as it learns one pair of a weight; a pair of weight one leaves it as it is.

        Raises:
            ValueError: by learners that know no weights of pairs.
        """
        raise ValueError(
            f"{type(self).__name__}.update got a weight; expected none: its step on a pair knows no weights. "
            "Mixture and ReadoutMixture take them."
        )

    # What all learners share.

    @property
    def weighs(self) -> bool:
        """Whether `update` takes weights of pairs."""
        return type(self).weighted is not OnlineLearner.weighted

    def predict(self, state: State, x: Float[Array, " dx"]) -> Prediction:
        """Prediction for one input ``[dx]``, in the target's unit.

        Raises:
            TypeError, ValueError: (when traced) unless ``x`` is one vector of numbers of the prior's size.
        """
        owner = f"{type(self).__name__}.predict"
        expect_vector(owner, "x", x, self.prior.input_size, "Pass one input at a time.")
        return self.forecast(state, jnp.asarray(x))

    def update(
        self,
        state: State,
        x: Float[Array, " dx"],
        y: Float[Array, " dy"],
        weight: Array | float | None = None,
    ) -> tuple[State, Info]:
        """One step of online learning from the pair (x, y), both in their natural units.

        Args:
            state: from `init` or an earlier `update`.
            x: input ``[dx]``.
            y: target ``[dy]``.
            weight: of the pair in the M-step, from 0 to a million; None is one.

        Returns:
            The next state and an `Info`. A pair with a number that is not finite or out of reach changes nothing and is
            flagged.

        Raises:
            TypeError: (when traced) if the pair does not hold numbers.
            ValueError: (when traced) if a shape is not the prior's. For a weight out of range, or any if the learner
                knows none (`weighs`).
        """
        owner = f"{type(self).__name__}.update"
        remedy = "Pass one pair at a time, in the features that the prior was made for."
        expect_vector(owner, "x", x, self.prior.input_size, remedy)
        expect_vector(owner, "y", y, self.prior.target_size, remedy)
        # Normalised before it is judged: the unit of `reach` is the standard deviation of the training data.
        x, y = self.prior.x_norm(jnp.asarray(x)), self.prior.y_norm(jnp.asarray(y))
        refused = self.refusal(x, y)
        valid = refused == 0
        # None and not one: without weights the program is the one that it was, to the bit.
        learner = self if weight is None else self.weighted(jnp.float32(expect_weight(owner, weight)))
        loss, after = learner.advance(valid, state, x, y)
        report = self.report(after)
        # After a refused pair the state is that of the step before, and so are the events that it reports.
        happened = {name: report[name] & valid for name in ("spawned", "at_capacity")}
        happened["fault"] = jnp.where(valid, self.suspicion(state, after, x, y) | report["fault"], refused)
        return after, Info(loss=jnp.where(valid, loss, jnp.nan), rejected=~valid, **{**report, **happened})


def expect_weight(owner: str, weight: Any) -> Any:
    """The weight of a pair; raise unless it is a number from 0 to a million."""
    remedy = "Only their ratios to one matter: divide weights by their mean."
    return expect_number(owner, "weight", weight, low=0.0, high=1e6, remedy=remedy)


def single_task_report(fault: Int[Array, ""] | int = 0) -> dict[str, Array]:
    """`OnlineLearner.report` of a learner with one model.

    Args:
        fault: what was wrong with its last step, bits of `mole.online.Fault`.
    """
    false, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    return {
        "responsibilities": jnp.ones((1,)),
        "task": zero,
        "n_tasks": zero + 1,
        "spawned": false,
        "at_capacity": false,
        "fault": jnp.asarray(fault, jnp.int32),
    }
