"""The other side of `peer_client.py`: runs in the peers' own interpreter and times their functions when it is told to.

One JSON object a line. In: ``{"prepare": "torch_planning.shooting", "given": {...}}``,
then ``{"run": 0, "repeats": 3}`` with the number of what was prepared, or ``{"memory": true}``.
Out: ``{"ready": 0, "note": ...}``, ``{"seconds": ...}``, ``{"peak_mb": ...}``, or ``{"absent": why}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

_functions: list[Any] = []


def peak_mb() -> float:
    """Largest resident memory of this process (not ``ru_maxrss``, which begins with that of the parent)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    if "prepare" in asked:
        module, name = asked["prepare"].split(".")
        try:
            function, note = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)(
                **asked["given"]
            )
        except ImportError as error:
            return {"absent": str(error).splitlines()[0]}
        _functions.append(function)
        return {"ready": len(_functions) - 1, "note": note}
    if "memory" in asked:
        return {"peak_mb": peak_mb()}
    function, repeats = _functions[asked["run"]], asked["repeats"]
    started = time.perf_counter()
    for _ in range(repeats):
        function()
    return {"seconds": (time.perf_counter() - started) / repeats}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    warnings.simplefilter("ignore")
    try:
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.set_num_interop_threads(1)
    except ImportError:
        pass
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
