"""River's Friedman generator with recurring abrupt drift. Needs the extra ``streams``."""

from __future__ import annotations

import numpy as np

from mole.datasets.stream import Stream, check_length, stream_rng

try:
    from river.datasets import synth  # pyright: ignore[reportMissingImports]
except ImportError as missing:
    raise ImportError(
        f"the stream 'friedman-recurring' comes from river, and {missing.name!r} cannot be imported. "
        "Install it with: pip install 'mole-online[streams]'"
    ) from missing

__all__ = ["friedman_drift_stream"]


def friedman_drift_stream(
    length: int, seed: int, *, period: int = 500, name: str = "friedman-recurring"
) -> Stream:
    """The two concepts of river's global recurring abrupt drift (``gra``), in turn, ``period`` pairs each.

    River's own schedule returns once; here the concepts go on alternating. Ten uniform inputs, noise variance 1.
    Source of the concepts: Ikonomovska, Gama and Džeroski, Learning model trees from evolving data streams (2011).

    Args:
        length: pairs.
        seed: of river's generator.
        period: pairs between switches.
        name: of the stream; part of the seed.

    Raises:
        ValueError: if the period is below 1.
    """
    check_length(name, length)
    if period < 1:
        raise ValueError(f"stream {name!r} got period={period}; expected at least 1 pair between switches.")
    state = int(stream_rng(name, seed).integers(2**31))
    # the concept in the middle holds from the first position to the second: here never, and always
    places = ((length, length + 1), (0, length))
    concepts = [
        synth.FriedmanDrift(drift_type="gra", position=place, seed=state).take(length) for place in places
    ]
    task = np.arange(length) // period % 2
    pairs = [both[which] for both, which in zip(zip(*concepts, strict=True), task, strict=True)]
    x = np.array([list(x.values()) for x, _ in pairs])
    return Stream(x, np.array([[y] for _, y in pairs]), task, name)
