"""From nothing to priors in a folder: resumed anywhere it gives the same priors, and no task is ever read."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from multiprocessing.reduction import ForkingPickler

import equinox as eqx
import jax
import numpy as np
import pytest

from mole.control import config as precision
from mole.control.episode import Episode, EpisodeError
from mole.control.stages import load_segments
from mole.control.training import train_priors
from mole.envs.spec import Shaping
from mole.files.generations import RecoveryWarning
from mole.files.processes import WorkerLost
from mole.learning.prior import Planning
from mole.meta import MetaConfig
from mole.priors.file import load_prior, read_provenance
from point_mass import SPEC, TINY_TRAINING, make_deadly_point_mass, make_point_mass

CONFIG = TINY_TRAINING


class Maker:
    """Makes environments; raises on the ``fail``-th."""

    def __init__(self, fail=None):
        self.made, self.phases, self.fail = [], [], fail

    def __call__(self, phase):
        self.phases.append(phase)
        if len(self.phases) == self.fail:
            raise RuntimeError("out of power")
        self.made.append(make_point_mass(phase))
        return self.made[-1]


def train(folder, make_env=None, config=CONFIG, seed=3, workers=0):
    return train_priors(
        make_env or Maker(),
        SPEC,
        config,
        folder=folder,
        seed=seed,
        provenance={"env": "point"},
        workers=workers,
        progress=False,
    )


def bits(priors):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(eqx.filter(priors, eqx.is_array))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training: folder, priors, environments."""
    folder, maker = tmp_path_factory.mktemp("whole"), Maker()
    return folder, train(folder, maker), maker


STAGES = [
    "data-random.npz",
    "prior-00.mole",
    "data-01-00.npz",
    "data-01-01.npz",
    "prior-01.mole",
    "supervised.mole",
]
FIGURES = ["data-01-00.json", "data-01-01.json"]


def test_it_writes_every_stage_and_reads_no_task(whole):
    folder, (prior, supervised), maker = whole
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [*STAGES, *FIGURES, "prior.mole", "training.json", "log.jsonl", ".lock"]
    )
    assert maker.phases == ["explore", "explore", "control", "control"]  # the first is checked and closed
    assert all(env.reads == [] for env in maker.made)
    assert sum(len(s.actions) for s in load_segments(folder / "data-random.npz")) == 4 * 24
    loaded = load_prior(folder / "prior.mole")
    assert bits(loaded) == bits(prior)
    assert read_provenance(folder / "prior.mole") == {"env": "point", "seed": 3, "steps": 4 * 24 + 2 * 20}
    assert bits(load_prior(folder / "supervised.mole")) == bits(supervised)
    assert bits(prior.model) != bits(supervised.model)
    assert prior.window == 4 and (prior.input_size, prior.target_size) == (3, 2)
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [e["learner"] for e in entries if "learner" in e] == ["Mixture", "KShot"]
    assert [e["noise"] for e in entries if "noise" in e] == [
        0.2,
        0.0,
    ]  # episodes 2 and 3 of the cycle 0, .1, .2
    assert {e["stage"] for e in entries if "stage" in e} == {"meta", "supervised"}


@pytest.mark.parametrize("kept", [1, 3, 4])
def test_resumed_after_any_stage_it_gives_the_same_priors(whole, kept, tmp_path):
    folder, priors, _ = whole
    for name in ["training.json", *STAGES[:kept]]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    maker = Maker()
    assert bits(train(tmp_path, maker)) == bits(priors)
    assert maker.phases == ["control"] * sum(name not in STAGES[:kept] for name in STAGES[2:4])
    for name in STAGES[:kept]:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_killed_while_making_an_environment_it_goes_on(whole, tmp_path):
    with pytest.raises(RuntimeError, match="out of power"):
        train(tmp_path, Maker(fail=3))
    assert (tmp_path / "prior-00.mole").exists() and not (tmp_path / "data-01-00.npz").exists()
    assert bits(train(tmp_path)) == bits(whole[1])


