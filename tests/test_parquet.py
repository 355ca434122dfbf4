"""Records as Parquet files, where pyarrow is installed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mole.control.records import EpisodeRecord, Recorder

pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")


def record(steps: int = 7) -> EpisodeRecord:
    recorder = Recorder({"env": "E", "method": "m", "schedule": "s", "seed": 0, "step_seconds": 0.05})
    for step in range(steps):
        recorder.append(
            reward=step / 3,
            loss=float("nan") if step == 2 else 0.1,
            responsibilities=[0.25, 0.75],
            task=1,
            n_tasks=2,
            spawned=step == 1,
        )
    recorder.finish()
    return recorder.record()


@pytest.mark.parametrize("steps", [7, 1, 0])
def test_a_record_comes_back_bit_for_bit(tmp_path: Path, steps: int) -> None:
    made = record(steps)
    path = made.save(tmp_path / "run.parquet")
    back = EpisodeRecord.load(path)
    assert back.meta == made.meta
    for field in dataclasses.fields(EpisodeRecord):
        if field.name != "meta":
            one, other = getattr(made, field.name), getattr(back, field.name)
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            assert one.tobytes() == other.tobytes(), field.name


def test_others_read_it_as_a_table_of_steps(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(record().save(tmp_path / "run.parquet"))
    assert table.num_rows == 7
    assert table.column("reward").to_pylist()[3] == 1.0
    assert table.column("responsibilities").to_pylist()[0] == [0.25, 0.75]
    assert table.column("spawned").to_pylist() == [step == 1 for step in range(7)]


def test_damage_and_other_files_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = record().save(tmp_path / "run.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"run\.parquet is damaged .* run the episode again"):
        EpisodeRecord.load(path)
    pq.write_table(pa.table({"reward": np.zeros(3)}), path)
    with pytest.raises(ValueError, match=r"is no record of a run: its metadata lacks the key 'mole'"):
        EpisodeRecord.load(path)
    with pytest.raises(FileNotFoundError, match="no record at"):
        EpisodeRecord.load(tmp_path / "none.parquet")
