"""The command ``mole``: a thin front over `mole.commands`."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.markup import escape

from mole.commands.common import FailedRuns, default_family, invocation
from mole.commands.compilation_cache import use_compilation_cache
from mole.commands.demo import demo
from mole.commands.envs import envs
from mole.commands.evaluate import eval_with
from mole.commands.fit_prior import fit_prior
from mole.commands.report import report
from mole.commands.stream import stream
from mole.commands.train import train_with
from mole.commands.tune import tune_with
from mole.control.episode import EpisodeError
from mole.experiment.evaluate import WorkerLost
from mole.experiment.families import Family
from mole.files.generations import tell_in_one_line
from mole.files.processes import Terminated, terminable

__all__ = ["main"]

_AT_ONCE = "jax_cpu_enable_async_dispatch"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _commands(family: Family | None) -> dict[str, Callable[..., Any]]:
    """The commands, with the defaults of a family."""
    return {
        "demo": demo,
        "train": train_with(family),
        "eval": eval_with(family),
        "tune": tune_with(family),
        "report": report,
        "envs": envs,
        "stream": stream,
        "fit-prior": fit_prior,
    }


def main(args: list[str] | None = None) -> int:
    """Entry point.

    Returns:
        The exit status: 0; 1 if some runs failed and the others are there; 2 for wrong input or a failure that ended
        everything; 130 for Ctrl-C, 143 for SIGTERM.
    """
    words = sys.argv[1:] if args is None else args
    if args is None:  # a caller in the same process has settings of its own
        use_compilation_cache()
        tell_in_one_line()
        if words[:1] == ["stream"] and os.environ.get(_AT_ONCE.upper(), "0").lower() in ("0", "false"):
            # To hand the small program of one row to another thread takes longer than to run it. JAX has the setting,
            # but reads no variable for it.
            jax.config.update(_AT_ONCE, False)
    invocation.set(shlex.join(["mole", *words]))
    try:
        with terminable():
            tyro.extras.subcommand_cli_from_dict(
                _commands(default_family(words)),
                prog="mole",
                description="Deep models that keep learning online in a world that changes.",
                args=args,
            )
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        Console(stderr=True).print(
            f"{'terminated' if terminated else 'interrupted'}: finished runs and what was recorded are kept; run it "
            "again to go on (a stream: with --checkpoint and --resume).",
            soft_wrap=True,
        )
        return 143 if terminated else 130
    except FailedRuns as error:
        _complain(error)
        return 1
    except (ValueError, TypeError, OSError, FloatingPointError, EpisodeError, WorkerLost) as error:
        _complain(error)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _complain("make room, then run it again to go on: what was whole before is still there.")
        return 2
    return 0


def _complain(error: Exception | str) -> None:
    Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
