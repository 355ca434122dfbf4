"""mole stream and mole fit-prior: every row has one line, bad rows stop nothing, and a killed run goes on exactly."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from mole import estimators, priors
from mole.cli import main
from mole.commands.stream_view import StreamView, task_colour
from mole.estimators.step import shares_of
from mole.files import checkpoint
from mole.pipeline.digest import BINS, RunDigest
from mole.pipeline.predictions import CLASSIFICATION, REGRESSION
from mole.pipeline.run_file import SavedRun, load_run, save_run
from mole.pipeline.runner import Outcome, StreamRun, StreamSettings, guess_kind
from mole.pipeline.sources import Row
from mole.rows.checks import RowChecks
from stream_fakes import FakeClassifier, FakeRegressor

Mole = Callable[..., tuple[int, str, str]]
HERE = Path(__file__).parent


def table(rows: int = 60, seed: int = 0) -> str:
    """A linear stream whose sign changes every 20 rows."""
    rng = np.random.default_rng(seed)
    lines = ["a,b,colour,y"]
    for i in range(rows):
        a, b = rng.normal(size=2)
        y = (2 * a - b) * (1 if i // 20 % 2 == 0 else -1)
        lines.append(f"{a:.6f},{b:.6f},{['red', 'blue'][i % 2]},{y:.6f}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def mole(capfdbinary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mole:
    """The command with small learners, in an empty folder: its status, output and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimators, "OnlineRegressor", FakeRegressor)
    monkeypatch.setattr(estimators, "OnlineClassifier", FakeClassifier)

    def run(*args: Any) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        status = main([str(arg) for arg in args])
        out, err = (text.decode() for text in capfdbinary.readouterr())
        return status, out, re.sub(r"\s+", " ", err)

    return run


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- the output


def test_every_row_has_a_line_with_what_was_predicted_before_learning(mole: Mole, tmp_path: Path) -> None:
    Path("data.csv").write_text(table())
    status, out, err = mole("stream", "data.csv", "--target", "y")
    assert status == 0
    rows = lines(out)
    assert tuple(rows[0]) == REGRESSION
    assert [row["row"] for row in rows] == [str(i + 1) for i in range(60)]
    assert (rows[0]["prediction"], rows[0]["low"], rows[0]["high"]) == ("0", "", "")  # nothing is known yet
    model = FakeRegressor()
    for row, given in zip(rows, lines(table()), strict=True):
        x = {"a": float(given["a"]), "b": float(given["b"]), "colour": given["colour"]}
        y = float(given["y"])
        prediction = model.predict_one(x)
        low, high = model.predict_interval_one(x)
        assert float(row["prediction"]) == pytest.approx(prediction, rel=1e-8)
        assert float(row["loss"]) == pytest.approx((y - prediction) ** 2, rel=1e-6)
        if row["low"]:
            assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high), rel=1e-8)
        model.learn_one(x, y)
        assert int(row["task"]) == model.task_
        assert float(row["probability"]) == pytest.approx(model.responsibilities_.max(), rel=1e-8)
    assert "60 rows, 60 learned, 0 bad" in err
    error = np.sqrt(np.mean([float(row["loss"]) for row in rows]))
    assert f"{error:.4g} over all" in err


def test_only_the_features_that_were_asked_for_are_used(mole: Mole) -> None:
    Path("data.csv").write_text(table())
    _, some, _ = mole("stream", "data.csv", "--target", "y", "--features", "a, colour")
    Path("data.csv").write_text(re.sub(r"(?m)^(\S+?),[-.\d]+,", r"\1,7,", table()))
    _, other, _ = mole("stream", "data.csv", "--target", "y", "--features", "a,colour")
    assert some == other
    assert some != mole("stream", "data.csv", "--target", "y")[1]


def test_a_file_and_json_lines_hold_the_same(mole: Mole) -> None:
    Path("data.csv").write_text(table())
    _, out, _ = mole("stream", "data.csv", "--target", "y")
    assert mole("stream", "data.csv", "--target", "y", "--out", "p.csv")[0] == 0
    assert Path("p.csv").read_text() == out
    assert mole("stream", "data.csv", "--target", "y", "--out", "p.jsonl")[0] == 0
    objects = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert [list(one) for one in objects] == [list(REGRESSION)] * 60
    assert [f"{one['prediction']:.9g}" for one in objects] == [row["prediction"] for row in lines(out)]
    assert objects[0]["low"] is None


