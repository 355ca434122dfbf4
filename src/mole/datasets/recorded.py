"""Streams from river and scikit-learn, as their wheels have them: nothing is downloaded. Needs the extra ``streams``.

Recorded data of river keeps its order, whatever the seed. Data of scikit-learn has no order, and the seed shuffles it.
The true task behind recorded data is not known: it is 0 throughout. River's Friedman generator with recurring abrupt
drift has two known tasks.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from mole._expect import expect_choice, expect_whole
from mole.datasets.stream import Stream, check_length, stream_rng

__all__ = ["RIVER", "SKLEARN", "friedman_drift_stream", "number_columns", "river_stream", "sklearn_stream"]

RIVER: Mapping[str, tuple[str, bool]] = {
    "trump-approval": ("TrumpApproval", False),
    "chick-weights": ("ChickWeights", False),
    "airline-passengers": ("AirlinePassengers", False),
    "water-flow": ("WaterFlow", False),
    "sp500": ("SP500Stocks", False),
    "solar-flare": ("SolarFlare", False),
    "image-segments": ("ImageSegments", True),
    "phishing": ("Phishing", True),
    "bananas": ("Bananas", True),
    "shuttle": ("Shuttle", True),
}
"""Name of a stream -> (class in ``river.datasets``, whether it is a classification)."""

SKLEARN: Mapping[str, tuple[str, bool]] = {
    "diabetes": ("load_diabetes", False),
    "digits": ("load_digits", True),
    "breast-cancer": ("load_breast_cancer", True),
    "wine": ("load_wine", True),
    "iris": ("load_iris", True),
}
"""Name of a stream -> (function of ``sklearn.datasets``, whether it is a classification)."""

_YEAR, _DAY = 365.25 * 86400.0, 86400.0  # seconds


def river_stream(name: str, length: int | None = None) -> Stream:
    """The first pairs of a data set of river, in their recorded order, as numbers (`number_columns`).

    Args:
        name: a key of `RIVER`.
        length: pairs at most; all if not given.

    Raises:
        ImportError: without river.
        ValueError: for an unknown name or a length below 1.
        TypeError: for a length that is no whole number.
    """
    expect_choice("river_stream", "name", name, RIVER)
    class_name, labels = RIVER[name]
    # All rows are read, also for a short stream: river closes its file at the end of it only.
    pairs = list(getattr(_package("river.datasets"), class_name)())
    rows, targets = zip(*pairs[: _rows(name, length)], strict=True)
    if labels:
        return _labelled(number_columns(rows), np.asarray(targets), np.asarray([y for _, y in pairs]), name)
    columns = [list(y.values()) if isinstance(y, Mapping) else [y] for y in targets]
    return Stream(number_columns(rows), np.asarray(columns, float), np.zeros(len(rows)), name)


def sklearn_stream(name: str, length: int | None = None, seed: int = 0) -> Stream:
    """A data set of scikit-learn in an order that the seed draws.

    Args:
        name: a key of `SKLEARN`.
        length: pairs at most; all if not given.
        seed: of the order.

    Raises:
        ImportError: without scikit-learn.
        ValueError: for an unknown name, a length below 1 or a negative seed.
        TypeError: for one that is no whole number.
    """
    expect_choice("sklearn_stream", "name", name, SKLEARN)
    function, labels = SKLEARN[name]
    x, y = getattr(_package("sklearn.datasets"), function)(return_X_y=True)
    order = stream_rng(name, seed).permutation(len(x))[: _rows(name, length)]
    if labels:
        return _labelled(x[order], y[order], y, name)
    return Stream(x[order], y[order][:, None], np.zeros(len(order)), name)


def friedman_drift_stream(
    length: int, seed: int, *, period: int = 500, name: str = "friedman-recurring"
) -> Stream:
    """The two concepts of river's global recurring abrupt drift (``gra``), in turn, ``period`` pairs each.

    River's own schedule returns once; here the concepts go on alternating. Ten uniform inputs, noise variance 1.
    Source of the concepts: Ikonomovska, Gama and Džeroski, Learning model trees from evolving data streams (2011).

    Args:
        length: pairs.
        seed: of river's generator.
        period: pairs between switches.
        name: of the stream; part of the seed.

    Raises:
        ImportError: without river.
        ValueError: if the length or the period is below 1, or the seed negative.
        TypeError: for one that is no whole number.
    """
    check_length(name, length)
    expect_whole(f"stream {name!r}", "period", period, 1, "It is the number of pairs between switches.")
    synth = _package("river.datasets.synth")
    state = int(stream_rng(name, seed).integers(2**31))
    # River's second concept holds between its two positions: for the one generator never, for the other always. Both
    # have the same seed, and so the same inputs and the same noise: at a switch the concept alone changes.
    places = ((length, length + 1), (0, length))
    concepts = [
        synth.FriedmanDrift(drift_type="gra", position=place, seed=state).take(length) for place in places
    ]
    task = np.arange(length) // period % 2
    pairs = [both[which] for both, which in zip(zip(*concepts, strict=True), task, strict=True)]
    x = np.array([list(x.values()) for x, _ in pairs])
    return Stream(x, np.array([[y] for _, y in pairs]), task, name)


def number_columns(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Rows of named values as float columns [n, dx], in the order of the first row's names.

    Numbers stay. A text column becomes one 0/1 column for each of its values, sorted. A time becomes years since the
    first row, and sine and cosine of the time of year and of the time of day. All methods of the comparison get these
    numbers; `mole.rows` encodes rows of any kind, one at a time.

    Raises:
        ValueError: without rows, for a value that is neither number, text nor time, and for a column of several kinds.
    """
    if not rows:
        raise ValueError("number_columns got no rows; expected one or more.")
    return np.concatenate([_column(name, [row.get(name) for row in rows]) for name in rows[0]], axis=1)


