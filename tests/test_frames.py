"""Several rows at once: frames of every library give the same rows and results, or one clear line."""

from __future__ import annotations

import datetime as dt
import decimal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from mole import OnlineClassifier, OnlineRegressor
from mole.rows.batches import is_missing, pairs_of, rows_of, targets_of
from mole.rows.values import ReadRow, read_row, read_value

SMALL: dict[str, Any] = {"memory": 16, "width": 8}
RNG = np.random.default_rng(14)
N = 40
A, B = RNG.normal(size=(2, N))
Y = 2.0 * A - B
WORDS = [("dry", "wet", "ice")[place % 3] for place in range(N)]
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
COLUMNS: dict[str, list[Any]] = {
    "number": A.tolist(),
    "holes": [None if place % 5 == 0 else value for place, value in enumerate(B.tolist())],
    "count": [place % 7 for place in range(N)],
    "flag": [place % 2 == 0 for place in range(N)],
    "word": WORDS,
    "at": [START + dt.timedelta(hours=place) for place in range(N)],
    "local": [dt.datetime(2026, 3, 1) + dt.timedelta(hours=place) for place in range(N)],
    "wait": [dt.timedelta(seconds=1.5 * place) for place in range(N)],
    "price": [decimal.Decimal(place) / 4 for place in range(N)],
}
LIBRARIES = ("pandas", "polars", "pyarrow")


def frame(library: str, columns: dict[str, Any]) -> Any:
    module = pytest.importorskip(library)
    return module.table(columns) if library == "pyarrow" else module.DataFrame(columns)


