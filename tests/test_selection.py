"""Inputs of wide rows: those that matter are found among many, and the others cost nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mole import OnlineClassifier, OnlineRegressor
from mole.rows.selection import MOST_INPUTS, Neglected, choices_of, chosen_inputs


def chosen(x: np.ndarray, y: np.ndarray) -> tuple[list[int], int]:
    work, slices = chosen_inputs(x, y), 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value.tolist(), slices
        slices += 1


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("seed", range(5))
def test_one_of_five_hundred_is_found_from_sixty_four_rows(seed: int) -> None:
    x = normal(64, 500, seed=seed)
    found, slices = chosen(x, 3.0 * x[:, 499:])
    assert 499 in found
    assert len(found) == 8, "one for every eight rows is taken along"
    assert slices <= choices_of(500)


def test_an_effect_that_is_even_or_changes_its_sign_is_found() -> None:
    x = normal(1024, 200)
    sign = np.where(np.arange(1024) % 512 < 256, 1.0, -1.0)
    y = np.abs(x[:, 5]) + sign * x[:, 7] + 0.1 * normal(1024)
    assert abs(np.corrcoef(x[:, 5], y)[0, 1]) < 0.1
    assert abs(np.corrcoef(x[:, 7], y)[0, 1]) < 0.1
    assert {5, 7} <= set(chosen(x, y[:, None])[0])


def test_each_output_is_heard() -> None:
    x = normal(512, 100)
    labels = np.eye(20)[np.arange(512) % 20]
    x[:, 42] += 4.0 * labels[:, 13]
    assert 42 in chosen(x, labels)[0]


def test_nothing_is_chosen_by_evidence_where_there_is_none() -> None:
    x, y = normal(2048, 100), normal(2048, 1, seed=1)
    order = np.argsort(-np.abs(x.T @ y)[:, 0])
    found = chosen(x, y)[0]
    assert len(found) == MOST_INPUTS, "the strongest are taken along"
    assert order[0] in found


def test_columns_that_do_not_move_and_wild_values_are_no_trouble() -> None:
    x = normal(256, 80)
    x[:, :10] = 7.0
    x[3, 20] = 1e30
    x[:, 30] = 0.0
    x[5, 30] = 1.0
    found = chosen(x, x[:, 21:22] + 1e-3 * normal(256, 1))[0]
    assert 21 in found
    assert not set(range(10)) & set(found)


def test_rows_of_a_hundred_columns_are_learned_from_few_rows(tmp_path: Path) -> None:
    model = OnlineRegressor(memory=64, width=8)
    errors = []
    for row in normal(120, 100):
        x = {f"c{place}": float(value) for place, value in enumerate(row)}
        errors.append(model.predict_one(x) - 3.0 * row[99])
        model.learn_one(x, 3.0 * row[99])
    assert np.sqrt(np.mean(np.square(errors[-50:]))) < 0.3
    assert model._places is not None
    assert len(model._places) == 8
    importance = model.importance_(model.task_)
    assert importance.shape == (1, 100)
    assert int(np.argmax(importance)) == 99
    model.save(tmp_path / "model.mole")
    again = OnlineRegressor.load(tmp_path / "model.mole")
    x = {f"c{place}": 0.1 * place for place in range(100)}
    assert again.predict_one(x) == model.predict_one(x)
    assert again.importance_(0).tolist() == importance.tolist()


def test_classes_of_wide_rows() -> None:
    model = OnlineClassifier(memory=64, width=8)
    right = []
    for number, row in enumerate(normal(150, 80)):
        label = "abc"[number % 3]
        row[70:73] += 5.0 * (np.arange(3) == number % 3)
        right.append(model.predict_one(row) == label)
        model.learn_one(row, label)
    assert np.mean(right[-50:]) > 0.9


def test_a_column_that_begins_to_matter_late_is_learned(tmp_path: Path) -> None:
    model, errors = OnlineRegressor(memory=64, width=8), []
    for number, row in enumerate(normal(700, 80)):
        y = row[0] + (3.0 * row[79] if number >= 100 else 0.0)
        errors.append(model.predict_one(row) - y)
        model.learn_one(row, y)
        if number in (90, 120, 200):  # also from a file in between
            model.save(tmp_path / "model.mole")
            model = OnlineRegressor.load(tmp_path / "model.mole")
    assert model._places is not None
    assert 79 in model._places.tolist()
    assert np.sqrt(np.mean(np.square(errors[-100:]))) < 0.5


def test_noise_is_not_neglected() -> None:
    watch, misses = Neglected(np.arange(64), 300, 2), normal(3000, 2, seed=1)
    assert all(watch.update(x, miss) is None for x, miss in zip(normal(3000, 300), misses, strict=True))
    again = Neglected.from_arrays(np.arange(64), watch.to_arrays())
    found = [one.update(x, x[[299, 0]]) for x in normal(200, 300, seed=2) for one in (watch, again)]
    assert found[::2] == found[1::2]
    assert set(found) == {None, 299}, "input 0 is learned from already"
