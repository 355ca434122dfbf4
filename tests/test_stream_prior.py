"""Priors for streams: what they are trained on, their columns and labels, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from helpers import bits, linear_tasks, tiny_prior
from mole._types import Trajectory
from mole.estimators import OnlineRegressor, StreamPrior, fit_prior
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.priors.file import load_prior, read_provenance, save_prior
from mole.readout import ReadoutConfig
from mole.rows.encoding import RowEncoder, Schema

FEW = ReadoutConfig(window=16, iterations=20, batch=8)
SMALL = {"max_tasks": 3, "candidates": 3, "drift": (1e-6,)}


def family(n: int, seed: int, length: int = 24) -> list[Trajectory]:
    """Slopes differ from task to task, but only that of the first input does so by much; targets of any unit."""
    rng, out = np.random.default_rng(seed), []
    for _ in range(n):
        slopes = rng.normal(size=(3, 1)) * [[1.0], [0.02], [0.02]] + [[0.0], [0.7], [-0.7]]
        x = 50.0 + 10.0 * rng.normal(size=(length, 3))
        y = 1000.0 * ((x - 50.0) / 10.0 @ slopes + 0.02 * rng.normal(size=(length, 1)))
        out.append(Trajectory(x.astype(np.float32), y.astype(np.float32)))
    return out


def some_schema() -> Schema:
    encoder = RowEncoder()
    for row in ({"a": 1.0, "when": "2026-01-05"}, {"a": 2.5, "when": "2026-01-06"}):
        encoder.observe(row)
    return encoder.schema()


def history(dx: int, dy: int = 1, n: int = 3) -> list[Trajectory]:
    return linear_tasks(np.random.default_rng(0), n, 24, dx=dx, dy=dy, noise=0.1)


@pytest.fixture(scope="module")
def prior() -> StreamPrior:
    schema = some_schema()
    return fit_prior(history(schema.size), width=4, config=FEW, schema=schema)


def test_a_fitted_prior_knows_new_tasks_after_few_points() -> None:
    """The family leaves one slope open: four points settle it, where a model without a prior must find four numbers."""
    prior = fit_prior(family(60, 0), width=4, config=ReadoutConfig(window=16, iterations=700, batch=8))

    def error(given: StreamPrior | None) -> float:
        errors = []
        for task in family(6, 99, length=12):
            model = OnlineRegressor(given, width=4, mixture=SMALL)
            for t, (x, y) in enumerate(zip(task.x, task.y, strict=True)):
                if 4 <= t < 9:
                    errors.append((model.predict_one(x) - y[0]) ** 2)
                model.learn_one(x, y)
        return float(np.sqrt(np.mean(errors)))

    assert error(prior) < 0.3 * error(None)
    np.testing.assert_allclose(prior.prior.x_norm.mean, 50.0, atol=1.5)
    np.testing.assert_allclose(prior.prior.x_norm.std, 10.0, rtol=0.1)


def test_the_same_seed_gives_the_same_prior() -> None:
    one, again, other = (fit_prior(history(2), width=4, config=FEW, seed=seed).prior for seed in (0, 0, 1))
    assert bits(one) == bits(again) != bits(other)


def test_a_history_shorter_than_the_window_is_used_all_the_same() -> None:
    short = [Trajectory(t.x[:6], t.y[:6]) for t in history(2)]
    assert fit_prior(short, width=4, config=FEW).prior.kinds == 2


def one_hot(classes: int, n: int = 24) -> list[Trajectory]:
    rng = np.random.default_rng(0)
    return [Trajectory(rng.normal(size=(n, 2)), np.eye(classes)[rng.integers(classes, size=n)])]


def test_classes_keep_their_labels() -> None:
    prior = fit_prior(one_hot(3), kind="classification", labels=("x", 7, True), width=4, config=FEW)
    assert prior.labels == ("x", 7, True) and prior.prior.target_size == 3
    scales = np.asarray(prior.prior.y_norm.std)
    assert np.all(scales == scales[0])  # a rare class is no louder than a frequent one


def test_bad_histories_are_refused() -> None:
    whole = history(2)
    bad_x = Trajectory(np.where(np.arange(48).reshape(24, 2) == 7, np.nan, whole[0].x), whole[0].y)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        ([], {}, "training got no trajectories"),
        ([bad_x], {}, "not all finite"),
        (
            [Trajectory(whole[0].x[:3], whole[0].y[:3])],
            {},
            "segments of at most 3 pairs; expected at least 4",
        ),
        (whole, {"labels": ("a",)}, "got 1 labels for regression with 1 targets"),
        (one_hot(3), {"kind": "classification"}, "got 0 labels for classification with 3 targets"),
        (
            one_hot(3),
            {"kind": "classification", "labels": ("a", "b")},
            "got 2 labels for classification with 3",
        ),
    ]
    for data, settings, message in cases:
        with pytest.raises(ValueError, match=message):
            fit_prior(data, width=4, config=FEW, **settings)


def test_a_prior_comes_back_from_its_file_bit_for_bit(prior: StreamPrior, tmp_path: Path) -> None:
    path = tmp_path / "prior.mole"
    classes = fit_prior(one_hot(3), kind="classification", labels=("x", 7, True), width=4, config=FEW)
    for one in (prior, classes):
        save_prior(path, one, {"files": ["a.csv"], "rows": 72})
        loaded, provenance = load_prior(path), read_provenance(path)
        assert provenance == {"files": ["a.csv"], "rows": 72}
        assert bits(loaded.prior) == bits(one.prior)
        assert (loaded.kind, loaded.schema, loaded.labels) == (one.kind, one.schema, one.labels)
        assert [type(label) for label in loaded.labels] == [type(label) for label in one.labels]


def test_damaged_and_foreign_files_are_refused(prior: StreamPrior, tmp_path: Path) -> None:
    path = tmp_path / "prior.mole"
    with pytest.raises(FileNotFoundError):
        load_prior(path, StreamPrior)
    save_prior(path, tiny_prior(jax.random.key(0)), {})
    with pytest.raises(
        CheckpointError, match=r"holds a 'prior', expected a 'stream-prior'; `mole fit-prior` writes"
    ):
        load_prior(path, StreamPrior)
    save_prior(path, prior, {})
    whole = path.read_bytes()
    for damaged, message in ((whole[:-9], "truncated"), (whole[:-1] + bytes([whole[-1] ^ 1]), "altered")):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=message):
            load_prior(path, StreamPrior)


def test_a_header_that_was_changed_by_hand_is_refused(prior: StreamPrior, tmp_path: Path) -> None:
    path = tmp_path / "prior.mole"
    save_prior(path, prior, {})
    config = dict(checkpoint.read_header(path).config)
    for changed, message in (
        ({"provenance": None}, "no provenance"),
        ({"kind": "clustering"}, "kind='clustering'"),
        ({"labels": "ab"}, "labels='ab'"),
        ({"labels": [[1]]}, "labels of a wrong type"),
        ({"sizes": 3}, "sizes or labels of a wrong type"),
        ({"sizes": {**config["sizes"], "width": -1}}, "width=-1"),
        ({"schema": {"format": "?"}}, "damaged schema"),
        ({"schema": "?"}, "damaged schema"),
        ({"more": 1}, "header without"),
        ({"labels": ["a"]}, "do not fit each other: StreamPrior got 1 labels for regression; expected 0"),
    ):
        checkpoint.save(path, prior.prior, kind="stream-prior", config={**config, **changed})
        with pytest.raises(CheckpointError, match=message):
            load_prior(path, StreamPrior)


def test_a_schema_that_does_not_fit_the_prior_is_refused() -> None:
    with pytest.raises(ValueError, match=r"StreamPrior got a schema of 8 inputs .* expected 2"):
        StreamPrior(fit_prior(history(2), width=4, config=FEW).prior, schema=some_schema())
    with pytest.raises(ValueError, match=r"StreamPrior got 2 labels .* expected 3"):
        inner = fit_prior(one_hot(3), kind="classification", labels=(0, 1, 2), width=4, config=FEW).prior
        StreamPrior(inner, "classification", labels=("a", "b"))
