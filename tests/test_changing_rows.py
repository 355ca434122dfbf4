"""Rows that change after the memory is full: columns, words, ranges, names; and targets whose digits float32 loses."""

import datetime as dt
import warnings

import jax
import numpy as np
import pytest

import mole
from mole.priors.stream import StreamPrior
from mole.readout import ReadoutConfig
from mole.rows.changes import InputChanges, check_names, explained, news_of
from mole.rows.encoding import RowEncoder
from mole.rows.scaling import Units, robust_normalizer
from mole.rows.values import read_row

SMALL = 64  # memory of the estimators here: rows change after it is full, and nothing is trained on so few


def rows_then_errors(model, rows, last):
    """Root mean squared error of the last predictions, each made before its row was learned."""
    errors = [model.step_one(x, y).prediction - y for x, y in rows]
    return float(np.sqrt(np.mean(np.square(errors[-last:]))))


def schema_of(rows):
    encoder = RowEncoder()
    for row in rows:
        encoder.observe(row)
    return encoder.schema()


def news(row, schema):
    return sorted(news_of(read_row(row, None, "test"), schema))


# What is news.


def test_news_names_the_column_and_the_kind():
    values = np.random.default_rng(0).normal(size=40).tolist()
    rows = [{"a": value, "w": "pq"[k % 2], "gone": None} for k, value in enumerate(values)]
    schema = schema_of(rows)
    assert news({"a": 0.1, "w": "p", "gone": None}, schema) == []
    assert news({"a": 0.1, "w": "r", "gone": None}, schema) == [("w", "=r")]
    assert news({"a": 1e3, "w": "p", "gone": None}, schema) == [("a", "range")]
    assert news({"a": None, "w": "p"}, schema) == [("a", "missing")]
    assert news({"a": "high", "w": "p", "gone": 2.0, "new": 1.0}, schema) == [
        ("a", "kind"), ("gone", "kind"), ("new", "column"),
    ]  # fmt: skip
    # A column without a value says nothing.
    assert news({"a": 0.1, "w": "p", "new": None}, schema) == []


def test_news_of_vectors_is_that_of_the_same_dicts():
    generator = np.random.default_rng(1)
    schema = schema_of(list(generator.normal(size=(50, 3))))
    for row in np.concatenate([generator.normal(size=(20, 3)) * 4, [[np.nan, 0, 1e9]]]):
        assert news(row, schema) == news({f"x{k}": v for k, v in enumerate(row.tolist())}, schema)


def test_a_time_and_a_counter_are_no_news_when_they_go_on():
    start = dt.datetime(2026, 1, 1)
    generator = np.random.default_rng(2)
    rows = [
        {"when": start + dt.timedelta(hours=k), "count": 5 * k, "down": -k, "noise": float(v)}
        for k, v in enumerate(generator.normal(size=40))
    ]
    schema = schema_of(rows)
    far = {"when": start + dt.timedelta(days=999), "count": 10**6, "down": -(10**6), "noise": 0.0}
    assert news(far, schema) == []
    assert [schema.names[place] for place in schema.growing] == ["when (elapsed)", "count", "down"]


def test_growing_inputs_of_a_prior_stay_linear():
    norm = mole.Normalizer.identity(2)
    one = mole.Normalizer.identity(1)
    prior = mole.ReadoutPrior.untrained(x_norm=norm, y_norm=one, key=jax.random.key(0), growing=(0,))
    features = np.asarray(prior.features(jax.numpy.full(2, 50.0)))
    assert features[1] == 50.0
    assert features[2] == pytest.approx(4.0 + np.log1p(46.0))


def test_changes_wait_longer_each_time_and_follow_up():
    changes, looked = InputChanges(), []
    for pairs in range(1, 2000):
        changes.add([("a", "range")])
        if changes.pressing(pairs, memory=512):
            looked.append(pairs)
    assert np.all(np.diff(looked) <= 512) and len(looked) <= 12
    assert list(np.diff(looked)[:5]) == [16, 32, 64, 128, 256]
    changes.renew(2000)
    assert [pairs - 2000 for pairs in range(2001, 6000) if changes.follow_up(pairs)] == [32, 128, 512, 2048]


def test_changes_count_a_bounded_number_of_words_and_come_back():
    changes = InputChanges()
    for k in range(5000):
        changes.add([("id", f"={k}")])
    assert len(changes.counts) <= 1024
    assert changes.pressing(5000, memory=512) == []
    again = InputChanges.from_json(changes.to_json())
    assert again.to_json() == changes.to_json()