def records(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def contents(rows: Any) -> list[tuple[dict[str, Any], dict[str, str], bool]]:
    read = [read_row(row, None, "test") for row in rows]
    assert all(isinstance(row, ReadRow) for row in read)
    return [(dict(row), row.kinds, row.holes) for row in read if isinstance(row, ReadRow)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_frame_gives_the_rows_that_dicts_give(library: str) -> None:
    assert contents(rows_of(frame(library, COLUMNS))) == contents(records(COLUMNS))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_frame_gives_the_results_that_dicts_give(library: str) -> None:
    given = frame(library, COLUMNS)
    model = OnlineRegressor(**SMALL).learn_many(given, Y)
    plain = OnlineRegressor(**SMALL)
    for row, y in zip(records(COLUMNS), Y.tolist(), strict=True):
        plain.learn_one(row, y)
    assert model.schema_.names == plain.schema_.names
    np.testing.assert_array_equal(model.predict(given), plain.predict(records(COLUMNS)))
    assert model.faults_ == plain.faults_
    assert model.score(given, Y) == plain.score(records(COLUMNS), Y) > 0.5


@pytest.mark.parametrize("library", LIBRARIES)
def test_labels_may_be_a_column(library: str) -> None:
    given = frame(library, {"a": A, "b": B, "label": WORDS})
    x = given[["a", "b"]] if library != "pyarrow" else given.select(["a", "b"])
    model = OnlineClassifier(**SMALL).learn_many(x, given["label"])
    plain = OnlineClassifier(**SMALL).learn_many(records({"a": A.tolist(), "b": B.tolist()}), WORDS)
    assert model.classes_ == ["dry", "wet", "ice"]
    np.testing.assert_array_equal(model.predict_proba(x), plain.predict_proba(x))
    assert model.score(x, given["label"]) == plain.score(x, WORDS)


def test_categories_are_words_in_every_library_also_where_they_are_numbers() -> None:
    pd = pytest.importorskip("pandas")
    codes = pd.DataFrame({"code": pd.Categorical([3, 1, None, 3])})
    assert contents(rows_of(codes)) == [
        ({"code": "3"}, {"code": "text"}, False),
        ({"code": "1"}, {"code": "text"}, False),
        ({"code": None}, {"code": "missing"}, True),
        ({"code": "3"}, {"code": "text"}, False),
    ]
    cut = pd.DataFrame({"band": pd.cut([1.0, 5.0], [0.0, 2.0, 9.0])})
    assert [row["band"] for row in rows_of(cut)] == ["(0.0, 2.0]", "(2.0, 9.0]"]
    # A row of its own says the same word: the code is known, and not one of the unseen.
    model = OnlineRegressor(**SMALL).learn_many(
        pd.DataFrame({"code": pd.Categorical([3, 1] * 8)}), [5.0, 1.0] * 8
    )
    assert model.schema_.names == ("code=3", "code=1", "code (unseen)")
    assert model.predict_one({"code": 3}) > 3.0 > model.predict_one({"code": 1})


def test_categories_of_all_libraries_are_the_words_themselves() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in LIBRARIES)
    words = contents(rows_of(pd.DataFrame({"word": WORDS})))
    assert contents(rows_of(pd.DataFrame({"word": pd.Categorical(WORDS)}))) == words
    assert contents(rows_of(pl.DataFrame({"word": pl.Series(WORDS, dtype=pl.Categorical)}))) == words
    fixed = pl.Enum(["dry", "wet", "ice"])
    assert contents(rows_of(pl.DataFrame({"word": pl.Series(WORDS, dtype=fixed)}))) == words
    assert contents(rows_of(pa.table({"word": pa.array(WORDS).dictionary_encode()}))) == words


def test_missing_values_of_every_kind_are_missing() -> None:
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame(
        {
            "whole": pd.array([1, None], dtype="Int64"),
            "truth": pd.array([True, None], dtype="boolean"),
            "text": pd.array(["a", None], dtype="string"),
            "when": pd.to_datetime(["2026-01-01", None]),
            "wait": pd.to_timedelta([1.5, None], unit="s"),
            "month": pd.PeriodIndex(["2026-02", None], freq="M"),
            "thing": pd.Series([decimal.Decimal(1), pd.NA], dtype=object),
            "sparse": pd.arrays.SparseArray([0.5, np.nan]),
        }
    )
    first, second = rows_of(given)
    assert dict(first) == {
        "whole": 1.0,
        "truth": True,
        "text": "a",
        "when": dt.datetime(2026, 1, 1),
        "wait": 1.5,
        "month": dt.datetime(2026, 2, 1),
        "thing": 1.0,
        "sparse": 0.5,
    }
    assert set(second.kinds.values()) == {"missing"}
    assert second.holes
    assert not first.holes


def test_nanoseconds_are_cut_to_what_a_time_holds_and_kept_in_a_duration() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in LIBRARIES)
    ns = -123_456_789  # before 1970, where to cut and to round down differ
    frames = [
        pd.DataFrame({"at": pd.to_datetime([ns]), "wait": pd.to_timedelta([ns])}),
        pl.DataFrame({"at": [ns], "wait": [ns]}).select(
            pl.col("at").cast(pl.Datetime("ns")), pl.col("wait").cast(pl.Duration("ns"))
        ),
        pa.table({"at": pa.array([ns], pa.timestamp("ns")), "wait": pa.array([ns], pa.duration("ns"))}),
    ]
    rows = [dict(next(iter(rows_of(given)))) for given in frames]
    assert rows[0] == rows[1] == rows[2]
    assert rows[0] == {"at": dt.datetime(1969, 12, 31, 23, 59, 59, 876543), "wait": -0.123456789}


def test_times_of_a_zone_keep_their_clock() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in LIBRARIES)
    # The hour that comes twice in autumn, in both readings.
    utc = [dt.datetime(2026, 10, 25, hour, 30, tzinfo=dt.UTC) for hour in (0, 1)]
    frames = [
        pd.DataFrame({"at": pd.to_datetime(utc).tz_convert("Europe/Vienna").as_unit("ns")}),
        pl.DataFrame({"at": utc}).select(pl.col("at").dt.convert_time_zone("Europe/Vienna")),
        pa.table({"at": pa.array(utc, pa.timestamp("ns", "Europe/Vienna"))}),
    ]
    for given in frames:
        found = [row["at"] for row in rows_of(given)]
        assert [when.hour for when in found] == [2, 2]
        assert [when.astimezone(dt.UTC) for when in found] == utc


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.timedelta(seconds=1.5), 1.5),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.timedelta64(1500, "ns"), 1.5e-6),
        (np.timedelta64(1, "D"), 86400.0),
    ],
)
def test_a_duration_is_its_seconds_in_a_row_too(value: Any, expected: float) -> None:
    assert read_value(value) == ("number", expected)
    assert read_value(np.timedelta64("NaT")) == ("missing", None)


