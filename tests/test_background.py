"""Priors that are made beside the stream: the same numbers however it is interrupted, and no row does all the work."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mole import OnlineClassifier, OnlineRegressor
from mole.estimators import renewal
from mole.estimators.growing import slices_of_grow
from mole.estimators.renewal import Renewal, delay_of

SMALL: dict[str, Any] = {
    "memory": 64,
    "width": 8,
    "background": True,
}  # no training: that begins at 128 pairs


def pairs(count: int, seed: int = 0) -> list[tuple[dict[str, float], float]]:
    rows = np.random.default_rng(seed).normal(size=(count, 3))
    return [(dict(zip("abc", row.tolist(), strict=True)), float(row[0] - 2 * row[1])) for row in rows]


def learned(model: Any, stream: list[Any]) -> list[Any]:
    return [model.step_one(x, y).prediction for x, y in stream]


def through_file(model: Any, folder: Path) -> Any:
    model.save(folder / "model.mole")
    return type(model).load(folder / "model.mole")


COPIES: dict[str, Callable[[Any, Path], Any]] = {
    "file": through_file,
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
}


@pytest.fixture(scope="module")
def whole() -> tuple[list[float], list[int]]:
    model = OnlineRegressor(**SMALL)
    return learned(model, pairs(100)), model.history_["task"].tolist()


@pytest.mark.parametrize("how", COPIES)
def test_it_goes_on_exactly_from_any_row(
    how: str, whole: tuple[list[float], list[int]], tmp_path: Path
) -> None:
    stream, model, found = pairs(100), OnlineRegressor(**SMALL), []
    cuts = [0, 20, 32, 33, 34, 35, 50, 64, 65, 67, 68, 80, 100]
    for begin, end in itertools.pairwise(cuts):
        found += learned(model, stream[begin:end])
        model = COPIES[how](model, tmp_path)
    assert (found, model.history_["task"].tolist()) == whole


def test_a_trained_prior_too(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"memory": 256, "width": 8, "background": True}
    stream, whole, model = pairs(200), OnlineRegressor(**settings), OnlineRegressor(**settings)
    expected = learned(whole, stream)
    learned(model, stream[:150])
    model = through_file(model, tmp_path)
    assert learned(model, stream[150:]) == expected[150:]
    assert float(model._state.kind_counts[1]) >= 1.0, "the belief was trained"


def test_a_new_prior_is_used_from_a_fixed_row_and_not_before() -> None:
    stream = pairs(60)
    beside, at_once = OnlineRegressor(**SMALL), OnlineRegressor(memory=64, width=8)
    one, other = learned(beside, stream), learned(at_once, stream)
    assert one[:32] == other[:32]
    assert one[32:] != other[32:]
    assert (beside.schema_, beside._renewal) == (at_once.schema_, None)
    # With the same rows behind them, they predict nearly alike in the end.
    assert np.abs(np.subtract(one, other)[48:]).max() < 0.05


def test_every_row_does_an_equal_share(monkeypatch: pytest.MonkeyPatch) -> None:
    slices: list[int] = []

    def counting(*args: Any) -> Any:
        for step in real(*args):
            slices[-1] += 1
            yield step

    real = renewal.grow

    def wrapped(*args: Any) -> Any:
        result = yield from counted(real(*args))
        return result

    def counted(work: Any) -> Any:
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value
            slices[-1] += 1
            yield

    monkeypatch.setattr(renewal, "grow", wrapped)
    model = OnlineRegressor(**SMALL)
    for x, y in pairs(100):
        slices.append(0)
        model.learn_one(x, y)
    delay = delay_of(64, 64, 3, schema=False)
    share = -(-slices_of_grow(64, 3, 64 + delay, schema=False) // delay)
    assert delay >= 3
    assert slices[64 : 63 + delay] == [share] * (delay - 1)
    assert slices[63 + delay] <= share, "what is left at the end is no more than a share"
    assert slices[64 + delay :] == [0] * (36 - delay)


def test_a_label_that_comes_meanwhile_begins_it_again() -> None:
    model, before = OnlineClassifier(**SMALL), None
    for number in range(100):
        label = "abcd"[number % 3] if number != 33 else "d"
        model.learn_one([float(number % 3), 1.0 + number % 2], label)
        if number == 32:
            before = model._renewal
    assert model.classes_ == ["a", "b", "c", "d"]
    assert sum(model.predict_proba_one([1.0, 1.0]).values()) == pytest.approx(1.0)
    assert model.predict_one([1.0, 1.0]) == "b"
    assert isinstance(before, Renewal)
    assert before.begun == 32
    assert model._renewal is None


def test_a_column_that_comes_meanwhile_is_learned_after_it() -> None:
    model = OnlineRegressor(**SMALL)
    rows = np.random.default_rng(0).normal(size=(400, 2))
    errors = []
    for number, (a, b) in enumerate(rows.tolist()):
        x = {"a": a} if number < 70 else {"a": a, "b": b}
        y = a + (0.0 if number < 70 else 3.0 * b)
        errors.append(abs(model.predict_one(x) - y))
        model.learn_one(x, y)
    assert "b" in model.schema_.known
    assert np.mean(errors[-100:]) < 0.1


def test_news_that_no_inputs_would_explain_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Once rows were forgotten, the schema that decides is made in slices, and the work may end with it.
    monkeypatch.setattr(renewal, "explained", lambda *_: False)
    model, begun = OnlineRegressor(**SMALL), []
    for number, (x, y) in enumerate(pairs(120)):
        model.learn_one({**x, "new": 1.0} if number > 75 else x, y)
        begun.append(model._renewal is not None)
    assert any(begun[75:])
    assert not begun[-1]
    assert "new" not in model.schema_.known


def test_what_it_is_must_be_said_plainly(unchecked: None) -> None:
    with pytest.raises(TypeError, match="OnlineRegressor got background='yes'"):
        OnlineRegressor(background="yes")  # pyright: ignore[reportArgumentType]
