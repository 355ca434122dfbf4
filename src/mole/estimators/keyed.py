"""A mixture for every key of a stream of many machines, customers or sensors, in one process.

All keys share one prior, one encoding and one compiled program; each has a mixture and intervals of its own. A key's
results are those of an `mole.OnlineRegressor` with the same prior that sees this key's rows alone, to float precision.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mole._expect import expect_number, expect_type, expect_whole
from mole._float32 import methods_in_float32
from mole.estimators.described import Prior, given_from, plain_settings
from mole.estimators.keyed_learning import MARKS, OWNER, KeyedLearning
from mole.estimators.keyed_programs import PAGE
from mole.estimators.keyed_rows import KeyedSteps
from mole.estimators.late import row_from, row_json
from mole.estimators.saving import Parts, damage_told, load_parts, save_parts
from mole.files.atomic import naming
from mole.priors.stream import StreamPrior
from mole.rows.encoding import RowEncoder
from mole.rows.values import kept, read_row

__all__ = ["KeyedFleet", "KeyedSteps"]

_KIND = "keyed-fleet"
_NAMES = frozenset(
    {"settings", "keys", "kind", "outputs", "length", "seen", "faults", "made", "encoder", "rows"}
)


@methods_in_float32
class KeyedFleet(KeyedLearning):
    """Learns y from x for many keys at once: a stream in which every row says whose it is.

    Without a prior it keeps the first rows of all keys, up to ``memory``, and makes a prior that all keys share after
    64, 256, 1,024 and 4,096 of them; every key then learns its rows again. From then on the inputs are fixed: columns
    and words that come later are left out and counted in ``faults_["unknown"]``. Until the first prior the prediction
    is the mean of a key's targets (of all, for a new key), without an interval.

    At most ``max_resident`` keys are in memory. The others, those that were used longest ago, are in a temporary file;
    a key that returns goes on exactly where it was.

    Args:
        prior: from `mole.fit_prior`, `mole.readout.train_readout_prior` or `mole.meta_train`, or a learner such as
            ``mole.KShot(prior)``; or None.
        key: the column that says whose a row is: text, or a whole number.
        target: the column of the target, if rows hold it; else targets are given beside the rows.
        level: share that the prediction intervals are to cover.
        mixture: settings of the mixture, as in `mole.OnlineRegressor`; few slots make it fast and small:
            ``{"max_tasks": 4, "candidates": 4, "drift": (1e-6,)}``.
        width: hidden units of the prior that it makes for itself.
        seed: of its training.
        memory: rows that it is made of at most.
        max_resident: keys in memory, rounded up to 32 and a multiple of 256.
        folder: where the file of the other keys is; the system's folder for temporary files if None.

    Attributes:
        n_seen_: rows learned.
        prior_: the shared prior; None until there is one.

    Raises:
        ValueError: for settings out of range, or a prior for classification.
        TypeError: for a prior of another type.

    Example:
        >>> fleet = KeyedFleet(key="machine", target="wear")                # doctest: +SKIP
        >>> steps = fleet.step([{"machine": "a7", "load": 0.4, "wear": 1.2}])
        >>> steps.prediction, steps.low, steps.high, steps.task
    """

    def __init__(
        self,
        prior: Prior | None = None,
        key: str = "key",
        *,
        target: str | None = None,
        level: float = 0.9,
        mixture: Mapping[str, Any] | None = None,
        width: int = 32,
        seed: int = 0,
        memory: int = 4096,
        max_resident: int = 8192,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """See the class."""
        expect_number(OWNER, "level", level, above=0.0, below=1.0, remedy="It is a share, such as 0.9.")
        expect_type(OWNER, "key", key, str, "It is the name of the column that says whose a row is.")
        expect_type(OWNER, "target", target, (str, type(None)), "It is the name of a column.")
        if isinstance(prior, StreamPrior) and prior.kind != "regression":
            raise ValueError(
                f"{OWNER} got a prior for {prior.kind}; expected one for regression. For labels keep one "
                "mole.OnlineClassifier a key."
            )
        settings = {
            "key": key,
            "target": target,
            "level": float(level),
            "mixture": plain_settings(OWNER, mixture),
            "width": expect_whole(OWNER, "width", width),
            "seed": expect_whole(OWNER, "seed", seed, 0),
            "memory": expect_whole(
                OWNER, "memory", memory, MARKS[0], "The first prior is made of as many rows."
            ),
            "max_resident": expect_whole(OWNER, "max_resident", max_resident),
        }
        super().__init__(prior, settings, folder)

    # Predict and learn.

    def step(self, rows: Any, y: Any = None, *, keys: Any = None) -> KeyedSteps:
        """Predict rows and learn them, in order; several rows of one key are learned one after another.

        What comes out does not depend on where a stream is cut into batches, nor on which other keys there are.

        Args:
            rows: a sequence of dicts from column to value, each with the key's column; a frame; or with ``keys`` an
                array ``[n, dx]`` or rows without the key's column.
            y: targets ``[n]`` or ``[n, dy]``; NaN or None where none is known: such a row is predicted and not learned.
                None if rows hold them; without both all rows are only predicted.
            keys: whose the rows are ``[n]``.

        Raises:
            ValueError: for a row without a key, keys of mixed types, a wrong row or target; nothing is learned then.
        """
        with self._lock:
            return self._steps(self._read(rows, y, keys))

    def predict(self, rows: Any, *, keys: Any = None) -> np.ndarray:
        """Expected targets ``[n]`` or ``[n, dy]`` of rows as in `step`; nothing is learned, and no key is added."""
        with self._lock:
            batch = self._read(rows, None, keys)
            batch = dataclasses.replace(batch, y=np.full_like(batch.y, np.nan))
            return self._steps(batch).prediction

    def learn(self, rows: Any, y: Any = None, *, keys: Any = None) -> KeyedFleet:
        """`step`, for those who do not need what it tells; itself."""
        self.step(rows, y, keys=keys)
        return self

    # Keys.

    @property
    def keys(self) -> list[Any]:
        """All keys that something was learned of, in no order."""
        with self._lock:
            return (
                list(dict.fromkeys(key for key, *_ in self._kept))
                if self._states is None
                else list(self._states)
            )

    def __len__(self) -> int:
        """Keys."""
        return len(self.keys) if self._states is None else len(self._states)

    def __contains__(self, key: Any) -> bool:
        """Whether something was learned of this key."""
        return key in (self.keys if self._states is None else self._states)

    @property
    def n_resident_(self) -> int:
        """Keys whose state is in memory."""
        return 0 if self._states is None else self._states.resident

    def forget(self, key: Any) -> None:
        """Forget a key: if it returns, it is new.

        Raises:
            KeyError: if there is no such key.
        """
        with self._lock:
            if key not in self:
                raise KeyError(f"{OWNER}.forget got {key!r:.80}, of which nothing was learned.")
            self._kept = [kept for kept in self._kept if kept[0] != key]
            if self._states is not None:
                self._states.drop(key)

    @property
    def faults_(self) -> dict[str, int]:
        """What was wrong, in how many rows of all keys; by the names of `mole.OnlineRegressor.faults_`."""
        return {name: count for name, count in self._faults.items() if count}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on exactly here to one file, atomically; all keys, wherever they are.

        While it is written the states also stand in a temporary file in the same folder, and not in memory.
        """
        with self._lock:
            keys = list(self._states) if self._states is not None else []
            config = {
                "settings": self._settings,
                "keys": keys,
                "kind": None if self._kind is None else self._kind.__name__,
                "outputs": self._outputs,
                "length": self._length,
                "seen": self.n_seen_,
                "faults": self.faults_,
                "made": self._given is None,
                "encoder": self._encoder.to_json(),
                "rows": [[key, row_json(kept(row, row))] for key, row, _ in self._kept],
            }
            arrays = {"targets": np.asarray([y for *_, y in self._kept], float)}
            state = None
            if self._states is not None:
                arrays["states"], state = (
                    self._recorded(keys, Path(path).resolve().parent),
                    self._learner.init(),
                )
            save_parts(path, _KIND, Parts(config, self._learner, state, arrays), self.prior_)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None
    ) -> KeyedFleet:
        """Read what `save` wrote; every key goes on bit for bit.

        Args:
            path: the file.
            folder: where the file of the keys that are not in memory is; as of the class.

        Raises:
            FileNotFoundError: if there is no such file.
            mole.files.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
        """
        parts = load_parts(path, _KIND, _NAMES)
        config, arrays = parts.config, parts.arrays
        with damage_told(path):
            prior = given_from(config["given"], parts.learner, path)
            fleet = cls(prior, folder=folder, **config["settings"])
            if config["made"]:
                fleet._given = None
            fleet._kind = {None: None, "str": str, "int": int}[config["kind"]]
            fleet._outputs, fleet._length = config["outputs"], config["length"]
            fleet.n_seen_ = int(config["seen"])
            fleet._faults.update({str(name): int(count) for name, count in config["faults"].items()})
            fleet._encoder = RowEncoder.from_json(config["encoder"])
            rows, targets = config["rows"], arrays["targets"]
            fleet._kept = [
                (key, read_row(row_from(row), None, OWNER), y)
                for (key, row), y in zip(rows, targets, strict=True)
            ]
            if prior is not None:
                records = arrays["states"].view(fleet._states.record)[:, 0]
                for key, record in zip(config["keys"], records, strict=True):
                    fleet._states.store(key, record)
            wrong = [key for key in fleet.keys if type(key) is not fleet._kind]
            if wrong or len(set(config["keys"])) < len(config["keys"]):
                raise ValueError(f"the keys {str(wrong)[:80]}")
        return fleet

    def _recorded(self, keys: list[Any], folder: Path) -> np.ndarray:
        """The records of keys as bytes ``[len(keys), ...]``."""
        size = self._states.record.itemsize
        if not keys:
            return np.zeros((0, size), np.uint8)
        with naming(folder), tempfile.TemporaryFile(dir=folder, prefix="mole-") as file:
            found = np.memmap(file, np.uint8, "w+", shape=(len(keys), size))
        for begin in range(0, len(keys), PAGE):
            some = keys[begin : begin + PAGE]
            found[begin : begin + len(some)] = self._states.read(some).view(np.uint8).reshape(len(some), size)
        return found  # the map outlives its file
