"""What a process of its own shows: how long an import takes, what compiling costs, and how much memory is needed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.alone import SCENES
from benchmarks.peer_client import Absent, Peers
from benchmarks.timing import Row, Skipped, interleaved, row

GROUP = "process"
ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Alone:
    """One scene in a process of its own. Seconds of the first call: without a cache, filling one, and from it."""

    name: str
    peak_mb: float
    cold_s: float | None = None
    filling_s: float | None = None
    cached_s: float | None = None


def imports(rounds: int) -> Iterator[Row]:
    """Fresh interpreters that import one package, or use one name of it, and end."""

    def running(code: str) -> Callable[[], None]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True) and None

    codes = ["import mole", "from mole import Mixture", "from mole import OnlineRegressor", "import jax"]
    *ours, theirs = interleaved([running(code) for code in codes], rounds, warm_up=2)
    for code, found in zip(codes, ours, strict=False):
        yield row(GROUP, code, found, "import jax", theirs)


def scenes() -> Iterator[Alone]:
    """Peak memory of every scene; of those that compile, the first call with and without the persistent cache."""
    for name in SCENES:
        cold = _run(name)
        if name.startswith("import"):
            yield Alone(name, cold["peak_mb"])
            continue
        with tempfile.TemporaryDirectory() as folder:
            filling, cached = _run(name, folder), _run(name, folder)
        yield Alone(name, cold["peak_mb"], cold["first_s"], filling["first_s"], cached["first_s"])


def peer_memory() -> Iterator[Alone | Skipped]:
    """Peak memory of the peers, each in a process of its own."""
    size = {"width": 512, "depth": 3}
    meta = {"sizes": [26, 512, 512, 512, 20], "tasks": 40, "k": 16, "second_order": True}
    pairs = [([0.1 * i, 0.0, 0.0, 0.0], 0.1 * i) for i in range(50)]
    asked = [
        ("PyTorch, shooting 1000x15, 3x512", "torch_planning.shooting",
         {**size, "samples": 1000, "horizon": 15, "dtype": "float32"}),
        ("torch.func, meta-training step, second order", "torch_meta.functional", meta),
        ("torchopt, meta-training step, second order", "torch_meta.torchopt", meta),
        ("deep-river, pair of a stream, 2x32", "streams.deep_river", {"pairs": pairs, "width": 32, "depth": 2}),
    ]  # fmt: skip
    for name, what, given in asked:
        try:
            peers = Peers()
            try:
                remote, _ = peers.prepare(what, **given)
                remote.seconds()
                yield Alone(name, peers.peak_mb())
            finally:
                peers.close()
        except Absent as error:
            yield Skipped(GROUP, name, str(error))


def _run(scene: str, *cache: str) -> dict[str, float]:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.alone", scene, *cache],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])
