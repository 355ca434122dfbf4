"""The driver's loop: rows to the queues of actors, batches on their way, commits, and what follows a loss.

Everything happens in one thread, between two rows. A row is pending until a commit covers it, so what a lost actor had
is sent again from there.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from mole._version import __version__
from mole.distributed.cluster import Link, LostError
from mole.distributed.commits import RunRecord
from mole.distributed.holder import Attached, Committed
from mole.distributed.keys import Keys
from mole.distributed.progress import Clock, Limits, Progress
from mole.files.generations import Periodic
from mole.files.processes import Failure, Interrupts

__all__ = ["Source", "drive"]

Source = Iterable[Any] | Callable[[int], Iterable[Any]]
"""Rows, the same ones whenever it is read again; or a function that gives the rows from a number on."""
_CALLS = 4  # batches on their way to an actor: one that it works on, and enough that the next is there
_LIVES = 3  # actors that may fail, one after the other, before they have loaded their shards
_TURN = 0.2  # seconds: a row waits no longer for its batch to fill


@dataclasses.dataclass(eq=False)
class _Lane:
    """An actor, as the driver sees it.

    Attributes:
        shards: those that it holds.
        actor: its handle.
        ticket: of its last attachment; empty while it has none.
        queue: (shard, number, row) of what is to be sent.
        calls: (method, call) on their way, oldest first.
        sent: rows sent since the last call of commit.
        last_commit: when that was.
        trouble: since when it was lost, or not there; None if all is well.
        deaths: attachments that failed, one after the other.
        reason: of the last loss.
        keys: that it holds.
    """

    shards: list[int]
    actor: Any
    ticket: str = ""
    queue: deque[tuple[int, int, Any]] = dataclasses.field(default_factory=deque)
    calls: deque[tuple[str, Any]] = dataclasses.field(default_factory=deque)
    sent: int = 0
    last_commit: float = 0.0
    trouble: float | None = None
    deaths: int = 0
    reason: str = ""
    keys: int = 0

    def under_way(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)


def drive(
    link: Link,
    record: RunRecord,
    key: str | Callable[[Any], Any],
    actors: int,
    limits: Limits,
    source: Source,
    signals: Interrupts,
    on_progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Feed the whole source, or what comes before a signal or a bad row, and commit it; see `mole.distributed.run`.

    Args:
        link: makes and calls the actors, each a `mole.distributed.holder.Holder`.
        record: where to read on, and what the folder belongs to.
        key: column of the key, or a function of a row.
        actors: how many.
        limits: amounts.
        source: the rows.
        signals: entered; a signal ends the source.
        on_progress: called about once a second, and at the end.
    """
    return _Driver(link, record, key, actors, limits, on_progress).run(source, signals)


