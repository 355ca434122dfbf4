"""The readers of the package, each with valid files to start from, and what may come out of it."""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fuzz.mutations import Mutator, mutate_archive, mutate_bytes, mutate_checkpoint, mutate_text
from fuzz.seeds import SETTINGS, like_of_checkpoint
from mole.checkpoint import CheckpointError, load, read_header
from mole.control.claim import claim_folder
from mole.control.data import load_stretches
from mole.control.records import EpisodeRecord
from mole.estimators import Fleet, OnlineClassifier, OnlineRegressor, load_stream_prior
from mole.prior_file import load_prior
from mole.readout.file import load_readout_prior
from mole.report.digest import digest_of
from mole.streams._checks import RowChecks
from mole.streams.run_file import load_run
from mole.streams.sources import SourceError, open_source

__all__ = ["TARGETS", "Target"]


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: from a file to whatever it holds; it may only return, or raise one of ``errors``.
        mutate: makes hostile files of valid ones.
        suffix: of the file.
        share: of all inputs, about; readers that build a learner take a hundred times as long as the others.
        errors: the exact types that a refusal may have.
    """

    read: Callable[[Path], object]
    mutate: Mutator
    suffix: str
    share: float
    errors: tuple[type[Exception], ...] = (CheckpointError,)


def _rows(path: Path) -> None:
    with open_source(path) as source:
        checks = RowChecks("y", None, classify=False)
        for _, row in zip(range(200), source, strict=False):
            if row.values is not None:
                checks.check(row.values)
        if any(column.present for column in checks.seen.columns.values()):
            assert np.isfinite(checks.seen.schema().encode({})).all()


def _claim(path: Path) -> None:
    claim_folder(path.parent, path.name, {"env": "x", "steps": 3})


def _mutate_json_file(data: bytes, rng: random.Random) -> bytes:
    return mutate_text(data, rng)


_OURS = (CheckpointError,)
TARGETS: dict[str, Target] = {
    "header": Target(read_header, mutate_checkpoint, ".mole", 0.24),
    "checkpoint": Target(
        lambda p: load(p, like_of_checkpoint(), kind="tree"), mutate_checkpoint, ".mole", 0.12
    ),
    "estimator-young": Target(OnlineRegressor.load, mutate_checkpoint, ".mole", 0.05),
    "record": Target(lambda p: digest_of(EpisodeRecord.load(p)), mutate_archive, ".npz", 0.08, (ValueError,)),
    "stretches": Target(load_stretches, mutate_archive, ".npz", 0.08, (ValueError,)),
    "csv": Target(_rows, mutate_text, ".csv", 0.15, (SourceError,)),
    "jsonl": Target(_rows, mutate_text, ".jsonl", 0.15, (SourceError,)),
    "claim": Target(_claim, _mutate_json_file, ".json", 0.08, (ValueError,)),
    # these build the structure of a learner before they read arrays
    "prior": Target(load_prior, mutate_checkpoint, ".mole", 0.0005),
    "readout-prior": Target(load_readout_prior, mutate_checkpoint, ".mole", 0.0005),
    "stream-prior": Target(load_stream_prior, mutate_checkpoint, ".mole", 0.0005),
    "regressor": Target(OnlineRegressor.load, mutate_checkpoint, ".mole", 0.0005),
    "classifier": Target(OnlineClassifier.load, mutate_checkpoint, ".mole", 0.0005),
    "fleet": Target(Fleet.load, mutate_checkpoint, ".mole", 0.0005),
    "stream-run": Target(
        lambda p: load_run(p, SETTINGS, OnlineRegressor.load),
        mutate_checkpoint,
        ".mole",
        0.01,
        (CheckpointError, ValueError),
    ),
}

if "pyarrow" in sys.modules or __import__("importlib.util").util.find_spec("pyarrow"):
    TARGETS |= {
        "parquet": Target(_rows, mutate_bytes, ".parquet", 0.02, (SourceError, ValueError)),
        "record-parquet": Target(EpisodeRecord.load, mutate_bytes, ".parquet", 0.02, (ValueError,)),
    }
