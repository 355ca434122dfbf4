"""Every kind of file that mole 0.1 wrote is read, and what was in it goes on as it did in 0.1.

The files, and what 0.1 made of them, are in ``golden``; `golden/make_golden.py` says how they were made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mole
from golden import steps
from helpers import bits
from mole.cli import main
from mole.control.records import EpisodeRecord
from mole.files import checkpoint
from mole.online.stack import NOTHING_COUNTED

# What differs between 0.1 and later versions is in these functions and names alone.

ORDERED = {"classifier-rows", "stream-classification"}
"""Streams with a new label, or with labels in runs: these tell nothing about tasks now (`mole.readout.order`), and so
the numbers are others from the first pair on that is learned here. All that is asked before is compared."""


def load(path: Path, kind: str) -> Any:
    """The prior in a file, of the kind that is expected."""
    kinds = {"control": mole.MetaPrior, "readout": mole.ReadoutPrior, "stream": mole.StreamPrior}
    return mole.load_prior(path, kinds[kind])


def written_here(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Say that the libraries are those that wrote a file: what runs is begun again with others, by intention."""
    found = checkpoint.read_header(path).libraries
    monkeypatch.setattr(checkpoint, "libraries", lambda: found)


def log_counts(model: Any) -> np.ndarray:
    """Logarithms of the counts of the Chinese restaurant in a mixture's state, or in all of a fleet."""
    state = model._whole() if isinstance(model, mole.Fleet) else model._state
    return np.asarray(state.log_counts)


HERE = steps.HERE
LOADERS: dict[str, Callable[[Path], Any]] = {
    "regressor": mole.OnlineRegressor.load,
    "classifier": mole.OnlineClassifier.load,
    "fleet": mole.Fleet.load,
}
MODELS = sorted(path.stem for path in (HERE / "models").glob("*.mole"))
ABOUT = json.loads((HERE / "expected.json").read_text())
ROWS = json.loads((HERE / "rows.json").read_text())
# The last bits of a result depend on the processor, the libraries and on how XLA puts a program together, which under
# the flags of the tests changes with every rewriting. So numbers are compared here as closely as float32 allows, and
# bit for bit by the programs of users (the last test), on the machine that wrote the files.
SAME_MACHINE = ABOUT["machine"] == steps.machine()
ROUNDED = {"rtol": 1e-5, "atol": 1e-6}
ELSEWHERE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What 0.1 gave, by the name of the file and of the result."""
    with np.load(HERE / "expected.npz") as found:
        return dict(found)


def of(expected: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """What is expected of one file."""
    return {key.removeprefix(f"{name}/"): v for key, v in expected.items() if key.startswith(f"{name}/")}


def assert_same(name: str, got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Everything that 0.1 gave is there, and the same."""
    same = SAME_MACHINE and (not name.startswith("fleet") or ABOUT["cores"] == steps.cores())
    for key, want in expected.items():
        found, message = np.asarray(got[key]), f"{name}: {key}"
        assert (found.shape, found.dtype.kind) == (want.shape, want.dtype.kind), message
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(found, want, message)
        else:
            np.testing.assert_allclose(found, want, **(ROUNDED if same else ELSEWHERE), err_msg=message)


@pytest.mark.parametrize("name", MODELS)
def test_priors_estimators_and_fleets_go_on(name: str, expected: dict[str, np.ndarray]) -> None:
    want, kind = of(expected, name), name.split("-")[0]
    path = HERE / "models" / f"{name}.mole"
    loaded = LOADERS[kind](path) if kind in LOADERS else load(path, kind)
    if "counts" in want:
        with np.errstate(divide="ignore"):  # nothing was counted in a slot that is not in use
            logarithms = np.log(want.pop("counts"))
        logarithms = np.maximum(logarithms, np.float32(NOTHING_COUNTED))
        assert_same(name, {"log counts": log_counts(loaded)}, {"log counts": logarithms})
    if name in ROWS:
        x, y = ROWS[name]
    else:
        x, y = want.pop("given/x"), want.pop("given/y")
    found = steps.STEPS[kind](loaded, x, y)
    if name in ORDERED:
        assert set(found) == set(want)
        want = {key: value for key, value in want.items() if key.startswith("loaded/")}
    assert_same(name, found, want)


