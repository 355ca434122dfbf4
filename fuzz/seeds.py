"""Valid files of every kind, made once: what the fuzzers start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mole import MLP, MetaPrior, Normalizer, ScalarRate
from mole.control.episode import Segment
from mole.control.records import Recorder
from mole.control.stages import save_segments
from mole.estimators import Fleet, OnlineClassifier, OnlineRegressor
from mole.files.checkpoint import save
from mole.pipeline.run_file import SavedRun, save_run
from mole.pipeline.runner import StreamRun, StreamSettings
from mole.pipeline.sources import Row
from mole.priors import StreamPrior, save_prior
from mole.readout import ReadoutPrior
from mole.rows.encoding import RowEncoder

__all__ = ["SETTINGS", "like_of_checkpoint", "write_seeds"]

SETTINGS = StreamSettings("y", "regression")
_FEW = {"max_tasks": 2, "candidates": 2, "drift": (1e-6,)}
_CSV = b"a,colour,at,y\n" + b"".join(b"%d.5,red,2024-01-%02d,%d\n" % (i, i + 1, 2 * i) for i in range(6))
_JSONL = b"".join(b'{"a": %d.5, "b": "x", "c": true, "y": %d}\n' % (i, i) for i in range(6))


def like_of_checkpoint() -> dict[str, Any]:
    """A tree with leaves of every type."""
    return {
        "weight": jnp.zeros((3, 2)), "half": jnp.zeros((5,), jnp.bfloat16), "key": jax.random.key(0),
        "mask": np.zeros(3, bool), "double": np.zeros((2, 2)), "empty": np.zeros((0, 4)), "scalar": np.float32(0.0),
        "numbers": (True, 7, 0.5, "text"),
    }  # fmt: skip


def write_seeds(folder: Path, wanted: set[str] | None = None) -> dict[str, list[bytes]]:
    """Target → contents of valid files; those that need compiling are made only if they are wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, list[bytes]] = {}
    for name, make in _MAKERS.items():
        if wanted is None or name in wanted:
            path = folder / f"{name}{_SUFFIX.get(name, '.mole')}"
            if not path.exists():
                make(path)
            made[name] = [path.read_bytes()]
    return made


def _record() -> Any:
    recorder = Recorder({"env": "E", "method": "m", "schedule": "s", "seed": 0, "step_seconds": 0.05})
    for step in range(7):
        recorder.append(
            reward=step, loss=0.1, responsibilities=[0.25, 0.75], task=1, n_tasks=2, true_task=step // 3
        )
    recorder.finish()
    return recorder.record()


def _readout() -> ReadoutPrior:
    norm = Normalizer.identity(1)
    schema_size = Normalizer.identity(3)
    return ReadoutPrior.untrained(width=4, depth=1, x_norm=schema_size, y_norm=norm, key=jax.random.key(0))


def _stream_prior() -> StreamPrior:
    encoder = RowEncoder()
    for row in ({"a": 1.0, "b": 3, "c": 2.0}, {"a": 2.5, "b": 4, "c": 1.0}):
        encoder.observe(row)
    return StreamPrior(_readout(), "regression", encoder.schema())


def _meta_prior() -> MetaPrior:
    model = MLP(3, 2, width=4, depth=1, key=jax.random.key(0))
    return MetaPrior(
        model,
        inner_rate=ScalarRate(0.1),
        window=4,
        x_norm=Normalizer.identity(3),
        y_norm=Normalizer.identity(2),
    )


def _taught(model: Any, labels: bool = False) -> Any:
    for i in range(3):
        model.learn_one(
            {"a": float(i), "b": float(i % 2), "c": 1.0 + i}, ("u" if i % 2 else "v") if labels else float(i)
        )
    return model


def _run(path: Path) -> None:
    run = StreamRun(SETTINGS, OnlineRegressor(width=4))
    for i in range(3):
        run.step(Row(i + 1, {"a": float(i), "y": 2.0 * i}, "", {}))
    save_run(path, SavedRun(run, {"line": 4, "bytes": 30, "checksum": 1}, None, 0))


def _segments(path: Path) -> None:
    rng = np.random.default_rng(0)
    made = [
        Segment(rng.normal(size=(n + 1, 3)).astype(np.float32), np.zeros((n, 2), np.float32)) for n in (3, 4)
    ]
    save_segments(path, made)


_MAKERS: dict[str, Any] = {
    "header": lambda p: save(p, like_of_checkpoint(), kind="tree", config={"a": [1, "x"]}),
    "checkpoint": lambda p: save(p, like_of_checkpoint(), kind="tree", config={"a": [1, "x"]}),
    "estimator-young": lambda p: _taught(OnlineRegressor(width=4)).save(p),
    "record": lambda p: _record().save(p),
    "stretches": _segments,
    "csv": lambda p: p.write_bytes(_CSV),
    "jsonl": lambda p: p.write_bytes(_JSONL),
    "claim": lambda p: p.write_text(json.dumps({"env": "x", "steps": 3})),
    "prior": lambda p: save_prior(p, _meta_prior(), {"command": "x"}),
    "readout-prior": lambda p: save_prior(p, _readout(), {"command": "x"}),
    "stream-prior": lambda p: save_prior(p, _stream_prior(), {"command": "x"}),
    "regressor": lambda p: _taught(OnlineRegressor(_stream_prior(), mixture=_FEW)).save(p),
    "classifier": lambda p: _taught(OnlineClassifier(width=4), labels=True).save(p),
    "fleet": lambda p: Fleet(_readout(), 3, mixture=_FEW).save(p),
    "stream-run": _run,
    "parquet": lambda p: _parquet(p),
    "record-parquet": lambda p: _record().save(p),
}
_SUFFIX = {
    "record": ".npz", "stretches": ".npz", "csv": ".csv", "jsonl": ".jsonl", "claim": ".json",
    "parquet": ".parquet", "record-parquet": ".parquet",
}  # fmt: skip


def _parquet(path: Path) -> None:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    pq.write_table(pa.table({"a": [1.5, 2.5, None], "b": ["x", "y", "x"], "y": [1, 2, 3]}), path)
