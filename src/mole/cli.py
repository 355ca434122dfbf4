"""The command ``mole``: a table of the commands, each imported when it is called.

So `mole --help` loads neither JAX nor a simulator, a command without its extra ends with one line that names it, and
the commands for streams work on a bare installation.
"""

from __future__ import annotations

import errno
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tyro
from rich.console import Console
from rich.markup import escape

from mole.commands.common import invocation, use_compilation_cache

__all__ = ["COMMANDS", "Command", "main"]


class Command(NamedTuple):
    """Where a command is.

    Attributes:
        module: of `mole.commands`.
        function: its name there.
        summary: the first line of its help text, for the list of commands.
        by_family: whether the function makes the command from a family of worlds, whose defaults it then has.
    """

    module: str
    function: str
    summary: str
    by_family: bool = False


COMMANDS = {
    "demo": Command(
        "short",
        "demo",
        "Motors change sign every 100 steps: mole beside its baselines, with a report at the end.",
    ),
    "train": Command(
        "train",
        "train_with",
        "Train a prior and its supervised baseline from nothing; go on where an interrupted training stopped.",
        by_family=True,
    ),
    "eval": Command(
        "evaluate",
        "eval_with",
        "Compare methods, on an environment or in a suite: tables with 95 % intervals, records, and a report.",
        by_family=True,
    ),
    "tune": Command(
        "short",
        "tune_with",
        "Choose the settings of every method with the same number of trials, on a validation schedule.",
        by_family=True,
    ),
    "report": Command(
        "report",
        "report",
        "Write one self-contained page about all records in the folders: claims, tables, curves, videos.",
    ),
    "envs": Command(
        "short",
        "envs",
        "List the environments of this package, the names that their schedules may use, and the families of tests.",
    ),
    "stream": Command(
        "stream",
        "stream",
        "Learn a stream of rows online: predict each row, then learn it; find regimes and recall them.",
    ),
    "fit-prior": Command(
        "fit_prior",
        "fit_prior",
        "Meta-train a prior on windows of recorded history, for mole stream --prior.",
    ),
}
"""All commands by name. The summaries are written down here so that no command is imported to list them."""

_EXTRAS = {
    "gymnasium": "control",
    "mujoco": "control",
    "h5py": "minari",
    "minari": "minari",
    "pyarrow": "parquet",
    "ray": "distributed",
    "river": "streams",
    "sklearn": "streams",
    "zstandard": "zstd",
}
"""Package → the extra that installs it."""

# A full disk, a used-up quota, a file beyond the limit of the user.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ASYNC_DISPATCH = "jax_cpu_enable_async_dispatch"


def main(args: list[str] | None = None) -> int:
    """Entry point.

    Returns:
        The exit status: 0; 1 if some runs failed and the others are there; 2 for wrong input, a missing extra or a
        failure that ended everything; 130 for Ctrl-C, 143 for SIGTERM.
    """
    words = sys.argv[1:] if args is None else args
    # The list of commands takes no options, so the first word that names a command is the one that is called. The
    # parser also takes fit_prior for fit-prior.
    called = [name for word in words if (name := word.replace("_", "-")) in COMMANDS][:1]
    if any(word.startswith("--tyro-") for word in words):
        called = list(COMMANDS)  # completions for a shell know the options of all of them
    try:
        loaded = {name: load(name, words) for name in called}
        functions = {name: loaded.get(name) or _only_listed(COMMANDS[name]) for name in COMMANDS}
        if called:
            return _run(functions, words, args)
        _parse(functions, args)
    except ImportError as error:
        package = _missing(error)
        if package is None:  # a bug, whose traceback is needed
            raise
        _complain(
            f"mole {called[0]} needs {package}, which is not installed. "
            f"Install it with: pip install 'mole-online[{_EXTRAS[package]}]'"
        )
        return 2
    return 0


def load(name: str, words: Sequence[str] = ()) -> Callable[..., Any]:
    """The function of a command, with the defaults of the family that a command line names.

    Raises:
        ImportError: if the command needs an extra that is not installed.
    """
    command = COMMANDS[name]
    function = getattr(importlib.import_module(f"mole.commands.{command.module}"), command.function)
    if not command.by_family:
        return function
    from mole.commands.runs import default_family

    return function(default_family(words))


def _only_listed(command: Command) -> Callable[[], None]:
    """A stand-in for a command that is not called: its name and summary in the list of all."""

    def listed() -> None:
        raise AssertionError(f"mole.commands.{command.module} was called, but not imported")

    listed.__doc__ = command.summary
    return listed


def _parse(functions: dict[str, Callable[..., Any]], args: list[str] | None) -> None:
    """Read the command line and call the command that it names."""
    tyro.extras.subcommand_cli_from_dict(
        functions,
        prog="mole",
        description="Deep models that keep learning online in a world that changes.",
        args=args,
    )


def _run(functions: dict[str, Callable[..., Any]], words: list[str], args: list[str] | None) -> int:
    """Call a command; every failure that is no bug is one line and an exit status."""
    # Here, because they import JAX, which takes longer than the list of commands.
    import jax

    from mole.files.generations import tell_in_one_line
    from mole.files.processes import Failure, Terminated, terminable

    if args is None:  # from a shell: a caller in the same process has settings of its own
        use_compilation_cache()
        tell_in_one_line()
        if words[0] == "stream" and os.environ.get(_ASYNC_DISPATCH.upper(), "0").lower() in ("0", "false"):
            # To hand the small program of one row to another thread takes longer than to run it. JAX has the setting,
            # but reads no variable for it.
            jax.config.update(_ASYNC_DISPATCH, False)
    invocation.set(shlex.join(["mole", *words]))
    try:
        with terminable():
            _parse(functions, args)
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        Console(stderr=True).print(
            f"{'terminated' if terminated else 'interrupted'}: finished runs and what was recorded are kept; run it "
            "again to go on (a stream: with --checkpoint and --resume).",
            soft_wrap=True,
        )
        return 143 if terminated else 130
    except (ValueError, TypeError, OSError, FloatingPointError, Failure) as error:
        _complain(error)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _complain("make room, then run it again to go on: what was whole before is still there.")
        return error.status if isinstance(error, Failure) else 2
    return 0


def _missing(error: BaseException | None) -> str | None:
    """The package of an extra that is not there, if that is why an import failed.

    Only a module that cannot be found at all counts. One that is there and fails is broken, and the whole traceback
    helps more than the advice to install it again.
    """
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            package = (error.name or "").partition(".")[0]
            if package in _EXTRAS:
                return package
        error = error.__cause__
    return None


def _complain(error: Exception | str) -> None:
    Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
