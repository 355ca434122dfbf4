"""Streams that come with other packages: data in their wheels, river's drift, transitions and Minari's files."""

from __future__ import annotations

import datetime
import importlib
import sys

import numpy as np
import pytest

from mole.datasets import make_stream
from mole.datasets.recorded import RIVER, SKLEARN, number_columns, river_stream, sklearn_stream
from mole.datasets.teachers import friedman
from mole.datasets.transitions import RecordedEpisode, record_episodes, transitions_stream


@pytest.mark.parametrize("name", RIVER)
def test_what_river_ships_is_read_in_its_order(name):
    pytest.importorskip("river")
    stream, whole_order = make_stream(name, 120, 3), river_stream(name, 120)
    assert len(stream) == 120
    assert np.isfinite(stream.x).all()
    np.testing.assert_array_equal(stream.x, whole_order.x)  # no seed shuffles what has an order
    assert not stream.task.any()
    assert (stream.kind == "classification") == RIVER[name][1]


def test_known_rows_of_what_river_ships():
    pytest.importorskip("river")
    airline = river_stream("airline-passengers")
    assert airline.y[:3, 0].tolist() == [112, 118, 132]
    assert len(airline) == 144
    years = airline.x[:, 0]
    assert years[-1] == pytest.approx(11 + 11 / 12, abs=0.02)
    assert river_stream("solar-flare", 50).y.shape == (50, 3)


