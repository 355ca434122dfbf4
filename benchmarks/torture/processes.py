"""One command in a process of its own, which can be killed.

The process is forked from this one, which has imported the package and not started JAX: an interpreter's start and the
imports would take most of the time, and there is nothing to lose before them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import mole.control.config as config

# The families' configurations check themselves with a planner when they are imported, which would start JAX here.
_check, config.TrainingConfig.__post_init__ = config.TrainingConfig.__post_init__, lambda self: None
import mole.cli  # noqa: E402

config.TrainingConfig.__post_init__ = _check


class Ended(NamedTuple):
    """How a process ended: exit status (minus the signal that ended it), and seconds of the processor."""

    status: int
    processor: float


def begin(args: Sequence[str], folder: Path, log: Path, before: Callable[[], None] | None = None) -> int:
    """Start ``mole ARGS`` in ``folder``, its output appended to ``log``; returns the process's number.

    Args:
        args: of the command.
        folder: working folder.
        log: for standard output and error.
        before: called in the process first, e.g. to limit it.
    """
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    status = 99
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(folder)
        sys.argv = ["mole", *args]
        sys.modules["__main__"] = types.ModuleType("__main__")  # workers are not to import this program
        if before is not None:
            before()
        status = mole.cli.main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # whatever it is, this process must not go on in its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(process: int, after: float | None = None, then: signal.Signals = signal.SIGKILL) -> Ended:
    """Wait for the end of a process; once it and its workers have used ``after`` seconds of processors, send a signal.

    Their own time, and not the clock's, so that the instants are spread over all of the work on a busy machine too.
    """
    used, sent = 0.0, after is None
    while True:
        found, status, usage = os.wait4(process, os.WNOHANG)
        if found:
            return Ended(
                os.waitstatus_to_exitcode(status), round(max(used, usage.ru_utime + usage.ru_stime), 2)
            )
        used = max(used, _processor(process))
        if not sent and used >= (after or 0.0):
            os.kill(process, then)
            sent = True
        time.sleep(0.005)


def _processor(process: int) -> float:
    """Seconds of processors used by a process and its living descendants (Linux)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_processor(int(child)) for child in children)
