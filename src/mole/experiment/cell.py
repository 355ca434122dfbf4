"""One run of an evaluation, as a worker process makes it."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from mole.control.agent import Agent
from mole.control.episode import EpisodeError, run_episode
from mole.control.records import EpisodeRecord, Recorder
from mole.control.resume import EpisodeFile
from mole.control.stages import save_segments
from mole.datasets.transitions import record_random, to_trajectories
from mole.envs import spec_for
from mole.experiment.config import Cell, EvalConfig
from mole.experiment.learners import Priors, ablation, learner_for
from mole.experiment.methods import SIMULATOR
from mole.experiment.simulator import run_simulated_episode
from mole.experiment.worlds import KnownTask, make_world
from mole.files.atomic import remove_leftovers
from mole.files.generations import set_aside
from mole.learning.prior import MetaPrior
from mole.online import OnlineLearner
from mole.planning.config import planner_for
from mole.priors.file import load_prior
from mole.readout import ReadoutPrior

__all__ = [
    "actions_file",
    "cell_meta",
    "failed_cell",
    "load_priors",
    "random_action_error",
    "run_cell",
    "whole_meta",
]


@functools.cache
def load_priors(
    meta: Path, supervised: Path, first_order: Path | None = None, readout: Path | None = None
) -> Priors:
    """The priors, read once per process; a worker runs many cells."""
    return Priors(
        load_prior(meta, MetaPrior),
        load_prior(supervised, MetaPrior),
        None if first_order is None else load_prior(first_order, MetaPrior),
        None if readout is None else load_prior(readout, ReadoutPrior),
    )


def run_cell(
    config: EvalConfig,
    cell: Cell,
    folder: Path,
    on_step: Callable[[Recorder], None] | None = None,
    checkpoint: EpisodeFile | None = None,
) -> EpisodeRecord:
    """Run one cell, or read its record if it is complete already.

    Args:
        config: the evaluation.
        cell: which run.
        folder: where the records are.
        on_step: called after every step.
        checkpoint: file that the run is saved in while it goes on, and that it continues from if it is there.

    Raises:
        mole.control.episode.EpisodeError: if the environment or the planner fails; the record ends there.
    """
    path = folder / f"{cell.name}.npz"
    keeps = config.keeps_actions(cell)
    meta = whole_meta(path)
    if meta is not None and meta["complete"] and (actions_file(path).exists() or not keeps):
        return EpisodeRecord.load(path)
    # Of a process that was killed while it wrote one of the two files.
    remove_leftovers(folder, path.name)
    remove_leftovers(folder, actions_file(path).name)
    priors = load_priors(*config.prior_files)
    change = ablation(cell.method)
    planner_config, shaping = config.plans
    with closing(make_world(config.env, schedule=cell.schedule, **config.world_settings)) as env:
        planner = planner_for(planner_config, env.action_space, "cem" if change is None else change.planner)
        # Inputs, targets and the environment's reward are those of the spec without shaping.
        spec = spec_for(env).shaped(shaping) if shaping else spec_for(env)
        common: dict[str, Any] = {
            "steps": config.steps_of(cell.method),
            "seed": cell.seed,
            "key": jax.random.key(cell.seed),
            "truth": KnownTask(env),
            "record_to": path,
            "on_step": on_step,
            "checkpoint": checkpoint,
        }
        if cell.method == SIMULATOR:
            meta = cell_meta(config, cell, env)
            episode = run_simulated_episode(env, planner, priors.meta.y_norm, meta=meta, spec=spec, **common)
        else:
            learner = learner_for(cell.method, priors, config.settings_of(cell.method))
            probe = random_action_error(config, cell, learner) if config.probe_steps else None
            agent = Agent(learner, planner, spec, config.planner.precision)
            episode = run_episode(env, agent, meta=cell_meta(config, cell, env, probe), **common)
    if keeps:
        save_segments(actions_file(path), episode.segments)
    # Last: until the actions are there, the checkpoint is all that a killed run can go on from.
    if checkpoint is not None:
        checkpoint.remove()
    return episode.record


def actions_file(record: Path) -> Path:
    """The file of the actions of a run, beside its record."""
    return record.with_name(f"{record.stem}.actions.npz")


def whole_meta(path: Path) -> dict[str, Any] | None:
    """The header of a record that is there and whole; None otherwise.

    A damaged record, or one of another format, is moved aside with a `RecoveryWarning`.
    """
    if not path.exists():
        return None
    # The whole file is read, not its header alone: it may be cut or damaged anywhere.
    try:
        return EpisodeRecord.load(path).meta
    except ValueError as error:
        set_aside(path, error, "the run")
        return None


def failed_cell(config: EvalConfig, cell: Cell, folder: Path, error: Exception) -> str:
    """Make sure that a record says what stopped a cell, and return it.

    A run that failed after its first step has saved its record with the reason. One that failed before has not.
    """
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, EpisodeError):
        reason = str(error.episode.record.meta["error"])
        if len(error.episode.record):
            return reason
    recorder = Recorder(cell_meta(config, cell))
    recorder.finish(error=reason)
    recorder.record().save(folder / f"{cell.name}.npz")
    return reason


def random_action_error(config: EvalConfig, cell: Cell, learner: OnlineLearner) -> float | None:
    """Mean one-step loss of ``learner`` on a stream of random actions under the cell's schedule.

    The error under the planner's actions is small also for a model that is right only where the planner goes; this one
    is not. The learner starts from its prior and adapts to this stream. None if its loss is not finite at some step.
    """
    with closing(make_world(config.env, schedule=cell.schedule, **config.world_settings)) as env:
        # Another stream of random numbers than the run's, which is drawn from the seed alone.
        rng = np.random.default_rng([cell.seed, 1])
        # With the task of every pair, which an oracle is told.
        episodes = record_random(env, config.probe_steps, rng, task_of=KnownTask(env).governing)
        trajectories = to_trajectories(episodes, spec_for(env))
    tasks = np.concatenate([episode.task for episode in episodes])
    x, y = (np.concatenate([t[i] for t in trajectories]) for i in (0, 1))
    error = float(np.mean(_stream_losses(learner, x, y, np.asarray(tasks, np.int32))))
    return error if np.isfinite(error) else None


@eqx.filter_jit
def _stream_losses(learner: OnlineLearner, x: Any, y: Any, tasks: Any) -> jax.Array:
    def step(state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        one_x, one_y, task = inputs
        tell = getattr(learner, "tell", None)  # only a learner that is told the true task has it
        state, info = learner.update(state if tell is None else tell(state, task), one_x, one_y)
        return state, info.loss

    return jax.lax.scan(step, learner.init(), (x, y, tasks))[1]


def cell_meta(config: EvalConfig, cell: Cell, env: Any = None, probe: float | None = None) -> dict[str, Any]:
    """The header of a cell's record.

    Args:
        config: the evaluation.
        cell: which run.
        env: its environment, for the simulated time of a step; 1 s if unknown.
        probe: one-step error under random actions, if it was measured.
    """
    packages = ("mole-online", "jax", "equinox", "gymnasium", "mujoco", "numpy")
    change = ablation(cell.method)
    return {
        "env": config.env,
        "family": cell.family,
        "setting": cell.setting,
        "method": cell.method,
        "ablation": None if change is None else change.text,
        "schedule": cell.schedule,
        "seed": cell.seed,
        "step_seconds": float(getattr(getattr(env, "unwrapped", None), "dt", 1.0)),
        "prior": Path(config.prior).name,
        "configuration": config.described_cell(cell),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "random_action_error": probe,
    }
