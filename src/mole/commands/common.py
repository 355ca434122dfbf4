"""What every command uses: the console, the words of the command line, and the cache of compiled programs.

Nothing here imports JAX or an extra: `mole.cli` starts with this file, also to print a help text.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.markup import escape

__all__ = ["VARIABLE", "cache_folder", "console", "invocation", "use_compilation_cache"]

console = Console()
invocation: ContextVar[str] = ContextVar("invocation", default="mole")
"""The command line, for reports and for the headers of what is written."""

VARIABLE = "MOLE_COMPILATION_CACHE"
"""Environment variable: ``off``, or the folder to use."""
_JAX_VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
_SECONDS = 0.5  # programs that compile faster are not worth a file


def cache_folder() -> Path | None:
    """Where compiled programs are kept; None if the user does not want that, or has told JAX itself.

    Each kind of processor has a folder of its own: programs of another one do not run, and home folders are shared.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted.lower() == "off" or any(name in os.environ for name in _JAX_VARIABLES):
        return None
    if wanted:
        return Path(wanted)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "mole" / "jax" / _processor()


def use_compilation_cache() -> None:
    """Turn the cache on for this process, or say in one line why not."""
    try:
        folder = cache_folder()
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        # Tried once here: JAX would warn about every single program that it cannot write.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        Console(stderr=True).print(
            f"[yellow]no compilation cache:[/yellow] {escape(str(error))}; {VARIABLE} is another folder for it, or off",
            highlight=False,
            soft_wrap=True,
        )
        return
    import jax  # here, since what is above is also needed by commands that only print their help

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)


def _processor() -> str:
    """A name for this machine's kind of processor."""
    # XLA compiles for the instructions that the processor has: its flags count, and not the name of the machine.
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = [platform.processor()]
    features = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    digest = hashlib.sha256("\n".join(features or lines[:1]).encode()).hexdigest()
    return f"{platform.machine()}-{digest[:12]}"
