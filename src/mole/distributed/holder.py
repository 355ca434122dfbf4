"""What an actor does: it holds some shards, learns their rows, and commits them. It knows nothing of Ray.

An actor may die at any moment, be started again elsewhere, or be cut off and still run. Three rules make that harmless:
a shard is loaded and committed only under its lock; rows below its offset are dropped; and rows are taken only with the
ticket of the last `Holder.attach`, so that a call for an earlier life of the actor leaves no gap in a later one.
"""

from __future__ import annotations

import secrets
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mole._version import __version__
from mole.distributed.commits import Commit, ShardStore, Sink
from mole.files.generations import InUseError, file_lock
from mole.files.processes import Failure

__all__ = ["Attached", "Committed", "Holder", "Shard", "Work"]

_WRITERS = 8  # threads; most of a commit is waiting for the disk
_LOCK_SECONDS = 60.0  # so long may an earlier holder of a shard take to end, or to be found dead


@runtime_checkable
class Shard(Protocol):
    """What a shard holds: anything that learns rows, can be saved, and is made or loaded by ``make_shard``."""

    def step(self, rows: list[Any]) -> Sequence[Any]:
        """Learn rows, in order; one output for each, plain JSON data. How they are batched must not matter."""
        ...

    def save(self, path: Path) -> object:
        """Write everything to ``path``, a file or a folder that does not exist; called in several threads at once."""
        ...

    def __len__(self) -> int:
        """The number of keys that it has seen, for the progress."""
        ...


MakeShard = Callable[[Path | None], Shard]
"""``make_shard(None)`` makes a new shard, ``make_shard(path)`` the one that was saved there."""
Work = list[tuple[int, list[int], list[Any]]]
"""Of each shard: its number, the numbers of the rows in the source, ascending, and the rows."""


class Attached(NamedTuple):
    """Answer of `Holder.attach`: the ticket for what follows, the offset of each shard, and who answers."""

    ticket: str
    offsets: dict[int, int]
    version: str
    keys: int


class Committed(NamedTuple):
    """Answer of `Holder.commit`: the offset of each shard, and all keys held."""

    offsets: dict[int, int]
    keys: int


@dataclass
class _Held:
    shard: Shard
    store: ShardStore
    commit: Commit
    offset: int
    outputs: list[tuple[int, Any]] = field(default_factory=list)


class Holder:
    """See the module.

    Args:
        folder: of the run, on storage that all machines share.
        shards: number of virtual shards of the run.
        make_shard: see `MakeShard`.
        sink: see `mole.distributed.commits.Sink`.
        prepare: called once, before anything is loaded.
    """

    def __init__(
        self,
        folder: Path,
        shards: int,
        make_shard: MakeShard,
        sink: Sink | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        """See the class."""
        self._folder, self._shards, self._make, self._sink = folder, shards, make_shard, sink
        self._ticket, self._held, self._locks = "", dict[int, _Held](), ExitStack()
        if prepare is not None:
            prepare()

    def attach(self, mine: Sequence[int]) -> Attached:
        """Let go of everything, then lock and load the shards ``mine`` as they were committed.

        Raises:
            Failure: if another holder keeps a shard for a minute.
            CheckpointError: if a file is damaged or belongs to another run.
        """
        self.release()
        try:
            for number in mine:
                store = ShardStore(self._folder, number, self._shards)
                _locked(self._locks, store.path)
                commit = store.read()
                store.deliver(commit.number, self._sink)
                shard = self._make(store.state(commit.number) if commit.number else None)
                self._held[number] = _Held(shard, store, commit, commit.offset)
        except BaseException:
            self.release()
            raise
        # Made here and not by the caller: a call that is repeated makes the ticket of its first answer void.
        self._ticket = secrets.token_hex(8)
        offsets = {number: held.offset for number, held in self._held.items()}
        return Attached(self._ticket, offsets, __version__, self._keys())

    def step(self, ticket: str, work: Work) -> int | None:
        """Learn rows; the number of rows, those seen before included, or None for a void ticket.

        Raises:
            Failure: if a shard refuses a row; what is committed stays as it is.
        """
        if ticket != self._ticket:
            return None
        for number, positions, rows in work:
            held = self._held[number]
            seen = bisect_left(positions, held.offset)
            if seen == len(rows):
                continue
            fresh, places = rows[seen:], positions[seen:]
            where = f"shard {number}, rows {places[0]} to {places[-1]} of the source"
            try:
                outputs = held.shard.step(fresh)
            except Exception as error:
                # From here on the shard may have learned half of them: nothing of it may be committed.
                self._ticket = ""
                raise Failure(f"{where}: {type(error).__name__}: {error}") from error
            if len(outputs) != len(fresh):
                self._ticket = ""
                raise Failure(f"{where}: step() gave {len(outputs)} outputs, expected {len(fresh)}")
            held.outputs += zip(places, outputs, strict=True)
            held.offset = places[-1] + 1
        return sum(len(rows) for _, _, rows in work)

    def commit(self, ticket: str) -> Committed | None:
        """Commit every shard that has learned since its last commit; None for a void ticket.

        Raises:
            Failure: if an output cannot be written as JSON.
            OSError: if a file cannot be written.
        """
        if ticket != self._ticket:
            return None
        dirty = [held for held in self._held.values() if held.offset != held.commit.offset]
        # A disk takes as long for the commits of many shards at once as for that of one.
        with ThreadPoolExecutor(_WRITERS) as pool:
            for held, new in zip(dirty, pool.map(self._commit, dirty), strict=True):
                held.commit, held.outputs = new, []
        return Committed({number: held.commit.offset for number, held in self._held.items()}, self._keys())

    def _commit(self, held: _Held) -> Commit:
        new = Commit(held.commit.number + 1, held.offset, held.commit.rows + len(held.outputs))
        held.store.write(new, held.shard.save, held.outputs, self._sink)
        return new

    def release(self) -> None:
        """Forget all shards and give their locks back; what was not committed is gone."""
        self._ticket = ""
        self._held.clear()
        self._locks.close()

    def _keys(self) -> int:
        return sum(len(held.shard) for held in self._held.values())


def _locked(stack: ExitStack, path: Path) -> None:
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            stack.enter_context(file_lock(path))
        except InUseError as error:
            if time.monotonic() > until:
                raise Failure(str(error)) from error
            time.sleep(0.05)
        else:
            return
