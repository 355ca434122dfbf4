"""Exactly once, without Ray: the driver over actors in this process that die, come back and answer too late."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.keyed import Sums, alone, make_sums, rows_of

from mole.distributed import RowError, cluster, driver, holder, read_outputs, run, shard_of
from mole.distributed.cluster import LostError
from mole.distributed.commits import Commit, RunRecord, ShardStore
from mole.distributed.driver import Source, drive
from mole.distributed.holder import Holder
from mole.distributed.keys import Keys
from mole.distributed.progress import Limits, Progress
from mole.files.checkpoint import CheckpointError, DamagedError
from mole.files.generations import folder_lock
from mole.files.processes import Failure, Interrupts, Terminated

LIMITS = Limits(batch=7, max_rows=50, commit_seconds=1e9, patience=30.0)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of commits: what is tested is their order, which a disk that waits would not change."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Killed(BaseException):
    """The process of an actor ends here."""


class Mortal(Sums):
    """A shard whose process may die while it is saved."""

    dies = staticmethod(lambda: False)

    def save(self, path: Path) -> None:
        if self.dies():
            path.write_text("half of it")
            raise Killed
        super().save(path)


def make_mortal(saved: Path | None) -> Mortal:
    return Mortal(make_sums(saved).sums)


class Actor:
    """One after the other of the holders that bear the name of one actor."""

    def __init__(self, make: Any) -> None:
        self.make, self.calls, self.holder = make, deque[Any](), make()


class Call:
    def __init__(self, actor: Actor, method: str, args: tuple[Any, ...], again: bool) -> None:
        self.actor, self.method, self.args, self.again = actor, method, args, again
        self.done, self.answer = False, None


class Faults:
    """A `Link` without processes. ``fault(call)`` says what happens to a call; empty for nothing."""

    def __init__(self, folder: Path, shards: int, make_shard: Any = make_sums, sink: Any = None) -> None:
        self.make = lambda: Holder(folder, shards, make_shard, sink)
        self.fault = lambda call: ""
        self.rng = random.Random(0)

    def start(self) -> Actor:
        return Actor(self.make)

    def call(self, actor: Actor, method: str, *args: Any, again: bool = False) -> Call:
        call = Call(actor, method, args, again)
        actor.calls.append(call)
        return call

    def wait(self, calls: list[Call], seconds: float) -> list[Call]:
        if seconds == 0 and self.rng.random() < 0.7:  # nothing has ended yet
            return []
        call = self.rng.choice(calls)
        while not call.done:
            self.carry_out(call.actor)
        return [call]

    def get(self, call: Call) -> Any:
        if isinstance(call.answer, BaseException):
            raise call.answer
        return call.answer

    def carry_out(self, actor: Actor) -> None:
        call = actor.calls.popleft()
        fault = self.fault(call) if call.method != "release" else ""
        if fault == "before":
            self.die(actor)
        answer = self.tried(actor, call)
        if fault == "after":
            self.die(actor)
        if (fault or answer is None) and call.again:
            while (answer := self.tried(actor, call)) is None:
                pass
        elif fault:  # "void": the answer is lost, and the actor lives and carries out what follows
            answer = LostError(fault)
        call.done, call.answer = True, answer

    def tried(self, actor: Actor, call: Call) -> Any:
        """What the actor answers; None if it dies of it, as for a void ticket."""
        try:
            return getattr(actor.holder, call.method)(*call.args)
        except Killed:
            self.die(actor)
            return None
        except Exception as error:
            return error

    def die(self, actor: Actor) -> None:
        """The calls that wait may be lost, or be carried out by the next life."""
        actor.holder.release()  # as the end of a process gives its locks back
        actor.holder = self.make()


def driven(
    link: Faults, folder: Path, source: Source, shards: int = 8, limits: Limits = LIMITS, **options: Any
) -> Progress:
    record = RunRecord.claimed(folder, shards, "key")
    actors = options.pop("actors", 3)
    with Interrupts() as signals:
        return drive(link, record, "key", actors, limits, source, signals, **options)


@pytest.mark.parametrize("seed", range(3))
def test_every_row_counts_once_whatever_dies(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(Mortal, "dies", staticmethod(lambda: rng.random() < 0.02))
    delivered: dict[tuple[int, int], Any] = {}

    def sink(shard: int, number: int, outputs: list[Any]) -> None:
        if rng.random() < 0.03:  # before or after it has written
            raise Killed
        assert delivered.get((shard, number), outputs) == outputs
        delivered[shard, number] = outputs
        if rng.random() < 0.03:
            raise Killed

    link = Faults(tmp_path, 5, make_mortal, sink)
    faults = ["before", "after", "void", *[""] * 12]
    link.fault = lambda call: rng.choice(faults)
    end = driven(link, tmp_path, list(rows_of(300, 20)), shards=5)
    assert (end.rows, end.committed, end.waiting) == (300, 300, 0)
    assert end.losses > 10
    got = sorted(output for outputs in delivered.values() for output in outputs)
    assert got == sorted(output for _, output in alone(rows_of(300, 20)))


def test_outputs_are_those_of_one_process_in_order(tmp_path: Path) -> None:
    end = driven(Faults(tmp_path, 8), tmp_path, rows_of(250, 20))
    assert list(read_outputs(tmp_path)) == alone(rows_of(250, 20))
    assert end.keys == 20
    assert sum(end.shards) == 8
    assert str(end).startswith("250 rows, ")


def test_a_driver_that_is_killed_goes_on_with_other_actors(tmp_path: Path) -> None:
    rows = list(rows_of(300, 30))

    def until(number: int) -> Source:
        yield from rows[:number]
        raise Killed

    for number, actors in ((70, 3), (160, 1), (161, 5)):
        with pytest.raises(Killed):
            driven(Faults(tmp_path, 8), tmp_path, until(number), actors=actors)
    committed = list(read_outputs(tmp_path))
    assert 110 < len(committed) < 161
    driven(Faults(tmp_path, 8), tmp_path, rows, actors=2)
    assert list(read_outputs(tmp_path)) == alone(iter(rows))
    # once more: nothing is left to do
    assert driven(Faults(tmp_path, 8), tmp_path, rows).rows == 300
    assert list(read_outputs(tmp_path)) == alone(iter(rows))


def test_a_source_may_begin_where_it_is_asked_to(tmp_path: Path) -> None:
    driven(Faults(tmp_path, 8), tmp_path, rows_of(200, 10))
    asked = []

    def source(start: int) -> Any:
        asked.append(start)
        return rows_of(300, 10, start=start)

    driven(Faults(tmp_path, 8), tmp_path, source)
    assert asked == [200]
    assert list(read_outputs(tmp_path)) == alone(rows_of(300, 10))


def test_no_more_rows_are_read_than_may_wait(tmp_path: Path) -> None:
    link, read = Faults(tmp_path, 4), 0

    def source() -> Any:
        nonlocal read
        for row in rows_of(120, 10):
            read += 1
            stores = [ShardStore(tmp_path, shard, 4).read() for shard in range(4)]
            assert read - sum(store.rows for store in stores) <= LIMITS.max_rows
            yield row

    driven(link, tmp_path, source(), shards=4, actors=2)
    assert read == 120


def test_a_silent_source_does_not_delay_commits(tmp_path: Path) -> None:
    def source() -> Any:
        yield from rows_of(10, 3)
        for _ in range(500):
            yield None
            time.sleep(0.01)
            if len([*read_outputs(tmp_path)]) == 10:
                return
        raise AssertionError

    driven(Faults(tmp_path, 4), tmp_path, source(), shards=4, limits=LIMITS._replace(commit_seconds=0.01))
    assert list(read_outputs(tmp_path)) == alone(rows_of(10, 3))


def test_a_signal_commits_what_was_read(tmp_path: Path) -> None:
    record = RunRecord.claimed(tmp_path, 4, "key")

    def source() -> Any:
        for number, row in enumerate(rows_of(100, 5)):
            if number == 50:
                signal.raise_signal(signal.SIGTERM)
            yield row

    with Interrupts() as signals:
        end = drive(Faults(tmp_path, 4), record, "key", 2, LIMITS, source(), signals)
    with pytest.raises(Terminated):
        signals.raise_if_asked()
    assert end.rows == end.committed == len(list(read_outputs(tmp_path)))
    assert 49 <= end.rows <= 51
    driven(Faults(tmp_path, 4), tmp_path, rows_of(100, 5), shards=4)
    assert list(read_outputs(tmp_path)) == alone(rows_of(100, 5))


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"x": 1.0}, "row 30: got a row with the columns x for the column 'key'; expected that column"),
        (
            {"key": None, "x": 1.0},
            "got None (NoneType) for the column 'key'; expected a text or a whole number",
        ),
        ({"key": "", "x": 1.0}, "got an empty text"),
        ({"key": 3, "x": 1.0}, "got 3 (int) for the column 'key'; expected text, as before it"),
        ({"key": 3.0, "x": 1.0}, "got 3.0 (float)"),
        ({"key": True, "x": 1.0}, "got True (bool)"),
        ([1.0], "got a row of type list for the column 'key'; expected a mapping"),
    ],
)
def test_a_bad_key_is_told_and_the_rows_before_it_are_kept(tmp_path: Path, bad: Any, text: str) -> None:
    rows = list(rows_of(60, 5))
    with pytest.raises(RowError, match=r"^row 30: ") as error:
        driven(Faults(tmp_path, 8), tmp_path, [*rows[:30], bad, *rows[30:]])
    assert text in str(error.value)
    assert list(read_outputs(tmp_path)) == alone(iter(rows[:30]))
    driven(Faults(tmp_path, 8), tmp_path, rows)  # mended
    assert list(read_outputs(tmp_path)) == alone(iter(rows))


def test_the_kind_of_keys_holds_for_later_runs(tmp_path: Path) -> None:
    driven(Faults(tmp_path, 8), tmp_path, [{"key": 3, "x": 1.0}])
    with pytest.raises(RowError, match=r"got '3' .*expected whole numbers, as before it"):
        driven(Faults(tmp_path, 8), tmp_path, [{"key": 3, "x": 1.0}, {"key": "3", "x": 1.0}])


def test_shards_are_the_same_everywhere_and_even() -> None:
    # fixed for good: a folder's keys must be found again
    assert [shard_of(key, 64) for key in ("7", 7, "pump", 0, -1)] == [37, 40, 49, 58, 54]
    assert shard_of("7", 10**6) != shard_of(7, 10**6)
    counts = np.bincount([shard_of(number, 64) for number in range(12_800)], minlength=64)
    assert ((counts - 200) ** 2 / 200).sum() < 110  # chi-squared with 63 degrees: 1 in 5,000
    keys = Keys(lambda row: row, 64)
    assert [keys.shard(n, 0) for n in (5, np.int32(5))] == [shard_of(5, 64)] * 2


def test_a_shard_that_raises_ends_the_run_and_commits_nothing_of_it(tmp_path: Path) -> None:
    class Picky(Sums):
        def step(self, rows: list[Any]) -> list[Any]:
            for row in rows:
                if row["x"] > 1:
                    raise ValueError("x above 1")
            return super().step(rows)

    rows = list(rows_of(200, 10))
    rows[150] = {"key": rows[150]["key"], "x": 2.0}
    link = Faults(tmp_path, 8, lambda saved: Picky(make_sums(saved).sums))
    with pytest.raises(Failure, match=r"^shard \d, rows \d+ to \d+ of the source: ValueError: x above 1"):
        driven(link, tmp_path, rows)
    committed = list(read_outputs(tmp_path))
    spoiled = shard_of(rows[150]["key"], 8)
    expected = dict(alone(iter(rows)))
    assert committed
    for number, output in committed:
        assert number < 150 or shard_of(rows[number]["key"], 8) != spoiled
        assert expected[number] == output


@pytest.mark.parametrize(
    ("outputs", "text"),
    [([], "step.. gave 0 outputs, expected"), ([{1}] * 7, "no plain JSON data .*set is not JSON")],
)
def test_outputs_that_do_not_fit_are_told(tmp_path: Path, outputs: list[Any], text: str) -> None:
    class Odd(Sums):
        def step(self, rows: list[Any]) -> list[Any]:
            return outputs[: len(rows)]

    with pytest.raises(Failure, match=text):
        driven(Faults(tmp_path, 1, lambda saved: Odd()), tmp_path, rows_of(9, 2), shards=1, actors=1)
    assert list(read_outputs(tmp_path)) == []


def test_actors_that_cannot_live_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Faults(tmp_path, 4)
    link.fault = lambda call: "before" if call.method == "step" else ""
    with pytest.raises(
        Failure, match=r"the actor of the shards [01], [23]: no progress for 0\.2 s; the last reason: "
    ):
        driven(link, tmp_path, rows_of(99, 5), shards=4, actors=2, limits=LIMITS._replace(patience=0.2))
    monkeypatch.setattr(Faults, "get", lambda self, call: (_ for _ in ()).throw(LostError("gone")))
    with pytest.raises(
        Failure, match=r"3 actors in turn were lost before they held them; the last reason: gone"
    ):
        driven(Faults(tmp_path, 4), tmp_path, rows_of(99, 5), shards=4, actors=2)


def test_a_cluster_with_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "__version__", "9.9")
    with pytest.raises(Failure, match=r"has mole-online 9\.9, this one .*: install the same version"):
        driven(Faults(tmp_path, 4), tmp_path, rows_of(99, 5), shards=4)
    assert list(read_outputs(tmp_path)) == []


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    driven(Faults(tmp_path, 8), tmp_path, rows_of(50, 5))
    with pytest.raises(ValueError, match="was made with shards=8, got shards=16: the number is fixed"):
        RunRecord.claimed(tmp_path, 16, "key")
    with pytest.raises(ValueError, match="was made with key='key', got key='machine'"):
        RunRecord.claimed(tmp_path, 8, "machine")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged .*remove it"):
        RunRecord.claimed(tmp_path, 8, "key")
    # without that file the shards still know
    (tmp_path / "run.json").unlink()
    with pytest.raises(CheckpointError, match=r"of 8, expected shard .* of 16: the number of shards"):
        driven(Faults(tmp_path, 16), tmp_path, rows_of(50, 5), shards=16)
    (tmp_path / "run.json").unlink()
    driven(Faults(tmp_path, 8), tmp_path, rows_of(60, 5))
    assert list(read_outputs(tmp_path)) == alone(rows_of(60, 5))


def test_two_runs_and_two_holders_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_lock(tmp_path), pytest.raises(ValueError, match="is in use by process"):
        run([], make_shard=make_sums, key="key", folder=tmp_path)
    driven(Faults(tmp_path, 4), tmp_path, rows_of(9, 5), shards=4)
    first, second = (Holder(tmp_path, 4, make_sums) for _ in range(2))
    first.attach([0, 1])
    monkeypatch.setattr(holder, "_LOCK_SECONDS", 0.0)
    with pytest.raises(Failure, match=r"0001\.mole is in use by process"):
        second.attach([1, 2])
    first.release()
    second.attach([1, 2])
    second.release()


def test_a_void_ticket_and_rows_seen_before_change_nothing(tmp_path: Path) -> None:
    RunRecord.claimed(tmp_path, 1, "key")
    one = Holder(tmp_path, 1, make_sums)
    rows = list(rows_of(4, 1))
    before = one.attach([0]).ticket
    ticket = one.attach([0]).ticket
    assert one.step(before, [(0, [0], rows[:1])]) is None
    assert one.commit(before) is None
    assert one.step(ticket, [(0, [0, 2], rows[:2])]) == 2
    assert one.step(ticket, [(0, [0, 2, 5], [rows[0], rows[1], rows[2]])]) == 3  # 0 and 2 again
    reply = one.commit(ticket)
    assert reply is not None
    assert reply.offsets == {0: 6}
    assert one.commit(ticket) is not None
    assert ShardStore(tmp_path, 0, 1).read() == Commit(1, 6, 3)
    one.release()
    assert [output for _, output in read_outputs(tmp_path)] == Sums().step(rows[:3])


def test_damaged_files_are_told(tmp_path: Path) -> None:
    driven(Faults(tmp_path, 1), tmp_path, rows_of(50, 5), shards=1, actors=1)
    outputs = max((tmp_path / "outputs").glob("*.jsonl"))
    whole = outputs.read_text()
    outputs.write_text(whole[:-3])
    with pytest.raises(DamagedError, match="jsonl is damaged"):
        list(read_outputs(tmp_path))
    outputs.unlink()
    with pytest.raises(DamagedError, match="jsonl is missing, though its commit is there"):
        list(read_outputs(tmp_path))
    path = tmp_path / "shards/0000.mole"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"0000\.mole"):
        driven(Faults(tmp_path, 1), tmp_path, rows_of(60, 5), shards=1, actors=1)
    with pytest.raises(ValueError, match=r"holds no run of mole\.distributed"):
        next(read_outputs(tmp_path / "shards"))


def test_a_core_is_taken_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken: list[set[int]] = []
    monkeypatch.setattr(cluster.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(cluster.os, "sched_getaffinity", lambda pid: {3, 5})
    monkeypatch.setattr(cluster.os, "sched_setaffinity", lambda pid, cores: taken.append(set(cores)))
    held = []
    for _ in range(3):  # three processes, since each keeps its own list
        monkeypatch.setattr(cluster, "_cores", mine := [])
        cluster.pin_to_a_core()
        held.append(mine)
    assert taken[:2] == [{3}, {5}]
    assert taken[2] <= {3, 5}
    for mine in held:
        for file in mine:
            file.close()


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cluster.sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mole-online\[distributed\]'"):
        run([], make_shard=make_sums, key="key", folder=tmp_path)


def test_the_driver_has_no_faults_of_its_own(tmp_path: Path) -> None:
    """An error of the source other than a bad key is told after a commit, too."""

    def source() -> Any:
        yield from rows_of(25, 5)
        raise OSError("the network is down")

    with pytest.raises(OSError, match="the network is down"):
        driven(Faults(tmp_path, 4), tmp_path, source(), shards=4)
    assert list(read_outputs(tmp_path)) == alone(rows_of(25, 5))
    assert driver._LIVES == 3
