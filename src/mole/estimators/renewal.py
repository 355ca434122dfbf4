"""A prior that is being made, at once or beside the stream, and when a stream makes one.

Beside the stream means: at every row a slice of the work is done, of the same size each, and the prior is used from a
row that is fixed when the work begins. So no row waits long however fast rows come, the same rows give the same
numbers on any machine, and nothing is left to threads.
"""

from __future__ import annotations

import abc
import collections
import functools
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mole.estimators.growing import (
    SELF_TRAINING,
    Grown,
    Kept,
    Recipe,
    grow,
    learned_size,
    slices_of_grow,
)
from mole.estimators.state import MARKS, RECENT, EstimatorState
from mole.readout.training import compile_ahead
from mole.rows.changes import News, explained
from mole.rows.encoding import RowEncoder, Schema
from mole.rows.selection import Neglected
from mole.rows.values import kept, read_row

__all__ = ["GrowingEstimator", "Renewal", "delay_of"]

_AT_ONCE = 20  # pairs up to which the work is too little to be spread
_AT_A_ROW = 2  # slices; each takes a few milliseconds


def delay_of(pairs: int, memory: int, size: int, schema: bool) -> int:
    """Rows between the beginning of the work and its use, if it is done beside the stream.

    Args:
        pairs: that have been learned.
        memory: most pairs that are kept.
        size: inputs of a row.
        schema: whether the schema is made first.
    """
    if pairs <= _AT_ONCE:
        return 0
    slices = slices_of_grow(min(pairs, memory), size, min(pairs, memory), schema)
    # A quarter of the memory: the oldest pairs are forgotten meanwhile, and are left out from the beginning.
    return min(-(-slices // _AT_A_ROW), memory // 4)


class Renewal:
    """A prior in the making.

    Args:
        begun: pairs learned when the work begins.
        delay: rows until it is used.
        kept: what it is made of.
        recipe: how.
        size: inputs of a row, as far as is known.
        recent: newest inputs that are wanted of it.
        news: what changed in the rows, if that is the reason.

    Attributes:
        begun, kept, recipe, news: as given.
        due: pairs learned when it is used.
    """

    def __init__(
        self, begun: int, delay: int, kept: Kept, recipe: Recipe, size: int, recent: int, news: list[News]
    ) -> None:
        """See the class."""
        self.begun, self.due, self.kept, self.recipe, self.news = begun, begun + delay, kept, recipe, news
        self._recent, self._done = recent, 0
        self._work: Generator[None, None, Grown | None] | None = None
        every = slices_of_grow(kept.begun, size, kept.begun + delay, recipe.schema is None)
        self._slices = -(-every // max(delay, 1))  # at a row

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the work, of which there are no copies: it is done again, to the same numbers."""
        return {**vars(self), "_work": None}

    def to_json(self, postponed: bool) -> dict[str, Any]:
        """What is not in the rest of an estimator's file, as plain JSON data."""
        schema = None if self.recipe.schema is None else self.recipe.schema.to_json()
        news = [list(item) for item in self.news]
        return {"begun": self.begun, "due": self.due, "schema": schema, "news": news, "postponed": postponed}

    def advance(self, pairs: int) -> bool:
        """Do what belongs to the rows since the work began.

        Args:
            pairs: learned so far.

        Returns:
            Whether the prior is to be used now (`finished`).
        """
        if pairs >= self.due:
            return True
        target = (pairs - self.begun) * self._slices
        if self._work is None:
            self._work, self._done = grow(self.kept, self.recipe, self._recent), 0
        while self._done < target:
            self._done += 1
            # It ends before its pairs are complete only where there is no need of a prior, as `finished` then says.
            next(self._work, None)
        return False

    def finished(self) -> Grown | None:
        """Do what is left; what was made, or None if there is no need after all."""
        self.kept.complete = True
        work = grow(self.kept, self.recipe, self._recent) if self._work is None else self._work
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value


class GrowingEstimator(EstimatorState):
    """An estimator that makes its prior from its own rows, if it was given none."""

    @abc.abstractmethod
    def _target(self, y: Any) -> Any:
        """A checked target: a vector of floats, or a label."""

    def _grow(self) -> None:
        """Make the prior anew where the history has doubled, or the inputs have changed."""
        pairs, memory = self.n_seen_, self._settings["memory"]
        # Rows without a single value are learned as such, but there is nothing to make inputs of.
        if not any(column.present for column in self._encoder.columns.values()):
            return
        due = (pairs in MARKS and pairs <= memory) or self._changes.follow_up(pairs) or self._postponed
        if (renewal := self._renewal) is not None:
            renewal.kept.add(self._rows[-1], self._targets[-1], self._tasks[-1], self._weights[-1])
            self._postponed = due
            if renewal.advance(pairs):
                self._use(renewal)
        elif due:
            self._postponed = False
            self._renew([])
        elif self._schema is not None and (news := self._changes.pressing(pairs, memory)):
            self._renew(news)

    def _renew(self, news: list[News]) -> None:
        """Begin to make the prior anew: with ``news``, if the inputs then say what is new."""
        pairs, memory = self.n_seen_, self._settings["memory"]
        schema = self._schema_of_all()
        if schema is not None and news and not self._needed(news, schema):
            return
        beside, size = self._settings["background"], self._size_of(schema)
        delay = delay_of(pairs, memory, size, schema is None) if beside else 0
        renewal = self._renewal_of(pairs, delay, schema, news)
        if delay:
            self._renewal = renewal
        else:
            self._use(renewal)

    def _renew_now(self) -> None:
        """Make the prior anew before anything else."""
        self._postponed = False
        self._use(self._renewal_of(self.n_seen_, 0, self._schema_of_all(), []))

    def _begin_again(self) -> None:
        """Drop a prior in the making, which another one replaces at the next row."""
        self._postponed = self._postponed or self._renewal is not None
        self._renewal = None

    def _schema_of_all(self) -> Schema | None:
        """The schema of all rows so far; None once rows have been forgotten, and it is made of those that are left."""
        return self._encoder.schema() if self.n_seen_ <= len(self._rows) else None

    def _size_of(self, schema: Schema | None) -> int:
        """Inputs of a row; by the schema in use where the new one is not made yet."""
        now = self._schema if schema is None else schema
        assert now is not None  # one was made before any row was forgotten
        return now.size

    def _needed(self, news: list[News], schema: Schema) -> bool:
        """Whether inputs of this schema say what is new; or nothing is."""
        before = self._schema
        return not news or before is None or any(explained(item, before, schema) for item in news)

    def _renewal_of(self, pairs: int, delay: int, schema: Schema | None, news: list[News]) -> Renewal:
        """The making of a prior that began when so many pairs were learned."""
        since, settings = self.n_seen_ - pairs, self._settings
        begun = min(len(self._rows) - since, settings["memory"] - delay)
        newest = slice(len(self._rows) - since - begun, None)
        lists: Any = (list(one)[newest] for one in (self._rows, self._targets, self._tasks, self._weights))
        pairs_kept = Kept(*lists, begun=begun, complete=False)
        recipe = Recipe(
            schema, functools.partial(self._needed, news), self._units_of(pairs_kept.targets[:begun]), self._vectors,
            self._target_norm, self._mixture_settings, self._free_number, self._gaps,
            settings["width"], settings["seed"], settings["memory"],
        )  # fmt: skip
        return Renewal(pairs, delay, pairs_kept, recipe, self._size_of(schema), RECENT, news)

    def _go_on_renewing(self, data: Mapping[str, Any]) -> None:
        """Take up what `Renewal.to_json` wrote: the work is done again at the next row, to the same numbers."""
        begun, due = int(data["begun"]), int(data["due"])
        if not 0 <= begun <= self.n_seen_ < due <= begun + self._settings["memory"]:
            raise ValueError(f"a prior begun at {begun} and due at {due}, at {self.n_seen_}")
        schema = None if data["schema"] is None else Schema.from_json(data["schema"])
        news = [(str(column), str(what)) for column, what in data["news"]]
        self._renewal = self._renewal_of(begun, due - begun, schema, news)
        self._postponed = bool(data["postponed"])

    def _free_number(self) -> int:
        return 0 if self._learner is None else int(self._state.next_task)

    def _use(self, renewal: Renewal) -> None:
        """Take a new prior and its mixture into use."""
        first = self._settings["background"] and self._engine is None
        grown, self._renewal = self._first(renewal) if first else renewal.finished(), None
        if grown is None:
            return
        if renewal.news:
            self._changes.renew(self.n_seen_)
        self._changes.counts.clear()
        self._schema, self._places, self._units = grown.schema, grown.places, renewal.recipe.units
        self._neglected = (
            None
            if grown.places is None
            else Neglected(grown.places, grown.schema.size, grown.learner.prior.target_size)
        )
        self._start(grown.learner, grown.state)
        self._tasks = collections.deque(grown.tasks.tolist(), maxlen=self._settings["memory"])
        # What is told of the last pair must agree with the new mixture, which may know other tasks.
        loss, _, _, spawned, probability = self._history[-1]
        n_tasks = max(int(np.sum(self.tasks_ >= 0)), 1)
        self._history[-1] = (loss, self._tasks[-1], n_tasks, spawned, probability)
        self._recent = collections.deque(grown.recent, maxlen=RECENT)

    def _first(self, renewal: Renewal) -> Grown | None:
        """The first prior of all; meanwhile what later rows will run is compiled, or one of them would wait for it."""
        schema, targets = renewal.recipe.schema, renewal.recipe.vectors(renewal.kept.targets, None)
        if schema is None:
            return renewal.finished()
        settings = self._settings
        with ThreadPoolExecutor(1) as beside:
            compiled = beside.submit(
                compile_ahead, learned_size(schema), targets.shape[1], width=settings["width"], config=SELF_TRAINING,
                growing=schema.growing, size=settings["memory"],
            )  # fmt: skip
            grown = renewal.finished()
            compiled.result()
        return grown

    def _look_at_neglected(self, target: np.ndarray, mean: list[float], scale: list[float]) -> None:
        """Notice an input of a wide row that is not learned from and by now should be."""
        if self._neglected is None or self._schema is None:
            return
        miss = np.nan_to_num((target - np.asarray(mean)) / np.maximum(np.asarray(scale), 1e-30))
        if (place := self._neglected.update(self._encoded, miss)) is not None:
            self._changes.add([(self._schema.sources[place], "matters")])

    def relearn(self, rows: list[Any], targets: list[Any]) -> None:
        """Put other pairs in the place of those that are kept, and learn them again; tasks keep their numbers.

        Args:
            rows: as many as are kept, oldest first.
            targets: of them.

        Raises:
            ValueError: for another number of pairs, or a wrong one.
        """
        with self._lock:
            if not len(rows) == len(targets) == len(self._rows):
                raise ValueError(
                    f"{type(self).__name__}.relearn got {len(rows)} rows and {len(targets)} targets; expected "
                    f"{len(self._rows)} of each, as many as are kept."
                )
            read = [read_row(row, self._length, type(self).__name__) for row in rows]
            checked = [self._target(target) for target in targets]
            self._encoder = RowEncoder()
            for row in read:
                self._encoder.observe(row)
            self._rows.clear()
            self._rows.extend(kept(row, x) for row, x in zip(read, rows, strict=True))
            self._targets.clear()
            self._targets.extend(checked)
            self._use(self._renewal_of(self.n_seen_, 0, self._encoder.schema(), []))
