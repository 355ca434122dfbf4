"""Windows of time, and what training must achieve on tasks that only adaptation can solve."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import bits, linear_tasks, random_pairs, tiny_mlp
from mole._types import Trajectory, Window
from mole.learning.inner import Rank1Rate, ScalarRate, adapt, window_loss
from mole.learning.likelihoods import Categorical, Gaussian
from mole.learning.models import MLP
from mole.meta import MetaConfig, TrainProgress, meta_train, supervised_train
from mole.meta.maml import cosine
from mole.meta.resume import training_bar
from mole.meta.tasks import (
    as_groups,
    gather_windows,
    normalised,
    one_group,
    sample_windows,
    split_trajectories,
    window_data,
)

KEY = jax.random.key(0)
CONFIG = MetaConfig(window=16, iterations=300, batch=16, evaluate_every=100, learning_rate=1e-2)
QUICK = MetaConfig(window=3, iterations=6, batch=4, evaluate_every=2)


draw = functools.partial(jax.jit, static_argnums=(2, 3))(sample_windows)


def labelled(lengths, first=0):
    """Trajectories whose x says which one it is and which step: no two pairs are alike."""
    return [
        Trajectory(
            np.stack([np.full(n, float(first + i)), np.arange(float(n))], axis=1),
            np.full((n, 1), float(first + i)),
        )
        for i, n in enumerate(lengths)
    ]


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), min_size=1, max_size=3),
    st.sampled_from([2, 6]),
    st.integers(0, 10),
)
def test_windows_never_cross_the_end_of_a_trajectory(lengths, length, seed):
    lengths = [[*group, length + 3 * i] for i, group in enumerate(lengths)]  # at least one window per group
    groups = [labelled(group, first=100 * i) for i, group in enumerate(lengths)]
    data = window_data(groups, length)
    x, y = map(np.asarray, draw(data, jax.random.key(seed), 64, length, jnp.ones(len(groups))))
    assert x.shape == (64, length, 2)
    np.testing.assert_array_equal(x[:, :, 0], y[:, :, 0])
    np.testing.assert_array_equal(x[:, :, 0], np.repeat(x[:, :1, 0], length, axis=1))
    np.testing.assert_array_equal(np.diff(x[:, :, 1], axis=1), 1.0)
    ends = {100.0 * g + i: n for g, group in enumerate(lengths) for i, n in enumerate(group)}
    for trajectory, last in x[:, -1]:
        assert last < ends[float(trajectory)]


def test_every_start_is_equally_likely():
    data = window_data([labelled([5, 9, 3])], 4)  # 2 + 6 + 0 starts
    x, _ = sample_windows(data, KEY, 8000, 4, jnp.ones(1))
    _, counts = np.unique(np.asarray(x[:, 0]), axis=0, return_counts=True)
    assert len(counts) == 8
    np.testing.assert_allclose(counts, 1000, atol=150)  # five standard deviations


@pytest.mark.parametrize("weights", [(1.0, 3.0), (2.0, 0.0), (0.0, 0.1)])
def test_groups_are_drawn_by_their_weights(weights):
    data = window_data([labelled([50]), labelled([4, 4], first=1)], 4)
    x, _ = sample_windows(data, KEY, 4000, 4, jnp.array(weights))
    share = float(np.mean(np.asarray(x[:, 0, 0]) > 0))
    expected = weights[1] / sum(weights)
    assert share == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / 4000))


def test_gathered_windows_are_slices():
    (trajectory,) = labelled([10])
    windows = gather_windows(window_data([[trajectory]], 4), jnp.array([0, 6, 3]), 4)
    for row, start in enumerate((0, 6, 3)):
        np.testing.assert_array_equal(windows.x[row], trajectory.x[start : start + 4])
        np.testing.assert_array_equal(windows.y[row], trajectory.y[start : start + 4])


@given(
    st.lists(st.integers(4, 9), min_size=1, max_size=7),
    st.floats(0.01, 0.99),
    st.integers(0, 100),
)
def test_a_split_has_no_leakage_and_loses_nothing(lengths, fraction, seed):
    train, held = split_trajectories(labelled(lengths), fraction, seed)
    assert train
    assert held
    seen, kept = ({tuple(row) for t in part for row in t.x} for part in (train, held))
    assert not seen & kept
    assert seen | kept == {tuple(row) for t in labelled(lengths) for row in t.x}
    if len(lengths) > 1:  # whole trajectories
        assert not {i for i, _ in seen} & {i for i, _ in kept}
        wanted = min(max(1, round(fraction * len(lengths))), len(lengths) - 1)
        assert len(held) == wanted
    else:  # the end is held out
        assert max((time for _, time in seen), default=-1.0) < min(time for _, time in kept)


def test_a_split_depends_on_the_seed_alone():
    one, again, other = (
        [t.x[0, 0] for t in split_trajectories(labelled([4] * 20), 0.3, seed)[1]] for seed in (1, 1, 2)
    )
    assert one == again != other
    assert len(one) == 6


def test_errors_of_windows():
    with pytest.raises(
        ValueError, match=r"group 1 got 2 trajectories, the longest of 7 pairs; expected at least one"
    ):
        window_data([labelled([8]), labelled([7, 3])], 8)
    with pytest.raises(ValueError, match=r"trajectory got 4 inputs and 3 targets; expected as many of each"):
        window_data([[Trajectory(np.zeros((4, 1)), np.zeros((3, 1)))]], 2)
    with pytest.raises(ValueError, match=r"meta-training got no trajectories; expected at least one"):
        split_trajectories([], 0.1, 0)


class Outcome:
    """Both ways of training, once, on the same linear tasks; and fresh tasks that neither has seen."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.model = MLP(2, 1, width=24, depth=1, key=KEY)
        self.tasks, self.events = linear_tasks(rng, 80, 64), []
        self.meta = meta_train(self.model, self.tasks, config=CONFIG, key=KEY, callback=self.events.append)
        self.plain = supervised_train(self.model, self.tasks, config=CONFIG, key=KEY)
        fresh = [normalised(t, self.meta.x_norm, self.meta.y_norm) for t in linear_tasks(rng, 100, 48)]
        self.x, self.y = (jnp.asarray(np.stack(v), jnp.float32) for v in zip(*fresh, strict=True))

    def residuals(self, prior, adapts=True):
        """Residuals ``[tasks, 32, 1]`` of the prior on fresh tasks, after one step on their first 16 pairs."""

        def one(x, y):
            model = (
                adapt(prior.model, prior.inner_rate, Gaussian(), x[:16], y[:16]) if adapts else prior.model
            )
            return y[16:] - jax.vmap(model)(x[16:])

        return np.asarray(jax.jit(jax.vmap(one))(self.x, self.y))


