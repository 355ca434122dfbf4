"""A run in one file: the estimator, where the input stood, what is known of the columns, and all counts.

It is a checkpoint of `mole.files.checkpoint`: written atomically, checked, never pickled. The estimator's own file is
in it as bytes, so that a crash cannot leave an estimator and counts of different rows.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.pipeline.dialect import OLD, Dialect
from mole.pipeline.keyed import KeyedRun
from mole.pipeline.runner import StreamRun, StreamSettings

__all__ = ["SavedRun", "dialect_in", "load_run", "run_of", "save_run"]

_KIND = "stream-run"


class SavedRun(NamedTuple):
    """A run and where it stood.

    Attributes:
        run: goes on bit for bit.
        position: of the input, as `mole.pipeline.sources.Row.position`; None before the first row.
        output: name of the file of predictions, None if there is none; ``length``: its bytes then.
        dialect: how the text of the input was read.
        events: name of the file of events, None if there is none; ``events_length``: its bytes then.
    """

    run: StreamRun
    position: dict[str, Any] | None
    output: str | None
    length: int
    dialect: Dialect = OLD
    events: str | None = None
    events_length: int = 0


def save_run(path: str | os.PathLike[str], saved: SavedRun, *, keep: int = 1) -> None:
    """Write a run in place of the file that is there, atomically.

    Args:
        path: the file.
        saved: the run, its place in the input, and its output.
        keep: generations that are kept, this one included; the older ones have .1, .2, … after their name.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    # An estimator writes to a path alone. No other user can read the folder, or put another file in its place.
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "estimator.mole"
        saved.run.estimator.save(inner)
        # A map and no copy: the states of many keys may be larger than the memory. It outlives the folder.
        content = np.memmap(inner, np.uint8, "r")
    config = {
        "settings": saved.run.settings.to_json(),
        "position": saved.position,
        "dialect": saved.dialect.to_json(),
        "output": saved.output,
        "length": saved.length,
        "events": saved.events,
        "events_length": saved.events_length,
        "run": saved.run.to_json(),
        "estimator_bytes": len(content),
    }
    checkpoint.save(path, {"estimator": content}, kind=_KIND, config=config, keep=keep)


def run_of(settings: StreamSettings, estimator: Any) -> StreamRun:
    """The run of an estimator that has learned nothing yet."""
    return StreamRun(settings, estimator) if settings.key is None else KeyedRun(settings, estimator)


def load_run(path: str | os.PathLike[str], settings: StreamSettings, load: Callable[[Path], Any]) -> SavedRun:
    """Read what `save_run` wrote.

    Args:
        path: the file.
        settings: of the run that is to go on; they must equal those in the file.
        load: reads the estimator from its file.

    Raises:
        ValueError: if the settings differ; the text names every difference.
        CheckpointError: if the file is damaged or holds something else.
        FileNotFoundError: if there is no such file.
    """
    header = checkpoint.read_header(path)
    if header.kind != _KIND:
        raise CheckpointError(
            f"{path} holds a {header.kind!r}, expected a {_KIND!r}; give another --checkpoint"
        )
    try:
        config = header.config
        stored = dict(config["settings"])
        for name in ("features", "labels"):
            stored[name] = None if stored[name] is None else tuple(stored[name])
        length = config["estimator_bytes"]
        if type(length) is not int or length != header.arrays_nbytes:  # it is about to be allocated
            raise ValueError(f"{length!r} bytes of an estimator")  # noqa: TRY301
        like = {"estimator": np.empty(length, np.uint8)}
    except (KeyError, TypeError, ValueError) as error:
        text = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({str(error)[:300]})"
        raise CheckpointError(f"{path} {text}; it was written by another version of mole") from error
    # Compared before the arrays are read: that needs the header alone.
    given = settings.to_json()
    differ = [
        f"{name} {stored.get(name)!r}, now {value!r}"
        for name, value in given.items()
        if stored.get(name) != value
    ]
    if differ:
        raise ValueError(
            f"{path} was written with other options: {'; '.join(differ)}. Go on with the same, or start a new "
            "checkpoint"
        )
    content = checkpoint.load(path, like, kind=_KIND)["estimator"]
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "estimator.mole"
        content.tofile(inner)
        estimator = load(inner)
    run = run_of(settings, estimator)
    # The checksum says that the file is as it was written, not that we wrote it: a header may hold anything.
    try:
        run.restore(config["run"])
        position, output, length = config["position"], config["output"], config["length"]
        events, events_length = config.get("events"), config.get("events_length", 0)  # 0.1 had none
        if not (
            isinstance(position, dict | None)
            and all(isinstance(name, str | None) for name in (output, events))
            and all(type(size) is int and size >= 0 for size in (length, events_length))
        ):
            raise TypeError("its place in the input or the output")  # noqa: TRY301
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        text = f"{type(error).__name__}: {error}"[:300]
        raise CheckpointError(
            f"{path} is damaged ({text}); it was not written by mole: use another copy"
        ) from error
    return SavedRun(run, position, output, length, dialect_in(config, path), events, events_length)


def dialect_in(config: Mapping[str, Any], path: str | os.PathLike[str]) -> Dialect:
    """How the text was read, by the header of a file; version 0.1 wrote nothing about it, and read plain values alone.

    Raises:
        CheckpointError: if that is damaged.
    """
    if "dialect" not in config:
        return OLD
    try:
        return Dialect.from_json(config["dialect"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = f"{type(error).__name__}: {error}"[:300]
        raise CheckpointError(
            f"{path} is damaged ({text}); it was not written by mole: use another copy"
        ) from error
