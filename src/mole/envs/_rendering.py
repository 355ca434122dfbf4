"""Rendering on machines with and without a screen, and clear words where it is impossible."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["offscreen_problem", "opengl_ready"]

_REMEDY = (
    "Install a software OpenGL (Debian: apt-get install libegl1 libgl1-mesa-dri) and set MUJOCO_GL=egl, "
    "or leave render_mode at None: the simulation itself needs none."
)
_DISABLED = ("disable", "disabled", "off", "false", "0")  # MuJoCo's own list


def _has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def offscreen_problem() -> str | None:
    """Why EGL cannot draw into memory here, or None if it can."""
    try:
        from mujoco.egl import GLContext

        GLContext(8, 8).free()
    except (ImportError, AttributeError, OSError, RuntimeError) as err:
        # PyOpenGL reports a missing library in any of these ways.
        return f"{type(err).__name__}: {err}"
    return None


@contextmanager
def opengl_ready(render_mode: str | None) -> Iterator[None]:
    """Surrounds the first drawing: picks EGL on a Linux machine without a screen, if the user picked nothing.

    Gymnasium would try GLFW first, whose failure leaves noise behind. The environment variable is put back.

    Raises:
        RuntimeError: if this machine cannot draw what `render_mode` asks for, with what to install.
    """
    if render_mode == "human":
        if not _has_display():
            raise RuntimeError(
                "got render_mode='human' on a machine without a screen (neither DISPLAY nor WAYLAND_DISPLAY "
                "is set); expected a desktop. Use render_mode='rgb_array' instead."
            )
        yield
        return
    backend = os.environ.get("MUJOCO_GL")
    if backend and backend.lower() in _DISABLED:
        raise RuntimeError(f"cannot render {render_mode!r}: MUJOCO_GL={backend} disables drawing. {_REMEDY}")
    chosen = backend or (None if _has_display() else "egl")
    if chosen == "egl" and (problem := offscreen_problem()) is not None:
        raise RuntimeError(f"cannot render {render_mode!r}: EGL does not work here ({problem}). {_REMEDY}")
    if chosen is None or chosen == backend:
        yield
        return
    os.environ["MUJOCO_GL"] = chosen
    try:
        yield
    finally:
        if backend is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = backend
