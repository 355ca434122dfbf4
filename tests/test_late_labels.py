"""Labels that come later than their rows, and threads that predict while another one learns."""

import copy
import pickle
import threading

import numpy as np
import pytest

import mole
from mole.cli import main
from mole.estimators import late
from mole.pipeline.runner import StreamRun, StreamSettings
from mole.pipeline.sources import Row


def rows(n, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 2))
    return x, 2 * x[:, 0] - x[:, 1] + 0.1 * generator.normal(size=n)


def test_a_label_by_id_is_learned_as_the_pair_would_be():
    x, y = rows(40)
    late_one, pairs = mole.OnlineRegressor(), mole.OnlineRegressor()
    for k, (row, target) in enumerate(zip(x, y, strict=True)):
        assert late_one.predict_one(row, id=k) == pairs.predict_one(row)
        late_one.learn_one(y=target, id=k)
        pairs.learn_one(row, target)
    assert late_one.predict_one(x[0]) == pairs.predict_one(x[0])
    assert len(late_one._pending) == 0


def test_labels_in_any_order_equal_pairs_in_that_order():
    x, y = rows(30)
    order = np.random.default_rng(1).permutation(30)
    late_one, pairs = mole.OnlineRegressor(), mole.OnlineRegressor()
    late_one.learn_one([0.0, 0.0], 0.0)
    pairs.learn_one([0.0, 0.0], 0.0)
    for k in range(30):
        late_one.predict_interval_one(x[k], id=f"row {k}")
    for k in order:
        late_one.learn_one(y=y[k], id=f"row {k}")
        pairs.learn_one(x[k], y[k])
    assert late_one.predict_one(x[0]) == pairs.predict_one(x[0])


def test_the_row_is_kept_as_it_was_asked_for():
    model, row = mole.OnlineRegressor(), np.array([1.0, 2.0])
    model.predict_one(row, id="a")
    row[:] = 99.0
    model.learn_one(y=1.0, id="a")
    assert np.array_equal(model._rows[-1], [1.0, 2.0])


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_intervals_learn_from_the_forecast_that_was_made(offset, monkeypatch):
    """And not from the one at the time of the label, which knows what came between."""
    x, y = rows(60)
    model = mole.OnlineRegressor().learn_many(x[:40], offset + y[:40])
    made, scored = model.predict_one(x[40], id="early"), []
    model.learn_many(x[41:50], offset + 5 * y[41:50])
    assert model._intervals is not None
    monkeypatch.setattr(model._intervals, "update", lambda *given: scored.append(given))
    model.learn_one(y=offset + y[40], id="early")
    target, mean, _, _ = scored[0]
    assert mean[0] - target[0] == pytest.approx(made - (offset + y[40]), abs=1e-5)
    assert abs(model.predict_one(x[40]) - made) > 1e-3


def test_classes_may_come_late_too():
    generator, model = np.random.default_rng(4), mole.OnlineClassifier()
    for k in range(60):
        x = generator.normal(size=2)
        step = model.step_one(x, id=k)
        assert step.prediction in (None, "low", "high")
        if k >= 5:
            model.learn_one(y="high" if model._pending.get(k - 5).x[0] > 0 else "low", id=k - 5)
    assert model.predict_one([2.0, 0.0]) == "high"
    assert len(model._pending) == 5


def test_waiting_rows_survive_a_file(tmp_path):
    model = mole.OnlineRegressor()
    for x, y in zip(*rows(20), strict=True):
        model.learn_one({"a": x[0], "w": "pq"[int(y > 0)]}, 1e9 + y)
    model.predict_one({"a": 0.5, "w": "p"}, id="later")
    model.predict_one({"a": None, "w": "q"}, id=7)
    model.save(tmp_path / "model.mole")
    again = mole.OnlineRegressor.load(tmp_path / "model.mole")
    for one in (model, again):
        one.learn_one(y=1e9, id=7)
        one.learn_one(y=1e9 + 1, id="later")
    ask = {"a": 0.1, "w": "q"}
    assert model.predict_interval_one(ask) == again.predict_interval_one(ask)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m: m.learn_one(y=1.0, id="b"), KeyError, "knows no row 'b' that waits for its label .1 do"),
        (lambda m: m.forget("b"), KeyError, "knows no row 'b'"),
        (lambda m: m.learn_one([1.0, 2.0], 1.0, id="a"), ValueError, "got a row and the id 'a'; expected one of them"),
        (lambda m: m.predict_one([1.0, 2.0], id="a"), ValueError, "got the id 'a' for a second row"),
        (lambda m: m.predict_one([1.0, 2.0], id=1.5), TypeError, "got the id 1.5 of type float"),
        (lambda m: m.learn_one(y="much", id="a"), ValueError, "expected numbers"),
    ],
)  # fmt: skip
def test_wrong_ids_are_told_and_nothing_is_lost(call, error, match):
    model = mole.OnlineRegressor()
    model.predict_one([0.0, 1.0], id="a")
    with pytest.raises(error, match=match):
        call(model)
    assert (model.n_seen_, len(model._pending)) == (0, 1)
    model.learn_one(y=1.0, id="a")
    assert model.n_seen_ == 1


