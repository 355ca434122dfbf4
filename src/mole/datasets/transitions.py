"""Transitions of an environment as a stream: what happens next, learned from random actions.

This file needs no simulator: any environment with Gymnasium's methods will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from mole.datasets.stream import Stream, check_length, stream_rng

__all__ = ["RecordedEpisode", "Transitions", "record_episodes", "transitions_stream"]

_CORRELATION = 0.8  # of one action with the next; white noise hardly moves a machine


@runtime_checkable
class Transitions(Protocol):
    """What makes a pair of a transition; `mole.envs.DynamicsSpec` does."""

    @property
    def features(self) -> Callable[[Any, Any], Any]:
        """(obs [obs], action [act]) -> x [dx]."""
        ...

    @property
    def delta(self) -> Callable[[Any, Any], Any]:
        """(obs [obs], next_obs [obs]) -> y [dy]."""
        ...


class RecordedEpisode(NamedTuple):
    """One unbroken stretch of T steps in an environment.

    Attributes:
        obs: [T + 1, obs].
        actions: [T, act].
        rewards: [T].
        task: [T] int, the hidden task that governed each step (the environment's ``info["task"]``), for the evaluator
            alone; -1 where unknown.
        terminated: whether the environment ended after the last step (else it was cut there).
    """

    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    task: np.ndarray
    terminated: bool


def record_episodes(env: Any, steps: int, seed: int) -> list[RecordedEpisode]:
    """Random actions in an environment, each correlated with the last one (AR(1), clipped to the action space).

    Args:
        env: a Gymnasium environment with a bounded continuous action space.
        steps: to make in all; a new episode begins where one ends.
        seed: of the actions and of the environment.
    """
    check_length("transitions", steps)
    rng = stream_rng("transitions", seed)
    low, high = np.asarray(env.action_space.low, float), np.asarray(env.action_space.high, float)
    state, episodes, done = rng.standard_normal(low.shape), [], 0
    while done < steps:
        obs, _ = env.reset(seed=int(rng.integers(2**31)))
        seen, actions, rewards, task, terminated, truncated = [obs], [], [], [], False, False
        while done < steps and not (terminated or truncated):
            action = np.clip((low + high) / 2 + 0.4 * (high - low) * state, low, high).astype(np.float32)
            obs, reward, terminated, truncated, info = env.step(action)
            seen.append(obs)
            actions.append(action)
            rewards.append(float(reward))
            task.append(int(info.get("task", -1)))
            state = _CORRELATION * state + np.sqrt(1 - _CORRELATION**2) * rng.standard_normal(low.shape)
            done += 1
        episodes.append(
            RecordedEpisode(
                np.array(seen), np.array(actions), np.array(rewards), np.array(task), bool(terminated)
            )
        )
    return episodes


def transitions_stream(episodes: Sequence[RecordedEpisode], spec: Transitions, name: str) -> Stream:
    """Pairs x = features(obs, action), y = delta(obs, next_obs) of episodes, one after another.

    An environment numbers its tasks anew in every episode, so those of different episodes count as different ones:
    record one long episode where tasks return. Steps of an unknown task (-1) count as one task.

    Args:
        episodes: in the order of their recording; no pair is made across a reset.
        spec: of their environment (`mole.envs.spec_for`).
        name: of the stream.

    Raises:
        ValueError: if there are no episodes.
    """
    if not episodes:
        raise ValueError(f"stream {name!r} got no episodes; expected at least one: record some first.")
    pair: Callable[..., Any] = jax.jit(jax.vmap(lambda o, a, n: (spec.features(o, a), spec.delta(o, n))))
    obs = np.concatenate([e.obs[:-1] for e in episodes]).astype(np.float32)
    following = np.concatenate([e.obs[1:] for e in episodes]).astype(np.float32)
    x, y = jax.device_get(pair(obs, np.concatenate([e.actions for e in episodes]), following))
    task, offset = [], 0
    for episode in episodes:
        task.append(offset + np.unique(episode.task, return_inverse=True)[1])
        offset = int(task[-1].max()) + 1
    return Stream(x, y, np.concatenate(task), name)
