"""The forecaster: its inputs and experts against NumPy, its intervals, missing rows, files and errors."""

from __future__ import annotations

import copy
import datetime as dt
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mole import OnlineForecaster
from mole.adapters.series import SeriesForecaster
from mole.files.checkpoint import CheckpointError
from mole.forecasting.choice import choose_inputs, find_periods
from mole.forecasting.experts import EXPERTS, ExpertPool, simple_forecasts
from mole.forecasting.incoming import OWN, Clock
from mole.forecasting.lags import Inputs, Tap, named_inputs, tap_matrix

SMALL: dict[str, Any] = {"memory": 64, "width": 8}
SEASON = (5.0, 7.0, 9.0, 4.0)


def fed(values: Any, **settings: Any) -> OnlineForecaster:
    model = OnlineForecaster(**{"horizon": 3, **SMALL, **settings})
    for value in values:
        model.learn_one(value)
    return model


def noisy(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.resize(SEASON, n) + 0.3 * rng.standard_normal(n)


# Inputs.


def test_inputs_are_the_weighted_sums_of_the_past_that_they_say() -> None:
    taps = (Tap("change", (1, 2), (1.0, -1.0)), Tap("mean", (1, 2, 3), (0.5, 0.25, 0.25)))
    past = np.array([1.0, 4.0, 9.0, 16.0])
    assert tap_matrix(taps, 4) @ past[::-1] == pytest.approx([7.0, 8.0 + 2.25 + 1.0])


def test_the_rows_that_the_regressor_gets_are_the_lags_in_standard_units() -> None:
    values = noisy(40)
    model = fed(values, lags=(1, 2, 5), season=None)
    past = model._past
    expected = {f"{OWN}lag {lag}": (values[-lag] - past._centre) / past._scale for lag in (1, 2, 5)}
    assert past._own_row(past.values) == pytest.approx(expected)
    # The row that was kept with the last value was made from the values before it alone.
    before = {f"{OWN}lag {lag}": (values[-1 - lag] - past._centre) / past._scale for lag in (1, 2, 5)}
    assert dict(model.model._rows[-1]) == pytest.approx(before)


def test_a_path_is_the_regressors_one_step_forecasts_fed_back() -> None:
    model = fed(noisy(60))
    past = copy.deepcopy(model._past)
    found = past.path(past.values, 3, [{}])
    for expected in found:
        _, one = past.learn(None, {})
        assert one == pytest.approx(expected, rel=1e-4)
        past.append(one)


def test_a_path_takes_the_columns_of_the_future_rows() -> None:
    rng = np.random.default_rng(0)
    model = OnlineForecaster(horizon=3, **SMALL)
    for _ in range(64):
        x = float(rng.standard_normal())
        model.learn_one(10.0 * x + 50.0, {"x": x})
    assert model.forecast(3, [{"x": -1.0}, {"x": 0.0}, {"x": 1.0}]) == pytest.approx([40, 50, 60], abs=2.0)


@pytest.mark.parametrize("season", [4, 7, 12])
def test_the_season_is_found_in_noise_and_not_in_a_random_walk(season: int) -> None:
    rng = np.random.default_rng(season)
    shape = 3.0 * rng.standard_normal(season)
    values = np.resize(shape, 20 * season) + 0.5 * rng.standard_normal(20 * season)
    assert find_periods(values)[0] == season
    assert choose_inputs(values, (), None).season == season
    assert choose_inputs(np.cumsum(rng.standard_normal(200)), (), None, season=0).season == 0


def test_a_choice_has_few_inputs_and_stays_unless_another_is_clearly_better() -> None:
    rng = np.random.default_rng(1)
    values = np.zeros(300)
    for t in range(2, 300):
        values[t] = 1.6 * values[t - 1] - 0.9 * values[t - 2] + rng.standard_normal()
    chosen = choose_inputs(values[:200], (), None)
    assert 2 <= len(chosen.taps) <= 4
    assert choose_inputs(values, (), chosen).taps == chosen.taps
    # A worse one goes.
    assert (
        choose_inputs(values, (), Inputs((Tap("change 8", (8, 9), (1.0, -1.0)),), 0, True)).taps
        != chosen.taps[:0]
    )


def test_independent_values_are_learned_themselves_and_a_walk_by_its_changes() -> None:
    noise = np.random.default_rng(2).standard_normal(200)
    assert not choose_inputs(noise, (), None).change
    assert choose_inputs(np.cumsum(noise), (), None).change


def test_growth_by_a_share_is_learned_in_logarithms() -> None:
    rng = np.random.default_rng(3)
    values = np.exp(np.cumsum(0.05 + 0.05 * rng.standard_normal(150)))
    assert choose_inputs(values, (), None, positive=True).log
    assert not choose_inputs(np.cumsum(rng.standard_normal(150)) + 100.0, (), None, positive=True).log


def test_a_value_without_a_logarithm_ends_them_and_is_learned() -> None:
    rng = np.random.default_rng(3)
    model = fed(np.exp(np.cumsum(0.05 + 0.05 * rng.standard_normal(64))))
    assert model._past.inputs is not None and model._past.inputs.log
    seen = model.model.n_seen_
    model.learn_one(-1.0)
    assert not model._past.inputs.log
    assert model.model.n_seen_ == seen + 1
    assert np.isfinite(model.forecast()).all()


def test_lags_and_season_that_were_asked_for_are_used() -> None:
    model = fed(noisy(60), lags=2, season=4)
    assert model.season_ == 4
    assert model.inputs_ == tuple(tap.name for tap in named_inputs(2, 4, True).taps)
    assert fed(noisy(60), season=None).season_ is None


# Experts and intervals.


def test_the_simple_forecasts_are_what_their_names_say() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0, 3.0, 5.0])
    found = dict(zip(EXPERTS, simple_forecasts(values, 4, 3, 3.5).T, strict=True))
    assert found["last value"].tolist() == [5.0] * 4
    assert found["mean"].tolist() == [3.5] * 4
    assert found["seasonal value"].tolist() == [7.0, 3.0, 5.0, 7.0]
    # The last value, and what was added to its counterpart a season before.
    assert found["seasonal change"][:3].tolist() == [5.0 + 7.0 - 4.0, 5.0 + 3.0 - 4.0, 5.0 + 5.0 - 4.0]
    assert np.isnan(found["seasonal change"][3])  # two seasons are not known yet
    assert found["drift"] == pytest.approx(5.0 + 0.8 * np.arange(1, 5))
    assert np.isnan(found["model"]).all()


