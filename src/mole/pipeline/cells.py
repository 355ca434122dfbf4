"""Text that means a number or a time in some dialect: ``1.234,5 kW``, ``5%``, ``01.03.2026 00:00``, ``2000Q1``.

A form says how all cells of a column are read. `read` gives None for a cell that does not have the form, and never a
guess: ``1.5`` in a column with decimal commas is neither 1.5 nor 15.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["CODES", "NumberForm", "TimeForm", "number_parts"]

_SPACES = " \u00a0\u2009\u202f"  # plain, no-break, thin, narrow no-break
_UNIT = r"(?:[^\W\d_]|[%‰°$€£¥])[^\s\d,;\"]{0,10}\d?"


def _numbers(decimal: str) -> re.Pattern[str]:
    marks = ("," if decimal == "." else ".") + _SPACES + "'’"
    # Groups of three after a first digit that is no 0: 0,123 has no thousands.
    whole = rf"[1-9]\d{{0,2}}(?P<mark>[{marks}])\d{{3}}(?:(?P=mark)\d{{3}})*|\d+|(?={re.escape(decimal)}\d)"
    return re.compile(
        rf"(?P<sign>[+\-−]?)(?P<before>[$€£¥]?)[{_SPACES}]?(?P<whole>{whole})(?:{re.escape(decimal)}(?P<part>\d*))?"
        rf"(?P<power>[eE][+\-]?\d+)?[{_SPACES}]?(?P<unit>{_UNIT})?"
    )


_NUMBERS = {decimal: _numbers(decimal) for decimal in ".,"}
_NO_DIGIT = re.compile(r"\D")


def number_parts(text: str, decimal: str) -> tuple[float, str] | None:
    """Number and unit of a text with this decimal mark; None if it is none. ``5%`` is 5 with the unit ``%``."""
    found = _NUMBERS[decimal].fullmatch(text)
    if found is None or (found["before"] and found["unit"]):
        return None
    whole = _NO_DIGIT.sub("", found["whole"])
    sign = "-" if found["sign"] in ("-", "−") else ""
    number = float(f"{sign}{whole or 0}.{found['part'] or 0}{found['power'] or ''}")
    return number, found["before"] or found["unit"] or ""


class NumberForm(NamedTuple):
    """Numbers as text.

    Thousands may be separated by the other mark, by spaces or by apostrophes, in groups of three.

    Attributes:
        decimal: ``.`` or ``,``.
        unit: that may stand after the number, or before it if it is a currency; empty if there is none.
    """

    decimal: str
    unit: str = ""

    def read(self, text: str) -> float | None:
        """The number in its unit, as it is written (5 for ``5%``); None for any other text."""
        # Most cells of a column are plain. An underscore is a digit's neighbour to Python, and a code in data.
        if self.decimal == "." and not self.unit and "_" not in text:
            try:
                return float(text)
            except ValueError:
                pass
        parts = number_parts(text.strip(), self.decimal)
        return parts[0] if parts is not None and parts[1] in ("", self.unit) else None

    def describe(self) -> str:
        """In words; empty if there is nothing to say."""
        mark = "decimal comma" if self.decimal == "," else ""
        return " and ".join(filter(None, (mark, f"in {self.unit}" if self.unit else "")))


def _clock(colon: str) -> str:
    return (
        rf"(?P<hour>\d{{1,2}}){colon}(?P<minute>\d{{2}})(?:{colon}(?P<second>\d{{2}})(?:[.,](?P<part>\d{{1,9}}))?)?"
        r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<zone>Z|UTC|GMT|[+\-]\d{2}(?::?\d{2})?))?"
    )


_AFTER = rf"(?:(?:,? |[T\-])(?:{_clock(':?')}))?"
_YEAR, _SHORT = r"(?P<year>\d{4})", r"(?P<year>\d{4}|\d{2})"
_MONTH, _DAY = r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
_NAME = r"(?P<name>[A-Za-zä]{3,9})\.?"
CODES = {
    "ymd": rf"(?:{_SHORT}(?P<s>[./\-]){_MONTH}(?P=s){_DAY}|(?P<Y>\d{{4}})(?P<M>\d\d)(?P<D>\d\d)){_AFTER}",
    "dmy": rf"{_DAY}(?P<s>[./\-]){_MONTH}(?P=s){_SHORT}{_AFTER}",
    "mdy": rf"{_MONTH}(?P<s>[./\-]){_DAY}(?P=s){_SHORT}{_AFTER}",
    "named": rf"(?:{_DAY}\.?[ \-/]?{_NAME}|(?P<N>[A-Za-zä]{{3,9}})\.? (?P<D>\d{{1,2}}),?)[ \-/]?{_SHORT}{_AFTER}",
    "ym": rf"{_YEAR}[/\-]{_MONTH}",
    "my": rf"{_MONTH}[/\-]{_YEAR}",
    "quarter": rf"{_YEAR}[ \-]?Q(?P<quarter>[1-4])|Q(?P<q>[1-4])[ /\-](?P<Y>\d{{4}})",
    "week": rf"{_YEAR}-?W(?P<week>\d\d)(?:-?(?P<weekday>[1-7]))?",
    "clock": _clock(":"),
}
"""Name of a form of times → what it matches; the order of year, month and day, or what else is in it."""
_PATTERNS = {code: re.compile(pattern) for code, pattern in CODES.items()}
_YEARS = range(1600, 2401)  # 1234-05 and 9001Q3 are the names of something else
_NAMES = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12, "mär": 3, "mrz": 3, "mai": 5, "okt": 10, "dez": 12,
}  # fmt: skip
_WORDS = {
    "ymd": "year, month, day", "dmy": "day, month, year", "mdy": "month, day, year", "named": "the month by its name",
    "ym": "months", "my": "months", "quarter": "quarters", "week": "weeks", "clock": "times of a day",
}  # fmt: skip


class TimeForm(NamedTuple):
    """Times as text.

    Attributes:
        code: one of `CODES`, or a format of ``strptime``, such as ``%d.%m.%Y %H:%M``.
    """

    code: str

    def read(self, text: str) -> dt.datetime | None:
        """The time (of a month, quarter or week its beginning); None for any other text."""
        if "%" in self.code:
            try:
                return dt.datetime.strptime(text.strip(), self.code)
            except ValueError:
                return None
        found = _PATTERNS[self.code].fullmatch(text.strip())
        if found is None:
            return None
        try:
            return _BUILDERS.get(self.code, _date)(found.groupdict())
        except ValueError:  # no such day
            return None

    def describe(self) -> str:
        """In words."""
        return _WORDS.get(self.code, self.code)


_Groups = dict[str, str | None]


def _date(got: _Groups) -> dt.datetime:
    year = got["year"] or got.get("Y") or ""
    month_text, day_text = got.get("month") or "", got.get("day") or ""
    # 1.2.30 is a version of something; 1/2/30 a date as spreadsheets write it.
    if len(year) == 2 and got.get("s") != "/" and len(month_text) == 1 == len(day_text):
        raise ValueError
    name = (got.get("name") or got.get("N") or "").lower()[:3]
    month = _NAMES.get(name, 0) if name else int(month_text or got.get("M") or 0)
    day = int(day_text or got.get("D") or 1)
    # As strptime has it: 69 to 99 are of the last century.
    number = int(year) if len(year) > 2 else int(year) + (1900 if int(year) > 68 else 2000)
    if number not in _YEARS:
        raise ValueError
    when = dt.datetime(number, month, day)
    return when if got.get("hour") is None else _at(when, got)


def _at(day: dt.datetime, got: _Groups) -> dt.datetime:
    hour, minute, second = (int(got[part] or 0) for part in ("hour", "minute", "second"))
    if got["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if got["half"] in "Pp" else 0)
    micro = int((got["part"] or "0").ljust(6, "0")[:6])
    late = hour == 24 and not (minute or second or micro)  # the end of a day, in many loggers
    zone, text = None, got["zone"]
    if text:
        offset = 0 if text[0] not in "+-" else int(text[1:3]) * 60 + int(text[3:].strip(":") or 0)
        zone = dt.timezone(dt.timedelta(minutes=-offset if text[0] == "-" else offset))
    when = day.replace(hour=0 if late else hour, minute=minute, second=second, microsecond=micro, tzinfo=zone)
    return when + dt.timedelta(days=1) if late else when


def _quarter(got: _Groups) -> dt.datetime:
    year, quarter = got["year"] or got["Y"] or "", got["quarter"] or got["q"] or ""
    if int(year) not in _YEARS:
        raise ValueError
    return dt.datetime(int(year), 3 * int(quarter) - 2, 1)


def _week(got: _Groups) -> dt.datetime:
    day = dt.date.fromisocalendar(int(got["year"] or 0), int(got["week"] or 0), int(got["weekday"] or 1))
    return dt.datetime(day.year, day.month, day.day)


_BUILDERS: dict[str, Callable[[_Groups], dt.datetime]] = {
    "quarter": _quarter,
    "week": _week,
    "clock": lambda got: _at(dt.datetime(1970, 1, 1), got),
}
