"""Checkpoints of ``mole stream``: generations, damage, time, locks, full disks and signals, in this process."""

from __future__ import annotations

import errno
import functools
import importlib
import io
import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mole import estimators
from mole.cli import main
from mole.files import checkpoint
from mole.files.atomic import generations
from mole.files.generations import Periodic, RecoveryWarning, file_lock
from stream_fakes import FakeRegressor

Mole = Callable[..., tuple[int, str]]
ROWS = 60
ARGS = ("--out", "p.csv", "--checkpoint", "c.mole", "--every", 7, "--resume")


class Killed(BaseException):
    """Nobody catches it: what is on disk then is all there is."""


class Mortal(FakeRegressor):
    """Does something when it learns its n-th row, counted over all of its kind."""

    at, learned, act = 0, 0, staticmethod(lambda: None)

    def learn_one(self, x: Any, y: float) -> FakeRegressor:
        Mortal.learned += 1
        if Mortal.learned == Mortal.at:
            Mortal.act()
        return super().learn_one(x, y)


def die() -> None:
    raise Killed


@pytest.fixture
def mole(capfdbinary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mole:
    """``mole stream`` over a table in an empty folder: its status and all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimators, "OnlineRegressor", Mortal)
    monkeypatch.setattr(Mortal, "at", 0)
    draw = np.random.default_rng(0).normal(size=(ROWS, 2))
    lines = [f"{a:.6f},{b:.6f},{(2 * a - b) * (-1) ** (i // 20):.6f}" for i, (a, b) in enumerate(draw)]
    Path("data.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")

    def run(*args: Any, act: Callable[[], None] = die, at: int = 0) -> tuple[int, str]:
        Mortal.at, Mortal.learned, Mortal.act = at, 0, act  # pyright: ignore
        capfdbinary.readouterr()
        status = main(["stream", "data.csv", "--target", "y", *map(str, args)])
        return status, " ".join(re.sub(r"\s+", " ", text.decode()) for text in capfdbinary.readouterr())

    return run


@pytest.fixture
def whole(mole: Mole) -> bytes:
    """The predictions of a run that nothing happened to."""
    mole("--out", "whole.csv")
    return Path("whole.csv").read_bytes()


def rows_in(path: Path) -> int:
    return checkpoint.read_header(path).config["run"]["rows"]


def test_killed_at_any_row_it_goes_on_and_no_row_is_lost_or_twice(mole: Mole, whole: bytes) -> None:
    kills = 0
    while True:
        try:
            assert mole(*ARGS, at=11 + kills % 3)[0] == 0  # a little further each time
            break
        except Killed:
            kills += 1
            with Path("p.csv").open("ab") as file:
                file.write(b"half of a row")
            Path(f".c.mole.{kills:016x}.tmp").write_bytes(b"half of a checkpoint")
    assert kills >= 6
    assert Path("p.csv").read_bytes() == whole
    assert not list(Path().glob(".*.tmp"))
    assert [rows_in(one) for one in generations("c.mole")] == [60, 56, 49]


@pytest.mark.parametrize("damage", [lambda raw: raw[:100], lambda raw: b"", lambda raw: raw[:-1] + b"\0"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    mole: Mole, whole: bytes, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(Killed):
        mole(*ARGS, at=40)
    Path("c.mole").write_bytes(damage(Path("c.mole").read_bytes()))
    with pytest.warns(RecoveryWarning, match=r"c\.mole .*Going on from the one before: c\.mole\.1"):
        status, said = mole(*ARGS)
    assert (status, Path("p.csv").read_bytes()) == (0, whole)
    assert "going on after row 28" in said
    for one in generations("c.mole"):
        one.write_bytes(b"")
    status, said = mole(*ARGS)
    assert status == 2
    assert "c.mole is not a mole checkpoint" in said


def test_killed_while_generations_move_up_it_goes_on_from_the_one_before(mole: Mole, whole: bytes) -> None:
    with pytest.raises(Killed):
        mole(*ARGS, at=40)
    Path("c.mole").rename("c.mole.1")
    status, said = mole("--out", "p.csv", "--checkpoint", "c.mole")
    assert status == 2
    assert "c.mole is there already: add --resume" in said
    assert "going on after row 35" in mole(*ARGS)[1]
    assert Path("p.csv").read_bytes() == whole


def test_it_saves_by_time_too_and_keeps_as_many_as_asked(mole: Mole, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def tick() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr("mole.commands.stream.Periodic", functools.partial(Periodic, clock=tick))
    monkeypatch.setattr("time.time", lambda: -1e9)  # whatever the clock on the wall says
    assert mole("--checkpoint", "c.mole", "--out", "p.csv", "--every-seconds", 25, "--keep", 5)[0] == 0
    assert [rows_in(one) for one in generations("c.mole")] == [60, 50, 25]
    for args, text in (
        (("--keep", 0), "got --keep 0, expected at least 1 checkpoint"),
        (("--every-seconds", 0), "got a checkpoint every 0.0 seconds, expected more than 0"),
    ):
        status, said = mole("--checkpoint", "d.mole", *args)
        assert status == 2
        assert text in said


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_saves_the_row_and_leaves(
    mole: Mole, whole: bytes, number: signal.Signals, status: int, word: str
) -> None:
    got, said = mole(*ARGS, at=33, act=lambda: signal.raise_signal(number))
    assert got == status
    assert f"{word}: finished runs and what was recorded are kept; run it again to go on" in said
    assert rows_in(Path("c.mole")) == 33
    assert mole(*ARGS)[0] == 0
    assert Path("p.csv").read_bytes() == whole


def test_the_second_process_is_refused(mole: Mole) -> None:
    with file_lock(Path("c.mole")):
        status, said = mole(*ARGS)
    assert status == 2
    assert f"c.mole is in use by process {os.getpid()}" in said
    assert not Path("p.csv").exists()
    assert mole(*ARGS)[0] == 0


@pytest.mark.parametrize("full", ["p.csv", "c.mole"])
def test_a_full_disk_ends_it_with_a_clear_line_and_nothing_lost(
    mole: Mole, whole: bytes, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    fsync, count = os.fsync, 0

    def failing(descriptor: int) -> None:
        nonlocal count
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.strip(".").startswith(full):
            count += 1
            if count == 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        status, said = mole(*ARGS)
    assert status == 2
    assert re.search(
        rf"No space left on device: '\S*{full}' error: make room, then run it again to go on", said
    )
    assert rows_in(Path("c.mole")) == 21
    assert mole(*ARGS)[0] == 0
    assert Path("p.csv").read_bytes() == whole


def test_a_disk_that_is_full_for_good_is_told_once(mole: Mole, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        name, mode = "p.csv", "wb"

        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "once more")

    monkeypatch.setattr("mole.commands.stream_loop.open_predictions", lambda *_: Full())
    status, said = mole("--out", "p.csv")
    assert status == 2
    assert "No space left on device: 'p.csv'" in said
    assert "once more" not in said


def test_a_folder_that_cannot_be_written_is_told(mole: Mole, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("mole.commands.stream")  # while the libraries can be read
    table = Path("data.csv").read_bytes()
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # pytest's own is closed to others, and root may write anywhere
        Path(folder).chmod(0o755)
        monkeypatch.chdir(folder)
        Path("data.csv").write_bytes(table)
        Path("closed").mkdir(mode=0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            status, said = mole("--out", "closed/p.csv", "--checkpoint", "closed/c.mole")
        finally:
            if root:
                os.seteuid(0)
        monkeypatch.undo()
    assert status == 2
    assert "Permission denied: 'closed/.c.mole.lock'" in said
