"""Training a prior on recorded trajectories: meta-learned, or supervised on the same data as a baseline.

Both share one loop: normalise, hold out whole trajectories, draw windows, take Adam steps with a cosine schedule,
evaluate on the held-out windows before and after one inner step, keep the best fit, and stop early if asked to.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from mole._expect import expect_key, expect_number, expect_type, expect_whole
from mole._float32 import in_float32
from mole._types import Key, Model
from mole.learning.inner import InnerRate, LayerRate, Rank1Rate, ScalarRate
from mole.learning.likelihoods import Gaussian, Likelihood
from mole.learning.models import Normalizer
from mole.learning.prior import MetaPrior
from mole.meta.devices import expect_devices, on_default_device
from mole.meta.maml import (
    Descent,
    Fit,
    MetaObjective,
    PlainObjective,
    begin,
    cosine,
    descend,
    evaluate,
    judge,
)
from mole.meta.resume import TrainingFile, TrainingState, TrainProgress, described, kept, later, training_bar
from mole.meta.rollout import Dynamics, RolloutObjective, expect_dynamics
from mole.meta.tasks import (
    Groups,
    as_groups,
    as_weights,
    fit_normalizers,
    normalised,
    pairs_alone,
    sample_windows,
    split_trajectories,
    window_data,
)

__all__ = ["MetaConfig", "meta_train", "supervised_train"]

_CHUNK = 125  # iterations of one compiled call; a signal to stop waits for its end
_HELD_OUT_WINDOWS = 256  # drawn once, so that all evaluations of a training are on the same windows
_Form = Literal["scalar", "layer", "rank1"]


@dataclasses.dataclass(frozen=True)
class MetaConfig:
    """How a prior is trained. The defaults are those of the half-cheetah experiments."""

    window: int = 16
    """k, pairs of one inner step; windows of time have 2k."""
    rate: _Form = "rank1"
    """Form of the inner rates β."""
    initial_rate: float = 0.03
    """Initial value of every inner rate."""
    learn_rate: bool = True
    """Whether the inner rates are meta-learned."""
    first_order: bool = False
    """Drop the second derivatives (FOMAML)."""
    iterations: int = 6000
    """Meta-gradient steps."""
    batch: int = 32
    """Windows in one meta-gradient step."""
    learning_rate: float = 2e-3
    """Adam's rate at the start of its cosine schedule."""
    final_learning_rate: float = 1e-4
    """Adam's rate at the end."""
    rate_speed: float = 1.0
    """Adam's rate for the inner rates β, as a multiple of the one for θ."""
    clip_norm: float = 0.5
    """Largest global norm of a meta-gradient; contacts make rare huge ones that undo hundreds of others."""
    held_out: float = 0.1
    """Share of trajectories kept apart for evaluation."""
    evaluate_every: int = 500
    """Iterations between evaluations on held-out windows."""
    patience: int | None = None
    """Stop after this many evaluations without improvement; None never stops early."""
    rollout: int = later(0)
    """Steps that the adapted model is rolled along recorded actions (`mole.meta.rollout`); 0 is the one-step loss
    alone. Needs recorded transitions."""
    rollout_mix: float = later(0.8)
    """Share of the loss over the roll-outs in the whole loss; the rest is that of one step."""
    devices: int | None = later(None)
    """Devices of JAX that share the windows of a batch; the default one alone if None. Results agree up to rounding."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("window", "iterations", "batch", "evaluate_every"):
            expect_whole("MetaConfig", name, getattr(self, name))
        for name in ("initial_rate", "learning_rate", "final_learning_rate", "clip_norm", "rate_speed"):
            expect_number("MetaConfig", name, getattr(self, name), low=0.0)
        for name in ("learn_rate", "first_order"):
            expect_type("MetaConfig", name, getattr(self, name), bool)
        if self.patience is not None:
            expect_whole("MetaConfig", "patience", self.patience, remedy="None never stops early.")
        expect_number("MetaConfig", "held_out", self.held_out)
        if self.rate not in get_args(_Form):
            raise ValueError(
                f"MetaConfig got rate={self.rate!r}; expected one of {', '.join(get_args(_Form))}."
            )
        expect_whole("MetaConfig", "rollout", self.rollout, 0, "0 is the one-step loss alone.")
        expect_number("MetaConfig", "rollout_mix", self.rollout_mix, above=0.0, high=1.0, remedy="A share.")
        # From the first observation of the query half on, that is as far as a window goes.
        if self.rollout > self.window:
            raise ValueError(
                f"MetaConfig got rollout={self.rollout} with window={self.window}; expected at most k steps."
            )
        if self.devices is not None:
            expect_devices(self.devices, self.batch)
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"MetaConfig got held_out={self.held_out}; expected a share between 0 and 1.")


@in_float32
def meta_train(
    model: Model,
    trajectories: Groups,
    *,
    config: MetaConfig = MetaConfig(),
    key: Key,
    likelihood: Likelihood | None = None,
    group_weights: Sequence[float] | None = None,
    rate: InnerRate | None = None,
    dynamics: Dynamics | None = None,
    callback: Callable[[TrainProgress], None] | None = None,
    progress: bool = False,
    checkpoint: TrainingFile | None = None,
) -> MetaPrior:
    """Meta-train θ* and its inner rates on windows of time (MOLe, section 4.1; `mole.meta.maml`).

    Args:
        model: the network to start from (fresh, or the model of an earlier prior).
        trajectories: recorded segments of (x ``[time, dx]``, y ``[time, dy]``) in natural units, or several groups
            of them. Windows never cross a trajectory's end. With ``config.rollout`` they must be `mole.meta.Motion`,
            with the observations and actions.
        config: sizes and rates.
        key: PRNG key; the same key and data give the same prior on the same machine.
        likelihood: meaning of the output; a unit Gaussian if not given.
        group_weights: share of windows drawn from each group; equal if not given.
        rate: inner rates to start from (those of an earlier prior) instead of ``config``'s.
        dynamics: how a pair is made of a transition, for ``config.rollout``; a `mole.envs.DynamicsSpec` is one.
        callback: called after every evaluation with a `TrainProgress`.
        progress: show a progress bar with the held-out loss before and after adaptation.
        checkpoint: file of the running training: it resumes from there if the file exists, and writes it now and then.
            The caller removes the file once the prior is saved. With it, Ctrl-C and SIGTERM wait for some iterations.

    Returns:
        The prior with the best held-out loss after adaptation, its normalisers and its measured residual scale.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there are no trajectories, they are too short, they hold numbers that are not finite, the
            group weights do not fit the groups, or ``config.rollout`` is asked for where nothing can be rolled.
        FloatingPointError: if the held-out loss is no longer finite.
    """
    expect_type("meta_train", "config", config, MetaConfig)
    likelihood = Gaussian() if likelihood is None else likelihood
    if rate is None:
        form = {"layer": LayerRate, "rank1": Rank1Rate}.get(config.rate)
        rate = ScalarRate(config.initial_rate) if form is None else form(model, config.initial_rate)
    groups = as_groups(trajectories)
    norms = fit_normalizers([t for group in groups for t in group], likelihood)
    objective: Any = MetaObjective(likelihood, config.learn_rate, config.first_order)
    if config.rollout:
        checked = expect_dynamics(dynamics, groups[0], likelihood, config.rollout)
        objective = RolloutObjective(objective, *norms, checked, config.rollout, config.rollout_mix)
    else:
        groups = pairs_alone(groups)
    fit = Fit(model, rate)
    return _train(fit, objective, groups, norms, config, key, likelihood, group_weights, callback, progress,
                  checkpoint)  # fmt: skip


@in_float32
def supervised_train(
    model: Model,
    trajectories: Groups,
    *,
    config: MetaConfig = MetaConfig(),
    key: Key,
    likelihood: Likelihood | None = None,
    group_weights: Sequence[float] | None = None,
    callback: Callable[[TrainProgress], None] | None = None,
    progress: bool = False,
    checkpoint: TrainingFile | None = None,
) -> MetaPrior:
    """Train the same network on the same windows with the plain loss and no inner step (the paper's baseline).

    Arguments, result and errors as in `meta_train`. The inner rate of the result is ``config.initial_rate`` for all
    parameters. It is not learned: tune it (``step_scale``) for a learner that steps this prior online. Roll-outs are of
    the meta-loss: ``config.rollout`` must be 0.
    """
    expect_type("supervised_train", "config", config, MetaConfig)
    if config.rollout:
        raise ValueError(
            f"supervised_train got rollout={config.rollout}; expected 0, since it has no adapted model to roll."
        )
    likelihood = Gaussian() if likelihood is None else likelihood
    fit = Fit(model, ScalarRate(config.initial_rate))
    objective = PlainObjective(likelihood)
    groups = pairs_alone(as_groups(trajectories))
    norms = fit_normalizers([t for group in groups for t in group], likelihood)
    return _train(fit, objective, groups, norms, config, key, likelihood, group_weights, callback, progress,
                  checkpoint)  # fmt: skip


def _train(
    fit: Fit,
    objective: MetaObjective | RolloutObjective | PlainObjective,
    groups: Sequence[Sequence[Any]],
    norms: tuple[Normalizer, Normalizer],
    config: MetaConfig,
    key: Key,
    likelihood: Likelihood,
    group_weights: Sequence[float] | None,
    callback: Callable[[TrainProgress], None] | None,
    progress: bool,
    checkpoint: TrainingFile | None,
) -> MetaPrior:
    expect_key("training", key)
    x_norm, y_norm = norms
    # The seed is fixed, so that trainings with other keys are judged on the same trajectories.
    splits = [split_trajectories(group, config.held_out, seed=0) for group in groups]
    length = 2 * config.window
    # By the statistics of all data, since the prior takes these normalisers online.
    parts = [[[normalised(t, x_norm, y_norm) for t in split[part]] for split in splits] for part in range(2)]
    train, held = window_data(parts[0], length), window_data(parts[1], length, what="held-out")
    weights = jnp.asarray(as_weights(group_weights, len(groups)))
    key, held_key = jax.random.split(key)
    held_windows = sample_windows(held, held_key, _HELD_OUT_WINDOWS, length, weights)

    descent = Descent(config.batch, length, config.clip_norm, config.rate_speed, config.devices)
    learning_rates = cosine(config.learning_rate, config.final_learning_rate, config.iterations)
    opt_state, adapts = begin(descent, fit), not isinstance(objective, PlainObjective)

    started, start = time.monotonic(), TrainingState(fit, opt_state, fit, np.inf, 0, 0)
    # Computed for a file alone: the checksum reads all data.
    about = {} if checkpoint is None else described(config, key, groups, weights, fit)
    with training_bar(config.iterations, enabled=progress) as bar, kept(checkpoint, start, about) as keeper:
        fit, opt_state, best, best_loss, stale, done = keeper.state
        bar.advance(done)
        while done < config.iterations:
            until = min(config.iterations, (done // config.evaluate_every + 1) * config.evaluate_every)
            while done < until:
                steps = min(_CHUNK, until - done)
                # Keys by the iteration: a training that goes on draws the same batches as one that never stopped.
                keys = jax.random.split(jax.random.fold_in(key, done), steps)
                rates = jnp.asarray(learning_rates[done : done + steps])
                fit, opt_state = descend(objective, descent, fit, opt_state, train, weights, keys, rates)
                done += steps
                bar.advance(steps)
                # The last chunk before an evaluation is saved after it, with the result of the evaluation.
                if done < until:
                    keeper.after(TrainingState(fit, opt_state, best, best_loss, stale, done))
            before, after, _ = evaluate(fit, likelihood, held_windows, adapts)
            # What is minimised is what the fits are judged by: after adaptation, over one step or over several.
            rolls = isinstance(objective, RolloutObjective)
            loss = float(judge(objective, fit, held_windows) if rolls else after)
            event = TrainProgress(
                done, config.iterations, float(before), float(after), time.monotonic() - started,
                loss if rolls else None,
            )  # fmt: skip
            # Raised at once: parameters that are not finite stay so, however long the training goes on.
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"training diverged at iteration {done}: the held-out loss is {loss}; expected a "
                    "finite number. Lower learning_rate or initial_rate."
                )
            bar.show(event)
            if callback is not None:
                callback(event)
            best, best_loss, stale = (fit, loss, 0) if loss < best_loss else (best, best_loss, stale + 1)
            if config.patience is not None and stale >= config.patience:
                break
            keeper.after(TrainingState(fit, opt_state, best, best_loss, stale, done))
    best = on_default_device(best)
    _, _, residual = evaluate(best, likelihood, held_windows, adapts)
    return MetaPrior(
        best.model,
        inner_rate=best.rate,
        window=config.window,
        x_norm=x_norm,
        y_norm=y_norm,
        likelihood=likelihood,
        # Online it divides prediction errors: a target that never varies must not make it zero.
        residual_scale=jnp.maximum(residual, 1e-4),
    )
