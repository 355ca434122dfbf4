"""The streams of the comparison: those of `mole.datasets`, and transitions of our own environments."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from mole.datasets import STREAMS, Stream
from mole.datasets.transitions import record_episodes, transitions_stream


def cheetah_motors(length: int, seed: int) -> Stream:
    """Transitions of the half-cheetah under random actions; every 100 steps its motors fail in another of two ways."""
    import gymnasium

    from mole.envs import spec_for
    from mole.envs.cheetah.motors import ENV_ID

    env = gymnasium.make(ENV_ID, schedule="alternate:A,B:100", episode_steps=None)
    try:
        return transitions_stream(record_episodes(env, length, seed), spec_for(env), "cheetah-motors")
    finally:
        env.close()


ALL: dict[str, Callable[[int, int], Stream]] = {**STREAMS, "cheetah-motors": cheetah_motors}


@lru_cache(maxsize=16)
def stream_of(name: str, length: int, seed: int) -> Stream:
    """The stream of that name; the same one is not made again for the next method."""
    return ALL[name](length, seed)
