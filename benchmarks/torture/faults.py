"""Full and read-only disks, two processes on one run, signals, jumps of the clock, damaged checkpoints.

Each yields what was not as promised: how the process left and what it said, and that the run, gone on with, ends like
one that nothing ever happened to.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.torture.cases import CASES, Case
from benchmarks.torture.processes import Ended, begin, wait

Reference = Callable[[Case], tuple[Path, float]]
Fault = Callable[[Path, Reference], Iterator[str]]
_NAMED = {case.name: case for case in CASES}
_LOCKS = {"regression": ".run.mole.files.generations", "train": "train/.lock", "eval": "eval/.lock"}
_NOBODY = 65534


def _expect(ended: Ended, status: int, log: Path, text: str) -> Iterator[str]:
    said = log.read_text() if log.exists() else ""
    if ended.status != status:
        yield f"ended with {ended.status}, expected {status}: {said[-400:]}"
    if text not in " ".join(said.split()):
        yield f"did not say {text!r}: {said[-400:]}"


def _goes_on(case: Case, folder: Path, reference: Reference) -> Iterator[str]:
    log = folder.with_suffix(".again.log")
    ended = wait(begin(case.args, folder, log))
    yield from _expect(ended, 0, log, "")
    yield from case.differences(reference(case)[0], folder)


def _locked(case: Case, folder: Path) -> None:
    """Wait until the run has begun."""
    while not (folder / _LOCKS[case.name]).exists():
        time.sleep(0.01)


def full_disk(name: str, size: int) -> Fault:
    """No file may grow beyond ``size`` bytes: what happens is what happens when the disk is full."""

    def limited() -> None:
        # JAX warns of every compiled program that does not fit, and the log is a file too
        warnings.filterwarnings("ignore", "Error writing persistent compilation cache")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def fault(folder: Path, reference: Reference) -> Iterator[str]:
        case, log = _NAMED[name], folder.with_suffix(".log")
        case.prepare(folder)
        ended = wait(begin(case.args, folder, log, limited))
        yield from _expect(ended, 2, log, "File too large")
        yield from _expect(ended, 2, log, "make room, then run it again to go on")
        yield from _goes_on(case, folder, reference)

    return fault


def read_only(name: str) -> Fault:
    """A folder that this user may not write; root becomes somebody else for it."""

    def fault(folder: Path, reference: Reference) -> Iterator[str]:
        case, log = _NAMED[name], folder.with_suffix(".log")
        case.prepare(folder)
        log.touch()
        log.chmod(0o666)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        ended = wait(begin(case.args, folder, log, (lambda: os.setuid(_NOBODY)) if root else None))
        folder.chmod(0o755)
        yield from _expect(ended, 2, log, "Permission denied")
        yield from _goes_on(case, folder, reference)

    return fault


def two_at_once(name: str) -> Fault:
    """A second process on the same run is refused, and the first does not notice."""

    def fault(folder: Path, reference: Reference) -> Iterator[str]:
        case = _NAMED[name]
        case.prepare(folder)
        first = begin(case.args, folder, folder.with_suffix(".first.log"))
        _locked(case, folder)
        log = folder.with_suffix(".log")
        second = wait(begin(case.args, folder, log))
        yield from _expect(second, 2, log, f"in use by process {first}")
        yield from _expect(wait(first), 0, log, "")
        yield from case.differences(reference(case)[0], folder)

    return fault


def signalled(name: str, number: signal.Signals, status: int, word: str) -> Fault:
    """Three times at random instants: it saves, says so and leaves with the usual status."""

    def fault(folder: Path, reference: Reference) -> Iterator[str]:
        case, draw = _NAMED[name], random.Random(f"{name} {number}")
        case.prepare(folder)
        for attempt in range(3):
            log = folder.with_suffix(f".{attempt}.log")
            process = begin(case.args, folder, log)
            if attempt == 0:
                _locked(case, folder)
            ended = wait(process, draw.uniform(0.2, 0.7) * reference(case)[1], number)
            if ended.status == 0:
                break
            yield from _expect(ended, status, log, f"{word}: finished runs and what was recorded are kept")
        yield from _goes_on(case, folder, reference)

    return fault


def clock_jumps(name: str) -> Fault:
    """The time of day jumps by up to ten years, back and forth."""

    def jumping() -> None:
        real, draw = time.time, random.Random(0)
        time.time = lambda: real() + draw.uniform(-3e8, 3e8)

    def fault(folder: Path, reference: Reference) -> Iterator[str]:
        case, log = _NAMED[name], folder.with_suffix(".log")
        case.prepare(folder)
        wait(begin(case.args, folder, log, jumping), 0.6 * reference(case)[1])
        yield from _expect(wait(begin(case.args, folder, log, jumping)), 0, log, "")
        yield from case.differences(reference(case)[0], folder)

    return fault


def damaged(name: str, how: Callable[[bytes], bytes]) -> Fault:
    """The newest checkpoint is not what was written: the one before is used, and it says so."""

    def fault(folder: Path, reference: Reference) -> Iterator[str]:
        case, log = _NAMED[name], folder.with_suffix(".log")
        case.prepare(folder)
        process = begin(case.args, folder, folder.with_suffix(".first.log"))
        while not (folder / "run.mole.2").exists():
            time.sleep(0.01)
        os.kill(process, signal.SIGKILL)
        wait(process)
        newest = folder / "run.mole"
        if not newest.exists():  # killed while the generations moved up
            newest = folder / "run.mole.1"
        newest.write_bytes(how(newest.read_bytes()))
        ended = wait(begin(case.args, folder, log))
        yield from _expect(ended, 0, log, "Going on from the one before: run.mole.")
        for older in folder.glob(
            "run.mole.?"
        ):  # one of them is the damaged one, which is of no use to anybody
            older.unlink()
        yield from case.differences(reference(case)[0], folder)

    return fault


def _flipped(raw: bytes) -> bytes:
    return raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]


FAULTS: dict[str, Fault] = {
    "full-disk-output": full_disk("regression", 1500),
    "full-disk-checkpoint": full_disk("regression", 60_000),
    "full-disk-train": full_disk("train", 3000),
    "full-disk-later-in-train": full_disk("train", 12_000),
    "read-only-stream": read_only("regression"),
    "read-only-train": read_only("train"),
    "two-streams": two_at_once("regression"),
    "two-trainings": two_at_once("train"),
    "two-evaluations": two_at_once("eval"),
    "sigterm-stream": signalled("regression", signal.SIGTERM, 143, "terminated"),
    "sigterm-train": signalled("train", signal.SIGTERM, 143, "terminated"),
    "sigterm-eval": signalled("eval", signal.SIGTERM, 143, "terminated"),
    "ctrl-c-stream": signalled("regression", signal.SIGINT, 130, "interrupted"),
    "ctrl-c-train": signalled("train", signal.SIGINT, 130, "interrupted"),
    "ctrl-c-eval": signalled("eval", signal.SIGINT, 130, "interrupted"),
    "clock-stream": clock_jumps("regression"),
    "clock-train": clock_jumps("train"),
    "bit-flip": damaged("regression", _flipped),
    "cut": damaged("regression", lambda raw: raw[:100]),
    "emptied": damaged("regression", lambda raw: b""),
}
"""Name → what happens."""
