"""An episode that runs, and the file from which it goes on as if it had never stopped.

The file holds what learns and plans: the controller's state, all observations, actions and the record. It does not hold
the environment, which most simulators cannot save. The environment is taken back to where it was by its seed and the
recorded actions. That works for every environment that repeats itself (physics, hidden schedule and random numbers
alike), and every observation and reward on the way is compared with the recorded one. If one differs, the environment
does not repeat itself: the episode begins again, with a warning.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mole.control.records import Recorder
from mole.datasets.transitions import Segment
from mole.files import checkpoint
from mole.files.atomic import remove_generations, remove_leftovers
from mole.files.generations import KEPT, Periodic, RecoveryWarning, newest

__all__ = ["Controller", "EpisodeFile", "RunningEpisode", "Truth"]

_KIND = "episode"


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
class Controller(Protocol):
    """Whatever chooses the actions of an episode.

    With a checkpoint it also has ``state``, a pytree of everything that changes from one step to the next.
    """

    def act(self, obs: np.ndarray, step: int) -> np.ndarray:
        """The action ``[act]`` at observation ``[obs]``."""
        ...

    def observe(self, obs: np.ndarray, action: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        """Take in a transition, and return what the record holds of it (arguments of `Recorder.append`)."""
        ...

    def restart(self) -> None:
        """The environment is about to be reset."""
        ...


class RunningEpisode:
    """The moving parts of an episode: environment, controller, what was recorded, and the transitions so far.

    Args:
        env: a Gymnasium environment.
        controller: chooses the actions.
        seed: of the first reset and of the action noise.
        truth: the evaluator's knowledge, for the record.
        noise: standard deviation of the action noise, as a fraction of half the action range.
        meta: header of the record.
    """

    def __init__(
        self,
        env: Any,
        controller: Controller,
        seed: int,
        truth: Truth | None,
        noise: float,
        meta: Mapping[str, Any],
    ) -> None:
        """See the class."""
        self.env, self.truth, self.noise = env, truth, noise
        self.controller: Any = controller  # with a `state`, if there is a checkpoint
        self.seed, self.recorder = seed, Recorder(meta)
        self._low = np.asarray(env.action_space.low, np.float32)
        self._high = np.asarray(env.action_space.high, np.float32)
        self.transitions: list[tuple[list[np.ndarray], list[np.ndarray]]] = []

    def begin(self) -> None:
        """Start from the first observation, with nothing recorded."""
        self._rng = np.random.default_rng(self.seed)
        self.transitions.clear()
        self._reset(self.seed)

    def step(self, step: int) -> None:
        """Act, step, observe, record; reset after the end of an episode."""
        action = self.controller.act(self._obs, step)
        if self.noise:
            noise = self.noise * 0.5 * (self._high - self._low) * self._rng.standard_normal(action.shape)
            # Noise may leave the bounds, and not every environment clips.
            action = np.clip(action + noise.astype(np.float32), self._low, self._high)
        obs, reward, terminated, truncated, info = self.env.step(action)
        # Checked before anything learns from it: a single NaN would spoil the learner and every later plan.
        obs = _checked(obs, "observation")
        if not np.isfinite(reward):
            raise FloatingPointError(f"the environment gave the reward {reward}; expected a finite number.")
        self.recorder.append(
            reward=float(reward),
            true_task=-1 if self.truth is None else self.truth.governing(info),
            **self.controller.observe(self._obs, action, obs),
        )
        # After the record: if the controller fails, record and transitions have the same length.
        self._keep(action, obs)
        if terminated or truncated:
            self.controller.restart()
            self._reset()

    def repeat(self, action: np.ndarray) -> float:
        """One step with a recorded action, without planning or learning; its reward."""
        if self.noise:
            # The recorded action contains this noise; the draws after the repetition must follow it.
            self._rng.standard_normal(action.shape)
        obs, reward, terminated, truncated, _ = self.env.step(action)
        self._keep(action, _checked(obs, "observation"))
        if terminated or truncated:
            self._reset()
        return float(reward)

    def segments(self) -> list[Segment]:
        """The transitions between resets, as arrays."""
        return [Segment(np.stack(obs), np.stack(actions)) for obs, actions in self.transitions if actions]

    def _reset(self, seed: int | None = None) -> None:
        obs, _ = self.env.reset(seed=seed)
        self._obs = _checked(obs, "observation at reset")
        self.transitions.append(([self._obs], []))

    def _keep(self, action: np.ndarray, obs: np.ndarray) -> None:
        self.transitions[-1][0].append(obs)
        self.transitions[-1][1].append(action)
        self._obs = obs


def _checked(obs: Any, what: str) -> np.ndarray:
    obs = np.asarray(obs)
    if not np.isfinite(obs).all():
        bad = np.flatnonzero(~np.isfinite(obs)).tolist()
        raise FloatingPointError(f"the environment gave an {what} that is not finite in entries {bad}.")
    # What models and files hold; the environment itself keeps its own precision.
    return obs.astype(np.float32)


class _DivergedError(Exception):
    """The environment did not repeat itself."""


class EpisodeFile:
    """Where an episode is kept while it runs.

    Args:
        path: the file; older generations have .1, .2, … after its name.
        periodic: when it is written.
        keep: generations.
    """

    def __init__(self, path: Path, periodic: Periodic, *, keep: int = KEPT) -> None:
        """See the class."""
        self.path, self._periodic, self._keep = path, periodic, keep

    def after(self, step: int, run: RunningEpisode, about: Mapping[str, Any], *, now: bool) -> None:
        """Write the file after ``step`` steps if it is due, or ``now``.

        Args:
            step: steps made.
            run: the episode.
            about: what decides the episode, plain JSON data; only an episode of the same goes on from the file.
            now: whether it is written in any case.
        """
        if not self._periodic.due(step) and not now:
            return
        # Everything each time: the transitions of a run are small beside its networks.
        arrays = {name: run.recorder.last(name, step) for name in Recorder.NAMES}
        arrays["obs"] = np.concatenate([np.stack(obs) for obs, _ in run.transitions])
        arrays["actions"] = np.stack([action for _, actions in run.transitions for action in actions])
        config = {
            "about": dict(about),
            "lengths": [len(actions) for _, actions in run.transitions],
            # `checkpoint.load` fills a given structure, so the header says how long the arrays are.
            "arrays": {name: [list(array.shape), array.dtype.str] for name, array in arrays.items()},
        }
        tree = run.controller.state, arrays
        checkpoint.save(self.path, tree, kind=_KIND, config=config, keep=self._keep)

    def resume(self, run: RunningEpisode, about: Mapping[str, Any]) -> int:
        """Bring a run, which has just begun, to the step at which its file was written.

        Returns the number of steps made; 0 without a file.

        A file of something else, of other versions of the libraries or of an environment that does not repeat itself
        is passed over with a `RecoveryWarning`.

        Raises:
            mole.files.checkpoint.CheckpointError: if there is a file and every generation of it is damaged.
        """
        remove_leftovers(self.path.parent, self.path.name)
        found = newest(self.path)
        if found is None:
            return 0
        header = checkpoint.read_header(found)
        # Through JSON, as the file's was: it makes lists of tuples.
        if header.kind != _KIND or header.config.get("about") != json.loads(json.dumps(dict(about))):
            return self._refuse("was written by something else")
        # Another version may round otherwise, and half of the run would not be what it would have been.
        if header.libraries != checkpoint.libraries():
            return self._refuse(f"was written with {header.libraries}, now {checkpoint.libraries()}")
        # Read before the steps are repeated: a damaged file should not cost that time.
        like = {name: checkpoint.placeholder(*stored) for name, stored in header.config["arrays"].items()}
        state, arrays = checkpoint.load(found, (run.controller.state, like), kind=_KIND)
        try:
            _repeat(run, arrays, header.config["lengths"])
        except _DivergedError as error:
            run.begin()
            return self._refuse(str(error))
        run.controller.state = state
        run.recorder.extend({name: arrays[name] for name in Recorder.NAMES})
        return len(arrays["actions"])

    def remove(self) -> None:
        """Remove all generations, when the episode is kept elsewhere."""
        remove_generations(self.path)

    def _refuse(self, why: str) -> int:
        warnings.warn(f"{self.path} {why}: the episode begins again", RecoveryWarning, stacklevel=3)
        self.remove()
        return 0


def _repeat(run: RunningEpisode, arrays: Mapping[str, np.ndarray], lengths: list[int]) -> None:
    """Repeat the recorded actions, and compare all that the environment gives."""
    for step, action in enumerate(arrays["actions"]):
        # Bit for bit: an environment that repeats itself nearly is another one after a hundred steps.
        if run.repeat(action) != arrays["reward"][step]:
            raise _DivergedError(f"is of an environment that gave another reward at step {step}")
    recorded = np.split(arrays["obs"], np.cumsum(np.asarray(lengths) + 1)[:-1])
    same = len(run.transitions) == len(recorded) and all(
        np.array_equal(np.stack(obs), expected)
        for (obs, _), expected in zip(run.transitions, recorded, strict=True)
    )
    if not same:
        raise _DivergedError("is of an environment that did not repeat itself")
