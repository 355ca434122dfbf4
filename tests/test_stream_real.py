"""mole stream and mole fit-prior with the real estimators: what they find in a stream, and that it goes on exactly."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mole import OnlineRegressor, ReadoutConfig, StreamPrior, load_prior, priors, save_prior
from mole.cli import main
from mole.files.programs import VARIABLE
from mole.pipeline.run_file import load_run
from mole.pipeline.runner import StreamSettings
from mole.priors import read_provenance

ROWS, VISIT = 300, 60
Mole = Callable[..., tuple[int, str, str]]


def table(rows: int = ROWS, visit: int = VISIT) -> str:
    """A linear stream whose sign changes after every visit; words, times and holes are among the inputs."""
    rng, lines = np.random.default_rng(0), ["time,a,b,c,colour,y"]
    for i in range(rows):
        a, b, c = rng.normal(size=3)
        sign, red = (1 if i // visit % 2 == 0 else -1), i % 2 == 0
        y = sign * (2 * a - b) + red + 0.1 * rng.normal()
        hole = "" if i % 9 == 4 else f"{c:.3f}"
        clock = f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00"
        lines.append(f"{clock},{a:.3f},{b:.3f},{hole},{'red' if red else 'blue'},{y:.3f}")
    return "\n".join(lines) + "\n"


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which what was compiled here is there for a process that a test starts."""
    folder = tmp_path_factory.mktemp("compiled")
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs  # pyright: ignore
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    compilation_cache.reset_cache()
    yield folder
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    compilation_cache.reset_cache()


@pytest.fixture
def mole(capfdbinary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled: Path) -> Mole:
    """The command in an empty folder: its status, output and messages."""
    monkeypatch.chdir(tmp_path)

    def run(*args: Any) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        status = main([str(arg) for arg in args])
        out, err = (text.decode() for text in capfdbinary.readouterr())
        return status, out, re.sub(r"\s+", " ", err)

    return run


class Whole(NamedTuple):
    """An uninterrupted run over the table."""

    folder: Path
    text: str

    @property
    def rows(self) -> list[dict[str, str]]:
        return read(self.text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "data.csv").write_text(table())
    names = [f"--{name}={folder / file}" for name, file in
             (("out", "p.csv"), ("report", "r.html"), ("checkpoint", "c.mole"))]  # fmt: skip
    assert main(["stream", str(folder / "data.csv"), "--target", "y", *names]) == 0
    return Whole(folder, (folder / "p.csv").read_text())


def mean_loss(rows: list[dict[str, str]], places: Any) -> float:
    return float(np.mean([float(rows[i]["loss"]) for i in places]))


def test_two_regimes_are_found_learned_and_recalled(whole: Whole) -> None:
    rows = whole.rows
    settled = [{row["task"] for row in rows[end - 20 : end]} for end in range(VISIT, ROWS + 1, VISIT)]
    assert settled == [{"0"}, {"1"}, {"0"}, {"1"}, {"0"}]
    # three rows into the last visit the old model predicts; in the first visit to a regime nothing knew it
    back, first = range(4 * VISIT + 3, 4 * VISIT + 13), range(3, 13)
    assert mean_loss(rows, back) < 0.1 * mean_loss(rows, first)
    judged = [row for row in rows if row["low"]]
    inside = np.mean([float(row["low"]) <= float(row["target"]) <= float(row["high"]) for row in judged])
    assert len(judged) > 0.9 * ROWS
    assert inside > 0.85


def test_the_report_tells_the_visits_and_what_matters(whole: Whole) -> None:
    text = (whole.folder / "r.html").read_text()
    assert f"{ROWS} of {ROWS} rows learned" in text
    assert "2 regimes found, 3 recalls" in text
    card = text[text.index("<h3>How the regimes differ</h3>") :]
    names = re.findall(r"<tr><th>(\w+)</th>", card[: card.index("</table>")])
    assert sorted(names) == ["a", "b", "c", "colour", "time"]


def test_words_times_and_holes_reach_the_estimator_as_they_are(whole: Whole) -> None:
    settings = StreamSettings("y", "regression")
    saved = load_run(whole.folder / "c.mole", settings, OnlineRegressor.load)
    schema = saved.run.estimator.schema_
    assert {column.name: column.kind for column in schema.columns} == {
        "time": "time", "a": "number", "b": "number", "c": "number", "colour": "category",
    }  # fmt: skip
    assert [column.name for column in schema.columns if column.flag] == ["c"]
    assert next(column for column in schema.columns if column.name == "colour").categories == ("red", "blue")
    assert saved.run.estimator.n_seen_ == ROWS


