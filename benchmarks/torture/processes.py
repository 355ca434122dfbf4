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

import mole.control.training_config as config

# The families' configurations check themselves with a planner when they are imported, which would start JAX here.
_check, config.TrainingConfig.__post_init__ = config.TrainingConfig.__post_init__, lambda self: None
import mole.cli  # noqa: E402

config.TrainingConfig.__post_init__ = _check


class Ended(NamedTuple):
    """How a process ended: exit status (minus the signal that killed it), seconds, and those of the processor."""

    status: int
    seconds: float
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


def wait(process: int, seconds: float | None = None, then: signal.Signals = signal.SIGKILL) -> Ended:
    """Wait for the end of a process; after so many seconds send it a signal, and wait on."""
    started, sent = time.monotonic(), seconds is None
    while True:
        found, status, usage = os.wait4(process, os.WNOHANG)
        now = time.monotonic() - started
        if found:
            return Ended(os.waitstatus_to_exitcode(status), now, usage.ru_utime + usage.ru_stime)
        if not sent and now >= (seconds or 0.0):
            os.kill(process, then)
            sent = True
        time.sleep(0.002)
