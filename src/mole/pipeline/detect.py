"""Decide from the first rows how the text of each column is read.

A form must fit nearly all cells of a column. What fits two forms that would read it differently is refused, unless
other columns or the user tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mole.pipeline.cells import NumberForm, TimeForm, number_parts
from mole.pipeline.delimited import Layout
from mole.pipeline.dialect import Dialect, Form, TextOptions
from mole.pipeline.first_cells import STRAY, Cells, times_of
from mole.pipeline.sources import Row
from mole.rows.values import NUMBER, TEXT, TIME

__all__ = ["Decision", "decide"]

_CODES = 16  # different values up to which text may be labels
_FEW = 5  # cells below which 3a may be a name rather than 3 of the unit a
_JUDGED = 30  # words of a column before it is said to be an identifier
_UNIQUE = 0.9  # share of different words in one
_ATTACHED = re.compile(r"\d[^\W\d_]")


class Decision(NamedTuple):
    """What was decided.

    Attributes:
        dialect: how to read the source.
        kind: of the target, ``regression`` or ``classification``; None if its first value decides.
        warnings: what the user should know, a line for each.
    """

    dialect: Dialect
    kind: str | None
    warnings: list[str]


def decide(
    rows: Sequence[Row],
    names: Sequence[str],
    target: str,
    *,
    layout: Layout,
    options: TextOptions = TextOptions(),  # noqa: B008  a tuple
    classify: bool | None = None,
    before: Mapping[str, Form] | None = None,
) -> Decision:
    """Decide how to read a source.

    Args:
        rows: its first ones.
        names: of the columns in use, without the target.
        target: the column to predict.
        layout: of the source.
        options: what the user says.
        classify: whether the target is a label; None to find out.
        before: forms of an earlier input, which stay where they fit.

    Raises:
        ValueError: if a column is ambiguous, an option fits nothing, a target looks like numbers and cannot be read as
            numbers, a column has another unit than before, or no row can be read.
    """
    warnings = _unreadable(rows, layout)
    readable = [row.values for row in rows if row.values is not None]
    used = [*names, *([] if classify else [target])]
    columns = {name: Cells(name, (values.get(name) for values in readable)) for name in used}
    forms: dict[str, Form] = {}
    for name, form in (before or {}).items():
        if name in columns and columns[name].size and columns[name].fits(form.read):
            forms[name] = form
    left = [column for name, column in columns.items() if name not in forms and column.size]
    forms.update(times_of(left, options))
    left = [column for column in left if column.name not in forms]
    if options.decimal != "none":
        forms.update(_numbers(left, target, options.decimal, forms, warnings))
    ordered = {name: forms[name] for name in columns if name in forms}
    for name, form in ordered.items():
        earlier = (before or {}).get(name, form)
        if isinstance(form, NumberForm) and isinstance(earlier, NumberForm) and form.unit != earlier.unit:
            now, then = (one.unit or "plain numbers" for one in (form, earlier))
            raise ValueError(
                f"column {name!r} is in {now}, and was in {then} in the input before; bring both to one unit"
            )
    kind = "classification" if classify else "regression" if classify is not None else None
    if kind is None:
        kind = _kind(columns[target], forms.get(target))
    warnings += [text for name in names if (text := _identifier(columns[name], forms.get(name)))]
    return Decision(Dialect(layout, ordered, options), kind, warnings)


def _unreadable(rows: Sequence[Row], layout: Layout) -> list[str]:
    bad = [row for row in rows if row.values is None]
    if len(bad) == len(rows) > 2:
        problem = bad[0].problem
        if "columns" in problem:
            remedy = (
                f"; cells are divided at {layout.separator!r}: give --sep if it is another character, quote cells that "
                "hold it, and name every column in the header"
            )
        else:
            remedy = "; give --encoding, such as latin-1 or cp1252" if "UTF-8" in problem else ""
        raise ValueError(
            f"none of the first {len(rows):,} rows can be read: line {bad[0].line} {problem}{remedy}"
        )
    coded = sum("is not UTF-8" in row.problem for row in bad)
    if coded > STRAY * len(rows):
        return [
            f"{coded:,} of the first {len(rows):,} rows are not UTF-8 and left out; give --encoding, such as latin-1 "
            "or cp1252"
        ]
    return []


class _Read(NamedTuple):
    """What a column of numbers may be: the form by the decimal mark, and whether both read the same numbers."""

    forms: dict[str, NumberForm]
    same: bool
    plain: bool


def _numbers(
    columns: list[Cells],
    target: str,
    decimal: str | None,
    others: Mapping[str, Form],
    warnings: list[str],
) -> dict[str, Form]:
    """Forms of the columns that hold numbers."""
    found = {column.name: _read(column, column.name == target, decimal, warnings) for column in columns}
    # A column that only one mark fits tells the mark of the file, and so of the columns that both fit.
    votes = {mark for read in found.values() if len(read.forms) == 1 for mark in read.forms}
    votes |= {form.decimal for form in others.values() if isinstance(form, NumberForm)}
    mark = decimal or (votes.pop() if len(votes) == 1 else None)
    forms: dict[str, Form] = {}
    for column in columns:
        read = found[column.name]
        if len(read.forms) < 2:
            forms.update((column.name, form) for form in read.forms.values())
        elif mark is not None:
            forms[column.name] = read.forms[mark]
        elif read.same:
            # Whole numbers: nothing tells how a fraction would be written. Their unit is to be read all the same.
            if not read.plain:
                forms[column.name] = read.forms["."]
        elif not read.plain:
            raise ValueError(
                f"column {column.name!r} holds {column.examples}: a comma for thousands or for decimals, and no column "
                "tells; give --decimal , or --decimal ."
            )
    return forms


def _read(column: Cells, is_target: bool, decimal: str | None, warnings: list[str]) -> _Read:
    plain = column.mostly(NUMBER)
    if plain and column.numbers == column.texts.keys():
        return _plain(column, decimal)
    forms: dict[str, NumberForm] = {}
    counts: dict[str, int] = {}
    values: dict[str, list[float]] = {}
    mixed: list[str] = []
    for mark in ".,":
        parts = {text: part for text in column.texts if (part := number_parts(text, mark))}
        units: Counter[str] = Counter()
        for text, (_, unit) in parts.items():
            units[unit] += column.texts[text]
        if sum(units.values()) < max(column.size - column.allowed, 1):
            continue
        unit = max((one for one in units if one), key=lambda one: units[one], default="")
        counts[mark] = units[unit] + (units[""] if unit else 0)
        if counts[mark] < column.size - column.allowed:
            mixed = [one for one, _ in units.most_common() if one]
        elif not (unit and _may_be_name(column, unit, is_target)):
            forms[mark] = NumberForm(mark, unit)
            values[mark] = [number for number, _ in parts.values()]
    if not forms and mixed:
        _several_units(column, mixed, is_target, warnings)
    if decimal in forms:
        forms = {decimal: forms[decimal]}
    elif len(forms) == 2 and counts["."] != counts[","]:
        better = max(forms, key=lambda one: counts[one])
        forms = {better: forms[better]}
    return _Read(forms, len(forms) == 2 and values["."] == values[","], plain)


def _plain(column: Cells, decimal: str | None) -> _Read:
    """A column without commas and units: 1.234 might be a thousand and some, if the file has decimal commas."""
    points = any("." in text for text in column.texts)
    both = not points or column.fits(lambda text: number_parts(text, ",")) == column.size
    marks = (".", ",") if both else (".",)
    forms = {mark: NumberForm(mark) for mark in marks if decimal in (mark, None) or not both}
    return _Read(forms, both and not points, plain=True)


def _may_be_name(column: Cells, unit: str, is_target: bool) -> bool:
    """Whether 3a, 4a, … may be names. With a space between, or a sign such as %, they are numbers."""
    attached = unit[0].isalpha() and any(map(_ATTACHED.search, column.texts))
    return attached and not is_target and (column.size < _FEW or len(column.texts) < 2)


def _several_units(column: Cells, units: list[str], is_target: bool, warnings: list[str]) -> None:
    if len(column.texts) <= _CODES or len(units) > _FEW:  # labels such as 1st, 2nd, 3rd
        return
    text = f"{column.name!r} holds numbers in several units ({', '.join(units)}), such as {column.examples}"
    if not is_target:
        warnings.append(f"{text}: read as words; bring them to one unit")


def _kind(target: Cells, form: Form | None) -> str | None:
    """What is predicted; None if the first value may decide. Never labels made of what is meant as numbers."""
    if isinstance(form, NumberForm) or target.mostly(NUMBER):
        return "regression"
    remedy = "give --task classification if these are labels"
    if isinstance(form, TimeForm) or target.mostly(TIME):
        raise ValueError(
            f"target {target.name!r} holds times, such as {target.examples}; expected numbers: {remedy}"
        )
    if target.kinds[NUMBER] * 2 > target.size and len(target.texts) > _CODES:
        return "regression"  # the first may be a slip
    if target.kinds[TEXT] and target.fits(_like_number):
        raise ValueError(
            f"target {target.name!r} holds {target.examples}, which are numbers in no form that is known (or in "
            f"several units); write them as plain numbers, or {remedy}"
        )
    return None


def _like_number(text: str) -> bool | None:
    return True if number_parts(text, ".") or number_parts(text, ",") else None


def _identifier(column: Cells, form: Form | None) -> str:
    """A line about a column whose words hardly ever return; empty for others."""
    if form is not None or not column.mostly(TEXT) or column.size < _JUDGED:
        return ""
    if len(column.texts) < _UNIQUE * column.size:
        return ""
    return (
        f"nearly all words of {column.name!r} are different, such as {column.examples}: nothing can be learned from "
        "them; leave it out with --features (or say how times are written with --date-format)"
    )
