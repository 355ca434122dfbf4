"""One process at a time on one run: a lock that ends with its process, however that ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["InUseError", "file_lock", "folder_lock"]


class InUseError(ValueError):
    """Another process is at work on the same run."""


@contextmanager
def folder_lock(folder: Path, part: str | None = None) -> Iterator[None]:
    """Be the only process on a folder, which is made if it is not there.

    Args:
        folder: of the run.
        part: of the work, where several processes share a folder, each with its own; they exclude whoever takes the
            whole folder, and two of the same part exclude each other.

    Raises:
        InUseError: if another process is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / ".lock", folder, shared=part is not None):
        if part is None:
            yield
        else:
            with _lock(folder / f".lock-{part}", folder, shared=False):
                yield


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Be the only process that writes a file and its older generations; arguments and errors as `folder_lock`."""
    with _lock(path.with_name(f".{path.name}.lock"), path, shared=False):
        yield


@contextmanager
def _lock(path: Path, what: Path, *, shared: bool) -> Iterator[None]:
    if os.name != "posix":  # no such locks there, as docs/reliability.md says
        yield
        return
    import fcntl

    with path.open("a+") as file:  # it stays there: to remove it would let two in
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(
                f"{what} is in use by {_holder(path)}: wait until it is done, stop it, "
                "or choose another place"
            ) from None
        file.truncate(0)
        file.write(json.dumps({"process": os.getpid(), "machine": socket.gethostname()}))
        file.flush()
        yield


def _holder(path: Path) -> str:
    """Who holds it, as far as it said."""
    try:
        found = json.loads(path.read_text())
        return f"process {int(found['process'])} on {found['machine']}"
    except (ValueError, KeyError, TypeError):  # not written yet
        return "another process"
