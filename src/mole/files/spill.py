"""Records of one size by key, in a temporary file: for what does not fit into memory and is needed again."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Hashable
from typing import Any, BinaryIO

import numpy as np

from mole.files.atomic import naming

__all__ = ["RecordFile"]


class RecordFile:
    """Records by key. The file has no name, and goes when nobody uses it any more, however the process ends.

    Args:
        dtype: of a record.
        folder: where the file is; the system's folder for temporary files if None.

    Attributes:
        numbers: key → number of its record.
    """

    def __init__(self, dtype: np.dtype[Any], folder: str | os.PathLike[str] | None = None) -> None:
        """See the class."""
        self.numbers: dict[Hashable, int] = {}
        self._dtype, self._folder = dtype, folder
        self._holes: list[int] = []  # records that nobody owns
        self._file: BinaryIO | None = None

    def put(self, key: Hashable, record: np.void) -> None:
        """Add the record of a key that has none.

        Raises:
            OSError: if it cannot be written, with the folder's name; nothing is changed then.
        """
        with naming(self._folder or tempfile.gettempdir()):
            if self._file is None:  # most users never need one
                self._file = tempfile.TemporaryFile(dir=self._folder, prefix="mole-")  # noqa: SIM115  stays open
                weakref.finalize(self, self._file.close)
            number = self._holes[-1] if self._holes else len(self.numbers)
            self._file.seek(number * self._dtype.itemsize)
            self._file.write(record.tobytes())
            self._file.flush()
        # Only now: where the disk is full the record is still where it was before.
        if self._holes:
            self._holes.pop()
        self.numbers[key] = number

    def get(self, key: Hashable) -> np.void:
        """The record of a key."""
        assert self._file is not None
        self._file.seek(self.numbers[key] * self._dtype.itemsize)
        return np.frombuffer(self._file.read(self._dtype.itemsize), self._dtype)[0]

    def drop(self, key: Hashable) -> None:
        """Forget the record of a key."""
        self._holes.append(self.numbers.pop(key))
