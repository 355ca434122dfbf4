"""Schedules: a value per step, a pure function of (step, seed)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

from mole.envs.schedules.schedule import Schedule, TaskNumbers
from mole.envs.schedules.text import Vocabulary, as_schedule, parse_schedule


def number_check(value):
    array = np.asarray(value, dtype=float)
    if array.shape != (2,):
        raise ValueError(f"got shape {array.shape}; expected (2,)")
    return array


# Nothing here knows of motors: two numbers and a die.
WORDS = Vocabulary(
    values={"day": (1.0, 0.0), "night": (0.0, 1.0), "dusk": (0.5, 0.5)},
    samplers={"weather": lambda rng: rng.integers(0, 3, size=2)},
    check=number_check,
)


def values(text, steps, seed=0):
    timeline = parse_schedule(text, WORDS).timeline(seed)
    return np.array([timeline.at(step) for step in range(steps)])


@pytest.mark.parametrize("text", ["night", "fixed:night", "fixed:0/1", "fixed:0;1", "0/1", " night "])
def test_a_fixed_value_never_changes(text):
    assert (values(text, 50) == [0.0, 1.0]).all()


def test_alternation_lasts_exactly_the_given_steps_and_returns():
    got = values("alternate:day,night:7", 28)
    assert (got[:7] == [1, 0]).all()
    assert (got[7:14] == [0, 1]).all()
    assert (got[14:28] == got[:14]).all()


def test_alternation_over_three_values_keeps_their_order():
    got = values("alternate:dusk,0.25/4,day:2", 12)
    order = [[0.5, 0.5]] * 2 + [[0.25, 4]] * 2 + [[1, 0]] * 2
    assert (got == np.array(order * 2)).all()


@given(seed=st.integers(0, 2**63 - 1), period=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_redrawn_values_differ_at_every_switch_and_at_no_other_step(seed, period):
    got = values(f"weather:{period}", 10 * period, seed)
    changed = (got[1:] != got[:-1]).any(axis=1)
    at_switch = np.arange(1, 10 * period) % period == 0
    assert (changed == at_switch).all()


@given(seed=st.integers(0, 2**32), steps=st.lists(st.integers(0, 200), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_the_value_depends_on_step_and_seed_alone_not_on_the_order_of_questions(seed, steps):
    schedule = parse_schedule("weather:5", WORDS)
    timeline = schedule.timeline(seed)
    for step in steps:
        assert (timeline.at(step) == schedule.value(step, seed)).all()


def test_another_seed_gives_another_schedule():
    assert (values("weather:1", 40, seed=0) != values("weather:1", 40, seed=1)).any()


def test_a_function_is_asked_for_each_step():
    schedule = as_schedule(lambda step: (step // 10, -step), WORDS)
    assert schedule.value(25).tolist() == [2, -25]


def test_a_function_may_index_a_table_of_exactly_the_episode():
    table = np.arange(10).reshape(5, 2)
    timeline = as_schedule(lambda step: table[step], WORDS).timeline(0)
    assert [timeline.at(step)[0] for step in range(5)] == [0, 2, 4, 6, 8]


def test_a_list_cycles_and_may_name_values():
    timeline = as_schedule([("day", 2), ((3.0, 4.0), 1)], WORDS).timeline(0)
    got = [tuple(timeline.at(step)) for step in range(7)]
    assert got == [(1, 0), (1, 0), (3, 4), (1, 0), (1, 0), (3, 4), (1, 0)]


def test_drawn_is_one_draw_for_ever():
    schedule = Schedule.drawn(lambda rng: rng.uniform())
    timeline = schedule.timeline(3)
    assert timeline.at(0) == timeline.at(10**9) == schedule.value(5, seed=3)
    assert schedule.value(0, seed=3) != schedule.value(0, seed=4)


def test_as_schedule_leaves_a_schedule_alone():
    schedule = Schedule.constant((0.0, 0.0))
    assert as_schedule(schedule, WORDS) is schedule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nigth", r"unknown value 'nigth'.*did you mean 'night'\?.*day, dusk, night"),
        ("alternate:day,nihgt:5", r"unknown value 'nihgt'.*did you mean 'night'\?"),
        ("alternat:day,night:5", r"unknown schedule.*did you mean 'alternate'\?"),
        ("wether:5", r"unknown schedule.*did you mean 'weather'\?"),
        ("weather", r"lacks its number of steps; expected for example 'weather:300'"),
        ("weathr", r"did you mean 'weather:STEPS'\?"),
        ("weather:0", r"got '0' steps.*whole number of at least 1"),
        ("weather:2.5", r"got '2.5' steps.*whole number"),
        ("weather:-3", r"got '-3' steps.*whole number"),
        ("alternate:day:5", r"alternates over one value; expected two or more"),
        ("alternate:day,night", r"cannot read schedule.*expected alternate:VALUE,VALUE:STEPS"),
        ("fixed:day:3", r"cannot read schedule.*expected fixed:VALUE"),
        ("fixed:1/2/3", r"got shape \(3,\); expected \(2,\)"),
        ("", r"unknown value ''"),
    ],
)
def test_bad_text_says_what_was_expected(text, message):
    with pytest.raises(ValueError, match=message):
        parse_schedule(text, WORDS)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (3, TypeError, "got a schedule of type int; expected text such as"),
        ([], ValueError, "got an empty list"),
        ([("day", 0)], ValueError, "got 0 for a duration; expected a whole number of steps from 1"),
        ([("day", True)], ValueError, "got True for a duration; expected a whole number of steps"),
        (["day"], ValueError, "expected a pair"),
        ([("day", 2), ((1.0, 2.0, 3.0), 1)], ValueError, r"expected \(2,\)"),
    ],
)
def test_bad_sources_are_refused_at_once(source, error, message):
    with pytest.raises(error, match=message):
        as_schedule(source, WORDS)


def test_values_of_functions_are_checked_when_asked_for():
    schedule = as_schedule(lambda step: (1.0,), WORDS)
    with pytest.raises(ValueError, match=r"expected \(2,\)"):
        schedule.value(0)


@pytest.mark.usefixtures("unchecked")
def test_the_vocabulary_and_the_seed_are_checked():
    with pytest.raises(TypeError, match=r"as_schedule got vocabulary=None .*It is mole\.envs\.Vocabulary"):
        as_schedule(lambda step: 1, None)
    with pytest.raises(
        ValueError, match=r"Schedule\.timeline got seed=-1; expected a whole number from 0 on"
    ):
        Schedule.constant(1).timeline(-1)


def test_a_sampler_that_never_varies_is_an_error():
    with pytest.raises(ValueError, match="times in a row; expected one that varies"):
        Schedule.redrawn(lambda rng: 1.0, 2).value(2)


def test_steps_before_the_start_and_after_the_end_are_errors():
    with pytest.raises(ValueError, match="got step=-1 of a schedule; expected 0 or more"):
        Schedule.constant(0).value(-1)
    ended = Schedule("short", lambda rng: iter([("a", 2)]))
    assert ended.value(1) == "a"
    with pytest.raises(ValueError, match="segments ended"):
        ended.value(2)


def test_tasks_are_numbered_by_first_appearance():
    numbers = TaskNumbers()
    seen = [np.array([1.0, -0.0]), np.array([2.0, 0.0]), np.array([1, 0]), "ice", "ice", np.array([2.0, 0.0])]
    assert [numbers.number(value) for value in seen] == [0, 1, 0, 2, 2, 1]
