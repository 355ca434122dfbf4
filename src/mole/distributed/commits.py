"""What a shard has absorbed, and what it answered, on shared storage: the commit of a shard is one file.

The file ``shards/0007.mole`` names the number of the commit and the offset of the next row. The state of that commit
and its outputs are files with the same number, written before::

    shards/0007-00000012.state           what the shard wrote: a file or a folder
    outputs/.0007-00000012.pending       the outputs of the rows since commit 11
    shards/0007.mole                     replaced: from here on, commit 12 counts
    outputs/0007-00000012.jsonl          the pending outputs, renamed (or given to the sink)

So state, offset and outputs change together at the one moment when the small file is replaced, and a state of many
megabytes is written once, in whatever form the shard likes. To hold all three in one file would copy the state.
A crash before that moment leaves commit 11 and files that nobody reads; a crash after it leaves pending outputs, which
are delivered by whoever holds the shard next, with the same number and the same rows.
"""

from __future__ import annotations

import dataclasses
import heapq
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mole._expect import expect_file
from mole.files import checkpoint
from mole.files.atomic import atomic_text
from mole.files.checkpoint import CheckpointError, DamagedError
from mole.files.processes import Failure

__all__ = ["Commit", "RunRecord", "ShardStore", "Sink", "read_outputs"]

Sink = Callable[[int, int, list[Any]], None]
"""``sink(shard, number, outputs)``: called for every commit after it counts, again with the same arguments after a
failure. So it must replace what it wrote for the same shard and number, not add to it."""
_KIND = "shard"


class Commit(NamedTuple):
    """What the newest commit of a shard says.

    Attributes:
        number: commits of this shard so far; 0 before the first.
        offset: number in the source of the first row that it has not absorbed, as far as this shard is concerned.
        rows: rows that it has absorbed.
    """

    number: int = 0
    offset: int = 0
    rows: int = 0


class ShardStore:
    """The files of one shard in the folder of a run; whoever uses it holds the lock of ``path``.

    Args:
        folder: of the run.
        shard: which.
        shards: number of virtual shards of the run.
    """

    def __init__(self, folder: Path, shard: int, shards: int) -> None:
        """See the class."""
        self.shard, self.shards = shard, shards
        self.states, self.outputs = folder / "shards", folder / "outputs"
        self.path = self.states / f"{shard:04d}.mole"

    def state(self, number: int) -> Path:
        """Where the shard's state of a commit is."""
        return self.states / f"{self.shard:04d}-{number:08d}.state"

    def read(self) -> Commit:
        """The newest commit.

        Raises:
            CheckpointError: if its file is damaged, or of a run with another number of shards.
        """
        try:
            found = checkpoint.read_header(self.path)
        except FileNotFoundError:
            return Commit()
        said = found.config
        if found.kind != _KIND or set(said) != {"shard", "shards", *Commit._fields}:
            raise CheckpointError(f"{self.path} holds a {found.kind!r}, expected the commit of a shard")
        if (said["shard"], said["shards"]) != (self.shard, self.shards):
            raise CheckpointError(
                f"{self.path} is shard {said['shard']} of {said['shards']}, expected shard {self.shard} of "
                f"{self.shards}: the number of shards of a folder is fixed. Run with shards={said['shards']}, or "
                "choose another folder"
            )
        numbers = [said[name] for name in Commit._fields]
        if not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise CheckpointError(f"{self.path} has {said}, expected whole numbers from 0 on")
        return Commit(*numbers)

    def write(
        self,
        new: Commit,
        save: Callable[[Path], object],
        outputs: Sequence[tuple[int, Any]],
        sink: Sink | None,
    ) -> None:
        """Make ``new`` the newest commit and deliver its outputs; the commit before must have been delivered.

        Args:
            new: its number is one above the newest.
            save: writes the state to a path.
            outputs: (number of the row in the source, output) of all rows since the commit before.
            sink: see `Sink`; None keeps the outputs in the folder.

        Raises:
            Failure: if an output is no plain JSON data.
            OSError: if a file cannot be written; the commit before counts.
        """
        try:
            lines = [json.dumps(pair, separators=(",", ":")) for pair in outputs]
        except (TypeError, ValueError) as error:
            raise Failure(
                f"shard {self.shard}: an output of step() is no plain JSON data ({error}); expected numbers, texts, "
                "truth values, None, and lists and dicts of them"
            ) from error
        pending = self._pending(new.number)
        pending.write_bytes("".join(f"{line}\n" for line in lines).encode())
        _sync(pending)
        state = self.state(new.number)
        _remove(state)  # of a try that did not come to its end
        save(state)
        if not state.exists():
            raise FileNotFoundError(f"save() of the shard's object did not write {state}")
        _sync(state)
        # The names, too; those in the other folder become durable together with that of the commit.
        _sync(self.outputs)
        checkpoint.save(
            self.path, {}, kind=_KIND, config={"shard": self.shard, "shards": self.shards, **new._asdict()}
        )
        self.deliver(new.number, sink)

    def deliver(self, number: int, sink: Sink | None) -> None:
        """Make the outputs of the newest commit visible, if they are not yet, and remove what no commit names."""
        pending = self._pending(number)
        if pending.exists():
            if sink is None:
                os.replace(pending, self._delivered(number))  # noqa: PTH105 - as in POSIX
            else:
                sink(self.shard, number, [output for _, output in _read(pending)])
                pending.unlink()
        for path in self.states.glob(f"{self.shard:04d}-*.state"):
            if path != self.state(number):
                _remove(path)
        for path in self.outputs.glob(f".{self.shard:04d}-*.pending"):
            path.unlink()

    def committed(self) -> Iterator[tuple[int, Any]]:
        """(number of the row in the source, output) of all that is committed, in order."""
        newest = self.read().number
        for number in range(1, newest + 1):
            # Only the newest may be pending: killed between the commit and its delivery.
            pending = self._pending(number)
            waits = number == newest and pending.exists()
            yield from _read(pending if waits else self._delivered(number))

    def _pending(self, number: int) -> Path:
        return self.outputs / f".{self.shard:04d}-{number:08d}.pending"

    def _delivered(self, number: int) -> Path:
        return self.outputs / f"{self.shard:04d}-{number:08d}.jsonl"


