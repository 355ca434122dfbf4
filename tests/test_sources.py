"""Sources of rows: every bad row is told with its line and reason, memory is bounded, and reading goes on anywhere."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mole.pipeline.sources import Row, SourceError, open_source

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def read(path: Any, **settings: Any) -> list[Row]:
    with open_source(path, **settings) as source:
        return list(source)


def seen(rows: list[Row]) -> list[tuple[int, Any]]:
    return [(row.line, row.problem or dict(row.values or {})) for row in rows]


# --- CSV


def test_rows_are_dicts_of_text_with_their_lines(write: Write) -> None:
    path = write("\ufeffa, b ,c\r\n1,2,x\r\n\r\n 3,,'y'\n4,5,6")
    assert seen(read(path)) == [
        (2, {"a": "1", "b": "2", "c": "x"}),
        (4, {"a": " 3", "b": "", "c": "'y'"}),
        (5, {"a": "4", "b": "5", "c": "6"}),
    ]
    with open_source(path) as source:
        assert source.columns == ("a", "b", "c")
        assert source.name == str(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_headers(write: Write, delimiter: str) -> None:
    path = write(delimiter.join("abc") + "\n" + delimiter.join("123") + "\n", "data.tsv")
    assert seen(read(path)) == [(2, {"a": "1", "b": "2", "c": "3"})]


def test_columns_without_a_name_get_one(write: Write) -> None:
    assert seen(read(write(",a\n0,1\n"))) == [(2, {"column1": "0", "a": "1"})]


def test_quoted_fields_hold_delimiters_quotes_and_line_ends(write: Write) -> None:
    path = write('a,b\n"x,""y""\nz",1\n5" pipe,2\n')
    assert seen(read(path)) == [(2, {"a": 'x,"y"\nz', "b": "1"}), (4, {"a": '5" pipe', "b": "2"})]


def test_a_stray_quote_costs_one_row(write: Write) -> None:
    for good in (1, 150):  # the quote is stopped by the end of the file, or by the limit of lines
        rows = read(write('a,b\n1,2\n3,"4\n' + "5,6\n" * good))
        assert seen(rows)[:3] == [
            (2, {"a": "1", "b": "2"}),
            (3, "a quote is opened and not closed"),
            (4, {"a": "5", "b": "6"}),
        ]
        assert len(rows) == 2 + good


def test_bad_rows_are_told_and_the_others_are_read(write: Write) -> None:
    path = write(b'a,b\n1,2\n1,2,3\n1\n\xe9,2\n"x"y,2\n' + b"9" * 200 + b",1\n7,8\n")
    assert seen(read(path, longest=100)) == [
        (2, {"a": "1", "b": "2"}),
        (3, "has 3 columns, expected 2"),
        (4, "has 1 columns, expected 2"),
        (5, "is not UTF-8 (byte 0xe9)"),
        (6, "is no CSV: ',' expected after '\"'"),
        (7, "is longer than 100 bytes"),
        (8, {"a": "7", "b": "8"}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a header"),
        ("a,b\n1,2\n".encode("utf-16-le"), "its header has zero bytes, .* give --encoding utf-16-le"),
        (b"a,\xe9\n1,2\n", "its header is not UTF-8; expected the names"),
        (b"a,b,a\n1,2,3\n", "columns of the same name: a; rename them"),
        (b'"a,b\n', "its header a quote is opened and not closed; expected the names"),
    ],
)
def test_a_header_that_cannot_be_used_ends_it(write: Write, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(write(content))


# --- JSON Lines


def test_json_lines(write: Write) -> None:
    path = write(
        '{"a": 1, "b": "x"}\n\n{"a": null, "c": true}\n{"a": }\n[1, 2]\n\xe9\n' + "[" * 5000 + "\n"
        '{"a": ' + "1" * 200 + "}\n"
        '{"a": NaN}',
        "data.jsonl",
    )
    path.write_bytes(path.read_bytes().replace("\xe9".encode(), b"\xff"))
    rows = seen(read(path, longest=10_000))
    assert rows[:2] == [(1, {"a": 1, "b": "x"}), (3, {"a": None, "c": True})]
    assert rows[2][0] == 4
    assert rows[2][1].startswith("is no JSON: Expecting value")
    assert rows[3:5] == [
        (5, 'holds a list, expected an object such as {"a": 1}'),
        (6, "is not UTF-8 (byte 0xff)"),
    ]
    assert rows[5][1].startswith("is no JSON: ")
    assert rows[6] == (8, {"a": int("1" * 200)})
    assert rows[7][1]["a"] != rows[7][1]["a"]


def test_a_line_beyond_the_limit_is_never_held(write: Write) -> None:
    path = write(b'{"a": 1}\n{"a": "' + b"x" * 20_000_000 + b'"}\n{"a": 2}\n', "data.jsonl")
    tracemalloc.start()
    rows = seen(read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [(1, {"a": 1}), (2, "is longer than 1,048,576 bytes"), (3, {"a": 2})]
    assert peak < 4_000_000


# --- going on


def test_reading_goes_on_after_any_row(write: Write) -> None:
    csv = '\ufeffa,b\n1,2\n"x\ny",3\nbad\n\n4,"5\n6,7\n8,9'
    lines = '{"a": 1}\nbad\n{"a": 2}\n'
    for path in (write(csv), write(lines, "data.jsonl")):
        whole = read(path)
        for place, row in enumerate(whole):
            position = json.loads(json.dumps(row.position))
            assert read(path, position=position) == whole[place + 1 :]
        # and where the file grew
        path.write_bytes(path.read_bytes() + b"\n10,11\n")
        assert len(read(path, position=whole[-1].position)) == 1


def test_an_input_that_changed_before_the_position_is_refused(write: Write) -> None:
    path = write("a,b\n1,2\n3,4\n5,6\n")
    position = read(path)[1].position
    for content in ("a,b\n1,2\n3,9\n5,6\n", "a,b\n1,2\n", "a,c\n1,2\n3,4\n5,6\n"):
        write(content)
        with pytest.raises(
            SourceError, match=r"does not begin as it did .* \(up to byte 12\); give the same"
        ):
            read(path, position=position)
    with pytest.raises(
        SourceError, match="is of another format than the input of the checkpoint; give the same"
    ):
        read(path, position={"row": 2, "shape": [3, ["a", "b"]]})


@given(st.binary(max_size=60))
@settings(max_examples=150)
def test_any_bytes_are_rows_or_problems(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, head in (("d.csv", b"a,b\n"), ("d.jsonl", b"")):
            path = Path(folder) / name
            path.write_bytes(head + content)
            rows = read(path, longest=40)
            for place, row in enumerate(rows):
                assert (row.values is None) == bool(row.problem)
                assert read(path, longest=40, position=row.position) == rows[place + 1 :]


# --- standard input


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The writing end of a pipe that is standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as end:
        monkeypatch.setattr(sys, "stdin", file)
        yield end


def test_rows_of_a_pipe_come_as_its_lines_do(pipe: Any) -> None:
    pipe.write(b"a,b\n")
    with open_source("-") as source:
        for number in range(3):
            pipe.write(b"%d,x\n" % number)  # nothing more is written until this row has come
            assert dict(next(source).values or {}) == {"a": str(number), "b": "x"}
        pipe.close()
        assert list(source) == []
    assert source.name == "standard input"


def test_json_from_a_pipe_is_known_by_its_first_byte(pipe: Any) -> None:
    pipe.write(b'{"a": 1}\n')
    with open_source("-") as source:
        assert dict(next(source).values or {}) == {"a": 1}


def test_a_pipe_that_is_given_again_goes_on(pipe: Any, write: Write) -> None:
    content = b"a,b\n1,2\n3,4\n5,6\n"
    position = read(write(content))[1].position
    pipe.write(content)
    with open_source("-", position=position) as source:
        assert dict(next(source).values or {}) == {"a": "5", "b": "6"}


# --- formats


def test_an_unknown_format_is_refused(write: Write) -> None:
    with pytest.raises(SourceError, match=r"data\.xls of format None, expected one of csv, jsonl, parquet"):
        open_source(write("", "data.xls"))
    assert seen(read(write("a\n1\n", "data.xls"), form="csv")) == [(2, {"a": "1"})]
    with pytest.raises(SourceError, match="standard input cannot be Parquet"):
        open_source("-", form="parquet")
    with pytest.raises(FileNotFoundError, match=r"no file at none\.csv: check the path, or give -"):
        open_source("none.csv")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_without_pyarrow_parquet_says_what_to_install(write: Write) -> None:
    with pytest.raises(SourceError, match=r"need pyarrow, .* pip install 'mole-online\[parquet\]'"):
        open_source(write(b"", "data.parquet"))


def test_parquet_by_batches_and_from_any_row(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    import datetime as dt

    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    days = [dt.datetime(2024, 1, 1) + dt.timedelta(days=i) for i in range(1300)]
    table = pa.table({"a": range(1300), "b": [None, "x"] * 650, "t": days})
    pq.write_table(table, path, row_group_size=400)
    rows = read(path)
    assert [row.values["a"] for row in rows if row.values] == list(range(1300))
    assert dict(rows[7].values or {}) == {"a": 7, "b": "x", "t": days[7]}
    for place in (0, 399, 400, 401, 1200, 1299):
        position = json.loads(json.dumps(rows[place].position))
        assert read(path, position=position) == rows[place + 1 :]
    pq.write_table(table.slice(1), path)
    with pytest.raises(ValueError, match=r"not the file of the checkpoint \(1,299 rows, expected 1,300"):
        read(path, position=rows[0].position)
    with pytest.raises(
        ValueError, match="is of another format than the input of the checkpoint; give the same"
    ):
        read(path, position={"line": 2, "bytes": 8, "checksum": 0})
    path.write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="is no Parquet file, or damaged"):
        read(path)
    pq.write_table(pa.table({"column_x": [1.0]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"column_x", b"\xffolumn_x"))
    with pytest.raises(ValueError, match=r"is no Parquet file, or damaged .'utf-8' codec"):
        read(path)
    with pytest.raises(FileNotFoundError, match="no file at"):
        read(tmp_path / "none.parquet")


def test_parquet_is_bounded(tmp_path: Path) -> None:
    """A text that every row names, lists of any length, columns without end: small files, large rows."""
    pa = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    long = pa.DictionaryArray.from_arrays([0] * 600, ["x" * (3 << 20)])
    pq.write_table(pa.table({"a": long}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    with pytest.raises(
        ValueError, match=r"column 'a' has a text of 3,145,728 bytes, expected at most 1,048,576"
    ):
        read(path)
    pq.write_table(pa.table({"a": [[1, 2], []], "b": [1, 2]}), path)
    with pytest.raises(ValueError, match=r"has lists or structures in \['a'\], expected single values"):
        read(path)
    pq.write_table(pa.table({f"c{i}": [1] for i in range(10_001)}), path)
    with pytest.raises(ValueError, match=r"has 10,001 columns, expected at most 10,000"):
        read(path)
    pq.write_table(pa.table({"a": range(1000)}), path, compression="none", use_dictionary=False)
    raw = bytearray(path.read_bytes())
    raw[4:20] = b"\xff" * 16
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"is damaged after row 0 \(.*\): restore it from a copy"):
        read(path)
