"""The switching sinusoid: y = A sin(x + φ) + noise, with another amplitude and phase after every switch.

The family of Finn, Abbeel and Levine (MAML, ICML 2017) as a stream, as in Harrison et al. (MOCA, NeurIPS 2020,
arXiv 1912.08866): A in [0.1, 5], φ in [0, π], x in [-5, 5], noise variance 0.05, switch probability 0.02 per pair.
"""

from __future__ import annotations

import numpy as np

from mole._types import Trajectory
from mole.datasets.stream import Stream, check_length, stream_rng, switching_tasks

__all__ = ["NOISE_VARIANCE", "SWITCH_PROBABILITY", "sinusoid_stream", "sinusoid_tasks"]

NOISE_VARIANCE = 0.05
SWITCH_PROBABILITY = 0.02


def sinusoid_stream(
    length: int,
    seed: int,
    *,
    n_tasks: int | None = None,
    switch_probability: float = SWITCH_PROBABILITY,
    name: str = "sinusoid",
) -> Stream:
    """A stream of sinusoids that switch without notice.

    Args:
        length: pairs.
        seed: of everything.
        n_tasks: None for a new sinusoid at every switch, else the number of sinusoids that return.
        switch_probability: per pair.
        name: of the stream; part of the seed.

    Raises:
        ValueError: for an amount out of range.
        TypeError: for an amount that is no whole number.
    """
    check_length(name, length)
    rng = stream_rng(name, seed)
    task = switching_tasks(rng, length, switch_probability, n_tasks)
    amplitude, phase = _draw(rng, int(task.max()) + 1)
    x, y = _pairs(rng, amplitude[task], phase[task])
    return Stream(x[:, None], y[:, None], task, name)


def sinusoid_tasks(n: int, length: int, seed: int) -> list[Trajectory]:
    """Single tasks of the family, to meta-train a prior on. None of them is in a stream.

    Args:
        n: number of tasks.
        length: pairs of each.
        seed: of everything.

    Returns:
        n trajectories, x and y [length, 1] float32.

    Raises:
        ValueError: for an amount below 1 or a negative seed.
        TypeError: for one that is no whole number.
    """
    check_length("sinusoid-tasks", n)
    check_length("sinusoid-tasks", length)
    rng = stream_rng("sinusoid-tasks", seed)  # no stream has this name, so that none shares its draws
    amplitude, phase = _draw(rng, n)
    x, y = _pairs(
        rng, np.repeat(amplitude[:, None], length, axis=1), np.repeat(phase[:, None], length, axis=1)
    )
    return [
        Trajectory(a[:, None].astype(np.float32), b[:, None].astype(np.float32))
        for a, b in zip(x, y, strict=True)
    ]


def _draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0.1, 5.0, n), rng.uniform(0.0, np.pi, n)


def _pairs(
    rng: np.random.Generator, amplitude: np.ndarray, phase: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    x = rng.uniform(-5.0, 5.0, amplitude.shape)
    noise = rng.normal(0.0, np.sqrt(NOISE_VARIANCE), amplitude.shape)
    return x, amplitude * np.sin(x + phase) + noise
