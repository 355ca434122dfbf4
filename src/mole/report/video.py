"""Rendered frames as an animated WebP image, which every current browser plays without a player."""

from __future__ import annotations

import functools
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mole.files.atomic import atomic_file

__all__ = ["render_webp", "rendering_available", "side_by_side"]

_QUALITIES = (75, 55, 40, 25, 12)  # of WebP, tried from the best down until the video is small enough
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().max() > 0, "the rendered image is black"
"""


def render_webp(
    frames: Iterable[np.ndarray], path: str | os.PathLike[str], fps: float, *, bytes_per_second: int = 100_000
) -> Path:
    """Write frames as an endless animated WebP, atomically, in the best quality within `bytes_per_second`.

    Args:
        frames: images [height, width, 3] uint8, all of one shape; read once, kept in memory.
        path: the file to write, usually `.webp`.
        fps: frames per second; the format counts in whole milliseconds.
        bytes_per_second: about the size of a second of video (1 MB for 10 s by default). The lowest quality
            is kept even if it is larger.

    Raises:
        ValueError: if there are no frames, or they differ in shape or are not [height, width, 3] uint8.
    """
    if not 0 < fps <= 1000:
        raise ValueError(f"fps is {fps}, expected frames per second above 0 and at most 1000")
    images = list(_images(frames))
    if not images:
        raise ValueError(
            "got no frames, expected at least one image [height, width, 3]: record some steps first"
        )
    budget = bytes_per_second * len(images) / fps
    data = b""
    # The size is known only once all frames are encoded.
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        images[0].save(
            buffer,
            format="WEBP",
            save_all=True,
            append_images=images[1:],
            duration=round(1000 / fps),
            loop=0,
            quality=quality,
            method=3,
        )
        data = buffer.getvalue()
        if len(data) <= budget:
            break
    target = Path(path)
    with atomic_file(target) as file:
        file.write(data)
    return target


def _images(frames: Iterable[np.ndarray]) -> Iterator[Image.Image]:
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        array = np.asarray(frame)
        shape = array.shape if shape is None else shape
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.shape != shape:
            raise ValueError(
                f"frame {index} is {list(array.shape)} {array.dtype}, expected [height, width, 3] uint8"
                + (f" and the shape {list(shape)} of frame 0" if index else "")
            )
        yield Image.fromarray(array)


def side_by_side(
    frames_a: Iterable[np.ndarray], frames_b: Iterable[np.ndarray], labels: tuple[str, str]
) -> Iterator[np.ndarray]:
    """Frames of two runs next to each other, each with its label in the corner; ends with the shorter one.

    Raises:
        ValueError: if the two have different heights.
    """
    banners: list[np.ndarray] | None = None
    for a, b in zip(frames_a, frames_b, strict=False):
        if a.shape[0] != b.shape[0]:
            raise ValueError(
                f"frames are {a.shape[0]} and {b.shape[0]} high, expected the same: render both alike"
            )
        if banners is None:
            banners = [_banner(label, frame.shape[0]) for label, frame in zip(labels, (a, b), strict=True)]
        parts = [np.array(a), np.array(b)]  # copies: a renderer may use its frame again
        for part, banner in zip(parts, banners, strict=True):
            height, width = min(banner.shape[0], part.shape[0]), min(banner.shape[1], part.shape[1])
            part[:height, :width] = banner[:height, :width]
        gap = np.full((a.shape[0], 4, 3), 255, np.uint8)
        yield np.concatenate([parts[0], gap, parts[1]], axis=1)


def _banner(text: str, height: int) -> np.ndarray:
    """White text on a dark plate, about a fifteenth of the frame high."""
    size = max(12, height // 15)
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    pad = size // 2
    plate = Image.new("RGB", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), (28, 37, 50))
    ImageDraw.Draw(plate).text((pad - left, pad - top), text, font=font, fill=(255, 255, 255))
    return np.asarray(plate)


@functools.cache
def rendering_available() -> tuple[bool, str]:
    """Whether MuJoCo can render here without a display (EGL), and one line that says so or why not.

    Tried in a process of its own: the rendering back end is fixed when MuJoCo is first imported, and a broken
    driver may end the process.
    """
    with tempfile.TemporaryDirectory() as folder:  # MuJoCo may leave a log in the working folder
        try:
            done = subprocess.run(
                [sys.executable, "-c", _PROBE],
                env={**os.environ, "MUJOCO_GL": "egl"},
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, "no video: rendering with EGL gave no image within 60 s"
    if done.returncode == 0:
        return True, "MuJoCo renders with EGL (set MUJOCO_GL=egl before it is imported)"
    if done.returncode < 0:
        return (
            False,
            f"no video: rendering with EGL ended by signal {-done.returncode} (a broken graphics driver)",
        )
    if "No module named 'mujoco'" in done.stderr:
        return False, "no video: mujoco is not installed (install mole-online[control])"
    lines = [line.strip() for line in done.stderr.splitlines() if "Error" in line] or ["no message"]
    return (
        False,
        f"no video: MuJoCo cannot render with EGL ({lines[0][:160]}); install Mesa's libegl1 and libgl1",
    )
