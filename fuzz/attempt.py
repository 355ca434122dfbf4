"""One hostile file, read under watch: a clear refusal of ours or a harmless result; everything else is a finding."""

from __future__ import annotations

import encodings.cp437
import encodings.utf_8_sig
import encodings.utf_32_be
import encodings.utf_32_le  # noqa: F401 - what a name in an archive or a text array may need
import signal
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import mole
from fuzz.targets import Target
from mole.files.checkpoint import DamagedError

__all__ = ["Finding", "attempt", "warm_up", "work_folder"]

_SECONDS = 30.0  # of a core: a busy machine is no finding
_LONGEST_TEXT = 5000
_PACKAGE = str(Path(mole.__file__).parent)
# What a file could have done to us. Reading and writing is allowed in the folders of the attempt alone.
_FORBIDDEN = (
    "exec", "compile", "pickle.", "marshal.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.remove", "os.rename", "os.chmod", "os.symlink", "os.link", "subprocess.", "socket.",
    "ctypes.dlopen", "urllib.", "code.__new__",
)  # fmt: skip


class Finding(Exception):
    """What a reader must not do; the text says what it did."""


class _Hang(BaseException):
    pass


class _Watch:
    """What the interpreter reports while a reader runs (PEP 578). A hook cannot be removed, so there is one."""

    def __init__(self) -> None:
        self.armed = False
        self.events: list[str] = []
        self.allowed: tuple[str, ...] = ()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event == "open":
            name = str(args[0])
            is_source = args[1] == "r" and name.endswith(
                ".py"
            )  # for the traceback of an error, as JAX makes them
            if not name.startswith(self.allowed) and not name.isdigit() and not is_source:
                self.events.append(f"open {name!r} {args[1]!r}")
        elif event.startswith(_FORBIDDEN) and not self._is_tidying(event, args):
            self.events.append(f"{event} {args!r:.200}")

    def _is_tidying(self, event: str, args: tuple[Any, ...]) -> bool:
        """Removing temporary files: by their path, or by a name in a folder that was opened, which was checked."""
        return event == "os.remove" and (str(args[0]).startswith(self.allowed) or args[1] != -1)


_watch: _Watch | None = None


def work_folder() -> Path:
    """In memory where there is such a file system: a million small files."""
    fast = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="mole-fuzz-", dir=fast if fast.is_dir() else None))


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _Hang


def attempt(target: Target, data: bytes, folder: Path) -> str:
    """Read ``data`` with a reader.

    Returns:
        ``accepted`` or ``refused``.

    Raises:
        Finding: for any other exception, an error that is not raised by us, a reader that does more than read, or one
            that takes longer than half a minute.
    """
    global _watch
    _watch = _watch or _Watch()
    path = folder / f"input{target.suffix}"
    path.write_bytes(data)
    _watch.events.clear()
    _watch.allowed = (str(folder), tempfile.gettempdir())
    old = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _watch.armed = True
            try:
                target.read(path)
                result = "accepted"
            except target.errors as error:
                _watch.armed = False
                result = _judged(error, target)
            finally:
                _watch.armed = False
    except _Hang as hang:
        raise Finding(f"took more than {_SECONDS:g} s of a core:\n{_tail(hang)}") from hang
    except Finding:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Finding(f"{type(error).__name__}: {str(error)[:300]}\n{_tail(error)}") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
    if _watch.events:
        raise Finding(f"{target.suffix} made the reader do: {'; '.join(_watch.events[:5])}")
    return result


def warm_up(target: Target, seeds: list[bytes], folder: Path) -> None:
    """Import and compile what valid files need: later that would count as a finding."""
    for data in seeds:
        with suppress(Finding):
            attempt(target, data, folder)
        if attempt(target, data, folder) != "accepted":
            raise RuntimeError(f"a reader refuses a valid {target.suffix} file: make the seeds again")


def _judged(error: Exception, target: Target) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and frames[-1].filename.startswith(_PACKAGE)
    text = str(error)
    # Others that inherit from ours, such as UnicodeError, are no refusals.
    known = type(error) in (*target.errors, DamagedError)
    if not known or not ours or not 20 <= len(text) <= _LONGEST_TEXT:
        raise Finding(
            f"no refusal of ours ({len(text)} characters): {type(error).__name__}: {text[:300]}\n{_tail(error)}"
        )
    return "refused"


def _tail(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__)[-4:])