@pytest.fixture(scope="module")
def outcome():
    return Outcome()


def test_meta_training_makes_one_step_enough(outcome):
    before = np.mean(outcome.residuals(outcome.meta, adapts=False) ** 2)
    after = np.mean(outcome.residuals(outcome.meta) ** 2)
    supervised = np.mean(outcome.residuals(outcome.plain, adapts=False) ** 2)
    one_step_from_supervised = np.mean(outcome.residuals(outcome.plain) ** 2)
    assert supervised > 0.7  # slopes of mean zero: without adaptation the best is hardly better than the mean
    assert after < 0.3 * before
    assert after < 0.3 * supervised
    assert after < 0.5 * one_step_from_supervised


def test_the_residual_scale_is_the_error_after_adaptation(outcome):
    for prior, adapts in ((outcome.meta, True), (outcome.plain, False)):
        fresh = np.sqrt(np.mean(outcome.residuals(prior, adapts) ** 2, axis=(0, 1)))
        np.testing.assert_allclose(prior.residual_scale, fresh, rtol=0.5)
    assert outcome.meta.residual_scale[0] < 0.7 * outcome.plain.residual_scale[0]


def test_events_tell_of_training(outcome):
    events = outcome.events
    assert all(isinstance(event, TrainProgress) for event in events)
    assert [event.iteration for event in events] == [100, 200, 300]
    assert {event.iterations for event in events} == {300}
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(events))
    assert events[-1].loss_after < 0.4 * events[-1].loss_before
    assert events[-1].loss_after < events[0].loss_after