class _Driver:
    def __init__(
        self,
        link: Link,
        record: RunRecord,
        key: str | Callable[[Any], Any],
        actors: int,
        limits: Limits,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.link, self.record, self.limits, self.on_progress = link, record, limits, on_progress
        self.keys = Keys(key, record.shards, record.kind)
        self.pending = [deque[tuple[int, Any]]() for _ in range(record.shards)]
        self.offsets = [0] * record.shards
        self.rows, self.waiting, self.losses = record.position, 0, 0
        self.lanes = [_Lane([*range(i, record.shards, actors)], link.start()) for i in range(actors)]
        self.said, self.saved = Periodic(seconds=1.0), Periodic(seconds=1.0)
        self.clock = Clock(self.rows)
        self.next_turn, self.error = 0.0, None

    def run(self, source: Source, signals: Interrupts) -> Progress:
        start = self.record.position
        rows = source(start) if callable(source) else islice(source, start, None)
        try:
            for lane in self.lanes:
                lane.trouble = time.monotonic()
                self.attach(lane)
            for item in signals.until_asked(self.routed(rows)):
                if item is not None:
                    self.feed(*item)
                elif time.monotonic() >= self.next_turn:
                    self.turn(0)
            while self.waiting:
                self.turn(1.0, force=True)
            self.save_record()
            end = self.progress()
            if self.on_progress is not None:
                self.on_progress(end)
        finally:
            self.release()
        if self.error is not None:
            raise self.error
        return end

    def routed(self, rows: Iterable[Any]) -> Iterator[tuple[int, int, Any] | None]:
        """(shard, number, row) of each row; None where the source has none at the moment."""
        number = self.rows
        # What is wrong with the source is told after everything before it is committed.
        try:
            for row in rows:
                if row is None:
                    yield None
                else:
                    yield self.keys.shard(row, number), number, row
                    number += 1
        except Exception as error:
            self.error = error

    def feed(self, shard: int, number: int, row: Any) -> None:
        self.rows = number + 1
        lane = self.lanes[shard % len(self.lanes)]
        if number >= self.offsets[shard]:  # else it is committed: the source is read again from before it
            self.pending[shard].append((number, row))
            lane.queue.append((shard, number, row))
            self.waiting += 1
        if len(lane.queue) % self.limits.batch == 0 or time.monotonic() >= self.next_turn:
            self.turn(0)
        # Back-pressure: the source is not read on before a commit has made room.
        while self.waiting >= self.limits.max_rows:
            self.turn(1.0, force=True)

    def turn(self, seconds: float, force: bool = False) -> None:
        """Take the answers that are there, or wait for one; send what is due, and commit it all with ``force``."""
        self.receive(seconds)
        now = time.monotonic()
        timed, self.next_turn = now >= self.next_turn, now + _TURN
        for lane in self.lanes:
            self.send(lane, flush=force or timed)
            share = lane.sent >= self.limits.max_rows / (2 * len(self.lanes))
            # Forced only when all is sent: a commit takes as long as thousands of rows.
            due = share or (force and not lane.queue)
            due = due or now - lane.last_commit >= self.limits.commit_seconds
            if lane.sent and due and not lane.under_way("commit"):
                lane.calls.append(("commit", self.link.call(lane.actor, "commit", lane.ticket)))
                lane.sent, lane.last_commit = 0, now
            if lane.trouble is not None and now - lane.trouble > self.limits.patience:
                raise Failure(self.told(lane, f"no progress for {self.limits.patience:g} s"))
        if self.on_progress is not None and self.said.due(1):
            self.on_progress(self.progress())

    def send(self, lane: _Lane, flush: bool) -> None:
        while lane.ticket and lane.queue:
            steps = lane.under_way("step")
            # A part of a batch only if the actor would have nothing to do otherwise.
            if steps >= _CALLS or (len(lane.queue) < self.limits.batch and not (flush and steps == 0)):
                return
            work: dict[int, tuple[list[int], list[Any]]] = {}
            size = min(self.limits.batch, len(lane.queue))
            for _ in range(size):
                shard, number, row = lane.queue.popleft()
                numbers, rows = work.setdefault(shard, ([], []))
                numbers.append(number)
                rows.append(row)
            parts = [(shard, *pair) for shard, pair in work.items()]
            lane.calls.append(("step", self.link.call(lane.actor, "step", lane.ticket, parts)))
            lane.sent += size

    def receive(self, seconds: float) -> None:
        while firsts := {lane.calls[0][1]: lane for lane in self.lanes if lane.calls}:
            ended = self.link.wait(list(firsts), seconds)
            if not ended:
                return
            for call in ended:
                self.answer(firsts[call])
            seconds = 0  # what else is there by now

    def answer(self, lane: _Lane) -> None:
        method, call = lane.calls.popleft()
        try:
            reply = self.link.get(call)
        except LostError as error:
            self.lost(lane, method, str(error))
            return
        if reply is None:  # the actor died and lives again, and nobody noticed until now
            self.lost(lane, method, "it was started again")
        elif isinstance(reply, Attached):
            self.attached(lane, reply)
        elif isinstance(reply, Committed):
            lane.keys, lane.trouble = reply.keys, None
            self.covered(reply.offsets)

    def lost(self, lane: _Lane, method: str, reason: str) -> None:
        """Whatever was on its way is void: what is committed counts, and what is pending is sent again."""
        self.losses += 1
        lane.ticket, lane.sent, lane.reason = "", 0, reason
        lane.calls.clear()
        lane.trouble = lane.trouble or time.monotonic()
        if method == "attach":  # that call is repeated by itself while the actor can come back
            lane.deaths += 1
            if lane.deaths >= _LIVES:
                raise Failure(self.told(lane, f"{_LIVES} actors in turn were lost before they held them"))
            lane.actor = self.link.start()
        self.attach(lane)

    def attach(self, lane: _Lane) -> None:
        lane.calls.append(("attach", self.link.call(lane.actor, "attach", lane.shards, again=True)))

    def attached(self, lane: _Lane, reply: Attached) -> None:
        if reply.version != __version__:
            raise Failure(
                f"a machine of the cluster has mole-online {reply.version}, this one {__version__}: install the same "
                "version on all of them. Nothing was sent to it"
            )
        lane.ticket, lane.keys, lane.deaths = reply.ticket, reply.keys, 0
        self.covered(reply.offsets)
        lane.queue = deque((shard, *pair) for shard in lane.shards for pair in self.pending[shard])
        # Once lost it commits its first batch at once: so a run gets on even if actors live shorter than the time
        # between two commits. A first actor has nothing to prove.
        lane.sent, lane.last_commit = 0, -math.inf if lane.reason else time.monotonic()
        if not lane.reason or not lane.queue:
            lane.trouble = None

    def covered(self, offsets: dict[int, int]) -> None:
        for shard, offset in offsets.items():
            pending, self.offsets[shard] = self.pending[shard], offset
            while pending and pending[0][0] < offset:
                pending.popleft()
                self.waiting -= 1
        if self.saved.due(1):
            self.save_record()

    def committed(self) -> int:
        """All rows below this number are committed."""
        return min((rows[0][0] for rows in self.pending if rows), default=self.rows)

    def save_record(self) -> None:
        """Where the source is to be read on; only a saving, since shards drop what they have seen."""
        self.record.position, self.record.kind = self.committed(), self.keys.kind
        self.record.write()

    def progress(self) -> Progress:
        oldest = self.committed()
        speed, lag = self.clock.mark(self.rows, oldest)
        shards = tuple(len(lane.shards) if lane.ticket else 0 for lane in self.lanes)
        keys = sum(lane.keys for lane in self.lanes)
        return Progress(self.rows, oldest, self.waiting, speed, lag, keys, shards, self.losses)

    def told(self, lane: _Lane, what: str) -> str:
        held = ", ".join(map(str, lane.shards[:8])) + (", …" if len(lane.shards) > 8 else "")
        why = (
            f"; the last reason: {lane.reason[:1000]}"
            if lane.reason
            else ": no machine has a core free for it"
        )
        return f"the actor of the shards {held}: {what}{why}. What is committed is kept: run again to go on"

    def release(self) -> None:
        """Have the actors give their locks back, so that another run need not wait for their end."""
        calls = [self.link.call(lane.actor, "release") for lane in self.lanes]
        until = time.monotonic() + 2.0  # one that hangs ends with the connection
        while calls and time.monotonic() < until:
            for call in self.link.wait(calls, 1.0):
                calls.remove(call)
