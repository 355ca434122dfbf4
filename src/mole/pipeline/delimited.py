"""Physical lines of a byte stream, and the records of a CSV file made of them.

A line has a greatest length and the offset at which it ends, so that memory is bounded and reading can go on after any
line. A quoted field may hold line ends; a stray quote costs one line.
"""

from __future__ import annotations

import csv
import itertools
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["BadRecord", "Layout", "Line", "Lines", "read_header", "read_record"]


class Layout(NamedTuple):
    """How a file of lines is divided.

    Attributes:
        separator: of the cells of a CSV; empty to choose it by the header and the first rows.
        encoding: of the text; empty for UTF-8, or UTF-16 if the file has its mark.
        comment: lines that begin with it are left out; None for those with a ``#`` before the header alone.
        look: lines after the header that may choose the separator; 0 for a pipe, which is read as it comes.
    """

    separator: str = ""
    encoding: str = ""
    comment: str | None = None
    look: int = 50


class Line(NamedTuple):
    """One line.

    Attributes:
        data: its bytes with the line end; None if it was longer than the limit.
        number: 1 for the first of the file.
        end: bytes of the file up to its end.
        checksum: CRC-32 of those bytes, by which a run that goes on knows that they have not changed.
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

    def __init__(self, file: Any, longest: int, *, number: int = 0, end: int = 0, checksum: int = 0) -> None:
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
        piece = self._file.readline(self._longest + 1)  # one more than allowed tells a line that is too long
        if not piece:
            raise StopIteration
        end, checksum = self.last.end + len(piece), zlib.crc32(piece, self.last.checksum)
        data: bytes | None = piece
        if len(piece) > self._longest:
            data = None
            # Its bytes still count: positions are offsets in the file.
            while piece and not piece.endswith(b"\n"):
                piece = self._file.readline(65536)
                end, checksum = end + len(piece), zlib.crc32(piece, checksum)
        self.last = Line(data, self.last.number + 1, end, checksum)
        return self.last

    def give_back(self, lines: list[Line]) -> None:
        """Have these lines read again, in their order, before the others."""
        self._back.extendleft(reversed(lines))


_SEPARATORS = ",;\t|"
_MOST_LINES = 100  # of one record; a quote that nobody closes must not swallow the file


class BadRecord(ValueError):
    """A record that cannot be read. Arguments: why, and its first and last `Line`."""


class _TooMuchError(Exception):
    pass


def read_header(lines: Lines, layout: Layout, longest: int) -> tuple[list[str], str]:
    """The names of the columns, and the separator.

    Raises:
        StopIteration: if there is no line.
        BadRecord: if it cannot be read.
        UnicodeDecodeError: if it is not UTF-8.
    """
    first = next(lines)
    # Spreadsheets write a byte order mark, which would become part of the first column's name.
    first = first._replace(data=first.data and first.data.removeprefix(b"\xef\xbb\xbf"))
    before = None
    while layout.comment != "" and (first.data or b"").startswith((layout.comment or "#").encode()):
        before, first = first, next(lines)
    if b"\0" in (first.data or b""):
        raise BadRecord(
            "has zero bytes, so that it is binary, or UTF-16 without a mark (then give --encoding utf-16-le)",
            first,
            first,
        )
    after = list(itertools.islice(lines, 0 if layout.separator else layout.look))
    texts = [(line.data or b"").decode("utf-8", errors="replace") for line in after]
    lines.give_back([first, *after])
    header = (first.data or b"").decode("utf-8")
    if before is not None and layout.comment is None:
        # Some programs put the mark of comments before the header itself: then numbers follow, one under each name.
        names = (before.data or b"").decode("utf-8", errors="replace").lstrip("#").strip()
        separator = layout.separator or _separator(names, [header, *texts])
        under = _cells(header, separator)
        if 1 < len(under) == len(_cells(names, separator)) and all(map(_is_number, under)):
            return _cells(names, separator), separator
    separator = layout.separator or _separator(header, texts)
    fields, _, _ = read_record(lines, separator, longest, layout.comment or "")
    return fields, separator


def _separator(header: str, rows: list[str]) -> str:
    """The one of comma, semicolon, tab and bar that divides most rows as the header, and is most frequent in it.

    A header may hold commas in its names, and a decimal comma divides rows, but not both into as many cells.
    """
    rows = [row for row in rows if row.strip()]

    def fit(separator: str) -> tuple[float, int]:
        cells = len(_cells(header, separator))
        agree = sum(len(_cells(row, separator)) == cells for row in rows)
        return round(agree / max(len(rows), 1), 1), header.count(separator)

    if not any(separator in header for separator in _SEPARATORS):
        # One column: a comma in its values is a decimal one.
        return ";" if any("," in row for row in rows) and fit(";") > fit(",") else ","
    return max((one for one in _SEPARATORS if one in header), key=fit)


def _cells(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([text.rstrip("\r\n")], delimiter=separator), [])
    except csv.Error:
        return []


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def read_record(
    lines: Lines, delimiter: str, longest: int, comment: str = ""
) -> tuple[list[str], Line, Line]:
    """The next record that is not blank.

    Args:
        lines: where to read on.
        delimiter: one character.
        longest: bytes of a record, over all of its lines.
        comment: records that begin with it are left out; empty for none.

    Returns:
        Its fields, and the first and the last of its lines.

    Raises:
        StopIteration: at the end of the file.
        BadRecord: with the first and last line as its second and third argument.
    """
    used: list[Line] = []
    size, mark = 0, comment.encode()

    def feed() -> Iterator[str]:
        nonlocal size
        for line in lines:
            if mark and not used and line.data is not None and line.data.startswith(mark):
                continue
            used.append(line)
            if line.data is None:
                raise _TooMuchError
            size += len(line.data)
            if size > longest or len(used) > _MOST_LINES:
                raise _TooMuchError
            yield line.data.decode("utf-8")

    while True:
        used.clear()
        size = 0
        try:
            # A reader for each record: after an error it begins clean, with the lines that were given back. Strict:
            # otherwise the end of the file would close a quote, and nobody would know.
            fields = next(csv.reader(feed(), delimiter=delimiter, strict=True))
        except UnicodeDecodeError as error:
            raise _bad(f"is not UTF-8 (byte 0x{error.object[error.start]:02x})", lines, used) from error
        except _TooMuchError:
            reason = f"is longer than {longest:,} bytes" if len(used) == 1 else _OPEN
            raise _bad(reason, lines, used) from None
        except csv.Error as error:
            # The module has one class for all errors; an open quote shows in the text or in having read on.
            ended = "unexpected end of data" in str(error)
            raise _bad(_OPEN if ended or len(used) > 1 else f"is no CSV: {error}", lines, used) from error
        if fields:
            return fields, used[0], used[-1]


_OPEN = "a quote is opened and not closed"


def _bad(reason: str, lines: Lines, used: list[Line]) -> BadRecord:
    """Blame the first line alone: those after it may be good ones that a stray quote had swallowed."""
    lines.give_back(used[1:])
    return BadRecord(reason, used[0], used[0])
