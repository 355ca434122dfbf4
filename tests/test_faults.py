"""Sensors fail in every way at once; afterwards every learner is finite, and as good as it would have been."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from benchmarks.faults import ORDER, PLAUSIBLE, WILD, clean_stream, learners, outcome, padded, run
from hypothesis import given, settings
from hypothesis import strategies as st

from mole.pipeline.faults import FAULTS, inject

X, Y = clean_stream()
LEARNERS = learners()
SEEN = {
    "nan": "not_finite",
    "infinity": "not_finite",
    "overflow": "out_of_reach",
    "spikes": "out_of_reach",
    "stuck": "repeated",
}
"""What a fault is called in ``Info.fault`` where one pair, or a few, can tell it."""


@functools.cache
def clean(name):
    return np.asarray(run(LEARNERS[name], padded(X), padded(Y))[1].loss)


def mixed(names):
    """One to four faults of these kinds, apart, all but the last in the first two thirds."""
    fault = st.tuples(st.sampled_from(names), st.integers(0, 20), st.integers(1, 40))

    def placed(chosen):
        return [
            (name, 200 + 70 * place + begin, length) for place, (name, begin, length) in enumerate(chosen)
        ]

    return st.tuples(st.lists(fault, min_size=1, max_size=4).map(placed), st.integers(0, 999))


every_learner = pytest.mark.parametrize("name", LEARNERS)


@every_learner
@given(given_=mixed(WILD + ORDER))
@settings(max_examples=12)
def test_wild_lost_and_mixed_up_pairs_leave_no_trace(name, given_):
    """Within 2k steps the error is that of the clean run, and none of the wild pairs founded a task."""
    faults, seed = given_
    faulty = inject(X, Y, faults, seed)
    done = outcome(LEARNERS[name], faulty, clean(name))
    assert done.finite
    assert done.ratio < 1.5, (faults, seed, done.ratio)
    wild = ~(np.abs(np.concatenate([faulty.x, faulty.y], axis=1)) <= 1e5).all(axis=1)
    seen = (
        done.counts.get("not_finite", 0) + done.counts.get("out_of_reach", 0) + done.counts.get("drawn_in", 0)
    )
    assert seen >= wild.sum()


@every_learner
@given(given_=mixed(tuple(FAULTS)))
@settings(max_examples=12)
def test_whatever_comes_the_state_stays_finite(name, given_):
    faults, seed = given_
    done = outcome(LEARNERS[name], inject(X, Y, faults, seed), clean(name))
    assert done.finite and np.isfinite(done.ratio)


@given(given_=mixed(tuple(name for name in PLAUSIBLE if name != "unit change")))
@settings(max_examples=12)
def test_readouts_forget_plausible_nonsense_within_2k_steps(given_):
    """Stuck, silent, rank-deficient and constant segments: tasks of their own, or none. (Other units may linger.)"""
    faults, seed = given_
    done = outcome(LEARNERS["readout"], inject(X, Y, faults, seed), clean("readout"))
    assert done.finite and done.ratio < 2.0, (faults, seed, done.ratio)


@every_learner
@pytest.mark.parametrize("fault", SEEN)
def test_the_fault_is_seen_and_counted(name, fault):
    if fault == "stuck" and name in ("static", "oracle"):
        pytest.skip("keeps no pairs of the stream to compare with")
    faulty = inject(X, Y, [(fault, 300, 30)], 3)
    counts = outcome(LEARNERS[name], faulty, clean(name)).counts
    word = SEEN[fault]
    found = counts.get(word, 0) + (counts.get("drawn_in", 0) if word == "out_of_reach" else 0)
    assert found >= faulty.touched.sum() * 0.9 if fault != "stuck" else found >= 25


@pytest.mark.parametrize("name", ["mole", "mole-paper", "readout"])
@pytest.mark.parametrize("fault", WILD)
def test_an_outlier_founds_no_task(name, fault):
    for seed in range(4):
        faulty = inject(X, Y, [(fault, 300 + seed, 40)], seed)
        assert outcome(LEARNERS[name], faulty, clean(name)).spawned == 0


def test_faults_are_what_they_say_and_leave_the_rest_alone():
    for fault in FAULTS:
        faulty = inject(X, Y, [(fault, 100, 40)], 1)
        again = inject(X, Y, [(fault, 100, 40)], 1)
        np.testing.assert_array_equal(faulty.y, again.y)
        healthy = ~faulty.touched
        np.testing.assert_array_equal(faulty.x[healthy], X[faulty.origin[healthy]])
        np.testing.assert_array_equal(faulty.y[healthy], Y[faulty.origin[healthy]])
        rows = faulty.origin[faulty.touched]
        assert len(rows) and rows.min() >= 100 and rows.max() <= 140, fault


def test_wrong_faults_are_refused():
    with pytest.raises(ValueError, match=r"got the fault 'gremlins'; expected one of nan, infinity"):
        inject(X, Y, [("gremlins", 0, 5)], 0)
    with pytest.raises(
        ValueError, match=r"'nan' in rows 5 to 15; expected rows from 10 on, up to 720\. Give the"
    ):
        inject(X, Y, [("nan", 0, 10), ("nan", 5, 10)], 0)
