"""The EM step of a mixture in PyTorch: a plain loop over the tasks, autograd for every step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

Layers = list[torch.Tensor]
Step = tuple[Callable[[], Any], str]


def _mlp(width: int, depth: int, seed: int) -> Layers:
    generator = torch.Generator().manual_seed(seed)
    sizes, layers = [24, *[width] * depth, 18], []
    for i, o in itertools.pairwise(sizes):
        layers += [torch.randn(i, o, generator=generator) * (2.0 / i) ** 0.5, torch.zeros(o)]
    return [layer.requires_grad_() for layer in layers]


def _outputs(layers: Layers, x: torch.Tensor) -> torch.Tensor:
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = torch.relu(torch.addmm(bias, x, weight))
    return torch.addmm(layers[-1], x, layers[-2])


def _stepped(layers: Layers, x: torch.Tensor, y: torch.Tensor, rate: float, in_place: bool) -> Layers:
    gradients = torch.autograd.grad((_outputs(layers, x) - y).square().mean(), layers)
    with torch.no_grad():
        if not in_place:
            return [layer - rate * gradient for layer, gradient in zip(layers, gradients, strict=True)]
        for layer, gradient in zip(layers, gradients, strict=True):
            layer.sub_(gradient, alpha=rate)
    return layers


def pointwise(width: int, depth: int, tasks: int, window: int, candidate_window: int) -> Step:
    """All tasks are scored, a candidate is fitted and judged, and one task learns from its own pairs."""
    models, prior = [_mlp(width, depth, i) for i in range(tasks)], _mlp(width, depth, 99)
    x, y = torch.randn(2 * window, 24), torch.randn(2 * window, 18)
    points, targets = x[-candidate_window:], y[-candidate_window:]

    def step() -> int:
        with torch.no_grad():
            scores = torch.stack([(-(_outputs(m, points) - targets).square().log1p()).sum(1) for m in models])
        candidate = _stepped(prior, points[::2], targets[::2], 0.03, in_place=False)
        with torch.no_grad():
            float((-(_outputs(candidate, points) - targets).square().log1p()).sum())
        task = int(scores[:, -1].argmax())
        _stepped(models[task], x, y, 1e-9, in_place=True)
        return task

    return step, f"torch {torch.__version__}"


def paper(width: int, depth: int, tasks: int, window: int) -> Step:
    """All tasks are scored on the window and take a step on it, scaled by their responsibility."""
    models, prior = [_mlp(width, depth, i) for i in range(tasks)], _mlp(width, depth, 99)
    x, y = torch.randn(2 * window, 24), torch.randn(2 * window, 18)
    old, new, target = x[:window], x[window:], y[window:]

    def step() -> torch.Tensor:
        with torch.no_grad():
            losses = torch.stack([(_outputs(m, new) - target).square().mean() for m in models])
        candidate = _stepped(prior, old, y[:window], 0.03, in_place=False)
        with torch.no_grad():
            float((_outputs(candidate, new) - target).square().mean())
        weights = torch.softmax(-losses / 100.0, 0)
        for model, weight in zip(models, weights.tolist(), strict=True):
            _stepped(model, new, target, 1e-9 * weight, in_place=True)
        return weights

    return step, f"torch {torch.__version__}"
