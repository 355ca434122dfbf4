"""``mole fit-prior``: recorded history into a prior for the streams to come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from mole import priors
from mole._types import Trajectory
from mole.commands.common import console, invocation
from mole.commands.stream import check_columns, kind_of
from mole.commands.stream_text import read_as, say_how, text_options
from mole.files.generations import SECONDS, Periodic, file_lock
from mole.meta.resume import TrainingFile
from mole.pipeline.dialect import Dialect
from mole.pipeline.sources import open_source
from mole.rows.checks import RowChecks
from mole.rows.encoding import Schema
from mole.rows.values import TIME

__all__ = ["fit_prior"]


def fit_prior(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    target: str,
    out: Path = Path("prior.mole"),
    features: str | None = None,
    task: Literal["regression", "classification"] | None = None,
    width: int = 32,
    seed: int = 0,
    every_seconds: float = SECONDS,
    sep: str | None = None,
    decimal: str | None = None,
    date_format: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    encoding: str | None = None,
    comment: str | None = None,
) -> None:
    """Meta-train a prior on windows of recorded history, for mole stream --prior.

    Stop it at any time; the same command goes on, with the same result.

    Args:
        files: CSV, JSON Lines or Parquet files with the same columns; each one unbroken segment of time.
        target: the column to predict.
        out: file for the prior.
        features: the columns to predict it from, with commas between them; all others if not given.
        task: whether the target is a number or a label; if not given, the first target decides.
        width: units in each of the two layers of the network.
        seed: of its first weights and of the training.
        every_seconds: between two checkpoints of the training (OUT.part), from which it goes on if it is stopped.
        sep: what separates the cells of a CSV: a character, or tab; if not given, the header and the first rows decide.
        decimal: the decimal mark of numbers, a point or a comma; if not given, the first rows decide for each column.
            With none only plain numbers are numbers: no units, no thousands.
        date_format: how times are written: ymd, dmy, mdy, or a format such as %d.%m.%Y; for one column alone
            COLUMN=FORMAT. If not given, the first rows decide. With none only ISO times are times.
        encoding: of the text, such as latin-1; if not given, UTF-8, or UTF-16 with its mark.
        comment: leave out lines that begin so; if not given, only those with a # before the header.
    """
    options = text_options(sep, decimal, date_format, encoding, comment)
    if not files:
        raise ValueError(
            "mole fit-prior got no file; expected one or more: mole fit-prior history.csv --target y"
        )
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"cannot write {out}: its folder does not exist; create it first")
    chosen = None if features is None else tuple(name.strip() for name in features.split(","))
    if chosen is not None and target in chosen:  # a prior would be trained on the answer
        raise ValueError(f"got --features {features}; expected columns without the target {target!r}")
    kind: Any = task
    dialects: list[Dialect] = []
    for path in files:
        with open_source(path, layout=options.layout) as source:
            check_columns(source, target, chosen)
            # The forms of the first file hold for the others, which may be too short to tell.
            decision, rows = read_as(
                source,
                source,
                target,
                chosen,
                options=options,
                classify=None if kind is None else kind == "classification",
                before=dialects[0].columns if dialects else None,
            )
            kind = kind or decision.kind or kind_of(rows, target)[0]
            dialects.append(decision.dialect)
            say_how(console, str(path), decision.dialect, decision.warnings)
    # Every file is read twice: a row can be encoded only after all columns and categories are known.
    inputs = list(zip(files, dialects, strict=True))
    schema, counts = _observed(inputs, target, chosen, kind)
    # Checks that begin anew and see the rows in the same order leave out the same rows.
    checks = RowChecks(target, chosen, classify=kind == "classification")
    histories = [_history(path, dialect, target, chosen, checks, schema) for path, dialect in inputs]
    labels = list(dict.fromkeys(y for _, ys in histories for y in ys)) if kind == "classification" else []
    if len(labels) == 1:
        raise ValueError(f"every row has the label {labels[0]!r}; expected two labels or more")
    trajectories = [Trajectory(x, _targets(ys, labels)) for x, ys in histories]
    for path, (good, bad) in zip(files, counts, strict=True):
        console.print(f"{path}: {good:,} rows" + (f", and {bad:,} bad ones left out" if bad else ""))
    clocks = ", ".join(column.name for column in schema.columns if column.kind == TIME)
    if clocks:
        console.print(
            f"{clocks}: later times are beyond all that the prior was trained on; leave such a column out with "
            "--features unless the hour or the day matters",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    running = TrainingFile(out.with_name(f"{out.name}.part"), Periodic(seconds=every_seconds))
    provenance = {
        "command": invocation.get(),
        "target": target,
        "rows": sum(good for good, _ in counts),
    }
    # Two processes that train the same prior would write the same checkpoint in turn.
    with file_lock(out), console.status("training"):
        prior = priors.fit_prior(
            trajectories, kind=kind, width=width, seed=seed, schema=schema, labels=labels, checkpoint=running
        )
        priors.save_prior(out, prior, provenance)
        running.remove()  # after the prior is on disk: a crash in between trains nothing twice
    console.print(f"prior: {out}")
    console.print(f"try it: mole stream {files[-1]} --target {target} --prior {out}", soft_wrap=True)


def _pairs(
    path: Path, dialect: Dialect, target: str, features: tuple[str, ...] | None, checks: RowChecks
) -> Iterator[tuple[dict[str, Any], Any] | None]:
    """Inputs and target of every row; None for a row that cannot be learned from."""
    with open_source(path, layout=dialect.layout) as source:
        check_columns(source, target, features)
        for row in dialect.rows(source):
            checked = None if row.values is None else checks.check(row.values)
            if checked is None or checked.x is None or checked.y is None:
                yield None
            else:
                yield checked.x, checked.y


def _observed(
    inputs: list[tuple[Path, Dialect]], target: str, features: tuple[str, ...] | None, task: str
) -> tuple[Schema, list[tuple[int, int]]]:
    """The schema of all files together, and the numbers of good and bad rows of each."""
    checks = RowChecks(target, features, classify=task == "classification")
    counts = []
    for path, dialect in inputs:
        good = bad = 0
        for pair in _pairs(path, dialect, target, features, checks):
            good, bad = good + (pair is not None), bad + (pair is None)
        if not good:
            raise ValueError(
                f"{path} has {bad:,} rows and none to learn from; check its columns and --target"
            )
        counts.append((good, bad))
    return checks.seen.schema(), counts


def _history(
    path: Path,
    dialect: Dialect,
    target: str,
    features: tuple[str, ...] | None,
    checks: RowChecks,
    schema: Schema,
) -> tuple[np.ndarray, list[Any]]:
    """Inputs ``[time, dx]`` and targets of one file."""
    pairs = [pair for pair in _pairs(path, dialect, target, features, checks) if pair is not None]
    return np.stack([schema.encode(x) for x, _ in pairs]), [y for _, y in pairs]


def _targets(ys: list[Any], labels: list[Any]) -> np.ndarray:
    """Numbers ``[time, 1]`` in float64, or one-hot ``[time, labels]``."""
    if not labels:
        return np.asarray(ys, float)[:, None]
    return np.eye(len(labels), dtype=np.float32)[[labels.index(y) for y in ys]]
