"""What the tests of our MuJoCo environments share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest


def random_actions(n: int, act: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """``[n, act]``, uniform, in float32."""
    return np.random.default_rng(seed).uniform(low, high, (n, act)).astype(np.float32)


def rollout(env: Any, commands: Iterable[np.ndarray], seed: int = 0) -> np.ndarray:
    """The first observation and one for each command."""
    first, _ = env.reset(seed=seed)
    return np.array([first] + [env.step(command)[0] for command in commands])


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """MuJoCo's log files, where one is expected, must not land in the repository."""
    monkeypatch.chdir(tmp_path)


def red(frame: np.ndarray) -> int:
    """How many pixels are the colour of a failed limb."""
    r, g, b = (frame[..., channel].astype(int) for channel in range(3))
    return int(((r > 100) & (r > 2 * g) & (r > 2 * b)).sum())


def check_the_seed_decides(make: Callable[[], Any], commands: np.ndarray, hidden: str) -> None:
    """Two episodes with the same seed are the same, hidden value included, and those of another seed are not."""

    def run(seed: int) -> list[Any]:
        env = make()
        env.reset(seed=seed)
        env.reset()
        return [env.step(command) for command in commands]

    one, same, other = run(3), run(3), run(4)
    for (obs, got, *_, info), (obs2, got2, *_, info2) in zip(one, same, strict=True):
        np.testing.assert_array_equal(obs, obs2)
        np.testing.assert_array_equal(info[hidden], info2[hidden])
        assert got == got2
    assert not np.array_equal(one[-1][0], other[-1][0])
