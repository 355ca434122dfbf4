"""An agent: an online learner of the dynamics and a planner. `act` and `observe` are pure and jit.

The agent sees observations and actions, never the hidden task.
"""

from __future__ import annotations

import collections
import functools
import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike

from mole._types import Array, Float, Key, Model
from mole.learning.models import narrow_weights
from mole.learning.prior import MetaPrior
from mole.online.base import Info, OnlineLearner
from mole.planning.base import Planner, PlannerState

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["Agent", "AgentState", "LearnedDynamics", "Measured", "jit_act", "jit_observe", "measured"]

_KEPT = 4


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


class Measured(NamedTuple):
    """What an evaluator wants to know of an observation; NaN where it has no meaning."""

    position: Float[Array, ""]
    upright: Float[Array, ""]


def measured(spec: DynamicsSpec, obs: Float[Array, " obs"]) -> Measured:
    """What the environment's spec says of an observation ``[obs]``."""
    functions = (spec.position, spec.posture)
    return Measured(*(jnp.full((), jnp.nan) if f is None else f(obs) for f in functions))


def jit_act(
    agent: Agent, state: AgentState, obs: ArrayLike, key: Key, step: ArrayLike
) -> tuple[PlannerState, Array]:
    """`Agent.act` compiled once per kind of agent; the key of the step is folded in."""
    kind, arrays = _kind_of(agent)
    return _act(kind, arrays, state, obs, key, step)


def jit_observe(
    agent: Agent, state: AgentState, obs: ArrayLike, action: ArrayLike, next_obs: ArrayLike
) -> tuple[AgentState, Info, Measured]:
    """`Agent.observe` compiled once per kind of agent. ``state.learner`` is donated: do not use it again.

    What was seen is fetched in one transfer, as NumPy arrays.
    """
    kind, arrays = _kind_of(agent)
    learner, packed = _observe(kind, arrays, state.learner, (state.planner, obs, action, next_obs))
    return AgentState(learner, state.planner), *kind.unpacked(np.asarray(packed))


class _Kind:
    """What agents that differ in their numbers alone share; compared by identity, at no cost at every call."""

    def __init__(self, structure: Any, constants: tuple[Any, ...], rest: Any) -> None:
        self.structure, self.constant = structure, jax.tree.unflatten(rest, constants)
        self.seen: Any = (
            None  # structure, shapes and types of what an observation gives; known once it is traced
        )

    def agent(self, arrays: list[Array]) -> Agent:
        return eqx.combine(jax.tree.unflatten(self.structure, arrays), self.constant)

    def packed(self, seen: tuple[Info, Measured]) -> Array:
        leaves, structure = jax.tree.flatten(seen)
        self.seen = structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
        return jnp.concatenate([leaf.astype(jnp.float32).reshape(-1) for leaf in leaves])

    def unpacked(self, values: np.ndarray) -> tuple[Info, Measured]:
        structure, leaves = self.seen
        ends = np.cumsum([math.prod(shape) for shape, _ in leaves])
        parts = [values[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        shaped = [p.reshape(shape).astype(dtype) for p, (shape, dtype) in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)


_shared_kind = functools.cache(_Kind)
_taken_apart: collections.OrderedDict[int, tuple[Agent, _Kind, list[Array]]] = collections.OrderedDict()


def _kind_of(agent: Agent) -> tuple[_Kind, list[Array]]:
    """Kind and arrays of an agent; those of the last few are kept, since taking one apart costs as much as a call."""
    known = _taken_apart.get(id(agent))
    if known is None:
        arrays, rest = eqx.partition(agent, eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        constants, kept = jax.tree.flatten(rest)
        known = agent, _shared_kind(structure, tuple(constants), kept), leaves
        if not any(isinstance(leaf, Tracer) for leaf in leaves):
            _taken_apart[id(agent)] = known  # holds the agent, so that its id is not another's
            if len(_taken_apart) > _KEPT:
                _taken_apart.popitem(last=False)
    return known[1:]


@functools.partial(jax.jit, static_argnums=0)
def _act(
    kind: _Kind, arrays: list[Array], state: AgentState, obs: Array, key: Key, step: Array
) -> tuple[PlannerState, Array]:
    state, action = kind.agent(arrays).act(state, jnp.asarray(obs), jax.random.fold_in(key, step))
    return state.planner, action


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _observe(kind: _Kind, arrays: list[Array], learner: Any, rest: tuple[Any, ...]) -> tuple[Any, Array]:
    agent, (planner, obs, action, next_obs) = kind.agent(arrays), rest
    state, info = agent.observe(AgentState(learner, planner), obs, action, next_obs)
    return state.learner, kind.packed((info, measured(agent.spec, next_obs)))
