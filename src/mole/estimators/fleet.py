"""Thousands of independent streams in one call, with a shared prior and a mixture each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._expect import expect_whole
from mole._float32 import methods_in_float32
from mole._types import Array
from mole.estimators.described import Prior, given_from, learner_from, plain_settings
from mole.estimators.saving import Parts, damage_told, load_parts, save_parts
from mole.files.checkpoint import CheckpointError
from mole.files.processes import available_cores
from mole.online.guard import Fault
from mole.priors.stream import StreamPrior

__all__ = ["Fleet"]

T = TypeVar("T")
_KIND = "fleet"
_BLOCK = 16
"""Streams that learn together, in place: their states stay in the cache, unlike those of a vmap over all streams."""


@methods_in_float32
class Fleet:
    """Many streams that learn side by side, each with its own mixture; the prior is shared.

    The results are those of one learner for each stream, to float precision. Streams may skip steps, leave, and join (a
    new stream takes the place of one that has left).

    Args:
        prior: from `mole.fit_prior` or `mole.meta_train`, or a learner such as ``mole.KShot(prior)``.
        size: number of streams.
        mixture: settings of the mixture, as in `mole.OnlineRegressor`; few slots make it fast:
            ``{"max_tasks": 4, "candidates": 4, "drift": (1e-6,)}``.

    Raises:
        ValueError: for a size below one, or settings beside a learner.
        TypeError: for a prior of another type, or a size that is no whole number.

    Examples:
        >>> fleet = Fleet(prior, 1000)                       # doctest: +SKIP
        >>> y_hat = fleet.predict(x)                          # x [1000, dx]; predict before you learn
        >>> fleet.learn(x, y, there=arrived)                  # arrived [1000]: who has a pair at this step
    """

    def __init__(
        self,
        prior: Prior,
        size: int,
        *,
        mixture: Mapping[str, Any] | None = None,
    ) -> None:
        """See the class."""
        self.size = expect_whole("Fleet", "size", size, remedy="It is the number of streams.")
        self._given = prior
        self._settings = plain_settings("Fleet", mixture)
        self._learner = learner_from("Fleet", prior, self._settings)
        known = isinstance(prior, StreamPrior)
        self._units = {"x": prior.inputs, "y": prior.targets} if known else {"x": None, "y": None}
        self._first = self._learner.init()
        self._bounds = np.linspace(0, size, min(available_cores(), size) + 1).astype(int).tolist()
        self._put(jax.tree.map(lambda a: jnp.repeat(a[None], size, axis=0), self._first))
        self.tasks_ = np.zeros(size, int)
        """Number of the task of every stream ``[size]``."""
        self.n_tasks_ = np.ones(size, int)
        """Tasks known to every stream ``[size]``."""
        self._faults: np.ndarray = np.zeros((size, len(Fault)), np.int64)

    def predict(self, x: Any) -> np.ndarray:
        """Expected targets ``[size, dy]`` for one input per stream ``[size, dx]``."""
        x = self._checked("x", x)
        found = self._shared_out(lambda states, own: _predict(self._learner, states, x[own]))
        return self._in_their_unit(np.concatenate(found))

    def learn(self, x: Any, y: Any, there: Any = None) -> np.ndarray:
        """One pair per stream.

        Args:
            x: inputs ``[size, dx]``; what it says for streams that skip this step does not matter.
            y: targets ``[size, dy]``, or ``[size]`` if there is one.
            there: which streams have a pair at this step ``[size]``; all if None.

        Returns:
            Standardised squared errors ``[size]`` of the predictions made before; NaN for streams that skipped.

        Raises:
            ValueError: for wrong shapes; nothing is learned then.
        """
        x, y = self._checked("x", x), self._checked("y", y)
        mask = np.ones(self.size, bool) if there is None else np.asarray(there)
        if mask.shape != (self.size,) or mask.dtype != bool:
            raise ValueError(
                f"Fleet.learn got there of shape {mask.shape} and type {mask.dtype}; expected one truth value per "
                f"stream, [{self.size}]."
            )
        _, loss = self._learned(x[:, None], y[:, None], mask)
        return np.where(mask, loss[:, 0], np.nan)

    def learn_many(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Several steps of every stream, faster than one by one.

        Args:
            x: inputs ``[size, n, dx]``.
            y: targets ``[size, n, dy]``, or ``[size, n]``.

        Returns:
            Predictions made before each pair ``[size, n, dy]``, and their standardised squared errors ``[size, n]``.

        Raises:
            ValueError: for wrong shapes; nothing is learned then.
        """
        x, y = self._checked("x", x, steps=True), self._checked("y", y, steps=True)
        if x.shape[1] != y.shape[1] or not x.shape[1]:
            raise ValueError(
                f"Fleet.learn_many got {x.shape[1]} inputs and {y.shape[1]} targets; expected as many."
            )
        means, losses = self._learned(x, y, np.ones(self.size, bool))
        return self._in_their_unit(means), losses

    def reset(self, streams: Sequence[int] | np.ndarray) -> None:
        """Begin the streams at these places anew: a new stream joins where another one has left.

        Args:
            streams: their places, or one truth value per stream ``[size]``.

        Raises:
            IndexError: for a place that is not there; nothing is changed then.
            TypeError: for places that are no whole numbers.
        """
        places = np.atleast_1d(np.asarray(streams))
        if places.dtype == bool:
            if places.shape != (self.size,):
                raise IndexError(f"Fleet.reset got truth values {places.shape}; expected [{self.size}].")
            places = np.flatnonzero(places)
        if places.size and (places.dtype.kind not in "iu" or places.ndim != 1):
            raise TypeError(
                f"Fleet.reset got {streams!r:.80}; expected places from 0 to {self.size - 1}, or one truth value per "
                "stream. Nothing was changed."
            )
        places = places.astype(int)
        if places.size and (places.min() < 0 or places.max() >= self.size):
            raise IndexError(f"Fleet.reset got {places.tolist()}; expected places from 0 to {self.size - 1}.")
        for part, begin, end in zip(range(len(self._parts)), self._bounds, self._bounds[1:], strict=False):
            own = places[(places >= begin) & (places < end)] - begin
            fresh = jax.tree.map(
                lambda many, one, own=own: many.at[own].set(one), self._parts[part], self._first
            )
            self._parts[part] = fresh
        self.tasks_[places], self.n_tasks_[places] = 0, 1
        self._faults[places, :] = 0

    def responsibilities(self, stream: int) -> np.ndarray:
        """Probabilities ``[slots]`` of the slots of one stream's mixture.

        Raises:
            IndexError: for a place that is not there.
        """
        part = int(np.searchsorted(self._bounds, range(self.size)[stream], side="right")) - 1
        state = jax.tree.map(lambda a: a[range(self.size)[stream] - self._bounds[part]], self._parts[part])
        return np.asarray(self._learner.responsibilities(state))

    @property
    def faults_(self) -> dict[str, np.ndarray]:
        """Pairs of every stream ``[size]`` with each fault, by its name in lower case (`mole.online.Fault`)."""
        return {str(fault.name).lower(): self._faults[:, place].copy() for place, fault in enumerate(Fault)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on exactly here to one file, atomically."""
        arrays = {"tasks": self.tasks_.astype(np.int32), "n_tasks": self.n_tasks_.astype(np.int32)}
        arrays["faults"] = self._faults
        config = {"settings": {"size": self.size, "mixture": self._settings}}
        save_parts(path, _KIND, Parts(config, self._learner, self._whole(), arrays), self._given)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Fleet:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            mole.files.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
        """
        parts = load_parts(path, _KIND, frozenset({"settings"}), many=True)
        prior = given_from(parts.config["given"], parts.learner, path)
        if prior is None:
            raise CheckpointError(f"{path} has no prior; it is damaged.")
        with damage_told(path):
            settings = parts.config["settings"]
            fleet = cls(prior, settings["size"], mixture=settings["mixture"])
            fleet._put(parts.state)
            fleet.tasks_, fleet.n_tasks_ = (parts.arrays[name].astype(int) for name in ("tasks", "n_tasks"))
            if {fleet.tasks_.shape, fleet.n_tasks_.shape} != {(fleet.size,)}:
                raise ValueError(f"tasks {fleet.tasks_.shape} of {fleet.size} streams")
            fleet._faults = parts.arrays["faults"].astype(np.int64)
        return fleet

    def _put(self, states: Any) -> None:
        """Divide the states ``[size, ...]`` among the cores; each changes its own in place, so that they are copies."""
        pairs = zip(self._bounds, self._bounds[1:], strict=False)
        self._parts = [jax.tree.map(lambda a, own=slice(*pair): jnp.array(a[own]), states) for pair in pairs]

    def _whole(self) -> Any:
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *self._parts)

    def _shared_out(self, run: Callable[[Any, slice], T]) -> list[T]:
        """The results of ``run`` for every core's states and the places of its streams, all at the same time.

        Threads are enough: a compiled program runs without Python's lock.
        """
        owns = [slice(*pair) for pair in zip(self._bounds, self._bounds[1:], strict=False)]
        if len(owns) == 1:
            return [run(self._parts[0], owns[0])]
        with ThreadPoolExecutor(len(owns)) as pool:
            return list(pool.map(lambda *given: jax.block_until_ready(run(*given)), self._parts, owns))

    def _learned(self, x: np.ndarray, y: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and losses of pairs ``[size, n, ...]``, after learning those of the streams that are there."""
        done = self._shared_out(lambda states, own: _learn(self._learner, states, x[own], y[own], there[own]))
        self._parts = [part for part, _ in done]
        means, losses, faults, tasks, counts = (
            np.concatenate(found) for found in zip(*(f for _, f in done), strict=True)
        )
        # A pair that is not there was learned as one that is not finite, which is no fault of the stream.
        faults = np.where(there[:, None], faults, 0)
        if faults.any():
            self._faults += np.stack([np.sum(faults & fault.value != 0, axis=1) for fault in Fault], axis=1)
        self.tasks_ = np.where(there, tasks.astype(int), self.tasks_)
        self.n_tasks_ = np.where(there, counts.astype(int), self.n_tasks_)
        return means, losses

    def _checked(self, name: str, values: Any, steps: bool = False) -> np.ndarray:
        prior = self._learner.prior
        size = prior.input_size if name == "x" else prior.target_size
        units = self._units[name]
        array = np.asarray(values, np.float32 if units is None else float)
        axes = 3 if steps else 2
        if array.ndim == axes - 1 and size == 1:
            array = array[..., None]
        if array.ndim != axes or array.shape[0] != self.size or array.shape[-1] != size:
            shape = f"[{self.size}, n, {size}]" if steps else f"[{self.size}, {size}]"
            raise ValueError(
                f"Fleet got {name} of shape {np.shape(values)}; expected {shape}. Nothing was learned."
            )
        return array if units is None else units.encode(array).astype(np.float32)

    def _in_their_unit(self, means: np.ndarray) -> np.ndarray:
        """Learned targets ``[..., dy]`` in the unit of the targets; float64 where float32 would lose their digits."""
        units = self._units["y"]
        return means if units is None else np.asarray(means, float) / units.factor + units.offset


@eqx.filter_jit
def _predict(learner: Any, states: Any, x: Any) -> Array:
    return jax.vmap(lambda state, one: learner.predict(state, one).mean)(states, jnp.asarray(x))


@eqx.filter_jit(donate="all-except-first")
def _learn(learner: Any, states: Any, x: Any, y: Any, there: Any) -> tuple[Any, Any]:
    def step(state: Any, pair: tuple[Array, Array]) -> tuple[Any, Any]:
        mean = learner.predict(state, pair[0]).mean
        state, info = learner.update(state, *pair)
        return state, (mean, info.loss, info.fault, info.task, info.n_tasks)

    def stream(state: Any, x: Array, y: Array, there: Array) -> tuple[Any, Any]:
        # A pair that is not there is one that is not finite: the learner leaves its state as it is.
        state, (means, losses, faults, tasks, counts) = jax.lax.scan(
            step, state, (jnp.where(there, x, jnp.nan), y)
        )
        return state, (means, losses, faults, tasks[-1], counts[-1])

    def block(first: Array | int, size: int, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        states, figures = carry
        given = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, size), (states, x, y, there))
        return jax.tree.map(
            lambda many, some: jax.lax.dynamic_update_slice_in_dim(many, some, first, 0),
            (states, figures),
            jax.vmap(stream)(*given),
        )

    x, y, there = (jnp.asarray(values) for values in (x, y, there))
    streams, steps, dy = y.shape
    number = jnp.zeros((streams,), jnp.int32)
    means, losses = jnp.zeros((streams, steps, dy)), jnp.zeros((streams, steps))
    figures = (means, losses, jnp.zeros((streams, steps), jnp.int32), number, number)
    # The last block is smaller: padding would need states for streams that do not exist.
    blocks, rest = divmod(streams, _BLOCK)
    carry = states, figures
    if blocks:
        carry = jax.lax.fori_loop(0, blocks, lambda i, carry: block(i * _BLOCK, _BLOCK, carry), carry)
    return block(blocks * _BLOCK, rest, carry) if rest else carry
