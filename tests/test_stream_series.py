"""`mole stream` on a series: a value alone, or beside a time; requests, gaps, and a run that goes on."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mole.cli import main
from mole.commands.stream_series import is_series
from mole.pipeline.sources import Row

SEASON = (5.0, 7.0, 9.0, 4.0)
Run = Callable[..., list[dict[str, str]]]


def noisy(rows: int) -> list[float]:
    rng = np.random.default_rng(0)
    return [SEASON[t % 4] + 0.2 * float(rng.standard_normal()) for t in range(rows)]


def table(rows: int, *, time: bool, targets: int | None = None, without: tuple[int, ...] = ()) -> str:
    """Rows of a series; those from ``targets`` on have no target, and those in ``without`` are left out."""
    start, lines = dt.datetime(2026, 1, 1), ["time,y" if time else "y"]
    for t, value in enumerate(noisy(rows)):
        shown = f"{value:.6f}" if targets is None or t < targets else "NA"
        if t not in without:
            lines.append(f"{(start + dt.timedelta(hours=t)).isoformat()},{shown}" if time else shown)
    return "\n".join(lines) + "\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """The command on a table in an empty folder: its predictions."""
    monkeypatch.chdir(tmp_path)

    def stream(text: str, *args: str) -> list[dict[str, str]]:
        Path("data.csv").write_text(text)
        assert main(["stream", "data.csv", "--target", "y", "--out", "out.csv", *args]) == 0
        with Path("out.csv").open() as file:
            return list(csv.DictReader(file))

    yield stream


@pytest.mark.parametrize("time", [True, False])
def test_a_series_is_learned_from_its_past_and_requests_are_forecast(
    run: Run, time: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = run(table(75, time=time, targets=72))
    assert [row["note"] for row in rows] == [""] * 75
    for t in range(72, 75):
        assert float(rows[t]["prediction"]) == pytest.approx(SEASON[t % 4], abs=0.4)
        assert float(rows[t]["low"]) < SEASON[t % 4] < float(rows[t]["high"])
    said = capfd.readouterr().out
    assert "75 rows, 72 learned, 0 bad" in said
    ahead = [float(word) for word in said.partition("next rows: ")[2].split("\n")[0].split(", ")]
    assert len(ahead) == 12
    assert ahead[:4] == pytest.approx([SEASON[t % 4] for t in range(75, 79)], abs=0.4)


def test_rows_that_are_missing_in_time_keep_the_place_in_the_season(run: Run) -> None:
    rows = run(table(72, time=True, without=(60, 61)))
    assert float(rows[60]["prediction"]) == pytest.approx(SEASON[62 % 4], abs=0.6)


def test_a_series_goes_on_from_its_checkpoint(run: Run) -> None:
    whole = run(table(60, time=True))
    run(table(40, time=True), "--checkpoint", "run.mole")
    Path("data.csv").write_text(table(60, time=True))
    again = ("--checkpoint", "run.mole", "--resume")
    assert run(table(60, time=True), *again) == whole


def test_the_regression_of_a_time_can_be_asked_for(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run(table(30, time=True), "--task", "regression")
    assert "next rows" not in capfd.readouterr().out


def test_a_series_with_other_columns_can_be_asked_for(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [f"{t % 3},{value}" for t, value in enumerate(noisy(40))]
    rows = run("\n".join(["price,y", *lines]) + "\n", "--task", "forecast")
    assert len(rows) == 40
    assert "next rows" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([{"y": 1}], True),
        ([{"at": "2026-01-01", "y": 1}], True),
        ([{"at": "2026-01-01", "y": 1, "empty": None}], True),
        ([{"a": 1.0, "y": 1}], False),
        ([{"at": "2026-01-01", "then": "2026-01-02", "y": 1}], False),
        ([{"y": 1}, {"y": 2, "a": "word"}], False),
        ([{"y": 1, "a": [1]}], False),
        ([], False),
    ],
)
def test_what_a_series_is(values: list[dict[str, object]], expected: bool) -> None:
    rows = [Row(values=value, line=place + 2, problem="", position={}) for place, value in enumerate(values)]
    found, given = is_series(rows, "y", live=False)
    assert found == expected
    assert list(given) == rows


@pytest.mark.parametrize(
    ("values", "series"),
    [
        ({"y": 1.0}, True),
        ({"t": "2026-01-01", "y": 1.0}, True),
        ({"a": None, "y": 1.0}, False),
        ({"a": 2, "y": 1}, False),
    ],
)
def test_the_first_row_of_a_pipe_decides(values, series):
    """The next one may not come before this one is predicted."""

    def rows():
        yield Row(2, values, "", {})
        raise AssertionError("a second row was asked for")

    found, given = is_series(rows(), "y", live=True)
    assert (found, next(given).values) == (series, values)
