"""A prior's file for ``mole stream``: what it predicts, and whether the stream has its columns."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mole.pipeline.sources import Row, Source
from mole.priors import StreamPrior, load_prior, read_provenance
from mole.rows.encoding import Schema

__all__ = ["GivenPrior", "columns_of", "given_prior"]

_LOOKED_AT = 1000  # rows in which one must be readable, where a source has no header


class GivenPrior(NamedTuple):
    """A prior that was given as a file.

    Attributes:
        prior: what `mole.fit_prior` made.
        schema: its columns.
        path: its file.
        name: of the file, and its sha256.
        target: column that it was trained to predict; None if the file does not say.
    """

    prior: StreamPrior
    schema: Schema
    path: Path
    name: str
    target: str | None

    def check(self, task: str | None, target: str, columns: tuple[str, ...]) -> Iterator[str]:
        """What is worth saying about this prior on a stream.

        Args:
            task: that was asked for, or None.
            target: of the stream.
            columns: the stream's inputs.

        Raises:
            ValueError: if it is for another task, or has columns that the stream lacks.
        """
        if task not in (None, self.prior.kind):
            raise ValueError(
                f"{self.path} is a prior for {self.prior.kind}, got --task {task}; leave --task out, or train another "
                "prior"
            )
        known = [column.name for column in self.schema.columns]
        lacking = [name for name in known if name not in columns]
        if lacking:
            raise ValueError(
                f"{self.path} was trained with {_listed(lacking)}, which the inputs do not have; they have "
                f"{_listed(columns)}. Add what is missing, or train a prior with mole fit-prior --features on columns "
                "that both have"
            )
        others = [name for name in columns if name not in known]
        if others:
            yield f"{self.path} was trained without {_listed(others)}: not used"
        if self.target not in (None, target):
            yield f"{self.path} was trained to predict {self.target!r}, not {target!r}"


def given_prior(path: Path) -> GivenPrior:
    """Read a prior made by ``mole fit-prior``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it was made for plain vectors.
        mole.files.checkpoint.CheckpointError: if it is damaged or something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"no prior at {path}: check the path, or make one with mole fit-prior")
    prior, provenance = load_prior(path, StreamPrior), read_provenance(path)
    if prior.schema is None:
        raise ValueError(
            f"{path} is a prior for plain vectors, without names of columns; make one with mole fit-prior, or give "
            "mole.fit_prior a schema"
        )
    # Part of the settings of a run: a checkpoint must not go on with another prior under the same name.
    name = f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return GivenPrior(prior, prior.schema, path, name, provenance.get("target"))


def columns_of(source: Source, rows: Iterable[Row], target: str) -> tuple[tuple[str, ...], Iterable[Row]]:
    """The input columns of a source, or of its first readable row; the rows looked at come again.

    JSON Lines have no header, so that only a row tells.
    """
    looked_at: list[Row] = []
    names: Iterable[Any] = source.columns
    if not source.columns:
        rows = iter(rows)
        for row in itertools.islice(rows, _LOOKED_AT):
            looked_at.append(row)
            if row.values is not None:
                names = row.values
                break
    return tuple(name for name in names if name != target), itertools.chain(looked_at, rows)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(map(repr, names[:8])) or "nothing"
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
