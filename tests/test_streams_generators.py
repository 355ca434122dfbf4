"""Streams with ground truth: what they claim about themselves holds, and the seed decides everything."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mole.datasets import STREAMS, Stream, make_stream, sinusoid_stream, sinusoid_tasks
from mole.datasets.recorded import RIVER, SKLEARN
from mole.datasets.sinusoid import NOISE_VARIANCE, SWITCH_PROBABILITY
from mole.datasets.stream import switching_tasks
from mole.datasets.teachers import (
    NOISE,
    drifting_stream,
    friedman,
    friedman_stream,
    permuted_labels_stream,
    rotated_inputs_stream,
    teacher_stream,
)

OWN = [name for name in STREAMS if name not in {*RIVER, *SKLEARN, "friedman-recurring"}]


def tiny(task, *, x=None, y=None, **settings) -> Stream:
    zeros = np.zeros((len(task), 1))
    x, y = (zeros if given is None else np.asarray(given) for given in (x, y))
    return Stream(x, y, np.asarray(task), "t", **settings)


@pytest.mark.parametrize("name", OWN)
def test_the_seed_decides_and_arrays_are_as_promised(name):
    one, again, other = make_stream(name, 300, 5), make_stream(name, 300, 5), make_stream(name, 300, 6)
    for field in ("x", "y", "task"):
        np.testing.assert_array_equal(getattr(one, field), getattr(again, field))
        assert not getattr(one, field).flags.writeable
    assert not np.array_equal(one.x, other.x)
    assert one.name == name
    assert len(one) == len(one.x) == 300
    assert (one.x.dtype, one.task.dtype) == (np.float32, np.int64)
    assert one.y.dtype == (np.int64 if one.kind == "classification" else np.float32)
    assert np.isfinite(one.x).all()


def test_streams_of_another_name_share_no_draws():
    assert not np.array_equal(make_stream("linear-fresh", 50, 0).x, make_stream("linear-returning", 50, 0).x)


def test_switches_since_and_returns_of_a_stream_worked_out_by_hand():
    stream = tiny([0, 0, 1, 1, 0, 2, 2, 1])
    assert stream.switches.tolist() == [2, 4, 5, 7]
    assert stream.since_switch.tolist() == [-1, -1, 0, 1, 0, 0, 1, 0]
    assert stream.returned.tolist() == [False, False, False, False, True, False, False, True]


def test_a_stream_without_switches_has_no_places_after_one():
    stream = tiny([0, 0, 0])
    assert stream.switches.size == 0
    assert stream.since_switch.tolist() == [-1, -1, -1]
    assert not stream.returned.any()


def test_labels_become_one_hot_vectors():
    stream = tiny([0, 0, 0], y=[2, 0, 1], kind="classification", n_classes=3)
    np.testing.assert_array_equal(stream.targets(), [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(stream.trajectory().y, stream.targets())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.zeros((2, 1))}, "got x (3, 1), y (2, 1), task (3,); expected x [n, dx], y [n, dy]"),
        ({"x": np.zeros(3)}, "one row per pair"),
        ({"y": [0, 1, 1], "kind": "classification"}, "got n_classes=None; expected a number"),
        ({"n_classes": 2}, "None for a regression"),
        ({"y": [0, 1, 2], "kind": "classification", "n_classes": 2}, "labels 0 to 2; expected 0 to 1"),
        ({"y": [[0], [np.nan], [1]]}, "drop those rows"),
    ],
)
def test_a_stream_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny([0, 0, 0], **changes)


@pytest.mark.parametrize("n_tasks", [None, 2, 4])
def test_tasks_switch_with_their_probability_and_never_to_themselves(n_tasks):
    task = switching_tasks(np.random.default_rng(0), 20_000, 0.02, n_tasks)
    switches = np.count_nonzero(np.diff(task))
    assert abs(switches - 400) < 4 * np.sqrt(20_000 * 0.02 * 0.98)
    first = [int(np.argmax(task == number)) for number in range(task.max() + 1)]
    assert first == sorted(first)  # numbered by first appearance
    assert task.max() + 1 == (switches + 1 if n_tasks is None else n_tasks)


def test_tasks_that_never_switch_and_that_always_do():
    rng = np.random.default_rng(0)
    assert not switching_tasks(rng, 50, 0.0).any()
    assert switching_tasks(rng, 6, 1.0, 2).tolist() == [0, 1, 0, 1, 0, 1]


def test_impossible_switching_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="switch_probability=2; expected a number between 0 and 1"):
        switching_tasks(rng, 5, 2)
    with pytest.raises(ValueError, match=r"n_tasks=1; expected a whole number from 2 on\. None is"):
        switching_tasks(rng, 5, 0.1, 1)


def fitted_sinusoid(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Amplitude, phase and noise variance by least squares: A sin(x + φ) = a sin x + b cos x."""
    design = np.concatenate([np.sin(x), np.cos(x)], axis=1)
    (a, b), residual, *_ = np.linalg.lstsq(design, y[:, 0], rcond=None)
    return float(np.hypot(a, b)), float(np.arctan2(b, a)), float(residual[0] / (len(x) - 2))