def test_rows_of_durations_and_periods_survive_a_file(tmp_path: Any) -> None:
    pd = pytest.importorskip("pandas")
    rows = [
        {
            "wait": pd.Timedelta(seconds=place % 5),
            "month": pd.Period(f"2026-{place % 12 + 1:02}"),
            "none": pd.NaT,
        }
        for place in range(20)
    ]
    model = OnlineRegressor(memory=32, width=8)
    for place, row in enumerate(rows):
        model.learn_one(row, float(place % 5))
    model.save(tmp_path / "model.mole")
    again = OnlineRegressor.load(tmp_path / "model.mole")
    for place, row in enumerate(rows):  # beyond 32 pairs, where the kept rows make a new prior
        for one in (model, again):
            one.learn_one(row, float(place % 5))
    np.testing.assert_array_equal(model.predict(rows), again.predict(rows))


# Names.


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_series_is_a_row_with_names(library: str) -> None:
    pd = pytest.importorskip("pandas")
    given = frame(library, {"a": A, "b": B})
    model = OnlineRegressor(**SMALL).learn_many(given, Y)
    rows = [pd.Series({"a": a, "b": b}) for a, b in zip(A, B, strict=True)]
    turned = [row[::-1] for row in rows]
    one = OnlineRegressor(**SMALL)
    for row, y in zip(rows, Y, strict=True):
        one.learn_one(row, float(y))
    for asked in (rows, turned):
        np.testing.assert_array_equal(model.predict(asked), one.predict(given))
    assert one.schema_.names == ("a", "b")
    assert pd.DataFrame(rows).equals(pd.DataFrame({"a": A, "b": B}))  # nothing was written into them


def test_whole_numbers_are_places_and_no_names() -> None:
    pd = pytest.importorskip("pandas")
    x = np.stack([A, B], axis=1)
    model, plain = OnlineRegressor(**SMALL).learn_many(pd.DataFrame(x), Y), OnlineRegressor(**SMALL)
    plain.learn_many(x, Y)
    np.testing.assert_array_equal(model.predict(pd.DataFrame(x)), plain.predict(x))
    np.testing.assert_array_equal(model.predict_one(pd.Series(x[0])), plain.predict_one(x[0]))
    assert model.schema_.names == ("x0", "x1")
    mixed = pd.DataFrame({0: A, 1: WORDS})
    assert next(dict(row) for row in rows_of(mixed)) == {"x0": A[0], "x1": "dry"}
    assert read_row(pd.Series([1.0, "a"]), None, "test") == {"x0": 1.0, "x1": "a"}


def test_names_that_are_no_names_are_refused() -> None:
    pd = pytest.importorskip("pandas")
    twice = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["a", "b", "a"])
    with pytest.raises(
        ValueError, match="got a frame with several columns called 'a'; expected each name once"
    ):
        rows_of(twice)
    with pytest.raises(ValueError, match="got a Series with several columns called 'a'"):
        OnlineRegressor().learn_one(twice.iloc[0], 1.0)
    with pytest.raises(ValueError, match="got a frame with columns called 0; expected text for all of them"):
        rows_of(pd.DataFrame([[1.0, 2.0]], columns=["a", 0]))
    with pytest.raises(ValueError, match=r"columns called \('a', 'b'\)"):
        rows_of(pd.DataFrame([[1.0]], columns=pd.MultiIndex.from_tuples([("a", "b")])))
    with pytest.raises(ValueError, match="without columns"):
        rows_of(pd.DataFrame(index=[0, 1]))


def test_two_columns_of_one_name_are_refused_in_arrow() -> None:
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="several columns called 'a'"):
        rows_of(pa.table([[1.0], [2.0]], names=["a", "a"]))


# What cannot be read.


def test_a_lazy_frame_is_refused() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"got a lazy frame \(polars\).*collect\(\)"):
        OnlineRegressor().learn_many(pl.DataFrame({"a": [1.0]}).lazy(), [1.0])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([[1.0], [2.0]], "of type List.*spread its entries"),
        ([{"b": 1.0}], "of type Struct.*spread its fields"),
        ([b"1"], "of type Binary.*decode it"),
        ([dt.time(5)], "of type Time.*as a number"),
    ],
)
def test_a_column_of_no_single_values_is_refused_at_once(values: list[Any], text: str) -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=f"column 'odd' is {text}"):
        rows_of(pl.DataFrame({"odd": values}))


