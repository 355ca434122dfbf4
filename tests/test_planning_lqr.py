"""Planners against linear-quadratic problems, whose optimum the Riccati recursion gives exactly."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mole.planning import CEM, MPPI, Planner, RandomShooting, rollout, rollout_trajectory


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.enable_x64(False):
        yield


class Linear(eqx.Module):
    A: jax.Array
    B: jax.Array

    def __call__(self, obs, action):
        return self.A @ obs + self.B @ action


class Quadratic(NamedTuple):
    """Minimise the sum of ``x' Q x`` over the states reached plus ``u' R u``, with ``x' = A x + B u``."""

    A: np.ndarray
    B: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    x0: np.ndarray

    @property
    def model(self) -> Linear:
        return Linear(jnp.asarray(self.A, jnp.float32), jnp.asarray(self.B, jnp.float32))

    def reward(self):
        Q, R = jnp.asarray(self.Q, jnp.float32), jnp.asarray(self.R, jnp.float32)
        return lambda obs, action, following: -(following @ Q @ following) - action @ R @ action

    def riccati(self, horizon: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Optimal gains (u = -K x, first step first) and the cost-to-go matrix at the first step."""
        P = np.zeros_like(self.Q)
        gains = []
        for _ in range(horizon):
            S = self.Q + P  # the cost of the state reached, now and later
            K = np.linalg.solve(self.R + self.B.T @ S @ self.B, self.B.T @ S @ self.A)
            gains.append(K)
            P = K.T @ self.R @ K + (self.A - self.B @ K).T @ S @ (self.A - self.B @ K)
        return gains[::-1], P

    def cost(self, actions: np.ndarray) -> float:
        x, total = self.x0, 0.0
        for u in np.asarray(actions, np.float64):
            x = self.A @ x + self.B @ u
            total += x @ self.Q @ x + u @ self.R @ u
        return total

    def feedback(self, gains: list[np.ndarray]) -> np.ndarray:
        """The actions that the given sequence of gains takes from x0."""
        x, actions = self.x0, []
        for K in gains:
            u = -K @ x
            x = self.A @ x + self.B @ u
            actions.append(u)
        return np.stack(actions)


DOUBLE_INTEGRATOR = Quadratic(
    A=np.array([[1.0, 0.2], [0.0, 1.0]]),
    B=np.array([[0.02], [0.2]]),
    Q=np.diag([1.0, 0.1]),
    R=np.array([[0.05]]),
    x0=np.array([1.0, -0.3]),
)


def random_system() -> Quadratic:
    rng = np.random.default_rng(7)
    A = rng.normal(size=(3, 3))
    A *= 0.95 / np.abs(np.linalg.eigvals(A)).max()
    return Quadratic(A, rng.normal(size=(3, 2)), np.eye(3), 0.5 * np.eye(2), np.array([1.0, -0.5, 0.8]))


PROBLEMS = {"double integrator": DOUBLE_INTEGRATOR, "random": random_system()}
HORIZON = 10


def bounds(problem: Quadratic) -> tuple[np.ndarray, np.ndarray]:
    """Twice the largest optimal action, so that the unconstrained optimum is the constrained one."""
    largest = np.abs(problem.feedback(problem.riccati(HORIZON)[0])).max()
    high = np.full(problem.B.shape[1], 2.0 * largest)
    return -high, high


def closed_loop(planner: Planner, problem: Quadratic, steps: int, key) -> np.ndarray:
    model, reward = problem.model, problem.reward()

    def step(carry, key):
        state, obs = carry
        state, action = planner.plan(state, model, reward, obs, key)
        return (state, model(obs, action)), action

    start = (planner.init(), jnp.asarray(problem.x0, jnp.float32))
    return np.asarray(lax.scan(step, start, jax.random.split(key, steps))[1])


@pytest.mark.parametrize("name", PROBLEMS)
def test_riccati_is_the_minimum(name):
    """The reference itself: its cost equals x0' P x0, and no perturbed plan is cheaper."""
    problem = PROBLEMS[name]
    gains, P = problem.riccati(HORIZON)
    best = problem.feedback(gains)
    assert problem.cost(best) == pytest.approx(problem.x0 @ P @ problem.x0, rel=1e-12)
    rng = np.random.default_rng(0)
    assert all(
        problem.cost(best + 1e-3 * rng.normal(size=best.shape)) > problem.cost(best) for _ in range(20)
    )


@pytest.mark.parametrize("name", PROBLEMS)
def test_rollout_is_minus_the_cost(name):
    problem = PROBLEMS[name]
    gains, P = problem.riccati(HORIZON)
    plan = jnp.asarray(problem.feedback(gains), jnp.float32)
    x0 = jnp.asarray(problem.x0, jnp.float32)
    returns = rollout(problem.model, problem.reward(), x0, jnp.stack([plan, 0.5 * plan]), 1.0)
    expected = [problem.x0 @ P @ problem.x0, problem.cost(0.5 * np.asarray(plan))]
    np.testing.assert_allclose(-np.asarray(returns), expected, rtol=1e-5)
    states = np.asarray(rollout_trajectory(problem.model, x0, plan))
    assert states.shape == (HORIZON + 1, problem.x0.size)
    np.testing.assert_array_equal(states[0], problem.x0.astype(np.float32))
    assert sum(s @ problem.Q @ s for s in states[1:]) < problem.x0 @ P @ problem.x0


def cem(low, high):
    return CEM(low, high, samples=300, elites=30, iterations=12)


def cem_with_everything(low, high):
    return CEM(
        low,
        high,
        samples=300,
        elites=0.1,
        iterations=15,
        keep_elites=5,
        smoothing=0.05,
        noise_correlation=0.2,
        min_std=1e-4,
        execute="best",
    )


def mppi(low, high):
    return MPPI(low, high, samples=300, iterations=20, noise_std=0.05)


OPEN_LOOP = [(cem, 0.03, 0.03), (cem_with_everything, 0.02, 0.03), (mppi, 0.02, 0.03)]


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(("make", "gap", "off"), OPEN_LOOP)
def test_one_plan_reaches_the_optimum(name, make, gap, off):
    """Cost within `gap` of the optimum, and first action within `off` of the range from Riccati's."""
    problem = PROBLEMS[name]
    gains, P = problem.riccati(HORIZON)
    low, high = bounds(problem)
    planner = make(low, high)
    obs = jnp.asarray(problem.x0, jnp.float32)
    state, action = planner.plan(planner.init(), problem.model, problem.reward(), obs, jax.random.key(0))
    optimum = problem.x0 @ P @ problem.x0
    assert optimum * (1 - 1e-5) <= problem.cost(state.mean) <= optimum * (1.0 + gap)
    np.testing.assert_array_less(np.abs(np.asarray(action) + gains[0] @ problem.x0), off * (high - low))


def cem_quick(low, high):
    return CEM(low, high, samples=300, elites=15, iterations=8, keep_elites=5, init_std=0.1)


def mppi_quick(low, high):
    return MPPI(low, high, samples=300, iterations=8, noise_std=0.05)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(("make", "gap"), [(cem_quick, 0.02), (mppi_quick, 0.05)])
def test_thirty_steps_in_closed_loop(name, make, gap):
    """Cost over 30 steps within `gap` of exact model-predictive control with the same horizon."""
    problem = PROBLEMS[name]
    exact = problem.cost(problem.feedback([problem.riccati(HORIZON)[0][0]] * 30))
    optimum = problem.x0 @ problem.riccati(30)[1] @ problem.x0
    actions = closed_loop(make(*bounds(problem)), problem, 30, jax.random.key(1))
    assert optimum * (1 - 1e-5) <= problem.cost(actions) <= exact * (1.0 + gap)


@pytest.mark.parametrize("warm_start", [False, True])
def test_random_shooting_in_closed_loop(warm_start):
    """Three actions are few enough for 2000 random plans: within 5 % of exact control over 30 steps."""
    problem = DOUBLE_INTEGRATOR
    planner = RandomShooting([-1.5], [1.5], samples=2000, horizon=3, warm_start=warm_start)
    exact = problem.cost(problem.feedback([problem.riccati(3)[0][0]] * 30))
    optimum = problem.x0 @ problem.riccati(30)[1] @ problem.x0
    actions = closed_loop(planner, problem, 30, jax.random.key(1))
    assert optimum * (1 - 1e-5) <= problem.cost(actions) <= exact * 1.05


def test_random_shooting_with_a_short_horizon():
    """The authors' planner, nothing remembered: its best of 2000 is near the optimum of a two-step plan."""
    problem = DOUBLE_INTEGRATOR
    gains, P = problem.riccati(2)
    planner = RandomShooting([-1.0], [1.0], samples=2000, horizon=2)
    obs = jnp.asarray(problem.x0, jnp.float32)
    state, action = planner.plan(planner.init(), problem.model, problem.reward(), obs, jax.random.key(0))
    optimum = problem.x0 @ P @ problem.x0
    assert optimum * (1 - 1e-5) <= problem.cost(state.mean) <= optimum * 1.001
    np.testing.assert_allclose(np.asarray(action), -gains[0] @ problem.x0, atol=0.06)
    np.testing.assert_array_equal(np.asarray(action), np.asarray(state.mean[0]))


def test_more_iterations_bring_cem_closer():
    """The gap to the optimum shrinks by an order of magnitude from one iteration to eight."""
    problem = PROBLEMS["random"]
    optimum = problem.x0 @ problem.riccati(HORIZON)[1] @ problem.x0
    obs = jnp.asarray(problem.x0, jnp.float32)
    gaps = []
    for iterations in (1, 8):
        planner = CEM(*bounds(problem), samples=200, elites=20, iterations=iterations)
        state, _ = planner.plan(planner.init(), problem.model, problem.reward(), obs, jax.random.key(2))
        gaps.append(problem.cost(state.mean) / optimum - 1.0)
    assert gaps[1] < 0.1 * gaps[0]
