"""The oracle: told the true task, it keeps one model per task and is never confused. An upper bound, not a method."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Float, Int, Model
from mole.online.base import REACH, OnlineLearner, Pairs
from mole.online.checks import check_prior, check_range, check_reach, check_whole
from mole.online.em import m_step_own, pick, remember, stack_models
from mole.prior import MetaPrior

__all__ = ["Oracle", "OracleState"]


class OracleState(eqx.Module):
    """One model and memory per true task, the task that it has been told, and what happened to the last step."""

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
    """

    prior: MetaPrior
    step_scale: Array
    n_tasks: int = eqx.field(static=True)
    window: int = eqx.field(static=True)

    def __init__(
        self,
        prior: MetaPrior,
        n_tasks: int,
        *,
        window: int | None = None,
        step_scale: float = 0.1,
        reach: float = REACH,
    ) -> None:
        """See the class."""
        check_prior("Oracle", prior)
        check_range("Oracle", "n_tasks", n_tasks, 1, 1024, "It is the number of true tasks.")
        check_range(
            "Oracle", "step_scale", step_scale, 0, float("inf"), "It is a fraction of the inner rate."
        )
        self.prior, self.n_tasks, self.window = prior, n_tasks, prior.window if window is None else window
        check_whole("Oracle", "n_tasks", n_tasks)
        check_range("Oracle", "window", self.window, 1, float("inf"), "It is k, the pairs of one inner step.")
        check_whole("Oracle", "window", self.window)
        check_reach("Oracle", reach)
        self.step_scale, self.reach = jnp.float32(step_scale), reach

    def init(self) -> OracleState:
        """θ* in every slot, told task 0."""
        return OracleState(
            stack_models(self.prior, self.n_tasks),
            Pairs.empty(self.prior, 2 * self.window, self.n_tasks),
            jnp.zeros((), jnp.int32),
            jnp.zeros((self.n_tasks,), jnp.int32).at[0].set(1),
            jnp.zeros((), jnp.int32),
        )

    def tell(self, state: OracleState, task: Int[Array, ""] | int) -> OracleState:
        """The state that knows which task governs the next transition."""
        slot = jnp.clip(jnp.asarray(task, jnp.int32), 0, self.n_tasks - 1)
        return eqx.tree_at(lambda s: (s.task, s.known), state, (slot, state.known.at[slot].set(1)))

    def model(self, state: OracleState) -> Model:
        """The model of the true task."""
        return pick(self.prior, state.models, state.task)

    def learn(self, state: OracleState, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> OracleState:
        """The true task's model learns from the pair; the others rest."""
        memory = remember(state.memory, state.task, x, y)
        models, fault = m_step_own(self.prior, state.models, memory, state.task, self.window, self.step_scale)
        return OracleState(models, memory, state.task, state.known, fault)

    def report(self, before: OracleState, after: OracleState) -> dict[str, Array]:
        """The true task with probability one."""
        false = jnp.zeros((), bool)
        return {
            "responsibilities": jax.nn.one_hot(after.task, self.n_tasks),
            "task": after.task,
            "n_tasks": jnp.sum(after.known),
            "spawned": false,
            "at_capacity": false,
            "fault": after.fault,
        }