def test_with_workers_one_of_which_is_killed_in_a_round_it_gives_the_same(whole, tmp_path):
    """One process, which ends in the middle of the round; then two. All files are those of a training without any."""
    folder, priors, _ = whole
    armed = tmp_path / "armed"
    for name in ["training.json", *STAGES[:2]]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    armed.touch()
    make_env = functools.partial(make_deadly_point_mass, armed)
    with pytest.raises(WorkerLost, match="What was finished is kept: run it again to go on"):
        train(tmp_path, make_env, workers=1)
    assert not armed.exists()
    first = tmp_path / "data-01-00.npz"
    made, before = first.stat().st_mtime_ns, first.read_bytes()
    assert not (tmp_path / "data-01-01.npz").exists()
    assert bits(train(tmp_path, make_env, workers=2)) == bits(priors)
    assert first.stat().st_mtime_ns == made, "a finished episode was made again"
    assert before == (folder / first.name).read_bytes()
    for name in STAGES[2:4]:
        with np.load(tmp_path / name) as got, np.load(folder / name) as expected:
            assert all(got[key].tobytes() == expected[key].tobytes() for key in expected)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [e["episode"] for e in entries if "learner" in e] == [0, 1]
    assert {e["stage"] for e in entries if "stage" in e} == {"meta", "supervised"}


def test_an_environment_that_fails_tells_the_other_process():
    error = EpisodeError("episode stopped at step 3 of 9: boom.", Episode(None, []))
    again = ForkingPickler.loads(ForkingPickler.dumps(error))
    assert (type(again), str(again), again.episode) == (EpisodeError, str(error), error.episode)
    assert str(error) == "episode stopped at step 3 of 9: boom."


def test_an_environment_is_closed_when_exploration_fails(tmp_path):
    class Failing(Maker):
        closed = 0

        def __call__(self, phase):
            env = super().__call__(phase)
            if len(self.phases) > 1:  # after the check
                env.fail, env.how = 30, OSError("the simulator is gone")
            env.close = lambda: setattr(self, "closed", self.closed + 1)
            return env

    maker = Failing()
    with pytest.raises(OSError, match="the simulator is gone"):
        train(tmp_path, maker)
    assert (maker.phases, maker.closed) == (["explore", "explore"], 2)
    assert not (tmp_path / "data-random.npz").exists()


def test_workers_need_what_another_process_can_make(tmp_path):
    with pytest.raises(ValueError, match=r"make_env or spec that no other process can read .*use workers=0"):
        train(tmp_path, lambda phase: make_point_mass(phase), workers=1)
    with pytest.raises(ValueError, match=r"got workers=-1; expected 0 \(this process alone\) or more"):
        train(tmp_path, workers=-1)


def test_a_finished_training_is_only_loaded(whole):
    folder, priors, _ = whole
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.name in STAGES}
    assert bits(train(folder)) == bits(priors)
    assert before == {name: (folder / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("change", "name"), [({"seed": 4}, "seed"), ({"config": dataclasses.replace(CONFIG, width=7)}, "config")]
)
def test_a_folder_belongs_to_one_training(whole, change, name):
    error = (
        rf"holds results of another configuration: training\.json differs in {name}. Choose another folder"
    )
    with pytest.raises(ValueError, match=error):
        train(whole[0], Maker(fail=1), **change)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name : X\nflags : fpu avx512f avx512_bf16\n", "bfloat16"),
        ("flags : fpu avx512f avx512_bf16x\nbugs : avx512_bf16\n", "float32"),
        (None, "float32"),
    ],
)
def test_the_planner_takes_bfloat16_where_the_processor_says_that_it_is_fast(
    text, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    precision.fast_bfloat16.cache_clear()
    try:
        assert precision.resolved_precision("auto") == expected
        assert [precision.resolved_precision(name) for name in ("float32", "bfloat16")] == [
            "float32",
            "bfloat16",
        ]
    finally:
        precision.fast_bfloat16.cache_clear()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * len(b)])
