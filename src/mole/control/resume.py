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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mole.control.records import Recorder
from mole.datasets.resolution import narrowed
from mole.datasets.steps import Losses, NotFiniteError, Step, take
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
        self.losses = Losses()
        # (step, action) of what was dropped: to repeat the episode, these actions must be made too.
        self.dropped: list[tuple[int, np.ndarray]] = []

    def begin(self) -> None:
        """Start from the first observation, with nothing recorded."""
        self._rng = np.random.default_rng(self.seed)
        self.transitions.clear()
        self.dropped.clear()
        self.losses = Losses()
        self._reset(self.seed)

    def step(self, step: int) -> None:
        """Act, step, observe, record; reset after the end of an episode.

        A transition that is not finite is dropped, and the step made again in a new episode.

        Raises:
            FloatingPointError: if most episodes end so.
        """
        while True:
            action = self.controller.act(self._obs, step)
            if self.noise:
                noise = self.noise * 0.5 * (self._high - self._low) * self._noise(action)
                # Noise may leave the bounds, and not every environment clips.
                action = np.clip(action + noise.astype(np.float32), self._low, self._high)
            try:
                made = take(self.env, action)
                break
            except NotFiniteError as error:
                self.dropped.append((step, action))
                self.losses.add(error)
                self.controller.restart()
                self._reset()
        self.recorder.append(
            reward=made.reward,
            true_task=-1 if self.truth is None else self.truth.governing(made.info),
            **self.controller.observe(self._obs, action, made.obs),
        )
        # After the record: if the controller fails, record and transitions have the same length.
        self._keep(action, made.obs)
        if made.terminated or made.truncated:
            self.controller.restart()
            self._reset()

    def finish(self, error: str | None = None) -> None:
        """The end of the record: why it ended, and how many transitions were dropped, if any were."""
        self.recorder.finish(error)
        if self.losses.dropped:
            self.recorder.meta["dropped"] = self.losses.dropped

    def repeat(self, step: int, action: np.ndarray, dropped: Sequence[np.ndarray] = ()) -> float:
        """One step with a recorded action, without planning or learning; its reward.

        Args:
            step: its number.
            action: as recorded.
            dropped: actions before it whose transitions were dropped.
        """
        for lost in dropped:
            self._noise(lost)
            self.dropped.append((step, lost))
            try:
                take(self.env, lost)
            except NotFiniteError as error:
                self.losses.add(error)
                self._reset()
            else:
                raise _DivergedError(f"is of an environment that was not finite at step {step}")
        # The recorded action contains this noise; the draws after the repetition must follow it.
        self._noise(action)
        made: Step = take(self.env, action)
        self._keep(action, made.obs)
        if made.terminated or made.truncated:
            self._reset()
        return made.reward

    def segments(self) -> list[Segment]:
        """The transitions between resets, as arrays."""
        whole = [(np.stack(obs), np.stack(actions)) for obs, actions in self.transitions if actions]
        kept = narrowed([obs for obs, _ in whole])
        return [Segment(obs, actions) for obs, (_, actions) in zip(kept, whole, strict=True)]

    def _noise(self, action: np.ndarray) -> Any:
        return self._rng.standard_normal(action.shape) if self.noise else None

    def _reset(self, seed: int | None = None) -> None:
        self._obs = self.losses.reset(self.env, seed)
        self.transitions.append(([self._obs], []))

    def _keep(self, action: np.ndarray, obs: np.ndarray) -> None:
        self.transitions[-1][0].append(obs)
        self.transitions[-1][1].append(action)
        self._obs = obs


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
        if run.dropped:
            arrays["dropped"] = np.stack([action for _, action in run.dropped])
            arrays["dropped_at"] = np.asarray([at for at, _ in run.dropped], np.int64)
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
    at = arrays.get("dropped_at", np.zeros(0))
    for step, action in enumerate(arrays["actions"]):
        dropped = [arrays["dropped"][place] for place in np.flatnonzero(at == step)]
        try:
            reward = run.repeat(step, action, dropped)
        except NotFiniteError as error:
            raise _DivergedError(f"is of an environment that was finite at step {step}") from error
        # Bit for bit: an environment that repeats itself nearly is another one after a hundred steps.
        if reward != arrays["reward"][step]:
            raise _DivergedError(f"is of an environment that gave another reward at step {step}")
    recorded = np.split(arrays["obs"], np.cumsum(np.asarray(lengths) + 1)[:-1])
    same = len(run.transitions) == len(recorded) and all(
        # In the file's type: older ones hold float32.
        np.array_equal(np.stack(obs).astype(expected.dtype), expected)
        for (obs, _), expected in zip(run.transitions, recorded, strict=True)
    )
    if not same:
        raise _DivergedError("is of an environment that did not repeat itself")
