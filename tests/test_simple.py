"""The simple models beside a stream: they say what they would say by themselves, and a run goes on with them."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mole.cli import main
from mole.pipeline.simple import SimpleModels
from mole.rows.values import NUMBER, TEXT, ReadRow


def row(**values: Any) -> ReadRow:
    made = ReadRow()
    for name, value in values.items():
        made.put(name, TEXT if isinstance(value, str) else NUMBER, value)
    return made


def stream(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2)) + np.array([1e6, 0.0])
    return x, 1e6 + x @ [3.0, -1.0] + 0.1 * rng.normal(size=rows)


def test_the_figures_are_those_of_the_models_by_themselves() -> None:
    (x, y), models = stream(60), SimpleModels(classify=False)
    squares: dict[str, list[float]] = {"": [], "last value": [], "running mean": [], "linear model": []}
    for t, (one, target) in enumerate(zip(x, y, strict=True)):
        models.learn(
            row(a=float(one[0]), word="w", b=float(one[1])), target, None if t == 0 else target + 0.5
        )
        if t < 20:
            continue
        design = np.column_stack([np.ones(t), x[:t] - x[0]])
        weights = np.linalg.lstsq(design, y[:t] - y[0], rcond=None)[0]
        told = {"": target + 0.5, "last value": y[t - 1], "running mean": y[:t].mean()}
        told["linear model"] = y[0] + np.array([1.0, *(one - x[0])]) @ weights
        for name, value in told.items():
            squares[name].append((value - target) ** 2)
    assert models.rows == 40
    for name, found in models.errors().items():
        assert found == pytest.approx(math.sqrt(np.mean(squares[name])), rel=1e-3)
    assert models.as_good == "linear model"
    assert models.describe().startswith("from target 20 on, root-mean-square error: 0.5; last value ")


def test_labels_are_judged_by_how_often_they_are_right() -> None:
    labels, models = ["a", "b", "a", "a"] * 10, SimpleModels(classify=True)
    for label in labels:
        models.learn(row(a=1.0), label, "a")
    pairs = list(itertools.pairwise(labels))[18:]
    assert models.errors() == {
        "": pytest.approx(np.mean([one == "a" for one in labels[19:]])),
        "last label": pytest.approx(np.mean([one == two for one, two in pairs])),
        "most frequent label": pytest.approx(np.mean([one == "a" for one in labels[19:]])),
    }
    assert models.as_good == "most frequent label"


@pytest.mark.parametrize("classify", [False, True])
def test_they_go_on_from_json(classify: bool) -> None:
    whole, models = SimpleModels(classify=classify), SimpleModels(classify=classify)
    x, y = stream(50)
    for t in range(50):
        given = row(a=float(x[t, 0]), b=float(x[t, 1])), int(y[t] > y.mean()) if classify else y[t], 0
        whole.learn(*given)
        if t == 25:
            again = SimpleModels(classify=classify)
            again.restore(json.loads(json.dumps(models.to_json())))
            models = again
        models.learn(*given)
    assert models.to_json() == whole.to_json()


def test_wild_numbers_and_columns_that_go_do_not_end_a_run() -> None:
    models = SimpleModels(classify=False)
    for t in range(40):
        models.learn(row(a=1e300 if t == 3 else float(t), b=2.0) if t % 7 else row(c=1.0), float(t), 0.0)
    assert all(math.isfinite(one) for one in models.errors().values())


def test_the_command_says_when_a_simple_model_is_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = [f"{a},{b}" for a, b in rng.normal(size=(40, 2))]  # nothing to learn
    Path("rows.csv").write_text("\n".join(["x,y", *lines]) + "\n")
    assert main(["stream", "rows.csv", "--target", "y", "--out", "out.csv", "--no-background"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "from target 20 on, root-mean-square error:" in told
        and "is as good here: see docs/when-not.md" in told
    )
