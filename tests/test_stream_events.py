"""``mole stream --events`` and ``--label-delay`` in time."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mole
from mole.cli import main
from mole.pipeline.events import EventFeed
from mole.pipeline.late import LabelDelay, LateTargets, delay_from
from mole.pipeline.runner import StreamRun, StreamSettings
from mole.pipeline.sources import Row

ROWS, SWITCH, BAD = 110, 70, (20, 21, 75)  # fewer than 128 rows: no prior is trained


def lines() -> list[str]:
    """Two regimes; a bad row in the first, and one while the second is being noticed."""
    rng, made = np.random.default_rng(0), ["load,wind,power"]
    for t in range(ROWS):
        load, wind = rng.normal(size=2)
        y = (2 * load if t < SWITCH else 6 - load) + 0.05 * rng.normal()
        made.append(f"{load},{wind},{'none at all' if t in BAD else y}")
    return made


def stream(folder: Path, *options: Any, rows: int = ROWS) -> list[dict[str, Any]]:
    (folder / "data.csv").write_text("\n".join(lines()[: rows + 1]) + "\n")
    command = ["stream", "data.csv", "--target", "power", "--out", "out.csv", "--events", "events.jsonl"]
    assert main([*command, *map(str, options)]) == 0
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, stream(folder, "--report", "report.html")


def test_events_have_the_rows_and_names_of_the_input(whole):
    events = whole[1]
    assert [(one["event"], one["task"], one["before"]) for one in events] == [
        ("began", 0, None),
        ("began", 1, 0),
    ]
    assert events[0]["row"] == events[0]["noticed"] == 1
    # Rows of the input, bad ones included: the pair of row 76 is the 73rd that was learned.
    assert 0 <= events[1]["row"] - 1 - SWITCH <= 2
    assert events[1]["noticed"] > BAD[2]
    assert events[1]["outputs"][0]["output"] == "power"
    assert events[1]["columns"][0]["column"] == "load" and events[1]["columns"][0]["output"] == "power"
    assert abs(events[1]["outputs"][0]["change"] - 6) < 1


def test_the_report_tells_of_every_regime_in_words(whole):
    page = (whole[0] / "report.html").read_text()
    words = page[page.index("<h3>The regimes in words</h3>") :]
    words = re.sub(r"<[^>]*>", " ", words[: words.index("</div>")])
    first, second = words.split("task 0 :")[1].split("task 1 :")
    assert "rows between row 1 and row" in first and "root-mean-square error" in first
    assert "Here the expected power is" in first and "moves with load (+" in first
    assert (
        "Different from task 0, the regime before: power by +" in second
        and "the effect of load on power" in second
    )


@pytest.mark.parametrize("rows", [40, 74])
def test_a_run_that_goes_on_writes_the_same_events(whole, rows, tmp_path, monkeypatch):
    """Also where what was written after the checkpoint is cut off, and where a change was not certain yet."""
    monkeypatch.chdir(tmp_path)
    stream(tmp_path, "--checkpoint", "run.mole", rows=rows)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "of a crash"')
    assert stream(tmp_path, "--checkpoint", "run.mole", "--resume") == whole[1]
    assert (tmp_path / "events.jsonl").read_bytes() == (whole[0] / "events.jsonl").read_bytes()


def test_a_run_does_not_go_on_without_its_events(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stream(tmp_path, "--checkpoint", "run.mole", rows=30)
    command = [
        "stream",
        "data.csv",
        "--target",
        "power",
        "--out",
        "out.csv",
        "--checkpoint",
        "run.mole",
        "--resume",
    ]
    assert main(command) != 0
    assert "--events events.jsonl, now None" in " ".join(capsys.readouterr().err.split())


def test_an_event_of_long_ago_has_the_oldest_row_that_is_known():
    class Estimator:
        n_events_ = 1
        events_ = ({"row": 1, "noticed": 500, "outputs": [], "columns": []},)

    feed = EventFeed("y", 1)
    for row in range(1000, 1300):
        assert feed.learned(row, Estimator()) == []
    again = EventFeed("y", 0)
    again.restore(feed.to_json())
    assert again.learned(1300, Estimator())[0] == {"row": 1045, "noticed": 1300, "outputs": [], "columns": []}


# Targets that come some time later.

DAY = dt.timedelta(days=1)


def timed(n: int = 60) -> list[dict[str, Any]]:
    """Irregular times, several rows of one moment among them."""
    rng, when, made = np.random.default_rng(3), dt.datetime(2026, 3, 1), []
    for _ in range(n):
        when += dt.timedelta(hours=int(rng.integers(0, 9)))
        a, b = rng.normal(size=2).tolist()
        made.append({"a": a, "b": b, "when": when, "y": 2 * a - b})
    return made


def begun(clock: str | None = None) -> StreamRun:
    settings = StreamSettings("y", "regression", ("a", "b"), label_seconds=86_400.0, clock=clock)
    return StreamRun(settings, mole.OnlineRegressor(memory=64))


def outcomes(run: StreamRun, records: list[dict[str, Any]], first: int = 0) -> list[Any]:
    return [run.step(Row(first + k + 2, record, "", {})) for k, record in enumerate(records)]


def test_a_delay_in_time_gives_the_figures_of_river():
    pytest.importorskip("river")
    from river.evaluate import iter_progressive_val_score
    from river.metrics import MAE

    from mole.adapters.river import MoleRegressor

    class Seen(MoleRegressor):
        """Without the time, which the run here does not learn from either."""

        def learn_one(self, x: Any, y: Any, w: float = 1.0) -> None:
            super().learn_one({name: x[name] for name in "ab"}, y, w)

        def predict_one(self, x: Any) -> float:
            return super().predict_one({name: x[name] for name in "ab"})

    records = timed()
    pairs: list[Any] = [({name: r[name] for name in ("a", "b", "when")}, r["y"]) for r in records]
    *_, last = iter_progressive_val_score(pairs, Seen(memory=64), MAE(), moment="when", delay=DAY)
    run = begun()
    found = outcomes(run, records)
    mine = np.mean([abs(one.prediction - one.target) for one in found])
    assert mine == pytest.approx(last["MAE"].get(), rel=1e-12)
    assert 30 < run.learned < 60


def test_a_run_with_a_delay_in_time_goes_on_from_a_file(tmp_path):
    records = timed(40)
    whole, run = outcomes(begun(), records), begun()
    head = outcomes(run, records[:17])
    run.estimator.save(tmp_path / "model.mole")
    again = StreamRun(run.settings, mole.OnlineRegressor.load(tmp_path / "model.mole"))
    again.restore(json.loads(json.dumps(run.to_json())))
    assert [one.prediction for one in head + outcomes(again, records[17:], 17)] == [
        one.prediction for one in whole
    ]


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("24", (24, 0.0)),
        ("0", (0, 0.0)),
        ("24h", (0, 86_400.0)),
        ("1.5 min", (0, 90.0)),
        ("7d", (0, 604_800.0)),
    ],
)
def test_delays_are_read(text, delay):
    assert tuple(delay_from(text)) == delay


@pytest.mark.parametrize("text", ["-1", "10001", "h", "0h", "3 months", "1e3", ""])
def test_wrong_delays_are_refused(text):
    with pytest.raises(ValueError, match="expected 0 to 10,000 rows, or a time"):
        delay_from(text)


def test_seconds_may_be_a_clock_and_a_row_without_a_time_has_the_last():
    late, known = LateTargets(LabelDelay(seconds=10.0), "t"), []
    for row, t in enumerate([0.0, 4.0, None, 9.9, 10.0, "x", 14.0, 14.0], 1):
        known.append([due for due, _ in late.due(row, {"t": t})])
        late.wait(row, "target")
    assert known == [[], [], [], [], [1], [], [2, 3], []]


def test_no_time_to_tell_by_is_refused():
    with pytest.raises(ValueError, match="row 1 has no time among a, b, y, expected one"):
        begun().step(Row(2, {"a": 1.0, "b": 2.0, "y": 3.0}, "", {}))


def test_what_waits_too_long_is_forgotten_and_counted(monkeypatch):
    monkeypatch.setattr("mole.pipeline.late.MOST_PENDING", 3)
    late = LateTargets(LabelDelay(seconds=10.0), "t")
    for row in range(1, 6):
        assert list(late.due(row, {"t": 0})) == []
        late.wait(row, row)
    assert late.forgotten == 2
    assert [row for row, _ in late.due(6, {"t": 10})] == [3, 4, 5]


def test_the_command_takes_a_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{r['a']},{r['b']},{r['when'].isoformat()},{r['y']}" for r in timed(30)]
    (tmp_path / "data.csv").write_text("\n".join(["a,b,when,y", *rows]) + "\n")
    command = [
        "stream",
        "data.csv",
        "--target",
        "y",
        "--features",
        "a,b",
        "--out",
        "out.csv",
        "--label-delay",
    ]
    assert main([*command, "24h", "--clock", "when"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "30 rows, " in said and "30 learned" not in said
    assert main([*command, "24h", "--clock", "wenn"]) != 0
    assert "no column 'wenn'" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "24", "--clock", "when"]) != 0
    assert "--clock without a --label-delay in time" in " ".join(capsys.readouterr().err.split())
