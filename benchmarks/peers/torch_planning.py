"""Planning in PyTorch, written as one would for speed: one matrix for all candidates, inference mode, no copies."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

_DT, _COST = 0.05, 0.05
Plan = tuple[Callable[[], Any], str]


class Dynamics:
    """The half-cheetah's features, change and reward around an MLP of random weights, as `mole` plans with."""

    def __init__(self, width: int, depth: int, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(0)
        sizes = [24, *[width] * depth, 18]
        self.dtype = dtype
        self.layers = [
            (
                (torch.randn(i, o, generator=generator) * (2.0 / i) ** 0.5).to(dtype),
                torch.zeros(o, dtype=dtype),
            )
            for i, o in itertools.pairwise(sizes)
        ]
        self.mean_x, self.std_x, self.mean_y, self.std_y = (
            torch.zeros(24),
            torch.ones(24),
            torch.zeros(18),
            torch.ones(18),
        )

    def step(self, obs: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pitch = obs[:, 2:3]
        x = torch.cat([obs[:, 1:2], torch.sin(pitch), torch.cos(pitch), obs[:, 3:], action], 1)
        h = ((x - self.mean_x) / self.std_x).to(self.dtype)
        for weight, bias in self.layers[:-1]:
            h = torch.addmm(bias, h, weight).relu_()
        change = torch.addmm(self.layers[-1][1], h, self.layers[-1][0]).float() * self.std_y + self.mean_y
        following = obs + change
        reward = (following[:, 0] - obs[:, 0]) / _DT - _COST * action.square().sum(1)
        return following, reward

    def returns(self, obs: torch.Tensor, plans: torch.Tensor) -> torch.Tensor:
        states, total = obs.expand(len(plans), -1), torch.zeros(len(plans))
        for place in range(plans.shape[1]):
            states, reward = self.step(states, plans[:, place])
            total = total + reward
        return total


def shooting(width: int, depth: int, samples: int, horizon: int, dtype: str) -> Plan:
    dynamics, obs = Dynamics(width, depth, getattr(torch, dtype)), torch.zeros(1, 18)

    @torch.inference_mode()
    def plan() -> torch.Tensor:
        plans = torch.rand(samples, horizon, 6) * 2.0 - 1.0
        return plans[dynamics.returns(obs, plans).argmax(), 0]

    return plan, f"torch {torch.__version__}"


def cem(width: int, depth: int, samples: int, horizon: int, iterations: int, elites: int, dtype: str) -> Plan:
    dynamics, obs = Dynamics(width, depth, getattr(torch, dtype)), torch.zeros(1, 18)

    @torch.inference_mode()
    def plan() -> torch.Tensor:
        mean, std = torch.zeros(horizon, 6), torch.full((horizon, 6), 0.5)
        for _ in range(iterations):
            plans = (mean + std * torch.randn(samples, horizon, 6)).clamp_(-1.0, 1.0)
            best = plans[dynamics.returns(obs, plans).topk(elites).indices]
            mean, std = best.mean(0), best.std(0, unbiased=False)
        return mean[0]

    return plan, f"torch {torch.__version__}"


def mbrl_cem(width: int, depth: int, samples: int, horizon: int, iterations: int, elites: int) -> Plan:
    """The CEM of mbrl-lib (truncated normal, bounds), over the same PyTorch network."""
    import mbrl
    from mbrl.planning import CEMOptimizer

    dynamics, obs = Dynamics(width, depth, torch.float32), torch.zeros(1, 18)
    low, high = [[-1.0] * 6] * horizon, [[1.0] * 6] * horizon
    search = CEMOptimizer(
        iterations, elites / samples, samples, low, high, alpha=0.0, device=torch.device("cpu")
    )
    start = torch.zeros(horizon, 6)

    @torch.inference_mode()
    def plan() -> Any:
        return search.optimize(lambda plans: dynamics.returns(obs, plans), start)

    return plan, f"mbrl {mbrl.__version__}"
