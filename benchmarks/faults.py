"""Faults in a stream of three regimes that return, and the error afterwards. ARGS: ``--seeds N``, ``--learner NAME``.

For every learner and fault of `mole.pipeline.faults` the table gives the mean loss from 2k steps after the fault on, as
a multiple of the same learner's on the same pairs of the clean stream: the median over seeds, and the worst.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole.learning.models import Linear, Normalizer
from mole.learning.prior import MetaPrior
from mole.online import Continuous, KShot, Mixture, Oracle, Static, count_faults
from mole.pipeline.faults import FAULTS, Faulty, inject
from mole.readout import ReadoutMixture, ReadoutPrior

DX, DY, K = 3, 6, 8
REGIMES, VISIT, STEPS = 3, 60, 720
NOISE, LONGEST = 0.1, 90
"""Standard deviation of the targets' noise; rows that a fault may add."""
WILD = ("nan", "infinity", "overflow", "spikes")
ORDER = ("dropped", "duplicated", "reordered")
PLAUSIBLE = tuple(name for name in FAULTS if name not in WILD + ORDER)


def clean_stream(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of linear regimes in turn, ``x[STEPS, DX]``, ``y[STEPS, DY]``."""
    rng = np.random.default_rng(seed)
    slopes, offsets = rng.normal(size=(REGIMES, DX, DY)), 0.5 * rng.normal(size=(REGIMES, DY))
    regime = np.arange(STEPS) // VISIT % REGIMES
    x = rng.normal(size=(STEPS, DX))
    y = np.einsum("ti,tij->tj", x, slopes[regime]) + offsets[regime] + NOISE * rng.normal(size=(STEPS, DY))
    return x.astype(np.float32), y.astype(np.float32)


def learners() -> dict[str, Any]:
    """All learners, on a linear network that one inner step takes half of the way to a task, or on readouts."""
    x_norm, y_norm = Normalizer.identity(DX), Normalizer.identity(DY)
    model = jax.tree.map(jnp.zeros_like, Linear(DX, DY, key=jax.random.key(0)))
    prior = MetaPrior(model, inner_rate=0.25 * DY, window=K, residual_scale=0.8, x_norm=x_norm, y_norm=y_norm)
    readouts = ReadoutPrior.untrained(width=8, depth=1, key=jax.random.key(0), x_norm=x_norm, y_norm=y_norm)
    return {
        "mole": Mixture(prior),
        "mole-paper": Mixture.paper(prior, step_scale=0.1),
        "kshot": KShot(prior),
        "continuous": Continuous(prior),
        "oracle": Oracle(prior, REGIMES),
        "static": Static(prior),
        "readout": ReadoutMixture(readouts, max_tasks=6, candidates=4, drift=(1e-6,)),
    }


class Outcome(NamedTuple):
    """What a run came to.

    Attributes:
        finite: whether the state at the end is.
        ratio: mean loss of the pairs from 2k steps after the last fault on, over that of the clean run on them.
        counts: faults seen, by name.
        spawned: tasks that joined while wild pairs came, or within 2k steps of them.
        state: at the end.
    """

    finite: bool
    ratio: float
    counts: dict[str, int]
    spawned: int
    state: Any


@eqx.filter_jit
def run(learner: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """A whole stream from the beginning: the last state, and an `Info` of every step."""
    return jax.lax.scan(lambda state, pair: learner.update(state, *pair), learner.init(), (x, y))


def padded(values: np.ndarray) -> np.ndarray:
    """With rows of NaN at the end, which every learner refuses: streams of one length compile once."""
    return np.pad(values, [(0, STEPS + LONGEST - len(values)), (0, 0)], constant_values=np.nan)


def outcome(learner: Any, faulty: Faulty, clean: np.ndarray) -> Outcome:
    """Run a learner on a stream with faults; ``clean`` are its losses without them."""
    state, infos = run(learner, padded(faulty.x), padded(faulty.y))
    losses, codes, spawned = (
        np.asarray(a)[: len(faulty.x)] for a in (infos.loss, infos.fault, infos.spawned)
    )
    bad = np.flatnonzero(faulty.touched)
    end = bad[-1] + 1 if len(bad) else 0
    later = slice(end + 2 * K, None)
    finite = all(np.isfinite(a).all() for a in jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array)))
    ratio = float(losses[later].mean() / clean[faulty.origin[later]].mean())
    return Outcome(finite, ratio, count_faults(codes), int(spawned[faulty.touched].sum()), state)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--learner", choices=tuple(learners()), action="append")
    given = parser.parse_args()
    x, y = clean_stream()
    chosen = given.learner or list(learners())
    print("| fault | " + " | ".join(chosen) + " |", flush=True)
    print("|---|" + "---|" * len(chosen), flush=True)
    known = {name: learners()[name] for name in chosen}
    clean = {name: np.asarray(run(one, padded(x), padded(y))[1].loss) for name, one in known.items()}
    for fault in FAULTS:
        cells = []
        for name, learner in known.items():
            found = []
            for seed in range(given.seeds):
                begin = 200 + 13 * seed % 180
                done = outcome(learner, inject(x, y, [(fault, begin, 30)], seed), clean[name])
                found.append(done.ratio if done.finite else np.inf)
            cells.append(f"{np.median(found):.2f} ({max(found):.2f})")
        print(f"| {fault} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