def test_smoothed_forecasts_are_exponential_smoothing_of_what_the_season_leaves() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(64)
    weights = 0.3 * 0.7 ** np.arange(64)
    expected = weights @ values[::-1] / weights.sum()
    assert simple_forecasts(values, 2, 0, 0.0)[:, 5] == pytest.approx([expected] * 2)
    exact = np.resize(SEASON, 40)
    assert simple_forecasts(exact, 4, 4, 0.0)[:, 5:7] == pytest.approx(np.resize(SEASON, (4, 1)) * [1, 1])


def test_weights_are_exponential_in_the_discounted_errors_and_sum_to_one() -> None:
    pool, rng = ExpertPool(1, 0.9), np.random.default_rng(0)
    losses, scale = np.zeros(len(EXPERTS)), 0.0
    doubt = np.array(
        [float(name not in ("last value", "seasonal value", "mean", "model")) for name in EXPERTS]
    )
    for row in range(30):
        forecasts = rng.standard_normal((1, len(EXPERTS)))
        weights = np.exp(-(losses - losses.min()) - doubt)
        weights /= weights.sum()
        assert pool.weights(forecasts)[0] == pytest.approx(weights)
        pool.remember(row, forecasts)
        error, errors = abs(1.0 - weights @ forecasts[0]), np.abs(1.0 - forecasts[0])
        pool.score(row, 1.0)
        scale = error if row == 0 else scale
        losses = 0.98 * losses + np.minimum(errors / scale, 10.0)
        tame = min(error, 6.0 * scale) if row >= 10 else error
        scale += max(1.0 / (row + 1.0), 0.03) * (tame - scale)


