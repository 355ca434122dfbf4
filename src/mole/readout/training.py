"""Meta-training of a prior over readouts: empirical Bayes on windows of time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mole._expect import expect_key, expect_number, expect_type, expect_whole
from mole._types import Array, Float, Int, Key, Trajectory, Window
from mole.learning.models import Normalizer
from mole.meta.resume import TrainingFile, TrainingState, described, kept
from mole.meta.tasks import WindowData, normalised, one_group, sample_windows, window_data
from mole.readout.belief import Belief, log_evidence
from mole.readout.prior import Features, ReadoutPrior, broad_belief

__all__ = ["ReadoutConfig", "compile_ahead", "readout_prior_in_slices", "slices_of", "train_readout_prior"]

_CALL = 5  # iterations of one compiled call: a stream that trains beside its rows waits for it
_CHUNK = 100  # iterations between two checkpoints
_SPREAD = 0.5  # of what all hidden units add together, in the broad belief and at the start
_SCALED_ON = 4096  # pairs on which the spread of each hidden unit is measured


@dataclasses.dataclass(frozen=True)
class ReadoutConfig:
    """How a prior over readouts is trained."""

    window: int = 32
    """Pairs in a window of time."""
    iterations: int = 3000
    """Gradient steps."""
    batch: int = 32
    """Windows in one gradient step."""
    learning_rate: float = 3e-3
    """Adam's rate at the start of its cosine schedule; it ends at 3 % of it."""
    weight_decay: float = 1e-4
    """Of Adam."""
    learn_mean: bool = True
    """Whether tasks are expected to share a mean, beside their features."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("window", "iterations", "batch"):
            expect_whole("ReadoutConfig", name, getattr(self, name))
        for name in ("learning_rate", "weight_decay"):
            expect_number("ReadoutConfig", name, getattr(self, name))
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(
                f"ReadoutConfig got learning_rate={self.learning_rate}, weight_decay={self.weight_decay}; expected a "
                "positive rate and a decay of at least 0."
            )


# Without constraints: a covariance as A Aᵀ and positive numbers as logarithms are valid after any step.
class _Fit(NamedTuple):
    features: Features
    factor: Float[Array, "d d"]
    mean: Float[Array, "d dy"]
    log_shape: Float[Array, ""]
    log_noise: Float[Array, " dy"]

    @property
    def noise(self) -> tuple[Array, Array]:
        """Shape (more than one, so that the noise has a mean) and rate of the inverse-gamma."""
        shape = 1.0 + jnp.exp(self.log_shape)
        return shape, shape * jnp.exp(2.0 * self.log_noise)


def train_readout_prior(
    trajectories: Sequence[Trajectory],
    *,
    x_norm: Normalizer,
    y_norm: Normalizer,
    width: int = 32,
    config: ReadoutConfig = ReadoutConfig(),
    key: Key,
    callback: Callable[[int, float], None] | None = None,
    checkpoint: TrainingFile | None = None,
    growing: tuple[int, ...] = (),
) -> ReadoutPrior:
    """Learn features and a belief about readouts that maximise the evidence of windows of the trajectories.

    Args:
        trajectories: segments of (x ``[time, dx]``, y ``[time, dy]``) in natural units, each of one task, or with
            switches that are rare; those shorter than a window are left out.
        x_norm: normaliser of the inputs.
        y_norm: normaliser of the targets.
        width: hidden units.
        config: sizes and rates.
        key: PRNG key; the same key and data give the same prior on the same machine.
        callback: called with the iterations done and the mean negative log evidence per point, a few times.
        checkpoint: file of the running training: it resumes from there if the file exists, and writes it now and then.
        growing: places of inputs that grow without bound, such as a time (`mole.readout.Features`).

    Returns:
        A prior with two beliefs: the broad one, and the learned one.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there are no trajectories, none has a whole window, or numbers are not finite.
        FloatingPointError: if the evidence is no longer finite.
    """
    expect_type("train_readout_prior", "config", config, ReadoutConfig)
    for name, norm in (("x_norm", x_norm), ("y_norm", y_norm)):
        expect_type("train_readout_prior", name, norm, Normalizer, "Normalizer.fit(values) measures one.")
    expect_key("train_readout_prior", key)
    expect_whole("train_readout_prior", "width", width)
    items = one_group("train_readout_prior", trajectories)
    data = window_data([[normalised(t, x_norm, y_norm) for t in items]], config.window)
    fit, state = _begun(config, x_norm.mean.shape[0], y_norm.mean.shape[0], width, growing, key)
    start = TrainingState(fit, state, best=(), best_loss=0.0, stale=0, done=0)
    about = {} if checkpoint is None else described(config, key, [items], [1.0], fit)
    with kept(checkpoint, start, about) as keeper:
        fit, first = keeper.state.fit, keeper.state
        work = _descent(first.fit, first.opt_state, data, key, config, first.done)
        for fit, opt_state, done, loss in work:
            if done % _CHUNK and done < config.iterations:
                continue
            if callback is not None:
                callback(done, loss)
            keeper.after(start._replace(fit=fit, opt_state=opt_state, done=done))
    # Beyond `count` the arrays of `window_data` are padding.
    return _finished(fit, data.x[:_SCALED_ON], jnp.int32(sum(len(t.x) for t in items)), x_norm, y_norm)


def readout_prior_in_slices(
    trajectories: Sequence[Trajectory],
    *,
    x_norm: Normalizer,
    y_norm: Normalizer,
    width: int,
    config: ReadoutConfig,
    key: Key,
    growing: tuple[int, ...],
    size: int,
) -> Generator[None, None, ReadoutPrior]:
    """`train_readout_prior` a few iterations at a time, for a stream that must not wait for it.

    Args:
        trajectories, x_norm, y_norm, width, config, key, growing: as of `train_readout_prior`, and checked.
        size: most pairs; the data are padded to the next power of two, so that programs are compiled once.
    """
    data = window_data(
        [[normalised(t, x_norm, y_norm) for t in trajectories]], config.window, 1 << (size - 1).bit_length()
    )
    fit, opt_state = _begun(config, x_norm.mean.shape[0], y_norm.mean.shape[0], width, growing, key)
    work = _descent(fit, opt_state, data, key, config, 0)
    for fit, *_ in work:  # noqa: B007  the last one is used
        yield
    count = jnp.int32(sum(len(t.x) for t in trajectories))
    return _finished(fit, data.x[:_SCALED_ON], count, x_norm, y_norm)


def compile_ahead(
    dx: int, dy: int, *, width: int, config: ReadoutConfig, growing: tuple[int, ...], size: int
) -> None:
    """Compile what `readout_prior_in_slices` runs for data of these sizes, so that no slice of it has to."""
    nothing = Trajectory(np.zeros((config.window, dx)), np.zeros((config.window, dy)))
    data = window_data([[nothing]], config.window, 1 << (size - 1).bit_length())
    fit, opt_state = _begun(config, dx, dy, width, growing, jax.random.key(0))
    for _ in _descent(fit, opt_state, data, jax.random.key(0), config, 0):
        break
    norms = (Normalizer(jnp.zeros((n,)), jnp.ones((n,))) for n in (dx, dy))
    _finished(fit, data.x[:_SCALED_ON], jnp.int32(config.window), *norms)


def slices_of(config: ReadoutConfig) -> int:
    """How often `readout_prior_in_slices` yields."""
    return -(-config.iterations // _CALL)


@eqx.filter_jit
def _begun(
    config: ReadoutConfig, dx: int, dy: int, width: int, growing: tuple[int, ...], key: Key
) -> tuple[_Fit, optax.OptState]:
    """What is trained, and the optimiser's state, before the first step."""
    features = Features(dx, width=width, key=key, growing=growing)
    scale = jnp.concatenate(
        [jnp.ones((1 + dx,)), jnp.full((width,), _SPREAD / np.sqrt(width, dtype=np.float32))]
    )
    fit = _Fit(
        features,
        jnp.diag(scale),
        jnp.zeros((features.size, dy)),
        jnp.log(jnp.float32(2.0)),
        jnp.full((dy,), jnp.log(jnp.float32(0.3))),
    )
    return fit, _optimiser(config).init(eqx.filter(fit, eqx.is_inexact_array))  # pyright: ignore[reportArgumentType]