@pytest.mark.parametrize("name", SKLEARN)
def test_what_scikit_learn_ships_is_shuffled_by_the_seed(name):
    pytest.importorskip("sklearn")
    one, again, other = (sklearn_stream(name, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.x, again.x)
    assert not np.array_equal(one.x, other.x)
    rows = [np.concatenate([s.x, s.y.reshape(len(s), -1)], axis=1) for s in (one, other)]
    np.testing.assert_array_equal(*(r[np.lexsort(r.T)] for r in rows))  # the same pairs


def test_columns_of_text_time_and_numbers():
    start = datetime.datetime(2024, 1, 1)
    later = datetime.datetime(2024, 1, 1, 6) + datetime.timedelta(days=366)
    rows = [{"kind": "b", "when": start, "n": 1}, {"kind": "a", "when": later, "n": True}]
    columns = number_columns(rows)
    np.testing.assert_array_equal(columns[:, :2], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(columns[:, -1], [1, 1])
    assert columns[1, 2] == pytest.approx(366.25 / 365.25)
    np.testing.assert_allclose(columns[0, 3:7], [0, 1, 0, 1])  # midnight of the new year
    np.testing.assert_allclose(columns[1, 5:7], [1, 0], atol=1e-9)  # six in the morning: a quarter of the day


def test_a_column_of_something_else_is_refused():
    with pytest.raises(ValueError, match=r"column 'a' holds \[1\], a list; expected numbers, text or times"):
        number_columns([{"a": [1]}])
    with pytest.raises(ValueError, match=r"column 'a' holds 'x', a str; expected .* one kind in a column"):
        number_columns([{"a": 1.0}, {"a": "x"}])
    with pytest.raises(ValueError, match=r"column 'a' holds None, a NoneType; expected numbers"):
        number_columns([{"a": 1.0}, {"b": 2.0}])
    with pytest.raises(ValueError, match="number_columns got no rows; expected one or more"):
        number_columns([])


def test_friedmans_concepts_take_turns_and_the_first_is_friedmans_function():
    pytest.importorskip("river")
    stream = make_stream("friedman-recurring", 2000, 1)
    assert stream.switches.tolist() == [500, 1000, 1500]
    assert stream.task[[0, 500, 1000, 1500]].tolist() == [0, 1, 0, 1]
    residual = stream.y[:, 0] - friedman(stream.x)
    assert np.var(residual[stream.task == 0]) == pytest.approx(1.0, rel=0.15)
    assert np.var(residual[stream.task == 1]) > 5
    np.testing.assert_array_equal(stream.y, make_stream("friedman-recurring", 2000, 1).y)


@pytest.mark.parametrize(
    ("module", "package", "remedy"),
    [
        ("mole.datasets.minari", "minari", "minari[hdf5]"),
    ],
)
def test_a_missing_package_names_what_to_install(monkeypatch, module, package, remedy):
    for name in [name for name in sys.modules if name == module or name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError) as caught:
        importlib.import_module(module)
    assert remedy in str(caught.value)


def test_a_missing_data_set_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "river", None)
    monkeypatch.setitem(sys.modules, "river.datasets", None)
    monkeypatch.setitem(sys.modules, "river.datasets.synth", None)
    with pytest.raises(ImportError, match=r"pip install 'mole-online\[streams\]'"):
        river_stream("bananas", 5)
    with pytest.raises(ImportError, match=r"comes with river.*pip install 'mole-online\[streams\]'"):
        make_stream("friedman-recurring", 5)


class Box:
    low, high = np.array([-1.0]), np.array([1.0])


class Cart:
    """obs' = obs + sign · action, the sign hidden; an episode ends after ``steps``."""

    action_space = Box()

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def reset(self, *, seed=None):
        self.t, self.obs = 0, np.random.default_rng(seed).normal(size=1)
        return self.obs, {}

    def step(self, action):
        task = self.t // 5 % 2
        self.obs, self.t = self.obs + (1 - 2 * task) * action, self.t + 1
        return self.obs, 1.0, self.t >= self.steps, False, {"task": task}


class CartPairs:
    @staticmethod
    def features(obs, action):
        return action

    @staticmethod
    def delta(obs, next_obs):
        return next_obs - obs


def test_transitions_are_pairs_of_their_environment_and_never_cross_a_reset():
    episodes = record_episodes(Cart(12), 30, 0)
    assert [len(e.actions) for e in episodes] == [12, 12, 6]
    assert [e.terminated for e in episodes] == [True, True, False]
    stream = transitions_stream(episodes, CartPairs(), "cart")
    assert len(stream) == 30
    assert stream.task[:12].tolist() == [0] * 5 + [1] * 5 + [0] * 2
    assert stream.task[12] == 2  # an environment numbers its tasks anew
    sign = 1 - 2 * (stream.task % 2)
    np.testing.assert_allclose(stream.y[:, 0], sign * stream.x[:, 0], atol=1e-5)


def test_random_actions_are_correlated_within_bounds_and_decided_by_the_seed():
    one, again, other = (record_episodes(Cart(4000), 4000, seed)[0].actions[:, 0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.abs(one).max() <= 1
    assert 0.65 < np.corrcoef(one[1:], one[:-1])[0, 1] < 0.9


def test_no_episodes_make_no_stream():
    with pytest.raises(ValueError, match="got no episodes"):
        transitions_stream([], CartPairs(), "cart")


def test_transitions_of_a_cheetah_whose_motors_fail():
    pytest.importorskip("mujoco")
    import gymnasium

    from mole.envs import spec_for
    from mole.envs.cheetah.motors import ENV_ID

    env = gymnasium.make(ENV_ID, schedule="alternate:A,B:30", episode_steps=None)
    stream = transitions_stream(record_episodes(env, 90, 0), spec_for(env), "cheetah")
    env.close()
    assert stream.switches.tolist() == [30, 60]
    assert stream.returned.tolist() == [False] * 60 + [True] * 30
    assert np.isfinite(stream.x).all()


def test_minari_gives_back_what_was_recorded(monkeypatch, tmp_path):
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    pytest.importorskip("mujoco")
    import gymnasium

    from mole.datasets.minari import load_minari, save_minari
    from mole.envs.cheetah.motors import ENV_ID

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = gymnasium.make(ENV_ID, schedule="alternate:A,B:10", episode_steps=25)
    episodes = record_episodes(env, 60, 0)
    save_minari("mole/cheetah/random-v0", episodes, env)
    env.close()
    back = load_minari("mole/cheetah/random-v0")
    assert [len(e.actions) for e in back] == [25, 25, 10]
    for mine, theirs in zip(episodes, back, strict=True):
        for name in RecordedEpisode._fields:
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_minari_wants_episodes():
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    from mole.datasets.minari import save_minari

    with pytest.raises(ValueError, match="'mole/x/y-v0' got no episodes"):
        save_minari("mole/x/y-v0", [], Cart(3))
