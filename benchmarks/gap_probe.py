"""How a learned model errs over a plan's horizon, against the simulator and along recorded runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import ArrayLike, Shaped
from jaxtyping import Float as Reals
from jaxtyping import Int as Ints

from mole._types import Array, Key
from mole.control.agent import Agent, AgentState, LearnedDynamics
from mole.control.episode import AgentController, Segment, Truth, run_controller
from mole.envs.simulation import Simulation
from mole.envs.spec import DynamicsSpec
from mole.learning.prior import MetaPrior
from mole.online import OnlineLearner
from mole.planning import rollout, rollout_trajectory
from mole.planning.host import plan_on_host

__all__ = ["Errors", "Probe", "open_loop", "probe_run"]


class Errors(NamedTuple):
    """Open-loop errors, one row per start, in units of the prior's normaliser of targets (a one-step change's size).

    Attributes:
        missed: ``[starts, horizon]``, mean square over the targets of predicted minus true state after h steps.
        moved: ``[starts, horizon]``, the same of the true state minus the start.
    """

    missed: Reals[np.ndarray, "starts horizon"]
    moved: Reals[np.ndarray, "starts horizon"]

    @property
    def unexplained(self) -> Reals[np.ndarray, " horizon"]:
        """Share of the movement over h steps that the prediction misses: 0 is perfect, 1 is to predict no movement.

        NaN in rows counts as no start. Ratio of sums, so that starts at rest do not decide it.
        """
        known = np.isfinite(self.missed) & np.isfinite(self.moved)
        sums = [np.where(known, values, 0.0).sum(0) for values in self]
        return np.divide(*sums, out=np.full(self.missed.shape[1], np.nan), where=sums[1] > 0)


class Probe(NamedTuple):
    """A run of an agent, halted now and then to ask the simulator.

    Attributes:
        reward: ``[time]``.
        task: ``[time]`` int, the true task of each transition, -1 if unknown.
        segments: the transitions.
        errors: of the model along the agent's own plans, at the halts.
        believed: ``[halts, 2]``, what the model expects of the agent's own plan, and of the one that the simulator
            gives from the same state, warm start and noise.
        actual: ``[halts, 2]``, what the two plans bring in the simulator.
    """

    reward: Reals[np.ndarray, " time"]
    task: Ints[np.ndarray, " time"]
    segments: list[Segment]
    errors: Errors
    believed: Reals[np.ndarray, "halts 2"]
    actual: Reals[np.ndarray, "halts 2"]


def probe_run(
    env: Any,
    agent: Agent,
    *,
    steps: int,
    every: int,
    seed: int,
    key: Key,
    truth: Truth,
    lead: Reals[np.ndarray, "lead act"] | None = None,
) -> Probe:
    """Run an agent as `mole.control.run_episode` does, and compare its plans with the simulator's now and then.

    Args:
        env: an environment that `mole.envs.simulation.Simulation` takes.
        agent: learner and planner.
        steps: steps to make.
        every: steps from one halt to the next.
        seed: for the environment.
        key: for the planner.
        truth: the evaluator's knowledge, for the record and for an oracle.
        lead: actions of somebody else for the first steps, while the agent only watches and learns; then it takes
            over.

    Raises:
        ValueError: if ``steps`` or ``every`` is below 1.
        mole.control.episode.EpisodeError: if the environment fails.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"probe_run got steps={steps}, every={every}; expected both to be at least 1.")
    simulation = Simulation(env, discount=agent.planner.discount)
    controller = _Halting(AgentController(agent, key, truth), simulation, every, lead)
    learner = type(agent.learner).__name__
    meta = {"env": "", "method": learner, "schedule": "", "seed": seed, "step_seconds": 1.0}
    try:
        record, segments = run_controller(env, controller, steps=steps, seed=seed, meta=meta, truth=truth)
    finally:
        simulation.close()
    missed, moved, believed, actual = (np.asarray(column) for column in zip(*controller.halts, strict=True))
    return Probe(record.reward, record.true_task, segments, Errors(missed, moved), believed, actual)


