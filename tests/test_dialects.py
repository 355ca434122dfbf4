"""Numbers and times as people write them: found in the first rows, said in one line, read the same after a stop."""

from __future__ import annotations

import datetime as dt
import gzip
import importlib.util
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mole import OnlineRegressor, estimators, priors
from mole.cli import main
from mole.files import checkpoint
from mole.pipeline.cells import NumberForm, TimeForm, number_parts
from mole.pipeline.delimited import Layout
from mole.pipeline.detect import Decision, decide
from mole.pipeline.dialect import OLD, Dialect, TextOptions, expect_options
from mole.pipeline.run_file import SavedRun, load_run, save_run
from mole.pipeline.runner import StreamRun, StreamSettings
from mole.pipeline.sources import Row, SourceError, open_source
from mole.rows.checks import RowChecks
from mole.rows.values import NUMBER, TEXT, TIME, read_value
from stream_fakes import FakeClassifier, FakeRegressor

Mole = Callable[..., tuple[int, str, str]]
PLAIN = ["1.5", "0.25", "2", "-3.125"]
START = dt.datetime(2026, 3, 1)


@pytest.fixture
def mole(capfdbinary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mole:
    """The command with small learners, in an empty folder: its status, predictions and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimators, "OnlineRegressor", FakeRegressor)
    monkeypatch.setattr(estimators, "OnlineClassifier", FakeClassifier)

    def run(*args: Any) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        status = main([str(arg) for arg in args])
        out, err = (text.decode() for text in capfdbinary.readouterr())
        return status, out, re.sub(r"\s+", " ", err)

    return run


def decided(options: TextOptions = TextOptions(), **columns: Sequence[Any]) -> Decision:  # noqa: B008
    """What is decided about columns that repeat their cells; the target y is plain if it is not among them."""
    columns = {"y": PLAIN, **columns}
    rows = [
        Row(n, {name: cells[n % len(cells)] for name, cells in columns.items()}, "", {})
        for n in range(max(map(len, columns.values())))
    ]
    names = [name for name in columns if name != "y"]
    return decide(rows, names, "y", layout=Layout(","), options=expect_options(options))


def form(cells: Sequence[Any], **others: Sequence[Any]) -> Any:
    return decided(a=cells, **others).dialect.columns.get("a")


# --- numbers


@pytest.mark.parametrize(
    ("text", "decimal", "number", "unit"),
    [
        ("1,234.5", ".", 1234.5, ""), ("1.234,5", ",", 1234.5, ""), ("1 234,5", ",", 1234.5, ""),
        ("1\u202f234\u202f567,5", ",", 1234567.5, ""), ("1'234.50", ".", 1234.5, ""), ("-0,5", ",", -0.5, ""),
        ("+,5", ",", 0.5, ""), ("5,", ",", 5.0, ""), ("\u22121.5e-3", ".", -0.0015, ""), ("5%", ".", 5.0, "%"),
        ("5 kW", ".", 5.0, "kW"), ("5kW", ",", 5.0, "kW"),
        ("1.234,5 m³/h", ",", 1234.5, "m³/h"), ("20 °C", ".", 20.0, "°C"),
        ("$1,234.50", ".", 1234.5, "$"), ("3,20 €", ",", 3.2, "€"), ("0.123", ".", 0.123, ""),
        ("1.234", ",", 1234.0, ""),
    ],
)  # fmt: skip
def test_a_number_and_its_unit(text: str, decimal: str, number: float, unit: str) -> None:
    assert number_parts(text, decimal) == (number, unit)


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    "text", ["", ".", ",", "-", "%", "kW", "1.2.3", "1,2,3", "1 2", "12:30", "1-2", "$5 kW", "1_000", "0x1f",
     "1.23.456,"],
)  # fmt: skip
def test_what_is_no_number(text: str, decimal: str) -> None:
    assert number_parts(text, decimal) is None


def test_thousands_are_groups_of_three() -> None:
    """Otherwise 1.5 would be 15 in a column with decimal commas."""
    for text in ("1.5", "12.34", "0.123", "1234.567", "1.23,4", "1.234 567,8"):
        assert number_parts(text, ",") is None


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([".", ","]),
    st.sampled_from(["", " ", "'", "other"]),
    st.sampled_from(["", " kW", "%", " m/s2"]),
)
def test_numbers_come_back_from_every_dialect(number: float, decimal: str, mark: str, unit: str) -> None:
    mark = mark if mark != "other" else {".": ",", ",": "."}[decimal]
    text = f"{number:,.4f}"
    written = text.translate({ord(","): mark, ord("."): decimal}) + unit
    assert NumberForm(decimal, unit.strip()).read(written) == float(text.replace(",", ""))


def test_the_decimal_mark_of_a_column_is_found() -> None:
    assert form(["1,5", "2,25", "3"]) == NumberForm(",")
    assert form(["0,123", "1,234"]) == NumberForm(",")  # no thousands after a 0
    assert form(["1,234.5", "17.25"]) == NumberForm(".")
    assert form(["1,234,567", "1,234"]) == NumberForm(".")
    assert form(["1.234.567", "1.234"]) == NumberForm(",")
    assert form(["1.234,5", "7"]) == NumberForm(",")


def test_a_column_that_both_marks_fit_has_that_of_the_others() -> None:
    assert form(["1,234", "2,345"], y=["0,5"]) == NumberForm(",")
    assert form(["1,234", "2,345"], y=["0.5"]) == NumberForm(".")
    assert form(["1.234", "2.345"], y=["0,5"]) == NumberForm(",")  # thousands
    assert form(["1.234", "2.345"], y=["1", "2"]) is None  # plain numbers
    assert form(["1", "2"], y=["0,5"]) == NumberForm(",")  # what comes later has the mark of the file
    assert form(["1.5", "2.25"], y=["0,5"]) == NumberForm(".")
    with pytest.raises(
        ValueError, match=r"column 'a' holds '1,234', '2,345': a comma for .* give --decimal , or"
    ):
        form(["1,234", "2,345"], y=["1", "2"])
    for mark in ".,":
        made = decided(TextOptions(decimal=mark), a=["1,234", "2,345"], y=["1", "2"])
        assert made.dialect.columns["a"] == NumberForm(mark)
    assert "a" not in decided(TextOptions(decimal="none"), a=["1,5"]).dialect.columns


def test_a_unit_is_that_of_nearly_all_cells() -> None:
    assert form(["5 kW", "6.5 kW", "7"]) == NumberForm(".", "kW")
    assert form(["5 kW"] * 39 + ["off"]) == NumberForm(".", "kW")
    assert form(["5 kW"] * 9 + ["off"]) is None
    assert form(["5kW"]) is None  # one cell: as well the name of something
    assert form(["5 kW"]) == NumberForm(".", "kW")
    assert form(["1st", "2nd", "3rd"] * 9) is None
    made = decided(a=[f"{n} {'kW' if n % 2 else 'W'}" for n in range(40)] * 3)
    assert made.dialect.columns.keys() == {"y"}
    assert made.warnings == [
        "'a' holds numbers in several units (W, kW), such as '0 W', '1 kW', '2 W': read as words; bring them to one "
        "unit"
    ]


def test_later_cells_without_the_form_stay_what_they_are() -> None:
    dialect = Dialect(columns={"a": NumberForm(".", "kW"), "b": NumberForm(","), "t": TimeForm("dmy")})
    row = {"a": "5 W", "b": "word", "t": "2026-03-01", "c": "1,5", "n": 3}
    assert dialect.read(row) == ""
    assert row == {"a": "5 W", "b": "word", "t": "2026-03-01", "c": "1,5", "n": 3}
    rows = list(
        dialect.rows(
            iter([Row(3, {"b": "1.5"}, "", {}), Row(4, {"b": "1.500"}, "", {}), Row(5, None, "x", {})])
        )
    )
    assert rows[0].problem == "column 'b' is '1.5', expected a number with a decimal comma"
    assert rows[0].values is None
    assert rows[1].values == {"b": 1500.0}
    assert rows[2] == Row(5, None, "x", {})
    plain = Dialect(columns={"a": NumberForm(".")})
    values = {"a": "nan"}
    assert plain.read(values) == "" and values == {"a": "nan"}  # missing, as before


# --- times

FORMATS = {
    "%d.%m.%Y %H:%M": "dmy", "%d/%m/%y %H:%M:%S": "dmy", "%m/%d/%Y %I:%M %p": "mdy", "%m-%d-%Y": "mdy",
    "%Y.%m.%d": "ymd",
    "%Y/%m/%d %H:%M": "", "%Y%m%dT%H%M%S": "", "%Y-%m-%d %H:%M:%S UTC": "", "%Y-%m-%dT%H:%M:%S.%f+01:00": "",
    "%d %b %Y": "named", "%B %d, %Y %H:%M": "named", "%d-%b-%y": "named", "%Y-%m": "ym", "%m/%Y": "my", "%Y%m%d": "ymd",
    "%G-W%V": "week", "%H:%M:%S": "clock",
}  # fmt: skip


@pytest.mark.parametrize(("written", "code"), list(FORMATS.items()))
def test_every_format_of_times_is_found_and_read(written: str, code: str) -> None:
    times = [START + dt.timedelta(hours=31 * k) for k in range(60)]
    cells = [when.strftime(written) for when in times]
    made = decided(when=cells)
    assert made.dialect.columns.get("when") == (TimeForm(code) if code else None)
    for when, cell in zip(times, cells, strict=True):
        values: dict[str, Any] = {"when": cell}
        made.dialect.read(values)
        kind, got = read_value(values["when"])
        assert kind == TIME
        week = written == "%G-W%V"
        text = cell + "-1" if week else cell
        expected = dt.datetime.strptime(text, "%G-W%V-%u" if week else written)
        expected = expected.replace(year=1970) if code == "clock" else expected
        assert got.replace(tzinfo=None) == expected.replace(tzinfo=None), when


@given(
    st.datetimes(dt.datetime(1969, 1, 1), dt.datetime(2068, 12, 31)),
    st.sampled_from(sorted(FORMATS, key=str)),
    st.sampled_from(["", "Z", " UTC", "+02:00", "-0330"]),
)
def test_times_come_back_from_every_format(when: dt.datetime, written: str, zone: str) -> None:
    code = FORMATS[written]
    if not code or "W" in written:
        return
    cell = when.strftime(written) + (zone if "%M" in written else "")
    got = TimeForm(code).read(cell)
    assert got is not None
    expected = dt.datetime.strptime(when.strftime(written), written)
    expected = expected.replace(year=1970) if code == "clock" else expected
    assert got.replace(tzinfo=None) == expected
    minutes = {"": None, "Z": 0, " UTC": 0, "+02:00": 120, "-0330": -210}[zone if "%M" in written else ""]
    assert got.utcoffset() == (None if minutes is None else dt.timedelta(minutes=minutes))


def test_quarters_and_the_end_of_a_day() -> None:
    for cell in ("2000Q3", "2000-Q3", "2000 Q3", "Q3 2000", "Q3/2000"):
        assert TimeForm("quarter").read(cell) == dt.datetime(2000, 7, 1)
    assert form(["2000Q1", "2000Q2"]) == TimeForm("quarter")
    assert TimeForm("dmy").read("31.12.2026 24:00") == dt.datetime(2027, 1, 1)
    assert TimeForm("dmy").read("31.12.2026 24:01") is None
    assert (
        TimeForm("named").read("3. März 2026")
        == TimeForm("named").read("3 Mar 2026")
        == dt.datetime(2026, 3, 3)
    )


def test_a_day_that_may_be_a_month_is_refused_unless_a_row_tells() -> None:
    assert form(["03/01/2026", "03/13/2026"]) == TimeForm("mdy")
    assert form(["03/01/2026", "13/01/2026"]) == TimeForm("dmy")
    assert form(["03.01.2026", "03.02.2026"]) == TimeForm("dmy")  # with points the day comes first
    assert form(["03.01.2026", "03.13.2026"]) == TimeForm("mdy")
    for cell in ("03/01/2026", "03-01-2026 12:00", "3/1/26", "03/01/2026 10:00:00.5"):
        with pytest.raises(
            ValueError, match=r"column 'a' holds '.*day, month, year or month, day, year, .*--date-format"
        ):
            form([cell])
    for code in ("dmy", "mdy", "%d/%m/%Y"):
        made = decided(TextOptions(dates=(f"a={code}",)), a=["03/01/2026"], b=["2026-03"])
        assert made.dialect.columns["a"] == TimeForm(code)
        assert made.dialect.columns["b"] == TimeForm("ym")
        assert decided(TextOptions(dates=(code,)), a=["03/01/2026"]).dialect.columns["a"] == TimeForm(code)
    with pytest.raises(
        ValueError, match=r"got --date-format a=ymd, and 'a' holds '03/01/2026'; expected a form"
    ):
        decided(TextOptions(dates=("a=ymd",)), a=["03/01/2026"])
    with pytest.raises(ValueError, match="got --date-format ymd, and no column has this form; leave"):
        decided(TextOptions(dates=("ymd",)), a=["03/01/2026"])
    with pytest.raises(ValueError, match="and 'z' is none of the columns in use"):
        decided(TextOptions(dates=("z=dmy",)), a=["03/01/2026"])
    assert "a" not in decided(TextOptions(dates=("none",)), a=["2000Q1"]).dialect.columns
    assert "a" not in decided(TextOptions(dates=("a=none",)), a=["03/01/2026"]).dialect.columns


def test_what_is_no_time() -> None:
    for cells in (
        ["1.2.30", "1.2.31"], ["10.0.0.1"], ["1234-05"], ["9001Q3"], ["31.02.2026"], ["20261301T000000"],
        ["2026-02-31"],
        ["sep 30 rows"], ["25:00"], ["20260301"] * 30, ["12345678", "20260301"] * 20, ["13:00 PM"],
    ):  # fmt: skip
        assert not isinstance(form(cells), TimeForm), cells
    days = [(START + dt.timedelta(days=k)).strftime("%Y%m%d") for k in range(30)]
    assert form(days) == TimeForm("ymd")
    assert not isinstance(form(days[:9]), TimeForm)  # too few to be sure


def test_plain_values_of_version_0_1_stay_as_they_were() -> None:
    for text, kind in (
        ("2024-01-31", TIME), ("2024-01-31T12:00:00Z", TIME), ("20240131", NUMBER), ("2024-02-31", TEXT),
        ("1_000", TEXT),
        ("2024-01", TEXT), ("2024Q1", TEXT), ("1,5", TEXT), ("5%", TEXT), ("12:30", TEXT), ("01.03.2026", TEXT),
        ("inf", NUMBER),
    ):  # fmt: skip
        assert read_value(text)[0] == kind, text
    noon = dt.datetime(2026, 3, 1, 12)
    assert read_value("2026/03/01 12:00") == (TIME, noon)
    assert read_value("20260301T1200") == read_value("20260301T120000") == (TIME, noon)
    for text in ("2026-03-01 12:00:00 UTC", "2026/03/01 12:00 GMT", "20260301T120000Z"):
        assert read_value(text) == (TIME, noon.replace(tzinfo=dt.UTC))


def test_a_slip_among_times_is_told() -> None:
    """A number in the place of a time would stretch the span of the column to 1970."""
    checks = RowChecks("y", None, classify=False)
    for hour in range(40):
        assert not checks.check({"t": START + dt.timedelta(hours=hour), "y": 1}).problem
    for slip in ("0", "soon", True):
        checked = checks.check({"t": slip, "y": 1})
        assert checked.problem == "no time in a time column"
        assert checked.x is None
    assert not checks.check({"t": None, "y": 1, "a": 1}).problem


# --- the target


def test_no_classification_of_what_is_meant_as_numbers() -> None:
    assert decided(a=["1"], y=["5%", "7,5%"]).kind == "regression"
    assert decided(a=["1"], y=["5kW"]).kind == "regression"
    assert decided(a=["1"], y=["cat", "dog"]).kind is None
    assert decided(a=["1"], y=["oops", *map(str, range(60))]).kind == "regression"
    assert decided(a=["1"], y=["1", "2"]).kind == "regression"
    for cells, message in (
        (["3a", "4b", "5c"], "numbers in no form that is known"),
        (["5 kW", "5000 W"], "or in several units"),
        (["2026-03-01", "2026-03-02"], "times, such as"),
        (["2000Q1"], "times, such as"),
    ):
        with pytest.raises(
            ValueError, match=rf"target 'y' holds .*{message}.* give --task classification if"
        ):
            decided(a=["1"], y=cells)
    rows = [Row(1, {"a": "1", "y": "5%"}, "", {})]
    made = decide(rows, ["a"], "y", layout=Layout(), classify=True)
    assert (made.kind, dict(made.dialect.columns)) == ("classification", {})


def test_an_identifier_is_told() -> None:
    made = decided(a=[f"u{n}" for n in range(60)], b=["red", "blue"])
    assert [text[:54] for text in made.warnings] == ["nearly all words of 'a' are different, such as 'u0', '"]
    assert decided(a=[f"u{n % 30}" for n in range(60)]).warnings == []


# --- files


def text_of(head: str, cells: Callable[[float], str], sep: str = ",", rows: int = 60) -> str:
    rng = np.random.default_rng(12)
    x = rng.normal(size=(rows, 2)).round(3)
    y = (2 * x[:, 0] - x[:, 1] + 0.05 * rng.normal(size=rows)).round(3)
    return head + "".join(
        f"{cells(a)}{sep}{cells(b)}{sep}{cells(c)}\n" for (a, b), c in zip(x, y, strict=True)
    )


DIALECTS: dict[str, tuple[str, str]] = {
    "decimal comma": (text_of("a;b;y\n", lambda v: f"{v}".replace(".", ","), ";"),
                      "cells between semicolons; 'a', 'b', 'y': decimal comma"),
    "unit": (text_of("a,b,y\n", lambda v: f"{v} kW"), "'a', 'b', 'y': in kW"),
    "per cent": (text_of("a\tb\ty\n", lambda v: f"{v}%", "\t"), "cells between tabs; 'a', 'b', 'y': in %"),
    "quoted": (text_of("a,b,y\n", lambda v: f'"{v}"'.replace(".", ",")), "'a', 'b', 'y': decimal comma"),
    "names with commas": (text_of("a;b;y\n", lambda v: f"{v}", ";"), "cells between semicolons"),
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
def test_a_stream_in_any_dialect_is_the_plain_one(mole: Mole, name: str) -> None:
    content, said = DIALECTS[name]
    Path("plain.csv").write_text(text_of("a,b,y\n", str))
    Path("data.csv").write_text(content)
    _, plain, quiet = mole("stream", "plain.csv", "--target", "y")
    assert "plain.csv" not in quiet
    status, out, err = mole("stream", "data.csv", "--target", "y")
    assert (status, out) == (0, plain)
    assert f"data.csv: {said} 60 rows, 60 learned, 0 bad" in err


def test_the_errors_of_the_stream_are_those_of_plain_numbers() -> None:
    """Decimal commas were 2.9 as inputs, and labels as targets; times with the day first .57."""
    text = text_of("", lambda v: f"{v}".replace(".", ","), ";", 300)
    rows = [line.split(";") for line in text.splitlines()]
    made = decided(a=[a for a, _, _ in rows], b=[b for _, b, _ in rows], y=[y for _, _, y in rows])
    assert rmse(made, [{"a": a, "b": b, "y": y} for a, b, y in rows]) < 0.07
    rng = np.random.default_rng(13)
    times = [START + dt.timedelta(hours=k) for k in range(600)]
    values = [3 * math.sin(2 * math.pi * when.hour / 24) + 0.1 * rng.normal() for when in times]
    stream = [{"when": f"{t:%d.%m.%Y %H:%M}", "y": f"{y:.4f}"} for t, y in zip(times, values, strict=True)]
    made = decided(when=[row["when"] for row in stream], y=[row["y"] for row in stream])
    assert rmse(made, stream) < 0.13


def rmse(made: Decision, stream: list[dict[str, Any]]) -> float:
    """Of the last 200 rows."""
    run = StreamRun(StreamSettings("y", "regression"), OnlineRegressor())
    rows = made.dialect.rows(iter(Row(n, dict(values), "", {}) for n, values in enumerate(stream)))
    losses = [run.step(row).loss for row in rows]
    return math.sqrt(np.mean([loss for loss in losses[-200:] if loss is not None]))


def test_packed_files_and_other_encodings_hold_the_same_rows(mole: Mole) -> None:
    text = "größe;y\n" + "".join(f"{k % 7},5;{k}\n" for k in range(60))
    Path("data.csv").write_text(text, encoding="utf-8")
    _, plain, _ = mole("stream", "data.csv", "--target", "y")
    files = {
        "a.csv.gz": gzip.compress(text.encode()), "b.csv": text.encode("utf-16"),
        "c.csv.gz": gzip.compress(text.encode("utf-16")),
        "d.csv": b"\xef\xbb\xbf" + text.encode(),
    }  # fmt: skip
    for name, content in files.items():
        Path(name).write_bytes(content)
        assert mole("stream", name, "--target", "y")[:2] == (0, plain), name
    for encoding in ("latin-1", "cp1252", "utf-16-le"):
        Path("e.csv").write_bytes(text.encode(encoding))
        assert mole("stream", "e.csv", "--target", "y")[0] == 2
        assert mole("stream", "e.csv", "--target", "y", "--encoding", encoding)[:2] == (0, plain)


def test_a_byte_that_its_encoding_lacks_costs_one_row(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,y\n\xe9,1\n\x81,2\nb,3\n")
    with open_source(path, layout=Layout(encoding="cp1252")) as source:
        rows = list(source)
    assert [row.values and row.values["a"] for row in rows] == ["é", None, "b"]
    assert "0xff" not in rows[0].problem
    assert rows[1].problem == "is not UTF-8 (byte 0xff)"


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_packed_files_that_are_damaged_are_told(tmp_path: Path, suffix: str) -> None:
    pack: Any = gzip
    if suffix == "zst":
        pack = pytest.importorskip("zstandard", reason="the extra 'zstd' is not installed")
    path = tmp_path / f"data.csv.{suffix}"
    content = b"a,y\n" + b"".join(b"%d,%d\n" % (k * k, k) for k in range(3000))
    whole = pack.compress(content[:1000]) + pack.compress(content[1000:])  # two after one another
    path.write_bytes(whole)
    with open_source(path) as source:
        rows = list(source)
    assert [row.values for row in rows][-1] == {"a": str(2999**2), "y": "2999"}
    assert len(rows) == 3000
    with open_source(path, position=json.loads(json.dumps(rows[2000].position))) as source:
        assert list(source) == rows[2001:]
    for damaged in (whole[:-40], b"a,y\n1,2\n", whole[: len(whole) // 2] + bytes(100)):
        path.write_bytes(damaged)
        with (
            pytest.raises(
                SourceError, match=r"data\.csv\.\w+ is damaged or cut off after [\d,]+ unpacked bytes"
            ),
            open_source(path) as source,
        ):
            list(source)


@pytest.mark.skipif(importlib.util.find_spec("zstandard") is not None, reason="zstandard is installed")
def test_without_zstandard_it_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "data.csv.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(
        SourceError, match=r"needs zstandard. Install it with: pip install 'mole-online\[zstd\]'"
    ):
        open_source(path)


@pytest.mark.parametrize(
    ("content", "options", "columns", "rows"),
    [
        ("# made\n# today\na,y\n1,2\n", {}, ("a", "y"), 1),
        ("# a,y\n1,2\n3,4\n", {}, ("a", "y"), 2),
        ("#a\ty\n1,5\t2\n", {}, ("a", "y"), 1),
        ("# a,b\nb,y\n1,2\n", {}, ("b", "y"), 1),
        ("a,y\n1,2\n#3,4\n", {}, ("a", "y"), 2),
        ("a,y\n1,2\n#3,4\n", {"comment": "#"}, ("a", "y"), 1),
        ("//x\na,y\n//y\n1,2\n", {"comment": "//"}, ("a", "y"), 1),
        ("#a,y\n1,2\n", {"comment": ""}, ("#a", "y"), 1),
        ("Power, kW;Temp, C;y\n1,5;2,5;3\n1;2;3\n", {}, ("Power, kW", "Temp, C", "y"), 2),
        ("a;b|y\n1;2|3\n1;2|3\n", {"separator": "|"}, ("a;b", "y"), 2),
        ("y\n1,5\n2,5\n", {}, ("y",), 2),
    ],
)
def test_comments_and_separators(
    tmp_path: Path, content: str, options: dict[str, Any], columns: tuple[str, ...], rows: int
) -> None:
    path = tmp_path / "data.csv"
    path.write_text(content)
    with open_source(path, layout=Layout(**options)) as source:
        found = list(source)
        assert source.columns == columns
    assert [row.problem for row in found] == [""] * rows
    for place, row in enumerate(found):
        with open_source(path, layout=source.layout, position=row.position) as again:
            assert list(again) == found[place + 1 :]


def test_json_lines_are_read_so_too(mole: Mole) -> None:
    lines = [
        json.dumps({"a": f"{k % 5},5", "b": k, "when": f"{k % 28 + 1}.03.2026", "y": f"{k}%"})
        for k in range(60)
    ]
    Path("data.jsonl").write_text("\n".join(lines))
    status, out, err = mole("stream", "data.jsonl", "--target", "y")
    assert status == 0
    assert "data.jsonl: 'a': decimal comma; 'when': day, month, year; 'y': decimal comma and in %" in err
    assert "60 rows, 60 learned, 0 bad" in err
    assert out.splitlines()[5].split(",")[4] == "4"


def test_parquet_is_read_so_too(mole: Mole) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"a": [f"{k},5" for k in range(40)], "y": [f"{k}.5 kW" for k in range(40)]}), "data.parquet"
    )
    status, _, err = mole("stream", "data.parquet", "--target", "y")
    assert status == 0
    assert "data.parquet: 'a': decimal comma; 'y': in kW 40 rows, 40 learned" in err


BAD = {
    "mixed separators": ("a;b;y\n" + "1,2,3\n" * 9,
                         r"none of the first 9 rows .* has 1 columns, expected 3; cells are divided at ';'"),
    "a cell too many": ("a,b,y\n" + "1,2,3,4\n" * 9,
                        r"has 4 columns, expected 3; cells are divided at ',': give --sep"),
    "unquoted commas": ("a,y\n" + "1,5,2,5\n" * 9, r"line 2 has 4 columns, expected 2; .* quote cells that hold it"),
    "a header alone": ("a,y\n", "got no row after the header"),
    "ambiguous": ("when,y\n03/01/2026,1\n",
                  r"data.csv: column 'when' holds '03/01/2026': .* give --date-format dmy or mdy"),
    "units": ("a,y\n1,5 kW\n1,5000 W\n", r"target 'y' holds '5 kW', '5000 W', which are numbers in no form"),
    "binary": ("a\0\1,y\n1,2\n", "its header has zero bytes, so that it is binary"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_read_is_one_clear_line(mole: Mole, name: str) -> None:
    content, message = BAD[name]
    Path("data.csv").write_text(content)
    status, _, err = mole("stream", "data.csv", "--target", "y")
    assert status == 2
    assert re.search(message, err), err
    assert err.count("error:") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sep", "ab"], "got --sep 'ab', expected one character"),
        (["--decimal", ";"], "got --decimal ';', expected a point, a comma or none"),
        (["--date-format", "xyz"], "got --date-format xyz, expected ymd, dmy, mdy,"),
        (["--encoding", "klingon"], "got --encoding 'klingon', expected the name of an encoding, such as utf-8"),
        (["--comment", "x" * 9], "got --comment 'xxxxxxxxx', expected one character or a few"),
    ],
)  # fmt: skip
def test_wrong_options_are_told(mole: Mole, options: list[str], message: str) -> None:
    Path("data.csv").write_text("a,y\n1,2\n")
    for command in ("stream", "fit-prior"):
        status, _, err = mole(command, "data.csv", "--target", "y", *options)
        assert status == 2
        assert message in err
    Path("data.csv").unlink()
    Path("data.csv").mkdir()
    assert "data.csv is a folder; expected a file" in mole("stream", "data.csv", "--target", "y")[2]


def test_rows_in_another_encoding_are_told(mole: Mole) -> None:
    text = "".join(f"{'é' if k % 4 == 0 else 'e'},{k}\n" for k in range(40))
    Path("data.csv").write_bytes(b"a,y\n" + text.encode("latin-1"))
    _, _, err = mole("stream", "data.csv", "--target", "y")
    assert (
        "10 of the first 40 rows are not UTF-8 and left out; give --encoding, such as latin-1 or cp1252"
        in err
    )
    assert "40 learned, 0 bad" in mole("stream", "data.csv", "--target", "y", "--encoding", "latin-1")[2]


# --- going on


def german(rows: int, month: int = 3) -> str:
    return "when;a;y\n" + "".join(f"{k % 28 + 1:02d}/0{month}/2026;{k},5;{k % 9},25\n" for k in range(rows))


def test_a_run_goes_on_as_it_began(mole: Mole) -> None:
    Path("data.csv").write_text(german(80))
    _, whole, _ = mole("stream", "data.csv", "--target", "y")
    lines = german(80).splitlines(keepends=True)
    Path("data.csv").write_text("".join(lines[:41]))
    args = ("stream", "data.csv", "--target", "y", "--checkpoint", "c.mole", "--resume")
    _, first, _ = mole(*args)
    Path("data.csv").write_text("".join(lines))
    status, second, err = mole(*args)
    assert (status, first + second) == (0, whole)
    assert "data.csv: cells between semicolons; 'when': day, month, year; 'a', 'y': decimal comma" in err
    stored = checkpoint.read_header("c.mole").config["dialect"]
    assert Dialect.from_json(stored).columns == {
        "when": TimeForm("dmy"),
        "a": NumberForm(","),
        "y": NumberForm(","),
    }
    status, _, err = mole(*args, "--decimal", ".")
    assert status == 2
    assert "c.mole was written with other options: --decimal not given, now '.'. Go on with the same" in err


def test_a_new_input_is_read_as_before_where_that_fits(mole: Mole) -> None:
    Path("data.csv").write_text(german(40))
    args = ("--target", "y", "--checkpoint", "c.mole")
    assert mole("stream", "data.csv", *args)[0] == 0
    Path("short.csv").write_text('when,a,y\n01/04/2026,7.5,"1,5"\n')  # alone it would be ambiguous
    status, out, err = mole("stream", "short.csv", *args, "--resume", "--new-input")
    assert status == 0
    assert "short.csv: 'when': day, month, year; 'y': decimal comma" in err
    assert out.splitlines()[0].split(",")[4] == "1.5"
    Path("other.csv").write_text("when,a,y\n14/04/2026,7.5 kW,1\n15/04/2026,7.6 kW,1\n")
    status, _, err = mole("stream", "other.csv", *args, "--resume", "--new-input")
    assert status == 2
    assert "column 'a' is in kW, and was in plain numbers in the input before; bring both to one unit" in err


def test_a_run_of_version_0_1_reads_as_it_did(tmp_path: Path) -> None:
    settings = StreamSettings("y", "regression")
    path = tmp_path / "c.mole"
    save_run(path, SavedRun(StreamRun(settings, FakeRegressor()), {}, None, 0))
    header = checkpoint.read_header(path)
    arrays = checkpoint.load(path, {"estimator": np.empty(header.arrays_nbytes, np.uint8)}, kind="stream-run")
    config = {name: value for name, value in header.config.items() if name != "dialect"}
    checkpoint.save(path, arrays, kind="stream-run", config=config)
    assert load_run(path, settings, FakeRegressor.load).dialect == OLD
    damaged = [
        {**OLD.to_json(), "columns": {"a": form}}
        for form in (["number", "x", ""], ["time", "x"], ["time"], 1)
    ]
    for wrong in ({}, [], {"layout": [1]}, *damaged):
        checkpoint.save(path, arrays, kind="stream-run", config={**config, "dialect": wrong})
        with pytest.raises(checkpoint.CheckpointError, match="is damaged"):
            load_run(path, settings, FakeRegressor.load)


def test_a_dialect_is_plain_json() -> None:
    options = TextOptions(";", ",", ("dmy", "a=%d"), "latin-1", "#")
    made = Dialect(Layout(";", "latin-1", "#"), {"a": NumberForm(",", "kW"), "b": TimeForm("%d.%m")}, options)
    assert Dialect.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_fit_prior_reads_each_file_in_its_own_dialect(mole: Mole, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    monkeypatch.setattr(priors, "fit_prior", lambda trajectories, **settings: got.append(trajectories))
    monkeypatch.setattr(priors, "save_prior", lambda path, prior, provenance: None)
    Path("one.csv").write_text(german(60))
    Path("two.csv.gz").write_bytes(gzip.compress(b"when,a,y\n01/04/2026,1.5,2.5\n02/04/2026,2.5,3.5\n"))
    status, out, _ = mole("fit-prior", "one.csv", "two.csv.gz", "--target", "y")
    assert status == 0
    assert "one.csv: cells between semicolons; 'when': day, month, year; 'a', 'y': decimal comma" in out
    first, second = got[0]
    assert first.y[:3, 0].tolist() == [0.25, 1.25, 2.25]
    assert second.y[:, 0].tolist() == [2.5, 3.5]
    assert [1.5, 2.5] in second.x.T.tolist()
