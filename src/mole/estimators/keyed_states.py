"""The states of many learners that share one prior: those used last in memory, all others in a file.

In memory they lie in pages of one size, so that one program serves any number of keys: it takes a page and places in
it, and changes the states there in place. A page is a few arrays with one row for each state
(`mole.learning.compiled.pack`). In the file a state is a record of fixed size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array
from mole.estimators.keyed_programs import (
    BLOCK,
    COUNTS,
    FIRST_PAGE,
    NEWBORN,
    PAGE,
    UNUSED,
    Figures,
    in_blocks,
    page_and_slot,
    page_programs,
    put,
    take,
    whole_pages,
)
from mole.files.processes import available_cores
from mole.files.spill import RecordFile
from mole.learning.compiled import layout_of, pack, take_apart

__all__ = ["KeyedStates"]


class KeyedStates:
    """States by key, with a note beside each.

    Args:
        learner: an `mole.online.OnlineLearner`, which all keys share.
        note: what is kept beside a state that has seen nothing: an array ``[]`` of a structured dtype.
        most: keys in memory at most; rounded up to whole pages.
        folder: where the file of the others is; the system's folder for temporary files if None.

    Attributes:
        notes: of the keys in memory, by place; the caller changes them.
        limit: keys that can be in memory at the same time.
        record: dtype of one key: its note and its state.
    """

    def __init__(
        self, learner: Any, note: np.ndarray, most: int, folder: str | os.PathLike[str] | None
    ) -> None:
        """See the class."""
        structure, arrays = take_apart(learner)
        state = learner.init()
        fixed, moving = layout_of(arrays), layout_of(state)
        self._programs = page_programs(structure, fixed, moving)
        self._fixed = _pack(fixed, arrays)
        self._first = [np.asarray(one) for one in _pack(moving, state)]
        self._dx, self._dy = learner.prior.input_size, learner.prior.target_size
        self._note, self.notes = note, np.zeros(0, note.dtype)
        self.limit = whole_pages(most)
        self.record = np.dtype(
            [
                ("note", note.dtype),
                *((f"state{k}", one.dtype, one.shape) for k, one in enumerate(self._first)),
            ]
        )
        self._pages: list[list[Array]] = []
        self._places: dict[Hashable, int] = {}
        self._owners: list[Hashable] = []  # by place; of a free place it does not matter
        self._free: list[int] = []
        self._written = np.zeros(0, bool)  # places that do not hold the first state any more
        self._used, self._turn = np.zeros(0, np.int64), 0  # by place: the turn of its last use
        self._file = RecordFile(self.record, folder)

    def __len__(self) -> int:
        """Keys."""
        return len(self._places) + len(self._file.numbers)

    def __contains__(self, key: Hashable) -> bool:
        """Whether there is a state of this key."""
        return key in self._places or key in self._file.numbers

    def __iter__(self) -> Iterator[Any]:
        """The keys: first those in memory."""
        yield from self._places
        yield from self._file.numbers

    @property
    def resident(self) -> int:
        """Keys in memory."""
        return len(self._places)

    def hold(self, keys: Sequence[Hashable]) -> np.ndarray:
        """Have these different keys in memory, at most `limit` of them; new ones begin with the first state.

        Returns:
            Their places ``[len(keys)]``, which are theirs until the next call.
        """
        self._turn += 1
        lacking = [key for key in keys if key not in self._places]
        self._used[[self._places[key] for key in keys if key in self._places]] = self._turn
        while len(self._free) < len(lacking) and len(self._owners) < self.limit:
            self._add_page()
        if (short := len(lacking) - len(self._free)) > 0:
            # Free places count as the newest: it is about those that were used longest ago.
            used = self._used.copy()
            used[self._free] = self._turn
            self._put_away([self._owners[place] for place in np.argpartition(used, short - 1)[:short]])
        for key in lacking:
            place = self._free.pop()
            self._places[key], self._owners[place], self._used[place] = place, key, self._turn
        back = [key for key in lacking if key in self._file.numbers]
        if back:
            records = np.array([self._file.get(key) for key in back], self.record)
            self._write(np.array([self._places[key] for key in back]), records)
            for key in back:
                self._file.drop(key)
        anew = [
            self._places[key] for key in set(lacking).difference(back) if self._written[self._places[key]]
        ]
        if anew:
            self._write(np.array(anew), np.repeat(self._first_record(), len(anew)))
        places = np.array([self._places[key] for key in keys], int)
        self._written[places] = True
        return places

    def nowhere(self, count: int) -> np.ndarray:
        """Places ``[count]`` with the first state, for `predict` and `notes_at`; of keys that are not there."""
        if not self._pages:
            self._add_page()
        return np.full(count, -1)

    def notes_at(self, places: np.ndarray) -> np.ndarray:
        """The notes at places."""
        found = self.notes[places]
        found[places < 0] = self._note
        return found

    def learn(self, places: np.ndarray, x: np.ndarray, y: np.ndarray) -> Figures:
        """Predict and learn pairs, in order.

        Args:
            places: from `hold` ``[n]``; one that occurs several times learns several pairs.
            x: inputs ``[n, dx]`` float32.
            y: targets ``[n, dy]`` float32; a pair that is not finite changes nothing.
        """
        dy = self._dy
        found = np.zeros((len(places), 2 * dy + COUNTS), np.float32)

        def run(page: int, own: np.ndarray, slots: np.ndarray) -> None:
            laid, size = in_blocks(places[own]), self._size(page)
            for begin in range(0, len(laid), size):
                some = laid[begin : begin + size]
                there = np.flatnonzero(some >= 0)
                at = own[some[there]]
                given = self._given(size, there, slots[some[there]], x[at], y[at])
                self._pages[page], figures = self._programs.learn(
                    self._fixed, self._pages[page], len(some) // BLOCK, *given
                )
                found[at] = np.asarray(figures)[there]

        self._by_page(places, run)
        rest = found[:, 2 * dy :]
        fault, task, n_tasks = rest[:, 1:4].astype(int).T
        return Figures(found[:, :dy], found[:, dy : 2 * dy], rest[:, 0], fault, task, n_tasks, rest[:, 4] > 0)

    def predict(self, places: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and scale ``[n, dy]`` for inputs ``[n, dx]``: to the bit those of `learn`; places also of `nowhere`."""
        found = np.zeros((len(places), 2 * self._dy), np.float32)

        def run(page: int, own: np.ndarray, slots: np.ndarray) -> None:
            size, slots = self._size(page), np.where(places[own] < 0, NEWBORN, slots)
            for begin in range(0, len(own), size):
                at, there = own[begin : begin + size], np.arange(len(own[begin : begin + size]))
                nothing = np.zeros((len(at), self._dy))
                given = self._given(size, there, slots[begin : begin + size], x[at], nothing)
                blocks = -(-len(at) // BLOCK)
                figures = self._programs.predict(self._fixed, self._pages[page], blocks, *given[:2])
                found[at] = np.asarray(figures)[there]

        self._by_page(np.maximum(places, 0), run)
        return found[:, : self._dy], found[:, self._dy :]

    def read(self, keys: Sequence[Hashable]) -> np.ndarray:
        """Notes and states of keys, wherever they are: records ``[len(keys)]``."""
        found = np.zeros(len(keys), self.record)
        places = np.array([self._places.get(key, -1) for key in keys], int)
        for at in np.flatnonzero(places < 0):
            found[at] = self._file.get(keys[int(at)])
        mine = np.flatnonzero(places >= 0)
        found["note"][mine] = self.notes[places[mine]]

        def run(page: int, own: np.ndarray, slots: np.ndarray) -> None:
            for begin in range(0, len(own), BLOCK):
                at = mine[own[begin : begin + BLOCK]]
                some = np.full(BLOCK, UNUSED, np.int32)
                some[: len(at)] = slots[begin : begin + BLOCK]
                for number, values in enumerate(take(self._pages[page], some)):
                    found[f"state{number}"][at] = np.asarray(values)[: len(at)]

        self._by_page(places[mine], run)
        return found

    def store(self, key: Hashable, record: np.void) -> None:
        """Put a record of `read` into the file, for a key that is not there."""
        self._file.put(key, record)

    def drop(self, key: Hashable) -> None:
        """Forget a key."""
        if key in self._places:
            self._free.append(self._places.pop(key))
        else:
            self._file.drop(key)

    def _put_away(self, keys: Sequence[Hashable]) -> None:
        for begin in range(0, len(keys), PAGE):  # few at a time: records are as large as states
            some = keys[begin : begin + PAGE]
            for key, record in zip(some, self.read(some), strict=True):
                self._file.put(key, record)
                self._free.append(self._places.pop(key))

    def _first_record(self) -> np.ndarray:
        record = np.zeros((), self.record)
        record["note"] = self._note
        for number, values in enumerate(self._first):
            record[f"state{number}"] = values
        return record

    def _write(self, places: np.ndarray, records: np.ndarray) -> None:
        self.notes[places] = records["note"]

        def run(page: int, own: np.ndarray, slots: np.ndarray) -> None:
            for begin in range(0, len(own), BLOCK):
                # The last one again where fewer are left: it is written twice with the same numbers.
                some = np.minimum(np.arange(begin, begin + BLOCK), len(own) - 1)
                values = [records[f"state{number}"][own[some]] for number in range(len(self._first))]
                self._pages[page] = put(self._pages[page], slots[some].astype(np.int32), values)

        self._by_page(places, run)

    def _add_page(self) -> None:
        first = len(self._owners)
        size = PAGE if self._pages else FIRST_PAGE
        self._pages.append([jnp.asarray(np.repeat(one[None], size + 2, axis=0)) for one in self._first])
        self._owners += [None] * size
        self._free += reversed(range(first, first + size))
        self.notes = np.concatenate([self.notes, np.repeat(self._note, size)])
        self._written = np.concatenate([self._written, np.zeros(size, bool)])
        self._used = np.concatenate([self._used, np.zeros(size, np.int64)])

    def _size(self, page: int) -> int:
        return PAGE if page else FIRST_PAGE

    def _given(
        self, size: int, there: np.ndarray, slots: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Slots, inputs and targets of some of the ``size`` pairs of a call; the rest is padding."""
        all_slots, all_x = np.full(size, UNUSED, np.int32), np.zeros((size, self._dx), np.float32)
        all_y = np.full((size, self._dy), np.nan, np.float32)
        all_slots[there], all_x[there], all_y[there] = slots, x, y
        return all_slots, all_x, all_y

    def _by_page(self, places: np.ndarray, run: Callable[[int, np.ndarray, np.ndarray], None]) -> None:
        """Call ``run`` with every page, the positions of its places, and their slots; on all cores.

        Threads are enough: a compiled program runs without Python's lock.
        """
        pages, slots = page_and_slot(places)
        groups = [(int(page), own := np.flatnonzero(pages == page), slots[own]) for page in np.unique(pages)]
        if len(groups) < 2:
            for group in groups:
                run(*group)
            return
        with ThreadPoolExecutor(min(available_cores(), len(groups))) as pool:
            list(pool.map(lambda group: run(*group), groups))


_pack = jax.jit(pack, static_argnums=0)
