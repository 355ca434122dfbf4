"""From nothing to priors in a folder: resumed anywhere it gives the same priors, and no task is ever read."""

from __future__ import annotations

import dataclasses
import json

import equinox as eqx
import jax
import numpy as np
import pytest

from mole.control.data import load_stretches
from mole.control.training import TrainingConfig, train_priors
from mole.meta import MetaConfig
from mole.prior_file import load_prior
from point_mass import SPEC, PointMass

CONFIG = TrainingConfig(
    random_rollouts=4,
    random_steps=24,
    rounds=1,
    episodes=2,
    episode_steps=20,
    width=6,
    depth=1,
    horizon=2,
    samples=12,
    iterations=1,
    round_iterations=4,
    meta=MetaConfig(window=4, iterations=6, batch=4, evaluate_every=6, held_out=0.5),
)


class Maker:
    """Makes environments; raises on the ``fail``-th."""

    def __init__(self, fail=None):
        self.made, self.phases, self.fail = [], [], fail

    def __call__(self, phase):
        self.phases.append(phase)
        if len(self.phases) == self.fail:
            raise RuntimeError("out of power")
        self.made.append(PointMass(length=15 if phase == "explore" else None))
        return self.made[-1]


def train(folder, make_env=None, config=CONFIG, seed=3):
    make_env = make_env or Maker()
    return train_priors(
        make_env, SPEC, config, folder=folder, seed=seed, provenance={"env": "point"}, progress=False
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


def test_it_writes_every_stage_and_reads_no_task(whole):
    folder, (prior, supervised), maker = whole
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [*STAGES, "prior.mole", "training.json", "log.jsonl", ".lock"]
    )
    assert maker.phases == ["explore", "control"]
    assert all(env.reads == [] for env in maker.made)
    assert sum(len(s.actions) for s in load_stretches(folder / "data-random.npz")) == 4 * 24
    loaded, header = load_prior(folder / "prior.mole")
    assert bits(loaded) == bits(prior)
    assert header.provenance == {"env": "point", "seed": 3, "steps": 4 * 24 + 2 * 20}
    assert bits(load_prior(folder / "supervised.mole")[0]) == bits(supervised)
    assert bits(prior.model) != bits(supervised.model)
    assert prior.window == 4 and (prior.input_size, prior.target_size) == (3, 2)
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [e["learner"] for e in entries if "learner" in e] == ["Mixture", "KShot"]
    assert [e["noise"] for e in entries if "noise" in e] == [
        0.2,
        0.0,
    ]  # episodes 2 and 3 of the cycle 0, .1, .2
    assert {e["stage"] for e in entries if "stage" in e} == {"meta", "supervised"}


@pytest.mark.parametrize("kept", [1, 4])
def test_resumed_after_any_stage_it_gives_the_same_priors(whole, kept, tmp_path):
    folder, priors, _ = whole
    for name in ["training.json", *STAGES[:kept]]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    maker = Maker()
    assert bits(train(tmp_path, maker)) == bits(priors)
    assert maker.phases == ["control"]  # random data was there
    for name in STAGES[:kept]:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_killed_while_making_an_environment_it_goes_on(whole, tmp_path):
    with pytest.raises(RuntimeError, match="out of power"):
        train(tmp_path, Maker(fail=2))
    assert (tmp_path / "prior-00.mole").exists() and not (tmp_path / "data-01-00.npz").exists()
    assert bits(train(tmp_path)) == bits(whole[1])


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
    ("change", "error"),
    [
        ({"episodes": 0}, r"TrainingConfig got episodes=0; expected at least 1"),
        ({"rounds": -1}, r"rounds=-1.*expected rounds >= 0 and a share between 0 and 1"),
        ({"on_policy_share": 1.0}, r"on_policy_share=1.0; expected"),
        ({"samples": 8}, r"elites: got 10, expected between 1 and samples = 8"),
        ({"horizon": 0}, r"horizon: got 0, expected at least 1 step"),
        ({"meta": MetaConfig(window=3)}, r"meta.window=3; expected at least 4, since the agent that gathers"),
        ({"episode_steps": 7}, r"rollouts of 7 steps; expected at least 2k = 8, one window of time"),
    ],
    ids=str,
)
def test_settings_out_of_range(change, error):
    with pytest.raises(ValueError, match=error):
        dataclasses.replace(CONFIG, **change)