@pytest.mark.parametrize("value", [[1.0], {"b": 1.0}, dt.time(5), 1j])
def test_a_value_that_cannot_be_read_names_column_and_row(value: Any) -> None:
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame({"odd": pd.Series([1.0, 2.0, value, 3.0], dtype=object)})
    model = OnlineRegressor(**SMALL)
    with pytest.raises(ValueError, match=r"column 'odd' has a value of type .* in row 2"):
        model.learn_many(given, [1.0] * 4)
    assert model.n_seen_ == 2


def test_a_series_is_not_several_rows() -> None:
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"got a single Series.*learn_one takes one row, and to_frame\(\)"):
        rows_of(pd.Series([1.0, 2.0]))


@pytest.mark.parametrize("given", ["abc", b"abc", {"a": [1.0]}, {1, 2}, 5, None])
def test_what_is_no_rows_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=f"got {type(given).__name__}; expected several rows"):
        rows_of(given)
    with pytest.raises(ValueError, match=f"got y of type {type(given).__name__}"):
        targets_of(given)


# Sparse matrices, iterators, arrays of other kinds.


@pytest.mark.parametrize(
    "kind", ["csr_matrix", "csc_array", "coo_array", "bsr_array", "lil_array", "dok_array"]
)
def test_a_sparse_matrix_gives_what_the_dense_one_gives(kind: str) -> None:
    dense = np.where(RNG.random((N, 3)) < 0.6, 0.0, RNG.normal(size=(N, 3)))
    rows = rows_of(getattr(scipy.sparse, kind)(dense))
    np.testing.assert_array_equal(np.stack(list(rows)), dense)


def test_a_sparse_matrix_that_is_too_wide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 5000\).*at most 1000 columns.*TruncatedSVD"):
        rows_of(scipy.sparse.csr_array((3, 5000)))


def test_an_iterator_of_rows_is_used_up_once() -> None:
    rows, targets = records({"a": A.tolist(), "b": B.tolist()}), Y.tolist()
    model = OnlineRegressor(**SMALL).learn_many(iter(rows), iter(targets))
    plain = OnlineRegressor(**SMALL).learn_many(rows, targets)
    np.testing.assert_array_equal(model.predict(iter(rows)), plain.predict(rows))
    assert model.score(iter(rows), targets) == plain.score(rows, targets)


@pytest.mark.parametrize(("rows", "targets"), [(5, 3), (3, 5)])
def test_an_iterator_that_ends_early_says_what_was_learned(rows: int, targets: int) -> None:
    model = OnlineRegressor(**SMALL)
    with pytest.raises(ValueError, match=r"got 3 .* and more .*The 3 pairs"):
        model.learn_many(iter(A[:rows, None]), iter(Y[:targets].tolist()))
    assert model.n_seen_ == 3
    with pytest.raises(
        ValueError, match=f"got {rows} rows and {targets} targets"
    ):  # where both lengths are known
        model.learn_many(A[:rows, None], Y[:targets])
    assert model.n_seen_ == 3


def test_arrays_with_names_or_masks() -> None:
    named = np.array([(1.0, "u"), (2.0, "v")], dtype=[("a", float), ("b", "U1")])
    assert list(rows_of(named)) == [{"a": 1.0, "b": "u"}, {"a": 2.0, "b": "v"}]
    masked = np.ma.masked_array([[1.0, 2.0]], [[True, False]])
    assert list(rows_of(masked)) == [[None, 2.0]]
    assert list(targets_of(masked[0])) == [None, 2.0]


def test_what_hands_over_an_arrow_table_is_a_frame() -> None:
    pa = pytest.importorskip("pyarrow")
    batch = pa.record_batch({"a": [1.0], "b": ["u"]})
    assert contents(rows_of(batch)) == contents([{"a": 1.0, "b": "u"}])
    assert contents(rows_of(pa.table(batch).to_reader())) == contents([{"a": 1.0, "b": "u"}])


