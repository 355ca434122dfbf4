"""Classification on a stream: a label from a row, with probabilities."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from mole.estimators.anomaly import chance_slopes, label_score
from mole.estimators.described import Prior
from mole.estimators.explained import ExplainedEstimator
from mole.estimators.saving import load_estimator, save_estimator
from mole.estimators.targets import Label, read_label
from mole.files.checkpoint import CheckpointError
from mole.learning.models import Normalizer
from mole.priors.stream import StreamPrior
from mole.rows.batches import is_missing, pairs_of, rows_of
from mole.rows.scaling import Units, class_normalizer

__all__ = ["OnlineClassifier"]

_LEAST = 0.01  # of an expected indicator: a regression may give less than zero, and no label is impossible
_SHARPNESS_RATE = 0.02
_SHARPNESS_RANGE = (0.25, 8.0)


class OnlineClassifier(ExplainedEstimator):
    """Learns a label from a row one pair at a time, discovers regimes by itself and recalls them.

    The mixture of `OnlineRegressor` predicts the indicators of the classes. Their expectations are kept positive,
    raised to a power (the sharpness, learned from the losses) and divided by their sum: these are the probabilities.
    Labels may appear at any time.

    Args:
        prior: from `mole.fit_prior` with ``kind="classification"``, or None.
        level: not used; both estimators take the same settings.
        width: hidden units of the prior that it makes for itself.
        seed: of random hidden units and training.
        memory: newest pairs that are kept to make priors from.
        history: newest pairs whose figures are kept in ``history_``.
        mixture: settings of `mole.readout.ReadoutMixture`.
        background: as of `OnlineRegressor`.

    Attributes:
        n_seen_: pairs learned.

    Raises:
        ValueError: for settings out of range.
        TypeError: for settings of the wrong type.

    Examples:
        >>> model = OnlineClassifier()
        >>> for t in range(50):
        ...     step = model.step_one([t % 2, t], "odd" if t % 2 else "even")    # predict, then learn
        >>> model.predict_one([1, 51])
        'odd'
    """

    _has_intervals = False
    _targets_are = "labels"

    def __init__(
        self,
        prior: Prior | None = None,
        *,
        level: float = 0.9,
        width: int = 32,
        seed: int = 0,
        memory: int = 4096,
        history: int = 10_000,
        mixture: Mapping[str, Any] | None = None,
        background: bool = False,
    ) -> None:
        """See the class."""
        if prior is not None and not (isinstance(prior, StreamPrior) and prior.kind == "classification"):
            raise ValueError(
                "OnlineClassifier got a prior without labels; expected one from mole.fit_prior(..., "
                "kind='classification', labels=...)."
            )
        self._labels: list[Label] = list(prior.labels) if isinstance(prior, StreamPrior) else []
        self._counts: list[int] = [0] * len(self._labels)
        self._sharpness = 1.0
        super().__init__(
            prior, level=level, width=width, seed=seed, memory=memory, history=history, mixture=mixture,
            background=background,
        )  # fmt: skip

    @property
    def classes_(self) -> list[Label]:
        """The labels seen so far, in order of appearance (of the prior's, first)."""
        return list(self._labels)

    def predict_proba_one(self, x: Any, *, id: Any = None) -> dict[Label, float]:
        """Label → probability for one row; they sum to one. Empty before the first label.

        Args:
            x: a row.
            id: as in `predict_one`.
        """
        return self._ask(x, id=id)[3]

    def predict_one(self, x: Any, *, id: Any = None) -> Label | None:
        """The most probable label for one row; None before the first.

        Args:
            x: a row.
            id: text or a whole number, by which `learn_one` will be given the label later: the row is kept until then.
                None if it comes with the row, or never.
        """
        return self._ask(x, id=id)[0]

    def anomaly_score_one(self, x: Any, y: Any) -> float:
        """How odd a label is, from 0 to 1: the probability of the labels that are more probable. Nothing is learned.

        If labels are as predicted, at most one in a hundred has a score above .99: labels come in lumps of probability,
        so that the score is no more than uniform. A label that has not come before has the score 1.

        Args:
            x: a row.
            y: its label.

        Raises:
            ValueError: for a wrong row or label.
        """
        return label_score(self.predict_proba_one(x), self._target(y)) if self._labels else 0.0

    def predict(self, x: Any) -> np.ndarray:
        """The most probable label of several rows ``[n]``; none of them is learned."""
        return np.asarray([self.predict_one(row) for row in rows_of(x)])

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities of several rows ``[n, classes]``, columns in the order of ``classes_``."""
        return np.asarray([list(self.predict_proba_one(row).values()) for row in rows_of(x)], float)

    def score(self, x: Any, y: Any) -> float:
        """Share of rows whose label `predict` finds, from 0 to 1; rows without a label do not count.

        Raises:
            ValueError: if there are not as many labels as rows.
        """
        pairs = pairs_of(x, y, self._targets_are)
        right = [self.predict_one(row) == read_label(label) for row, label in pairs if not is_missing(label)]
        return float(np.mean(right))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on exactly here to one file, atomically."""
        with self._lock:
            extra = {"labels": self._labels, "counts": self._counts, "sharpness": self._sharpness}
            save_estimator(self, path, "online-classifier", extra)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OnlineClassifier:
        """Read what `save` wrote; predictions and learning go on bit for bit.

        Raises:
            FileNotFoundError: if there is no such file.
            mole.files.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
        """
        model, extra = load_estimator(cls, path, "online-classifier")
        # Labels are compared by their texts below: as values, True and 1 would be the same.
        labels, counts, sharpness = (extra.get(name) for name in ("labels", "counts", "sharpness"))
        if not (
            isinstance(labels, list)
            and isinstance(counts, list)
            and len(labels) == len(counts) == len(set(map(repr, labels)))
            and all(isinstance(label, int | str) for label in labels)
            and all(type(count) is int and count >= 0 for count in counts)
            and isinstance(sharpness, int | float)
            and _SHARPNESS_RANGE[0] <= sharpness <= _SHARPNESS_RANGE[1]
        ):
            raise CheckpointError(
                f"{path} is damaged: its labels, their counts or the sharpness are not ours."
            )
        model._labels, model._counts, model._sharpness = labels, counts, sharpness
        return model

    def _predicted(self, forecast: Any, level: float | None = None) -> tuple[Any, ...]:
        # Before there is a learner, the frequencies of the labels are all that is known.
        if forecast is None:
            total = max(sum(self._counts), 1)
            shares = [count / total for count in self._counts]
        else:
            shares = self._powered(self._indicators(forecast)).tolist()
        chances = dict(zip(self._labels, shares, strict=True))
        return max(chances, key=chances.__getitem__) if chances else None, None, None, chances

    def _learned(self, forecast: Any, target: int) -> None:
        self._counts[target] += 1
        if forecast is not None and len(found := self._indicators(forecast)) > 1:
            self._sharpen(found, target)

    def _indicators(self, forecast: Any) -> np.ndarray:
        """Expected indicators of the known labels ``[classes]``, kept positive; they sum to one."""
        mean = np.clip(np.asarray(forecast[0], float), _LEAST, 1.0)
        if len(mean) == 1:  # at most two classes: the indicator of the second
            mean = np.clip(np.array([1.0 - mean[0], mean[0]]), _LEAST, 1.0)[: len(self._labels)]
        # There may be more outputs than labels (see `_room`); those beyond are of labels that have not come yet.
        known = np.full(len(self._labels), _LEAST)
        known[: len(mean)] = mean[: len(known)]
        return known / known.sum()

    def _powered(self, chances: np.ndarray) -> np.ndarray:
        power = chances**self._sharpness
        return power / power.sum()

    def _output_names(self) -> Sequence[Label]:
        # The one output of two classes says how probable the second is.
        return self._labels[1:2] if self._room() == 1 else self._labels

    def _along(
        self, means: np.ndarray, gradients: np.ndarray, label: Any
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        chances = np.asarray([self._powered(self._indicators([mean])) for mean in means])
        label = self._labels[int(np.argmax(chances[1]))] if label is None else read_label(label)
        if label not in self._labels:
            raise ValueError(
                f"OnlineClassifier.explain_one got label={label!r}; expected one of {self._labels}."
            )
        place, classes = self._labels.index(label), len(self._labels)
        if means.shape[1] == 1:
            means = np.concatenate([1.0 - means, means], axis=1)
            gradients = np.concatenate([-gradients, gradients], axis=1)
        by = chance_slopes(means[2:, :classes], chances[2:], place, self._sharpness, _LEAST)
        return chances[:2, place, None], np.einsum("pj,pjx->px", by, gradients[:, :classes])[:, None], label

    def _sharpen(self, chances: np.ndarray, place: int) -> None:
        """One step of the sharpness down the logarithmic loss of the label at ``place``."""
        # The slope by the logarithm of the sharpness, which then stays positive. It is clipped, so that one surprise
        # moves the sharpness by 4 % at most.
        logs, now = np.log(chances), self._powered(chances)
        slope = self._sharpness * (now @ logs - logs[place])
        step = _SHARPNESS_RATE * float(np.clip(slope, -2.0, 2.0))
        self._sharpness = float(np.clip(self._sharpness * np.exp(-step), *_SHARPNESS_RANGE))

    def _target(self, y: Any) -> Label:
        label = read_label(y)
        # A given prior was trained with so many outputs, and is never made anew.
        if self._given is not None and label not in self._labels:
            raise ValueError(
                f"OnlineClassifier got the label {y!r}; expected one of {self._labels}, which its prior knows. Nothing "
                "was learned; without a prior labels may appear at any time."
            )
        return label

    def _is_new(self, target: Label) -> bool:
        return target not in self._labels

    def _admitted(self, target: Label) -> tuple[int, bool]:
        changed = False
        if target not in self._labels:
            self._labels.append(target)
            self._counts.append(0)
            changed = self._learner is not None and self._room() != self._learner.prior.target_size
            if changed:
                self._renew_now()
            elif self._learner is not None:
                # A prior in the making does not know the label: it is begun again.
                self._begin_again()
                # There is an output for it already. Its weight alone changes, and that is an array: nothing compiles.
                weights = jnp.asarray(self._output_weights(), jnp.float32)
                learner = eqx.tree_at(lambda learner: learner.outputs, self._learner, weights)
                self._start(learner, self._state)
        return self._labels.index(target), changed

    def _vectors(self, targets: list[Any], units: Units | None) -> np.ndarray:
        places, room = np.asarray(targets, int), self._room()
        if room == 1:
            return (places == 1).astype(np.float32)[:, None]
        return np.eye(room, dtype=np.float32)[places]

    def _room(self) -> int:
        """Outputs: one for two classes, or else a power of two, so that few numbers of classes compile anew."""
        if self._given is not None:
            return len(self._labels)
        return 1 if len(self._labels) <= 2 else 1 << (len(self._labels) - 1).bit_length()

    def _target_norm(self, vectors: np.ndarray) -> Normalizer:
        return class_normalizer(vectors)

    def _output_weights(self) -> list[float]:
        classes, room = len(self._labels), self._room()
        if room == 1:
            return [1.0]
        # C indicators sum to one: they say as much as C - 1 numbers. An output without a label says nothing.
        return [(classes - 1) / classes if place < classes else 0.0 for place in range(room)]

    def _mixture_settings(self) -> dict[str, Any]:
        return {**self._settings["mixture"], "outputs": self._output_weights(), "classes": True}