def test_the_prior_knows_its_data(outcome):
    x = np.concatenate([t.x for t in outcome.tasks])
    np.testing.assert_allclose(outcome.meta.x_norm.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(outcome.meta.x_norm.std, x.std(0), rtol=1e-5)
    assert outcome.meta.window == outcome.plain.window == 16
    assert isinstance(outcome.meta.inner_rate, Rank1Rate)
    assert isinstance(outcome.meta.likelihood, Gaussian)
    assert bits(outcome.plain.inner_rate) == bits(ScalarRate(CONFIG.initial_rate))
    assert bits(outcome.meta.inner_rate) != bits(Rank1Rate(outcome.model, CONFIG.initial_rate))


def quick_tasks(n=6, length=12, dy=2):
    return linear_tasks(np.random.default_rng(1), n, length, dx=3, dy=dy, noise=0.1)


def test_the_same_key_gives_the_same_prior_and_another_key_another():
    model, tasks = tiny_mlp(KEY, width=4, depth=1), quick_tasks()
    one, again, other = (
        meta_train(model, tasks, config=QUICK, key=jax.random.key(seed)) for seed in (1, 1, 2)
    )
    assert bits(one) == bits(again)
    assert bits(one.model) != bits(other.model)


def test_a_second_training_with_more_data_and_other_rates_compiles_nothing(count_compiles):
    model, config = tiny_mlp(KEY, width=4, depth=1), QUICK
    meta_train(model, quick_tasks(6), config=config, key=KEY)
    other = dataclasses.replace(config, iterations=4, learning_rate=1e-3)
    with count_compiles() as count:
        meta_train(model, quick_tasks(9), config=other, key=KEY)
    assert count() == 0


def test_the_inner_rates_move_as_many_times_faster_as_asked():
    """Adam's first step has the size of its rate in every coordinate, so one step shows the factor."""
    model, start = tiny_mlp(KEY, width=4, depth=1), 0.2
    one, five = (
        meta_train(
            model,
            quick_tasks(),
            config=dataclasses.replace(QUICK, iterations=1, initial_rate=start, rate_speed=speed),
            key=KEY,
        )
        for speed in (1.0, 5.0)
    )
    assert bits(one.model) == bits(five.model)
    begun = jax.tree.leaves(Rank1Rate(model, start))
    for raw, slow, fast in zip(
        begun, jax.tree.leaves(one.inner_rate), jax.tree.leaves(five.inner_rate), strict=True
    ):
        np.testing.assert_allclose(fast - raw, 5 * (slow - raw), rtol=1e-3, atol=1e-7)
    assert any(np.any(slow != raw) for raw, slow in zip(begun, jax.tree.leaves(one.inner_rate), strict=True))


def test_the_learning_rate_falls_along_half_a_cosine():
    rates = cosine(3.0, 1.0, 4)
    np.testing.assert_allclose(rates, [3.0, 2 + np.sqrt(0.5), 2.0, 2 - np.sqrt(0.5)], rtol=1e-6)


def held_out_window(trajectory, prior):
    """The one window that a single trajectory of 20 pairs leaves for evaluation with k = 3 and a share of 0.3."""
    x, y = (jnp.asarray(v, jnp.float32) for v in normalised(trajectory, prior.x_norm, prior.y_norm))
    return Window(x[-6:], y[-6:])


@pytest.mark.parametrize("likelihood", [Gaussian(), Gaussian(learned_scale=True)])
def test_early_stopping_stops_and_returns_the_best(likelihood):
    (trajectory,) = quick_tasks(1, 20)
    events = []
    config = MetaConfig(
        window=3, iterations=400, batch=4, evaluate_every=4, held_out=0.3, patience=3, learning_rate=0.05
    )
    model = tiny_mlp(KEY, width=4, depth=1, likelihood=likelihood)
    prior = meta_train(
        model, [trajectory], config=config, key=KEY, likelihood=likelihood, callback=events.append
    )
    losses = [event.loss_after for event in events]
    assert events[-1].iteration < 400
    assert np.argmin(losses) == len(losses) - 1 - 3  # three evaluations without improvement
    x, y = held_out_window(trajectory, prior)
    adapted = adapt(prior.model, prior.inner_rate, likelihood, x[:3], y[:3])
    assert float(window_loss(adapted, likelihood, x[3:], y[3:])) == pytest.approx(min(losses), rel=1e-4)
    before = float(window_loss(prior.model, likelihood, x[3:], y[3:]))
    assert before == pytest.approx(events[int(np.argmin(losses))].loss_before, rel=1e-4)
    residual = y[3:] - jax.vmap(lambda v: likelihood.mean(adapted(v)))(x[3:])
    np.testing.assert_allclose(prior.residual_scale, np.sqrt(np.mean(residual**2, axis=0)), rtol=1e-4)


def test_without_patience_training_runs_to_the_end():
    events = []
    config = MetaConfig(window=3, iterations=7, batch=4, evaluate_every=3)
    model = tiny_mlp(KEY, width=4, depth=1)
    supervised_train(model, quick_tasks(), config=config, key=KEY, callback=events.append)
    assert [event.iteration for event in events] == [3, 6, 7]
    assert all(event.loss_before == event.loss_after for event in events)


def test_rates_rest_when_they_are_not_learned_and_start_where_asked():
    model = tiny_mlp(KEY, width=4, depth=1)
    config = MetaConfig(window=3, iterations=2, batch=4, evaluate_every=2, learn_rate=False, first_order=True)
    start = Rank1Rate(model, 0.2)
    prior = meta_train(model, quick_tasks(), config=config, key=KEY, rate=start)
    assert bits(prior.inner_rate) == bits(start)
    assert bits(prior.model) != bits(model)


def test_classes_and_other_modules_can_be_trained():
    pairs = [random_pairs(jax.random.key(i), 12, 3, 4, classes=True) for i in range(4)]
    model = eqx.nn.MLP(3, 4, 4, 1, activation=jnp.tanh, key=KEY)
    tasks = [Trajectory(x, y) for x, y in pairs]
    config = MetaConfig(window=3, iterations=2, batch=2, evaluate_every=2, rate="layer")
    prior = meta_train(model, tasks, config=config, key=KEY, likelihood=Categorical())
    np.testing.assert_array_equal(prior.y_norm.std, np.ones(4))  # one-hot targets stay as they are
    np.testing.assert_allclose(prior.predict(prior.model, tasks[0].x[0]).mean.sum(), 1.0, rtol=1e-5)
    assert jax.tree.structure(prior.model) == jax.tree.structure(model)


def test_a_group_of_weight_zero_teaches_nothing():
    model, tasks = tiny_mlp(KEY, width=4, depth=1), quick_tasks()
    backwards = [Trajectory(t.x[::-1], t.y[::-1]) for t in tasks[3:]]  # other windows, equal statistics
    config = MetaConfig(window=3, iterations=2, batch=4, evaluate_every=2)
    one, other, equal = (
        bits(
            supervised_train(model, [tasks[:3], second], config=config, key=KEY, group_weights=weights).model
        )
        for second, weights in ((tasks[3:], [1.0, 0.0]), (backwards, [1.0, 0.0]), (tasks[3:], None))
    )
    assert one == other != equal


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_is_an_error():
    config = MetaConfig(window=3, iterations=4, batch=4, evaluate_every=4, learning_rate=1e20)
    expected = r"training diverged at iteration 4: the held-out loss is (nan|inf); .*Lower learning_rate"
    with pytest.raises(FloatingPointError, match=expected):
        meta_train(tiny_mlp(KEY, width=4, depth=1), quick_tasks(), config=config, key=KEY)


@pytest.mark.parametrize("train", [meta_train, supervised_train])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], "training got no trajectories; expected at least one. Record data first"),
        ([[], []], r"group 0 got \[\]; expected at least one Trajectory"),
        (quick_tasks(3, 5), r"group 0 got 2 trajectories, the longest of 5 pairs; .*2k = 6 .*smaller window"),
        (
            [*quick_tasks(2), Trajectory(np.full((9, 3), np.nan), np.zeros((9, 2)))],
            r"trajectory 2 got x of shape \(9, 3\), not all finite .*Drop or impute bad rows",
        ),
        (
            [[*quick_tasks(1)], [Trajectory(np.zeros((9, 3)), np.full((9, 2), np.inf))]],
            r"trajectory 1 got y of shape \(9, 2\), not all finite",
        ),
    ],
)
def test_data_that_cannot_be_used_is_refused(unchecked, train, data, expected):
    with pytest.raises(ValueError, match=expected):
        train(tiny_mlp(KEY), data, config=QUICK, key=KEY)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_weights_that_do_not_fit_the_groups_are_refused(weights):
    tasks = quick_tasks()
    expected = r"group_weights got \[.*\] for 2 groups; expected one finite number >= 0 per group"
    with pytest.raises(ValueError, match=expected):
        meta_train(tiny_mlp(KEY), [tasks[:3], tasks[3:]], config=QUICK, key=KEY, group_weights=weights)


