"""`KeyedFleet`: every key is one estimator, wherever the stream is cut, its state is, and whoever else is there."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest

from mole import (
    KeyedFleet,
    Normalizer,
    OnlineRegressor,
    ReadoutPrior,
    StreamPrior,
    load_prior,
    save_prior,
)
from mole.cli import main
from mole.distributed import FleetShards, read_outputs, shard_of
from mole.distributed.holder import Holder
from mole.estimators.intervals import IntervalTracker, ManyIntervals
from mole.estimators.keyed_programs import BLOCK, FIRST_PAGE, in_blocks, rounds_of
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.files.spill import RecordFile
from mole.rows.encoding import RowEncoder

DX, KEYS, ROWS = 3, 5, 240
SMALL = {"max_tasks": 3, "candidates": 3, "drift": (1e-5,), "found_after": 3.0}


def prior(dy: int = 1) -> ReadoutPrior:
    norms = {"x_norm": Normalizer.identity(DX), "y_norm": Normalizer.identity(dy)}
    return ReadoutPrior.untrained(width=4, depth=1, key=jax.random.key(0), **norms)


def stream(rows: int = ROWS, keys: int = KEYS, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, inputs and targets: a linear map per key, another one from the middle on."""
    rng = np.random.default_rng(seed)
    key, x = rng.integers(0, keys, rows), rng.normal(size=(rows, DX))
    late = (np.arange(rows) >= rows // 2).astype(int)
    return (
        key,
        x,
        np.sum(x * rng.normal(size=(2, keys, DX))[late, key], axis=1) + 0.05 * rng.normal(size=rows),
    )


def table(rows: int) -> list[dict[str, Any]]:
    key, x, y = stream(rows)
    colours = ["red", "blue"]
    return [
        {"machine": f"m{k}", "a": float(a), "b": float(b), "colour": colours[i % 2], "y": float(t) + i % 2}
        for i, (k, (a, b, _), t) in enumerate(zip(key, x, y, strict=True))
    ]


def same(a: Any, b: Any) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def whole() -> Any:
    """All rows as one batch."""
    key, x, y = stream()
    return KeyedFleet(prior(), mixture=SMALL).step(x, y, keys=key)


def test_a_key_is_an_estimator_that_sees_its_rows_alone(whole: Any) -> None:
    key, x, y = stream()
    for one in range(KEYS):
        model = OnlineRegressor(prior(), mixture=SMALL)
        own = np.flatnonzero(key == one)
        steps = [model.step_one(x[row], y[row]) for row in own]
        for name in ("prediction", "low", "high", "loss"):
            told = [getattr(step, name) for step in steps]
            np.testing.assert_allclose(getattr(whole, name)[own], told, rtol=1e-3, atol=1e-4)
        for name in ("task", "n_tasks", "spawned"):
            assert getattr(whole, name)[own].tolist() == [getattr(step, name) for step in steps]
    assert whole.n_tasks.max() > 1  # so that new tasks are among what was compared


def test_it_does_not_matter_where_a_stream_is_cut_and_who_else_is_there(whole: Any) -> None:
    key, x, y = stream()
    fleet, rng, begin = KeyedFleet(prior(), mixture=SMALL), np.random.default_rng(1), 0
    found = []
    while begin < ROWS:
        end = begin + int(rng.integers(1, 40))
        found.append(fleet.step(x[begin:end], y[begin:end], keys=key[begin:end]))
        begin = end
    same((np.concatenate(column) for column in zip(*found, strict=True)), whole)
    alone = KeyedFleet(prior(), mixture=SMALL)
    own = key == 2
    same(alone.step(x[own], y[own], keys=key[own]), (column[own] for column in whole))


def test_a_key_that_left_memory_comes_back_as_if_it_had_stayed(whole: Any, tmp_path: Path) -> None:
    key, x, y = stream()
    fleet, many = KeyedFleet(prior(), mixture=SMALL, max_resident=1, folder=tmp_path), FIRST_PAGE + 20
    half = ROWS // 2
    first = fleet.step(x[:half], y[:half], keys=key[:half])
    for crowd in (1000, 2000):  # others in all places, twice
        fleet.step(np.zeros((many, DX)), np.zeros(many), keys=crowd + np.arange(many))
    assert fleet.n_resident_ == FIRST_PAGE and len(fleet) == KEYS + 2 * many and 2 in fleet
    second = fleet.step(x[half:], y[half:], keys=key[half:])
    same((np.concatenate(pair) for pair in zip(first, second, strict=True)), whole)
    assert len(fleet) == KEYS + 2 * many
    fleet.forget(1003)
    assert 1003 not in fleet and len(fleet.keys) == len(fleet) == KEYS + 2 * many - 1
    with pytest.raises(KeyError, match="1003"):
        fleet.forget(1003)
    small = KeyedFleet(prior(), mixture=SMALL, max_resident=FIRST_PAGE + 1)
    numbers = np.arange(3 * FIRST_PAGE)  # more than the first page holds, and of several pages
    steps = small.step(np.zeros((len(numbers), DX)), np.ones(len(numbers)), keys=numbers)
    assert small.n_resident_ == len(numbers) and np.unique(steps.low).shape == (1,)
    # A new key in the place of another one begins as any new key.
    fresh, other = np.array([5000]), KeyedFleet(prior(), mixture=SMALL)
    same(fleet.step(x[:1], y[:1], keys=fresh), other.step(x[:1], y[:1], keys=fresh))


def test_it_goes_on_from_its_file_bit_for_bit(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key, x, y), half, path = stream(), ROWS // 2, tmp_path / "fleet.mole"
    fleet = KeyedFleet(prior(), mixture=SMALL)
    fleet.step(x[:half], y[:half], keys=key[:half])
    fleet.save(path)
    for mapped in (
        checkpoint._MAPPED,
        0,
    ):  # the second time the states stay in the file and are not read at once
        monkeypatch.setattr(checkpoint, "_MAPPED", mapped)
        again = KeyedFleet.load(path)
        assert again.n_resident_ == 0 and sorted(again.keys) == list(range(KEYS)) and again.n_seen_ == half
        same(again.step(x[half:], y[half:], keys=key[half:]), (column[half:] for column in whole))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        KeyedFleet.load(path)


@pytest.fixture(scope="module")
def grown() -> tuple[KeyedFleet, Any]:
    fleet = KeyedFleet(key="machine", target="y", width=8, memory=128, mixture=SMALL)
    rows = table(200)
    return fleet, [fleet.step(rows[begin : begin + 50]) for begin in range(0, 200, 50)]


def test_without_a_prior_all_keys_make_one_together(grown: Any, tmp_path: Path) -> None:
    fleet, steps = grown
    rows = table(200)
    found = [np.concatenate(column) for column in zip(*steps, strict=True)]
    assert np.isinf(found[2][:64]).all() and np.isfinite(found[2][64:]).all()
    assert found[0][0] == 0.0 and fleet.n_seen_ == 200 and not fleet._kept
    # The mean of the key's targets so far, or of all if the key is new.
    own = [row["y"] for row in rows[:30] if row["machine"] == rows[30]["machine"]]
    np.testing.assert_allclose(found[0][30], np.mean(own))
    for one in ("m0", "m3"):
        model = OnlineRegressor(fleet.prior_, mixture=SMALL)
        for place, row in enumerate(rows):
            if row["machine"] == one:
                step = model.step_one({name: row[name] for name in ("a", "b", "colour")}, row["y"])
                if place >= 128:
                    np.testing.assert_allclose(found[1][place], step.low, rtol=1e-3, atol=1e-4)
    young = KeyedFleet(key="machine", target="y", width=8, memory=128, mixture=SMALL)
    young.step(rows[:100])
    young.save(tmp_path / "young.mole")
    again = KeyedFleet.load(tmp_path / "young.mole")
    same(again.step(rows[100:]), (column[100:] for column in found))


def test_frames_give_what_rows_give(grown: Any) -> None:
    found = [np.concatenate(column) for column in zip(*grown[1], strict=True)]
    for frame in (pd.DataFrame, pl.DataFrame):
        fleet = KeyedFleet(key="machine", target="y", width=8, memory=128, mixture=SMALL)
        same(fleet.step(frame(table(200))), found)


def test_a_row_without_a_target_is_a_question(whole: Any) -> None:
    key, x, y = stream()
    fleet = KeyedFleet(prior(), mixture=SMALL)
    fleet.step(x[:100], y[:100], keys=key[:100])
    asked = fleet.predict(x[100:120], keys=key[100:120])
    doubled = np.repeat(np.arange(100, 120), 2)  # every row first as a question
    told = np.where(np.arange(40) % 2, y[doubled], np.nan)
    steps = fleet.step(x[doubled], told, keys=key[doubled])
    np.testing.assert_array_equal(steps.prediction[::2], steps.prediction[1::2])
    np.testing.assert_array_equal(steps.prediction[1::2], whole.prediction[100:120])
    assert np.isnan(steps.loss[::2]).all() and not steps.fault.any() and fleet.n_seen_ == 120
    first = [row for row in range(20) if key[100 + row] not in key[100 : 100 + row]]
    np.testing.assert_array_equal(asked[first], whole.prediction[100:120][first])
    # Who asks about a stranger hears of the prior, and leaves no trace.
    stranger = fleet.step(x[:1], None, keys=[77])
    assert 77 not in fleet and np.isfinite(stranger.low).all()
    np.testing.assert_array_equal(stranger.prediction, whole.prediction[:1])
    nothing = fleet.step(np.zeros((0, DX)), [], keys=[])
    assert nothing.prediction.shape == (0,)


def test_several_targets_and_their_units() -> None:
    key, x, y = stream(64)
    far = np.stack([y, 1e9 + y], axis=1)
    made = KeyedFleet(key="k", width=4, memory=64, mixture=SMALL)
    rows = [{"k": int(k), "a": float(a)} for k, (a, *_) in zip(key, x, strict=True)]
    steps = made.step(rows, far)
    assert steps.prediction.shape == steps.low.shape == (64, 2)
    assert (
        np.abs(made.predict(rows)[:, 1] - 1e9).max() < 100
    )  # float32 has only 64 as the distance of numbers there


@pytest.mark.parametrize(
    ("rows", "y", "keys", "text"),
    [
        ([{"a": 1.0}], [1.0], None, "row 0; expected whose the row is"),
        ([{"key": None, "a": 1.0}], [1.0], None, "no 'key' in row 0"),
        ([{"key": 1, "a": 1.0}, {"key": float("nan"), "a": 1.0}], [1.0, 1.0], None, "no 'key' in row 1"),
        (
            [{"key": 1, "a": 1.0}, {"key": "1", "a": 1.0}],
            [1.0, 1.0],
            None,
            "'1' as 'key' in row 1; expected whole",
        ),
        ([{"key": True, "a": 1.0}], [1.0], None, "of type bool as 'key'"),
        ([{"key": 1.5, "a": 1.0}], [1.0], None, "of type float as 'key'"),
        ([{"key": 1, "a": [1]}], [1.0], None, "row 0: KeyedFleet got column 'a' with a list"),
        ([{"key": 1, "a": 1.0}], [1.0, 2.0], None, "1 rows and 2 targets"),
        ([{"key": 1, "a": 1.0}], [float("inf")], None, "targets in row 0"),
        ([{"key": 1, "a": 1.0}], ["high"], None, "targets that are not all numbers"),
        ([[1.0, 2.0, 3.0]], [1.0], None, "without a column 'key'"),
        ([[1.0, 2.0, 3.0]], [1.0], [1, 2], "1 rows and 2 keys"),
        ([[1.0, 2.0]], [1.0], [1], "expected 3 finite numbers"),
        ([[1.0, 2.0, float("nan")]], [1.0], [1], "in row 0; expected 3 finite numbers"),
    ],
)
def test_a_wrong_batch_is_refused_as_a_whole(rows: Any, y: Any, keys: Any, text: str) -> None:
    named = isinstance(rows[0], dict)
    fleet = KeyedFleet(memory=64) if named else KeyedFleet(prior(), mixture=SMALL)
    if named:
        fleet.step([{"key": 1, "a": 0.5}], [0.1])
    with pytest.raises(ValueError, match=text):
        fleet.step(rows, y, keys=keys)
    assert fleet.n_seen_ == int(named) and fleet.faults_ == {"refused": 1}


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        KeyedFleet(level=1.5)
    with pytest.raises(TypeError, match="key"):
        KeyedFleet(key=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="memory"):
        KeyedFleet(memory=10)


def test_many_intervals_are_as_many_trackers() -> None:
    rng, many, dy = np.random.default_rng(0), 7, 2
    table_, trackers = ManyIntervals(0.9, dy), [IntervalTracker(0.9, dy) for _ in range(many)]
    rows = np.repeat(table_.first_row, many)
    for _ in range(200):
        y, mean = rng.normal(size=(2, many, dy))
        scale, task = (
            rng.uniform(0.1, 2, size=(many, dy)),
            rng.integers(0, 2, many) * (rng.random(many) < 0.1),
        )
        half = table_.half_width(rows, scale)
        for one, tracker in enumerate(trackers):
            assert half[one].tolist() == tracker.half_width(scale[one].tolist())
            tracker.update(y[one].tolist(), mean[one].tolist(), scale[one].tolist(), int(task[one]))
        rows = table_.update(rows, y, mean, scale, task)
    assert [row.tolist() for row in rows["quantiles"]] == [tracker.quantiles for tracker in trackers]


@hypothesis.given(st.lists(st.integers(0, 6), max_size=40))
def test_blocks_hold_every_pair_once_in_order_and_no_place_twice(places: list[int]) -> None:
    found = rounds_of(np.array(places, int))
    assert sorted(np.concatenate([*found, []]).astype(int).tolist()) == list(range(len(places)))
    if places:
        laid = in_blocks(np.array(places))
        for begin in range(0, len(laid), BLOCK):
            block = [places[place] for place in laid[begin : begin + BLOCK] if place >= 0]
            assert len(set(block)) == len(block)
        for one in set(places):
            own = [place for place in laid.tolist() if place >= 0 and places[place] == one]
            assert own == sorted(own)


def test_a_record_file_takes_and_gives_records_and_fills_its_holes(tmp_path: Path) -> None:
    dtype = np.dtype([("a", "<i4"), ("b", "<f4", (2,))])
    file = RecordFile(dtype, tmp_path)
    for key in range(5):
        file.put(key, np.array([(key, (key, -key))], dtype)[0])
    file.drop(1)
    file.put("new", np.array([(9, (9, 9))], dtype)[0])
    assert file.numbers["new"] == 1 and file.get(3)["b"].tolist() == [3.0, -3.0] and file.get("new")["a"] == 9
    with pytest.raises(FileNotFoundError, match="gone"):
        RecordFile(dtype, tmp_path / "gone").put(0, np.zeros(1, dtype)[0])


def command(folder: Path, *more: str) -> list[dict[str, str]]:
    status = main(["stream", "rows.csv", "--target", "y", "--key", "machine", "--out", "out.csv", *more])
    assert status == 0
    return list(csv.DictReader((folder / "out.csv").read_text().splitlines()))


def test_the_command_learns_keys_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = table(60)
    lines = ["machine,a,b,colour,y", *(",".join(str(value) for value in row.values()) for row in rows)]
    lines[11] = "," + lines[11].partition(",")[2]
    Path("rows.csv").write_text("\n".join(lines) + "\n")
    found = command(tmp_path)
    assert [row["key"] for row in found[:3]] == [row["machine"] for row in rows[:3]]
    assert (
        found[10]["note"].startswith("line 12 has no value of the key 'machine'")
        and not found[10]["prediction"]
    )
    assert "59 learned, 1 bad; 5 keys" in capsys.readouterr().out
    Path("rows.csv").write_text("\n".join(lines[:41]) + "\n")
    command(tmp_path, "--checkpoint", "run.mole")
    Path("rows.csv").write_text("\n".join(lines) + "\n")
    assert command(tmp_path, "--checkpoint", "run.mole", "--resume") == found
    for wrong in (["--report", "r.html"], ["--label-delay", "3"], ["--task", "classification"]):
        assert main(["stream", "rows.csv", "--target", "y", "--key", "machine", *wrong]) != 0
    assert main(["stream", "rows.csv", "--target", "y", "--key", "machin"]) != 0
    assert "machine" in capsys.readouterr().err


def test_shards_of_fleets_are_one_fleet_also_after_a_loss(tmp_path: Path) -> None:
    """The actors of `mole.distributed.run`, in this process; tests/distributed has them on Ray."""
    rows, shards, file = table(120), 4, tmp_path / "prior.mole"
    encoder = RowEncoder()
    for row in rows:
        encoder.observe({name: row[name] for name in ("a", "b")})
    schema = encoder.schema()
    norms = {"x_norm": Normalizer.identity(schema.size), "y_norm": Normalizer.identity(1)}
    made = ReadoutPrior.untrained(width=4, depth=1, key=jax.random.key(0), **norms)
    save_prior(file, StreamPrior(made, schema=schema), {})
    fleet = KeyedFleet(load_prior(file), "machine", target="y", mixture=SMALL)
    plain = [{name: row[name] for name in ("machine", "a", "b", "y")} for row in rows]
    whole = fleet.step(plain)
    make = FleetShards(file, key="machine", target="y", mixture=SMALL)
    for part in ("shards", "outputs"):
        (tmp_path / part).mkdir()
    found: dict[int, dict[str, Any]] = {}

    def learned(begin: int, end: int, *, dies: bool = False) -> None:
        holder = Holder(tmp_path, shards, make)
        attached = holder.attach(range(shards))
        for number in range(shards):
            numbered = [(place, row) for place, row in enumerate(plain[begin:end], begin)]
            own = [(place, row) for place, row in numbered if shard_of(row["machine"], shards) == number]
            places, some = [place for place, _ in own], [row for _, row in own]
            assert holder.step(attached.ticket, [(number, places, some)]) == len(own)
        if not dies:
            holder.commit(attached.ticket)
        holder.release()

    learned(0, 50)
    learned(50, 90, dies=True)
    learned(50, 120)
    found = dict(read_outputs(tmp_path))
    assert sorted(found) == list(range(120))
    for place, row in enumerate(plain):
        told = found[place]
        assert (told["key"], told["target"], told["task"]) == (row["machine"], row["y"], whole.task[place])
        assert (told["prediction"], told["low"]) == (whole.prediction[place], whole.low[place])
    with pytest.raises(TypeError, match="prior"):
        FleetShards(None, key="machine", target="y")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="widths"):
        FleetShards(file, key="machine", target="y", widths=3)


def test_the_command_on_a_cluster_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("machine,a,y\nm1,1,2\n")
    assert main(["stream", "rows.csv", "--target", "y", "--key", "machine", "--ray"]) != 0
    assert "--prior" in capsys.readouterr().err
