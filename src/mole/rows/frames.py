"""The rows of data frames: of pandas, polars, PyArrow, Modin and whatever else narwhals knows.

narwhals is imported when the first frame arrives. The same data give the same rows, to the bit, whichever library holds
them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mole.rows.foreign import column_names, plain_time
from mole.rows.values import MISSING, NUMBER, TEXT, ReadRow, label, read_value

__all__ = ["FrameRows", "frame_of"]

_LIBRARIES = frozenset(
    {
        "pandas",
        "polars",
        "pyarrow",
        "modin",
        "cudf",
        "narwhals",
        "dask",
        "duckdb",
        "ibis",
        "pyspark",
        "sqlframe",
    }
)
_CHUNK = 1024  # rows that are read at a time: a long frame must not stand in memory a second time
_PARTS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of a second
_REFUSED = {
    "List": "spread its entries over columns of their own",
    "Array": "spread its entries over columns of their own",
    "Struct": "spread its fields over columns of their own",
    "Binary": "decode it to text, or leave it out",
    "Time": "give the time of day as a number, such as hours, or together with its date",
}
"""Types of columns that are no single value, or none with one meaning → what to do."""


def frame_of(x: Any) -> Any:
    """narwhals' frame or Series around one of another library; None if it is neither.

    Raises:
        ValueError: for a lazy frame, or columns of one name.
    """
    known = any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(x).__mro__)
    streams = hasattr(x, "__arrow_c_stream__")  # the protocol by which others hand over a table
    if not (known or streams or hasattr(x, "__narwhals_dataframe__")):
        return None
    import narwhals.stable.v2 as nw

    try:
        frame: Any = nw.from_native(x, pass_through=True, allow_series=True)
        if frame is x and streams and not isinstance(x, nw.DataFrame | nw.Series | nw.LazyFrame):
            backends: list[Any] = [name for name in ("pyarrow", "polars", "pandas") if name in sys.modules]
            # A single array is handed over in the same way, and has no columns.
            frame = nw.from_arrow(x, backend=backends[0]) if backends and hasattr(x, "schema") else None
    except nw.exceptions.DuplicateError:
        # PyArrow calls its columns themselves `columns`.
        column_names(getattr(x, "column_names", None) or getattr(x, "columns", ()), "a frame")
        raise
    if isinstance(frame, nw.LazyFrame):
        raise ValueError(  # noqa: TRY004  wrong data, as all that cannot be read
            f"got a lazy frame ({type(x).__module__.partition('.')[0]}); expected one whose rows are there: collect() "
            "it (in dask compute(), in DuckDB and Ibis to_arrow)."
        )
    return frame if isinstance(frame, nw.DataFrame | nw.Series) else None


class FrameRows(Sequence[Any]):
    """The rows of a frame: vectors of a frame of numbers without names, else `ReadRow`.

    A categorical column holds words, also where its categories are numbers. A duration is its seconds. Columns without
    names are called x0, x1, … as those of any sequence.

    Args:
        frame: narwhals' frame.
        by_name: whether columns are in the order of their names, and whole numbers are names too, as text.

    Raises:
        ValueError: for names that are not all text, or a column whose values are no single ones.
    """

    def __init__(self, frame: Any, *, by_name: bool = False) -> None:
        """See the class."""
        names = column_names(frame.columns, "a frame")
        if by_name:
            texts = [str(name) for name in frame.columns]
            order = sorted(range(len(texts)), key=texts.__getitem__)
            frame, names = frame[:, order], [texts[place] for place in order]
        self._frame, self._by_name = frame, by_name
        types = list(frame.schema.values())
        for name, dtype in zip(frame.columns, types, strict=True):
            if (kind := type(dtype).__name__) in _REFUSED:
                raise ValueError(
                    f"got a frame whose column {name!r} is of type {dtype}; expected single values: {_REFUSED[kind]}."
                )
        if not types:
            raise ValueError("got a frame without columns; expected at least one.")
        self._names = [f"x{place}" for place in range(len(types))] if names is None else names
        self._vectors = names is None and all(dtype.is_numeric() for dtype in types)

    def __len__(self) -> int:
        """Rows."""
        return len(self._frame)

    def __getitem__(self, place: Any) -> Any:
        """One row, or those of a slice."""
        if isinstance(place, slice):
            return FrameRows(self._frame[place], by_name=self._by_name)
        place = range(len(self))[place]
        return next(iter(self._read(place, place + 1)))

    def __iter__(self) -> Iterator[Any]:
        """The rows in order, a thousand read at a time."""
        for begin in range(0, len(self), _CHUNK):
            yield from self._read(begin, begin + _CHUNK)

    def _read(self, begin: int, end: int) -> Iterator[Any]:
        # By columns: to ask a frame for each of its rows takes a hundred times as long.
        columns = [
            _column(series, name, begin)
            for series, name in zip(self._frame[begin:end].iter_columns(), self._names, strict=True)
        ]
        for values in zip(*columns, strict=True):
            if self._vectors:
                yield np.asarray([np.nan if kind == MISSING else value for kind, value, _ in values])
                continue
            row = ReadRow()
            for name, (kind, value, hole) in zip(self._names, values, strict=True):
                if isinstance(
                    value, ValueError
                ):  # not before its row is asked for: those before it are sound
                    raise value
                row.put(name, kind, value)
                row.holes |= hole
            yield row


def _column(series: Any, name: str, first_row: int) -> list[tuple[str, Any, bool]]:
    """Kind and content of the values of a column, and whether each counts as missing; of no value an error."""
    dtype = series.dtype
    kind = type(dtype).__name__
    values = _plain(series, kind)
    found: list[tuple[str, Any, bool]] = []
    for place, value in enumerate(values):
        try:
            read = _word(value) if kind in ("Categorical", "Enum") else read_value(value)
        except TypeError:
            wrong = ValueError(
                f"got a frame whose column {name!r} has a value of type {type(value).__name__} in row "
                f"{first_row + place}; expected a number, text, a bool, a time or None. That row was not used."
            )
            found.append((MISSING, wrong, False))
            continue
        # As in a row that is a dict: a word for "missing", such as NA, is a value that is there.
        found.append((*read, read[0] == MISSING and not isinstance(value, str)))
    return found


def _plain(series: Any, kind: str) -> list[Any]:
    """The values as Python's own; of times no more than microseconds, which are all that a datetime holds."""
    if kind == "Duration":
        # As whole numbers, divided once: libraries round their own seconds differently.
        unit = _PARTS[series.dtype.time_unit]
        counts = series.to_numpy()
        whole = counts.astype(np.int64).tolist()
        return [None if gone else one / unit for gone, one in zip(np.isnat(counts), whole, strict=True)]
    if kind != "Datetime":
        return series.to_list()
    import narwhals.stable.v2 as nw

    zone = series.dtype.time_zone
    if series.dtype.time_unit == "ns":
        # PyArrow refuses to drop digits unless they are zero. In UTC: in a zone with summer time an hour is ambiguous.
        series = series if zone is None else series.dt.convert_time_zone("UTC")
        series = series.dt.truncate("1us").cast(nw.Datetime("us", None if zone is None else "UTC"))
        series = series if zone is None else series.dt.convert_time_zone(zone)
    times = [plain_time(one) for one in series.to_list()]
    return [one.to_pydatetime() if hasattr(one, "to_pydatetime") else one for one in times]


def _word(value: Any) -> tuple[str, Any]:
    """A category as the word that any later row has for it."""
    try:
        kind, content = read_value(value)
    except TypeError:  # such as an interval of pandas.cut
        kind, content = TEXT, str(value)
    if kind == MISSING or (kind == NUMBER and not np.isfinite(content)):
        return MISSING, None
    return TEXT, label(kind, content)
