import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mole.control.records import EpisodeRecord
from mole.experiment import metrics


def record(true_task, task=None, *, slots=4, probe=None, **arrays) -> EpisodeRecord:
    true_task = np.asarray(true_task)
    steps = len(true_task)
    task = np.zeros(steps, int) if task is None else np.asarray(task)
    probabilities = np.zeros((steps, slots))
    probabilities[np.arange(steps), task] = 1.0
    values = {
        "reward": np.ones(steps),
        "loss": np.ones(steps),
        "n_tasks": np.ones(steps, int),
        "spawned": np.zeros(steps, bool),
        "at_capacity": np.zeros(steps, bool),
        "rejected": np.zeros(steps, bool),
        "position": np.arange(steps) * 0.5,
        "upright": np.ones(steps),
        "seconds": np.full(steps, 0.01),
    } | arrays
    meta = {"env": "E", "method": "m", "schedule": "s", "seed": 0, "step_seconds": 0.05, "complete": True}
    meta |= {"error": None} | ({} if probe is None else {"random_action_error": probe[0]})
    return EpisodeRecord(task=task, true_task=true_task, responsibilities=probabilities, **values, meta=meta)


def visits(*pairs):
    return np.concatenate([np.full(length, value) for value, length in pairs])


def test_switches_and_steps_since():
    truth = np.array([0, 0, 1, 1, -1, -1, 2, 0])
    np.testing.assert_array_equal(metrics.switches(truth), [2, 7])  # to and from "unknown" is no known switch
    np.testing.assert_array_equal(metrics.steps_since_switch(truth), [-1, -1, 0, 1, 2, 3, 4, 0])
    assert metrics.switches(np.zeros(0, int)).size == 0


def test_return_is_scaled_to_a_thousand_steps():
    run = record(np.zeros(4, int), reward=np.array([1.0, 2.0, 3.0, 6.0]))
    assert metrics.return_per(run) == 3000.0
    assert metrics.return_per(run, steps=10) == 30.0


def test_a_refused_pair_has_no_error_and_a_run_that_diverged_has_none_at_all():
    loss, refused = np.array([2.0, np.nan, 4.0]), np.array([False, True, False])
    assert metrics.one_step_error(record(np.zeros(3, int), loss=loss, rejected=refused))["all"] == 3.0
    assert np.isnan(metrics.one_step_error(record(np.zeros(3, int), loss=loss))["all"])


def test_errors_are_grouped_by_distance_from_the_switch():
    loss = np.ones(150)
    loss[:20] = 7.0  # start of the run
    loss[50:55], loss[55:70] = 5.0, 3.0  # a switch at 50
    loss[100:105], loss[105:120] = 9.0, 5.0  # and one at 100
    found = metrics.one_step_error(record(visits((0, 50), (1, 50), (0, 50)), loss=loss))
    assert found["start"] == 7.0
    assert found["first_5"] == 7.0
    assert found["from_5_to_20"] == 4.0
    assert found["first_20"] == pytest.approx((7 * 10 + 4 * 30) / 40)
    assert found["rest"] == 1.0
    assert found["all"] == pytest.approx(loss.mean())


def test_without_a_switch_there_is_no_error_after_one():
    found = metrics.one_step_error(record(np.zeros(30, int), loss=np.arange(30.0)))
    assert math.isnan(found["first_20"])
    assert (found["start"], found["rest"]) == (9.5, 24.5)


def test_recall_and_its_delay_by_hand():
    truth = visits((0, 20), (1, 20), (0, 20), (1, 20), (0, 20))
    task = np.concatenate(
        [
            visits((0, 20)),
            visits((0, 3), (1, 17)),
            visits((0, 20)),  # back at once: delay 1
            visits((0, 4), (1, 1), (0, 3), (1, 12)),  # a lonely choice does not count: delay 4 + 1 + 3 + 1
            visits((1, 5), (2, 15)),  # lost: a third slot
        ]
    )
    found = metrics.recall(record(truth, task))
    np.testing.assert_array_equal(found.step, [40, 60, 80])
    np.testing.assert_array_equal(found.true_task, [0, 1, 0])
    np.testing.assert_array_equal(found.recalled, [True, True, False])
    np.testing.assert_array_equal(found.delay, [1.0, 9.0, np.nan])


def test_the_home_follows_the_latest_visit():
    truth = visits((0, 10), (1, 10), (0, 10), (1, 10), (0, 10))
    task = visits((0, 10), (1, 10), (2, 10), (1, 10), (2, 10))
    np.testing.assert_array_equal(metrics.recall(record(truth, task)).recalled, [False, True, True])


def test_one_slot_for_everything_recalls_nothing():
    truth = visits((0, 10), (1, 10), (0, 10))
    assert not metrics.recall(record(truth, np.zeros(30, int))).recalled.any()
    assert math.isnan(metrics.summarise(record(truth, slots=1))["recall"])


def test_unknown_truth_has_no_recall():
    found = metrics.recall(record(np.full(40, -1), visits((0, 20), (1, 20))))
    assert all(column.size == 0 for column in found)


def test_arrival_on_the_last_step_of_a_visit_counts():
    np.testing.assert_equal(metrics._delay(np.array([False, False, True])), 3.0)
    assert math.isnan(metrics._delay(np.array([True, False, False, True, False])))