def test_labels_are_classified_and_may_come_late(mole: Mole) -> None:
    rows = ["a,y", *(f"{i},{['cat', 'dog'][i % 2]}" for i in range(10)), "11,late", "12,late"]
    Path("data.csv").write_text("\n".join(rows))
    status, out, err = mole("stream", "data.csv", "--target", "y")
    found = lines(out)
    assert status == 0
    assert tuple(found[0]) == CLASSIFICATION
    assert (found[0]["prediction"], found[0]["loss"]) == ("", "")
    assert json.loads(found[10]["probabilities"]) == {"cat": 0.5, "dog": 0.5}
    assert float(found[10]["loss"]) == pytest.approx(-np.log(1e-6), rel=1e-6)  # the label had no probability
    assert set(json.loads(found[11]["probabilities"])) == {"cat", "dog", "late"}
    assert float(found[11]["loss"]) == pytest.approx(-np.log(1 / 11), rel=1e-6)
    assert "of the last 11" in err


def test_numbers_can_be_labels_if_one_says_so(mole: Mole) -> None:
    Path("data.csv").write_text("a,y\n1,0\n2,1\n3,0\n")
    _, out, _ = mole("stream", "data.csv", "--target", "y", "--task", "classification")
    assert json.loads(lines(out)[2]["probabilities"]) == {"0": 0.5, "1": 0.5}


@pytest.mark.parametrize(
    ("value", "task"),
    [
        (1, "regression"),
        ("1.5", "regression"),
        ("a", "classification"),
        (True, "classification"),
        ("", None),
        ([1], None),
    ],
)
def test_the_first_target_decides(value: Any, task: str | None) -> None:
    assert guess_kind(value) == task


# --- bad rows

DIRTY = {
    4: ("1,2", "has 2 columns, expected 4"),
    9: ("x\xff,1,red,1", "is not UTF-8 (byte 0xff)"),
    40: ("oops,1,red,1", "column 'a' is 'oops', expected a number"),
    41: ("inf,1,red,1", "column 'a' is infinite"),
    42: ("1e30,1,red,1", "column 'a' is 1e+30, beyond 1e+18"),
    43: ("1,1,red,nan", "has no target 'y'"),
    44: ("1,1,red,-inf", "target 'y' is infinite"),
    45: ("1,1,red,1e9", "target 'y' is 1e+09, beyond"),
    46: ("1,1,red,word", "target 'y' is 'word', expected a number"),
    47: (",,,1", "has no value in any of its inputs"),
    48: ('"1,1,red,1', "a quote is opened and not closed"),
}


def dirty() -> bytes:
    rows = table().splitlines()
    for place, (line, _) in sorted(DIRTY.items()):
        rows.insert(place - 1, line)
    return "\n".join(rows).encode("latin-1") + b"\n"


def test_bad_rows_are_told_and_change_nothing(mole: Mole) -> None:
    Path("clean.csv").write_text(table())
    _, clean, _ = mole("stream", "clean.csv", "--target", "y")
    Path("data.csv").write_bytes(dirty())
    status, out, err = mole("stream", "data.csv", "--target", "y")
    rows = lines(out)
    assert status == 0
    assert f"71 rows, 60 learned, {len(DIRTY)} bad" in err
    notes = {int(row["row"]): row["note"] for row in rows if row["note"]}
    assert len(notes) == len(DIRTY)
    for line, (_, reason) in DIRTY.items():
        assert notes[line - 1].startswith(f"line {line} {reason}")  # one line of header
    for line, predicted in ((40, False), (43, True), (44, True), (45, True), (46, True), (48, False)):
        row = rows[line - 2]
        assert bool(row["prediction"]) == predicted
        assert row["loss"] == row["target"] == ""
    kept = [[row[name] for name in REGRESSION[1:]] for row in rows if not row["note"]]
    assert kept == [[row[name] for name in REGRESSION[1:]] for row in lines(clean)]
    assert "1 × text in a number column" in err
    assert "row 3, line 4 has 2 columns, expected 4" in err


