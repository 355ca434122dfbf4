"""Arrays and a JSON header in one `.npz` file (or `.parquet`), never pickle: how the record of a run is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mole.files.atomic import atomic_file
from mole.files.npz import array_names, read_npz

__all__ = ["load_arrays", "save_arrays"]


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays and header, atomically: a reader never sees half a file."""
    if path.suffix == ".parquet":
        from mole.control import parquet  # an extra

        return parquet.save_arrays(path, arrays, header)
    meta = np.array(json.dumps(dict(header), sort_keys=True))
    with atomic_file(path) as file:
        np.savez_compressed(file, meta=meta, allow_pickle=False, **arrays)
    return None


def load_arrays(path: Path, *, header_only: bool = False) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_arrays` wrote; no arrays if only the header is wanted.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated or damaged, or has no header.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no record at {path}: expected a file written by EpisodeRecord.save")
    if path.suffix == ".parquet":
        from mole.control import parquet  # an extra

        return parquet.load_arrays(path, header_only=header_only)
    names = array_names(path)
    found = read_npz(path, ("meta",) if header_only else None)
    meta = found.pop("meta", None)
    if meta is None or meta.dtype.kind != "U" or meta.shape:
        raise ValueError(
            f"{path} is no record of a run: it has arrays {sorted(names)[:20]} but no 'meta' header"
        )
    try:
        header = json.loads(str(meta[()]))
    except (ValueError, RecursionError) as error:  # also of text that is none, and of brackets without end
        raise ValueError(f"{path} has a header that is not JSON ({error}): run the episode again") from error
    return found, header if isinstance(header, dict) else {}
