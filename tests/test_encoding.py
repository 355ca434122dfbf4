"""Raw rows as finite vectors: kinds, missing values, wide ranges, categories, times, and what comes late."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mole.rows.encoding import RowEncoder, Schema, as_row


def watched(rows: Any, **settings: Any) -> RowEncoder:
    encoder = RowEncoder(**settings)
    for row in rows:
        encoder.observe(row)
    return encoder


def column(values: Any, **settings: Any) -> Schema:
    return watched(({"a": value} for value in values), **settings).schema()


def encoded(schema: Schema, value: Any) -> dict[str, float]:
    return dict(zip(schema.names, schema.encode({"a": value}).tolist(), strict=True))


# --- kinds


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        ([1, 2.5, -3], "number", ["a"]),
        (["1", " 2.5 ", "-3e2", "+.5"], "number", ["a"]),
        ([np.float32(1), np.int8(2), Decimal("3.5"), Fraction(1, 2), True], "number", ["a"]),
        ([True, False], "boolean", ["a"]),
        (["true", "False", np.True_], "boolean", ["a"]),
        (["red", "red", "blue", "blue"], "category", ["a=red", "a=blue", "a (unseen)"]),
        ([1, 2, "A", 1, 2, "A"], "category", ["a=1", "a=2", "a=A", "a (unseen)"]),
        (["1_000", "2_000"], "category", ["a (unseen)"]),  # Python's own notation is no number in a table
        (["20240131", "20240201"], "number", ["a"]),
        (["2024-02-31", "2024-02-31"], "category", ["a=2024-02-31", "a (unseen)"]),  # there is no such day
    ],
)
def test_the_kind_is_that_of_all_values(values: list[Any], kind: str, names: list[str]) -> None:
    schema = column(values)
    assert schema.columns[0].kind == kind
    assert list(schema.names) == names
    assert schema.sources == ("a",) * len(names)
    assert schema.size == len(names)


def test_numbers_given_as_text_are_the_numbers() -> None:
    schema = column(["1", "2", "3"])
    assert encoded(schema, "2.5") == encoded(schema, 2.5) == {"a": 2.5}


def test_booleans_are_zero_and_one_also_as_text() -> None:
    schema = column([True, False, True])
    assert [encoded(schema, value)["a"] for value in (True, "false", "TRUE", 0)] == [1.0, 0.0, 1.0, 0.0]


def test_few_words_among_many_numbers_are_slips_and_many_words_are_categories() -> None:
    numbers = [i / 7 for i in range(95)]
    schema = column([*numbers, *["error"] * 5])
    assert schema.columns[0].kind == "number"
    assert encoded(schema, "error")["a"] == pytest.approx(47 / 7)  # as if missing: the median
    assert column([*numbers, *["error"] * 30]).columns[0].kind == "category"
    codes = [i % 5 for i in range(95)]
    assert column([*codes, *["A"] * 5]).columns[0].kind == "category"  # few values: these are codes


# --- missing values


@pytest.mark.parametrize(
    "hole", [None, "", " ", "NA", "N/A", "null", "NaN", "nan", math.nan, np.float32("nan")]
)
def test_a_missing_number_is_the_median_and_flagged(hole: Any) -> None:
    schema = column([1.0, hole, 2.0, 10.0])
    assert schema.names == ("a", "a (missing)")
    assert schema.encode({"a": hole}).tolist() == [2.0, 1.0]
    assert schema.encode({}).tolist() == [2.0, 1.0]
    assert schema.encode({"a": 5.0}).tolist() == [5.0, 0.0]


def test_pandas_missing_values_are_missing() -> None:
    class NAType:  # the name is what tells pandas' NA, without importing pandas
        def __bool__(self) -> bool:
            raise TypeError("boolean value of NA is ambiguous")

    assert column([1.0, NAType()]).names == ("a", "a (missing)")
    assert column([1.0, np.datetime64("NaT")]).names == ("a", "a (missing)")


def test_infinite_numbers_count_as_missing_and_are_counted_apart() -> None:
    encoder = watched({"a": value} for value in [1.0, math.inf, "-inf", 10**400, 3.0])
    seen = encoder.columns["a"]
    assert (seen.infinite, seen.missing, seen.numbers) == (3, 3, 2)
    assert encoder.schema().encode({"a": math.inf}).tolist() == [2.0, 1.0]


def test_missing_booleans_categories_and_times() -> None:
    assert column([True, True, False, None]).encode({"a": None}).tolist() == [1.0, 1.0]  # the more frequent
    assert column(["u", "u", None]).encode({"a": None}).tolist() == [0.0, 0.0, 1.0]
    at = column(["2024-01-01", "2024-01-03", "2024-01-05", ""])
    assert encoded(at, None) == {
        name: {"a (elapsed)": 0.5, "a (missing)": 1.0}.get(name, 0.0) for name in at.names
    }


def test_a_column_without_a_value_gives_no_input() -> None:
    schema = watched([{"a": 1, "b": None}, {"a": 2, "b": ""}]).schema()
    assert schema.names == ("a",)
    assert schema.encode({"a": 3, "b": "word"}).tolist() == [3.0]


# --- scale


def test_ordinary_numbers_are_left_as_they_are() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 200).tolist()
    schema = column(values)
    assert [encoded(schema, value)["a"] for value in values] == np.float32(values).tolist()


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-12, 1.7e9, 1e300])
def test_a_constant_column_is_constant_and_a_later_change_shows(value: float) -> None:
    schema = column([value] * 30)
    assert encoded(schema, value)["a"] == 0.0
    assert encoded(schema, value + max(1.0, abs(value)))["a"] >= 1.0


def test_a_small_variation_of_a_large_value_survives() -> None:
    noise = np.random.default_rng(1).normal(size=100)
    values = 1.7e9 + noise  # float32 alone resolves 128 there
    schema = column(values.tolist())
    out = np.array([encoded(schema, value)["a"] for value in values.tolist()])
    assert np.corrcoef(out, noise)[0, 1] > 0.9999
    assert 0.1 < out.std() < 10


def test_rounding_is_not_blown_up_to_a_signal() -> None:
    values = [0.3, 0.1 + 0.2] * 20
    out = [encoded(column(values), value)["a"] for value in values]
    assert np.ptp(out) < 1e-15


@pytest.mark.parametrize("power", [-200, -30, -12, 12, 30, 200])
def test_small_and_large_units_keep_their_signal(power: int) -> None:
    signal = np.random.default_rng(2).normal(size=100)
    values = (signal * 10.0**power).tolist()
    schema = column(values)
    out = np.array([encoded(schema, value)["a"] for value in values])
    assert np.corrcoef(out, signal)[0, 1] > 0.9999
    assert 0.1 < out.std() < 10


def test_a_column_over_24_decades_keeps_the_order_of_small_and_large() -> None:
    values = [sign * 10.0**power for power in range(-12, 13) for sign in (-1, 1)] + [0.0]
    schema = column(values)
    out = np.array([encoded(schema, value)["a"] for value in sorted(values)])
    assert np.abs(out).max() < 100
    assert (np.diff(out) > 0).all()
    steps = np.diff(out[-25:])  # a decade is about the same step wherever it is
    assert steps[3:].max() < 1.2 * steps[3:].min()
    assert encoded(schema, 0.0)["a"] == 0.0


@given(st.lists(st.floats() | st.integers() | st.text(max_size=5) | st.none() | st.booleans(), min_size=1))
@settings(max_examples=150)
def test_whatever_was_seen_the_vector_is_finite(values: list[Any]) -> None:
    encoder = watched({"a": value, "b": 1} for value in values)
    schema = encoder.schema()
    again = Schema.from_json(json.loads(json.dumps(schema.to_json(), allow_nan=False)))
    for value in [*values, math.inf, -1e308, 1e-320, "word", None, "2024-01-01"]:
        vector = schema.encode({"a": value, "b": 1})
        assert vector.dtype == np.float32
        assert vector.shape == (schema.size,)
        assert np.isfinite(vector).all()
        assert (vector == again.encode({"a": value, "b": 1})).all()


# --- categories


def test_rare_and_unseen_words_share_one_input() -> None:
    schema = column(["u"] * 5 + ["v"] * 3 + ["once"])
    assert schema.names == ("a=u", "a=v", "a (unseen)")
    assert schema.encode({"a": "u"}).tolist() == [1.0, 0.0, 0.0]
    assert schema.encode({"a": "once"}).tolist() == [0.0, 0.0, 1.0]
    assert schema.encode({"a": "never"}).tolist() == [0.0, 0.0, 1.0]


def test_the_number_of_categories_is_bounded_and_the_frequent_ones_stay() -> None:
    rows = [f"id{i}" for i in range(5000)] + ["often"] * 50
    order = np.random.default_rng(3).permutation(len(rows))
    encoder = watched({"a": rows[i]} for i in order)
    assert len(encoder.columns["a"].words) <= 256
    assert "a=often" in encoder.schema().names
    few = watched(({"a": f"w{i % 9}"} for i in range(90)), most_categories=4).schema()
    assert few.names == ("a=w0", "a=w1", "a=w2", "a=w3", "a (unseen)")


def test_one_and_the_text_1_are_the_same_category_and_long_words_are_cut() -> None:
    schema = column(["A", "A", "1", 1, 1.0])
    assert encoded(schema, 1) == encoded(schema, "1.0") == {"a=A": 0.0, "a=1": 1.0, "a (unseen)": 0.0}
    assert max(map(len, column(["w" * 10_000] * 2).names)) < 100


# --- times


def test_a_time_is_what_elapsed_and_three_circles() -> None:
    rows = ["2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-11T00:00:00"]
    at = column(rows)
    assert at.columns[0].kind == "time"
    assert at.names == (
        "a (elapsed)", "a (sin of hour)", "a (cos of hour)", "a (sin of weekday)", "a (cos of weekday)",
        "a (sin of yearday)", "a (cos of yearday)",
    )  # fmt: skip
    assert at.encode({"a": rows[0]})[[0, 1, 2]].tolist() == [0.0, 0.0, 1.0]
    assert encoded(at, rows[2])["a (elapsed)"] == 1.0
    noon = encoded(at, dt.datetime(2024, 1, 6, 6))  # Saturday, six o'clock
    assert noon["a (elapsed)"] == pytest.approx(0.525)
    assert noon["a (sin of hour)"] == pytest.approx(1.0)
    assert noon["a (sin of weekday)"] == pytest.approx(math.sin(2 * math.pi * 5.25 / 7), abs=1e-6)
    assert noon["a (cos of yearday)"] == pytest.approx(math.cos(2 * math.pi * 5.25 / 365.25), abs=1e-6)


def test_the_hour_is_local_and_the_elapsed_time_is_not() -> None:
    at = column(["2024-01-01T00:00:00+00:00", "2024-01-01T12:00:00Z"])
    one, other = encoded(at, "2024-01-01T06:00:00+00:00"), encoded(at, "2024-01-01T08:00:00+02:00")
    assert one["a (elapsed)"] == other["a (elapsed)"] == 0.5
    assert other["a (sin of hour)"] == pytest.approx(math.sin(2 * math.pi * 8 / 24), abs=1e-6)


def test_dates_datetimes_and_their_texts_are_the_same() -> None:
    at = column([dt.date(2024, 1, 1), "2024-01-03"])
    days = [
        dt.date(2024, 1, 2),
        dt.datetime(2024, 1, 2),
        "2024-01-02",
        np.datetime64("2024-01-02T00:00:00", "ns"),
    ]
    assert len({tuple(at.encode({"a": day}).tolist()) for day in days}) == 1


# --- rows


def test_sequences_have_columns_by_place() -> None:
    rows = np.random.default_rng(4).normal(size=(20, 3))
    schema = watched(rows).schema()
    assert schema.names == ("x0", "x1", "x2")
    for row in rows:
        assert schema.encode(row).tolist() == schema.encode(row.tolist()).tolist() == np.float32(row).tolist()
    hole = np.array([1.0, np.nan, np.inf])
    assert (schema.encode(hole) == schema.encode(hole.tolist())).all()
    assert (
        schema.encode(rows[0][:2]) == schema.encode(rows[0][:2].tolist())
    ).all()  # a short row lacks values
    assert schema.encode(np.append(rows[0], 9.0)).tolist() == np.float32(rows[0]).tolist()
    assert as_row(3.5) == {"x0": 3.5}


def test_columns_that_come_late_or_go_missing_are_counted() -> None:
    encoder = watched([{"a": 1}, {"a": 2}, {"a": 3, "b": 5}, {"b": 6}])
    a, b = encoder.columns["a"], encoder.columns["b"]
    assert (a.first_row, a.missing) == (0, 1)
    assert (b.first_row, b.missing) == (2, 2)
    schema = encoder.schema()
    assert schema.names == ("a", "a (missing)", "b", "b (missing)")
    assert schema.encode({"a": 1.0, "c": "new"}).tolist() == [1.0, 0.0, 5.5, 1.0]


def test_the_number_of_columns_is_bounded() -> None:
    encoder = watched(({f"c{i}": 1} for i in range(10)), most_columns=3)
    assert list(encoder.columns) == ["c0", "c1", "c2"]
    assert encoder.ignored == 7


def test_a_schema_stays_as_it_was_made() -> None:
    encoder = watched([{"a": 1.0}, {"a": 2.0}])
    schema = encoder.schema()
    before = json.dumps(schema.to_json())
    encoder.observe({"a": "word", "b": 1})
    assert json.dumps(schema.to_json()) == before
    assert schema != encoder.schema()
    assert schema == Schema.from_json(json.loads(before))
    assert hash(schema) == hash(Schema.from_json(json.loads(before)))
    assert repr(schema) == "Schema(a: number)"


def test_an_encoder_goes_on_where_its_json_was_taken() -> None:
    rng = np.random.default_rng(5)
    rows = [
        {
            "n": rng.normal(),
            "w": f"w{rng.integers(400)}",
            "t": f"2024-01-{1 + i % 28:02d}",
            "h": [None, "2"][i % 2],
        }
        for i in range(1500)
    ]
    whole = watched(rows)
    half = RowEncoder.from_json(json.loads(json.dumps(watched(rows[:700]).to_json(), allow_nan=False)))
    for row in rows[700:]:
        half.observe(row)
    assert half.to_json() == whole.to_json()
    assert half.schema() == whole.schema()
    assert len(whole.columns["n"].sample) <= 512
    assert encoded_median(whole) == pytest.approx(float(np.median([row["n"] for row in rows])), abs=0.15)


def encoded_median(encoder: RowEncoder) -> float:
    return float(encoder.schema().encode({})[0])


# --- errors


def test_what_is_no_row_or_no_value_is_refused() -> None:
    encoder = RowEncoder()
    with pytest.raises(TypeError, match=r"column 'a': got a list as one value, expected a number.*spread"):
        encoder.observe({"a": [1, 2], "b": 3})
    assert (encoder.rows, encoder.columns["b"].numbers, encoder.columns["a"].missing) == (1, 1, 1)
    with pytest.raises(TypeError, match="column 'b': got a dict as one value"):
        encoder.schema().encode({"b": {}})
    with pytest.raises(TypeError, match="got the text 'abc' as a row, expected a dict or a sequence"):
        encoder.observe("abc")
    with pytest.raises(TypeError, match=r"shape \(2, 2\) as one row, expected \[dx\]"):
        encoder.observe(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="saw 0 rows and no value in 0 columns; expected at least one"):
        RowEncoder().schema()
    with pytest.raises(ValueError, match="most_categories=0, most_columns=1000; expected at least 1"):
        RowEncoder(most_categories=0)


def test_a_column_without_a_text_for_a_name_is_refused(unchecked: None) -> None:
    with pytest.raises(TypeError, match="a column called 7, expected text"):
        RowEncoder().observe({7: 1.0})


def test_damaged_json_is_refused() -> None:
    with pytest.raises(ValueError, match=r"format None, expected 'mole-schema/1': this is not a schema"):
        Schema.from_json({})
    with pytest.raises(ValueError, match="expected 'mole-row-encoder/1'"):
        RowEncoder.from_json({"format": "mole-schema/1"})
    good = column([1.0, 2.0]).to_json()
    with pytest.raises(ValueError, match="the schema is damaged"):
        Schema.from_json({**good, "columns": [{"name": "a"}]})
    bad = [{**good["columns"][0], "factor": math.nan}]
    with pytest.raises(ValueError, match=r"not finite in \['a'\]"):
        Schema.from_json({**good, "columns": bad})
    with pytest.raises(ValueError, match="the row encoder is damaged"):
        RowEncoder.from_json({"format": "mole-row-encoder/1", "most_categories": 3})
