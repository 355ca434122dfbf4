"""What an evaluation tells the terminal, its tables as data, the demo's video, and the priors of the package."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mole.control.records import EpisodeRecord
from mole.experiment.config import Cell
from mole.experiment.evaluate import Tick
from mole.priors.shipped import control_files
from mole.report import footage
from mole.report.console import LiveRuns, results_table, runs_csv, summary
from mole.report.footage import demo_video
from mole.report.tables import rows_of

SCHEDULE = "alternate:A,B:50"


def run(method: str, seed: int, *, reward: float = 1.0, steps: int = 200, **meta: Any) -> EpisodeRecord:
    """A run with the same reward at every step; ``mole`` follows the true task exactly, the others keep one model."""
    true_task = np.arange(steps) // 50 % 2
    slots = 3 if method == "mole" else 1
    task = true_task if method == "mole" else np.zeros(steps, int)
    return EpisodeRecord(
        reward=np.full(steps, reward),
        loss=np.full(steps, 0.125),
        responsibilities=np.eye(slots)[task],
        task=task,
        n_tasks=np.maximum.accumulate(task) + 1,
        spawned=np.zeros(steps, bool),
        at_capacity=np.zeros(steps, bool),
        rejected=np.zeros(steps, bool),
        true_task=true_task,
        position=np.zeros(steps),
        upright=np.ones(steps),
        seconds=np.full(steps, 0.0125),
        meta={
            "env": "mole/HalfCheetahMotors-v0",
            "method": method,
            "schedule": SCHEDULE,
            "seed": seed,
            "step_seconds": 0.05,
            "complete": True,
            "error": None,
            **meta,
        },
    )


def drawn(renderable: Any, width: int = 200) -> list[list[str]]:
    """The cells of a table as it is printed, the title as a row of its own."""
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(renderable)
    rows = [re.split(r"\s*[│┃]\s*|\s{2,}", line.strip(" │┃")) for line in console.export_text().splitlines()]
    return [[cell.strip() for cell in row] for row in rows if any(re.search(r"\w", cell) for cell in row)]


RUNS = [run("mole", 0, reward=1.0), run("mole", 1, reward=3.0), run("kshot", 0, reward=-0.5)]


def test_the_table_shows_means_with_their_intervals_and_a_dash_for_what_has_no_meaning() -> None:
    title, header, first, ends, second = drawn(results_table(rows_of(RUNS)))
    assert title == [SCHEDULE]
    assert "random" not in header, "a column that no method has"
    mole, kshot = dict(zip(header, first, strict=True)), dict(zip(header, second, strict=True))
    assert mole["method"] == "mole"
    assert mole["return"] == "2000"
    low, high = re.fullmatch(r"(\d+)\.\.(\d+)", ends[0]).groups()  # pyright: ignore
    assert 1000 <= int(low) <= 2000 <= int(high) <= 3000
    assert mole["ms"] == "12.5", "no interval where there is none to speak of"
    assert mole["recall"] == "1.00"
    assert (kshot["method"], kshot["return"]) == ("kshot", "-500"), "a single run has no interval"
    assert (kshot["recall"], kshot["delay"], kshot["tasks"]) == ("–", "–", "1.0")
    assert kshot["error"] == "0.125"


def test_the_error_under_random_actions_has_a_column_once_it_is_known() -> None:
    rows = rows_of([run("mole", 0, random_action_error=0.25), run("kshot", 0)])
    _, header, mole, kshot = drawn(results_table(rows))
    place = header.index("random")
    assert (mole[place], kshot[place]) == ("0.250", "–")


def test_the_summary_is_plain_json_and_says_none_where_there_is_nothing() -> None:
    rows = summary(rows_of(RUNS))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    mole, kshot = rows
    assert (mole["schedule"], mole["method"], mole["seeds"]) == (SCHEDULE, "mole", [0, 1])
    mean, low, high = mole["return_per_1000"]
    assert mean == pytest.approx(2000)
    assert low < mean < high
    assert kshot["return_per_1000"] == [pytest.approx(-500), None, None]
    assert kshot["recall"] is None
    assert kshot["error_all"][0] == pytest.approx(0.125)


def test_the_runs_as_csv_have_one_line_each_with_every_figure() -> None:
    table = list(csv.DictReader(io.StringIO(runs_csv(rows_of(RUNS)))))
    assert [(row["schedule"], row["method"], row["seed"]) for row in table] == [
        (SCHEDULE, "mole", "0"),
        (SCHEDULE, "mole", "1"),
        (SCHEDULE, "kshot", "0"),
    ]
    assert [float(row["return_per_1000"]) for row in table] == pytest.approx([1000, 3000, -500])
    assert table[2]["recall"] == ""
    assert None not in table[0], "more values than names"


def test_the_live_table_shows_the_latest_of_each_run() -> None:
    live = LiveRuns(steps=200)
    one, other = Cell("mole", SCHEDULE, 3), Cell("kshot", SCHEDULE, 4)
    live.tick(Tick(one, 50, 25.0, 0.5, 1))
    live.tick(Tick(other, 25, -5.0, float("nan"), 1))
    live.tick(Tick(one, 100, 75.0, 0.125, 2))
    header, *rows = drawn(live)
    assert header == ["method", "schedule", "seed", "step", "return / 1000", "error now", "tasks"]
    assert rows == [
        ["mole", SCHEDULE, "3", "100/200", "750", "0.125", "2"],
        ["kshot", SCHEDULE, "4", "25/200", "-200", "nan", "1"],
    ]


# --- the demo's video


def test_without_rendering_the_demo_has_no_video_and_says_why_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(footage, "rendering_available", lambda: (False, "no video: MuJoCo cannot render"))
    assert demo_video(RUNS, tmp_path) == ({}, "MuJoCo cannot render")


def test_runs_that_are_too_short_have_no_video(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(footage, "rendering_available", lambda: (True, ""))
    for steps in (30, 200):
        videos, reason = demo_video([run("mole", 0, steps=steps), run("kshot", 0, steps=300)], tmp_path)
        assert not videos
        assert reason == f"the runs are too short ({steps} steps) to show a return of a task"


def test_the_video_shows_the_runs_that_it_is_given_whatever_else_the_folder_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for method in ("mole", "kshot"):
        for seed in (0, 1):
            (tmp_path / f"{Cell(method, SCHEDULE, seed).name}.actions.npz").touch()
    shown, closed = [], []

    def frames(record: EpisodeRecord, actions: Path, *, steps: range) -> Iterator[np.ndarray]:
        shown.append((record.meta["method"], actions.name, steps))
        colours = np.random.default_rng(len(shown)).integers(0, 255, (len(steps), 3), np.uint8)
        return replay(record.meta["method"], colours)

    def replay(method: str, colours: np.ndarray) -> Iterator[np.ndarray]:
        try:
            yield from (np.broadcast_to(colour, (60, 90, 3)) for colour in colours)
        finally:
            closed.append(method)

    monkeypatch.setattr(footage, "rendering_available", lambda: (True, ""))
    monkeypatch.setattr(footage, "replay_frames", frames)
    runs = [run("mole", 1, steps=240), run("continuous", 1, steps=240), run("kshot", 1, steps=300)]
    videos, reason = demo_video(runs, tmp_path)
    assert reason == ""
    assert shown == [
        ("mole", "mole--alternate_A_B_50--1.actions.npz", range(180, 240)),
        ("kshot", "kshot--alternate_A_B_50--1.actions.npz", range(180, 240)),
    ]
    ((caption, path),) = videos.items()
    assert caption == "mole beside kshot, steps 180 to 240; broken motors are red"
    with Image.open(path) as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((184, 60), 60)
    assert sorted(closed) == ["kshot", "mole"], "an environment was left open"


# --- priors of the package


def test_shipped_priors_are_named_by_environment() -> None:
    meta, supervised = control_files("mole/HalfCheetahMotors-v0")
    assert (meta.name, supervised.name) == ("half_cheetah_motors.mole", "half_cheetah_motors_supervised.mole")
    assert meta.parent == supervised.parent
    assert meta.parent.parts[-2:] == ("mole", "assets")
    with pytest.raises(FileNotFoundError, match=r"no prior for Ant-v5 comes .*\)\. Make one: mole train Ant"):
        control_files("Ant-v5")
