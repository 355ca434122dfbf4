"""The stateful face: an online regressor for a stream of (x, y), with or without a prior.

model = OnlineRegressor(prior)          # or OnlineRegressor(): the first points make the prior
for x, y in stream:
    prediction = model.predict_one(x)   # predict before you learn
    model.learn_one(x, y)
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole import checkpoint
from mole._types import Trajectory
from mole.checkpoint import CheckpointError
from mole.meta import MetaConfig, meta_train
from mole.models import MLP
from mole.online import Info, Mixture, OnlineLearner
from mole.prior import MetaPrior
from mole.prior_file import describe_prior, parse_header

__all__ = ["OnlineRegressor"]

_KIND = "online-regressor"
_WARMUP = MetaConfig(window=8, iterations=1500, evaluate_every=500, held_out=0.2)


class OnlineRegressor:
    """Learns y from x one pair at a time, discovers regimes by itself and recalls them.

    Args:
        prior: a meta-trained prior (`mole.meta.meta_train`, `mole.prior_file.load_prior`). Without one the first
            ``warmup`` pairs are kept, windows of them meta-train a prior, and the mixture then learns them in order;
            until then the prediction is the mean of the targets seen.
        warmup: pairs that make the prior when none is given.
        width: units per hidden layer of that prior's network (two layers).
        seed: of its initial weights and training.
        mixture: settings of `mole.online.Mixture`, e.g. ``{"margin": 20.0}``.

    Raises:
        ValueError: for a warm-up that is too short, or inputs of the wrong size or not finite.

    Example:
        >>> model = OnlineRegressor(prior)                      # doctest: +SKIP
        >>> for x, y in stream:                                  # doctest: +SKIP
        ...     y_hat = model.predict_one(x)
        ...     model.learn_one(x, y)
    """

    def __init__(
        self,
        prior: MetaPrior | None = None,
        *,
        warmup: int = 400,
        width: int = 64,
        seed: int = 0,
        mixture: Mapping[str, Any] | None = None,
    ) -> None:
        """See the class."""
        # The end of the warm-up is held out; it must have room for one window of time.
        least = math.ceil(2 * _WARMUP.window / _WARMUP.held_out)
        if prior is None and warmup < least:
            raise ValueError(
                f"OnlineRegressor got warmup={warmup}; expected at least {least} pairs, or a prior."
            )
        self._settings = {"warmup": warmup, "width": width, "seed": seed, "mixture": dict(mixture or {})}
        self._first_x: list[np.ndarray] = []
        self._first_y: list[np.ndarray] = []
        self._learner: OnlineLearner | None = None
        self._state: Any = None
        self.info: Info | None = None
        """`Info` of the last `learn_one`; None during the warm-up."""
        if prior is not None:
            self._start(prior)

    @property
    def prior(self) -> MetaPrior | None:
        """θ*; None during the warm-up."""
        return None if self._learner is None else self._learner.prior

    @property
    def responsibilities_(self) -> np.ndarray:
        """P(T_i) of every slot ``[max_tasks]`` after the last pair; a single one during the warm-up."""
        return np.ones(1) if self._state is None else np.asarray(self._state.responsibilities)

    @property
    def task_(self) -> int:
        """Slot of the task that predicts now."""
        return 0 if self.info is None else int(self.info.task)

    @property
    def n_tasks_(self) -> int:
        """Tasks found so far."""
        return 1 if self.info is None else int(self.info.n_tasks)

    def learn_one(self, x: Any, y: Any) -> OnlineRegressor:
        """Learn from one pair.

        Args:
            x: input ``[dx]`` (or a number).
            y: target ``[dy]`` (or a number).

        Returns:
            Itself.
        """
        x, y = self._vector("x", x, self._size("x")), self._vector("y", y, self._size("y"))
        if self._learner is not None:
            self._state, self.info = _update(self._learner, self._state, x, y)
            return self
        self._first_x.append(x)
        self._first_y.append(y)
        if len(self._first_x) >= self._settings["warmup"]:
            self._end_warmup()
        return self

    def predict_one(self, x: Any) -> np.ndarray:
        """Expected target ``[dy]`` for one input ``[dx]``, from what has been learned so far.

        Before the first pair, and without a prior, nothing is known, not even the size of y: the answer is ``[0.]``, so
        that a loop which predicts before it learns needs no special case.
        """
        x = self._vector("x", x, self._size("x"))
        if self._learner is not None:
            return np.asarray(_predict(self._learner, self._state, x))
        if not self._first_y:
            return np.zeros(1, np.float32)
        return np.mean(self._first_y, axis=0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on exactly here to one file, atomically."""
        learner = self._learner
        tree = (
            np.asarray(self._first_x, np.float32),
            np.asarray(self._first_y, np.float32),
            learner and learner.prior,
            self._state,
            self.info,
        )
        config: dict[str, Any] = {
            **self._settings,
            "first": [list(array.shape) for array in tree[:2]],
            "prior": None if learner is None else dataclasses.asdict(describe_prior(learner.prior, {})),
            "learning": self.info is not None,
        }
        checkpoint.save(path, tree, kind=_KIND, config=config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OnlineRegressor:
        """Read what `save` wrote; predictions and learning go on bit for bit.

        Raises:
            FileNotFoundError: if there is no such file.
            mole.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
        """
        header = checkpoint.read_header(path)
        if header.kind != _KIND:
            raise CheckpointError(f"{path} holds a {header.kind!r}, expected an {_KIND!r}.")
        config = dict(header.config)
        wrong = sorted(set(config) ^ {"warmup", "width", "seed", "mixture", "first", "prior", "learning"})
        if wrong:
            raise CheckpointError(
                f"{path} has a header that differs in {wrong}; it was written by another version."
            )
        shapes, stored, learning = (config.pop(name) for name in ("first", "prior", "learning"))
        prior = state = info = None
        if stored is not None:
            prior = eqx.filter_eval_shape(parse_header(stored, path).skeleton)
            learner = Mixture(prior, **config["mixture"])
            state = eqx.filter_eval_shape(learner.init)
            pair = (
                jax.ShapeDtypeStruct((size,), jnp.float32) for size in (prior.input_size, prior.target_size)
            )
            info = eqx.filter_eval_shape(learner.update, state, *pair)[1] if learning else None
        first = [jax.ShapeDtypeStruct(tuple(shape), jnp.float32) for shape in shapes]
        x, y, prior, state, info = checkpoint.load(path, (*first, prior, state, info), kind=_KIND)
        model = cls(prior, **config)
        model._first_x, model._first_y = list(np.asarray(x)), list(np.asarray(y))
        model._state, model.info = state, info
        return model

    def _start(self, prior: MetaPrior) -> None:
        self._learner = Mixture(prior, **self._settings["mixture"])
        self._state = self._learner.init()

    def _end_warmup(self) -> None:
        x, y = np.asarray(self._first_x), np.asarray(self._first_y)
        key = jax.random.key(self._settings["seed"])
        network = MLP(x.shape[1], y.shape[1], width=self._settings["width"], key=key)
        self._start(meta_train(network, [Trajectory(x, y)], config=_WARMUP, key=jax.random.fold_in(key, 1)))
        self._first_x, self._first_y = [], []
        for pair in zip(x, y, strict=True):
            self.learn_one(*pair)

    def _size(self, name: str) -> int | None:
        if self._learner is not None:
            prior = self._learner.prior
            return prior.input_size if name == "x" else prior.target_size
        first = self._first_x if name == "x" else self._first_y
        return first[0].size if first else None

    def _vector(self, name: str, value: Any, size: int | None) -> np.ndarray:
        expected = f"expected {size or 'a vector of'} finite numbers"
        try:
            given = np.atleast_1d(np.asarray(value))
        except ValueError as error:
            raise ValueError(
                f"OnlineRegressor got {name}={value!r}; {expected}. Nothing was learned."
            ) from error
        if not any(jnp.issubdtype(given.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating)):
            raise ValueError(
                f"OnlineRegressor got {name}={value!r}; {expected}. Convert text and objects to numbers first; "
                "nothing was learned."
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            vector = given.astype(np.float32)
        finite = bool(np.isfinite(vector).all())
        if vector.ndim != 1 or vector.size != (size or max(vector.size, 1)) or not finite:
            raise ValueError(
                f"OnlineRegressor got {name} of shape {vector.shape}, finite: {finite}; {expected}. Drop or impute "
                "missing values; nothing was learned."
            )
        return vector


@eqx.filter_jit
def _predict(learner: OnlineLearner, state: Any, x: jax.Array) -> jax.Array:
    return learner.predict(state, jnp.asarray(x)).mean


@eqx.filter_jit
def _update(learner: OnlineLearner, state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Info]:
    return learner.update(state, jnp.asarray(x), jnp.asarray(y))
