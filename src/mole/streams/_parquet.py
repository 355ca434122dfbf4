"""Rows of a Parquet file, one batch at a time. Needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

try:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]
except ImportError as missing:
    raise ImportError(
        f"Parquet files need pyarrow, and {missing.name!r} cannot be imported. "
        "Install it with: pip install 'mole-online[parquet]'"
    ) from missing

__all__ = ["parquet_rows"]

_BATCH = 512
_Rows = Iterator[tuple[int, Mapping[str, Any] | None, str, dict[str, Any]]]


def parquet_rows(path: str, position: Mapping[str, Any] | None) -> tuple[tuple[str, ...], _Rows, Any]:
    """Columns, rows (number from 1 on, values, no problem, position) and the file, which the caller closes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no Parquet file, has columns of the same name, or is not the file of the position.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no file at {path}: check the path")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path} is no Parquet file, or damaged ({error}): restore it from a copy"
        ) from error
    names = tuple(file.schema_arrow.names)
    start, shape = 0, [file.metadata.num_rows, list(names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        file.close()
        raise ValueError(f"{path} has columns of the same name: {', '.join(twice)}; rename them")
    if position is not None:
        start = int(position["row"])
        if position["shape"] != shape:
            file.close()
            raise ValueError(
                f"{path} is not the file of the checkpoint ({shape[0]:,} rows, expected {position['shape'][0]:,} of "
                "the same columns); give the same input again, or --new-input to learn on from an input of new rows"
            )
    return names, _rows(file, start, shape), file


def _rows(file: Any, start: int, shape: list[Any]) -> _Rows:
    first, before = 0, 0  # whole groups before the start are not read
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    while first < len(sizes) and before + sizes[first] <= start:
        first, before = first + 1, before + sizes[first]
    number = before
    for batch in file.iter_batches(batch_size=_BATCH, row_groups=list(range(first, len(sizes)))):
        for values in batch.to_pylist():
            number += 1
            if number > start:
                yield number, values, "", {"row": number, "shape": shape}
