"""Rows of a Parquet file, one batch at a time. Needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

try:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.compute as pc  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]
except ImportError as missing:
    raise ImportError(
        f"Parquet files need pyarrow, and {missing.name!r} cannot be imported. "
        "Install it with: pip install 'mole-online[parquet]'"
    ) from missing

__all__ = ["parquet_rows"]

_BATCH = 512  # rows in memory at a time
_MOST_COLUMNS = 10_000
_LONGEST = 1 << 20  # bytes of a text, as of a row of the other formats
_Rows = Iterator[tuple[int, Mapping[str, Any] | None, str, dict[str, Any]]]


def parquet_rows(path: str, position: Mapping[str, Any] | None) -> tuple[tuple[str, ...], _Rows, Any]:
    """Open a file; its rows are read when they are asked for.

    Args:
        path: the file.
        position: of the last row that was used; None to begin at the first one.

    Returns:
        Columns; rows as number from 1 on, values, problem (always empty) and position; and the file, which the caller
        closes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no Parquet file, has columns of the same name, or is not the file of the position.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no file at {path}: check the path")
    try:
        file = _opened(path)
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(
            f"{path} is no Parquet file, or damaged ({_line(error)}): restore it from a copy"
        ) from error
    names = tuple(file.schema_arrow.names)
    # What the footer declares is checked before any page is read: it may be a stranger's file.
    problem = _too_much(file)
    if problem:
        file.close()
        raise ValueError(f"{path} {problem}")
    start, shape = 0, [file.metadata.num_rows, list(names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        file.close()
        raise ValueError(f"{path} has columns of the same name: {', '.join(twice)}; rename them")
    # Number of rows and names of columns are all that is compared: a checksum would read the whole file.
    if position is not None:
        if "row" not in position:  # of a file of lines
            file.close()
            raise ValueError(
                f"{path} is of another format than the input of the checkpoint; give the same input again, or "
                "--new-input to learn on from an input of new rows"
            )
        start = int(position["row"])
        if position["shape"] != shape:
            file.close()
            raise ValueError(
                f"{path} is not the file of the checkpoint ({shape[0]:,} rows, expected {position['shape'][0]:,} of "
                "the same columns); give the same input again, or --new-input to learn on from an input of new rows"
            )
    return names, _rows(path, file, start, shape), file


def _rows(path: str, file: Any, start: int, shape: list[Any]) -> _Rows:
    first, before = 0, 0  # whole groups before the start are not read
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    while first < len(sizes) and before + sizes[first] <= start:
        first, before = first + 1, before + sizes[first]
    number = before
    try:
        for batch in file.iter_batches(batch_size=_BATCH, row_groups=list(range(first, len(sizes)))):
            _check_texts(batch)
            for values in batch.to_pylist():
                number += 1
                if number > start:
                    yield number, values, "", {"row": number, "shape": shape}
    # pages are read as their turn comes, and a damaged one makes Arrow raise nearly anything
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(
            f"{path} is damaged after row {number:,} ({_line(error)}): restore it from a copy"
        ) from error


def _opened(path: str) -> Any:
    """Texts stay in the dictionaries that they are written with: one may be long, and named by every row."""
    with pq.ParquetFile(path) as file:
        texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
    return pq.ParquetFile(path, read_dictionary=texts)


def _is_text(kind: Any) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _check_texts(batch: Any) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        texts = column.dictionary if pa.types.is_dictionary(column.type) else column
        longest = (pc.max(pc.binary_length(texts)).as_py() or 0) if _is_text(texts.type) else 0
        if longest > _LONGEST:
            raise ValueError(
                f"column {name!r} has a text of {longest:,} bytes, expected at most {_LONGEST:,}"
            )


def _too_much(file: Any) -> str:
    """What a file declares beyond what is read; what Arrow allocates for a single page is its own affair."""
    columns = file.metadata.num_columns
    if columns > _MOST_COLUMNS:
        return f"has {columns:,} columns, expected at most {_MOST_COLUMNS:,}: leave out what is not needed"
    nested = [field.name for field in file.schema_arrow if pa.types.is_nested(field.type)]
    if nested:
        return f"has lists or structures in {nested[:5]}, expected single values: spread them over columns"
    return ""


def _line(error: BaseException) -> str:
    """Arrow's texts have several lines."""
    return " ".join(str(error).split())