def test_only_so_many_rows_wait(monkeypatch):
    monkeypatch.setattr(late, "MOST_PENDING", 3)
    model = mole.OnlineRegressor()
    for k in range(5):
        model.predict_one([float(k)], id=k)
    assert model.faults_["forgotten"] == 2
    with pytest.raises(KeyError, match="Only the newest"):
        model.learn_one(y=0.0, id=1)
    model.forget(2)
    model.learn_one(y=0.0, id=4)
    assert len(model._pending) == 1


def test_threads_predict_and_save_while_another_one_learns(tmp_path):
    x, y = rows(150)
    model = mole.OnlineRegressor().learn_many(x[:20], y[:20])
    wrong, done = [], threading.Event()

    def ask(number):
        while not done.is_set():
            try:
                if number == 0:
                    model.save(tmp_path / "model.mole")
                low, high = model.predict_interval_one(x[0])
                if not low <= high:
                    wrong.append((low, high))
            except Exception as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    # With a growth of the prior among them, which changes the compiled program and the state at once.
    model.learn_many(x[20:], y[20:])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    alone = mole.OnlineRegressor().learn_many(x, y)
    assert model.predict_one(x[0]) == alone.predict_one(x[0])


def test_copies_have_a_lock_of_their_own():
    model = mole.OnlineRegressor().learn_many(*rows(10))
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied._lock is not model._lock
        assert copied.predict_one([1.0, 0.0]) == model.predict_one([1.0, 0.0])


# The command, with targets that become known some rows later.


def table(n, seed=5):
    x, y = rows(n, seed)
    return [{"a": a, "b": b, "y": t} for (a, b), t in zip(x.tolist(), y.tolist(), strict=True)]


def outcomes(run, records, first=0):
    return [run.step(Row(first + k + 2, dict(record), "", {})) for k, record in enumerate(records)]


def begun(delay):
    return StreamRun(StreamSettings("y", "regression", label_delay=delay), mole.OnlineRegressor())


def test_a_delay_of_one_row_is_none():
    records = table(60)
    told, plain = outcomes(begun(1), records), outcomes(begun(0), records)
    assert [one.prediction for one in told] == [one.prediction for one in plain]


def test_a_delay_gives_the_figures_of_river():
    pytest.importorskip("river")
    from river.evaluate import iter_progressive_val_score
    from river.metrics import MAE

    from mole.adapters.river import MoleRegressor

    records, delay = table(80), 7
    pairs = [({"a": r["a"], "b": r["b"]}, r["y"]) for r in records]
    *_, last = iter_progressive_val_score(pairs, MoleRegressor(), MAE(), step=1, delay=delay)
    found = outcomes(begun(delay), records)
    assert np.mean([abs(one.prediction - one.target) for one in found]) == pytest.approx(
        last["MAE"].get(), rel=1e-12
    )


def test_a_run_with_late_labels_goes_on_from_a_file(tmp_path):
    records = table(50)
    whole, run = outcomes(begun(6), records), begun(6)
    head = outcomes(run, records[:20])
    run.estimator.save(tmp_path / "model.mole")
    again = StreamRun(run.settings, mole.OnlineRegressor.load(tmp_path / "model.mole"))
    again.restore(run.to_json())
    assert [one.prediction for one in head + outcomes(again, records[20:], 20)] == [
        one.prediction for one in whole
    ]
    assert again.learned == 44


def test_the_command_predicts_without_the_newest_targets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    records = table(40)
    lines = ["a,b,y", *(f"{r['a']},{r['b']},{r['y']}" for r in records)]
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    command = ["stream", "data.csv", "--target", "y", "--out", "out.csv", "--label-delay"]
    assert main([*command, "10"]) == 0
    assert "40 rows, 30 learned" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "out.csv").read_text().splitlines()[5].split(",")[1] == "0"  # nothing was known yet
    for wrong in ("-1", "10001"):
        assert main([*command, wrong]) != 0
        assert "expected 0 to 10,000 rows" in " ".join(capsys.readouterr().err.split())
