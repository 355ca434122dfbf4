"""The remaining time of an evaluation: sums of measured rates."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mole.commands.runs import duration
from mole.experiment.config import Cell
from mole.experiment.evaluate import Job, Tick
from mole.report.console import RemainingTime


def jobs(*methods: str, steps: int = 100) -> list[Job]:
    config = cast("Any", SimpleNamespace(steps_of=lambda method: steps))
    return [Job(config, Cell(m, "s", i), Path()) for i, m in enumerate(methods)]


def tick(job: Job, step: int) -> Tick:
    return Tick(job.cell, step, 0.0, 0.0, 1)


def remaining(some: list[Job], workers: int = 1) -> RemainingTime:
    return RemainingTime(some, workers)


def test_nothing_is_guessed_before_anything_is_measured() -> None:
    one, two = jobs("a", "a")
    left = remaining([one, two])
    assert left.seconds(0.0) is None
    left.tick(tick(one, 0), 5.0)
    left.tick(tick(one, 25), 15.0)  # compilation: no rate yet
    assert left.seconds(15.0) is None


def test_a_running_cell_is_judged_by_its_steps_since_the_first() -> None:
    one, two = jobs("a", "a")
    left = remaining([one, two])
    left.tick(tick(one, 0), 0.0)
    left.tick(tick(one, 25), 100.0)
    left.tick(tick(one, 50), 105.0)  # .2 s a step
    assert left.seconds(105.0) == pytest.approx(0.2 * (50 + 100))


def test_a_finished_cell_gives_the_rate_of_its_method_compilation_included() -> None:
    one, two, other = jobs("a", "a", "b")
    left = remaining([one, two, other], workers=2)
    left.tick(tick(one, 0), 0.0)
    left.tick(tick(one, 100), 40.0)
    left.done(one.cell, 50.0)  # .5 s a step
    assert left.seconds(50.0) == pytest.approx(0.5 * 200 / 2)
    left.tick(tick(other, 0), 50.0)
    left.tick(tick(other, 100), 60.0)
    left.done(other.cell, 60.0)  # .1 s a step
    assert left.rates(60.0) == {("", "a"): pytest.approx(0.5), ("", "b"): pytest.approx(0.1)}
    assert left.seconds(60.0) == pytest.approx(50.0)  # one cell is left: two workers do not halve it
    left.done(two.cell, 61.0)  # it failed before its first steps: nothing measured
    assert left.seconds(61.0) == 0.0
    assert left.rates(61.0)["", "a"] == pytest.approx(0.5)


def test_durations_are_short() -> None:
    assert [duration(s) for s in (0.4, 89, 90, 600, 3599, 7500)] == [
        "0 s",
        "89 s",
        "2 min",
        "10 min",
        "1 h 00 min",
        "2 h 05 min",
    ]
