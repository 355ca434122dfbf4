"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file"]


_MASK = os.umask(0o077)  # it can only be read by setting it, which other threads would see later
os.umask(_MASK)


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new binary file that takes the place of ``path`` when the block ends without an error.

    It is written beside ``path``, flushed to disk and renamed: a crash leaves the old file or the new one. Until it is
    whole nobody else may read it; then it has the mode of the file that it replaces, or that of any new file.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode_of(target))
        os.replace(temporary, target)  # noqa: PTH105 - the atomic step, named as in POSIX
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the new name is durable only after its folder is
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _mode_of(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return 0o666 & ~_MASK
