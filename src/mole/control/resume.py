"""A running episode in a file, from which it goes on as if it had never stopped.

What learns and plans is stored: the pilot's state, all observations, actions and the record. An environment is not. It
is taken back to where it was by its seed and the recorded actions, which works for every environment that repeats
itself (physics, hidden schedule and random numbers alike), and every observation and reward on the way is compared with
the recorded one. An environment that does not repeat itself is found out: the episode begins again then, and says so.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mole.control.records import Recorder
from mole.files import checkpoint
from mole.files.atomic import remove_generations, remove_leftovers
from mole.files.generations import KEPT, Periodic, RecoveryWarning, newest
from mole.online.stack import UPGRADES

__all__ = ["EpisodeFile", "RunningEpisode"]

_KIND = "episode"


class _AnotherWayError(Exception):
    """The environment did not repeat itself."""


@runtime_checkable
class RunningEpisode(Protocol):
    """The moving parts of an episode, as `mole.control.episode.drive` has them."""

    pilot: Any
    recorder: Recorder
    stretches: list[tuple[list[np.ndarray], list[np.ndarray]]]

    def begin(self) -> None:
        """The episode from its first observation on, with nothing recorded."""
        ...

    def repeat(self, action: np.ndarray) -> float:
        """One step with a recorded action, for which nobody plans and from which nobody learns; its reward."""
        ...


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
        arrays = {name: run.recorder.last(name, step) for name in Recorder.NAMES}
        arrays["obs"] = np.concatenate([np.stack(obs) for obs, _ in run.stretches])
        arrays["actions"] = np.stack([action for _, actions in run.stretches for action in actions])
        config = {
            "about": dict(about),
            "lengths": [len(actions) for _, actions in run.stretches],
            "arrays": {name: [list(array.shape), array.dtype.str] for name, array in arrays.items()},
        }
        checkpoint.save(self.path, (run.pilot.state, arrays), kind=_KIND, config=config, keep=self._keep)

    def resume(self, run: RunningEpisode, about: Mapping[str, Any]) -> int:
        """Take a run that has begun to where its file was written, and return the steps made; 0 without a file.

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
        if header.kind != _KIND or header.config.get("about") != json.loads(json.dumps(dict(about))):
            return self._refuse("was written by something else")
        if header.libraries != checkpoint.libraries():
            return self._refuse(f"was written with {header.libraries}, now {checkpoint.libraries()}")
        like = {name: checkpoint.placeholder(*stored) for name, stored in header.config["arrays"].items()}
        state, arrays = checkpoint.load(found, (run.pilot.state, like), kind=_KIND, upgrades=UPGRADES)
        try:
            self._repeat(run, arrays, header.config["lengths"])
        except _AnotherWayError as error:
            run.begin()
            return self._refuse(str(error))
        run.pilot.state = state
        run.recorder.extend({name: arrays[name] for name in Recorder.NAMES})
        return len(arrays["actions"])

    def remove(self) -> None:
        """Remove all generations, when the episode is kept elsewhere."""
        remove_generations(self.path)

    def _refuse(self, why: str) -> int:
        warnings.warn(f"{self.path} {why}: the episode begins again", RecoveryWarning, stacklevel=3)
        self.remove()
        return 0

    def _repeat(self, run: RunningEpisode, arrays: Mapping[str, np.ndarray], lengths: list[int]) -> None:
        rewards, ends = arrays["reward"], np.cumsum(np.asarray(lengths) + 1)
        stretches = np.split(arrays["obs"], ends[:-1])
        for step, action in enumerate(arrays["actions"]):
            if run.repeat(action) != rewards[step]:
                raise _AnotherWayError(f"is of an environment that gave another reward at step {step}")
        same = len(run.stretches) == len(stretches) and all(
            np.array_equal(np.stack(obs), recorded)
            for (obs, _), recorded in zip(run.stretches, stretches, strict=True)
        )
        if not same:
            raise _AnotherWayError("is of an environment that did not repeat itself")