def test_strict_stops_at_the_first_bad_row(mole: Mole) -> None:
    Path("data.csv").write_bytes(dirty())
    status, out, err = mole("stream", "data.csv", "--target", "y", "--strict")
    assert status == 2
    assert "error: line 4 has 2 columns, expected 4. Without --strict such rows are counted" in err
    assert len(lines(out)) == 2


def test_nested_json_is_a_bad_row(mole: Mole) -> None:
    rows = [
        '{"a": 1, "y": 1}',
        '{"a": [1], "y": 1}',
        '{"a": 2, "y": {}}',
        '{"y": 3, "b": 2}',
        '{"a": 1}',
        '{"a": "\\ud800", "y": 1}',
    ]
    Path("data.jsonl").write_text("\n".join(rows))
    status, out, err = mole("stream", "data.jsonl", "--target", "y")
    assert status == 0
    assert "6 rows, 3 learned, 3 bad" in err
    notes = {row["row"]: row["note"] for row in lines(out) if row["note"]}
    assert list(notes) == ["2", "3", "5"]
    assert notes["2"].startswith("line 2 column 'a': got a list as one value")
    assert notes["3"].startswith("line 3 target 'y': got a dict as one value")
    assert notes["5"] == "line 5 has no target 'y'"


def test_words_in_a_column_of_codes_and_missing_values_are_no_fault() -> None:
    checks = RowChecks("y", None, classify=False)
    for i in range(100):
        assert not checks.check({"code": i % 3, "n": i / 7, "y": 1}).problem
    assert not checks.check({"code": "A", "n": None, "y": 1}).problem
    assert checks.check({"code": 1, "n": "A", "y": 1}).problem == "text in a number column"
    assert checks.check({"code": 1, "n": "2024-01-01", "y": 1}).problem == "text in a number column"


def test_a_target_may_grow_but_not_leap() -> None:
    checks = RowChecks("y", None, classify=False)
    for y in [0.0, 1.0] * 20 + [1e5, 1e10, 1e15]:
        assert checks.check({"a": 1, "y": y}).y == y
    assert checks.check({"a": 1, "y": 2e18}).problem == "huge target"
    zeros = RowChecks("y", None, classify=False)
    for y in [0.0] * 50 + [1e12]:
        assert zeros.check({"a": 1, "y": y}).y == y


def test_labels_are_bounded_and_keep_bools_and_numbers_apart() -> None:
    checks = RowChecks("y", None, classify=True)
    found = [checks.check({"a": 1, "y": y}).y for y in (1, "1", "1.0", True, "true", 2.5, " x ")]
    assert found == [1, 1, 1, "true", "true", "2.5", "x"]
    assert [type(y) for y in found] == [int] * 3 + [str] * 4
    for i in range(200):
        last = checks.check({"a": 1, "y": f"id{i}"})
    assert last.problem == "too many labels"
    assert len(checks.labels) == 100


def test_an_estimator_that_is_not_finite_leaves_gaps_and_no_nan(tmp_path: Path) -> None:
    class Lost(FakeRegressor):
        responsibilities_ = np.array([np.nan, np.nan])  # pyright: ignore

        def predict_one(self, x: Any) -> float:
            return float("nan")

    run = StreamRun(StreamSettings("y", "regression"), Lost())
    outcome = run.step(Row(1, {"a": 1, "y": 2}, "", {}))
    assert (outcome.prediction, outcome.low, outcome.loss, outcome.probability) == (None,) * 4
    StreamView(run).update(outcome)
    save_run(tmp_path / "c.mole", SavedRun(run, {}, None, 0))  # which refuses NaN


