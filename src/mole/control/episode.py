"""The one loop that steps an environment: act, step, observe, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from mole._expect import expect_type, expect_whole
from mole._types import Key
from mole.control.agent import Agent, jit_act, jit_observe
from mole.control.records import EpisodeRecord, Recorder

__all__ = ["AgentPilot", "Episode", "EpisodeError", "Pilot", "Stretch", "Truth", "drive", "run_episode"]


class EpisodeError(RuntimeError):
    """An environment or a planner failed in the middle of an episode; ``episode`` holds what was recorded."""

    def __init__(self, message: str, episode: Episode) -> None:
        """Keep the partial episode."""
        super().__init__(message)
        self.episode = episode


class Stretch(NamedTuple):
    """Consecutive observations and actions between two resets.

    Attributes:
        obs: ``[time + 1, obs]``.
        actions: ``[time, act]``.
    """

    obs: np.ndarray
    actions: np.ndarray


class Episode(NamedTuple):
    """What `run_episode` gives back: the record, and the transitions for training."""

    record: EpisodeRecord
    stretches: list[Stretch]


@runtime_checkable
class Truth(Protocol):
    """What the evaluator knows of the hidden task. The agent never sees it (an oracle is told by the evaluator)."""

    def governing(self, info: Mapping[str, Any]) -> int:
        """The task that governed the transition of this ``info``; -1 if unknown."""
        ...

    def upcoming(self) -> int:
        """The task that will govern the next transition."""
        ...


@runtime_checkable
class Pilot(Protocol):
    """Who is at the controls of an episode."""

    def act(self, obs: np.ndarray, step: int) -> np.ndarray:
        """The action ``[act]`` at observation ``[obs]``."""
        ...

    def observe(self, obs: np.ndarray, action: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        """Take in a transition, and say what the record is to hold of it (`Recorder.append`)."""
        ...

    def restart(self) -> None:
        """The environment is about to be reset."""
        ...


def run_episode(
    env: Any,
    agent: Agent,
    *,
    steps: int,
    seed: int,
    key: Key,
    meta: Mapping[str, Any],
    truth: Truth | None = None,
    action_noise: float = 0.0,
    record_to: Path | None = None,
    on_step: Callable[[Recorder], None] | None = None,
) -> Episode:
    """Run ``agent`` in ``env`` for ``steps`` steps; a terminated or truncated episode is reset and goes on.

    After a reset the planner starts anew, and the learner keeps what it has learned.

    Args:
        env: a Gymnasium environment with a continuous action space and flat observations.
        agent: learner and planner.
        steps: steps to make, at least one.
        seed: for the environment's first reset and for the action noise.
        key: for the planner.
        meta: header of the record (`mole.control.records.META_KEYS`).
        truth: the evaluator's knowledge, for the record and for `mole.online.Oracle`.
        action_noise: standard deviation of normal noise added to the actions, as a fraction of half their range.
        record_to: file of the record; it is written at the end, and also when the run fails or is interrupted.
        on_step: called after every step with the recorder, e.g. to show progress or to render.

    Returns:
        The record and the transitions.

    Raises:
        ValueError: if ``steps`` is smaller than one or the environment does not fit the agent.
        EpisodeError: if the environment raises or gives numbers that are not finite; the record ends there.
    """
    expect_whole("run_episode", "steps", steps)
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
    return drive(
        env,
        AgentPilot(agent, key, truth),
        steps=steps,
        seed=seed,
        meta=meta,
        truth=truth,
        action_noise=action_noise,
        record_to=record_to,
        on_step=on_step,
    )


class AgentPilot:
    """An agent at the controls: plans, and learns from every transition.

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
        if self.truth is not None and hasattr(self.agent.learner, "tell"):
            told = self.agent.learner.tell(self.state.learner, self.truth.upcoming())  # pyright: ignore
            self.state = self.state._replace(learner=told)
        started = time.perf_counter()
        planner, planned = jit_act(self.agent, self.state, obs, self.key, np.int32(step))
        self.state = self.state._replace(planner=planner)
        action = np.asarray(planned)
        self.seconds = time.perf_counter() - started
        return action

    def observe(self, obs: np.ndarray, action: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        """Learns, and says what the mixture made of it."""
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
            "seconds": self.seconds + time.perf_counter() - started,
        }

    def restart(self) -> None:
        """Forgets the plan, and keeps what was learned."""
        self.state = self.agent.restart(self.state)


def drive(
    env: Any,
    pilot: Pilot,
    *,
    steps: int,
    seed: int,
    meta: Mapping[str, Any],
    truth: Truth | None = None,
    action_noise: float = 0.0,
    record_to: Path | None = None,
    on_step: Callable[[Recorder], None] | None = None,
) -> Episode:
    """The loop itself, whoever is at the controls; arguments and errors as `run_episode`."""
    run = _Run(env, pilot, seed, truth, action_noise, Recorder(meta))
    try:
        run.reset(seed)
        for step in range(steps):
            run.step(step)
            if on_step is not None:
                on_step(run.recorder)
        run.recorder.finish()
    except (Exception, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        run.recorder.finish(error=reason)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise EpisodeError(
            f"episode stopped at step {len(run.recorder)} of {steps}: {reason}. What was recorded until then is kept.",
            run.episode(),
        ) from error
    finally:
        if record_to is not None and len(run.recorder):
            run.recorder.record().save(record_to)
    return run.episode()


class _Run:
    """The moving parts of one episode."""

    def __init__(
        self, env: Any, pilot: Pilot, seed: int, truth: Truth | None, noise: float, recorder: Recorder
    ) -> None:
        self.env, self.pilot, self.truth, self.noise = env, pilot, truth, noise
        self.recorder = recorder
        self.low = np.asarray(env.action_space.low, np.float32)
        self.high = np.asarray(env.action_space.high, np.float32)
        self.rng = np.random.default_rng(seed)
        self.stretches: list[tuple[list[np.ndarray], list[np.ndarray]]] = []

    def reset(self, seed: int | None = None) -> None:
        obs, _ = self.env.reset(seed=seed)
        self.obs = _checked(obs, "observation at reset")
        self.stretches.append(([self.obs], []))

    def step(self, step: int) -> None:
        action = self.pilot.act(self.obs, step)
        if self.noise:
            noise = self.noise * 0.5 * (self.high - self.low) * self.rng.standard_normal(action.shape)
            action = np.clip(action + noise.astype(np.float32), self.low, self.high)
        obs, reward, terminated, truncated, info = self.env.step(action)
        obs = _checked(obs, "observation")
        if not np.isfinite(reward):
            raise FloatingPointError(f"the environment gave the reward {reward}; expected a finite number.")
        self.recorder.append(
            reward=float(reward),
            true_task=-1 if self.truth is None else self.truth.governing(info),
            **self.pilot.observe(self.obs, action, obs),
        )
        self.stretches[-1][0].append(obs)
        self.stretches[-1][1].append(action)
        self.obs = obs
        if terminated or truncated:
            self.pilot.restart()
            self.reset()

    def episode(self) -> Episode:
        stretches = [Stretch(np.stack(o), np.stack(a)) for o, a in self.stretches if a]
        return Episode(self.recorder.record(), stretches)


def _checked(obs: Any, what: str) -> np.ndarray:
    obs = np.asarray(obs)
    if not np.isfinite(obs).all():
        bad = np.flatnonzero(~np.isfinite(obs)).tolist()
        raise FloatingPointError(f"the environment gave an {what} that is not finite in entries {bad}.")
    return obs.astype(np.float32)
