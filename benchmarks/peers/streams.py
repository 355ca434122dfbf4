"""Learners of streams in other libraries: one pair, predict and learn; the note is the error on the whole stream."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

Step = tuple[Callable[[], Any], str]


def _over(model: Any, pairs: list[tuple[list[float], float]], name: str) -> Step:
    """Predict before learning; standardised inputs and targets are given."""
    rows = [({f"x{i}": value for i, value in enumerate(x)}, y) for x, y in pairs]
    total = 0.0
    for x, y in rows:
        error = float(model.predict_one(x) or 0.0) - y
        total += min(error * error, 1e6)
        model.learn_one(x, y)
    numbers = itertools.count()

    def step() -> None:
        x, y = rows[next(numbers) % len(rows)]
        model.predict_one(x)
        model.learn_one(x, y)

    return step, f"{name}, rmse {math.sqrt(total / len(rows)):.3f}"


def forest(pairs: Any) -> Step:
    import river
    from river import forest as trees

    return _over(trees.ARFRegressor(seed=0), pairs, f"river {river.__version__}")


def hoeffding(pairs: Any) -> Step:
    import river
    from river import tree

    return _over(tree.HoeffdingAdaptiveTreeRegressor(seed=0), pairs, f"river {river.__version__}")


def deep_river(pairs: Any, width: int, depth: int) -> Step:
    import deep_river as library
    import torch
    from deep_river.regression import Regressor

    torch.manual_seed(0)
    sizes, parts = [len(pairs[0][0]), *[width] * depth, 1], []
    for i, o in itertools.pairwise(sizes):
        parts += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    net = torch.nn.Sequential(*parts[:-1])
    best = None
    for rate in (3e-3, 1e-2, 3e-2):  # the best of three rates, chosen on the stream itself: in its favour
        torch.manual_seed(0)
        model = Regressor(module=_copy(net), loss_fn="mse", optimizer_fn="adam", lr=rate)
        step, note = _over(model, pairs, f"deep-river {library.__version__}, rate {rate:g}")
        if best is None or float(note.split()[-1]) < float(best[1].split()[-1]):
            best = step, note
    assert best is not None
    return best


def _copy(net: Any) -> Any:
    import copy

    return copy.deepcopy(net)
