"""Physical lines of a byte stream, with a limit on their length and the offset at which each one ends."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["Line", "Lines"]


class Line(NamedTuple):
    """One line.

    Attributes:
        data: its bytes with the line end; None if it was longer than the limit.
        number: 1 for the first of the file.
        end: bytes of the file up to its end.
        checksum: CRC-32 of those bytes.
    """

    data: bytes | None
    number: int
    end: int
    checksum: int


class Lines(Iterator[Line]):
    """Reads line by line as lines come; a line beyond the limit is skipped in pieces and never held.

    Args:
        file: a binary file; it need not be seekable.
        longest: bytes of a line, with its end.
        number, end, checksum: of the line after which the file stands.

    Attributes:
        last: the last line taken from the file, which stands at its end.
    """

    def __init__(
        self, file: BinaryIO, longest: int, *, number: int = 0, end: int = 0, checksum: int = 0
    ) -> None:
        """See the class."""
        self._file, self._longest = file, longest
        self.last = Line(b"", number, end, checksum)
        self._back: deque[Line] = deque()

    def __next__(self) -> Line:
        """The next line.

        Raises:
            StopIteration: at the end of the file.
        """
        if self._back:
            return self._back.popleft()
        piece = self._file.readline(self._longest + 1)
        if not piece:
            raise StopIteration
        end, checksum = self.last.end + len(piece), zlib.crc32(piece, self.last.checksum)
        data: bytes | None = piece
        if len(piece) > self._longest:
            data = None
            while piece and not piece.endswith(b"\n"):
                piece = self._file.readline(65536)
                end, checksum = end + len(piece), zlib.crc32(piece, checksum)
        self.last = Line(data, self.last.number + 1, end, checksum)
        return self.last

    def give_back(self, lines: list[Line]) -> None:
        """Have these lines read again, in their order, before the others."""
        self._back.extendleft(reversed(lines))
