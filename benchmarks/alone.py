"""One scene in a process of its own: ``python -m benchmarks.alone SCENE`` prints its first call and its peak memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def peak_mb() -> float:
    """Largest resident memory of this process (not ``ru_maxrss``, which begins with that of the parent)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _jax() -> Callable[[], Any]:
    import jax

    return lambda: jax.devices()


def _mole() -> Callable[[], Any]:
    import mole

    return lambda: mole.Mixture


def _control(size: str, planner: str) -> Callable[[], Any]:
    import jax
    import numpy as np

    from benchmarks.measures_planning import PLANNERS
    from benchmarks.scenes import make_prior
    from mole import Mixture
    from mole.control.agent import Agent, jit_act, jit_observe
    from mole.envs.cheetah.motors import DYNAMICS

    agent = Agent(Mixture(make_prior(size)), PLANNERS[planner], DYNAMICS)
    state, obs, action = agent.init(), np.zeros(18, np.float32), np.zeros(6, np.float32)
    key = jax.random.key(0)

    def step() -> None:
        jax.block_until_ready(jit_act(agent, state, obs, key, np.int32(0)))
        jit_observe(agent, jax.tree.map(lambda a: a.copy(), state), obs, action, obs)

    return step


def _meta() -> Callable[[], Any]:
    from benchmarks.measures_meta import meta_training

    return meta_training(True, True)


def _stream() -> Callable[[], Any]:
    from benchmarks.measures_streams import make_prior
    from mole import OnlineRegressor

    model = OnlineRegressor(make_prior(4))
    return lambda: (model.predict_one([0.0] * 4), model.learn_one([0.0] * 4, 1.0))


SCENES: dict[str, Callable[[], Callable[[], Any]]] = {
    "import jax": _jax,
    "import mole": _mole,
    "control step 2x256, CEM 3x100x10": lambda: _control("2x256", "CEM 3x100x10"),
    "control step 3x512, shooting 1000x15": lambda: _control("3x512", "shooting 1000x15"),
    "meta-training step, second order": _meta,
    "pair of a stream, 2x32": _stream,
}

if __name__ == "__main__":
    if len(sys.argv) > 2:  # a folder for the compilation cache
        import os

        from mole.files.programs import VARIABLE, use_compilation_cache

        os.environ[VARIABLE] = sys.argv[2]
        use_compilation_cache()
    run = SCENES[sys.argv[1]]()
    started = time.perf_counter()
    run()
    first = time.perf_counter() - started
    for _ in range(3):
        run()
    print(json.dumps({"first_s": first, "peak_mb": peak_mb()}))