def test_an_expert_without_a_forecast_has_no_weight() -> None:
    forecasts = np.zeros((2, len(EXPERTS)))
    forecasts[1, 3] = np.nan
    weights = ExpertPool(2, 0.9).weights(forecasts)
    assert weights[1, 3] == 0.0
    assert weights.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_a_horizon_learns_only_from_forecasts_whose_truth_has_arrived() -> None:
    pool = ExpertPool(3, 0.9)
    for row in range(4):
        pool.remember(row, np.full((3, len(EXPERTS)), float(row)))
        pool.score(row, 10.0)
        # The forecast h rows ahead, made before row r, is about row r + h - 1.
        assert pool._seen.tolist() == [max(row + 1 - ahead, 0) for ahead in range(3)]
    pool.remember(4, np.zeros((3, len(EXPERTS))))
    pool.score(4, None)  # a missing value says nothing
    assert pool._seen.tolist() == [4, 3, 2]


def test_an_interval_widens_by_a_miss_and_narrows_by_a_hit_and_covers_in_the_long_run() -> None:
    rng, pool, hits = np.random.default_rng(0), ExpertPool(2, 0.8), []
    for row in range(3000):
        pool.remember(row, np.zeros((2, len(EXPERTS))))
        truth = float(rng.standard_t(3) * (1.0 + row / 1000))
        half, before = pool.half_width(), pool._multiple.copy()
        pool.score(row, truth)
        hits.append(abs(truth) <= half)
        if row > 2:
            assert pool._multiple[0] > before[0] if abs(truth) > half[0] else pool._multiple[0] < before[0]
    assert np.mean(hits, axis=0) == pytest.approx([0.8, 0.8], abs=0.02)


@pytest.mark.parametrize("seed", [10, 11])
def test_intervals_of_every_horizon_cover_on_a_walk_from_row_20_on(seed: int) -> None:
    values, hits, horizon = np.cumsum(np.random.default_rng(seed).standard_normal(300)), [], 6
    model = OnlineForecaster(horizon=horizon, **SMALL)
    for t, value in enumerate(values):
        if t >= 20 and t + horizon <= len(values):
            low, high = model.forecast_interval()
            hits.append((low <= values[t : t + horizon]) & (values[t : t + horizon] <= high))
        model.learn_one(value)
    assert np.mean(hits, axis=0) == pytest.approx([0.9] * horizon, abs=0.07)


def test_a_stream_is_forecast_no_worse_than_the_best_simple_forecast() -> None:
    rng = np.random.default_rng(5)
    streams = {
        "walk": np.cumsum(rng.standard_normal(300)),
        "noise": rng.standard_normal(300),
        "season": np.resize(SEASON, 300) + 0.3 * rng.standard_normal(300),
    }
    for name, values in streams.items():
        model, errors = OnlineForecaster(horizon=1, **SMALL), []
        for value in values:
            errors.append(abs(model.step_one(value).prediction - value))
        last = np.abs(np.diff(values))[19:].mean()
        mean = np.abs(values - np.cumsum(values) / np.arange(1, 301))[
            20:
        ].mean()  # a lower bound: it knows the value
        season = np.abs(values[4:] - values[:-4])[16:].mean()
        assert np.mean(errors[20:]) < 1.04 * min(last, mean, season), name


def test_one_outage_bends_nothing_for_long() -> None:
    values = noisy(120)
    wild = values.copy()
    wild[60] = 1e4
    calm, model = fed(values, memory=128), fed(wild, memory=128)
    assert model.forecast() == pytest.approx(calm.forecast(), abs=0.5)


