"""Files that exist whole or not at all, and the older generations of a file that is written again and again.

The newest generation has the name of the file, the ones before it have ``.1``, ``.2``, … after that name.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "atomic_file",
    "atomic_text",
    "generations",
    "naming",
    "remove_generations",
    "remove_leftovers",
    "synced",
]

_GAP = 3  # so many missing names are the end; a crash while generations move up can leave a gap of one
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")

# The mask can be read only by setting it, which would affect files of other threads: hence once, at import.
_MASK = os.umask(0o077)
os.umask(_MASK)


@contextmanager
def atomic_file(path: str | os.PathLike[str], *, keep: int = 1) -> Iterator[BinaryIO]:
    """A new binary file that takes the place of ``path`` when the block ends without an error.

    It is written beside ``path``, flushed to disk and renamed: a crash leaves the old file or the new one. While it is
    written only its owner may read it; then it has the mode of the file that it replaces, or that of any new file.

    Args:
        path: the file.
        keep: generations that are there afterwards, the new one included; 1 keeps no old one.

    Raises:
        OSError: if it cannot be written, with its name; the old file is kept.
    """
    target = Path(path)
    temporary, file = _temporary(target)
    try:
        with file, naming(target):
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode_of(target))
        # The oldest first, so that none is overwritten before it has moved.
        for age in range(keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(_generation(target, age - 1), _generation(target, age))  # noqa: PTH105 - as in POSIX
        os.replace(temporary, target)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the new name is durable only after its folder is
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the name of the file to an `OSError` that is raised in this block without one."""
    # A full disk is an error of `write`, which knows a descriptor and no name.
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def atomic_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole text file, as `atomic_file` does."""
    with atomic_file(path) as file:
        file.write(text.encode())


def generations(path: str | os.PathLike[str]) -> list[Path]:
    """The generations of ``path`` that are there, the newest first."""
    target, found, age, gap = Path(path), [], 0, 0
    while gap < _GAP:
        one = _generation(target, age)
        age, gap = age + 1, 0 if one.is_file() else gap + 1
        if not gap:
            found.append(one)
    return found


def remove_generations(path: str | os.PathLike[str]) -> None:
    """Remove all generations of ``path``, the oldest first, so that a crash in between leaves the newest."""
    for one in reversed(generations(path)):
        one.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike[str], name: str | None = None) -> None:
    """Remove the temporary files of killed processes in ``folder``; those of running processes stay.

    Args:
        folder: where `atomic_file` wrote.
        name: only temporary files of this file; of all files if None.
    """
    for path in Path(folder).glob(".*.tmp" if name is None else f".{name}.*.tmp"):
        if _LEFTOVER.fullmatch(path.name):
            # A running writer holds its lock. The file may also be renamed or removed at this instant.
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                if _locked(file, wait=False):
                    path.unlink()


def _generation(target: Path, age: int) -> Path:
    return target if age == 0 else target.with_name(f"{target.name}.{age}")


def _temporary(target: Path) -> tuple[Path, BinaryIO]:
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        _locked(file, wait=True)
        # Before it was locked another process may have taken it for a leftover and removed it.
        if path.exists():
            return path, file
        file.close()


def _locked(file: BinaryIO, *, wait: bool) -> bool:
    """Lock an open file until it is closed; False where there are no such locks (then no file counts as left over).

    Raises:
        BlockingIOError: if another process has locked it and ``wait`` is False.
    """
    if os.name != "posix":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True


def _mode_of(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return 0o666 & ~_MASK


def synced(file: BinaryIO) -> None:
    """Have everything that was written on disk.

    Raises:
        OSError: with the name of the file.
    """
    with naming(str(getattr(file, "name", "the output"))):
        file.flush()
        if file.seekable():  # a pipe or a terminal cannot be synced
            os.fsync(file.fileno())
