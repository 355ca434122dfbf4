"""Priors for streams that come with the package.

prior = zoo.load("sinusoids")
model = OnlineRegressor(prior)

`python -m mole.priors.zoo FOLDER` makes them again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from mole._types import Trajectory
from mole.datasets.sinusoid import sinusoid_tasks
from mole.datasets.teachers import stationary_stream
from mole.estimators import StreamPrior, fit_prior, load_stream_prior, save_stream_prior

__all__ = ["FAMILIES", "load", "make", "names"]

_TASKS, _LENGTH, _SEED = 2000, 40, 0


def _linear_tasks(n: int, length: int, seed: int) -> list[Trajectory]:
    streams = (stationary_stream("linear", length, seed * n + one, name="zoo-linear") for one in range(n))
    return [stream.trajectory() for stream in streams]


FAMILIES: dict[str, tuple[str, Callable[[int, int, int], list[Trajectory]]]] = {
    "sinusoids": ("y = A sin(x + φ) + noise; A in [0.1, 5], x in [−5, 5]", sinusoid_tasks),
    "linear-5": (
        "linear in 5 standard normal inputs, with a constant",
        _linear_tasks,
    ),
}
"""Name → what the tasks are, and a function (number, length, seed) that makes some."""


def names() -> dict[str, str]:
    """The priors there are, with what their tasks are."""
    return {name: text for name, (text, _) in FAMILIES.items()}


def load(name: str) -> StreamPrior:
    """The prior of that name.

    Raises:
        ValueError: if there is none.
    """
    _known(name)
    with resources.as_file(resources.files("mole") / "assets" / "zoo" / f"{name}.mole") as path:
        return load_stream_prior(path)[0]


def make(name: str, path: Path) -> dict[str, Any]:
    """Train the prior of that name anew and write it; what its header says of how it was made.

    Raises:
        ValueError: if there is none.
    """
    text, tasks = _known(name)
    provenance = {
        "command": f"python -m mole.priors.zoo, {name}",
        "family": text,
        "tasks": _TASKS,
        "pairs": _TASKS * _LENGTH,
        "seed": _SEED,
    }
    save_stream_prior(path, fit_prior(tasks(_TASKS, _LENGTH, _SEED), seed=_SEED), provenance)
    return provenance


def _known(name: str) -> tuple[str, Callable[[int, int, int], list[Trajectory]]]:
    if name not in FAMILIES:
        raise ValueError(f"unknown prior {name!r}; the zoo has {', '.join(FAMILIES)}.")
    return FAMILIES[name]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for one in FAMILIES:
        print(make(one, folder / f"{one}.mole"))
