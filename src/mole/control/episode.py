"""The one loop that steps an environment: act, step, observe, record.

`run_episode` runs an agent; `run_controller` runs anything else that chooses actions, such as a planner with the
environment's own simulator.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mole._expect import expect_type, expect_whole
from mole._float32 import in_float32
from mole._types import Key
from mole.control.agent import Agent, jit_act, jit_observe
from mole.control.records import EpisodeRecord, Recorder
from mole.control.resume import Controller, EpisodeFile, RunningEpisode, Truth
from mole.datasets.steps import DroppedWarning
from mole.datasets.transitions import Segment
from mole.files.processes import Failure, Interrupts

__all__ = [
    "AgentController",
    "Controller",
    "Episode",
    "EpisodeError",
    "Segment",
    "Truth",
    "run_controller",
    "run_episode",
]


class Episode(NamedTuple):
    """What `run_episode` returns: the record, and the transitions for training.

    Attributes:
        record: what happened at every step.
        segments: observations and actions between resets.
    """

    record: EpisodeRecord
    segments: list[Segment]


class EpisodeError(Failure):
    """An environment or a planner failed in the middle of an episode; ``episode`` holds what was recorded."""

    def __init__(self, message: str, episode: Episode) -> None:
        """Keep the partial episode."""
        super().__init__(message, episode)
        self.episode = episode

    def __str__(self) -> str:
        """The message alone; both arguments go with the error from one process to another."""
        return str(self.args[0])


class AgentController:
    """Controls an episode with an agent, which learns from every transition.

    Args:
        agent: learner and planner.
        key: for the planner.
        truth: tells an oracle the task.
    """

    def __init__(self, agent: Agent, key: Key, truth: Truth | None) -> None:
        """See the class."""
        self.agent, self.key, self.truth = agent, key, truth
        self.state = agent.init()

    def act(self, obs: np.ndarray, step: int) -> np.ndarray:
        """The planned action."""
        # Only an oracle has `tell`; no other learner ever hears of the true task.
        if self.truth is not None and hasattr(self.agent.learner, "tell"):
            told = self.agent.learner.tell(self.state.learner, self.truth.upcoming())  # pyright: ignore
            self.state = self.state._replace(learner=told)
        started = time.perf_counter()
        planner, planned = jit_act(self.agent, self.state, obs.astype(np.float32), self.key, np.int32(step))
        self.state = self.state._replace(planner=planner)
        action = np.asarray(planned)
        self._seconds = time.perf_counter() - started
        return action

    def observe(self, obs: np.ndarray, action: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        """Learn, and return what the learner reports."""
        started = time.perf_counter()
        self.state, *seen = jit_observe(self.agent, self.state, obs, action, following)
        learned, known = jax.device_get(seen)
        return {
            "loss": float(learned.loss),
            "responsibilities": learned.responsibilities,
            "task": int(learned.task),
            "n_tasks": int(learned.n_tasks),
            "spawned": bool(learned.spawned),
            "at_capacity": bool(learned.at_capacity),
            "rejected": bool(learned.rejected),
            "position": float(known.position),
            "upright": float(known.upright),
            # The time in between, that of the environment's step, is not the agent's.
            "seconds": self._seconds + time.perf_counter() - started,
        }

    def restart(self) -> None:
        """Forget the plan, and keep what was learned."""
        self.state = self.agent.restart(self.state)


@in_float32
def run_episode(
    env: Any,
    agent: Agent,
    *,
    steps: int,
    seed: int,
    key: Key | None = None,
    meta: Mapping[str, Any] | None = None,
    truth: Truth | None = None,
    action_noise: float = 0.0,
    record_to: Path | None = None,
    on_step: Callable[[Recorder], None] | None = None,
    checkpoint: EpisodeFile | None = None,
) -> Episode:
    """Run ``agent`` in ``env`` for ``steps`` steps; a terminated or truncated episode is reset and goes on.

    After a reset the planner starts anew, and the learner keeps what it has learned. A transition that is not finite
    ends its episode and is dropped: the step is made again after a reset. ``meta["dropped"]`` of the record counts
    them, and a `mole.datasets.steps.DroppedWarning` tells of them at the end.

    Args:
        env: a Gymnasium environment with a continuous action space and flat observations. It is not closed.
        agent: learner and planner.
        steps: steps to make, at least one.
        seed: for the environment's first reset and for the action noise.
        key: for the planner; ``jax.random.key(seed)`` if not given.
        meta: header of the record (`mole.control.records.META_KEYS`). Whatever it lacks is taken from the environment
            (``env``: its id; ``schedule``: as it was made with, "" if unknown; ``step_seconds``: its ``dt``, 1 if
            unknown), the learner (``method``: its class) and ``seed``.
        truth: the evaluator's knowledge, for the record and for `mole.online.Oracle`.
        action_noise: standard deviation of normal noise added to the actions, as a fraction of half their range.
        record_to: file of the record; it is written at the end, and also when the run fails or is interrupted.
        on_step: called after every step with the recorder, e.g. to show progress or to render.
        checkpoint: the file that the episode goes on from if it is there, and is kept in while it runs; whoever keeps
            what is returned removes it then. With it, Ctrl-C and SIGTERM wait for the end of a step.

    Returns:
        The record and the transitions.

    Raises:
        TypeError: if ``env`` is no environment, ``agent`` no agent, or ``meta`` no mapping.
        ValueError: if ``steps`` is smaller than one or the environment does not fit the agent.
        EpisodeError: if the environment raises, or most episodes end in numbers that are not finite; the record ends
            there.
    """
    expect_whole("run_episode", "steps", steps)
    expect_whole("run_episode", "seed", seed, 0)
    if meta is not None:
        expect_type("run_episode", "meta", meta, Mapping, "The header of the record, by name.")
    if not (hasattr(env, "observation_space") and hasattr(agent, "spec")):
        raise TypeError(
            f"run_episode got env={env!r:.80} and agent={agent!r:.80}; expected a Gymnasium environment and a "
            "mole.control.Agent."
        )
    if env.observation_space.shape != (agent.spec.obs_dim,):
        raise ValueError(
            f"run_episode got an environment with observations of shape {env.observation_space.shape}; the agent's "
            f"spec expects ({agent.spec.obs_dim},). Pass the environment that the agent was made for."
        )
    return run_controller(
        env,
        AgentController(agent, jax.random.key(seed) if key is None else key, truth),
        steps=steps,
        seed=seed,
        meta={**_known_meta(env, type(agent.learner).__name__, seed), **(meta or {})},
        truth=truth,
        action_noise=action_noise,
        record_to=record_to,
        on_step=on_step,
        checkpoint=checkpoint,
    )


def _known_meta(env: Any, method: str, seed: int) -> dict[str, Any]:
    """What the header of a record can be filled with when nobody says more."""
    # `getattr`, since an environment of somebody else may have only `reset`, `step` and two spaces; its `dt` may be a
    # method, or zero.
    made, inner = getattr(env, "spec", None), getattr(env, "unwrapped", env)
    seconds = getattr(inner, "dt", None)
    return {
        "env": type(inner).__name__ if made is None else made.id,
        "method": method,
        "schedule": "" if made is None else str(made.kwargs.get("schedule", "")),
        "seed": seed,
        "step_seconds": float(seconds) if isinstance(seconds, int | float) and seconds > 0 else 1.0,
    }


@in_float32
def run_controller(
    env: Any,
    controller: Controller,
    *,
    steps: int,
    seed: int,
    meta: Mapping[str, Any],
    truth: Truth | None = None,
    action_noise: float = 0.0,
    record_to: Path | None = None,
    on_step: Callable[[Recorder], None] | None = None,
    checkpoint: EpisodeFile | None = None,
) -> Episode:
    """`run_episode` with any controller in the place of an agent.

    Arguments as there, but ``meta`` is the whole header, and neither ``steps`` nor ``seed`` is checked.

    Raises:
        EpisodeError: if the environment or the controller fails; the record ends there.
    """
    run = RunningEpisode(env, controller, seed, truth, action_noise, meta)
    repeated = checkpoint is None  # whether all steps of the file have been made again
    try:
        run.begin()
        # With a file, a signal waits for the end of a step, so that what is saved is whole. Without one only the record
        # is saved, and a signal acts at once.
        if checkpoint is None:
            for step in range(steps):
                run.step(step)
                if on_step is not None:
                    on_step(run.recorder)
        else:
            about = {**meta, "steps": steps, "seed": seed, "action_noise": action_noise}
            with Interrupts() as interrupts:
                first = checkpoint.resume(run, about)
                repeated = True
                for step in range(first, steps):
                    run.step(step)
                    if on_step is not None:
                        on_step(run.recorder)
                    checkpoint.after(step + 1, run, about, now=interrupts.asked)
                    interrupts.raise_if_asked()
        run.finish()
    except (Exception, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        # The record says what stopped it, also where nobody catches the error.
        run.finish(error=reason)
        if isinstance(error, KeyboardInterrupt):
            raise
        if checkpoint is not None and not repeated:
            # These steps went well once: what failed is something passing, and hours of a run are worth another try.
            error.add_note(
                f"The environment failed before the steps of {checkpoint.path} were repeated; it is kept."
            )
            raise
        if checkpoint is not None:
            checkpoint.remove()  # it would lead to the same failure: another try starts anew
        raise EpisodeError(
            f"episode stopped at step {len(run.recorder)} of {steps}: {reason}. What was recorded until then is kept.",
            Episode(run.recorder.record(), run.segments()),
        ) from error
    finally:
        # Also on the way out: hours of a run are worth keeping, whatever ended it.
        if record_to is not None and len(run.recorder):
            run.recorder.record().save(record_to)
    if run.losses.dropped:
        warnings.warn(run.losses.text, DroppedWarning, stacklevel=2)
    return Episode(run.recorder.record(), run.segments())