# --- options


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["data.csv", "--target", "z"], "data.csv has no column 'z': "),
        (["data.csv", "--target", "y", "--features", "a,colours"], "no column 'colours': did you mean 'colour'?"),
        (["data.csv", "--target", "y", "--features", "a,y"], "expected one or more, without the target 'y'"),
        (["data.csv", "--target", "y", "--level", "90"], "got level 90.0, expected a share between 0 and 1"),
        (["data.csv", "--target", "y", "--every", "0"], "got a checkpoint every 0 steps, expected at least 1"),
        (["data.csv", "--target", "y", "--resume"], "got --resume without --checkpoint FILE"),
        (["data.csv", "--target", "y", "--checkpoint", "c", "--new-input"], "got --new-input without --resume"),
        (["data.csv", "--target", "y", "--checkpoint", "no/c"], "cannot write no/c: its folder does not exist"),
        (["data.csv", "--target", "y", "--report", "no/r"], "cannot write no/r: its folder does not exist"),
        (["data.csv", "--target", "y", "--out", "no/p.csv"], "cannot write no/p.csv: folder no does not exist"),
        (["data.csv", "--target", "y", "--prior", "no.mole"], "no prior at no.mole: check the path, or make one"),
        (["none.csv", "--target", "y"], "no file at none.csv"),
        (["data.jsonl", "--target", "z"], "got 1 rows and no value of the target 'z' in them"),
        (["data.jsonl", "--target", "z", "--task", "regression"], "none of 1 rows could be learned (no target: 1)"),
    ],
)  # fmt: skip
def test_wrong_options_are_answered(mole: Mole, args: list[str], message: str) -> None:
    Path("data.csv").write_text(table(3))
    Path("data.jsonl").write_text('{"a": 1, "y": 2}')
    status, _, err = mole("stream", *args)
    assert status == 2
    assert message in err


# --- checkpoints


def whole_run(mole: Mole, *more: Any) -> str:
    mole("stream", "data.csv", "--target", "y", "--out", "whole.csv", *more)
    return Path("whole.csv").read_text()


def test_a_run_goes_on_where_its_checkpoint_was_written(mole: Mole) -> None:
    Path("data.csv").write_bytes(dirty())
    whole = whole_run(mole, "--checkpoint", "whole.mole")
    content = Path("data.csv").read_bytes().splitlines(keepends=True)
    args = ("stream", "data.csv", "--target", "y", "--out", "p.csv", "--checkpoint", "c.mole")
    Path("data.csv").write_bytes(b"".join(content[:31]))
    assert mole(*args)[0] == 0
    Path("data.csv").write_bytes(b"".join(content))  # the file grew
    Path("p.csv").write_bytes(
        Path("p.csv").read_bytes() + b"31,lines that were written after the checkpoint\n"
    )
    status, out, _ = mole(*args, "--resume")
    assert status == 0
    assert "going on after row 30" in out
    assert Path("p.csv").read_text() == whole
    one, other = (checkpoint.read_header(name).config for name in ("whole.mole", "c.mole"))
    assert one["run"] == other["run"]
    assert one["position"] == other["position"]


