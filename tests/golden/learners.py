"""What every learner makes of one stream, as users' programs are compiled: `python tests/golden/learners.py OUT.npz`.

`learners.npz` was written by version 0.1. The same command with the package of today gives the same bits on the same
machine, whatever has been rewritten since. `tests/test_golden.py` runs it without XLA's flags of the tests.
"""

from __future__ import annotations

import sys
from typing import Any

import equinox as eqx
import jax
import numpy as np

from mole import (
    MLP,
    Continuous,
    KShot,
    MetaPrior,
    Mixture,
    Normalizer,
    Oracle,
    Rank1Rate,
    ReadoutMixture,
    ReadoutPrior,
)

DX, DY, STEPS = 6, 3, 150


def learners(norms: dict[str, Normalizer]) -> dict[str, Any]:
    """One of each kind."""
    model = MLP(DX, DY, width=16, depth=2, key=jax.random.key(0))
    prior = MetaPrior(model, inner_rate=Rank1Rate(model, 0.1), window=8, residual_scale=0.2, **norms)
    readouts = ReadoutPrior.untrained(width=8, key=jax.random.key(1), **norms)
    return {
        "mole": Mixture(prior, margin=5.0),
        "paper": Mixture.paper(prior, step_scale=0.1),
        "kshot": KShot(prior),
        "continuous": Continuous(prior),
        "readout": ReadoutMixture(readouts),
        "oracle": Oracle(prior, 3),
    }


def main(out: str) -> None:
    """Three linear tasks in turn; predictions, losses and responsibilities of every step."""
    rng = np.random.default_rng(0)
    W = rng.normal(size=(3, DX, DY))
    x = rng.normal(size=(STEPS, DX)).astype(np.float32)
    y = np.stack([x[t] @ W[(t // 30) % 3] for t in range(STEPS)]).astype(np.float32)
    y += 0.1 * rng.normal(size=(STEPS, DY)).astype(np.float32)
    update = eqx.filter_jit(lambda learner, *given: learner.update(*given))
    predict = eqx.filter_jit(lambda learner, *given: learner.predict(*given))
    found = {}
    for name, learner in learners({"x_norm": Normalizer.fit(x), "y_norm": Normalizer.fit(y)}).items():
        state, steps = learner.init(), []
        for pair in zip(x, y, strict=True):
            mean = predict(learner, state, pair[0]).mean
            state, info = update(learner, state, *pair)
            steps.append((info.loss, mean, info.responsibilities))
        for part, values in zip(("loss", "pred", "resp"), zip(*steps, strict=True), strict=True):
            found[f"{name}/{part}"] = np.stack([np.asarray(value) for value in values])
    np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1])
