"""The known-dynamics upper bound: the environment's own simulator as the planner's model, and no learner.

It shows what the planner could earn with a perfect model. What a method earns less is lost by its model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from mole._types import Array, Float, Key
from mole.control.dynamics import Measured, measured
from mole.control.episode import Episode, Truth, run_controller
from mole.control.records import Recorder
from mole.control.resume import EpisodeFile
from mole.envs.simulation import Simulation
from mole.envs.spec import DynamicsSpec
from mole.learning.models import Normalizer
from mole.planning import Planner
from mole.planning.host import plan_on_host

__all__ = ["run_simulated_episode"]


def run_simulated_episode(
    env: Any,
    planner: Planner,
    y_norm: Normalizer,
    *,
    steps: int,
    seed: int,
    key: Key,
    meta: Mapping[str, Any],
    spec: DynamicsSpec | None = None,
    truth: Truth | None = None,
    record_to: Path | None = None,
    on_step: Callable[[Recorder], None] | None = None,
    checkpoint: EpisodeFile | None = None,
) -> Episode:
    """`mole.control.run_episode` with the environment's own simulator in the place of the agent's model.

    There is no learner, hence one task, 0. The one-step error is that of the simulator's prediction, measured as for
    every other method.

    Args:
        env: an environment that `mole.envs.simulation.Simulation` takes.
        planner: any planner, with the environment's action bounds.
        y_norm: normaliser of targets, for the one-step error.
        steps: steps to make, at least one.
        seed: for the environment's first reset.
        key: for the planner.
        meta: header of the record (`mole.control.records.META_KEYS`).
        spec: whose planning reward is maximised; the environment's own if None.
        truth: the evaluator's knowledge, for the record.
        record_to: file of the record; written at the end, and also when the run fails or is interrupted.
        on_step: called after every step with the recorder.
        checkpoint: as in `mole.control.run_episode`.

    Returns:
        The record and the transitions.

    Raises:
        ValueError: if ``steps`` is smaller than one.
        TypeError: if the environment is none whose simulator can be a planner's model.
        mole.control.episode.EpisodeError: if the environment fails; the record ends there.
    """
    if steps < 1:
        raise ValueError(f"run_simulated_episode got steps={steps}; expected at least 1.")
    simulation = Simulation(env, discount=planner.discount, spec=spec)
    try:
        return run_controller(
            env,
            _SimulatorController(planner, simulation, y_norm, key),
            steps=steps,
            seed=seed,
            meta=meta,
            truth=truth,
            record_to=record_to,
            on_step=on_step,
            checkpoint=checkpoint,
        )
    finally:
        simulation.close()


class _SimulatorController:
    """Plans with the simulator; there is nothing to learn."""

    def __init__(self, planner: Planner, simulation: Simulation, y_norm: Normalizer, key: Key) -> None:
        self.planner, self.simulation, self.y_norm, self.key = planner, simulation, y_norm, key
        self.restart()

    def act(self, obs: np.ndarray, step: int) -> np.ndarray:
        started = time.perf_counter()
        # By the number of the step, so that a resumed run draws what it would have drawn.
        key = jax.random.fold_in(self.key, step)
        self.state, planned = plan_on_host(self.planner, self.state, self.simulation.score, key)
        action = np.asarray(planned)
        self.seconds = time.perf_counter() - started
        # After the clock: it serves the measurement of the error and is no part of planning.
        self.foreseen = self.simulation.rollout(action[None, None])[0, 1].astype(np.float32)
        return action

    def observe(self, obs: np.ndarray, action: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        ends = obs.astype(np.float32), following.astype(np.float32)
        judged = _judged(self.simulation.spec, self.y_norm, ends[0], self.foreseen, ends[1])
        loss, known = jax.device_get(judged)
        return {
            "loss": float(loss),
            "position": float(known.position),
            "upright": float(known.upright),
            "seconds": self.seconds,
        }

    def restart(self) -> None:
        self.state = jax.tree.map(jnp.array, self.planner.init())


@eqx.filter_jit
def _judged(
    spec: DynamicsSpec,
    y_norm: Normalizer,
    obs: Float[ArrayLike, " obs"],
    foreseen: Float[ArrayLike, " obs"],
    following: Float[ArrayLike, " obs"],
) -> tuple[Array, Measured]:
    """Mean squared normalised error of a prediction, and what the evaluator wants to know of an observation."""
    # In the learners' units, so that it stands beside their errors: changes, normalised as the prior's targets are.
    miss = y_norm(spec.delta(obs, foreseen)) - y_norm(spec.delta(obs, following))
    return jnp.mean(jnp.square(miss)), measured(spec, jnp.asarray(following))