def test_a_damaged_stage_is_set_aside_and_made_again(whole, tmp_path, damage):
    folder = tmp_path / "again"
    shutil.copytree(whole[0], folder)
    for name in STAGES:
        (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.warns(RecoveryWarning, match=r"is kept as .*\.damaged, and this stage made again") as told:
        priors = train(folder)
    assert bits(priors) == bits(whole[1])
    assert len([one for one in told if one.category is RecoveryWarning]) == len(STAGES)
    for name in STAGES:
        assert (folder / name).read_bytes() == (whole[0] / name).read_bytes()
        assert (folder / f"{name}.damaged").exists()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"episodes": 0}, r"TrainingConfig got episodes=0; expected at least 1"),
        ({"rounds": -1}, r"rounds=-1.*expected rounds >= 0 and a share between 0 and 1"),
        ({"on_policy_share": 1.0}, r"on_policy_share=1.0; expected"),
        ({"samples": 8}, r"elites=10; expected a whole number from 1 to 8. At most all samples"),
        (
            {"last_iterations": 0},
            r"last_iterations=0, last_learning_rate=None; expected at least 1 and a positive",
        ),
        ({"last_learning_rate": 0.0}, r"last_learning_rate=0.0; expected at least 1 and a positive number"),
        ({"horizon": 0}, r"horizon=0; expected a whole number from 1 on. It is the steps of a plan"),
        ({"meta": MetaConfig(window=3)}, r"meta.window=3; expected at least 4, since the agent that gathers"),
        (
            {"episodes": 1, "meta": MetaConfig(window=4)},
            r"episodes=1 of 20 steps and meta.held_out=0.1: 2 steps are held out and 18 trained on; expected at least "
            r"2k = 8 of both. Use episodes=2 or more",
        ),
        (
            {"random_rollouts": 1, "meta": MetaConfig(window=4, held_out=0.9)},
            r"random_rollouts=1 of 24 steps and meta.held_out=0.9: 22 steps are held out and 2 trained on",
        ),
        ({"episode_steps": 7}, r"rollouts of 7 steps; expected at least 2k = 8, one window of time"),
    ],
    ids=str,
)
def test_settings_out_of_range(change, error):
    with pytest.raises(ValueError, match=error):
        dataclasses.replace(CONFIG, **change)


def test_a_single_trajectory_that_is_long_enough_is_cut_in_time():
    assert dataclasses.replace(CONFIG, episodes=1).episodes == 1  # half of 20 steps is held out
    assert dataclasses.replace(CONFIG, episodes=1, rounds=0, meta=MetaConfig(window=4)).rounds == 0


def test_the_rounds_differ_in_length_and_rate_as_asked():
    config = dataclasses.replace(CONFIG, rounds=4, meta=dataclasses.replace(CONFIG.meta, learning_rate=0.16))
    assert [config.meta_of(n).iterations for n in range(5)] == [6, 4, 4, 4, 4]
    assert {config.meta_of(n).learning_rate for n in range(5)} == {0.16}
    other = dataclasses.replace(config, last_iterations=9, last_learning_rate=0.01)
    assert [other.meta_of(n).iterations for n in range(5)] == [6, 4, 4, 4, 9]
    assert [other.meta_of(n).learning_rate for n in range(5)] == [0.16, 0.16, 0.16, 0.16, 0.01]
    assert dataclasses.replace(other, rounds=0).meta_of(0).learning_rate == 0.16


def test_a_precision_that_is_unknown(unchecked):
    with pytest.raises(ValueError, match=r"got precision='float16'; expected one of auto, float32, bfloat16"):
        dataclasses.replace(CONFIG, precision="float16")


def left(obs, action, following):
    return -following[0]


def test_roll_outs_and_shaping_reach_the_priors_and_only_the_last_of_them(whole, tmp_path):
    folder, (prior, supervised), _ = whole
    spec = dataclasses.replace(SPEC, shaping=(Shaping("left", left),))
    config = dataclasses.replace(CONFIG, last_rollout=3, shaping=("left=100",))

    def go(folder):
        return train_priors(
            Maker(), spec, config, folder=folder, seed=3, provenance={"env": "point"}, progress=False
        )

    shaped, baseline = go(tmp_path / "a")
    # What comes before the agent controls is the same, to the last bit.
    assert bits(load_prior(tmp_path / "a" / "prior-00.mole")) == bits(load_prior(folder / "prior-00.mole"))
    assert bits(shaped) != bits(prior) and bits(baseline) != bits(supervised)
    assert shaped.planning == baseline.planning == Planning(2, (("left", 100.0),))
    assert load_prior(tmp_path / "a" / "prior.mole").planning == shaped.planning
    assert prior.planning == Planning(2)
    entries = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    rolled = [(e["stage"], e["round"]) for e in entries if "loss_rolled" in e]
    assert rolled == [("meta", 1)]
    means = [
        np.concatenate([s.obs[:, 0] for n in (0, 1) for s in load_segments(one / f"data-01-0{n}.npz")]).mean()
        for one in (tmp_path / "a", folder)
    ]
    assert means[0] < means[1]
    # A stage that is missing is made again with the same result.
    for name in ("prior-01.mole", "prior.mole"):
        (tmp_path / "a" / name).unlink()
    assert bits(go(tmp_path / "a")[0]) == bits(shaped)
    with pytest.raises(ValueError, match="unknown shaping 'right'"):
        train(tmp_path / "b", config=dataclasses.replace(CONFIG, shaping=("right=1",)))
    assert not (tmp_path / "b").exists()
