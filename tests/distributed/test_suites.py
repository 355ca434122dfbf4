"""Cells and rollouts as tasks of a cluster: the same files as processes of one machine make, begun there or here."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

from helpers import tiny_prior
from mole.cli import main
from mole.control.records import EpisodeRecord
from mole.control.training import train_priors
from mole.distributed.workers import ray_workers
from mole.envs.cheetah.motors import DYNAMICS
from mole.experiment.config import EvalConfig, PlannerConfig
from mole.experiment.evaluate import Tick, evaluate
from mole.files.processes import WorkerLost, available_cores
from mole.priors.file import save_prior
from point_mass import SPEC, TINY_TRAINING, make_point_mass


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    """A tiny evaluation of three cells with untrained priors."""
    folder = tmp_path_factory.mktemp("priors")
    for seed, name in enumerate(("prior.mole", "supervised.mole")):
        sizes = DYNAMICS.feature_dim, DYNAMICS.delta_dim
        prior = tiny_prior(jax.random.key(seed), *sizes, width=8, depth=1, rate_value=0.01)
        save_prior(folder / name, prior, {})
    return EvalConfig(
        "mole/HalfCheetahMotors-v0",
        folder / "prior.mole",
        folder / "supervised.mole",
        methods=("continuous",),
        schedules=("alternate:A,B:10",),
        seeds=(0, 1, 2),
        steps=50,
        probe_steps=40,
        planner=PlannerConfig(samples=4, iterations=1, horizon=2, elites=2),
    )


def same(ours: EpisodeRecord, theirs: EpisodeRecord) -> bool:
    fields = [field.name for field in dataclasses.fields(ours) if field.name not in ("seconds", "meta")]
    return ours.meta == theirs.meta and all(
        np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=True) for name in fields
    )


def test_an_evaluation_begun_here_goes_on_there_and_back(
    tmp_path: Path, cluster: Any, config: EvalConfig
) -> None:
    here = evaluate(config, tmp_path / "here", workers=1)
    first = dataclasses.replace(config, seeds=(0,))
    evaluate(first, tmp_path / "both", workers=1)
    ticks: list[Tick] = []

    def stop(tick: Tick) -> None:
        if tick.step:
            raise KeyboardInterrupt

    with ray_workers(cluster.address) as where:
        assert where.cores == 4
        # Stopped in the midst of a cell, which writes a checkpoint and leaves.
        with pytest.raises(KeyboardInterrupt):
            evaluate(config, tmp_path / "both", on_tick=stop, where=where)
        evaluate(config, tmp_path / "both", on_tick=ticks.append, where=where)
    assert {tick.cell.seed for tick in ticks} <= {1, 2}  # what was whole is not run again
    both = evaluate(config, tmp_path / "both", workers=1)
    assert len(here) == len(both) == 3
    assert all(same(a, b) for a, b in zip(here, both, strict=True))
    left = [path.name for path in (tmp_path / "both").iterdir() if path.suffix in (".mole", ".tmp")]
    assert left == []


def test_a_training_on_tasks_gives_the_same_priors(tmp_path: Path, cluster: Any) -> None:
    def train(folder: Path, **options: Any) -> list[bytes]:
        priors = train_priors(
            make_point_mass,
            SPEC,
            TINY_TRAINING,
            folder=folder,
            seed=3,
            provenance={"env": "point"},
            progress=False,
            **options,
        )
        return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(eqx.filter(priors, eqx.is_array))]

    with ray_workers(cluster.address) as where:
        there = train(tmp_path / "there", workers=2, where=where)
    assert there == train(tmp_path / "here")


def dies(folder: str) -> tuple[int, int]:
    """Ends its process the first two times; then says how often it was tried, and its cores."""
    tried = len(list(Path(folder).iterdir()))
    Path(folder, str(tried)).touch()
    if tried < 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return tried, available_cores()


def always_dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_that_is_lost_begins_again_on_a_core_of_its_own(tmp_path: Path, cluster: Any) -> None:
    with ray_workers(cluster.address) as where, where.pool(1) as pool:
        assert pool.submit(dies, str(tmp_path)).result() == (2, 1)
        with pytest.raises(WorkerLost, match="again and again"):
            pool.submit(always_dies).result()
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()


def test_the_commands_take_a_cluster(
    tmp_path: Path, cluster: Any, config: EvalConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "motors", "--prior", str(config.prior), "--methods", "continuous", "--seeds", "1"]
    words += ["--steps", "30", "--probe-steps", "0", "--out", str(tmp_path / "out"), "--planner.samples", "4"]
    words += ["--planner.iterations", "1", "--planner.horizon", "2", "--planner.elites", "2"]
    assert main([*words, "--ray", cluster.address]) == 0
    assert (tmp_path / "out" / "report.html").exists()
    assert main([*words, "--ray", "one:1", "two:2"]) == 2
    assert (
        "--ray got 2 addresses; expected one, or none to start Ray on this machine" in capsys.readouterr().err
    )