def test_there_is_a_file_of_every_kind(expected: dict[str, np.ndarray]) -> None:
    assert len(MODELS) >= 20
    assert set(MODELS) == {key.split("/")[0] for key in expected}


# Folders of commands: `command.json` in each is the command that wrote it.


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], list[str]]:
    """Take a folder over, under the name that its command has for it, and give the command back."""
    monkeypatch.chdir(tmp_path)

    def take(name: str, place: str = ".") -> list[str]:
        shutil.copytree(HERE / name, tmp_path / place, dirs_exist_ok=True)
        command = tmp_path / place / "command.json"
        args = json.loads(command.read_text())
        command.unlink()
        return args

    return take


@contextmanager
def restarts_allowed() -> Iterator[None]:
    """With other libraries than those of the file, what was stopped is begun again, and that is told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def assert_same_arrays(got: Path, expected: Path) -> None:
    """Two files of arrays are alike, number by number."""
    with np.load(got) as one, np.load(expected) as other:
        assert set(one) == set(other)
        for key in other:
            np.testing.assert_array_equal(one[key], other[key], f"{expected.name}: {key}")


@pytest.mark.parametrize("kind", ["regression", "classification", "prior"])
def test_a_stopped_stream_goes_on(
    begun: Callable[..., list[str]], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = begun(f"stream-{kind}")
    assert main([*args, "--resume"]) == 0
    assert "going on after row 200" in capsys.readouterr().out
    out = Path(args[args.index("--out") + 1])
    got, whole = out.read_text(), Path(f"whole{out.suffix}").read_text()
    assert got.splitlines()[:200] == whole.splitlines()[:200]
    number = r"-?\d+\.\d+(?:e-?\d+)?"
    assert re.sub(number, "#", got) == re.sub(number, "#", whole)  # tasks, rows, labels and notes too
    numbers = ([float(found) for found in re.findall(number, text)] for text in (got, whole))
    if f"stream-{kind}" not in ORDERED:
        np.testing.assert_allclose(*numbers, **(ROUNDED if SAME_MACHINE else ELSEWHERE))


@pytest.mark.parametrize("same_libraries", [True, False])
def test_a_stopped_fit_of_a_prior_begins_again(
    begun: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, same_libraries: bool
) -> None:
    # Its rows have a time, which in 0.1 was drawn in like any other input, and bent the trends that go on.
    args = begun("fit-prior")
    if same_libraries:
        written_here(monkeypatch, Path("prior.mole.part"))
    with restarts_allowed():
        assert main(args) == 0
    got, whole = (load(Path(name), "stream") for name in ("prior.mole", "whole.mole"))
    assert (got.kind, got.labels, got.schema.names) == (whole.kind, whole.labels, whole.schema.names)
    assert [got.schema.names[place] for place in got.prior.features.growing] == ["at (elapsed)"]
    assert whole.prior.features.growing == ()


@pytest.mark.parametrize(
    ("stage", "same_libraries"),
    [("control", True), ("meta", True), ("twin", True), ("control", False), ("whole", True)],
)
def test_a_stopped_training_goes_on(
    begun: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, stage: str, same_libraries: bool
) -> None:
    args, whole = begun(f"train-{stage}", "train"), HERE / "train-whole"
    if same_libraries:
        for path in Path("train").glob("*.part"):
            written_here(monkeypatch, path)
        assert main(args) == 0
    else:
        with restarts_allowed():
            assert main(args) == 0
    names = {path.name for path in whole.iterdir()} - {"command.json"}
    assert {path.name for path in Path("train").iterdir()} - {".lock"} == names
    for path in whole.glob("*.mole"):
        got, expected = load(Path("train") / path.name, "control"), load(path, "control")
        if SAME_MACHINE:
            assert bits(got) == bits(expected), path.name
    for path in whole.glob("*.npz"):
        if SAME_MACHINE:
            assert_same_arrays(Path("train") / path.name, path)
    if SAME_MACHINE:
        assert events(Path("train/log.jsonl")) == events(whole / "log.jsonl")


def events(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, without their times."""
    times = ("wall_seconds", "processor_seconds", "seconds", "ms_per_step")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in times} for line in lines]