def _descent(
    fit: _Fit, opt_state: optax.OptState, data: WindowData, key: Key, config: ReadoutConfig, done: int
) -> Iterator[tuple[_Fit, optax.OptState, int, float]]:
    """The fit, the optimiser's state, the iterations done and the loss after every few iterations.

    Raises:
        FloatingPointError: if the evidence is no longer finite.
    """
    while done < config.iterations:
        # The keys of a hundred iterations together, as when these were one call: the same windows are drawn.
        begun = done - done % _CHUNK
        keys = jax.random.split(jax.random.fold_in(key, begun + 1), min(_CHUNK, config.iterations - begun))
        losses = []
        for here in range(done - begun, len(keys), _CALL):
            fit, opt_state, found = _steps(fit, opt_state, data, keys[here : here + _CALL], config)
            losses.append(float(jnp.mean(found)))
            done = begun + min(here + _CALL, len(keys))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"training diverged at iteration {done}: the evidence is not finite. Lower learning_rate."
                )
            yield fit, opt_state, done, float(np.mean(losses))


def _optimiser(config: ReadoutConfig) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.iterations, 0.03)
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=config.weight_decay)
    )


def _loss(fit: _Fit, windows: Window) -> Array:
    """Negative log evidence per point and output, mean over windows."""
    shape, rate = fit.noise

    def one(x: Array, y: Array) -> Array:
        design = jax.vmap(fit.features)(x)
        return log_evidence(design, y - design @ fit.mean, fit.factor, shape, rate)

    return -jnp.mean(jax.vmap(one)(windows.x, windows.y)) / windows.y[0].size


