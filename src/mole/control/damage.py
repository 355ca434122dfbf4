"""Finished stages of a training that were damaged since: set aside, so that they are made again."""

from __future__ import annotations

from pathlib import Path

from mole import checkpoint
from mole.checkpoint import DamagedError
from mole.control.data import load_stretches
from mole.generations import set_aside

__all__ = ["set_damaged_aside"]


def set_damaged_aside(folder: Path) -> None:
    """Rename every prior and all data of a training that are not whole, with a `RecoveryWarning` each.

    A stage is a function of the seed and of the stages before it: made again, it has the same bytes, and those after it
    stay as they are.

    Raises:
        mole.checkpoint.CheckpointError: if a prior is of a newer format.
    """
    for names, read, damaged in (
        ("*.mole", checkpoint.verify, DamagedError),
        ("data-*.npz", load_stretches, ValueError),
    ):
        for path in sorted(folder.glob(names)):
            try:
                read(path)
            except damaged as error:
                set_aside(path, error, "this stage")