@pytest.mark.parametrize("offset", [1e7, 1e9])
def test_an_offset_costs_no_digits(offset: float) -> None:
    values = noisy(64)
    small, large = fed(values, season=4), fed(values + offset, season=4)
    assert large.forecast() - offset == pytest.approx(small.forecast(), abs=0.05)
    low, high = large.forecast_interval()
    assert np.all(high - low < 5.0)


@pytest.mark.parametrize("scale", [1e-13, 1e13])
def test_the_unit_does_not_matter(scale: float) -> None:
    values = noisy(64)
    assert fed(values * scale).forecast() / scale == pytest.approx(fed(values).forecast(), rel=1e-3)


# Missing values and times.


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_value_is_a_request_and_moves_the_season_on(missing: Any) -> None:
    values = np.resize(SEASON, 62)
    model = fed(values[:60])
    seen = model.n_seen_
    step = model.step_one(missing)
    assert step.prediction == pytest.approx(5.0, abs=0.1)
    assert math.isnan(step.loss)
    assert model.n_seen_ == seen
    assert model.forecast(3) == pytest.approx([7.0, 9.0, 4.0], abs=0.1)


def test_several_requests_in_a_row_are_the_forecasts_further_ahead() -> None:
    model = fed(noisy(60))
    expected, (low, high) = model.forecast(3), model.forecast_interval(3)
    steps = [model.step_one(None) for _ in range(3)]
    assert [step.prediction for step in steps] == pytest.approx(expected.tolist(), rel=1e-6)
    # The interval is as wide as so far ahead of the last value it has to be.
    assert [step.low for step in steps] == pytest.approx(low.tolist(), rel=1e-6)
    assert [step.high for step in steps] == pytest.approx(high.tolist(), rel=1e-6)


def test_rows_that_the_clock_misses_are_missing_values() -> None:
    start, model = dt.datetime(2026, 1, 1), OnlineForecaster(horizon=3, **SMALL)
    for t in range(60):
        if t not in (50, 51):
            model.learn_one(SEASON[t % 4], t=start + dt.timedelta(hours=t))
    assert model.n_seen_ == 58
    assert model.forecast(3) == pytest.approx([5.0, 7.0, 9.0], abs=0.2)