@pytest.mark.parametrize("n_tasks", [None, 4])
def test_every_task_of_the_sinusoid_is_one_sinusoid_of_the_family(n_tasks):
    stream = sinusoid_stream(8000, 1, n_tasks=n_tasks)
    assert stream.x.min() >= -5
    assert stream.x.max() <= 5
    rate = len(stream.switches) / len(stream)
    assert abs(rate - SWITCH_PROBABILITY) < 0.006
    variances = []
    for task in [t for t in np.unique(stream.task) if np.count_nonzero(stream.task == t) >= 60]:
        rows = stream.task == task
        amplitude, phase, variance = fitted_sinusoid(stream.x[rows], stream.y[rows])
        assert 0.0 <= amplitude < 5.2
        assert -0.2 < phase < np.pi + 0.2 or amplitude < 0.5
        variances.append(variance)
    assert np.mean(variances) == pytest.approx(NOISE_VARIANCE, rel=0.1)


def test_single_tasks_of_the_family_are_single_sinusoids():
    tasks = sinusoid_tasks(20, 200, 3)
    fits = [fitted_sinusoid(np.asarray(t.x), np.asarray(t.y)) for t in tasks]
    assert {t.x.shape for t in tasks} == {(200, 1)}
    assert np.mean([variance for *_, variance in fits]) == pytest.approx(NOISE_VARIANCE, rel=0.1)
    assert np.ptp([amplitude for amplitude, *_ in fits]) > 2


def test_a_switching_linear_teacher_is_linear_within_a_task_and_not_across():
    stream = teacher_stream("linear", 4000, 0, outputs=2)
    design = np.concatenate([stream.x, np.ones((len(stream), 1))], axis=1)

    def error(rows: np.ndarray) -> float:
        fit = np.linalg.lstsq(design[rows], stream.y[rows], rcond=None)[0]
        return float(np.sqrt(np.mean(np.square(stream.y[rows] - design[rows] @ fit))))

    for task in np.unique(stream.task):
        assert error(stream.task == task) == pytest.approx(NOISE, rel=0.1)
    assert error(np.ones(len(stream), bool)) > 3 * NOISE


def test_a_returning_task_is_the_same_function_again():
    stream = teacher_stream("linear", 6000, 2, n_tasks=2)
    design = np.concatenate([stream.x, np.ones((len(stream), 1))], axis=1)
    first = (stream.task == 0) & ~stream.returned
    later = (stream.task == 0) & stream.returned
    fit = np.linalg.lstsq(design[first], stream.y[first], rcond=None)[0]
    assert np.sqrt(np.mean(np.square(stream.y[later] - design[later] @ fit))) == pytest.approx(
        NOISE, rel=0.15
    )


def test_linear_weights_drift_once_round_their_plane_at_unit_length():
    stream = drifting_stream("linear", 4000, 0, period=4000)
    weights = [
        np.linalg.lstsq(stream.x[a : a + 200], stream.y[a : a + 200], rcond=None)[0][:, 0]
        for a in (0, 1900, 3800)
    ]
    for one in weights:
        assert np.linalg.norm(one) == pytest.approx(1, abs=0.05)
    assert weights[0] @ weights[1] == pytest.approx(-1, abs=0.08)  # half a turn later
    assert weights[0] @ weights[2] > 0.9  # a whole turn less 0.3 radians
    assert not stream.switches.size


