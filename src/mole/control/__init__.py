"""Control: agents, the episode loop, training on policy, and the records they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mole._lazy import lazy

if TYPE_CHECKING:
    from mole.control.agent import Agent, LearnedDynamics
    from mole.control.check import EnvReport, EnvWarning, check_env
    from mole.control.episode import EpisodeError, run_episode
    from mole.control.records import EpisodeRecord

__all__ = [
    "Agent",
    "EnvReport",
    "EnvWarning",
    "EpisodeError",
    "EpisodeRecord",
    "LearnedDynamics",
    "check_env",
    "run_episode",
]

# Whoever reads a record, as a report does, needs no simulator.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "agent": "Agent LearnedDynamics",
        "check": "EnvReport EnvWarning check_env",
        "episode": "EpisodeError run_episode",
        "records": "EpisodeRecord",
    },
)