@given(st.permutations([0, 1, 2, 3]), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_renaming_slots_changes_no_metric_when_homes_are_clear(names, seed):
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(0, 3, 8), 11)
    task = np.where(rng.random(len(truth)) < 0.2, rng.integers(0, 4, len(truth)), truth)
    # ties in a home are broken by the slot's number, so the last half is made unanimous
    last_half = np.zeros(len(truth), bool)
    edges = [0, *metrics.switches(truth).tolist(), len(truth)]
    for start, stop in itertools.pairwise(edges):
        last_half[start + (stop - start) // 2 : stop] = True
    task = np.where(last_half, truth, task)
    plain = metrics.summarise(record(truth, task))
    renamed = metrics.summarise(record(truth, np.asarray(names)[task]))
    assert plain == pytest.approx(renamed, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_adjusted_rand_against_counting_pairs(rows):
    labels, truth = np.array(rows).T
    pairs = list(itertools.combinations(range(len(rows)), 2))
    a = np.array([labels[i] == labels[j] for i, j in pairs])
    b = np.array([truth[i] == truth[j] for i, j in pairs])
    expected = a.sum() * b.sum() / len(pairs)
    most = (a.sum() + b.sum()) / 2
    brute = 1.0 if most == expected else ((a & b).sum() - expected) / (most - expected)
    assert metrics.adjusted_rand(labels, truth) == pytest.approx(brute)


def test_numbers_of_tasks_cost_no_memory():
    """A record from a stranger may call its tasks what it likes, and every step differently."""
    labels = np.array([2**56, 2**56, 3, 3])
    assert metrics.purity(labels, labels) == 1.0
    assert metrics.adjusted_rand(labels, labels) == 1.0
    many = np.arange(200_000)
    assert (metrics.adjusted_rand(many, many), metrics.purity(many, many)) == (1.0, 1.0)


def test_adjusted_rand_known_values():
    assert metrics.adjusted_rand(np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])) == 1.0
    assert metrics.adjusted_rand(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])) == pytest.approx(4 / 7)
    assert metrics.adjusted_rand(np.array([0, 0, 5]), np.array([1, 1, -1])) == 1.0
    assert math.isnan(metrics.adjusted_rand(np.array([0, 1]), np.array([-1, -1])))
    with pytest.raises(ValueError, match=r"labels have shape \(2,\) and truth \(3,\)"):
        metrics.adjusted_rand(np.zeros(2), np.zeros(3))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 2)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_purity_against_counting(rows):
    known = [(slot, task) for slot, task in rows if task >= 0]
    found = metrics.purity(*np.array(rows).T)
    if not known:
        assert math.isnan(found)
        return
    best = 0
    for slot in range(4):
        tasks = [task for where, task in known if where == slot]
        best += max((tasks.count(task) for task in tasks), default=0)
    assert found == pytest.approx(best / len(known))


def test_purity_forgives_a_split_task_and_the_rand_index_does_not():
    truth = visits((0, 10), (1, 10))
    split = visits((0, 10), (1, 5), (2, 5))
    assert metrics.purity(split, truth) == 1.0 > metrics.adjusted_rand(split, truth)
    assert metrics.purity(np.zeros(20, int), truth) == 0.5


def test_the_settled_index_leaves_out_the_steps_after_a_switch_alone():
    truth = visits((0, 30), (1, 30), (0, 30))
    np.testing.assert_array_equal(np.flatnonzero(~metrics.settled(truth)), [*range(30, 35), *range(60, 65)])
    late = np.r_[truth[:1], truth[:-1]]  # always right, one step late
    wrong = truth.copy()
    wrong[10:15] = 1  # confused in the middle of a visit
    a, b = metrics.summarise(record(truth, late)), metrics.summarise(record(truth, wrong))
    assert a["adjusted_rand"] < a["adjusted_rand_settled"] == 1.0
    assert b["adjusted_rand_settled"] < 1.0
    assert (a["recall_delay"], a["purity"]) == (2.0, pytest.approx(88 / 90))
    alone = metrics.summarise(record(truth, slots=1))
    assert all(math.isnan(alone[name]) for name in ("adjusted_rand", "adjusted_rand_settled", "purity"))


def test_summary():
    truth = visits((0, 30), (1, 30), (0, 30))
    run = record(
        truth,
        truth,
        n_tasks=visits((1, 30), (2, 60)),
        spawned=np.arange(90) == 30,
        upright=visits((1.0, 45), (-1.0, 45)),
        seconds=np.r_[5.0, np.full(89, 0.02)],  # the first step compiles: the median does not care
    )
    found = metrics.summarise(run)
    assert all(type(value) is float for value in found.values())
    assert (found["recall"], found["returns"], found["recall_delay"], found["adjusted_rand"]) == (
        1.0,
        1.0,
        1.0,
        1.0,
    )
    assert (found["tasks_at_end"], found["spawned"], found["upright"]) == (2.0, 1.0, 0.5)
    assert (found["progress"], found["seconds_per_step"], found["return_per_1000"]) == (44.5, 0.02, 1000.0)


def test_the_error_under_random_actions_is_taken_from_the_header():
    def found(probe):
        return metrics.summarise(record(np.zeros(3, int), probe=probe))["error_random_actions"]

    assert found((0.25,)) == 0.25
    assert type(found((1,))) is float
    assert math.isnan(found((None,)))
    assert math.isnan(found(None))  # the header does not speak of it


def test_unknown_posture_is_not_a_number_and_no_steps_are_an_error():
    blind = record(np.zeros(3, int), upright=np.full(3, np.nan), seconds=np.full(3, np.nan))
    assert math.isnan(metrics.fraction_upright(blind))
    assert math.isnan(metrics.summarise(blind)["seconds_per_step"])
    with pytest.raises(ValueError, match="the record has no steps, expected at least one"):
        metrics.summarise(record(np.zeros(0, int)))
