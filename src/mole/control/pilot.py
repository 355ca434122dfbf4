"""Who is at the controls of an episode, and what an evaluator knows of the hidden task."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from mole._types import Key
from mole.control.agent import Agent, jit_act, jit_observe

__all__ = ["AgentPilot", "Pilot", "Truth"]


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
    """Who is at the controls of an episode.

    With a checkpoint it also has ``state``, a pytree of all that changes from one step to the next.
    """

    def act(self, obs: np.ndarray, step: int) -> np.ndarray:
        """The action ``[act]`` at observation ``[obs]``."""
        ...

    def observe(self, obs: np.ndarray, action: np.ndarray, following: np.ndarray) -> dict[str, Any]:
        """Take in a transition, and say what the record is to hold of it (`Recorder.append`)."""
        ...

    def restart(self) -> None:
        """The environment is about to be reset."""
        ...


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
