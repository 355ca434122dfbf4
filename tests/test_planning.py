"""The contract that every planner keeps, the shared rollout, and what each does with its candidates."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mole.planning import CEM, MPPI, PlannerState, RandomShooting, rollout, rollout_trajectory
from mole.planning.base import coloured_noise


@pytest.fixture(autouse=True, scope="module")
def strict():
    with jax.numpy_rank_promotion("raise"), jax.enable_x64(False):
        yield


LOW, HIGH = np.array([-1.0, 0.5]), np.array([2.0, 0.75])
OBS = jnp.array([0.3, -0.7, 1.1, 0.0])
SIZE = {"samples": 20, "horizon": 4}
OPTIONS = {
    "elites": 0.2,
    "keep_elites": 2,
    "smoothing": 0.1,
    "min_std": 0.01,
    "noise_correlation": 0.5,
    "execute": "best",
    "include_mean": False,
    "tail": "middle",
}
PLANNERS = {
    "shooting": RandomShooting(LOW, HIGH, **SIZE),
    "shooting, warm": RandomShooting(LOW, HIGH, warm_start=True, **SIZE),
    "cem": CEM(LOW, HIGH, elites=5, **SIZE),
    "cem, all options": CEM(LOW, HIGH, **OPTIONS, **SIZE),
    "mppi": MPPI(LOW, HIGH, **SIZE),
    "mppi, unnormalised": MPPI(LOW, HIGH, normalize=False, noise_correlation=0.5, **SIZE),
}
every_planner = pytest.mark.parametrize("planner", PLANNERS.values(), ids=PLANNERS)
TRACES = []


class Net(eqx.Module):
    """Three numbers that move and a fourth that stays: the poison of `reward`."""

    layer: eqx.nn.Linear

    def __init__(self, key):
        self.layer = eqx.nn.Linear(5, 3, key=key)

    def __call__(self, obs, action):
        TRACES.append(None)
        moved = obs[:3] + jnp.tanh(self.layer(jnp.concatenate([obs[:3], action])))
        return jnp.concatenate([moved, obs[3:]])


def reward(obs, action, following):
    value = following[0] - obs[0] - 0.1 * jnp.sum(jnp.square(action)) + 0.2 * following[1] * action[0]
    return value + jnp.where((obs[3] != 0.0) & (action[0] > 1.0), obs[3], 0.0)


MODEL = Net(jax.random.key(42))


def types(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


def within(plan):
    plan = np.asarray(plan)
    return np.all(plan >= LOW.astype(np.float32)) and np.all(plan <= HIGH.astype(np.float32))


@every_planner
def test_state_is_a_fixed_point_and_stays_within_bounds(planner):
    state = planner.init()
    np.testing.assert_array_equal(state.mean, np.tile((LOW + HIGH) / 2, (4, 1)).astype(np.float32))
    for i in range(3):
        new, action = planner.plan(state, MODEL, reward, OBS, jax.random.key(i))
        assert types(new) == types(state)
        assert action.shape == (2,) and action.dtype == jnp.float32 and not action.weak_type
        assert within(new.mean) and within(action) and new.failed == 0
        state = new


@every_planner
def test_same_key_same_action_other_key_other_action(planner):
    first, again, other = (
        planner.plan(planner.init(), MODEL, reward, OBS, jax.random.key(seed)) for seed in (0, 0, 1)
    )
    assert eqx.tree_equal(first, again)
    assert not np.array_equal(first[1], other[1])


@every_planner
def test_second_call_does_not_retrace(planner):
    """New states, parameters, observations and keys are data: the model is traced in the first call only."""
    state, _ = planner.plan(planner.init(), Net(jax.random.key(0)), reward, OBS, jax.random.key(0))
    traced = len(TRACES)
    assert traced > 0
    for i in range(1, 3):
        state, _ = planner.plan(state, Net(jax.random.key(i)), reward, i * OBS, jax.random.key(i))
    assert len(TRACES) == traced


@pytest.mark.parametrize("name", ["shooting", "cem", "mppi"])
@pytest.mark.parametrize("model_axis", [None, 0])
def test_vmap_equals_one_at_a_time(name, model_axis):
    planner, batch = PLANNERS[name], 3
    keys = jax.random.split(jax.random.key(3), batch)
    obs = jax.random.normal(jax.random.key(4), (batch, 4))
    models = [MODEL] * batch if model_axis is None else [Net(jax.random.key(i)) for i in range(batch)]
    stacked = (
        MODEL
        if model_axis is None
        else eqx.filter_vmap(Net)(jnp.stack([jax.random.key(i) for i in range(3)]))
    )
    axis = None if model_axis is None else eqx.if_array(model_axis)
    plan = eqx.filter_vmap(
        lambda state, model, obs, key: planner.plan(state, model, reward, obs, key), in_axes=(0, axis, 0, 0)
    )
    singles = [planner.init()] * batch
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *singles)
    for _ in range(2):
        states, actions = plan(states, stacked, obs, keys)
        results = [planner.plan(*args) for args in zip(singles, models, [reward] * 3, obs, keys, strict=True)]
        singles = [result[0] for result in results]
        np.testing.assert_allclose(actions, np.stack([r[1] for r in results]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(states.mean, np.stack([s.mean for s in singles]), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(states.failed, np.zeros(3, np.int32))


@every_planner
def test_without_any_finite_return_the_warm_start_acts(planner):
    before = jnp.linspace(0.5, 0.7, 8).reshape(4, 2)
    state = PlannerState(before, jnp.array(5, jnp.int32))
    new, action = planner.plan(state, MODEL, reward, OBS.at[0].set(jnp.nan), jax.random.key(0))
    last = (LOW + HIGH) / 2 if planner.tail == "middle" else before[-1]
    np.testing.assert_allclose(new.mean, np.concatenate([before[1:], np.array(last)[None]]), rtol=1e-6)
    np.testing.assert_array_equal(action, before[1])
    assert new.failed == 6 and types(new) == types(state)
    recovered, _ = planner.plan(new, MODEL, reward, OBS, jax.random.key(1))
    assert recovered.failed == 6


@every_planner
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_candidates_without_finite_return_never_win(planner, bad):
    """Plans that start with a large first action fail; the action taken is one that did not."""
    state = planner.init()
    for i in range(4):
        state, action = planner.plan(state, MODEL, reward, OBS.at[3].set(bad), jax.random.key(i))
        assert state.failed == 0
        assert within(state.mean) and action[0] <= 1.0


@every_planner
def test_the_warm_start_is_the_plan_one_step_later(planner):
    plan = jnp.linspace(0.5, 0.7, 8).reshape(4, 2)
    warm = planner._shift(plan)
    np.testing.assert_array_equal(warm[:3], plan[1:])
    expected = (LOW + HIGH) / 2 if planner.tail == "middle" else plan[3]
    np.testing.assert_allclose(warm[3], expected, rtol=1e-6)


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.3])
def test_rollout_against_a_loop(discount):
    plans = jax.random.uniform(jax.random.key(1), (6, 5, 2), minval=-1.0, maxval=1.0)
    W, b = (np.asarray(p, np.float64) for p in (MODEL.layer.weight, MODEL.layer.bias))
    expected, paths = [], []
    for plan in np.asarray(plans, np.float64):
        x, total, path = np.asarray(OBS, np.float64), 0.0, [np.asarray(OBS)]
        for h, u in enumerate(plan):
            y = x + np.append(np.tanh(W @ np.concatenate([x[:3], u]) + b), 0.0)
            total += discount**h * (y[0] - x[0] - 0.1 * (u @ u) + 0.2 * y[1] * u[0])
            x = y
            path.append(x)
        expected.append(total)
        paths.append(path)
    np.testing.assert_allclose(rollout(MODEL, reward, OBS, plans, discount), expected, rtol=1e-5, atol=1e-5)
    for plan, path in zip(plans, paths, strict=True):
        np.testing.assert_allclose(rollout_trajectory(MODEL, OBS, plan), path, rtol=1e-5, atol=1e-5)


def test_discount_changes_the_choice():
    """Action 0 now costs 1 and pays 2 next step: worth it at discount 1, not at 0.1."""

    def model(obs, action):
        return action[:1]  # the next state remembers the action

    def pays_later(obs, action, following):
        return 2.0 * obs[0] - action[0]

    for discount, best in ((1.0, 1.0), (0.1, 0.0)):
        planner = CEM([0.0], [1.0], samples=100, iterations=6, horizon=2, discount=discount)
        _, action = planner.plan(planner.init(), model, pays_later, jnp.zeros(1), jax.random.key(0))
        assert action[0] == pytest.approx(best, abs=0.02)


def test_random_shooting_takes_the_best_of_uniform_candidates():
    planner = RandomShooting(LOW, HIGH, samples=4000, horizon=3)
    noise = planner.draw(jax.random.key(0))
    plans = planner.clip(planner.sample(planner.begin(planner.init().mean), noise[0]))
    unit = (np.asarray(plans) - LOW) / (HIGH - LOW)
    np.testing.assert_allclose(unit.mean((0, 1)), 0.5, atol=0.02)
    np.testing.assert_allclose(unit.std((0, 1)), 12**-0.5, atol=0.02)
    state, action = planner.plan(planner.init(), MODEL, reward, OBS, jax.random.key(0))
    best = plans[np.argmax(rollout(MODEL, reward, OBS, plans, 1.0))]
    np.testing.assert_array_equal(state.mean, best)
    np.testing.assert_array_equal(action, best[0])


def test_random_shooting_with_a_warm_start_never_gets_worse():
    """The same plan is a candidate again, so the return of a constant problem cannot fall."""

    def hold(obs, action):
        return obs

    def closeness(obs, action, following):
        return -jnp.sum(jnp.square(action - 0.6))

    planner = RandomShooting(LOW, HIGH, warm_start=True, samples=5, horizon=1)
    state, values = planner.init(), []
    for i in range(10):
        state, action = planner.plan(state, hold, closeness, OBS, jax.random.key(i))
        values.append(float(closeness(OBS, action, OBS)))
    assert values == sorted(values) and values[-1] > values[0]


def test_cem_refits_to_the_finite_elites_alone():
    planner = CEM([-9.0], [9.0], samples=4, elites=3, horizon=1, smoothing=0.25)
    search = planner.begin(jnp.array([[1.0]]))
    plans = jnp.array([2.0, 4.0, 5.0, 6.0]).reshape(4, 1, 1)
    new = planner.update(search, plans, jnp.array([1.0, 3.0, -jnp.inf, -jnp.inf]))
    assert new.mean[0, 0] == pytest.approx(0.25 * 1.0 + 0.75 * 3.0)
    assert new.std[0, 0] == pytest.approx(0.25 * 4.5 + 0.75 * 1.0)  # init_std is a quarter of 18
    assert new.best[0, 0] == 4.0 and new.best_return == 3.0
    full = planner.update(search, plans, jnp.array([1.0, 3.0, 2.0, 0.0]))
    assert full.mean[0, 0] == pytest.approx(0.25 * 1.0 + 0.75 * 11.0 / 3.0)


def test_cem_keeps_its_best_plans_between_iterations():
    planner = CEM([-9.0], [9.0], samples=3, elites=2, horizon=1, keep_elites=1, min_std=0.1)
    search = planner.update(
        planner.begin(jnp.zeros((1, 1))),
        jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1),
        jnp.array([5.0, 9.0, 7.0]),
    )
    assert search.kept[0, 0, 0] == 2.0 and search.kept_returns[0] == 9.0
    after = planner.update(search, jnp.array([7.0, 6.0, 5.0]).reshape(3, 1, 1), jnp.array([1.0, 8.0, 2.0]))
    assert after.mean[0, 0] == pytest.approx(4.0)  # the kept 2 (return 9) and the new 6 (return 8)
    again = planner.update(search, jnp.full((3, 1, 1), 2.0), jnp.full(3, 9.0))
    assert again.std[0, 0] == pytest.approx(1.8)  # all the same: min_std of the range 18


def test_cem_executes_the_mean_or_the_best():
    mean = PLANNERS["cem"]
    best = CEM(LOW, HIGH, elites=5, execute="best", **SIZE)
    (state, action), (state_, action_) = (
        p.plan(p.init(), MODEL, reward, OBS, jax.random.key(0)) for p in (mean, best)
    )
    np.testing.assert_array_equal(state.mean, state_.mean)
    np.testing.assert_array_equal(action, state.mean[0])
    assert not np.array_equal(action, action_)


def test_the_mean_is_a_candidate_of_cem():
    planner = PLANNERS["cem"]
    mean = jnp.full((4, 2), 0.6)
    plans = planner.sample(planner.begin(mean), planner.draw(jax.random.key(0))[0])
    np.testing.assert_array_equal(plans[0], mean)
    assert not np.array_equal(plans[1], mean)


@pytest.mark.parametrize(("normalize", "scale"), [(False, 0.5), (True, 0.5 * np.std([1.0, 3.0, 2.0]))])
def test_mppi_is_a_softmax_of_finite_returns(normalize, scale):
    planner = MPPI([-9.0], [9.0], samples=4, horizon=1, temperature=0.5, normalize=normalize)
    plans = jnp.array([2.0, 4.0, 5.0, 6.0]).reshape(4, 1, 1)
    new = planner.update(planner.begin(jnp.zeros((1, 1))), plans, jnp.array([1.0, 3.0, 2.0, -jnp.inf]))
    weights = np.exp(np.array([1.0, 3.0, 2.0]) / scale)
    assert new.mean[0, 0] == pytest.approx(weights @ [2.0, 4.0, 5.0] / weights.sum(), rel=1e-5)
    same = planner.update(planner.begin(jnp.zeros((1, 1))), plans, jnp.full(4, 7.0))
    assert same.mean[0, 0] == pytest.approx(17.0 / 4.0)


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.9])
def test_noise_has_unit_variance_and_the_correlation_asked_for(rho):
    noise = np.asarray(coloured_noise(jax.random.key(0), (2, 10_000, 5, 3), rho))
    assert noise.shape == (2, 10_000, 5, 3)
    np.testing.assert_allclose(noise.std(1), 1.0, atol=0.04)
    for lag in (1, 2):
        np.testing.assert_allclose((noise[:, :, lag:] * noise[:, :, :-lag]).mean(1), rho**lag, atol=0.06)
    np.testing.assert_allclose((noise[0] * noise[1]).mean(0), 0.0, atol=0.06)
    np.testing.assert_allclose((noise[..., 0] * noise[..., 1]).mean(1), 0.0, atol=0.06)
