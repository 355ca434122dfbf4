"""One step of MAML on a batch of regression tasks, one inner step each, Adam outside: three ways in PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_RATE = 0.03
Step = tuple[Callable[[], Any], str]


def _mlp(sizes: list[int]) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        parts += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def _tasks(sizes: list[int], tasks: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(tasks, 2 * k, sizes[0]), torch.randn(tasks, 2 * k, sizes[-1])


def functional(sizes: list[int], tasks: int, k: int, second_order: bool) -> Step:
    """torch.func: a vmap over tasks of a gradient step (as in its MAML example)."""
    from torch.func import functional_call, grad, vmap

    net, (x, y) = _mlp(sizes), _tasks(sizes, tasks, k)
    adam = torch.optim.Adam(net.parameters(), 2e-3)
    parameters = dict(net.named_parameters())

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (functional_call(net, parameters, (x,)) - y).square().mean()

    def adapted(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        slopes = grad(loss)(parameters, x[:k], y[:k])
        if not second_order:
            slopes = {name: slope.detach() for name, slope in slopes.items()}
        moved = {name: value - _RATE * slopes[name] for name, value in parameters.items()}
        return loss(moved, x[k:], y[k:])

    def step() -> None:
        adam.zero_grad()
        vmap(adapted)(x, y).mean().backward()
        adam.step()

    return step, f"torch {torch.__version__}"


def one_by_one(sizes: list[int], tasks: int, k: int, second_order: bool) -> Step:
    """torch.autograd alone: a loop over tasks, gradients summed as they come, so that one task's graph is kept."""
    net, (x, y) = _mlp(sizes), _tasks(sizes, tasks, k)
    adam = torch.optim.Adam(net.parameters(), 2e-3)
    parameters = list(net.parameters())

    def outputs(parameters: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            x = torch.relu(torch.addmm(bias, x, weight.T))
        return torch.addmm(parameters[-1], x, parameters[-2].T)

    def step() -> None:
        adam.zero_grad()
        for task in range(tasks):
            loss = (outputs(parameters, x[task, :k]) - y[task, :k]).square().mean()
            slopes = torch.autograd.grad(loss, parameters, create_graph=second_order)
            moved = [value - _RATE * slope for value, slope in zip(parameters, slopes, strict=True)]
            ((outputs(moved, x[task, k:]) - y[task, k:]).square().mean() / tasks).backward()
        adam.step()

    return step, f"torch {torch.__version__}"


def torchopt(sizes: list[int], tasks: int, k: int, second_order: bool) -> Step:
    """TorchOpt's differentiable optimiser, state extracted and recovered for each task."""
    import torchopt as library

    net, (x, y) = _mlp(sizes), _tasks(sizes, tasks, k)
    adam = torch.optim.Adam(net.parameters(), 2e-3)
    inner = library.MetaSGD(net, lr=_RATE)

    def step() -> None:
        adam.zero_grad()
        first = library.extract_state_dict(net, by="reference", detach_buffers=True)
        first_inner = library.extract_state_dict(inner, by="reference")
        for task in range(tasks):
            inner.step((net(x[task, :k]) - y[task, :k]).square().mean())
            ((net(x[task, k:]) - y[task, k:]).square().mean() / tasks).backward()
            library.recover_state_dict(net, first)
            library.recover_state_dict(inner, first_inner)
        adam.step()

    return step, f"torchopt {library.__version__}"


def learn2learn(sizes: list[int], tasks: int, k: int, second_order: bool) -> Step:
    """learn2learn's MAML wrapper: a clone of the network for each task."""
    import learn2learn as library

    net, (x, y) = _mlp(sizes), _tasks(sizes, tasks, k)
    maml = library.algorithms.MAML(net, lr=_RATE, first_order=not second_order)
    adam = torch.optim.Adam(maml.parameters(), 2e-3)

    def step() -> None:
        adam.zero_grad()
        for task in range(tasks):
            learner = maml.clone()
            learner.adapt((learner(x[task, :k]) - y[task, :k]).square().mean())
            ((learner(x[task, k:]) - y[task, k:]).square().mean() / tasks).backward()
        adam.step()

    return step, f"learn2learn {library.__version__}"
