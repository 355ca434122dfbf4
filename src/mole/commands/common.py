"""What every command uses: the console, the words of the command line, and the cache of compiled programs.

Nothing here imports JAX or an extra: `mole.cli` starts with this file, also to print a help text.
"""

from __future__ import annotations

from contextvars import ContextVar

from rich.console import Console
from rich.markup import escape

from mole.files import programs

__all__ = ["console", "invocation", "use_compilation_cache"]

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
