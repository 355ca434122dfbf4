"""One run of an evaluation, as a worker process makes it."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from mole.control.agent import Agent
from mole.control.data import random_rollout, save_stretches, to_trajectories
from mole.control.episode import run_episode
from mole.control.records import EpisodeRecord, Recorder
from mole.envs import spec_for
from mole.experiment.config import Cell, EvalConfig
from mole.experiment.methods import TUNED, Priors, learner_for
from mole.experiment.worlds import KnownTask, make_world
from mole.online import OnlineLearner
from mole.planning import CEM
from mole.prior_file import load_prior

__all__ = ["load_priors", "random_action_error", "run_cell"]


@functools.cache
def load_priors(meta: Path, supervised: Path) -> Priors:
    """Both priors, read once per process."""
    return Priors(load_prior(meta)[0], load_prior(supervised)[0])


def run_cell(
    config: EvalConfig, cell: Cell, folder: Path, on_step: Callable[[Recorder], None] | None = None
) -> EpisodeRecord:
    """Run one cell, or read its record if it is complete already.

    Args:
        config: the evaluation.
        cell: which run.
        folder: where the records are.
        on_step: called after every step.
    """
    path = folder / f"{cell.name}.npz"
    if path.exists():
        record = EpisodeRecord.load(path)
        if record.meta["complete"]:
            return record
    env = make_world(config.env, schedule=cell.schedule)
    learner = learner_for(cell.method, load_priors(config.prior, config.supervised), config.settings)
    spec, space = spec_for(env), env.action_space
    shape = config.planner
    planner = CEM(
        space.low,  # pyright: ignore[reportAttributeAccessIssue]
        space.high,  # pyright: ignore[reportAttributeAccessIssue]
        horizon=shape.horizon,
        samples=shape.samples,
        iterations=shape.iterations,
        elites=shape.elites,
        keep_elites=shape.keep_elites,
        init_std=shape.init_std,
        noise_correlation=shape.noise_correlation,
    )
    probe = random_action_error(config, cell, learner) if config.probe_steps else None
    episode = run_episode(
        env,
        Agent(learner, planner, spec),
        steps=config.steps,
        seed=cell.seed,
        key=jax.random.key(cell.seed),
        meta=_meta(config, cell, probe, env),
        truth=KnownTask(env),
        record_to=path,
        on_step=on_step,
    )
    if config.keep_actions:
        save_stretches(folder / f"{cell.name}.actions.npz", episode.stretches)
    env.close()
    return episode.record


def random_action_error(config: EvalConfig, cell: Cell, learner: OnlineLearner) -> float | None:
    """Mean one-step loss of ``learner`` on a stream of random actions under the cell's schedule.

    Beside the error under the planner's actions it tells whether the model knows the system, or only what it does.
    None if the learner diverges.
    """
    env = make_world(config.env, schedule=cell.schedule)
    truth, tasks = KnownTask(env), []

    class Watched:
        """The environment, noting the task of each transition."""

        action_space = env.action_space
        reset = staticmethod(env.reset)

        @staticmethod
        def step(action: np.ndarray) -> Any:
            result = env.step(action)
            tasks.append(truth.governing(result[4]))
            return result

    stretches = random_rollout(Watched, config.probe_steps, np.random.default_rng([cell.seed, 1]))
    trajectories = to_trajectories(stretches, spec_for(env))
    x, y = (np.concatenate([t[i] for t in trajectories]) for i in (0, 1))
    env.close()
    error = float(np.mean(_stream_losses(learner, x, y, np.asarray(tasks, np.int32))))
    return error if np.isfinite(error) else None


@eqx.filter_jit
def _stream_losses(learner: OnlineLearner, x: Any, y: Any, tasks: Any) -> jax.Array:
    def step(state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        one_x, one_y, task = inputs
        tell = getattr(learner, "tell", None)
        state, info = learner.update(state if tell is None else tell(state, task), one_x, one_y)
        return state, info.loss

    return jax.lax.scan(step, learner.init(), (x, y, tasks))[1]


def _meta(config: EvalConfig, cell: Cell, probe: float | None, env: Any) -> dict[str, Any]:
    packages = ("mole-online", "jax", "equinox", "gymnasium", "mujoco", "numpy")
    settings = TUNED.get(cell.method, {}) if config.settings is None else config.settings
    return {
        "env": config.env,
        "method": cell.method,
        "schedule": cell.schedule,
        "seed": cell.seed,
        "step_seconds": float(getattr(env.unwrapped, "dt", float("nan"))),
        "prior": Path(config.prior).name,
        "configuration": {**config.described(), "settings": settings},
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "random_action_error": probe,
    }