def test_an_mlp_drifts_back_to_where_it_was_after_a_period():
    period = 1000
    stream = drifting_stream("mlp", 3 * period, 0, period=period)
    half = stream.y.std() / 2
    from_nearest = {}
    for lag in (period, period // 2):  # the same place in the next turn, and the opposite one
        old, new = np.arange(300), np.arange(300) + lag
        near = [
            int(i) for i in np.argmin(np.square(stream.x[new][:, None] - stream.x[old][None]).sum(-1), axis=1)
        ]
        from_nearest[lag] = float(np.sqrt(np.mean(np.square(stream.y[new] - stream.y[old][near]))))
    assert from_nearest[period] < from_nearest[period // 2] - half


def test_friedmans_function_at_known_points_and_in_the_stream():
    x = np.array([[0.5, 1.0, 0.5, 0.0, 0.0], [0.0, 0.3, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(friedman(x), [10.0, 5.0 + 10.0 + 5.0])
    stream = friedman_stream(5000, 0)
    assert np.var(stream.y[:, 0] - friedman(stream.x)) == pytest.approx(1.0, rel=0.1)


def nearest_centre_errors(stream: Stream, task: int, fit_on: int) -> float:
    """Share of wrong labels in one task by the class means of another."""
    known, asked = stream.task == fit_on, stream.task == task
    centres = np.stack([stream.x[known & (stream.y == c)].mean(axis=0) for c in range(stream.n_classes or 0)])
    found = np.argmin(np.square(stream.x[asked][:, None] - centres[None]).sum(-1), axis=1)
    return float(np.mean(found != stream.y[asked]))


@pytest.mark.parametrize("make", [rotated_inputs_stream, permuted_labels_stream])
def test_classes_are_easy_within_a_task_and_another_tasks_rule_fails(make):
    stream = make(6000, 0)
    assert set(np.unique(stream.task)) == {0, 1, 2, 3}
    for task in range(4):
        assert nearest_centre_errors(stream, task, task) < 0.1
    assert np.mean([nearest_centre_errors(stream, task, 0) for task in (1, 2, 3)]) > 0.4


def test_rotations_keep_the_length_of_inputs_and_permutations_the_inputs():
    rotated, permuted = rotated_inputs_stream(4000, 0), permuted_labels_stream(4000, 0)

    def mean_square(stream: Stream, task: int, label: int) -> float:
        rows = (stream.task == task) & (stream.y == label)
        return float(np.square(stream.x[rows]).sum(axis=1).mean())

    for label in range(4):
        first = mean_square(rotated, 0, label)
        assert mean_square(rotated, 1, label) == pytest.approx(first, rel=0.15)
    sizes = [sorted(mean_square(permuted, task, label) for label in range(4)) for task in (0, 1)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.15)


def test_more_permutations_than_there_are_is_refused():
    with pytest.raises(
        ValueError, match=r"n_tasks=3; expected a whole number from 2 to 2\. 2 classes have no more"
    ):
        permuted_labels_stream(10, 0, n_tasks=3, classes=2)


@pytest.mark.parametrize("name", ["sinusoid-fresh", "mlp-drift", "labels-rotated"])
def test_a_stream_needs_pairs_and_a_seed(name):
    with pytest.raises(ValueError, match="got length=0; expected a whole number from 1 on"):
        make_stream(name, 0)
    with pytest.raises(ValueError, match="got seed=-1"):
        make_stream(name, 5, -1)


@pytest.mark.parametrize(
    "changes",
    [
        {"y": [0.5, 1, 1], "kind": "classification", "n_classes": 2},
        {"y": [0, np.nan, 1], "kind": "classification", "n_classes": 2},
    ],
)
def test_labels_and_tasks_are_whole_numbers(changes):
    with pytest.raises(TypeError, match=r"Stream got y=.*; expected whole numbers\. Labels and tasks"):
        tiny([0, 0, 0], **changes)
    with pytest.raises(TypeError, match=r"Stream got task=.*; expected whole numbers"):
        tiny([0.5, 0, 0])


def test_text_is_no_number():
    with pytest.raises(TypeError, match=r"(?s)Stream got x=array\(\[\['1'\].*; expected an array of numbers"):
        tiny([0, 0, 0], x=[["1"], ["2"], ["3"]])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: drifting_stream("mlp", 5, 0, period=0),
            ValueError,
            "period=0; expected a whole number from 1",
        ),
        (lambda: drifting_stream("mlp", 5, 0, period=2.5), TypeError, "period=2.5 (float); expected a whole"),
        (lambda: drifting_stream("cnn", 5, 0), ValueError, "teacher='cnn'; expected one of 'linear', 'mlp'"),
        (lambda: teacher_stream("cnn", 5, 0), ValueError, "teacher='cnn'; expected one of 'linear', 'mlp'"),
        (lambda: teacher_stream("mlp", 5, 0, inputs=True), TypeError, "inputs=True (bool); expected a whole"),
        (
            lambda: rotated_inputs_stream(5, 0, classes=1),
            ValueError,
            "classes=1; expected a whole number from 2",
        ),
        (lambda: rotated_inputs_stream(5, 0, n_tasks=None), TypeError, "n_tasks=None (NoneType); expected"),
    ],
)
def test_amounts_out_of_range_are_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"got name='sinus'; expected one of sinusoid-fresh, "):
        make_stream("sinus", 5)