def test_what_the_newer_schema_explains():
    few = schema_of([{"a": 1.0 + k % 3, "w": "p"} for k in range(30)])
    more = schema_of([{"a": 9.0 * k, "w": "pq"[k % 2], "b": 1.0} for k in range(30)])
    for item in (("b", "column"), ("w", "=q"), ("a", "range")):
        assert explained(item, few, more), item
    for item in (("c", "column"), ("w", "=z"), ("a", "missing"), ("a", "kind")):
        assert not explained(item, few, more), item


# Estimators whose rows change after their memory is full.


@pytest.mark.parametrize("seed", [0, 1])
def test_a_column_that_appears_late_is_learned(seed):
    generator, rows = np.random.default_rng(seed), []
    for t in range(3 * SMALL + 160):
        a, b = generator.normal(size=2)
        x, y = {"a": a}, 3 * a + 0.1 * generator.normal()
        if t >= 2 * SMALL:
            x["b"], y = b, y + 10 * b
        rows.append((x, y))
    model = mole.OnlineRegressor(memory=SMALL)
    # Before, the column was left out for ever: the error was that of 10 b.
    assert rows_then_errors(model, rows, 100) < 0.3
    assert "b" in model.schema_.known
    # Counted at once, before the inputs grew.
    assert model.faults_["unknown"] == 8


@pytest.mark.parametrize("seed", [0, 1])
def test_words_that_appear_late_are_learned(seed):
    generator, rows = np.random.default_rng(seed), []
    worth = {"p": 0, "q": 1, "r": -20, "s": 20}
    for t in range(3 * SMALL + 160):
        a, word = generator.normal(), str(generator.choice(list("pq" if t < 2 * SMALL else "pqrs")))
        rows.append(({"a": a, "w": word}, 3 * a + worth[word] + 0.1 * generator.normal()))
    model = mole.OnlineRegressor(memory=SMALL)
    assert rows_then_errors(model, rows, 100) < 0.5
    assert 8 <= model.faults_["unknown"] <= 30


def test_a_dead_sensor_that_wakes_is_learned():
    generator, model, right = np.random.default_rng(6), mole.OnlineClassifier(memory=SMALL), []
    for t in range(4 * SMALL):
        a, b = generator.normal(size=2)
        x, y = {"a": a, "b": float("nan") if t < 2 * SMALL else b}, "hot" if b > 0 else "cold"
        right.append(model.predict_one(x) == y)
        model.learn_one(x, y)
    assert np.mean(right[-100:]) > 0.9
    assert np.mean(right[: 2 * SMALL]) < 0.7


@pytest.mark.parametrize("by", [1.0, 1e-3, 1e3])
def test_a_constant_that_begins_to_move_is_learned(by):
    generator, rows = np.random.default_rng(7), []
    for t in range(4 * SMALL):
        a, s = generator.normal(), generator.normal() if t >= 2 * SMALL else 0.0
        rows.append(([a, 7.0 + by * s], a + 5 * s + 0.1 * generator.normal()))
    assert rows_then_errors(mole.OnlineRegressor(memory=SMALL), rows, 100) < 0.3


def test_identifiers_do_not_make_the_prior_anew():
    generator, model = np.random.default_rng(3), mole.OnlineRegressor(memory=64)
    for k in range(400):
        a = generator.normal()
        model.learn_one({"a": a, "id": f"u{k}"}, 2 * a)
    assert model._changes.changed is None
    assert model.faults_["unknown"] > 300


def test_changes_go_on_from_a_file_as_without_one(tmp_path):
    generator = np.random.default_rng(4)
    rows = [({"a": a, **({"b": b} if t > 150 else {})}, a + (b if t > 150 else 0)) for t, (a, b) in
            enumerate(generator.normal(size=(260, 2)))]  # fmt: skip
    whole, stopped = mole.OnlineRegressor(memory=64), mole.OnlineRegressor(memory=64)
    for x, y in rows:
        whole.learn_one(x, y)
    for t, (x, y) in enumerate(rows):
        if t in (155, 159, 170):  # before, within and after the growth
            stopped.save(tmp_path / "model.mole")
            stopped = mole.OnlineRegressor.load(tmp_path / "model.mole")
        stopped.learn_one(x, y)
    assert whole.schema_ == stopped.schema_
    assert whole.predict_one(rows[-1][0]) == stopped.predict_one(rows[-1][0])
    assert whole.faults_ == stopped.faults_


