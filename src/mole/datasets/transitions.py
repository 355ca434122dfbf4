"""Transitions of an environment: recorded under random actions, and turned into pairs to learn from.

This file needs no simulator: any environment with Gymnasium's methods will do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from mole._types import Motion, Trajectory
from mole.datasets.resolution import narrowed, rounding, unrounded
from mole.datasets.steps import Losses, NotFiniteError, take
from mole.datasets.stream import Stream, check_length, stream_rng

__all__ = [
    "RecordedEpisode",
    "Segment",
    "Transitions",
    "random_rollout",
    "record_episodes",
    "record_random",
    "to_motions",
    "to_trajectories",
    "transitions_stream",
]

_CORRELATION = 0.8  # of one action with the next; white noise hardly moves a machine


@runtime_checkable
class Transitions(Protocol):
    """How to make a pair from a transition; `mole.envs.DynamicsSpec` is one. Both functions are traced by JAX."""

    @property
    def features(self) -> Callable[[Any, Any], Any]:
        """(obs [obs], action [act]) -> x [dx]."""
        ...

    @property
    def delta(self) -> Callable[[Any, Any], Any]:
        """(obs [obs], next_obs [obs]) -> y [dy]."""
        ...


class Segment(NamedTuple):
    """Consecutive observations and actions between two resets, without the hidden task: training must not see it.

    Attributes:
        obs: ``[time + 1, obs]``, float32, or float64 where float32 would take the changes.
        actions: ``[time, act]``.
    """

    obs: np.ndarray
    actions: np.ndarray


class RecordedEpisode(NamedTuple):
    """T consecutive steps in an environment, between two resets, with what an evaluator may know of them.

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


def random_rollout(
    env: Any, steps: int, rng: np.random.Generator, losses: Losses | None = None
) -> list[Segment]:
    """Random actions for training. Half of all rollouts hold uniform actions for 1–8 steps, half are AR(1) noise.

    Actions that last longer than one step move the system farther from its resting place than white noise does.
    The hidden task is never read.

    Args:
        env: a Gymnasium environment with a bounded continuous action space.
        steps: steps to make; after the end of an episode the next segment begins.
        rng: for the actions and the environment's seed.
        losses: counts the transitions that were dropped because they were not finite, also over several rollouts.

    Returns:
        The segments in order, ``steps`` actions in all; float32, unless float32 would take the changes
        (`mole.datasets.resolution.narrowed`).

    Raises:
        FloatingPointError: if most episodes end in numbers that are not finite.
        TypeError: if the environment does not have Gymnasium's interface.
    """
    episodes = record_random(env, steps, rng, losses)
    kept = narrowed([e.obs for e in episodes])
    return [Segment(obs, np.asarray(e.actions, np.float32)) for obs, e in zip(kept, episodes, strict=True)]


