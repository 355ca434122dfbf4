import json
from typing import Any

import numpy as np
import pytest

from mole.control.records import META_KEYS, EpisodeRecord, Recorder

META = {
    "env": "E",
    "method": "mole",
    "schedule": "alternate",
    "seed": 3,
    "step_seconds": 0.05,
    "versions": {},
}


def filled(steps: int = 7) -> Recorder:
    recorder = Recorder(META)
    for t in range(steps):
        recorder.append(
            reward=0.5 * t,
            loss=1.0 / (t + 1),
            responsibilities=[0.25, 0.75, 0.0],
            task=1,
            n_tasks=2,
            spawned=t == 2,
            at_capacity=t == 3,
            rejected=t == 4,
            true_task=t // 4,
            position=0.1 * t,
            upright=0.9,
            seconds=0.01,
        )
    return recorder


def arrays(record: EpisodeRecord) -> dict[str, np.ndarray]:
    return {name: value for name, value in vars(record).items() if name != "meta"}


def test_what_is_saved_is_what_is_loaded(tmp_path):
    recorder = filled()
    recorder.finish()
    record = recorder.record()
    path = record.save(tmp_path / "run.npz")
    loaded = EpisodeRecord.load(path)
    assert len(arrays(record)) == 12
    for name, value in arrays(record).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
        assert getattr(loaded, name).dtype == value.dtype
    assert loaded.meta == record.meta == {**META, "complete": True, "error": None}
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]  # no temporary file is left behind


def test_the_file_holds_no_pickle(tmp_path):
    path = filled().record().save(tmp_path / "run.npz")
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "fibU" for name in archive.files)
        assert json.loads(str(archive["meta"][()]))["method"] == "mole"


def test_an_interrupted_run_is_saved_and_says_so(tmp_path):
    recorder = filled(3)
    recorder.finish(error="KeyboardInterrupt")
    loaded = EpisodeRecord.load(recorder.record().save(tmp_path / "a"))
    assert (len(loaded), loaded.meta["complete"], loaded.meta["error"]) == (3, False, "KeyboardInterrupt")
    empty = EpisodeRecord.load(Recorder(META).record().save(tmp_path / "b"))
    assert len(empty) == 0
    assert not empty.meta["complete"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = filled().record().save(tmp_path / "run.npz")
    before = path.read_bytes()

    def broken(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", broken)
    with pytest.raises(OSError, match="disk full"):
        filled(2).record().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_records_are_read_only_and_independent_of_the_recorder():
    recorder = filled(3)
    record = recorder.record()
    with pytest.raises(ValueError, match="read-only"):
        record.reward[0] = 1.0
    recorder.append(reward=0.0, loss=0.0, responsibilities=[1.0, 0.0, 0.0])
    recorder.finish()
    assert len(record) == 3
    assert not record.meta["complete"]
    source = np.zeros(3)
    EpisodeRecord(**{**arrays(record), "reward": source}, meta=record.meta)
    source[0] = 1.0  # the caller's own array stays writable


def test_the_last_values_of_a_column_are_those_of_the_record():
    recorder = filled(7)
    record = recorder.record()
    for n in (1, 3, 7, 100):
        for name, column in arrays(record).items():
            np.testing.assert_array_equal(recorder.last(name, n), column[-n:])
            assert recorder.last(name, n).dtype == column.dtype
    assert recorder.last("loss").tolist() == [1 / 7]
    for name, column in arrays(Recorder(META).record()).items():  # before the first step
        assert (Recorder(META).last(name, 5).shape, len(column)) == (column.shape, 0)
    with pytest.raises(ValueError, match=r"no column 'losses', expected one of \['at_capacity', .*'loss'"):
        recorder.last("losses")
    with pytest.raises(
        ValueError, match="n is 0, expected at least 1: how many of the last values of 'loss'"
    ):
        recorder.last("loss", 0)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = filled().record().save(tmp_path / "run.npz")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ValueError, match=r"not a readable .npz archive .*: truncated or of another kind"):
        EpisodeRecord.load(path)


def test_a_damaged_file_is_refused(tmp_path):
    path = filled(200).record().save(tmp_path / "run.npz")
    data = bytearray(path.read_bytes())
    data[100:140] = bytes(40)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="is damaged"):
        EpisodeRecord.load(path)


def test_other_archives_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no record at .*: expected a file written by Episode"):
        EpisodeRecord.load(tmp_path / "absent.npz")
    path = tmp_path / "other.npz"
    np.savez(path, reward=np.zeros(3))
    with pytest.raises(ValueError, match=r"no record of a run: it has arrays .*'reward'.* but no 'meta'"):
        EpisodeRecord.load(path)
    header = json.dumps({**META, "complete": True, "error": None, "format": "mole-episode/1"})
    np.savez(path, reward=np.zeros(3), meta=np.array(header))
    with pytest.raises(ValueError, match=r"lacks the arrays .*'loss'"):
        EpisodeRecord.load(path)
    everything: dict[str, Any] = arrays(filled().record())
    np.savez(path, **{**everything, "loss": np.zeros(3)}, meta=np.array(header))
    with pytest.raises(ValueError, match=r"'loss' has shape \[3\], expected \[7\]: give one entry per step"):
        EpisodeRecord.load(path)
    np.savez(path, **everything, meta=np.array(header.replace("episode/1", "episode/9")))
    with pytest.raises(ValueError, match="record format 'mole-episode/9', expected 'mole-episode/1'"):
        EpisodeRecord.load(path)
    np.savez(path, **everything, meta=np.array("{"))
    with pytest.raises(ValueError, match="header that is not JSON"):
        EpisodeRecord.load(path)


def test_an_object_array_is_not_unpickled(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, meta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="is damaged"):
        EpisodeRecord.load(path)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match=r"record meta lacks .*'method'"):
        Recorder({"env": "E"})
    with pytest.raises(ValueError, match=r"must be plain JSON .*convert arrays, paths and NaN first"):
        Recorder({**META, "configuration": np.zeros(2)})
    with pytest.raises(ValueError, match="'step_seconds' is 0, expected seconds per step above 0"):
        Recorder({**META, "step_seconds": 0})
    recorder = filled(2)
    with pytest.raises(ValueError, match=r"responsibilities have shape \(2,\), expected \(3,\)"):
        recorder.append(reward=0.0, loss=0.0, responsibilities=[1.0, 0.0])
    with pytest.raises(TypeError, match="'task' is of type float64, expected int64: convert it"):
        recorder.append(reward=0.0, loss=0.0, responsibilities=[1.0, 0.0, 0.0], task=0.5)  # type: ignore[arg-type]
    assert len(recorder.record()) == 2  # a refused step leaves no uneven columns
    recorder.append(reward=0.0, loss=0.0, responsibilities=[1.0, 0.0, 0.0], task=3)
    with pytest.raises(ValueError, match=r"'task' holds slots 1..3, expected 0..2"):
        recorder.record()
    with pytest.raises(ValueError, match=r"'random_action_error' is '0\.1', expected a number or None"):
        Recorder({**META, "random_action_error": "0.1"})
    assert set(META_KEYS) >= {"env", "method", "schedule", "seed"}
