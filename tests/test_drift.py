"""Values that move continuously, and uniform draws: the two forms of a schedule that need numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

import gymnasium

from mole.envs.cheetah.motors import ENV_ID, SCHEDULES, SETTINGS
from mole.envs.schedules.schedule import Schedule, TaskNumbers
from mole.envs.schedules.text import Vocabulary, parse_schedule

WORDS = Vocabulary(values={"low": np.array([1.0, 0.0]), "high": np.array([3.0, -2.0])})


def values(text, steps, seed=0, vocabulary=WORDS):
    timeline = parse_schedule(text, vocabulary).timeline(seed)
    return np.array([timeline.at(step) for step in range(steps)])


@given(
    corners=st.lists(st.floats(-10, 10), min_size=2, max_size=4),
    steps=st.integers(1, 20),
    step=st.integers(0, 200),
)
def test_a_drift_is_the_piecewise_linear_interpolation_of_its_corners(corners, steps, step):
    turn = np.arange(len(corners) + 1) * steps
    want = np.interp(step % turn[-1], turn, [*corners, corners[0]])
    assert Schedule.drift(corners, steps).value(step) == pytest.approx(want, abs=1e-12)


def test_a_vector_drifts_down_and_back_and_again():
    got = values("drift:low,high:4", 17)
    np.testing.assert_array_equal(got[:5], np.linspace([1, 0], [3, -2], 5))
    np.testing.assert_array_equal(got[4:9], np.linspace([3, -2], [1, 0], 5))
    np.testing.assert_array_equal(got[8:], got[:9])


def test_a_drift_is_no_function_of_the_seed_and_says_that_it_drifts():
    schedule = parse_schedule("drift:low,high:50", WORDS)
    assert schedule.drifts
    assert schedule.name == "drift:low,high:50"
    assert not parse_schedule("alternate:low,high:50", WORDS).drifts
    np.testing.assert_array_equal(schedule.value(33, seed=0), schedule.value(33, seed=9))


def test_what_drifts_has_no_task_number():
    numbers = TaskNumbers(drifts=True)
    assert [numbers.number(value) for value in (1.0, 2.0, 1.0)] == [-1, -1, -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drift:low:10", "'drift:low:10' drifts over one value; expected two or more: drift:A,B:100"),
        ("drift:low,high", "cannot read schedule 'drift:low,high'; expected drift:VALUE,VALUE:STEPS"),
        (
            "drift:low,high:0",
            "got '0' steps in schedule 'drift:low,high:0'; expected a whole number of at least",
        ),
        ("drift:low,1/2/3:5", r"goes over values of shapes \(2,\), \(3,\); expected one shape"),
        ("drift:low,hihg:5", "did you mean 'high'"),
        ("drfit:low,high:5", "did you mean 'drift'"),
    ],
)
def test_a_drift_that_cannot_be_read_says_why(text, message):
    with pytest.raises(ValueError, match=message):
        parse_schedule(text, WORDS)


def test_a_value_that_cannot_be_mixed_is_refused_when_the_schedule_is_made():
    def whole(value):
        if float(np.asarray(value).item()) % 1:
            raise ValueError(f"got {value}; expected a whole number")
        return value

    with pytest.raises(ValueError, match=r"got \[?0\.25\]?; expected a whole number"):
        parse_schedule("drift:0,1:4", Vocabulary(check=whole))


def test_uniform_draws_stay_within_their_bounds_fill_them_and_change_only_at_switches():
    got = values("uniform:1/-2,3/0:5", 2000)
    assert (got >= [1, -2]).all()
    assert (got <= [3, 0]).all()
    np.testing.assert_allclose(got.mean(axis=0), [2, -1], atol=0.15)
    np.testing.assert_allclose(got.std(axis=0), 2 / np.sqrt(12), atol=0.05)
    changed = (got[1:] != got[:-1]).any(axis=1)
    np.testing.assert_array_equal(changed, np.arange(1, 2000) % 5 == 0)
    assert abs(np.corrcoef(got[::5].T)[0, 1]) < 0.15  # each entry is drawn by itself


def test_a_uniform_draw_without_steps_holds_throughout_and_depends_on_the_seed():
    got = [values("uniform:4,15", 300, seed)[:, 0] for seed in range(20)]
    assert all((draw == draw[0]).all() for draw in got)
    assert len({draw[0] for draw in got}) == 20
    np.testing.assert_array_equal(got[3], values("uniform:4,15", 300, 3)[:, 0])


@pytest.mark.parametrize("text", ["uniform:4", "uniform:4:10", "uniform:15,4:10", "uniform:1,2,3:10"])
def test_uniform_needs_two_bounds_in_order(text):
    with pytest.raises(ValueError, match="expected two bounds, the lower first: uniform:LOW,HIGH:STEPS"):
        parse_schedule(text, Vocabulary())


def test_the_cheetahs_thighs_weaken_and_recover_and_nobody_can_number_it():
    env = gymnasium.make(ENV_ID, schedule="drift:identity,weak:4", episode_steps=None)
    _, info = env.reset(seed=0)
    seen = [info]
    for _ in range(9):
        assert env.get_wrapper_attr("upcoming_task")() == -1
        seen.append(env.step(np.zeros(6, np.float32))[-1])
    assert {info["task"] for info in seen} == {-1}
    factors = np.array([info["factors"] for info in seen[1:]])
    np.testing.assert_allclose(factors[:, 0], [1, 0.8, 0.6, 0.4, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_array_equal(factors[:, 0], factors[:, 3])
    assert (factors[:, [1, 2, 4, 5]] == 1).all()
    env.close()


def test_the_drift_setting_of_the_cheetah_is_one_cycle_in_two_thousand_steps():
    got = values(SETTINGS["drift"], 2001, vocabulary=SCHEDULES)
    assert (got[[0, 2000]] == 1).all()
    np.testing.assert_allclose(got.min(axis=0), [0.2, 1, 1, 0.2, 1, 1])
    assert got[:, 0].argmin() == 1000
    assert np.abs(np.diff(got, axis=0)).max() < 0.001  # slow
