"""The bytes of a file or of standard input: unpacked, and as UTF-8 whatever they were.

What reads lines, counts positions and compares checksums knows one encoding and no compression.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
import zlib
from pathlib import Path
from typing import Any

__all__ = ["PACKED", "OpeningError", "expect_encoding", "open_bytes"]

PACKED = (".gz", ".zst")
"""Suffixes of packed files, after the one that tells the format."""
_BY_BYTES = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_PIECE, _PACKED_PIECE = 1 << 16, 1 << 10
# What no decoder knows becomes this byte, which is nowhere valid in UTF-8: then its row is a bad one, and no other.
_WRONG = "\udcff"


class OpeningError(ValueError):
    """A file that cannot be unpacked or decoded; the message says what to do."""


def expect_encoding(name: str) -> str:
    """The name of an encoding as Python has it.

    Raises:
        ValueError: for one that is unknown.
    """
    try:
        info = codecs.lookup(name)
        "a".encode(name)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"got --encoding {name!r}, expected the name of an encoding, such as utf-8, latin-1, cp1252 or utf-16"
        ) from error
    return info.name


def open_bytes(path: str, encoding: str) -> tuple[Any, str]:
    """Open a file, or standard input for ``-``.

    Args:
        path: the file. That it is packed tells its suffix, .gz or .zst; of standard input its first bytes do.
        encoding: as `expect_encoding` gives it; empty for UTF-8, or UTF-16 if the file has its mark.

    Returns:
        A buffered binary file whose text is UTF-8, and the encoding that the text had.

    Raises:
        OpeningError: if it cannot be unpacked.
        FileNotFoundError, IsADirectoryError: if there is no such file.
    """
    if path == "-":
        # A file of its own on the same descriptor: to close it leaves sys.stdin alone.
        file: Any = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    else:
        if Path(path).is_dir():
            raise IsADirectoryError(f"{path} is a folder; expected a file: give the files in it one by one")
        try:
            file = Path(path).open("rb")  # noqa: SIM115  the caller closes it
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no file at {path}: check the path, or give - for standard input"
            ) from None
    try:
        # Of a pipe no more is waited for than its first piece.
        first = file.peek(4)[:4]
        by = Path(path).suffix.lower() if path != "-" else _BY_BYTES.get(first[:2], _BY_BYTES.get(first, ""))
        unpacked = _unpacked(file, by, "standard input" if path == "-" else path)
        if unpacked is not file:
            file = unpacked
            first = file.peek(4)[:4]
        found = encoding or _MARKS.get(first[:2], "")
        if found in ("", "utf-8", "ascii", "utf-8-sig"):
            return file, "utf-8"
        return io.BufferedReader(_Decoded(file, found)), found
    except BaseException:
        file.close()
        raise


def _unpacked(file: Any, by: str, name: str) -> Any:
    if by == ".gz":
        return io.BufferedReader(_Unpacked(gzip.GzipFile(fileobj=file), file, name))
    if by == ".zst":
        try:
            import zstandard  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise OpeningError(
                f"{name} is packed with Zstandard, which needs zstandard. Install it with: pip install "
                "'mole-online[zstd]', or unpack the file: zstd -d"
            ) from error
        return io.BufferedReader(_Unpacked(_Frames(file, zstandard.ZstdDecompressor()), file, name))
    return file


class _Piecewise(io.RawIOBase):
    """Pieces of bytes as a raw file."""

    def __init__(self, outer: Any) -> None:
        self._outer, self._left = outer, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._more()
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def _more(self) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        self._outer.close()
        super().close()


class _Unpacked(_Piecewise):
    """What a decompressor gives. A file that was cut off or damaged is told with its name, where the damage is."""

    def __init__(self, inner: Any, outer: Any, name: str) -> None:
        super().__init__(outer)
        self._inner, self._name, self._size = inner, name, 0

    def _more(self) -> bytes:
        try:
            piece = self._inner.read(_PIECE)
        # Every library has errors of its own for damage; zstandard's is an Exception and no more.
        except (EOFError, OSError, zlib.error, ValueError) as error:
            raise self._damaged(error) from error
        except Exception as error:
            if type(error).__module__.split(".")[0] != "zstandard":
                raise
            raise self._damaged(error) from error
        self._size += len(piece)
        return piece

    def _damaged(self, error: Exception) -> OpeningError:
        return OpeningError(
            f"{self._name} is damaged or cut off after {self._size:,} unpacked bytes ({error}): restore it from a copy"
        )


class _Frames:
    """Zstandard frames one after another. Its own reader would not tell a frame that is cut off from one that ended."""

    def __init__(self, file: Any, decompressor: Any) -> None:
        self._file, self._new = file, decompressor.decompressobj
        self._frame, self._left = self._new(), b""
        self._begun = False

    def read(self, _: int) -> bytes:
        while True:
            # Small pieces: a kilobyte may unpack to 32 megabytes, which must fit the memory.
            packed = self._left or self._file.read(_PACKED_PIECE)
            if not packed:
                if self._begun:
                    raise EOFError("the last frame does not end")
                return b""
            self._begun = True
            piece = self._frame.decompress(packed)
            self._left = b""
            if self._frame.eof:
                self._left, self._frame, self._begun = self._frame.unused_data, self._new(), False
            if piece:
                return piece


class _Decoded(_Piecewise):
    """Text of any encoding, as UTF-8."""

    def __init__(self, inner: Any, encoding: str) -> None:
        super().__init__(inner)
        self._decoder = codecs.getincrementaldecoder(encoding)(errors=_ERRORS)
        self._ended = False

    def _more(self) -> bytes:
        text = ""
        # A piece may end within a character, and then give no text.
        while not text and not self._ended:
            piece = self._outer.read1(_PIECE)
            self._ended = not piece
            text = self._decoder.decode(piece, final=self._ended)
        return text.encode("utf-8", errors="surrogateescape")


def _mark_wrong(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _WRONG, error.end


_ERRORS = "mole-wrong-byte"
codecs.register_error(_ERRORS, _mark_wrong)
