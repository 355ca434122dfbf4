"""Your own recorded data: meta-train a prior on it, then run a mixture over a whole new stream in one ``lax.scan``."""

import jax
import jax.numpy as jnp
import numpy as np

from mole import MLP, MetaConfig, Mixture, Trajectory, load_prior, meta_train, save_prior

ITERATIONS = 2000
rng = np.random.default_rng(0)


def record(length: int, phase: float) -> Trajectory:
    """One segment under one hidden condition: x is [time, dx], y is [time, dy], both in natural units."""
    x = rng.uniform(-3, 3, size=(length, 1))
    return Trajectory(x, np.sin(x + phase))


data = [record(100, phase) for phase in rng.uniform(0, 2 * np.pi, 200)]
network = MLP(1, 1, width=64, depth=2, key=jax.random.key(0))
config = MetaConfig(window=8, iterations=ITERATIONS)
prior = meta_train(network, data, config=config, key=jax.random.key(1), progress=True)
save_prior("prior.mole", prior, {"made by": "examples/train_own.py"})

parts = [record(100, phase) for phase in (0.0, 2.0, 0.0, 2.0, 0.0)]
x, y = (jnp.asarray(np.concatenate(field), jnp.float32) for field in zip(*parts, strict=True))
learner = Mixture(load_prior("prior.mole"))
_, info = jax.jit(
    lambda: jax.lax.scan(lambda state, pair: learner.update(state, *pair), learner.init(), (x, y))
)()
loss = np.asarray(info.loss).reshape(len(parts), -1)  # of each prediction, made before its pair was learned
print("mean loss of each visit     ", loss.mean(1).round(4))
print("task at the end of the visit", np.asarray(info.task).reshape(len(parts), -1)[:, -1])
