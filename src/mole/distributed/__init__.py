"""Streams with a key over many actors, each row learned exactly once, and suites and trainings as tasks: all on Ray."""

from mole.distributed.commits import Sink, read_outputs
from mole.distributed.driver import Source
from mole.distributed.fleets import FleetShard, FleetShards
from mole.distributed.holder import Shard
from mole.distributed.keys import RowError, shard_of
from mole.distributed.progress import Progress
from mole.distributed.run import run

__all__ = [
    "FleetShard",
    "FleetShards",
    "Progress",
    "RowError",
    "Shard",
    "Sink",
    "Source",
    "read_outputs",
    "run",
    "shard_of",
]
