"""Arrays of an ``.npz`` file from a stranger: the sizes that it declares are checked before anything is allocated.

NumPy's own reader allocates whatever a header asks for. Here a member may claim no more than deflate can make of its
bytes, an array no more than its member, and all arrays together no more than a limit.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Collection
from typing import BinaryIO

import numpy as np

__all__ = ["MOST_BYTES", "array_names", "read_npz"]

MOST_BYTES = 1 << 30
"""Default limit for all arrays of a file together."""
_MOST_MEMBERS = 1000
_DEFLATE = 1032  # the largest ratio that deflate reaches
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 4096
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[biufU][1-9]\d{0,8})', 'fortran_order': (False|True), "
    rb"'shape': \(((?:\d{1,18}, ?)*\d{0,18},?)\), ?\}\s*"
)


def array_names(path: str | os.PathLike[str]) -> list[str]:
    """Names of the arrays in a file; none of them is read. Errors as `read_npz`."""
    with open(path, "rb") as file, _archive(file, path) as archive:  # noqa: PTH123 - may be any path-like
        return [member.filename.removesuffix(".npy") for member in archive.infolist()]


def read_npz(
    path: str | os.PathLike[str], names: Collection[str] | None = None, *, most_bytes: int = MOST_BYTES
) -> dict[str, np.ndarray]:
    """Read arrays of numbers, truth values and text. Nothing is unpickled or evaluated.

    Args:
        path: the file.
        names: the arrays to read, of those that the file has; all if None.
        most_bytes: the largest size of these arrays together.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no ``.npz`` file, damaged, or declares more than is allowed; the text says which.
    """
    with open(path, "rb") as file, _archive(file, path) as archive:  # noqa: PTH123
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        wanted = {name: member for name, member in members.items() if names is None or name in names}
        total = sum(member.file_size for member in wanted.values())
        if total > most_bytes:
            raise ValueError(
                f"{path} declares arrays of {total:,} bytes, expected at most {most_bytes:,}: it is no file of ours"
            )
        return {name: _array(archive, member, name, path) for name, member in wanted.items()}


def _archive(file: BinaryIO, path: object) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(file)
    # Everything that the library raises for a hostile directory of an archive.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OSError) as error:
        raise ValueError(
            f"{path} is not a readable .npz archive ({str(error)[:200]}): "
            "truncated or of another kind; restore or make it again"
        ) from error
    members = archive.infolist()
    problem = ""
    if len(members) > _MOST_MEMBERS:
        problem = f"{len(members)} members, expected at most {_MOST_MEMBERS}"
    elif len({member.filename for member in members}) < len(members):
        problem = "two members of the same name"
    elif sum(member.compress_size for member in members) > os.fstat(file.fileno()).st_size:
        problem = "members that together are longer than the file"
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            problem = f"the member {member.filename!r:.80}, which is encrypted or compressed unlike NumPy's"
        elif member.file_size > _DEFLATE * member.compress_size + 64:
            problem = (
                f"the member {member.filename!r:.80} of {member.file_size:,} bytes made of {member.compress_size:,}, "
                f"expected at most {_DEFLATE} times as many"
            )
    if problem:
        raise ValueError(f"{path} is no .npz file of ours: it has {problem}; use another copy")
    return archive


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, path: object) -> np.ndarray:
    try:
        with archive.open(member) as file:
            dtype, shape, fortran = _header(file.read(10), file)
            size = math.prod(shape) * dtype.itemsize
            left = member.file_size - file.tell()
            if size != left:
                raise ValueError(f"it declares {size:,} bytes, and {left:,} follow")  # noqa: TRY301
            raw = file.read(size + 1)  # one byte too many: `zipfile` compares the checksum only at the end
            if len(raw) != size:
                raise ValueError(f"it is truncated: {len(raw):,} bytes of {size:,}")  # noqa: TRY301
            # Truth values as numbers first: a stranger's byte may be neither 0 nor 1.
            array = np.frombuffer(raw, np.uint8 if dtype.kind == "b" else dtype)
            return (array != 0 if dtype.kind == "b" else array).reshape(shape, order="F" if fortran else "C")
    except (
        zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, struct.error, EOFError, OSError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path} is damaged in its array {name!r:.80} ({str(error)[:200]}): restore it from a copy or make it again"
        ) from error


def _header(start: bytes, file: object) -> tuple[np.dtype, tuple[int, ...], bool]:
    """The header of the NPY format, versions 1 and 2, by its grammar; NumPy would evaluate it as a literal."""
    if len(start) < 10 or not start.startswith(_MAGIC) or start[6] not in (1, 2):
        raise ValueError(f"it starts with {start[:8]!r}, expected {_MAGIC!r} and version 1 or 2")
    length = start[8:10] if start[6] == 1 else start[8:10] + file.read(2)  # pyright: ignore
    size = int.from_bytes(length, "little")
    if size > _LONGEST_HEADER:
        raise ValueError(f"its header has {size:,} bytes, expected at most {_LONGEST_HEADER:,}")
    header = file.read(size)  # pyright: ignore
    match = _HEADER.fullmatch(header)
    if match is None:
        raise ValueError(f"its header is {header[:60]!r}, expected that of numbers, truth values or text")
    shape = tuple(int(axis) for axis in match[3].decode().split(",") if axis.strip())
    if len(shape) > 8:
        raise ValueError(f"it has {len(shape)} axes, expected at most 8")
    name = match[1].decode()
    try:
        dtype = np.dtype(name)
    except TypeError as error:  # the grammar allows any size, such as <f9
        raise ValueError(f"its numbers have the type {name!r}, which NumPy does not have") from error
    return dtype, shape, match[2] == b"True"
