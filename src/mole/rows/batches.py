"""Several rows or targets at once, one by one: of arrays, lists, iterators, sparse matrices and data frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from mole.rows.foreign import column_names
from mole.rows.frames import FrameRows, frame_of

__all__ = ["SparseRows", "is_missing", "pairs_of", "rows_of", "targets_of", "weighted_pairs", "weights_of"]

_HEAVIEST = 1e6  # what `mole.online.base.expect_weight` takes: a batch is checked as a whole before
_WIDEST = 1000  # columns of a sparse matrix, as many as `RowEncoder` makes inputs of


def rows_of(x: Any) -> Iterable[Any]:
    """Rows one by one, each as `mole.rows.values.read_row` takes it.

    Args:
        x: an array ``[n, dx]``; a frame, whose names are those of the rows unless all are whole numbers; a sparse
            matrix of SciPy; a sequence of rows; or an iterator over rows, which is used up.

    Returns:
        A sequence, or the iterator.

    Raises:
        ValueError: if it is none of these; for a lazy frame, names that occur twice or are not all text, columns
            with nested values, or a sparse matrix of more than 1,000 columns.
    """
    if isinstance(x, list | tuple):
        return x
    if isinstance(x, np.ndarray):
        return _array_rows(x)
    if (frame := frame_of(x)) is not None:
        if hasattr(frame, "columns"):
            return FrameRows(frame)
        raise ValueError(
            "got a single Series; expected several rows: learn_one takes one row, and to_frame() makes a frame of one "
            "column."
        )
    if hasattr(x, "tocsr") and hasattr(x, "nnz"):
        return SparseRows(x)
    if isinstance(x, Sequence) and not isinstance(x, str | bytes):
        return x
    if hasattr(x, "__array__"):
        return _array_rows(np.asarray(x))
    # The rows of a set have no order, those of a mapping are columns, and the letters of a text are no rows.
    if isinstance(x, Iterable) and not isinstance(x, str | bytes | Mapping | set | frozenset):
        return x
    raise ValueError(
        f"got {type(x).__name__}; expected several rows: an array [n, dx], a frame or a list of rows."
    )


def targets_of(y: Any) -> Iterable[Any]:
    """Targets one by one; None where a Series or a masked array has none.

    Args:
        y: a list, an array ``[n]`` or ``[n, dy]``, a Series, a frame with a column for each output, or an iterator.

    Raises:
        ValueError: if it is none of these.
    """
    # Lists stay as they are: an array of mixed labels would turn numbers into text.
    if isinstance(y, list | tuple):
        return y
    if not isinstance(y, np.ndarray) and (frame := frame_of(y)) is not None:
        columns = list(frame.iter_columns()) if hasattr(frame, "columns") else [frame]
        values = [[None if is_missing(one) else one for one in column.to_list()] for column in columns]
        return values[0] if len(values) == 1 else [list(row) for row in zip(*values, strict=True)]
    if isinstance(y, np.ma.MaskedArray):
        return y.tolist()
    if not isinstance(y, np.ndarray) and hasattr(
        y, "to_pylist"
    ):  # an Array of PyArrow, which is no Series to narwhals
        return y.to_pylist()
    if hasattr(y, "__array__"):
        values = np.asarray(y)
        if values.ndim == 0:
            raise ValueError("got a single number as y; expected one target per row.")
        return list(values)
    if isinstance(y, Iterable) and not isinstance(y, str | bytes | Mapping | set | frozenset):
        return y
    raise ValueError(f"got y of type {type(y).__name__}; expected one target per row.")


def pairs_of(x: Any, y: Any, targets_are: str = "targets") -> Iterator[tuple[Any, Any]]:
    """Pairs of `rows_of` and `targets_of`.

    Args:
        x: several rows.
        y: as many targets.
        targets_are: what they are called, for errors.

    Raises:
        ValueError: at once, if there are not as many of each; of iterators, when the shorter one ends.
    """
    rows, targets = rows_of(x), targets_of(y)
    if isinstance(rows, Sized) and isinstance(targets, Sized) and len(rows) != len(targets):
        raise ValueError(f"got {len(rows)} rows and {len(targets)} {targets_are}; expected as many of each.")
    return _together(rows, targets, targets_are)


def weighted_pairs(
    x: Any, y: Any, weights: Any, targets_are: str = "targets"
) -> Iterator[tuple[Any, Any, float]]:
    """The pairs of `pairs_of` with their weights.

    Args:
        x: several rows.
        y: as many targets.
        weights: as many numbers from zero to a million; all one if None.
        targets_are: what the targets are called, for errors.

    Raises:
        ValueError: as `pairs_of` and `weights_of`.
    """
    if weights is None:
        return ((row, target, 1.0) for row, target in pairs_of(x, y, targets_are))
    rows = rows_of(x)
    found = weights_of(weights, len(rows) if isinstance(rows, Sized) else None)
    weighted = _together(pairs_of(rows, y, targets_are), found, "weights")
    return ((*pair, weight) for pair, weight in weighted)


def weights_of(weights: Any, count: int | None = None) -> list[float]:
    """Weights of pairs as numbers ``[n]``.

    Args:
        weights: a sequence, an array or a Series.
        count: of the pairs, if it is known.

    Raises:
        ValueError: unless they are numbers from zero to a million, and as many as pairs.
    """
    try:
        values = np.asarray(list(targets_of(weights)), float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"got sample_weight={weights!r:.80}; expected one number per row.") from error
    if values.ndim != 1 or len(values) != (len(values) if count is None else count):
        many = "one number per row" if count is None else f"{count} numbers, one per row"
        raise ValueError(f"got sample_weight of shape {values.shape}; expected {many}.")
    wrong = np.flatnonzero(~((values >= 0) & (values <= _HEAVIEST)))  # NaN is neither
    if len(wrong):
        raise ValueError(
            f"got sample_weight {values[wrong[0]]} in row {wrong[0]}; expected numbers from 0 to a million: divide "
            "them by their mean. Nothing was learned."
        )
    return values.tolist()


def _together(rows: Iterable[Any], targets: Iterable[Any], targets_are: str) -> Iterator[tuple[Any, Any]]:
    given, nothing, count = iter(targets), object(), 0
    for row in rows:
        target = next(given, nothing)
        if target is nothing:
            raise ValueError(
                f"got {count} {targets_are} and more rows than that; expected as many of each. The {count} pairs "
                "before were used."
            )
        yield row, target
        count += 1
    if next(given, nothing) is not nothing:
        raise ValueError(
            f"got {count} rows and more {targets_are} than that; expected as many of each. The {count} pairs were "
            "used."
        )


def is_missing(target: Any, *, every: bool = False) -> bool:
    """Whether a target is None, NaN or pandas' NA or NaT; of several numbers, whether one (or ``every``) of them is."""
    some = all if every else any
    if target is None or type(target).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(target, Real | Decimal):
        return bool(target != target)
    if isinstance(target, np.ndarray) and target.dtype.kind in "fiub":
        return target.dtype.kind == "f" and bool(some(np.isnan(target).ravel().tolist()))
    if isinstance(target, Mapping):
        target = list(target.values())
    return (
        isinstance(target, list | tuple | np.ndarray)
        and len(target) > 0
        and some(is_missing(one) for one in target)
    )


