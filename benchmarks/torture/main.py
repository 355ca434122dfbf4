"""The loop: choose a case, kill it until it ends by itself, compare, and write down what was found."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.torture.cases import CASES, Case
from benchmarks.torture.faults import FAULTS, Fault
from benchmarks.torture.processes import begin, wait

_PATIENCE = 1.08
_MOST = 100  # kills of one run; one that does not get on is a failure too


def main() -> int:
    """The exit status: 0 if everything was the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=200, help="go on until there are so many, earlier ones included"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/torture"), help="folder; what is there is gone on with"
    )
    parser.add_argument("--only", nargs="+", default=[case.name for case in CASES], help="cases")
    parser.add_argument(
        "--no-faults", action="store_true", help="leave out full disks, locks, signals and clocks"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    book = Book(options.out.resolve() / "runs.jsonl")
    cases = [case for case in CASES if case.name in options.only]
    if not options.no_faults:
        for name, fault in FAULTS.items():
            if not book.has("fault", name):
                _fault(options.out.resolve(), name, fault, book)
    while sum(book.kills(case) for case in cases) < options.kills:
        case = min(cases, key=lambda one: book.kills(one) / one.share)
        _torture(options.out.resolve(), case, book)
        print(book.summary(), flush=True)
    print(book.summary(), flush=True)
    return 1 if book.failures() else 0


class Book:
    """What was found, one JSON object per line, so that an interrupted torture goes on too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.entries: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def add(self, **entry: Any) -> None:
        self.entries.append(entry)
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def has(self, kind: str, name: str) -> bool:
        return any(entry["kind"] == kind and entry["name"] == name for entry in self.entries)

    def runs(self, case: Case) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["kind"] == "run" and entry["name"] == case.name]

    def kills(self, case: Case) -> int:
        return sum(len(run["kills"]) for run in self.runs(case))

    def failures(self) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["differences"]]

    def summary(self) -> str:
        kills, runs = Counter[str](), Counter[str]()
        for case in CASES:
            kills[case.command] += self.kills(case)
            runs[case.command] += len(self.runs(case))
        parts = [f"{name}: {kills[name]} kills in {runs[name]} runs" for name in kills]
        faults = sum(entry["kind"] == "fault" for entry in self.entries)
        all_kills = [kill for case in CASES for run in self.runs(case) for kill in run["kills"]]
        written, within = (sum(kill[name] for kill in all_kills) for name in ("written", "within"))
        return (
            f"{len(all_kills)} kills ({'; '.join(parts)}), {written} after the process had written something, "
            f"{within} of them within a file; {faults} faults, {len(self.failures())} failures; "
            f"Python {platform.python_version()}, {platform.system()}"
        )


def _fault(out: Path, name: str, fault: Fault, book: Book) -> None:
    folder = _fresh(out / "fault" / name)
    differences = [*fault(folder, lambda case: reference(out, case))]
    book.add(kind="fault", name=name, differences=differences)
    print(f"{name}: {differences or 'as promised'}", flush=True)


def reference(out: Path, case: Case) -> tuple[Path, float]:
    """The folder of a run that was never killed, and its processor seconds when everything was compiled already."""
    folder, times = out / "reference" / case.name, out / "reference" / f"{case.name}.json"
    if not times.exists():
        for _ in range(2):  # the first compiles
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            case.prepare(folder)
            ended = wait(begin(case.args, folder, folder.with_suffix(".log")))
            if ended.status:
                raise RuntimeError(f"{case.name} ended with {ended.status}: see {folder.with_suffix('.log')}")
        times.write_text(json.dumps(ended.processor))
    return folder, json.loads(times.read_text())


def _torture(out: Path, case: Case, book: Book) -> None:
    whole, work = reference(out, case)
    number = len(book.runs(case))
    draw = random.Random(f"{case.name}-{number}")
    folder = _fresh(out / "killed" / case.name)
    case.prepare(folder)
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    kills: list[dict[str, Any]] = []
    most = 0.8 * work
    processor = 0.0
    started, differences = time.monotonic(), []
    while True:
        before = _snapshot(folder)
        ended = wait(begin(case.args, folder, log), draw.uniform(0.0, most))
        processor += ended.processor
        if ended.status != -9:
            break
        after = _snapshot(folder)
        within = any(name.endswith(".tmp") for name in after.keys() - before.keys())
        kills.append({"after": ended.processor, "written": before != after, "within": within})
        most *= _PATIENCE  # going on may need what was never compiled, and a kill throws that work away
        if len(kills) >= _MOST:
            differences.append(f"not done after {_MOST} kills")
            break
    if ended.status not in (0, -9):
        differences.append(f"ended with {ended.status}: {log.read_text()[-600:]}")
    if ended.status == 0:
        differences += case.differences(whole, folder)
    if differences:
        shutil.copytree(folder, out / "failed" / f"{case.name}-{number}", dirs_exist_ok=True)
        shutil.copy(log, out / "failed" / f"{case.name}-{number}.log")
    seconds = round(time.monotonic() - started, 1)
    book.add(
        kind="run",
        name=case.name,
        number=number,
        kills=kills,
        seconds=seconds,
        processor=round(processor, 1),
        differences=differences,
    )


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time: whether a process has written anything, and what it left half-written."""
    found = {}
    for path in folder.rglob("*[!k]"):  # no lock: whoever begins writes one
        with contextlib.suppress(
            FileNotFoundError
        ):  # a worker that has not noticed yet that its parent is gone
            found[str(path.relative_to(folder))] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
