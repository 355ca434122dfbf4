"""The readers of the package, each with valid files to start from, and what may come out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fuzz.mutations import Mutator, mutate_archive, mutate_bytes, mutate_checkpoint, mutate_text
from fuzz.seeds import SETTINGS, like_of_checkpoint
from mole.control.records import EpisodeRecord
from mole.control.stages import claim_folder, load_segments
from mole.estimators import Fleet, OnlineClassifier, OnlineRegressor
from mole.files.checkpoint import CheckpointError, load, read_header
from mole.pipeline.run_file import load_run
from mole.pipeline.sources import SourceError, open_source
from mole.priors.file import load_prior
from mole.report.digest import digest_of
from mole.rows.checks import RowChecks

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


TARGETS: dict[str, Target] = {
    "header": Target(read_header, mutate_checkpoint, ".mole", 0.34),
    "checkpoint": Target(
        lambda p: load(p, like_of_checkpoint(), kind="tree"), mutate_checkpoint, ".mole", 0.03
    ),
    "estimator-young": Target(OnlineRegressor.load, mutate_checkpoint, ".mole", 0.03),
    "record": Target(lambda p: digest_of(EpisodeRecord.load(p)), mutate_archive, ".npz", 0.08, (ValueError,)),
    # The name of 0.1 for segments stays: the numbers of the inputs come from it, and the documented run from them.
    "stretches": Target(load_segments, mutate_archive, ".npz", 0.08, (ValueError,)),
    "csv": Target(_rows, mutate_text, ".csv", 0.18, (SourceError,)),
    "jsonl": Target(_rows, mutate_text, ".jsonl", 0.18, (SourceError,)),
    "claim": Target(_claim, mutate_text, ".json", 0.08, (ValueError,)),
    # these build the structure of a learner before they read arrays
    "prior": Target(load_prior, mutate_checkpoint, ".mole", 0.0005),
    "readout-prior": Target(load_prior, mutate_checkpoint, ".mole", 0.0005),
    "stream-prior": Target(load_prior, mutate_checkpoint, ".mole", 0.0005),
    "regressor": Target(OnlineRegressor.load, mutate_checkpoint, ".mole", 0.0005),
    "classifier": Target(OnlineClassifier.load, mutate_checkpoint, ".mole", 0.0005),
    "fleet": Target(Fleet.load, mutate_checkpoint, ".mole", 0.0005),
    "stream-run": Target(
        lambda p: load_run(p, SETTINGS, OnlineRegressor.load),
        mutate_checkpoint,
        ".mole",
        0.005,
        (CheckpointError, ValueError),
    ),
}

if find_spec("pyarrow"):
    TARGETS |= {
        "parquet": Target(_rows, mutate_bytes, ".parquet", 0.02, (SourceError, ValueError)),
        "record-parquet": Target(EpisodeRecord.load, mutate_bytes, ".parquet", 0.02, (ValueError,)),
    }