def test_a_clock_knows_months_and_leaves_irregular_times_alone() -> None:
    clock = Clock()
    months = [dt.date(2025 + m // 12, m % 12 + 1, 1) for m in range(14)]
    assert [clock.advance(month, 12) for month in months] == [0] * 14
    assert clock.periods == (12,)
    assert clock.advance(dt.date(2026, 6, 1), 12) == 3
    rough = Clock()
    assert (
        sum(rough.advance(time, 0) for time in np.cumsum(np.random.default_rng(0).exponential(size=50))) == 0
    )


def test_a_long_gap_keeps_the_place_in_the_season() -> None:
    clock = Clock()
    for time in range(5):
        clock.advance(time, 7)
    missing = clock.advance(1_000_000, 7)
    assert missing < 1100
    assert (missing - (1_000_000 - 5)) % 7 == 0


# Files and copies.


@pytest.mark.parametrize("rows", [0, 2, 30])
def test_a_loaded_forecaster_goes_on_bit_for_bit(tmp_path: Path, rows: int) -> None:
    values, model = noisy(60), OnlineForecaster(horizon=3, **SMALL)

    def learn(one: OnlineForecaster, t: int) -> Any:
        y = None if t % 9 == 8 else float(values[t])
        return one.step_one(y, {"x": float(t % 5)}, t=float(t + (t > 20)))

    for t in range(rows):
        learn(model, t)
    model.save(tmp_path / "model.mole")
    copies = [
        OnlineForecaster.load(tmp_path / "model.mole"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    for t in range(rows, 60):
        expected = learn(model, t)
        for other in copies:
            assert str(learn(other, t)) == str(expected)  # as text, where NaN equals NaN
    for other in copies:
        assert np.array_equal(other.forecast(), model.forecast())
        assert np.array_equal(np.stack(other.forecast_interval()), np.stack(model.forecast_interval()))


def test_settings_survive_a_file(tmp_path: Path) -> None:
    model = fed(noisy(20), lags=(1, 3), season=None, level=0.8)
    model.save(tmp_path / "model.mole")
    other = OnlineForecaster.load(tmp_path / "model.mole")
    assert (other.horizon, other.lags, other.season, other.level) == (3, (1, 3), None, 0.8)
    assert other.model._settings == model.model._settings


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.mole"
    fed(noisy(20)).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError):
        OnlineForecaster.load(path)


# Errors.


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"horizon": 0}, ValueError, "horizon=0"),
        ({"lags": "automatic"}, ValueError, "lags='automatic'"),
        ({"lags": 0}, ValueError, "lags=0"),
        ({"season": 1}, ValueError, "season=1"),
        ({"season": True}, TypeError, "season=True"),
        ({"level": 1.0}, ValueError, "level=1.0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        OnlineForecaster(**settings)


def test_wrong_rows_are_refused_and_nothing_is_learned() -> None:
    model = fed(noisy(20))
    model.learn_one(5.0, t=100.0)
    before = model.forecast()
    with pytest.raises(ValueError, match="expected a number"):
        model.learn_one("word")
    with pytest.raises(ValueError, match="expected a finite number"):
        model.learn_one(math.inf)
    with pytest.raises(ValueError, match="expected a dict"):
        model.learn_one(1.0, [1.0])
    with pytest.raises(ValueError, match="expected other names"):
        model.learn_one(1.0, {"own level": 1.0})
    with pytest.raises(ValueError, match="in order of time"):
        model.learn_one(1.0, t=50.0)
    with pytest.raises(ValueError, match="expected a number, a datetime or ISO text"):
        model.learn_one(1.0, t="soon")
    assert np.array_equal(model.forecast(), before)


def test_wrong_requests_are_refused() -> None:
    model = fed(noisy(20))
    assert len(model.forecast(5)) == 5  # further than its horizon: without an interval
    with pytest.raises(ValueError, match="Make it with horizon=5"):
        model.forecast_interval(5)
    with pytest.raises(ValueError, match="2 rows in xs; expected 3"):
        model.forecast(3, [{}, {}])
    with pytest.raises(ValueError, match="level=2"):
        model.forecast_interval(level=2.0)


def test_before_the_first_value_nothing_is_known() -> None:
    model = OnlineForecaster(horizon=2, **SMALL)
    assert model.forecast().tolist() == [0.0, 0.0]
    low, high = model.forecast_interval()
    assert np.isinf(low).all() and np.isinf(high).all()
    model.learn_one(None)
    model.learn_one(3.0)
    assert model.forecast() == pytest.approx([3.0, 3.0])


# The method names of sktime.


def test_a_series_that_is_fitted_and_updated_is_the_one_that_is_learned_value_by_value() -> None:
    values = noisy(40)
    model = SeriesForecaster(horizon=3, **SMALL).fit(values[:30]).update(values[30:])
    assert np.array_equal(model.predict(), fed(values).forecast())
    assert np.array_equal(model.predict(fh=[3, 1]), fed(values).forecast()[[2, 0]])
    low, high = model.predict_interval(fh=2, coverage=0.5)
    expected = fed(values).forecast_interval(level=0.5)
    assert (low, high) == (expected[0][1:2], expected[1][1:2])
    # To fit is to begin anew.
    assert np.array_equal(model.fit(values[:30], fh=[2]).predict(), fed(values[:30]).forecast()[1:2])


def test_wrong_steps_and_rows_of_a_series_are_refused() -> None:
    model = SeriesForecaster(horizon=3, **SMALL).fit(noisy(10))
    with pytest.raises(ValueError, match="Steps count from 1"):
        model.predict(fh=[0])
    with pytest.raises(ValueError, match="expected one or more steps"):
        model.predict(fh=[])
    with pytest.raises(ValueError, match="1 rows in X; expected 2"):
        model.predict(fh=2, X=[{}])