def test_a_pipe_that_is_killed_goes_on_byte_for_byte(whole: Whole, mole: Mole, compiled: Path) -> None:
    content = table().splitlines(keepends=True)
    Path("data.csv").write_text("".join(content))
    args = ["stream", "-", "--target", "y", "--checkpoint", "c.mole", "--every", "50"]
    kept = len(list(compiled.iterdir()))
    assert kept > 0
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "mole.cli", *args],
        stdin=pipe,
        stdout=pipe,
        env={**os.environ, VARIABLE: str(compiled)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(content[0].encode())
        answers = []
        for line in content[1:132]:  # past the row after which it trains features from its history
            process.stdin.write(line.encode())
            process.stdin.flush()
            if not answers:
                answers.append(process.stdout.readline().decode())
            answers.append(process.stdout.readline().decode())  # the next row is sent only after this one
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    before, rows = whole.text.splitlines(keepends=True), 100
    assert answers == before[:132]
    status, out, err = mole("stream", "data.csv", *args[2:], "--resume")
    assert status == 0
    assert f"going on after row {rows}" in err
    assert "".join(answers[: rows + 1]) + out == whole.text


def test_bad_rows_change_no_other_prediction(whole: Whole, mole: Mole) -> None:
    clock, content = "2026-01-01T00:00:00", table().splitlines()
    bad = [f"{clock},ERR,1,1,red,1", "1,2", f"{clock},1e30,1,1,red,1", f"{clock},1,1,1,red,inf", ",,,,,1"]
    for place, line in zip((40, 70, 71, 130, 200), bad, strict=True):
        content.insert(place, line)
    Path("data.csv").write_text("\n".join(content) + "\n")
    status, out, err = mole("stream", "data.csv", "--target", "y")
    assert status == 0
    assert f"{ROWS + 5} rows, {ROWS} learned, 5 bad; 2 tasks" in err
    good = [row for row in read(out) if not row["note"]]
    assert [list(row.values())[1:] for row in good] == [list(row.values())[1:] for row in whole.rows]


# --- classification, and priors


def labelled(rows: int) -> str:
    rng, lines = np.random.default_rng(1), ["a,b,y"]
    for _ in range(rows):
        a, b = rng.normal(size=2)
        lines.append(f"{a:.3f},{b:.3f},{'up' if a > b else 'down'}")
    return "\n".join(lines) + "\n"


def test_labels_are_learned_with_their_probabilities(mole: Mole) -> None:
    Path("data.csv").write_text(labelled(120))
    status, out, _ = mole("stream", "data.csv", "--target", "y", "--report", "r.html")
    rows = read(out)
    assert status == 0
    assert np.mean([row["prediction"] == row["target"] for row in rows[60:]]) > 0.85
    for row in rows[2:]:
        chances = json.loads(row["probabilities"])
        assert sum(chances.values()) == pytest.approx(1.0, abs=1e-5)
        assert row["prediction"] == max(chances, key=lambda label: chances[label])
        assert float(row["loss"]) == pytest.approx(-np.log(chances[row["target"]]), rel=1e-3, abs=1e-4)
    assert "regime found" in Path("r.html").read_text()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training that is short: what it reaches with all its steps is tested elsewhere."""
    config = ReadoutConfig(iterations=400, window=16)
    monkeypatch.setattr(priors, "fit_prior", partial(priors.fit_prior, config=config))


def waves(seed: int, regimes: int, visit: int) -> str:
    """A wave whose height and phase change after every visit."""
    rng, lines = np.random.default_rng(seed), ["x,y"]
    for _ in range(regimes):
        height, phase = rng.uniform(1, 4), rng.uniform(0, 2 * np.pi)
        for x in rng.uniform(-3, 3, size=visit):
            lines.append(f"{x:.3f},{height * np.sin(x + phase):.3f}")
    return "\n".join(lines) + "\n"


def test_a_prior_from_history_helps_right_after_a_switch(mole: Mole, brief: None) -> None:
    Path("history.csv").write_text(waves(0, 60, 50))
    Path("data.csv").write_text(waves(1, 6, 40))
    status, out, _ = mole("fit-prior", "history.csv", "--target", "y", "--out", "w.mole")
    assert status == 0
    assert "history.csv: 3,000 rows" in out
    prior, provenance = load_prior("w.mole"), read_provenance("w.mole")
    assert prior.schema is not None
    assert (prior.kind, prior.labels, prior.schema.names) == ("regression", (), ("x",))
    assert (provenance["rows"], provenance["target"]) == (3000, "y")
    early = [i for i in range(240) if 3 <= i % 40 < 13]
    without, given = (
        mean_loss(read(mole("stream", "data.csv", "--target", "y", *more)[1]), early)
        for more in ((), ("--prior", "w.mole"))
    )
    assert given < 0.5 * without


def test_a_run_with_a_prior_is_resumed_with_it(mole: Mole, brief: None) -> None:
    Path("data.csv").write_text(waves(2, 3, 20))
    assert mole("fit-prior", "data.csv", "--target", "y", "--out", "w.mole")[0] == 0
    args = (
        "stream",
        "data.csv",
        "--target",
        "y",
        "--prior",
        "w.mole",
        "--out",
        "p.csv",
        "--checkpoint",
        "c.mole",
    )
    Path("data.csv").write_text("\n".join(waves(2, 3, 20).splitlines()[:31]) + "\n")
    assert mole(*args)[0] == 0
    Path("data.csv").write_text(waves(2, 3, 20))
    assert mole(*args, "--resume")[0] == 0
    assert Path("p.csv").read_text() == mole(*args[:6])[1]
    Path("w.mole").unlink()
    assert "no prior at w.mole" in mole(*args, "--resume")[2]


def test_a_prior_for_labels_tells_labels_that_it_does_not_know(mole: Mole, brief: None) -> None:
    Path("history.csv").write_text(labelled(80))
    assert mole("fit-prior", "history.csv", "--target", "y", "--out", "w.mole")[0] == 0
    assert load_prior("w.mole").labels == ("down", "up")
    Path("data.csv").write_text(labelled(30) + "1,2,sideways\n0.5,-1,up\n")
    status, out, err = mole("stream", "data.csv", "--target", "y", "--prior", "w.mole")
    rows = read(out)
    assert status == 0
    assert "32 rows, 31 learned, 1 bad" in err
    assert rows[30]["note"] == "line 32 target 'y' is 'sideways', which the prior does not know"
    assert (rows[30]["target"], rows[30]["loss"], rows[31]["target"]) == ("", "", "up")
    assert set(json.loads(rows[0]["probabilities"])) == {"down", "up"}
    assert "w.mole is a prior for classification, got --task regression" in mole(
        "stream", "data.csv", "--target", "y", "--prior", "w.mole", "--task", "regression"
    )[2]  # fmt: skip


def test_a_prior_of_other_columns_is_told(mole: Mole, brief: None) -> None:
    Path("history.csv").write_text(labelled(60).replace("up", "1").replace("down", "0"))
    assert mole("fit-prior", "history.csv", "--target", "y", "--out", "w.mole")[0] == 0
    Path("data.csv").write_text("a,c,z\n1,2,3\n2,3,4\n")
    use = ("--target", "z", "--prior", "w.mole")
    status, _, err = mole("stream", "data.csv", *use)
    assert status == 2
    assert "w.mole was trained with 'b', which the inputs do not have; they have 'a', 'c'. Add what" in err
    Path("data.jsonl").write_text('[\n{"a": 1, "b": 2, "c": 3, "z": 4}\n')
    status, out, err = mole("stream", "data.jsonl", *use)
    assert status == 0
    assert len(read(out)) == 2
    assert "w.mole was trained without 'c': not used" in err
    assert "w.mole was trained to predict 'y', not 'z'" in err
    assert "trained with 'b'" in mole("stream", "data.jsonl", *use, "--features", "a,c")[2]
    plain = load_prior("w.mole").prior
    save_prior("plain.mole", StreamPrior(plain), {})
    err = mole("stream", "data.jsonl", "--target", "z", "--prior", "plain.mole")[2]
    assert "plain.mole is a prior for plain vectors, without names of columns" in err


def test_a_clock_in_the_history_is_told(mole: Mole, brief: None) -> None:
    Path("data.csv").write_text(table(30))
    assert "time: later times are beyond" in mole("fit-prior", "data.csv", "--target", "y")[1]
    assert "later times" not in mole("fit-prior", "data.csv", "--target", "y", "--features", "a,colour")[1]


def test_one_label_is_nothing_to_learn(mole: Mole) -> None:
    Path("data.csv").write_text("a,y\n" + "1,u\n" * 9)
    status, _, err = mole("fit-prior", "data.csv", "--target", "y")
    assert status == 2
    assert "every row has the label 'u'; expected two labels or more" in err