class SparseRows(Sequence[Any]):
    """The rows of a sparse matrix of SciPy ``[n, dx]``, as vectors.

    Raises:
        ValueError: for more than 1,000 columns, of which none but the first 1,000 would be used.
    """

    def __init__(self, matrix: Any) -> None:
        """See the class."""
        if matrix.ndim != 2 or matrix.shape[1] > _WIDEST:
            raise ValueError(
                f"got a sparse matrix of shape {matrix.shape}; expected [n, dx] of at most {_WIDEST} columns: reduce "
                "it first, such as by scikit-learn's TruncatedSVD or SelectKBest."
            )
        self._matrix = matrix.tocsr()

    def __len__(self) -> int:
        """Rows."""
        return self._matrix.shape[0]

    def __getitem__(self, place: Any) -> Any:
        """One row ``[dx]``, or those of a slice."""
        if isinstance(place, slice):
            return SparseRows(self._matrix[place])
        place = range(len(self))[place]
        return self._matrix[place : place + 1].toarray()[0]


def _array_rows(values: np.ndarray) -> Sequence[Any]:
    if values.dtype.names:  # a structured array
        names = column_names(values.dtype.names, "an array")
        return [dict(zip(names or (), row, strict=True)) for row in values.ravel().tolist()]
    if values.ndim != 2:
        raise ValueError(
            f"got an array of shape {values.shape}; expected rows [n, dx]: x.reshape(1, -1) is one row."
        )
    # As an array alone, what is masked would be taken for a value.
    return values.tolist() if isinstance(values, np.ma.MaskedArray) else list(values)