def test_a_clock_with_a_trend_does_not_degrade():
    # The logarithm that draws wild inputs in bent the trend as soon as the clock was beyond four deviations.
    start, generator, rows = dt.datetime(2026, 1, 1), np.random.default_rng(11), []
    for t in range(6 * SMALL):
        rows.append(({"when": start + dt.timedelta(hours=t)}, 0.1 * t + 0.1 * generator.normal()))
    assert rows_then_errors(mole.OnlineRegressor(memory=SMALL), rows, SMALL) < 0.2


# Names.


@pytest.fixture(scope="module")
def named():
    generator = np.random.default_rng(9)
    model = mole.OnlineRegressor()
    for a, b in generator.normal(size=(40, 2)):
        model.learn_one({"a": a, "b": 10 * b}, 5 * a)
    return model


@pytest.mark.parametrize(
    "row", [[0.1, 0.2], np.zeros(2), {"A": 0.1, "B": 0.2}, {"a ": 0.1, "b": 1.0}, {"c": 1.0}]
)
def test_rows_of_other_names_are_refused_with_both_lists(named, row):
    before = named.n_seen_
    for call in (lambda: named.predict_one(row), lambda: named.learn_one(row, 1.0)):
        with pytest.raises(ValueError, match=r"got a row with .*expected 'a', 'b'.*Nothing was learned"):
            call()
    assert named.n_seen_ == before


@pytest.mark.parametrize(
    "row", [{"b": 1.0, "a": 0.3}, {"a": 0.3}, {"a": 0.3, "b": 1.0, "c": 2.0}, {"a": 0.3, "c": 1.0}, {}]
)
def test_columns_may_come_and_go(named, row):
    assert np.isfinite(named.predict_one(row))


def test_names_after_vectors_are_refused():
    model = mole.OnlineRegressor()
    model.learn_many(np.random.default_rng(0).normal(size=(20, 2)), np.arange(20.0))
    with pytest.raises(ValueError, match="columns 'a', 'b'; expected 'x0', 'x1'"):
        model.predict_one({"a": 1.0, "b": 2.0})
    assert model.predict_one({"x1": 0.0, "x0": 1.0}) == model.predict_one([1.0, 0.0])


def test_a_list_of_columns_in_an_error_is_short():
    schema = schema_of([{f"c{k}": float(k + j) for k in range(50)} for j in range(5)])
    with pytest.raises(ValueError, match="and 38 more"):
        check_names("test", read_row({"z": 1.0}, None, "test"), schema)


def test_rows_of_words_that_hardly_repeat_are_taken():
    # A bag of words: no column is in every row, so none can be missed.
    generator, model = np.random.default_rng(5), mole.OnlineRegressor()
    for _ in range(60):
        words = {f"w{j}": 1.0 for j in generator.integers(0, 30, size=3)}
        model.learn_one(words, float(len(words)))
    model.learn_one({"never": 1.0}, 1.0)
    assert model.faults_["unknown"] >= 1


# Targets and inputs whose digits float32 loses.


@pytest.mark.parametrize(
    ("offset", "scale"), [(1e7, 1.0), (1e9, 1.0), (-1e12, 1.0), (0.0, 1e-13), (1e9, 1e-3)]
)
def test_predictions_do_not_depend_on_offset_and_scale_of_the_target(offset, scale):
    def figures(offset, scale):
        generator, model, rows = np.random.default_rng(8), mole.OnlineRegressor(), []
        for _ in range(200):
            x = generator.normal(size=2)
            y = 2 * x[0] - x[1] + 0.1 * generator.normal()
            step = model.step_one(x, offset + scale * y)
            rows.append(((step.prediction - offset) / scale - y, (step.high - step.low) / scale,
                         step.low <= offset + scale * y <= step.high))  # fmt: skip
        errors, widths, hits = np.array(rows[100:]).T
        return np.sqrt(np.mean(errors**2)), np.median(widths), np.mean(hits)

    plain, moved = figures(0.0, 1.0), figures(offset, scale)
    # The target itself has its own resolution: 10^9 with a scale of .001 keeps four digits of a double.
    assert moved == pytest.approx(plain, rel=0.05)


