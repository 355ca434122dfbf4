"""What every command uses: the console, the words of the command line, and the cache of compiled programs.

Nothing here imports JAX or an extra: `mole.cli` starts with this file, also to print a help text.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from rich.console import Console
from rich.markup import escape

from mole.files import programs

__all__ = ["console", "invocation", "one_address", "use_compilation_cache"]

console = Console()
invocation: ContextVar[str] = ContextVar("invocation", default="mole")
"""The command line, for reports and for the headers of what is written."""


def use_compilation_cache() -> None:
    """Turn the cache of compiled programs on for this process, or say in one line why not."""
    try:
        programs.use_compilation_cache()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        Console(stderr=True).print(
            f"[yellow]no compilation cache:[/yellow] {escape(str(error))}; {programs.VARIABLE} is another folder for "
            "it, or off",
            highlight=False,
            soft_wrap=True,
        )


def one_address(ray: Sequence[str]) -> str | None:
    """What ``--ray [ADDRESS]`` says; None for this machine.

    Raises:
        ValueError: for several addresses.
    """
    if len(ray) > 1:
        raise ValueError(
            f"--ray got {len(ray)} addresses; expected one, or none to start Ray on this machine."
        )
    return ray[0] if ray else None
