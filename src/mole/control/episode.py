"""The one loop that steps an environment: act, step, observe, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mole._expect import expect_type, expect_whole
from mole._types import Key
from mole.control.agent import Agent
from mole.control.pilot import AgentPilot, Pilot, Truth
from mole.control.records import EpisodeRecord, Recorder
from mole.control.resume import EpisodeFile
from mole.files.processes import Interrupts

__all__ = ["AgentPilot", "Episode", "EpisodeError", "Pilot", "Stretch", "Truth", "drive", "run_episode"]


class EpisodeError(RuntimeError):
    """An environment or a planner failed in the middle of an episode; ``episode`` holds what was recorded."""

    def __init__(self, message: str, episode: Episode) -> None:
        """Keep the partial episode."""
        super().__init__(message, episode)
        self.episode = episode

    def __str__(self) -> str:
        """The message alone; both arguments go with the error from one process to another."""
        return str(self.args[0])


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
    checkpoint: EpisodeFile | None = None,
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
        checkpoint: the file that the episode goes on from if it is there, and is kept in while it runs; whoever keeps
            what is returned removes it then. With it, Ctrl-C and SIGTERM wait for the end of a step.

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
        checkpoint=checkpoint,
    )


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
    checkpoint: EpisodeFile | None = None,
) -> Episode:
    """The loop itself, whoever is at the controls; arguments and errors as `run_episode`."""
    run = _Run(env, pilot, seed, truth, action_noise, meta)
    try:
        run.begin()
        if checkpoint is None:
            for step in range(steps):
                run.step(step)
                if on_step is not None:
                    on_step(run.recorder)
        else:
            about = {**meta, "steps": steps, "seed": seed, "action_noise": action_noise}
            with Interrupts() as interrupts:
                for step in range(checkpoint.resume(run, about), steps):
                    run.step(step)
                    if on_step is not None:
                        on_step(run.recorder)
                    checkpoint.after(step + 1, run, about, now=interrupts.asked)
                    interrupts.raise_if_asked()
        run.recorder.finish()
    except (Exception, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        run.recorder.finish(error=reason)
        if isinstance(error, KeyboardInterrupt):
            raise
        if checkpoint is not None:
            checkpoint.remove()  # another try is to be a whole one
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
        self,
        env: Any,
        pilot: Pilot,
        seed: int,
        truth: Truth | None,
        noise: float,
        meta: Mapping[str, Any],
    ) -> None:
        self.env, self.pilot, self.truth, self.noise = env, pilot, truth, noise
        self.seed, self.recorder = seed, Recorder(meta)
        self.low = np.asarray(env.action_space.low, np.float32)
        self.high = np.asarray(env.action_space.high, np.float32)
        self.stretches: list[tuple[list[np.ndarray], list[np.ndarray]]] = []

    def begin(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.stretches.clear()
        self.reset(self.seed)

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

    def repeat(self, action: np.ndarray) -> float:
        if self.noise:
            self.rng.standard_normal(action.shape)
        obs, reward, terminated, truncated, _ = self.env.step(action)
        self.obs = _checked(obs, "observation")
        self.stretches[-1][0].append(self.obs)
        self.stretches[-1][1].append(action)
        if terminated or truncated:
            self.reset()
        return float(reward)

    def episode(self) -> Episode:
        stretches = [Stretch(np.stack(o), np.stack(a)) for o, a in self.stretches if a]
        return Episode(self.recorder.record(), stretches)


def _checked(obs: Any, what: str) -> np.ndarray:
    obs = np.asarray(obs)
    if not np.isfinite(obs).all():
        bad = np.flatnonzero(~np.isfinite(obs)).tolist()
        raise FloatingPointError(f"the environment gave an {what} that is not finite in entries {bad}.")
    return obs.astype(np.float32)