def _column(name: str, values: Sequence[Any]) -> np.ndarray:
    first, numbers = values[0], (bool, int, float, np.number)
    # The first value says what the column is: text among numbers would otherwise end as an error of NumPy's.
    kind = next((kind for kind in (str, datetime.datetime, numbers) if isinstance(first, kind)), ())
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(  # noqa: TRY004  # the data is wrong, not the type of an argument
                f"column {name!r} holds {value!r}, a {type(value).__name__}; expected numbers, text or times, one kind "
                "in a column: leave it out."
            )
    if kind is str:
        known: list[Any] = sorted(set(values))
        return np.array([[value == one for one in known] for value in values], float)
    if isinstance(first, datetime.datetime):
        return np.array([_time(value, first) for value in values])
    return np.array(values, float)[:, None]


def _time(value: datetime.datetime, first: datetime.datetime) -> list[float]:
    midnight = value.replace(hour=0, minute=0, second=0, microsecond=0)
    of_day = (value - midnight).total_seconds() / _DAY
    of_year = (value.timetuple().tm_yday - 1 + of_day) * _DAY / _YEAR
    turns = [turn * 2 * np.pi for turn in (of_year, of_day)]
    return [(value - first).total_seconds() / _YEAR, *(f(turn) for turn in turns for f in (np.sin, np.cos))]


def _labelled(x: np.ndarray, labels: np.ndarray, every: np.ndarray, name: str) -> Stream:
    # Of the whole data set: the number of classes must not depend on the length of the stream.
    classes = np.unique(every)
    y = np.searchsorted(classes, labels)
    return Stream(x, y, np.zeros(len(y)), name, "classification", len(classes))


def _rows(name: str, length: int | None) -> int | None:
    if length is not None:
        check_length(name, length)
    return length


def _package(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as missing:
        raise ImportError(
            f"this stream comes with {module.split('.')[0]}, and {missing.name!r} cannot be imported. "
            "Install it with: pip install 'mole-online[streams]'"
        ) from missing
