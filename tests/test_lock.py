"""One process at a time; and signals that are taken between two steps."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mole.files import processes as module
from mole.files.generations import InUseError, file_lock, folder_lock
from mole.files.processes import Interrupts, Terminated, obey, terminable


def test_the_second_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    who = rf"in use by process {os.getpid()} on {socket.gethostname()}: wait until it is done, stop it, or choose"
    with folder_lock(tmp_path):
        with pytest.raises(InUseError, match=who), folder_lock(tmp_path):
            pass
        with file_lock(tmp_path / "c.mole"):  # something else
            with pytest.raises(InUseError, match=r"c\.mole is in use by"), file_lock(tmp_path / "c.mole"):
                pass
            with file_lock(tmp_path / "d.mole"):
                pass
    with folder_lock(tmp_path):  # it ended
        (tmp_path / ".lock").write_text("{")
        with pytest.raises(InUseError, match="in use by another process: wait"), folder_lock(tmp_path):
            pass


def test_parts_share_a_folder_and_exclude_the_whole(tmp_path: Path) -> None:
    with folder_lock(tmp_path, "1-of-2"), folder_lock(tmp_path, "2-of-2"):
        for part in ("1-of-2", "2-of-2", None):
            with pytest.raises(InUseError), folder_lock(tmp_path, part):
                pass
    with folder_lock(tmp_path), pytest.raises(InUseError), folder_lock(tmp_path, "1-of-2"):
        pass


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print('ok', flush=True); input()"
    )
    command = [sys.executable, "-S", "-c", program, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ok\n"
        with pytest.raises(InUseError, match="another process"), folder_lock(tmp_path):
            pass
        process.kill()
        process.wait()
        with folder_lock(tmp_path):
            pass


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_waits_for_the_end_of_a_step(number: signal.Signals, error: type[BaseException]) -> None:
    before, steps = signal.getsignal(number), []
    with Interrupts() as interrupts:
        for step in interrupts.until_asked(range(9)):
            if step == 3:
                signal.raise_signal(number)
            steps.append(step)
        assert interrupts.asked
        with pytest.raises(error) as raised:
            interrupts.raise_if_asked()
    assert type(raised.value) is error
    assert steps == [0, 1, 2, 3]
    assert signal.getsignal(number) is before
    Interrupts().raise_if_asked()


def test_a_second_signal_acts_as_before() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs this may ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt), Interrupts():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_is_an_interrupt_within_a_command_and_in_the_main_thread_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before

    def elsewhere() -> None:
        with terminable(), Interrupts():
            seen.append(signal.getsignal(signal.SIGTERM) is before)

    seen: list[bool] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [True]


def test_a_worker_obeys_its_parent_and_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(module, "_stop", None)
    stop = threading.Event()
    try:
        obey(stop)
        with Interrupts() as interrupts:
            for one in before:
                signal.raise_signal(one)
            assert not interrupts.asked
            stop.set()
            assert interrupts.asked
            with pytest.raises(KeyboardInterrupt):
                interrupts.raise_if_asked()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
