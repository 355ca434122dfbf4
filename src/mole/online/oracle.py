"""The oracle: told the true task, it keeps one model per task and is never confused. An upper bound, not a method."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_number, expect_type, expect_whole
from mole._types import Array, Float, Int, Model, Pairs
from mole.learning.prior import MetaPrior
from mole.online.base import OnlineLearner, as_float32, expect_reach
from mole.online.em import m_step_own
from mole.online.stack import pick, remember, stack_models

__all__ = ["Oracle", "OracleState"]


class OracleState(eqx.Module):
    """State of an `Oracle`.

    Attributes:
        models: parameters of every task's model ``[tasks, ...]``.
        memory: the last 2k pairs of every task ``[tasks, 2k, ...]``.
        task: the true task, as told.
        known: 1 for every task told of so far ``[tasks]``.
        fault: of the last step, bits of `mole.online.Fault`.
    """

    models: Model
    memory: Pairs
    task: Int[Array, ""]
    known: Int[Array, " tasks"]
    fault: Int[Array, ""]


class Oracle(OnlineLearner):
    """One model per true task, learning as a task of `Mixture` does; the evaluator calls `tell` before each step.

    Args:
        prior: the meta-trained θ*.
        n_tasks: number of true tasks; a larger number told later shares the last slot.
        window: k; the prior's if not given.
        step_scale: M-step rate as a fraction of the inner rate.
        reach: see `OnlineLearner`.

    Raises:
        TypeError: if a setting is of another type.
        ValueError: if a setting is out of range, with what is expected.
    """

    prior: MetaPrior
    n_tasks: int = eqx.field(static=True)
    _: dataclasses.KW_ONLY
    window: int | None = eqx.field(static=True, default=None)
    step_scale: Array = eqx.field(converter=as_float32, default=0.1)

    def __post_init__(self) -> None:
        """Check the settings."""
        expect_type("Oracle", "prior", self.prior, MetaPrior, "mole.meta_train and mole.load_prior give one.")
        self.window = self.prior.window if self.window is None else self.window
        expect_whole("Oracle", "n_tasks", self.n_tasks, 1, "It is the number of true tasks.", most=1024)
        expect_whole("Oracle", "window", self.window, 1, "It is k, the pairs of one inner step.")
        remedy = "It is a fraction of the inner rate."
        expect_number("Oracle", "step_scale", self.step_scale, low=0.0, remedy=remedy)
        expect_reach("Oracle", self.reach)

    @property
    def k(self) -> int:
        """Pairs of one inner step: ``window``, or the prior's."""
        return self.window or self.prior.window

    def init(self) -> OracleState:
        """θ* in every slot, told task 0."""
        return OracleState(
            stack_models(self.prior, self.n_tasks),
            Pairs.empty(self.prior.input_size, self.prior.target_size, 2 * self.k, self.n_tasks),
            jnp.zeros((), jnp.int32),
            jnp.zeros((self.n_tasks,), jnp.int32).at[0].set(1),
            jnp.zeros((), jnp.int32),
        )

    def tell(self, state: OracleState, task: Int[Array, ""] | int) -> OracleState:
        """The state that knows which task governs the next pair; numbers out of range are clipped to the slots."""
        slot = jnp.clip(jnp.asarray(task, jnp.int32), 0, self.n_tasks - 1)
        return eqx.tree_at(lambda s: (s.task, s.known), state, (slot, state.known.at[slot].set(1)))

    def model(self, state: OracleState) -> Model:
        """The model of the true task."""
        return pick(self.prior, state.models, state.task)

    def model_in(self, state: OracleState, slot: Int[Array, ""] | int) -> Model:
        """The model of a true task."""
        return pick(self.prior, state.models, jnp.asarray(slot))

    def task_numbers(self, state: OracleState) -> Int[Array, " tasks"]:
        """A task has the number of its slot; −1 for one never told of."""
        return jnp.where(state.known > 0, jnp.arange(self.n_tasks, dtype=jnp.int32), -1)

    def responsibilities(self, state: OracleState) -> Float[Array, " tasks"]:
        """The true task with probability one."""
        return jax.nn.one_hot(state.task, self.n_tasks)

    def learn(self, state: OracleState, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> OracleState:
        """The true task's model learns from the pair; the others stay as they are."""
        memory = remember(state.memory, state.task, x, y)
        models, fault = m_step_own(self.prior, state.models, memory, state.task, self.k, self.step_scale)
        return OracleState(models, memory, state.task, state.known, fault)

    def report(self, after: OracleState) -> dict[str, Array]:
        """The true task with probability one."""
        false = jnp.zeros((), bool)
        return {
            "responsibilities": self.responsibilities(after),
            "task": after.task,
            "n_tasks": jnp.sum(after.known),
            "spawned": false,
            "at_capacity": false,
            "fault": after.fault,
        }