def test_rows_of_a_frame_are_a_sequence() -> None:
    pl = pytest.importorskip("polars")
    rows: Any = rows_of(pl.DataFrame({"a": np.arange(3000.0)}))
    assert len(rows) == 3000
    assert [row["a"] for row in rows] == list(range(3000))
    assert rows[-1]["a"] == 2999.0
    assert [row["a"] for row in rows[10:12]] == [10.0, 11.0]
    with pytest.raises(IndexError):
        rows[3000]


# Missing targets.

MISSING: list[Callable[[Any], Any]] = [
    lambda values: [None if np.isnan(value) else value for value in values],
    lambda values: list(values),
    lambda values: np.asarray(values),
    lambda values: pytest.importorskip("pandas").Series(values),
    lambda values: pytest.importorskip("pandas").array(values, dtype="Float64"),
    lambda values: pytest.importorskip("polars").Series(values, nan_to_null=True),
    lambda values: pytest.importorskip("pyarrow").array(values, from_pandas=True),
]


@pytest.mark.parametrize("made", MISSING)
def test_pairs_without_a_target_are_left_out_and_counted(made: Callable[[Any], Any]) -> None:
    x, gone = np.stack([A, B], axis=1), np.arange(N) % 4 == 1
    model = OnlineRegressor(**SMALL).learn_many(x, made(np.where(gone, np.nan, Y)))
    plain = OnlineRegressor(**SMALL).learn_many(x[~gone], Y[~gone])
    np.testing.assert_array_equal(model.predict(x), plain.predict(x))
    assert model.n_seen_ == plain.n_seen_ == int(np.sum(~gone))
    assert model.faults_ == {**plain.faults_, "no_target": int(np.sum(gone))}
    assert model.score(x, made(np.where(gone, np.nan, Y))) == plain.score(x[~gone], Y[~gone])


def test_labels_may_be_missing_and_one_of_several_targets() -> None:
    x = np.stack([A, B], axis=1)
    labels = [None if place % 3 == 1 else word for place, word in enumerate(WORDS)]
    model = OnlineClassifier(**SMALL).partial_fit(x, labels)
    assert model.classes_ == ["dry", "ice"]
    assert model.faults_["no_target"] == 13
    assert 0.0 <= model.score(x, labels) <= 1.0
    two = np.stack([Y, -Y], axis=1)
    two[3, 1] = np.nan
    two[5] = np.nan
    several = OnlineRegressor(**SMALL).learn_many(x, two)
    assert (
        several.faults_["no_target"] == 1 and several.n_seen_ == len(x) - 1
    )  # of row 3 the other one was learned


def test_one_pair_without_a_target_is_still_an_error() -> None:
    for target in (None, float("nan")):
        with pytest.raises(ValueError, match=r"[Nn]othing was learned"):
            OnlineRegressor().learn_one([1.0], target)


def test_missing_targets_survive_a_file(tmp_path: Any) -> None:
    model = OnlineRegressor(**SMALL).learn_many(A[:5, None], [1.0, None, 2.0, None, 3.0])
    model.save(tmp_path / "model.mole")
    assert OnlineRegressor.load(tmp_path / "model.mole").faults_["no_target"] == 2


def test_targets_of_one_column_are_single_ones() -> None:
    pd = pytest.importorskip("pandas")
    assert targets_of(pd.DataFrame({"y": ["a", "b"]})) == ["a", "b"]
    assert targets_of(pd.DataFrame({"y": [1, 2], "z": [3, 4]})) == [[1, 3], [2, 4]]
    assert [is_missing(y) for y in (None, 1, 0.0, "nan", "", True, decimal.Decimal("NaN"), [1.0, None])] == [
        True, False, False, False, False, False, True, True,
    ]  # fmt: skip
    assert list(pairs_of([[1.0]], pd.Series([2.0]))) == [([1.0], 2.0)]


def test_narwhals_is_imported_when_the_first_frame_arrives() -> None:
    code = (
        "import sys, mole; mole.OnlineRegressor().learn_many([[1.0], [2.0]], [1.0, 2.0]).predict([[1.0]]); "
        "assert 'narwhals' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
