"""Which inputs of a wide row are learned from: those that the targets depend on, by the evidence of the rows so far.

What a readout costs grows with the square of its inputs, and with as many inputs as rows nothing can be learned of any
of them. So of many inputs a few are chosen, by orthogonal matching pursuit (Pati, Rezaiifar, Krishnaprasad 1993): one
at a time the input that explains most of what the others have left, as long as that is more than the best of so many
inputs would explain by chance.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from mole.rows.scaling import TO_STD

__all__ = ["MOST_INPUTS", "Neglected", "choices_of", "chosen_inputs"]

MOST_INPUTS = 64
"""Inputs that a learner gets at most."""
_ROWS = 2048  # rows that are looked at, evenly spaced in time
_BLOCK = 256  # rows in which an effect is taken as constant: its sign may change between regimes
_AT_ONCE = 32  # columns that are scaled at a time
_FAR = 4.0  # robust standard deviations at which values are cut off
_FAR_OFF = 1e150  # its square is still a number
_PLAIN = 7.0  # standard deviations of a correlation that many inputs at many rows do not reach by chance
_PAIRS_AN_INPUT = 8  # rows for each input that is taken along without evidence


def choices_of(size: int) -> int:
    """How often `chosen_inputs` yields at most, for rows of ``size`` inputs."""
    return -(-size // _AT_ONCE) + MOST_INPUTS


def chosen_inputs(x: np.ndarray, y: np.ndarray) -> Generator[None, None, np.ndarray]:
    """Places of the inputs to learn from, in order ``[m]``; at most 64 and a slice of the work at a time.

    An input counts by itself and by its square: an effect that is even, such as that of a distance, has no correlation.
    Beside those with evidence, the next best are taken along, one for every eight rows: what is weak now may be plain
    with more rows.

    Args:
        x: encoded rows ``[n, dx]``, the newest last.
        y: targets ``[n, dy]``.
    """
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), _ROWS)).round().astype(int))
    blocks = np.array_split(np.arange(len(rows)), max(1, len(rows) // _BLOCK))
    size, forms = x.shape[1], np.empty((2, len(rows), x.shape[1]))
    for begin in range(0, size, _AT_ONCE):
        part = x[rows, begin : begin + _AT_ONCE]
        away = part - np.median(part, axis=0)
        # Of a column that seldom moves the median distance is zero: nothing is cut off there.
        reach = _FAR * TO_STD * np.median(np.abs(away), axis=0)
        tame = np.clip(away, -(far := np.where(reach > 0, reach, np.inf)), far)
        for form, values in zip(forms, (tame, tame**2), strict=True):
            for block in blocks:
                centred = values[block] - values[block].mean(axis=0)
                length = np.sqrt(np.sum(centred**2, axis=0))
                # A column that does not move explains nothing.
                moves = length > 1e-6 * np.sqrt(np.sum(values[block] ** 2, axis=0))
                form[block, begin : begin + _AT_ONCE] = centred / np.where(moves, length, np.inf)
        yield
    left = [y[rows][block] - y[rows][block].mean(axis=0) for block in blocks]
    total = [np.sum(part**2, axis=0) for part in left]
    basis = [np.empty((len(block), 0)) for block in blocks]
    moving = np.any(forms, axis=(0, 1))
    chosen: list[int] = []
    allowed = min(MOST_INPUTS, min(map(len, blocks)) // 8)
    most = min(max(_PAIRS_AN_INPUT, len(x) // _PAIRS_AN_INPUT), MOST_INPUTS)
    # The largest of that many sums of squares that chance brings (Laurent, Massart 2000, lemma 1).
    chance = np.log(2.0 * size * y.shape[1]) + 0.5 * np.log(len(rows))
    bound = len(blocks) + 2.0 * np.sqrt(len(blocks) * chance) + 2.0 * chance
    while True:
        gains = _gains(forms, blocks, left, total)
        gains[chosen] = -1.0
        gains[~moving] = -1.0
        best = int(np.argmax(gains))
        if len(chosen) >= allowed or gains[best] < bound:
            break
        chosen.append(best)
        for place, block in enumerate(blocks):
            both = forms[:, block, best].T
            # Twice, since once leaves what rounding makes of columns that are nearly alike (Gram-Schmidt).
            for _ in range(2):
                both = both - basis[place] @ (basis[place].T @ both)
            directions, strength, _ = np.linalg.svd(both, full_matrices=False)
            basis[place] = np.hstack([basis[place], directions[:, strength > 1e-3]])
            left[place] = left[place] - basis[place] @ (basis[place].T @ left[place])
        yield
    others = [place for place in np.argsort(-gains, kind="stable").tolist() if gains[place] >= 0.0]
    # One at least, even if nothing ever moved: a learner without inputs is none.
    return np.sort(np.asarray((chosen + others[: max(most - len(chosen), 0)]) or [0], int))


def _gains(
    forms: np.ndarray, blocks: list[np.ndarray], left: list[np.ndarray], total: list[np.ndarray]
) -> np.ndarray:
    """How much each input explains ``[dx]`` of the residuals of the output it explains best, in squared deviations."""
    gains = np.zeros((forms.shape[2], left[0].shape[1]))
    for block, rest, whole in zip(blocks, left, total, strict=True):
        remaining = np.sum(rest**2, axis=0)
        # What is explained but for rounding must not be explained further.
        remaining = np.where(remaining > 1e-6 * whole, remaining, np.inf)
        gains += len(block) * np.max([(form[block].T @ rest) ** 2 for form in forms], axis=0) / remaining
    return np.max(gains, axis=1)


class Neglected:
    """Watches the inputs that are not learned from: whether one of them goes with what the forecasts miss by now.

    Correlations over about the last 256 rows, each input and each miss by its own spread over them.

    Args:
        places: of the inputs that are learned from ``[m]``.
        size: all inputs, dx.
        outputs: dy.

    Attributes:
        count: rows seen.
    """

    def __init__(self, places: np.ndarray, size: int, outputs: int) -> None:
        """See the class."""
        self.count = 0
        self._places = places
        # Mean and square of every input, products with every miss, and squares of the misses.
        self._sums = [np.zeros(size), np.zeros(size), np.zeros((size, outputs)), np.zeros(outputs)]

    def update(self, x: np.ndarray, miss: np.ndarray) -> int | None:
        """Place of an input that would explain misses, if there is one now.

        Args:
            x: all encoded inputs of a row ``[dx]``.
            miss: target minus forecast, in scales of the forecast ``[dy]``.
        """
        self.count += 1
        mean, square, product, missed = self._sums
        # From the first rows plain means, later those of about the last 256.
        rate = max(1.0 / self.count, 1.0 / _BLOCK)
        away = np.clip(x - mean, -_FAR_OFF, _FAR_OFF)
        mean += rate * away
        square += rate * (away**2 - square)
        spread = np.sqrt(square)
        scaled = np.clip(away / np.where(spread > 0, spread, np.inf), -_FAR, _FAR)
        miss = np.clip(miss, -_FAR, _FAR)
        product += rate * (scaled[:, None] * miss[None] - product)
        missed += rate * (miss**2 - missed)
        if self.count < _BLOCK // 2:
            return None
        # A mean over the last 256 has the variance of half as many independent rows.
        strength = np.abs(product) / np.sqrt(np.maximum(missed, 1e-12) * 0.5 * rate)
        strength[self._places] = 0.0
        best = int(np.argmax(strength.max(axis=1)))
        return best if strength[best].max() > _PLAIN else None

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything but the places, for a file."""
        names = ("mean", "square", "product", "missed")
        return {"count": np.asarray(self.count), **dict(zip(names, self._sums, strict=True))}

    @classmethod
    def from_arrays(cls, places: np.ndarray, arrays: dict[str, Any]) -> Neglected:
        """The inverse of `to_arrays`."""
        made = cls(places, *arrays["product"].shape)
        made.count = int(arrays["count"])
        made._sums = [np.array(arrays[name], float) for name in ("mean", "square", "product", "missed")]
        return made
