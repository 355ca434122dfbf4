"""A million hostile files: ``python -m fuzz.run``. Counts survive a stop; input N of a reader is the same for ever.

What is found is kept in the folder ``findings``; run it again with ``--only READER --again N``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import struct
import sys
from pathlib import Path

from fuzz.attempt import Finding, attempt, warm_up, work_folder
from fuzz.mutations import mutate_bytes
from fuzz.seeds import write_seeds
from fuzz.targets import TARGETS

__all__ = ["input_number", "main"]

_HEADROOM = 1 << 30  # bytes that a reader may allocate beyond what the process has
_ROUNDS = 20
_COUNTS = struct.Struct("<4q")  # attempts, accepted, refused, findings


def input_number(name: str, number: int, seeds: list[bytes]) -> bytes:
    """Hostile file ``number`` of a reader."""
    rng = random.Random(f"{name} {number}")
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            data = TARGETS[name].mutate(data, rng)
        except Exception:  # what is damaged already cannot be taken apart as a valid file can
            data = mutate_bytes(data, rng)
    return data


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + _HEADROOM, resource.RLIM_INFINITY)
    )


class Progress:
    """Attempts, and how they ended, of one reader: in a file, after every attempt."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.progress"

    def read(self) -> list[int]:
        return list(_COUNTS.unpack(self.path.read_bytes())) if self.path.exists() else [0, 0, 0, 0]

    def write(self, counts: list[int]) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(file, _COUNTS.pack(*counts), 0)
        os.close(file)


def _work(wanted: dict[str, int], folder: Path) -> None:
    """Have every reader read so many files, in a process of its own: one that kills it is a finding like any other."""
    seeds, work = write_seeds(folder / "seeds", set(wanted)), work_folder()
    try:
        for name in wanted:
            warm_up(TARGETS[name], seeds[name], work)
        _limit_memory()
        for part in range(1, _ROUNDS + 1):
            for name, last in wanted.items():
                _read_until(name, last * part // _ROUNDS, seeds[name], folder, work)
            print(f"{sum(Progress(folder, name).read()[0] for name in TARGETS):,} inputs", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_until(name: str, last: int, seeds: list[bytes], folder: Path, work: Path) -> None:
    progress = Progress(folder, name)
    counts = progress.read()
    (folder / "now").write_text(name)
    for number in range(counts[0], last):
        data = input_number(name, number, seeds)
        try:
            counts[1 if attempt(TARGETS[name], data, work) == "accepted" else 2] += 1
        except Finding as finding:
            counts[3] += 1
            _keep(folder, name, number, data, str(finding))
        counts[0] = number + 1
        progress.write(counts)


def _keep(folder: Path, name: str, number: int, data: bytes, text: str) -> None:
    found = folder / "findings"
    found.mkdir(parents=True, exist_ok=True)
    (found / f"{name}-{number}.bin").write_bytes(data)
    (found / f"{name}-{number}.txt").write_text(text, errors="backslashreplace")
    sys.stderr.write(f"{name} {number}: {text.encode('ascii', 'backslashreplace').decode()[:1500]}\n")


def _note_death(folder: Path, exitcode: int) -> None:
    """Count the file that was being read, and pass it over."""
    name = (folder / "now").read_text()
    progress = Progress(folder, name)
    counts = progress.read()
    data = input_number(name, counts[0], write_seeds(folder / "seeds", {name})[name])
    _keep(folder, name, counts[0], data, f"killed the process: exit code {exitcode}")
    progress.write([counts[0] + 1, counts[1], counts[2], counts[3] + 1])


def main(argv: list[str] | None = None) -> int:
    """Go on until every reader has had its share; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="hostile files of all readers together")
    parser.add_argument("--only", nargs="*", default=sorted(TARGETS), choices=sorted(TARGETS))
    parser.add_argument("--again", type=int, help="the number of one input, to be read once more")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.again is not None:
        return _again(options)
    whole = sum(target.share for target in TARGETS.values())
    wanted = {name: round(options.inputs * TARGETS[name].share / whole) for name in options.only}
    while any(Progress(options.out, name).read()[0] < wanted[name] for name in wanted):
        child = multiprocessing.get_context("spawn").Process(target=_work, args=(wanted, options.out))
        child.start()
        child.join()
        if child.exitcode and not (options.out / "now").exists():
            raise SystemExit("the readers could not even be started")
        if child.exitcode:
            _note_death(options.out, child.exitcode)
    counts = {name: Progress(options.out, name).read() for name in options.only}
    for name, (inputs, accepted, refused, findings) in counts.items():
        print(
            f"{name:16} {inputs:9,} inputs {accepted:9,} accepted {refused:9,} refused {findings:5,} findings"
        )
    findings = sum(count[3] for count in counts.values())
    print(f"{sum(count[0] for count in counts.values()):,} inputs, {findings} findings")
    return int(findings > 0)


def _again(options: argparse.Namespace) -> int:
    (name,) = options.only
    seeds, work = write_seeds(options.out / "seeds", {name})[name], work_folder()
    try:
        warm_up(TARGETS[name], seeds, work)  # what a reader imports is no finding
        print(attempt(TARGETS[name], input_number(name, options.again, seeds), work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
