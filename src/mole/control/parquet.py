"""Records as Parquet files, for those who analyse many of them: one row a step, the header in the file's metadata.

Needs the extra ``parquet``. What has several values a step (``responsibilities``) is a list column of fixed length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mole.files.atomic import atomic_file

try:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]
except ImportError as missing:
    raise ImportError(
        f"Parquet files need pyarrow, and {missing.name!r} cannot be imported. "
        "Install it with: pip install 'mole-online[parquet]'"
    ) from missing

__all__ = ["load_arrays", "save_arrays"]

_KEY = b"mole"
# Far beyond any run; a file that declares more would make Arrow ask for that much memory.
_MOST_ROWS, _MOST_COLUMNS, _MOST_VALUES = 10**8, 1000, 1 << 27


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays (``[time]`` or ``[time, n]``) and a JSON header, atomically."""
    columns = {name: _column(array) for name, array in arrays.items()}
    # The header is metadata, not a column: other tools show a table of steps and nothing else.
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(dict(header), sort_keys=True)})
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd")


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_arrays` wrote: arrays by name (``[time]`` or ``[time, n]``), and the header.

    Raises:
        ValueError: if the file is damaged, declares more than any run has, or has no header of ours.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_sizes(path, file)
            metadata = file.schema_arrow.metadata or {}
            table = file.read()
            arrays = {name: _array(table.column(name)) for name in table.column_names}
    # A hostile file makes Arrow and Thrift raise nearly anything; nothing else happens in here.
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise ValueError(
            f"{path} is damaged ({_line(error)}): restore it from a copy or run the episode again"
        ) from error
    header = metadata.get(_KEY)
    if header is None:
        raise ValueError(f"{path} is no record of a run: its metadata lacks the key {_KEY.decode()!r}")
    try:
        found = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} has a header that is not JSON ({_line(error)}): run the episode again"
        ) from error
    return arrays, found if isinstance(found, dict) else {}


def _check_sizes(path: Path, file: Any) -> None:
    """Rows and columns as declared; what Arrow allocates for a single page is its own affair."""
    rows, columns = file.metadata.num_rows, file.metadata.num_columns
    if columns > _MOST_COLUMNS or rows > _MOST_ROWS or rows * columns > _MOST_VALUES:
        raise ValueError(
            f"{path} declares {rows:,} rows of {columns:,} columns, expected at most {_MOST_ROWS:,} and "
            f"{_MOST_COLUMNS:,}, and {_MOST_VALUES:,} values"
        )


def _column(array: np.ndarray) -> Any:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _array(column: Any) -> np.ndarray:
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy()
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)


def _line(error: BaseException) -> str:
    """Arrow's texts have several lines."""
    return " ".join(str(error).split())
