"""The cells of the first rows, column by column, and the form of those that are times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from mole.pipeline.cells import CODES, TimeForm
from mole.pipeline.dialect import Form, TextOptions
from mole.rows.values import MISSING, NUMBER, TIME, read_value

__all__ = ["STRAY", "Cells", "times_of"]

STRAY = 0.05
"""Share of cells that may lack the form of their column: slips, and words for "missing"."""
_EIGHT, _POINTS, _DIGITS = re.compile(r"\d{8}"), re.compile(r"\d{1,2}\.\d"), re.compile(r"\d+")
_EXAMPLES = 3


class Cells:
    """The cells of one column in the first rows.

    Attributes:
        name: of the column.
        texts: text → rows that have it, without those that mean "missing".
        numbers: those that are plain numbers.
        kinds: kind of plain value → rows, as `mole.rows.values.read_value` has it.
        size: rows with a text.
        allowed: how many of them may lack a form.
    """

    def __init__(self, name: str, cells: Iterable[Any]) -> None:
        """Count the texts; what is no text is a plain value."""
        self.name, others = name, 0
        self.kinds: Counter[str] = Counter()
        texts: Counter[str] = Counter()
        for cell in cells:
            if isinstance(cell, str):
                texts[cell.strip()] += 1
            elif cell is not None:
                others += 1
        self.texts: Counter[str] = Counter()
        self.numbers: set[str] = set()
        for text, count in texts.items():
            kind, _ = read_value(text)
            if kind != MISSING:
                self.texts[text] = count
                self.kinds[kind] += count
                if kind == NUMBER:
                    self.numbers.add(text)
        self.size = sum(self.texts.values())
        self.allowed = int(STRAY * (self.size + others))

    def fits(self, read: Callable[[str], Any]) -> int:
        """Cells that can be read; 0 if too many cannot."""
        missed = 0
        for text, count in self.texts.items():
            if read(text) is None:
                missed += count
                if missed > self.allowed:
                    return 0
        return self.size - missed

    def mostly(self, kind: str) -> bool:
        """Whether nearly all cells are plain values of this kind."""
        return self.size > 0 and self.kinds[kind] >= self.size - self.allowed

    @property
    def examples(self) -> str:
        """Some of them, for a message."""
        return ", ".join(repr(text[:30]) for text in list(self.texts)[:_EXAMPLES])


def times_of(columns: list[Cells], options: TextOptions) -> dict[str, Form]:
    """Forms of the columns that hold times, other than ISO ones.

    Raises:
        ValueError: if a column is ambiguous, or an option fits nothing.
    """
    found: dict[str, Form] = {}
    scoped = {one.rpartition("=")[0]: one.rpartition("=")[2] for one in options.dates if _is_scoped(one)}
    general = [one for one in options.dates if not _is_scoped(one)]
    named = {column.name: column for column in columns}
    for name, code in scoped.items():
        if code == "none":
            continue
        column = named.get(name)
        if column is None or not column.fits(TimeForm(code).read):
            holds = f"holds {column.examples}" if column else "is none of the columns in use"
            raise ValueError(
                f"got --date-format {name}={code}, and {name!r} {holds}; expected a form of nearly all of its values"
            )
        found[name] = TimeForm(code)
    for code in general:
        if code == "none":
            continue
        free = [column for column in columns if column.name not in scoped and column.name not in found]
        fitting = [column.name for column in free if column.fits(TimeForm(code).read)]
        found.update((name, TimeForm(code)) for name in fitting)
        if not fitting:
            raise ValueError(
                f"got --date-format {code}, and no column has this form; leave the option out to have it found"
            )
    if "none" in general:
        return found
    for column in columns:
        if column.name in found or column.name in scoped or column.mostly(TIME):
            continue
        if code := _code(column):
            found[column.name] = TimeForm(code)
    return found


def _is_scoped(option: str) -> bool:
    """Whether a form is for one column. Formats of ``strptime`` may hold an equals sign too, after a percent sign."""
    return "=" in option.partition("%")[0]


def _code(column: Cells) -> str:
    """The code of the times of a column; empty if it holds none."""
    if column.mostly(NUMBER):
        # Eight digits that are a day in every row, and of many days, are hardly a quantity.
        whole = len(column.texts) >= 10 and column.size >= 20 and all(map(_EIGHT.fullmatch, column.texts))
        return "ymd" if whole and column.fits(TimeForm("ymd").read) == column.size else ""
    counts = {code: column.fits(TimeForm(code).read) for code in CODES}
    best = [code for code, count in counts.items() if count and count == max(counts.values())]
    if "ymd" in best and len(best) > 1:
        # Of years with two digits: in most files the year is the part that stays the same.
        parts = [_DIGITS.findall(text)[:3] for text in column.texts if TimeForm("ymd").read(text)]
        first, last = (len({part[place] for part in parts}) for place in (0, 2))
        if min(first, last) == 1 < max(first, last):
            best = ["ymd"] if first == 1 else [code for code in best if code != "ymd"]
    if len(best) < 2:
        return "".join(best)
    # With points between, the day comes first wherever people write so.
    if "dmy" in best and all(map(_POINTS.match, column.texts)):
        return "dmy"
    words = " or ".join(TimeForm(code).describe() for code in best)
    raise ValueError(
        f"column {column.name!r} holds {column.examples}: {words}, and none of the first rows tells; give "
        f"--date-format {' or '.join(best)}, or leave it out with --features"
    )
