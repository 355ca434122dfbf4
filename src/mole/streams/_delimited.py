"""One record of a CSV file from its physical lines: quotes may hold line ends, and a stray quote costs one line."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from mole.streams._lines import Line, Lines

__all__ = ["BadRecord", "delimiter_of", "read_record"]

_MOST_LINES = 100  # of one record; a quote that nobody closes must not swallow the file


class BadRecord(ValueError):
    """A record that cannot be read; the text says why."""


class _TooMuchError(Exception):
    pass


def delimiter_of(header: str) -> str:
    """The most frequent of comma, semicolon, tab and bar; comma if there is none."""
    return max(",;\t|", key=header.count)


def read_record(lines: Lines, delimiter: str, longest: int) -> tuple[list[str], Line, Line]:
    """The next record that is not blank.

    Returns:
        Its fields, and the first and the last of its lines.

    Raises:
        StopIteration: at the end of the file.
        BadRecord: with the first and last line as its second and third argument.
    """
    used: list[Line] = []
    size = 0

    def feed() -> Iterator[str]:
        nonlocal size
        for line in lines:
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
            # strict: otherwise the end of the file would close a quote, and nobody would know
            fields = next(csv.reader(feed(), delimiter=delimiter, strict=True))
        except UnicodeDecodeError as error:
            raise _bad(f"is not UTF-8 (byte 0x{error.object[error.start]:02x})", lines, used) from error
        except _TooMuchError:
            reason = f"is longer than {longest:,} bytes" if len(used) == 1 else _OPEN
            raise _bad(reason, lines, used) from None
        except csv.Error as error:
            ended = "unexpected end of data" in str(error)
            raise _bad(_OPEN if ended or len(used) > 1 else f"is no CSV: {error}", lines, used) from error
        if fields:
            return fields, used[0], used[-1]


_OPEN = "a quote is opened and not closed"


def _bad(reason: str, lines: Lines, used: list[Line]) -> BadRecord:
    """Blame the first line alone: those after it may be good ones that a stray quote had swallowed."""
    lines.give_back(used[1:])
    return BadRecord(reason, used[0], used[0])
