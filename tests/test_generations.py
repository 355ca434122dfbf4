"""Generations of a file: whatever fails, and wherever a process is killed, the newest whole one is found."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mole.files import checkpoint
from mole.files.atomic import atomic_file, atomic_text, generations, remove_generations, remove_leftovers
from mole.files.checkpoint import CheckpointError, DamagedError
from mole.files.generations import Periodic, RecoveryWarning, newest, tell_in_one_line

CALLS = ("fsync", "replace", "open")


def save(path: Path, number: int, keep: int = 3) -> None:
    checkpoint.save(path, {"a": np.arange(number, number + 999)}, kind="test", config={}, keep=keep)


def number_in(path: Path) -> int:
    return int(checkpoint.load(path, {"a": np.zeros(999, int)}, kind="test")["a"][0])


@contextmanager
def at_every_call(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> Iterator[None]:
    """``act(n)`` before the n-th call of the system by which files get to disk."""
    count = 0

    def wrap(name: str) -> Any:
        original = getattr(os, name)

        def called(*args: Any, **settings: Any) -> Any:
            nonlocal count
            count += 1
            act(count)
            return original(*args, **settings)

        return called

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(name))
        yield


def test_the_last_generations_are_kept_the_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "c.mole"
    for number in range(5):
        save(path, number)
    assert [one.name for one in generations(path)] == ["c.mole", "c.mole.1", "c.mole.2"]
    assert [number_in(one) for one in generations(path)] == [4, 3, 2]
    save(path, 5, keep=1)
    assert [number_in(one) for one in generations(path)] == [5, 3, 2]
    remove_generations(path)
    assert list(tmp_path.iterdir()) == []
    assert newest(path) is None


def test_killed_before_any_step_of_a_save_the_old_or_the_new_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, path = tmp_path / "run", tmp_path / "run" / "c.mole"
    folder.mkdir()
    for number in range(3):
        save(path, number)

    def killed(call: int) -> None:  # what a killed process leaves: the folder as it is now
        shutil.copytree(folder, tmp_path / f"killed-{call}")

    with at_every_call(monkeypatch, killed):
        save(path, 3)
    found, left = [], []
    for copy in sorted(tmp_path.glob("killed-*"), key=lambda one: int(one.name.split("-")[1])):
        last = newest(copy / "c.mole")
        assert last is not None
        found.append(number_in(last))
        left += copy.glob(".*.tmp")
        remove_leftovers(copy)
        assert all(one.name.startswith("c.mole") for one in copy.iterdir())
        save(copy / "c.mole", 9)
        assert [number_in(one) for one in generations(copy / "c.mole")][:2] == [9, found[-1]]
    assert len(found) >= 6
    assert found == sorted(found)
    assert {2, 3} == set(found)
    assert left, "no instant at which a temporary file was there"


def test_a_step_that_fails_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.mole"
    failing = 1
    while True:
        for number in (1, 2):
            save(path, number)

        def fail(call: int, at: int = failing) -> None:
            if call == at:
                raise OSError(errno.ENOSPC, "No space left on device")

        try:
            with at_every_call(monkeypatch, fail):
                save(path, 3)
            break
        except OSError as error:
            assert error.errno == errno.ENOSPC
        last = newest(path)
        assert last is not None
        assert number_in(last) in (2, 3)
        assert not list(tmp_path.glob(".*"))
        failing += 1
    assert failing >= 6


def test_an_error_of_writing_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left.*f\.txt"), atomic_file(tmp_path / "f.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="other"), atomic_file(tmp_path / "f.txt"):
        raise FileNotFoundError(errno.ENOENT, "no", "other")
    assert list(tmp_path.iterdir()) == []
    atomic_text(tmp_path / "f.txt", "θ")
    assert (tmp_path / "f.txt").read_text(encoding="utf-8") == "θ"


def test_what_a_living_process_writes_is_no_leftover(tmp_path: Path) -> None:
    dead = tmp_path / f".c.mole.{'0' * 16}.tmp"
    dead.touch()
    other = tmp_path / ".c.mole.notes.tmp"
    other.touch()
    elsewhere = tmp_path / f".d.mole.{'0' * 16}.tmp"
    elsewhere.touch()
    with atomic_file(tmp_path / "c.mole") as file:
        file.write(b"half")
        remove_leftovers(tmp_path, "c.mole")
        assert not dead.exists()
        assert elsewhere.exists()
        remove_leftovers(tmp_path)
        assert not elsewhere.exists()
        file.write(b" and whole")
    assert (tmp_path / "c.mole").read_bytes() == b"half and whole"
    assert sorted(one.name for one in tmp_path.iterdir()) == [".c.mole.notes.tmp", "c.mole"]


@pytest.mark.parametrize("how", ["cut", "emptied", "flipped", "zeros"])
def test_a_damaged_generation_is_passed_over_in_one_line(tmp_path: Path, how: str) -> None:
    path = tmp_path / "c.mole"
    for number in range(3):
        save(path, number)
    raw = path.read_bytes()
    flipped = raw[:-5] + bytes([raw[-5] ^ 4]) + raw[-4:]
    damaged = {"cut": raw[:-1], "emptied": b"", "flipped": flipped, "zeros": bytes(len(raw))}[how]
    path.write_bytes(damaged)
    with pytest.raises(DamagedError):
        checkpoint.verify(path)
    with pytest.warns(RecoveryWarning, match=r"c\.mole.*Going on from the one before: c\.mole\.1$") as told:
        last = newest(path)
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    assert last is not None
    assert number_in(last) == 1
    for older in (1, 2):
        (tmp_path / f"c.mole.{older}").write_bytes(b"")
    with pytest.raises(DamagedError, match=r"c\.mole "):
        newest(path)


def test_a_file_of_a_newer_format_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "c.mole"
    for number in range(2):
        save(path, number)
    raw = path.read_bytes()
    path.write_bytes(raw[:8] + b"\x09" + raw[9:])
    with pytest.raises(CheckpointError, match="format version 9, expected at most 1; update mole"):
        newest(path)


def test_verify_reads_what_load_reads(tmp_path: Path) -> None:
    save(tmp_path / "c.mole", 1)
    assert checkpoint.verify(tmp_path / "c.mole") == checkpoint.read_header(tmp_path / "c.mole")


def test_due_by_steps_or_by_time_and_no_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    both = Periodic(4, 10.0, clock=lambda: now)
    due = []
    for step in range(1, 13):
        now += 3.0 if step > 4 else 0.0
        if both.due(step):
            due.append(step)
    assert due == [4, 8, 12]  # 12 s after 4: by time and by steps
    slow = Periodic(1000, 10.0, clock=lambda: now)
    assert not slow.due(1)
    now += 9.0
    assert not slow.due(2)
    now += 1.0
    assert slow.due(3)
    assert not slow.due(4)
    assert not Periodic().due(5)
    monkeypatch.setattr("time.time", lambda: 1e12)  # a clock that somebody sets
    assert not Periodic(seconds=60.0).due(1)
    for settings, text in (
        ({"steps": 0}, "every 0 steps, expected at least 1"),
        ({"seconds": 0.0}, "every 0.0 seconds, expected more than 0"),
        ({"seconds": float("nan")}, "every nan seconds"),
    ):
        with pytest.raises(ValueError, match=text):
            Periodic(**settings)


def test_the_commands_tell_it_without_the_place_in_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    monkeypatch.setattr(warnings, "formatwarning", lambda *args: "as usual")
    tell_in_one_line()
    assert warnings.formatwarning("x is y", RecoveryWarning, "f", 1) == "warning: x is y\n"
    assert warnings.formatwarning("x is y", UserWarning, "f", 1) == "as usual"
