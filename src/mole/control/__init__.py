"""Control: agents, the episode loop, training on policy, and the records they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mole._lazy import lazy

if TYPE_CHECKING:
    from mole.control.agent import Agent, LearnedDynamics
    from mole.control.episode import EpisodeError, run_episode
    from mole.control.records import EpisodeRecord

__all__ = ["Agent", "EpisodeError", "EpisodeRecord", "LearnedDynamics", "run_episode"]

# Whoever reads a record, as a report does, needs no simulator.
__getattr__, __dir__ = lazy(
    __name__,
    {"agent": "Agent LearnedDynamics", "episode": "EpisodeError run_episode", "records": "EpisodeRecord"},
)