@eqx.filter_jit
def _steps(
    fit: _Fit, state: optax.OptState, data: WindowData, keys: Array, config: ReadoutConfig
) -> tuple[_Fit, optax.OptState, Array]:
    optimiser = _optimiser(config)
    arrays, static = eqx.partition(fit, eqx.is_inexact_array)

    def step(carry: tuple[_Fit, optax.OptState], key: Array) -> tuple[tuple[_Fit, optax.OptState], Array]:
        arrays, state = carry
        x, y, *_ = sample_windows(data, key, config.batch, config.window, jnp.ones((1,)))
        loss, gradient = jax.value_and_grad(lambda a: _loss(eqx.combine(a, static), Window(x, y)))(arrays)
        if not config.learn_mean:
            gradient = eqx.tree_at(lambda g: g.mean, gradient, jnp.zeros_like(gradient.mean))
        # The scale of hidden units is set at the end (`_finished`). Its gradient must not count in the norm
        # that is clipped; its update is cleared below, since weight decay moves it without a gradient.
        gradient = eqx.tree_at(lambda g: g.features.scale, gradient, jnp.zeros_like(gradient.features.scale))
        updates, state = optimiser.update(gradient, state, arrays)  # pyright: ignore[reportArgumentType]
        updates = eqx.tree_at(lambda u: u.features.scale, updates, jnp.zeros_like(gradient.features.scale))
        return (eqx.apply_updates(arrays, updates), state), loss

    (arrays, state), losses = jax.lax.scan(step, (arrays, state), keys)
    return eqx.combine(arrays, static), state, losses


@eqx.filter_jit
def _finished(
    fit: _Fit, x: Array, count: Int[Array, ""], x_norm: Normalizer, y_norm: Normalizer
) -> ReadoutPrior:
    """The prior, with hidden units scaled to a spread of one on the data: the broad belief is about such units.

    Args:
        fit: what was trained.
        x: normalised inputs ``[n, dx]``, of which those from ``count`` on are padding.
        count: inputs that count.
        x_norm, y_norm: as of `train_readout_prior`.
    """
    hidden = jax.vmap(lambda one: fit.features(one)[1 + fit.features.in_size :])(x)
    # The spread of those that count: their number is no shape, or every length of a history would compile anew.
    there = (jnp.arange(len(x)) < count)[:, None]
    mean = jnp.mean(hidden, axis=0, where=there)
    spread = jnp.maximum(jnp.sqrt(jnp.mean((hidden - mean[None]) ** 2, axis=0, where=there)), 1e-3)
    features = eqx.tree_at(lambda f: f.scale, fit.features, spread)
    rescale = jnp.concatenate([jnp.ones((1 + features.in_size,)), spread])
    factor = rescale[:, None] * fit.factor
    shape, rate = fit.noise
    cov = factor @ factor.T
    # Rounding changes the product by up to its trace times the resolution of its dtype: a smaller ridge could
    # leave the covariance indefinite.
    ridge = jnp.maximum(1e-8, jnp.finfo(cov.dtype).eps * jnp.trace(cov))
    learned = Belief(rescale[:, None] * fit.mean, cov + ridge * jnp.eye(features.size), shape, rate)
    broad = broad_belief(features, y_norm.mean.shape[0], spread=_SPREAD)
    beliefs = jax.tree.map(lambda a, b: jnp.stack([a, b]), broad, learned)
    return ReadoutPrior(features, beliefs, x_norm=x_norm, y_norm=y_norm)