def assert_same_records(got: Path, expected: Path) -> None:
    """Two records hold the same, but for the seconds that it took and who made them."""
    one, other = EpisodeRecord.load(got), EpisodeRecord.load(expected)
    for key in vars(other).keys() - {"seconds", "meta"}:
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key), f"{expected.name}: {key}")
    for key in other.meta.keys() - {"versions", "machine"}:
        assert one.meta[key] == other.meta[key], f"{expected.name}: {key}"


def evaluated(begun: Callable[..., list[str]], name: str) -> list[str]:
    """A folder of an evaluation, with its priors."""
    for prior in ("prior.mole", "supervised.mole"):
        shutil.copy(HERE / "train-whole" / prior, prior)
    return begun(name, "eval")


def test_a_stopped_evaluation_goes_on(begun: Callable[..., list[str]]) -> None:
    args, whole = evaluated(begun, "eval-killed"), HERE / "eval-whole"
    done = [path for path in Path("eval").glob("*.npz") if path.name.startswith(("kshot", "mole-paper"))]
    kept = {path.name: path.read_bytes() for path in done}
    assert len(kept) == 4
    assert main(args) == 0
    assert all((Path("eval") / name).read_bytes() == content for name, content in kept.items())
    assert not list(Path("eval").glob("*.mole*"))
    for path in whole.glob("*.npz"):
        if SAME_MACHINE:
            same = assert_same_arrays if path.name.endswith(".actions.npz") else assert_same_records
            same(Path("eval") / path.name, path)
        elif not path.name.endswith(".actions.npz"):
            assert EpisodeRecord.load(Path("eval") / path.name).meta["complete"]


def test_a_finished_evaluation_is_only_read(begun: Callable[..., list[str]]) -> None:
    args = evaluated(begun, "eval-whole")
    before = {path.name: path.read_bytes() for path in Path("eval").glob("*.npz")}
    Path("eval/runs.csv").unlink()
    assert main(args) == 0
    assert before == {path.name: path.read_bytes() for path in Path("eval").glob("*.npz")}
    assert_same(
        "runs.csv", steps.table_of(Path("eval/runs.csv")), steps.table_of(HERE / "eval-whole/runs.csv")
    )
    assert main(["report", "eval", "--out", "page.html", "--no-videos"]) == 0
    page = Path("page.html").read_text()
    assert all(method in page for method in ("mole", "mole-paper", "kshot", "continuous"))


def test_parquet_records_are_read() -> None:
    pytest.importorskip("pyarrow")
    found = list((HERE / "eval-whole").glob("*.parquet"))
    assert len(found) == 4
    for path in found:
        assert_same_records(path, path.with_suffix(".npz"))


def test_a_finished_suite_is_only_read(
    begun: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    args = begun("suite")
    before = {path: path.read_bytes() for path in Path("suite").rglob("*.npz")}
    assert main(args) == 0
    assert "6 runs, 6 of them done" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in Path("suite").rglob("*.npz")}
    for path in (HERE / "suite" / "suite").rglob("runs.csv"):
        got = Path("suite") / path.parent.name / path.name
        assert_same("runs.csv", steps.table_of(got), steps.table_of(path))


def test_learners_give_the_bits_of_version_0_1(tmp_path: Path) -> None:
    """As users' programs are compiled, every learner predicts and learns as it did, to the last bit."""
    flags = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    script = str(HERE / "learners.py")
    subprocess.run([sys.executable, script, str(tmp_path / "now.npz")], check=True, env=flags)
    with np.load(HERE / "learners.npz") as then, np.load(tmp_path / "now.npz") as now:
        assert set(now) == set(then)
        for name in then:
            if SAME_MACHINE:
                np.testing.assert_array_equal(now[name], then[name], name)
            else:
                np.testing.assert_allclose(now[name], then[name], **ELSEWHERE, err_msg=name)
