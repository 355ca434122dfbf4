"""Keyed streams over many actors, each row learned exactly once: the driver that feeds them and outlives them.

The driver keeps every row until a commit covers it. If an actor is lost, Ray starts it again elsewhere; it loads what
its shards committed and says how far that is, and the driver sends what comes after. If the driver is lost, the folder
knows where to go on. What this rests on is in docs/scale.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mole._expect import expect_callable, expect_file, expect_number, expect_whole
from mole.distributed.cluster import RayLink, joined, pin_to_a_core
from mole.distributed.commits import RunRecord, Sink
from mole.distributed.driver import Source, drive
from mole.distributed.holder import Holder, MakeShard
from mole.distributed.progress import Limits, Progress
from mole.files.generations import folder_lock
from mole.files.processes import Interrupts

__all__ = ["run"]


def run(
    source: Source,
    sink: Sink | None = None,
    *,
    make_shard: MakeShard,
    key: str | Callable[[Any], Any],
    folder: str | Path,
    shards: int = 64,
    actors: int = 2,
    address: str | None = None,
    batch: int = 1000,
    max_rows: int = 100_000,
    commit_seconds: float = 10.0,
    patience: float = 300.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Learn a keyed stream on a Ray cluster: rows of one key in order, each exactly once, whatever dies meanwhile.

    At Ctrl-C or SIGTERM, and at a row without a usable key, everything read before is learned and committed first. A
    second run on the folder goes on after it, with any number of actors.

    Args:
        source: rows, or a function of the first row's number that gives the rows from there on. A folder belongs to one
            source: when a run goes on, the source must give the same rows again. None in the place of a row means that
            there is none at the moment: a live source should give one every second, so that commits are in time.
        sink: ``sink(shard, number, outputs)``, called in the actors after each commit; repeated with the same arguments
            after a failure, so that it must replace what it wrote for that shard and number. None keeps the outputs in
            the folder, for `read_outputs`.
        make_shard: ``make_shard(None)`` makes what a shard holds, ``make_shard(path)`` the one saved there; see
            `mole.distributed.Shard`. It must be importable on all machines.
        key: column of the key, or a function of a row. Keys are texts or whole numbers, all of one kind.
        folder: of the run, on storage that all machines share and that has file locks.
        shards: number of virtual shards, for good; the most actors that can share the work.
        actors: processes, one core each.
        address: ``host:port`` of a cluster; None starts Ray on this machine.
        batch: rows of one call.
        max_rows: rows that are read and not committed, at most; they are in this process's memory.
        commit_seconds: between two commits of an actor.
        patience: seconds that an actor may make no progress after it was lost, or before it is there.
        on_progress: called about once a second, and at the end.

    Returns:
        The progress at the end of the source.

    Raises:
        RowError: for a key that is missing, null or of another kind.
        ValueError: if the folder belongs to another run (number of shards, column of the key), or another process is at
            work on it.
        CheckpointError: if a file of the folder is damaged.
        Failure: if Ray cannot be reached, machines have another version of the package, a shard raises an error, or
            patience is at its end. What is committed is kept.
        KeyboardInterrupt: after a clean stop.
    """
    expect_whole("run", "shards", shards, most=9999)
    expect_whole("run", "actors", actors, most=shards, remedy="An actor holds at least one shard.")
    expect_whole("run", "batch", batch)
    expect_whole("run", "max_rows", max_rows, least=batch, remedy="At least one batch.")
    for name, value in (("commit_seconds", commit_seconds), ("patience", patience)):
        expect_number("run", name, value, above=0)
    expect_callable("run", "make_shard", make_shard)
    if not isinstance(key, str):
        expect_callable("run", "key", key, "Or the name of a column.")
    if sink is not None:
        expect_callable("run", "sink", sink)
    place = expect_file("run", folder).absolute()
    limits = Limits(batch, max_rows, commit_seconds, patience)
    with folder_lock(place):
        record = RunRecord.claimed(place, shards, key if isinstance(key, str) else None)
        with joined(address, actors) as ray:
            link = RayLink(ray, Holder, place, shards, make_shard, sink, pin_to_a_core)
            # After Ray, which takes the signals too when it starts.
            with Interrupts() as signals:
                end = drive(link, record, key, actors, limits, source, signals, on_progress)
    signals.raise_if_asked()
    return end