def record_random(
    env: Any,
    steps: int,
    rng: np.random.Generator,
    losses: Losses | None = None,
    task_of: Callable[[Any], int] | None = None,
) -> list[RecordedEpisode]:
    """`random_rollout` with all that an evaluator may know; ``task_of`` reads the task from the info of a step."""
    low, high = np.asarray(env.action_space.low, np.float32), np.asarray(env.action_space.high, np.float32)
    if rng.random() < 0.5:
        hold = int(rng.integers(1, 9))
        held = rng.uniform(low, high, (-(-steps // hold), low.size))
        actions = np.repeat(held, hold, axis=0)[:steps].astype(np.float32)
    else:
        correlation = rng.uniform(0.5, 0.95)
        noise = _correlated(rng, low, high, (low + high) / 2, 0.8 * ((high - low) / 2), correlation)
        # All are drawn before the environment's seed: the order of the draws is part of what a seed means.
        actions = list(itertools.islice(noise, steps))
    # One seed for the rollout. Later episodes go on with the environment's own generator, or all would begin alike.
    seeds = itertools.chain([int(rng.integers(2**31))], itertools.repeat(None))
    return _record(env, actions, seeds, losses or Losses(), task_of)


def record_episodes(env: Any, steps: int, seed: int) -> list[RecordedEpisode]:
    """Random actions in an environment, each correlated with the last one (AR(1), clipped to the action space).

    Args:
        env: a Gymnasium environment with a bounded continuous action space.
        steps: to make in all; a new episode begins where one ends.
        seed: of the actions and of the environment.

    Returns:
        The episodes in order, with ``steps`` actions in all; the last one may be cut short.

    Raises:
        ValueError: for steps below 1 or a negative seed.
        TypeError: for one that is no whole number.
    """
    check_length("transitions", steps)
    rng = stream_rng("transitions", seed)
    low, high = np.asarray(env.action_space.low, float), np.asarray(env.action_space.high, float)
    actions = _correlated(rng, low, high, (low + high) / 2, 0.4 * (high - low), _CORRELATION)
    seeds = (int(rng.integers(2**31)) for _ in itertools.count())
    return _record(
        env, itertools.islice(actions, steps), seeds, Losses(), lambda info: int(info.get("task", -1))
    )


def _correlated(
    rng: np.random.Generator,
    low: np.ndarray,
    high: np.ndarray,
    middle: np.ndarray,
    amplitude: np.ndarray,
    correlation: float,
) -> Iterator[np.ndarray]:
    """AR(1) noise of unit variance around ``middle``, times ``amplitude``, clipped to the bounds; without end."""
    state = rng.standard_normal(low.shape)
    while True:
        yield np.clip(middle + amplitude * state, low, high).astype(np.float32)
        # The factor of the new noise keeps the variance at one.
        state = correlation * state + np.sqrt(1 - correlation**2) * rng.standard_normal(low.shape)


def _record(
    env: Any,
    actions: Iterable[np.ndarray],
    seeds: Iterator[int | None],
    losses: Losses,
    task_of: Callable[[Any], int] | None,
) -> list[RecordedEpisode]:
    """Take the actions in turn; reset, with the next of the seeds, before the first and after every end."""
    episodes, steps = [], list[tuple[np.ndarray, np.ndarray, float, int]]()
    first, terminated, over = None, False, True  # as after an end: the first action resets
    for action in actions:
        while True:
            if over:
                first = losses.reset(env, next(seeds))
            try:
                obs, reward, terminated, truncated, info = take(env, action)
                break
            except NotFiniteError as error:
                losses.add(error)
                # The same action again in a new episode, so that there are as many transitions as actions.
                episodes += [_episode(first, steps, False)] if steps else []
                steps, over = [], True
        steps.append((obs, action, reward, -1 if task_of is None else task_of(info)))
        over = terminated or truncated
        if over:
            episodes.append(_episode(first, steps, terminated))
            steps = []
    return [*episodes, _episode(first, steps, False)] if steps else episodes


def _episode(
    first: Any, steps: list[tuple[np.ndarray, np.ndarray, float, int]], terminated: bool
) -> RecordedEpisode:
    obs, actions, rewards, task = zip(*steps, strict=True)
    return RecordedEpisode(
        np.array([first, *obs]), np.array(actions), np.array(rewards), np.array(task), bool(terminated)
    )


def to_trajectories(
    segments: Sequence[Segment | RecordedEpisode],
    spec: Transitions,
    *,
    shortest: int = 1,
    run: int | None = None,
) -> list[Trajectory]:
    """Inputs x = features(obs, action) and targets y = delta(obs, next_obs) of every segment, in natural units.

    No pair is made across a reset. Episodes may end before a window of time is full, and a learner keeps its window
    over a reset. So short segments may be joined into one trajectory for training.

    Args:
        segments: in the order of their recording.
        spec: of their environment.
        shortest: a segment with fewer pairs is joined with the next ones.
        run: transitions of one run, if all recorded runs have the same number; nothing is joined across the end of a
            run, since the hidden task may be another one there.

    Returns:
        Trajectories x ``[time, dx]``, y ``[time, dy]`` that hold every pair once, in order.
    """
    return [Trajectory(t.x, t.y) for t in to_motions(segments, spec, shortest=shortest, run=run)]


def to_motions(
    segments: Sequence[Segment | RecordedEpisode],
    spec: Transitions,
    *,
    shortest: int = 1,
    run: int | None = None,
) -> list[Motion]:
    """`to_trajectories` with the transitions that the pairs were made of, for a meta-loss over several steps.

    Arguments as there. The next observation of a transition is the observation of the following one, bit for bit,
    unless there was a reset between them.
    """
    obs, actions, following = parts = _transitions(segments)
    obs, following = obs.astype(np.float32), following.astype(np.float32)
    x, y = _pairs(parts, spec)
    cuts, start = [], 0
    for end in np.cumsum([len(s.actions) for s in segments]):
        # The last trajectory may be shorter than `shortest`: there is nothing left to join it with.
        if end - start >= shortest or end == len(x) or (run is not None and end % run == 0):
            cuts.append(slice(start, end))
            start = end
    return [Motion(*(part[cut] for part in (x, y, obs, actions, following))) for cut in cuts]


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
    x, y = _pairs(_transitions(episodes), spec)
    task, offset = [], 0
    for episode in episodes:
        task.append(offset + np.unique(episode.task, return_inverse=True)[1])
        offset = int(task[-1].max()) + 1
    return Stream(x, y, np.concatenate(task), name)


def _pairs(transitions: tuple[np.ndarray, ...], spec: Transitions) -> tuple[np.ndarray, np.ndarray]:
    """Inputs ``[n, dx]`` and targets ``[n, dy]`` of what `_transitions` gives."""
    # All segments in one call: each length would be compiled anew.
    pair: Callable[..., Any] = jax.jit(jax.vmap(lambda o, a, n: (spec.features(o, a), spec.delta(o, n))))
    obs, actions, following = transitions
    ends = obs.astype(np.float32), following.astype(np.float32)
    x, y = jax.device_get(pair(ends[0], actions, ends[1]))
    return x, unrounded(spec.delta, y, ends, (rounding(obs), rounding(following)))


def _transitions(segments: Sequence[Segment | RecordedEpisode]) -> tuple[np.ndarray, ...]:
    """Observations, actions and next observations ``[n, d]``, one segment after another."""
    obs = np.concatenate([s.obs[:-1] for s in segments])
    following = np.concatenate([s.obs[1:] for s in segments])
    return obs, np.concatenate([s.actions for s in segments]), following