@pytest.mark.parametrize("name", ["window", "iterations", "batch", "evaluate_every"])
def test_config_refuses_counts_below_one(name):
    with pytest.raises(ValueError, match=rf"MetaConfig got {name}=0; expected a whole number from 1 on"):
        MetaConfig(**{name: 0})


def test_config_refuses_what_it_does_not_know(unchecked):
    with pytest.raises(
        ValueError, match=r"MetaConfig got rate='rank2'; expected one of scalar, layer, rank1"
    ):
        MetaConfig(rate="rank2")
    for share in (0.0, 1.0):
        with pytest.raises(
            ValueError, match=rf"MetaConfig got held_out={share}; expected a share between 0 and 1"
        ):
            MetaConfig(held_out=share)


def test_the_bar_shows_both_losses(capsys):
    with training_bar(10, enabled=True) as bar:
        bar.advance(10)
        bar.show(TrainProgress(10, 10, 0.9, 0.1, 1.0))
    shown = capsys.readouterr().out
    assert "10/10" in shown
    assert "0.9000 → 0.1000" in " ".join(shown.split())
    with training_bar(10, enabled=False) as bar:
        bar.advance(10)
        bar.show(TrainProgress(10, 10, 0.9, 0.1, 1.0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate_speed": "fast"}, r"rate_speed='fast' \(str\); expected a number of at least 0"),
        ({"patience": -1}, r"patience=-1; expected a whole number from 1 on. None never stops early"),
        ({"patience": True}, r"patience=True \(bool\); expected a whole number"),
        ({"learn_rate": 1}, r"learn_rate=1 \(int\); expected builtins.bool"),
    ],
)
def test_config_refuses_settings_of_another_kind(unchecked, settings, message):
    with pytest.raises((TypeError, ValueError), match=f"MetaConfig got {message}"):
        MetaConfig(**settings)


def test_trajectories_of_other_sizes_and_groups_where_there_are_none_are_told():
    wide, narrow = (Trajectory(np.zeros((9, dx)), np.zeros((9, 2))) for dx in (3, 2))
    with pytest.raises(
        ValueError, match=r"trajectories of \(dx, dy\) = \(2, 2\) and \(3, 2\); expected the same"
    ):
        as_groups([wide, narrow])
    assert one_group("fit", [wide]) == [wide]
    with pytest.raises(ValueError, match="fit got 2 groups of trajectories; expected one list"):
        one_group("fit", [[wide], [wide]])
