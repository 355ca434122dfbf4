"""The benchmark of streams: its measures, its change-point baseline, and that every method learns as it should."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("river")
pytest.importorskip("sklearn")
from benchmarks.streams import cells
from benchmarks.streams.bocpd import RunLengths, mixture_quantile
from benchmarks.streams.main import METHODS, jobs, main
from benchmarks.streams.measures import Trace, measure, run_stream
from benchmarks.streams.own import family_prior
from benchmarks.streams.protocol import Method, Problem, Standardiser
from benchmarks.streams.table import stream_table, summary

from mole.datasets import Stream, make_stream

PEERS = [
    name for name in METHODS if name.startswith(("river", "sklearn")) or name in ("replay", "change-points")
]


def regression(task, y) -> Stream:
    task, y = np.asarray(task), np.asarray(y, float)
    return Stream(np.arange(len(task))[:, None], y[:, None], task, "by-hand")


class Last:
    """Predicts the last target, and keeps the order of the calls."""

    def __init__(self):
        self.last, self.calls = np.zeros(1), []

    def predict(self, x):
        self.calls.append(("predict", float(x[0])))
        return self.last

    def learn(self, x, y):
        self.calls.append(("learn", float(x[0])))
        self.last = np.asarray(y)


def test_a_run_predicts_each_pair_before_it_learns_it():
    learner = Last()
    trace = run_stream(regression([0, 0, 0], [1, 2, 4]), learner)
    assert learner.calls == [(what, t) for t in (0.0, 1.0, 2.0) for what in ("predict", "learn")]
    assert trace.prediction[:, 0].tolist() == [0, 1, 2]
    assert np.isnan(trace.low).all()
    assert (trace.seconds > 0).all()


def trace_of(prediction, low=np.nan, high=np.nan) -> Trace:
    prediction = np.asarray(prediction, float)
    ends = [np.broadcast_to(np.asarray(end, float), prediction.shape) for end in (low, high)]
    return Trace(prediction, ends[0], ends[1], np.ones(len(prediction)), None)


def test_errors_are_split_by_pairs_since_a_switch_and_since_a_return():
    task = [0] * 2 + [1] * 7 + [0] * 30
    loss = np.zeros(39)
    loss[0], loss[2:7], loss[7:9], loss[9:14], loss[14:29], loss[29:] = 100, 4, 9, 16, 25, 36
    stream = Stream(np.zeros((39, 1)), np.zeros((39, 1)), np.array(task), "sinusoid-fresh")  # its unit is 1
    found = measure(stream, trace_of(np.sqrt(loss)[:, None]))
    assert found["error"] == pytest.approx(np.sqrt(loss.mean()))
    assert found["after-first"] == pytest.approx(np.sqrt((4 * 5 + 16 * 5) / 10))
    assert found["after-early"] == pytest.approx(np.sqrt((9 * 2 + 25 * 15) / 17))
    assert (found["after-later"], found["return-later"]) == (pytest.approx(6), pytest.approx(6))
    assert found["return-first"] == pytest.approx(4)
    assert found["return-early"] == pytest.approx(5)
    assert found["diverged"] == 0
    assert measure(stream, trace_of(np.sqrt(loss)[:, None]), start=1)["error"] < found["error"]


def test_errors_are_in_standard_deviations_of_each_target():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 2)) * [1, 100]
    stream = Stream(np.zeros((200, 1)), y, np.zeros(200), "two")
    found = measure(stream, trace_of(np.broadcast_to(y.mean(axis=0), (200, 2))))
    assert found["error"] == pytest.approx(1, rel=1e-4)
    assert found["after-first"] is None  # nothing ever switches


def test_coverage_counts_pairs_with_an_interval_and_those_near_a_switch():
    stream = regression([0] * 10 + [1] * 30, np.zeros(40))
    low = np.full((40, 1), -1.0)
    low[:4] = np.nan  # not yet known
    low[10:15] = 0.5  # missed just after the switch
    found = measure(stream, trace_of(np.zeros((40, 1)), low, 1.0))
    assert found["coverage"] == pytest.approx(31 / 36)
    assert found["coverage-switch"] == pytest.approx(15 / 20)
    assert found["width"] == pytest.approx((31 * 2 + 5 * 0.5) / 36)


def test_labels_are_judged_by_errors_and_log_loss_and_certainty_of_the_wrong_is_bounded():
    stream = Stream(np.zeros((4, 1)), np.array([0, 1, 1, 0]), np.zeros(4), "labels", "classification", 2)
    found = measure(stream, trace_of([[0.8, 0.2], [0.4, 0.6], [1.0, 0.0], [0.5, 0.5]]))
    assert found["error"] == pytest.approx(0.25)
    assert found["log-loss"] == pytest.approx(-np.mean(np.log([0.8, 0.6, 1e-3, 0.5])))


def test_a_run_that_diverged_has_no_error_and_says_so():
    found = measure(regression([0, 0], [1, 2]), trace_of([[np.nan], [2.0]]))
    assert found["error"] is None
    assert found["diverged"] == 1


def slow_log_evidence(z, y, noise, prior_scale):
    """log p(y) of a normal-inverse-gamma regression, pair by pair as a multivariate Student-t (dy = 1)."""
    if not len(y):
        return 0.0
    covariance = np.eye(len(y)) + prior_scale**2 * z @ z.T
    shape, rate = 1.0, 2 * noise**2
    return stats.multivariate_t(np.zeros(len(y)), rate / shape * covariance, df=2 * shape).logpdf(y)


def test_run_lengths_have_the_posterior_of_all_segmentations():
    rng = np.random.default_rng(1)
    n, hazard = 7, 0.2
    z = rng.normal(size=(n, 2))
    y = np.concatenate([z[:4] @ [2.0, 0.0], z[4:] @ [-2.0, 1.0]]) + 0.1 * rng.normal(size=n)
    runs = RunLengths(2, 1, hazard=hazard, prior_scale=2.0, noise=0.3, keep=100)
    for a, b in zip(z, y, strict=True):
        runs.update(a, np.array([b]))
    posterior = np.zeros(n + 1)
    for cuts in range(2**n):  # bit t: a change after pair t; every segmentation, one by one
        ends = [t + 1 for t in range(n) if cuts >> t & 1]
        edges = [0, *ends, n]
        log_p = len(ends) * np.log(hazard) + (n - len(ends)) * np.log1p(-hazard)
        log_p += sum(slow_log_evidence(z[a:b], y[a:b], 0.3, 2.0) for a, b in pairwise(edges))
        posterior[n - (ends[-1] if ends else 0)] += np.exp(log_p)
    np.testing.assert_allclose(np.exp(runs.log_weight), (posterior / posterior.sum())[runs.length], rtol=1e-8)
    assert len(runs.length) == n + 1


def test_without_changes_the_filter_is_ridge_regression():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    runs = RunLengths(3, 2, hazard=1e-12, prior_scale=0.5, noise=0.3, keep=60)
    for a, b in zip(z, y, strict=True):
        runs.update(a, b)
    best = np.argmax(runs.length)
    ridge = np.linalg.solve(z.T @ z + np.eye(3) / 0.25, z.T @ y)
    np.testing.assert_allclose(runs.mean[best], ridge, rtol=1e-8)


def test_a_change_shortens_the_most_probable_run():
    rng = np.random.default_rng(0)
    runs = RunLengths(2, 1, hazard=0.01, prior_scale=3.0, noise=0.1, keep=20)
    for t in range(100):
        z = rng.normal(size=2)
        runs.update(z, np.array([z @ ([1.0, 1.0] if t < 60 else [-1.0, 2.0]) + 0.1 * rng.normal()]))
    assert abs(runs.length[np.argmax(runs.log_weight)] - 40) <= 2
    assert len(runs.length) == 20


def test_the_quantile_of_a_mixture_is_where_its_distribution_says():
    mean, scale, freedom = np.array([[0.0], [3.0]]), np.array([[1.0], [0.2]]), np.array([4.0, 9.0])
    weight = np.array([0.3, 0.7])
    at = mixture_quantile(0.05, weight, mean, scale, freedom)
    below = weight @ stats.t.cdf(at, freedom[:, None], mean, scale)
    np.testing.assert_allclose(below, 0.05, atol=1e-8)


def test_the_standardiser_agrees_with_numpy_and_can_be_frozen():
    values = np.random.default_rng(0).normal(3, 2, (40, 2))
    running, frozen = Standardiser(2), Standardiser(2, until=10)
    for value in values:
        running.see(value)
        frozen.see(value)
    np.testing.assert_allclose(running.forward(values), (values - values.mean(0)) / values.std(0))
    np.testing.assert_allclose(frozen.mean, values[:10].mean(0))
    np.testing.assert_allclose(running.back(running.forward(values)), values)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("stream", ["linear-stationary", "mlp-two-outputs", "labels-rotated"])
def test_every_method_does_better_than_the_mean_or_a_guess(name, stream, tmp_path):
    pairs = make_stream(stream, 200, 0)
    pairs = Stream(pairs.x, pairs.y, np.zeros(200), stream, pairs.kind, pairs.n_classes)
    settings = {**METHODS[name].usual, **({"grace": 25} if "tree" in name else {})}
    if name == "sklearn-mlp":
        settings |= {"rate": 0.01, "steps": 4}
    found = cells.run_once(pairs, METHODS[name], settings, 0, tmp_path, start=100)
    guess = 0.75 if pairs.kind == "classification" else 1.0
    assert found["error"] < 0.85 * guess
    assert found["diverged"] == 0


def test_change_points_give_intervals_that_cover(tmp_path):
    found = cells.run_once(
        make_stream("linear-stationary", 400, 0), METHODS["change-points"], dict(METHODS["change-points"].usual), 0,
        tmp_path, start=100,
    )  # fmt: skip
    assert 0.85 < found["coverage"] < 0.97


def test_settings_that_are_drawn_are_json_and_keep_the_names_of_the_usual_ones():
    for method in METHODS.values():
        candidates = method.candidates(4, np.random.default_rng(0))
        assert json.loads(json.dumps(candidates)) == candidates
        assert {frozenset(one) for one in candidates} == {frozenset(method.usual)}
        assert candidates[0] == dict(method.usual)


def constant(value_of) -> Method:
    """A method that predicts a constant and counts how often it was made."""

    class Constant(Last):
        def __init__(self, problem, settings, seed):
            super().__init__()
            made.append(settings)
            self.last = np.array([settings["value"]], float)

        def learn(self, x, y):
            if value_of is None:
                raise ValueError("input contains infinity")

    made: list = []
    method = Method("constant", Constant, {"value": 50.0}, lambda rng: {"value": value_of(rng)})
    object.__setattr__(method, "made", made)
    return method


def test_tuning_keeps_the_best_setting_and_neither_it_nor_a_cell_is_made_twice(tmp_path):
    values = iter([1.0, -0.2, 9.0])
    method = constant(lambda rng: next(values))
    chosen = cells.tune("linear-stationary", method, 50, 4, tmp_path)
    (record,) = (tmp_path / "tune").rglob("constant.json")
    tried = {one["settings"]["value"]: one["error"] for one in json.loads(record.read_text())["tried"]}
    assert set(tried) == {50.0, 1.0, -0.2, 9.0}
    assert tried[chosen["value"]] == min(tried.values()) < tried[50.0]
    assert cells.tune("linear-stationary", method, 50, 4, tmp_path) == chosen
    assert len(method.made) == 4
    first = cells.cell("linear-stationary", method, 3, chosen, 50, tmp_path)
    assert cells.cell("linear-stationary", method, 3, chosen, 50, tmp_path) == first
    assert len(method.made) == 5
    other = cells.cell("linear-stationary", method, 3, {"value": 7.0}, 50, tmp_path)
    assert other["error"] > first["error"]
    assert cells.stored_cells("linear-stationary", method, 50, tmp_path) == [other]
    target = tmp_path / "tune.json"
    cells.collect_tuned(tmp_path, target)
    assert cells.tuned_settings(target, "linear-stationary", method, 50, 4) == chosen
    assert cells.tuned_settings(target, "linear-stationary", method, 50, 8) is None


def test_recorded_pairs_that_tuned_are_not_scored(tmp_path):
    seen = []

    class Counting(Last):
        def __init__(self, problem, settings, seed):
            super().__init__()
            seen.append(self)

    method = Method("counting", Counting, {"a": 1}, lambda rng: {"a": 2})
    cells.tune("airline-passengers", method, None, 2, tmp_path)
    found = cells.cell("airline-passengers", method, 0, {"a": 1}, None, tmp_path)
    assert [len(one.calls) // 2 for one in seen] == [36, 36, 144]
    y = make_stream("airline-passengers", 144).y[:, 0].astype(float)
    assert found["error"] == pytest.approx(np.sqrt(np.mean(np.square(np.diff(y)[35:]))) / y.std(), rel=1e-4)


def test_numbers_that_blow_up_are_a_result_and_a_mistake_is_not(tmp_path):
    found = cells.run_once(make_stream("linear-stationary", 5, 0), constant(None), {"value": 0}, 0, tmp_path)
    assert found["diverged"] == 1
    assert "infinity" in found["failure"]
    with pytest.raises(KeyError):
        cells.run_once(make_stream("linear-stationary", 5, 0), constant(None), {}, 0, tmp_path)


def test_a_prior_of_the_family_is_made_once_and_the_oracle_hears_the_task(tmp_path):
    stream = make_stream("sinusoid-returning", 60, 0)
    problem = Problem.of(stream, tmp_path)
    prior = family_prior(problem, 8, iterations=20)
    (path,) = tmp_path.glob("*.mole")
    before = path.stat().st_mtime_ns
    family_prior(problem, 8, iterations=20)
    assert path.stat().st_mtime_ns == before
    assert prior.window == 8
    path.rename(tmp_path / path.name.replace("iterations-20", "iterations-10000"))
    for name in ("oracle-family", "kshot-family", "continuous-family"):
        found = cells.run_once(stream, METHODS[name], dict(METHODS[name].usual), 0, tmp_path)
        assert found["diverged"] == 0
        assert 0 <= found["coverage"] <= 1
    assert METHODS["oracle-family"].fits("sinusoid-fresh")
    assert not METHODS["oracle-family"].fits("linear-fresh")


def test_shares_divide_the_jobs():
    streams, methods = ["linear-fresh", "sinusoid-fresh"], list(METHODS)
    shares = [[(s, m.name) for s, m in jobs(streams, methods, f"{i}/3")] for i in range(3)]
    whole = [(s, m.name) for s, m in jobs(streams, methods, "0/1")]
    assert sorted(one for share in shares for one in share) == sorted(whole)
    with pytest.raises(SystemExit, match="got --shard 3/3; expected I/N"):
        list(jobs(streams, methods, "3/3"))


def test_the_table_has_an_interval_from_two_seeds_on():
    one = {
        "error": 1.0,
        "kind": "regression",
        "length": 9,
        "diverged": 0,
        "microseconds": 3.0,
        "microseconds-mean": 4.0,
    }
    assert np.isnan(summary([one], "error").low)
    found = summary([one, {**one, "error": 2.0}], "error")
    assert (found.value, found.low, found.high) == (1.5, 1.0, 2.0)
    assert summary([{**one, "error": None}], "error") is None
    table = stream_table(
        "t", {"worse": [{**one, "error": 2.0}], "better": [one], "none": [{**one, "error": None}]}
    )
    assert list(table.columns[0].cells) == ["better", "worse", "none"]


def test_the_command_tunes_runs_and_prints(tmp_path, capsys):
    line = "--streams linear-fresh --methods river-linear --seeds 2 --length 40 --budget 2 --out"
    main([*line.split(), str(tmp_path)])
    assert "river-linear" in capsys.readouterr().out
    assert "linear-fresh-40" in json.loads((tmp_path / "tune.json").read_text())
    figures = json.loads((tmp_path / "summary.json").read_text())["linear-fresh"]["river-linear"]
    assert figures["seeds"] == 2
    assert "linear-fresh" in (tmp_path / "tables.txt").read_text()
