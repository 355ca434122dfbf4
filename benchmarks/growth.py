"""How cost grows: with tasks, window, width, horizon and streams; a table and a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from benchmarks.measures_mixture import stream_of
from benchmarks.measures_planning import plan_of
from benchmarks.measures_streams import FEW
from benchmarks.measures_streams import make_prior as stream_prior
from benchmarks.scenes import HIGH, LOW, full_mixture, make_pairs, make_prior
from benchmarks.timing import Spread, interleaved
from mole import Fleet, Mixture
from mole.planning import CEM


@dataclasses.dataclass(frozen=True)
class Curve:
    """Milliseconds of something at several sizes, all timed in the same rounds."""

    name: str
    axis: str
    sizes: list[int]
    ms: list[Spread]

    @property
    def exponent(self) -> float:
        """Slope between the last two sizes in the logarithm: 1 is proportional."""
        (a, b), (x, y) = self.sizes[-2:], (spread.median for spread in self.ms[-2:])
        return float(np.log(y / x) / np.log(b / a))


def curves(rounds: int, quick: bool) -> Iterator[Curve]:
    def curve(name: str, axis: str, sizes: list[int], make: Callable[[int], Callable[[], None]]) -> Curve:
        sizes = sizes[:3] if quick else sizes
        seconds = interleaved([make(size) for size in sizes], rounds)
        return Curve(name, axis, sizes, [Spread.of(1e3 * found) for found in seconds])

    yield curve("EM step 2x256", "tasks", [1, 2, 4, 8, 16, 32], lambda n: _em(max_tasks=n))
    yield curve("EM step 2x256", "window", [4, 8, 16, 32, 64], lambda n: _em(window=n))
    yield curve("EM step, 2 layers", "width", [32, 64, 128, 256, 512, 1024], lambda n: _em(width=n))
    yield curve("CEM plan, 2 layers", "width", [32, 64, 128, 256, 512, 1024], lambda n: _cem(width=n))
    yield curve("CEM plan 2x256", "horizon", [2, 5, 10, 20, 40], lambda n: _cem(horizon=n))
    yield curve("Fleet.learn, one step", "streams", [1, 8, 64, 512, 4096], _fleet)


def _em(width: int = 256, max_tasks: int = 5, window: int = 16) -> Callable[[], None]:
    prior = make_prior((width, 2))
    pairs = make_pairs(prior, max(64, 2 * window))
    learner = Mixture(prior, max_tasks=max_tasks, window=window)
    state = full_mixture(learner, pairs)
    return stream_of(learner, state, ([np.asarray(x) for x in pairs.x], [np.asarray(y) for y in pairs.y]))


def _cem(width: int = 256, horizon: int = 10) -> Callable[[], None]:
    return plan_of(make_prior((width, 2)), CEM(LOW, HIGH, horizon=horizon), jax.numpy.float32)


def _fleet(streams: int) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(streams, 4)), rng.normal(size=(streams, 1))
    fleet = Fleet(stream_prior(4), streams, mixture=FEW)
    return lambda: fleet.learn(x, y) is None and None


def draw(found: list[Curve], folder: Path) -> None:
    """``growth.png`` and ``growth.svg``."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "mole"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained")
    for axis, curve in zip(axes.flat, found, strict=False):
        median = [spread.median for spread in curve.ms]
        low, high = [spread.low for spread in curve.ms], [spread.high for spread in curve.ms]
        axis.fill_between(curve.sizes, low, high, alpha=0.25, linewidth=0)
        axis.loglog(curve.sizes, median, marker="o")
        proportional = [median[-1] * size / curve.sizes[-1] for size in curve.sizes]
        axis.loglog(curve.sizes, proportional, "--", color="grey", linewidth=0.8)
        axis.set_xticks(curve.sizes, [str(size) for size in curve.sizes])
        axis.minorticks_off()
        axis.set(title=curve.name, xlabel=curve.axis, ylabel="ms")
    figure.suptitle("How cost grows (dashed: in proportion)")
    for suffix in ("png", "svg"):
        about = {"Date": None} if suffix == "svg" else {"Software": None}
        figure.savefig(folder / f"growth.{suffix}", dpi=120, metadata=about)
    plt.close(figure)