@dataclasses.dataclass
class RunRecord:
    """``run.json``: what the folder belongs to, and where to read on.

    Attributes:
        path: of the file.
        shards: number of virtual shards.
        key: column of the key; None for a function.
        kind: of the keys, if there was one; see `mole.distributed.keys.Keys`.
        position: all rows of the source below this number are committed.
    """

    path: Path
    shards: int
    key: str | None
    kind: str | None = None
    position: int = 0

    @classmethod
    def claimed(cls, folder: Path, shards: int, key: str | None) -> RunRecord:
        """The record of a folder, which must be locked and fit; a new one if there is none.

        Raises:
            ValueError: if the folder belongs to another run, or the file is damaged.
        """
        for part in ("shards", "outputs"):
            (folder / part).mkdir(exist_ok=True)
        record = cls(folder / "run.json", shards, key)
        if record.path.exists():
            try:
                said = json.loads(record.path.read_text("utf-8"))
                old = cls(record.path, *(said[field.name] for field in dataclasses.fields(cls)[1:]))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(
                    f"{record.path} is damaged ({error}); remove it to read the source from its start: what is "
                    "committed is not learned again"
                ) from error
            if old.shards != shards:
                raise ValueError(
                    f"{folder} was made with shards={old.shards}, got shards={shards}: the number is fixed, since a "
                    "key's shard depends on it. Use the old one, or another folder"
                )
            if old.key != key:
                raise ValueError(
                    f"{folder} was made with key={old.key!r}, got key={key!r}: use another folder"
                )
            record = old
        record.write()
        return record

    def write(self) -> None:
        """Write the file."""
        said = dataclasses.asdict(self)
        del said["path"]
        atomic_text(self.path, json.dumps(said) + "\n")


def read_outputs(folder: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """All committed outputs of a run, in the order of its source.

    Args:
        folder: of a run without a sink of its own. The run may still go on.

    Yields:
        The number of a row in the source, from 0, and the output for it; every committed row once.

    Raises:
        ValueError: if there is no run in the folder, or a file is damaged.
    """
    place = expect_file("read_outputs", folder)
    paths = sorted((place / "shards").glob("[0-9]*.mole"))
    if not paths and not (place / "run.json").exists():
        raise ValueError(f"{place} holds no run of mole.distributed; expected its folder `shards`")
    stores = []
    for path in paths:
        config = checkpoint.read_header(path).config
        stores.append(ShardStore(place, int(path.stem), int(config.get("shards", 0))))
    yield from heapq.merge(*(store.committed() for store in stores), key=lambda pair: pair[0])


def _read(path: Path) -> Iterable[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number, output = json.loads(line)
                yield int(number), output
    except FileNotFoundError:
        raise DamagedError(
            f"{path} is missing, though its commit is there: it was moved, or the run had a sink of its own"
        ) from None
    except (ValueError, TypeError) as error:
        raise DamagedError(f"{path} is damaged ({str(error)[:100]}); use another copy") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have a file, or all that is in a folder, on disk: the commit that names it must not survive it."""
    inside = path.iterdir() if path.is_dir() and path.name.endswith(".state") else ()
    for one in (*inside, path):
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
