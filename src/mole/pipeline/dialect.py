"""How the text of a source is read: its layout, and the form of each column whose cells are no plain values.

It is decided once, from the first rows (`mole.pipeline.detect`), and kept in the file of a run: a run that goes on
reads as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mole.pipeline.cells import CODES, NumberForm, TimeForm
from mole.pipeline.delimited import Layout
from mole.pipeline.sources import Row
from mole.rows.values import NUMBER, read_value

__all__ = ["OLD", "Dialect", "Form", "TextOptions", "expect_options"]

Form = NumberForm | TimeForm
_DECIMALS = (".", ",", "none")
_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": " "}
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}


class TextOptions(NamedTuple):
    """What the user says about the text; what is not said is found out.

    Attributes:
        separator: of cells, one character.
        decimal: ``.`` or ``,``; ``none`` to read no text as a number that is no plain one.
        dates: forms of times, one of `mole.pipeline.cells.CODES` or a format of ``strptime``; with ``COLUMN=`` before
            it for one column alone. ``none`` to read no text as a time that is no ISO one.
        encoding: of the text.
        comment: what begins lines to leave out.
    """

    separator: str | None = None
    decimal: str | None = None
    dates: tuple[str, ...] = ()
    encoding: str | None = None
    comment: str | None = None

    @property
    def layout(self) -> Layout:
        """The part that concerns the file as a whole."""
        return Layout(self.separator or "", self.encoding or "", self.comment)


def expect_options(options: TextOptions) -> TextOptions:
    """The options with the names of separators replaced.

    Raises:
        ValueError: for one that is none.
    """
    separator = _SEPARATORS.get(options.separator or "", options.separator)
    if separator is not None and (len(separator) != 1 or separator.isalnum() or separator in '"\r\n.-+'):
        raise ValueError(f"got --sep {options.separator!r}, expected one character, such as ';', or tab")
    if options.decimal not in (None, *_DECIMALS):
        raise ValueError(f"got --decimal {options.decimal!r}, expected a point, a comma or none")
    if separator is not None and separator == options.decimal == ".":
        raise ValueError("got the same --sep and --decimal; expected two")
    for given in options.dates:
        name = given.rpartition("=")[2]
        if name not in (*CODES, "none") and "%" not in name:
            raise ValueError(
                f"got --date-format {given}, expected {', '.join(CODES)}, none, or a format such as '%d.%m.%Y %H:%M'; "
                "for one column alone COLUMN=FORMAT"
            )
    if options.comment is not None and len(options.comment) > 8:
        raise ValueError(f"got --comment {options.comment!r}, expected one character or a few")
    return options._replace(separator=separator)


@dataclass(frozen=True)
class Dialect:
    """How the text of a source is read.

    Attributes:
        layout: of the file.
        columns: column → form of its cells; all others are read as plain values are.
        options: those that the user gave.
    """

    layout: Layout = field(default_factory=Layout)
    columns: Mapping[str, Form] = field(default_factory=dict)
    options: TextOptions = field(default_factory=TextOptions)

    def rows(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Rows with the cells of ``columns`` read; those without the form of their column stay as they are."""
        return map(self._row, rows) if self.columns else rows

    def _row(self, row: Row) -> Row:
        problem = "" if row.values is None else self.read(row.values)
        return row._replace(values=None, problem=problem) if problem else row

    def read(self, values: Any) -> str:
        """Read the cells of one row, in place: every row of a source is a dict of its own.

        Returns:
            Why the row cannot be used; empty if it can.
        """
        for name, form in self.columns.items():
            cell = values.get(name)
            if type(cell) is not str or not cell:
                continue
            found = form.read(cell)
            if found is None:
                # What is left is read as a plain value, and there 1.5 would be a number, of a doubtful size.
                if "." in cell and form[0] == "," and read_value(cell)[0] == NUMBER:
                    return f"column {name!r} is {cell.strip()[:40]!r}, expected a number with a decimal comma"
            elif found == found:  # NaN stays a word for "missing", of which there are several
                values[name] = found
        return ""

    def describe(self, only: Mapping[str, Form] | None = None) -> str:
        """What is not as in a plain CSV, in one line; empty if there is nothing.

        Args:
            only: the columns to speak of; all if not given.
        """
        parts = []
        if self.layout.separator not in ("", ","):
            parts.append(f"cells between {_MARKS.get(self.layout.separator, repr(self.layout.separator))}")
        if self.layout.encoding not in ("", "utf-8"):
            parts.append(self.layout.encoding)
        said: dict[str, list[str]] = {}
        for name, form in (self.columns if only is None else only).items():
            if form.describe():
                said.setdefault(form.describe(), []).append(name)
        parts += [f"{_listed(names)}: {words}" for words, names in said.items()]
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        forms = {
            name: ["number", *form] if isinstance(form, NumberForm) else ["time", *form]
            for name, form in self.columns.items()
        }
        return {
            "layout": list(self.layout),
            "columns": forms,
            "options": [list(one) if isinstance(one, tuple) else one for one in self.options],
        }

    @classmethod
    def from_json(cls, data: Any) -> Dialect:
        """The inverse of `to_json`.

        Raises:
            ValueError, TypeError, KeyError: if the data is not that of a dialect.
        """
        separator, encoding, comment, look = data["layout"]
        if not (isinstance(separator, str) and isinstance(encoding, str) and isinstance(comment, str | None)):
            raise TypeError("its layout is no text")
        columns: dict[str, Form] = {}
        for name, (kind, *parts) in data["columns"].items():
            if not all(isinstance(part, str) for part in parts):
                raise TypeError(f"the form of column {name!r} is no text")
            form = NumberForm(*parts) if kind == "number" else TimeForm(*parts)
            known = (".", ",") if isinstance(form, NumberForm) else CODES
            if form[0] not in known and not (isinstance(form, TimeForm) and "%" in form.code):
                raise ValueError(f"the form of column {name!r} is {parts}")
            columns[name] = form
        separator_, decimal, dates, encoding_, comment_ = data["options"]
        options = TextOptions(separator_, decimal, tuple(dates), encoding_, comment_)
        return cls(Layout(separator, encoding, comment, int(look)), columns, options)


OLD = Dialect(Layout(comment="", look=0))
"""As version 0.1 read every source: the header alone chose the separator."""


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
