"""Rows of a CSV, JSON Lines or Parquet file, or of standard input as its lines come.

with open_source("data.csv") as source:
    for row in source:
        row.values      # {"a": "1.5", "colour": "red"}, or None where the row cannot be read
        row.problem     # the reason

No file is read as a whole: memory is bounded by the longest line that is accepted. Reading can go on after any row,
with its `Row.position`, which is plain JSON data.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mole.pipeline.delimited import BadRecord, Layout, Line, Lines, read_header, read_record
from mole.pipeline.opening import PACKED, OpeningError, open_bytes

__all__ = ["FORMATS", "Row", "Source", "SourceError", "open_source"]

FORMATS = ("csv", "jsonl", "parquet")
_SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_LONGEST = 1 << 20  # bytes; a file without line ends must not fill the memory


class SourceError(ValueError):
    """The source as a whole cannot be read; the message says what to do. A single bad row is a `Row` with a problem."""


class Row(NamedTuple):
    """One row.

    Attributes:
        line: where it starts: line of the file from 1 on (a CSV's header is line 1), or row of a Parquet file.
        values: column → value; text in a CSV. None if the row cannot be read.
        problem: why it cannot be read; empty if it can.
        position: what `open_source` needs to go on after this row; plain JSON data.
    """

    line: int
    values: Mapping[str, Any] | None
    problem: str
    position: dict[str, Any]


class Source(Iterator[Row]):
    """Rows one by one; made by `open_source`.

    Attributes:
        name: the file, or "standard input".
        columns: names of the columns, where the source knows them before its rows; else empty.
        layout: how it is divided, with the separator and the encoding that were found.
    """

    def __init__(
        self, name: str, columns: tuple[str, ...], rows: Iterator[Row], file: Any, layout: Layout
    ) -> None:
        """Use `open_source`."""
        self.name, self.columns, self.layout = name, columns, layout
        self._rows, self._file = rows, file

    def __next__(self) -> Row:
        """The next row; waits for it where the source is a pipe.

        Raises:
            SourceError: if the file is packed and damaged.
        """
        try:
            return next(self._rows)
        except OpeningError as error:
            raise SourceError(str(error)) from error

    def __enter__(self) -> Source:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()


def open_source(
    path: str | os.PathLike[str],
    *,
    form: str | None = None,
    position: Mapping[str, Any] | None = None,
    longest: int = _LONGEST,
    layout: Layout | None = None,
) -> Source:
    """Open a file, or standard input for ``-``.

    Args:
        path: a file whose suffix tells its format, also with .gz or .zst behind it, or ``-``.
        form: ``csv`` (also with semicolons, tabs or bars), ``jsonl`` or ``parquet``, if the suffix does not tell.
            Standard input is JSON Lines if its first byte is ``{``, else CSV.
        position: of the last row that was used, to go on after it. Standard input must then begin with the same bytes:
            those that were used are read and skipped.
        longest: bytes of a row in CSV or JSON Lines; longer rows are reported and skipped.
        layout: how lines and cells are divided; found out if not given.

    Returns:
        The rows, one by one; a context manager that closes the file.

    Raises:
        SourceError: if the file has no header, is not in its encoding, is damaged, changed before ``position``, its
            format is unknown, or needs an extra that is not installed.
        FileNotFoundError: if there is no such file.
    """
    name = str(path)
    stdin = name == "-"
    plain = Path(name).with_suffix("") if Path(name).suffix.lower() in PACKED else Path(name)
    form = form or (None if stdin else _SUFFIXES.get(plain.suffix.lower()))
    layout = layout or Layout()
    if form not in (*FORMATS, *([None] if stdin else [])):
        raise SourceError(
            f"got {name} of format {form!r}, expected one of {', '.join(FORMATS)}: give it with --format"
        )
    if form == "parquet":
        if stdin:
            raise SourceError(
                "standard input cannot be Parquet: it has no beginning to go back to; use a file"
            )
        try:
            from mole.pipeline.parquet import parquet_rows
        except ImportError as error:  # it needs an extra, and says so
            raise SourceError(f"{name}: {error}") from error
        columns, rows, file = parquet_rows(name, position)
        return Source(name, columns, (Row(*row) for row in rows), file, layout)
    if position is not None and not stdin and not layout.separator:
        # What chooses the separator reads on after the header, and a position may be anywhere in it.
        with open_source(path, form=form, longest=longest, layout=layout) as first:
            layout = first.layout
    try:
        file, encoding = open_bytes(name, layout.encoding)
    except OpeningError as error:
        raise SourceError(str(error)) from error
    layout = layout._replace(encoding=encoding, look=0 if stdin else layout.look)
    try:
        return _text_source("standard input" if stdin else name, form, file, position, longest, layout)
    except OpeningError as error:
        file.close()
        raise SourceError(str(error)) from error
    except BaseException:
        file.close()
        raise


def _text_source(
    name: str,
    form: str | None,
    file: Any,
    position: Mapping[str, Any] | None,
    longest: int,
    layout: Layout,
) -> Source:
    if form is None:  # standard input, which has no suffix; `peek` takes nothing away from it
        form = "jsonl" if file.peek(1)[:1] == b"{" else "csv"
    lines = Lines(file, longest)
    header: list[str] = []
    if form == "csv":
        header, separator = _header(lines, name, layout, longest)
        layout = layout._replace(separator=separator)
    if position is not None:
        lines = _skip(lines, file, position, longest, name)
    comment = layout.comment or ""
    records = (
        _csv_rows(lines, header, layout.separator, longest, comment)
        if form == "csv"
        else _json_rows(lines, longest, comment.encode())
    )
    rows = (Row(line, values, problem, _position(last)) for line, values, problem, last in records)
    return Source(name, tuple(header), rows, file, layout)


def _header(lines: Lines, name: str, layout: Layout, longest: int) -> tuple[list[str], str]:
    try:
        fields, separator = read_header(lines, layout, longest)
    except StopIteration:
        raise SourceError(f"{name} is empty; expected a header with the names of the columns") from None
    except (BadRecord, UnicodeDecodeError) as error:
        reason = error.args[0] if isinstance(error, BadRecord) else "is not UTF-8"
        remedy = "" if isinstance(error, BadRecord) else ": give --encoding, such as latin-1 or cp1252"
        raise SourceError(
            f"{name}: its header {reason}; expected the names of the columns in UTF-8{remedy}"
        ) from error
    names = [field.strip() or f"column{place + 1}" for place, field in enumerate(fields)]
    twice = sorted({field for field in names if names.count(field) > 1})
    if twice:
        raise SourceError(f"{name} has columns of the same name: {', '.join(twice)}; rename them")
    return names, separator


_Record = tuple[int, Mapping[str, Any] | None, str, Line]


def _csv_rows(
    lines: Lines, header: list[str], delimiter: str, longest: int, comment: str
) -> Iterator[_Record]:
    while True:
        try:
            fields, first, last = read_record(lines, delimiter, longest, comment)
        except StopIteration:
            return
        except BadRecord as error:
            reason, first, last = error.args
            yield first.number, None, reason, last
            continue
        if len(fields) != len(header):
            yield first.number, None, f"has {len(fields)} columns, expected {len(header)}", last
        else:
            yield first.number, dict(zip(header, fields, strict=True)), "", last


def _json_rows(lines: Lines, longest: int, comment: bytes) -> Iterator[_Record]:
    for line in lines:
        if line.data is None:
            yield line.number, None, f"is longer than {longest:,} bytes", line
        elif line.data.strip() and not (comment and line.data.startswith(comment)):
            yield (*_parse(line), line)


def _parse(line: Line) -> tuple[int, Mapping[str, Any] | None, str]:
    try:
        values = json.loads((line.data or b"").decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return line.number, None, f"is not UTF-8 (byte 0x{error.object[error.start]:02x})"
    except (ValueError, RecursionError) as error:  # JSON that is nested too deeply is a recursion error
        return line.number, None, f"is no JSON: {error}"
    if not isinstance(values, dict):
        return line.number, None, f'holds a {type(values).__name__}, expected an object such as {{"a": 1}}'
    return line.number, values, ""


def _position(last: Line) -> dict[str, Any]:
    return {"line": last.number, "bytes": last.end, "checksum": last.checksum}


def _skip(lines: Lines, file: Any, position: Mapping[str, Any], longest: int, name: str) -> Lines:
    """Go to a position, after a check that all bytes before it are as they were.

    They are read, not skipped by a seek: a pipe cannot seek, and other bytes would have been other rows.
    """
    if "line" not in position:  # of a Parquet file
        raise SourceError(
            f"{name} is of another format than the input of the checkpoint; give the same input again, or --new-input "
            "to learn on from an input of new rows"
        )
    number, end, checksum = (int(position[key]) for key in ("line", "bytes", "checksum"))
    found, left = lines.last.checksum, end - lines.last.end
    while left > 0 and (piece := file.read(min(left, 1 << 20))):
        found, left = zlib.crc32(piece, found), left - len(piece)
    if left or found != checksum:
        raise SourceError(
            f"{name} does not begin as it did when the checkpoint was written (up to byte {end:,}); give the same "
            "input again, or --new-input to learn on from an input of new rows"
        )
    return Lines(file, longest, number=number, end=end, checksum=checksum)
