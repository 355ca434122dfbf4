"""An agent: an online learner of the dynamics and a planner. `act` and `observe` are pure and jit.

The agent sees observations and actions, never the hidden task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from mole._types import Array, Float, Key, Model
from mole.models import narrow_weights
from mole.online.base import Info, OnlineLearner
from mole.planning.base import Planner, PlannerState
from mole.prior import MetaPrior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["Agent", "AgentState", "LearnedDynamics", "Measured", "jit_act", "jit_observe", "measured"]


class LearnedDynamics(eqx.Module):
    """A model of changes as a map (observation, action) → next observation, for a planner.

    Args:
        model: maps a normalised input to a raw output.
        prior: gives the normalisers and the likelihood.
        spec: turns observations into inputs, and changes into observations.
    """

    model: Model
    prior: MetaPrior
    spec: DynamicsSpec = eqx.field(static=True)

    def __call__(self, obs: Float[Array, " obs"], action: Float[Array, " act"]) -> Float[Array, " obs"]:
        """The expected next observation ``[obs]``."""
        output = self.model(self.prior.x_norm(self.spec.features(obs, action)))
        change = self.prior.y_norm.inverse(self.prior.likelihood.mean(output))
        return self.spec.apply_delta(obs, change)


class AgentState(NamedTuple):
    """What an agent carries from one step to the next: pytrees of arrays."""

    learner: Any
    planner: PlannerState


class Agent(eqx.Module):
    """A learner that adapts the dynamics model online and a planner that uses its most probable one.

    Args:
        learner: any `OnlineLearner`, with a prior for this environment.
        planner: any `Planner`, with this environment's action bounds.
        spec: the environment's `DynamicsSpec`.
        precision: type of the weights in planning (learning is not touched): "bfloat16" plans nearly twice as fast
            where the hardware multiplies such matrices, and slower where it does not.

    Raises:
        ValueError: if prior, planner and spec do not fit together, or for an unknown precision.
    """

    learner: OnlineLearner
    planner: Planner
    spec: DynamicsSpec = eqx.field(static=True)
    precision: Literal["float32", "bfloat16"] = eqx.field(static=True, default="float32")

    def __check_init__(self) -> None:
        """Check that the three parts fit."""
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"Agent got precision={self.precision!r}; expected 'float32' or 'bfloat16'.")
        for name, has in (("learner", "prior"), ("planner", "action_low"), ("spec", "feature_dim")):
            if not hasattr(getattr(self, name), has):
                raise TypeError(
                    f"Agent got {name}={getattr(self, name)!r:.80}; expected an online learner, a planner and the "
                    "DynamicsSpec of an environment."
                )
        prior = self.learner.prior
        for name, got, expected in (
            ("the prior's inputs", prior.input_size, self.spec.feature_dim),
            ("the prior's targets", prior.target_size, self.spec.delta_dim),
            ("the planner's actions", self.planner.action_low.shape[0], self.spec.act_dim),
        ):
            if got != expected:
                raise ValueError(
                    f"Agent got {name} of size {got}; the environment's spec has {expected}. Use a prior trained "
                    "on this environment and the bounds of its action space."
                )

    def init(self) -> AgentState:
        """The state before the first step."""
        return AgentState(self.learner.init(), jax.tree.map(jnp.array, self.planner.init()))

    def act(
        self, state: AgentState, obs: Float[Array, " obs"], key: Key
    ) -> tuple[AgentState, Float[Array, " act"]]:
        """Plan from ``obs`` with the most probable task's model; the action ``[act]`` is within the bounds."""
        model = self.learner.model(state.learner)
        if self.precision != "float32":
            model = narrow_weights(model, jnp.dtype(self.precision))
        dynamics = LearnedDynamics(model, self.learner.prior, self.spec)
        planner, action = self.planner.plan(state.planner, dynamics, self.spec.reward, obs, key)
        return AgentState(state.learner, planner), action

    def observe(
        self,
        state: AgentState,
        obs: Float[Array, " obs"],
        action: Float[Array, " act"],
        next_obs: Float[Array, " obs"],
    ) -> tuple[AgentState, Info]:
        """Learn from one transition (predict first, then the EM iteration)."""
        x, y = self.spec.features(obs, action), self.spec.delta(obs, next_obs)
        learner, info = self.learner.update(state.learner, x, y)
        return AgentState(learner, state.planner), info

    def restart(self, state: AgentState) -> AgentState:
        """After an environment's reset: the plan is forgotten, what was learned stays."""
        return AgentState(state.learner, jax.tree.map(jnp.array, self.planner.init()))


@eqx.filter_jit
def jit_act(
    agent: Agent, state: AgentState, obs: ArrayLike, key: Key, step: ArrayLike
) -> tuple[PlannerState, Array]:
    """`Agent.act` compiled once per kind of agent; the key of the step is folded in."""
    state, action = agent.act(state, jnp.asarray(obs), jax.random.fold_in(key, step))
    return state.planner, action


class Measured(NamedTuple):
    """What an evaluator wants to know of an observation; NaN where it has no meaning."""

    position: Float[Array, ""]
    upright: Float[Array, ""]


def measured(spec: DynamicsSpec, obs: Float[Array, " obs"]) -> Measured:
    """What the environment's spec says of an observation ``[obs]``."""
    functions = (spec.position, spec.posture)
    return Measured(*(jnp.full((), jnp.nan) if f is None else f(obs) for f in functions))


@eqx.filter_jit(donate="all-except-first")
def _observe(rest: tuple[Agent, Any], learner: Any) -> tuple[Any, Info, Measured]:
    agent, (planner, obs, action, next_obs) = rest
    state, info = agent.observe(AgentState(learner, planner), obs, action, next_obs)
    return state.learner, info, measured(agent.spec, next_obs)


def jit_observe(
    agent: Agent, state: AgentState, obs: ArrayLike, action: ArrayLike, next_obs: ArrayLike
) -> tuple[AgentState, Info, Measured]:
    """`Agent.observe` compiled once per kind of agent. ``state.learner`` is donated: do not use it again."""
    learner, info, known = _observe((agent, (state.planner, obs, action, next_obs)), state.learner)
    return AgentState(learner, state.planner), info, known
