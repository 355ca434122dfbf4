"""``make soak``: ten million updates of a mixture with faults in its data. ARGS: ``--learner --updates --out``.

Seven linear regimes take turns in a mixture that has room for four, so that it is full nearly all the time and merges
or evicts for ever; two pairs in a thousand are spoiled. After every chunk the state must be finite; time, memory and
error are written down and the state is saved, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array
from mole.files import checkpoint
from mole.learning.models import Linear, Normalizer
from mole.learning.prior import MetaPrior
from mole.online import Mixture
from mole.online.guard import Fault
from mole.readout import ReadoutMixture, ReadoutPrior

DX, DY, REGIMES, ROOM = 3, 2, 7, 4
VISIT = 500
SPOILED = 2e-3
NAMES = [str(fault.name).lower() for fault in Fault]
WILD = (np.nan, np.inf, 1e25, -1e38, 1e6)


def learner_named(name: str) -> Any:
    """A small mixture with room for four tasks that merges when it is full."""
    x_norm, y_norm = Normalizer.identity(DX), Normalizer.identity(DY)
    if name == "readout":
        prior = ReadoutPrior.untrained(width=4, depth=1, key=jax.random.key(0), x_norm=x_norm, y_norm=y_norm)
        return ReadoutMixture(prior, max_tasks=ROOM, candidates=3, at_capacity="merge")
    model = jax.tree.map(jnp.zeros_like, Linear(DX, DY, key=jax.random.key(0)))
    prior = MetaPrior(model, inner_rate=0.5, window=8, residual_scale=0.3, x_norm=x_norm, y_norm=y_norm)
    return Mixture(prior, max_tasks=ROOM, at_capacity="merge")


def pair_at(step: Array, key: Array, slopes: Array) -> tuple[Array, Array]:
    """The pair of one step, now and then with a wild number in it."""
    draw, noise, luck, place, kind = jax.random.split(jax.random.fold_in(key, step), 5)
    x = jax.random.normal(draw, (DX,))
    y = x @ slopes[step // VISIT % REGIMES] + 0.1 * jax.random.normal(noise, (DY,))
    pair = jnp.concatenate([x, y])
    wild = jnp.asarray(WILD)[jax.random.randint(kind, (), 0, len(WILD))]
    spoiled = pair.at[jax.random.randint(place, (), 0, DX + DY)].set(wild)
    pair = jnp.where(jax.random.uniform(luck) < SPOILED, spoiled, pair)
    return pair[:DX], pair[DX:]


@eqx.filter_jit
def chunk(learner: Any, state: Any, start: Array, length: int, key: Array) -> tuple[Any, dict[str, Array]]:
    """``length`` updates from step ``start`` on, and what happened in them."""
    slopes = 2.0 * jax.random.normal(jax.random.key(1), (REGIMES, DX, DY))

    def one(carry: tuple[Any, dict[str, Array]], pair: tuple[Array, Array]) -> tuple[Any, None]:
        state, sums = carry
        state, info = learner.update(state, *pair)
        bits = jnp.asarray([fault.value for fault in Fault])
        new = {
            "loss": jnp.where(info.fault == 0, info.loss, 0.0),
            "healthy": info.fault == 0,
            "rejected": info.rejected,
            "spawned": info.spawned,
            "at_capacity": info.at_capacity,
            "faults": (info.fault & bits) != 0,
        }
        return (state, jax.tree.map(lambda a, b: a + b.astype(a.dtype), sums, new)), None

    zero = jnp.zeros((), jnp.int32)
    sums = {"loss": jnp.zeros(()), "healthy": zero, "rejected": zero, "spawned": zero, "at_capacity": zero}
    sums["faults"] = jnp.zeros((len(Fault),), jnp.int32)
    steps = start + jnp.arange(length, dtype=jnp.int32)
    # Drawn all at once: one by one the random numbers would take longer than the learner.
    pairs = jax.vmap(lambda step: pair_at(step, key, slopes))(steps)
    (state, sums), _ = jax.lax.scan(one, (state, sums), pairs)
    return state, sums


def resident() -> float:
    """Memory of this process now, in MiB; its largest so far where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclasses.dataclass
class Soak:
    """One run: a folder with the state (``state.mole``) and a line per chunk (``chunks.jsonl``)."""

    name: str
    updates: int
    length: int
    out: Path

    def run(self) -> Iterator[dict[str, Any]]:
        """Do what is left; a line per chunk.

        Raises:
            FloatingPointError: if the state is not finite after a chunk.
        """
        learner, key = learner_named(self.name), jax.random.key(0)
        self.out.mkdir(parents=True, exist_ok=True)
        saved, log = self.out / f"{self.name}.mole", self.out / f"{self.name}.jsonl"
        state, done = learner.init(), 0
        if saved.exists():
            state, at = checkpoint.load(saved, (state, np.zeros((), np.int64)), kind="soak")
            done = int(at)
            lines = log.read_text().splitlines()[: done // self.length]
            log.write_text("".join(f"{line}\n" for line in lines))
        while done < self.updates:
            began, cpu = time.perf_counter(), time.process_time()
            state, sums = jax.block_until_ready(chunk(learner, state, jnp.int32(done), self.length, key))
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
            leaves = jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array))
            if not all(np.isfinite(leaf).all() for leaf in leaves):
                raise FloatingPointError(
                    f"{self.name}: the state is not finite after {done + self.length} updates."
                )
            done += self.length
            line = {
                "updates": done,
                "cpu_us": 1e6 * cpu / self.length,
                "wall_us": 1e6 * wall / self.length,
                "memory_mib": resident(),
                "loss": float(sums["loss"]) / max(int(sums["healthy"]), 1),
                "refused": int(sums["rejected"]),
                "spawned": int(sums["spawned"]),
                "at_capacity": int(sums["at_capacity"]),
                **{name: int(n) for name, n in zip(NAMES, sums["faults"], strict=True) if int(n)},
            }
            checkpoint.save(saved, (state, np.asarray(done, np.int64)), kind="soak", config={})
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            yield line

    def summary(self) -> str:
        """First and last tenth of all chunks side by side."""
        lines = [json.loads(line) for line in (self.out / f"{self.name}.jsonl").read_text().splitlines()]
        tenth = max(len(lines) // 10, 1)
        parts = (lines[1 : tenth + 1] or lines, lines[-tenth:])
        rows = [
            f"{self.name}: {lines[-1]['updates']} updates, every state finite; first and last tenth (median)"
        ]
        for figure in ("cpu_us", "memory_mib", "loss", "spawned", "at_capacity"):
            first, last = (float(np.median([line[figure] for line in part])) for part in parts)
            rows.append(f"  {figure:12} {first:10.4g} {last:10.4g}")
        total = {name: sum(line.get(name, 0) for line in lines) for name in NAMES}
        rows.append(f"  faults       { {name: n for name, n in total.items() if n} }")
        return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--learner", choices=("readout", "mixture", "both"), default="both")
    parser.add_argument("--updates", type=int, default=10_000_000)
    parser.add_argument("--chunk", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    given = parser.parse_args()
    names = ("readout", "mixture") if given.learner == "both" else (given.learner,)
    for name in names:
        soak = Soak(name, given.updates, given.chunk, given.out)
        for line in soak.run():
            print(name, json.dumps(line), flush=True)
        print(soak.summary(), flush=True)


if __name__ == "__main__":
    main()
