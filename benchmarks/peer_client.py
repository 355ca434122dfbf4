"""Other libraries, each asked through pipes of a process in their own environment (``make bench-peers``)."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.timing import LEAST_TIMED, Remote, Skipped

_ROOT = Path(__file__).parents[1]
NO_PEERS = "no .venv-bench-peers; make bench-peers installs the peers"
PYTHON = _ROOT / ".venv-bench-peers" / "bin" / "python"


class Absent(Exception):
    """A peer is not there; the text says why."""


class Peers:
    """A worker process; `prepare` gives something to time."""

    def __init__(self) -> None:
        if not PYTHON.exists():
            raise Absent(NO_PEERS)
        self._process = subprocess.Popen(
            [str(PYTHON), "-m", "benchmarks.peers.worker"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def prepare(self, what: str, **given: Any) -> tuple[Remote, str]:
        """The function ``module.name`` of the folder ``peers``, made with the arguments, and a note on it.

        Raises:
            Absent: if a library that it needs is not installed.
        """
        ready = self._ask({"prepare": what, "given": given})
        if "absent" in ready:
            raise Absent(ready["absent"])
        place = ready["ready"]
        once = [self._ask({"run": place, "repeats": 1})["seconds"] for _ in range(3)][-1]
        repeats = max(1, math.ceil(LEAST_TIMED / once))
        return Remote(lambda: self._ask({"run": place, "repeats": repeats})["seconds"]), ready["note"]

    def peak_mb(self) -> float:
        return self._ask({"memory": True})["peak_mb"]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise Absent(f"the peers' process ended while it did {question}; its error is above")
        return json.loads(answer)


def prepared(
    peers: Peers | None, group: str, asked: list[tuple[str, str, dict[str, Any]]]
) -> tuple[list[tuple[str, Any]], list[Skipped]]:
    """The peers asked for that are there, as (name with version, function), and a line for the others."""
    if peers is None:
        return [], [Skipped(group, label, NO_PEERS) for label, _, _ in asked]
    there, skipped = [], []
    for label, what, given in asked:
        try:
            remote, note = peers.prepare(what, **given)
        except Absent as error:
            skipped.append(Skipped(group, label, str(error)))
        else:
            there.append((f"{label} ({note})", remote))
    return there, skipped