def test_units_are_exact_and_ordinary_values_have_none():
    ordinary = np.random.default_rng(0).normal(size=(50, 2))
    assert Units.of(ordinary).plain
    moved = np.stack([1e9 + ordinary[:, 0], 1e-13 * ordinary[:, 1]], axis=1)
    units = Units.of(moved)
    encoded = units.encode(moved).astype(np.float32)
    for one, value in zip(encoded, moved, strict=True):
        assert units.decode(one.tolist()) == pytest.approx(value.tolist(), rel=1e-6, abs=1e-20)
        assert units.decode(one.tolist())[0] == pytest.approx(value[0], abs=1e-6)
    assert Units.from_json([list(part) for part in units]) == units
    with pytest.raises(ValueError, match="units"):
        Units.from_json([[0.0], [0.0]])


def test_units_survive_files(tmp_path):
    generator, model = np.random.default_rng(8), mole.OnlineRegressor()
    for x in generator.normal(size=(40, 2)):
        model.learn_one(x, 1e9 + x[0])
    model.save(tmp_path / "model.mole")
    again = mole.OnlineRegressor.load(tmp_path / "model.mole")
    ask = [0.5, -0.5]
    assert again.predict_interval_one(ask) == model.predict_interval_one(ask)
    assert model.predict_one(ask) == pytest.approx(1e9 + 0.5, abs=0.1)


@pytest.fixture(scope="module")
def far_prior():
    """A prior of a stream whose inputs and targets are far from zero."""
    generator = np.random.default_rng(2)
    segments = []
    for slope in generator.normal(size=6):
        x = generator.normal(size=(60, 1))
        segments.append(mole.Trajectory(5e7 + x, 1e9 + slope * x + 0.05 * generator.normal(size=(60, 1))))
    config = ReadoutConfig(iterations=100, window=16)
    return mole.fit_prior(segments, config=config)


def test_a_prior_keeps_the_digits_of_inputs_and_targets_through_files_and_fleets(far_prior, tmp_path):
    mole.save_prior(tmp_path / "prior.mole", far_prior, {})
    loaded = mole.load_prior(tmp_path / "prior.mole")
    assert (loaded.inputs, loaded.targets) == (far_prior.inputs, far_prior.targets)
    generator = np.random.default_rng(3)
    x = 5e7 + generator.normal(size=(60, 1))
    y = 1e9 - 1.5 * (x - 5e7)
    model, fleet = mole.OnlineRegressor(loaded), mole.Fleet(loaded, 2)
    for one, truth in zip(x, y, strict=True):
        model.learn_one(one, float(truth[0]))
        fleet.learn(np.stack([one, one]), np.stack([truth, truth]))
    ask = np.array([5e7 + 1.0])
    assert model.predict_one(ask) == pytest.approx(1e9 - 1.5, abs=0.2)
    assert fleet.predict(np.stack([ask, ask])) == pytest.approx(np.full((2, 1), 1e9 - 1.5), abs=0.2)
    model.save(tmp_path / "model.mole")
    assert mole.OnlineRegressor.load(tmp_path / "model.mole").predict_one(ask) == model.predict_one(ask)


def test_units_of_a_prior_must_fit_it(far_prior):
    with pytest.raises(ValueError, match="units of 2 targets; expected 1"):
        StreamPrior(far_prior.prior, targets=Units((0.0, 0.0), (1.0, 1.0)))


# Scales of columns that seldom move.


@pytest.mark.parametrize("share", [0.05, 0.3, 0.45, 0.499])
def test_a_column_that_was_filled_in_has_the_scale_of_its_values(share):
    generator = np.random.default_rng(0)
    values = np.where(np.arange(1000) < 1000 * share, generator.normal(size=1000), 0.0)
    # The median of the values stands for missing ones: their share must not decide what is wild. Beyond four scales an
    # input is drawn in.
    std = float(robust_normalizer(values[:, None]).std[0])
    moved = values[values != 0.0]
    assert np.mean(np.abs(moved) > 4.0 * std) < 0.05
    assert std < 1.5


def test_a_slip_among_times_does_not_stretch_their_span():
    start, encoder = dt.datetime(2026, 1, 1), RowEncoder()
    for k in range(100):
        encoder.observe({"when": 0 if k == 50 else start + dt.timedelta(hours=k)})
    column = encoder.columns["when"]
    assert column.high - column.low == 99 * 3600.0


def test_a_slip_at_the_head_of_a_column_of_times_is_forgotten():
    start, encoder = dt.datetime(2026, 1, 1), RowEncoder()
    for k in range(100):
        encoder.observe({"when": 0 if k == 0 else start + dt.timedelta(hours=k)})
    assert encoder.columns["when"].low > 1e9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(encoder.schema().encode({"when": start})).all()
