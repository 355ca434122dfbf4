"""Control: agents, the episode loop, training on policy, and the records they leave."""

from mole.control.agent import Agent, LearnedDynamics
from mole.control.episode import EpisodeError, run_episode
from mole.control.records import EpisodeRecord

__all__ = ["Agent", "EpisodeError", "EpisodeRecord", "LearnedDynamics", "run_episode"]