class _Halting:
    """An agent at the controls that is halted now and then to compare its plan with the simulator's."""

    def __init__(
        self, own: AgentController, simulation: Simulation, every: int, lead: np.ndarray | None
    ) -> None:
        self.own, self.simulation, self.every, self.lead = own, simulation, every, lead
        self.halts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def act(self, obs: np.ndarray, step: int) -> np.ndarray:
        before = self.own.state.planner
        planned = self.own.act(obs, step)
        agent, state = self.own.agent, self.own.state
        if step % self.every == 0:
            key = jax.random.fold_in(self.own.key, step)
            theirs, _ = plan_on_host(agent.planner, before, self.simulation.score, key)
            plans = np.stack([np.asarray(state.planner.mean), np.asarray(theirs.mean)])
            self.halts.append(_compared(agent, state, self.simulation, obs, plans))
        return planned if self.lead is None or step >= len(self.lead) else self.lead[step]

    def observe(self, obs: np.ndarray, action: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        return self.own.observe(obs, action, following)

    def restart(self) -> None:
        self.own.restart()


def open_loop(
    learner: OnlineLearner,
    spec: DynamicsSpec,
    segments: list[Segment],
    tasks: Ints[np.ndarray, " time"],
    horizon: int,
) -> tuple[Reals[np.ndarray, " losses"], Errors]:
    """One-step losses and open-loop errors of a learner that follows a recorded run, adapting as it goes.

    The run may be somebody else's: then this says how good the model is where that policy goes.

    Args:
        learner: any learner; an oracle is told the tasks.
        spec: of the environment.
        segments: the transitions, ``[time]`` in all.
        tasks: true task of each transition; plans across a change are left out (NaN).
        horizon: steps of a plan.

    Returns:
        The losses (each prediction made before learning) and the errors, one row for every start that has
        ``horizon`` steps ahead of it.

    Raises:
        ValueError: if no segment is as long as the horizon.
    """
    state, begin, losses, rows = learner.init(), 0, [], []
    for segment in segments:
        own = tasks[begin : begin + len(segment.actions)]
        begin += len(segment.actions)
        state, (loss, missed, moved) = _followed(learner, spec, state, segment, own, horizon)
        losses.append(np.asarray(loss))
        starts = len(own) - horizon + 1
        if starts > 0:
            ahead = np.lib.stride_tricks.sliding_window_view(own, horizon)
            same = np.logical_and.accumulate(ahead == ahead[:, :1], axis=1)
            rows.append([np.where(same, np.asarray(e)[:starts], np.nan) for e in (missed, moved)])
    if not rows:
        raise ValueError(
            f"open_loop got {len(segments)} segments, the longest of "
            f"{max((len(s.actions) for s in segments), default=0)} steps; expected one of at least the horizon, "
            f"{horizon}. Record a longer run."
        )
    return np.concatenate(losses), Errors(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _compared(
    agent: Agent, state: AgentState, simulation: Simulation, obs: np.ndarray, plans: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Errors along the first plan ``[horizon]`` each, and the returns ``[2]`` that model and simulator give both."""
    model = _model(agent, state)
    predicted = rollout_trajectory(model, jnp.asarray(obs), jnp.asarray(plans[0]))
    happened = simulation.rollout(plans[:1])[0]
    missed, moved = _missed(agent.learner.prior, agent.spec, predicted, happened.astype(np.float32))
    believed = rollout(model, agent.spec.reward, jnp.asarray(obs), jnp.asarray(plans), agent.planner.discount)
    return np.asarray(missed), np.asarray(moved), np.asarray(believed), simulation.score(plans)


@eqx.filter_jit
def _model(agent: Agent, state: AgentState) -> LearnedDynamics:
    return LearnedDynamics(agent.learner.model(state.learner), agent.learner.prior, agent.spec)


@eqx.filter_jit
def _missed(
    prior: MetaPrior, spec: DynamicsSpec, predicted: ArrayLike, happened: ArrayLike
) -> tuple[Array, Array]:
    """Mean square of predicted minus happened, and of happened minus the start, for the steps after the first."""
    happened = jnp.asarray(happened)

    def changes(states: Array) -> Array:
        return jax.vmap(lambda later: prior.y_norm(spec.delta(happened[0], later)))(states[1:])

    true, still = changes(happened), prior.y_norm(spec.delta(happened[0], happened[0]))
    missed, moved = changes(jnp.asarray(predicted)) - true, true - still[None]
    return jnp.mean(jnp.square(missed), 1), jnp.mean(jnp.square(moved), 1)


def _told(learner: OnlineLearner, state: Any, task: ArrayLike) -> Any:
    tell = getattr(learner, "tell", None)
    return state if tell is None else tell(state, task)


@eqx.filter_jit
def _followed(
    learner: OnlineLearner,
    spec: DynamicsSpec,
    state: Any,
    segment: Segment,
    tasks: Shaped[ArrayLike, " time"],
    horizon: int,
) -> tuple[Any, tuple[Array, Array, Array]]:
    # Repeating the end lets every start have a whole plan ahead; the caller drops those that go beyond it.
    beyond = horizon - 1
    obs = jnp.concatenate([segment.obs, jnp.repeat(segment.obs[-1:], beyond, 0)])
    actions = jnp.concatenate([segment.actions, jnp.repeat(segment.actions[-1:], beyond, 0)])

    def step(state: Any, inputs: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array, Array]]:
        start, task = inputs
        state = _told(learner, state, task)
        happened = lax.dynamic_slice_in_dim(obs, start, horizon + 1)
        plan = lax.dynamic_slice_in_dim(actions, start, horizon)
        model = LearnedDynamics(learner.model(state), learner.prior, spec)
        errors = _missed(learner.prior, spec, rollout_trajectory(model, happened[0], plan), happened)
        x, y = spec.features(happened[0], plan[0]), spec.delta(happened[0], happened[1])
        state, info = learner.update(state, x, y)
        return state, (info.loss, *errors)

    return lax.scan(step, state, (jnp.arange(len(segment.actions)), jnp.asarray(tasks)))
