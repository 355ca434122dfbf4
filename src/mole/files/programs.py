"""Compiled programs, kept from one process to the next by JAX's own cache."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from pathlib import Path

__all__ = ["VARIABLE", "cache_folder", "use_compilation_cache"]

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


def use_compilation_cache() -> Path | None:
    """Keep what this process compiles, and take what an earlier one compiled, from a folder of the user.

    The first row of a stream compiles for seconds; with the cache, once on a machine. It is a setting of JAX for the
    whole process, so nothing but the command line turns it on by itself. The environment variable
    ``MOLE_COMPILATION_CACHE`` names another folder than ``~/.cache/mole/jax``, or is ``off``; if JAX's own
    (``JAX_COMPILATION_CACHE_DIR``) is set, that one counts.

    Returns:
        The folder; None if the cache is off, or JAX has one already.

    Raises:
        OSError: if the folder cannot be written.
        RuntimeError: if there is no home folder.
    """
    folder = cache_folder()
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    # Tried once here: JAX would warn about every single program that it cannot write.
    with tempfile.TemporaryFile(dir=folder):
        pass
    import jax  # here, since the command line asks for the folder before it knows whether it needs JAX

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)
    return folder


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
