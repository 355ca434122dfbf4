"""Records as Parquet files, for those who analyse many of them: one row a step, the header in the file's metadata.

Needs the extra ``parquet``. What has several values a step (``responsibilities``) is a list column of fixed length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mole.atomic import atomic_file

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


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays (``[time]`` or ``[time, n]``) and a JSON header, atomically."""
    columns = {name: _column(array) for name, array in arrays.items()}
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(dict(header), sort_keys=True)})
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd")


def load_arrays(path: Path, *, header_only: bool = False) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_arrays` wrote; no arrays if only the header is wanted.

    Raises:
        ValueError: if the file is damaged, or has no header of ours.
    """
    try:
        schema = pq.read_schema(path)
        table = None if header_only else pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it from a copy or run the episode again"
        ) from error
    header = (schema.metadata or {}).get(_KEY)
    if header is None:
        raise ValueError(f"{path} is no record of a run: its metadata lacks the key {_KEY.decode()!r}")
    arrays = {} if table is None else {name: _array(table.column(name)) for name in table.column_names}
    return arrays, json.loads(header)


def _column(array: np.ndarray) -> Any:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _array(column: Any) -> np.ndarray:
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy()
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)
