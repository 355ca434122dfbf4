"""An agent: an online learner of the dynamics and a planner that uses the model which the learner believes in.

`Agent.act` and `Agent.observe` are pure functions of an explicit state. `jit_act` and `jit_observe` are the same,
compiled. The agent sees observations and actions, never the hidden task.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from mole._expect import expect_type
from mole._float32 import in_float32
from mole._types import Array, Float, Key
from mole.control.dynamics import LearnedDynamics, Measured, measured
from mole.datasets.resolution import COARSE, ULP, lost_change, rounding
from mole.learning.compiled import Structure, take_apart
from mole.learning.models import narrow_weights
from mole.learning.prior import MetaPrior
from mole.online import Mixture
from mole.online.base import Info, OnlineLearner, Prior
from mole.planning.base import Planner, PlannerState
from mole.planning.config import PlannerConfig, planner_for

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec
    from mole.readout import ReadoutPrior

__all__ = ["Agent", "AgentState", "LearnedDynamics", "Measured", "jit_act", "jit_observe", "measured"]


class AgentState(NamedTuple):
    """What an agent carries from one step to the next: pytrees of arrays.

    Attributes:
        learner: state of the `OnlineLearner`.
        planner: state of the `Planner`, from which the next plan starts.
    """

    learner: Any
    planner: PlannerState


class Agent(eqx.Module):
    """A learner that adapts the dynamics model online, and a planner that plans with its most probable model.

    `Agent.for_env` puts one together for an environment and a prior.

    Args:
        learner: any `OnlineLearner`, with a prior for this environment.
        planner: any `Planner`, with this environment's action bounds.
        spec: the environment's `DynamicsSpec`.
        precision: type of the weights in planning (learning is not touched): "bfloat16" plans nearly twice as fast
            where the hardware multiplies such matrices, and slower where it does not.

    Raises:
        TypeError: if one of the parts is something else.
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
        # By what they have and not by their class: a learner or planner of somebody else will do.
        for name, has in (("learner", "prior"), ("planner", "action_low"), ("spec", "feature_dim")):
            if not hasattr(getattr(self, name), has):
                raise TypeError(
                    f"Agent got {name}={getattr(self, name)!r:.80}; expected an online learner, a planner and the "
                    "DynamicsSpec of an environment."
                )
        # Sizes are compared here, since an error of XLA about a product of matrices would name none of the three parts.
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

    @classmethod
    @in_float32
    def for_env(
        cls,
        env: Any,
        prior: MetaPrior | ReadoutPrior,
        *,
        learner: OnlineLearner | None = None,
        planner: Planner | None = None,
        spec: DynamicsSpec | None = None,
        shaping: Mapping[str, float] | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> Agent:
        """An agent for an environment and a prior that was trained on it, with the planner of `mole eval`.

        Args:
            env: a Gymnasium environment with a bounded, flat action space.
            prior: of the dynamics (`mole.load_prior`).
            learner: a ready learner on this prior. If not given, `Mixture(prior)` for a `MetaPrior` and
                `ReadoutMixture(prior)` for a `ReadoutPrior`, with their default settings: they suit any environment.
                (`mole eval` has tuned ones: `mole.experiment.methods.TABLE`.)
            planner: a ready planner. If not given, CEM within the bounds of the action space, with the amounts of
                `mole.planning.config.PlannerConfig` and the horizon that the prior was trained with, if it knows.
            spec: the environment's `DynamicsSpec`; `mole.envs.spec_for(env)` if not given.
            shaping: weights of the spec's shaping in the planner's reward, by name; ``{}`` for none. If not given, as
                the prior was trained, or as in ``spec`` if that is given or the prior does not know.
            precision: see the class.

        Raises:
            TypeError: if ``prior`` is no prior of dynamics, or ``env`` no environment.
            ValueError: if there is no such spec or shaping, the learner has another prior, or parts do not fit.
        """
        # Here, since it imports an optimiser, which nobody needs who acts.
        from mole.readout import ReadoutMixture, ReadoutPrior

        expect_type(
            "Agent.for_env", "prior", prior, (MetaPrior, ReadoutPrior), "mole.load_prior returns one."
        )
        if learner is None:
            learner = Mixture(prior) if isinstance(prior, MetaPrior) else ReadoutMixture(prior)
        elif learner.prior is not prior:
            raise ValueError(
                "Agent.for_env got a learner with another prior than the given one; expected one prior for both. Pass "
                "learner.prior, or make the learner from this prior."
            )
        if not hasattr(env, "action_space"):
            raise TypeError(
                f"Agent.for_env got env={env!r:.80}; expected a Gymnasium environment. Make one with gymnasium.make."
            )
        trained = prior.planning if isinstance(prior, MetaPrior) else None
        if planner is None:
            planner = planner_for(PlannerConfig().after(trained), env.action_space)
        if spec is None:
            # Here, since it imports a simulator, which an environment with a spec of its own need not have.
            from mole.envs.spec import spec_for

            spec = spec_for(env)
            shaping = dict(trained.shaping) if shaping is None and trained is not None else shaping
        if shaping is not None:
            spec = spec.shaped(shaping)
        return cls(learner, planner, spec, precision)

    @in_float32
    def init(self) -> AgentState:
        """The state before the first step."""
        # As arrays, so that the program which the first call compiles is that of all later ones.
        return AgentState(self.learner.init(), jax.tree.map(jnp.array, self.planner.init()))

    def act(
        self, state: AgentState, obs: Float[Array, " obs"], key: Key
    ) -> tuple[AgentState, Float[Array, " act"]]:
        """Plan from ``obs`` with the most probable task's model; the action ``[act]`` is within the bounds."""
        model = self.learner.model(state.learner)
        # A copy for planning: what is learned keeps all its digits.
        if self.precision != "float32":
            model = narrow_weights(model, jnp.dtype(self.precision))
        dynamics = LearnedDynamics(model, self.learner.prior, self.spec)
        planner, action = self.planner.plan(state.planner, dynamics, self.spec.planning_reward, obs, key)
        return AgentState(state.learner, planner), action

    def observe(
        self,
        state: AgentState,
        obs: Float[Array, " obs"],
        action: Float[Array, " act"],
        next_obs: Float[Array, " obs"],
        lost: tuple[Float[Array, " obs"], Float[Array, " obs"]] | None = None,
    ) -> tuple[AgentState, Info]:
        """Learn from one transition; ``lost`` is what float32 took of both ends (`mole.datasets.resolution`)."""
        x, y = self.spec.features(obs, action), self.spec.delta(obs, next_obs)
        if lost is not None:
            delta, ends = self.spec.delta, (obs, next_obs)
            # By what may be lost and not by what is: small changes of a coarse entry must not stay 0.
            least = jnp.abs(lost_change(delta, ends, (-ULP * jnp.abs(obs), ULP * jnp.abs(next_obs))))
            coarse = least > COARSE * _typical_change(self.learner.prior)
            y = jnp.where(coarse, y + lost_change(delta, ends, lost), y)
        learner, info = self.learner.update(state.learner, x, y)
        return AgentState(learner, state.planner), info

    @functools.cached_property
    def _compiled(self) -> tuple[_Programs, list[Array]]:
        # Kept with the agent, since to take it apart costs as much as a call. No field, so no part of the pytree.
        structure, arrays = take_apart(self)
        return _programs(structure), arrays

    @functools.cached_property
    def _resolution(self) -> float:
        # Size of an observation below which rounding is little of any change, even if a target adds up four entries.
        return COARSE / 4 / (2 * ULP) * float(np.min(_typical_change(self.learner.prior)))

    def __getstate__(self) -> dict[str, Any]:
        """Compiled programs are not copied or pickled."""
        return {name: value for name, value in vars(self).items() if name not in ("_compiled", "_resolution")}

    def restart(self, state: AgentState) -> AgentState:
        """After an environment's reset: the plan is forgotten, what was learned stays."""
        return AgentState(state.learner, jax.tree.map(jnp.array, self.planner.init()))


@in_float32
def jit_act(
    agent: Agent, state: AgentState, obs: ArrayLike, key: Key, step: ArrayLike
) -> tuple[PlannerState, Array]:
    """`Agent.act` compiled once per kind of agent: the planner's new state and the action ``[act]``.

    ``key`` is that of the whole run. The number of the step is folded in, so that a resumed run draws what it would
    have drawn.
    """
    programs, arrays = agent._compiled
    return programs.act(arrays, state, obs, key, step)


@in_float32
def jit_observe(
    agent: Agent, state: AgentState, obs: ArrayLike, action: ArrayLike, next_obs: ArrayLike
) -> tuple[AgentState, Info, Measured]:
    """`Agent.observe` compiled once per kind of agent. ``state.learner`` is donated: do not use it again.

    Observations in NumPy's float64 keep changes that float32 would lose: at 5,000,000 its steps are 0.5.

    Returns the new state, the learner's `Info`, and what the spec says of ``next_obs`` ``[obs]``. The last two hold
    NumPy arrays, which are fetched in one transfer.
    """
    programs, arrays = agent._compiled
    rest = state.planner, obs, action, next_obs
    if isinstance(obs, np.ndarray) and isinstance(next_obs, np.ndarray):
        rest = state.planner, obs.astype(np.float32), action, next_obs.astype(np.float32)
        # Another program, so that results which lose nothing are what they were, bit for bit.
        if obs.dtype == np.float64 and max(np.abs(obs).max(), np.abs(next_obs).max()) > agent._resolution:
            rest = (*rest, (rounding(obs), rounding(next_obs)))
    learner, packed = programs.observe(arrays, state.learner, rest)
    return AgentState(learner, state.planner), *programs.seen(np.asarray(packed))


def _typical_change(prior: Prior) -> Array:
    """Size of the entries of a typical change ``[dy]``, the root of its mean square."""
    norm = prior.y_norm
    return jnp.sqrt(jnp.square(norm.mean) + jnp.square(norm.std))


class _Programs:
    """The compiled functions of all agents of one structure (`mole.learning.compiled`)."""

    def __init__(self, structure: Structure) -> None:
        # Structure, shapes and types of what an observation gives: known once `observe` is traced.
        self._seen: Any = None

        @jax.jit
        def act(
            arrays: list[Array], state: AgentState, obs: Array, key: Key, step: Array
        ) -> tuple[PlannerState, Array]:
            agent = structure.join(arrays)
            state, action = agent.act(state, jnp.asarray(obs), jax.random.fold_in(key, step))
            # Without the learner: every array that a program returns costs about 2 µs (docs/performance.md).
            return state.planner, action

        # The learner's state is donated: its stack of models is then changed in place instead of copied.
        @functools.partial(jax.jit, donate_argnums=1)
        def observe(arrays: list[Array], learner: Any, rest: tuple[Any, ...]) -> tuple[Any, Array]:
            agent, (planner, obs, action, next_obs, *lost) = structure.join(arrays), rest
            state, info = agent.observe(AgentState(learner, planner), obs, action, next_obs, *lost)
            return state.learner, self._packed((info, measured(agent.spec, next_obs)))

        self.act, self.observe = act, observe

    def _packed(self, seen: tuple[Info, Measured]) -> Array:
        """All that was seen as one vector: each array that is fetched costs as much as a small program."""
        leaves, structure = jax.tree.flatten(seen)
        self._seen = structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
        # Numbers of tasks and bits of faults are far below 2^24: float32 holds them exactly.
        return jnp.concatenate([leaf.astype(jnp.float32).reshape(-1) for leaf in leaves])

    def seen(self, values: np.ndarray) -> tuple[Info, Measured]:
        """The inverse of what `observe` did to it."""
        structure, leaves = self._seen
        ends = np.cumsum([math.prod(shape) for shape, _ in leaves])
        parts = [values[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        shaped = [p.reshape(shape).astype(dtype) for p, (shape, dtype) in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)


_programs = functools.cache(_Programs)
