"""How ``mole stream`` and ``mole fit-prior`` read text: their options, and what is decided from the first rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from mole.pipeline.detect import Decision, decide
from mole.pipeline.dialect import Dialect, Form, TextOptions, expect_options
from mole.pipeline.opening import expect_encoding
from mole.pipeline.sources import Row, Source
from mole.rows.values import MISSING, read_value

__all__ = ["expect_same", "read_as", "say_how", "text_options"]

_ROWS = 1000  # of hours these are 41 days, in which a day of the month is beyond 12
_CELLS = 100_000  # of very wide rows fewer are looked at


def text_options(
    sep: str | None,
    decimal: str | None,
    date_format: tuple[str, ...],
    encoding: str | None,
    comment: str | None,
) -> TextOptions:
    """The options of the commands, checked.

    Raises:
        ValueError: for one that is wrong.
    """
    encoding = None if encoding is None else expect_encoding(encoding)
    return expect_options(TextOptions(sep, decimal, date_format, encoding, comment))


def expect_same(stored: Dialect, given: TextOptions, checkpoint: Path) -> None:
    """Raise ValueError if the options differ from those of a run that is to go on with the same input."""
    names = ("--sep", "--decimal", "--date-format", "--encoding", "--comment")
    differ = [
        f"{name} {_shown(old)}, now {_shown(new)}"
        for name, old, new in zip(names, stored.options, given, strict=True)
        if old != new
    ]
    if differ:
        raise ValueError(
            f"{checkpoint} was written with other options: {'; '.join(differ)}. Go on with the same, or start a new "
            "checkpoint"
        )


def read_as(
    source: Source,
    rows: Iterable[Row],
    target: str,
    names: Iterable[str] | None,
    *,
    options: TextOptions,
    classify: bool | None,
    live: bool = False,
    before: Mapping[str, Form] | None = None,
) -> tuple[Decision, Iterator[Row]]:
    """Decide how to read a source; the rows looked at come again, read so.

    Args:
        source: the source.
        rows: its rows.
        target: the column to predict.
        names: the columns to predict it from; all others if None.
        options: what the user says.
        classify: whether the target is a label; None to find out.
        live: whether rows come one by one: then no more are looked at than it takes to find a target.
        before: forms of an earlier input.

    Raises:
        ValueError: as `mole.pipeline.detect.decide`, with the name of the source.
    """
    head, rows = _first_rows(rows, target if classify is None else None, live=live)
    if names is None:
        seen = source.columns or dict.fromkeys(name for row in head for name in row.values or ())
        names = [name for name in seen if name != target]
    try:
        made = decide(
            head, list(names), target, layout=source.layout, options=options, classify=classify, before=before
        )
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    return made, made.dialect.rows(itertools.chain(head, rows))


def say_how(console: Console, name: str, dialect: Dialect, warnings: Iterable[str] = ()) -> None:
    """One line about how a source is read, if that is not as a plain CSV, and what else the user should know."""
    if text := dialect.describe():
        console.print(escape(f"{name}: {text}"), style="dim", highlight=False, soft_wrap=True)
    for warning in warnings:
        console.print(escape(f"{name}: {warning}"), style="yellow", highlight=False, soft_wrap=True)


def _first_rows(rows: Iterable[Row], target: str | None, *, live: bool) -> tuple[list[Row], Iterator[Row]]:
    """The rows that decide, and all that follow them."""
    rows = iter(rows)
    head: list[Row] = []
    left = _CELLS
    for row in itertools.islice(rows, _ROWS):
        head.append(row)
        left -= len(row.values or ())
        if left < 0 or (
            live and row.values is not None and (target is None or _is_there(row.values.get(target)))
        ):
            break
    return head, rows


def _is_there(value: Any) -> bool:
    try:
        return read_value(value)[0] != MISSING
    except TypeError:  # a list or an object is a bad row
        return False


def _shown(value: Any) -> str:
    return (
        " ".join(value) or "not given"
        if isinstance(value, tuple)
        else "not given"
        if value is None
        else repr(value)
    )