def test_a_killed_run_goes_on_without_losing_or_doubling_a_row(mole: Mole) -> None:
    Path("data.csv").write_text(table(200))
    whole = whole_run(mole)
    args = ["stream", "data.csv", "--target", "y", "--out", "p.csv", "--checkpoint", "c.mole", "--every", "7"]
    command = [sys.executable, str(HERE / "stream_fakes.py"), "0.01", *args, "--resume"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        seen = 0
        while seen < 28:
            assert process.poll() is None
            time.sleep(0.005)
            seen = checkpoint.read_header("c.mole").config["run"]["rows"] if Path("c.mole").exists() else 0
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    rows = checkpoint.read_header("c.mole").config["run"]["rows"]
    assert rows < 200
    assert rows % 7 == 0
    status, out, _ = mole(*args, "--resume")
    assert status == 0
    assert f"going on after row {rows}" in out
    assert Path("p.csv").read_text() == whole


def test_a_pipe_is_answered_line_by_line_and_ctrl_c_ends_it_between_two_rows(mole: Mole) -> None:
    Path("data.csv").write_text(table(40))
    _, whole, _ = mole("stream", "data.csv", "--target", "y")
    args = ["stream", "-", "--target", "y", "--checkpoint", "c.mole", "--report", "r.html"]
    command = [sys.executable, str(HERE / "stream_fakes.py"), "0", *args]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        answers = []
        for number, line in enumerate(table(40).splitlines(keepends=True)[:26]):
            process.stdin.write(line.encode())
            process.stdin.flush()
            for _ in range(0 if number == 0 else 2 if number == 1 else 1):
                answers.append(
                    process.stdout.readline().decode()
                )  # the next row is sent only after this answer
        process.send_signal(signal.SIGINT)
        message = process.stderr.read().decode()
        assert process.wait() == 130
    assert answers == whole.splitlines(keepends=True)[:26]
    assert "25 rows, 25 learned" in message
    assert "interrupted" in message
    assert Path("r.html").exists()
    status, out, _ = mole("stream", "data.csv", "--target", "y", "--checkpoint", "c.mole", "--resume")
    assert status == 0  # the file holds what the pipe gave
    assert out.splitlines() == whole.splitlines()[26:]


def test_new_input_is_learned_after_the_old(mole: Mole) -> None:
    rows = table(60).splitlines(keepends=True)
    Path("data.csv").write_text("".join(rows))
    whole = whole_run(mole)
    args = ("--target", "y", "--out", "p.csv", "--checkpoint", "c.mole")
    Path("january.csv").write_text("".join(rows[:31]))
    Path("february.csv").write_text("".join([rows[0], *rows[31:]]))
    assert mole("stream", "january.csv", *args)[0] == 0
    assert mole("stream", "february.csv", *args, "--resume")[2].endswith(
        "give the same input again, or --new-input to learn on from an input of new rows "
    )
    assert mole("stream", "february.csv", *args, "--resume", "--new-input")[0] == 0
    assert Path("p.csv").read_text() == whole


def test_a_checkpoint_of_other_options_is_refused(mole: Mole) -> None:
    Path("data.csv").write_text(table(30))
    args = ("stream", "data.csv", "--target", "y", "--checkpoint", "c.mole")
    assert mole(*args, "--out", "p.csv")[0] == 0
    for more, message in (
        ((), "the checkpoint c.mole is there already: add --resume to go on from it, or delete it"),
        (("--resume", "--out", "p.csv", "--seed", "1"), "other options: seed 0, now 1. Go on with the same"),
        (("--resume", "--out", "p.csv", "--level", ".8", "--features", "a"), "features None, now ('a',); level 0.9"),
        (("--resume", "--out", "p.csv", "--task", "classification"), "task 'regression', now 'classification'"),
        (("--resume", "--out", "q.csv"), "c.mole was written with --out p.csv, now q.csv; give the same"),
    ):  # fmt: skip
        status, _, err = mole(*args, *more)
        assert status == 2
        assert message in err
    Path("p.csv").write_text("row\n")
    assert "p.csv has 4 bytes, expected at least" in mole(*args, "--resume", "--out", "p.csv")[2]
    Path("p.csv").unlink()
    assert "p.csv is gone, and the checkpoint goes on in it" in mole(*args, "--resume", "--out", "p.csv")[2]
    checkpoint.save("c.mole", {"a": 1.0}, kind="prior", config={})
    assert "c.mole holds a 'prior', expected a 'stream-run'" in mole(*args, "--resume", "--out", "p.csv")[2]


def test_a_saved_run_is_the_run(tmp_path: Path) -> None:
    settings = StreamSettings("y", "regression", ("a",))
    run = StreamRun(settings, FakeRegressor())
    for i in range(9):
        run.step(Row(i, {"a": i, "y": 2 * i if i % 4 else "x"}, "", {"line": i}))
    save_run(tmp_path / "c.mole", SavedRun(run, {"line": 8}, None, 0))
    back = load_run(tmp_path / "c.mole", settings, FakeRegressor.load)
    assert (back.position, back.output, back.length) == ({"line": 8}, None, 0)
    assert back.run.to_json() == run.to_json()
    assert isinstance(back.run.estimator, FakeRegressor)
    assert back.run.estimator.state == run.estimator.state


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(table(2000))  # more than a pipe holds
    command = [sys.executable, str(HERE / "stream_fakes.py"), "0", "stream", str(path), "--target", "y"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        message = process.stderr.read().decode()
        assert process.wait() == 0
    assert "error" not in message.replace("mean-square error", "")


# --- the live view


def test_the_view_shows_speed_error_task_and_bands() -> None:
    run = StreamRun(StreamSettings("y", "regression"), FakeRegressor())
    view = StreamView(run)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(view)
    assert "no error yet" in console.export_text()
    for i in range(50):
        view.update(run.step(Row(i, {"a": i % 5, "y": 3 * (i % 5)}, "", {})))
    view.update(run.step(Row(50, None, "has 1 columns, expected 2", {})))
    console.print(view)
    text = console.export_text()
    assert "51 rows" in text
    assert "1 bad" in text
    assert re.search(r"[\d,]+ a second", text)
    assert "root-mean-square error: " in text
    assert f"task {run.estimator.task_}, probability" in text
    assert text.count("▄") == 50
    assert text.count("█") == pytest.approx(60, abs=2)


# --- the digest


def test_a_digest_is_bounded_and_its_sums_are_those_of_all_rows() -> None:
    digest = RunDigest()
    rng = np.random.default_rng(0)
    losses, rows = rng.random(5000), 5000
    for i in range(rows):
        digest.add(
            i + 1,
            task=i // 100 % 3,
            shares={i // 100 % 3: 0.5, -1: 0.5},
            loss=float(losses[i]),
            width=2.0,
            covered=i % 10 > 0,
        )
    assert len(digest.bins) <= BINS
    assert sum(one.rows for one in digest.bins) == digest.total.rows == rows
    assert sum(one.loss for one in digest.bins) == pytest.approx(losses.sum())
    assert (digest.total.judged, digest.total.covered, digest.total.width) == (5000, 4500, 10_000.0)
    assert [digest.regimes[task].n_visits for task in (0, 1, 2)] == [17, 17, 16]
    assert digest.regimes[1].visits[:2] == [[101, 200], [401, 500]]
    assert digest.regimes[1].rows == 1700
    assert sum(sum(one.shares.values()) for one in digest.bins) == pytest.approx(2500)


def test_a_flicker_is_no_visit() -> None:
    digest = RunDigest()
    tasks = [0] * 10 + [1] * 4 + [0] * 10 + [1] * 5 + [0] * 2 + [2] * 5
    for i, task in enumerate(tasks):
        digest.add(i + 1, task=task, shares={task: 1.0})
    visits = {task: regime.visits for task, regime in digest.regimes.items()}
    assert visits == {0: [[1, 24]], 1: [[25, 29]], 2: [[32, 36]]}


def test_what_was_only_suspected_is_no_regime() -> None:
    digest = RunDigest()
    for i, task in enumerate([0] * 10 + [1] * 4 + [0] * 10):
        digest.add(i + 1, task=task, shares={task: 1.0})
    assert set(digest.regimes) == {0, 1}
    assert set(digest.visited) == {0}
    assert set(RunDigest.from_json(json.loads(json.dumps(digest.to_json()))).visited) == {0}


def test_probabilities_are_those_of_task_numbers() -> None:
    shares, tasks = [0.5, 0.25, 0.125, 0.125], [3, -1, 0, -1]
    assert shares_of(shares, tasks, 3) == {3: 0.5, 0: 0.125, -1: 0.375}
    assert shares_of(shares, tasks, 4) == {3: 0.5, 0: 0.125, 4: 0.375}  # suspected: the next number
    assert shares_of([np.nan] * 4, tasks, 3) == {}


def test_the_band_has_the_colours_of_the_tasks() -> None:
    run = StreamRun(StreamSettings("y", "regression"), FakeRegressor())
    view = StreamView(run)
    view.update(Outcome(1, task=1, probability=0.5, shares={0: 0.25, 1: 0.5, -1: 0.25}))
    band = next(line for line in view.__rich__().renderables if isinstance(line, Text) and "█" in line.plain)
    spans = [(str(span.style), span.end - span.start) for span in band.spans]
    assert spans == [(task_colour(1), 30), (task_colour(0), 15), ("bright_black", 15)]


# --- fit-prior


def test_fit_prior_reads_every_file_as_one_trajectory(mole: Mole, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("one.csv").write_bytes(dirty())
    Path("two.jsonl").write_text(
        '{"b": 2, "a": 1.5, "colour": "red", "y": 4}\n{"a": 2.5, "colour": "blue", "y": 5}\n'
    )
    got: dict[str, Any] = {}

    def fit_prior(trajectories: Any, **settings: Any) -> str:
        got.update(settings, trajectories=trajectories)
        return "a prior"

    def save_prior(path: Path, prior: Any, provenance: dict[str, Any]) -> None:
        path.write_text(json.dumps([prior, provenance]))

    monkeypatch.setattr(priors, "fit_prior", fit_prior)
    monkeypatch.setattr(priors, "save_prior", save_prior)
    args = (
        "fit-prior",
        "one.csv",
        "two.jsonl",
        "--target",
        "y",
        "--width",
        "16",
        "--seed",
        "3",
        "--out",
        "p.mole",
    )
    status, out, _ = mole(*args)
    assert status == 0
    assert "one.csv: 60 rows, and 11 bad ones left out" in out
    assert "two.jsonl: 2 rows" in out
    schema = got["schema"]
    assert (got["kind"], got["width"], got["seed"], got["labels"]) == ("regression", 16, 3, [])
    assert got["checkpoint"].path == Path("p.mole.part")
    assert schema.names == ("a", "b", "b (missing)", "colour=red", "colour=blue", "colour (unseen)")
    first, second = got["trajectories"]
    assert first.x.shape == (60, 6)
    assert first.y[:, 0].tolist() == [np.float32(row["y"]) for row in lines(table())]
    assert second.x[:, [0, 2]].tolist() == [[1.5, 0.0], [2.5, 1.0]]
    assert second.y.tolist() == [[4.0], [5.0]]
    prior, provenance = json.loads(Path("p.mole").read_text())
    assert prior == "a prior"
    assert provenance["rows"] == 62
    assert provenance["command"].startswith("mole fit-prior one.csv two.jsonl --target y")


def test_fit_prior_makes_labels_one_hot_in_the_order_of_their_appearance(
    mole: Mole, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("one.csv").write_text("a,y\n1,u\n2,v\n3,u\n")
    Path("two.csv").write_text("a,y\n1,7\n2,u\n")
    got: list[Any] = []
    monkeypatch.setattr(
        priors, "fit_prior", lambda trajectories, **settings: got.extend([trajectories, settings])
    )
    monkeypatch.setattr(priors, "save_prior", lambda path, prior, provenance: got.append(provenance))
    assert mole("fit-prior", "one.csv", "two.csv", "--target", "y")[0] == 0
    (first, second), settings, provenance = got
    assert (settings["kind"], settings["labels"]) == ("classification", ["u", "v", 7])
    assert first.y.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert second.y.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert provenance["target"] == "y"


def test_fit_prior_refuses_what_it_cannot_learn_from(mole: Mole) -> None:
    Path("data.csv").write_text("a,y\n1,\n2,\n3,4\n")
    Path("none.csv").write_text("a,y\n1,\n")
    for args, message in (
        (("data.csv", "--target", "z"), "data.csv has no column 'z'"),
        (("data.csv", "none.csv", "--target", "y"), "none.csv has 1 rows and none to learn from"),
        (
            ("data.csv", "--target", "y", "--out", "no/p.mole"),
            "cannot write no/p.mole: its folder does not exist",
        ),
        (("data.csv", "--target", "y", "--features", "a,y"), "expected columns without the target 'y'"),
    ):
        status, _, err = mole("fit-prior", *args)
        assert status == 2
        assert message in err


# --- the page that explains every column


@pytest.mark.parametrize(
    ("head", "columns"), [("regression", REGRESSION), ("classification", CLASSIFICATION)]
)
def test_the_page_explains_every_column(head: str, columns: tuple[str, ...]) -> None:
    assert explained(head) == list(columns)


def test_the_page_names_every_kind_of_bad_row() -> None:
    source = (HERE.parent / "src/mole/rows/checks.py").read_text()
    kinds = set(re.findall(r'Checked\(\s*(?:x|None),\s*None,\s*"([^"]+)"', source))
    assert len(kinds) > 8
    runner = (HERE.parent / "src/mole/pipeline/runner.py").read_text()
    kinds |= set(re.findall(r'problem="([^"]+)"', runner))
    assert set(explained("kind")) == kinds | {"cannot be read"}


def explained(head: str) -> list[str]:
    """The first column of the table whose first heading is ``head``."""
    page = (HERE.parent / "docs/stream-columns.md").read_text()
    lines = page[page.index(f"| `{head}` |") :].split("\n\n")[0].splitlines()[2:]
    return [line.split("|")[1].strip().strip("`") for line in lines]
