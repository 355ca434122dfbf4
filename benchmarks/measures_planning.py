"""Planning against the matrix products of its shapes, PyTorch and mbrl-lib."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.limits import chained_products
from benchmarks.peer_client import Peers, prepared
from benchmarks.scenes import HIGH, LOW, SIZES, make_prior
from benchmarks.timing import Row, Skipped, Timed, blocked, interleaved, row
from mole.control.agent import LearnedDynamics
from mole.envs.cheetah.motors import DYNAMICS
from mole.learning.models import narrow_weights
from mole.planning import CEM, Planner, RandomShooting

GROUP = "planning"
PLANNERS: dict[str, Planner] = {
    "shooting 1000x15": RandomShooting(LOW, HIGH, samples=1000, horizon=15),
    "CEM 3x100x10": CEM(LOW, HIGH),
}


def planning(size: str, name: str, rounds: int, peers: Peers | None) -> Iterator[Row | Skipped]:
    prior, planner = make_prior(size), PLANNERS[name]
    iterations = planner.iterations if isinstance(planner, CEM) else 1
    weights = [layer.weight for layer in prior.model.layers]
    steps = iterations * planner.horizon
    functions: list[Timed] = []
    for dtype in (jnp.float32, jnp.bfloat16):
        functions += [
            plan_of(prior, planner, dtype),
            chained_products(weights, planner.samples, steps, dtype),
        ]
    theirs, skipped = _peers(size, planner, iterations, peers)
    seconds = interleaved([*functions, *(remote for _, remote in theirs)], rounds)
    yield from skipped
    for place, dtype in ((0, "float32"), (2, "bfloat16")):
        limit = f"{dtype} products", seconds[place + 1]
        label = f"{name}, {size}, {dtype}"
        yield row(
            GROUP, label, seconds[place], f"its {dtype} products alone", seconds[place + 1], limit=limit
        )
        for (peer, _), reference in zip(theirs, seconds[4:], strict=True):
            yield row(GROUP, label, seconds[place], peer, reference, limit=limit)


def plan_of(prior: Any, planner: Planner, dtype: Any) -> Callable[[], None]:
    """The weights are narrowed at every plan, as an agent does."""
    state, key, obs = planner.init(), jax.random.key(4), jnp.zeros(DYNAMICS.obs_dim)

    arrays, rest = eqx.partition(prior.model, eqx.is_array)

    @jax.jit
    def run(state: Any, obs: jax.Array, key: jax.Array, arrays: Any) -> Any:
        model = narrow_weights(eqx.combine(arrays, rest), dtype)
        return planner.plan(state, LearnedDynamics(model, prior, DYNAMICS), DYNAMICS.reward, obs, key)

    return blocked(lambda: run(state, obs, key, arrays))


def _peers(
    size: str, planner: Planner, iterations: int, peers: Peers | None
) -> tuple[list[tuple[str, Any]], list[Skipped]]:
    width, depth = SIZES[size]
    given = {"width": width, "depth": depth, "samples": planner.samples, "horizon": planner.horizon}
    if isinstance(planner, CEM):
        more = {"iterations": iterations, "elites": planner.n_elites}
        asked = [
            ("PyTorch float32", "torch_planning.cem", {**given, **more, "dtype": "float32"}),
            ("PyTorch bfloat16", "torch_planning.cem", {**given, **more, "dtype": "bfloat16"}),
            ("mbrl-lib's CEM", "torch_planning.mbrl_cem", {**given, **more}),
        ]
    else:
        asked = [
            ("PyTorch float32", "torch_planning.shooting", {**given, "dtype": "float32"}),
            ("PyTorch bfloat16", "torch_planning.shooting", {**given, "dtype": "bfloat16"}),
        ]
    return prepared(peers, GROUP, asked)
