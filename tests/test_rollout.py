"""The meta-loss over several steps: against a NumPy roll-out with built weights, finite differences, and without it."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from helpers import as_double, tiny_mlp, uneven_rate
from mole._types import Motion, MotionWindow, Trajectory
from mole.datasets.transitions import Segment, to_motions, to_trajectories
from mole.envs.spec import DynamicsSpec
from mole.learning.inner import adapt
from mole.learning.likelihoods import Categorical, Gaussian
from mole.learning.models import MLP, Normalizer
from mole.meta import MetaConfig, meta_train, supervised_train
from mole.meta.maml import Fit, MetaObjective
from mole.meta.rollout import RolloutObjective

K, STEPS, BATCH = 4, 3, 2
# A wheel: angle, speed and distance. The input has the sine and cosine of the angle and no distance, and the target is
# in other units than the observation, so that a mistake in the composition shows.
SPEC = DynamicsSpec(
    obs_dim=3,
    act_dim=1,
    feature_dim=4,
    delta_dim=3,
    features=lambda o, a: jnp.concatenate([jnp.stack([jnp.sin(o[0]), jnp.cos(o[0]), o[1]]), a]),
    delta=lambda o, n: (n - o) * jnp.array([10.0, 2.0, 1.0]),
    apply_delta=lambda o, y: o + y / jnp.array([10.0, 2.0, 1.0]),
    reward=lambda o, a, n: n[2],
)
X_NORM = Normalizer(jnp.array([0.1, -0.2, 0.3, 0.0]), jnp.array([0.5, 0.7, 2.0, 1.5]))
Y_NORM = Normalizer(jnp.array([0.2, 0.0, -0.1]), jnp.array([3.0, 0.5, 0.2]))
SCALE = np.array([10.0, 2.0, 1.0])


def segment(rng, steps):
    obs, actions = [rng.normal(size=3)], rng.normal(size=(steps, 1))
    for action in actions:
        angle, speed, way = obs[-1]
        speed = 0.8 * speed + 0.5 * action[0] * np.cos(angle)
        obs.append(np.array([angle + 0.3 * speed, speed, way + 0.1 * speed]))
    return Segment(np.array(obs, np.float32), actions.astype(np.float32))


def motions(seed=0, lengths=(30,)):
    rng = np.random.default_rng(seed)
    return to_motions([segment(rng, n) for n in lengths], SPEC, shortest=2 * K)


def batch(reset=False):
    """Windows ``[BATCH, 2K]``; with ``reset`` an episode ends after the second transition of the query half."""
    parts = [
        Motion(*(part[: 2 * K] for part in motions(seed, (K + 2, 30) if reset else (30,))[0]))
        for seed in range(BATCH)
    ]
    stacked = MotionWindow(*(jnp.stack(part) for part in zip(*parts, strict=True)))
    return stacked._replace(x=jax.vmap(jax.vmap(X_NORM))(stacked.x), y=jax.vmap(jax.vmap(Y_NORM))(stacked.y))


def objective(likelihood=None, mix=0.8, steps=STEPS, first_order=False):
    inner = MetaObjective(likelihood or Gaussian(), True, first_order)
    return RolloutObjective(inner, X_NORM, Y_NORM, SPEC, steps, mix)


def fit_of(likelihood=None, kind="rank1"):
    model = tiny_mlp(jax.random.key(0), 4, 3, width=5, likelihood=likelihood or Gaussian())
    return Fit(model, uneven_rate(kind, model, jax.random.key(1), 0.1))


def in_numpy(fit, likelihood, windows, mix, steps):
    """The definition, one number after another, with adapted weights that are built."""
    total = 0.0
    for i in range(windows.x.shape[0]):
        x, y, obs, actions, following = (np.asarray(part[i], np.float64) for part in windows)
        adapted = adapt(*fit, likelihood, windows.x[i, :K], windows.y[i, :K])
        layers = [
            (np.asarray(one.weight, np.float64), np.asarray(one.bias, np.float64)) for one in adapted.layers
        ]

        def output(row, layers=layers):
            for weight, bias in layers[:-1]:
                row = np.tanh(row @ weight + bias)
            return row @ layers[-1][0] + layers[-1][1]

        one_step = np.mean(
            [
                float(likelihood.loss(jnp.asarray(output(a)), jnp.asarray(b)))
                for a, b in zip(x[K:], y[K:], strict=True)
            ]
        )
        losses = np.zeros(steps)
        starts = K - steps + 1
        for start in range(K, K + starts):
            state = obs[start]
            for h in range(steps):
                t = start + h
                features = np.array([np.sin(state[0]), np.cos(state[0]), state[1], actions[t, 0]])
                out = output((features - X_NORM.mean) / X_NORM.std)[:3]
                predicted = state + (out * Y_NORM.std + Y_NORM.mean) / SCALE
                error = (predicted - following[t]) * SCALE / np.asarray(Y_NORM.std)
                losses[h] += np.mean(2 * (np.sqrt(1 + error**2) - 1)) / starts
                ended = t + 1 < 2 * K and (following[t] != obs[t + 1]).any()
                state = obs[t + 1] if ended else predicted
        weights = 1 / (1 + np.arange(steps))
        total += (1 - mix) * one_step + mix * (losses @ weights) / weights.sum()
    return total / windows.x.shape[0]


@pytest.mark.parametrize(
    ("kind", "likelihood", "mix", "steps", "reset"),
    [
        ("rank1", Gaussian(), 0.8, STEPS, False),
        ("scalar", Gaussian(learned_scale=True), 0.5, STEPS, False),
        ("layer", Gaussian(), 1.0, K, True),
        ("rank1", Gaussian(), 1.0, 1, False),
    ],
)
def test_the_loss_is_that_of_a_numpy_roll_out_with_built_weights(kind, likelihood, mix, steps, reset):
    fit, windows = fit_of(likelihood, kind), batch(reset)
    if reset:
        assert (windows.next_obs[:, K + 1] != windows.obs[:, K + 2]).any(axis=1).all()
    expected = in_numpy(fit, likelihood, windows, mix, steps)
    np.testing.assert_allclose(
        eqx.filter_jit(objective(likelihood, mix, steps))(fit, windows), expected, rtol=2e-5
    )


class Other(eqx.Module):
    """Computes what its MLP does, and is none: the adapted weights are built."""

    inner: MLP

    def __call__(self, x):
        return self.inner(x)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_fast_path_has_the_value_and_gradient_of_built_weights(first_order):
    fit, windows = fit_of(kind="scalar"), batch()
    with jax.enable_x64(True):
        made, fit, windows = as_double((objective(first_order=first_order), fit, windows))
        grad = eqx.filter_jit(eqx.filter_value_and_grad(lambda f: made(f, windows)))
        value, slope = grad(fit)
        plain, built = grad(Fit(Other(fit.model), fit.rate))
        np.testing.assert_allclose(value, plain, rtol=1e-10)
        np.testing.assert_allclose(ravel_pytree(slope)[0], ravel_pytree(built)[0], rtol=1e-8, atol=1e-10)


def test_the_gradient_is_that_of_finite_differences():
    fit, windows = fit_of(), batch(reset=True)
    with jax.enable_x64(True):
        made, fit, windows = as_double((objective(), fit, windows))
        flat, restore = ravel_pytree(fit)
        value = jax.jit(lambda f: made(restore(f), windows))
        gradient = np.asarray(jax.jit(jax.grad(value))(flat))
        difference = np.array([(value(flat + s) - value(flat - s)) / 2e-5 for s in 1e-5 * np.eye(flat.size)])
    assert np.abs(gradient).max() > 0.05
    np.testing.assert_allclose(gradient, difference, rtol=1e-6, atol=1e-8)


TINY = MetaConfig(window=K, iterations=6, batch=4, evaluate_every=3, held_out=0.3)


def trained(data, **options):
    config = dataclasses.replace(TINY, **{k: options.pop(k) for k in ("rollout",) if k in options})
    model = MLP(4, 3, width=5, depth=1, key=jax.random.key(0))
    return meta_train(model, data, config=config, key=jax.random.key(1), **options)


def bits(prior):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(eqx.filter(prior, eqx.is_array))]


def test_without_roll_outs_transitions_change_nothing_and_with_them_the_prior():
    rng = np.random.default_rng(5)
    segments = [segment(rng, 20) for _ in range(4)]
    pairs, moving = to_trajectories(segments, SPEC), to_motions(segments, SPEC)
    assert bits(trained(pairs)) == bits(trained(moving, dynamics=SPEC))
    events = []
    rolled = trained(moving, dynamics=SPEC, rollout=2, callback=events.append)
    assert bits(rolled) != bits(trained(pairs))
    assert all(np.isfinite(event.loss_rolled) for event in events) and len(events) == 2
    assert (np.asarray(rolled.residual_scale) > 0).all()


def test_to_motions_keeps_the_transitions_of_the_pairs():
    rng = np.random.default_rng(6)
    segments = [segment(rng, n) for n in (3, 5, 9)]
    moving, pairs = to_motions(segments, SPEC, shortest=8), to_trajectories(segments, SPEC, shortest=8)
    assert [len(t.x) for t in moving] == [8, 9]
    for one, other in zip(moving, pairs, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.y, other.y)
        np.testing.assert_allclose(jax.vmap(SPEC.features)(one.obs, one.actions), one.x, rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(SPEC.delta)(one.obs, one.next_obs), one.y, rtol=1e-5, atol=1e-6)
    joined = (moving[0].next_obs[:-1] == moving[0].obs[1:]).all(axis=1)
    assert joined.tolist() == [True, True, False, True, True, True, True]


def test_where_nothing_can_be_rolled_it_is_refused():
    data = motions()
    pairs = [Trajectory(t.x, t.y) for t in data]
    with pytest.raises(ValueError, match=r"rollout=2 without dynamics; expected dynamics=DynamicsSpec"):
        trained(data, rollout=2)
    with pytest.raises(
        ValueError, match=r"without observations in the trajectories.*A plain stream has no state"
    ):
        trained(pairs, rollout=2, dynamics=SPEC)
    with pytest.raises(ValueError, match=r"rollout=2 for classes"):
        trained(data, rollout=2, dynamics=SPEC, likelihood=Categorical())
    with pytest.raises(ValueError, match=r"rollout=5 with window=4; expected at most k"):
        dataclasses.replace(TINY, rollout=5)
    with pytest.raises(ValueError, match=r"rollout_mix"):
        dataclasses.replace(TINY, rollout_mix=1.5)
    with pytest.raises(ValueError, match=r"supervised_train got rollout=2"):
        supervised_train(
            MLP(4, 3, width=5, depth=1, key=jax.random.key(0)), data,
            config=dataclasses.replace(TINY, rollout=2), key=jax.random.key(1),
        )  # fmt: skip
